/* rowfilter.h: a filter along the rows of a detector, with zeros beside them. */
#ifndef KRAY_ROWFILTER_H
#define KRAY_ROWFILTER_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_rowfilter kr_rowfilter;
/* y = F^-1 H F x along rows of P numbers. H (copied): real, of frequencies 0 ... P/2, the same of -k; NULL: 1 everywhere. Refuses want of memory alone. Owner: the caller. */
kr_rowfilter *kr_rowfilter_new(const double *H, long P) KR_MUST_USE;
void kr_rowfilter_unref(kr_rowfilter **f);
size_t kr_rowfilter_bytes(const kr_rowfilter *f);
/* `count` rows of `in` numbers p, the first of them at `lead` of n, P / 2 at most, zeros beside them; times weight (of n numbers a row; NULL: 1) before, and scale, one for each
 * `each` rows, behind (NULL: 1). y: rows of n. */
typedef struct kr_rowset { const float *p, *weight; const double *scale; long n, in, lead, count, each; } kr_rowset;
int kr_rowfilter_apply(const kr_rowfilter *f, float *y, const kr_rowset *rows) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
