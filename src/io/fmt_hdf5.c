/* fmt_hdf5.c: any HDF5 dataset of numbers whose axes the user names: "file.h5:group/data@coil,y,x"; and arrays as HDF5. */
#include "h5sets.h"
#include "number.h"
#include <stdio.h>
#include <string.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return kr_h5_is(head, bytes) ? 10 : 0;
}

struct choice { kr_text all; const char *between; size_t room; char name[256], axes[64]; int numeric, rank; kr_h5 *file; const char *group; int depth; };

/* Names that a dataset of k-space may have, one for each of its axes. Real numbers are the parts of complex ones where the last axis, or one alone, is of length 2. */
static void likely_axes(char to[64], const kr_h5_set *s)
{
    static const char *const name[] = { "time", "slice", "coil", "y", "x" };
    const char *word[KR_H5_DIMS];
    int left = sizeof name / sizeof *name, reim = -1, pairs = 0, from = s->dims, at = 0;
    for (int i = 0; s->kind == KR_H5_REAL && s->dims > 1 && i < s->dims; i++) {
        pairs += s->n[i] == 2;
        reim = s->n[i] == 2 ? i : reim;
    }
    reim = pairs > 1 && reim < s->dims - 1 ? -1 : reim;
    while (from && (from - 1 == reim || left)) {
        from--;
        word[from] = from == reim ? "reim" : name[--left];
    }
    for (int i = from; i < s->dims; i++)
        at += snprintf(to + at, (size_t)(64 - at), "%s%s", i > from ? "," : from ? "...," : "", word[i]);
}

static int note(void *self, const char *name, bool group)
{
    struct choice *c = self;
    kr_auto char *path = c->group ? kr_strf("%s/%s", c->group, name) : kr_strdup(name);
    if (!path)
        return kr_error_code();
    if (group && c->depth < 3) {
        const char *outer = c->group;
        c->group = path;
        c->depth++;
        int e = kr_h5_list(c->file, path, note, c);
        c->depth--;
        c->group = outer;
        return e;
    }
    kr_scoped(h5_set) s = group ? NULL : kr_h5_set_open(c->file, path);
    bool numeric = s && (s->kind == KR_H5_REAL || s->kind == KR_H5_COMPLEX);
    const char *why = kr_error();                          /* "NAME is a link to another file, ..." */
    why += !strncmp(why, path, strlen(path)) && why[strlen(path)] == ' ' ? strlen(path) + 1 : 0;
    if (c->all.len < c->room)
        kr_text_add(&c->all, "%s%s (%s)", c->all.len ? c->between : "", path, group ? "group" : numeric ? kr_lengths_text(s->n, s->dims)
                    : s ? "no numbers" : why);
    kr_error_clear();
    if (numeric && (!c->numeric++ || kr_kspace_rank(path) > c->rank)) {          /* of several the likeliest k-space */
        snprintf(c->name, sizeof c->name, "%s", path);
        likely_axes(c->axes, s);
        c->rank = kr_kspace_rank(path);
    }
    return 0;
}

static int choose(char name[256], kr_h5 *f)
{
    struct choice c = { .between = ", ", .room = 1000, .file = f };
    int e = kr_h5_list(f, "/", note, &c);
    if (!e && c.numeric != 1)
        e = kr_fail(KR_EUSAGE, "name one of its datasets, as in FILE:NAME; it holds %s", c.all.s ? c.all.s : "nothing");
    memcpy(name, c.name, sizeof c.name);
    kr_text_clear(&c.all);
    return e;
}

int kr_hdf5_array(kr_array **out, const kr_source *src)
{
    kr_scoped(h5) f = kr_h5_open(src->path);
    char name[256];
    if (!f || (!src->var && choose(name, f)))
        return kr_error_code();
    const char *set = src->var ? src->var : name;
    kr_scoped(h5_set) s = kr_h5_set_open(f, set);          /* the last axes are taken as pictures are: [..., y, x] */
    static const int usual[] = { KR_Z, KR_Y, KR_X };
    return s ? kr_hdf5_read(out, f, set, src, s->dims <= 3 ? usual + 3 - s->dims : usual, 3, NULL) : kr_error_code();
}

int kr_hdf5_scan(kr_scan **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    return kr_hdf5_array(&a, src) ? kr_error_code() : kr_scan_of_array(out, a);
}

static int read(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)how;
    (void)trace;
    kr_scoped(h5) f = kr_h5_open(src->path);       /* a damaged file is told from one that needs names */
    if (!f)
        return kr_error_code();
    if (!src->axes || !src->var) {
        struct choice c = { .between = ", ", .room = 1000, .file = f };
        int e = kr_h5_list(f, "/", note, &c);
        if (!e)
            e = kr_fail(KR_EUSAGE, "k-space in an HDF5 file that is none of the known data sets needs the names of the dataset and "
                        "its axes, as in %s:%s@%s; it holds %s%s", src->path, c.numeric ? c.name : "kspace", c.numeric ? c.axes : "slice,coil,y,x", c.all.s ? c.all.s : "nothing",
                        c.all.s && strstr(c.all.s, "exchange/data") ? ". It looks like an X-ray scan (Data Exchange): kray ct" : "");
        kr_text_clear(&c.all);
        return e;
    }
    return kr_hdf5_scan(out, src);
}

static int list(kr_text *out, const kr_source *src)
{
    kr_scoped(h5) f = kr_h5_open(src->path);
    struct choice c = { .between = "\n", .room = SIZE_MAX, .file = f };
    int e = f ? kr_h5_list(f, "/", note, &c) : kr_error_code();
    *out = c.all;
    return e;
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    if (kr_hdf5_array(&a, src))
        return kr_error_code();
    *out = kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

/* Slowest axis first, as NumPy prints it; the names stand beside the numbers. */
static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    int order[KR_AXES], dims = 0;
    kr_text names = { 0 };
    for (int d = KR_AXES - 1; d >= 0; d--)
        if (a->n[d] > 1) {
            kr_text_add(&names, "%s%s", dims ? "," : "", kr_axis_name(d));
            order[dims++] = d;
        }
    kr_scoped(h5) f = names.failed ? NULL : kr_h5_create(path, 0);
    int e = !f ? kr_error_code() : kr_h5_write(f, "data", a, order, dims, "r", "i");
    if (!e && names.len)
        e = kr_h5_put_text(f, "data", "kray_axes", names.s);
    if (!e)
        e = kr_h5_put_meta(f, "data", meta);
    kr_text_clear(&names);
    return e ? e : kr_h5_close(&f);
}

const kr_format kr_format_hdf5 = { "hdf5", ".h5 .hdf5", "HDF5 dataset with named axes", probe, read, NULL, read_image, NULL, kr_hdf5_array, write_array,
    false, list, .raw = true, .any = true };
