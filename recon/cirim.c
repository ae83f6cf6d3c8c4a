/* cirim.c: Cascades of Independently Recurrent Inference Machines, of ATOMMIC, mridc or DIRECT. */
#include "net_method.h"
NET_METHOD(cirim, "Cascades of Independently Recurrent Inference Machines (--weights; without: as rim)", "Karkalousos et al., Phys Med Biol 67:124001 (2022)",
           KR_NEEDS_COILS | KR_WHOLE_READOUT, "cirim cirim_direct")
