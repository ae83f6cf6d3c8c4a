/* volume.h: networks that label volumes: from channels of real numbers to a number for each class and voxel. */
#ifndef KRAY_VOLUME_H
#define KRAY_VOLUME_H
#include "kray/weights.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A network with its weights; threads may run one at once. Volumes lie in memory {channel, z, y, x}, x fastest; n = {nx, ny, nz}. Two-dimensional
 * networks take nz = 1. */
typedef struct kr_volnet kr_volnet;
typedef void kr_volnet_see(void *self, const char *name, const float *numbers, long chan, const long n[3]);
/* Takes planes z ... z + planes - 1 of all classes, {class, planes, y, x}; they come in order. Returns 0 or a refusal. */
typedef int kr_volnet_sink(void *to, const float *classes, long z, long planes);
typedef struct kr_volnet_kind {
    const char *name;                                        /* "meshnet", "nnunet"                       */
    int (*run)(void *self, kr_volnet_sink *sink, void *to, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace);
    double (*bytes)(const void *self, const long n[3]);      /* at the peak, weights included, inputs and outputs not */
    double (*flops)(const void *self, const long n[3]);
    int (*fits)(const void *self, const long n[3]);          /* refuses sizes that it cannot take; NULL: all */
    void (*close)(void *self);
} kr_volnet_kind;
struct kr_volnet { const kr_volnet_kind *kind; long ins, classes; int dims; void *self; kr_meta *meta; char digest[65]; };
void kr_volnet_unref(kr_volnet **v);
/* classes {classes, z, y, x}: the network's numbers before softmax or sigmoid. Refuses sizes that do not fit, lack of memory, a stop. */
int kr_volnet_run(const kr_volnet *v, float *classes, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace) KR_MUST_USE;
/* The same by slabs: no more than a few planes of many classes need exist at once. */
int kr_volnet_stream(const kr_volnet *v, kr_volnet_sink *sink, void *to, const float *x, const long n[3], const kr_trace *trace) KR_MUST_USE;

/* Floating-point operations per second of the network on n voxels, measured: runs of together about a third of a second, the fastest counts. */
int kr_volnet_rate(double *rate, const kr_volnet *v, const long n[3]) KR_MUST_USE;

/* MeshNet (Fedorov et al. 2017) as brainchop publishes it: a TensorFlow.js "model.json" of dilated 3D convolutions (channels last, "same" padding),
 * batch norms (folded in) and activations, and the raw weights that it names, beside it. Axis D of the file is x here, H y, W z: brainchop
 * hands over the volume transposed. Refuses by name other layers, branches, quantised weights. */
kr_volnet *kr_meshnet_read(const char *model_json) KR_MUST_USE;
/* The U-Net of nnU-Net v2 (PlainConvUNet, ResidualEncoderUNet; 2D, 3D) that a configuration of plans.json describes (also as before 2.5), with the
 * weights of a checkpoint, whose further entries become meta. The file's first spatial axis is z (2D: y). Refuses other networks, norms,
 * activations and blocks by name, and tensors that belong to no layer. */
kr_volnet *kr_nnunet_read(const char *plans_json, const char *configuration, const char *checkpoint) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
