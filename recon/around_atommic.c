/* around_atommic.c: what ATOMMIC and mridc do around their networks: data, maps and first image each divided by their own size. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { AS_IT_IS, BY_MAX, BY_MIN_MAX, BY_PART };
enum { GIVEN, FROM_CENTRE, BY_NETWORK };
typedef struct facts {
    int normalise, maps;
    long centre, crop[2];            /* the box that maps are made from; X and Y of images, 0: as they are */
    double sigma, unit, kspace;      /* window of that box, 0: none; what the trained transform's images and k-space are to unitary ones (per sqrt(n): -1, 0, 1) */
    bool start, uncentred, rss, columns;
    const kr_recon *first;           /* the method whose image the network begins with; NULL: the adjoint of the samples */
} facts;

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

/* ATOMMIC's own coil maps: coil images of a small box in the middle, real and imaginary parts each divided by their own root of sum of
 * squares over coils, as the published code has it; together of unit norm. Made of s->k (coil images). */
static int centre_maps(slice *s, const facts *f)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    long n = s->nx * s->ny, x0 = (s->nx - f->centre) / 2, y0 = (s->ny - f->centre) / 2;
    kr_array_unref(&s->sens);
    s->sens = kr_array_copy(s->k);
    if (!s->sens || (f->uncentred && uncentred(s->sens, AROUND_IMAGE, true)) || kr_fourier(s->sens, xy))
        return kr_error_code();
    for (long c = 0; c < s->coils; c++)
        for (long y = 0; y < s->ny; y++) {
            double u = s->ny > 1 ? -1 + 2 * (double)y / (double)(s->ny - 1) : 0;
            float g = f->sigma > 0 ? (float)exp(-(u / f->sigma) * (u / f->sigma)) : 1;
            for (long x = 0; x < s->nx; x++)
                KR_C(s->sens)[c * n + y * s->nx + x] *= x >= x0 && x < x0 + f->centre && y >= y0 && y < y0 + f->centre ? g : 0;
        }
    if (kr_fourier_inverse(s->sens, xy) || (f->uncentred && uncentred(s->sens, AROUND_IMAGE, false)))
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        double re = 0, im = 0;
        for (long c = 0; c < s->coils; c++) {
            kr_cfloat v = KR_C(s->sens)[c * n + i];
            re += (double)kr_re(v) * (double)kr_re(v);
            im += (double)kr_im(v) * (double)kr_im(v);
        }
        double norm = sqrt((re > 0) + (im > 0)), by_re = re > 0 ? 1 / (sqrt(re) * norm) : 0, by_im = im > 0 ? 1 / (sqrt(im) * norm) : 0;
        for (long c = 0; c < s->coils; c++) {
            kr_cfloat *v = &KR_C(s->sens)[c * n + i];
            *v = kr_c((float)((double)kr_re(*v) * by_re), (float)((double)kr_im(*v) * by_im));
        }
    }
    return 0;
}

/* The first image out of coil images: with the maps, or real and imaginary parts apart by their root of sum of squares. */
static void combine(kr_array *x, const slice *s, bool rss)
{
    if (!rss) {
        kr_contract(x, s->k, s->sens, true);
        return;
    }
    long n = s->nx * s->ny;
    for (long i = 0; i < n; i++) {
        double re = 0, im = 0;
        for (long c = 0; c < s->coils; c++) {
            kr_cfloat v = KR_C(s->k)[c * n + i];
            re += (double)kr_re(v) * (double)kr_re(v);
            im += (double)kr_im(v) * (double)kr_im(v);
        }
        KR_C(x)[i] = kr_c((float)sqrt(re), (float)sqrt(im));
    }
}

/* What ATOMMIC and mridc do to data, maps and (ATOMMIC) the image to begin with, each by its own size. Maps that are not given are made of
 * the data, or by the network: then it makes the image to begin with as well. */
static int normalised(slice *s, const facts *f)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    double by_maps = 1, by_start, unit = pow((double)(s->nx * s->ny), 0.5 * f->unit);
    if (kr_fourier_inverse(s->k, xy) || (f->uncentred && uncentred(s->k, AROUND_IMAGE, false)))
        return kr_error_code();
    kr_scale(s->k, (float)unit);
    s->unit = pow((double)(s->nx * s->ny), 0.5 * f->kspace);
    if (normalise(s->k, f->normalise, &s->scale) || (f->maps == FROM_CENTRE && centre_maps(s, f))
        || (f->maps != BY_NETWORK && normalise(s->sens, f->normalise, &by_maps)))
        return kr_error_code();
    if (f->start && f->maps != BY_NETWORK) {
        s->start = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        if (s->start)
            combine(s->start, s, f->rss);
        if (!s->start || normalise(s->start, f->normalise, &by_start))
            return kr_error_code();
    }
    s->scale /= by_maps * unit;
    if (f->uncentred && uncentred(s->k, AROUND_IMAGE, true))
        return kr_error_code();
    return kr_fourier(s->k, xy) ? kr_error_code() : f->uncentred ? uncentred(s->k, AROUND_KSPACE, false) : 0;
}

/* Where the network for coil maps takes its data: as many lines as the mask's first row has in one piece around its middle, symmetric; a
 * piece of that width of columns or (the preset, whatever the mask is) of rows. X are the authors' rows. */
static int area(slice *s, const facts *f)
{
    long w = s->ny, left = 0, right = 0, middle = w / 2;
    const float *mask = KR_R(s->mask);
    while (left < middle && mask[(middle - 1 - left) * s->nx] != 0)
        left++;
    while (middle + right < w && mask[(middle + right) * s->nx] != 0)
        right++;
    left = left == middle ? 0 : left;                        /* the place of the first zero, 0 where there is none */
    right = middle + right == w ? 0 : right;
    long lines = 2 * (left < right ? left : right), from;
    lines = lines > 1 ? lines : 1;
    from = (w - lines + 1) / 2;
    s->acs = kr_alloc_zero((size_t)(s->nx * s->ny), sizeof *s->acs);
    for (long y = 0; s->acs && y < s->ny; y++)
        for (long x = 0; x < s->nx; x++) {
            long at = f->columns ? y : x;
            s->acs[y * s->nx + x] = at >= from && at < from + lines;
        }
    return s->acs ? 0 : kr_error_code();
}

/* The images' grid: cropped before the mask was applied, which along the phase encodes can be done to fully sampled data alone. */
static void grid(kr_shape *image, const kr_scan *scan, const void *facts_, const kr_trace *trace)
{
    const facts *f = facts_;
    kr_scoped(array) mask = kr_scan_mask(scan);
    for (int a = 0; a < 2; a++) {
        bool whole = mask && mask->n[a] == 1;
        if (!f->crop[a] || f->crop[a] >= image->n[a])
            continue;
        if (whole)
            image->n[a] = f->crop[a];
        else
            kr_say(trace, KR_WARNING, "crop_size of the configuration crops %ld %s to %ld before the mask is applied, which cannot be done to undersampled data: "
                   "the network sees all %ld", image->n[a], a ? "phase encodes" : "samples of the readout", f->crop[a], image->n[a]);
    }
}

/* One array to the middle nx x ny of its images. */
static int cropped(kr_array **a, long nx, long ny, bool kspace)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    if ((*a)->n[KR_X] == nx && (*a)->n[KR_Y] == ny)
        return 0;
    if (kspace && kr_fourier_inverse(*a, xy))
        return kr_error_code();
    kr_scoped(array) x = around_middle(*a, KR_X, nx);
    kr_scoped(array) y = x ? around_middle(x, KR_Y, ny) : NULL;
    kr_array *to = y ? kr_array_copy(y) : NULL;
    if (!to)
        return kr_error_code();
    kr_array_unref(a);
    *a = to;
    return kspace ? kr_fourier(to, xy) : 0;
}

/* The image of f->first on the scan's own maps: what a network begins with, in place of the zero-filled one. */
static kr_array *first_image(const around_job *j, const facts *f, long i)
{
    kr_array *x = NULL;
    kr_scan part = { 0 };
    if (j->first)
        return kr_array_copy(j->first);
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    kr_scoped(array) maps = view ? kr_array_packed(view) : NULL;
    int e = maps ? kr_part_open(&part, j->scan, kr_problem_axes, i) : kr_error_code();
    e = e ? e : kr_first_image(&x, f->first, &part, maps, j->trace);
    kr_part_close(&part);
    if (e)
        kr_array_unref(&x);
    return x;
}

/* What neighbours differ by, and what there is to correct, then are of order one, as the layers of a network are made for. */
static const double BRIGHTNESS = 30;

/* A network that begins with the image x of a classical method is given the samples that were measured, those of x where none were, and the image of all of them: nothing
 * learned gives x back with the measured samples in place of its own. (Networks compare with samples only where some were measured.) Maps are of unit norm, so that x times the
 * norm of the scan's own maps stands for the same coil images. x is scaled to BRIGHTNESS. */
static int begun(slice *s, const around_job *j, const facts *f, long i)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    long n = s->nx * s->ny;
    kr_scoped(array) x = first_image(j, f, i);
    kr_scoped(array) k = x ? kr_array_new(KR_C32, kr_array_shape(s->k)) : NULL;
    if (!k)
        return kr_error_code();
    for (long p = 0; p < n; p++) {
        double size = 0;
        for (long c = 0; c < s->coils; c++)
            size += (double)kr_cabs2(KR_C(s->sens)[c * n + p]);
        KR_C(x)[p] *= (float)sqrt(size);
    }
    around_unit_maps(s->sens, NULL);
    s->scale = kr_first_unit(x) / BRIGHTNESS;
    if (!(s->scale > 0))
        return kr_error_code();
    kr_scale(x, (float)(1 / s->scale));
    kr_scale(s->k, (float)(1 / s->scale));
    for (long p = 0; p < n * s->coils; p++)
        KR_C(k)[p] = kr_cmul(KR_C(s->sens)[p], KR_C(x)[p % n]);
    if (kr_fourier(k, xy))
        return kr_error_code();
    for (long p = 0; p < n * s->coils; p++)
        if (KR_R(s->mask)[p % n] == 0)
            KR_C(s->k)[p] = KR_C(k)[p];
    kr_array_assign(k, s->k);
    if (kr_fourier_inverse(k, xy))
        return kr_error_code();
    kr_contract(x, k, s->sens, true);
    s->start = kr_array_ref(x);
    return 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    if (f->maps == GIVEN) {
        kr_scoped(array) view = kr_part(j->coils, j->scan, i);
        kr_scoped(array) set = view ? kr_array_at(view, KR_MAP, 0) : NULL;
        s->sens = kr_array_copy(set);
        if (s->sens && f->first && view->n[KR_MAP] > 1)
            return kr_fail(KR_EREFUSED, "a network that begins with the image of another method takes one set of coil maps, not %ld", view->n[KR_MAP]);
        if (!s->sens || (f->first && begun(s, j, f, i)))
            return kr_error_code();
        if (f->first)
            return slice_run(z, s, net, true, 1);
        if (cropped(&s->sens, z->n[KR_X], z->n[KR_Y], false))
            return kr_error_code();
        around_unit_maps(s->sens, i ? NULL : j->trace);
    } else if (!i)
        kr_say(j->trace, KR_INFO, "coil maps as the configuration wants them: %s; those given or estimated before are not used",
               f->maps == BY_NETWORK ? "by the network in the weights" : "from the middle of k-space");
    if (cropped(&s->k, z->n[KR_X], z->n[KR_Y], true) || cropped(&s->mask, z->n[KR_X], z->n[KR_Y], false))
        return kr_error_code();
    s->nx = z->n[KR_X];
    s->ny = z->n[KR_Y];
    if ((f->maps == BY_NETWORK && area(s, f)) || normalised(s, f) || slice_run(z, s, net, !f->uncentred, 1))
        return kr_error_code();
    if (!f->uncentred || f->maps != GIVEN)                   /* maps of the same transform: what it does to them cancels */
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

static const char *or_else(const kr_weights *w, const char *key, const char *otherwise)
{
    const char *v = kr_weights_told(w, key);
    return around_none(v) ? otherwise : v;
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
    f->start = true;                                             /* ATOMMIC makes the first image outside of the network; mridc does not */
    for (long i = 0; i < w->count && f->start; i++)
        f->start = !strstr(w->tensor[i].name, "cirim.");
    if (f->normalise == BY_MAX && !f->start && !kr_weights_told(w, "normalization_type"))
        f->normalise = BY_PART;
    for (long i = 0; i < w->count && f->maps != BY_NETWORK; i++)
        f->maps = strstr(w->tensor[i].name, "coil_sensitivity_maps_nn.") ? BY_NETWORK : GIVEN;
    f->columns = !strcasecmp(or_else(w, "coil_sensitivity_maps_nn_mask_type", "2D"), "1D");
    f->rss = !strcasecmp(or_else(w, "data.coil_combination_method", or_else(w, "coil_combination_method", "SENSE")), "RSS");
    static const char *const same[] = { "fft_centered", "fft_normalization" };
    for (int i = 0; i < 2; i++) {
        kr_auto char *key = kr_strf("data.%s", same[i]);
        const char *of_model = kr_weights_told(w, same[i]), *of_data = key ? kr_weights_told(w, key) : NULL;
        if (of_model && of_data && strcasecmp(of_model, of_data) && around_no(of_model) != around_no(of_data))
            return kr_fail(KR_EREFUSED, "%s of the configuration is %s for the network and %s for its data", same[i], of_model, of_data);
    }
    const char *unit = or_else(w, "fft_normalization", "ortho");
    f->kspace = !strcasecmp(unit, "backward") || !strcasecmp(unit, "none") ? 1 : !strcasecmp(unit, "forward") ? -1 : 0;
    f->unit = f->normalise != AS_IT_IS ? 0 : !strcasecmp(unit, "backward") || !strcasecmp(unit, "none") ? -1 : !strcasecmp(unit, "forward") ? 1 : 0;
    const char *own = kr_weights_told(w, "estimate_coil_sensitivity_maps"), *type = or_else(w, "coil_sensitivity_maps_type", "espirit");
    double box, sigma;
    if (around_number(&box, w, "coil_sensitivity_maps_espirit_kernel_size", 6, 1, 64) || around_number(&sigma, w, "coil_sensitivity_maps_gaussian_sigma", 0, 0, 100))
        return kr_error_code();
    f->centre = (long)box;
    f->sigma = sigma;
    if (own && !around_no(own) && strcasecmp(own, "none")) {
        if (strcasecmp(type, "rss"))
            return kr_fail(KR_EREFUSED, "coil_sensitivity_maps_type of the configuration is '%s'; Kray has ATOMMIC's rss", type);
        if (f->maps == BY_NETWORK)
            return kr_fail(KR_EREFUSED, "the configuration estimates coil maps from the data and refines them by the network in the weights, which is not built");
        f->maps = FROM_CENTRE;
    }
    const char *crop = or_else(w, "crop_size", "");
    if (*crop && (sscanf(crop, "%ld %ld", &f->crop[0], &f->crop[1]) != 2 || f->crop[0] < 1 || f->crop[1] < 1))
        return kr_fail(KR_EFORMAT, "crop_size of the configuration is '%s'; two lengths are wanted", crop);
    const char *first = or_else(w, "first_image", "");
    f->first = *first ? kr_recon_named(first) : NULL;
    if (*first && (!f->first || f->first->open || !(f->first->needs & KR_NEEDS_COILS)))
        return kr_fail(KR_EFORMAT, "first_image is '%s'; a method that makes one complex image with coil maps and without a network is wanted, such as wavelet or wcrr", first);
    if (f->first && (f->maps != GIVEN || f->uncentred || f->rss || f->normalise != AS_IT_IS || f->crop[0]))
        return kr_fail(KR_EREFUSED, "first_image goes with coil maps of the scan, a centred transform, SENSE combination and normalization_type none, not with others");
    return 0;
}

/* Values that are built; without: read above, or of no effect on an image (files, losses, logs, how masks of training are drawn). */
static const kr_fact keys[] = {
    { .key = "first_image" }, { .key = "fft_centered" }, { .key = "fft_normalization", .words = "ortho|backward|forward|none" }, { .key = "fft_type" },
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

const around around_atommic = { "atommic", keys, sizeof(facts), read, grid, NULL, one, .begins = true };
