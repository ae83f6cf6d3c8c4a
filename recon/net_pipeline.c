/* net_pipeline.c: networks as methods: weights and configuration, all slices of a scan through the pipeline of the published program
 * (around_*.c), the image and what it says of its making. */
#include "kray/fourier.h"
#include "kray/net.h"
#include "adapt.h"
#include "around.h"
#include "doubt.h"
#include "kray/dealt.h"
#include "kray/io.h"
#include "kray/range.h"
#include "net_method.h"
#include "spokes.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const kr_opt net_table[] = {
    { "weights", 'w', KR_OPT_FILE, offsetof(net_opts, weights), NULL, "FILE", "trained weights: PyTorch, .atommic, safetensors, npz (see kray weights); default: those that come with Kray, if any" },
    { "config", 0, KR_OPT_FILE, offsetof(net_opts, config), NULL, "FILE", "YAML of DIRECT or ATOMMIC; default: the one beside the weights; 'none': without" },
    { "network", 0, KR_OPT_TEXT, offsetof(net_opts, network), NULL, "NAME", "name of the network, if the weights do not show it" },
    { "steps", 0, KR_OPT_INT, offsetof(net_opts, steps), "0", "N", "number of time steps; 0: from the checkpoint, or the network's default" },
    { "precision", 0, KR_OPT_TEXT, offsetof(net_opts, precision), "f32", "f32|bf16",
      "bf16: products in bfloat16 where the processor has it; recurrent networks: faster, about 1e-3 off" },
    { "adapt", 0, KR_OPT_INT, offsetof(net_opts, adapt), "0", "N",
      "self-supervised steps on the very scan before it is reconstructed (ZS-SSL); where samples held back get worse, the weights stay" },
    DOUBT_OPTS(net_opts),
    KR_OPT_END };

/* DIRECT's "inference: crop: null": images stay as large as k-space. */
static bool uncropped(const kr_weights *w)
{
    const char *v = kr_meta_get(w->meta, "hyper.data.crop");
    return v && !strcmp(v, "none");
}

/* The image that is asked for out of the one that was made, by that crop; voxels stay where they are in the patient. */
static int crop(kr_image *im, const kr_scan *scan, const kr_weights *w)
{
    if (uncropped(w))
        return kr_meta_set(im->meta, "kray_uncropped", "crop: null of the configuration");
    double *dir[2] = { im->geom->read_dir, im->geom->phase_dir };
    for (int a = 0; a < 2; a++) {
        long want = scan->enc.recon[a], made = scan->shape.n[a], have = im->data->n[a];
        if (want < 1 || want >= made)
            continue;
        kr_array *cut = have > want ? around_middle(im->data, a, want) : kr_array_ref(im->data);
        kr_array *packed = kr_array_packed(cut);
        kr_array_unref(&cut);
        if (!packed)
            return kr_error_code();
        kr_array_unref(&im->data);
        im->data = packed;
        double voxel = scan->enc.encoded_mm[a] / (double)made, moved = (double)((made - want) / 2 + want / 2 - made / 2);
        for (long s = 0; s < im->geom->slices; s++)
            for (int d = 0; d < 3; d++)
                im->geom->position_mm[s][d] += moved * voxel * dir[a][d];
    }
    return 0;
}

/* What a network of real images gives, which may fall below zero. */
static kr_array *real_part(const kr_array *image)
{
    kr_array *re = kr_array_new(KR_R32, kr_array_shape(image));
    for (long i = 0, n = re ? kr_count(kr_array_shape(re)) : 0; i < n; i++)
        KR_R(re)[i] = kr_re(KR_C(image)[i]);
    return re;
}

static int fits(const kr_net_kind *kind, const char *family, const char *path)
{
    for (const char *p = family; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strlen(kind->name) == strcspn(p, " ") && !strncmp(p, kind->name, strcspn(p, " ")))
            return 0;
    return kr_fail(KR_EREFUSED, "%s holds the weights of %s (%s), which is another method", path, kind->name, kind->summary);
}

/* ---- Opening ---- */
struct net_opened { kr_weights *w; kr_net *net; const around *about; void *facts; char *beside, *path; long adapt; const char *adapted, *residual, *uncertainty; };

static void drop(net_opened *n)
{
    if (!n)
        return;
    kr_net_unref(&n->net);
    kr_weights_unref(&n->w);
    kr_free(n->facts);
    kr_free(n->beside);
    kr_free(n->path);
    kr_free(n);
}

/* Weights with the YAML given, or the one beside weights that do not say themselves what they are. */
static int read_weights(kr_weights **w, char **beside, const char *path, const net_opts *o)
{
    if (kr_weights_read(w, path))
        return kr_error_code();
    if (o->config && strcmp(o->config, "none") && kr_weights_config(*w, o->config))
        return kr_error_code();
    if (!o->config && !kr_meta_get((*w)->meta, "network") && (*beside = kr_weights_config_beside(path)) && kr_weights_config(*w, *beside))
        return kr_fail_in("the configuration beside the weights (--config none leaves it out)");
    return o->steps > 0 ? kr_meta_set((*w)->meta, "hyper.run_steps", "%ld", o->steps) : 0;
}

static int fill(net_opened *n, const net_opts *o, const char *family)
{
    n->path = o->weights ? kr_strdup(o->weights) : shipped_weights(family);
    if (!n->path)
        return kr_error_code() ? kr_error_code() : kr_fail(KR_EUSAGE, "a network needs its weights: --weights FILE (none of this kind came with Kray: docs/networks.md says where published ones are, docs/training.md how to train some)");
    if (read_weights(&n->w, &n->beside, n->path, o))
        return kr_error_code();
    const char *precision = o->precision ? o->precision : "f32";             /* denoisers have no such option */
    if (strcmp(precision, "f32") && strcmp(precision, "bf16"))
        return kr_fail(KR_EUSAGE, "--precision is f32 or bf16, not '%s'", precision);
    if (kr_meta_set(n->w->meta, "hyper.precision", "%s", precision))
        return kr_error_code();
    if (!(n->net = kr_net_new(o->network, n->w, true)))
        return !o->config && kr_meta_get(n->w->meta, "config") ? kr_fail_in("with the configuration beside the weights (--config none leaves it out)") : kr_error_code();
    const kr_net_kind *kind = kr_net_kind_of(n->net);
    if (fits(kind, family, n->path))
        return kr_error_code();
    n->adapt = o->adapt;
    n->residual = o->residual;
    n->uncertainty = o->uncertainty;
    if (o->residual && (kind->magnitude || kind->of_image))
        return kr_fail(KR_EREFUSED, "--residual: the network %s gives magnitudes, which cannot be compared with samples", kind->name);
    if ((o->residual && kr_can_write(KR_PICTURE, o->residual, NULL)) || (o->uncertainty && kr_can_write(KR_PICTURE, o->uncertainty, NULL)))
        return kr_error_code();
    if (o->adapt < 0 || o->adapt > 100000)
        return kr_fail(KR_EUSAGE, "--adapt is 0 to 100000 steps");
    if (o->adapt && (!strcmp(precision, "bf16") || kind->magnitude || kind->of_image))
        return kr_fail(KR_EREFUSED, kind->magnitude || kind->of_image ? "--adapt: the network %s gives magnitudes, which cannot be compared with samples"
                       : "--adapt trains %s in float32: leave --precision bf16 out", kind->name);
    if (o->steps && !kind->steps)
        return kr_fail(KR_EUSAGE, "--steps: the number of steps of %s is that of its weights", kind->name);
    n->about = around_of(kind);
    n->facts = kr_alloc_zero(1, n->about->facts_size ? n->about->facts_size : 1);
    return !n->facts || kr_net_known(kind, n->about->keys, n->w) ? kr_error_code() : n->about->read(n->facts, n->w, kind);
}

static net_opened *opened(const net_opts *o, const char *family)
{
    net_opened *n = kr_alloc_zero(1, sizeof *n);
    if (n && fill(n, o, family)) {
        drop(n);
        n = NULL;
    }
    return n;
}

int net_open(net_opts *o, const char *family)
{
    return (o->opened = opened(o, family)) ? 0 : kr_error_code();
}

void net_close(void *opts)
{
    net_opts *o = opts;
    drop(o->opened);
    o->opened = NULL;
}

/* ---- All slices ---- */
struct stack {
    const kr_scan *scan; const kr_array *coils; kr_array *image; const kr_weights *w; const kr_net_kind *kind;
    const around *about; const void *facts; kr_net *net; const kr_trace *trace;
    double whole[2];
    kr_array *residual, *spread;     /* of all slices, where they are wanted                          */
    double *off;                     /* of each slice, two numbers: doubt_residual                    */
    atomic_long done, unmeasured;    /* the latter: an uncertainty was not told by samples */
};

/* Nothing was measured in slice i, or no coil sees it: its image is 0, as at the ends of a volume that is taken apart. */
static int empty(bool *is_empty, const struct stack *j, long i)
{
    kr_scoped(array) k = kr_part(j->scan->data, j->scan, i);
    kr_scoped(array) maps = j->coils ? kr_part(j->coils, j->scan, i) : NULL;
    if (!k || (j->coils && !maps))
        return kr_error_code();
    *is_empty = kr_max_abs(k) <= 0 || (maps && kr_max_abs(maps) <= 0);
    return 0;
}

/* doubt_image */
static int without_some(void *self, kr_array *z, const kr_scan *one, const kr_array *maps)
{
    struct stack *j = self;
    around_job own = { one, maps, j->kind, j->facts, j->whole, NULL, NULL };
    slice s = { 0 };
    int e = slice_open(&s, one, 0);
    e = e ? e : j->about->slice(z, &s, j->net, &own, 0);
    slice_clear(&s);
    return e;
}

static int one_slice(void *self, long i)
{
    struct stack *j = self;
    slice s = { 0 };
    around_job job = { j->scan, j->coils, j->kind, j->facts, j->whole, NULL, j->trace };
    kr_scoped(array) z = kr_part(j->image, j->scan, i);
    bool nothing = false;
    int e = z ? kr_stopped(j->trace) : kr_error_code();
    e = e ? e : empty(&nothing, j, i);
    e = e || nothing ? e : slice_open(&s, j->scan, i);
    kr_scoped(array) residual = e || nothing || !j->off ? NULL : kr_part(j->residual, j->scan, i);
    kr_scoped(array) spread = e || nothing || !j->spread ? NULL : kr_part(j->spread, j->scan, i);
    if (!e && !nothing)
        e = residual ? doubt_residual(z, residual, &j->off[2 * i], &j->off[2 * i + 1], &s, j->net, j->about, &job, i) : j->about->slice(z, &s, j->net, &job, i);
    slice_clear(&s);
    bool measured = true;
    e = e || !spread ? e : doubt_spread(spread, &measured, z, without_some, j, !j->kind->magnitude && !j->kind->of_image, j->scan, j->coils, i);
    if (!measured)
        atomic_store(&j->unmeasured, 1);
    kr_progress(j->trace, "slices", (double)(atomic_fetch_add(&j->done, 1) + 1), (double)kr_parts(j->scan));
    return e;
}

/* How many slices of a stack run side by side: threads that need not meet after every layer were 6 to 35 %
 * faster than those that share a slice (docs/figures/networks.md). One at a time where networks would fill half of the memory.
 * Negative: refused. */
static long side_by_side(const kr_net_kind *kind, const kr_weights *w, long coils, long ny, long nx, long slices)
{
    double bytes, flops, half = 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (kr_threads() < 2 || slices < kr_threads())                               /* what it costs is not asked: that takes as long as a small network */
        return 1;
    if (kr_net_cost(kind, w, &(kr_net_input){ .coils = coils, .h = ny, .w = nx }, &bytes, &flops))
        return kr_error_code();
    return bytes * kr_threads() <= half ? kr_threads() : 1;
}

/* Slices side by side; all threads on each of those that are left over. The images are the same either way. */
static int run_slices(struct stack *j)
{
    const kr_array *k = j->scan->data;
    long n = kr_parts(j->scan), wide = side_by_side(j->kind, j->w, k->n[KR_COIL], k->n[KR_Y], k->n[KR_X], n), together = wide > 1 ? n - n % wide : 0;
    if (wide > 0 && kr_dealt_processes(j->trace) > 1 && !j->residual && !j->spread)
        return kr_deal(j->trace, n, wide > 1, one_slice, j, (const kr_made[]){ kr_made_of(j->image), { NULL, 0 } });
    int e = wide < 0 ? (int)wide : kr_for(together, one_slice, j);
    for (long i = together; !e && i < n; i++)
        e = one_slice(j, i);
    return e;
}

static int told_of(kr_image *im, const net_opened *n)
{
    return kr_meta_set(im->meta, "kray_network", "%s", kr_net_kind_of(n->net)->name) || kr_meta_set(im->meta, "kray_weights", "%s", n->path)
        || kr_meta_set(im->meta, "kray_weights_digest", "%s", n->w->digest)
        || (n->adapted && kr_meta_set(im->meta, "kray_adapted", "%s", n->adapted)) ? kr_error_code() : 0;
}

unsigned net_also_needs(const void *opts)
{
    const net_opts *o = opts;
    const char *first = o->opened ? kr_meta_get(o->opened->w->meta, "hyper.first_image") : NULL;
    const kr_recon *m = first ? kr_recon_named(first) : NULL;
    return m ? m->needs & KR_SOFT_MAPS : 0;
}

kr_net *net_of(const net_opts *o) { return o->opened ? o->opened->net : NULL; }
int net_told(kr_image *im, const net_opts *o) { return told_of(im, o->opened); }

/* ---- Beside the image ---- */
static int save(const kr_array *a, const kr_scan *scan, const net_opened *n, const char *path)
{
    kr_scoped(image) im = kr_image_new((kr_array *)(uintptr_t)a, scan->geom, scan->meta);
    return !im || crop(im, scan, n->w) || kr_image_write(im, path, NULL) ? kr_error_code() : 0;
}

/* Also how large it is, against the samples. */
static int save_residual(kr_image *im, kr_array *residual, const struct stack *all, const net_opened *n)
{
    double rr = 0, yy = 0;
    for (long i = 0; all->off && i < kr_parts(all->scan); i++) {
        rr += all->off[2 * i];
        yy += all->off[2 * i + 1];
    }
    double part = yy > 0 ? sqrt(rr / yy) : 0;
    if (!all->off && doubt_residual_of(residual, &part, all->scan, all->coils, all->image))
        return kr_error_code();
    return doubt_residual_told(im, part, n->residual, all->trace) ? kr_error_code() : save(residual, all->scan, n, n->residual);
}

/* Told of the first slice that holds something: coils, acceleration, calibration lines, kind of mask, noise against the image, and its norm. */
static int warn_of_range(const struct stack *j, const kr_array *image)
{
    const kr_meta *m = j->w->meta;
    slice s = { 0 };
    kr_scan part = { 0 };
    long i = 0, n = kr_parts(j->scan);
    bool nothing = true;
    if (!kr_meta_get(m, "trained.coils"))
        return 0;
    for (; i < n && nothing; i++)
        if (empty(&nothing, j, i))
            return kr_error_code();
    if (nothing)
        return 0;
    int e = slice_open(&s, j->scan, i - 1);
    kr_scoped(array) x = e ? NULL : kr_part(image, j->scan, i - 1);
    kr_scoped(array) packed = x ? kr_array_packed(x) : NULL;
    e = e ? e : packed ? kr_part_open(&part, j->scan, kr_problem_axes, i - 1) : kr_error_code();
    if (!e) {
        double sigma = kr_noise_sigma(&part, NULL), beside = sigma > 0 ? kr_noise_beside(&part) : 0, unit = kr_max_abs(packed) > 0 ? kr_first_unit(packed) : 0;
        e = (sigma < 0 || beside < 0 || unit <= 0) && kr_error_code() == KR_EMEM ? KR_EMEM : 0;
        if (!e)
            kr_error_clear();                                /* nothing is measured far out: the noise is not known */
        bool plane = s.facts.centre[0] < s.nx;
        kr_range_compare(m, "trained.coils", (double)s.coils, "coils", j->trace);
        kr_range_compare(m, "trained.accel", s.facts.accel, "accelerations", j->trace);
        kr_range_compare(m, "trained.lines", (double)(plane && s.facts.centre[0] < s.facts.centre[1] ? s.facts.centre[0] : s.facts.centre[1]), "calibration lines", j->trace);
        kr_range_mask(m, kr_mask_family(&s.facts), j->trace);
        if (unit > 0 && kr_meta_get(m, "trained.norm")) {
            double norm = kr_image_norm(packed);
            e = norm > 0 ? 0 : kr_error_code();
            kr_range_compare(m, "trained.norm", norm, "images of a norm, beside their brightness,", j->trace);
        }
        if (unit > 0 && sigma > 0)
            kr_range_compare(m, "trained.noise", (beside > 0 ? fmin(sigma, beside) : sigma) / unit, "noise, relative to the image,", j->trace);
    }
    kr_part_close(&part);
    slice_clear(&s);
    return e;
}

static int run_planes(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opened *n, const kr_trace *trace);

/* With weights that were trained a little more on this scan. */
static int run_adapted(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opened *n, const kr_trace *trace)
{
    char told[200];
    const kr_net_kind *kind = kr_net_kind_of(n->net);
    kr_scoped(weights) w = NULL;
    if (net_adapted(&w, told, kind, n->w, scan, coils, n->adapt, trace))
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s", told);
    net_opened own = *n;
    own.adapt = 0;
    own.adapted = told;
    own.w = w;
    own.net = kr_net_new(kind->name, w, true);
    own.facts = kr_alloc_zero(1, n->about->facts_size ? n->about->facts_size : 1);
    int e = !own.net || !own.facts || n->about->read(own.facts, w, kind) || run_planes(out, scan, coils, &own, trace) ? kr_error_code() : 0;
    kr_net_unref(&own.net);
    kr_free(own.facts);
    return e;
}

static int run_planes(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opened *n, const kr_trace *trace)
{
    if (n->adapt)
        return run_adapted(out, scan, coils, n, trace);
    const kr_net_kind *kind = kr_net_kind_of(n->net);
    kr_shape shape = kr_shape_without(scan->shape, KR_ON(KR_COIL));
    for (int a = 0; a < 2 && kind->of_image; a++)
        if (scan->enc.recon[a] > 0 && scan->enc.recon[a] < shape.n[a])
            shape.n[a] = scan->enc.recon[a];
    if (n->about->grid)
        n->about->grid(&shape, scan, n->facts, trace);
    kr_scoped(array) image = kr_array_new(KR_C32, shape);
    kr_scoped(array) residual = n->residual ? kr_array_new(KR_R32, shape) : NULL;
    kr_scoped(array) spread = n->uncertainty ? kr_array_new(KR_R32, shape) : NULL;
    bool own_axes = kind->own_axes;                          /* Kray's own network: its image, of which a part is kept, is compared at the end */
    kr_auto double *off = n->residual && !own_axes ? kr_alloc_zero((size_t)(2 * kr_parts(scan)), sizeof *off) : NULL;
    struct stack all = { scan, coils, image, n->w, kind, n->about, n->facts, n->net, trace, { 0, 0 }, residual, spread, off, 0, 0 };
    if ((n->residual && (!residual || (!own_axes && !off))) || (n->uncertainty && !spread))
        return kr_error_code();
    if (!image || (n->about->measure && n->about->measure(all.whole, scan, n->facts)) || run_slices(&all) || warn_of_range(&all, image))
        return kr_error_code();
    if (atomic_load(&all.unmeasured))
        kr_say(trace, KR_WARNING, "--uncertainty: images of %s cannot be compared with samples left out, so that it is the spread of images alone, which is mostly less than the error", kind->name);
    kr_scoped(array) result = kind->of_image ? real_part(image) : kind->magnitude ? kr_abs(image) : kr_array_ref(image);
    *out = kr_image_new(result, scan->geom, scan->meta);
    if (!*out || crop(*out, scan, n->w) || told_of(*out, n) || (residual && save_residual(*out, residual, &all, n)) || (spread && save(spread, scan, n, n->uncertainty))) {
        kr_image_unref(out);
        return kr_error_code();
    }
    return 0;
}

/* {X,Y,Z} as planes {Y,Z} of a stack along X, under the names {X,Y,SLICE}; and back. A view. */
static kr_array *turned(const kr_array *a, bool back)
{
    static const int swap[3][2] = { { KR_X, KR_SLICE }, { KR_X, KR_Y }, { KR_Y, KR_Z } };
    kr_array *v = kr_array_ref(a);
    for (int i = 0; v && i < 3; i++) {
        kr_array *w = kr_array_rename(v, swap[back ? 2 - i : i][0], swap[back ? 2 - i : i][1]);
        kr_array_unref(&v);
        v = w;
    }
    return v;
}

/* A 3D scan whose readouts are whole falls apart into planes across them, as Calgary-Campinas volumes are taken by the published
 * programs: Y is their height, Z their width. */
static int run_volume(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opened *n, const kr_trace *trace)
{
    kr_scoped(array) mask = kr_model_mask(scan);
    kr_scoped(array) flat = mask ? turned(mask, false) : NULL;
    kr_scoped(array) view = turned(scan->data, false);
    if (!flat || !view)
        return kr_error_code();
    if (mask->n[KR_X] > 1 || scan->shape.n[KR_SLICE] > 1)
        return kr_fail(KR_EREFUSED, "the networks work on planes: 3D scans %s", mask->n[KR_X] > 1 ? "have to be sampled fully along the readout"
                                                                                                : "of several slabs are not taken apart");
    kr_scoped(array) data = scan->in_image & KR_ON(KR_X) ? kr_array_ref(view) : kr_array_copy(view);
    kr_scoped(array) maps = coils ? turned(coils, false) : NULL;
    kr_scoped(array) area = scan->calib_area ? turned(scan->calib_area, false) : NULL;
    if (!data || (coils && !maps) || (scan->calib_area && !area) || (!(scan->in_image & KR_ON(KR_X)) && kr_fourier_inverse(data, KR_ON(KR_SLICE))))
        return kr_error_code();
    if (n->residual || n->uncertainty)
        return kr_fail(KR_EREFUSED, "--%s is for slices, not yet for 3D scans", n->residual ? "residual" : "uncertainty");
    kr_scan planes = { .shape = kr_array_shape(data), .data = data, .mask = flat, .calib_area = area, .file = scan->file, .geom = scan->geom, .meta = scan->meta,
                       .whitened = scan->whitened, .dwell_us = scan->dwell_us, .noise_dwell_us = scan->noise_dwell_us,
                       .in_image = (scan->in_image & KR_ON(KR_Y) ? KR_ON(KR_X) : 0) | (scan->in_image & KR_ON(KR_Z) ? KR_ON(KR_Y) : 0) };
    kr_scoped(image) stack = NULL;
    if (run_planes(&stack, &planes, maps, n, trace))
        return kr_error_code();
    kr_scoped(array) volume = turned(stack->data, true);
    kr_scoped(array) packed = volume ? kr_array_copy(volume) : NULL;
    *out = packed ? kr_image_new(packed, scan->geom, stack->meta) : NULL;
    return *out ? crop(*out, scan, n->w) : kr_error_code();
}

static int run_rays(kr_image **out, const kr_scan *scan, const net_opened *n, const kr_trace *trace)
{
    if (n->adapt || n->residual || n->uncertainty)
        return kr_fail(KR_EREFUSED, "--%s is for scans of MRI on a grid, not for X-ray projections", n->adapt ? "adapt" : n->residual ? "residual" : "uncertainty");
    const kr_net_kind *kind = kr_net_kind_of(n->net);
    return net_rays(out, scan, n->w, kind, kind->rays_alone ? *(const double *)n->facts : 0, trace) || told_of(*out, n) ? kr_error_code() : 0;
}

/* A radial scan as branch mri of phernst/pd-unet has it: magnitudes of the projections of each coil, whose images are combined by the root of the sum of squares. Images that training was given were
 * scaled beforehand, and so per99_img is not used. */
static int of_spokes(kr_array *to, const kr_scan *scan, long i, const net_opened *n, const kr_trace *trace)
{
    kr_scan part = { 0 }, ct = { 0 };
    kr_scoped(image) im = NULL;
    int e = kr_part_open(&part, scan, kr_problem_axes, i);
    e = e ? e : spokes_magnitudes(&ct, &part, to->n);
    e = e ? e : net_rays(&im, &ct, n->w, kr_net_kind_of(n->net), 0, trace);
    kr_scoped(array) rss = e ? NULL : kr_rss(im->data, KR_SLICE);
    if (rss) {
        kr_scale(rss, (float)(1 / sqrt((double)to->n[KR_X] * (double)to->n[KR_Y])));
        kr_array_assign(to, rss);
    }
    spokes_drop(&ct);
    kr_part_close(&part);
    return e ? e : rss ? 0 : kr_error_code();
}

static int run_spokes(kr_image **out, const kr_scan *scan, const net_opened *n, const kr_trace *trace)
{
    const char *name = kr_net_kind_of(n->net)->name;
    if (n->adapt || n->residual || n->uncertainty)
        return kr_fail(KR_EREFUSED, "--%s is for scans of MRI on a grid, not for projections", n->adapt ? "adapt" : n->residual ? "residual" : "uncertainty");
    if (!scan->traj)
        return kr_fail(KR_EREFUSED, "the network %s is for X-ray projections and radial scans; these samples lie on a grid", name);
    if (*(const double *)n->facts > 0)
        kr_say(trace, KR_INFO, "per99_img of the configuration is of images that were scaled before: each image of a radial scan is scaled by itself");
    kr_scoped(array) image = kr_array_new(KR_R32, kr_scan_image_shape(scan));
    long parts = kr_parts(scan);
    int e = image ? 0 : kr_error_code();
    for (long i = 0; i < parts && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, parts);
        kr_scoped(array) to = kr_part(image, scan, i);
        e = !to || kr_stopped(t) ? kr_error_code() : of_spokes(to, scan, i, n, t);
    }
    *out = e ? NULL : kr_image_new(image, scan->geom, scan->meta);
    return *out ? told_of(*out, n) : kr_error_code();
}

int net_run(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *o, const char *family, const kr_trace *trace)
{
    long before = kr_mem_refused();
    net_opened *own = o->opened ? NULL : opened(o, family), *n = o->opened ? o->opened : own;
    if (!n)
        return kr_error_code();
    if (n->beside)
        kr_say(trace, KR_INFO, "hyper-parameters from %s", n->beside);
    int e = !scan->rays && kr_net_kind_of(n->net)->rays_alone ? run_spokes(out, scan, n, trace) : scan->rays ? run_rays(out, scan, n, trace) : scan->shape.n[KR_Z] > 1 ? run_volume(out, scan, coils, n, trace) : run_planes(out, scan, coils, n, trace);
    drop(own);
    if (!e && (e = kr_mem_lacked(0, before)))                /* also where what failed is told of alone, or compared */
        kr_image_unref(out);
    return e;
}

/* With weights at hand their names and shapes tell; otherwise a network of 64 features and 1 TFLOP per 320 x 320 slice is meant.
 * Time: 60 GFLOP/s per thread. */
int net_plan(kr_cost *cost, const kr_scan *scan, const void *opts)
{
    const net_opts *o = opts;
    bool volume = scan->shape.n[KR_Z] > 1;                  /* taken apart into planes {Y,Z} */
    unsigned plane = volume ? KR_ON(KR_Y) | KR_ON(KR_Z) : KR_ON(KR_X) | KR_ON(KR_Y);
    long coils = scan->shape.n[KR_COIL] ? scan->shape.n[KR_COIL] : 1, nx = scan->shape.n[volume ? KR_Y : KR_X], ny = scan->shape.n[volume ? KR_Z : KR_Y];
    ny = ny ? ny : 1;
    double parts = (double)kr_count(kr_shape_without(scan->shape, plane | KR_ON(KR_COIL)));
    double pixels = (double)nx * (double)ny, flops = 1e12 * pixels / 102400;
    cost->bytes = pixels * (5 * 8 * (double)coils + 6 * 64 * 4);
    if (o && (o->weights || o->opened)) {
        kr_scoped(weights) own = NULL;
        kr_auto char *beside = NULL;
        if (!o->opened && read_weights(&own, &beside, o->weights, o))
            return kr_error_code();
        kr_weights *w = own ? own : o->opened->w;
        const kr_net_kind *kind = kr_net_kind_for(o->network, w);
        if (!kind)
            return kr_error_code();
        if (scan->rays)
            return net_rays_plan(cost, scan, w, kind);
        if (kind->rays_alone) {                              /* projections of each coil */
            const long *n = scan->enc.encoded, views = scan->shape.n[KR_VIEW] ? scan->shape.n[KR_VIEW] : 1;
            kr_scan ct = { .shape = KR_SHAPE([KR_U] = spokes_columns(n), [KR_VIEW] = views, [KR_SLICE] = coils * (long)parts), .grid.n = { n[0], n[1], 1 } };
            return net_rays_plan(cost, &ct, w, kind);
        }
        if (kr_net_cost(kind, w, &(kr_net_input){ .coils = coils, .h = ny, .w = nx }, &cost->bytes, &flops))
            return kr_error_code();
        cost->bytes *= (double)side_by_side(kind, w, coils, ny, nx, (long)parts);
    }
    cost->seconds = (parts * (o && o->uncertainty ? 1 + DOUBT_MASKS : 1) + (o ? 3 * (double)o->adapt : 0)) * flops / (6e10 * kr_threads());
    return 0;
}
