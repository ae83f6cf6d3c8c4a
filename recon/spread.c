/* spread.c: the noise of an image by GRAPPA: where in k-space each measured sample goes, and what arrives at every pixel.
 * Measured samples that lie alike spread alike: they are one class. Source: Breuer et al., Magn Reson Med 62:739 (2009), here with
 * calibration lines and ends of k-space in their own classes, so that it is exact for any mask. */
#include "kernels.h"
#include "kray/la.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 3 };
/* Measured sample m is source s of target t of a hood. */
struct use { int m, hood, target, source; };
struct class { long count, uses; const struct use *use; };
struct spread {
    const kr_kernels *f;
    float *variance;
    const kr_cfloat *S;
    long nx, classes;
    struct class *class;
    kr_cfloat *scratch;
    long room;
};

static int by_sample(const void *p, const void *q)
{
    const struct use *a = p, *b = q;
    return a->m != b->m ? (a->m < b->m ? -1 : 1) : a->hood != b->hood ? (a->hood < b->hood ? -1 : 1)
         : a->target != b->target ? (a->target < b->target ? -1 : 1) : a->source < b->source ? -1 : a->source > b->source;
}

static bool alike(const struct use *a, const struct use *b, long n)
{
    for (long i = 0; i < n; i++)
        if (a[i].hood != b[i].hood || a[i].target != b[i].target || a[i].source != b[i].source)
            return false;
    return true;
}

static long list_uses(struct use *u, const kr_hoods *h)
{
    long count = 0;
    for (long k = 0; k < h->count; k++)
        for (long b = 0; b < h->hood[k].bases; b++)
            for (long t = 0; t < h->hood[k].targets; t++)
                for (long s = 0; s < h->hood[k].sources && h->hood[k].fill[b * h->hood[k].targets + t] >= 0; s++, count++)
                    if (u)
                        u[count] = (struct use){ h->hood[k].at[b * h->hood[k].sources + s], (int)k, (int)t, (int)s };
    return count;
}

static void sort_into_classes(struct spread *j, const struct use *u, long uses)
{
    for (long m = 0, i = 0; m < j->f->h->measured; m++) {
        long from = i, k = 0;
        while (i < uses && u[i].m == m)
            i++;
        while (k < j->classes && (j->class[k].uses != i - from || !alike(j->class[k].use, u + from, i - from)))
            k++;
        if (k == j->classes)
            j->class[j->classes++] = (struct class){ 0, i - from, u + from };
        j->class[k].count++;
    }
}

/* exp(2 pi i d (r - N/2) / N), d from the source to the target */
static kr_cfloat wave(const kr_hoods *h, const struct use *u, long r)
{
    const kr_hood *n = &h->hood[u->hood];
    double a = 0;
    for (int d = 0; d < D; r /= h->n[d], d++)
        a += 2 * M_PI * (double)((n->target[u->target][d] - n->source[u->source][d]) * (r % h->n[d] - h->n[d] / 2)) / (double)h->n[d];
    return kr_c((float)cos(a), (float)sin(a));
}

/* w(x) of one use: C x C, from-coil fastest. */
static void weights_at(kr_cfloat *w, const struct spread *j, const struct use *u, long x)
{
    const kr_hood *n = &j->f->h->hood[u->hood];
    long C = j->f->coils, inner = n->sources * C, entries = n->targets * C * inner, taps = j->f->taps;
    for (long i = 0; i < C * C; i++)
        w[i] = 0;
    for (long d = 0; d < taps; d++) {
        double a = -2 * M_PI * (double)((d - taps / 2) * (x - j->nx / 2)) / (double)j->nx;
        kr_cfloat e = taps > 1 ? kr_c((float)cos(a), (float)sin(a)) : kr_c(1, 0);
        const kr_cfloat *from = j->f->w[u->hood] + d * entries + u->target * C * inner + u->source * C;
        for (long i = 0; i < C * C; i++)
            w[i] += kr_cmul(e, from[i / C * inner + i % C]);
    }
}

/* variance(r) = 1/P sum over samples m and coils of |sum over p of exp(2 pi i (p - m) r) sum over c of conj(S_c(r)) w_pm|^2 at one x */
static int one_x(void *self, long x)
{
    const struct spread *j = self;
    const kr_hoods *h = j->f->h;
    long P = h->samples, C = j->f->coils;
    kr_cfloat *S = j->scratch + kr_worker() * j->room, *A = S + P * C, *U = A + P * C, *w = U + P * C;
    double *sum = (double *)(w + C * C + 1);
    memset(sum, 0, (size_t)P * sizeof *sum);
    for (long i = 0; i < P * C; i++)
        S[i] = kr_cconj(j->S[i * j->nx + x]);
    for (long k = 0; k < j->classes; k++) {
        const struct class *c = &j->class[k];
        memcpy((void *)A, S, (size_t)(P * C) * sizeof *A);
        for (long i = 0; i < c->uses; i++) {
            weights_at(w, j, c->use + i, x);
            kr_la_gemm('N', 'T', P, C, C, 1, S, P, w, C, 0, U, P);
            for (long r = 0; r < P; r++) {
                kr_cfloat e = wave(h, c->use + i, r);
                for (long q = 0; q < C; q++)
                    A[q * P + r] += kr_cmul(e, U[q * P + r]);
            }
        }
        for (long q = 0; q < C; q++)
            for (long r = 0; r < P; r++)
                sum[r] += (double)c->count * (double)kr_cabs2(A[q * P + r]);
    }
    for (long r = 0; r < P; r++)
        j->variance[r * j->nx + x] = (float)(sum[r] / (double)P);
    return 0;
}

int kr_kernels_noise(const kr_kernels *f, float *variance, const kr_cfloat *S, long nx)
{
    long uses = list_uses(NULL, f->h), P = f->h->samples, C = f->coils;
    struct spread j = { .f = f, .variance = variance, .S = S, .nx = nx, .room = 3 * P * C + C * C + P + 2 };
    j.room += j.room & 1;                                /* doubles follow */
    kr_auto struct use *u = kr_alloc((size_t)(uses + 1), sizeof *u);
    kr_auto struct class *class = j.class = kr_alloc((size_t)(f->h->measured + 1), sizeof *class);
    kr_auto kr_cfloat *scratch = j.scratch = kr_alloc((size_t)(kr_threads() * j.room), sizeof *scratch);
    if (!u || !class || !scratch)
        return kr_error_code();
    list_uses(u, f->h);
    qsort(u, (size_t)uses, sizeof *u, by_sample);
    sort_into_classes(&j, u, uses);
    return kr_for(nx, one_x, &j);
}
