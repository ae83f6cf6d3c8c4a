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

/* Of one output: x weighted pixel by pixel, as the target. Parts are first all real, then all imaginary ones. */
static int one_output(double *value, kr_value *dy, const kr_value *y, const kr_cfloat *target, const float *weight, const learn_losses *l, double by)
{
    long n = y->n.y * y->n.x;
    kr_auto double *room = kr_alloc((size_t)(9 * n), sizeof *room);
    if (!room)
        return kr_error_code();
    double *x = room, *t = x + 2 * n, *d = t + 2 * n, *mx = d + 2 * n, *mt = mx + n, *dm = mt + n;
    bool real = y->n.kind == KR_REAL;
    kr_value tv = { .n = { KR_IMAGE, 1, 1, y->n.y, y->n.x }, .data = (void *)(uintptr_t)target };
    const float *from = y->data, *want = (const float *)target;
    memset(d, 0, (size_t)(2 * n) * sizeof *d);
    memset(dm, 0, (size_t)n * sizeof *dm);
    kr_magnitude(mx, y);
    kr_magnitude(mt, &tv);
    for (long i = 0; i < n; i++) {
        double w = (double)weight[i];
        for (int q = 0; q < 2 && !real; q++) {
            x[q * n + i] = w * (double)from[2 * i + q];
            t[q * n + i] = w * (double)want[2 * i + q];
        }
        mx[i] *= w;
        mt[i] *= w;
    }
    for (int k = 0; k < l->count; k++) {
        const struct learn_term *m = &l->term[k];
        double one = 0;
        kr_pair pair = m->complex ? (kr_pair){ x, t, d, 2, y->n.y, y->n.x } : (kr_pair){ mx, mt, dm, 1, y->n.y, y->n.x };
        if (kr_loss_run(m->loss, &one, &pair, false, by * m->weight, m->opts))
            return kr_error_code();
        *value += by * m->weight * one;
    }
    for (long i = 0; i < n; i++)
        dm[i] *= (double)weight[i];
    kr_magnitude_backward(dy, y, dm);
    float *g = dy->data;
    for (long i = 0; i < n; i++)
        for (int q = 0; q < 2 && !real; q++)
            g[2 * i + q] += (float)(d[q * n + i] * (double)weight[i]);
    return 0;
}

double learn_share(const kr_learn *o, long i, long outputs)
{
    if (i == outputs - 1)
        return 1;
    return o->growing ? pow(10, -(double)(outputs - 1 - i) / (double)(outputs - 1)) : o->other_outputs;
}

int learn_loss(double *value, kr_run *r, long outputs, const kr_cfloat *target, const float *weight, const learn_losses *l, bool magnitude, const kr_learn *opts, double by)
{
    *value = 0;
    for (int k = 0; k < l->count && magnitude; k++)
        if (l->term[k].complex)
            return kr_fail(KR_EUSAGE, "the network gives magnitudes, which a loss of complex images (complex_%s) cannot be of: loss, for example 'l1+ssim'", l->term[k].loss->name);
    for (long o = 0; o < outputs; o++) {
        double share = by * learn_share(opts, o, outputs);
        kr_value *dy = kr_run_dy(r, o);
        const kr_value *y = kr_run_output(r, o);
        if (!(share > 0))
            memset(dy->data, 0, (size_t)(y->n.y * y->n.x) * (y->n.kind == KR_REAL ? sizeof(float) : sizeof(kr_cfloat)));
        else if (one_output(value, dy, y, target, weight, l, share))
            return kr_error_code();
    }
    return 0;
}
