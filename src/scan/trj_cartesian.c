/* trj_cartesian.c: parallel lines on the grid. */
#include "trj.h"
#include <math.h>

typedef struct opts { long samples, accel; double over; } opts;
static const kr_opt table[] = {
    { "samples", 0, KR_OPT_INT, offsetof(opts, samples), NULL, "N", "of a line; preset: as many as the data, or the matrix times over" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, over), "1", "X", "samples per cycle along the readout" },
    { "accel", 0, KR_OPT_INT, offsetof(opts, accel), "1", "N", "every so many-th line along ky" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    const long *n = j->want.n;
    long samples, planes = n[2] > 1 ? n[2] : 1;
    if (o->accel < 1 || !(o->over >= 1 && o->over <= 64))
        return kr_fail(KR_EUSAGE, "accel is at least 1, over 1 to 64; not %ld and %g", o->accel, o->over);
    long lines = (n[1] + o->accel - 1) / o->accel;
    if (kr_trj_count(&samples, "samples", o->samples, j->want.samples, lround((double)n[0] * o->over)) || kr_trj_open(j, samples, lines * planes, 1, planes > 1 ? 3 : 2))
        return kr_error_code();
    for (long v = 0; v < lines * planes; v++)
        for (long s = 0; s < samples; s++)
            kr_trj_put(j, 0, v, s, (double)(s - samples / 2) / (double)samples, (double)(v % lines * o->accel - n[1] / 2) / (double)n[1],
                       planes > 1 ? (double)(v / lines - planes / 2) / (double)planes : 0);
    return 0;
}

const trj_kind kr_trj_cartesian = { "cartesian", "parallel lines on the grid", "Edelstein et al., Phys Med Biol 25:751 (1980)", table, sizeof(opts), make };
