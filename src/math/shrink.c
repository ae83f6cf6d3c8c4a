/* shrink.c: the proximal map of l1 of wavelets: W^H of the shrunk coefficients.
 *
 * Real and imaginary parts (or the real parts alone) lie apart in every row, so that filters along rows and across them load whole vectors and nothing is transposed. Every pass
 * works in place, by rows, or by panels of KR_ROW columns. */
#include "daubechies.h"
#include "wavekern.h"
#include <string.h>

enum { ROWS = 8, FRONT = 32, FEW = 1 << 14, SMALL = 1 << 20, PLACES = 4 };     /* rows at once; room before a row; points that one thread does; and each of a few places */
struct kr_shrink {
    kr_wavelet *W;
    long joint, groups, parts;                   /* 2: real and imaginary ones                                      */
    long part, stride, plane, volume;            /* floats: of a part of a row, a row, a plane, all                      */
    bool apart;                                  /* groups side by side, or else                                    */
    long buffers, room, line;                    /* places at once; floats of a worker's room, of a line in it     */
    float *c, *work;
};
struct pass {
    const kr_shrink *s;
    const float *x; float *z;
    float *c, t, factor;
    int level, axis;
    bool inverse, more;
    const long (*shift)[3];
    long moved[3], places;
};

kr_shrink *kr_shrink_new(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels, long joint)
{
    kr_assert(joint >= 1);
    kr_shrink *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->W = kr_wavelet_new(type, shape, axes, order, levels);
    if (s->W && s->W->batch % joint)
        kr_fail(KR_ESHAPE, "vectors of %ld of %ld arrays", joint, s->W->batch);
    else if (s->W) {
        const long *n = s->W->n;
        long longest = n[0];
        for (int d = 1; d < 3; d++)
            longest = n[d] > longest ? n[d] : longest;
        s->joint = joint;
        s->groups = s->W->batch / joint;
        s->part = (n[0] + KR_LANES - 1) / KR_LANES * KR_LANES + KR_LANES;    /* one more: columns of 2^k rows then do not meet in the cache */
        s->parts = type == KR_C32 ? 2 : 1;
        s->stride = s->parts * s->part;
        s->plane = n[1] * s->stride;
        s->volume = n[2] * s->plane;
        s->apart = s->groups >= kr_threads();
        s->buffers = s->apart ? kr_threads() : joint * s->W->volume > SMALL ? 1 : kr_threads() < PLACES ? kr_threads() : PLACES;
        s->line = n[0] + 2 * KR_WAVE_OVER + FRONT;
        long panels = (2 * longest + 4 * s->W->taps) * KR_ROW, lines = 6 * s->line;
        s->room = ((panels > lines ? panels : lines) + KR_LANES - 1) / KR_LANES * KR_LANES;
        s->c = kr_alloc_zero((size_t)(s->buffers * joint * s->volume), sizeof *s->c);
        s->work = kr_alloc_zero((size_t)(kr_threads() * s->room), sizeof *s->work);
    }
    if (!s->c || !s->work)
        kr_shrink_unref(&s);
    return s;
}

void kr_shrink_unref(kr_shrink **s)
{
    if (*s) {
        kr_wavelet_unref(&(*s)->W);
        kr_free((*s)->c);
        kr_free((*s)->work);
    }
    kr_free(*s);
    *s = NULL;
}

const kr_wavelet *kr_shrink_wavelet(const kr_shrink *s) { return s->W; }

static long modulo(long i, long n) { return (i % n + n) % n; }
static bool splits(const struct pass *p, int axis) { return p->level < p->s->W->levels && p->s->W->band[p->level + 1][axis] < p->s->W->band[p->level][axis]; }

/* ---- Along rows ---- */
static void row_down(const struct pass *p, float *row, const float *from, float *room)
{
    const kr_wavelet *w = p->s->W;
    const kr_wavekern *k = kr_wavekern_best();
    long n = w->band[p->level][0], half = n / 2, low = n - half;
    float *even = room, *odd = even + p->s->line, *l = odd + p->s->line, *u = l + p->s->line, last = from[n - 1];
    k->apart(even, odd, from, half);
    for (long i = 0; i < w->taps / 2 - 1; i++) {
        even[half + i] = even[i % half];
        odd[half + i] = odd[i % half];
    }
    k->analyse_row(l, u, even, odd, w->h, w->g, w->taps, half);
    memcpy(row, l, (size_t)half * sizeof *l);
    if (n & 1)
        row[half] = last;
    memcpy(row + low, u, (size_t)half * sizeof *u);
}

static void row_up(const struct pass *p, float *to, const float *row, float *room)
{
    const kr_wavelet *w = p->s->W;
    const kr_wavekern *k = kr_wavekern_best();
    long n = w->band[p->level][0], half = n / 2, low = n - half;
    float *even = room, *odd = even + p->s->line, *l = odd + p->s->line + FRONT, *u = l + p->s->line;
    memcpy(l, row, (size_t)low * sizeof *l);
    memcpy(u, row + low, (size_t)half * sizeof *u);
    for (long i = 1; i < w->taps / 2; i++) {
        l[-i] = l[(half - i % half) % half];
        u[-i] = u[(half - i % half) % half];
    }
    k->synthesise_row(even, odd, l, u, w->h, w->g, w->taps, half);
    k->together(to, even, odd, half);
    if (n & 1)
        to[n - 1] = l[half];
}

/* Rows of the first level come from x, moved, and are what `collected` reads. */
static int rows(void *self, long block)
{
    const struct pass *p = self;
    const kr_shrink *s = p->s;
    const kr_wavekern *k = kr_wavekern_best();
    const long *n = s->W->band[p->level], *moved = p->moved;
    float *re = s->work + kr_worker() * s->room, *im = re + s->line, *room = im + s->line;
    for (long i = block * ROWS, all = s->joint * n[2] * n[1]; i < all && i < (block + 1) * ROWS; i++) {
        long y = i % n[1], z = i / n[1] % n[2], c = i / n[1] / n[2];
        float *row = p->c + c * s->volume + z * s->plane + y * s->stride;
        bool split = splits(p, KR_X);
        if (p->level == 0) {
            const float *x = p->x + s->parts * (c * s->W->volume + ((z + moved[2]) % n[2] * n[1] + (y + moved[1]) % n[1]) * n[0]);
            float *a = split ? re : row, *b = split ? im : row + s->part;
            long left = n[0] - moved[0];
            if (s->parts == 2) {
                k->apart(a, b, x + 2 * moved[0], left);
                k->apart(a + left, b + left, x, moved[0]);
            } else {
                memcpy(a, x + moved[0], (size_t)left * sizeof *a);
                memcpy(a + left, x, (size_t)moved[0] * sizeof *a);
            }
        }
        for (long part = 0; part < s->parts && split; part++) {
            float *to = row + part * s->part, *from = p->level ? to : part ? im : re;
            if (p->inverse)
                row_up(p, to, to, room);
            else
                row_down(p, to, from, room);
        }
    }
    return 0;
}

/* z = factor times the sum over places, or more of it; the rows of each are moved back, and the last ones of its inverse. */
static int collected(void *self, long block)
{
    const struct pass *p = self;
    const kr_shrink *s = p->s;
    const kr_wavekern *k = kr_wavekern_best();
    const long *n = s->W->n;
    float *re = s->work + kr_worker() * s->room, *im = re + s->line, *room = im + s->line;
    bool split = splits(p, KR_X);
    for (long i = block * ROWS, all = s->joint * n[2] * n[1]; i < all && i < (block + 1) * ROWS; i++)
        for (long place = 0; place < p->places; place++) {
            long y = i % n[1], z = i / n[1] % n[2], c = i / n[1] / n[2], right[3];
            for (int d = 0; d < 3; d++)
                right[d] = modulo(p->shift[place][(d + s->W->turn) % 3], n[d]);
            const float *row = p->c + place * s->joint * s->volume + c * s->volume + modulo(z - right[2], n[2]) * s->plane + modulo(y - right[1], n[1]) * s->stride;
            const float *a = split ? re : row, *b = split ? im : row + s->part;
            long left = n[0] - right[0];
            if (split)
                row_up(p, re, row, room);
            if (split && s->parts == 2)
                row_up(p, im, row + s->part, room);
            float *to = p->z + s->parts * i * n[0];
            bool more = p->more || place > 0, whole = s->parts == 2;
            k->collect(to + s->parts * right[0], a, whole ? b : NULL, p->factor, more, left);
            k->collect(to, a + left, whole ? b + left : NULL, p->factor, more, right[0]);
        }
    return 0;
}

/* ---- Across rows, or planes: KR_ROW columns ---- */
static void copy_rows(float *to, const float *from, long apart, long n, long width)
{
    if (width == KR_ROW)
        for (long k = 0; k < n; k++)
            memcpy(to + k * KR_ROW, from + k * apart, KR_ROW * sizeof *to);
    else
        for (long k = 0; k < n; k++)
            memcpy(to + k * KR_ROW, from + k * apart, (size_t)width * sizeof *to);
}

static int columns(void *self, long i)
{
    const struct pass *p = self;
    const kr_shrink *s = p->s;
    const kr_wavelet *w = s->W;
    const long *band = w->band[p->level];
    long others = band[KR_Y + KR_Z - p->axis], chunks = (band[0] + KR_ROW - 1) / KR_ROW;
    long from = i % chunks * KR_ROW, part = i / chunks % s->parts, other = i / chunks / s->parts % others, c = i / chunks / s->parts / others;
    long apart = p->axis == KR_Y ? s->stride : s->plane, width = band[0] - from < KR_ROW ? band[0] - from : KR_ROW;
    float *at = p->c + c * s->volume + other * (p->axis == KR_Y ? s->plane : s->stride) + part * s->part + from;
    long n = band[p->axis], half = n / 2, low = n - half, pad = w->taps / 2 - 1;
    float *x = s->work + kr_worker() * s->room, *y = x + (n + w->taps) * KR_ROW, *to = width == KR_ROW ? at : y;
    long step = width == KR_ROW ? apart : KR_ROW;
    enum { ROW = KR_ROW * sizeof(float) };
    if (p->inverse) {
        float *l = x + pad * KR_ROW, *u = l + (low + pad) * KR_ROW;
        to = width == KR_ROW ? at : u + half * KR_ROW;
        copy_rows(l, at, apart, low, width);
        copy_rows(u, at + low * apart, apart, half, width);
        for (long k = 1; k <= pad; k++) {
            memcpy(l - k * KR_ROW, l + (half - k % half) % half * KR_ROW, ROW);
            memcpy(u - k * KR_ROW, u + (half - k % half) % half * KR_ROW, ROW);
        }
        kr_wavekern_best()->synthesise(to, step, l, u, w->h, w->g, w->taps, half);
        if (n & 1)
            memcpy(to + (n - 1) * step, l + half * KR_ROW, (size_t)width * sizeof *x);
    } else {
        float last[KR_ROW];
        copy_rows(x, at, apart, n, width);
        memcpy(last, x + (n - 1) * KR_ROW, ROW);
        for (long k = 0; k < w->taps - 2; k++)                       /* periodic; over the odd sample */
            memcpy(x + (2 * half + k) * KR_ROW, x + k % (2 * half) * KR_ROW, ROW);
        kr_wavekern_best()->analyse(to, to + low * step, step, x, w->h, w->g, w->taps, half);
        if (n & 1)
            memcpy(to + half * step, last, (size_t)width * sizeof *x);
    }
    for (long k = 0; k < n && width < KR_ROW; k++)
        memcpy(at + k * apart, to + k * KR_ROW, (size_t)width * sizeof *x);
    return 0;
}

static int shrunk(void *self, long block)
{
    const struct pass *p = self;
    const kr_shrink *s = p->s;
    const long *n = s->W->n;
    for (long i = block * ROWS; i < n[1] * n[2] && i < (block + 1) * ROWS; i++)
        kr_wavekern_best()->shrink(p->c + i * s->stride, s->part, s->parts, s->volume, s->joint, p->t, n[0]);
    return 0;
}

/* ---- All of it ---- */
static void each(struct pass *p, long n, kr_body *body)
{
    const long *band = p->s->W->band[p->level];
    int e = 0;
    if (p->s->joint * band[0] * band[1] * band[2] < FEW)
        for (long i = 0; i < n; i++)
            e = body(p, i);
    else
        e = kr_for(n, body, p);
    kr_assert(!e);
}

static void along(struct pass *p, int axis)
{
    const kr_shrink *s = p->s;
    const long *n = s->W->band[p->level];
    p->axis = axis;
    if (axis == KR_X && (p->level ? splits(p, axis) : !p->inverse))
        each(p, (s->joint * n[1] * n[2] + ROWS - 1) / ROWS, rows);
    else if (axis != KR_X && splits(p, axis))
        each(p, s->joint * n[KR_Y + KR_Z - axis] * s->parts * ((n[0] + KR_ROW - 1) / KR_ROW), columns);
}

/* W^H shrink(W x) but for the last pass along rows. */
static int one_place(void *self, long place)
{
    struct pass p = *(const struct pass *)self;
    const kr_shrink *s = p.s;
    const long *n = s->W->n;
    int levels = s->W->levels ? s->W->levels : 1;
    p.c += place * s->joint * s->volume;
    for (int d = 0; d < 3; d++)
        p.moved[d] = modulo(p.shift[place][(d + s->W->turn) % 3], n[d]);
    for (p.level = 0; p.level < levels; p.level++)
        for (int d = 0; d < 3; d++)
            along(&p, d);
    p.level = 0;
    each(&p, (n[1] * n[2] + ROWS - 1) / ROWS, shrunk);
    p.inverse = true;
    for (p.level = levels - 1; p.level >= 0; p.level--)
        for (int d = 2; d >= 0; d--)
            along(&p, d);
    return 0;
}

static int group(void *self, long g)
{
    struct pass p = *(const struct pass *)self;
    const kr_shrink *s = p.s;
    const long *n = s->W->n, places = p.places, at_once = s->apart ? 1 : s->buffers;
    p.c = s->c + (s->apart ? kr_worker() : 0) * s->joint * s->volume;
    p.x += g * s->parts * s->joint * s->W->volume;
    p.z += g * s->parts * s->joint * s->W->volume;
    for (long done = 0; done < places; done += p.places, p.shift += p.places, p.more = true) {
        p.places = places - done < at_once ? places - done : at_once;
        int e = p.places > 1 ? kr_for(p.places, one_place, &p) : one_place(&p, 0);
        kr_assert(!e);
        each(&p, (s->joint * n[1] * n[2] + ROWS - 1) / ROWS, collected);
    }
    return 0;
}

void kr_shrink_apply(const kr_shrink *s, void *z, const void *x, float t, const long (*shift)[3], long places)
{
    kr_assert(z != x && places >= 1);
    struct pass p = { .s = s, .x = x, .z = z, .t = t, .factor = 1 / (float)places, .shift = shift, .places = places };
    int e = 0;
    if (s->apart)
        e = kr_for(s->groups, group, &p);
    else
        for (long g = 0; g < s->groups; g++)
            e = group(&p, g);
    kr_assert(!e);
}
