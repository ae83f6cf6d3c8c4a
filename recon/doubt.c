/* doubt.c: how well a learned image agrees with the samples, and how much it changes where some of them are left out. */
#include "doubt.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
/* Of the error that samples left out tell, so much is spread evenly over what coils see, the rest as the images differ; and its deviation is larger than the true one by so much, since samples
 * are further from those that were measured where others are left out: both by one scan (T1 brain, 7 coils), docs/figures/networks.md. */
static const double evenly = 0.5, share = 0.8;
static const uint64_t seed = 1176;

/* ---- Samples ---- */
struct look { kr_net *net; const around_job *job; kr_array *map; double rr, yy; };

/* Runs the network, and looks at what it was given and what it made. */
static int take(void *self, kr_cfloat *image, const kr_net_input *in)
{
    struct look *l = self;
    long n = in->h * in->w;
    if (kr_net_run(l->net, image, in, NULL))
        return kr_error_code();
    if (!in->kspace || !in->sens)
        return kr_fail(KR_EREFUSED, "--residual: the network %s makes its own coil maps, by which its image cannot be compared with samples", l->job->kind->name);
    kr_scoped(array) k = kr_array_new(KR_C32, KR_SHAPE([KR_X] = in->w, [KR_Y] = in->h, [KR_COIL] = in->coils));
    if (!k)
        return kr_error_code();
    for (long i = 0; i < n * in->coils; i++)
        KR_C(k)[i] = kr_cmul(in->sens[i], image[i % n]);
    if ((!in->centred && uncentred(k, AROUND_IMAGE, true)) || kr_fourier(k, xy) || (!in->centred && uncentred(k, AROUND_KSPACE, false)))
        return kr_error_code();
    for (long i = 0; i < n * in->coils; i++) {
        kr_cfloat r = in->mask[i % n] != 0 ? KR_C(k)[i] - in->kspace[i] : kr_c(0, 0);
        KR_C(k)[i] = r;
        l->rr += (double)kr_cabs2(r);
        l->yy += in->mask[i % n] != 0 ? (double)kr_cabs2(in->kspace[i]) : 0;
    }
    if ((!in->centred && uncentred(k, AROUND_KSPACE, true)) || kr_fourier_inverse(k, xy))
        return kr_error_code();
    kr_array_unref(&l->map);
    l->map = kr_rss(k, KR_COIL);
    return l->map ? 0 : kr_error_code();
}

int doubt_residual(kr_array *z, kr_array *residual, double *rr, double *yy, slice *s, kr_net *net, const around *about, const around_job *job, long i)
{
    struct look l = { .net = net, .job = job };
    double raw = kr_dot_re(s->k, s->k);
    kr_net *between = kr_net_stand_in(job->kind, take, &l);
    int e = between ? about->slice(z, s, between, job, i) : kr_error_code();
    if (!e && (l.map->n[KR_X] != residual->n[KR_X] || l.map->n[KR_Y] != residual->n[KR_Y]))
        e = kr_fail(KR_EREFUSED, "--residual: the configuration crops the images, whose samples are then others than those measured");
    if (!e) {
        kr_scale(l.map, (float)sqrt(l.yy > 0 ? raw / l.yy : 0));
        kr_array_assign(residual, l.map);
        *rr = l.rr;
        *yy = l.yy;
    }
    kr_array_unref(&l.map);
    kr_net_unref(&between);
    return e;
}

int doubt_residual_of(kr_array *residual, double *part, const kr_scan *scan, const kr_array *coils, const kr_array *image)
{
    kr_scoped(array) y = NULL;
    if (kr_samples_of(&y, scan, coils, image))
        return kr_error_code();
    kr_axpy(y, -1, scan->data);
    double rr = kr_dot_re(y, y), yy = kr_dot_re(scan->data, scan->data);
    kr_scoped(array) map = kr_fourier_inverse(y, kr_in_kspace(scan)) ? NULL : kr_rss(y, KR_COIL);
    if (!map)
        return kr_error_code();
    kr_array_assign(residual, map);
    *part = yy > 0 ? sqrt(rr / yy) : 0;
    return 0;
}

int doubt_residual_told(kr_image *im, double part, const char *path, const kr_trace *trace)
{
    kr_say(trace, KR_INFO, "the image's samples are %.2f %% off those measured: %s", 100 * part, path);
    return kr_meta_set(im->meta, "kray_residual", "%.4g", part);
}

/* ---- Masks ---- */
/* What is left out of a mask {X,Y} outside of its fully sampled centre, part by part: lines along an axis along which the mask does not change, points otherwise. fold: the part of each
 * point, -1: it stays, or was not measured. How many parts; 0: nothing lies outside. */
struct unit { double chance; long which; };

static int by_chance(const void *p, const void *q)
{
    const struct unit *a = p, *b = q;
    return a->chance != b->chance ? (a->chance > b->chance) - (a->chance < b->chance) : (a->which > b->which) - (a->which < b->which);
}

static int fold_of(int *fold, const kr_array *mask, const kr_mask_facts *f, uint64_t stream)
{
    long nx = mask->n[KR_X], ny = mask->n[KR_Y], count = 0;
    bool along[2] = { true, true };
    const float *m = KR_R(mask);
    kr_auto struct unit *unit = kr_alloc((size_t)(nx * ny), sizeof *unit);
    kr_auto int *part = kr_alloc((size_t)(nx * ny), sizeof *part);
    if (!unit || !part)
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++) {
        along[0] &= m[i] == m[i - i % nx];
        along[1] &= m[i] == m[i % nx];
        part[i] = -1;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (long i = 0; i < nx * ny; i++) {
            long x = i % nx, y = i / nx, which = (along[1] ? 0 : y) * nx + (along[0] ? 0 : x);
            bool inside = (along[0] || (x >= f->centre_from[0] && x < f->centre_from[0] + f->centre[0])) && (along[1] || (y >= f->centre_from[1] && y < f->centre_from[1] + f->centre[1]));
            fold[i] = m[i] != 0 && !inside ? part[which] : -1;
            if (!pass && m[i] != 0 && !inside && which == i)
                unit[count++] = (struct unit){ kr_rand_uniform(seed, stream, (uint64_t)which), which };
        }
        qsort(unit, (size_t)count, sizeof *unit, by_chance);
        for (long k = 0; k < count; k++)
            part[unit[k].which] = (int)(k % DOUBT_MASKS);
    }
    return count < DOUBT_MASKS ? (int)count : DOUBT_MASKS;
}

/* ---- How wrong ---- */
/* RINGS of k-space about its centre: the energy of errors in samples that were left out, and how many there were. */
enum { RINGS = 16 };
typedef struct rings { double sum[RINGS], count[RINGS]; } rings;

static int ring(long i, long nx, long ny)
{
    double r = hypot((double)(i % nx - nx / 2) / (double)nx, (double)(i / nx - ny / 2) / (double)ny) * 2 * RINGS / 1.2;
    return r < RINGS - 1 ? (int)r : RINGS - 1;
}

static double in_ring(const rings *e, int r)
{
    for (int d = 0; d < RINGS; d++) {
        if (r - d >= 0 && e->count[r - d] > 0)
            return e->sum[r - d] / e->count[r - d];
        if (r + d < RINGS && e->count[r + d] > 0)
            return e->sum[r + d] / e->count[r + d];
    }
    return 0;
}

/* The samples {X,Y,COIL} of an image {X,Y}, of the size of those measured: the factor is found by the samples where `given` is not 0. */
static kr_array *samples_of(const kr_array *z, const kr_array *maps, const kr_array *data, const kr_array *given, double *factor)
{
    kr_array *k = kr_array_like(data);
    double kd = 0, kk = 0;
    long n = data->n[KR_X] * data->n[KR_Y], all = n * data->n[KR_COIL];
    for (long i = 0; k && i < all; i++)
        KR_C(k)[i] = kr_cmul(KR_C(maps)[i], KR_C(z)[i % n]);
    if (!k || kr_fourier(k, xy)) {
        kr_array_unref(&k);
        return NULL;
    }
    for (long i = 0; i < all; i++)
        if (KR_R(given)[i % n] != 0) {
            kd += (double)(kr_re(KR_C(k)[i]) * kr_re(KR_C(data)[i]) + kr_im(KR_C(k)[i]) * kr_im(KR_C(data)[i]));
            kk += (double)kr_cabs2(KR_C(k)[i]);
        }
    *factor = kk > 0 ? kd / kk : 0;
    return k;
}

static double off(const kr_array *k, const kr_array *data, double factor, long i)
{
    double sum = 0;
    for (long n = data->n[KR_X] * data->n[KR_Y], q = i; q < n * data->n[KR_COIL]; q += n)
        sum += (double)kr_cabs2((float)factor * KR_C(k)[q] - KR_C(data)[q]);
    return sum;
}

/* Means over 5 x 5 points, twice: ten images tell little of one point. */
static int smoothed(double *v, long nx, long ny)
{
    enum { HALF = 2 };
    kr_auto double *w = kr_alloc((size_t)(nx * ny), sizeof *w);
    for (int pass = 0; w && pass < 4; pass++) {
        long step = pass % 2 ? nx : 1, n = pass % 2 ? ny : nx;
        memcpy(w, v, (size_t)(nx * ny) * sizeof *w);
        for (long i = 0; i < nx * ny; i++) {
            long at = pass % 2 ? i / nx : i % nx;
            double sum = 0, count = 0;
            for (long d = -HALF; d <= HALF; d++)
                if (at + d >= 0 && at + d < n) {
                    sum += w[i + d * step];
                    count++;
                }
            v[i] = sum / count;
        }
    }
    return w ? 0 : kr_error_code();
}

/* Of a sample: the energy of the noise of all coils but one. Not known: 0. Negative: failed. *most: it may be less, since outermost samples hold more than noise. */
static double noise_of(bool *most, const kr_scan *part)
{
    double sigma = kr_noise_sigma(part, NULL), beside = sigma > 0 ? kr_noise_beside(part) : 0;
    if ((sigma < 0 || beside < 0) && kr_error_code() == KR_EMEM)
        return -1;
    if (sigma <= 0 || beside < 0)
        kr_error_clear();                                    /* nothing is measured far out */
    *most = !part->whitened && beside <= 0;
    sigma = beside > 0 ? fmin(sigma, beside) : fmax(sigma, 0);
    return 2 * sigma * sigma * (double)(part->data->n[KR_COIL] - 1);
}

/* Of what is off in a sample over all coils, the part that the image combined by coil maps shows of it: of the noise of the sample itself one coil's worth, of which `noise` is left out;
 * at least one coil's worth of all. */
static double combined(double e, double noise, long coils) { return fmax(e - noise, e / (double)coils); }

/* The energy of the image's error, in its own units squared: as much in each sample that was not measured as in those left out about as far from the centre, and what is off where
 * samples were measured. noise: of a sample, of all coils but one; most: it is no larger, nor than what is off where samples were measured, which an image without noise does not fit. */
static int wrong(double *energy, double noise, bool most, const rings *e, const kr_array *full, const kr_array *maps, const kr_array *data, const kr_array *mask, const kr_mask_facts *f)
{
    double factor, sum = 0, given = 0, fit = 0;
    long nx = data->n[KR_X], ny = data->n[KR_Y], coils = data->n[KR_COIL];
    kr_scoped(array) k = samples_of(full, maps, data, mask, &factor);
    if (!k)
        return kr_error_code();
    for (long i = 0; most && i < nx * ny; i++)
        if (KR_R(mask)[i] != 0) {
            fit += off(k, data, factor, i);
            given++;
        }
    if (most && given > 0)
        noise = fmin(noise, fit / given * (double)(coils - 1) / (double)coils);
    for (long i = 0; i < nx * ny; i++)
        if (KR_R(mask)[i] != 0)
            sum += combined(off(k, data, factor, i), noise, coils);
        else if (2 * labs(i % nx - nx / 2) <= f->encoded[0] && 2 * labs(i / nx - ny / 2) <= f->encoded[1])
            sum += combined(in_ring(e, ring(i, nx, ny)), noise, coils);
    *energy = factor > 0 ? sum / (factor * factor) : 0;
    return 0;
}

int doubt_spread(kr_array *spread, bool *measured, const kr_array *full, doubt_image run, void *self, bool comparable, const kr_scan *scan, const kr_array *coils, long i)
{
    kr_scan part = { 0 };
    kr_mask_facts f;
    rings e_of = { { 0 }, { 0 } };
    long nx = spread->n[KR_X], ny = spread->n[KR_Y], n = nx * ny;
    int parts = 0;
    kr_auto double *sum = kr_alloc_zero((size_t)(2 * n), sizeof *sum);
    int e = sum ? kr_part_open(&part, scan, kr_problem_axes, i) : kr_error_code();
    kr_shape plane = KR_SHAPE([KR_X] = e ? 1 : part.data->n[KR_X], [KR_Y] = e ? 1 : part.data->n[KR_Y]);
    kr_auto int *fold = e ? NULL : kr_alloc((size_t)kr_count(plane), sizeof *fold);
    kr_scoped(array) found = e ? NULL : kr_scan_mask(&part);
    kr_scoped(array) wide = found ? kr_array_spread(found, plane) : NULL;
    kr_scoped(array) mask = wide ? kr_array_copy(wide) : NULL;
    kr_scoped(array) view = coils ? kr_part(coils, scan, i) : NULL;
    kr_scoped(array) maps = view ? kr_array_packed(view) : NULL;
    kr_scoped(array) data = e ? NULL : kr_array_copy(part.data);
    kr_scoped(array) image = full ? kr_array_packed(full) : NULL;
    e = e ? e : !fold || !mask || !data || !image || (coils && !maps) || kr_mask_describe(&f, mask, plane) ? kr_error_code() : 0;
    if (!e && scan->in_image)
        e = kr_fourier(data, scan->in_image);
    if (!e && (parts = fold_of(fold, mask, &f, (uint64_t)i)) < 2)
        e = parts < 0 ? parts : kr_fail(KR_EREFUSED, "--uncertainty leaves out samples outside of the fully sampled centre, and there are none, or only one");
    *measured = !e && comparable && maps && nx == plane.n[KR_X] && ny == plane.n[KR_Y] && kr_count(kr_array_shape(maps)) == kr_count(kr_array_shape(data));
    for (int k = 0; k < parts && !e; k++) {
        kr_scoped(array) less = kr_array_copy(mask);
        kr_scoped(array) rest = kr_array_copy(data);
        kr_scoped(array) z = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
        if (!less || !rest || !z) {
            e = kr_error_code();
            break;
        }
        for (long q = 0, points = kr_count(plane), all = kr_count(kr_array_shape(data)); q < all; q++)
            if (fold[q % points] == k) {
                KR_R(less)[q % points] = 0;
                KR_C(rest)[q] = kr_c(0, 0);
            }
        kr_scan one = part;
        one.data = rest;
        one.mask = less;
        one.in_image = 0;
        one.shape = kr_array_shape(rest);
        e = run(self, z, &one, maps);
        double factor = 0;
        kr_scoped(array) samples = e || !*measured ? NULL : samples_of(z, maps, data, less, &factor);
        e = e || samples || !*measured ? e : kr_error_code();
        for (long q = 0; samples && q < n; q++)
            if (fold[q] == k) {
                e_of.sum[ring(q, nx, ny)] += off(samples, data, factor, q);
                e_of.count[ring(q, nx, ny)]++;
            }
        for (long q = 0; q < n && !e; q++) {
            double a = sqrt((double)kr_cabs2(KR_C(z)[q]));
            sum[q] += a;
            sum[n + q] += a * a;
        }
    }
    for (long q = 0; !e && q < n; q++) {
        double mean = sum[q] / parts;
        sum[q] = fmax(0, sum[n + q] - parts * mean * mean) * (parts - 1) / parts;
    }
    e = e ? e : smoothed(sum, nx, ny);
    if (!e && *measured) {
        double energy = 0, of = 0, seen = 0;
        bool most;
        double noise = noise_of(&most, &part);
        e = noise < 0 ? kr_error_code() : wrong(&energy, noise, most, &e_of, image, maps, data, mask, &f);
        for (long q = 0; q < n; q++) {
            double u = 0;
            for (long c = q; c < n * data->n[KR_COIL]; c += n)
                u += (double)kr_cabs2(KR_C(maps)[c]);
            sum[n + q] = u > 0;
            of += u * sum[q];
            seen += u;
        }
        for (long q = 0; !e && q < n && seen > 0; q++)
            sum[q] = share * share * energy / 2 * ((of > 0 ? (1 - evenly) * sum[q] / of : 0) + (of > 0 ? evenly : 1) * sum[n + q] / seen);
    }
    kr_scoped(array) out = e ? NULL : kr_array_new(KR_R32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    for (long q = 0; out && q < n; q++)
        KR_R(out)[q] = (float)sqrt(sum[q]);
    if (out)
        kr_array_assign(spread, out);
    kr_part_close(&part);
    return e ? e : out ? 0 : kr_error_code();
}
