/* around_kray.c: what stands around Kray's own network: the l1-wavelet image that it begins with, the noise of the scan, and how much of the
 * network's change is kept. A seventh of the samples outside of the calibration area is held back once: of an image s + t (x - s) between the
 * first and the network's, both made without those samples, the t is found whose samples there are nearest to the measured ones, and 2 t - 1 is taken:
 * with fewer samples the first image is worse, and a network has more to gain than with all of them. */
#include "around.h"
#include <math.h>
#include <string.h>

enum { HELD_BACK = 7 };              /* one of so many */
static const double OBJECT = 0.06;   /* of the first image's largest value and more */
static const uint64_t seed = 2307;

typedef struct facts { const kr_weights *w; } facts;

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    ((facts *)to)->w = w;
    (void)kind;
    return 0;
}

/* The network's image of a part of the scan, the image that it began with, and the unit in which the network saw them. */
static int images(kr_array **x, kr_array **start, double *unit, const kr_scan *part, const kr_array *maps, double sigma, kr_net *net, const kr_trace *trace)
{
    kr_refine_input r = { 0 };
    if (kr_refine_input_of(&r, part, maps, sigma, kr_recon_named("wavelet"), trace))
        return kr_error_code();
    *unit = r.scale;
    long nx = r.start->n[KR_X], ny = r.start->n[KR_Y];
    kr_net_input in = { .coils = maps->n[KR_COIL], .h = ny, .w = nx, .mask = KR_R(r.mask), .sens = KR_C(r.sens), .start = KR_C(r.start), .adjoint = KR_C(r.adjoint),
                        .noise = KR_R(r.noise), .centred = true };
    *x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    *start = kr_array_copy(r.start);
    int e = *x && *start ? kr_net_run(net, KR_C(*x), &in, NULL) : kr_error_code();
    if (!e) {
        kr_scale(*x, (float)r.scale);
        kr_scale(*start, (float)r.scale);
    }
    kr_refine_input_clear(&r);
    return e;
}

/* Takes samples out of `mask` and puts them into `held`: lines where whole lines along an axis are measured, points otherwise. False: too few. */
static bool hold_back(kr_array *mask, kr_array *held, const kr_mask_facts *f)
{
    long nx = mask->n[KR_X], ny = mask->n[KR_Y], group[HELD_BACK], found = 0, groups = 0;
    float *m = KR_R(mask), *h = KR_R(held);
    bool along[2] = { true, true };  /* is the mask the same all along x, y? */
    for (long i = 0; i < nx * ny; i++) {
        along[0] &= m[i] == m[i - i % nx];
        along[1] &= m[i] == m[i % nx];
        h[i] = 0;
    }
    for (long y = 0; y < (along[1] ? 1 : ny); y++)
        for (long x = 0; x < (along[0] ? 1 : nx); x++) {
            bool inside = (along[0] || (x >= f->centre_from[0] && x < f->centre_from[0] + f->centre[0]))
                          && (along[1] || (y >= f->centre_from[1] && y < f->centre_from[1] + f->centre[1]));
            if (m[y * nx + x] == 0 || inside)
                continue;
            group[found++] = y * nx + x;
            if (found < HELD_BACK)
                continue;
            long at = group[(long)(HELD_BACK * kr_rand_uniform(seed, 0, (uint64_t)groups++))], x0 = at % nx, y0 = at / nx;
            for (long j = along[1] ? 0 : y0; j < (along[1] ? ny : y0 + 1); j++)
                for (long i = along[0] ? 0 : x0; i < (along[0] ? nx : x0 + 1); i++) {
                    m[j * nx + i] = 0;
                    h[j * nx + i] = 1;
                }
            found = 0;
        }
    return groups > 0;
}

/* y where m is 1, else 0. */
static kr_array *where(const kr_array *y, const kr_array *m)
{
    kr_array *z = kr_array_copy(y);
    for (long i = 0, n = kr_count(kr_array_shape(m)), all = z ? kr_count(kr_array_shape(z)) : 0; i < all; i++)
        if (KR_R(m)[i % n] == 0)
            KR_C(z)[i] = kr_c(0, 0);
    return z;
}

/* x where the object is, else 0: what the network makes of the noise around it says nothing of the object. */
static void of_object(kr_array *x, const kr_array *start)
{
    double top = kr_max_abs(start);
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++)
        if ((double)kr_cabs2(KR_C(start)[i]) < OBJECT * OBJECT * top * top)
            KR_C(x)[i] = kr_c(0, 0);
}

/* How far to go from the first image to the network's, 0 to 1, by samples held back; 1 where there are too few to tell. Lines at equal steps that the
 * coils alone unfold: 0, since networks trained as those at hand made such images worse by up to 2.7 dB, which held back lines did not show. */
static int share_of(double *share, const kr_scan *part, const kr_array *maps, double sigma, kr_net *net, const kr_trace *trace)
{
    *share = 1;
    kr_shape plane = KR_SHAPE([KR_X] = part->data->n[KR_X], [KR_Y] = part->data->n[KR_Y]);
    kr_scoped(array) found = kr_scan_mask(part);
    kr_scoped(array) wide = found ? kr_array_spread(found, plane) : NULL;
    kr_scoped(array) mask = wide ? kr_array_copy(wide) : NULL;
    kr_scoped(array) held = kr_array_new(KR_R32, plane);
    kr_mask_facts f;
    if (!mask || !held || kr_mask_describe(&f, mask, plane))
        return kr_error_code();
    for (int d = KR_X; d <= KR_Y; d++)
        if (f.step[d] > 1 && f.outer_accel <= (double)maps->n[KR_COIL]) {    /* a line held back would leave a gap twice as wide: no measure */
            *share = 0;
            return 0;
        }
    if (!hold_back(mask, held, &f))
        return 0;
    kr_scoped(array) known = where(part->data, mask);
    kr_scoped(array) kept_back = where(part->data, held);
    kr_scoped(array) x = NULL;
    kr_scoped(array) start = NULL;
    kr_scan less = *part, rest = *part;
    less.data = known;
    less.mask = mask;
    rest.data = kept_back;
    rest.mask = held;
    double unit;
    if (!known || !kept_back || images(&x, &start, &unit, &less, maps, sigma, net, trace))
        return kr_error_code();
    kr_scoped(linop) A = kr_model(&rest, maps);
    kr_scoped(array) change = A ? kr_array_new(KR_C32, kr_linop_codomain(A)) : NULL;
    kr_scoped(array) missing = change ? kr_array_new(KR_C32, kr_linop_codomain(A)) : NULL;
    kr_scoped(array) domain = A ? kr_array_new(KR_C32, kr_linop_domain(A)) : NULL;
    if (!change || !missing || !domain)
        return kr_error_code();
    kr_array_assign(domain, start);
    kr_apply(A, missing, domain);
    kr_axpy(x, -1, start);
    of_object(x, start);
    kr_array_assign(domain, x);
    kr_apply(A, change, domain);
    kr_scale(missing, -1);
    kr_axpy(missing, 1, kept_back);
    double all = kr_dot_re(change, change);
    if (all > 0)
        *share = fmax(0, 2 * fmin(1, kr_dot_re(change, missing) / all) - 1);
    return 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    (void)s;
    kr_scan part = { 0 };
    const char *limits = kr_meta_get(((const facts *)j->facts)->w->meta, "limits");      /* what the weights say that they are for */
    if (!i && limits)
        kr_say(j->trace, KR_WARNING, "these weights: %s", limits);
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    kr_scoped(array) maps = view ? kr_array_packed(view) : NULL;
    kr_scoped(array) x = NULL;
    kr_scoped(array) start = NULL;
    int e = maps ? kr_part_open(&part, j->scan, kr_problem_axes, i) : kr_error_code();
    if (!e) {
        double share = 1;
        double sigma = kr_noise_sigma(&part, NULL);
        if (sigma < 0 && kr_error_code() == KR_EMEM) {
            kr_part_close(&part);
            return KR_EMEM;
        }
        if (sigma < 0) {                     /* nothing is measured far out: the least noise that makes a difference */
            kr_error_clear();
            sigma = 0;
        }
        double unit = 1;
        e = images(&x, &start, &unit, &part, maps, sigma, net, j->trace);
        e = e ? e : share_of(&share, &part, maps, sigma, net, j->trace);
        if (!e) {
            kr_say(j->trace, KR_DETAIL, "slice %ld: %.0f %% of what the network changes is kept", i, 100 * share);
            kr_scale(x, (float)share);
            kr_axpy(x, (float)(1 - share), start);
            kr_array_assign(z, x);
        }
    }
    kr_part_close(&part);
    return e;
}

static const kr_fact keys[] = { { .key = NULL } };

const around around_kray = { "kray", keys, sizeof(facts), read, NULL, NULL, one };
