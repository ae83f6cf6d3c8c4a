/* refine.c: Kray's own network. */
#include "net_method.h"
NET_METHOD(refine, "l1-wavelet image refined by a trained network (needs --weights)", "Aggarwal et al., IEEE Trans Med Imaging 38:394 (2019)", KR_NEEDS_COILS | KR_SOFT_MAPS, "refine")
