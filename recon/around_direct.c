/* around_direct.c: what DIRECT does around its networks: padding, scale, coil maps from calibration lines. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct facts { double percentile, gaussian, padding, likelihood; bool uncentred, disk, middle24; } facts;

/* DIRECT's padding: samples whose sum over coils of |k| is below eps times its mean are taken as never measured (as it does itself), and
 * are left out of the data, of the mask, and of the k-space that a network gives. DIRECT looks at fully sampled data, of which it
 * then drops lines; of what was not measured Kray knows what the file's header says, and that a readout sample is padding where it
 * is so in all measured lines. DIRECT given undersampled data would take all gaps for padding. */
static int pad(slice *s, const kr_scan *scan, double eps)
{
    long nx = s->nx, ny = s->ny, n = nx * ny, measured = 0;
    long left = (long)kr_meta_number(scan->meta, "padding_left", 0), right = (long)kr_meta_number(scan->meta, "padding_right", (double)ny);
    float *mask = KR_R(s->mask), *p = s->padding = eps > 0 ? kr_alloc_zero((size_t)n, sizeof *p) : NULL;
    if (eps <= 0)
        return 0;
    kr_auto double *sum = p ? kr_alloc_zero((size_t)n, sizeof *sum) : NULL;
    if (!sum)
        return kr_error_code();
    double mean = 0;
    for (long i = 0; i < n; i++) {
        for (long c = 0; c < s->coils; c++)
            sum[i] += sqrt((double)kr_cabs2(KR_C(s->k)[c * n + i]));
        mean += sum[i];
        measured += mask[i] != 0;
    }
    mean /= (double)(measured ? measured : 1);
    for (long x = 0; x < nx; x++) {
        bool none = true;
        for (long y = 0; y < ny; y++)
            none &= mask[y * nx + x] == 0 || sum[y * nx + x] < eps * mean;
        for (long y = 0; y < ny; y++) {
            long i = y * nx + x;
            p[i] = none || y < left || y >= right || (mask[i] != 0 && sum[i] < eps * mean);
        }
    }
    for (long i = 0; i < n; i++) {
        if (p[i] == 0)
            continue;
        mask[i] = 0;
        for (long c = 0; c < s->coils; c++)
            KR_C(s->k)[c * n + i] = 0;
    }
    return 0;
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* DIRECT: the number in place (1 - q) n + 1, counted from the largest, of |k|; coils that are all zero are skipped . */
static int percentile(slice *s, double q)
{
    long n = s->nx * s->ny, kept = 0;
    kr_auto float *v = kr_alloc((size_t)(n * s->coils), sizeof *v);
    if (!v)
        return kr_error_code();
    for (long c = 0; c < s->coils; c++) {
        double sum = 0;
        for (long i = 0; i < n; i++) {
            v[kept + i] = sqrtf(kr_cabs2(KR_C(s->k)[c * n + i]));
            sum += (double)v[kept + i];
        }
        kept += sum > 0 ? n : 0;
    }
    if (!kept)
        return kr_fail(KR_ENUMBER, "the k-space of a slice is all zero");
    qsort(v, (size_t)kept, sizeof *v, descending);
    s->scale = (double)v[(long)((1 - q) * (double)kept)];
    return s->scale > 0 ? 0 : kr_fail(KR_ENUMBER, "more than %g %% of the k-space of a slice is zero: its scale cannot be told", 100 * q);
}

/* DIRECT's estimate from the calibration lines: S = F^-1 (k acs g) / RSS, g = exp(-(u / width)^2), u from -1 to 1 over the phase
 * encodes ; width 0: g = 1. */
static int direct_maps(slice *s, double width)
{
    long n = s->nx * s->ny;
    kr_array_unref(&s->sens);
    s->sens = kr_array_copy(s->k);
    if (!s->sens)
        return kr_error_code();
    for (long c = 0; c < s->coils; c++)
        for (long y = 0; y < s->ny; y++) {
            double u = s->ny > 1 ? -1 + 2 * (double)y / (double)(s->ny - 1) : 0;
            float g = width > 0 ? (float)exp(-(u / width) * (u / width)) : 1;
            for (long x = 0; x < s->nx; x++)
                KR_C(s->sens)[c * n + y * s->nx + x] *= s->acs[y * s->nx + x] * g;
        }
    if (kr_fourier_inverse(s->sens, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (long c = 0; c < s->coils; c++)
            sum += (double)kr_cabs2(KR_C(s->sens)[c * n + i]);
        float r = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (long c = 0; c < s->coils; c++)
            KR_C(s->sens)[c * n + i] *= r;
    }
    return 0;
}

/* A disk of that radius around the centre, if all of it was measured. */
static bool disk(slice *s, long radius)
{
    long n = 0, measured = 0;
    for (long y = 0; y < s->ny; y++)
        for (long x = 0; x < s->nx; x++) {
            long dx = x - s->nx / 2, dy = y - s->ny / 2;
            bool in = dx * dx + dy * dy <= radius * radius;
            n += in;
            measured += in && KR_R(s->mask)[y * s->nx + x] != 0;
            s->acs[y * s->nx + x] = in;
        }
    return n == measured;
}

/* Where DIRECT calibrates, which it takes from the kind of its masks: for CMRxRecon the 24 lines in the middle, for Calgary-Campinas a
 * disk of radius 18, else where the mask's maker meant to. */
static int calibration(slice *s, const around_job *j, const facts *f, long i)
{
    if (slice_calibration(s, j->scan, false))
        return kr_error_code();
    if (f->middle24) {
        for (long y = 0; y < s->ny; y++)
            for (long x = 0; x < s->nx; x++)
                s->acs[y * s->nx + x] = y >= s->ny / 2 - 12 && y < s->ny / 2 + 12;
    } else if (f->disk && !disk(s, 18)) {
        if (!i)
            kr_say(j->trace, KR_WARNING, "the configuration calibrates coil maps on a disk of radius 18 in the middle of k-space, as Calgary-Campinas masks "
                   "have it; this mask does not sample all of that, and its fully sampled box of %ld x %ld is taken", s->facts.centre[0], s->facts.centre[1]);
        kr_free_at(&s->acs);
        return slice_calibration(s, j->scan, false);
    }
    return 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    if (calibration(s, j, f, i) || pad(s, j->scan, f->padding) || percentile(s, f->percentile) || direct_maps(s, f->gaussian))
        return kr_error_code();
    kr_scale(s->k, (float)(1 / s->scale));
    /* Coil maps come from the same transform as the coil images: what it does to them cancels in the combined image. */
    if (f->uncentred && (uncentred(s->k, AROUND_KSPACE, false) || uncentred(s->sens, AROUND_IMAGE, false)))
        return kr_error_code();
    return slice_run(z, s, net, !f->uncentred, f->likelihood > 0 ? f->likelihood / (s->scale * s->scale) : 1);
}

/* Class defaults of DIRECT where the configuration says nothing. */
static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    facts *f = to;
    (void)kind;
    if (around_number(&f->percentile, w, "scale_percentile", 0.99, 0.5, 1) || around_number(&f->gaussian, w, "sensitivity_maps_gaussian", 0.7, 0, 100)
        || around_number(&f->padding, w, "padding_eps", 0.001, 0, 1) || around_number(&f->likelihood, w, "scale_loglikelihood", 0, 0, 1e30))
        return kr_error_code();
    if (f->percentile <= 0)          /* null: the largest */
        f->percentile = 1;
    f->uncentred = around_no(kr_weights_told(w, "fft_centered"));
    const char *key = kr_weights_told(w, "scaling_key"), *type = kr_weights_told(w, "sensitivity_maps_type");
    type = type ? type : kr_weights_told(w, "sensitivity_map_type");
    static const char *const resize[] = { "rescale", "pad", "compress_coils" };
    for (int i = 0; i < 3; i++)
        if (!around_none(kr_weights_told(w, resize[i])))
            return kr_fail(KR_EFORMAT, "%s of the configuration is %s; Kray does not do that to data", resize[i], kr_weights_told(w, resize[i]));
    if (!around_none(key) && strcmp(key, "masked_kspace"))
        return kr_fail(KR_EFORMAT, "scaling_key of the configuration is '%s'; Kray scales by masked_kspace", key);
    if (!around_none(type) && strcasecmp(type, "rss_estimate"))
        return kr_fail(KR_EFORMAT, "coil maps of the kind '%s' are not built; Kray estimates them as DIRECT's rss_estimate does", type);
    return 0;
}

const around around_direct = { "direct", sizeof(facts), read, one };
