/* dealt.c: see dealt.h. */
#include "kray/dealt.h"
#include <stdatomic.h>
#include <string.h>

static const kr_dealer *dealer;
static atomic_bool inside;
static long loops;

void kr_dealer_set(const kr_dealer *d)
{
    dealer = d;
    loops = 0;
}

int kr_dealt_rank(void) { return dealer ? dealer->rank : 0; }
int kr_dealt_processes(void) { return dealer ? dealer->processes : 1; }
long kr_dealt_loops(void) { return loops; }
bool kr_dealt_inside(void) { return atomic_load(&inside); }

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

struct loop { long n; kr_body *body; void *self; };

/* One thread takes what is left. */
static int take(void *self, long thread)
{
    (void)thread;
    const struct loop *l = self;
    int e = 0;
    for (long i; !e && (i = dealer->next(dealer->self, loops, l->n)) >= 0; )
        e = l->body(l->self, i);
    return e;
}

int kr_deal(long n, bool wide, kr_body *body, void *self, const kr_made *made)
{
    if (!dealer || n < 2 || atomic_load(&inside))
        return wide ? kr_for(n, body, self) : one_after_the_other(n, body, self);
    for (const kr_made *m = made; m->bytes; m++)
        memset(m->bytes, 0, m->n);
    loops++;
    atomic_store(&inside, true);
    int e = kr_for(wide ? kr_threads() : 1, take, &(struct loop){ n, body, self });
    atomic_store(&inside, false);
    e = dealer->agree(dealer->self, e, n);
    for (const kr_made *m = made; m->bytes && !e; m++)
        e = dealer->join(dealer->self, m->bytes, m->n);
    return e;
}
