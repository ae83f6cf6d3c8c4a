/* moved.c: a slice of an object that moves in its plane while its lines are measured, and how like it is to the image without motion. */
#include "learning.h"
#include "kray/fourier.h"
#include "kray/metric.h"
#include "kray/noref.h"
#include "kray/nufft.h"
#include "kray/phantom.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 12, STILL = 10 };     /* most moments of motion; one slice in so many keeps still */
static const double fov_mm = 240;

bool learn_judges(const kr_learn *o)
{
    const kr_net_kind *net = kr_net_kind_named(o->network);
    return net && net->judges;
}

static int range_of(double v[2], const char *list, const char *key)
{
    char word[64];
    for (int i = 0; i < 2; i++) {
        if (learn_word_at(word, sizeof word, list, i))
            return kr_error_code();
        v[i] = strtod(word, NULL);
    }
    return v[0] > 0 && v[1] >= v[0] && isfinite(v[1]) ? 0 : kr_fail(KR_EUSAGE, "%s is two numbers above 0, the smaller one first, not '%s'", key, list);
}

/* y of x: every line in the pose of its moment; lines are rows, or (across) columns. A pose takes r to R r + t: the sample at k is then exp(-2 pi i k t) times that of the object that
 * keeps still at R^T k. */
static int measured(kr_array *y, const kr_cfloat *x, const kr_motion *m, bool across)
{
    long n[3] = { y->n[KR_X], y->n[KR_Y], 1 }, count = n[0] * n[1], lines = n[across ? 0 : 1];
    double mm[2] = { fov_mm / (double)n[1] * (double)n[0], fov_mm };         /* square pixels */
    kr_auto float *k = kr_alloc(2 * (size_t)count, sizeof *k);
    kr_auto kr_cfloat *w = kr_alloc((size_t)count, sizeof *w);
    if (!k || !w)
        return kr_error_code();
    for (long i = 0; i < count; i++) {
        double angle, shift[2], at[2] = { (double)(i % n[0] - n[0] / 2) / mm[0], (double)(i / n[0] - n[1] / 2) / mm[1] };
        kr_motion_pose(&angle, shift, m, 0, across ? i % n[0] : i / n[0], lines);
        double c = cos(angle), s = sin(angle), phase = -2 * M_PI * (at[0] * shift[0] + at[1] * shift[1]);
        k[i] = (float)((c * at[0] + s * at[1]) * mm[0]);
        k[count + i] = (float)((c * at[1] - s * at[0]) * mm[1]);
        w[i] = kr_c((float)cos(phase), (float)sin(phase));
    }
    kr_nufft *F = kr_nufft_new(n, count, (const float *[3]){ k, k + count, NULL }, 1, 1e-4);
    if (!F)
        return kr_error_code();
    kr_nufft_forward(F, KR_C(y), x, 1);
    kr_nufft_unref(&F);
    for (long i = 0; i < count; i++)
        KR_C(y)[i] = kr_cmul(KR_C(y)[i], w[i]);
    return 0;
}

static void magnitudes(float *m, const kr_cfloat *x, long n)
{
    for (long i = 0; i < n; i++)
        m[i] = sqrtf(kr_cabs2(x[i]));
}

static int fill(learn_slice *s, const kr_array *moved, const kr_cfloat *still)
{
    long n = s->nx * s->ny;
    kr_auto float *room = kr_alloc((size_t)(3 * n), sizeof *room);
    float *a = room, *b = room + n, *map = room + 2 * n, top = 0;
    if (!room)
        return kr_error_code();
    magnitudes(a, still, n);
    magnitudes(b, KR_C(moved), n);
    for (long i = 0; i < n; i++)
        top = fmaxf(top, a[i]);
    if (kr_ssim_map(map, a, b, s->nx, s->ny, (double)top))
        return kr_error_code();
    double unit = kr_noref_unit(b, n);
    if (!(unit > 0))
        return kr_error_code() ? kr_error_code() : 1;
    for (long i = 0; i < n; i++) {
        s->start[i] = kr_c((float)((double)b[i] / unit), 0);
        s->adjoint[i] = kr_c((float)((double)a[i] / unit), 0);
        s->target[i] = kr_c(fmaxf(map[i], 0), 0);
        s->sens[i] = kr_c(1, 0);
        s->mask[i] = 1;
    }
    return 0;
}

int learn_moved(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, dice *d)
{
    const char *name = "";
    double noise[2] = { 0 }, size[2] = { 0 };
    kr_auto kr_cfloat *x = NULL;
    long nx, ny;
    if (range_of(noise, o->noise, "noise") || range_of(size, o->motion, "motion"))
        return kr_error_code();
    int e = learn_picture(&x, &nx, &ny, &name, v, o, held, d);
    if (e)
        return e;
    /* Noise moves with the object: without motion an image is like itself however noisy it is. */
    double sigma = exp(dice_uniform(d, log(noise[0]), log(noise[1])));
    for (long i = 0; i < nx * ny; i++) {
        double z[2];
        kr_rand_normal2(d->seed, d->stream, d->at++, z);
        x[i] += kr_c((float)(sigma * z[0]), (float)(sigma * z[1]));
    }
    kr_motion m = { .steps = 1 + dice_choice(d, STEPS), .seed = (uint64_t)dice_choice(d, 1 << 30) };
    m.degrees = exp(dice_uniform(d, log(size[0]), log(size[1])));
    m.mm = exp(dice_uniform(d, log(size[0]), log(size[1])));
    bool across = dice_uniform(d, 0, 1) < 0.5, still = dice_choice(d, STILL) == 0;
    kr_scoped(array) y = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    if (!y)
        return kr_error_code();
    if (still)
        memcpy(y->data, x, (size_t)(nx * ny) * sizeof *x);
    else if (measured(y, x, &m, across) || kr_fourier_inverse(y, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    size_t n = (size_t)(nx * ny);
    *s = (learn_slice){ .nx = nx, .ny = ny, .coils = 1, .noise = (float)sigma, .scale = 1, .name = kr_strdup(name), .start = kr_alloc(n, sizeof(kr_cfloat)), .adjoint = kr_alloc(n, sizeof(kr_cfloat)),
                        .target = kr_alloc(n, sizeof(kr_cfloat)), .sens = kr_alloc(n, sizeof(kr_cfloat)), .mask = kr_alloc(n, sizeof(float)) };
    e = s->name && s->start && s->adjoint && s->target && s->sens && s->mask ? fill(s, y, x) : kr_error_code();
    if (e)
        learn_slice_clear(s);
    return e;
}
