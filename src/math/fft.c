/* fft.c: centred unitary Fourier transforms; alone knows FFTW.
 *
 * Each axis is one pass over memory: a few lines go into a small buffer, are transformed there and come back; the
 * centring phases and the scale ride on the copies. Columns are taken 16 at a time, so that every step is a full
 * cache line, whatever the strides (power-of-two strides are slow otherwise), and FFTW's planner, asked for an
 * estimate only, finds vector code for them. Plans come from FFTW_ESTIMATE: they cost microseconds, and do not depend
 * on timings, so equal input gives equal output. */
#include "kray/fourier.h"
#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;   /* FFTW's planner knows one thread at a time */

struct pass {
    long n, inner, outer;             /* length; elements between neighbours; how many such blocks per item */
    long width;                       /* lines per buffer                                                   */
    kr_cfloat *before[2], *after[2];  /* phases [forward, inverse]; the scale is in `after`                 */
    fftwf_plan plan[2];
};
struct kr_fft {
    int passes, workers;
    bool serial;
    struct pass pass[KR_AXES];
    long item, items;                 /* elements of one item (all up to the slowest transformed axis), and how many */
    long room;                        /* elements of one buffer                                             */
    kr_cfloat *buffer;                /* two per worker                                                     */
};

static void drop(struct pass *s)
{
    pthread_mutex_lock(&planner);
    for (int dir = 0; dir < 2; dir++)
        if (s->plan[dir])
            fftwf_destroy_plan(s->plan[dir]);
    pthread_mutex_unlock(&planner);
    for (int dir = 0; dir < 2; dir++) {
        kr_free(s->before[dir]);
        kr_free(s->after[dir]);
    }
}

void kr_fft_unref(kr_fft **p)
{
    if (!*p)
        return;
    for (int i = 0; i < (*p)->passes; i++)
        drop(&(*p)->pass[i]);
    kr_free((*p)->buffer);
    kr_free(*p);
    *p = NULL;
}

/* y[k] = e^{2 pi i (k c - c c)/N} FFT(x[n] e^{2 pi i n c/N}) for the forward transform, conjugate for the inverse:
 * the centre c = N/2 needs no moving of memory, for odd lengths too. */
static int phases(struct pass *s, bool centred)
{
    long n = s->n, c = centred ? n / 2 : 0;
    for (int dir = 0; dir < 2; dir++) {
        double sign = dir ? -1 : 1, scale = 1 / sqrt((double)n);
        s->before[dir] = kr_alloc((size_t)n, sizeof(kr_cfloat));
        s->after[dir] = kr_alloc((size_t)n, sizeof(kr_cfloat));
        if (!s->before[dir] || !s->after[dir])
            return kr_error_code();
        for (long k = 0; k < n; k++) {
            double a = sign * 2 * M_PI * (double)(k * c % n) / (double)n;
            double b = sign * 2 * M_PI * (double)((k * c - c * c) % n) / (double)n;
            /* Even lengths: exactly 1 and -1. */
            bool even = c && !(n & 1);
            double ca = even ? (k & 1 ? -1 : 1) : cos(a), sa = even ? 0 : sin(a);
            double cb = even ? ((k + c) & 1 ? -1 : 1) : cos(b), sb = even ? 0 : sin(b);
            s->before[dir][k] = kr_c((float)ca, (float)sa);
            s->after[dir][k] = kr_c((float)(cb * scale), (float)(sb * scale));
        }
    }
    return 0;
}

kr_fft *kr_fft_new(kr_shape shape, unsigned axes, int flags)
{
    long total = kr_count(shape);
    if (total < 0) {
        kr_fail(KR_ESHAPE, "Fourier transform of shape %s", kr_shape_text(shape));
        return NULL;
    }
    kr_fft *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    p->serial = flags & KR_SERIAL;
    p->workers = kr_threads();
    long inner = 1, end = 1;
    for (int d = 0; d < KR_AXES; d++) {
        long n = shape.n[d] ? shape.n[d] : 1;
        if (axes & KR_ON(d) && n > 1) {
            if (n > 1 << 20) {
                kr_fail(KR_EREFUSED, "Fourier transform of length %ld along %s; at most %d", n, kr_axis_name(d), 1 << 20);
                kr_fft_unref(&p);
                return NULL;
            }
            struct pass *s = &p->pass[p->passes++];
            s->n = n;
            s->inner = inner;
            s->width = n <= 4096 ? 16 : 1;
            end = inner * n;
            if (p->room < n * s->width)
                p->room = n * s->width;
        }
        inner *= n;
    }
    p->item = end;
    p->items = total / end;
    p->buffer = kr_alloc((size_t)(2 * p->workers), (size_t)(p->room ? p->room : 1) * sizeof(kr_cfloat));
    for (int i = 0; p->buffer && i < p->passes; i++) {
        struct pass *s = &p->pass[i];
        s->outer = p->item / (s->inner * s->n);
        if (phases(s, flags & KR_CENTRED)) {
            kr_fft_unref(&p);
            return NULL;
        }
        int n = (int)s->n, w = (int)s->width;
        fftwf_complex *in = (fftwf_complex *)p->buffer, *out = (fftwf_complex *)(p->buffer + p->room);
        int stride = s->inner == 1 ? 1 : w, dist = s->inner == 1 ? n : 1;
        pthread_mutex_lock(&planner);
        for (int dir = 0; dir < 2; dir++)
            s->plan[dir] = fftwf_plan_many_dft(1, &n, w, in, NULL, stride, dist, out, NULL, stride, dist,
                                               dir ? FFTW_BACKWARD : FFTW_FORWARD, FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
        pthread_mutex_unlock(&planner);
        if (!s->plan[0] || !s->plan[1]) {
            kr_fail(KR_EMEM, "FFTW cannot plan length %d", n);
            kr_fft_unref(&p);
            return NULL;
        }
    }
    if (!p->buffer)
        kr_fft_unref(&p);
    return p;
}

struct run { const kr_fft *p; const struct pass *s; int dir; kr_cfloat *y; const kr_cfloat *x; };

/* One buffer of lines of one pass. block counts buffers over outer blocks and columns. */
static void lines(const kr_fft *p, const struct pass *s, int dir, kr_cfloat *y, const kr_cfloat *x, long block)
{
    kr_cfloat *in = p->buffer + 2 * kr_worker() * p->room, *out = in + p->room;
    const kr_cfloat *restrict a = s->before[dir], *restrict b = s->after[dir];
    long n = s->n, w = s->width;
    if (s->inner == 1) {
        long from = block * w, count = s->outer - from < w ? s->outer - from : w;
        x += from * n;
        y += from * n;
        for (long j = 0; j < count; j++)
            for (long k = 0; k < n; k++)
                in[j * n + k] = kr_cmul(x[j * n + k], a[k]);
        if (count < w)
            memset((void *)(in + count * n), 0, (size_t)((w - count) * n) * sizeof *in);
        fftwf_execute_dft(s->plan[dir], (fftwf_complex *)in, (fftwf_complex *)out);
        for (long j = 0; j < count; j++)
            for (long k = 0; k < n; k++)
                y[j * n + k] = kr_cmul(out[j * n + k], b[k]);
        return;
    }
    long per = (s->inner + w - 1) / w, from = block % per * w, count = s->inner - from < w ? s->inner - from : w;
    x += block / per * s->inner * n + from;
    y += block / per * s->inner * n + from;
    for (long k = 0; k < n; k++) {
        kr_cfloat f = a[k];
        for (long j = 0; j < count; j++)
            in[k * w + j] = kr_cmul(x[k * s->inner + j], f);
        for (long j = count; j < w; j++)
            in[k * w + j] = 0;
    }
    fftwf_execute_dft(s->plan[dir], (fftwf_complex *)in, (fftwf_complex *)out);
    for (long k = 0; k < n; k++) {
        kr_cfloat f = b[k];
        for (long j = 0; j < count; j++)
            y[k * s->inner + j] = kr_cmul(out[k * w + j], f);
    }
}

static long blocks(const struct pass *s)
{
    return s->inner == 1 ? (s->outer + s->width - 1) / s->width : s->outer * ((s->inner + s->width - 1) / s->width);
}

static int one_item(void *self, long i)
{
    const struct run *r = self;
    const kr_fft *p = r->p;
    for (int k = 0; k < p->passes; k++) {
        const struct pass *s = &p->pass[k];
        for (long b = 0, n = blocks(s); b < n; b++)
            lines(p, s, r->dir, r->y + i * p->item, (k ? r->y : r->x) + i * p->item, b);
    }
    return 0;
}

static int one_block(void *self, long index)
{
    const struct run *r = self;
    long n = blocks(r->s), i = index / n;
    lines(r->p, r->s, r->dir, r->y + i * r->p->item, r->x + i * r->p->item, index % n);
    return 0;
}

static void transform(const kr_fft *p, int dir, kr_cfloat *y, const kr_cfloat *x)
{
    struct run r = { p, NULL, dir, y, x };
    if (!p->passes) {
        if (y != x)
            memcpy(y, x, (size_t)(p->item * p->items) * sizeof *y);
        return;
    }
    int e = 0;
    if (p->serial)
        for (long i = 0; i < p->items; i++)
            one_item(&r, i);
    else if (p->items >= 4 * p->workers && p->item > 1 << 9)
        e = kr_for(p->items, one_item, &r);
    else
        for (int k = 0; k < p->passes && !e; k++, r.x = y) {
            r.s = &p->pass[k];
            e = kr_for(p->items * blocks(r.s), one_block, &r);
        }
    kr_assert(!e);
}

void kr_fft_forward(const kr_fft *p, kr_cfloat *x) { transform(p, 0, x, x); }
void kr_fft_inverse(const kr_fft *p, kr_cfloat *x) { transform(p, 1, x, x); }
void kr_fft_forward_to(const kr_fft *p, kr_cfloat *y, const kr_cfloat *x) { transform(p, 0, y, x); }
void kr_fft_inverse_to(const kr_fft *p, kr_cfloat *y, const kr_cfloat *x) { transform(p, 1, y, x); }

static int once(kr_array *x, unsigned axes, int dir)
{
    kr_assert(x->type == KR_C32 && kr_array_contiguous(x));
    kr_fft *p = kr_fft_new(kr_array_shape(x), axes, KR_CENTRED);
    if (!p)
        return kr_error_code();
    transform(p, dir, x->data, x->data);
    kr_fft_unref(&p);
    return 0;
}

int kr_fourier(kr_array *x, unsigned axes) { return once(x, axes, 0); }
int kr_fourier_inverse(kr_array *x, unsigned axes) { return once(x, axes, 1); }
