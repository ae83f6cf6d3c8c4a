/* espirit.c: coil maps as eigenvectors. Source: Uecker et al., Magn Reson Med 71:990 (2014), here "the paper".
 *
 *   patch_p[a,c] = x_c[p+a]          a patch of k-space, one per place p of the kernel in the calibration area
 *   B = sum_p patch_p patch_p^H      Gram matrix; its leading eigenvectors Q span the space of patches (V|| of the paper)
 *   G(r) = E(r)^H Q Q^H E(r)         (E(r) s)[a,c] = s_c exp(-2 pi i a r) / sqrt(kernel places)
 *   G(r) S(r) = S(r)                 wherever there is signal: the maps are the eigenvectors of eigenvalue 1
 *
 * Neither the matrix of patches nor G(r) of all pixels is ever stored: the entries of B are windowed correlations of two
 * coils, which share most of their products; G(r) has (2k-1)^d Fourier coefficients, see eigenmaps.c. */
#include "coils.h"
#include "coil_kern.h"
#include "kray/la.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 3 };

/* ---- One slice: the calibration area as lines of all coils, and the kernel ---- */
struct area {
    long n[D], k[D], places[D];           /* samples; kernel; places of the kernel                            */
    long coils, room;                     /* room: coils rounded up to 8                                      */
    long order, patches;                  /* length of a patch; how many                                      */
    float *x;                             /* [z][y][x][re, im][room], largest value 1                         */
};

static const float *at(const struct area *A, long x, long y, long z)
{
    return A->x + ((z * A->n[1] + y) * A->n[0] + x) * 2 * A->room;
}

static int area_fill(struct area *A, const kr_array *block)
{
    long count = A->n[0] * A->n[1] * A->n[2];
    A->x = kr_alloc_zero((size_t)count, (size_t)(2 * A->room) * sizeof *A->x);
    double largest = kr_max_abs(block);
    if (!A->x || !(largest > 0))
        return A->x ? kr_fail(KR_ENUMBER, "the calibration area of a slice is all zero") : kr_error_code();
    for (long c = 0; c < A->coils; c++)
        for (long i = 0; i < count; i++) {
            long x = i % A->n[0], y = i / A->n[0] % A->n[1], z = i / A->n[0] / A->n[1];
            kr_cfloat v = KR_C(block)[x * block->step[KR_X] + y * block->step[KR_Y] + z * block->step[KR_Z] + c * block->step[KR_COIL]];
            A->x[i * 2 * A->room + c] = (float)(kr_re(v) / largest);
            A->x[i * 2 * A->room + A->room + c] = (float)(kr_im(v) / largest);
        }
    return 0;
}

/* ---- B = sum of patch patch^H ---- */
struct gram { const struct area *A; const kr_coil_kern *kern; kr_cfloat *B; float *scratch; size_t room; };

/* v belongs to all windows of `places` that contain i; what is in all of them is added once, at the end. */
static void into(float *windows, float *core, const float *v, long size, long i, long places, long w)
{
    long lo = i >= places ? i - places + 1 : 0, hi = i < w ? i : w - 1;
    float *first = lo == 0 && hi == w - 1 ? core : windows + lo * size;
    for (long t = first == core ? hi : lo; t <= hi; t++, first += size)
        for (long j = 0; j < size; j++)
            first[j] += v[j];
}

static void close(float *windows, const float *core, long size, long w)
{
    for (long t = 0; t < w; t++)
        for (long j = 0; j < size; j++)
            windows[t * size + j] += core[j];
}

/* All entries of B whose two kernel places differ by one shift: sum over p of x_c[p+a] conj(x_c'[p+a+shift]) for every a
 * at which both are inside the kernel. Half of the shifts is enough, B is Hermitian. */
static int one_shift(void *self, long index)
{
    const struct gram *g = self;
    const struct area *A = g->A;
    long shift[D], w[D], a0[D], b0[D], wide[D], m = 1;
    for (int d = 0; d < D; d++)
        m *= 2 * A->k[d] - 1;
    m = m / 2 + index;
    for (int d = 0; d < D; m /= 2 * A->k[d] - 1, d++) {
        shift[d] = m % (2 * A->k[d] - 1) - A->k[d] + 1;
        w[d] = A->k[d] - labs(shift[d]);
        a0[d] = shift[d] < 0 ? -shift[d] : 0;
        b0[d] = a0[d] + shift[d];
        wide[d] = A->places[d] + w[d] - 1;
    }
    long size = (A->coils + 3) / 4 * 4 * 2 * A->room, sx = w[0] * size, sy = w[1] * sx;
    float *line = g->scratch + (size_t)kr_worker() * g->room, *plane = line + sx, *cube = plane + sy + sx;
    memset(cube, 0, (size_t)(w[2] * sy + sy) * sizeof *cube);
    for (long z = 0; z < wide[2]; z++) {
        memset(plane, 0, (size_t)(sy + sx) * sizeof *plane);
        for (long y = 0; y < wide[1]; y++) {
            g->kern->line(line, at(A, a0[0], a0[1] + y, a0[2] + z), at(A, b0[0], b0[1] + y, b0[2] + z), A->coils, A->room,
                          A->places[0], w[0]);
            into(plane, plane + sy, line, sx, y, A->places[1], w[1]);
        }
        close(plane, plane + sy, sx, w[1]);
        into(cube, cube + w[2] * sy, plane, sy, z, A->places[2], w[2]);
    }
    close(cube, cube + w[2] * sy, sy, w[2]);
    for (long t = 0; t < w[0] * w[1] * w[2]; t++) {
        long x = t % w[0], y = t / w[0] % w[1], z = t / w[0] / w[1];
        long a = ((a0[2] + z) * A->k[1] + a0[1] + y) * A->k[0] + a0[0] + x;
        long b = ((b0[2] + z) * A->k[1] + b0[1] + y) * A->k[0] + b0[0] + x;
        for (long c = 0; c < A->coils; c++) {
            const float *s = cube + t * size + c * 2 * A->room;
            kr_cfloat *to = g->B + (a * A->coils + c) * A->order + b * A->coils;    /* below the diagonal: conj */
            for (long e = 0; e < A->coils; e++)
                to[e] = kr_c(s[e], -s[A->room + e]);
        }
    }
    return 0;
}

static int gram(const struct area *A, kr_cfloat *B)
{
    struct gram g = { A, kr_coil_kern_best(), B, NULL, 0 };
    long shifts = 1;
    size_t size = (size_t)((A->coils + 3) / 4 * 4 * 2 * A->room), k0 = (size_t)A->k[0], k1 = (size_t)A->k[1], k2 = (size_t)A->k[2];
    g.room = size * k0 * (1 + k1 + 1 + (k2 + 1) * k1);
    for (int d = 0; d < D; d++)
        shifts *= 2 * A->k[d] - 1;
    kr_auto float *scratch = g.scratch = kr_alloc((size_t)kr_threads(), g.room * sizeof *scratch);
    return scratch ? kr_for(shifts / 2 + 1, one_shift, &g) : kr_error_code();
}

/* ---- Q: an orthonormal basis of the space of patches ---- */
struct choice { double threshold; long order, patches, count; };

static long choose(void *self, long n, const float *w)
{
    struct choice *c = self;
    long count = 0;
    while (count < n && w[n - 1 - count] > c->threshold * (double)w[n - 1])
        count++;
    long least = c->order < c->patches ? c->order : c->patches;
    if (count > least - least / 10)
        return kr_fail(KR_EREFUSED, "%ld of %ld singular values of the calibration area are above the threshold of %g: it seems "
                       "to hold noise only; if it does not, a larger threshold is needed", count, least, c->threshold);
    return c->count = count;
}

/* The patches as columns; there are fewer of them than a patch has entries, so that their own products are the smaller
 * matrix: M^H M = W s^2 W^H, Q = M W / s. */
static int from_few(const struct area *A, struct choice *how, kr_cfloat **Q)
{
    long n = A->order, p = A->patches, row = A->k[0];
    kr_auto kr_cfloat *M = kr_alloc((size_t)n, (size_t)p * sizeof *M), *S = kr_alloc((size_t)p, (size_t)p * sizeof *S), *W = NULL;
    kr_auto float *w = kr_alloc((size_t)p, sizeof *w);
    if (!M || !S || !w)
        return kr_error_code();
    for (long i = 0; i < p; i++)
        for (long a = 0; a < n / A->coils; a++) {
            long x = i % A->places[0] + a % row, y = i / A->places[0] % A->places[1] + a / row % A->k[1];
            const float *v = at(A, x, y, i / A->places[0] / A->places[1] + a / row / A->k[1]);
            for (long c = 0; c < A->coils; c++)
                M[i * n + a * A->coils + c] = kr_c(v[c], v[A->room + c]);
        }
    kr_la_gram(p, n, 1, M, n, 0, S, p);
    if (kr_la_eigh_pick(p, S, w, choose, how, &how->count, &W))
        return kr_error_code();
    long m = how->count;
    for (long j = 0; j < m; j++)
        for (long i = 0; i < p; i++)
            W[j * p + i] *= 1 / sqrtf(w[p - m + j]);
    *Q = kr_alloc((size_t)n, (size_t)m * sizeof **Q);
    if (!*Q)
        return kr_error_code();
    kr_la_gemm('N', 'N', n, m, p, 1, M, n, W, p, 0, *Q, n);
    return 0;
}

static int from_many(const struct area *A, struct choice *how, kr_cfloat **Q)
{
    kr_auto kr_cfloat *B = kr_alloc((size_t)A->order, (size_t)A->order * sizeof *B);
    kr_auto float *w = kr_alloc((size_t)A->order, sizeof *w);
    if (!B || !w || gram(A, B))
        return kr_error_code();
    return kr_la_eigh_pick(A->order, B, w, choose, how, &how->count, Q);
}

/* ---- The Fourier coefficients of G(r): G on just as many points, from the basis, and back ---- */
struct series {
    long k[D], L[D], coils, m;            /* L = 2 k - 1: so many coefficients, and points that determine them */
    long entries;                         /* of the upper triangle                                             */
    kr_cfloat *T;                         /* [az][ay][ax][c][j] conj of Q                                      */
    kr_cfloat *grid;                      /* [gz][gy][gx][entry] G on L points                                 */
    kr_cfloat *part, *point;              /* scratch of each worker                                            */
    kr_cfloat *wave[D];                   /* [g][a] exp(-2 pi i a g / L), a = 0..k-1                            */
    long plane;
};

/* G at the points of one row: f = sum over a of conj(Q) exp(-2 pi i a g), axis by axis, then G = f^H f. */
static int grid_row(void *self, long gy)
{
    struct series *s = self;
    long cm = s->coils * s->m, kx = s->k[0] * cm, gz = s->plane;
    kr_cfloat *z = s->part, *y = s->point + (size_t)kr_worker() * (size_t)(kx + s->L[0] * cm + s->coils * s->coils);
    kr_cfloat *x = y + kx, *H = x + s->L[0] * cm;
    float scale = 1 / (float)(s->k[0] * s->k[1] * s->k[2]);
    kr_la_gemm('N', 'N', kx, 1, s->k[1], 1, z, kx, s->wave[1] + gy * s->k[1], s->k[1], 0, y, kx);
    kr_la_gemm('N', 'N', cm, s->L[0], s->k[0], 1, y, cm, s->wave[0], s->k[0], 0, x, cm);
    for (long gx = 0; gx < s->L[0]; gx++) {
        kr_la_gram(s->coils, s->m, scale, x + gx * cm, s->m, 0, H, s->coils);
        kr_cfloat *to = s->grid + ((gz * s->L[1] + gy) * s->L[0] + gx) * s->entries;
        for (long c = 0; c < s->coils; c++)
            for (long e = c; e < s->coils; e++)
                *to++ = kr_cconj(H[c * s->coils + e]);
    }
    return 0;
}

/* K from G on the grid, axis by axis. */
static int coefficients(struct series *s, kr_cfloat *K)
{
    long L0 = s->L[0], L1 = s->L[1], L2 = s->L[2], E = s->entries;
    kr_auto kr_cfloat *wave = kr_alloc((size_t)(L0 * L0 + L1 * L1 + L2 * L2), sizeof *wave);
    kr_auto kr_cfloat *z = kr_alloc((size_t)(L1 * L0), (size_t)E * sizeof *z), *y = kr_alloc((size_t)L0, (size_t)E * sizeof *y);
    if (!wave || !z || !y)
        return kr_error_code();
    kr_cfloat *wx = wave, *wy = wx + L0 * L0, *wz = wy + L1 * L1;
    for (int d = 0; d < D; d++) {
        kr_cfloat *w = d == 0 ? wx : d == 1 ? wy : wz;
        long L = s->L[d];
        for (long i = 0; i < L; i++)
            for (long g = 0; g < L; g++) {
                kr_cfloat f = kr_turn(-(double)((i - s->k[d] + 1) * g) / (double)L);
                w[i * L + g] = kr_c(kr_re(f) / (float)L, kr_im(f) / (float)L);
            }
    }
    for (long i = 0; i < L2; i++) {
        kr_la_gemm('N', 'N', L1 * L0 * E, 1, L2, 1, s->grid, L1 * L0 * E, wz + i * L2, L2, 0, z, L1 * L0 * E);
        for (long j = 0; j < L1; j++) {
            kr_la_gemm('N', 'N', L0 * E, 1, L1, 1, z, L0 * E, wy + j * L1, L1, 0, y, L0 * E);
            kr_la_gemm('T', 'T', L0, E, L0, 1, wx, L0, y, E, 0, K + (i * L1 + j) * E * L0, L0);
        }
    }
    return 0;
}

static int series(struct series *s, const kr_cfloat *Q, kr_cfloat *K)
{
    long cm = s->coils * s->m, places = s->k[0] * s->k[1] * s->k[2], points = s->L[0] * s->L[1] * s->L[2], xy = s->k[0] * s->k[1] * cm;
    kr_auto kr_cfloat *T = s->T = kr_alloc((size_t)places, (size_t)cm * sizeof *T);
    kr_auto kr_cfloat *grid = s->grid = kr_alloc((size_t)points, (size_t)s->entries * sizeof *grid);
    kr_auto kr_cfloat *part = s->part = kr_alloc((size_t)xy, sizeof *part);
    kr_auto kr_cfloat *point = s->point = kr_alloc((size_t)kr_threads(), (size_t)((s->k[0] + s->L[0]) * cm + s->coils * s->coils) * sizeof *point);
    kr_auto kr_cfloat *wave = kr_alloc((size_t)(s->L[0] * s->k[0] + s->L[1] * s->k[1] + s->L[2] * s->k[2]), sizeof *wave);
    if (!T || !grid || !part || !point || !wave)
        return kr_error_code();
    kr_cfloat *w = wave;
    for (int d = 0; d < D; d++) {
        s->wave[d] = w;
        for (long g = 0; g < s->L[d]; g++)
            for (long a = 0; a < s->k[d]; a++)
                *w++ = kr_turn(-(double)(a * g) / (double)s->L[d]);
    }
    for (long j = 0; j < s->m; j++)
        for (long i = 0; i < places * s->coils; i++)
            T[i * s->m + j] = kr_cconj(Q[j * places * s->coils + i]);
    for (s->plane = 0; s->plane < s->L[2]; s->plane++) {
        kr_la_gemm('N', 'N', xy, 1, s->k[2], 1, T, xy, s->wave[2] + s->plane * s->k[2], s->k[2], 0, part, xy);
        if (kr_for(s->L[1], grid_row, s))
            return kr_error_code();
    }
    return coefficients(s, K);
}

/* ---- One slice ---- */
struct espirit { kr_array *maps; const kr_array *block; const kr_coils_opts *o; const kr_trace *trace; };

static int area_plan(struct area *A, const kr_array *maps, const kr_array *block, const kr_coils_opts *o)
{
    A->coils = A->order = block->n[KR_COIL];
    A->room = (A->coils + 7) / 8 * 8;
    A->patches = 1;
    for (int d = 0; d < D; d++) {
        long n = A->n[d] = block->n[d], most = (maps->n[d] + 1) / 2;     /* G(r) has no more coefficients than pixels */
        A->k[d] = o->kernel < most ? o->kernel : most;
        A->places[d] = n - A->k[d] + 1;
        if (A->places[d] < 1)
            return kr_fail(KR_EREFUSED, "the calibration area has %ld samples along %s, fewer than the kernel is wide (%ld): "
                           "measure more lines around the centre, or choose a smaller kernel", n, kr_axis_name(d), A->k[d]);
        A->order *= A->k[d];
        A->patches *= A->places[d];
    }
    if (A->order > 1 << 15)
        return kr_fail(KR_EREFUSED, "a kernel of %ld x %ld x %ld for %ld coils has %ld entries, more than %d: compress the coils, "
                       "or choose a smaller kernel", A->k[0], A->k[1], A->k[2], A->coils, A->order, 1 << 15);
    return 0;
}

static int one_slice(void *self, long slice)
{
    const struct espirit *job = self;
    kr_scoped(array) block = kr_array_at(job->block, KR_SLICE, slice);
    struct area A;
    if (!block || area_plan(&A, job->maps, block, job->o))
        return kr_error_code();
    A.x = NULL;
    kr_auto kr_cfloat *Q = NULL, *u = kr_alloc((size_t)A.coils, sizeof *u);
    struct choice how = { job->o->threshold > 0 ? job->o->threshold : 0.001, A.order, A.patches, 0 };
    int e = !u ? kr_error_code() : kr_coils_principal(u, block);
    if (!e)
        e = area_fill(&A, block);
    if (!e)
        e = A.patches < A.order ? from_few(&A, &how, &Q) : from_many(&A, &how, &Q);
    kr_free(A.x);
    if (e)
        return e;
    kr_say(job->trace, KR_DETAIL, "slice %ld: %ld of %ld kernels", slice, how.count, A.order);
    struct series s = { .coils = A.coils, .m = how.count, .entries = A.coils * (A.coils + 1) / 2 };
    struct kr_field G = { .coils = A.coils };
    long points = 1;
    for (int d = 0; d < D; d++) {
        s.k[d] = A.k[d];
        points *= s.L[d] = 2 * A.k[d] - 1;
        G.reach[d] = A.k[d] - 1;
    }
    kr_auto kr_cfloat *K = G.K = kr_alloc((size_t)points, (size_t)s.entries * sizeof *K);
    if (!K || series(&s, Q, K))
        return kr_error_code();
    kr_free_at(&Q);
    double crop = job->o->crop >= 0 ? job->o->crop : job->o->prior ? 0.3 : job->o->soft ? 0.7 : 0.8;   /* 0.3^12 is 5e-7 */
    kr_falloff falloff = job->o->prior ? KR_POWER : job->o->soft ? KR_SMOOTH : KR_HARD;
    return kr_coils_eigenmaps(job->maps, slice, &G, u, crop, falloff, job->trace);
}

static int estimate_all(kr_array *maps, const kr_array *block, const kr_coils_opts *o, const kr_trace *trace)
{
    struct espirit job = { maps, block, o, trace };
    return kr_coils_slices(block->n[KR_SLICE], one_slice, &job, maps, NULL, trace);
}

const kr_coil_method kr_coil_method_espirit = { "espirit", "eigenvectors of the calibration area's correlations", "Uecker et al., MRM 71:990 (2014)", estimate_all };
