/* recurrentvarnet.c: the Recurrent Variational Network of DIRECT. */
#include "net_method.h"
NET_METHOD(recurrentvarnet, "Recurrent Variational Network (needs --weights)", "Yiasemis et al., CVPR 2022, arXiv:2111.09639", KR_WHOLE_READOUT, "recurrentvarnet")
