/* in_double.c: what layers share in double: convolutions of planes, instance norm, Fourier transforms, each written as its formula stands, forward and backward. */
#include "back.h"
#include "lay.h"
#include <math.h>
#include <string.h>

/* ---- Convolution ---- */
enum { FORWARD, OF_X, OF_W };

/* n pixels that follow each other: y += w x, x += w y (backward, of gradients), or the sum of products. */
static double pixels(double *restrict y, double *restrict x, double w, long n, int what)
{
    double sum = 0;
    for (long i = 0; i < n && what == FORWARD; i++)
        y[i] += w * x[i];
    for (long i = 0; i < n && what == OF_X; i++)
        x[i] += w * y[i];
    for (long i = 0; i < n && what == OF_W; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Number t of a kernel on one plane: inside, pixels read pixels beside each other; at the ends those that stand for what is outside. */
static double tap(double *y, double *x, double w, const plain_grid *g, long t, int what)
{
    long down = g->d * (t / g->k - g->k / 2), along = g->d * (t % g->k - g->k / 2), from = along < 0 ? -along : 0, to = along > 0 ? g->w - along : g->w;
    double sum = 0;
    if (to < from)
        from = to = g->w;
    for (long i = 0; i < g->h; i++) {
        long row = map_source(i + down, g->h, g->pad);
        if (row < 0)
            continue;
        double *a = y + i * g->w, *b = x + row * g->w;
        if (to > from)
            sum += pixels(a + from, b + from + along, w, to - from, what);
        for (long q = 0; q < g->w; q++) {
            if (q == from && to > from)
                q = to;
            long at = q < g->w ? map_source(q + along, g->w, g->pad) : -1;
            if (at >= 0)
                sum += pixels(a + q, b + at, w, 1, what);
        }
    }
    return sum;
}

struct job { double *y, *x, *dw; const double *w; long outs, ins, row; const plain_grid *g; int what; };

/* One plane of y, or (backward, of x) of x. */
static int plane(void *self, long p)
{
    const struct job *j = self;
    long px = j->g->h * j->g->w, taps = j->g->k * j->g->k;
    for (long other = 0; other < (j->what == OF_X ? j->outs : j->ins); other++) {
        long o = j->what == OF_X ? other : p, i = j->what == OF_X ? p : other, at = o * j->row + i * taps;
        for (long t = 0; t < taps; t++) {
            double sum = tap(j->y + o * px, j->x + i * px, j->w[at + t], j->g, t, j->what);
            if (j->what == OF_W)
                j->dw[at + t] += sum;
        }
    }
    return 0;
}

static void run(struct job j, int what)
{
    j.what = what;
    if (kr_for(what == OF_X ? j.ins : j.outs, plane, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

void plain_conv(double *y, const double *x, const double *w, long outs, long ins, long all, const plain_grid *g)
{
    run((struct job){ y, (double *)(uintptr_t)x, NULL, w, outs, ins, all * g->k * g->k, g, 0 }, FORWARD);
}

void plain_conv_back(double *dx, double *dw, const double *dy, const double *x, const double *w, long outs, long ins, long all, const plain_grid *g)
{
    struct job j = { (double *)(uintptr_t)dy, dx, dw, w, outs, ins, all * g->k * g->k, g, 0 };
    if (dx)
        run(j, OF_X);
    j.x = (double *)(uintptr_t)x;
    if (dw)
        run(j, OF_W);
}

/* ---- Instance norm ---- */
static double moments(double *mean, const double *y, long n)
{
    double var = 0;
    *mean = 0;
    for (long i = 0; i < n; i++)
        *mean += y[i] / (double)n;
    for (long i = 0; i < n; i++)
        var += (y[i] - *mean) * (y[i] - *mean) / (double)n;
    return 1 / sqrt(var + 1e-5);
}

double plain_norm(double *y, long n)
{
    double mean, scale = moments(&mean, y, n);
    for (long i = 0; i < n; i++)
        y[i] = (y[i] - mean) * scale;
    return scale;
}

void plain_norm_back(double *dx, const double *x, const double *dy, long n, double slope)
{
    double mean, scale = moments(&mean, x, n), sum = 0, along = 0;
    for (long i = 0; i < n; i++) {
        double d = x[i] > mean ? dy[i] : slope * dy[i];
        sum += d / (double)n;
        along += d * (x[i] - mean) * scale / (double)n;
    }
    for (long i = 0; i < n; i++)
        dx[i] += scale * ((x[i] > mean ? dy[i] : slope * dy[i]) - sum - (x[i] - mean) * scale * along);
}

double plain_slope(enum kr_act act) { return act == KR_ACT_NONE ? 1 : act == KR_ACT_RELU ? 0 : 0.2; }

/* ---- Fourier ---- */
struct planes { double *v; long h, w; bool inverse, corner; };

/* out[k] = sum of in[i apart] e^(-2 pi i i k / n), by the least factor of n first. turn: cos and sin of k / n of a turn, which stand `step` numbers apart; room: for n numbers. */
static void transform(double *out, const double *in, long n, long apart, const double *turn, long step, double *room)
{
    long p = 2;
    while (p < n && n % p)
        p = p * p > n ? n : p + 1;
    long m = n / p;
    if (n < 2)
        memcpy(out, in, 2 * sizeof *out);
    for (long r = 0; r < p && n > 1; r++)
        transform(out + 2 * r * m, in + 2 * r * apart, m, p * apart, turn, p * step, room);
    for (long k = 0; k < m && n > 1; k++) {
        for (long r = 0; r < p; r++) {
            const double *v = out + 2 * (r * m + k), *w = turn + 2 * r * k * step;
            room[2 * r] = v[0] * w[0] + v[1] * w[1];
            room[2 * r + 1] = v[1] * w[0] - v[0] * w[1];
        }
        for (long q = 0; q < p; q++) {
            double re = 0, im = 0;
            for (long r = 0, t = 0; r < p; r++, t = t + q < p ? t + q : t + q - p) {
                const double *w = turn + 2 * t * m * step;
                re += room[2 * r] * w[0] + room[2 * r + 1] * w[1];
                im += room[2 * r + 1] * w[0] - room[2 * r] * w[1];
            }
            out[2 * (q * m + k)] = re;
            out[2 * (q * m + k) + 1] = im;
        }
    }
}

/* One axis of n points, `apart` numbers apart; the inverse is that of the conjugate numbers. */
static void line(double *v, long n, long apart, const struct planes *j, const double *turn, double *room)
{
    long c = j->corner ? 0 : n / 2;
    double sign = j->inverse ? -1 : 1, *in = room, *out = room + 2 * n;
    for (long i = 0; i < n; i++) {
        const double *from = v + 2 * ((i + c) % n) * apart;
        in[2 * i] = from[0];
        in[2 * i + 1] = sign * from[1];
    }
    transform(out, in, n, 1, turn, 1, room + 4 * n);
    for (long i = 0; i < n; i++) {
        double *to = v + 2 * ((i + c) % n) * apart;
        to[0] = out[2 * i] / sqrt((double)n);
        to[1] = sign * out[2 * i + 1] / sqrt((double)n);
    }
}

static int both_axes(void *self, long p)
{
    const struct planes *j = self;
    long most = j->h > j->w ? j->h : j->w;
    kr_auto double *turn = kr_alloc((size_t)(8 * most), sizeof *turn);
    double *v = j->v + 2 * p * j->h * j->w;
    for (int axis = 0; turn && axis < 2; axis++) {
        long n = axis ? j->h : j->w;
        for (long k = 0; k < n; k++) {
            turn[2 * k] = cos(2 * M_PI * (double)k / (double)n);
            turn[2 * k + 1] = sin(2 * M_PI * (double)k / (double)n);
        }
        for (long i = 0; i < (axis ? j->w : j->h); i++)
            line(v + 2 * i * (axis ? 1 : j->w), n, axis ? j->w : 1, j, turn, turn + 2 * most);
    }
    return turn ? 0 : kr_error_code();
}

int plain_fourier(double *v, long h, long w, long count, bool inverse, bool corner)
{
    struct planes j = { v, h, w, inverse, corner };
    return kr_for(count, both_axes, &j);
}
