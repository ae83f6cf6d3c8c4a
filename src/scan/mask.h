/* mask.h: what a kind of sampling mask is, and what it is asked. Private to src/scan. */
#ifndef KRAY_MASK_H
#define KRAY_MASK_H
#include "kray/scan.h"
#include "mt19937.h"

enum { MASK_LINES = 1, MASK_PLANE = 2, MASK_TIME = 4 };      /* what a kind fills: one axis, two axes; all frames at once */
enum { MASK_CHOICES = 8 };                                   /* accelerations to choose from */

/* The points of one mask: frames x rows x cols, cols fastest. Masks of lines have one row; only
 * kinds that fill MASK_TIME see more than one frame. */
typedef struct mask_job {
    const char *kind;
    long rows, cols, frames;
    long frame;                                              /* which one is asked for, where each is drawn by itself */
    double accels[MASK_CHOICES], centers[MASK_CHOICES];      /* as asked; center -1: not given                  */
    long choices, center_choices;
    double accel, center;                                    /* the one chosen                                  */
    long calib[2];                                           /* fully sampled points along rows, cols; -1: not given */
    bool calib_preset;                                       /* calib is the kind's own, so it may shrink to fit */
    long offset;                                             /* of equispaced lines; -1: drawn                  */
    double fwhm, scale, alpha, angle, density;
    bool elliptical, vary;                                   /* vary: draw again for each frame                 */
    const uint32_t *seed; long seed_words;                   /* characters of a name; NULL: the number          */
    uint32_t seed_number;
    kr_mt19937 rng;                                          /* seeded as NumPy would be                        */
} mask_job;

/* keys: what may be asked, with presets: "accel=4,center=0.08,lines,seed". make fills m (all 0) with ones. calib fills one frame of
 * them where the published program calibrates coil maps; NULL: it does not say. */
typedef struct mask_kind {
    const char *name, *summary, *keys;
    unsigned fills;
    int (*make)(mask_job *j, uint8_t *m);
    int (*calib)(mask_job *j, uint8_t *m);
} mask_kind;
/* One file mask_NAME.c defines kr_masks_NAME[], kinds that share their insides, ended by one without a name; and one word in meson.build. */

/* How many of the cols lines at the centre are wanted: lines as given, or round-half-even(cols * center). */
long kr_mask_low_lines(const mask_job *j);
/* The calib of masks with so many lines at the centre, where fastMRI puts them. */
int kr_mask_calib_lines(mask_job *j, uint8_t *m);
/* p[i] = exp(-x^2 / 2 s^2), x = -1..1, s = fwhm / sqrt(8 ln 2). */
void kr_mask_gaussian(double *p, long n, double fwhm);
/* times[i]: how often line i of n was drawn. One that came twice goes to the nearest free line, the lower one of two. */
void kr_mask_spread(long *times, long n);
/* Sets n points of a line of N from N/2 - n/2 on. */
void kr_mask_centre(uint8_t *m, long N, long n);
#endif
