/* eigenmaps.c: the leading eigenvectors of a field of Hermitian matrices that is known by its few Fourier coefficients.
 * The matrices of 16 pixels are made from the coefficients of their row and decomposed while they lie in the first cache;
 * those of a whole volume would need more memory than all the rest. */
#include "coils.h"
#include "coil_kern.h"
#include "kray/la.h"
#include <math.h>
#include <string.h>

enum { D = 3, MOST = 64 };

kr_cfloat kr_turn(double cycles)
{
    cycles -= rint(cycles);
    return kr_c((float)cos(2 * M_PI * cycles), (float)sin(2 * M_PI * cycles));
}

struct pixels {
    const kr_coil_kern *kern;
    const kr_field *G;
    long n[D], L[D], maps, terms;         /* L: coefficients along an axis; terms: of one row                 */
    kr_cfloat *wave_y, *wave_z;           /* [y][dy], [z][dz] exp(2 pi i d r / N)                              */
    float *wave_x;                        /* [tile][d][cos, sin][lane]                                        */
    kr_cfloat *plane, *rows;              /* coefficients of a plane and of its rows: scratch of each worker   */
    float *tile;                          /* scratch of each worker                                           */
    size_t tile_room;
    kr_cfloat *start;
    const kr_cfloat *u;
    float crop;
    kr_falloff falloff;
    kr_cfloat *out;
    long step[KR_AXES], z;
    const kr_trace *trace;
};

/* sum K_d exp(i d t) over d = -R..R is K_0 + sum over d = 1..R of A_d cos d t + i B_d sin d t with A_d = K_d + K_-d and
 * B_d = K_d - K_-d: half the products. K_0, A_1, B_1, A_2, ... take the places of the K_d. */
static void fold(kr_cfloat *K, long rows, long R)
{
    for (long i = 0; i < rows; i++, K += 2 * R + 1) {
        kr_cfloat old[2 * KR_FIELD_REACH + 1];
        memcpy((void *)old, K, (size_t)(2 * R + 1) * sizeof *K);
        K[0] = old[R];
        for (long d = 1; d <= R; d++) {
            K[2 * d - 1] = old[R + d] + old[R - d];
            K[2 * d] = old[R + d] - old[R - d];
        }
    }
}

/* Of a map whose eigenvalue is lambda. KR_SMOOTH: rising smoothly from the crop to half way between it and 1, for maps that
 * should not break off. KR_POWER: lambda^12, nearly 1 where there is signal (lambda > 0.99), 0.28 at 0.9, 0.07 at 0.8: a prior.
 * Tikhonov's lambda |x|^2 then costs as much more where maps are doubtful, and noise and fold-over there go first. 12 was
 * chosen from 8, 12, 16 and 32 on undersampled brains; it matters little. */
static float weight(const struct pixels *p, float lambda)
{
    if (lambda < p->crop)
        return 0;
    if (p->falloff == KR_HARD)
        return 1;
    if (p->falloff == KR_POWER) {
        float l2 = lambda < 1 ? lambda * lambda : 1, l4 = l2 * l2;
        return l4 * l4 * l4;
    }
    float t = 2 * (lambda - p->crop) / (1 - p->crop);
    t = t > 1 ? 1 : t;
    return t * t * (3 - 2 * t);
}

/* The same for a matrix known up to a factor, by its trace. */
static float weight_of_signal(const struct pixels *p, float trace)
{
    if (trace <= p->crop)
        return 0;
    return p->falloff == KR_HARD || trace >= KR_SIGNAL * KR_SIGNAL ? 1 : sqrtf(trace) / KR_SIGNAL;
}

/* Matrices divided by their traces, which are kept. */
static void divide(float *G, float *trace, long coils)
{
    float *g = G;
    memset(trace, 0, LANES * sizeof *trace);
    for (long c = 0; c < coils; g += 2 * LANES * (coils - c), c++)
        for (int l = 0; l < LANES; l++)
            trace[l] += g[l];
    float f[LANES];
    for (int l = 0; l < LANES; l++)
        f[l] = trace[l] > 0 ? 1 / trace[l] : 0;
    for (size_t i = 0; i < kr_eigen_matrix(coils); i++)
        G[i] *= f[i % LANES];
}

static int one_row(void *self, long y)
{
    const struct pixels *p = self;
    long coils = p->G->coils, maps = p->maps, reach = p->L[0] / 2;
    float *G = p->tile + (size_t)kr_worker() * p->tile_room, *v = G + kr_eigen_matrix(coils);
    float *lambda = v + maps * coils * 2 * LANES, *w = lambda + maps * LANES, *work = w + maps * LANES, trace[LANES];
    const float *row = (const float *)(p->rows + y * p->terms);
    bool relative = p->G->relative;
    kr_eigen e = { coils, maps, MOST, p->start, 1e-5f, relative ? 0 : p->crop, G, v, lambda, work };
    kr_finish f = { coils, maps, 0, p->u, v, w, NULL, p->step[KR_COIL], p->step[KR_MAP] };
    for (long x = 0; x < p->n[0]; x += LANES) {
        p->kern->spread(G, row, p->wave_x + x / LANES * reach * 2 * LANES, coils, reach);
        if (relative)
            divide(G, trace, coils);
        p->kern->eigen(&e);
        for (long i = 0; i < maps * LANES; i++)
            w[i] = relative ? weight_of_signal(p, trace[i % LANES]) : weight(p, lambda[i]);
        f.count = p->n[0] - x < LANES ? p->n[0] - x : LANES;
        f.out = p->out + x + y * p->step[KR_Y] + p->z * p->step[KR_Z];
        p->kern->finish(&f);
    }
    return 0;
}

/* y = A x */
static void times(kr_cfloat *y, long m, long n, long k, const kr_cfloat *A, const kr_cfloat *x)
{
    kr_la_gemm('N', 'N', m, n, k, 1, A, m, x, k, 0, y, m);
}

/* One plane; in a volume each worker has its own, in a slice all share the one. */
static int one_plane(void *self, long z)
{
    struct pixels p = *(const struct pixels *)self;
    int e = kr_stopped(p.trace);
    if (e)
        return e;
    long own = p.n[2] > 1 ? kr_worker() : 0;
    p.z = z;
    p.plane += own * p.terms * p.L[1];
    p.rows += own * p.terms * p.n[1];
    times(p.plane, p.terms * p.L[1], 1, p.L[2], p.G->K, p.wave_z + z * p.L[2]);
    times(p.rows, p.terms, p.n[1], p.L[1], p.plane, p.wave_y);
    return kr_for(p.n[1], one_row, &p);
}

static void waves(struct pixels *p)
{
    for (long i = 0; i < p->maps * p->G->coils; i++) {        /* a start without preference, always the same */
        double z[2];
        kr_rand_normal2(1, 1, (uint64_t)i, z);
        p->start[i] = kr_c((float)z[0], (float)z[1]);
    }
    for (int d = 1; d < D; d++)
        for (long i = 0; i < p->n[d]; i++)
            for (long j = 0; j < p->L[d]; j++)
                (d == 1 ? p->wave_y : p->wave_z)[i * p->L[d] + j] = kr_turn((double)((i - p->n[d] / 2) * (j - p->L[d] / 2)) / (double)p->n[d]);
    for (long x = 0, reach = p->L[0] / 2; x < (p->n[0] + LANES - 1) / LANES * LANES; x++)
        for (long d = 0; d < reach; d++) {
            kr_cfloat f = kr_turn((double)((x - p->n[0] / 2) * (d + 1)) / (double)p->n[0]);
            float *to = p->wave_x + (x / LANES * reach + d) * 2 * LANES + x % LANES;
            to[0] = kr_re(f);
            to[LANES] = kr_im(f);
        }
}

int kr_coils_eigenmaps(kr_array *maps, long slice, kr_field *G, const kr_cfloat *u, double crop, kr_falloff falloff,
                       const kr_trace *trace)
{
    long coils = G->coils, entries = coils * (coils + 1) / 2;
    struct pixels p = { .kern = kr_coil_kern_best(), .G = G, .maps = maps->n[KR_MAP], .u = u, .crop = (float)crop, .falloff = falloff,
                        .out = KR_C(maps) + slice * maps->step[KR_SLICE], .trace = trace };
    memcpy(p.step, maps->step, sizeof p.step);
    for (int d = 0; d < D; d++) {
        kr_assert(G->reach[d] <= KR_FIELD_REACH);
        p.n[d] = maps->n[d];
        p.L[d] = 2 * G->reach[d] + 1;
    }
    p.terms = entries * p.L[0];
    fold(G->K, p.L[2] * p.L[1] * entries, G->reach[0]);
    long tiles = (p.n[0] + LANES - 1) / LANES, reach = G->reach[0], workers = p.n[2] > 1 ? kr_threads() : 1;
    p.tile_room = kr_eigen_matrix(coils) + (size_t)(p.maps * (coils * 2 + 2) * LANES) + kr_eigen_work(coils, p.maps);
    kr_auto kr_cfloat *plane = p.plane = kr_alloc((size_t)workers, (size_t)(p.terms * p.L[1]) * sizeof *plane);
    kr_auto kr_cfloat *rows = p.rows = kr_alloc((size_t)workers, (size_t)(p.terms * p.n[1]) * sizeof *rows);
    kr_auto float *tile = p.tile = kr_alloc((size_t)kr_threads(), p.tile_room * sizeof *tile);
    kr_auto kr_cfloat *wave_y = p.wave_y = kr_alloc((size_t)(p.n[1] * p.L[1]), sizeof *wave_y);
    kr_auto kr_cfloat *wave_z = p.wave_z = kr_alloc((size_t)(p.n[2] * p.L[2]), sizeof *wave_z);
    kr_auto float *wave_x = p.wave_x = kr_alloc((size_t)(tiles * (reach ? reach : 1)), 2 * LANES * sizeof *wave_x);
    kr_auto kr_cfloat *start = p.start = kr_alloc((size_t)(p.maps * coils), sizeof *start);
    if (!plane || !rows || !tile || !wave_y || !wave_z || !wave_x || !start)
        return kr_error_code();
    waves(&p);
    return p.n[2] > 1 ? kr_for(p.n[2], one_plane, &p) : one_plane(&p, 0);
}
