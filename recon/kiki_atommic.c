/* kiki_atommic.c: KIKI-Net of ATOMMIC. */
#include "net_method.h"
NET_METHOD(kiki_atommic, "Networks in k-space and in the image in turn, KIKI-Net of ATOMMIC (needs --weights)", "Eo et al., Magn Reson Med 80:2188 (2018)", KR_NEEDS_COILS | KR_WHOLE_READOUT,
           "kiki_atommic")
