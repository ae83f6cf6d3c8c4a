/* toeplitz.c: A^H W A of a non-uniform transform as a convolution. Coils lie in the lanes of a cell, as in nufft.c; padding is made in
 * the panels and never stored; the last axis is transformed, multiplied and transformed back without leaving the cache; all
 * frequencies stay in the transforms' own order, in which the spectrum is kept too. */
#include "kray/nufft.h"
#include "kray/fourier.h"
#include "lanekern.h"
#include "nufftkern.h"
#include <math.h>
#include <string.h>

/* Floats behind a row of the grid: columns a power of two apart would share a few sets of the cache. */
enum { GAP = 16 };
static const double MOST_BYTES = 1 << 28;      /* of the grid, before coils go through in smaller groups */
struct kr_toeplitz {
    long n[3], m[3];                  /* image; twice that along transformed axes                              */
    int dims, lanes;
    long coils, frames;
    kr_lanes *fft[3];
    long *row[3], *all;               /* panel row of image point; of any point, its own number                */
    float **spectrum;                 /* per frame: [cells of the other axes][last axis], in the order of the transforms */
    float *grid, *panels;
    long panel;
};

static int log_lanes(long coils) { return coils > 4 ? 8 : coils > 2 ? 4 : coils > 1 ? 2 : 1; }

void kr_toeplitz_unref(kr_toeplitz **tt)
{
    kr_toeplitz *t = *tt;
    if (!t)
        return;
    for (int d = 0; d < 3; d++) {
        kr_lanes_unref(&t->fft[d]);
        kr_free(t->row[d]);
    }
    for (long f = 0; f < t->frames; f++)
        kr_free(t->spectrum[f]);
    void *rest[] = { t->all, t->spectrum, t->grid, t->panels };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        kr_free(rest[i]);
    kr_free(t);
    *tt = NULL;
}

static long row_of(const kr_toeplitz *t, long lanes) { return t->m[0] * 2 * lanes + GAP; }
static long grid_floats(const kr_toeplitz *t) { return row_of(t, t->lanes) * (t->dims == 3 ? t->m[1] * t->n[2] : t->n[1]) + 2 * KR_LANES * t->lanes; }

kr_toeplitz *kr_toeplitz_new(const long n[3], long coils)
{
    kr_toeplitz *t = kr_alloc_zero(1, sizeof *t);
    if (!t)
        return NULL;
    memcpy(t->n, n, sizeof t->n);
    t->dims = n[2] > 1 ? 3 : 2;
    t->coils = coils;
    long most = 0;
    bool good = true;
    for (int d = 0; d < 3; d++) {
        t->m[d] = d < t->dims ? 2 * n[d] : 1;
        most = t->m[d] > most ? t->m[d] : most;
        if (d >= t->dims)
            continue;
        t->fft[d] = kr_lanes_new(t->m[d]);
        t->row[d] = kr_alloc((size_t)n[d], sizeof(long));
        good = good && t->fft[d] && t->row[d];
        for (long i = 0; good && i < n[d]; i++)
            t->row[d][i] = i < n[d] / 2 ? i - n[d] / 2 + t->m[d] : i - n[d] / 2;
    }
    t->lanes = log_lanes(coils);
    if (t->dims == 2 && t->lanes > 4)                         /* a grid that stays in the cache, and of 6 coils no empty lanes */
        t->lanes = 4;
    while (t->lanes > 1 && (double)sizeof(float) * (double)grid_floats(t) > MOST_BYTES)
        t->lanes /= 2;
    t->all = kr_alloc((size_t)most, sizeof(long));
    for (long i = 0; t->all && i < most; i++)
        t->all[i] = i;
    t->panel = (most * KR_ROW + KR_LANES * 2 * n[0] + 15) / 16 * 16;          /* and a line per lane */
    t->panels = kr_alloc_zero((size_t)t->panel * (size_t)kr_threads(), sizeof *t->panels);
    t->grid = kr_alloc_zero((size_t)grid_floats(t), sizeof *t->grid);
    if (!good || !t->all || !t->panels || !t->grid)
        kr_toeplitz_unref(&t);
    return t;
}

size_t kr_toeplitz_bytes(const kr_toeplitz *t)
{
    size_t spectrum = (size_t)(t->m[0] * t->m[1] * t->m[2]) * sizeof(float);
    return spectrum * (size_t)t->frames + (size_t)grid_floats(t) * sizeof(float) + (size_t)t->panel * (size_t)kr_threads() * sizeof(float);
}

/* From the centred spectrum to the order in which columns() wants it. */
struct turn { const kr_toeplitz *t; float *to; const kr_cfloat *from; float scale; };

static int turn_columns(void *self, long x)
{
    const struct turn *o = self;
    const kr_toeplitz *t = o->t;
    const long m0 = t->m[0], m1 = t->m[1], m2 = t->m[2], *along = kr_lanes_order(t->fft[1]), *deep = t->dims == 3 ? kr_lanes_order(t->fft[2]) : NULL;
    const kr_cfloat *from = o->from + (kr_lanes_order(t->fft[0])[x] + m0 / 2) % m0;
    for (long y = 0; y < m1; y++) {
        const kr_cfloat *line = from + m0 * (along[y] < m1 - m1 / 2 ? along[y] + m1 / 2 : along[y] + m1 / 2 - m1);
        if (!deep)
            o->to[x * m1 + y] = o->scale * kr_re(*line);
        for (long z = 0; deep && z < m2; z++)
            o->to[(y * m0 + x) * m2 + z] = o->scale * kr_re(line[m0 * m1 * ((deep[z] + m2 / 2) % m2)]);
    }
    return 0;
}

/* t_d on a field of view twice as large, from which its spectrum follows; that of the outermost lag, which only the embedding has, is 0. */
static int spectrum_of(kr_toeplitz *t, float **to, long points, const float *const k[3], const float *weights, double tolerance)
{
    kr_auto float *twice = kr_alloc((size_t)points * (size_t)t->dims, sizeof *twice);
    kr_auto kr_cfloat *w = kr_alloc((size_t)points, sizeof *w);
    kr_scoped(array) lag = kr_array_new(KR_C32, KR_SHAPE([KR_X] = t->m[0], [KR_Y] = t->m[1], [KR_Z] = t->m[2]));
    *to = kr_alloc((size_t)(t->m[0] * t->m[1] * t->m[2]), sizeof **to);
    if (!twice || !w || !lag || !*to)
        return kr_error_code();
    const float *k2[3] = { NULL };
    for (int d = 0; d < t->dims; d++) {
        for (long i = 0; i < points; i++)
            twice[d * points + i] = 2 * k[d][i];
        k2[d] = twice + d * points;
    }
    for (long i = 0; i < points; i++)
        w[i] = kr_c(weights ? weights[i] : 1, 0);
    kr_nufft *p = kr_nufft_new(t->m, points, k2, 1, tolerance);
    if (!p)
        return kr_error_code();
    kr_nufft_adjoint(p, KR_C(lag), w, 1);
    kr_nufft_unref(&p);
    const long m0 = t->m[0], m1 = t->m[1], m2 = t->m[2];
    for (long i = 0; i < m1 * m2; i++)
        if (i % m1 == 0 || (t->dims == 3 && i < m1))
            memset((void *)(KR_C(lag) + i * m0), 0, (size_t)m0 * sizeof(kr_cfloat));
        else
            KR_C(lag)[i * m0] = kr_c(0, 0);
    unsigned axes = KR_ON(KR_X) | KR_ON(KR_Y) | (t->dims == 3 ? KR_ON(KR_Z) : 0);
    if (kr_fourier(lag, axes))
        return kr_error_code();
    /* The adjoint has 1 / sqrt(M), the unitary transform too, the inverse of two plain ones 1 / M: M / N remains of t's 1 / N. */
    float scale = (float)(sqrt((double)(m0 * m1 * m2)) / (double)(t->n[0] * t->n[1] * t->n[2]) / sqrt((double)(m0 * m1 * m2)));
    struct turn o = { t, *to, KR_C(lag), scale };
    return kr_for(m0, turn_columns, &o);
}

int kr_toeplitz_add(kr_toeplitz *t, long points, const float *const k[3], const float *weights, double tolerance)
{
    float **more = kr_realloc(t->spectrum, (size_t)t->frames, (size_t)t->frames + 1, sizeof *more);
    if (!more)
        return kr_error_code();
    t->spectrum = more;
    int e = (t->dims == 3) == (k[2] != NULL) ? 0
          : kr_fail(KR_ESHAPE, "a trajectory in %d dimensions for an image in %d", k[2] ? 3 : 2, t->dims);
    more[t->frames] = NULL;
    if (!e)
        e = spectrum_of(t, &more[t->frames], points, k, weights, tolerance);
    if (e)
        kr_free(more[t->frames]);
    else
        t->frames++;
    return e;
}

/* ---- Application ---- */
struct run {
    kr_toeplitz *t;
    const kr_nufftkern *kern;
    const float *spectrum;
    int lanes, axis;
    long coil, count, maps;           /* coils of this group                                                   */
    bool back, first;                 /* first: z is written, not added to                                     */
    kr_cfloat *z;
    const kr_cfloat *x, *S;
};

static void pad(const kr_toeplitz *t, float *panel, int axis)
{
    long from = t->n[axis] - t->n[axis] / 2, to = t->m[axis] - t->n[axis] / 2;
    memset(panel + from * KR_ROW, 0, (size_t)(to - from) * KR_ROW * sizeof *panel);
}

static void expand(const struct run *r, kr_cfloat *line, long at, long c)
{
    const kr_toeplitz *t = r->t;
    long nx = t->n[0], pixels = nx * t->n[1] * t->n[2];
    if (!r->S) {
        memcpy(line, r->x + c * pixels + at * nx, (size_t)nx * sizeof *line);
        return;
    }
    for (long m = 0; m < r->maps; m++) {
        const kr_cfloat *S = r->S + (m * t->coils + c) * pixels + at * nx, *x = r->x + m * pixels + at * nx;
        for (long i = 0; i < nx; i++)
            line[i] = m ? line[i] + kr_cmul(S[i], x[i]) : kr_cmul(S[i], x[i]);
    }
}

static void reduce(const struct run *r, const kr_cfloat *line, long at, long c)
{
    const kr_toeplitz *t = r->t;
    long nx = t->n[0], pixels = nx * t->n[1] * t->n[2];
    if (!r->S) {
        memcpy(r->z + c * pixels + at * nx, line, (size_t)nx * sizeof *line);
        return;
    }
    for (long m = 0; m < r->maps; m++) {
        const kr_cfloat *S = r->S + (m * t->coils + c) * pixels + at * nx;
        kr_cfloat *z = r->z + m * pixels + at * nx;
        if (r->first && c == r->coil)
            for (long i = 0; i < nx; i++)
                z[i] = kr_cmulc(S[i], line[i]);
        else
            for (long i = 0; i < nx; i++)
                z[i] += kr_cmulc(S[i], line[i]);
    }
}

/* Rows of the image: coils in, a transform along X, rows of the grid; or back. */
static int rows(void *self, long i)
{
    const struct run *r = self;
    kr_toeplitz *t = r->t;
    long lanes = r->lanes, most = KR_LANES / lanes, all = t->n[1] * t->n[2], from = i * most, count = all - from < most ? all - from : most;
    float *panel = t->panels + kr_worker() * t->panel, *line[KR_LANES], *cell[KR_LANES];
    kr_cfloat *lines = (kr_cfloat *)(void *)(panel + t->panel - KR_LANES * 2 * t->n[0]);
    for (long g = 0; g < most; g++) {
        long at = from + (g < count ? g : 0), y = at % t->n[1], z = at / t->n[1];
        cell[g] = t->grid + (t->dims == 3 ? z * t->m[1] + y : y) * row_of(t, lanes);
        for (long c = 0; c < lanes; c++)
            line[g * lanes + c] = (float *)(lines + (g * lanes + c) * t->n[0]);
    }
    if (!r->back) {
        for (long j = 0; j < KR_LANES; j++)
            if (j / lanes < count && j % lanes < r->count)
                expand(r, (kr_cfloat *)(void *)line[j], from + j / lanes, r->coil + j % lanes);
            else
                memset(line[j], 0, (size_t)t->n[0] * sizeof(kr_cfloat));
        pad(t, panel, 0);
        kr_lanekern_best()->load_lines(panel, (const float *const *)line, t->row[0], t->n[0], NULL, false);
        kr_lanes_forward(t->fft[0], panel);
        r->kern->store(cell, count, 2 * lanes, panel, t->m[0], t->all, NULL, (int)lanes);
        return 0;
    }
    r->kern->load(panel, (const float *const *)cell, 2 * lanes, t->m[0], t->all, NULL, (int)lanes);
    kr_lanes_inverse(t->fft[0], panel);
    kr_lanekern_best()->store_lines(line, panel, t->row[0], t->n[0], NULL, false);
    for (long g = 0; g < count; g++)
        for (long c = 0; c < r->count; c++)
            reduce(r, (const kr_cfloat *)(const void *)line[g * lanes + c], from + g, r->coil + c);
    return 0;
}

/* Neighbouring columns of the grid: along Y of a volume there or back; along the last axis there, times the spectrum, and back. */
static int columns(void *self, long i)
{
    const struct run *r = self;
    kr_toeplitz *t = r->t;
    int a = r->axis;
    long lanes = r->lanes, most = KR_LANES / lanes, per = (t->m[0] + most - 1) / most;
    long x = i % per * most, other = i / per, count = t->m[0] - x < most ? t->m[0] - x : most;
    long row = row_of(t, lanes), step = a == 1 ? row : t->m[1] * row;
    bool last = a == t->dims - 1;
    float *panel = t->panels + kr_worker() * t->panel, *cell[KR_LANES];
    const float *spectrum[KR_LANES];
    for (long g = 0; g < most; g++) {
        long at = x + (g < count ? g : 0);
        cell[g] = t->grid + (a == 1 ? other * t->m[1] * row : other * row) + at * 2 * lanes;
        spectrum[g] = last ? r->spectrum + (a == 1 ? at : other * t->m[0] + at) * t->m[a] : NULL;
    }
    if (last || !r->back) {
        pad(t, panel, a);
        r->kern->load(panel, (const float *const *)cell, step, t->n[a], t->row[a], NULL, (int)lanes);
        kr_lanes_forward(t->fft[a], panel);
    } else
        r->kern->load(panel, (const float *const *)cell, step, t->m[a], t->all, NULL, (int)lanes);
    if (last)
        r->kern->scale(panel, spectrum, t->m[a], (int)lanes);
    if (last || r->back) {
        kr_lanes_inverse(t->fft[a], panel);
        r->kern->store(cell, count, step, panel, t->n[a], t->row[a], NULL, (int)lanes);
    } else
        r->kern->store(cell, count, step, panel, t->m[a], t->all, NULL, (int)lanes);
    return 0;
}

static void all(long n, kr_body *body, struct run *r)
{
    int e = kr_for(n, body, r);
    kr_assert(!e);
}

void kr_toeplitz_apply(kr_toeplitz *t, long frame, kr_cfloat *z, const kr_cfloat *x, const kr_cfloat *S, long maps)
{
    struct run r = { .t = t, .kern = kr_nufftkern_best(), .spectrum = t->spectrum[frame], .maps = maps, .z = z, .x = x, .S = S };
    for (r.coil = 0; r.coil < t->coils; r.coil += t->lanes) {
        r.count = t->coils - r.coil < t->lanes ? t->coils - r.coil : t->lanes;
        r.lanes = log_lanes(r.count);
        r.first = !r.coil;
        long most = KR_LANES / r.lanes, lines = (t->n[1] * t->n[2] + most - 1) / most, across = (t->m[0] + most - 1) / most;
        r.back = false;
        all(lines, rows, &r);
        if (t->dims == 3) {
            r.axis = 1;
            all(across * t->n[2], columns, &r);
            r.axis = 2;
            all(across * t->m[1], columns, &r);
            r.axis = 1;
            r.back = true;
            all(across * t->n[2], columns, &r);
        } else {
            r.axis = 1;
            all(across, columns, &r);
        }
        r.back = true;
        all(lines, rows, &r);
    }
}
