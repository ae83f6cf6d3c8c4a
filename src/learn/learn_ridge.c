/* learn_ridge.c: lessons of a regulariser: images of undersampled scans, and parts of images with noise. */
#include "learn_piece.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int learn_levels(double level[2], const kr_learn *o)
{
    char word[64];
    for (int i = 0; i < 2; i++) {
        if (learn_word_at(word, sizeof word, o->levels, i))
            return kr_error_code();
        level[i] = strtod(word, NULL);
    }
    return level[0] > 0 && level[1] >= level[0] && level[1] < 1 ? 0 : kr_fail(KR_EUSAGE, "levels are two numbers above 0 and below 1, not '%s'", o->levels);
}

enum { MARGIN = 8, PATCH = 72, DESCENT = 60, DENOISING = 30, INVERSION = 15 };
static const double DAMPING = 0.1;

/* A network of masks learns as well from descents that end earlier, in half the time. */
static double rest(const learn_state *st) { return st->masks ? 3e-3 : 1e-3; }

/* The model of a slice, or of a strip: lines along x stand for themselves where the mask is the same in all of them. */
static kr_linop *model_of(const learn_slice *s, const piece *p)
{
    kr_scoped(array) maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = p->nx, [KR_Y] = p->ny, [KR_COIL] = p->coils));
    kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = s->strips ? 1 : p->nx, [KR_Y] = p->ny));
    if (!maps || !mask)
        return NULL;
    memcpy(maps->data, p->sens, (size_t)(p->nx * p->ny * p->coils) * sizeof(kr_cfloat));
    for (long i = 0, nx = mask->n[KR_X]; i < nx * p->ny; i++)
        KR_R(mask)[i] = p->mask[i / nx * p->nx + i % nx];
    return kr_op_sense_normal(maps, mask, KR_ON(KR_Y) | (s->strips ? 0 : KR_ON(KR_X)), (kr_shape){ 0 });
}

static void in_units(kr_cfloat *x, long n, double unit)
{
    for (long i = 0; i < n; i++)
        x[i] *= (float)(1 / unit);
}

/* A strip of an undersampled scan, at the level that its noise asks for, between the two of `levels`. */
static int scan(told *t, const kr_learn *o, learn_state *st, const learn_slice *s, long x0, long w, double by, kr_cfloat *image)
{
    static const double over_noise = 1.4;                    /* as --method wcrr has it */
    piece p = { 0 };
    double span[2];
    if (learn_levels(span, o))
        return kr_error_code();
    double level = fmin(span[1], fmax(span[0], over_noise * (double)s->noise));
    if (learn_piece_of(&p, s, x0, w, (double)s->noise, 0, o->air))
        return kr_error_code();
    long n = p.nx * p.ny;
    for (long i = 0; w < s->nx && i < n; i++)                /* a strip's ends are no neighbours */
        if (i % w < MARGIN || i % w >= w - MARGIN)
            p.weight[i] = 0;
    in_units(p.start, 3 * n, level);
    kr_scoped(linop) N = model_of(s, &p);
    double before = 0, after = 0;
    int e = !N ? kr_error_code() : kr_ridge_learn(st->ridge, st->ridge_gradient, &(kr_ridge_lesson){ .nx = p.nx, .ny = p.ny, .N = N, .bound = 1, .b = p.adjoint, .target = p.target,
        .start = p.start, .weight = p.weight, .level = level, .strength = o->strength, .iterations = image ? 2 * DESCENT : DESCENT, .inner = INVERSION, .rest = rest(st), .damping = DAMPING, .image = image }, by, &before, &after);
    t->loss += by * after;
    t->net += 20 / log(10) * after * by;
    t->start += 20 / log(10) * before * by;
    learn_piece_clear(&p);
    return e;
}

/* A part of an image, with noise. */
static int denoising(told *t, learn_state *st, dice *d, const learn_slice *s, double level, double by)
{
    long nx = s->nx < PATCH ? s->nx : PATCH, ny = s->ny < PATCH ? s->ny : PATCH, n = nx * ny, x0 = 0, y0 = 0;
    kr_auto kr_cfloat *room = kr_alloc((size_t)(2 * n), sizeof *room);
    kr_auto float *weight = kr_alloc((size_t)n, sizeof *weight);
    if (!room || !weight)
        return kr_error_code();
    kr_cfloat *noisy = room, *clean = room + n;
    for (int k = 0; k < 8; k++) {
        long seen = 0;
        x0 = dice_choice(d, s->nx - nx + 1);
        y0 = dice_choice(d, s->ny - ny + 1);
        for (long i = 0; i < n; i++)
            seen += learn_object(clean[i] = s->target[(y0 + i / nx) * s->nx + x0 + i % nx]);
        if (2 * seen > n)
            break;
    }
    for (long i = 0; i < n; i++) {
        double re = dice_normal(d), im = dice_normal(d);
        clean[i] *= (float)(1 / level);
        noisy[i] = clean[i] + kr_c((float)re, (float)im);
        weight[i] = i % nx >= MARGIN && i % nx < nx - MARGIN && i / nx >= MARGIN && i / nx < ny - MARGIN;
    }
    double before = 0, after = 0;
    int e = kr_ridge_learn(st->ridge, st->ridge_gradient, &(kr_ridge_lesson){ .nx = nx, .ny = ny, .b = noisy, .target = clean, .start = noisy, .weight = weight, .level = level,
        .strength = 1, .iterations = DENOISING, .inner = INVERSION, .rest = rest(st) }, by, &before, &after);
    t->loss += by * after;
    t->net += 20 / log(10) * after * by;
    t->start += 20 / log(10) * before * by;
    return e;
}

int learn_ridge_item(told *t, const kr_learn *o, learn_state *st, dice *d, const learn_slice *s, long x0, long w)
{
    double level[2], by = 1 / (double)o->batch;
    if (learn_levels(level, o))
        return kr_error_code();
    bool denoise = dice_uniform(d, 0, 1) < o->denoise;
    double at = exp(dice_uniform(d, log(level[0]), log(level[1])));
    return denoise ? denoising(t, st, d, s, at, by) : scan(t, o, st, s, x0, w, by, NULL);
}

int learn_ridge_image(kr_cfloat *image, const kr_learn *o, learn_state *st, const learn_slice *s)
{
    told t = { 0 };
    return scan(&t, o, st, s, 0, s->nx, 0, image);
}
