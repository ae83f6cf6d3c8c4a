/* modl.c: ATOMMIC's MoDL. */
#include "net_method.h"
NET_METHOD(modl, "Unrolled residual network with data consistency, MoDL of ATOMMIC (needs --weights)", "Aggarwal et al., IEEE Trans Med Imaging 38:394 (2019)",
           KR_NEEDS_COILS | KR_WHOLE_READOUT, "modl")
