/* op_filter.c: a filter along rows of a detector, with zeros beside them, as of filtered back-projection. */
#include "kray/linop.h"
#include "kray/rowfilter.h"

struct filter { long n; kr_rowfilter *f; };

static void apply(void *self, kr_array *y, const kr_array *x)
{
    const struct filter *r = self;
    long rows = kr_count(kr_array_shape(x)) / r->n;
    if (kr_rowfilter_apply(r->f, KR_R(y), &(kr_rowset){ KR_R(x), NULL, NULL, r->n, r->n, 0, rows, rows }))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void destroy(void *self)
{
    struct filter *r = self;
    kr_rowfilter_unref(&r->f);
    kr_free(r);
}

static size_t bytes(const void *self) { return kr_rowfilter_bytes(((const struct filter *)self)->f); }
static const kr_linop_ops ops = { "filter", apply, apply, NULL, destroy, bytes };

kr_linop *kr_op_filter(kr_shape data, const double *H, long P)
{
    struct filter *r = kr_alloc_zero(1, sizeof *r);
    if (!r)
        return NULL;
    r->n = data.n[KR_U] ? data.n[KR_U] : 1;
    if (P < 2 * r->n || P % 2)
        kr_fail(KR_ESHAPE, "a filter of %ld frequencies for rows of %ld: an even number, twice as many at least, is wanted", P, r->n);
    else
        r->f = kr_rowfilter_new(H, P);
    if (!r->f) {
        destroy(r);
        return NULL;
    }
    return kr_linop_new(&ops, KR_R32, data, data, r);
}
