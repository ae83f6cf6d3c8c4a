/* unet_atommic.c: UNet of ATOMMIC. */
#include "net_method.h"
NET_METHOD(unet_atommic, "U-Net of ATOMMIC on the complex zero-filled image (needs --weights)", "Zbontar et al., arXiv:1811.08839", KR_NEEDS_COILS | KR_WHOLE_READOUT, "unet_atommic")
