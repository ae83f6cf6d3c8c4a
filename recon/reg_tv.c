/* reg_tv.c: lambda times the isotropic total variation in space. */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_differences(q, at, at->space);
}

const reg_kind reg_tv = { .name = "tv", .summary = "total variation in space", .cite = "Rudin et al., Physica D 60:259 (1992)", .each = 4.5, .rays = 1, .add = add };
