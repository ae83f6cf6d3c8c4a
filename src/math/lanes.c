/* lanes.c: plans for transforms of sixteen lines at once, masks between a transform and its inverse, and the choice of the
 * kernels for this processor. Lengths with a prime factor over 127 go to FFTW. */
#include "lanekern.h"
#include "fftw.h"
#include <math.h>
#include <string.h>

const kr_lanekern *kr_lanekern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_lanekern_v4 : cpu >= 3 ? &kr_lanekern_v3 : &kr_lanekern_base;
}

/* ---- Plans ---- */
/* Radices of n: few passes over memory, no radix 2 where two of 4 do. Powers of two first, the largest prime last: its rows
 * are neighbours then, and it needs no twiddle factors. -1: a prime factor is too large. */
static int radices(long n, int radix[STAGES])
{
    int count = 0, twos = 0;
    for (; n % 2 == 0; n /= 2)
        twos++;
    int eights = twos / 3, fours = twos % 3 == 2, two = twos % 3 == 1;
    if (two && eights) {
        eights--;
        fours = 2;
        two = 0;
    }
    for (int i = 0; i < eights; i++)
        radix[count++] = 8;
    for (int i = 0; i < fours; i++)
        radix[count++] = 4;
    if (two)
        radix[count++] = 2;
    for (int p = 3; p <= LARGEST_PRIME; p += 2)                      /* what divides is prime: its factors are gone */
        for (; n % p == 0; n /= p)
            radix[count++] = p;
    if (!count)
        radix[count++] = 1;
    return n > 1 ? -1 : count;
}

static float *fill(float *t, struct stage *s)
{
    long m = s->length / s->radix;
    s->twiddle = t;
    for (long j = 0; j < m; j++)
        for (long k = 1; k < s->radix; k++) {
            double a = 2 * M_PI * (double)(j * k) / (double)s->length;
            *t++ = (float)cos(a);
            *t++ = (float)-sin(a);
        }
    s->odd = t;
    for (long q = 1; q <= s->radix / 2 && s->radix & 1; q++)
        for (long k = 1; k <= s->radix / 2; k++) {
            double a = 2 * M_PI * (double)(q * k % s->radix) / (double)s->radix;
            *t++ = (float)cos(a);
            *t++ = (float)sin(a);
        }
    return t;
}

kr_lanes *kr_lanes_new(long n)
{
    if (n < 1 || n > 1 << 20) {
        kr_fail(KR_EREFUSED, "Fourier transform of length %ld; 1 to %d are possible", n, 1 << 20);
        return NULL;
    }
    kr_lanes *p = kr_alloc_zero(1, sizeof *p);
    int radix[STAGES], count = radices(n, radix);
    size_t room = 0;
    long length = n;
    for (int i = 0; p && i < count; i++) {
        p->stage[i] = (struct stage){ radix[i], length, NULL, NULL };
        room += (size_t)(2 * length + radix[i] * radix[i]);
        length /= radix[i];
    }
    if (!p)
        return NULL;
    p->n = n;
    p->stages = count < 0 ? 0 : count;
    p->order = kr_alloc((size_t)n, sizeof *p->order);
    p->place = kr_alloc((size_t)n, sizeof *p->place);
    p->tables = kr_alloc(room + 1, sizeof *p->tables);
    if (!p->order || !p->place || !p->tables || (count < 0 && (!(p->slow[0] = kr_fftw_split(n, 0)) || !(p->slow[1] = kr_fftw_split(n, 1))))) {
        kr_lanes_unref(&p);
        return NULL;
    }
    float *t = p->tables;
    for (int i = 0; i < p->stages; i++)
        t = fill(t, &p->stage[i]);
    for (long k = 0; k < n; k++) {
        long rest = k, f = 0, weight = 1;
        for (int i = 0; i < p->stages; i++) {                        /* row k: the digits of the frequency, first stage first */
            long m = p->stage[i].length / p->stage[i].radix;
            f += rest / m * weight;
            rest %= m;
            weight *= p->stage[i].radix;
        }
        p->order[k] = p->stages ? f : k;
        p->place[p->order[k]] = k;
    }
    return p;
}

void kr_lanes_unref(kr_lanes **p)
{
    if (!*p)
        return;
    kr_fftw_drop((*p)->slow[0]);
    kr_fftw_drop((*p)->slow[1]);
    kr_free((*p)->order);
    kr_free((*p)->place);
    kr_free((*p)->tables);
    kr_free(*p);
    *p = NULL;
}

const long *kr_lanes_order(const kr_lanes *p) { return p->order; }
const long *kr_lanes_place(const kr_lanes *p) { return p->place; }

void kr_lanes_forward(const kr_lanes *p, float *x)
{
    if (p->stages)
        kr_lanekern_best()->forward(p, x);
    else
        kr_fftw_run_split(p->slow[0], x, 0);
}

void kr_lanes_inverse(const kr_lanes *p, float *x)
{
    if (p->stages)
        kr_lanekern_best()->inverse(p, x);
    else
        kr_fftw_run_split(p->slow[1], x, 1);
}

static void masked(const kr_lanekern *k, const kr_lanes *p, float *w, const uint32_t *kept, float scale)
{
    if (p->stages) {
        k->masked(p, w, kept, scale);
        return;
    }
    kr_lanes_forward(p, w);
    k->mask(w, kept, scale, p->n);
    kr_lanes_inverse(p, w);
}

/* ---- Between arrays and panels ---- */
void kr_lanes_load(float *panel, const kr_cfloat *x, long line, long point, long n, long lines)
{
    const float *f = (const float *)x;
    if (line == 1 && lines == KR_LANES) {
        kr_lanekern_best()->load_columns(panel, f, 2 * point, n, NULL, false);
        return;
    }
    if (point == 1) {
        const float *at[KR_LANES];
        for (long j = 0; j < KR_LANES; j++)
            at[j] = f + 2 * line * (j < lines ? j : 0);
        kr_lanekern_best()->load_lines(panel, at, NULL, n, NULL, false);
    } else
        for (long k = 0; k < n; k++)
            for (long j = 0; j < lines; j++) {
                panel[k * KR_ROW + j] = f[2 * (j * line + k * point)];
                panel[k * KR_ROW + KR_LANES + j] = f[2 * (j * line + k * point) + 1];
            }
    for (long k = 0; k < n; k++)
        for (long j = lines; j < KR_LANES; j++)
            panel[k * KR_ROW + j] = panel[k * KR_ROW + KR_LANES + j] = 0;
}

void kr_lanes_store(kr_cfloat *x, long line, long point, const float *panel, long n, long lines)
{
    float *f = (float *)x;
    if (line == 1 && lines == KR_LANES)
        kr_lanekern_best()->store_columns(f, 2 * point, panel, NULL, n, NULL, false);
    else if (point == 1 && lines == KR_LANES) {
        float *at[KR_LANES];
        for (long j = 0; j < KR_LANES; j++)
            at[j] = f + 2 * line * j;
        kr_lanekern_best()->store_lines(at, panel, NULL, n, NULL, false);
    } else
        for (long k = 0; k < n; k++)
            for (long j = 0; j < lines; j++) {
                f[2 * (j * line + k * point)] = panel[k * KR_ROW + j];
                f[2 * (j * line + k * point) + 1] = panel[k * KR_ROW + KR_LANES + j];
            }
}

void kr_lanes_exchange(float *to, const float *const from[KR_LANES], long rows) { kr_lanekern_best()->turn(to, from, rows); }
void kr_lanes_exchange_back(float *const to[KR_LANES], const float *from, long rows) { kr_lanekern_best()->turn_back(to, from, rows); }

/* ---- Masks ---- */
struct kr_psf {
    kr_lanes *down, *across;          /* along rows, NULL: T = 1; along columns, NULL: 1D                    */
    long rows, columns, panels;
    long active, groups;              /* rows that the mask keeps anything of, KR_LANES to a group           */
    long *row;                        /* active rows first, then those that become 0                         */
    uint32_t *kept;                   /* a bit a lane. 1D: per row; 2D: per group and column                 */
    float scale;                      /* 1/N of the unitary transforms                                       */
    long *place;                      /* where centred index c goes among the columns                        */
    float *phase_row, *phase_column;  /* of F^H: by row; by centred index of the column. The scale is in the rows' */
};

void kr_psf_unref(kr_psf **p)
{
    if (!*p)
        return;
    kr_lanes_unref(&(*p)->down);
    kr_lanes_unref(&(*p)->across);
    kr_free((*p)->row);
    kr_free((*p)->kept);
    kr_free((*p)->place);
    kr_free((*p)->phase_row);
    kr_free((*p)->phase_column);
    kr_free(*p);
    *p = NULL;
}

/* The centred inverse transform is the other one of exp(-2 pi i f c / n) X[f], c = n/2. */
static void phase(float *t, long f, long n, double scale)
{
    double a = -2 * M_PI * (double)(f * (n / 2) % n) / (double)n;
    bool even = !(n & 1);
    t[0] = (float)(scale * (even ? f & 1 ? -1 : 1 : cos(a)));
    t[1] = (float)(scale * (even ? 0 : sin(a)));
}

static int phases(kr_psf *p)
{
    p->place = kr_alloc((size_t)p->columns, sizeof *p->place);
    p->phase_row = kr_alloc((size_t)p->rows, 2 * sizeof(float));
    p->phase_column = kr_alloc((size_t)p->columns, 2 * sizeof(float));
    if (!p->place || !p->phase_row || !p->phase_column)
        return kr_error_code();
    for (long k = 0; k < p->rows; k++)
        phase(p->phase_row + 2 * k, kr_lanes_order(p->down)[k], p->rows, sqrt((double)p->scale));
    for (long c = 0; c < p->columns && p->across; c++) {
        long f = (c + p->columns - p->columns / 2) % p->columns;
        p->place[c] = kr_lanes_place(p->across)[f];
        phase(p->phase_column + 2 * c, f, p->columns, 1);
    }
    return 0;
}

kr_psf *kr_psf_new(const float *mask, long rows, long row_step, long columns, long column_step)
{
    kr_psf *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    p->rows = rows;
    p->columns = columns;
    if (!mask) {
        p->panels = (columns + KR_LANES - 1) / KR_LANES;
        return p;
    }
    p->panels = columns > 1 ? (columns + KR_LANES - 1) / KR_LANES : 1;
    p->down = kr_lanes_new(rows);
    p->across = columns > 1 && p->down ? kr_lanes_new(columns) : NULL;
    p->row = kr_alloc((size_t)rows, sizeof *p->row);
    if (!p->down || (columns > 1 && !p->across) || !p->row) {
        kr_psf_unref(&p);
        return NULL;
    }
    /* The transform of the kernels is not centred, the mask is: frequency f is at f + N/2. Nothing else of the centring
     * is left in F^H P F. */
    const long *order = kr_lanes_order(p->down);
    long last = rows;
    for (long k = 0; k < rows; k++) {
        const float *m = mask + (order[k] + rows / 2) % rows * row_step;
        bool any = false;
        for (long c = 0; c < columns; c++)
            any |= m[c * column_step] != 0;
        p->row[any ? p->active++ : --last] = k;
    }
    p->groups = (p->active + KR_LANES - 1) / KR_LANES;
    p->scale = (float)(1 / ((double)rows * (double)columns));
    p->kept = kr_alloc_zero((size_t)(columns > 1 ? p->groups * columns + 1 : rows), sizeof *p->kept);
    if (!p->kept || phases(p)) {
        kr_psf_unref(&p);
        return NULL;
    }
    for (long i = 0; i < p->active; i++) {
        const float *m = mask + (order[p->row[i]] + rows / 2) % rows * row_step;
        if (columns == 1)
            p->kept[p->row[i]] = UINT32_MAX;
        else
            for (long c = 0; c < columns; c++)
                if (m[(kr_lanes_order(p->across)[c] + columns / 2) % columns * column_step] != 0)
                    p->kept[i / KR_LANES * columns + c] |= 1u << i % KR_LANES;
    }
    return p;
}

static long psf_floats(const kr_psf *p) { return p->panels * p->rows * KR_ROW; }
long kr_psf_work(const kr_psf *p, long planes)
{
    return planes * (psf_floats(p) + (p->columns > 1 ? (p->columns + 1) * KR_ROW : 0)) + (planes + 1) * KR_ROW;
}

/* Rows of the plane by sixteen: row j of group g, or a spare one where the last group has no more. */
static float *row_of(const kr_psf *p, float *w, float *spare, long g, long a, long j)
{
    return g * KR_LANES + j < p->active ? w + (a * p->rows + p->row[g * KR_LANES + j]) * KR_ROW : spare;
}

static void turn_group_back(const kr_lanekern *k, const kr_psf *p, float *w, const float *panel, float *spare, long g)
{
    float *at[KR_LANES];
    for (long a = 0; a < p->panels; a++) {
        long left = p->columns - a * KR_LANES;
        for (long j = 0; j < KR_LANES; j++)
            at[j] = row_of(p, w, spare, g, a, j);
        k->turn_back(at, panel + a * KR_LANES * KR_ROW, left < KR_LANES ? left : KR_LANES);
    }
}

/* One group, turned, so that its lanes are rows, through the transform along them, and back. */
static void across(const kr_lanekern *k, const kr_psf *p, float *w, float *panel, long g)
{
    float *spare = panel + p->columns * KR_ROW, *at[KR_LANES];
    for (long a = 0; a < p->panels; a++) {
        long left = p->columns - a * KR_LANES;
        for (long j = 0; j < KR_LANES; j++)
            at[j] = row_of(p, w, spare, g, a, j);
        k->turn(panel + a * KR_LANES * KR_ROW, (const float *const *)at, left < KR_LANES ? left : KR_LANES);
    }
    masked(k, p->across, panel, p->kept + g * p->columns, p->scale);
    turn_group_back(k, p, w, panel, spare, g);
}

/* The rows that the mask keeps nothing of, in one panel. */
static void clear_rest(const kr_psf *p, float *panel)
{
    for (long i = p->active; i < p->rows; i++)
        memset(panel + p->row[i] * KR_ROW, 0, KR_ROW * sizeof *panel);
}

/* Coil after coil. In a plane the way back of one coil and the way out of the next meet panel by panel, while the panel
 * is in the first-level cache. */
void kr_psf_sense(const kr_psf *p, float *z, const float *S, const float *x, long coils, long maps, float *w)
{
    const kr_lanekern *k = kr_lanekern_best();
    long panel = p->rows * KR_ROW, block = p->panels * panel, next = maps * block;
    if (!p->across) {
        for (long c = 0; c < coils; c++) {
            k->expand(w, S + c * next, x, p->rows, maps, block);
            if (p->down)
                masked(k, p->down, w, p->kept, p->scale);
            k->reduce(z, S + c * next, w, p->rows, maps, block);
        }
        return;
    }
    memset(w + block + p->columns * KR_ROW, 0, KR_ROW * sizeof *w);
    for (long c = 0; c <= coils; c++) {
        for (long a = 0; a < p->panels; a++) {
            float *at = w + a * panel;
            if (c > 0) {
                clear_rest(p, at);
                kr_lanes_inverse(p->down, at);
                k->reduce(z + a * panel, S + (c - 1) * next + a * panel, at, p->rows, maps, block);
            }
            if (c < coils) {
                k->expand(at, S + c * next + a * panel, x + a * panel, p->rows, maps, block);
                kr_lanes_forward(p->down, at);
            }
        }
        for (long g = 0; g < p->groups && c < coils; g++)
            across(k, p, w, w + block, g);
    }
}

void kr_psf_apply(const kr_psf *p, float *x, float *w)
{
    const kr_lanekern *k = kr_lanekern_best();
    long panel = p->rows * KR_ROW;
    if (!p->down)
        return;
    if (!p->across) {
        masked(k, p->down, x, p->kept, p->scale);
        return;
    }
    memset(w + p->columns * KR_ROW, 0, KR_ROW * sizeof *w);
    for (long a = 0; a < p->panels; a++)
        kr_lanes_forward(p->down, x + a * panel);
    for (long g = 0; g < p->groups; g++)
        across(k, p, x, w, g);
    for (long a = 0; a < p->panels; a++) {
        clear_rest(p, x + a * panel);
        kr_lanes_inverse(p->down, x + a * panel);
    }
}

/* ---- A^H y ---- */
/* Panels whose transform across the columns is undone: the phases of the rows, the other transform, the coil maps. */
static void finish(const kr_lanekern *k, const kr_psf *p, float *z, const float *S, long maps, float *w)
{
    long panel = p->rows * KR_ROW, block = p->panels * panel;
    for (long a = 0; a < p->panels; a++) {
        clear_rest(p, w + a * panel);
        k->turn_phase(w + a * panel, p->phase_row, p->rows);
        kr_lanes_inverse(p->down, w + a * panel);
        k->reduce(z + a * panel, S + a * panel, w + a * panel, p->rows, maps, block);
    }
}

static long centred(const kr_psf *p, long row) { return (kr_lanes_order(p->down)[row] + p->rows / 2) % p->rows; }

void kr_psf_back_lines(const kr_psf *p, float *z, const float *S, const kr_cfloat *y, const int *at, long step, long lines, long maps, float *w)
{
    const kr_lanekern *k = kr_lanekern_best();
    for (long i = 0; i < p->active; i++) {
        long row = p->row[i];
        kr_lanes_load(w + row * KR_ROW, y + at[centred(p, row)] * step, 1, 1, 1, lines);
    }
    finish(k, p, z, S, maps, w);
}

void kr_psf_back_plane(const kr_psf *p, float *z, const float *S, const kr_cfloat *y, long step, long maps, float *w)
{
    const kr_lanekern *k = kr_lanekern_best();
    float *panel = w + p->panels * p->rows * KR_ROW, *spare = panel + p->columns * KR_ROW;
    for (long g = 0; g < p->groups; g++) {
        const float *line[KR_LANES];
        for (long j = 0; j < KR_LANES; j++)
            line[j] = (const float *)(y + centred(p, p->row[g * KR_LANES + j < p->active ? g * KR_LANES + j : 0]) * step);
        k->load_lines(panel, line, p->place, p->columns, p->phase_column, false);
        k->mask(panel, p->kept + g * p->columns, 1, p->columns);
        kr_lanes_inverse(p->across, panel);
        turn_group_back(k, p, w, panel, spare, g);
    }
    finish(k, p, z, S, maps, w);
}

void kr_psf_back_planes(const kr_psf *p, float *z, long apart, const float *S, long maps_apart, const kr_cfloat *y, const int *at,
                        long step, long planes, long maps, float *w)
{
    const kr_lanekern *k = kr_lanekern_best();
    long block = p->panels * p->rows * KR_ROW, room = (p->columns + 1) * KR_ROW;
    float *panel = w + planes * block, *points = panel + planes * room, *nothing = points + planes * KR_ROW;
    memset(nothing, 0, KR_ROW * sizeof *nothing);
    for (long g = 0; g < p->groups; g++) {
        for (long c = 0; c < p->columns; c++) {
            const float *line[KR_LANES];
            uint32_t kept = p->kept[g * p->columns + p->place[c]];
            if (!kept) {
                for (long i = 0; i < planes; i++)
                    memset(panel + i * room + p->place[c] * KR_ROW, 0, KR_ROW * sizeof *panel);
                continue;
            }
            for (long j = 0; j < KR_LANES; j++)
                line[j] = kept >> j & 1 ? (const float *)(y + at[centred(p, p->row[g * KR_LANES + j]) * p->columns + c] * step) : nothing;
            k->load_lines(points, line, NULL, planes, NULL, false);
            for (long i = 0; i < planes; i++) {
                k->turn_phase(points + i * KR_ROW, p->phase_column + 2 * c, 1);
                memcpy(panel + i * room + p->place[c] * KR_ROW, points + i * KR_ROW, KR_ROW * sizeof *panel);
            }
        }
        for (long i = 0; i < planes; i++) {
            kr_lanes_inverse(p->across, panel + i * room);
            turn_group_back(k, p, w + i * block, panel + i * room, panel + i * room + p->columns * KR_ROW, g);
        }
    }
    for (long i = 0; i < planes; i++)
        finish(k, p, z + i * apart, S + i * maps_apart, maps, w + i * block);
}

/* ---- Vectors ---- */
void kr_lanes_scaled(float *z, float a, const float *x, long rows) { kr_lanekern_best()->scaled(z, a, x, rows); }
void kr_lanes_dot(const float *x, const float *y, long rows, double sum[KR_LANES]) { kr_lanekern_best()->dot(x, y, rows, sum); }
void kr_lanes_step(float *x, float *r, const float *p, const float *q, const float a[KR_LANES], long rows, double sum[KR_LANES])
{
    kr_lanekern_best()->step(x, r, p, q, a, rows, sum);
}
void kr_lanes_turn(float *p, const float *r, const float b[KR_LANES], long rows) { kr_lanekern_best()->xpay(p, r, b, rows); }
void kr_lanes_pair(float *w, const float *c, const float *dx, const float *x, const float *dc, long rows, bool add)
{
    kr_lanekern_best()->pair(w, c, dx, x, dc, rows, add);
}
void kr_lanes_pair_back(float *z, float *t, const float *c, const float *x, const float *w, long rows)
{
    kr_lanekern_best()->pair_back(z, t, c, x, w, rows);
}

void kr_lanes_waves(float *K, const kr_cfloat *w, const float *wave, long step, long offsets, long entries)
{
    kr_lanekern_best()->waves(K, (const float *)w, wave, step, offsets, entries);
}
void kr_lanes_gram(float *M, const float *K, long n) { kr_lanekern_best()->gram(M, K, n); }
void kr_lanes_hermitian(float *z, const float *M, const float *x, long n) { kr_lanekern_best()->hermitian(z, M, x, n); }
