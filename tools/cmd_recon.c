/* cmd_recon.c: kray recon IN... -o OUT: raw data in, images out; one file or a whole study. */
#include "kray/io.h"
#include "kray/recon.h"
#include "tool.h"
#include "batch.h"
#include "json.h"
#include "method.h"
#include "ranks.h"
#include "record.h"
#include "resume.h"
#include "rows.h"
#include "shard.h"
#include "stage.h"
#include "scan_words.h"
#include "sweep.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts {
    const char *pixels, *partial, *output, *method, *undersample, *reference, *coils, *compression, *ghost, *to, *from;
    const char *single_band, *traj, *seq, *units, *matrix, *fov, *shift, *delay, *density;
    const char *field, *girf, *geometry;
    double first, dwell;
    long spokes, phases, breathing, maps, calib, compress, threads, multiband, caipi;
    const char *covariance, *sign, *voxel, *centre;
    bool whiten, oversampling, complex, resume, plan, recursive, json;
    int64_t memory;
    const char *then, *shard;
    double timeout;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "image file; with several inputs a folder" },
    { "method", 'm', KR_OPT_TEXT, offsetof(opts, method), "auto", "NAME", "reconstruction method; 'list' shows all" },
    ROW_UNDERSAMPLE(opts),
    ROW_COILS(opts),
    ROW_MAPS(opts),
    ROW_CALIB(opts),
    ROW_COMPRESS(opts),
    ROW_COMPRESSION(opts),
    ROW_WHITEN(opts),
    ROW_COVARIANCE(opts),
    ROW_OVERSAMPLING(opts),
    { "ghost", 0, KR_OPT_CHOICE, offsetof(opts, ghost), "auto", "auto|navigator|entropy|svd|none",
      "EPI Nyquist ghost correction: from navigator lines, or from the data alone" },
    ROW_TRAJ(opts),
    { "seq", 0, KR_OPT_FILE, offsetof(opts, seq), NULL, "FILE", "the Pulseq sequence that was played: what each line of the raw file is for, and where its samples lie" },
    { "traj-units", 0, KR_OPT_CHOICE, offsetof(opts, units), "auto", "auto|fov|sample|radians|1/m|rad/m",
      "what k-space positions are in: cycles per field of view or per sample, radians per sample, cycles or radians per metre; auto: by their range" },
    { "matrix", 0, KR_OPT_TEXT, offsetof(opts, matrix), NULL, "X,Y[,Z]", "image matrix, where a scan with a trajectory does not state it, and of X-ray projections (X = Y)" },
    { "fov", 0, KR_OPT_TEXT, offsetof(opts, fov), NULL, "X,Y[,Z]", "with a trajectory: image this field of view in mm, in voxels as measured; wider than the header's, it shows what lies around" },
    { "fov-shift", 0, KR_OPT_TEXT, offsetof(opts, shift), NULL, "X,Y[,Z]", "with a trajectory: move the middle of the image by so many mm along its axes; all stays where it is in the patient" },
    { "spokes", 0, KR_OPT_INT, offsetof(opts, spokes), "0", "N", "with a trajectory: a series of N readouts per frame, such as golden-angle spokes (GRASP: --method ttv)" },
    { "phases", 0, KR_OPT_INT, offsetof(opts, phases), "0", "N", "with a trajectory: sort readouts into N heart phases, by time stamps or the ECG; odd beats are left out" },
    { "breathing", 0, KR_OPT_INT, offsetof(opts, breathing), "0", "N", "with a trajectory: sort readouts into N states of breathing, by the centre of k-space (both: --method ttv --frames all)" },
    { "field-map", 0, KR_OPT_FILE, offsetof(opts, field), NULL, "FILE", "with a trajectory: off-resonance in Hz (NIfTI; resampled to the image by where both lie), undone in time segments" },
    { "field-zero", 0, KR_OPT_REAL, offsetof(opts, first), "0", "US", "of --field-map: microseconds from the moment at which off-resonance has no phase (excitation or spin echo) to the first sample; 0: that sample" },
    { "dwell", 0, KR_OPT_REAL, offsetof(opts, dwell), "0", "US", "of --field-map and --girf: microseconds between samples, where the file gives none; 0: as in the file" },
    { "girf", 0, KR_OPT_FILE, offsetof(opts, girf), NULL, "FILE[:VAR]", "with a trajectory: gradient impulse response (GIRF) by which the positions are corrected (rows: Hz, H or H_x, H_y, H_z)" },
    { "delay", 0, KR_OPT_TEXT, offsetof(opts, delay), NULL, "auto|X,Y[,Z]", "with a trajectory: gradient delays in samples; auto: from the data, where readouts cross" },
    ROW_DENSITY(opts),
    { "geometry", 0, KR_OPT_TEXT, offsetof(opts, geometry), NULL, "SPEC", "X-ray projections: how they were measured, where the file does not say: parallel[:pixel=MM],angles=FROM:TO:N, ... (kray ct --help)" },
    ROW_MULTIBAND(opts),
    ROW_CAIPI(opts),
    { "single-band", 0, KR_OPT_FILE, offsetof(opts, single_band), NULL, "FILE", "single-band reference scan, with which the slices (SMS) are separated" },
    ROW_KSPACE_SIGN(opts),
    ROW_VOXEL(opts),
    ROW_CENTRE(opts),
    { "partial-fourier", 0, KR_OPT_CHOICE, offsetof(opts, partial), "zero", "zero|pocs|homodyne", "how the unmeasured side of k-space is filled" },
    { "reference", 0, KR_OPT_FILE, offsetof(opts, reference), NULL, "FILE", "reference image that scores a sweep (--lambda 1e-4:1e-1:7)" },
    { "complex", 0, KR_OPT_FLAG, offsetof(opts, complex), NULL, NULL, "keep the phase; otherwise the magnitude is written" },
    { "pixels", 0, KR_OPT_CHOICE, offsetof(opts, pixels), "float", "float|ushort", "ushort: whole numbers of 12 bits, 4095 the brightest of the image" },
    { "to", 0, KR_OPT_TEXT, offsetof(opts, to), NULL, "FORMAT", "output format, whatever the suffix (nifti, fastmri, ...)" },
    ROW_FROM(opts),
    ROW_MEMORY(opts),
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: a list with an object for each file" },
    ROW_THREADS(opts),
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "print shapes, memory and time, and run nothing" },
    ROW_RECURSIVE(opts),
    { "then", 0, KR_OPT_TEXT, offsetof(opts, then), NULL, "COMMAND", "run this on each finished image: 'COMMAND {image} {labels}'; what it writes to {labels} must fit the image" },
    { "timeout", 0, KR_OPT_REAL, offsetof(opts, timeout), "3600", "S", "seconds after which --then is stopped; 0: never" },
    { "resume", 0, KR_OPT_FLAG, offsetof(opts, resume), NULL, NULL, "skip images that exist already, complete, made from the same input with the same options" },
    { "shard", 0, KR_OPT_TEXT, offsetof(opts, shard), NULL, "I/N|slurm", "do part I of N of a study that several runs share, parts of about equal cost; slurm: I and N of the array task; then kray gather" },
    KR_OPT_END };

/* ---- What the words of the command say ---- */
static struct method method;
static struct sweep sweep;                    /* of its lambda */
static bool given_calib, given_compression;   /* options of the table above whose presets mean nothing by themselves  */

static int more(kr_opt_group *room, int count, int argc, char **argv)
{
    (void)count;
    int n = method_parse(&method, "auto", room, argc, argv);
    if (n < 1 || sweep_parse(&sweep, argc, argv))
        return n < 1 ? n : kr_error_code();
    given_calib = method_given(table, "calib", argc, argv);
    given_compression = method_given(table, "compression", argc, argv);
    return n;
}

/* A file that the method writes beside the image; NULL: none. */
static const char *beside(void)
{
    return method.asked ? kr_opt_writes(method.asked->opts, method.values) : NULL;
}

static int list(void)
{
    for (int i = 0; kr_recons[i]; i++)
        printf("%-16s %s\n%-16s %s\n", kr_recons[i]->name, kr_recons[i]->summary, "", kr_recons[i]->cite);
    return 0;
}

/* ---- One file ---- */

static int tell_plan(kr_job *job, const char *file, const opts *o, json_t *j)
{
    kr_cost cost;
    long piece;
    kr_scoped(scan) head = NULL;
    if (kr_job_plan_file(job, &cost, &piece, &head, file))
        return kr_error_code();
    const kr_recon *m = kr_job_method(job);
    long n = head->shape.n[KR_SLICE] > 1 ? head->shape.n[KR_SLICE] : 1;
    if (j) {
        json_object_set_new(j, "format", json_words(head->format ? head->format : "array"));
        json_object_set_new(j, head->rays ? "projections" : "kspace", json_shape(head->shape));
        json_object_set_new(j, "method", json_words(m->name));
        json_object_set_new(j, "plan", json_pack("{s:I,s:f,s:f,s:i}", "slices_at_a_time", (json_int_t)piece, "memory_bytes", cost.bytes, "seconds",
                                                 cost.seconds, "threads", kr_threads()));
        return 0;
    }
    char a[32], b[32];
    printf("%s\n  format   %s\n  %s  %s, %s\n  method   %s\n", head->file, head->format ? head->format : "array", head->rays ? "rays   " : "k-space", kr_shape_text(head->shape),
           kr_size_text(a, (head->rays ? 4 : 8) * (double)kr_count(head->shape)), m->name);
    if (m->needs & KR_NEEDS_COILS)
        printf("  maps     %s, %ld set%s\n", o->coils, o->maps, o->maps == 1 ? "" : "s");
    if (piece < n)
        printf("  pieces   %ld slice%s at a time\n", piece, piece == 1 ? "" : "s");
    printf("  memory   %s at the peak\n  time     about %.1f s on %d thread%s\n", kr_size_text(b, cost.bytes), cost.seconds, kr_threads(),
           kr_threads() == 1 ? "" : "s");
    return 0;
}

/* The best image of a sweep of lambda. */
static int best_of(kr_image **out, kr_job *job, const char *file, const opts *o, const struct judge_target *target, const kr_trace *trace)
{
    if (o->memory) {
        kr_cost cost;
        long piece;
        kr_scoped(scan) head = NULL;
        if (kr_job_plan_file(job, &cost, &piece, &head, file))
            return kr_error_code();
        long all = head->shape.n[KR_SLICE] > 1 ? head->shape.n[KR_SLICE] : 1;
        if (piece < all)
            return kr_fail(KR_EREFUSED, "a sweep wants the whole scan at once, and only %ld of %ld slices fit into the memory given", piece, all);
    }
    kr_scoped(scan) s = NULL;
    if (kr_job_read(job, &s, file, trace) || kr_job_prepare(job, s, trace))
        return kr_error_code();
    return sweep_run(out, &sweep, job, s, target->image ? target : NULL, trace);
}

static int write_out(const kr_image *image, kr_job *job, const char *file, const char *output, const char *settings, const opts *o, double start, json_t *j,
                 const kr_trace *trace)
{
    const kr_recon *m = kr_job_method(job);
    kr_scoped(image) result = NULL;
    if (!strcmp(o->pixels, "ushort")) {
        if (kr_image_twelve_bits(&result, image))
            return kr_error_code();
    } else
        result = o->complex ? kr_image_new(image->data, image->geom, image->meta) : kr_image_magnitude(image);
    if (!result)
        return kr_error_code();
    batch_voxel_unknown(result, output, o->to, trace);
    if (kr_note(result->meta, NULL, NULL, &file, sweep.count > 0) || kr_meta_set(result->meta, "kray_settings", "%s", settings)
        || kr_stopped(trace) || kr_image_write(result, output, o->to))
        return kr_error_code();
    const kr_format *to = o->to ? kr_format_named(o->to) : NULL;
    kr_scoped(image) kept = to && to->kept ? to->kept(result) : NULL;
    if (to && to->kept && !kept)
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s: %s%s, %s, %.2f s", output, kr_shape_text(kr_array_shape(kept ? kept->data : result->data)),
           kept ? ", the subset that the challenge ranks" : "", m->name, kr_seconds() - start);
    json_object_set_new(j, "shape", json_shape(kr_array_shape(kept ? kept->data : result->data)));
    json_object_set_new(j, "method", json_words(m->name));
    json_object_set_new(j, "parameters", json_options(m->opts, kr_job_values(job)));
    json_object_set_new(j, "acceleration", json_number(kr_meta_number(result->meta, "kray_acceleration", (double)NAN)));
    json_object_set_new(j, "mask", json_words(kr_meta_get(result->meta, "kray_mask")));
    json_object_set_new(j, "seconds", json_number(kr_seconds() - start));
    return 0;
}

static int one(kr_job *job, const char *file, const char *output, const char *settings, const opts *o, const struct judge_target *target, json_t *j,
               const kr_trace *trace)
{
    double start = kr_seconds();
    if (o->plan)
        return tell_plan(job, file, o, j);
    if (kr_can_write(KR_PICTURE, output, o->to))
        return kr_error_code();
    kr_scoped(image) image = NULL;
    if (sweep.count ? best_of(&image, job, file, o, target, trace) : kr_job_file(job, &image, file, trace))
        return kr_error_code();
    if (trace->dealer && trace->dealer->rank)                    /* all have it, one writes it */
        return 0;
    return write_out(image, job, file, output, settings, o, start, j, trace);
}

/* Coil maps come from a file. */
static bool named_maps(const opts *o) { return !method_makes_maps(o->coils); }

static bool has(const kr_opt *o, const char *name)
{
    while (o && o->name && strcmp(o->name, name))
        o++;
    return o && o->name;
}

/* Refuses what is given and would not be looked at. */
static int all_options_count(const opts *o)
{
    const char *idle = o->maps > 1 ? "maps" : strcmp(o->coils, kr_coils_preset.method) ? "coils" : given_calib ? "calib" : NULL;
    if (idle && method.asked && !(method.asked->needs & (KR_NEEDS_COILS | KR_MAY_USE_COILS)))
        return kr_fail(KR_EUSAGE, "%s takes no coil maps, so that --%s means nothing to it%s", method.asked->name, idle,
                       o->maps > 1 && has(method.asked->opts, "sets") ? "; its own sets are --sets" : "");
    if (named_maps(o) && (o->maps > 1 || given_calib))
        return kr_fail(KR_EUSAGE, "the coil maps are read from %s, so that --%s means nothing: it is for maps made from the scan", o->coils,
                       o->maps > 1 ? "maps" : "calib");
    if (sweep.count && o->output && !strcmp(o->output, "-"))
        return kr_fail(KR_EUSAGE, "a sweep prints its table to standard output, where the image (-o -) would go: name a file");
    if (given_compression && !o->compress)
        return kr_fail(KR_EUSAGE, "--compression says how coils are compressed, and none are: --compress N gives the number of virtual coils");
    if (o->covariance && !o->whiten)
        return kr_fail(KR_EUSAGE, "--covariance is for whitening, and --no-whiten leaves it out");
    if (sweep.count && strcmp(o->partial, "zero"))
        return kr_fail(KR_EUSAGE, "a sweep of lambda with --partial-fourier %s is not possible", o->partial);
    if (o->then && !o->then[strspn(o->then, " ")])
        return kr_fail(KR_EUSAGE, "--then is empty: a command is wanted, such as 'COMMAND {image} {labels}'");
    if (o->then && stage_then_check(o->then))
        return kr_error_code();
    if (!o->then && (o->timeout < 3600 || o->timeout > 3600))
        return kr_fail(KR_EUSAGE, "--timeout is for --then, which is not given");
    if (o->complex && !strcmp(o->pixels, "ushort"))
        return kr_fail(KR_EUSAGE, "--pixels ushort is for magnitudes, and --complex keeps the phase");
    if (o->then && o->output && !strcmp(o->output, "-"))
        return kr_fail(KR_EUSAGE, "--then runs on a file, and the image goes to standard output (-o -): name a file");
    if (!(o->timeout >= 0))
        return kr_fail(KR_EUSAGE, "--timeout is a number of seconds, 0 or above");
    if (o->reference && !sweep.count)
        return kr_fail(KR_EUSAGE, "--reference scores a sweep, such as --lambda 1e-4:1e-1:7; there is none. kray eval scores images");
    return 0;
}

/* The job that the options describe, with the files that they name. */
struct asked { kr_stated stated; kr_array *maps; struct judge_target target; kr_job_opts how; kr_job *job; };

static int open_all(struct asked *a, const opts *o, const kr_trace *trace)
{
    if (o->reference && judge_read(&a->target, o->reference, trace))
        return kr_fail_in("reference");
    if (named_maps(o) && method_read_maps(&a->maps, o->coils))
        return kr_error_code();
    struct stated words = { o->sign, o->voxel, o->centre, { o->traj, o->seq, o->matrix, o->delay, o->density, o->units, o->fov, o->shift, o->field, o->girf, o->first, o->dwell, o->spokes, o->phases, o->breathing }, o->single_band, o->covariance, o->multiband, o->caipi };
    if (stated_open(&a->stated, &words, trace))
        return kr_error_code();
    kr_job_opts how = kr_job_preset();
    how.stated = a->stated;
    how.prepare = (kr_prepare){ .whiten = o->whiten, .oversampling = o->oversampling, .coils = o->compress, .compression = o->compression, .average = true,
                                .ghost = o->ghost };
    how.coils.method = a->maps ? how.coils.method : o->coils;
    how.coils.maps = o->maps;
    how.coils.calib[0] = how.coils.calib[1] = how.coils.calib[2] = o->calib;
    how.coils_asked = strcmp(o->coils, kr_coils_preset.method) || o->maps > 1 || given_calib;
    how.maps = a->maps;
    how.undersample = o->undersample;
    how.phase = o->complex;
    how.whole = kr_whole();
    how.partial = o->partial;
    how.from = o->from;
    how.geometry = o->geometry;
    how.memory = o->memory;
    how.values = method.values;
    how.given = method.given;
    a->how = how;
    a->job = kr_job_open(method_name(&method), NULL, &how);
    return a->job ? 0 : kr_error_code();
}

static void close_all(struct asked *a)
{
    kr_job_unref(&a->job);
    kr_array_unref(&a->maps);
    stated_close(&a->stated);
    judge_target_close(&a->target);
    method_close(&method);
}

/* What decides on the image; how fast, where and in how many pieces it is made does not. */
static int describe(kr_text *settings, const opts *o)
{
    return resume_settings(settings, table, o, "output memory threads plan resume recursive json then timeout shard")
        || resume_settings(settings, (method.asked ? method.asked : kr_recon_named(KR_AUTO_USUAL))->opts, method.values, "") ? kr_error_code() : 0;
}

/* ---- A study ---- */
/* Who does what, the same in all runs of the study; and the record of this one, where it makes images. */
static int deal_out(long **owner, struct record *r, const struct shard *shard, struct batch *b, const struct asked *all, const char *settings, const opts *o, const kr_trace *trace)
{
    if (!b->many)
        return kr_fail(KR_EUSAGE, "--shard deals out the files of a study, and one file was given: name a folder, a pattern or several files");
    kr_job_opts how = all->how;
    how.memory = 0;
    kr_job *planner = kr_job_open(method.asked ? method.asked->name : KR_AUTO_USUAL, NULL, &how);
    *owner = planner ? kr_alloc((size_t)b->count + 1, sizeof **owner) : NULL;
    int e = *owner ? shard_deal(*owner, b, shard->n, planner, o->from) : kr_error_code();
    kr_job_unref(&planner);
    if (e)
        return e;
    for (long i = 0; i < b->count; i++)
        b->others += (*owner)[i] != shard->i;
    kr_say(trace, KR_INFO, "shard %ld of %ld: %ld of %ld files", shard->i, shard->n, b->count - b->others, b->count);
    if (o->plan)
        return 0;
    if (record_open(r, o->output, shard->i, shard->n, settings, b->count, b->input, b->output, trace))
        return kr_error_code();
    for (long i = 0; i < b->count; i++)
        r->row[i].owner = (*owner)[i];
    return record_write(r);
}

/* File i of the study. A refusal that ends the study is returned; others are noted. */
static int in_turn(struct batch *b, long i, struct asked *all, const char *settings, const opts *o, struct record *r, struct answer *a)
{
    const char *input = b->input[i], *output = b->output[i];
    double start = kr_seconds();
    int done = o->resume && !o->plan ? resume_done(output, input, settings, a->outer) : 0;
    json_t *j = answer_add(a, output);
    json_object_set_new(j, "input", json_words(input));
    if (done > 0) {
        json_object_set_new(j, "already_there", json_true());
        return r && (record_note(r, i, ROW_THERE, NULL, 0) || record_write(r)) ? kr_error_code() : 0;
    }
    kr_trace_unit room;
    const kr_trace *t = kr_trace_of(&room, &a->trace, "file", i, b->count);
    kr_progress(t, "reading", 0, 1);
    bool failed = done < 0 || (b->count > 1 && kr_guard_try(input, o->from, KR_RAW)) || one(all->job, input, output, settings, o, &all->target, j, t)
               || (o->then && !o->plan && !(t->dealer && t->dealer->rank) && stage_then(o->then, o->timeout, output, j, t));
    if (failed && kr_error_code() != KR_ESTOPPED && kr_error_code() != KR_EUSAGE && !strstr(kr_error(), input) && !strstr(kr_error(), output))
        kr_fail_in("%s", input);                             /* which of many */
    if (r && kr_error_code() != KR_ESTOPPED) {
        const kr_recon *m = failed ? NULL : kr_job_method(all->job);
        int why = kr_error_code();
        kr_auto char *sentence = failed ? kr_strdup(kr_error()) : NULL;
        if (record_note(r, i, failed ? ROW_FAILED : ROW_DONE, m ? m->name : NULL, kr_seconds() - start) || record_write(r))
            return kr_error_code();
        if (failed)
            kr_fail(why, "%s", sentence ? sentence : "no memory");
    }
    if (!failed)
        return 0;
    answer_failed(a);
    return batch_failed(b, i, a->outer);
}

/* The record's last word; e stays. */
static int ended(struct record *r, int e)
{
    kr_auto char *sentence = e ? kr_strdup(kr_error()) : NULL;
    r->ended = e != KR_ESTOPPED;
    int bad = record_write(r);
    return e ? kr_fail(e, "%s", sentence ? sentence : "no memory") : bad;
}

/* What rank 0 tells of all. */
static int verdict_of(const struct record *study, struct answer *a, const kr_trace *trace)
{
    long failed = 0, open = 0;
    for (long i = 0; i < study->count; i++) {
        const struct record_row *row = &study->row[i];
        json_t *j = answer_add(a, row->output);
        json_object_set_new(j, "input", json_words(row->input));
        json_object_set_new(j, "rank", json_integer(row->owner));
        json_object_set_new(j, "method", json_words(row->method));
        json_object_set_new(j, "seconds", json_number(row->seconds));
        if (row->state == ROW_THERE)
            json_object_set_new(j, "already_there", json_true());
        if (row->state == ROW_FAILED)
            json_object_set_new(j, "error", json_words(row->why));
        failed += row->state == ROW_FAILED;
        open += row->state == ROW_OPEN;
    }
    kr_say(trace, KR_INFO, "%s/kray-table.csv, %s/kray-log.txt: %ld files", study->folder, study->folder, study->count);
    return failed || open ? kr_fail(KR_EREFUSED, "%ld of %ld failed%s", failed, study->count, open ? ", and some were not done" : "; the others are done") : 0;
}

/* Under mpirun, one file: all ranks make its image together, each its share of the slices. */
static int by_slices(struct ranks *ranks, struct batch *b, struct asked *all, const char *settings, const opts *o, const kr_trace *trace)
{
    struct answer a;
    if (sweep.count || beside())
        return kr_fail(KR_EUSAGE, "under mpirun the slices of one file are dealt out, and %s wants them all at once: run it without mpirun", sweep.count ? "a sweep of lambda" : beside());
    if (ranks_share(ranks))
        return kr_error_code();
    answer_begin(&a, o->json && !ranks->rank, trace);
    int e = in_turn(b, 0, all, settings, o, NULL, &a);
    if (!e && !ranks->slices.loops && !o->resume)
        kr_say(trace, KR_WARNING, "there was nothing to deal out, a single slice or a method that does not take them one by one: each of %d ranks did the same", ranks->count);
    return answer_end(&a, ranks_shared(ranks, e));
}

/* Under mpirun: files one by one, as ranks become free. */
static int by_ranks(struct ranks *ranks, int files, char **file, const opts *o, const kr_trace *outer)
{
    struct batch b = { 0 };
    struct answer a, quiet;
    struct asked all = { 0 };
    struct record own = { 0 }, study = { 0 };
    kr_text settings = { 0 };
    int e = batch_open(&b, files, file, o->output, o->to, ".nii.gz", o->recursive);
    bool one_file = !e && b.count == 1;
    const kr_trace *trace = one_file ? ranks_share_trace(ranks, outer) : ranks_trace(ranks, outer);
    e = e || describe(&settings, o) || open_all(&all, o, trace) ? kr_error_code() : 0;
    const char *text = settings.s ? settings.s : "";
    if (!e && one_file) {
        e = by_slices(ranks, &b, &all, text, o, trace);
        batch_close(&b);
        kr_text_clear(&settings);
        close_all(&all);
        return e;
    }
    answer_begin(&quiet, false, trace);
    answer_begin(&a, o->json && !ranks->rank, outer);
    if (!e && b.many && beside())
        e = kr_fail(KR_EUSAGE, "--%s names one file, and several images are made", beside());
    if (!e)
        e = record_open(&own, o->output, ranks->rank + 1, ranks->count, text, b.count, b.input, b.output, trace) || (!ranks->rank
            && record_open(&study, o->output, 1, 1, text, b.count, b.input, b.output, outer)) ? kr_error_code() : 0;
    own.unsaved = true;
    for (long i = 0; !e && i < study.count; i++)
        study.row[i].owner = -1;
    e = e ? e : ranks_begin(ranks, &study);
    const struct record_row *done = NULL;
    for (long i; !e && (i = ranks_next(ranks, done)) >= 0; done = &own.row[i])
        e = in_turn(&b, i, &all, text, o, &own, &quiet);
    bool usage = e == KR_EUSAGE && done == NULL;                   /* all ranks see it: each ends by itself, rank 0 tells */
    if (e && !usage) {
        kr_say(outer, KR_WARNING, "rank %d: %s", ranks->rank, kr_error());
        ranks_give_up(ranks);
    }
    if (!e)
        ranks_wait(ranks);
    if (!e && !ranks->rank)
        e = verdict_of(&study, &a, outer);
    e = answer_end(&a, e);
    batch_close(&b);
    kr_text_clear(&settings);
    close_all(&all);
    record_close(&own);
    record_close(&study);
    return e;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (!strcmp(o->method, "list"))
        return list();
    if (!files)
        return kr_fail(KR_EUSAGE, "no input is given");
    if (!o->output && !o->plan)
        return kr_fail(KR_EUSAGE, "where should the image go? Give -o OUT, for example -o image.nii.gz");
    if (o->maps < 1 || o->maps > 8 || o->calib < 1 || o->compress < 0)
        return kr_fail(KR_EUSAGE, "--maps (1 to 8), --calib and --compress count something: %s is not possible",
                       o->maps < 1 || o->maps > 8 ? "that number of maps"
                       : o->calib < 1 ? "a calibration area without samples" : "a negative number of coils");
    if (all_options_count(o))
        return kr_error_code();
    if (kr_threads_want(o->threads))
        return kr_error_code();
    struct batch b = { 0 };
    struct answer a;
    struct asked all = { 0 };
    struct record record = { 0 };
    struct shard shard;
    kr_text settings = { 0 };
    struct ranks ranks;
    if (shard_parse(&shard, o->shard) || ranks_join(&ranks))
        return kr_error_code();
    if (ranks.count > 1 && shard.n)
        return kr_fail(KR_EUSAGE, "mpirun deals out files and slices by itself: --shard is for runs that know nothing of each other");
    if (ranks.count > 1 && !o->plan) {
        int e = by_ranks(&ranks, files, file, o, trace);
        ranks_leave(&ranks);
        return e;
    }
    if (ranks.rank) {                          /* a plan is told once */
        ranks_leave(&ranks);
        return 0;
    }
    answer_begin(&a, o->json, trace);
    kr_auto long *owner = NULL;
    int e = describe(&settings, o) || open_all(&all, o, trace) ? kr_error_code() : batch_open(&b, files, file, o->output, o->to, ".nii.gz", o->recursive);
    if (!e && b.many && beside())
        e = kr_fail(KR_EUSAGE, "--%s names one file, and several images are made", beside());
    if (!e && shard.n)
        e = deal_out(&owner, &record, &shard, &b, &all, settings.s ? settings.s : "", o, trace);
    if (record.row)
        a.outer = &record.trace;
    for (long i = 0; !e && i < b.count; i++)
        if (!owner || owner[i] == shard.i)
            e = in_turn(&b, i, &all, settings.s ? settings.s : "", o, record.row ? &record : NULL, &a);
    if (!e)
        e = batch_verdict(&b, a.outer);
    if (record.row)
        e = ended(&record, e);
    batch_close(&b);
    kr_text_clear(&settings);
    close_all(&all);
    e = answer_end(&a, e);
    record_close(&record);
    ranks_leave(&ranks);
    return e;
}

const kr_tool kr_tool_recon = { "recon", "Reconstruct", "reconstruct images from raw data", "IN... -o OUT [options]",
    "  kray recon scan.h5 -o image.nii.gz                       # a sensible method, and it says which\n"
    "  kray recon knee.h5 -o zero.png --method rss -u random:accel=4,center=0.08,seed=file\n"
    "  kray recon brain.mat:kData@x,y,coil -o brain.nii.gz -u poisson:accel=7 --lambda 0.01\n"
    "  kray recon cine.mat -o cine.nii.gz --method llr --frames time     # a series at once: locally low rank\n"
    "  kray recon golden.h5 -o dce.nii.gz --spokes 21 --method ttv     # GRASP: frames of 21 golden-angle spokes\n"
    "  kray recon scan.h5 -o best.nii.gz --method wavelet --lambda 1e-4:1e-1:7 --reference truth.nii.gz\n"
    "  kray recon tooth.h5 -o tooth.nii.gz                      # X-ray projections that tell their geometry; kray ct has more options\n"
    "  kray recon epi.cfl -o epi.nii.gz --multiband 3 --caipi 3 --single-band sbref.cfl --method slice-grappa\n"
    "  kray recon study/ -o images/ --resume                    # a folder; what failed is listed at the end\n"
    "  kray recon study/ -o images/ --shard 2/4                 # a quarter of it; the others on other machines; then kray gather images/\n"
    "  kray recon MultiCoil/ -o Submission/MultiCoil --recursive --to cmrxrecon      # a tree of folders, as the challenge wants it\n"
    "  kray recon multicoil_test/*.h5 -o reconstructions/ --to fastmri\n"
    "  kray recon big.h5 -o big.nii.gz --memory 4G --plan       # what it would need\n"
    "  kray recon scan.h5 -o t1.nii.gz --then 'TotalSegmentator -i {image} -o {labels} --ml --task total_mr'\n",
    table, sizeof(opts), more, run };
