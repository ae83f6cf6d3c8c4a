/* trj_stars.c: stack of stars: spokes in planes along kz. */
#include "trj.h"
#include <math.h>
#include <string.h>

typedef struct opts { trj_spokes s; long partitions; bool along; const char *turn; } opts;
static const kr_opt table[] = {
    TRJ_SPOKES(opts, s),
    { "partitions", 0, KR_OPT_INT, offsetof(opts, partitions), NULL, "N", "planes along kz; preset: the matrix along z" },
    { "along", 0, KR_OPT_FLAG, offsetof(opts, along), "yes", NULL, "all partitions of a spoke are measured one after the other; no: all spokes of a partition" },
    { "turn", 0, KR_OPT_CHOICE, offsetof(opts, turn), "none", "none|golden", "partitions have the same spokes, or ones turned by the golden ratio of the step" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, spokes, planes;
    double step;
    if (kr_trj_readout(j, &o->s, &samples) || kr_trj_count(&planes, "partitions", o->partitions, 0, j->want.n[2]))
        return kr_error_code();
    if (j->want.views % planes)
        return kr_fail(KR_ESHAPE, "the data have %ld readouts, which is no multiple of %ld partitions", j->want.views, planes);
    if (kr_trj_count(&spokes, "spokes", o->s.spokes, j->want.views / planes, lround(ceil(M_PI / 2 * (double)j->want.n[0])) * (o->s.out ? 2 : 1))
        || kr_trj_step(&step, &o->s, spokes) || kr_trj_open(j, samples, spokes * planes, 1, 3))
        return kr_error_code();
    for (long v = 0; v < spokes * planes; v++) {
        long p = o->along ? v % planes : v / spokes, i = o->along ? v / planes : v % spokes;
        double more = strcmp(o->turn, "golden") ? 0 : fmod((double)p * (sqrt(5) - 1) / 2, 1) * 180 / (double)spokes;
        double a = kr_trj_angle(&o->s, (double)i * step + more), z = (double)(p - planes / 2) / (double)j->want.n[2];
        for (long s = 0; s < samples; s++) {
            double r = kr_trj_radius(&o->s, samples, s);
            kr_trj_put(j, 0, v, s, r * sin(a), r * cos(a), z);
        }
    }
    return 0;
}

const trj_kind kr_trj_stars = { "stars", "stack of stars: spokes in planes along kz", "Block et al., Magn Reson Med 72:1020 (2014)", table, sizeof(opts), make };
