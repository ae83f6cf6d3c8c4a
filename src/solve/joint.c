/* joint.c: coil maps and image at once, by the iteratively regularised Gauss-Newton method.
 *
 * y_j = P F sum over s of x_s c_sj, c_sj = F^H W v_sj, z = (x, v). With G of that model each step solves
 *   (DG^H DG + a) dz = DG^H (y - G(z)) + a (z0 - z)
 * by conjugate gradients, a falling from step to step. Letters: Uecker et al. 2008, whose c^ is v here; sets s: Holme et al. 2019.
 *
 * W keeps maps smooth: beyond 0.079 of the sampling frequency it is below 1e-6, so that v there would move a map by 1e-12 / a. Of
 * v only the middle is kept, a box of 1/6 of each axis. How a map varies within the field of view does not depend on the matrix: of an axis of
 * few points 1/6 would leave its maps no freedom, so that W counts frequencies as on one of SMALLEST points at least. Transforms between box and map run through the few lines that hold
 * something: in 2D 1.2 passes over the map instead of 2, and the coil part of all vectors is next to nothing.
 * F^H P F acts along the axes alone on which P varies; y is replaced by F^H P y once, so that no other axis is transformed
 * again. All is done plane by plane in panels (lanes.h): row along the rows of a panel, col across its lanes; a plane, or where P
 * varies along its rows alone a panel, goes through box -> map, product, F^H P F, products, map -> box without leaving the cache.
 * Along a trajectory A^H W A stands in the place of F^H P F, and A^H W y in that of F^H P y: coil by coil, as where P varies along all axes.
 * Phases of a centred F are left out: in v they are a change of variables that W does not see. */
#include "kray/fourier.h"
#include "kray/lanes.h"
#include "kray/nufft.h"
#include "kray/solve.h"
#include <math.h>
#include <string.h>

enum { GROUPS = 8 };                  /* parts of the sum over coils where there are fewer planes than that       */
static const double WIDEST = 0.0789;  /* W = 1e-6 there                                                          */
enum { SMALLEST = 64 };               /* 31 points, 3 and 8 coils, R = 2: NRMSE .012 and .009, from .08 and .11 when counted as 31 */
static const double BEGUN = 0.8;      /* the first steps find the scale, and leave 0.85 to 0.98 of the misfit    */
enum { FEW = 4 };                     /* a step of fewer inner iterations has hardly moved: that its misfit stays says nothing of noise */
static const double ONE_STEP = 0.999; /* a tolerance that lets conjugate gradients take at least one             */

struct side {                         /* of the box: frequencies -half..half of an axis of n points               */
    long n, count, half;
    double unit;                      /* points that W counts frequencies by                                     */
    kr_lanes *fft;
};
struct room { float *w, *map, *rows, *lines, *work; };
struct model {
    kr_blocks b;
    long coils, sets, planes, panels, block, groups;   /* block: floats of a plane                               */
    struct side row, col, out;
    long lanes, line, box;            /* panels of row frequencies; floats of the box at one frequency of out, and of all */
    float *weight;                    /* W and the scale of F, one a lane                                        */
    kr_psf *psf;                      /* F^H P F of a plane or panel; NULL: P varies along all axes              */
    kr_fft *F;                        /* then: of a volume                                                       */
    kr_cfloat *volume;
    const kr_array *mask;
    kr_toeplitz *T;                   /* along a trajectory, in the place of F and the mask: A^H W A              */
    kr_cfloat *turned;                /* its product                                                             */
    const kr_array *adj;              /* A^H W y, and |y|^2 with W; in units of the model times `unit`            */
    double yy, unit;
    float *g;                         /* and the product of one coil                                             */
    float *data, *maps;               /* {plane, coil} F^H P y; {plane, coil, set} c                             */
    float *mixed;                     /* {coil, set, plane}: the box in space along out                          */
    float *part;                      /* {group - 1, plane, set} of the sum over coils                           */
    const float *x;                   /* {plane, set}, where the derivative is taken                             */
    double *misfit;                   /* per plane and group                                                     */
    float *rooms;
    struct room *room;                /* per worker                                                              */
};
enum what { MAPS, GRADIENT, NORMAL };
struct job { struct model *m; const float *from; float *to; enum what what; long coil; };

static long row_of(const struct side *s, long i) { return kr_lanes_place(s->fft)[(i - s->half + s->n) % s->n]; }

static long units(const struct model *m) { return m->planes * m->groups; }
static float *map_of(const struct model *m, long plane, long coil, long set) { return m->maps + ((plane * m->coils + coil) * m->sets + set) * m->block; }

static void each(kr_body *body, long n, struct job *j)
{
    int e = kr_for(n, body, j);
    kr_assert(!e);
}

/* ---- Between the box and its lines in space along out ---- */
static int to_planes(void *self, long map)
{
    const struct job *j = self;
    struct model *m = j->m;
    float *t = m->room[kr_worker()].lines;
    for (long r = 0; r < m->line; r += KR_ROW) {
        memset(t, 0, (size_t)(m->planes * KR_ROW) * sizeof *t);
        for (long i = 0; i < m->out.count; i++) {
            const float *v = j->from + map * m->box + i * m->line + r, *W = m->weight + (i * m->line + r) / 2;
            float *to = t + row_of(&m->out, i) * KR_ROW;
            for (int l = 0; l < KR_LANES; l++) {
                to[l] = W[l] * v[l];
                to[KR_LANES + l] = W[l] * v[KR_LANES + l];
            }
        }
        kr_lanes_inverse(m->out.fft, t);
        for (long o = 0; o < m->planes; o++)
            memcpy(m->mixed + (map * m->planes + o) * m->line + r, t + o * KR_ROW, KR_ROW * sizeof *t);
    }
    return 0;
}

static int from_planes(void *self, long map)
{
    const struct job *j = self;
    struct model *m = j->m;
    float *t = m->room[kr_worker()].lines;
    for (long r = 0; r < m->line; r += KR_ROW) {
        for (long o = 0; o < m->planes; o++)
            memcpy(t + o * KR_ROW, m->mixed + (map * m->planes + o) * m->line + r, KR_ROW * sizeof *t);
        kr_lanes_forward(m->out.fft, t);
        for (long i = 0; i < m->out.count; i++) {
            float *v = j->to + map * m->box + i * m->line + r;
            const float *W = m->weight + (i * m->line + r) / 2, *from = t + row_of(&m->out, i) * KR_ROW;
            for (int l = 0; l < KR_LANES; l++) {
                v[l] = W[l] * from[l];
                v[KR_LANES + l] = W[l] * from[KR_LANES + l];
            }
        }
    }
    return 0;
}

/* ---- Between those and what a panel holds of them: row frequencies of its sixteen columns ---- */
static float *rows_of(const struct model *m, const struct room *r, long set, long a) { return r->rows + (set * m->panels + a) * m->row.count * KR_ROW; }

static long lanes_of(const struct model *m, long q) { return m->row.count - q * KR_LANES < KR_LANES ? m->row.count - q * KR_LANES : KR_LANES; }

static void to_panels(const struct model *m, const struct room *r, long plane, long coil)
{
    for (long s = 0; s < m->sets; s++)
        for (long q = 0; q < m->lanes; q++) {
            const float *v = m->mixed + ((coil * m->sets + s) * m->planes + plane) * m->line + q * m->col.count * KR_ROW, *from[KR_LANES];
            memset(r->lines, 0, (size_t)(m->panels * KR_LANES * KR_ROW) * sizeof(float));
            for (long k = 0; k < m->col.count; k++)
                memcpy(r->lines + row_of(&m->col, k) * KR_ROW, v + k * KR_ROW, KR_ROW * sizeof *v);
            kr_lanes_inverse(m->col.fft, r->lines);
            for (long a = 0; a < m->panels; a++) {
                for (long l = 0; l < KR_LANES; l++)
                    from[l] = r->lines + (a * KR_LANES + l) * KR_ROW;
                kr_lanes_exchange(rows_of(m, r, s, a) + q * KR_LANES * KR_ROW, from, lanes_of(m, q));
            }
        }
}

static void from_panels(const struct model *m, const struct room *r, long plane, long coil)
{
    for (long s = 0; s < m->sets; s++)
        for (long q = 0; q < m->lanes; q++) {
            float *v = m->mixed + ((coil * m->sets + s) * m->planes + plane) * m->line + q * m->col.count * KR_ROW, *to[KR_LANES];
            for (long a = 0; a < m->panels; a++) {
                for (long l = 0; l < KR_LANES; l++)
                    to[l] = r->lines + (a * KR_LANES + l) * KR_ROW;
                kr_lanes_exchange_back(to, rows_of(m, r, s, a) + q * KR_LANES * KR_ROW, lanes_of(m, q));
            }
            kr_lanes_forward(m->col.fft, r->lines);
            for (long k = 0; k < m->col.count; k++)
                memcpy(v + k * KR_ROW, r->lines + row_of(&m->col, k) * KR_ROW, KR_ROW * sizeof *v);
        }
}

/* ---- One panel of one coil ---- */
/* w = sum over s of x_s c_s, whose maps are kept; or its derivative, sum of dx_s c_s + x_s dc_s. */
static void product(const struct job *j, const struct room *r, long plane, long coil, long a, float *w)
{
    const struct model *m = j->m;
    long rows = m->row.n, at = a * rows * KR_ROW;
    for (long s = 0; s < m->sets; s++) {
        float *c = map_of(m, plane, coil, s) + at, *map = j->what == NORMAL ? r->map : c;
        const float *x = m->x + (plane * m->sets + s) * m->block + at, *dx = j->from + (plane * m->sets + s) * m->block + at;
        memset(map, 0, (size_t)(rows * KR_ROW) * sizeof *map);
        for (long i = 0; i < m->row.count; i++)
            memcpy(map + row_of(&m->row, i) * KR_ROW, rows_of(m, r, s, a) + i * KR_ROW, KR_ROW * sizeof *map);
        kr_lanes_inverse(m->row.fft, map);
        if (j->what == NORMAL)
            kr_lanes_pair(w, c, dx, x, map, rows, s > 0);
        else if (j->what == GRADIENT)
            kr_lanes_pair(w, c, x, x, c, rows, s > 0);               /* twice the product */
    }
}

/* From T w, the adjoint: sum over coils of conj(c) w, and conj(x) w back towards the box. */
static void adjoint(const struct job *j, const struct room *r, long plane, long coil, long a, float *w, float *z, double sum[KR_LANES])
{
    const struct model *m = j->m;
    long rows = m->row.n, at = a * rows * KR_ROW;
    if (j->what == GRADIENT) {                                       /* w becomes F^H P (y - G(z)) */
        const float *b = m->data + (plane * m->coils + coil) * m->block + at;
        for (long i = 0; i < rows * KR_ROW; i++)
            w[i] = b[i] - 0.5f * w[i];
        kr_lanes_dot(w, w, rows, sum);
    }
    for (long s = 0; s < m->sets; s++) {
        kr_lanes_pair_back(z + s * m->block + at, r->map, map_of(m, plane, coil, s) + at, m->x + (plane * m->sets + s) * m->block + at, w, rows);
        kr_lanes_forward(m->row.fft, r->map);
        for (long i = 0; i < m->row.count; i++)
            memcpy(rows_of(m, r, s, a) + i * KR_ROW, r->map + row_of(&m->row, i) * KR_ROW, KR_ROW * sizeof *w);
    }
}

static float *part_of(const struct job *j, long plane, long group)
{
    const struct model *m = j->m;
    long size = m->sets * m->block;
    return group ? m->part + ((group - 1) * m->planes + plane) * size : j->to + plane * size;
}

static void total(double *out, const double sum[KR_LANES])
{
    for (int l = 0; l < KR_LANES; l++)
        *out += sum[l];
}

/* Some coils of one plane. */
static int unit(void *self, long u)
{
    const struct job *j = self;
    struct model *m = j->m;
    const struct room *r = &m->room[kr_worker()];
    long plane = u / m->groups, group = u % m->groups, panel = m->row.n * KR_ROW;
    float *z = j->what == MAPS ? NULL : part_of(j, plane, group);
    double sum[KR_LANES] = { 0 };
    if (z)
        memset(z, 0, (size_t)(m->sets * m->block) * sizeof *z);
    for (long c = group * m->coils / m->groups; c < (group + 1) * m->coils / m->groups; c++) {
        to_panels(m, r, plane, c);
        for (long a = 0; a < m->panels; a++) {
            float *w = r->w + (m->b.plane ? a * panel : 0);
            product(j, r, plane, c, a, w);
            if (z && !m->b.plane) {
                kr_psf_apply(m->psf, w, r->work);
                adjoint(j, r, plane, c, a, w, z, sum);
            }
        }
        if (z && m->b.plane) {
            kr_psf_apply(m->psf, r->w, r->work);
            for (long a = 0; a < m->panels; a++)
                adjoint(j, r, plane, c, a, r->w + a * panel, z, sum);
        }
        if (z)
            from_panels(m, r, plane, c);
    }
    m->misfit[u] = 0;
    total(&m->misfit[u], sum);
    return 0;
}

/* ---- Where P varies along all axes: coil by coil ---- */
static int products(void *self, long plane)
{
    const struct job *j = self;
    const struct model *m = j->m;
    const struct room *r = &m->room[kr_worker()];
    to_panels(m, r, plane, j->coil);
    for (long a = 0; a < m->panels; a++)
        product(j, r, plane, j->coil, a, m->g + plane * m->block + a * m->row.n * KR_ROW);
    return 0;
}

static int adjoints(void *self, long plane)
{
    const struct job *j = self;
    const struct model *m = j->m;
    const struct room *r = &m->room[kr_worker()];
    double sum[KR_LANES] = { 0 };
    for (long a = 0; a < m->panels; a++)
        adjoint(j, r, plane, j->coil, a, m->g + plane * m->block + a * m->row.n * KR_ROW, j->to + plane * m->sets * m->block, sum);
    from_panels(m, r, plane, j->coil);
    total(&m->misfit[plane], sum);
    return 0;
}

static int scatter(void *self, long i)
{
    const struct job *j = self;
    kr_blocks_scatter(&j->m->b, j->m->volume, j->m->g + i * j->m->b.floats, 0, i);
    return 0;
}

static int gather(void *self, long i)
{
    const struct job *j = self;
    kr_blocks_gather(&j->m->b, j->m->g + i * j->m->b.floats, 0, j->m->T ? j->m->turned : j->m->volume, i);
    return 0;
}

/* What one coil adds to |y - G(z)|^2 with W beyond |y|^2, from twice its product g: |A g|^2 / 4 - Re <b, g>. */
static double misfit_of(const struct model *m, long coil)
{
    const kr_cfloat *g = m->volume, *Tg = m->turned, *b = KR_C(m->adj) + coil * m->b.volume;
    double sum = 0;
    for (long i = 0; i < m->b.volume; i++)
        sum += .25 * (double)(kr_re(g[i]) * kr_re(Tg[i]) + kr_im(g[i]) * kr_im(Tg[i])) - m->unit * (double)(kr_re(g[i]) * kr_re(b[i]) + kr_im(g[i]) * kr_im(b[i]));
    return sum;
}

static int masked(void *self, long line)
{
    const struct model *m = ((const struct job *)self)->m;
    const kr_array *P = m->mask;
    const float *p = KR_R(P) + line % m->b.n[KR_Y] * P->step[KR_Y] + line / m->b.n[KR_Y] * P->step[KR_Z];
    for (long i = 0; i < m->b.n[KR_X]; i++)
        if (p[i * P->step[KR_X]] == 0)
            m->volume[line * m->b.n[KR_X] + i] = kr_c(0, 0);
    return 0;
}

static void coil_by_coil(struct job *j)
{
    struct model *m = j->m;
    double misfit = m->yy * m->unit * m->unit;
    memset(m->misfit, 0, (size_t)m->planes * sizeof *m->misfit);
    if (j->what != MAPS)
        memset(j->to, 0, (size_t)(m->planes * m->sets * m->block) * sizeof *j->to);
    for (j->coil = 0; j->coil < m->coils; j->coil++) {
        each(products, m->planes, j);
        if (j->what == MAPS)
            continue;
        each(scatter, m->b.count, j);
        if (m->T) {
            kr_toeplitz_apply(m->T, 0, m->turned, m->volume, NULL, 1);
            misfit += j->what == GRADIENT ? misfit_of(m, j->coil) : 0;
        } else {
            kr_fft_forward(m->F, m->volume);
            each(masked, m->b.n[KR_Y] * m->b.n[KR_Z], j);
            kr_fft_inverse(m->F, m->volume);
        }
        each(gather, m->b.count, j);
        each(adjoints, m->planes, j);
    }
    if (m->T && j->what == GRADIENT) {                               /* adjoints counts |A^H W (y - G(z))|^2, which is something else here */
        memset(m->misfit, 0, (size_t)m->planes * sizeof *m->misfit);
        m->misfit[0] = misfit > 0 ? misfit : 0;
    }
}

/* ---- All of it ---- */
static int add_groups(void *self, long i)
{
    static const float one[KR_LANES] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const struct job *j = self;
    const struct model *m = j->m;
    long floats = m->row.n * KR_ROW, size = m->planes * m->sets * m->block;
    for (long g = 1; g < m->groups; g++)
        kr_lanes_turn(j->to + i * floats, m->part + (g - 1) * size + i * floats, one, m->row.n);
    return 0;
}

/* MAPS: c of the v in `from`. GRADIENT: that too, and to = DG^H (y - G(from)). NORMAL: to = DG^H DG from, at the c that were kept. */
static void run(struct model *m, float *to, const float *from, enum what what)
{
    long image = m->planes * m->sets * m->block;
    struct job j = { .m = m, .from = from + image, .to = to ? to + image : NULL, .what = what };
    if (what != NORMAL)
        m->x = from;
    each(to_planes, m->coils * m->sets, &j);
    j.from = from;
    j.to = to;
    if (m->psf)
        each(unit, units(m), &j);
    else
        coil_by_coil(&j);
    if (what == MAPS)
        return;
    each(add_groups, image / (m->row.n * KR_ROW), &j);
    j.to = to + image;
    each(from_planes, m->coils * m->sets, &j);
}

static void normal(void *self, kr_array *z, const kr_array *x) { run(self, z->data, x->data, NORMAL); }

static void destroy(void *self)
{
    struct model *m = self;
    kr_lanes_unref(&m->row.fft);
    kr_lanes_unref(&m->col.fft);
    kr_lanes_unref(&m->out.fft);
    kr_psf_unref(&m->psf);
    kr_fft_unref(&m->F);
    kr_toeplitz_unref(&m->T);
    kr_free(m->turned);
    kr_free(m->weight);
    kr_free(m->volume);
    kr_free(m->g);
    kr_free(m->data);
    kr_free(m->maps);
    kr_free(m->mixed);
    kr_free(m->part);
    kr_free(m->misfit);
    kr_free(m->rooms);
    kr_free(m->room);
    kr_free(m);
}

static const kr_linop_ops ops = { "Gauss-Newton", normal, normal, NULL, destroy, NULL };    /* Hermitian */

static unsigned varying(const kr_array *mask)
{
    unsigned v = 0;
    for (int d = 0; d < KR_AXES; d++)
        if (mask->n[d] > 1)
            v |= KR_ON(d);
    return v;
}

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

static void sizes(struct model *m, const long n[4], unsigned v, long sets)
{
    m->b = kr_blocks_of(n, v == space ? 0 : v);
    m->coils = n[3];
    m->sets = sets;
    m->planes = n[m->b.out];
    m->panels = (n[m->b.col] + KR_LANES - 1) / KR_LANES;
    m->block = m->panels * n[m->b.row] * KR_ROW;
    long few = (GROUPS + m->planes - 1) / m->planes;
    m->groups = v == space ? 1 : few < m->coils ? few : m->coils;
    struct side *side[] = { &m->row, &m->col, &m->out };
    const int axis[] = { m->b.row, m->b.col, m->b.out };
    for (int i = 0; i < 3; i++) {
        side[i]->n = n[axis[i]];
        side[i]->unit = n[axis[i]] > SMALLEST ? (double)n[axis[i]] : SMALLEST;
        long half = (long)(WIDEST * side[i]->unit), room = (n[axis[i]] - 1) / 2;
        side[i]->half = half < room ? half : room;
        side[i]->count = 2 * side[i]->half + 1;
    }
    m->lanes = (m->row.count + KR_LANES - 1) / KR_LANES;
    m->line = m->lanes * m->col.count * KR_ROW;
    m->box = m->out.count * m->line;
}

/* W = (1 + 220 |k|^2)^-16, k from -1/2 to 1/2 along every axis of SMALLEST points or more. */
static void weights(struct model *m)
{
    double scale = 1 / sqrt((double)m->b.volume);
    for (long i = 0; i < m->box / 2; i++) {
        long l = i % KR_LANES, k = i / KR_LANES % m->col.count, q = i / (m->line / 2 / m->lanes) % m->lanes, o = i / (m->line / 2), f = q * KR_LANES + l;
        double kr = (double)(f - m->row.half) / m->row.unit, kc = (double)(k - m->col.half) / m->col.unit;
        double ko = (double)(o - m->out.half) / m->out.unit;
        m->weight[i] = f < m->row.count ? (float)(scale * pow(1 + 220 * (kr * kr + kc * kc + ko * ko), -16)) : 0;
    }
}

static int rooms(struct model *m)
{
    long panel = m->row.n * KR_ROW, w = m->b.plane ? m->block : panel, rows = m->sets * m->panels * m->row.count * KR_ROW;
    long most = m->panels * KR_LANES > m->planes ? m->panels * KR_LANES : m->planes, work = m->psf ? (kr_psf_work(m->psf, 1) + KR_ROW - 1) / KR_ROW * KR_ROW : 0;
    long all = w + panel + rows + most * KR_ROW + work;
    m->rooms = kr_alloc((size_t)(kr_threads() * all), sizeof *m->rooms);
    m->room = kr_alloc((size_t)kr_threads(), sizeof *m->room);
    if (!m->rooms || !m->room)
        return kr_error_code();
    for (int i = 0; i < kr_threads(); i++) {
        float *at = m->rooms + i * all;
        m->room[i] = (struct room){ at, at + w, at + w + panel, at + w + panel + rows, at + all - work };
    }
    return 0;
}

/* Blocks i of a volume, whose planes are `apart` floats apart. */
static float *block(const struct model *m, float *planes, long apart, long i)
{
    return m->b.plane ? planes + i * m->b.slab * apart : planes + i / m->panels * apart + i % m->panels * m->b.floats;
}

struct copy { const struct model *m; float *planes; long apart; kr_cfloat *volume; };

static int copy_in(void *self, long i)
{
    const struct copy *c = self;
    kr_blocks_gather(&c->m->b, block(c->m, c->planes, c->apart, i), c->apart, c->volume, i);
    return 0;
}

static int copy_out(void *self, long i)
{
    const struct copy *c = self;
    kr_blocks_scatter(&c->m->b, c->volume, block(c->m, c->planes, c->apart, i), c->apart, i);
    return 0;
}

/* F^H P y, in the unit in which `start` is meant: |y| = 100. */
static int take_data(struct model *m, const kr_array *y, const kr_array *mask, unsigned axes, double unit)
{
    kr_shape s = kr_shape_without(kr_array_shape(y), KR_ON(KR_COIL));
    kr_scoped(array) one = kr_array_new(KR_C32, s);
    kr_fft *F = one ? kr_fft_new(s, axes, KR_CENTRED) : NULL;
    int e = F ? 0 : kr_error_code();
    for (long c = 0; c < m->coils && !e; c++) {
        kr_scoped(array) coil = kr_array_at(y, KR_COIL, c);
        if (!coil) {
            e = kr_error_code();
            break;
        }
        kr_contract(one, coil, mask, false);
        kr_scale(one, (float)unit);
        kr_fft_inverse(F, KR_C(one));
        struct copy j = { m, m->data + c * m->block, m->coils * m->block, KR_C(one) };
        e = kr_for(m->b.count, copy_in, &j);
    }
    kr_fft_unref(&F);
    return e;
}

static int take_adjoint(struct model *m)
{
    kr_scoped(array) one = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(m->adj), KR_ON(KR_COIL)));
    int e = one ? 0 : kr_error_code();
    for (long c = 0; c < m->coils && !e; c++) {
        kr_scoped(array) coil = kr_array_at(m->adj, KR_COIL, c);
        if (!coil)
            return kr_error_code();
        kr_array_assign(one, coil);
        kr_scale(one, (float)m->unit);
        struct copy j = { m, m->data + c * m->block, m->coils * m->block, KR_C(one) };
        e = kr_for(m->b.count, copy_in, &j);
    }
    return e;
}

/* Samples: of what a trajectory gives, in the place of y and a mask; *T becomes the model's own. */
struct samples { const kr_array *b; double yy; kr_toeplitz **T; };

static kr_linop *model_of(struct model **model, const kr_array *y, const kr_array *mask, const struct samples *along, unsigned axes, long sets, double unit)
{
    struct model *m = kr_alloc_zero(1, sizeof *m);
    if (!m)
        return NULL;
    const long n[] = { y->n[KR_X], y->n[KR_Y], y->n[KR_Z], y->n[KR_COIL] };
    unsigned v = along ? space : varying(mask);
    if (along) {
        m->T = *along->T;
        *along->T = NULL;
        m->adj = along->b;
        m->yy = along->yy;
        m->unit = unit;
    }
    sizes(m, n, v, sets);
    size_t block = (size_t)m->block * sizeof(float);
    m->row.fft = kr_lanes_new(m->row.n);
    m->col.fft = m->row.fft ? kr_lanes_new(m->col.n) : NULL;
    m->out.fft = m->col.fft ? kr_lanes_new(m->out.n) : NULL;
    m->weight = kr_alloc((size_t)(m->box / 2), sizeof *m->weight);
    m->mixed = kr_alloc((size_t)(m->coils * m->sets * m->planes), (size_t)m->line * sizeof *m->mixed);
    m->misfit = kr_alloc((size_t)units(m), sizeof *m->misfit);
    m->part = kr_alloc((size_t)(m->groups * m->planes * m->sets), m->groups > 1 ? block : 1);
    m->data = kr_alloc((size_t)(m->planes * m->coils), block);
    bool fine = m->out.fft && m->weight && m->mixed && m->misfit && m->part && m->data && !(along ? take_adjoint(m) : take_data(m, y, mask, axes, unit));
    m->maps = fine ? kr_alloc((size_t)(m->planes * m->coils * m->sets), block) : NULL;
    m->mask = mask;
    if (v == space && m->maps) {
        kr_shape s = kr_shape_only(kr_array_shape(y), space);
        m->volume = kr_alloc((size_t)m->b.volume, sizeof *m->volume);
        m->g = kr_alloc((size_t)m->planes, block);
        m->turned = along ? kr_alloc((size_t)m->b.volume, sizeof *m->turned) : NULL;
        if (!along)
            m->F = m->volume && m->g ? kr_fft_new(s, space, KR_CENTRED) : NULL;
    } else if (m->maps)
        m->psf = kr_psf_new(v ? mask->data : NULL, m->row.n, mask->step[m->b.row], m->b.plane ? m->col.n : 1, mask->step[m->b.col]);
    if (!(m->psf || m->F || (m->turned && m->g && m->volume)) || rooms(m)) {
        destroy(m);
        return NULL;
    }
    weights(m);
    *model = m;
    kr_shape all = KR_SHAPE([KR_X] = (m->planes * m->sets * m->block + m->coils * m->sets * m->box) / 2);
    return kr_linop_new(&ops, KR_C32, all, all, m);
}

/* x += f of the images to start from: 1, and in further sets a wave, one period more each, so that no two of them see the data
 * alike: along Y where that is an axis of a plane, whichever way planes are gone through. Lanes beyond the columns stay 0. */
static void add_start(const struct model *m, float *x, double f)
{
    bool across = m->b.plane && m->b.col == KR_Y;
    for (long i = 0; i < m->planes * m->sets * m->panels; i++)
        for (long k = 0; k < m->row.n; k++) {
            float *row = x + (i * m->row.n + k) * KR_ROW;
            for (long l = 0, col = i % m->panels * KR_LANES; l < KR_LANES && col < m->col.n; l++, col++) {
                double at = across ? (double)col / (double)m->col.n : (double)k / (double)m->row.n, turn = 2 * M_PI * (double)(i / m->panels % m->sets) * at;
                row[l] += (float)(f * cos(turn));
                row[l + KR_LANES] += (float)(f * sin(turn));
            }
        }
}

/* sum over coils of conj(v_s) v_t */
static void inner(double sum[2], const struct model *m, const float *v, long s, long t)
{
    sum[0] = sum[1] = 0;
    for (long c = 0; c < m->coils; c++)
        for (long i = 0; i < m->box; i += KR_ROW)
            for (long l = i; l < i + KR_LANES; l++) {
                const float *a = v + (c * m->sets + s) * m->box + l, *b = v + (c * m->sets + t) * m->box + l;
                sum[0] += (double)a[0] * (double)b[0] + (double)a[KR_LANES] * (double)b[KR_LANES];
                sum[1] += (double)a[0] * (double)b[KR_LANES] - (double)a[KR_LANES] * (double)b[0];
            }
}

/* y += f x, complex, in panels. */
static void add_times(float *y, const double f[2], const float *x, long floats)
{
    float re = (float)f[0], im = (float)f[1];
    for (long i = 0; i < floats; i += KR_ROW)
        for (long l = i; l < i + KR_LANES; l++) {
            y[l] += re * x[l] - im * x[l + KR_LANES];
            y[l + KR_LANES] += re * x[l + KR_LANES] + im * x[l];
        }
}

/* Sets whose maps are alike would stay alike. v_t = v_t' + f v_s becomes v_t', orthogonal to v_s; x_s + f x_t for x_s leaves the
 * product what it was (Holme et al. leave x_s as it is, and the misfit jumps). */
static void orthogonal(const struct model *m, float *z)
{
    float *v = z + m->planes * m->sets * m->block;
    for (long t = 1; t < m->sets; t++)
        for (long s = 0; s < t; s++) {
            double ss[2], st[2];
            inner(ss, m, v, s, s);
            inner(st, m, v, s, t);
            if (!(ss[0] > 0))
                continue;
            const double f[2] = { st[0] / ss[0], st[1] / ss[0] }, less[2] = { -f[0], -f[1] };
            for (long c = 0; c < m->coils; c++)
                add_times(v + (c * m->sets + t) * m->box, less, v + (c * m->sets + s) * m->box, m->box);
            for (long o = 0; o < m->planes; o++)
                add_times(z + (o * m->sets + s) * m->block, f, z + (o * m->sets + t) * m->block, m->block);
        }
}

static int newton(kr_array *z, const kr_linop *D, struct model *m, const kr_joint_opts *o, const kr_trace *trace)
{
    kr_scoped(array) dz = kr_array_like(z);
    kr_scoped(array) b = kr_array_like(z);
    if (!dz || !b)
        return kr_error_code();
    add_start(m, z->data, 1);
    double a = o->start, before = 0;
    bool falls = false;
    int k = 0, inner = 0;
    for (; k < o->steps; k++, a *= o->fall) {
        run(m, b->data, z->data, GRADIENT);
        double rr = 0;
        for (long u = 0; u < units(m); u++)
            rr += m->misfit[u];
        falls = falls || (k && sqrt(rr) < BEGUN * before);
        bool settled = falls && o->settle > 0 && inner >= FEW && sqrt(rr) > o->settle * before;
        before = sqrt(rr);
        if (settled)
            break;
        kr_axpy(b, (float)-a, z);                                    /* b = DG^H (y - G(z)) + a (z0 - z) */
        add_start(m, b->data, a * o->image);
        kr_fill(dz, 0);
        double enough = o->tolerance * o->tolerance * kr_norm(b);    /* of |b| */
        inner = kr_cg_normal(D, dz, b, (float)a, (kr_stop){ o->iterations, enough < ONE_STEP ? enough : ONE_STEP }, trace);
        if (inner < 0)
            return inner;
        kr_axpy(z, 1, dz);
        orthogonal(m, z->data);
        kr_say(trace, KR_DETAIL, "step %d, a %.3g, |y - G(z)| %.4g of |y|, %d inner steps", k + 1, a, sqrt(rr) / 100, inner);
        kr_progress(trace, "coils and image", k + 1, o->steps);
    }
    if (o->taken)
        *o->taken = k;
    if (o->misfit)
        *o->misfit = before / 100;
    run(m, NULL, z->data, MAPS);
    return 0;
}

struct compose { const struct model *m; float *x; float scale; };

/* Root of the sum over coils of |sum over s of x_s c_s|^2, with the phase of that sum as the first set's maps combine it. Into x_0. */
static int compose(void *self, long i)
{
    const struct compose *j = self;
    const struct model *m = j->m;
    long plane = i / m->panels, at = i % m->panels * m->row.n * KR_ROW;
    float *x = j->x + plane * m->sets * m->block + at;
    for (long k = 0; k < m->row.n * KR_ROW; k += KR_ROW)
        for (long l = k; l < k + KR_LANES; l++) {
            float all = 0, re = 0, im = 0;
            for (long c = 0; c < m->coils; c++) {
                float yr = 0, yi = 0;
                const float *first = map_of(m, plane, c, 0) + at + l;
                for (long s = 0; s < m->sets; s++) {
                    const float *map = first + s * m->block, *xs = x + s * m->block + l;
                    yr += xs[0] * map[0] - xs[KR_LANES] * map[KR_LANES];
                    yi += xs[0] * map[KR_LANES] + xs[KR_LANES] * map[0];
                }
                all += yr * yr + yi * yi;
                re += first[0] * yr + first[KR_LANES] * yi;
                im += first[0] * yi - first[KR_LANES] * yr;
            }
            float size = sqrtf(re * re + im * im), f = j->scale * sqrtf(all);
            x[l] = size > 0 ? f * re / size : f;
            x[l + KR_LANES] = size > 0 ? f * im / size : 0;
        }
    return 0;
}

/* Maps over the root of the sum over coils of |c|^2. */
static int unit_size(void *self, long i)
{
    const struct model *m = ((const struct compose *)self)->m;
    long at = i % m->panels * m->row.n * KR_ROW;
    for (long s = 0; s < m->sets; s++)
        for (long k = at; k < at + m->row.n * KR_ROW; k += KR_ROW)
            for (long l = k; l < k + KR_LANES; l++) {
                float sum = 0;
                for (long c = 0; c < m->coils; c++) {
                    const float *map = map_of(m, i / m->panels, c, s) + l;
                    sum += map[0] * map[0] + map[KR_LANES] * map[KR_LANES];
                }
                float f = sum > 0 ? 1 / sqrtf(sum) : 0;
                for (long c = 0; c < m->coils; c++) {
                    float *map = map_of(m, i / m->panels, c, s) + l;
                    map[0] *= f;
                    map[KR_LANES] *= f;
                }
            }
    return 0;
}

static int results(kr_array *image, kr_array *maps, struct model *m, kr_array *z, double unit)
{
    struct compose j = { m, z->data, (float)(1 / unit) };
    struct copy c = { m, z->data, m->sets * m->block, KR_C(image) };
    int e = kr_for(m->planes * m->panels, compose, &j);
    if (!e)
        e = kr_for(m->b.count, copy_out, &c);
    if (!maps || e)
        return e;
    e = kr_for(m->planes * m->panels, unit_size, &j);
    for (long i = 0; i < m->coils * m->sets && !e; i++) {
        long coil = i % m->coils, set = i / m->coils;
        struct copy d = { m, map_of(m, 0, coil, set), m->coils * m->sets * m->block, KR_C(maps) + i * m->b.volume };
        e = kr_for(m->b.count, copy_out, &d);
    }
    return e;
}

int kr_joint(kr_array *image, kr_array *maps, const kr_array *y, const kr_array *mask, unsigned axes, const kr_joint_opts *o, const kr_trace *trace)
{
    kr_assert(kr_array_contiguous(image) && kr_array_contiguous(mask) && (!maps || kr_array_contiguous(maps)));
    double size = kr_norm(y);
    if (!(size > 0) || !isfinite(size))
        return kr_fail(KR_ENUMBER, "the data are all zero or not finite");
    struct model *m = NULL;
    kr_scoped(linop) D = model_of(&m, y, mask, NULL, axes, o->sets, 100 / size);
    kr_scoped(array) z = D ? kr_array_new(KR_C32, kr_linop_domain(D)) : NULL;
    int e = z ? newton(z, D, m, o, trace) : kr_error_code();
    return e ? e : results(image, maps, m, z, 100 / size);
}

/* A^H W y of every coil, and |y|^2 with W. */
static int grid(kr_array *b, double *yy, const kr_array *y, const float *const k[3], const float *w, const long n[3], long points, double tolerance)
{
    long coils = b->n[KR_COIL];
    kr_auto kr_cfloat *weighed = kr_alloc((size_t)(points * coils), sizeof *weighed);
    kr_nufft *p = weighed ? kr_nufft_new(n, points, k, coils, tolerance) : NULL;
    if (!p)
        return kr_error_code();
    *yy = 0;
    for (long i = 0; i < points * coils; i++) {
        weighed[i] = KR_C(y)[i] * w[i % points];
        *yy += (double)(w[i % points] * kr_cabs2(KR_C(y)[i]));
    }
    kr_nufft_adjoint(p, KR_C(b), weighed, coils);
    kr_nufft_unref(&p);
    return 0;
}

int kr_joint_along(kr_array *image, kr_array *maps, const kr_array *y, const kr_array *traj, const kr_array *weights, const kr_joint_opts *o, const kr_trace *trace)
{
    static const double TOLERANCE = 1e-5;                            /* the misfit is a difference of squares */
    kr_assert(kr_array_contiguous(image) && kr_array_contiguous(y) && kr_array_contiguous(traj) && kr_array_contiguous(weights));
    const long n[3] = { image->n[KR_X], image->n[KR_Y], image->n[KR_Z] };
    long points = y->n[KR_SAMPLE] * y->n[KR_VIEW], dims = traj->n[KR_CHAN];
    if (kr_count(kr_array_shape(traj)) != points * dims || kr_count(kr_array_shape(weights)) != points)
        return kr_fail(KR_ESHAPE, "a trajectory %s with weights %s for data %s", kr_shape_text(kr_array_shape(traj)), kr_shape_text(kr_array_shape(weights)), kr_shape_text(kr_array_shape(y)));
    const float *k[3] = { KR_R(traj), KR_R(traj) + points, dims == 3 ? KR_R(traj) + 2 * points : NULL };
    kr_scoped(array) b = kr_array_new(KR_C32, KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = y->n[KR_COIL]));
    kr_toeplitz *T = b ? kr_toeplitz_new(n, 1) : NULL;
    struct samples along = { b, 0, &T };
    struct model *m = NULL;
    kr_linop *D = NULL;
    int e = T ? grid(b, &along.yy, y, k, KR_R(weights), n, points, TOLERANCE) : kr_error_code();
    if (!e && (!(along.yy > 0) || !isfinite(along.yy)))
        e = kr_fail(KR_ENUMBER, "the data are all zero or not finite");
    e = e ? e : kr_toeplitz_add(T, points, k, KR_R(weights), TOLERANCE);
    double unit = 100 / sqrt(along.yy);
    if (!e)
        D = model_of(&m, b, NULL, &along, 0, o->sets, unit);
    kr_scoped(array) z = D ? kr_array_new(KR_C32, kr_linop_domain(D)) : NULL;
    e = e ? e : z ? newton(z, D, m, o, trace) : kr_error_code();
    e = e ? e : results(image, maps, m, z, unit);
    kr_linop_unref(&D);
    kr_toeplitz_unref(&T);
    return e;
}

double kr_joint_bytes(kr_shape y, long sets)
{
    struct model m = { 0 };
    long n[4];
    for (int d = 0; d < 3; d++)
        n[d] = y.n[d] ? y.n[d] : 1;
    n[3] = y.n[KR_COIL] ? y.n[KR_COIL] : 1;
    sizes(&m, n, 0, sets);
    double volume = (double)(m.planes * m.block), s = (double)sets, coils = (double)m.coils;
    return sizeof(float) * (volume * (coils * (1 + s) + s * (double)(6 + m.groups - 1)) + coils * s * (7 * (double)m.box + (double)(m.planes * m.line)));
}
