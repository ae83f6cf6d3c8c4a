/* range.c: what of a scan trained weights were not trained on. */
#include "kray/range.h"
#include "kray/select.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[KR_MASK_FAMILIES] = { "regular lines", "irregular lines", "a regular grid over the plane", "irregular points over the plane", "regular lines of partial Fourier",
    "irregular lines of partial Fourier", "a regular grid over the plane with partial Fourier", "irregular points over the plane with partial Fourier", "full sampling" };

int kr_mask_family(const kr_mask_facts *f)
{
    bool under[2] = { false, false }, regular = true, partial = false;
    if (f->full)
        return KR_MASK_FAMILIES - 1;
    for (int d = 0; d < 2; d++) {
        under[d] = f->centre[d] < f->n[d] && f->step[d] != 1;
        regular &= !under[d] || f->step[d] > 1;
        partial |= f->partial[d] < 0.9;
    }
    double side = f->partial[0] * f->partial[1];               /* all lines of the side that was measured: every one, which is a step too */
    regular |= partial && fabs((double)f->measured - side * (double)f->points) < 0.01 * (double)f->points;
    return (regular ? 0 : 1) + (under[0] && under[1] ? 2 : 0) + (partial ? 4 : 0);
}

const char *kr_mask_family_name(int kind) { return names[kind]; }

double kr_image_norm(const kr_array *x)
{
    long n = kr_count(kr_array_shape(x)), count = 0;
    double sum = 0;
    kr_auto float *v = kr_alloc((size_t)n, sizeof *v);
    for (long i = 0; v && i < n; i++) {
        float a = x->type == KR_C32 ? kr_cabs2(KR_C(x)[i]) : KR_R(x)[i] * KR_R(x)[i];
        sum += (double)a;
        if (a > 0)
            v[count++] = a;
    }
    if (!v || !count)
        return 0;
    return sqrt(sum / (double)n / (double)kr_select(v, count, (long)(0.99 * (double)(count - 1))));
}

/* With what method to compare: that whose image a network begins with. */
static const char *other(const kr_meta *m)
{
    const char *first = kr_meta_get(m, "hyper.first_image");
    return first ? first : "wavelet";
}

void kr_range_compare(const kr_meta *m, const char *key, double value, const char *what, const kr_trace *trace)
{
    const char *told = kr_meta_get(m, key);
    double low, high;
    if (told && sscanf(told, "%lf to %lf", &low, &high) == 2 && (value > 1.1 * high || value < 0.9 * low))
        kr_say(trace, KR_WARNING, "the weights were trained on %s from %s, this scan has %.3g: compare with --method %s", what, told, value, other(m));
}

void kr_range_mask(const kr_meta *m, int kind, const kr_trace *trace)
{
    const char *told = kr_meta_get(m, "trained.masks"), *name = names[kind];
    size_t n = strlen(name);
    for (const char *p = told; p && *p; p += strcspn(p, ","), p += *p == ',', p += strspn(p, " "))
        if (strcspn(p, ",") == n && !strncmp(p, name, n))
            return;
    if (told)
        kr_say(trace, KR_WARNING, "the weights were trained on masks of other kinds (%s), this scan has %s: compare with --method %s", told, name, other(m));
}
