/* coil_kern.c: the hot loops of coil calibration, written with the vectors of gcc and clang: the compiler makes of 16
 * lanes one AVX-512 register, two of AVX2 or four of SSE. Built for x86-64, x86-64-v3 and v4. */
#include "coil_kern.h"
#include <math.h>
#include <string.h>

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_coil_kern_, level)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int ivec __attribute__((vector_size(4 * LANES)));
typedef float half __attribute__((vector_size(32)));
typedef union lanes { vec v; ivec i; float f[LANES]; } lanes;

/* ---- Windowed correlation of two lines ---- */
enum { ROWS = 4, WIDE = 8 };

/* s[k] += a[c0+k] conj(b[v0..v0+7]) for the four coils k of one place x. */
static inline void outer(half *re, half *im, const float *a, const float *b, long room)
{
    half yr = *(const half *)b, yi = *(const half *)(b + room);
    for (int k = 0; k < ROWS; k++) {
        re[k] += a[k] * yr + a[room + k] * yi;
        im[k] += a[room + k] * yr - a[k] * yi;
    }
}

static inline void put(float *s, const half *re, const half *im, long room, bool add)
{
    for (int k = 0; k < ROWS; k++) {
        half *r = (half *)(s + 2 * k * room), *i = (half *)(s + 2 * k * room + room);
        *r = add ? *r + re[k] : re[k];
        *i = add ? *i + im[k] : im[k];
    }
}

/* The places common to all windows are summed once; those at the left are added from the right, those at the right from
 * the left, one more for each window: every product is made once. */
static void line(float *sum, const float *a, const float *b, long coils, long room, long n, long windows)
{
    long step = 2 * room, size = (coils + ROWS - 1) / ROWS * ROWS * step, w = windows;
    for (long c = 0; c < coils; c += ROWS)
        for (long v = 0; v < coils; v += WIDE) {
            const float *ac = a + c, *bv = b + v;
            float *s = sum + c * step + v;
            half re[ROWS] = { 0 }, im[ROWS] = { 0 };
            if (n < w - 1) {
                for (long t = 0; t < w; t++) {
                    memset(re, 0, sizeof re);
                    memset(im, 0, sizeof im);
                    for (long x = t; x < t + n; x++)
                        outer(re, im, ac + x * step, bv + x * step, room);
                    put(s + t * size, re, im, room, false);
                }
                continue;
            }
            for (long x = w - 1; x < n; x++)
                outer(re, im, ac + x * step, bv + x * step, room);
            put(s + (w - 1) * size, re, im, room, false);
            for (long t = w - 2; t >= 0; t--) {
                outer(re, im, ac + t * step, bv + t * step, room);
                put(s + t * size, re, im, room, false);
            }
            memset(re, 0, sizeof re);
            memset(im, 0, sizeof im);
            for (long t = 1; t < w; t++) {
                outer(re, im, ac + (t + n - 1) * step, bv + (t + n - 1) * step, room);
                put(s + t * size, re, im, room, true);
            }
        }
}

/* ---- Fourier series along a line ---- */
static inline __attribute__((always_inline)) void series(vec *restrict g, const float *restrict k, const vec *restrict wave,
                                                         long coils, long reach)
{
    for (long c = 0; c < coils; c++)
        for (long b = c; b < coils; b++, g += 2, k += 2 + 4 * reach) {
            vec re = (vec){ 0 } + k[0], im = (vec){ 0 } + k[1];
            for (long d = 0; d < reach; d++) {
                const float *q = k + 2 + 4 * d;         /* Re A, Im A, Re B, Im B */
                re += q[0] * wave[2 * d] - q[3] * wave[2 * d + 1];
                im += q[1] * wave[2 * d] + q[2] * wave[2 * d + 1];
            }
            g[0] = re;
            g[1] = im;
        }
}

static void spread(float *G, const float *coef, const float *wave, long coils, long reach)
{
    if (reach == 5)                       /* kernels of width 6: the waves stay in registers */
        series((vec *)G, coef, (const vec *)wave, coils, 5);
    else
        series((vec *)G, coef, (const vec *)wave, coils, reach);
}

/* ---- Eigenvectors ----
 * The Rayleigh quotient is raised by conjugate gradients: directions p are conjugate with respect to G - rho, along each
 * the best point is the larger eigenvector of a 2 x 2 problem. Further vectors are sought orthogonally to those found.
 * Source: Longsine and McCormick, Computing 25:165 (1980); the step as in Yang et al., IEEE Trans ASSP 37:1375 (1989). */

/* y = G x, G Hermitian, upper triangle; rows in pairs, so that each entry is loaded once and used four times. */
static void matvec(vec *restrict y, const vec *restrict g, const vec *restrict x, long n)
{
    memset(y, 0, (size_t)(2 * n) * sizeof *y);
    long c = 0;
    for (; c + 1 < n; c += 2) {
        const vec *a = g, *b = g + 2 * (n - c);
        g = b + 2 * (n - c - 1);
        vec x0r = x[2 * c], x0i = x[2 * c + 1], x1r = x[2 * c + 2], x1i = x[2 * c + 3];
        vec y0r = y[2 * c] + a[0] * x0r + a[2] * x1r - a[3] * x1i, y0i = y[2 * c + 1] + a[0] * x0i + a[2] * x1i + a[3] * x1r;
        vec y1r = y[2 * c + 2] + b[0] * x1r + a[2] * x0r + a[3] * x0i, y1i = y[2 * c + 3] + b[0] * x1i + a[2] * x0i - a[3] * x0r;
        a += 4;
        b += 2;
        for (long d = c + 2; d < n; d++, a += 2, b += 2) {
            vec ar = a[0], ai = a[1], br = b[0], bi = b[1], xr = x[2 * d], xi = x[2 * d + 1];
            y0r += ar * xr - ai * xi;
            y0i += ar * xi + ai * xr;
            y1r += br * xr - bi * xi;
            y1i += br * xi + bi * xr;
            y[2 * d] += ar * x0r + ai * x0i + br * x1r + bi * x1i;
            y[2 * d + 1] += ar * x0i - ai * x0r + br * x1i - bi * x1r;
        }
        y[2 * c] = y0r;
        y[2 * c + 1] = y0i;
        y[2 * c + 2] = y1r;
        y[2 * c + 3] = y1i;
    }
    if (c < n) {
        y[2 * c] += g[0] * x[2 * c];
        y[2 * c + 1] += g[0] * x[2 * c + 1];
    }
}

/* s = sum conj(a) b */
static inline void dot(lanes s[2], const vec *a, const vec *b, long n)
{
    vec re = { 0 }, im = { 0 };
    for (long c = 0; c < n; c++) {
        re += a[2 * c] * b[2 * c] + a[2 * c + 1] * b[2 * c + 1];
        im += a[2 * c] * b[2 * c + 1] - a[2 * c + 1] * b[2 * c];
    }
    s[0].v = re;
    s[1].v = im;
}

static inline void root(lanes *a)
{
    for (int l = 0; l < LANES; l++)
        a->f[l] = sqrtf(a->f[l]);
}

/* r = r - sum of v <v, r> over the first `count` vectors */
static void deflate(vec *r, const vec *v, long count, long n)
{
    for (long j = 0; j < count; j++, v += 2 * n) {
        lanes s[2];
        dot(s, v, r, n);
        for (long c = 0; c < n; c++) {
            r[2 * c] -= v[2 * c] * s[0].v - v[2 * c + 1] * s[1].v;
            r[2 * c + 1] -= v[2 * c] * s[1].v + v[2 * c + 1] * s[0].v;
        }
    }
}

static const float tiny = 1e-30f;

static void normalise(vec *x, vec *gx, long n)
{
    lanes s[2];
    dot(s, x, x, n);
    s[0].v += tiny;
    root(&s[0]);
    for (long c = 0; c < 2 * n; c++) {
        x[c] /= s[0].v;
        if (gx)
            gx[c] /= s[0].v;
    }
}

/* The larger eigenvector (cos, sin e^-i phase b) of [a b; conj b d]: t = sin e^-i phase(b) (conj: e^{-i} = conj(b)/|b|).
 * Of sin and cos the larger is found from a sum of positive terms, the smaller from it: nothing cancels. */
static inline void rotation(lanes *cosine, lanes t[2], const lanes *a, const lanes b[2], const lanes *d)
{
    lanes delta, bb, s, big, small;
    delta.v = 0.5f * (a->v - d->v);
    bb.v = b[0].v * b[0].v + b[1].v * b[1].v + tiny;
    s.v = delta.v * delta.v + bb.v;
    root(&s);
    root(&bb);
    ivec up = delta.v >= 0;
    lanes h;
    h.v = delta.v;
    h.i &= 0x7fffffff;
    h.v += s.v;
    big.v = h.v / (2 * s.v);
    root(&big);
    small.v = bb.v / (2 * s.v * big.v);
    cosine->i = (up & (ivec)big.v) | (~up & (ivec)small.v);
    lanes sine;
    sine.i = (up & (ivec)small.v) | (~up & (ivec)big.v);
    t[0].v = sine.v * b[0].v / bb.v;
    t[1].v = -sine.v * b[1].v / bb.v;
}

/* x = cos x + t p, where t is complex */
static inline void step(vec *x, const vec *p, const lanes *cosine, const lanes t[2], long n)
{
    vec k = cosine->v, tr = t[0].v, ti = t[1].v;
    for (long c = 0; c < n; c++) {
        x[2 * c] = k * x[2 * c] + tr * p[2 * c] - ti * p[2 * c + 1];
        x[2 * c + 1] = k * x[2 * c + 1] + tr * p[2 * c + 1] + ti * p[2 * c];
    }
}

/* Converged, or certainly below e->skip: with a residual so much smaller than the distance, what x still holds of an
 * eigenvector beyond it is less than a start in no particular direction gives. */
static bool settled(const kr_eigen *e, const lanes *rho, const lanes *rr)
{
    int open = 0;
    for (int l = 0; l < LANES; l++) {
        float limit = e->tolerance * rho->f[l], gap = 0.02f * (e->skip - rho->f[l]);
        open += rr->f[l] > limit * limit && !(gap > 0 && rr->f[l] < gap * gap);
    }
    return !open;
}

/* One eigenvector x with gx = G x, orthogonal to the first j. */
static void climb(const kr_eigen *e, vec *x, vec *gx, vec *work, long j, lanes *rho)
{
    long n = e->coils;
    const vec *v = (const vec *)e->v, *G = (const vec *)e->G;
    vec *p = work, *gp = p + 2 * n, *r = gp + 2 * n;
    lanes s[2], rr, b[2], d, pp, cosine, t[2];
    for (long c = 0; c < n; c++) {
        x[2 * c] = (vec){ 0 } + kr_re(e->start[j * n + c]);
        x[2 * c + 1] = (vec){ 0 } + kr_im(e->start[j * n + c]);
    }
    for (int twice = 0; twice < 2; twice++) {           /* the second time takes away what rounding left */
        deflate(x, v, j, n);
        normalise(x, NULL, n);
    }
    matvec(gx, G, x, n);
    dot(s, x, gx, n);
    *rho = s[0];
    memset(p, 0, (size_t)(4 * n) * sizeof *p);
    for (long k = 0; k < e->most; k++) {
        for (long c = 0; c < 2 * n; c++)
            r[c] = gx[c] - rho->v * x[c];                /* r = G x - rho x                    */
        deflate(r, v, j, n);
        vec sum = { 0 }, qr = { 0 }, qi = { 0 }, pq = { 0 }, xr = { 0 }, xi = { 0 };
        for (long c = 0; c < n; c++) {                   /* q = (G - rho) p: <q,r>, <p,q>, <x,p> */
            vec q0 = gp[2 * c] - rho->v * p[2 * c], q1 = gp[2 * c + 1] - rho->v * p[2 * c + 1];
            vec r0 = r[2 * c], r1 = r[2 * c + 1], p0 = p[2 * c], p1 = p[2 * c + 1], x0 = x[2 * c], x1 = x[2 * c + 1];
            sum += r0 * r0 + r1 * r1;
            qr += q0 * r0 + q1 * r1;
            qi += q0 * r1 - q1 * r0;
            pq += p0 * q0 + p1 * q1;
            xr += x0 * p0 + x1 * p1;
            xi += x0 * p1 - x1 * p0;
        }
        rr.v = sum;
        if (settled(e, rho, &rr))
            break;
        ivec flat = pq * pq < tiny;                      /* no direction yet, or one along which nothing changes */
        lanes f, br, bi;
        f.v = pq;
        f.i = (f.i & ~flat) | (flat & (ivec)((vec){ 0 } + 1.f));
        br.v = -qr / f.v;
        bi.v = -qi / f.v;
        br.i &= ~flat;
        bi.i &= ~flat;
        vec ur = br.v * xr - bi.v * xi, ui = br.v * xi + bi.v * xr;
        for (long c = 0; c < n; c++) {                   /* p = r + beta p - x <x, beta p>     */
            vec p0 = p[2 * c], p1 = p[2 * c + 1], x0 = x[2 * c], x1 = x[2 * c + 1];
            p[2 * c] = r[2 * c] + br.v * p0 - bi.v * p1 - ur * x0 + ui * x1;
            p[2 * c + 1] = r[2 * c + 1] + br.v * p1 + bi.v * p0 - ur * x1 - ui * x0;
        }
        matvec(gp, G, p, n);
        dot(s, p, p, n);
        pp.v = s[0].v + tiny;
        dot(b, r, p, n);                                 /* <x, G p> = <r, p>: small, so better than from x and G p */
        dot(s, p, gp, n);
        d.v = s[0].v / pp.v;
        root(&pp);
        b[0].v /= pp.v;
        b[1].v /= pp.v;
        rotation(&cosine, t, rho, b, &d);
        t[0].v /= pp.v;
        t[1].v /= pp.v;
        step(x, p, &cosine, t, n);
        step(gx, gp, &cosine, t, n);
        dot(s, x, gx, n);
        dot(b, x, x, n);
        rho->v = s[0].v / b[0].v;
    }
    normalise(x, gx, n);
}

/* Vectors of close eigenvalues may still be mixtures of each other: two sweeps of Jacobi rotations among them, which
 * also bring the larger to the front. */
static void settle(const kr_eigen *e, vec *g, lanes *rho)
{
    long n = e->coils;
    vec *v = (vec *)e->v;
    for (int sweep = 0; sweep < (e->maps > 2 ? 3 : 1); sweep++)
        for (long i = 0; i < e->maps; i++)
            for (long j = i + 1; j < e->maps; j++) {
                vec *x = v + i * 2 * n, *y = v + j * 2 * n, *gx = g + i * 2 * n, *gy = g + j * 2 * n;
                lanes b[2], k, t[2], s[2], old[2];
                dot(b, x, gy, n);
                rotation(&k, t, &rho[i], b, &rho[j]);
                /* [x y] <- [cos x + t y, cos y - conj(t) x] */
                lanes u[2];
                u[0].v = -t[0].v;
                u[1].v = t[1].v;
                for (int both = 0; both < 2; both++) {
                    vec *p = both ? gx : x, *q = both ? gy : y;
                    for (long c = 0; c < n; c++) {
                        old[0].v = p[2 * c];
                        old[1].v = p[2 * c + 1];
                        step(p + 2 * c, q + 2 * c, &k, t, 1);
                        step(q + 2 * c, &old[0].v, &k, u, 1);
                    }
                }
                dot(s, x, gx, n);
                rho[i].v = s[0].v;
                dot(s, y, gy, n);
                rho[j].v = s[0].v;
            }
}

static void eigen(const kr_eigen *e)
{
    long n = e->coils;
    vec *v = (vec *)e->v, *g = (vec *)e->work, *more = g + e->maps * 2 * n;
    lanes *rho = (lanes *)e->lambda;
    for (long j = 0; j < e->maps; j++)
        climb(e, v + j * 2 * n, g + j * 2 * n, more, j, &rho[j]);
    if (e->maps > 1)
        settle(e, g, rho);
}

/* ---- Phase, weight and order in memory ---- */
static void finish(const kr_finish *f)
{
    long n = f->coils;
    for (long m = 0; m < f->maps; m++) {
        const vec *v = (const vec *)f->v + m * 2 * n;
        vec re = { 0 }, im = { 0 };
        for (long c = 0; c < n; c++) {                   /* s = u^H v */
            float a = kr_re(f->u[c]), b = kr_im(f->u[c]);
            re += a * v[2 * c] + b * v[2 * c + 1];
            im += a * v[2 * c + 1] - b * v[2 * c];
        }
        lanes size, wr, wi;
        size.v = re * re + im * im + tiny;
        root(&size);
        vec w = *((const vec *)f->weight + m);
        wr.v = w * re / size.v;
        wi.v = -w * im / size.v;
        for (long c = 0; c < n; c++) {
            lanes a, b;
            a.v = v[2 * c] * wr.v - v[2 * c + 1] * wi.v;
            b.v = v[2 * c] * wi.v + v[2 * c + 1] * wr.v;
            float *out = (float *)(f->out + c * f->coil_step + m * f->map_step), both[2 * LANES];
            for (int l = 0; l < LANES; l++) {
                both[2 * l] = a.f[l];
                both[2 * l + 1] = b.f[l];
            }
            memcpy(out, both, (size_t)f->count * 2 * sizeof *out);
        }
    }
}

const kr_coil_kern NAME(KR_LEVEL) = { line, spread, eigen, finish };
