/* h5.c: small safe steps over HDF5. HDF5 finds its way in the file; the numbers themselves are fetched and converted by
 * all threads: contiguous datasets straight from the file in tiles that stay in the cache, compressed ones chunk by chunk. */
#include "h5.h"
#include "file.h"
#include "h5vlen.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* zlib cannot make more than 1032 bytes of one; a dataset that announces more than this times the file is absurd. */
enum { INFLATE_MOST = 1032, SLACK = 1 << 20, NAMES_MOST = 100000 };

/* ---- Files ---- */
static const unsigned char signature[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };

bool kr_h5_is(const unsigned char *head, size_t bytes)
{
    return (bytes >= 8 && !memcmp(head, signature, 8)) || (bytes >= 520 && !memcmp(head + 512, signature, 8));
}

static kr_h5 *file_new(void)
{
    kr_h5 *f = kr_alloc_zero(1, sizeof *f);
    if (!f)
        return NULL;
    f->fd = -1;
    H5dont_atexit();              /* after a damaged file the library's own end spins and complains; Kray closes its files */
    H5Eget_auto2(H5E_DEFAULT, &f->say, &f->say_self);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return f;
}

static bool find_base(kr_h5 *f)
{
    hid_t p = H5Fget_create_plist(f->id);
    hsize_t block = 0;
    size_t address = 0, length = 0;
    bool good = p >= 0 && H5Pget_userblock(p, &block) >= 0 && H5Pget_sizes(p, &address, &length) >= 0;
    f->base = address == 8 && length == 8 ? (long)block : -1;
    if (p >= 0)
        H5Pclose(p);
    return good;
}

kr_h5 *kr_h5_open(const char *path)
{
    kr_h5 *f = file_new();
    if (!f)
        return NULL;
    int64_t bytes = 0;
    f->fd = kr_file_open(path, &bytes);
    f->bytes = (long)bytes;
    hid_t how = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(how, H5F_CLOSE_STRONG);             /* nothing of a damaged file stays open */
    if (f->fd >= 0)
        f->id = H5Fopen(path, H5F_ACC_RDONLY, how);
    H5Pclose(how);
    if (f->id > 0 && find_base(f))
        return f;
    if (f->fd >= 0)
        kr_fail(KR_EFORMAT, "HDF5 cannot open it: damaged, or cut off (%ld bytes)", f->bytes);
    kr_h5_unref(&f);
    return NULL;
}

kr_h5 *kr_h5_create(const char *path, long user_block)
{
    kr_h5 *f = file_new();
    hid_t p = f ? H5Pcreate(H5P_FILE_CREATE) : -1;
    if (p < 0)
        return f ? kr_h5_unref(&f), NULL : NULL;
    if (user_block)
        H5Pset_userblock(p, (hsize_t)user_block);
    f->id = H5Fcreate(path, H5F_ACC_TRUNC, p, H5P_DEFAULT);
    H5Pclose(p);
    if (f->id < 0) {
        f->id = 0;
        kr_h5_unref(&f);
        kr_fail(KR_EFILE, "cannot be written");
    }
    return f;
}

int kr_h5_close(kr_h5 **file)
{
    kr_h5 *f = *file;
    if (!f)
        return 0;
    bool bad = f->id > 0 && f->fd < 0 && H5Fflush(f->id, H5F_SCOPE_GLOBAL) < 0;
    bad |= f->id > 0 && H5Fclose(f->id) < 0;
    if (f->fd >= 0)
        close(f->fd);
    H5Eset_auto2(H5E_DEFAULT, f->say, f->say_self);
    kr_free(f);
    *file = NULL;
    return bad ? kr_fail(KR_EFILE, "cannot be written to its end") : 0;
}

void kr_h5_unref(kr_h5 **f)
{
    if (!*f)
        return;
    if ((*f)->id > 0)
        H5Fclose((*f)->id);
    if ((*f)->fd >= 0)
        close((*f)->fd);
    H5Eset_auto2(H5E_DEFAULT, (*f)->say, (*f)->say_self);
    kr_free(*f);
    *f = NULL;
}

/* ---- What is inside ---- */
/* 'd' dataset, 'g' group, 0: neither or absent. Every group on the way must exist, or HDF5 reports an error. */
static char object_kind(kr_h5 *f, const char *name)
{
    char part[512];
    size_t n = strlen(name);
    if (!n || n >= sizeof part)
        return 0;
    if (!strcmp(name, "/"))
        return 'g';
    for (size_t i = 1; i <= n; i++)
        if (i == n || name[i] == '/') {
            memcpy(part, name, i);
            part[i] = 0;
            if (H5Lexists(f->id, part, H5P_DEFAULT) <= 0)
                return 0;
        }
    H5O_info_t info;
    if (H5Oexists_by_name(f->id, name, H5P_DEFAULT) <= 0 || H5Oget_info_by_name2(f->id, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return 0;
    return info.type == H5O_TYPE_DATASET ? 'd' : info.type == H5O_TYPE_GROUP ? 'g' : 0;
}

bool kr_h5_has(kr_h5 *f, const char *name) { return object_kind(f, name) == 'd'; }

int kr_h5_list(kr_h5 *f, const char *group, kr_h5_each *each, void *self)
{
    hid_t g = H5Gopen2(f->id, group, H5P_DEFAULT);
    H5G_info_t info;
    int e = 0;
    if (g < 0)
        return kr_fail(KR_EFORMAT, "the group %s cannot be read", group);
    if (H5Gget_info(g, &info) < 0 || info.nlinks > NAMES_MOST)
        e = kr_fail(KR_EFORMAT, "the group %s cannot be listed", group);
    for (hsize_t i = 0; !e && i < info.nlinks; i++) {
        char name[256], full[512];
        if (H5Lget_name_by_idx(g, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0) {
            e = kr_fail(KR_EFORMAT, "the group %s cannot be listed", group);
            break;
        }
        snprintf(full, sizeof full, "%s/%s", strcmp(group, "/") ? group : "", name);
        char kind = object_kind(f, full);
        if (kind)
            e = each(self, name, kind == 'g');
    }
    H5Gclose(g);
    return e;
}

/* What kind of number an HDF5 type is. Only these are read, and converted here: the conversions of HDF5 1.10 fall over
 * types that a damaged file makes up. */
static enum kr_number number_of(hid_t type, bool *swap)
{
    H5T_class_t class = H5Tget_class(type);
    if (class == H5T_ENUM) {                       /* h5py's bool */
        hid_t base = H5Tget_super(type);
        enum kr_number k = base < 0 ? KR_NUMBER_NONE : number_of(base, swap);
        if (base >= 0)
            H5Tclose(base);
        return k;
    }
    const struct { enum kr_number kind; hid_t here, there; } known[] = {
        { KR_F32, H5T_IEEE_F32LE, H5T_IEEE_F32BE }, { KR_F64, H5T_IEEE_F64LE, H5T_IEEE_F64BE }, { KR_I8, H5T_STD_I8LE, H5T_STD_I8BE },
        { KR_U8, H5T_STD_U8LE, H5T_STD_U8BE }, { KR_I16, H5T_STD_I16LE, H5T_STD_I16BE }, { KR_U16, H5T_STD_U16LE, H5T_STD_U16BE },
        { KR_I32, H5T_STD_I32LE, H5T_STD_I32BE }, { KR_U32, H5T_STD_U32LE, H5T_STD_U32BE }, { KR_I64, H5T_STD_I64LE, H5T_STD_I64BE },
        { KR_U64, H5T_STD_U64LE, H5T_STD_U64BE } };
    if (class == H5T_FLOAT || class == H5T_INTEGER)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            for (int other = 0; other < 2; other++)
                if (H5Tequal(type, other ? known[i].there : known[i].here) > 0) {
                    *swap = other;
                    return known[i].kind;
                }
    return KR_NUMBER_NONE;
}

/* Complex: a compound of two parts of one kind: {r, i} (h5py) or {real, imag} (MATLAB). */
static void complex_of(kr_h5_set *s)
{
    static const char *const re[] = { "r", "real", "re" }, *const im[] = { "i", "imag", "im" };
    if (H5Tget_nmembers(s->type) != 2)
        return;
    bool swap[2] = { false, false };
    enum kr_number kind[2] = { KR_NUMBER_NONE, KR_NUMBER_NONE };
    for (unsigned m = 0; m < 2; m++) {
        char *name = H5Tget_member_name(s->type, m);
        hid_t type = H5Tget_member_type(s->type, m);
        for (int k = 0; name && type >= 0 && k < 3; k++)
            if (!strcmp(name, re[k]) || !strcmp(name, im[k])) {
                int p = !strcmp(name, im[k]);
                kind[p] = H5Tget_class(type) == H5T_FLOAT ? number_of(type, &swap[p]) : KR_NUMBER_NONE;
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
    else if ((class == H5T_FLOAT || class == H5T_INTEGER || class == H5T_ENUM) && (s->number = number_of(s->type, &s->swap)))
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
    long bytes = 0, most = s->file->bytes * INFLATE_MOST + SLACK;
    if (s->element <= 0 || __builtin_mul_overflow(s->count, s->element, &bytes) || bytes > most)
        return kr_fail(KR_EFORMAT, "dataset %s announces %s numbers, far more than the file's %ld bytes hold", s->name,
                       kr_lengths_text(s->n, dims), s->file->bytes);
    return 0;
}

/* Datasets whose numbers lie in other files could make Kray read any file: they are refused. */
static int check_layout(const kr_h5_set *s)
{
    hid_t p = H5Dget_create_plist(s->id);
    if (p < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", s->name);
    H5D_layout_t layout = H5Pget_layout(p);
    int others = layout == H5D_CONTIGUOUS ? H5Pget_external_count(p) : 0;
    H5Pclose(p);
    if (others || layout == H5D_VIRTUAL || layout < 0)
        return kr_fail(KR_EFORMAT, "the numbers of dataset %s lie in other files; that is not read", s->name);
    if (layout != H5D_CHUNKED && (s->kind == KR_H5_REAL || s->kind == KR_H5_COMPLEX)) {
        long want = s->count * s->element, have = (long)H5Dget_storage_size(s->id);
        if (want != have)
            return kr_fail(KR_EFORMAT, "dataset %s announces %ld bytes and holds %ld", s->name, want, have);
    }
    return 0;
}

kr_h5_set *kr_h5_set_open(kr_h5 *f, const char *name)
{
    char kind = object_kind(f, name);
    if (kind != 'd') {
        kr_fail(KR_EFORMAT, kind == 'g' ? "%s is a group; a dataset is wanted" : "there is no dataset %s", name);
        return NULL;
    }
    if (kr_h5_types_bad(f, name)) {
        kr_fail(KR_EFORMAT, "dataset %s is damaged: its type makes no sense", name);
        return NULL;
    }
    kr_h5_set *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->file = f;
    s->type = -1;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->id = H5Dopen2(f->id, name, H5P_DEFAULT);
    s->type = s->id < 0 ? -1 : H5Dget_type(s->id);
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
    s->part[1] = s->element;
    s->element *= 2;
    s->n[s->dims - 1] = last / 2;
    s->count /= 2;
    return 0;
}

/* ---- Reading numbers ---- */
/* A dataset on its way into an array. Lengths and steps are in numbers (a complex one counts once). */
struct job {
    const kr_h5_set *s;
    int dims, parts;                   /* dims at least 2: lengths of 1 are put in front                   */
    long n[KR_H5_DIMS + 2];            /* of the dataset                                                   */
    long from[KR_H5_DIMS + 2], count[KR_H5_DIMS + 2], step[KR_H5_DIMS + 2];  /* the block, and its place   */
    long size;                         /* bytes of one number, once it is `plain`                          */
    int fast;                          /* the dimension that is fastest in the array                       */
    float *to;
    long bytes;                        /* of the whole array                                               */
    /* contiguous */
    long at, tile, rows, tiles, blocks; /* units: outer x tiles along `fast` x blocks of rows               */
    unsigned char **scratch;           /* one per thread                                                   */
    /* chunked */
    long chunk[KR_H5_DIMS + 2], chunk_bytes, room, stored;  /* stored: bytes of what HDF5 takes for one number */
    int filters;
    enum { DEFLATE, SHUFFLE, CHECKSUM } filter[4];
    long batch;
    struct { unsigned char *raw; size_t bytes; uint32_t skip; long at[KR_H5_DIMS + 2]; } *piece;
};

/* Makes n numbers as they are in the file what they are in this machine: re, im, re, im, ..., in place. */
static void plain(const struct job *j, unsigned char *numbers, long n)
{
    const kr_h5_set *s = j->s;
    long bytes = kr_number_bytes(s->number);
    if (s->element != j->size || s->part[0] || s->part[1] != (j->parts == 2 ? bytes : 0))
        for (long k = 0; k < n; k++) {
            unsigned char both[16];
            for (int p = 0; p < j->parts; p++)
                memcpy(both + p * bytes, numbers + k * s->element + s->part[p], (size_t)bytes);
            memcpy(numbers + k * j->size, both, (size_t)j->size);
        }
    if (s->swap)
        kr_number_swap(numbers, s->number, n * j->parts);
}

/* n numbers that lie `stride` bytes apart in the file become neighbours. */
static void gather_line(const struct job *j, float *to, const unsigned char *from, long stride, long n)
{
    if (j->s->number == KR_F32 && j->parts == 2)
        for (long k = 0; k < n; k++)
            memcpy(to + 2 * k, from + k * stride, 8);
    else if (j->s->number == KR_F32)
        for (long k = 0; k < n; k++)
            memcpy(to + k, from + k * stride, 4);
    else if (j->s->number == KR_F64 && j->parts == 2)
        for (long k = 0; k < n; k++) {
            double v[2];
            memcpy(v, from + k * stride, 16);
            to[2 * k] = (float)v[0];
            to[2 * k + 1] = (float)v[1];
        }
    else
        for (long k = 0; k < n; k++)
            kr_number_floats(to + j->parts * k, 1, from + k * stride, j->s->number, j->parts);
}

/* A block of lengths n at src (src_step in numbers) goes to `to`. The last dimension is fast in src, `fast` in the array:
 * the two are walked in tiles, the others around them. */
static void place(const struct job *j, float *to, const unsigned char *src, const long n[], const long src_step[])
{
    int last = j->dims - 1;
    enum { TILE = 16 };
    long index[KR_H5_DIMS + 2] = { 0 };
    for (;;) {
        float *t = to;
        const unsigned char *f = src;
        for (int i = 0; i < j->dims; i++) {
            t += index[i] * j->step[i] * j->parts;
            f += index[i] * src_step[i] * j->size;
        }
        if (j->fast == last)
            kr_number_floats(t, 1, f, j->s->number, n[last] * j->parts);
        else
            for (long b = 0; b < n[last]; b += TILE)
                for (long a = 0; a < n[j->fast]; a += TILE)
                    for (long k = b; k < n[last] && k < b + TILE; k++)
                        gather_line(j, t + (k * j->step[last] + a) * j->parts, f + (k + a * src_step[j->fast]) * j->size,
                                    src_step[j->fast] * j->size, n[j->fast] - a < TILE ? n[j->fast] - a : TILE);
        int i = last;
        while (i >= 0 && (i == last || i == j->fast || ++index[i] == n[i]))
            index[i--] = 0;
        if (i < 0)
            return;
    }
}

/* One unit: `tile` indices along `fast`, `rows` along the last but one, all of the last, one index of the others. */
static int read_unit(void *self, long unit)
{
    struct job *j = self;
    int last = j->dims - 1, row = last - 1;
    long index[KR_H5_DIMS + 2] = { 0 }, n[KR_H5_DIMS + 2], src_step[KR_H5_DIMS + 2] = { 0 }, whole[KR_H5_DIMS + 2];
    unsigned char *buffer = j->scratch[kr_worker()];
    whole[last] = 1;
    for (int i = last; i > 0; i--)
        whole[i - 1] = whole[i] * j->n[i];
    index[row] = unit % j->blocks * j->rows;
    unit /= j->blocks;
    bool across = j->fast < row;
    if (across) {
        index[j->fast] = unit % j->tiles * j->tile;
        unit /= j->tiles;
    }
    for (int i = row - 1; i >= 0; i--)
        if (i != j->fast) {
            index[i] = unit % j->count[i];
            unit /= j->count[i];
        }
    float *to = j->to;
    long from = 0;
    for (int i = 0; i < j->dims; i++) {
        n[i] = 1;
        to += index[i] * j->step[i] * j->parts;
        from += (j->from[i] + index[i]) * whole[i];
    }
    n[last] = j->count[last];
    n[row] = j->count[row] - index[row] < j->rows ? j->count[row] - index[row] : j->rows;
    if (across)
        n[j->fast] = j->count[j->fast] - index[j->fast] < j->tile ? j->count[j->fast] - index[j->fast] : j->tile;
    src_step[last] = 1;
    src_step[row] = n[last];
    if (across)
        src_step[j->fast] = n[last] * n[row];
    bool gap = n[last] != j->n[last];
    long line = n[last] * j->s->element;
    for (long a = 0; a < (across ? n[j->fast] : 1); a++) {
        unsigned char *b = buffer + a * n[row] * n[last] * j->s->element;
        long at = j->at + (from + (across ? a * whole[j->fast] : 0)) * j->s->element;
        for (long r = 0; r < (gap ? n[row] : 1); r++)
            if (kr_file_read(j->s->file->fd, b + r * line, (size_t)((gap ? 1 : n[row]) * line), at + r * whole[row] * j->s->element))
                return kr_error_code();
    }
    plain(j, buffer, n[row] * n[last] * (across ? n[j->fast] : 1));
    place(j, to, buffer, n, src_step);
    return 0;
}

static int scratch_new(struct job *j, long room)
{
    int threads = kr_threads();
    if (!(j->scratch = kr_alloc_zero((size_t)threads, sizeof *j->scratch)))
        return kr_error_code();
    for (int i = 0; i < threads; i++)
        if (!(j->scratch[i] = kr_alloc((size_t)room, 1)))
            return kr_error_code();
    return 0;
}

static void scratch_free(struct job *j)
{
    for (int i = 0; j->scratch && i < kr_threads(); i++)
        kr_free(j->scratch[i]);
    kr_free(j->scratch);
    j->scratch = NULL;
}

/* Starting threads costs more than a small dataset is worth. */
static int for_each(long n, kr_body *body, struct job *j)
{
    enum { SMALL = 1 << 20 };
    if (j->bytes >= SMALL)
        return kr_for(n, body, j);
    for (long i = 0; i < n; i++)
        if (body(j, i))
            return kr_error_code();
    return 0;
}

static int read_contiguous(struct job *j)
{
    enum { CACHE = 1 << 18 };                               /* of one core; fewer reads than 64 KiB, as fast as 1 MiB */
    int last = j->dims - 1, row = last - 1;
    long line = j->count[last] * j->s->element, units = 1;
    bool across = j->fast < row;
    j->tile = across ? (j->count[j->fast] < 16 ? j->count[j->fast] : 16) : 1;
    j->tiles = across ? (j->count[j->fast] + j->tile - 1) / j->tile : 1;
    long most = CACHE / line / j->tile;                        /* whole tiles of rows, as many as the cache holds */
    j->rows = across ? (most < 1 ? 1 : most) : most < 16 ? 16 : most / 16 * 16;
    if (j->rows > j->count[row])
        j->rows = j->count[row];
    j->blocks = (j->count[row] + j->rows - 1) / j->rows;
    for (int i = 0; i < row; i++)
        units *= i == j->fast ? j->tiles : j->count[i];
    int e = scratch_new(j, j->tile * j->rows * line);
    if (!e)
        e = for_each(units * j->blocks, read_unit, j);
    scratch_free(j);
    return e;
}

/* ---- Chunks: HDF5 hands them over as they are in the file; unpacking is ours, on all threads ---- */
static int unpack(struct job *j, long i, unsigned char **bytes)
{
    unsigned char *a = j->scratch[kr_worker()], *b = a + j->room, *now = j->piece[i].raw;
    size_t n = j->piece[i].bytes;
    for (int k = j->filters - 1; k >= 0; k--) {
        if (j->piece[i].skip & 1u << k)
            continue;
        unsigned char *next = now == a ? b : a;
        if (j->filter[k] == CHECKSUM) {                     /* Fletcher's sum, 4 bytes at the end, is not looked at */
            n -= n < 4 ? n : 4;
            continue;
        }
        if (j->filter[k] == DEFLATE) {
            uLongf got = (uLongf)j->room;
            if (uncompress(next, &got, now, (uLong)n) != Z_OK)
                return kr_fail(KR_EFORMAT, "dataset %s is damaged: a compressed part cannot be unpacked", j->s->name);
            n = got;
        } else {                                            /* byte k of all numbers lies together */
            size_t size = (size_t)j->stored, m = n / size;
            if (n > (size_t)j->room)
                return kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of it has %zu bytes", j->s->name, n);
            for (size_t p = 0; p < size; p++)
                for (size_t q = 0; q < m; q++)
                    next[q * size + p] = now[p * m + q];
            memcpy(next + m * size, now + m * size, n - m * size);
        }
        now = next;
    }
    if (n != (size_t)j->chunk_bytes)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of %ld bytes unpacks to %zu", j->s->name, j->chunk_bytes, n);
    *bytes = now;
    return 0;
}

static int place_chunk(void *self, long i)
{
    struct job *j = self;
    unsigned char *src = NULL;
    long n[KR_H5_DIMS + 2], step[KR_H5_DIMS + 2], whole = 1;
    float *to = j->to;
    if (unpack(j, i, &src))
        return kr_error_code();
    plain(j, src, j->chunk_bytes / j->s->element);
    for (int d = j->dims - 1; d >= 0; d--) {               /* the part of the chunk that is wanted */
        long first = j->piece[i].at[d], a = first < j->from[d] ? j->from[d] : first;
        long end = first + j->chunk[d], stop = j->from[d] + j->count[d];
        n[d] = (end < stop ? end : stop) - a;
        step[d] = whole;
        src += (a - first) * whole * j->size;
        to += (a - j->from[d]) * j->step[d] * j->parts;
        whole *= j->chunk[d];
    }
    place(j, to, src, n, step);
    return 0;
}

static void batch_free(struct job *j)
{
    for (long i = 0; j->piece && i < j->batch; i++)
        kr_free_at(&j->piece[i].raw);
}

static int read_chunks(struct job *j)
{
    enum { BATCH = 16 };
    int lead = j->dims - j->s->dims, e = 0;
    long at[KR_H5_DIMS + 2], held = 0;
    if (!(j->piece = kr_alloc_zero(BATCH, sizeof *j->piece)) || (e = scratch_new(j, 2 * j->room)))
        e = kr_error_code();
    for (int d = 0; d < j->dims; d++)
        at[d] = j->from[d] / j->chunk[d] * j->chunk[d];
    for (bool more = true; !e && more; ) {
        hsize_t offset[KR_H5_DIMS], bytes = 0;
        for (int d = 0; d < j->s->dims; d++)
            offset[d] = (hsize_t)at[d + lead];
        unsigned skip;
        haddr_t place = HADDR_UNDEF;                       /* this size is what H5Dread_chunk will write, damaged or not */
        if (H5Dget_chunk_info_by_coord(j->s->id, offset, &skip, &place, &bytes) < 0 || place == HADDR_UNDEF)
            bytes = 0;                                     /* never written: zeros */
        if ((long)bytes > j->s->file->bytes)
            e = kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of it has %lld bytes", j->s->name, (long long)bytes);
        if (!e && bytes) {
            unsigned char *raw = kr_alloc((size_t)bytes, 1);
            j->piece[j->batch].raw = raw;
            j->piece[j->batch].bytes = (size_t)bytes;
            memcpy(j->piece[j->batch].at, at, sizeof at);
            if (!raw)
                e = kr_error_code();
            else if (H5Dread_chunk(j->s->id, H5P_DEFAULT, offset, &j->piece[j->batch].skip, raw) < 0)
                e = kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", j->s->name);
            held += (long)bytes;
            j->batch++;
        }
        int d = j->dims - 1;
        while (d >= 0 && (at[d] += j->chunk[d]) >= j->from[d] + j->count[d]) {
            at[d] = j->from[d] / j->chunk[d] * j->chunk[d];
            d--;
        }
        more = d >= 0;
        if (!e && j->batch && (!more || j->batch == BATCH || held > 64 << 20)) {
            e = for_each(j->batch, place_chunk, j);
            batch_free(j);
            j->batch = 0;
            held = 0;
        }
    }
    batch_free(j);
    kr_free_at(&j->piece);
    scratch_free(j);
    return e;
}

/* What chunks that were never written hold. */
static int fill_unwritten(struct job *j, hid_t plist)
{
    unsigned char value[16] = { 0 };
    H5D_fill_value_t kind;
    memset(j->to, 0, (size_t)j->bytes);
    if (H5Pfill_value_defined(plist, &kind) < 0 || kind != H5D_FILL_VALUE_USER_DEFINED || j->stored > 16)
        return 0;
    if (H5Pget_fill_value(plist, j->s->type, value) < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", j->s->name);
    if (j->stored != j->s->element)                        /* pairs */
        memcpy(value + j->stored, value, (size_t)j->stored);
    plain(j, value, 1);
    float one[2];
    kr_number_floats(one, 1, value, j->s->number, j->parts);
    if (one[0] != 0 || (j->parts == 2 && one[1] != 0))
        for (long i = 0; i < j->bytes / (long)sizeof *one; i++)
            j->to[i] = one[i % j->parts];
    return 0;
}

/* Fills in how the chunks are packed. */
static int chunks_of(struct job *j, hid_t plist)
{
    hsize_t chunk[KR_H5_DIMS];
    int lead = j->dims - j->s->dims;
    j->chunk_bytes = j->stored = (long)H5Tget_size(j->s->type);
    bool good = H5Pget_chunk(plist, KR_H5_DIMS, chunk) == j->s->dims;
    for (int d = 0; good && d < j->dims; d++) {
        j->chunk[d] = d < lead ? 1 : chunk[d - lead] > 1ull << 48 ? 0 : (long)chunk[d - lead];
        good = j->chunk[d] > 0 && !__builtin_mul_overflow(j->chunk_bytes, j->chunk[d], &j->chunk_bytes);
    }
    if (!good || j->chunk_bytes > j->s->file->bytes * INFLATE_MOST + SLACK)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: its parts make no sense", j->s->name);
    j->room = j->chunk_bytes + 4;                          /* a checksum may come out of the unpacker */
    if (j->stored != j->s->element) {                      /* pairs */
        if (j->chunk[j->dims - 1] % 2)
            return kr_fail(KR_EFORMAT, "dataset %s is stored in parts that cut its complex numbers in two", j->s->name);
        j->chunk[j->dims - 1] /= 2;
    }
    j->filters = H5Pget_nfilters(plist);
    if (j->filters < 0 || j->filters > 4)
        return kr_fail(KR_EFORMAT, "dataset %s is packed %d times over", j->s->name, j->filters);
    for (int k = 0; k < j->filters; k++) {
        unsigned flags, config;
        size_t values = 0;
        char name[32] = "";
        H5Z_filter_t id = H5Pget_filter2(plist, (unsigned)k, &flags, &values, NULL, sizeof name, name, &config);
        if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32)
            return kr_fail(KR_EFORMAT, "dataset %s is packed by HDF5 filter %d (%s); gzip and shuffle are read", j->s->name, (int)id, name);
        j->filter[k] = id == H5Z_FILTER_DEFLATE ? DEFLATE : id == H5Z_FILTER_SHUFFLE ? SHUFFLE : CHECKSUM;
    }
    return 0;
}

/* Datasets inside their header (compact, at most 64 KiB): HDF5 fetches the bytes, one index of the first dimensions at a
 * time, all of the last two. */
static int read_compact(struct job *j)
{
    int lead = j->dims - j->s->dims, last = j->dims - 1, dims = j->s->dims;
    bool pairs = j->s->element != (long)H5Tget_size(j->s->type);
    hid_t space = H5Dget_space(j->s->id);
    long n[KR_H5_DIMS + 2], step[KR_H5_DIMS + 2] = { 0 }, pieces = 1;
    for (int d = 0; d < j->dims; d++) {
        n[d] = d < last - 1 ? 1 : j->count[d];
        pieces *= d < last - 1 ? j->count[d] : 1;
    }
    step[last] = 1;
    step[last - 1] = n[last];
    kr_auto unsigned char *buffer = kr_alloc((size_t)(n[last] * n[last - 1]), (size_t)j->s->element);
    int e = !buffer ? kr_error_code() : space < 0 ? kr_fail(KR_EFORMAT, "dataset %s cannot be read", j->s->name) : 0;
    for (long p = 0; !e && p < pieces; p++) {
        hsize_t start[KR_H5_DIMS], count[KR_H5_DIMS];
        float *to = j->to;
        long rest = p, first[KR_H5_DIMS + 2] = { 0 };
        for (int d = last - 2; d >= 0; d--) {
            first[d] = rest % j->count[d];
            rest /= j->count[d];
            to += first[d] * j->step[d] * j->parts;
        }
        for (int d = 0; d < dims; d++) {
            start[d] = (hsize_t)(j->from[d + lead] + first[d + lead]);
            count[d] = (hsize_t)n[d + lead];
        }
        if (pairs) {
            start[dims - 1] *= 2;
            count[dims - 1] *= 2;
        }
        hid_t mem = dims ? H5Screate_simple(dims, count, NULL) : H5S_ALL;
        bool good = !dims || H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0;
        good = good && H5Dread(j->s->id, j->s->type, mem, dims ? space : H5S_ALL, H5P_DEFAULT, buffer) >= 0;
        if (dims && mem >= 0)
            H5Sclose(mem);
        if (!good)
            e = kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", j->s->name);
        else {
            plain(j, buffer, n[last] * n[last - 1]);
            place(j, to, buffer, n, step);
        }
    }
    if (space >= 0)
        H5Sclose(space);
    return e;
}

static int run(struct job *j)
{
    hid_t plist = H5Dget_create_plist(j->s->id);
    if (plist < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", j->s->name);
    H5D_layout_t layout = H5Pget_layout(plist);
    haddr_t at = layout == H5D_CONTIGUOUS ? H5Dget_offset(j->s->id) : HADDR_UNDEF;
    long bytes = j->s->count * j->s->element;
    bool contiguous = at != HADDR_UNDEF && (long)at >= 0 && (long)at <= j->s->file->bytes - bytes;
    j->at = (long)at;
    int e = at != HADDR_UNDEF && !contiguous
          ? kr_fail(KR_EFORMAT, "dataset %s of %ld bytes lies beyond the end of the file", j->s->name, bytes)
          : contiguous ? read_contiguous(j)
          : layout == H5D_COMPACT ? read_compact(j)
          : layout != H5D_CHUNKED ? kr_fail(KR_EFORMAT, "dataset %s was never written", j->s->name)
          : chunks_of(j, plist) || fill_unwritten(j, plist) ? kr_error_code()
          : read_chunks(j);
    H5Pclose(plist);
    return e;
}

int kr_h5_read(kr_array **out, const kr_h5_set *s, const int order[], const long from[], const long count[])
{
    *out = NULL;
    if (s->kind != KR_H5_REAL && s->kind != KR_H5_COMPLEX)
        return kr_fail(KR_EFORMAT, "dataset %s holds no numbers", s->name);
    struct job j = { .s = s, .parts = s->kind == KR_H5_COMPLEX ? 2 : 1, .dims = s->dims < 2 ? 2 : s->dims };
    int lead = j.dims - s->dims;
    kr_shape shape = { { 0 } };
    j.size = kr_number_bytes(s->number) * j.parts;
    for (int d = 0; d < j.dims; d++) {
        int i = d - lead;
        j.n[d] = i < 0 ? 1 : s->n[i];
        j.from[d] = i < 0 || !from ? 0 : from[i];
        j.count[d] = i < 0 ? 1 : count ? count[i] : s->n[i];
        if (j.from[d] < 0 || j.count[d] < 1 || j.from[d] > j.n[d] - j.count[d])
            return kr_fail(KR_ESHAPE, "%ld to %ld asked of %ld along axis %d of dataset %s", j.from[d], j.from[d] + j.count[d] - 1, j.n[d], i, s->name);
        if (i >= 0 && order[i] < KR_AXES)
            shape.n[order[i]] = j.count[d];
        kr_assert(i < 0 || order[i] < KR_AXES || j.count[d] == 1);
    }
    long total = kr_count(shape);
    kr_auto float *data = total < 0 ? NULL : kr_alloc((size_t)total, (size_t)j.parts * sizeof *data);
    if (!data)
        return total < 0 ? kr_fail(KR_EFORMAT, "dataset %s is too large", s->name) : kr_error_code();
    kr_array *a = kr_array_take(j.parts == 2 ? KR_C32 : KR_R32, shape, data);
    if (!a)
        return kr_error_code();
    data = NULL;
    j.to = a->data;
    j.bytes = total * j.parts * (long)sizeof(float);
    j.fast = j.dims - 1;
    for (int d = 0; d < j.dims; d++) {
        j.step[d] = d < lead || order[d - lead] == KR_AXES ? 0 : a->step[order[d - lead]];
        if (j.step[d] == 1)
            j.fast = d;
    }
    int e = run(&j);
    if (e)
        kr_array_unref(&a);
    *out = a;
    return e;
}

/* ---- Text and attributes ---- */
/* A text of fixed length, from a dataset or an attribute. */
static char *fixed_text(hid_t object, bool attribute, hid_t type, long most)
{
    long size = (long)H5Tget_size(type);
    if (size <= 0 || size > most) {
        kr_fail(KR_EFORMAT, "a text of %ld bytes cannot be read", size);
        return NULL;
    }
    char *out = kr_alloc_zero((size_t)size + 1, 1);
    if (out && (attribute ? H5Aread(object, type, out) : H5Dread(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out)) < 0) {
        kr_fail(KR_EFORMAT, "a text cannot be read");
        kr_free_at(&out);
    }
    return out;
}

/* A text of variable length; raw: its reference. */
static char *text_at(const kr_h5 *f, const unsigned char raw[KR_H5_REF])
{
    kr_h5_heap heap = { 0 };
    kr_h5_ref r = kr_h5_ref_of(raw);
    char *out = r.count > f->bytes ? NULL : kr_alloc_zero((size_t)r.count + 1, 1);
    if (r.count > f->bytes)
        kr_fail(KR_EFORMAT, "a text of %u bytes is announced", r.count);
    else if (out && kr_h5_heap_read(f, &heap, r, r.count, out))
        kr_free_at(&out);
    kr_h5_heap_clear(&heap);
    return out;
}

static char *variable_text(const kr_h5_set *s)
{
    unsigned char raw[KR_H5_REF];
    return kr_h5_rows(s, KR_H5_REF, 0, 1, raw) ? NULL : text_at(s->file, raw);
}

char *kr_h5_text(kr_h5 *f, const char *name)
{
    kr_scoped(h5_set) s = kr_h5_set_open(f, name);
    if (!s)
        return NULL;
    if (s->kind != KR_H5_TEXT || (s->count != 1 && H5Tis_variable_str(s->type) <= 0)) {
        kr_fail(KR_EFORMAT, "dataset %s is no text", name);
        return NULL;
    }
    char *t = H5Tis_variable_str(s->type) > 0 ? variable_text(s) : fixed_text(s->id, false, s->type, f->bytes);
    if (!t)
        kr_fail_in("dataset %s", name);
    return t;
}

static bool attr_open(kr_h5 *f, const char *object, const char *name, hid_t *attr, hid_t *type)
{
    *type = -1;
    if (kr_h5_types_bad(f, object))
        return false;
    if (H5Aexists_by_name(f->id, object, name, H5P_DEFAULT) <= 0)
        return false;
    *attr = H5Aopen_by_name(f->id, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (*attr < 0)
        return false;
    *type = H5Aget_type(*attr);
    hid_t space = H5Aget_space(*attr);
    bool one = *type >= 0 && space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    if (space >= 0)
        H5Sclose(space);
    if (one)
        return true;
    if (*type >= 0)
        H5Tclose(*type);
    H5Aclose(*attr);
    return false;
}

bool kr_h5_attr_number(kr_h5 *f, const char *object, const char *name, double *value)
{
    hid_t attr, type;
    if (!attr_open(f, object, name, &attr, &type))
        return false;
    bool swap = false;
    unsigned char raw[8] = { 0 };
    enum kr_number kind = number_of(type, &swap);
    bool good = kind && (long)H5Tget_size(type) == kr_number_bytes(kind) && H5Aread(attr, type, raw) >= 0;
    if (good && swap)
        kr_number_swap(raw, kind, 1);
    if (good)
        *value = kr_number_double(raw, kind);
    H5Tclose(type);
    H5Aclose(attr);
    return good;
}

char *kr_h5_attr_text(kr_h5 *f, const char *object, const char *name)
{
    hid_t attr, type;
    unsigned char raw[KR_H5_REF];
    if (!attr_open(f, object, name, &attr, &type))
        return NULL;
    bool vary = H5Tis_variable_str(type) > 0;
    char *t = H5Tget_class(type) != H5T_STRING ? NULL : !vary ? fixed_text(attr, true, type, 1 << 20)
            : kr_h5_attr_raw(f, object, name, raw) ? text_at(f, raw) : NULL;
    H5Tclose(type);
    H5Aclose(attr);
    return t;
}

int kr_h5_attrs(kr_meta *meta, kr_h5 *f, const char *object)
{
    H5O_info_t info;
    if (H5Oget_info_by_name2(f->id, object, &info, H5O_INFO_NUM_ATTRS, H5P_DEFAULT) < 0)
        return kr_fail(KR_EFORMAT, "the attributes of %s cannot be read", object);
    for (hsize_t i = 0; i < info.num_attrs && i < 1000; i++) {
        char name[128];
        if (H5Aget_name_by_idx(f->id, object, H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
            return kr_fail(KR_EFORMAT, "the attributes of %s cannot be read", object);
        double v;
        kr_auto char *t = NULL;
        if (kr_h5_attr_number(f, object, name, &v) ? kr_meta_set(meta, name, "%.17g", v)
            : (t = kr_h5_attr_text(f, object, name)) ? kr_meta_set(meta, name, "%s", t) : 0)
            return kr_error_code();
    }
    return 0;
}

/* ---- Writing ---- */
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
