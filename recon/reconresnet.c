/* reconresnet.c: ReconResNet of NCC1701. */
#include "net_method.h"
NET_METHOD(reconresnet, "Residual network on the zero-filled magnitude, ReconResNet (needs --weights)", "Chatterjee et al., Comput Biol Med 143:105321 (2022)", KR_WHOLE_READOUT,
           "reconresnet")
