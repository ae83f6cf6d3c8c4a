/* reg_ttv.c: lambda times the total variation along the series. */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    return reg_differences(q, at, at->along);
}

const reg_kind reg_ttv = { .name = "ttv", .summary = "series: total variation along time", .cite = "Feng et al., Magn Reson Med 72:707 (2014)", .series = true, .many = true, .images = 4.5, .add = add };
