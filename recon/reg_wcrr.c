/* reg_wcrr.c: lambda level R(x / level), R a learned ridge regulariser (ridge.h): its gradient is lambda where filters answer with much more than `level`, and with
 * level = lambda it takes off noise of that deviation, which it was trained for. What undersampling leaves in an image is more than noise and less sure: there a
 * level above the noise tells it from edges, and a lambda below it keeps the problem nearer to convex. Its own weights come with Kray. */
#include "kray/ridge.h"
#include "reg.h"
#include "regular.h"
#include <math.h>

typedef struct term { kr_ridge *r; kr_ridge_field *f; double level, by; } term;

static void add_gradient(void *self, kr_array *g, const kr_array *x, double by)
{
    const term *t = self;
    kr_ridge_gradient(t->f, g, x, t->level, by * t->by);
}

static double value(void *self, const kr_array *x)
{
    const term *t = self;
    return t->by * kr_ridge_value(t->f, x, t->level);
}

static int look(reg_problem *q, const kr_array *x, const kr_array *b)
{
    term *t = q->smooth.self;
    if (kr_ridge_look(t->f, x, b, t->level))
        return kr_error_code();
    q->smooth.bound = t->by * kr_ridge_field_bound(t->f);
    return 0;
}

static void drop(void *self)
{
    term *t = self;
    kr_ridge_field_unref(&t->f);
    kr_ridge_unref(&t->r);
    kr_free(t);
}

/* On a real scan with noise of 0.014 and six masks (docs/models.md) the pairs from 0.3 to 0.7 times the noise and 0.7 to 3 times it were tried. */
static const double OF_LEVEL = 0.3;       /* lambda, of complex images */

static double strength(double noise, bool rays)
{
    if (rays)
        return 0.008;
    return noise > 0 ? fmin(0.03, fmax(0.004, 0.43 * noise)) : 0.006;
}

static double level_of(const kr_regular *o, double lambda, bool real)
{
    return o->level > 0 ? o->level : real ? lambda : lambda / OF_LEVEL;
}

static int add(reg_problem *q, const reg_at *at)
{
    double lambda = at->relative, level = level_of(at->o, lambda, at->type == KR_R32);
    if (!(at->o->level >= 0) || !isfinite(at->o->level))
        return kr_fail(KR_EREFUSED, "level is 0 or more, not %g", at->o->level);
    if (q->smooth.add)
        return kr_fail(KR_EREFUSED, "wcrr can be one term of a sum, not two");
    kr_assert(lambda > 0);
    term *t = kr_alloc_zero(1, sizeof *t);
    if (!t)
        return kr_error_code();
    q->drop = drop;
    *t = (term){ .r = kr_ridge_new(at->weights), .level = level, .by = at->lambda / level };
    q->smooth = (kr_smooth){ add_gradient, value, 0, t };
    t->f = t->r ? kr_ridge_plan(t->r, at->type, at->n, at->space, level) : NULL;
    if (at->type == KR_C32)          /* by Haar wavelets: the descent takes half the steps from there; those of rays cost as much as a step of its own */
        q->first = kr_prox_mean(kr_prox_wavelet(at->type, at->n, at->space, 1, 0, 0.25 * at->lambda, true), 4);
    if (at->type == KR_C32 && !q->first)
        return kr_error_code();
    q->smooth.bound = t->f ? t->by * kr_ridge_bound(t->r) : 0;
    bool masks = kr_ridge_masks(at->weights);
    if (t->f && masks && at->type == KR_C32 && kr_ridge_looks(t->f))          /* the network was trained on complex images */
        q->look = look;
    if (at->o->rounds > 1 && t->f && !q->look)
        return kr_fail(KR_EREFUSED, masks ? "rounds: the weights make masks for planes of complex images, of 16 x 16 points and more" : "rounds: these weights have no network of masks, by which a second solution would be another one");
    return t->f ? 0 : kr_error_code();
}

const reg_kind reg_wcrr = { .name = "wcrr", .summary = "learned weakly convex ridge regulariser (--level)", .cite = "Goujon et al., SIAM J Imaging Sci 17:91 (2024)", .add = add, .images = 21, .planes = 49, .level = level_of, .by_noise = strength, .weights = "wcrr" };
