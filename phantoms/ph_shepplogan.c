/* ph_shepplogan.c: the Shepp-Logan head of ellipses, one slice, and of ellipsoids, several slices or 3D. */
#include "measure.h"
#include <math.h>
#include <string.h>

/* Half axes and centres in units of half a head, x to the left, y to the front, z up; angle about z in degrees. */
typedef struct ellipsoid { double value, a, b, c, x, y, z, degrees; } ellipsoid;

/* Shepp and Logan, IEEE Trans Nucl Sci 21:21 (1974), with the contrast of Toft, The Radon Transform (1996), p. 201. */
static const ellipsoid flat[] = {
    { 1.0, 0.6900, 0.9200, INFINITY, 0, 0, 0, 0 },          { -0.8, 0.6624, 0.8740, INFINITY, 0, -0.0184, 0, 0 },
    { -0.2, 0.1100, 0.3100, INFINITY, 0.22, 0, 0, -18 },    { -0.2, 0.1600, 0.4100, INFINITY, -0.22, 0, 0, 18 },
    { 0.1, 0.2100, 0.2500, INFINITY, 0, 0.35, 0, 0 },       { 0.1, 0.0460, 0.0460, INFINITY, 0, 0.1, 0, 0 },
    { 0.1, 0.0460, 0.0460, INFINITY, 0, -0.1, 0, 0 },       { 0.1, 0.0460, 0.0230, INFINITY, -0.08, -0.605, 0, 0 },
    { 0.1, 0.0230, 0.0230, INFINITY, 0, -0.606, 0, 0 },     { 0.1, 0.0230, 0.0460, INFINITY, 0.06, -0.605, 0, 0 } };
/* Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), ch. 3, with the contrast of Yu, Ye and Wang,
 * Proc SPIE 6318 (2006). */
static const ellipsoid solid[] = {
    { 1.0, 0.6900, 0.9200, 0.9000, 0, 0, 0, 0 },            { -0.8, 0.6624, 0.8740, 0.8800, 0, 0, 0, 0 },
    { -0.2, 0.4100, 0.1600, 0.2100, -0.22, 0, -0.25, 108 }, { -0.2, 0.3100, 0.1100, 0.2200, 0.22, 0, -0.25, 72 },
    { 0.2, 0.2100, 0.2500, 0.5000, 0, 0.35, -0.25, 0 },     { 0.2, 0.0460, 0.0460, 0.0460, 0, 0.1, -0.25, 0 },
    { 0.1, 0.0460, 0.0230, 0.0200, -0.08, -0.65, -0.25, 0 }, { 0.1, 0.0460, 0.0230, 0.0200, 0.06, -0.65, -0.25, 90 },
    { 0.2, 0.0560, 0.0400, 0.1000, 0.06, -0.105, 0.625, 90 }, { -0.2, 0.0560, 0.0560, 0.1000, 0, 0.1, 0.625, 0 } };

static const double half_head_mm = 110;

/* Edges are sharp: sampled as they are, their high frequencies would fold into those that are measured. So they are laid
 * out SUB times finer still and pass a filter, three boxes of one point's width, before every SUB-th value is kept. */
enum { SUB = 8, TAPS = 3 * SUB - 2 };
static void three_boxes(double tap[TAPS])
{
    memset(tap, 0, TAPS * sizeof *tap);
    for (int i = 0; i < SUB; i++)
        for (int j = 0; j < SUB; j++)
            for (int k = 0; k < SUB; k++)
                tap[i + j + k] += 1. / (SUB * SUB * SUB);
}

static double spectrum(const void *self, int axis, double t)
{
    (void)self;
    double s = sin(t / (2 * SUB)), box = t != 0 ? sin(t / 2) / (SUB * s) : 1;        /* along X bins are averages, too */
    return box * box * box * (axis == KR_X && t != 0 ? s / (t / (2 * SUB)) : 1);
}

typedef struct head { const ellipsoid *part; int parts; double z; bool thin, volume; double tap[TAPS]; } head;

/* Adds value times a step at `at` (in bins) to what a running sum makes of d; the bin with the step gets its share. */
static void add_edge(double *d, long n, double at, double value)
{
    at = at > 0 ? at : 0;
    if (at >= (double)n)
        return;
    long i = (long)at;
    double f = at - (double)i;
    d[i] += value * (1 - f);
    d[i + 1] += value * f;
}

/* Adds where the line (y, z) cuts an ellipsoid: a x^2 - 2 b x + c <= 0. */
static void add_chord(double *d, long n, double first, double step, const ellipsoid *e, double y, double z, double value)
{
    double t = e->degrees * M_PI / 180, C = cos(t), S = sin(t), v = y - e->y, w = (z - e->z) / e->c;
    double a2 = 1 / (e->a * e->a), b2 = 1 / (e->b * e->b);
    double a = C * C * a2 + S * S * b2, b = -v * S * C * (a2 - b2), c = v * v * (S * S * a2 + C * C * b2) + w * w - 1;
    double root = b * b - a * c;
    if (root <= 0)
        return;
    double middle = e->x + b / a, half = sqrt(root) / a;
    add_edge(d, n, (middle - half - first) / step + 0.5, value);
    add_edge(d, n, (middle + half - first) / step + 0.5, -value);
}

static int row(const void *self, void *out, const kr_row *at)
{
    const head *h = self;
    float *value = out;
    long n = at->n * SUB + TAPS;
    kr_auto double *d = kr_alloc_zero((size_t)n + 1, sizeof *d);
    if (!d)
        return kr_error_code();
    /* Point i is in the middle of the bins i SUB to i SUB + TAPS - 1. */
    double step = at->dx / (SUB * half_head_mm), first = at->x / half_head_mm - 0.5 * (TAPS - 1) * step;
    int planes = h->thin ? 1 : h->volume ? TAPS : SUB;
    for (int p = 0; p < planes; p++)
        for (int s = 0; s < TAPS; s++) {
            double dz = h->thin ? 0 : (p - 0.5 * (planes - 1)) / SUB * at->dz, dy = (s - 0.5 * (TAPS - 1)) / SUB * at->dy;
            double weight = h->tap[s] * (h->volume ? h->tap[p] : 1. / planes);
            for (int i = 0; i < h->parts; i++)
                add_chord(d, n, first, step, &h->part[i], -(at->y + dy) / half_head_mm, (at->z + dz) / half_head_mm + h->z,
                          weight * h->part[i].value);
        }
    for (long i = 1; i < n; i++)
        d[i] += d[i - 1];
    for (long i = 0; i < at->n; i++) {
        double sum = 0;
        for (int t = 0; t < TAPS; t++)
            sum += h->tap[t] * d[i * SUB + t];
        value[i] = fabs(sum) > 1e-9 ? (float)sum : 0;            /* what is left of rounding is not an object */
    }
    return 0;
}

static int measure(kr_scan **out, const kr_simulate *how, const kr_trace *trace)
{
    bool one = how->n[2] <= 1 && how->slices == 1;
    head h = { one ? flat : solid, 10, how->n[2] <= 1 ? -0.25 : 0, one, how->n[2] > 1, { 0 } };   /* slices are taken where there is most to see */
    three_boxes(h.tap);
    kr_object o = { .row = row, .type = KR_R32, .self = &h, .spectrum = spectrum, .fov_mm = { 220, 220, 220 }, .protocol = "shepplogan" };
    return kr_measure(out, &o, how, trace);
}

const kr_phantom kr_phantom_shepplogan = { "shepplogan", "head of ellipses; of ellipsoids where there are several slices or 3D",
    "Shepp and Logan, IEEE Trans Nucl Sci 21:21 (1974); Yu, Ye and Wang, Proc SPIE 6318 (2006)", measure };
