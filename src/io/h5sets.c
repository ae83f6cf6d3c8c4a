/* h5sets.c: HDF5 datasets as arrays with named axes, and MATLAB's v7.3 files, which are HDF5 behind a header of 512 bytes.
 * Source: "MAT-File Format", The MathWorks; FORMATS of hdf5storage and of MATLAB's own files as h5dump shows them. */
#include "h5sets.h"
#include "file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The axes without "reim", which the set takes in: `names` becomes NULL where there is none. */
static int take_reim(char **names, kr_h5_set *s, const char *axes, enum kr_tool_order tool)
{
    int at = kr_axes_reim(axes), count = 1, seen = 0;
    *names = NULL;
    if (at < 0)
        return 0;
    for (const char *p = axes; *p; p++)
        count += *p == ',';
    for (int i = 0; i < s->dims; i++) {                    /* lengths of 1 may have been left out of the names */
        int d = tool == KR_NUMPY ? i : s->dims - 1 - i;
        if (count < s->dims && s->n[d] == 1)
            continue;
        if (seen++ == at && kr_h5_set_reim(s, d))
            return kr_error_code();
        else if (seen > at)
            break;
    }
    if (s->reim < 0)
        return kr_fail(KR_EUSAGE, "%d axes are named ('%s'), the array is %s", count, axes, kr_lengths_text(s->n, s->dims));
    kr_text t = { 0 };
    for (const char *p = axes; *p; ) {
        size_t n = strcspn(p, ",");
        if (at--) {
            kr_text_add(&t, "%s", t.len ? "," : "");
            kr_text_put(&t, p, n);
        }
        p += n + (p[n] == ',');
    }
    *names = t.failed || !t.s ? kr_strdup("-") : kr_strdup(t.s);
    kr_text_clear(&t);
    return *names ? 0 : kr_error_code();
}

int kr_set_axes(int order[KR_H5_DIMS], kr_h5_set *s, const kr_source *src, enum kr_tool_order tool, const int *usual, int most)
{
    kr_auto char *example = kr_strf(tool == KR_NUMPY ? "%s:%s@coil,y,x" : "%s:%s@x,y,coil", src->path, s->name);
    kr_auto char *own = src->axes ? NULL : kr_h5_attr_text(s->file, s->name, "kray_axes");     /* what Kray wrote */
    kr_auto char *rest = NULL;
    if (take_reim(&rest, s, src->axes, tool))
        return kr_error_code();
    own = rest ? rest : own;
    rest = NULL;
    kr_source named = { .axes = own };
    int printed[KR_H5_DIMS];
    long n[KR_H5_DIMS];
    for (int i = 0; i < s->dims; i++)
        n[i] = s->n[tool == KR_NUMPY ? i : s->dims - 1 - i];
    if (!example || kr_axes_of(printed, own ? &named : src, n, s->dims, usual, most, example))
        return kr_error_code();
    for (int i = 0; i < s->dims; i++)
        order[i] = printed[tool == KR_NUMPY ? i : s->dims - 1 - i];
    return 0;
}

kr_shape kr_set_shape(const kr_h5_set *s, const int order[])
{
    kr_shape shape = { { 0 } };
    for (int i = 0; i < s->dims; i++)
        if (order[i] < KR_AXES)
            shape.n[order[i]] = s->n[i];
    return shape;
}

int kr_slices_window(kr_shape *shape, const kr_read *how)
{
    long all = shape->n[KR_SLICE] ? shape->n[KR_SLICE] : 1, from = how->slice_from, count = how->slice_count ? how->slice_count : all - from;
    if (from < 0 || count < 1 || from > all - count)
        return kr_fail(KR_ESHAPE, "slices %ld to %ld asked of %ld", from, from + count - 1, all);
    shape->n[KR_SLICE] = count;
    return 0;
}

int kr_set_read(kr_array **out, const kr_h5_set *s, const int order[], const kr_read *how)
{
    long from[KR_H5_DIMS] = { 0 }, count[KR_H5_DIMS];
    kr_shape shape = kr_set_shape(s, order);
    if (how && kr_slices_window(&shape, how))
        return kr_error_code();
    for (int i = 0; i < s->dims; i++) {
        bool slices = how && order[i] == KR_SLICE;
        from[i] = slices ? how->slice_from : 0;
        count[i] = slices ? shape.n[KR_SLICE] : s->n[i];
    }
    return kr_h5_read(out, s, order, from, count);
}

int kr_hdf5_read(kr_array **out, kr_h5 *f, const char *name, const kr_source *src, const int *usual, int most, const kr_read *how)
{
    kr_scoped(h5_set) s = kr_h5_set_open(f, name);
    int order[KR_H5_DIMS];
    if (!s || kr_set_axes(order, s, src, KR_NUMPY, usual, most))
        return kr_error_code();
    return kr_set_read(out, s, order, how);
}

/* ---- MATLAB v7.3 ---- */
bool kr_matlab_is73(const unsigned char *head, size_t bytes)
{
    return bytes >= 128 && !memcmp(head, "MATLAB 7.3", 10) && kr_h5_is(head, bytes);
}

kr_h5_set *kr_matlab_open(kr_h5 *f, const char *name)
{
    static const char *const others[] = { "char", "cell", "struct", "function_handle" };
    double empty = 0;
    kr_h5_set *s = kr_h5_set_open(f, name);
    if (!s)
        return NULL;
    kr_auto char *class = kr_h5_attr_text(f, name, "MATLAB_class");
    bool numbers = s->kind == KR_H5_REAL || s->kind == KR_H5_COMPLEX;
    for (int i = 0; class && i < 4; i++)
        numbers &= strcmp(class, others[i]) != 0;
    if (kr_h5_attr_number(f, name, "MATLAB_empty", &empty) && empty > 0)
        kr_fail(KR_EFORMAT, "'%s' is empty", name);
    else if (!numbers)
        kr_fail(KR_EFORMAT, "'%s' is of class %s; numbers are wanted", name, class ? class : "unknown");
    else
        return s;
    kr_h5_set_unref(&s);
    return NULL;
}

enum { USER_BLOCK = 512, HEADER = 128 };

kr_h5 *kr_matlab_create(const char *path) { return kr_h5_create(path, USER_BLOCK); }

/* MATLAB drops lengths of 1 at the end, but keeps two. */
int kr_matlab_write(kr_h5 *f, const char *name, const kr_array *a, const int axes[], int dims)
{
    int order[KR_AXES];
    while (dims > 2 && a->n[axes[dims - 1]] == 1)
        dims--;
    for (int i = 0; i < dims; i++)
        order[i] = axes[dims - 1 - i];
    int e = kr_h5_write(f, name, a, order, dims, "real", "imag");
    return e ? e : kr_h5_put_text(f, name, "MATLAB_class", "single");
}

int kr_matlab_close(kr_h5 **f, const char *path)
{
    if (kr_h5_close(f))
        return kr_error_code();
    char head[HEADER + 1], when[64] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(when, sizeof when, "%a %b %e %H:%M:%S %Y", &tm);
    memset(head, 0, sizeof head);
    int n = snprintf(head, 117, "MATLAB 7.3 MAT-file, Platform: Kray %s, Created on: %s HDF5 schema 1.00 .", kr_version(), when);
    memset(head + n, ' ', n < 116 ? 116 - (size_t)n : 0);
    memset(head + 116, 0, 8);
    memcpy(head + 124, "\0\2IM", 4);
    FILE *file = fopen(path, "r+b");
    bool good = file && fwrite(head, 1, HEADER, file) == HEADER;
    if (file && fclose(file))
        good = false;
    return good ? 0 : kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
}
