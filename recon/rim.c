/* rim.c: the Recurrent Inference Machine, of DIRECT or of ATOMMIC (GRU, MGU, IndRNN). */
#include "net_method.h"
NET_METHOD(rim, "Recurrent Inference Machine, from the image of wcrr by the weights that come with Kray", "Lonning et al., Med Image Anal 53:64 (2019)", KR_NEEDS_COILS | KR_WHOLE_READOUT, "rim_direct cirim")
