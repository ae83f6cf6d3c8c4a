/* loss.c: the table of losses; each by its own maximum; what they are of. */
#include "loss.h"
#include "kray_losses.h"
#include <math.h>
#include <string.h>

#define DECLARE(name) extern const kr_loss kr_loss_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_loss_##name,
const kr_loss *const kr_losses[] = { KR_LIST(ENTRY) NULL };

const kr_loss *kr_loss_named(const char *name)
{
    for (int i = 0; kr_losses[i]; i++)
        if (!strcmp(kr_losses[i]->name, name))
            return kr_losses[i];
    kr_text t = { 0 };
    for (int i = 0; kr_losses[i]; i++)
        kr_text_add(&t, "%s%s", i ? ", " : "", kr_losses[i]->name);
    kr_fail(KR_EUSAGE, "no loss '%s'; known are %s", name, t.failed ? "" : t.s);
    kr_text_clear(&t);
    return NULL;
}

int kr_loss_sums(double *sum, double *norm, const kr_pair *p, const char *name)
{
    *sum = *norm = 0;
    for (long i = 0; i < p->items * p->h * p->w; i++) {
        double e = p->x[i] - p->t[i];
        *sum += e * e;
        *norm += p->t[i] * p->t[i];
    }
    return *norm > 0 ? 0 : kr_fail(KR_ENUMBER, "the target is 0 everywhere: the loss %s divides by it", name);
}

void kr_loss_pull(const kr_pair *p, double by)
{
    for (long i = 0; p->d && i < p->items * p->h * p->w; i++)
        p->d[i] += by * (p->x[i] - p->t[i]);
}

static double largest(const double *x, long n, long *at)
{
    double most = 0;
    for (long i = 0; i < n; i++)
        if (fabs(x[i]) > most) {
            most = fabs(x[i]);
            *at = i;
        }
    return most;
}

static int by_own(const kr_loss *loss, double *value, const kr_pair *p, double weight, const void *opts)
{
    long n = p->items * p->h * p->w, at = 0, not_used = 0;
    double mx = largest(p->x, n, &at), mt = largest(p->t, n, &not_used), along = 0;
    if (mx == 0 || mt == 0)
        return kr_fail(KR_ENUMBER, "the %s is 0 everywhere: nothing can be divided by its maximum", mx == 0 ? "network's image" : "target");
    kr_auto double *x = kr_alloc((size_t)n, sizeof *x), *t = x ? kr_alloc((size_t)n, sizeof *t) : NULL, *d = t ? kr_alloc_zero((size_t)n, sizeof *d) : NULL;
    if (!d)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        x[i] = fabs(p->x[i]) / mx;
        t[i] = fabs(p->t[i]) / mt;
    }
    int e = loss->run(value, &(kr_pair){ x, t, p->d ? d : NULL, p->items, p->h, p->w }, weight, opts);
    for (long i = 0; !e && p->d && i < n; i++) {
        along += d[i] * x[i];
        p->d[i] += d[i] / mx * (p->x[i] > 0 ? 1 : p->x[i] < 0 ? -1 : 0);
    }
    if (!e && p->d)
        p->d[at] -= along / mx * (p->x[at] > 0 ? 1 : -1);
    return e;
}

int kr_loss_run(const kr_loss *loss, double *value, const kr_pair *p, bool by_maximum, double weight, const void *opts)
{
    long n = p->items * p->h * p->w;
    double sum = 0;
    if (n < 1)
        return kr_fail(KR_ESHAPE, "a loss of %ld images of %ld x %ld pixels", p->items, p->h, p->w);
    for (long i = 0; i < n; i++)
        if (!isfinite(p->x[i]) || !isfinite(p->t[i]))
            return kr_fail(KR_ENUMBER, "the %s holds numbers that are not finite", isfinite(p->t[i]) ? "network's image" : "target");
    int e = by_maximum ? by_own(loss, &sum, p, weight, opts) : loss->run(&sum, p, weight, opts);
    if (!e)
        *value = sum;
    return e;
}

/* 0.1 ... 1 in equal ratios, over n; 0.1 where there is one. */
static double log_weight(long i, long n) { return (n > 1 ? pow(10, -1 + (double)i / (double)(n - 1)) : 0.1) / (double)n; }

void kr_over_weights(double *weight, enum kr_over how, long outs, long cascades)
{
    kr_assert(outs > 0 && cascades > 0 && outs % cascades == 0);
    long steps = outs / cascades;
    for (long o = 0; o < outs; o++)
        weight[o] = how == KR_OVER_LAST ? o == outs - 1 : how == KR_OVER_MEAN ? 1 / (double)outs : log_weight(o / steps, cascades) * log_weight(o % steps, steps);
}

static long numbers(const kr_value *v)
{
    kr_assert(v->n.kind == KR_IMAGE || v->n.kind == KR_REAL);
    return v->n.y * v->n.x * (v->n.kind == KR_IMAGE ? 2 : 1);
}

void kr_value_get(double *to, const kr_value *v)
{
    for (long i = 0; i < numbers(v); i++)
        to[i] = (double)((const float *)v->data)[i];
}

void kr_value_put(kr_value *v, const double *from)
{
    for (long i = 0; i < numbers(v); i++)
        ((float *)v->data)[i] = (float)from[i];
}

void kr_magnitude(double *m, const double *v, long pixels, bool complex)
{
    for (long i = 0; i < pixels; i++)
        m[i] = complex ? hypot(v[2 * i], v[2 * i + 1]) : v[i];
}

void kr_magnitude_backward(double *dy, const double *v, const double *d, long pixels, bool complex)
{
    for (long i = 0; i < pixels; i++)
        if (complex) {
            double a = hypot(v[2 * i], v[2 * i + 1]);
            dy[2 * i] = a > 0 ? d[i] * v[2 * i] / a : 0;
            dy[2 * i + 1] = a > 0 ? d[i] * v[2 * i + 1] / a : 0;
        } else {
            dy[i] = d[i];
        }
}
