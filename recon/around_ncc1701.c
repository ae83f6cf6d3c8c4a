/* around_ncc1701.c: what NCC1701 does around its networks. ReconResNet: the zero-filled magnitude by its largest value (of the volume), padded to what the network halves, and data
 * consistency with what was measured. Networks of k-space (Fourier-PD): k-space by the same value, how large it is then, and data consistency. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);

/* lowest: taken off first (minmax); volume: by the largest of all slices. */
typedef struct facts { bool lowest, volume, consistent; long multiple; } facts;

static int magnitude(kr_array **image, kr_array *k)
{
    if (kr_fourier_inverse(k, xy))
        return kr_error_code();
    *image = kr_rss(k, KR_COIL);
    return *image ? 0 : kr_error_code();
}

static void limits(double at[2], const kr_array *image, bool first)
{
    for (long i = 0, n = kr_count(kr_array_shape(image)); i < n; i++) {
        double v = (double)KR_R(image)[i];
        at[0] = first && !i ? v : fmin(at[0], v);
        at[1] = first && !i ? v : fmax(at[1], v);
    }
}

/* The least and the largest magnitude of all slices. */
static int measure(double *whole, const kr_scan *scan, const void *facts_)
{
    const facts *f = facts_;
    for (long i = 0; f->volume && i < kr_parts(scan); i++) {
        kr_scoped(array) view = kr_part(scan->data, scan, i);
        kr_scoped(array) k = view ? kr_array_copy(view) : NULL;
        kr_scoped(array) image = NULL;
        if (!k || (scan->in_image && kr_fourier(k, scan->in_image)) || magnitude(&image, k))
            return kr_error_code();
        limits(whole, image, !i);
    }
    return 0;
}

/* The network's image on a grid that it can halve; zeros around it, as NCC1701 pads. image becomes what the network makes of it. */
static int run(kr_array *image, kr_net *net, long multiple)
{
    long nx = image->n[KR_X], ny = image->n[KR_Y], w = (nx + multiple - 1) / multiple * multiple, h = (ny + multiple - 1) / multiple * multiple, x0 = (w - nx) / 2, y0 = (h - ny) / 2;
    kr_auto float *wide = kr_alloc_zero((size_t)(w * h), sizeof *wide);
    kr_auto kr_cfloat *out = wide ? kr_alloc((size_t)(w * h), sizeof *out) : NULL;
    if (!out)
        return kr_error_code();
    for (long y = 0; y < ny; y++)
        memcpy(wide + (y + y0) * w + x0, KR_R(image) + y * nx, (size_t)nx * sizeof *wide);
    kr_net_input in = { .coils = 1, .h = h, .w = w, .image = wide, .scaling = 1, .centred = true };
    if (kr_net_run(net, out, &in, NULL))
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++)
        KR_R(image)[i] = kr_re(out[(i / nx + y0) * w + i % nx + x0]);
    return 0;
}

/* (1 - M) F x + M y: the coil images of x are as large against each other, and of that phase, as those of the zero-filled image `coils`, which become the answer's. The
 * published program knows magnitudes alone, whose k-space it takes for measured. */
static int consistent(kr_array *x, kr_array *coils, const kr_array *y, const float *mask)
{
    long n = kr_count(kr_array_shape(x)), all = coils->n[KR_COIL];
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (long c = 0; c < all; c++)
            sum += (double)kr_cabs2(KR_C(coils)[c * n + i]);
        float by = sum > 0 ? (float)((double)KR_R(x)[i] / sqrt(sum)) : 0;
        for (long c = 0; c < all; c++)
            KR_C(coils)[c * n + i] *= by;
    }
    if (kr_fourier(coils, xy))
        return kr_error_code();
    for (long i = 0; i < n * all; i++)
        if (mask[i % n] != 0)
            KR_C(coils)[i] = KR_C(y)[i];
    if (kr_fourier_inverse(coils, xy))
        return kr_error_code();
    kr_scoped(array) made = kr_rss(coils, KR_COIL);
    if (made)
        memcpy(KR_R(x), KR_R(made), (size_t)n * sizeof(float));
    return made ? 0 : kr_error_code();
}

/* S^H F^-1 ((1 - M) F S x + M y). */
static int consistent_complex(kr_array *x, const kr_array *sens, const kr_array *y, const float *mask)
{
    kr_scoped(array) k = kr_array_copy(y);
    if (!k)
        return kr_error_code();
    long n = kr_count(kr_array_shape(x)), all = kr_count(kr_array_shape(k));
    for (long i = 0; i < all; i++)
        KR_C(k)[i] = kr_cmul(KR_C(sens)[i], KR_C(x)[i % n]);
    if (kr_fourier(k, xy))
        return kr_error_code();
    for (long i = 0; i < all; i++)
        if (mask[i % n] != 0)
            KR_C(k)[i] = KR_C(y)[i];
    if (kr_fourier_inverse(k, xy))
        return kr_error_code();
    kr_contract(x, k, sens, true);
    return 0;
}

/* A network of k-space: z, the middle of its complex image. */
static int of_kspace(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    if (view && view->n[KR_MAP] > 1)
        return kr_fail(KR_EREFUSED, "networks of NCC1701 take one set of coil maps, not %ld", view->n[KR_MAP]);
    s->sens = view ? kr_array_copy(view) : NULL;
    kr_scoped(array) measured = f->consistent ? kr_array_copy(s->k) : NULL;
    kr_scoped(array) coils = f->volume ? NULL : kr_array_copy(s->k);
    kr_scoped(array) image = NULL;
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
    if (!s->sens || (f->consistent && !measured) || !x || (!f->volume && (!coils || magnitude(&image, coils))))
        return kr_error_code();
    around_unit_maps(s->sens, i ? NULL : j->trace);
    double at[2] = { j->whole[0], j->whole[1] };
    if (image)
        limits(at, image, true);
    if (!(at[1] > 0))
        return kr_fail(KR_ENUMBER, "a slice is %g everywhere: there is nothing to scale it by", at[1]);
    s->scale = at[1];
    kr_scale(s->k, (float)(1 / at[1]));
    if (slice_run(x, s, net, true, kr_max_abs(s->k)) || (f->consistent && consistent_complex(x, s->sens, measured, KR_R(s->mask))))
        return kr_error_code();
    kr_scoped(array) cut = around_middle(x, KR_X, z->n[KR_X]);
    kr_scoped(array) cut2 = cut ? around_middle(cut, KR_Y, z->n[KR_Y]) : NULL;
    if (cut2)
        kr_array_assign(z, cut2);
    return cut2 ? 0 : kr_error_code();
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    if (!j->kind->of_image)
        return of_kspace(z, s, net, j, i);
    kr_scoped(array) measured = f->consistent ? kr_array_copy(s->k) : NULL;
    kr_scoped(array) image = NULL;
    if ((f->consistent && !measured) || magnitude(&image, s->k))
        return kr_error_code();
    double at[2] = { j->whole[0], j->whole[1] };
    if (!f->volume)
        limits(at, image, true);
    double from = f->lowest ? at[0] : 0, by = at[1] - from;
    if (!(by > 0))
        return kr_fail(KR_ENUMBER, "a slice is %g everywhere: there is nothing to scale it by", at[1]);
    for (long k = 0; k < s->nx * s->ny; k++)
        KR_R(image)[k] = (float)(((double)KR_R(image)[k] - from) / by);
    if (run(image, net, f->multiple))
        return kr_error_code();
    for (long k = 0; k < s->nx * s->ny; k++)
        KR_R(image)[k] = (float)((double)KR_R(image)[k] * by + from);
    if (f->consistent && consistent(image, s->k, measured, KR_R(s->mask)))
        return kr_error_code();
    kr_scoped(array) x = kr_array_new(KR_C32, kr_array_shape(image));
    kr_scoped(array) cut = x ? around_middle(x, KR_X, z->n[KR_X]) : NULL;
    kr_scoped(array) cut2 = cut ? around_middle(cut, KR_Y, z->n[KR_Y]) : NULL;
    if (!cut2)
        return kr_error_code();
    for (long k = 0; k < s->nx * s->ny; k++)
        KR_C(x)[k] = kr_c(KR_R(image)[k], 0);
    kr_array_assign(z, cut2);
    return 0;
}

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    facts *f = to;
    const char *norm = kr_weights_told(w, "norm_type"), *fft = kr_weights_told(w, "fftnorm");
    norm = around_none(norm) ? "divbymaxvol" : norm;
    static const char *const known[] = { "divbymax", "divbymaxvol", "minmax", "minmaxvol" };
    int k = 0;
    while (k < 4 && strcmp(known[k], norm))
        k++;
    if (k == 4)
        return kr_fail(KR_EFORMAT, "norm_type of the weights is '%s'; Kray has divbymax, divbymaxvol, minmax and minmaxvol", norm);
    if (!around_none(fft) && strcmp(fft, "ortho"))
        return kr_fail(KR_EREFUSED, "fftnorm of the weights is '%s'; Kray has ortho", fft);
    f->lowest = k >= 2;
    if (f->lowest && !kind->of_image)
        return kr_fail(KR_EREFUSED, "norm_type of the weights is '%s', which subtracts the least magnitude: %s is given complex numbers, for which it means nothing", norm, kind->name);
    f->volume = k % 2;
    const char *consistent = kr_weights_told(w, "use_datacon");
    f->consistent = !around_no(consistent);
    f->multiple = 1;
    char name[64];
    for (int i = 0; i < 8; i++) {                            /* each block halves the image */
        snprintf(name, sizeof name, "downsam.%d.conv_block.0.weight", i);
        for (long t = 0; t < w->count; t++) {
            size_t n = strlen(w->tensor[t].name), m = strlen(name);
            if (n >= m && !strcmp(w->tensor[t].name + n - m, name))
                f->multiple = 2L << i;
        }
    }
    return 0;
}

static const kr_fact keys[] = { { .key = "norm_type" }, { .key = "use_datacon" }, { .key = "fftnorm" }, { .key = NULL } };

const around around_ncc1701 = { .name = "ncc1701", .keys = keys, .facts_size = sizeof(facts), .read = read, .measure = measure, .slice = one, .behind = "use_datacon" };
