/* trj_cones.c: readouts that wind outwards on cones about kz. */
#include "trj.h"
#include <math.h>

typedef struct opts { long cones, samples; double turns, over; } opts;
static const kr_opt table[] = {
    { "cones", 0, KR_OPT_INT, offsetof(opts, cones), NULL, "N", "from pole to pole; preset: pi/2 times the matrix" },
    { "turns", 0, KR_OPT_REAL, offsetof(opts, turns), "1", "X", "of a readout about kz; 0: straight spokes" },
    { "samples", 0, KR_OPT_INT, offsetof(opts, samples), NULL, "N", "of a readout; preset: as many as the data, or what its length asks for" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, over), "1", "X", "samples per cycle along the readout" },
    KR_OPT_END };

/* Readouts of a cone: at the rim neighbours are one cycle apart, measured across. */
static long arms(double n, double turns, double theta)
{
    double w = 2 * M_PI * turns * sin(theta), count = ceil(M_PI * n * sin(theta) / sqrt(1 + w * w));
    return count > 1 ? lround(count) : 1;
}

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    double n = (double)j->want.n[0], longest = n / 2 * sqrt(1 + pow(2 * M_PI * o->turns, 2));
    long samples, cones, views = 0;
    if (!(o->turns >= 0 && o->turns <= 1000) || !(o->over >= .01 && o->over <= 64))
        return kr_fail(KR_EUSAGE, "turns is 0 to 1000, over 0.01 to 64; not %g and %g", o->turns, o->over);
    if (kr_trj_count(&cones, "cones", o->cones, 0, lround(ceil(M_PI / 2 * n))) || kr_trj_count(&samples, "samples", o->samples, j->want.samples, lround(ceil(longest * o->over)) + 1))
        return kr_error_code();
    for (long c = 0; c < cones; c++)
        views += arms(n, o->turns, M_PI * ((double)c + .5) / (double)cones);
    if (kr_trj_open(j, samples, views, 1, 3))
        return kr_error_code();
    long v = 0;
    for (long c = 0; c < cones; c++) {
        double theta = M_PI * ((double)c + .5) / (double)cones;
        long m = arms(n, o->turns, theta);
        for (long i = 0; i < m; i++, v++)
            for (long s = 0; s < samples; s++) {
                double r = (double)s / (double)(samples > 1 ? samples - 1 : 1), a = 2 * M_PI * (o->turns * r + ((double)i + .5 * (double)(c % 2)) / (double)m);
                kr_trj_put(j, 0, v, s, .5 * r * sin(theta) * cos(a), .5 * r * sin(theta) * sin(a), .5 * r * cos(theta));
            }
    }
    return 0;
}

const trj_kind kr_trj_cones = { "cones", "readouts that wind outwards on cones about kz", "Irarrazabal and Nishimura, Magn Reson Med 33:656 (1995); Gurney et al. 55:575 (2006)",
    table, sizeof(opts), make };
