/* loss_nmae.c: sum |x - t| / sum |t|. */
#include "kray/train.h"
#include <math.h>

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    long n = p->items * p->h * p->w;
    double sum = 0, norm = 0;
    for (long i = 0; i < n; i++) {
        sum += fabs(p->x[i] - p->t[i]);
        norm += fabs(p->t[i]);
    }
    if (!(norm > 0))
        return kr_fail(KR_ENUMBER, "the target is 0 everywhere: the loss nmae divides by it");
    *value = sum / norm;
    for (long i = 0; p->d && i < n; i++)
        p->d[i] += weight / norm * (p->x[i] > p->t[i] ? 1 : p->x[i] < p->t[i] ? -1 : 0);
    return 0;
}

const kr_loss kr_loss_nmae = { .name = "nmae", .summary = "sum of |x - t| / sum of |t|, over all items", .cite = "DIRECT's NMAELoss", .run = run };
