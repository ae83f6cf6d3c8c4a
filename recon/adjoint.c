/* adjoint.c: zero-filled coil images, combined by the conjugate coil maps: x = A^H y. */
#include "model.h"

struct job { const kr_scan *scan; const kr_array *coils; kr_array *image; const kr_trace *trace; };

static int one(void *self, long i)
{
    const struct job *j = self;
    if (kr_stopped(j->trace))
        return kr_error_code();
    kr_scoped(array) data = kr_part(j->scan->data, j->scan, i);
    kr_scoped(array) y = kr_array_packed(data);
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, i) : NULL;
    kr_scoped(array) coils = kr_part(j->coils, j->scan, i);
    kr_scoped(array) z = kr_part(j->image, j->scan, i);
    if (!y || (j->scan->mask && !mask) || !coils || !z)
        return kr_error_code();
    kr_scan part = { .shape = kr_array_shape(y), .data = y, .mask = mask, .in_image = j->scan->in_image };
    kr_scoped(linop) A = kr_model(&part, coils);
    kr_scoped(array) x = A ? kr_array_new(KR_C32, kr_linop_domain(A)) : NULL;
    if (!x)
        return kr_error_code();
    kr_apply_adj(A, x, y);                                           /* x = A^H y */
    kr_combine_sets(z, x);
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    (void)opts;
    kr_scoped(array) image = kr_array_new(KR_C32, kr_shape_without(scan->shape, KR_ON(KR_COIL)));
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
    double n = (double)kr_count(scan->shape);
    cost->bytes = 8 * n / (double)(scan->shape.n[KR_COIL] ? scan->shape.n[KR_COIL] : 1);
    cost->seconds = n * 5e-9;
    return 0;
}

const kr_recon kr_recon_adjoint = { "adjoint", "zero-filled coil images combined by the coil maps", "Pruessmann et al., Magn Reson Med 46:638 (2001)",
    KR_NEEDS_COILS | KR_EACH_SLICE | KR_TAKES_SLABS, NULL, 0, run, plan };
