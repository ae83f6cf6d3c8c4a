/* op_nufft.c: A = F S from coil maps and a trajectory, frame by frame, and N = A^H W A as a convolution. */
#include "kray/linop.h"
#include "kray/nufft.h"
#include <string.h>

static const unsigned within = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

struct nonuniform {
    kr_array *coils;                  /* {X,Y,Z,COIL,MAP}                                            */
    long frames, points, pixels;
    long plans;                       /* in `plan`                                                   */
    bool moving;                      /* a spectrum of its own for every frame                       */
    kr_nufft **plan;                  /* one a frame, or one for all                                 */
    kr_cfloat *images;                /* S x: a frame's coil images                                  */
    kr_toeplitz *normal;              /* of the normal operator; then plan and images are NULL       */
};

static bool varies(const kr_array *traj, kr_shape frames)
{
    for (int d = 0; d < KR_AXES; d++)
        if (d != KR_CHAN && frames.n[d] > 1 && traj->n[d] > 1)
            return true;
    return false;
}

static void destroy(void *self)
{
    struct nonuniform *s = self;
    for (long i = s->plans - 1; i >= 0 && s->plan; i--)          /* the first lends its grid to the others */
        kr_nufft_unref(&s->plan[i]);
    kr_free(s->plan);
    kr_free(s->images);
    kr_toeplitz_unref(&s->normal);
    kr_array_unref(&s->coils);
    kr_free(s);
}

static size_t bytes(const void *self)
{
    const struct nonuniform *s = self;
    size_t sum = s->normal ? kr_toeplitz_bytes(s->normal) : 8 * (size_t)(s->pixels * s->coils->n[KR_COIL]);
    for (long i = 0; i < s->plans; i++)
        sum += kr_nufft_describe(s->plan[i]).bytes;
    return sum;
}

struct maps { const struct nonuniform *s; kr_cfloat *x; };

/* Coil images of one line of pixels, and back. */
enum { LINE = 256 };
static int expand(void *self, long i)
{
    const struct maps *j = self;
    const kr_array *S = j->s->coils;
    long n = j->s->pixels, coils = S->n[KR_COIL], sets = S->n[KR_MAP], end = (i + 1) * LINE < n ? (i + 1) * LINE : n;
    for (long c = 0; c < coils; c++)
        for (long r = i * LINE; r < end; r++) {
            kr_cfloat sum = kr_cmul(KR_C(S)[c * n + r], j->x[r]);
            for (long m = 1; m < sets; m++)
                sum += kr_cmul(KR_C(S)[(m * coils + c) * n + r], j->x[m * n + r]);
            j->s->images[c * n + r] = sum;
        }
    return 0;
}

static int reduce(void *self, long i)
{
    const struct maps *j = self;
    const kr_array *S = j->s->coils;
    long n = j->s->pixels, coils = S->n[KR_COIL], sets = S->n[KR_MAP], end = (i + 1) * LINE < n ? (i + 1) * LINE : n;
    for (long m = 0; m < sets; m++)
        for (long r = i * LINE; r < end; r++) {
            kr_cfloat sum = kr_cmulc(KR_C(S)[m * coils * n + r], j->s->images[r]);
            for (long c = 1; c < coils; c++)
                sum += kr_cmulc(KR_C(S)[(m * coils + c) * n + r], j->s->images[c * n + r]);
            j->x[m * n + r] = sum;
        }
    return 0;
}

static void each_line(const struct nonuniform *s, kr_body *body, kr_cfloat *x)
{
    struct maps j = { s, x };
    int e = kr_for((s->pixels + LINE - 1) / LINE, body, &j);
    kr_assert(!e);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct nonuniform *s = self;
    long coils = s->coils->n[KR_COIL], sets = s->coils->n[KR_MAP];
    for (long f = 0; f < s->frames; f++) {
        each_line(s, expand, KR_C(x) + f * sets * s->pixels);
        kr_nufft_forward(s->plan[s->plans > 1 ? f : 0], KR_C(y) + f * coils * s->points, s->images, coils);
    }
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct nonuniform *s = self;
    long coils = s->coils->n[KR_COIL], sets = s->coils->n[KR_MAP];
    for (long f = 0; f < s->frames; f++) {
        kr_nufft_adjoint(s->plan[s->plans > 1 ? f : 0], s->images, KR_C(y) + f * coils * s->points, coils);
        each_line(s, reduce, KR_C(x) + f * sets * s->pixels);
    }
}

static void convolve(void *self, kr_array *z, const kr_array *x)
{
    const struct nonuniform *s = self;
    long each = s->coils->n[KR_MAP] * s->pixels;
    for (long f = 0; f < s->frames; f++)
        kr_toeplitz_apply(s->normal, s->moving ? f : 0, KR_C(z) + f * each, KR_C(x) + f * each, KR_C(s->coils), s->coils->n[KR_MAP]);
}

static const kr_linop_ops ops = { "nufft", forward, adjoint, NULL, destroy, bytes };
static const kr_linop_ops normal_ops = { "nufft normal", convolve, convolve, NULL, destroy, bytes };

/* What both have: maps, shapes, coordinates of every frame. NULL: refused. */
static struct nonuniform *open(const kr_array *coils, const kr_array *traj, kr_shape frames)
{
    if (coils->type != KR_C32 || traj->type != KR_R32 || traj->n[KR_CHAN] < 2 || traj->n[KR_CHAN] > 3 || traj->step[KR_SAMPLE] != 1 ||
        (traj->n[KR_VIEW] > 1 && traj->step[KR_VIEW] != traj->n[KR_SAMPLE])) {
        kr_fail(KR_ESHAPE, "coil maps %s and a trajectory %s of 2 or 3 dimensions are wanted", kr_shape_text(kr_array_shape(coils)),
                kr_shape_text(kr_array_shape(traj)));
        return NULL;
    }
    struct nonuniform *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->coils = kr_array_packed(coils);
    s->frames = kr_count(frames);
    s->points = traj->n[KR_SAMPLE] * traj->n[KR_VIEW];
    s->pixels = kr_count(kr_shape_only(kr_array_shape(coils), within));
    if (!s->coils) {
        kr_free(s);
        return NULL;
    }
    return s;
}

static void coordinates(const float *k[3], const kr_array *traj, kr_shape frames, long f)
{
    for (int d = 0; d < 3; d++)
        k[d] = d < traj->n[KR_CHAN] ? KR_R(traj) + kr_array_offset(traj, frames, f) + d * traj->step[KR_CHAN] : NULL;
}

kr_linop *kr_op_nufft(const kr_array *coils, const kr_array *traj, kr_shape frames, double tolerance)
{
    struct nonuniform *s = open(coils, traj, frames);
    if (!s)
        return NULL;
    const long n[3] = { coils->n[KR_X], coils->n[KR_Y], coils->n[KR_Z] };
    long plans = varies(traj, frames) ? s->frames : 1, C = coils->n[KR_COIL];
    s->images = kr_alloc((size_t)(s->pixels * C), sizeof *s->images);
    s->plan = kr_alloc_zero((size_t)plans, sizeof *s->plan);
    bool good = s->images && s->plan;
    for (long f = 0; good && f < plans; f++) {
        const float *k[3];
        coordinates(k, traj, frames, f);
        good = (s->plan[f] = kr_nufft_new(n, s->points, k, C, tolerance)) != NULL;
        s->plans += good;
        if (good && f)
            kr_nufft_borrow(s->plan[f], s->plan[0]);
    }
    if (!good) {
        destroy(s);
        return NULL;
    }
    kr_shape domain = frames, codomain = frames;
    for (int d = 0; d < 3; d++)
        domain.n[d] = n[d];
    domain.n[KR_MAP] = coils->n[KR_MAP];
    codomain.n[KR_SAMPLE] = traj->n[KR_SAMPLE];
    codomain.n[KR_VIEW] = traj->n[KR_VIEW];
    codomain.n[KR_COIL] = C;
    return kr_linop_new(&ops, KR_C32, domain, codomain, s);
}

kr_linop *kr_op_nufft_normal(const kr_array *coils, const kr_array *traj, const kr_array *weights, kr_shape frames, double tolerance)
{
    struct nonuniform *s = open(coils, traj, frames);
    if (!s)
        return NULL;
    const long n[3] = { coils->n[KR_X], coils->n[KR_Y], coils->n[KR_Z] };
    long plans = varies(traj, frames) || (weights && varies(weights, frames)) ? s->frames : 1;
    s->normal = kr_toeplitz_new(n, coils->n[KR_COIL]);
    bool good = s->normal != NULL;
    for (long f = 0; good && f < plans; f++) {
        const float *k[3];
        coordinates(k, traj, frames, f);
        good = !kr_toeplitz_add(s->normal, s->points, k, weights ? KR_R(weights) + kr_array_offset(weights, frames, f) : NULL, tolerance);
    }
    if (!good) {
        destroy(s);
        return NULL;
    }
    kr_shape domain = frames;
    for (int d = 0; d < 3; d++)
        domain.n[d] = n[d];
    domain.n[KR_MAP] = coils->n[KR_MAP];
    s->moving = plans > 1;
    return kr_linop_new(&normal_ops, KR_C32, domain, domain, s);
}
