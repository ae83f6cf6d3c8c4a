/* op_sense.c: A = P F S for one slice: coil maps, Fourier transform and sampling mask in one pass per coil.
 *
 * Coils are taken in a fixed number of groups; each group adds up its own part of the image, and the parts are added in
 * order, so that the sum does not depend on the number of threads. The normal operator transforms only along axes on
 * which the mask varies: along the others F^H F = 1. */
#include "kray/fourier.h"
#include "kray/linop.h"
#include <string.h>

enum { GROUPS = 8 };
struct sense {
    kr_array *coils, *mask;          /* {X,Y,Z,COIL,MAP} contiguous; any of {X,Y,Z}, NULL: everywhere          */
    long n[3], pixels, coil, map;
    long step[3];                    /* of the mask; 0 where it repeats                                        */
    kr_fft *all, *varying;           /* one coil: the axes asked for; those among them on which the mask varies */
    long groups;
    kr_cfloat *part, *work;          /* per group: an image of all map sets; one coil                          */
};
enum mode { FORWARD, ADJOINT, NORMAL };
struct job { const struct sense *s; enum mode mode; kr_cfloat *x, *y; };

static void keep(const struct sense *s, kr_cfloat *w)                /* w = P w */
{
    if (!s->mask)
        return;
    const float *m = s->mask->data;
    for (long z = 0; z < s->n[2]; z++)
        for (long y = 0; y < s->n[1]; y++) {
            const float *row = m + z * s->step[2] + y * s->step[1];
            for (long x = 0; x < s->n[0]; x++)
                *w++ *= row[x * s->step[0]];
        }
}

static void expand(const struct sense *s, kr_cfloat *restrict w, const kr_cfloat *x, long c)   /* w = sum_m S_cm x_m */
{
    for (long m = 0; m < s->map; m++) {
        const kr_cfloat *restrict S = KR_C(s->coils) + (c + m * s->coil) * s->pixels, *restrict xm = x + m * s->pixels;
        if (!m)
            for (long i = 0; i < s->pixels; i++)
                w[i] = kr_cmul(S[i], xm[i]);
        else
            for (long i = 0; i < s->pixels; i++)
                w[i] += kr_cmul(S[i], xm[i]);
    }
}

static void reduce(const struct sense *s, kr_cfloat *x, const kr_cfloat *restrict w, long c)   /* x_m += conj(S_cm) w */
{
    for (long m = 0; m < s->map; m++) {
        const kr_cfloat *restrict S = KR_C(s->coils) + (c + m * s->coil) * s->pixels;
        kr_cfloat *restrict xm = x + m * s->pixels;
        for (long i = 0; i < s->pixels; i++)
            xm[i] += kr_cmulc(S[i], w[i]);
    }
}

static int group(void *self, long g)
{
    const struct job *j = self;
    const struct sense *s = j->s;
    kr_cfloat *w = s->work + g * s->pixels, *part = s->part + g * s->pixels * s->map;
    if (j->mode != FORWARD)
        memset((void *)part, 0, (size_t)(s->pixels * s->map) * sizeof *part);
    for (long c = g * s->coil / s->groups; c < (g + 1) * s->coil / s->groups; c++) {
        kr_cfloat *y = j->y + (j->mode == NORMAL ? 0 : c * s->pixels);
        switch (j->mode) {
        case FORWARD:                                                /* y_c = P F sum_m S_cm x_m             */
            expand(s, y, j->x, c);
            kr_fft_forward(s->all, y);
            keep(s, y);
            break;
        case ADJOINT:                                                /* x_m = sum_c conj(S_cm) F^H P y_c     */
            memcpy((void *)w, (const void *)y, (size_t)s->pixels * sizeof *w);
            keep(s, w);
            kr_fft_inverse(s->all, w);
            reduce(s, part, w, c);
            break;
        case NORMAL:
            expand(s, w, j->y, c);
            kr_fft_forward(s->varying, w);
            keep(s, w);
            kr_fft_inverse(s->varying, w);
            reduce(s, part, w, c);
        }
    }
    return 0;
}

struct sum { const struct sense *s; kr_cfloat *x; };

static int add_parts(void *self, long row)                            /* x = the parts, in order */
{
    const struct sum *a = self;
    long n = a->s->n[0], all = a->s->pixels * a->s->map;
    kr_cfloat *restrict x = a->x + row * n;
    for (long i = 0; i < n; i++)
        x[i] = a->s->part[row * n + i];
    for (long g = 1; g < a->s->groups; g++) {
        const kr_cfloat *restrict p = a->s->part + g * all + row * n;
        for (long i = 0; i < n; i++)
            x[i] += p[i];
    }
    return 0;
}

static void each_group(const struct sense *s, enum mode mode, kr_cfloat *x, const kr_cfloat *y)
{
    struct job j = { s, mode, x, (kr_cfloat *)(uintptr_t)y };
    int e = kr_for(s->groups, group, &j);
    if (mode != FORWARD) {
        struct sum a = { s, x };
        e = e ? e : kr_for(s->n[1] * s->n[2] * s->map, add_parts, &a);
    }
    kr_assert(!e);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    struct job j = { self, FORWARD, x->data, y->data };
    int e = kr_for(j.s->groups, group, &j);
    kr_assert(!e);
}
static void adjoint(void *self, kr_array *x, const kr_array *y) { each_group(self, ADJOINT, x->data, y->data); }
static void normal(void *self, kr_array *z, const kr_array *x) { each_group(self, NORMAL, z->data, x->data); }

static void destroy(void *self)
{
    struct sense *s = self;
    kr_array_unref(&s->coils);
    kr_array_unref(&s->mask);
    kr_fft_unref(&s->all);
    kr_fft_unref(&s->varying);
    kr_free(s->part);
    kr_free(s->work);
    kr_free(s);
}

static size_t bytes(const void *self)
{
    const struct sense *s = self;
    return (size_t)(s->pixels * (s->groups * (s->map + 1) + s->coil * s->map)) * sizeof(kr_cfloat);
}

static const kr_linop_ops ops = { "sense", forward, adjoint, normal, destroy, bytes };

kr_linop *kr_op_sense(const kr_array *coils, const kr_array *mask, unsigned axes)
{
    if (!coils)
        return NULL;
    static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), more = KR_ON(KR_COIL) | KR_ON(KR_MAP);
    kr_shape have = kr_array_shape(coils);
    if (coils->type != KR_C32 || !kr_shape_equal(have, kr_shape_only(have, space | more))) {
        kr_fail(KR_ESHAPE, "coil maps must be complex {x y z coil map} of one slice, these are %s", kr_shape_text(have));
        return NULL;
    }
    for (int d = 0; mask && d < KR_AXES; d++)
        if (mask->type != KR_R32 || (mask->n[d] != 1 && (!(space & KR_ON(d)) || mask->n[d] != coils->n[d]))) {
            kr_fail(KR_ESHAPE, "mask of shape %s does not fit coil maps of shape %s", kr_shape_text(kr_array_shape(mask)), kr_shape_text(have));
            return NULL;
        }
    struct sense *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    unsigned varying = 0;
    s->pixels = 1;
    for (int d = 0; d < 3; d++) {
        s->n[d] = coils->n[d];
        s->pixels *= s->n[d];
        if (mask && mask->n[d] > 1)
            varying |= KR_ON(d);
    }
    s->coil = coils->n[KR_COIL];
    s->map = coils->n[KR_MAP];
    s->groups = s->coil < GROUPS ? s->coil : GROUPS;
    s->coils = kr_array_packed(coils);
    s->mask = mask ? kr_array_packed(mask) : NULL;
    for (int d = 0; s->mask && d < 3; d++)
        s->step[d] = s->mask->n[d] > 1 ? s->mask->step[d] : 0;
    kr_shape image = kr_shape_only(have, space);
    s->all = kr_fft_new(image, axes, KR_CENTRED | KR_SERIAL);
    s->varying = s->all ? kr_fft_new(image, axes & varying, KR_CENTRED | KR_SERIAL) : NULL;
    s->part = kr_alloc((size_t)s->groups * (size_t)s->map, (size_t)s->pixels * sizeof *s->part);
    s->work = kr_alloc((size_t)s->groups, (size_t)s->pixels * sizeof *s->work);
    if (!s->coils || (mask && !s->mask) || !s->varying || !s->part || !s->work) {
        destroy(s);
        return NULL;
    }
    return kr_linop_new(&ops, KR_C32, kr_shape_only(have, space | KR_ON(KR_MAP)), kr_shape_only(have, space | KR_ON(KR_COIL)), s);
}
