/* trj_rosette.c: k = 1/2 sin(w1 t) exp(i w2 t). */
#include "trj.h"
#include <math.h>

typedef struct opts { long shots, petals, samples; double ratio, over; } opts;
static const kr_opt table[] = {
    { "shots", 0, KR_OPT_INT, offsetof(opts, shots), NULL, "N", "readouts, turned against each other; preset: as many as the data, or what covers the matrix" },
    { "petals", 0, KR_OPT_INT, offsetof(opts, petals), "8", "N", "of a readout: times that it goes from the centre out and back" },
    { "ratio", 0, KR_OPT_REAL, offsetof(opts, ratio), "1.2", "X", "w2 / w1: turns of the readout per swing" },
    { "samples", 0, KR_OPT_INT, offsetof(opts, samples), NULL, "N", "of a readout; preset: as many as the data, or what its speed asks for" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, over), "1", "X", "samples per cycle where it is fastest" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, shots;
    if (o->petals < 1 || o->petals > 100000 || !(o->ratio >= 0 && o->ratio <= 1000) || !(o->over >= .01 && o->over <= 64))
        return kr_fail(KR_EUSAGE, "petals is at least 1, ratio 0 to 1000, over 0.01 to 64; not %ld, %g and %g", o->petals, o->ratio, o->over);
    double n = (double)j->want.n[0], swing = M_PI * (double)o->petals;               /* w1 T */
    double fastest = .5 * n * (o->ratio > 1 ? o->ratio : 1) * swing;                 /* cycles per field of view per readout */
    if (kr_trj_count(&shots, "shots", o->shots, j->want.views, lround(ceil(M_PI * n / (double)o->petals)))
        || kr_trj_count(&samples, "samples", o->samples, j->want.samples, lround(ceil(fastest * o->over)) + 1) || kr_trj_open(j, samples, shots, 1, 2))
        return kr_error_code();
    for (long v = 0; v < shots; v++)
        for (long s = 0; s < samples; s++) {
            double t = swing * (double)s / (double)(samples > 1 ? samples - 1 : 1), r = .5 * sin(t), a = o->ratio * t + 2 * M_PI * (double)v / (double)shots;
            kr_trj_put(j, 0, v, s, r * cos(a), r * sin(a), 0);
        }
    return 0;
}

const trj_kind kr_trj_rosette = { "rosette", "petals through the centre of a plane", "Noll, IEEE Trans Med Imaging 16:372 (1997)", table, sizeof(opts), make };
