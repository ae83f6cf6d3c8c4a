/* vn.c: VarNet of ATOMMIC. */
#include "net_method.h"
NET_METHOD(vn, "Variational Network of ATOMMIC, VN (needs --weights)", "Sriram et al., MICCAI 2020, arXiv:2004.06688", KR_NEEDS_COILS | KR_WHOLE_READOUT, "vn")
