/* la.h: dense linear algebra, column-major, complex float. la.c alone knows BLAS and LAPACKE; always one thread,
 * so that results do not depend on the number of threads. */
#ifndef KRAY_LA_H
#define KRAY_LA_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus
/* A = V diag(w) V^H, A n x n Hermitian (lower triangle read), w ascending, columns of A become V. */
int kr_la_eigh(long n, kr_cfloat *A, float *w) KR_MUST_USE;
/* The `count` largest eigenpairs only: w[count] ascending, V n x count. Destroys A. */
int kr_la_eigh_top(long n, kr_cfloat *A, long count, float *w, kr_cfloat *V) KR_MUST_USE;
/* All eigenvalues, and the eigenvectors of as many of the largest as `pick`, shown w[n] ascending, asks for (a refusal
 * of pick is returned): *V n x *count, to be freed with kr_free. Destroys A. */
typedef long kr_la_pick(void *self, long n, const float *w);
int kr_la_eigh_pick(long n, kr_cfloat *A, float *w, kr_la_pick *pick, void *self, long *count, kr_cfloat **V) KR_MUST_USE;
/* A = U diag(s) V^H, A m x n (destroyed), k = min(m,n): U m x k, s[k] descending, Vh k x n. U or Vh may be NULL. */
int kr_la_svd(long m, long n, kr_cfloat *A, kr_cfloat *U, float *s, kr_cfloat *Vh) KR_MUST_USE;
/* A = R^H R, upper triangular R in A (the strict lower triangle is set to 0). Refuses what is not positive definite. */
int kr_la_cholesky(long n, kr_cfloat *A) KR_MUST_USE;
/* R <- R^-1, R upper triangular. */
int kr_la_inverse_upper(long n, kr_cfloat *R) KR_MUST_USE;
/* Solves (A + ridge I) X = B, A Hermitian positive definite n x n (destroyed), B n x m becomes X. */
int kr_la_solve_posdef(long n, kr_cfloat *A, float ridge, long m, kr_cfloat *B) KR_MUST_USE;
/* C = alpha op(A) op(B) + beta C; op: 'N' as is, 'C' conjugate transposed, 'T' transposed; C m x n, inner length k. */
void kr_la_gemm(char opa, char opb, long m, long n, long k, float alpha, const kr_cfloat *A, long lda,
                const kr_cfloat *B, long ldb, float beta, kr_cfloat *C, long ldc);
/* C = alpha A^H A + beta C, lower triangle of C n x n; A k x n. */
void kr_la_gram(long n, long k, float alpha, const kr_cfloat *A, long lda, float beta, kr_cfloat *C, long ldc);
#endif
#ifdef __cplusplus
}
#endif
#endif
