/* fit.c: the normal equations of kernels in k-space. */
#include "fit.h"
#include "kray/la.h"
#include <math.h>
#include <string.h>

enum { D = 3, TILE = 96 };

struct shifts { kr_cfloat *A; const kr_array *block; long (*offset)[D]; long from[D], places[D], rows, run, every; };

/* One column: runs along X, of every so many-th line. */
static int column(void *self, long i)
{
    const struct shifts *j = self;
    long coils = j->block->n[KR_COIL], c = i % coils;
    const long *o = j->offset[i / coils];
    kr_cfloat *to = j->A + i * j->rows;
    for (long l = 0; l < j->places[1] * j->places[2]; l += j->every, to += j->run) {
        long y = j->from[1] + l % j->places[1] + o[1], z = j->from[2] + l / j->places[1] + o[2];
        const kr_array *b = j->block;
        memcpy((void *)to, KR_C(b) + (j->from[0] + o[0]) * b->step[KR_X] + y * b->step[KR_Y] + z * b->step[KR_Z] + c * b->step[KR_COIL],
               (size_t)j->run * sizeof *to);
    }
    return 0;
}

int kr_fit_shifts(kr_cfloat **A, long *rows, const kr_array *block, long (*offset)[D], long offsets, const long low[D],
                  const long span[D], long enough)
{
    kr_assert(kr_array_contiguous(block));
    struct shifts j = { .block = block, .offset = offset, .every = 1 };
    for (int d = 0; d < D; d++) {
        j.from[d] = -low[d];
        j.places[d] = block->n[d] - span[d] + 1;
        if (j.places[d] < 1)
            return kr_fail(KR_ESHAPE, "a kernel of %ld x %ld x %ld samples does not fit into the calibration area of %ld x %ld x %ld",
                           span[0], span[1], span[2], block->n[0], block->n[1], block->n[2]);
    }
    long lines = j.places[1] * j.places[2];
    j.run = j.places[0];
    j.every = lines * j.run / enough;
    j.every = j.every < 1 ? 1 : j.every > lines ? lines : j.every;
    *rows = j.rows = (lines + j.every - 1) / j.every * j.run;
    *A = j.A = kr_alloc((size_t)j.rows, (size_t)(offsets * block->n[KR_COIL]) * sizeof **A);
    return *A ? kr_for(offsets * block->n[KR_COIL], column, &j) : kr_error_code();
}

struct tiles { kr_cfloat *C; const kr_cfloat *A, *B; long m, n, rows, down; bool lower; };

static int tile(void *self, long i)
{
    const struct tiles *j = self;
    long r = i % j->down * TILE, c = i / j->down * TILE;
    if (j->lower && r < c)
        return 0;
    long m = j->m - r < TILE ? j->m - r : TILE, n = j->n - c < TILE ? j->n - c : TILE;
    kr_la_gemm('C', 'N', m, n, j->rows, 1, j->A + r * j->rows, j->rows, j->B + c * j->rows, j->rows, 0, j->C + c * j->m + r, j->m);
    return 0;
}

int kr_fit_products(kr_cfloat *C, const kr_cfloat *A, long m, const kr_cfloat *B, long n, long rows, bool lower)
{
    struct tiles j = { C, A, B, m, n, rows, (m + TILE - 1) / TILE, lower };
    return kr_for(j.down * ((n + TILE - 1) / TILE), tile, &j);
}

float kr_fit_ridge(const kr_cfloat *G, long n, double lambda)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += kr_re(G[i * (n + 1)]);
    return (float)(lambda * sum / (double)n);
}

/* ---- What each equation counts by ---- */
/* p: the mean power of each row; returns their mean. */
static double powers(double *p, const kr_cfloat *A, long rows, long known)
{
    double mean = 0;
    memset(p, 0, (size_t)rows * sizeof *p);
    for (long i = 0; i < known; i++)
        for (long r = 0; r < rows; r++)
            p[r] += (double)kr_cabs2(A[i * rows + r]) / (double)known;
    for (long r = 0; r < rows; r++)
        mean += p[r] / (double)rows;
    return mean;
}

static void weigh(kr_cfloat *A, long rows, long columns, const double *p, double mean, double floor)
{
    enum { RUN = 256 };
    float w[RUN];
    for (long from = 0; from < rows && mean > 0; from += RUN) {
        long run = rows - from < RUN ? rows - from : RUN;
        for (long r = 0; r < run; r++)
            w[r] = (float)sqrt(1 / (p[from + r] / mean + floor));
        for (long i = 0; i < columns; i++)
            for (long r = 0; r < run; r++) {
                kr_cfloat *a = A + i * rows + from + r;
                *a = kr_c(w[r] * kr_re(*a), w[r] * kr_im(*a));
            }
    }
}

int kr_fit_weigh(kr_cfloat *A, long rows, long known, long columns, double floor)
{
    kr_auto double *p = kr_alloc((size_t)rows, sizeof *p);
    if (!p)
        return kr_error_code();
    double mean = powers(p, A, rows, known);
    weigh(A, rows, columns, p, mean, floor);
    return 0;
}

double kr_fit_edge(const kr_array *block, unsigned axes)
{
    double sum = 0, count = 0;
    for (int d = 0; d < D; d++)
        for (long side = 0; side < 2 && axes & KR_ON(d); side++) {
            kr_scoped(array) face = kr_array_at(block, d, side * (block->n[d] - 1));
            if (!face)
                return -1;
            sum += kr_dot_re(face, face);
            count += (double)kr_count(kr_array_shape(face));
        }
    return count > 0 ? sum / count : 0;
}

enum { FOLD = 16 };                  /* rows side by side that stay in one half: as far as neighbours reach        */

static const double floors[KR_FLOORS] = { 0.01, 0.1, 1 };
struct trial { const kr_fit_split *s; const kr_cfloat *A; const double *p; double mean, error[2 * KR_FLOORS]; long columns, at[2], rows[2]; };

/* The error that kernels of one half, with one floor, leave in the other. */
static int try_half(void *self, long i)
{
    struct trial *j = self;
    const kr_fit_split *s = j->s;
    long n = s->known, h = i & 1, rows = j->rows[h], other = j->rows[1 - h], at = j->at[1 - h];
    kr_auto kr_cfloat *B = kr_alloc((size_t)rows, (size_t)j->columns * sizeof *B), *E = kr_alloc((size_t)other, (size_t)s->right * sizeof *E);
    kr_auto kr_cfloat *G = kr_alloc((size_t)n, (size_t)n * sizeof *G), *X = kr_alloc((size_t)n, (size_t)s->right * sizeof *X);
    kr_auto kr_cfloat *W = kr_alloc((size_t)n, (size_t)s->right * sizeof *W);
    if (!B || !E || !G || !X || !W)
        return kr_error_code();
    for (long c = 0; c < j->columns; c++)
        memcpy((void *)(B + c * rows), j->A + c * s->rows + j->at[h], (size_t)rows * sizeof *B);
    weigh(B, rows, j->columns, j->p + j->at[h], j->mean, floors[i / 2]);
    kr_la_gram(n, rows, 1, B, rows, 0, G, n);
    kr_la_gemm('C', 'N', n, s->right, rows, 1, B, rows, B + s->targets * rows, rows, 0, X, n);
    if (s->weights(s->self, W, G, X))
        return kr_error_code();
    for (long t = 0; t < s->right; t++)
        memcpy((void *)(E + t * other), j->A + (s->targets + t) * s->rows + at, (size_t)other * sizeof *E);
    kr_la_gemm('N', 'N', other, s->right, n, -1, j->A + at, s->rows, W, n, 1, E, other);
    for (long r = 0; r < other; r++) {
        double e = 0, p = j->p[at + r];
        for (long t = 0; t < s->right; t++)
            e += (double)kr_cabs2(E[t * other + r]);
        j->error[i] += p > s->edge ? e * s->edge / p : e;
    }
    return isfinite(j->error[i]) ? 0 : kr_fail(KR_ENUMBER, "the calibration data hold numbers that are not finite");
}

int kr_fit_errors(double errors[KR_FLOORS], const kr_fit_split *s)
{
    long all = s->rows, last = s->targets + s->right;
    struct trial j = { .s = s, .columns = last > s->known ? last : s->known };
    kr_auto kr_cfloat *A = kr_alloc((size_t)all, (size_t)j.columns * sizeof *A);
    kr_auto double *p = kr_alloc((size_t)all, sizeof *p);
    if (!A || !p)
        return kr_error_code();
    for (long r = 0; r < all; r++)
        j.rows[r / FOLD & 1]++;
    j.at[1] = j.rows[0];
    for (long c = 0; c < j.columns; c++)                             /* the first half's rows above the second's */
        for (long r = 0, to[2] = { 0, j.at[1] }; r < all; r++)
            A[c * all + to[r / FOLD & 1]++] = s->A[c * all + r];
    j.A = A;
    j.mean = powers(p, A, all, s->known);
    j.p = p;
    int e = kr_for(2 * KR_FLOORS, try_half, &j);
    for (int i = 0; !e && i < KR_FLOORS; i++)
        errors[i] = j.error[2 * i] + j.error[2 * i + 1];
    return e;
}

double kr_fit_floor(const double errors[KR_FLOORS], double slack)
{
    double least = errors[0];
    for (int i = 1; i < KR_FLOORS; i++)
        least = fmin(least, errors[i]);
    int i = 0;
    while (errors[i] > (1 + slack) * least)
        i++;
    return floors[i];
}
