/* fmt_skmtea.c: SKM-TEA knees: kspace [x][ky][kz][echo][coil] where x is in image space already, with coil maps, target
 * and Poisson disc masks; and image files with echo1 and echo2. Source: StanfordMIMI/skm-tea, DATASET.md. */
#include "h5sets.h"
#include <stdio.h>
#include <string.h>

static const int kspace[] = { KR_X, KR_Y, KR_Z, KR_ECHO, KR_COIL }, maps[] = { KR_X, KR_Y, KR_Z, KR_COIL, KR_MAP },
                 target[] = { KR_X, KR_Y, KR_Z, KR_ECHO, KR_MAP }, mask[] = { KR_Y, KR_Z }, echo[] = { KR_X, KR_Y, KR_Z };

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    if (!kr_h5_is(head, bytes) || !memcmp(head, "MATLAB", 6))
        return 0;
    kr_scoped(h5) f = kr_h5_open(path);
    if (!f)
        return kr_error_clear(), 0;
    kr_scoped(h5_set) s = kr_h5_has(f, "kspace") ? kr_h5_set_open(f, "kspace") : NULL;
    int sure = s && s->kind == KR_H5_COMPLEX && s->dims == 5 && (kr_h5_has(f, "maps") || kr_h5_has(f, "target")) ? 95
             : !s && kr_h5_has(f, "echo1") && kr_h5_has(f, "echo2") ? 80 : 0;
    kr_error_clear();
    return sure;
}

struct names { kr_text all; };

static int note_mask(void *self, const char *name, bool group)
{
    struct names *n = self;
    if (!group)
        kr_text_add(&n->all, "%s%s", n->all.len ? ", " : "", name);
    return 0;
}

/* The masks are offers of the challenge, not what was measured: they are named, and read as arrays. */
static int note_rest(kr_scan *s, kr_h5 *f, const char *path)
{
    struct names n = { { 0 } };
    int e = kr_h5_has(f, "masks/poisson_6.0x") || kr_h5_has(f, "masks/poisson_8.0x") ? kr_h5_list(f, "masks", note_mask, &n) : 0;
    if (!e && n.all.len)
        kr_scan_note(s, "the file offers sampling masks: %s (as %s:masks/NAME)", n.all.s, path);
    kr_text_clear(&n.all);
    if (kr_h5_has(f, "seg"))
        kr_scan_note(s, "the segmentation of the file is not used");
    return e;
}

static bool fits(const kr_scan *s, const kr_array *a)
{
    for (int d = 0; d < KR_AXES; d++)
        if (d != KR_MAP && a->n[d] != 1 && a->n[d] != s->data->n[d])
            return false;
    return true;
}

static int read_maps(kr_scan *s, kr_h5 *f, const kr_source *src)
{
    if (!kr_h5_has(f, "maps"))
        return 0;
    kr_scoped(array) a = NULL;
    if (kr_hdf5_read(&a, f, "maps", src, maps, 5, NULL))
        return kr_error_code();
    if (a->type != KR_C32 || !fits(s, a))
        return kr_fail(KR_ESHAPE, "maps of %s do not fit k-space of %s", kr_shape_text(kr_array_shape(a)), kr_shape_text(s->shape));
    s->coils = kr_array_ref(a);
    return s->coils ? 0 : kr_error_code();
}

static int read_target(kr_scan *s, kr_h5 *f, const kr_source *src)
{
    if (!kr_h5_has(f, "target"))
        return 0;
    kr_scoped(array) a = NULL;
    if (kr_hdf5_read(&a, f, "target", src, target, 5, NULL))
        return kr_error_code();
    kr_scoped(array) first = kr_array_at(a, KR_MAP, 0);        /* the second map's image holds what folds over */
    kr_scoped(array) packed = kr_array_packed(first);
    if (!packed)
        return kr_error_code();
    if (!fits(s, packed))
        return kr_fail(KR_ESHAPE, "a target of %s does not fit k-space of %s", kr_shape_text(kr_array_shape(a)), kr_shape_text(s->shape));
    s->reference = kr_image_new(packed, s->geom, s->meta);
    return s->reference ? 0 : kr_error_code();
}

static int fill(kr_scan *s, kr_h5 *f, const kr_source *src, const kr_read *how)
{
    kr_scoped(h5_set) set = kr_h5_set_open(f, "kspace");
    int order[KR_H5_DIMS];
    const kr_source plain = { .path = src->path };
    if (!set)
        return kr_error_code();
    if (set->kind != KR_H5_COMPLEX || set->dims != 5)
        return kr_fail(KR_EFORMAT, "kspace of %s is no SKM-TEA k-space; complex [x][ky][kz][echo][coil] is wanted", kr_lengths_text(set->n, set->dims));
    if (kr_set_axes(order, set, &plain, KR_NUMPY, kspace, 5))
        return kr_error_code();
    s->shape = kr_set_shape(set, order);
    s->in_image = KR_ON(KR_X);
    for (int a = 0; a < 3; a++)
        s->enc.encoded[a] = s->enc.recon[a] = s->shape.n[a] ? s->shape.n[a] : 1;
    if (kr_meta_set(s->meta, "dataset", "SKM-TEA") || note_rest(s, f, src->path))
        return kr_error_code();
    if (how->header_only)
        return 0;
    if (kr_set_read(&s->data, set, order, NULL) || read_maps(s, f, &plain))
        return kr_error_code();
    return read_target(s, f, &plain);
}

static int read(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)trace;
    if (src->axes)
        return kr_hdf5_scan(out, src);
    if (src->var && strcmp(src->var, "kspace"))
        return kr_fail(KR_EUSAGE, "the k-space of an SKM-TEA file is its dataset kspace; of another the axes must be named: FILE:%s@AXES", src->var);
    kr_scoped(h5) f = kr_h5_open(src->path);
    *out = f ? kr_scan_new() : NULL;
    return *out ? fill(*out, f, src, how) : kr_error_code();
}

static int read_array(kr_array **out, const kr_source *src)
{
    kr_scoped(h5) f = src->axes || !src->var ? NULL : kr_h5_open(src->path);
    if (!f)
        return src->axes || !src->var ? kr_hdf5_array(out, src) : kr_error_code();
    const int *usual = !strncmp(src->var, "masks/", 6) ? mask : !strcmp(src->var, "maps") ? maps : !strcmp(src->var, "kspace") ? kspace
                     : !strcmp(src->var, "target") ? target : !strncmp(src->var, "echo", 4) ? echo : NULL;
    return usual ? kr_hdf5_read(out, f, src->var, src, usual, usual == mask ? 2 : usual == echo ? 3 : 5, NULL) : kr_hdf5_array(out, src);
}

/* echo1 and echo2 become one image. */
static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) both = NULL;
    if (src->var)
        return read_array(&both, src) ? kr_error_code() : (*out = kr_image_new(both, NULL, NULL)) ? 0 : kr_error_code();
    kr_scoped(h5) f = kr_h5_open(src->path);
    for (long i = 0; i < 2; i++) {
        kr_scoped(array) a = NULL;
        char name[32];
        snprintf(name, sizeof name, "echo%ld", i + 1);
        if (!f || kr_hdf5_read(&a, f, name, src, echo, 3, NULL))
            return kr_error_code();
        kr_shape shape = kr_array_shape(a);
        shape.n[KR_ECHO] = 2;
        if (!both && !(both = kr_array_new(a->type, shape)))
            return kr_error_code();
        kr_scoped(array) part = kr_array_at(both, KR_ECHO, i);
        if (!part)
            return kr_error_code();
        if (a->type != both->type || !kr_shape_equal(kr_array_shape(part), kr_array_shape(a)))
            return kr_fail(KR_ESHAPE, "echo2 is %s, echo1 %s", kr_shape_text(kr_array_shape(a)), kr_shape_text(kr_array_shape(part)));
        kr_array_assign(part, a);
    }
    *out = kr_image_new(both, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

const kr_format kr_format_skmtea = { "skmtea", ".h5", "SKM-TEA k-space or images", probe, read, NULL, read_image, NULL, read_array, NULL, .raw = true };
