/* pwls.c: penalised weighted least squares: a line integral p is known to a variance of exp(p), photons being counted. */
#include "projected.h"
#include <math.h>

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("20"),
    PROJECTED_SUBSETS("12", ""),
    { "lambda", 'l', KR_OPT_REAL, offsetof(projected_opts, lambda), "0.03", "L", "strength of the penalty on differences of neighbours, relative to the data's mean curvature" },
    { "edge", 0, KR_OPT_REAL, offsetof(projected_opts, edge), "0.05", "PART", "differences well above this part of the mean value along rays are edges, and pay little more" },
    PROJECTED_NONNEG,
    KR_OPT_END };

static int lambda_of(const projected_opts *o)
{
    return o->lambda >= 0 && isfinite(o->lambda) && o->edge > 0 && isfinite(o->edge) ? 0 : kr_fail(KR_EREFUSED, "--lambda %g, --edge %g: 0 or more, and above 0, are wanted", o->lambda, o->edge);
}

static int update(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    kr_array **w = kr_alloc_zero((size_t)p->count, sizeof *w);
    double mean = 0, sums[2] = { 0, 0 };
    int e = w ? lambda_of(o) : kr_error_code();
    kr_fill(x, 1);
    for (int i = 0; i < p->count && !e; i++) {
        w[i] = kr_array_like(p->s[i].y);
        if (!w[i]) {
            e = kr_error_code();
            break;
        }
        kr_apply(p->s[i].A, w[i], x);                                /* lengths within the image */
        for (long k = 0, n = kr_count(kr_array_shape(w[i])); k < n; k++) {
            float y = KR_R(p->s[i].y)[k];
            sums[0] += (double)y;
            sums[1] += (double)KR_R(w[i])[k];
            KR_R(w[i])[k] = expf(-fmaxf(y, 0));
        }
    }
    mean = sums[1] > 0 ? fabs(sums[0]) / sums[1] : 0;
    if (!e && !(mean > 0))
        e = kr_fail(KR_ENUMBER, "the line integrals are all zero, or no ray meets the image");
    kr_fill(x, 0);
    e = e ? e : kr_pwls(p->s, p->count, w, x, (int)o->iterations, o->lambda, o->edge * mean, o->positive, trace);
    for (int i = 0; w && i < p->count; i++)
        kr_array_unref(&w[i]);
    kr_free(w);
    return e;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_by_subsets(out, scan, update, options, trace);
}

const kr_recon kr_recon_pwls = { "pwls", "penalised weighted least squares of X-ray projections in ordered subsets: weights by transmitted photons, edge-preserving penalty",
    "Erdogan and Fessler, Phys Med Biol 44:2835 (1999); Kim et al., IEEE Trans Med Imaging 34:167 (2015)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, projected_subsets_plan };
