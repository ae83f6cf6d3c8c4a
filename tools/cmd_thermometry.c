/* cmd_thermometry.c: kray thermometry SERIES -o OUT: changes of temperature, from the phase of complex gradient echo images. */
#include "kray/image.h"
#include "kray/thermometry.h"
#include "json.h"
#include "rows.h"
#include "tool.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts { const char *output, *drift, *unheated, *sign; double field, te, alpha, signal, start; long baseline; bool unwrap, json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "the maps, in K above the baseline" },
    { "field", 0, KR_OPT_REAL, offsetof(opts, field), "0", "T", "field strength; 0: from the file" },
    { "te", 0, KR_OPT_REAL, offsetof(opts, te), "0", "MS", "echo time; 0: from the file" },
    { "alpha", 0, KR_OPT_REAL, offsetof(opts, alpha), "-0.01", "PPM", "change of the resonance of water, ppm per K" },
    { "phase-sign", 0, KR_OPT_CHOICE, offsetof(opts, sign), "+", "+|-", "a voxel f Hz off gains exp(+ or - 2 pi i f t); the other sign shows heat as cold" },
    { "baseline", 'b', KR_OPT_INT, offsetof(opts, baseline), "0", "N", "the frame that the others are compared with, counted from 0" },
    { "start", 0, KR_OPT_REAL, offsetof(opts, start), "0", "C", "temperature of the baseline: the maps are in degrees Celsius then, where there is signal; 0: they are in K above it" },
    { "drift", 0, KR_OPT_CHOICE, offsetof(opts, drift), "none", "none|constant|linear", "drift of the field that is taken out of each frame: one phase, or one that is linear in space" },
    { "unheated", 0, KR_OPT_FILE, offsetof(opts, unheated), NULL, "FILE", "where nothing is heated: voxels that are not 0; of --drift. Without: all voxels, of which the larger part is not heated" },
    { "signal", 0, KR_OPT_REAL, offsetof(opts, signal), "0.1", "X", "voxels below X of the largest magnitude of the baseline become 0" },
    { "unwrap", 0, KR_OPT_FLAG, offsetof(opts, unwrap), NULL, NULL, "each frame is within half a turn of the one before, not of the baseline: for more heat than that" },
    ROW_JSON(opts),
    KR_OPT_END };

/* im on the grid of `like`, its axes put in that order; refused where both tell that they lie elsewhere. */
static int on_grid(kr_image **im, const kr_image *like, const char *name, const char *like_name)
{
    kr_turning how;
    kr_image *to = NULL;
    if (kr_image_turn(&to, &how, *im, like))
        return kr_error_code();
    kr_image_unref(im);
    *im = to;
    if (how.known && (how.angle_deg > 0 || how.away_mm > 0.5 * fmin(how.voxel_like_mm[0], how.voxel_like_mm[1])))
        return kr_fail(KR_ESHAPE, "%s lies elsewhere than %s: its axes are turned by %.1f degrees, its middle is %.1f mm away", name, like_name, how.angle_deg, how.away_mm);
    return 0;
}

/* One series of files in the order of time. */
static int join(kr_image **out, int files, char **file)
{
    kr_scoped(image) all = NULL;
    for (int pass = 0, k = 0; pass < 2; pass++) {
        long frames = 0;
        for (k = 0; k < files; k++) {
            kr_scoped(image) im = NULL;
            if (kr_image_read(&im, file[k]))
                return kr_error_code();
            if (k && on_grid(&im, all, file[k], file[0]))
                return kr_error_code();
            kr_shape s = kr_array_shape(im->data), one = kr_shape_without(s, KR_ON(KR_TIME));
            if (files == 1)
                return (*out = im, im = NULL, 0);
            if (!pass && !k && !(all = kr_image_new(im->data, im->geom, im->meta)))
                return kr_error_code();
            if (!kr_shape_equal(one, kr_shape_without(kr_array_shape(all->data), KR_ON(KR_TIME))) || im->data->type != all->data->type)
                return kr_fail(KR_ESHAPE, "%s is %s %s, %s is %s %s: the frames of a series are alike", file[k], im->data->type == KR_C32 ? "complex" : "real", kr_shape_text(s), file[0],
                               all->data->type == KR_C32 ? "complex" : "real", kr_shape_text(kr_array_shape(all->data)));
            if (pass) {
                kr_scoped(array) to = kr_array_range(all->data, KR_TIME, frames, s.n[KR_TIME]);
                if (!to)
                    return kr_error_code();
                kr_array_assign(to, im->data);
            }
            frames += s.n[KR_TIME];
        }
        if (!pass) {
            kr_shape s = kr_array_shape(all->data);
            s.n[KR_TIME] = frames;
            kr_array *room = kr_array_new(all->data->type, s);
            if (!room)
                return kr_error_code();
            kr_array_unref(&all->data);
            all->data = room;
        }
    }
    *out = all;
    all = NULL;
    return 0;
}

/* What is stated, else what the file says: one number above 0. */
static int known(double *to, double stated, const kr_image *im, const char *key, const char *option, const char *what)
{
    const char *said = kr_meta_get(im->meta, key);
    char *end = NULL;
    if (stated > 0 || stated < 0)
        return *to = stated, stated > 0 ? 0 : kr_fail(KR_EUSAGE, "%s %g: a number above 0 is wanted", option, stated);
    *to = said ? strtod(said, &end) : 0;
    if (said && end != said && !*end && *to > 0)
        return 0;
    return kr_fail(KR_EREFUSED, said ? "the file tells no one %s ('%s'): state it by %s" : "the file does not tell the %s: state it by %s", what, said ? said : option, option);
}

static int heat(int files, char **file, const opts *o, struct answer *answer)
{
    static const char *const drifts[] = { "none", "constant", "linear" };
    const kr_trace *trace = &answer->trace;
    json_t *j = answer_add(answer, o->output), *list = json_array();
    kr_prf how = { .alpha_ppm = o->alpha, .sign = *o->sign == '-' ? -1 : 1, .baseline = o->baseline, .threshold = o->signal, .unwrap = o->unwrap };
    kr_scoped(image) im = NULL;
    kr_scoped(image) given = NULL;
    kr_scoped(array) t = NULL;
    kr_auto kr_prf_frame *frame = NULL;
    double kelvin = 0, most = 0;
    bool degrees = fabs(o->start) > 0;
    json_object_set_new(j, "input", json_words(file[0]));
    json_object_set_new(j, "frames", list);
    while (how.drift < KR_DRIFT_LINEAR && strcmp(drifts[how.drift], o->drift))
        how.drift++;
    if (join(&im, files, file) || known(&how.field_T, o->field, im, "field_T", "--field", "field strength") || known(&how.te_ms, o->te, im, "te_ms", "--te", "echo time")
        || (o->unheated && (kr_image_read(&given, o->unheated) || on_grid(&given, im, o->unheated, file[0]))) || kr_prf_kelvin(&kelvin, &how))
        return kr_error_code();
    long frames = im->data->n[KR_TIME];
    if (!(frame = kr_alloc_zero((size_t)frames, sizeof *frame)) || kr_prf_temperature(&t, frame, im->data, given ? given->data : NULL, &how))
        return kr_error_code();
    long each = kr_count(kr_array_shape(t)) / frames, seen = 0;
    for (long i = 0; i < each; i++) {                        /* masked voxels are 0 in every frame: a voxel with signal is so by chance in none */
        bool any = false;
        for (long k = 0; k < frames; k++)
            any |= fabsf(KR_R(t)[k * each + i]) > 0;
        seen += any;
        for (long k = 0; k < frames && any; k++)
            KR_R(t)[k * each + i] += (float)o->start;
    }
    for (long k = 0; k < frames; k++) {
        const kr_prf_frame *f = &frame[k];
        most = fabs(f->most) > fabs(most) ? f->most : most;
        most = fabs(f->least) > fabs(most) ? f->least : most;
        json_array_append_new(list, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "min", json_number(f->least), "max", json_number(f->most), "mean", json_number(f->mean), "drift", json_number(f->drift),
                                              "slope", json_numbers(f->slope, 3), "reference_sd", o->unheated ? json_number(f->spread) : json_null()));
        kr_say(trace, KR_DETAIL, "frame %ld: %.2f to %.2f K, mean %.2f; drift %.2f K, over the width %.2f, %.2f, %.2f", k, f->least, f->most, f->mean, f->drift, f->slope[0], f->slope[1], f->slope[2]);
    }
    kr_say(trace, KR_INFO, "%ld frames, %ld of %ld voxels; %.4g K per radian (%.4g T, %.4g ms, %g ppm/K); the largest change is %.2f K", frames, seen, each, kelvin, how.field_T, how.te_ms,
           how.alpha_ppm, most);
    if (most < 0)
        kr_say(trace, KR_WARNING, "the largest change is a cooling; where the object was heated, the phase runs the other way round: --phase-sign %s", how.sign > 0 ? "-" : "+");
    if (fabs(most) > 0.9 * M_PI * fabs(kelvin) && !o->unwrap)
        kr_say(trace, KR_WARNING, "changes reach the half turn (%.1f K), beyond which they come out a whole one wrong: --unwrap follows them from frame to frame", M_PI * fabs(kelvin));
    kr_scoped(image) map = kr_image_new(t, im->geom, im->meta);
    kr_text used = { 0 };
    kr_opt_describe(&used, table, o);
    kr_auto const char **inputs = kr_alloc((size_t)files + 1, sizeof *inputs);
    for (int i = 0; inputs && i <= files; i++)
        inputs[i] = i < files ? file[i] : o->unheated;
    int e = !map || !inputs || kr_image_set_unit(map, degrees ? "degC" : "K") || kr_meta_set(map->meta, "map", degrees ? "temperature" : "change of temperature")
         || kr_note(map->meta, NULL, used.s ? used.s : "", inputs, files + !!o->unheated) || kr_image_write(map, o->output, NULL) ? kr_error_code() : 0;
    kr_text_clear(&used);
    json_object_set_new(j, "field_T", json_number(how.field_T));
    json_object_set_new(j, "te_ms", json_number(how.te_ms));
    json_object_set_new(j, "kelvin_per_radian", json_number(kelvin));
    json_object_set_new(j, "voxels", json_integer(seen));
    json_object_set_new(j, "parameters", json_options(table, o));
    json_object_set_new(j, "shape", json_shape(kr_array_shape(t)));
    return e;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files < 1)
        return kr_fail(KR_EUSAGE, "no input is given: a complex series, or a file for each frame in the order of time");
    if (!o->output)
        return kr_fail(KR_EUSAGE, "where to? -o OUT");
    if (o->unheated && !strcmp(o->drift, "none"))
        return kr_fail(KR_EUSAGE, "--unheated is where --drift is found: --drift constant or linear");
    if (kr_can_write(KR_PICTURE, o->output, NULL))
        return kr_error_code();
    for (int i = 0; i < files; i++)
        if (kr_output_apart(o->output, file[i]))
            return kr_error_code();
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = heat(files, file, o, &a);
    if (e)
        answer_failed(&a);
    return answer_end(&a, e);
}

const kr_tool kr_tool_thermometry = { "thermometry", "Evaluate", "maps of temperature change from the phase of complex images (PRF shift)", "SERIES -o OUT [options], or FRAME... -o OUT [options]",
    "  kray thermometry series.nii.gz -o heat.nii.gz --field 1.5 --te 15 --drift linear\n"
    "  kray thermometry before.nii.gz during.nii.gz after.nii.gz -o heat.nii.gz --drift constant --unheated muscle.nii.gz\n"
    "  kray recon scan.h5 -o series.nii.gz --complex && kray thermometry series.nii.gz -o heat.nii.gz --start 37 --phase-sign -\n",
    table, sizeof(opts), NULL, run };
