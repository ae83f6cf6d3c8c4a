/* cmd_view.c: kray view: a volume, and labels on it, as one page to scroll through in three planes, or a slice in the terminal. */
#include "json.h"
#include "labels.h"
#include "page.h"
#include "rows.h"
#include "tool.h"
#include "view_page.h"
#include "kray/segmenter.h"
#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

typedef struct opts { const char *out, *beside, *plane; long slice, width; bool text, json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, out), NULL, "PAGE", "the page to write (.html): one file, nothing else is loaded" },
    { "beside", 0, KR_OPT_FILE, offsetof(opts, beside), NULL, "IMAGE", "another image of the same grid, shown below the first" },
    { "text", 0, KR_OPT_FLAG, offsetof(opts, text), NULL, NULL, "draw a slice in the terminal instead" },
    ROW_JSON(opts),
    { "plane", 0, KR_OPT_CHOICE, offsetof(opts, plane), "axial", "axial|coronal|sagittal", "of --text" },
    { "slice", 0, KR_OPT_INT, offsetof(opts, slice), "-1", "N", "of --text: from 0; -1: the middle" },
    { "width", 0, KR_OPT_INT, offsetof(opts, width), "78", "N", "of --text: columns" },
    KR_OPT_END };

enum { MOST = 1 << 28 };                      /* voxels of a page                                          */

/* A volume with x to the right, y to the front and z to the head, as near as its axes come. */
struct shown { kr_image *im; kr_array *v; long n[3]; double mm[3], low, high; char letter[6]; };

static void close_shown(struct shown *s)
{
    kr_array_unref(&s->v);
    kr_image_unref(&s->im);
}

static kr_image *upright(void)
{
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2, [KR_Y] = 2, [KR_Z] = 2));
    kr_scoped(geom) g = kr_geom_new(1);
    if (!a || !g)
        return NULL;
    g->known = true;
    for (int d = 0; d < 3; d++) {
        g->fov_mm[d] = 2;
        g->read_dir[d] = d == 0 ? -1 : 0;
        g->phase_dir[d] = d == 1 ? -1 : 0;
        g->slice_dir[d] = d == 2 ? 1 : 0;
    }
    return kr_image_new(a, g, NULL);
}

/* The first volume of an image. */
static int first_volume(kr_image **out, const char *path, const kr_trace *trace)
{
    kr_scoped(image) im = NULL;
    if (kr_image_read(&im, path))
        return kr_error_code();
    kr_scoped(image) m = kr_image_magnitude(im);
    kr_array *a = m ? kr_array_ref(m->data) : NULL;
    long more = 1;
    for (int d = 0; a && d < KR_AXES; d++)
        if (d != KR_X && d != KR_Y && a->n[d] > 1 && !(d == KR_SLICE ? a->n[KR_Z] == 1 : d == KR_Z)) {
            more *= a->n[d];
            kr_array *one = kr_array_at(a, d, 0);
            kr_array_unref(&a);
            a = one;
        }
    if (more > 1)
        kr_say(trace, KR_WARNING, "%s: the first of %ld volumes is shown", path, more);
    kr_scoped(array) packed = a ? kr_array_packed(a) : NULL;
    kr_array_unref(&a);
    *out = packed ? kr_image_new(packed, m->geom, im->meta) : NULL;
    return *out ? 0 : kr_error_code();
}

static void letters(struct shown *s)
{
    static const char plus[3] = { 'L', 'P', 'S' }, minus[3] = { 'R', 'A', 'I' };
    const double *dir[3] = { s->im->geom->read_dir, s->im->geom->phase_dir, s->im->geom->slice_dir };
    for (int k = 0; s->im->geom->known && k < 3; k++) {
        int best = 0;
        for (int d = 1; d < 3; d++)
            best = fabs(dir[k][d]) > fabs(dir[k][best]) ? d : best;
        s->letter[2 * k + 1] = dir[k][best] > 0 ? plus[best] : minus[best];
        s->letter[2 * k] = dir[k][best] > 0 ? minus[best] : plus[best];
    }
}

static int show(struct shown *s, const char *path, const kr_image *like, const kr_trace *trace)
{
    kr_turning how;
    kr_scoped(image) im = NULL;
    if (first_volume(&im, path, trace) || kr_image_turn(&s->im, &how, im, like))
        return kr_error_code();
    const kr_array *a = s->im->data;
    s->n[0] = a->n[KR_X], s->n[1] = a->n[KR_Y], s->n[2] = a->n[KR_SLICE] > 1 ? a->n[KR_SLICE] : a->n[KR_Z];
    if (s->n[0] * s->n[1] * s->n[2] > MOST)
        return kr_fail(KR_ESHAPE, "%s has %ld voxels; a page holds at most %d", path, s->n[0] * s->n[1] * s->n[2], MOST);
    s->v = kr_array_packed(a);
    double A[16];
    for (int k = 0; k < 3; k++)
        s->mm[k] = 1;
    if (s->im->geom->known && !kr_geom_affine(s->im->geom, (long[3]){ s->n[0], s->n[1], a->n[KR_Z] }, A))
        for (int k = 0; k < 3; k++)
            s->mm[k] = sqrt(A[k] * A[k] + A[4 + k] * A[4 + k] + A[8 + k] * A[8 + k]);
    kr_error_clear();
    letters(s);
    if (!s->v)
        return kr_error_code();
    s->low = INFINITY;
    for (long i = 0; i < s->n[0] * s->n[1] * s->n[2]; i++) {
        float v = KR_R(s->v)[i];
        s->low = isfinite(v) ? fmin(s->low, (double)v) : s->low;
    }
    s->low = isfinite(s->low) ? s->low : 0;
    s->low = s->low > 0 ? 0 : s->low;
    s->high = kr_picture_level(s->v, 0.999);
    s->high = s->high > s->low ? s->high : s->low + 1;
    return 0;
}

static unsigned char level(const struct shown *s, double v)
{
    double x = 255 * (v - s->low) / (s->high - s->low);
    return isfinite(x) ? (unsigned char)(x < 0 ? 0 : x > 255 ? 255 : x + 0.5) : 0;
}

/* ---- The page ---- */
static void put_quoted(kr_text *t, const char *text)
{
    json_t *j = json_words(text);
    char *quoted = json_dumps(j, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    kr_text_add(t, "%s", quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(j);
}

static int base64_zlib(kr_text *t, const unsigned char *v, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uLongf size = compressBound(n);
    kr_auto unsigned char *z = kr_alloc(size, 1);
    if (!z || compress2(z, &size, v, n, 6) != Z_OK)
        return z ? kr_fail(KR_EMEM, "the volume cannot be packed") : kr_error_code();
    char four[4 * 256];
    for (size_t i = 0, k = 0; i < size || k; ) {
        for (k = 0; i < size && k < 256; k++, i += 3) {
            unsigned b = (unsigned)z[i] << 16 | (i + 1 < size ? (unsigned)z[i + 1] << 8 : 0) | (i + 2 < size ? z[i + 2] : 0u);
            for (int d = 0; d < 4; d++)
                four[4 * k + (size_t)d] = (size_t)d > size - i ? '=' : digit[b >> (18 - 6 * d) & 63];
        }
        kr_text_put(t, four, 4 * k);
    }
    return 0;
}

static int put_image(kr_text *t, const struct shown *s, const char *name)
{
    long n = s->n[0] * s->n[1] * s->n[2];
    kr_auto unsigned char *v = kr_alloc((size_t)n, 1);
    for (long i = 0; v && i < n; i++)
        v[i] = level(s, (double)KR_R(s->v)[i]);
    kr_text_add(t, "{name:");
    put_quoted(t, name);
    kr_text_add(t, ",low:%.9g,high:%.9g,data:\"", s->low, s->high);
    int e = v ? base64_zlib(t, v, (size_t)n) : kr_error_code();
    kr_text_add(t, "\"}");
    return e;
}

/* Labels 1 ... 255 of the page, by their order, and their names. */
static int put_labels(kr_text *t, const struct shown *s, const char *path)
{
    kr_auto int32_t *v = NULL, *list = NULL;
    long n[3], count, voxels = s->n[0] * s->n[1] * s->n[2];
    if (kr_labels_of(&v, n, s->im))
        return kr_fail_in("%s", path);
    count = kr_labels_list(&list, v, NULL, voxels);
    if (count < 0 || count > 255)
        return count < 0 ? (int)count : kr_fail(KR_ESHAPE, "%s has %ld labels; a page shows at most 255", path, count);
    kr_auto unsigned char *to = kr_alloc_zero((size_t)voxels, 1), *of = kr_alloc_zero(KR_LABEL_MOST + 1, 1);
    if (!to || !of)
        return kr_error_code();
    for (long l = 0; l < count; l++)
        of[list[l]] = (unsigned char)(list[count - 1] < 256 ? list[l] : l + 1);
    for (long i = 0; i < voxels; i++)
        to[i] = of[v[i]];
    kr_text_add(t, "labels:\"");
    int e = base64_zlib(t, to, (size_t)voxels);
    kr_text_add(t, "\",names:{");
    for (long l = 0; l < count; l++) {
        const char *name = labels_name(s->im->meta, list[l]);
        kr_auto char *plain = name ? kr_strdup(name) : kr_strf("label %d", (int)list[l]);
        kr_text_add(t, "%s%d:", l ? "," : "", of[list[l]]);
        put_quoted(t, plain);
    }
    kr_text_add(t, "}");
    return e;
}

/* What ends a script early in HTML is written otherwise. */
static void put_script(kr_text *t, kr_text *data)
{
    for (char *p = data->s; p && (p = strstr(p, "</")); p++)
        p[0] = ' ';
    kr_text_put(t, data->s ? data->s : "", data->len);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int write_page(const opts *o, const char *image, const struct shown *s, const struct shown *b, const struct shown *l, const char *labels)
{
    kr_text t = { 0 }, d = { 0 };
    page_begin(&t, base_of(image));
    kr_text_add(&t, "<style>%s</style>\n<h1>", view_style);
    page_escape(&t, base_of(image));
    kr_text_add(&t, "</h1>\n<div class=\"bar\">");
    static const char *const plane[3] = { "axial", "coronal", "sagittal" };
    for (int k = 0; k < 3; k++)
        kr_text_add(&t, "<label>%s <input type=\"range\" id=\"s%d\" min=\"0\"></label>", plane[k], k);
    kr_text_add(&t, "<label>black <input type=\"range\" id=\"low\" min=\"0\" max=\"255\" value=\"0\"></label><label>white <input type=\"range\" id=\"high\" min=\"0\" max=\"255\" value=\"255\"></label>");
    if (l)
        kr_text_add(&t, "<label>labels <input type=\"range\" id=\"alpha\" min=\"0\" max=\"100\" value=\"45\"></label>");
    kr_text_add(&t, "</div>\n<div class=\"view\" id=\"view\"></div>\n<p id=\"told\" class=\"soft\">The volume is being unpacked ...</p>\n<p id=\"keys\"></p>\n"
                    "<p class=\"soft\">Wheel: slices. Click: the other planes follow. %s</p>\n<script>\n",
                s->letter[0] ? "Pictures as radiologists look: the patient's right is left." : "The file does not say how the patient lay.");
    kr_text_add(&d, "const vol={n:[%ld,%ld,%ld],mm:[%.6g,%.6g,%.6g],known:%s,letters:[", s->n[0], s->n[1], s->n[2], s->mm[0], s->mm[1], s->mm[2], s->im->geom->known ? "true" : "false");
    for (int k = 0; k < 6; k++)
        kr_text_add(&d, s->letter[k] ? "%s\"%c\"" : "%s\"\"", k ? "," : "", s->letter[k]);
    kr_text_add(&d, "],images:[");
    int e = put_image(&d, s, base_of(image));
    if (!e && b) {
        kr_text_add(&d, ",");
        e = put_image(&d, b, base_of(o->beside));
    }
    kr_text_add(&d, "],");
    if (!e && l)
        e = put_labels(&d, l, labels);
    else
        kr_text_add(&d, "labels:null,names:{}");
    kr_text_add(&d, "};\n");
    put_script(&t, &d);
    kr_text_put(&t, view_script, strlen(view_script));
    kr_text_add(&t, "</script>\n");
    page_end(&t);
    e = e ? e : t.failed || d.failed ? kr_fail(KR_EMEM, "no memory for the page") : kr_text_write(o->out, &t);
    kr_text_clear(&t);
    kr_text_clear(&d);
    return e;
}

/* ---- The terminal: two rows of pixels a line in grey where it is one, letters of a ramp where it is not ---- */
static int write_text(const opts *o, const struct shown *s, const struct shown *l)
{
    static const char ramp[] = " .:-=+*#%@";
    const int plane = o->plane[0] == 'a' ? 2 : o->plane[0] == 'c' ? 1 : 0, across = plane == 0 ? 1 : 0, down = plane == 2 ? 1 : 2;
    long at = o->slice < 0 ? s->n[plane] / 2 : o->slice, w = o->width;
    if (at >= s->n[plane] || w < 8 || w > 1000)
        return kr_fail(KR_EUSAGE, w < 8 || w > 1000 ? "--width %ld: 8 to 1000 columns" : "--slice %ld: there are %ld, from 0", w < 8 || w > 1000 ? w : at, s->n[plane]);
    bool colour = isatty(1), mirror = across == 0 && s->letter[1] == 'R';
    long h = lround((double)w * (double)s->n[down] * s->mm[down] / ((double)s->n[across] * s->mm[across])), rows = (h + 1) / 2;
    kr_text t = { 0 };
    for (long y = 0; y < rows; y++) {
        for (long x = 0; x < w; x++) {
            unsigned char v[2];
            char letter = 0;
            for (int k = 0; k < 2; k++) {
                long i[3], px = x * s->n[across] / w, py = (2 * y + k) * s->n[down] / h;
                i[plane] = at;
                i[across] = mirror ? s->n[across] - 1 - px : px;
                i[down] = py < s->n[down] ? s->n[down] - 1 - py : 0;
                long p = (i[2] * s->n[1] + i[1]) * s->n[0] + i[0];
                v[k] = py < s->n[down] ? level(s, (double)KR_R(s->v)[p]) : 0;
                long label = l ? (long)KR_R(l->v)[p] : 0;
                letter = label > 0 ? "0123456789"[label % 10] : letter;
            }
            if (letter && !colour)
                kr_text_add(&t, "%c", letter);
            else if (letter)
                kr_text_add(&t, "\x1b[38;5;%dm%c\x1b[0m", 9 + letter % 6, letter);
            else if (colour)
                kr_text_add(&t, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm\xe2\x96\x80\x1b[0m", v[0], v[0], v[0], v[1], v[1], v[1]);
            else
                kr_text_add(&t, "%c", ramp[(v[0] + v[1]) / 2 * 9 / 255]);
        }
        kr_text_add(&t, "\n");
    }
    kr_text_add(&t, "%s slice %ld of %ld", o->plane, at, s->n[plane]);
    if (s->letter[0])
        kr_text_add(&t, ", left to right %c to %c, top to bottom %c to %c", s->letter[2 * across + mirror], s->letter[2 * across + !mirror], s->letter[2 * down + 1], s->letter[2 * down]);
    kr_text_add(&t, "\n");
    int e = kr_text_write("-", &t);
    kr_text_clear(&t);
    return e;
}

static int run(void *opt, int files, char **file, const kr_trace *outer)
{
    const opts *o = opt;
    if (files < 1 || files > 2)
        return kr_fail(KR_EUSAGE, "an image is wanted, and labels if you like: kray view IMAGE [LABELS] -o page.html");
    if (!o->text && !o->out)
        return kr_fail(KR_EUSAGE, "where should the page go? Give -o page.html, or --text for the terminal");
    size_t length = o->out ? strlen(o->out) : 0;
    if (length > 4 && !strcasecmp(o->out + length - 4, ".png"))
        return kr_fail(KR_EUSAGE, "-o %s: a page is HTML (.html); a picture of an image: kray convert IMAGE picture.png", o->out);
    if (o->text && (o->out || o->beside))
        return kr_fail(KR_EUSAGE, "--text draws one image in the terminal: %s means nothing", o->out ? "-o" : "--beside");
    if (o->text && o->json)
        return kr_fail(KR_EUSAGE, "--text draws to standard output, and --json goes there: one of both");
    if (o->out && kr_text_can_write(o->out))
        return kr_error_code();
    for (int i = 0; o->out && i < files; i++)
        if (kr_output_apart(o->out, file[i]))
            return kr_error_code();
    struct answer a;
    answer_begin(&a, o->json, outer);
    const kr_trace *trace = &a.trace;
    json_t *j = answer_add(&a, o->out);
    json_object_set_new(j, "input", json_words(file[0]));
    json_object_set_new(j, "labels", json_words(files > 1 ? file[1] : NULL));
    json_object_set_new(j, "beside", json_words(o->beside));
    struct shown s = { 0 }, l = { 0 }, b = { 0 };
    kr_scoped(image) axes = upright();
    int e = axes ? show(&s, file[0], axes, trace) : kr_error_code();
    if (!e && files > 1)
        e = show(&l, file[1], s.im, trace) || kr_image_same_grid(l.im, s.im, file[1], file[0]) ? kr_error_code() : 0;
    if (!e && o->beside)
        e = show(&b, o->beside, s.im, trace) || kr_image_same_grid(b.im, s.im, o->beside, file[0]) ? kr_error_code() : 0;
    if (!e)
        e = o->text ? write_text(o, &s, files > 1 ? &l : NULL) : write_page(o, file[0], &s, o->beside ? &b : NULL, files > 1 ? &l : NULL, files > 1 ? file[1] : NULL);
    if (!e)
        json_object_set_new(j, "shape", json_shape(kr_array_shape(s.im->data)));
    else
        answer_failed(&a);
    close_shown(&s);
    close_shown(&l);
    close_shown(&b);
    return answer_end(&a, e);
}

const kr_tool kr_tool_view = { "view", "Evaluate", "show a volume, and labels on it, as an HTML page with three planes to scroll through", "IMAGE [LABELS] -o PAGE.html | --text",
    "  kray view t1.nii.gz -o t1.html                        # axial, coronal, sagittal; one file, opens anywhere\n"
    "  kray view t1.nii.gz tissue.nii.gz -o tissue.html      # labels over it\n"
    "  kray view sense.nii.gz --beside tv.nii.gz -o two.html\n"
    "  kray view t1.nii.gz tissue.nii.gz --text --plane coronal\n",
    table, sizeof(opts), NULL, run };
