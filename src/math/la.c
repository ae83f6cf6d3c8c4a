/* la.c: dense linear algebra; alone knows BLAS and LAPACKE. */
#include "kray/la.h"
#include <complex.h>
#undef I
#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

void openblas_set_num_threads(int n) __attribute__((weak));

static void single(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

/* One thread: products then do not depend on how many there are, and our own loops keep the cores. */
static void begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, single);
}

static int fits(const char *what, long a, long b)
{
    return a < 0 || b < 0 || a > INT_MAX / 4 || b > INT_MAX / 4
        ? kr_fail(KR_EREFUSED, "%s of a %ld x %ld matrix", what, a, b) : 0;
}

static int failed(const char *what, long n, int info)
{
    return kr_fail(KR_ENUMBER, "%s of a matrix of order %ld does not succeed (LAPACK says %d): are its numbers finite?", what, n, info);
}

int kr_la_eigh(long n, kr_cfloat *A, float *w)
{
    begin();
    if (fits("eigenvalues", n, n))
        return kr_error_code();
    int info = LAPACKE_cheevd(LAPACK_COL_MAJOR, 'V', 'L', (int)n, A, (int)n, w);
    return info ? failed("eigenvalue decomposition", n, info) : 0;
}

int kr_la_eigh_top(long n, kr_cfloat *A, long count, float *w, kr_cfloat *V)
{
    begin();
    if (fits("eigenvalues", n, n) || count < 1 || count > n)
        return kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "%ld eigenvalues of a matrix of order %ld", count, n);
    int found = 0;
    kr_auto float *all = kr_alloc((size_t)n, sizeof *all);
    kr_auto int *support = kr_alloc((size_t)(2 * n), sizeof *support);
    if (!all || !support)
        return kr_error_code();
    int info = LAPACKE_cheevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', (int)n, A, (int)n, 0, 0, (int)(n - count + 1), (int)n, 0,
                              &found, all, V, (int)n, support);
    if (info || found != count)
        return failed("eigenvalue decomposition", n, info);
    memcpy(w, all, (size_t)count * sizeof *w);
    return 0;
}

int kr_la_svd(long m, long n, kr_cfloat *A, kr_cfloat *U, float *s, kr_cfloat *Vh)
{
    begin();
    if (fits("singular values", m, n))
        return kr_error_code();
    long k = m < n ? m : n;
    kr_auto float *work = kr_alloc((size_t)(k + 1), sizeof *work);
    if (!work)
        return kr_error_code();
    int info = LAPACKE_cgesvd(LAPACK_COL_MAJOR, U ? 'S' : 'N', Vh ? 'S' : 'N', (int)m, (int)n, A, (int)m, s, U, (int)m, Vh,
                              (int)k, work);
    return info ? failed("singular value decomposition", k, info) : 0;
}

int kr_la_cholesky(long n, kr_cfloat *A)
{
    begin();
    if (fits("Cholesky factor", n, n))
        return kr_error_code();
    int info = LAPACKE_cpotrf(LAPACK_COL_MAJOR, 'U', (int)n, A, (int)n);
    if (info)
        return kr_fail(KR_ENUMBER, "a matrix of order %ld is not positive definite", n);
    for (long j = 0; j < n; j++)
        for (long i = j + 1; i < n; i++)
            A[j * n + i] = 0;
    return 0;
}

int kr_la_inverse_upper(long n, kr_cfloat *R)
{
    begin();
    if (fits("inverse", n, n))
        return kr_error_code();
    int info = LAPACKE_ctrtri(LAPACK_COL_MAJOR, 'U', 'N', (int)n, R, (int)n);
    return info ? kr_fail(KR_ENUMBER, "a triangular matrix of order %ld is singular", n) : 0;
}

int kr_la_solve_posdef(long n, kr_cfloat *A, float ridge, long m, kr_cfloat *B)
{
    begin();
    if (fits("system", n, m))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        A[i * n + i] += ridge;
    int info = LAPACKE_cposv(LAPACK_COL_MAJOR, 'L', (int)n, (int)m, A, (int)n, B, (int)n);
    return info ? kr_fail(KR_ENUMBER, "a system of order %ld is singular or not positive definite", n) : 0;
}

static CBLAS_TRANSPOSE op(char c)
{
    kr_assert(c == 'N' || c == 'C' || c == 'T');
    return c == 'N' ? CblasNoTrans : c == 'C' ? CblasConjTrans : CblasTrans;
}

void kr_la_gemm(char opa, char opb, long m, long n, long k, float alpha, const kr_cfloat *A, long lda,
                const kr_cfloat *B, long ldb, float beta, kr_cfloat *C, long ldc)
{
    begin();
    kr_cfloat a = alpha, b = beta;
    cblas_cgemm(CblasColMajor, op(opa), op(opb), (int)m, (int)n, (int)k, &a, A, (int)lda, B, (int)ldb, &b, C, (int)ldc);
}

void kr_la_gram(long n, long k, float alpha, const kr_cfloat *A, long lda, float beta, kr_cfloat *C, long ldc)
{
    begin();
    cblas_cherk(CblasColMajor, CblasLower, CblasConjTrans, (int)n, (int)k, alpha, A, (int)lda, beta, C, (int)ldc);
}
