/* fmt_png.c: pictures for looking at, and masks as pictures that can be read back. */
#include "kray/io.h"
#include "kray/picture.h"
#include "file.h"
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRIPE = 32 };        /* how high a mask of one axis is drawn */

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return bytes >= 8 && !memcmp(head, "\x89PNG\r\n\x1a\n", 8) ? 100 : 0;
}

/* ---- Writing ---- */
static int put(const kr_picture *p, const kr_meta *meta, const double mm[2], const char *path)
{
    kr_text t = { 0 };
    int e = p ? kr_picture_png(&t, p, meta, mm) : kr_error_code();
    if (!e)
        e = kr_file_write(path, &(kr_block){ t.s, t.len }, 1);
    kr_text_clear(&t);
    return e;
}

static int write_image(const kr_image *im, const char *path)
{
    kr_view v;
    const char *layout = kr_meta_get(im->meta, "layout");
    bool rows = layout && !strcmp(layout, "rows,columns") && !im->geom->known;   /* NumPy's pictures: Y runs down, X to the right */
    bool upright = kr_meta_get(im->meta, "upright");           /* X to the right, Y up */
    kr_scoped(array) up = upright ? kr_array_flip(im->data, KR_Y) : kr_array_ref(im->data);
    kr_scoped(array) a = !up ? NULL : rows || upright ? kr_array_rename(up, KR_X, KR_Y) : kr_array_ref(up);
    if (!a)
        return kr_error_code();
    const kr_geom *geom = upright ? NULL : im->geom;
    kr_view_of(&v, a, geom);
    double mm[2] = { 0, 0 };
    if (v.right <= KR_Z && v.down <= KR_Z && im->geom->known) {
        int right = upright ? KR_X : v.right, down = upright ? KR_Y : v.down;
        mm[0] = im->geom->fov_mm[right] / (double)im->data->n[right];
        mm[1] = im->geom->fov_mm[down] / (double)im->data->n[down];
    }
    if (!kr_meta_get(im->meta, "map")) {
        kr_scoped(picture) p = kr_picture_draw(a, geom, 0, 0, KR_GREY, 0, NULL);
        return put(p, im->meta, mm, path);
    }
    double high = kr_picture_level(a, 0.995);                /* maps of a quantity: in colours, with a bar */
    high = high > 0 ? high : 1;
    kr_scoped(picture) p = kr_picture_draw(a, geom, 0, high, KR_HOT, 0, NULL);
    kr_scoped(picture) barred = p ? kr_picture_bar(p, 0, high, KR_HOT) : NULL;
    return put(barred, im->meta, mm, path);
}

static bool is_mask(const kr_array *a)
{
    long n = kr_count(kr_array_shape(a));
    bool zero_or_one = a->type == KR_R32;
    for (long i = 0; i < n && zero_or_one; i++)
        zero_or_one = KR_R(a)[i] == 0 || KR_R(a)[i] == 1;
    return zero_or_one;
}

/* Masks are black and white with a note of how their axes lie: "x=32 y=320 time=7 across=3", axis down, axis to the
 * right, the axes of the tiles, tiles to a row; "-" is the axis that a mask of one axis is drawn along. */
static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    kr_scoped(array) p = kr_array_packed(a);
    kr_scoped(meta) m = kr_meta_copy(meta);
    if (!p || !m)
        return kr_error_code();
    kr_view v;
    kr_view_of(&v, p, NULL);
    kr_shape shape = kr_array_shape(p);
    bool mask = is_mask(p);
    int stripe = shape.n[v.down] == 1 ? v.down : shape.n[v.right] == 1 ? v.right : -1;
    if (stripe >= 0)
        shape.n[stripe] = STRIPE;
    long grid[2];
    kr_scoped(array) wide = kr_array_spread(p, shape);
    kr_scoped(picture) picture = wide ? kr_picture_draw(wide, NULL, 0, mask ? 1 : 0, KR_GREY, 0, grid) : NULL;
    if (!picture)
        return kr_error_code();
    if (mask && grid[1] == kr_count(shape) / (shape.n[v.down] * shape.n[v.right])) {
        kr_text t = { 0 };
        kr_text_add(&t, "%s=%ld %s=%ld", stripe == v.down ? "-" : kr_axis_name(v.down), shape.n[v.down],
                    stripe == v.right ? "-" : kr_axis_name(v.right), shape.n[v.right]);
        for (int d = 0; d < KR_AXES; d++)
            if (d != v.down && d != v.right && shape.n[d] > 1)
                kr_text_add(&t, " %s=%ld", kr_axis_name(d), shape.n[d]);
        kr_text_add(&t, " across=%ld", grid[0]);
        int e = t.failed ? kr_error_code() : kr_meta_set(m, "Layout", "%s", t.s);
        kr_text_clear(&t);
        if (e)
            return e;
    }
    return put(picture, m, NULL, path);
}

/* ---- Reading ---- */
typedef struct decoder {
    png_structp png;
    png_infop info;
    FILE *file;
    long w, h;
    unsigned char *pixel;
    unsigned char **row;
    char *layout;
    char sentence[128];
} decoder;

static void decoder_clear(decoder *d)
{
    png_destroy_read_struct(&d->png, &d->info, NULL);
    if (d->file)
        fclose(d->file);
    kr_free(d->pixel);
    kr_free(d->row);
    kr_free(d->layout);
}

static void on_error(png_structp png, png_const_charp sentence)
{
    decoder *d = png_get_error_ptr(png);
    snprintf(d->sentence, sizeof d->sentence, "%s", sentence);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp sentence)
{
    (void)png;
    (void)sentence;
}

/* To 8 bits of grey, whatever the picture is made of. All state is in *d, which outlives the jump. */
static int decode(decoder *d, int64_t bytes)
{
    if (setjmp(png_jmpbuf(d->png)))
        return kr_fail(KR_EFORMAT, "the PNG cannot be read: %s", d->sentence);
    png_init_io(d->png, d->file);
    png_set_user_limits(d->png, 1 << 16, 1 << 16);
    png_set_chunk_malloc_max(d->png, 1 << 20);
    png_set_benign_errors(d->png, 0);       /* a chunk over that limit is one; otherwise it is a warning, and 2 GiB are taken */
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_NEVER, (const unsigned char *)"iCCP", 1);   /* profiles are often wrong */
    png_read_info(d->png, d->info);
    d->w = png_get_image_width(d->png, d->info);
    d->h = png_get_image_height(d->png, d->info);
    if ((double)d->w * (double)d->h / 8 > 1100.0 * (double)bytes)      /* deflate packs at most 1032 to 1 */
        return kr_fail(KR_EFORMAT, "the PNG announces %ld x %ld pixels in %lld bytes", d->w, d->h, (long long)bytes);
    png_set_expand(d->png);
    png_set_scale_16(d->png);
    png_set_strip_alpha(d->png);
    if (png_get_color_type(d->png, d->info) & PNG_COLOR_MASK_COLOR)
        png_set_rgb_to_gray(d->png, PNG_ERROR_ACTION_NONE, -1, -1);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    if ((long)png_get_rowbytes(d->png, d->info) != d->w)
        return kr_fail(KR_EFORMAT, "the PNG's pixels cannot be made grey");
    d->pixel = kr_alloc((size_t)d->w, (size_t)d->h);
    d->row = kr_alloc((size_t)d->h, sizeof *d->row);
    if (!d->pixel || !d->row)
        return kr_error_code();
    for (long y = 0; y < d->h; y++)
        d->row[y] = d->pixel + y * d->w;
    png_read_image(d->png, d->row);
    png_read_end(d->png, d->info);
    png_textp text = NULL;
    int texts = 0;
    png_get_text(d->png, d->info, &text, &texts);
    for (int i = 0; i < texts; i++)
        if (!strcmp(text[i].key, "Layout") && text[i].text && !d->layout && !(d->layout = kr_strdup(text[i].text)))
            return kr_error_code();
    return 0;
}

/* What a layout says; axes of the page have their place in down and right, tiles follow in the order of the enum. */
typedef struct layout { int down, right; long n_down, n_right, across, tiles; kr_shape shape; } layout;

static int layout_parse(layout *l, const decoder *d)
{
    *l = (layout){ .tiles = 1 };
    char name[16];
    long n;
    int used, word = 0;
    for (const char *p = d->layout; sscanf(p, " %15[^ =]=%ld%n", name, &n, &used) == 2; p += used, word++) {
        int axis = strcmp(name, "-") ? kr_axis_named(name) : KR_AXES;
        bool twice = axis < 0 ? l->across != 0 : axis < KR_AXES && l->shape.n[axis] != 0;
        if (n < 1 || n > 1 << 24 || twice || (axis < 0 && strcmp(name, "across")) || (axis == KR_AXES && word > 1))
            return kr_fail(KR_EFORMAT, "the layout '%.60s' of the picture makes no sense", d->layout);
        if (axis < 0)
            l->across = n;
        else if (axis < KR_AXES)
            l->shape.n[axis] = n;
        if (word == 0)
            l->down = axis, l->n_down = n;
        else if (word == 1)
            l->right = axis, l->n_right = n;
        else if (axis >= 0 && (l->tiles *= n) > 1 << 28)
            return kr_fail(KR_EFORMAT, "the layout '%.60s' of the picture makes no sense", d->layout);
    }
    long rows = l->across > 0 ? (l->tiles + l->across - 1) / l->across : 0;
    if (word < 3 || l->across < 1 || l->down == l->right || kr_count(l->shape) < 1
        || l->across * (l->n_right + KR_PICTURE_GAP) - KR_PICTURE_GAP != d->w || rows * (l->n_down + KR_PICTURE_GAP) - KR_PICTURE_GAP != d->h)
        return kr_fail(KR_EFORMAT, "the layout '%.60s' does not fit a picture of %ld x %ld pixels", d->layout, d->w, d->h);
    return 0;
}

static int layout_plain(layout *l, const decoder *d, const char *axes)
{
    int order[KR_AXES] = { KR_X, KR_Y }, count = axes ? kr_axes_parse(axes, order) : 2;
    if (count < 0)
        return count;
    if (count != 2 || (order[0] == KR_AXES && d->h > 1) || (order[1] == KR_AXES && d->w > 1))
        return kr_fail(KR_EUSAGE, "a picture of %ld x %ld pixels has two axes to name, down and to the right", d->w, d->h);
    *l = (layout){ order[0], order[1], d->h, d->w, 1, 1, { { 0 } } };
    for (int k = 0; k < 2; k++)
        if (order[k] < KR_AXES)
            l->shape.n[order[k]] = k ? d->w : d->h;
    return 0;
}

static kr_array *mask_of(const decoder *d, const layout *l)
{
    kr_array *a = kr_array_new(KR_R32, l->shape);
    for (long i = 0; a && i < l->tiles; i++) {
        long tile = i, at = 0;
        for (int k = 0; k < KR_AXES; k++)
            if (k != l->down && k != l->right) {
                at += tile % a->n[k] * a->step[k];
                tile /= a->n[k];
            }
        const unsigned char *from = d->pixel + i / l->across * (l->n_down + KR_PICTURE_GAP) * d->w + i % l->across * (l->n_right + KR_PICTURE_GAP);
        for (long y = 0; y < l->n_down; y++)
            for (long x = 0; x < l->n_right; x++) {
                unsigned char v = from[y * d->w + x];
                if (v != 0 && v != 255) {
                    kr_fail(KR_EFORMAT, "the picture has greys (%d at column %ld, row %ld); a mask is black and white", v, x, y);
                    kr_array_unref(&a);
                    return NULL;
                }
                KR_R(a)[at + (l->down < KR_AXES ? y * a->step[l->down] : 0) + (l->right < KR_AXES ? x * a->step[l->right] : 0)] = v > 0;
            }
    }
    return a;
}

static int read_array(kr_array **out, const kr_source *src)
{
    decoder d = { .file = fopen(src->path, "rb") };
    if (!d.file)
        return kr_fail(KR_EFILE, "cannot be opened: %s", strerror(errno));
    int64_t bytes = fseeko(d.file, 0, SEEK_END) ? 0 : ftello(d.file);
    rewind(d.file);
    d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    int e = d.info ? decode(&d, bytes) : kr_fail(KR_EMEM, "no memory for a picture");
    layout l = { 0 };
    if (!e)
        e = d.layout && !src->axes ? layout_parse(&l, &d) : layout_plain(&l, &d, src->axes);
    if (!e && !(*out = mask_of(&d, &l)))
        e = kr_error_code();
    decoder_clear(&d);
    return e;
}

const kr_format kr_format_png = { "png", ".png", "PNG picture", probe, NULL, NULL, NULL, write_image, read_array, write_array, false, NULL, false };
