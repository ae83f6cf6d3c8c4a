/* daubechies.c: Daubechies' filters, and orthogonal wavelet transforms with them.
 *
 * Every axis is one pass over memory per level: sixteen lines go into a panel (lanes.h), are filtered there row by row and
 * come back, whatever their stride. Cyclic shifts ride on the first and the last of these copies. */
#include "daubechies.h"
#include "wavekern.h"
#include <math.h>
#include <string.h>

/* ---- Filters ---- */
/* All roots of a polynomial c[0] + c[1] y + ... + c[n] y^n at once. Source: Durand and Kerner; Aberth, Math Comp 27:339 (1973). */
static void roots(kr_cdouble *y, const double *c, int n)
{
    const kr_cdouble turn = 0.4 + 0.9i;
    y[0] = 1;
    for (int i = 1; i < n; i++)
        y[i] = y[i - 1] * turn;
    for (int step = 0; step < 500; step++)
        for (int i = 0; i < n; i++) {
            kr_cdouble p = c[n], q = c[n];
            for (int k = n - 1; k >= 0; k--)
                p = p * y[i] + c[k];
            for (int j = 0; j < n; j++)
                q *= j == i ? 1 : y[i] - y[j];
            y[i] -= p / q;
        }
}

/* |H(w)|^2 = 2 cos^2N(w/2) P(sin^2(w/2)), P(y) = sum_k binomial(N-1+k, k) y^k. With y = (2 - z - 1/z) / 4 every root of P
 * gives a pair z, 1/z; those inside the unit circle make the filter of extremal phase. */
int kr_wavelet_filter(int order, double *h)
{
    if (order < 1 || order > KR_WAVELET_ORDERS)
        return kr_fail(KR_EREFUSED, "Daubechies wavelets have orders 1 to %d, not %d", KR_WAVELET_ORDERS, order);
    double P[KR_WAVELET_ORDERS] = { 1 };
    kr_cdouble y[KR_WAVELET_ORDERS], H[2 * KR_WAVELET_ORDERS + 1] = { 1 };
    for (int k = 1; k < order; k++)
        P[k] = P[k - 1] * (order - 1 + k) / k;
    roots(y, P, order - 1);
    int degree = 0;
    for (int i = 0; i < 2 * order - 1; i++) {                        /* times (1 + z)^N and (z - z_i) */
        kr_cdouble root = -1;
        if (i >= order) {
            kr_cdouble s = 1 - 2 * y[i - order], d = __builtin_csqrt(s * s - 1);
            root = __builtin_cabs(s + d) < 1 ? s + d : s - d;
        }
        for (int k = ++degree; k >= 0; k--)
            H[k] = (k ? H[k - 1] : 0) - root * H[k];
    }
    double sum = 0;
    for (int k = 0; k < 2 * order; k++)
        sum += __builtin_creal(H[k]);
    for (int k = 0; k < 2 * order; k++)
        h[k] = __builtin_creal(H[2 * order - 1 - k]) * M_SQRT2 / sum;          /* largest taps first */
    return 0;
}

/* ---- Transforms ---- */
enum { SMALLEST = 32 };
const kr_wavekern *kr_wavekern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_wavekern_v4 : cpu >= 3 ? &kr_wavekern_v3 : &kr_wavekern_base;
}

kr_wavelet *kr_wavelet_new(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels)
{
    double h[2 * KR_WAVELET_ORDERS];
    if (kr_wavelet_filter(order, h))
        return NULL;
    if (levels < 0 || levels > KR_WAVELET_LEVELS) {
        kr_fail(KR_EREFUSED, "a wavelet transform of %d levels; 0 (no limit) to %d are possible", levels, KR_WAVELET_LEVELS);
        return NULL;
    }
    kr_wavelet *w = kr_alloc_zero(1, sizeof *w);
    if (!w)
        return NULL;
    w->real = type == KR_R32;
    w->lanes = w->real ? KR_ROW : KR_LANES;
    w->taps = 2 * order;
    for (int k = 0; k < w->taps; k++) {
        w->h[k] = (float)h[k];
        w->g[k] = (float)(k & 1 ? -h[w->taps - 1 - k] : h[w->taps - 1 - k]);
    }
    long longest = 1;
    w->volume = 1;
    for (int d = 0; d < 3; d++) {
        w->volume *= shape.n[d] ? shape.n[d] : 1;
        longest = shape.n[d] > longest ? shape.n[d] : longest;
    }
    while (w->turn < 2 && shape.n[w->turn] < 2 && w->volume > 1)     /* the place in memory stays the same */
        w->turn++;
    for (int d = 0; d < 3; d++)
        w->n[d] = w->band[0][d] = shape.n[(d + w->turn) % 3] ? shape.n[(d + w->turn) % 3] : 1;
    w->batch = kr_count(shape) / w->volume;
    for (bool more = true; more && w->levels < (levels ? levels : KR_WAVELET_LEVELS); ) {
        more = false;
        for (int d = 0; d < 3; d++) {
            long n = w->band[w->levels][d];
            bool split = axes & KR_ON((d + w->turn) % 3) && n >= SMALLEST;
            w->band[w->levels + 1][d] = split ? (n + 1) / 2 : n;
            more |= split;
        }
        w->levels += more;
    }
    w->room = (2 * longest + 4 * w->taps) * KR_ROW;
    w->work = kr_alloc((size_t)(kr_threads() * w->room), sizeof *w->work);
    if (!w->work)
        kr_wavelet_unref(&w);
    return w;
}

void kr_wavelet_unref(kr_wavelet **w)
{
    if (*w)
        kr_free((*w)->work);
    kr_free(*w);
    *w = NULL;
}

/* One axis of one level: panels of lines along `axis` within the band. */
struct step { const kr_wavelet *w; const void *from; void *to; const long *band; int axis; long shift, other[2], panels; bool inverse; };

/* `lines` lines of n numbers to the rows of a panel, and back: the first number at element `at`, the next line `line` further, the next point
 * `point`. */
static void bring(const kr_wavelet *w, float *panel, const void *x, long at, long line, long point, long n, long lines)
{
    if (!w->real) {
        kr_lanes_load(panel, (const kr_cfloat *)x + at, line, point, n, lines);
        return;
    }
    const float *from = (const float *)x + at;
    for (long k = 0; k < n; k++) {
        for (long l = 0; l < lines; l++)
            panel[k * KR_ROW + l] = from[k * point + l * line];
        for (long l = lines; l < KR_ROW; l++)
            panel[k * KR_ROW + l] = 0;
    }
}

static void take(const kr_wavelet *w, void *x, long at, long line, long point, const float *panel, long n, long lines)
{
    if (!w->real) {
        kr_lanes_store((kr_cfloat *)x + at, line, point, panel, n, lines);
        return;
    }
    float *to = (float *)x + at;
    for (long k = 0; k < n; k++)
        for (long l = 0; l < lines; l++)
            to[k * point + l * line] = panel[k * KR_ROW + l];
}

/* Rows of the panel, moved cyclically; the copies run along the line in two pieces. */
static void load(const struct step *s, float *panel, long at, long line, long point, long n, long lines)
{
    long first = n - s->shift;
    bring(s->w, panel, s->from, at + s->shift * point, line, point, first, lines);
    if (s->shift)
        bring(s->w, panel + first * KR_ROW, s->from, at, line, point, s->shift, lines);
}

static void store(const struct step *s, const float *panel, long at, long line, long point, long n, long lines)
{
    long first = n - s->shift;
    take(s->w, s->to, at + s->shift * point, line, point, panel, first, lines);
    if (s->shift)
        take(s->w, s->to, at, line, point, panel + first * KR_ROW, s->shift, lines);
}

static int panel(void *self, long i)
{
    const struct step *s = self;
    const kr_wavelet *w = s->w;
    long step[3] = { 1, w->n[0], w->n[0] * w->n[1] };
    long n = s->band[s->axis], half = n / 2, low = n - half, point = step[s->axis], line = step[s->other[0]], pad = w->taps / 2 - 1;
    long a = i % s->panels, b = i / s->panels % s->band[s->other[1]], batch = i / s->panels / s->band[s->other[1]];
    long left = s->band[s->other[0]] - a * w->lanes, lines = left < w->lanes ? left : w->lanes;
    long at = batch * w->volume + b * step[s->other[1]] + a * w->lanes * line;
    float *x = w->work + kr_worker() * w->room, *y = x + (n + w->taps) * KR_ROW;
    size_t row = KR_ROW * sizeof *x;
    if (!s->inverse) {
        load(s, x, at, line, point, n, lines);
        float last[KR_ROW];
        memcpy(last, x + (n - 1) * KR_ROW, row);
        for (long k = 0; k < w->taps - 2; k++)                       /* periodic; over the odd sample */
            memcpy(x + (2 * half + k) * KR_ROW, x + k % (2 * half) * KR_ROW, row);
        kr_wavekern_best()->analyse(y, y + low * KR_ROW, KR_ROW, x, w->h, w->g, w->taps, half);
        if (n & 1)
            memcpy(y + half * KR_ROW, last, row);
        take(w, s->to, at, line, point, y, n, lines);
    } else {
        float *l = x + pad * KR_ROW, *u = l + (low + pad) * KR_ROW;
        float *out = u + half * KR_ROW;
        bring(w, l, s->from, at, line, point, low, lines);
        bring(w, u, s->from, at + low * point, line, point, half, lines);
        for (long k = 1; k <= pad; k++) {
            long from = (half - k % half) % half;
            memcpy(l - k * KR_ROW, l + from * KR_ROW, row);
            memcpy(u - k * KR_ROW, u + from * KR_ROW, row);
        }
        kr_wavekern_best()->synthesise(out, KR_ROW, l, u, w->h, w->g, w->taps, half);
        if (n & 1)
            memcpy(out + (n - 1) * KR_ROW, l + half * KR_ROW, row);
        store(s, out, at, line, point, n, lines);
    }
    return 0;
}

static void one(const kr_wavelet *w, void *to, const void *from, int level, int axis, const long shift[3], bool inverse)
{
    const long *band = w->band[level];
    struct step s = { .w = w, .from = from, .to = to, .band = band, .axis = axis, .inverse = inverse };
    s.other[0] = axis == KR_X ? KR_Y : KR_X;
    s.other[1] = KR_X + KR_Y + KR_Z - axis - s.other[0];
    long moved = shift[(axis + w->turn) % 3];
    s.shift = level ? 0 : (moved % band[axis] + band[axis]) % band[axis];
    s.panels = (band[s.other[0]] + w->lanes - 1) / w->lanes;
    int e = kr_for(s.panels * band[s.other[1]] * w->batch, panel, &s);
    kr_assert(!e);
}

static size_t bytes(const kr_wavelet *w) { return (size_t)(w->volume * w->batch) * (w->real ? sizeof(float) : sizeof(kr_cfloat)); }

void kr_wavelet_forward(const kr_wavelet *w, void *c, const void *x, const long shift[3])
{
    const void *from = x;
    for (int level = 0; level < w->levels; level++)
        for (int d = 0; d < 3; d++)
            if (w->band[level + 1][d] < w->band[level][d]) {
                one(w, c, from, level, d, shift, false);
                from = c;
            }
    if (from != c)
        memcpy(c, x, bytes(w));
}

void kr_wavelet_inverse(const kr_wavelet *w, void *x, const void *c, const long shift[3])
{
    if (x != c)
        memcpy(x, c, bytes(w));
    for (int level = w->levels - 1; level >= 0; level--)
        for (int d = 2; d >= 0; d--)
            if (w->band[level + 1][d] < w->band[level][d])
                one(w, x, x, level, d, shift, true);
}
