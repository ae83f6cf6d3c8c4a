/* lanekern.h: what the lane kernels work on; built once per CPU level. Private to this folder. */
#ifndef KRAY_LANEKERN_H
#define KRAY_LANEKERN_H
#include "kray/lanes.h"

enum { STAGES = 24, LARGEST_PRIME = 127 };
/* One step of a decimation in frequency: blocks of `length` rows become `radix` blocks of length / radix. */
struct stage {
    int radix;
    long length;
    const float *twiddle;             /* radix - 1 pairs (cos, -sin) for each row of a sub-block           */
    const float *odd;                 /* odd radices over 5: cos, sin of 2 pi j k / radix, j and k from 1 to radix / 2 */
};
struct kr_lanes {
    long n;
    int stages;                       /* 0: FFTW does it                                                   */
    struct stage stage[STAGES];
    long *order, *place;              /* frequency at row k; row of frequency k                            */
    float *tables;
    void *slow[2];                    /* FFTW's plans, forward and inverse                                 */
};

typedef struct kr_lanekern {
    void (*forward)(const kr_lanes *p, float *x);
    void (*inverse)(const kr_lanes *p, float *x);
    /* w = scale F^H P F w, neither F scaled; P: a word a row, a bit a lane. And w = scale P w. */
    void (*masked)(const kr_lanes *p, float *w, const uint32_t *kept, float scale);
    void (*mask)(float *w, const uint32_t *kept, float scale, long rows);
    /* w = sum over m of S_m x_m, and z_m += conj(S_m) w; blocks of S, x and z are `step` floats apart. */
    void (*expand)(float *w, const float *S, const float *x, long rows, long maps, long step);
    void (*reduce)(float *z, const float *S, const float *w, long rows, long maps, long step);
    /* w = c dx + x dc (add: on top of w), and z += conj(c) w, t = conj(x) w. */
    void (*pair)(float *w, const float *c, const float *dx, const float *x, const float *dc, long rows, bool add);
    void (*pair_back)(float *z, float *t, const float *c, const float *x, const float *w, long rows);
    /* Row j of KR_LANES rows of lanes becomes lane j of `rows` rows (at most KR_LANES), and back. */
    void (*turn)(float *to, const float *const from[KR_LANES], long rows);
    void (*turn_back)(float *const to[KR_LANES], const float *from, long rows);
    /* Lines of interleaved complex numbers along memory, or columns across it. `swap` exchanges real and imaginary parts:
     * a forward transform between two swaps is an inverse one. phase: pairs, one a point, or NULL. Point k is in row
     * place[k] (NULL: k), row k is point order[k] (NULL: k). */
    void (*load_lines)(float *to, const float *const line[KR_LANES], const long *place, long n, const float *phase, bool swap);
    void (*store_lines)(float *const line[KR_LANES], const float *from, const long *place, long n, const float *phase, bool swap);
    void (*load_columns)(float *to, const float *x, long step, long n, const float *phase, bool swap);
    void (*store_columns)(float *y, long step, const float *from, const long *order, long n, const float *phase, bool swap);
    /* Row k times pair k of phase. */
    void (*turn_phase)(float *x, const float *phase, long rows);
    void (*scaled)(float *z, float a, const float *x, long rows);
    void (*dot)(const float *x, const float *y, long rows, double sum[KR_LANES]);
    void (*step)(float *x, float *r, const float *p, const float *q, const float *a, long rows, double sum[KR_LANES]);
    void (*xpay)(float *p, const float *r, const float *b, long rows);
    void (*waves)(float *K, const float *w, const float *wave, long step, long offsets, long entries);
    void (*gram)(float *M, const float *K, long n);
    void (*hermitian)(float *z, const float *M, const float *x, long n);
    /* C = A B of complex numbers, m x k and k x n, B small: A's columns are lda, C's ldc, B's entries up by l row, by j column numbers apart. */
    void (*few)(float *C, long ldc, const float *A, long lda, const float *B, const long step[2], const long mnk[3]);
} kr_lanekern;
extern const kr_lanekern kr_lanekern_base, kr_lanekern_v3, kr_lanekern_v4;
const kr_lanekern *kr_lanekern_best(void);
#endif
