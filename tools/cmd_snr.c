/* cmd_snr.c: kray snr IN -o OUT: an image in units of its own noise, and maps of noise and of the g-factor, for any method. */
#include "kray/io.h"
#include "kray/recon.h"
#include "json.h"
#include "method.h"
#include "rows.h"
#include "scan_words.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct opts {
    const char *output, *method, *gfactor, *noise, *undersample, *coils, *from;
    const char *single_band;
    long replicas, seed, maps, calib, compress, threads, multiband, caipi;
    double sigma;
    const char *covariance, *sign, *voxel, *centre, *traj, *units, *matrix, *density;
    bool whiten, oversampling, json;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "the image in SNR units: signal over the noise's standard deviation" },
    { "gfactor", 'g', KR_OPT_OUT, offsetof(opts, gfactor), NULL, "OUT", "g-factor: noise / (noise of the full scan x sqrt(R)); a regularised method (lambda > 0) has less noise than that" },
    { "noise", 'n', KR_OPT_OUT, offsetof(opts, noise), NULL, "OUT", "map of the standard deviation of the noise" },
    { "method", 'm', KR_OPT_TEXT, offsetof(opts, method), "sense", "NAME", "reconstruction method; 'kray recon --method list' shows all" },
    { "replicas", 'N', KR_OPT_INT, offsetof(opts, replicas), "0", "N", "reconstructions with noise added; the maps' own error is 1/sqrt(4 N); "
      "0: by formula where there is one (grappa; sense on lattices and masks along one axis), else 100" },
    { "seed", 0, KR_OPT_INT, offsetof(opts, seed), "0", "N", "seed of the added noise" },
    { "sigma", 0, KR_OPT_REAL, offsetof(opts, sigma), "0", "X", "noise of real and imaginary part of a sample; 0: from the noise scan or the outermost samples" },
    ROW_UNDERSAMPLE(opts),
    ROW_COILS(opts),
    { "maps", 0, KR_OPT_INT, offsetof(opts, maps), "1", "N", "ESPIRiT map sets" },
    ROW_CALIB(opts),
    ROW_COMPRESS(opts),
    ROW_WHITEN(opts),
    ROW_COVARIANCE(opts),
    ROW_KSPACE_SIGN(opts),
    ROW_VOXEL(opts),
    ROW_CENTRE(opts),
    ROW_TRAJ(opts),
    { "traj-units", 0, KR_OPT_CHOICE, offsetof(opts, units), "auto", "auto|fov|sample|radians|1/m|rad/m",
      "what k-space positions are in: cycles per field of view or per sample, radians per sample, cycles or radians per metre; auto: by their range" },
    { "matrix", 0, KR_OPT_TEXT, offsetof(opts, matrix), NULL, "X,Y[,Z]", "image matrix, where a scan with a trajectory does not state it" },
    ROW_DENSITY(opts),
    ROW_OVERSAMPLING(opts),
    ROW_MULTIBAND(opts),
    ROW_CAIPI(opts),
    { "single-band", 0, KR_OPT_FILE, offsetof(opts, single_band), NULL, "FILE", "single-band reference scan, with which the slices (SMS) are separated" },
    ROW_FROM(opts),
    ROW_JSON(opts),
    ROW_THREADS(opts),
    KR_OPT_END };

static struct method method;

static int more(kr_opt_group *room, int count, int argc, char **argv)
{
    (void)count;
    return method_parse(&method, "sense", room, argc, argv);
}

/* z = a / (f b), 0 where b is 0: a map of `what`. */
static int write_ratio(const char *path, const char *what, const kr_image *like, const kr_array *a, const kr_array *b, double f)
{
    kr_scoped(array) z = kr_array_new(KR_R32, kr_array_shape(like->data));
    if (!z)
        return kr_error_code();
    for (long i = 0, n = kr_count(kr_array_shape(z)); i < n; i++) {
        double d = b ? f * KR_R(b)[i] : f;
        KR_R(z)[i] = d > 0 ? (float)(KR_R(a)[i] / d) : 0;
    }
    kr_scoped(image) im = kr_image_new(z, like->geom, like->meta);
    kr_text used = { 0 };
    kr_opt_describe(&used, method.asked->opts, method.values);
    if (im)
        kr_meta_set_whole(im->meta, kr_whole());
    int e = !im || kr_meta_set(im->meta, "map", "%s", what) || kr_meta_set(im->meta, "kray_command", "%s", kr_command_line()) || kr_meta_set(im->meta, "kray_method", "%s", method.asked->name)
         || kr_meta_set(im->meta, "kray_parameters", "%s", used.s ? used.s : "") || kr_image_write(im, path, NULL) ? kr_error_code() : 0;
    kr_text_clear(&used);
    return e;
}

/* Maps of a scan on a grid, also for methods that do without: noise has one deviation in an image that maps combine, not in a root of the sum of squares. */
static int find_maps(kr_array **maps, const kr_scan *s, const kr_coils_opts *c, const kr_trace *trace)
{
    if (s->traj || !(method.asked->needs & (KR_NEEDS_COILS | KR_MAY_USE_COILS)))
        return 0;
    *maps = s->coils && s->coils->n[KR_COIL] == s->shape.n[KR_COIL] ? kr_array_ref(s->coils) : kr_coils_estimate(s, c, trace);
    if (*maps)
        return 0;
    if (method.asked->needs & KR_NEEDS_COILS || kr_error_code() != KR_EREFUSED)
        return kr_error_code();
    kr_say(trace, KR_WARNING, "no coil maps (%s): the root of the sum of squares, in which noise is not Gaussian", kr_error());
    kr_error_clear();
    return 0;
}

/* The scan as kray recon would work on it. */
static int ready(kr_scan **s, const char *file, const opts *o, const kr_coils_opts *c, const kr_trace *trace)
{
    kr_job_opts how = kr_job_preset();
    struct stated words = { o->sign, o->voxel, o->centre, { .traj = o->traj, .units = o->units, .matrix = o->matrix, .density = o->density }, o->single_band, o->covariance, o->multiband, o->caipi };
    how.prepare.whiten = o->whiten;
    how.prepare.oversampling = o->oversampling;
    how.prepare.coils = o->compress;
    how.coils = *c;
    how.undersample = o->undersample;
    how.from = o->from;
    how.values = method.values;
    kr_job *job = NULL;
    int e = stated_open(&how.stated, &words, trace);
    if (!e)
        e = (job = kr_job_open(method.asked->name, NULL, &how)) ? 0 : kr_error_code();
    if (!e)
        e = kr_job_read(job, s, file, trace) || kr_job_prepare(job, *s, trace) ? kr_error_code() : 0;
    kr_job_unref(&job);
    stated_close(&how.stated);
    return e;
}

static int snr(const char *file, const opts *o, struct answer *answer)
{
    const kr_trace *trace = &answer->trace;
    json_t *j = answer_add(answer, o->output ? o->output : o->gfactor ? o->gfactor : o->noise);
    kr_scoped(scan) s = NULL;
    kr_scoped(array) maps = NULL;
    kr_coils_opts c = kr_coils_preset;
    bool named = method_makes_maps(o->coils);
    if (!named && method.asked->needs && method_read_maps(&maps, o->coils))
        return kr_error_code();
    c.method = named ? o->coils : c.method;
    c.maps = o->maps;
    c.calib[0] = c.calib[1] = c.calib[2] = o->calib;
    if (ready(&s, file, o, &c, trace))
        return kr_error_code();
    if (s->rays)
        return kr_fail(KR_EREFUSED, "%s: X-ray projections; maps of the noise are of k-space", file);
    if (s->traj && o->gfactor)
        return kr_fail(KR_EUSAGE, "%s: the g-factor compares with a full scan, which one along a trajectory has none of: --noise OUT is the map of its noise", file);
    if (!maps && find_maps(&maps, s, &c, trace))
        return kr_error_code();
    double sigma = o->sigma > 0 ? o->sigma : kr_noise_sigma(s, trace), accel = s->traj ? 0 : kr_noise_accel(s);
    if (sigma < 0 || accel < 0)
        return kr_error_code();
    const kr_encoding enc = s->enc;              /* along a trajectory a reconstruction may widen the plane that the scan is of: then it is put back */
    const char *unit = s->traj_unit;
    kr_scoped(array) traj = s->traj ? kr_array_ref(s->traj) : NULL;
    kr_scoped(array) density = s->density ? kr_array_ref(s->density) : NULL;
    kr_noise how = { method.asked, method.values, o->replicas, (uint64_t)o->seed, sigma };
    kr_scoped(image) image = NULL;
    kr_scoped(image) sd = NULL;
    if (kr_reconstruct(&image, s, method.asked, method.values, NULL, maps, &c, trace))
        return kr_error_code();
    if (traj) {
        kr_array_unref(&s->traj);
        kr_array_unref(&s->density);
        s->enc = enc;
        s->traj_unit = unit;
        s->traj = kr_array_ref(traj);
        s->density = density ? kr_array_ref(density) : NULL;
    }
    if (kr_noise_map(&sd, s, maps, &c, &how, trace))
        return kr_error_code();
    kr_scoped(array) size = image->data->type == KR_C32 ? kr_abs(image->data) : kr_array_packed(image->data);
    if (!size)
        return kr_error_code();
    if ((o->output && write_ratio(o->output, "SNR", image, size, sd->data, 1))
        || (o->noise && write_ratio(o->noise, "noise", image, sd->data, NULL, 1))
        || (o->gfactor && write_ratio(o->gfactor, "g-factor", image, sd->data, NULL, sigma * sqrt(accel))))
        return kr_error_code();
    kr_text used = { 0 };
    for (const kr_opt *q = method.asked->opts; q && q->name; q++)          /* what lets g fall below 1 */
        if (!strcmp(q->name, "lambda") && q->type == KR_OPT_REAL)
            kr_text_add(&used, ", lambda %g", *(const double *)(const void *)((const char *)method.values + q->at));
    if (accel > 0)
        kr_text_add(&used, ", R = %.2f", accel);
    const char *const written[] = { o->output, o->noise, o->gfactor };
    kr_text names = { 0 };
    for (int i = 0; i < 3; i++)
        if (written[i])
            kr_text_add(&names, "%s%s", names.s ? ", " : "", written[i]);
    kr_say(trace, KR_INFO, "%s: %s, noise of a sample %.4g%s", names.s ? names.s : "", method.asked->name, sigma, used.s ? used.s : "");
    kr_text_clear(&names);
    kr_text_clear(&used);
    json_object_set_new(j, "input", json_words(file));
    json_object_set_new(j, "gfactor", json_words(o->gfactor));
    json_object_set_new(j, "noise", json_words(o->noise));
    json_object_set_new(j, "method", json_words(method.asked->name));
    json_object_set_new(j, "parameters", json_options(method.asked->opts, method.values));
    json_object_set_new(j, "sigma", json_number(sigma));
    json_object_set_new(j, "acceleration", accel > 0 ? json_number(accel) : json_null());
    json_object_set_new(j, "shape", json_shape(kr_array_shape(image->data)));
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files != 1)
        return kr_fail(KR_EUSAGE, files ? "one input at a time" : "no input is given");
    if (!o->output && !o->gfactor && !o->noise)
        return kr_fail(KR_EUSAGE, "what is wanted? Give -o OUT for the image in SNR units, --gfactor OUT or --noise OUT");
    if (!method.asked)
        return kr_fail(KR_EUSAGE, "noise is that of one method: --method NAME; kray recon --method list shows all");
    if (o->maps < 1 || o->maps > 8 || o->calib < 1 || o->compress < 0 || o->sigma < 0)
        return kr_fail(KR_EUSAGE, "--maps (1 to 8), --calib, --compress and --sigma are not negative");
    if (kr_threads_want(o->threads))
        return kr_error_code();
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = snr(file[0], o, &a);
    if (e)
        answer_failed(&a);
    method_close(&method);
    return answer_end(&a, e);
}

const kr_tool kr_tool_snr = { "snr", "Evaluate", "an image in SNR units, maps of noise and of the g-factor", "IN -o OUT [--gfactor OUT] [--noise OUT] [options]",
    "  kray snr scan.h5 -o snr.nii.gz --gfactor g.nii.gz        # CG-SENSE\n"
    "  kray snr scan.h5 --gfactor g.png --method grappa --replicas 200\n"
    "  kray snr full.h5 -o snr.nii.gz --method spirit --l1 0 -u poisson:accel=4 --noise sd.nii.gz\n",
    table, sizeof(opts), more, run };
