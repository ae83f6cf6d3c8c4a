/* golden_train.c: files of training (train_*.h5): for each case the gradients of all parameters before the first step, and losses and weights
 * over three steps of its optimiser; in float and in double. */
#include "golden.h"
#include "sanitized.h"
#include "kray/net.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item { float *m, *s; kr_net_input in; };

enum { OUTS = 64, LOSSES = 3 };
/* What the loss is of: out[output] {item,y,x} are magnitudes, d its gradients. */
struct training {
    hid_t file;
    const char *name;
    long items, outs, h, w, cascades;
    double *target, *out[OUTS], *d[OUTS];
    bool atommic, direct;
};

/* The losses that the case's name begins with: their sum is trained on. Their number; 0: a refusal. */
static int losses_of(const char *what, const kr_loss **loss)
{
    int count = 0;
    for (const char *p = what; *p && count < LOSSES;) {
        const kr_loss *best = NULL;
        for (int i = 0; kr_losses[i]; i++) {
            size_t n = strlen(kr_losses[i]->name);
            if (!strncmp(p, kr_losses[i]->name, n) && (p[n] == '_' || !p[n]))
                best = kr_losses[i];
        }
        if (!best)
            break;
        loss[count++] = best;
        p += strlen(best->name);
        p += *p == '_';
    }
    if (!count)
        kr_fail(KR_EFORMAT, "the case '%s' begins with no loss that Kray has", what);
    return count;
}

/* The loss of the case over all its outputs, and its gradients. */
static int whole_loss(struct training *t, const char *what, double *sum)
{
    const kr_loss *loss[LOSSES];
    int losses = losses_of(what, loss), e = losses ? 0 : kr_error_code();
    bool log = strstr(what, "accumulated") != NULL, all = strstr(what, "steps") != NULL;
    double weight[OUTS];
    *sum = 0;
    kr_over_weights(weight, log ? KR_OVER_LOG : all ? KR_OVER_MEAN : KR_OVER_LAST, t->outs, log ? t->cascades : 1);
    for (long o = 0; o < t->outs; o++) {
        memset(t->d[o], 0, (size_t)(t->items * t->h * t->w) * sizeof(double));
        for (int k = 0; !e && weight[o] != 0 && k < losses; k++) {
            double one = 0;
            void *opts = calloc(1, loss[k]->opts_size + 1);
            e = kr_opt_defaults(loss[k]->opts, opts);
            if (!e && !strcmp(loss[k]->name, "ssim"))
                e = kr_opt_set(loss[k]->opts, opts, "range", t->atommic ? "both" : t->direct ? "batch" : "item");
            e = e ? e : kr_loss_run(loss[k], &one, &(kr_pair){ t->out[o], t->target, t->d[o], t->items, t->h, t->w }, log, weight[o], opts);
            *sum += weight[o] * one;
            free(opts);
        }
    }
    return e;
}

/* What an input of the graph is given. */
static const void *given(const kr_graph *g, long i, const kr_net_input *in)
{
    const char *name = kr_graph_input_name(g, i);
    return !strcmp(name, "kspace") ? (const void *)in->kspace : !strcmp(name, "mask") ? in->mask : !strcmp(name, "acs") ? in->acs : !strcmp(name, "sens") ? (const void *)in->sens
                                                                                                                               : (const void *)in->image;
}

/* One pass of all items: outputs (backward false), or gradients of what whole_loss left in d. */
static void pass(struct training *t, kr_run *r, const struct item *it, const kr_graph *g, bool backward)
{
    long n = t->h * t->w;
    double *v = malloc((size_t)(4 * n) * sizeof *v);
    for (long b = 0; b < t->items; b++) {
        for (long i = 0; i < kr_graph_inputs(g); i++)
            kr_run_input(r, i, given(g, i, &it[b].in));
        kr_run_forward(r, NULL, NULL);
        for (long o = 0; o < t->outs; o++) {
            bool complex = kr_run_output(r, o)->n.kind == KR_IMAGE;
            kr_value_get(v, kr_run_output(r, o));
            if (backward) {
                kr_magnitude_backward(v + 2 * n, v, t->d[o] + b * n, n, complex);
                kr_value_put(kr_run_dy(r, o), v + 2 * n);
            } else
                kr_magnitude(t->out[o] + b * n, v, n, complex);
        }
        if (backward)
            kr_run_backward(r);
    }
    free(v);
}

/* The same in double; forward and backward passes of one item follow each other. */
static int plain_pass(struct training *t, kr_plain_run *r, const struct item *it, const kr_graph *g, bool backward)
{
    long n = t->h * t->w;
    int e = 0;
    for (long b = 0; b < t->items && !e; b++) {
        for (long i = 0; i < kr_graph_inputs(g); i++)
            if (kr_plain_input(r, i))
                kr_plain_give(r, i, given(g, i, &it[b].in));
        e = kr_plain_forward(r, NULL);
        for (long o = 0; o < t->outs && !e; o++) {
            bool complex = kr_plain_output_extent(r, o).kind == KR_IMAGE;
            if (backward)
                kr_magnitude_backward(kr_plain_dy(r, o), kr_plain_output(r, o), t->d[o] + b * n, n, complex);
            else
                kr_magnitude(t->out[o] + b * n, kr_plain_output(r, o), n, complex);
        }
        e = e || !backward ? e : kr_plain_backward(r, NULL);
    }
    return e;
}

double *doubles(hid_t file, const char *path, long *n)
{
    hid_t d = H5Lexists(file, path, H5P_DEFAULT) > 0 ? H5Dopen2(file, path, H5P_DEFAULT) : -1, s = d < 0 ? -1 : H5Dget_space(d);
    double *p = NULL;
    *n = 0;
    if (s >= 0 && H5Sget_simple_extent_npoints(s) >= 0 && H5Sget_simple_extent_npoints(s) < 1L << 28) {
        *n = (long)H5Sget_simple_extent_npoints(s);
        p = malloc((size_t)*n * sizeof *p + 1);
        if (!p || H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, p) < 0) {
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

/* The largest difference between numbers of ours and of the file, over the file's largest. */
static double apart(hid_t file, const char *path, const double *ours, long count, double *top)
{
    long n = 0;
    double *want = doubles(file, path, &n), worst = want && n == count ? 0 : INFINITY;
    *top = 0;
    for (long i = 0; want && i < n && i < count; i++) {
        *top = fmax(*top, fabs(want[i]));
        worst = fmax(worst, fabs(want[i] - ours[i]));
    }
    free(want);
    return worst;
}

/* How far our weights after so many steps are from the file's, over what they may be: `least`, and what the difference that gradients are allowed (2e-5 of
 * a tensor's largest) does to a first step of Adam, rate c / (|c| + eps), c being the gradient with clipping and decay: where c is near 0, all of it.
 * *off: the largest difference itself. */
static double weights_apart(struct training *t, const char *what, const char *when, const kr_param *p, long params, float *const *start, const struct settings *s,
                            double norm, double least, double *off)
{
    double worst = 0, clip = s->clip > 0 ? fmin(1, s->clip / (norm + 1e-6)) : 1;
    *off = 0;
    for (long i = 0; i < params; i++) {
        char path[400];
        long n = 0, ng = 0, count = kr_tensor_count(&p[i].value);
        snprintf(path, sizeof path, "cases/%s/outputs/%s/%s", what, when, p[i].value.name);
        double *want = doubles(t->file, path, &n), top = 0;
        snprintf(path, sizeof path, "cases/%s/outputs/grad/%s", what, p[i].value.name);
        double *g = doubles(t->file, path, &ng);
        if (!want || n != count || !g || ng != count)
            worst = *off = INFINITY;
        for (long k = 0; worst < INFINITY && k < n; k++)
            top = fmax(top, fabs(g[k]));
        for (long k = 0; worst < INFINITY && k < n; k++) {
            double c = fabs(clip * g[k] + s->l2 * (double)start[i][k]), dc = clip * 2e-5 * top, low = fmax(c - dc, 0) + s->eps;
            double d = fabs(want[k] - (double)p[i].value.data[k]), may = least + s->rate * fmin(2, low > 0 ? dc * s->eps / (low * low) : 2);
            worst = isnan(d) ? INFINITY : fmax(worst, d / may);
            *off = fmax(*off, d);
        }
        free(want);
        free(g);
    }
    return worst;
}

/* The file's weights after one step. */
static int go_on_from(struct training *t, const char *what, kr_graph *g)
{
    long params;
    kr_param *p = kr_graph_params(g, &params);
    for (long i = 0; i < params; i++) {
        char path[400];
        long n = 0;
        snprintf(path, sizeof path, "cases/%s/outputs/weights_after1/%s", what, p[i].value.name);
        double *want = doubles(t->file, path, &n);
        for (long k = 0; want && n == kr_tensor_count(&p[i].value) && k < n; k++)
            p[i].value.data[k] = (float)want[k];
        free(want);
    }
    return kr_graph_pack(g);
}

/* One case: its gradients against the file's (float64) ones, those of float32 sums, 2e-5 of a tensor's largest, as the published code's own float32 is;
 * then three steps of its optimiser: losses and norms to 5e-6 and 2e-5; weights after the first to 1e-6 and what weights_apart allows. The second step goes
 * on from the file's weights after the first: else a rectifier at 0 within rounding may turn, and what follows is another path. After the
 * third, weights are held to 2e-6, some roundings of a float, and the same. */
static int one_case(struct training *t, const char *what, kr_graph *g, kr_run *r, const struct item *it, int number)
{
    enum { STEPS = 3 };
    char path[300], where[160] = "";
    long params, n = 0, norms = 0, tensors = 0, wanted = 0;
    kr_param *p = kr_graph_params(g, &params);
    struct settings s = { 0 };
    snprintf(path, sizeof path, "cases/%s", what);
    int e = settings_of(t->file, path, &s);
    snprintf(path, sizeof path, "cases/%s/outputs/loss", what);
    double *losses = doubles(t->file, path, &n), worst = 0, off = 0, norm_off = 0, after1 = INFINITY, after3 = INFINITY, off1 = INFINITY, off3 = INFINITY;
    snprintf(path, sizeof path, "cases/%s/outputs/grad_norm_before_clipping", what);
    double *norm = doubles(t->file, path, &norms);
    if (!e && (!losses || n != STEPS + 1 || !norm || norms != STEPS))
        e = kr_fail(KR_EFORMAT, "the case '%s' holds no %d losses or no %d norms of gradients", what, STEPS + 1, STEPS);
    float **start = calloc((size_t)params + 1, sizeof *start);
    for (long i = 0; i < params; i++) {
        size_t bytes = (size_t)kr_tensor_count(&p[i].value) * sizeof(float);
        start[i] = malloc(bytes + 1);
        memcpy(start[i], p[i].value.data, bytes);
    }
    kr_optim *o = e ? NULL : kr_optim_new(s.kind, s.opts, p, params);
    e = e || o ? e : kr_error_code();
    for (int step = 0; !e && step <= STEPS; step++) {
        double loss = 0;
        kr_graph_zero_gradients(g);
        pass(t, r, it, g, false);
        if ((e = whole_loss(t, what, &loss)))
            break;
        off = fmax(off, fabs(loss / losses[step] - 1));
        if (step == STEPS)
            break;
        pass(t, r, it, g, true);
        for (long i = 0; step == 0 && i < params; i++) {
            double top, d;
            snprintf(path, sizeof path, "cases/%s/outputs/grad/%s", what, p[i].value.name);
            if (H5Lexists(t->file, path, H5P_DEFAULT) <= 0)
                continue;
            double *ours = calloc((size_t)kr_tensor_count(&p[i].value) + 1, sizeof *ours);
            for (long k = 0; k < kr_tensor_count(&p[i].value); k++)
                ours[k] = (double)p[i].gradient.data[k];
            d = apart(t->file, path, ours, kr_tensor_count(&p[i].value), &top);
            free(ours);
            d = top > 0 ? d / top : d > 1e-9 ? INFINITY : 0;
            tensors++;
            if (!(d <= worst)) {
                worst = d;
                snprintf(where, sizeof where, "%s", p[i].value.name);
            }
        }
        norm_off = fmax(norm_off, fabs(kr_clip_norm(p, params, s.clip > 0 ? s.clip : INFINITY) / norm[step] - 1));
        if ((e = kr_optim_step(o, s.rate)) || (e = kr_graph_pack(g)))
            break;
        if (step == 0) {
            after1 = weights_apart(t, what, "weights_after1", p, params, start, &s, norm[0], 1e-6, &off1);
            e = after1 < INFINITY ? go_on_from(t, what, g) : kr_fail(KR_EFORMAT, "the weights after one step are missing, or ours are not finite");
        }
        if (step == STEPS - 1)
            after3 = weights_apart(t, what, "weights_after3", p, params, start, &s, norm[0], 2e-6, &off3);
    }
    snprintf(path, sizeof path, "cases/%s/outputs/grad", what);
    wanted = list(t->file, path).count;
    bool good = !e && off < 5e-6 && norm_off < 2e-5 && worst < 2e-5 && tensors == wanted && tensors > 0 && after1 <= 1 && after3 <= 1;
    printf("%sok %d - %s %s: losses %.1e off, gradients of %ld of %ld tensors, largest difference %.2e of a tensor's largest%s%s; %s: norms %.1e off, weights %.1e off after 1 step "
           "(%.2f of what they may), %.1e after 3 (%.2f)\n", good ? "" : "not ", number, t->name, what, off, tensors, wanted, worst, where[0] ? " at " : "",
           where, s.kind ? s.kind->name : "no optimiser", norm_off, off1, after1, off3, after3);
    if (e)
        printf("# %s\n", kr_error());
    for (long i = 0; i < params; i++) {
        memcpy(p[i].value.data, start[i], (size_t)kr_tensor_count(&p[i].value) * sizeof(float));
        free(start[i]);
    }
    if (kr_graph_pack(g))
        good = false;
    kr_optim_unref(&o);
    free(start); free(losses); free(norm); free(s.opts);
    return !good;
}

/* The same in double, on its own way all along: all to 1e-11 (1e-13 is what rounding leaves, even of weights whose gradient is all but 0). */
static int double_case(struct training *t, const char *what, kr_graph *g, kr_plain_run *r, const struct item *it, int number)
{
    enum { STEPS = 3 };
    char path[300];
    long params, n = 0, norms = 0, tensors = 0;
    kr_param *p = kr_graph_params(g, &params);
    struct settings s = { 0 };
    snprintf(path, sizeof path, "cases/%s", what);
    int e = settings_of(t->file, path, &s);
    snprintf(path, sizeof path, "cases/%s/outputs/loss", what);
    double *losses = doubles(t->file, path, &n), off = 0, norm_off = 0, worst = 0, weights[2] = { 0, 0 };
    snprintf(path, sizeof path, "cases/%s/outputs/grad_norm_before_clipping", what);
    double *norm = doubles(t->file, path, &norms);
    if (!e && (!losses || n != STEPS + 1 || !norm || norms != STEPS))
        e = kr_fail(KR_EFORMAT, "the case '%s' holds no %d losses or no %d norms of gradients", what, STEPS + 1, STEPS);
    kr_optim *o = e ? NULL : kr_optim_new(s.kind, s.opts, p, params);
    double **start = calloc((size_t)params + 1, sizeof *start);
    for (long i = 0; i < params; i++) {
        size_t bytes = (size_t)kr_tensor_count(&p[i].value) * sizeof(double);
        start[i] = malloc(bytes + 1);
        memcpy(start[i], p[i].exact, bytes);
    }
    e = e || o ? e : kr_error_code();
    for (int step = 0; !e && step <= STEPS; step++) {
        double loss = 0, top;
        kr_graph_zero_gradients(g);
        if ((e = plain_pass(t, r, it, g, false)) || (e = whole_loss(t, what, &loss)))
            break;
        off = fmax(off, fabs(loss / losses[step] - 1));
        if (step == STEPS || (e = plain_pass(t, r, it, g, true)))
            break;
        for (long i = 0; step == 0 && i < params; i++) {
            long count = kr_tensor_count(&p[i].value);
            snprintf(path, sizeof path, "cases/%s/outputs/grad/%s", what, p[i].value.name);
            if (H5Lexists(t->file, path, H5P_DEFAULT) <= 0)
                continue;
            double d = apart(t->file, path, p[i].exact_gradient, count, &top);
            worst = fmax(worst, top > 0 ? d / top : d > 1e-12 ? INFINITY : 0);
            tensors++;
        }
        norm_off = fmax(norm_off, fabs(kr_clip_norm(p, params, s.clip > 0 ? s.clip : INFINITY) / norm[step] - 1));
        if ((e = kr_optim_step(o, s.rate)))
            break;
        for (long i = 0; step != 1 && i < params; i++) {
            long count = 0;
            snprintf(path, sizeof path, "cases/%s/outputs/weights_after%d/%s", what, step + 1, p[i].value.name);
            double *want = doubles(t->file, path, &count);
            if (!want || count != kr_tensor_count(&p[i].value))
                weights[step > 0] = INFINITY;
            for (long k = 0; want && k < count; k++)
                weights[step > 0] = fmax(weights[step > 0], fabs(want[k] - p[i].exact[k]));
            free(want);
        }
    }
    bool good = !e && off < 1e-11 && norm_off < 1e-11 && worst < 1e-11 && tensors > 0 && weights[0] < 1e-11 && weights[1] < 1e-11;
    printf("%sok %d - %s %s in double: losses %.1e off, gradients %.1e of a tensor's largest, norms %.1e, weights %.1e after 1 step, %.1e after 3\n",
           good ? "" : "not ", number, t->name, what, off, worst, norm_off, weights[0], weights[1]);
    if (e)
        printf("# %s\n", kr_error());
    for (long i = 0; i < params; i++) {
        memcpy(p[i].exact, start[i], (size_t)kr_tensor_count(&p[i].value) * sizeof(double));
        free(start[i]);
    }
    kr_optim_unref(&o);
    free(start); free(losses); free(norm); free(s.opts);
    return !good;
}

static float *one_of(hid_t file, const char *const *names, hsize_t n[8])
{
    int dims;
    for (; *names; names++)
        if (H5Lexists(file, *names, H5P_DEFAULT) > 0)
            return numbers(file, *names, &dims, n);
    return NULL;
}

int golden_train(hid_t file, const char *name, const kr_weights *w, int *number)
{
    static const char *const ks[] = { "inputs/masked_kspace", NULL }, *const ss[] = { "inputs/sensitivity_map", "inputs/sensitivity_map_acs", NULL },
        *const ms[] = { "inputs/sampling_mask", "inputs/mask_f", NULL }, *const is[] = { "inputs/image", NULL };
    hsize_t n[8] = { 0 }, nm[8] = { 1, 1, 1, 1 }, ns[8];
    float *k = one_of(file, ks, n), *s = one_of(file, ss, ns), *m = one_of(file, ms, nm), *im = k ? NULL : one_of(file, is, n);
    kr_graph *g = kr_net_graph(NULL, w);
    if (!g || (!k && !im) || n[0] > 8 || kr_graph_outputs(g) > OUTS) {
        printf("not ok %d - %s: %s\n", ++*number, name, g ? "no k-space or image among the inputs, more than 8 of them, or too many outputs" : kr_error());
        kr_graph_unref(&g);
        free(k); free(s); free(m); free(im);
        return 1;
    }
    long coils = k ? (long)n[1] : 1, h = (long)n[2], wd = (long)n[3], px = h * wd;
    struct training t = { .file = file, .name = name, .items = (long)n[0], .outs = kr_graph_outputs(g), .h = h, .w = wd, .atommic = strstr(name, "atommic") != NULL,
                          .direct = strstr(name, "direct") || strstr(name, "recurrentvarnet"), .cascades = (long)kr_meta_number(w->meta, "hyper.num_cascades", 1) };
    struct item it[8];
    for (long b = 0; b < t.items; b++) {
        float *mask = calloc((size_t)px, sizeof *mask), *acs = calloc((size_t)px, sizeof *acs);
        for (long i = 0; m && i < px; i++)
            mask[i] = m[(nm[0] > 1 ? b * (long)(nm[1] * nm[2] * nm[3]) : 0) + (nm[2] > 1 ? i / wd : 0) * (long)nm[3] + i % wd];
        long low = (long)kr_meta_number(w->meta, "hyper.num_low_frequencies", 0);
        for (long y = 0; y < h; y++)
            acs_columns(mask + y * wd, wd, low, acs + y * wd);
        it[b] = (struct item){ .m = mask, .s = acs, .in = { .coils = coils, .h = h, .w = wd, .mask = mask, .acs = acs, .kspace = k ? (kr_cfloat *)(void *)k + b * coils * px : NULL,
                               .sens = s ? (kr_cfloat *)(void *)s + b * coils * px : NULL, .image = im ? im + b * px : NULL, .scaling = 1 } };
    }
    for (long o = 0; o < t.outs; o++) {
        t.out[o] = malloc((size_t)(t.items * px) * sizeof(double));
        t.d[o] = malloc((size_t)(t.items * px) * sizeof(double));
    }
    long count = 0;
    double *target = doubles(file, H5Lexists(file, "inputs/target", H5P_DEFAULT) > 0 ? "inputs/target" : "inputs/target_complex", &count);
    t.target = malloc((size_t)(t.items * px) * sizeof(double));
    for (long i = 0; i < t.items * px; i++)
        t.target[i] = count == t.items * px ? target[i] : hypot(target[2 * i], target[2 * i + 1]);
    kr_extent e[8];
    for (long i = 0; i < kr_graph_inputs(g); i++) {
        e[i] = kr_graph_input_extent(g, i);
        e[i] = kr_graph_input_must(g, i) ? (kr_extent){ e[i].kind, e[i].kind == KR_COILS ? coils : 1, 1, h, wd } : (kr_extent){ KR_ABSENT, 0, 0, 0, 0 };
    }
    bool centred = kr_meta_number(w->meta, "hyper.fft_centered", 1) != 0;
    kr_run *r = kr_graph_plan(g, e, KR_TRAIN | (centred ? 0 : KR_CORNER), 0);
    int bad = !r || kr_run_lend(r, NULL) ? 1 : 0;
    if (bad)
        printf("not ok %d - %s: %s\n", ++*number, name, kr_error());
    struct names cases = list(file, "cases");
    for (int i = 0; r && i < cases.count; i++)
        bad += one_case(&t, cases.name[i], g, r, it, ++*number);
    kr_run_unref(&r);
    kr_graph_unref(&g);
    g = kr_net_graph(NULL, w);
    kr_plain_run *d = g && !kr_graph_exact(g) ? kr_plain_plan(g, e, KR_TRAIN | (centred ? 0 : KR_CORNER), 0) : NULL;
    if (!d) {
        printf("not ok %d - %s in double: %s\n", ++*number, name, kr_error());
        bad++;
    }
    for (int i = 0; d && i < (SANITIZED ? 1 : cases.count); i++)          /* cases differ in loss and optimiser */
        bad += double_case(&t, cases.name[i], g, d, it, ++*number);
    kr_plain_run_unref(&d);
    kr_graph_unref(&g);
    for (long b = 0; b < t.items; b++) {
        free(it[b].m);
        free(it[b].s);
    }
    for (long o = 0; o < t.outs; o++) {
        free(t.out[o]);
        free(t.d[o]);
    }
    free(k); free(s); free(m); free(im); free(target); free(t.target);
    return bad;
}
