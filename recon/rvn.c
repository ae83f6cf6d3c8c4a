/* rvn.c: RecurrentVarNet of ATOMMIC. */
#include "net_method.h"
NET_METHOD(rvn, "Recurrent Variational Network of ATOMMIC, RVN, from the image of wcrr by the weights that come with Kray", "Yiasemis et al., CVPR 2022, arXiv:2111.09639", KR_NEEDS_COILS | KR_WHOLE_READOUT, "rvn")
