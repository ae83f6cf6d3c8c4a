/* around_atommic.c: what ATOMMIC and mridc do around their networks: data, maps and first image each divided by their own size. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { AS_IT_IS, BY_MAX, BY_MIN_MAX, BY_PART };
typedef struct facts { int normalise; bool start, uncentred; } facts;

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

/* What ATOMMIC and mridc do to data, maps and (ATOMMIC) the image to begin with, each by its own size ; maps were given. */
static int normalised(slice *s, const facts *a)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    double by_maps, by_start;
    if (kr_fourier_inverse(s->k, xy))
        return kr_error_code();
    if (a->uncentred && uncentred(s->k, AROUND_IMAGE, false))
        return kr_error_code();
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
    if (a->uncentred && uncentred(s->k, AROUND_IMAGE, true))
        return kr_error_code();
    return kr_fourier(s->k, xy) ? kr_error_code() : a->uncentred ? uncentred(s->k, AROUND_KSPACE, false) : 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    kr_scoped(array) set = view ? kr_array_at(view, KR_MAP, 0) : NULL;
    s->sens = kr_array_copy(set);
    if (!s->sens)
        return kr_error_code();
    unit_maps(s->sens, i ? NULL : j->trace);
    if (normalised(s, f) || slice_run(z, s, net, !f->uncentred, 1))
        return kr_error_code();
    if (!f->uncentred)
        return 0;
    kr_scoped(array) x = kr_array_copy(z);
    if (!x || uncentred(x, AROUND_IMAGE, true))
        return kr_error_code();
    kr_array_assign(z, x);
    return 0;
}

/* mridc's "orthogonal_norm_only" and configurations that are not centred have the origin of their transform at index 0. */
static bool trained_uncentred(const kr_weights *w)
{
    const char *type = kr_weights_told(w, "fft_type");
    return type ? !strcmp(type, "orthogonal_norm_only") : around_no(kr_weights_told(w, "fft_centered"));
}

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    facts *f = to;
    (void)kind;
    f->uncentred = trained_uncentred(w);
    const char *off = kr_weights_told(w, "normalize_inputs"), *max = kr_weights_told(w, "max_norm"), *by = kr_weights_told(w, "normalization_type");
    by = around_no(off) || around_no(max) ? "none" : by ? by : "max";
    f->normalise = !strcasecmp(by, "max") ? BY_MAX : !strcasecmp(by, "minmax") ? BY_MIN_MAX : AS_IT_IS;
    if (f->normalise == AS_IT_IS && strcasecmp(by, "none"))
        return kr_fail(KR_EFORMAT, "normalization_type of the configuration is '%s'; Kray has max, minmax and none", by);
    for (long i = 0; i < w->count && !f->start; i++)             /* ATOMMIC makes the first image outside of the network */
        f->start = strstr(w->tensor[i].name, "reconstruction_module.") != NULL;
    if (f->normalise == BY_MAX && !f->start && !kr_weights_told(w, "normalization_type"))
        f->normalise = BY_PART;
    for (long i = 0; i < w->count; i++)
        if (strstr(w->tensor[i].name, "coil_sensitivity_maps_nn."))
            return kr_fail(KR_EFORMAT, "the weights hold a network for coil maps ('%s'), which Kray has not", w->tensor[i].name);
    return 0;
}

/* Values that are built; without: read above, or of no effect on an image (files, losses, logs, how masks of training are drawn). */
static const kr_fact keys[] = {
    { .key = "fft_centered" }, { .key = "fft_normalization", .words = "ortho|backward|forward|none" }, { .key = "fft_type" },
    { .key = "normalize_inputs" }, { .key = "normalization_type" }, { .key = "max_norm" }, { .key = "coil_combination_method", .words = "sense|rss" },
    { .key = "output_type", .words = "sense" }, { .key = "estimate_coil_sensitivity_maps_with_nn" }, { .key = "estimate_coil_sensitivity_maps" },
    { .key = "coil_sensitivity_maps_type" }, { .key = "coil_sensitivity_maps_gaussian_sigma" }, { .key = "coil_sensitivity_maps_espirit_kernel_size" },
    { .key = "coil_sensitivity_maps_espirit_threshold" }, { .key = "coil_sensitivity_maps_espirit_crop" }, { .key = "coil_sensitivity_maps_espirit_max_iters" },
    { .key = "coil_sensitivity_maps_nn_chans" }, { .key = "coil_sensitivity_maps_nn_pools" }, { .key = "coil_sensitivity_maps_nn_mask_type" },
    { .key = "coil_sensitivity_maps_nn_mask_center" }, { .key = "coil_sensitivity_maps_nn_normalize" },
    { .key = "crop_size" }, { .key = "crop_before_masking" }, { .key = "kspace_crop", .words = "false|0" }, { .key = "kspace_normalization", .words = "false|0" },
    { .key = "kspace_zero_filling_size", .words = "none" }, { .key = "apply_gcc", .words = "false|0" }, { .key = "gcc_virtual_coils" }, { .key = "gcc_calib_lines" },
    { .key = "gcc_align_data" }, { .key = "apply_prewhitening", .words = "false|0" }, { .key = "find_patch_size" }, { .key = "prewhitening_scale_factor" },
    { .key = "prewhitening_patch_start" }, { .key = "prewhitening_patch_length" }, { .key = "apply_random_motion", .words = "false|0" },
    { .key = "random_motion_type" }, { .key = "random_motion_angle" }, { .key = "random_motion_translation" }, { .key = "random_motion_percentage" },
    { .key = "random_motion_center_percentage" }, { .key = "random_motion_num_segments" }, { .key = "random_motion_random_num_segments" },
    { .key = "random_motion_non_uniform" }, { .key = "partial_fourier_percentage", .words = "0|0.0" }, { .key = "half_scan_percentage", .words = "0|0.0" },
    { .key = "remask", .words = "false|0" }, { .key = "consecutive_slices", .words = "1" }, { .key = "dimensionality", .words = "2" },
    { .key = "spatial_dims", .words = "-2 -1|none" }, { .key = "coil_dim" }, { .key = "use_sens_net", .words = "false|0|none" },
    { .key = "ssdu", .words = "false|0" }, { .key = "ssdu_mask_type" }, { .key = "ssdu_rho" }, { .key = "ssdu_acs_block_size" },
    { .key = "ssdu_gaussian_std_scaling_factor" }, { .key = "ssdu_outer_kspace_fraction" }, { .key = "ssdu_export_and_reuse_masks" },
    { .key = "n2r", .words = "false|0" }, { .key = "n2r_supervised_rate" }, { .key = "n2r_probability" }, { .key = "n2r_std_devs" }, { .key = "n2r_rhos" },
    { .key = "n2r_use_mask" }, { .key = "n2r_loss_weight" }, { .key = "initial_predictions_path", .words = "none" }, { .key = "noise_path", .words = "none" },
    { .key = "num_echoes" }, { .key = "complex_valued_type", .words = "stacked" }, { .key = "unsupervised_masked_target" }, { .key = "complex_target" }, { .key = "complex_data" },
    { .key = "mask_args.*" }, { .key = "mask_path" }, { .key = "coil_sensitivity_maps_path" }, { .key = "sense_path" }, { .key = "data_path" },
    { .key = "dataset_format" }, { .key = "challenge" }, { .key = "sample_rate" }, { .key = "volume_sample_rate" }, { .key = "use_dataset_cache" },
    { .key = "dataset_cache_file" }, { .key = "num_cols" }, { .key = "data_saved_per_slice" }, { .key = "log_images_rate" }, { .key = "use_seed" },
    { .key = "batch_size" }, { .key = "num_workers" }, { .key = "shuffle" }, { .key = "drop_last" }, { .key = "pin_memory" }, { .key = "root_gt" },
    { .key = "accumulate_predictions" }, { .key = "accumulate_loss" }, { .key = "accumulate_estimates" }, { .key = "reconstruction_loss" }, { .key = "kspace_reconstruction_loss" },
    { .key = "total_reconstruction_loss_weight" }, { .key = "train_loss_fn" }, { .key = "val_loss_fn" }, { .key = "eval_loss_fn" }, { .key = "loss_fn" },
    { .key = "unnormalize_loss_inputs" }, { .key = "unnormalize_log_outputs" }, { .key = "metric_computation_mode" }, { .key = "penalization_weight" },
    { .key = "use_reconstruction_module" }, { .key = "log_multiple_modalities" }, { .key = NULL } };

const around around_atommic = { "atommic", keys, sizeof(facts), read, one };
