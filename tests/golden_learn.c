/* golden_learn.c: the file of training's parts (train_losses_optimizers.h5): losses and their derivatives, optimisers on given gradients, clipping,
 * learning rates. All is against float64 results of the published code. */
#include "golden.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double most(double a, double b) { return b <= a ? a : isnan(b) ? INFINITY : b; }

static int verdict(const char *name, int *number, bool good, int e, const char *what, const char *figures)
{
    printf("%sok %d - %s %s: %s\n", good && !e ? "" : "not ", ++*number, name, what, e ? kr_error() : figures);
    return !(good && !e);
}

/* ---- Optimisers ---- */
static herr_t setting(hid_t group, const char *name, const H5A_info_t *info, void *to)
{
    static const struct { const char *theirs, *ours; } known[] = { { "eps", "eps" }, { "weight_decay", "decay" }, { "amsgrad", "amsgrad" }, { "momentum", "momentum" },
        { "dampening", "dampening" }, { "nesterov", "nesterov" }, { "alpha", "alpha" }, { "centered", "centered" } };
    static const char *const aside[] = { "kind", "optimizer", "capturable", "differentiable", "foreach", "fused", "parameters_with_exactly_zero_gradient", NULL };
    (void)info;
    struct settings *s = to;
    for (int i = 0; aside[i]; i++)
        if (!strcmp(name, aside[i]) || !strncmp(name, "f32_", 4))
            return 0;
    hid_t a = H5Aopen(group, name, H5P_DEFAULT), type = a < 0 ? -1 : H5Aget_type(a), space = a < 0 ? -1 : H5Aget_space(a);
    long n = space < 0 ? 0 : (long)H5Sget_simple_extent_npoints(space);
    double v[2] = { 0, 0 };
    signed char flag = 0;
    bool enumerated = type >= 0 && H5Tget_class(type) == H5T_ENUM && H5Tget_size(type) == 1 && n == 1;
    int e = 0;
    if (type >= 0 && H5Tget_class(type) == H5T_STRING)
        e = strcmp(name, "parameters_without_gradient") ? kr_fail(KR_EFORMAT, "the attribute '%s' is not known", name) : 0;
    else if (n < 1 || n > 2 || (enumerated ? H5Aread(a, type, &flag) : H5Aread(a, H5T_NATIVE_DOUBLE, v)) < 0)
        e = kr_fail(KR_EFORMAT, "the attribute '%s' cannot be read", name);
    if (enumerated)
        v[0] = flag;
    char text[2][40];
    for (int i = 0; i < 2; i++)
        snprintf(text[i], sizeof text[i], "%.17g", v[i]);
    const char *ours = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        ours = strcmp(known[i].theirs, name) ? ours : known[i].ours;
    if (!e && !(type >= 0 && H5Tget_class(type) == H5T_STRING)) {
        if (!strcmp(name, "lr"))
            s->rate = v[0];
        else if (!strcmp(name, "clip_grad_norm"))
            s->clip = v[0];
        else if (!strcmp(name, "betas") && n == 2)
            e = kr_opt_set(s->kind->opts, s->opts, "beta1", text[0]) || kr_opt_set(s->kind->opts, s->opts, "beta2", text[1]) ? kr_error_code() : 0;
        else if (ours && enumerated)
            e = v[0] != 0 ? kr_opt_set(s->kind->opts, s->opts, ours, "true") : 0;
        else if (ours)
            e = kr_opt_set(s->kind->opts, s->opts, ours, text[0]);
        else if (v[0] != 0)
            e = kr_fail(KR_EREFUSED, "the optimiser's '%s' is %s, which is not built", name, text[0]);
        if (!strcmp(name, "eps"))
            s->eps = v[0];
        if (!strcmp(name, "weight_decay") && strcmp(s->kind->name, "adamw"))
            s->l2 = v[0];
    }
    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    if (a >= 0)
        H5Aclose(a);
    return e ? -1 : 0;
}

/* A string attribute. */
static bool word_of(hid_t group, const char *name, char *text, size_t room)
{
    hid_t a = H5Aexists(group, name) > 0 ? H5Aopen(group, name, H5P_DEFAULT) : -1, type = a < 0 ? -1 : H5Aget_type(a), space = a < 0 ? -1 : H5Aget_space(a);
    *text = 0;
    if (space >= 0 && H5Sget_simple_extent_npoints(space) == 1 && H5Tget_class(type) == H5T_STRING) {
        char *v = NULL;
        if (H5Tis_variable_str(type) && H5Aread(a, type, &v) >= 0 && v) {
            snprintf(text, room, "%s", v);
            H5free_memory(v);
        } else if (!H5Tis_variable_str(type) && H5Tget_size(type) < room && H5Aread(a, type, text) >= 0) {
            text[H5Tget_size(type)] = 0;
        }
    }
    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    if (a >= 0)
        H5Aclose(a);
    return *text != 0;
}

int settings_of(hid_t file, const char *path, struct settings *s)
{
    char kind[64];
    hid_t group = H5Gopen2(file, path, H5P_DEFAULT);
    int e = group < 0 ? kr_fail(KR_EFORMAT, "there is no group '%s'", path) : 0;
    if (!e && !word_of(group, "optimizer", kind, sizeof kind) && !word_of(group, "kind", kind, sizeof kind))
        e = kr_fail(KR_EFORMAT, "'%s' names no optimiser", path);
    for (char *p = kind; !e && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!e && !(s->kind = kr_optimiser_named(kind)))
        e = kr_error_code();
    if (!e && !(s->opts = calloc(1, s->kind->opts_size + 1)))
        e = kr_fail(KR_EMEM, "no memory");
    e = e ? e : kr_opt_defaults(s->kind->opts, s->opts);
    if (!e)
        kr_error_clear();
    if (!e && H5Aiterate2(group, H5_INDEX_NAME, H5_ITER_INC, NULL, setting, s) < 0)
        e = kr_error_code() ? kr_error_code() : kr_fail(KR_EFORMAT, "the attributes of '%s' cannot be read", path);
    if (group >= 0)
        H5Gclose(group);
    return e;
}

/* Parameters after every step. Ours are rounded to float after each, as are an optimiser's means (and the published float32 run): 2^-23 of the parameter's
 * largest so far for each step, and 2e-6 times the rate for each. exact: kept in double, to 1e-12. */
static int optimiser(hid_t file, const char *name, const char *which, bool exact, int *number)
{
    char path[300], text[200];
    struct settings s = { 0 };
    long nw = 0, ng = 0, np = 0;
    snprintf(path, sizeof path, "optimizers/outputs/%s", which);
    int e = settings_of(file, path, &s);
    snprintf(path, sizeof path, "optimizers/outputs/%s/parameters", which);
    double *want = doubles(file, path, &nw), *g = doubles(file, "optimizers/inputs/gradients", &ng), *p0 = doubles(file, "optimizers/inputs/p0", &np);
    if (!e && (!want || !g || !p0 || np < 1 || ng % np || nw != ng))
        e = kr_fail(KR_EFORMAT, "gradients, first and later parameters are missing, or do not fit each other");
    long n = e ? 1 : np, steps = e ? 0 : ng / np;
    float *value = calloc((size_t)n, sizeof *value), *gradient = calloc((size_t)n, sizeof *gradient);
    double *top = calloc((size_t)n, sizeof *top), worst = 0, beyond = 0;
    double *exact_value = calloc((size_t)n, sizeof *exact_value), *exact_gradient = calloc((size_t)n, sizeof *exact_gradient);
    kr_param p = { .exact = exact ? exact_value : NULL, .exact_gradient = exact ? exact_gradient : NULL, .value = { .name = (char *)"p", .dims = 1, .n = { n }, .data = value }, .gradient = { .name = (char *)"p", .dims = 1, .n = { n }, .data = gradient } };
    for (long i = 0; i < n && !e; i++) {
        value[i] = (float)p0[i];
        exact_value[i] = p0[i];
        top[i] = fabs(p0[i]);
    }
    kr_optim *o = e ? NULL : kr_optim_new(s.kind, s.opts, &p, 1);
    e = e || o ? e : kr_error_code();
    for (long k = 0; !e && k < steps; k++) {
        for (long i = 0; i < n; i++) {
            gradient[i] = (float)g[k * n + i];
            exact_gradient[i] = g[k * n + i];
        }
        e = kr_optim_step(o, s.rate);
        for (long i = 0; i < n; i++) {
            double w = want[k * n + i], d = fabs((exact ? exact_value[i] : (double)value[i]) - w);
            top[i] = fmax(top[i], fabs(w));
            worst = most(worst, d / fmax(1, top[i]));
            beyond = most(beyond, exact ? worst / 1e-12 : d / ((double)(k + 1) * (ldexp(top[i], -23) + 2e-6 * s.rate)));
        }
    }
    snprintf(text, sizeof text, "%s%ld steps of %ld parameters, largest difference %.1e (over the larger of 1 and the parameter), %.2f of what rounding may do", exact ? "in double, " : "", steps, n, worst, beyond);
    int bad = verdict(name, number, steps > 0 && beyond <= 1, e, which, text);
    kr_optim_unref(&o);
    free(want); free(g); free(p0); free(value); free(gradient); free(exact_value); free(exact_gradient); free(top); free(s.opts);
    return bad;
}

/* ---- Losses ---- */
/* The loss that a name of the file means: l1, nmse_direct, ssim_fastmri_range_1, l1_atommic_each_over_its_max, smooth_l1_beta1. opts: to be freed. */
static int loss_meant(const char *which, const kr_loss **loss, void **opts, bool *own)
{
    size_t long_ = 0;
    for (int i = 0; kr_losses[i]; i++) {
        size_t n = strlen(kr_losses[i]->name);
        if (n > long_ && !strncmp(which, kr_losses[i]->name, n) && (which[n] == '_' || !which[n])) {
            *loss = kr_losses[i];
            long_ = n;
        }
    }
    if (!*loss)
        return kr_fail(KR_EFORMAT, "the name begins with no loss that Kray has");
    const char *rest = which + long_, *range = strstr(rest, "_range_"), *beta = strstr(rest, "_beta");
    *own = strstr(rest, "each_over_its_max") != NULL;
    if (!(*opts = calloc(1, (*loss)->opts_size + 1)))
        return kr_fail(KR_EMEM, "no memory");
    int e = kr_opt_defaults((*loss)->opts, *opts);
    if (!e && beta)
        e = kr_opt_set((*loss)->opts, *opts, "beta", beta + 5);
    if (!e && range) {
        const char *of = strstr(range, "per_item") ? "item" : strstr(range, "of_batch") ? "batch" : strstr(range, "both") ? "both" : "told";
        e = kr_opt_set((*loss)->opts, *opts, "range", of);
        if (!e && !strcmp(of, "told"))
            e = kr_opt_set((*loss)->opts, *opts, "span", range + 7);
    }
    return e;
}

/* Both are in double: 1e-12 of 1 or of the value, and 1e-9 of the largest derivative, as rounding in different orders may do where SSIM subtracts
 * squares. */
static int loss_of(hid_t file, const char *name, const char *group, const char *which, int *number)
{
    char path[500], full[400], text[200];
    const kr_loss *loss = NULL;
    void *opts = NULL;
    bool own = false;
    long nx = 0, nt = 0, nv = 0, nd = 0;
    int dims = 0;
    hsize_t n[8] = { 0 };
    snprintf(path, sizeof path, "losses/%s/inputs/prediction", group);
    free(numbers(file, path, &dims, n));
    double *x = doubles(file, path, &nx);
    snprintf(path, sizeof path, "losses/%s/inputs/target", group);
    double *t = doubles(file, path, &nt);
    snprintf(path, sizeof path, "losses/%s/outputs/%s/value", group, which);
    double *value = doubles(file, path, &nv);
    snprintf(path, sizeof path, "losses/%s/outputs/%s/dvalue_dprediction", group, which);
    double *want = doubles(file, path, &nd), *d = calloc((size_t)nx + 1, sizeof *d), ours = 0, top = 0, worst = 0;
    int e = loss_meant(which, &loss, &opts, &own);
    if (!e && (!x || !t || !value || !want || dims != 3 || nt != nx || nd != nx || nv != 1))
        e = kr_fail(KR_EFORMAT, "prediction, target, value and derivatives are missing, or do not fit each other");
    e = e ? e : kr_loss_run(loss, &ours, &(kr_pair){ x, t, d, (long)n[0], (long)n[1], (long)n[2] }, own, 1, opts);
    for (long i = 0; !e && i < nx; i++) {
        top = fmax(top, fabs(want[i]));
        worst = most(worst, fabs(d[i] - want[i]));
    }
    double off = e ? INFINITY : fabs(ours - value[0]);
    snprintf(full, sizeof full, "%s %s", group, which);
    snprintf(text, sizeof text, "value %.1e off (of %.3g), largest difference of the derivatives %.1e of the largest", off, e ? 0 : value[0], top > 0 ? worst / top : worst);
    int bad = verdict(name, number, off <= fmax(1e-12 * fabs(e ? 0 : value[0]), strcmp(loss ? loss->name : "", "ssim") ? 0 : 1e-12) && worst <= 1e-9 * top, e, full, text);
    free(x); free(t); free(value); free(want); free(d); free(opts);
    return bad;
}

/* ---- Clipping ---- */
static int clipping(hid_t file, const char *name, const char *which, int *number)
{
    enum { TENSORS = 32 };
    char path[500], text[200];
    kr_param p[TENSORS] = { 0 };
    double *want[TENSORS] = { NULL }, worst = 0;
    snprintf(path, sizeof path, "clipping/%s/inputs", which);
    struct names tensors = list(file, path);
    int count = tensors.count, e = count < 1 || count > TENSORS || strncmp(which, "max_norm_", 9) ? kr_fail(KR_EFORMAT, "no clipping by norm of 1 to %d tensors", TENSORS) : 0;
    for (int i = 0; !e && i < count; i++) {
        long n = 0, m = 0;
        snprintf(path, sizeof path, "clipping/%s/inputs/%s", which, tensors.name[i]);
        double *g = doubles(file, path, &n);
        snprintf(path, sizeof path, "clipping/%s/outputs/%s", which, tensors.name[i]);
        want[i] = doubles(file, path, &m);
        p[i].gradient = (kr_tensor){ .dims = 1, .n = { n }, .data = calloc((size_t)n + 1, sizeof(float)) };
        for (long k = 0; g && k < n; k++)
            p[i].gradient.data[k] = (float)g[k];
        if (!g || !want[i] || m != n)
            e = kr_fail(KR_EFORMAT, "the tensor '%s' is missing before or after", tensors.name[i]);
        free(g);
    }
    double norm = e ? 0 : kr_clip_norm(p, count, strtod(which + 9, NULL)), told = 0;
    snprintf(path, sizeof path, "clipping/%s", which);
    hid_t a = e ? -1 : H5Aopen_by_name(file, path, "total_norm", H5P_DEFAULT, H5P_DEFAULT);
    if (!e && (a < 0 || H5Aread(a, H5T_NATIVE_DOUBLE, &told) < 0))
        e = kr_fail(KR_EFORMAT, "the norm is missing");
    if (a >= 0)
        H5Aclose(a);
    for (int i = 0; !e && i < count; i++)
        for (long k = 0; k < p[i].gradient.n[0]; k++)
            worst = most(worst, fabs((double)p[i].gradient.data[k] - want[i][k]) / fabs(want[i][k] != 0 ? want[i][k] : 1));
    snprintf(text, sizeof text, "norm %.1e off, gradients %.1e of each", fabs(norm / told - 1), worst);
    int bad = verdict(name, number, fabs(norm / told - 1) < 0x1p-23 && worst < 0x1p-22, e, which, text);       /* floats, rounded before and after */
    for (int i = 0; i < TENSORS; i++) {
        free(p[i].gradient.data);
        free(want[i]);
    }
    return bad;
}

/* ---- Learning rates ---- */
/* The schedules are calls written out, such as "torch StepLR(20,0.1)": those that are known here, with their numbers in order. */
static const struct { const char *call, *kind, *opts; } calls[] = {
    { "SequentialLR(LinearLR(#,# it), CosineAnnealingLR(#), milestone #)", "cosine", "warmup-from warmup steps milestone" },
    { "CosineAnnealingLR(T_max=#, eta_min=#)", "cosine", "steps least" },
    { "StepLR(#,#)", "step", "size gamma" },
    { "WarmupCosineLR(max_iters #, warmup_factor #, # it)", "cosine", "steps warmup-from warmup" },
    { "WarmupMultiStepLR([#,#],gamma #,warmup_factor #,# it,linear)", "multistep", "at at gamma warmup-from warmup" },
    { "OneCycleLR(max_lr=base,total_steps=T+1)", "one_cycle", "T" },
};

static bool matches(const char *call, const char *form, double *v)
{
    for (; *form; form++)
        if (*form == '#') {
            char *end;
            *v++ = strtod(call, &end);
            if (end == call)
                return false;
            call = end;
        } else if (*form != *call++) {
            return false;
        }
    return true;
}

static int schedule(hid_t file, const char *name, const char *which, int *number)
{
    char path[300], call[256], text[200], listed[128] = "";
    snprintf(path, sizeof path, "schedules/%s", which);
    long n = 0;
    double *want = doubles(file, path, &n), v[8] = { 0 }, base = 0, worst = 0;
    hid_t d = want ? H5Dopen2(file, path, H5P_DEFAULT) : -1, a = d < 0 ? -1 : H5Aopen(d, "base_lr", H5P_DEFAULT);
    int e = a < 0 || H5Aread(a, H5T_NATIVE_DOUBLE, &base) < 0 || !word_of(d, "call", call, sizeof call) ? kr_fail(KR_EFORMAT, "rates, base_lr or call are missing") : 0;
    int which_call = -1;
    for (int i = 0; !e && which_call < 0 && i < (int)(sizeof calls / sizeof *calls); i++) {
        const char *at = strchr(call, ' ');
        if (at && matches(at + 1, calls[i].call, v))
            which_call = i;
    }
    if (!e && which_call < 0)
        e = kr_fail(KR_EFORMAT, "the call '%s' is not known", call);
    const kr_schedule *s = e ? NULL : kr_schedule_named(calls[which_call].kind);
    kr_rate r = { 0 };
    void *opts = s ? calloc(1, s->opts_size + 1) : NULL;
    e = e ? e : kr_opt_defaults(s->opts, opts) || kr_opt_defaults(kr_rate_opts, &r) ? kr_error_code() : 0;
    r.rate = base;
    char words[128] = "", *rest = NULL;
    if (!e)
        snprintf(words, sizeof words, "%s", calls[which_call].opts);
    int i = 0;
    for (char *w = strtok_r(words, " ", &rest); !e && w; w = strtok_r(NULL, " ", &rest), i++) {
        char number_text[40];
        snprintf(number_text, sizeof number_text, "%.17g", strcmp(w, "T") ? v[i] : (double)n + 1);
        if (!strcmp(w, "milestone")) {
            r.shift = true;
            e = v[i] == (double)r.warmup ? 0 : kr_fail(KR_EREFUSED, "a milestone at %g, not the end of the warm-up", v[i]);
        } else if (!strcmp(w, "at")) {
            snprintf(listed + strlen(listed), sizeof listed - strlen(listed), "%s%s", *listed ? "," : "", number_text);
            e = kr_opt_set(s->opts, opts, "at", listed);
        } else {
            e = !strncmp(w, "warmup", 6) ? kr_opt_set(kr_rate_opts, &r, w, number_text) : kr_opt_set(s->opts, opts, strcmp(w, "T") ? w : "steps", number_text);
        }
    }
    e = e ? e : kr_rate_check(s, opts, &r);
    for (long k = 0; !e && k < n; k++)
        worst = most(worst, fabs(kr_rate_at(s, opts, &r, k) / want[k] - 1));
    snprintf(text, sizeof text, "%ld rates, largest difference %.1e", n, worst);
    int bad = verdict(name, number, n > 0 && worst < 1e-10, e, which, text);     /* the published ones go from step to step: some rounding each */
    if (a >= 0)
        H5Aclose(a);
    if (d >= 0)
        H5Dclose(d);
    free(want);
    free(opts);
    return bad;
}

int golden_learn(hid_t file, const char *name, int *number)
{
    int bad = 0, before = *number;
    struct names groups = list(file, "losses");
    for (int i = 0; i < groups.count; i++) {
        char path[300];
        snprintf(path, sizeof path, "losses/%s/outputs", groups.name[i]);
        struct names which = list(file, path);
        for (int k = 0; k < which.count; k++)
            bad += loss_of(file, name, groups.name[i], which.name[k], number);
    }
    struct names which = H5Lexists(file, "optimizers", H5P_DEFAULT) > 0 ? list(file, "optimizers/outputs") : (struct names){ .count = 0 };
    for (int k = 0; k < which.count; k++)
        bad += optimiser(file, name, which.name[k], false, number) + optimiser(file, name, which.name[k], true, number);
    which = list(file, "clipping");
    for (int k = 0; k < which.count; k++)
        bad += clipping(file, name, which.name[k], number);
    which = list(file, "schedules");
    for (int k = 0; k < which.count; k++)
        bad += schedule(file, name, which.name[k], number);
    if (*number == before)
        bad += verdict(name, number, false, kr_fail(KR_EFORMAT, "no losses, optimisers, clipping or schedules in it"), "parts", "");
    return bad;
}
