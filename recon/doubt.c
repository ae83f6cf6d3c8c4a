/* doubt.c: how well a network's image agrees with the samples, and how much it changes where some of them are left out. */
#include "doubt.h"
#include "kray/fourier.h"
#include <math.h>
#include <string.h>

static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
static const double left_out = 0.2;
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

/* ---- Masks ---- */
/* Leaves samples out of a mask {X,Y}: lines along an axis along which it does not change, points otherwise. How many. */
static long thinned(kr_array *mask, const kr_mask_facts *f, uint64_t stream)
{
    long nx = mask->n[KR_X], ny = mask->n[KR_Y], gone = 0;
    bool along[2] = { true, true };
    float *m = KR_R(mask);
    for (long i = 0; i < nx * ny; i++) {
        along[0] &= m[i] == m[i - i % nx];
        along[1] &= m[i] == m[i % nx];
    }
    for (long i = 0; i < nx * ny; i++) {
        long x = i % nx, y = i / nx;
        bool inside = (along[0] || (x >= f->centre_from[0] && x < f->centre_from[0] + f->centre[0])) && (along[1] || (y >= f->centre_from[1] && y < f->centre_from[1] + f->centre[1]));
        long which = (along[1] ? 0 : y) * nx + (along[0] ? 0 : x);
        if (m[i] != 0 && !inside && kr_rand_uniform(seed, stream, (uint64_t)which) < left_out) {
            m[i] = 0;
            gone++;
        }
    }
    return gone;
}

int doubt_spread(kr_array *spread, kr_net *net, const around *about, const around_job *job, long i)
{
    kr_scan part = { 0 };
    kr_mask_facts f;
    long nx = spread->n[KR_X], ny = spread->n[KR_Y], gone = 0;
    kr_auto double *sum = kr_alloc_zero((size_t)(2 * nx * ny), sizeof *sum);
    int e = sum ? kr_part_open(&part, job->scan, kr_problem_axes, i) : kr_error_code();
    kr_shape plane = KR_SHAPE([KR_X] = e ? 1 : part.data->n[KR_X], [KR_Y] = e ? 1 : part.data->n[KR_Y]);
    kr_scoped(array) found = e ? NULL : kr_scan_mask(&part);
    kr_scoped(array) wide = found ? kr_array_spread(found, plane) : NULL;
    kr_scoped(array) mask = wide ? kr_array_copy(wide) : NULL;
    kr_scoped(array) view = job->coils ? kr_part(job->coils, job->scan, i) : NULL;
    kr_scoped(array) maps = view ? kr_array_packed(view) : NULL;
    e = e ? e : !mask || (job->coils && !maps) || kr_mask_describe(&f, mask, plane) ? kr_error_code() : 0;
    for (int k = 0; k < DOUBT_MASKS && !e; k++) {
        kr_scoped(array) less = kr_array_copy(mask);
        kr_scoped(array) data = kr_array_copy(part.data);
        kr_scoped(array) z = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
        slice s = { 0 };
        if (!less || !data || !z) {
            e = kr_error_code();
            break;
        }
        gone += thinned(less, &f, (uint64_t)(i * DOUBT_MASKS + k));
        if (job->scan->in_image && kr_fourier(data, job->scan->in_image)) {
            e = kr_error_code();
            break;
        }
        for (long q = 0, n = plane.n[KR_X] * plane.n[KR_Y], all = kr_count(kr_array_shape(data)); q < all; q++)
            if (KR_R(less)[q % n] == 0)
                KR_C(data)[q] = kr_c(0, 0);
        kr_scan one = part;
        one.data = data;
        one.mask = less;
        one.in_image = 0;
        one.shape = kr_array_shape(data);
        around_job own = { &one, maps, job->kind, job->facts, job->whole, NULL };
        e = slice_open(&s, &one, 0);
        e = e ? e : about->slice(z, &s, net, &own, 0);
        slice_clear(&s);
        for (long q = 0; q < nx * ny && !e; q++) {
            double a = sqrt((double)kr_cabs2(KR_C(z)[q]));
            sum[q] += a;
            sum[nx * ny + q] += a * a;
        }
    }
    if (!e && !gone)
        e = kr_fail(KR_EREFUSED, "--uncertainty leaves out samples outside of the fully sampled centre, and there are none");
    double by = sqrt((1 - left_out) / left_out);
    kr_scoped(array) out = e ? NULL : kr_array_new(KR_R32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    for (long q = 0; out && q < nx * ny; q++) {
        double mean = sum[q] / DOUBT_MASKS, var = (sum[nx * ny + q] - DOUBT_MASKS * mean * mean) / (DOUBT_MASKS - 1);
        KR_R(out)[q] = (float)(by * sqrt(fmax(0, var)));
    }
    if (out)
        kr_array_assign(spread, out);
    kr_part_close(&part);
    return e ? e : out ? 0 : kr_error_code();
}
