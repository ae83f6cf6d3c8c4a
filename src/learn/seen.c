/* seen.c: what was trained on, so that weights can tell: norms of images and kinds of masks, or what images that are judged look like. */
#include "learning.h"
#include "kray/range.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const look[KR_NOREF_LOOKS] = { "air", "brightness", "contrast", "detail" };

static void widen(double v[2], double x, bool any)
{
    v[0] = any ? fmin(v[0], x) : x;
    v[1] = any ? fmax(v[1], x) : x;
}

static int judged(learn_range *r, const learn_slice *s)
{
    long n = s->nx * s->ny;
    double v[KR_NOREF_LOOKS];
    kr_auto float *m = kr_alloc((size_t)n, sizeof *m);
    for (long i = 0; m && i < n; i++)
        m[i] = kr_re(s->start[i]);
    if (!m || kr_noref_looks(v, m, s->nx, s->ny))
        return kr_error_code();
    for (int k = 0; k < KR_NOREF_LOOKS; k++)
        widen(r->look[k], v[k], r->any);
    return 0;
}

static int scanned(learn_range *r, const learn_slice *s)
{
    kr_shape plane = KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny);
    kr_scoped(array) image = kr_array_new(KR_C32, plane);
    kr_scoped(array) mask = kr_array_new(KR_R32, plane);
    kr_mask_facts f;
    if (!image || !mask)
        return kr_error_code();
    memcpy(image->data, s->target, (size_t)(s->nx * s->ny) * sizeof *s->target);
    for (long i = 0; i < s->nx * s->ny; i++)
        KR_R(mask)[i] = s->mask[i] != 0;
    double norm = kr_image_norm(image);
    if (!(norm > 0) || kr_mask_describe(&f, mask, plane))
        return kr_error_code();
    widen(r->norm, norm, r->any);
    r->masks |= 1u << kr_mask_family(&f);
    return 0;
}

int learn_range_add(learn_range *r, const learn_slice *s, bool judges)
{
    int e = judges ? judged(r, s) : scanned(r, s);
    r->any |= !e;
    return e;
}

/* All numbers of it, in one order. */
enum { NUMBERS = 2 * KR_NOREF_LOOKS + 3 };
static void numbers(double v[NUMBERS], const learn_range *r)
{
    memcpy(v, r->look, sizeof r->look);
    memcpy(v + 2 * KR_NOREF_LOOKS, r->norm, sizeof r->norm);
    v[NUMBERS - 1] = (double)r->masks;
}

int learn_range_keep(kr_meta *m, const learn_range *r)
{
    double v[NUMBERS];
    kr_text t = { 0 };
    numbers(v, r);
    for (int i = 0; i < NUMBERS; i++)
        kr_text_add(&t, "%s%.17g", i ? " " : "", v[i]);
    int e = t.failed ? kr_error_code() : r->any ? kr_meta_set(m, "range", "%s", t.s) : 0;
    kr_text_clear(&t);
    return e;
}

void learn_range_take(learn_range *r, const kr_meta *m)
{
    const char *p = kr_meta_get(m, "range");
    double v[NUMBERS];
    int used, n = 0;
    *r = (learn_range){ 0 };
    while (p && n < NUMBERS && sscanf(p, "%lf%n", &v[n], &used) == 1) {
        p += used;
        n++;
    }
    if (n < NUMBERS)
        return;
    memcpy(r->look, v, sizeof r->look);
    memcpy(r->norm, v + 2 * KR_NOREF_LOOKS, sizeof r->norm);
    r->masks = (unsigned)v[NUMBERS - 1];
    r->any = true;
}

int learn_range_tell(kr_meta *m, const learn_range *r, bool judges)
{
    for (int i = 0; i < KR_NOREF_LOOKS && judges; i++) {
        kr_auto char *name = kr_strf("trained.%s", look[i]);
        if (!name || kr_meta_set(m, name, "%.4g to %.4g", r->look[i][0], r->look[i][1]))
            return kr_error_code();
    }
    if (judges || !r->any)
        return 0;
    kr_text t = { 0 };
    for (int i = 0; i < KR_MASK_FAMILIES; i++)
        if (r->masks >> i & 1)
            kr_text_add(&t, "%s%s", t.len ? ", " : "", kr_mask_family_name(i));
    int e = t.failed || kr_meta_set(m, "trained.masks", "%s", t.s) ? kr_error_code() : kr_meta_set(m, "trained.norm", "%.3g to %.3g", r->norm[0], r->norm[1]);
    kr_text_clear(&t);
    return e;
}
