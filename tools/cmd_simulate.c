/* cmd_simulate.c: kray simulate [PHANTOM] -o SCAN: a multi-coil scan of an object that is known. */
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/trajectory.h"
#include "simulate_ct.h"
#include "kray/rays.h"
#include "tool.h"
#include "rows.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts {
    const char *out, *matrix, *fov, *contrast, *undersample, *traj, *motion, *positions, *reference, *maps, *to, *geometry, *detector;
    long slices, coils, seed, multiband, caipi, single_band;
    double thickness, gap, snr, correlation, photons, electronic, dose, radius, blur, rings;
    long metal;
    bool spectrum;
    bool phase, oversampling, noise_scan, json;
} opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, out), NULL, "FILE", "the scan; its suffix chooses the format" },
    { "matrix", 'm', KR_OPT_TEXT, offsetof(opts, matrix), "256,256", "NX,NY[,NZ]", "voxels of the image; with NZ a 3D scan" },
    { "slices", 's', KR_OPT_INT, offsetof(opts, slices), "8", "N", "slices of a 2D scan" },
    { "coils", 'c', KR_OPT_INT, offsetof(opts, coils), "8", "N", "receive coils on a helmet; 1: one volume coil" },
    { "contrast", 0, KR_OPT_CHOICE, offsetof(opts, contrast), "t1", "t1|t2|pd|flair", "contrast weighting, of phantoms with tissues" },
    { "snr", 0, KR_OPT_REAL, offsetof(opts, snr), "30", "X", "signal to noise in the combined full image; 0: no noise" },
    ROW_UNDERSAMPLE(opts),
    { "traj", 0, KR_OPT_TEXT, offsetof(opts, traj), NULL, "SPEC", "measure along a trajectory, such as radial:spokes=64,angle=golden (kinds: below)" },
    { "motion", 0, KR_OPT_TEXT, offsetof(opts, motion), NULL, "KEY=N,...", "the head moves in its plane between lines: steps=1 times, turned by up to rotate=5 degrees, moved by up to shift=5 mm, seed=0" },
    { "positions", 0, KR_OPT_OUT, offsetof(opts, positions), NULL, "FILE", "with --traj: also write the k-space positions, for formats that cannot hold them" },
    { "multiband", 0, KR_OPT_INT, offsetof(opts, multiband), "0", "N", "multiband (SMS) factor, with a single-band reference; 0: none" },
    { "caipi", 0, KR_OPT_INT, offsetof(opts, caipi), "0", "N", "with --multiband: CAIPI shift of FOV/N between neighbouring slices of a band; 1: none, 0: N = multiband factor x R" },
    ROW_SINGLE_BAND(opts),
    { "reference", 'r', KR_OPT_OUT, offsetof(opts, reference), NULL, "FILE", "also write the noiseless fully sampled image" },
    { "maps", 0, KR_OPT_OUT, offsetof(opts, maps), NULL, "FILE", "also write the coils' true sensitivities" },
    { "fov", 0, KR_OPT_TEXT, offsetof(opts, fov), NULL, "X[,Y[,Z]]", "field of view in mm; default: the phantom's" },
    { "thickness", 0, KR_OPT_REAL, offsetof(opts, thickness), "5", "MM", "thickness of 2D slices" },
    { "gap", 0, KR_OPT_REAL, offsetof(opts, gap), "1.5", "MM", "gap between 2D slices" },
    { "correlation", 0, KR_OPT_REAL, offsetof(opts, correlation), "0.2", "X", "noise correlation of neighbouring coils" },
    { "seed", 0, KR_OPT_INT, offsetof(opts, seed), "0", "N", "seed of the noise" },
    { "phase", 0, KR_OPT_FLAG, offsetof(opts, phase), "on", NULL, "give the object a smooth phase" },
    { "oversampling", 0, KR_OPT_FLAG, offsetof(opts, oversampling), "on", NULL, "oversample the readout twice" },
    { "noise-scan", 0, KR_OPT_FLAG, offsetof(opts, noise_scan), "on", NULL, "include a noise scan" },
    { "geometry", 'g', KR_OPT_TEXT, offsetof(opts, geometry), NULL, "SPEC", "projections of CT instead (see kray ct): of the CT phantoms below, or of a volume in Hounsfield units" },
    { "detector", 0, KR_OPT_TEXT, offsetof(opts, detector), "256", "COLUMNS[,ROWS]", "CT: elements of the detector" },
    { "photons", 0, KR_OPT_REAL, offsetof(opts, photons), "0", "I0", "CT: photons of a ray without the object, for Poisson noise; 0: no noise" },
    { "electronic", 0, KR_OPT_REAL, offsetof(opts, electronic), "0", "X", "CT: standard deviation of the electronics' noise, in photons" },
    { "dose", 0, KR_OPT_REAL, offsetof(opts, dose), "1", "X", "CT: part of the photons that is used" },
    { "spectrum", 0, KR_OPT_FLAG, offsetof(opts, spectrum), NULL, NULL, "CT: photons of many energies, as of a tube of 120 kV: beam hardening" },
    { "metal", 0, KR_OPT_INT, offsetof(opts, metal), "0", "N", "CT: rods of titanium in the object" },
    { "blur", 0, KR_OPT_REAL, offsetof(opts, blur), "0", "X", "CT: blur of the detector, standard deviation in elements" },
    { "rings", 0, KR_OPT_REAL, offsetof(opts, rings), "0", "X", "CT: standard deviation of the elements' gains, 0.02 say" },
    { "radius", 0, KR_OPT_REAL, offsetof(opts, radius), "0", "MM", "CT: longest half axis of the phantom; 0: 90 % of what the detector sees" },
    ROW_TO(opts),
    ROW_JSON(opts),
    KR_OPT_END };

/* Numbers with commas or x between them; returns how many, or a refusal. */
static int numbers(double *v, int most, const char *text, const char *option)
{
    int n = 0;
    for (const char *p = text; ; p++) {
        char *end;
        double x = strtod(p, &end);
        if (end == p || n == most || !(x >= 0 && x < 1e6))
            return kr_fail(KR_EUSAGE, "--%s wants up to %d numbers with commas between them, not '%s'", option, most, text);
        v[n++] = x;
        p = end;
        if (!*p)
            return n;
        if (*p != ',' && *p != 'x')
            return kr_fail(KR_EUSAGE, "--%s wants up to %d numbers with commas between them, not '%s'", option, most, text);
    }
}

/* "steps=2,rotate=5,shift=3,seed=1"; what is not named has its preset. */
static int moving(kr_motion *m, const char *text)
{
    static const char *const key[] = { "steps", "rotate", "shift", "seed" };
    double v[4] = { 1, 5, 5, 0 };
    bool given[4] = { false };
    for (const char *p = text; ; p++) {
        size_t n = strcspn(p, "=,"), k = 0;
        char *end = NULL;
        while (k < 4 && (strlen(key[k]) != n || strncmp(key[k], p, n)))
            k++;
        double x = k < 4 && p[n] == '=' ? strtod(p + n + 1, &end) : 0;
        if (!end || end == p + n + 1 || (*end && *end != ',') || !(x >= 0 && x < 1e9) || ((k == 0 || k == 3) && x != floor(x)))
            return kr_fail(KR_EUSAGE, "--motion %s: numbers from 0 on for steps, rotate, shift and seed are wanted, such as steps=2,rotate=5,shift=3", text);
        if (given[k])
            return kr_fail(KR_EUSAGE, "--motion %s: %s is given twice", text, key[k]);
        given[k] = true;
        v[k] = x;
        p = end;
        if (!*p)
            break;
    }
    *m = (kr_motion){ (long)v[0], v[1], v[2], (uint64_t)v[3] };
    return m->steps > 0 ? 0 : kr_fail(KR_EUSAGE, "--motion %s: one step at least is wanted", text);
}

static int arrange(kr_simulate *how, const opts *o, const char *word)
{
    double n[3] = { 0 }, fov[3] = { 0 };
    int axes = numbers(n, 3, o->matrix, "matrix"), given = o->fov ? numbers(fov, 3, o->fov, "fov") : 0;
    if (axes < 0 || given < 0)
        return kr_error_code();
    if (axes == 1)
        n[1] = n[0];
    for (int a = 0; a < axes; a++)
        if (n[a] < 1 || n[a] != (double)(long)n[a])
            return kr_fail(KR_EUSAGE, "--matrix wants whole numbers, not '%s'", o->matrix);
    bool volume = axes == 3 && n[2] > 1;
    if (given == 1)
        fov[1] = fov[0];
    if (given == 3 && !volume)
        return kr_fail(KR_EUSAGE, "--fov gives a slab of %g mm for 2D slices; --thickness says how thick they are", fov[2]);
    if (!volume)
        fov[2] = o->thickness;
    *how = (kr_simulate){ { (long)n[0], (long)n[1], volume ? (long)n[2] : 1 }, volume ? 1 : o->slices, o->coils, { fov[0], fov[1], fov[2] },
                          o->gap, o->contrast, o->snr, o->correlation, o->noise_scan, o->oversampling, o->phase, (uint64_t)o->seed, word, 0, 0, 0, NULL, { 0 } };
    return o->motion ? moving(&how->motion, o->motion) : 0;
}

/* Shifts that take neighbouring slices apart as far as they go: FOV / (slices together), of the field of view that undersampling leaves. */
static int choose_shift(kr_simulate *how, const opts *o)
{
    kr_mask_facts f = { .step = { 0, 1, 0 } };
    kr_shape shape = KR_SHAPE([KR_X] = how->n[0] * (o->oversampling ? 2 : 1), [KR_Y] = how->n[1], [KR_COIL] = how->coils);
    kr_scoped(array) mask = o->undersample ? kr_mask_from(o->undersample, shape, o->out) : NULL;
    if (o->undersample && (!mask || kr_mask_describe(&f, mask, shape)))
        return kr_error_code();
    how->shift = how->multiband * (f.step[KR_Y] > 1 ? f.step[KR_Y] : 1);
    return 0;
}

static int together(kr_simulate *how, const opts *o)
{
    if (o->multiband < 0 || o->single_band < 0)
        return kr_fail(KR_EUSAGE, "--multiband and --single-band count something: %ld is not possible", o->multiband < 0 ? o->multiband : o->single_band);
    how->multiband = o->multiband;
    how->shift = o->caipi;
    how->single_band = o->single_band < how->n[1] ? o->single_band : 0;
    return how->multiband > 1 && !o->caipi ? choose_shift(how, o) : 0;
}

/* The sensitivities on the image's grid, {X,Y,Z,COIL,SLICE}. */
static int write_maps(const kr_scan *s, const char *path)
{
    const kr_geom *g = s->geom;
    long coils = s->data->n[KR_COIL], slices = g->slices;
    kr_scoped(array) all = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->enc.recon[0], [KR_Y] = s->enc.recon[1], [KR_Z] = s->enc.recon[2],
                                                         [KR_COIL] = coils, [KR_SLICE] = slices));
    if (!all)
        return kr_error_code();
    for (long i = 0; i < slices; i++) {
        double z = g->position_mm[i][2] - 0.5 * (g->position_mm[0][2] + g->position_mm[slices - 1][2]);
        kr_scoped(array) to = kr_array_at(all, KR_SLICE, i);
        kr_scoped(array) maps = kr_phantom_coils(s->enc.recon, g->fov_mm, z, coils);
        if (!to || !maps)
            return kr_error_code();
        kr_array_assign(to, maps);
    }
    return kr_array_write(all, s->meta, path);
}

/* The trajectory of the specification, for the matrix and field of view of the scan. */
static kr_array *trajectory(const kr_simulate *how, const opts *o)
{
    if (!kr_traj_is_spec(o->traj)) {
        kr_fail(KR_EUSAGE, "--traj %s: a kind of trajectory is wanted, such as radial:spokes=64; kray simulate --help lists them", o->traj);
        return NULL;
    }
    kr_traj_want want = { .n = { how->n[0], how->n[1], how->n[2] }, .fov_mm = { how->fov_mm[0], how->fov_mm[1], how->fov_mm[2] } };
    return kr_traj_new(o->traj, &want);
}

/* What ISMRMRD calls it. */
static void name_trajectory(kr_scan *s, const char *spec)
{
    size_t n = strcspn(spec, ":");
    if (!strncmp(spec, "radial", n) || !strncmp(spec, "spiral", n))
        snprintf(s->enc.trajectory, sizeof s->enc.trajectory, "%.*s", (int)n, spec);
}

static int simulate(const opts *o, int files, char **file, struct answer *answer)
{
    const kr_trace *trace = &answer->trace;
    if (files > 1)
        return kr_fail(KR_EUSAGE, "one phantom is wanted, not %d words ('%s', '%s', ...)", files, file[0], file[1]);
    if (!o->out)
        return kr_fail(KR_EUSAGE, "where to? -o FILE names the scan");
    const char *word = files ? file[0] : kr_phantoms[0]->name;
    bool is_file = strpbrk(word, "./") != NULL;                  /* scan.nii.gz is an object, too */
    const kr_phantom *phantom = kr_phantom_named(is_file ? "volume" : word);
    kr_simulate how;
    if (!phantom || arrange(&how, o, is_file ? word : NULL) || together(&how, o))
        return kr_error_code();
    if (kr_can_write(KR_RAW, o->out, o->to) || (o->reference && kr_can_write(KR_PICTURE, o->reference, NULL))
        || (o->maps && kr_can_write(KR_PLAIN, o->maps, NULL)))
        return kr_error_code();
    if (o->traj && o->undersample)
        return kr_fail(KR_EUSAGE, "--undersample is for scans on a grid; of a trajectory give fewer readouts (spokes=, interleaves=)");
    if (o->positions && (!o->traj || kr_can_write(KR_PLAIN, o->positions, NULL)))
        return o->traj ? kr_error_code() : kr_fail(KR_EUSAGE, "--positions writes the positions of --traj, and there is none");
    kr_scoped(array) traj = o->traj ? trajectory(&how, o) : NULL;
    if (o->traj && !traj)
        return kr_error_code();
    how.traj = traj;
    kr_scoped(scan) s = NULL;
    int e = phantom->measure(&s, &how, trace);
    if (!e)
        kr_meta_set_whole(s->meta, kr_whole());
    if (!e && traj) {
        name_trajectory(s, o->traj);
        e = o->positions ? kr_array_write(traj, s->meta, o->positions) : 0;
    }
    if (!e && o->undersample)
        e = kr_scan_undersample_by(s, o->undersample, o->out);
    for (int i = 0; !e && i < 2; i++)
        e = kr_note(i ? s->reference->meta : s->meta, phantom->name, NULL, &word, is_file);
    if (!e && o->reference)
        e = kr_image_write(s->reference, o->reference, NULL);
    if (!e && o->maps)
        e = write_maps(s, o->maps);
    if (!e)
        e = kr_scan_write(s, o->out, o->to);
    const kr_format *f = !e && traj && !o->positions ? kr_format_of(o->out) : NULL;
    if (f && !f->positions)
        kr_say(trace, KR_WARNING, "%s: k-space positions are not in %s files; --positions FILE writes them", o->out, f->name);
    if (!e)
        kr_say(trace, KR_INFO, "%s: %s, %s, SNR %g", o->out, phantom->name, kr_shape_text(s->shape), o->snr);
    json_t *j = answer_add(answer, o->out);
    json_object_set_new(j, "phantom", json_words(phantom->name));
    if (!e)
        json_object_set_new(j, "shape", json_shape(s->shape));
    json_object_set_new(j, "parameters", json_options(table, o));
    return e;
}

/* What of the options is for magnetic resonance alone; NULL: none was given. */
static const char *of_mr(const opts *o)
{
    return strcmp(o->matrix, "256,256") ? "--matrix" : o->slices != 8 ? "--slices" : o->coils != 8 ? "--coils" : strcmp(o->contrast, "t1") ? "--contrast" : o->snr < 30 || o->snr > 30 ? "--snr"
         : o->undersample ? "--undersample" : o->traj ? "--traj" : o->motion ? "--motion" : o->positions ? "--positions" : o->multiband || o->caipi || o->single_band != 32 ? "--multiband" : o->maps ? "--maps"
         : o->fov ? "--fov" : o->thickness < 5 || o->thickness > 5 ? "--thickness" : o->gap < 1.5 || o->gap > 1.5 ? "--gap" : o->correlation < 0.2 || o->correlation > 0.2 ? "--correlation"
         : !o->phase ? "--no-phase" : !o->oversampling ? "--no-oversampling" : !o->noise_scan ? "--no-noise-scan" : o->to ? "--to" : NULL;
}

static int ct(const opts *o, int files, char **file, struct answer *a)
{
    if (!o->geometry)
        return kr_fail(KR_EUSAGE, "--detector, --photons, --electronic, --dose, --radius, --spectrum, --metal, --blur and --rings are for CT: --geometry says how it is measured");
    if (files > 1 || !o->out)
        return kr_fail(KR_EUSAGE, files > 1 ? "one object at a time" : "where should the projections go? Give -o OUT, for example -o sino.npy");
    if (of_mr(o))
        return kr_fail(KR_EUSAGE, "%s is for scans of magnetic resonance, --geometry for CT", of_mr(o));
    simulate_ct how = { files ? file[0] : "shepplogan", o->out, o->geometry, o->detector, o->reference, o->photons, o->electronic, o->dose, o->radius, o->blur, o->rings, o->seed, o->metal, o->spectrum };
    return simulate_ct_run(&how, a);
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    struct answer a;
    answer_begin(&a, o->json, trace);
    bool x_rays = o->geometry || strcmp(o->detector, "256") || o->photons > 0 || o->electronic > 0 || o->dose < 1 || o->radius > 0 || o->spectrum || o->metal || fabs(o->blur) > 0 || fabs(o->rings) > 0;
    int e = x_rays ? ct(o, files, file, &a) : simulate(o, files, file, &a);
    if (e)
        answer_failed(&a);
    return answer_end(&a, e);
}

/* The help names the phantoms of the table. */
static char examples[4096];
static int list_phantoms(kr_opt_group *room, int room_count, int argc, char **argv)
{
    (void)room_count, (void)argc, (void)argv;
    static kr_text kinds;
    kr_text t = { 0 };
    kr_text_clear(&kinds);
    kr_traj_kinds(&kinds);
    if (kinds.failed)
        return kr_error_code();
    kr_text_add(&t, "  kray simulate -o scan.h5                                  # 8 slices of a brain, 8 coils\n"
                    "  kray simulate brain --contrast t2 --coils 16 --snr 20 -o scan.h5 --reference truth.nii.gz\n"
                    "  kray simulate --undersample random:accel=4,center=0.08,seed=1 -o scan.h5\n"
                    "  kray simulate --slices 9 --multiband 3 -o sms.h5          # 3 slices at a time, FOV/3 apart\n"
                    "  kray simulate brain --matrix 160,160,128 -o volume.h5     # 3D\n"
                    "  kray simulate brain --slices 1 --traj radial:spokes=64,angle=golden -o radial.h5\n"
                    "  kray simulate brain --slices 1 --motion steps=3,rotate=4,shift=5 -o moved.h5 --reference still.nii.gz\n"
                    "  kray simulate shepplogan --slices 1 --coils 1 --snr 0 -o scan.npy\n"
                    "  kray simulate my_head.nii.gz -o scan.h5                   # any volume as the object\n"
                    "  kray simulate thorax --geometry parallel:pixel=1.5,angles=0:180:60 --photons 1e5 --dose 0.25 --electronic 10 -o sino.npy    # CT, sparse, low dose\n"
                    "  kray simulate thorax --geometry fan:sod=570,sdd=1000,pixel=2,angles=0:360:360 --detector 480 --spectrum --metal 2 --photons 1e5 -o metal.npy\n"
                    "  kray simulate head --geometry cone:sod=500,sdd=1000,pixel=2.5,angles=0:360:90 --detector 128,96 -o cone.npy\n\nPhantoms:\n");
    for (int i = 0; kr_phantoms[i]; i++)
        kr_text_add(&t, "  %-11s %s\n", kr_phantoms[i]->name, kr_phantoms[i]->summary);
    kr_text_add(&t, "\nof CT:\n");
    const char *summary = NULL;
    for (int i = 0; kr_bodies_name(i, &summary); i++)
        kr_text_add(&t, "  %-11s %s\n", kr_bodies_name(i, NULL), summary);
    strncpy(examples, t.s ? t.s : "", sizeof examples - 1);
    int e = t.failed ? kr_error_code() : 0;
    kr_text_clear(&t);
    room[0] = (kr_opt_group){ kinds.s, NULL, NULL };
    return e ? e : 1;
}

const kr_tool kr_tool_simulate = { "simulate", "Data", "simulate a multi-coil scan of a phantom, with noise", "[PHANTOM|VOLUME] -o SCAN [options]",
    examples, table, sizeof(opts), list_phantoms, run };
