/* surrogates.c: weighted least squares with a penalty on differences of neighbours that large ones pay less for, in ordered subsets by separable quadratic
 * surrogates. Source: Erdogan and Fessler, Phys Med Biol 44:2835 (1999); momentum: Kim, Ramani and Fessler, IEEE Trans Med Imaging 34:167 (2015). */
#include "kray/solve.h"
#include <math.h>

/* x, gradient and curvature of the data term to be completed; the step is taken into `to`. */
struct step { const kr_array *at, *g, *curve; kr_array *to; long n[3]; float beta, edge; bool positive; };

/* Fair's penalty: edge^2 (|t| / edge - log(1 + |t| / edge)), of slope t / (1 + |t| / edge). */
static int line_of(void *self, long line)
{
    const struct step *s = self;
    long nx = s->n[0], ny = s->n[1], nz = s->n[2], j = line % ny, k = line / ny, apart[3] = { 1, nx, nx * ny };
    const float *x = KR_R(s->at) + line * nx, *g = KR_R(s->g) + line * nx, *d = KR_R(s->curve) + line * nx;
    float *to = KR_R(s->to) + line * nx;
    for (long i = 0; i < nx; i++) {
        float slope = 0, curve = 0;
        bool there[3][2] = { { i > 0, i + 1 < nx }, { j > 0, j + 1 < ny }, { k > 0, k + 1 < nz } };
        for (int a = 0; a < 3; a++)
            for (int e = 0; e < 2; e++)
                if (there[a][e]) {
                    float t = x[i] - x[i + (e ? apart[a] : -apart[a])], w = 1 / (1 + fabsf(t) / s->edge);
                    slope += w * t;
                    curve += 2 * w;                                  /* both ends of the difference move */
                }
        float below = d[i] + s->beta * curve, v = below > 0 ? x[i] - (g[i] + s->beta * slope) / below : x[i];
        to[i] = s->positive && v < 0 ? 0 : v;
    }
    return 0;
}

int kr_pwls(const kr_subset *s, int subsets, kr_array *const *weight, kr_array *x, int iterations, double beta, double edge, bool positive, const kr_trace *trace)
{
    kr_scoped(array) curve = kr_array_like(x);                       /* A^T W A 1 */
    kr_scoped(array) g = kr_array_like(x);
    kr_scoped(array) at = kr_array_copy(x);
    kr_scoped(array) was = kr_array_copy(x);
    kr_array **r = kr_alloc_zero((size_t)subsets, sizeof *r);
    int e = curve && g && at && was && r ? 0 : kr_error_code();
    for (int i = 0; i < subsets && !e; i++) {
        r[i] = kr_array_like(s[i].y);
        if (!r[i]) {
            e = kr_error_code();
            break;
        }
        kr_fill(g, 1);
        kr_apply(s[i].A, r[i], g);
        for (long k = 0, m = kr_count(kr_array_shape(r[i])); k < m; k++)
            KR_R(r[i])[k] *= KR_R(weight[i])[k];
        kr_apply_adj(s[i].A, g, r[i]);
        kr_axpy(curve, 1, g);
    }
    long n = kr_count(kr_array_shape(x));
    double mean = 0, t = 1;
    for (long i = 0; i < n && !e; i++)
        mean += (double)KR_R(curve)[i] / (double)n;
    if (!e && !(mean > 0))
        e = kr_fail(KR_EREFUSED, "no ray meets the image");
    struct step q = { at, g, curve, x, { x->n[KR_X], x->n[KR_Y], x->n[KR_Z] }, (float)(beta * mean), (float)edge, positive };
    for (int k = 0; k < iterations && !e; k++) {
        for (int i = 0; i < subsets && !e; i++) {
            if (kr_stopped(trace)) {
                e = kr_error_code();
                break;
            }
            kr_apply(s[i].A, r[i], at);
            for (long l = 0, m = kr_count(kr_array_shape(r[i])); l < m; l++)
                KR_R(r[i])[l] = (float)subsets * KR_R(weight[i])[l] * (KR_R(r[i])[l] - KR_R(s[i].y)[l]);
            kr_apply_adj(s[i].A, g, r[i]);
            e = kr_for(q.n[1] * q.n[2], line_of, &q);
            /* momentum: x of this step and of the one before; with many subsets it is held back, since their gradients are not those of all data */
            double next = (1 + sqrt(1 + 4 * t * t)) / 2, most = subsets > 1 ? 0.5 : 1;
            float m = (float)fmin((t - 1) / next, most);
            for (long l = 0; l < n; l++) {
                float v = KR_R(x)[l];
                KR_R(at)[l] = v + m * (v - KR_R(was)[l]);
                KR_R(was)[l] = v;
            }
            t = next;
        }
        kr_progress(trace, "pwls", k + 1, iterations);
    }
    for (int i = 0; r && i < subsets; i++)
        kr_array_unref(&r[i]);
    kr_free(r);
    return e ? e : isfinite(kr_norm(x)) ? 0 : kr_fail(KR_ENUMBER, "pwls: the numbers are no longer finite after %d iterations", iterations);
}
