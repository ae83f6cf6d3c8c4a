/* ridge.c: the learned ridge regulariser: its weights, its gradient and its value. A plane is worked on in bands of rows, each with margins twice as wide as
 * the filters reach, so that all convolutions are of whole windows and no two bands know of each other. */
#include "ridge_parts.h"
#include "vol.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAND = 32, FILTERS = 1024, WORTH = 32 };              /* WORTH: windows of a layer, from which on tiles take less time */
static const double LEVEL = 0.03;                             /* at which scale_level counts for nothing */

/* ---- Weights ---- */
static const kr_tensor *tensor(const kr_weights *w, const char *name, int dims)
{
    const kr_tensor *t = kr_weights_find(w, name);
    if (t && t->read)
        *t->read = true;
    if (!t || t->dims != dims)
        return kr_fail(KR_EFORMAT, "weights of a ridge regulariser have a tensor %s of %d axes; these have %s", name, dims, t ? "one of others" : "none"), NULL;
    for (long i = 0; i < kr_tensor_count(t); i++)
        if (!isfinite(t->data[i]))
            return kr_fail(KR_ENUMBER, "the weights %s are not all finite", name), NULL;
    return t;
}

static const kr_tensor *filters(const kr_weights *w, int layer)
{
    char name[64];
    snprintf(name, sizeof name, "filters.%d.weight", layer);
    const kr_tensor *t = tensor(w, name, 4);
    if (t && (t->n[2] != t->n[3] || !(t->n[2] & 1) || t->n[2] > 15 || t->n[0] < 1 || t->n[0] > FILTERS))
        return kr_fail(KR_EFORMAT, "%s: square windows of an odd width up to 15 and up to %d outputs are wanted", name, FILTERS), NULL;
    return t;
}

/* Column s of a window along y, its row `at` being that of a convolution (turned by half a turn: of W^T), at one of Winograd's points. */
static double at_point(const float *window, bool turned, int point, long s)
{
    enum { K = 5 };
    static const double place[RIDGE_POINTS] = { 0, 1, -1, 2, -2, 0.5, -0.5 }, over[RIDGE_POINTS] = { 1, -4.5, -4.5, 90, 90, 1.40625, 1.40625, 1 };
    double sum = 0, by = 1;
    for (long y = 0; y < K; y++, by *= place[point]) {
        long i = y * K + s;
        sum += (point < RIDGE_POINTS - 1 ? by : y == K - 1) * (double)window[turned ? K * K - 1 - i : i];
    }
    return sum / over[point];
}

/* In the order of vol_row.w; tiled: of each point in turn, windows being one row. transposed: of W^T, whose windows are turned by half a turn. */
static float *packed(const kr_tensor *t, bool transposed, bool tiled, int most)
{
    long outs = t->n[transposed], ins = t->n[!transposed], k = t->n[2], taps = k * k, groups = (outs + most - 1) / most, points = tiled ? RIDGE_POINTS : 1, each = tiled ? k : taps;
    float *p = kr_alloc((size_t)(points * ins * outs * each), sizeof *p), *to = p;
    for (long at = 0; p && at < points * groups; at++) {
        long g = at % groups, from = vol_group_from(outs, groups, g), end = vol_group_from(outs, groups, g + 1);
        for (long i = 0; i < ins; i++)
            for (long s = 0; s < each; s++)
                for (long o = from; o < end; o++) {
                    const float *window = t->data + (transposed ? i * t->n[1] + o : o * ins + i) * taps;
                    *to++ = tiled ? (float)at_point(window, transposed, (int)(at / groups), s) : window[transposed ? taps - 1 - s : s];
                }
    }
    return p;
}

void kr_ridge_unref(kr_ridge **r)
{
    if (!*r)
        return;
    for (int l = 0; l < RIDGE_LAYERS; l++) {
        kr_free((*r)->down[l]);
        kr_free((*r)->up[l]);
    }
    kr_free((*r)->scale);
    kr_free((*r)->scale_level);
    kr_free((*r)->a);
    kr_free((*r)->d);
    kr_free((*r)->area);
    kr_graph_unref(&(*r)->mask);
    kr_free(*r);
    *r = NULL;
}

static float *numbers(const kr_tensor *t)
{
    float *p = kr_alloc((size_t)kr_tensor_count(t), sizeof *p);
    if (p)
        memcpy(p, t->data, (size_t)kr_tensor_count(t) * sizeof *p);
    return p;
}

static int read_profile(kr_ridge *r, const kr_weights *w)
{
    const kr_tensor *t = tensor(w, "profile", 1);
    double range = kr_meta_number(w->meta, "hyper.range", 0);
    if (!t || !(range > 0))
        return t ? kr_fail(KR_EFORMAT, "the weights do not say where the profile ends (hyper.range)") : kr_error_code();
    long n = t->n[0];
    r->a = kr_alloc((size_t)n + 1, sizeof *r->a);
    r->d = kr_alloc((size_t)n + 1, sizeof *r->d);
    r->area = kr_alloc((size_t)n + 1, sizeof *r->area);
    if (!r->a || !r->d || !r->area)
        return kr_error_code();
    double step = range / (double)n, phi = 0, psi = 0;
    for (long j = 0; j <= n; j++) {
        double d = j < n ? (double)t->data[j] : 0;
        if (d < -1.0001)
            return kr_fail(KR_EFORMAT, "a slope of the profile is %g; below -1 the regulariser has no one solution", d);
        r->d[j] = (float)d;
        r->a[j] = (float)(phi - d * step * (double)j);
        r->area[j] = psi;
        psi += phi * step + d * step * step / 2;
        phi += d * step;
    }
    r->profile = (ridge_profile){ r->a, r->d, (float)step, (int)n };
    return 0;
}

kr_ridge *kr_ridge_new(const kr_weights *w)
{
    kr_ridge *r = kr_alloc_zero(1, sizeof *r);
    if (!r)
        return NULL;
    r->conv = vol_kern_best();
    r->kern = kr_cpu() >= 4 ? &ridge_kern_v4 : kr_cpu() >= 3 ? &ridge_kern_v3 : &ridge_kern_base;
    r->chan[0] = 1;
    int e = 0;
    for (int l = 0; l < RIDGE_LAYERS && !e; l++) {
        const kr_tensor *t = filters(w, l);
        if (!t || t->n[1] != r->chan[l]) {
            e = t ? kr_fail(KR_EFORMAT, "filters.%d has %ld inputs, %ld are made before", l, t->n[1], r->chan[l]) : kr_error_code();
            break;
        }
        r->chan[l + 1] = t->n[0];
        r->width[l] = t->n[2];
        r->reach += t->n[2] / 2;
        r->tiled[l] = t->n[2] == 5 && t->n[0] * t->n[1] >= WORTH;
        r->down[l] = packed(t, false, r->tiled[l], r->conv->most);
        r->up[l] = packed(t, true, r->tiled[l], r->conv->most);
        e = r->down[l] && r->up[l] ? 0 : kr_error_code();
    }
    const kr_tensor *scale = e ? NULL : tensor(w, "scale", 1), *level = scale ? tensor(w, "scale_level", 1) : NULL;
    e = e ? e : level ? read_profile(r, w) : kr_error_code();
    if (!e && (scale->n[0] != r->chan[RIDGE_LAYERS] || level->n[0] != r->chan[RIDGE_LAYERS]))
        e = kr_fail(KR_EFORMAT, "a scale for each of %ld filters is wanted", r->chan[RIDGE_LAYERS]);
    r->scale = e ? NULL : numbers(scale);
    r->scale_level = e ? NULL : numbers(level);
    if (!e && r->scale && r->scale_level && (!kr_ridge_masks(w) || (r->mask = ridge_mask_graph(w, r->chan[RIDGE_LAYERS]))))
        return r;
    kr_ridge_unref(&r);
    return NULL;
}

double kr_ridge_bound(const kr_ridge *r)
{
    double most = 0;
    for (int j = 0; j <= r->profile.count; j++)
        most = fmax(most, fabs((double)r->d[j]));
    return most;
}

float ridge_scale(const kr_ridge *r, long i, double level) { return expf(r->scale[i] + r->scale_level[i] * (float)log(fmin(1, fmax(1e-4, level)) / LEVEL)); }

/* ---- Untrained ---- */
static kr_tensor *fresh_tensor(kr_weights *w, const char *name, int dims, const long *n, uint64_t seed, double deviation, double mean)
{
    kr_tensor *t = kr_weights_add(w, name, dims, n);
    for (long i = 0, count = t ? kr_tensor_count(t) : 0; i < count; i++) {
        double z[2];
        kr_rand_normal2(seed, (uint64_t)w->count, (uint64_t)i, z);
        t->data[i] = (float)(mean + deviation * z[0]);
    }
    return t;
}

kr_weights *kr_ridge_fresh(const long channels[3], const long width[3], long intervals, uint64_t seed)
{
    static const double range = 6, knee = 1;
    kr_scoped(weights) w = kr_weights_new();
    char name[64];
    if (!w)
        return NULL;
    for (int l = 0; l < RIDGE_LAYERS; l++) {
        long ins = l ? channels[l - 1] : 1, n[4] = { channels[l], ins, width[l], width[l] };
        snprintf(name, sizeof name, "filters.%d.weight", l);
        if (channels[l] < 1 || channels[l] > FILTERS || width[l] < 1 || width[l] > 15 || !(width[l] & 1))
            return kr_fail(KR_EUSAGE, "1 to %d filters of odd width up to 15 are possible", FILTERS), NULL;
        if (!fresh_tensor(w, name, 4, n, seed, 1 / sqrt((double)(ins * width[l] * width[l])), 0))
            return NULL;
    }
    kr_tensor *p = NULL;
    if (intervals < 2 || intervals > 4096 || !fresh_tensor(w, "scale", 1, &channels[2], seed, 0, log(3)) || !fresh_tensor(w, "scale_level", 1, &channels[2], seed, 0, 0)
        || !(p = fresh_tensor(w, "profile", 1, &intervals, seed, 0, 0)) || kr_meta_set(w->meta, "hyper.range", "%g", range) || kr_meta_set(w->meta, "network", "wcrr"))
        return NULL;
    for (long j = 0; j < intervals; j++)
        p->data[j] = range * ((double)j + 0.5) / (double)intervals < knee ? 2 : 0;
    if (kr_ridge_settle(w, 100))
        return NULL;
    kr_weights *out = w;
    w = NULL;
    return out;
}

/* |W|^2: the largest of sum over i of |FT of filter i|^2, on GRID x GRID frequencies. */
static double norm2(const kr_ridge *r)
{
    enum { GRID = 48 };
    ridge_tile t;
    long side = 2 * r->reach + 1, K = r->chan[RIDGE_LAYERS];
    if (ridge_tile_open(&t, r, 1, 1, 1, false))
        return -1;
    memset(t.layer[0][0], 0, (size_t)t.plane * sizeof(float));
    t.layer[0][0][2 * r->reach * t.row + 2 * r->reach] = 1;
    ridge_down(r, &t, 0);                                     /* side x side points of each filter, turned by half a turn */
    double c[GRID], most = 0;
    for (int i = 0; i < GRID; i++)
        c[i] = cos(2 * M_PI * i / GRID);
    kr_auto double *re = kr_alloc((size_t)(K * side * GRID), sizeof *re), *im = kr_alloc((size_t)(K * side * GRID), sizeof *im);
    if (!re || !im) {
        ridge_tile_close(&t);
        return -1;
    }
    for (long k = 0; k < K * side; k++)
        for (long u = 0; u < GRID; u++) {
            const float *f = t.layer[0][RIDGE_LAYERS] + k / side * t.plane + k % side * t.row;
            double a = 0, b = 0;
            for (long x = 0; x < side; x++) {
                a += (double)f[x] * c[u * x % GRID];
                b += (double)f[x] * c[(u * x + 3 * GRID / 4) % GRID];
            }
            re[k * GRID + u] = a;
            im[k * GRID + u] = b;
        }
    for (long v = 0; v < GRID; v++)
        for (long u = 0; u < GRID; u++) {
            double sum = 0;
            for (long k = 0; k < K; k++) {
                double a = 0, b = 0;
                for (long y = 0; y < side; y++) {
                    double p = re[(k * side + y) * GRID + u], q = im[(k * side + y) * GRID + u], cc = c[v * y % GRID], s = c[(v * y + 3 * GRID / 4) % GRID];
                    a += p * cc - q * s;
                    b += p * s + q * cc;
                }
                sum += a * a + b * b;
            }
            most = fmax(most, sum);
        }
    ridge_tile_close(&t);
    return most;
}

int kr_ridge_settle(kr_weights *w, double most)
{
    kr_tensor *first = (kr_tensor *)(uintptr_t)filters(w, 0), *last = first ? (kr_tensor *)(uintptr_t)filters(w, RIDGE_LAYERS - 1) : NULL, *p = last ? (kr_tensor *)(uintptr_t)tensor(w, "profile", 1) : NULL;
    if (!p)
        return kr_error_code();
    long taps = first->n[2] * first->n[3];
    for (long o = 0; o < first->n[0]; o++) {
        double sum = 0;
        for (long i = 0; i < taps; i++)
            sum += (double)first->data[o * taps + i];
        for (long i = 0; i < taps; i++)
            first->data[o * taps + i] -= (float)(sum / (double)taps);
    }
    double phi = 0;                                           /* in units of an interval; never below 0: psi rises */
    for (long j = 0; j < p->n[0]; j++) {
        p->data[j] = (float)fmin(most, fmax(fmax(-1, -phi), (double)p->data[j]));
        phi += (double)p->data[j];
    }
    kr_ridge *r = kr_ridge_new(w);
    double size = r ? norm2(r) : -1;
    kr_ridge_unref(&r);
    if (size < 0)
        return kr_error_code();
    if (!(size > 0) || !isfinite(size))
        return kr_fail(KR_ENUMBER, "the filters are all zero or not finite");
    for (long i = 0; i < kr_tensor_count(last); i++)
        last->data[i] *= (float)(1 / sqrt(size));
    return 0;
}

/* ---- A window ---- */
int ridge_tile_open(ridge_tile *t, const kr_ridge *r, long h, long w, int parts, bool apart)
{
    *t = (ridge_tile){ .h = h, .w = w };
    t->row = (w + 4 * r->reach + 15) / 16 * 16;
    t->plane = t->row * (h + 4 * r->reach);
    long wide = 0;
    for (int l = 0; l < RIDGE_LAYERS; l++)
        wide = r->tiled[l] && r->chan[l] + r->chan[l + 1] > wide ? r->chan[l] + r->chan[l + 1] : wide;
    if (wide && !(t->points = kr_alloc_zero((size_t)((wide * RIDGE_POINTS + RIDGE_TILE) * t->row + RIDGE_AHEAD), sizeof *t->points)))
        return kr_error_code();
    for (int p = 0; p < parts; p++)
        for (int l = 0; l <= RIDGE_LAYERS; l++) {
            size_t n = (size_t)(t->plane * r->chan[l] + RIDGE_AHEAD);
            t->layer[p][l] = kr_alloc_zero(n, sizeof(float));
            t->back[p][l] = apart ? kr_alloc_zero(n, sizeof(float)) : t->layer[p][l];
            if (!t->layer[p][l] || !t->back[p][l]) {
                ridge_tile_close(t);
                return kr_error_code();
            }
        }
    return 0;
}

void ridge_tile_close(ridge_tile *t)
{
    for (int p = 0; p < 2; p++)
        for (int l = 0; l <= RIDGE_LAYERS; l++) {
            if (t->back[p][l] != t->layer[p][l])
                kr_free(t->back[p][l]);
            kr_free(t->layer[p][l]);
        }
    kr_free(t->points);
    *t = (ridge_tile){ 0 };
}

static const float zero[FILTERS];

/* All rows of one convolution, RIDGE_TILE at a time: windows along x of the points, and the points' products back. */
static void tiles(const kr_ridge *r, const ridge_tile *t, float *y, const float *x, const float *w, long ins, long outs, long rows, long columns)
{
    enum { K = 5 };
    static const long offset[K] = { 0, 1, 2, 3, 4 };
    static const int tap[K] = { 0, 1, 2, 3, 4 };
    float *in = t->points, *out = in + RIDGE_POINTS * ins * t->row, *beyond = out + RIDGE_POINTS * outs * t->row;
    vol_row q = { .in = { { NULL, RIDGE_POINTS * t->row, ins } }, .taps = K, .all = K, .offset = offset, .tap = tap, .bias = zero, .chan = RIDGE_POINTS * t->row, .outs = outs, .n = columns, .act = VOL_LINEAR };
    for (long i = 0; i < rows; i += RIDGE_TILE) {
        for (long c = 0; c < ins; c++) {
            const float *from[RIDGE_POINTS];
            for (long k = 0; k < RIDGE_POINTS; k++)          /* rows beyond count for nothing in those that are kept */
                from[k] = x + c * t->plane + (i + k < rows + K - 1 ? i + k : rows + K - 2) * t->row;
            r->kern->tile_in(in + c * RIDGE_POINTS * t->row, t->row, from, columns + K - 1);
        }
        for (long p = 0; p < RIDGE_POINTS; p++) {
            q.in[0].x = in + p * t->row;
            q.y = out + p * t->row;
            q.w = w + p * ins * outs * K;
            r->conv->conv(&q);
        }
        for (long c = 0; c < outs; c++) {
            float *to[RIDGE_TILE];
            for (long k = 0; k < RIDGE_TILE; k++)
                to[k] = i + k < rows ? y + c * t->plane + (i + k) * t->row : beyond + k * t->row;
            r->kern->tile_out(to, out + c * RIDGE_POINTS * t->row, t->row, columns);
        }
    }
}

/* All rows of one convolution, from windows of width k. */
static void layer(const kr_ridge *r, const ridge_tile *t, float *y, const float *x, const float *w, long ins, long outs, long k, bool tiled, long rows, long columns)
{
    if (tiled) {
        tiles(r, t, y, x, w, ins, outs, rows, columns);
        return;
    }
    long offset[RIDGE_TAPS];
    int tap[RIDGE_TAPS];
    for (long i = 0; i < k * k; i++) {
        offset[i] = i / k * t->row + i % k;
        tap[i] = (int)i;
    }
    vol_row q = { .in = { { NULL, t->plane, ins } }, .taps = (int)(k * k), .all = (int)(k * k), .offset = offset, .tap = tap, .w = w, .bias = zero, .chan = t->plane, .outs = outs,
                  .n = columns, .act = VOL_LINEAR };
    for (long i = 0; i < rows; i++) {
        q.in[0].x = x + i * t->row;
        q.y = y + i * t->row;
        r->conv->conv(&q);
    }
}

void ridge_down(const kr_ridge *r, ridge_tile *t, int part)
{
    for (long l = 0; l < RIDGE_LAYERS; l++) {
        long rows = ridge_rows(r, t, l + 1);
        layer(r, t, t->layer[part][l + 1], t->layer[part][l], r->down[l], r->chan[l], r->chan[l + 1], r->width[l], r->tiled[l], rows, rows + t->w - t->h);
    }
}

void ridge_up(const kr_ridge *r, ridge_tile *t, int part)
{
    for (long l = RIDGE_LAYERS; l-- > 0;) {
        long rows = ridge_back_rows(r, t, l);
        layer(r, t, t->back[part][l], t->back[part][l + 1], r->up[l], r->chan[l + 1], r->chan[l], r->width[l], r->tiled[l], rows, rows + t->w - t->h);
    }
}

/* ---- Arrays ---- */
typedef struct pair { long n[2], step[2]; double share; int count; long others[KR_AXES], other_step[KR_AXES]; } pair;   /* planes along two axes */
struct kr_ridge_field {
    const kr_ridge *r;
    enum kr_type type;
    kr_shape shape;
    double level;
    int pairs, workers;
    pair pair[3];
    ridge_tile *tile[3];             /* of each pair and worker: of BAND rows                                  */
    double *sum; long sums;
    float *mask; double most;        /* {filters, y, x} of each plane of the one pair, and its largest number; NULL: 1 */
    float *seen; const float *first; long plane;              /* while a mask is made */
    /* of one call */
    const pair *now; int at;
    float *g; const float *x;
    float unit, by;
};

void kr_ridge_field_unref(kr_ridge_field **f)
{
    if (!*f)
        return;
    for (int p = 0; p < 3; p++)
        if ((*f)->tile[p]) {
            for (int i = 0; i < (*f)->workers; i++)
                ridge_tile_close(&(*f)->tile[p][i]);
            kr_free((*f)->tile[p]);
        }
    kr_free((*f)->sum);
    kr_free((*f)->mask);
    kr_free(*f);
    *f = NULL;
}

static void pair_of(pair *p, kr_shape s, int a, int b, double share)
{
    long step = 1;
    *p = (pair){ .share = share, .n = { 1, 1 } };
    for (int d = 0; d < KR_AXES; d++) {
        long n = s.n[d] > 1 ? s.n[d] : 1;
        if (d == a || d == b) {
            p->n[d == b] = n;
            p->step[d == b] = step;
        } else if (n > 1) {
            p->others[p->count] = n;
            p->other_step[p->count++] = step;
        }
        step *= n;
    }
}

static long planes_of(const pair *p)
{
    long n = 1;
    for (int i = 0; i < p->count; i++)
        n *= p->others[i];
    return n;
}

static long bands_of(const pair *p) { return (p->n[1] + BAND - 1) / BAND; }

kr_ridge_field *kr_ridge_plan(const kr_ridge *r, enum kr_type type, kr_shape shape, unsigned axes, double level)
{
    int on[3], count = 0;
    for (int d = KR_X; d <= KR_Z; d++)
        if (axes & KR_ON(d) && shape.n[d] > 1)
            on[count++] = d;
    if (!count)
        return kr_fail(KR_ESHAPE, "a ridge regulariser wants an image along x, y or z, not %s", kr_shape_text(shape)), NULL;
    kr_ridge_field *f = kr_alloc_zero(1, sizeof *f);
    if (!f)
        return NULL;
    *f = (kr_ridge_field){ .r = r, .type = type, .shape = shape, .level = level, .most = 1, .workers = kr_threads(), .pairs = count == 3 ? 3 : 1 };
    bool good = true;
    for (int i = 0; i < f->pairs && good; i++) {
        int a = on[i == 2 ? 1 : 0], b = count == 1 ? KR_AXES : on[i == 0 ? 1 : 2];
        pair_of(&f->pair[i], shape, a, b, 1 / (double)f->pairs);
        long units = planes_of(&f->pair[i]) * bands_of(&f->pair[i]);
        f->sums = units > f->sums ? units : f->sums;
        f->tile[i] = kr_alloc_zero((size_t)f->workers, sizeof *f->tile[i]);
        good = f->tile[i] != NULL;
        long rows = f->pair[i].n[1] < BAND ? f->pair[i].n[1] : BAND;
        for (int k = 0; good && k < f->workers; k++)
            good = !ridge_tile_open(&f->tile[i][k], r, rows, f->pair[i].n[0], type == KR_C32 ? 2 : 1, false);
    }
    f->sum = good ? kr_alloc((size_t)f->sums, sizeof *f->sum) : NULL;
    if (!f->sum)
        kr_ridge_field_unref(&f);
    return f;
}

/* Band i of planes: filters' answers in the last layers; returns where it begins, its tile and first row. */
static long answers(const kr_ridge_field *f, long i, ridge_tile *t, long *y0)
{
    const pair *p = f->now;
    long bands = bands_of(p), plane = i / bands, m = 2 * f->r->reach, base = 0, w = f->type == KR_C32 ? 2 : 1;
    for (int k = 0; k < p->count; k++, plane /= p->others[k - 1])
        base += plane % p->others[k] * p->other_step[k];
    *t = f->tile[f->at][kr_worker()];
    *y0 = i % bands * BAND;
    t->h = p->n[1] - *y0 < BAND ? p->n[1] - *y0 : BAND;
    float by = 1 / f->unit;
    for (long y = 0; y < t->h + 2 * m; y++) {
        long from = (((*y0 + y - m) % p->n[1] + p->n[1]) % p->n[1]) * p->step[1] + base, at = p->n[0] - m % p->n[0];
        for (long x = 0; x < t->w + 2 * m; x++, at++) {
            at = at >= p->n[0] ? at - p->n[0] : at;
            const float *v = f->x + w * (from + at * p->step[0]);
            t->layer[0][0][y * t->row + x] = by * v[0];
            if (w == 2)
                t->layer[1][0][y * t->row + x] = by * v[1];
        }
    }
    for (int k = 0; k < w; k++)
        ridge_down(f->r, t, k);
    return base;
}

/* The mask of filter k in the plane of band i. */
static const float *mask_of(const kr_ridge_field *f, long i, long k)
{
    const pair *p = f->now;
    return f->mask + (i / bands_of(p) * f->r->chan[RIDGE_LAYERS] + k) * p->n[0] * p->n[1];
}

static int band_gradient(void *self, long i)
{
    const kr_ridge_field *f = self;
    const pair *p = f->now;
    const kr_ridge *r = f->r;
    ridge_tile t;
    long y0, base = answers(f, i, &t, &y0), w = f->type == KR_C32 ? 2 : 1, rows = ridge_rows(r, &t, RIDGE_LAYERS);
    for (long k = 0; k < r->chan[RIDGE_LAYERS]; k++) {
        float s = ridge_scale(r, k, f->level);
        r->kern->shrink(t.layer[0][RIDGE_LAYERS] + k * t.plane, w == 2 ? t.layer[1][RIDGE_LAYERS] + k * t.plane : NULL, rows * t.row, s, &r->profile);
        for (long y = 0; f->mask && y < rows; y++)
            for (int part = 0; part < w; part++)
                ridge_mask_row(t.layer[part][RIDGE_LAYERS] + k * t.plane + y * t.row, mask_of(f, i, k) + (((y0 + y - r->reach) % p->n[1] + p->n[1]) % p->n[1]) * p->n[0], p->n[0], -r->reach,
                               t.w + 2 * r->reach);
    }
    float by = f->by * f->unit * (float)p->share;
    for (int k = 0; k < w; k++) {
        ridge_up(r, &t, k);
        for (long y = 0; y < t.h; y++) {
            float *to = f->g + w * (base + (y0 + y) * p->step[1]) + k;
            for (long x = 0; x < t.w; x++)
                to[w * x * p->step[0]] += by * t.back[k][0][y * t.row + x];
        }
    }
    return 0;
}

/* psi of band i. */
static int band_value(void *self, long i)
{
    const kr_ridge_field *f = self;
    const kr_ridge *r = f->r;
    ridge_tile t;
    long y0;
    answers(f, i, &t, &y0);
    double sum = 0, step = (double)r->profile.step;
    for (long k = 0; k < r->chan[RIDGE_LAYERS]; k++) {
        double s = (double)ridge_scale(r, k, f->level), all = 0;
        for (long y = 0; y < t.h; y++)
            for (long x = 0; x < t.w; x++) {
                long at = k * t.plane + (y + r->reach) * t.row + x + r->reach;
                double a = (double)t.layer[0][RIDGE_LAYERS][at], b = f->type == KR_C32 ? (double)t.layer[1][RIDGE_LAYERS][at] : 0, v = s * sqrt(a * a + b * b);
                int j = v / step < r->profile.count ? (int)(v / step) : r->profile.count;
                double from = j * step, phi = (double)r->a[j] + (double)r->d[j] * from;
                all += (f->mask ? (double)mask_of(f, i, k)[(y0 + y) * f->now->n[0] + x] : 1) * (r->area[j] + phi * (v - from) + (double)r->d[j] / 2 * (v - from) * (v - from));
            }
        sum += all / (s * s);
    }
    f->sum[i] = sum;
    return 0;
}

static void call(kr_ridge_field *f, kr_body *body, kr_array *g, const kr_array *x, double unit, double by, double *value)
{
    f->g = g ? g->data : NULL;
    f->x = x->data;
    f->unit = (float)unit;
    f->by = (float)by;
    for (f->at = 0; f->at < f->pairs; f->at++) {
        f->now = &f->pair[f->at];
        long units = planes_of(f->now) * bands_of(f->now);
        int e = kr_for(units, body, f);
        kr_assert(!e);
        for (long i = 0; value && i < units; i++)
            *value += f->now->share * f->sum[i];
    }
}

void kr_ridge_gradient(kr_ridge_field *f, kr_array *g, const kr_array *x, double unit, double by) { call(f, band_gradient, g, x, unit, by, NULL); }

double kr_ridge_value(kr_ridge_field *f, const kr_array *x, double unit)
{
    double value = 0;
    call(f, band_value, NULL, x, unit, 1, &value);
    return unit * unit * value;
}

/* ---- Masks ---- */
enum { NARROWEST = 16 };             /* planes, for the poolings of the network */

static float seen_of(float re, float im, float by) { return log1pf(by * sqrtf(re * re + im * im)); }

/* What the network sees of band i of the plane. */
static int band_seen(void *self, long i)
{
    const kr_ridge_field *f = self;
    const pair *p = f->now;
    const kr_ridge *r = f->r;
    ridge_tile t;
    long y0, base = answers(f, f->plane * bands_of(p) + i, &t, &y0), w = f->type == KR_C32 ? 2 : 1, K = r->chan[RIDGE_LAYERS], n = p->n[0] * p->n[1];
    for (long k = 0; k < K; k++) {
        float s = ridge_scale(r, k, f->level);
        for (long y = 0; y < t.h; y++)
            for (long x = 0; x < t.w; x++) {
                long at = k * t.plane + (y + r->reach) * t.row + x + r->reach;
                f->seen[k * n + (y0 + y) * p->n[0] + x] = seen_of(t.layer[0][RIDGE_LAYERS][at], w == 2 ? t.layer[1][RIDGE_LAYERS][at] : 0, s);
            }
    }
    float by = 1 / f->unit;
    for (long y = 0; y < t.h; y++)
        for (long x = 0; x < t.w; x++) {
            long from = w * (base + (y0 + y) * p->step[1] + x * p->step[0]), to = (y0 + y) * p->n[0] + x;
            float re = f->x[from], im = w == 2 ? f->x[from + 1] : 0, dre = re - f->first[from], dim = w == 2 ? im - f->first[from + 1] : 0;
            f->seen[K * n + to] = seen_of(re, im, by);
            f->seen[(K + 1) * n + to] = seen_of(dre, dim, by);
        }
    return 0;
}

bool kr_ridge_looks(const kr_ridge_field *f)
{
    const pair *p = &f->pair[0];
    return f->r->mask && f->pairs == 1 && p->n[0] >= NARROWEST && p->n[1] >= NARROWEST;
}

/* The mask of one plane. What the network sees is copied by its run, and makes room for the mask. */
static int look_at(kr_ridge_field *f, kr_run *run, float **mask, long planes)
{
    const pair *p = &f->pair[0];
    long K = f->r->chan[RIDGE_LAYERS], n = p->n[0] * p->n[1];
    kr_auto float *seen = kr_alloc((size_t)((K + RIDGE_BESIDE) * n), sizeof *seen);
    f->seen = seen;
    int e = seen ? kr_for(bands_of(p), band_seen, f) : kr_error_code();
    f->seen = NULL;
    if (e)
        return e;
    kr_run_input(run, 0, seen);
    kr_free_at(&seen);
    if (!*mask && !(*mask = kr_alloc((size_t)(K * n * planes), sizeof **mask)))
        return kr_error_code();
    f->most = fmax(f->most, (double)ridge_mask_run(run, *mask + f->plane * K * n));
    return 0;
}

int kr_ridge_look(kr_ridge_field *f, const kr_array *x, const kr_array *first, double unit)
{
    kr_assert(kr_ridge_looks(f));
    const pair *p = &f->pair[0];
    long planes = planes_of(p);
    float *mask = NULL;
    kr_free_at(&f->mask);
    f->most = 1;
    kr_run *run = ridge_mask_plan(f->r, p->n[1], p->n[0], false);
    int e = run ? kr_run_lend(run, NULL) : kr_error_code();
    f->now = p;
    f->at = 0;
    f->x = x->data;
    f->first = first->data;
    f->unit = (float)unit;
    for (f->plane = 0; f->plane < planes && !e; f->plane++)
        e = look_at(f, run, &mask, planes);
    kr_run_unref(&run);
    if (e)
        kr_free(mask);
    else
        f->mask = mask;
    return e;
}

double kr_ridge_field_bound(const kr_ridge_field *f) { return f->most * kr_ridge_bound(f->r); }
