/* bench_nn.c: kray bench nn: the layers of unrolled networks one by one, and whole networks with random weights, on one slice of
 * 320 x 320 with 8 coils. Rates count the multiply-adds of the plain convolution, whatever form ran. */
#include "bench.h"
#include "kray/net.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 320, COILS = 8 };

static float next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / 8388608 - 1);
}

/* A tensor of random numbers of a size that keeps features of the order of 1. pixels: at which it is applied, over all its uses;
 * its share of the work is added to *gflop. */
static const kr_tensor *add(kr_weights *w, double *gflop, double pixels, const char *name, long o, long i, long k)
{
    if (!w)
        return NULL;
    int dims = i ? 4 : 1;
    kr_tensor *t = kr_weights_add(w, name, dims, (long[]){ o, i, k, k });
    if (!t)
        return NULL;
    uint64_t seed = (uint64_t)w->count;
    float scale = i ? 1 / sqrtf((float)(i * k * k)) : 0.1f;
    for (long n = kr_tensor_count(t), j = 0; j < n; j++)
        t->data[j] = scale * next(&seed);
    *gflop += i ? 2e-9 * pixels * (double)kr_tensor_count(t) : 0;
    return t;
}

static void fill(kr_map *m, uint64_t seed)
{
    for (long c = 0; m && c < m->c; c++)
        for (long y = 0; y < m->h; y++)
            for (long x = 0; x < m->w; x++)
                kr_map_at(m, c / 16, y, x)[c % 16] = next(&seed);
}

/* ---- Layers ---- */
struct layer { kr_conv *conv; kr_cell *cell; kr_up2 *up; kr_map *x, *y, *r; };

static int conv(void *self) { struct layer *l = self; kr_conv_forward(l->conv, l->y, &l->x); return 0; }
static int cell(void *self) { struct layer *l = self; return kr_cell_forward(l->cell, l->y, l->x, l->r); }
static int norm(void *self) { struct layer *l = self; kr_instance_norm(l->y, l->x, KR_ACT_LEAKY); return 0; }
static int up(void *self) { struct layer *l = self; kr_up2_forward(l->up, l->y, l->x, true); return 0; }
static int pool(void *self) { struct layer *l = self; kr_avg_pool2(l->y, l->x); return 0; }

static void layer_clear(struct layer *l)
{
    kr_conv_unref(&l->conv);
    kr_cell_unref(&l->cell);
    kr_up2_unref(&l->up);
    kr_map_unref(&l->x);
    kr_map_unref(&l->y);
    kr_map_unref(&l->r);
}

static int bench_convs(struct bench *b)
{
    static const struct { long i, o, k, d, n; bool bf16; } job[] = { { 64, 64, 3, 1, 320, false }, { 64, 64, 3, 2, 320, false }, { 32, 32, 3, 1, 320, false },
        { 32, 32, 3, 1, 320, true }, { 18, 18, 3, 1, 320, false }, { 128, 128, 3, 1, 160, false }, { 144, 144, 3, 1, 40, false }, { 288, 288, 3, 1, 20, false }, { 4, 64, 5, 1, 320, false },
        { 2, 32, 5, 1, 320, false }, { 64, 2, 3, 1, 320, false }, { 64, 64, 1, 1, 320, false }, { 64, 64, 1, 1, 320, true }, { 4, 64, 5, 1, 320, true } };
    for (size_t q = 0; q < sizeof job / sizeof *job; q++) {
        if (job[q].bf16 && !kr_cpu_bf16())
            continue;
        kr_scoped(weights) w = kr_weights_new();
        double gflop = 0;
        const kr_tensor *t = add(w, &gflop, (double)(job[q].n * job[q].n), "weight", job[q].o, job[q].i, job[q].k), *bias = add(w, &gflop, 0, "bias", job[q].o, 0, 0);
        struct layer l = { .conv = bias ? kr_conv_new(t, bias, (int)job[q].d, KR_PAD_REPLICATE, KR_ACT_RELU, 1, NULL) : NULL,
                           .y = kr_map_new(job[q].o, job[q].n, job[q].n, 0) };
        l.x = l.conv ? kr_map_new(job[q].i, job[q].n, job[q].n, kr_conv_halo(l.conv)) : NULL;
        int e = l.x && l.y && !(job[q].bf16 && kr_conv_bf16(l.conv)) ? 0 : kr_error_code();
        char what[80];
        snprintf(what, sizeof what, "%ldx%ld convolution %ld to %ld, %ldx%ld%s%s", job[q].k, job[q].k, job[q].i, job[q].o, job[q].n, job[q].n,
                 job[q].d > 1 ? ", dilation 2" : "", job[q].bf16 ? ", bf16" : "");
        fill(l.x, q);
        e = e ? e : bench_row(b, "nn", what, conv, &l, gflop, "GFLOP", NULL);
        layer_clear(&l);
        if (e)
            return e;
    }
    return 0;
}

static int bench_cells(struct bench *b)
{
    static const struct { const char *what; enum kr_cell_kind kind; int parts; } job[] = { { "GRU of DIRECT", KR_CELL_GRU_DIRECT, 3 },
        { "GRU of ATOMMIC", KR_CELL_GRU, 3 }, { "MGU", KR_CELL_MGU, 2 }, { "IndRNN", KR_CELL_INDRNN, 1 } };
    double pixels = SIZE * SIZE;
    for (size_t q = 0; q < sizeof job / sizeof *job; q++)
        for (int half = 0; half < (kr_cpu_bf16() ? 2 : 1); half++) {
            kr_scoped(weights) w = kr_weights_new();
            double gflop = 0;
            const kr_tensor *t[3] = { NULL }, *bias[3] = { NULL };
            for (int i = 0; i < 3 && job[q].kind == KR_CELL_GRU_DIRECT; i++) {
                t[i] = add(w, &gflop, pixels, (char[]){ (char)('a' + i), 0 }, 64, 128, 1);
                bias[i] = add(w, &gflop, 0, (char[]){ (char)('p' + i), 0 }, 64, 0, 0);
            }
            for (int i = 0; i < 2 && job[q].kind != KR_CELL_GRU_DIRECT; i++)
                t[i] = i && job[q].kind == KR_CELL_INDRNN ? add(w, &gflop, pixels, "hh", 1, 64, 1)
                                                          : add(w, &gflop, pixels, i ? "hh" : "ih", job[q].parts * 64, 64, 1);
            if (job[q].kind != KR_CELL_GRU_DIRECT)
                bias[0] = add(w, &gflop, 0, "bias", job[q].parts * 64, 0, 0);
            struct layer l = { .cell = t[0] && t[1] && bias[0] ? kr_cell_new(job[q].kind, t, bias, false) : NULL, .x = kr_map_new(64, SIZE, SIZE, 0),
                               .y = kr_map_new(64, SIZE, SIZE, 1), .r = kr_map_new(64, SIZE, SIZE, 1) };
            int e = l.cell && l.x && l.y && l.r && !(half && kr_cell_bf16(l.cell)) ? 0 : kr_error_code();
            char what[80];
            snprintf(what, sizeof what, "%s, 64 features, %dx%d%s", job[q].what, SIZE, SIZE, half ? ", bf16" : "");
            fill(l.x, q);
            e = e ? e : bench_row(b, "nn", what, cell, &l, gflop, "GFLOP", NULL);
            layer_clear(&l);
            if (e)
                return e;
        }
    return 0;
}

static int bench_others(struct bench *b)
{
    kr_scoped(weights) w = kr_weights_new();
    double gflop = 0;
    const kr_tensor *t = add(w, &gflop, SIZE * SIZE / 4, "weight", 64, 32, 2);
    struct layer n = { .x = kr_map_new(32, SIZE, SIZE, 0), .y = kr_map_new(32, SIZE, SIZE, 0) };
    struct layer u = { .up = t ? kr_up2_new(t) : NULL, .x = kr_map_new(64, SIZE / 2, SIZE / 2, 0), .y = kr_map_new(32, SIZE, SIZE, 0) };
    struct layer p = { .x = kr_map_new(32, SIZE, SIZE, 0), .y = kr_map_new(32, SIZE / 2, SIZE / 2, 0) };
    int e = n.x && n.y && u.up && u.x && u.y && p.x && p.y ? 0 : kr_error_code();
    fill(n.x, 1);
    fill(u.x, 2);
    e = e ? e : bench_row(b, "nn", "instance norm and leaky ReLU, 32 of 320x320", norm, &n, 3 * 4e-9 * 32 * SIZE * SIZE, "GB", NULL);
    e = e ? e : bench_row(b, "nn", "transposed convolution 64 to 32, norm, 320x320", up, &u, gflop, "GFLOP", NULL);
    e = e ? e : bench_row(b, "nn", "average pooling, 32 of 320x320", pool, &p, 1.25 * 4e-9 * 32 * SIZE * SIZE, "GB", NULL);
    layer_clear(&n);
    layer_clear(&u);
    layer_clear(&p);
    return e;
}

/* ---- Networks ---- */
struct slice { kr_net *net; kr_net_input in; kr_cfloat *image; };
static int infer(void *self)
{
    struct slice *s = self;
    return kr_net_run(s->net, s->image, &s->in, NULL);
}

/* An untrained network of the first sizes of "KEY=VALUE,KEY=VALUE;...". */
static kr_weights *untrained(const kr_net_kind *kind, const char *sizes)
{
    kr_weights *w = kr_weights_new();
    kr_auto char *first = kr_strf("%.*s", (int)strcspn(sizes, ";"), sizes);
    char *rest = first;
    bool good = w && first;
    for (char *one; good && (one = strtok_r(rest, ",", &rest)); ) {
        kr_auto char *key = kr_strf("hyper.%.*s", (int)strcspn(one, "="), one);
        good = key && !kr_meta_set(w->meta, key, "%s", one + strcspn(one, "=") + (strchr(one, '=') != NULL));
    }
    if (!good || kind->fresh(w, 1))
        kr_weights_unref(&w);
    return w;
}

/* One slice through that network. */
static int bench_net(struct bench *b, const char *what, const kr_net_kind *kind, const char *sizes, bool half, struct slice *s)
{
    kr_scoped(weights) w = untrained(kind, sizes);
    double bytes, flops;
    if (!w || kr_meta_set(w->meta, "hyper.precision", half ? "bf16" : "f32") || kr_net_cost(kind, w, &s->in, &bytes, &flops) || !(s->net = kr_net_new(kind->name, w, false)))
        return kr_error_code();
    kr_auto char *full = kr_strf("%s%s", what, half ? ", bf16" : "");
    int e = full ? bench_row(b, "nn", full, infer, s, flops / 1e9, "GFLOP", NULL) : kr_error_code();
    kr_net_unref(&s->net);
    return e;
}

static int bench_nets(struct bench *b)
{
    static const struct { const char *what, *net, *sizes; } job[] = {
        { "RIM, GRU, 64 features x 8 steps", "rim_direct", "hidden_channels=64,depth=2,length=8" },
        { "RIM, IndRNN, 64 features x 8 steps", "cirim", "num_cascades=1,conv_filters=64 64 2,time_steps=8" },
        { "RecurrentVarNet, 8 steps, 4 layers, 32 hidden", "recurrentvarnet", "num_steps=8,recurrent_num_layers=4,recurrent_hidden_channels=32" },
        { "CIRIM, 5 cascades x 8 steps, 64 features", "cirim", "num_cascades=5,conv_filters=64 64 2,time_steps=8" },
        { "E2E-VarNet, 8 cascades, 18 channels", "varnet", "num_cascades=8,chans=18" } };
    long n = SIZE * SIZE;
    kr_scoped(array) k = bench_noise(KR_SHAPE([KR_X] = SIZE, [KR_Y] = SIZE, [KR_COIL] = COILS), 1);
    kr_scoped(array) maps = bench_noise(KR_SHAPE([KR_X] = SIZE, [KR_Y] = SIZE, [KR_COIL] = COILS), 2);
    kr_auto float *mask = kr_alloc_zero((size_t)n, sizeof *mask), *acs = kr_alloc_zero((size_t)n, sizeof *acs), *noise = kr_alloc((size_t)n, sizeof *noise);
    kr_auto kr_cfloat *image = kr_alloc((size_t)n, sizeof *image);
    if (!k || !maps || !mask || !acs || !noise || !image)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        acs[i] = labs(i % SIZE - SIZE / 2) < 13;
        mask[i] = acs[i] != 0 || i % 4 == 0;
        noise[i] = 0.1f;
    }
    for (long i = 0; i < n * COILS; i++) {
        KR_C(k)[i] *= mask[i % n];
        KR_C(maps)[i] *= 0.4f;                                       /* sum of squares about 1 */
    }
    struct slice s = { .image = image, .in = { .coils = COILS, .h = SIZE, .w = SIZE, .kspace = KR_C(k), .mask = mask, .acs = acs, .sens = KR_C(maps), .scaling = 1, .centred = true,
                       .image = mask, .start = KR_C(maps), .adjoint = KR_C(maps), .noise = noise } };
    int e = 0;
    for (int i = 0; kr_nets[i] && !e; i++)
        for (size_t q = 0; q < sizeof job / sizeof *job && !e; q++)
            for (int half = 0; half < (kr_nets[i]->bf16 && kr_cpu_bf16() ? 2 : 1) && !strcmp(job[q].net, kr_nets[i]->name) && !e; half++)
                e = bench_net(b, job[q].what, kr_nets[i], job[q].sizes, half, &s);
    for (int i = 0; kr_nets[i] && !e; i++) {                 /* each network that makes one itself */
        kr_auto char *what = kr_strf("%s, a small one", kr_nets[i]->name);
        if (kr_nets[i]->fresh && kr_nets[i]->small)
            e = what ? bench_net(b, what, kr_nets[i], kr_nets[i]->small, false, &s) : kr_error_code();
    }
    return e;
}

/* ---- The part ---- */
enum { ROUNDS = 4000000 };
static int peak_thread(void *self, long i)
{
    ((double *)self)[i] = kr_peak_loop(ROUNDS);
    return 0;
}
static int peak(void *self) { return kr_for(kr_threads(), peak_thread, self); }

int bench_nn(struct bench *b)
{
    kr_auto double *flop = kr_alloc_zero((size_t)kr_threads(), sizeof *flop);
    if (!flop || peak(flop))
        return kr_error_code();
    double rate = 0;
    int e = bench_row(b, "nn", "multiply-adds in registers: the peak", peak, flop, 1e-9 * flop[0] * kr_threads(), "GFLOP", &rate);
    b->peak = rate;
    e = e ? e : bench_convs(b);
    e = e ? e : bench_cells(b);
    e = e ? e : bench_others(b);
    e = e ? e : bench_nets(b);
    b->peak = 0;
    if (!e && !b->o->json)
        puts("nn       (peak: multiply-adds in registers. More than 100 %: Winograd's algorithm needs fewer multiplications than the convolution that is counted)");
    return e;
}
