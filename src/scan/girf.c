/* girf.c: k-space positions as the gradients made them, by their measured transfer functions. */
#include "kray/fourier.h"
#include "kray/trajectory.h"
#include <math.h>
#include <string.h>

/* The transfer functions of the three gradients at rows of a table, and at the frequencies of one transform. */
struct response { long rows, n; double *f; kr_cfloat *H[3], *at[3]; double gain[3], lag_s[3]; };

static int read_table(struct response *r, const kr_array *table)
{
    kr_scoped(array) c = kr_array_complex(table);
    kr_scoped(array) packed = c ? kr_array_packed(c) : NULL;
    if (!packed)
        return kr_error_code();
    long columns = packed->n[KR_X], rows = packed->n[KR_Y], middle = -1;
    if (kr_count(kr_array_shape(packed)) != columns * rows || (columns != 2 && columns != 4) || rows < 2)
        return kr_fail(KR_ESHAPE, "a transfer function %s: rows along y of 2 or 4 numbers along x are wanted: the frequency in Hz, then that of all gradients, or of the gradients along X, Y and Z",
                       kr_shape_text(kr_array_shape(table)));
    r->rows = rows;
    for (long i = 0; i < rows; i++) {
        const kr_cfloat *row = KR_C(packed) + i * columns;
        r->f[i] = kr_re(row[0]);
        for (long k = 0; k < columns; k++)
            if (!isfinite(kr_re(row[k])) || !isfinite(kr_im(row[k])))
                return kr_fail(KR_ENUMBER, "row %ld of the transfer function holds numbers that are not finite", i);
        if (fabsf(kr_im(row[0])) > 0 || (i && r->f[i] <= r->f[i - 1]))
            return kr_fail(KR_EFORMAT, "row %ld of the transfer function begins with no frequency above that before (%g Hz)", i, r->f[i]);
        for (int d = 0; d < 3; d++) {
            kr_cfloat h = row[columns == 2 ? 1 : 1 + d];
            r->H[d][i] = kr_c(kr_re(h), kr_im(h));
        }
        middle = r->f[i] <= 0 ? i : middle;
    }
    if (middle < 0 || middle == rows - 1)
        return kr_fail(KR_EREFUSED, "the transfer function goes from %g to %g Hz: from 0, or from below, to above it is wanted", r->f[0], r->f[rows - 1]);
    return 0;
}

/* Linear between rows; H(-f) is the conjugate where the table begins at 0; 0 beyond it. */
static kr_cfloat value(const struct response *r, int d, double f)
{
    bool turned = f < r->f[0];
    f = turned ? -f : f;
    if (f < r->f[0] || f > r->f[r->rows - 1])
        return kr_c(0, 0);
    long low = 0, high = r->rows - 1;
    while (high - low > 1) {
        long mid = (low + high) / 2;
        if (r->f[mid] <= f)
            low = mid;
        else
            high = mid;
    }
    double w = (f - r->f[low]) / (r->f[high] - r->f[low]);
    kr_cfloat h = r->H[d][low] * (float)(1 - w) + r->H[d][high] * (float)w;
    return turned ? kr_cconj(h) : h;
}

static int prepare(struct response *r, long n, double dwell_s)
{
    double step = fmin(1 / ((double)n * dwell_s), r->f[r->rows - 1]);       /* a straight line sees H at 0 and its slope there */
    for (int d = 0; d < 3; d++) {
        kr_cfloat zero = value(r, d, 0), up = value(r, d, step);
        r->gain[d] = kr_re(zero);
        if (fabs(r->gain[d] - 1) > .2 || fabs(kr_im(zero)) > .2)
            return kr_fail(KR_EREFUSED, "the transfer function at 0 Hz is %.3g%+.3gi: about 1 is wanted, since gradients hold what they are set to", r->gain[d], kr_im(zero));
        r->lag_s[d] = -atan2(kr_im(up), kr_re(up)) / (2 * M_PI * step);
        for (long j = 0; j < n; j++)
            r->at[d][j] = value(r, d, (double)(j - n / 2) / ((double)n * dwell_s));
    }
    return 0;
}

/* Rows: unit directions of X, Y, Z of the scan in the patient, which lies along the magnet's axes; false: not known, taken for the same. */
static bool directions(double R[3][3], const kr_scan *s)
{
    const double *dir[3] = { s->geom->read_dir, s->geom->phase_dir, s->geom->slice_dir };
    for (int d = 0; d < 3; d++)
        for (int e = 0; e < 3; e++)
            R[d][e] = s->geom->known ? dir[d][e] : d == e;
    return s->geom->known;
}

/* One coordinate of n samples through H: straight on beyond both ends, by as much as the readout is long; the line from end to end by what a line becomes, the
 * rest by its spectrum. */
static void pass(const struct response *r, int axis, double *k, long n, double dwell_s, const kr_fft *fft, kr_cfloat *x)
{
    long m = 3 * n;
    double left = k[0] - (double)n * (k[1] - k[0]), right = k[n - 1] + (double)n * (k[n - 1] - k[n - 2]), slope = (right - left) / (double)(m - 1);
    for (long i = 0; i < m; i++) {
        double v = i < n ? k[0] - (double)(n - i) * (k[1] - k[0]) : i < 2 * n ? k[i - n] : k[n - 1] + (double)(i - 2 * n + 1) * (k[n - 1] - k[n - 2]);
        x[i] = kr_c((float)(v - left - slope * (double)i), 0);
    }
    kr_fft_forward(fft, x);
    for (long i = 0; i < m; i++)
        x[i] = kr_cmul(x[i], r->at[axis][i]);
    kr_fft_inverse(fft, x);
    for (long i = 0; i < n; i++)
        k[i] = r->gain[axis] * (left + slope * ((double)(i + n) - r->lag_s[axis] / dwell_s)) + kr_re(x[i + n]);
}

static int apply(kr_scan *s, const struct response *r, const double R[3][3])
{
    kr_array *k = s->traj;
    long n = k->n[KR_SAMPLE], dims = k->n[KR_CHAN], all = kr_count(kr_array_shape(k)) / dims;
    double scale[3] = { 1, 1, 1 }, dwell_s = 1e-6 * s->dwell_us;
    for (int d = 0; d < 3; d++)                              /* to cycles per length, the same along all axes */
        scale[d] = s->enc.encoded_mm[d] > 0 ? s->enc.encoded_mm[d] : s->enc.encoded[d] > 1 ? (double)s->enc.encoded[d] : 1;
    kr_fft *fft = kr_fft_new(KR_SHAPE([KR_X] = 3 * n), KR_ON(KR_X), KR_CENTRED);
    kr_auto kr_cfloat *x = kr_alloc(3 * (size_t)n, sizeof *x);
    kr_auto double *a = kr_alloc(3 * (size_t)n, sizeof *a);
    for (long v = 0; fft && x && a && v < all / n; v++) {
        for (int e = 0; e < 3; e++) {
            for (long i = 0; i < n; i++) {
                a[e * n + i] = 0;
                for (int d = 0; d < dims; d++)
                    a[e * n + i] += R[d][e] * (double)KR_R(k)[d * all + v * n + i] / scale[d];
            }
            pass(r, e, a + e * n, n, dwell_s, fft, x);
        }
        for (int d = 0; d < dims; d++)
            for (long i = 0; i < n; i++) {
                double sum = 0;
                for (int e = 0; e < 3; e++)
                    sum += R[d][e] * a[e * n + i];
                KR_R(k)[d * all + v * n + i] = (float)(sum * scale[d]);
            }
    }
    int e = fft && x && a ? 0 : kr_error_code();
    kr_fft_unref(&fft);
    return e;
}

int kr_scan_girf(kr_scan *s, const kr_array *table, double dwell_us, const kr_trace *trace)
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--girf is for scans along a trajectory; this one is on a grid");
    long n = s->traj->n[KR_SAMPLE], rows = table->n[KR_Y];
    if (n < 2 || !kr_array_contiguous(s->traj))
        return kr_fail(KR_ESHAPE, "--girf is for readouts of several samples, not %s", kr_shape_text(kr_array_shape(s->traj)));
    if (kr_scan_dwell(s, dwell_us, "the gradients' transfer functions want"))
        return kr_error_code();
    kr_auto kr_cfloat *room = kr_alloc_zero((size_t)(3 * rows + 9 * n), sizeof *room);
    kr_auto double *f = kr_alloc((size_t)rows, sizeof *f);
    struct response r = { .f = f };
    double R[3][3];
    if (!room || !f)
        return kr_error_code();
    for (int d = 0; d < 3; d++) {
        r.H[d] = room + d * rows;
        r.at[d] = room + 3 * rows + d * 3 * n;
    }
    if (read_table(&r, table) || prepare(&r, 3 * n, 1e-6 * s->dwell_us))
        return kr_error_code();
    bool known = directions(R, s);
    if (apply(s, &r, (const double (*)[3])R))
        return kr_error_code();
    kr_say(trace, KR_INFO, "positions by the gradients' transfer functions, to %.4g Hz; a steady gradient lags by %.3g, %.3g, %.3g us%s", r.f[r.rows - 1], 1e6 * r.lag_s[0], 1e6 * r.lag_s[1], 1e6 * r.lag_s[2],
           known ? "" : "; the scan's axes are taken for the magnet's, since the file gives no directions");
    return 0;
}
