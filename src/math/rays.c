/* rays.c: where the rays of a CT scan run, view by view, from plain numbers, ASTRA's vectors or RTK's parameters. */
#include "kray/rays.h"
#include <math.h>
#include <string.h>

kr_rays *kr_rays_new(enum kr_beam beam, long views, long columns, long rows)
{
    if (views < 1 || columns < 1 || rows < 1 || views > 1L << 24 || columns > 1L << 20 || rows > 1L << 20) {
        kr_fail(KR_EREFUSED, "a CT scan of %ld views of %ld x %ld detector elements; each must be at least 1", views, columns, rows);
        return NULL;
    }
    kr_rays *r = kr_alloc_zero(1, sizeof *r);
    double (*all)[3] = r ? kr_alloc_zero((size_t)views * 4, sizeof *all) : NULL;
    if (!all) {
        kr_free(r);
        return NULL;
    }
    *r = (kr_rays){ beam, false, views, columns, rows, all, all + views, all + 2 * views, all + 3 * views };
    return r;
}

void kr_rays_unref(kr_rays **r)
{
    if (*r)
        kr_free((*r)->source);
    kr_free(*r);
    *r = NULL;
}

kr_rays *kr_rays_some(const kr_rays *r, long first, long step)
{
    kr_assert(first >= 0 && first < r->views && step >= 1);
    kr_rays *s = kr_rays_new(r->beam, (r->views - first + step - 1) / step, r->columns, r->rows);
    for (long i = 0; s && i < s->views; i++) {
        memcpy(s->source[i], r->source[first + i * step], sizeof s->source[i]);
        memcpy(s->centre[i], r->centre[first + i * step], sizeof s->centre[i]);
        memcpy(s->u[i], r->u[first + i * step], sizeof s->u[i]);
        memcpy(s->v[i], r->v[first + i * step], sizeof s->v[i]);
    }
    if (s)
        s->curved = r->curved;
    return s;
}

kr_rays *kr_rays_copy(const kr_rays *r) { return kr_rays_some(r, 0, 1); }

static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
static double size(const double a[3]) { return sqrt(dot(a, a)); }

/* No ray without a direction, no element without a width. */
static int check(const kr_rays *r)
{
    for (long i = 0; i < r->views; i++) {
        double e[3];
        for (int d = 0; d < 3; d++)
            e[d] = r->beam == KR_PARALLEL ? r->source[i][d] : r->centre[i][d] - r->source[i][d];
        double far = size(e), u = size(r->u[i]), v = size(r->v[i]), all = far + u + v + size(r->centre[i]) + size(r->source[i]);
        if (!isfinite(all))
            return kr_fail(KR_ENUMBER, "the geometry of view %ld is not finite", i);
        if (!(u > 0) || (r->rows > 1 && !(v > 0)))
            return kr_fail(KR_EREFUSED, "the detector elements of view %ld have no size", i);
        if (!(far > 0))
            return kr_fail(KR_EREFUSED, r->beam == KR_PARALLEL ? "the rays of view %ld have no direction" : "source and detector of view %ld are at the same place", i);
        if (fabs(dot(e, r->u[i])) > 0.999 * far * u)
            return kr_fail(KR_EREFUSED, "the rays of view %ld run along the detector", i);
        if (r->curved && (double)(r->columns - 1) * u / far >= M_PI * 0.999)
            return kr_fail(KR_EREFUSED, "a curved detector of %ld elements of %g mm about a source at %g mm spans more than half a turn", r->columns, u, far);
    }
    return 0;
}

static kr_rays *checked(kr_rays *r)
{
    if (r && check(r))
        kr_rays_unref(&r);
    return r;
}

static int check_detector(const kr_detector *d, double pitch[2])
{
    pitch[0] = d->pitch[0];
    pitch[1] = d->pitch[1] != 0 ? d->pitch[1] : d->pitch[0];
    if (!(pitch[0] > 0) || !(pitch[1] > 0) || !isfinite(pitch[0] + pitch[1] + d->shift[0] + d->shift[1]))
        return kr_fail(KR_EREFUSED, "detector elements of %g x %g mm; their size must be above 0", d->pitch[0], d->pitch[1]);
    return 0;
}

kr_rays *kr_rays_parallel(const kr_detector *d, long views, const double *angle)
{
    double pitch[2];
    if (check_detector(d, pitch))
        return NULL;
    kr_rays *r = kr_rays_new(KR_PARALLEL, views, d->columns, d->rows);
    for (long i = 0; r && i < views; i++) {
        double c = cos(angle[i]), s = sin(angle[i]);
        memcpy(r->source[i], (double[3]){ s, -c, 0 }, sizeof r->source[i]);
        memcpy(r->u[i], (double[3]){ pitch[0] * c, pitch[0] * s, 0 }, sizeof r->u[i]);
        memcpy(r->v[i], (double[3]){ 0, 0, pitch[1] }, sizeof r->v[i]);
        memcpy(r->centre[i], (double[3]){ d->shift[0] * c, d->shift[0] * s, d->shift[1] }, sizeof r->centre[i]);
    }
    return checked(r);
}

kr_rays *kr_rays_cone(const kr_detector *d, double sod, double sdd, bool curved, long views, const double *angle, const double *z)
{
    double pitch[2];
    if (check_detector(d, pitch))
        return NULL;
    if (!(sod > 0) || !(sdd >= sod) || !isfinite(sdd)) {
        kr_fail(KR_EREFUSED, "a source %g mm from the axis and %g mm from the detector: both distances must be above 0, and the detector must lie beyond the axis "
                "(sdd is from the source to the detector)", sod, sdd);
        return NULL;
    }
    kr_rays *r = kr_rays_new(KR_DIVERGENT, views, d->columns, d->rows);
    for (long i = 0; r && i < views; i++) {
        double c = cos(angle[i]), s = sin(angle[i]), h = z ? z[i] : 0, g = d->shift[0] / sdd;
        double across = curved ? sdd * sin(g) : d->shift[0], along = curved ? sdd * cos(g) : sdd;      /* of the middle, from the source */
        double uc = curved ? cos(g) : 1, us = curved ? sin(g) : 0;                                      /* u is tangent to the arc there  */
        memcpy(r->source[i], (double[3]){ sod * s, -sod * c, h }, sizeof r->source[i]);
        memcpy(r->centre[i], (double[3]){ sod * s - along * s + across * c, -sod * c + along * c + across * s, h + d->shift[1] }, sizeof r->centre[i]);
        memcpy(r->u[i], (double[3]){ pitch[0] * (uc * c + us * s), pitch[0] * (uc * s - us * c), 0 }, sizeof r->u[i]);
        memcpy(r->v[i], (double[3]){ 0, 0, pitch[1] }, sizeof r->v[i]);
    }
    if (r)
        r->curved = curved;
    return checked(r);
}

kr_rays *kr_rays_vectors(enum kr_beam beam, long columns, long rows, long views, int numbers, const double *vectors)
{
    kr_assert(numbers == 6 || numbers == 12);
    kr_rays *r = kr_rays_new(beam, views, columns, rows);
    for (long i = 0; r && i < views; i++) {
        const double *p = vectors + i * numbers;
        for (int d = 0; d < (numbers == 6 ? 2 : 3); d++) {
            int n = numbers == 6 ? 2 : 3;
            r->source[i][d] = p[d];
            r->centre[i][d] = p[n + d];
            r->u[i][d] = p[2 * n + d];
            r->v[i][d] = numbers == 12 ? p[9 + d] : 0;
        }
        if (numbers == 6)
            r->v[i][2] = size(r->u[i]);
    }
    return checked(r);
}

kr_rays *kr_rays_rtk(const kr_detector *d, const double origin[2], long views, const double (*nine)[9])
{
    double pitch[2];
    if (check_detector(d, pitch))
        return NULL;
    double last = views > 0 ? nine[0][1] : 0;
    kr_rays *r = kr_rays_new(last == 0 ? KR_PARALLEL : KR_DIVERGENT, views, d->columns, d->rows);
    for (long i = 0; r && i < views; i++) {
        const double *p = nine[i], q = M_PI / 180;
        if ((p[1] == 0) != (last == 0)) {
            kr_fail(KR_EREFUSED, "parallel and divergent views in one scan");
            kr_rays_unref(&r);
            break;
        }
        double cy = cos(p[2] * q), sy = sin(p[2] * q), cx = cos(p[5] * q), sx = sin(p[5] * q), cz = cos(p[6] * q), sz = sin(p[6] * q);
        /* rows of Rz(-in) Rx(-out) Ry(-gantry): the detector's axes in the world */
        double a[3] = { cy, 0, -sy }, b[3] = { sx * sy, cx, sx * cy }, w[3] = { cx * sy, -sx, cx * cy };
        double u[3], v[3];
        for (int k = 0; k < 3; k++) {
            u[k] = cz * a[k] + sz * b[k];
            v[k] = -sz * a[k] + cz * b[k];
        }
        double mid[2];
        for (int k = 0; k < 2; k++)
            mid[k] = origin[k] + pitch[k] * (double)((k ? d->rows : d->columns) - 1) / 2 + p[3 + k] + d->shift[k];
        for (int k = 0; k < 3; k++) {
            r->u[i][k] = pitch[0] * u[k];
            r->v[i][k] = pitch[1] * v[k];
            r->source[i][k] = last == 0 ? -w[k] : p[7] * u[k] + p[8] * v[k] + p[0] * w[k];
            r->centre[i][k] = mid[0] * u[k] + mid[1] * v[k] + (last == 0 ? 0 : (p[0] - p[1]) * w[k]);
        }
    }
    return checked(r);
}

int kr_rays_axis(const kr_rays *r)
{
    for (int a = 2; a >= 0; a--) {
        bool all = true;
        for (long i = 0; i < r->views && all; i++)
            all = fabs(r->v[i][a]) > 0.7071 * size(r->v[i]);
        if (all)
            return a;
    }
    return -1;
}

kr_rays *kr_rays_about_z(const kr_rays *r, int axis)
{
    kr_assert(axis >= 0 && axis < 3);
    kr_rays *t = kr_rays_copy(r);
    double (*all[4])[3] = { t ? t->source : NULL, t ? t->centre : NULL, t ? t->u : NULL, t ? t->v : NULL };
    for (int k = 0; k < 4 && t; k++)
        for (long i = 0; i < r->views; i++) {
            double p[3] = { all[k][i][(axis + 1) % 3], all[k][i][(axis + 2) % 3], all[k][i][axis] };
            memcpy(all[k][i], p, sizeof p);
        }
    return t;
}

void kr_ray(const kr_rays *r, long view, double column, double row, double point[3], double direction[3])
{
    const double *s = r->source[view], *c = r->centre[view], *u = r->u[view], *v = r->v[view];
    double a = column - (double)(r->columns - 1) / 2, b = row - (double)(r->rows - 1) / 2, e[3], at[3], vv = dot(v, v), eu = 0;
    if (r->curved) {
        double along = 0, across[3];
        for (int d = 0; d < 3; d++)
            e[d] = c[d] - s[d];
        along = vv > 0 ? dot(e, v) / vv : 0;
        for (int d = 0; d < 3; d++)
            e[d] -= along * v[d];
        eu = dot(e, u) / dot(e, e);
        for (int d = 0; d < 3; d++)
            across[d] = u[d] - eu * e[d];
        double far = size(e), g = a * size(u) / far, f = far / size(across);
        for (int d = 0; d < 3; d++)
            at[d] = s[d] + cos(g) * e[d] + sin(g) * f * across[d] + (along + b) * v[d];
    } else
        for (int d = 0; d < 3; d++)
            at[d] = c[d] + a * u[d] + b * v[d];
    for (int d = 0; d < 3; d++) {
        point[d] = at[d];
        direction[d] = r->beam == KR_PARALLEL ? s[d] : at[d] - s[d];
    }
    double n = size(direction);
    for (int d = 0; d < 3; d++)
        direction[d] /= n;
}

/* ---- Rows of the detector ---- */
kr_rays *kr_rays_of_rows(const kr_rays *r, long from, long count)
{
    kr_assert(from >= 0 && count >= 1 && from + count <= r->rows);
    kr_rays *s = kr_rays_copy(r);
    double up = (double)(2 * from + count - r->rows) / 2;
    for (long i = 0; s && i < s->views; i++)
        for (int d = 0; d < 3; d++)
            s->centre[i][d] += up * s->v[i][d];
    if (s)
        s->rows = count;
    return s;
}

/* Row at which the ray through a point meets a flat detector; not finite: none does. */
static double row_through(const kr_rays *r, long i, const double point[3])
{
    const double *u = r->u[i], *v = r->v[i];
    double n[3] = { u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0] }, e[3], q[3], at[3];
    for (int d = 0; d < 3; d++) {
        e[d] = r->centre[i][d] - r->source[i][d];
        q[d] = point[d] - r->source[i][d];
    }
    double w = dot(q, n) / dot(e, n), uu = dot(u, u), vv = dot(v, v), uv = dot(u, v);
    if (!(w > 1e-6))
        return NAN;
    for (int d = 0; d < 3; d++)
        at[d] = q[d] / w - e[d];
    return (uu * dot(at, v) - uv * dot(at, u)) / (uu * vv - uv * uv) + (double)(r->rows - 1) / 2;
}

void kr_rays_rows(const kr_rays *r, const kr_grid *g, long *from, long *count)
{
    double low = INFINITY, high = -INFINITY;
    *from = 0;
    *count = r->rows;
    if (r->curved || r->beam != KR_DIVERGENT || r->rows < 2)
        return;
    for (long i = 0; i < r->views; i++)
        for (int k = 0; k < 8; k++) {                                /* a box is seen between its corners */
            double at[3];
            for (int d = 0; d < 3; d++)
                at[d] = g->first[d] + (k >> d & 1 ? (double)(g->n[d] - 1) * g->step[d] : 0);
            double row = row_through(r, i, at);
            if (!isfinite(row))
                return;
            low = fmin(low, row);
            high = fmax(high, row);
        }
    low = fmax(floor(low) - 1, 0);
    high = fmin(ceil(high) + 1, (double)(r->rows - 1));
    if (high - low >= 1) {
        *from = (long)low;
        *count = (long)(high - low) + 1;
    }
}

/* ---- Volumes ---- */
kr_grid kr_grid_centred(const long n[3], const double step[3])
{
    kr_grid g;
    for (int d = 0; d < 3; d++) {
        g.n[d] = n[d];
        g.step[d] = step[d];
        g.first[d] = -step[d] * (double)(n[d] - 1) / 2;
    }
    return g;
}

int kr_grid_check(const kr_grid *g)
{
    for (int d = 0; d < 3; d++)
        if (g->n[d] < 1 || g->n[d] > 1L << 16 || !(fabs(g->step[d]) > 0) || !isfinite(g->step[d] + g->first[d]))
            return kr_fail(KR_EREFUSED, "a volume of %ld x %ld x %ld voxels of %g x %g x %g mm", g->n[0], g->n[1], g->n[2], g->step[0], g->step[1], g->step[2]);
    return 0;
}

/* How far a ray passes from the z axis, and where along z. */
static double miss(const double p[3], const double d[3], double *z)
{
    double n2 = d[0] * d[0] + d[1] * d[1], t = n2 > 0 ? -(p[0] * d[0] + p[1] * d[1]) / n2 : 0, x = p[0] + t * d[0], y = p[1] + t * d[1];
    *z = p[2] + t * d[2];
    return sqrt(x * x + y * y);
}

static kr_grid grid_about_z(const kr_rays *r)
{
    double reach = 0, pitch = 0, low = INFINITY, high = -INFINITY, thick = 0;
    for (long i = 0; i < r->views; i++) {
        double p[3], d[3], z, q[3], e[3], most = 0;
        for (int k = 0; k < 4; k++) {                                /* the corners of the detector */
            kr_ray(r, i, k & 1 ? (double)(r->columns - 1) + 0.5 : -0.5, k & 2 ? (double)(r->rows - 1) + 0.5 : -0.5, p, d);
            most = fmax(most, miss(p, d, &z));
        }
        reach = fmax(reach, most);
        double mid = (double)(r->columns - 1) / 2, mrow = (double)(r->rows - 1) / 2;
        kr_ray(r, i, mid, mrow, p, d);
        double far = r->beam == KR_PARALLEL ? 1 : 0, near = 1;
        if (r->beam == KR_DIVERGENT) {                               /* magnification at the axis */
            double a[3], t;
            for (int k = 0; k < 3; k++) {
                a[k] = p[k] - r->source[i][k];
                q[k] = r->source[i][k];
                e[k] = d[k];
            }
            far = size(a);
            t = -(q[0] * e[0] + q[1] * e[1]) / fmax(e[0] * e[0] + e[1] * e[1], 1e-300);
            near = fmax(t, far * 1e-3);
        }
        pitch += size(r->u[i]) * near / far;
        thick += size(r->v[i]) * near / far;
        double zc, half = (double)r->rows / 2 * size(r->v[i]) * near / far;
        miss(p, d, &zc);
        low = fmin(low, zc - half);
        high = fmax(high, zc + half);
    }
    pitch /= (double)r->views;
    thick /= (double)r->views;
    long across = (long)ceil(2 * reach / pitch - 1e-6), deep = r->rows == 1 && high - low < 1.5 * thick ? 1 : (long)ceil((high - low) / thick - 1e-6);
    across = across < 1 ? 1 : across > 1L << 15 ? 1L << 15 : across;
    deep = deep < 1 ? 1 : deep > 1L << 15 ? 1L << 15 : deep;
    kr_grid g = kr_grid_centred((long[3]){ across, across, deep }, (double[3]){ pitch, pitch, thick > 0 ? thick : pitch });
    g.first[2] += (low + high) / 2;
    return g;
}

kr_grid kr_grid_of(const kr_rays *r)
{
    int axis = r->rows > 1 ? kr_rays_axis(r) : 2;
    kr_rays *turned = axis == 0 || axis == 1 ? kr_rays_about_z(r, axis) : NULL;
    kr_grid g = grid_about_z(turned ? turned : r), back = g;
    for (int d = 0; turned && d < 3; d++) {
        int to = (axis + 1 + d) % 3;
        back.n[to] = g.n[d];
        back.first[to] = g.first[d];
        back.step[to] = g.step[d];
    }
    kr_rays_unref(&turned);
    return back;
}
