/* fourierpd.c: Fourier-PD and Fourier-PDUNet of NCC1701. */
#include "net_method.h"
NET_METHOD(fourierpd, "Complex-valued primal-dual network on image and k-space, Fourier-PD or Fourier-PDUNet, which keeps the phase (needs --weights)",
           "Khatun, Chatterjee et al., Sci Rep 15 (2025), arXiv:2310.01073", KR_NEEDS_COILS | KR_WHOLE_READOUT, "fourierpd")
