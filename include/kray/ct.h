/* ct.h: from counts or line integrals of an X-ray scan to an image. */
#ifndef KRAY_CT_H
#define KRAY_CT_H
#include "kray/image.h"
#include "kray/opt.h"
#include "kray/rays.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Line integrals p = -log((counts - dark) / (white - dark)), in place: y {U,V,VIEW} counts; white, dark {U,V,VIEW}: their means are taken, NULL: none.
 * Elements whose white field is not above the dark one, and counts that are not finite, are taken from their neighbours along the row; counts at or
 * below the dark field count as the smallest transmission above 0, 1e-6. Returns how many were replaced, or a refusal. */
long kr_ct_log(kr_array *y, const kr_array *white, const kr_array *dark) KR_MUST_USE;
/* The column of the axis of rotation, counted from 0, from pairs of views half a turn apart, which mirror each other about it (of a scan of half a turn: the
 * first and the last). *mismatch: what is left, relative. Parallel beams. Refuses scans without such a pair. */
int kr_ct_axis(double *column, double *mismatch, const kr_array *y, const kr_rays *r) KR_MUST_USE;
/* The same of fans and cones on a full turn, from rays that were measured in both directions, in the plane of the source. *before: what is left where r has
 * the axis; *otherwise: the least where the views turned the other way (angles of the wrong sign, columns stored from the other end). Refuses less than a turn. */
int kr_ct_axis_fan(double *column, double *mismatch, double *before, double *otherwise, const kr_array *y, const kr_rays *r) KR_MUST_USE;
/* Takes out stripes, in place: values of every column in order of size, smoothed across columns by a median of `width`. Source: Vo et al., Opt
 * Express 26:28396 (2018), algorithm 3. */
int kr_ct_rings(kr_array *y, long width) KR_MUST_USE;
/* The same by wavelets: `levels` bands of Daubechies' wavelets with 5 vanishing moments (stripes of up to 2^levels columns), of which those that vary along
 * columns alone lose what hardly changes from view to view: frequency k times 1 - exp(-k^2 / 2 sigma^2). More bands take more of the object too. Source:
 * Muench et al., Opt Express 17:8567 (2009). Refuses fewer than 2^(levels + 1) columns or views. */
int kr_ct_rings_wavelet(kr_array *y, int levels, double sigma) KR_MUST_USE;
/* Beam hardening, in place: p becomes factor[0] p + factor[1] p^2 + ... Refuses a polynomial that falls where there are data. Source: Herman, Phys Med
 * Biol 24:81 (1979). */
int kr_ct_polynomial(kr_array *y, const double *factor, int count) KR_MUST_USE;

/* fbp: kr_fbp. sirt: x += C A^T R (y - A x) (Gilbert 1972). cgls: least squares by conjugate gradients. tv: 1/2 |A x - y|^2 + lambda |grad x|_1 by
 * primal-dual steps (Chambolle and Pock, J Math Imaging Vis 40:120 (2011); Pock and Chambolle, ICCV 2011:1762), lambda in parts of the largest of |A^T y|. */
enum kr_ct_method { KR_CT_FBP, KR_CT_SIRT, KR_CT_CGLS, KR_CT_TV, KR_CT_METHODS };
typedef struct kr_ct_opts {
    enum kr_ct_method method;
    enum kr_fbp_window window;
    int iterations;
    double lambda;
    bool positive;                    /* no value below 0 (sirt, tv)                                                         */
    enum kr_ray_model model;
} kr_ct_opts;
/* x {X,Y,Z} from y. *misfit: |A x - y| / |y| at the end; NAN by fbp. */
int kr_ct_solve(float *x, double *misfit, const float *y, const kr_rays *r, const kr_grid *g, const kr_ct_opts *o, const kr_trace *trace) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
