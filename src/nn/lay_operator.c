/* lay_operator.c: a real operator A that is given with the data (line integrals), on real and imaginary part: A x as coil images of one coil, and A^T y.
 * The value of kind KR_OPERATOR has the extent of A's domain. */
#include "kray/linop.h"
#include "lay.h"
#include <string.h>

enum { X, OPERATOR, LIKE };          /* inputs; LIKE: of the extent of A's codomain                  */
enum { ADJOINT };

/* One part of an image and of data: what A is applied to. */
struct state { kr_array *image, *data; };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    bool adj = l->arg[ADJOINT];
    y[0] = extent_like(adj ? x[OPERATOR] : x[LIKE], adj ? KR_IMAGE : KR_COILS, 1);
    if (extent_is(l, x, adj ? KR_COILS : KR_IMAGE, 1) || extent_is(l, x + OPERATOR, KR_OPERATOR, 1) || (!adj && extent_is(l, x + LIKE, KR_COILS, 0)))
        return kr_error_code();
    const kr_extent *n = &x[OPERATOR];
    return adj || (x->y == n->y && x->x == n->x) ? 0 : kr_fail(KR_ESHAPE, "an operator on images of %ld x %ld, and an image of %ld x %ld", n->y, n->x, x->y, x->x);
}

static void close(void *state)
{
    struct state *s = state;
    kr_array_unref(&s->image);
    kr_array_unref(&s->data);
    kr_free(s);
}

static int open(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use)
{
    (void)use;
    struct state *s = *state = kr_alloc_zero(1, sizeof *s);
    const kr_extent *image = l->arg[ADJOINT] ? y : x, *data = l->arg[ADJOINT] ? x : y;
    if (!s)
        return kr_error_code();
    s->image = kr_array_new(KR_R32, KR_SHAPE([KR_X] = image->x, [KR_Y] = image->y, [KR_Z] = 1));
    s->data = kr_array_new(KR_R32, KR_SHAPE([KR_U] = data->x, [KR_V] = 1, [KR_VIEW] = data->y));
    return s->image && s->data ? 0 : kr_error_code();
}

/* y += A x, or A^T x, part by part. */
static void add(const kr_call *c, kr_cfloat *y, const kr_cfloat *x, bool adjoint)
{
    struct state *s = c->state;
    const kr_linop *A = c->x[OPERATOR]->data;
    kr_array *from = adjoint ? s->data : s->image, *to = adjoint ? s->image : s->data;
    for (int part = 0; part < 2; part++) {
        bool any = false;
        for (long i = 0, n = kr_count(kr_array_shape(from)); i < n; i++) {
            KR_R(from)[i] = ((const float *)x)[2 * i + part];
            any |= KR_R(from)[i] != 0;
        }
        if (!any)
            continue;
        (adjoint ? kr_apply_adj : kr_apply)(A, to, from);
        for (long i = 0, n = kr_count(kr_array_shape(to)); i < n; i++)
            ((float *)y)[2 * i + part] += KR_R(to)[i];
    }
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1u << OPERATOR;
    *y = 0;
}

static void forward(const kr_call *c)
{
    memset(c->y[0]->data, 0, (size_t)extent_pixels(&c->y[0]->n) * sizeof(kr_cfloat));
    add(c, c->y[0]->data, c->x[X]->data, c->l->arg[ADJOINT]);
}

static void backward(const kr_call *c) { add(c, c->dx[X]->data, c->dy[0]->data, !c->l->arg[ADJOINT]); }

/* The columns of A by unit images; their sums in double. */
static void plain(const kr_plain_call *c)
{
    const kr_linop *A = (const kr_linop *)(const void *)c->x[OPERATOR]->v;
    bool adj = c->l->arg[ADJOINT];
    kr_scoped(array) e = kr_array_new(KR_R32, kr_linop_domain(A));
    kr_scoped(array) a = kr_array_new(KR_R32, kr_linop_codomain(A));
    if (!e || !a)
        return;
    long n = kr_count(kr_linop_domain(A)), m = kr_count(kr_linop_codomain(A));
    for (long i = 0; i < n; i++) {
        kr_fill(e, 0);
        KR_R(e)[i] = 1;
        kr_apply(A, a, e);
        for (long k = 0; k < 2 * m; k++)
            plain_link(c, adj ? 2 * i + k % 2 : k, X, adj ? k : 2 * i + k % 2, (double)KR_R(a)[k / 2]);
    }
}

static const kr_layer_ops ops = { .name = "operator of the measurement", .shape = shape, .open = open, .close = close, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain,
                                  .on = -1, .sizes = 1u << LIKE };
kr_node lay_operator(kr_graph *g, kr_node x, kr_node op, kr_node like) { return graph_add(g, NULL, &ops, (kr_node[]){ x, op, like }, 3, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_operator_adjoint(kr_graph *g, kr_node y, kr_node op) { return graph_add(g, NULL, &ops, (kr_node[]){ y, op }, 2, NULL, 0, (long[]){ 1 }, 1, NULL); }
