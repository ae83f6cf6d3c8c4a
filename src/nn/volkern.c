/* volkern.c: see volkern.h. A group of outputs times some vectors of positions stay in registers. */
#include "volkern.h"
#define KR_LOOSE
#include "vector.h"
#include "vexp.h"
#include <string.h>

#define JOIN(a, b) a##b
#define NAME(level) JOIN(vol_kern_, level)

/* e^x - 1 for x <= 0, to about 1e-7 absolute. */
INLINE vf elu(vf x)
{
    vi low = x < -80.f, positive = x > 0.f;
    vf s = (vf)(((vi)x & ~low & ~positive) | ((vi)((vf){ 0 } - 80.f) & low));
    vf e = exp_within_80(s) - 1.f;
    return (vf)(((vi)e & ~positive) | ((vi)x & positive));
}
INLINE vf leaky(vf x, float slope)
{
    vi positive = x > 0.f;
    vf low = x * slope;
    return (vf)(((vi)x & positive) | ((vi)low & ~positive));
}
INLINE vf activate(vf x, enum vol_act act, float slope)
{
    return act == VOL_ELU ? elu(x) : act == VOL_RELU ? leaky(x, 0) : act == VOL_LEAKY ? leaky(x, slope) : x;
}

/* G outputs from w, bias and y on, V vectors of positions from p on; of the last `left` numbers are stored. */
#define TILE(G, V)                                                                                                          \
static void tile_##G##_##V(const vol_row *r, const float *w, const float *bias, float *y, long p, long left)                \
{                                                                                                                           \
    vf acc[G][V];                                                                                                           \
    _Pragma("GCC unroll 8") for (int g = 0; g < G; g++)                                                                     \
        _Pragma("GCC unroll 8") for (int v = 0; v < V; v++)                                                                 \
            acc[g][v] = (vf){ 0 } + bias[g];                                                                                \
    for (int s = 0; s < 2; s++)                                                                                             \
        for (long c = 0; c < r->in[s].c; c++, w += r->all * G) {                                                            \
            const float *x = r->in[s].x + c * r->in[s].chan + p;                                                            \
            for (int t = 0; t < r->taps; t++) {                                                                             \
                const float *at = x + r->offset[t], *wt = w + r->tap[t] * G;                                                \
                vf in[V];                                                                                                   \
                _Pragma("GCC unroll 8") for (int v = 0; v < V; v++)                                                         \
                    in[v] = get(at + v * VL);                                                                               \
                _Pragma("GCC unroll 8") for (int g = 0; g < G; g++)                                                         \
                    _Pragma("GCC unroll 8") for (int v = 0; v < V; v++)                                                     \
                        acc[g][v] += in[v] * wt[g];                                                                         \
            }                                                                                                               \
        }                                                                                                                   \
    _Pragma("GCC unroll 8") for (int g = 0; g < G; g++)                                                                     \
        _Pragma("GCC unroll 8") for (int v = 0; v < V; v++) {                                                               \
            vf a = activate(acc[g][v], r->act, r->slope);                                                                   \
            float *to = y + g * r->chan + p + v * VL;                                                                       \
            if (left >= (v + 1) * VL)                                                                                       \
                put(to, a);                                                                                                 \
            else if (left > v * VL)                                                                                         \
                memcpy(to, &a, (size_t)(left - v * VL) * sizeof *to);                                                       \
        }                                                                                                                   \
}
#define ALL(G, V) TILE(G, V) TILE(G, 2) TILE(G, 1)
#if defined(__AVX512F__)
ALL(8, 3) ALL(7, 3) ALL(6, 4) ALL(5, 4) ALL(4, 6) ALL(3, 8) ALL(2, 8) ALL(1, 8)
enum { MOST = 8 };
static const int wide[MOST] = { 8, 8, 8, 6, 4, 4, 3, 3 };
#else
ALL(4, 3) ALL(3, 4) ALL(2, 5) ALL(1, 8)
enum { MOST = 4 };
static const int wide[MOST] = { 8, 5, 4, 3 };
#endif
typedef void tile(const vol_row *r, const float *w, const float *bias, float *y, long p, long left);
static tile *const tiles[MOST][3] = {                        /* of the widest, two and one vectors of positions */
#if defined(__AVX512F__)
    { tile_1_8, tile_1_2, tile_1_1 }, { tile_2_8, tile_2_2, tile_2_1 }, { tile_3_8, tile_3_2, tile_3_1 }, { tile_4_6, tile_4_2, tile_4_1 },
    { tile_5_4, tile_5_2, tile_5_1 }, { tile_6_4, tile_6_2, tile_6_1 }, { tile_7_3, tile_7_2, tile_7_1 }, { tile_8_3, tile_8_2, tile_8_1 }
#else
    { tile_1_8, tile_1_2, tile_1_1 }, { tile_2_5, tile_2_2, tile_2_1 }, { tile_3_4, tile_3_2, tile_3_1 }, { tile_4_3, tile_4_2, tile_4_1 }
#endif
};

static void conv(const vol_row *r)
{
    long groups = (r->outs + MOST - 1) / MOST;
    const float *w = r->w;
    for (long g = 0; g < groups; g++) {
        long from = vol_group_from(r->outs, groups, g), count = vol_group_from(r->outs, groups, g + 1) - from, p = 0, step = wide[count - 1] * VL;
        float *y = r->y + from * r->chan;
        for (; r->n - p > step - VL; p += step)
            tiles[count - 1][0](r, w, r->bias + from, y, p, r->n - p);
        for (; r->n - p > VL; p += 2 * VL)
            tiles[count - 1][1](r, w, r->bias + from, y, p, r->n - p);
        if (p < r->n)
            tiles[count - 1][2](r, w, r->bias + from, y, p, r->n - p);
        w += count * (r->in[0].c + r->in[1].c) * r->all;
    }
}

#define UNROLL _Pragma("GCC unroll 6")
/* B^T and A^T of F(4,3): A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016. */
INLINE void points_of(vf t[6], const vf d[6])
{
    vf a = d[4] - 4.f * d[2], b = d[3] - 4.f * d[1], e = d[4] - d[2], f = 2.f * (d[3] - d[1]);
    t[0] = 4.f * d[0] - 5.f * d[2] + d[4];
    t[1] = a + b;
    t[2] = a - b;
    t[3] = e + f;
    t[4] = e - f;
    t[5] = 4.f * d[1] - 5.f * d[3] + d[5];
}
INLINE void outputs_of(vf y[4], const vf m[6])
{
    vf s = m[1] + m[2], d = m[1] - m[2], p = m[3] + m[4], q = m[3] - m[4];
    y[0] = m[0] + s + p;
    y[1] = d + 2.f * q;
    y[2] = s + 4.f * p;
    y[3] = d + 8.f * q + m[5];
}

INLINE void points_at(vf t[6], const float *const rows[6], long p)
{
    vf d[6];
    UNROLL for (int y = 0; y < 6; y++)
        d[y] = get(rows[y] + p);
    points_of(t, d);
}

static void tile_in(float *points, long step, const float *const *rows, long n, int deep)
{
    for (long p = 0; p < n && deep; p += VL) {
        vf at[6][6];
        UNROLL for (int z = 0; z < 6; z++)
            points_at(at[z], rows + 6 * z, p);
        UNROLL for (int y = 0; y < 6; y++) {
            vf t[6], d[6] = { at[0][y], at[1][y], at[2][y], at[3][y], at[4][y], at[5][y] };
            points_of(t, d);
            UNROLL for (int z = 0; z < 6; z++)
                put(points + (6 * z + y) * step + p, t[z]);
        }
    }
    for (long p = 0; p < n && !deep; p += VL) {
        vf t[6];
        points_at(t, rows, p);
        UNROLL for (int y = 0; y < 6; y++)
            put(points + y * step + p, t[y]);
    }
}

INLINE void rows_at(float *const rows[4], const vf m[6], long p, long left, float bias, enum vol_act act, float slope)
{
    vf out[4];
    outputs_of(out, m);
    UNROLL for (int y = 0; y < 4; y++) {
        vf a = activate(out[y] + bias, act, slope);
        if (rows[y] && left >= VL)
            put(rows[y] + p, a);
        else if (rows[y])
            memcpy(rows[y] + p, &a, (size_t)left * sizeof *rows[y]);
    }
}

static void tile_out(float *const *rows, const float *points, long step, long n, int deep, float bias, enum vol_act act, float slope)
{
    for (long p = 0; p < n; p += VL) {
        const float *at = points + p;
        vf m[4][6];
        UNROLL for (int y = 0; y < 6; y++, at += step) {
            if (!deep) {
                m[0][y] = get(at);
                continue;
            }
            vf r[4], d[6] = { get(at), get(at + 6 * step), get(at + 12 * step), get(at + 18 * step), get(at + 24 * step), get(at + 30 * step) };
            outputs_of(r, d);
            UNROLL for (int z = 0; z < 4; z++)
                m[z][y] = r[z];
        }
        for (int z = 0; z < (deep ? 4 : 1); z++)
            rows_at(rows + 4 * z, m[z], p, n - p, bias, act, slope);
    }
}

typedef float hf __attribute__((vector_size(2 * VL), aligned(4)));
typedef double vd __attribute__((vector_size(4 * VL), aligned(8)));
enum { WIDE = VL / 2, WIDES = VOL_LANES / WIDE };
static void moments(const float *x, long n, double sum[VOL_LANES], double square[VOL_LANES])
{
    vd s[WIDES], q[WIDES];
    memcpy(s, sum, sizeof s);
    memcpy(q, square, sizeof q);
    long i = 0;
    for (; i + VOL_LANES <= n; i += VOL_LANES)
        UNROLL for (int k = 0; k < WIDES; k++) {
            vd v = __builtin_convertvector(*(const hf *)(const void *)(x + i + WIDE * k), vd);
            s[k] += v;
            q[k] += v * v;
        }
    memcpy(sum, s, sizeof s);
    memcpy(square, q, sizeof q);
    for (int l = 0; l < n - i; l++) {
        double v = (double)x[i + l];
        sum[l] += v;
        square[l] += v * v;
    }
}

static void normalise(float *y, const float *x, long n, float scale, float shift, const float *plus, float slope)
{
    long i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = get(x + i) * scale + shift;
        put(y + i, leaky(plus ? v + get(plus + i) : v, slope));
    }
    for (; i < n; i++) {
        float v = x[i] * scale + shift + (plus ? plus[i] : 0);
        y[i] = v > 0 ? v : v * slope;
    }
}

const vol_kern NAME(KR_LEVEL) = { MOST, conv, tile_in, tile_out, moments, normalise };
