/* projected.h: methods of X-ray projections alone: what they share. Private to this folder. */
#ifndef KRAY_PROJECTED_H
#define KRAY_PROJECTED_H
#include "kray/solve.h"
#include "model.h"

/* The model of one slice, or of the volume, and a real image {X,Y,Z} to fill, 0 at first. */
typedef int projected_solve(kr_array *x, const model *m, const void *opts, const kr_trace *trace);
/* The image of a scan, slice by slice. FITTED: meta "kray_misfit" is |A x - y| / |y| of all. Refuses scans
 * without rays. */
enum projected_kind { PROJECTED_BY_MODEL, PROJECTED_FITTED };
int projected_image(kr_image **out, const kr_scan *scan, projected_solve *solve, enum projected_kind kind, const void *opts, const kr_trace *trace) KR_MUST_USE;
/* The same of a method that iterates: 1 to 1000000 times, others are refused. */
int projected_iterate(kr_image **out, const kr_scan *scan, projected_solve *solve, long iterations, const void *opts, const kr_trace *trace) KR_MUST_USE;
/* images, samples: how many of them a method holds, the image among the former, beside those of the scan. */
int projected_plan(kr_cost *cost, const kr_scan *scan, double iterations, double images, double samples) KR_MUST_USE;

/* What methods by ordered subsets are asked for, and the frame that they share: `update` fills x, 0 at first, from the subsets. Refuses iterations and subsets that make no sense. */
typedef struct projected_opts { long iterations, subsets; bool positive; double relax, lambda, edge, misfit; } projected_opts;
struct projected_subsets;
typedef int projected_update(kr_array *x, const struct projected_subsets *p, const projected_opts *o, const kr_trace *trace);
int projected_by_subsets(kr_image **out, const kr_scan *scan, projected_update *update, const projected_opts *o, const kr_trace *trace) KR_MUST_USE;
int projected_subsets_plan(kr_cost *cost, const kr_scan *scan, const void *options) KR_MUST_USE;        /* of projected_opts */
/* The run of methods that differ in their options alone: simultaneous iterations, `subsets` 0 as many as views. */
int projected_sirt(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace) KR_MUST_USE;
/* The same, and conjugate gradients, of volumes that memory does not hold (kr_recon). */
#define PROJECTED_ITERATIONS(n) { "iterations", 'i', KR_OPT_INT, offsetof(projected_opts, iterations), n, "N", "iterations at most" }
#define PROJECTED_SUBSETS(n, what) { "subsets", 0, KR_OPT_INT, offsetof(projected_opts, subsets), n, "N", "ordered subsets of the views, each a step of its own" what }
#define PROJECTED_NONNEG { "nonneg", 0, KR_OPT_FLAG, offsetof(projected_opts, positive), NULL, NULL, "no value below 0" }
#define PROJECTED_RELAX(n) { "relax", 0, KR_OPT_REAL, offsetof(projected_opts, relax), n, "R", "how much of each correction is added, above 0 and below 2" }

/* Filtered back-projection: what it is asked for, its run, and that with rows gridded to this tolerance (kr_fbp_opts). */
typedef struct projected_window { const char *window, *between; } projected_window;
#define PROJECTED_WINDOW { "window", 0, KR_OPT_CHOICE, offsetof(projected_window, window), "ramp", "ramp|shepp-logan|cosine|hamming|hann", "window on the ramp filter" }
#define PROJECTED_BETWEEN { "between", 0, KR_OPT_CHOICE, offsetof(projected_window, between), "auto", "auto|spline|linear", "between the elements of filtered rows: quadratic splines (sharper; of slices whose half turn has nearly as many views as columns) or straight lines" }
int projected_filtered(kr_image **out, const kr_scan *scan, const projected_window *o, double gridded, const kr_trace *trace) KR_MUST_USE;

/* Samples in `count` subsets of views i, i + count, ...; refuses more subsets than views. To be closed, also after a refusal. */
typedef struct projected_subsets { kr_subset *s; int count; } projected_subsets;
int projected_split(projected_subsets *p, const model *m, long count) KR_MUST_USE;
void projected_close(projected_subsets *p);
#endif
