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
static bool named(kr_weights *w, double *gflop, double pixels, const char *prefix, const char *name, bool bias, long o, long i, long k)
{
    kr_auto char *weight = kr_strf("%s%s.weight", prefix, name), *second = kr_strf("%s%s.bias", prefix, name);
    return weight && second && add(w, gflop, pixels, weight, o, i, k) && (!bias || add(w, gflop, 0, second, o, 0, 0));
}

/* DIRECT's convolutional GRU, used `uses` times. */
static bool convgru(kr_weights *w, double *gflop, double uses, const char *prefix, long in, long hidden, long layers)
{
    static const char *const gate[3] = { "update_gates", "reset_gates", "out_gates" };
    char name[48];
    bool good = true;
    for (long l = 0; good && l <= layers; l++) {
        snprintf(name, sizeof name, "conv_blocks.%ld.1", l);
        good = named(w, gflop, uses * SIZE * SIZE, prefix, name, true, l < layers ? hidden : 2, l ? hidden : in, l ? 3 : 5);
        for (int g = 0; good && g < 3 && l < layers; g++) {
            snprintf(name, sizeof name, "%s.%ld.0", gate[g], l);
            good = named(w, gflop, uses * SIZE * SIZE, prefix, name, true, hidden, 2 * hidden, 1);
        }
    }
    return good;
}

static bool rim(kr_weights *w, double *gflop) { return convgru(w, gflop, 8, "cell_list.0.", 4, 64, 2) && !kr_meta_set(w->meta, "hyper.length", "8"); }

static bool recurrentvarnet(kr_weights *w, double *gflop)
{
    static const long wide[] = { 2, 32, 32, 64, 64 };
    char name[64];
    bool good = true;
    for (int i = 0; good && i < 4; i++) {
        snprintf(name, sizeof name, "conv_blocks.%d.1", i);
        good = named(w, gflop, SIZE * SIZE, "initializer.", name, true, wide[i + 1], wide[i], 3);
    }
    for (int i = 0; good && i < 4; i++) {
        snprintf(name, sizeof name, "out_blocks.%d.0", i);
        good = named(w, gflop, SIZE * SIZE, "initializer.", name, true, 32, 160, 1);
    }
    for (int t = 0; good && t < 8; t++) {
        snprintf(name, sizeof name, "block_list.%d.learning_rate", t);
        good = add(w, gflop, 0, name, 1, 0, 0) != NULL;
        snprintf(name, sizeof name, "block_list.%d.regularizer.", t);
        good = good && convgru(w, gflop, 1, name, 2, 32, 4);
    }
    return good;
}

static bool cascades(kr_weights *w, double *gflop, int count)
{
    char prefix[64], key[100];
    bool good = !kr_meta_set(w->meta, "hyper.time_steps", "8");
    for (int i = 0; good && i < count; i++) {
        snprintf(prefix, sizeof prefix, "reconstruction_module.%d.", i);
        for (int l = 0; good && l < 2; l++) {
            snprintf(key, sizeof key, "layers.%d.convs.conv_layer", l);
            good = named(w, gflop, 8 * SIZE * SIZE, prefix, key, true, 64, l ? 64 : 4, l ? 3 : 5);
            snprintf(key, sizeof key, "layers.%d.rnn.ih", l);
            good = good && named(w, gflop, 8 * SIZE * SIZE, prefix, key, true, 64, 64, 1);
            snprintf(key, sizeof key, "%slayers.%d.rnn.hh", prefix, l);
            good = good && add(w, gflop, 8 * SIZE * SIZE, key, 1, 64, 1);
        }
        good = good && named(w, gflop, 8 * SIZE * SIZE, prefix, "final_layer.0.conv_layer", false, 2, 64, 3);
    }
    return good;
}
static bool rim_indrnn(kr_weights *w, double *gflop) { return cascades(w, gflop, 1); }
static bool cirim(kr_weights *w, double *gflop) { return cascades(w, gflop, 5); }

static bool unet(kr_weights *w, double *gflop, double uses, const char *prefix, long chans)
{
    enum { POOLS = 4 };
    char name[64];
    bool good = true;
    for (int l = 0; good && l <= POOLS; l++) {
        double pixels = uses * SIZE * SIZE / (double)(1 << 2 * l);
        long c = chans << l;
        snprintf(name, sizeof name, l < POOLS ? "down_sample_layers.%d.layers.0" : "conv.layers.0", l);
        good = named(w, gflop, pixels, prefix, name, false, c, l ? c / 2 : 2, 3);
        snprintf(name, sizeof name, l < POOLS ? "down_sample_layers.%d.layers.4" : "conv.layers.4", l);
        good = good && named(w, gflop, pixels, prefix, name, false, c, c, 3);
        if (l == POOLS)
            break;
        const char *in = l ? "" : "0.";                               /* the last upward block stands beside the final convolution */
        snprintf(name, sizeof name, "up_conv.%d.%slayers.0", POOLS - 1 - l, in);
        good = good && named(w, gflop, pixels, prefix, name, false, c, 2 * c, 3);
        snprintf(name, sizeof name, "up_conv.%d.%slayers.4", POOLS - 1 - l, in);
        good = good && named(w, gflop, pixels, prefix, name, false, c, c, 3);
        snprintf(name, sizeof name, "up_transpose_conv.%d.layers.0", POOLS - 1 - l);
        good = good && named(w, gflop, pixels / 4, prefix, name, false, 2 * c, c, 2);
    }
    return good && named(w, gflop, uses * SIZE * SIZE, prefix, "up_conv.3.1", true, 2, chans, 1);
}

static bool varnet(kr_weights *w, double *gflop)
{
    char name[64];
    bool good = unet(w, gflop, COILS, "sens_net.norm_unet.unet.", 8);
    for (int t = 0; good && t < 8; t++) {
        snprintf(name, sizeof name, "cascades.%d.dc_weight", t);
        good = add(w, gflop, 0, name, 1, 0, 0) != NULL;
        snprintf(name, sizeof name, "cascades.%d.model.unet.", t);
        good = good && unet(w, gflop, 1, name, 18);
    }
    return good;
}

struct slice { kr_net *net; kr_net_input in; kr_cfloat *image; };
static int infer(void *self)
{
    struct slice *s = self;
    return kr_net_run(s->net, s->image, &s->in, NULL);
}

/* A small network as its entry in the table makes it: the first sizes of "KEY=VALUE,KEY=VALUE;...". */
static kr_weights *small_one(const kr_net_kind *kind)
{
    kr_weights *w = kr_weights_new();
    kr_auto char *sizes = kr_strf("%.*s", (int)strcspn(kind->small, ";"), kind->small);
    char *rest = sizes;
    bool good = w && sizes;
    for (char *one; good && (one = strtok_r(rest, ",", &rest)); ) {
        kr_auto char *key = kr_strf("hyper.%.*s", (int)strcspn(one, "="), one);
        good = key && !kr_meta_set(w->meta, key, "%s", one + strcspn(one, "=") + (strchr(one, '=') != NULL));
    }
    if (!good || kind->fresh(w, 1))
        kr_weights_unref(&w);
    return w;
}

static int bench_nets(struct bench *b)
{
    static const struct { const char *what; bool (*make)(kr_weights *w, double *gflop); bool bf16; } job[] = {
        { "RIM, GRU, 64 features x 8 steps", rim, true }, { "RIM, IndRNN, 64 features x 8 steps", rim_indrnn, true },
        { "RecurrentVarNet, 8 steps, 4 layers, 32 hidden", recurrentvarnet, true }, { "CIRIM, 5 cascades x 8 steps, 64 features", cirim, true },
        { "E2E-VarNet, 8 cascades, 18 channels", varnet, false } };
    long n = SIZE * SIZE;
    kr_scoped(array) k = bench_noise(KR_SHAPE([KR_X] = SIZE, [KR_Y] = SIZE, [KR_COIL] = COILS), 1);
    kr_scoped(array) maps = bench_noise(KR_SHAPE([KR_X] = SIZE, [KR_Y] = SIZE, [KR_COIL] = COILS), 2);
    kr_auto float *mask = kr_alloc_zero((size_t)n, sizeof *mask), *acs = kr_alloc_zero((size_t)n, sizeof *acs);
    kr_auto kr_cfloat *image = kr_alloc((size_t)n, sizeof *image);
    if (!k || !maps || !mask || !acs || !image)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        acs[i] = labs(i % SIZE - SIZE / 2) < 13;
        mask[i] = acs[i] != 0 || i % 4 == 0;
    }
    for (long i = 0; i < n * COILS; i++) {
        KR_C(k)[i] *= mask[i % n];
        KR_C(maps)[i] *= 0.4f;                                       /* sum of squares about 1 */
    }
    for (size_t q = 0; q < sizeof job / sizeof *job; q++)
        for (int half = 0; half < (job[q].bf16 && kr_cpu_bf16() ? 2 : 1); half++) {
            kr_scoped(weights) w = kr_weights_new();
            double gflop = 0;
            if (!w || !job[q].make(w, &gflop) || kr_meta_set(w->meta, "hyper.precision", half ? "bf16" : "f32"))
                return kr_error_code();
            struct slice s = { .net = kr_net_new(NULL, w, false), .image = image, .in = { .coils = COILS, .h = SIZE, .w = SIZE, .kspace = KR_C(k),
                               .mask = mask, .acs = acs, .sens = KR_C(maps), .scaling = 1, .centred = true } };
            char what[80];
            snprintf(what, sizeof what, "%s%s", job[q].what, half ? ", bf16" : "");
            int e = s.net ? bench_row(b, "nn", what, infer, &s, gflop, "GFLOP", NULL) : kr_error_code();
            kr_net_unref(&s.net);
            if (e)
                return e;
        }
    for (int i = 0; kr_nets[i]; i++) {                       /* each network that makes one itself */
        if (!kr_nets[i]->fresh || !kr_nets[i]->small)
            continue;
        kr_scoped(weights) w = small_one(kr_nets[i]);
        double bytes, flops;
        if (!w || kr_net_cost(kr_nets[i], w, &(kr_net_input){ .coils = COILS, .h = SIZE, .w = SIZE }, &bytes, &flops))
            return kr_error_code();
        struct slice s = { .net = kr_net_new(kr_nets[i]->name, w, false), .image = image, .in = { .coils = COILS, .h = SIZE, .w = SIZE, .kspace = KR_C(k),
                           .mask = mask, .acs = acs, .sens = KR_C(maps), .scaling = 1, .centred = true, .image = mask, .start = KR_C(maps), .adjoint = KR_C(maps) } };
        char what[80];
        snprintf(what, sizeof what, "%s, a small one", kr_nets[i]->name);
        int e = s.net ? bench_row(b, "nn", what, infer, &s, flops / 1e9, "GFLOP", NULL) : kr_error_code();
        kr_net_unref(&s.net);
        if (e)
            return e;
    }
    return 0;
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
