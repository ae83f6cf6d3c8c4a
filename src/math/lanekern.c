/* lanekern.c: Fourier transforms of sixteen lines at once, and what goes before and after them; plain C with the compilers'
 * vector types, built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512).
 *
 * A transform is a decimation in frequency: stage by stage, in place, from natural order to the order of the digits
 * reversed; its inverse runs the same stages backwards (decimation in time), so that nothing is ever put in order.
 * Conjugation costs nothing: an inverse butterfly is the forward one with real and imaginary parts exchanged.
 * Source: Cooley and Tukey, Math Comp 19:297 (1965); Gentleman and Sande, AFIPS 29:563 (1966). */
#include "lanekern.h"
#include "vector.h"
#include <string.h>

enum { PARTS = KR_LANES / VL };
typedef double vd __attribute__((vector_size(8 * VL)));
typedef struct { vf r, i; } vc;

INLINE vc add(vc a, vc b) { return (vc){ a.r + b.r, a.i + b.i }; }
INLINE vc sub(vc a, vc b) { return (vc){ a.r - b.r, a.i - b.i }; }
INLINE vc minus_i(vc a) { return (vc){ a.i, -a.r }; }                 /* -i a */
INLINE vc times(vc a, float c, float s) { return (vc){ a.r * c - a.i * s, a.r * s + a.i * c }; }
INLINE vc load(const float *p, bool swap)
{
    vf r = get(p), i = get(p + KR_LANES);
    return swap ? (vc){ i, r } : (vc){ r, i };
}
INLINE void store(float *p, vc a, bool swap)
{
    put(p, swap ? a.i : a.r);
    put(p + KR_LANES, swap ? a.r : a.i);
}

/* `scale` in the lanes whose bit is set, 0 in the others. */
INLINE vf keep(uint32_t bits, float scale)
{
#if defined(__AVX512F__)
    const vi bit = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768 };
#elif defined(__AVX__)
    const vi bit = { 1, 2, 4, 8, 16, 32, 64, 128 };
#else
    const vi bit = { 1, 2, 4, 8 };
#endif
    vi set = (((int32_t)bits & bit) == bit) & (vi)(scale + (vf){ 0 });
    return (vf)set;
}

/* ---- Butterflies: a[q] = sum_k a[k] exp(-2 pi i q k / radix) ---- */
INLINE void radix2(vc *a)
{
    vc t = a[0];
    a[0] = add(t, a[1]);
    a[1] = sub(t, a[1]);
}

INLINE void radix3(vc *a)
{
    const float c = -0.5f, s = 0.86602540378443865f;
    vc t = add(a[1], a[2]), d = sub(a[1], a[2]);
    vc m = { a[0].r + c * t.r, a[0].i + c * t.i }, n = { s * d.i, -s * d.r };
    a[0] = add(a[0], t);
    a[1] = add(m, n);
    a[2] = sub(m, n);
}

INLINE void radix4(vc *a)
{
    vc s0 = add(a[0], a[2]), d0 = sub(a[0], a[2]), s1 = add(a[1], a[3]), d1 = minus_i(sub(a[1], a[3]));
    a[0] = add(s0, s1);
    a[2] = sub(s0, s1);
    a[1] = add(d0, d1);
    a[3] = sub(d0, d1);
}

INLINE void radix5(vc *a)
{
    const float c1 = 0.30901699437494742f, c2 = -0.80901699437494742f, s1 = 0.95105651629515357f, s2 = 0.58778525229247313f;
    vc p1 = add(a[1], a[4]), m1 = sub(a[1], a[4]), p2 = add(a[2], a[3]), m2 = sub(a[2], a[3]);
    vc u1 = { a[0].r + c1 * p1.r + c2 * p2.r, a[0].i + c1 * p1.i + c2 * p2.i };
    vc u2 = { a[0].r + c2 * p1.r + c1 * p2.r, a[0].i + c2 * p1.i + c1 * p2.i };
    vc v1 = { s1 * m1.i + s2 * m2.i, -(s1 * m1.r + s2 * m2.r) };
    vc v2 = { s2 * m1.i - s1 * m2.i, -(s2 * m1.r - s1 * m2.r) };
    a[0] = (vc){ a[0].r + p1.r + p2.r, a[0].i + p1.i + p2.i };
    a[1] = add(u1, v1);
    a[4] = sub(u1, v1);
    a[2] = add(u2, v2);
    a[3] = sub(u2, v2);
}

INLINE void radix8(vc *a)
{
    const float h = 0.70710678118654752f;
    vc e[4] = { a[0], a[2], a[4], a[6] }, o[4] = { a[1], a[3], a[5], a[7] };
    radix4(e);
    radix4(o);
    o[1] = (vc){ (o[1].r + o[1].i) * h, (o[1].i - o[1].r) * h };
    o[2] = minus_i(o[2]);
    o[3] = (vc){ (o[3].i - o[3].r) * h, -(o[3].r + o[3].i) * h };
    for (int k = 0; k < 4; k++) {
        a[k] = add(e[k], o[k]);
        a[k + 4] = sub(e[k], o[k]);
    }
}

/* Any odd radix: the even and odd parts of the inputs meet cosines and sines of their own. `count` pairs of outputs from
 * pair q on: each part is loaded once for all of them. */
INLINE void odd_pairs(vc *a, int radix, const float *table, const vc *even, const vc *odd, vc first, int q, int count)
{
    int half = radix / 2;
    vc u[4], v[4];
    for (int j = 0; j < count; j++) {
        u[j] = first;
        v[j] = (vc){ { 0 }, { 0 } };
    }
    for (int k = 0; k < half; k++) {
        vc e = even[k], o = odd[k];
        for (int j = 0; j < count; j++) {
            float c = table[2 * ((q + j) * half + k)], s = table[2 * ((q + j) * half + k) + 1];
            u[j] = (vc){ u[j].r + c * e.r, u[j].i + c * e.i };
            v[j] = (vc){ v[j].r + s * o.i, v[j].i - s * o.r };
        }
    }
    for (int j = 0; j < count; j++) {
        a[q + j + 1] = add(u[j], v[j]);
        a[radix - 1 - q - j] = sub(u[j], v[j]);
    }
}

INLINE void radix_odd(vc *a, int radix, const float *table)
{
    int half = radix / 2, q = 0;
    vc even[LARGEST_PRIME / 2], odd[LARGEST_PRIME / 2], first = a[0], sum = a[0];
    for (int k = 0; k < half; k++) {
        even[k] = add(a[k + 1], a[radix - 1 - k]);
        odd[k] = sub(a[k + 1], a[radix - 1 - k]);
        sum = add(sum, even[k]);
    }
    a[0] = sum;
    for (; q + 4 <= half; q += 4)
        odd_pairs(a, radix, table, even, odd, first, q, 4);
    if (half - q >= 2) {
        odd_pairs(a, radix, table, even, odd, first, q, 2);
        q += 2;
    }
    if (q < half)
        odd_pairs(a, radix, table, even, odd, first, q, 1);
}

INLINE void butterfly(vc *a, int radix, const float *table)
{
    switch (radix) {
    case 1: break;
    case 2: radix2(a); break;
    case 3: radix3(a); break;
    case 4: radix4(a); break;
    case 5: radix5(a); break;
    case 8: radix8(a); break;
    default: radix_odd(a, radix, table);
    }
}

/* ---- Stages ---- */
INLINE void stage_down(float *x, long n, const struct stage *s, int radix)
{
    long m = s->length / radix;
    const float *t = s->twiddle;
    for (long j = 0; j < m; j++, t += 2 * (radix - 1))
        for (float *b = x + j * KR_ROW; b < x + n * KR_ROW; b += s->length * KR_ROW)
            for (int h = 0; h < PARTS; h++) {
                vc a[LARGEST_PRIME];
                a[0] = load(b + h * VL, false);
                for (int k = 1; k < radix; k++)
                    a[k] = load(b + k * m * KR_ROW + h * VL, false);
                butterfly(a, radix, s->odd);
                store(b + h * VL, a[0], false);
                for (int k = 1; k < radix; k++)
                    store(b + k * m * KR_ROW + h * VL, times(a[k], t[2 * k - 2], t[2 * k - 1]), false);
            }
}

INLINE void stage_up(float *x, long n, const struct stage *s, int radix)
{
    long m = s->length / radix;
    const float *t = s->twiddle;
    for (long j = 0; j < m; j++, t += 2 * (radix - 1))
        for (float *b = x + j * KR_ROW; b < x + n * KR_ROW; b += s->length * KR_ROW)
            for (int h = 0; h < PARTS; h++) {
                vc a[LARGEST_PRIME];
                a[0] = load(b + h * VL, true);
                for (int k = 1; k < radix; k++)
                    a[k] = times(load(b + k * m * KR_ROW + h * VL, true), t[2 * k - 2], t[2 * k - 1]);
                butterfly(a, radix, s->odd);
                for (int k = 0; k < radix; k++)
                    store(b + k * m * KR_ROW + h * VL, a[k], true);
            }
}

INLINE void stage_last(float *x, long n, const struct stage *s, int radix, bool back)
{
    for (float *b = x; b < x + n * KR_ROW; b += radix * KR_ROW)
        for (int h = 0; h < PARTS; h++) {
            vc a[LARGEST_PRIME];
            a[0] = load(b + h * VL, back);
            for (int k = 1; k < radix; k++)
                a[k] = load(b + k * KR_ROW + h * VL, back);
            butterfly(a, radix, s->odd);
            for (int k = 0; k < radix; k++)
                store(b + k * KR_ROW + h * VL, a[k], back);
        }
}

/* The last stage, the mask, and the first stage of the way back, without leaving the registers. kept: a word a row, a bit a
 * lane; groups of rows that are all zero are not even read. */
INLINE void stage_middle(float *x, long n, const struct stage *s, const uint32_t *kept, float scale, int radix)
{
    for (float *b = x; b < x + n * KR_ROW; b += radix * KR_ROW, kept += radix) {
        uint32_t any = 0;
        for (int k = 0; k < radix; k++)
            any |= kept[k];
        if (!any) {
            memset(b, 0, (size_t)radix * KR_ROW * sizeof *b);
            continue;
        }
        for (int h = 0; h < PARTS; h++) {
            vc a[LARGEST_PRIME];
            a[0] = load(b + h * VL, false);
            for (int k = 1; k < radix; k++)
                a[k] = load(b + k * KR_ROW + h * VL, false);
            butterfly(a, radix, s->odd);
            for (int k = 0; k < radix; k++) {
                vf f = keep(kept[k] >> h * VL, scale);
                a[k] = (vc){ a[k].i * f, a[k].r * f };
            }
            butterfly(a, radix, s->odd);
            for (int k = 0; k < radix; k++)
                store(b + k * KR_ROW + h * VL, a[k], true);
        }
    }
}

#define EACH_RADIX(f, ...) switch (s->radix) { \
    case 1: f(__VA_ARGS__, 1); break; \
    case 2: f(__VA_ARGS__, 2); break; \
    case 3: f(__VA_ARGS__, 3); break; \
    case 4: f(__VA_ARGS__, 4); break; \
    case 5: f(__VA_ARGS__, 5); break; \
    case 7: f(__VA_ARGS__, 7); break; \
    case 8: f(__VA_ARGS__, 8); break; \
    case 11: f(__VA_ARGS__, 11); break; \
    case 13: f(__VA_ARGS__, 13); break; \
    default: f(__VA_ARGS__, s->radix); }
#define LAST_FORWARD(x, n, s, radix) stage_last(x, n, s, radix, false)
#define LAST_INVERSE(x, n, s, radix) stage_last(x, n, s, radix, true)

static void down(float *x, long n, const struct stage *s) { EACH_RADIX(stage_down, x, n, s) }
static void up(float *x, long n, const struct stage *s) { EACH_RADIX(stage_up, x, n, s) }
static void middle(float *x, long n, const struct stage *s, const uint32_t *kept, float scale) { EACH_RADIX(stage_middle, x, n, s, kept, scale) }

static void last_down(float *x, long n, const struct stage *s) { EACH_RADIX(LAST_FORWARD, x, n, s) }
static void first_up(float *x, long n, const struct stage *s) { EACH_RADIX(LAST_INVERSE, x, n, s) }

static void forward(const kr_lanes *p, float *x)
{
    for (int i = 0; i < p->stages - 1; i++)
        down(x, p->n, &p->stage[i]);
    last_down(x, p->n, &p->stage[p->stages - 1]);
}

static void inverse(const kr_lanes *p, float *x)
{
    first_up(x, p->n, &p->stage[p->stages - 1]);
    for (int i = p->stages - 2; i >= 0; i--)
        up(x, p->n, &p->stage[i]);
}

static void masked(const kr_lanes *p, float *x, const uint32_t *kept, float scale)
{
    int last = p->stages - 1;
    for (int i = 0; i < last; i++)
        down(x, p->n, &p->stage[i]);
    middle(x, p->n, &p->stage[last], kept, scale);
    for (int i = last - 1; i >= 0; i--)
        up(x, p->n, &p->stage[i]);
}

static void mask(float *w, const uint32_t *kept, float scale, long rows)
{
    for (long k = 0; k < rows; k++)
        for (int h = 0; h < PARTS; h++) {
            float *at = w + k * KR_ROW + h * VL;
            vf f = keep(kept[k] >> h * VL, scale);
            vc a = load(at, false);
            store(at, (vc){ a.r * f, a.i * f }, false);
        }
}

/* ---- Coil maps ---- */
static void expand(float *w, const float *S, const float *x, long rows, long maps, long step)
{
    for (long k = 0; k < rows * KR_ROW; k += KR_ROW)
        for (int h = 0; h < PARTS; h++) {
            long at = k + h * VL;
            vc s = load(S + at, false), a = load(x + at, false);
            vc sum = { s.r * a.r - s.i * a.i, s.r * a.i + s.i * a.r };
            for (long m = 1; m < maps; m++) {
                s = load(S + m * step + at, false);
                a = load(x + m * step + at, false);
                sum = (vc){ sum.r + s.r * a.r - s.i * a.i, sum.i + s.r * a.i + s.i * a.r };
            }
            store(w + at, sum, false);
        }
}

static void reduce(float *z, const float *S, const float *w, long rows, long maps, long step)
{
    for (long k = 0; k < rows * KR_ROW; k += KR_ROW)
        for (int h = 0; h < PARTS; h++) {
            vc a = load(w + k + h * VL, false);
            for (long m = 0; m < maps; m++) {
                long at = m * step + k + h * VL;
                vc s = load(S + at, false), b = load(z + at, false);
                store(z + at, (vc){ b.r + s.r * a.r + s.i * a.i, b.i + s.r * a.i - s.i * a.r }, false);
            }
        }
}

/* ---- Coil maps and image, both sought ---- */
static void pair(float *w, const float *c, const float *dx, const float *x, const float *dc, long rows, bool add)
{
    for (long at = 0; at < rows * KR_ROW; at += KR_ROW)
        for (int h = 0; h < KR_LANES; h += VL) {
            vc s = load(c + at + h, false), a = load(dx + at + h, false), t = load(x + at + h, false), b = load(dc + at + h, false);
            vc sum = add ? load(w + at + h, false) : (vc){ { 0 }, { 0 } };
            sum.r += s.r * a.r - s.i * a.i + (t.r * b.r - t.i * b.i);
            sum.i += s.r * a.i + s.i * a.r + (t.r * b.i + t.i * b.r);
            store(w + at + h, sum, false);
        }
}

static void pair_back(float *z, float *t, const float *c, const float *x, const float *w, long rows)
{
    for (long at = 0; at < rows * KR_ROW; at += KR_ROW)
        for (int h = 0; h < KR_LANES; h += VL) {
            vc a = load(w + at + h, false), s = load(c + at + h, false), b = load(x + at + h, false), sum = load(z + at + h, false);
            store(z + at + h, (vc){ sum.r + s.r * a.r + s.i * a.i, sum.i + s.r * a.i - s.i * a.r }, false);
            store(t + at + h, (vc){ b.r * a.r + b.i * a.i, b.r * a.i - b.i * a.r }, false);
        }
}

/* ---- Turning: lanes into rows ---- */
#if defined(__AVX512F__)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif defined(__AVX__)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#endif

/* VL x VL numbers: log2(VL) perfect shuffles of the whole square exchange rows and columns. */
INLINE void transpose(vf *v)
{
    for (int k = VL; k > 1; k /= 2) {
        vf t[VL];
        for (int i = 0; i < VL / 2; i++) {
            t[2 * i] = ZIP_LOW(v[i], v[i + VL / 2]);
            t[2 * i + 1] = ZIP_HIGH(v[i], v[i + VL / 2]);
        }
        for (int i = 0; i < VL; i++)
            v[i] = t[i];
    }
}

static void turn(float *to, const float *const from[KR_LANES], long rows)
{
    for (int part = 0; part < KR_ROW; part += KR_LANES)
        for (int h = 0; h < KR_LANES; h += VL)                        /* lanes of `to`   */
            for (int g = 0; g < rows; g += VL) {                      /* lanes of `from` */
                vf v[VL];
                for (int k = 0; k < VL; k++)
                    v[k] = get(from[h + k] + part + g);
                transpose(v);
                for (int k = 0; k < VL && g + k < rows; k++)
                    put(to + (g + k) * KR_ROW + part + h, v[k]);
            }
}

static void turn_back(float *const to[KR_LANES], const float *from, long rows)
{
    for (int part = 0; part < KR_ROW; part += KR_LANES)
        for (int h = 0; h < KR_LANES; h += VL)
            for (int g = 0; g < KR_LANES; g += VL) {
                vf v[VL];
                for (int k = 0; k < VL; k++)
                    v[k] = g + k < rows ? get(from + (g + k) * KR_ROW + part + h) : (vf){ 0 };
                transpose(v);
                for (int k = 0; k < VL; k++)
                    put(to[h + k] + part + g, v[k]);
            }
}

/* ---- Arrays of interleaved complex numbers ---- */
INLINE vf get_any(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void put_any(float *p, vf v) { memcpy(p, &v, sizeof v); }

static void turn_phase(float *x, const float *phase, long rows)
{
    for (long k = 0; k < rows; k++)
        for (int h = 0; h < KR_LANES; h += VL)
            store(x + k * KR_ROW + h, times(load(x + k * KR_ROW + h, false), phase[2 * k], phase[2 * k + 1]), false);
}

static void load_lines(float *to, const float *const line[KR_LANES], const long *place, long n, const float *phase, bool swap)
{
    int re = swap ? KR_LANES : 0, im = KR_LANES - re;
    long whole = n / (VL / 2) * (VL / 2);
    for (long k = 0; k < whole; k += VL / 2)
        for (int h = 0; h < KR_LANES; h += VL) {
            vf v[VL];
            for (int j = 0; j < VL; j++)
                v[j] = get_any(line[h + j] + 2 * k);
            transpose(v);
            for (int j = 0; j < VL / 2; j++) {
                float *row = to + (place ? place[k + j] : k + j) * KR_ROW + h;
                vc a = { v[2 * j], v[2 * j + 1] };
                if (phase)
                    a = times(a, phase[2 * (k + j)], phase[2 * (k + j) + 1]);
                put(row + re, a.r);
                put(row + im, a.i);
            }
        }
    for (long k = whole; k < n; k++) {
        float *row = to + (place ? place[k] : k) * KR_ROW;
        for (int j = 0; j < KR_LANES; j++) {
            row[j] = line[j][2 * k];
            row[KR_LANES + j] = line[j][2 * k + 1];
        }
        if (phase)
            turn_phase(row, phase + 2 * k, 1);
        for (int h = 0; h < KR_LANES && swap; h += VL)
            store(row + h, load(row + h, true), false);
    }
}

static void store_lines(float *const line[KR_LANES], const float *from, const long *place, long n, const float *phase, bool swap)
{
    long whole = n / (VL / 2) * (VL / 2);
    for (long k = 0; k < whole; k += VL / 2)
        for (int h = 0; h < KR_LANES; h += VL) {
            vf v[VL];
            for (int j = 0; j < VL / 2; j++) {
                vc a = load(from + (place ? place[k + j] : k + j) * KR_ROW + h, swap);
                if (phase)
                    a = times(a, phase[2 * (k + j)], phase[2 * (k + j) + 1]);
                v[2 * j] = a.r;
                v[2 * j + 1] = a.i;
            }
            transpose(v);
            for (int j = 0; j < VL; j++)
                put_any(line[h + j] + 2 * k, v[j]);
        }
    for (long k = whole; k < n; k++)
        for (int h = 0; h < KR_LANES; h += VL) {
            vc a = load(from + (place ? place[k] : k) * KR_ROW + h, swap);
            if (phase)
                a = times(a, phase[2 * k], phase[2 * k + 1]);
            for (int j = 0; j < VL; j++) {
                line[h + j][2 * k] = a.r[j];
                line[h + j][2 * k + 1] = a.i[j];
            }
        }
}

static void load_columns(float *to, const float *x, long step, long n, const float *phase, bool swap)
{
    for (long k = 0; k < n; k++)
        for (int h = 0; h < KR_LANES; h += VL) {
            vf a = get_any(x + k * step + 2 * h), b = get_any(x + k * step + 2 * h + VL);
            vc c = { EVEN(a, b), ODD(a, b) };
            if (phase)
                c = times(c, phase[2 * k], phase[2 * k + 1]);
            store(to + k * KR_ROW + h, c, swap);
        }
}

static void store_columns(float *y, long step, const float *from, const long *order, long n, const float *phase, bool swap)
{
    for (long k = 0; k < n; k++) {
        long f = order ? order[k] : k;
        for (int h = 0; h < KR_LANES; h += VL) {
            vc c = load(from + k * KR_ROW + h, swap);
            if (phase)
                c = times(c, phase[2 * f], phase[2 * f + 1]);
            vf low = ZIP_LOW(c.r, c.i), high = ZIP_HIGH(c.r, c.i);
            put_any(y + f * step + 2 * h, low);
            put_any(y + f * step + 2 * h + VL, high);
        }
    }
}

/* ---- Vectors ---- */
static void scaled(float *z, float a, const float *x, long rows)
{
    for (long k = 0; k < rows * KR_ROW; k++)
        z[k] = a * x[k];
}

/* A few rows are added in float, then in double: faster than all in double, and as exact as the float products. */
enum { RUN = 8 };
static void dot(const float *x, const float *y, long rows, double sum[KR_LANES])
{
    for (int h = 0; h < KR_LANES; h += VL) {
        vd s;
        memcpy(&s, sum + h, sizeof s);
        for (long k = 0; k < rows; k += RUN) {
            vf part = { 0 };
            for (long j = k; j < k + RUN && j < rows; j++) {
                vc a = load(x + j * KR_ROW + h, false), b = load(y + j * KR_ROW + h, false);
                part += a.r * b.r + a.i * b.i;
            }
            s += __builtin_convertvector(part, vd);
        }
        memcpy(sum + h, &s, sizeof s);
    }
}

static void step(float *x, float *r, const float *p, const float *q, const float *a, long rows, double sum[KR_LANES])
{
    for (int h = 0; h < KR_LANES; h += VL) {
        vd s;
        memcpy(&s, sum + h, sizeof s);
        vf f = get_any(a + h);
        for (long k = 0; k < rows; k += RUN) {
            vf part = { 0 };
            for (long j = k; j < k + RUN && j < rows; j++) {
                long at = j * KR_ROW + h;
                vc xx = load(x + at, false), rr = load(r + at, false), pp = load(p + at, false), qq = load(q + at, false);
                store(x + at, (vc){ xx.r + f * pp.r, xx.i + f * pp.i }, false);
                rr = (vc){ rr.r - f * qq.r, rr.i - f * qq.i };
                store(r + at, rr, false);
                part += rr.r * rr.r + rr.i * rr.i;
            }
            s += __builtin_convertvector(part, vd);
        }
        memcpy(sum + h, &s, sizeof s);
    }
}

static void xpay(float *p, const float *r, const float *b, long rows)
{
    for (int h = 0; h < KR_LANES; h += VL) {
        vf f = get_any(b + h);
        for (long at = h; at < rows * KR_ROW; at += KR_ROW) {
            vc pp = load(p + at, false), rr = load(r + at, false);
            store(p + at, (vc){ rr.r + f * pp.r, rr.i + f * pp.i }, false);
        }
    }
}

/* ---- Small matrices, one a lane ---- */
INLINE vc mul_add(vc s, vc a, vc b) { return (vc){ s.r + a.r * b.r - a.i * b.i, s.i + a.r * b.i + a.i * b.r }; }
INLINE vc mulc_add(vc s, vc a, vc b) { return (vc){ s.r + a.r * b.r + a.i * b.i, s.i + a.r * b.i - a.i * b.r }; }      /* conj(a) b */

static void waves(float *K, const float *w, const float *wave, long step, long offsets, long entries)
{
    for (int h = 0; h < KR_LANES; h += VL)
        for (long e = 0; e < entries; e++) {
            vc sum = { { 0 }, { 0 } };
            for (long o = 0; o < offsets; o++) {
                const float *f = w + 2 * (o * entries + e);
                vc a = times(load(wave + o * step + h, false), f[0], f[1]);
                sum = add(sum, a);
            }
            store(K + e * KR_ROW + h, sum, false);
        }
}

/* Four columns at a time: a row of K is then read once for them. */
static void gram(float *M, const float *K, long n)
{
    for (int h = 0; h < KR_LANES; h += VL)
        for (long i = 0; i < n; i++)
            for (long j = 0; j <= i; j += 4) {
                long count = i + 1 - j < 4 ? i + 1 - j : 4;
                vc sum[4] = { { { 0 }, { 0 } } };
                for (long k = 0; k < n; k++) {
                    const float *row = K + k * n * KR_ROW + h;
                    vc a = load(row + i * KR_ROW, false);
                    for (long q = 0; q < count; q++)
                        sum[q] = mulc_add(sum[q], a, load(row + (j + q) * KR_ROW, false));
                }
                for (long q = 0; q < count; q++)
                    store(M + (i * (i + 1) / 2 + j + q) * KR_ROW + h, sum[q], false);
            }
}

static void hermitian(float *z, const float *M, const float *x, long n)
{
    for (int h = 0; h < KR_LANES; h += VL) {
        const float *m = M + h;
        for (long i = 0; i < n; i++) {
            vc xi = load(x + i * KR_ROW + h, false), zi = { { 0 }, { 0 } };
            for (long j = 0; j < i; j++, m += KR_ROW) {
                vc a = load(m, false);
                zi = mul_add(zi, a, load(x + j * KR_ROW + h, false));
                store(z + j * KR_ROW + h, mulc_add(load(z + j * KR_ROW + h, false), a, xi), false);
            }
            vf d = get(m);
            m += KR_ROW;
            store(z + i * KR_ROW + h, (vc){ zi.r + d * xi.r, zi.i + d * xi.i }, false);
        }
    }
}

/* ---- A product with a small matrix ---- */
/* Real and imaginary part of an entry of B each scale whole lines; where they meet is left to the end. */
static void few(float *C, long ldc, const float *A, long lda, const float *B, const long step[2], const long mnk[3])
{
    enum { BLOCK = 256 };
    float u[BLOCK], v[BLOCK];
    for (long from = 0; from < 2 * mnk[0]; from += BLOCK) {
        long n = 2 * mnk[0] - from < BLOCK ? 2 * mnk[0] - from : BLOCK;
        for (long j = 0; j < mnk[1]; j++) {
            memset(u, 0, sizeof u);
            memset(v, 0, sizeof v);
            for (long l = 0; l < mnk[2]; l++) {
                const float *a = A + 2 * l * lda + from, *b = B + 2 * (l * step[0] + j * step[1]);
                for (long i = 0; i < n; i++) {
                    u[i] += b[0] * a[i];
                    v[i] += b[1] * a[i];
                }
            }
            float *c = C + 2 * j * ldc + from;
            for (long i = 0; i < n; i += 2) {
                c[i] = u[i] - v[i + 1];
                c[i + 1] = u[i + 1] + v[i];
            }
        }
    }
}

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_lanekern_, level)
const kr_lanekern NAME(KR_LEVEL) = { forward, inverse, masked, mask, expand, reduce, pair, pair_back, turn, turn_back, load_lines,
    store_lines, load_columns, store_columns, turn_phase, scaled, dot, step, xpay, waves, gram, hermitian, few };
