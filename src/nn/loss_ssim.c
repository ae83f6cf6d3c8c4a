/* loss_ssim.c: 1 - mean SSIM over all windows that lie within the image. With the means a, b over a window, variances and covariance of x and t, the
 * derivative by a pixel is P + Q t + R x of each window that holds it: all that passes between pixels and windows are sums over 7 x 7. */
#include "kray/train.h"
#include <math.h>
#include <string.h>

enum { WINDOW = 7, PLANES = 5 };
struct ssim { const char *range; double span; };
static const kr_opt opts[] = {
    { "range", 0, KR_OPT_CHOICE, offsetof(struct ssim, range), "item", "item|batch|both|told",
      "the range of values: the target's maximum of each item (fastMRI), of the batch (DIRECT), max - min of both over the batch (ATOMMIC), or --span" },
    { "span", 0, KR_OPT_REAL, offsetof(struct ssim, span), "1", "X", "the range, with --range told" },
    KR_OPT_END
};

/* to (h-6 x w-6) = sums of from (h x w) over windows; row: room for one row. */
static void gather(double *to, const double *from, long h, long w, double *row)
{
    for (long y = 0; y + WINDOW <= h; y++) {
        for (long x = 0; x < w; x++) {
            row[x] = 0;
            for (long i = 0; i < WINDOW; i++)
                row[x] += from[(y + i) * w + x];
        }
        for (long x = 0; x + WINDOW <= w; x++) {
            double sum = 0;
            for (long i = 0; i < WINDOW; i++)
                sum += row[x + i];
            to[y * (w - WINDOW + 1) + x] = sum;
        }
    }
}

/* Its transpose: to (h x w) from (h-6 x w-6). */
static void scatter(double *to, const double *from, long h, long w, double *row)
{
    long cols = w - WINDOW + 1, rows = h - WINDOW + 1;
    for (long y = 0; y < h; y++) {
        long first = y - WINDOW + 1 > 0 ? y - WINDOW + 1 : 0, last = y < rows - 1 ? y : rows - 1;
        for (long x = 0; x < cols; x++) {
            row[x] = 0;
            for (long i = first; i <= last; i++)
                row[x] += from[i * cols + x];
        }
        for (long x = 0; x < w; x++) {
            double sum = 0;
            for (long i = x - WINDOW + 1 > 0 ? x - WINDOW + 1 : 0; i <= x && i < cols; i++)
                sum += row[i];
            to[y * w + x] = sum;
        }
    }
}

/* The mean SSIM of one item; d -= weight times its derivative. s: PLANES planes of windows; z, row: one of pixels, one row. */
static double one(const double *x, const double *t, double *d, long h, long w, double range, double weight, double *const *s, double *z, double *row)
{
    double n = WINDOW * WINDOW, cn = n / (n - 1), c1 = pow(0.01 * range, 2), c2 = pow(0.03 * range, 2), sum = 0;
    long count = (h - WINDOW + 1) * (w - WINDOW + 1), pixels = h * w;
    for (int k = 0; k < PLANES; k++) {
        for (long i = 0; i < pixels; i++)
            z[i] = k == 0 ? x[i] : k == 1 ? t[i] : k == 2 ? x[i] * x[i] : k == 3 ? t[i] * t[i] : x[i] * t[i];
        gather(s[k], z, h, w, row);
    }
    for (long i = 0; i < count; i++) {
        double a = s[0][i] / n, b = s[1][i] / n, vx = cn * (s[2][i] / n - a * a), vt = cn * (s[3][i] / n - b * b), vxt = cn * (s[4][i] / n - a * b);
        double a1 = 2 * a * b + c1, a2 = 2 * vxt + c2, b1 = a * a + b * b + c1, b2 = vx + vt + c2, q = a1 / (b1 * b2), v = q * a2;
        sum += v;
        s[0][i] = 2 / n * (b * a2 / (b1 * b2) - cn * b * q - a * v / b1 + cn * a * v / b2);
        s[1][i] = 2 / n * cn * q;
        s[2][i] = -2 / n * cn * v / b2;
    }
    for (int k = 0; k < 3 && d; k++) {
        scatter(z, s[k], h, w, row);
        for (long i = 0; i < pixels; i++)
            d[i] -= weight / (double)count * z[i] * (k == 0 ? 1 : k == 1 ? t[i] : x[i]);
    }
    return sum / (double)count;
}

static double range_of(const struct ssim *o, const kr_pair *p, long item)
{
    bool each = !strcmp(o->range, "item"), both = !strcmp(o->range, "both");
    long n = p->h * p->w, from = each ? item * n : 0, to = each ? from + n : p->items * n;
    double most = -INFINITY, least = INFINITY;
    if (!strcmp(o->range, "told"))
        return o->span;
    for (long i = from; i < to; i++) {
        most = fmax(most, both ? fmax(p->x[i], p->t[i]) : p->t[i]);
        least = fmin(least, fmin(p->x[i], p->t[i]));
    }
    return both ? most - least : most;
}

static int run(double *value, const kr_pair *p, double weight, const void *opts_)
{
    const struct ssim *o = opts_;
    long n = p->h * p->w;
    if (p->h < WINDOW || p->w < WINDOW)
        return kr_fail(KR_ESHAPE, "an SSIM loss of %ld x %ld pixels; its window is %d x %d", p->h, p->w, WINDOW, WINDOW);
    for (long b = 0; b < p->items; b++)
        if (!(range_of(o, p, b) > 0) || !isfinite(range_of(o, p, b)))
            return kr_fail(KR_ENUMBER, "an SSIM loss over a range of %g; it must be positive", range_of(o, p, b));
    kr_auto double *room = kr_alloc((size_t)(n * (PLANES + 1) + p->w), sizeof *room);
    if (!room)
        return kr_error_code();
    double *s[PLANES], mean = 0;
    for (int k = 0; k < PLANES; k++)
        s[k] = room + k * n;
    for (long b = 0; b < p->items; b++)
        mean += one(p->x + b * n, p->t + b * n, p->d ? p->d + b * n : NULL, p->h, p->w, range_of(o, p, b), weight / (double)p->items, s,
                    room + PLANES * n, room + (PLANES + 1) * n) / (double)p->items;
    *value = 1 - mean;
    return 0;
}

const kr_loss kr_loss_ssim = { .name = "ssim", .summary = "1 - mean SSIM, 7 x 7 uniform windows within the image, sample covariance",
    .cite = "Wang et al., IEEE Trans Image Process 13:600 (2004); fastMRI's SSIMLoss", .opts = opts, .opts_size = sizeof(struct ssim), .run = run };
