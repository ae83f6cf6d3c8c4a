/* vol_nnunet.c: the U-Nets of nnU-Net v2, plain and with residual encoders, in 2D and 3D, as plans.json describes them and a checkpoint holds
 * them. Source: F. Isensee et al., Nature Methods 18:203 (2021); dynamic_network_architectures (github.com/MIC-DKFZ). */
#include "kray/volume.h"
#include "vol.h"
#include <jansson.h>
#include <pthread.h>
#include <string.h>

enum { STAGES = 12, CONVS = 16 };
struct block { vol_conv c; float *gamma, *beta; };           /* convolution, instance norm                 */
struct residual { struct block one, two, skip; bool pooled, projected; int stride[3]; };
struct stage { int convs, blocks; struct block *conv; struct residual *block; };
struct unet {
    int stages;
    bool residual, stem;
    struct block first;                                      /* the stem                                   */
    struct stage enc[STAGES], dec[STAGES];                   /* dec[i] follows up[i]                       */
    vol_up up[STAGES];
    vol_conv head;
    int stride[STAGES][3], kernel[STAGES][3], convs[STAGES], dec_convs[STAGES];
    long halo[3];
    double eps;
    float slope;
    int dims;
};

static void block_close(struct block *b)
{
    vol_conv_close(&b->c);
    kr_free_at(&b->gamma);
    kr_free_at(&b->beta);
}

static void stage_close(struct stage *s)
{
    for (int i = 0; s->conv && i < s->convs; i++)
        block_close(&s->conv[i]);
    for (int i = 0; s->block && i < s->blocks; i++) {
        block_close(&s->block[i].one);
        block_close(&s->block[i].two);
        block_close(&s->block[i].skip);
    }
    kr_free_at(&s->conv);
    kr_free_at(&s->block);
}

/* The values of the last run serve the next of as much work, also by another fold of the same network: their memory is not asked of the system for each
 * window anew. They go when a network is closed. */
static struct { pthread_mutex_t lock; vol_pool pool; double work; } stored = { .lock = PTHREAD_MUTEX_INITIALIZER };

static vol_pool kept_take(double work)
{
    pthread_mutex_lock(&stored.lock);
    if (stored.work < work || stored.work > work)
        vol_pool_clear(&stored.pool);
    vol_pool p = stored.pool;
    stored.pool = (vol_pool){ 0 };
    pthread_mutex_unlock(&stored.lock);
    return p;
}

static void kept_give(vol_pool *p, double work)
{
    pthread_mutex_lock(&stored.lock);
    vol_pool_clear(&stored.pool);
    if (work > 0)
        stored.pool = *p;
    stored.work = work;
    pthread_mutex_unlock(&stored.lock);
}

static void close_(void *self)
{
    struct unet *u = self;
    block_close(&u->first);
    for (int i = 0; i < STAGES; i++) {
        stage_close(&u->enc[i]);
        stage_close(&u->dec[i]);
        vol_up_close(&u->up[i]);
    }
    vol_conv_close(&u->head);
    kr_free(u);
    kept_give(&(vol_pool){ 0 }, 0);
}

/* ---- plans.json ---- */
/* A key of a configuration, or of those that it inherits from. */
static json_t *told(json_t *all, const char *name, const char *key)
{
    for (int deep = 0; deep < 8 && name; deep++) {
        json_t *c = json_object_get(all, name), *v = json_object_get(c, key);
        if (v)
            return v;
        name = json_string_value(json_object_get(c, "inherits_from"));
    }
    return NULL;
}

/* One entry of a list for each stage: a number for all, numbers, or lists of numbers in the order of the file (slowest axis first). */
static int triple(int to[3], json_t *list, int stage, int dims, const char *what)
{
    json_t *v = json_is_array(list) ? json_array_get(list, (size_t)stage) : list;
    for (int d = 0; d < 3; d++)
        to[d] = 1;
    for (int d = 0; d < dims; d++) {
        json_t *n = json_is_array(v) ? json_array_get(v, (size_t)d) : v;
        if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > 64 || (json_is_array(v) && json_array_size(v) != (size_t)dims))
            return kr_fail(KR_EFORMAT, "%s of stage %d is not %d numbers", what, stage, dims);
        to[dims - 1 - d] = (int)json_integer_value(n);
    }
    return 0;
}

static int count_of(json_t *list, int stage, const char *what)
{
    json_t *v = json_is_array(list) ? json_array_get(list, (size_t)stage) : list;
    long n = json_is_integer(v) ? (long)json_integer_value(v) : 0;
    return n >= 1 && n <= CONVS ? (int)n : kr_fail(KR_EFORMAT, "%s of stage %d is no number from 1 to %d", what, stage, CONVS);
}

/* The last part of "package.module.Name". */
static const char *last_word(json_t *v)
{
    const char *s = json_string_value(v), *dot = s ? strrchr(s, '.') : NULL;
    return dot ? dot + 1 : s;
}

static int known_kwargs(json_t *kw)
{
    static const char *const known[] = { "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder",
                                         "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs", "deep_supervision", "input_channels",
                                         "num_classes", "nonlin_first", "block", "bottleneck_channels", "stem_channels", "allow_init", "squeeze_excitation", "stochastic_depth_p", "pool" };
    const char *key;
    json_t *v;
    json_object_foreach(kw, key, v) {
        bool there = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            there = there || !strcmp(key, known[i]);
        if (!there)
            return kr_fail(KR_EFORMAT, "arch_kwargs.%s is not known to Kray", key);
    }
    const char *norm = last_word(json_object_get(kw, "norm_op")), *nonlin = last_word(json_object_get(kw, "nonlin")), *block = last_word(json_object_get(kw, "block"));
    if (norm && strcmp(norm, "InstanceNorm3d") && strcmp(norm, "InstanceNorm2d"))
        return kr_fail(KR_EFORMAT, "the norm %s is not built (InstanceNorm)", norm);
    if (nonlin && strcmp(nonlin, "LeakyReLU") && strcmp(nonlin, "ReLU"))
        return kr_fail(KR_EFORMAT, "the activation %s is not built (LeakyReLU, ReLU)", nonlin);
    if (block && strcmp(block, "BasicBlockD"))
        return kr_fail(KR_EFORMAT, "residual blocks of the kind %s are not built (BasicBlockD)", block);
    if (json_is_true(json_object_get(kw, "nonlin_first")) || json_is_true(json_object_get(kw, "squeeze_excitation")))
        return kr_fail(KR_EFORMAT, "nonlin_first and squeeze_excitation are not built");
    if (json_is_string(json_object_get(kw, "pool")) && strcmp(json_string_value(json_object_get(kw, "pool")), "conv"))
        return kr_fail(KR_EFORMAT, "downsampling by %s pooling is not built (strided convolutions)", json_string_value(json_object_get(kw, "pool")));
    return 0;
}

static int architecture(struct unet *u, json_t *plans, const char *name)
{
    json_t *all = json_object_get(plans, "configurations"), *arch = told(all, name, "architecture"), *kw = json_object_get(arch, "arch_kwargs");
    json_t *kernels, *strides, *convs, *dec, *patch = told(all, name, "patch_size");
    if (!json_object_get(all, name))
        return kr_fail(KR_EUSAGE, "plans.json has no configuration '%s'", name);
    const char *kind = arch ? last_word(json_object_get(arch, "network_class_name")) : json_string_value(told(all, name, "UNet_class_name"));
    u->dims = (int)json_array_size(patch);
    u->eps = 1e-5;
    u->slope = 0.01f;
    if (!kind || (strcmp(kind, "PlainConvUNet") && strcmp(kind, "ResidualEncoderUNet")))
        return kr_fail(KR_EFORMAT, "the network %s is not built (PlainConvUNet, ResidualEncoderUNet)", kind ? kind : "of these plans");
    u->residual = kind[0] == 'R';
    if (u->dims != 2 && u->dims != 3)
        return kr_fail(KR_EFORMAT, "patch_size of '%s' is not two or three numbers", name);
    if (arch) {
        if (known_kwargs(kw))
            return kr_error_code();
        kernels = json_object_get(kw, "kernel_sizes");
        strides = json_object_get(kw, "strides");
        convs = json_object_get(kw, u->residual ? "n_blocks_per_stage" : "n_conv_per_stage");
        dec = json_object_get(kw, "n_conv_per_stage_decoder");
        json_t *eps = json_object_get(json_object_get(kw, "norm_op_kwargs"), "eps"), *slope = json_object_get(json_object_get(kw, "nonlin_kwargs"), "negative_slope");
        const char *nonlin = last_word(json_object_get(kw, "nonlin"));
        u->eps = eps ? json_number_value(eps) : u->eps;
        u->slope = nonlin && !strcmp(nonlin, "ReLU") ? 0 : slope ? (float)json_number_value(slope) : u->slope;
        u->stages = (int)json_integer_value(json_object_get(kw, "n_stages"));
    } else {                                                 /* before nnU-Net 2.5 */
        kernels = told(all, name, "conv_kernel_sizes");
        strides = told(all, name, "pool_op_kernel_sizes");
        convs = told(all, name, "n_conv_per_stage_encoder");
        dec = told(all, name, "n_conv_per_stage_decoder");
        u->stages = (int)json_array_size(kernels);
    }
    if (u->stages < 2 || u->stages > STAGES || !kernels || !strides)
        return kr_fail(KR_EFORMAT, "the plans describe a network of %d stages; 2 to %d are built", u->stages, STAGES);
    for (int i = 0; i < u->stages; i++) {
        if (triple(u->kernel[i], kernels, i, u->dims, "kernel_sizes") || triple(u->stride[i], strides, i, u->dims, "strides"))
            return kr_error_code();
        u->convs[i] = count_of(convs, i, u->residual ? "n_blocks_per_stage" : "n_conv_per_stage");
        u->dec_convs[i] = i + 1 < u->stages ? count_of(dec, i, "n_conv_per_stage_decoder") : 0;
        if (u->convs[i] < 0 || u->dec_convs[i] < 0)
            return kr_error_code();
        for (int d = 0; d < 3; d++)
            u->halo[d] = u->kernel[i][d] / 2 > u->halo[d] ? u->kernel[i][d] / 2 : u->halo[d];
    }
    return 0;
}

/* ---- The checkpoint ---- */
struct source { const kr_weights *w; const char *prefix; };

static const kr_tensor *find(const struct source *s, const char *key, bool must)
{
    kr_auto char *name = kr_strf("%s%s", s->prefix, key);
    const kr_tensor *t = name ? kr_weights_find(s->w, name) : NULL;
    if (t)
        *t->read = true;
    else if (must)
        kr_fail(KR_EFORMAT, "the checkpoint has no tensor '%s', which the plans ask for", key);
    return t;
}

static float *copy_of(const kr_tensor *t, long n, const char *what)
{
    if (kr_tensor_count(t) != n) {
        kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers, %ld are wanted", what, kr_tensor_count(t), n);
        return NULL;
    }
    float *to = kr_alloc((size_t)n, sizeof *to);
    if (to)
        memcpy(to, t->data, (size_t)n * sizeof *to);
    return to;
}

/* weight [out][in](z)yx with this kernel. */
static bool shaped(const kr_tensor *t, long a, long b, const int k[3], int dims)
{
    bool good = t->dims == dims + 2 && (a < 0 || t->n[0] == a) && (b < 0 || t->n[1] == b);
    for (int d = 0; good && d < dims; d++)
        good = t->n[2 + d] == k[dims - 1 - d];
    if (!good)
        kr_fail(KR_ESHAPE, "the tensor '%s' is not what the plans describe (a kernel of %d x %d x %d from %ld channels)", t->name, k[2], k[1], k[0], b);
    return good;
}

/* KEY.conv.{weight,bias}, KEY.norm.{weight,bias}; *channels: in, then out. */
static int block_of(struct block *b, const struct unet *u, const struct source *s, const char *key, long *channels, const int k[3], const int stride[3])
{
    static const int one[3] = { 1, 1, 1 };
    kr_auto char *w = kr_strf("%s.conv.weight", key), *bias = kr_strf("%s.conv.bias", key), *g = kr_strf("%s.norm.weight", key), *be = kr_strf("%s.norm.bias", key);
    const kr_tensor *tw = w && bias && g && be ? find(s, w, true) : NULL, *tb = tw ? find(s, bias, false) : NULL;
    const kr_tensor *tg = tw ? find(s, g, true) : NULL, *tbeta = tg ? find(s, be, true) : NULL;
    if (!tbeta || !shaped(tw, -1, *channels, k, u->dims))
        return kr_error_code();
    long outs = tw->n[0];
    if (tb && kr_tensor_count(tb) != outs)
        return kr_fail(KR_ESHAPE, "the tensor '%s' does not fit its convolution", bias);
    b->gamma = copy_of(tg, outs, g);
    b->beta = copy_of(tbeta, outs, be);
    if (!b->gamma || !b->beta || vol_conv_make(&b->c, tw->data, tb ? tb->data : NULL, outs, *channels, k, stride, one, VOL_LINEAR, 0))
        return kr_error_code();
    *channels = outs;
    return 0;
}

static int residual_of(struct residual *r, const struct unet *u, const struct source *s, const char *key, long *channels, const int k[3], const int stride[3])
{
    static const int one[3] = { 1, 1, 1 };
    long ins = *channels;
    kr_auto char *a = kr_strf("%s.conv1", key), *b = kr_strf("%s.conv2", key);
    if (!a || !b || block_of(&r->one, u, s, a, channels, k, stride) || block_of(&r->two, u, s, b, channels, k, one))
        return kr_error_code();
    memcpy(r->stride, stride, sizeof r->stride);
    r->pooled = stride[0] * stride[1] * stride[2] > 1;
    r->projected = ins != *channels;
    kr_auto char *skip = kr_strf("%s.skip.%d", key, r->pooled ? 1 : 0);
    return !r->projected ? 0 : skip ? block_of(&r->skip, u, s, skip, &ins, one, one) : kr_error_code();
}

static int stacked(struct stage *st, const struct unet *u, const struct source *s, const char *key, int count, long *channels, const int k[3], const int stride[3])
{
    static const int one[3] = { 1, 1, 1 };
    st->conv = kr_alloc_zero((size_t)count, sizeof *st->conv);
    st->convs = st->conv ? count : 0;
    for (int i = 0; i < st->convs; i++) {
        kr_auto char *name = kr_strf("%s.convs.%d", key, i);
        if (!name || block_of(&st->conv[i], u, s, name, channels, k, i ? one : stride))
            return kr_error_code();
    }
    return st->conv ? 0 : kr_error_code();
}

static int build(struct unet *u, const struct source *s, long *ins, long *classes)
{
    static const int one[3] = { 1, 1, 1 };
    long width[STAGES], channels;
    const kr_tensor *first = find(s, u->residual ? "encoder.stem.convs.0.conv.weight" : "encoder.stages.0.0.convs.0.conv.weight", true);
    if (!first)
        return kr_error_code();
    *ins = channels = first->dims > 1 ? first->n[1] : 0;
    if (u->residual && block_of(&u->first, u, s, "encoder.stem.convs.0", &channels, u->kernel[0], one))
        return kr_error_code();
    for (int i = 0; i < u->stages; i++) {
        struct stage *st = &u->enc[i];
        kr_auto char *name = kr_strf(u->residual ? "encoder.stages.%d" : "encoder.stages.%d.0", i);
        if (!name)
            return kr_error_code();
        if (!u->residual) {
            if (stacked(st, u, s, name, u->convs[i], &channels, u->kernel[i], u->stride[i]))
                return kr_error_code();
        } else {
            st->block = kr_alloc_zero((size_t)u->convs[i], sizeof *st->block);
            st->blocks = st->block ? u->convs[i] : 0;
            for (int b = 0; b < st->blocks; b++) {
                kr_auto char *key = kr_strf("%s.blocks.%d", name, b);
                if (!key || residual_of(&st->block[b], u, s, key, &channels, u->kernel[i], b ? one : u->stride[i]))
                    return kr_error_code();
            }
            if (!st->block)
                return kr_error_code();
        }
        width[i] = channels;
    }
    for (int i = 0; i < u->stages - 1; i++) {                /* up to the resolution of stage `to` */
        int to = u->stages - 2 - i;
        kr_auto char *w = kr_strf("decoder.transpconvs.%d.weight", i), *b = kr_strf("decoder.transpconvs.%d.bias", i), *name = kr_strf("decoder.stages.%d", i);
        const kr_tensor *tw = w && b && name ? find(s, w, true) : NULL, *tb = tw ? find(s, b, false) : NULL;
        if (!tw || !shaped(tw, channels, width[to], u->stride[to + 1], u->dims) || (tb && kr_tensor_count(tb) != width[to]))
            return kr_error_code() ? kr_error_code() : kr_fail(KR_ESHAPE, "the tensor '%s' does not fit", b);
        if (vol_up_make(&u->up[i], tw->data, tb ? tb->data : NULL, channels, width[to], u->stride[to + 1]))
            return kr_error_code();
        channels = 2 * width[to];
        if (stacked(&u->dec[i], u, s, name, u->dec_convs[i], &channels, u->kernel[to], one))
            return kr_error_code();
    }
    kr_auto char *w = kr_strf("decoder.seg_layers.%d.weight", u->stages - 2), *b = kr_strf("decoder.seg_layers.%d.bias", u->stages - 2);
    const kr_tensor *tw = w && b ? find(s, w, true) : NULL, *tb = tw ? find(s, b, false) : NULL;
    if (!tw || !shaped(tw, -1, channels, one, u->dims) || (tb && kr_tensor_count(tb) != tw->n[0]))
        return kr_error_code() ? kr_error_code() : kr_fail(KR_ESHAPE, "the last layer's bias does not fit");
    *classes = tw->n[0];
    return vol_conv_make(&u->head, tw->data, tb ? tb->data : NULL, *classes, channels, one, one, one, VOL_LINEAR, 0);
}

/* The plans' windows are the sizes that will come. */
static void fit(struct unet *u, json_t *patch)
{
    long at[3] = { 1, 1, 1 };
    for (int d = 0; d < u->dims; d++)
        at[u->dims - 1 - d] = (long)json_integer_value(json_array_get(patch, (size_t)d));
    for (int i = 0; i < u->stages; i++) {
        for (int d = 0; d < 3; d++)
            at[d] = (at[d] - 1) / u->stride[i][d] + 1;
        for (int k = 0; k < u->enc[i].convs; k++)
            vol_conv_fit(&u->enc[i].conv[k].c, at);
        for (int k = 0; k < u->enc[i].blocks; k++) {
            vol_conv_fit(&u->enc[i].block[k].one.c, at);
            vol_conv_fit(&u->enc[i].block[k].two.c, at);
        }
        for (int k = 0; i < u->stages - 1 && k < u->dec[u->stages - 2 - i].convs; k++)
            vol_conv_fit(&u->dec[u->stages - 2 - i].conv[k].c, at);
    }
}

/* What the state dict holds twice (all_modules, decoder.encoder), and the heads of deep supervision. */
static bool spare(const char *key)
{
    return strstr(key, ".all_modules.") || !strncmp(key, "decoder.encoder.", 16) || !strncmp(key, "decoder.seg_layers.", 19);
}

/* ---- Running. dry: only the pool's bytes are counted ---- */
struct pass { const struct unet *u; vol_pool pool; bool dry; double flops; };

static vol *take(struct pass *p, long c, const long n[3]) { return vol_take(&p->pool, c, n, p->u->halo); }

static void out_size(long to[3], const long n[3], const int stride[3])
{
    for (int d = 0; d < 3; d++)
        to[d] = (n[d] - 1) / stride[d] + 1;
}

/* y = leaky(norm(conv(a, b)) [+ plus]); the inputs stay. */
static vol *apply(struct pass *p, const struct block *b, const vol *x, const vol *skip, const vol *plus, float slope)
{
    long n[3];
    out_size(n, x->n, b->c.stride);
    vol *y = take(p, b->c.outs, n);
    if (!y)
        return NULL;
    p->flops += vol_conv_flops(&b->c, n);
    if (p->dry) {
        if (b->c.stride[0] * b->c.stride[1] * b->c.stride[2] > 1) {
            vol *split = take(p, x->c * b->c.stride[0] * b->c.stride[1] * b->c.stride[2], n);
            vol_give(&p->pool, &split);
        }
    } else if (vol_conv_run(&b->c, &p->pool, y, x, skip) || vol_norm_run(y, y, b->gamma, b->beta, p->u->eps, plus, slope))
        vol_give(&p->pool, &y);
    return y;
}

static vol *run_convs(struct pass *p, const struct stage *st, vol *x, const vol *skip, bool keep)
{
    for (int i = 0; x && i < st->convs; i++) {
        vol *y = apply(p, &st->conv[i], x, i ? NULL : skip, NULL, p->u->slope);
        if (i || !keep)
            vol_give(&p->pool, &x);
        x = y;
    }
    return x;
}

static vol *run_block(struct pass *p, const struct residual *r, vol *x, bool keep)
{
    vol *a = apply(p, &r->one, x, NULL, NULL, p->u->slope), *skip = x, *pooled = NULL, *projected = NULL, *y = NULL;
    long n[3];
    out_size(n, x->n, r->stride);
    if (a && r->pooled) {
        skip = pooled = take(p, x->c, n);
        if (pooled && !p->dry && vol_pool_run(pooled, x, r->stride))
            vol_give(&p->pool, &pooled), skip = NULL;
    }
    if (a && skip && r->projected)
        skip = projected = apply(p, &r->skip, skip, NULL, NULL, 1);
    if (a && skip)
        y = apply(p, &r->two, a, NULL, skip, p->u->slope);
    vol_give(&p->pool, &a);
    vol_give(&p->pool, &pooled);
    vol_give(&p->pool, &projected);
    if (!keep)
        vol_give(&p->pool, &x);
    return y;
}

static void show(const vol *v, const char *name, int stage, kr_volnet_see *see, void *seer)
{
    char text[64];
    snprintf(text, sizeof text, name, stage);
    kr_auto float *room = kr_alloc((size_t)(v->c * v->n[0] * v->n[1] * v->n[2]), sizeof *room);
    if (room) {
        vol_store(room, v);
        see(seer, text, room, v->c, v->n);
    }
}

static int forward(struct pass *p, kr_volnet_sink *sink, void *to, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace)
{
    const struct unet *u = p->u;
    vol *skip[STAGES] = { NULL }, *at = take(p, u->residual ? u->first.c.ins : u->enc[0].conv[0].c.ins, n), *out = NULL;
    if (at && !p->dry)
        vol_load(at, x);
    if (at && u->residual) {
        vol *y = apply(p, &u->first, at, NULL, NULL, u->slope);
        vol_give(&p->pool, &at);
        at = y;
    }
    for (int i = 0; at && i < u->stages; i++) {
        if (kr_stopped(trace)) {
            if (!i)
                vol_give(&p->pool, &at);
            at = NULL;                                        /* it stays among the skips */
            break;
        }
        bool kept = i > 0;                                    /* the stage before is a skip: it stays */
        if (u->residual)
            for (int b = 0; at && b < u->enc[i].blocks; b++)
                at = run_block(p, &u->enc[i].block[b], at, kept && !b);
        else
            at = run_convs(p, &u->enc[i], at, NULL, kept);
        skip[i] = at;
        if (at && see)
            show(at, "encoder_stage%d", i, see, seer);
    }
    if (at)
        skip[u->stages - 1] = NULL;
    for (int i = 0; at && i < u->stages - 1; i++) {
        int res = u->stages - 2 - i;
        vol *up = kr_stopped(trace) ? NULL : take(p, u->up[i].outs, skip[res]->n);
        p->flops += 2. * (double)u->up[i].ins * (double)u->up[i].outs * (double)(skip[res]->n[0] * skip[res]->n[1] * skip[res]->n[2]);
        if (up && !p->dry && vol_up_run(&u->up[i], up, at))
            vol_give(&p->pool, &up);
        vol_give(&p->pool, &at);
        at = up ? run_convs(p, &u->dec[i], up, skip[res], false) : NULL;
        vol_give(&p->pool, &skip[res]);
    }
    int e = 0;
    if (at && (out = vol_take(&p->pool, u->head.outs, n, u->halo))) {
        p->flops += vol_conv_flops(&u->head, n);
        e = p->dry ? 0 : vol_conv_run(&u->head, &p->pool, out, at, NULL);
        if (!p->dry && !e) {
            kr_auto float *packed = kr_alloc((size_t)(out->c * n[0] * n[1] * n[2]), sizeof *packed);
            if (packed)
                vol_store(packed, out);
            e = packed ? sink(to, packed, 0, n[2]) : kr_error_code();
        }
    } else
        e = kr_error_code();
    vol_give(&p->pool, &at);
    vol_give(&p->pool, &out);
    for (int i = 0; i < STAGES; i++)
        vol_give(&p->pool, &skip[i]);
    return e;
}

static double flops(const void *self, const long n[3]);

static int run(void *self, kr_volnet_sink *sink, void *to, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace)
{
    double work = flops(self, n);
    struct pass p = { .u = self, .pool = kept_take(work) };
    kr_error_clear();
    int e = forward(&p, sink, to, x, n, see, seer, trace);
    if (e)
        vol_pool_clear(&p.pool);
    kept_give(&p.pool, e ? 0 : work);
    return e;
}

static int fits(const void *self, const long n[3])
{
    const struct unet *u = self;
    for (int d = 0; d < 3; d++) {
        long by = 1;
        for (int i = 0; i < u->stages; i++)
            by *= u->stride[i][d];
        if (n[d] % by)
            return kr_fail(KR_ESHAPE, "%ld voxels along %c are no multiple of %ld, by which this U-Net goes down", n[d], "xyz"[d], by);
    }
    return 0;
}

static double flops(const void *self, const long n[3])
{
    const struct unet *u = self;
    double all = 0;
    long at[3] = { n[0], n[1], n[2] }, size[STAGES][3];
    all += u->residual ? vol_conv_flops(&u->first.c, at) : 0;
    for (int i = 0; i < u->stages; i++) {
        out_size(at, at, u->stride[i]);
        memcpy(size[i], at, sizeof at);
        for (int k = 0; k < u->enc[i].convs; k++)
            all += vol_conv_flops(&u->enc[i].conv[k].c, at);
        for (int k = 0; k < u->enc[i].blocks; k++)
            all += vol_conv_flops(&u->enc[i].block[k].one.c, at) + vol_conv_flops(&u->enc[i].block[k].two.c, at);
    }
    for (int i = 0; i < u->stages - 1; i++)
        for (int k = 0; k < u->dec[i].convs; k++)
            all += vol_conv_flops(&u->dec[i].conv[k].c, size[u->stages - 2 - i]);
    return all + vol_conv_flops(&u->head, n);
}

/* Values of the widest resolution rule: the skips, and the decoder's last stage with its two inputs. */
static double bytes(const void *self, const long n[3])
{
    const struct unet *u = self;
    double all = 0, most = 0, weights = 0;
    long at[3] = { n[0], n[1], n[2] };
    for (int i = 0; i < u->stages; i++) {
        long before[3] = { at[0], at[1], at[2] };
        out_size(at, at, u->stride[i]);
        long c = u->residual ? u->enc[i].block[0].two.c.outs : u->enc[i].conv[0].c.outs;
        double one = (double)vol_bytes(c, at, u->halo), split = i ? (double)vol_bytes(u->residual ? u->enc[i].block[0].one.c.ins : u->enc[i].conv[0].c.ins, before, u->halo) : 0;
        most = all + 4 * one + split > most ? all + 4 * one + split : most;
        all += 4 * one + split;                              /* the pool keeps what was used */
        for (int k = 0; k < u->enc[i].convs; k++)
            weights += vol_conv_bytes(&u->enc[i].conv[k].c);
        for (int k = 0; k < u->enc[i].blocks; k++)
            weights += vol_conv_bytes(&u->enc[i].block[k].one.c) + vol_conv_bytes(&u->enc[i].block[k].two.c);
        for (int k = 0; i < u->stages - 1 && k < u->dec[i].convs; k++)
            weights += vol_conv_bytes(&u->dec[i].conv[k].c);
    }
    return most + 1.1 * weights;
}

static const kr_volnet_kind kind = { "nnunet", run, bytes, flops, fits, close_ };

kr_volnet *kr_nnunet_read(const char *plans_json, const char *configuration, const char *checkpoint)
{
    size_t n = 0;
    json_error_t why;
    kr_auto char *text = kr_file_whole(plans_json, (size_t)64 << 20, &n);
    if (!text)
        return NULL;
    json_t *plans = json_loadb(text, n, 0, &why);
    kr_volnet *v = kr_alloc_zero(1, sizeof *v);
    struct unet *u = v ? kr_alloc_zero(1, sizeof *u) : NULL;
    kr_weights *w = NULL;
    if (v)
        *v = (kr_volnet){ .kind = &kind, .self = u };
    int e = u ? 0 : kr_error_code();
    if (!e && !plans)
        e = kr_fail(KR_EFORMAT, "line %d of the JSON: %s", why.line, why.text);
    e = e ? e : architecture(u, plans, configuration);
    e = e ? kr_fail_in("%s", plans_json) : kr_weights_read(&w, checkpoint);
    struct source s = { w, "" };
    static const char *const prefix[] = { "network_weights.", "network_weights.module.", "network_weights._orig_mod.", "network_weights._orig_mod.module.",
                                          "network_weights.module._orig_mod.", "", "module.", "_orig_mod.", "state_dict." };
    for (size_t i = 0; !e && i < sizeof prefix / sizeof *prefix; i++) {
        kr_auto char *name = kr_strf("%s%s", prefix[i], u->residual ? "encoder.stem.convs.0.conv.weight" : "encoder.stages.0.0.convs.0.conv.weight");
        if (name && kr_weights_find(w, name))
            s.prefix = prefix[i];
    }
    e = e ? e : build(u, &s, &v->ins, &v->classes);
    if (!e)
        fit(u, told(json_object_get(plans, "configurations"), configuration, "patch_size"));
    size_t k = strlen(s.prefix);
    for (long i = 0; !e && i < w->count; i++)
        if (!strncmp(w->tensor[i].name, s.prefix, k) && !*w->tensor[i].read && !spare(w->tensor[i].name + k) && (k || !strncmp(w->tensor[i].name, "encoder.", 8) || !strncmp(w->tensor[i].name, "decoder.", 8)))
            e = kr_fail(KR_EFORMAT, "%s: the tensor '%s' belongs to no layer of the plans", checkpoint, w->tensor[i].name);
    if (!e) {
        v->dims = u->dims;
        memcpy(v->digest, w->digest, sizeof v->digest);
        v->meta = kr_meta_copy(w->meta);
        e = v->meta ? 0 : kr_error_code();
    }
    kr_weights_unref(&w);
    json_decref(plans);
    if (e)
        kr_volnet_unref(&v);
    return v;
}
