/* recon.h: the table of reconstruction methods, and the street from a scan to an image. */
#ifndef KRAY_RECON_H
#define KRAY_RECON_H
#include "kray/opt.h"
#include "kray/scan.h"
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { KR_NEEDS_COILS = 1 << 0,     /* wants coil maps                                                  */
       KR_MAY_USE_COILS = 1 << 1,   /* uses maps that it is given, and combines coils without them else */
       KR_TAKES_PRIOR = 1 << 2,     /* penalises |x|^2, so that the size of coil maps made for it says where an image is likely:
                                     * kr_coils_opts.prior                                              */
       KR_EACH_SLICE = 1 << 3,      /* the image of a slice depends on this slice alone                 */
       KR_UNFOLDS = 1 << 4,         /* coils alone tell what was not measured: no more than there are   */
       KR_TAKES_SLABS = 1 << 5,     /* slices measured together may be given as a slab: kr_multiband_open */
       KR_WHOLE_READOUT = 1 << 6,   /* works on readouts as they were stored: oversampling is cropped from the image, not the data */
       KR_TAKES_TRAJECTORY = 1 << 8,/* samples may lie anywhere in k-space; others get what gridding makes of them */
       KR_SOFT_MAPS = 1 << 7 };     /* regularises by more than size: maps made for it fall off smoothly (kr_coils_opts.soft)   */
typedef struct kr_cost { double bytes, seconds; } kr_cost;    /* peak memory beyond the scan; time on this machine */
typedef struct kr_recon {
    const char *name, *summary, *cite;
    unsigned needs;
    const kr_opt *opts; size_t opts_size;                     /* one table: parsing, help, docs, provenance */
    /* out {X,Y,Z,SLICE,...} on the grid of the scan's data, in image space, complex where the method gives phase.
     * scan was prepared; coils {X,Y,Z,COIL,MAP,SLICE} where needed or given, else NULL. */
    int (*run)(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace);
    int (*plan)(kr_cost *cost, const kr_scan *scan, const void *opts);    /* scan with shape, data may be NULL */
} kr_recon;
extern const kr_recon *const kr_recons[];   /* NULL-terminated */
const kr_recon *kr_recon_named(const char *name);

/* Scan -> operator of one SLICE (and one of each further axis): A = P F S over the axes still in k-space.
 * scan->data {X,Y,Z,COIL} must have no further axes. With a trajectory A = F S, data {SAMPLE,VIEW,COIL}. */
kr_linop *kr_model(const kr_scan *scan, const kr_array *coils) KR_MUST_USE;

/* y = P F S x: the samples that an image would give, of every slice and further axis. Maps of one set, scan with data, x C32 on its grid;
 * others are refused. y as scan->data. */
int kr_samples_of(kr_array **y, const kr_scan *scan, const kr_array *coils, const kr_array *x) KR_MUST_USE;

/* The whole street: prepare, coil maps (if `coils` is NULL and the method needs them), run, crop to the recon matrix, check.
 * `opts` as kr_opt_parse filled it. Owner of *out: the caller. */
int kr_reconstruct(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_prepare *prepare,
                   const kr_array *coils, const kr_coils_opts *coil_opts, const kr_trace *trace) KR_MUST_USE;

/* ---- The method that a scan wants, where nobody says ----
 * An option of KR_AUTO_USUAL was given, or slices were measured together: that one. Fully sampled (every slice): rss, or adjoint where
 * maps are asked for. Undersampled: KR_AUTO_USUAL; several coils and fewer than 10 calibration lines: nlinv; none: the zero-filled image,
 * with a warning. a->why then says why, in words. NULL: failed. A scan of which only the header was read is guessed at. */
#define KR_AUTO_USUAL "wavelet"
typedef struct kr_auto_choice {
    bool maps;                       /* coil maps are given                                             */
    bool maps_asked;                 /* or a way to make them other than the preset                     */
    bool undersampled;               /* a mask will thin out the data                                   */
    const char *given;               /* an option of KR_AUTO_USUAL that was given; NULL: none           */
    long calib[3];                   /* largest calibration area, 0: any                                */
    char why[128];
} kr_auto_choice;
const kr_recon *kr_recon_auto(kr_auto_choice *a, const kr_scan *s, const kr_trace *trace);

/* ---- Partial Fourier ----
 * x, complex image {X,Y,Z,...}, of which k-space was measured further on one side than on the other (mask, as kr_scan_mask gives it):
 * the other side from conjugate symmetry, the phase of low resolution taken off. "pocs": projections onto what was
 * measured and onto that phase, in any number of directions; "homodyne": weighted k-space, one direction. Refuses real images, and
 * next to nothing measured beyond the centre. Sources: Haacke et al., J Magn Reson 92:126 (1991); Noll et al., IEEE Trans Med
 * Imaging 10:154 (1991). */
int kr_partial_fourier(kr_array *x, const kr_array *mask, const char *how, const kr_trace *trace) KR_MUST_USE;
/* kr_reconstruct of a prepared scan, with it. */
int kr_reconstruct_partial(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const char *how, const kr_array *coils,
                           const kr_coils_opts *coil_opts, const kr_trace *trace) KR_MUST_USE;

/* ---- Noise ----
 * The standard deviation of real and imaginary part of every measured sample of a prepared scan: 1 where a noise scan with its
 * dwell time whitened it, sqrt(1/2) where it is not known, else that of the outermost samples. Negative: a refusal. */
double kr_noise_sigma(const kr_scan *prepared, const kr_trace *trace);
/* All samples over those measured (of all frames). Negative: a refusal. */
double kr_noise_accel(const kr_scan *prepared);
/* The standard deviation of a method's image (of real and imaginary part each, where it is complex), R32, over `replicas`
 * reconstructions of the scan with noise of deviation sigma added; kernels and coil maps stay those of the scan. Deterministic.
 * replicas 0: by formula where one is known (grappa; sense, if the mask varies along one axis or is a lattice; one set of maps),
 * else KR_REPLICAS of them.
 * |image| / sd is the image in SNR units; sd / (sigma sqrt(R)) is g, with R of kr_noise_accel and maps that kr_coils_estimate made.
 * Refuses as kr_reconstruct does. Sources: Robson et al., Magn Reson Med 60:895 (2008); Kellman and McVeigh 54:1439 (2005). */
enum { KR_REPLICAS = 100 };
typedef struct kr_noise { const kr_recon *method; const void *opts; long replicas; uint64_t seed; double sigma; } kr_noise;
int kr_noise_map(kr_image **sd, kr_scan *prepared, const kr_array *coils, const kr_coils_opts *coil_opts, const kr_noise *how,
                 const kr_trace *trace) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
