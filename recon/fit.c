/* fit.c: the normal equations of kernels in k-space. */
#include "fit.h"
#include "kray/la.h"
#include <string.h>

enum { D = 3, TILE = 96 };

struct shifts { kr_cfloat *A; const kr_array *block; long (*offset)[D]; long from[D], places[D], rows, run, every; };

/* One column: runs along X, of every so many-th line. */
static int column(void *self, long i)
{
    const struct shifts *j = self;
    long coils = j->block->n[KR_COIL], c = i % coils;
    const long *o = j->offset[i / coils];
    kr_cfloat *to = j->A + i * j->rows;
    for (long l = 0; l < j->places[1] * j->places[2]; l += j->every, to += j->run) {
        long y = j->from[1] + l % j->places[1] + o[1], z = j->from[2] + l / j->places[1] + o[2];
        const kr_array *b = j->block;
        memcpy((void *)to, KR_C(b) + (j->from[0] + o[0]) * b->step[KR_X] + y * b->step[KR_Y] + z * b->step[KR_Z] + c * b->step[KR_COIL],
               (size_t)j->run * sizeof *to);
    }
    return 0;
}

int kr_fit_shifts(kr_cfloat **A, long *rows, const kr_array *block, long (*offset)[D], long offsets, const long low[D],
                  const long span[D], long enough)
{
    kr_assert(kr_array_contiguous(block));
    struct shifts j = { .block = block, .offset = offset, .every = 1 };
    for (int d = 0; d < D; d++) {
        j.from[d] = -low[d];
        j.places[d] = block->n[d] - span[d] + 1;
        if (j.places[d] < 1)
            return kr_fail(KR_ESHAPE, "a kernel of %ld x %ld x %ld samples does not fit into the calibration area of %ld x %ld x %ld",
                           span[0], span[1], span[2], block->n[0], block->n[1], block->n[2]);
    }
    long lines = j.places[1] * j.places[2];
    j.run = j.places[0];
    j.every = lines * j.run / enough;
    j.every = j.every < 1 ? 1 : j.every > lines ? lines : j.every;
    *rows = j.rows = (lines + j.every - 1) / j.every * j.run;
    *A = j.A = kr_alloc((size_t)j.rows, (size_t)(offsets * block->n[KR_COIL]) * sizeof **A);
    return *A ? kr_for(offsets * block->n[KR_COIL], column, &j) : kr_error_code();
}

struct tiles { kr_cfloat *C; const kr_cfloat *A, *B; long m, n, rows, down; bool lower; };

static int tile(void *self, long i)
{
    const struct tiles *j = self;
    long r = i % j->down * TILE, c = i / j->down * TILE;
    if (j->lower && r < c)
        return 0;
    long m = j->m - r < TILE ? j->m - r : TILE, n = j->n - c < TILE ? j->n - c : TILE;
    kr_la_gemm('C', 'N', m, n, j->rows, 1, j->A + r * j->rows, j->rows, j->B + c * j->rows, j->rows, 0, j->C + c * j->m + r, j->m);
    return 0;
}

int kr_fit_products(kr_cfloat *C, const kr_cfloat *A, long m, const kr_cfloat *B, long n, long rows, bool lower)
{
    struct tiles j = { C, A, B, m, n, rows, (m + TILE - 1) / TILE, lower };
    return kr_for(j.down * ((n + TILE - 1) / TILE), tile, &j);
}

float kr_fit_ridge(const kr_cfloat *G, long n, double lambda)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += kr_re(G[i * (n + 1)]);
    return (float)(lambda * sum / (double)n);
}
