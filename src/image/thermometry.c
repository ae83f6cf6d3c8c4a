/* thermometry.c: temperature by the shift of the proton's resonance: phases of a series beside those of its baseline, and the drift of the field. */
#include "kray/thermometry.h"
#include <math.h>
#include <string.h>

enum { SPACE = 3, TERMS = 1 + SPACE, ROUNDS = 60 };
static const unsigned known_axes = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL) | KR_ON(KR_SLICE) | KR_ON(KR_TIME);

/* What a fit is made of: voxel i = ((slice nz + z) ny + y) nx + x. */
struct field {
    long n[KR_AXES], count;
    int axis[SPACE], terms;          /* axes along which phases may be linear      */
    const kr_cfloat *z;              /* conj(baseline) x frame, summed over coils  */
    const float *region;             /* 0: not in the fit                          */
    double c[TERMS];                 /* of 1, and of each axis from -1 to 1        */
};

int kr_prf_kelvin(double *kelvin, const kr_prf *how)
{
    static const double gamma = 42577478.5;                  /* Hz/T, CODATA 2018 */
    double ppm = fabs(how->alpha_ppm);
    if (!(how->field_T > 0 && how->field_T < 100) || !(how->te_ms > 0 && how->te_ms < 1e4) || !(ppm > 0 && ppm < 10))
        return kr_fail(KR_EREFUSED, "%g T, an echo time of %g ms and %g ppm/K tell no temperature: all have to be known, field and time above 0", how->field_T, how->te_ms, how->alpha_ppm);
    *kelvin = (how->sign < 0 ? -1 : 1) / (2 * M_PI * gamma * how->alpha_ppm * 1e-6 * how->field_T * how->te_ms * 1e-3);
    return 0;
}

/* -1 ... 1 along each axis of the fit. */
static void place(double u[SPACE], const struct field *f, long i)
{
    long at[SPACE] = { i % f->n[KR_X], i / f->n[KR_X] % f->n[KR_Y], i / (f->n[KR_X] * f->n[KR_Y]) };   /* along Z and SLICE as one, of which one is 1 */
    long n[SPACE] = { f->n[KR_X], f->n[KR_Y], f->n[KR_Z] * f->n[KR_SLICE] };
    for (int d = 0; d + 1 < f->terms; d++)
        u[d] = 2.0 * (double)at[f->axis[d]] / (double)(n[f->axis[d]] - 1) - 1;
}

static double drift_at(const struct field *f, long i)
{
    double u[SPACE], p = f->c[0];
    place(u, f, i);
    for (int d = 0; d + 1 < f->terms; d++)
        p += f->c[d + 1] * u[d];
    return p;
}

/* arg z exp(-i phase) */
static double left(kr_cfloat z, double phase)
{
    double re = (double)kr_re(z), im = (double)kr_im(z), c = cos(phase), s = sin(phase);
    return atan2(im * c - re * s, re * c + im * s);
}

/* A c = b, A positive definite, of `n` unknowns; c in b. False: it is not. */
static bool solve(double A[TERMS][TERMS], double *b, int n)
{
    double scale = A[0][0];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double s = A[i][j];
            for (int k = 0; k < j; k++)
                s -= A[i][k] * A[j][k];
            if (i == j && !(s > 1e-9 * scale))
                return false;
            A[i][j] = i == j ? sqrt(s) : s / A[j][j];
        }
        for (int k = 0; k < i; k++)
            b[i] -= A[i][k] * b[k];
        b[i] /= A[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            b[i] -= A[k][i] * b[k];
        b[i] /= A[i][i];
    }
    return true;
}

/* The drift by least absolute differences (weights 1 / |residual| anew in each round), or at once by least squares. Residuals are taken as angles, so that the drift itself
 * may be more than half a turn where it was followed there. */
static int fit(struct field *f, bool robust)
{
    double re = 0, im = 0;
    for (long i = 0; i < f->count; i++)
        if (f->region[i] > 0) {
            re += (double)kr_re(f->z[i]);
            im += (double)kr_im(f->z[i]);
        }
    memset(f->c, 0, sizeof f->c);
    f->c[0] = atan2(im, re);
    for (int round = 0; round < ROUNDS; round++) {
        double A[TERMS][TERMS] = { { 0 } }, b[TERMS] = { 0 }, moved = 0;
        for (long i = 0; i < f->count; i++) {
            if (!(f->region[i] > 0))
                continue;
            double u[TERMS] = { 1 }, r = left(f->z[i], drift_at(f, i)), w = sqrt((double)kr_cabs2(f->z[i]));
            place(u + 1, f, i);
            w /= robust ? fmax(fabs(r), 1e-5) : 1;
            for (int j = 0; j < f->terms; j++) {
                b[j] += w * u[j] * r;
                for (int k = 0; k <= j; k++)
                    A[j][k] += w * u[j] * u[k];
            }
        }
        if (!solve(A, b, f->terms))
            return kr_fail(KR_EREFUSED, "the drift cannot be told: there are too few voxels with signal, or all lie in a row");
        for (int j = 0; j < f->terms; j++) {
            f->c[j] += b[j];
            moved = fmax(moved, fabs(b[j]));
        }
        if (moved < 1e-6)
            break;
    }
    return 0;
}

static int check(const kr_array *x, const kr_array *reference, const kr_prf *how)
{
    if (x->type != KR_C32)
        return kr_fail(KR_EREFUSED, "the images are real: temperature is in their phase, so complex ones are wanted (kray recon --complex)");
    for (int d = 0; d < KR_AXES; d++)
        if (x->n[d] > 1 && !(known_axes & KR_ON(d)))
            return kr_fail(KR_ESHAPE, "the images %s have an axis %s: one series along time is wanted", kr_shape_text(kr_array_shape(x)), kr_axis_name(d));
    if (x->n[KR_TIME] < 2)
        return kr_fail(KR_ESHAPE, "the images %s are one frame: a series along time is wanted, or a file for each frame", kr_shape_text(kr_array_shape(x)));
    if (x->n[KR_Z] > 1 && x->n[KR_SLICE] > 1)
        return kr_fail(KR_ESHAPE, "the images %s are several volumes: one is wanted", kr_shape_text(kr_array_shape(x)));
    if (how->baseline < 0 || how->baseline >= x->n[KR_TIME])
        return kr_fail(KR_EREFUSED, "there is no frame %ld to compare with: frames are 0 to %ld", how->baseline, x->n[KR_TIME] - 1);
    if (!(how->threshold >= 0 && how->threshold < 1))
        return kr_fail(KR_EREFUSED, "a threshold of %g: a part of the largest magnitude, from 0 to below 1, is wanted", how->threshold);
    for (int d = 0; reference && d < KR_AXES; d++)
        if (reference->type != KR_R32 || (reference->n[d] > 1 && (reference->n[d] != x->n[d] || d == KR_COIL || d == KR_TIME)))
            return kr_fail(KR_ESHAPE, "the reference is %s %s, the images are %s", reference->type == KR_R32 ? "real" : "complex", kr_shape_text(kr_array_shape(reference)),
                           kr_shape_text(kr_array_shape(x)));
    return kr_all_finite(x) ? 0 : kr_fail(KR_EREFUSED, "the images hold numbers that are not finite");
}

/* 1 above the threshold, else 0. */
static kr_array *bright(const kr_array *base, kr_shape plain, double threshold)
{
    kr_scoped(array) square = kr_array_new(KR_C32, plain);
    kr_scoped(array) seen = square ? kr_array_new(KR_R32, plain) : NULL;
    if (!seen)
        return NULL;
    kr_contract(square, base, base, true);
    double most = kr_max_abs(square), least = threshold * threshold * most;
    if (!(most > 0)) {
        kr_fail(KR_EREFUSED, "the baseline is all zero");
        return NULL;
    }
    for (long i = 0, n = kr_count(plain); i < n; i++)
        KR_R(seen)[i] = (double)kr_re(KR_C(square)[i]) > 0 && (double)kr_re(KR_C(square)[i]) >= least;
    return kr_array_ref(seen);
}

/* Phases of one frame without their drift; `before`: those of the frame that it is within half a turn of, or NULL. */
static void phases(float *p, const struct field *f, const float *seen, const float *before)
{
    for (long i = 0; i < f->count; i++) {
        double a = seen[i] > 0 ? left(f->z[i], drift_at(f, i)) : 0;
        if (before && seen[i] > 0)
            a += 2 * M_PI * round(((double)before[i] - a) / (2 * M_PI));
        p[i] = (float)a;
    }
}

static void tell(kr_prf_frame *t, const struct field *f, const float *p, const float *seen, bool given, double kelvin)
{
    double sum = 0, in = 0, in2 = 0;
    long n = 0, inside = 0;
    *t = (kr_prf_frame){ 0 };
    for (long i = 0; i < f->count; i++) {
        double v = kelvin * (double)p[i];
        if (!(seen[i] > 0))
            continue;
        t->least = n ? fmin(t->least, v) : v;
        t->most = n ? fmax(t->most, v) : v;
        sum += v;
        n++;
        if (given && f->region[i] > 0) {
            in += v;
            in2 += v * v;
            inside++;
        }
    }
    t->mean = n ? sum / (double)n : 0;
    t->spread = inside ? sqrt(fmax(0, in2 / (double)inside - in / (double)inside * in / (double)inside)) : 0;
    t->drift = kelvin * f->c[0];
    for (int d = 0; d + 1 < f->terms; d++)
        t->slope[f->axis[d]] = 2 * kelvin * f->c[d + 1];
}

int kr_prf_temperature(kr_array **out, kr_prf_frame *frames, const kr_array *x, const kr_array *reference, const kr_prf *how)
{
    double kelvin = 0;
    *out = NULL;
    if (kr_prf_kelvin(&kelvin, how) || check(x, reference, how))
        return kr_error_code();
    kr_shape all = kr_shape_without(kr_array_shape(x), KR_ON(KR_COIL)), plain = kr_shape_without(all, KR_ON(KR_TIME));
    kr_scoped(array) base = kr_array_at(x, KR_TIME, how->baseline);
    kr_scoped(array) seen = base ? bright(base, plain, how->threshold) : NULL;
    kr_scoped(array) z = seen ? kr_array_new(KR_C32, plain) : NULL;
    kr_scoped(array) region = z ? kr_array_copy(seen) : NULL;
    kr_scoped(array) spread = reference ? kr_array_spread(reference, plain) : NULL;
    kr_scoped(array) given = spread ? kr_array_copy(spread) : NULL;
    kr_scoped(array) t = region && (given || !reference) ? kr_array_new(KR_R32, all) : NULL;
    if (!t)
        return kr_error_code();
    struct field f = { .count = kr_count(plain), .terms = how->drift != KR_DRIFT_NONE, .z = KR_C(z), .region = KR_R(region) };
    memcpy(f.n, x->n, sizeof f.n);
    long n[SPACE] = { f.n[KR_X], f.n[KR_Y], f.n[KR_Z] * f.n[KR_SLICE] };
    for (int d = 0; d < SPACE && how->drift == KR_DRIFT_LINEAR; d++)
        if (n[d] > 1)
            f.axis[f.terms++ - 1] = d;
    for (long i = 0; given && i < f.count; i++)
        KR_R(region)[i] *= fabsf(KR_R(given)[i]) > 0;
    for (int way = 1; way >= -1; way -= 2)                   /* from the baseline to the end, then back to the first */
        for (long k = way > 0 ? how->baseline : how->baseline - 1; k >= 0 && k < x->n[KR_TIME]; k += way) {
            kr_scoped(array) frame = kr_array_at(x, KR_TIME, k);
            if (!frame)
                return kr_error_code();
            kr_contract(z, frame, base, true);
            memset(f.c, 0, sizeof f.c);
            if (f.terms && k != how->baseline && fit(&f, !reference))
                return kr_fail_in("frame %ld", k);
            float *p = KR_R(t) + k * f.count;
            if (k != how->baseline)
                phases(p, &f, KR_R(seen), how->unwrap ? p - way * f.count : NULL);
            if (frames)
                tell(&frames[k], &f, p, KR_R(seen), reference != NULL, kelvin);
        }
    kr_scale(t, (float)kelvin);
    *out = kr_array_ref(t);
    return 0;
}
