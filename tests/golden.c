/* golden.c: kray-golden FILE...: runs the network that a file of golden vectors describes (weights stored or by rule, inputs,
 * outputs of the published code: the layout is in the README beside such files) and prints, for each stored output and
 * intermediate, the largest difference relative to its largest value. Speaks TAP when CMOCKA_MESSAGE_OUTPUT=TAP.
 * kray-golden --bf16 FILE...: in bfloat16, where nothing is held to its tolerance: it prints how far the numbers are,
 * and the SSIM of the images.
 * kray-golden --time N FILE: then N more runs without watching; prints their median time and the process's peak memory. */
#include "golden.h"
#include "kray/metric.h"
#include "kray/net.h"
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static bool narrow;                           /* bfloat16 */
static int timed;                             /* runs to time */
static double most = 1e-4;                   /* what the project promises; the published code's own rounding is up to 2e-5 */

/* ---- Reading ---- */
/* A path of which every part is there. */
static bool holds(hid_t file, const char *path)
{
    char part[256];
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
        if (*part && H5Lexists(file, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return H5Lexists(file, path, H5P_DEFAULT) > 0;
}

float *numbers(hid_t file, const char *name, int *dims, hsize_t n[8])
{
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT), s = d < 0 ? -1 : H5Dget_space(d);
    float *p = NULL;
    if (s >= 0 && (*dims = H5Sget_simple_extent_ndims(s)) >= 0 && *dims <= 8 && H5Sget_simple_extent_npoints(s) < 1L << 31) {
        for (int i = 0; i < 8; i++)
            n[i] = 1;
        H5Sget_simple_extent_dims(s, n, NULL);
        p = malloc((size_t)H5Sget_simple_extent_npoints(s) * sizeof *p + 1);
        if (!p || H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, p) < 0) {
            free(p);
            p = NULL;
        }
    }
    if (s >= 0)
        H5Sclose(s);
    if (d >= 0)
        H5Dclose(d);
    return p;
}

static long count(int dims, const hsize_t n[8])
{
    long c = 1;
    for (int i = 0; i < dims; i++)
        c *= (long)n[i];
    return c;
}

static herr_t collect(hid_t g, const char *name, const H5L_info_t *info, void *to)
{
    (void)g;
    (void)info;
    struct names *n = to;
    if (n->count < 1024)
        snprintf(n->name[n->count++], sizeof n->name[0], "%s", name);
    return 0;
}

struct names list(hid_t file, const char *group)
{
    static struct names n;
    n.count = 0;
    if (holds(file, group))
        H5Literate_by_name(file, group, H5_INDEX_NAME, H5_ITER_INC, NULL, collect, &n, H5P_DEFAULT);
    return n;
}

static int add(kr_weights *w, hid_t file, const char *group, const char *prefix)
{
    struct names keys = list(file, group);
    for (int i = 0; i < keys.count; i++) {
        char path[256], name[256];
        snprintf(path, sizeof path, "%s/%s", group, keys.name[i]);
        snprintf(name, sizeof name, "%s%s", prefix, keys.name[i]);
        int dims = 0;
        hsize_t n[8];
        float *p = numbers(file, path, &dims, n);
        long shape[8];
        for (int k = 0; k < dims; k++)
            shape[k] = (long)n[k];
        kr_tensor *t = p ? kr_weights_add(w, name, dims, shape) : NULL;
        if (t)
            memcpy(t->data, p, (size_t)count(dims, n) * sizeof *p);
        if (!p)
            kr_fail(KR_EFORMAT, "the data set '%s' cannot be read", path);
        free(p);
        if (!t)
            return kr_error_code();
    }
    return 0;
}

static herr_t attribute(hid_t file, const char *name, const H5A_info_t *info, void *meta)
{
    (void)info;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT);
    hid_t type = a < 0 ? -1 : H5Aget_type(a), space = a < 0 ? -1 : H5Aget_space(a);
    char key[128], text[512] = "";
    snprintf(key, sizeof key, "hyper.%s", name);
    long n = space < 0 ? 0 : (long)H5Sget_simple_extent_npoints(space);
    H5T_class_t kind = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    if (kind == H5T_STRING && n == 1 && H5Tis_variable_str(type)) {
        char *v = NULL;
        if (H5Aread(a, type, &v) >= 0 && v)
            snprintf(text, sizeof text, "%s", v);
        if (v)
            H5free_memory(v);
    } else if (kind == H5T_STRING && n == 1 && H5Tget_size(type) < sizeof text) {
        if (H5Aread(a, type, text) < 0)
            *text = 0;
        text[H5Tget_size(type)] = 0;
    } else if (kind == H5T_ENUM && n >= 1 && n <= 16 && H5Tget_size(type) == 1) {          /* h5py's booleans */
        signed char v[16] = { 0 };
        if (H5Aread(a, type, v) >= 0)
            for (long i = 0; i < n; i++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "", v[i]);
    } else if (n >= 1 && n <= 16 && (kind == H5T_INTEGER || kind == H5T_FLOAT)) {
        double v[16] = { 0 };
        if (H5Aread(a, H5T_NATIVE_DOUBLE, v) >= 0)
            for (long i = 0; i < n; i++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.9g", i ? " " : "", v[i]);
    }
    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    if (a >= 0)
        H5Aclose(a);
    return *text && kr_meta_set(meta, key, "%s", text) ? -1 : 0;
}

/* ---- Weights by rule ---- */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static long digit(const char *p, long pools)
{
    long v = atol(p);
    return v < 0 ? 0 : v >= pools ? pools - 1 : v;
}

/* The shape that the architecture gives to a U-Net's tensor of that many numbers. */
static int shape_of(const char *key, long numel, long chans, long in, long out, long pools, long shape[4])
{
    const char *p;
    long level, hidden = chans;
    if (numel == 1 && (strstr(key, "dc_weight") || strstr(key, "bias"))) {
        shape[0] = 1;
        return 1;
    }
    if (strstr(key, "bias")) {
        shape[0] = numel;
        return 1;
    }
    bool second = strstr(key, "layers.4.") != NULL;
    if ((p = strstr(key, "down_sample_layers."))) {
        level = digit(p + 19, pools);
        shape[0] = hidden << level;
        shape[1] = second ? shape[0] : level ? hidden << (level - 1) : in;
        shape[2] = shape[3] = 3;
    } else if ((p = strstr(key, "up_transpose_conv."))) {
        level = pools - 1 - digit(p + 18, pools);
        shape[0] = hidden << (level + 1);
        shape[1] = hidden << level;
        shape[2] = shape[3] = 2;
    } else if ((p = strstr(key, "up_conv."))) {
        level = pools - 1 - digit(p + 8, pools);
        shape[0] = hidden << level;
        shape[1] = second ? shape[0] : 2 * shape[0];
        shape[2] = shape[3] = 3;
        if (strstr(p, ".1.weight") && !strstr(p, "layers")) {
            shape[0] = out;
            shape[1] = hidden;
            shape[2] = shape[3] = 1;
        }
    } else {                                                         /* conv.: the bottom */
        shape[0] = hidden << pools;
        shape[1] = second ? shape[0] : hidden << (pools - 1);
        shape[2] = shape[3] = 3;
    }
    return shape[0] * shape[1] * shape[2] * shape[3] == numel ? 4 : -1;
}

static double said(const kr_weights *w, const char *name) { return kr_meta_number(w->meta, name, -1); }

/* A column of the rule: as many numbers as there are keys. */
static bool column(hid_t file, const char *path, hid_t type, void *to, long keys)
{
    hid_t c = holds(file, path) ? H5Dopen2(file, path, H5P_DEFAULT) : -1, space = c < 0 ? -1 : H5Dget_space(c);
    bool good = space >= 0 && (long)H5Sget_simple_extent_npoints(space) == keys && H5Dread(c, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) >= 0;
    if (space >= 0)
        H5Sclose(space);
    if (c >= 0)
        H5Dclose(c);
    return good;
}

static int by_rule(kr_weights *w, hid_t file)
{
    bool var = kr_meta_get(w->meta, "hyper.num_cascades") != NULL;
    if (!holds(file, "weights_rule/key"))
        return kr_fail(KR_EFORMAT, "neither weights nor a rule for them (weights, weights_rule)");
    if (!kr_meta_get(w->meta, "hyper.seed") || said(w, "hyper.chans") < 1 || said(w, "hyper.chans") > 4096
        || said(w, var ? "hyper.pools" : "hyper.num_pool_layers") < 1 || said(w, var ? "hyper.pools" : "hyper.num_pool_layers") > 8
        || (var && (said(w, "hyper.sens_chans") < 1 || said(w, "hyper.sens_chans") > 4096 || said(w, "hyper.sens_pools") < 1 || said(w, "hyper.sens_pools") > 8)))
        return kr_fail(KR_EFORMAT, "the rule for the weights needs the attributes seed, chans, and %s", var ? "pools, sens_chans, sens_pools" : "num_pool_layers");
    hid_t d = H5Dopen2(file, "weights_rule/key", H5P_DEFAULT), type = d < 0 ? -1 : H5Dget_type(d), space = d < 0 ? -1 : H5Dget_space(d);
    long keys = space < 0 ? 0 : (long)H5Sget_simple_extent_npoints(space);
    if (keys < 1 || keys > 100000 || type < 0 || H5Tget_class(type) != H5T_STRING || !H5Tis_variable_str(type)) {
        H5Tclose(type);
        H5Sclose(space);
        H5Dclose(d);
        return kr_fail(KR_EFORMAT, "weights_rule/key is no list of names");
    }
    char **key = calloc((size_t)keys, sizeof *key);
    int64_t *offset = calloc((size_t)keys, 8), *numel = calloc((size_t)keys, 8), *kind = calloc((size_t)keys, 8);
    double *scale = calloc((size_t)keys, 8), *sum = calloc((size_t)keys, 8);
    long e = 0;
    if (H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, key) < 0 || !column(file, "weights_rule/offset", H5T_NATIVE_INT64, offset, keys)
        || !column(file, "weights_rule/numel", H5T_NATIVE_INT64, numel, keys) || !column(file, "weights_rule/kind", H5T_NATIVE_INT64, kind, keys)
        || !column(file, "weights_rule/scale", H5T_NATIVE_DOUBLE, scale, keys) || !column(file, "weights_rule/sum", H5T_NATIVE_DOUBLE, sum, keys))
        e = kr_fail(KR_EFORMAT, "the rule for the weights is incomplete: key, offset, numel, kind, scale and sum of equal length are wanted");
    uint64_t seed = strtoull(kr_meta_get(w->meta, "hyper.seed"), NULL, 10);
    long chans = atol(kr_meta_get(w->meta, "hyper.chans"));
    long pools = atol(kr_meta_get(w->meta, var ? "hyper.pools" : "hyper.num_pool_layers"));
    for (long i = 0; i < keys && !e; i++) {
        if (!key[i] || numel[i] < 1 || numel[i] > 1L << 28) {
            e = kr_fail(KR_EFORMAT, "entry %ld of the rule for the weights is damaged", i);
            break;
        }
        bool sens = !strncmp(key[i], "sens_net", 8);
        long shape[4], c = sens ? atol(kr_meta_get(w->meta, "hyper.sens_chans")) : chans, q = sens ? atol(kr_meta_get(w->meta, "hyper.sens_pools")) : pools;
        int k = shape_of(key[i], numel[i], c, var ? 2 : 1, var ? 2 : 1, q, shape);
        kr_tensor *t = k < 0 ? NULL : kr_weights_add(w, key[i], k, shape);
        if (!t) {
            e = kr_fail(KR_EFORMAT, "rule for '%s' gives %ld numbers, which fit no shape", key[i], (long)numel[i]);
            break;
        }
        double check = 0;
        for (long j = 0; j < numel[i]; j++) {
            double x = (double)(mix(seed + (uint64_t)(offset[i] + j + 1) * 0x9E3779B97F4A7C15u) >> 48) / 65536;
            t->data[j] = (float)(kind[i] ? 0.5 + x : (2 * x - 1) * scale[i]);
            check += (double)t->data[j];
        }
        if (fabs(check - sum[i]) > 1e-6 * (1 + fabs(sum[i])))
            e = kr_fail(KR_EFORMAT, "the rule's numbers for '%s' add up to %g, not %g", key[i], check, sum[i]);
    }
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, key);
    free(key); free(offset); free(numel); free(kind); free(scale); free(sum);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(d);
    return (int)e;
}

/* ---- Comparing ---- */
/* states: what hidden states may differ by. Where instance norms divide them by small deviations, the published code's own
 * rounding is magnified as much (its float32 and float64 images differ 25 times more than in the other files). */
struct compare { hid_t file; long item, items; int compared, beyond; double worst, states, unit; char where[128]; int dump; long memory[2], pixels; };

static void against(struct compare *c, const char *path, const char *name, const float *got, long n, int layer, int layers)
{
    int dims;
    hsize_t shape[8];
    float *want = numbers(c->file, path, &dims, shape);
    if (!want)
        return;
    long all = count(dims, shape);
    if (dims < 1 || all < 1) {
        free(want);
        return;
    }
    long each = all / (c->items > 1 && (long)shape[0] == c->items ? c->items : 1);
    /* The last axis of DIRECT's states is the layer; some files keep only the first channels. */
    bool stacked = layers > 1 && each == n * layers;
    double worst = 0, top = 0;
    if (each != n && !stacked) {
        free(want);
        if (c->dump)
            printf("# %s: %ld numbers here, %ld in the file\n", name, n, each);
        return;
    }
    const float *w = want + (all > each ? c->item * each : 0);
    bool planar = dims == 5 && shape[2] == 2 && shape[4] != 2;           /* {coil, part, y, x} for {coil, y, x, part} */
    long px = planar ? (long)(shape[3] * shape[4]) : 1;
    for (long i = 0; i < n; i++) {
        double v = (double)w[stacked ? i * layers + layer : planar ? (i / (2 * px) * 2 + i % 2) * px + i / 2 % px : i] / (strncmp(name, "kspace_", 7) ? 1 : c->unit);
        worst = fmax(worst, fabs(v - (double)got[i]));
        top = fmax(top, fabs(v));
        if (!isfinite(got[i]))
            worst = INFINITY;
    }
    if (narrow && !strncmp(name, "image_", 6) && !stacked && dims == 3)
        printf("# %-36s SSIM %.6f\n", name, kr_ssim(w, got, (long)shape[2], (long)shape[1], top));
    free(want);
    double rel = top > 0 ? worst / top : worst;
    if (c->dump)
        printf("# %-36s %.2e\n", name, rel);
    c->compared++;
    c->beyond += !(rel <= (strstr(name, "hidden") ? c->states : most));
    if (!(rel <= c->worst)) {
        c->worst = rel;
        snprintf(c->where, sizeof c->where, "%s", name);
    }
}

/* LPDNet's memories: images one behind the other here, the last axis of the file. */
static float *memory(const struct compare *c, const char *name, const float *got, long n)
{
    long k = !strncmp(name, "dual_buffer", 11) ? c->memory[0] : !strncmp(name, "primal_buffer", 13) ? c->memory[1] : 0, px = c->pixels;
    float *z = k > 0 && px > 0 && n % (2 * k * px) == 0 ? malloc((size_t)n * sizeof *z) : NULL;
    for (long i = 0; z && i < n; i++) {                      /* coil, image, pixel, part */
        long part = i % 2, p = i / 2 % px, m = i / 2 / px % k, coil = i / 2 / px / k;
        z[((coil * px + p) * k + m) * 2 + part] = got[i];
    }
    return z;
}

static void see(void *self, const char *name, const float *got, long n, int layer, int layers)
{
    static const char *const group[] = { "intermediate", "outputs" };
    float *turned = memory(self, name, got, n);
    got = turned ? turned : got;
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", group[i], name);
        struct compare *c = self;
        if (holds(c->file, path))
            against(c, path, name, got, n, layer, layers);
    }
    free(turned);
}

void acs_columns(const float *row, long w, long told, float *acs)
{
    long cent = w / 2, left = 0, right = 0;
    while (left < cent && row[cent - 1 - left] != 0)
        left++;
    while (cent + right < w && row[cent + right] != 0)
        right++;
    if (left == cent)                /* argmin of a vector of ones is 0 */
        left = 0;
    if (cent + right == w)
        right = 0;
    long nl = 2 * (left < right ? left : right);
    nl = nl > 1 ? nl : 1;
    nl = told > 0 ? told : nl;                  /* num_low_frequencies */
    long pad = (w - nl + 1) / 2;
    for (long x = 0; x < w; x++)
        acs[x] = x >= pad && x < pad + nl;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void clock_runs(kr_net *net, kr_cfloat *image, const kr_net_input *in)
{
    double *t = calloc((size_t)timed, sizeof *t);
    for (int i = 0; i < timed; i++) {
        double start = kr_seconds();
        if (kr_net_run(net, image, in, NULL))
            printf("# %s\n", kr_error());
        t[i] = kr_seconds() - start;
    }
    qsort(t, (size_t)timed, sizeof *t, by_value);
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("time %.4f %ld\n", t[timed / 2], r.ru_maxrss / 1024);
    free(t);
}

/* One input of a golden file, by any of its names; n: its lengths (a missing axis: 1). NULL: it is not there, or has other than the wanted
 * number of axes (then a refusal is on record). */
struct input { float *p; hsize_t n[8]; int dims; };
static int take(struct input *in, hid_t file, const char *const *names, int least, int most_dims)
{
    for (int i = 0; names[i] && !in->p; i++)
        if (holds(file, names[i]) && !(in->p = numbers(file, names[i], &in->dims, in->n)))
            return kr_fail(KR_EFORMAT, "%s cannot be read", names[i]);
        else if (in->p && (in->dims < least || in->dims > most_dims))
            return kr_fail(KR_ESHAPE, "%s has %d axes", names[i], in->dims);
    return 0;
}

static bool alike(const struct input *a, const struct input *b, int axes)
{
    for (int i = 0; i < axes; i++)
        if (a->n[i] != b->n[i])
            return false;
    return true;
}

/* What the published transform's k-space is to that of a unitary one. */
static int unit(double *to, const kr_weights *w, long pixels)
{
    const char *how = kr_weights_told(w, "fft_normalization"), *scaled = kr_weights_told(w, "fft_normalized");
    if (!how)
        how = scaled && (!strcmp(scaled, "0") || !strcmp(scaled, "False")) ? "backward" : "ortho";
    *to = !strcmp(how, "ortho") ? 1 : !strcmp(how, "forward") ? 1 / sqrt((double)pixels) : !strcmp(how, "backward") || !strcmp(how, "none") ? sqrt((double)pixels) : 0;
    return *to > 0 ? 0 : kr_fail(KR_EFORMAT, "fft_normalization is '%s'", how);
}

static bool net_mridc(const kr_weights *w)
{
    for (long i = 0; i < w->count; i++)
        if (strstr(w->tensor[i].name, "cirim.0."))
            return true;
    return false;
}

static int run_item(kr_net *net, struct compare *c, const kr_weights *w)
{
    static const char *const knames[] = { "inputs/masked_kspace", "inputs/y", NULL }, *const mnames[] = { "inputs/sampling_mask", "inputs/mask", NULL },
        *const snames[] = { "inputs/sensitivity_map", "inputs/sensitivity_maps", "inputs/sensitivity_map_acs", NULL }, *const inames[] = { "inputs/image", NULL },
        *const starts[] = { "inputs/initial_prediction", "inputs/init_pred", "inputs/eta", NULL }, *const scales[] = { "inputs/loglikelihood_scaling", NULL },
        *const factors[] = { "inputs/scaling_factor", NULL };
    const kr_net_kind *kind = kr_net_kind_of(net);
    struct input k = { 0 }, s = { 0 }, m = { 0 }, im = { 0 }, x0 = { 0 }, q = { 0 }, f = { 0 };
    int e = take(&k, c->file, knames, 5, 5);
    e = e ? e : take(&s, c->file, snames, 5, 5);
    e = e ? e : take(&m, c->file, mnames, 5, 5);
    e = e ? e : take(&x0, c->file, starts, 4, 4);
    e = e ? e : take(&q, c->file, scales, 0, 8);
    e = e ? e : take(&f, c->file, factors, 0, 8);
    if (!e && !k.p)
        e = take(&im, c->file, inames, 4, 4);
    if (!e && (kind->of_image ? !im.p : !k.p))
        e = kr_fail(KR_EFORMAT, "the inputs hold no %s", kind->of_image ? "image" : "k-space");
    const struct input *first = k.p ? &k : &im;
    long coils = k.p ? (long)k.n[1] : 1, h = (long)first->n[2], wd = (long)first->n[3], each = coils * h * wd;
    if (!e && (h < 1 || wd < 1 || coils < 1 || (k.p && k.n[4] != 2)))
        e = kr_fail(KR_ESHAPE, "the inputs have no pixels, or k-space is not complex");
    if (!e && k.p && !m.p)
        e = kr_fail(KR_EFORMAT, "the inputs hold no mask");
    if (!e && s.p && !alike(&s, &k, 5))
        e = kr_fail(KR_ESHAPE, "coil maps and k-space of different shapes");
    if (!e && m.p && ((m.n[0] != 1 && m.n[0] != first->n[0]) || m.n[1] != 1 || (m.n[2] != 1 && (long)m.n[2] != h) || (m.n[3] != 1 && (long)m.n[3] != wd) || m.n[4] != 1))
        e = kr_fail(KR_ESHAPE, "the mask does not fit the k-space");
    if (!e && x0.p && (x0.n[0] != k.n[0] || (long)x0.n[1] != h || (long)x0.n[2] != wd || x0.n[3] != 2))
        e = kr_fail(KR_ESHAPE, "the initial prediction does not fit the k-space");
    if (!e && x0.p && strcmp(kind->around, "atommic"))
        e = kr_fail(KR_EREFUSED, "network %s takes no initial prediction", kind->name);
    if (!e && x0.p && net_mridc(w) && kr_meta_number(w->meta, "hyper.num_cascades", 1) > 1)
        e = kr_fail(KR_EREFUSED, "mridc restarts every cascade from an initial prediction, which is not built");
    double sigma = kr_meta_number(w->meta, "hyper.sigma", 1), by = 1, lines = kr_meta_number(w->meta, "hyper.num_low_frequencies", 0);
    if (!e && net_mridc(w) && sigma != 1)
        e = kr_fail(KR_EREFUSED, "sigma is %g; mridc's networks run with 1", sigma);
    e = e ? e : unit(&by, w, h * wd);
    float *mask = e ? NULL : calloc((size_t)(h * wd), sizeof *mask), *acs = mask ? calloc((size_t)(h * wd), sizeof *acs) : NULL;
    kr_cfloat *image = acs ? calloc((size_t)(h * wd), sizeof *image) : NULL;
    float *magnitude = image ? calloc((size_t)(h * wd), sizeof *magnitude) : NULL;
    if (!e && !magnitude)
        e = kr_fail(KR_EMEM, "no memory for %ld x %ld pixels", h, wd);
    for (long y = 0; !e && m.p && y < h; y++)
        for (long x = 0; x < wd; x++)
            mask[y * wd + x] = m.p[((long)m.n[0] > 1 ? c->item * (long)(m.n[2] * m.n[3]) : 0) + ((long)m.n[2] > 1 ? y : 0) * (long)m.n[3] + ((long)m.n[3] > 1 ? x : 0)];
    bool all = !e && kr_weights_told(w, "mask_center") && kr_meta_number(w->meta, "hyper.mask_center", 1) == 0;
    for (long y = 0; !e && y < h; y++) {
        acs_columns(mask, wd, lines > 0 ? (long)lines : 0, acs + y * wd);
        for (long x = 0; all && x < wd; x++)
            acs[y * wd + x] = 1;
    }
    for (long i = 0; !e && k.p && i < each; i++)
        ((kr_cfloat *)(void *)k.p)[c->item * each + i] *= (float)(1 / by);
    kr_net_input in = { .coils = coils, .h = h, .w = wd, .kspace = k.p ? (kr_cfloat *)(void *)k.p + c->item * each : NULL, .mask = mask, .acs = acs,
                        .sens = s.p ? (kr_cfloat *)(void *)s.p + c->item * each : NULL, .image = im.p ? im.p + c->item * h * wd : NULL, .scaling = 1,
                        .start = x0.p ? (kr_cfloat *)(void *)x0.p + c->item * h * wd : NULL, .kspace_unit = by,
                        .centred = kr_meta_number(w->meta, "hyper.fft_centered", 1) != 0 };
    if (!e && q.p)
        in.scaling = (double)q.p[count(q.dims, q.n) > 1 && c->item < count(q.dims, q.n) ? c->item : 0];
    if (!e && f.p)
        in.squared_scale = pow((double)f.p[count(f.dims, f.n) > 1 && c->item < count(f.dims, f.n) ? c->item : 0], 2);
    if (!strcmp(kind->name, "cirim"))
        in.scaling = sigma > 1 ? 1 / sigma : 1;
    c->unit = by;
    c->pixels = h * wd;
    c->memory[0] = (long)kr_meta_number(w->meta, "hyper.num_dual", 0);
    c->memory[1] = (long)kr_meta_number(w->meta, "hyper.num_primal", 0);
    e = e ? e : kr_net_run(net, image, &in, &(kr_net_watch){ see, c });
    char digest[65];
    if (!e && c->dump) {
        kr_digest(image, (size_t)(h * wd) * sizeof *image, digest);
        printf("# %-36s %.16s\n", "digest of the image", digest);
    }
    if (!e && timed)
        clock_runs(net, image, &in);
    for (long i = 0; !e && i < h * wd; i++)
        magnitude[i] = sqrtf(kr_cabs2(image[i]));
    if (!e) {
        see(c, "image_abs", magnitude, h * wd, 0, 1);
        see(c, "image_rss", magnitude, h * wd, 0, 1);
        see(c, "image_rss_f64", magnitude, h * wd, 0, 1);
    }
    free(k.p); free(s.p); free(m.p); free(im.p); free(x0.p); free(q.p); free(f.p); free(mask); free(acs); free(image); free(magnitude);
    return e;
}

/* Blocks of a network that is no whole one: inputs and outputs are features, of sizes of their own. */
static void see_value(void *self, const kr_value *v, const char *name, int layer, int layers)
{
    long n = v->n.chan * v->n.y * v->n.x;
    float *planar = v->n.kind == KR_FEATURES ? malloc((size_t)n * sizeof *planar) : NULL;
    if (planar) {
        kr_map_get(&v->map, planar);
        see(self, name, planar, n, layer, layers);
    }
    free(planar);
}

static int run_blocks(struct compare *c, const kr_weights *w)
{
    enum { INPUTS = 8 };
    kr_graph *g = kr_pdunet_blocks(w);
    float *data[INPUTS] = { NULL };
    kr_extent n[INPUTS];
    long inputs = g ? kr_graph_inputs(g) : 0;
    int e = !g ? kr_error_code() : inputs > INPUTS ? kr_fail(KR_EREFUSED, "%ld inputs", inputs) : 0;
    for (long i = 0; i < inputs && !e; i++) {
        char path[160];
        int dims = 0;
        hsize_t s[8];
        snprintf(path, sizeof path, "inputs/%s", kr_graph_input_name(g, i));
        data[i] = holds(c->file, path) ? numbers(c->file, path, &dims, s) : NULL;
        n[i] = kr_graph_input_extent(g, i);
        if (!data[i] || dims != 4 || (long)s[1] != n[i].chan || (i && (long)s[0] != c->items))
            e = kr_fail(KR_ESHAPE, "%s is not there, or not of %ld channels", path, n[i].chan);
        else {
            c->items = (long)s[0];
            n[i] = (kr_extent){ n[i].kind, n[i].chan, 1, (long)s[2], (long)s[3] };
        }
    }
    kr_run *r = e ? NULL : kr_graph_plan(g, n, KR_WATCH, 0);
    e = e ? e : r && !kr_run_lend(r, NULL) ? 0 : kr_error_code();
    for (c->item = 0; !e && c->item < c->items; c->item++) {
        for (long i = 0; i < inputs; i++)
            kr_run_input(r, i, data[i] + c->item * n[i].chan * n[i].y * n[i].x);
        kr_run_forward(r, see_value, c);
    }
    for (long i = 0; i < INPUTS; i++)
        free(data[i]);
    kr_run_unref(&r);
    kr_graph_unref(&g);
    return e;
}

/* Golden files of other kinds are known by their groups. */
static bool other_kind(const char *path, bool tap, int *number, int *bad)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    bool cases = file >= 0 && H5Lexists(file, "cases", H5P_DEFAULT) > 0, train = cases && H5Lexists(file, "weights", H5P_DEFAULT) > 0;
    bool learn = file >= 0 && !cases && H5Lexists(file, "weights", H5P_DEFAULT) <= 0
        && (H5Lexists(file, "losses", H5P_DEFAULT) > 0 || H5Lexists(file, "optimizers", H5P_DEFAULT) > 0 || H5Lexists(file, "schedules", H5P_DEFAULT) > 0);
    bool labels = file >= 0 && !cases && H5Lexists(file, "distance_transform", H5P_DEFAULT) > 0;
    bool traj = file >= 0 && !cases && (H5Lexists(file, "bart", H5P_DEFAULT) > 0 || H5Lexists(file, "sigpy", H5P_DEFAULT) > 0 || H5Lexists(file, "dcf", H5P_DEFAULT) > 0
        || H5Lexists(file, "delay", H5P_DEFAULT) > 0);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    bool meshnet = file >= 0 && !cases && !labels && strstr(name, "meshnet"), nnunet = file >= 0 && !cases && H5Aexists(file, "model_folder") > 0;
    if (train) {
        kr_weights *w = kr_weights_new();
        if (!w || H5Aiterate_by_name(file, ".", H5_INDEX_NAME, H5_ITER_INC, NULL, attribute, w->meta, H5P_DEFAULT) < 0 || add(w, file, "weights", "")) {
            printf("not ok %d - %s: %s\n", ++*number, name, kr_error());
            ++*bad;
        } else
            *bad += golden_train(file, name, w, number);
        kr_weights_unref(&w);
    } else if (traj)
        *bad += golden_traj(file, name, number);
    else if (cases)
        *bad += golden_nufft(file, name, tap, number);
    else if (learn)
        *bad += golden_learn(file, name, number);
    else if (labels)
        *bad += golden_segment(file, name, number);
    else if (meshnet)
        *bad += golden_meshnet(file, path, number);
    else if (nnunet)
        *bad += golden_nnunet(file, path, number);
    bool dds = file >= 0 && !cases && !learn && golden_is_dds(file);
    if (dds)
        *bad += golden_dds(file, name, number);
    bool other = dds || cases || learn || labels || traj || meshnet || nnunet, ct = file >= 0 && !other && golden_is_ct(file);
    if (ct)
        *bad += golden_ct(file, name, number);
    if (file >= 0)
        H5Fclose(file);
    return other || ct;
}

static int one(const char *path, bool tap, int number)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    kr_weights *w = kr_weights_new();
    int e = file < 0 ? kr_fail(KR_EFILE, "cannot be opened") : w ? 0 : kr_error_code();
    struct compare c = { .file = file, .items = 1, .states = most, .unit = 1, .dump = !tap };
    kr_net *net = NULL;
    if (!e && H5Aiterate_by_name(file, ".", H5_INDEX_NAME, H5_ITER_INC, NULL, attribute, w->meta, H5P_DEFAULT) < 0)
        e = kr_fail(KR_EFORMAT, "the attributes cannot be read");
    if (!e && narrow)
        e = kr_meta_set(w->meta, "hyper.precision", "bf16");
    if (!e && kr_meta_number(w->meta, "hyper.instance_norm", 0) != 0)
        c.states = 5 * most;
    bool refined = !e && holds(file, "weights_sensitivity_model");
    if (!e)
        e = holds(file, "weights") ? add(w, file, "weights", refined ? "model." : "") : by_rule(w, file);
    if (!e && refined)
        e = add(w, file, "weights_sensitivity_model", "sensitivity_model.");
    bool blocks = !e && kr_weights_find(w, "dual_block.diff_weight") && kr_weights_find(w, "primal_unet_block.diff_weight");
    if (!e && !blocks && !(net = kr_net_new(NULL, w, false)))
        e = kr_error_code();
    if (blocks)
        e = run_blocks(&c, w);
    hsize_t n[8] = { 1 };
    int dims;
    float *first = e || blocks ? NULL : numbers(file, holds(file, "inputs/y") ? "inputs/y" : holds(file, "inputs/image") ? "inputs/image" : "inputs/masked_kspace", &dims, n);
    c.items = first ? (long)n[0] : 1;
    free(first);
    for (c.item = 0; !e && !blocks && c.item < c.items; c.item++)
        e = run_item(net, &c, w);
    if (!e && !c.compared)
        e = kr_fail(KR_EFORMAT, "the file holds no output that this network gives");
    bool good = !e && c.compared && !c.beyond;
    if (tap)
        printf("%sok %d - %s (%s): %d compared, largest difference %.2e of the largest value%s%s\n", good ? "" : "not ", number, name,
               blocks ? "blocks" : net ? kr_net_kind_of(net)->name : "no network", c.compared, c.worst, c.where[0] ? " at " : "", c.where);
    else
        printf("%s: %s, %d compared, largest difference %.2e of the largest value%s%s\n", name, blocks ? "blocks" : net ? kr_net_kind_of(net)->name : "no network",
               c.compared, c.worst, c.where[0] ? " at " : "", c.where);
    if (e)
        printf("# %s\n", kr_error());
    kr_net_unref(&net);
    kr_weights_unref(&w);
    if (file >= 0)
        H5Fclose(file);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *out = getenv("CMOCKA_MESSAGE_OUTPUT");
    bool tap = out && !strcmp(out, "TAP");
    int bad = 0, number = 0;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    narrow = argc > 1 && !strcmp(argv[1], "--bf16");
    most = narrow ? 1 : most;
    argc -= narrow;
    argv += narrow;
    int first = argc > 2 && !strcmp(argv[1], "--time") ? 3 : 1;
    timed = first == 3 ? atoi(argv[2]) : 0;
    for (int i = first; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (f) {
            fclose(f);
            if (!other_kind(argv[i], tap, &number, &bad))
                bad += one(argv[i], tap, ++number);
        } else {
            printf("ok %d - %s # SKIP the file is absent\n", ++number, argv[i]);
        }
        fflush(stdout);
    }
    if (tap)
        printf("1..%d\n", number);
    return bad != 0;
}
