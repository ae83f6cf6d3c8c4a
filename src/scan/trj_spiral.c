/* trj_spiral.c: spirals k = 1/2 tau^alpha exp(i w tau), tau = 0 .. 1: Archimedean for alpha 1, denser in the centre above. How fast they are
 * run through follows from what gradients can do. */
#include "trj.h"
#include <math.h>
#include <string.h>

typedef struct opts { long interleaves, samples; double alpha, accel, over, gradient, slew, fov; const char *timing; } opts;
static const kr_opt table[] = {
    { "interleaves", 0, KR_OPT_INT, offsetof(opts, interleaves), NULL, "N", "readouts, turned against each other; preset: as many as the data, or 16 at most" },
    { "alpha", 0, KR_OPT_REAL, offsetof(opts, alpha), "1", "X", "1: Archimedean; larger: denser in the centre" },
    { "accel", 0, KR_OPT_REAL, offsetof(opts, accel), "1", "X", "turns are so many times further apart than the field of view asks for, at the rim" },
    { "samples", 0, KR_OPT_INT, offsetof(opts, samples), NULL, "N", "of a readout; preset: as many as the data, or what its speed asks for" },
    { "over", 0, KR_OPT_REAL, offsetof(opts, over), "1", "X", "samples per cycle where it is fastest" },
    { "gradient", 0, KR_OPT_REAL, offsetof(opts, gradient), "30", "MT/M", "largest gradient, mT/m" },
    { "slew", 0, KR_OPT_REAL, offsetof(opts, slew), "150", "T/M/S", "largest slew rate, T/m/s" },
    { "fov", 0, KR_OPT_REAL, offsetof(opts, fov), NULL, "MM", "field of view; preset: that of the scan, or 240" },
    { "timing", 0, KR_OPT_CHOICE, offsetof(opts, timing), "limits", "limits|kim",
      "limits: as fast as both limits allow everywhere; kim: in closed form, which exceeds the slew rate near the centre" },
    KR_OPT_END };

enum { FINE = 20000 };
static const double gamma_hz = 42.577478518e6;               /* Hz/T */
struct path { double alpha, w, reach; };                     /* reach: largest k, 1/m */

static void at(const struct path *p, double tau, double k[2])
{
    double r = tau > 0 ? p->reach * pow(tau, p->alpha) : 0;
    k[0] = r * cos(p->w * tau);
    k[1] = r * sin(p->w * tau);
}

/* Time at which tau is reached as Kim et al. have it (Magn Reson Med 50:214 (2003)): limited by the slew rate, then by the gradient. */
struct kim { double a, s, change, before, end, alpha; };
static struct kim kim_of(const struct path *p, double gradient, double slew)
{
    struct kim q = { .alpha = p->alpha };
    double half = p->alpha / 2 + 1, whole = p->alpha + 1;
    q.a = p->reach * p->w / (gamma_hz * gradient * whole);
    q.s = sqrt(p->reach * p->w * p->w / (slew * gamma_hz)) / half;
    q.change = pow(pow(q.s, whole / half) * half / q.a / whole, 1 + 2 / p->alpha);
    q.end = q.change < q.s ? q.a : q.s;
    q.before = q.change < q.s ? pow(q.change / q.s, 1 / half) : 1;
    return q;
}

static double kim_tau(const struct kim *q, double t)
{
    if (t <= q->change || q->change >= q->s)
        return pow(t / q->s, 1 / (q->alpha / 2 + 1));
    return pow((t - q->change) / q->a + pow(q->before, q->alpha + 1), 1 / (q->alpha + 1));
}

/* Times at which FINE + 1 equal steps of tau are reached, as early as |k'| <= gamma gradient and |k''| <= gamma slew allow: along the path the
 * speed rises as fast as the slew rate that the curve leaves lets it, and falls likewise. Source: Lustig, Kim and Pauly, IEEE Trans Med
 * Imaging 27:866 (2008). */
static int fastest(double *time, const struct path *p, double gradient, double slew)
{
    kr_auto double *ds = kr_alloc(FINE + 1, sizeof *ds), *bend = kr_alloc(FINE + 1, sizeof *bend), *v = kr_alloc(FINE + 1, sizeof *v);
    if (!ds || !bend || !v)
        return kr_error_code();
    double G = gamma_hz * gradient, S = gamma_hz * slew;
    for (int i = 0; i < FINE; i++) {
        double a[2], b[2], c[2], h = 1. / FINE, tau = i ? i * h : 1e-3 * h;
        at(p, tau, a);
        at(p, (i + 1) * h, b);
        at(p, tau + .5 * ((i + 1) * h - tau), c);
        double one[2] = { c[0] - a[0], c[1] - a[1] }, two[2] = { b[0] - c[0], b[1] - c[1] }, l = hypot(one[0], one[1]), m = hypot(two[0], two[1]);
        double cross = one[0] * two[1] - one[1] * two[0], dot = one[0] * two[0] + one[1] * two[1];
        ds[i] = l + m;
        bend[i] = atan2(fabs(cross), dot) / (.5 * (l + m));
    }
    for (int i = 0; i < FINE; i++)
        v[i] = fmin(G, sqrt(S / fmax(bend[i], 1e-12)));
    double speed = 0;
    for (int i = 0; i < FINE; i++) {                         /* v^2 over the step's length grows by twice the slew rate that is left along the path */
        double left = sqrt(fmax(0, S * S - pow(bend[i] * speed * speed, 2)));
        speed = fmin(v[i], sqrt(speed * speed + 2 * left * ds[i]));
        v[i] = speed;
    }
    for (int i = FINE - 2; i >= 0; i--) {
        double left = sqrt(fmax(0, S * S - pow(bend[i + 1] * v[i + 1] * v[i + 1], 2)));
        v[i] = fmin(v[i], sqrt(v[i + 1] * v[i + 1] + 2 * left * ds[i + 1]));
    }
    time[0] = 0;
    for (int i = 0; i < FINE; i++)
        time[i + 1] = time[i] + ds[i] / (.5 * (v[i] + (i ? v[i - 1] : 0)));
    return 0;
}

static double tau_at(const double *time, double t, int *from)
{
    while (*from < FINE - 1 && time[*from + 1] < t)
        ++*from;
    double f = (t - time[*from]) / (time[*from + 1] - time[*from]);
    return ((double)*from + fmin(fmax(f, 0), 1)) / FINE;
}

static int check(const opts *o)
{
    if (!(o->alpha >= .5 && o->alpha <= 20) || !(o->accel >= .1 && o->accel <= 100) || !(o->over >= .01 && o->over <= 64))
        return kr_fail(KR_EUSAGE, "alpha is 0.5 to 20, accel 0.1 to 100, over 0.01 to 64; not %g, %g and %g", o->alpha, o->accel, o->over);
    if (!(o->gradient > 0 && o->gradient < 1e5) || !(o->slew > 0 && o->slew < 1e6))
        return kr_fail(KR_EUSAGE, "gradient and slew are above 0, not %g mT/m and %g T/m/s", o->gradient, o->slew);
    return 0;
}

static int make(trj_job *j, const void *options)
{
    const opts *o = options;
    long samples, arms;
    long few = j->want.n[0] / 4 < 1 ? 1 : j->want.n[0] / 4;
    if (check(o) || kr_trj_count(&arms, "interleaves", o->interleaves, j->want.views, few < 16 ? few : 16))
        return kr_error_code();
    double n = (double)j->want.n[0], fov = 1e-3 * (o->fov > 0 ? o->fov : j->want.fov_mm[0] > 0 ? j->want.fov_mm[0] : 240);
    double apart = 2 * (double)arms * o->accel / n;          /* of the radius that one turn of all interleaves goes outwards */
    if (n > 1 && !(apart < 1))
        return kr_fail(KR_EREFUSED, "%ld interleaves for a matrix of %ld make less than a turn each: fewer than %g are wanted", arms, j->want.n[0], n / 2 / o->accel);
    struct path p = { o->alpha, 2 * M_PI / (1 - pow(1 - apart, 1 / o->alpha)), .5 * n / fov };
    double gradient = 1e-3 * o->gradient;
    bool closed = !strcmp(o->timing, "kim");
    struct kim kim = kim_of(&p, gradient, o->slew);
    kr_auto double *time = kr_alloc(FINE + 1, sizeof *time);
    if (!time || (!closed && fastest(time, &p, gradient, o->slew)))
        return kr_error_code();
    double end = closed ? kim.end : time[FINE], speed = 0, dt = closed ? 1e-4 * kim.a : 0;
    double a[2], b[2];
    if (closed) {                                            /* where the gradient limits it */
        at(&p, kim_tau(&kim, kim.a), a);
        at(&p, kim_tau(&kim, kim.a - dt), b);
        speed = hypot(a[0] - b[0], a[1] - b[1]) / dt;
    } else
        for (int i = 0; i < FINE; i++) {
            at(&p, (double)i / FINE, a);
            at(&p, (i + 1.) / FINE, b);
            speed = fmax(speed, hypot(a[0] - b[0], a[1] - b[1]) / (time[i + 1] - time[i]));
        }
    if (kr_trj_count(&samples, "samples", o->samples, j->want.samples, lround(end * speed * fov * o->over)) || kr_trj_open(j, samples, arms, 1, 2))
        return kr_error_code();
    int from = 0;
    for (long s = 0; s < samples; s++) {
        double t = end * (double)s / (double)(samples > 1 ? samples - 1 : 1), tau = closed ? kim_tau(&kim, t) : tau_at(time, t, &from);
        double r = .5 * pow(tau, p.alpha), turn = p.w * tau;
        for (long v = 0; v < arms; v++)
            kr_trj_put(j, 0, v, s, r * cos(turn + 2 * M_PI * (double)v / (double)arms), r * sin(turn + 2 * M_PI * (double)v / (double)arms), 0);
    }
    return 0;
}

const trj_kind kr_trj_spiral = { "spiral", "spirals from the centre, Archimedean or of variable density, within gradient limits",
    "Kim et al., Magn Reson Med 50:214 (2003); Lustig, Kim and Pauly, IEEE Trans Med Imaging 27:866 (2008)", table, sizeof(opts), make };
