/* mri.c: coil maps and Fourier transforms around the convolutions. */
#include "parts.h"
#include <math.h>
#include <string.h>

int mri_new(mri *m, const kr_net_input *in)
{
    *m = (mri){ .in = in, .n = in->h * in->w, .coils = in->coils };
    size_t all = (size_t)(m->n * m->coils);
    m->fft = kr_fft_new(KR_SHAPE([KR_X] = in->w, [KR_Y] = in->h, [KR_COIL] = in->coils), KR_ON(KR_X) | KR_ON(KR_Y), in->centred ? KR_CENTRED : 0);
    m->sens = m->fft ? kr_alloc(all, sizeof *m->sens) : NULL;
    m->coil = m->sens ? kr_alloc(all, sizeof *m->coil) : NULL;
    if (!m->coil) {
        mri_clear(m);
        return kr_error_code();
    }
    if (in->sens)
        memcpy(m->sens, in->sens, all * sizeof *m->sens);
    return 0;
}

void mri_clear(mri *m)
{
    kr_fft_unref(&m->fft);
    kr_free_at(&m->sens);
    kr_free_at(&m->coil);
}

/* Stretches of pixels, spread over the threads; coils are added in their order. */
enum { STRETCH = 4096, EXPAND = 0, REDUCE, RESIDUAL, RSS, NORMALISE };
struct job { const mri *m; kr_cfloat *to; const kr_cfloat *from; int op; };

static int stretch(void *self, long b)
{
    const struct job *j = self;
    const mri *m = j->m;
    long from = b * STRETCH, to = from + STRETCH < m->n ? from + STRETCH : m->n;
    if (j->op == REDUCE)
        memset((void *)(j->to + from), 0, (size_t)(to - from) * sizeof *j->to);
    float sum[STRETCH];
    if (j->op == RSS || j->op == NORMALISE)
        memset(sum, 0, sizeof sum);
    for (long c = 0; c < m->coils; c++) {
        const kr_cfloat *s = m->sens + c * m->n, *x = j->from ? j->from + (j->op == EXPAND ? 0 : c * m->n) : NULL;
        kr_cfloat *y = j->to ? j->to + c * m->n : NULL;
        switch (j->op) {
        case EXPAND:
            for (long i = from; i < to; i++)
                y[i] = kr_cmul(s[i], x[i]);
            break;
        case REDUCE:
            for (long i = from; i < to; i++)
                j->to[i] += kr_cmulc(s[i], x[i]);
            break;
        case RESIDUAL:                                  /* y = M (y - x) */
            for (long i = from; i < to; i++)
                y[i] = m->in->mask[i] != 0 ? y[i] - x[i] : 0;
            break;
        case RSS:
            for (long i = from; i < to; i++)
                sum[i - from] += kr_cabs2(x[i]);
            break;
        case NORMALISE:
            for (long i = from; i < to; i++)
                sum[i - from] += kr_cabs2(s[i]);
            break;
        }
    }
    if (j->op == RSS)
        for (long i = from; i < to; i++)
            j->to[i] = kr_c(sqrtf(sum[i - from]), 0);
    for (long c = 0; c < m->coils && j->op == NORMALISE; c++)
        for (long i = from; i < to; i++) {
            float r = sqrtf(sum[i - from]);
            kr_cfloat *s = m->sens + c * m->n + i;
            *s = r != 0 ? kr_c(kr_re(*s) / r, kr_im(*s) / r) : kr_c(0, 0);
        }
    return 0;
}

static void each(const mri *m, int op, kr_cfloat *to, const kr_cfloat *from)
{
    struct job j = { m, to, from, op };
    if (kr_for((m->n + STRETCH - 1) / STRETCH, stretch, &j))
        kr_assert(0 && "coil arithmetic cannot be refused");
}

void mri_expand(const mri *m, kr_cfloat *y, const kr_cfloat *x) { each(m, EXPAND, y, x); }
void mri_reduce(const mri *m, kr_cfloat *x, const kr_cfloat *y) { each(m, REDUCE, x, y); }

void mri_forward(const mri *m, kr_cfloat *k, const kr_cfloat *x)
{
    mri_expand(m, k, x);
    kr_fft_forward(m->fft, k);
}

void mri_adjoint(const mri *m, kr_cfloat *x, const kr_cfloat *k)
{
    kr_fft_inverse_to(m->fft, m->coil, k);
    mri_reduce(m, x, m->coil);
}

void mri_gradient(const mri *m, kr_cfloat *g, const kr_cfloat *x)
{
    mri_forward(m, m->coil, x);
    each(m, RESIDUAL, m->coil, m->in->kspace);
    kr_fft_inverse(m->fft, m->coil);
    mri_reduce(m, g, m->coil);
}

void mri_sum(const mri *m, kr_cfloat *x, const kr_cfloat *k)
{
    kr_fft_inverse_to(m->fft, m->coil, k);
    memset((void *)x, 0, (size_t)m->n * sizeof *x);
    for (long c = 0; c < m->coils; c++)
        for (long i = 0; i < m->n; i++)
            x[i] += m->coil[c * m->n + i];
}

void mri_rss(const mri *m, kr_cfloat *x, const kr_cfloat *k)
{
    kr_fft_inverse_to(m->fft, m->coil, k);
    each(m, RSS, x, m->coil);
}

/* A map of zeros stays zero: where the published code divides 0 by 0 there is nothing to show either. */
void mri_normalise_maps(const mri *m)
{
    each(m, NORMALISE, NULL, NULL);
}

/* Rows of two channels of a map and of a complex image, a band at a time. */
enum { ROWS = 16 };
struct rows { kr_map *to; const kr_map *from; kr_cfloat *x; const kr_cfloat *image; long first; };

static int put_rows(void *self, long b)
{
    const struct rows *j = self;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < j->to->h; y++) {
        float *to = kr_map_at(j->to, j->first / 16, y, 0) + j->first % 16;
        const kr_cfloat *x = j->image + y * j->to->w;
        for (long i = 0; i < j->to->w; i++) {
            to[16 * i] = kr_re(x[i]);
            to[16 * i + 1] = kr_im(x[i]);
        }
    }
    return 0;
}

static int get_rows(void *self, long b)
{
    const struct rows *j = self;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < j->from->h; y++) {
        const float *from = kr_map_at(j->from, j->first / 16, y, 0) + j->first % 16;
        for (long i = 0; i < j->from->w; i++)
            j->x[y * j->from->w + i] = kr_c(from[16 * i], from[16 * i + 1]);
    }
    return 0;
}

void map_put_complex(kr_map *m, long first, const kr_cfloat *x)
{
    struct rows j = { .to = m, .image = x, .first = first };
    if (kr_for((m->h + ROWS - 1) / ROWS, put_rows, &j))
        kr_assert(0 && "a copy cannot be refused");
}

void map_get_complex(const kr_map *m, long first, kr_cfloat *x)
{
    struct rows j = { .from = m, .x = x, .first = first };
    if (kr_for((m->h + ROWS - 1) / ROWS, get_rows, &j))
        kr_assert(0 && "a copy cannot be refused");
}
