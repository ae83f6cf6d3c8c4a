/* daubechies.h: what is inside a wavelet transform. Private to this folder. */
#ifndef KRAY_DAUBECHIES_H
#define KRAY_DAUBECHIES_H
#include "kray/wavelet.h"

enum { KR_WAVELET_LEVELS = 20 };
struct kr_wavelet {
    int turn;                         /* axis d here is axis (d + turn) % 3 of the caller: the first that is longer than 1 runs along rows */
    long n[3], volume, batch, lanes;  /* lines of a panel: real ones fill the places of imaginary parts, too  */
    bool real;
    int levels, taps;
    long band[KR_WAVELET_LEVELS + 1][3];    /* lengths of the low band after so many levels                  */
    float h[2 * KR_WAVELET_ORDERS], g[2 * KR_WAVELET_ORDERS];
    long room;                        /* floats per worker: twice the longest axis and some rows of panels   */
    float *work;
};
#endif
