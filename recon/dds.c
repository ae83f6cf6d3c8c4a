/* dds.c: decomposed diffusion sampling with a trained denoiser: from noise to an image in steps, each of which is made consistent with the data. A
 * denoiser D of images with noise of deviation s gives the model's estimate: x0 = D(x / sqrt(a), s), s = sqrt((1 - a) / a). */
#include "denoised.h"
#include "kray/diffusion.h"
#include <math.h>

typedef struct opts { net_opts net; double eta, gamma, most; long times, inner, seed; } opts;
static const kr_opt table[] = {
    { "weights", 'w', KR_OPT_FILE, offsetof(opts, net.weights), NULL, "FILE", "weights of a denoiser (see kray weights); default: those that come with Kray, if any" },
    { "times", 0, KR_OPT_INT, offsetof(opts, times), "50", "N", "times out of 1000 that are visited" },
    { "start", 0, KR_OPT_REAL, offsetof(opts, most), "0.4", "X", "begin where noise has this deviation, the image's largest values being 1, added to the image by conjugate gradients" },
    { "eta", 0, KR_OPT_REAL, offsetof(opts, eta), "0.85", "X", "part of the noise that is new in each step" },
    { "gamma", 0, KR_OPT_REAL, offsetof(opts, gamma), "5", "X", "weight of the data: (1 + gamma A^H A) x = x0 + gamma A^H y; 0: A^H A x = A^H y" },
    { "cg", 0, KR_OPT_INT, offsetof(opts, inner), "5", "N", "conjugate gradient steps of each time" },
    { "seed", 0, KR_OPT_INT, offsetof(opts, seed), "1", "N", "of the noise" },
    KR_OPT_END };

static int check(const opts *o)
{
    bool good = o->times >= 2 && o->times <= KR_DIFFUSION_TIMES && o->inner >= 1 && o->inner <= 10000 && o->most > 0 && o->most <= 1000 && o->eta >= 0 && o->eta <= 1 && o->gamma >= 0
                && isfinite(o->gamma) && o->seed >= 0;
    return good ? 0 : kr_fail(KR_EUSAGE, "dds wants 2 to %d times, 1 to 10000 conjugate gradient steps, a start up to 1000, eta from 0 to 1, gamma and seed from 0", KR_DIFFUSION_TIMES);
}

/* x += by times normal noise. */
static void add_noise(kr_array *x, double by, uint64_t seed, uint64_t stream)
{
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, stream, (uint64_t)i, z);
        if (x->type == KR_R32)
            KR_R(x)[i] += (float)(by * z[0]);
        else
            KR_C(x)[i] += kr_c((float)(by * z[0]), (float)(by * z[1]));
    }
}

static int solve(kr_array *x, const denoised *d, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    double alpha[KR_DIFFUSION_TIMES + 1];
    kr_diffusion_alpha(alpha);
    long skip = KR_DIFFUSION_TIMES / o->times, t = (KR_DIFFUSION_TIMES - 1) / skip * skip, taken = 0;
    while (t > 0 && sqrt((1 - alpha[t + 1]) / alpha[t + 1]) > o->most)
        t -= skip;
    kr_scoped(array) z = kr_array_like(x);
    kr_scoped(array) noise = kr_array_like(x);
    if (!z || !noise)
        return kr_error_code();
    kr_scale(x, (float)sqrt(alpha[t + 1]));
    add_noise(x, sqrt(1 - alpha[t + 1]), (uint64_t)o->seed, (uint64_t)(2000 * d->part + 1001));
    for (; t >= 0; t -= skip, taken++) {
        double a = alpha[t + 1], next = t - skip >= 0 ? alpha[t - skip + 1] : 1, c = sqrt(1 - next);
        if (kr_stopped(trace))
            return kr_error_code();
        kr_array_assign(noise, x);                           /* the model's estimate of it: (x - sqrt(a) x0) / sqrt(1 - a) */
        kr_scale(x, (float)(1 / sqrt(a)));
        if (denoised_by(z, d, x, sqrt((1 - a) / a)))
            return kr_error_code();
        kr_axpy(noise, (float)-sqrt(a), z);
        kr_scale(noise, (float)(1 / sqrt(1 - a)));
        kr_array_assign(x, z);
        if (o->gamma > 0)
            kr_axpy(z, (float)o->gamma, d->b);
        if (kr_diffusion_cg(x, d->N, o->gamma > 0 ? z : d->b, o->gamma, (int)o->inner, 1e-5, false) < 0)
            return kr_error_code();
        if (t == skip)                                       /* into time 0 without noise, as published */
            continue;
        kr_scale(x, (float)sqrt(next));
        kr_axpy(x, (float)(c * sqrt(1 - o->eta * o->eta)), noise);
        if (c * o->eta > 0)
            add_noise(x, c * o->eta, (uint64_t)o->seed, (uint64_t)(2000 * d->part + t));
    }
    kr_say(trace, KR_DETAIL, "%ld times", taken);
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    return check(o) ? kr_error_code() : denoised_image(out, scan, coils, &o->net, solve, o, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    return denoised_plan(cost, scan, o ? &o->net : NULL, o ? (double)o->times : 50);
}

static int open(void *options) { return net_open(&((opts *)options)->net, DENOISERS); }
static void close(void *options) { net_close(&((opts *)options)->net); }

const kr_recon kr_recon_dds = { "dds", "decomposed diffusion sampling with a trained denoiser (needs --weights)", "Chung et al., ICLR 2024, arXiv:2303.05754",
    KR_NEEDS_COILS | KR_TAKES_TRAJECTORY | KR_TAKES_RAYS | KR_SOFT_MAPS, table, sizeof(opts), run, plan, open, close };
