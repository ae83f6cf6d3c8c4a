/* back_mri.c: backward passes of the MRI pieces: adjoints, and products with what was linear in the maps. */
#include "back.h"
#include <math.h>
#include <string.h>

enum { STRETCH = 4096 };
/* One stretch of pixels for all coils, in their order: to_c += b_c a, to_c += conj(a) b_c, or to += sum of conj(S_c) b_c. */
enum { PLAIN, BY_CONJ, SUM };
struct job { const mri *m; kr_cfloat *to; const kr_cfloat *a, *b; int op; };

static int stretch(void *self, long s)
{
    const struct job *j = self;
    long n = j->m->n, from = s * STRETCH, to = from + STRETCH < n ? from + STRETCH : n;
    for (long c = 0; c < j->m->coils; c++) {
        const kr_cfloat *b = j->b + c * n;
        kr_cfloat *z = j->op == SUM ? j->to : j->to + c * n;
        for (long i = from; i < to; i++)
            switch (j->op) {
            case PLAIN: z[i] += kr_cmul(b[i], j->a[i]); break;       /* b_c a       */
            case BY_CONJ: z[i] += kr_cmulc(j->a[i], b[i]); break;    /* conj(a) b_c */
            case SUM: z[i] += kr_cmulc(j->m->sens[c * n + i], b[i]); break;
            }
    }
    return 0;
}

static void each(const mri *m, int op, kr_cfloat *to, const kr_cfloat *a, const kr_cfloat *b)
{
    struct job j = { m, to, a, b, op };
    if (to && kr_for((m->n + STRETCH - 1) / STRETCH, stretch, &j))
        kr_assert(0 && "coil arithmetic cannot be refused");
}

void mri_expand_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dy)
{
    each(m, SUM, dx, NULL, dy);
    each(m, BY_CONJ, dsens, x, dy);
}

void mri_reduce_back(const mri *m, kr_cfloat *dy, kr_cfloat *dsens, const kr_cfloat *y, const kr_cfloat *dx)
{
    each(m, PLAIN, dy, dx, m->sens);
    each(m, BY_CONJ, dsens, dx, y);
}

void mri_forward_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dk)
{
    kr_fft_inverse_to(m->fft, m->coil, dk);
    mri_expand_back(m, dx, dsens, x, m->coil);
}

static kr_cfloat *stack(const mri *m) { return kr_alloc_zero((size_t)(m->n * m->coils), sizeof(kr_cfloat)); }

static void add(const mri *m, kr_cfloat *to, const kr_cfloat *what)
{
    for (long i = 0; i < m->n * m->coils; i++)
        to[i] += what[i];
}

int mri_adjoint_back(const mri *m, kr_cfloat *dk, kr_cfloat *dsens, const kr_cfloat *k, const kr_cfloat *dx)
{
    kr_auto kr_cfloat *z = stack(m);
    if (!z)
        return kr_error_code();
    mri_reduce_back(m, z, NULL, NULL, dx);
    kr_fft_forward(m->fft, z);
    if (dk)
        add(m, dk, z);
    if (dsens) {
        kr_fft_inverse_to(m->fft, z, k);
        mri_reduce_back(m, NULL, dsens, z, dx);
    }
    return 0;
}

/* z = F^-1 M F z, and where y is given F^-1 M (F z - y). */
static void normal(const mri *m, kr_cfloat *z, const kr_cfloat *y)
{
    kr_fft_forward(m->fft, z);
    for (long i = 0; i < m->n * m->coils; i++)
        z[i] = m->in->mask[i % m->n] != 0 ? (y ? z[i] - y[i] : z[i]) : 0;
    kr_fft_inverse(m->fft, z);
}

int mri_gradient_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dg)
{
    kr_auto kr_cfloat *u = stack(m);
    if (!u)
        return kr_error_code();
    mri_expand(m, u, dg);                                    /* u_c = F^-1 M F S_c dg */
    normal(m, u, NULL);
    each(m, SUM, dx, NULL, u);
    if (dsens) {                                             /* through both places of the maps */
        each(m, BY_CONJ, dsens, x, u);
        mri_expand(m, u, x);
        normal(m, u, m->in->kspace);
        each(m, BY_CONJ, dsens, dg, u);
    }
    return 0;
}

void mri_consistency_back(const mri *m, kr_cfloat *dk, kr_cfloat *dp, double *drate, const kr_cfloat *k, const kr_cfloat *dnew, float rate, float sign)
{
    double sum = 0;
    for (long i = 0; i < m->n * m->coils; i++) {
        bool measured = m->in->mask[i % m->n] != 0;
        if (dk)
            dk[i] += measured ? (1 - rate) * dnew[i] : dnew[i];
        if (dp)
            dp[i] += sign * dnew[i];
        if (drate && measured)
            sum -= (double)kr_re(kr_cmulc(dnew[i], k[i] - m->in->kspace[i]));
    }
    if (drate)
        *drate += sum;
}

int mri_rss_back(const mri *m, kr_cfloat *dk, const kr_cfloat *k, const kr_cfloat *dx)
{
    kr_auto kr_cfloat *z = stack(m);
    if (!z)
        return kr_error_code();
    kr_fft_inverse_to(m->fft, z, k);
    for (long i = 0; i < m->n; i++) {
        double sum = 0;
        for (long c = 0; c < m->coils; c++)
            sum += (double)kr_cabs2(z[c * m->n + i]);
        float s = sum > 0 ? (float)((double)kr_re(dx[i]) / sqrt(sum)) : 0;
        for (long c = 0; c < m->coils; c++)
            z[c * m->n + i] *= s;
    }
    kr_fft_forward(m->fft, z);
    add(m, dk, z);
    return 0;
}

/* S' = S / r, r = |S|: dS_c = (dS'_c - S'_c Re sum conj(S'_j) dS'_j) / r */
void mri_normalise_maps_back(const mri *m, kr_cfloat *draw, const kr_cfloat *raw, const kr_cfloat *dsens)
{
    for (long i = 0; i < m->n; i++) {
        double r2 = 0, along = 0;
        for (long c = 0; c < m->coils; c++) {
            r2 += (double)kr_cabs2(raw[c * m->n + i]);
            along += (double)kr_re(kr_cmulc(raw[c * m->n + i], dsens[c * m->n + i]));
        }
        double r = sqrt(r2);
        for (long c = 0; c < m->coils && r2 > 0; c++) {
            kr_cfloat s = raw[c * m->n + i], d = dsens[c * m->n + i];
            draw[c * m->n + i] += kr_c((float)(((double)kr_re(d) - (double)kr_re(s) * along / r2) / r),
                                       (float)(((double)kr_im(d) - (double)kr_im(s) * along / r2) / r));
        }
    }
}
