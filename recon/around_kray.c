/* around_kray.c: what stands around Kray's own network: the l1-wavelet image that it begins with, and the noise of the scan. */
#include "around.h"

typedef struct facts { const kr_weights *w; } facts;

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    ((facts *)to)->w = w;
    (void)kind;
    return 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    kr_scan part = { 0 };
    kr_refine_input r = { 0 };
    const char *limits = kr_meta_get(((const facts *)j->facts)->w->meta, "limits");      /* what the weights say that they are for */
    if (!i && limits)
        kr_say(j->trace, KR_WARNING, "these weights: %s", limits);
    kr_scoped(array) view = kr_part(j->coils, j->scan, i);
    kr_scoped(array) maps = view ? kr_array_packed(view) : NULL;
    int e = maps ? kr_part_open(&part, j->scan, kr_problem_axes, i) : kr_error_code();
    if (!e) {
        part.whitened = j->scan->whitened;
        part.dwell_us = j->scan->dwell_us;
        part.noise_dwell_us = j->scan->noise_dwell_us;
        double sigma = kr_noise_sigma(&part, NULL);
        if (sigma < 0) {                     /* nothing is measured far out: the least noise that makes a difference */
            kr_error_clear();
            sigma = 0;
        }
        e = kr_refine_input_of(&r, &part, maps, sigma, j->trace);
    }
    if (!e) {
        kr_net_input in = { .coils = s->coils, .h = s->ny, .w = s->nx, .mask = KR_R(r.mask), .sens = KR_C(r.sens), .start = KR_C(r.start), .adjoint = KR_C(r.adjoint),
                            .noise = KR_R(r.noise), .centred = true };
        kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        e = x ? kr_net_run(net, KR_C(x), &in, NULL) : kr_error_code();
        if (!e) {
            kr_scale(x, (float)r.scale);
            kr_array_assign(z, x);
        }
    }
    kr_refine_input_clear(&r);
    kr_part_close(&part);
    return e;
}

static const kr_fact keys[] = { { .key = NULL } };

const around around_kray = { "kray", keys, sizeof(facts), read, NULL, one };
