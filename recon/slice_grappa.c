/* slice_grappa.c: slices measured together are told apart by kernels in k-space: each slice of a band is a linear combination of
 * neighbouring samples of their sum, in all coils. The kernels are fitted to the single-band reference, shifted as the slices are. What
 * then is missing within slices is GRAPPA's. */
#include "kray/fourier.h"
#include "kernels.h"
#include "model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts { long kernel, neighbours; double lambda; bool split; } opts;
static const kr_opt table[] = {
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "0", "N", "kernel size along the readout; 0: 7 with up to 8 coils, else 5" },
    { "neighbours", 0, KR_OPT_INT, offsetof(opts, neighbours), "0", "N", "lines in the kernel; 0: as many, fewer if the reference has few" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.01", "X", "Tikhonov regularisation of the kernel fit, relative to the mean power of a calibration sample" },
    { "split", 0, KR_OPT_FLAG, offsetof(opts, split), "on", NULL, "split slice-GRAPPA: kernels also block leakage from the other slices (Cauley 2014)" },
    KR_OPT_END };

/* ---- Neighbourhoods ----
 * On a grid {Y, Z} whose plane Z = 0 is the sum of slices, Z = 1 + j slice j: measured lines of plane 0, all others to be made of them. */
struct lines { const kr_multiband *b; long ny, count, *y; bool around; };

/* Lines are an even comb all around, and so are the phases that slices have: then the last lines are neighbours of the first. */
static bool goes_around(const struct lines *l)
{
    long gap = l->count > 1 ? l->y[1] - l->y[0] : l->ny, shift = l->b->shift ? labs(l->b->shift) : 1;
    for (long i = 1; i < l->count; i++)
        if (l->y[i] - l->y[i - 1] != gap)
            return false;
    return gap * l->count == l->ny && l->ny % shift == 0;
}

static int find_lines(struct lines *l, const kr_array *mask)
{
    l->y = kr_alloc((size_t)l->ny, sizeof *l->y);
    for (long y = 0; l->y && y < l->ny; y++) {
        kr_scoped(array) row = mask->n[KR_Y] > 1 ? kr_array_at(mask, KR_Y, y) : kr_array_ref(mask);
        if (!row)
            return kr_error_code();
        if (kr_max_abs(row) > 0)
            l->y[l->count++] = y;
    }
    if (!l->y)
        return kr_error_code();
    l->around = goes_around(l);
    return 0;
}

/* The lines that line i is made from: where they begin in the list, and as offsets from the first of them. */
static long window_of(const struct lines *l, long i, long sources, long *offset, long *target)
{
    long first = i - sources / 2;
    if (!l->around)
        first = first < 0 ? 0 : first > l->count - sources ? l->count - sources : first;
    first = (first + l->count) % l->count;
    for (long s = 0; s < sources; s++)
        offset[s] = (l->y[(first + s) % l->count] - l->y[first] + l->ny) % l->ny;
    *target = (l->y[i] - l->y[first] + l->ny) % l->ny;
    return first;
}

enum { MOST = 32, KINDS = 256 };

static bool same(const kr_hood *n, const long *offset, long target)
{
    for (long s = 0; s < n->sources; s++)
        if (n->source[s][KR_Y] != offset[s])
            return false;
    return n->target[0][KR_Y] == target;
}

static int new_hood(kr_hood *n, const struct lines *l, long sources, const long *offset, long target)
{
    long slices = l->b->factor;
    *n = (kr_hood){ .sources = sources, .targets = slices, .span = { 1, offset[sources - 1] + 1, slices + 1 } };
    n->source = kr_alloc_zero((size_t)sources, sizeof *n->source);
    n->target = kr_alloc_zero((size_t)slices, sizeof *n->target);
    n->at = kr_alloc((size_t)l->count, (size_t)sources * sizeof *n->at);
    n->fill = kr_alloc((size_t)l->count, (size_t)slices * sizeof *n->fill);
    if (!n->source || !n->target || !n->at || !n->fill)
        return kr_error_code();
    for (long s = 0; s < sources; s++)
        n->source[s][KR_Y] = offset[s];
    for (long j = 0; j < slices; j++) {
        n->target[j][KR_Y] = target;
        n->target[j][KR_Z] = 1 + j;
    }
    return 0;
}

static int add_line(kr_hoods *h, const struct lines *l, long i, long sources)
{
    long offset[MOST], target, first = window_of(l, i, sources, offset, &target), k = 0;
    while (k < h->count && !same(&h->hood[k], offset, target))
        k++;
    if (k == KINDS)
        return kr_fail(KR_EREFUSED, "the lines measured lie in more than %d different ways: slice-grappa wants a pattern that repeats; take --method sense", KINDS);
    if (k == h->count && (h->count++, new_hood(&h->hood[k], l, sources, offset, target)))
        return kr_error_code();
    kr_hood *n = &h->hood[k];
    for (long s = 0; s < sources; s++)
        n->at[n->bases * sources + s] = (int)((first + s) % l->count);
    for (long j = 0; j < n->targets; j++)
        n->fill[n->bases * n->targets + j] = (int)(l->y[i] + (1 + j) * l->ny);
    n->bases++;
    return 0;
}

static kr_hoods *hoods_of(const struct lines *l, long sources)
{
    kr_hoods *h = kr_alloc_zero(1, sizeof *h);
    if (!h)
        return NULL;
    long n[3] = { 1, l->ny, l->b->factor + 1 };
    memcpy(h->n, n, sizeof h->n);
    h->samples = n[1] * n[2];
    h->measured = l->count;
    h->sample = kr_alloc((size_t)l->count, sizeof *h->sample);
    h->hood = kr_alloc_zero(KINDS, sizeof *h->hood);
    int e = h->sample && h->hood ? 0 : kr_error_code();
    for (long i = 0; !e && i < l->count; i++) {
        h->sample[i] = (int)l->y[i];
        e = add_line(h, l, i, sources);
    }
    if (e)
        kr_hoods_unref(&h);
    return h;
}

/* ---- Kernels of a band ---- */
/* to = to + exp(-2 pi i j k_y / shift) from, {X,Y,COIL}. */
static void add_shifted(kr_array *to, const kr_array *from, const kr_multiband *b, long j)
{
    for (long c = 0; c < from->n[KR_COIL]; c++)
        for (long y = 0; y < from->n[KR_Y]; y++) {
            kr_cfloat f = kr_multiband_phase(b, j, y - from->n[KR_Y] / 2);
            for (long x = 0; x < from->n[KR_X]; x++)
                KR_C(to)[x + y * to->step[KR_Y] + c * to->step[KR_COIL]] +=
                    kr_cmul(f, KR_C(from)[x + y * from->step[KR_Y] + c * from->step[KR_COIL]]);
        }
}

/* The reference on that grid. Split: a block for every slice, as if it had been measured alone, whose kernel is to give it and those of the
 * others nothing: the blocks' equations sum up to Cauley's. Otherwise one block: the sum of all slices. */
static kr_array *blocks_of(const kr_array *calib, const kr_multiband *b, long band, long bands, bool split)
{
    kr_shape shape = kr_shape_without(kr_array_shape(calib), KR_ON(KR_SLICE));
    shape.n[KR_Z] = b->factor + 1;
    shape.n[KR_BATCH] = split ? b->factor : 1;
    kr_array *blocks = kr_array_new(KR_C32, shape);
    for (long j = 0; blocks && j < b->factor; j++) {
        kr_scoped(array) single = kr_array_at(calib, KR_SLICE, band + j * bands);
        kr_scoped(array) block = kr_array_at(blocks, KR_BATCH, split ? j : 0);
        kr_scoped(array) source = block ? kr_array_at(block, KR_Z, 0) : NULL;
        kr_scoped(array) target = block ? kr_array_at(block, KR_Z, 1 + j) : NULL;
        if (!single || !source || !target) {
            kr_array_unref(&blocks);
            break;
        }
        add_shifted(source, single, b, j);
        add_shifted(target, single, b, j);
    }
    return blocks;
}

/* ---- A frame of a band ---- */
struct job {
    const kr_scan *scan; const opts *o; const kr_trace *trace;
    const kr_array *flat, *calib;    /* the sum of slices; the reference in k-space                   */
    long taps, sources;              /* of kernels: along the readout, and lines                      */
    kr_array *singles;               /* {X,Y,COIL,SLICE=factor B,...}, in image space along X         */
    kr_scan as;                      /* a scan of that shape                                          */
    struct lines l; kr_hoods *h; kr_kernels *f;      /* of the last frame; NULL: none yet            */
};

static void forget(struct job *j)
{
    kr_kernels_unref(&j->f);
    kr_hoods_unref(&j->h);
    kr_free_at(&j->l.y);
}

static long reach_of(const kr_hoods *h)
{
    long most = 0;
    for (long i = 0; i < h->count; i++)
        most = h->hood[i].span[KR_Y] > most ? h->hood[i].span[KR_Y] : most;
    return most;
}

static int learn(struct job *j, struct lines *l, long band, long bands)
{
    forget(j);
    j->l = *l;
    l->y = NULL;
    if (l->count < j->sources)
        return kr_fail(KR_EREFUSED, "%ld lines were measured; slice-grappa is to make each from %ld of them: take fewer --neighbours", l->count, j->sources);
    j->h = hoods_of(&j->l, j->sources);
    kr_scoped(array) blocks = j->h ? blocks_of(j->calib, j->l.b, band, bands, j->o->split) : NULL;
    if (!blocks)
        return kr_error_code();
    long most = reach_of(j->h);
    if (most > blocks->n[KR_Y] || j->taps > blocks->n[KR_X])
        return kr_fail(KR_EREFUSED, "the single-band reference of %ld x %ld samples is too small for kernels that reach over %ld x %ld: measure more of "
                       "its lines, or take fewer --neighbours", blocks->n[KR_X], blocks->n[KR_Y], j->taps, most);
    j->f = kr_kernels_new(j->h, blocks, j->taps, j->o->lambda, KR_ALIKE);
    return j->f ? 0 : kr_error_code();
}

static bool same_lines(const struct lines *a, const struct lines *b)
{
    return a->y && a->count == b->count && !memcmp(a->y, b->y, (size_t)a->count * sizeof *a->y);
}

/* m [coil][line][x] of the sum of slices, in image space along x. */
static kr_cfloat *measured(const struct job *j, const kr_array *flat)
{
    long nx = flat->n[KR_X], coils = flat->n[KR_COIL];
    kr_cfloat *m = kr_alloc((size_t)(nx * coils), (size_t)j->l.count * sizeof *m);
    for (long c = 0; m && c < coils; c++)
        for (long i = 0; i < j->l.count; i++)
            memcpy((void *)(m + (c * j->l.count + i) * nx), KR_C(flat) + c * flat->step[KR_COIL] + j->l.y[i] * flat->step[KR_Y], (size_t)nx * sizeof *m);
    kr_fft *f = m && !(j->scan->in_image & KR_ON(KR_X)) ? kr_fft_new(KR_SHAPE([KR_X] = nx, [KR_Y] = j->l.count * coils), KR_ON(KR_X), KR_CENTRED) : NULL;
    if (f)
        kr_fft_inverse(f, m);
    else if (m && !(j->scan->in_image & KR_ON(KR_X)))
        kr_free_at(&m);
    kr_fft_unref(&f);
    return m;
}

/* As many lines as taps, as long as they fill at most half the reference, and at least 3; -1: no memory. */
static long lines_for(const struct job *j, long taps)
{
    kr_scoped(array) mask = kr_part(j->scan->mask, j->scan, 0);
    struct lines l = { .b = &j->scan->multiband, .ny = j->flat->n[KR_Y] };
    if (!mask || find_lines(&l, mask)) {
        kr_free(l.y);
        return -1;
    }
    long gap = l.count > 1 ? (l.y[l.count - 1] - l.y[0] + l.count - 2) / (l.count - 1) : 1;
    while (taps > 3 && 2 * ((taps - 1) * gap + 1) > j->calib->n[KR_Y])
        taps -= 2;
    kr_free(l.y);
    return taps;
}

static int one_frame(struct job *j, long band, long part)
{
    const kr_multiband *b = &j->scan->multiband;
    long bands = j->scan->shape.n[KR_SLICE] > 1 ? j->scan->shape.n[KR_SLICE] : 1;
    kr_scan sum = *j->scan;
    sum.shape = kr_array_shape(j->flat);
    kr_scoped(array) flat = kr_part(j->flat, &sum, part);
    kr_scoped(array) mask = kr_part(j->scan->mask, j->scan, part);
    struct lines l = { .b = b, .ny = j->flat->n[KR_Y] };
    int e = flat && mask ? find_lines(&l, mask) : kr_error_code();
    if (!e && !(j->f && same_lines(&j->l, &l)))
        e = learn(j, &l, band, bands);
    kr_free(l.y);
    if (e || kr_stopped(j->trace))
        return kr_error_code();
    long nx = flat->n[KR_X], ny = flat->n[KR_Y], coils = flat->n[KR_COIL], plane = nx * ny * (b->factor + 1);
    kr_auto kr_cfloat *m = measured(j, flat), *y = kr_alloc((size_t)plane, (size_t)coils * sizeof *y);
    if (!m || !y || kr_kernels_apply(j->f, y, m, nx))
        return kr_error_code();
    for (long s = 0; s < b->factor; s++) {
        long at = part / bands * b->factor * bands + s * bands + band;
        kr_scoped(array) to = kr_part(j->singles, &j->as, at);
        if (!to)
            return kr_error_code();
        for (long c = 0; c < coils; c++)
            for (long k = 0; k < ny; k++) {
                kr_cfloat f = kr_multiband_phase(b, s, k - ny / 2);
                const kr_cfloat *from = y + c * plane + ((1 + s) * ny + k) * nx;
                for (long x = 0; x < nx; x++)
                    KR_C(to)[x + k * to->step[KR_Y] + c * to->step[KR_COIL]] = kr_cmulc(f, from[x]);
            }
    }
    return 0;
}

static int separate(struct job *j)
{
    long bands = j->scan->shape.n[KR_SLICE] > 1 ? j->scan->shape.n[KR_SLICE] : 1, parts = kr_count(kr_array_shape(j->flat))
              / (j->flat->n[KR_X] * j->flat->n[KR_Y] * j->flat->n[KR_COIL]);
    int e = 0;
    for (long band = 0; !e && band < bands; band++) {
        forget(j);
        for (long part = band; !e && part < parts; part += bands) {
            e = one_frame(j, band, part);
            kr_progress(j->trace, "slices", (double)(band * (parts / bands) + part / bands + 1), (double)parts);
        }
    }
    forget(j);
    return e;
}

/* ---- Within slices ---- */
/* The lines measured: the mask of the slab without its k_z. */
static kr_array *mask_of(const kr_array *slab)
{
    kr_scoped(array) first = kr_array_at(slab, KR_Z, 0);
    kr_array *m = first ? kr_array_copy(first) : NULL;
    for (long z = 1; m && z < slab->n[KR_Z]; z++) {
        kr_scoped(array) plane = kr_array_at(slab, KR_Z, z);
        kr_scoped(array) packed = plane ? kr_array_packed(plane) : NULL;
        if (!packed)
            kr_array_unref(&m);
        for (long i = 0; m && i < kr_count(kr_array_shape(m)); i++)
            KR_R(m)[i] = fmaxf(KR_R(m)[i], KR_R(packed)[i]);
    }
    return m;
}

static int combine(kr_image **out, const kr_scan *singles, const kr_array *coils, const kr_trace *trace)
{
    kr_scoped(array) mask = kr_model_mask(singles);
    if (!mask)
        return kr_error_code();
    bool full = kr_count(kr_array_shape(mask)) == 1;
    const kr_recon *m = kr_recon_named(!full ? "grappa" : coils ? "adjoint" : "rss");
    kr_auto void *usual = m ? kr_alloc_zero(1, m->opts_size + 1) : NULL;
    return usual && !kr_opt_defaults(m->opts, usual) ? m->run(out, singles, coils, usual, trace) : kr_error_code();
}

static int check(const kr_scan *s, const opts *o)
{
    if (o->kernel < 0 || o->kernel > 31 || (o->kernel && !(o->kernel & 1)) || o->neighbours < 0 || o->neighbours > MOST || !(o->lambda >= 0) || !isfinite(o->lambda))
        return kr_fail(KR_EREFUSED, "slice-grappa wants an odd --kernel of 1 to 31, 0 to %d --neighbours and --lambda >= 0, not %ld, %ld and %g", MOST,
                       o->kernel, o->neighbours, o->lambda);
    if (!s->multiband.depth)
        return kr_fail(KR_EREFUSED, "slice-grappa takes slices apart that were measured together, and the file does not say that these were: --multiband N does");
    return s->calib ? 0 : kr_fail(KR_EREFUSED, "slice-grappa needs a single-band reference of all slices: give one (--single-band FILE)");
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    if (check(scan, o))
        return kr_error_code();
    const long all[3] = { 0, 0, 0 };
    kr_scoped(array) flat = kr_multiband_flat(scan);
    kr_scoped(array) calib = flat ? kr_calibration(scan, all) : NULL;
    kr_scoped(array) mask = calib ? mask_of(scan->mask) : NULL;
    kr_scoped(array) maps = coils && mask ? kr_multiband_singles(coils, scan) : NULL;
    if (!mask || (coils && !maps))
        return kr_error_code();
    kr_shape shape = kr_array_shape(flat);
    shape.n[KR_SLICE] *= scan->multiband.factor;
    kr_scoped(array) singles = kr_array_new(KR_C32, shape);
    kr_scoped(array) single_band = kr_array_copy(calib);
    kr_scan as = *scan;
    as.shape = shape;
    as.in_image |= KR_ON(KR_X);
    as.multiband = (kr_multiband){ 0 };
    as.data = singles;
    as.mask = mask;
    as.calib_mask = NULL;
    as.calib = single_band;
    struct job j = { .scan = scan, .o = o, .trace = trace, .flat = flat, .calib = calib, .singles = singles, .as = as };
    j.taps = o->kernel ? o->kernel : shape.n[KR_COIL] <= 8 ? 7 : 5;
    j.sources = o->neighbours ? o->neighbours : lines_for(&j, j.taps);
    if (j.sources < 0 || !singles || !single_band || kr_fourier_inverse(single_band, KR_ON(KR_X)) || separate(&j))
        return kr_error_code();
    return combine(out, &as, maps, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    double n = (double)kr_count(scan->shape), coils = scan->shape.n[KR_COIL] > 1 ? (double)scan->shape.n[KR_COIL] : 1;
    double together = scan->multiband.factor > 1 ? (double)scan->multiband.factor : 1;
    cost->bytes = 8 * n * (1 + 2 * together);
    cost->seconds = n * together * 1e-9 * 25 * coils;
    return 0;
}

const kr_recon kr_recon_slice_grappa = { "slice-grappa", "SMS: slices separated by kernels fitted to a single-band reference, then GRAPPA within them",
    "Setsompop et al., Magn Reson Med 67:1210 (2012); split: Cauley et al., Magn Reson Med 72:93 (2014)",
    KR_MAY_USE_COILS | KR_UNFOLDS | KR_TAKES_SLABS | KR_WANTS_SERIES, table, sizeof(opts), run, plan };
