/* optim.c: the table of optimisers; an optimiser's memory, its step over all parameters; clipping. */
#include "kray/train.h"
#include "kray_optimisers.h"
#include <math.h>
#include <string.h>

#define DECLARE(name) extern const kr_optimiser kr_optimiser_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_optimiser_##name,
const kr_optimiser *const kr_optimisers[] = { KR_LIST(ENTRY) NULL };

enum { BLOCK = 1 << 14, PART = 256, STATES = 3 };
struct kr_optim { const kr_optimiser *kind; void *opts; kr_param *param; long count, steps; int states; kr_tensor *state; double **exact; };
struct job { const kr_optim *o; long param, t; double rate; };

const kr_optimiser *kr_optimiser_named(const char *name)
{
    for (int i = 0; kr_optimisers[i]; i++)
        if (!strcmp(kr_optimisers[i]->name, name))
            return kr_optimisers[i];
    kr_text t = { 0 };
    for (int i = 0; kr_optimisers[i]; i++)
        kr_text_add(&t, "%s%s", i ? ", " : "", kr_optimisers[i]->name);
    kr_fail(KR_EUSAGE, "no optimiser '%s'; known are %s", name, t.failed ? "" : t.s);
    kr_text_clear(&t);
    return NULL;
}

void kr_optim_unref(kr_optim **op)
{
    kr_optim *o = *op;
    if (!o)
        return;
    for (long i = 0; o->state && i < o->count * o->states; i++) {
        kr_free(o->state[i].name);
        kr_free(o->state[i].data);
        if (o->exact)
            kr_free(o->exact[i]);
    }
    kr_free(o->exact);
    kr_free(o->state);
    kr_free(o->opts);
    kr_free(o);
    *op = NULL;
}

kr_optim *kr_optim_new(const kr_optimiser *kind, const void *opts, kr_param *params, long count)
{
    if (kind->check(opts))
        return NULL;
    kr_scoped(optim) o = kr_alloc_zero(1, sizeof *o);
    if (!o)
        return NULL;
    o->kind = kind;
    o->param = params;
    o->count = count;
    o->states = kind->states(opts);
    if (!(o->opts = kr_alloc(kind->opts_size, 1)) || !(o->state = kr_alloc_zero((size_t)(count * o->states) + 1, sizeof *o->state)))
        return NULL;
    memcpy(o->opts, opts, kind->opts_size);
    bool exact = count && params[0].exact;
    if (exact && !(o->exact = kr_alloc_zero((size_t)(count * o->states) + 1, sizeof *o->exact)))
        return NULL;
    for (long i = 0; i < count * o->states; i++) {
        kr_tensor *s = &o->state[i];
        *s = params[i / o->states].value;
        s->name = kr_strf("%s.%s", s->name, kind->state_name[i % o->states]);
        s->read = NULL;
        s->lent = false;
        s->data = NULL;
        if (!s->name || (exact ? !(o->exact[i] = kr_alloc_zero((size_t)kr_tensor_count(s), sizeof(double))) : !(s->data = kr_alloc_zero((size_t)kr_tensor_count(s), sizeof *s->data))))
            return NULL;
    }
    kr_optim *made = o;
    o = NULL;
    return made;
}

static void wider(double *restrict to, const float *restrict from, long n)
{
    for (long i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static void rounded(float *restrict to, const double *restrict from, long n)
{
    for (long i = 0; i < n; i++)
        to[i] = (float)from[i];
}

/* n numbers from `from` on of floats, in double and rounded again. */
static void step_part(const struct job *j, const kr_param *p, long from, long n)
{
    const kr_optim *o = j->o;
    double value[PART], gradient[PART], room[STATES][PART], *state[STATES] = { room[0], room[1], room[2] };
    float *kept[STATES] = { NULL };
    for (int s = 0; s < o->states; s++)
        kept[s] = o->state[j->param * o->states + s].data + from;
    wider(value, p->value.data + from, n);
    wider(gradient, p->gradient.data + from, n);
    for (int s = 0; s < o->states; s++)
        wider(room[s], kept[s], n);
    o->kind->step(o->opts, j->t, j->rate, n, value, gradient, state);
    rounded(p->value.data + from, value, n);
    for (int s = 0; s < o->states; s++)
        rounded(kept[s], room[s], n);
}

static int step_block(void *self, long block)
{
    const struct job *j = self;
    const kr_optim *o = j->o;
    const kr_param *p = &o->param[j->param];
    long from = block * BLOCK, end = kr_tensor_count(&p->value) < from + BLOCK ? kr_tensor_count(&p->value) : from + BLOCK;
    double *state[STATES] = { NULL };
    for (long at = from; at < end && !o->exact; at += PART)
        step_part(j, p, at, end - at < PART ? end - at : PART);
    if (!o->exact)
        return 0;
    for (int s = 0; s < o->states; s++)
        state[s] = o->exact[j->param * o->states + s] + from;
    o->kind->step(o->opts, j->t, j->rate, end - from, p->exact + from, p->exact_gradient + from, state);
    for (long i = from; i < end; i++)
        p->value.data[i] = (float)p->exact[i];
    return 0;
}

/* Number k of a gradient, as it is kept. */
static double gradient_at(const kr_param *p, long k) { return p->exact ? p->exact_gradient[k] : (double)p->gradient.data[k]; }

static void gradient_set(kr_param *p, long k, double v)
{
    if (p->exact)
        p->exact_gradient[k] = v;
    else
        p->gradient.data[k] = (float)v;
}

int kr_optim_step(kr_optim *o, double rate)
{
    if (!isfinite(rate))
        return kr_fail(KR_ENUMBER, "a learning rate that is not finite");
    for (long i = 0; i < o->count; i++)
        for (long k = 0, n = kr_tensor_count(&o->param[i].gradient); !o->param[i].frozen && k < n; k++)
            if (!isfinite(gradient_at(&o->param[i], k)))
                return kr_fail(KR_ENUMBER, "the gradient of %s is not finite", o->param[i].value.name);
    o->steps++;
    int e = 0;
    for (long i = 0; i < o->count; i++) {
        struct job j = { o, i, o->steps, rate };
        if (!o->param[i].frozen && (e = kr_for((kr_tensor_count(&o->param[i].value) + BLOCK - 1) / BLOCK, step_block, &j)))
            return e;
    }
    return 0;
}

long *kr_optim_steps(kr_optim *o) { return &o->steps; }

kr_tensor *kr_optim_state(kr_optim *o, long *count)
{
    *count = o->count * o->states;
    return o->state;
}

double *const *kr_optim_exact(const kr_optim *o) { return o->exact; }

/* Eight sums side by side: of one alone each would wait for the one before. */
static double squares(const kr_param *p)
{
    double s[8] = { 0 }, sum = 0;
    long k = 0, n = kr_tensor_count(&p->gradient);
    for (; k + 8 <= n; k += 8)
        for (int l = 0; l < 8; l++)
            s[l] += gradient_at(p, k + l) * gradient_at(p, k + l);
    for (; k < n; k++)
        sum += gradient_at(p, k) * gradient_at(p, k);
    for (int l = 0; l < 8; l++)
        sum += s[l];
    return sum;
}

double kr_clip_norm(kr_param *params, long count, double most)
{
    double sum = 0;
    for (long i = 0; i < count; i++)
        if (!params[i].frozen)
            sum += squares(&params[i]);
    double norm = sqrt(sum), by = most / (norm + 1e-6);
    for (long i = 0; isfinite(norm) && by < 1 && i < count; i++)
        for (long k = 0, n = kr_tensor_count(&params[i].gradient); !params[i].frozen && k < n; k++)
            gradient_set(&params[i], k, by * gradient_at(&params[i], k));
    return norm;
}

void kr_clip_value(kr_param *params, long count, double most)
{
    for (long i = 0; i < count; i++)
        for (long k = 0, n = kr_tensor_count(&params[i].gradient); !params[i].frozen && k < n; k++) {
            double g = gradient_at(&params[i], k);
            if (g > most || g < -most)                       /* what is not a number stays so */
                gradient_set(&params[i], k, g > 0 ? most : -most);
        }
}
