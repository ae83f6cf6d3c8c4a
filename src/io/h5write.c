/* h5write.c: arrays, texts and attributes into new HDF5 files. */
#include "h5.h"
#include <string.h>

static int not_written(const char *name) { return kr_fail(KR_EFILE, "%s cannot be written; is the disk full?", name); }

/* Piece by piece along the first dimension longer than 1, each made ready in the order of the file. */
static int write_pieces(hid_t set, hid_t type, hid_t space, const char *name, const kr_array *a, const int order[], int dims)
{
    int memory[KR_AXES], cut = 0;
    hsize_t start[KR_AXES] = { 0 }, count[KR_AXES];
    while (cut < dims - 1 && a->n[order[cut]] == 1)
        cut++;
    for (int i = 0; i < dims; i++) {
        memory[i] = order[dims - 1 - i];
        count[i] = i == cut ? 1 : (hsize_t)a->n[order[i]];
    }
    long pieces = dims ? a->n[order[cut]] : 1;
    for (long p = 0; p < pieces; p++) {
        kr_scoped(array) view = dims ? kr_array_at(a, order[cut], p) : kr_array_ref(a);
        kr_scoped(array) piece = kr_array_copy_order(view, memory, dims);
        if (!piece)
            return kr_error_code();
        start[cut] = (hsize_t)p;
        hid_t mem = dims ? H5Screate_simple(dims, count, NULL) : H5Screate(H5S_SCALAR);
        bool good = mem >= 0 && (!dims || H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
                 && H5Dwrite(set, type, mem, space, H5P_DEFAULT, piece->data) >= 0;
        if (mem >= 0)
            H5Sclose(mem);
        if (!good)
            return not_written(name);
    }
    return 0;
}

int kr_h5_write(kr_h5 *f, const char *name, const kr_array *a, const int order[], int dims, const char *re, const char *im)
{
    hsize_t n[KR_AXES];
    unsigned covered = 0;
    for (int i = 0; i < dims; i++) {
        n[i] = (hsize_t)a->n[order[i]];
        covered |= KR_ON(order[i]);
    }
    if (kr_count(kr_shape_without(kr_array_shape(a), covered)) != 1) {
        kr_text t = { 0 };
        for (int i = 0; i < dims; i++)
            kr_text_add(&t, "%s%s", i ? ", " : "", kr_axis_name(order[i]));
        kr_fail(KR_ESHAPE, "%s takes the axes %s; the array is %s", name, t.s ? t.s : "", kr_shape_text(kr_array_shape(a)));
        kr_text_clear(&t);
        return kr_error_code();
    }
    hid_t type = a->type == KR_R32 ? H5Tcopy(H5T_NATIVE_FLOAT) : H5Tcreate(H5T_COMPOUND, 8);
    if (type >= 0 && a->type == KR_C32) {
        H5Tinsert(type, re, 0, H5T_NATIVE_FLOAT);
        H5Tinsert(type, im, 4, H5T_NATIVE_FLOAT);
    }
    hid_t space = dims ? H5Screate_simple(dims, n, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = type < 0 || space < 0 ? -1 : H5Dcreate2(f->id, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int e = set < 0 ? not_written(name) : write_pieces(set, type, space, name, a, order, dims);
    if (set >= 0 && H5Dclose(set) < 0 && !e)
        e = not_written(name);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    return e;
}

static hid_t text_type(size_t n, bool utf8)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t >= 0) {
        H5Tset_size(t, n ? n : 1);
        H5Tset_strpad(t, H5T_STR_NULLPAD);
        H5Tset_cset(t, utf8 ? H5T_CSET_UTF8 : H5T_CSET_ASCII);
    }
    return t;
}

static bool beyond_ascii(const char *s)
{
    while (*s && !(*s & 0x80))
        s++;
    return *s;
}

int kr_h5_write_text(kr_h5 *f, const char *name, const char *text)
{
    hid_t type = text_type(strlen(text), beyond_ascii(text)), space = H5Screate(H5S_SCALAR);
    hid_t set = type < 0 || space < 0 ? -1 : H5Dcreate2(f->id, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int e = set < 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) < 0 ? not_written(name) : 0;
    if (set >= 0)
        H5Dclose(set);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    return e;
}

static int put(kr_h5 *f, const char *object, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attr = type < 0 || space < 0 ? -1
               : H5Acreate_by_name(f->id, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int e = attr < 0 || H5Awrite(attr, type, value) < 0 ? not_written(name) : 0;
    if (attr >= 0)
        H5Aclose(attr);
    if (space >= 0)
        H5Sclose(space);
    return e;
}

int kr_h5_put_number(kr_h5 *f, const char *object, const char *name, double value)
{
    return put(f, object, name, H5T_NATIVE_DOUBLE, &value);
}

int kr_h5_put_text(kr_h5 *f, const char *object, const char *name, const char *value)
{
    hid_t type = text_type(strlen(value), beyond_ascii(value));
    int e = put(f, object, name, type, value);
    if (type >= 0)
        H5Tclose(type);
    return e;
}

int kr_h5_put_meta(kr_h5 *f, const char *object, const kr_meta *meta)
{
    for (long i = 0; i < kr_meta_count(meta); i++)
        if (*kr_meta_value(meta, i)) {                  /* HDF5 takes at most 64 KiB */
            kr_auto char *value = kr_strf("%.60000s", kr_meta_value(meta, i));
            if (!value || kr_h5_put_text(f, object, kr_meta_key(meta, i), value))
                return kr_error_code();
        }
    return 0;
}
