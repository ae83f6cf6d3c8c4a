/* reg_lowrank.c: lambda times the nuclear norm of {space} x {time}. */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_term(q, kr_prox_lowrank(at->type, at->n, at->lambda), NULL);
}

const reg_kind reg_lowrank = { .name = "lowrank", .summary = "series: nuclear norm of {space} x {time}", .cite = "Otazo et al., Magn Reson Med 73:1125 (2015)", .series = true, .images = 0.5, .add = add };
