/* place.h: what the parts of placing share: the grids, and which line goes where. Private to place*.c. */
#ifndef KRAY_PLACE_H
#define KRAY_PLACE_H
#include "kray/scan.h"

#define FLAG(n) (1ull << ((n) - 1))       /* ISMRMRD counts flags from 1 */
enum { NOISE = 19, CALIB = 20, CALIB_TOO = 21, REVERSE = 22, NAVIGATION = 23, PHASECORR = 24, LAST_OF_ALL = 25, HP_FEEDBACK = 26, DUMMY = 27,
       RT_FEEDBACK = 28, SURFACE = 29, STABILISE_REFERENCE = 30, STABILISE = 31 };

/* The slots of a grid: one per line that can be measured. Cartesian: Y, Z, then the counters; otherwise VIEW takes Y's place. */
enum { SLOT_Y, SLOT_Z, SLOT_COUNTERS, SLOT_SLICE = SLOT_COUNTERS, SLOT_TIME = 6, SLOTS = 8 };
static const int slot_axis[SLOTS] = { KR_Y, KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };
typedef struct slot { uint32_t count, from, to; float energy; } slot;      /* how often measured, which part of the row; sum of |samples|^2 where more than once */
typedef struct grid {
    long row, coils, n[SLOTS], slots;
    slot *slot;
    kr_array *data;
    long outside, unequal, repeated;                          /* lines left out, lines that came again */
} grid;
typedef struct where { long slot; int32_t x; uint16_t skip, n; } where;  /* n = 0: goes nowhere */

struct kr_placing {
    kr_scan *s;
    kr_placing_plan plan;
    kr_line *line;                   /* own copy, slices renumbered */
    unsigned char *kind;
    long *at;                        /* number within its kind; noise: first sample */
    where *image, *calib;
    grid imaging, calibration;
    bool spokes;                     /* not Cartesian */
    bool calib_apart;                /* calibration lines that fit no grid: kept as they are */
    long noise_samples, noise_lines;
    int encoding;
    long from, slices, window;       /* slices in the file; those wanted */
    long shift[2];                   /* from counters to Y and Z */
    long *rank;                      /* slice counter -> place along SLICE of the whole file */
    int dims;                        /* of the trajectory */
    float *traj;                     /* [dims] blocks over the slots of imaging, row fastest */
    uint64_t straight, centreless;
    long *played;                    /* line -> readout of plan.played, -1: the scanner's own; NULL: no sequence */
};

static inline long place_counter(const kr_line *l, int k)
{
    const uint16_t v[SLOTS] = { l->ky, l->kz, l->slice, l->contrast, l->phase, l->set, l->repetition, l->average };
    return v[k];
}

static inline bool place_has_samples(const kr_line *l) { return l->channels && (long)l->discard_pre + l->discard_post < l->samples; }

/* ---- place_grid.c: rows, slots and masks ---- */
/* Where the measured part of a line begins on a row of length N (it may reach outside), seen from the mirrored line if reversed; what is skipped
 * of it, and its samples. */
long place_row_start(const kr_line *l, long N, long *skip, long *n);
long place_row_needed(const kr_line *l);         /* the shortest row that it lies on                                   */
/* Refuses a grid out of proportion to the `measured` numbers, or that does not fit this machine. */
int place_grid_check(const grid *g, double measured, bool header_only) KR_MUST_USE;
int place_grid_slots(grid *g) KR_MUST_USE;
long place_slot_of(const grid *g, const long v[SLOTS]);      /* -1: outside                                            */
where place_claim(grid *g, const kr_line *l, long at);       /* takes slot `at` for a line, or counts why not           */
kr_shape place_grid_shape(const grid *g, bool spokes);
long place_row_at(const grid *g, long at, long *plane);      /* element of the first coil where the row of a slot begins; coils are plane apart */
/* 1 where measured; counters along which nothing changes are left out; NULL: everything was measured. */
int place_grid_mask(kr_array **out, const grid *g, bool spokes) KR_MUST_USE;

/* ---- place_slices.c: slices in space ---- */
int place_apart(kr_placing *p) KR_MUST_USE;                  /* after place_encoding: slice counters of lines that have but places */
long place_images(const kr_placing *p);                      /* slices that will be told apart                          */
int place_slices(kr_placing *p) KR_MUST_USE;                 /* directions, the order of slices, a position for each    */

/* ---- place_played.c: lines by what a sequence played ---- */
int place_match(kr_placing *p) KR_MUST_USE;                  /* which readout each line is: kinds and counters          */
int place_played(kr_placing *p) KR_MUST_USE;                 /* after place_encoding: lines of a grid, or positions     */

/* ---- place_imaging.c: the imaging lines ---- */
bool place_in_window(const kr_placing *p, const kr_line *l); /* of the slices that are read                             */
bool place_imaging_line(const kr_placing *p, long i);
long place_centre_of(const kr_encoding *e, int axis, long n);
int place_encoding(kr_placing *p) KR_MUST_USE;               /* whose lines make the image                              */
int place_imaging(kr_placing *p) KR_MUST_USE;                /* the size of their grid                                  */
void place_claim_imaging(kr_placing *p);                     /* a slot for each                                         */

/* ---- place_calib.c: the calibration lines ---- */
int place_calibration(kr_placing *p) KR_MUST_USE;
#endif
