/* lpdnet.c: the Learned Primal-Dual network of DIRECT. */
#include "net_method.h"
NET_METHOD(lpdnet, "Learned Primal-Dual network (needs --weights)", "Adler and Oktem, IEEE Trans Med Imaging 37:1322 (2018)", KR_WHOLE_READOUT | KR_TAKES_RAYS, "lpdnet")
