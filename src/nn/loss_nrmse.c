/* loss_nrmse.c: the root of sum (x - t)^2 / sum t^2. */
#include "loss.h"
#include <math.h>

static int run(double *value, const kr_pair *p, double weight, const void *opts)
{
    (void)opts;
    double sum, norm;
    if (kr_loss_sums(&sum, &norm, p, "nrmse"))
        return kr_error_code();
    *value = sqrt(sum / norm);
    if (*value > 0)
        kr_loss_pull(p, weight / (norm * *value));
    return 0;
}

const kr_loss kr_loss_nrmse = { .name = "nrmse", .summary = "root of sum of (x - t)^2 / sum of t^2, over all items", .cite = "DIRECT's NRMSELoss", .run = run };
