/* io.h: the table of file formats. */
#ifndef KRAY_IO_H
#define KRAY_IO_H
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Where to read: FILE[:VARIABLE][@AXES]. VARIABLE: a MATLAB variable, an HDF5 dataset or an ISMRMRD group. AXES: names in
 * the order in which the array's own tool prints its shape: "k.npy@coil,y,x" (NumPy, slowest first for C order),
 * "brain.mat:kData@x,y,coil" (MATLAB). "reim" names an axis of length 2 that holds real and imaginary part of complex numbers
 * that were stored as real ones: "k.h5:kspace@slice,coil,y,x,reim". */
typedef struct kr_source { char *path, *var, *axes; } kr_source;
int kr_source_parse(kr_source *src, const char *text) KR_MUST_USE;   /* a file that exists under the whole text wins */
void kr_source_clear(kr_source *src);
/* Axis names to axes, in the order given; returns how many, or a refusal. "-" stands for an axis of length 1; "reim"
 * comes as KR_BATCH, and kr_axes_reim tells where it stands (-1: nowhere). */
int kr_axes_parse(const char *text, int order[KR_AXES]) KR_MUST_USE;
int kr_axes_reim(const char *text);

typedef struct kr_read {                    /* what to read; zero reads all                             */
    bool header_only;                       /* shape, header, mask if small; data stays NULL            */
    long slice_from, slice_count;           /* window of SLICE; count 0: all. Formats may ignore it if cheap */
    const struct kr_played *played;         /* place lines by this; refused of files that have none. NULL: as they say */
} kr_read;

/* An image of real numbers {X,Y,Z} that is made part by part while it is written. part: the planes of Z from `from` on, as many as it likes, {X,Y,Z};
 * owner: the caller. */
typedef struct kr_by_part {
    long n[3];                              /* of the whole */
    const kr_geom *geom;
    const kr_meta *meta;
    int (*part)(void *self, kr_array **out, long from);
    void *self;
} kr_by_part;

struct kr_mrd_message;                      /* wire.h */
typedef struct kr_format {
    const char *name, *suffix;              /* "fastmri", ".h5" (several: ".nii .nii.gz")              */
    const char *summary;
    /* 0 no ... 100 surely. head: the first bytes (at most 4096); path may be opened to look inside.    */
    int (*probe)(const unsigned char *head, size_t bytes, const char *path);
    int (*read)(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace);   /* any of these may be NULL */
    int (*write)(const kr_scan *scan, const char *path);          /* to `path` itself; the caller renames into place */
    int (*read_image)(kr_image **out, const kr_source *src);
    int (*write_image)(const kr_image *image, const char *path);
    /* A bare array with names for its axes (masks, maps, anything). */
    int (*read_array)(kr_array **out, const kr_source *src);
    int (*write_array)(const kr_array *a, const kr_meta *meta, const char *path);
    bool by_slice;                          /* a window of slices is read without a look at the others  */
    /* The variables that can be named in FILE:NAME, a line each: "NAME (what it is)". NULL where files hold one thing. */
    int (*list)(kr_text *out, const kr_source *src);
    bool streams;                           /* one file that makes sense read from first byte to last: may go to standard output */
    bool folder;                            /* `path` is a folder of files, which writers make, and which replaces an earlier one of its kind */
    bool raw;                               /* files with its suffixes count as raw data where a folder of scans is given */
    const char *aside;                      /* of those, no scans are the ones whose names hold this: "_mask" (case ignored); NULL: all are */
    bool bare;                              /* a name without suffix means these files, too                  */
    /* The files that belong to one of these: * is its name without the suffix, + the whole of it ("*.hdr", "+.json"); NULL: none. */
    const char *beside;
    int (*write_parts)(const kr_by_part *p, const char *path);      /* an image of one volume part by part; NULL: not by parts */
    bool any;                               /* holds arrays of any meaning: X-ray projections, too       */
    bool columns_first;                     /* arrays of projections without names of axes are (column, row, view) */
    bool volumes;                           /* its images are volumes in mm: an unknown voxel size is written as 1 mm */
    bool positions;                         /* writes the k-space positions of trajectories              */
    bool sequence;                          /* a sequence, whose positions kr_seq_read tells (pulseq.h)   */
    const char *dataset;                    /* images of scans whose notes name this "dataset" go into it; NULL */
    bool cropped;                           /* those who score it crop its images, too, not what comes from the measurement alone */
    kr_image *(*kept)(const kr_image *im);  /* what it keeps of an image that is written; NULL: all      */
    /* What a scanner would send, message by message, until `put` returns other than 0, which is returned; NULL: holds no messages. */
    int (*messages)(const kr_source *src, int (*put)(void *self, const struct kr_mrd_message *m), void *self, const kr_trace *trace);
} kr_format;
extern const kr_format *const kr_formats[];  /* NULL-terminated */
const kr_format *kr_format_named(const char *name);
/* By content, then suffix. Refuses with a sentence that says what was found. */
const kr_format *kr_format_of(const char *path);

/* Length of the format's suffix that the file name in `path` ends in (the longest, case ignored); 0: it ends in none, or is nothing else. */
size_t kr_format_suffix(const kr_format *f, const char *path);

/* The format of a folder that is one thing, such as a series of DICOM files; NULL without a refusal: it is none. */
const kr_format *kr_folder_format(const char *path);

/* Read: recognised by content; `format` NULL or a name that forces one. The refusal names the file. */
int kr_scan_read(kr_scan **out, const char *source, const char *format, const kr_read *how, const kr_trace *trace) KR_MUST_USE;
int kr_image_read(kr_image **out, const char *source) KR_MUST_USE;
int kr_array_read(kr_array **out, const char *source) KR_MUST_USE;
/* The source that this thread is reading just now, NULL when none: for a signal handler that has to say which file a
 * library (HDF5, matio) could not bear. */
const char *kr_reading(void);
/* A sampling mask as one writes it on a command line: KIND:key=value,... (kr_mask_new; `name` may give the seed), or a
 * FILE[:VARIABLE][@AXES] whose numbers other than 0 mean measured. It fits `shape`; a .npy that says nothing of its axes is
 * taken as a line along y, or as a picture [y,x], [y,z] or [x,y], whichever is the first to fit. A .npy of three axes is a stack of such
 * pictures: FILE.npy:2 takes the third, FILE.npy:seed=7 (or seed=file) the one that DIRECT draws. */
kr_array *kr_mask_from(const char *text, kr_shape shape, const char *name) KR_MUST_USE;
/* Only those samples of a scan that such a mask keeps. What its kind meant for calibration becomes calib_area. Refuses as kr_mask_from and
 * kr_scan_undersample do. */
int kr_scan_undersample_by(kr_scan *s, const char *text, const char *name) KR_MUST_USE;
/* Write: the suffix (or `format`) chooses. Written beside, then renamed into place: under `path` there is always the
 * old file or the whole new one. The path "-" is standard output, for formats that stream (kr_format.streams), which `format` has to
 * name; bare arrays go there as NumPy's. What lies beside a file (NAME.npy.json) is not written there. */
enum kr_what { KR_RAW, KR_PICTURE, KR_PLAIN };     /* scan, image, bare array */
/* Refuses now what writing would refuse later, for its name, its format or its folder: before the work, not after. */
int kr_can_write(enum kr_what what, const char *path, const char *format) KR_MUST_USE;
/* Makes a folder and those above it where they are missing; of a file, the folder that it is to lie in. Refuses where something
 * other than a folder is in the way. All writers here do so themselves. */
int kr_folder_make(const char *folder) KR_MUST_USE;
int kr_folder_for(const char *file) KR_MUST_USE;
int kr_scan_write(const kr_scan *s, const char *path, const char *format) KR_MUST_USE;
int kr_image_write(const kr_image *im, const char *path, const char *format) KR_MUST_USE;
int kr_array_write(const kr_array *a, const kr_meta *meta, const char *path) KR_MUST_USE;
/* An image part by part, by the formats that can. kr_can_write_parts: refuses others before the work. */
int kr_parts_write(const kr_by_part *p, const char *path) KR_MUST_USE;
int kr_can_write_parts(const char *path) KR_MUST_USE;
/* Text (tables, pages, JSON) under the same rules: a link stays, what is no plain file is refused. "-": stdout. */
int kr_text_can_write(const char *path) KR_MUST_USE;
int kr_text_write(const char *path, const kr_text *text) KR_MUST_USE;
/* Refuses an output that is the very file that `input` (a source as above) names, or one of a pair (NAME.cfl and NAME.hdr,
 * also where the suffix is left out). */
int kr_output_apart(const char *output, const char *input) KR_MUST_USE;

/* Appends text in which paths are cut to their last part; whole: as it is. */
void kr_provenance_words(kr_text *t, const char *text, bool whole);
/* A copy of the notes as files get them: kray_* and masks through kr_provenance_words, without institution and station, unless kr_meta_whole. */
kr_meta *kr_provenance_meta(const kr_meta *m) KR_MUST_USE;
/* "NAME, N bytes, SHA-256 X": what a source is (NAME through kr_provenance_words, as `whole` says); of files over 2 MiB the digest is of the first and the last MiB joined; a folder is
 * its name alone. */
int kr_source_describe(kr_text *t, const char *source, bool whole) KR_MUST_USE;
/* Notes in `m` where a result came from: kray_version, kray_command, kray_method, kray_parameters (NULL: left out), and for each
 * input kray_input, kray_input_2, ... as kr_source_describe tells it, by kr_meta_whole(m).
 * Every writer of images puts all of a kr_meta (kr_provenance_meta) into its file. */
int kr_meta_provenance(kr_meta *m, const char *command, const char *method, const char *parameters, const char *const *input,
                       int inputs) KR_MUST_USE;

/* The part of a cardiac image {X,Y,COIL,SLICE,TIME} that CMRxRecon ranks, as magnitudes {X,Y,SLICE,TIME}: root of the sum of
 * squares over COIL, the two middle slices, the first three frames (all of a mapping: meta "name", "modality"), the central
 * round(X/3) x round(Y/2). Source: CMRxRecon2024, CMRxReconDemo/run4Ranking.m. */
kr_image *kr_cmrxrecon_ranking(const kr_image *im) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
