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
static float *numbers(hid_t file, const char *name, int *dims, hsize_t n[8])
{
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT), s = d < 0 ? -1 : H5Dget_space(d);
    float *p = NULL;
    if (s >= 0 && (*dims = H5Sget_simple_extent_ndims(s)) <= 8) {
        H5Sget_simple_extent_dims(s, n, NULL);
        p = malloc((size_t)H5Sget_simple_extent_npoints(s) * sizeof *p + 1);
        if (H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, p) < 0) {
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
    if (H5Lexists(file, group, H5P_DEFAULT) > 0)
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
        free(p);
        if (!t)
            return kr_error_code();
    }
    return 0;
}

static herr_t attribute(hid_t file, const char *name, const H5A_info_t *info, void *meta)
{
    (void)info;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT), type = H5Aget_type(a), space = H5Aget_space(a);
    char key[128], text[256] = "";
    snprintf(key, sizeof key, "hyper.%s", name);
    long n = (long)H5Sget_simple_extent_npoints(space);
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type)) {
        char *s = NULL;
        if (H5Aread(a, type, &s) >= 0 && s)
            snprintf(text, sizeof text, "%s", s);
        H5free_memory(s);
    } else if (H5Tget_class(type) == H5T_ENUM && n == 1) {          /* h5py's booleans */
        signed char v[16] = { 0 };
        H5Aread(a, type, v);
        snprintf(text, sizeof text, "%d", v[0]);
    } else if (n <= 16 && (H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT)) {
        double v[16] = { 0 };
        H5Aread(a, H5T_NATIVE_DOUBLE, v);
        for (long i = 0; i < n; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.9g", i ? " " : "", v[i]);
    }
    H5Tclose(type);
    H5Sclose(space);
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
        level = atol(p + 19);
        shape[0] = hidden << level;
        shape[1] = second ? shape[0] : level ? hidden << (level - 1) : in;
        shape[2] = shape[3] = 3;
    } else if ((p = strstr(key, "up_transpose_conv."))) {
        level = pools - 1 - atol(p + 18);
        shape[0] = hidden << (level + 1);
        shape[1] = hidden << level;
        shape[2] = shape[3] = 2;
    } else if ((p = strstr(key, "up_conv."))) {
        level = pools - 1 - atol(p + 8);
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

static int by_rule(kr_weights *w, hid_t file)
{
    hid_t d = H5Dopen2(file, "weights_rule/key", H5P_DEFAULT), type = H5Dget_type(d), space = H5Dget_space(d);
    long keys = (long)H5Sget_simple_extent_npoints(space);
    char **key = calloc((size_t)keys, sizeof *key);
    int64_t *offset = calloc((size_t)keys, 8), *numel = calloc((size_t)keys, 8), *kind = calloc((size_t)keys, 8);
    double *scale = calloc((size_t)keys, 8), *sum = calloc((size_t)keys, 8);
    H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, key);
    const struct { const char *name; hid_t type; void *to; } column[] = { { "offset", H5T_NATIVE_INT64, offset }, { "numel", H5T_NATIVE_INT64, numel },
        { "kind", H5T_NATIVE_INT64, kind }, { "scale", H5T_NATIVE_DOUBLE, scale }, { "sum", H5T_NATIVE_DOUBLE, sum } };
    for (int i = 0; i < 5; i++) {
        char path[64];
        snprintf(path, sizeof path, "weights_rule/%s", column[i].name);
        hid_t c = H5Dopen2(file, path, H5P_DEFAULT);
        H5Dread(c, column[i].type, H5S_ALL, H5S_ALL, H5P_DEFAULT, column[i].to);
        H5Dclose(c);
    }
    uint64_t seed = strtoull(kr_meta_get(w->meta, "hyper.seed"), NULL, 10);
    long chans = atol(kr_meta_get(w->meta, "hyper.chans")), e = 0;
    bool var = kr_meta_get(w->meta, "hyper.num_cascades") != NULL;
    long pools = atol(kr_meta_get(w->meta, var ? "hyper.pools" : "hyper.num_pool_layers"));
    for (long i = 0; i < keys && !e; i++) {
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
struct compare { hid_t file; long item, items; int compared, beyond; double worst, states; char where[128]; int dump; };

static void against(struct compare *c, const char *path, const char *name, const float *got, long n, int layer, int layers)
{
    int dims;
    hsize_t shape[8];
    float *want = numbers(c->file, path, &dims, shape);
    if (!want)
        return;
    long all = count(dims, shape), each = all / (c->items > 1 && (long)shape[0] == c->items ? c->items : 1);
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
    for (long i = 0; i < n; i++) {
        double v = (double)w[stacked ? i * layers + layer : i];
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

static void see(void *self, const char *name, const float *got, long n, int layer, int layers)
{
    static const char *const group[] = { "intermediate", "outputs" };
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", group[i], name);
        struct compare *c = self;
        if (H5Lexists(c->file, group[i], H5P_DEFAULT) > 0 && H5Lexists(c->file, path, H5P_DEFAULT) > 0)
            against(c, path, name, got, n, layer, layers);
    }
}

/* Columns of the calibration area as fastMRI finds them: symmetric about the middle, from the mask's first row. */
static void acs_columns(const float *row, long w, float *acs)
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

static int run_item(kr_net *net, struct compare *c, const kr_weights *w)
{
    const char *const knames[] = { "inputs/masked_kspace", "inputs/y" }, *const snames[] = { "inputs/sensitivity_map", "inputs/sensitivity_maps", "inputs/sensitivity_map_acs" },
               *const mnames[] = { "inputs/sampling_mask", "inputs/mask" };
    int dims, e = 0;
    hsize_t n[8], nm[8], ns[8];
    float *k = NULL, *s = NULL, *m = NULL, *im = NULL;
    for (int i = 0; i < 2 && !k; i++)
        if (H5Lexists(c->file, knames[i], H5P_DEFAULT) > 0)
            k = numbers(c->file, knames[i], &dims, n);
    for (int i = 0; i < 3 && !s; i++)
        if (H5Lexists(c->file, snames[i], H5P_DEFAULT) > 0)
            s = numbers(c->file, snames[i], &dims, ns);
    for (int i = 0; i < 2 && !m; i++)
        if (H5Lexists(c->file, mnames[i], H5P_DEFAULT) > 0)
            m = numbers(c->file, mnames[i], &dims, nm);
    if (!k && H5Lexists(c->file, "inputs/image", H5P_DEFAULT) > 0)
        im = numbers(c->file, "inputs/image", &dims, n);
    if (!k && !im)
        return kr_fail(KR_EFORMAT, "no k-space or image among the inputs");
    long coils = k ? (long)n[1] : 1, h = (long)n[2], wd = (long)n[3], each = coils * h * wd;
    float *mask = calloc((size_t)(h * wd), sizeof *mask), *acs = calloc((size_t)(h * wd), sizeof *acs);
    for (long y = 0; m && y < h; y++)
        for (long x = 0; x < wd; x++)
            mask[y * wd + x] = m[((long)nm[0] > 1 ? c->item * (long)(nm[1] * nm[2] * nm[3]) : 0) + ((long)nm[2] > 1 ? y : 0) * (long)nm[3] + ((long)nm[3] > 1 ? x : 0)];
    for (long y = 0; y < h; y++)
        acs_columns(mask, wd, acs + y * wd);
    kr_net_input in = { .coils = coils, .h = h, .w = wd, .kspace = k ? (kr_cfloat *)(void *)k + c->item * each : NULL, .mask = mask, .acs = acs,
                        .sens = s ? (kr_cfloat *)(void *)s + c->item * each : NULL, .image = im ? im + c->item * h * wd : NULL, .scaling = 1,
                        .centred = kr_meta_number(w->meta, "hyper.fft_centered", 1) != 0 };
    if (H5Lexists(c->file, "inputs/loglikelihood_scaling", H5P_DEFAULT) > 0) {
        hsize_t nq[8];
        float *q = numbers(c->file, "inputs/loglikelihood_scaling", &dims, nq);
        in.scaling = (double)q[0];
        free(q);
    }
    kr_cfloat *image = calloc((size_t)(h * wd), sizeof *image);
    float *magnitude = calloc((size_t)(h * wd), sizeof *magnitude);
    e = kr_net_run(net, image, &in, &(kr_net_watch){ see, c });
    if (!e && timed)
        clock_runs(net, image, &in);
    for (long i = 0; i < h * wd; i++)
        magnitude[i] = sqrtf(kr_cabs2(image[i]));
    if (!e) {
        see(c, "image_abs", magnitude, h * wd, 0, 1);
        see(c, "image_rss", magnitude, h * wd, 0, 1);
        see(c, "image_rss_f64", magnitude, h * wd, 0, 1);
    }
    free(k); free(s); free(m); free(im); free(mask); free(acs); free(image); free(magnitude);
    return e;
}

/* Golden files of other kinds are known by their groups. */
static bool other_kind(const char *path, bool tap, int *number, int *bad)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    bool nufft = file >= 0 && H5Lexists(file, "cases", H5P_DEFAULT) > 0;
    const char *slash = strrchr(path, '/');
    if (nufft)
        *bad += golden_nufft(file, slash ? slash + 1 : path, tap, number);
    if (file >= 0)
        H5Fclose(file);
    return nufft;
}

static int one(const char *path, bool tap, int number)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    kr_weights *w = kr_weights_new();
    int e = file < 0 ? kr_fail(KR_EFILE, "cannot be opened") : w ? 0 : kr_error_code();
    struct compare c = { .file = file, .items = 1, .states = most, .dump = !tap };
    kr_net *net = NULL;
    if (!e && H5Aiterate_by_name(file, ".", H5_INDEX_NAME, H5_ITER_INC, NULL, attribute, w->meta, H5P_DEFAULT) < 0)
        e = kr_fail(KR_EFORMAT, "the attributes cannot be read");
    if (!e && narrow)
        e = kr_meta_set(w->meta, "hyper.precision", "bf16");
    if (!e && kr_meta_number(w->meta, "hyper.instance_norm", 0) != 0)
        c.states = 5 * most;
    bool refined = !e && H5Lexists(file, "weights_sensitivity_model", H5P_DEFAULT) > 0;
    if (!e)
        e = H5Lexists(file, "weights", H5P_DEFAULT) > 0 ? add(w, file, "weights", refined ? "model." : "") : by_rule(w, file);
    if (!e && refined)
        e = add(w, file, "weights_sensitivity_model", "sensitivity_model.");
    if (!e && !(net = kr_net_new(NULL, w, false)))
        e = kr_error_code();
    hsize_t n[8];
    int dims;
    float *first = e ? NULL : numbers(file, H5Lexists(file, "inputs/y", H5P_DEFAULT) > 0 ? "inputs/y" : H5Lexists(file, "inputs/image", H5P_DEFAULT) > 0
                                      ? "inputs/image" : "inputs/masked_kspace", &dims, n);
    c.items = first ? (long)n[0] : 1;
    free(first);
    for (c.item = 0; !e && c.item < c.items; c.item++)
        e = run_item(net, &c, w);
    bool good = !e && c.compared && !c.beyond;
    if (tap)
        printf("%sok %d - %s (%s): %d compared, largest difference %.2e of the largest value%s%s\n", good ? "" : "not ", number, name,
               net ? kr_net_kind_of(net)->name : "no network", c.compared, c.worst, c.where[0] ? " at " : "", c.where);
    else
        printf("%s: %s, %d compared, largest difference %.2e of the largest value%s%s\n", name, net ? kr_net_kind_of(net)->name : "no network",
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
