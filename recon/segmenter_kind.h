/* segmenter_kind.h: what a kind of segmentation model gives. Private to recon/. */
#ifndef KRAY_SEGMENTER_KIND_H
#define KRAY_SEGMENTER_KIND_H
#include "kray/segment.h"
#include "kray/segmenter.h"

typedef struct segmenter_kind {
    const char *name;
    bool (*is)(const char *model);                           /* by what lies there                        */
    int (*open)(kr_segmenter *s, const char *model, const kr_segmenter_opts *o);
    /* channel[i]: packed R32 {z, y, x} of n voxels at affine (RAS, 4x4), finite. labels: n voxels, zero. */
    int (*run)(kr_segmenter *s, int32_t *labels, const float *const *channel, const long n[3], const double affine[16], const kr_trace *trace);
    int (*plan)(kr_segmenter *s, kr_segmenter_cost *cost, const float *const *channel, const long n[3], const double affine[16]);
    void (*close)(void *self);
} segmenter_kind;
extern const segmenter_kind segmenter_meshnet, segmenter_nnunet;
/* names: "label_N", "channel_N"; stored: takes axes as they are stored; flat: a network of planes; ct: a bit for each channel that is CT in HU */
struct kr_segmenter { const segmenter_kind *kind; void *self; long channels; kr_meta *names; char digest[65]; bool stored, flat; uint64_t ct; };
#endif
