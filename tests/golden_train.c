/* golden_train.c: files of training (train_*.h5): for each case the loss and the gradients of all parameters before the first step, by the
 * losses that the published programs train with. */
#include "golden.h"
#include "kray/net.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item { float *m, *s; kr_net_input in; };

enum { OUTS = 64, WINDOW = 7 };
/* What the loss is of: outputs[item][output] are magnitudes of n pixels. */
struct training {
    hid_t file;
    const char *name;
    long items, outs, h, w, cascades;
    double *target, *out[8][OUTS], *d[8][OUTS];
    bool atommic, direct;
};

/* 1 - mean SSIM over the valid windows; adds weight * gradient to d. */
static double ssim_loss(const double *x, const double *t, long h, long w, double range, double weight, double *d)
{
    double n = WINDOW * WINDOW, cn = n / (n - 1), c1 = pow(0.01 * range, 2), c2 = pow(0.03 * range, 2), sum = 0, count = (double)((h - WINDOW + 1) * (w - WINDOW + 1));
    for (long y = 0; y + WINDOW <= h; y++)
        for (long q = 0; q + WINDOW <= w; q++) {
            double a = 0, b = 0, aa = 0, bb = 0, ab = 0;
            for (long i = 0; i < WINDOW * WINDOW; i++) {
                double u = x[(y + i / WINDOW) * w + q + i % WINDOW], v = t[(y + i / WINDOW) * w + q + i % WINDOW];
                a += u / n;
                b += v / n;
                aa += u * u / n;
                bb += v * v / n;
                ab += u * v / n;
            }
            double vx = cn * (aa - a * a), vy = cn * (bb - b * b), vxy = cn * (ab - a * b);
            double a1 = 2 * a * b + c1, a2 = 2 * vxy + c2, b1 = a * a + b * b + c1, b2 = vx + vy + c2, s = a1 * a2 / (b1 * b2);
            sum += s;
            for (long i = 0; i < WINDOW * WINDOW; i++) {
                long at = (y + i / WINDOW) * w + q + i % WINDOW;
                double dvx = cn * (2 * x[at] - 2 * a) / n, dvxy = cn * (t[at] - b) / n;
                d[at] -= weight / count * s * (2 * b / n / a1 + 2 * dvxy / a2 - 2 * a / n / b1 - dvx / b2);
            }
        }
    return 1 - sum / count;
}

/* The loss named in the case, of one output of all items; its gradient times weight is added to d. */
static double loss_of(struct training *t, const char *what, long o, double weight)
{
    long n = t->h * t->w;
    double sum = 0, norm = 0, high = 0, all = (double)(n * t->items);
    bool l1 = !strncmp(what, "l1", 2), nmse = !strncmp(what, "nmse", 4), l2 = !strncmp(what, "l2", 2), ssim = strstr(what, "ssim") != NULL;
    for (long i = 0; i < n * t->items; i++) {
        norm += t->target[i] * t->target[i];
        high = fmax(high, t->target[i]);
    }
    for (long b = 0; b < t->items; b++) {
        const double *x = t->out[b][o], *y = t->target + b * n;
        double *d = t->d[b][o];
        for (long i = 0; i < n; i++) {
            double e = x[i] - y[i];
            sum += l1 ? fabs(e) / all : nmse ? e * e / norm : l2 ? e * e / all : 0;
            d[i] += weight * (l1 ? (e > 0 ? 1 : e < 0 ? -1 : 0) / all : nmse ? 2 * e / norm : l2 ? 2 * e / all : 0);
        }
        if (ssim) {
            double range = 0, least = INFINITY, top = 0;
            for (long i = 0; i < n; i++) {
                range = fmax(range, y[i]);
                least = fmin(least, fmin(x[i], y[i]));
                top = fmax(top, fmax(x[i], y[i]));
            }
            range = t->atommic ? top - least : t->direct ? high : range;
            sum += ssim_loss(x, y, t->h, t->w, range, weight / (double)t->items, d) / (double)t->items;
        }
    }
    return sum;
}

/* ATOMMIC's: prediction and target each by its own maximum, through whose place gradient flows. */
static double by_maximum(struct training *t, const char *what, long o, double weight)
{
    long n = t->h * t->w, at = 0;
    double *x = t->out[0][o], *y = t->target, *d = t->d[0][o], m = 0, mt = 0, along = 0;
    double *kx = malloc((size_t)n * sizeof *kx), *ky = malloc((size_t)n * sizeof *ky);
    for (long i = 0; i < n; i++) {
        if (x[i] > m) {
            m = x[i];
            at = i;
        }
        mt = fmax(mt, y[i]);
    }
    for (long i = 0; i < n; i++) {
        kx[i] = x[i];
        ky[i] = y[i];
        x[i] /= m;
        y[i] /= mt;
    }
    double loss = loss_of(t, what, o, weight);
    for (long i = 0; i < n; i++) {
        along += d[i] * kx[i];
        d[i] /= m;
        x[i] = kx[i];
        y[i] = ky[i];
    }
    d[at] -= along / (m * m);
    free(kx); free(ky);
    return loss;
}

static double logspace(long i, long n) { return n > 1 ? pow(10, -1 + (double)i / (double)(n - 1)) : 0.1; }

/* The loss of the case over all its outputs, and its gradients. */
static double whole_loss(struct training *t, const char *what)
{
    double sum = 0;
    for (long b = 0; b < t->items; b++)
        for (long o = 0; o < t->outs; o++)
            memset(t->d[b][o], 0, (size_t)(t->h * t->w) * sizeof(double));
    if (strstr(what, "accumulated"))
        for (long c = 0, steps = t->outs / t->cascades; c < t->cascades; c++)
            for (long s = 0; s < steps; s++) {
                double weight = logspace(c, t->cascades) / (double)t->cascades * logspace(s, steps) / (double)steps;
                sum += weight * by_maximum(t, what, c * steps + s, weight);
            }
    else if (strstr(what, "steps"))
        for (long o = 0; o < t->outs; o++)
            sum += loss_of(t, what, o, 1 / (double)t->outs) / (double)t->outs;
    else
        sum = loss_of(t, what, t->outs - 1, 1);
    return sum;
}

/* One pass of all items: outputs (backward false), or gradients of what whole_loss left in d. */
static void pass(struct training *t, kr_run *r, const struct item *it, const kr_graph *g, bool backward)
{
    long n = t->h * t->w;
    for (long b = 0; b < t->items; b++) {
        for (long i = 0; i < kr_graph_inputs(g); i++) {
            const char *name = kr_graph_input_name(g, i);
            const kr_net_input *in = &it[b].in;
            kr_run_input(r, i, !strcmp(name, "kspace") ? (const void *)in->kspace : !strcmp(name, "mask") ? in->mask : !strcmp(name, "acs") ? in->acs
                                : !strcmp(name, "sens") ? (const void *)in->sens : (const void *)in->image);
        }
        kr_run_forward(r, NULL, NULL);
        for (long o = 0; o < t->outs; o++) {
            const kr_value *v = kr_run_output(r, o);
            const float *f = v->data;
            float *dy = kr_run_dy(r, o)->data;
            for (long i = 0; i < n; i++)
                if (v->n.kind == KR_IMAGE) {
                    double a = hypot((double)f[2 * i], (double)f[2 * i + 1]);
                    t->out[b][o][i] = backward ? t->out[b][o][i] : a;
                    for (int q = 0; q < 2 && backward; q++)
                        dy[2 * i + q] = (float)(a > 0 ? t->d[b][o][i] * (double)f[2 * i + q] / a : 0);
                } else if (backward)
                    dy[i] = (float)t->d[b][o][i];
                else
                    t->out[b][o][i] = (double)f[i];
        }
        if (backward)
            kr_run_backward(r);
    }
}

static double *doubles(hid_t file, const char *path, long *n)
{
    hid_t d = H5Dopen2(file, path, H5P_DEFAULT), s = d < 0 ? -1 : H5Dget_space(d);
    double *p = NULL;
    if (s >= 0) {
        *n = (long)H5Sget_simple_extent_npoints(s);
        p = malloc((size_t)*n * sizeof *p);
        H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, p);
        H5Sclose(s);
        H5Dclose(d);
    }
    return p;
}

/* The largest difference between numbers of ours and of the file, over the file's largest. */
static double apart(hid_t file, const char *path, const float *ours, long count, double *top)
{
    long n = 0;
    double *want = doubles(file, path, &n), worst = want && n == count ? 0 : INFINITY;
    *top = 0;
    for (long i = 0; want && i < n && i < count; i++) {
        *top = fmax(*top, fabs(want[i]));
        worst = fmax(worst, fabs(want[i] - (double)ours[i]));
    }
    free(want);
    return worst;
}

/* Gradients of one case against the file's (float64) ones: those of float32 sums, 2e-5 of a tensor's largest, as the published code's own float32 is. */
static int one_case(struct training *t, const char *what, kr_graph *g, kr_run *r, const struct item *it, int number)
{
    char path[300], where[160] = "";
    long params, n = 0, tensors = 0;
    kr_param *p = kr_graph_params(g, &params);
    snprintf(path, sizeof path, "cases/%s/outputs/loss", what);
    double *losses = doubles(t->file, path, &n), worst = 0;
    kr_graph_zero_gradients(g);
    pass(t, r, it, g, false);
    double loss = whole_loss(t, what), off = losses ? fabs(loss / losses[0] - 1) : INFINITY;
    pass(t, r, it, g, true);
    snprintf(path, sizeof path, "cases/%s/outputs/grad", what);
    long wanted = list(t->file, path).count;
    for (long i = 0; i < params; i++) {
        double top, d;
        snprintf(path, sizeof path, "cases/%s/outputs/grad/%s", what, p[i].value.name);
        if (H5Lexists(t->file, path, H5P_DEFAULT) <= 0)
            continue;
        d = apart(t->file, path, p[i].gradient.data, kr_tensor_count(&p[i].value), &top);
        d = top > 0 ? d / top : d > 1e-9 ? INFINITY : 0;
        tensors++;
        if (!(d <= worst)) {
            worst = d;
            snprintf(where, sizeof where, "%s", p[i].value.name);
        }
    }
    free(losses);
    bool good = off < 5e-6 && worst < 2e-5 && tensors == wanted && tensors > 0;
    printf("%sok %d - %s %s: loss %.1e off, gradients of %ld of %ld tensors, largest difference %.2e of a tensor's largest%s%s\n", good ? "" : "not ", number, t->name, what, off,
           tensors, wanted, worst, where[0] ? " at " : "", where);
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
    if (!g || (!k && !im) || n[0] > 8) {
        printf("not ok %d - %s: %s\n", ++*number, name, g ? "no k-space or image among the inputs, or more than 8 of them" : kr_error());
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
        for (long o = 0; o < t.outs; o++) {
            t.out[b][o] = malloc((size_t)px * sizeof(double));
            t.d[b][o] = malloc((size_t)px * sizeof(double));
        }
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
    for (long b = 0; b < t.items; b++) {
        free(it[b].m);
        free(it[b].s);
        for (long o = 0; o < t.outs; o++) {
            free(t.out[b][o]);
            free(t.d[b][o]);
        }
    }
    free(k); free(s); free(m); free(im); free(target); free(t.target);
    return bad;
}
