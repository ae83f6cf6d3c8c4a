/* trj_radial.c: spokes through the centre of a plane. */
#include "trj.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int kr_trj_readout(trj_job *j, const trj_spokes *o, long *samples)
{
    if (!(o->over >= 1 && o->over <= 64))
        return kr_fail(KR_EUSAGE, "over is a number from 1 to 64, not %g", o->over);
    long whole = lround((double)j->want.n[0] * o->over / (o->out ? 2 : 1));
    if (kr_trj_count(samples, "samples", o->samples, j->want.samples, whole))
        return kr_error_code();
    if (j->want.n[0] <= 1)
        j->want.n[0] = j->want.n[1] = lround((double)*samples / o->over * (o->out ? 2 : 1));
    return 0;
}

double kr_trj_radius(const trj_spokes *o, long samples, long s)
{
    double at = (double)s + (o->dc ? 0 : .5);
    return o->out ? .5 * at / (double)samples : (at - (double)((samples + (o->dc ? 0 : 1)) / 2)) / (double)samples;     /* odd ones as BART has them */
}

/* 180 degrees times a fraction of generalised Fibonacci numbers that is near the tiny golden angle: spokes repeat exactly after as many as
 * the denominator, the smallest that is at least `spokes`. Source: Scholand et al., Magn Reson Med 93:1629 (2025). */
static double raga(long tiny, long spokes)
{
    long a = 1, b = 1, g = tiny;                             /* F_(i-1), F_i, G_i = F_i + (tiny - 1) F_(i-1) */
    while (g < spokes) {
        long next = a + b;
        a = b;
        b = next;
        g = b + (tiny - 1) * a;
    }
    return 180. * (double)a / (double)g;
}

int kr_trj_step(double *degrees, const trj_spokes *o, long spokes)
{
    char *end;
    bool full = o->circle && !strcmp(o->circle, "full"), uniform = !strcmp(o->angle, "uniform");
    if (o->tiny < 1 || o->tiny > 1000)
        return kr_fail(KR_EUSAGE, "tiny is a whole number from 1 to 1000, not %ld", o->tiny);
    if (o->tiny > 1 && strcmp(o->angle, "golden") && strcmp(o->angle, "raga"))
        return kr_fail(KR_EUSAGE, "tiny=%ld is for angle=golden or raga", o->tiny);
    if (uniform)
        *degrees = (full || o->out ? 360. : 180.) / (double)spokes;
    else if (!strcmp(o->angle, "golden"))
        *degrees = 180 / ((1 + sqrt(5)) / 2 + (double)o->tiny - 1);
    else if (!strcmp(o->angle, "raga"))
        *degrees = raga(o->tiny, spokes) * (full ? 2 : 1);
    else {
        *degrees = strtod(o->angle, &end);
        if (end == o->angle || *end || !isfinite(*degrees))
            return kr_fail(KR_EUSAGE, "angle is uniform, golden, raga or a number of degrees, not '%s'", o->angle);
    }
    return 0;
}

double kr_trj_angle(const trj_spokes *o, double degrees)
{
    bool folded = o->circle && !strcmp(o->circle, "half") && strcmp(o->angle, "uniform");
    return (o->start + (folded ? fmod(degrees, 180) : fmod(degrees, 360))) * M_PI / 180;
}

typedef struct opts { trj_spokes s; long frames; const char *turn; } opts;
static const kr_opt table[] = {
    TRJ_SPOKES(opts, s),
    { "frames", 0, KR_OPT_INT, offsetof(opts, frames), NULL, "N", "of a series, or partitions" },
    { "turn", 0, KR_OPT_CHOICE, offsetof(opts, turn), "on", "on|none|golden",
      "frames: on goes on turning (uniform spokes by a part of the step), golden turns by the golden ratio of the uniform step" },
    KR_OPT_END };

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, spokes, frames;
    double step;
    if (kr_trj_readout(j, &o->s, &samples) || kr_trj_count(&frames, "frames", o->frames, 0, j->want.frames > 1 ? j->want.frames : 1)
        || kr_trj_count(&spokes, "spokes", o->s.spokes, j->want.views, lround(ceil(M_PI / 2 * (double)j->want.n[0])) * (o->s.out ? 2 : 1))
        || kr_trj_step(&step, &o->s, spokes) || kr_trj_open(j, samples, spokes, frames, 2))
        return kr_error_code();
    bool uniform = !strcmp(o->s.angle, "uniform"), on = !strcmp(o->turn, "on");
    double unit = 180. / (double)spokes;
    for (long f = 0; f < frames; f++)
        for (long v = 0; v < spokes; v++) {
            double more = strcmp(o->turn, "golden") ? 0 : fmod((double)f * unit * (sqrt(5) - 1) / 2, unit);
            double at = !on ? (double)v * step + more : uniform ? ((double)v + (double)f / (double)frames) * step : (double)(f * spokes + v) * step;
            double a = kr_trj_angle(&o->s, at);
            for (long s = 0; s < samples; s++) {
                double r = kr_trj_radius(&o->s, samples, s);
                kr_trj_put(j, f, v, s, r * sin(a), r * cos(a), 0);
            }
        }
    return 0;
}

const trj_kind kr_trj_radial = { "radial", "spokes through the centre of a plane",
    "Winkelmann et al., IEEE Trans Med Imaging 26:68 (2007); tiny golden angles: Wundrak et al., Magn Reson Med 75:2372 (2016)", table, sizeof(opts), make };
