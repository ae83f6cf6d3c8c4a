/* dealt.c: see dealt.h. */
#include "kray/dealt.h"
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
