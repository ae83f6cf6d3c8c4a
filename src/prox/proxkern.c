/* proxkern.c: the loops of the proximal maps; plain C and the compilers' vector types, built for x86-64, x86-64-v3 (AVX2) and v4
 * (AVX-512). */
#include "proxkern.h"
#include "vector.h"
#include <math.h>
#include <string.h>

typedef struct { vf r, i; } vc;
INLINE vc load(const float *p) { return (vc){ get(p), get(p + KR_LANES) }; }
INLINE void store(float *p, vc a)
{
    put(p, a.r);
    put(p + KR_LANES, a.i);
}
INLINE vf pick(vi which, vf a, vf b) { return (vf)((which & (vi)a) | (~which & (vi)b)); }
INLINE vf root(vf a)
{
    vf s;
    for (int l = 0; l < VL; l++)
        s[l] = sqrtf(a[l]);
    return s;
}

/* ---- Shrinkage. Widths are known to the compiler where these are made. ---- */
enum { RUN = 256 };
INLINE void squares(float *restrict s, const float *restrict v, long n, long parts, long apart, int width)
{
    for (long i = 0; i < n; i++)
        s[i] = width > 1 ? v[2 * i] * v[2 * i] + v[2 * i + 1] * v[2 * i + 1] : v[i] * v[i];
    for (long p = 1; p < parts; p++) {
        const float *restrict u = v + width * p * apart;
        for (long i = 0; i < n; i++)
            s[i] += width > 1 ? u[2 * i] * u[2 * i] + u[2 * i + 1] * u[2 * i + 1] : u[i] * u[i];
    }
}

INLINE void soft_of(float *z, const float *v, float t, long n, long parts, long apart, int width, bool inside)
{
    float f[RUN];
    for (long from = 0; from < n; from += RUN) {
        long run = n - from < RUN ? n - from : RUN;
        squares(f, v + width * from, run, parts, apart, width);
        for (long i = 0; i < run; i++)
            f[i] = f[i] > t * t ? inside ? t / sqrtf(f[i]) : 1 - t / sqrtf(f[i]) : inside;
        for (long p = 0; p < parts; p++) {
            float *to = z + width * (from + p * apart);
            const float *u = v + width * (from + p * apart);
            for (long i = 0; i < run; i++)
                for (int c = 0; c < width; c++)
                    to[width * i + c] = f[i] * u[width * i + c];
        }
    }
}

static void soft(float *z, const float *v, float t, long n, long parts, long apart, int width)
{
    if (width == 1)
        soft_of(z, v, t, n, parts, apart, 1, false);
    else
        soft_of(z, v, t, n, parts, apart, 2, false);
}

static void inside(float *z, float t, long n, long parts, long apart, int width)
{
    if (width == 1)
        soft_of(z, z, t, n, parts, apart, 1, true);
    else
        soft_of(z, z, t, n, parts, apart, 2, true);
}

INLINE double norms_of(const float *v, long n, long parts, long apart, int width)
{
    float f[RUN];
    double sum = 0;
    for (long from = 0; from < n; from += RUN) {
        long run = n - from < RUN ? n - from : RUN;
        squares(f, v + width * from, run, parts, apart, width);
        for (long i = 0; i < run; i++)
            sum += sqrt((double)f[i]);
    }
    return sum;
}

static double norms(const float *v, long n, long parts, long apart, int width)
{
    return width == 1 ? norms_of(v, n, parts, apart, 1) : norms_of(v, n, parts, apart, 2);
}

/* ---- Total variation ---- */
static void diverge(float *restrict u, float w, const float *restrict q, const float *restrict back, long n)
{
    if (back)
        for (long i = 0; i < n; i++)
            u[i] += w * (q[i] - back[i]);
    else
        for (long i = 0; i < n; i++)
            u[i] += w * q[i];
}

INLINE void dual_of(float *const *p, float *const *q, const float *u, const float *const *ahead, float s, float b, int axes, long n, int width)
{
    float g[TV_AXES][2 * TV_RUN], f[TV_RUN];
    for (int d = 0; d < axes; d++) {
        const float *restrict qd = q[d], *restrict next = ahead[d];
        float *restrict to = g[d];
        if (next)
            for (long i = 0; i < width * n; i++)
                to[i] = qd[i] + s * (next[i] - u[i]);
        else
            for (long i = 0; i < width * n; i++)
                to[i] = 0;
    }
    squares(f, g[0], n, axes, 2 * TV_RUN / width, width);
    for (long i = 0; i < n; i++)
        f[i] = f[i] > 1 ? 1 / sqrtf(f[i]) : 1;
    for (int d = 0; d < axes; d++) {
        float *restrict pd = p[d], *restrict qd = q[d];
        const float *restrict from = g[d];
        for (long i = 0; i < n; i++)
            for (int c = 0; c < width; c++) {
                float v = f[i] * from[width * i + c];
                qd[width * i + c] = v + b * (v - pd[width * i + c]);
                pd[width * i + c] = v;
            }
    }
}

static void dual(float *const *p, float *const *q, const float *u, const float *const *ahead, float s, float b, int axes, long n, int width)
{
    if (width == 1)
        dual_of(p, q, u, ahead, s, b, axes, n, 1);
    else
        dual_of(p, q, u, ahead, s, b, axes, n, 2);
}

/* ---- Singular values of many small matrices ---- */
enum { SWEEPS = 12 };

/* G = A^H A for the lanes from h on; A is stored point by point, its columns side by side; G whole. */
static void gram(float *G, const float *A, long rows, long n, int h)
{
    for (long s = 0; s < n; s++)
        for (long t = 0; t <= s; t++) {
            vc sum = { { 0 }, { 0 } };
            for (long j = 0; j < rows; j++) {
                vc a = load(A + (j * n + t) * KR_ROW + h), b = load(A + (j * n + s) * KR_ROW + h);
                sum.r += a.r * b.r + a.i * b.i;
                sum.i += a.r * b.i - a.i * b.r;
            }
            store(G + (t + s * n) * KR_ROW + h, sum);                /* G_ts = sum conj(A_jt) A_js */
            store(G + (s + t * n) * KR_ROW + h, (vc){ sum.r, -sum.i });
        }
}

/* Columns p and q of X become c x_p - s conj(e) x_q and s e x_p + c x_q, e s = (sr, si). */
INLINE void turn(float *X, long n, long p, long q, vf c, vf sr, vf si, int h)
{
    for (long k = 0; k < n; k++) {
        float *at = X + (k + p * n) * KR_ROW + h, *bt = X + (k + q * n) * KR_ROW + h;
        vc a = load(at), b = load(bt);
        store(at, (vc){ c * a.r - (sr * b.r + si * b.i), c * a.i - (sr * b.i - si * b.r) });
        store(bt, (vc){ c * b.r + (sr * a.r - si * a.i), c * b.i + (sr * a.i + si * a.r) });
    }
}

/* G = V diag(w) V^H by cyclic Jacobi rotations, all lanes in step; w stays on the diagonal of G. Every lane turns until the
 * largest of them all is diagonal to float precision. Source: Golub and Van Loan, Matrix Computations, 8.5. */
static void jacobi(float *G, float *V, long n, int h)
{
    for (long i = 0; i < n * n; i++)
        store(V + i * KR_ROW + h, (vc){ (vf){ 0 } + (i % (n + 1) ? 0.f : 1.f), { 0 } });
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        vf off = { 0 }, on = { 0 };
        for (long q = 0; q < n; q++) {
            vf d = get(G + q * (n + 1) * KR_ROW + h);
            on += d * d;
            for (long p = 0; p < q; p++) {
                vc a = load(G + (p + q * n) * KR_ROW + h);
                off += a.r * a.r + a.i * a.i;
            }
        }
        bool more = false;
        for (int l = 0; l < VL; l++)
            more |= off[l] > 1e-11f * on[l];
        if (!more)
            return;
        for (long p = 0; p < n; p++)
            for (long q = p + 1; q < n; q++) {
                vc a = load(G + (p + q * n) * KR_ROW + h);
                vf pp = get(G + p * (n + 1) * KR_ROW + h), qq = get(G + q * (n + 1) * KR_ROW + h);
                vf m2 = a.r * a.r + a.i * a.i, m = root(m2) + 1e-37f;
                vf tau = (qq - pp) / (2 * m), size = (vf)((vi)tau & 0x7fffffff);
                size = pick(size > 1e15f, (vf){ 0 } + 1e15f, size);
                vf t = 1 / (size + root(1 + size * size));
                t = pick(tau < 0, -t, t);
                t = pick(m2 > 1e-16f * pp * qq, t, (vf){ 0 });       /* orthogonal already */
                vf c = 1 / root(1 + t * t), s = t * c, er = a.r / m, ei = a.i / m, sr = s * er, si = s * ei;
                turn(G, n, p, q, c, sr, si, h);
                for (long k = 0; k < n; k++)                         /* rows are the columns' conjugates */
                    for (int both = 0; both < 2; both++) {
                        long r = both ? q : p;
                        vc x = load(G + (k + r * n) * KR_ROW + h);
                        if (k != p && k != q)
                            store(G + (r + k * n) * KR_ROW + h, (vc){ x.r, -x.i });
                    }
                store(G + p * (n + 1) * KR_ROW + h, (vc){ pp - t * m, { 0 } });
                store(G + q * (n + 1) * KR_ROW + h, (vc){ qq + t * m, { 0 } });
                store(G + (p + q * n) * KR_ROW + h, (vc){ { 0 }, { 0 } });
                store(G + (q + p * n) * KR_ROW + h, (vc){ { 0 }, { 0 } });
                turn(V, n, p, q, c, sr, si, h);
            }
    }
}

/* W = V max(0, 1 - t / sqrt w) V^H into G. */
static void filter(float *G, const float *V, long n, float t, int h)
{
    vf f[128];
    for (long k = 0; k < n; k++) {
        vf w = get(G + k * (n + 1) * KR_ROW + h);
        w = pick(w > t * t, w, (vf){ 0 } + 1.f);
        f[k] = pick(get(G + k * (n + 1) * KR_ROW + h) > t * t, 1 - t / root(w), (vf){ 0 });
    }
    for (long s = 0; s < n; s++)
        for (long r = 0; r <= s; r++) {
            vc sum = { { 0 }, { 0 } };
            for (long k = 0; k < n; k++) {
                vc a = load(V + (r + k * n) * KR_ROW + h), b = load(V + (s + k * n) * KR_ROW + h);
                vf ar = a.r * f[k], ai = a.i * f[k];
                sum.r += ar * b.r + ai * b.i;                        /* a conj(b) */
                sum.i += ai * b.r - ar * b.i;
            }
            store(G + (r + s * n) * KR_ROW + h, sum);
            store(G + (s + r * n) * KR_ROW + h, (vc){ sum.r, -sum.i });
        }
}

static void shrink(float *A, long rows, long n, float t, float *G, float *V)
{
    vc row[128];
    for (int h = 0; h < KR_LANES; h += VL) {
        gram(G, A, rows, n, h);
        jacobi(G, V, n, h);
        filter(G, V, n, t, h);
        for (long j = 0; j < rows; j++) {                            /* A = A W */
            for (long s = 0; s < n; s++) {
                vc sum = { { 0 }, { 0 } };
                for (long r = 0; r < n; r++) {
                    vc a = load(A + (j * n + r) * KR_ROW + h), w = load(G + (r + s * n) * KR_ROW + h);
                    sum.r += a.r * w.r - a.i * w.i;
                    sum.i += a.r * w.i + a.i * w.r;
                }
                row[s] = sum;
            }
            for (long s = 0; s < n; s++)
                store(A + (j * n + s) * KR_ROW + h, row[s]);
        }
    }
}

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_proxkern_, level)
const kr_proxkern NAME(KR_LEVEL) = { soft, inside, norms, diverge, dual, shrink };
