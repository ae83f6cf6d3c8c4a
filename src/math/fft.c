/* fft.c: centred unitary Fourier transforms; alone knows FFTW.
 *
 * Each axis is one pass over memory: sixteen lines go into a panel (lanes.h), are transformed there and come back; the
 * centring phases, the scale and the order of the frequencies ride on the copies. Columns are taken sixteen at a time, so
 * that every step is whole cache lines, whatever the strides; lines along memory are turned on their way. Lines too long
 * for a panel in the cache go to FFTW one by one. Its plans are estimates: they cost microseconds, and do not depend on
 * timings, so equal input gives equal output. */
#include "kray/fourier.h"
#include "fftw.h"
#include "lanekern.h"
#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;   /* FFTW's planner knows one thread at a time */

enum { LONG_LINE = 4096 };            /* 512 KiB a panel: half of the second-level cache of small machines   */
struct pass {
    long n, inner, outer;             /* length; elements between neighbours; how many such blocks per item */
    long width;                       /* lines per buffer: KR_LANES, or 1 by FFTW                           */
    kr_cfloat *before[2], *after[2];  /* phases [forward, inverse]; the scale is in `after`                 */
    kr_lanes *lanes;
    fftwf_plan plan[2];
};
struct kr_fft {
    int passes, workers;
    bool serial;
    struct pass pass[KR_AXES];
    long item, items;                 /* elements of one item (all up to the slowest transformed axis; all lines along memory), and how many */
    long room;                        /* elements of one buffer                                             */
    kr_cfloat *buffer;                /* two per worker                                                     */
};

void *kr_fftw_split(long n, int inverse)
{
    float *panel = kr_alloc((size_t)n, KR_ROW * sizeof *panel);
    if (!panel)
        return NULL;
    float *re = panel + (inverse ? KR_LANES : 0), *im = panel + (inverse ? 0 : KR_LANES);
    fftwf_iodim along = { (int)n, KR_ROW, KR_ROW }, lanes = { KR_LANES, 1, 1 };
    pthread_mutex_lock(&planner);
    fftwf_plan p = fftwf_plan_guru_split_dft(1, &along, 1, &lanes, re, im, re, im, FFTW_ESTIMATE);
    pthread_mutex_unlock(&planner);
    kr_free(panel);
    if (!p)
        kr_fail(KR_EMEM, "FFTW cannot plan length %ld", n);
    return p;
}

void kr_fftw_run_split(const void *plan, float *panel, int inverse)
{
    float *re = panel + (inverse ? KR_LANES : 0), *im = panel + (inverse ? 0 : KR_LANES);
    fftwf_execute_split_dft((fftwf_plan)(uintptr_t)plan, re, im, re, im);
}

void kr_fftw_drop(void *plan)
{
    if (!plan)
        return;
    pthread_mutex_lock(&planner);
    fftwf_destroy_plan(plan);
    pthread_mutex_unlock(&planner);
}

static void drop(struct pass *s)
{
    for (int dir = 0; dir < 2; dir++) {
        kr_fftw_drop(s->plan[dir]);
        kr_free(s->before[dir]);
        kr_free(s->after[dir]);
    }
    kr_lanes_unref(&s->lanes);
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
            s->width = n <= LONG_LINE ? KR_LANES : 1;
            end = inner * n;
            if (p->room < n * s->width)
                p->room = n * s->width;
        }
        inner *= n;
    }
    if (p->passes == 1 && p->pass[0].inner == 1)            /* lines along memory, all alike: those of many fill a panel */
        end = total;
    p->room = (p->room + 7) / 8 * 8;                        /* each worker's buffers begin at a multiple of 64 bytes */
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
        int n = (int)s->n;
        if (s->width > 1)
            s->lanes = kr_lanes_new(n);
        else {
            fftwf_complex *in = (fftwf_complex *)p->buffer, *out = (fftwf_complex *)(p->buffer + p->room);
            pthread_mutex_lock(&planner);
            for (int dir = 0; dir < 2; dir++)
                s->plan[dir] = fftwf_plan_dft_1d(n, in, out, dir ? FFTW_BACKWARD : FFTW_FORWARD, FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
            pthread_mutex_unlock(&planner);
            if (!s->plan[0] || !s->plan[1])
                kr_fail(KR_EMEM, "FFTW cannot plan length %d", n);
        }
        if (!s->lanes && (!s->plan[0] || !s->plan[1])) {
            kr_fft_unref(&p);
            return NULL;
        }
    }
    if (!p->buffer)
        kr_fft_unref(&p);
    return p;
}

struct run { const kr_fft *p; const struct pass *s; int dir; kr_cfloat *y; const kr_cfloat *x; };

/* One line by FFTW; its neighbours are `inner` apart. */
static void one_line(const kr_fft *p, const struct pass *s, int dir, kr_cfloat *y, const kr_cfloat *x)
{
    kr_cfloat *in = p->buffer + 2 * kr_worker() * p->room, *out = in + p->room;
    for (long k = 0; k < s->n; k++)
        in[k] = kr_cmul(x[k * s->inner], s->before[dir][k]);
    fftwf_execute_dft(s->plan[dir], (fftwf_complex *)in, (fftwf_complex *)out);
    for (long k = 0; k < s->n; k++)
        y[k * s->inner] = kr_cmul(out[k], s->after[dir][k]);
}

/* `count` neighbouring lines along memory, or columns across it. What a panel lacks in lines is filled with line 0 and
 * not stored. Exchanging real and imaginary parts before and after makes the forward transform an inverse one. */
static void one_panel(const kr_fft *p, const struct pass *s, int dir, kr_cfloat *y, const kr_cfloat *x, long count)
{
    const kr_lanekern *k = kr_lanekern_best();
    long line = s->inner == 1 ? s->n : 1;
    float *panel = (float *)(p->buffer + 2 * kr_worker() * p->room), *rest = panel + 2 * p->room;
    const float *before = (const float *)s->before[dir], *after = (const float *)s->after[dir];
    const long *place = kr_lanes_place(s->lanes);
    if (s->inner > 1 && count == KR_LANES) {
        k->load_columns(panel, (const float *)x, 2 * s->inner, s->n, before, dir);
        kr_lanes_forward(s->lanes, panel);
        k->store_columns((float *)y, 2 * s->inner, panel, kr_lanes_order(s->lanes), s->n, after, dir);
        return;
    }
    const float *from[KR_LANES];
    float *to[KR_LANES];
    if (s->inner > 1)                                                /* a few columns: made lines beside the panel */
        for (long j = 0; j < count; j++)
            for (long i = 0; i < s->n; i++)
                ((kr_cfloat *)rest)[j * s->n + i] = x[j + i * s->inner];
    for (long j = 0; j < KR_LANES; j++) {
        from[j] = s->inner > 1 ? rest + 2 * s->n * (j < count ? j : 0) : (const float *)(x + line * (j < count ? j : 0));
        to[j] = s->inner > 1 || j >= count ? rest + 2 * s->n * j : (float *)(y + line * j);
    }
    k->load_lines(panel, from, NULL, s->n, before, dir);
    kr_lanes_forward(s->lanes, panel);
    k->store_lines(to, panel, place, s->n, after, dir);
    if (s->inner > 1)
        for (long j = 0; j < count; j++)
            for (long i = 0; i < s->n; i++)
                y[j + i * s->inner] = ((kr_cfloat *)rest)[j * s->n + i];
}

/* One buffer of lines of one pass. block counts buffers over outer blocks and columns. */
static void lines(const kr_fft *p, const struct pass *s, int dir, kr_cfloat *y, const kr_cfloat *x, long block)
{
    long w = s->width, from = block * w, all = s->outer, at = from * s->n;
    if (s->inner > 1) {
        long per = (s->inner + w - 1) / w;
        from = block % per * w;
        all = s->inner;
        at = block / per * s->inner * s->n + from;
    }
    if (s->lanes)
        one_panel(p, s, dir, y + at, x + at, all - from < w ? all - from : w);
    else
        one_line(p, s, dir, y + at, x + at);
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
