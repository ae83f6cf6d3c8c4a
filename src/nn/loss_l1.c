/* loss_l1.c: mean |x - t|. */
#include "kray/train.h"
#include <math.h>

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    long n = p->items * p->h * p->w;
    for (long i = 0; i < n; i++) {
        double e = p->x[i] - p->t[i];
        *value += fabs(e) / (double)n;
        if (p->d)
            p->d[i] += weight / (double)n * (e > 0 ? 1 : e < 0 ? -1 : 0);
    }
    return 0;
}

const kr_loss kr_loss_l1 = { .name = "l1", .summary = "mean of |x - t|", .cite = "PyTorch's L1Loss", .run = run };
