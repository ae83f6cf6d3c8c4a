/* spread.c: GRAPPA in image space: where in k-space each measured sample goes, and what arrives at every pixel: the noise of an image, and the
 * image itself, from the measured samples' own transforms.
 * Measured samples that lie alike spread alike: they are one class. Source: Breuer et al., Magn Reson Med 62:739 (2009), here with
 * calibration lines and ends of k-space in their own classes, so that it is exact for any mask. */
#include "kernels.h"
#include "kray/fourier.h"
#include "kray/la.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 3 };
/* Measured sample m is source s of target t of a hood. */
struct use { int m, hood, target, source; };
struct class { long count, uses; const struct use *use; };
struct spread {
    const kr_kernels *f;
    float *variance;
    kr_cfloat **A;                   /* of every class, where it is wanted                           */
    const kr_cfloat *S;
    long nx, classes;
    struct class *class;
    kr_cfloat *scratch;
    long room;
};

static int by_sample(const void *p, const void *q)
{
    const struct use *a = p, *b = q;
    return a->m != b->m ? (a->m < b->m ? -1 : 1) : a->hood != b->hood ? (a->hood < b->hood ? -1 : 1)
         : a->target != b->target ? (a->target < b->target ? -1 : 1) : a->source < b->source ? -1 : a->source > b->source;
}

static bool alike(const struct use *a, const struct use *b, long n)
{
    for (long i = 0; i < n; i++)
        if (a[i].hood != b[i].hood || a[i].target != b[i].target || a[i].source != b[i].source)
            return false;
    return true;
}

static long list_uses(struct use *u, const kr_hoods *h)
{
    long count = 0;
    for (long k = 0; k < h->count; k++)
        for (long b = 0; b < h->hood[k].bases; b++)
            for (long t = 0; t < h->hood[k].targets; t++)
                for (long s = 0; s < h->hood[k].sources && h->hood[k].fill[b * h->hood[k].targets + t] >= 0; s++, count++)
                    if (u)
                        u[count] = (struct use){ h->hood[k].at[b * h->hood[k].sources + s], (int)k, (int)t, (int)s };
    return count;
}

static void sort_into_classes(struct spread *j, const struct use *u, long uses)
{
    for (long m = 0, i = 0; m < j->f->h->measured; m++) {
        long from = i, k = 0;
        while (i < uses && u[i].m == m)
            i++;
        while (k < j->classes && (j->class[k].uses != i - from || !alike(j->class[k].use, u + from, i - from)))
            k++;
        if (k == j->classes)
            j->class[j->classes++] = (struct class){ 0, i - from, u + from };
        j->class[k].count++;
    }
}

/* exp(2 pi i d (r - N/2) / N), d from the source to the target */
static kr_cfloat wave(const kr_hoods *h, const struct use *u, long r)
{
    const kr_hood *n = &h->hood[u->hood];
    double a = 0;
    for (int d = 0; d < D; r /= h->n[d], d++)
        a += 2 * M_PI * (double)((n->target[u->target][d] - n->source[u->source][d]) * (r % h->n[d] - h->n[d] / 2)) / (double)h->n[d];
    return kr_c((float)cos(a), (float)sin(a));
}

/* w(x) of one use: C x C, from-coil fastest. */
static void weights_at(kr_cfloat *w, const struct spread *j, const struct use *u, long x)
{
    const kr_hood *n = &j->f->h->hood[u->hood];
    long C = j->f->coils, inner = n->sources * C, entries = n->targets * C * inner, taps = j->f->taps;
    for (long i = 0; i < C * C; i++)
        w[i] = 0;
    for (long d = 0; d < taps; d++) {
        double a = -2 * M_PI * (double)((d - taps / 2) * (x - j->nx / 2)) / (double)j->nx;
        kr_cfloat e = taps > 1 ? kr_c((float)cos(a), (float)sin(a)) : kr_c(1, 0);
        const kr_cfloat *from = j->f->w[u->hood] + d * entries + u->target * C * inner + u->source * C;
        for (long i = 0; i < C * C; i++)
            w[i] += kr_cmul(e, from[i / C * inner + i % C]);
    }
}

/* What a class of samples makes of the image at one x: A_d(r) = sum over p of exp(2 pi i (p - m) r) sum over c of S_c(r) w_pm[c][d], S
 * conjugated already; U, w: scratch. */
static void class_at(kr_cfloat *A, const struct spread *j, const struct class *c, long x, const kr_cfloat *S, kr_cfloat *U, kr_cfloat *w)
{
    const kr_hoods *h = j->f->h;
    long P = h->samples, C = j->f->coils;
    memcpy((void *)A, S, (size_t)(P * C) * sizeof *A);
    for (long i = 0; i < c->uses; i++) {
        weights_at(w, j, c->use + i, x);
        kr_la_gemm('N', 'T', P, C, C, 1, S, P, w, C, 0, U, P);
        for (long r = 0; r < P; r++) {
            kr_cfloat e = wave(h, c->use + i, r);
            for (long q = 0; q < C; q++)
                A[q * P + r] += kr_cmul(e, U[q * P + r]);
        }
    }
}

/* variance(r) = 1/P sum over samples m and coils of |A|^2; or A itself, of every class */
static int one_x(void *self, long x)
{
    const struct spread *j = self;
    long P = j->f->h->samples, C = j->f->coils;
    kr_cfloat *S = j->scratch + kr_worker() * j->room, *A = S + P * C, *U = A + P * C, *w = U + P * C;
    double *sum = (double *)(w + C * C + 1);
    memset(sum, 0, (size_t)P * sizeof *sum);
    for (long i = 0; i < P * C; i++)
        S[i] = kr_cconj(j->S[i * j->nx + x]);
    for (long k = 0; k < j->classes; k++) {
        const struct class *c = &j->class[k];
        class_at(A, j, c, x, S, U, w);
        for (long i = 0; j->A && i < P * C; i++)
            j->A[k][i * j->nx + x] = A[i];
        for (long q = 0; q < C; q++)
            for (long r = 0; r < P; r++)
                sum[r] += (double)c->count * (double)kr_cabs2(A[q * P + r]);
    }
    for (long r = 0; j->variance && r < P; r++)
        j->variance[r * j->nx + x] = (float)(sum[r] / (double)P);
    return 0;
}

/* Room and classes; the memory of *u and *class is the caller's. */
static int classify(struct spread *j, const kr_kernels *f, struct use **u, long nx)
{
    long uses = list_uses(NULL, f->h), P = f->h->samples, C = f->coils;
    j->f = f;
    j->nx = nx;
    j->room = 3 * P * C + C * C + P + 2;
    j->room += j->room & 1;                              /* doubles follow */
    *u = kr_alloc((size_t)(uses + 1), sizeof **u);
    j->class = kr_alloc((size_t)(f->h->measured + 1), sizeof *j->class);
    if (!*u || !j->class)
        return kr_error_code();
    list_uses(*u, f->h);
    qsort(*u, (size_t)uses, sizeof **u, by_sample);
    sort_into_classes(j, *u, uses);
    return 0;
}

static int run(struct spread *j)
{
    kr_auto kr_cfloat *scratch = j->scratch = kr_alloc((size_t)(kr_threads() * j->room), sizeof *scratch);
    return scratch ? kr_for(j->nx, one_x, j) : kr_error_code();
}

int kr_kernels_noise(const kr_kernels *f, float *variance, const kr_cfloat *S, long nx)
{
    struct spread j = { .variance = variance, .S = S };
    kr_auto struct use *u = NULL;
    int e = classify(&j, f, &u, nx);
    if (!e)
        e = run(&j);
    kr_free(j.class);
    return e;
}

/* ---- Unmixing ---- */
struct kr_unmix {
    const kr_hoods *h;
    long coils, nx, classes;
    int *class;                      /* of each measured sample                                      */
    kr_cfloat **A;                   /* of each class, [coil][sample][x]                             */
};

void kr_unmix_unref(kr_unmix **p)
{
    kr_unmix *u = *p;
    *p = NULL;
    for (long k = 0; u && u->A && k < u->classes; k++)
        kr_free(u->A[k]);
    if (u) {
        kr_free(u->A);
        kr_free(u->class);
        kr_free(u);
    }
}

/* Operations for each pixel: by kernels in k-space, by unmixing, and to make the unmixing maps. */
static bool pays(const struct spread *j, long frames)
{
    const kr_hoods *h = j->f->h;
    double C = (double)j->f->coils, P = (double)h->samples, transform = C * 10 * log2(P), products = 0, uses = 0;
    for (long k = 0; k < h->count; k++)
        products += (double)(h->hood[k].bases * h->hood[k].sources * h->hood[k].targets) / P;
    for (long k = 0; k < j->classes; k++)
        uses += (double)j->class[k].uses;
    double kernels = 8 * C * C * products + transform + 8 * C, unmixing = (double)j->classes * (transform + 8 * C);
    return (double)frames * (kernels - unmixing) > uses * 8 * C * (C + 2);
}

static int unmix_of(kr_unmix *u, struct spread *j, const struct use *uses)
{
    const kr_hoods *h = j->f->h;
    long size = j->f->coils * h->samples * j->nx;
    *u = (kr_unmix){ h, j->f->coils, j->nx, j->classes, kr_alloc((size_t)(h->measured + 1), sizeof *u->class),
                     kr_alloc_zero((size_t)j->classes, sizeof *u->A) };
    for (long k = 0; u->A && k < j->classes; k++)
        if (!(u->A[k] = kr_alloc((size_t)size, sizeof **u->A)))
            return kr_error_code();
    if (!u->class || !u->A)
        return kr_error_code();
    for (long m = 0, i = 0, all = list_uses(NULL, h); m < h->measured; m++) {          /* as sort_into_classes went */
        long from = i, k = 0;
        while (i < all && uses[i].m == m)
            i++;
        while (j->class[k].uses != i - from || !alike(j->class[k].use, uses + from, i - from))
            k++;
        u->class[m] = (int)k;
    }
    j->A = u->A;
    return run(j);
}

int kr_unmix_new(kr_unmix **out, const kr_kernels *f, const kr_cfloat *S, long nx, long frames)
{
    struct spread j = { .S = S };
    kr_auto struct use *uses = NULL;
    *out = NULL;
    int e = classify(&j, f, &uses, nx);
    if (!e && pays(&j, frames)) {
        *out = kr_alloc_zero(1, sizeof **out);
        e = *out ? unmix_of(*out, &j, uses) : kr_error_code();
        if (e)
            kr_unmix_unref(out);
    }
    kr_free(j.class);
    return e;
}

struct adding { const kr_unmix *u; kr_cfloat *z; const kr_cfloat *v; long class; };
enum { BLOCK = 1024 };

static int add_block(void *self, long b)
{
    const struct adding *j = self;
    long n = j->u->h->samples * j->u->nx;
    for (long c = 0; c < j->u->coils; c++)
        for (long i = b * BLOCK; i < n && i < (b + 1) * BLOCK; i++)
            j->z[i] += kr_cmul(j->u->A[j->class][c * n + i], j->v[c * n + i]);
    return 0;
}

int kr_unmix_apply(const kr_unmix *u, kr_cfloat *z, const kr_cfloat *m)
{
    const kr_hoods *h = u->h;
    long n = h->samples * u->nx;
    unsigned axes = 0;
    for (int d = 0; d < D; d++)
        axes |= h->n[d] > 1 ? KR_ON(d) : 0;
    kr_fft *fft = kr_fft_new(KR_SHAPE([KR_X] = u->nx > 1 ? u->nx : h->n[0], [KR_Y] = h->n[1], [KR_Z] = h->n[2], [KR_COIL] = u->coils), axes, KR_CENTRED);
    kr_auto kr_cfloat *v = kr_alloc((size_t)n, (size_t)u->coils * sizeof *v);
    int e = fft && v ? 0 : kr_error_code();
    memset((void *)z, 0, (size_t)n * sizeof *z);
    for (long k = 0; !e && k < u->classes; k++) {
        memset((void *)v, 0, (size_t)(n * u->coils) * sizeof *v);
        for (long c = 0; c < u->coils; c++)
            for (long i = 0; i < h->measured; i++)
                if (u->class[i] == k)
                    memcpy((void *)(v + c * n + h->sample[i] * u->nx), m + (c * h->measured + i) * u->nx, (size_t)u->nx * sizeof *v);
        kr_fft_inverse(fft, v);
        e = kr_for((n + BLOCK - 1) / BLOCK, add_block, &(struct adding){ u, z, v, k });
    }
    kr_fft_unref(&fft);
    return e;
}
