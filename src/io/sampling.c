/* sampling.c: a sampling mask as one names it on a command line: a kind with its keys, or a file. */
#include "kray/io.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The first axis along which they differ in length; KR_AXES: none. */
static int misfit(const kr_array *a, kr_shape s)
{
    int d = 0;
    while (d < KR_AXES && (a->n[d] == 1 || a->n[d] == s.n[d]))
        d++;
    return d;
}

static bool fits(const kr_array *a, kr_shape s) { return misfit(a, s) == KR_AXES; }

/* 1 where the file holds anything but 0. */
static kr_array *zero_or_one(const kr_array *a)
{
    if (!kr_all_finite(a)) {
        kr_fail(KR_ENUMBER, "the mask holds numbers that are not finite");
        return NULL;
    }
    kr_scoped(array) p = kr_array_packed(a);
    for (long i = 0; p && i < kr_count(kr_array_shape(p)); i++)
        if ((p->type == KR_C32 ? kr_re(KR_C(p)[i]) : KR_R(p)[i]) < 0) {
            kr_fail(KR_EFORMAT, "the mask holds negative numbers, such as %g: 0 where nothing was measured, and 1, are wanted", (double)(p->type == KR_C32 ? kr_re(KR_C(p)[i]) : KR_R(p)[i]));
            return NULL;
        }
    kr_array *m = p ? kr_abs(p) : NULL;
    for (long i = 0; m && i < kr_count(kr_array_shape(m)); i++)
        KR_R(m)[i] = KR_R(m)[i] > 0;
    return m;
}

/* NumPy arrays have no names: lines are along y, and pictures [y,x], [x,y] as fastMRI lays them out, [y,z] or [z,y],
 * whichever is the first to fit. */
static kr_array *name_axes(const kr_array *a, kr_shape s)
{
    static const int swaps[][4] = { { KR_X, KR_Y, 0, 0 }, { 0, 0, 0, 0 }, { KR_X, KR_Z, 0, 0 }, { KR_Y, KR_Z, KR_X, KR_Y } };
    bool line = a->n[KR_Y] == 1 && a->n[KR_Z] == 1;
    for (int i = line ? 0 : 1; i < 4; i++) {
        kr_scoped(array) half = kr_array_rename(a, swaps[i][0], swaps[i][1]);
        kr_array *named = kr_array_rename(half, swaps[i][2], swaps[i][3]);
        if (!named || fits(named, s))
            return named;
        kr_array_unref(&named);
    }
    kr_array *swapped = line ? NULL : kr_array_rename(a, KR_X, KR_Y);
    if (swapped && fits(swapped, s))
        return swapped;
    kr_array_unref(&swapped);
    return kr_array_ref(a);
}

static bool has_names(const kr_source *src)
{
    size_t n = strlen(src->path);
    kr_auto char *json = kr_strf("%s.json", src->path);
    return src->axes || n < 4 || strcmp(src->path + n - 4, ".npy") || (json && !access(json, F_OK));
}

static bool is_npy(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcasecmp(path + n - 4, ".npy");
}

/* One picture of a stack: FILE.npy:INDEX or FILE.npy:seed=SEED. */
static kr_array *one_of_stack(const kr_source *src, const char *name)
{
    kr_auto char *text = kr_strf("%s@batch,%s", src->path, src->axes ? src->axes : "y,x");
    kr_scoped(array) all = NULL;
    if (!text || kr_array_read(&all, text)) {
        kr_fail_in("a stack of masks is wanted for ':%s'", src->var);
        return NULL;
    }
    char *end;
    long count = all->n[KR_BATCH], at = strtol(src->var, &end, 10);
    if (!strncmp(src->var, "seed=", 5))
        at = kr_mask_draw(count, src->var + 5, name);
    else if (end == src->var || *end || at < 0 || at >= count) {
        kr_fail(KR_EUSAGE, "%s holds %ld masks, 0 to %ld, and '%s' is none of them; seed=N draws one", src->path, count, count - 1, src->var);
        return NULL;
    }
    if (at < 0)
        return NULL;
    kr_scoped(array) one = kr_array_at(all, KR_BATCH, at);
    return one ? kr_array_packed(one) : NULL;
}

static kr_array *from_file(const char *text, kr_shape s, const char *name)
{
    kr_source src;
    if (kr_source_parse(&src, text))
        return NULL;
    bool stack = src.var && is_npy(src.path), named = stack ? src.axes != NULL : has_names(&src), bare = !src.var && !named && is_npy(src.path);
    kr_scoped(array) a = stack ? one_of_stack(&src, name) : NULL;
    kr_source_clear(&src);
    if (!a && (stack || kr_array_read(&a, text)))
        return NULL;
    if (bare && a->n[KR_Z] > 1 && !fits(a, s)) {
        kr_fail(KR_ESHAPE, "%s: masks %s: one of a stack of %ld is taken by its number, %s:0 to :%ld, or drawn by %s:seed=N", text, kr_shape_text(kr_array_shape(a)),
                a->n[KR_Z], text, a->n[KR_Z] - 1, text);
        return NULL;
    }
    kr_scoped(array) m = zero_or_one(a);
    kr_scoped(array) view = m ? named ? kr_array_ref(m) : name_axes(m, s) : NULL;
    int d = view ? misfit(view, s) : KR_AXES;
    if (d < KR_AXES)
        kr_fail(KR_ESHAPE, "the mask %s has %ld points along %s, k-space %s has %ld; if its axes are others, name them: FILE@y,x", kr_shape_text(kr_array_shape(view)),
                view->n[d], kr_axis_name(d), kr_shape_text(s), s.n[d]);
    else if (view && kr_max_abs(view) <= 0)
        kr_fail(KR_ENUMBER, "the mask keeps nothing");
    else if (view)
        return kr_array_packed(view);
    kr_fail_in("%s", text);
    return NULL;
}

kr_array *kr_mask_from(const char *text, kr_shape s, const char *name)
{
    if (kr_mask_is_spec(text))
        return kr_mask_new(text, s, name);
    kr_source src;
    if (!kr_source_parse(&src, text)) {
        kr_source_clear(&src);
        return from_file(text, s, name);
    }
    if (strpbrk(text, "/.") && !strchr(text, '='))               /* that was meant to be a file */
        return NULL;
    return kr_mask_new(text, s, name);
}

int kr_scan_undersample_by(kr_scan *s, const char *text, const char *name)
{
    kr_scoped(array) mask = kr_mask_from(text, s->shape, name);
    unsigned varies = 0;
    for (int d = KR_X; mask && d <= KR_Z; d++)
        varies |= mask->n[d] > 1 ? KR_ON(d) : 0;
    if (!mask || kr_scan_to_kspace(s, varies) || kr_scan_undersample(s, mask))
        return kr_error_code();
    kr_array_unref(&s->calib_area);
    return kr_mask_is_spec(text) ? kr_mask_calib(&s->calib_area, text, s->shape, name) : 0;
}
