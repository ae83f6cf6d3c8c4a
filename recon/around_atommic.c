/* around_atommic.c: what ATOMMIC and mridc do around their networks: data, maps and first image each divided by their own size. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { AS_IT_IS, BY_MAX, BY_MIN_MAX, BY_PART };
typedef struct facts { int normalise; bool start, uncentred; } facts;

/* Networks are trained with maps of unit norm; those that a user brings may have any. Zero stays zero. */
static void unit_maps(kr_array *maps, const kr_trace *trace)
{
    long n = maps->n[KR_X] * maps->n[KR_Y], coils = maps->n[KR_COIL], there = 0;
    double off = 0;
    kr_cfloat *s = KR_C(maps);
    for (int pass = 0; pass < 2; pass++) {
        for (long i = 0; i < n; i++) {
            double sum = 0;
            for (long c = 0; c < coils; c++)
                sum += (double)kr_cabs2(s[c * n + i]);
            there += !pass && sum > 0;
            off += !pass && sum > 0 ? fabs(sum - 1) : 0;
            for (long c = 0; c < coils && pass && sum > 0; c++)
                s[c * n + i] *= (float)(1 / sqrt(sum));
        }
        if (!pass && off <= 0.01 * (double)there)           /* as they are */
            return;
    }
    kr_say(trace, KR_INFO, "the coil maps have no unit norm; they are divided by their root sum of squares, as networks expect");
}

/* ATOMMIC and mridc: x by its largest magnitude; mridc without a normalization_type by the largest real or imaginary part; or (x - least)
 * / (largest - least) of its magnitudes, where they take a real number from a complex one. What it was divided by goes to *by. */
static int normalise(kr_array *x, int how, double *by)
{
    long n = kr_count(kr_array_shape(x));
    double least = INFINITY, most = 0;
    *by = 1;
    for (long i = 0; i < n; i++) {
        kr_cfloat v = KR_C(x)[i];
        double a = how == BY_PART ? fmax(fabs((double)kr_re(v)), fabs((double)kr_im(v))) : sqrt((double)kr_cabs2(v));
        least = a < least ? a : least;
        most = a > most ? a : most;
    }
    if (how == AS_IT_IS)
        return 0;
    double from = how == BY_MIN_MAX ? least : 0;
    if (!(most > from))
        return kr_fail(KR_ENUMBER, "a slice is %g everywhere: there is nothing to scale it by", most);
    *by = most - from;
    for (long i = 0; i < n; i++)
        KR_C(x)[i] = kr_c((float)(((double)kr_re(KR_C(x)[i]) - from) / *by), (float)((double)kr_im(KR_C(x)[i]) / *by));
    return 0;
}

/* What ATOMMIC and mridc do to data, maps and (ATOMMIC) the image to begin with, each by its own size ; maps were given. */
static int normalised(slice *s, const facts *a)
{
    static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);
    double by_maps, by_start;
    if (kr_fourier_inverse(s->k, xy))
        return kr_error_code();
    if (a->uncentred && uncentred(s->k, AROUND_IMAGE, false))
        return kr_error_code();
    if (normalise(s->k, a->normalise, &s->scale) || normalise(s->sens, a->normalise, &by_maps))
        return kr_error_code();
    if (a->start) {
        s->start = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        if (s->start)
            kr_contract(s->start, s->k, s->sens, true);
        if (!s->start || normalise(s->start, a->normalise, &by_start))
            return kr_error_code();
    }
    s->scale /= by_maps;
    if (a->uncentred && uncentred(s->k, AROUND_IMAGE, true))
        return kr_error_code();
    return kr_fourier(s->k, xy) ? kr_error_code() : a->uncentred ? uncentred(s->k, AROUND_KSPACE, false) : 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    const facts *f = j->facts;
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    kr_scoped(array) set = view ? kr_array_at(view, KR_MAP, 0) : NULL;
    s->sens = kr_array_copy(set);
    if (!s->sens)
        return kr_error_code();
    unit_maps(s->sens, i ? NULL : j->trace);
    if (normalised(s, f) || slice_run(z, s, net, !f->uncentred, 1))
        return kr_error_code();
    if (!f->uncentred)
        return 0;
    kr_scoped(array) x = kr_array_copy(z);
    if (!x || uncentred(x, AROUND_IMAGE, true))
        return kr_error_code();
    kr_array_assign(z, x);
    return 0;
}

/* mridc's "orthogonal_norm_only" and configurations that are not centred have the origin of their transform at index 0. */
static bool trained_uncentred(const kr_weights *w)
{
    const char *type = kr_weights_told(w, "fft_type");
    return type ? !strcmp(type, "orthogonal_norm_only") : around_no(kr_weights_told(w, "fft_centered"));
}

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    facts *f = to;
    (void)kind;
    f->uncentred = trained_uncentred(w);
    const char *off = kr_weights_told(w, "normalize_inputs"), *max = kr_weights_told(w, "max_norm"), *by = kr_weights_told(w, "normalization_type");
    by = around_no(off) || around_no(max) ? "none" : by ? by : "max";
    f->normalise = !strcasecmp(by, "max") ? BY_MAX : !strcasecmp(by, "minmax") ? BY_MIN_MAX : AS_IT_IS;
    if (f->normalise == AS_IT_IS && strcasecmp(by, "none"))
        return kr_fail(KR_EFORMAT, "normalization_type of the configuration is '%s'; Kray has max, minmax and none", by);
    for (long i = 0; i < w->count && !f->start; i++)             /* ATOMMIC makes the first image outside of the network */
        f->start = strstr(w->tensor[i].name, "reconstruction_module.") != NULL;
    if (f->normalise == BY_MAX && !f->start && !kr_weights_told(w, "normalization_type"))
        f->normalise = BY_PART;
    for (long i = 0; i < w->count; i++)
        if (strstr(w->tensor[i].name, "coil_sensitivity_maps_nn."))
            return kr_fail(KR_EFORMAT, "the weights hold a network for coil maps ('%s'), which Kray has not", w->tensor[i].name);
    return 0;
}

const around around_atommic = { "atommic", sizeof(facts), read, one };
