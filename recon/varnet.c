/* varnet.c: the End-to-End Variational Network, of fastMRI or of DIRECT. */
#include "net_method.h"
NET_METHOD(varnet, "End-to-End Variational Network (needs --weights)", "Sriram et al., MICCAI 2020, arXiv:2004.06688", KR_WHOLE_READOUT, "varnet varnet_direct")
