/* reg_llr.c: lambda times the nuclear norms of blocks of the series, averaged over 2 shifts of their grid. */
#include "reg.h"
#include "regular.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_term(q, kr_prox_mean(kr_prox_llr(at->type, at->n, at->o->block, at->lambda, at->o->shifts), 2), NULL);
}

const reg_kind reg_llr = { .name = "llr", .summary = "series: nuclear norm of blocks (--block, --shifts)", .cite = "Trzasko and Manduca, Proc ISMRM 2011:4371", .series = true, .many = true, .images = 1, .add = add };
