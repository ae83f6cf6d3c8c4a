/* reg_l2.c: lambda/2 |x|^2: Tikhonov. */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_term(q, kr_prox_l2(at->type, at->n, at->lambda), NULL);
}

const reg_kind reg_l2 = { .name = "l2", .summary = "squared l2 norm (Tikhonov)", .cite = "Pruessmann et al., Magn Reson Med 46:638 (2001)", .images = 1, .add = add };
