/* picture.c: arrays as pixels, and pixels as PNG. */
#include "kray/picture.h"
#include <math.h>
#include <png.h>
#include <string.h>

kr_picture *kr_picture_new(long w, long h, int channels)
{
    if (w < 1 || h < 1 || w > 1 << 20 || h > 1 << 20 || w * h * channels > 1L << 30) {
        kr_fail(KR_EREFUSED, "a picture of %ld x %ld pixels makes no sense", w, h);
        return NULL;
    }
    kr_picture *p = kr_alloc(1, sizeof *p);
    if (p)
        *p = (kr_picture){ w, h, channels, kr_alloc_zero((size_t)(w * h), (size_t)channels) };
    if (p && !p->pixel)
        kr_free_at(&p);
    return p;
}

void kr_picture_unref(kr_picture **p)
{
    if (*p)
        kr_free((*p)->pixel);
    kr_free_at(p);
}

/* ---- Colours ---- */
static unsigned char byte(double t) { return (unsigned char)(t <= 0 ? 0 : t >= 1 ? 255 : 255 * t + 0.5); }

void kr_palette_rgb(enum kr_palette palette, double t, unsigned char rgb[3])
{
    if (!isfinite(t)) {
        rgb[0] = rgb[2] = 255;
        rgb[1] = 0;
    } else if (palette == KR_GREY) {
        rgb[0] = rgb[1] = rgb[2] = byte(t);
    } else if (palette == KR_HOT) {
        rgb[0] = byte(t * 2.5);
        rgb[1] = byte(t * 2.5 - 1);
        rgb[2] = byte(t * 5 - 4);
    } else {
        double s = 2 * t - 1;              /* -1 blue, 0 white, 1 red */
        rgb[0] = byte(s < 0 ? 1 + 0.9 * s : 1 - 0.3 * s);
        rgb[1] = byte(1 - 0.9 * fabs(s));
        rgb[2] = byte(s < 0 ? 1 + 0.3 * s : 1 - 0.9 * s);
    }
}

/* ---- Which way up ---- */
static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void kr_view_of(kr_view *v, const kr_array *a, const kr_geom *geom)
{
    *v = (kr_view){ .down = -1, .right = -1 };
    bool plane = a->n[KR_X] > 1 && a->n[KR_Y] > 1;
    if (plane && geom && geom->known) {
        /* Patient directions (LPS) that should run to the right and down, by what the slice normal is nearest to. */
        static const double right[3][3] = { { 0, 1, 0 }, { 1, 0, 0 }, { 1, 0, 0 } }, down[3][3] = { { 0, 0, -1 }, { 0, 0, -1 }, { 0, 1, 0 } };
        const double *r = geom->read_dir, *p = geom->phase_dir;
        double normal[3] = { fabs(r[1] * p[2] - r[2] * p[1]), fabs(r[2] * p[0] - r[0] * p[2]), fabs(r[0] * p[1] - r[1] * p[0]) };
        int k = normal[2] >= normal[0] && normal[2] >= normal[1] ? 2 : normal[1] >= normal[0] ? 1 : 0;
        bool straight = fabs(dot(r, right[k])) + fabs(dot(p, down[k])) >= fabs(dot(p, right[k])) + fabs(dot(r, down[k]));
        v->right = straight ? KR_X : KR_Y;
        v->down = straight ? KR_Y : KR_X;
        v->flip_right = dot(straight ? r : p, right[k]) < 0;
        v->flip_down = dot(straight ? p : r, down[k]) < 0;
        return;
    }
    for (int d = 0; d < KR_AXES && v->right < 0; d++)
        if (a->n[d] > 1)
            *(v->down < 0 ? &v->down : &v->right) = d;
    if (v->right < 0) {                     /* one axis alone: X runs down as ever, any other to the right */
        v->right = v->down > KR_X ? v->down : KR_Y;
        v->down = KR_X;
    }
}

/* ---- Window ---- */
static float magnitude(const kr_array *a, const char *p)
{
    const float *f = (const float *)(const void *)p;
    return a->type == KR_C32 ? hypotf(f[0], f[1]) : fabsf(*f);
}

/* Positive floats sort as their bits do: one count of the upper 16 bits, then one of the lower inside the bin found. */
double kr_picture_level(const kr_array *a, double part)
{
    kr_scoped(array) p = kr_array_packed(a);
    kr_auto uint32_t *count = p ? kr_alloc(1 << 16, sizeof *count) : NULL;
    if (!count)
        return kr_max_abs(a);
    long n = kr_count(kr_array_shape(p));
    size_t width = p->type == KR_C32 ? 8 : 4;
    uint32_t high = 0;
    double below = 0, want = 0;
    for (int pass = 0; pass < 2; pass++) {
        memset(count, 0, sizeof *count << 16);
        long finite = 0;
        for (long i = 0; i < n; i++) {
            union { float f; uint32_t u; } m = { magnitude(p, (const char *)p->data + (size_t)i * width) };
            if (m.u >= 0x7f800000u || (pass && m.u >> 16 != high))
                continue;
            finite++;
            count[pass ? m.u & 0xffff : m.u >> 16]++;
        }
        if (!finite)
            return 0;
        if (!pass)
            want = fmax(1, ceil(part * (double)finite));
        uint32_t k = 0;
        while (k < 0xffff && below + count[k] < want)
            below += count[k++];
        if (pass)
            return (double)(union { uint32_t u; float f; }){ high << 16 | k }.f;
        high = k;
    }
    return 0;
}

/* ---- Tiles ---- */
enum { GAP = KR_PICTURE_GAP, WIDEST = 1 << 13 };

/* The view of tile i: all axes but the two of the page at one index each. */
static kr_array tile(const kr_array *a, const kr_view *v, long i)
{
    kr_array t = *a;
    for (int d = 0; d < KR_AXES; d++)
        if (d != v->down && d != v->right) {
            t.data = (char *)t.data + (i % a->n[d]) * a->step[d] * (a->type == KR_C32 ? 8 : 4);
            i /= a->n[d];
            t.n[d] = 1;
        }
    return t;
}

static void draw(kr_picture *p, long x0, long y0, const kr_array *t, const kr_view *v, double low, double high, enum kr_palette palette)
{
    long w = t->n[v->right], h = t->n[v->down], width = t->type == KR_C32 ? 8 : 4;
    for (long y = 0; y < h; y++)
        for (long x = 0; x < w; x++) {
            const char *at = (const char *)t->data
                + ((v->flip_down ? h - 1 - y : y) * t->step[v->down] + (v->flip_right ? w - 1 - x : x) * t->step[v->right]) * width;
            float m = low < 0 && t->type == KR_R32 ? *(const float *)(const void *)at : magnitude(t, at);
            unsigned char rgb[3];
            kr_palette_rgb(palette, high > low ? (m - low) / (high - low) : 0, rgb);
            if (p->channels == 1 && !isfinite(m))
                rgb[0] = 0;
            memcpy(p->pixel + ((y0 + y) * p->w + x0 + x) * p->channels, rgb, (size_t)p->channels);
        }
}

kr_picture *kr_picture_draw(const kr_array *a, const kr_geom *geom, double low, double high, enum kr_palette palette, long across,
                            long grid[2])
{
    kr_view v;
    kr_view_of(&v, a, geom);
    long w = a->n[v.right], h = a->n[v.down], all = kr_count(kr_array_shape(a)) / (w * h);
    if (w > WIDEST || h > WIDEST) {
        kr_fail(KR_EREFUSED, "%s is too large for a picture; at most %d pixels each way are drawn", kr_shape_text(kr_array_shape(a)), WIDEST);
        return NULL;
    }
    long most_across = (WIDEST + GAP) / (w + GAP), most = most_across * ((WIDEST + GAP) / (h + GAP));
    long tiles = all < most ? all : most;
    if (across < 1)
        across = lround(ceil(sqrt((double)tiles * (double)h / (double)w)));
    across = across < 1 ? 1 : across > tiles ? tiles : across;
    across = across > most_across ? most_across : across;
    long rows = (tiles + across - 1) / across;
    if (rows > (WIDEST + GAP) / (h + GAP)) {
        rows = (WIDEST + GAP) / (h + GAP);
        tiles = rows * across;
    }
    if (high <= low) {
        low = 0;
        high = kr_picture_level(a, 0.995);
        if (high <= 0)
            high = kr_max_abs(a);
    }
    kr_picture *p = kr_picture_new(across * (w + GAP) - GAP, rows * (h + GAP) - GAP, palette == KR_GREY ? 1 : 3);
    for (long i = 0; p && i < tiles; i++) {
        kr_array t = tile(a, &v, i * all / tiles);
        draw(p, i % across * (w + GAP), i / across * (h + GAP), &t, &v, low, high, palette);
    }
    if (grid) {
        grid[0] = across;
        grid[1] = tiles;
    }
    return p;
}

/* ---- PNG ---- */
struct sink { kr_text *png; char sentence[128]; };

static void on_error(png_structp png, png_const_charp sentence)
{
    struct sink *s = png_get_error_ptr(png);
    snprintf(s->sentence, sizeof s->sentence, "%s", sentence);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp sentence)
{
    (void)png;
    (void)sentence;
}

static void on_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    struct sink *s = png_get_io_ptr(png);
    kr_text_put(s->png, (const char *)bytes, n);
    if (s->png->failed)
        png_error(png, "no memory");
}

static void on_flush(png_structp png) { (void)png; }

static bool ascii(const char *s)
{
    while (*s && (unsigned char)*s < 128)
        s++;
    return !*s;
}

/* Text chunks are Latin-1; what is not plain ASCII goes into the international kind. Keys have at most 79 letters. */
static void put_text(png_structp png, png_infop info, const char *key, const char *value)
{
    char name[80], empty[] = "";
    snprintf(name, sizeof name, "%.79s", key);
    png_text t = { .compression = ascii(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE, .key = name,
                   .text = (char *)(uintptr_t)value, .lang = empty, .lang_key = empty };
    png_set_text(png, info, &t, 1);
}

int kr_picture_png(kr_text *out, const kr_picture *p, const kr_meta *meta, const double mm[2])
{
    struct sink sink = { out, "" };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return kr_fail(KR_EMEM, "no memory for a picture");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return kr_fail(out->failed ? KR_EMEM : KR_EREFUSED, "the picture cannot be made: %s", sink.sentence);
    }
    png_set_write_fn(png, &sink, on_bytes, on_flush);
    png_set_IHDR(png, info, (png_uint_32)p->w, (png_uint_32)p->h, 8, p->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (mm && mm[0] > 1e-3 && mm[1] > 1e-3)      /* pixels per metre: viewers that care show the right aspect */
        png_set_pHYs(png, info, (png_uint_32)lround(1000 / mm[0]), (png_uint_32)lround(1000 / mm[1]), PNG_RESOLUTION_METER);
    put_text(png, info, "Software", "Kray " KR_VERSION);
    for (long i = 0; i < kr_meta_count(meta); i++)
        put_text(png, info, kr_meta_key(meta, i), kr_meta_value(meta, i));
    png_write_info(png, info);
    for (long y = 0; y < p->h; y++)
        png_write_row(png, p->pixel + y * p->w * p->channels);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}
