/* lay_cg.c: data consistency by conjugate gradients, and how far an image is from the data. A = M F S, unitary transforms with their origin in
 * the middle; what was measured enters as b = A^H y. Where the mask does not vary along x, rows of any part of the image along x may be
 * taken by themselves: A^H A does not mix them. Source: Aggarwal et al., IEEE Trans Med Imaging 38:394 (2019). */
#include "lay.h"
#include "kray/linop.h"
#include <math.h>
#include <string.h>

/* ---- N = A^H A ---- */
struct normal { kr_linop *op; kr_array from, to; const kr_cfloat *sens; const float *mask; kr_fft *fft; kr_cfloat *plane; long coils, n; };
struct state { kr_fft *fft; };

static int open(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use)
{
    (void)x;
    struct state *s = *state = kr_alloc_zero(1, sizeof *s);
    if (use & KR_CORNER)
        return kr_fail(KR_EREFUSED, "the layer %s has the origin of its transforms in the middle, not in a corner", l->op->name);
    return s && (s->fft = kr_fft_new(KR_SHAPE([KR_X] = y->x, [KR_Y] = y->y), KR_ON(KR_X) | KR_ON(KR_Y), KR_CENTRED | KR_SERIAL)) ? 0 : kr_error_code();
}

static void close(void *state)
{
    struct state *s = state;
    kr_fft_unref(&s->fft);
    kr_free(s);
}

/* The operator in blocks that stay in the cache. A run has to end: where there is no memory for it, coils are taken one by one, and the error stays for who asks. */
static void normal_open(struct normal *N, const kr_call *c, const kr_value *sens, const kr_value *mask, kr_cfloat *plane)
{
    const kr_extent *e = &sens->n;
    *N = (struct normal){ .sens = sens->data, .mask = mask->data, .fft = ((const struct state *)c->state)->fft, .plane = plane, .coils = e->chan, .n = e->y * e->x };
    bool across = false, along = false;                      /* does the mask vary along x, along y? */
    for (long i = 0; i < N->n; i++) {
        across |= N->mask[i] != N->mask[i - i % e->x];
        along |= N->mask[i] != N->mask[i % e->x];
    }
    kr_scoped(array) S = kr_array_new(KR_C32, KR_SHAPE([KR_X] = e->x, [KR_Y] = e->y, [KR_COIL] = e->chan));
    kr_scoped(array) M = kr_array_new(KR_R32, KR_SHAPE([KR_X] = across ? e->x : 1, [KR_Y] = along ? e->y : 1));
    kr_scoped(array) like = kr_array_new(KR_C32, KR_SHAPE([KR_X] = e->x, [KR_Y] = e->y));
    if (S && M && like) {
        memcpy(S->data, sens->data, (size_t)(N->n * e->chan) * sizeof(kr_cfloat));
        for (long y = 0; y < M->n[KR_Y]; y++)
            for (long x = 0; x < M->n[KR_X]; x++)
                KR_R(M)[y * M->n[KR_X] + x] = N->mask[y * e->x + x] != 0;
        N->op = kr_op_sense_normal(S, M, KR_ON(KR_X) | KR_ON(KR_Y), (kr_shape){ { 0 } });
        N->from = N->to = *like;
        N->from.store = N->to.store = NULL;
    }
}

static void normal_close(struct normal *N) { kr_linop_unref(&N->op); }

/* z = N x */
static void normal(struct normal *N, kr_cfloat *z, const kr_cfloat *x)
{
    if (N->op) {
        N->from.data = (void *)(uintptr_t)x;
        N->to.data = z;
        kr_apply(N->op, &N->to, &N->from);
        return;
    }
    memset(z, 0, (size_t)N->n * sizeof *z);
    for (long k = 0; k < N->coils; k++) {
        const kr_cfloat *s = N->sens + k * N->n;
        for (long i = 0; i < N->n; i++)
            N->plane[i] = kr_cmul(s[i], x[i]);
        kr_fft_forward(N->fft, N->plane);
        for (long i = 0; i < N->n; i++)
            N->plane[i] = N->mask[i] != 0 ? N->plane[i] : kr_c(0, 0);
        kr_fft_inverse(N->fft, N->plane);
        for (long i = 0; i < N->n; i++)
            z[i] += kr_cmulc(s[i], N->plane[i]);
    }
}

static double dot(const kr_cfloat *a, const kr_cfloat *b, long n)
{
    double sum[4] = { 0 };
    for (long i = 0; i < n; i++)
        sum[i & 3] += (double)kr_re(kr_cmulc(a[i], b[i]));
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* ---- (N + w) x = b + w z ---- */
enum { B, Z, SENS, MASK, NOISE, INS };
enum { DIGITS, LOGARITHMIC };
enum { MOST = 200 };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[Z], KR_IMAGE, 1);
    if (extent_is(l, x + B, KR_IMAGE, 0) || extent_is(l, x + Z, KR_IMAGE, 0) || extent_is(l, x + SENS, KR_COILS, 0) || extent_is(l, x + MASK, KR_REAL, 0))
        return kr_error_code();
    return l->ins > NOISE && extent_is(l, x + NOISE, KR_REAL, 0) ? kr_error_code() : extent_flat(l, x, l->ins);
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    double *v = l->packed = kr_alloc_zero(2, sizeof *v);
    for (long i = 0; v && i < kr_tensor_count(w[0]) && i < 2; i++)
        v[i] = (double)w[0]->data[i];
    return v ? 0 : kr_error_code();
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = 1u << Z | 1u << SENS | 1u << MASK | (l->ins > NOISE ? 1u << NOISE : 0);
    *y = 1;
}

struct rooms { kr_cfloat *r, *p, *q, *plane; float *w; };
static size_t rooms_of(struct rooms *m, void *base, long n)
{
    lay_room room = { base, 0 };
    m->r = room_for(&room, (size_t)n * sizeof *m->r);
    m->p = room_for(&room, (size_t)n * sizeof *m->p);
    m->q = room_for(&room, (size_t)n * sizeof *m->q);
    m->plane = room_for(&room, (size_t)n * sizeof *m->plane);
    m->w = room_for(&room, (size_t)n * sizeof *m->w);
    return room.used;
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)l, (void)state, (void)x, (void)backward;
    struct rooms m;
    return rooms_of(&m, NULL, extent_pixels(y)) + (backward ? ((size_t)extent_pixels(y) * sizeof(kr_cfloat) + 63) / 64 * 64 : 0);
}

/* Maps twice, once in blocks that are padded; images in blocks, and the transform of one coil for each thread. */
static size_t besides(const kr_extent *x)
{
    size_t plane = (size_t)(extent_pixels(&x[SENS]) + 16 * (x[SENS].y + x[SENS].x)) * sizeof(kr_cfloat);
    return plane * (size_t)(2 * x[SENS].chan + 4 + 4 * kr_threads());
}

static void weights(float *w, const kr_call *c, long n)
{
    const double *a = c->l->packed;
    const float *noise = c->l->ins > NOISE ? LAY_R(c->x[NOISE]) : NULL;
    float before = 0, same = 0;
    for (long i = 0; i < n; i++) {
        if (i && (!noise || noise[i] == before)) {
            w[i] = same;
            continue;
        }
        before = noise ? noise[i] : 0;
        w[i] = same = (float)(!c->l->arg[LOGARITHMIC] ? a[0] : exp(a[0] + (noise ? a[1] * log((double)noise[i]) : 0)));
    }
}

/* x += (N + w)^-1 r until |r| is below `stop`; r, p, q are used up. */
static void solve(struct normal *N, const struct rooms *m, kr_cfloat *x, double stop, long n)
{
    double rr = dot(m->r, m->r, n);
    memcpy(m->p, m->r, (size_t)n * sizeof *m->p);
    for (int k = 0; k < MOST && rr > stop * stop; k++) {
        normal(N, m->q, m->p);
        for (long i = 0; i < n; i++)
            m->q[i] += m->w[i] * m->p[i];
        double pq = dot(m->p, m->q, n);
        if (!(pq > 0))
            break;
        float a = (float)(rr / pq);
        for (long i = 0; i < n; i++) {
            x[i] += a * m->p[i];
            m->r[i] -= a * m->q[i];
        }
        double next = dot(m->r, m->r, n);
        float b = (float)(next / rr);
        for (long i = 0; i < n; i++)
            m->p[i] = m->r[i] + b * m->p[i];
        rr = next;
    }
}

static void forward(const kr_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    struct rooms m;
    struct normal N;
    rooms_of(&m, c->scratch, n);
    weights(m.w, c, n);
    normal_open(&N, c, c->x[SENS], c->x[MASK], m.plane);
    const kr_cfloat *b = c->x[B]->data, *z = c->x[Z]->data;
    kr_cfloat *x = c->y[0]->data;
    normal(&N, m.q, z);                                      /* from x = z: the residual is b - N z */
    for (long i = 0; i < n; i++) {
        m.p[i] = b[i] + m.w[i] * z[i];
        m.r[i] = b[i] - m.q[i];
    }
    double stop = pow(10, -(double)c->l->arg[DIGITS]) * sqrt(dot(m.p, m.p, n));
    memcpy(x, z, (size_t)n * sizeof *x);
    solve(&N, &m, x, stop, n);
    normal_close(&N);
}

/* With d = (N + w)^-1 dy: db = d, dz = w d, dw = Re conj(d) (z - x). */
static void backward(const kr_call *c)
{
    long n = extent_pixels(&c->dy[0]->n);
    struct rooms m;
    struct normal N;
    size_t used = rooms_of(&m, c->scratch, n);
    kr_cfloat *d = (kr_cfloat *)((char *)c->scratch + used);
    weights(m.w, c, n);
    memset(d, 0, (size_t)n * sizeof *d);
    memcpy(m.r, c->dy[0]->data, (size_t)n * sizeof *m.r);
    normal_open(&N, c, c->x[SENS], c->x[MASK], m.plane);
    solve(&N, &m, d, pow(10, -(double)c->l->arg[DIGITS]) * sqrt(dot(m.r, m.r, n)), n);
    normal_close(&N);
    for (long i = 0; i < n; i++) {
        if (c->dx[B])
            LAY_C(c->dx[B])[i] += d[i];
        if (c->dx[Z])
            LAY_C(c->dx[Z])[i] += m.w[i] * d[i];
    }
    if (!c->dw[0])
        return;
    double sum[2] = { 0 };
    const kr_cfloat *z = c->x[Z]->data, *x = c->y[0]->data;
    for (long i = 0; i < n; i++) {
        double dw = (double)kr_re(kr_cmulc(d[i], z[i] - x[i])) * (c->l->arg[LOGARITHMIC] ? (double)m.w[i] : 1);
        sum[0] += dw;
        sum[1] += c->l->ins > NOISE ? dw * log((double)LAY_R(c->x[NOISE])[i]) : 0;
    }
    for (long k = 0; k < kr_tensor_count(c->dw[0]) && k < 2; k++)
        c->dw[0]->data[k] += (float)sum[k];
}

/* ---- In double, by a direct transform ---- */
/* z = N x; plane: room for one. */
static int plain_normal(double *z, const double *x, const kr_plain *sens, const kr_plain *mask, double *plane)
{
    long n = extent_pixels(&sens->n);
    int e = 0;
    memset(z, 0, (size_t)(2 * n) * sizeof *z);
    for (long k = 0; k < sens->n.chan && !e; k++) {
        const double *s = sens->v + 2 * k * n;
        for (long i = 0; i < 2 * n; i++)
            plane[i] = s[i / 2 * 2] * x[i] + (i % 2 ? s[i] * x[i - 1] : -s[i + 1] * x[i + 1]);
        e = plain_fourier(plane, sens->n.y, sens->n.x, 1, false, false);
        for (long i = 0; i < 2 * n; i++)
            plane[i] *= mask->v[i / 2] != 0;
        e = e ? e : plain_fourier(plane, sens->n.y, sens->n.x, 1, true, false);
        for (long i = 0; i < 2 * n; i++)
            z[i] += s[i / 2 * 2] * plane[i] + (i % 2 ? -s[i] * plane[i - 1] : s[i + 1] * plane[i + 1]);
    }
    return e;
}

static double plain_weight(const kr_plain_call *c, long i)
{
    return !c->l->arg[LOGARITHMIC] ? c->w[0][0] : exp(c->w[0][0] + (c->l->ins > NOISE ? c->w[0][1] * log(c->x[NOISE]->v[i]) : 0));
}

/* x += (N + w)^-1 r, to the last digits; r and three images behind it are used up. */
static int plain_solve(const kr_plain_call *c, double *x, double *r)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    double *p = r + n, *q = p + n, *plane = q + n, rr = 0;
    int e = 0;
    for (long i = 0; i < n; i++)
        rr += r[i] * r[i];
    memcpy(p, r, (size_t)n * sizeof *p);
    double first = rr;
    for (int k = 0; k < 500 && rr > 1e-28 * first && !e; k++) {
        double pq = 0, next = 0;
        e = plain_normal(q, p, c->x[SENS], c->x[MASK], plane);
        for (long i = 0; i < n; i++) {
            q[i] += plain_weight(c, i / 2) * p[i];
            pq += p[i] * q[i];
        }
        for (long i = 0; i < n; i++) {
            x[i] += rr / pq * p[i];
            r[i] -= rr / pq * q[i];
            next += r[i] * r[i];
        }
        for (long i = 0; i < n; i++)
            p[i] = r[i] + next / rr * p[i];
        rr = next;
    }
    return e;
}

static void plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    kr_auto double *room = kr_alloc_zero((size_t)(4 * n), sizeof *room);
    const double *z = c->x[Z]->v;
    if (!room || plain_normal(room + n, z, c->x[SENS], c->x[MASK], room + 3 * n))
        return;
    for (long i = 0; i < n; i++)
        room[i] = c->x[B]->v[i] - room[n + i];
    memcpy(c->y[0]->v, z, (size_t)n * sizeof *z);
    if (plain_solve(c, c->y[0]->v, room))
        return;
}

static void plain_back(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    kr_auto double *room = kr_alloc_zero((size_t)(5 * n), sizeof *room);
    if (!room)
        return;
    double *d = room + 4 * n;
    memcpy(room, c->dy[0], (size_t)n * sizeof *room);
    if (plain_solve(c, d, room))
        return;
    for (long i = 0; i < n; i++) {
        double w = plain_weight(c, i / 2), dw = d[i] * (c->x[Z]->v[i] - c->y[0]->v[i]) * (c->l->arg[LOGARITHMIC] ? w : 1);
        if (c->dx[B])
            c->dx[B][i] += d[i];
        if (c->dx[Z])
            c->dx[Z][i] += w * d[i];
        if (c->dw[0])
            c->dw[0][0] += dw;
        if (c->dw[0] && c->l->ins > NOISE)
            c->dw[0][1] += dw * log(c->x[NOISE]->v[i / 2]);
    }
}

static const kr_layer_ops ops = { .name = "data consistency by conjugate gradients", .shape = shape, .pack = pack, .unpack = lay_unpack, .keeps = keeps, .open = open,
                                  .close = close, .scratch = scratch, .besides = besides, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .on = -1,
                                  .fixed = 1u << SENS | 1u << MASK | 1u << NOISE };

kr_node lay_cg(kr_graph *g, kr_node b, kr_node z, kr_node sens, kr_node mask, const kr_node *noise, const kr_tensor *w, long digits)
{
    kr_node x[INS] = { b, z, sens, mask, noise ? *noise : (kr_node){ -1 } };
    if (!w || kr_tensor_count(w) != (noise ? 2 : 1)) {
        if (w)
            kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers; %d are wanted there", w->name, kr_tensor_count(w), noise ? 2 : 1);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &ops, x, noise ? INS : NOISE, &w, 1, (long[]){ digits, noise != NULL }, 2, NULL);
}

/* ---- N x - b ---- */
static int misfit_shape(kr_extent *y, const kr_extent *x, const kr_layer *l) { return shape(y, x, l); }

static void misfit_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1u << SENS | 1u << MASK;
    *y = 0;
}

static size_t misfit_scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)l, (void)state, (void)x, (void)backward;
    return 2 * ((size_t)extent_pixels(y) * sizeof(kr_cfloat) + 63) / 64 * 64 + 64;
}

static void misfit_forward(const kr_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    struct normal N;
    normal_open(&N, c, c->x[SENS], c->x[MASK], c->scratch);
    normal(&N, LAY_C(c->y[0]), LAY_C(c->x[Z]));
    normal_close(&N);
    for (long i = 0; i < n; i++)
        LAY_C(c->y[0])[i] -= LAY_C(c->x[B])[i];
}

static void misfit_backward(const kr_call *c)
{
    long n = extent_pixels(&c->dy[0]->n);
    lay_room room = { c->scratch, 0 };
    kr_cfloat *plane = room_for(&room, (size_t)n * sizeof *plane), *d = room_for(&room, (size_t)n * sizeof *d);
    struct normal N;
    if (c->dx[Z]) {
        normal_open(&N, c, c->x[SENS], c->x[MASK], plane);
        normal(&N, d, LAY_C(c->dy[0]));
        normal_close(&N);
        for (long i = 0; i < n; i++)
            LAY_C(c->dx[Z])[i] += d[i];
    }
    for (long i = 0; c->dx[B] && i < n; i++)
        LAY_C(c->dx[B])[i] -= LAY_C(c->dy[0])[i];
}

static void misfit_plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    kr_auto double *room = kr_alloc_zero((size_t)(2 * n), sizeof *room);
    if (!room || plain_normal(room, c->dy[0] ? c->dy[0] : c->x[Z]->v, c->x[SENS], c->x[MASK], room + n))
        return;
    for (long i = 0; i < n; i++) {
        double *to = c->dy[0] ? c->dx[Z] : c->y[0]->v;       /* N is its own adjoint */
        if (to)
            to[i] += room[i];
        plain_link(c, i, B, i, -1);
    }
}

static const kr_layer_ops misfit = { .name = "distance from the data", .shape = misfit_shape, .keeps = misfit_keeps, .open = open, .close = close, .scratch = misfit_scratch,
                                     .besides = besides, .forward = misfit_forward, .backward = misfit_backward, .plain = misfit_plain,
                                     .plain_back = misfit_plain, .on = -1, .fixed = 1u << SENS | 1u << MASK };

kr_node lay_misfit(kr_graph *g, kr_node b, kr_node x, kr_node sens, kr_node mask)
{
    return graph_add(g, NULL, &misfit, (kr_node[]){ b, x, sens, mask }, NOISE, NULL, 0, NULL, 0, NULL);
}
