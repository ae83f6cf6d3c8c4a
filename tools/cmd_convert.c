/* cmd_convert.c: kray convert IN... -o OUT: the same data in another format: raw data, images or plain arrays. */
#include "batch.h"
#include "json.h"
#include "regrid.h"
#include "rows.h"
#include "tool.h"
#include <string.h>
#include <strings.h>

typedef struct opts { const char *output, *from, *to, *what, *axes, *resample, *pixels; long multiband, caipi, single_band; bool recursive, json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "file; with several inputs a folder: --to names the format there; else images keep theirs, raw data become .h5" },
    ROW_RECURSIVE(opts),
    { "from", 0, KR_OPT_TEXT, offsetof(opts, from), NULL, "FORMAT", "read as this format, whatever it looks like" },
    ROW_TO(opts),
    { "what", 0, KR_OPT_CHOICE, offsetof(opts, what), "auto", "auto|raw|image|array", "which part; auto: raw data if both formats can, else the image, else the array" },
    { "multiband", 0, KR_OPT_INT, offsetof(opts, multiband), "0", "N", "make a full scan a multiband (SMS) scan of factor N (noise adds up), with a single-band reference" },
    { "caipi", 0, KR_OPT_INT, offsetof(opts, caipi), "0", "N", "with --multiband: CAIPI shift of FOV/N between neighbouring slices of a band; 1: none, 0: N = multiband factor" },
    ROW_SINGLE_BAND(opts),
    { "axes", 0, KR_OPT_TEXT, offsetof(opts, axes), NULL, "RAS", "of images: put the axes in this order and direction (RAS, LPS, ...), as near as they come; voxels stay" },
    { "resample", 0, KR_OPT_TEXT, offsetof(opts, resample), NULL, "MM[,MM,MM]", "of images: voxels of this size, over the same extent (cubic splines; labels: the nearest)" },
    { "pixels", 0, KR_OPT_CHOICE, offsetof(opts, pixels), "float", "float|ushort", "ushort: of images, whole numbers of 12 bits, 4095 the brightest of the image" },
    ROW_JSON(opts),
    KR_OPT_END };

/* The format that the output's name asks for; the first in the table with that suffix, as in writing. */
static bool can(const opts *o, const char *path, const kr_format *in, const char *what)
{
    bool raw = !strcmp(what, "raw"), image = !strcmp(what, "image");
    if (!(raw ? in->read != NULL : image ? in->read_image != NULL : in->read_array != NULL))
        return false;
    for (int i = 0; kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        bool writes = raw ? f->write != NULL : image ? f->write_image != NULL : f->write_array != NULL;
        bool named = o->to && !strcmp(o->to, f->name);
        for (const char *s = f->suffix; !o->to && s && *s; s += strcspn(s, " "), s += *s == ' ') {
            size_t k = strcspn(s, " "), n = strlen(path);
            named |= k && n > k && !strncasecmp(path + n - k, s, k);
        }
        if (named && writes)
            return true;
    }
    return false;
}

static int one(const char *from, const char *to, const opts *o, json_t *j, const kr_trace *trace)
{
    kr_source src;
    if (kr_source_parse(&src, from))
        return kr_error_code();
    const kr_format *in = o->from ? kr_format_named(o->from) : kr_format_of(src.path);
    kr_source_clear(&src);
    if (!in)
        return kr_error_code();
    bool chosen = strcmp(o->what, "auto"), raw = chosen ? !strcmp(o->what, "raw") : can(o, to, in, "raw");
    bool image = chosen ? !strcmp(o->what, "image") : can(o, to, in, "image");
    bool narrow = !strcmp(o->pixels, "ushort");
    if (o->axes || o->resample || narrow) {                        /* only images have places in the patient */
        if (!image || (chosen && raw))
            return kr_fail(KR_EUSAGE, "--axes, --resample and --pixels ushort are for images, which %s and %s do not both hold", from, to);
        raw = false;
    }
    kr_auto char *why = NULL;                            /* of a format that can hold raw data this file has none */
    if (raw) {
        kr_scoped(scan) s = NULL;
        if (!kr_scan_read(&s, from, o->from, NULL, trace)) {
            if (kr_scan_to_kspace(s, s->in_image) || (o->multiband && kr_multiband_collapse(s, o->multiband, o->caipi ? o->caipi : o->multiband,
                                                                                           o->single_band < s->shape.n[KR_Y] ? o->single_band : 0)))
                return kr_error_code();
            json_object_set_new(j, "what", json_words("raw"));
            json_object_set_new(j, "shape", json_shape(s->shape));
            return kr_scan_write(s, to, o->to);
        }
        if (!image || kr_error_code() != KR_EFORMAT)
            return kr_error_code();
        why = kr_strdup(kr_error());
    }
    if (image) {
        kr_scoped(image) im = NULL;
        if (!kr_image_read(&im, from)) {
            const char *others = kr_meta_get(im->meta, "other_series");
            if (others)
                kr_say(trace, KR_INFO, "%s: one series of images is converted; the file also holds %s", from, others);
            if (kr_meta_get(im->meta, "place_unknown"))
                kr_say(trace, KR_WARNING, "%s: %s: where it lies in the patient is unknown", from, kr_meta_get(im->meta, "place_unknown"));
            if ((o->axes && regrid_axes(&im, o->axes, trace)) || (o->resample && regrid_resample(&im, o->resample, trace)))
                return kr_fail_in("%s", from);
            kr_scoped(image) whole = NULL;
            if (narrow && kr_image_twelve_bits(&whole, im))
                return kr_fail_in("%s", from);
            batch_voxel_unknown(im, to, o->to, trace);
            kr_meta_set_whole((whole ? whole : im)->meta, kr_whole());
            json_object_set_new(j, "what", json_words("image"));
            json_object_set_new(j, "shape", json_shape(kr_array_shape(im->data)));
            return kr_image_write(whole ? whole : im, to, o->to);
        }
        return why ? kr_fail(KR_EFORMAT, "%s", why) : kr_error_code();
    }
    kr_scoped(array) a = NULL;
    if (kr_array_read(&a, from))
        return kr_error_code();
    json_object_set_new(j, "what", json_words("array"));
    json_object_set_new(j, "shape", json_shape(kr_array_shape(a)));
    return kr_array_write(a, NULL, to);
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    const char *output = o->output ? o->output : files == 2 ? file[1] : NULL;
    if (!output || files < 1)
        return kr_fail(KR_EUSAGE, "an input and an output are wanted: kray convert IN OUT, or kray convert IN... -o FOLDER --to FORMAT");
    struct batch b;
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = batch_open(&b, o->output ? files : 1, file, output, o->to, NULL, o->recursive);
    for (long i = 0; !e && i < b.count; i++) {
        json_t *j = answer_add(&a, b.output[i]);
        json_object_set_new(j, "input", json_words(b.input[i]));
        if (b.count > 1)
            kr_progress(trace, "files", (double)i, (double)b.count);
        if (kr_stopped(trace) || (b.count > 1 && kr_guard_try(b.input[i], o->from, KR_RAW)) || one(b.input[i], b.output[i], o, j, &a.trace)) {
            answer_failed(&a);
            e = batch_failed(&b, i, trace);
        } else
            kr_say(trace, KR_INFO, "%s", b.output[i]);
    }
    if (!e)
        e = batch_verdict(&b, trace);
    batch_close(&b);
    return answer_end(&a, e);
}

const kr_tool kr_tool_convert = { "convert", "Data", "convert raw data, images and arrays to another format", "IN OUT, or IN... -o FOLDER --to FORMAT",
    "  kray convert scan.h5 scan.cfl                            # raw data for BART\n"
    "  kray convert image.nii.gz image.png\n"
    "  kray convert brain.mat:kData@x,y,coil brain.h5           # ISMRMRD\n"
    "  kray convert full.h5 sms.h5 --multiband 3                # three slices at a time, FOV/3 apart, and a reference\n"
    "  kray convert t1.nii.gz iso.nii.gz --axes RAS --resample 1       # axes to the right, front and head; voxels of 1 mm\n"
    "  kray convert study/ -o fastmri/ --to fastmri\n", table, sizeof(opts), NULL, run };
