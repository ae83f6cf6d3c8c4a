/* linop.c: linear operators, their compositions, and the simple ones. */
#include "kray/linop.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

struct kr_linop {
    const kr_linop_ops *ops;
    enum kr_type type;
    kr_shape domain, codomain;
    void *self;
    atomic_int refs;
    kr_array *between;                /* for a derived normal operator; made at once, so that applying cannot fail */
};

kr_linop *kr_linop_new(const kr_linop_ops *ops, enum kr_type type, kr_shape domain, kr_shape codomain, void *self)
{
    kr_linop *A = self ? kr_alloc_zero(1, sizeof *A) : NULL;
    if (A && !ops->normal && !ops->through && !(A->between = kr_array_new(type, codomain)))
        kr_free_at(&A);
    if (!A) {
        if (self && ops->destroy)
            ops->destroy(self);
        return NULL;
    }
    A->ops = ops;
    A->type = type;
    A->domain = domain;
    A->codomain = codomain;
    A->self = self;
    atomic_init(&A->refs, 1);
    return A;
}

kr_linop *kr_linop_ref(kr_linop *A)
{
    if (A)
        atomic_fetch_add(&A->refs, 1);
    return A;
}

void kr_linop_unref(kr_linop **A)
{
    kr_linop *a = *A;
    *A = NULL;
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    if (a->ops->destroy)
        a->ops->destroy(a->self);
    kr_array_unref(&a->between);
    kr_free(a);
}

enum kr_type kr_linop_type(const kr_linop *A) { return A->type; }
kr_shape kr_linop_domain(const kr_linop *A) { return A->domain; }
kr_shape kr_linop_codomain(const kr_linop *A) { return A->codomain; }

static size_t number(enum kr_type type) { return type == KR_C32 ? sizeof(kr_cfloat) : sizeof(float); }

size_t kr_linop_bytes(const kr_linop *A)
{
    size_t n = A->ops->bytes ? A->ops->bytes(A->self) : 0;
    return n + (A->between ? (size_t)kr_count(A->codomain) * number(A->type) : 0);
}

static void check(const kr_linop *A, const kr_array *a, kr_shape s)
{
    kr_assert(a->type == A->type && kr_shape_equal(kr_array_shape(a), s));
}

void kr_apply(const kr_linop *A, kr_array *y, const kr_array *x)
{
    check(A, y, A->codomain);
    check(A, x, A->domain);
    A->ops->forward(A->self, y, x);
}

void kr_apply_adj(const kr_linop *A, kr_array *x, const kr_array *y)
{
    check(A, y, A->codomain);
    check(A, x, A->domain);
    A->ops->adjoint(A->self, x, y);
}

void kr_apply_normal(const kr_linop *A, kr_array *z, const kr_array *x)
{
    check(A, z, A->domain);
    check(A, x, A->domain);
    if (A->ops->normal)
        A->ops->normal(A->self, z, x);
    else if (A->ops->through)
        A->ops->through(A->self, z, x, NULL, NULL);
    else {
        A->ops->forward(A->self, A->between, x);
        A->ops->adjoint(A->self, z, A->between);
    }
}

bool kr_linop_in_parts(const kr_linop *A) { return A->ops->through != NULL; }

void kr_apply_through(const kr_linop *A, kr_array *z, const kr_array *x, kr_between *f, void *with)
{
    kr_assert(A->ops->through);
    if (z)
        check(A, z, A->domain);
    check(A, x, A->domain);
    A->ops->through(A->self, z, x, f, with);
}

bool kr_linop_adds(const kr_linop *A) { return A->ops->add != NULL; }

void kr_apply_add(const kr_linop *A, kr_array *y, float a, const kr_array *x)
{
    kr_assert(A->ops->add);
    check(A, y, A->codomain);
    check(A, x, A->domain);
    A->ops->add(A->self, false, y, a, x);
}

void kr_apply_adj_add(const kr_linop *A, kr_array *y, float a, const kr_array *x)
{
    kr_assert(A->ops->add);
    check(A, y, A->domain);
    check(A, x, A->codomain);
    A->ops->add(A->self, true, y, a, x);
}

double kr_linop_norm2(const kr_linop *A, int iterations)
{
    kr_scoped(array) x = kr_array_new(A->type, A->domain);
    kr_scoped(array) z = kr_array_new(A->type, A->domain);
    if (!x || !z)
        return -1;
    for (long i = 0, n = kr_count(A->domain); i < n; i++) {
        double g[2];
        kr_rand_normal2(20260101, 0, (uint64_t)i, g);
        if (A->type == KR_C32)
            KR_C(x)[i] = kr_c((float)g[0], (float)g[1]);
        else
            KR_R(x)[i] = (float)g[0];
    }
    double norm = 0;
    for (int k = 0; k < iterations; k++) {
        double s = kr_norm(x);
        if (s <= 0)
            return 0;
        kr_scale(x, (float)(1 / s));
        kr_apply_normal(A, z, x);                                   /* z = A^H A x / |x| */
        norm = kr_dot_re(x, z);
        kr_array *t = x;
        x = z;
        z = t;
    }
    return norm;
}

static bool alike(const char *what, const kr_linop *A, const kr_linop *B)
{
    if (A->type != B->type)
        kr_fail(KR_ESHAPE, "%s: %s takes %s numbers, %s %s ones", what, A->ops->name, A->type == KR_C32 ? "complex" : "real", B->ops->name,
                B->type == KR_C32 ? "complex" : "real");
    return A->type == B->type;
}

/* ---- A B ---- */
struct product { kr_linop *A, *B; kr_array *between, *back; };

static void product_forward(void *self, kr_array *y, const kr_array *x)
{
    struct product *p = self;
    kr_apply(p->B, p->between, x);                                  /* y = A B x */
    kr_apply(p->A, y, p->between);
}

static void product_adjoint(void *self, kr_array *x, const kr_array *y)
{
    struct product *p = self;
    kr_apply_adj(p->A, p->between, y);                              /* x = B^H A^H y */
    kr_apply_adj(p->B, x, p->between);
}

static void product_normal(void *self, kr_array *z, const kr_array *x)
{
    struct product *p = self;
    kr_apply(p->B, p->between, x);                                  /* z = B^H (A^H A) B x */
    kr_apply_normal(p->A, p->back, p->between);
    kr_apply_adj(p->B, z, p->back);
}

static void product_destroy(void *self)
{
    struct product *p = self;
    kr_linop_unref(&p->A);
    kr_linop_unref(&p->B);
    kr_array_unref(&p->between);
    kr_array_unref(&p->back);
    kr_free(p);
}

static size_t product_bytes(const void *self)
{
    const struct product *p = self;
    return kr_linop_bytes(p->A) + kr_linop_bytes(p->B) + 2 * (size_t)kr_count(p->B->codomain) * number(p->B->type);
}

static const kr_linop_ops product_ops = { "product", product_forward, product_adjoint, product_normal, product_destroy, product_bytes };

kr_linop *kr_mul(kr_linop *A, kr_linop *B)
{
    struct product *p = A && B && alike("product", A, B) ? kr_alloc_zero(1, sizeof *p) : NULL;
    if (p && !kr_shape_equal(A->domain, B->codomain)) {
        kr_fail(KR_ESHAPE, "product: %s takes %s, %s gives %s", A->ops->name, kr_shape_text(A->domain), B->ops->name,
                kr_shape_text(B->codomain));
        kr_free_at(&p);
    }
    if (!p) {
        kr_linop_unref(&A);
        kr_linop_unref(&B);
        return NULL;
    }
    p->A = A;
    p->B = B;
    p->between = kr_array_new(B->type, B->codomain);
    p->back = p->between ? kr_array_new(B->type, B->codomain) : NULL;
    if (!p->back) {
        product_destroy(p);
        return NULL;
    }
    return kr_linop_new(&product_ops, B->type, B->domain, A->codomain, p);
}

/* ---- A^H ---- */
static void turned_forward(void *self, kr_array *y, const kr_array *x) { kr_apply_adj(self, y, x); }
static void turned_adjoint(void *self, kr_array *x, const kr_array *y) { kr_apply(self, x, y); }
static void turned_destroy(void *self) { kr_linop *A = self; kr_linop_unref(&A); }
static size_t turned_bytes(const void *self) { return kr_linop_bytes(self); }
static const kr_linop_ops turned_ops = { "adjoint", turned_forward, turned_adjoint, NULL, turned_destroy, turned_bytes };

kr_linop *kr_adjoint(kr_linop *A)
{
    return A ? kr_linop_new(&turned_ops, A->type, A->codomain, A->domain, A) : NULL;
}

/* ---- A^H A ---- */
static void squared(void *self, kr_array *z, const kr_array *x) { kr_apply_normal(self, z, x); }
static const kr_linop_ops normal_ops = { "normal", squared, squared, NULL, turned_destroy, turned_bytes };

kr_linop *kr_normal(kr_linop *A)
{
    return A ? kr_linop_new(&normal_ops, A->type, A->domain, A->domain, A) : NULL;
}

/* ---- [A; B] ---- */
struct stacked { kr_linop *A, *B; int axis; kr_array *a, *b, *x; };

static void stacked_forward(void *self, kr_array *y, const kr_array *x)
{
    struct stacked *s = self;
    kr_apply(s->A, s->a, x);
    kr_apply(s->B, s->b, x);
    kr_array top = *y, low = *y;
    top.n[s->axis] = s->a->n[s->axis];
    low.n[s->axis] = s->b->n[s->axis];
    low.data = (char *)y->data + (size_t)(top.n[s->axis] * y->step[s->axis]) * number(y->type);
    kr_array_assign(&top, s->a);
    kr_array_assign(&low, s->b);
}

static void stacked_adjoint(void *self, kr_array *x, const kr_array *y)
{
    struct stacked *s = self;
    kr_array top = *y, low = *y;
    top.n[s->axis] = s->a->n[s->axis];
    low.n[s->axis] = s->b->n[s->axis];
    low.data = (char *)y->data + (size_t)(top.n[s->axis] * y->step[s->axis]) * number(y->type);
    kr_array_assign(s->a, &top);
    kr_array_assign(s->b, &low);
    kr_apply_adj(s->A, x, s->a);
    kr_apply_adj(s->B, s->x, s->b);
    kr_axpy(x, 1, s->x);                                            /* x = A^H a + B^H b */
}

static void stacked_normal(void *self, kr_array *z, const kr_array *x)
{
    struct stacked *s = self;
    kr_apply_normal(s->A, z, x);
    kr_apply_normal(s->B, s->x, x);
    kr_axpy(z, 1, s->x);
}

static void stacked_destroy(void *self)
{
    struct stacked *s = self;
    kr_linop_unref(&s->A);
    kr_linop_unref(&s->B);
    kr_array_unref(&s->a);
    kr_array_unref(&s->b);
    kr_array_unref(&s->x);
    kr_free(s);
}

static const kr_linop_ops stacked_ops = { "stack", stacked_forward, stacked_adjoint, stacked_normal, stacked_destroy, NULL };

kr_linop *kr_stack(kr_linop *A, kr_linop *B, int axis)
{
    struct stacked *s = A && B && alike("stack", A, B) ? kr_alloc_zero(1, sizeof *s) : NULL;
    if (s && (!kr_shape_equal(A->domain, B->domain)
              || !kr_shape_equal(kr_shape_without(A->codomain, KR_ON(axis)), kr_shape_without(B->codomain, KR_ON(axis))))) {
        kr_fail(KR_ESHAPE, "stack: %s takes %s and gives %s, %s takes %s and gives %s", A->ops->name, kr_shape_text(A->domain),
                kr_shape_text(A->codomain), B->ops->name, kr_shape_text(B->domain), kr_shape_text(B->codomain));
        kr_free_at(&s);
    }
    if (!s) {
        kr_linop_unref(&A);
        kr_linop_unref(&B);
        return NULL;
    }
    s->A = A;
    s->B = B;
    s->axis = axis;
    kr_shape whole = A->codomain, domain = A->domain;
    whole.n[axis] = (A->codomain.n[axis] ? A->codomain.n[axis] : 1) + (B->codomain.n[axis] ? B->codomain.n[axis] : 1);
    s->a = kr_array_new(A->type, A->codomain);
    s->b = s->a ? kr_array_new(A->type, B->codomain) : NULL;
    s->x = s->b ? kr_array_new(A->type, domain) : NULL;
    if (!s->x) {
        stacked_destroy(s);
        return NULL;
    }
    return kr_linop_new(&stacked_ops, s->x->type, domain, whole, s);
}

/* ---- Identity ---- */
static void copy_over(void *self, kr_array *y, const kr_array *x)
{
    (void)self;
    kr_array_assign(y, x);
}
static void free_self(void *self) { kr_free(self); }
static const kr_linop_ops identity_ops = { "identity", copy_over, copy_over, copy_over, free_self, NULL };

kr_linop *kr_op_identity(enum kr_type type, kr_shape s) { return kr_linop_new(&identity_ops, type, s, s, kr_alloc_zero(1, 1)); }
