/* fmt_metaimage.c: MetaImage (.mhd beside a raw file, .mha in one piece): a raw file of any scanner can be read by writing six lines of
 * header, and an image is written as a raw file whose header says what it is. Source: ITK's MetaIO documentation. */
#include "kray/io.h"
#include "file.h"
#include "metaimage.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    char text[256] = "";
    memcpy(text, head, bytes < sizeof text - 1 ? bytes : sizeof text - 1);
    for (const char *p = text; (p = strstr(p, "NDims")); p++)        /* NDims = 3, NDims=3; as a word of its own */
        if (p[5 + strspn(p + 5, " \t")] == '=')
            return 85;
    return strstr(text, "ObjectType = Image") ? 85 : 0;
}

static int numbers_of(double *to, int most, const char *text)
{
    int n = 0;
    for (char *end; n < most; n++, text = end) {
        to[n] = strtod(text, &end);
        if (end == text)
            break;
    }
    return n;
}

static int line(kr_metaimage *m, const char *name, const char *value, const char *path, bool *local)
{
    static const struct { const char *name; enum kr_number kind; } types[] = {
        { "MET_UCHAR", KR_U8 }, { "MET_CHAR", KR_I8 }, { "MET_USHORT", KR_U16 }, { "MET_SHORT", KR_I16 }, { "MET_UINT", KR_U32 }, { "MET_INT", KR_I32 },
        { "MET_ULONG_LONG", KR_U64 }, { "MET_LONG_LONG", KR_I64 }, { "MET_FLOAT", KR_F32 }, { "MET_DOUBLE", KR_F64 } };
    double v[KR_AXES] = { 0 };
    int got = numbers_of(v, KR_AXES, value);
    if (!strcmp(name, "DimSize")) {
        m->dims = got;
        m->count = 1;
        for (int i = 0; i < got; i++) {
            m->n[i] = v[i] >= 1 && v[i] < 1e12 ? (long)v[i] : 0;
            if (m->n[i] < 1 || __builtin_mul_overflow(m->count, m->n[i], &m->count))
                return kr_fail(KR_EFORMAT, "DimSize = %s", value);
        }
    } else if (!strcmp(name, "ElementType")) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            m->kind = strcmp(value, types[i].name) ? m->kind : types[i].kind;
        if (m->kind == KR_NUMBER_NONE)
            return kr_fail(KR_EFORMAT, "ElementType = %s; integers of 1 to 8 bytes (MET_USHORT, ...), MET_FLOAT and MET_DOUBLE are read", value);
    } else if (!strcmp(name, "ElementByteOrderMSB") || !strcmp(name, "BinaryDataByteOrderMSB"))
        m->swap = !strcasecmp(value, "True");
    else if (!strcmp(name, "BinaryData") && !strcasecmp(value, "False"))
        return kr_fail(KR_EFORMAT, "BinaryData = False: numbers as text are not read; binary ones are");
    else if (!strcmp(name, "TransformMatrix")) {
        double t[9];
        int n = numbers_of(t, 9, value), side = n == 9 ? 3 : n == 4 ? 2 : 0;
        for (int i = 0; side && i < n; i++)
            m->turned |= fabs(t[i] - (i / side == i % side)) > 1e-6;
    } else if (!strcmp(name, "CompressedData"))
        m->packed = !strcasecmp(value, "True");
    else if (!strcmp(name, "ElementNumberOfChannels") && v[0] > 1)
        return kr_fail(KR_EFORMAT, "%s numbers a voxel; one is read", value);
    else if (!strcmp(name, "HeaderSize") && got && !(v[0] >= -1 && v[0] < 1e15))
        return kr_fail(KR_EFORMAT, "HeaderSize %.40s: a number of bytes is wanted, or -1", value);
    else if (!strcmp(name, "HeaderSize"))
        m->at = got ? (long)v[0] : 0;
    else if (!strcmp(name, "ElementSpacing") || (!strcmp(name, "ElementSize") && !(m->spacing[0] > 0)))      /* the size of an element is its spacing where that is not said */
        for (int i = 0; i < got && i < 3; i++)
            m->spacing[i] = v[i];
    else if (!strcmp(name, "Offset") || !strcmp(name, "Position") || !strcmp(name, "Origin"))
        for (int i = 0; i < got && i < 3; i++)
            m->first[i] = v[i];
    else if (!strcmp(name, "ElementDataFile")) {
        *local = !strcmp(value, "LOCAL");
        kr_auto char *folder = kr_file_folder(path);
        if (strchr(value, '%') || !strcmp(value, "LIST"))
            return kr_fail(KR_EFORMAT, "numbers in a list of files are not read; one file is");
        m->data = *local ? kr_strdup(path) : *value == '/' ? kr_strdup(value) : folder ? kr_strf("%s/%s", folder, value) : NULL;
        return m->data ? 0 : kr_error_code();
    }
    return 0;
}

int kr_metaimage_read(kr_metaimage *m, const char *path)
{
    *m = (kr_metaimage){ 0 };
    char name[64], value[1024], text[1200];
    FILE *f = fopen(path, "rb");
    if (!f)
        return kr_fail(KR_EFILE, "%s: cannot be opened", path);
    int e = 0;
    bool local = false;
    for (int lines = 0; !e && !m->data && lines < 200 && fgets(text, sizeof text, f); lines++)
        if (sscanf(text, " %63[A-Za-z] = %1023[^\r\n]", name, value) == 2) {
            for (size_t k = strlen(value); k && value[k - 1] == ' '; )
                value[--k] = 0;
            e = line(m, name, value, path, &local);
        }
    if (local)
        m->at = ftell(f);
    fclose(f);
    if (!e && (!m->data || !m->dims || m->kind == KR_NUMBER_NONE))
        e = kr_fail(KR_EFORMAT, "a MetaImage header without %s", !m->dims ? "DimSize" : m->kind == KR_NUMBER_NONE ? "ElementType" : "ElementDataFile");
    if (e) {
        kr_free(m->data);
        m->data = NULL;
    }
    return e;
}

static int unpack(char *to, size_t bytes, const char *from, size_t length)
{
    uLongf got = bytes;
    return uncompress((Bytef *)to, &got, (const Bytef *)from, length) == Z_OK && got == bytes ? 0 : kr_fail(KR_EFORMAT, "packed numbers of a MetaImage are damaged");
}

/* As many floats as the header announces, where the file can hold them. */
static float *numbers(const kr_metaimage *m)
{
    int64_t length = 0, each = kr_number_bytes(m->kind), bytes = 0;
    int fd = kr_file_open(m->data, &length), e = 0;
    if (fd < 0)
        return NULL;
    if (__builtin_mul_overflow(m->count, each, &bytes) || m->at < -1 || (m->packed ? m->at > length || bytes / 2000 > length : bytes > length - (m->at < 0 ? 0 : m->at)))
        e = kr_fail(KR_EFORMAT, "%s holds %lld bytes, %s numbers of %lld bytes behind the first %ld are announced", m->data, (long long)length,
                    kr_lengths_text(m->n, m->dims), (long long)each, m->at < 0 ? 0 : m->at);
    kr_auto char *raw = e ? NULL : kr_alloc((size_t)bytes, 1);
    e = e ? e : raw ? 0 : kr_error_code();
    if (!e && m->packed) {
        long from = m->at < 0 ? 0 : m->at;
        kr_auto char *packed = kr_alloc((size_t)(length - from) + 1, 1);
        e = packed ? kr_file_read(fd, packed, (size_t)(length - from), from) : kr_error_code();
        e = e ? e : unpack(raw, (size_t)bytes, packed, (size_t)(length - from));
    } else if (!e)
        e = kr_file_read(fd, raw, (size_t)bytes, m->at < 0 ? length - bytes : m->at);
    close(fd);
    float *to = e ? NULL : kr_alloc((size_t)m->count, sizeof *to);
    if (to) {
        if (m->swap)
            kr_number_swap(raw, m->kind, m->count);
        kr_number_floats(to, 1, raw, m->kind, m->count);
    }
    return to;
}

static int read_array(kr_array **out, const kr_source *src)
{
    static const int usual[] = { KR_X, KR_Y, KR_Z, KR_TIME };
    kr_metaimage m;
    int order[KR_AXES], memory[KR_AXES], axes = 0;
    if (kr_metaimage_read(&m, src->path))
        return kr_error_code();
    kr_auto float *data = NULL;
    int e = kr_axes_of(order, src, m.n, m.dims, usual, 4, "scan.mhd@u,v,view");
    e = e ? e : (data = numbers(&m)) ? 0 : kr_error_code();
    kr_free(m.data);
    if (e)
        return e;
    kr_shape shape = { { 0 } };
    for (int i = 0; i < m.dims; i++)
        if (order[i] < KR_AXES) {
            shape.n[order[i]] = m.n[i];
            memory[axes++] = order[i];
        }
    kr_scoped(array) a = kr_array_take_order(KR_R32, shape, data, memory, axes);
    if (!a)
        return kr_error_code();
    data = NULL;
    *out = kr_array_packed(a);
    return *out ? 0 : kr_error_code();
}

/* ---- Writing: numbers of 32 bits as they are (scale 1), X fastest ---- */
kr_array *kr_volume_of(const kr_image *im, long n[3], double mm[3])
{
    const kr_array *a = im->data;
    int deep = a->n[KR_SLICE] > 1 ? KR_SLICE : KR_Z;
    n[0] = a->n[KR_X], n[1] = a->n[KR_Y], n[2] = a->n[deep];
    if (a->type != KR_R32 || kr_count(kr_array_shape(a)) != n[0] * n[1] * n[2]) {
        kr_fail(KR_EREFUSED, "files of this kind hold one volume of real numbers, not %s %s; .nii.gz and .npy hold it", a->type == KR_R32 ? "real" : "complex", kr_shape_text(kr_array_shape(a)));
        return NULL;
    }
    for (int d = 0; d < 3; d++) {
        double all = im->geom->fov_mm[d];
        mm[d] = all > 0 ? d == 2 && deep == KR_SLICE ? all : all / (double)n[d] : 1;
    }
    kr_scoped(array) volume = kr_array_copy_order(a, (int[]){ KR_X, KR_Y, deep }, 3);
    return !volume ? NULL : deep == KR_SLICE ? kr_array_rename(volume, KR_SLICE, KR_Z) : kr_array_ref(volume);       /* planes along z, as kr_by_part has them */
}

/* A line each: readers pass over names that they do not know, while the Comment of MetaIO has room for 255 letters. */
static void put_notes(kr_text *t, const kr_meta *m)
{
    for (long i = 0; i < kr_meta_count(m); i++) {
        kr_text_add(t, "%s = ", kr_meta_key(m, i));
        for (const char *p = kr_meta_value(m, i); *p; p++)
            kr_text_add(t, "%c", (unsigned char)*p < 32 ? ' ' : *p);
        kr_text_add(t, "\n");
    }
}

static int whole(void *self, kr_array **out, long from)
{
    kr_assert(!from);
    *out = kr_array_ref(self);
    return *out ? 0 : kr_error_code();
}

/* All planes to the end of an open file. */
int kr_parts_put(const kr_by_part *p, int fd, int (*put)(int fd, const void *data, size_t bytes))
{
    for (long from = 0, n; from < p->n[2]; from += n) {
        kr_array *a = NULL;
        if (p->part(p->self, &a, from))
            return kr_error_code();
        kr_assert(a->n[KR_X] == p->n[0] && a->n[KR_Y] == p->n[1] && a->n[KR_Z] <= p->n[2] - from && a->type == KR_R32 && kr_array_contiguous(a));
        n = a->n[KR_Z];
        int e = put(fd, a->data, (size_t)(p->n[0] * p->n[1] * n) * sizeof(float));
        kr_array_unref(&a);
        if (e)
            return e;
    }
    return 0;
}

static int write_parts(const kr_by_part *p, const char *path)
{
    double first[3] = { 0, 0, 0 }, mm[3];
    for (int d = 0; d < 3; d++)
        mm[d] = p->geom->fov_mm[d] > 0 ? p->geom->fov_mm[d] / (double)p->n[d] : 1;
    const char *place = kr_meta_get(p->meta, "first_voxel_mm"), *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (place && numbers_of(first, 3, place) != 3)
        return kr_fail(KR_EFORMAT, "first_voxel_mm = %s; three numbers are wanted", place);
    bool apart = dot && !strcasecmp(dot, ".mhd");
    kr_auto char *raw = apart ? kr_strf("%.*s.raw", (int)(dot - path), path) : NULL;
    kr_text t = { 0 };
    kr_text_add(&t, "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n");
    kr_text_add(&t, "Offset = %.9g %.9g %.9g\nElementSpacing = %.9g %.9g %.9g\nDimSize = %ld %ld %ld\n", first[0], first[1], first[2], mm[0], mm[1], mm[2], p->n[0], p->n[1], p->n[2]);
    put_notes(&t, p->meta);
    kr_text_add(&t, "ElementType = MET_FLOAT\nElementDataFile = %s\n", apart ? strrchr(raw ? raw : "/", '/') + 1 : "LOCAL");
    int e = t.failed || (apart && !raw) ? kr_error_code() : 0, fd = e ? -1 : kr_file_create(path);
    e = e ? e : fd < 0 ? fd : kr_file_put(fd, t.s, t.len);
    if (apart && fd >= 0) {
        e = kr_file_close(fd, e);
        fd = e ? -1 : kr_file_create(raw);
        e = e ? e : fd < 0 ? fd : 0;
    }
    e = e ? e : kr_parts_put(p, fd, kr_file_put);
    kr_text_clear(&t);
    return fd >= 0 ? kr_file_close(fd, e) : e;
}

int kr_parts_image(const kr_image *im, const char *path, int (*write)(const kr_by_part *p, const char *path))
{
    kr_by_part p = { .meta = im->meta, .part = whole };
    double mm[3];
    kr_scoped(array) a = kr_volume_of(im, p.n, mm);
    kr_scoped(geom) g = a ? kr_geom_copy(im->geom) : NULL;
    if (!g)
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        g->fov_mm[d] = mm[d] * (double)p.n[d];
    p.geom = g;
    p.self = a;
    return write(&p, path);
}

static int write_image(const kr_image *im, const char *path) { return kr_parts_image(im, path, write_parts); }

const kr_format kr_format_metaimage = {
    .name = "metaimage", .suffix = ".mhd .mha", .summary = "MetaImage: projections and volumes of CT; .mhd is the header of a raw file", .probe = probe,
    .read_array = read_array, .write_image = write_image, .write_parts = write_parts, .columns_first = true };
