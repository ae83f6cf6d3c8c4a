/* learn_piece.c: a slice, or a strip of it, as inputs of a network. */
#include "learn_piece.h"
#include "kray/fourier.h"
#include <math.h>
#include <string.h>

static void cut(kr_cfloat *to, const kr_cfloat *from, long rows, long nx, long x0, long w)
{
    for (long y = 0; y < rows; y++)
        memcpy(to + y * w, from + y * nx + x0, (size_t)w * sizeof *to);
}

static void turned(kr_cfloat *x, long n, double phase)
{
    kr_cfloat by = kr_c((float)cos(phase), (float)sin(phase));
    for (long i = 0; i < n; i++)
        x[i] = kr_cmul(x[i], by);
}

int learn_piece_of(piece *p, const learn_slice *s, long x0, long w, double noise, double phase, double air)
{
    long n = w * s->ny;
    char *room = kr_alloc((size_t)(n * (3 + s->coils)), sizeof(kr_cfloat));
    float *more = room ? kr_alloc((size_t)(3 * n), sizeof *more) : NULL;
    if (!more) {
        kr_free(room);
        return kr_error_code();
    }
    kr_cfloat *c = (kr_cfloat *)room;
    *p = (piece){ .nx = w, .ny = s->ny, .coils = s->coils, .start = c, .adjoint = c + n, .target = c + 2 * n, .sens = c + 3 * n, .mask = more, .noise = more + n, .weight = more + 2 * n, .room = room };
    p->in = (kr_net_input){ .coils = s->coils, .h = s->ny, .w = w, .mask = p->mask, .sens = p->sens, .start = p->start, .adjoint = p->adjoint, .noise = p->noise, .centred = true };
    cut(p->start, s->start, s->ny, s->nx, x0, w);
    cut(p->adjoint, s->adjoint, s->ny, s->nx, x0, w);
    cut(p->target, s->target, s->ny, s->nx, x0, w);
    cut(p->sens, s->sens, s->ny * s->coils, s->nx, x0, w);
    turned(c, 3 * n, phase);
    for (long y = 0; y < s->ny; y++)
        for (long x = 0; x < w; x++) {
            p->mask[y * w + x] = s->mask[y * s->nx + x0 + x];
            p->noise[y * w + x] = (float)fmin(1, fmax(3e-4, noise));
            p->weight[y * w + x] = learn_object(p->target[y * w + x]) ? 1 : (float)air;
        }
    return 0;
}

/* A part of a slice as a scan: readout positions x0 to x0 + w alone, where readouts are whole. mask NULL: all of it was measured. */
static kr_scan *scan_of(const learn_slice *s, const kr_cfloat *kspace, const float *mask, long x0, long w, double phase)
{
    kr_scan *scan = kr_scan_new();
    kr_scoped(array) all = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny, [KR_COIL] = s->coils));
    if (!scan || !all || !(scan->mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = w, [KR_Y] = s->ny)))) {
        kr_scan_unref(&scan);
        return NULL;
    }
    memcpy(all->data, kspace, (size_t)(s->nx * s->ny * s->coils) * sizeof *kspace);
    turned(KR_C(all), s->nx * s->ny * s->coils, phase);
    bool part = w < s->nx;
    kr_scoped(array) cut = !part ? kr_array_ref(all) : kr_fourier_inverse(all, KR_ON(KR_X)) ? NULL : kr_array_range(all, KR_X, x0, w);
    scan->data = cut ? kr_array_copy(cut) : NULL;
    if (!scan->data || (part && kr_fourier(scan->data, KR_ON(KR_X)))) {
        kr_scan_unref(&scan);
        return NULL;
    }
    for (long i = 0; i < w * s->ny; i++)
        KR_R(scan->mask)[i] = !mask || mask[i / w * s->nx + x0 + i % w] != 0;
    scan->shape = kr_array_shape(scan->data);
    return scan;
}

/* Samples that a mask leaves out become 0, as they are read. */
static void left_out(kr_scan *s)
{
    for (long i = 0, n = s->shape.n[KR_X] * s->shape.n[KR_Y]; i < n * s->shape.n[KR_COIL]; i++)
        if (KR_R(s->mask)[i % n] == 0)
            KR_C(s->data)[i] = kr_c(0, 0);
}

int learn_piece_of_lesson(piece *p, const learn_state *st, const learn_slice *s, long x0, long w, double phase, const kr_learn *o, double hold, uint64_t stream)
{
    *p = (piece){ 0 };
    kr_scoped(scan) given = scan_of(s, s->kspace, s->mask, x0, w, phase);
    kr_scoped(scan) other = !given ? NULL : hold > 0 ? scan_of(s, s->kspace, s->mask, x0, w, phase) : scan_of(s, s->full, NULL, x0, w, phase);
    kr_scoped(array) maps = other ? kr_array_new(KR_C32, kr_array_shape(other->data)) : NULL;
    if (!maps)
        return kr_error_code();
    cut(KR_C(maps), s->sens, s->ny * s->coils, s->nx, x0, w);
    double sigma = 0;
    if (st->net->refines && (sigma = kr_noise_sigma(given, NULL)) < 0)
        sigma = 0;                                           /* nothing is measured far out */
    if (hold > 0) {
        kr_scoped(array) held = NULL;
        kr_array *rest = NULL;
        int e = kr_lesson_split(&rest, &held, given->mask, hold, (uint64_t)o->seed, stream);
        kr_array_unref(&given->mask);
        given->mask = rest;
        if (e)
            return e;
    }
    left_out(given);
    left_out(other);
    kr_scoped(array) first = o->start ? kr_array_new(KR_C32, KR_SHAPE([KR_X] = w, [KR_Y] = s->ny)) : NULL;
    if (first) {
        cut(KR_C(first), s->start, s->ny, s->nx, x0, w);
        turned(KR_C(first), w * s->ny, phase);
        kr_scale(first, s->scale);
    }
    if ((o->start && !first) || kr_lesson_of(&p->lesson, st->net, st->w, given, other, maps, sigma, first, NULL))
        return kr_error_code();
    const kr_lesson *l = &p->lesson;
    long n = l->in.h * l->in.w;
    p->nx = l->in.w;
    p->ny = l->in.h;
    p->coils = s->coils;
    p->in = l->in;
    p->start = l->first;
    p->target = l->target;
    p->magnitude = l->magnitude;
    p->mask = kr_alloc((size_t)n, sizeof *p->mask);          /* to be freed with the piece, as the weights behind it */
    p->weight = p->mask ? kr_alloc((size_t)n, sizeof *p->weight) : NULL;
    if (!p->weight)
        return kr_error_code();
    if (!l->target)
        return 0;
    double top = 0;
    for (long i = 0; i < n; i++)
        top = fmax(top, (double)kr_cabs2(l->target[i]));
    for (long i = 0; i < n; i++)
        p->weight[i] = (double)kr_cabs2(l->target[i]) > 0.06 * 0.06 * top ? 1 : (float)o->air;
    return top > 0 ? 0 : kr_fail(KR_ENUMBER, "the target of slice '%s' is 0 everywhere", s->name);
}

int learn_piece_of_judged(piece *p, const learn_slice *s)
{
    long n = s->nx * s->ny;
    kr_cfloat *c = kr_alloc((size_t)(3 * n), sizeof *c);
    float *more = c ? kr_alloc((size_t)(2 * n), sizeof *more) : NULL;
    if (!more) {
        kr_free(c);
        return kr_error_code();
    }
    *p = (piece){ .nx = s->nx, .ny = s->ny, .coils = 1, .start = c, .adjoint = c + n, .target = c + 2 * n, .mask = more, .weight = more + n, .room = c, .magnitude = true };
    p->in = (kr_net_input){ .coils = 1, .h = s->ny, .w = s->nx, .image = p->mask, .centred = true };
    memcpy(p->adjoint, s->start, (size_t)n * sizeof *c);
    memcpy(p->target, s->target, (size_t)n * sizeof *c);
    for (long i = 0; i < n; i++) {
        p->start[i] = kr_c(1, 0);
        p->mask[i] = kr_re(s->start[i]);
        p->weight[i] = 1;
    }
    return 0;
}

void learn_piece_clear(piece *p)
{
    if (!p->room)
        kr_free(p->weight);
    kr_free(p->mask);
    kr_free(p->room);
    kr_lesson_clear(&p->lesson);
    *p = (piece){ 0 };
}
