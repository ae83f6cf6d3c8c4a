/* segmenter.h: from an image to labels: a published model with the preparation it was trained with. */
#ifndef KRAY_SEGMENTER_H
#define KRAY_SEGMENTER_H
#include "kray/image.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_segmenter_opts {
    const char *normalise;           /* MeshNet: "minmax" or "quantile"; NULL: as published, minmax where that is not known */
    const char *folds;               /* nnU-Net: "0,1,2" or "all"; NULL: all that are there               */
    const char *configuration;       /* nnU-Net: "3d_fullres", "2d"; NULL: the folder's or the checkpoint's */
    const char *checkpoint;          /* nnU-Net: file name within fold_N; NULL: checkpoint_final.pth, else checkpoint_best.pth */
    bool no_mirroring;               /* nnU-Net: windows as they are alone: up to 8 times faster          */
    bool no_postprocessing;          /* nnU-Net: labels without the rules of postprocessing.json          */
    double step;                     /* nnU-Net: from window to window, as a part of the window; 0: 0.5   */
    /* nnU-Net, for tests: told "preprocessed" {channel, z, y, x} and, plane by plane, "logits" {class, 1, y, x} before they are resampled. */
    void (*see)(void *self, const char *name, const float *numbers, long chan, const long n[3]);
    void *seer;
} kr_segmenter_opts;

typedef struct kr_segmenter kr_segmenter;
/* model: a MeshNet's model.json (kr_meshnet_read), or the folder of a trained nnU-Net v2 (plans.json, dataset.json, fold_N). Refuses what it does
 * not run by name. */
kr_segmenter *kr_segmenter_open(const char *model, const kr_segmenter_opts *o) KR_MUST_USE;
void kr_segmenter_unref(kr_segmenter **s);
const char *kr_segmenter_kind(const kr_segmenter *s);                /* "meshnet", "nnunet"              */
long kr_segmenter_channels(const kr_segmenter *s);                   /* images wanted                     */
const char *kr_segmenter_channel(const kr_segmenter *s, long i);     /* what channel i is: "T1"           */
const char *kr_segmenter_digest(const kr_segmenter *s);              /* SHA-256 of the weights            */
/* Labels {X, Y, Z or SLICE} on the grid of the channels, which share one; R32 whole numbers, meta "kray_kind" = "labels", "label_N" = name. Refuses
 * channels on different grids, images of several volumes, numbers that are not finite or all the same, grids whose place in the patient is not known,
 * a single slice where the network is of volumes, Hounsfield units where the model takes MR or the other way round. */
int kr_segmenter_run(kr_segmenter *s, kr_image **labels, const kr_image *const *channel, long channels, const kr_trace *trace) KR_MUST_USE;
/* bytes beside the input; seconds on the threads there are: what comes before and behind the network is done, the network's rate measured on a small
 * volume. Refuses what kr_segmenter_run refuses before it begins. */
typedef struct kr_segmenter_cost { double bytes, flops, seconds; long windows; } kr_segmenter_cost;
int kr_segmenter_plan(kr_segmenter *s, kr_segmenter_cost *cost, const kr_image *const *channel, long channels, const kr_trace *trace) KR_MUST_USE;

/* Joins the labels of a further model, on the same grid, into `into`: their numbers go on behind the largest of `into`, in the order of their own numbers,
 * but a name that `into` has keeps its number there; where both label a voxel, `part` wins. As TotalSegmentator joins its parts. Refuses other grids. */
int kr_labels_join(kr_image *into, const kr_image *part) KR_MUST_USE;

/* Refuses an image on another grid than `like`: other sizes, or voxels that lie elsewhere by more than a hundredth of one (where both say where
 * they lie). what, like_what: names for the sentence. */
int kr_image_same_grid(const kr_image *im, const kr_image *like, const char *what, const char *like_what) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
