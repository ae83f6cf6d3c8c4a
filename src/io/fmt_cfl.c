/* fmt_cfl.c: BART's pair of files: NAME.hdr, a text with the dimensions, and NAME.cfl, the complex floats themselves,
 * first dimension fastest. Source of the layout: BART's io.c and the order of dimensions in its mri.h. */
#include "kray/io.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIMS = 16, HEADER_MOST = 4096 };   /* BART reads no more than 4096 bytes of header */

static const struct { const char *name; int axis; } dim[DIMS] = {
    { "READ", KR_X }, { "PHS1", KR_Y }, { "PHS2", KR_Z }, { "COIL", KR_COIL }, { "MAPS", KR_MAP }, { "TE", KR_ECHO },
    { "COEFF", KR_CHAN }, { "COEFF2", -1 }, { "ITER", -1 }, { "CSHIFT", -1 }, { "TIME", KR_TIME }, { "TIME2", KR_PHASE },
    { "LEVEL", KR_SET }, { "SLICE", KR_SLICE }, { "AVG", KR_AVG }, { "BATCH", KR_BATCH } };

/* ---- Names: NAME, NAME.cfl and NAME.hdr all mean the pair ---- */
static char *sibling(const char *path, const char *suffix)
{
    size_t n = strlen(path);
    if (n > 4 && (!strcmp(path + n - 4, ".cfl") || !strcmp(path + n - 4, ".hdr")))
        n -= 4;
    return kr_strf("%.*s%s", (int)n, path, suffix);
}

/* The header is text that begins with "# Dimensions" or another keyword; a .hdr of Analyze or NIfTI is not. */
static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)head;
    (void)bytes;
    kr_auto char *hdr = sibling(path, ".hdr"), *cfl = sibling(path, ".cfl");
    int64_t length;
    int fd = hdr && cfl && (!strcmp(path, hdr) || !strcmp(path, cfl) || access(path, F_OK)) ? kr_file_open(hdr, &length) : -1;
    char first = 0;
    if (fd >= 0) {
        if (read(fd, &first, 1) != 1)
            first = 0;
        close(fd);
    }
    kr_error_clear();
    return first == '#' ? 90 : cfl && !strcmp(path, cfl) ? 40 : 0;
}

/* ---- Header ---- */
typedef struct header { long n[DIMS]; char *axes, *command; } header;

static void header_clear(header *h)
{
    kr_free(h->axes);
    kr_free(h->command);
}

/* The line after "# keyword"; NULL: not there. Unknown keywords are passed over, as BART does. */
static const char *section(const char *text, const char *keyword)
{
    size_t k = strlen(keyword);
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (*p != '#')
            continue;
        const char *word = p + 1 + strspn(p + 1, " \t");
        const char *line = strchr(p, '\n');
        if (line && !strncmp(word, keyword, k) && word[k + strspn(word + k, " \t\r")] == '\n')
            return line + 1;
    }
    return NULL;
}

static char *line_copy(const char *line)
{
    size_t n = strcspn(line, "\r\n");
    return kr_strf("%.*s", (int)(n < HEADER_MOST ? n : HEADER_MOST), line);
}

static int header_parse(header *h, const char *text)
{
    const char *p = section(text, "Dimensions");
    if (!p)
        return kr_fail(KR_EFORMAT, "the .hdr file has no line '# Dimensions'");
    if (section(text, "MultiDimensions") || section(text, "SizesDimensions"))
        return kr_fail(KR_EFORMAT, "the .hdr file describes several arrays in one .cfl, which is not read");
    long count = 1;
    int dims = 0;
    for (p += strspn(p, " \t"); *p && !strchr("\r\n#", *p); p += strspn(p, " \t")) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || v < 1 || __builtin_mul_overflow(count, v, &count))
            return kr_fail(KR_EFORMAT, "the dimensions in the .hdr file make no sense: '%.*s'", (int)strcspn(section(text, "Dimensions"), "\r\n"), section(text, "Dimensions"));
        if (dims >= DIMS && v > 1)
            return kr_fail(KR_EFORMAT, "the .hdr file has a dimension %d of length %ld; %d are known", dims, v, DIMS);
        if (dims < DIMS)
            h->n[dims] = v;
        dims++;
        p = end;
    }
    if (!dims)
        return kr_fail(KR_EFORMAT, "the line after '# Dimensions' in the .hdr file is empty");
    for (int i = dims; i < DIMS; i++)
        h->n[i] = 1;
    const char *axes = section(text, "Axes"), *command = section(text, "Command");
    if ((axes && !(h->axes = line_copy(axes))) || (command && !(h->command = line_copy(command))))
        return kr_error_code();
    return 0;
}

/* Which axis each dimension is: as the user names them, else as Kray noted in the header, else BART's own meaning. */
static int name_axes(int axis[DIMS], const header *h, const char *names)
{
    int order[KR_AXES], count = names ? kr_axes_parse(names, order) : 0;
    if (count < 0)
        return count;
    for (int i = 0; i < DIMS; i++) {
        axis[i] = names ? i < count ? order[i] : KR_AXES : dim[i].axis < 0 ? KR_AXES : dim[i].axis;
        if (axis[i] == KR_AXES && h->n[i] > 1)
            return names ? kr_fail(KR_EUSAGE, "the axes '%s' give no name to dimension %d, whose length is %ld", names, i, h->n[i])
                         : kr_fail(KR_EUSAGE, "dimension %d (%s) of length %ld has no axis in Kray; name all axes, as in NAME.cfl@x,y,z,coil",
                                   i, dim[i].name, h->n[i]);
    }
    return 0;
}

/* ---- Reading ---- */
typedef struct file { header h; int fd, axis[DIMS]; kr_shape shape; } file;

static void file_close(file *f)
{
    header_clear(&f->h);
    if (f->fd >= 0)
        close(f->fd);
}

static int file_open(file *f, const kr_source *src)
{
    *f = (file){ .fd = -1 };
    kr_auto char *hdr = sibling(src->path, ".hdr"), *cfl = sibling(src->path, ".cfl");
    kr_auto char *text = hdr && cfl ? kr_file_text(hdr, HEADER_MOST) : NULL;
    if (!text || header_parse(&f->h, text) || name_axes(f->axis, &f->h, src->axes ? src->axes : f->h.axes))
        return kr_error_code();
    int64_t bytes = 0, want = 8;
    if ((f->fd = kr_file_open(cfl, &bytes)) < 0)
        return kr_error_code();
    bool sane = true;
    for (int i = 0; i < DIMS; i++) {
        sane = sane && !__builtin_mul_overflow(want, f->h.n[i], &want);
        if (f->axis[i] < KR_AXES)
            f->shape.n[f->axis[i]] = f->h.n[i];
    }
    if (!sane || want != bytes)
        return kr_fail(KR_EFORMAT, "the .hdr file announces %s, %lld bytes, but the .cfl file has %lld", kr_shape_text(f->shape),
                       sane ? (long long)want : -1, (long long)bytes);
    return 0;
}

/* Only the slices asked for are read where they lie in one piece. */
static kr_array *file_read(const file *f, long slice, long slices)
{
    kr_shape shape = f->shape;
    long all = shape.n[KR_SLICE] ? shape.n[KR_SLICE] : 1, inner = 1, outer = 1;
    if (slices && (slice < 0 || slices < 0 || slice + slices > all)) {
        kr_fail(KR_ESHAPE, "slices %ld to %ld asked of %ld", slice, slice + slices - 1, all);
        return NULL;
    }
    bool passed = false;
    for (int i = 0; i < DIMS; i++) {
        if (f->axis[i] == KR_SLICE)
            passed = true;
        else
            *(passed ? &outer : &inner) *= f->h.n[i];
    }
    bool window = slices && slices < all, direct = window && outer == 1;
    if (direct)
        shape.n[KR_SLICE] = slices;
    size_t n = (size_t)kr_count(shape);
    kr_auto void *data = kr_alloc(n, 8);
    if (!data || kr_file_read(f->fd, data, n * 8, direct ? 8 * inner * slice : 0))
        return NULL;
    int order[DIMS], axes = 0;
    for (int i = 0; i < DIMS; i++)
        if (f->axis[i] < KR_AXES)
            order[axes++] = f->axis[i];
    kr_scoped(array) a = kr_array_take_order(KR_C32, shape, data, order, axes);
    if (!a)
        return NULL;
    data = NULL;
    kr_scoped(array) part = window && !direct ? kr_array_range(a, KR_SLICE, slice, slices) : kr_array_ref(a);
    return kr_array_packed(part);
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)trace;
    file f;
    kr_scan *s = file_open(&f, src) ? NULL : kr_scan_new();
    int e = s ? 0 : kr_error_code();
    if (!e) {
        s->shape = f.shape;
        if (how->slice_count)
            s->shape.n[KR_SLICE] = how->slice_count;
        if (!how->header_only && !(s->data = file_read(&f, how->slice_from, how->slice_count)))
            e = kr_error_code();
        if (!e && f.h.command)
            e = kr_meta_set(s->meta, "source_command", "%s", f.h.command);
        if (!src->axes && !f.h.axes && f.h.n[0] == 1 && f.h.n[1] > 1 && f.h.n[2] > 1)
            kr_scan_note(s, "the readout has length 1, as BART keeps samples that are not on a grid: if they are, name the axes "
                            "@-,sample,view,coil");
    }
    file_close(&f);
    if (e)
        kr_scan_unref(&s);
    *out = s;
    return e;
}

/* BART has no real arrays: one whose imaginary parts are all exactly zero is taken for one. */
static bool is_real(const kr_array *a)
{
    long n = kr_count(kr_array_shape(a));
    const float *x = a->data;
    for (long i = 0; i < n; i++)
        if (x[2 * i + 1] != 0)
            return false;
    return true;
}

static kr_array *real_part(const kr_array *a)
{
    long n = kr_count(kr_array_shape(a));
    kr_array *r = kr_array_new(KR_R32, kr_array_shape(a));
    for (long i = 0; r && i < n; i++)
        KR_R(r)[i] = kr_re(KR_C(a)[i]);
    return r;
}

static int read_array(kr_array **out, const kr_source *src)
{
    file f;
    kr_scoped(array) a = file_open(&f, src) ? NULL : file_read(&f, 0, 0);
    file_close(&f);
    *out = !a ? NULL : is_real(a) ? real_part(a) : kr_array_ref(a);
    return *out ? 0 : kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    *out = read_array(&a, src) ? NULL : kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

/* ---- Writing ---- */
/* The dimension of each axis. What BART keeps off the grid lies as its tools expect: trajectories 3 x samples x spokes,
 * k-space 1 x samples x spokes x coils. */
static int place_axes(int axis[DIMS], const kr_array *a, bool *usual)
{
    static const int at[KR_AXES] = { [KR_X] = 0, [KR_Y] = 1, [KR_Z] = 2, [KR_SAMPLE] = 1, [KR_VIEW] = 2, [KR_U] = 0, [KR_V] = 1,
                                     [KR_COIL] = 3, [KR_MAP] = 4, [KR_SLICE] = 13, [KR_ECHO] = 5, [KR_PHASE] = 11, [KR_SET] = 12,
                                     [KR_TIME] = 10, [KR_AVG] = 14, [KR_CHAN] = 6, [KR_BATCH] = 15 };
    bool loose = a->n[KR_SAMPLE] > 1 || a->n[KR_VIEW] > 1;
    for (int i = 0; i < DIMS; i++)
        axis[i] = KR_AXES;
    for (int d = 0; d < KR_AXES; d++) {
        int i = d == KR_CHAN && loose ? 0 : at[d];
        if (a->n[d] == 1)
            continue;
        if (axis[i] < KR_AXES)
            return kr_fail(KR_ESHAPE, "the axes %s and %s of %s would both be BART's dimension %d (%s)", kr_axis_name(axis[i]), kr_axis_name(d),
                           kr_shape_text(kr_array_shape(a)), i, dim[i].name);
        axis[i] = d;
        *usual = *usual && dim[i].axis == d;
    }
    return 0;
}

/* BART's parser takes any '#' for the start of a keyword. */
static void put_value(kr_text *t, const char *keyword, const char *value)
{
    if (!value || !*value || t->len + strlen(keyword) + strlen(value) + 4 >= HEADER_MOST - 64)
        return;
    kr_text_add(t, "# %s\n", keyword);
    for (const char *p = value; *p; p++)
        kr_text_put(t, *p == '#' || *p == '\n' ? " " : p, 1);
    kr_text_add(t, "\n");
}

static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    size_t n = strlen(path);
    if (n < 5 || strcmp(path + n - 4, ".cfl"))
        return kr_fail(KR_EUSAGE, "BART's files are called NAME.cfl and NAME.hdr: end the name with .cfl");
    int axis[DIMS], order[DIMS], axes = 0;
    bool usual = true;
    if (place_axes(axis, a, &usual))
        return kr_error_code();
    kr_text t = { 0 }, names = { 0 };
    kr_text_add(&t, "# Dimensions\n");
    for (int i = 0; i < DIMS; i++) {
        kr_text_add(&t, "%ld ", axis[i] < KR_AXES ? a->n[axis[i]] : 1);
        kr_text_add(&names, "%s%s", i ? "," : "", axis[i] < KR_AXES ? kr_axis_name(axis[i]) : "-");
        if (axis[i] < KR_AXES)
            order[axes++] = axis[i];
    }
    kr_text_add(&t, "\n");
    if (!usual)
        put_value(&t, "Axes", names.s);
    put_value(&t, "Command", kr_meta_get(meta, "kray_command"));
    for (long i = 0; i < kr_meta_count(meta); i++)
        if (strcmp(kr_meta_key(meta, i), "kray_command"))
            put_value(&t, kr_meta_key(meta, i), kr_meta_value(meta, i));
    kr_text_add(&t, "# Creator\nKray %s\n", kr_version());

    long step = 1;
    bool ready = a->type == KR_C32;
    for (int i = 0; i < axes; i++) {
        ready = ready && a->step[order[i]] == step;
        step *= a->n[order[i]];
    }
    kr_scoped(array) c = ready ? kr_array_ref(a) : NULL;
    if (!ready) {
        kr_scoped(array) z = kr_array_complex(a);
        c = kr_array_copy_order(z, order, axes);
    }
    kr_auto char *hdr = sibling(path, ".hdr");
    int e = c && hdr && !t.failed && !names.failed ? 0 : kr_error_code();
    if (!e)
        e = kr_file_write(hdr, &(kr_block){ t.s, t.len }, 1);
    if (!e)
        e = kr_file_write(path, &(kr_block){ c->data, (size_t)kr_count(kr_array_shape(c)) * 8 }, 1);
    kr_text_clear(&t);
    kr_text_clear(&names);
    return e;
}

static int write_image(const kr_image *im, const char *path) { return write_array(im->data, im->meta, path); }

/* BART has no place to note that an axis is in image space already, so all are brought back to k-space. */
static int write_scan(const kr_scan *s, const char *path)
{
    kr_scoped(array) k = kr_scan_kspace(s);
    return k ? write_array(k, s->meta, path) : kr_error_code();
}

const kr_format kr_format_cfl = { "cfl", ".cfl", "BART .cfl and .hdr", probe, read_scan, write_scan, read_image, write_image, read_array, write_array, true,
    .raw = true, .bare = true, .columns_first = true, .beside = "*.hdr" };
