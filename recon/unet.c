/* unet.c: fastMRI's U-Net on the zero-filled magnitude. */
#include "net_method.h"
NET_METHOD(unet, "U-Net on the zero-filled magnitude (needs --weights)", "Zbontar et al., arXiv:1811.08839", KR_WHOLE_READOUT, "unet")
