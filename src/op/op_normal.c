/* op_normal.c: A^H A of SENSE for a slice, a volume or a series, in blocks that stay in the cache.
 *
 * S^H F^H P F S mixes only points that differ along axes on which P varies, so that lines, or planes, are taken one by one, with
 * their coil maps kept in the form that lanes.h wants. Where a single plane is all there is, its coils are taken in a fixed
 * number of groups whose parts are added in order: the sum does not depend on the number of threads. */
#include "kray/linop.h"
#include "kray/lanes.h"
#include <string.h>

enum { GROUPS = 4 };
struct normal {
    kr_blocks b;
    long coil, map, frames, groups;
    kr_psf **psf;                     /* one a frame, or one for all                                            */
    long psfs;
    float *maps;                      /* of every block: coil and map                                           */
    float *work;                      /* per worker, or per group: x, z and scratch                             */
    long block, room, scratch;        /* floats of x or z of one slab, of one worker, of kr_psf_sense           */
    kr_linop **whole;                 /* masks that vary along all axes: one operator a frame; then all else is NULL */
    kr_shape volume;
};
struct job { const struct normal *s; kr_cfloat *z; const kr_cfloat *x; };

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

static void gather(const struct normal *s, float *to, const kr_cfloat *x, long i)
{
    for (long m = 0; m < s->map; m++)
        kr_blocks_gather(&s->b, to + m * s->b.floats, s->map * s->b.floats, x + m * s->b.volume, i);
}

static int slab(void *self, long i)
{
    const struct job *j = self;
    const struct normal *s = j->s;
    long f = i / s->b.count, b = i % s->b.count, each = s->map * s->b.floats;
    float *x = s->work + kr_worker() * s->room, *z = x + s->block, *w = z + s->block;
    const float *maps = s->maps + b * s->b.slab * s->coil * each;
    gather(s, x, j->x + f * s->map * s->b.volume, b);
    memset(z, 0, (size_t)(kr_blocks_planes(&s->b, b) * each) * sizeof *z);
    for (long p = 0; p < kr_blocks_planes(&s->b, b); p++)
        kr_psf_sense(s->psf[s->psfs > 1 ? f : 0], z + p * each, maps + p * s->coil * each, x + p * each, s->coil, s->map, w);
    for (long m = 0; m < s->map; m++)
        kr_blocks_scatter(&s->b, j->z + (f * s->map + m) * s->b.volume, z + m * s->b.floats, each, b);
    return 0;
}

static int group(void *self, long g)
{
    const struct job *j = self;
    const struct normal *s = j->s;
    float *x = s->work, *z = s->work + (g + 1) * s->block, *w = s->work + (s->groups + 1) * s->block + g * s->scratch;
    long from = g * s->coil / s->groups, to = (g + 1) * s->coil / s->groups;
    memset(z, 0, (size_t)s->block * sizeof *z);
    kr_psf_sense(s->psf[0], z, s->maps + from * s->block, x, to - from, s->map, w);
    return 0;
}

static int add_parts(void *self, long a)                              /* panel by panel, the parts in order */
{
    const struct job *j = self;
    const struct normal *s = j->s;
    long panel = s->b.n[s->b.row] * KR_ROW;
    float *z = s->work + s->block + a * panel;
    for (long g = 1; g < s->groups; g++) {
        const float *part = z + g * s->block;
        for (long i = 0; i < panel; i++)
            z[i] += part[i];
    }
    return 0;
}

static void apply(void *self, kr_array *z, const kr_array *x)         /* z = A^H A x */
{
    struct normal *s = self;
    struct job j = { s, z->data, x->data };
    int e = 0;
    if (s->whole)
        for (long f = 0; f < s->frames; f++) {
            kr_array from = *x, to = *z;
            for (int d = KR_MAP + 1; d < KR_AXES; d++)
                from.n[d] = to.n[d] = 1;
            from.data = (void *)(uintptr_t)(j.x + f * s->map * s->b.volume);
            to.data = j.z + f * s->map * s->b.volume;
            kr_apply_normal(s->whole[s->psfs > 1 ? f : 0], &to, &from);
        }
    else if (s->groups == 1)
        e = kr_for(s->b.count * s->frames, slab, &j);
    else {
        gather(s, s->work, j.x, 0);
        e = kr_for(s->groups, group, &j);
        e = e ? e : kr_for(s->map * s->b.panels, add_parts, &j);
        for (long m = 0; m < s->map; m++)
            kr_blocks_scatter(&s->b, j.z + m * s->b.volume, s->work + s->block + m * s->b.floats, s->block, 0);
    }
    kr_assert(!e);
}

static void destroy(void *self)
{
    struct normal *s = self;
    for (long f = 0; f < s->psfs; f++) {
        if (s->psf)
            kr_psf_unref(&s->psf[f]);
        if (s->whole)
            kr_linop_unref(&s->whole[f]);
    }
    kr_free(s->psf);
    kr_free(s->whole);
    kr_free(s->maps);
    kr_free(s->work);
    kr_free(s);
}

static size_t bytes(const void *self)
{
    const struct normal *s = self;
    if (s->whole)
        return kr_linop_bytes(s->whole[0]) * (size_t)s->psfs;
    long rooms = s->groups > 1 ? 1 : kr_threads();
    return (size_t)(rooms * s->room + s->b.count * s->b.slab * s->coil * s->map * s->b.floats) * sizeof(float);
}

static const kr_linop_ops ops = { "SENSE normal", apply, apply, NULL, destroy, bytes };

struct pack { const struct normal *s; const kr_cfloat *coils; };
static int pack(void *self, long i)                                   /* the maps of slab i: per plane, coil and map a block */
{
    const struct pack *p = self;
    const struct normal *s = p->s;
    long each = s->map * s->b.floats;
    for (long c = 0; c < s->coil; c++)
        for (long m = 0; m < s->map; m++)
            kr_blocks_gather(&s->b, s->maps + (i * s->b.slab * s->coil + c) * each + m * s->b.floats, s->coil * each,
                             p->coils + (c + m * s->coil) * s->b.volume, i);
    return 0;
}

static unsigned varying(const kr_array *mask)
{
    unsigned v = 0;
    for (int d = 0; mask && d < 3; d++)
        v |= mask->n[d] > 1 ? KR_ON(d) : 0;
    return v;
}

static int blocks(struct normal *s, const kr_array *coils, const kr_array *mask)
{
    const kr_blocks *b = &s->b;
    s->groups = b->n[b->out] * s->frames == 1 && b->plane ? (s->coil < GROUPS ? s->coil : GROUPS) : 1;
    s->block = b->slab * s->map * b->floats;
    s->psf = kr_alloc_zero((size_t)s->psfs, sizeof *s->psf);
    long per = mask ? kr_count(kr_shape_only(kr_array_shape(mask), space)) : 0;
    for (long f = 0; s->psf && f < s->psfs; f++) {
        s->psf[f] = kr_psf_new(mask ? KR_R(mask) + f * per : NULL, b->n[b->row], mask && mask->n[b->row] > 1 ? mask->step[b->row] : 0,
                               b->plane ? b->n[b->col] : 1, mask && mask->n[b->col] > 1 ? mask->step[b->col] : 0);
        if (!s->psf[f])
            return kr_error_code();
        long scratch = (kr_psf_work(s->psf[f], 1) + KR_ROW - 1) / KR_ROW * KR_ROW;
        s->scratch = scratch > s->scratch ? scratch : s->scratch;
    }
    s->room = s->groups > 1 ? (s->groups + 1) * s->block + s->groups * s->scratch : 2 * s->block + s->scratch;
    s->work = kr_alloc((size_t)(s->groups > 1 ? 1 : kr_threads()), (size_t)s->room * sizeof(float));
    s->maps = kr_alloc((size_t)(b->count * b->slab * s->coil * s->map), (size_t)b->floats * sizeof(float));
    struct pack p = { s, coils->data };
    return s->psf && s->work && s->maps ? kr_for(b->count, pack, &p) : kr_error_code();
}

static int operators(struct normal *s, const kr_array *coils, const kr_array *mask, unsigned axes)
{
    s->whole = kr_alloc_zero((size_t)s->psfs, sizeof(kr_linop *));
    if (!s->whole)
        return kr_error_code();
    for (long f = 0; f < s->psfs; f++) {
        kr_array one = *mask;
        for (int d = KR_MAP + 1; d < KR_AXES; d++)
            one.n[d] = 1;
        one.data = KR_R(mask) + f * kr_count(kr_shape_only(kr_array_shape(mask), space));
        kr_scoped(array) own = kr_array_copy(&one);                  /* the operator keeps a handle */
        s->whole[f] = own ? kr_op_sense(coils, own, axes) : NULL;
        if (!s->whole[f])
            return kr_error_code();
    }
    return 0;
}

kr_linop *kr_op_sense_normal(const kr_array *coils, const kr_array *mask, unsigned axes, kr_shape frames)
{
    if (!coils)
        return NULL;
    static const unsigned more = KR_ON(KR_COIL) | KR_ON(KR_MAP);
    kr_shape have = kr_array_shape(coils), series = kr_shape_without(frames, space | more);
    long count = kr_count(series);
    if (coils->type != KR_C32 || !kr_shape_equal(have, kr_shape_only(have, space | more))) {
        kr_fail(KR_ESHAPE, "coil maps must be complex {x y z coil map} of one slice, these are %s", kr_shape_text(have));
        return NULL;
    }
    bool own = false;
    for (int d = 0; mask && d < KR_AXES; d++) {
        long n = space & KR_ON(d) ? coils->n[d] : more & KR_ON(d) ? 1 : series.n[d] ? series.n[d] : 1;
        if (mask->type != KR_R32 || (mask->n[d] != 1 && mask->n[d] != n)) {
            kr_fail(KR_ESHAPE, "mask of shape %s does not fit coil maps of shape %s and frames of shape %s", kr_shape_text(kr_array_shape(mask)),
                    kr_shape_text(have), kr_shape_text(series));
            return NULL;
        }
        own |= !(space & KR_ON(d)) && mask->n[d] > 1;
    }
    kr_shape each = mask ? kr_array_shape(mask) : (kr_shape){ 0 };
    for (int d = KR_MAP + 1; own && d < KR_AXES; d++)                /* a frame of its own for all, where any has */
        each.n[d] = series.n[d];
    kr_scoped(array) spread = mask ? kr_array_spread(mask, each) : NULL;
    kr_scoped(array) m = spread ? kr_array_packed(spread) : NULL;
    kr_scoped(array) c = kr_array_packed(coils);
    struct normal *s = !c || (mask && !m) ? NULL : kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    unsigned v = varying(m);
    s->coil = c->n[KR_COIL];
    s->map = c->n[KR_MAP];
    s->frames = count;
    s->psfs = own && varying(m) ? count : 1;
    bool whole = v == space || v & ~axes;
    s->b = kr_blocks_of(c->n, whole ? 0 : v);
    if (whole ? operators(s, c, m, axes) : blocks(s, c, v ? m : NULL)) {
        destroy(s);
        return NULL;
    }
    kr_shape domain = kr_shape_only(have, space | KR_ON(KR_MAP));
    for (int d = KR_MAP + 1; d < KR_AXES; d++)
        domain.n[d] = series.n[d];
    return kr_linop_new(&ops, KR_C32, domain, domain, s);
}
