/* loss_nmse.c: sum (x - t)^2 / sum t^2. */
#include "loss.h"

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    double sum, norm;
    if (kr_loss_sums(&sum, &norm, p, "nmse"))
        return kr_error_code();
    *value = sum / norm;
    kr_loss_pull(p, weight * 2 / norm);
    return 0;
}

const kr_loss kr_loss_nmse = { .name = "nmse", .summary = "sum of (x - t)^2 / sum of t^2, over all items", .cite = "DIRECT's NMSELoss", .run = run };
