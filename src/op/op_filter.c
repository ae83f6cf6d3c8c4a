/* op_filter.c: a filter along rows of a detector, with zeros beside them, as of filtered back-projection: two rows at once, as real and imaginary part. */
#include "kray/fourier.h"
#include "kray/linop.h"
#include <string.h>

struct filter { long n, P; kr_fft *fft; kr_cfloat *scratch; float *H; };       /* scratch: P numbers for each thread */
struct job { const struct filter *r; float *y; const float *x; long rows; };

static int two_rows(void *self, long i)
{
    const struct job *j = self;
    const struct filter *r = j->r;
    kr_cfloat *c = r->scratch + (long)kr_worker() * r->P;
    long a = 2 * i * r->n, b = 2 * i + 1 < j->rows ? a + r->n : a;
    memset(c, 0, (size_t)r->P * sizeof *c);
    for (long k = 0; k < r->n; k++)
        c[k] = kr_c(j->x[a + k], j->x[b + k]);
    kr_fft_forward(r->fft, c);
    for (long k = 0; k < r->P; k++) {
        float h = r->H[k <= r->P / 2 ? k : r->P - k];
        c[k] = kr_c(h * kr_re(c[k]), h * kr_im(c[k]));
    }
    kr_fft_inverse(r->fft, c);
    for (long k = 0; k < r->n; k++) {
        j->y[a + k] = kr_re(c[k]);
        if (b != a)
            j->y[b + k] = kr_im(c[k]);
    }
    return 0;
}

static void apply(void *self, kr_array *y, const kr_array *x)
{
    const struct filter *r = self;
    long rows = kr_count(kr_array_shape(x)) / r->n;
    if (kr_for((rows + 1) / 2, two_rows, &(struct job){ r, KR_R(y), KR_R(x), rows }))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void destroy(void *self)
{
    struct filter *r = self;
    kr_fft_unref(&r->fft);
    kr_free(r->scratch);
    kr_free(r->H);
    kr_free(r);
}

static size_t bytes(const void *self) { const struct filter *r = self; return (size_t)r->P * (size_t)kr_threads() * sizeof(kr_cfloat); }
static const kr_linop_ops ops = { "filter", apply, apply, NULL, destroy, bytes };

kr_linop *kr_op_filter(kr_shape data, const double *H, long P)
{
    struct filter *r = kr_alloc_zero(1, sizeof *r);
    if (!r)
        return NULL;
    r->n = data.n[KR_U] ? data.n[KR_U] : 1;
    r->P = P;
    if (P < 2 * r->n || P % 2)
        kr_fail(KR_ESHAPE, "a filter of %ld frequencies for rows of %ld: an even number, twice as many at least, is wanted", P, r->n);
    else if ((r->H = kr_alloc((size_t)P / 2 + 1, sizeof *r->H)) && (r->scratch = kr_alloc((size_t)P * (size_t)kr_threads(), sizeof *r->scratch)))
        r->fft = kr_fft_new(KR_SHAPE([KR_X] = P), KR_ON(KR_X), KR_SERIAL);
    if (!r->fft) {
        destroy(r);
        return NULL;
    }
    for (long k = 0; k <= P / 2; k++)
        r->H[k] = (float)H[k];
    return kr_linop_new(&ops, KR_R32, data, data, r);
}
