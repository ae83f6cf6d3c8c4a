/* learn_loss.c: the loss of one slice or strip over all outputs of the network, and its gradients. */
#include "learn_loss.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int learn_losses_of(learn_losses *l, const char *sum)
{
    *l = (learn_losses){ 0 };
    for (const char *p = sum; *p; ) {
        char word[64];
        size_t n = strcspn(p, ":+");
        double weight = 1;
        bool complex = !strncmp(p, "complex_", 8);
        size_t skip = complex ? 8 : 0;
        if (n - skip >= sizeof word || l->count == LEARN_LOSSES)
            return kr_fail(KR_EUSAGE, "the loss '%s' has too many or too long words", sum);
        memcpy(word, p + skip, n - skip);
        word[n - skip] = 0;
        p += n;
        if (*p == ':') {
            char *end;
            weight = strtod(p + 1, &end);
            if (end == p + 1 || (*end && *end != '+') || !(weight > 0) || !isfinite(weight))
                return kr_fail(KR_EUSAGE, "the loss '%s': weights are numbers above 0", sum);
            p = end;
        }
        p += *p == '+';
        const kr_loss *one = kr_loss_named(word);
        if (!one)
            return kr_error_code();
        void *opts = kr_alloc_zero(1, one->opts_size ? one->opts_size : 1);
        l->term[l->count++] = (struct learn_term){ one, opts, weight, complex };
        if (!opts || kr_opt_defaults(one->opts, opts))
            return kr_error_code();
    }
    return l->count ? 0 : kr_fail(KR_EUSAGE, "no loss is given");
}

void learn_losses_clear(learn_losses *l)
{
    for (int i = 0; i < l->count; i++)
        kr_free(l->term[i].opts);
    *l = (learn_losses){ 0 };
}

double *learn_output(kr_extent *n, const learn_made *m, long i)
{
    *n = m->run ? kr_run_output(m->run, i)->n : kr_plain_output_extent(m->plain, i);
    size_t count = (size_t)(n->y * n->x * (n->kind == KR_REAL ? 1 : 2));
    double *y = kr_alloc(count, sizeof *y);
    if (y && m->run)
        kr_value_get(y, kr_run_output(m->run, i));
    else if (y)
        memcpy(y, kr_plain_output(m->plain, i), count * sizeof *y);
    return y;
}

/* Number i of the gradient of an output: the sum of two, in the precision of the run. */
static void put(const learn_made *m, long output, long i, double a, double b)
{
    if (m->run)
        ((float *)kr_run_dy(m->run, output)->data)[i] = (float)a + (float)b;
    else
        kr_plain_dy(m->plain, output)[i] = a + b;
}

/* Of one output: x weighted pixel by pixel, as the target. Parts are first all real, then all imaginary ones. */
static int one_output(double *value, const learn_made *made, long output, const kr_cfloat *target, const float *weight, const learn_losses *l, double by)
{
    kr_extent e;
    kr_auto double *y = learn_output(&e, made, output);
    long n = e.y * e.x;
    kr_auto double *room = y ? kr_alloc((size_t)(11 * n), sizeof *room) : NULL;
    if (!room || (made->plain && !kr_plain_dy(made->plain, output)))
        return kr_error_code();
    double *x = room, *t = x + 2 * n, *d = t + 2 * n, *mx = d + 2 * n, *mt = mx + n, *dm = mt + n, *g = dm + n;
    bool real = e.kind == KR_REAL;
    const float *want = (const float *)target;
    memset(d, 0, (size_t)(2 * n) * sizeof *d);
    memset(dm, 0, (size_t)n * sizeof *dm);
    for (long i = 0; i < 2 * n; i++)
        g[i] = (double)want[i];
    kr_magnitude(mx, y, n, !real);
    kr_magnitude(mt, g, n, true);
    for (long i = 0; i < n; i++) {
        double w = (double)weight[i];
        for (int q = 0; q < 2 && !real; q++) {
            x[q * n + i] = w * y[2 * i + q];
            t[q * n + i] = w * g[2 * i + q];
        }
        mx[i] *= w;
        mt[i] *= w;
    }
    for (int k = 0; k < l->count; k++) {
        const struct learn_term *m = &l->term[k];
        double one = 0;
        kr_pair pair = m->complex ? (kr_pair){ x, t, d, 2, e.y, e.x } : (kr_pair){ mx, mt, dm, 1, e.y, e.x };
        if (kr_loss_run(m->loss, &one, &pair, false, by * m->weight, m->opts))
            return kr_error_code();
        *value += by * m->weight * one;
    }
    for (long i = 0; i < n; i++)
        dm[i] *= (double)weight[i];
    kr_magnitude_backward(g, y, dm, n, !real);
    for (long i = 0; i < (real ? n : 2 * n); i++)
        put(made, output, i, g[i], real ? 0 : d[i % 2 * n + i / 2] * (double)weight[i / 2]);
    return 0;
}

double learn_share(const kr_learn *o, long i, long outputs)
{
    if (i == outputs - 1)
        return 1;
    return o->growing ? pow(10, -(double)(outputs - 1 - i) / (double)(outputs - 1)) : o->other_outputs;
}

int learn_loss(double *value, const learn_made *m, long outputs, const kr_cfloat *target, const float *weight, const learn_losses *l, bool magnitude, const kr_learn *opts, double by)
{
    *value = 0;
    for (int k = 0; k < l->count && magnitude; k++)
        if (l->term[k].complex)
            return kr_fail(KR_EUSAGE, "the network gives magnitudes, which a loss of complex images (complex_%s) cannot be of: loss, for example 'l1+ssim'", l->term[k].loss->name);
    for (long o = 0; o < outputs; o++) {
        double share = by * learn_share(opts, o, outputs);
        if (share > 0 && one_output(value, m, o, target, weight, l, share))
            return kr_error_code();
        if (!(share > 0) && m->run) {                        /* in double, zeros to begin with */
            kr_value *dy = kr_run_dy(m->run, o);
            memset(dy->data, 0, (size_t)(dy->n.y * dy->n.x) * (dy->n.kind == KR_REAL ? sizeof(float) : sizeof(kr_cfloat)));
        }
    }
    return 0;
}
