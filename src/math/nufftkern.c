/* nufftkern.c: spreading to and interpolating from a grid of cells; built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). The
 * weights of a point are made once for all its images; its window is `width` runs of memory, or width^2. */
#include "nufftkern.h"
#include "vector.h"
#include <string.h>

typedef float vu __attribute__((vector_size(4 * VL), aligned(4)));      /* at any address of a float           */
INLINE vf any(const float *p) { return *(const vu *)(const void *)p; }
INLINE void put_any(float *p, vf a) { *(vu *)(void *)p = a; }

INLINE void horner(float *w, const float *coef, long step, int degree, float s, int vectors)
{
    for (int h = 0; h < vectors; h++) {
        vf a = get(coef + h * VL);
        for (int d = 1; d <= degree; d++)
            a = a * s + get(coef + d * step + h * VL);
        put(w + h * VL, a);
    }
}

/* `width` cells of 2 lanes floats are `runs` vectors: whole vectors per cell, or several cells per vector. */
#define BROAD(lanes) (2 * (lanes) >= VL)
#define RUNS(lanes, width) ((2 * (lanes) * (width) + VL - 1) / VL)
#define PER_CELL(lanes) (BROAD(lanes) ? 2 * (lanes) / VL : 1)
#define ALIGNED __attribute__((aligned(64)))

struct weights { ALIGNED float x[2 * 4 * WIDEST], y[WIDEST], z[WIDEST]; };

INLINE void weigh(struct weights *w, const nufft_cells *c, long i, int lanes, int width)
{
    int plain = (width + VL - 1) / VL;
    if (BROAD(lanes))
        horner(w->x, c->plain, WIDEST, c->degree, c->at[0][i], plain);
    else
        horner(w->x, c->wide, c->wide_step, c->degree, c->at[0][i], RUNS(lanes, width));
    horner(w->y, c->plain, WIDEST, c->degree, c->at[1][i], plain);
    if (c->dims == 3)
        horner(w->z, c->plain, WIDEST, c->degree, c->at[2][i], plain);
    else
        w->z[0] = 1;
}

INLINE void interpolate_points(const nufft_cells *c, long from, long count, float *values, int lanes, int width)
{
    const int runs = RUNS(lanes, width), per = PER_CELL(lanes), deep = c->dims == 3 ? width : 1;
    for (long i = from; i < from + count; i++, values += VALUES) {
        struct weights w;
        weigh(&w, c, i, lanes, width);
        const float *cell = c->grid + (long)c->cell[i] * 2 * lanes;
        vf sum[RUNS(8, WIDEST)];
        for (int v = 0; v < runs; v++)
            sum[v] = (vf){ 0 };
        for (int z = 0; z < deep; z++) {
            const float *row = cell + z * c->plane;
            for (int y = 0; y < width; y++, row += c->row) {
                float a = w.z[z] * w.y[y];
                for (int v = 0; v < runs; v++)
                    sum[v] += a * any(row + v * VL);
            }
        }
        if (BROAD(lanes)) {
            for (int h = 0; h < per; h++) {
                vf all = { 0 };
                for (int j = 0; j < width; j++)
                    all += w.x[j] * sum[j * per + h];
                put(values + h * VL, all);
            }
        } else {
            vf all = { 0 };
            for (int v = 0; v < runs; v++)
                all += get(w.x + v * VL) * sum[v];
            ALIGNED float part[VL];
            put(part, all);
            for (int half = VL / 2; half >= 2 * lanes; half /= 2)
                for (int j = 0; j < half; j++)
                    part[j] += part[j + half];
            memcpy(values, part, (size_t)(2 * lanes) * sizeof *part);
        }
    }
}

INLINE void spread_points(const nufft_cells *c, long from, long count, const float *values, int lanes, int width)
{
    const int runs = RUNS(lanes, width), per = PER_CELL(lanes), deep = c->dims == 3 ? width : 1;
    for (long i = from; i < from + count; i++, values += VALUES) {
        struct weights w;
        weigh(&w, c, i, lanes, width);
        float *cell = c->grid + (long)c->cell[i] * 2 * lanes;
        vf part[RUNS(8, WIDEST)];
        if (BROAD(lanes))
            for (int j = 0; j < width; j++)
                for (int h = 0; h < per; h++)
                    part[j * per + h] = w.x[j] * get(values + h * VL);
        else
            for (int v = 0; v < runs; v++)
                part[v] = get(w.x + v * VL) * get(values);
        for (int z = 0; z < deep; z++) {
            float *row = cell + z * c->plane;
            for (int y = 0; y < width; y++, row += c->row) {
                float a = w.z[z] * w.y[y];
                for (int v = 0; v < runs; v++)
                    put_any(row + v * VL, any(row + v * VL) + a * part[v]);
            }
        }
    }
}

#define EACH_WIDTH(f, ...) switch (c->width) { \
    case 2: f(__VA_ARGS__, 2); break; \
    case 3: f(__VA_ARGS__, 3); break; \
    case 4: f(__VA_ARGS__, 4); break; \
    case 5: f(__VA_ARGS__, 5); break; \
    case 6: f(__VA_ARGS__, 6); break; \
    case 7: f(__VA_ARGS__, 7); break; \
    case 8: f(__VA_ARGS__, 8); break; \
    case 9: f(__VA_ARGS__, 9); break; \
    case 10: f(__VA_ARGS__, 10); break; \
    default: f(__VA_ARGS__, c->width); }

static void interpolate_1(const nufft_cells *c, long from, long count, float *v) { EACH_WIDTH(interpolate_points, c, from, count, v, 1) }
static void interpolate_2(const nufft_cells *c, long from, long count, float *v) { EACH_WIDTH(interpolate_points, c, from, count, v, 2) }
static void interpolate_4(const nufft_cells *c, long from, long count, float *v) { EACH_WIDTH(interpolate_points, c, from, count, v, 4) }
static void interpolate_8(const nufft_cells *c, long from, long count, float *v) { EACH_WIDTH(interpolate_points, c, from, count, v, 8) }
static void spread_1(const nufft_cells *c, long from, long count, const float *v) { EACH_WIDTH(spread_points, c, from, count, v, 1) }
static void spread_2(const nufft_cells *c, long from, long count, const float *v) { EACH_WIDTH(spread_points, c, from, count, v, 2) }
static void spread_4(const nufft_cells *c, long from, long count, const float *v) { EACH_WIDTH(spread_points, c, from, count, v, 4) }
static void spread_8(const nufft_cells *c, long from, long count, const float *v) { EACH_WIDTH(spread_points, c, from, count, v, 8) }

static void interpolate(const nufft_cells *c, long from, long count, float *values)
{
    switch (c->lanes) {
    case 1: interpolate_1(c, from, count, values); break;
    case 2: interpolate_2(c, from, count, values); break;
    case 4: interpolate_4(c, from, count, values); break;
    default: interpolate_8(c, from, count, values);
    }
}

static void spread(const nufft_cells *c, long from, long count, const float *values)
{
    switch (c->lanes) {
    case 1: spread_1(c, from, count, values); break;
    case 2: spread_2(c, from, count, values); break;
    case 4: spread_4(c, from, count, values); break;
    default: spread_8(c, from, count, values);
    }
}

/* ---- Between cells and panels ---- */
INLINE void load_lanes(float *panel, const float *const *cell, long step, long n, const long *row, const float *factor, int lanes)
{
    for (long k = 0; k < n; k++) {
        float *restrict to = panel + row[k] * KR_ROW, f = factor ? factor[k] : 1;
        __builtin_prefetch(cell[0] + k * step + KR_ROW);                  /* the next panel's cells: columns lie too far apart to be foreseen */
        __builtin_prefetch(cell[0] + k * step + KR_ROW + 16);
        for (int g = 0; g < KR_LANES / lanes; g++) {
            const float *restrict from = cell[g] + k * step;
            for (int j = 0; j < lanes; j++) {
                to[g * lanes + j] = f * from[j];
                to[KR_LANES + g * lanes + j] = f * from[lanes + j];
            }
        }
    }
}

INLINE void store_lanes(float *const *cell, long lines, long step, const float *panel, long n, const long *row, const float *factor, int lanes)
{
    for (long k = 0; k < n; k++) {
        const float *restrict from = panel + row[k] * KR_ROW;
        float f = factor ? factor[k] : 1;
        for (int g = 0; g < lines; g++) {
            float *restrict to = cell[g] + k * step;
            for (int j = 0; j < lanes; j++) {
                to[j] = f * from[g * lanes + j];
                to[lanes + j] = f * from[KR_LANES + g * lanes + j];
            }
        }
    }
}

static void load(float *panel, const float *const *cell, long step, long n, const long *row, const float *factor, int lanes)
{
    switch (lanes) {
    case 1: load_lanes(panel, cell, step, n, row, factor, 1); break;
    case 2: load_lanes(panel, cell, step, n, row, factor, 2); break;
    case 4: load_lanes(panel, cell, step, n, row, factor, 4); break;
    default: load_lanes(panel, cell, step, n, row, factor, 8);
    }
}

static void store(float *const *cell, long lines, long step, const float *panel, long n, const long *row, const float *factor, int lanes)
{
    switch (lanes) {
    case 1: store_lanes(cell, lines, step, panel, n, row, factor, 1); break;
    case 2: store_lanes(cell, lines, step, panel, n, row, factor, 2); break;
    case 4: store_lanes(cell, lines, step, panel, n, row, factor, 4); break;
    default: store_lanes(cell, lines, step, panel, n, row, factor, 8);
    }
}

INLINE void scale_lanes(float *panel, const float *const *p, long n, int lanes)
{
    for (long k = 0; k < n; k++, panel += KR_ROW)
        for (int g = 0; g < KR_LANES / lanes; g++) {
            float f = p[g][k];
            for (int j = 0; j < lanes; j++) {
                panel[g * lanes + j] *= f;
                panel[KR_LANES + g * lanes + j] *= f;
            }
        }
}

static void scale(float *panel, const float *const *p, long n, int lanes)
{
    switch (lanes) {
    case 1: scale_lanes(panel, p, n, 1); break;
    case 2: scale_lanes(panel, p, n, 2); break;
    case 4: scale_lanes(panel, p, n, 4); break;
    default: scale_lanes(panel, p, n, 8);
    }
}

#define PASTE(a, b) a##b
#define NAME(level) PASTE(kr_nufftkern_, level)
const kr_nufftkern NAME(KR_LEVEL) = { interpolate, spread, load, store, scale };
