/* around.h: what stands around a network in the published program that trained it. One file for each program: around_NAME.c defines
 * around_NAME, and the network's own entry says which it is. Private to this folder. */
#ifndef KRAY_AROUND_H
#define KRAY_AROUND_H
#include "kray/net.h"
#include "kray/recon.h"
#include "model.h"

/* One slice on its way through. Images that a network sees have the readout X as columns, the authors' height; kernels are turned
 * to match. */
typedef struct slice {
    long nx, ny, coils;
    kr_array *k, *mask, *sens;       /* {X,Y,COIL}, {X,Y}, {X,Y,COIL}       */
    kr_array *start;                 /* {X,Y}, NULL: the network's own      */
    float *acs, *padding;            /* {X,Y}; padding NULL: none           */
    double scale;                    /* what k was divided by               */
    double unit;                     /* kr_net_input.kspace_unit            */
    kr_mask_facts facts;             /* of the mask                         */
} slice;

/* What all slices share. */
typedef struct around_job {
    const kr_scan *scan;
    const kr_array *coils;           /* maps that were given or estimated, or NULL          */
    const kr_net_kind *kind;
    const void *facts;               /* of the configuration, as around.read made them      */
    const double *whole;             /* what around.measure found: two numbers                */
    const kr_array *first;           /* {X,Y} the image to begin with, where it was made before; NULL: the pipeline makes it, where there is one */
    const kr_trace *trace;
} around_job;

typedef struct around {
    const char *name;                /* kr_net_kind.around                                  */
    const kr_fact *keys;             /* of its configuration: what it says of data, and what concerns no network of its own */
    size_t facts_size;
    /* Reads what the configuration says of the data; refuses what is not built. */
    int (*read)(void *facts, const kr_weights *w, const kr_net_kind *kind);
    /* Lengths X and Y of the images, where they are not those of the k-space; NULL: they are. */
    void (*grid)(kr_shape *image, const kr_scan *scan, const void *facts, const kr_trace *trace);
    /* Two numbers of all slices together, before the first is run; NULL: none are wanted. */
    int (*measure)(double *whole, const kr_scan *scan, const void *facts);
    /* z {X,Y}: the image of slice i (the middle of it where z is smaller); s is open (its k-space, mask and facts of the mask). */
    int (*slice)(kr_array *z, slice *s, kr_net *net, const around_job *j, long i);
    bool begins;                     /* networks may begin with the image of another method (first_image) */
    const char *behind;              /* a key of its configuration: what is done behind the network where it is "true", and is not trained; NULL */
} around;
extern const around *const arounds[];
const around *around_of(const kr_net_kind *kind);            /* the pipeline that the network's entry names */

/* k-space and mask of part i. Refuses a mask without the centre of k-space. */
int slice_open(slice *s, const kr_scan *scan, long i);
void slice_clear(slice *s);
/* Where coil maps are calibrated: where the maker of the mask meant to, else the fully sampled box around the centre. symmetric: as
 * many lines on both sides of it, as fastMRI has them (for odd widths they begin one further). */
int slice_calibration(slice *s, const kr_scan *scan, bool symmetric);
/* Runs the network and puts its image, times s->scale, into z. centred: as it was trained. */
int slice_run(kr_array *z, slice *s, kr_net *net, bool centred, double scaling);

/* What a transform with its origin at index 0 sees in place of one with its origin at n/2 (rounded down), along X and Y: images
 * times exp(2 pi i h x / n), k-space times exp(-2 pi i h (k - h) / n), h = n/2: signs where n is even, ramps of phase where it is
 * odd. back: from the one of index 0. */
enum { AROUND_IMAGE, AROUND_KSPACE };
int uncentred(kr_array *a, int which, bool back);

/* The published programs' centre crop. For odd m of even n it begins one earlier than Kray's own, whose origin stays at m/2. A view. */
kr_array *around_middle(const kr_array *a, int axis, long m);
/* Networks are trained with maps of unit norm; those that a user brings may have any. Zero stays zero. */
void around_unit_maps(kr_array *maps, const kr_trace *trace);
/* A number of the configuration; "none" is 0; a word is refused, as are numbers outside of the limits. */
int around_number(double *to, const kr_weights *w, const char *name, double otherwise, double least, double most);
bool around_no(const char *v);       /* "false", "0" */
bool around_none(const char *v);     /* not there, or "none" */
#endif
