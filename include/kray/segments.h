/* segments.h: off-resonance along a readout by segments of time: a voxel that is f Hz off gains the phase -2 pi f t until time t,
 *   exp(-2 pi i f t) = sum over l of share_l(t) exp(-2 pi i f at_l), about, for all f of a field map,
 * so that a transform with off-resonance is a sum of plain ones. Source: Sutton, Noll and Fessler, IEEE Trans Med Imaging 22:178 (2003). */
#ifndef KRAY_SEGMENTS_H
#define KRAY_SEGMENTS_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_segments {
    long count, samples;
    double *at_s;                    /* times of the segments                                           */
    float *share;                    /* [segment][sample][real, imaginary]                              */
    double error;                    /* root mean square over f, of the worst sample; 1: all of it      */
} kr_segments;
/* For the field hz[0..pixels-1] and samples at first_s + i dwell_s: the least squares shares over the histogram of f, of as few segments (to 64) as keep the error
 * below tolerance. Refuses fields that are not finite, and those that want more. To be closed, also after a refusal. */
int kr_segments_open(kr_segments *to, const float *hz, long pixels, double first_s, double dwell_s, long samples, double tolerance) KR_MUST_USE;
void kr_segments_close(kr_segments *s);

#ifdef __cplusplus
}
#endif
#endif
