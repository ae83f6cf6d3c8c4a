/* rowfilter.c: rows of a detector through their Fourier transform and back, two at once, as real and imaginary part. */
#include "kray/rowfilter.h"
#include "kray/fourier.h"
#include <string.h>

struct kr_rowfilter { long P; float *H; kr_fft *fft; kr_cfloat *scratch; };      /* H NULL: 1; scratch: P numbers for each thread */
struct job { const kr_rowfilter *f; float *y; const kr_rowset *r; };

void kr_rowfilter_unref(kr_rowfilter **f)
{
    if (*f) {
        kr_fft_unref(&(*f)->fft);
        kr_free((*f)->scratch);
        kr_free((*f)->H);
    }
    kr_free(*f);
    *f = NULL;
}

kr_rowfilter *kr_rowfilter_new(const double *H, long P)
{
    kr_rowfilter *f = kr_alloc_zero(1, sizeof *f);
    if (!f)
        return NULL;
    f->P = P;
    f->scratch = kr_alloc((size_t)P, (size_t)kr_threads() * sizeof *f->scratch);
    f->H = H && f->scratch ? kr_alloc((size_t)P / 2 + 1, sizeof *f->H) : NULL;
    f->fft = f->scratch && (f->H || !H) ? kr_fft_new(KR_SHAPE([KR_X] = P), KR_ON(KR_X), KR_SERIAL) : NULL;
    if (!f->fft) {
        kr_rowfilter_unref(&f);
        return NULL;
    }
    for (long k = 0; H && k <= P / 2; k++)
        f->H[k] = (float)H[k];
    return f;
}

size_t kr_rowfilter_bytes(const kr_rowfilter *f) { return (size_t)f->P * (size_t)kr_threads() * sizeof *f->scratch; }

static int two_rows(void *self, long i)
{
    const struct job *j = self;
    const kr_rowfilter *f = j->f;
    const kr_rowset *r = j->r;
    kr_cfloat *c = f->scratch + (long)kr_worker() * f->P;
    bool pair = 2 * i + 1 < r->count;
    long a = 2 * i * r->n, b = pair ? a + r->n : a;
    const float *pa = r->p + 2 * i * r->in, *pb = pair ? pa + r->in : pa, *wa = r->weight ? r->weight + a + r->lead : NULL, *wb = r->weight ? r->weight + b + r->lead : NULL;
    memset(c, 0, (size_t)f->P * sizeof *c);
    for (long k = 0; k < r->in; k++)
        c[r->lead + k] = wa ? kr_c(pa[k] * wa[k], pb[k] * wb[k]) : kr_c(pa[k], pb[k]);
    if (f->H) {
        kr_fft_forward(f->fft, c);
        for (long k = 0; k < f->P; k++) {
            float h = f->H[k <= f->P / 2 ? k : f->P - k];
            c[k] = kr_c(h * kr_re(c[k]), h * kr_im(c[k]));
        }
        kr_fft_inverse(f->fft, c);
    }
    float sa = r->scale ? (float)r->scale[2 * i / r->each] : 1, sb = r->scale && pair ? (float)r->scale[(2 * i + 1) / r->each] : sa;
    for (long k = 0; k < r->n; k++) {
        j->y[a + k] = sa * kr_re(c[k]);
        if (pair)
            j->y[b + k] = sb * kr_im(c[k]);
    }
    return 0;
}

int kr_rowfilter_apply(const kr_rowfilter *f, float *y, const kr_rowset *rows) { return kr_for((rows->count + 1) / 2, two_rows, &(struct job){ f, y, rows }); }
