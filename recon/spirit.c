/* spirit.c: every sample of k-space is a combination of all its neighbours in all coils, measured or not: v = K v. Missing samples are those
 * that make |(K - 1) v| least, with measured ones kept, and the coil images jointly sparse; with --l1 0 the former alone. In image space K is a small
 * matrix at each pixel. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/lanes.h"
#include "kray/solve.h"
#include "kray/wavelet.h"
#include "fit.h"
#include "model.h"
#include "planes.h"
#include "predict.h"
#include "street.h"
#include <math.h>
#include <string.h>

typedef struct opts { long kernel, iterations; double lambda, floor, tolerance, l1; } opts;
static const kr_opt table[] = {
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "0", "N", "kernel width, odd; 0: 7 with up to 8 coils, else 5, smaller if the ACS is small" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.01", "X", "Tikhonov regularisation of the kernel fit, relative to the mean power of a calibration sample" },
    { "floor", 0, KR_OPT_REAL, offsetof(opts, floor), "0", "X", "an equation of the calibration counts by 1 / (its power + X times the mean power): small X lets all of k-space count alike, large X "
      "its strong middle most; 0: with --l1 0 0.003, or 1 where no gap is wider than a sample; else all count alike, which serves sparse images best" },
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "0", "N", "iterations at most; 0: 2000, with --l1 0 50" },
    { "tolerance", 0, KR_OPT_REAL, offsetof(opts, tolerance), "1e-3", "X", "stop when the estimated distance to the solution is X of the images; with --l1 0: when the residual is X times its initial value" },
    { "l1", 0, KR_OPT_REAL, offsetof(opts, l1), "0.0002", "X", "joint sparsity of the coil images' wavelets, relative to their largest coefficient; 0: none, which is faster" },
    KR_OPT_END };

/* The kernel of one plane, [tap along X][offset][to coil][from coil], weights of the sample itself 0; low, span: of the offsets;
 * shared: the measured samples. */
struct kernel { long taps, offsets, low[3], span[3]; double floor; kr_cfloat *w; };
struct shared { long samples, measured; int *at; double floor; };

static void drop(void **p)
{
    struct shared *s = *p;
    if (s)
        kr_free(s->at);
    kr_free_at(p);
}

static void drop_kernel(void **p)
{
    struct kernel *k = *p;
    if (k)
        kr_free(k->w);
    kr_free_at(p);
}

/* The floor of linear kernels. Between measured neighbours a missing sample is made at once, and what the strong middle says of that is best; wider gaps
 * are filled from sample to sample, which kernels that hold in all of k-space last through. On two real brains, R = 2 to 8, within 0.3 dB of the best of
 * 0.001 to 1 (but for random lines of R = 8 with 7 channels, 1.4 dB); floors that predict the calibration area best lose up to 2.7 dB. */
static double linear_floor(const kr_plane *p)
{
    const float *m = KR_R(p->mask);
    long missing = 0, between = 0, i = 0;
    for (long z = 0; z < p->n[2]; z++)
        for (long y = 0; y < p->n[1]; y++)
            for (long x = 0; x < p->n[0]; x++, i++) {
                const long c[3] = { x, y, z }, step[3] = { 1, p->n[0], p->n[0] * p->n[1] };
                bool both = false;
                for (int d = 0; d < 3 && !(m[i] > 0); d++)
                    both |= c[d] > 0 && c[d] + 1 < p->n[d] && m[i - step[d]] > 0 && m[i + step[d]] > 0;
                missing += !(m[i] > 0);
                between += both;
            }
    return (double)between > 0.9 * (double)missing ? 1 : 0.003;
}

static int set_up(void **shared, const kr_plane *p, const kr_array *block)
{
    (void)block;
    struct shared *s = *shared = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return kr_error_code();
    s->samples = p->n[0] * p->n[1] * p->n[2];
    s->at = kr_alloc((size_t)s->samples, sizeof *s->at);
    for (long i = 0; s->at && i < s->samples; i++)
        if (KR_R(p->mask)[i] > 0)                        /* packed: of length 1 where n is */
            s->at[s->measured++] = (int)i;
    s->floor = linear_floor(p);
    return s->at ? 0 : kr_error_code();
}

/* ---- Calibration ----
 * With H = A^H A + ridge over all samples of the stencil, the best prediction of sample j by the others has the weights
 * -H^-1[:,j] / H^-1[j,j]: one inverse serves all coils. Source: Lustig and Pauly, Magn Reson Med 64:457 (2010). */
struct stencil { long n, coils, centre; double lambda; };

/* W n x coils: how all samples predict that of each coil in the middle; from the lower triangle of H, which is destroyed. */
static int invert(const struct stencil *s, kr_cfloat *W, kr_cfloat *H)
{
    long n = s->n;
    float ridge = kr_fit_ridge(H, n, s->lambda);
    kr_auto kr_cfloat *R = kr_alloc((size_t)n, (size_t)n * sizeof *R), *row = kr_alloc((size_t)n, sizeof *row);
    if (!R || !row)
        return kr_error_code();
    for (long j = 0; j < n; j++)
        for (long i = 0; i <= j; i++)
            R[j * n + i] = i == j ? kr_c(kr_re(H[j * n + j]) + ridge, 0) : kr_cconj(H[i * n + j]);
    int e = kr_la_cholesky(n, R);
    e = e ? e : kr_la_inverse_upper(n, R);
    if (e)
        return e != KR_ENUMBER ? e : kr_fail(KR_ENUMBER, "the calibration area does not decide the kernel (its equations are singular): take a larger --lambda or fewer "
                                   "coils (--compress)");
    for (long c = 0; c < s->coils; c++) {                /* column j of R^-1 R^-H */
        long j = s->centre * s->coils + c;
        kr_cfloat *w = W + c * n;
        for (long i = 0; i < n; i++)
            row[i] = kr_cconj(R[i * n + j]);
        kr_la_gemm('N', 'N', n, 1, n, 1, R, n, row, n, 0, w, n);
        float f = -1 / kr_re(w[j]);
        for (long i = 0; i < n; i++)
            w[i] = i == j ? 0 : kr_c(f * kr_re(w[i]), f * kr_im(w[i]));
    }
    return 0;
}

static int weights(struct kernel *k, const kr_plane *p, double floor, const kr_array *block, long (*o)[3], long offsets, const long low[3], const long span[3])
{
    const opts *opt = p->opts;
    long coils = block->n[KR_COIL], n = offsets * coils, rows, most = 8 * n > 4096 ? 8 * n : 4096;
    struct stencil s = { n, coils, offsets / 2, opt->lambda };
    kr_auto kr_cfloat *A = NULL;
    if (kr_fit_shifts(&A, &rows, block, o, offsets, low, span, most))
        return kr_error_code();
    if (rows < n)
        return kr_fail(KR_EREFUSED, "the calibration area of %ld x %ld x %ld gives %ld equations for the %ld unknowns of a kernel: measure more "
                       "calibration lines, or take a smaller --kernel or fewer coils (--compress)", block->n[0], block->n[1], block->n[2], rows, n - 1);
    k->floor = opt->floor > 0 ? opt->floor : opt->l1 > 0 ? -1 : floor;
    kr_auto kr_cfloat *H = kr_alloc((size_t)n, (size_t)n * sizeof *H), *W = kr_alloc((size_t)n, (size_t)coils * sizeof *W);
    if (!H || !W || (k->floor > 0 && kr_fit_weigh(A, rows, n, n, k->floor)) || kr_fit_products(H, A, n, A, n, rows, true) || invert(&s, W, H))
        return kr_error_code();
    for (long c = 0; c < coils; c++)
        for (long i = 0; i < n; i++)
            k->w[(i / coils * coils + c) * coils + i % coils] = W[c * n + i];
    return 0;
}

static void chosen(const void *kernel, double range[2])
{
    const struct kernel *k = kernel;
    range[0] = fmin(range[0], k->floor);
    range[1] = fmax(range[1], k->floor);
}

/* How wide a kernel is along an axis: as wide as asked for, and as the calibration area is. */
static long width(long wanted, const kr_plane *p, const kr_array *block, int d)
{
    long most = block->n[d] & 1 ? block->n[d] : block->n[d] - 1;
    return d != KR_X && !(p->axes & KR_ON(d)) ? 1 : wanted < most ? wanted : most;
}

/* Is the ACS large enough for this kernel? Three equations for each unknown, and where samples are missing half
 * again as many places as the kernel is wide: found on simulated scans with 4 to 24 lines. */
static bool fits(long wanted, const kr_plane *p, const kr_array *block)
{
    long rows = 1, unknowns = p->coils;
    bool wide = true;
    for (int d = 0; d < 3; d++) {
        long w = width(wanted, p, block, d), places = block->n[d] - w + 1;
        wide = wide && (!(p->axes & KR_ON(d)) || w == 1 || 5 * places >= 7 * w);
        rows *= places;
        unknowns *= w;
    }
    return wide && rows >= 3 * unknowns;
}

static int calibrate(void **kernel, const kr_plane *p, const void *shared, const kr_array *block)
{
    const struct shared *sh = shared;
    const opts *o = p->opts;
    struct kernel *k = *kernel = kr_alloc_zero(1, sizeof *k);
    if (!k)
        return kr_error_code();
    long low[3], span[3], wanted = o->kernel ? o->kernel : p->coils <= 8 ? 7 : 5;
    while (!o->kernel && wanted > 3 && !fits(wanted, p, block))
        wanted -= 2;
    k->taps = k->offsets = 1;
    for (int d = 0; d < 3; d++) {
        span[d] = width(wanted, p, block, d);
        low[d] = -(span[d] / 2);
        if (p->axes & KR_ON(d) && span[d] < 3)
            return kr_fail(KR_EREFUSED, "samples are missing along %s, and the calibration area of %ld x %ld x %ld has no neighbours there to tell what they "
                           "are: measure more calibration lines", kr_axis_name(d), block->n[0], block->n[1], block->n[2]);
        if (d == KR_X && !(p->axes & KR_ON(KR_X)))
            k->taps = span[d];
        else
            k->offsets *= span[d];
    }
    kr_auto long (*all)[3] = kr_alloc((size_t)(k->taps * k->offsets), sizeof *all);
    k->w = kr_alloc((size_t)(k->taps * k->offsets), (size_t)(p->coils * p->coils) * sizeof *k->w);
    if (!all || !k->w)
        return kr_error_code();
    for (long i = 0; i < k->taps * k->offsets; i++) {
        long q = i % k->offsets, x = k->taps > 1 ? 1 : span[0], *to = all[i];
        to[0] = k->taps > 1 ? i / k->offsets - k->taps / 2 : low[0] + q % x;
        to[1] = low[1] + q / x % span[1];
        to[2] = low[2] + q / x / span[1];
    }
    memcpy(k->low, low, sizeof k->low);
    memcpy(k->span, span, sizeof k->span);
    if (k->taps > 1) {
        k->low[0] = 0;
        k->span[0] = 1;
    }
    return weights(k, p, sh->floor, block, all, k->taps * k->offsets, low, span);
}

/* ---- One problem: all samples of one x (or of the plane, where samples are missing along X) ---- */
struct work {
    const kr_plane *p; const struct shared *s; const struct kernel *k;
    kr_array *to;
    kr_fft *fft;
    kr_shape shape;                          /* {X,Y,Z,COIL} of one problem                           */
    long nx;                                 /* problems                                              */
};

/* M at problem x: the taps along X are one sum there. */
static kr_predict *predict(const struct work *j, long x)
{
    const struct kernel *k = j->k;
    long entries = k->offsets * j->p->coils * j->p->coils;
    kr_auto kr_cfloat *w = kr_alloc((size_t)entries, sizeof *w);
    if (!w)
        return NULL;
    memcpy((void *)w, k->w, (size_t)entries * sizeof *w);
    for (long d = 0; d < k->taps && k->taps > 1; d++) {
        double a = -2 * M_PI * (double)((d - k->taps / 2) * (x - j->nx / 2)) / (double)j->nx;
        kr_cfloat f = kr_c((float)cos(a), (float)sin(a));
        for (long i = 0; i < entries; i++)
            w[i] = d ? w[i] + kr_cmul(f, k->w[d * entries + i]) : kr_cmul(f, k->w[i]);
    }
    return kr_predict_new(w, k->low, k->span, j->p->coils, j->p->n);
}

/* Vectors in blocks, of which sums are added in order: x = x + a d, r = r - a q; returns |r|^2. And d = r + b d. */
enum { ROWS = 512 };
struct vectors { float *x, *r, *d, *q, a[KR_LANES]; long rows; double *sum; };

static int step_block(void *self, long i)
{
    const struct vectors *v = self;
    long at = i * ROWS * KR_ROW, rows = v->rows - i * ROWS < ROWS ? v->rows - i * ROWS : ROWS;
    double sum[KR_LANES] = { 0 };
    kr_lanes_step(v->x + at, v->r + at, v->d + at, v->q + at, v->a, rows, sum);
    v->sum[i] = 0;
    for (int k = 0; k < KR_LANES; k++)
        v->sum[i] += sum[k];
    return 0;
}

static int turn_block(void *self, long i)
{
    const struct vectors *v = self;
    long at = i * ROWS * KR_ROW, rows = v->rows - i * ROWS < ROWS ? v->rows - i * ROWS : ROWS;
    kr_lanes_turn(v->d + at, v->r + at, v->a, rows);
    return 0;
}

static int over_blocks(struct vectors *v, kr_body *body, double factor, double *sum)
{
    long blocks = (v->rows + ROWS - 1) / ROWS;
    for (int k = 0; k < KR_LANES; k++)
        v->a[k] = (float)factor;
    if (blocks > 1 ? kr_for(blocks, body, v) : body(v, 0))
        return kr_error_code();
    *sum = 0;
    for (long i = 0; i < blocks; i++)
        *sum += v->sum[i];
    return 0;
}

/* q = Q F M F^-1 v, Q: the missing samples; returns v^H q. */
static double normal(const struct work *j, const kr_predict *M, kr_cfloat *q, const kr_cfloat *v)
{
    kr_fft_inverse_to(j->fft, q, v);
    double vq = kr_predict_apply(M, q, q);
    kr_fft_forward(j->fft, q);
    for (long c = 0; c < j->p->coils; c++)
        for (long i = 0; i < j->s->measured; i++)
            q[c * j->s->samples + j->s->at[i]] = 0;
    return vq;
}

/* x = argmin |(K - 1) x| with the measured samples of y, which is what x is at first; by conjugate gradients. x of whole rows. */
static int least_squares(const struct work *j, const kr_predict *M, kr_cfloat *x, long rows)
{
    const opts *o = j->p->opts;
    long n = rows * KR_LANES;
    kr_auto kr_cfloat *r = kr_alloc_zero((size_t)n, sizeof *r), *d = kr_alloc((size_t)n, sizeof *d), *q = kr_alloc_zero((size_t)n, sizeof *q);
    kr_auto double *sum = kr_alloc_zero((size_t)(rows / ROWS + 1), sizeof *sum);
    if (!r || !d || !q || !sum)
        return kr_error_code();
    struct vectors v = { .x = (float *)x, .r = (float *)r, .d = (float *)d, .q = (float *)q, .rows = rows, .sum = sum };
    normal(j, M, q, x);
    memset((void *)d, 0, (size_t)n * sizeof *d);
    double rr = 0, none = 0;
    if (over_blocks(&v, step_block, 1, &rr))                         /* r = -q, with d = 0 */
        return kr_error_code();
    memcpy((void *)d, r, (size_t)n * sizeof *d);
    double least = o->tolerance * o->tolerance * rr;
    for (long i = 0, most = o->iterations ? o->iterations : 50; i < most && rr > least; i++) {
        if (kr_stopped(j->p->trace))
            return kr_error_code();
        double dq = normal(j, M, q, d), before = rr;
        if (!(dq > 0))
            break;
        if (over_blocks(&v, step_block, rr / dq, &rr) || over_blocks(&v, turn_block, rr / before, &none))
            return kr_error_code();
        if (j->nx == 1)
            kr_progress(j->p->trace, "spirit", (double)(i + 1), (double)most);
    }
    return isfinite(rr) ? 0 : kr_fail(KR_ENUMBER, "the iterations leave the finite numbers: is the data's scale sensible?");
}

static kr_array *problem(const struct work *j, long x)               /* a view of `to` */
{
    return j->nx > 1 ? kr_array_at(j->to, KR_X, x) : kr_array_ref(j->to);
}

static int one_problem(void *self, long x)
{
    const struct work *j = self;
    if (kr_stopped(j->p->trace))
        return kr_error_code();
    long n = j->s->samples * j->p->coils, rows = (n + KR_LANES - 1) / KR_LANES;
    kr_cfloat *data = kr_alloc_zero((size_t)(rows * KR_LANES), sizeof *data);
    kr_scoped(array) view = problem(j, x);
    kr_scoped(array) v = data ? kr_array_take(KR_C32, j->shape, data) : NULL;
    if (!v)
        kr_free(data);
    kr_predict *M = v && view ? predict(j, x) : NULL;
    int e = kr_error_code();
    if (M) {
        kr_array_assign(v, view);
        e = least_squares(j, M, data, rows);
    }
    if (!e)
        kr_array_assign(view, v);
    kr_predict_unref(&M);
    return e;
}

/* ---- With joint sparsity: all problems together ----
 * FISTA on |(K - 1) v|^2 / 2 + threshold sum over wavelets of |their vector over the coils|, the measured samples put back in each
 * iteration. Sources: Lustig and Pauly 2010; Murphy et al., IEEE Trans Med Imaging 31:1250 (2012); Beck and Teboulle 2009. */
enum { BLOCK = 4096 };
struct sparse {
    const struct work *j;
    const kr_predict *M; const kr_fft *fft; const kr_shrink *shrink;          /* of all pixels                                  */
    kr_array *x, *v, *z, *u;                         /* in image space; u: before shrinkage            */
    long pixels;
    float threshold, ahead;
    double (*sum)[3];                                /* of each block                                  */
};

/* Taps along X and offsets as one box [z][y][x]. */
static kr_predict *predict_all(const struct work *j)
{
    const struct kernel *k = j->k;
    long entries = j->p->coils * j->p->coils, low[3], span[3];
    const long n[3] = { j->to->n[KR_X], j->to->n[KR_Y], j->to->n[KR_Z] };
    kr_auto kr_cfloat *w = kr_alloc((size_t)(k->taps * k->offsets), (size_t)entries * sizeof *w);
    if (!w)
        return NULL;
    memcpy(low, k->low, sizeof low);
    memcpy(span, k->span, sizeof span);
    for (long d = 0; d < k->taps; d++)
        for (long o = 0; o < k->offsets; o++)
            memcpy((void *)(w + (o * k->taps + d) * entries), k->w + (d * k->offsets + o) * entries, (size_t)entries * sizeof *w);
    if (k->taps > 1) {
        low[0] = -(k->taps / 2);
        span[0] = k->taps;
    }
    return kr_predict_new(w, low, span, j->p->coils, n);
}

/* Largest eigenvalue of M: v = M z from a fixed start. */
static double largest_eigenvalue(const struct sparse *s)
{
    double top = 1;
    for (long i = 0, n = kr_count(kr_array_shape(s->z)); i < n; i++) {
        double g[2];
        kr_rand_normal2(1, 0, (uint64_t)i, g);
        KR_C(s->z)[i] = kr_c((float)g[0], (float)g[1]);
    }
    for (int i = 0; i < 12 && top > 0; i++) {
        kr_scale(s->z, (float)(1 / kr_norm(s->z)));
        kr_predict_apply(s->M, KR_C(s->v), KR_C(s->z));
        top = kr_norm(s->v);
        kr_array_assign(s->z, s->v);
    }
    return top;
}

/* Coefficients of a block of pixels: the largest vector over the coils to sum[0]. */
static int size_block(void *self, long b)
{
    const struct sparse *s = self;
    const kr_cfloat *w = KR_C(s->u);
    float top = 0;
    for (long i = b * BLOCK; i < s->pixels && i < (b + 1) * BLOCK; i++) {
        float size = 0;
        for (long c = 0; c < s->j->p->coils; c++)
            size += kr_cabs2(w[c * s->pixels + i]);
        top = size > top ? size : top;
    }
    s->sum[b][0] = sqrt((double)top);
    return 0;
}

/* Measured samples put back into one coil of v, in k-space. */
static int keep_coil(void *self, long c)
{
    const struct sparse *s = self;
    const struct work *j = s->j;
    long step = j->nx > 1 ? j->nx : 1;
    for (long i = 0; i < j->s->measured; i++) {
        long e = (c * j->s->samples + j->s->at[i]) * step;
        memcpy((void *)(KR_C(s->v) + e), KR_C(j->to) + e, (size_t)step * sizeof(kr_cfloat));
    }
    return 0;
}

/* z = v + ahead (v - x), x = v; sum: |v - x|^2, |v|^2 and Re <z - v, v - x> with the former z and x, of one block of one coil. */
static int advance_block(void *self, long b)
{
    const struct sparse *s = self;
    long n = s->pixels * s->j->p->coils;
    double moved = 0, size = 0, turn = 0;
    for (long i = b * BLOCK; i < n && i < (b + 1) * BLOCK; i++) {
        kr_cfloat v = KR_C(s->v)[i], x = KR_C(s->x)[i], d = v - x;
        moved += (double)kr_cabs2(d);
        size += (double)kr_cabs2(v);
        turn += (double)kr_re(kr_cmul(kr_cconj(KR_C(s->z)[i] - v), d));
        KR_C(s->z)[i] = kr_c(kr_re(v) + s->ahead * kr_re(d), kr_im(v) + s->ahead * kr_im(d));
        KR_C(s->x)[i] = v;
    }
    s->sum[b][0] = moved;
    s->sum[b][1] = size;
    s->sum[b][2] = turn;
    return 0;
}

/* The threshold is relative to the largest vector of the coefficients of u. */
static int choose_threshold(struct sparse *s, const kr_wavelet *W)
{
    long blocks = (s->pixels + BLOCK - 1) / BLOCK;
    double most = 0;
    kr_wavelet_forward(W, KR_C(s->u), KR_C(s->u), (const long[3]){ 0 });
    if (kr_for(blocks, size_block, s))
        return kr_error_code();
    for (long b = 0; b < blocks; b++)
        most = fmax(most, s->sum[b][0]);
    s->threshold = (float)(((const opts *)s->j->p->opts)->l1 * most);
    return 0;
}

/* v = the gradient step from z, its wavelets shrunk, the mean over four places of their grid. */
static int shrink_step(struct sparse *s, double step)
{
    static const long shifts[][3] = { { 0, 0, 0 }, { 1, 2, 1 }, { 2, 1, 3 }, { 3, 3, 2 } };
    kr_predict_apply(s->M, KR_C(s->u), KR_C(s->z));
    kr_xpay(s->u, (float)-step, s->z);
    if (!(s->threshold >= 0)) {
        kr_array_assign(s->v, s->u);
        if (choose_threshold(s, kr_shrink_wavelet(s->shrink)))
            return kr_error_code();
        kr_array_assign(s->u, s->v);
    }
    kr_shrink_apply(s->shrink, KR_C(s->v), KR_C(s->u), s->threshold, shifts, sizeof shifts / sizeof *shifts);
    return 0;
}

static int iterate(struct sparse *s, kr_rest *rest)
{
    const opts *o = s->j->p->opts;
    long blocks = (s->pixels * s->j->p->coils + BLOCK - 1) / BLOCK, most = o->iterations ? o->iterations : 2000, i = 0;
    double t = 1, top = largest_eigenvalue(s);
    if (!(top > 0))
        return kr_fail(KR_ENUMBER, "the kernels predict nothing");
    kr_array_assign(s->z, s->x);
    bool rests = false;
    for (; i < most && !rests; i++) {
        if (kr_stopped(s->j->p->trace) || shrink_step(s, 1 / (1.05 * top)))
            return kr_error_code();
        kr_fft_forward(s->fft, KR_C(s->v));
        if (kr_for(s->j->p->coils, keep_coil, s))
            return kr_error_code();
        kr_fft_inverse(s->fft, KR_C(s->v));
        double sum[3] = { 0 };
        s->ahead = (float)kr_momentum(&t, (int)i);
        if (kr_for(blocks, advance_block, s))
            return kr_error_code();
        for (long b = 0; b < blocks; b++)
            for (int k = 0; k < 3; k++)
                sum[k] += s->sum[b][k];
        if (!isfinite(sum[0] + sum[1]))
            return kr_fail(KR_ENUMBER, "the iterations leave the finite numbers: is the data's scale sensible?");
        if (sum[2] > 0)                                              /* the step turned against the momentum */
            t = 1;
        rests = kr_rest_at(rest, s->x, (int)i + 1, o->tolerance);
        kr_progress(s->j->p->trace, "spirit", kr_rest_part(rest, (int)i + 1, (int)most), 1);
    }
    kr_say(s->j->p->trace, KR_DETAIL, "spirit: %ld iterations%s", i, rests ? ", converged" : "");
    if (!rests && o->tolerance > 0)
        kr_say(s->j->p->trace, KR_INFO, "spirit: not converged after %ld iterations: more --iterations would change the image", i);
    return 0;
}

static int sparse(struct work *j)
{
    kr_shape shape = kr_array_shape(j->to);
    long pixels = kr_count(shape) / j->p->coils;
    unsigned axes = 0;
    for (int d = KR_X; d <= KR_Z; d++)
        axes |= shape.n[d] > 1 ? KR_ON(d) : 0;
    kr_scoped(array) x = kr_array_copy(j->to);
    kr_scoped(array) v = kr_array_like(j->to);
    kr_scoped(array) z = kr_array_like(j->to);
    kr_scoped(array) u = kr_array_like(j->to);
    kr_auto double (*sum)[3] = kr_alloc((size_t)(pixels * j->p->coils / BLOCK + 1), sizeof *sum);
    kr_predict *M = predict_all(j);
    kr_shrink *shrink = kr_shrink_new(KR_C32, shape, axes, 2, 0, j->p->coils);
    kr_fft *fft = kr_fft_new(shape, j->p->axes, KR_CENTRED);
    struct sparse s = { .j = j, .M = M, .fft = fft, .shrink = shrink, .x = x, .v = v, .z = z, .u = u, .pixels = pixels, .sum = sum, .threshold = -1 };
    int e = x && v && z && u && sum && M && shrink && fft ? 0 : kr_error_code();
    if (!e) {
        kr_fft_inverse(fft, KR_C(x));
        kr_rest rest;
        e = kr_rest_open(&rest, x);
        e = e ? e : iterate(&s, &rest);
        kr_rest_close(&rest);
    }
    if (!e) {
        kr_fft_forward(fft, KR_C(x));
        kr_array_assign(j->to, x);
    }
    kr_predict_unref(&M);
    kr_shrink_unref(&shrink);
    kr_fft_unref(&fft);
    return e;
}

static int fill(const kr_plane *p, const void *shared, const void *kernel, kr_array *to, const kr_array *from)
{
    const opts *o = p->opts;
    struct work j = { .p = p, .s = shared, .k = kernel, .to = to, .nx = p->axes & KR_ON(KR_X) ? 1 : to->n[KR_X] };
    kr_array_assign(to, from);
    if (j.nx > 1 && !p->in_image && kr_fourier_inverse(to, KR_ON(KR_X)))
        return kr_error_code();
    if (j.s->measured == j.s->samples)
        return 0;
    j.shape = kr_array_shape(to);
    j.shape.n[KR_X] = p->n[0];
    j.fft = kr_fft_new(j.shape, p->axes, j.nx > 1 ? KR_CENTRED | KR_SERIAL : KR_CENTRED);
    int e = !j.fft ? kr_error_code() : o->l1 > 0 ? sparse(&j) : j.nx > 1 ? kr_for(j.nx, one_problem, &j) : one_problem(&j, 0);
    kr_fft_unref(&j.fft);
    return e;
}

static const kr_filling spirit = { set_up, calibrate, chosen, fill, NULL, drop, drop_kernel, NULL, NULL, NULL };

static int check(const opts *o)
{
    if (o->kernel < 0 || o->kernel > 15 || (o->kernel && (!(o->kernel & 1) || o->kernel < 3)) || o->iterations < 0 || o->iterations > 100000 || !(o->lambda >= 0) || !isfinite(o->lambda)
        || !(o->floor >= 0) || !isfinite(o->floor) || !(o->tolerance >= 0) || !(o->l1 >= 0) || !isfinite(o->l1))
        return kr_fail(KR_EREFUSED, "spirit wants an odd --kernel of 3 to 15, 1 to 100000 --iterations (0: the preset), and --lambda, --floor, --tolerance and --l1 >= 0, not %ld, "
                       "%ld, %g, %g, %g and %g", o->kernel, o->iterations, o->lambda, o->floor, o->tolerance, o->l1);
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    if (check(o) || (!(o->l1 > 0) && warn_of_factor(scan, trace)))
        return kr_error_code();
    return kr_fill_planes(out, scan, coils, &spirit, o, trace);
}

static int again(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, void **left, const kr_trace *trace)
{
    return check(options) ? kr_error_code() : kr_fill_planes_again(out, scan, coils, &spirit, options, sizeof(opts), left, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    double n = (double)kr_count(scan->shape), coils = scan->shape.n[KR_COIL] > 1 ? (double)scan->shape.n[KR_COIL] : 1;
    long slices = scan->shape.n[KR_SLICE] > 1 ? scan->shape.n[KR_SLICE] : 1, at_once = slices >= 2 * kr_threads() ? kr_threads() : 1;
    /* One frame of a slice at a time on each thread: as measured, filled, and with joint sparsity six copies and half a matrix of coils at each pixel. */
    cost->bytes = 8 * n / (double)kr_parts(scan) * (double)at_once * (o->l1 > 0 ? 8 + (coils + 1) / 2 : 2);
    cost->seconds = n * 1e-8 * coils * (double)(o->iterations ? o->iterations : o->l1 > 0 ? 1000 : 50) / 10;
    return 0;
}

const kr_recon kr_recon_spirit = { "spirit", "SPIRiT: iterative self-consistent parallel imaging, any sampling pattern, with jointly sparse coil images",
    "Lustig and Pauly, Magn Reson Med 64:457 (2010); Murphy et al., IEEE Trans Med Imaging 31:1250 (2012)",
    KR_MAY_USE_COILS, table, sizeof(opts), run, plan, NULL, NULL, again, kr_fill_planes_forget };
