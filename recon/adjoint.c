/* adjoint.c: zero-filled coil images, combined by the conjugate coil maps: x = A^H y. */
#include "model.h"
#include <math.h>

struct job { const kr_scan *scan; const kr_array *coils; kr_array *image; const kr_trace *trace; };

static int one(void *self, long i)
{
    const struct job *j = self;
    if (kr_stopped(j->trace))
        return kr_error_code();
    kr_scan part;
    model m = { 0 };
    double yy;
    int e = kr_part_open(&part, j->scan, kr_problem_axes, i);
    kr_scoped(array) coils = e ? NULL : kr_part(j->coils, j->scan, i);
    kr_scoped(array) z = e ? NULL : kr_part(j->image, j->scan, i);
    e = e ? e : coils && z ? model_open(&m, &part, coils) : kr_error_code();
    kr_scoped(array) x = e ? NULL : kr_array_new(m.type, m.image);
    e = e ? e : x ? m.kind->adjoint(&m, x, &yy) : kr_error_code();   /* x = A^H y, or A^H W y */
    if (!e)
        kr_combine_sets(z, x);
    model_close(&m);
    kr_part_close(&part);
    return e;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    (void)opts;
    kr_scoped(array) image = kr_array_new(KR_C32, kr_scan_image_shape(scan));
    if (!image || kr_coils_check(coils, scan))
        return kr_error_code();
    struct job j = { scan, coils, image, trace };
    if (kr_for(kr_parts(scan), one, &j))
        return kr_error_code();
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *opts)
{
    (void)opts;
    double n = (double)kr_count(scan->shape), parts = (double)kr_parts(scan);
    cost->bytes = 8 * n * (2 * fmin(parts, kr_threads()) / parts + 1 / (double)(scan->shape.n[KR_COIL] ? scan->shape.n[KR_COIL] : 1));
    cost->seconds = n * 5e-9;
    return 0;
}

const kr_recon kr_recon_adjoint = { "adjoint", "zero-filled coil images combined by the coil maps", "Pruessmann et al., Magn Reson Med 46:638 (2001)",
    KR_NEEDS_COILS | KR_EACH_SLICE | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, NULL, 0, run, plan };
