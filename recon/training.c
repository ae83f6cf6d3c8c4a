/* training.c: the training series of k-t methods: low resolution in space, full resolution in time.
 * Source: Tsao et al., Magn Reson Med 50:1031 (2003). */
#include "kray/fourier.h"
#include "kray/scan.h"
#include "training.h"
#include <math.h>

enum { LEAST = 4 };

/* Hann's window over `width` points from `from` of n; 1 everywhere if all are measured. */
static void taper(float *w, long n, long from, long width)
{
    for (long i = 0; i < n; i++)
        w[i] = width == n ? 1 : i < from || i >= from + width ? 0 : (float)(0.5 - 0.5 * cos(2 * M_PI * ((double)(i - from) + 0.5) / (double)width));
}

struct window { const kr_array *frame; const float *w[3]; long n[3]; };

static int one_line(void *self, long i)
{
    const struct window *j = self;
    float f = j->w[1][i % j->n[1]] * j->w[2][i / j->n[1] % j->n[2]];
    kr_cfloat *k = KR_C(j->frame) + i * j->n[0];
    for (long x = 0; x < j->n[0]; x++)
        k[x] = kr_c(f * j->w[0][x] * kr_re(k[x]), f * j->w[0][x] * kr_im(k[x]));
    return 0;
}

static int window_of(float *w, const kr_array *y, const kr_array *mask, int frames)
{
    kr_shape grid = kr_shape_only(kr_array_shape(y), KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(frames));
    kr_mask_facts f;
    if (kr_mask_describe(&f, mask, grid))
        return kr_error_code();
    for (int d = 0; d < 3; w += y->n[d], d++) {
        if (f.centre[d] < LEAST && f.centre[d] < y->n[d])
            return kr_fail(KR_EREFUSED, "kt-sense learns from lines around the centre of k-space that every frame has: %d or more are wanted along %s, "
                                        "not %ld; ttv and llr do without", LEAST, kr_axis_name(d), f.centre[d]);
        taper(w, y->n[d], f.centre_from[d], f.centre[d]);
    }
    return 0;
}

kr_array *kr_training_power(const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes, int frames, float scale)
{
    kr_auto float *w = kr_alloc((size_t)(y->n[KR_X] + y->n[KR_Y] + y->n[KR_Z]), sizeof *w);
    kr_scoped(linop) A = kr_op_sense(coils, NULL, axes);
    if (!w || !A || window_of(w, y, mask, frames))
        return NULL;
    kr_shape shape = kr_linop_domain(A);
    kr_scoped(array) x = kr_array_new(KR_C32, shape);
    shape.n[frames] = y->n[frames];
    kr_scoped(array) m = kr_array_new(KR_C32, shape);
    kr_array *power = kr_array_new(KR_R32, shape);
    bool good = x && m && power;
    for (long t = 0; good && t < y->n[frames]; t++) {
        kr_scoped(array) view = kr_array_at(y, frames, t);
        kr_scoped(array) frame = view ? kr_array_copy(view) : NULL;
        kr_scoped(array) to = kr_array_at(m, frames, t);
        good = frame && to;
        if (!good)
            break;
        struct window j = { frame, { w, w + y->n[KR_X], w + y->n[KR_X] + y->n[KR_Y] }, { y->n[KR_X], y->n[KR_Y], y->n[KR_Z] } };
        good = !kr_for(kr_count(kr_array_shape(frame)) / j.n[0], one_line, &j);
        kr_apply_adj(A, x, frame);
        kr_scale(x, scale);
        kr_array_assign(to, x);
    }
    if (!good || kr_fourier(m, KR_ON(frames))) {
        kr_array_unref(&power);
        return NULL;
    }
    for (long i = 0, n = kr_count(shape); i < n; i++)
        KR_R(power)[i] = kr_cabs2(KR_C(m)[i]);
    return power;
}
