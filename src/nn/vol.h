/* vol.h: values and layers of networks on volumes, for inference. Channels are planar, x fastest, with zeros between rows, planes and channels
 * that serve as the padding on both sides. Two-dimensional networks have z = 1. Private to src/nn. */
#ifndef KRAY_VOL_H
#define KRAY_VOL_H
#include "kray/weights.h"
#include "volkern.h"

typedef struct vol {
    long c, n[3], halo[3];           /* channels; x, y, z                                                  */
    long row, plane, chan;           /* numbers from row to row, ...                                       */
    float *data;                     /* voxel (0,0,0) of channel 0                                         */
    void *block;
    struct vol *next;                /* in a pool                                                          */
} vol;
/* Values that come and go: one that is given back serves the next of equal shape, its zeros still in place. */
typedef struct vol_pool { vol *free; size_t now, most; } vol_pool;
vol *vol_take(vol_pool *p, long c, const long n[3], const long halo[3]) KR_MUST_USE;
void vol_give(vol_pool *p, vol **v);
void vol_pool_clear(vol_pool *p);
size_t vol_bytes(long c, const long n[3], const long halo[3]);
static inline float *vol_at(const vol *v, long c, long y, long z) { return v->data + c * v->chan + z * v->plane + y * v->row; }
/* From and to contiguous {c,z,y,x}. */
void vol_load(vol *v, const float *from);
void vol_store(float *to, const vol *v);

typedef struct vol_conv { long ins, outs; int k[3], stride[3], dilation[3]; float *w, *bias; enum vol_act act; float slope; const vol_kern *kern;
    float *tiled; int points;        /* weights of Winograd's tiles and how many points these have; NULL: direct */
} vol_conv;
/* weight [out][in]([kz])[ky][kx] with odd kernels, padded so that a stride of 1 keeps the size; bias may be NULL; what: for the refusal. */
int vol_conv_make(vol_conv *c, const float *weight, const float *bias, long outs, long ins, const int k[3], const int stride[3], const int dilation[3],
                  enum vol_act act, float slope) KR_MUST_USE;
/* Volumes of n voxels alone will come: weights of tiles that these would not use go. */
void vol_conv_fit(vol_conv *c, const long n[3]);
void vol_conv_close(vol_conv *c);
double vol_conv_flops(const vol_conv *c, const long out[3]);         /* as written: Winograd's tiles take fewer */
double vol_conv_bytes(const vol_conv *c);    /* of its weights */
/* y = conv of the channels of a and, behind them, of b (NULL: none). */
int vol_conv_run(const vol_conv *c, vol_pool *p, vol *y, const vol *a, const vol *b) KR_MUST_USE;
/* In place: the output is written over the input, `far` planes further down (or up): *x then lies there. far is at least what the kernel reaches
 * along z, and VOL_DRIFT more; halo[2] planes are free. */
enum { VOL_DRIFT = 8 };              /* planes at a time                                                   */
int vol_conv_drift(const vol_conv *c, vol *x, long far, bool down) KR_MUST_USE;

/* Transposed convolution whose kernel is its stride: weight [in][out]([kz])[ky][kx]. */
typedef struct vol_up { long ins, outs; int stride[3]; float *w, *bias; const vol_kern *kern; } vol_up;
int vol_up_make(vol_up *u, const float *weight, const float *bias, long ins, long outs, const int stride[3]) KR_MUST_USE;
void vol_up_close(vol_up *u);
int vol_up_run(const vol_up *u, vol *y, const vol *x) KR_MUST_USE;

/* y = leaky(gamma (x - mean) / sqrt(variance + eps) + beta [+ plus]) over each channel's voxels, y may be x; slope 1: no leaky. gamma, beta NULL: 1, 0. */
int vol_norm_run(vol *y, const vol *x, const float *gamma, const float *beta, double eps, const vol *plus, float slope) KR_MUST_USE;
/* Mean over blocks of the stride. */
int vol_pool_run(vol *y, const vol *x, const int stride[3]) KR_MUST_USE;
const vol_kern *vol_kern_best(void);
#endif
