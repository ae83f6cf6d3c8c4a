/* predict.c: the operator of SPIRiT in image space, sixteen pixels at a time. */
#include "kray/lanes.h"
#include "predict.h"
#include <math.h>
#include <string.h>

enum { D = 3 };
struct kr_predict {
    long n[D], low[D], span[D], coils, samples;
    int along;                       /* the axis that panels run along: the first one longer than 1      */
    long lines, panels, pairs;       /* lines of pixels; panels of one; entries of a triangle            */
    float *M, *wave;                 /* [line][panel][entry]; wave [offset along][panel]                 */
    double *sum;                     /* of each line                                                     */
    float *scratch;                  /* of each thread: two rows a coil                                  */
};

void kr_predict_unref(kr_predict **at)
{
    kr_predict *p = *at;
    *at = NULL;
    if (p) {
        kr_free(p->M);
        kr_free(p->wave);
        kr_free(p->sum);
        kr_free(p->scratch);
        kr_free(p);
    }
}

/* exp(-2 pi i o (r - N/2) / N) */
static void wave(float to[2], long o, long r, long n)
{
    double a = -2 * M_PI * (double)(o * (r - n / 2)) / (double)n;
    to[0] = (float)cos(a);
    to[1] = (float)sin(a);
}

/* The weights of one line: the offsets across it summed, its own kept, less 1 for the sample itself. w is [across][along][entry] as
 * panels run along the first axis that has any length. */
static void across(kr_cfloat *to, const kr_predict *p, const kr_cfloat *w, long line)
{
    long own = p->span[p->along] * p->coils * p->coils, at[D] = { 0 };
    for (int d = p->along + 1; d < D; line /= p->n[d], d++)
        at[d] = line % p->n[d];
    memset((void *)to, 0, (size_t)own * sizeof *to);
    for (long z = 0; z < p->span[2] && p->along < 2; z++)
        for (long y = 0; y < (p->along < 1 ? p->span[1] : 1); y++, w += own) {
            float a[2], b[2] = { 1, 0 };
            wave(a, p->low[2] + z, at[2], p->n[2]);
            if (p->along < 1)
                wave(b, p->low[1] + y, at[1], p->n[1]);
            kr_cfloat f = kr_cmul(kr_c(a[0], a[1]), kr_c(b[0], b[1]));
            for (long i = 0; i < own; i++)
                to[i] += kr_cmul(f, w[i]);
        }
    if (p->along == 2)
        memcpy((void *)to, w, (size_t)own * sizeof *to);
    for (long c = 0; c < p->coils; c++)
        to[-p->low[p->along] * p->coils * p->coils + c * (p->coils + 1)] -= kr_c(1, 0);
}

struct making { const kr_predict *p; const kr_cfloat *w; };

static int make_line(void *self, long line)
{
    const struct making *j = self;
    const kr_predict *p = j->p;
    long entries = p->coils * p->coils, span = p->span[p->along];
    kr_auto kr_cfloat *w = kr_alloc((size_t)(span * entries), sizeof *w);
    kr_auto float *K = kr_alloc((size_t)entries, KR_ROW * sizeof *K);
    if (!w || !K)
        return kr_error_code();
    across(w, p, j->w, line);
    for (long i = 0; i < p->panels; i++) {
        kr_lanes_waves(K, w, p->wave + i * KR_ROW, p->panels * KR_ROW, span, entries);
        kr_lanes_gram(p->M + (line * p->panels + i) * p->pairs * KR_ROW, K, p->coils);
    }
    return 0;
}

kr_predict *kr_predict_new(const kr_cfloat *w, const long low[D], const long span[D], long coils, const long n[D])
{
    kr_predict *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    p->coils = coils;
    p->pairs = coils * (coils + 1) / 2;
    p->samples = p->lines = 1;
    memcpy(p->n, n, sizeof p->n);
    memcpy(p->low, low, sizeof p->low);
    memcpy(p->span, span, sizeof p->span);
    while (p->along < 2 && n[p->along] == 1)
        p->along++;
    for (int d = 0; d < D; d++) {
        p->samples *= n[d];
        p->lines *= d > p->along ? n[d] : 1;
    }
    long length = n[p->along], lanes = KR_LANES;
    p->panels = (length + lanes - 1) / lanes;
    p->M = kr_alloc((size_t)(p->lines * p->panels), (size_t)p->pairs * KR_ROW * sizeof *p->M);
    p->wave = kr_alloc((size_t)(span[p->along] * p->panels), KR_ROW * sizeof *p->wave);
    p->sum = kr_alloc((size_t)p->lines, sizeof *p->sum);
    p->scratch = kr_alloc((size_t)(kr_threads() * 2 * coils), KR_ROW * sizeof *p->scratch);
    if (!p->M || !p->wave || !p->sum || !p->scratch) {
        kr_predict_unref(&p);
        return NULL;
    }
    for (long o = 0; o < span[p->along]; o++)
        for (long r = 0; r < p->panels * lanes; r++) {       /* lanes beyond the line hold nothing that is used */
            float e[2], *to = p->wave + (o * p->panels + r / lanes) * KR_ROW + r % lanes;
            wave(e, low[p->along] + o, r, length);
            to[0] = e[0];
            to[KR_LANES] = e[1];
        }
    struct making j = { p, w };
    if (p->lines > 1 ? kr_for(p->lines, make_line, &j) : make_line(&j, 0))
        kr_predict_unref(&p);
    return p;
}

struct applying { const kr_predict *p; kr_cfloat *z; const kr_cfloat *v; };

static int apply_line(void *self, long line)
{
    const struct applying *j = self;
    const kr_predict *p = j->p;
    float *x = p->scratch + kr_worker() * 2 * p->coils * KR_ROW, *y = x + p->coils * KR_ROW;
    long length = p->n[p->along];
    double sum[KR_LANES] = { 0 };
    for (long i = 0; i < p->panels; i++) {
        long at = line * length + i * KR_LANES, count = length - i * KR_LANES < KR_LANES ? length - i * KR_LANES : KR_LANES;
        kr_lanes_load(x, j->v + at, 1, p->samples, p->coils, count);
        kr_lanes_hermitian(y, p->M + (line * p->panels + i) * p->pairs * KR_ROW, x, p->coils);
        kr_lanes_dot(x, y, p->coils, sum);
        kr_lanes_store(j->z + at, 1, p->samples, y, p->coils, count);
    }
    double all = 0;
    for (int k = 0; k < KR_LANES; k++)
        all += sum[k];
    p->sum[line] = all;
    return 0;
}

double kr_predict_apply(const kr_predict *p, kr_cfloat *z, const kr_cfloat *v)
{
    struct applying j = { p, z, v };
    if (p->lines > 1 ? kr_for(p->lines, apply_line, &j) : apply_line(&j, 0))
        return NAN;
    double sum = 0;
    for (long i = 0; i < p->lines; i++)
        sum += p->sum[i];
    return sum;
}
