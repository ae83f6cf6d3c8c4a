/* unet.c: the U-Net of fastMRI on the zero-filled magnitude, and that of DIRECT on the complex image. */
#include "net_method.h"
NET_METHOD(unet, "U-Net on the zero-filled image (needs --weights)", "Zbontar et al., arXiv:1811.08839", KR_WHOLE_READOUT, "unet unet_direct")
