/* fmt_mat.c: MATLAB files (v5 and v7.3) whose variable and axes the user names: "brain.mat:kData@x,y,coil". */
#include "file.h"
#include "h5sets.h"
#include "mat5.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    if (bytes < 128)
        return 0;
    if ((head[124] == 0 && head[125] == 1 && head[126] == 'I' && head[127] == 'M')
        || (head[124] == 1 && head[125] == 0 && head[126] == 'M' && head[127] == 'I'))
        return 60;
    return kr_matlab_is73(head, bytes) ? 60 : 0;
}

/* ---- Which variable: the one that is named, or the only numeric one ---- */
struct choice { kr_text all; const char *between; char name[64]; int numeric, rank; kr_h5 *file; };   /* name: of those with numbers the likeliest k-space */

static int note_variable(void *self, const kr_mat_var *v)
{
    struct choice *c = self;
    kr_text_add(&c->all, "%s%s (%s%s, %s)", c->all.len ? c->between : "", v->name, v->complex ? "complex " : "", v->class_name,
                kr_lengths_text(v->n, v->dims));
    if (v->numeric && v->count && (!c->numeric++ || kr_kspace_rank(v->name) > c->rank)) {
        snprintf(c->name, sizeof c->name, "%s", v->name);
        c->rank = kr_kspace_rank(v->name);
    }
    return 0;
}

static int note_dataset(void *self, const char *name, bool group)
{
    struct choice *c = self;
    kr_mat_var v = { .numeric = false };
    if (*name == '#')                              /* #refs#: what cells point to */
        return 0;
    snprintf(v.name, sizeof v.name, "%s", name);
    snprintf(v.class_name, sizeof v.class_name, "%s", group ? "struct" : "?");
    kr_scoped(h5_set) s = group ? NULL : kr_h5_set_open(c->file, name);
    kr_auto char *class = kr_h5_attr_text(c->file, name, "MATLAB_class");
    if (s) {
        v.dims = s->dims;
        v.count = s->count;
        for (int i = 0; i < s->dims; i++)
            v.n[i] = s->n[s->dims - 1 - i];
        v.complex = s->kind == KR_H5_COMPLEX;
        v.numeric = (v.complex || s->kind == KR_H5_REAL) && !(class && !strcmp(class, "char"));
    } else
        kr_error_clear();
    if (class)
        snprintf(v.class_name, sizeof v.class_name, "%s", class);
    return note_variable(c, &v);
}

/* Everything the file holds; the name of its numeric variable, where there is but one. */
static int look(struct choice *c, const char *path, bool v73)
{
    if (!v73)
        return kr_mat5_list(path, note_variable, c);
    kr_scoped(h5) f = kr_h5_open(path);
    c->file = f;
    int e = f ? kr_h5_list(f, "/", note_dataset, c) : kr_error_code();
    c->file = NULL;
    return e;
}

/* The name of the variable to read; "" if there is none to choose. */
static int which(char name[64], const kr_source *src, bool v73)
{
    struct choice c = { .between = ", " };
    if (src->var) {
        snprintf(name, 64, "%s", src->var);
        return 0;
    }
    int e = look(&c, src->path, v73);
    snprintf(name, 64, "%s", c.name);
    if (!e && c.numeric != 1)
        e = c.all.len ? kr_fail(KR_EUSAGE, "name one of its variables, as in FILE:NAME; it holds %s", c.all.s)
                      : kr_fail(KR_EFORMAT, "the file holds no variables");
    kr_text_clear(&c.all);
    return e;
}

/* ---- Reading ---- */
static const int usual[] = { KR_X, KR_Y, KR_Z };
static const char *example(const kr_source *src, const char *name)
{
    static _Thread_local char text[512];
    snprintf(text, sizeof text, "%s:%s@x,y,coil", src->path, name);
    return text;
}

static int read5(kr_array **out, const kr_source *src)
{
    char name[64];
    int e = which(name, src, false);
    kr_mat_var v;
    kr_auto float *data = NULL;
    int order[KR_MAT_DIMS], memory[KR_MAT_DIMS], axes = 0;
    if (e || (e = kr_mat5_read(&v, &data, src->path, name)) || (e = kr_axes_of(order, src, v.n, v.dims, usual, 3, example(src, name))))
        return e;
    kr_shape shape = { { 0 } };
    for (int i = 0; i < v.dims; i++)
        if (order[i] < KR_AXES) {
            shape.n[order[i]] = v.n[i];
            memory[axes++] = order[i];
        }
    kr_scoped(array) a = kr_array_take_order(v.complex ? KR_C32 : KR_R32, shape, data, memory, axes);
    if (!a)
        return kr_error_code();
    data = NULL;
    *out = kr_array_packed(a);
    return *out && !kr_reim_join(out, src) ? 0 : kr_error_code();
}

static int read73(kr_array **out, const kr_source *src)
{
    char name[64];
    int e = which(name, src, true);
    if (e)
        return e;
    kr_scoped(h5) f = kr_h5_open(src->path);
    for (char *p = name; *p; p++)                  /* a field of a structure is an entry of a group */
        *p = *p == '.' ? '/' : *p;
    kr_scoped(h5_set) set = f ? kr_matlab_open(f, name) : NULL;
    int order[KR_H5_DIMS];
    if (!set || kr_set_axes(order, set, src, KR_MATLAB, usual, 3))
        return kr_error_code();
    return kr_set_read(out, set, order, NULL);
}

/* Which of the two layouts; < 0: cannot be read. */
static int is73(const kr_source *src)
{
    char head[520];
    int64_t bytes = 0;
    int fd = kr_file_open(src->path, &bytes);
    if (fd < 0)
        return kr_error_code();
    size_t got = bytes < (int64_t)sizeof head ? (size_t)bytes : sizeof head;
    int e = kr_file_read(fd, head, got, 0);
    close(fd);
    return e ? e : kr_h5_is((unsigned char *)head, got);
}

static int read_array(kr_array **out, const kr_source *src)
{
    int v73 = is73(src);
    return v73 < 0 ? v73 : v73 ? read73(out, src) : read5(out, src);
}

/* k-space wants names for its axes: says what there is to name. */
static int ask_for_axes(const kr_source *src)
{
    struct choice c = { .between = ", " };
    int v73 = is73(src), e = v73 < 0 ? v73 : look(&c, src->path, v73);
    if (!e)
        e = kr_fail(KR_EUSAGE, "k-space in a MATLAB file needs names for its axes, as in %s; the file holds %s",
                    example(src, src->var ? src->var : c.numeric ? c.name : "kspace"), c.all.len ? c.all.s : "no variables");
    kr_text_clear(&c.all);
    return e;
}

static int list(kr_text *out, const kr_source *src)
{
    struct choice c = { .between = "\n" };
    int v73 = is73(src), e = v73 < 0 ? v73 : look(&c, src->path, v73);
    *out = c.all;
    return e;
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)how;
    (void)trace;
    kr_scoped(array) a = NULL;
    if (!src->axes)
        return ask_for_axes(src);
    return read_array(&a, src) ? kr_error_code() : kr_scan_of_array(out, a);
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    if (read_array(&a, src))
        return kr_error_code();
    *out = kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

/* ---- Writing: one variable, with the axes that are longer than 1; their names and the provenance as attributes ---- */
static int write_variable(const char *path, const char *name, const kr_array *a, const kr_meta *meta)
{
    int axes[KR_AXES], dims = 0;
    kr_text names = { 0 };
    for (int d = 0; d < KR_AXES; d++)
        if (a->n[d] > 1 || d < 2) {
            kr_text_add(&names, "%s%s", dims ? "," : "", kr_axis_name(d));
            axes[dims++] = d;
        }
    kr_scoped(h5) f = names.failed ? NULL : kr_matlab_create(path);
    int e = !f || kr_matlab_write(f, name, a, axes, dims) || kr_h5_put_text(f, name, "kray_axes", names.s) || kr_h5_put_meta(f, name, meta)
          ? kr_error_code() : kr_matlab_close(&f, path);
    kr_text_clear(&names);
    return e;
}

static int write_array(const kr_array *a, const kr_meta *meta, const char *path) { return write_variable(path, "data", a, meta); }

static int write_image(const kr_image *im, const char *path) { return write_variable(path, "image", im->data, im->meta); }

const kr_format kr_format_mat = { "mat", ".mat", "MATLAB v5 and v7.3 variable", probe, read_scan, NULL, read_image, write_image, read_array, write_array,
    false, list, .raw = true, .any = true };
