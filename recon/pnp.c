/* pnp.c: plug and play: data consistency and a trained denoiser in turn, with less and less noise: half-quadratic splitting. */
#include "denoised.h"
#include "kray/diffusion.h"
#include <math.h>

typedef struct opts { net_opts net; double noise, start, strength; long iterations, inner; } opts;
static const kr_opt table[] = {
    { "weights", 'w', KR_OPT_FILE, offsetof(opts, net.weights), NULL, "FILE", "weights of a denoiser (see kray weights); default: those that come with Kray, if any" },
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "8", "N", "rounds of data consistency and denoising" },
    { "start", 0, KR_OPT_REAL, offsetof(opts, start), "0.2", "X", "noise that the first round takes away, the image's largest values being 1" },
    { "noise", 0, KR_OPT_REAL, offsetof(opts, noise), "0", "X", "noise that the last round takes away; 0: that of the samples, at least 0.003" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, strength), "0.25", "X", "weight of the denoiser against the data" },
    { "cg", 0, KR_OPT_INT, offsetof(opts, inner), "10", "N", "conjugate gradient steps of a round" },
    KR_OPT_END };

static int check(const opts *o)
{
    bool good = o->iterations >= 1 && o->iterations <= 10000 && o->inner >= 1 && o->inner <= 10000 && o->start > 0 && o->start <= 10 && o->noise >= 0 && o->noise <= o->start && o->strength > 0
                && isfinite(o->strength);
    return good ? 0 : kr_fail(KR_EUSAGE, "pnp wants 1 to 10000 iterations and conjugate gradient steps, a start up to 10, noise from 0 to the start, and lambda above 0");
}

/* z = D(x), noise s; (N + a) x = b + a z with a = lambda noise^2 / s^2. Source: Zhang et al., IEEE Trans Pattern Anal Mach Intell 44:6360 (2022). */
static int solve(kr_array *x, const denoised *d, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    double last = o->noise > 0 ? o->noise : fmin(o->start, fmax(0.003, d->noise));
    kr_scoped(array) z = kr_array_like(x);
    if (!z)
        return kr_error_code();
    for (long k = 0; k < o->iterations; k++) {
        double s = o->iterations > 1 ? o->start * pow(last / o->start, (double)k / (double)(o->iterations - 1)) : last, gamma = s * s / (o->strength * last * last);
        if (kr_stopped(trace) || denoised_by(z, d, x, s))
            return kr_error_code();
        kr_array_assign(x, z);
        kr_axpy(z, (float)gamma, d->b);                      /* (1 + gamma N) x = z + gamma b */
        if (kr_diffusion_cg(x, d->N, z, gamma, (int)o->inner, 0, false) < 0)
            return kr_error_code();
    }
    kr_say(trace, KR_DETAIL, "noise from %.3g to %.3g of the image", o->start, last);
    return denoised_by(z, d, x, last) ? kr_error_code() : (kr_array_assign(x, z), 0);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    return check(o) ? kr_error_code() : denoised_image(out, scan, coils, &o->net, solve, o, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    return denoised_plan(cost, scan, o ? &o->net : NULL, o ? (double)o->iterations : 8);
}

static int open(void *options) { return net_open(&((opts *)options)->net, DENOISERS); }
static void close(void *options) { net_close(&((opts *)options)->net); }

const kr_recon kr_recon_pnp = { "pnp", "plug and play: a trained denoiser in the place of a penalty (needs --weights)",
    "Venkatakrishnan et al., GlobalSIP 2013; Zhang et al., IEEE Trans Pattern Anal Mach Intell 44:6360 (2022)", KR_NEEDS_COILS | KR_TAKES_TRAJECTORY | KR_TAKES_RAYS | KR_SOFT_MAPS, table, sizeof(opts), run,
    plan, open, close };
