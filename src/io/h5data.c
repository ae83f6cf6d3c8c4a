/* h5data.c: what a dataset of an HDF5 file holds: kind of numbers, shape, and whether it can be what it says. */
#include "h5pack.h"
#include "h5vlen.h"
#include <string.h>
#include <strings.h>

/* What kind of number an HDF5 type is. Only these are read, and converted here: the conversions of HDF5 1.10 fall over
 * types that a damaged file makes up. */
enum kr_number kr_h5_number_of(hid_t type, bool *swap)
{
    H5T_class_t class = H5Tget_class(type);
    if (class == H5T_ENUM) {                       /* h5py's bool */
        hid_t base = H5Tget_super(type);
        enum kr_number k = base < 0 ? KR_NUMBER_NONE : kr_h5_number_of(base, swap);
        if (base >= 0)
            H5Tclose(base);
        return k;
    }
    const struct { enum kr_number kind; hid_t here, there; } known[] = {
        { KR_F32, H5T_IEEE_F32LE, H5T_IEEE_F32BE }, { KR_F64, H5T_IEEE_F64LE, H5T_IEEE_F64BE }, { KR_I8, H5T_STD_I8LE, H5T_STD_I8BE },
        { KR_U8, H5T_STD_U8LE, H5T_STD_U8BE }, { KR_I16, H5T_STD_I16LE, H5T_STD_I16BE }, { KR_U16, H5T_STD_U16LE, H5T_STD_U16BE },
        { KR_I32, H5T_STD_I32LE, H5T_STD_I32BE }, { KR_U32, H5T_STD_U32LE, H5T_STD_U32BE }, { KR_I64, H5T_STD_I64LE, H5T_STD_I64BE },
        { KR_U64, H5T_STD_U64LE, H5T_STD_U64BE } };
    size_t at[5];                                  /* 16-bit floats of IEEE 754, which HDF5 1.10 has no name for */
    if (class == H5T_FLOAT && H5Tget_size(type) == 2 && H5Tget_fields(type, &at[0], &at[1], &at[2], &at[3], &at[4]) >= 0 && at[0] == 15
        && at[1] == 10 && at[2] == 5 && at[3] == 0 && at[4] == 10 && H5Tget_ebias(type) == 15) {
        *swap = H5Tget_order(type) == H5T_ORDER_BE;
        return KR_F16;
    }
    if (class == H5T_FLOAT || class == H5T_INTEGER)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            for (int other = 0; other < 2; other++)
                if (H5Tequal(type, other ? known[i].there : known[i].here) > 0) {
                    *swap = other;
                    return known[i].kind;
                }
    return KR_NUMBER_NONE;
}

/* Complex: a compound of two parts of one kind: {r, i} (h5py) or {real, imag} (MATLAB); whole numbers, too, as converters keep them. */
static void complex_of(kr_h5_set *s)
{
    static const char *const re[] = { "r", "real", "re" }, *const im[] = { "i", "imag", "im", "imaginary" };
    if (H5Tget_nmembers(s->type) != 2)
        return;
    bool swap[2] = { false, false };
    enum kr_number kind[2] = { KR_NUMBER_NONE, KR_NUMBER_NONE };
    for (unsigned m = 0; m < 2; m++) {
        char *name = H5Tget_member_name(s->type, m);
        hid_t type = H5Tget_member_type(s->type, m);
        for (size_t k = 0; name && type >= 0 && k < sizeof im / sizeof *im; k++)
            if (!strcasecmp(name, im[k]) || (k < sizeof re / sizeof *re && !strcasecmp(name, re[k]))) {
                int p = !strcasecmp(name, im[k]);
                H5T_class_t class = H5Tget_class(type);
                kind[p] = class == H5T_FLOAT || class == H5T_INTEGER ? kr_h5_number_of(type, &swap[p]) : KR_NUMBER_NONE;
                s->part[p] = (long)H5Tget_member_offset(s->type, m);
            }
        if (type >= 0)
            H5Tclose(type);
        H5free_memory(name);
    }
    long bytes = kr_number_bytes(kind[0]), last = s->element - bytes;
    if (kind[0] && kind[0] == kind[1] && swap[0] == swap[1] && s->part[0] >= 0 && s->part[0] <= last && s->part[1] >= 0 && s->part[1] <= last) {
        s->kind = KR_H5_COMPLEX;
        s->number = kind[0];
        s->swap = swap[0];
    }
}

static void kind_of(kr_h5_set *s)
{
    H5T_class_t class = H5Tget_class(s->type);
    s->element = (long)H5Tget_size(s->type);
    if (class == H5T_STRING)
        s->kind = KR_H5_TEXT;
    else if (class == H5T_COMPOUND)
        complex_of(s);
    else if ((class == H5T_FLOAT || class == H5T_INTEGER || class == H5T_ENUM) && (s->number = kr_h5_number_of(s->type, &s->swap)))
        s->kind = kr_number_bytes(s->number) == s->element ? KR_H5_REAL : KR_H5_OTHER;
}

/* Lengths, and whether the file can hold what they announce. */
static int check_lengths(kr_h5_set *s)
{
    hid_t space = H5Dget_space(s->id);
    hsize_t n[H5S_MAX_RANK];
    int dims = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool good = dims >= 0 && H5Sget_simple_extent_dims(space, n, NULL) == dims && H5Sget_simple_extent_type(space) != H5S_NULL;
    if (space >= 0)
        H5Sclose(space);
    if (!good || dims > KR_H5_DIMS)
        return kr_fail(KR_EFORMAT, "dataset %s has no shape that can be read (%d axes)", s->name, dims);
    s->dims = dims;
    s->count = 1;
    for (int i = 0; i < dims; i++) {
        s->n[i] = n[i] > 1ull << 48 ? 1L << 48 : (long)n[i];
        if (!n[i])
            return kr_fail(KR_EFORMAT, "dataset %s is empty", s->name);
        if (n[i] > 1ull << 48 || __builtin_mul_overflow(s->count, s->n[i], &s->count))
            return kr_fail(KR_EFORMAT, "dataset %s announces %s numbers, far more than the file's %ld bytes hold", s->name,
                           kr_lengths_text(s->n, i + 1), s->file->bytes);
    }
    long bytes = 0, most = s->file->bytes * KR_H5_INFLATE_MOST + KR_H5_SLACK;
    if (s->element <= 0 || __builtin_mul_overflow(s->count, s->element, &bytes) || bytes > most)
        return kr_fail(KR_EFORMAT, "dataset %s announces %s numbers, far more than the file's %ld bytes hold", s->name,
                       kr_lengths_text(s->n, dims), s->file->bytes);
    return 0;
}

/* Numbers that lie in other files could make Kray read any file: they are refused. */
static int check_joined(const kr_h5_set *s, hid_t plist)
{
    size_t count = 0;
    if (H5Pget_virtual_count(plist, &count) < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", s->name);
    for (size_t i = 0; i < count; i++) {
        char file[128] = "";
        if (H5Pget_virtual_filename(plist, i, file, sizeof file) < 0 || strcmp(file, "."))
            return kr_fail(KR_EFORMAT, "dataset %s is put together of parts of other files, as %s, which are not followed; h5repack makes "
                           "one file of them", s->name, file);
    }
    return 0;
}

static int check_layout(kr_h5_set *s)
{
    hid_t p = H5Dget_create_plist(s->id);
    if (p < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", s->name);
    H5D_layout_t layout = H5Pget_layout(p);
    int others = layout == H5D_CONTIGUOUS ? H5Pget_external_count(p) : 0, e = 0;
    s->joined = layout == H5D_VIRTUAL;
    if (others || layout < 0)
        e = kr_fail(KR_EFORMAT, "the numbers of dataset %s lie in other files; that is not read", s->name);
    else if (s->joined)
        e = check_joined(s, p);
    else if (layout != H5D_CHUNKED && (s->kind == KR_H5_REAL || s->kind == KR_H5_COMPLEX)) {
        long want = s->count * s->element, have = (long)H5Dget_storage_size(s->id);
        if (want != have)
            e = kr_fail(KR_EFORMAT, "dataset %s announces %ld bytes and holds %ld", s->name, want, have);
    }
    H5Pclose(p);
    return e;
}

hid_t kr_h5_dataset(kr_h5 *f, const char *name)
{
    char kind = kr_h5_object(f, name);
    if (kind == 'x')
        return kr_fail(KR_EFORMAT, "%s is a link to another file, %s, which is not followed", name, f->elsewhere);
    if (kind != 'd')
        return kr_fail(KR_EFORMAT, kind == 'g' ? "%s is a group; a dataset is wanted" : "there is no dataset %s", name);
    unsigned newer = 0;
    if (kr_h5_types_bad(f, name, &newer))
        return kr_fail(KR_EFORMAT, newer ? "dataset %s has a type of a newer HDF5 (format %u; libhdf5 %d.%d.%d, which reads it here, knows up to %d): written with "
                       "libver='v110', or without libver, it is read" : "dataset %s is damaged: its type or its chunks make no sense", name, newer, H5_VERS_MAJOR, H5_VERS_MINOR,
                       H5_VERS_RELEASE, KR_H5_TYPES);
    hid_t id = H5Oopen(f->id, name, f->links);
    return id < 0 ? kr_fail(KR_EFORMAT, "dataset %s cannot be opened", name) : id;
}

kr_h5_set *kr_h5_set_open(kr_h5 *f, const char *name)
{
    hid_t id = kr_h5_dataset(f, name);
    kr_h5_set *s = id < 0 ? NULL : kr_alloc_zero(1, sizeof *s);
    if (!s) {
        if (id >= 0)
            H5Dclose(id);
        return NULL;
    }
    s->file = f;
    s->reim = -1;
    s->id = id;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->type = H5Dget_type(s->id);
    if (s->type < 0) {
        kr_fail(KR_EFORMAT, "dataset %s cannot be opened", name);
        kr_h5_set_unref(&s);
        return NULL;
    }
    kind_of(s);
    if (check_lengths(s) || check_layout(s))
        kr_h5_set_unref(&s);
    return s;
}

void kr_h5_set_unref(kr_h5_set **set)
{
    kr_h5_set *s = *set;
    if (!s)
        return;
    if (s->type >= 0)
        H5Tclose(s->type);
    if (s->id >= 0)
        H5Dclose(s->id);
    kr_free(s);
    *set = NULL;
}

int kr_h5_set_pairs(kr_h5_set *s)
{
    long last = s->dims ? s->n[s->dims - 1] : 1;
    if (s->kind != KR_H5_REAL || last % 2)
        return kr_fail(KR_EFORMAT, "dataset %s of %s is no list of real and imaginary parts", s->name, kr_lengths_text(s->n, s->dims));
    s->kind = KR_H5_COMPLEX;
    s->woven = true;
    s->n[s->dims - 1] = last / 2;
    s->count /= 2;
    return 0;
}

int kr_h5_set_reim(kr_h5_set *s, int axis)
{
    if (s->kind != KR_H5_REAL || axis < 0 || axis >= s->dims || s->n[axis] != 2)
        return kr_fail(KR_EFORMAT, "dataset %s of %s%s has no axis of length 2 there that could hold real and imaginary part", s->name,
                       kr_lengths_text(s->n, s->dims), s->kind == KR_H5_COMPLEX ? ", complex already," : "");
    s->kind = KR_H5_COMPLEX;
    s->reim = axis;
    memmove(s->n + axis, s->n + axis + 1, (size_t)(--s->dims - axis) * sizeof *s->n);
    s->count /= 2;
    return 0;
}
