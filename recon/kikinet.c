/* kikinet.c: KIKI-Net of DIRECT. */
#include "net_method.h"
NET_METHOD(kikinet, "Networks in k-space and in the image in turn, KIKI-Net (needs --weights)", "Eo et al., Magn Reson Med 80:2188 (2018)", KR_WHOLE_READOUT, "kikinet")
