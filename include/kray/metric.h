/* metric.h: how near an image is to its target, as the official scorers count. */
#ifndef KRAY_METRIC_H
#define KRAY_METRIC_H
#include "kray/image.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_score { double ssim, psnr, nmse, nrmse, hfen; } kr_score;
typedef struct kr_protocol {
    const char *name, *summary;      /* "fastmri", "cmrxrecon2023", "cmrxrecon2025", "calgary", "bart", ... */
    /* target and recon R32 {X,Y,slices as SLICE}; each slice's score into slice[SLICE], the volume's into volume. */
    int (*score)(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon);
} kr_protocol;
extern const kr_protocol *const kr_protocols[]; /* NULL-terminated */
const kr_protocol *kr_protocol_named(const char *name);

/* Mean SSIM of one image pair, n = nx x ny, 7 x 7 uniform window, sample covariance, interior (skimage defaults). In double. */
double kr_ssim(const float *target, const float *recon, long nx, long ny, double range);

#ifdef __cplusplus
}
#endif
#endif
