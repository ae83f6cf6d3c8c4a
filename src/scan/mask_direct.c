/* mask_direct.c: the masks that DIRECT draws in its own way, point for point: CIRCUS, Gaussian and Poisson by
 * glibc's rand(), and its k-t masks, whose acceleration counts the centre. */
#include "mask.h"
#include <math.h>
#include <stdlib.h>

/* A disc of about `fraction` of the points; returns how many. */
static long disc(const mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, n = 0;
    double fraction = j->center > 0 ? j->center : 0;
    long r = (long)sqrt((double)(H * W) * fraction / acos(-1));
    for (long y = 0; y < H; y++)
        for (long x = 0; x < W; x++)
            if ((y - H / 2) * (y - H / 2) + (x - W / 2) * (x - W / 2) < r * r) {
                m[y * W + x] = 1;
                n++;
            }
    return n;
}

static int calib_disc(mask_job *j, uint8_t *m)
{
    disc(j, m);
    return 0;
}

static int too_many(const mask_job *j, double low, double N)
{
    return kr_fail(KR_EUSAGE, "%g of %g points at the centre alone are more than an acceleration of %g allows", low, N, j->accel);
}

/* The acceleration outside the `low` fully sampled of N points, such that the whole has the one asked for. */
static int outer_accel(const mask_job *j, double low, double N, double *R)
{
    *R = 1;
    if (low * j->accel >= N)
        return too_many(j, low, N);
    *R = j->accel * (low - N) / (low * j->accel - N);
    return 0;
}

/* DIRECT seeds its Gaussian masks with one number: the seed itself, or one drawn by the characters of the name. */
static uint32_t one_draw_seed(mask_job *j)
{
    if (!j->frame)
        kr_mt_seed(&j->rng, j->seed ? kr_mt_below(&j->rng, 1000000) : j->seed_number);
    return kr_mt_below(&j->rng, 100000);
}

static double glibc_uniform(kr_glibc_rand *g) { return (double)kr_glibc_next(g) / 2147483647.0; }

/* Points of a normal distribution (Box and Muller) around the centre, until `more` were hit that were not yet taken. */
static int scatter(const mask_job *j, uint8_t *m, long more, uint32_t seed)
{
    long H = j->rows, W = j->cols, left = more;
    double sigma_row = 6 * sqrt((double)(H / 2)), sigma_col = 6 * sqrt((double)(W / 2)), pi = acos(-1);
    kr_glibc_rand g;
    kr_glibc_seed(&g, seed);
    for (long tries = 10000 + 100 * H * W; left > 0; tries--) {
        if (!tries)
            return kr_fail(KR_EREFUSED, "a Gaussian of width %.0f x %.0f does not reach enough points of %ld x %ld", sigma_row, sigma_col, H, W);
        double r = sqrt(-2 * log(glibc_uniform(&g))), a = 2 * pi * glibc_uniform(&g);
        double y = H > 1 ? (double)(H / 2) + r * cos(a) * sigma_row : 0;
        double x = (double)(W / 2) + (H > 1 ? r * sin(a) : r * cos(a)) * sigma_col;
        if (!(y > -1 && y < (double)H && x > -1 && x < (double)W))
            continue;
        uint8_t *p = &m[(long)y * W + (long)x];
        left -= !*p;
        *p = 1;
    }
    return 0;
}

static int make_gaussian1d(mask_job *j, uint8_t *m)
{
    uint32_t seed = one_draw_seed(j);
    long n = kr_mask_low_lines(j), W = j->cols;
    for (long i = (W - n + 1) / 2, k = 0; k < n; k++)
        m[i + k] = 1;
    if ((double)n * j->accel > (double)W)
        return too_many(j, (double)n, (double)W);
    return scatter(j, m, (long)rint((double)W / j->accel - (double)n - 1) + 1, seed);
}

static int make_gaussian2d(mask_job *j, uint8_t *m)
{
    uint32_t seed = one_draw_seed(j);
    long n = disc(j, m);
    if ((double)n * j->accel > (double)(j->rows * j->cols))
        return too_many(j, (double)n, (double)(j->rows * j->cols));
    return scatter(j, m, (long)rint((double)(j->rows * j->cols) / j->accel - (double)n - 1) + 1, seed);
}

/* ---- CIRCUS: on each of the squares around the centre M points, at golden-ratio distances along its sides.
 *      Source: Liu and Saloner 2014. ---- */
/* The point `at` of the side * 4 - 4 of a square, clockwise from its upper left corner. */
static void on_square(long side, long at, long *y, long *x)
{
    long s = side - 1, part = at / s, along = at % s;
    *y = part == 0 ? 0 : part == 1 ? along : part == 2 ? s : s - along;
    *x = part == 0 ? along : part == 1 ? s : part == 2 ? s - along : 0;
}

static int circus(mask_job *j, uint8_t *m, bool spiral)
{
    long H = j->rows, W = j->cols, longer = H > W ? H : W, shorter = H < W ? H : W;
    longer -= longer % 2;
    shorter -= shorter % 2;
    double R, N = (double)(H * W), golden = (1 + sqrt(5)) / 2, A = (double)longer, B = (double)shorter;
    if (outer_accel(j, (double)disc(j, m), N, &R))
        return kr_error_code();
    long M = (long)(N / (R * (A / 2 - (A - B) * (1 + B / A) / 4)));
    double c = spiral ? 1.1 + (1.3 - 1.1) * kr_mt_uniform(&j->rng) : 0;
    long t = spiral ? 0 : kr_mt_below(&j->rng, 10000);
    /* The square grid has even sides, and a line in front of it where the mask is odd. */
    long pad_y = H % 2, pad_x = W % 2, cut_y = (longer + pad_y - H) / 2, cut_x = (longer + pad_x - W) / 2;
    for (long q = 0; q < longer / 2; q++) {
        long side = longer - 2 * q, K = 4 * (side - 1);
        for (long i = 0; i < M; i++) {
            double turn = fmod((double)(i + t * M) / golden, 1);
            long at = (long)floor(turn * (double)K), y, x;
            if (spiral)
                at = (long)fmod((double)at + ceil(pow((double)side, c)) - 1, (double)K);
            on_square(side, at, &y, &x);
            y += q + pad_y - cut_y;
            x += q + pad_x - cut_x;
            if (y >= 0 && y < H && x >= 0 && x < W)
                m[y * W + x] = 1;
        }
    }
    return 0;
}

static int make_circus_radial(mask_job *j, uint8_t *m) { return circus(j, m, false); }
static int make_circus_spiral(mask_job *j, uint8_t *m) { return circus(j, m, true); }

/* ---- Poisson disc by Bridson's dart throwing, radii growing from the centre; the slope is bisected until the acceleration
 *      is met within 0.2. Single and double precision stand where the original has them, or other points would be hit. ---- */
typedef struct bridson { long H, W; double *ry, *rx; long *ay, *ax; uint8_t *m; kr_glibc_rand g; } bridson;

static bool is_free(const bridson *b, float qy, float qx, float ry, float rx)
{
    long y0 = (int)(qy - ry), y1 = (int)(qy + ry + 1), x0 = (int)(qx - rx), x1 = (int)(qx + rx + 1);
    for (long y = y0 > 0 ? y0 : 0; y < (y1 < b->H ? y1 : b->H); y++)
        for (long x = x0 > 0 ? x0 : 0; x < (x1 < b->W ? x1 : b->W); x++) {
            if (!b->m[y * b->W + x])
                continue;
            double dy = (double)(qy - (float)y) / b->ry[y * b->W + x], dx = (double)(qx - (float)x) / b->rx[y * b->W + x];
            if ((float)(dy * dy + dx * dx) < 1)
                return false;
        }
    return true;
}

static void throw_darts(bridson *b, uint32_t seed)
{
    kr_glibc_seed(&b->g, seed);
    long active = 1, room = b->H * b->W;
    b->ay[0] = (int)(glibc_uniform(&b->g) * (double)b->H);
    b->ax[0] = (int)(glibc_uniform(&b->g) * (double)b->W);
    while (active > 0) {
        long i = (int)(glibc_uniform(&b->g) * (double)active);
        i = i < active ? i : active - 1;
        long py = b->ay[i], px = b->ax[i];
        float ry = (float)b->ry[py * b->W + px], rx = (float)b->rx[py * b->W + px], qy = 0, qx = 0;
        bool done = false;
        for (int k = 0; k < 10 && !done; k++) {
            float v = (float)(glibc_uniform(&b->g) + 1), t = (float)(2 * acos(-1) * glibc_uniform(&b->g));
            qy = (float)((double)py + (double)(v * ry) * cos((double)t));
            qx = (float)((double)px + (double)(v * rx) * sin((double)t));
            done = qy >= 0 && qy < (float)b->H && qx >= 0 && qx < (float)b->W && is_free(b, qy, qx, ry, rx);
        }
        if (done && active < room) {
            b->ay[active] = (int)qy;
            b->ax[active] = (int)qx;
            b->m[b->ay[active] * b->W + b->ax[active]] = 1;
            active++;
        } else {
            active--;
            b->ay[i] = b->ay[active];
            b->ax[i] = b->ax[active];
        }
    }
}

static int make_poisson(mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, N = H * W, longer = H > W ? H : W;
    uint32_t seed = one_draw_seed(j);
    bridson b = { .H = H, .W = W, .m = m };
    kr_auto double *ry = b.ry = kr_alloc((size_t)N, sizeof *ry), *rx = b.rx = kr_alloc((size_t)N, sizeof *rx);
    kr_auto long *ay = b.ay = kr_alloc((size_t)N, sizeof *ay), *ax = b.ax = kr_alloc((size_t)N, sizeof *ax);
    if (!ry || !rx || !ay || !ax)
        return KR_EMEM;
    double low = 0, high = (double)longer, R = 0;
    for (int tries = 0; tries < 60 && low < high; tries++) {
        double slope = (high + low) / 2;
        for (long i = 0; i < N; i++) {
            double y = fabs((double)(i / W) - (double)H / 2) / ((double)H / 2), x = fabs((double)(i % W) - (double)W / 2) / ((double)W / 2);
            double r = sqrt(y * y + x * x);
            ry[i] = fmax((1 + r * slope) * (double)H / (double)longer, 1);
            rx[i] = fmax((1 + r * slope) * (double)W / (double)longer, 1);
            m[i] = 0;
        }
        throw_darts(&b, seed);
        disc(j, m);
        long held = 0;
        for (long i = 0; i < N; i++)
            held += m[i];
        R = (double)N / (double)held;
        if (fabs(R - j->accel) < 0.2)
            return 0;
        if (R < j->accel)
            low = slope;
        else
            high = slope;
    }
    return kr_fail(KR_EREFUSED, "an acceleration of %g is not met, only %.3g", j->accel, R);
}

/* ---- k-t masks ---- */
static void centre_lines(const mask_job *j, uint8_t *m, long n)
{
    for (long f = 0; f < j->frames; f++)
        for (long i = (j->cols - n) / 2, k = 0; k < n; k++)
            m[f * j->cols + i + k] = 1;
}

static int make_kt_uniform(mask_job *j, uint8_t *m)
{
    long W = j->cols, T = j->frames, n = kr_mask_low_lines(j);
    double R;
    if (outer_accel(j, (double)n, (double)W, &R))
        return kr_error_code();
    kr_auto uint8_t *line = kr_alloc_zero((size_t)W, 1), *time = kr_alloc_zero((size_t)T, 1);
    if (!line || !time)
        return KR_EMEM;
    long first = kr_mt_below(&j->rng, (uint32_t)R), start = kr_mt_below(&j->rng, (uint32_t)j->accel);
    double step = ((double)first + R) - (double)first, step_t = ((double)start + j->accel) - (double)start;
    for (long i = 0, k = (long)ceil(((double)W - (double)first) / R); i < k; i++)
        line[(long)((double)first + (double)i * step)] = 1;
    for (long i = 0, k = (long)ceil(((double)T - (double)start) / j->accel); i < k; i++)
        time[(long)((double)start + (double)i * step_t)] = 1;
    /* A Toeplitz matrix of lines x frames, whose numbers are then read as if they were frames x lines. */
    for (long i = 0; i < W * T; i++) {
        long y = i / T, t = i % T;
        if (y >= t ? line[y - t] : time[t - y])
            m[(i ? i : 1) % T * W + (i ? i : 1) / T] = 1;
    }
    centre_lines(j, m, n);
    return 0;
}

/* Lines with replacement by a density of 0.1 + alpha / (1 - alpha) exp(-y^2 / s^2), s = W/5; those that came twice move. */
static int make_kt_gaussian(mask_job *j, uint8_t *m)
{
    long W = j->cols, n = kr_mask_low_lines(j);
    double R, sum = 0, s = (double)W / 5;
    if (outer_accel(j, (double)n, (double)W, &R))
        return kr_error_code();
    kr_auto double *cdf = kr_alloc((size_t)W, sizeof *cdf);
    kr_auto long *times = kr_alloc((size_t)W, sizeof *times);
    if (!cdf || !times)
        return KR_EMEM;
    for (long i = 0; i < W; i++) {
        double y = (double)(i - (W + 1) / 2);
        cdf[i] = sum += 0.1 + j->alpha / (1 - j->alpha + 1e-10) * exp(-(y * y) / (s * s));
    }
    for (long i = 0; i < W; i++)
        cdf[i] /= sum;
    for (long t = 0; t < j->frames; t++) {
        for (long i = 0; i < W; i++)
            times[i] = 0;
        for (long k = 0; k < (long)rint((double)W / R); k++)
            times[kr_mt_below_cdf(&j->rng, cdf, W)]++;
        kr_mask_spread(times, W);
        for (long i = 0; i < W; i++)
            m[t * W + i] = times[i] > 0;
    }
    centre_lines(j, m, n);
    return 0;
}

/* to(y,x) = from at the nearest point of the grid turned about its middle; 0 outside. Both N x N. */
static void turn(uint8_t *to, const uint8_t *from, long N, double degrees, bool add)
{
    double quarter = fmod(degrees, 360), a = quarter * acos(-1) / 180, mid = ((double)N - 1) / 2;
    double c = quarter == 90 || quarter == 270 ? 0 : quarter == 180 ? -1 : cos(a), s = quarter == 180 ? 0 : sin(a);
    double oy = mid - (c * mid + s * mid), ox = mid - (-s * mid + c * mid);
    for (long y = 0; y < N; y++)
        for (long x = 0; x < N; x++) {
            double v = c * (double)y + s * (double)x + oy, u = -s * (double)y + c * (double)x + ox;
            bool inside = v >= 0 && u >= 0 && v <= (double)(N - 1) && u <= (double)(N - 1);
            uint8_t got = inside ? from[(long)floor(v + 0.5) * N + (long)floor(u + 0.5)] : 0;
            to[y * N + x] = got | (add ? to[y * N + x] : 0);
        }
}

static void crop(uint8_t *m, const uint8_t *from, long N, const mask_job *j)
{
    for (long y = 0; y < j->rows; y++)
        for (long x = 0; x < j->cols; x++)
            m[y * j->cols + x] |= from[(y + (N - j->rows) / 2) * N + x + (N - j->cols) / 2];
}

/* A star of lines at equal angles; from the second frame on the star is turned by equal angles over half a turn. */
static int make_kt_radial(mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, T = j->frames, N = (long)(sqrt(2) * (double)(H > W ? H : W));
    double R, offset = 360 * kr_mt_uniform(&j->rng);
    if (outer_accel(j, (double)disc(j, m), (double)(H * W), &R))
        return kr_error_code();
    long beams = (long)(1 / R * ((double)(H + W) / 2));
    kr_auto uint8_t *row = kr_alloc_zero((size_t)(N * N), 1), *star = kr_alloc_zero((size_t)(N * N), 1), *turned = kr_alloc((size_t)(N * N), 1);
    if (!row || !star || !turned)
        return KR_EMEM;
    for (long x = 0; x < N; x++)
        row[N / 2 * N + x] = 1;
    for (long b = 0; b < beams; b++)
        turn(star, row, N, beams > 1 ? (double)b * (180.0 / (double)(beams - 1)) : 0, true);
    crop(m, star, N, j);
    for (long t = 1; t < T; t++) {
        disc(j, m + t * H * W);
        turn(turned, star, N, offset + (double)(t - 1) * (180.0 / (double)(T - 1)), false);
        crop(m + t * H * W, turned, N, j);
    }
    return 0;
}

const mask_kind kr_masks_direct[] = {
    { "circus_radial", "DIRECT: CIRCUS, spokes on nested squares", "accel=4,center=0.08,seed,axes,vary", MASK_PLANE, make_circus_radial, calib_disc },
    { "circus_spiral", "DIRECT: CIRCUS, spirals on nested squares", "accel=4,center=0.08,seed,axes,vary", MASK_PLANE, make_circus_spiral, calib_disc },
    { "direct_gaussian1d", "DIRECT: lines with normal density", "accel=4,center=0.08,lines,seed,axes,vary", MASK_LINES, make_gaussian1d, kr_mask_calib_lines },
    { "direct_gaussian2d", "DIRECT: points with normal density, disc at the centre", "accel=4,center=0.08,seed,axes,vary", MASK_PLANE, make_gaussian2d, calib_disc },
    { "direct_poisson", "DIRECT: Poisson disc with growing radii, disc at the centre", "accel=4,center=0.08,seed,axes,vary", MASK_PLANE, make_poisson, calib_disc },
    { "direct_kt_uniform", "DIRECT: kt_uniform with a random first line", "accel=4,center=0.08,lines,seed,axes", MASK_LINES | MASK_TIME, make_kt_uniform, NULL },
    { "direct_kt_gaussian", "DIRECT: kt_gaussian, the centre counted", "accel=4,center=0.08,lines,alpha=0.28,seed,axes", MASK_LINES | MASK_TIME, make_kt_gaussian, NULL },
    { "direct_kt_radial", "DIRECT: kt_radial, disc at the centre, random first angle", "accel=4,center=0.08,seed,axes", MASK_PLANE | MASK_TIME, make_kt_radial, NULL },
    { 0 } };
