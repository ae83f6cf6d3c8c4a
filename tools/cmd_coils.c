/* cmd_coils.c: kray coils IN -o MAPS: coil sensitivity maps from a scan's calibration area, to be kept, looked at, and
 * given to kray recon. The scan is made ready as kray recon does. */
#include "kray/io.h"
#include "json.h"
#include "rows.h"
#include "tool.h"

typedef struct opts {
    const char *output, *method, *from, *compression, *ghost, *png;
    long maps, calib, kernel, compress, threads;
    double threshold, crop;
    const char *covariance;
    bool soft, whiten, oversampling, json;
} opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "MAPS", "file of the maps; its suffix chooses the format (.cfl, .npy)" },
    { "method", 'm', KR_OPT_CHOICE, offsetof(opts, method), "espirit", KR_COIL_METHODS, "estimation method" },
    ROW_MAPS(opts),
    { "calib", 0, KR_OPT_INT, offsetof(opts, calib), "24", "N", "largest width of the fully sampled centre (ACS) used" },
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "6", "N", "espirit: width of the kernel in k-space" },
    { "threshold", 0, KR_OPT_REAL, offsetof(opts, threshold), "0", "X", "espirit: smallest squared singular value kept, relative to the largest; 0: automatic" },
    { "crop", 0, KR_OPT_REAL, offsetof(opts, crop), "-1", "X", "maps are 0 where the eigenvalue (espirit) or signal is less; negative: automatic" },
    { "soft", 0, KR_OPT_FLAG, offsetof(opts, soft), NULL, NULL, "espirit: let maps fall smoothly to 0 towards the crop" },
    { "png", 0, KR_OPT_OUT, offsetof(opts, png), NULL, "FILE", "also a picture of the maps in the middle slice" },
    { "compress", 0, KR_OPT_INT, offsetof(opts, compress), "0", "N", "compress to N virtual coils first; 0 keeps all" },
    ROW_COMPRESSION(opts),
    ROW_WHITEN(opts),
    ROW_COVARIANCE(opts),
    ROW_OVERSAMPLING(opts),
    { "ghost", 0, KR_OPT_CHOICE, offsetof(opts, ghost), "auto", "auto|navigator|entropy|svd|none",
      "EPI Nyquist ghost correction: from navigator lines, or from the data alone" },
    ROW_FROM(opts),
    ROW_JSON(opts),
    ROW_THREADS(opts),
    KR_OPT_END };

static int draw(const kr_array *maps, const kr_meta *meta, const char *path)
{
    kr_scoped(array) slice = kr_array_at(maps, KR_SLICE, maps->n[KR_SLICE] / 2);
    kr_scoped(array) plane = slice ? kr_array_at(slice, KR_Z, slice->n[KR_Z] / 2) : NULL;
    return plane ? kr_array_write(plane, meta, path) : kr_error_code();
}

static int write(const kr_array *maps, kr_meta *meta, const opts *o, const char *file)
{
    kr_text used = { 0 };
    kr_opt_describe(&used, table, o);
    kr_auto char *method = kr_strf("coils %s", o->method);
    const char *input[] = { file };
    int e = method && !used.failed ? kr_note(meta, method, used.s, input, 1) : kr_error_code();
    kr_text_clear(&used);
    if (e || (o->output && kr_array_write(maps, meta, o->output)))
        return kr_error_code();
    return o->png ? draw(maps, meta, o->png) : 0;
}

static int coils(const opts *o, int files, char **file, struct answer *answer)
{
    const kr_trace *trace = &answer->trace;
    if (files != 1)
        return kr_fail(KR_EUSAGE, "one scan is wanted, %d are given", files);
    if (!o->output && !o->png)
        return kr_fail(KR_EUSAGE, "where should the maps go? Give -o MAPS, for example -o maps.cfl");
    if (o->compress < 0 || o->calib < 1)
        return kr_fail(KR_EUSAGE, "--compress and --calib count something: %ld is not possible", o->compress < 0 ? o->compress : o->calib);
    if (kr_threads_want(o->threads))
        return kr_error_code();
    if ((o->output && kr_can_write(KR_PLAIN, o->output, NULL)) || (o->png && kr_can_write(KR_PLAIN, o->png, NULL)))
        return kr_error_code();
    double start = kr_seconds();
    answer_add(answer, o->output ? o->output : o->png);
    kr_scoped(scan) s = NULL;
    const kr_prepare prepare = { .whiten = o->whiten, .oversampling = o->oversampling, .ghost = o->ghost, .coils = o->compress,
                                 .compression = o->compression, .average = true };
    kr_scoped(array) covariance = NULL;
    if (kr_scan_read(&s, file[0], o->from, NULL, trace) || (o->covariance && kr_array_read(&covariance, o->covariance)))
        return kr_error_code();
    if (covariance && kr_scan_covariance(s, covariance))
        return kr_fail_in("%s", o->covariance);
    if (kr_scan_prepare(s, &prepare, trace))
        return kr_error_code();
    s->multiband.depth = 0;                      /* maps of slices, not of slabs */
    kr_coils_facts facts = { 0, 0 };
    kr_coils_opts how = { .method = o->method, .calib = { o->calib, o->calib, o->calib }, .kernel = o->kernel,
                                .threshold = o->threshold, .crop = o->crop, .maps = o->maps, .soft = o->soft,
                                .facts = &facts };
    kr_scoped(array) maps = kr_coils_estimate(s, &how, trace);
    if (maps && facts.replaced == (s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1)) {   /* of all slices: then the reason is wanted, or what there is */
        kr_array_unref(&maps);
        how.facts = NULL;
        facts.replaced = 0;
        maps = kr_coils_estimate(s, &how, trace);
    }
    if (maps)
        kr_say_coils(file[0], &facts, s->shape.n[KR_SLICE], trace);
    if (!maps || kr_stopped(trace) || write(maps, s->meta, o, file[0]))
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s: %s, %s, %.2f s", o->output ? o->output : o->png, kr_shape_text(kr_array_shape(maps)), o->method,
           kr_seconds() - start);
    json_object_set_new(answer->last, "input", json_words(file[0]));
    json_object_set_new(answer->last, "shape", json_shape(kr_array_shape(maps)));
    json_object_set_new(answer->last, "parameters", json_options(table, o));
    json_object_set_new(answer->last, "seconds", json_number(kr_seconds() - start));
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = coils(o, files, file, &a);
    if (e)
        answer_failed(&a);
    return answer_end(&a, e);
}

const kr_tool kr_tool_coils = { "coils", "Reconstruct", "estimate coil sensitivity maps from a scan's calibration area (ACS)", "SCAN -o MAPS [options]",
    "  kray coils scan.h5 -o maps.cfl                     # ESPIRiT, thresholds found\n"
    "  kray coils scan.h5 -o maps.npy --maps 2 --soft     # two sets, for soft-SENSE\n"
    "  kray coils scan.h5 -o maps.cfl --png maps.png      # and a picture\n"
    "  kray coils brain.mat:kData@x,y,coil -o maps.cfl --threshold 0.001 --crop 0.8   # as BART's ecalib by default\n"
    "  kray recon scan.h5 --coils maps.cfl -o image.nii.gz\n", table, sizeof(opts), NULL, run };
