/* op_weight.c: y = sum over the axes that y lacks of w x. */
#include "kray/linop.h"

static void forward(void *self, kr_array *y, const kr_array *x) { kr_contract(y, x, self, false); }
static void adjoint(void *self, kr_array *x, const kr_array *y) { kr_contract(x, y, self, true); }
static void destroy(void *self) { kr_array *w = self; kr_array_unref(&w); }
static size_t bytes(const void *self) { const kr_array *w = self; return (size_t)kr_count(kr_array_shape(w)) * (w->type == KR_C32 ? 8 : 4); }
static const kr_linop_ops ops = { "weight", forward, adjoint, NULL, destroy, bytes };

kr_linop *kr_op_weight(enum kr_type type, const kr_array *w, kr_shape codomain, kr_shape domain)
{
    if (!w)
        return NULL;
    if (type == KR_R32 && w->type != KR_R32) {
        kr_fail(KR_ESHAPE, "complex weights, %s, of real numbers: the product would not be real", kr_shape_text(kr_array_shape(w)));
        return NULL;
    }
    for (int d = 0; d < KR_AXES; d++) {
        long x = domain.n[d] ? domain.n[d] : 1, y = codomain.n[d] ? codomain.n[d] : 1, n = x > y ? x : y;
        n = w->n[d] > n ? w->n[d] : n;
        if ((x != n && x != 1) || (y != n && y != 1) || (w->n[d] != n && w->n[d] != 1)) {
            kr_fail(KR_ESHAPE, "weight of shape %s does not fit %s -> %s along %s", kr_shape_text(kr_array_shape(w)),
                    kr_shape_text(domain), kr_shape_text(codomain), kr_axis_name(d));
            return NULL;
        }
    }
    return kr_linop_new(&ops, type, domain, codomain, kr_array_ref(w));
}
