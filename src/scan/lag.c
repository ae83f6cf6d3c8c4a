/* lag.c: how far gradients lag behind, from the data alone.
 *
 * Where spokes meet about the centre of k-space, they measure the same smooth function: the transform of an object within the field of
 * view, which is as likely as its kernel K(k, k') = sinc(kx - kx') sinc(ky - ky') says. The delays sought are those under which the samples
 * of all spokes are likeliest, log |K| + P log(y^H K^-1 y / P) least, K with the noise on its diagonal. Opposed spokes (Block and Uecker, Proc
 * ISMRM 2011:2816) and spokes that cross (RING: Rosenzweig et al., Magn Reson Med 81:1898 (2019)) are parts of this. */
#include "kray/trajectory.h"
#include <math.h>
#include <string.h>

enum { SPOKES = 40, POINTS = 800, COILS = 16, PARAMS = 6, TURNS = 12 };
struct fit {
    long points, coils, dims, params;
    double *k[3], *step[3];                  /* where a point lies, and where the next sample of its readout is beside it */
    double *y;                               /* {points, 2 COILS}                                          */
    double *K, *s[3], *c[3], *at[3], *v;     /* scratch                                                    */
    double noise;                            /* relative to K's diagonal                                   */
};

/* D = symmetric, d[0..]: xx, yy, (zz,) xy, (xz, yz). */
static void matrix_of(double D[3][3], const double *d, long dims)
{
    memset(D, 0, 9 * sizeof(double));
    for (long i = 0, p = dims; i < dims; i++) {
        D[i][i] = d[i];
        for (long j = i + 1; j < dims; j++)
            D[i][j] = D[j][i] = d[p++];
    }
}

static double sinc(double sine, double d) { return fabs(d) > 1e-6 ? sine / (M_PI * d) : 1; }

/* Minus twice the logarithm of the likelihood, per coil, but for a constant. */
static double unlikely(const struct fit *f, const double *d)
{
    double D[3][3];
    long n = f->points;
    matrix_of(D, d, f->dims);
    for (long e = 0; e < f->dims; e++)
        for (long i = 0; i < n; i++) {
            double at = f->k[e][i];
            for (long g = 0; g < f->dims; g++)
                at -= D[e][g] * f->step[g][i];
            f->at[e][i] = at;
            f->s[e][i] = sin(M_PI * at);
            f->c[e][i] = cos(M_PI * at);
        }
    double logs = 0, sum = 0;
    for (long i = 0; i < n; i++) {           /* K = L L^T, row by row */
        double *row = f->K + i * n;
        for (long j = 0; j <= i; j++) {
            double v = 1;
            for (long e = 0; e < f->dims; e++)
                v *= sinc(f->s[e][i] * f->c[e][j] - f->c[e][i] * f->s[e][j], f->at[e][i] - f->at[e][j]);
            row[j] = v;
        }
        row[i] += f->noise;
        for (long j = 0; j <= i; j++) {
            const double *other = f->K + j * n;
            double v = row[j];
            for (long m = 0; m < j; m++)
                v -= row[m] * other[m];
            row[j] = j < i ? v / other[j] : sqrt(fmax(v, 1e-14));
        }
        logs += 2 * log(row[i]);
    }
    for (long c = 0; c < 2 * f->coils; c++) {
        const double *y = f->y + c * n;
        for (long i = 0; i < n; i++) {
            double v = y[i];
            for (long m = 0; m < i; m++)
                v -= f->K[i * n + m] * f->v[m];
            f->v[i] = v / f->K[i * n + i];
            sum += f->v[i] * f->v[i];
        }
    }
    return logs + (double)n * log(sum);
}

/* The step of Newton from differences, halved until it helps. */
static int newton(struct fit *f, double *d)
{
    long p = f->params;
    double h = .05, best = unlikely(f, d);
    for (int turn = 0; turn < TURNS; turn++) {
        double up[PARAMS], down[PARAMS], g[PARAMS], H[PARAMS][PARAMS], step[PARAMS] = { 0 };
        for (long i = 0; i < p; i++) {
            double was = d[i];
            d[i] = was + h;
            up[i] = unlikely(f, d);
            d[i] = was - h;
            down[i] = unlikely(f, d);
            d[i] = was;
            g[i] = (up[i] - down[i]) / (2 * h);
            H[i][i] = (up[i] + down[i] - 2 * best) / (h * h);
        }
        for (long i = 0; i < p; i++)
            for (long j = 0; j < i; j++) {
                double a = d[i], b = d[j];
                d[i] = a + h;
                d[j] = b + h;
                H[i][j] = H[j][i] = (unlikely(f, d) - up[i] - up[j] + best) / (h * h);
                d[i] = a;
                d[j] = b;
            }
        double L[PARAMS][PARAMS] = { { 0 } };
        bool convex = true;
        for (long i = 0; i < p; i++) {
            for (long j = 0; j <= i; j++) {
                double v = H[i][j];
                for (long m = 0; m < j; m++)
                    v -= L[i][m] * L[j][m];
                convex &= j < i || v > 1e-3 * fabs(H[i][i]);
                L[i][j] = !convex ? 1 : j < i ? v / L[j][j] : sqrt(v);
            }
            double v = -g[i];
            for (long m = 0; m < i; m++)
                v -= L[i][m] * step[m];
            step[i] = v / L[i][i];
        }
        for (long i = p - 1; i >= 0; i--) {
            for (long m = i + 1; m < p; m++)
                step[i] -= L[m][i] * step[m];
            step[i] /= L[i][i];
        }
        for (long i = 0; i < p && !convex; i++)              /* far from the least, where it is not: down the slope */
            step[i] = -g[i];
        double size = 0, next = best, try[PARAMS];
        for (long i = 0; i < p; i++)
            size = fmax(size, fabs(step[i]));
        double most = size > .4 || !convex ? .4 / size : 1;
        for (double s = most; s > 1e-3 * most; s /= 2) {
            for (long i = 0; i < p; i++)
                try[i] = d[i] + s * step[i];
            if ((next = unlikely(f, try)) < best) {
                memcpy(d, try, (size_t)p * sizeof *d);
                break;
            }
        }
        if (!(next < best) || size < 2e-3)
            break;
        best = next;
    }
    return isfinite(best) ? 0 : kr_fail(KR_ENUMBER, "delays: the samples about the centre of k-space make no sense");
}

/* Samples about the centre of up to SPOKES readouts, a cycle apart. */
static int gather(struct fit *f, const kr_scan *s, const kr_array *k, const kr_array *data)
{
    long n = k->n[KR_SAMPLE], views = k->n[KR_VIEW], all = kr_count(kr_array_shape(k)) / k->n[KR_CHAN], through = 0;
    long every = (views + SPOKES - 1) / SPOKES, used = (views + every - 1) / every;
    double R = f->dims == 2 ? fmin(8, .75 * (double)used / M_PI) : 2.5;
    R = fmin(R, .4 * (double)s->enc.encoded[0]);
    if (R < 1.5)
        return kr_fail(KR_EREFUSED, "delays cannot be told from %ld readouts: at least 7 are wanted", views);
    for (long v = 0; v < views; v += every) {
        double last[3] = { 1e9, 1e9, 1e9 };
        bool met = false;
        for (long i = 1; i + 1 < n && f->points < POINTS; i++) {
            double at[3] = { 0 }, r2 = 0, gap = 0;
            for (long d = 0; d < f->dims; d++) {
                at[d] = KR_R(k)[d * all + v * n + i];
                r2 += at[d] * at[d];
                gap += (at[d] - last[d]) * (at[d] - last[d]);
            }
            if (r2 > R * R || gap < .98)
                continue;
            met = true;
            memcpy(last, at, sizeof last);
            for (long d = 0; d < f->dims; d++) {
                f->k[d][f->points] = at[d];
                f->step[d][f->points] = .5 * (double)(KR_R(k)[d * all + v * n + i + 1] - KR_R(k)[d * all + v * n + i - 1]);
            }
            for (long c = 0; c < f->coils; c++) {
                kr_cfloat y = KR_C(data)[(c * views + v) * n + i];
                f->y[2 * c * POINTS + f->points] = kr_re(y);
                f->y[(2 * c + 1) * POINTS + f->points] = kr_im(y);
            }
            f->points++;
        }
        through += met;
    }
    if (through < 7 || f->points < 30)
        return kr_fail(KR_EREFUSED, "delays cannot be told from %ld readouts through the centre of k-space (%ld samples about it): at least 7 in different directions are wanted", through, f->points);
    for (long c = 1; c < 2 * f->coils; c++)
        memmove(f->y + c * f->points, f->y + c * POINTS, (size_t)f->points * sizeof *f->y);
    return 0;
}

static long middle(const kr_scan *s, int d) { return s->shape.n[d] / 2; }

int kr_scan_lag(double delay[3][3], const kr_scan *s, const kr_trace *trace)
{
    kr_array *k = s->traj ? kr_array_ref(s->traj) : NULL, *y = kr_array_ref(s->data);
    kr_text at = { 0 };
    for (int d = 0; k && y && d < KR_AXES; d++) {            /* of the middle slice and frame */
        bool stays = d == KR_SAMPLE || d == KR_VIEW || d == KR_CHAN || d == KR_COIL;
        kr_array *a = stays ? kr_array_ref(k) : kr_array_at(k, d, k->n[d] > 1 ? middle(s, d) : 0), *b = stays ? kr_array_ref(y) : kr_array_at(y, d, middle(s, d));
        kr_array_unref(&k);
        kr_array_unref(&y);
        k = a;
        y = b;
        if (!stays && s->shape.n[d] > 1)
            kr_text_add(&at, ", %s %ld of 0 to %ld", kr_axis_name(d), middle(s, d), s->shape.n[d] - 1);
    }
    if (at.len)
        kr_say(trace, KR_INFO, "gradient delays are found in %s and taken for all", at.s + 2);
    kr_text_clear(&at);
    kr_scoped(array) K = k ? kr_array_packed(k) : NULL;
    kr_scoped(array) data = y ? kr_array_packed(y) : NULL;
    kr_array_unref(&k);
    kr_array_unref(&y);
    if (!K || !data)
        return kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "delays are for scans along a trajectory");
    struct fit f = { .dims = K->n[KR_CHAN], .coils = data->n[KR_COIL] < COILS ? data->n[KR_COIL] : COILS };
    f.params = f.dims * (f.dims + 1) / 2;
    kr_auto double *room = kr_alloc_zero((size_t)POINTS * (POINTS + 2 * COILS + 16), sizeof *room);
    if (!room)
        return kr_error_code();
    double *next = room;
    for (int d = 0; d < 3; d++) {
        double **part[] = { &f.k[d], &f.step[d], &f.s[d], &f.c[d], &f.at[d] };
        for (int i = 0; i < 5; i++, next += POINTS)
            *part[i] = next;
    }
    f.v = next;
    f.y = next + POINTS;
    f.K = f.y + 2 * COILS * POINTS;
    int e = gather(&f, s, K, data);
    if (e)
        return e;
    double d[PARAMS] = { 0 };
    f.noise = .01;                            /* what looks like noise at first is the delay */
    for (int round = 0; !e && round < 2; round++) {
        e = newton(&f, d);
        double least = HUGE_VAL, found = 0;
        for (f.noise = 1e-7; !e && f.noise < .2; f.noise *= 10) {
            double u = unlikely(&f, d);
            found = u < least ? f.noise : found;
            least = fmin(u, least);
        }
        f.noise = found;
    }
    e = e ? e : newton(&f, d);
    if (e)
        return e;
    matrix_of(delay, d, f.dims);
    kr_say(trace, KR_DETAIL, "delays from %ld samples about the centre of k-space", f.points);
    return 0;
}
