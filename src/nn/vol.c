/* vol.c: see vol.h. */
#include "vol.h"
#include <math.h>
#include <string.h>

const vol_kern *vol_kern_best(void) { return kr_cpu() >= 4 ? &vol_kern_v4 : kr_cpu() >= 3 ? &vol_kern_v3 : &vol_kern_base; }

/* ---- Values ---- */
enum { SLACK = 128 };                         /* numbers that loops may read beyond a row                  */

static vol shape_of(long c, const long n[3], const long halo[3])
{
    vol v = { .c = c };
    for (int d = 0; d < 3; d++) {
        v.n[d] = n[d];
        v.halo[d] = halo[d];
    }
    v.row = n[0] + halo[0];
    v.plane = v.row * (n[1] + halo[1]);
    v.chan = v.plane * (n[2] + halo[2]);
    return v;
}

static long margin_of(const vol *v) { return (v->halo[2] * v->plane + v->halo[1] * v->row + v->halo[0] + 15) / 16 * 16; }
size_t vol_bytes(long c, const long n[3], const long halo[3])
{
    vol v = shape_of(c, n, halo);
    return (size_t)(margin_of(&v) + c * v.chan + SLACK) * sizeof(float);
}

vol *vol_take(vol_pool *p, long c, const long n[3], const long halo[3])
{
    for (vol **at = &p->free; *at; at = &(*at)->next)
        if ((*at)->c == c && !memcmp((*at)->n, n, sizeof (*at)->n) && !memcmp((*at)->halo, halo, sizeof (*at)->halo)) {
            vol *v = *at;
            *at = v->next;
            v->next = NULL;
            return v;
        }
    vol *v = kr_alloc_zero(1, sizeof *v);
    if (!v)
        return NULL;
    *v = shape_of(c, n, halo);
    float *block = kr_alloc_zero(vol_bytes(c, n, halo), 1);
    v->block = block;
    if (!block) {
        kr_free(v);
        return NULL;
    }
    v->data = block + margin_of(v);
    p->now += vol_bytes(c, n, halo);
    p->most = p->now > p->most ? p->now : p->most;
    return v;
}

void vol_give(vol_pool *p, vol **v)
{
    if (!*v)
        return;
    (*v)->next = p->free;
    p->free = *v;
    *v = NULL;
}

void vol_pool_clear(vol_pool *p)
{
    while (p->free) {
        vol *v = p->free;
        p->free = v->next;
        p->now -= vol_bytes(v->c, v->n, v->halo);
        kr_free(v->block);
        kr_free(v);
    }
}

void vol_load(vol *v, const float *from)
{
    for (long c = 0; c < v->c; c++)
        for (long z = 0; z < v->n[2]; z++)
            for (long y = 0; y < v->n[1]; y++, from += v->n[0])
                memcpy(vol_at(v, c, y, z), from, (size_t)v->n[0] * sizeof *from);
}

void vol_store(float *to, const vol *v)
{
    for (long c = 0; c < v->c; c++)
        for (long z = 0; z < v->n[2]; z++)
            for (long y = 0; y < v->n[1]; y++, to += v->n[0])
                memcpy(to, vol_at(v, c, y, z), (size_t)v->n[0] * sizeof *to);
}

/* Threads for work that is worth waking them. */
static int spread(double operations, long n, kr_body *body, void *self)
{
    int e = 0;
    if (operations > 4e6)
        return kr_for(n, body, self);
    for (long i = 0; !e && i < n; i++)
        e = body(self, i);
    return e;
}

/* ---- Convolutions ---- */
static void pack(float *to, const float *weight, long outs, long ins, long taps, long most, long out_step, long in_step)
{
    long groups = (outs + most - 1) / most;
    for (long g = 0; g < groups; g++)
        for (long i = 0; i < ins; i++)
            for (long t = 0; t < taps; t++)
                for (long o = vol_group_from(outs, groups, g); o < vol_group_from(outs, groups, g + 1); o++)
                    *to++ = weight[o * out_step + i * in_step + t];
}

enum { TAPS = 343 };

/* ---- Winograd: 3 taps along y (and z) as F(4,3), those along x as they are: 2 (4) times fewer products. The sums over channels are convolutions of 3
 * taps for each point. Rounding grows to some 1e-6 of the largest value; weights take 2 (4) times the room, so that layers of many channels, which see
 * few voxels, stay direct. ---- */
enum { TILED_LEAST = 16, TILED_MOST = 640 * 320 };            /* channels in and out; their product */

static bool can_tile(const vol_conv *c)
{
    bool cube = c->k[0] == 3 && c->k[1] == 3 && (c->k[2] == 3 || c->k[2] == 1);
    for (int d = 0; d < 3; d++)
        cube = cube && c->stride[d] == 1 && c->dilation[d] == 1;
    return cube && c->ins >= TILED_LEAST && c->outs >= TILED_LEAST && c->ins * c->outs <= TILED_MOST;
}

/* Weights of a point for each tap along x: G w along y, and along z. */
static int tile_weights(vol_conv *c, const float *weight)
{
    static const double G[6][3] = { { 1. / 4, 0, 0 }, { -1. / 6, -1. / 6, -1. / 6 }, { -1. / 6, 1. / 6, -1. / 6 }, { 1. / 24, 1. / 12, 1. / 6 }, { 1. / 24, -1. / 12, 1. / 6 }, { 0, 0, 1 } };
    bool deep = c->k[2] == 3;
    c->points = deep ? 36 : 6;
    long each = c->outs * c->ins * 3;
    c->tiled = kr_alloc((size_t)(c->points * each), sizeof *c->tiled);
    kr_auto float *point = kr_alloc((size_t)each, sizeof *point);
    if (!c->tiled || !point)
        return kr_error_code();
    for (int p = 0; p < c->points; p++) {
        const double *gy = G[p % 6], one[3] = { 1, 0, 0 }, *gz = deep ? G[p / 6] : one;
        for (long i = 0; i < c->outs * c->ins; i++)
            for (int x = 0; x < 3; x++) {
                double sum = 0;
                for (int z = 0; z < c->k[2]; z++)
                    for (int y = 0; y < 3; y++)
                        sum += gz[z] * gy[y] * (double)weight[((i * c->k[2] + z) * 3 + y) * 3 + x];
                point[i * 3 + x] = (float)sum;
            }
        pack(c->tiled + p * each, point, c->outs, c->ins, 3, c->kern->most, c->ins * 3, 3);
    }
    return 0;
}

int vol_conv_make(vol_conv *c, const float *weight, const float *bias, long outs, long ins, const int k[3], const int stride[3], const int dilation[3],
                  enum vol_act act, float slope)
{
    *c = (vol_conv){ .ins = ins, .outs = outs, .act = act, .slope = slope, .kern = vol_kern_best() };
    long taps = 1;
    for (int d = 0; d < 3; d++) {
        c->k[d] = k[d];
        c->stride[d] = stride[d];
        c->dilation[d] = dilation[d];
        taps *= k[d];
        if (k[d] < 1 || k[d] > 7 || !(k[d] & 1) || stride[d] < 1 || stride[d] > 8 || dilation[d] < 1 || dilation[d] > 64)
            return kr_fail(KR_EREFUSED, "a convolution with a kernel of %d, stride %d and dilation %d is not built (odd kernels up to 7)", k[d], stride[d], dilation[d]);
    }
    if (outs < 1 || ins < 1 || outs > 65536 || ins > 65536)
        return kr_fail(KR_ESHAPE, "a convolution from %ld to %ld channels", ins, outs);
    c->w = kr_alloc((size_t)(outs * ins * taps), sizeof *c->w);
    c->bias = kr_alloc_zero((size_t)outs, sizeof *c->bias);
    if (!c->w || !c->bias) {
        vol_conv_close(c);
        return kr_error_code();
    }
    pack(c->w, weight, outs, ins, taps, c->kern->most, ins * taps, taps);
    if (can_tile(c) && tile_weights(c, weight)) {
        vol_conv_close(c);
        return kr_error_code();
    }
    if (bias)
        memcpy(c->bias, bias, (size_t)outs * sizeof *bias);
    return 0;
}

static bool takes_tiles(const vol_conv *c, const long n[3])
{
    return c->tiled && n[0] * n[1] >= 64 && n[1] >= 4 && (c->points == 6 || n[2] >= 4);
}

void vol_conv_fit(vol_conv *c, const long n[3])
{
    if (!takes_tiles(c, n))
        kr_free_at(&c->tiled);
}

void vol_conv_close(vol_conv *c)
{
    kr_free_at(&c->w);
    kr_free_at(&c->bias);
    kr_free_at(&c->tiled);
}

double vol_conv_flops(const vol_conv *c, const long out[3])
{
    return 2. * (double)c->outs * (double)c->ins * (double)(c->k[0] * c->k[1] * c->k[2]) * (double)out[0] * (double)out[1] * (double)out[2];
}

double vol_conv_bytes(const vol_conv *c) { return 4. * (double)(c->outs * c->ins) * (double)(c->k[0] * c->k[1] * c->k[2] + 3 * (c->tiled ? c->points : 0)); }

struct job {
    const vol_conv *c;
    const vol *y, *a, *b;
    long first, rows, range;                  /* plane; rows of a task; numbers of a flat range            */
    int taps;
    long offset[TAPS], chan[2];               /* of all taps; from channel to channel of a and b           */
    int at[TAPS][3];                          /* where taps look: voxels from the output's                 */
};

/* The numbers that belong to one output, from (y, z, 0) or from the flat position p on. */
static void row_of(vol_row *r, const struct job *j, long x, long y)
{
    const vol_conv *c = j->c;
    *r = (vol_row){ .in = { { j->a->data + x, j->chan[0], j->b ? j->a->c : c->ins }, { j->b ? j->b->data + x : NULL, j->chan[1], j->b ? j->b->c : 0 } }, .all = j->taps,
                    .w = c->w, .bias = c->bias, .y = j->y->data + y, .chan = j->y->chan, .outs = c->outs, .act = c->act, .slope = c->slope };
}

enum { ROWS = 4, RANGE = 768 };

/* Some rows of a plane; taps that look beyond the volume along y and z are left out, along x they meet the zeros between rows. */
static int rows(void *self, long i)
{
    const struct job *j = self;
    long per = (j->y->n[1] + j->rows - 1) / j->rows, z = j->first + i / per, y = i % per * j->rows, end = y + j->rows < j->y->n[1] ? y + j->rows : j->y->n[1];
    for (; y < end; y++) {
        long offset[TAPS];
        int tap[TAPS], n = 0;
        for (int t = 0; t < j->taps; t++) {
            long ay = y + j->at[t][1], az = z + j->at[t][2];
            if (ay >= 0 && ay < j->a->n[1] && az >= 0 && az < j->a->n[2]) {
                offset[n] = j->offset[t];
                tap[n++] = t;
            }
        }
        vol_row r;
        row_of(&r, j, z * j->a->plane + y * j->a->row, z * j->y->plane + y * j->y->row);
        r.taps = n;
        r.offset = offset;
        r.tap = tap;
        r.n = j->y->n[0];
        j->c->kern->conv(&r);
    }
    return 0;
}

/* Small volumes: a stretch of all that lies in memory from the first voxel to the last, zeros between rows included. */
static int stretch(void *self, long i)
{
    const struct job *j = self;
    int tap[TAPS];
    for (int t = 0; t < j->taps; t++)
        tap[t] = t;
    vol_row r;
    row_of(&r, j, i * RANGE, i * RANGE);
    r.taps = j->taps;
    r.offset = j->offset;
    r.tap = tap;
    r.n = j->range - i * RANGE < RANGE ? j->range - i * RANGE : RANGE;
    j->c->kern->conv(&r);
    return 0;
}

static void clear_halo(const vol *v)
{
    for (long c = 0; c < v->c; c++)
        for (long z = 0; z < v->n[2]; z++) {
            for (long y = 0; y < v->n[1]; y++)
                memset(vol_at(v, c, y, z) + v->n[0], 0, (size_t)v->halo[0] * sizeof(float));
            memset(vol_at(v, c, v->n[1], z), 0, (size_t)(v->halo[1] * v->row) * sizeof(float));
        }
    for (long c = 0; c < v->c; c++)
        memset(vol_at(v, c, 0, v->n[2]), 0, (size_t)(v->halo[2] * v->plane) * sizeof(float));
}

static long floor_div(long a, long b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* Taps of a convolution whose inputs lie in `phases` arrays each, one behind the other. */
static void taps_of(struct job *j, const vol *a)
{
    const vol_conv *c = j->c;
    for (int z = 0; z < c->k[2]; z++)
        for (int y = 0; y < c->k[1]; y++)
            for (int x = 0; x < c->k[0]; x++, j->taps++) {
                int k[3] = { x, y, z };
                long phase = 0, step[3];
                for (int d = 2; d >= 0; d--) {
                    long t = (long)(k[d] - c->k[d] / 2) * c->dilation[d];
                    step[d] = floor_div(t, c->stride[d]);
                    phase = phase * c->stride[d] + t - step[d] * c->stride[d];
                    j->at[j->taps][d] = (int)step[d];
                }
                j->offset[j->taps] = phase * a->chan + step[2] * a->plane + step[1] * a->row + step[0];
            }
}

/* Every stride-th voxel from each beginning, as an array of its own: channel c, phase x + sx (y + sy z). */
struct split { vol *to; const vol *from; const int *s; };
static int split_channel(void *self, long i)
{
    const struct split *p = self;
    int phases = p->s[0] * p->s[1] * p->s[2], ph = (int)(i % phases), x = ph % p->s[0], y = ph / p->s[0] % p->s[1], z = ph / p->s[0] / p->s[1];
    long c = i / phases;
    for (long b = 0; b < p->to->n[2]; b++)
        for (long a = 0; a < p->to->n[1]; a++) {
            float *to = vol_at(p->to, i, a, b);
            long from_y = a * p->s[1] + y, from_z = b * p->s[2] + z, n = (p->from->n[0] - x + p->s[0] - 1) / p->s[0];
            if (from_y >= p->from->n[1] || from_z >= p->from->n[2] || n <= 0) {
                memset(to, 0, (size_t)p->to->n[0] * sizeof *to);
                continue;
            }
            const float *from = vol_at(p->from, c, from_y, from_z) + x;
            for (long k = 0; k < n; k++)
                to[k] = from[k * p->s[0]];
            for (long k = n; k < p->to->n[0]; k++)
                to[k] = 0;
        }
    return 0;
}

/* Some tiles side by side, `together` of them, each 4 rows (of 4 planes) of outputs. */
struct tiling {
    const vol_conv *c;
    const vol *y, *a, *b;
    long count, across, together, length, room;      /* tiles; of them along y; of a task; numbers of a channel of a point; of a worker */
    float *rooms;
    const float *zeros;
};

enum { TILE_ROOM = 192 << 10 };              /* numbers of a worker that stay in a cache of 1 MiB           */

/* How many tiles side by side: rows are taken by vectors of 16, and each task reads the weights anew, which takes as long as one more. Room beyond the
 * cache slows all steps: it is worth it only where rows are short. No fewer tasks than threads. */
static long together_of(const vol_conv *c, const vol *y, long tiles)
{
    long best = 1, most = (tiles + kr_threads() - 1) / kr_threads();
    double least = INFINITY;
    for (long t = 1; t <= 16 && t <= most; t++) {
        long vectors = (t * (y->n[0] + 2) - 2 + 15) / 16, tasks = (tiles + t - 1) / t, room = c->points * (c->ins + c->outs) * t * (y->n[0] + 2);
        double cost = (double)tasks * (double)(vectors + 1) * (room > TILE_ROOM ? 1.1 : 1.03);
        if (t > 1 && room > (y->n[0] < 24 ? 8 : 1) * TILE_ROOM)
            break;
        if (cost < least) {
            least = (double)tasks * (double)(vectors + 1);
            best = t;
        }
    }
    return best;
}

static int tiles(void *self, long i)
{
    const struct tiling *j = self;
    const vol_conv *c = j->c;
    bool deep = c->points == 36;
    long width = j->y->n[0] + 2, length = j->length, first = i * j->together, count = j->count - first < j->together ? j->count - first : j->together;
    float *in = j->rooms + kr_worker() * j->room, *sum = in + c->points * c->ins * length;
    static const int tap[3] = { 0, 1, 2 };
    static const long offset[3] = { 0, 1, 2 };
    for (long t = 0; t < count; t++)
        for (long ch = 0; ch < c->ins; ch++) {
            const vol *v = ch < j->a->c ? j->a : j->b;
            long y0 = 4 * ((first + t) % j->across), z0 = (first + t) / j->across * (deep ? 4 : 1);
            const float *rows[36];
            for (int k = 0; k < c->points; k++) {
                long y = y0 + k % 6 - 1, z = z0 + (deep ? k / 6 - 1 : 0);
                rows[k] = y < 0 || z < 0 || y >= v->n[1] || z >= v->n[2] ? j->zeros : vol_at(v, ch - (v == j->a ? 0 : j->a->c), y, z) - 1;
            }
            c->kern->tile_in(in + ch * length + t * width, c->ins * length, rows, width, deep);
        }
    for (int k = 0; k < c->points; k++) {
        vol_row r = { .in = { { in + k * c->ins * length, length, c->ins }, { NULL, 0, 0 } }, .taps = 3, .all = 3, .offset = offset, .tap = tap,
                      .w = c->tiled + k * c->outs * c->ins * 3, .bias = j->zeros, .y = sum + k * c->outs * length, .chan = length, .outs = c->outs, .n = (count * width + 13) / 16 * 16 };      /* whole vectors, the last numbers for nobody */
        c->kern->conv(&r);
    }
    for (long t = 0; t < count; t++)
        for (long ch = 0; ch < c->outs; ch++) {
            float *rows[16];
            for (int k = 0; k < (deep ? 16 : 4); k++) {
                long y = 4 * ((first + t) % j->across) + k % 4, z = (first + t) / j->across * (deep ? 4 : 1) + k / 4;
                rows[k] = y < j->y->n[1] && z < j->y->n[2] ? vol_at(j->y, ch, y, z) : NULL;
            }
            c->kern->tile_out(rows, sum + ch * length + t * width, c->outs * length, j->y->n[0], deep, c->bias[ch], c->act, c->slope);
        }
    return 0;
}

static int run_tiles(const vol_conv *c, vol *y, const vol *a, const vol *b)
{
    struct tiling j = { .c = c, .y = y, .a = a, .b = b, .across = (y->n[1] + 3) / 4 };
    j.count = j.across * (c->points == 36 ? (y->n[2] + 3) / 4 : y->n[2]);
    j.together = together_of(c, y, j.count);
    long longest = c->outs > y->n[0] + 2 ? c->outs : y->n[0] + 2;
    j.length = j.together * (y->n[0] + 2) + 16;
    j.room = c->points * (c->ins + c->outs) * j.length + SLACK;
    kr_auto float *rooms = j.rooms = kr_alloc_zero((size_t)(kr_threads() * j.room), sizeof *rooms), *zeros = kr_alloc_zero((size_t)(longest + SLACK), sizeof *zeros);
    j.zeros = zeros;
    return rooms && zeros ? spread(vol_conv_flops(c, y->n), (j.count + j.together - 1) / j.together, tiles, &j) : kr_error_code();
}

int vol_conv_run(const vol_conv *c, vol_pool *p, vol *y, const vol *a, const vol *b)
{
    int phases = c->stride[0] * c->stride[1] * c->stride[2], e = 0;
    kr_assert(a->c + (b ? b->c : 0) == c->ins && y->c == c->outs && (!b || (phases == 1 && a->chan == b->chan && a->row == b->row)));
    if (takes_tiles(c, y->n) && a->halo[0])
        return run_tiles(c, y, a, b);
    vol *split = NULL;
    if (phases > 1) {
        split = vol_take(p, a->c * phases, y->n, y->halo);
        if (!split)
            return kr_error_code();
        struct split s = { split, a, c->stride };
        e = spread(4. * (double)(a->c * a->n[0]) * (double)(a->n[1] * a->n[2]), a->c * phases, split_channel, &s);
    }
    struct job j = { .c = c, .y = y, .a = split ? split : a, .b = b };
    j.chan[0] = phases * j.a->chan;
    j.chan[1] = b ? b->chan : 0;
    taps_of(&j, j.a);
    struct vol ahead = *j.a;                  /* as a value of c->ins channels                              */
    ahead.c = a->c;
    j.a = &ahead;
    bool wide = y->n[0] >= 32 || j.a->row != y->row || j.a->plane != y->plane;
    for (int d = 0; d < 3; d++) {
        kr_assert(j.a->n[d] == y->n[d] && (d || j.a->halo[d] >= c->dilation[d] * (c->k[d] / 2)));
        wide = wide || j.a->halo[d] < c->dilation[d] * (c->k[d] / 2);
    }
    if (!e && wide) {
        j.rows = ROWS;
        e = spread(vol_conv_flops(c, y->n), y->n[2] * ((y->n[1] + ROWS - 1) / ROWS), rows, &j);
    } else if (!e) {
        j.range = (y->n[2] - 1) * y->plane + (y->n[1] - 1) * y->row + y->n[0];
        e = spread(vol_conv_flops(c, y->n), (j.range + RANGE - 1) / RANGE, stretch, &j);
        clear_halo(y);
    }
    vol_give(p, &split);
    return e;
}

int vol_conv_drift(const vol_conv *c, vol *x, long far, bool down)
{
    kr_assert(far >= (long)c->dilation[2] * (c->k[2] / 2) + VOL_DRIFT && x->halo[2] >= far);
    vol in = *x, out = *x;
    out.data += down ? -far * out.plane : far * out.plane;
    struct job j = { .c = c, .y = &out, .a = &in, .chan = { in.chan, 0 }, .rows = ROWS };
    taps_of(&j, &in);
    kr_assert(c->stride[0] * c->stride[1] * c->stride[2] == 1 && in.halo[0] >= c->dilation[0] * (c->k[0] / 2));
    long n = in.n[2], batches = (n + VOL_DRIFT - 1) / VOL_DRIFT, per = (in.n[1] + ROWS - 1) / ROWS;
    int e = 0;
    in.c = c->ins;
    out.c = c->outs;
    for (long i = 0; !e && i < batches; i++) {
        long b = down ? i : batches - 1 - i, planes = n - b * VOL_DRIFT < VOL_DRIFT ? n - b * VOL_DRIFT : VOL_DRIFT;
        j.first = b * VOL_DRIFT;
        e = kr_for(planes * per, rows, &j);
    }
    *x = out;
    return e;
}

/* ---- Transposed convolution: a convolution of one tap for each place within the stride ---- */
int vol_up_make(vol_up *u, const float *weight, const float *bias, long ins, long outs, const int stride[3])
{
    *u = (vol_up){ .ins = ins, .outs = outs, .kern = vol_kern_best() };
    long taps = 1;
    for (int d = 0; d < 3; d++) {
        u->stride[d] = stride[d];
        taps *= stride[d];
        if (stride[d] < 1 || stride[d] > 8)
            return kr_fail(KR_EREFUSED, "a transposed convolution with a stride of %d is not built", stride[d]);
    }
    u->w = kr_alloc((size_t)(outs * ins * taps), sizeof *u->w);
    u->bias = kr_alloc_zero((size_t)outs, sizeof *u->bias);
    if (!u->w || !u->bias) {
        vol_up_close(u);
        return kr_error_code();
    }
    for (long t = 0; t < taps; t++)
        pack(u->w + t * outs * ins, weight + t, outs, ins, 1, u->kern->most, taps, outs * taps);
    if (bias)
        memcpy(u->bias, bias, (size_t)outs * sizeof *bias);
    return 0;
}

void vol_up_close(vol_up *u)
{
    kr_free_at(&u->w);
    kr_free_at(&u->bias);
}

struct up { const vol_up *u; vol *y; const vol *x; float *room; long size; };
static int up_row(void *self, long i)
{
    const struct up *j = self;
    const int *s = j->u->stride;
    long y = i % j->x->n[1], z = i / j->x->n[1], n = j->x->n[0], zero = 0;
    int tap = 0;
    float *room = j->room + kr_worker() * j->size;
    for (int t = 0; t < s[0] * s[1] * s[2]; t++) {
        vol_row r = { .in = { { vol_at(j->x, 0, y, z), j->x->chan, j->u->ins }, { NULL, 0, 0 } }, .taps = 1, .all = 1, .offset = &zero, .tap = &tap,
                      .w = j->u->w + t * j->u->outs * j->u->ins, .bias = j->u->bias, .y = room, .chan = n, .outs = j->u->outs, .n = n };
        j->u->kern->conv(&r);
        for (long o = 0; o < j->u->outs; o++) {
            float *to = vol_at(j->y, o, y * s[1] + t / s[0] % s[1], z * s[2] + t / s[0] / s[1]) + t % s[0];
            for (long k = 0; k < n; k++)
                to[k * s[0]] = room[o * n + k];
        }
    }
    return 0;
}

int vol_up_run(const vol_up *u, vol *y, const vol *x)
{
    for (int d = 0; d < 3; d++)
        kr_assert(y->n[d] == x->n[d] * u->stride[d]);
    struct up j = { .u = u, .y = y, .x = x, .size = u->outs * x->n[0] + SLACK };
    kr_auto float *room = j.room = kr_alloc((size_t)(kr_threads() * j.size), sizeof *room);
    return room ? spread(2. * (double)(u->ins * u->outs) * (double)(y->n[0] * y->n[1] * y->n[2]), x->n[1] * x->n[2], up_row, &j) : kr_error_code();
}

/* ---- Norm, pooling ---- */
struct norm { vol *y; const vol *x, *plus; const float *gamma, *beta; double eps; float slope; };
static int norm_channel(void *self, long c)
{
    const struct norm *j = self;
    const vol *x = j->x;
    double sums[VOL_LANES] = { 0 }, squares[VOL_LANES] = { 0 }, sum = 0, square = 0, n = (double)x->n[0] * (double)x->n[1] * (double)x->n[2];
    const vol_kern *kern = vol_kern_best();
    for (long z = 0; z < x->n[2]; z++)
        for (long y = 0; y < x->n[1]; y++)
            kern->moments(vol_at(x, c, y, z), x->n[0], sums, squares);
    for (int l = 0; l < VOL_LANES; l++) {
        sum += sums[l];
        square += squares[l];
    }
    double mean = sum / n, variance = square / n - mean * mean, scale = (j->gamma ? (double)j->gamma[c] : 1) / sqrt((variance > 0 ? variance : 0) + j->eps);
    double shift = (j->beta ? (double)j->beta[c] : 0) - mean * scale;
    for (long z = 0; z < x->n[2]; z++)
        for (long y = 0; y < x->n[1]; y++)
            kern->normalise(vol_at(j->y, c, y, z), vol_at(x, c, y, z), x->n[0], (float)scale, (float)shift, j->plus ? vol_at(j->plus, c, y, z) : NULL, j->slope);
    return 0;
}

int vol_norm_run(vol *y, const vol *x, const float *gamma, const float *beta, double eps, const vol *plus, float slope)
{
    struct norm j = { y, x, plus, gamma, beta, eps, slope };
    return spread(8. * (double)(x->c * x->n[0]) * (double)(x->n[1] * x->n[2]), x->c, norm_channel, &j);
}

struct pooling { vol *y; const vol *x; const int *s; };
static int pool_channel(void *self, long c)
{
    const struct pooling *j = self;
    float share = 1.f / (float)(j->s[0] * j->s[1] * j->s[2]);
    for (long z = 0; z < j->y->n[2]; z++)
        for (long y = 0; y < j->y->n[1]; y++)
            for (long x = 0; x < j->y->n[0]; x++) {
                float sum = 0;
                for (int t = 0; t < j->s[0] * j->s[1] * j->s[2]; t++)
                    sum += vol_at(j->x, c, y * j->s[1] + t / j->s[0] % j->s[1], z * j->s[2] + t / j->s[0] / j->s[1])[x * j->s[0] + t % j->s[0]];
                vol_at(j->y, c, y, z)[x] = sum * share;
            }
    return 0;
}

int vol_pool_run(vol *y, const vol *x, const int stride[3])
{
    struct pooling j = { y, x, stride };
    return spread(4. * (double)(x->c * x->n[0]) * (double)(x->n[1] * x->n[2]), x->c, pool_channel, &j);
}
