/* recon.h: the table of reconstruction methods, and the way from a file or a scan to an image. */
#ifndef KRAY_RECON_H
#define KRAY_RECON_H
#include "kray/opt.h"
#include "kray/scan.h"
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { KR_NEEDS_COILS = 1 << 0,     /* wants coil maps                                                  */
       KR_MAY_USE_COILS = 1 << 1,   /* uses coil maps if given; combines coils without them otherwise   */
       KR_TAKES_PRIOR = 1 << 2,     /* Tikhonov method: its coil maps may be scaled by confidence, a spatial prior (kr_coils_opts.prior) */
       KR_EACH_SLICE = 1 << 3,      /* the image of a slice depends on this slice alone                 */
       KR_UNFOLDS = 1 << 4,         /* relies on coil sensitivities alone: R outside the ACS must not exceed the number of coils */
       KR_TAKES_SLABS = 1 << 5,     /* slices measured together may be given as a slab: kr_multiband_open */
       KR_WHOLE_READOUT = 1 << 6,   /* works on readouts as they were stored: oversampling is cropped from the image, not the data */
       KR_TAKES_TRAJECTORY = 1 << 8,/* takes non-Cartesian samples; other methods get them gridded       */
       KR_WANTS_SERIES = 1 << 9,    /* works on all frames, or on slices measured together, at once      */
       KR_TAKES_RAYS = 1 << 10,     /* takes X-ray projections                                          */
       KR_RAYS_ALONE = 1 << 11,     /* and nothing else                                                 */
       KR_RAYS_DIRECT = 1 << 12,    /* of those: each voxel is made of the rays by itself, with no model of rays, so that parts of an image are the same as in the whole */
       KR_SOFT_MAPS = 1 << 7 };     /* sparsity or low-rank penalty: coil maps are made with soft cropping (kr_coils_opts.soft) */
typedef struct kr_cost { double bytes, seconds; } kr_cost;    /* peak memory beyond the scan; time on this machine */
typedef struct kr_recon {
    const char *name, *summary, *cite;
    unsigned needs;
    const kr_opt *opts; size_t opts_size;                     /* one table: parsing, help, docs, provenance */
    /* out {X,Y,Z,SLICE,...} on the grid of the scan's data, in image space, complex where the method gives phase.
     * scan was prepared; coils {X,Y,Z,COIL,MAP,SLICE} where needed or given, else NULL. */
    int (*run)(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace);
    int (*plan)(kr_cost *cost, const kr_scan *scan, const void *opts);    /* scan with shape, data may be NULL */
    /* Reads once what run and plan use (weights), into fields of opts that no option sets; and drops it. NULL: nothing; without it they
     * read by themselves. */
    int (*open)(void *opts);
    void (*close)(void *opts);
    /* As run, for scans of one slice that come one after the other: what rests on mask, maps and calibration lines (kernels) is left in *left
     * for the next, which drops it where it does not fit; and drops it for good. NULL: run leaves nothing. */
    int (*again)(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, void **left, const kr_trace *trace);
    void (*forget)(void **left);
    /* As again, for frames of one slice that follow each other in time (kr_job_follow): also the image is left, where the iterations of the next begin.
     * NULL: every frame begins anew. */
    int (*follow)(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, void **left, const kr_trace *trace);
    /* What is needed beside `needs` with what was opened (weights); NULL: nothing. */
    unsigned (*also_needs)(const void *opts);
    /* Instead of the image its standard deviation, R32, where samples have noise of deviation 1; 1: not known in closed form for this scan. NULL: for none. */
    int (*deviation)(kr_image **sd, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace);
} kr_recon;
extern const kr_recon *const kr_recons[];   /* NULL-terminated */
const kr_recon *kr_recon_named(const char *name);

/* Scan -> operator of one SLICE (and one of each further axis): A = P F S over the axes still in k-space.
 * scan->data {X,Y,Z,COIL} must have no further axes. With a trajectory A = F S, data {SAMPLE,VIEW,COIL}; with rays the line
 * integrals of a real image, data {U,V,VIEW}, coils NULL. */
kr_linop *kr_model(const kr_scan *scan, const kr_array *coils) KR_MUST_USE;

/* y = P F S x: the samples that an image would give, of every slice and further axis. Maps of one set, scan with data, x C32 on its grid;
 * others are refused. y as scan->data. */
int kr_samples_of(kr_array **y, const kr_scan *scan, const kr_array *coils, const kr_array *x) KR_MUST_USE;

/* From a scan that was read to an image: prepare (readouts stay whole where the method wants them so), coil maps (if `coils` is NULL and the method needs them), run, crop to the recon matrix, check.
 * `opts` as kr_opt_parse filled it. Owner of *out: the caller. */
int kr_reconstruct(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_prepare *prepare,
                   const kr_array *coils, const kr_coils_opts *coil_opts, const kr_trace *trace) KR_MUST_USE;

/* ---- One job: from a file, a scan or single slices to an image ----
 * Opened once with a method and all that is asked for. The image is that of `kray recon`, bit for bit. One thread at a time; different
 * jobs run side by side. */
typedef struct kr_job kr_job;
typedef struct kr_job_opts {             /* what this points to stays with the caller, unchanged, until the job is dropped */
    kr_stated stated;
    kr_prepare prepare;                  /* methods that want whole readouts (KR_WHOLE_READOUT) get them whatever this says */
    kr_coils_opts coils;                 /* how maps are made, for methods that want some               */
    bool coils_asked;                    /* that is more than the preset: auto then combines full scans by maps */
    const kr_array *maps;                /* these coil maps instead, C32; NULL: those of the file, else made */
    const char *undersample;             /* keep only these samples, see kr_mask_from; NULL: all        */
    bool phase;                          /* auto takes a method whose image has phase; partial other than "zero": likewise */
    const char *partial;                 /* "zero", or how kr_partial_fourier completes k-space         */
    bool whole;                          /* files get all notes of the image, as kr_meta_set_whole says */
    const char *from;                    /* format of files; NULL: recognised                           */
    const char *geometry;                /* X-ray projections: how they were measured, for kr_projections_geometry; NULL: the file says */
    int64_t memory;                      /* bytes that the program may take: files are worked on in pieces; 0: no limit */
    const void *values;                  /* the method's options as kr_opt_parse filled them (copied); NULL: presets */
    const char *given;                   /* name of one that was given, for auto; NULL: none             */
} kr_job_opts;
kr_job_opts kr_job_preset(void);
/* method: a name or "auto". options: "lambda=0.002,iterations=50" on top of how->values, by auto those of KR_AUTO_USUAL; NULL: none. A comma
 * that no NAME= follows belongs to the value. how NULL: kr_job_preset. Weights and other files of the method are read here, once.
 * Refuses unknown methods and options. */
kr_job *kr_job_open(const char *method, const char *options, const kr_job_opts *how) KR_MUST_USE;
void kr_job_unref(kr_job **j);
/* The image of a scan as it was read, or of some slices of it; *scan is prepared in place. With sampling and provenance in its meta. Owner of
 * *out: the caller. Refuses as kr_scan_state, kr_scan_prepare, kr_scan_undersample and the method do. */
int kr_job_run(kr_job *j, kr_image **out, kr_scan *scan, const kr_trace *trace) KR_MUST_USE;
/* Its two halves: what is stated, preparation, undersampling, the choice of the method; and the image of a scan made ready so, also
 * several times. */
int kr_job_prepare(kr_job *j, kr_scan *scan, const kr_trace *trace) KR_MUST_USE;
int kr_job_image(kr_job *j, kr_image **out, kr_scan *prepared, const kr_trace *trace) KR_MUST_USE;
/* The image of a file (kr_source), which is another measurement: kr_job_reset. Large files, and those that how->memory is too small for, are
 * worked on in pieces of some slices, where format and method allow it. */
int kr_job_file(kr_job *j, kr_image **out, const char *source, const kr_trace *trace) KR_MUST_USE;
/* Only reads it whole, for kr_job_run. */
int kr_job_read(kr_job *j, kr_scan **out, const char *source, const kr_trace *trace) KR_MUST_USE;
/* Peak memory of the program and time for so many slices of a scan of which the header is enough; of projections all of them, whatever `slices`. */
int kr_job_plan(kr_job *j, kr_cost *cost, const kr_scan *header, long slices) KR_MUST_USE;
/* The same of a file, worked on *piece slices at a time. *head (owner: the caller): what its header says. The method that auto takes
 * is told by the data, which are read for it. Refuses where a single slice does not fit into how->memory. */
int kr_job_plan_file(kr_job *j, kr_cost *cost, long *piece, kr_scan **head, const char *source) KR_MUST_USE;
/* The next scan is another measurement: what auto chose and what is kept go. Weights stay. */
void kr_job_reset(kr_job *j);
/* Coil maps made by the runs that follow are kept under this number (0 to 4095: a slice, say) and used by later runs under it, of scans of the same
 * shape; so are the mixtures of compressed coils, and kernels that a method fitted to the calibration lines, for scans of the same mask; so is a noise scan, for all numbers, used by scans without one. -1: nothing is kept or used, as after kr_job_open. */
int kr_job_keep(kr_job *j, int number) KR_MUST_USE;
/* on: runs under one number are frames that follow each other: iterations begin at the image before (kr_recon.follow), on the scale of the first,
 * so that an image depends on those before it. */
void kr_job_follow(kr_job *j, bool on);
/* The method, NULL until auto has chosen; its options, which may be changed between runs; coil maps that are given or kept under the number in
 * use (weighted by a prior, where the method asks for that: kr_coils_opts.prior), else NULL. Of the job. */
const kr_recon *kr_job_method(const kr_job *j);
void *kr_job_values(kr_job *j);
const kr_array *kr_job_maps(const kr_job *j);
/* All in one: kr_recon_run("scan.h5", "wavelet", "lambda=0.002", &image). Owner of *out: the caller. */
int kr_recon_run(const char *source, const char *method, const char *options, kr_image **out) KR_MUST_USE;

/* ---- The method that a scan wants, where nobody says ----
 * X-ray projections: fbp. An option of KR_AUTO_USUAL was given, or slices were measured together: that one. Fully sampled (every slice): rss, or adjoint where
 * maps or phase are asked for. Along a trajectory KR_AUTO_USUAL, of several coils and a large image sense. Undersampled, one coil: KR_AUTO_USUAL; several coils:
 * wcrr (with the weights that come with Kray) for planes of one frame from R = 2.25 and 10 calibration lines on (12 x 12 where samples are missing along two axes), where one set of coil maps
 * holds (kr_coils_hold) or is given; else spirit (l1-SPIRiT), but KR_AUTO_USUAL for a volume, where coil maps are given, or where spirit would take too many bytes; fewer than 6 calibration
 * lines (10 or 12 where they cannot decide spirit's kernels): nlinv; none: the zero-filled image, with a warning. a->why then says why. NULL: failed. A scan of which only the header was read is guessed at. */
#define KR_AUTO_USUAL "wavelet"
typedef struct kr_auto_choice {
    bool maps;                       /* coil maps are given                                             */
    bool maps_asked;                 /* or a way to make them other than the preset                     */
    bool phase;                      /* the image's phase is wanted                                     */
    bool undersampled;               /* a mask will thin out the data                                   */
    const char *given;               /* an option of KR_AUTO_USUAL that was given; NULL: none           */
    long calib[3];                   /* largest calibration area, 0: any                                */
    double bytes;                    /* that the method may take for one slice, beside the scan; 0: a constant */
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

/* ---- Kray's own network, refine ----
 * What it is given of one slice: the image of `method` (wavelet for refine) and A^H y {X,Y}, coil maps {X,Y,COIL}, mask and noise (its standard deviation, of real and
 * imaginary part each) R32 {X,Y}; all in units of `scale`, the 99th percentile of the image. part: one slice, prepared; maps as for that
 * method; sigma: the noise of its samples. Refuses several sets of maps, and what the method refuses. */
typedef struct kr_refine_input { kr_array *start, *adjoint, *sens, *mask, *noise; double scale; } kr_refine_input;
int kr_refine_input_of(kr_refine_input *r, const kr_scan *part, const kr_array *maps, double sigma, const kr_recon *method, const kr_trace *trace) KR_MUST_USE;
void kr_refine_input_clear(kr_refine_input *r);

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
