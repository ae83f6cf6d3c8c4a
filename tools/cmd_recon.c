/* cmd_recon.c: kray recon IN... -o OUT: raw data in, images out; one file or a whole study. */
#include "kray/io.h"
#include "kray/recon.h"
#include "tool.h"
#include "batch.h"
#include "resume.h"
#include "json.h"
#include "sweep.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct opts {
    const char *partial, *output, *method, *undersample, *reference, *coils, *compression, *ghost, *to, *from;
    const char *single_band, *traj, *matrix;
    long maps, calib, compress, threads, multiband, caipi;
    const char *covariance, *sign, *voxel, *centre;
    bool whiten, oversampling, complex, resume, plan, recursive, json;
    int64_t memory;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "image file; with several inputs a folder" },
    { "method", 'm', KR_OPT_TEXT, offsetof(opts, method), "auto", "NAME", "reconstruction method; 'list' shows all" },
    { "undersample", 'u', KR_OPT_TEXT, offsetof(opts, undersample), NULL, "SPEC|FILE", "keep only these samples: see kray mask" },
    { "coils", 'c', KR_OPT_TEXT, offsetof(opts, coils), "espirit", "NAME|FILE", "coil maps: espirit, walsh, lowres, or a file of maps" },
    { "maps", 0, KR_OPT_INT, offsetof(opts, maps), "1", "N", "sets of coil maps; 2 where the field of view is smaller than the object" },
    { "calib", 0, KR_OPT_INT, offsetof(opts, calib), "24", "N", "largest width of the calibration area" },
    { "compress", 0, KR_OPT_INT, offsetof(opts, compress), "0", "N", "compress to N virtual coils; 0 keeps all" },
    { "compression", 0, KR_OPT_CHOICE, offsetof(opts, compression), "svd", "svd|geometric", "how to compress" },
    { "whiten", 0, KR_OPT_FLAG, offsetof(opts, whiten), "on", NULL, "whiten the channels by the file's noise scan" },
    { "covariance", 0, KR_OPT_FILE, offsetof(opts, covariance), NULL, "FILE", "whiten by this covariance E[n_i conj n_j], rows i along y; not by the noise scan" },
    { "oversampling", 0, KR_OPT_FLAG, offsetof(opts, oversampling), "on", NULL, "remove readout oversampling" },
    { "ghost", 0, KR_OPT_CHOICE, offsetof(opts, ghost), "auto", "auto|navigator|entropy|svd|none",
      "Nyquist ghost of echo-planar scans: by navigator lines, or from the data alone" },
    { "traj", 0, KR_OPT_FILE, offsetof(opts, traj), NULL, "FILE[:VAR][@AXES]", "k-space positions of every sample, where the data file has none" },
    { "matrix", 0, KR_OPT_TEXT, offsetof(opts, matrix), NULL, "X,Y[,Z]", "matrix of the image, where a scan with a trajectory does not tell it" },
    { "multiband", 0, KR_OPT_INT, offsetof(opts, multiband), "0", "N", "slices were measured N at a time; 0: as the file says" },
    { "caipi", 0, KR_OPT_INT, offsetof(opts, caipi), "0", "N", "and neighbouring ones of a band lie FOV/N apart along y; 1: not shifted; 0: as the file says" },
    { "single-band", 0, KR_OPT_FILE, offsetof(opts, single_band), NULL, "FILE", "and a scan of these slices one at a time, to tell them apart by" },
    { "kspace-sign", 0, KR_OPT_CHOICE, offsetof(opts, sign), "auto", "auto|+|-", "sign of the Fourier exponent of raw data along the stored directions; auto: by vendor" },
    { "voxel", 0, KR_OPT_TEXT, offsetof(opts, voxel), NULL, "X,Y,Z", "voxel size in mm, where the file gives none" },
    { "centre", 0, KR_OPT_TEXT, offsetof(opts, centre), NULL, "X,Y[,Z]", "sample and line of the centre of k-space, counted as in the file; - keeps an axis" },
    { "partial-fourier", 0, KR_OPT_CHOICE, offsetof(opts, partial), "zero", "zero|pocs|homodyne", "what becomes of the side of k-space that was not measured" },
    { "reference", 0, KR_OPT_FILE, offsetof(opts, reference), NULL, "FILE", "the image that a sweep (--lambda 1e-4:1e-1:7) is scored by" },
    { "complex", 0, KR_OPT_FLAG, offsetof(opts, complex), NULL, NULL, "keep the phase; otherwise the magnitude is written" },
    { "to", 0, KR_OPT_TEXT, offsetof(opts, to), NULL, "FORMAT", "output format, whatever the suffix (nifti, fastmri, ...)" },
    { "from", 0, KR_OPT_TEXT, offsetof(opts, from), NULL, "FORMAT", "input format, whatever the content looks like" },
    { "memory", 0, KR_OPT_SIZE, offsetof(opts, memory), NULL, "SIZE", "work in pieces, so that the whole program needs no more than this (8G)" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: a list with an object for each file" },
    { "threads", 0, KR_OPT_INT, offsetof(opts, threads), "0", "N", "threads; 0: one per core" },
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "print shapes, memory and time, and run nothing" },
    { "recursive", 0, KR_OPT_FLAG, offsetof(opts, recursive), NULL, NULL, "search the folders within folders, too; the output keeps their tree" },
    { "resume", 0, KR_OPT_FLAG, offsetof(opts, resume), NULL, NULL, "skip images that are there already, whole, and made from the same input with the same options" },
    KR_OPT_END };

/* ---- The method and its options ---- */
static const kr_recon *asked;         /* NULL: auto */
static void *method_opts;
static struct sweep sweep;            /* of its lambda                        */
static struct judge_target target;    /* what it is scored by                 */
static const char *given;             /* an option of KR_AUTO_USUAL that was given to auto: it has to count; NULL */
static bool given_calib, given_compression;   /* options of the table above whose presets mean nothing by themselves  */

/* Whether the words of a command set this option. */
static bool is_given(const kr_opt *o, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        const char *name = argv[i] + 2;
        if (o->letter && argv[i][0] == '-' && argv[i][1] == o->letter)
            return true;
        if (strncmp(argv[i], "--", 2))
            continue;
        name += o->type == KR_OPT_FLAG && !strncmp(name, "no-", 3) ? 3 : 0;
        if (!strncmp(name, o->name, strlen(o->name)) && (!name[strlen(o->name)] || name[strlen(o->name)] == '='))
            return true;
    }
    return false;
}

/* The name of the first option of a table that the words of a command set; NULL: none. */
static const char *given_of(const kr_opt *of, int argc, char **argv)
{
    for (const kr_opt *o = of; o && o->name; o++)
        if (is_given(o, argc, argv))
            return o->name;
    return NULL;
}

static int more(kr_opt_group *room, int count, int argc, char **argv)
{
    (void)count;
    const char *name = "auto";
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if ((!strcmp(argv[i], "--method") || !strcmp(argv[i], "-m")) && i + 1 < argc)
            name = argv[i + 1];
        else if (!strncmp(argv[i], "--method=", 9))
            name = argv[i] + 9;
    if (!strcmp(name, "list"))
        return 0;
    const kr_recon *m = kr_recon_named(strcmp(name, "auto") ? name : KR_AUTO_USUAL);
    if (!m)
        return kr_error_code();
    asked = strcmp(name, "auto") ? m : NULL;
    kr_free(method_opts);
    method_opts = kr_alloc_zero(1, m->opts_size ? m->opts_size : 1);
    if (!method_opts || kr_opt_defaults(m->opts, method_opts) || sweep_parse(&sweep, argc, argv))
        return kr_error_code();
    static char title[320];
    snprintf(title, sizeof title, "Options of the method %s (%s)%s", m->name, m->summary, asked ? "" : ";\nthose of another: kray recon --method NAME --help");
    given = asked ? NULL : given_of(m->opts, argc, argv);
    for (const kr_opt *o = table; o->name; o++) {
        given_calib |= !strcmp(o->name, "calib") && is_given(o, argc, argv);
        given_compression |= !strcmp(o->name, "compression") && is_given(o, argc, argv);
    }
    room[0] = (kr_opt_group){ title, m->opts, method_opts };
    return 1;
}

static int list(void)
{
    for (int i = 0; kr_recons[i]; i++)
        printf("%-16s %s\n%-16s %s\n", kr_recons[i]->name, kr_recons[i]->summary, "", kr_recons[i]->cite);
    return 0;
}

/* The options that a method takes: those given are of the method asked for, or of the usual one; of others the presets. */
static void *opts_of(const kr_recon *m)
{
    static void *presets;
    if (m == (asked ? asked : kr_recon_named(KR_AUTO_USUAL)) || !m->opts)
        return method_opts;
    kr_free(presets);
    presets = kr_alloc_zero(1, m->opts_size ? m->opts_size : 1);
    return presets && !kr_opt_defaults(m->opts, presets) ? presets : NULL;
}

static const kr_recon *choose(const kr_scan *s, const opts *o, const kr_trace *trace)
{
    if (asked)
        return asked;
    bool maps = s->coils || access(o->coils, F_OK) == 0;
    kr_auto_choice a = { .maps = maps, .maps_asked = maps || strcmp(o->coils, "espirit") || o->maps > 1 || given_calib, .undersampled = o->undersample != NULL,
                         .given = given, .calib = { o->calib, o->calib, o->calib } };
    const kr_recon *m = kr_recon_auto(&a, s, trace);
    if (m)
        kr_say(trace, KR_INFO, "method: %s (%s)", m->name, a.why);
    return m && opts_of(m) ? m : NULL;
}

static int matrix(kr_scan *s, const char *text)
{
    long n[3] = { 0, 0, 1 };
    char end;
    int count = sscanf(text, "%ld,%ld,%ld%c", &n[0], &n[1], &n[2], &end);
    if ((count != 2 && count != 3) || n[0] < 1 || n[1] < 1 || n[2] < 1 || n[0] > 8192 || n[1] > 8192 || n[2] > 8192)
        return kr_fail(KR_EUSAGE, "--matrix %s: two or three numbers of pixels from 1 to 8192 are wanted, such as 256,256", text);
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--matrix is for scans with a trajectory; this one is on a grid of its own");
    for (int d = 0; d < 3; d++) {
        if (s->enc.encoded[d] > 1 && s->enc.encoded[d] != n[d])
            return kr_fail(KR_EUSAGE, "--matrix %s: the file says %ld along %s", text, s->enc.encoded[d], kr_axis_name(d));
        s->enc.encoded[d] = s->enc.recon[d] = n[d];
    }
    return 0;
}

/* ---- One file ---- */
static long slices_of(const kr_scan *s) { return s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1; }

/* "870 MiB", "1.14 GiB"; in a buffer of the caller. */
static const char *size_text(char room[32], double bytes)
{
    snprintf(room, 32, bytes < 1073741824 ? "%.4g MiB" : "%.2f GiB", bytes / (bytes < 1073741824 ? 1048576 : 1073741824));
    return room;
}

/* The program with its libraries, the FFT's plans and a buffer of the file's reader, measured: 20 to 28 MiB. */
static const double PROGRAM = 24 << 20;

/* Bytes at the peak of reading and reconstructing so many slices. Either while the readout is cropped, when the data as read and as cropped
 * are there together, or while the method works on what is left. */
static int estimate(const kr_scan *head, const kr_recon *m, const void *mopts, const opts *o, long slices, kr_cost *cost)
{
    kr_scan part = *head;                       /* shape alone is looked at */
    part.shape.n[KR_SLICE] = slices;
    double raw = 8 * (double)kr_count(part.shape), coils = part.shape.n[KR_COIL] > 1 ? (double)part.shape.n[KR_COIL] : 1;
    double ratio = head->enc.recon_mm[0] > 0 ? head->enc.encoded_mm[0] / head->enc.recon_mm[0] : 1;
    bool crops = o->oversampling && !(m->needs & KR_WHOLE_READOUT) && ratio > 1.01;
    if (crops)
        part.shape.n[KR_X] = lround((double)part.shape.n[KR_X] / ratio);
    double data = 8 * (double)kr_count(part.shape), image = data / coils;
    *cost = (kr_cost){ 0 };
    if (m->plan && m->plan(cost, &part, mopts))
        return kr_error_code();
    double maps = m->needs & KR_NEEDS_COILS ? data * (double)o->maps : 0, works = data + maps + cost->bytes + image, opens = raw + (crops ? data : 0);
    cost->bytes = PROGRAM + (works > opens ? works : opens);
    cost->seconds += raw / 1e9;                 /* reading                   */
    return 0;
}

static int tell_plan(const kr_scan *head, const kr_recon *m, const void *mopts, const opts *o, long piece, json_t *j)
{
    kr_cost all, one;
    long n = slices_of(head);
    if (estimate(head, m, mopts, o, n, &all) || estimate(head, m, mopts, o, piece, &one))
        return kr_error_code();
    if (j) {
        json_object_set_new(j, "format", json_words(head->format));
        json_object_set_new(j, "kspace", json_shape(head->shape));
        json_object_set_new(j, "method", json_words(m->name));
        json_object_set_new(j, "plan", json_pack("{s:I,s:f,s:f,s:i}", "slices_at_a_time", (json_int_t)piece, "memory_bytes", one.bytes, "seconds",
                                                 all.seconds, "threads", kr_threads()));
        return 0;
    }
    char a[32], b[32];
    printf("%s\n  format   %s\n  k-space  %s, %s\n  method   %s\n", head->file, head->format, kr_shape_text(head->shape),
           size_text(a, 8 * (double)kr_count(head->shape)), m->name);
    if (m->needs & KR_NEEDS_COILS)
        printf("  maps     %s, %ld set%s\n", o->coils, o->maps, o->maps == 1 ? "" : "s");
    if (piece < n)
        printf("  pieces   %ld slice%s at a time\n", piece, piece == 1 ? "" : "s");
    printf("  memory   %s at the peak\n  time     about %.1f s on %d thread%s\n", size_text(b, one.bytes), all.seconds, kr_threads(),
           kr_threads() == 1 ? "" : "s");
    return 0;
}

/* Scans larger than this are worked through in pieces, a slice for each thread, where neither file nor method minds: it
 * takes no longer, and as much memory as the pieces do. */
static const double LARGE = 128 << 20;

static int in_pieces(const char *file, const opts *o)
{
    if (sweep.count || o->compress || o->multiband || (asked && !(asked->needs & KR_EACH_SLICE)))
        return false;
    kr_source src;
    const kr_format *f = kr_source_parse(&src, file) ? NULL : o->from ? kr_format_named(o->from) : kr_format_of(src.path);
    kr_source_clear(&src);
    if (!f && kr_error_code() == KR_EMEM)
        return kr_error_code();
    kr_error_clear();                            /* reading will tell */
    return f && f->by_slice;
}

/* How many slices at a time: what fits into the memory given; of a large scan, one for each thread. */
static long piece_of(const kr_scan *head, const kr_recon *m, const void *mopts, const opts *o, bool pieces)
{
    long n = slices_of(head);
    if (kr_is_multiband(head))
        return n;
    if (!o->memory) {
        kr_cost all;
        if (estimate(head, m, mopts, o, n, &all))
            return -1;
        return pieces && all.bytes > LARGE && m->needs & KR_EACH_SLICE && kr_threads() < n ? kr_threads() : n;
    }
    for (long k = n; k > 0; k = k > 8 ? k - k / 8 : k - 1) {
        kr_cost c;
        if (estimate(head, m, mopts, o, k, &c))
            return -1;
        if (c.bytes <= (double)o->memory)
            return k;
    }
    kr_cost c;
    char needed[32], allowed[32];
    if (!estimate(head, m, mopts, o, 1, &c))
        kr_fail(KR_EREFUSED, "%s needs %s for %s, %s are allowed", m->name, size_text(needed, c.bytes),
                head->shape.n[KR_Z] > 1 ? "a volume, which is not worked on in pieces" : "a single slice", size_text(allowed, (double)o->memory));
    return -1;
}

/* Coils alone unfold no more lines than there are coils: methods without a further prior make noise of the rest. */
static int warn_of_factor(const kr_scan *s, const kr_recon *m, const kr_trace *trace)
{
    kr_mask_facts f;
    if (!(m->needs & KR_UNFOLDS) || s->traj)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);                       /* also of data whose file says nothing of it */
    if (!mask || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->multiband.depth)                                /* empty planes need no unfolding */
        f.outer_accel = f.accel * (double)s->multiband.factor / (double)s->multiband.depth;
    if (f.outer_accel > (double)coils)
        kr_say(trace, KR_WARNING, "outside the centre one of %.3g samples was measured, more than %ld coils can unfold: expect noise and "
               "fold-over; undersample less, or take a method with a prior (--method wavelet)", f.outer_accel, coils);
    return 0;
}

/* How much was measured, and by which mask, for tables and reports of many images. */
static int note_sampling(kr_image *im, const kr_scan *s, const opts *o)
{
    kr_mask_facts f;
    if (o->undersample && kr_meta_set(im->meta, "kray_mask", "%s", o->undersample))
        return kr_error_code();
    if (s->traj)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);
    if (!mask || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    return kr_meta_set(im->meta, "kray_acceleration", "%.3g", f.accel);
}

/* Some slices of a file, prepared and undersampled; *m, if NULL, becomes the method that auto takes for them. */
static int ready(kr_scan **out, const char *file, const kr_recon **m, const opts *o, long from, long count, long all, const kr_trace *trace)
{
    kr_scoped(scan) whole = NULL;
    kr_read how = { .slice_from = from, .slice_count = count < all ? count : 0 };
    if (kr_scan_read(&whole, file, o->from, &how, trace))
        return kr_error_code();
    bool cut = count < all && slices_of(whole) == all;      /* a format that reads all slices at once */
    kr_scoped(scan) own = cut ? kr_scan_slices(whole, from, count) : NULL;
    kr_scan *s = cut ? own : whole;
    if (!s || kr_scan_check(s))
        return kr_error_code();
    if (!from) {
        int notes = 0;
        for (const char *p = s->notes.s, *end; p && *p; p = *end ? end + 1 : end, notes++) {
            end = p + strcspn(p, "\n");
            kr_say(trace, KR_DETAIL, "%s: %.*s", file, (int)(end - p), p);
        }
        if (notes)
            kr_say(trace, KR_INFO, "%s: %d note%s on what was read (-v, or kray info)", file, notes, notes == 1 ? "" : "s");
    }
    if (batch_where(s, o->sign, o->voxel, o->centre, from ? NULL : trace))
        return kr_error_code();
    if (o->traj) {
        kr_scoped(array) k = NULL;
        if (kr_array_read(&k, o->traj) || kr_scan_attach_trajectory(s, k))
            return kr_fail_in("trajectory");
    }
    if (o->matrix && matrix(s, o->matrix))
        return kr_error_code();
    if (batch_multiband(s, o->multiband, o->caipi, o->single_band, trace))
        return kr_error_code();
    const kr_prepare prepare = { .whiten = o->whiten, .oversampling = o->oversampling && !(asked && asked->needs & KR_WHOLE_READOUT),
                                 .ghost = o->ghost, .coils = o->compress,
                                 .compression = o->compression, .average = true };
    if (batch_covariance(s, o->covariance) || kr_scan_prepare(s, &prepare, trace))
        return kr_error_code();
    if (o->undersample && batch_undersample(s, o->undersample, file))
        return kr_error_code();
    if (!*m && !(*m = choose(s, o, trace)))
        return kr_error_code();
    *(cut ? &own : &whole) = NULL;
    *out = s;
    return 0;
}

static int reconstruct_piece(kr_image **out, const char *file, const kr_recon **m, const opts *o, long from, long count, long all,
                             const kr_array *maps, long *replaced, const kr_trace *trace)
{
    kr_scoped(scan) s = NULL;
    if (ready(&s, file, m, o, from, count, all, trace))
        return kr_error_code();
    if (!from && warn_of_factor(s, *m, trace))
        return kr_error_code();
    kr_coils_opts c = kr_coils_preset;
    c.method = maps ? c.method : o->coils;
    c.maps = o->maps;
    c.replaced = replaced;
    c.calib[0] = c.calib[1] = c.calib[2] = o->calib;
    kr_scoped(array) part = maps && maps->n[KR_SLICE] > 1 && count < all ? kr_array_range(maps, KR_SLICE, from, count)
                          : maps ? kr_array_ref(maps) : NULL;
    if (maps && !part)
        return kr_error_code();
    if (sweep.count && strcmp(o->partial, "zero"))
        return kr_fail(KR_EUSAGE, "a sweep of lambda with --partial-fourier %s is not possible", o->partial);
    int e;
    if (sweep.count)
        e = sweep_run(out, &sweep, s, *m, opts_of(*m), part, &c, target.image ? &target : NULL, trace);
    else if (strcmp(o->partial, "zero"))
        e = kr_reconstruct_partial(out, s, !asked && !strcmp((*m)->name, "rss") ? kr_recon_named("adjoint") : *m, opts_of(*m), o->partial, part, &c, trace);
    else
        e = kr_reconstruct(out, s, *m, opts_of(*m), NULL, part, &c, trace);
    return e || from ? e : note_sampling(*out, s, o);
}

/* Slices side by side into one image. */
static int gather(kr_image **all, const kr_image *piece, const kr_geom *geom, long from, long total)
{
    if (!*all) {
        kr_shape shape = kr_array_shape(piece->data);
        shape.n[KR_SLICE] = total;
        kr_scoped(array) whole = kr_array_new(piece->data->type, shape);
        *all = kr_image_new(whole, piece->geom, piece->meta);
        if (!*all)
            return kr_error_code();
        kr_geom *g = kr_geom_copy(piece->geom);
        if (!g)
            return kr_error_code();
        if (geom->slices == total && g->slices != total) {   /* the piece knows its own slices only */
            kr_geom *f = kr_geom_copy(geom);
            if (!f) {
                kr_geom_unref(&g);
                return kr_error_code();
            }
            memcpy(f->fov_mm, g->fov_mm, sizeof f->fov_mm);
            memcpy(f->read_dir, g->read_dir, sizeof f->read_dir);
            memcpy(f->phase_dir, g->phase_dir, sizeof f->phase_dir);
            memcpy(f->slice_dir, g->slice_dir, sizeof f->slice_dir);
            kr_geom_unref(&g);
            g = f;
        }
        kr_geom_unref(&(*all)->geom);
        (*all)->geom = g;
    }
    kr_scoped(array) place = kr_array_range((*all)->data, KR_SLICE, from, piece->data->n[KR_SLICE]);
    if (!place)
        return kr_error_code();
    kr_array_assign(place, piece->data);
    return 0;
}

static int one(const char *file, const char *output, const char *settings, const opts *o, const kr_array *maps, json_t *j, const kr_trace *trace)
{
    double start = kr_seconds();
    const kr_recon *m = asked;
    kr_scoped(scan) head = NULL;
    int pieces = in_pieces(file, o);
    if (pieces < 0)
        return pieces;
    if (o->memory || o->plan || pieces) {
        kr_read how = { .header_only = true };
        if (kr_scan_read(&head, file, o->from, &how, trace))
            return kr_error_code();
    }
    long all = head ? slices_of(head) : 1, piece = all;
    if (head) {
        const kr_recon *guess = m ? m : choose(head, o, NULL);
        piece = guess ? piece_of(head, guess, opts_of(guess), o, pieces) : -1;
        if (piece < 0)
            return kr_error_code();
        if (o->plan) {                           /* what auto takes is told by the data */
            kr_scoped(scan) s = NULL;
            if (!m && (ready(&s, file, &m, o, 0, piece, all, NULL) || (piece = piece_of(head, m, opts_of(m), o, pieces)) < 0))
                return kr_error_code();
            return tell_plan(head, m, opts_of(m), o, piece, j);
        }
    }
    if (kr_can_write(KR_PICTURE, output, o->to))
        return kr_error_code();
    if (sweep.count && piece < all)
        return kr_fail(KR_EREFUSED, "a sweep wants the whole scan at once, and only %ld of %ld slices fit into the memory given", piece, all);
    kr_scoped(image) image = NULL;
    long replaced = 0;                           /* coil maps, of how many slices */
    for (long from = 0; from < all; from += piece) {
        kr_scoped(image) part = NULL;
        long count = from + piece > all ? all - from : piece;
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "piece", from / piece, (all + piece - 1) / piece);
        if (kr_stopped(trace) || reconstruct_piece(&part, file, &m, o, from, count, all, maps, &replaced, t))
            return kr_error_code();
        if (piece >= all) {
            image = part;
            part = NULL;
        } else {
            if (gather(&image, part, head->geom, from, all))
                return kr_error_code();
        }
    }
    kr_say_replaced(file, replaced, image->data->n[KR_SLICE], trace);
    kr_scoped(image) result = o->complex ? kr_image_new(image->data, image->geom, image->meta) : kr_image_magnitude(image);
    if (result)
        batch_voxel_unknown(result, output, o->to, trace);
    kr_text used = { 0 };
    kr_opt_describe(&used, m->opts, opts_of(m));
    int e = result && !used.failed ? kr_meta_provenance(result->meta, kr_command_line(), m->name, used.s ? used.s : "", &file, 1) : kr_error_code();
    if (!e)
        e = kr_meta_set(result->meta, "kray_settings", "%s", settings);
    if (!e && o->undersample)
        e = kr_meta_set(result->meta, "kray_undersample", "%s", o->undersample);
    kr_text_clear(&used);
    if (e || kr_stopped(trace) || kr_image_write(result, output, o->to))
        return kr_error_code();
    bool ranked = o->to && !strcmp(o->to, "cmrxrecon");      /* which keeps a part */
    kr_scoped(image) kept = ranked ? kr_cmrxrecon_ranking(result) : NULL;
    if (ranked && !kept)
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s: %s%s, %s, %.2f s", output, kr_shape_text(kr_array_shape(kept ? kept->data : result->data)),
           kept ? ", the subset that the challenge ranks" : "", m->name, kr_seconds() - start);
    json_object_set_new(j, "shape", json_shape(kr_array_shape(kept ? kept->data : result->data)));
    json_object_set_new(j, "method", json_words(m->name));
    json_object_set_new(j, "parameters", json_options(m->opts, opts_of(m)));
    json_object_set_new(j, "acceleration", json_number(kr_meta_number(result->meta, "kray_acceleration", (double)NAN)));
    json_object_set_new(j, "mask", json_words(kr_meta_get(result->meta, "kray_mask")));
    json_object_set_new(j, "seconds", json_number(kr_seconds() - start));
    return 0;
}

/* Coil maps come from a file. */
static bool named_maps(const opts *o) { return strcmp(o->coils, "espirit") && strcmp(o->coils, "walsh") && strcmp(o->coils, "lowres"); }

/* Refuses what is given and would not be looked at. */
static int all_options_count(const opts *o)
{
    const char *idle = o->maps > 1 ? "maps" : strcmp(o->coils, "espirit") ? "coils" : given_calib ? "calib" : NULL;
    if (idle && asked && !(asked->needs & (KR_NEEDS_COILS | KR_MAY_USE_COILS)))
        return kr_fail(KR_EUSAGE, "%s takes no coil maps, so that --%s means nothing to it%s", asked->name, idle,
                       strcmp(asked->name, "nlinv") || strcmp(idle, "maps") ? "" : "; its own sets are --sets");
    if (named_maps(o) && (o->maps > 1 || given_calib))
        return kr_fail(KR_EUSAGE, "the coil maps are read from %s, so that --%s means nothing: it is for maps made from the scan", o->coils,
                       o->maps > 1 ? "maps" : "calib");
    if (sweep.count && o->output && !strcmp(o->output, "-"))
        return kr_fail(KR_EUSAGE, "a sweep prints its table to standard output, where the image (-o -) would go: name a file");
    if (given_compression && !o->compress)
        return kr_fail(KR_EUSAGE, "--compression says how coils are compressed, and none are: --compress N gives the number of virtual coils");
    if (o->covariance && !o->whiten)
        return kr_fail(KR_EUSAGE, "--covariance is for whitening, and --no-whiten leaves it out");
    return 0;
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
    if (o->threads < 0 || o->maps < 1 || o->maps > 8 || o->calib < 1 || o->compress < 0)
        return kr_fail(KR_EUSAGE, "--threads, --maps (1 to 8), --calib and --compress count something: %s is not possible",
                       o->threads < 0 ? "a negative number of threads" : o->maps < 1 || o->maps > 8 ? "that number of maps"
                       : o->calib < 1 ? "a calibration area without samples" : "a negative number of coils");
    if (all_options_count(o))
        return kr_error_code();
    if (o->threads)
        kr_threads_set((int)o->threads);
    kr_scoped(array) maps = NULL;
    if (named_maps(o)) {
        if (kr_array_read(&maps, o->coils))
            return kr_fail_in("coil maps");
        kr_array *c = kr_array_complex(maps);
        if (!c)
            return kr_error_code();
        kr_array_unref(&maps);
        maps = c;
    }
    if (o->reference && !sweep.count)
        return kr_fail(KR_EUSAGE, "--reference scores a sweep, such as --lambda 1e-4:1e-1:7; there is none. kray eval scores images");
    if (o->reference && judge_read(&target, o->reference, trace))
        return kr_fail_in("reference");
    /* What decides on the image; how fast, where and in how many pieces it is made does not. */
    kr_text settings = { 0 };
    if (resume_settings(&settings, table, o, "output memory threads plan resume recursive json")
        || resume_settings(&settings, (asked ? asked : kr_recon_named(KR_AUTO_USUAL))->opts, method_opts, "")) {
        kr_text_clear(&settings);
        return kr_error_code();
    }
    struct batch b;
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = batch_open(&b, files, file, o->output, o->to, ".nii.gz", o->recursive);
    for (long i = 0; !e && i < b.count; i++) {
        int done = o->resume && !o->plan ? resume_done(b.output[i], b.input[i], settings.s ? settings.s : "", trace) : 0;
        if (done > 0) {
            answer_add(&a, b.output[i]);
            json_object_set_new(a.last, "input", json_words(b.input[i]));
            json_object_set_new(a.last, "already_there", json_true());
            continue;
        }
        json_t *j = answer_add(&a, b.output[i]);
        json_object_set_new(j, "input", json_words(b.input[i]));
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, &a.trace, "file", i, b.count);
        kr_progress(t, "reading", 0, 1);
        if (done < 0 || (b.count > 1 && kr_guard_try(b.input[i], o->from, KR_RAW)) || one(b.input[i], b.output[i], settings.s ? settings.s : "", o, maps, j, t)) {
            answer_failed(&a);
            e = batch_failed(&b, i, trace);
        }
    }
    if (!e)
        e = batch_verdict(&b, trace);
    batch_close(&b);
    kr_text_clear(&settings);
    kr_free_at(&method_opts);
    judge_target_close(&target);
    return answer_end(&a, e);
}

const kr_tool kr_tool_recon = { "recon", "Reconstruct", "raw data in, images out", "IN... -o OUT [options]",
    "  kray recon scan.h5 -o image.nii.gz                       # a sensible method, and it says which\n"
    "  kray recon knee.h5 -o zero.png --method rss -u random:accel=4,center=0.08,seed=file\n"
    "  kray recon brain.mat:kData@x,y,coil -o brain.nii.gz -u poisson:accel=7 --lambda 0.01\n"
    "  kray recon cine.mat -o cine.nii.gz --method llr --frames time     # a series at once: locally low rank\n"
    "  kray recon scan.h5 -o best.nii.gz --method wavelet --lambda 1e-4:1e-1:7 --reference truth.nii.gz\n"
    "  kray recon epi.cfl -o epi.nii.gz --multiband 3 --caipi 3 --single-band sbref.cfl --method slice-grappa\n"
    "  kray recon study/ -o images/ --resume                    # a folder; what failed is listed at the end\n"
    "  kray recon MultiCoil/ -o Submission/MultiCoil --recursive --to cmrxrecon      # a tree of folders, as the challenge wants it\n"
    "  kray recon multicoil_test/*.h5 -o reconstructions/ --to fastmri\n"
    "  kray recon big.h5 -o big.nii.gz --memory 4G --plan       # what it would need\n",
    table, sizeof(opts), more, run };
