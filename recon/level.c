/* level.c: coil maps that are far larger beside the object than in it. */
#include "model.h"
#include <math.h>

enum { SPACE = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), BINS = 512 };
static const double WITHIN = .98;      /* of the energy of the object lies where maps are not larger than what is taken for enough */
static const double FEW = .02;                   /* of the largest: where maps are smaller, b says little of the object      */
static const double DECADES = 6;

/* Sum over coils and sets of |S|^2. */
static kr_array *squares(const kr_array *coils)
{
    kr_array *sum = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(coils), KR_ON(KR_COIL) | KR_ON(KR_MAP)));
    if (sum)
        kr_contract(sum, coils, coils, true);
    return sum;
}

static int bin_of(double sum, double most) { return (int)fmax(0, BINS - 1 + (BINS - 1) / DECADES * log10(fmax(sum / most, 1e-30))); }

static double top(const kr_array *sum)
{
    double most = 0;
    for (long i = 0; i < kr_count(kr_array_shape(sum)); i++)
        most = fmax(most, (double)kr_re(KR_C(sum)[i]));
    return most;
}

/* The sum of squares below which the object's energy |b / sum|^2 lies. 0: no memory. */
static double within(const kr_array *sum, double most, const kr_array *b, const kr_scan *scan)
{
    double bin[BINS] = { 0 }, all = 0, part = 0;
    long parts = kr_count(kr_shape_without(scan->shape, kr_problem_axes));
    for (long i = 0; i < parts; i++) {
        kr_scoped(array) bi = kr_part(b, scan, i);
        kr_scoped(array) x = bi ? kr_array_packed(bi) : NULL;
        kr_scoped(array) si = kr_part(sum, scan, i);
        kr_scoped(array) s = si ? kr_array_packed(si) : NULL;
        if (!x || !s)
            return 0;
        long n = kr_count(kr_array_shape(s));
        for (long k = 0; k < n * x->n[KR_MAP]; k++) {
            double square = (double)kr_re(KR_C(s)[k % n]), own = (double)kr_cabs2(KR_C(x)[k]) / pow(fmax(square, FEW * most), 2);
            bin[bin_of(square, most)] += own;
            all += own;
        }
    }
    int k = 0;
    for (; k < BINS - 1 && (part += bin[k]) < WITHIN * all; k++)
        ;
    return most * pow(10, DECADES * ((double)(k + 1) / (BINS - 1) - 1));
}

/* The maps f S and f, f = root of (enough / sum) where that is below 1. */
static int reduce(kr_array **maps, kr_array **by, const kr_array *sum, double enough)
{
    kr_array *f = kr_array_new(KR_R32, kr_array_shape(sum));
    kr_array *to = f ? kr_array_new(KR_C32, kr_array_shape(*maps)) : NULL;
    if (!to) {
        kr_array_unref(&f);
        return kr_error_code();
    }
    for (long i = 0; i < kr_count(kr_array_shape(sum)); i++) {
        double square = (double)kr_re(KR_C(sum)[i]);
        KR_R(f)[i] = square > enough ? (float)sqrt(enough / square) : 1;
    }
    kr_contract(to, *maps, f, false);
    kr_array_unref(maps);
    *maps = to;
    *by = f;
    return 0;
}

int model_level(kr_array **levelled, kr_array **by, const kr_array *coils, const kr_array *b, const kr_scan *scan)
{
    *by = NULL;
    *levelled = kr_array_packed(coils);
    if (!*levelled || !scan->traj)
        return *levelled ? 0 : kr_error_code();
    kr_scoped(array) sum = squares(*levelled);
    double most = sum ? top(sum) : 0, enough = most > 0 ? within(sum, most, b, scan) : 0;
    int e = !sum || (most > 0 && !(enough > 0)) ? kr_error_code() : enough < most ? reduce(levelled, by, sum, enough) : 0;
    if (e)
        kr_array_unref(levelled);
    return e;
}

int model_times(kr_array **x, const kr_array *f)
{
    kr_array *z = kr_array_like(*x);
    if (!z)
        return kr_error_code();
    kr_contract(z, *x, f, false);
    kr_array_unref(x);
    *x = z;
    return 0;
}
