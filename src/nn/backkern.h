/* backkern.h: the inner loops of weight gradients and of norms' backward passes, built once per CPU level. Private to src/nn. */
#ifndef KRAY_BACKKERN_H
#define KRAY_BACKKERN_H

typedef struct back_kern {
    /* sum[i][o] += sum over `px` pixels of each of some rows, `row` and `drow` floats apart, of x[pixel][i] d[pixel][o], i < 16 (only the first n
     * of i are wanted), o < 16: floats are added up within a call, doubles from call to call. */
    void (*outer)(double *sum, const float *x, long row, const float *d, long drow, long px, long rows, long n);
    /* Of n numbers, 16 channels side by side: t = (x - mean) scale, d = dy where t > 0 and slope dy elsewhere, v = t or low t likewise.
     * sum += d, along += d v, per channel. */
    void (*norm_sums)(double sum[16], double along[16], const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, long n);
    void (*norm_back)(float *dx, const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, const float *by, const float *sum, const float *along,
                      long n, int add);  /* dx = (add: +=) by (d - sum - v along) */
} back_kern;
extern const back_kern back_kern_base, back_kern_v3, back_kern_v4;
#endif
