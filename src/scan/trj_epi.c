/* trj_epi.c: echo-planar readouts, sampled while the gradient rises and falls, too. */
#include "trj.h"
#include <math.h>

typedef struct opts { long lines, shots, samples; double over, ramp; } opts;
static const kr_opt table[] = {
    { "lines", 0, KR_OPT_INT, offsetof(opts, lines), NULL, "N", "along ky; preset: as many as the data, or the matrix along y" },
    { "shots", 0, KR_OPT_INT, offsetof(opts, shots), "1", "N", "interleaved; in each, every second line runs backwards" },
    { "samples", 0, KR_OPT_INT, offsetof(opts, samples), NULL, "N", "of a line; preset: as many as the data, or the matrix times over" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, over), "1", "X", "samples per cycle along the readout" },
    { "ramp", 0, KR_OPT_REAL, offsetof(opts, ramp), "0.2", "X", "part of the readout's time on each of its two ramps, 0 to 0.5" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, lines;
    if (!(o->over >= 1 && o->over <= 64) || !(o->ramp >= 0 && o->ramp <= .5) || o->shots < 1)
        return kr_fail(KR_EUSAGE, "over is 1 to 64, ramp 0 to 0.5, shots at least 1; not %g, %g and %ld", o->over, o->ramp, o->shots);
    if (kr_trj_count(&lines, "lines", o->lines, j->want.views, j->want.n[1])
        || kr_trj_count(&samples, "samples", o->samples, j->want.samples, lround((double)j->want.n[0] * o->over)) || kr_trj_open(j, samples, lines, 1, 2))
        return kr_error_code();
    kr_auto double *x = kr_alloc((size_t)samples, sizeof *x);
    kr_ramp ramp = { .up_us = 1000 * o->ramp, .flat_us = 1000 * (1 - 2 * o->ramp), .down_us = 1000 * o->ramp, .read_us = 1000 };
    if (!x || kr_ramp_positions(&ramp, samples, x))
        return kr_error_code();
    long put = 0;
    for (long shot = 0; shot < o->shots; shot++)
        for (long l = shot, i = 0; l < lines; l += o->shots, i++, put++)
            for (long s = 0; s < samples; s++)
                kr_trj_put(j, 0, put, s, i % 2 ? -x[s] : x[s], (double)(l - lines / 2) / (double)j->want.n[1], 0);
    return 0;
}

const trj_kind kr_trj_epi = { "epi", "echo-planar lines, sampled on the gradient's ramps", "Mansfield, J Phys C 10:L55 (1977)", table, sizeof(opts), make };
