/* ghost.c: how far backward readouts of an echo-planar scan are ahead of forward ones, from navigators' products or from the data
 * alone. A delay of the gradients shifts forward and backward echoes in opposite directions: a linear phase in image space
 * along the readout, and a constant one. Left alone it puts a copy of the object half a field of view away.
 * Sources: Bruder 1992 (navigators); Clare, ISMRM 2008 (entropy); Peterson, Aksoy, Maclaren, Bammer, ISMRM 2015 (singular values). */
#include "kray/fourier.h"
#include "kray/la.h"
#include "epi.h"
#include <math.h>
#include <string.h>

/* ---- Navigators ---- */
kr_turn kr_turn_fit(const double (*o)[2], long n)
{
    double re = 0, im = 0, w = 0;
    for (long x = 1; x < n; x++) {                           /* slope: from the autocorrelation, which cannot wrap */
        re += o[x][0] * o[x - 1][0] + o[x][1] * o[x - 1][1];
        im += o[x][1] * o[x - 1][0] - o[x][0] * o[x - 1][1];
    }
    kr_turn t = { { 0, re * re + im * im > 0 ? atan2(im, re) : 0 } };
    for (int turn = 0; turn < 4; turn++) {                   /* then the phase that is left, which is small */
        double s[3] = { 0, 0, 0 }, v[2] = { 0, 0 };
        re = im = w = 0;
        for (long x = 0; x < n; x++) {
            double p = t.turn[0] + t.turn[1] * (double)(x - n / 2);
            re += o[x][0] * cos(p) + o[x][1] * sin(p);
            im += o[x][1] * cos(p) - o[x][0] * sin(p);
        }
        t.turn[0] += re * re + im * im > 0 ? atan2(im, re) : 0;
        for (long x = 0; x < n; x++) {
            double d = (double)(x - n / 2), p = t.turn[0] + t.turn[1] * d;
            double a = o[x][0] * cos(p) + o[x][1] * sin(p), b = o[x][1] * cos(p) - o[x][0] * sin(p), size = sqrt(a * a + b * b);
            double left = size > 0 ? atan2(b, a) : 0;
            s[0] += size;
            s[1] += size * d;
            s[2] += size * d * d;
            v[0] += size * left;
            v[1] += size * left * d;
        }
        w = s[0] * s[2] - s[1] * s[1];
        if (!(w > 0))
            break;
        t.turn[0] += (v[0] * s[2] - v[1] * s[1]) / w;
        t.turn[1] += (v[1] * s[0] - v[0] * s[1]) / w;
    }
    t.turn[0] = atan2(sin(t.turn[0]), cos(t.turn[0]));
    return t;
}

/* ---- The least of a cost over turns ---- */
typedef double cost(void *self, kr_turn t);      /* may be called by several threads at once; NAN: refused, as recorded */
enum { CANDIDATES = 512 };
typedef struct search { cost *f; void *self; kr_turn at[CANDIDATES]; double value[CANDIDATES]; long count; } search;

static int try_one(void *self, long i)
{
    search *s = self;
    s->value[i] = s->f(s->self, s->at[i]);
    return isnan(s->value[i]) ? kr_error_code() : 0;
}

static int take_best(search *s, kr_turn *t, double *best)
{
    if (kr_for(s->count, try_one, s))
        return kr_error_code();
    for (long i = 0; i < s->count; i++)
        if (s->value[i] < *best) {
            *best = s->value[i];
            *t = s->at[i];
        }
    s->count = 0;
    return 0;
}

/* Candidates at one shift: all constants. */
static int try_shift(search *s, kr_turn *t, double *best, double shift, int constants, double turn)
{
    for (int i = 0; i < constants; i++)
        s->at[s->count++] = (kr_turn){ { turn * (i - constants / 2), shift } };
    return s->count + constants > CANDIDATES ? take_best(s, t, best) : 0;
}

/* On a grid of `constants` constants, `turn` apart, around 0, and of shifts by up to `most` samples; then on ever finer grids around the
 * best. The whole grid, since the cost has other minima, of which the nearest to 0 need not be the least. No correction is one of the
 * candidates, so that the result is never worse by this cost. *border: the best shift is the largest, or larger. */
static int least(kr_turn *t, bool *border, cost *f, void *self, long n, double most, double step, int constants, double turn)
{
    kr_auto search *s = kr_alloc_zero(1, sizeof *s);
    double unit = 2 * M_PI / (double)n, best = INFINITY, h[2] = { turn, step * unit };
    if (!s)
        return kr_error_code();
    s->f = f;
    s->self = self;
    *t = (kr_turn){ { 0, 0 } };
    long to = lround(most / step);
    for (long shift = -to; shift <= to; shift++)
        if (try_shift(s, t, &best, (double)shift * step * unit, constants, turn))
            return kr_error_code();
    if (take_best(s, t, &best))
        return kr_error_code();
    /* A quarter of the readout from the right shift, every second column is right or half a field of view away: a minimum, too. */
    if (try_shift(s, t, &best, t->turn[1] - copysign(M_PI / 2, t->turn[1]), constants, turn) || take_best(s, t, &best))
        return kr_error_code();
    *border = fabs(t->turn[1]) > ((double)to - 1.5) * step * unit;
    for (int level = 0; level < 12; level++) {
        h[0] /= 2;
        h[1] /= 2;
        for (int i = -1; i <= 1; i++)
            for (int j = -1; j <= 1; j++)
                if (i || j)
                    s->at[s->count++] = (kr_turn){ { t->turn[0] + i * h[0], t->turn[1] + j * h[1] } };
        if (take_best(s, t, &best))
            return kr_error_code();
    }
    while (t->turn[0] > M_PI / 2)
        t->turn[0] -= M_PI;
    while (t->turn[0] <= -M_PI / 2)
        t->turn[0] += M_PI;
    return 0;
}

/* Shifts of so many samples are tried: an eighth of the readout; of short ones 6, if they have them. */
static double most_of(long n) { return fmin(fmax((double)n / 8, 6), (double)n / 4); }

/* ---- Entropy ---- */
/* The image is A e^(i p/2) + B e^(-i p/2), A of the forward rows and B of the backward ones. Its energy over the coils, at each pixel, is
 * P + 2 Re(e^(-i p) Q), P = sum |A|^2 + |B|^2, Q = sum conj(A) B: two numbers a pixel, however many coils. */
typedef struct entropy { long nx, rows; float *P; kr_cfloat *Q; double *turn; } entropy;     /* turn: [worker][cos, sin][x] */

static double entropy_of(void *self, kr_turn t)
{
    const entropy *e = self;
    double *c = e->turn + 2 * e->nx * kr_worker(), *d = c + e->nx, sum = 0;
    for (long x = 0; x < e->nx; x++) {
        double p = t.turn[0] + t.turn[1] * (double)(x - e->nx / 2);
        c[x] = cos(p);
        d[x] = sin(p);
    }
    for (long row = 0; row < e->rows; row++)
        for (long x = 0; x < e->nx; x++) {
            kr_cfloat q = e->Q[row * e->nx + x];
            double m = (double)e->P[row * e->nx + x] + 2 * (kr_re(q) * c[x] + kr_im(q) * d[x]);
            sum -= m > 0 ? sqrt(m) * log(m) / 2 : 0;
        }
    return sum;
}

/* Rows measured one way, the others 0, of coil c; as an image. */
static void image_of(const kr_fft *f, kr_cfloat *to, const kr_array *v, const unsigned char *way, int which, long c)
{
    long nx = v->n[KR_X], rows = v->n[KR_Y] * v->n[KR_Z];
    const kr_cfloat *from = KR_C(v) + c * nx * rows;
    for (long r = 0; r < rows; r++)
        if (way[r] == which)
            memcpy((void *)(to + r * nx), from + r * nx, (size_t)nx * sizeof *to);
        else
            memset((void *)(to + r * nx), 0, (size_t)nx * sizeof *to);
    kr_fft_inverse(f, to);
}

int kr_turn_entropy(kr_turn *t, bool *border, const kr_array *volume, const unsigned char *way, enum kr_turn_how how)
{
    kr_scoped(array) v = kr_array_packed(volume);
    if (!v)
        return kr_error_code();
    entropy e = { .nx = v->n[KR_X], .rows = v->n[KR_Y] * v->n[KR_Z] };
    long n = e.nx * e.rows;
    kr_auto kr_cfloat *a = kr_alloc((size_t)n, sizeof *a), *b = kr_alloc((size_t)n, sizeof *b), *q = kr_alloc_zero((size_t)n, sizeof *q);
    kr_auto float *p = kr_alloc_zero((size_t)n, sizeof *p);
    kr_auto double *turn = kr_alloc((size_t)(2 * e.nx), (size_t)kr_threads() * sizeof *turn);
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = e.nx, [KR_Y] = v->n[KR_Y], [KR_Z] = v->n[KR_Z]), KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), KR_CENTRED);
    if (!a || !b || !q || !p || !turn || !f) {
        kr_fft_unref(&f);
        return kr_error_code();
    }
    double energy = 0;
    for (long c = 0; c < v->n[KR_COIL]; c++) {
        image_of(f, a, v, way, KR_WAY_FORWARD, c);
        image_of(f, b, v, way, KR_WAY_BACKWARD, c);
        for (long i = 0; i < n; i++) {
            p[i] += kr_re(a[i]) * kr_re(a[i]) + kr_im(a[i]) * kr_im(a[i]) + kr_re(b[i]) * kr_re(b[i]) + kr_im(b[i]) * kr_im(b[i]);
            q[i] += kr_cmulc(a[i], b[i]);
        }
    }
    kr_fft_unref(&f);
    for (long i = 0; i < n; i++)
        energy += (double)p[i];
    float scale = energy > 0 ? (float)(1 / energy) : 0;      /* so that the image's squares sum to 1 */
    for (long i = 0; i < n; i++) {
        p[i] *= scale;
        q[i] = kr_c(scale * kr_re(q[i]), scale * kr_im(q[i]));
    }
    e.P = p;
    e.Q = q;
    e.turn = turn;
    *border = false;
    if (how == KR_TURN_CHECK) {
        if (entropy_of(&e, *t) > entropy_of(&e, (kr_turn){ { 0, 0 } })) {
            *border = true;
            *t = (kr_turn){ { 0, 0 } };
        }
        return 0;
    }
    bool near = how == KR_TURN_NEAR, far = false;
    if (least(t, &far, entropy_of, &e, e.nx, near ? 0.5 : most_of(e.nx), near ? 0.25 : 0.5, near ? 5 : 16, M_PI / 16))
        return kr_error_code();
    *border = far && !near;
    return 0;
}

/* ---- Singular values ---- */
/* In image space along x the rows of a smooth object, seen by coils, are predicted by their neighbours: windows of some
 * consecutive rows and coils, collected over y and a band of x, have low rank. A ghost is a second object and adds to it. */
enum { WINDOW = 6, VIRTUAL = 4, BAND = 10 };
typedef struct windows {
    long nx, coils, rows, columns, most;     /* rows: measured ones; columns: of the matrix; most: its rows */
    const kr_cfloat *h;              /* [coil][row][x] */
    const unsigned char *way;        /* of those rows */
    kr_cfloat *matrix, *gram;        /* one for each worker */
} windows;

static double windows_cost(void *self, kr_turn t)
{
    const windows *w = self;
    long starts = w->rows - WINDOW + 1, K = w->columns;
    kr_cfloat *m = w->matrix + kr_worker() * w->most * K, *g = w->gram + kr_worker() * K * K;
    double sum = 0;
    for (long x0 = 0; x0 < w->nx; x0 += BAND) {
        long x1 = x0 + BAND < w->nx ? x0 + BAND : w->nx, lines = (x1 - x0) * starts;
        for (long x = x0; x < x1; x++) {
            double p = (t.turn[0] + t.turn[1] * (double)(x - w->nx / 2)) / 2;
            kr_cfloat turn = kr_c((float)cos(p), (float)sin(p));
            for (long c = 0; c < w->coils; c++)
                for (long j = 0; j < WINDOW; j++)
                    for (long s = 0; s < starts; s++) {
                        kr_cfloat v = w->h[(c * w->rows + s + j) * w->nx + x];
                        m[(c * WINDOW + j) * lines + (x - x0) * starts + s] = w->way[s + j] == KR_WAY_FORWARD ? kr_cmul(v, turn) : kr_cmulc(turn, v);
                    }
        }
        float value[WINDOW * VIRTUAL];
        kr_la_gram(K, lines, 1, m, lines, 0, g, K);
        if (kr_la_eigh(K, g, value))
            return NAN;
        for (long k = 0; k < K; k++)
            sum += sqrt(fmax((double)value[k], 0));
    }
    return sum;
}

/* The channels, or the strongest mixtures of them: [coil][row][x] of the measured rows, in image space along x. */
static int measured_rows(windows *w, const kr_array *v, const unsigned char *way, kr_cfloat **h, unsigned char *ways)
{
    long nx = v->n[KR_X], all = v->n[KR_COIL], total = v->n[KR_Y] * v->n[KR_Z], used = 0, n = 0;
    for (long r = 0; r < total; r++)
        if (way[r] == KR_WAY_FORWARD || way[r] == KR_WAY_BACKWARD)
            ways[used++] = way[r];
    w->rows = used;
    w->coils = all < VIRTUAL ? all : VIRTUAL;
    if (used < 2 * WINDOW)
        return kr_fail(KR_EREFUSED, "%ld echoes are too few to find the ghost's phase by singular values; at least %d are wanted", used, 2 * WINDOW);
    long size = used * nx;
    kr_auto kr_cfloat *x = kr_alloc((size_t)(size * all), sizeof *x), *g = kr_alloc((size_t)(all * all), sizeof *g);
    kr_auto kr_cfloat *mix = kr_alloc((size_t)(all * w->coils), sizeof *mix);
    kr_auto float *value = kr_alloc((size_t)all, sizeof *value);
    *h = kr_alloc((size_t)(size * w->coils), sizeof **h);
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = nx, [KR_Y] = used, [KR_COIL] = all), KR_ON(KR_X), KR_CENTRED);
    if (!x || !g || !mix || !value || !*h || !f) {
        kr_fft_unref(&f);
        return kr_error_code();
    }
    for (long c = 0; c < all; c++)
        for (long r = 0; r < total; r++)
            if (way[r] == KR_WAY_FORWARD || way[r] == KR_WAY_BACKWARD)
                memcpy((void *)(x + n++ * nx), KR_C(v) + (c * total + r) * nx, (size_t)nx * sizeof *x);
    kr_fft_inverse(f, x);
    kr_fft_unref(&f);
    kr_la_gram(all, size, 1, x, size, 0, g, all);
    if (kr_la_eigh_top(all, g, w->coils, value, mix))
        return kr_error_code();
    kr_la_gemm('N', 'N', size, w->coils, all, 1, x, size, mix, all, 0, *h, size);
    return 0;
}

int kr_turn_svd(kr_turn *t, bool *border, const kr_array *volume, const unsigned char *way)
{
    kr_scoped(array) v = kr_array_packed(volume);
    kr_auto unsigned char *ways = kr_alloc((size_t)(volume->n[KR_Y] * volume->n[KR_Z]), 1);
    kr_auto kr_cfloat *h = NULL;
    windows w = { .nx = volume->n[KR_X] };
    if (!v || !ways || measured_rows(&w, v, way, &h, ways))
        return kr_error_code();
    w.columns = WINDOW * w.coils;
    w.most = BAND * (w.rows - WINDOW + 1);
    kr_auto kr_cfloat *matrix = kr_alloc((size_t)(w.most * w.columns), (size_t)kr_threads() * sizeof *matrix);
    kr_auto kr_cfloat *gram = kr_alloc((size_t)(w.columns * w.columns), (size_t)kr_threads() * sizeof *gram);
    if (!matrix || !gram)
        return kr_error_code();
    w.h = h;
    w.way = ways;
    w.matrix = matrix;
    w.gram = gram;
    return least(t, border, windows_cost, &w, w.nx, most_of(w.nx), 0.5, 8, M_PI / 8);
}
