/* vol_meshnet.c: MeshNet from TensorFlow.js: its JSON, its raw numbers, and its run, in place. Source: A. Fedorov et al., IJCNN 2017,
 * doi:10.1109/IJCNN.2017.7966333; M. Masoud et al., brainchop, J Open Source Softw 8:5098 (2023). */
#include "kray/volume.h"
#include "vol.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { LAYERS = 64 };
struct layer { char name[64]; vol_conv c; float *w, *b; long ins, outs; int k[3], dilation[3]; enum vol_act act; float slope; };
struct meshnet { int layers; struct layer at[LAYERS]; long widest; long reach[3]; };

static void close_(void *self)
{
    struct meshnet *m = self;
    for (int i = 0; i < m->layers; i++) {
        vol_conv_close(&m->at[i].c);
        kr_free(m->at[i].w);
        kr_free(m->at[i].b);
    }
    kr_free(m);
}

/* ---- Weights: one after the other through the files that the manifest names ---- */
static int add_tensor(kr_weights *w, json_t *of, const unsigned char *bytes, size_t n, size_t *at)
{
    const char *name = json_string_value(json_object_get(of, "name")), *type = json_string_value(json_object_get(of, "dtype"));
    json_t *shape = json_object_get(of, "shape");
    long size[KR_TENSOR_DIMS], count = 1;
    if (!name || !type || !json_is_array(shape) || json_array_size(shape) > KR_TENSOR_DIMS)
        return kr_fail(KR_EFORMAT, "an entry of weightsManifest lacks name, dtype or shape");
    if (json_object_get(of, "quantization"))
        return kr_fail(KR_EFORMAT, "the weights '%s' are quantised, which Kray does not read; float32 is wanted", name);
    if (strcmp(type, "float32"))
        return kr_fail(KR_EFORMAT, "the weights '%s' are %s; float32 is wanted", name, type);
    for (size_t d = 0; d < json_array_size(shape); d++) {
        size[d] = (long)json_integer_value(json_array_get(shape, d));
        if (size[d] < 1 || size[d] > 1 << 20 || count > 1 << 28)
            return kr_fail(KR_EFORMAT, "the weights '%s' have an impossible shape", name);
        count *= size[d];
    }
    if (count > 1 << 28 || *at + (size_t)count * 4 > n)
        return kr_fail(KR_EFORMAT, "the weights end before '%s': %zu bytes are there, %zu are wanted", name, n, *at + (size_t)count * 4);
    kr_tensor *t = kr_weights_add(w, name, (int)json_array_size(shape), size);
    if (!t)
        return kr_error_code();
    memcpy(t->data, bytes + *at, (size_t)count * 4);
    *at += (size_t)count * 4;
    return 0;
}

/* The bytes of all files of a group, joined. A file may carry the JSON's own beginning: A_model.json names x.bin, which is A_x.bin. */
static unsigned char *joined(const char *json_path, json_t *paths, size_t *n)
{
    const char *slash = strrchr(json_path, '/'), *base = slash ? slash + 1 : json_path, *model = strstr(base, "model.json");
    unsigned char *all = NULL;
    *n = 0;
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *p = json_string_value(json_array_get(paths, i));
        if (!p || strchr(p, '/') || strlen(p) > 200) {
            kr_fail(KR_EFORMAT, "weightsManifest names a file that is not beside it");
            break;
        }
        kr_auto char *plain = kr_strf("%.*s%s", (int)(base - json_path), json_path, p);
        kr_auto char *with = model ? kr_strf("%.*s%s", (int)(model - json_path), json_path, p) : NULL;
        size_t k = 0;
        kr_auto char *bytes = plain ? kr_file_whole(plain, (size_t)1 << 30, &k) : NULL;
        if (!bytes && with && strcmp(with, plain)) {
            kr_error_clear();
            bytes = kr_file_whole(with, (size_t)1 << 30, &k);
        }
        void *more = bytes ? kr_realloc(all, *n, *n + k + 1, 1) : NULL;
        if (!more)
            break;
        all = more;
        memcpy(all + *n, bytes, k);
        *n += k;
        if (i + 1 == json_array_size(paths))
            return all;
    }
    kr_free(all);
    if (!kr_error_code())
        kr_fail(KR_EFORMAT, "weightsManifest names no file");
    return NULL;
}

static int read_weights(kr_weights *w, const char *path, json_t *manifest)
{
    size_t g;
    json_t *group;
    if (!json_is_array(manifest) || !json_array_size(manifest))
        return kr_fail(KR_EFORMAT, "there is no weightsManifest: it is not a model of TensorFlow.js with its weights");
    json_array_foreach(manifest, g, group) {
        size_t n = 0, at = 0, i;
        json_t *one;
        kr_error_clear();
        kr_auto unsigned char *bytes = joined(path, json_object_get(group, "paths"), &n);
        if (!bytes)
            return kr_error_code();
        json_array_foreach(json_object_get(group, "weights"), i, one)
            if (add_tensor(w, one, bytes, n, &at))
                return kr_error_code();
        if (at != n)
            return kr_fail(KR_EFORMAT, "the weights' files hold %zu bytes, their manifest tells of %zu", n, at);
    }
    return 0;
}

/* ---- Layers ---- */
static int three(int to[3], json_t *list, const char *layer, const char *key)
{
    for (int d = 0; d < 3; d++) {
        json_t *v = json_array_get(list, (size_t)d);
        to[d] = json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < 128 ? (int)json_integer_value(v) : 0;
        if (!to[d] || json_array_size(list) != 3)
            return kr_fail(KR_EFORMAT, "layer '%s': %s is not three numbers above 0", layer, key);
    }
    return 0;
}

static int activation(struct layer *l, const char *name, const char *layer)
{
    static const struct { const char *name; enum vol_act act; } known[] = { { "linear", VOL_LINEAR }, { "relu", VOL_RELU }, { "elu", VOL_ELU } };
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            if (known[i].act != VOL_LINEAR && (!l || l->act != VOL_LINEAR))
                return kr_fail(KR_EFORMAT, "layer '%s': an activation that follows no convolution", layer);
            if (l && known[i].act != VOL_LINEAR)
                l->act = known[i].act;
            return 0;
        }
    return kr_fail(KR_EFORMAT, "layer '%s': the activation '%s' is not built (linear, relu, elu)", layer, name ? name : "");
}

static const kr_tensor *tensor(const kr_weights *w, const char *layer, const char *what, int dims)
{
    kr_auto char *name = kr_strf("%s/%s", layer, what);
    const kr_tensor *t = name ? kr_weights_find(w, name) : NULL;
    if (!t || t->dims != dims) {
        kr_fail(KR_EFORMAT, "the weights '%s/%s' of %d dimensions are missing", layer, what, dims);
        return NULL;
    }
    *t->read = true;
    return t;
}

static int conv3d(struct meshnet *m, const kr_weights *w, json_t *c, const char *name, long ins)
{
    if (m->layers == LAYERS)
        return kr_fail(KR_EREFUSED, "more than %d convolutions", LAYERS);
    struct layer *l = &m->at[m->layers];
    int k[3], stride[3], dilation[3];
    const char *padding = json_string_value(json_object_get(c, "padding")), *order = json_string_value(json_object_get(c, "data_format"));
    json_t *groups = json_object_get(c, "groups");
    if (three(k, json_object_get(c, "kernel_size"), name, "kernel_size") || three(stride, json_object_get(c, "strides"), name, "strides")
        || three(dilation, json_object_get(c, "dilation_rate"), name, "dilation_rate"))
        return kr_error_code();
    if (!padding || strcmp(padding, "same") || !order || strcmp(order, "channels_last") || stride[0] * stride[1] * stride[2] != 1 || (groups && json_integer_value(groups) != 1))
        return kr_fail(KR_EFORMAT, "layer '%s': padding 'same', channels_last, strides of 1 and one group are built", name);
    const kr_tensor *kernel = tensor(w, name, "kernel", 5), *bias = json_is_false(json_object_get(c, "use_bias")) ? NULL : tensor(w, name, "bias", 1);
    if (!kernel || (!bias && !json_is_false(json_object_get(c, "use_bias"))))
        return kr_error_code();
    long outs = kernel->n[4], taps = 1;
    for (int d = 0; d < 3; d++) {
        if (kernel->n[d] != k[d])
            return kr_fail(KR_EFORMAT, "layer '%s': its kernel is not of kernel_size", name);
        l->k[d] = k[d];                       /* D, H, W of the file are x, y, z here */
        l->dilation[d] = dilation[d];
        taps *= k[d];
    }
    if (kernel->n[3] != ins || (bias && bias->n[0] != outs))
        return kr_fail(KR_ESHAPE, "layer '%s': its kernel takes %ld channels, %ld come", name, kernel->n[3], ins);
    snprintf(l->name, sizeof l->name, "%s", name);
    l->ins = ins;
    l->outs = outs;
    l->w = kr_alloc((size_t)(outs * ins * taps), sizeof *l->w);
    l->b = kr_alloc_zero((size_t)outs, sizeof *l->b);
    m->layers++;
    if (!l->w || !l->b)
        return kr_error_code();
    for (long a = 0; a < k[0]; a++)           /* [kd][kh][kw][in][out] to [out][in][kz = kw][ky = kh][kx = kd] */
        for (long b = 0; b < k[1]; b++)
            for (long d = 0; d < k[2]; d++)
                for (long i = 0; i < ins; i++)
                    for (long o = 0; o < outs; o++)
                        l->w[((o * ins + i) * k[2] + d) * k[1] * k[0] + b * k[0] + a] = kernel->data[(((a * k[1] + b) * k[2] + d) * ins + i) * outs + o];
    for (long o = 0; bias && o < outs; o++)
        l->b[o] = bias->data[o];
    return activation(l, json_string_value(json_object_get(c, "activation")), name);
}

/* y = gamma (x - mean) / sqrt(variance + eps) + beta goes into the convolution before it. */
static int batch_norm(struct layer *l, const kr_weights *w, json_t *c, const char *name)
{
    if (!l || l->act != VOL_LINEAR)
        return kr_fail(KR_EFORMAT, "layer '%s': a batch norm that does not follow a convolution directly", name);
    const kr_tensor *mean = tensor(w, name, "moving_mean", 1), *variance = mean ? tensor(w, name, "moving_variance", 1) : NULL;
    const kr_tensor *gamma = json_is_false(json_object_get(c, "scale")) || !variance ? NULL : tensor(w, name, "gamma", 1);
    const kr_tensor *beta = json_is_false(json_object_get(c, "center")) || !variance ? NULL : tensor(w, name, "beta", 1);
    if (!variance || (!gamma && !json_is_false(json_object_get(c, "scale"))) || (!beta && !json_is_false(json_object_get(c, "center"))))
        return kr_error_code();
    double eps = json_number_value(json_object_get(c, "epsilon"));
    if (mean->n[0] != l->outs || variance->n[0] != l->outs || (gamma && gamma->n[0] != l->outs) || (beta && beta->n[0] != l->outs))
        return kr_fail(KR_ESHAPE, "layer '%s': %ld channels come", name, l->outs);
    long per = l->ins * l->k[0] * l->k[1] * l->k[2];
    for (long o = 0; o < l->outs; o++) {
        double scale = (gamma ? (double)gamma->data[o] : 1) / sqrt((double)variance->data[o] + eps);
        for (long i = 0; i < per; i++)
            l->w[o * per + i] = (float)((double)l->w[o * per + i] * scale);
        l->b[o] = (float)(((double)l->b[o] - (double)mean->data[o]) * scale + (beta ? (double)beta->data[o] : 0));
    }
    return 0;
}

/* One layer after the other: each takes the one before it, by name. */
static int build(struct meshnet *m, const kr_weights *w, json_t *config, long *ins)
{
    json_t *layers = json_object_get(config, "layers"), *one;
    size_t i;
    const char *before = NULL;
    long channels = 0;
    json_array_foreach(layers, i, one) {
        const char *kind = json_string_value(json_object_get(one, "class_name"));
        json_t *c = json_object_get(one, "config"), *from = json_object_get(one, "inbound_nodes");
        const char *name = json_string_value(json_object_get(c, "name"));
        if (!kind || !name)
            return kr_fail(KR_EFORMAT, "layer %zu has no class_name or no name", i);
        const char *input = json_string_value(json_array_get(json_array_get(json_array_get(from, 0), 0), 0));
        if (before && from && (json_array_size(from) != 1 || json_array_size(json_array_get(from, 0)) != 1 || !input || strcmp(input, before)))
            return kr_fail(KR_EFORMAT, "layer '%s' does not take the layer before it alone: branches are not built", name);
        struct layer *l = m->layers ? &m->at[m->layers - 1] : NULL;
        int e = 0;
        if (!strcmp(kind, "InputLayer")) {
            json_t *shape = json_object_get(c, "batch_input_shape");
            channels = *ins = (long)json_integer_value(json_array_get(shape, 4));
            if (json_array_size(shape) != 5 || channels < 1 || channels > 1024 || i)
                e = kr_fail(KR_EFORMAT, "layer '%s': the input is no volume with channels last", name);
        } else if (!strcmp(kind, "Conv3D")) {
            e = channels ? conv3d(m, w, c, name, channels) : kr_fail(KR_EFORMAT, "there is no InputLayer");
            channels = e ? 0 : m->at[m->layers - 1].outs;
        } else if (!strcmp(kind, "Activation"))
            e = activation(l, json_string_value(json_object_get(c, "activation")), name);
        else if (!strcmp(kind, "BatchNormalization"))
            e = batch_norm(l, w, c, name);
        else if (strcmp(kind, "Dropout") && strcmp(kind, "SpatialDropout3D"))       /* do nothing at inference */
            e = kr_fail(KR_EFORMAT, "layer '%s' is of class %s, which is not built (Conv3D, BatchNormalization, Activation, Dropout)", name, kind);
        if (e)
            return e;
        before = name;
    }
    if (!m->layers)
        return kr_fail(KR_EFORMAT, "there is no convolution in it");
    return 0;
}

static bool by_voxel(const vol_conv *c) { return c->k[0] * c->k[1] * c->k[2] == 1; }

static int finish(struct meshnet *m)
{
    for (int i = 0; i < m->layers; i++) {
        struct layer *l = &m->at[i];
        static const int one[3] = { 1, 1, 1 };
        if (vol_conv_make(&l->c, l->w, l->b, l->outs, l->ins, l->k, one, l->dilation, l->act, l->slope))
            return kr_fail_in("layer '%s'", l->name);
        if (l->outs > m->widest && !(i && i == m->layers - 1 && by_voxel(&l->c)))
            m->widest = l->outs;
        for (int d = 0; d < 3; d++)
            m->reach[d] = l->dilation[d] * (l->k[d] / 2) > m->reach[d] ? l->dilation[d] * (l->k[d] / 2) : m->reach[d];
        kr_free_at(&l->w);
        kr_free_at(&l->b);
    }
    return 0;
}

/* ---- Running ---- */
static void halos(long in[3], long work[3], const struct meshnet *m)
{
    in[0] = work[0] = m->reach[0];
    in[1] = work[1] = in[2] = 0;
    work[2] = m->reach[2] + VOL_DRIFT;
}

static void show(const struct layer *l, const vol *v, kr_volnet_see *see, void *seer, float *room)
{
    vol_store(room, v);
    see(seer, l->name, room, v->c, v->n);
}

static void act_plainly(const struct layer *l, vol *v)
{
    for (long c = 0; c < v->c; c++)
        for (long z = 0; z < v->n[2]; z++)
            for (long y = 0; y < v->n[1]; y++)
                for (long x = 0; x < v->n[0]; x++) {
                    float *p = vol_at(v, c, y, z) + x;
                    *p = *p > 0 || l->act == VOL_LINEAR ? *p : l->act == VOL_RELU ? 0 : expm1f(*p);
                }
}

/* The last convolution sees one voxel at a time: its classes are made, and handed on, a few planes at a time. */
static int last_layer(const vol_conv *c, vol_pool *pool, const vol *x, kr_volnet_sink *sink, void *to)
{
    static const long none[3];
    int e = 0;
    for (long z = 0; !e && z < x->n[2]; z += VOL_DRIFT) {
        long planes = x->n[2] - z < VOL_DRIFT ? x->n[2] - z : VOL_DRIFT, n[3] = { x->n[0], x->n[1], planes };
        vol part = *x, *y = vol_take(pool, c->outs, n, none);
        part.c = c->ins;
        part.n[2] = planes;
        part.data += z * x->plane;
        kr_auto float *packed = y ? kr_alloc((size_t)(c->outs * n[0] * n[1] * planes), sizeof *packed) : NULL;
        e = packed ? vol_conv_run(c, pool, y, &part, NULL) : kr_error_code();
        if (!e) {
            vol_store(packed, y);
            e = sink(to, packed, z, planes);
        }
        vol_give(pool, &y);
    }
    return e;
}

static int run(void *self, kr_volnet_sink *sink, void *to, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace)
{
    const struct meshnet *m = self;
    long in_halo[3], halo[3];
    halos(in_halo, halo, m);
    vol_pool pool = { 0 };
    vol *in = vol_take(&pool, m->at[0].ins, n, in_halo), *work = in ? vol_take(&pool, see && m->at[m->layers - 1].outs > m->widest ? m->at[m->layers - 1].outs : m->widest, n, halo) : NULL;
    kr_auto float *room = see ? kr_alloc((size_t)((m->widest > m->at[m->layers - 1].outs ? m->widest : m->at[m->layers - 1].outs) * n[0] * n[1] * n[2]), sizeof *room) : NULL;
    int e = work && (room || !see) ? 0 : kr_error_code();
    vol at = work ? *work : (vol){ 0 };
    double all = 0, done = 0;
    for (int i = 0; i < m->layers; i++)
        all += vol_conv_flops(&m->at[i].c, n);
    if (!e)
        vol_load(in, x);
    for (int i = 0; !e && i < m->layers; i++) {
        const struct layer *l = &m->at[i];
        vol_conv c = l->c;
        c.act = see ? VOL_LINEAR : c.act;
        kr_progress(trace, "segmenting", done, all);
        e = kr_stopped(trace);
        if (!e && i && i == m->layers - 1 && by_voxel(&c) && !see)
            e = last_layer(&c, &pool, &at, sink, to);
        else if (!e && !i) {
            at.c = l->outs;
            e = vol_conv_run(&c, &pool, &at, in, NULL);
            vol_give(&pool, &in);
            vol_pool_clear(&pool);
        } else if (!e)
            e = vol_conv_drift(&c, &at, halo[2], i % 2);
        done += vol_conv_flops(&l->c, n);
        if (!e && see) {
            show(l, &at, see, seer, room);
            act_plainly(l, &at);
        }
    }
    if (!e && (see || m->layers == 1 || !by_voxel(&m->at[m->layers - 1].c))) {
        kr_auto float *packed = kr_alloc((size_t)(at.c * n[0] * n[1] * n[2]), sizeof *packed);
        if (packed)
            vol_store(packed, &at);
        e = packed ? sink(to, packed, 0, n[2]) : kr_error_code();
    }
    kr_progress(trace, "segmenting", 1, 1);
    vol_give(&pool, &in);
    vol_give(&pool, &work);
    vol_pool_clear(&pool);
    return e;
}

static double bytes(const void *self, const long n[3])
{
    const struct meshnet *m = self;
    long in_halo[3], halo[3];
    halos(in_halo, halo, m);
    return (double)vol_bytes(m->at[0].ins, n, in_halo) + (double)vol_bytes(m->widest, n, halo);
}

static double flops(const void *self, const long n[3])
{
    const struct meshnet *m = self;
    double all = 0;
    for (int i = 0; i < m->layers; i++)
        all += vol_conv_flops(&m->at[i].c, n);
    return all;
}

static const kr_volnet_kind kind = { "meshnet", run, bytes, flops, NULL, close_ };

kr_volnet *kr_meshnet_read(const char *path)
{
    size_t n = 0;
    kr_auto char *text = kr_file_whole(path, (size_t)64 << 20, &n);
    json_error_t why;
    if (!text)
        return NULL;
    json_t *j = json_loadb(text, n, 0, &why), *model = json_object_get(json_object_get(j, "modelTopology"), "model_config");
    kr_volnet *v = kr_alloc_zero(1, sizeof *v);
    struct meshnet *m = v ? kr_alloc_zero(1, sizeof *m) : NULL;
    kr_weights *w = m ? kr_weights_new() : NULL;
    if (v)
        *v = (kr_volnet){ .kind = &kind, .dims = 3, .self = m, .meta = m ? kr_meta_new() : NULL };
    int e = v && m && w && v->meta ? 0 : kr_error_code();
    if (!e && !j)
        e = kr_fail(KR_EFORMAT, "line %d of the JSON: %s", why.line, why.text);
    if (!e && !json_is_object(model))
        e = kr_fail(KR_EFORMAT, "there is no modelTopology.model_config: it is no model of TensorFlow.js");
    e = e ? e : read_weights(w, path, json_object_get(j, "weightsManifest"));
    e = e ? e : build(m, w, json_object_get(model, "config"), &v->ins);
    for (long i = 0; !e && i < w->count; i++)
        if (!*w->tensor[i].read)
            e = kr_fail(KR_EFORMAT, "the weights '%s' belong to no layer", w->tensor[i].name);
    e = e ? e : finish(m);
    if (!e) {
        kr_weights_digest(w);
        memcpy(v->digest, w->digest, sizeof v->digest);
        v->classes = m->at[m->layers - 1].outs;
    } else {
        kr_fail_in("%s", path);
        kr_volnet_unref(&v);
    }
    kr_weights_unref(&w);
    json_decref(j);
    return v;
}
