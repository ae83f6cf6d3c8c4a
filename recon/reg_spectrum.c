/* reg_spectrum.c: lambda |F x|_1, F the Fourier transform along the series. */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_term(q, kr_prox_spectrum(at->type, at->n, at->frames, at->lambda), NULL);
}

const reg_kind reg_spectrum = { .name = "spectrum", .summary = "series: l1 norm in x-f", .cite = "Lustig et al., Proc ISMRM 2006:2420 (k-t SPARSE)", .series = true, .images = 1.5, .add = add };
