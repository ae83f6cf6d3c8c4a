/* loss_log_nmse.c: log(1 + NMSE / floor) over all items: every image counts by the ratio of its error, not by the size of it, as in means of PSNR. */
#include "kray/train.h"
#include <math.h>

struct log_nmse { double floor; };
static const kr_opt opts[] = {
    { "floor", 0, KR_OPT_REAL, offsetof(struct log_nmse, floor), "1e-5", "X", "NMSE below which less error gains little" },
    KR_OPT_END
};

static int run(double *value, const kr_pair *p, double weight, const void *o)
{
    double floor = ((const struct log_nmse *)o)->floor, sum = 0, norm = 0;
    long n = p->items * p->h * p->w;
    if (!(floor > 0))
        return kr_fail(KR_EREFUSED, "the floor of log_nmse is above 0, not %g", floor);
    for (long i = 0; i < n; i++) {
        double e = p->x[i] - p->t[i];
        sum += e * e;
        norm += p->t[i] * p->t[i];
    }
    if (!(norm > 0))
        return kr_fail(KR_ENUMBER, "the target is 0 everywhere: the loss log_nmse divides by it");
    *value = log1p(sum / norm / floor);
    double by = weight * 2 / (norm * floor * (1 + sum / norm / floor));
    for (long i = 0; p->d && i < n; i++)
        p->d[i] += by * (p->x[i] - p->t[i]);
    return 0;
}

const kr_loss kr_loss_log_nmse = { .name = "log_nmse", .summary = "log(1 + NMSE / floor)", .opts = opts, .opts_size = sizeof(struct log_nmse), .run = run };
