/* reg_wavelet.c: lambda |W x|_1, W the Daubechies wavelets along space, averaged over 4 shifts of their grid. */
#include "reg.h"
#include "regular.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_term(q, kr_prox_mean(kr_prox_wavelet(at->type, at->n, at->space, (int)at->o->order, 0, at->lambda, at->o->shifts), 4), NULL);
}

const reg_kind reg_wavelet = { .name = "wavelet", .summary = "l1 norm of Daubechies wavelets (--order, --shifts)", .cite = "Lustig et al., Magn Reson Med 58:1182 (2007)", .images = 2, .add = add };
