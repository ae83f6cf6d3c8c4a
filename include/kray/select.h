/* select.h: the k-th smallest of many numbers, as for medians and percentiles, without sorting them all. */
#ifndef KRAY_SELECT_H
#define KRAY_SELECT_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Rearranges the n numbers so that a[k] is what sorting would put there, nothing before it is larger and nothing after it smaller; returns a[k]. 0 <= k < n; takes time in proportion to n. */
float kr_select(float *a, long n, long k);

#ifdef __cplusplus
}
#endif
#endif
