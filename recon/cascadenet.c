/* cascadenet.c: ATOMMIC's CascadeNet. */
#include "net_method.h"
NET_METHOD(cascadenet, "Cascade of convolutional networks, CascadeNet (needs --weights)", "Schlemper et al., IEEE Trans Med Imaging 37:491 (2018)",
           KR_NEEDS_COILS | KR_WHOLE_READOUT, "cascadenet")
