/* loss_log_nmse.c: log(1 + NMSE / floor) over all items: every image counts by the ratio of its error, not by the size of it, as in means of PSNR. */
#include "loss.h"
#include <math.h>

struct log_nmse { double floor; };
static const kr_opt opts[] = {
    { "floor", 0, KR_OPT_REAL, offsetof(struct log_nmse, floor), "1e-5", "X", "NMSE below which less error gains little" },
    KR_OPT_END
};

static int run(double *value, const kr_pair *p, double weight, const void *o)
{
    double floor = ((const struct log_nmse *)o)->floor, sum, norm;
    if (!(floor > 0))
        return kr_fail(KR_EREFUSED, "the floor of log_nmse is above 0, not %g", floor);
    if (kr_loss_sums(&sum, &norm, p, "log_nmse"))
        return kr_error_code();
    *value = log1p(sum / norm / floor);
    kr_loss_pull(p, weight * 2 / (norm * floor * (1 + sum / norm / floor)));
    return 0;
}

const kr_loss kr_loss_log_nmse = { .name = "log_nmse", .summary = "log(1 + NMSE / floor)", .opts = opts, .opts_size = sizeof(struct log_nmse), .run = run };
