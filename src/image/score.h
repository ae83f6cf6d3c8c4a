/* score.h: what the scorers' dialects share. Private to src/image/. A dialect is one file score_NAME.c: how a picture is
 * normalised and which data range it gets (`see`), and over what its sums are taken. */
#ifndef KRAY_SCORE_H
#define KRAY_SCORE_H
#include "kray/metric.h"

/* A picture of one image, seen as (value - shift) / unit, or |value| / unit. */
typedef struct kr_seen { const float *p; double shift, unit; bool magnitude; } kr_seen;
typedef struct kr_pair {
    kr_seen t, r;                    /* target, reconstruction                                          */
    const float *roi;                /* NULL: all                                                       */
    long nx, ny;
    double range, ssim_range;        /* of the data as seen; set by `see`                               */
    float *map;                      /* where SSIM is written to, pixel by pixel of the interior; NULL: nowhere */
} kr_pair;
typedef struct kr_extent { double t_min, t_max, r_min, r_max; } kr_extent;

enum kr_group { KR_GROUP_PICTURE, KR_GROUP_BLOCK, KR_GROUP_VOLUME };   /* one {X,Y}; one {X,Y,Z}; everything */
typedef struct kr_dialect {
    enum kr_group group;             /* what `see` gets the extent of, and what one PSNR is taken over  */
    bool pooled;                     /* NMSE, NRMSE, HFEN of the volume from sums, not means of pictures */
    bool biased;                     /* SSIM's variances divide by 49, not by 48                        */
    bool single;                     /* SSIM in single precision, as scikit-image with single precision files */
    double vif;                      /* variance of the visual noise; 0: no VIF                         */
    /* Fills views' shift and unit, range and ssim_range (which presets to range). many: more than one frame. */
    int (*see)(kr_pair *p, const kr_extent *group, bool many);
} kr_dialect;
int kr_score_by(const kr_dialect *d, kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon,
                const kr_array *roi);
#endif
