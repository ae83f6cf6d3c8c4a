/* noise.c: how noisy an image is, pixel by pixel: the same reconstruction of the scan with noise added again and again. */
#include "kray/fourier.h"
#include "kray/select.h"
#include "model.h"
#include <math.h>
#include <string.h>

/* ---- The noise of the samples ---- */
/* |k| of sample i of the data along a trajectory, over the largest along each axis. */
static double from_centre(const kr_scan *s, long i, const double largest[3])
{
    const kr_array *a = s->data, *k = s->traj;
    long at = 0;
    for (int d = 0; d < KR_AXES; d++)
        if (k->n[d] > 1 && d != KR_CHAN)
            at += i / a->step[d] % a->n[d] * k->step[d];
    double sum = 0;
    for (long c = 0; c < k->n[KR_CHAN]; c++) {
        double v = KR_R(k)[at + c * k->step[KR_CHAN]] / largest[c];
        sum += v * v;
    }
    return sqrt(sum);
}

static int largest_along(double largest[3], const kr_array *k)
{
    for (long c = 0; c < k->n[KR_CHAN]; c++) {
        kr_scoped(array) axis = kr_array_at(k, KR_CHAN, c);
        kr_scoped(array) packed = axis ? kr_array_packed(axis) : NULL;
        if (!packed)
            return kr_error_code();
        largest[c] = kr_max_abs(packed) > 0 ? kr_max_abs(packed) : 1;
    }
    return 0;
}

/* Median of |y| over the outermost tenth of the measured samples along each axis in k-space (of |k| along a trajectory), where there is next to no signal; that of
 * Gaussian noise with deviation s of real and imaginary part is s sqrt(2 log 2). */
static double outer_noise(const kr_scan *s)
{
    const kr_array *a = s->data;
    enum { MOST = 1 << 18 };
    long n = kr_count(kr_array_shape(a)), count = 0, every = n / MOST + 1;
    kr_auto float *v = kr_alloc((size_t)(n / every + 1), sizeof *v);
    double largest[3];
    if (!v || (s->traj && largest_along(largest, s->traj)))
        return -1;
    for (long i = 0; i < n; i += every) {
        bool outside = s->traj && from_centre(s, i, largest) > .9;
        for (int d = KR_X; d <= KR_Z; d++) {
            long x = a->n[d] > 1 ? i / a->step[d] % a->n[d] : 0;
            outside = outside || (a->n[d] >= 16 && !(s->in_image & KR_ON(d)) && (x < a->n[d] / 20 || x >= a->n[d] - a->n[d] / 20));
        }
        float m = kr_cabs2(KR_C(a)[i]);
        if (outside && m > 0)
            v[count++] = sqrtf(m);
    }
    if (count < 64) {
        kr_fail(KR_EREFUSED, "the noise cannot be told from these data, and the file holds no noise scan: give --sigma");
        return -1;
    }
    return kr_select(v, count, count / 2) / sqrt(2 * log(2));
}

double kr_noise_sigma(const kr_scan *s, const kr_trace *trace)
{
    if (!s->whitened) {
        double e = outer_noise(s);
        if (e > 0)
            kr_say(trace, KR_INFO, "no noise scan: from the outermost samples the noise is taken to be %.3g", e);
        return e;
    }
    return s->dwell_us > 0 && s->noise_dwell_us > 0 ? 1 : sqrt(0.5);      /* what kr_noise_whitener makes of it */
}

/* The images along whole readouts (x, k_y) have positions without signal, and the least power of any eighth of the field of view is that of the noise, or
 * more. The outermost samples tell more than the noise where a scan has fine detail: on one real brain 2.2 times as much. */
double kr_noise_beside(const kr_scan *part)
{
    long nx = part->data->n[KR_X], ny = part->data->n[KR_Y], wide = nx / 8, lines = 0, coils = part->data->n[KR_COIL];
    if (wide < 4 || part->in_image & (KR_ON(KR_X) | KR_ON(KR_Y)) || part->data->n[KR_Z] > 1 || part->traj || part->rays)
        return 0;
    kr_scoped(array) found = kr_scan_mask(part);
    kr_scoped(array) spread = found ? kr_array_spread(found, KR_SHAPE([KR_X] = nx, [KR_Y] = ny)) : NULL;
    kr_scoped(array) mask = spread ? kr_array_copy(spread) : NULL;
    if (!mask)
        return -1;
    kr_scoped(array) along = kr_array_copy(part->data);
    kr_auto double *power = kr_alloc_zero((size_t)nx, sizeof *power);
    if (!along || !power || kr_fourier_inverse(along, KR_ON(KR_X)))
        return -1;
    for (long y = 0; y < ny; y++) {
        for (long x = 0; x < nx; x++)
            if (KR_R(mask)[y * nx + x] != KR_R(mask)[y * nx])
                return 0;
        lines += KR_R(mask)[y * nx] != 0;
        for (long c = 0; c < coils; c++)
            for (long x = 0; x < nx; x++)
                power[x] += (double)kr_cabs2(KR_C(along)[(c * ny + y) * nx + x]);
    }
    double least = INFINITY;
    for (long x = 0; x + wide <= nx; x++) {
        double sum = 0;
        for (long k = 0; k < wide; k++)
            sum += power[x + k];
        least = fmin(least, sum);
    }
    return lines ? sqrt(least / (double)(2 * wide * lines * coils)) : 0;
}

/* ---- Replicas ---- */
struct add { const kr_cfloat *from; kr_cfloat *to; long n; double sigma; uint64_t seed, replica; };
enum { BLOCK = 4096 };

static int add_block(void *self, long b)
{
    const struct add *j = self;
    for (long i = b * BLOCK; i < j->n && i < (b + 1) * BLOCK; i++) {
        double z[2] = { 0, 0 };
        if (kr_cabs2(j->from[i]) > 0)                    /* measured */
            kr_rand_normal2(j->seed, j->replica, (uint64_t)i, z);
        j->to[i] = kr_c(kr_re(j->from[i]) + (float)(j->sigma * z[0]), kr_im(j->from[i]) + (float)(j->sigma * z[1]));
    }
    return 0;
}

/* The calibration lines as they are, apart from the data that noise is added to: kernels must not change with it. */
static int keep_calibration(kr_scan *s)
{
    const long all[3] = { 0, 0, 0 };
    kr_array *c = kr_calibration(s, all);
    if (!c) {
        kr_error_clear();                                /* a method that needs one will say so */
        return 0;
    }
    if (s->in_image && kr_fourier_inverse(c, s->in_image)) {
        kr_array_unref(&c);
        return kr_error_code();
    }
    s->calib = c;
    s->calib_mask = NULL;
    return 0;
}

/* Sums over the replicas of d and |d|^2, d the difference to the image without added noise. */
static void accumulate(double (*sum)[3], const kr_array *image, const kr_array *base)
{
    long n = kr_count(kr_array_shape(base)), parts = base->type == KR_C32 ? 2 : 1;
    const float *a = image->data, *b = base->data;
    for (long i = 0; i < n; i++)
        for (long k = 0; k < parts; k++) {
            double d = (double)a[i * parts + k] - (double)b[i * parts + k];
            sum[i][k] += d;
            sum[i][2] += d * d;
        }
}

static int replicate(kr_image **out, kr_scan *s, const kr_array *coils, const kr_noise *o, const kr_trace *trace)
{
    kr_scoped(image) base = NULL;
    kr_scoped(array) y = kr_array_copy(s->data);
    kr_array *data = s->data;
    if (!y || o->method->run(&base, s, coils, o->opts, trace))
        return kr_error_code();
    long n = kr_count(kr_array_shape(base->data)), parts = base->data->type == KR_C32 ? 2 : 1;
    kr_scoped(array) sd = kr_array_new(KR_R32, kr_array_shape(base->data));
    kr_auto double (*sum)[3] = kr_alloc_zero((size_t)n, sizeof *sum);
    struct add add = { KR_C(data), KR_C(y), kr_count(kr_array_shape(y)), o->sigma, o->seed, 0 };
    int e = sd && sum ? 0 : kr_error_code();
    s->data = y;
    for (long r = 0; !e && r < o->replicas; r++) {
        kr_scoped(image) im = NULL;
        add.replica = (uint64_t)r;
        e = kr_stopped(trace);
        if (!e)
            e = kr_for((add.n + BLOCK - 1) / BLOCK, add_block, &add);
        if (!e)
            e = o->method->run(&im, s, coils, o->opts, NULL);
        if (!e)
            accumulate(sum, im->data, base->data);
        kr_progress(trace, "replicas", (double)(r + 1), (double)o->replicas);
    }
    s->data = data;
    double m = (double)o->replicas;
    for (long i = 0; !e && i < n; i++) {
        double mean2 = sum[i][0] * sum[i][0] + sum[i][1] * sum[i][1];
        KR_R(sd)[i] = (float)sqrt(fmax(0, (sum[i][2] - mean2 / m) / (m - 1) / (double)parts));
    }
    if (!e && !(*out = kr_image_new(sd, base->geom, base->meta)))
        e = kr_error_code();
    return e;
}

/* A method whose image is the noise of another one's. */
static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    kr_scan s = *scan;                                   /* its own data and calibration lines */
    s.calib = NULL;
    kr_scan probe = *scan;
    if (keep_calibration(&probe))
        return kr_error_code();
    bool own = probe.calib != scan->calib;
    s.calib = probe.calib;
    s.calib_mask = probe.calib_mask;
    int e = replicate(out, &s, coils, opts, trace);
    if (own)
        kr_array_unref(&probe.calib);
    return e;
}

static int by_formula(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    const kr_noise *o = opts;
    int e = o->method->deviation ? o->method->deviation(out, scan, coils, o->opts, trace) : 1;
    if (e < 0)
        return e;
    if (e) {
        kr_noise replicas = *o;
        replicas.replicas = KR_REPLICAS;
        kr_say(trace, KR_INFO, "the noise of %s is not known in closed form for this scan: %d replicas", o->method->name, KR_REPLICAS);
        return run(out, scan, coils, &replicas, trace);
    }
    kr_say(trace, KR_INFO, "noise by formula");
    kr_scale((*out)->data, (float)o->sigma);
    return 0;
}

int kr_noise_map(kr_image **sd, kr_scan *scan, const kr_array *coils, const kr_coils_opts *coil_opts, const kr_noise *o, const kr_trace *trace)
{
    if (o->replicas < 0 || o->replicas == 1 || o->replicas > 1000000 || !(o->sigma > 0) || !isfinite(o->sigma))
        return kr_fail(KR_EREFUSED, "noise maps want 2 to 1000000 replicas (0: by formula) and a noise above 0, not %ld and %g", o->replicas, o->sigma);
    kr_recon m = *o->method;
    m.run = o->replicas ? run : by_formula;
    m.needs &= ~(unsigned)KR_TAKES_PRIOR;
    return kr_reconstruct(sd, scan, &m, o, NULL, coils, coil_opts, trace);
}

double kr_noise_accel(const kr_scan *s)
{
    kr_scoped(array) mask = kr_scan_mask(s);
    if (!mask)
        return -1;
    kr_mask_facts f;
    if (kr_mask_describe(&f, mask, s->shape))
        return -1;
    long depth = s->multiband.depth ? s->multiband.depth : 1;        /* slices together cost no noise as fewer lines do */
    return f.accel / (double)depth;
}
