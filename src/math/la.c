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

/* Tridiagonal form, all its eigenvalues, eigenvectors of the largest only, and back: the vectors that nobody wants are
 * the greater part of the work of a full decomposition. */
int kr_la_eigh_pick(long n, kr_cfloat *A, float *w, kr_la_pick *pick, void *self, long *count, kr_cfloat **V)
{
    begin();
    *V = NULL;
    if (n < 1 || fits("eigenvalues", n, n))
        return n < 1 ? kr_fail(KR_EREFUSED, "eigenvalues of a matrix of order %ld", n) : kr_error_code();
    kr_auto float *d = kr_alloc((size_t)n, sizeof *d), *e = kr_alloc((size_t)n, sizeof *e), *e2 = kr_alloc((size_t)n, sizeof *e);
    kr_auto float *found = kr_alloc((size_t)n, sizeof *found);
    kr_auto kr_cfloat *tau = kr_alloc((size_t)n, sizeof *tau);
    kr_auto int *support = kr_alloc((size_t)(2 * n), sizeof *support);
    if (!d || !e || !e2 || !found || !tau || !support)
        return kr_error_code();
    int info = LAPACKE_chetrd(LAPACK_COL_MAJOR, 'L', (int)n, A, (int)n, d, e, tau);
    e[n - 1] = 0;
    memcpy(w, d, (size_t)n * sizeof *w);
    memcpy(e2, e, (size_t)n * sizeof *e);
    if (!info)
        info = LAPACKE_ssterf((int)n, w, e2);
    if (info)
        return failed("eigenvalue decomposition", n, info);
    long k = pick(self, n, w);
    if (k < 0)
        return (int)k;
    *count = k = k > n ? n : k;
    *V = kr_alloc((size_t)n, (size_t)(k ? k : 1) * sizeof **V);
    if (!*V || !k)
        return *V ? 0 : kr_error_code();
    int m = 0;
    lapack_logical exact = 1;
    info = LAPACKE_cstemr(LAPACK_COL_MAJOR, 'V', 'I', (int)n, d, e, 0, 0, (int)(n - k + 1), (int)n, &m, found, *V, (int)n,
                          (int)k, support, &exact);
    if (!info && m == k)
        info = LAPACKE_cunmtr(LAPACK_COL_MAJOR, 'L', 'L', 'N', (int)n, (int)k, A, (int)n, tau, *V, (int)n);
    if (info || m != k) {
        kr_free_at(V);
        return failed("eigenvalue decomposition", n, info);
    }
    return 0;
}

static long so_many(void *self, long n, const float *w)
{
    (void)n;
    (void)w;
    return *(const long *)self;
}

int kr_la_eigh_top(long n, kr_cfloat *A, long count, float *w, kr_cfloat *V)
{
    if (count < 1 || count > n)
        return kr_fail(KR_EREFUSED, "%ld eigenvalues of a matrix of order %ld", count, n);
    kr_auto float *all = kr_alloc((size_t)n, sizeof *all);
    kr_auto kr_cfloat *found = NULL;
    if (!all || kr_la_eigh_pick(n, A, all, so_many, &count, &count, &found))
        return kr_error_code();
    memcpy(w, all + n - count, (size_t)count * sizeof *w);
    memcpy((void *)V, found, (size_t)(n * count) * sizeof *V);
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
