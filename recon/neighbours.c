/* neighbours.c: sorts the missing samples of a mask by what was measured around them. */
#include "neighbours.h"
#include <stdlib.h>
#include <string.h>

enum { D = 3, HOODS = 256, SOURCES = 64, REACH = 4096 };      /* REACH: how many places around a sample are looked at */

struct near { long at[D], far; };
/* One missing sample: its hood, the place of the first source, and which target it is. */
struct found { int hood, base, target, sample; };

struct build {
    kr_hoods *h;
    const long *most;
    long sources, places;
    bool around[D];                  /* whether the pattern goes on over the end of k-space          */
    struct near *place;
    int *index;                      /* of each sample of the grid: which measured one, -1: missing */
    struct found *found;
    int *hit;                        /* hoods, the latest used first: it mostly is the same again     */
};

static long wrapped(long i, long n) { return (i % n + n) % n; }

static int nearer(const void *p, const void *q)
{
    const struct near *a = p, *b = q;
    if (a->far != b->far)
        return a->far < b->far ? -1 : 1;
    for (int d = D - 1; d >= 0; d--)
        if (a->at[d] != b->at[d])
            return a->at[d] < b->at[d] ? -1 : 1;
    return 0;
}

static int earlier(const void *p, const void *q)
{
    const long *a = p, *b = q;
    for (int d = D - 1; d >= 0; d--)
        if (a[d] != b[d])
            return a[d] < b[d] ? -1 : 1;
    return 0;
}

static int by_base(const void *p, const void *q)
{
    const struct found *a = p, *b = q;
    return a->hood != b->hood ? (a->hood < b->hood ? -1 : 1) : a->base != b->base ? (a->base < b->base ? -1 : 1)
         : a->target < b->target ? -1 : a->target > b->target;
}

/* All places around a sample, the nearest first, no further than half the grid or the box. */
static int list_places(struct build *b)
{
    long r[D], count = 1;
    for (int d = 0; d < D; d++) {
        r[d] = (b->h->n[d] - 1) / 2;
        r[d] = r[d] > b->most[d] - 1 ? b->most[d] - 1 : r[d];
        count *= 2 * r[d] + 1;
    }
    b->place = kr_alloc((size_t)count, sizeof *b->place);
    if (!b->place)
        return kr_error_code();
    struct near *p = b->place;
    for (long z = -r[2]; z <= r[2]; z++)
        for (long y = -r[1]; y <= r[1]; y++)
            for (long x = -r[0]; x <= r[0]; x++)
                *p++ = (struct near){ { x, y, z }, x * x + y * y + z * z };
    qsort(b->place, (size_t)count, sizeof *b->place, nearer);
    b->places = count < REACH ? count : REACH;
    return 0;
}

/* Whether no direction has all sources strictly behind it: axes, diagonals and knight's moves are tried. */
static bool surrounded(const struct build *b, long s[][D], long count)
{
    long r[D];
    for (int d = 0; d < D; d++)
        r[d] = b->h->n[d] > 1 ? 2 : 0;
    for (long z = -r[2]; z <= r[2]; z++)
        for (long y = -r[1]; y <= r[1]; y++)
            for (long x = -r[0]; x <= r[0]; x++) {
                bool before = false;
                for (long i = 0; i < count && !before; i++)
                    before = x * s[i][0] + y * s[i][1] + z * s[i][2] >= 0;
                if (!before)
                    return false;
            }
    return true;
}

/* The sources around sample x: how many. More than wanted, but not more than twice as many, where those nearest are all on one
 * side. */
static long sources_of(const struct build *b, const long x[D], long s[SOURCES][D])
{
    long low[D] = { 0 }, high[D] = { 0 }, count = 0, far = 0;
    for (long i = 0; i < b->places; i++) {
        const struct near *p = b->place + i;
        if (count == SOURCES || (count >= b->sources && p->far > far && (count >= 2 * b->sources || surrounded(b, s, count))))
            break;
        long e = 0;
        bool fits = true;
        for (int d = D - 1; d >= 0; d--) {
            long h = p->at[d] > high[d] ? p->at[d] : high[d], l = p->at[d] < low[d] ? p->at[d] : low[d];
            fits = fits && h - l < b->most[d] && (b->around[d] || (x[d] + p->at[d] >= 0 && x[d] + p->at[d] < b->h->n[d]));
            e = e * b->h->n[d] + wrapped(x[d] + p->at[d], b->h->n[d]);
        }
        if (!fits || b->index[e] < 0)
            continue;
        for (int d = 0; d < D; d++) {
            low[d] = p->at[d] < low[d] ? p->at[d] : low[d];
            high[d] = p->at[d] > high[d] ? p->at[d] : high[d];
            s[count][d] = p->at[d];
        }
        far = p->far;
        count++;
    }
    return surrounded(b, s, count) ? count : 0;
}

/* The hood with these sources (relative to the first), a new one if need be. */
static int hood_of(struct build *b, long s[][D], long count)
{
    kr_hoods *h = b->h;
    for (long k = 0; k < h->count; k++) {
        int i = b->hit[k];
        if (h->hood[i].sources != count || memcmp(h->hood[i].source, s, (size_t)count * sizeof *s))
            continue;
        memmove(b->hit + 1, b->hit, (size_t)k * sizeof *b->hit);
        return b->hit[0] = i;
    }
    if (h->count == HOODS)
        return kr_fail(KR_EREFUSED, "the missing samples have more than %d kinds of neighbourhoods: GRAPPA wants a pattern that repeats; "
                                    "for irregular masks take SPIRiT (--method spirit)", HOODS);
    kr_hood *n = &h->hood[h->count];
    n->source = kr_alloc((size_t)count, sizeof *n->source);
    if (!n->source)
        return kr_error_code();
    memcpy(n->source, s, (size_t)count * sizeof *s);
    n->sources = count;
    memmove(b->hit + 1, b->hit, (size_t)h->count * sizeof *b->hit);
    return b->hit[0] = (int)h->count++;
}

static int target_of(kr_hood *n, const long t[D])
{
    for (long i = 0; i < n->targets; i++)
        if (!memcmp(n->target[i], t, sizeof *n->target))
            return (int)i;
    long (*more)[D] = kr_realloc(n->target, (size_t)n->targets, (size_t)n->targets + 1, sizeof *more);
    if (!more)
        return kr_error_code();
    n->target = more;
    memcpy(more[n->targets], t, sizeof *more);
    return (int)n->targets++;
}

static int place_sample(struct build *b, long sample)
{
    const long *n = b->h->n;
    long x[D] = { sample % n[0], sample / n[0] % n[1], sample / n[0] / n[1] }, s[SOURCES][D], first[D], base[D];
    long count = sources_of(b, x, s);
    if (!count) {
        b->h->left++;
        return 0;
    }
    qsort(s, (size_t)count, sizeof *s, earlier);
    memcpy(first, s[0], sizeof first);
    for (long i = 0; i < count; i++)
        for (int d = 0; d < D; d++)
            s[i][d] -= first[d];
    int hood = hood_of(b, s, count);
    if (hood < 0)
        return hood;
    for (int d = 0; d < D; d++) {
        base[d] = wrapped(x[d] + first[d], n[d]);
        first[d] = -first[d];
    }
    int target = target_of(&b->h->hood[hood], first);
    if (target < 0)
        return target;
    b->found[b->h->missing++] = (struct found){ hood, (int)((base[2] * n[1] + base[1]) * n[0] + base[0]), target, (int)sample };
    return 0;
}

/* Boxes, and for each base its sources and what is filled from them. */
static int spread(kr_hood *n, const struct build *b, const struct found *f, long count)
{
    const long *grid = b->h->n;
    for (int d = 0; d < D; d++) {
        long low = 0, high = 0;
        for (long i = 0; i < n->sources + n->targets; i++) {
            long at = i < n->sources ? n->source[i][d] : n->target[i - n->sources][d];
            low = at < low ? at : low;
            high = at > high ? at : high;
        }
        n->low[d] = low;
        n->span[d] = high - low + 1;
    }
    for (long i = 0; i < count; i++)
        n->bases += !i || f[i].base != f[i - 1].base;
    n->at = kr_alloc((size_t)n->bases, (size_t)n->sources * sizeof *n->at);
    n->fill = kr_alloc((size_t)n->bases, (size_t)n->targets * sizeof *n->fill);
    if (!n->at || !n->fill)
        return kr_error_code();
    memset(n->fill, 0xff, (size_t)(n->bases * n->targets) * sizeof *n->fill);
    long k = -1;
    for (long i = 0; i < count; i++) {
        if (!i || f[i].base != f[i - 1].base) {
            k++;
            long x[D] = { f[i].base % grid[0], f[i].base / grid[0] % grid[1], f[i].base / grid[0] / grid[1] };
            for (long s = 0; s < n->sources; s++) {
                long e = 0;
                for (int d = D - 1; d >= 0; d--)
                    e = e * grid[d] + wrapped(x[d] + n->source[s][d], grid[d]);
                n->at[k * n->sources + s] = b->index[e];
            }
        }
        n->fill[k * n->targets + f[i].target] = f[i].sample;
    }
    return 0;
}

/* Over the end of k-space a pattern goes on where the gap there is no longer than any other along the axis: with partial Fourier
 * it is longer, and what lies beyond is far away. */
static int find_ends(struct build *b)
{
    const kr_hoods *h = b->h;
    for (int d = 0; d < D; d++) {
        kr_auto bool *any = kr_alloc_zero((size_t)h->n[d], sizeof *any);
        if (!any)
            return kr_error_code();
        for (long i = 0; i < h->measured; i++)
            any[h->sample[i] / (d == 0 ? 1 : d == 1 ? h->n[0] : h->n[0] * h->n[1]) % h->n[d]] = true;
        long first = -1, last = -1, gap = 1;
        for (long i = 0; i < h->n[d]; i++)
            if (any[i]) {
                first = first < 0 ? i : first;
                gap = last >= 0 && i - last > gap ? i - last : gap;
                last = i;
            }
        b->around[d] = first + h->n[d] - last <= gap;
    }
    return 0;
}

static int build(struct build *b, const kr_array *mask)
{
    kr_hoods *h = b->h;
    for (long i = 0; i < h->samples; i++) {
        long x[D] = { i % h->n[0], i / h->n[0] % h->n[1], i / h->n[0] / h->n[1] }, e = 0;
        for (int d = 0; d < D; d++)
            e += mask->n[d] > 1 ? x[d] * mask->step[d] : 0;
        b->index[i] = ((const float *)mask->data)[e] > 0 ? (int)h->measured : -1;
        if (b->index[i] >= 0)
            h->sample[h->measured++] = (int)i;
    }
    if (find_ends(b))
        return kr_error_code();
    for (long i = 0; i < h->samples; i++)
        if (b->index[i] < 0 && place_sample(b, i))
            return kr_error_code();
    qsort(b->found, (size_t)h->missing, sizeof *b->found, by_base);
    for (long i = 0, j; i < h->missing; i = j) {
        for (j = i; j < h->missing && b->found[j].hood == b->found[i].hood; j++)
            ;
        if (spread(&h->hood[b->found[i].hood], b, b->found + i, j - i))
            return kr_error_code();
    }
    return 0;
}

kr_hoods *kr_hoods_new(const kr_array *mask, const long n[3], long sources, const long most[3])
{
    long samples = n[0] * n[1] * n[2];
    kr_assert(samples > 0 && samples < INT32_MAX && sources >= 1);
    struct build b = { .most = most, .sources = sources < SOURCES ? sources : SOURCES };
    kr_hoods *h = b.h = kr_alloc_zero(1, sizeof *h);
    if (!h)
        return NULL;
    memcpy(h->n, n, sizeof h->n);
    h->samples = samples;
    h->sample = kr_alloc((size_t)samples, sizeof *h->sample);
    h->hood = kr_alloc_zero(HOODS, sizeof *h->hood);
    b.index = kr_alloc((size_t)samples, sizeof *b.index);
    b.found = kr_alloc((size_t)samples, sizeof *b.found);
    b.hit = kr_alloc(HOODS, sizeof *b.hit);
    if (!h->sample || !h->hood || !b.index || !b.found || !b.hit || list_places(&b) || build(&b, mask))
        kr_hoods_unref(&h);
    kr_free(b.place);
    kr_free(b.index);
    kr_free(b.found);
    kr_free(b.hit);
    return h;
}

void kr_hoods_unref(kr_hoods **p)
{
    kr_hoods *h = *p;
    *p = NULL;
    for (long i = 0; h && h->hood && i < h->count; i++) {
        kr_free(h->hood[i].source);
        kr_free(h->hood[i].target);
        kr_free(h->hood[i].at);
        kr_free(h->hood[i].fill);
    }
    if (h) {
        kr_free(h->sample);
        kr_free(h->hood);
        kr_free(h);
    }
}
