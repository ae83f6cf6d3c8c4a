/* fmt_cmrxrecon.c: the cardiac challenges CMRxRecon 2023, 2024 and 2025: k-space in MATLAB v7.3 files, masks in files
 * beside them, and the small images that are ranked.
 * Source: CmrxRecon/CMRxRecon, CMRxRecon2024, CMRxRecon2025: ChallengeDataFormat, CMRxReconDemo/run4Ranking.m. */
#include "h5sets.h"
#include "kray/metric.h"
#include "mat5.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* MATLAB's order. What follows the last axis longer than 1 is not in the file. */
static const int multi[] = { KR_X, KR_Y, KR_COIL, KR_SLICE, KR_TIME }, single[] = { KR_X, KR_Y, KR_SLICE, KR_TIME },
                 mask_axes[] = { KR_X, KR_Y, KR_TIME };
static const char ranking[] = "img4ranking";

/* kspace_full, kspace_sub04, kspace_single_full, kspace_single_sub10, kus, kspace; mask, mask04, ... */
static bool is_kspace(const char *name) { return !strncmp(name, "kspace", 6) || !strcmp(name, "kus"); }
static bool is_mask(const char *name) { return !strncmp(name, "mask", 4) && strspn(name + 4, "0123456789") == strlen(name + 4); }

struct found { char kspace[64], mask[64], image[64]; int others; };

static int note(void *self, const char *name, bool group)
{
    struct found *f = self;
    char *to = group ? NULL : is_kspace(name) ? f->kspace : is_mask(name) ? f->mask : !strcmp(name, ranking) ? f->image : NULL;
    if (to && !*to)
        snprintf(to, sizeof f->kspace, "%s", name);
    f->others += !to && *name != '#';
    return 0;
}

static int note5(void *self, const kr_mat_var *v) { return note(self, v->name, !v->numeric); }

static bool is_mat5(const unsigned char *head, size_t bytes) { return bytes >= 128 && !memcmp(head + 124, "\0\1IM", 4); }

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    struct found found = { .kspace = "" };
    if (is_mat5(head, bytes)) {                    /* MATLAB's own `save` writes ranking files so */
        int e = kr_mat5_list(path, note5, &found);
        kr_error_clear();
        return !e && *found.image ? 85 : 0;
    }
    size_t n = strlen(path);
    bool mat = n > 4 && !strcasecmp(path + n - 4, ".mat") && bytes >= 8 && !memcmp(head, "\x89HDF\r\n\x1a\n", 8);          /* written again by h5py */
    if (!mat && !kr_matlab_is73(head, bytes))
        return 0;
    kr_scoped(h5) f = kr_h5_open(path);
    if (!f || kr_h5_list(f, "/", note, &found))
        return kr_error_clear(), 0;
    kr_scoped(h5_set) s = *found.kspace ? kr_h5_set_open(f, found.kspace) : NULL;
    int sure = s && s->kind == KR_H5_COMPLEX && s->dims >= 2 && s->dims <= 5 ? 90 : *found.image ? 85 : *found.mask && !found.others ? 80 : 0;
    kr_error_clear();
    return sure;
}

/* ---- What the place of the file tells ---- */
static const char *const modalities[] = { "BlackBlood", "Cine", "Flow2d", "LGE", "Mapping", "Perfusion", "T1rho", "T1w", "T2w", "Aorta", "Tagging" };

/* `theirs`: the axes are the challenge's. Only then are images of it cut for its ranking. */
static int read_meta(kr_scan *s, const char *path, const char *variable, bool theirs)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *modality = NULL;
    for (size_t i = 0; !modality && i < sizeof modalities / sizeof *modalities; i++) {
        char folder[32];
        snprintf(folder, sizeof folder, "/%s/", modalities[i]);
        if (strcasestr(path, folder))
            modality = modalities[i];
    }
    for (size_t i = 0; !modality && i < sizeof modalities / sizeof *modalities; i++)
        if (!strncasecmp(name, modalities[i], strlen(modalities[i])))
            modality = modalities[i];
    if ((theirs && kr_meta_set(s->meta, "dataset", "CMRxRecon")) || kr_meta_set(s->meta, "name", "%s", name) || kr_meta_set(s->meta, "variable", "%s", variable)
        || (modality && kr_meta_set(s->meta, "modality", "%s", modality)))
        return kr_error_code();
    return 0;
}

/* path with the last `what` in it replaced by `by`; NULL if it is not in it, or there is no such file. */
static char *neighbour(const char *path, const char *what, const char *by, const char *what2, const char *by2)
{
    const char *at = NULL;
    for (const char *p = path; (p = strstr(p, what)); p++)
        at = p;
    kr_auto char *p = at ? kr_strf("%.*s%s%s", (int)(at - path), path, by, at + strlen(what)) : NULL;
    if (!p)
        return NULL;
    char *out = what2 ? neighbour(p, what2, by2, NULL, NULL) : NULL;
    if (!out && !what2 && !access(p, R_OK))
        out = kr_strdup(p);
    return out;
}

/* 2023: cine_sax.mat and cine_sax_mask.mat in one folder. 2024 and 2025: UnderSample_Task1/.../cine_sax_kus_Uniform8.mat and
 * Mask_Task1/.../cine_sax_mask_Uniform8.mat; also found when somebody put both into one folder. */
static char *mask_beside(const char *path)
{
    char *p = neighbour(path, "_kus_", "_mask_", "UnderSample_", "Mask_");
    if (!p)
        p = neighbour(path, "_kus_", "_mask_", NULL, NULL);
    if (!p)
        p = neighbour(path, ".mat", "_mask.mat", NULL, NULL);
    return p;
}

/* A mask that does not change along X (or TIME) is kept once: methods then know that the readout is complete. */
static int thin(kr_array **mask, int axis)
{
    kr_scoped(array) first = kr_array_at(*mask, axis, 0);
    kr_scoped(array) spread = first ? kr_array_spread(first, kr_array_shape(*mask)) : NULL;
    kr_scoped(array) difference = spread ? kr_array_copy(spread) : NULL;
    if (!difference)
        return kr_error_code();
    kr_axpy(difference, -1, *mask);
    if (kr_max_abs(difference) > 0)
        return 0;
    kr_array *once = kr_array_copy(first);
    if (!once)
        return kr_error_code();
    kr_array_unref(mask);
    *mask = once;
    return 0;
}

static int mask_from(kr_scan *s, kr_h5 *f, const char *name, const char *path)
{
    kr_scoped(h5_set) set = kr_matlab_open(f, name);
    int order[KR_H5_DIMS];
    const kr_source plain = { .path = (char *)path };
    if (!set || kr_set_axes(order, set, &plain, KR_MATLAB, mask_axes, 3))
        return kr_error_code();
    kr_shape shape = kr_set_shape(set, order);
    static const int axes[] = { KR_X, KR_Y, KR_TIME };
    for (int i = 0; i < 3; i++) {
        long n = shape.n[axes[i]], wanted = s->shape.n[axes[i]];
        if (n > 1 && n != (wanted ? wanted : 1)) {
            kr_scan_note(s, "the mask in %s is %s, k-space %s; it is ignored", path, kr_shape_text(shape), kr_shape_text(s->shape));
            return 0;
        }
    }
    if (set->kind != KR_H5_REAL) {
        kr_scan_note(s, "the mask in %s is complex; it is ignored", path);
        return 0;
    }
    if (kr_h5_read(&s->mask, set, order, NULL, NULL) || thin(&s->mask, KR_X) || thin(&s->mask, KR_TIME))
        return kr_error_code();
    for (long i = 0; i < kr_count(kr_array_shape(s->mask)); i++)
        KR_R(s->mask)[i] = KR_R(s->mask)[i] != 0;
    return 0;
}

static int read_mask(kr_scan *s, kr_h5 *f, const char *own, const char *path)
{
    if (*own)
        return mask_from(s, f, own, path);
    kr_auto char *beside = mask_beside(path);
    if (!beside)
        return 0;
    struct found found = { .kspace = "" };
    kr_scoped(h5) g = kr_h5_open(beside);
    if (!g || kr_h5_list(g, "/", note, &found) || (*found.mask && mask_from(s, g, found.mask, beside)))
        return kr_fail_in("its mask %s", beside);
    return 0;
}

static int fill(kr_scan *s, kr_h5 *f, const kr_source *src, const kr_read *how)
{
    struct found found = { .kspace = "" };
    if (kr_h5_list(f, "/", note, &found))
        return kr_error_code();
    const char *name = src->var ? src->var : found.kspace;
    if (!*name)
        return kr_fail(KR_EFORMAT, *found.image ? "the file holds an image (img4ranking), no k-space" : *found.mask ? "the file holds a mask, no k-space"
                       : "there is no k-space: kspace_full, kspace_sub04, ..., kus or kspace is wanted");
    kr_scoped(h5_set) set = kr_matlab_open(f, name);
    if (!set)
        return kr_error_code();
    bool one_coil = !strncmp(name, "kspace_single", 13) || strcasestr(src->path, "/SingleCoil/");
    int order[KR_H5_DIMS];
    if (set->kind != KR_H5_COMPLEX || set->dims > (one_coil ? 4 : 5))
        return kr_fail(KR_EFORMAT, "'%s' of %s%s is no CMRxRecon k-space; complex (kx, ky, %sslice, time) is wanted", name,
                       kr_lengths_text(set->n, set->dims), set->kind == KR_H5_COMPLEX ? "" : ", not complex,", one_coil ? "" : "coil, ");
    if (kr_set_axes(order, set, src, KR_MATLAB, one_coil ? single : multi, 5))
        return kr_error_code();
    s->shape = kr_set_shape(set, order);
    if (kr_slices_window(&s->shape, how) || read_meta(s, src->path, name, src->axes == NULL))
        return kr_error_code();
    for (int a = 0; a < 3; a++)
        s->enc.encoded[a] = s->enc.recon[a] = s->shape.n[a] ? s->shape.n[a] : 1;
    kr_geom_unref(&s->geom);
    if (!(s->geom = kr_geom_new(s->shape.n[KR_SLICE])) || read_mask(s, f, found.mask, src->path))
        return kr_error_code();
    return how->header_only ? 0 : kr_set_read(&s->data, set, order, how);
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)trace;
    kr_scoped(h5) f = kr_h5_open(src->path);
    *out = f ? kr_scan_new() : NULL;
    return *out ? fill(*out, f, src, how) : kr_error_code();
}

/* ---- Arrays and images that are in the file ---- */
static const kr_format *plain(void) { return kr_format_named("mat"); }

static int read_array(kr_array **out, const kr_source *src)
{
    struct found found = { .kspace = "" };
    kr_scoped(h5) f = src->axes ? NULL : kr_h5_open(src->path);
    if (!f)                                        /* axes are named, or it is no HDF5 */
        return kr_error_clear(), plain()->read_array(out, src);
    if (kr_h5_list(f, "/", note, &found))
        return kr_error_code();
    const char *name = src->var ? src->var : *found.mask ? found.mask : *found.kspace ? found.kspace : found.image;
    if (!is_mask(name) && !is_kspace(name) && strcmp(name, ranking))
        return plain()->read_array(out, src);
    kr_scoped(h5_set) set = kr_matlab_open(f, name);
    int order[KR_H5_DIMS];
    if (!set || kr_set_axes(order, set, src, KR_MATLAB, is_mask(name) ? mask_axes : is_kspace(name) && !strstr(name, "single") ? multi : single,
                            is_mask(name) ? 3 : is_kspace(name) && !strstr(name, "single") ? 5 : 4))
        return kr_error_code();
    return kr_set_read(out, set, order, NULL);
}

/* img4ranking of a MATLAB v5 file: plain arrays of up to three axes come without names. */
static int read_image5(kr_array **out, const kr_source *src)
{
    static const char *const names[] = { "x,y,slice", "x,y,slice,time" };
    for (int i = 0; i < 2; i++) {
        kr_error_clear();
        if (!plain()->read_array(out, &(kr_source){ .path = src->path, .var = src->var, .axes = (char *)names[i] }))
            return 0;
    }
    return kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    const kr_source named = { .path = src->path, .var = src->var ? src->var : (char *)ranking, .axes = src->axes };
    kr_scoped(array) a = NULL;
    kr_scoped(meta) meta = kr_meta_new();
    kr_scoped(h5) f = kr_h5_open(src->path);
    if (!meta || (f || src->axes ? read_array(&a, &named) : read_image5(&a, &named)))
        return kr_error_code();
    if ((f && kr_h5_has(f, named.var) && kr_h5_attrs(meta, f, named.var)) || kr_meta_set(meta, "dataset", "CMRxRecon"))
        return kr_error_code();
    *out = kr_image_new(a, NULL, meta);
    return *out ? 0 : kr_error_code();
}

/* ---- Ranking images ---- */
/* Mappings are ranked with all their weightings, all else with its first three frames. */
static bool all_frames(const kr_meta *meta)
{
    static const char *const maps[] = { "T1map", "T2map", "T2smap", "T1rho" };
    const char *name = kr_meta_get(meta, "name"), *modality = kr_meta_get(meta, "modality");
    for (int i = 0; i < 4; i++)
        if (name && strstr(name, maps[i]))
            return true;
    return modality && (!strcmp(modality, "Mapping") || !strcmp(modality, "T1rho"));
}

kr_image *kr_cmrxrecon_ranking(const kr_image *im)
{
    kr_scoped(image) magnitude = kr_image_magnitude(im);
    kr_scoped(array) a = magnitude ? kr_rss(magnitude->data, KR_COIL) : NULL;
    kr_scoped(array) middle = a ? kr_array_ref(a) : NULL;
    if (!middle || kr_crop_ranking(&middle, all_frames(im->meta)))
        return NULL;
    kr_scoped(array) out = kr_array_packed(middle);
    kr_image *r = out ? kr_image_new(out, NULL, im->meta) : NULL;
    for (int k = 0; r && k < 3; k++)
        r->geom->fov_mm[k] = im->geom->fov_mm[k] * (k < 2 ? (double)out->n[k] / (double)a->n[k] : 1);
    return r;
}

static int write_image(const kr_image *im, const char *path)
{
    kr_scoped(image) r = kr_cmrxrecon_ranking(im);
    kr_scoped(h5) f = r ? kr_matlab_create(path) : NULL;
    if (!f || kr_matlab_write(f, ranking, r->data, single, 4) || kr_h5_put_meta(f, ranking, im->meta))
        return kr_error_code();
    return kr_matlab_close(&f, path);
}

/* ---- Raw data ---- */
static int write_scan(const kr_scan *s, const char *path)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data to write");
    if (s->in_image || s->traj || s->calib)
        return kr_fail(KR_ESHAPE, "CMRxRecon files hold Cartesian k-space alone; these data %s",
                       s->traj ? "are not Cartesian" : s->calib ? "have separate calibration lines" : "are partly in image space");
    const char *was = kr_meta_get(s->meta, "variable"), *name = was && is_kspace(was) ? was : s->mask ? "kus" : "kspace_full";
    bool one_coil = !strncmp(name, "kspace_single", 13) && s->data->n[KR_COIL] == 1;
    if (!one_coil && !strncmp(name, "kspace_single", 13))
        name = s->mask ? "kus" : "kspace_full";
    kr_scoped(array) mask = NULL;
    if (s->mask) {                                 /* written in full along X and Y, as theirs are */
        kr_shape shape = kr_array_shape(s->mask);
        shape.n[KR_X] = s->data->n[KR_X];
        shape.n[KR_Y] = s->data->n[KR_Y];
        if (!(mask = kr_array_spread(s->mask, shape)))
            return kr_error_code();
    }
    kr_scoped(h5) f = kr_matlab_create(path);
    if (!f || kr_matlab_write(f, name, s->data, one_coil ? single : multi, one_coil ? 4 : 5) || (mask && kr_matlab_write(f, "mask", mask, mask_axes, 3)))
        return kr_error_code();
    return kr_matlab_close(&f, path);
}

const kr_format kr_format_cmrxrecon = { "cmrxrecon", ".mat", "CMRxRecon k-space, mask or ranking image", probe, read_scan, write_scan, read_image,
                                        write_image, read_array, .raw = true, .aside = "_mask", .kept = kr_cmrxrecon_ranking };
