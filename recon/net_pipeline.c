/* net_pipeline.c: what the published programs do around their networks (NETWORKS 4.5, 5.1, 6, 10), slice by slice. The images that a
 * network sees have our readout X as columns, the authors' height; kernels are turned to match. */
#include "kray/fourier.h"
#include "kray/net.h"
#include "model.h"
#include "net_method.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const kr_opt net_table[] = {
    { "weights", 'w', KR_OPT_FILE, offsetof(net_opts, weights), NULL, "FILE", "trained weights: PyTorch, .atommic, safetensors, npz (see kray weights)" },
    { "config", 0, KR_OPT_FILE, offsetof(net_opts, config), NULL, "FILE", "YAML of DIRECT or ATOMMIC; otherwise the one beside the weights; none: none" },
    { "network", 0, KR_OPT_TEXT, offsetof(net_opts, network), NULL, "NAME", "the network, where the keys of the weights do not tell" },
    { "steps", 0, KR_OPT_INT, offsetof(net_opts, steps), "0", "N", "run so many time steps; 0: what the checkpoint says, or the network's usual" },
    { "precision", 0, KR_OPT_TEXT, offsetof(net_opts, precision), "f32", "f32|bf16",
      "bf16: products in bfloat16 where the processor has it; recurrent networks, faster, about 1e-3 off (see docs/networks.md)" },
    KR_OPT_END };

/* One slice on its way through. */
typedef struct slice {
    long nx, ny, coils;
    kr_array *k, *mask, *sens;       /* {X,Y,COIL}, {X,Y}, {X,Y,COIL}       */
    kr_array *start;                 /* {X,Y}, NULL: the network's own      */
    float *acs, *padding;            /* {X,Y}; padding NULL: none           */
    double scale;                    /* what k was divided by               */
    bool centred;
} slice;

/* What stands around the network in the published program. */
enum { AS_IT_IS, BY_MAX, BY_MIN_MAX, BY_PART };
typedef struct around { double percentile, gaussian, padding, likelihood; int normalise; bool start; } around;

static void slice_clear(slice *s)
{
    kr_array_unref(&s->k);
    kr_array_unref(&s->mask);
    kr_array_unref(&s->sens);
    kr_array_unref(&s->start);
    kr_free_at(&s->acs);
    kr_free_at(&s->padding);
}

static bool is(const kr_net_kind *kind, const char *name) { return !strcmp(kind->name, name); }
static bool of_direct(const kr_net_kind *kind) { return strstr(kind->name, "direct") || is(kind, "recurrentvarnet"); }

/* Where coil maps are calibrated: where the maker of the mask meant to, else the fully sampled box around the centre. symmetric: as
 * many lines on both sides of it, as fastMRI has them (NETWORKS 5.1; for odd widths they begin one further). */
static int calibration_area(slice *s, const kr_scan *scan, const kr_mask_facts *f, bool symmetric)
{
    s->acs = kr_alloc_zero((size_t)(s->nx * s->ny), sizeof *s->acs);
    if (!s->acs)
        return kr_error_code();
    if (scan->calib_area) {
        kr_scoped(array) wide = kr_array_spread(scan->calib_area, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        kr_scoped(array) area = wide ? kr_array_copy(wide) : NULL;
        if (!area || kr_count(kr_array_shape(area)) != s->nx * s->ny)
            return area ? kr_fail(KR_ESHAPE, "a calibration area %s for slices of %ld x %ld", kr_shape_text(kr_array_shape(area)), s->nx, s->ny) : kr_error_code();
        memcpy(s->acs, area->data, (size_t)(s->nx * s->ny) * sizeof *s->acs);
        return 0;
    }
    /* A fully sampled scan is all centre; the published masks keep 8 % there. */
    bool all = f->centre[1] == s->ny;
    long lines = all ? lround(0.08 * (double)s->ny) : f->centre[1], from = all ? (s->ny - lines + 1) / 2 : f->centre_from[1];
    if (symmetric && !all) {
        long left = s->ny / 2 - from, right = from + lines - s->ny / 2;
        lines = left < right ? 2 * left : 2 * right;
        lines = lines > 1 ? lines : 1;
        from = (s->ny - lines + 1) / 2;
    }
    for (long y = from; y < from + lines; y++)
        for (long x = 0; x < s->nx; x++)
            s->acs[y * s->nx + x] = f->centre[0] == s->nx || (x >= f->centre_from[0] && x < f->centre_from[0] + f->centre[0]);
    return 0;
}

/* k-space, mask and calibration area of part i. */
static int slice_open(slice *s, const kr_scan *scan, long i, bool symmetric)
{
    kr_scoped(array) view = kr_part(scan->data, scan, i);
    s->k = kr_array_copy(view);
    if (!s->k || (scan->in_image && kr_fourier(s->k, scan->in_image)))
        return kr_error_code();
    s->nx = s->k->n[KR_X];
    s->ny = s->k->n[KR_Y];
    s->coils = s->k->n[KR_COIL];
    kr_scoped(array) whole = kr_scan_mask(scan);
    kr_scoped(array) part = whole ? kr_part(whole, scan, i) : NULL;
    kr_shape plane = KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny);
    kr_scoped(array) wide = part ? kr_array_spread(part, plane) : NULL;
    s->mask = kr_array_copy(wide);
    kr_mask_facts f;
    if (!s->mask || kr_mask_describe(&f, s->mask, plane))
        return kr_error_code();
    if (!f.centre[0] || !f.centre[1])
        return kr_fail(KR_EREFUSED, "the centre of k-space is not measured: a network of this kind needs calibration lines there");
    return calibration_area(s, scan, &f, symmetric);
}

/* DIRECT's padding: samples whose sum over coils of |k| is below eps times its mean are taken as never measured (NETWORKS 10.1), and
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

/* DIRECT: the number in place (1 - q) n + 1, counted from the largest, of |k|; coils that are all zero are skipped (10.1). */
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
 * encodes (10.2); width 0: g = 1. */
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

/* Networks are trained with maps of unit norm; those that a user brings may have any. Zero stays zero. */
static void unit_maps(kr_array *maps, const kr_trace *trace)
{
    long n = maps->n[KR_X] * maps->n[KR_Y], coils = maps->n[KR_COIL], there = 0;
    double off = 0;
    kr_cfloat *s = KR_C(maps);
    for (int pass = 0; pass < 2; pass++) {
        for (long i = 0; i < n; i++) {
            double sum = 0;
            for (long c = 0; c < coils; c++)
                sum += (double)kr_cabs2(s[c * n + i]);
            there += !pass && sum > 0;
            off += !pass && sum > 0 ? fabs(sum - 1) : 0;
            for (long c = 0; c < coils && pass && sum > 0; c++)
                s[c * n + i] *= (float)(1 / sqrt(sum));
        }
        if (!pass && off <= 0.01 * (double)there)           /* as they are */
            return;
    }
    kr_say(trace, KR_INFO, "the coil maps have no unit norm; they are divided by their root sum of squares, as networks expect");
}

/* (-1)^(x+y): k-space for a network that was trained with its origin in the corner, and back. */
static void checkerboard(kr_cfloat *a, long nx, long ny, long planes)
{
    for (long p = 0; p < planes; p++)
        for (long y = 0; y < ny; y++)
            for (long x = (y & 1) ? 0 : 1; x < nx; x += 2)
                a[(p * ny + y) * nx + x] = -a[(p * ny + y) * nx + x];
}

/* Fourier convention of the training: mridc's "orthogonal_norm_only" and uncentred configurations have their origin in the corner. */
static bool trained_centred(const kr_weights *w)
{
    const char *centred = kr_weights_told(w, "fft_centered"), *type = kr_weights_told(w, "fft_type");
    return type ? strcmp(type, "orthogonal_norm_only") != 0 : !centred || (strcmp(centred, "0") && strcasecmp(centred, "false"));
}

/* ATOMMIC and mridc: x by its largest magnitude; mridc without a normalization_type by the largest real or imaginary part; or (x - least)
 * / (largest - least) of its magnitudes, where they take a real number from a complex one. What it was divided by goes to *by. */
static int normalise(kr_array *x, int how, double *by)
{
    long n = kr_count(kr_array_shape(x));
    double least = INFINITY, most = 0;
    *by = 1;
    for (long i = 0; i < n; i++) {
        kr_cfloat v = KR_C(x)[i];
        double a = how == BY_PART ? fmax(fabs((double)kr_re(v)), fabs((double)kr_im(v))) : sqrt((double)kr_cabs2(v));
        least = a < least ? a : least;
        most = a > most ? a : most;
    }
    if (how == AS_IT_IS)
        return 0;
    double from = how == BY_MIN_MAX ? least : 0;
    if (!(most > from))
        return kr_fail(KR_ENUMBER, "a slice is %g everywhere: there is nothing to scale it by", most);
    *by = most - from;
    for (long i = 0; i < n; i++)
        KR_C(x)[i] = kr_c((float)(((double)kr_re(KR_C(x)[i]) - from) / *by), (float)((double)kr_im(KR_C(x)[i]) / *by));
    return 0;
}

/* What ATOMMIC and mridc do to data, maps and (ATOMMIC) the image to begin with, each by its own size (NETWORKS 4.5); maps were given. */
static int normalised(slice *s, const around *a)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    double by_maps, by_start;
    if (kr_fourier_inverse(s->k, xy))
        return kr_error_code();
    if (!s->centred)
        checkerboard(KR_C(s->k), s->nx, s->ny, s->coils);
    if (normalise(s->k, a->normalise, &s->scale) || normalise(s->sens, a->normalise, &by_maps))
        return kr_error_code();
    if (a->start) {
        s->start = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        if (s->start)
            kr_contract(s->start, s->k, s->sens, true);
        if (!s->start || normalise(s->start, a->normalise, &by_start))
            return kr_error_code();
    }
    s->scale /= by_maps;
    if (!s->centred)
        checkerboard(KR_C(s->k), s->nx, s->ny, s->coils);
    return kr_fourier(s->k, xy);
}

static int unrolled(kr_array *z, slice *s, kr_net *net, const kr_array *coils, const kr_scan *scan, long i, const around *a, const kr_trace *trace)
{
    const kr_net_kind *kind = kr_net_kind_of(net);
    long n = s->nx * s->ny;
    if (of_direct(kind)) {
        if (pad(s, scan, a->padding) || percentile(s, a->percentile) || direct_maps(s, a->gaussian))
            return kr_error_code();
    } else if (kind->own_maps)
        s->scale = 1;
    else {
        kr_scoped(array) view = kr_part(coils, scan, i);
        kr_scoped(array) set = view ? kr_array_at(view, KR_MAP, 0) : NULL;
        s->sens = kr_array_copy(set);
        if (!s->sens)
            return kr_error_code();
        unit_maps(s->sens, i ? NULL : trace);
        if (normalised(s, a))
            return kr_error_code();
    }
    if (of_direct(kind))
        kr_scale(s->k, (float)(1 / s->scale));
    if (!s->centred)
        checkerboard(KR_C(s->k), s->nx, s->ny, s->coils);
    kr_net_input in = { .coils = s->coils, .h = s->ny, .w = s->nx, .kspace = KR_C(s->k), .mask = KR_R(s->mask), .acs = s->acs,
                        .padding = s->padding, .sens = s->sens ? KR_C(s->sens) : NULL, .centred = s->centred,
                        .start = s->start ? KR_C(s->start) : NULL, .scaling = a->likelihood > 0 ? a->likelihood / (s->scale * s->scale) : 1 };
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
    if (!x || (!kind->own_maps && !s->sens) || kr_net_run(net, KR_C(x), &in, NULL))
        return kr_error_code();
    if (!s->centred)
        checkerboard(KR_C(x), s->nx, s->ny, 1);
    for (long p = 0; p < n; p++)
        KR_C(x)[p] *= (float)s->scale;
    kr_array_assign(z, x);
    return 0;
}

/* The published programs' centre crop. For odd m of even n it begins one earlier than Kray's own, whose origin stays at m/2. */
static kr_array *middle(const kr_array *a, int axis, long m) { return kr_array_range(a, axis, (a->n[axis] - m) / 2, m); }

/* The image that is asked for out of the one that was made, by that crop; voxels stay where they are in the patient. */
static int crop(kr_image *im, const kr_scan *scan)
{
    double *dir[2] = { im->geom->read_dir, im->geom->phase_dir };
    for (int a = 0; a < 2; a++) {
        long want = scan->enc.recon[a], made = scan->shape.n[a], have = im->data->n[a];
        if (want < 1 || want >= made)
            continue;
        kr_array *cut = have > want ? middle(im->data, a, want) : kr_array_ref(im->data);
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

/* fastMRI's U-Net: zero-filled magnitude, cropped, standardised, clamped to 6 deviations (NETWORKS 6). */
static int image_to_image(kr_array *z, slice *s, kr_net *net)
{
    long nx = z->n[KR_X], ny = z->n[KR_Y], n = nx * ny;
    if (kr_fourier_inverse(s->k, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    kr_scoped(array) full = kr_rss(s->k, KR_COIL);
    kr_scoped(array) cut = full ? middle(full, KR_X, nx) : NULL;
    kr_scoped(array) cut2 = cut ? middle(cut, KR_Y, ny) : NULL;
    kr_scoped(array) image = cut2 ? kr_array_copy(cut2) : NULL;
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    if (!image || !x)
        return kr_error_code();
    double mean = 0, var = 0;
    for (long i = 0; i < n; i++)
        mean += (double)KR_R(image)[i] / (double)n;
    for (long i = 0; i < n; i++)
        var += ((double)KR_R(image)[i] - mean) * ((double)KR_R(image)[i] - mean) / (double)(n - 1);
    double std = sqrt(var) + 1e-11;
    for (long i = 0; i < n; i++)
        KR_R(image)[i] = (float)fmax(-6, fmin(6, ((double)KR_R(image)[i] - mean) / std));
    kr_net_input in = { .coils = 1, .h = ny, .w = nx, .image = KR_R(image), .scaling = 1, .centred = true };
    if (kr_net_run(net, KR_C(x), &in, NULL))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        KR_C(x)[i] = kr_c((float)((double)kr_re(KR_C(x)[i]) * std + mean), 0);
    kr_array_assign(z, x);
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

/* A number of the data pipeline; "none" is 0. */
static int pipeline_number(double *to, const kr_weights *w, const char *name, double otherwise, double least, double most)
{
    const char *v = kr_weights_told(w, name);
    char *end = NULL;
    *to = !v ? otherwise : !strcmp(v, "none") ? 0 : strtod(v, &end);
    if (end && (end == v || *end || !(*to >= least && *to <= most)))
        return kr_fail(KR_EFORMAT, "%s of the configuration is '%s'; a number from %g to %g is wanted", name, v, least, most);
    return 0;
}

static bool no(const char *v) { return v && (!strcasecmp(v, "false") || !strcmp(v, "0")); }

/* Class defaults of DIRECT where the configuration says nothing (NETWORKS 10). */
static int around_of(around *a, const kr_weights *w)
{
    if (pipeline_number(&a->percentile, w, "scale_percentile", 0.99, 0.5, 1) || pipeline_number(&a->gaussian, w, "sensitivity_maps_gaussian", 0.7, 0, 100)
        || pipeline_number(&a->padding, w, "padding_eps", 0.001, 0, 1) || pipeline_number(&a->likelihood, w, "scale_loglikelihood", 0, 0, 1e30))
        return kr_error_code();
    if (a->percentile <= 0)          /* null: the largest */
        a->percentile = 1;
    const char *off = kr_weights_told(w, "normalize_inputs"), *max = kr_weights_told(w, "max_norm"), *by = kr_weights_told(w, "normalization_type");
    by = no(off) || no(max) ? "none" : by ? by : "max";
    a->normalise = !strcasecmp(by, "max") ? BY_MAX : !strcasecmp(by, "minmax") ? BY_MIN_MAX : AS_IT_IS;
    if (a->normalise == AS_IT_IS && strcasecmp(by, "none"))
        return kr_fail(KR_EFORMAT, "normalization_type of the configuration is '%s'; Kray has max, minmax and none", by);
    for (long i = 0; i < w->count && !a->start; i++)             /* ATOMMIC makes the first image outside of the network */
        a->start = strstr(w->tensor[i].name, "reconstruction_module.") != NULL;
    if (a->normalise == BY_MAX && !a->start && !kr_weights_told(w, "normalization_type"))
        a->normalise = BY_PART;
    const char *key = kr_weights_told(w, "scaling_key"), *type = kr_weights_told(w, "sensitivity_maps_type");
    type = type ? type : kr_weights_told(w, "sensitivity_map_type");
    static const char *const resize[] = { "rescale", "pad", "compress_coils" };
    for (int i = 0; i < 3; i++)
        if (kr_weights_told(w, resize[i]) && strcmp(kr_weights_told(w, resize[i]), "none"))
            return kr_fail(KR_EFORMAT, "%s of the configuration is %s; Kray does not do that to data", resize[i], kr_weights_told(w, resize[i]));
    for (long i = 0; i < w->count; i++)
        if (strstr(w->tensor[i].name, "coil_sensitivity_maps_nn."))
            return kr_fail(KR_EFORMAT, "the weights hold a network for coil maps ('%s'), which Kray has not", w->tensor[i].name);
    if (key && strcmp(key, "masked_kspace") && strcmp(key, "none"))
        return kr_fail(KR_EFORMAT, "scaling_key of the configuration is '%s'; Kray scales by masked_kspace", key);
    if (type && strcasecmp(type, "rss_estimate") && strcmp(type, "none"))
        return kr_fail(KR_EFORMAT, "coil maps of the kind '%s' are not built; Kray estimates them as DIRECT's rss_estimate does", type);
    return 0;
}

static int fits(const kr_net_kind *kind, const char *family, const char *path)
{
    for (const char *p = family; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strlen(kind->name) == strcspn(p, " ") && !strncmp(p, kind->name, strcspn(p, " ")))
            return 0;
    return kr_fail(KR_EREFUSED, "%s holds the weights of %s (%s), which is another method", path, kind->name, kind->summary);
}

/* The YAML given, or the one beside weights that do not say themselves what they are. */
static int configure(kr_weights *w, const net_opts *o, const kr_trace *trace)
{
    if (o->config)
        return strcmp(o->config, "none") ? kr_weights_config(w, o->config) : 0;
    kr_auto char *beside = kr_meta_get(w->meta, "network") ? NULL : kr_weights_config_beside(o->weights);
    if (!beside)
        return 0;
    if (kr_weights_config(w, beside))
        return kr_fail_in("the configuration beside the weights (--config none leaves it out)");
    kr_say(trace, KR_INFO, "hyper-parameters from %s", beside);
    return 0;
}

/* ---- All slices ---- */
struct stack {
    const kr_scan *scan; const kr_array *coils; kr_array *image; const kr_weights *w; const kr_net_kind *kind; const around *about;
    const kr_trace *trace;
    kr_net **net;                    /* of each thread */
    atomic_long done;
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

static int one_slice(void *self, long i)
{
    struct stack *j = self;
    kr_net *net = j->net[kr_worker()];
    slice s = { .centred = trained_centred(j->w) };
    kr_scoped(array) z = kr_part(j->image, j->scan, i);
    bool nothing = false;
    int e = z ? kr_stopped(j->trace) : kr_error_code();
    e = e ? e : empty(&nothing, j, i);
    e = e || nothing ? e : slice_open(&s, j->scan, i, j->kind->own_maps);
    if (!e && !nothing)
        e = is(j->kind, "unet") ? image_to_image(z, &s, net) : unrolled(z, &s, net, j->coils, j->scan, i, j->about, j->trace);
    slice_clear(&s);
    kr_progress(j->trace, "slices", (double)(atomic_fetch_add(&j->done, 1) + 1), (double)kr_parts(j->scan));
    return e;
}

/* How many slices of a stack run side by side, each with a network of its own: threads that need not meet after every layer were 6 to 35 %
 * faster than those that share a slice (docs/networks.md). One at a time where networks would fill half of the memory. */
static long side_by_side(const kr_net_kind *kind, const kr_weights *w, long coils, long ny, long nx, long slices)
{
    double bytes, flops, half = 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    kr_net_cost(kind, w, coils, ny, nx, &bytes, &flops);
    return slices >= kr_threads() && bytes * kr_threads() <= half ? kr_threads() : 1;
}

/* Slices side by side; all threads on each of those that are left over. The images are the same either way. */
static int run_slices(struct stack *j, kr_net *net, const char *name)
{
    const kr_array *k = j->scan->data;
    long n = kr_parts(j->scan), wide = side_by_side(j->kind, j->w, k->n[KR_COIL], k->n[KR_Y], k->n[KR_X], n), together = wide > 1 ? n - n % wide : 0;
    int e = 0;
    j->net[0] = net;
    for (long t = 1; !e && t < wide; t++)
        e = (j->net[t] = kr_net_new(name, j->w, true)) ? 0 : kr_error_code();
    e = e ? e : kr_for(together, one_slice, j);
    for (long t = 1; t < wide; t++)
        kr_net_unref(&j->net[t]);
    for (long i = together; !e && i < n; i++)
        e = one_slice(j, i);
    return e;
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
static int run_volume(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *o, const char *family, const kr_trace *trace)
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
    kr_scan planes = { .shape = kr_array_shape(data), .data = data, .mask = flat, .calib_area = area, .file = scan->file, .geom = scan->geom, .meta = scan->meta,
                       .in_image = (scan->in_image & KR_ON(KR_Y) ? KR_ON(KR_X) : 0) | (scan->in_image & KR_ON(KR_Z) ? KR_ON(KR_Y) : 0) };
    kr_scoped(image) stack = NULL;
    if (net_run(&stack, &planes, maps, o, family, trace))
        return kr_error_code();
    kr_scoped(array) volume = turned(stack->data, true);
    kr_scoped(array) packed = volume ? kr_array_copy(volume) : NULL;
    *out = packed ? kr_image_new(packed, scan->geom, stack->meta) : NULL;
    return *out ? crop(*out, scan) : kr_error_code();
}

int net_run(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *o, const char *family, const kr_trace *trace)
{
    if (!o->weights)
        return kr_fail(KR_EUSAGE, "a network needs its weights: --weights FILE");
    if (scan->shape.n[KR_Z] > 1)
        return run_volume(out, scan, coils, o, family, trace);
    kr_scoped(weights) w = NULL;
    if (kr_weights_read(&w, o->weights) || configure(w, o, trace))
        return kr_error_code();
    static const char *const steps[] = { "hyper.steps", "hyper.length", "hyper.num_steps" };
    for (int i = 0; i < 3 && o->steps > 0; i++)
        if (kr_meta_set(w->meta, steps[i], "%ld", o->steps))
            return kr_error_code();
    if (strcmp(o->precision, "f32") && strcmp(o->precision, "bf16"))
        return kr_fail(KR_EUSAGE, "--precision is f32 or bf16, not '%s'", o->precision);
    if (kr_meta_set(w->meta, "hyper.precision", "%s", o->precision))
        return kr_error_code();
    kr_net *net = kr_net_new(o->network, w, true);
    if (!net)
        return !o->config && kr_meta_get(w->meta, "config") ? kr_fail_in("with the configuration beside the weights (--config none leaves it out)") : kr_error_code();
    const kr_net_kind *kind = kr_net_kind_of(net);
    int e = fits(kind, family, o->weights);
    if (!e && o->steps && (strstr(kind->name, "unet") == kind->name || strstr(kind->name, "varnet") == kind->name))
        e = kr_fail(KR_EUSAGE, "--steps: the number of steps of %s is that of its weights", kind->name);
    bool flat = is(kind, "unet");
    around about = { 0 };
    if (!e)
        e = around_of(&about, w);
    kr_shape shape = kr_shape_without(scan->shape, KR_ON(KR_COIL));
    for (int a = 0; a < 2 && flat; a++)
        if (scan->enc.recon[a] > 0 && scan->enc.recon[a] < shape.n[a])
            shape.n[a] = scan->enc.recon[a];
    kr_scoped(array) image = e ? NULL : kr_array_new(KR_C32, shape);
    if (!e && !image)
        e = kr_error_code();
    struct stack all = { scan, coils, image, w, kind, &about, trace, kr_alloc_zero((size_t)kr_threads(), sizeof(kr_net *)), 0 };
    if (!e)
        e = all.net ? run_slices(&all, net, o->network) : kr_error_code();
    kr_free(all.net);
    kr_net_unref(&net);
    if (e)
        return e;
    bool magnitude = kind->own_maps || is(kind, "recurrentvarnet") || is(kind, "varnet_direct") || is(kind, "unet_direct");
    kr_scoped(array) result = flat ? real_part(image) : magnitude ? kr_abs(image) : kr_array_ref(image);
    *out = kr_image_new(result, scan->geom, scan->meta);
    if (!*out || crop(*out, scan) || kr_meta_set((*out)->meta, "kray_network", "%s", kind->name) || kr_meta_set((*out)->meta, "kray_weights", "%s", o->weights)
        || kr_meta_set((*out)->meta, "kray_weights_digest", "%s", w->digest)) {
        kr_image_unref(out);
        return kr_error_code();
    }
    return 0;
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
    if (o && o->weights) {
        kr_scoped(weights) w = NULL;
        if (kr_weights_read(&w, o->weights) || configure(w, o, NULL) || (o->steps > 0 && kr_meta_set(w->meta, "hyper.steps", "%ld", o->steps)))
            return kr_error_code();
        const kr_net_kind *kind = kr_net_kind_for(o->network, w);
        if (!kind)
            return kr_error_code();
        kr_net_cost(kind, w, coils, ny, nx, &cost->bytes, &flops);
        cost->bytes *= (double)side_by_side(kind, w, coils, ny, nx, (long)parts);
    }
    cost->seconds = parts * flops / (6e10 * kr_threads());
    return 0;
}
