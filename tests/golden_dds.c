/* golden_dds.c: the schedule, operator and conjugate gradients of DDS. */
#include "golden.h"
#include "kray/diffusion.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check { const char *file; int *number, bad; hid_t at; char group[160]; };

static void said(struct check *c, const char *what, double off, double most)
{
    bool good = off <= most;
    printf("%sok %d - %s: %s%s%s: largest difference %.2e of the largest value, %.0e allowed\n", good ? "" : "not ", ++*c->number, c->file, c->group, *c->group ? "/" : "", what, off, most);
    c->bad += !good;
}

static void refused(struct check *c, const char *why)
{
    printf("not ok %d - %s: %s%s%s\n", ++*c->number, c->file, c->group, *c->group ? ": " : "", why);
    c->bad++;
}

/* A data set of the group, or NULL. */
static double *of(const struct check *c, const char *name, long *n)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", c->group, name);
    return H5Lexists(c->at, path, H5P_DEFAULT) > 0 ? doubles(c->at, path, n) : NULL;
}

static void schedule(struct check *c)
{
    double alpha[KR_DIFFUSION_TIMES + 1], off = 0;
    long n = 0;
    kr_diffusion_alpha(alpha);
    double *want = of(c, "alphas_cumprod_with_leading_one_f32", &n);
    for (long i = 0; want && n == KR_DIFFUSION_TIMES + 1 && i < n; i++)
        off = fmax(off, fabs(want[i] - alpha[i]));
    if (!want || n != KR_DIFFUSION_TIMES + 1)
        refused(c, "no schedule of 1000 times");
    else
        said(c, "alpha", off, 2e-6);                         /* a product of 1000 floats */
    free(want);
    want = of(c, "betas_f64", &n);
    off = 0;
    for (long i = 0; want && n == KR_DIFFUSION_TIMES && i < n; i++)
        off = fmax(off, fabs(1 - alpha[i + 1] / alpha[i] - want[i]) / 0.02);
    if (want)
        said(c, "beta", off, 1e-12);
    free(want);
}

static void compare(struct check *c, const char *what, const kr_array *x, double most)
{
    long n = 0;
    double *want = of(c, what, &n), off = 0, top = 0;
    for (long i = 0; want && i < n; i++) {
        off = fmax(off, fabs(want[i] - (double)((const float *)x->data)[i]));
        top = fmax(top, fabs(want[i]));
    }
    if (want && n == 2 * kr_count(kr_array_shape(x)))
        said(c, what, top > 0 ? off / top : off, most);
    else if (want)
        refused(c, what);
    free(want);
}

/* A complex array of the group: numbers in pairs, or (apart) all real parts before all imaginary ones. */
static kr_array *array(const struct check *c, const char *name, kr_shape s, bool apart)
{
    long n = 0, count = kr_count(s);
    double *v = of(c, name, &n);
    kr_array *a = v && n == 2 * count ? kr_array_new(KR_C32, s) : NULL;
    for (long i = 0; a && i < count; i++)
        KR_C(a)[i] = apart ? kr_c((float)v[i], (float)v[count + i]) : kr_c((float)v[2 * i], (float)v[2 * i + 1]);
    free(v);
    return a;
}

static double attribute(hid_t file, const char *group, const char *name, double otherwise)
{
    double v = otherwise;
    hid_t a = H5Aexists_by_name(file, group, name, H5P_DEFAULT) > 0 ? H5Aopen_by_name(file, group, name, H5P_DEFAULT, H5P_DEFAULT) : -1;
    if (a >= 0) {
        if (H5Aread(a, H5T_NATIVE_DOUBLE, &v) < 0)
            v = otherwise;
        H5Aclose(a);
    }
    return v;
}

static void gradients(struct check *c, const kr_linop *N, const kr_array *b, const kr_array *x0, double gamma, const char *word)
{
    struct names all = list(c->at, c->group);
    char begin[64];
    snprintf(begin, sizeof begin, "CG_%s_iter", word);
    for (int i = 0; i < all.count; i++) {
        if (strncmp(all.name[i], begin, strlen(begin)))
            continue;
        int steps = atoi(all.name[i] + strlen(begin));
        kr_array *x = kr_array_copy(x0);
        if (!x || kr_diffusion_cg(x, N, b, gamma, steps, 1e-5, true) < 0)
            refused(c, kr_error());
        else
            compare(c, all.name[i], x, 2e-5);                /* the tolerance of the README beside these files */
        kr_array_unref(&x);
    }
}

static void multicoil(struct check *c)
{
    char path[320];
    int dims = 0;
    hsize_t n[8];
    snprintf(path, sizeof path, "%s/sens", c->group);
    float *s = numbers(c->at, path, &dims, n);
    free(s);
    if (!s || dims != 5 || n[0] != 1 || n[4] != 2) {
        refused(c, "no coil maps of one slice");
        return;
    }
    kr_shape image = KR_SHAPE([KR_X] = (long)n[3], [KR_Y] = (long)n[2], [KR_Z] = 1), coils = image;
    coils.n[KR_COIL] = (long)n[1];
    double gamma = attribute(c->at, c->group, "gamma", 5);
    long count = 0;
    double *m = of(c, "mask", &count);
    kr_array *S = array(c, "sens", coils, false), *y = array(c, "y", coils, false), *x0 = array(c, "x0_in", image, true), *b = kr_array_new(KR_C32, image),
             *mask = m && count == kr_count(image) ? kr_array_new(KR_R32, image) : NULL, *twice = b ? kr_array_like(b) : NULL;
    for (long i = 0; mask && i < count; i++)
        KR_R(mask)[i] = (float)m[i];
    kr_linop *A = S && mask ? kr_op_sense(S, mask, KR_ON(KR_X) | KR_ON(KR_Y)) : NULL, *N = A ? kr_normal(kr_linop_ref(A)) : NULL;
    if (!N || !y || !x0 || !twice)
        refused(c, "sens, mask, y and x0_in are wanted");
    else {
        kr_apply_adj(A, b, y);
        compare(c, "AT_y", b, 2e-6);
        gradients(c, N, b, x0, 0, "noiseless");
        for (int coded = 0; coded < 2; coded++) {            /* x0 + gamma A^H y; as coded with (1 + i) gamma */
            for (long i = 0; i < kr_count(image); i++)
                KR_C(twice)[i] = KR_C(x0)[i] + kr_cmul(KR_C(b)[i], kr_c((float)gamma, coded ? (float)gamma : 0));
            compare(c, coded ? "bcg_as_coded" : "bcg_intended", twice, 2e-6);
            gradients(c, N, twice, x0, gamma, coded ? "noisy_as_coded" : "noisy_intended_rhs");
        }
    }
    free(m);
    kr_array_unref(&S); kr_array_unref(&y); kr_array_unref(&x0); kr_array_unref(&b); kr_array_unref(&mask); kr_array_unref(&twice);
    kr_linop_unref(&A);
    kr_linop_unref(&N);
}

bool golden_is_dds(hid_t file)
{
    struct names all = list(file, "/");
    bool any = false;
    for (int i = 0; i < all.count; i++)
        any |= !strcmp(all.name[i], "schedule") || !strncmp(all.name[i], "multicoil", 9);
    return any;
}

int golden_dds(hid_t file, const char *name, int *number)
{
    struct check c = { .file = name, .number = number, .at = file };
    struct names all = list(file, "/");
    for (int i = 0; i < all.count; i++) {
        snprintf(c.group, sizeof c.group, "%s", all.name[i]);
        if (!strcmp(c.group, "schedule"))
            schedule(&c);
        else if (!strncmp(c.group, "multicoil", 9))
            multicoil(&c);
        else
            refused(&c, "an unknown group");
    }
    return c.bad;
}
