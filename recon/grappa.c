/* grappa.c: missing samples of every coil from measured ones around them, then coil images and their combination. */
#include "kray/fourier.h"
#include "kernels.h"
#include "model.h"
#include <math.h>
#include <string.h>

typedef struct opts { long kernel, neighbours; double lambda; } opts;
static const kr_opt table[] = {
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "0", "N", "samples along the readout that a missing one is made from; 0: 9 with up to 8 coils, else 5" },
    { "neighbours", 0, KR_OPT_INT, offsetof(opts, neighbours), "0", "N", "measured lines around a missing one that it is made from; 0: 4 where one "
      "direction is undersampled, 8 where two are, fewer where the calibration lines are few" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.001", "X", "Tikhonov regularisation of the kernels, relative to the mean power of a calibration sample" },
    KR_OPT_END };

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

/* One slice: `axes` along which samples are missing, `planes` that are independent of each other, since nothing is missing
 * along their axes. Along X the data are in image space unless samples are missing along it. */
struct slice {
    const kr_scan *scan; const kr_array *coils, *calib; kr_array *image; const opts *o; const kr_trace *trace;
    kr_array *mask, *block, *y, *out;
    unsigned axes, planes;
    bool readout_done;               /* y is in image space along X                     */
    long taps, count;                /* count: planes                                   */
    kr_hoods *hoods;
    kr_kernels **kernels;            /* one for each plane                              */
};

static void drop(struct slice *j)
{
    for (long i = 0; j->kernels && i < j->count; i++)
        kr_kernels_unref(&j->kernels[i]);
    kr_free_at(&j->kernels);
    kr_hoods_unref(&j->hoods);
    kr_array_unref(&j->mask);
    kr_array_unref(&j->block);
    kr_array_unref(&j->y);
    kr_array_unref(&j->out);
}

static kr_array *plane_of(const kr_array *a, unsigned planes, long i)
{
    kr_array *v = kr_array_ref(a);
    for (int d = KR_X; v && d <= KR_Z; d++)
        if (planes & KR_ON(d) && a->n[d] > 1) {
            kr_array *w = kr_array_at(v, d, i % a->n[d]);
            i /= a->n[d];
            kr_array_unref(&v);
            v = w;
        }
    return v;
}

/* Enough placements in the calibration block for every hood? In each direction three quarters of the kernel's own length at
 * least: far sources that few lines tell of do more harm than good. */
static bool fits(const kr_hoods *h, const kr_array *block, long taps)
{
    for (long i = 0; i < h->count; i++) {
        const kr_hood *n = &h->hood[i];
        long rows = 1;
        for (int d = 0; d < 3; d++) {
            long places = block->n[d] - n->span[d] - (d == KR_X ? taps - 1 : 0) + 1;
            if (n->span[d] > 1 && 4 * places < 3 * n->span[d])
                return false;
            rows *= places;
        }
        if (rows < n->sources * taps * block->n[KR_COIL])
            return false;
    }
    return true;
}

/* Which samples are made from which: as many sources as wanted, or as the calibration area permits. */
static int neighbours(struct slice *j, const kr_array *block)
{
    long n[3], most[3], missing = 0;
    for (int d = 0; d < 3; d++) {
        n[d] = j->axes & KR_ON(d) ? j->y->n[d] : 1;
        most[d] = j->axes & KR_ON(d) ? block->n[d] : 1;
        missing += n[d] > 1;
    }
    long least = missing < 2 ? 2 : 4, sources = j->o->neighbours ? j->o->neighbours : missing ? 4 * missing : 1;
    for (;; sources--) {
        if (!(j->hoods = kr_hoods_new(j->mask, n, sources, most)))
            return kr_error_code();
        if (j->o->neighbours || sources <= least || fits(j->hoods, block, j->taps))
            break;
        kr_hoods_unref(&j->hoods);
    }
    const kr_hoods *h = j->hoods;
    if (!h->missing && h->left)
        return kr_fail(KR_EREFUSED, "the calibration area of %ld x %ld x %ld is too small: no missing sample fits into it together with measured ones "
                       "on both sides; measure more calibration lines, or accelerate less", block->n[0], block->n[1], block->n[2]);
    if (h->left)
        kr_say(j->trace, KR_DETAIL, "%ld of %ld missing samples have no measured ones around them and stay 0", h->left, h->missing + h->left);
    long most_targets = 0;
    for (long i = 0; i < h->count; i++)
        most_targets = h->hood[i].targets > most_targets ? h->hood[i].targets : most_targets;
    kr_say(j->trace, KR_DETAIL, "grappa: %ld kinds of neighbourhoods, up to %ld missing samples from %ld lines x %ld samples", h->count,
           most_targets, sources, j->taps);
    return 0;
}

/* m [coil][measured][x] of one plane, in image space along X. */
static int gather(kr_cfloat *m, const struct slice *j, const kr_array *y, long nx)
{
    const kr_hoods *h = j->hoods;
    long coils = y->n[KR_COIL];
    for (long c = 0; c < coils; c++)
        for (long i = 0; i < h->measured; i++) {
            long e = h->sample[i], at = c * y->step[KR_COIL];
            for (int d = 0; d < 3; d++, e /= h->n[d - 1])
                at += e % h->n[d] * y->step[d];
            for (long x = 0; x < nx; x++)
                m[(c * h->measured + i) * nx + x] = KR_C(y)[at + x * y->step[KR_X]];
        }
    if (nx == 1 || j->readout_done)
        return 0;
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = nx, [KR_Y] = h->measured * coils), KR_ON(KR_X), KR_CENTRED);
    if (!f)
        return kr_error_code();
    kr_fft_inverse(f, m);
    kr_fft_unref(&f);
    return 0;
}

static int one_plane(void *self, long i)
{
    struct slice *j = self;
    if (kr_stopped(j->trace))
        return kr_error_code();
    kr_scoped(array) from = plane_of(j->y, j->planes, i);
    kr_scoped(array) to = plane_of(j->out, j->planes, i);
    kr_scoped(array) view = j->kernels[i] ? NULL : plane_of(j->block, j->planes, i);
    kr_scoped(array) block = view ? kr_array_packed(view) : NULL;
    if (!from || !to || (!j->kernels[i] && !block))
        return kr_error_code();
    if (!j->kernels[i] && !(j->kernels[i] = kr_kernels_new(j->hoods, block, j->taps, j->o->lambda)))
        return kr_error_code();
    long coils = from->n[KR_COIL], nx = j->axes & KR_ON(KR_X) ? 1 : from->n[KR_X];
    kr_auto kr_cfloat *m = kr_alloc((size_t)(nx * j->hoods->measured), (size_t)coils * sizeof *m);
    kr_scoped(array) filled = j->count == 1 ? kr_array_ref(to) : kr_array_new(KR_C32, kr_array_shape(to));
    if (!m || !filled || gather(m, j, from, nx) || kr_kernels_apply(j->kernels[i], KR_C(filled), m, nx))
        return kr_error_code();
    if (j->count > 1)
        kr_array_assign(to, filled);
    return 0;
}

/* What is missing where: axes, planes, the calibration block with its planes, neighbourhoods. */
static int set_up(struct slice *j, kr_array *mask, long slice)
{
    j->mask = mask;
    j->axes = j->planes = 0;
    j->count = 1;
    for (int d = KR_X; d <= KR_Z; d++)
        if (mask->n[d] > 1)
            j->axes |= KR_ON(d);
        else if (d != KR_X && j->y->n[d] > 1) {
            j->planes |= KR_ON(d);
            j->count *= j->y->n[d];
        }
    kr_scoped(array) mine = kr_array_at(j->calib, KR_SLICE, j->calib->n[KR_SLICE] > 1 ? slice : 0);
    kr_array *block = mine;
    mine = NULL;
    for (int d = KR_Y; block && d <= KR_Z; d++)
        if (j->planes & KR_ON(d)) {
            kr_array *wide = kr_array_crop(block, d, j->y->n[d]);
            kr_array_unref(&block);
            block = wide;
        }
    j->block = block ? kr_array_copy(block) : NULL;
    kr_array_unref(&block);
    j->kernels = kr_alloc_zero((size_t)j->count, sizeof *j->kernels);
    if (!j->block || !j->kernels || (j->planes && kr_fourier_inverse(j->block, j->planes)))
        return kr_error_code();
    long room = j->block->n[KR_X], taps = j->o->kernel ? j->o->kernel : j->y->n[KR_COIL] <= 8 ? 9 : 5;
    j->taps = j->axes & KR_ON(KR_X) || j->y->n[KR_X] == 1 ? 1 : taps > room ? room - !(room & 1) : taps;
    kr_scoped(array) first = plane_of(j->block, j->planes, 0);
    return first ? neighbours(j, first) : kr_error_code();
}

/* z = sum over coils of conj(S) x, or the root of the sum of squares. */
static int combine(kr_array *z, const kr_array *x, const kr_array *coils)
{
    if (!coils) {
        kr_scoped(array) rss = kr_rss(x, KR_COIL);
        if (!rss)
            return kr_error_code();
        kr_array_assign(z, rss);
        return 0;
    }
    kr_scoped(array) sum = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(coils), KR_ON(KR_COIL)));
    kr_scoped(array) one = kr_array_new(KR_C32, kr_array_shape(z));
    if (!sum || !one)
        return kr_error_code();
    kr_contract(sum, x, coils, true);
    kr_combine_sets(one, sum);
    kr_array_assign(z, one);
    return 0;
}

static bool same(const kr_array *a, const kr_array *b)
{
    return kr_shape_equal(kr_array_shape(a), kr_array_shape(b))
        && !memcmp(a->data, b->data, (size_t)kr_count(kr_array_shape(a)) * sizeof(float));
}

/* One slice of one frame. Frames of a slice follow each other and share kernels as long as they share the mask. */
static int one_frame(struct slice *j, long slice, long part)
{
    kr_scoped(array) data = kr_part(j->scan->data, j->scan, part);
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, part) : NULL;
    kr_scoped(array) z = kr_part(j->image, j->scan, part);
    kr_scoped(array) maps = j->coils ? kr_part(j->coils, j->scan, part) : NULL;
    kr_array_unref(&j->y);
    kr_array_unref(&j->out);
    j->y = data ? kr_array_copy(data) : NULL;
    if (!j->y || !z || (j->scan->mask && !mask) || (j->coils && !maps))
        return kr_error_code();
    kr_scan as = { .shape = kr_array_shape(j->y), .data = j->y, .mask = mask, .in_image = j->scan->in_image };
    kr_array *P = kr_model_mask(&as);
    if (!P)
        return kr_error_code();
    if (j->mask && same(j->mask, P))
        kr_array_unref(&P);
    else {
        kr_array *y = j->y;
        j->y = NULL;
        drop(j);
        j->y = y;
        if (set_up(j, P, slice))
            return kr_error_code();
    }
    unsigned done = j->scan->in_image & space;
    j->readout_done = done & KR_ON(KR_X);
    j->out = kr_array_new(KR_C32, kr_array_shape(j->y));
    if (!j->out || (j->planes & ~done && kr_fourier_inverse(j->y, j->planes & ~done)))
        return kr_error_code();
    int e = 0;
    if (j->count >= 2 * kr_threads())
        e = kr_for(j->count, one_plane, j);
    else
        for (long i = 0; !e && i < j->count; i++)
            e = one_plane(j, i);
    if (e || (j->axes && kr_fourier_inverse(j->out, j->axes)))
        return kr_error_code();
    return combine(z, j->out, maps);
}

static int one_slice(void *self, long slice)
{
    struct slice j = *(const struct slice *)self;
    long slices = j.scan->shape.n[KR_SLICE] > 1 ? j.scan->shape.n[KR_SLICE] : 1, parts = kr_parts(j.scan);
    int e = 0;
    for (long part = slice; !e && part < parts; part += slices)
        e = one_frame(&j, slice, part);
    drop(&j);
    return e;
}

static int check(const opts *o, const kr_scan *s)
{
    if (o->kernel < 0 || o->kernel > 31 || (o->kernel && !(o->kernel & 1)) || o->neighbours < 0 || o->neighbours > 32 || !(o->lambda >= 0) || !isfinite(o->lambda))
        return kr_fail(KR_EREFUSED, "grappa wants an odd --kernel of 1 to 31, 0 to 32 --neighbours and --lambda >= 0, not %ld, %ld and %g", o->kernel,
                       o->neighbours, o->lambda);
    if (s->shape.n[KR_COIL] < 2)
        return kr_fail(KR_EREFUSED, "grappa needs several coils, this scan has one: take --method rss");
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    if (check(options, scan) || (coils && kr_coils_check(coils, scan)))
        return kr_error_code();
    const long all[3] = { 0, 0, 0 };
    kr_scoped(array) calib = kr_calibration(scan, all);
    kr_scoped(array) image = calib ? kr_array_new(coils ? KR_C32 : KR_R32, kr_shape_without(scan->shape, KR_ON(KR_COIL))) : NULL;
    if (!image)
        return kr_error_code();
    struct slice j = { .scan = scan, .coils = coils, .calib = calib, .image = image, .o = options, .trace = trace };
    long slices = scan->shape.n[KR_SLICE] > 1 ? scan->shape.n[KR_SLICE] : 1;
    int e = 0;
    if (slices >= 2 * kr_threads())
        e = kr_for(slices, one_slice, &j);
    else
        for (long i = 0; !e && i < slices; i++)      /* few: the threads share the work of each */
            e = one_slice(&j, i);
    if (e)
        return e;
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    double n = (double)kr_count(scan->shape), coils = scan->shape.n[KR_COIL] > 1 ? (double)scan->shape.n[KR_COIL] : 1;
    cost->bytes = 8 * n + 8 * n / coils;
    cost->seconds = n * 5e-9 * coils;
    return 0;
}

const kr_recon kr_recon_grappa = { "grappa", "missing samples of each coil from measured neighbours, by kernels fitted to the calibration lines",
    "Griswold et al., Magn Reson Med 47:1202 (2002); 2D and CAIPI patterns: Breuer et al., Magn Reson Med 55:549 (2006)",
    KR_MAY_USE_COILS, table, sizeof(opts), run, plan };
