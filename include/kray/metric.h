/* metric.h: how near an image is to its target, as the official scorers count. */
#ifndef KRAY_METRIC_H
#define KRAY_METRIC_H
#include "kray/image.h"
#ifdef __cplusplus
extern "C" {
#endif

/* NAN: not defined here (no such measure in this protocol, or an empty region). PSNR of equal images is INFINITY. */
typedef struct kr_score { double ssim, psnr, nmse, nrmse, hfen, vif, mcc; } kr_score;
typedef struct kr_measure {
    const char *name, *label, *unit;     /* "psnr", "PSNR", "dB"                                           */
    bool higher;                         /* more is better                                                 */
    size_t at;                           /* offsetof(kr_score, ...)                                        */
} kr_measure;
enum { KR_MEASURES = 7 };
extern const kr_measure kr_measures[KR_MEASURES];
double kr_score_get(const kr_score *s, int measure);
void kr_score_set(kr_score *s, int measure, double value);

typedef struct kr_protocol {
    const char *name, *summary;          /* "fastmri"; one line: normalisation, range, window, mean        */
    const char *cite;                    /* whose program counts so                                        */
    const char *files;                   /* format ("fastmri", ...) whose raw files its programs crop; NULL */
    /* Scores R32 images of equal shape {X,Y, any others}; every {X,Y} is one picture. slice[count / (nx ny)], in memory
     * order, and volume. roi R32 of the same shape, not 0 where pixels count; NULL: all. Normalisation and range always
     * come from the whole pictures. A picture of several that gives no range (the target is empty there) has no scores of its own (all NAN)
     * and counts in no mean of pictures. Refuses: shapes that differ, pictures under 7 x 7, numbers that are not finite, and where
     * no picture can be scored. */
    int (*score)(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi);
    /* The crop of its programs, on an image of any size: replaces *image. `name`: of the file (CMRxRecon keeps all
     * frames of mappings). NULL: they crop nothing. */
    int (*crop)(kr_array **image, const kr_array *target, const char *name);
} kr_protocol;
extern const kr_protocol *const kr_protocols[]; /* NULL-terminated */
const kr_protocol *kr_protocol_named(const char *name);      /* NULL with a refusal that lists the known ones */

/* Mean SSIM of one picture pair, memory [ny][nx], 7 x 7 uniform window, sample covariance, interior (the defaults of
 * scikit-image; Wang et al. 2004). In double. NAN with a refusal: smaller than the window, or range not positive. */
double kr_ssim(const float *target, const float *recon, long nx, long ny, double range);
/* Its map {ny,nx}, of which kr_ssim is the mean over the interior; the three rows and columns at the borders have the value of the nearest pixel inside. Refuses as kr_ssim. */
int kr_ssim_map(float *map, const float *target, const float *recon, long nx, long ny, double range) KR_MUST_USE;
/* |LoG(r) - LoG(t)| / |LoG(t)|, Laplacian of Gaussian 15 x 15 of sigma 1.5, zero outside the picture (as MATLAB's
 * imfilter of fspecial('log', 15, 1.5)). Source: Ravishankar and Bresler, IEEE Trans Med Imaging 30:1028 (2011), there
 * not divided by the target's. NAN with a refusal on lack of memory. */
double kr_hfen(const float *target, const float *recon, long nx, long ny);
/* Visual information fidelity in the pixel domain, four scales (sewar's vifp), sigma2: variance of the visual noise.
 * NAN where the picture is too small for the fourth scale (under 41 in any direction). Source: Sheikh and Bovik 2006. */
double kr_vif(const float *target, const float *recon, long nx, long ny, double sigma2);

/* The ranking crop of CMRxRecon, replacing *image: the middle third of X and half of Y, the two middle slices (SLICE, or Z
 * where there is no SLICE), and the first three of every further axis unless `all_frames` (mappings keep their
 * weightings). Source: run4Ranking.m of the challenges' repositories. */
int kr_crop_ranking(kr_array **image, bool all_frames) KR_MUST_USE;

/* Mean, sample standard deviation and 95 % bootstrap interval of the mean (percentiles of 10000 resamples, always the
 * same ones) of n values; NANs are left out. n < 2: sd and interval are NAN. */
typedef struct kr_summary { long n; double mean, sd, low, high; } kr_summary;
int kr_summarise(kr_summary *out, const double *value, long n) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
