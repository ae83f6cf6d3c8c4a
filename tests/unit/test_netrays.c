/* Networks on X-ray projections: against DIRECT's own class in double precision with the projector's matrix in the place of the Fourier transform,
 * gradients against central differences, and the method that scales the data. */
#include "netweights.h"
#include "kray/linop.h"
#include "kray/recon.h"

enum { N = 20, VIEWS = 14, COLUMNS = 27, DATA = VIEWS * COLUMNS };

static kr_rays *parallel(void)
{
    double a[VIEWS];
    for (int i = 0; i < VIEWS; i++)
        a[i] = M_PI * i / VIEWS;
    return kr_rays_parallel(&(kr_detector){ COLUMNS, 1, { 1, 0 }, { 0, 0 } }, VIEWS, a);
}

/* The projector over 32, a power of two near its norm. */
static kr_linop *projector(double by)
{
    kr_rays *r = parallel();
    kr_grid g = kr_grid_centred((long[3]){ N, N, 1 }, (double[3]){ 1, 1, 1 });
    kr_array *w = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
    kr_linop *A = kr_op_rays(r, &g, KR_RAY_JOSEPH);
    assert_true(w && A);
    KR_R(w)[0] = (float)by;
    A = kr_mul(kr_op_weight(KR_R32, w, kr_linop_codomain(A), kr_linop_codomain(A)), A);
    kr_array_unref(&w);
    kr_rays_unref(&r);
    assert_non_null(A);
    return A;
}

/* A U-Net of DIRECT, and LPDNets with it: the numbers that the published code was given, too. */
#define NAME(...) (snprintf(name, sizeof name, __VA_ARGS__), name)
static void add(kr_weights *w, const char *name, long a, long b, long k)
{
    long n[4] = { a, b, k, k };
    kr_tensor *t = kr_weights_add(w, name, b ? 4 : 1, n);
    assert_non_null(t);
    for (long i = 0, count = kr_tensor_count(t); i < count; i++)
        t->data[i] = (float)(0.3 * (kr_rand_uniform(4, (uint64_t)w->count, (uint64_t)i) - 0.5));
}

static void unet_to(kr_weights *w, const char *prefix, long in, long out, long chans, int pools)
{
    char name[200];
    for (int i = 0; i <= pools; i++) {
        long c = chans << i;
        char part[100];
        snprintf(part, sizeof part, i < pools ? "%sdown_sample_layers.%d" : "%sconv", prefix, i);
        add(w, NAME("%s.layers.0.weight", part), c, i ? c / 2 : in, 3);
        add(w, NAME("%s.layers.4.weight", part), c, c, 3);
    }
    for (int i = 0; i < pools; i++) {
        long c = chans << (pools - 1 - i);
        bool last = i == pools - 1;
        add(w, NAME("%sup_conv.%d.%slayers.0.weight", prefix, i, last ? "0." : ""), c, 2 * c, 3);
        add(w, NAME("%sup_conv.%d.%slayers.4.weight", prefix, i, last ? "0." : ""), c, c, 3);
        add(w, NAME("%sup_transpose_conv.%d.layers.0.weight", prefix, i), 2 * c, c, 2);
    }
    add(w, NAME("%sup_conv.%d.1.weight", prefix, pools - 1), out, chans, 1);
    add(w, NAME("%sup_conv.%d.1.bias", prefix, pools - 1), out, 0, 0);
}

enum { LPDNET, LPDNET_CONV };

static kr_weights *lpdnet(int kind)
{
    kr_weights *w = kr_weights_new();
    char name[100];
    assert_non_null(w);
    unet_to(w, "model.primal_net.0.primal_block.", 6, 4, 3, 2);
    if (kind == LPDNET)
        unet_to(w, "model.dual_net.0.dual_block.unet2d.", 10, 6, 3, 2);
    for (int i = 0; i < 5 && kind == LPDNET_CONV; i++)
        if (i % 2) {                                             /* one slope, held twice */
            add(w, NAME("model.dual_net.0.dual_block.conv.%d.weight", i), 1, 0, 0);
            w->tensor[w->count - 1].data[0] = 0.15f;
        }
        else {
            add(w, NAME("model.dual_net.0.dual_block.conv.%d.weight", i), i < 4 ? 5 : 18, i ? 5 : 22, 3);
            add(w, NAME("model.dual_net.0.dual_block.conv.%d.bias", i), i < 4 ? 5 : 18, 0, 0);
        }
    return w;
}

static void data(kr_cfloat *y)
{
    for (long i = 0; i < DATA; i++)
        y[i] = kr_c((float)kr_rand_uniform(5, 0, (uint64_t)i), 0);
}

/* NKI-AI/direct 50b9704, LPDNet with UNET / NORMUNET and UNET / CONV, 2 iterations, in float64: pixels of the image. */
static void as_published(void **state)
{
    (void)state;
    static const int at[6] = { 0, 57, 123, 210, 255, 399 };
    static const double want[2][6][2] = {
        { { 0.164144161, -0.131970342 }, { 0.186621735, -0.212152699 }, { 0.221677911, -0.147512928 }, { 0.0751823715, 0.131938544 }, { 0.236358121, -0.234554975 }, { 0.195706689, -0.228994007 } },
        { { 0.15240635, -0.133785709 }, { 0.211518833, -0.260951915 }, { 0.194272074, -0.0763692881 }, { 0.237127129, -0.17158033 }, { 0.259845157, -0.291381233 }, { 0.202735701, -0.256713137 } } };
    for (int kind = 0; kind < 2; kind++) {
        kr_weights *all = lpdnet(kind), *w = kr_weights_under(all, "model.");
        assert_true(w && !kr_meta_set(w->meta, "hyper.operator", "rays") && !kr_meta_set(w->meta, "hyper.num_iter", "2"));
        kr_net *net = kr_net_new("lpdnet", w, false);
        if (!net)
            fail_msg("%s", kr_error());
        kr_linop *A = projector(1.0 / 32);
        kr_cfloat y[DATA], x[N * N];
        data(y);
        kr_net_input in = { .coils = 1, .h = N, .w = N, .kspace = y, .rays = A, .views = VIEWS, .columns = COLUMNS, .centred = true };
        assert_int_equal(kr_net_run(net, x, &in, NULL), 0);
        double worst = 0;
        for (int i = 0; i < 6; i++)
            worst = fmax(worst, fmax(fabs((double)kr_re(x[at[i]]) - want[kind][i][0]), fabs((double)kr_im(x[at[i]]) - want[kind][i][1])));
        print_message("%s: %.1e of 0.5\n", kind ? "UNET / CONV" : "UNET / NORMUNET", worst);
        assert_true(worst < 1e-5);                               /* 2e-5 of the largest value is asked of the published file */
        kr_linop_unref(&A);
        kr_net_unref(&net);
        kr_weights_unref(&w);
        kr_weights_unref(&all);
    }
}

static const char file[] = "netrays.safetensors";

/* The method is the network with A over its norm and the data over theirs; twice the data make twice the image; other networks say that they cannot. */
static void method(void **state)
{
    (void)state;
    kr_weights *all = lpdnet(LPDNET), *w = kr_weights_under(all, "model.");
    kr_weights *kept = kr_weights_new();
    for (long i = 0; i < w->count; i++)                          /* all but the network of coil maps */
        if (strncmp(w->tensor[i].name, "sens", 4)) {
            kr_tensor *t = kr_weights_add(kept, w->tensor[i].name, w->tensor[i].dims, w->tensor[i].n);
            memcpy(t->data, w->tensor[i].data, (size_t)kr_tensor_count(t) * sizeof(float));
        }
    assert_true(!kr_meta_set(kept->meta, "hyper.num_iter", "2") && !kr_weights_write(kept, file));
    kr_rays *r = parallel();
    kr_scan scan = { .rays = r, .grid = kr_grid_centred((long[3]){ N, N, 1 }, (double[3]){ 1, 1, 1 }), .ray_model = KR_RAY_JOSEPH, .geom = NULL, .meta = kr_meta_new() };
    scan.data = kr_array_new(KR_R32, KR_SHAPE([KR_U] = COLUMNS, [KR_V] = 1, [KR_VIEW] = VIEWS));
    scan.shape = kr_array_shape(scan.data);
    const kr_recon *m = kr_recon_named("lpdnet");
    void *o = calloc(1, m->opts_size);
    kr_image *im[2] = { NULL, NULL };
    assert_true(!kr_opt_defaults(m->opts, o) && !kr_opt_set(m->opts, o, "weights", file));
    for (int twice = 0; twice < 2; twice++) {
        kr_cfloat y[DATA];
        data(y);
        for (long i = 0; i < DATA; i++)
            KR_R(scan.data)[i] = kr_re(y[i]) * (float)(1 + twice);
        if (m->run(&im[twice], &scan, NULL, o, NULL))
            fail_msg("%s", kr_error());
    }
    kr_cost cost = { 0, 0 };
    assert_true(!m->plan(&cost, &scan, o) && cost.bytes > 0);
    kr_linop *one = projector(1);
    double norm = sqrt(kr_linop_norm2(one, 20)), top = 0, off = 0;
    kr_array *b = kr_array_new(KR_R32, kr_linop_domain(one));
    kr_linop *A = projector(1 / norm);
    assert_true(b && norm > 0);
    for (long i = 0; i < DATA; i++)
        KR_R(scan.data)[i] = (float)kr_rand_uniform(5, 0, (uint64_t)i);
    kr_apply_adj(one, b, scan.data);
    float sorted[N * N];
    memcpy(sorted, KR_R(b), sizeof sorted);
    for (int i = 1; i < N * N; i++)
        for (int k = i; k > 0 && sorted[k] < sorted[k - 1]; k--) {
            float t = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = t;
        }
    double scale = (double)sorted[(int)(0.99 * N * N)] / (norm * norm);
    kr_cfloat y[DATA], x[N * N];
    for (long i = 0; i < DATA; i++)
        y[i] = kr_c((float)((double)KR_R(scan.data)[i] / scale / norm), 0);
    assert_false(kr_meta_set(kept->meta, "hyper.operator", "rays"));
    kr_net *net = kr_net_new("lpdnet", kept, false);
    kr_net_input in = { .coils = 1, .h = N, .w = N, .kspace = y, .rays = A, .views = VIEWS, .columns = COLUMNS, .centred = true };
    assert_true(net && !kr_net_run(net, x, &in, NULL));
    for (long i = 0; i < N * N; i++) {
        double v = scale * (double)kr_re(x[i]);
        top = fmax(top, fabs(v));
        off = fmax(off, fmax(fabs((double)KR_R(im[0]->data)[i] - v), fabs(0.5 * (double)KR_R(im[1]->data)[i] - v)));
    }
    print_message("method against network: %.1e of the largest value\n", off / top);
    assert_true(off < 5e-3 * top);                               /* the percentile is that of a histogram, and instance norms hide most of the scale */
    kr_linop_unref(&one);
    kr_linop_unref(&A);
    kr_array_unref(&b);
    kr_net_unref(&net);
    for (int i = 0; i < 2; i++)
        kr_image_unref(&im[i]);
    kr_weights *varnet = bare(kind_of("varnet_direct", 0));
    kr_image *none = NULL;
    assert_false(kr_meta_set(varnet->meta, "hyper.operator", "rays"));
    assert_null(kr_net_new(NULL, varnet, false));
    assert_refused(KR_EREFUSED, "is for data of MRI");
    scan.grid.n[2] = 2;
    assert_int_not_equal(m->run(&none, &scan, NULL, o, NULL), 0);
    assert_non_null(strstr(kr_error(), "planes"));
    free(o);
    kr_meta_unref(&scan.meta);
    kr_array_unref(&scan.data);
    kr_rays_unref(&r);
    kr_weights_unref(&varnet);
    kr_weights_unref(&kept);
    kr_weights_unref(&w);
    kr_weights_unref(&all);
    remove(file);
}

static void tensor(kr_weights *w, const char *prefix, const char *name, long a, long b, long k, double middle)
{
    kr_auto char *key = kr_strf("%s%s", prefix, name);
    add(w, key, a, b, k);
    for (long i = 0; i < kr_tensor_count(&w->tensor[w->count - 1]); i++)
        w->tensor[w->count - 1].data[i] += (float)middle;
}

static void twice(kr_weights *w, const char *prefix, long in, long out)
{
    char name[100];
    for (int i = 0; i < 4; i++) {
        bool norm = i % 2;
        snprintf(name, sizeof name, "%s%d.", prefix, i / 2 * 3 + (norm ? 2 : 0));
        tensor(w, name, "weight", out, norm ? 0 : i ? out : in, norm ? 0 : 3, norm);
        tensor(w, name, "bias", out, 0, 0, 0);
        if (norm) {
            tensor(w, name, "running_mean", out, 0, 0, 0);
            tensor(w, name, "running_var", out, 0, 0, 1);
        }
    }
}

/* A block of the data (3 of them) and one of the image (2), a U-Net of three levels or three convolutions. */
static void dual_of(kr_weights *w, const char *prefix)
{
    static const long conv[3][2] = { { 6, 5 }, { 6, 6 }, { 3, 6 } };
    char name[100];
    for (int i = 0; i < 3; i++) {
        tensor(w, NAME("%slayers.%d.conv.", prefix, 2 * i), "weight", conv[i][0], conv[i][1], 3, 0);
        tensor(w, NAME("%slayers.%d.conv.", prefix, 2 * i), "bias", conv[i][0], 0, 0, 0);
        if (i < 2)
            tensor(w, NAME("%slayers.%d.", prefix, 2 * i + 1), "weight", 6, 0, 0, 0.2);
    }
}

static void primal_of(kr_weights *w, const char *prefix, bool plain)
{
    char name[100];
    for (int i = 0; i < 3 && plain; i++) {
        tensor(w, NAME("%slayers.%d.conv.", prefix, 2 * i), "weight", i < 2 ? 6 : 2, i ? 6 : 3, 3, 0);
        tensor(w, NAME("%slayers.%d.conv.", prefix, 2 * i), "bias", i < 2 ? 6 : 2, 0, 0, 0);
        if (i < 2)
            tensor(w, NAME("%slayers.%d.", prefix, 2 * i + 1), "weight", 6, 0, 0, 0.2);
    }
    if (plain)
        return;
    for (int i = 0; i < 3; i++)
        twice(w, NAME("%slayers.down_path.%d.block.", prefix, i), i ? 2L << i : 3, 4L << i);
    for (int i = 0; i < 2; i++) {
        tensor(w, NAME("%slayers.up_path.%d.up.1.", prefix, i), "weight", 8 >> i, 16 >> i, 1, 0);
        tensor(w, NAME("%slayers.up_path.%d.up.1.", prefix, i), "bias", 8 >> i, 0, 0, 0);
        twice(w, NAME("%slayers.up_path.%d.conv_block.block.", prefix, i), 16 >> i, 8 >> i);
    }
    tensor(w, NAME("%slayers.last.", prefix), "weight", 2, 4, 1, 0);
    tensor(w, NAME("%slayers.last.", prefix), "bias", 2, 0, 0, 0);
}

/* As tensors of a file have it: {1, n, 1, 1}. */
static void gain(kr_weights *w, const char *prefix, long n, double middle)
{
    kr_auto char *key = kr_strf("%sdiff_weight", prefix);
    kr_tensor *t = kr_weights_add(w, key, 4, (long[]){ 1, n, 1, 1 });
    assert_non_null(t);
    for (long i = 0; i < n; i++)
        t->data[i] = (float)(middle + 0.1 * (double)i);
}

/* How far the gradients that a graph was given are from those in double, as a part of their norm. seed: of the random gradients of its outputs. */
static double from_double(kr_graph *g, const kr_extent *n, const void *const *given, uint64_t seed)
{
    kr_plain_run *d = kr_graph_exact(g) ? NULL : kr_plain_plan(g, n, KR_TRAIN, 0);
    if (!d)
        fail_msg("%s", kr_error());
    for (long i = 0; i < kr_graph_inputs(g); i++)
        kr_plain_give(d, i, given[i]);
    assert_int_equal(kr_plain_forward(d, NULL), 0);
    for (long o = 0; o < kr_graph_outputs(g); o++) {
        kr_extent e = kr_plain_output_extent(d, o);
        for (long i = 0; i < e.y * e.x * (e.kind == KR_IMAGE ? 2 : 1); i++)
            kr_plain_dy(d, o)[i] = (double)(float)(2 * kr_rand_uniform(seed, (uint64_t)o, (uint64_t)i) - 1);
    }
    assert_int_equal(kr_plain_backward(d, NULL), 0);
    kr_plain_run_unref(&d);
    long params;
    kr_param *p = kr_graph_params(g, &params);
    double off = 0, all = 0;
    for (long i = 0; i < params; i++)
        for (long k = 0; k < kr_tensor_count(&p[i].gradient); k++) {
            off += pow(p[i].exact_gradient[k] - (double)p[i].gradient.data[k], 2);
            all += pow(p[i].exact_gradient[k], 2);
        }
    return sqrt(off / all);
}

/* Blocks of a Primal-Dual U-Net of three levels: the layers against their formulas in double, and gradients against central differences of these. */
static void blocks(void **state)
{
    (void)state;
    enum { ROWS = 13, ANGLES = 10, SIZE = 14, PARAMS = 80 };
    kr_weights *w = kr_weights_new();
    dual_of(w, "dual_block.");
    primal_of(w, "primal_unet_block.", false);
    gain(w, "dual_block.", 3, 1);
    gain(w, "primal_unet_block.", 2, 0.5);
    kr_graph *g = kr_pdunet_blocks(w);
    if (!g)
        fail_msg("%s", kr_error());
    long params;
    kr_param *p = kr_graph_params(g, &params);
    kr_extent n[5];
    float *f[5];
    double *d[5], *value[PARAMS], out[2][SIZE * SIZE], *outs[2] = { out[0], out[1] };
    assert_true(kr_graph_inputs(g) == 5 && params < PARAMS);
    for (int i = 0; i < 5; i++) {
        bool data = !strncmp(kr_graph_input_name(g, i), "dual", 4);
        n[i] = kr_graph_input_extent(g, i);
        n[i] = (kr_extent){ KR_FEATURES, n[i].chan, 1, data ? ROWS : SIZE, data ? ANGLES : SIZE };
        long count = n[i].chan * n[i].y * n[i].x;
        f[i] = malloc((size_t)count * sizeof(float));
        d[i] = malloc((size_t)count * sizeof(double));
        for (long k = 0; k < count; k++)
            d[i][k] = (double)(f[i][k] = (float)(2 * kr_rand_uniform(11, (uint64_t)i, (uint64_t)k) - 1));
    }
    kr_run *r = kr_graph_plan(g, n, KR_TRAIN, 0);
    if (!r || kr_run_lend(r, NULL))
        fail_msg("%s", kr_error());
    for (int i = 0; i < 5; i++)
        kr_run_input(r, i, f[i]);
    kr_run_forward(r, NULL, NULL);
    for (long i = 0; i < params; i++) {
        value[i] = malloc((size_t)kr_tensor_count(&p[i].value) * sizeof(double));
        for (long k = 0; k < kr_tensor_count(&p[i].value); k++)
            value[i][k] = (double)p[i].value.data[k];
    }
    assert_int_equal(kr_graph_plain(g, n, 0, (const double *const *)d, value, outs), 0);
    double off = 0, predicted = 0, scale = 0, l[2] = { 0, 0 };
    for (int o = 0; o < 2; o++) {
        const kr_value *v = kr_run_output(r, o);
        for (long i = 0; i < v->n.y * v->n.x; i++) {
            off = fmax(off, fabs((double)((const float *)v->data)[i] - out[o][i]));
            ((float *)kr_run_dy(r, o)->data)[i] = (float)(2 * kr_rand_uniform(12, (uint64_t)o, (uint64_t)i) - 1);
        }
    }
    assert_true(off < 2e-6);                                         /* numbers of about 1 */
    kr_run_backward(r);
    for (int side = 0; side < 2; side++) {
        for (long i = 0; i < params; i++)
            for (long k = 0; k < kr_tensor_count(&p[i].value) && !p[i].frozen; k++) {
                double step = 2 * kr_rand_uniform(13, (uint64_t)i, (uint64_t)k) - 1, part = step * (double)p[i].gradient.data[k];
                value[i][k] = (double)p[i].value.data[k] + (side ? -1e-7 : 1e-7) * step;
                predicted += side ? 0 : part;
                scale += side ? 0 : part * part;
            }
        assert_int_equal(kr_graph_plain(g, n, 0, (const double *const *)d, value, outs), 0);
        for (int o = 0; o < 2; o++)
            for (long i = 0; i < (o ? SIZE * SIZE : ROWS * ANGLES); i++)
                l[side] += (double)(float)(2 * kr_rand_uniform(12, (uint64_t)o, (uint64_t)i) - 1) * out[o][i];
    }
    double wrong = fabs((l[0] - l[1]) / 2e-7 - predicted) / sqrt(scale), apart = from_double(g, n, (const void *[]){ f[0], f[1], f[2], f[3], f[4] }, 12);
    print_message("blocks: forward %.1e, gradients %.1e, from those in double %.1e\n", off, wrong, apart);
    assert_true(wrong < 2e-4 && apart < 1e-5);                       /* as in test_graph.c */
    for (long i = 0; i < params; i++)
        free(value[i]);
    for (int i = 0; i < 5; i++) {
        free(f[i]);
        free(d[i]);
    }
    kr_run_unref(&r);
    kr_graph_unref(&g);
    kr_weights_unref(&w);
}

/* The whole network, two iterations: the U-Nets (n_primary 2, n_dual 3) or, plain, the network of convolutions. */
static kr_weights *pdunet(bool plain)
{
    kr_weights *w = kr_weights_new();
    char name[100];
    for (int i = 0; i < 2; i++) {
        dual_of(w, NAME("net.dual_blocks.%d.", i));
        gain(w, NAME("net.dual_blocks.%d.", i), 3, 1);
        primal_of(w, NAME("net.primal_blocks.%d.", i), plain);
        gain(w, NAME("net.primal_blocks.%d.", i), 2, 0.5);
    }
    return w;
}

/* A with the top row first, and what has the filtered back-projection as adjoint. */
static void operators(kr_linop **A, kr_linop **B)
{
    kr_rays *r = parallel();
    kr_grid g = kr_grid_centred((long[3]){ N, N, 1 }, (double[3]){ 1, 1, 1 });
    kr_array *by = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
    g.first[1] = -g.first[1];
    g.step[1] = -1;
    *A = kr_op_rays(r, &g, KR_RAY_JOSEPH);
    kr_shape s = kr_linop_codomain(*A);
    double H[33];
    kr_fbp_filter(H, 64, KR_WINDOW_RAMP, 0);
    for (int k = 0; k <= 32; k++)                                    /* the second half of numpy.hanning(64), as torch_radon has it */
        H[k] *= 0.5 - 0.5 * cos(2 * M_PI * ((k + 32) % 64) / 63);
    KR_R(by)[0] = (float)(M_PI / VIEWS);
    *B = kr_mul(kr_mul(kr_op_weight(KR_R32, by, s, s), kr_op_filter(s, H, 64)), kr_linop_ref(*A));
    kr_array_unref(&by);
    kr_rays_unref(&r);
    assert_true(*A && *B);
}

/* phernst/pd-unet, branch ct, in double precision with the projector's matrix in the place of torch_radon, its blocks checked against ../shared/golden/pdunet_blocks.h5: pixels of
 * the image, data divided by 1 and by 0.37. */
static void pdunet_as_published(void **state)
{
    (void)state;
    static const int at[6] = { 0, 57, 123, 210, 255, 399 };
    static const double by[2] = { 1, 0.37 }, top[2][2] = { { 0.10486575842484991, 0.09285923617069343 }, { 0.0017930846694293907, 0.0003369430885300502 } };
    static const double want[2][2][6] = {
        { { 0.0385042329, 0.000477203845, 0.0567695865, 0.0231126512, 0.0405110752, 0.0879014094 }, { 0.0248293775, -0.0116540753, 0.0445978918, 0.010978331, 0.0283786675, 0.0726165991 } },
        { { -0.00110991394, -0.00143691141, -0.00168298632, -0.00175362623, -0.00165388967, -0.000940111132 },
          { -5.32991317e-05, -0.000125018429, -0.000210389582, -0.000286881979, -0.000182577924, 0.00011451242 } } };
    kr_linop *A, *B;
    operators(&A, &B);
    for (int plain = 0; plain < 2; plain++) {
        kr_weights *w = pdunet(plain);
        kr_net *net = kr_net_new(NULL, w, true);
        if (!net)
            fail_msg("%s", kr_error());
        for (int n = 0; n < 2; n++) {
            kr_cfloat y[DATA], x[N * N];
            double worst = 0;
            data(y);
            for (long i = 0; i < DATA; i++)
                y[i] = kr_c(kr_re(y[i]) / (float)by[n], 0);
            kr_net_input in = { .coils = 1, .h = N, .w = N, .kspace = y, .rays = A, .filtered = B, .views = VIEWS, .columns = COLUMNS, .centred = true };
            if (kr_net_run(net, x, &in, NULL))
                fail_msg("%s", kr_error());
            for (int i = 0; i < 6; i++)
                worst = fmax(worst, fabs(by[n] * (double)kr_re(x[at[i]]) - want[plain][n][i]) / top[plain][n]);
            print_message("%s, data over %g: %.1e of the largest value\n", plain ? "convolutions" : "U-Nets", by[n], worst);
            assert_true(worst < 2e-5);
        }
        kr_net_unref(&net);
        kr_weights_unref(&w);
    }
    kr_linop_unref(&A);
    kr_linop_unref(&B);
}

/* The method turns rows, clears what is below 0, scales by the configuration; refuses what the network was not made for. */
static void pdunet_method(void **state)
{
    (void)state;
    kr_linop *A, *B;
    kr_weights *w = pdunet(false);
    kr_cfloat y[DATA], x[N * N];
    double off = 0, top = 0;
    operators(&A, &B);
    data(y);
    kr_net *net = kr_net_new("pdunet", w, true);
    kr_net_input in = { .coils = 1, .h = N, .w = N, .rays = A, .filtered = B, .views = VIEWS, .columns = COLUMNS, .centred = true, .kspace = y };
    kr_scan scan = { .rays = parallel(), .grid = kr_grid_centred((long[3]){ N, N, 1 }, (double[3]){ 1, 1, 1 }), .ray_model = KR_RAY_JOSEPH, .geom = NULL, .meta = kr_meta_new() };
    scan.data = kr_array_new(KR_R32, KR_SHAPE([KR_U] = COLUMNS, [KR_V] = 1, [KR_VIEW] = VIEWS));
    scan.shape = kr_array_shape(scan.data);
    for (long i = 0; i < DATA; i++) {
        KR_R(scan.data)[i] = kr_re(y[i]);
        y[i] = kr_c(kr_re(y[i]) / 0.37f, 0);
    }
    assert_true(net && !kr_net_run(net, x, &in, NULL));
    const kr_recon *m = kr_recon_named("pdunet");
    void *o = calloc(1, m->opts_size);
    kr_image *im = NULL;
    kr_cost cost = { 0, 0 };
    assert_true(!kr_meta_set(w->meta, "hyper.per99_img", "0.37") && !kr_weights_write(w, file));
    assert_true(!kr_opt_defaults(m->opts, o) && !kr_opt_set(m->opts, o, "weights", file) && !kr_opt_set(m->opts, o, "config", "none"));
    if (m->run(&im, &scan, NULL, o, NULL) || m->plan(&cost, &scan, o))
        fail_msg("%s", kr_error());
    assert_true(cost.bytes > 0);
    for (long i = 0; i < N * N; i++) {
        double v = fmax(0.37 * (double)kr_re(x[i]), 0);
        top = fmax(top, v);
        off = fmax(off, fabs((double)KR_R(im->data)[(N - 1 - i / N) * N + i % N] - v));
    }
    print_message("method against network: %.1e of the largest value\n", off / top);
    assert_true(off < 1e-6 * top);
    kr_image_unref(&im);
    for (int i = 0; i < DATA; i++)
        KR_R(scan.data)[i] = 0;
    assert_int_equal(m->run(&im, &scan, NULL, o, NULL), 0);
    assert_true(kr_max_abs(im->data) <= 0);
    kr_image_unref(&im);
    KR_R(scan.data)[50] = 1;
    scan.rays->source[3][0] = scan.rays->source[2][0];
    scan.rays->source[3][1] = scan.rays->source[2][1];
    assert_int_not_equal(m->run(&im, &scan, NULL, o, NULL), 0);
    assert_refused(KR_EREFUSED, "in the order of their angles; view 3");
    kr_rays_unref(&scan.rays);
    scan.rays = kr_rays_cone(&(kr_detector){ COLUMNS, 1, { 2, 0 }, { 0, 0 } }, 500, 800, false, VIEWS, (double[VIEWS]){ 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3 }, NULL);
    assert_int_not_equal(m->run(&im, &scan, NULL, o, NULL), 0);
    assert_refused(KR_EREFUSED, "these are fans");
    kr_scan mri = { .shape = KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = 1), .meta = scan.meta };
    assert_int_not_equal(m->run(&im, &mri, NULL, o, NULL), 0);
    assert_refused(KR_EREFUSED, "these samples lie on a grid");
    static const char *const bad[][3] = { { "hyper.n_primary", "4", "the weights have 2" }, { "hyper.n_iterations", "3", "the weights have 2" }, { "hyper.use_original_block", "true", "the weights have no" },
        { "hyper.parfan", "fan", "parfan is fan" }, { "hyper.per99_img", "-1", "a number from" }, { "hyper.use_original_init", "maybe", "'maybe'" }, { "hyper.dropout", "0.1", "no key that Kray knows" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_weights *v = pdunet(false);
        assert_true(!kr_meta_set(v->meta, bad[i][0], "%s", bad[i][1]) && !kr_meta_set(v->meta, "config_model", "PrimalDualNetwork") && !kr_weights_write(v, file));
        assert_int_not_equal(m->run(&im, &scan, NULL, o, NULL), 0);
        if (!strstr(kr_error(), bad[i][2]))
            fail_msg("'%s' lacks '%s'", kr_error(), bad[i][2]);
        kr_weights_unref(&v);
    }
    free(o);
    kr_linop_unref(&A);
    kr_linop_unref(&B);
    kr_net_unref(&net);
    kr_weights_unref(&w);
    kr_rays_unref(&scan.rays);
    kr_array_unref(&scan.data);
    kr_meta_unref(&scan.meta);
    remove(file);
}

/* Radial k-space of three Gaussians, in closed form, golden angles: the image that the network makes of their projections, in closed form, too. */
static void pdunet_of_spokes(void **state)
{
    (void)state;
    enum { SPOKES = 13, SAMPLES = 44, WIDE = 29 };                   /* 29: the diagonal of 20 pixels */
    static const double bell[3][4] = { { 1, 0, 0.05, 0.11 }, { 0.7, 0.2, -0.1, 0.08 }, { 0.4, -0.12, -0.22, 0.09 } };      /* value, place and width in fields of view */
    const double step = 0.5;
    kr_weights *w = pdunet(false);
    assert_false(kr_weights_write(w, file));
    kr_meta *meta = kr_meta_new();
    kr_scan mri = { .shape = KR_SHAPE([KR_SAMPLE] = SAMPLES, [KR_VIEW] = SPOKES, [KR_COIL] = 1), .enc.encoded = { N, N, 1 }, .meta = meta };
    mri.data = kr_array_new(KR_C32, mri.shape);
    mri.traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = SAMPLES, [KR_VIEW] = SPOKES, [KR_CHAN] = 2));
    kr_scan ct = { .rays = kr_rays_new(KR_PARALLEL, SPOKES, WIDE, 1), .grid = { { N, N, 1 }, { -N / 2, N / 2, 0 }, { 1, -1, 1 } }, .ray_model = KR_RAY_JOSEPH, .meta = meta };
    ct.data = kr_array_new(KR_R32, KR_SHAPE([KR_U] = WIDE, [KR_V] = 1, [KR_VIEW] = SPOKES));
    ct.shape = kr_array_shape(ct.data);
    assert_true(mri.data && mri.traj && ct.rays && ct.data);
    for (long v = 0; v < SPOKES; v++) {
        double at = (double)v * 111.246117975 * M_PI / 180, half = at - floor(at / M_PI) * M_PI;
        long place = 0;
        for (long o = 0; o < SPOKES; o++) {
            double other = (double)o * 111.246117975 * M_PI / 180;
            place += other - floor(other / M_PI) * M_PI < half;
        }
        for (long s = 0; s < SAMPLES; s++) {
            double k = ((double)s - SAMPLES / 2) * step, re = 0, im = 0;
            for (int b = 0; b < 3; b++) {
                double size = bell[b][0] * 2 * M_PI * bell[b][3] * bell[b][3] * exp(-2 * M_PI * M_PI * bell[b][3] * bell[b][3] * k * k), turn = 2 * M_PI * k * (cos(at) * bell[b][1] + sin(at) * bell[b][2]);
                re += size * cos(turn);
                im -= size * sin(turn);
            }
            KR_C(mri.data)[v * SAMPLES + s] = kr_c((float)re, (float)im);
            KR_R(mri.traj)[v * SAMPLES + s] = (float)(k * cos(at));
            KR_R(mri.traj)[(SPOKES + v) * SAMPLES + s] = (float)(k * sin(at));
        }
        double c = cos(half), s = sin(half);
        memcpy(ct.rays->u[place], (double[3]){ c, -s, 0 }, sizeof ct.rays->u[place]);
        memcpy(ct.rays->source[place], (double[3]){ -s, -c, 0 }, sizeof ct.rays->source[place]);
        ct.rays->v[place][2] = 1;
        for (long j = 0; j < WIDE; j++) {
            double t = ((double)j - (WIDE - 1) / 2) / N, sum = 0;
            for (int b = 0; b < 3; b++) {
                double off = (t - c * bell[b][1] - s * bell[b][2]) / bell[b][3];
                sum += bell[b][0] * bell[b][3] * sqrt(2 * M_PI) * exp(-off * off / 2);
            }
            KR_R(ct.data)[place * WIDE + j] = (float)sum;
        }
    }
    const kr_recon *m = kr_recon_named("pdunet");
    void *o = calloc(1, m->opts_size);
    kr_image *im = NULL, *want = NULL;
    kr_cost cost = { 0, 0 };
    double off = 0;
    assert_true(!kr_opt_defaults(m->opts, o) && !kr_opt_set(m->opts, o, "weights", file) && !kr_opt_set(m->opts, o, "config", "none"));
    if (m->run(&im, &mri, NULL, o, NULL) || m->run(&want, &ct, NULL, o, NULL) || m->plan(&cost, &mri, o))
        fail_msg("%s", kr_error());
    assert_true(cost.bytes > 0);
    for (long i = 0; i < N * N; i++)
        off = fmax(off, fabs((double)KR_R(im->data)[i] - (double)KR_R(want->data)[i]));      /* n / sqrt(n n) times */
    print_message("spokes against projections in closed form: %.1e of the largest value\n", off / kr_max_abs(want->data));
    assert_true(kr_max_abs(want->data) > 0 && off < 1e-4 * kr_max_abs(want->data));
    kr_image_unref(&im);
    KR_R(mri.traj)[5] += 3;
    assert_int_not_equal(m->run(&im, &mri, NULL, o, NULL), 0);
    assert_refused(KR_EREFUSED, "no straight spoke");
    free(o);
    kr_image_unref(&want);
    kr_weights_unref(&w);
    kr_array_unref(&mri.data);
    kr_array_unref(&mri.traj);
    kr_array_unref(&ct.data);
    kr_rays_unref(&ct.rays);
    kr_meta_unref(&meta);
    remove(file);
}

static double loss(const kr_graph *g, const kr_extent *n, const double *const *in, double *const *value, double *out, long count)
{
    double sum = 0;
    assert_int_equal(kr_graph_plain(g, n, 0, in, value, (double *[]){ out }), 0);
    for (long i = 0; i < count; i++)
        sum += (2 * kr_rand_uniform(7, 0, (uint64_t)i) - 1) * out[i];
    return sum;
}

/* kind 0: LPDNet; 1 and 2: the Primal-Dual U-Net, the network of convolutions. */
static void gradients_of(int kind)
{
    enum { PARAMS = 200 };
    kr_weights *all = kind ? NULL : lpdnet(LPDNET_CONV), *w = kind ? pdunet(kind > 1) : kr_weights_under(all, "model.");
    assert_true(w && !kr_meta_set(w->meta, "hyper.operator", "rays") && (kind || !kr_meta_set(w->meta, "hyper.num_iter", "2")));
    kr_graph *g = kr_net_graph(kind ? "pdunet" : "lpdnet", w);
    kr_linop *A = NULL, *B = NULL;
    long count = kind ? N * N : 2 * N * N;
    if (kind)
        operators(&A, &B);
    else
        A = projector(1.0 / 32);
    kr_cfloat y[DATA];
    double plain[2 * DATA], out[2 * N * N], *value[PARAMS];
    data(y);
    for (long i = 0; i < 2 * DATA; i++)
        plain[i] = (double)((const float *)y)[i];
    kr_extent n[3];
    const double *in[3];
    const void *given[3];
    long params;
    kr_param *p = kr_graph_params(g, &params);
    assert_true(kr_graph_inputs(g) == (kind ? 3 : 2) && params < PARAMS);
    for (int i = 0; i < (kind ? 3 : 2); i++) {
        bool op = strcmp(kr_graph_input_name(g, i), "kspace");
        const kr_linop *which = strcmp(kr_graph_input_name(g, i), "rays") ? B : A;
        n[i] = op ? (kr_extent){ KR_OPERATOR, 1, 1, N, N } : (kr_extent){ KR_COILS, 1, 1, VIEWS, COLUMNS };
        in[i] = op ? (const double *)(const void *)which : plain;
        given[i] = op ? (const void *)which : y;
    }
    kr_run *r = kr_graph_plan(g, n, KR_TRAIN, 0);
    if (!r || kr_run_lend(r, NULL))
        fail_msg("%s", kr_error());
    for (int i = 0; i < (kind ? 3 : 2); i++)
        kr_run_input(r, i, given[i]);
    kr_run_forward(r, NULL, NULL);
    for (long i = 0; i < count; i++)
        ((float *)kr_run_dy(r, 0)->data)[i] = (float)(2 * kr_rand_uniform(7, 0, (uint64_t)i) - 1);
    kr_run_backward(r);
    double predicted = 0, scale = 0, l[2];
    for (long i = 0; i < params; i++)
        value[i] = malloc((size_t)kr_tensor_count(&p[i].value) * sizeof(double));
    for (long i = 0; i < params; i++)                        /* what is not trained, too */
        for (long k = 0; k < kr_tensor_count(&p[i].value); k++)
            value[i][k] = (double)p[i].value.data[k];
    for (int side = 0; side < 2; side++) {
        for (long i = 0; i < params; i++)
            for (long k = 0; k < kr_tensor_count(&p[i].value) && !p[i].frozen; k++) {
                double d = 2 * kr_rand_uniform(8, (uint64_t)i, (uint64_t)k) - 1, part = d * (double)p[i].gradient.data[k];
                value[i][k] = (double)p[i].value.data[k] + (side ? -1e-7 : 1e-7) * d;
                predicted += side ? 0 : part;
                scale += side ? 0 : part * part;
            }
        l[side] = loss(g, n, in, value, out, count);
    }
    double off = fabs((l[0] - l[1]) / 2e-7 - predicted) / sqrt(scale);
    double apart = from_double(g, n, given, 7);
    print_message("%s, gradients through the projector: %.1e, from those in double %.1e\n", kind > 1 ? "convolutions" : kind ? "U-Nets" : "LPDNet", off, apart);
    assert_true(off < 2e-4 && apart < 1e-5);                     /* as in test_graph.c */
    for (long i = 0; i < params; i++)
        free(value[i]);
    kr_run_unref(&r);
    kr_graph_unref(&g);
    kr_linop_unref(&A);
    kr_linop_unref(&B);
    kr_weights_unref(&w);
    kr_weights_unref(&all);
}

static void gradients(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        gradients_of(kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_published), cmocka_unit_test(gradients), cmocka_unit_test(method), cmocka_unit_test(blocks), cmocka_unit_test(pdunet_as_published), cmocka_unit_test(pdunet_method), cmocka_unit_test(pdunet_of_spokes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
