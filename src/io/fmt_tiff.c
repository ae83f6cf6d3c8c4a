/* fmt_tiff.c: TIFF pictures of one number a pixel, and folders of them, as arrays: (page, row, column), (row, column) of a single picture; images, a page a slice. A
 * folder's files come in the order of the numbers in their names. Source: TIFF 6.0, by libtiff. */
#include "kray/io.h"
#include "metaimage.h"
#include "number.h"
#include "tiff.h"
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <tiffio.h>

/* ---- One file ---- */
static int keep_words(TIFF *t, void *self, const char *module, const char *words, va_list more)
{
    (void)t;
    (void)module;
    char *to = self;
    if (!*to)
        vsnprintf(to, 200, words, more);
    return 1;
}
static int no_words(TIFF *t, void *self, const char *module, const char *words, va_list more)
{
    (void)t; (void)self; (void)module; (void)words; (void)more;
    return 1;
}

struct page { long columns, rows; enum kr_number kind; };

static int page_of(struct page *p, TIFF *t)
{
    uint32_t w = 0, h = 0;
    uint16_t bits = 1, samples = 1, format = SAMPLEFORMAT_UINT, light = PHOTOMETRIC_MINISBLACK;
    TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &w);
    TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h);
    TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &light);
    static const enum kr_number real[9] = { [2] = KR_F16, [4] = KR_F32, [8] = KR_F64 }, plus[9] = { [1] = KR_U8, [2] = KR_U16, [4] = KR_U32 }, both[9] = { [1] = KR_I8, [2] = KR_I16, [4] = KR_I32 };
    p->columns = (long)w;
    p->rows = (long)h;
    p->kind = bits % 8 || bits > 64 ? KR_NUMBER_NONE : format == SAMPLEFORMAT_IEEEFP ? real[bits / 8] : format == SAMPLEFORMAT_INT ? both[bits / 8] : plus[bits / 8];
    if (samples != 1)
        return kr_fail(KR_EFORMAT, "a TIFF picture of %d numbers a pixel (a colour picture?); one is wanted", samples);
    if (p->kind == KR_NUMBER_NONE || (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_INT && format != SAMPLEFORMAT_IEEEFP && format != SAMPLEFORMAT_VOID))
        return kr_fail(KR_EFORMAT, "TIFF numbers of %d bits (kind %d) are not read; integers of 8, 16, 32 and real numbers of 16, 32, 64 bits are", bits, format);
    if (light == PHOTOMETRIC_PALETTE || light == PHOTOMETRIC_MINISWHITE)
        return kr_fail(KR_EFORMAT, light == PHOTOMETRIC_PALETTE ? "a TIFF picture with a colour table; plain numbers are wanted"
                                                                : "a TIFF picture in which 0 is white; plain numbers are wanted");
    if (w < 1 || h < 1 || w > 1 << 20 || h > 1 << 20)
        return kr_fail(KR_EFORMAT, "a TIFF picture of %u x %u pixels", w, h);
    return 0;
}

static int pixels(float *to, TIFF *t, const struct page *p)
{
    long each = kr_number_bytes(p->kind);
    if (TIFFIsTiled(t)) {
        uint32_t w = 0, h = 0;
        TIFFGetField(t, TIFFTAG_TILEWIDTH, &w);
        TIFFGetField(t, TIFFTAG_TILELENGTH, &h);
        tmsize_t size = TIFFTileSize(t);
        if (w < 1 || h < 1 || w > 1 << 14 || h > 1 << 14 || size > 1 << 28 || size < (tmsize_t)((long)w * (long)h * each))
            return kr_fail(KR_EFORMAT, "TIFF tiles of %u x %u pixels", w, h);
        kr_auto char *raw = kr_alloc_zero((size_t)size, 1);
        for (long y = 0; raw && y < p->rows; y += h)
            for (long x = 0; x < p->columns; x += w) {
                if (TIFFReadTile(t, raw, (uint32_t)x, (uint32_t)y, 0, 0) < 0)
                    return KR_EFORMAT;
                for (long r = 0; r < (long)h && y + r < p->rows; r++)
                    kr_number_floats(to + (y + r) * p->columns + x, 1, raw + r * (long)w * each, p->kind, x + (long)w < p->columns ? (long)w : p->columns - x);
            }
        return raw ? 0 : kr_error_code();
    }
    if (TIFFScanlineSize(t) < (tmsize_t)(p->columns * each))
        return KR_EFORMAT;
    kr_auto char *raw = kr_alloc_zero((size_t)TIFFScanlineSize(t), 1);
    for (long y = 0; raw && y < p->rows; y++) {
        if (TIFFReadScanline(t, raw, (uint32_t)y, 0) < 0)
            return KR_EFORMAT;
        kr_number_floats(to + y * p->columns, 1, raw, p->kind, p->columns);
    }
    return raw ? 0 : kr_error_code();
}

/* Adds a file's pages to *data: `*pages` of `*first`'s size so far. */
static int file(float **data, long *pages, long *room, struct page *first, const char *path)
{
    char words[200] = "";
    TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
    if (!o)
        return kr_fail(KR_EMEM, "no memory to open %s", path);
    TIFFOpenOptionsSetMaxSingleMemAlloc(o, (tmsize_t)1 << 30);
    TIFFOpenOptionsSetErrorHandlerExtR(o, keep_words, words);
    TIFFOpenOptionsSetWarningHandlerExtR(o, no_words, NULL);
    TIFF *t = TIFFOpenExt(path, "r", o);
    TIFFOpenOptionsFree(o);
    int e = t ? 0 : KR_EFORMAT;
    struct stat st = { 0 };
    if (!stat(path, &st))
        st.st_size = st.st_size < 1 << 16 ? 1 << 16 : st.st_size;
    for (bool more = t; more && !e; more = !e && TIFFReadDirectory(t)) {
        struct page p;
        e = page_of(&p, t);
        if (!e && p.columns * p.rows / 2000 > st.st_size)            /* no coder packs so densely */
            e = kr_fail(KR_EFORMAT, "%s: a picture of %ld x %ld pixels in a file of %lld bytes: it is damaged", path, p.columns, p.rows, (long long)st.st_size);
        if (!e && *pages && (p.columns != first->columns || p.rows != first->rows))
            e = kr_fail(KR_ESHAPE, "%s is a picture of %ld x %ld pixels, the first one of %ld x %ld", path, p.columns, p.rows, first->columns, first->rows);
        if (e)
            break;
        *first = p;
        if (*pages == *room) {
            float *bigger = kr_alloc((size_t)(p.columns * p.rows), (size_t)(*room = *room ? 2 * *room : 1) * sizeof *bigger);
            if (!bigger) {
                e = kr_error_code();
                break;
            }
            if (*pages)
                memcpy(bigger, *data, (size_t)(*pages * p.columns * p.rows) * sizeof *bigger);
            kr_free(*data);
            *data = bigger;
        }
        e = pixels(*data + *pages * p.columns * p.rows, t, &p);
        *pages += !e;
    }
    if (t)
        TIFFClose(t);
    return e && !kr_error_code() ? kr_fail(KR_EFORMAT, "%s: TIFF cannot be read: %s", path, *words ? words : "it is damaged") : e;
}

/* ---- Folders ---- */
static const char *const tiff_suffixes = ".tif .tiff";

static bool ends_so(const char *name, const char *suffixes)
{
    const char *dot = strrchr(name, '.');
    size_t n = dot && dot != name ? strlen(dot) : 0;
    for (const char *s = suffixes; n && *s; s += strcspn(s, " "), s += *s == ' ')
        if (strcspn(s, " ") == n && !strncasecmp(s, dot, n))
            return true;
    return false;
}

/* Numbers within names by their value, all else by letters. */
static int by_number(const void *pa, const void *pb)
{
    const char *a = *(const char *const *)pa, *b = *(const char *const *)pb;
    while (*a && *b)
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            while (*a == '0' && isdigit((unsigned char)a[1]))
                a++;
            while (*b == '0' && isdigit((unsigned char)b[1]))
                b++;
            size_t m = strspn(a, "0123456789"), n = strspn(b, "0123456789");
            int c = m != n ? m < n ? -1 : 1 : strncmp(a, b, n);
            if (c)
                return c;
            a += m;
            b += n;
        } else if (*a != *b)
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        else
            a++, b++;
    return *a ? 1 : *b ? -1 : strcmp(*(const char *const *)pa, *(const char *const *)pb);
}

char **kr_files_named(const char *folder, const char *prefix, const char *suffixes, long *count)
{
    DIR *d = opendir(folder);
    char **name = NULL;
    long room = 0;
    *count = 0;
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        if (!ends_so(e->d_name, suffixes) || (prefix && strncasecmp(e->d_name, prefix, strlen(prefix))))
            continue;
        if (*count == room) {
            char **more = kr_alloc((size_t)(room = room ? 2 * room : 64), sizeof *more);
            if (!more)
                break;
            if (name)
                memcpy(more, name, (size_t)*count * sizeof *more);
            kr_free(name);
            name = more;
        }
        name[(*count)++] = kr_strf("%s/%s", folder, e->d_name);
    }
    if (d)
        closedir(d);
    if (*count)
        qsort(name, (size_t)*count, sizeof *name, by_number);
    return name;
}

void kr_files_named_free(char **name, long count)
{
    for (long i = 0; i < count; i++)
        kr_free(name[i]);
    kr_free(name);
}

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    if (bytes)
        return bytes >= 8 && (!memcmp(head, "II*\0", 4) || !memcmp(head, "MM\0*", 4) || !memcmp(head, "II+\0", 4) || !memcmp(head, "MM\0+", 4)) ? 90 : 0;
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e = d ? readdir(d) : NULL; e && !found; e = readdir(d))
        found = ends_so(e->d_name, tiff_suffixes);
    if (d)
        closedir(d);
    return found ? 60 : 0;
}

int kr_tiff_read(kr_array **out, const kr_source *src, const char *const *path, long files)
{
    float *data = NULL;
    long pages = 0, room = 0;
    struct page p = { 0 };
    int e = 0, order[3];
    for (long i = 0; i < files && !e; i++)
        e = file(&data, &pages, &room, &p, path[i]);
    static const int usual[] = { KR_Z, KR_Y, KR_X };
    long n[3] = { pages, p.rows, p.columns };
    bool flat = pages == 1;
    e = e ? e : kr_axes_of(order, src, n + flat, 3 - flat, usual + flat, 3 - flat, "scan.tif@view,v,u");
    if (!e) {
        kr_shape shape = { { 0 } };
        int memory[3], axes = 0;
        for (int i = flat; i < 3; i++)
            if (order[i - flat] < KR_AXES) {
                shape.n[order[i - flat]] = n[i];
                memory[axes++] = order[i - flat];
            }
        for (int i = 0; i < axes / 2; i++) {                         /* slowest first here, fastest first there */
            int m = memory[i];
            memory[i] = memory[axes - 1 - i];
            memory[axes - 1 - i] = m;
        }
        kr_scoped(array) a = kr_array_take_order(KR_R32, shape, data, memory, axes);
        data = a ? NULL : data;
        *out = a ? kr_array_packed(a) : NULL;
        e = *out ? 0 : kr_error_code();
    }
    kr_free(data);
    return e;
}

static int read_array(kr_array **out, const kr_source *src)
{
    struct stat st;
    if (stat(src->path, &st) || !S_ISDIR(st.st_mode))
        return kr_tiff_read(out, src, (const char *const *)&src->path, 1);
    long count = 0;
    char **name = kr_files_named(src->path, NULL, tiff_suffixes, &count);
    int e = count ? kr_tiff_read(out, src, (const char *const *)name, count) : kr_fail(KR_EFORMAT, "no TIFF files are in this folder");
    kr_files_named_free(name, count);
    return e;
}

/* ---- Writing: a page a slice, numbers of 32 bits; the first row of a page is the one to be seen at the top ---- */
static int put_pages(TIFF *t, const kr_by_part *p, const char *notes, bool up)
{
    bool good = true;
    const long *n = p->n;
    for (long from = 0, some; from < n[2] && good; from += some) {
        kr_array *a = NULL;
        if (p->part(p->self, &a, from))
            return kr_error_code();
        some = a->n[KR_Z];
        for (long k = 0; k < some && good; k++) {
            good = TIFFSetField(t, TIFFTAG_IMAGEWIDTH, (uint32_t)n[0]) && TIFFSetField(t, TIFFTAG_IMAGELENGTH, (uint32_t)n[1]) && TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 32)
                   && TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 1) && TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP) && TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_NONE)
                   && TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK) && TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) && TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, (uint32_t)n[1])
                   && (from + k || TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, notes));
            for (long j = 0; j < n[1] && good; j++)
                good = TIFFWriteScanline(t, KR_R(a) + (k * n[1] + (up ? n[1] - 1 - j : j)) * n[0], (uint32_t)j, 0) == 1;
            good = good && TIFFWriteDirectory(t) == 1;
        }
        kr_array_unref(&a);
    }
    return good ? 0 : KR_EFILE;
}

static int write_parts(const kr_by_part *p, const char *path)
{
    const long *n = p->n;
    double mm[3];
    for (int d = 0; d < 3; d++)
        mm[d] = p->geom->fov_mm[d] > 0 ? p->geom->fov_mm[d] / (double)n[d] : 1;
    char words[200] = "";
    kr_text notes = { 0 };
    kr_text_add(&notes, "ImageJ=1.0\nimages=%ld\nslices=%ld\nunit=mm\nspacing=%.9g\nvoxel_mm=%.9g %.9g %.9g\n", n[2], n[2], mm[2], mm[0], mm[1], mm[2]);
    for (long i = 0; i < kr_meta_count(p->meta); i++)
        kr_text_add(&notes, "%s=%s\n", kr_meta_key(p->meta, i), kr_meta_value(p->meta, i));
    TIFFOpenOptions *o = notes.failed ? NULL : TIFFOpenOptionsAlloc();
    if (!o) {
        kr_text_clear(&notes);
        return kr_fail(KR_EMEM, "no memory to write a TIFF file");
    }
    TIFFOpenOptionsSetErrorHandlerExtR(o, keep_words, words);
    TIFFOpenOptionsSetWarningHandlerExtR(o, no_words, NULL);
    bool large = (double)n[0] * (double)n[1] * (double)n[2] * 4 + 1000 * (double)n[2] + (double)notes.len > 4e9;      /* beyond what offsets of 32 bits reach */
    TIFF *t = TIFFOpenExt(path, large ? "w8l" : "wl", o);
    TIFFOpenOptionsFree(o);
    int e = t ? put_pages(t, p, notes.s, kr_meta_get(p->meta, "upright")) : KR_EFILE;
    if (t)
        TIFFClose(t);
    kr_text_clear(&notes);
    return !e || kr_error_code() ? e : kr_fail(KR_EFILE, "the TIFF file cannot be written: %s", *words ? words : "libtiff does not say why");
}

static int write_image(const kr_image *im, const char *path) { return kr_parts_image(im, path, write_parts); }

const kr_format kr_format_tiff = {
    .name = "tiff", .suffix = ".tif .tiff", .summary = "TIFF pictures of one number a pixel, and folders of them: projections of CT; images, a page a slice", .probe = probe,
    .read_array = read_array, .write_image = write_image, .write_parts = write_parts };
