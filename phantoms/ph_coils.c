/* ph_coils.c: receive coils: circular loops on a helmet, their fields by Biot and Savart, their noise. */
#include "measure.h"
#include <math.h>

static const double wire_mm = 3;     /* nearer to the wire than this, the field stays what it is there */

/* ---- Where the loops are ----
 * The helmet is a cylinder that a half sphere closes. A ring stands at latitude t (degrees): its radius is R cos t
 * above the equator and R below, its height R sin t. */
static double ring_radius(double R, double t) { return t > 0 ? R * cos(t) : R; }

void kr_phantom_loops(kr_loop *loop, long coils, const double fov_mm[3])
{
    double R = fmax(140, 0.58 * fmax(fov_mm[0], fov_mm[1]));
    long rings = coils <= 8 ? 1 : lround(sqrt((double)coils / 5));
    if (coils > 8 && rings < 2)
        rings = 2;
    double from = rings > 1 ? -35 : 0, arc = rings > 1 ? 105 / (double)rings : 0, around = 0, before = 0;
    for (long r = 0; r < rings; r++)
        around += ring_radius(R, (from + ((double)r + 0.5) * arc) * M_PI / 180);
    for (long r = 0, c = 0; r < rings; r++) {
        double t = (from + ((double)r + 0.5) * arc) * M_PI / 180, radius = ring_radius(R, t);
        before += radius;
        long end = lround((double)coils * before / around), count = end - c, first = c;
        double across = 2 * M_PI * radius / (double)(count > 0 ? count : 1);         /* distance of neighbours */
        double along = rings > 1 ? R * arc * M_PI / 180 : across;
        for (; c < end; c++) {
            double p = 2 * M_PI * ((double)(c - first) + 0.5 * (double)(r % 2)) / (double)count;
            double up = t > 0 ? sin(t) : 0, out = t > 0 ? cos(t) : 1;
            loop[c] = (kr_loop){ { radius * cos(p), radius * sin(p), R * sin(t) }, { out * cos(p), out * sin(p), up },
                                 fmin(0.6 * sqrt(across * along), 0.6 * R) };        /* neighbours overlap a little */
        }
    }
}

/* ---- The field of a loop ----
 * In the frame of the loop, with h along its axis and r from it,
 *   B_h = 2 / q (K + (a^2 - r^2 - h^2) / w E),  B_r = 2 h / (r q) ((a^2 + r^2 + h^2) / w E - K),
 *   q^2 = (a + r)^2 + h^2,  w = (a - r)^2 + h^2,  E and K of the parameter m = 4 a r / q^2 = 1 - w / q^2,
 * E and K by the arithmetic-geometric mean (Abramowitz and Stegun 17.6), whose fifth step is exact to 1e-12 here. */
typedef struct in_plane { double h, r; } in_plane;
static inline in_plane field(double a, double h, double r)
{
    double q2 = (a + r) * (a + r) + h * h, w = (a - r) * (a - r) + h * h;
    w = w > wire_mm * wire_mm ? w : wire_mm * wire_mm;
    double u = 1, v = sqrt(w / q2), sum = 0.5 * (1 - w / q2), weight = 0.5;
    for (int k = 0; k < 5; k++) {
        double c = 0.5 * (u - v), mean = 0.5 * (u + v);
        v = sqrt(u * v);
        u = mean;
        weight *= 2;
        sum += weight * c * c;
    }
    double K = M_PI / (2 * u), E = K * (1 - sum), s = 2 / sqrt(q2);
    return (in_plane){ s * (K + (a * a - r * r - h * h) / w * E), s * h / r * ((a * a + r * r + h * h) / w * E - K) };
}

void kr_loop_field(const kr_loop *loop, const double at_mm[3], double B[3])
{
    const double *n = loop->normal;
    double d[3], h = 0, r = 0;
    for (int k = 0; k < 3; k++) {
        d[k] = at_mm[k] - loop->centre_mm[k];
        h += d[k] * n[k];
    }
    for (int k = 0; k < 3; k++)
        r += (d[k] - h * n[k]) * (d[k] - h * n[k]);
    r = fmax(sqrt(r), 1e-3);                                     /* on the axis B_r / r is 0 / 0 */
    in_plane b = field(loop->radius_mm, h, r);
    for (int k = 0; k < 3; k++)
        B[k] = b.h * n[k] + b.r * (d[k] - h * n[k]) / r;
}

/* The same, written so that the compiler makes vector code of it. */
void kr_loop_row(const kr_loop *loop, double scale, kr_cfloat *out, long n, double x, double dx, double y, double z)
{
    double a = loop->radius_mm, nx = loop->normal[0], ny = loop->normal[1], nz = loop->normal[2];
    double x0 = x - loop->centre_mm[0], ey = y - loop->centre_mm[1], ez = z - loop->centre_mm[2];
    float *restrict B = (float *)out;
    for (long i = 0; i < n; i++) {
        double ex = x0 + (double)i * dx, h = ex * nx + ey * ny + ez * nz;
        double px = ex - h * nx, py = ey - h * ny, pz = ez - h * nz, r2 = px * px + py * py + pz * pz;
        double r = sqrt(r2 > 1e-6 ? r2 : 1e-6);
        in_plane b = field(a, h, r);
        B[2 * i] = (float)(scale * (b.h * nx + b.r * px / r));
        B[2 * i + 1] = (float)(-scale * (b.h * ny + b.r * py / r));
    }
}

double kr_loops_scale(const kr_loop *loop, long coils)
{
    double sum = 0;
    for (long c = 0; c < coils; c++) {
        double B[3];
        kr_loop_field(&loop[c], (double[3]){ 0, 0, 0 }, B);
        sum += B[0] * B[0] + B[1] * B[1];
    }
    return 1 / sqrt(sum);
}

/* ---- Maps ---- */
struct maps { const long *n; const double *fov; double z, scale; const kr_loop *loop; kr_cfloat *out; };

static int one_row(void *self, long row)
{
    const struct maps *m = self;
    long ny = m->n[1], nz = m->n[2], j = row % ny, k = row / ny % nz, c = row / (ny * nz);
    double dx = m->fov[0] / (double)m->n[0];
    double y = (double)(j - ny / 2) * m->fov[1] / (double)ny, z = m->z + (double)(k - nz / 2) * m->fov[2] / (double)nz;
    kr_loop_row(&m->loop[c], m->scale, m->out + row * m->n[0], m->n[0], -(double)(m->n[0] / 2) * dx, dx, y, z);
    return 0;
}

static int check_coils(long coils, const double fov_mm[3])
{
    if (coils < 1 || coils > 256)
        return kr_fail(KR_EREFUSED, "%ld coils asked for; 1 to 256 can be simulated", coils);
    for (int k = 0; k < 3; k++)
        if (!(fov_mm[k] > 0 && fov_mm[k] < 1e4))
            return kr_fail(KR_EREFUSED, "a field of view of %g x %g x %g mm makes no sense", fov_mm[0], fov_mm[1], fov_mm[2]);
    return 0;
}

kr_array *kr_phantom_coils(const long n[3], const double fov_mm[3], double z_mm, long coils)
{
    if (check_coils(coils, fov_mm))
        return NULL;
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = coils));
    if (!a || coils == 1) {
        if (a)
            kr_fill(a, 1);
        return a;
    }
    kr_loop loop[256];
    kr_phantom_loops(loop, coils, fov_mm);
    struct maps m = { n, fov_mm, z_mm, kr_loops_scale(loop, coils), loop, KR_C(a) };
    if (kr_for(n[1] * n[2] * coils, one_row, &m))
        kr_array_unref(&a);
    return a;
}

/* ---- Noise ---- */
static double distance(const kr_loop *a, const kr_loop *b)
{
    double s = 0;
    for (int k = 0; k < 3; k++)
        s += (a->centre_mm[k] - b->centre_mm[k]) * (a->centre_mm[k] - b->centre_mm[k]);
    return sqrt(s);
}

/* exp(-d / l) is a positive definite function of distance in space, whatever the arrangement (Schoenberg 1938), and
 * gains and phases of channels keep it so. */
kr_array *kr_phantom_covariance(long coils, const double fov_mm[3], double correlation)
{
    if (check_coils(coils, fov_mm))
        return NULL;
    if (!(correlation >= 0 && correlation <= 0.95)) {
        kr_fail(KR_EREFUSED, "a noise correlation of %g between neighbours; 0 to 0.95 is possible", correlation);
        return NULL;
    }
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_COIL] = coils, [KR_MAP] = coils));
    if (!a)
        return NULL;
    kr_loop loop[256];
    double gain[256], sum = 0, nearest = INFINITY;
    kr_phantom_loops(loop, coils, fov_mm);
    for (long i = 0; i < coils; i++) {
        gain[i] = 1 + 0.08 * sin(2.4 * (double)i);
        sum += gain[i] * gain[i];
        for (long j = 0; j < i; j++)
            nearest = fmin(nearest, distance(&loop[i], &loop[j]));
    }
    for (long i = 0; i < coils; i++)
        for (long j = 0; j < coils; j++) {
            double q = i == j ? 1 : correlation > 0 ? pow(correlation, distance(&loop[i], &loop[j]) / nearest) : 0;
            double p = atan2(loop[j].centre_mm[1], loop[j].centre_mm[0]) - atan2(loop[i].centre_mm[1], loop[i].centre_mm[0]);
            double v = q * gain[i] * gain[j] * (double)coils / sum;
            KR_C(a)[i + j * coils] = kr_c((float)(v * cos(p)), (float)(v * sin(p)));
        }
    return a;
}
