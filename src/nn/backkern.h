/* backkern.h: the inner loop of weight gradients, built once per CPU level. Private to src/nn. */
#ifndef KRAY_BACKKERN_H
#define KRAY_BACKKERN_H

typedef struct back_kern {
    /* sum[i][o] += sum over `px` pixels of each of some rows, `row` and `drow` floats apart, of x[pixel][i] d[pixel][o], i < 16 (only the first n
     * of i are wanted), o < 16: floats are added up within a call, doubles from call to call. */
    void (*outer)(double *sum, const float *x, long row, const float *d, long drow, long px, long rows, long n);
} back_kern;
extern const back_kern back_kern_base, back_kern_v3, back_kern_v4;
#endif
