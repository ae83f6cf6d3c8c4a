/* noref.c: a guess of SSIM without a reference, by the network `ssim`. */
#include "kray/noref.h"
#include "kray/select.h"
#include "net_method.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEAST = 32, BORDER = 3 };     /* of SSIM's window */
const char *const kr_noref_look[KR_NOREF_LOOKS] = { "how much of it is air", "how bright the object is beside its brightest spots", "its contrast", "its fine detail or noise" };
static const char *const key[KR_NOREF_LOOKS] = { "air", "brightness", "contrast", "detail" };

struct kr_noref { kr_net *net; double low[KR_NOREF_LOOKS], high[KR_NOREF_LOOKS]; };

double kr_noref_unit(const float *image, long n)
{
    kr_auto float *v = kr_alloc((size_t)n, sizeof *v);
    long count = 0;
    for (long i = 0; v && i < n; i++)
        if (image[i] > 0)
            v[count++] = image[i];
    if (!v || !count)
        return 0;
    return (double)kr_select(v, count, (long)(0.995 * (double)(count - 1)));
}

int kr_noref_looks(double v[KR_NOREF_LOOKS], const float *image, long nx, long ny)
{
    double unit = kr_noref_unit(image, nx * ny), sum = 0, squares = 0, count = 0, rough = 0, pairs = 0;
    if (!(unit > 0))
        return kr_error_code() ? kr_error_code() : kr_fail(KR_ENUMBER, "the image is 0 everywhere");
    for (long i = 0; i < nx * ny; i++) {
        double a = (double)image[i] / unit;
        if (a >= 0.06) {
            sum += a;
            squares += a * a;
            count++;
        }
        for (int along = 0; along < 2; along++) {
            long step = along ? nx : 1;
            if (along ? i / nx + 2 < ny : i % nx + 2 < nx) {
                double d = a - 2 * (double)image[i + step] / unit + (double)image[i + 2 * step] / unit;
                rough += d * d;
                pairs++;
            }
        }
    }
    double mean = sum / count;
    v[0] = 1 - count / (double)(nx * ny);
    v[1] = mean;
    v[2] = sqrt(fmax(0, squares / count - mean * mean));
    v[3] = sqrt(rough / fmax(1, pairs));
    return 0;
}

static int ranges(kr_noref *j, const kr_weights *w)
{
    for (int i = 0; i < KR_NOREF_LOOKS; i++) {
        char name[64], rest;
        snprintf(name, sizeof name, "trained.%s", key[i]);
        const char *told = kr_meta_get(w->meta, name);
        if (!told || sscanf(told, "%lf to %lf%c", &j->low[i], &j->high[i], &rest) != 2)
            return kr_fail(KR_EFORMAT, "the weights do not tell %s ('%s'), from which unlike images are known", name, told ? told : "");
    }
    return 0;
}

kr_noref *kr_noref_open(const char *weights)
{
    kr_scoped(weights) w = NULL;
    kr_auto char *path = weights ? kr_strdup(weights) : shipped_weights("ssim");
    if (!path)
        return kr_error_code() ? NULL : (kr_fail(KR_EUSAGE, "weights of the network ssim are wanted, and none came with this Kray: docs/training.md says how they are trained"), NULL);
    kr_noref *j = kr_weights_read(&w, path) ? NULL : kr_alloc_zero(1, sizeof *j);
    int e = j && (j->net = kr_net_new(NULL, w, false)) ? 0 : kr_error_code();
    if (!e && !kr_net_kind_of(j->net)->judges)
        e = kr_fail(KR_EREFUSED, "these are weights of another network (%s), not of ssim", kr_net_kind_of(j->net)->name);
    if (e || ranges(j, w)) {
        kr_noref_close(&j);
        return kr_fail_in("%s", path), NULL;
    }
    return j;
}

void kr_noref_close(kr_noref **p)
{
    kr_noref *j = *p;
    *p = NULL;
    if (j)
        kr_net_unref(&j->net);
    kr_free(j);
}

int kr_noref_run(double *ssim, unsigned *unlike, const kr_noref *j, const float *image, long nx, long ny)
{
    long n = nx * ny, count = 0;
    double v[KR_NOREF_LOOKS], sum = 0, unit;
    *ssim = (double)NAN;
    *unlike = 0;
    if (nx < LEAST || ny < LEAST)
        return kr_fail(KR_ESHAPE, "an image of %ld x %ld is too small to be judged: %d x %d at least", nx, ny, LEAST, LEAST);
    for (long i = 0; i < n; i++)
        if (!isfinite(image[i]))
            return kr_fail(KR_ENUMBER, "a pixel of the image is not a finite number");
    if (!((unit = kr_noref_unit(image, n)) > 0))
        return kr_error_code();
    kr_auto float *x = kr_alloc((size_t)n, sizeof *x);
    kr_auto kr_cfloat *map = kr_alloc((size_t)n, sizeof *map);
    if (!x || !map || kr_noref_looks(v, image, nx, ny))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        x[i] = (float)((double)image[i] / unit);
    for (int i = 0; i < KR_NOREF_LOOKS; i++)
        *unlike |= v[i] < j->low[i] || v[i] > j->high[i] ? 1u << i : 0;
    if (kr_net_run(j->net, map, &(kr_net_input){ .coils = 1, .h = ny, .w = nx, .image = x, .centred = true }, NULL))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        if (i % nx >= BORDER && i % nx < nx - BORDER && i / nx >= BORDER && i / nx < ny - BORDER) {
            sum += (double)kr_re(map[i]);
            count++;
        }
    *ssim = sum / (double)count;
    return 0;
}
