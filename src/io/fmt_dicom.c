/* fmt_dicom.c: DICOM images. Written: a folder NAME.dcm of MR or CT slices, a series for each volume. Read: such a folder, or any with one file per slice
 * or with enhanced (multi-frame) files. Source of attributes and of what each kind of image has to say: DICOM PS3.3 (MR, CT, Enhanced MR Image). */
#include "kray/io.h"
#include "affine.h"
#include "dcm.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FILES_MOST = 200000 };

/* ---- Files ---- */
static bool is_dicom(const char *path)
{
    char head[132] = "";
    FILE *f = fopen(path, "rb");
    bool good = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head + 128, "DICM", 4);
    if (f)
        fclose(f);
    return good;
}

struct files { char **path; long count, room; };

static void files_clear(struct files *f)
{
    for (long i = 0; i < f->count; i++)
        kr_free(f->path[i]);
    kr_free(f->path);
}

static int add_file(struct files *f, const char *path)
{
    if (f->count >= FILES_MOST)
        return kr_fail(KR_EFORMAT, "more than %d DICOM files", FILES_MOST);
    if (f->count == f->room) {
        char **p = kr_realloc(f->path, (size_t)f->count, (size_t)(f->room ? 2 * f->room : 64), sizeof *p);
        if (!p)
            return kr_error_code();
        f->path = p;
        f->room = f->room ? 2 * f->room : 64;
    }
    f->path[f->count] = kr_strdup(path);
    return f->path[f->count] ? (f->count++, 0) : kr_error_code();
}

/* The DICOM files of a folder, by name; `most`: enough. */
static int find(struct files *f, const char *folder, long most)
{
    struct dirent **name = NULL;
    int n = scandir(folder, &name, NULL, alphasort), e = 0;
    for (int i = 0; i < n; i++) {
        struct stat st;
        kr_auto char *path = name[i]->d_name[0] == '.' || e ? NULL : kr_strf("%s/%s", folder, name[i]->d_name);
        if (path && f->count < most && !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size > 132 && is_dicom(path))
            e = add_file(f, path);
        free(name[i]);
    }
    free(name);
    return e;
}

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    struct stat st;
    if (bytes >= 132)
        return !memcmp(head + 128, "DICM", 4) ? 100 : 0;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return 0;
    struct files f = { 0 };
    int e = find(&f, path, 1), sure = !e && f.count ? 90 : 0;
    if (e)
        kr_error_clear();
    files_clear(&f);
    return sure;
}

/* ---- Reading: what each frame says of itself ---- */
struct frame {
    long file, frame, rows, columns, instance, number[4];    /* number: acquisition, temporal position, echo, trigger: tells volumes apart */
    char series[68], kind[40], modality[20], protocol[68];
    double first[3], dir[6], spacing[2], thickness, te, along; /* first: centre of the first pixel, LPS mm; along the normal */
};

static long whole(kr_dcm *d, long frame, uint32_t tag, long otherwise)
{
    double v;
    return kr_dcm_numbers(&v, 1, d, frame, tag) == 1 && fabs(v) < 1e15 ? (long)v : otherwise;
}

static double normal(double n[3], const double dir[6])
{
    double length = 0;
    for (int k = 0; k < 3; k++) {
        n[k] = dir[(k + 1) % 3] * dir[3 + (k + 2) % 3] - dir[(k + 2) % 3] * dir[3 + (k + 1) % 3];
        length += n[k] * n[k];
    }
    return sqrt(length);
}

/* Reads one frame's notes. Returns 1 for an image, 0 for what is none (reports, scouts without a place). */
static int frame_read(struct frame *f, kr_dcm *d, long file, long frame)
{
    *f = (struct frame){ .file = file, .frame = frame, .rows = whole(d, frame, DCM_AT(0x28, 0x10), 0), .columns = whole(d, frame, DCM_AT(0x28, 0x11), 0) };
    double n[3], v;
    kr_dcm_text(f->series, sizeof f->series, d, frame, DCM_AT(0x20, 0xe));
    kr_dcm_text(f->modality, sizeof f->modality, d, frame, DCM_AT(8, 0x60));
    if (!kr_dcm_text(f->protocol, sizeof f->protocol, d, frame, DCM_AT(8, 0x103e)))
        kr_dcm_text(f->protocol, sizeof f->protocol, d, frame, DCM_AT(0x18, 0x1030));
    char kind[200];
    if (kr_dcm_text(kind, sizeof kind, d, frame, DCM_AT(8, 0x9007)) || kr_dcm_text(kind, sizeof kind, d, frame, DCM_AT(8, 8)))
        snprintf(f->kind, sizeof f->kind, "%.39s", kind);
    if (f->rows < 1 || f->columns < 1 || f->rows > 65535 || f->columns > 65535 || kr_dcm_numbers(f->first, 3, d, frame, DCM_AT(0x20, 0x32)) != 3
        || kr_dcm_numbers(f->dir, 6, d, frame, DCM_AT(0x20, 0x37)) != 6 || kr_dcm_numbers(f->spacing, 2, d, frame, DCM_AT(0x28, 0x30)) != 2
        || !(normal(n, f->dir) > 0.99) || !(f->spacing[0] > 0 && f->spacing[1] > 0))
        return 0;
    f->instance = whole(d, frame, DCM_AT(0x20, 0x13), 0);
    f->number[0] = whole(d, frame, DCM_AT(0x20, 0x12), 0);
    f->number[1] = whole(d, frame, DCM_AT(0x20, 0x100), whole(d, frame, DCM_AT(0x20, 0x9128), 0));
    f->number[2] = whole(d, frame, DCM_AT(0x18, 0x86), 0);
    f->number[3] = whole(d, frame, DCM_AT(0x18, 0x1060), 0);
    f->thickness = kr_dcm_numbers(&v, 1, d, frame, DCM_AT(0x18, 0x50)) == 1 ? v : 0;
    f->te = kr_dcm_numbers(&v, 1, d, frame, DCM_AT(0x18, 0x81)) == 1 || kr_dcm_numbers(&v, 1, d, frame, DCM_AT(0x18, 0x9082)) == 1 ? v : 0;
    for (int k = 0; k < 3; k++)
        f->along += n[k] * f->first[k];
    return 1;
}

struct study { struct files files; struct frame *frame; long frames, room; };

static void study_clear(struct study *s)
{
    files_clear(&s->files);
    kr_free(s->frame);
}

static int study_open(struct study *s, const char *path)
{
    struct stat st;
    *s = (struct study){ 0 };
    int e = !stat(path, &st) && S_ISDIR(st.st_mode) ? find(&s->files, path, FILES_MOST) : add_file(&s->files, path);
    for (long i = 0; !e && i < s->files.count; i++) {
        kr_dcm *d = kr_dcm_read(s->files.path[i], false);
        long n = d ? kr_dcm_frames(d) : 0;
        e = d ? 0 : kr_error_code();
        if (!e && n > s->room - s->frames) {
            long room = n < FILES_MOST ? s->frames + n + s->room + 64 : -1;
            struct frame *f = room > 0 ? kr_realloc(s->frame, (size_t)s->frames, (size_t)room, sizeof *f) : NULL;
            e = f ? 0 : room > 0 ? kr_error_code() : kr_fail(KR_EFORMAT, "%s: %ld frames are too many", s->files.path[i], n);
            s->frame = f ? f : s->frame;
            s->room = f ? room : s->room;
        }
        char kind[200];
        double samples;
        if (!e && kr_dcm_text(kind, sizeof kind, d, 0, DCM_AT(8, 8)) && strstr(kind, "MOSAIC"))
            e = kr_fail(KR_EREFUSED, "a mosaic of slices in one picture (Siemens), which is not taken apart: dcm2niix does that");
        if (!e && kr_dcm_numbers(&samples, 1, d, 0, DCM_AT(0x28, 2)) == 1 && samples != 1)
            e = kr_fail(KR_EREFUSED, "pictures in colour, and grey values are wanted");
        for (long k = 0; !e && k < n; k++)
            s->frames += frame_read(&s->frame[s->frames], d, i, k);
        kr_dcm_unref(&d);
    }
    return e ? e : s->frames ? 0 : kr_fail(KR_EFORMAT, "its DICOM files hold no images with a place in the patient");
}

/* ---- Series: frames of one size, direction and kind ---- */
static bool same_series(const struct frame *a, const struct frame *b)
{
    bool same = !strcmp(a->series, b->series) && a->rows == b->rows && a->columns == b->columns && !strcmp(a->kind, b->kind);
    for (int k = 0; k < 6; k++)
        same = same && fabs(a->dir[k] - b->dir[k]) < 1e-3;
    return same;
}

/* The frame that series i begins with, NULL behind the last; *count: its frames. */
static const struct frame *series_at(const struct study *s, long i, long *count)
{
    for (long k = 0; k < s->frames; k++) {
        bool first = true;
        for (long j = 0; j < k && first; j++)
            first = !same_series(&s->frame[j], &s->frame[k]);
        if (!first || i--)
            continue;
        *count = 0;
        for (long j = k; j < s->frames; j++)
            *count += same_series(&s->frame[j], &s->frame[k]);
        return &s->frame[k];
    }
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const struct frame *x = *(const struct frame *const *)a, *y = *(const struct frame *const *)b;
    if (fabs(x->along - y->along) > 1e-3)
        return x->along < y->along ? -1 : 1;
    if (x->te < y->te || x->te > y->te)
        return x->te < y->te ? -1 : 1;
    for (int k = 0; k < 4; k++)
        if (x->number[k] != y->number[k])
            return x->number[k] < y->number[k] ? -1 : 1;
    return x->instance < y->instance ? -1 : x->instance > y->instance ? 1 : x->frame < y->frame ? -1 : x->frame > y->frame;
}

static int note(kr_meta *m, kr_dcm *d, long frame, uint32_t tag, const char *key)
{
    char text[200];
    return kr_dcm_text(text, sizeof text, d, frame, tag) && *text ? kr_meta_set(m, key, "%s", text) : 0;
}

/* What says how the image was made; of the patient and the place nothing. */
static int notes(kr_meta *m, kr_dcm *d, long frame, const char *modality)
{
    static const struct { uint32_t tag; const char *key; } table[] = { { DCM_AT(0x18, 0x1030), "protocol" }, { DCM_AT(8, 0x103e), "series" }, { DCM_AT(0x18, 0x24), "sequence" },
        { DCM_AT(8, 0x70), "vendor" }, { DCM_AT(8, 0x1090), "model" }, { DCM_AT(0x18, 0x15), "body_part" }, { DCM_AT(0x18, 0x5100), "patient_position" },
        { DCM_AT(0x18, 0x80), "tr_ms" }, { DCM_AT(0x18, 0x82), "ti_ms" }, { DCM_AT(0x18, 0x1314), "flip_deg" }, { DCM_AT(0x18, 0x87), "field_T" } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (note(m, d, frame, table[i].tag, table[i].key))
            return kr_error_code();
    return strcmp(modality, "CT") ? 0 : kr_meta_set(m, "unit", "HU");
}

/* One frame's pixels times slope plus intercept. */
static int pixels(float *to, kr_dcm *d, const struct frame *f)
{
    double slope = 1, inter = 0, v;
    long n = f->rows * f->columns;
    if (kr_dcm_pixels(to, d, f->frame, n))
        return kr_error_code();
    if (kr_dcm_numbers(&v, 1, d, f->frame, DCM_AT(0x28, 0x1053)) == 1 && (v < 0 || v > 0))
        slope = v;
    if (kr_dcm_numbers(&v, 1, d, f->frame, DCM_AT(0x28, 0x1052)) == 1)
        inter = v;
    for (long i = 0; i < n; i++)
        to[i] = (float)(slope * (double)to[i] + inter);
    return 0;
}

static kr_geom *geom_read(const struct frame *const *at, long slices, long volumes)
{
    const struct frame *f = at[0];
    kr_geom *g = kr_geom_new(slices);
    double n[3];
    if (!g)
        return NULL;
    normal(n, f->dir);
    for (int k = 0; k < 3; k++) {
        g->read_dir[k] = f->dir[k];
        g->phase_dir[k] = f->dir[3 + k];
        g->slice_dir[k] = n[k];
    }
    g->fov_mm[0] = f->spacing[1] * (double)f->columns;
    g->fov_mm[1] = f->spacing[0] * (double)f->rows;
    g->spacing_mm = slices > 1 ? (at[(slices - 1) * volumes]->along - f->along) / (double)(slices - 1) : f->thickness;
    g->fov_mm[2] = f->thickness > 0 ? f->thickness : g->spacing_mm;
    g->known = true;
    for (long s = 0; s < slices; s++)
        for (int k = 0; k < 3; k++)
            g->position_mm[s][k] = at[s * volumes]->first[k] + (double)(f->columns / 2) * f->spacing[1] * f->dir[k] + (double)(f->rows / 2) * f->spacing[0] * f->dir[3 + k];
    return g;
}

static int series_read(kr_image **out, const struct study *s, const struct frame *like, long count)
{
    kr_auto const struct frame **at = kr_alloc((size_t)count, sizeof *at);
    long n = 0, slices = 1, volumes;
    if (!at)
        return kr_error_code();
    for (long k = 0; k < s->frames; k++)
        if (same_series(&s->frame[k], like))
            at[n++] = &s->frame[k];
    qsort(at, (size_t)n, sizeof *at, by_place);
    for (long k = 1; k < n; k++)
        slices += fabs(at[k]->along - at[k - 1]->along) > 1e-3;
    volumes = n / slices;
    for (long k = 0; k < n; k++)
        if (volumes * slices != n || fabs(at[k]->along - at[k / volumes * volumes]->along) > 1e-3)
            return kr_fail(KR_EFORMAT, "the series has %ld images at %ld places, not equally many at each: some are missing, or it holds several stacks", n, slices);
    bool echoes = volumes > 1 && fabs(at[0]->te - at[volumes - 1]->te) > 1e-6;
    kr_shape shape = KR_SHAPE([KR_X] = like->columns, [KR_Y] = like->rows, [KR_SLICE] = slices);
    shape.n[echoes ? KR_ECHO : KR_TIME] = volumes;
    kr_scoped(array) a = kr_array_new(KR_R32, shape);
    kr_scoped(geom) g = a ? geom_read(at, slices, volumes) : NULL;
    kr_scoped(meta) m = g ? kr_meta_new() : NULL;
    int e = m ? 0 : kr_error_code();
    kr_dcm *d = NULL;
    kr_text te = { 0 };
    for (long k = 0; !e && k < n; k++) {
        if (!d || k == 0 || at[k]->file != at[k - 1]->file) {
            kr_dcm_unref(&d);
            d = kr_dcm_read(s->files.path[at[k]->file], true);
            e = d ? 0 : kr_error_code();
        }
        e = e ? e : pixels(KR_R(a) + (k / volumes * a->step[KR_SLICE] + k % volumes * a->step[echoes ? KR_ECHO : KR_TIME]), d, at[k]);
        if (e)
            e = kr_fail_in("%s", s->files.path[at[k]->file]);
        e = e || k ? e : notes(m, d, at[k]->frame, at[k]->modality);
        if (k < volumes && at[k]->te > 0 && (echoes || !k))
            kr_text_add(&te, "%s%g", te.len ? " " : "", at[k]->te);
    }
    kr_dcm_unref(&d);
    e = e || !te.len ? e : kr_meta_set(m, "te_ms", "%s", te.s);
    kr_text_clear(&te);
    *out = e ? NULL : kr_image_new(a, g, m);
    return e ? e : *out ? 0 : kr_error_code();
}

static void series_line(kr_text *t, const struct frame *f, long i, long count)
{
    kr_text_add(t, "%ld (%s%s%s, %ld x %ld, %ld image%s)", i + 1, f->modality, *f->protocol ? " " : "", f->protocol, f->columns, f->rows, count, count == 1 ? "" : "s");
}

static int list(kr_text *out, const kr_source *src)
{
    struct study s;
    long count;
    int e = study_open(&s, src->path);
    for (long i = 0; !e && series_at(&s, i, &count); i++) {
        series_line(out, series_at(&s, i, &count), i, count);
        kr_text_add(out, "\n");
    }
    study_clear(&s);
    return e;
}

/* The series that FOLDER:N names, or the one of most images, the first of equal ones. */
static int read_image(kr_image **out, const kr_source *src)
{
    struct study s;
    kr_text others = { 0 };
    long count, most = 0, series = 0, chosen = -1;
    if (src->axes)
        return kr_fail(KR_EUSAGE, "the axes of DICOM images are known: @%s means nothing", src->axes);
    int e = study_open(&s, src->path);
    for (; !e && series_at(&s, series, &count); series++)
        if (count > most) {
            most = count;
            chosen = series;
        }
    if (!e && src->var) {
        char *end;
        long n = strtol(src->var, &end, 10);
        chosen = *end || end == src->var || n < 1 || n > series ? -1 : n - 1;
        e = chosen < 0 ? kr_fail(KR_EUSAGE, "there is no series '%s': they are counted from 1 to %ld (kray info lists them)", src->var, series) : 0;
    }
    for (long i = 0; !e && !src->var && i < series; i++)
        if (i != chosen) {
            kr_text_add(&others, "%s", others.len ? ", " : "");
            series_line(&others, series_at(&s, i, &count), i, count);
        }
    const struct frame *f = e ? NULL : series_at(&s, chosen, &count);
    e = e ? e : series_read(out, &s, f, count);
    if (!e && others.len && kr_meta_set((*out)->meta, "other_series", "%s", others.s))
        e = kr_error_code();
    if (e)
        kr_image_unref(out);
    kr_text_clear(&others);
    study_clear(&s);
    return e;
}

/* ---- Writing ---- */
/* 128 bits of the SHA-256 of some text as a UID below 2.25 (ISO/IEC 9834-8). */
static void uid_of(char to[65], const char *text)
{
    char hex[65], digits[40];
    __extension__ unsigned __int128 v = 0;
    int n = 0;
    kr_digest(text, strlen(text), hex);
    for (int i = 0; i < 32; i++)
        v = v << 4 | (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
    do
        digits[n++] = (char)('0' + (int)(v % 10));
    while (v /= 10);
    char *p = to + sprintf(to, "2.25.");
    while (n)
        *p++ = digits[--n];
    *p = 0;
}

/* Decimal strings have at most 16 characters. */
static const char *decimal(char room[32], double v)
{
    for (int digits = 12; digits > 1; digits--)
        if (snprintf(room, 32, "%.*g", digits, v) <= 16)
            break;
    return room;
}

struct scale { double slope, inter; bool sign, phase; int bits; const char *kind; };

struct out {
    const kr_image *im;
    kr_array *data;                          /* packed {X,Y,Z or SLICE, ...}                               */
    double affine[16];
    long n[3], volumes, axis[KR_AXES], axes; /* axes of the volumes                                        */
    bool ct, back;                           /* back: slices in spatial order run against the data's       */
    double step[3], dir[3][3], mm[3];
    char digest[65], study[65], frame[65];
    kr_text comment;
};

static bool is_ct(const kr_meta *m)
{
    const char *unit = kr_meta_get(m, "unit");
    return unit && (!strcmp(unit, "HU") || !strncmp(unit, "1/", 2));
}

/* A CT slice that does not say how it lies: as a patient on the back lies, seen from the feet (x to the left, y to the front, z to the head). */
static int place(struct out *o, const kr_image *im)
{
    kr_scoped(geom) g = kr_geom_copy(im->geom);
    if (!g)
        return kr_error_code();
    if (!g->known && !o->ct)
        return kr_fail(KR_EREFUSED, "the image does not say how it lies in the patient, which DICOM has to");
    if (!g->known) {
        const double dir[3][3] = { { 1, 0, 0 }, { 0, -1, 0 }, { 0, 0, 1 } };
        memcpy(g->read_dir, dir[0], sizeof dir[0]);
        memcpy(g->phase_dir, dir[1], sizeof dir[1]);
        memcpy(g->slice_dir, dir[2], sizeof dir[2]);
    }
    if (!(g->fov_mm[0] > 0 && g->fov_mm[1] > 0))
        return kr_fail(KR_EREFUSED, "the image does not say how large its voxels are, which DICOM has to");
    kr_image placed = { im->data, g, im->meta };
    if (kr_image_affine(&placed, o->affine))
        return kr_error_code();
    double n[3], at = 0;
    for (int d = 0; d < 3; d++) {
        double sum = 0;
        for (int k = 0; k < 3; k++)
            sum += o->affine[4 * k + d] * o->affine[4 * k + d];
        o->mm[d] = sqrt(sum);
        for (int k = 0; k < 3; k++)
            o->dir[d][k] = (k < 2 ? -1 : 1) * o->affine[4 * k + d] / o->mm[d];
    }
    double both[6] = { o->dir[0][0], o->dir[0][1], o->dir[0][2], o->dir[1][0], o->dir[1][1], o->dir[1][2] };
    if (!(normal(n, both) > 0.9999))
        return kr_fail(KR_EREFUSED, "x and y of the image are not at right angles, as DICOM's have to be: resample it (kray convert --resample)");
    for (int k = 0; k < 3; k++)
        at += n[k] * o->dir[2][k];
    o->back = at < 0;
    return 0;
}

/* Full range of 16 bits; Hounsfield units as they are, 1024 added, as scanners store them. */
static int scale_of(struct scale *s, const struct out *o, bool phase)
{
    double low = 0, high = 0;
    long n = kr_count(kr_array_shape(o->data));
    *s = (struct scale){ 1, 0, false, phase, 16, phase ? "P" : "M" };
    if (phase) {
        s->slope = 2 * 3.14159265358979323846 / 65536;
        s->inter = -3.14159265358979323846;
        return 0;
    }
    for (long i = 0; i < n; i++) {
        double v = o->data->type == KR_C32 ? sqrt((double)kr_cabs2(KR_C(o->data)[i])) : (double)KR_R(o->data)[i];
        if (!isfinite(v))
            return kr_fail(KR_ENUMBER, "voxel %ld is not finite, and DICOM holds whole numbers", i);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    if (o->ct) {
        const char *unit = kr_meta_get(o->im->meta, "unit");
        s->inter = -1024;
        s->kind = "AXIAL";
        return !strcmp(unit, "HU") ? 0 : kr_fail(KR_EREFUSED, "CT images of DICOM are in Hounsfield units, and this one in %s: kray ct --water MU makes them", unit);
    }
    const char *pixels = kr_meta_get(o->im->meta, "pixels");
    if (pixels && !strcmp(pixels, "ushort") && low >= 0 && high <= 4095) {
        s->bits = 12;                                    /* whole numbers already (kr_image_twelve_bits) */
        return 0;
    }
    s->sign = low < 0;
    s->kind = s->sign ? "R" : "M";
    s->slope = fmax(high / (s->sign ? 32767 : 65535), -low / 32768);
    s->slope = s->slope > 0 ? s->slope : 1;
    return 0;
}

static uint16_t stored(double v, const struct scale *s)
{
    double x = rint((v - s->inter) / s->slope), low = s->sign ? -32768 : 0, high = s->sign ? 32767 : 65535;
    x = x < low ? low : x > high ? high : x;
    return (uint16_t)(s->sign ? (uint16_t)(int16_t)x : (uint16_t)x);
}

/* Text for one value: no backslash, at most `most` bytes, cut between characters. */
static int words(kr_dcm *d, uint32_t tag, const char *vr, const char *value, size_t most)
{
    kr_auto char *t = kr_strdup(value ? value : "");
    if (!t)
        return kr_error_code();
    size_t n = strlen(t);
    if (n > most)
        for (n = most; n && ((unsigned char)t[n] & 0xc0) == 0x80; )
            n--;
    t[n] = 0;
    for (char *p = t; *p; p++)
        *p = *p == '\\' || (unsigned char)*p < ' ' ? ' ' : *p;
    return kr_dcm_put(d, tag, vr, t);
}

/* Item i of a list "2.1 4.3". */
static const char *item(char room[32], const char *list, long i)
{
    while (list && i-- > 0) {
        list = strpbrk(list, " ,");
        list += list ? strspn(list, " ,") : 0;
    }
    double v = list ? strtod(list, NULL) : 0;
    return v > 0 ? decimal(room, v) : "";
}

static long index_of(const struct out *o, long volume, int axis)
{
    for (long k = 0; k < o->axes; k++) {
        if (o->axis[k] == axis)
            return volume % o->data->n[axis];
        volume /= o->data->n[o->axis[k]];
    }
    return 0;
}

static int describe(kr_dcm *d, const struct out *o, const struct scale *s, long volume, long series)
{
    const kr_meta *m = o->im->meta;
    char b[32], uid[65];
    kr_auto char *kind = kr_strf("ORIGINAL\\PRIMARY\\%s", s->kind), *seed = kr_strf("series %s %ld", o->digest, series);
    const char *method = kr_meta_get(m, "kray_method"), *protocol = kr_meta_get(m, "protocol");
    kr_text name = { 0 };
    kr_text_add(&name, "%s%s%s", protocol ? protocol : "", protocol && method ? " " : "", method ? method : "");
    for (long k = 0; k < o->axes; k++)
        kr_text_add(&name, "%s%s %ld", name.len ? " " : "", kr_axis_name((int)o->axis[k]), index_of(o, volume, (int)o->axis[k]) + 1);
    kr_text_add(&name, "%s", s->phase ? " phase" : "");
    if (!kind || !seed || name.failed) {
        kr_text_clear(&name);
        return kr_error_code();
    }
    uid_of(uid, seed);
    kr_auto char *number = kr_strf("%ld", series), *time = kr_strf("%ld", index_of(o, volume, KR_TIME) + 1), *echo = kr_strf("%ld", index_of(o, volume, KR_ECHO) + 1),
                 *times = kr_strf("%ld", o->data->n[KR_TIME]), *software = kr_strf("Kray %s", kr_version());
    if (!number || !time || !echo || !times || !software) {
        kr_text_clear(&name);
        return kr_error_code();
    }
    const char *position = kr_meta_get(m, "patient_position");
    int e = kr_dcm_put(d, DCM_AT(8, 5), "CS", "ISO_IR 192") || kr_dcm_put(d, DCM_AT(8, 8), "CS", kind)
        || kr_dcm_put(d, DCM_AT(8, 0x16), "UI", o->ct ? "1.2.840.10008.5.1.4.1.1.2" : "1.2.840.10008.5.1.4.1.1.4") || kr_dcm_put(d, DCM_AT(8, 0x60), "CS", o->ct ? "CT" : "MR")
        || words(d, DCM_AT(8, 0x70), "LO", kr_meta_get(m, "vendor"), 64) || words(d, DCM_AT(8, 0x103e), "LO", name.s, 64)
        || kr_dcm_put(d, DCM_AT(0x20, 0xd), "UI", o->study) || kr_dcm_put(d, DCM_AT(0x20, 0xe), "UI", uid) || kr_dcm_put(d, DCM_AT(0x20, 0x52), "UI", o->frame)
        || kr_dcm_put(d, DCM_AT(0x20, 0x11), "IS", number) || kr_dcm_put(d, DCM_AT(0x20, 0x12), "IS", time) || words(d, DCM_AT(0x18, 0x1020), "LO", software, 64)
        || words(d, DCM_AT(0x20, 0x4000), "LT", o->comment.s, 10240) || words(d, DCM_AT(0x18, 0x5100), "CS", position ? position : o->ct ? "HFS" : "", 16) ? kr_error_code() : 0;
    kr_text_clear(&name);
    /* Nothing is known of the patient; these have to be there, and may be empty. */
    static const struct { uint32_t tag; const char *vr; } empty[] = { { DCM_AT(8, 0x20), "DA" }, { DCM_AT(8, 0x30), "TM" }, { DCM_AT(8, 0x50), "SH" }, { DCM_AT(8, 0x90), "PN" },
        { DCM_AT(0x10, 0x10), "PN" }, { DCM_AT(0x10, 0x20), "LO" }, { DCM_AT(0x10, 0x30), "DA" }, { DCM_AT(0x10, 0x40), "CS" }, { DCM_AT(0x20, 0x10), "SH" },
        { DCM_AT(0x20, 0x60), "CS" }, { DCM_AT(0x20, 0x1040), "LO" } };
    for (size_t i = 0; !e && i < sizeof empty / sizeof *empty; i++)
        e = kr_dcm_put(d, empty[i].tag, empty[i].vr, "");
    if (protocol)
        e = e ? e : words(d, DCM_AT(0x18, 0x1030), "LO", protocol, 64);
    if (kr_meta_get(m, "model"))
        e = e ? e : words(d, DCM_AT(8, 0x1090), "LO", kr_meta_get(m, "model"), 64);
    if (o->ct)
        return e ? e : kr_dcm_put(d, DCM_AT(0x18, 0x60), "DS", "");
    if (o->data->n[KR_TIME] > 1)
        e = e || kr_dcm_put(d, DCM_AT(0x20, 0x100), "IS", time) || kr_dcm_put(d, DCM_AT(0x20, 0x105), "IS", times) ? kr_error_code() : 0;
    static const struct { uint32_t tag; const char *key; bool has_to; } numbers[] = { { DCM_AT(0x18, 0x80), "tr_ms", true }, { DCM_AT(0x18, 0x82), "ti_ms", false },
        { DCM_AT(0x18, 0x1314), "flip_deg", false }, { DCM_AT(0x18, 0x87), "field_T", false } };
    for (size_t i = 0; !e && i < sizeof numbers / sizeof *numbers; i++) {
        const char *v = item(b, kr_meta_get(m, numbers[i].key), 0);
        e = *v || numbers[i].has_to ? kr_dcm_put(d, numbers[i].tag, "DS", v) : 0;
    }
    const char *te = kr_meta_get(m, "te_ms");
    /* How the sequence scanned is not among what raw data tell in one way: RM, research mode. */
    return e || kr_dcm_put(d, DCM_AT(0x18, 0x20), "CS", *item(b, kr_meta_get(m, "ti_ms"), 0) ? "RM\\IR" : "RM") || kr_dcm_put(d, DCM_AT(0x18, 0x21), "CS", "NONE") || kr_dcm_put(d, DCM_AT(0x18, 0x22), "CS", "")
        || kr_dcm_put(d, DCM_AT(0x18, 0x23), "CS", o->data->n[KR_SLICE] > 1 || o->n[2] == 1 ? "2D" : "3D") || kr_dcm_put(d, DCM_AT(0x18, 0x81), "DS", item(b, te, index_of(o, volume, KR_ECHO)))
        || kr_dcm_put(d, DCM_AT(0x18, 0x86), "IS", echo) || kr_dcm_put(d, DCM_AT(0x18, 0x91), "IS", "") ? kr_error_code() : 0;
}

/* k: the slice among the data; i: its number in spatial order, from 1. */
static int slice_write(const struct out *o, const struct scale *s, uint16_t *pixel, long volume, long series, long k, long i, const char *folder)
{
    long each = o->n[0] * o->n[1], from = (volume * o->n[2] + k) * each;
    char b[12][32], uid[65], rows[32], columns[32], number[32];
    kr_dcm *d = kr_dcm_new();
    kr_auto char *path = kr_strf("%s/%ld-%04ld.dcm", folder, series, i), *seed = kr_strf("image %s %ld %ld", o->digest, series, i);
    if (!d || !path || !seed) {
        kr_dcm_unref(&d);
        return kr_error_code();
    }
    double low = INFINITY, high = -INFINITY;
    for (long p = 0; p < each; p++) {
        double v = o->data->type == KR_R32 ? (double)KR_R(o->data)[from + p]
                 : s->phase ? atan2((double)kr_im(KR_C(o->data)[from + p]), (double)kr_re(KR_C(o->data)[from + p])) : sqrt((double)kr_cabs2(KR_C(o->data)[from + p]));
        pixel[p] = stored(v, s);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    double first[3], centre = o->ct ? 40 : (low + high) / 2, width = o->ct ? 400 : fmax(high - low, s->slope);
    for (int r = 0; r < 3; r++)                              /* each from the first slice, so that no rounding adds up */
        first[r] = (r < 2 ? -1 : 1) * (o->affine[4 * r + 3] + (double)k * o->affine[4 * r + 2]);
    kr_auto char *at = kr_strf("%s\\%s\\%s", decimal(b[0], first[0]), decimal(b[1], first[1]), decimal(b[2], first[2]));
    kr_auto char *dir = kr_strf("%s\\%s\\%s\\%s\\%s\\%s", decimal(b[3], o->dir[0][0]), decimal(b[4], o->dir[0][1]), decimal(b[5], o->dir[0][2]), decimal(b[6], o->dir[1][0]),
                                decimal(b[7], o->dir[1][1]), decimal(b[8], o->dir[1][2]));
    kr_auto char *spacing = kr_strf("%s\\%s", decimal(b[9], o->mm[1]), decimal(b[10], o->mm[0]));
    uid_of(uid, seed);
    snprintf(rows, sizeof rows, "%ld", o->n[1]);
    snprintf(columns, sizeof columns, "%ld", o->n[0]);
    snprintf(number, sizeof number, "%ld", i);
    double thickness = o->data->n[KR_SLICE] > 1 || o->n[2] == 1 ? o->im->geom->fov_mm[2] : o->mm[2];
    int e = !at || !dir || !spacing || describe(d, o, s, volume, series) || kr_dcm_put(d, DCM_AT(8, 0x18), "UI", uid) || kr_dcm_put(d, DCM_AT(0x20, 0x13), "IS", number)
        || kr_dcm_put(d, DCM_AT(0x20, 0x32), "DS", at) || kr_dcm_put(d, DCM_AT(0x20, 0x37), "DS", dir) || kr_dcm_put(d, DCM_AT(0x28, 0x30), "DS", spacing)
        || kr_dcm_put(d, DCM_AT(0x18, 0x50), "DS", thickness > 0 ? decimal(b[0], thickness) : "") || (o->n[2] > 1 && !o->ct && kr_dcm_put(d, DCM_AT(0x18, 0x88), "DS", decimal(b[0], o->mm[2])))
        || kr_dcm_put(d, DCM_AT(0x28, 2), "US", "1") || kr_dcm_put(d, DCM_AT(0x28, 4), "CS", "MONOCHROME2") || kr_dcm_put(d, DCM_AT(0x28, 0x10), "US", rows)
        || kr_dcm_put(d, DCM_AT(0x28, 0x11), "US", columns) || kr_dcm_put(d, DCM_AT(0x28, 0x100), "US", "16") || kr_dcm_put(d, DCM_AT(0x28, 0x101), "US", s->bits == 12 ? "12" : "16")
        || kr_dcm_put(d, DCM_AT(0x28, 0x102), "US", s->bits == 12 ? "11" : "15") || kr_dcm_put(d, DCM_AT(0x28, 0x103), "US", s->sign ? "1" : "0")
        || kr_dcm_put(d, DCM_AT(0x28, 0x1050), "DS", decimal(b[0], centre)) || kr_dcm_put(d, DCM_AT(0x28, 0x1051), "DS", decimal(b[0], width))
        || kr_dcm_put(d, DCM_AT(0x28, 0x1052), "DS", decimal(b[0], s->inter)) || kr_dcm_put(d, DCM_AT(0x28, 0x1053), "DS", decimal(b[0], s->slope))
        || kr_dcm_put(d, DCM_AT(0x28, 0x1054), "LO", o->ct ? "HU" : "US") || kr_dcm_put_pixels(d, pixel, each) || kr_dcm_write(d, path) ? kr_error_code() : 0;
    kr_dcm_unref(&d);
    return e;
}

/* How the image was made, from its notes. */
static void comment_of(struct out *o)
{
    kr_text_add(&o->comment, "Kray %s", kr_version());
    for (long i = 0; i < kr_meta_count(o->im->meta); i++) {
        const char *key = kr_meta_key(o->im->meta, i);
        if (!strncmp(key, "kray_", 5) && strcmp(key, "kray_version") && strcmp(key, "kray_command") && strcmp(key, "kray_settings"))
            kr_text_add(&o->comment, "; %s: %s", key + 5, kr_meta_value(o->im->meta, i));
    }
}

static int digests(struct out *o)
{
    const char *input = kr_meta_get(o->im->meta, "kray_input");
    kr_text t = { 0 };
    char hex[65];
    kr_digest(o->data->data, (size_t)kr_count(kr_array_shape(o->data)) * (o->data->type == KR_C32 ? 8 : 4), hex);
    kr_text_add(&t, "%s %s", hex, kr_shape_text(kr_array_shape(o->data)));
    for (int k = 0; k < 16; k++)
        kr_text_add(&t, " %.6f", o->affine[k]);
    if (!t.failed)
        kr_digest(t.s, t.len, o->digest);
    /* Images of the same measurement are one study. */
    kr_auto char *study = kr_strf("study %s", input ? input : o->digest), *frame = kr_strf("frame of reference %s", input ? input : o->digest);
    int e = t.failed || !study || !frame ? kr_error_code() : 0;
    if (!e) {
        uid_of(o->study, study);
        uid_of(o->frame, frame);
    }
    kr_text_clear(&t);
    return e;
}

static int write_image(const kr_image *im, const char *path)
{
    static const int inner[] = { KR_X, KR_Y, KR_Z, KR_SLICE };
    struct out o = { .im = im, .ct = is_ct(im->meta), .volumes = 1 };
    int order[KR_AXES], axes = 0, e = 0;
    const char *kind = kr_meta_get(im->meta, "kray_kind");
    if (kind && !strcmp(kind, "labels"))
        return kr_fail(KR_EREFUSED, "labels are not written as DICOM (segmentation objects are not built): .nii.gz holds them");
    for (; axes < 4; axes++)
        order[axes] = inner[axes];
    for (int d = 0; d < KR_AXES; d++)
        if (d != KR_X && d != KR_Y && d != KR_Z && d != KR_SLICE && im->data->n[d] > 1) {
            order[axes++] = d;
            o.axis[o.axes++] = d;
            o.volumes *= im->data->n[d];
        }
    o.data = kr_array_copy_order(im->data, order, axes);
    o.n[0] = im->data->n[KR_X], o.n[1] = im->data->n[KR_Y], o.n[2] = im->data->n[KR_Z] * im->data->n[KR_SLICE];
    e = o.data ? place(&o, im) : kr_error_code();
    if (!e && (o.n[0] > 65535 || o.n[1] > 65535 || o.n[2] * o.volumes > 100000))
        e = kr_fail(KR_ESHAPE, "%s is too much for a series of DICOM files", kr_shape_text(kr_array_shape(im->data)));
    e = e ? e : digests(&o);
    kr_auto uint16_t *pixel = e ? NULL : kr_alloc((size_t)(o.n[0] * o.n[1]), sizeof *pixel);
    e = e ? e : pixel ? kr_folder_make(path) : kr_error_code();
    comment_of(&o);
    for (long part = 0; !e && part < (o.data->type == KR_C32 ? 2 : 1); part++) {
        struct scale s;
        e = scale_of(&s, &o, part == 1);
        for (long v = 0; !e && v < o.volumes; v++)
            for (long i = 0; !e && i < o.n[2]; i++)
                e = slice_write(&o, &s, pixel, v, part * o.volumes + v + 1, o.back ? o.n[2] - 1 - i : i, i + 1, path);
    }
    kr_text_clear(&o.comment);
    kr_array_unref(&o.data);
    return e;
}

const kr_format kr_format_dicom = { "dicom", ".dcm", "DICOM images: a folder NAME.dcm of MR or CT slices", probe, NULL, NULL, read_image, write_image, NULL, NULL, false, list, false, true };
