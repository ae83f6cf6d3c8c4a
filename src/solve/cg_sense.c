/* cg_sense.c: CG-SENSE in blocks.
 *
 * The normal operator S^H F^H P F S mixes only points that differ along axes on which P varies. A mask of phase-encoding
 * lines leaves every x on its own: sixteen neighbouring x are one panel (lanes.h), and all iterations of a panel run with
 * its coil maps in the second-level cache. A mask over a plane leaves the planes across the third axis; what is done in a
 * plane is described in lanes.c. Conjugate gradients on a block diagonal matrix may as well run block by block, each with
 * step lengths of its own: it then converges at least as fast. Letters: Hestenes and Stiefel 1952. */
#include "kray/lanes.h"
#include "kray/solve.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { GROUPS = 8,                    /* parts of the sum over coils where one plane is all there is           */
       SLAB = 8 };                    /* planes across X taken at a time: one cache line of complex numbers     */
struct solver {
    kr_psf *psf;
    const kr_cfloat *coils;
    kr_cfloat *x;
    long coil, map, volume;
    int row, col, out;                /* axes: along the rows of a panel, across its lanes, from block to block */
    long n[3], step[3];
    bool plane;                       /* one problem per plane, or one per lane                                */
    long floats, slab, blocks, groups;
    float lambda;
    kr_stop stop;
    double share;                     /* of |b|^2: what one problem has on average                             */
    const kr_trace *trace;
    struct room **room;               /* per worker                                                            */
    atomic_int most;                  /* iterations of any block                                               */
};
struct room {
    float turn[SLAB * KR_ROW];        /* a row of each plane of a slab; first, hence aligned                   */
    float *maps;                      /* per plane of the slab, coil and map: a block                          */
    float *x, *r, *p, *z;             /* per map: a block; x per plane of the slab too                         */
    float *work, *part;               /* per group                                                             */
};

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

static unsigned varying(kr_shape mask)
{
    unsigned v = 0;
    for (int d = 0; d < KR_AXES; d++)
        if (mask.n[d] > 1)
            v |= KR_ON(d);
    return v;
}

bool kr_cg_sense_can(kr_shape mask, unsigned axes)
{
    unsigned v = varying(mask);
    return !(v & ~(axes & space)) && v != space;
}

/* ---- Between arrays and blocks ---- */
struct place { long lines, at; };
static long panels(const struct solver *s) { return s->plane ? (s->n[s->col] + KR_LANES - 1) / KR_LANES : 1; }

/* Where panel a of a block begins, and how many lines it has. A block of lines is one panel, named by its number. */
static struct place panel(const struct solver *s, long block, long a)
{
    long per = s->plane ? 1 : (s->n[s->col] + KR_LANES - 1) / KR_LANES;
    long first = (s->plane ? a : block % per) * KR_LANES, left = s->n[s->col] - first;
    return (struct place){ left < KR_LANES ? left : KR_LANES, first * s->step[s->col] + block / per * s->slab * s->step[s->out] };
}

static long planes(const struct solver *s, long block)               /* of a slab, the last may have fewer */
{
    long left = s->n[s->out] - block * s->slab;
    return s->slab == 1 ? 1 : left < s->slab ? left : s->slab;
}

static void gather(const struct solver *s, struct room *w, float *to, long apart, const kr_cfloat *from, long block)
{
    long rows = s->n[s->row];
    for (long a = 0; a < panels(s); a++) {
        struct place at = panel(s, block, a);
        if (s->slab == 1) {
            kr_lanes_load(to + a * rows * KR_ROW, from + at.at, s->step[s->col], s->step[s->row], rows, at.lines);
            continue;
        }
        for (long k = 0; k < rows; k++) {                             /* planes across X: a row of each at a time */
            kr_lanes_load(w->turn, from + at.at + k * s->step[s->row], s->step[s->col], 1, planes(s, block), at.lines);
            for (long i = 0; i < planes(s, block); i++)
                memcpy(to + i * apart + (a * rows + k) * KR_ROW, w->turn + i * KR_ROW, KR_ROW * sizeof *to);
        }
    }
}

static void scatter(const struct solver *s, struct room *w, kr_cfloat *to, const float *from, long apart, long block)
{
    long rows = s->n[s->row];
    for (long a = 0; a < panels(s); a++) {
        struct place at = panel(s, block, a);
        if (s->slab == 1) {
            kr_lanes_store(to + at.at, s->step[s->col], s->step[s->row], from + a * rows * KR_ROW, rows, at.lines);
            continue;
        }
        for (long k = 0; k < rows; k++) {
            for (long i = 0; i < planes(s, block); i++)
                memcpy(w->turn + i * KR_ROW, from + i * apart + (a * rows + k) * KR_ROW, KR_ROW * sizeof *from);
            kr_lanes_store(to + at.at + k * s->step[s->row], s->step[s->col], 1, w->turn, planes(s, block), at.lines);
        }
    }
}

/* ---- z = A^H A p + lambda p of one block ---- */
struct sum { const struct solver *s; struct room *w; const float *maps; float *z; const float *p; };

static int group(void *self, long g)
{
    const struct sum *j = self;
    const struct solver *s = j->s;
    long block = s->map * s->floats;
    float *part = g ? j->w->part + (g - 1) * block : j->z;
    kr_lanes_scaled(part, g ? 0 : s->lambda, j->p, block / KR_ROW);
    long from = g * s->coil / s->groups, to = (g + 1) * s->coil / s->groups;
    kr_psf_sense(s->psf, part, j->maps + from * block, j->p, to - from, s->map, j->w->work + g * kr_psf_work(s->psf));
    return 0;
}

static int add_parts(void *self, long a)                              /* panel by panel, the parts in order */
{
    const struct sum *j = self;
    long rows = j->s->n[j->s->row], block = j->s->map * j->s->floats;
    float one[KR_LANES];
    for (int k = 0; k < KR_LANES; k++)
        one[k] = 1;
    for (long g = 1; g < j->s->groups; g++)
        kr_lanes_turn(j->z + a * rows * KR_ROW, j->w->part + (g - 1) * block + a * rows * KR_ROW, one, rows);
    return 0;
}

static int normal(const struct solver *s, struct room *w, const float *maps, float *z, const float *p)
{
    struct sum j = { s, w, maps, z, p };
    int e = kr_for(s->groups, group, &j);
    return e || s->groups == 1 ? e : kr_for(s->map * panels(s), add_parts, &j);
}

/* One number a lane becomes one for all, where lanes are one problem; added in their order. */
static void together(const struct solver *s, double sum[KR_LANES])
{
    double all = 0;
    for (int k = 0; k < KR_LANES; k++)
        all += sum[k];
    for (int k = 0; k < KR_LANES && s->plane; k++)
        sum[k] = all;
}

static int solve(struct solver *s, struct room *w, const float *maps, float *x)
{
    long rows = s->map * s->floats / KR_ROW, block = s->map * s->floats;
    double rr[KR_LANES] = { 0 }, enough = s->stop.tolerance * s->stop.tolerance * s->share;
    memcpy(w->r, x, (size_t)block * sizeof *x);                       /* x = 0, r = p = b        */
    memcpy(w->p, x, (size_t)block * sizeof *x);
    memset(x, 0, (size_t)block * sizeof *x);
    kr_lanes_dot(w->r, w->r, rows, rr);
    together(s, rr);
    int k = 0;
    for (; k < s->stop.iterations; k++) {
        bool more = false;
        for (int j = 0; j < KR_LANES; j++) {
            if (!isfinite(rr[j]))
                return kr_fail(KR_ENUMBER, "conjugate gradients: numbers are not finite after %d iterations", k);
            more |= rr[j] > enough && rr[j] > 0;
        }
        if (!more)
            break;
        int e = kr_stopped(s->trace);
        e = e ? e : normal(s, w, maps, w->z, w->p);                   /* z = A^H A p + lambda p  */
        if (e)
            return e;
        double pz[KR_LANES] = { 0 }, rr1[KR_LANES] = { 0 };
        float alpha[KR_LANES], beta[KR_LANES];
        kr_lanes_dot(w->p, w->z, rows, pz);
        together(s, pz);
        for (int j = 0; j < KR_LANES; j++)                            /* a lane that has arrived, or of zeros, rests */
            alpha[j] = pz[j] > 0 && rr[j] > enough ? (float)(rr[j] / pz[j]) : 0;
        kr_lanes_step(x, w->r, w->p, w->z, alpha, rows, rr1);         /* x = x + alpha p, r = r - alpha z */
        together(s, rr1);
        for (int j = 0; j < KR_LANES; j++) {
            beta[j] = alpha[j] > 0 ? (float)(rr1[j] / rr[j]) : 0;
            rr[j] = alpha[j] > 0 ? rr1[j] : 0;
        }
        kr_lanes_turn(w->p, w->r, beta, rows);                        /* p = r + beta p          */
    }
    return k;
}

static struct room *room_of(struct solver *s)
{
    struct room **at = &s->room[kr_worker()], *w = *at ? *at : kr_alloc_zero(1, sizeof *w);
    if (!w || *at)
        return w;
    size_t block = (size_t)(s->map * s->floats) * sizeof(float), groups = (size_t)s->groups;
    *at = w;
    w->maps = kr_alloc((size_t)(s->slab * s->coil), block);
    w->x = kr_alloc((size_t)s->slab, block);
    w->r = kr_alloc(1, block);
    w->p = kr_alloc(1, block);
    w->z = kr_alloc(1, block);
    w->work = kr_alloc(groups, (size_t)kr_psf_work(s->psf) * sizeof(float));
    w->part = kr_alloc(groups, groups > 1 ? block : 1);
    return w->maps && w->x && w->r && w->p && w->z && w->work && w->part ? w : NULL;
}

static int one_block(void *self, long b)
{
    struct solver *s = self;
    struct room *w = room_of(s);
    if (!w)
        return kr_error_code();
    long block = s->map * s->floats;
    for (long c = 0; c < s->coil; c++)
        for (long m = 0; m < s->map; m++)
            gather(s, w, w->maps + c * block + m * s->floats, s->coil * block, s->coils + (c + m * s->coil) * s->volume, b);
    for (long m = 0; m < s->map; m++)
        gather(s, w, w->x + m * s->floats, block, s->x + m * s->volume, b);
    for (long i = 0; i < planes(s, b); i++) {
        int k = solve(s, w, w->maps + i * s->coil * block, w->x + i * block);
        if (k < 0)
            return k;
        int top = atomic_load(&s->most);
        while (k > top && !atomic_compare_exchange_weak(&s->most, &top, k))
            ;
    }
    for (long m = 0; m < s->map; m++)
        scatter(s, w, s->x + m * s->volume, w->x + m * s->floats, block, b);
    return 0;
}

/* Which axis plays which part. X, along which memory runs, is the lanes or, in planes across it, the slabs. */
static void parts(struct solver *s, kr_shape coils, kr_shape mask)
{
    unsigned v = varying(mask);
    bool on[3] = { v & KR_ON(KR_X), v & KR_ON(KR_Y), v & KR_ON(KR_Z) };
    s->coil = coils.n[KR_COIL] ? coils.n[KR_COIL] : 1;
    s->map = coils.n[KR_MAP] ? coils.n[KR_MAP] : 1;
    s->volume = 1;
    for (int d = 0; d < 3; d++) {
        s->n[d] = coils.n[d] ? coils.n[d] : 1;
        s->step[d] = s->volume;
        s->volume *= s->n[d];
    }
    s->plane = on[0] + on[1] + on[2] == 2;
    if (s->plane) {
        s->out = !on[0] ? KR_X : !on[1] ? KR_Y : KR_Z;
        s->col = on[0] ? KR_X : KR_Y;
    } else {
        s->col = on[0] ? KR_Y : KR_X;
        s->out = on[2] ? KR_Y : KR_Z;
    }
    s->row = 3 - s->col - s->out;
    s->slab = s->plane && s->out == KR_X ? SLAB : 1;
    s->groups = s->plane && s->slab == 1 ? (s->coil < GROUPS ? s->coil : GROUPS) : 1;
    s->blocks = s->plane ? (s->n[s->out] + s->slab - 1) / s->slab : (s->n[s->col] + KR_LANES - 1) / KR_LANES * s->n[s->out];
    s->floats = (s->plane ? (s->n[s->col] + KR_LANES - 1) / KR_LANES : 1) * s->n[s->row] * KR_ROW;
}

static void drop(struct solver *s)
{
    for (int i = 0; s->room && i < kr_threads(); i++) {
        struct room *w = s->room[i];
        if (w) {
            kr_free(w->maps);
            kr_free(w->x);
            kr_free(w->r);
            kr_free(w->p);
            kr_free(w->z);
            kr_free(w->work);
            kr_free(w->part);
        }
        kr_free(w);
    }
    kr_free(s->room);
    kr_psf_unref(&s->psf);
}

double kr_cg_sense_bytes(kr_shape coils, kr_shape mask)
{
    struct solver s = { 0 };
    parts(&s, coils, mask);
    double block = (double)(s.map * s.floats) * sizeof(float), groups = (double)s.groups;
    double room = block * (double)(s.slab * (s.coil + 1) + 3) + 2 * groups * block;
    return room * (double)(s.blocks < kr_threads() ? s.blocks : kr_threads());
}

int kr_cg_sense(kr_array *x, const kr_array *coils, const kr_array *mask, unsigned axes, float lambda, kr_stop stop,
                const kr_trace *trace)
{
    kr_shape shape = mask ? kr_array_shape(mask) : (kr_shape){ 0 };
    kr_assert(kr_array_contiguous(x) && kr_array_contiguous(coils) && kr_cg_sense_can(shape, axes));
    struct solver s = { .coils = coils->data, .x = x->data, .lambda = lambda, .stop = stop, .trace = trace };
    parts(&s, kr_array_shape(coils), shape);
    kr_scoped(array) m = mask ? kr_array_packed(mask) : NULL;
    if (mask && !m)
        return kr_error_code();
    s.psf = kr_psf_new(m ? m->data : NULL, s.n[s.row], m ? m->step[s.row] : 0, s.plane ? s.n[s.col] : 1, m ? m->step[s.col] : 0);
    s.room = s.psf ? kr_alloc_zero((size_t)kr_threads(), sizeof *s.room) : NULL;
    double bb = kr_dot_re(x, x);
    s.share = bb / (double)(s.plane ? s.n[s.out] : s.n[s.col] * s.n[s.out]);
    int e = !s.room ? kr_error_code() : !isfinite(bb) ? kr_fail(KR_ENUMBER, "conjugate gradients: the data hold numbers that are not finite")
          : kr_for(s.blocks, one_block, &s);
    drop(&s);
    return e ? e : atomic_load(&s.most);
}
