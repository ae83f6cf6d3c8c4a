/* loss_nrmse.c: the root of sum (x - t)^2 / sum t^2. */
#include "kray/train.h"
#include <math.h>

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    long n = p->items * p->h * p->w;
    double sum = 0, norm = 0;
    for (long i = 0; i < n; i++) {
        double e = p->x[i] - p->t[i];
        sum += e * e;
        norm += p->t[i] * p->t[i];
    }
    if (!(norm > 0))
        return kr_fail(KR_ENUMBER, "the target is 0 everywhere: the loss nrmse divides by it");
    *value = sqrt(sum / norm);
    for (long i = 0; p->d && *value > 0 && i < n; i++)
        p->d[i] += weight * (p->x[i] - p->t[i]) / (norm * *value);
    return 0;
}

const kr_loss kr_loss_nrmse = { .name = "nrmse", .summary = "root of sum of (x - t)^2 / sum of t^2, over all items", .cite = "DIRECT's NRMSELoss", .run = run };
