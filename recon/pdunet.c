/* pdunet.c: the Primal-Dual U-Net of phernst/pd-unet. */
#include "net_method.h"
NET_METHOD(pdunet, "Primal-Dual U-Net of X-ray projections and radial scans (needs --weights)", "Ernst et al., Comput Methods Programs Biomed 230:107338 (2023)", KR_WHOLE_READOUT | KR_TAKES_RAYS | KR_TAKES_TRAJECTORY, "pdunet")
