/* around_direct.c: what DIRECT does around its networks: padding, scale, coil maps from calibration lines. */
#include "around.h"
#include "kray/fourier.h"
#include "kray/select.h"
#include <math.h>
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
    s->scale = (double)kr_select(v, kept, kept - 1 - (long)((1 - q) * (double)kept));
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

/* The two transforms have to be each other's inverses, of the kind that Kray has: "fft2(centered=False, normalized=True)". */
static int operators(const kr_weights *w)
{
    const char *to = kr_weights_told(w, "physics.forward_operator"), *from = kr_weights_told(w, "physics.backward_operator");
    if (!to && !from)
        return 0;
    size_t k = to ? strcspn(to, "(") : 0;
    bool good = to && from && k == 4 && !strncmp(to, "fft2", 4) && !strncmp(from, "ifft2", 5) && !strcmp(to + k, from + k + 1);
    if (good && strcasestr(to, "normalized=false"))
        return kr_fail(KR_EREFUSED, "forward_operator of the configuration is '%s'; Kray has the unitary transform", to);
    return good ? 0 : kr_fail(KR_EREFUSED, "the operators of the configuration are '%s' and '%s'; Kray has fft2 and ifft2 of the same options",
                              to ? to : "not stated", from ? from : "not stated");
}

/* ATOMMIC names the tensors of its RecurrentVarNet as DIRECT does and runs it otherwise (rvn): it saves "state_dict.block_list...", or without a
 * prefix; DIRECT "model.block_list...". */
static int program(const kr_weights *w, const kr_net_kind *kind)
{
    const char *const name = w->count ? w->tensor[0].name : "";
    bool said = kr_meta_get(w->meta, "network") || kr_meta_get(w->meta, "config_model");
    if (kind->twin && !said && (!strncmp(name, "block_list.", 11) || !strncmp(name, "initializer.", 12)))
        return kr_fail(KR_EREFUSED, "networks '%s' and '%s' have the same tensors and run differently, and the weights do not say whose they "
                       "are (the first is '%s', without DIRECT's 'model.'): --config FILE, the configuration of the training, says so", kind->name, kind->twin, name);
    return 0;
}

/* Class defaults of DIRECT where the configuration says nothing. */
static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    facts *f = to;
    if (program(w, kind))
        return kr_error_code();
    if (around_number(&f->percentile, w, "scale_percentile", 0.99, 0.5, 1) || around_number(&f->gaussian, w, "sensitivity_maps_gaussian", 0.7, 0, 100)
        || around_number(&f->padding, w, "padding_eps", 0.001, 0, 1) || around_number(&f->likelihood, w, "scale_loglikelihood", 0, 0, 1e30))
        return kr_error_code();
    if (f->percentile <= 0)          /* null: the largest */
        f->percentile = 1;
    f->uncentred = around_no(kr_weights_told(w, "fft_centered"));
    if (operators(w))
        return kr_error_code();
    const char *mask = kr_weights_told(w, "masking.name"), *data = kr_weights_told(w, "dataset.name");
    data = data ? data : kr_weights_told(w, "data.name");
    f->disk = mask && !strcasecmp(mask, "CalgaryCampinas");
    f->middle24 = data && !strncasecmp(data, "CMRxRecon", 9) && around_none(mask);
    const char *key = kr_weights_told(w, "scaling_key"), *type = kr_weights_told(w, "sensitivity_maps_type");
    type = type ? type : kr_weights_told(w, "sensitivity_map_type");
    if (!around_none(key) && strcmp(key, "masked_kspace"))
        return kr_fail(KR_EFORMAT, "scaling_key of the configuration is '%s'; Kray scales by masked_kspace", key);
    if (!around_none(type) && strcasecmp(type, "rss_estimate"))
        return kr_fail(KR_EFORMAT, "coil maps of the kind '%s' are not built; Kray estimates them as DIRECT's rss_estimate does", type);
    return 0;
}

/* The middle column: values that are built; without: read above, or of no effect on an image (file names, batches, how masks of
 * training are drawn: the mask is the scan's). */
static const kr_fact keys[] = {
    { .key = "physics.forward_operator" }, { .key = "physics.backward_operator" }, { .key = "physics.use_noise_matrix", .words = "false|none" },
    { .key = "physics.noise_matrix_scaling" },
    { .key = "sensitivity_model.in_channels", .words = "2" }, { .key = "sensitivity_model.out_channels", .words = "2" },
    { .key = "sensitivity_model.model_name", .words = "unet.unet_2d.UnetModel2d|none" }, { .key = "sensitivity_model.cwn_conv", .words = "false" },
    { .key = "sensitivity_model.dropout_probability" }, { .key = "sensitivity_model.engine_name", .words = "none" },
    { .key = "engine_name", .words = "none|RecurrentVarNetEngine|RIMEngine|EndToEndVarNetEngine|CIRIMEngine|Unet2dEngine|LPDNetEngine|KIKINetEngine" },
    { .key = "scaling_key" }, { .key = "scale_percentile" }, { .key = "padding_eps" }, { .key = "sensitivity_maps_gaussian" },
    { .key = "sensitivity_maps_type" }, { .key = "sensitivity_map_type" }, { .key = "sensitivity_maps_espirit_threshold" },
    { .key = "sensitivity_maps_espirit_kernel_size" }, { .key = "sensitivity_maps_espirit_crop" }, { .key = "sensitivity_maps_espirit_max_iters" },
    { .key = "estimate_sensitivity_maps", .words = "true|1" }, { .key = "estimate_body_coil_image", .words = "false|0" },
    { .key = "masking.*" }, { .key = "masking" }, { .key = "=crop", .words = "none|header" }, { .key = "transforms.crop", .words = "none" },
    { .key = "cropping.crop", .words = "none" }, { .key = "crop_type" }, { .key = "image_center_crop" }, { .key = "crop_outer_slices" },
    { .key = "rescale", .words = "none" }, { .key = "rescale_mode" }, { .key = "rescale_2d_if_3d" }, { .key = "pad", .words = "none" },
    { .key = "compress_coils", .words = "none" }, { .key = "pad_coils", .words = "none" },
    { .key = "random_rotation_degrees" }, { .key = "random_rotation_probability", .words = "0|0.0" }, { .key = "random_flip_type" },
    { .key = "random_flip_probability", .words = "0|0.0" }, { .key = "random_reverse_probability", .words = "0|0.0" },
    { .key = "random_rotation", .words = "false" }, { .key = "random_flip", .words = "false" },
    { .key = "delete_acs_mask" }, { .key = "delete_kspace" }, { .key = "image_recon_type" }, { .key = "use_seed" },
    { .key = "transforms_type", .words = "supervised|TransformsType.SUPERVISED|none" }, { .key = "mask_split_ratio" }, { .key = "mask_split_acs_region" },
    { .key = "mask_split_keep_acs" }, { .key = "mask_split_type" }, { .key = "mask_split_gaussian_std" }, { .key = "mask_split_half_direction" },
    { .key = "=dataset.name" }, { .key = "=name" }, { .key = "=batch_size" }, { .key = "text_description" }, { .key = "dataset.shape" }, { .key = "num_coils" },
    { .key = "kspace_key" }, { .key = "compute_mask" }, { .key = "extra_keys" }, { .key = "kspace_context", .words = "0|none" }, { .key = "pass_mask" },
    { .key = "regex_filter" }, { .key = "data_root" }, { .key = "filenames_filter" }, { .key = "filenames_lists" }, { .key = "filenames_lists_root" },
    { .key = "input_kspace_key", .words = "none" }, { .key = "input_image_key", .words = "none" }, { .key = "lists" }, { .key = "seed" }, { .key = NULL } };

const around around_direct = { "direct", keys, sizeof(facts), read, NULL, NULL, one };
