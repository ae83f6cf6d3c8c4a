/* trj_koosh.c: spokes through the centre of a sphere. */
#include "trj.h"
#include <math.h>
#include <string.h>

typedef struct opts { trj_spokes s; const char *order; } opts;
static const kr_opt table[] = {
    { "spokes", 0, KR_OPT_INT, offsetof(opts, s.spokes), NULL, "N", "readouts; preset: as many as the data, or pi/2 times the matrix squared" },
    { "samples", 0, KR_OPT_INT, offsetof(opts, s.samples), NULL, "N", "of a readout; preset: as many as the data, or the matrix times over" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, s.over), "2", "X", "samples per cycle along the readout" },
    { "order", 0, KR_OPT_CHOICE, offsetof(opts, order), "golden", "golden|spiral", "directions by golden means of two dimensions, or on a spiral from pole to equator" },
    { "dc", 0, KR_OPT_FLAG, offsetof(opts, s.dc), "yes", NULL, "sample N/2 lies in the centre of k-space; no: it lies between two samples" },
    { "out", 0, KR_OPT_FLAG, offsetof(opts, s.out), "no", NULL, "readouts begin in the centre" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, spokes;
    double n = (double)j->want.n[0], turn = 0;
    if (kr_trj_readout(j, &o->s, &samples) || kr_trj_count(&spokes, "spokes", o->s.spokes, j->want.views, lround(ceil(M_PI / 2 * n * n)) * (o->s.out ? 2 : 1))
        || kr_trj_open(j, samples, spokes, 1, 3))
        return kr_error_code();
    bool golden = !strcmp(o->order, "golden");
    double all = (double)(o->s.out ? spokes : 2 * spokes);                           /* points on the whole sphere */
    for (long v = 0; v < spokes; v++) {
        double z, c, s;
        if (golden) {                                        /* 1 / x and 1 / x^2 of the root x of x^3 = x + 1, less one each: Chan et al. */
            double part = fmod((double)v * .465571231876768, 1), a = 2 * M_PI * fmod((double)v * .682327803828019, 1);
            z = o->s.out ? 2 * part - 1 : part;
            c = cos(a);
            s = sin(a);
        } else {
            z = 1 - 2 * (double)v / (all - 1);
            turn = v == spokes - 1 && !o->s.out ? 0 : turn;  /* the last one begins anew, as in BART */
            turn += v && (v < spokes - 1 || o->s.out) ? 3.6 / sqrt(all * (1 - z * z) > 0 ? all * (1 - z * z) : 1) : 0;
            c = sin(turn);
            s = cos(turn);
        }
        double across = sqrt(1 - z * z);
        for (long i = 0; i < samples; i++) {
            double r = kr_trj_radius(&o->s, samples, i);
            kr_trj_put(j, 0, v, i, r * across * c, r * across * s, r * z);
        }
    }
    return 0;
}

const trj_kind kr_trj_koosh = { "koosh", "spokes through the centre of a sphere (kooshball)",
    "Chan et al., Magn Reson Med 61:354 (2009); spiral: Saff and Kuijlaars, Math Intelligencer 19:5 (1997)", table, sizeof(opts), make };
