/* spirit.c: every sample of k-space is a combination of all its neighbours in all coils, measured or not: v = K v. Missing samples are those
 * that make |(K - 1) v| least, with measured ones kept; with --l1 also the coil images jointly sparse. In image space K is a small
 * matrix at each pixel. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/wavelet.h"
#include "fit.h"
#include "planes.h"
#include <math.h>
#include <string.h>

typedef struct opts { long kernel, iterations; double lambda, tolerance, l1; } opts;
static const kr_opt table[] = {
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "0", "N", "width of the kernels, odd; 0: 7 with up to 8 coils, else 5" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.01", "X", "Tikhonov regularisation of the kernels, relative to the mean power of a calibration sample" },
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "50", "N", "iterations at most" },
    { "tolerance", 0, KR_OPT_REAL, offsetof(opts, tolerance), "1e-3", "X", "stop once the residual has fallen to this part of its start" },
    { "l1", 0, KR_OPT_REAL, offsetof(opts, l1), "0", "X", "joint sparsity of the coil images' wavelets, relative to their largest coefficient; 0: none" },
    KR_OPT_END };

/* The kernel of one plane, [tap along X][offset][to coil][from coil], weights of the sample itself 0; shared: the measured samples. */
struct kernel { long taps, offsets, (*offset)[3]; kr_cfloat *w; };
struct shared { long samples, measured; int *at; };

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
    if (k) {
        kr_free(k->offset);
        kr_free(k->w);
    }
    kr_free_at(p);
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
    return s->at ? 0 : kr_error_code();
}

/* ---- Calibration ----
 * With H = A^H A + ridge over all samples of the stencil, the best prediction of sample j by the others has the weights
 * -H^-1[:,j] / H^-1[j,j]: one inverse serves all coils. Source: Lustig and Pauly, Magn Reson Med 64:457 (2010). */
static int weights(kr_cfloat *w, const kr_array *block, long (*o)[3], long offsets, const long low[3], const long span[3], double lambda)
{
    long coils = block->n[KR_COIL], n = offsets * coils, rows, centre = offsets / 2;
    kr_auto kr_cfloat *A = NULL;
    if (kr_fit_shifts(&A, &rows, block, o, offsets, low, span, 4 * n > 4096 ? 4 * n : 4096))
        return kr_error_code();
    if (rows < n)
        return kr_fail(KR_EREFUSED, "the calibration area of %ld x %ld x %ld gives %ld equations for the %ld unknowns of a kernel: measure more "
                       "calibration lines, or take a smaller --kernel or fewer coils (--compress)", block->n[0], block->n[1], block->n[2], rows, n - 1);
    kr_auto kr_cfloat *H = kr_alloc((size_t)n, (size_t)n * sizeof *H), *R = kr_alloc((size_t)n, (size_t)n * sizeof *R);
    if (!H || !R || kr_fit_products(H, A, n, A, n, rows, true))
        return kr_error_code();
    float ridge = kr_fit_ridge(H, n, lambda);
    for (long j = 0; j < n; j++)
        for (long i = 0; i <= j; i++)
            R[j * n + i] = i == j ? kr_c(kr_re(H[j * n + j]) + ridge, 0) : kr_cconj(H[i * n + j]);
    if (kr_la_cholesky(n, R) || kr_la_inverse_upper(n, R))
        return kr_fail(KR_ENUMBER, "the calibration area does not decide the kernel (its equations are singular): take a larger --lambda or fewer "
                                   "coils (--compress)");
    for (long c = 0; c < coils; c++) {                   /* column j of R^-1 R^-H */
        long j = centre * coils + c;
        for (long i = 0; i < n; i++)
            A[i] = kr_cconj(R[i * n + j]);
        kr_la_gemm('N', 'N', n, 1, n, 1, R, n, A, n, 0, H, n);
        float f = -1 / kr_re(H[j]);
        for (long i = 0; i < n; i++)
            w[(i / coils * coils + c) * coils + i % coils] = i == j ? 0 : kr_c(f * kr_re(H[i]), f * kr_im(H[i]));
    }
    return 0;
}

static int calibrate(void **kernel, const kr_plane *p, const void *shared, const kr_array *block)
{
    (void)shared;
    const opts *o = p->opts;
    struct kernel *k = *kernel = kr_alloc_zero(1, sizeof *k);
    if (!k)
        return kr_error_code();
    long low[3], span[3];
    k->taps = k->offsets = 1;
    for (int d = 0; d < 3; d++) {
        long most = block->n[d] & 1 ? block->n[d] : block->n[d] - 1, want = o->kernel ? o->kernel : p->coils <= 8 ? 7 : 5, width = want < most ? want : most;
        span[d] = d == KR_X || p->axes & KR_ON(d) ? width : 1;
        low[d] = -(span[d] / 2);
        if (d == KR_X && !(p->axes & KR_ON(KR_X)))
            k->taps = span[d];
        else
            k->offsets *= span[d];
    }
    kr_auto long (*all)[3] = kr_alloc((size_t)(k->taps * k->offsets), sizeof *all);
    k->offset = kr_alloc((size_t)k->offsets, sizeof *k->offset);
    k->w = kr_alloc((size_t)(k->taps * k->offsets), (size_t)(p->coils * p->coils) * sizeof *k->w);
    if (!all || !k->offset || !k->w)
        return kr_error_code();
    for (long i = 0; i < k->taps * k->offsets; i++) {
        long q = i % k->offsets, x = k->taps > 1 ? 1 : span[0], *to = all[i];
        to[0] = k->taps > 1 ? i / k->offsets - k->taps / 2 : low[0] + q % x;
        to[1] = low[1] + q / x % span[1];
        to[2] = low[2] + q / x / span[1];
        if (i < k->offsets) {
            memcpy(k->offset[i], to, sizeof *all);
            if (k->taps > 1)
                k->offset[i][0] = 0;
        }
    }
    return weights(k->w, block, all, k->taps * k->offsets, low, span, o->lambda);
}

/* ---- One problem: all samples of one x (or of the plane, where samples are missing along X) ---- */
struct work {
    const kr_plane *p; const struct shared *s; const struct kernel *k;
    kr_array *to; const kr_cfloat *wave;     /* wave [offset][sample]: exp(-2 pi i o (r - N/2) / N)    */
    kr_fft *fft;
    kr_shape shape;                          /* {X,Y,Z,COIL} of one problem                           */
    long nx;                                 /* problems                                              */
};

/* M = (K - 1)^H (K - 1) {X,Y,Z,COIL,MAP} at problem x. */
static kr_array *normal_of(const struct work *j, long x)
{
    long C = j->p->coils, CC = C * C, entries = j->k->offsets * CC, r = j->s->samples;
    kr_shape shape = j->shape, sum = shape;
    shape.n[KR_CHAN] = shape.n[KR_COIL];
    shape.n[KR_COIL] = 1;
    shape.n[KR_MAP] = C;
    sum.n[KR_MAP] = C;
    kr_scoped(array) K = kr_array_new(KR_C32, shape);                /* {.., MAP from, CHAN to}            */
    kr_array *M = kr_array_new(KR_C32, sum);
    kr_auto kr_cfloat *w = kr_alloc_zero((size_t)entries, sizeof *w);
    if (!K || !M || !w) {
        kr_array_unref(&M);
        return NULL;
    }
    for (long d = 0; d < j->k->taps; d++) {
        double a = -2 * M_PI * (double)((d - j->k->taps / 2) * (x - j->nx / 2)) / (double)j->nx;
        kr_cfloat f = j->k->taps > 1 ? kr_c((float)cos(a), (float)sin(a)) : kr_c(1, 0);
        for (long i = 0; i < entries; i++)
            w[i] += kr_cmul(f, j->k->w[d * entries + i]);
    }
    for (long c = 0; c < C; c++)
        w[j->k->offsets / 2 * CC + c * (C + 1)] -= kr_c(1, 0);
    kr_la_gemm('N', 'T', r, CC, j->k->offsets, 1, j->wave, r, w, CC, 0, KR_C(K), r);
    kr_scoped(array) L = kr_array_rename(K, KR_MAP, KR_COIL);
    if (!L) {
        kr_array_unref(&M);
        return NULL;
    }
    kr_contract(M, K, L, true);                                      /* M[c, m] = sum over k of K[k, m] conj(K[k, c]) */
    return M;
}

static void set_measured(const struct work *j, kr_array *v, const kr_array *y)      /* y NULL: 0 */
{
    for (long c = 0; c < j->p->coils; c++)
        for (long i = 0; i < j->s->measured; i++) {
            long e = c * j->s->samples + j->s->at[i];
            KR_C(v)[e] = y ? KR_C(y)[e] : 0;
        }
}

/* z = Q F M F^-1 v, Q: the missing samples; t: scratch. */
static void normal(const struct work *j, const kr_array *M, kr_array *z, const kr_array *v, kr_array *t)
{
    kr_fft_inverse_to(j->fft, KR_C(t), KR_C(v));
    kr_array from = *t;                                              /* {.., COIL} seen as {.., MAP} */
    from.n[KR_MAP] = t->n[KR_COIL];
    from.step[KR_MAP] = t->step[KR_COIL];
    from.n[KR_COIL] = 1;
    from.step[KR_COIL] = 0;
    kr_contract(z, M, &from, false);
    kr_fft_forward(j->fft, KR_C(z));
    set_measured(j, z, NULL);
}

/* x = argmin |(K - 1) x| with the measured samples of y, which is what x is at first; by conjugate gradients. */
static int least_squares(const struct work *j, const kr_array *M, kr_array *x)
{
    const opts *o = j->p->opts;
    kr_scoped(array) r = kr_array_like(x);
    kr_scoped(array) d = kr_array_like(x);
    kr_scoped(array) q = kr_array_like(x);
    kr_scoped(array) t = kr_array_like(x);
    if (!r || !d || !q || !t)
        return kr_error_code();
    normal(j, M, r, x, t);
    kr_scale(r, -1);
    kr_axpy(d, 1, r);
    double rr = kr_dot_re(r, r), least = o->tolerance * o->tolerance * rr;
    for (long i = 0; i < o->iterations && rr > least; i++) {
        normal(j, M, q, d, t);
        double dq = kr_dot_re(d, q);
        if (!(dq > 0))
            break;
        kr_axpy(x, (float)(rr / dq), d);
        kr_axpy(r, (float)(-rr / dq), q);
        double next = kr_dot_re(r, r);
        kr_xpay(d, (float)(next / rr), r);
        rr = next;
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
    kr_scoped(array) view = problem(j, x);
    kr_scoped(array) v = view ? kr_array_copy(view) : NULL;
    kr_scoped(array) M = v ? normal_of(j, x) : NULL;
    if (!M || least_squares(j, M, v))
        return kr_error_code();
    kr_array_assign(view, v);
    return 0;
}

/* ---- With joint sparsity: all problems together ----
 * FISTA on |(K - 1) v|^2 / 2 + threshold sum over wavelets of |their vector over the coils|, the measured samples put back in each
 * iteration. Sources: Lustig and Pauly 2010; Murphy et al., IEEE Trans Med Imaging 31:1250 (2012); Beck and Teboulle 2009. */
struct sparse { struct work *j; kr_array **M; kr_array *v, *z; const kr_array *y; float step; };

static int make_normal(void *self, long x)
{
    struct sparse *s = self;
    return (s->M[x] = normal_of(s->j, x)) ? 0 : kr_error_code();
}

/* v = z - step M z at one x; z, v in image space. */
static int gradient(void *self, long x)
{
    struct sparse *s = self;
    bool many = s->j->nx > 1;
    kr_scoped(array) zv = many ? kr_array_at(s->z, KR_X, x) : kr_array_ref(s->z);
    kr_scoped(array) vv = many ? kr_array_at(s->v, KR_X, x) : kr_array_ref(s->v);
    kr_scoped(array) z = zv ? kr_array_copy(zv) : NULL;
    kr_scoped(array) q = z ? kr_array_like(z) : NULL;
    kr_scoped(array) m = z ? kr_array_rename(z, KR_COIL, KR_MAP) : NULL;
    if (!vv || !q || !m)
        return kr_error_code();
    kr_contract(q, s->M[x], m, false);
    kr_axpy(z, -s->step, q);
    kr_array_assign(vv, z);
    return 0;
}

static int gradients(struct sparse *s)
{
    return s->j->nx > 1 ? kr_for(s->j->nx, gradient, s) : gradient(s, 0);
}

/* Largest eigenvalue of M: v = M z from a fixed start. */
static int find_step(struct sparse *s)
{
    long n = kr_count(kr_array_shape(s->z));
    for (long i = 0; i < n; i++) {
        double g[2];
        kr_rand_normal2(1, 0, (uint64_t)i, g);
        KR_C(s->z)[i] = kr_c((float)g[0], (float)g[1]);
    }
    double top = 1;
    for (int i = 0; i < 12; i++) {
        kr_scale(s->z, (float)(1 / kr_norm(s->z)));
        s->step = 1;
        if (gradients(s))
            return kr_error_code();
        kr_axpy(s->v, -1, s->z);
        top = kr_norm(s->v);
        kr_array_assign(s->z, s->v);
        if (!(top > 0))
            return kr_fail(KR_ENUMBER, "the kernels predict nothing");
    }
    s->step = (float)(1 / (1.05 * top));
    return 0;
}

static void shrink(kr_cfloat *w, long n, long coils, float t)
{
    for (long i = 0; i < n; i++) {
        float size = 0;
        for (long c = 0; c < coils; c++)
            size += kr_cabs2(w[c * n + i]);
        size = sqrtf(size);
        float f = size > t ? 1 - t / size : 0;
        for (long c = 0; c < coils; c++)
            w[c * n + i] = kr_c(f * kr_re(w[c * n + i]), f * kr_im(w[c * n + i]));
    }
}

static float largest(const kr_cfloat *w, long n, long coils)
{
    float top = 0;
    for (long i = 0; i < n; i++) {
        float size = 0;
        for (long c = 0; c < coils; c++)
            size += kr_cabs2(w[c * n + i]);
        top = size > top ? size : top;
    }
    return sqrtf(top);
}

/* Measured samples put back; x in image space. */
static int keep_data(const struct sparse *s, kr_array *x)
{
    const struct work *j = s->j;
    if (kr_fourier(x, j->p->axes))
        return kr_error_code();
    long step = j->nx > 1 ? x->n[KR_X] : 1;
    for (long c = 0; c < j->p->coils; c++)
        for (long i = 0; i < j->s->measured; i++) {
            long e = (c * j->s->samples + j->s->at[i]) * step;
            memcpy((void *)(KR_C(x) + e), KR_C(s->y) + e, (size_t)step * sizeof(kr_cfloat));
        }
    return kr_fourier_inverse(x, j->p->axes);
}

static int iterate(struct sparse *s, kr_array *x, kr_wavelet *W)
{
    const opts *o = s->j->p->opts;
    long n = kr_count(kr_shape_without(kr_array_shape(x), KR_ON(KR_COIL))), coils = s->j->p->coils;
    float most = 0;
    double t = 1, moved = 1;
    kr_scoped(array) old = kr_array_like(x);
    if (!old || find_step(s))
        return kr_error_code();
    kr_array_assign(s->z, x);
    for (long i = 0; i < o->iterations && moved > o->tolerance; i++) {
        const long shift[3] = { (long)(kr_rand_bits(2, 0, (uint64_t)i) % 16), (long)(kr_rand_bits(2, 1, (uint64_t)i) % 16), 0 };
        if (kr_stopped(s->j->p->trace) || gradients(s))
            return kr_error_code();
        kr_wavelet_forward(W, KR_C(s->v), KR_C(s->v), shift);
        most = i ? most : largest(KR_C(s->v), n, coils);
        shrink(KR_C(s->v), n, coils, (float)o->l1 * most);
        kr_wavelet_inverse(W, KR_C(s->v), KR_C(s->v), shift);
        if (keep_data(s, s->v))
            return kr_error_code();
        kr_array_assign(old, x);
        kr_array_assign(x, s->v);
        double next = (1 + sqrt(1 + 4 * t * t)) / 2;
        kr_axpy(s->v, -1, old);                                      /* z = x + (t - 1) / next (x - old) */
        moved = kr_norm(s->v) / kr_norm(x);
        kr_array_assign(s->z, x);
        kr_axpy(s->z, (float)((t - 1) / next), s->v);
        t = next;
        kr_progress(s->j->p->trace, "spirit", (double)(i + 1), (double)o->iterations);
    }
    return isfinite(moved) ? 0 : kr_fail(KR_ENUMBER, "the iterations leave the finite numbers: is the data's scale sensible?");
}

static int sparse(struct work *j)
{
    kr_shape shape = kr_array_shape(j->to);
    kr_scoped(array) x = kr_array_copy(j->to);
    kr_scoped(array) y = kr_array_ref(j->to);
    kr_scoped(array) v = kr_array_like(j->to);
    kr_scoped(array) z = kr_array_like(j->to);
    kr_auto kr_array **M = kr_alloc_zero((size_t)j->nx, sizeof(kr_array *));
    unsigned axes = 0;
    for (int d = KR_X; d <= KR_Z; d++)
        axes |= shape.n[d] > 1 ? KR_ON(d) : 0;
    kr_wavelet *W = kr_wavelet_new(shape, axes, 2, 0);
    struct sparse s = { j, M, v, z, y, 1 };
    int e = !x || !y || !v || !z || !M || !W || kr_fourier_inverse(x, j->p->axes)
         || (j->nx > 1 ? kr_for(j->nx, make_normal, &s) : make_normal(&s, 0)) || iterate(&s, x, W) || kr_fourier(x, j->p->axes)
         ? kr_error_code() : 0;
    if (!e)
        kr_array_assign(j->to, x);
    for (long i = 0; M && i < j->nx; i++)
        kr_array_unref(&M[i]);
    kr_wavelet_unref(&W);
    return e;
}

/* exp(-2 pi i o (r - N/2) / N) of every offset and pixel. */
static void waves(kr_cfloat *wave, const struct work *j)
{
    for (long o = 0; o < j->k->offsets; o++)
        for (long i = 0; i < j->s->samples; i++) {
            const long *n = j->p->n, r[3] = { i % n[0], i / n[0] % n[1], i / n[0] / n[1] };
            double a = 0;
            for (int d = 0; d < 3; d++)
                a -= 2 * M_PI * (double)(j->k->offset[o][d] * (r[d] - n[d] / 2)) / (double)n[d];
            wave[o * j->s->samples + i] = kr_c((float)cos(a), (float)sin(a));
        }
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
    kr_auto kr_cfloat *wave = kr_alloc((size_t)j.k->offsets, (size_t)j.s->samples * sizeof *wave);
    j.fft = kr_fft_new(j.shape, p->axes, j.nx > 1 ? KR_CENTRED | KR_SERIAL : KR_CENTRED);
    int e = wave && j.fft ? 0 : kr_error_code();
    if (!e) {
        waves(wave, &j);
        j.wave = wave;
        e = o->l1 > 0 ? sparse(&j) : j.nx > 1 ? kr_for(j.nx, one_problem, &j) : one_problem(&j, 0);
    }
    kr_fft_unref(&j.fft);
    return e;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    static const kr_filling spirit = { set_up, calibrate, fill, NULL, drop, drop_kernel };
    const opts *o = options;
    if (o->kernel < 0 || o->kernel > 15 || (o->kernel && !(o->kernel & 1)) || o->iterations < 1 || o->iterations > 100000 || !(o->lambda >= 0) || !isfinite(o->lambda)
        || !(o->tolerance >= 0) || !(o->l1 >= 0) || !isfinite(o->l1))
        return kr_fail(KR_EREFUSED, "spirit wants an odd --kernel of at most 15, 1 to 100000 --iterations, and --lambda, --tolerance and --l1 >= 0, not %ld, "
                       "%ld, %g, %g and %g", o->kernel, o->iterations, o->lambda, o->tolerance, o->l1);
    return kr_fill_planes(out, scan, coils, &spirit, o, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    double n = (double)kr_count(scan->shape), coils = scan->shape.n[KR_COIL] > 1 ? (double)scan->shape.n[KR_COIL] : 1;
    cost->bytes = 8 * n * (o->l1 > 0 ? 4 + coils : 3);
    cost->seconds = n * 1e-8 * coils * (double)o->iterations / 10;
    return 0;
}

const kr_recon kr_recon_spirit = { "spirit", "k-space that agrees with kernels fitted to the calibration lines, for any mask; --l1 for sparse coil images",
    "Lustig and Pauly, Magn Reson Med 64:457 (2010); Murphy et al., IEEE Trans Med Imaging 31:1250 (2012)",
    KR_MAY_USE_COILS | KR_UNFOLDS, table, sizeof(opts), run, plan };
