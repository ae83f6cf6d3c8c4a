/* la.c: dense linear algebra; alone knows BLAS and LAPACKE. */
#include "kray/la.h"
#include "lanekern.h"
#include <complex.h>
#undef I
#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

void openblas_set_num_threads(int n) __attribute__((weak));
void *blas_memory_alloc(int where) __attribute__((weak));
void blas_memory_free(void *p) __attribute__((weak));

/* OpenBLAS takes a buffer for every call at once under way and waits without end where there is no memory for one. Where the
 * address space is limited (ulimit -v), the buffers are asked for before the first call, and no more calls than there are buffers
 * run at once. */
enum { BUFFER = 144 << 20, TURNS_MOST = 64 };        /* 128 MiB on x86-64, and what the C library needs beside */
static struct { bool limited; int turns, taken; pthread_mutex_t lock; pthread_cond_t free; } blas = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .free = PTHREAD_COND_INITIALIZER };

static bool room(void)
{
    void *p = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED && !munmap(p, BUFFER);
}

static void prepare(void)
{
    struct rlimit limit;
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
    if (!blas_memory_alloc || !blas_memory_free || getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return;
    void *held[TURNS_MOST];
    int want = kr_threads() < TURNS_MOST ? kr_threads() : TURNS_MOST;
    blas.limited = true;
    /* The first at any price, further ones out of a quarter of what there may be. */
    for (; blas.turns < want && room() && (!blas.turns || (rlim_t)BUFFER * (rlim_t)blas.turns < limit.rlim_cur / 4); blas.turns++)
        held[blas.turns] = blas_memory_alloc(0);
    for (int i = 0; i < blas.turns; i++)
        blas_memory_free(held[i]);
}

/* Waits for a buffer; a refusal where there never is one. One thread: products then do not depend on how many there are, and our
 * own loops keep the cores. */
static int begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    if (!blas.limited)
        return 0;
    if (!blas.turns)
        return kr_fail(KR_EMEM, "no memory for the work space of BLAS (%d MiB); is the address space limited (ulimit -v)?", BUFFER >> 20);
    pthread_mutex_lock(&blas.lock);
    while (blas.taken == blas.turns)
        pthread_cond_wait(&blas.free, &blas.lock);
    blas.taken++;
    pthread_mutex_unlock(&blas.lock);
    return 1;
}

static void end(const int *turn)
{
    if (*turn <= 0)
        return;
    pthread_mutex_lock(&blas.lock);
    blas.taken--;
    pthread_cond_signal(&blas.free);
    pthread_mutex_unlock(&blas.lock);
}

/* `turn` is held until its block is left; below 0: refused. */
#define TURN __attribute__((cleanup(end))) int turn = begin()

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
    TURN;
    if (turn < 0)
        return turn;
    if (fits("eigenvalues", n, n))
        return kr_error_code();
    int info = LAPACKE_cheevd(LAPACK_COL_MAJOR, 'V', 'L', (int)n, A, (int)n, w);
    return info ? failed("eigenvalue decomposition", n, info) : 0;
}

/* The eigenvectors of the k largest eigenvalues of a tridiagonal matrix, by way of all of them; d, e are destroyed. */
static int last_vectors(kr_cfloat *V, long n, long k, float *d, float *e)
{
    kr_auto kr_cfloat *Z = kr_alloc((size_t)n, (size_t)n * sizeof *Z);
    int info = Z ? LAPACKE_cstedc(LAPACK_COL_MAJOR, 'I', (int)n, d, e, Z, (int)n) : LAPACK_WORK_MEMORY_ERROR;
    if (!info)
        memcpy((void *)V, Z + (n - k) * n, (size_t)(n * k) * sizeof *V);
    return info;
}

/* Tridiagonal form, all its eigenvalues, eigenvectors of the largest only, and back: the vectors that nobody wants are
 * the greater part of the work of a full decomposition. */
int kr_la_eigh_pick(long n, kr_cfloat *A, float *w, kr_la_pick *pick, void *self, long *count, kr_cfloat **V)
{
    TURN;
    if (turn < 0)
        return turn;
    *V = NULL;
    if (n < 1 || fits("eigenvalues", n, n))
        return n < 1 ? kr_fail(KR_EREFUSED, "eigenvalues of a matrix of order %ld", n) : kr_error_code();
    kr_auto float *d = kr_alloc((size_t)n, sizeof *d), *e = kr_alloc((size_t)n, sizeof *e), *e2 = kr_alloc((size_t)n, sizeof *e);
    kr_auto float *found = kr_alloc((size_t)n, sizeof *found), *again = kr_alloc((size_t)(2 * n), sizeof *again);
    kr_auto kr_cfloat *tau = kr_alloc((size_t)n, sizeof *tau);
    kr_auto int *support = kr_alloc((size_t)(2 * n), sizeof *support);
    if (!d || !e || !e2 || !found || !again || !tau || !support)
        return kr_error_code();
    int info = LAPACKE_chetrd(LAPACK_COL_MAJOR, 'L', (int)n, A, (int)n, d, e, tau);
    e[n - 1] = 0;
    memcpy(w, d, (size_t)n * sizeof *w);
    memcpy(e2, e, (size_t)n * sizeof *e);
    memcpy(again, d, (size_t)n * sizeof *d);
    memcpy(again + n, e, (size_t)n * sizeof *e);
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
    if (info || m != k) {                /* it gives up on some finite numbers, which divide and conquer does not */
        info = last_vectors(*V, n, k, again, again + n);
        m = (int)k;
    }
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
    TURN;
    if (turn < 0)
        return turn;
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
    TURN;
    if (turn < 0)
        return turn;
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
    TURN;
    if (turn < 0)
        return turn;
    if (fits("inverse", n, n))
        return kr_error_code();
    int info = LAPACKE_ctrtri(LAPACK_COL_MAJOR, 'U', 'N', (int)n, R, (int)n);
    return info ? kr_fail(KR_ENUMBER, "a triangular matrix of order %ld is singular", n) : 0;
}

int kr_la_solve_posdef(long n, kr_cfloat *A, float ridge, long m, kr_cfloat *B)
{
    TURN;
    if (turn < 0)
        return turn;
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
    enum { FEW = 32 };
    if (opa == 'N' && opb != 'C' && n <= FEW && k <= FEW && alpha == 1 && beta == 0) {       /* channels that are mixed: side by side, without a turn */
        const long step[2] = { opb == 'N' ? 1 : ldb, opb == 'N' ? ldb : 1 }, mnk[3] = { m, n, k };
        kr_lanekern_best()->few((float *)C, ldc, (const float *)A, lda, (const float *)B, step, mnk);
        return;
    }
    TURN;
    kr_cfloat a = alpha, b = beta;
    if (turn < 0) {                                        /* this may not fail: slowly, then */
        for (long j = 0; j < n; j++)
            for (long i = 0; i < m; i++) {
                kr_cfloat sum = 0;
                for (long l = 0; l < k; l++) {
                    kr_cfloat x = opa == 'N' ? A[l * lda + i] : A[i * lda + l], y = opb == 'N' ? B[j * ldb + l] : B[l * ldb + j];
                    sum += kr_cmul(opa == 'C' ? kr_cconj(x) : x, opb == 'C' ? kr_cconj(y) : y);
                }
                C[j * ldc + i] = alpha * sum + (beta == 0 ? 0 : beta * C[j * ldc + i]);
            }
        kr_error_clear();
        return;
    }
    cblas_cgemm(CblasColMajor, op(opa), op(opb), (int)m, (int)n, (int)k, &a, A, (int)lda, B, (int)ldb, &b, C, (int)ldc);
}

void kr_la_gram(long n, long k, float alpha, const kr_cfloat *A, long lda, float beta, kr_cfloat *C, long ldc)
{
    TURN;
    if (turn < 0) {
        for (long j = 0; j < n; j++)
            for (long i = j; i < n; i++) {
                kr_cfloat sum = 0;
                for (long l = 0; l < k; l++)
                    sum += kr_cmulc(A[i * lda + l], A[j * lda + l]);
                C[j * ldc + i] = alpha * sum + (beta == 0 ? 0 : beta * C[j * ldc + i]);
            }
        kr_error_clear();
        return;
    }
    cblas_cherk(CblasColMajor, CblasLower, CblasConjTrans, (int)n, (int)k, alpha, A, (int)lda, beta, C, (int)ldc);
}
