/* dealt.c: see dealt.h. */
#include "kray/dealt.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

int kr_dealt_processes(const kr_trace *trace) { return trace && trace->dealer ? trace->dealer->processes : 1; }

kr_made kr_made_of(const kr_array *a)
{
    kr_assert(kr_array_contiguous(a));
    return (kr_made){ a->data, (size_t)kr_count(kr_array_shape(a)) * (a->type == KR_C32 ? sizeof(kr_cfloat) : sizeof(float)) };
}

static int one_after_the_other(long n, kr_body *body, void *self)
{
    int e = 0;
    for (long i = 0; i < n && !e; i++)
        e = body(self, i);
    return e;
}

struct loop { const kr_dealer *dealer; long n; kr_body *body; void *self; };

/* One thread takes what is left. */
static int take(void *self, long thread)
{
    (void)thread;
    const struct loop *l = self;
    int e = 0;
    for (long i; !e && (i = l->dealer->next(l->dealer->self, l->dealer->loops, l->n)) >= 0; )
        e = l->body(l->self, i);
    return e;
}

int kr_deal(const kr_trace *trace, long n, bool wide, kr_body *body, void *self, const kr_made *made)
{
    kr_dealer *d = trace ? trace->dealer : NULL;
    if (!d || n < 2 || d->inside)
        return wide ? kr_for(n, body, self) : one_after_the_other(n, body, self);
    for (const kr_made *m = made; m->bytes; m++)
        memset(m->bytes, 0, m->n);
    d->loops++;
    d->inside = true;
    int e = kr_for(wide ? kr_threads() : 1, take, &(struct loop){ d, n, body, self });
    d->inside = false;
    e = d->agree(d->self, e, n);
    for (const kr_made *m = made; m->bytes && !e; m++)
        e = d->join(d->self, m->bytes, m->n);
    return e;
}

/* ---- Progress of bodies that run side by side ---- */
struct unit { kr_trace trace; kr_units *all; double part; };
struct kr_units { const kr_trace *outer; const char *unit; long n, done; double sum; char what[64]; pthread_mutex_t lock; struct unit at[]; };

static void tell(kr_units *u)                             /* the lock is held: one sentence at a time, in order */
{
    char text[160];
    snprintf(text, sizeof text, *u->what ? "%s %ld/%ld, %s" : "%s %ld/%ld", u->unit, u->done < u->n ? u->done + 1 : u->n, u->n, u->what);
    kr_progress(u->outer, text, u->sum, (double)u->n);
}

static void unit_part(void *self, const char *what, double done, double total)
{
    struct unit *x = self;
    kr_units *u = x->all;
    pthread_mutex_lock(&u->lock);
    double part = total > 0 ? done / total : 0;
    if (part > x->part && part < 1) {                     /* a body has ended where it says so, not where one of its steps has */
        u->sum += part - x->part;
        x->part = part;
    }
    snprintf(u->what, sizeof u->what, "%s", what);
    tell(u);
    pthread_mutex_unlock(&u->lock);
}

static void unit_says(void *self, int level, const char *sentence)
{
    const struct unit *x = self;
    if (x->all->outer->say)
        x->all->outer->say(x->all->outer->self, level, sentence);
}

kr_units *kr_units_new(const kr_trace *outer, const char *unit, long n)
{
    static const kr_trace none = { 0 };
    kr_units *u = kr_alloc_zero(1, sizeof *u + (size_t)n * sizeof *u->at);
    if (!u)
        return NULL;
    u->outer = outer ? outer : &none;
    u->unit = unit;
    u->n = n;
    pthread_mutex_init(&u->lock, NULL);
    for (long i = 0; i < n; i++)
        u->at[i] = (struct unit){ { unit_says, unit_part, &u->at[i], u->outer->stop, u->outer->dealer }, u, 0 };
    return u;
}

const kr_trace *kr_units_trace(kr_units *u, long i) { return !u ? NULL : u->n > 1 ? &u->at[i].trace : u->outer; }

void kr_units_done(kr_units *u, long i)
{
    if (!u || u->n < 2)
        return;
    pthread_mutex_lock(&u->lock);
    u->sum += 1 - u->at[i].part;
    u->at[i].part = 1;
    if (++u->done == u->n)
        u->sum = (double)u->n;
    tell(u);
    pthread_mutex_unlock(&u->lock);
}

void kr_units_unref(kr_units **u)
{
    if (*u)
        pthread_mutex_destroy(&(*u)->lock);
    kr_free(*u);
    *u = NULL;
}
