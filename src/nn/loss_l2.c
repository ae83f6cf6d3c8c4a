/* loss_l2.c: mean (x - t)^2. */
#include "kray/train.h"

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    long n = p->items * p->h * p->w;
    for (long i = 0; i < n; i++) {
        double e = p->x[i] - p->t[i];
        *value += e * e / (double)n;
        if (p->d)
            p->d[i] += weight * 2 * e / (double)n;
    }
    return 0;
}

const kr_loss kr_loss_l2 = { .name = "l2", .summary = "mean of (x - t)^2", .cite = "PyTorch's MSELoss", .run = run };
