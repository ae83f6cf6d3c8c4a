/* scan.h: one measurement, whatever file it came from. */
#ifndef KRAY_SCAN_H
#define KRAY_SCAN_H
#include "kray/image.h"
#include "kray/rays.h"
#ifdef __cplusplus
extern "C" {
#endif

/* One readout as the scanner labelled it (ISMRMRD counters and flags); its samples are elsewhere. */
typedef struct kr_line {
    uint64_t flags;                  /* ISMRMRD bits, 1 << (n - 1)                                      */
    uint32_t uid, counter, time_stamp, physio[3];
    uint16_t samples, channels, traj_dims, discard_pre, discard_post, center_sample, encoding;
    uint16_t ky, kz, average, slice, contrast, phase, repetition, set, segment, user[8];
    float dwell_us, position[3], read_dir[3], phase_dir[3], slice_dir[3], table[3];
    int32_t user_int[8]; float user_float[8];
} kr_line;
enum kr_line_kind { KR_LINES_IMAGING, KR_LINES_CALIB, KR_LINES_NOISE, KR_LINES_PHASECORR, KR_LINES_NAVIGATION,
                    KR_LINES_FEEDBACK, KR_LINES_DUMMY, KR_LINES_SURFACE, KR_LINES_STABILISE, KR_LINES_KINDS };
const char *kr_line_kind_name(int kind);
enum kr_line_kind kr_line_kind_of(uint64_t flags);       /* calibration that is imaging too counts as imaging */
/* Lines of one kind, in the order measured; `slice` counts along SLICE of data. data {SAMPLE,COIL,VIEW} as measured (reversed
 * lines are not mirrored), NULL for kinds whose samples went into data, calib and noise; shorter lines end in zeros. */
typedef struct kr_lines { long count; kr_line *line; kr_array *data; } kr_lines;
/* What a sequence played, readout by readout: the head of a line (flags, counters, samples, dwell_us) and k[i][3 samples], where each sample lies in cycles per metre. */
typedef struct kr_played { long count; kr_line *line; float **k; double fov_mm[3]; /* 0: not stated */ } kr_played;
void kr_played_unref(kr_played **p);
typedef struct kr_waveform { uint16_t id; uint32_t time_stamp, counter; uint16_t channels, samples; float sample_time_us; uint32_t *data; } kr_waveform; /* data[channel][sample] */

/* The readout gradient, where samples are taken while it rises and falls: times in us from its start. */
typedef struct kr_ramp {
    double up_us, flat_us, down_us;  /* rise, plateau, fall                                             */
    double delay_us, read_us;        /* start and duration of sampling; read_us 0: sampled evenly in k-space */
    bool sine;                       /* rises and falls as a quarter of a sine; otherwise straight      */
} kr_ramp;
/* Where n samples, at the middle of their dwell times, lie in k-space, as fractions of the range that all of them cover, 0 in the
 * middle, ascending. Refuses sampling outside the gradient, and times that make no gradient. */
int kr_ramp_positions(const kr_ramp *r, long n, double *k) KR_MUST_USE;

/* One encoding: the grid that was measured and the one wanted. */
typedef struct kr_encoding {
    long encoded[3], recon[3];       /* matrix; 0: unknown                                              */
    double encoded_mm[3], recon_mm[3]; /* field of view; 0: unknown                                     */
    char trajectory[16];             /* "cartesian", "epi", ...; "" unknown                             */
    long accel[2];                   /* in Y and Z as the header says; 0: unknown                       */
    struct { long min, max, centre; bool known; } limit[3];   /* k-space indices along X, Y, Z; max is inclusive */
    kr_ramp ramp;                    /* data with it have as many points along X as samples were taken, not encoded[0] */
} kr_encoding;

/* Simultaneous multi-slice: `factor` slices are measured together, band b of B holds slices b, b + B, b + 2B, ... Slice j of a band has the
 * phase exp(-2 pi i j k_y / shift), k_y counted from DC: it lies j / shift of the whole field of view further along y (CAIPI), however
 * many lines are measured. data {X,Y,COIL,SLICE=B}; calib {X,Y,COIL,SLICE=factor B} is the single-band reference, without
 * shifts; geom has the positions of all slices. See kr_multiband_open. */
typedef struct kr_multiband {
    long factor;                     /* 0, 1: one slice at a time                                       */
    long shift;                      /* 0, 1: slices lie on top of each other; negative: towards lower y */
    double distance_mm;              /* of neighbouring slices of a band; 0: unknown                    */
    long depth, first, step;         /* of a slab (kr_multiband_open), depth 0: as measured             */
} kr_multiband;

/* What samples are: points of k-space on a grid, points of k-space along a trajectory, line integrals of X-rays. */
enum kr_scan_kind { KR_SCAN_GRID, KR_SCAN_SAMPLES, KR_SCAN_RAYS };
typedef struct kr_scan {
    kr_shape shape;                  /* of data; also when only the header was read (data NULL)         */
    kr_array *data;                  /* C32 {X,Y,Z,COIL,SLICE,...}, DC at N/2, zero where not measured; contiguous */
    kr_array *mask;                  /* R32 {X,Y,Z and other axes as needed} 1 where measured; NULL: everywhere */
    kr_array *calib_area;            /* R32 {X,Y,Z as needed} 1 where data were meant for calibration; NULL: the mask's centre */
    kr_array *calib;                 /* C32 {X,Y,Z,COIL,SLICE} separate calibration lines, DC at N/2; NULL: none */
    kr_array *calib_mask;            /* R32, which of calib was measured; NULL: all                     */
    kr_array *noise;                 /* C32 {SAMPLE,COIL} noise only; NULL: not measured                */
    kr_array *traj;                  /* R32 {SAMPLE,VIEW,CHAN} and axes along which it changes, as in the file (kr_scan_trajectory); NULL: Cartesian */
    const char *traj_unit;           /* of traj, one of kr_traj_units; NULL: told by its range           */
    kr_array *density;               /* R32 {SAMPLE,VIEW and axes of traj}, see kr_scan_density; NULL: not made yet */
    kr_array *field;                 /* R32 {X,Y,Z,SLICE} off-resonance in Hz on the grid of the image, kr_scan_field; NULL: none */
    double first_us;                 /* time from time zero, where off-resonance has no phase, to the first sample of a readout */
    kr_rays *rays;                   /* of X-ray projections: data R32 {U,V,VIEW} of a volume, or {U,VIEW,SLICE} slice by slice; NULL: MRI */
    kr_grid grid;                    /* with rays: of the image of a slice, or of the volume              */
    enum kr_ray_model ray_model;     /* with rays: what a voxel adds to one                               */
    kr_array *coils;                 /* C32 {X,Y,Z,COIL,MAP,SLICE} maps that came with the file; NULL    */
    kr_image *reference;             /* the file's own target image (fully sampled RSS); NULL            */
    unsigned in_image;               /* axes of data that already are in image space: KR_ON(KR_X) ...    */
    bool whitened;                   /* channels have unit, uncorrelated noise                           */
    bool by_sequence;                /* its lines were placed by a kr_played                             */
    double dwell_us, noise_dwell_us, noise_bandwidth;   /* 0: unknown                                    */
    kr_encoding enc;
    kr_multiband multiband;
    kr_geom *geom;                   /* never NULL; of the recon matrix; directions as stored: kr_scan_image_geom  */
    int kspace_sign;                 /* 1, -1: as asked for; 0: the vendor's (kr_scan_kspace_sign)       */
    kr_meta *meta;                   /* never NULL: protocol, te_ms, tr_ms, field_T, acquisition, ...    */
    char *header_xml;                /* ISMRMRD header as in the file; NULL                              */
    kr_lines lines[KR_LINES_KINDS];
    kr_waveform *waveform; long waveforms;
    char *file;                      /* where it came from                                               */
    const char *format;              /* name of the format, static                                       */
    kr_text notes;                   /* what the reader wants the user to know, one sentence a line      */
} kr_scan;
kr_scan *kr_scan_new(void) KR_MUST_USE;
void kr_scan_unref(kr_scan **s);
enum kr_scan_kind kr_scan_kind_of(const kr_scan *s);
void kr_scan_note(kr_scan *s, const char *fmt, ...) KR_PRINTF(2, 3);
/* Slices from..from+count-1 as a scan of its own (views; of the lines those of imaging, calibration and phase
 * correction; waveforms stay with the original). */
kr_scan *kr_scan_slices(const kr_scan *s, long from, long count) KR_MUST_USE;
/* Refuses: no data, not finite, all zero, mask of another shape or keeping nothing. */
int kr_scan_check(const kr_scan *s) KR_MUST_USE;
/* The data with every axis in k-space: another handle where they are, else a transformed copy. Refuses a scan without data. */
kr_array *kr_scan_kspace(const kr_scan *s) KR_MUST_USE;

/* ---- Samples that lie anywhere in k-space ----
 * Brings traj to cycles per field of view of the encoded matrix, from traj_unit or, where that is not stated, by its range: up to 1/2 it is in
 * cycles per sample, up to pi in radians per sample. A third coordinate that is 0 everywhere goes; a matrix that is not known becomes twice the largest k (in cycles per field of view), or,
 * in cycles per sample, the number of samples of readouts that go through the centre from edge to edge. Refuses another shape than that of the
 * data, coordinates that are not finite, ranges that are none of these, and other readouts in cycles per sample without a matrix. */
int kr_scan_trajectory(kr_scan *s, const kr_trace *trace) KR_MUST_USE;
/* A trajectory that was kept elsewhere: {SAMPLE,VIEW,CHAN}; with its 2 or 3 coordinates along the first axis, as BART writes it; or complex, kx + i ky. Where
 * the data have no such axes, their first two axes longer than 1 become SAMPLE and VIEW. Refuses other counts than those of the data. */
int kr_scan_attach_trajectory(kr_scan *s, const kr_array *traj) KR_MUST_USE;
/* The image of a scan, {X,Y,Z and its further axes}: the grid of the data, or the encoded matrix of one with a trajectory, or
 * the grid of one with rays. */
kr_shape kr_scan_image_shape(const kr_scan *s);
/* The area (volume) of k-space that belongs to each sample, R32 as traj without CHAN: A^H W A is about 1 where k-space is covered. After
 * kr_scan_trajectory. kind: "pipe-menon" (also NULL: ten steps of w = w / (C w), Pipe and Menon, Magn Reson Med 41:179 (1999)); "voronoi" (of a
 * plane, within |k| <= N/2 + 1/2; Rasche et al., IEEE Trans Med Imaging 18:385 (1999)); "ramp" (spokes through the centre, by formula). Refuses
 * other words, and trajectories that a kind is not for. Owner: the caller. */
kr_array *kr_scan_density(const kr_scan *s, const char *kind) KR_MUST_USE;
bool kr_density_is_kind(const char *word);
/* What a Cartesian scan would have held, about: the Fourier transform of A^H W y, every coil by itself. Has data, geometry and meta; no mask.
 * Source: Jackson et al., IEEE Trans Med Imaging 10:473 (1991). Owner: the caller. */
kr_scan *kr_scan_gridded(const kr_scan *s, const kr_array *density) KR_MUST_USE;

/* ---- Where the voxels are ----
 * The sign s of k = sum rho(r) exp(s 2 pi i k r), r along the stored directions: kspace_sign, or that of the vendor (meta "vendor", by the
 * beginning of its name): 1 for Siemens, -1 for others and for spirals of Siemens. *known: asked for, or shown for this vendor. */
int kr_scan_kspace_sign(const kr_scan *s, bool *known);
/* The geometry of an image that a centred inverse FFT makes: that of the scan; with the sign 1 the directions of the encoded axes are
 * turned round (read, phase, and slice of 3D), positions and slice order stay. Owner: the caller. The scan keeps its own, so that raw
 * data can be written again. */
kr_geom *kr_scan_image_geom(const kr_scan *s) KR_MUST_USE;
/* One sentence about that sign; nothing where the file has no directions. */
void kr_scan_sign_text(kr_text *t, const kr_scan *s);
/* States the voxel size (mm, of the encoded grid) of a scan whose file does not. Refuses sizes that are not above 0, and others than the
 * file's own (0.1 %). */
int kr_scan_voxel(kr_scan *s, const double mm[3]) KR_MUST_USE;

/* ---- Where the centre of k-space is ---- */
/* Adds a sentence to `t` for each thing that the samples say against the origin being at N/2: the energy of k-space peaks elsewhere
 * (lines along Y and Z, samples along X), lies in the corners, the numbers look like an image, one sample is a spike, one channel too strong, others empty. Looks at the first slice and frame. */
int kr_scan_centre_check(kr_text *t, const kr_scan *s) KR_MUST_USE;
/* Adds a sentence where much less was measured of some slices or frames than of the others, or nothing. */
int kr_scan_uneven(kr_text *t, const kr_scan *s) KR_MUST_USE;
/* Moves what is at index at[a] along X, Y and Z (the counter, where lines were placed by counters; -1: stays) to N/2. An origin at 0 of a full
 * array is taken for the order of an FFT and turned round; else lines beyond the new grid, which grows as needed, are not measured. Refuses
 * indices outside the data, axes in image space and scans that are not on a grid. */
int kr_scan_centre(kr_scan *s, const long at[3]) KR_MUST_USE;

/* ---- From lines to a grid: what readers of scanner data (ISMRMRD, vendors' files, streams) share ----
 * Sorts lines into kinds and plans, from their counters alone, the grids of imaging and calibration data: first all heads,
 * then their samples in pieces of any size. Fills shape, lines, geom, dwell times, masks and notes of `s`, whose enc and
 * meta ("calibration_mode") are set; `encoding` lists all encodings the lines may refer to. Lines and encodings are borrowed
 * until kr_placing_end. Rules (Gadgetron's BucketToBuffer):
 *   y = ky + Ny/2 - centre, z likewise; x = sample - center_sample + N/2, or straight where a line fills the readout;
 *   reversed lines are mirrored; discarded samples are not measured; lines outside the grid are left out and counted;
 *   counters span their axes (contrast ECHO, repetition TIME, average AVG); lines of all segments share one grid, and what
 *   was measured more than once is averaged; slices whose counters do not follow their positions are put in order.
 *   Calibration-only lines (with those flagged as calibration and imaging) go to calib, a grid just large enough with DC at
 *   N/2, averaged over all but slice; where their counters do not reach the centre they are counted from their own middle.
 *   Not Cartesian: data {SAMPLE,VIEW,COIL,SLICE,...}, VIEW in the order measured, traj {SAMPLE,VIEW,CHAN} and those further
 *   axes along which it changes.
 * With `played` (borrowed until kr_placing_end) line i is readout i of the sequence, whatever it says of itself: kind and counters by labels, positions by the
 * gradients. Further lines are the scanner's: noise, then all that are neither imaging nor calibration are left out of the count. A sequence
 * that was played several times goes on along TIME. Straight readouts along X at whole steps 1 / fov of Y and Z lie on a grid; others, as many samples as most have,
 * along their path, in cycles per metre. The sequence's field of view replaces the header's, and, where that is another, its matrix. Refuses other numbers of lines
 * and samples.
 * Refuses lines without imaging, unequal channels, and grids far larger than what was measured or than this machine. */
typedef struct kr_placing kr_placing;
typedef struct kr_placing_plan { const kr_line *line; long count; const kr_encoding *encoding; int encodings;
                                 bool header_only; long slice_from, slice_count; const kr_played *played; } kr_placing_plan;
kr_placing *kr_placing_new(kr_scan *s, const kr_placing_plan *plan) KR_MUST_USE;
bool kr_placing_wants(const kr_placing *p, long line);   /* are this line's samples needed? */
#ifndef __cplusplus
/* Samples of lines from..from+count-1: samples[i] is [channel][sample] (NULL: not wanted), traj[i] [sample][dimension] (traj
 * NULL: none). */
int kr_placing_put(kr_placing *p, long from, long count, const kr_cfloat *const *samples, const float *const *traj) KR_MUST_USE;
#endif
int kr_placing_end(kr_placing **p) KR_MUST_USE;          /* averages what was measured twice, and drops p */
void kr_placing_unref(kr_placing **p);

/* ---- What the user states of a scan beyond its file ----
 * All zero: nothing. kr_scan_state applies it to a scan as read, in this order, and makes data and mask agree (kr_scan_measured). Says what
 * that changed, what speaks against the centre of k-space, and a sign that is not verified. Refuses what contradicts the file. */
typedef struct kr_stated {
    int kspace_sign;                 /* 1, -1; 0: the vendor's                                          */
    double voxel_mm[3];              /* of the encoded grid; 0: not stated                              */
    bool centred; long centre[3];    /* kr_scan_centre                                                  */
    kr_array *traj;                  /* kr_scan_attach_trajectory                                       */
    const char *traj_spec;           /* instead: kr_scan_make_trajectory                                */
    long spokes;                     /* readouts of a frame: kr_scan_frames; 0: as measured             */
    double delay[3];                 /* samples by which the gradients along X, Y, Z lag: kr_traj_delay */
    bool delay_auto;                 /* instead: kr_scan_lag                                            */
    const char *density_kind;        /* kr_scan_density                                                 */
    kr_array *density;               /* instead: weights of every sample                                */
    const struct kr_along *along;    /* more of a trajectory: trajectory.h; NULL: nothing, borrowed     */
    long matrix[3];                  /* of the image of a scan with a trajectory; 0: not stated         */
    long multiband, caipi;           /* factor and shift of kr_multiband_set; 0: as the file says       */
    kr_scan *single_band;            /* the same slices one at a time, full or low resolution: becomes calib */
    kr_array *covariance;            /* kr_scan_covariance                                              */
} kr_stated;
int kr_scan_state(kr_scan *s, const kr_stated *what, const kr_trace *trace) KR_MUST_USE;

/* ---- Making ready ---- */
typedef struct kr_prepare {
    bool whiten;                     /* by the noise of the file, where there is one                    */
    bool oversampling;               /* remove readout oversampling (encoded_mm[0] > recon_mm[0])       */
    long coils;                      /* compress to so many virtual coils; 0: leave                     */
    const char *compression;         /* "svd" or "geometric"                                            */
    struct kr_mixtures **mixtures;   /* of the compression, for further scans of the same coils: kr_coils_compress; NULL: each its own */
    bool average;                    /* average over AVG                                                */
    const char *ghost;               /* of echo-planar scans: kr_epi_prepare; NULL: "auto"               */
} kr_prepare;
extern const kr_prepare kr_prepare_preset;     /* whitened, without oversampling, averaged, all coils */
/* In place: echo-planar readouts, averages, readout oversampling, noise, compression, slabs of slices measured together. data, calib, noise and masks stay in step. Where the mask does
 * not vary along X, cropped data stay in image space along X (in_image). */
int kr_scan_prepare(kr_scan *s, const kr_prepare *p, const kr_trace *trace) KR_MUST_USE;
/* Echo-planar readouts, in place. Samples taken on ramps (enc.ramp) come to the regular grid: the least-squares image of the
 * width that they determine. Where one image has lines measured forwards and backwards, the odd/even echo phase (constant and
 * linear along the readout) is estimated and half of it removed from each. ghost: "navigator" (lines flagged as phase correction, each shot's own),
 * "entropy" (of the image), "svd" (singular values of neighbouring lines), "none", or "auto": navigators where there are some,
 * and what these leave by entropy, if two of three lines were measured; otherwise entropy alone. Other scans stay as they are, and so does one that was prepared before. Refuses sampling outside the gradient,
 * and navigators where there are none. Meta "ghost" tells what was done. */
int kr_epi_prepare(kr_scan *s, const char *ghost, const kr_trace *trace) KR_MUST_USE;
/* Back to k-space along those of the axes that are in image space. */
int kr_scan_to_kspace(kr_scan *s, unsigned axes) KR_MUST_USE;
/* C = X^H X / (N-1) {COIL,MAP=COIL} and the upper triangular whitening matrix W = s R^-1, R^H R = C. */
kr_array *kr_noise_covariance(const kr_array *noise) KR_MUST_USE;
kr_array *kr_noise_whitener(const kr_array *noise, double dwell_us, double noise_dwell_us, double bandwidth) KR_MUST_USE;

/* A covariance given instead of measured: c {X=j,Y=i} of E[n_i conj n_j], for samples as the data have them. s->noise becomes samples that have
 * exactly this covariance, and whitening goes by them. Refuses other sizes than channels, and what is not Hermitian (to 1e-3 of its
 * largest) and positive definite. */
int kr_scan_covariance(kr_scan *s, const kr_array *c) KR_MUST_USE;

/* *noise: the expected |n| of all samples that were measured together, from the twentieth of them that lies farthest from DC, where
 * signal is least (their median, so that what signal there is counts little); whitened data have at most 1 a sample. */
int kr_noise_level(double *noise, const kr_scan *s) KR_MUST_USE;

/* ---- Slices measured together ---- */
bool kr_is_multiband(const kr_scan *s);
/* Says that slices were measured together, where the file does not. Refuses less than two slices and shifts below FOV / 64. */
int kr_multiband_set(kr_scan *s, long factor, long shift) KR_MUST_USE;
/* A scan of single slices, fully measured, becomes one of `factor` slices at a time (their noise adds up), with the middle `lines` lines
 * of each slice (0: all) as its reference. Refuses numbers of slices that are no multiple of the factor. */
int kr_multiband_collapse(kr_scan *s, long factor, long shift, long lines) KR_MUST_USE;
/* Of neighbouring slices of a band, mm, by their positions; 0: unknown. */
double kr_multiband_distance(const kr_scan *s);
/* The end of kr_scan_prepare: data become slabs {X,Y,Z=depth,COIL,SLICE=B}, of which every line is measured at one k_z: planes 0 to
 * factor - 1 are the slices of a band, further ones, where shifts ask for them, are empty. Images of a slab are sqrt(depth) times
 * the slices'. Refuses more slices than coils, and a reference of other coils, slices or readout. */
int kr_multiband_open(kr_scan *s) KR_MUST_USE;
/* Maps {X,Y,COIL,MAP,SLICE=factor B} as those of a slab: 0 on empty planes. */
kr_array *kr_multiband_stack(const kr_array *singles, const kr_scan *s) KR_MUST_USE;
/* And back: the slices of an array {X,Y,Z=depth,...,SLICE=B}. */
kr_array *kr_multiband_singles(const kr_array *slab, const kr_scan *s) KR_MUST_USE;
/* The image of slabs becomes that of slices. */
int kr_multiband_close(kr_image *im, const kr_scan *s) KR_MUST_USE;
/* The sum of slices as it was measured, {X,Y,COIL,SLICE=B,...}, from slabs. */
kr_array *kr_multiband_flat(const kr_scan *s) KR_MUST_USE;
#ifndef __cplusplus
/* exp(-2 pi i j k_y / shift) */
kr_cfloat kr_multiband_phase(const kr_multiband *b, long j, long ky);
#endif

/* ---- Sampling masks: R32 {X,Y,Z,TIME as needed} of 0 and 1 ----
 * spec: "KIND:key=value,...", for example "random:accel=4,center=0.08,seed=1" or "poisson:accel=6,calib=24". `kray mask
 * --help` lists the kinds. shape: the grid (X,Y,Z; TIME or PHASE for the kinds that vary in time). name: the file's name,
 * NULL: none; its characters are the seed, as in the published code, unless seed=... says otherwise (without either it
 * is 0). Refuses unknown words, accelerations below 1 or beyond the grid, and centres that do not fit. */
kr_array *kr_mask_new(const char *spec, kr_shape shape, const char *name) KR_MUST_USE;
/* *out: the samples of such a mask that its maker meant for calibration, R32 without frames; NULL where the kind does not say. */
int kr_mask_calib(kr_array **out, const char *spec, kr_shape shape, const char *name) KR_MUST_USE;
/* Which of `count` masks that are kept as a stack is drawn, as DIRECT draws it: `seed` as in a specification ("7", "file"; NULL: the name
 * of the file where `name` is one, else 0). Negative: refused. */
long kr_mask_draw(long count, const char *seed, const char *name) KR_MUST_USE;
bool kr_mask_is_spec(const char *text);        /* the word before ':' is a kind of mask */
/* The kinds, their keys and presets, as lines for the help. */
void kr_mask_kinds(kr_text *help);
/* Puts data to 0 where mask is 0 (in place, also for those who share the numbers), and the scan's mask becomes the
 * samples that were measured (kr_scan_mask) and are kept. mask: any axes of data that are in k-space. Refuses masks of
 * other lengths, along axes in image space, and those that keep nothing; the scan is then as it was. */
int kr_scan_undersample(kr_scan *s, const kr_array *mask) KR_MUST_USE;
/* The mask of the scan if it has one, otherwise one found from exact zeros of the data: a sample counts as measured if
 * any COIL has a number there, or any SLICE where no slice that holds data lacks more than 1 of 100 of these samples; along X only the range that is 0 in all lines counts as not measured, unless more
 * than 1 in 100 samples is missing elsewhere too. Without the axes along which it is constant: a full scan gives the
 * single number 1. */
kr_array *kr_scan_mask(const kr_scan *s) KR_MUST_USE;

/* Makes data and mask of a scan as read agree, and adds a sentence to `t` for each thing that did not: lines of residue (1e-9 of noise, or what a
 * transform leaves) become 0, as not measured; where the mask of a file says of lines that hold zeros that they were measured, what is not 0
 * is the mask; samples that hold data and that the mask leaves out become 0. Of lines that a scanner counted only samples between
 * others that are 0 in all channels, where they are more than 1 of 100, become unmeasured. Scans off the grid stay as they are. */
int kr_scan_measured(kr_text *t, kr_scan *s) KR_MUST_USE;

/* What a mask does on a grid; arrays are along X, Y, Z. */
typedef struct kr_mask_facts {
    long n[3];                       /* the grid                                                        */
    long points, measured;           /* of the mask                                                     */
    long encoded[3];                 /* lines of the part that was meant to be measured: the grid without rows that are 0 on both
                                      * sides, where what lies between is full or regular; otherwise n  */
    bool full;                       /* all of that part was measured: fully sampled, zero-padded where encoded < n */
    double accel;                    /* points of the encoded part / measured                           */
    double outer_accel;              /* the same outside the centre; 0: there is nothing outside        */
    long centre[3], centre_from[3];  /* fully sampled box around DC, the same in all frames; n where not undersampled, 0: DC is missing */
    long step[3];                    /* outside the centre every so many-th line is measured; 1: all; 0: no such pattern */
    double partial[3];               /* fraction of partial Fourier, at least 0.5; 1: as far on one side as on the other */
    bool varies;                     /* from frame to frame                                             */
    bool slices;                     /* from slice to slice: frames are slices too                      */
} kr_mask_facts;
/* mask NULL: everything. Refuses a mask that does not fit shape or holds other numbers than 0 and 1. */
int kr_mask_describe(kr_mask_facts *f, const kr_array *mask, kr_shape shape) KR_MUST_USE;
/* "R = 3.97 (94 of 372) along y, centre 29, every 4th along y"; "R = 3 in 108 of 144 lines along y (zero-padded), ..."; "fully sampled, 34 of 40
 * lines along y measured, the rest zero-padded" */
void kr_mask_facts_text(kr_text *t, const kr_mask_facts *f);

/* ---- Coil maps: C32 {X,Y,Z,COIL,MAP,SLICE} on the grid of data ----
 * Where a map is not 0, the sum over coils of |S|^2 is 1 (unless weighted) and the virtual coil with most energy sees phase 0. A single
 * coil has the map 1. */
/* What is to be told of maps once they are made: slices whose maps were replaced, and the fewest calibration lines along an axis where samples are missing, if
 * ESPIRiT had fewer than KR_FEW_LINES; else 0. */
enum { KR_FEW_LINES = 10 };
typedef struct kr_coils_facts { long replaced, lines; } kr_coils_facts;
typedef struct kr_coils_opts {
    const char *method;              /* of kr_coil_methods: "espirit", ...                              */
    long calib[3];                   /* calibration area along X,Y,Z; 0: found in the data, at most 24  */
    long kernel;                     /* ESPIRiT kernel width, 6                                         */
    double threshold;                /* ESPIRiT: of squared singular values relative to the largest; <= 0: automatic */
    double crop;                     /* maps are 0 below; ESPIRiT: of the eigenvalue, < 0: 0.8, soft 0.7; others: of the signal
                                      * relative to its largest, < 0: 0.02                              */
    long maps;                       /* sets of maps: 1, or 2 for soft-SENSE                            */
    bool soft;                       /* ESPIRiT: maps fall smoothly to 0 towards the crop                */
    bool prior;                      /* for methods that regularise, maps weighted by how likely there is an image: times
                                      * eigenvalue^12, other methods signal / 0.1, at most 1. The image found with such maps
                                      * is to be multiplied by the root of sum |S|^2                    */
    kr_coils_facts *facts;           /* what is found is added to them. One set by espirit: slices of which it makes no maps (noise only, too
                                      * few lines), of which the scan has fewer than KR_FEW_LINES, or maps that leave more than a tenth
                                      * of the calibration data unexplained, get those of lowres and count as replaced; NULL: the first
                                      * are refused, the others kept */
} kr_coils_opts;
extern const kr_coils_opts kr_coils_preset;
/* The methods: calibration block {X,Y,Z,COIL,SLICE} -> maps {X,Y,Z,COIL,MAP,SLICE}, contiguous, contents undefined before; each slice on its
 * own. One file, one word in src/scan/meson.build. */
typedef struct kr_coil_method {
    const char *name, *summary, *cite;
    int (*estimate)(kr_array *maps, const kr_array *block, const kr_coils_opts *o, const kr_trace *trace);
} kr_coil_method;
extern const kr_coil_method *const kr_coil_methods[];    /* NULL-terminated                                */
const kr_coil_method *kr_coil_method_named(const char *name);    /* NULL: refused                           */
kr_array *kr_coils_estimate(const kr_scan *s, const kr_coils_opts *o, const kr_trace *trace) KR_MUST_USE;
/* Does one set of ESPIRiT's maps explain the calibration block of each slice? Not where it leaves more than a tenth of it, and not where a second set, with an eigenvalue above
 * the crop, holds more than 3 % of its energy: the object is larger than the field of view. how: of the first set; kernel, threshold, crop and calibration area. */
int kr_coils_hold(bool *hold, const kr_scan *s, const kr_coils_opts *how, const kr_trace *trace) KR_MUST_USE;
/* The warnings that these facts ask for. */
void kr_say_coils(const char *file, const kr_coils_facts *facts, long slices, const kr_trace *trace);
/* data, calib, noise and the file's own maps become those of `coils` virtual coils, of unit noise if the coils had it.
 * "svd": one mixture for all; "geometric": one for each place along the readout, each turned towards its neighbour's (noise
 * then is mixed as in the middle). Refuses more coils than there are; geometric: readouts with gaps. Sources: Buehrer 2007;
 * Zhang 2013. */
typedef struct kr_mixtures kr_mixtures;
void kr_mixtures_unref(kr_mixtures **m);
/* keep: *keep NULL: the mixtures found are left there (owner: the caller); else these are used, so that maps and kernels of the scan that they were
 * found for fit this one. Refuses other counts of coils or places. keep NULL: found for this scan alone. */
int kr_coils_compress(kr_scan *s, long coils, const char *method, kr_mixtures **keep, const kr_trace *trace) KR_MUST_USE;
/* The calibration block {X,Y,Z,COIL,SLICE}: s->calib if there is one, otherwise the largest fully sampled box around
 * DC, within s->calib_area if that is known, at most `most` per axis (0: no limit). Refuses where there is none. */
kr_array *kr_calibration(const kr_scan *s, const long most[3]) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
