/* golden_nufft.c: non-uniform transforms against direct sums of another program: /cases/NAME/{inputs,outputs}, see golden.c. For each
 * tolerance that may be asked for it prints the largest relative error (2-norm) over the cases, of types 1 and 2 and of
 * the weighted normal operator: at most what was asked for. */
#include "golden.h"
#include "kray/nufft.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct numbers { double *v; int dims; hsize_t n[8]; long count; };

static struct numbers read_numbers(hid_t file, const char *name, const char *what)
{
    char path[300];
    struct numbers r = { 0 };
    snprintf(path, sizeof path, "cases/%s/%s", name, what);
    hid_t d = H5Dopen2(file, path, H5P_DEFAULT), s = d < 0 ? -1 : H5Dget_space(d);
    if (s >= 0 && (r.dims = H5Sget_simple_extent_ndims(s)) <= 8) {
        H5Sget_simple_extent_dims(s, r.n, NULL);
        r.count = (long)H5Sget_simple_extent_npoints(s);
        r.v = malloc((size_t)r.count * sizeof *r.v + 1);
        if (H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, r.v) < 0) {
            free(r.v);
            r.v = NULL;
        }
    }
    if (s >= 0)
        H5Sclose(s);
    if (d >= 0)
        H5Dclose(d);
    return r;
}

static kr_cfloat *complex_of(const struct numbers *a)
{
    kr_cfloat *x = malloc((size_t)a->count / 2 * sizeof *x + 1);
    for (long i = 0; i < a->count / 2; i++)
        x[i] = kr_c((float)a->v[2 * i], (float)a->v[2 * i + 1]);
    return x;
}

static double off(const kr_cfloat *a, const struct numbers *b)
{
    double d = 0, s = 0;
    for (long i = 0; i < b->count / 2; i++) {
        d += pow((double)kr_re(a[i]) - b->v[2 * i], 2) + pow((double)kr_im(a[i]) - b->v[2 * i + 1], 2);
        s += b->v[2 * i] * b->v[2 * i] + b->v[2 * i + 1] * b->v[2 * i + 1];
    }
    return sqrt(d / s);
}

enum { TYPES = 3 };
static const char *const type_name[TYPES] = { "type 2", "type 1", "normal" };

/* The errors of one case, raised to the largest so far. */
static int one_case(hid_t file, const char *name, double tolerance, double worst[TYPES], char where[TYPES][100])
{
    enum { IMAGE, KDATA, TRAJ, WEIGHTS, FORWARD, ADJOINT, NORMAL, ALL };
    static const char *const what[ALL] = { "inputs/image", "inputs/kdata", "inputs/trajectory", "inputs/weights",
                                           "outputs/forward", "outputs/adjoint", "outputs/normal" };
    struct numbers a[ALL];
    int e = 0;
    for (int i = 0; i < ALL; i++) {
        a[i] = read_numbers(file, name, what[i]);
        if (!a[i].v && !e)
            e = kr_fail(KR_EFORMAT, "%s: %s cannot be read", name, what[i]);
    }
    int dims = e ? 0 : (int)a[TRAJ].n[1];
    if (!e && (a[TRAJ].dims != 2 || dims < 2 || dims > 3 || a[IMAGE].dims != dims + 2 || a[KDATA].dims != 3 || a[KDATA].n[1] != a[TRAJ].n[0] ||
               a[KDATA].n[0] != a[IMAGE].n[0] || a[WEIGHTS].count != (long)a[TRAJ].n[0] || a[FORWARD].count != a[KDATA].count ||
               a[ADJOINT].count != a[IMAGE].count || a[NORMAL].count != a[IMAGE].count))
        e = kr_fail(KR_EFORMAT, "%s: shapes do not fit each other", name);
    if (!e) {
        long n[3] = { 1, 1, 1 }, points = (long)a[TRAJ].n[0], vectors = (long)a[IMAGE].n[0];
        float *k[3] = { NULL };
        for (int d = 0; d < dims; d++) {
            n[d] = (long)a[IMAGE].n[dims - d];
            k[d] = malloc((size_t)points * sizeof(float) + 1);
            for (long m = 0; m < points; m++)
                k[d][m] = (float)a[TRAJ].v[m * dims + d];
        }
        kr_cfloat *x = complex_of(&a[IMAGE]), *y = complex_of(&a[KDATA]), *fx = complex_of(&a[FORWARD]), *ay = complex_of(&a[ADJOINT]);
        kr_nufft *p = kr_nufft_new(n, points, (const float *const *)k, vectors, tolerance);
        double error[TYPES] = { 0 };
        if (p) {
            kr_nufft_adjoint(p, ay, y, vectors);
            error[1] = off(ay, &a[ADJOINT]);
            kr_nufft_forward(p, fx, x, vectors);
            error[0] = off(fx, &a[FORWARD]);
            for (long i = 0; i < vectors * points; i++)
                fx[i] *= (float)a[WEIGHTS].v[i % points];
            kr_nufft_adjoint(p, ay, fx, vectors);
            error[2] = off(ay, &a[NORMAL]);
        } else
            e = kr_fail_in("%s", name);
        for (int t = 0; t < TYPES; t++)
            if (!(error[t] <= worst[t])) {
                worst[t] = error[t];
                snprintf(where[t], sizeof where[t], "%s", name);
            }
        kr_nufft_unref(&p);
        free(x); free(y); free(fx); free(ay);
        for (int d = 0; d < 3; d++)
            free(k[d]);
    }
    for (int i = 0; i < ALL; i++)
        free(a[i].v);
    return e;
}

int golden_nufft(hid_t file, const char *name, bool tap, int *number)
{
    struct names cases = list(file, "cases");
    int bad = 0;
    for (double tolerance = 1e-1; tolerance > 9e-7; tolerance /= 10) {
        double worst[TYPES] = { 0 };
        char where[TYPES][100] = { "" };
        int e = cases.count ? 0 : kr_fail(KR_EFORMAT, "there are no cases");
        for (int i = 0; i < cases.count && !e; i++)
            e = one_case(file, cases.name[i], tolerance, worst, where);
        bool good = !e;
        for (int t = 0; t < TYPES; t++)
            good = good && worst[t] <= tolerance;
        ++*number;
        if (tap)
            printf("%sok %d - ", good ? "" : "not ", *number);
        printf("%s (NUFFT): tolerance %.0e, %d cases:", name, tolerance, cases.count);
        for (int t = 0; t < TYPES; t++)
            printf(" %s %.2e (%s)%s", type_name[t], worst[t], where[t], t + 1 < TYPES ? "," : "\n");
        if (e)
            printf("# %s\n", kr_error());
        bad += !good;
    }
    return bad;
}
