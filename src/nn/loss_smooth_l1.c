/* loss_smooth_l1.c: a parabola near 0, |x - t| beyond. */
#include "kray/train.h"
#include <math.h>

struct smooth { double beta; };
static const kr_opt opts[] = {
    { "beta", 0, KR_OPT_REAL, offsetof(struct smooth, beta), "1", "X", "where the parabola ends; 0: nowhere, l1" },
    KR_OPT_END
};

static int run(double *value, const kr_pair *p, double weight, const void *o)
{
    double beta = ((const struct smooth *)o)->beta;
    long n = p->items * p->h * p->w;
    if (!(beta >= 0) || !isfinite(beta))
        return kr_fail(KR_EREFUSED, "a smooth l1 loss with beta %g; it must not be negative", beta);
    for (long i = 0; i < n; i++) {
        double e = p->x[i] - p->t[i], a = fabs(e);
        *value += (a < beta ? e * e / (2 * beta) : a - beta / 2) / (double)n;
        if (p->d)
            p->d[i] += weight / (double)n * (a < beta ? e / beta : e > 0 ? 1 : e < 0 ? -1 : 0);
    }
    return 0;
}

const kr_loss kr_loss_smooth_l1 = { .name = "smooth_l1", .summary = "mean of e^2 / (2 beta) where |e| < beta, else |e| - beta/2, e = x - t",
    .cite = "PyTorch's SmoothL1Loss", .opts = opts, .opts_size = sizeof(struct smooth), .run = run };
