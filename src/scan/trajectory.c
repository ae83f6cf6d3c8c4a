/* trajectory.c: scans whose samples lie anywhere in k-space: units, density, and what a Cartesian grid would have held. */
#include "kray/fourier.h"
#include "kray/nufft.h"
#include "kray/segments.h"
#include "trj.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const unsigned readout = KR_ON(KR_SAMPLE) | KR_ON(KR_VIEW);
enum { MOST = 8192 };                            /* pixels along an axis, as --matrix has it */

/* ---- Units ---- */
static double reach(const kr_array *traj, int d)
{
    kr_scoped(array) one = kr_array_at(traj, KR_CHAN, d);
    kr_scoped(array) packed = one ? kr_array_packed(one) : NULL;
    return packed ? kr_max_abs(packed) : -1;
}

enum unit { PER_FOV, PER_SAMPLE, RADIANS, PER_METRE, RADIANS_PER_METRE };
const char *const kr_traj_units[] = { "fov", "sample", "radians", "1/m", "rad/m", NULL };
static const char *const words[] = { "cycles per field of view", "cycles per sample", "radians per sample", "cycles per metre", "radians per metre" };

static enum unit unit_of(const char *name)
{
    int u = 0;
    while (kr_traj_units[u] && strcmp(kr_traj_units[u], name))
        u++;
    kr_assert(kr_traj_units[u]);
    return (enum unit)u;
}

static const double FEW = .6;            /* of half of the matrix: less is more likely another unit than a scan */

/* Cycles per field of view reach to about half of the matrix, cycles per sample to 1/2, radians per sample to pi. */
static enum unit likely(double largest, long n) { return largest <= .52 ? PER_SAMPLE : largest < 3.3 && n > 16 ? RADIANS : PER_FOV; }

/* k per metre to cycles per field of view, each axis by its own. */
static int metres(kr_array *k, const kr_scan *s, enum unit unit)
{
    for (int d = 0; d < k->n[KR_CHAN]; d++) {
        double mm = s->enc.encoded_mm[d] > 0 ? s->enc.encoded_mm[d] : s->enc.recon_mm[d];
        if (!(mm > 0))
            return kr_fail(KR_EREFUSED, "a trajectory in %s wants the field of view, which the file does not tell: give it (--fov X,Y[,Z])", words[unit]);
        kr_scoped(array) axis = kr_array_at(k, KR_CHAN, d);
        if (!axis)
            return kr_error_code();
        kr_scale(axis, (float)(mm / 1000 / (unit == PER_METRE ? 1 : 2 * M_PI)));
    }
    return 0;
}

/* Refuses k beyond what a matrix of n ends at, and says which other unit it would fit. */
static int too_far(const kr_scan *s, enum unit unit, double largest, long n)
{
    if (s->traj_unit)
        return kr_fail(KR_ENUMBER, "the trajectory, stated in %s, reaches to %.4g cycles per field of view: a matrix of %ld ends at %ld", words[unit], largest, n, n / 2);
    double mm = s->enc.encoded_mm[0] > 0 ? s->enc.encoded_mm[0] : s->enc.recon_mm[0], fits = largest * mm / 1000 / ((double)n / 2);
    const char *other = fits > .9 && fits < 1.1 ? "1/m" : fits > .9 * 2 * M_PI && fits < 1.1 * 2 * M_PI ? "rad/m" : NULL;
    return kr_fail(KR_ENUMBER, "the trajectory reaches to %.4g, which for a matrix of %ld is neither cycles per field of view (%ld) nor per sample (0.5), nor radians per sample (3.14); "
                   "%s%s", largest, n, n / 2, other ? "it would fit as --traj-units " : "--traj-units states others", other ? other : "");
}

/* Where the first coordinate that is not a number stands. */
static int refuse_nan(const kr_array *k)
{
    long each = k->n[KR_SAMPLE] * k->n[KR_VIEW], n = kr_count(kr_array_shape(k));
    for (long i = 0; i < n; i++)
        if (!isfinite(KR_R(k)[i]))
            return kr_fail(KR_ENUMBER, "sample %ld of view %ld has a k-space position that is not finite", i % each % k->n[KR_SAMPLE],
                           i % each / k->n[KR_SAMPLE]);
    return 0;
}

/* Does every readout go from one edge of k-space to the other? Then a sample is a step of 1 / its length. */
static bool diameters(const kr_array *k, double most)
{
    long samples = k->n[KR_SAMPLE], views = kr_count(kr_array_shape(k)) / (samples * k->n[KR_CHAN]), step = k->step[KR_CHAN];
    for (long v = 0; v < views; v++)
        for (int end = 0; end < 2; end++) {
            double sum = 0;
            for (long d = 0; d < k->n[KR_CHAN]; d++) {
                double at = (double)KR_R(k)[v * samples + (end ? samples - 1 : 0) + d * step];
                sum += at * at;
            }
            if (sqrt(sum) < .8 * most)
                return false;
        }
    return true;
}

int kr_scan_trajectory(kr_scan *s, const kr_trace *trace)
{
    kr_array *k = s->traj;
    if (!k || k->type != KR_R32 || k->n[KR_CHAN] < 2 || k->n[KR_CHAN] > 3)
        return kr_fail(KR_ESHAPE, "a trajectory of 2 or 3 real coordinates a sample is wanted%s%s", k ? ", not " : "", k ? kr_shape_text(kr_array_shape(k)) : "");
    for (int d = 0; d < KR_AXES; d++) {
        long n = s->shape.n[d] ? s->shape.n[d] : 1;
        if (d != KR_CHAN && k->n[d] != n && (k->n[d] != 1 || readout & KR_ON(d)))
            return kr_fail(KR_ESHAPE, "a trajectory %s for data %s: they differ along %s", kr_shape_text(kr_array_shape(k)), kr_shape_text(s->shape), kr_axis_name(d));
    }
    kr_scoped(array) packed = kr_array_packed(k);
    if (!packed || refuse_nan(packed))
        return kr_error_code();
    double most[3] = { 0 }, largest = 0;
    for (int d = 0; d < k->n[KR_CHAN]; d++) {
        if ((most[d] = reach(packed, d)) < 0)
            return kr_error_code();
        largest = most[d] > largest ? most[d] : largest;
    }
    if (!(largest > 0))
        return kr_fail(KR_ENUMBER, "all samples of the trajectory lie in the centre of k-space");
    kr_scoped(array) flat = k->n[KR_CHAN] == 3 && !(most[2] > 0) ? kr_array_range(packed, KR_CHAN, 0, 2) : kr_array_ref(packed);
    kr_scoped(array) own = flat ? kr_array_copy(flat) : NULL;
    if (!own)
        return kr_error_code();
    long dims = own->n[KR_CHAN], n = 0;
    for (int d = 0; d < dims; d++) {
        long have = s->enc.encoded[d] > 0 ? s->enc.encoded[d] : s->enc.recon[d];
        n = have > n ? have : n;
    }
    enum unit unit = s->traj_unit ? unit_of(s->traj_unit) : likely(largest, n);
    double scale = 1;
    if (unit == PER_SAMPLE || unit == RADIANS) {
        bool turns = unit == PER_SAMPLE;
        if (largest > (turns ? .52 : 3.3))
            return kr_fail(KR_ENUMBER, "the trajectory reaches to %.4g, which is not in %s: these end at %s", largest, words[unit], turns ? "0.5" : "3.14");
        long from = n ? n : diameters(own, largest) ? s->shape.n[KR_SAMPLE] : 0;
        if (!from)
            return kr_fail(KR_EREFUSED, "the trajectory reaches to %.3g, in cycles per sample, and the file does not tell the image's matrix: give it (--matrix X,Y)", largest);
        for (int d = 0; d < dims; d++)
            if (s->enc.encoded[d] <= 1 && s->enc.recon[d] <= 1)
                s->enc.encoded[d] = s->enc.recon[d] = from;
        n = from;
        scale = (double)n / (turns ? 1 : 2 * M_PI);
    } else if (unit != PER_FOV && metres(own, s, unit))
        return kr_error_code();
    for (int d = 0; unit >= PER_METRE && d < dims; d++)
        if ((most[d] = reach(own, d)) < 0)
            return kr_error_code();
    largest = unit < PER_METRE ? largest : fmax(most[0], fmax(most[1], dims > 2 ? most[2] : 0));
    if (scale == 1 && n && largest > .55 * (double)n)
        return too_far(s, unit, largest, n);
    for (int d = 0; d < dims; d++) {
        long have = s->enc.encoded[d] > 1 ? s->enc.encoded[d] : s->enc.recon[d];
        double to = most[d] > .9 * largest ? largest : most[d];                /* a spoke need not lie along this very axis */
        if (have <= 1 && to > MOST / 2)
            return kr_fail(KR_ENUMBER, "the trajectory reaches to %.4g, which in cycles per field of view would be an image of %.4g pixels a side (at most %d): is it in other units "
                           "(--traj-units)?", to, 2 * to, MOST);
        if (have <= 1)
            have = 2 * (long)ceil(to - 1e-3);
        s->enc.encoded[d] = have > 1 ? have : 1;
        kr_scoped(array) axis = kr_array_at(own, KR_CHAN, d);
        if (!axis)
            return kr_error_code();
        if (scale != 1)
            kr_scale(axis, (float)(scale * (double)s->enc.encoded[d] / (double)n));
    }
    for (long d = dims; d < 3; d++)
        s->enc.encoded[d] = 1;
    kr_say(trace, KR_DETAIL, "trajectory in %s, k up to %.4g cycles per field of view", words[unit], largest * scale);
    if (!s->traj_unit && n && largest * scale < FEW * (double)n / 2)
        kr_say(trace, KR_INFO, "the trajectory, by its range in %s, reaches to %.3g of the %ld cycles per field of view that the matrix has: if this is no scan of so low a resolution, --traj-units states "
               "other units", words[unit], largest * scale, n / 2);
    kr_array_unref(&s->traj);
    s->traj = kr_array_ref(own);
    s->traj_unit = kr_traj_units[PER_FOV];
    return 0;
}

kr_shape kr_scan_image_shape(const kr_scan *s)
{
    kr_shape n = kr_shape_without(s->shape, KR_ON(KR_COIL));
    if (s->rays) {
        n = kr_shape_without(n, KR_ON(KR_U) | KR_ON(KR_V) | KR_ON(KR_VIEW));
        memcpy(n.n, s->grid.n, sizeof s->grid.n);
        return n;
    }
    if (!s->traj)
        return n;
    n = kr_shape_without(n, readout);
    for (int d = 0; d < 3; d++)
        n.n[d] = s->enc.encoded[d];
    return n;
}

/* ---- Gridding ---- */
/* Samples times the conjugate shares of a segment: off-resonance is undone at each. */
static void conjugate_phase(kr_cfloat *y, long n, const kr_segments *seg, long l)
{
    const float *w = seg->share + 2 * l * seg->samples;
    for (long i = 0; i < n; i++) {
        long m = i % seg->samples;
        y[i] = kr_cmul(y[i], kr_c(w[2 * m], -w[2 * m + 1]));
    }
}

kr_scan *kr_scan_gridded(const kr_scan *s, const kr_array *density)
{
    enum { COIL_GROUP = 8 };
    kr_shape shape = kr_scan_image_shape(s), frames = kr_shape_without(s->shape, readout | KR_ON(KR_COIL));
    shape.n[KR_COIL] = s->shape.n[KR_COIL];
    kr_scoped(array) data = kr_array_packed(s->data);
    kr_array *grid = data ? kr_array_new(KR_C32, shape) : NULL;
    kr_scan *g = grid ? kr_scan_new() : NULL;
    long points = s->traj->n[KR_SAMPLE] * s->traj->n[KR_VIEW], coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    kr_auto kr_cfloat *y = kr_alloc((size_t)points, COIL_GROUP * sizeof *y);
    long pixels = s->enc.encoded[0] * s->enc.encoded[1] * s->enc.encoded[2];
    kr_auto kr_cfloat *part = s->field ? kr_alloc((size_t)pixels, COIL_GROUP * sizeof *part) : NULL;
    kr_segments seg = { .count = 0 };
    const float *segmented = NULL;
    kr_nufft *p = NULL;
    long planned = -1;
    int e = g && y && (part || !s->field) ? 0 : kr_error_code();
    for (long f = 0; !e && f < kr_count(frames); f++) {
        long at = kr_array_offset(s->traj, frames, f);
        if (at != planned) {
            const float *k[3];
            for (int d = 0; d < 3; d++)
                k[d] = d < s->traj->n[KR_CHAN] ? KR_R(s->traj) + at + d * s->traj->step[KR_CHAN] : NULL;
            kr_nufft_unref(&p);
            p = kr_nufft_new(s->enc.encoded, points, k, coils < COIL_GROUP ? coils : COIL_GROUP, 1e-4);
            planned = at;
            if (!p)
                e = kr_error_code();
        }
        const float *w = KR_R(density) + kr_array_offset(density, frames, f), *hz = s->field ? KR_R(s->field) + kr_array_offset(s->field, frames, f) : NULL;
        if (!e && hz && hz != segmented) {
            kr_segments_close(&seg);
            e = kr_segments_open(&seg, hz, pixels, 1e-6 * s->first_us, 1e-6 * s->dwell_us, s->traj->n[KR_SAMPLE], 1e-3);
            segmented = hz;
        }
        for (long c = 0; !e && c < coils; c += COIL_GROUP) {
            long count = coils - c < COIL_GROUP ? coils - c : COIL_GROUP;
            const kr_cfloat *from = KR_C(data) + kr_array_offset(data, frames, f) + c * points;
            kr_cfloat *to = KR_C(grid) + kr_array_offset(grid, frames, f) + c * grid->step[KR_COIL];
            for (long l = 0; l < (hz ? seg.count : 1); l++) {
                for (long i = 0; i < count * points; i++)
                    y[i] = from[i] * w[i % points];
                if (hz)
                    conjugate_phase(y, count * points, &seg, l);
                kr_nufft_adjoint(p, hz ? part : to, y, count);
                for (long i = 0; hz && i < count * pixels; i++) {
                    double a = 2 * M_PI * (double)hz[i % pixels] * seg.at_s[l];
                    kr_cfloat z = kr_cmul(part[i], kr_c((float)cos(a), (float)sin(a)));
                    to[i] = l ? to[i] + z : z;
                }
            }
        }
    }
    kr_nufft_unref(&p);
    kr_segments_close(&seg);
    unsigned axes = KR_ON(KR_X) | KR_ON(KR_Y) | (s->traj->n[KR_CHAN] == 3 ? KR_ON(KR_Z) : 0);
    if (!e)
        e = kr_fourier(grid, axes);
    if (e) {
        kr_array_unref(&grid);
        kr_scan_unref(&g);
        return NULL;
    }
    g->data = grid;
    g->shape = shape;
    g->enc = s->enc;
    g->whitened = s->whitened;
    kr_geom_unref(&g->geom);
    g->geom = kr_geom_copy(s->geom);
    kr_meta_unref(&g->meta);
    g->meta = kr_meta_copy(s->meta);
    bool known;
    g->kspace_sign = kr_scan_kspace_sign(s, &known);           /* which the grid alone no longer tells of a spiral */
    g->file = s->file ? kr_strdup(s->file) : NULL;
    if (!g->geom || !g->meta)
        kr_scan_unref(&g);
    return g;
}

/* ---- A trajectory from another file ---- */
static kr_array *renamed(const kr_array *a, const int from[], const int to[], int count)
{
    kr_array *v = kr_array_ref(a);
    for (int i = 0; i < count && v; i++) {
        kr_array *w = kr_array_rename(v, from[i], to[i]);
        kr_array_unref(&v);
        v = w;
    }
    kr_array *packed = kr_array_packed(v);
    kr_array_unref(&v);
    return packed;
}

/* kx + i ky as two coordinates. */
static kr_array *coordinates_of(const kr_array *a)
{
    if (a->type == KR_R32)
        return kr_array_ref(a);
    kr_scoped(array) packed = kr_array_packed(a);
    kr_shape shape = kr_array_shape(a);
    shape.n[KR_CHAN] = 2;
    kr_array *k = packed && a->n[KR_CHAN] == 1 ? kr_array_new(KR_R32, shape) : NULL;
    long n = packed ? kr_count(kr_array_shape(a)) : 0;
    for (long i = 0; k && i < n; i++) {
        KR_R(k)[i] = kr_re(KR_C(packed)[i]);
        KR_R(k)[n + i] = kr_im(KR_C(packed)[i]);
    }
    return k;
}

/* BART keeps coordinates of its trajectories as complex numbers without an imaginary part. */
static kr_array *real_of(const kr_array *a)
{
    kr_scoped(array) packed = kr_array_packed(a);
    kr_array *r = packed ? kr_array_new(KR_R32, kr_array_shape(a)) : NULL;
    for (long i = 0; r && i < kr_count(kr_array_shape(a)); i++)
        KR_R(r)[i] = kr_re(KR_C(packed)[i]);
    return r;
}

/* The data with samples and views named: their first two axes longer than 1, where they have no such axes. */
static kr_array *readouts(const kr_scan *s, bool *named)
{
    static const int x_first[] = { KR_X, KR_Y }, y_first[] = { KR_Y, KR_Z }, to[] = { KR_SAMPLE, KR_VIEW };
    *named = s->shape.n[KR_SAMPLE] > 1 || s->shape.n[KR_VIEW] > 1;
    return *named ? kr_array_ref(s->data) : renamed(s->data, s->shape.n[KR_X] > 1 ? x_first : y_first, to, 2);
}

int kr_scan_attach_trajectory(kr_scan *s, const kr_array *traj)
{
    static const int x_first[] = { KR_X, KR_Y }, y_first[] = { KR_Y, KR_Z }, to[] = { KR_SAMPLE, KR_VIEW };
    bool leading = traj->n[KR_CHAN] == 1 && (traj->n[KR_X] == 2 || traj->n[KR_X] == 3);    /* coordinates along the first axis */
    kr_scoped(array) turned = leading ? kr_array_rename(traj, KR_X, KR_CHAN) : kr_array_ref(traj);
    kr_scoped(array) k = !turned ? NULL : leading && turned->type == KR_C32 ? real_of(turned) : coordinates_of(turned);
    if (!k)
        return kr_error_code() ? kr_error_code() : kr_fail(KR_ESHAPE, "a trajectory %s of complex numbers has kx and ky in one; further coordinates have no place", kr_shape_text(kr_array_shape(traj)));
    kr_scoped(array) own = k->n[KR_SAMPLE] > 1 ? kr_array_packed(k) : renamed(k, leading ? y_first : x_first, to, 2);
    bool named;
    kr_scoped(array) data = readouts(s, &named);
    if (!own || !data)
        return kr_error_code();
    if (own->n[KR_SAMPLE] != data->n[KR_SAMPLE] || own->n[KR_VIEW] != data->n[KR_VIEW])
        return kr_fail(KR_ESHAPE, "the trajectory has %ld samples of %ld views, the data %ld of %ld", own->n[KR_SAMPLE], own->n[KR_VIEW], data->n[KR_SAMPLE],
                       data->n[KR_VIEW]);
    if (!named)
        memset(s->enc.encoded, 0, sizeof s->enc.encoded);      /* counted samples and views */
    kr_array_unref(&s->data);
    kr_array_unref(&s->traj);
    kr_array_unref(&s->mask);
    kr_array_unref(&s->density);
    s->data = kr_array_ref(data);
    s->traj = kr_array_ref(own);
    s->traj_unit = NULL;
    s->shape = kr_array_shape(data);
    return 0;
}

int kr_scan_make_trajectory(kr_scan *s, const char *spec, const long n[3])
{
    bool named;
    kr_scoped(array) data = readouts(s, &named);
    if (!data)
        return kr_error_code();
    kr_traj_want want = { .samples = data->n[KR_SAMPLE], .views = data->n[KR_VIEW], .frames = data->n[KR_TIME] };
    for (int d = 0; d < 3; d++) {
        want.n[d] = n ? n[d] : !named ? 0 : s->enc.encoded[d] > 1 ? s->enc.encoded[d] : s->enc.recon[d];
        want.fov_mm[d] = s->enc.encoded_mm[d] > 0 ? s->enc.encoded_mm[d] : s->enc.recon_mm[d];
    }
    kr_scoped(array) k = kr_traj_new(spec, &want);
    if (!k || kr_scan_attach_trajectory(s, k))
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        s->enc.encoded[d] = d < k->n[KR_CHAN] ? want.n[d] : 1;
    s->traj_unit = kr_traj_units[PER_FOV];
    return 0;
}

int kr_scan_attach_density(kr_scan *s, const kr_array *density)
{
    kr_shape shape = kr_shape_without(kr_array_shape(s->traj), KR_ON(KR_CHAN));
    kr_scoped(array) w = density->type == KR_C32 ? real_of(density) : kr_array_packed(density);
    if (!w)
        return kr_error_code();
    long n = kr_count(shape);
    if (kr_count(kr_array_shape(w)) != n)
        return kr_fail(KR_ESHAPE, "density compensation %s for a trajectory %s: one number for each sample is wanted", kr_shape_text(kr_array_shape(density)), kr_shape_text(shape));
    kr_array *own = kr_array_new(KR_R32, shape);
    bool some = !own;
    for (long i = 0; own && i < n; i++) {
        KR_R(own)[i] = KR_R(w)[i];
        some |= KR_R(w)[i] > 0;
        if (!(KR_R(w)[i] >= 0 && isfinite(KR_R(w)[i]))) {
            kr_array_unref(&own);
            return kr_fail(KR_ENUMBER, "density compensation of sample %ld is %g: numbers of 0 and more are wanted", i, (double)KR_R(w)[i]);
        }
    }
    if (!some) {
        kr_array_unref(&own);
        return kr_fail(KR_ENUMBER, "density compensation is 0 everywhere");
    }
    kr_array_unref(&s->density);
    s->density = own;
    return own ? 0 : kr_error_code();
}

/* ---- Another field of view ---- */
int kr_scan_widen(kr_scan *s, const double mm[3])
{
    kr_encoding *e = &s->enc;
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--fov is for scans along a trajectory; this one is on a grid");
    bool stated = e->encoded_mm[0] > 0 || e->recon_mm[0] > 0;        /* by the file */
    for (int d = 0; d < 3 && !stated; d++)
        e->encoded_mm[d] = e->recon_mm[d] = mm[d];
    if (kr_scan_trajectory(s, NULL) || !stated)
        return kr_error_code();
    kr_scoped(array) k = kr_array_copy(s->traj);
    if (!k)
        return kr_error_code();
    for (int d = 0; d < k->n[KR_CHAN]; d++) {
        double have = e->encoded_mm[d] > 0 ? e->encoded_mm[d] : e->recon_mm[d], voxel = have / (double)e->encoded[d];
        long n = mm[d] > 0 ? lround(mm[d] / voxel) : 0;
        if (!mm[d])
            continue;
        if (!(mm[d] > 0 && n >= 2 && n <= 8192))
            return kr_fail(KR_EUSAGE, "--fov: %g mm along %s are %ld voxels of %.4g mm; 2 to 8192 are wanted", mm[d], kr_axis_name(d), n, voxel);
        if (n > e->encoded[d]) {
            kr_scoped(array) axis = kr_array_at(k, KR_CHAN, d);
            if (!axis)
                return kr_error_code();
            kr_scale(axis, (float)((double)n / (double)e->encoded[d]));
            e->encoded[d] = n;
            e->encoded_mm[d] = voxel * (double)n;
        }
        e->recon[d] = n;
        e->recon_mm[d] = voxel * (double)n;
    }
    kr_array_unref(&s->traj);
    kr_array_unref(&s->density);
    s->traj = kr_array_ref(k);
    return 0;
}

/* The first even length from n on without prime factors above 7, which transforms are quick at. */
static long quick(long n)
{
    static const long primes[] = { 2, 3, 5, 7 };
    for (n += n % 2;; n += 2) {
        long left = n;
        for (size_t p = 0; p < sizeof primes / sizeof *primes; p++)
            while (left % primes[p] == 0)
                left /= primes[p];
        if (left == 1)
            return n;
    }
}

int kr_scan_surround(kr_scan *s, double times, double *grown)
{
    kr_encoding *e = &s->enc;
    if (!s->traj || s->traj->n[KR_CHAN] != 2)
        return kr_fail(KR_EREFUSED, "a plane along a trajectory is wanted");
    kr_scoped(array) k = kr_array_copy(s->traj);
    if (!k)
        return kr_error_code();
    *grown = 1;
    for (int d = 0; d < 2; d++) {
        kr_scoped(array) axis = kr_array_at(k, KR_CHAN, d);
        if (!axis)
            return kr_error_code();
        long n = quick(lround(times * (double)e->encoded[d]));
        double by = (double)n / (double)e->encoded[d];
        if (!(e->recon[d] > 0)) {
            e->recon[d] = e->encoded[d];
            e->recon_mm[d] = e->encoded_mm[d];
        }
        kr_scale(axis, (float)by);
        e->encoded[d] = n;
        e->encoded_mm[d] *= by;
        *grown *= sqrt(by);
    }
    kr_array_unref(&s->traj);
    kr_array_unref(&s->density);
    s->traj = kr_array_ref(k);
    return 0;
}

enum { ACROSS = 24, WIDE = 36, MARGIN = 2 };    /* pixels of the image, and of one 1.5 times as wide */

int kr_scan_outside(double *part, const kr_scan *s)
{
    const double widen = (double)WIDE / ACROSS, R = .5 * ACROSS;
    kr_shape frames = kr_shape_without(s->shape, readout | KR_ON(KR_COIL));
    long points = s->traj->n[KR_SAMPLE] * s->traj->n[KR_VIEW], f = s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] / 2 : 0, kept = 0;    /* SLICE is the first of the frames */
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    *part = -1;
    if (s->traj->n[KR_CHAN] != 2 || (double)s->enc.encoded[0] < 2 * R || (double)s->enc.encoded[1] < 2 * R)
        return 0;
    kr_scoped(array) data = kr_array_packed(s->data);
    kr_auto float *k = kr_alloc((size_t)points, 2 * sizeof *k);
    kr_auto long *at = kr_alloc((size_t)points, sizeof *at);
    kr_auto kr_cfloat *y = kr_alloc((size_t)points, sizeof *y), *x = kr_alloc(WIDE * WIDE, sizeof *x);
    if (!data || !k || !at || !y || !x)
        return kr_error_code();
    unsigned char cell[WIDE + 1][WIDE + 1] = { { 0 } };      /* each 1 / 1.5 cycles wide: what the wider image asks for */
    const float *from = KR_R(s->traj) + kr_array_offset(s->traj, frames, f), *w = KR_R(s->density) + kr_array_offset(s->density, frames, f);
    for (long i = 0; i < points; i++) {
        double a = from[i], b = from[i + s->traj->step[KR_CHAN]];
        if (hypot(a, b) >= R)
            continue;
        cell[lround(widen * b) + WIDE / 2][lround(widen * a) + WIDE / 2] = 1;
        k[kept] = (float)(widen * a);
        k[points + kept] = (float)(widen * b);
        at[kept++] = i;
    }
    long wanted = 0, held = 0;
    for (long i = 0; i <= WIDE; i++)
        for (long j = 0; j <= WIDE; j++)
            if (hypot((double)(i - WIDE / 2), (double)(j - WIDE / 2)) < WIDE / 2 - 1) {
                wanted++;
                held += cell[i][j];
            }
    if ((double)held < .97 * (double)wanted)
        return 0;
    const float *const axes[3] = { k, k + points, NULL };
    const long n[3] = { WIDE, WIDE, 1 };
    kr_nufft *p = kr_nufft_new(n, kept, axes, 1, 1e-2);
    if (!p)
        return kr_error_code();
    double all = 0, out = 0;
    for (long c = 0; c < coils; c++) {
        const kr_cfloat *d = KR_C(data) + kr_array_offset(data, frames, f) + c * points;
        for (long i = 0; i < kept; i++) {
            double r = hypot((double)k[i], (double)k[points + i]) / widen / R;
            y[i] = d[at[i]] * (w[at[i]] * (float)(.5 + .5 * cos(M_PI * r)));       /* no ringing */
        }
        kr_nufft_adjoint(p, x, y, 1);
        for (long i = 0; i < WIDE * WIDE; i++) {
            long far = labs(i % WIDE - WIDE / 2) > labs(i / WIDE - WIDE / 2) ? labs(i % WIDE - WIDE / 2) : labs(i / WIDE - WIDE / 2);
            all += (double)kr_cabs2(x[i]);
            out += far > ACROSS / 2 + MARGIN ? (double)kr_cabs2(x[i]) : 0;
        }
    }
    kr_nufft_unref(&p);
    *part = all > 0 ? out / all : -1;
    return 0;
}

struct turn { kr_cfloat *y; const kr_array *data, *k; kr_shape frames; double cycles[3]; };      /* per cycle per field of view */

/* One readout of one frame and coil. */
static int turn_view(void *self, long i)
{
    const struct turn *t = self;
    long n = t->data->n[KR_SAMPLE], views = t->data->n[KR_VIEW], v = i % views, coils = t->data->n[KR_COIL], f = i / (views * coils);
    const float *k = KR_R(t->k) + kr_array_offset(t->k, t->frames, f) + v * n;
    kr_cfloat *y = t->y + kr_array_offset(t->data, t->frames, f) + (i / views % coils * views + v) * n;
    for (long s = 0; s < n; s++) {
        double turns = 0;
        for (int d = 0; d < t->k->n[KR_CHAN]; d++)
            turns += (double)k[s + d * t->k->step[KR_CHAN]] * t->cycles[d];
        y[s] = kr_cmul(y[s], kr_c((float)cos(2 * M_PI * turns), (float)sin(2 * M_PI * turns)));
    }
    return 0;
}

int kr_scan_shift(kr_scan *s, const double mm[3])
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--fov-shift is for scans along a trajectory; this one is on a grid");
    if (kr_scan_trajectory(s, NULL))
        return kr_error_code();
    kr_scoped(array) k = kr_array_packed(s->traj);
    kr_scoped(array) y = kr_array_copy(s->data);
    kr_scoped(geom) placed = kr_scan_image_geom(s);
    if (!k || !y || !placed)
        return kr_error_code();
    struct turn t = { KR_C(y), y, k, kr_shape_without(s->shape, readout | KR_ON(KR_COIL)), { 0 } };
    for (int d = 0; d < 3; d++) {
        double fov = s->enc.encoded_mm[d] > 0 ? s->enc.encoded_mm[d] : s->enc.recon_mm[d];
        if (mm[d] != 0 && d >= k->n[KR_CHAN])
            return kr_fail(KR_EUSAGE, "--fov-shift: slices do not move along %s, which the trajectory does not encode", kr_axis_name(d));
        if (mm[d] != 0 && !(fov > 0))
            return kr_fail(KR_EREFUSED, "--fov-shift wants the field of view, which the file does not tell: give it (--fov X,Y[,Z])");
        t.cycles[d] = mm[d] != 0 ? mm[d] / fov : 0;
    }
    int e = kr_for(kr_count(s->shape) / s->shape.n[KR_SAMPLE], turn_view, &t);
    if (e)
        return e;
    for (long i = 0; i < s->geom->slices; i++)
        for (int c = 0; c < 3; c++)
            s->geom->position_mm[i][c] += mm[0] * placed->read_dir[c] + mm[1] * placed->phase_dir[c] + mm[2] * placed->slice_dir[c];
    kr_array_unref(&s->data);
    s->data = kr_array_ref(y);
    return 0;
}

void kr_trj_replace(kr_scan *s, kr_array *data, kr_array *traj)
{
    kr_array_unref(&s->data);
    kr_array_unref(&s->traj);
    kr_array_unref(&s->density);
    s->data = kr_array_ref(data);
    s->traj = kr_array_ref(traj);
    s->shape = kr_array_shape(data);
}

/* ---- A series from readouts that went on turning ---- */
/* {VIEW = V} as {VIEW = views, TIME = V / views}. */
static kr_array *in_frames(const kr_array *a, long views, long frames)
{
    kr_shape shape = kr_array_shape(a);
    shape.n[KR_VIEW] = views;
    shape.n[KR_TIME] = frames;
    kr_array *out = kr_array_new(a->type, shape);
    for (long f = 0; out && f < frames; f++) {
        kr_scoped(array) from = kr_array_range(a, KR_VIEW, f * views, views);
        kr_scoped(array) to = kr_array_at(out, KR_TIME, f);
        if (!from || !to) {
            kr_array_unref(&out);
            break;
        }
        kr_array_assign(to, from);
    }
    return out;
}

int kr_scan_frames(kr_scan *s, long views, const kr_trace *trace)
{
    long all = s->shape.n[KR_VIEW], frames = views > 0 ? all / views : 0;
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--spokes is for scans along a trajectory; this one is on a grid");
    if (s->shape.n[KR_TIME] > 1)
        return kr_fail(KR_EREFUSED, "the scan is a series of %ld frames already, which --spokes cannot divide further", s->shape.n[KR_TIME]);
    if (frames < 1)
        return kr_fail(KR_EUSAGE, "--spokes %ld: from 1 to the %ld readouts of the scan are wanted", views, all);
    kr_scoped(array) data = in_frames(s->data, views, frames);
    kr_scoped(array) traj = data ? in_frames(s->traj, views, frames) : NULL;
    if (!traj)
        return kr_error_code();
    if (all % views)
        kr_say(trace, KR_INFO, "%ld frames of %ld readouts; the last %ld readouts are left out", frames, views, all % views);
    kr_trj_replace(s, data, traj);
    return 0;
}

/* ---- What a trajectory is like ---- */
/* Straight, and within half a cycle of the centre: 1 from edge to edge, 2 outwards from the centre, 0 otherwise. */
static int spoke_of(const kr_array *k, long v)
{
    long n = k->n[KR_SAMPLE], all = kr_count(kr_array_shape(k)) / k->n[KR_CHAN];
    double a[3] = { 0 }, b[3] = { 0 }, dot = 0, size = 0, off = 0, bend = 0;
    for (long d = 0; d < k->n[KR_CHAN]; d++) {
        const float *at = KR_R(k) + d * all + v * n;
        a[d] = at[0];
        b[d] = (double)at[n - 1] - a[d];
        dot += a[d] * b[d];
        size += b[d] * b[d];
        bend = fmax(bend, fabs((double)at[n / 3] - a[d] - b[d] * (double)(n / 3) / (double)(n > 1 ? n - 1 : 1)));
    }
    double along = size > 0 ? -dot / size : -1;
    for (long d = 0; d < k->n[KR_CHAN]; d++)
        off += pow(a[d] + b[d] * along, 2);
    return !(size > 0) || sqrt(off) > .6 || bend > .2 || along < -.02 || along > .6 ? 0 : along < .1 ? 2 : 1;
}

int kr_traj_describe(kr_traj_facts *f, const kr_scan *s)
{
    *f = (kr_traj_facts){ 0 };
    kr_scan own = *s;
    own.traj = s->traj ? kr_array_packed(s->traj) : NULL;
    double before = own.traj && !s->traj_unit ? kr_max_abs(own.traj) : 0;
    int e = own.traj ? kr_scan_trajectory(&own, NULL) : kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "there are no k-space positions");
    kr_array *k = own.traj;
    if (!e) {
        long n = k->n[KR_SAMPLE], all = kr_count(kr_array_shape(k)) / k->n[KR_CHAN], cells = 1, held = 0, inside = 0;
        double ratio = before > 0 ? kr_max_abs(k) / before : 0, most = 0;
        f->unit = s->traj_unit ? words[unit_of(s->traj_unit)] : ratio < 1.5 ? "cycles per field of view" : ratio > (double)own.enc.encoded[0] / 2 ? "cycles per sample" : "radians per sample";
        f->dims = (int)k->n[KR_CHAN];
        f->samples = n;
        f->views = k->n[KR_VIEW];
        f->frames = all / (n * f->views);
        for (long d = 0; d < f->dims; d++) {
            for (long i = 0; i < all; i++)
                f->largest[d] = fmax(f->largest[d], fabs((double)KR_R(k)[d * all + i]));
            f->n[d] = own.enc.encoded[d];
            cells *= f->n[d] + 1;
            most = fmax(most, (double)f->n[d]);
        }
        int kind = spoke_of(k, 0);
        for (long v = 1; v < f->views && kind; v++)
            kind = spoke_of(k, v) == kind ? kind : 0;
        f->spokes = kind;
        f->full = kind ? (f->dims == 2 ? M_PI / 2 * most : M_PI / 2 * most * most) * kind : 0;
        /* Of the cells of one cycle within the ellipse (of the largest k), those that hold a sample of the first frame. */
        kr_auto unsigned char *cell = cells > 0 && cells < 1L << 30 ? kr_alloc_zero((size_t)cells, 1) : NULL;
        for (long i = 0; cell && i < n * f->views; i++) {
            long at = 0;
            for (long d = f->dims - 1; d >= 0; d--) {
                long c = lround((double)KR_R(k)[d * all + i]) + f->n[d] / 2;
                at = at * (f->n[d] + 1) + (c < 0 ? 0 : c > f->n[d] ? f->n[d] : c);
            }
            cell[at] = 1;
        }
        for (long i = 0; cell && i < cells; i++) {
            double r = 0;
            long at = i;
            for (long d = 0; d < f->dims; d++) {
                long c = at % (f->n[d] + 1) - f->n[d] / 2;
                at /= f->n[d] + 1;
                r += f->largest[d] > 0 ? pow((double)c / f->largest[d], 2) : 0;
            }
            if (r > 1)
                continue;
            inside++;
            held += cell[i];
        }
        f->covered = cell && inside ? (double)held / (double)inside : NAN;
    }
    kr_array_unref(&own.traj);
    return e;
}

void kr_traj_facts_text(kr_text *t, const kr_traj_facts *f)
{
    kr_text_add(t, "%ld %s of %ld samples%s, k up to %.4g x %.4g", f->views, f->spokes == 1 ? "spokes through the centre" : f->spokes == 2 ? "spokes from the centre" : "readouts",
                f->samples, f->frames > 1 ? " a frame" : "", f->largest[0], f->largest[1]);
    if (f->dims == 3)
        kr_text_add(t, " x %.4g", f->largest[2]);
    kr_text_add(t, " cycles per field of view (in the file %s)", f->unit);
    if (f->full > 0)
        kr_text_add(t, f->full > 1.05 * (double)f->views ? "; full sampling takes %.0f, %.3g times as many" : "; full sampling takes %.0f", ceil(f->full), f->full / (double)f->views);
    else if (isfinite(f->covered))
        kr_text_add(t, "; samples in %.3g %% of the cells of one cycle", 100 * f->covered);
}
