/* reg_kt_sense.c: lambda/2 sum of |F x|^2 / |m|^2 over x-f, m the training series: with noise of variance lambda, the likeliest image. */
#include "reg.h"
#include "training.h"

static int add(reg_problem *q, const reg_at *at)
{
    const model *m = at->m;
    kr_scoped(array) power = kr_training_power(m->part->data, m->coils, m->mask, m->axes, at->frames, at->scale);
    return power ? reg_term(q, kr_prox_power(at->n, at->frames, power, at->lambda), NULL) : kr_error_code();
}

const reg_kind reg_kt_sense = { .name = "kt-sense", .summary = "series: least squares in x-f weighted by a training series", .cite = "Tsao et al., Magn Reson Med 50:1031 (2003)",
    .series = true, .images = 2, .add = add };
