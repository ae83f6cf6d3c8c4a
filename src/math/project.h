/* project.h: what the fast and the plain projectors share. Private to this folder. */
#ifndef KRAY_PROJECT_H
#define KRAY_PROJECT_H
#include "kray/rays.h"

typedef struct ray_plane ray_plane;       /* fan.c: one slice            */
typedef struct ray_stack ray_stack;       /* stack.c: detector columns along an axis of the volume */
typedef struct ray_slants ray_slants;     /* slant.c: any detector, joseph              */
struct kr_projector {
    kr_rays *rays;
    kr_grid grid;
    enum kr_ray_model model;
    ray_plane *plane;                     /* these three NULL: plain */
    ray_stack *stack;
    ray_slants *slants;
    float *parts;                         /* the plain transpose's volumes; NULL: not plain */
};

/* Refuses volumes that a source lies in. */
int ray_outside(const kr_rays *r, const kr_grid *g);

bool ray_plane_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);
ray_plane *ray_plane_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);
void ray_plane_unref(ray_plane **p);
size_t ray_plane_bytes(const ray_plane *p);
void ray_plane_project(ray_plane *p, float *y, const float *x, long first, long step);
void ray_plane_back(ray_plane *p, float *x, const float *y, long first, long step, bool add);

bool ray_stack_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);
ray_stack *ray_stack_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);      /* keeps r and g */
void ray_stack_unref(ray_stack **p);
size_t ray_stack_bytes(const ray_stack *p);
void ray_stack_project(ray_stack *p, float *y, const float *x, long first, long step);
void ray_stack_back(ray_stack *p, float *x, const float *y, long first, long step, bool add);

bool ray_slants_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);
ray_slants *ray_slants_new(const kr_rays *r, const kr_grid *g);      /* keeps r and g */
void ray_slants_unref(ray_slants **p);
size_t ray_slants_bytes(const ray_slants *p);
void ray_slants_project(ray_slants *p, float *y, const float *x, long first, long step);
void ray_slants_back(ray_slants *p, float *x, const float *y, long first, long step, bool add);

/* p, q and w, along which the columns of the detector stand in all views; false: none. */
bool ray_stack_axes(int axis[3], const kr_rays *r);

/* fbp.c, feldkamp.c: a detector's normal, its distance and that of the axis along it; back-projection of views from..to - 1 into a
 * volume, added to it unless from is 0. p, the filtered rows of these views, is overwritten; 16 floats may be read behind it. */
typedef struct ray_view { double n[3], depth, axis; } ray_view;
ray_view ray_view_of(const kr_rays *r, long view);
/* The ramp filter on `rows` rows of each view: y rows of n numbers, from p, rows of `in` whose first is number `lead` of n, times weight (as y; NULL: 1); those of view i times
 * scale[i]. */
typedef struct ray_rows { const float *p, *weight; long n, in, lead, rows, views; } ray_rows;
int ray_filter(float *y, const ray_rows *from, const double *scale, enum kr_fbp_window w, double arc, bool spline);
/* series.c: slices of parallel beams, filter and back-projection by Fourier series, from y of each; r with the columns of rows->n, the weights of all in `rows`. */
int ray_gridded(float *const *x, const float *const *y, long slices, const kr_rays *r, const kr_grid *g, const ray_rows *rows, const double *scale, enum kr_fbp_window window, double tolerance);
int ray_feldkamp(float *x, float *p, const kr_rays *r, const kr_grid *g, long from, long to);

/* rebin.c: helices, and cones on curved detectors: sorted into parallel fans, with the detector's columns along `axis`. */
bool ray_is_rebinned(const kr_rays *r, int axis);
double ray_rebinned_bytes(const kr_rays *r, int axis, const kr_grid *g);      /* beside x and y */
int ray_rebinned(float *x, const float *y, const kr_rays *r, int axis, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace);

/* raywalk.c: voxels of one ray and their weights, one after the other; at: index in the volume. */
typedef void ray_use(void *self, long at, double weight);
void ray_walk(const kr_rays *r, const kr_grid *g, enum kr_ray_model model, long view, long column, long row, ray_use *use, void *self);
int ray_walk_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model);      /* or a refusal */
#endif
