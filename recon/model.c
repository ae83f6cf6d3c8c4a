/* model.c: from a scan to operators: which parts it has, and A = P F S of one of them. */
#include "model.h"
#include "kray_models.h"
#include "kray/slabs.h"
#include <math.h>
#include <string.h>

enum { space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), problem = space | KR_ON(KR_COIL) | KR_ON(KR_MAP) | KR_ON(KR_SAMPLE) | KR_ON(KR_U) | KR_ON(KR_V) | KR_ON(KR_VIEW) };
const unsigned kr_problem_axes = problem;

unsigned kr_in_kspace(const kr_scan *s) { return space & ~s->in_image; }

long kr_parts(const kr_scan *s) { return kr_count(kr_shape_without(s->shape, problem)); }

kr_array *kr_part_of(const kr_array *a, const kr_scan *s, unsigned whole, long i)
{
    kr_array *v = kr_array_ref(a);
    for (int d = 0; v && d < KR_AXES; d++) {
        long n = whole & KR_ON(d) || !s->shape.n[d] ? 1 : s->shape.n[d], at = i % n;
        i /= n;
        if (n == 1 || v->n[d] == 1)
            continue;
        kr_array *w = kr_array_at(v, d, at);
        kr_array_unref(&v);
        v = w;
    }
    return v;
}

kr_array *kr_frame_of(const kr_array *a, kr_shape series, long f)
{
    const kr_scan as = { .shape = series };
    return kr_part_of(a, &as, 0, f);
}

kr_array *kr_part(const kr_array *a, const kr_scan *s, long i) { return kr_part_of(a, s, problem, i); }

int kr_coils_check(const kr_array *coils, const kr_scan *s)
{
    kr_shape want = kr_scan_image_shape(s);
    want.n[KR_COIL] = s->shape.n[KR_COIL];
    for (int d = 0; d < KR_AXES; d++) {
        long n = want.n[d] ? want.n[d] : 1;
        bool fits = d == KR_MAP || coils->n[d] == n || (coils->n[d] == 1 && !(problem & KR_ON(d)));
        if (!fits || coils->type != KR_C32)
            return kr_fail(KR_ESHAPE, "coil maps of shape %s do not fit k-space of shape %s", kr_shape_text(kr_array_shape(coils)),
                           kr_shape_text(want));
    }
    return 0;
}

void kr_combine_sets(kr_array *z, const kr_array *x)
{
    long n = kr_count(kr_array_shape(z)), sets = x->n[KR_MAP];
    const kr_cfloat *p = x->data;
    kr_cfloat *out = z->data;
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (long m = 0; m < sets; m++)
            sum += (double)kr_cabs2(p[i + m * n]);
        double first = sqrt((double)kr_cabs2(p[i])), f = first > 0 ? sqrt(sum) / first : 0;
        out[i] = sets == 1 ? p[i] : f > 0 ? kr_cmul(p[i], kr_c((float)f, 0)) : kr_c((float)sqrt(sum), 0);
    }
}

/* ---- The model of one part ---- */
#define DECLARE(n) extern const model_kind model_##n;
KR_LIST(DECLARE)
#define POINT(n) &model_##n,
static const model_kind *const kinds[] = { KR_LIST(POINT) };

static int opened(model *m, const kr_scan *part, const kr_array *coils, int turn)
{
    *m = (model){ .part = part, .type = KR_C32, .series = kr_shape_without(part->shape, problem), .turn = turn };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !m->kind; i++)
        m->kind = kinds[i]->can(part) ? kinds[i] : NULL;
    if (!m->kind)
        return kr_fail(KR_EREFUSED, "there is no model of data %s", kr_shape_text(part->shape));
    if (coils && !(m->coils = kr_array_packed(coils)))
        return kr_error_code();
    return m->kind->open(m);
}

int model_open(model *m, const kr_scan *part, const kr_array *coils) { return opened(m, part, coils, -1); }

int model_open_lying(model *m, const kr_scan *part)
{
    bool whole = part->rays && kr_op_rays_planes(part->rays, &part->grid) == part->grid.n[2];      /* slabs are planes that lie together */
    int axis = whole && part->grid.n[2] > 1 && kr_rays_upright(part->rays) ? kr_rays_axis(part->rays) : 0;
    return opened(m, part, NULL, axis > 0 ? (axis + 2) % 3 : -1);
}

/* Turn 1: x is {z,x,y}; turn 0: {y,z,x}. */
kr_array *model_upright(const model *m, const kr_array *x)
{
    if (m->turn < 0)
        return kr_array_ref(x);
    kr_scoped(array) first = kr_array_rename(x, KR_X, m->turn == 1 ? KR_Y : KR_Z);
    return kr_array_rename(first, KR_Y, KR_Z);
}

kr_array *model_lying(const model *m, const kr_array *upright)
{
    if (m->turn < 0)
        return kr_array_ref(upright);
    kr_scoped(array) first = kr_array_rename(upright, KR_Y, KR_Z);
    return kr_array_rename(first, KR_X, m->turn == 1 ? KR_Y : KR_Z);
}

void model_close(model *m)
{
    kr_array_unref(&m->coils);
    kr_array_unref(&m->mask);
    kr_linop_unref(&m->A);
    if (m->rays)
        kr_rays_unref(&m->rays);
}

kr_linop *kr_model(const kr_scan *scan, const kr_array *coils)
{
    if (kr_parts(scan) != 1) {
        kr_fail(KR_ESHAPE, "one slice is wanted for a model, k-space has shape %s", kr_shape_text(scan->shape));
        return NULL;
    }
    if (!scan->rays && kr_coils_check(coils, scan))
        return NULL;
    model m;
    kr_linop *A = model_open(&m, scan, coils) ? NULL : m.kind->forward(&m);
    model_close(&m);
    return A;
}

int kr_part_open(kr_scan *part, const kr_scan *s, unsigned whole, long i)
{
    *part = (kr_scan){ .in_image = s->in_image, .whitened = s->whitened, .dwell_us = s->dwell_us, .noise_dwell_us = s->noise_dwell_us };
    kr_scoped(array) data = kr_part_of(s->data, s, whole, i);
    part->data = data ? kr_array_packed(data) : NULL;
    if (!part->data)
        return kr_error_code();
    part->shape = kr_array_shape(part->data);
    part->rays = s->rays;                                    /* borrowed */
    part->grid = s->grid;
    part->ray_model = s->ray_model;
    if (s->traj) {
        memcpy(part->enc.encoded, s->enc.encoded, sizeof part->enc.encoded);
        part->traj = kr_part_of(s->traj, s, whole | KR_ON(KR_CHAN), i);
        kr_scoped(array) weights = kr_part_of(s->density, s, whole, i);
        part->density = weights ? kr_array_packed(weights) : NULL;
        if (s->field && !(part->field = kr_part_of(s->field, s, whole, i)))
            return kr_error_code();
        part->first_us = s->first_us;
        return part->traj && part->density ? 0 : kr_error_code();
    }
    part->mask = s->mask ? kr_part_of(s->mask, s, whole, i) : NULL;
    return s->mask && !part->mask ? kr_error_code() : 0;
}

void kr_part_close(kr_scan *part)
{
    kr_array_unref(&part->data);
    kr_array_unref(&part->mask);
    kr_array_unref(&part->traj);
    kr_array_unref(&part->density);
    kr_array_unref(&part->field);
}

static int predict_part(kr_array *y, const kr_scan *scan, const kr_array *coils, const kr_array *x, long i)
{
    kr_scoped(array) data = kr_part(scan->data, scan, i);
    kr_scoped(array) packed = data ? kr_array_packed(data) : NULL;
    kr_scoped(array) own = scan->mask ? kr_part(scan->mask, scan, i) : NULL;
    kr_scoped(array) maps = kr_part(coils, scan, i);
    kr_scoped(array) S = maps ? kr_array_packed(maps) : NULL;
    kr_scoped(array) image = kr_part(x, scan, i);
    kr_scoped(array) from = image ? kr_array_packed(image) : NULL;
    kr_scoped(array) to = kr_part(y, scan, i);
    if (!packed || !S || !from || !to || (scan->mask && !own))
        return kr_error_code();
    kr_scan one = { .shape = kr_array_shape(packed), .data = packed, .mask = own, .in_image = scan->in_image };
    kr_scoped(linop) A = kr_model(&one, S);
    kr_scoped(array) made = A ? kr_array_new(KR_C32, kr_linop_codomain(A)) : NULL;
    if (!made)
        return kr_error_code();
    kr_apply(A, made, from);
    kr_array_assign(to, made);
    return 0;
}

int kr_samples_of(kr_array **y, const kr_scan *scan, const kr_array *coils, const kr_array *x)
{
    *y = NULL;
    if (kr_coils_check(coils, scan))
        return kr_error_code();
    kr_shape grid = kr_shape_without(kr_array_shape(scan->data), KR_ON(KR_COIL));
    if (coils->n[KR_MAP] > 1 || x->type != KR_C32 || !kr_shape_equal(kr_array_shape(x), grid))
        return kr_fail(KR_ESHAPE, "a complex image %s and one set of maps are wanted, not %s %s and %ld", kr_shape_text(grid),
                       x->type == KR_C32 ? "complex" : "real", kr_shape_text(kr_array_shape(x)), coils->n[KR_MAP]);
    *y = kr_array_like(scan->data);
    int e = *y ? 0 : kr_error_code();
    for (long i = 0; i < kr_parts(scan) && !e; i++)
        e = predict_part(*y, scan, coils, x, i);
    if (e)
        kr_array_unref(y);
    return e;
}
