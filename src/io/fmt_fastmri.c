/* fmt_fastmri.c: fastMRI volumes (.h5): multi-coil and single-coil, train, val and test, and submissions.
 * In the file kspace is [slice][coil][readout][phase]: Kray's X (readout) is the last but one axis, and Y the last.
 * Source: facebookresearch/fastMRI, fastmri/data/mri_data.py and transforms.py. */
#include "h5sets.h"
#include "mrd_header.h"
#include <string.h>

static const int with_coils[] = { KR_SLICE, KR_COIL, KR_X, KR_Y }, without_coils[] = { KR_SLICE, KR_X, KR_Y },
                 with_averages[] = { KR_AVG, KR_SLICE, KR_COIL, KR_X, KR_Y },       /* fastMRI prostate, T2 */
                 picture[] = { KR_SLICE, KR_X, KR_Y };
static const char *const pictures[] = { "reconstruction", "reconstruction_rss", "reconstruction_esc" };

static const int *usual(int dims) { return dims == 3 ? without_coils : dims == 5 ? with_averages : with_coils; }

/* Real numbers whose last axis has length 2: real and imaginary part. */
static bool apart(const kr_h5_set *s) { return s->kind == KR_H5_REAL && s->dims >= 4 && s->dims <= 6 && s->n[s->dims - 1] == 2; }

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    if (!kr_h5_is(head, bytes) || !memcmp(head, "MATLAB", 6))
        return 0;
    kr_scoped(h5) f = kr_h5_open(path);
    if (!f)
        return kr_error_clear(), 0;
    bool image = false, skmtea = kr_h5_has(f, "maps") || kr_h5_has(f, "target");
    for (int i = 0; i < 3; i++)
        image |= kr_h5_has(f, pictures[i]);
    int sure = image ? 70 : 0;
    if (kr_h5_has(f, "kspace")) {
        kr_scoped(h5_set) s = kr_h5_set_open(f, "kspace");
        if (s && apart(s) && kr_h5_set_reim(s, s->dims - 1))
            return kr_error_clear(), 0;
        bool fits = s && s->kind == KR_H5_COMPLEX && (s->dims == 3 || s->dims == 4 || (s->dims == 5 && !skmtea));
        kr_auto char *acquisition = kr_h5_attr_text(f, "/", "acquisition");
        bool signs = image || acquisition || kr_h5_has(f, "ismrmrd_header") || kr_h5_has(f, "mask");
        bool other = fits && s->dims == 4 && (s->n[1] > s->n[2] || s->n[1] > s->n[3]);     /* more coils than lines: axes in another order */
        sure = fits && signs ? 90 : fits && s->dims < 5 && !other ? 50 : !s && signs ? 80 : 0;
    }
    kr_error_clear();
    return sure;
}

static int read_meta(kr_meta *meta, kr_h5 *f)
{
    static const char *const names[] = { "acquisition", "patient_id", "max", "norm", "acceleration", "num_low_frequency" };
    double v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kr_auto char *t = NULL;
        if (kr_h5_attr_number(f, "/", names[i], &v) ? kr_meta_set(meta, names[i], "%.17g", v)
            : (t = kr_h5_attr_text(f, "/", names[i])) ? kr_meta_set(meta, names[i], "%s", t) : 0)
            return kr_error_code();
    }
    return kr_meta_set(meta, "dataset", "fastMRI");
}

static int read_header(kr_scan *s, kr_h5 *f)
{
    if (!kr_h5_has(f, "ismrmrd_header"))
        return 0;
    kr_auto char *xml = kr_h5_text(f, "ismrmrd_header");
    return xml ? kr_mrd_header_parse(s, xml) : kr_error_code();
}

/* Slices lie side by side; the file does not say where, or how far apart. */
static int slices_of(kr_scan *s, long slices)
{
    kr_geom *g = kr_geom_new(slices);
    if (!g)
        return kr_error_code();
    memcpy(g->fov_mm, s->geom->fov_mm, sizeof g->fov_mm);
    kr_geom_unref(&s->geom);
    s->geom = g;
    return 0;
}

static long length(const kr_shape *shape, int axis) { return shape->n[axis] ? shape->n[axis] : 1; }

/* The matrix that is wanted: that of the file's own target, else of the header, but no larger than what was measured: where
 * phase encoding is narrower (the FLAIR files of width 203), the picture is cut to that width in both directions, as
 * fastMRI does. The voxels keep their size. */
static void matrix_of(kr_scan *s, const kr_shape *target)
{
    kr_encoding *e = &s->enc;
    long n[2] = { length(&s->shape, KR_X), length(&s->shape, KR_Y) };
    for (int a = 0; a < 2; a++) {
        if (e->encoded[a] && e->encoded[a] != n[a])
            kr_scan_note(s, "the header announces %ld points along %s, the file holds %ld", e->encoded[a], kr_axis_name(a), n[a]);
        if (e->encoded[a] > 0)
            e->encoded_mm[a] *= (double)n[a] / (double)e->encoded[a];
        e->encoded[a] = n[a];
    }
    long want[2] = { e->recon[0], e->recon[1] };
    for (int a = 0; a < 2; a++)
        want[a] = target->n[a] ? target->n[a] : want[a];
    if (want[0] > 0 && want[1] > n[1])
        want[0] = want[1] = n[1];
    for (int a = 0; a < 2; a++) {
        if (want[a] < 1 || want[a] > n[a])
            want[a] = n[a];
        if (e->recon[a] > 0)
            e->recon_mm[a] *= (double)want[a] / (double)e->recon[a];
        double mm = e->encoded_mm[a] / (double)n[a];                 /* a matrix larger than what was measured, in the same field of view: voxels stay as measured */
        if (e->recon_mm[a] > 0 && mm > 0 && e->recon_mm[a] < 0.95 * mm * (double)want[a])
            e->recon_mm[a] = mm * (double)want[a];
        e->recon[a] = want[a];
    }
    memcpy(s->geom->fov_mm, e->recon_mm, sizeof e->recon_mm);
}

/* Columns of zeros at both sides: the centre of k-space is put in the middle of a wider matrix. */
static int padding_of(kr_scan *s, long *left, long *right)
{
    long n = length(&s->shape, KR_Y);
    *left = 0;
    *right = n;
    if (!s->enc.limit[1].known)
        return 0;
    long l = n / 2 - s->enc.limit[1].centre, r = l + s->enc.limit[1].max + 1;
    if (l < 0 || r > n || l >= r) {
        kr_scan_note(s, "the header puts the measured columns at %ld to %ld of %ld; that is ignored", l, r - 1, n);
        return 0;
    }
    *left = l;
    *right = r;
    return kr_meta_set(s->meta, "padding_left", "%ld", l) || kr_meta_set(s->meta, "padding_right", "%ld", r) ? kr_error_code() : 0;
}

static int read_mask(kr_scan *s, kr_h5 *f)
{
    long left, right, n = length(&s->shape, KR_Y);
    if (padding_of(s, &left, &right))
        return kr_error_code();
    bool has = kr_h5_has(f, "mask");
    if (!has && left == 0 && right == n)
        return 0;
    if (has) {
        kr_scoped(h5_set) set = kr_h5_set_open(f, "mask");
        int order[KR_H5_DIMS];
        if (!set)
            return kr_error_code();
        if (set->kind != KR_H5_REAL || set->count != n)
            return kr_fail(KR_ESHAPE, "a mask of %s numbers is given for %ld columns of k-space", kr_lengths_text(set->n, set->dims), n);
        for (int i = 0; i < set->dims; i++)
            order[i] = set->n[i] > 1 ? KR_Y : KR_AXES;
        if (kr_h5_read(&s->mask, set, order, NULL, NULL))
            return kr_error_code();
    } else if ((s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = n))))
        kr_fill(s->mask, 1);
    for (long y = 0; s->mask && y < n; y++)
        KR_R(s->mask)[y] = KR_R(s->mask)[y] > 0 && y >= left && y < right;
    return s->mask ? 0 : kr_error_code();
}

/* The target: of the emulated single coil for single-coil files, else the root of the sum of squares. */
static const char *target_name(kr_h5 *f, bool coils)
{
    bool rss = kr_h5_has(f, pictures[1]), esc = kr_h5_has(f, pictures[2]);
    return esc && (!coils || !rss) ? pictures[2] : rss ? pictures[1] : NULL;
}

static bool single_coil(kr_h5 *f)
{
    kr_scoped(h5_set) s = kr_h5_has(f, "kspace") ? kr_h5_set_open(f, "kspace") : NULL;
    return s && s->dims - apart(s) == 3;
}

static int target_shape(kr_shape *shape, kr_h5 *f, const char *name, const kr_source *src)
{
    kr_scoped(h5_set) s = kr_h5_set_open(f, name);
    int order[KR_H5_DIMS];
    if (!s || kr_set_axes(order, s, src, KR_NUMPY, picture, 3))
        return kr_error_code();
    *shape = kr_set_shape(s, order);
    return 0;
}

static int read_reference(kr_scan *s, kr_h5 *f, const char *name, const kr_source *src, const kr_read *how)
{
    kr_scoped(array) a = NULL;
    if (kr_hdf5_read(&a, f, name, src, picture, 3, how))
        return kr_fail_in("%s", name);
    if (a->type != KR_R32)
        return kr_fail(KR_EFORMAT, "%s is complex; magnitudes are wanted", name);
    if (a->n[KR_SLICE] != length(&s->shape, KR_SLICE)) {
        kr_scan_note(s, "%s has %ld slices where k-space has %ld; it is ignored", name, a->n[KR_SLICE], length(&s->shape, KR_SLICE));
        return 0;
    }
    s->reference = kr_image_new(a, s->geom, s->meta);
    return s->reference ? 0 : kr_error_code();
}

static int fill(kr_scan *s, kr_h5 *f, const kr_source *src, const kr_read *how)
{
    const char *name = src->var ? src->var : "kspace";
    kr_scoped(h5_set) set = kr_h5_set_open(f, name);
    if (!set)
        return kr_error_code();
    if (!src->axes && apart(set) && kr_h5_set_reim(set, set->dims - 1))
        return kr_error_code();
    int named[KR_AXES];
    if (src->axes && kr_axes_parse(src->axes, named) < 0)
        return kr_error_code();
    if (kr_axes_reim(src->axes) < 0 && (set->kind != KR_H5_COMPLEX || set->dims < 3 || set->dims > 5))
        return kr_fail(KR_EFORMAT, "%s of %s%s is no fastMRI k-space; complex numbers [slice][coil][readout][phase] are wanted", name,
                       kr_lengths_text(set->n, set->dims), set->kind == KR_H5_COMPLEX ? "" : ", not complex,");
    int order[KR_H5_DIMS];
    if (kr_set_axes(order, set, src, KR_NUMPY, usual(set->dims), 5))
        return kr_error_code();
    s->shape = kr_set_shape(set, order);
    if (!src->axes && set->dims == 3 && !kr_h5_has(f, "ismrmrd_header"))
        kr_scan_note(s, "warning: %s has three axes (%s), and no header says what they are: slices of one coil are taken; if the first are coils, name them: %s:%s@coil,x,y", name,
                     kr_lengths_text(set->n, 3), src->path, name);
    if (kr_slices_window(&s->shape, how) || read_header(s, f) || read_meta(s->meta, f) || slices_of(s, s->shape.n[KR_SLICE]))
        return kr_error_code();
    const kr_source plain = { .path = src->path };
    const char *target = target_name(f, set->dims > 3);
    kr_shape wanted = { { 0 } };
    if (target && target_shape(&wanted, f, target, &plain))
        return kr_error_code();
    matrix_of(s, &wanted);
    if (read_mask(s, f))
        return kr_error_code();
    if (how->header_only)
        return 0;
    if (kr_set_read(&s->data, set, order, how))
        return kr_error_code();
    return target ? read_reference(s, f, target, &plain, how) : 0;
}

static int read(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)trace;
    kr_scoped(h5) f = kr_h5_open(src->path);
    *out = f ? kr_scan_new() : NULL;
    return *out ? fill(*out, f, src, how) : kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(h5) f = kr_h5_open(src->path);
    kr_scoped(scan) s = f ? kr_scan_new() : NULL;              /* for the header alone */
    if (!s)
        return kr_error_code();
    const char *name = src->var ? src->var : kr_h5_has(f, pictures[0]) ? pictures[0] : target_name(f, !single_coil(f));
    if (!name)
        return kr_fail(KR_EFORMAT, "there is no image inside: no reconstruction, reconstruction_rss or reconstruction_esc");
    kr_scoped(array) a = NULL;
    if (kr_hdf5_read(&a, f, name, src, picture, 3, NULL) || read_header(s, f) || slices_of(s, a->n[KR_SLICE])
        || kr_h5_attrs(s->meta, f, "/"))
        return kr_error_code();
    for (int k = 0; k < 2; k++)                                /* the header's voxels, as many as there are */
        if (s->enc.recon[k] > 0)
            s->geom->fov_mm[k] *= (double)a->n[k] / (double)s->enc.recon[k];
    *out = kr_image_new(a, s->geom, s->meta);
    return *out ? 0 : kr_error_code();
}

static int read_array(kr_array **out, const kr_source *src)
{
    static const int columns[] = { KR_Y };
    kr_scoped(h5) f = src->axes ? NULL : kr_h5_open(src->path);
    if (!f)
        return src->axes ? kr_hdf5_array(out, src) : kr_error_code();
    const char *name = src->var ? src->var : kr_h5_has(f, "mask") ? "mask" : "kspace";
    kr_scoped(h5_set) set = kr_h5_set_open(f, name);
    if (!set)
        return kr_error_code();
    return !strcmp(name, "mask") && set->dims == 1 ? kr_hdf5_read(out, f, name, src, columns, 1, NULL)
         : !strncmp(name, pictures[0], strlen(pictures[0])) ? kr_hdf5_read(out, f, name, src, picture, 3, NULL)
         : !strcmp(name, "kspace") ? kr_hdf5_read(out, f, name, src, usual(set->dims), 5, NULL)
         : kr_hdf5_array(out, src);
}

/* ---- Writing ---- */
/* fastMRI's loaders take `mask` as the sign of test data: it is written where lines between the paddings are missing. */
static int write_mask(kr_h5 *f, const kr_scan *s)
{
    const kr_array *m = s->mask;
    static const int columns[] = { KR_Y };
    if (!m || kr_count(kr_shape_without(kr_array_shape(m), KR_ON(KR_Y))) != 1)
        return 0;
    long left = (long)kr_meta_number(s->meta, "padding_left", 0), right = (long)kr_meta_number(s->meta, "padding_right", (double)m->n[KR_Y]);
    bool missing = false;
    for (long y = left > 0 ? left : 0; y < right && y < m->n[KR_Y]; y++)
        missing |= KR_R(m)[y * m->step[KR_Y]] <= 0;
    return missing ? kr_h5_write(f, "mask", m, columns, 1, "r", "i") : 0;
}

static int write_attributes(kr_h5 *f, const kr_meta *meta)
{
    static const char *const text[] = { "acquisition", "patient_id" }, *const number[] = { "max", "norm", "acceleration", "num_low_frequency" };
    for (int i = 0; i < 2; i++)
        if (kr_meta_get(meta, text[i]) && kr_h5_put_text(f, "/", text[i], kr_meta_get(meta, text[i])))
            return kr_error_code();
    for (int i = 0; i < 4; i++)
        if (kr_meta_get(meta, number[i]) && kr_h5_put_number(f, "/", number[i], kr_meta_number(meta, number[i], 0)))
            return kr_error_code();
    return 0;
}

static int write_target(kr_h5 *f, const char *name, const kr_image *im)
{
    kr_scoped(image) magnitude = kr_image_magnitude(im);
    return magnitude ? kr_h5_write(f, name, magnitude->data, picture, 3, "r", "i") : kr_error_code();
}

static int write(const kr_scan *s, const char *path)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data to write");
    if (s->in_image || s->traj)
        return kr_fail(KR_ESHAPE, "fastMRI files hold Cartesian k-space alone; these data are %s", s->traj ? "not Cartesian" : "partly in image space");
    if (s->calib)
        return kr_fail(KR_ESHAPE, "fastMRI files have no place for separate calibration lines; ISMRMRD has");
    bool single = s->data->n[KR_COIL] == 1, averages = s->data->n[KR_AVG] > 1;
    kr_auto char *xml = kr_mrd_header_write(s);
    kr_scoped(h5) f = xml ? kr_h5_create(path, 0) : NULL;
    if (!f || kr_h5_write(f, "kspace", s->data, averages ? with_averages : single ? without_coils : with_coils, averages ? 5 : single ? 3 : 4, "r", "i")
        || kr_h5_write_text(f, "ismrmrd_header", xml) || write_mask(f, s) || write_attributes(f, s->meta)
        || (s->reference && write_target(f, single ? pictures[2] : pictures[1], s->reference)))
        return kr_error_code();
    return kr_h5_close(&f);
}

static int write_image(const kr_image *im, const char *path)
{
    kr_scoped(image) magnitude = kr_image_magnitude(im);
    kr_scoped(array) a = !magnitude ? NULL : magnitude->data->n[KR_SLICE] == 1 ? kr_array_rename(magnitude->data, KR_Z, KR_SLICE)
                                                                            : kr_array_ref(magnitude->data);
    kr_scoped(h5) f = a ? kr_h5_create(path, 0) : NULL;
    if (!f || kr_h5_write(f, "reconstruction", a, picture, 3, "r", "i") || kr_h5_put_meta(f, "/", im->meta))
        return kr_error_code();
    return kr_h5_close(&f);
}

const kr_format kr_format_fastmri = { "fastmri", ".h5", "fastMRI volume or submission", probe, read, write, read_image, write_image, read_array, NULL, true,
    .raw = true, .cropped = true, .dataset = "fastMRI" };
