/* raykern.c: lines through rows of pixels, and their transposes; built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512).
 *
 * Neighbouring rays cross a row close to each other, so that the pixels which a register of rays needs lie in two registers, and are
 * taken from there by a permutation instead of a gather; the same for the rays that a register of pixels needs. */
#include "raykern.h"
#include "vector.h"
#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

typedef float vu __attribute__((vector_size(4 * VL), aligned(4)));
INLINE vf any(const float *p) { return *(const vu *)(const void *)p; }
INLINE void put_any(float *p, vf a) { *(vu *)(void *)p = a; }
INLINE vf real(vi a) { return __builtin_convertvector(a, vf); }
INLINE vf absolute(vf a) { return (vf)((vi)a & 0x7fffffff); }

#if defined(__AVX512F__)
INLINE vi down(vf a) { return (vi)_mm512_cvt_roundps_epi32((__m512)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vi up(vf a) { return (vi)_mm512_cvt_roundps_epi32((__m512)a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
INLINE vf largest(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf least(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vi within(vi a, int low, int high) { return (vi)_mm512_max_epi32(_mm512_min_epi32((__m512i)a, _mm512_set1_epi32(high)), _mm512_set1_epi32(low)); }
INLINE vf over(vf a, vf b) { return a * (vf)_mm512_rcp14_ps((__m512)b); }                  /* about a / b */
INLINE vf look(vf low, vf high, vi at) { return (vf)_mm512_permutex2var_ps((__m512)low, (__m512i)at, (__m512)high); }
INLINE vf look3(vf low, vf mid, vf high, vi at)
{
    return (vf)_mm512_mask_permutexvar_ps((__m512)look(low, mid, at), _mm512_cmpgt_epi32_mask((__m512i)at, _mm512_set1_epi32(31)), (__m512i)at, (__m512)high);
}
INLINE vf gather(const float *p, vi at) { return (vf)_mm512_i32gather_ps((__m512i)at, p, 4); }
enum { CAN_LOOK = 1 };
#elif defined(__AVX2__)
INLINE vi down(vf a) { return (vi)_mm256_cvttps_epi32(_mm256_floor_ps((__m256)a)); }
INLINE vi up(vf a) { return (vi)_mm256_cvttps_epi32(_mm256_ceil_ps((__m256)a)); }
INLINE vf largest(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf least(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vi within(vi a, int low, int high) { return (vi)_mm256_max_epi32(_mm256_min_epi32((__m256i)a, _mm256_set1_epi32(high)), _mm256_set1_epi32(low)); }
INLINE vf over(vf a, vf b) { return a * (vf)_mm256_rcp_ps((__m256)b); }
INLINE vf look(vf low, vf high, vi at)
{
    return (vf)_mm256_blendv_ps(_mm256_permutevar8x32_ps((__m256)low, (__m256i)at), _mm256_permutevar8x32_ps((__m256)high, (__m256i)at),
                                _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)at, 28)));
}
INLINE vf look3(vf low, vf mid, vf high, vi at)
{
    return (vf)_mm256_blendv_ps((__m256)look(low, mid, at), _mm256_permutevar8x32_ps((__m256)high, (__m256i)at),
                                _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)at, 27)));
}
INLINE vf gather(const float *p, vi at) { return (vf)_mm256_i32gather_ps(p, (__m256i)at, 4); }
enum { CAN_LOOK = 1 };
#else
INLINE vi down(vf a) { vi r; for (int l = 0; l < VL; l++) r[l] = (int32_t)floorf(a[l]); return r; }
INLINE vi up(vf a) { vi r; for (int l = 0; l < VL; l++) r[l] = (int32_t)ceilf(a[l]); return r; }
INLINE vf largest(vf a, vf b) { vi m = a > b; return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vf least(vf a, vf b) { vi m = a < b; return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vi within(vi a, int low, int high) { for (int l = 0; l < VL; l++) a[l] = a[l] < low ? low : a[l] > high ? high : a[l]; return a; }
INLINE vf over(vf a, vf b) { return a / b; }
INLINE vf look(vf low, vf high, vi at) { (void)high; (void)at; return low; }              /* never asked for: CAN_LOOK */
INLINE vf look3(vf low, vf mid, vf high, vi at) { (void)mid; (void)high; (void)at; return low; }
INLINE vf gather(const float *p, vi at) { vf r; for (int l = 0; l < VL; l++) r[l] = p[at[l]]; return r; }
enum { CAN_LOOK = 0 };
#endif

INLINE vf ramp(void) { vf r; for (int l = 0; l < VL; l++) r[l] = (float)l; return r; }
INLINE vf all(float a) { return a - (vf){ 0 }; }

INLINE long floor_of(double a) { long i = (long)a; return i - (a < (double)i); }

/* ---- Rays through rows ---- */
INLINE void group(float *sum, const ray_group *g, const bool box, const bool wide, const int known)
{
    const vf x = get(g->x), slope = get(g->g), xr = box ? get(g->xr) : x, sloper = box ? get(g->gr) : slope;
    const long low = -RAY_PAD - g->column, high = g->n + RAY_PAD - 2 * VL - g->column;
    const int taps = known ? known : g->taps;
    vf acc = any(sum);
    const float *row = g->image + g->column;
    for (long r = 0; r < g->rows; r++, row += g->stride) {
        vf at = x + (float)r * slope, end = box ? xr + (float)r * sloper : at;
        vi i = down(box ? at + 0.5f : at);                           /* the first pixel that it touches */
        vf line = { 0 }, lo = line, hi = line, f = box ? line : at - real(i), pixel = box ? real(i) : line;
        vi idx = i;
        if (!wide) {
            long from = i[0];
            idx = i - (int)from;
            from = from < low ? low : from > high ? high : from;
            lo = any(row + from);
            hi = any(row + from + VL);
        }
        for (int j = 0; j < taps; j++) {
            vf v = wide ? gather(row, within(idx + j, (int)low, (int)high)) : look(lo, hi, idx + j);
            vf w = box ? largest(least(end, pixel + ((float)j + 0.5f)) - largest(at, pixel + ((float)j - 0.5f)), (vf){ 0 }) : j ? f : 1 - f;
            line += w * v;
        }
        acc += box ? g->scale[r] * line : line;
    }
    put_any(sum, acc);
}

static void project(float *sum, const ray_group *g)
{
    if (g->wide || !CAN_LOOK)
        group(sum, g, false, true, 2);
    else
        group(sum, g, false, false, 2);
}

static void project_box(float *sum, const ray_group *g)
{
    if (g->wide || !CAN_LOOK)
        group(sum, g, true, true, 0);
    else if (g->taps <= 3)
        group(sum, g, true, false, 3);
    else
        group(sum, g, true, false, 0);
}

/* ---- Pixels that rays touch ---- */
INLINE vf tangent(vf a)                                              /* of less than about 0.5 */
{
    vf b = a * a;
    return a + a * b * (1.f / 3 + b * (2.f / 15 + b * (17.f / 315 + b * (62.f / 2835))));
}

/* t_k of the rays k = from, from + 1, ... */
INLINE vf places(const ray_tile *s, float from)
{
    vf k = ramp() + from, T = s->arc > 0 ? tangent(k * s->arc) : k, below = 1 + s->c2 * T, in = over(all(1), below);
    if (s->affine)
        return k;
    in = in * (2 - below * in);                                      /* of at least 11 bits, to 22 and more */
    return T * s->g1 * (in * (2 - below * in));
}

/* Where among the rays the pixel lies, about: for the choice of rays alone. */
INLINE vf number(const ray_tile *s, vf q, float far, float inverse)
{
    if (s->affine)
        return q * inverse;
    vf T = over(q, far * s->g1 - s->c2 * q);
    if (!(s->arc > 0))
        return T;
    vf b = T * T;
    return T * (1 - b * (1.f / 3 - b * 0.2f)) * inverse;
}

/* Numbers of a window of rays: in 2 or 3 registers, or (0) in memory. */
struct window { const float *p; vf a, b, c; };
INLINE struct window window(const float *p, int span)
{
    struct window w = { .p = p, .a = { 0 } };
    if (span) {
        w.a = any(p);
        w.b = any(p + VL);
        w.c = span == 3 ? any(p + 2 * VL) : w.a;
    }
    return w;
}
INLINE vf of(const struct window *w, vi at, int span) { return span == 2 ? look(w->a, w->b, at) : span == 3 ? look3(w->a, w->b, w->c, at) : gather(w->p, at); }

INLINE void tile(const ray_tile *s, const bool box, const int span, const bool affine, const int known)
{
    __attribute__((aligned(64))) float t[RAY_WIDE + 64];
    const int half = span ? span * VL / 2 : RAY_WIDE / 2, taps = known ? known : s->taps;
    const float from = (float)-half - (box ? 0.5f : 0);
    for (int h = 0; !span && (!affine || box) && h < 2 * half / VL + 1; h++)
        put(t + h * VL, places(s, from + (float)(h * VL)));
    const vf lane = ramp();
    const struct window p = window(s->p - half, span);
    struct window tk = { .p = t, .a = { 0 } };
    if (span && !affine) {
        tk.a = places(s, from);
        tk.b = places(s, from + (float)VL);
        tk.c = span == 3 ? places(s, from + (float)(2 * VL)) : tk.a;
    }
    const float inverse = affine ? 1 / s->far : s->arc > 0 ? 1 / s->arc : 1;
    for (long r = 0; r < s->rows; r++) {
        float *row = s->image + r * s->stride, far = affine ? s->far : s->far + (float)r;
        vf q = lane - (s->base + (float)r * s->slope);
        vi k = up(number(s, q, far, inverse) - s->reach);
        if (!span)
            k = within(k, -half, half - 1 - taps);
        vi idx = k + half;
        vf acc = any(row), line = { 0 };
        if (box) {
            vf edge = far * (affine ? real(k) - 0.5f : of(&tk, idx, span));
            for (int j = 0; j < taps; j++) {
                vf next = far * (affine ? real(k + j) + 0.5f : of(&tk, idx + (j + 1), span));
                vf w = least(largest(edge, next), q + 0.5f) - largest(least(edge, next), q - 0.5f);
                line += largest(w, (vf){ 0 }) * of(&p, idx + j, span);
                edge = next;
            }
            acc += s->scale[r] * line;
        } else {
            vf first = q - far * real(k);
            for (int j = 0; j < taps; j++) {
                vf d = affine ? first - (float)j * far : q - far * of(&tk, idx + j, span);
                acc += largest(1 - absolute(d), (vf){ 0 }) * of(&p, idx + j, span);
            }
        }
        put_any(row, acc);
    }
}

INLINE void tile_of(const ray_tile *s, const bool box)
{
    int span = CAN_LOOK ? s->span : 0;
    if (span == 2 && s->affine && s->taps <= 2)
        tile(s, box, 2, true, 2);
    else if (span == 2 && s->affine)
        tile(s, box, 2, true, 0);
    else if (span == 2)
        tile(s, box, 2, false, 0);
    else if (span == 3 && s->affine)
        tile(s, box, 3, true, 0);
    else if (span == 3)
        tile(s, box, 3, false, 0);
    else if (s->affine)
        tile(s, box, 0, true, 0);
    else
        tile(s, box, 0, false, 0);
}

static void back(const ray_tile *s) { tile_of(s, false); }
static void back_box(const ray_tile *s) { tile_of(s, true); }

/* ---- Pixels that rays of a fan touch ---- */
/* One tile: x_k(r) as of ray_tile, rays counted from ray p. */
struct aimed { const float *p; float base, slope, far, g1, c2, apart; };

INLINE vf arctangent(vf a)                                           /* of less than about 0.3 */
{
    vf b = a * a;
    return a * (1 - b * (1.f / 3 - b * (0.2f - b * (1.f / 7 - b * (1.f / 9)))));
}

/* The pixel lies at the real ray number K, T as of a ray; a ray d further on passes it by d B (1 - C d + Q d^2 - ...), to the third power of C d, or where
 * three registers are looked into to the fourth. Rays are counted anew in each row, so that those of a row lie in `span` registers. */
INLINE vf passing(vf d, vf B, vf E, vf F, vf G, const int span) { return B - d * (E - d * (span == 3 ? F - d * G : F)); }
INLINE void fan_tile(float *image, const ray_strip *s, const struct aimed *a, const bool box, const bool curved, const int span, const int known, int taps)
{
    __attribute__((aligned(64))) float off[RAY_ROWS + VL], inverse[RAY_ROWS + VL], size[RAY_ROWS + VL];
    __attribute__((aligned(64))) int32_t from[RAY_ROWS + VL];
    const vf lane = ramp();
    const float arc = (float)s->arc, per = curved ? 1 / arc : 1, half = 0.5f * (float)(known ? known : taps), third = arc * arc / 3;
    taps = known ? known : taps;
    for (long r = 0; r < s->rows; r += VL) {
        vf row = lane + (float)r, o = a->base + row * a->slope, f = (a->far + row) * a->g1, in = 1 / f, u = ((float)(VL - 1) / 2 - o) * in, T = u / (1 - a->c2 * u);
        put(off + r, o);
        put(inverse + r, in);
        put(size + r, absolute(f));
        *(vi *)(void *)(from + r) = down(curved ? arctangent(T) * per : T) - (span * VL / 2 - 1);
    }
    for (long r = 0; r < s->rows; r++) {
        float *row = image + r * s->stride;
        vf u = (lane - off[r]) * inverse[r], v = 1 - a->c2 * u, in = over(all(1), v);
        in = in * (2 - v * in);
        vf T = u * in, K = curved ? arctangent(T) * per : T;
        vi k = up(K - half);
        vf d = real(k) - K, B = size[r] * v * v, C = a->c2 * v, Q = C * C;
        if (curved) {
            B *= arc * (1 + T * T);
            C = arc * (v * (a->c2 - T));
            Q = C * C + third;
        }
        vf E = B * C, F = B * Q, G = curved ? E * (Q + third) : E * Q;
        vi idx = k - from[r];
        struct window p = window(a->p + from[r], span);
        vf acc = any(row), line = { 0 };
        if (box) {
            d -= 0.5f;
            vf edge = least(largest(d * passing(d, B, E, F, G, span), all(-0.5f)), all(0.5f));
            for (int j = 0; j < taps; j++) {
                d += 1;
                vf next = least(largest(d * passing(d, B, E, F, G, span), all(-0.5f)), all(0.5f));
                line += (next - edge) * of(&p, idx + j, span);
                edge = next;
            }
            acc += s->scale[r] * line;
        } else
            for (int j = 0; j < taps; j++, d += 1) {
                vf by = passing(d, B, E, F, G, span), w = known && 2 * j + 1 < known ? 1 + d * by : known && 2 * j + 1 > known ? 1 - d * by : 1 - absolute(d * by);
                acc += largest(w, (vf){ 0 }) * of(&p, idx + j, span);
            }
        put_any(row, acc);
    }
}

INLINE void fan_tile_of(float *image, const ray_strip *s, const struct aimed *a, const bool box, const bool curved, const int span)
{
    int taps = (int)(box ? 2.004f + 1 / a->apart : 1.004f + 2 / a->apart);
    if (span == 3)
        fan_tile(image, s, a, box, curved, 3, 0, taps);
    else if (taps <= 2)
        fan_tile(image, s, a, box, curved, 2, 2, 2);
    else if (taps == 3)
        fan_tile(image, s, a, box, curved, 2, 3, 3);
    else
        fan_tile(image, s, a, box, curved, 2, 0, taps);
}

/* Aims at a few tiles, then fills them: divisions of one tile wait for nothing of another. */
INLINE void fan_strip(const ray_strip *s, const bool box, const bool curved, const int span, const double beyond)
{
    enum { SOME = 16 };
    const double mid = (double)(s->rows - 1) / 2, farther = s->far + mid, reach = (double)VL / 2 + mid + 1;
    for (long c0 = 0; c0 < s->n; c0 += SOME * VL) {
        struct aimed a[SOME];
        double m[SOME];
        int tiles = (int)((s->n - c0 + VL - 1) / VL < SOME ? (s->n - c0 + VL - 1) / VL : SOME);
        for (int i = 0; i < tiles; i++) {                            /* the ray through the middle */
            double x = (double)(c0 + i * VL) + (double)(VL - 1) / 2 - s->at;
            m[i] = (s->ex * farther - x * s->er) / (x * s->ur - s->ux * farther);
            if (curved)
                m[i] = (double)atanf((float)m[i]) / s->arc;               /* a neighbour of the ray would do */
        }
        for (int i = 0; i < tiles; i++) {
            bool touched = m[i] + s->mid >= (double)s->first - beyond && m[i] + s->mid <= (double)s->last + beyond;
            long n = touched ? floor_of(m[i] + s->mid + 0.5) : s->first;
            double k = (double)n - s->mid, ux = s->ux, ur = s->ur, ex = s->ex + k * ux, er = s->er + k * ur;
            if (curved) {
                bool known = n >= s->first && n <= s->last;
                double c = known ? s->c[n - s->first] : cos(k * s->arc), sn = known ? s->s[n - s->first] : sin(k * s->arc);
                ex = c * s->ex + sn * ux;
                er = c * s->er + sn * ur;
                ux = c * s->ux - sn * s->ex;
                ur = c * s->ur - sn * s->er;
            }
            double in = 1 / er, G = ex * in, g1 = (ux - G * ur) * in, c2 = ur * in, near = fmin(fabs(s->far), fabs(s->far + (double)(s->rows - 1))) * fabs(g1);
            a[i] = (struct aimed){ touched ? s->p + n : NULL, (float)(s->at + s->far * G - (double)(c0 + i * VL)), (float)G, (float)s->far, (float)g1, (float)c2,
                                   (float)((near - 2 * fabs(c2) * reach) * (curved ? s->arc : 1)) };
        }
        for (int i = 0; i < tiles; i++)
            if (a[i].p) {
                a[i].apart = a[i].apart > (float)s->apart ? a[i].apart : (float)s->apart;
                fan_tile_of(s->image + c0 + i * VL, s, &a[i], box, curved, span);
            }
    }
}

static bool fan(const ray_strip *s)
{
    const double b = s->apart, mid = (double)(s->rows - 1) / 2, beyond = ((double)VL / 2 + mid) / b + 4;
    const bool box = s->scale != NULL, curved = s->arc > 0;
    const int taps = (int)(box ? 2.004 + 1 / b : 1.004 + 2 / b);
    double C = 0;                                                    /* the largest C d of a ray that touches a pixel */
    for (int i = 0; i < 2; i++) {
        double k = (double)(i ? s->last : s->first) - s->mid, c = curved ? cos(k * s->arc) : 1, sn = curved ? sin(k * s->arc) : k;
        double er = c * s->er + sn * s->ur, ur = curved ? c * s->ur - sn * s->er : s->ur;
        C = fmax(C, fabs(ur / er) * (curved ? s->arc : 1) * (taps / 2. + 0.5));
    }
    const int span = C < 4e-3 && (double)(VL - 1) / 2 / b + taps / 2. + 1.2 < VL ? 2 : 3;
    if (!CAN_LOOK || !(C < 0.015) || (double)(VL - 1) / 2 / b + taps / 2. + 1.2 > span * VL / 2.)
        return false;
    if (span == 3)
        box ? curved ? fan_strip(s, true, true, 3, beyond) : fan_strip(s, true, false, 3, beyond) : curved ? fan_strip(s, false, true, 3, beyond) : fan_strip(s, false, false, 3, beyond);
    else
        box ? curved ? fan_strip(s, true, true, 2, beyond) : fan_strip(s, true, false, 2, beyond) : curved ? fan_strip(s, false, true, 2, beyond) : fan_strip(s, false, false, 2, beyond);
    return true;
}

/* ---- Filtered back-projection: one value a pixel and view ---- */
/* A quadratic B-spline f from the middle one of three coefficients, |f| at most a half. */
INLINE vf splined(vf f, vf a, vf b, vf c)
{
    vf low = 0.5f - f, high = 0.5f + f;
    return b + 0.5f * (low * low * (a - b) + high * high * (c - b));
}

INLINE void sweep_rows(const ray_sweep *s, const bool spline)
{
    const vf lane = ramp(), step = lane * (float)s->ki;
    const double across = (double)(VL - 1) * s->ki, left = across < 0 ? across : 0, right = across > 0 ? across : 0, last = (double)s->last;
    for (long r = 0; r < s->rows; r++) {
        double k = s->k + (double)r * s->kr;
        float *row = s->image + r * s->stride;
        for (long c = 0; c < s->n; c += VL, row += VL, k += (double)VL * s->ki) {
            double low = k + left;
            if (low > last + 1e-4 || k + right < -1e-4)
                continue;
            long from = floor_of(low) - 1;
            vf t = (float)(k - (double)from) + step, lo = any(s->p + from), hi = any(s->p + from + VL), value;
            if (spline) {
                vi i = down(t + 0.5f);
                value = splined(t - real(i), look(lo, hi, i - 1), look(lo, hi, i), look(lo, hi, i + 1));
            } else {
                vi i = down(t);
                vf a = look(lo, hi, i), b = look(lo, hi, i + 1);
                value = a + (t - real(i)) * (b - a);
            }
            if (low < 0 || k + right > last)                         /* to rounding */
                value = (vf)((vi)value & (t >= all((float)(-(double)from - 1e-4))) & (t <= all((float)(last - (double)from + 1e-4))));
            put_any(row, any(row) + value);
        }
    }
}

static bool sweep(const ray_sweep *s)
{
    if (CAN_LOOK)
        s->spline ? sweep_rows(s, true) : sweep_rows(s, false);
    return CAN_LOOK;
}

INLINE void smear_tile(const ray_smear *s, const int span, const bool affine)
{
    const int half = span ? span * VL / 2 : RAY_WIDE / 2;
    const vf lane = ramp(), first = all((float)s->first - 1e-4f), last = all((float)s->last + 1e-4f);      /* to rounding */
    const struct window p = window(s->p - half, span);
    const float inverse = s->arc > 0 ? 1 / s->arc : 1;
    for (long r = 0; r < s->rows; r++) {
        float *row = s->image + r * s->stride;
        vf k = (s->n + (float)r * s->nr) + lane * s->ni, w = all(s->weight);
        if (!affine) {
            vf below = 1 / ((1 + (float)r * s->wr) + lane * s->wi), T = k * below;
            w = w * below * below;
            k = T;
            if (s->arc > 0) {
                vf b = T * T;
                k = T * (1 - b * (1.f / 3 - b * (0.2f - b * (1.f / 7 - b * (1.f / 9))))) * inverse;
                w = w / (1 + b);
            }
        }
        vi inside = (k >= first) & (k <= last);
        vf value;
        if (s->spline) {
            vi i = within(down(k + 0.5f), 1 - half, half - 2), idx = i + half;
            value = splined(k - real(i), of(&p, idx - 1, span), of(&p, idx, span), of(&p, idx + 1, span));
        } else {
            vi i = within(down(k), -half, half - 2), idx = i + half;
            vf a = of(&p, idx, span), b = of(&p, idx + 1, span);
            value = a + (k - real(i)) * (b - a);
        }
        put_any(row, any(row) + (vf)((vi)(w * value) & inside));
    }
}

static void smear(const ray_smear *s)
{
    int span = CAN_LOOK ? s->span : 0;
    if (span == 2 && s->affine)
        smear_tile(s, 2, true);
    else if (span == 2)
        smear_tile(s, 2, false);
    else if (span == 3)
        smear_tile(s, 3, s->affine);
    else
        smear_tile(s, 0, s->affine);
}

static void beam(float *to, long n, const ray_beam *s)
{
    const vf lane = ramp();
    const float wide = (float)(s->columns - 1), high = (float)(s->rows - 1);
    for (long i = 0; i < n; i += VL) {
        vf at = lane + (float)i, in = 1 / (s->w + at * s->dw), u = (s->u + at * s->du) * in + s->cu, v = (s->v + at * s->dv) * in + s->cv;
        vi inside = (u >= (vf){ 0 }) & (v >= (vf){ 0 }) & (u <= all(wide)) & (v <= all(high)) & (in > (vf){ 0 });
        u = least(largest(u, (vf){ 0 }), all(wide));
        v = least(largest(v, (vf){ 0 }), all(high));
        vi k = within(down(u), 0, s->columns - 2 < 0 ? 0 : s->columns - 2), l = within(down(v), 0, s->rows - 2 < 0 ? 0 : s->rows - 2);
        vf fu = u - real(k), fv = v - real(l);
        vi p = l * s->columns + k, right = p + (s->columns > 1), below = s->rows > 1 ? p + s->columns : p, both = below + (s->columns > 1);
        vf a = gather(s->p, p), b = gather(s->p, right), c = gather(s->p, below), d = gather(s->p, both);
        vf top = a + fu * (b - a), bottom = c + fu * (d - c), sum = (vf)((vi)(s->weight * in * in * (top + fv * (bottom - top))) & inside);
        if (i + VL <= n)
            put_any(to + i, any(to + i) + sum);
        else
            for (long j = i; j < n; j++)
                to[j] += sum[j - i];
    }
}

/* ---- Columns of the detector along lines of voxels ---- */
static void mix(float *to, const float *from, long step, const float *w, int lines, long n)
{
    long whole = n / VL * VL;
    if (lines == 2)
        for (long i = 0; i < whole; i += VL)
            put_any(to + i, w[0] * any(from + i) + w[1] * any(from + step + i));
    else
        for (long i = 0; i < whole; i += VL) {
            vf sum = w[0] * any(from + i);
            for (int k = 1; k < lines; k++)
                sum += w[k] * any(from + k * step + i);
            put_any(to + i, sum);
        }
    for (long i = whole; i < n; i++) {
        float sum = w[0] * from[i];
        for (int k = 1; k < lines; k++)
            sum += w[k] * from[k * step + i];
        to[i] = sum;
    }
}

static void spread(float *to, const float *from, long step, const float *w, int lines, long n)
{
    long whole = n / VL * VL;
    for (long i = 0; i < whole; i += VL) {
        vf a = any(from + i);
        for (int k = 0; k < lines; k++)
            put_any(to + k * step + i, any(to + k * step + i) + w[k] * a);
    }
    for (int k = 0; k < lines; k++)
        for (long i = whole; i < n; i++)
            to[k * step + i] += w[k] * from[i];
}

INLINE void through_lines(float *sum, const ray_column *c, const bool box, const bool wide, const int taps)
{
    const vf lane = ramp();
    for (long k = 0; k < c->rays; k += VL) {
        vf acc = any(sum + k);
        for (long r = 0; r < c->rows; r++) {
            double far = c->far[r], z = c->at[r] + ((double)k - (box ? 0.5 : 0)) * far;      /* distance: the left edge of the first ray */
            if (z + (double)VL * far < -0.5 || z > (double)c->n)
                continue;
            long base = floor_of(box ? z + 0.5 : z), low = -RAY_PAD - base, high = c->n + RAY_PAD - 2 * VL - base;
            float wide_as = (float)far;
            vf at = (float)(z - (double)base) + lane * wide_as, end = at + wide_as, lo = { 0 }, hi = lo, line = lo;
            vi i = down(box ? at + 0.5f : at);
            vf f = at - real(i), pixel = real(i);
            const float *p = c->p + r * c->stride + base;
            if (!wide) {
                long from = low > 0 ? low : high < 0 ? high : 0;
                lo = any(p + from);
                hi = any(p + from + VL);
            }
            if (box) {
                int n = taps ? taps : (int)(far + 1e-3) + 2;
                for (int j = 0; j < n; j++) {
                    vf v = wide ? gather(p, within(i + j, (int)low, (int)high + 2 * VL - 1)) : look(lo, hi, i + j);
                    line += largest(least(end, pixel + ((float)j + 0.5f)) - largest(at, pixel + ((float)j - 0.5f)), (vf){ 0 }) * v;
                }
                acc += c->scale[r] * line;
            } else {
                vf a = wide ? gather(p, within(i, (int)low, (int)high + 2 * VL - 1)) : look(lo, hi, i);
                vf b = wide ? gather(p, within(i + 1, (int)low, (int)high + 2 * VL - 1)) : look(lo, hi, i + 1);
                acc += a + f * (b - a);
            }
        }
        put_any(sum + k, acc);
    }
}

static void column(float *sum, const ray_column *c)
{
    double far = 0;
    for (long r = 0; r < c->rows; r++)
        far = c->far[r] > far ? c->far[r] : far;
    int taps = c->box ? (int)(far + 1e-3) + 2 : 2;
    bool wide = !CAN_LOOK || (double)(VL - 1) * far + taps + 1.5 > 2 * VL;
    if (!c->box)
        wide ? through_lines(sum, c, false, true, 2) : through_lines(sum, c, false, false, 2);
    else if (wide)
        through_lines(sum, c, true, true, 0);
    else if (taps == 2)
        through_lines(sum, c, true, false, 2);
    else
        through_lines(sum, c, true, false, 0);
}

static void take(float *to, const float *p, long n, double at, double far, long k0, long k1)
{
    const vf lane = ramp();
    const bool wide = !CAN_LOOK || (double)(VL - 1) * far + 3.5 > 2 * VL;
    for (long k = k0 / VL * VL; k <= k1; k += VL) {
        double z = at + (double)k * far;
        long base = floor_of(z), low = -RAY_PAD - base, high = n + RAY_PAD - 2 * VL - base, from = low > 0 ? low : high < 0 ? high : 0;
        vf x = (float)(z - (double)base) + lane * (float)far;
        vi i = down(x), number = __builtin_convertvector(lane, vi) + (int)k, in = (number >= (int)k0) & (number <= (int)k1);
        vf f = x - real(i), a, b;
        if (wide) {
            a = gather(p + base, within(i, (int)low, (int)high + 2 * VL - 1));
            b = gather(p + base, within(i + 1, (int)low, (int)high + 2 * VL - 1));
        } else {
            vf lo = any(p + base + from), hi = any(p + base + from + VL);
            a = look(lo, hi, i - (int)from);
            b = look(lo, hi, i + 1 - (int)from);
        }
        put_any(to + k, any(to + k) + (vf)((vi)(a + f * (b - a)) & in));
    }
}

/* The rays that voxels i0..i1-1 of line r lie between. */
INLINE void into_line(float *line, const ray_column *c, long r, const bool box, const int span, const int known)
{
    const double far = c->far[r], inverse = 1 / far, reach = (box ? 0.5 + 0.5 * inverse : inverse) + 4e-3;
    const int taps = known ? known : (int)(2 * reach) + 1;
    const float farf = (float)far, in = (float)inverse, reachf = (float)reach, half = 0.5f * farf, scale = box ? c->scale[r] : 1;
    const vf lane = ramp();
    for (long i = c->i0[r]; i < c->i1[r]; i += VL) {
        double q = (double)i - c->at[r], k0 = q * inverse - reach;
        vf sum = { 0 };
        if (k0 < (double)c->rays && k0 + (double)VL * inverse + taps > 0) {
            long base = floor_of(k0);                                /* the window begins here, one ray before what is touched */
            long low = -RAY_PAD - base, high = c->rays + RAY_PAD - 1 - base;
            long from = low > 0 ? low : 0;
            vf d = (float)(q - (double)base * far) + lane;           /* from ray `base` */
            vi k = up(d * in - reachf);
            struct window w = window(c->p + base + (span ? from : 0), span);
            vf first = d - farf * real(k);
            for (int j = 0; j < taps; j++) {
                vf v = span ? of(&w, k + (j - (int)from), span) : gather(w.p, within(k + j, (int)low, (int)high)), a = first - (float)j * farf;
                if (box)
                    sum += largest(least(all(half), a + 0.5f) - largest(all(-half), a - 0.5f), (vf){ 0 }) * v;
                else
                    sum += largest(1 - absolute(a), (vf){ 0 }) * v;
            }
            if (box)
                sum *= scale;
        }
        put_any(line + i, sum);
    }
}

static void column_back(float *lines, const ray_column *c)
{
    for (long r = 0; r < c->rows; r++) {
        float *line = lines + r * c->stride;
        double inverse = 1 / c->far[r], reach = (c->box ? 0.5 + 0.5 * inverse : inverse) + 4e-3, most = (double)(VL - 1) * inverse + 2 * reach + 3;
        int taps = (int)(2 * reach) + 1, span = !CAN_LOOK ? 0 : most < 2 * VL ? 2 : most < 3 * VL && 3 * VL <= RAY_PAD ? 3 : 0;
        if (span == 2 && !c->box && taps == 3)
            into_line(line, c, r, false, 2, 3);
        else if (span == 2)
            c->box ? into_line(line, c, r, true, 2, 0) : into_line(line, c, r, false, 2, 0);
        else if (span == 3)
            c->box ? into_line(line, c, r, true, 3, 0) : into_line(line, c, r, false, 3, 0);
        else
            c->box ? into_line(line, c, r, true, 0, 0) : into_line(line, c, r, false, 0, 0);
    }
}

/* ---- Rays in any direction ---- */
/* Places of the rays at plane a along one axis: floor + fraction, from `base`. */
INLINE vf places_at(double first, long base, const float *d, const float *dg, float a) { return (float)(first - (double)base) + any(d) + a * any(dg); }

/* Weights of the two voxels along one axis, 0 of those outside, and where they lie. */
struct pair { vi at[2]; vf w[2]; };
INLINE struct pair pair_of(double first, const float *d, const float *dg, float a, long n, int step)
{
    long base = floor_of(first);
    vf x = places_at(first, base, d, dg, a);
    vi i = down(x);
    vf f = x - real(i);
    i += (int)base;
    struct pair p;
    vi low = within(i, 0, (int)n - 1), high = within(i + 1, 0, (int)n - 1);
    p.w[0] = (vf)((vi)(1 - f) & (low == i));
    p.w[1] = (vf)((vi)f & (high == i + 1));
    p.at[0] = low * step;
    p.at[1] = high * step;
    return p;
}

static void slant_anywhere(float *sum, const ray_slant *s)
{
    vf acc = any(sum);
    for (long a = s->from; a < s->to; a++) {
        struct pair b = pair_of(s->x0 + (double)a * s->gx, s->dx, s->dgx, (float)a, s->n[0], (int)s->step[1]);
        struct pair c = pair_of(s->z0 + (double)a * s->gz, s->dz, s->dgz, (float)a, s->n[1], (int)s->step[2]);
        const float *plane = s->volume + a * s->step[0];
        vf low = b.w[0] * gather(plane, b.at[0] + c.at[0]) + b.w[1] * gather(plane, b.at[1] + c.at[0]);
        vf high = b.w[0] * gather(plane, b.at[0] + c.at[1]) + b.w[1] * gather(plane, b.at[1] + c.at[1]);
        acc += c.w[0] * low + c.w[1] * high;
    }
    put_any(sum, acc);
}

static void slant_back(float *volume, const float *y, const ray_slant *s)
{
    vf value = any(y);
    for (long a = s->from; a < s->to; a++) {
        struct pair b = pair_of(s->x0 + (double)a * s->gx, s->dx, s->dgx, (float)a, s->n[0], (int)s->step[1]);
        struct pair c = pair_of(s->z0 + (double)a * s->gz, s->dz, s->dgz, (float)a, s->n[1], (int)s->step[2]);
        float *plane = volume + a * s->step[0];
        vf low = c.w[0] * value, high = c.w[1] * value, add[4] = { b.w[0] * low, b.w[1] * low, b.w[0] * high, b.w[1] * high };
        vi at[4] = { b.at[0] + c.at[0], b.at[1] + c.at[0], b.at[0] + c.at[1], b.at[1] + c.at[1] };
        for (int k = 0; k < 4; k++)                                  /* neighbouring rays share voxels, but seldom the same of the four */
            for (int l = 0; l < VL; l++)
                plane[at[k][l]] += add[k][l];
    }
}

/* What the rays meet at plane a: places along b from voxel `first` of a row, 2 VL of which are looked at, along c from row `row`; `rows` of them. */
struct window_of_rays { long first, row, rows; vf x, z; };
INLINE struct window_of_rays look_at(const ray_slant *s, long a)
{
    struct window_of_rays w;
    long first = floor_of(s->low[0] + (double)a * s->low[1]), row = floor_of(s->low[2] + (double)a * s->low[3]), end = row + s->rows;
    w.first = first < 0 ? 0 : first > s->n[0] - 2 * VL ? s->n[0] - 2 * VL : first;
    w.row = row < 0 ? 0 : row;
    w.rows = (end > s->n[1] ? s->n[1] : end) - w.row;
    w.x = places_at(s->x0 + (double)a * s->gx, w.first, s->dx, s->dgx, (float)a);
    w.z = places_at(s->z0 + (double)a * s->gz, w.row, s->dz, s->dgz, (float)a);
    return w;
}
INLINE vf hat(vf d) { return largest(1 - absolute(d), (vf){ 0 }); }

static void slant(float *sum, const ray_slant *s)
{
    if (!CAN_LOOK || !s->rows) {
        slant_anywhere(sum, s);
        return;
    }
    vf acc = any(sum);
    for (long a = s->from; a < s->to; a++) {
        struct window_of_rays w = look_at(s, a);
        const float *p = s->volume + a * s->step[0] + w.row * s->step[2] + w.first;
        vi i = down(w.x);                                            /* outside of the row, weights are 0 */
        vf f = w.x - real(i), w0 = (vf)((vi)(1 - f) & (i >= 0) & (i < 2 * VL)), w1 = (vf)((vi)f & (i >= -1) & (i < 2 * VL - 1));
        for (long r = 0; r < w.rows; r++, p += s->step[2]) {
            vf lo = any(p), hi = any(p + VL);
            acc += hat(w.z - (float)r) * (w0 * look(lo, hi, i) + w1 * look(lo, hi, i + 1));
        }
    }
    put_any(sum, acc);
}

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_raykern_, level)
const kr_raykern NAME(KR_LEVEL) = { VL, project, project_box, back, back_box, fan, smear, sweep, beam, mix, spread, take, column, column_back, slant, slant_back };
