/* contract.c: z = sum over the axes that z lacks of x * y, axes meeting by name. */
#include "kern.h"
#include <string.h>

struct contract {
    const kr_kern *k;
    kr_array *z;
    const kr_array *x, *y;
    bool conj_y;
    int inner;                        /* the axis whose lines go to a kernel */
    long n[KR_AXES];
    unsigned kept, summed;            /* outer axes of z; axes summed over   */
};

static const char *at(const kr_array *a, long element)
{
    return (const char *)a->data + element * (a->type == KR_C32 ? 8 : 4);
}

/* One element of the kept outer axes: all sums that end there, so that no two calls write the same place. */
static int one(void *self, long index)
{
    const struct contract *c = self;
    long ez = 0, ex = 0, ey = 0, sums = 1;
    for (int d = 0; d < KR_AXES; d++) {
        if (c->summed & KR_ON(d))
            sums *= c->n[d];
        if (!(c->kept & KR_ON(d)))
            continue;
        long i = index % c->n[d];
        index /= c->n[d];
        ez += i * c->z->step[d];
        ex += i * c->x->step[d];
        ey += i * c->y->step[d];
    }
    long n = c->n[c->inner], sz = c->z->step[c->inner], sx = c->x->step[c->inner], sy = c->y->step[c->inner];
    bool real = c->z->type == KR_R32;
    kr_cfloat *z = real ? NULL : (kr_cfloat *)c->z->data + ez;
    float *r = real ? (float *)c->z->data + ez : NULL;
    for (long i = 0; i < n; i++)
        if (real)
            r[i * sz] = 0;
        else
            z[i * sz] = 0;
    for (long s = 0; s < sums; s++) {
        long rest = s, fx = ex, fy = ey;
        for (int d = 0; d < KR_AXES; d++)
            if (c->summed & KR_ON(d)) {
                long i = rest % c->n[d];
                rest /= c->n[d];
                fx += i * c->x->step[d];
                fy += i * c->y->step[d];
            }
        bool rx = c->x->type == KR_R32, ry = c->y->type == KR_R32;
        const void *x = at(c->x, fx), *y = at(c->y, fy);
        if (real)
            for (long i = 0; i < n; i++)
                r[i * sz] += ((const float *)x)[i * sx] * ((const float *)y)[i * sy];
        else if (n > 1 && sz == 1 && sx == 1 && sy == 1 && !rx && !ry)
            (c->conj_y ? c->k->cmulc_add : c->k->cmul_add)((float *)z, x, y, n);
        else if (n > 1 && sz == 1 && sx == 1 && sy == 1 && rx != ry && !(rx && c->conj_y))
            c->k->rmul_add((float *)z, rx ? y : x, rx ? x : y, n);
        else
            for (long i = 0; i < n; i++) {
                kr_cfloat a = rx ? kr_c(((const float *)x)[i * sx], 0) : ((const kr_cfloat *)x)[i * sx];
                kr_cfloat b = ry ? kr_c(((const float *)y)[i * sy], 0) : ((const kr_cfloat *)y)[i * sy];
                z[i * sz] += c->conj_y ? kr_cmulc(b, a) : kr_cmul(a, b);
            }
    }
    return 0;
}

void kr_contract(kr_array *z, const kr_array *x, const kr_array *y, bool conj_y)
{
    kr_assert(z->type == KR_C32 || (x->type == KR_R32 && y->type == KR_R32));
    struct contract c = { .k = kr_kern_best(), .z = z, .x = x, .y = y, .conj_y = conj_y, .inner = -1 };
    long best = 0, outer = 1, work = 1;
    for (int d = 0; d < KR_AXES; d++) {
        long n = z->n[d];
        n = x->n[d] > n ? x->n[d] : n;
        n = y->n[d] > n ? y->n[d] : n;
        kr_assert((x->n[d] == n || x->n[d] == 1) && (y->n[d] == n || y->n[d] == 1) && (z->n[d] == n || z->n[d] == 1));
        c.n[d] = n;
        work *= n;
        if (z->n[d] > 1 && z->step[d] == 1 && n > best) {
            best = n;
            c.inner = d;
        }
    }
    if (c.inner < 0)
        for (int d = 0; d < KR_AXES && c.inner < 0; d++)
            if (z->n[d] > 1 || d == KR_AXES - 1)
                c.inner = d;
    for (int d = 0; d < KR_AXES; d++) {
        if (d == c.inner && z->n[d] > 1)
            continue;
        if (z->n[d] > 1) {
            c.kept |= KR_ON(d);
            outer *= z->n[d];
        } else if (c.n[d] > 1)
            c.summed |= KR_ON(d);
    }
    if (z->n[c.inner] == 1)
        c.n[c.inner] = c.summed & KR_ON(c.inner) ? c.n[c.inner] : 1;
    /* An axis of length 1 in z that carries the inner role is walked once. */
    struct contract scalar = c;
    if (z->n[c.inner] == 1 && (c.summed & KR_ON(c.inner))) {
        for (int d = 0; d < KR_AXES; d++)
            if (c.n[d] == 1)
                scalar.inner = d;
        kr_assert(scalar.n[scalar.inner] == 1);
    }
    if (work < 1 << 14)
        for (long i = 0; i < outer; i++)
            one(&scalar, i);
    else if (kr_for(outer, one, &scalar))
        kr_assert(0 && "a contraction cannot be refused");
}
