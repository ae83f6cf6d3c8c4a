/* nufft.c: plans of non-uniform transforms and their passes over the grid.
 *
 * Images (coils) lie in the lanes of a cell, so that a point's weights serve all of them, and every step of spreading is whole
 * vectors whatever the width of the window. The Fourier transforms are Kray's own, sixteen lines at a time (lanes.h): the
 * division by the window's transform, the zero padding and the centring ride on the copies into and out of a panel, and lines
 * that are only padding are never transformed. Points are sorted once into tiles of the grid. Spreading takes tiles that cannot
 * touch each other side by side (every second one along each axis), so that it needs no atomics and gives the same bits for any
 * number of threads. */
#include "kray/nufft.h"
#include "lanekern.h"
#include "nufftkern.h"
#include "window.h"
#include "smooth.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ROUNDING = 1.5e-7;    /* of a Fourier transform in float, relative, with room */
enum { PIECE = 128, MOST = 8 };       /* points whose values are gathered at a time; lanes                     */
struct kr_nufft {
    long n[3], nf[3], half, pitch[3]; /* image, grid, cells before the grid, cells of the grid with its margins */
    long points, tiles;
    int dims, width, degree, lanes;   /* lanes: at most, MOST or fewer                                         */
    double tolerance, oversampling;
    float *plain, *wide[4];           /* polynomials of the window; with weights 2 lanes times, by log2 lanes  */
    long wide_step[4];
    float *factor[3];                 /* 1 / (window's transform sqrt N), a pair of numbers along X            */
    long *row[3], *at[3];             /* panel row of image point, of grid point                               */
    kr_lanes *fft[3];
    int32_t *cell, *source;           /* of sorted point: first cell of its window; which point it is          */
    float *frac[3];
    long *first;                      /* points of tile t: first[t] .. first[t + 1]                            */
    int32_t *order;                   /* tiles that hold points, by colour, the fullest first                  */
    long colour[9];                   /* where in `order` each colour begins                                   */
    float *grid, *panels, *blank;     /* blank: a line of zeros                                                */
    long panel, grid_floats;
    bool borrowed;
    size_t bytes;
};

const kr_nufftkern *kr_nufftkern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_nufftkern_v4 : cpu >= 3 ? &kr_nufftkern_v3 : &kr_nufftkern_base;
}

/* ---- Sizes ---- */
static double grid_of(kr_nufft *p, double sigma, int width)
{
    double least = HUGE_VAL;
    for (int d = 0; d < 3; d++) {
        p->nf[d] = 1;
        if (d >= p->dims)
            continue;
        long want = (long)ceil(sigma * (double)p->n[d] - 1e-9);
        p->nf[d] = smooth_from(want > 2 * width ? want : 2 * width, 2);
        double own = (double)p->nf[d] / (double)p->n[d];
        least = own < least ? own : least;
    }
    return least < 4 ? least : 4;                    /* a wider grid than that gains nothing */
}

/* Seconds of one group of lanes, roughly: vectors that spreading moves, weights, and the Fourier transforms. */
static double cost(const kr_nufft *p)
{
    double runs = ceil(2. * p->lanes * p->width / 16), touched = runs * (p->dims == 3 ? p->width * p->width : p->width);
    double cells = (double)p->nf[0] * (double)p->nf[1] * (double)p->nf[2], lines = 0, part = 1;
    for (int d = p->dims - 1; d >= 0; d--) {
        lines += part * log2((double)p->nf[d]);
        part *= (double)p->n[d] / (double)p->nf[d];
    }
    return (double)p->points * (touched * .7e-9 + 15e-9) + cells * p->lanes * (lines * .25e-9 + 1e-9);
}

/* Relative error (2-norm) of images with a flat spectrum, at the points where it is largest. */
static double error_of(const kr_nufft *p, const window *w)
{
    double leak = 0, mean = 0, gain = 1;
    struct window_errors e = { 0, 0, 0 };
    for (int d = 0; d < p->dims; d++) {
        if (!d || p->n[d] != p->n[d - 1] || p->nf[d] != p->nf[d - 1])
            e = window_errors(w, p->n[d], p->nf[d]);
        leak += e.leak + 2 * mean * e.mean;              /* axes in phase too */
        mean += e.mean;
        gain *= e.gain;
    }
    return sqrt(leak + ROUNDING * ROUNDING * gain);
}

/* The window and the grid of least cost whose errors, of a transform there and one back, add up to no more than the tolerance; where rounding lets none do so, the most
 * accurate one. */
static void search(kr_nufft *p, window *best)
{
    static const double sigmas[] = { 1.25, 1.375, 1.5, 1.75, 2 };
    double least = HUGE_VAL;
    bool reached = false;
    window_rule rule;
    window_rule_make(&rule);
    long nf[3] = { 0 };
    int width = 0;
    for (size_t i = 0; i < sizeof sigmas / sizeof *sigmas; i++) {
        int w = (int)ceil(log(1 / p->tolerance) / (M_PI * sqrt(1 - 1 / sigmas[i]))) - 1;
        bool good = false;
        for (w = w < 2 ? 2 : w; w <= WIDEST && !good; w++) {
            window psi;
            double sigma = grid_of(p, sigmas[i], w);
            window_make(&psi, &rule, w, sigma);
            double error = error_of(p, &psi);
            good = error <= .5 * p->tolerance;
            p->width = w;
            double worth = good ? cost(p) : error;
            if (good == reached ? worth < least : good) {
                reached = good;
                least = worth;
                width = w;
                *best = psi;
                p->oversampling = sigma;
                memcpy(nf, p->nf, sizeof nf);
            }
        }
    }
    p->width = width;
    memcpy(p->nf, nf, sizeof nf);
}

/* What was chosen last in this thread: frames of a series ask for the same windows again and again, and the search takes milliseconds. */
struct chosen { long n[3], points, nf[3]; int dims, lanes, width; double tolerance, oversampling; window w; };

static void choose(kr_nufft *p, window *best)
{
    static _Thread_local struct chosen last[4];
    static _Thread_local unsigned turn;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        const struct chosen *c = &last[i];
        if (c->points != p->points || c->dims != p->dims || c->lanes != p->lanes || memcmp(c->n, p->n, sizeof c->n) || memcmp(&c->tolerance, &p->tolerance, sizeof c->tolerance))
            continue;
        *best = c->w;
        p->width = c->width;
        p->oversampling = c->oversampling;
        memcpy(p->nf, c->nf, sizeof p->nf);
        return;
    }
    search(p, best);
    struct chosen *c = &last[turn++ % (sizeof last / sizeof *last)];
    *c = (struct chosen){ .points = p->points, .dims = p->dims, .lanes = p->lanes, .width = p->width, .tolerance = p->tolerance, .oversampling = p->oversampling, .w = *best };
    memcpy(c->n, p->n, sizeof c->n);
    memcpy(c->nf, p->nf, sizeof c->nf);
}

/* ---- Tables ---- */
static void *table(kr_nufft *p, size_t n, size_t size)
{
    p->bytes += n * size;
    return kr_alloc_zero(n ? n : 1, size);
}

static int weights(kr_nufft *p, const window *w)
{
    double coef[WIDEST][DEGREE + 1];
    p->degree = window_fit(w, .02 * p->tolerance, coef);
    p->plain = table(p, (size_t)(p->degree + 1) * WIDEST, sizeof *p->plain);
    for (int d = 0; p->plain && d <= p->degree; d++)
        for (int j = 0; j < p->width; j++)
            p->plain[d * WIDEST + j] = (float)coef[j][d];
    for (int l = 0; l < 4; l++) {
        long lanes = 1 << l, row = (2 * lanes * p->width + 15) / 16 * 16;
        p->wide_step[l] = row;
        p->wide[l] = table(p, (size_t)(row * (p->degree + 1)), sizeof(float));
        for (int d = 0; p->wide[l] && d <= p->degree; d++)
            for (long k = 0; k < 2 * lanes * p->width; k++)
                p->wide[l][d * row + k] = (float)coef[k / (2 * lanes)][d];
    }
    return p->plain && p->wide[0] && p->wide[1] && p->wide[2] && p->wide[3] ? 0 : kr_error_code();
}

static int axes(kr_nufft *p, const window *w)
{
    for (int d = 0; d < p->dims; d++) {
        long n = p->n[d], nf = p->nf[d], pair = d ? 1 : 2;
        p->factor[d] = table(p, (size_t)(pair * n), sizeof(float));
        p->row[d] = table(p, (size_t)n, sizeof(long));
        p->at[d] = table(p, (size_t)nf, sizeof(long));
        p->fft[d] = kr_lanes_new(nf);
        if (!p->factor[d] || !p->row[d] || !p->at[d] || !p->fft[d])
            return kr_error_code();
        const long *place = kr_lanes_place(p->fft[d]);
        for (long i = 0; i < n; i++) {
            long r = i - n / 2;
            long like = 2 * (n / 2) - i;                             /* the pixel opposite of it */
            p->factor[d][pair * i] = r > 0 && like >= 0 ? p->factor[d][pair * like] : (float)(1 / (window_hat(w, (double)r / (double)nf) * sqrt((double)n)));
            p->row[d][i] = r < 0 ? r + nf : r;
        }
        for (long i = 0; i < nf; i++)
            p->at[d][i] = place[(i + nf - nf / 2) % nf];
    }
    return 0;
}

/* ---- Points ---- */
static const long *tile_of(const kr_nufft *p)
{
    static const long flat[3] = { 16, 16, 1 }, deep[3] = { 16, 16, 16 };       /* at least WIDEST: neighbours but one never meet */
    return p->dims == 3 ? deep : flat;
}

/* Where points lie, found in chunks side by side; then they go to their tiles in the order they came in, whatever the number of threads. */
enum { CHUNKS = 64, LEAST_CHUNK = 8192 };
struct sorting {
    kr_nufft *p;
    const float *const *k;
    long count[3], chunk, chunks;             /* tiles along each axis; points of a chunk, and how many there are */
    int32_t *tile, *cell, *next;              /* of point; next: {tile, chunk}, how many there are, then where they go */
    float *frac[3];
    long bad[CHUNKS];                         /* first point of a chunk that is not finite; -1 */
};

/* Rounding down and up without a call of the library, which plain builds would make. */
static inline long down(double x) { long i = (long)x; return i - (x < (double)i); }
static inline long up(double x) { long i = (long)x; return i + (x > (double)i); }

static int locate(void *self, long c)
{
    struct sorting *s = self;
    const kr_nufft *p = s->p;
    const long *size = tile_of(p);
    long from = c * s->chunk, end = from + s->chunk < p->points ? from + s->chunk : p->points;
    int32_t *next = s->next + c * p->tiles;
    double scale[3], middle = p->width / 2.;
    s->bad[c] = -1;
    for (int d = 0; d < p->dims; d++)
        scale[d] = (double)p->nf[d] / (double)p->n[d];
    for (long m = from; m < end; m++) {
        long cell = 0, tile = 0;
        for (int d = p->dims - 1; d >= 0; d--) {
            double nf = (double)p->nf[d], u = (double)s->k[d][m] * scale[d];
            if (!isfinite(u)) {
                s->bad[c] = m;
                return 0;
            }
            if (u < -.5 * nf || u >= .5 * nf)
                u -= nf * (fabs(u) < 1e15 ? (double)down(u / nf + .5) : floor(u / nf + .5));
            long first = up(u - middle), i = first + p->nf[d] / 2 + p->half;
            s->frac[d][m] = (float)(2 * ((double)first - u + middle) - 1);
            cell = cell * p->pitch[d] + i;
            tile = tile * s->count[d] + (int32_t)i / (int32_t)size[d];
        }
        s->cell[m] = (int32_t)cell;
        s->tile[m] = (int32_t)tile;
        next[tile]++;
    }
    return 0;
}

static int put_points(void *self, long c)
{
    struct sorting *s = self;
    kr_nufft *p = s->p;
    long from = c * s->chunk, end = from + s->chunk < p->points ? from + s->chunk : p->points;
    int32_t *next = s->next + c * p->tiles;
    for (long m = from; m < end; m++) {
        int32_t i = next[s->tile[m]]++;
        p->cell[i] = s->cell[m];
        p->source[i] = (int32_t)m;
        for (int d = 0; d < p->dims; d++)
            p->frac[d][i] = s->frac[d][m];
    }
    return 0;
}

struct fill { long tile, count; };
static int fuller(const void *a, const void *b)
{
    const struct fill *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : x->tile < y->tile ? -1 : x->tile > y->tile;
}

static int sort(kr_nufft *p, const float *const k[3])
{
    long count[3] = { 1, 1, 1 };
    const long *size = tile_of(p);
    p->tiles = 1;
    for (int d = 0; d < p->dims; d++) {
        count[d] = (p->pitch[d] + size[d] - 1) / size[d];
        p->tiles *= count[d];
    }
    p->cell = table(p, (size_t)p->points, sizeof *p->cell);
    p->source = table(p, (size_t)p->points, sizeof *p->source);
    p->first = table(p, (size_t)p->tiles + 1, sizeof *p->first);
    p->order = table(p, (size_t)p->tiles, sizeof *p->order);
    for (int d = 0; d < p->dims; d++)
        if (!(p->frac[d] = table(p, (size_t)p->points, sizeof(float))))
            return kr_error_code();
    struct sorting o = { .p = p, .k = k, .count = { count[0], count[1], count[2] } };
    o.chunk = (p->points + CHUNKS - 1) / CHUNKS > LEAST_CHUNK ? (p->points + CHUNKS - 1) / CHUNKS : LEAST_CHUNK;
    o.chunks = (p->points + o.chunk - 1) / o.chunk;
    kr_auto int32_t *room = kr_alloc((size_t)p->points, (size_t)(2 + p->dims) * sizeof *room);
    kr_auto int32_t *next = kr_alloc_zero((size_t)(p->tiles * o.chunks), sizeof *next);
    kr_auto struct fill *full = kr_alloc((size_t)p->tiles, sizeof *full);
    if (!p->cell || !p->source || !p->first || !p->order || !room || !next || !full)
        return kr_error_code();
    o.tile = room;
    o.cell = room + p->points;
    o.next = next;
    for (int d = 0; d < p->dims; d++)
        o.frac[d] = (float *)(void *)(room + (2 + d) * p->points);
    int e = kr_for(o.chunks, locate, &o);
    for (long c = 0; !e && c < o.chunks; c++)
        if (o.bad[c] >= 0)
            return kr_fail(KR_ENUMBER, "point %ld of the trajectory is not finite", o.bad[c]);
    int32_t at = 0;
    for (long t = 0; t < p->tiles; t++) {
        p->first[t] = at;
        for (long c = 0; c < o.chunks; c++) {
            int32_t n = next[c * p->tiles + t];
            next[c * p->tiles + t] = at;
            at += n;
        }
    }
    p->first[p->tiles] = at;
    e = e ? e : kr_for(o.chunks, put_points, &o);
    if (e)
        return e;
    long put = 0;
    for (int c = 0; c < 8; c++) {
        long have = 0;
        p->colour[c] = put;
        for (long t = 0; t < p->tiles; t++) {
            long x = t % count[0], y = t / count[0] % count[1], z = t / (count[0] * count[1]);
            if (p->first[t + 1] > p->first[t] && (x & 1) + 2 * (y & 1) + 4 * (z & 1) == c)
                full[have++] = (struct fill){ t, p->first[t + 1] - p->first[t] };
        }
        qsort(full, (size_t)have, sizeof *full, fuller);
        for (long i = 0; i < have; i++)
            p->order[put++] = (int32_t)full[i].tile;
    }
    p->colour[8] = put;
    return 0;
}

/* ---- Plans ---- */
void kr_nufft_unref(kr_nufft **pp)
{
    kr_nufft *p = *pp;
    if (!p)
        return;
    for (int d = 0; d < 3; d++) {
        kr_free(p->factor[d]);
        kr_free(p->row[d]);
        kr_free(p->at[d]);
        kr_free(p->frac[d]);
        kr_lanes_unref(&p->fft[d]);
    }
    for (int l = 0; l < 4; l++)
        kr_free(p->wide[l]);
    if (!p->borrowed) {
        kr_free(p->grid);
        kr_free(p->panels);
    }
    void *rest[] = { p->plain, p->cell, p->source, p->first, p->order, p->blank };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        kr_free(rest[i]);
    kr_free(p);
    *pp = NULL;
}

static int build(kr_nufft *p, const float *const k[3], long vectors)
{
    window w;
    p->lanes = vectors > 4 ? 8 : vectors > 2 ? 4 : vectors > 1 ? 2 : 1;
    choose(p, &w);
    if (weights(p, &w) || axes(p, &w))
        return kr_error_code();
    p->half = (p->width + 1) / 2 + 1;
    double cells = 1;
    for (int d = 0; d < 3; d++) {
        p->pitch[d] = d < p->dims ? p->nf[d] + 2 * p->half : 1;
        if (!d)
            p->pitch[d] = (p->pitch[d] + 7) / 8 * 8;
        cells *= (double)p->pitch[d];
        long room = d < p->dims ? p->nf[d] * KR_ROW : 0;
        p->panel = room > p->panel ? room : p->panel;
    }
    if (cells >= INT32_MAX || p->points >= INT32_MAX)
        return kr_fail(KR_EREFUSED, "a grid of %.3g cells for %ld points: at most %d of each are possible", cells, p->points, INT32_MAX);
    p->grid_floats = (long)cells * 2 * p->lanes + 64;                  /* the last vector of a window may reach beyond it */
    p->grid = table(p, (size_t)p->grid_floats, sizeof *p->grid);
    p->panel += 2 * p->n[0] + 16;                                      /* and a line to throw away                        */
    p->panel = (p->panel + 15) / 16 * 16;
    p->panels = table(p, (size_t)p->panel * (size_t)kr_threads(), sizeof *p->panels);
    p->blank = table(p, (size_t)(2 * p->n[0]), sizeof *p->blank);
    return p->grid && p->panels && p->blank ? sort(p, k) : kr_error_code();
}

kr_nufft *kr_nufft_new(const long n[3], long points, const float *const k[3], long vectors, double tolerance)
{
    if (points < 1 || vectors < 1) {
        kr_fail(KR_EREFUSED, "%s", points < 1 ? "a trajectory without points" : "a transform of no images");
        return NULL;
    }
    if (!(tolerance >= .999e-6 && tolerance <= .1)) {
        kr_fail(KR_EREFUSED, "a tolerance of %.3g; single precision gives 1e-6 to 0.1", tolerance);
        return NULL;
    }
    for (int d = 0; d < 3; d++)
        if (n[d] < 1 || n[d] > 1 << 19 || (d == 2 && !k[2] && n[2] > 1)) {
            kr_fail(KR_ESHAPE, "an image of %ld x %ld x %ld pixels for a trajectory in %d dimensions", n[0], n[1], n[2], k[2] ? 3 : 2);
            return NULL;
        }
    kr_nufft *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    memcpy(p->n, n, sizeof p->n);
    p->points = points;
    p->dims = k[2] ? 3 : 2;
    p->tolerance = tolerance;
    if (build(p, k, vectors))
        kr_nufft_unref(&p);
    return p;
}

void kr_nufft_borrow(kr_nufft *p, const kr_nufft *lender)
{
    if (p->grid_floats != lender->grid_floats || p->panel != lender->panel || p->borrowed)
        return;
    kr_free(p->grid);
    kr_free(p->panels);
    p->bytes -= (size_t)p->grid_floats * sizeof *p->grid + (size_t)p->panel * (size_t)kr_threads() * sizeof *p->panels;
    p->grid = lender->grid;
    p->panels = lender->panels;
    p->borrowed = true;
}

kr_nufft_facts kr_nufft_describe(const kr_nufft *p)
{
    return (kr_nufft_facts){ p->tolerance, p->oversampling, p->width, { p->nf[0], p->nf[1], p->nf[2] }, p->bytes };
}

/* ---- Passes over the grid ---- */
struct run {
    kr_nufft *p;
    const kr_nufftkern *kern;
    nufft_cells c;
    int axis, log;                    /* of a pass over columns; log2 lanes                                     */
    long vectors;                     /* of this group: at most lanes                                           */
    bool adjoint;
    kr_cfloat *x, *y;                 /* image and points of the group's first vector                           */
};

static float *cell_at(const struct run *r, long x, long y, long z)
{
    const kr_nufft *p = r->p;
    return r->c.grid + z * r->c.plane + y * r->c.row + (x + p->half) * 2 * r->c.lanes;
}

/* Rows of a panel between the two ends of an image are padding. */
static void pad(const kr_nufft *p, float *panel, int axis)
{
    long from = p->n[axis] - p->n[axis] / 2, to = p->nf[axis] - p->n[axis] / 2;
    memset(panel + from * KR_ROW, 0, (size_t)(to - from) * KR_ROW * sizeof *panel);
}

/* KR_LANES / lanes lines of the image along X, to and from rows of the grid; lines are rows y of planes z of the image. */
static int image_lines(void *self, long i)
{
    const struct run *r = self;
    kr_nufft *p = r->p;
    long lanes = r->c.lanes, most = KR_LANES / lanes, lines = p->n[1] * p->n[2], from = i * most, count = lines - from < most ? lines - from : most;
    float *panel = p->panels + kr_worker() * p->panel, *waste = panel + p->panel - (2 * p->n[0] + 15) / 16 * 16;
    float *line[KR_LANES], *cell[KR_LANES];
    for (long g = 0; g < most; g++) {
        long at = from + (g < count ? g : 0);
        cell[g] = cell_at(r, 0, at % p->n[1], at / p->n[1]);
        for (long v = 0; v < lanes; v++) {
            bool real = g < count && v < r->vectors;
            line[g * lanes + v] = real ? (float *)(r->x + v * p->n[0] * lines + at * p->n[0]) : r->adjoint ? waste : p->blank;
        }
    }
    const float *factor = p->factor[0];
    if (r->adjoint) {
        r->kern->load(panel, (const float *const *)cell, 2 * lanes, p->nf[0], p->at[0], NULL, (int)lanes);
        kr_lanes_inverse(p->fft[0], panel);
        kr_lanekern_best()->store_lines(line, panel, p->row[0], p->n[0], factor, false);
    } else {
        pad(p, panel, 0);
        kr_lanekern_best()->load_lines(panel, (const float *const *)line, p->row[0], p->n[0], factor, false);
        kr_lanes_forward(p->fft[0], panel);
        r->kern->store(cell, count, 2 * lanes, panel, p->nf[0], p->at[0], NULL, (int)lanes);
    }
    return 0;
}

/* KR_LANES / lanes neighbouring columns of the grid along Y or Z, in place. */
static int grid_columns(void *self, long i)
{
    const struct run *r = self;
    kr_nufft *p = r->p;
    int a = r->axis;
    long lanes = r->c.lanes, most = KR_LANES / lanes, per = (p->nf[0] + most - 1) / most;
    long x = i % per * most, other = i / per, count = p->nf[0] - x < most ? p->nf[0] - x : most;
    long step = a == 1 ? r->c.row : r->c.plane;
    float *panel = p->panels + kr_worker() * p->panel, *cell[KR_LANES], *grid[KR_LANES];
    for (long g = 0; g < most; g++) {
        long at = x + (g < count ? g : 0);
        cell[g] = a == 1 ? cell_at(r, at, 0, other) : cell_at(r, at, other + p->half, 0);
        grid[g] = cell[g] + p->half * step;
    }
    if (r->adjoint) {
        r->kern->load(panel, (const float *const *)grid, step, p->nf[a], p->at[a], NULL, (int)lanes);
        kr_lanes_inverse(p->fft[a], panel);
        r->kern->store(cell, count, step, panel, p->n[a], p->row[a], p->factor[a], (int)lanes);
    } else {
        pad(p, panel, a);
        r->kern->load(panel, (const float *const *)cell, step, p->n[a], p->row[a], p->factor[a], (int)lanes);
        kr_lanes_forward(p->fft[a], panel);
        r->kern->store(grid, count, step, panel, p->nf[a], p->at[a], NULL, (int)lanes);
    }
    return 0;
}

/* Margins repeat the other end of the grid; the adjoint adds them to it. Along X row by row, then whole rows, then whole planes. */
static void margin(float *a, long half, long nf, long step, long width, bool adjoint)
{
    for (long i = 0; i < half; i++)
        for (int right = 0; right < 2; right++) {
            float *edge = a + (right ? nf + half + i : i) * step, *own = a + (right ? half + i : nf + i) * step;
            if (adjoint)
                for (long k = 0; k < width; k++)
                    own[k] += edge[k];
            else
                memcpy(edge, own, (size_t)width * sizeof *own);
        }
}

static int margins_x(void *self, long i)
{
    const struct run *r = self;
    const kr_nufft *p = r->p;
    bool whole = r->adjoint;                              /* rows that are margins themselves come first or last */
    long rows = whole ? p->pitch[1] : p->nf[1], from = whole || p->dims < 2 ? 0 : p->half, z0 = p->dims < 3 || whole ? 0 : p->half;
    margin(r->c.grid + (z0 + i / rows) * r->c.plane + (from + i % rows) * r->c.row, p->half, p->nf[0], 2 * r->c.lanes, 2 * r->c.lanes, r->adjoint);
    return 0;
}

static int margins_y(void *self, long i)
{
    const struct run *r = self;
    const kr_nufft *p = r->p;
    long z0 = p->dims < 3 || r->adjoint ? 0 : p->half;
    margin(r->c.grid + (z0 + i) * r->c.plane, p->half, p->nf[1], r->c.row, r->c.row, r->adjoint);
    return 0;
}

static int margins_z(void *self, long y)
{
    const struct run *r = self;
    margin(r->c.grid + y * r->c.row, r->p->half, r->p->nf[2], r->c.plane, r->c.row, r->adjoint);
    return 0;
}

static void all(long n, kr_body *body, struct run *r)
{
    int e = kr_for(n, body, r);
    kr_assert(!e);
}

static void margins(struct run *r)
{
    const kr_nufft *p = r->p;
    long planes = p->dims < 3 ? 1 : r->adjoint ? p->pitch[2] : p->nf[2];
    if (!r->adjoint) {
        all(planes * p->nf[1], margins_x, r);
        all(planes, margins_y, r);
        if (p->dims == 3)
            all(p->pitch[1], margins_z, r);
    } else {
        if (p->dims == 3)
            all(p->pitch[1], margins_z, r);
        all(planes, margins_y, r);
        all(planes * p->pitch[1], margins_x, r);
    }
}

/* ---- Points of one tile ---- */
static int points(void *self, long i)
{
    const struct run *r = self;
    const kr_nufft *p = r->p;
    long lanes = r->c.lanes, t = p->order[i];
    float values[PIECE * VALUES] __attribute__((aligned(64)));
    if (r->adjoint && r->vectors < lanes)
        memset(values, 0, sizeof values);
    for (long from = p->first[t]; from < p->first[t + 1]; from += PIECE) {
        long count = p->first[t + 1] - from < PIECE ? p->first[t + 1] - from : PIECE;
        const int32_t *source = p->source + from;
        if (!r->adjoint)
            r->kern->interpolate(&r->c, from, count, values);
        for (long v = 0; v < r->vectors; v++) {
            kr_cfloat *y = r->y + v * p->points;
            if (r->adjoint)
                for (long m = 0; m < count; m++) {
                    kr_cfloat a = y[source[m]];
                    for (long k = v; k < VALUES; k += 2 * lanes) {          /* repeated to fill a vector */
                        values[m * VALUES + k] = kr_re(a);
                        values[m * VALUES + k + lanes] = kr_im(a);
                    }
                }
            else
                for (long m = 0; m < count; m++)
                    y[source[m]] = kr_c(values[m * VALUES + v], values[m * VALUES + v + lanes]);
        }
        if (r->adjoint)
            r->kern->spread(&r->c, from, count, values);
    }
    return 0;
}

struct tiles { struct run *r; long from; };
static int later(void *self, long i)
{
    struct tiles *t = self;
    return points(t->r, t->from + i);
}

static int clear(void *self, long i)
{
    const struct run *r = self;
    long cells = r->c.plane ? r->c.plane : r->c.row * r->p->pitch[1];
    memset(r->c.grid + i * cells, 0, (size_t)cells * sizeof *r->c.grid);
    return 0;
}

static void group(kr_nufft *p, kr_cfloat *x, kr_cfloat *y, long vectors, bool adjoint)
{
    int log = vectors > 4 ? 3 : vectors > 2 ? 2 : vectors > 1 ? 1 : 0;
    struct run r = { .p = p, .kern = kr_nufftkern_best(), .log = log, .vectors = vectors, .adjoint = adjoint, .x = x, .y = y };
    r.c = (nufft_cells){ .grid = p->grid, .lanes = 1 << log, .width = p->width, .dims = p->dims, .degree = p->degree, .plain = p->plain,
                         .wide = p->wide[log], .wide_step = p->wide_step[log], .cell = p->cell, .at = { p->frac[0], p->frac[1], p->frac[2] } };
    r.c.row = p->pitch[0] * 2 * r.c.lanes;
    r.c.plane = p->pitch[1] * r.c.row;
    long most = KR_LANES / r.c.lanes, lines = (p->n[1] * p->n[2] + most - 1) / most, columns = (p->nf[0] + most - 1) / most;
    if (!adjoint) {
        all(lines, image_lines, &r);
        r.axis = 1;
        all(columns * p->n[2], grid_columns, &r);
        r.axis = 2;
        if (p->dims == 3)
            all(columns * p->nf[1], grid_columns, &r);
        margins(&r);
        all(p->colour[8], points, &r);
        return;
    }
    all(p->pitch[2], clear, &r);
    for (int c = 0; c < 8; c++) {
        struct tiles t = { &r, p->colour[c] };
        int e = kr_for(p->colour[c + 1] - p->colour[c], later, &t);
        kr_assert(!e);
    }
    margins(&r);
    r.axis = 2;
    if (p->dims == 3)
        all(columns * p->nf[1], grid_columns, &r);
    r.axis = 1;
    all(columns * p->n[2], grid_columns, &r);
    all(lines, image_lines, &r);
}

static void transform(kr_nufft *p, kr_cfloat *x, kr_cfloat *y, long vectors, bool adjoint)
{
    long pixels = p->n[0] * p->n[1] * p->n[2];
    for (long v = 0; v < vectors; v += p->lanes)
        group(p, x + v * pixels, y + v * p->points, vectors - v < p->lanes ? vectors - v : p->lanes, adjoint);
}

void kr_nufft_forward(kr_nufft *p, kr_cfloat *y, const kr_cfloat *x, long vectors) { transform(p, (kr_cfloat *)(uintptr_t)x, y, vectors, false); }
void kr_nufft_adjoint(kr_nufft *p, kr_cfloat *x, const kr_cfloat *y, long vectors) { transform(p, x, (kr_cfloat *)(uintptr_t)y, vectors, true); }

/* ---- The direct sum ---- */
struct direct { kr_cfloat *x, *y; const long *n; long points, vectors; const float *const *k; };

static kr_cdouble wave(double turns)
{
    union { double p[2]; kr_cdouble c; } u = { { cos(2 * M_PI * turns), sin(2 * M_PI * turns) } };
    return u.c;
}

static double turns_of(const struct direct *d, long m, long pixel)
{
    double sum = 0;
    for (int a = 0; a < 3; a++) {
        if (d->k[a])
            sum += (double)d->k[a][m] * (double)(pixel % d->n[a] - d->n[a] / 2) / (double)d->n[a];
        pixel /= d->n[a];
    }
    return sum;
}

static int point(void *self, long m)
{
    const struct direct *d = self;
    long pixels = d->n[0] * d->n[1] * d->n[2];
    for (long v = 0; v < d->vectors; v++) {
        kr_cdouble sum = 0;
        for (long i = 0; i < pixels; i++)
            sum += (kr_cdouble)d->x[v * pixels + i] * wave(-turns_of(d, m, i));
        d->y[v * d->points + m] = (kr_cfloat)(sum / sqrt((double)pixels));
    }
    return 0;
}

static int pixel(void *self, long i)
{
    const struct direct *d = self;
    long pixels = d->n[0] * d->n[1] * d->n[2];
    for (long v = 0; v < d->vectors; v++) {
        kr_cdouble sum = 0;
        for (long m = 0; m < d->points; m++)
            sum += (kr_cdouble)d->y[v * d->points + m] * wave(turns_of(d, m, i));
        d->x[v * pixels + i] = (kr_cfloat)(sum / sqrt((double)pixels));
    }
    return 0;
}

int kr_ndft_forward(kr_cfloat *y, const kr_cfloat *x, const long n[3], long count, const float *const k[3], long vectors)
{
    struct direct d = { (kr_cfloat *)(uintptr_t)x, y, n, count, vectors, k };
    return kr_for(count, point, &d);
}

int kr_ndft_adjoint(kr_cfloat *x, const kr_cfloat *y, const long n[3], long count, const float *const k[3], long vectors)
{
    struct direct d = { x, (kr_cfloat *)(uintptr_t)y, n, count, vectors, k };
    return kr_for(n[0] * n[1] * n[2], pixel, &d);
}
