/* cg_sense.c: CG-SENSE in blocks.
 *
 * The normal operator S^H F^H P F S mixes only points that differ along axes on which P varies. A mask of phase-encoding
 * lines leaves every x on its own: sixteen neighbouring x are one panel (lanes.h), and all iterations of a panel run with
 * its coil maps in the second-level cache. A mask over a plane leaves the planes across the third axis; what is done in a
 * plane is described in lanes.c. Conjugate gradients on a block diagonal matrix may as well run block by block, each with
 * step lengths of its own: it then converges at least as fast. Letters: Hestenes and Stiefel 1952.
 *
 * b = A^H y is made block by block too. Where axes that the mask does not touch still are in k-space, the lines that were
 * measured, and only those, are first transformed along them into a hybrid space of their own. */
#include "kray/fourier.h"
#include "kray/lanes.h"
#include "kray/solve.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum back { WHOLE, LINES, PLANE, PLANES };   /* how b is made: by kr_op_sense, or as kr_psf_back_...         */
enum { GROUPS = 8 };                  /* parts of the sum over coils where one plane is all there is           */
struct solver {
    kr_psf *psf;
    const kr_cfloat *coils;
    kr_cfloat *x;
    kr_blocks b;
    long coil, map, groups;
    float lambda;
    kr_stop stop;
    double share;                     /* |A|^2 |P y|^2, an upper bound of |b|^2: what one problem has on average */
    enum back back;
    const kr_cfloat *y;               /* k-space or hybrid space; how far to the next coil, block and point    */
    long y_coil, y_out, y_step;
    int *at;                          /* where each point of the block begins, in y_step                       */
    kr_array *hybrid;
    const kr_trace *trace;
    struct room **room;               /* per worker                                                            */
    double *xb;                       /* of each plane of each block: Re <x, b>                                */
    atomic_int most;                  /* iterations of any block                                               */
};
struct room {
    float *maps;                      /* per plane of the slab, coil and map: a block                          */
    float *x, *r, *p, *z;             /* per map: a block; x per plane of the slab too                         */
    float *work, *part;               /* per group; work at least what A^H y wants                             */
    double *sum;                      /* per panel                                                             */
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

/* ---- One block: z = A^H A p + lambda p, and what conjugate gradients do with it ---- */
struct part { const struct solver *s; struct room *w; const float *maps; float *x; const float *a; enum { ADD, STEP, TURN } what; };

static int group(void *self, long g)                                  /* some coils of z */
{
    const struct part *j = self;
    const struct solver *s = j->s;
    long block = s->map * s->b.floats;
    float *part = g ? j->w->part + (g - 1) * block : j->w->z;
    kr_lanes_scaled(part, g ? 0 : s->lambda, j->w->p, block / KR_ROW);
    long from = g * s->coil / s->groups, to = (g + 1) * s->coil / s->groups;
    kr_psf_sense(s->psf, part, j->maps + from * block, j->w->p, to - from, s->map, j->w->work + g * kr_psf_work(s->psf, 1));
    return 0;
}

static int one_panel(void *self, long a)                              /* some rows of the vectors, and their part of a sum */
{
    static const float one[KR_LANES] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const struct part *j = self;
    const struct solver *s = j->s;
    struct room *w = j->w;
    long rows = s->b.n[s->b.row], at = a * rows * KR_ROW;
    double *sum = w->sum + a * KR_LANES;
    memset(sum, 0, KR_LANES * sizeof *sum);
    switch (j->what) {
    case ADD:                                                         /* the groups of z in their order, and Re <p, z> */
        for (long g = 1; g < s->groups; g++)
            kr_lanes_turn(w->z + at, w->part + (g - 1) * s->map * s->b.floats + at, one, rows);
        kr_lanes_dot(w->p + at, w->z + at, rows, sum);
        break;
    case STEP:                                                        /* x = x + a p, r = r - a z, |r|^2    */
        kr_lanes_step(j->x + at, w->r + at, w->p + at, w->z + at, j->a, rows, sum);
        break;
    case TURN:                                                        /* p = r + a p                        */
        kr_lanes_turn(w->p + at, w->r + at, j->a, rows);
    }
    return 0;
}

/* Panel by panel; the sums of the panels are added in their order, and those of the lanes too where lanes are one problem. */
static int each_panel(struct part *j, double sum[KR_LANES])
{
    const struct solver *s = j->s;
    long n = s->map * s->b.panels;
    int e = kr_for(n, one_panel, j);
    double all = 0;
    for (int k = 0; k < KR_LANES; k++) {
        sum[k] = 0;
        for (long a = 0; a < n; a++)
            sum[k] += j->w->sum[a * KR_LANES + k];
        all += sum[k];
    }
    for (int k = 0; k < KR_LANES && s->b.plane; k++)
        sum[k] = all;
    return e;
}

/* x holds b and becomes the solution. Returns the iterations; *xb += Re <x, b>, to which each step adds alpha |r|^2. */
static int solve(const struct solver *s, struct room *w, const float *maps, float *x, double *xb)
{
    long block = s->map * s->b.floats;
    double rr[KR_LANES], rr1[KR_LANES], pz[KR_LANES], enough = s->stop.tolerance * s->stop.tolerance * s->share;
    float alpha[KR_LANES] = { 0 }, beta[KR_LANES];
    struct part j = { s, w, maps, x, alpha, STEP };
    memcpy(w->r, x, (size_t)block * sizeof *x);                       /* x = 0, r = p = b        */
    memcpy(w->p, x, (size_t)block * sizeof *x);
    memset(x, 0, (size_t)block * sizeof *x);
    memset(w->z, 0, (size_t)block * sizeof *x);
    int e = each_panel(&j, rr), k = 0;
    for (; k < s->stop.iterations && !e; k++) {
        bool more = false;
        for (int l = 0; l < KR_LANES; l++) {
            if (!isfinite(rr[l]))
                return kr_fail(KR_ENUMBER, "conjugate gradients: numbers are not finite after %d iterations", k);
            more |= rr[l] > enough && rr[l] > 0;
        }
        if (!more)
            break;
        e = kr_stopped(s->trace);
        e = e ? e : kr_for(s->groups, group, &j);                     /* z = A^H A p + lambda p  */
        j.what = ADD;
        e = e ? e : each_panel(&j, pz);
        for (int l = 0; l < KR_LANES; l++)                            /* a lane that has arrived, or of zeros, rests */
            alpha[l] = pz[l] > 0 && rr[l] > enough ? (float)(rr[l] / pz[l]) : 0;
        for (int l = 0; l < (s->b.plane ? 1 : KR_LANES); l++)
            *xb += (double)alpha[l] * rr[l];
        j.what = STEP;
        j.a = alpha;
        e = e ? e : each_panel(&j, rr1);                              /* x = x + alpha p, r = r - alpha z */
        for (int l = 0; l < KR_LANES; l++) {
            beta[l] = alpha[l] > 0 ? (float)(rr1[l] / rr[l]) : 0;
            rr[l] = alpha[l] > 0 ? rr1[l] : 0;
        }
        j.what = TURN;
        j.a = beta;
        e = e ? e : kr_for(s->map * s->b.panels, one_panel, &j);        /* p = r + beta p          */
    }
    return e ? e : k;
}

static struct room *room_of(struct solver *s)
{
    struct room **at = &s->room[kr_worker()], *w = *at ? *at : kr_alloc_zero(1, sizeof *w);
    if (!w || *at)
        return w;
    size_t block = (size_t)(s->map * s->b.floats) * sizeof(float), groups = (size_t)s->groups;
    *at = w;
    w->maps = kr_alloc((size_t)(s->b.slab * s->coil), block);
    w->x = kr_alloc((size_t)s->b.slab, block);
    w->r = kr_alloc(1, block);
    w->p = kr_alloc(1, block);
    w->z = kr_alloc(1, block);
    w->work = kr_alloc(groups, (size_t)kr_psf_work(s->psf, s->b.slab) * sizeof(float));
    w->part = kr_alloc(groups, groups > 1 ? block : 1);
    w->sum = kr_alloc((size_t)(s->map * s->b.panels), KR_LANES * sizeof *w->sum);
    return w->maps && w->x && w->r && w->p && w->z && w->work && w->part && w->sum ? w : NULL;
}

/* b = A^H y of the planes or lines of one block. */
static void start(const struct solver *s, struct room *w, long b)
{
    long block = s->map * s->b.floats, per = s->b.plane ? 1 : (s->b.n[s->b.col] + KR_LANES - 1) / KR_LANES;
    memset(w->x, 0, (size_t)(kr_blocks_planes(&s->b, b) * block) * sizeof *w->x);
    for (long c = 0; c < s->coil; c++) {
        const kr_cfloat *y = s->y + c * s->y_coil + b / per * s->y_out;
        const float *S = w->maps + c * block;
        if (s->back == LINES)
            kr_psf_back_lines(s->psf, w->x, S, y + b % per * KR_LANES, s->at, s->y_step, kr_blocks_lines(&s->b, b), s->map, w->work);
        else if (s->back == PLANE)
            kr_psf_back_plane(s->psf, w->x, S, y, s->y_step, s->map, w->work);
        else
            kr_psf_back_planes(s->psf, w->x, block, S, s->coil * block, y, s->at, s->y_step, kr_blocks_planes(&s->b, b), s->map, w->work);
    }
}

static int one_block(void *self, long b)
{
    struct solver *s = self;
    struct room *w = room_of(s);
    if (!w)
        return kr_error_code();
    long block = s->map * s->b.floats;
    for (long c = 0; c < s->coil; c++)
        for (long m = 0; m < s->map; m++)
            kr_blocks_gather(&s->b, w->maps + c * block + m * s->b.floats, s->coil * block, s->coils + (c + m * s->coil) * s->b.volume, b);
    if (s->back == WHOLE)
        for (long m = 0; m < s->map; m++)
            kr_blocks_gather(&s->b, w->x + m * s->b.floats, block, s->x + m * s->b.volume, b);
    else
        start(s, w, b);
    for (long i = 0; i < kr_blocks_planes(&s->b, b); i++) {
        int k = solve(s, w, w->maps + i * s->coil * block, w->x + i * block, &s->xb[b * s->b.slab + i]);
        if (k < 0)
            return k;
        int top = atomic_load(&s->most);
        while (k > top && !atomic_compare_exchange_weak(&s->most, &top, k))
            ;
    }
    for (long m = 0; m < s->map; m++)
        kr_blocks_scatter(&s->b, s->x + m * s->b.volume, w->x + m * s->b.floats, block, b);
    return 0;
}

/* ---- Where y comes from ---- */
struct copy { const struct solver *s; const kr_cfloat *y; kr_cfloat *to; const long *from; long points; };

static int copy_lines(void *self, long i)                             /* coil and block i: the lines along X that were measured */
{
    const struct copy *j = self;
    const struct solver *s = j->s;
    long nx = s->b.n[KR_X], outs = s->b.plane ? 1 : s->b.n[s->b.out];
    const kr_cfloat *y = j->y + i / outs * s->b.volume + i % outs * s->b.step[s->b.out];
    for (long k = 0; k < j->points; k++)
        memcpy((void *)(j->to + (i * j->points + k) * nx), (const void *)(y + j->from[k]), (size_t)nx * sizeof *y);
    return 0;
}

/* Points of a block are lines along X of y. If axes outside the mask are still in k-space, those measured are copied, and
 * transformed along these axes. */
static int points(struct solver *s, const kr_array *y, const kr_array *mask, unsigned axes)
{
    long columns = s->b.plane ? s->b.n[s->b.col] : 1, all = s->b.n[s->b.row] * columns, nx = s->b.n[KR_X], outs = s->b.plane ? 1 : s->b.n[s->b.out], count = 0;
    bool along_x = axes & KR_ON(KR_X) && nx > 1, along_out = !s->b.plane && axes & KR_ON(s->b.out) && outs > 1, hybrid = along_x || along_out;
    kr_auto long *from = kr_alloc((size_t)all, sizeof *from);
    s->at = kr_alloc((size_t)all, sizeof *s->at);
    if (!from || !s->at)
        return kr_error_code();
    for (long i = 0; i < all; i++) {
        long r = i / columns, c = i % columns, begins = r * s->b.step[s->b.row] + (s->b.plane ? c * s->b.step[s->b.col] : 0);
        bool measured = ((const float *)mask->data)[r * mask->step[s->b.row] + (s->b.plane ? c * mask->step[s->b.col] : 0)] != 0;
        s->at[i] = (int)(hybrid ? count : begins / nx);
        from[count] = begins;
        count += measured;
    }
    s->y = y->data;
    s->y_step = nx;
    s->y_coil = s->b.volume;
    s->y_out = s->b.step[s->b.out] * s->b.slab;
    if (!hybrid)
        return 0;
    s->y_coil = nx * count * outs;
    s->y_out = s->b.plane ? s->b.slab : nx * count;
    kr_shape shape = KR_SHAPE([KR_X] = nx, [KR_Y] = count, [KR_Z] = outs, [KR_COIL] = s->coil);
    s->hybrid = kr_array_new(KR_C32, shape);
    kr_fft *F = s->hybrid ? kr_fft_new(shape, (along_x ? KR_ON(KR_X) : 0) | (along_out ? KR_ON(KR_Z) : 0), KR_CENTRED) : NULL;
    if (!F)
        return kr_error_code();
    s->y = s->hybrid->data;
    struct copy j = { s, y->data, s->hybrid->data, from, count };
    int e = kr_for(s->coil * outs, copy_lines, &j);
    if (!e)
        kr_fft_inverse(F, s->hybrid->data);
    kr_fft_unref(&F);
    return e;
}

static int data(struct solver *s, kr_array *x, const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes)
{
    unsigned v = mask ? varying(kr_array_shape(mask)) : 0;
    if (v && !(v & KR_ON(KR_X)) && s->b.col == (s->b.plane ? KR_Y : KR_X)) {
        s->back = s->b.plane ? PLANES : LINES;
        return points(s, y, mask, axes);
    }
    if (s->b.plane && s->b.col == KR_X && s->b.row == KR_Y && (s->b.n[KR_Z] == 1 || !(axes & KR_ON(KR_Z)))) {
        s->back = PLANE;
        s->y = y->data;
        s->y_step = s->b.step[KR_Y];
        s->y_coil = s->b.volume;
        s->y_out = s->b.step[KR_Z];
        return 0;
    }
    kr_scoped(linop) A = kr_op_sense(coils, mask, axes);
    if (!A)
        return kr_error_code();
    kr_apply_adj(A, x, y);
    return 0;
}

static void sizes(struct solver *s, kr_shape coils, kr_shape mask)
{
    long n[3];
    for (int d = 0; d < 3; d++)
        n[d] = coils.n[d] ? coils.n[d] : 1;
    s->b = kr_blocks_of(n, varying(mask));
    s->coil = coils.n[KR_COIL] ? coils.n[KR_COIL] : 1;
    s->map = coils.n[KR_MAP] ? coils.n[KR_MAP] : 1;
    s->groups = s->b.plane && s->b.slab == 1 ? (s->coil < GROUPS ? s->coil : GROUPS) : 1;
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
            kr_free(w->sum);
        }
        kr_free(w);
    }
    kr_free(s->room);
    kr_free(s->xb);
    kr_free(s->at);
    kr_array_unref(&s->hybrid);
    kr_psf_unref(&s->psf);
}

double kr_cg_sense_bytes(kr_shape coils, kr_shape mask, double kept)
{
    struct solver s = { 0 };
    sizes(&s, coils, mask);
    double block = (double)(s.map * s.b.floats) * sizeof(float), groups = (double)s.groups;
    double room = block * (double)(s.b.slab * (s.coil + 2) + 3) + 2 * groups * block;
    room *= (double)(s.b.count < kr_threads() ? s.b.count : kr_threads());
    return room + (varying(mask) & KR_ON(KR_X) ? 0 : kept * (double)(s.b.volume * s.coil) * sizeof(kr_cfloat));
}

double kr_cg_sense_seconds(kr_shape coils, kr_shape mask, int iterations)
{
    struct solver s = { 0 };
    sizes(&s, coils, mask);
    unsigned v = varying(mask);
    const float one = 1;
    long block = s.map * s.b.floats;
    s.psf = kr_psf_new(v ? &one : NULL, s.b.n[s.b.row], 0, s.b.plane ? s.b.n[s.b.col] : 1, 0);
    kr_auto float *S = kr_alloc_zero((size_t)(2 * block), sizeof *S), *x = kr_alloc_zero((size_t)(2 * block), sizeof *x);
    kr_auto float *work = s.psf ? kr_alloc((size_t)kr_psf_work(s.psf, 1), sizeof *work) : NULL;
    double least = -1;
    for (int k = 0; k < 5 && S && x && work; k++) {                  /* two coils of one block; zeros take as long */
        double start = kr_seconds();
        kr_psf_sense(s.psf, x + block, S, x, 2, s.map, work);
        double t = kr_seconds() - start;
        least = k > 0 && (least < 0 || t < least) ? t : least;       /* the first warms up */
    }
    kr_psf_unref(&s.psf);
    double problems = (double)(s.b.plane ? s.b.n[s.b.out] : s.b.count), pieces = (double)(s.b.count == 1 ? s.groups : s.b.count), threads = kr_threads();
    threads = pieces < threads ? pieces : threads;
    double lines = (double)(s.b.volume * s.coil), once = 40e-9 * lines;  /* k-space and maps read, sorted and transformed once */
    return least < 0 ? least : (least / 2 * (double)s.coil * 1.1 * problems * (double)iterations + once) / threads;
}

struct unit { const kr_array *coils; float *largest; };

static int largest_in_line(void *self, long i)
{
    const struct unit *u = self;
    enum { RUN = 128 };
    long nx = u->coils->n[KR_X], lines = u->coils->n[KR_Y] * u->coils->n[KR_Z], coil = u->coils->n[KR_COIL];
    const kr_cfloat *S = KR_C(u->coils) + (i % lines + i / lines * coil * lines) * nx;
    float most = 0;
    for (long from = 0; from < nx; from += RUN) {
        long n = nx - from < RUN ? nx - from : RUN;
        float sum[RUN] = { 0 };
        for (long c = 0; c < coil; c++)
            for (long k = 0; k < n; k++)
                sum[k] += kr_cabs2(S[c * lines * nx + from + k]);
        for (long k = 0; k < n; k++)
            most = sum[k] > most ? sum[k] : most;
    }
    u->largest[i] = most;
    return 0;
}

float kr_sense_unit(const kr_array *coils)
{
    long lines = coils->n[KR_Y] * coils->n[KR_Z] * coils->n[KR_MAP];
    struct unit u = { coils, kr_alloc((size_t)lines, sizeof(float)) };
    float most = 0;
    if (!u.largest || kr_for(lines, largest_in_line, &u))
        most = -1;
    for (long i = 0; i < lines && most >= 0; i++)
        most = u.largest[i] > most ? u.largest[i] : most;
    kr_free(u.largest);
    return most;
}

double kr_cg_nearest(double xb, float lambda, const kr_array *x)
{
    double left = xb - (double)lambda * kr_dot_re(x, x);
    return left > 0 ? xb / left : 1;
}

int kr_cg_sense(kr_array *x, const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes, float lambda, kr_stop stop,
                double *nearest, const kr_trace *trace)
{
    kr_shape shape = mask ? kr_array_shape(mask) : (kr_shape){ 0 };
    kr_assert(kr_array_contiguous(x) && kr_array_contiguous(y) && kr_array_contiguous(coils) && kr_cg_sense_can(shape, axes));
    float unit = kr_sense_unit(coils);
    struct solver s = { .coils = coils->data, .x = x->data, .lambda = lambda * unit, .stop = stop, .trace = trace };
    sizes(&s, kr_array_shape(coils), shape);
    kr_scoped(array) m = mask ? kr_array_packed(mask) : NULL;
    s.psf = unit < 0 || (mask && !m) ? NULL
          : kr_psf_new(m ? m->data : NULL, s.b.n[s.b.row], m ? m->step[s.b.row] : 0, s.b.plane ? s.b.n[s.b.col] : 1, m ? m->step[s.b.col] : 0);
    s.room = s.psf ? kr_alloc_zero((size_t)kr_threads(), sizeof *s.room) : NULL;
    s.xb = s.room ? kr_alloc_zero((size_t)(s.b.count * s.b.slab), sizeof *s.xb) : NULL;
    int e = s.xb ? data(&s, x, y, coils, m, axes) : kr_error_code();
    double yy = e ? 0 : kr_dot_re(s.hybrid ? s.hybrid : y, s.hybrid ? s.hybrid : y);
    s.share = (double)unit * yy / (double)(s.b.plane ? s.b.n[s.b.out] : s.b.n[s.b.col] * s.b.n[s.b.out]);
    if (!e && !isfinite(s.share))
        e = kr_fail(KR_ENUMBER, "conjugate gradients: the data or the coil maps hold numbers that are not finite");
    if (!e)
        e = kr_for(s.b.count, one_block, &s);
    if (!e && nearest) {
        double xb = 0;
        for (long i = 0; i < s.b.count * s.b.slab; i++)
            xb += s.xb[i];
        *nearest = kr_cg_nearest(xb, s.lambda, x);
    }
    drop(&s);
    return e ? e : atomic_load(&s.most);
}
