/* fftw.h: what lanes.c asks of FFTW, which fft.c alone knows. Private to this folder. */
#ifndef KRAY_FFTW_H
#define KRAY_FFTW_H
/* KR_LANES transforms of n rows of a panel in place; an inverse one has real and imaginary parts exchanged. NULL: refused. */
void *kr_fftw_split(long n, int inverse);
void kr_fftw_run_split(const void *plan, float *panel, int inverse);
void kr_fftw_drop(void *plan);
#endif
