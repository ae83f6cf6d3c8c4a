/* prox_lowrank.c: nuclear norms of series: of small blocks of points, or of all points, against all axes beyond Z.
 *
 * A matrix M = U S V^H is shrunk through its Gram matrix: M V max(0, 1 - t / S) V^H. Of blocks sixteen go at once, one a lane. */
#include "kray/la.h"
#include "kray/prox.h"
#include "proxkern.h"
#include <math.h>
#include <string.h>

enum { COLUMNS = 128, CHUNK = 1 << 12 };
struct lowrank {
    double lambda;
    bool shifts;
    long n[3], volume, columns;
    long block[3], count[3], blocks, rows, groups;   /* points of a block, blocks along each axis; groups of KR_LANES */
    long shift[3];
    long room;                        /* floats per worker                                                       */
    float *work;
};
struct job { struct lowrank *s; kr_cfloat *z; const kr_cfloat *v; float t, scale; double *sum; kr_cfloat *W; };

/* ---- Blocks ---- */
/* Where the points of a block are: cyclic, -1 where a block of the last column, row or slice has no more. */
static void points(const struct lowrank *s, long b, long *at)
{
    long c[3] = { b % s->count[0], b / s->count[0] % s->count[1], b / s->count[0] / s->count[1] };
    for (long k = 0; k < s->block[2]; k++)
        for (long j = 0; j < s->block[1]; j++)
            for (long i = 0; i < s->block[0]; i++) {
                long p[3] = { c[0] * s->block[0] + i, c[1] * s->block[1] + j, c[2] * s->block[2] + k };
                bool inside = b < s->blocks && p[0] < s->n[0] && p[1] < s->n[1] && p[2] < s->n[2];
                for (int d = 0; d < 3; d++)
                    p[d] = (p[d] + s->shift[d]) % s->n[d];
                *at++ = inside ? p[0] + s->n[0] * (p[1] + s->n[1] * p[2]) : -1;
            }
}

static int group(void *self, long g)
{
    const struct job *j = self;
    const struct lowrank *s = j->s;
    bool wide = s->rows < s->columns;                                /* then the transpose: the smaller Gram matrix */
    long n = wide ? s->rows : s->columns, row_step = (wide ? 1 : n) * KR_ROW, column_step = (wide ? n : 1) * KR_ROW;
    float *A = s->work + kr_worker() * s->room, *G = A + s->rows * s->columns * KR_ROW, *V = G + n * n * KR_ROW;
    long *at = (long *)(void *)(V + n * n * KR_ROW);
    for (long l = 0; l < KR_LANES; l++)
        points(s, g * KR_LANES + l, at + l * s->rows);
    for (long c = 0; c < s->columns; c++)
        for (long r = 0; r < s->rows; r++) {
            float *row = A + r * row_step + c * column_step;
            for (long l = 0; l < KR_LANES; l++) {
                long p = at[l * s->rows + r];
                kr_cfloat v = p < 0 ? kr_c(0, 0) : j->v[c * s->volume + p];
                row[l] = j->scale * kr_re(v);
                row[KR_LANES + l] = j->scale * kr_im(v);
            }
        }
    kr_proxkern_best()->shrink(A, wide ? s->columns : s->rows, n, j->t * j->scale, G, V);
    float back = 1 / j->scale;
    for (long c = 0; c < s->columns; c++)
        for (long r = 0; r < s->rows; r++) {
            const float *row = A + r * row_step + c * column_step;
            for (long l = 0; l < KR_LANES; l++) {
                long p = at[l * s->rows + r];
                if (p >= 0)
                    j->z[c * s->volume + p] = kr_c(back * row[l], back * row[KR_LANES + l]);
            }
        }
    return 0;
}

static void llr_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct lowrank *s = self;
    double most = kr_max_abs(v);                                     /* squares of tiny numbers would vanish */
    struct job j = { s, z->data, v->data, (float)s->lambda * t, most > 0 ? (float)(1 / most) : 1, NULL, NULL };
    int e = kr_for(s->groups, group, &j);
    kr_assert(!e);
}

static int singular(void *self, long b)                              /* by LAPACK: exact for small ones too */
{
    const struct job *j = self;
    struct lowrank *s = j->s;
    long small = s->rows < s->columns ? s->rows : s->columns;
    kr_auto kr_cfloat *M = kr_alloc((size_t)(s->rows * s->columns), sizeof *M);
    kr_auto float *values = kr_alloc((size_t)small, sizeof *values);
    kr_auto long *at = kr_alloc((size_t)s->rows, sizeof *at);
    if (!M || !values || !at)
        return kr_error_code();
    points(s, b, at);
    for (long c = 0; c < s->columns; c++)
        for (long r = 0; r < s->rows; r++)
            M[r + c * s->rows] = at[r] < 0 ? kr_c(0, 0) : j->v[c * s->volume + at[r]];
    if (kr_la_svd(s->rows, s->columns, M, NULL, values, NULL))
        return kr_error_code();
    j->sum[b] = 0;
    for (long k = 0; k < small; k++)
        j->sum[b] += (double)values[k];
    return 0;
}

static double llr_value(void *self, const kr_array *u)
{
    struct lowrank *s = self;
    kr_auto double *sum = kr_alloc((size_t)s->blocks, sizeof *sum);
    struct job j = { .s = s, .v = u->data, .sum = sum };
    if (!sum || kr_for(s->blocks, singular, &j))
        return NAN;
    double all = 0;
    for (long b = 0; b < s->blocks; b++)
        all += sum[b];
    return s->lambda * all;
}

/* The bits of a place turned round, as a fraction of the block: half a block first. */
static long offset(long place, long block)
{
    long turned = 0;
    for (int b = 0; b < KR_PLACE_BITS; b++)
        turned |= (place >> b & 1) << (KR_PLACE_BITS - 1 - b);
    return turned * block >> KR_PLACE_BITS;
}

static bool next(void *self, long k)
{
    struct lowrank *s = self;
    for (int d = 0; d < 3 && s->shifts; d++)
        s->shift[d] = offset(kr_prox_place(k, (d + 2) % 3), s->block[d]);
    return s->shifts;
}

/* ---- All points ---- */
static long chunks(const struct lowrank *s) { return (s->volume + CHUNK - 1) / CHUNK; }

static int gram(void *self, long i)
{
    const struct job *j = self;
    const struct lowrank *s = j->s;
    long from = i * CHUNK, n = s->volume - from < CHUNK ? s->volume - from : CHUNK, T = s->columns;
    kr_la_gram(T, n, 1, j->v + from, s->volume, 0, j->W + i * T * T, T);
    return 0;
}

static int times(void *self, long i)
{
    const struct job *j = self;
    const struct lowrank *s = j->s;
    long from = i * CHUNK, n = s->volume - from < CHUNK ? s->volume - from : CHUNK, T = s->columns;
    kr_la_gemm('N', 'N', n, T, T, 1, j->v + from, s->volume, j->W, T, 0, j->z + from, s->volume);
    return 0;
}

/* W w W^H = M^H M, chunk by chunk, added in order. W T x T, w ascending; work: chunks T x T. */
static int spectrum(const struct lowrank *s, const kr_cfloat *v, kr_cfloat *work, float *w)
{
    long T = s->columns;
    struct job j = { .s = (struct lowrank *)(uintptr_t)s, .v = v, .W = work };
    if (kr_for(chunks(s), gram, &j))
        return kr_error_code();
    for (long i = 1; i < chunks(s); i++)
        for (long k = 0; k < T * T; k++)
            work[k] += work[i * T * T + k];
    return kr_la_eigh(T, work, w);
}

static void lowrank_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct lowrank *s = self;
    long T = s->columns;
    kr_cfloat *V = (kr_cfloat *)(void *)s->work, *U = V + chunks(s) * T * T, *W = U + T * T;
    float w[COLUMNS], level = (float)s->lambda * t;
    int e = spectrum(s, v->data, V, w);
    for (long k = 0; k < T && !e; k++) {
        float sigma = sqrtf(w[k] > 0 ? w[k] : 0), f = sigma > level ? 1 - level / sigma : 0;
        for (long i = 0; i < T; i++)
            U[i + k * T] = kr_c(f * kr_re(V[i + k * T]), f * kr_im(V[i + k * T]));
    }
    if (!e) {
        kr_la_gemm('N', 'C', T, T, T, 1, U, T, V, T, 0, W, T);
        struct job j = { .s = s, .z = z->data, .v = v->data, .W = W };
        e = kr_for(chunks(s), times, &j);
    }
    if (e)                                                           /* numbers that are not finite: let the solver see them */
        kr_array_assign(z, v);
}

static double lowrank_value(void *self, const kr_array *u)
{
    struct lowrank *s = self;
    float w[COLUMNS];
    if (spectrum(s, u->data, (kr_cfloat *)(void *)s->work, w))
        return NAN;
    double sum = 0;
    for (long k = 0; k < s->columns; k++)
        sum += sqrt(w[k] > 0 ? (double)w[k] : 0);
    return s->lambda * sum;
}

static void destroy(void *self)
{
    struct lowrank *s = self;
    kr_free(s->work);
    kr_free(s);
}

static const kr_prox_ops llr_ops = { "llr", llr_apply, llr_value, next, destroy };
static const kr_prox_ops lowrank_ops = { "lowrank", lowrank_apply, lowrank_value, NULL, destroy };

static struct lowrank *plan(kr_shape shape, double lambda)
{
    struct lowrank *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->lambda = lambda;
    s->volume = 1;
    for (int d = 0; d < 3; d++)
        s->volume *= s->n[d] = shape.n[d] > 1 ? shape.n[d] : 1;
    s->columns = kr_count(shape) / s->volume;
    if (!(lambda >= 0) || !isfinite(lambda) || s->columns < 2 || s->columns > COLUMNS) {
        kr_fail(KR_EREFUSED, "low rank wants lambda >= 0 and a series of 2 to %d frames, not %g and %s", COLUMNS, lambda, kr_shape_text(shape));
        kr_free_at(&s);
    }
    return s;
}

kr_prox *kr_prox_llr(enum kr_type type, kr_shape shape, long block, double lambda, bool shifts)
{
    struct lowrank *s = plan(shape, lambda);
    if (s && (block < 1 || block > 64)) {
        kr_fail(KR_EREFUSED, "locally low rank blocks of %ld points; 1 to 64 are possible", block);
        kr_free_at(&s);
    }
    if (!s)
        return NULL;
    s->shifts = shifts;
    s->rows = s->blocks = 1;
    for (int d = 0; d < 3; d++) {
        s->block[d] = s->n[d] < block ? s->n[d] : block;
        s->count[d] = (s->n[d] + s->block[d] - 1) / s->block[d];
        s->rows *= s->block[d];
        s->blocks *= s->count[d];
    }
    s->groups = (s->blocks + KR_LANES - 1) / KR_LANES;
    long small = s->rows < s->columns ? s->rows : s->columns;
    s->room = (s->rows * s->columns + 2 * small * small) * KR_ROW + s->rows * KR_LANES * 2;
    s->work = kr_alloc((size_t)kr_threads(), (size_t)s->room * sizeof(float));
    if (!s->work) {
        destroy(s);
        return NULL;
    }
    return kr_prox_as(type, kr_prox_new(&llr_ops, KR_C32, shape, s));
}

kr_prox *kr_prox_lowrank(enum kr_type type, kr_shape shape, double lambda)
{
    struct lowrank *s = plan(shape, lambda);
    if (!s)
        return NULL;
    s->work = kr_alloc((size_t)((chunks(s) + 2) * s->columns * s->columns), sizeof(kr_cfloat));
    if (!s->work) {
        destroy(s);
        return NULL;
    }
    return kr_prox_as(type, kr_prox_new(&lowrank_ops, KR_C32, shape, s));
}
