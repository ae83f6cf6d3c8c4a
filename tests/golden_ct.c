/* golden_ct.c: computed tomography against other programs and closed forms: groups CASE/{inputs,intermediate,outputs} whose attributes and data
 * sets say what they are. Each line: the largest difference over the largest value that is wanted, beside what is allowed. */
#include "golden.h"
#include "kray/rays.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ct { hid_t file; const char *name, *group; int *number, bad; };
struct set { double *v; long count; hsize_t n[4]; int dims; };

static bool there(const struct ct *c, const char *what)
{
    char path[300], part[300];
    snprintf(path, sizeof path, "%s%s%s", c->group, *c->group ? "/" : "", what);
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
        if (H5Lexists(c->file, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return H5Lexists(c->file, path, H5P_DEFAULT) > 0;
}

static struct set get(const struct ct *c, const char *what)
{
    char path[300];
    struct set s = { 0 };
    snprintf(path, sizeof path, "%s%s%s", c->group, *c->group ? "/" : "", what);
    if (!there(c, what))
        return s;
    s.v = doubles(c->file, path, &s.count);
    hid_t d = H5Dopen2(c->file, path, H5P_DEFAULT), space = d < 0 ? -1 : H5Dget_space(d);
    s.dims = space < 0 ? 0 : H5Sget_simple_extent_ndims(space);
    if (s.dims > 0 && s.dims <= 4)
        H5Sget_simple_extent_dims(space, s.n, NULL);
    if (space >= 0)
        H5Sclose(space);
    if (d >= 0)
        H5Dclose(d);
    return s;
}

/* A number among the attributes of the group; NAN: none. */
static double said(const struct ct *c, const char *what)
{
    double v = NAN;
    hid_t a = H5Aexists_by_name(c->file, c->group, what, H5P_DEFAULT) > 0 ? H5Aopen_by_name(c->file, c->group, what, H5P_DEFAULT, H5P_DEFAULT) : -1;
    if (a >= 0) {
        if (H5Aread(a, H5T_NATIVE_DOUBLE, &v) < 0)
            v = NAN;
        H5Aclose(a);
    }
    return v;
}

static void tell(struct ct *c, double off, double allowed, const char *what)
{
    bool good = off <= allowed;
    printf("%sok %d - %s %s %s: %.2e (allowed %.0e)%s%s\n", good ? "" : "not ", ++*c->number, c->name, c->group, what, off, allowed,
           kr_error_code() ? ": " : "", kr_error_code() ? kr_error() : "");
    kr_error_clear();
    c->bad += !good;
}

/* Largest difference over largest value; those where `aside` is set do not count. */
static double off(const float *a, const struct set *b, const bool *aside)
{
    double most = 0, top = 0;
    if (!a || !b->v)
        return INFINITY;
    for (long i = 0; i < b->count; i++) {
        top = fmax(top, fabs(b->v[i]));
        if (!aside || !aside[i])
            most = fmax(most, isfinite(a[i]) ? fabs((double)a[i] - b->v[i]) : INFINITY);
    }
    return top > 0 ? most / top : most;
}

static float *floats(const struct set *s)
{
    float *f = malloc((size_t)s->count * sizeof *f + 1);
    for (long i = 0; i < s->count; i++)
        f[i] = (float)s->v[i];
    return f;
}

/* ---- Projectors of one slice: CASE/inputs/{image,vectors,x,y_of_row,sinogram_for_back}, outputs/{forward,back}_MODEL ---- */
/* Rays that run along the edges of pixels, to rounding: whose they are is a matter of definition. */
static bool on_edge(const kr_rays *r, const kr_grid *g, long view, long k)
{
    double p[3], d[3];
    kr_ray(r, view, (double)k, 0, p, d);
    for (int i = 0; i < 2; i++)
        if (fabs(d[i]) < 1e-9) {
            double x = (p[i] - g->first[i]) / g->step[i] + 0.5;
            if (fabs(x - rint(x)) < 1e-6)
                return true;
        }
    return false;
}

/* Fan strips one of whose edges is steeper than 45 degrees to the rows (columns) that the view crosses: the published areas miss corners of pixels
 * there (by up to 1 %; all others agree with exact areas to its rounding). */
static bool steep(const kr_rays *r, long view, long k)
{
    double p[3], d[3], m[3];
    kr_ray(r, view, (double)(r->columns - 1) / 2, 0, p, m);
    for (int i = -1; i <= 1; i += 2) {
        kr_ray(r, view, (double)k + i * 0.5, 0, p, d);
        if ((fabs(d[0]) < fabs(d[1])) != (fabs(m[0]) < fabs(m[1])))
            return true;
    }
    return false;
}

static void plane(struct ct *c)
{
    struct set image = get(c, "inputs/image"), vectors = get(c, "inputs/vectors"), x = get(c, "inputs/x"), y = get(c, "inputs/y_of_row"), sino = get(c, "inputs/sinogram_for_back");
    static const struct { const char *theirs; enum kr_ray_model ours; bool fast; } models[] = {
        { "line", KR_RAY_LINE, false }, { "linear", KR_RAY_JOSEPH, true }, { "strip", KR_RAY_STRIP, false }, { "line_fanflat", KR_RAY_LINE, false }, { "strip_fanflat", KR_RAY_STRIP, false } };
    double pixel = said(c, "pixel");
    bool parallel = isnan(said(c, "SOD")) || said(c, "SOD") == 0;
    if (!image.v || !vectors.v || !x.v || !y.v || !sino.v || vectors.n[1] != 6 || !(pixel > 0)) {
        kr_fail(KR_EFORMAT, "image, vectors, x, y_of_row, sinogram_for_back or pixel are missing");
        tell(c, INFINITY, 0, "inputs");
    } else {
        long views = (long)sino.n[0], columns = (long)sino.n[1], wide = (long)fmax((double)image.n[0], (double)image.n[1]);
        /* the published projector adds up positions from row to row in single precision: each is off by as much as rows x columns x 2^-24 */
        double allowed = fmax(1e-6, (double)(wide * wide) * 6e-8);
        kr_grid g = { { (long)image.n[1], (long)image.n[0], 1 }, { x.v[0], y.v[0], 0 }, { pixel, -pixel, pixel } };
        kr_rays *r = kr_rays_vectors(parallel ? KR_PARALLEL : KR_DIVERGENT, columns, 1, views, 6, vectors.v);
        float *fx = floats(&image), *fy = floats(&sino), *out = malloc((size_t)sino.count * sizeof *out), *back = malloc((size_t)image.count * sizeof *back);
        bool *aside = calloc((size_t)sino.count + 1, sizeof *aside);
        for (int m = 0; m < 5; m++)
            for (int plain = 0; plain < 2; plain++) {
                char what[100];
                snprintf(what, sizeof what, "outputs/forward_%s", models[m].theirs);
                if ((!plain && !models[m].fast) || !there(c, what))
                    continue;
                struct set f = get(c, what), f64, b;
                snprintf(what, sizeof what, "outputs/forward_%s_f64sum", models[m].theirs);
                f64 = get(c, what);
                snprintf(what, sizeof what, "outputs/back_%s", models[m].theirs);
                b = get(c, what);
                long edges = 0;
                for (long i = 0; r && i < sino.count; i++)
                    edges += aside[i] = models[m].ours == KR_RAY_LINE ? on_edge(r, &g, i / columns, i % columns)
                        : models[m].ours == KR_RAY_STRIP && !parallel && steep(r, i / columns, i % columns);
                kr_projector *p = r ? kr_projector_new(r, &g, models[m].ours, plain) : NULL;
                if (p) {
                    kr_project(p, out, fx, 0, 1);
                    kr_backproject(p, back, fy, 0, 1, false);
                }
                snprintf(what, sizeof what, "forward %s%s", models[m].theirs, p && kr_projector_fast(p) ? " (fast)" : "");
                if (edges)
                    snprintf(what + strlen(what), sizeof what - strlen(what), ", but %ld rays %s", edges, models[m].ours == KR_RAY_LINE ? "along edges" : "beyond 45 degrees");
                tell(c, p ? off(out, &f, aside) : INFINITY, allowed, what);
                if (f64.v && f64.count == sino.count && p) {
                    snprintf(what, sizeof what, "forward %s, sums in double", models[m].theirs);
                    tell(c, off(out, &f64, aside), 1e-6, what);
                }
                snprintf(what, sizeof what, "back %s", models[m].theirs);
                if (!edges)                                          /* else pixels hold such rays */
                    tell(c, p ? off(back, &b, NULL) : INFINITY, allowed, what);
                kr_projector_unref(&p);
                free(f.v); free(f64.v); free(b.v);
            }
        kr_rays_unref(&r);
        free(fx); free(fy); free(out); free(back); free(aside);
    }
    free(image.v); free(vectors.v); free(x.v); free(y.v); free(sino.v);
}

/* ---- Exact line integrals: CASE/outputs/central_ray, phantom2d/ellipses, phantom3d/ellipsoids ---- */
static long bodies(const struct ct *c, bool deep, kr_ellipsoid e[64])
{
    struct ct top = *c;
    top.group = "";
    struct set s = get(&top, deep ? "phantom3d/ellipsoids" : "phantom2d/ellipses");
    long n = s.dims == 2 && s.n[0] <= 64 && s.n[1] == (deep ? 8 : 6) ? (long)s.n[0] : 0, w = deep ? 8 : 6;
    for (long i = 0; i < n; i++) {
        const double *p = s.v + i * w;
        e[i] = deep ? (kr_ellipsoid){ p[0], { p[1], p[2], p[3] }, { p[4], p[5], p[6] }, p[7] } : (kr_ellipsoid){ p[0], { p[1], p[2], 0 }, { p[3], p[4], 0 }, p[5] };
    }
    free(s.v);
    return n;
}

static double exact(const kr_rays *r, const kr_ellipsoid *e, long count, const struct set *want, int samples)
{
    double most = 0, top = 0;
    for (long i = 0; i < want->count; i++) {
        double p[3], d[3], sum = 0;
        for (int s = 0; s < samples; s++) {
            kr_ray(r, i / (r->columns * r->rows), (double)(i % r->columns) + ((double)s + 0.5) / samples - 0.5, (double)(i / r->columns % r->rows), p, d);
            sum += kr_ellipsoids_ray(e, count, p, d) / samples;
        }
        most = fmax(most, fabs(sum - want->v[i]));
        top = fmax(top, fabs(want->v[i]));
    }
    return most / top;
}

/* The angle of a source that stands at (sin t, -cos t). */
static double *angles_of(const struct set *source)
{
    double *a = malloc((size_t)source->n[0] * sizeof *a + 1);
    for (long i = 0; i < (long)source->n[0]; i++)
        a[i] = atan2(source->v[i * (long)source->n[1]], -source->v[i * (long)source->n[1] + 1]);
    return a;
}

/* Relative error (2-norm) of a projector's line integrals of a drawn phantom, at pixels of size h: mean over a few places of the grid, since what a single one has is by chance
 * (3 % of it in 3D). */
static double drawn(const kr_rays *r, const kr_ellipsoid *e, long count, const double *want, enum kr_ray_model model, double h, bool deep)
{
    enum { PLACES = 3 };
    static const double place[PLACES][3] = { { 0, 0, 0 }, { 0.31, -0.17, 0.23 }, { -0.22, 0.41, -0.37 } };
    long n = (long)ceil(44 / h) + 1, depth = deep ? n : 1, rays = r->views * r->rows * r->columns;
    float *x = malloc((size_t)(n * n * depth) * sizeof *x), *y = malloc((size_t)rays * sizeof *y);
    double all = 0;
    for (int k = 0; k < PLACES; k++) {
        kr_grid g = kr_grid_centred((long[3]){ n, n, depth }, (double[3]){ h, h, h });
        for (int d = 0; d < (deep ? 3 : 2); d++)
            g.first[d] += place[k][d] * h;
        kr_projector *p = kr_projector_new(r, &g, model, false);
        double d = p ? 0 : INFINITY, s = 0;
        kr_ellipsoids_draw(x, e, count, &g, deep ? 4 : 8);
        if (p)
            kr_project(p, y, x, 0, 1);
        for (long i = 0; p && i < rays; i++) {
            d += pow((double)y[i] - want[i], 2);
            s += want[i] * want[i];
        }
        all += sqrt(p ? d / s : d) / PLACES;
        kr_projector_unref(&p);
    }
    free(x);
    free(y);
    return all;
}

/* Means over the elements of a detector, of rays through points equally far apart: what `distance` makes. The formula of single rays is held against the file. */
static double *element_means(const kr_rays *r, const kr_ellipsoid *e, long count)
{
    int across = r->rows > 1 ? 8 : 64, along = r->rows > 1 ? 8 : 1;
    double *mean = calloc((size_t)(r->views * r->rows * r->columns), sizeof *mean);
    for (long i = 0; mean && i < r->views * r->rows * r->columns; i++)
        for (int s = 0; s < across * along; s++) {
            double p[3], d[3], column = (s % across + 0.5) / across - 0.5, row = (s / across + 0.5) / along - 0.5;
            kr_ray(r, i / (r->columns * r->rows), (double)(i % r->columns) + column, (double)(i / r->columns % r->rows) + row, p, d);
            mean[i] += kr_ellipsoids_ray(e, count, p, d) / (across * along);
        }
    return mean;
}

static void analytic(struct ct *c)
{
    struct set want = get(c, "outputs/central_ray"), bin = get(c, "outputs/bin_mean"), bin64 = get(c, "outputs/bin_mean_64"), vectors = get(c, "inputs/vectors");
    struct set source = get(c, "inputs/source"), gamma = get(c, "inputs/gamma_rad"), row_z = get(c, "inputs/row_z_mm"), angle = get(c, "inputs/angles_rad");
    bool deep = want.dims == 3, parallel = isnan(said(c, "SOD")) && vectors.v && !strncmp(c->group, "parallel", 8);
    long views = (long)want.n[0], rows = deep ? (long)want.n[1] : 1, columns = want.dims ? (long)want.n[want.dims - 1] : 0;
    kr_ellipsoid e[64];
    long count = bodies(c, deep, e);
    kr_rays *r = NULL, *built = NULL;
    if (vectors.v && (vectors.n[1] == 6 || vectors.n[1] == 12))
        r = kr_rays_vectors(parallel ? KR_PARALLEL : KR_DIVERGENT, columns, rows, views, (int)vectors.n[1], vectors.v);
    else if (source.v && gamma.v && gamma.count == columns && columns > 1) {
        double sdd = said(c, "SDD"), step = (gamma.v[columns - 1] - gamma.v[0]) / (double)(columns - 1), *a = angles_of(&source), *z = calloc((size_t)views, sizeof *z);
        kr_detector d = { columns, rows, { step * sdd, rows > 1 ? (row_z.v[rows - 1] - row_z.v[0]) / (double)(rows - 1) : 1 },
                          { (gamma.v[columns - 1] + gamma.v[0]) / 2 * sdd, row_z.v ? (row_z.v[rows - 1] + row_z.v[0]) / 2 : 0 } };
        for (long i = 0; source.n[1] == 3 && i < views; i++)
            z[i] = source.v[3 * i + 2];
        r = kr_rays_cone(&d, said(c, "SOD"), sdd, true, views, a, source.n[1] == 3 ? z : NULL);
        free(a);
        free(z);
    }
    tell(c, r && count ? exact(r, e, count, &want, 1) : INFINITY, 1e-12, "exact line integrals");
    /* the same geometry from plain numbers */
    double sod = said(c, "SOD"), sdd = said(c, "SDD");
    if (r && angle.v && !deep && !r->curved && (parallel || sdd > 0)) {
        double pitch = said(c, "detector_mm"), shift = said(c, "detector_shift_mm");
        kr_detector d = { columns, 1, { pitch, 0 }, { shift, 0 } };
        built = parallel ? kr_rays_parallel(&d, views, angle.v) : kr_rays_cone(&d, sod, sdd, false, views, angle.v, NULL);
        tell(c, built ? exact(built, e, count, &want, 1) : INFINITY, 1e-12, "exact line integrals, geometry from numbers");
    }
    if (r && bin64.v)
        tell(c, exact(r, e, count, &bin64, 64), 1e-12, "mean over 64 rays an element");
    if (r && bin.v)
        tell(c, exact(r, e, count, &bin, 256), 3e-4, "mean over an element, of 256 rays");
    /* Pixels of 1.2 mm and less, finer than the thinnest parts of the phantoms (1.6 mm): coarser ones lose these as a whole, and no rate can be told. */
    double *means = r && count ? element_means(r, e, count) : NULL;
    for (int m = 0; means && m < 2; m++) {
        enum kr_ray_model model = m ? KR_RAY_DISTANCE : KR_RAY_JOSEPH;
        double h = 1.2, coarse = drawn(r, e, count, m ? means : want.v, model, h, deep), fine = drawn(r, e, count, m ? means : want.v, model, h / 2, deep);
        char what[100];
        snprintf(what, sizeof what, "%s: error %.4f at pixels of %g mm; at half of it, times 2", kr_ray_model_name(model), coarse, h);
        tell(c, 2 * fine, 1.05 * coarse, what);
    }
    free(means);
    kr_rays_unref(&r);
    kr_rays_unref(&built);
    free(want.v); free(bin.v); free(bin64.v); free(vectors.v); free(source.v); free(gamma.v); free(row_z.v); free(angle.v);
}

/* ---- Filtered back-projection: scikit-image's radon and iradon ---- */
static double within_circle(const float *x, const struct set *want, bool circle)
{
    double most = 0, top = 0;
    long n0 = (long)want->n[0], n1 = (long)want->n[1];
    for (long i = 0; i < want->count; i++) {
        double dy = (double)(i / n1 - n0 / 2), dx = (double)(i % n1 - n1 / 2), r = (double)((n0 < n1 ? n0 : n1) / 2);
        if (circle && dx * dx + dy * dy > r * r)
            continue;
        most = fmax(most, fabs((double)x[i] - want->v[i]));
        top = fmax(top, fabs(want->v[i]));
    }
    return most / top;
}

static void radon(struct ct *c)
{
    struct set image = get(c, "inputs/image"), theta = get(c, "inputs/theta_deg"), sino = get(c, "outputs/radon");
    bool circle = said(c, "circle") != 0;
    long columns = (long)sino.n[0], views = (long)sino.n[1], h = (long)image.n[0], w = (long)image.n[1];
    if (!image.v || !theta.v || !sino.v || theta.count != views) {
        kr_fail(KR_EFORMAT, "image, theta_deg or radon are missing");
        tell(c, INFINITY, 0, "inputs");
    } else {
        double *angle = malloc((size_t)views * sizeof *angle);
        float *y = malloc((size_t)sino.count * sizeof *y), *Ax = malloc((size_t)sino.count * sizeof *y), *x = floats(&image), *out = malloc((size_t)(columns * columns + image.count) * sizeof *out);
        for (long i = 0; i < views; i++)
            angle[i] = theta.v[i] * M_PI / 180;
        for (long v = 0; v < views; v++)
            for (long k = 0; k < columns; k++)
                y[v * columns + k] = (float)sino.v[k * views + v];
        /* the middle at index N / 2, of image and detector */
        kr_detector d = { columns, 1, { 1, 0 }, { (double)(columns - 1) / 2 - (double)(columns / 2), 0 } };
        kr_rays *r = kr_rays_parallel(&d, views, angle);
        kr_grid g = { { w, h, 1 }, { -(double)(w / 2), (double)(h / 2), 0 }, { 1, -1, 1 } };
        kr_projector *p = r ? kr_projector_new(r, &g, KR_RAY_JOSEPH, false) : NULL;
        double a = 0, b = 0;
        if (p) {
            kr_project(p, Ax, x, 0, 1);
            for (long i = 0; i < sino.count; i++) {
                a += pow((double)(Ax[i] - y[i]), 2);
                b += pow((double)y[i], 2);
            }
        }
        /* its radon turns the image with bilinear interpolation and adds up: another discretisation */
        tell(c, p ? sqrt(a / b) : INFINITY, 0.03, "radon, relative error in the 2-norm");
        kr_projector_unref(&p);
        if (circle) {                                                /* its iradon adds columns of zeros on both sides, up to the diagonal */
            long all = (long)ceil(sqrt(2) * (double)columns), before = all / 2 - columns / 2;
            float *padded = calloc((size_t)(views * all), sizeof *padded);
            for (long v = 0; v < views; v++)
                memcpy(padded + v * all + before, y + v * columns, (size_t)columns * sizeof *y);
            free(y);
            y = padded;
            d.columns = all;
            d.shift[0] = (double)(all - 1) / 2 - (double)(all / 2);
            kr_rays_unref(&r);
            r = kr_rays_parallel(&d, views, angle);
        }
        for (int i = 0; r && i < KR_WINDOWS; i++) {
            char what[100];
            const char *name = i == KR_WINDOW_NONE ? "None" : kr_fbp_window_name((enum kr_fbp_window)i);
            snprintf(what, sizeof what, "outputs/iradon_%s_linear", name);
            struct set want = get(c, what);
            if (!want.v || want.dims != 2)
                continue;
            long n = (long)want.n[0], m = (long)want.n[1];
            kr_grid q = { { m, n, 1 }, { -(double)(m / 2), (double)(n / 2), 0 }, { 1, -1, 1 } };
            int e = kr_fbp(out, y, r, &q, &(kr_fbp_opts){ .window = (enum kr_fbp_window)i, .even = true }, NULL);
            kr_arc arc = { 0 };
            e = e ? e : kr_arc_of(&arc, r, NULL);
            double half = (i == KR_WINDOW_NONE ? 0.5 : 1) * M_PI / arc.covered;       /* its scale: pi / views for any angles, half of it without a filter */
            for (long k = 0; k < n * m; k++)
                out[k] *= (float)half;
            snprintf(what, sizeof what, "iradon %s", name);
            tell(c, e ? INFINITY : within_circle(out, &want, circle), 2e-6, what);
            free(want.v);
        }
        kr_rays_unref(&r);
        free(angle); free(y); free(Ax); free(x); free(out);
    }
    free(image.v); free(theta.v); free(sino.v);
}

static void filters(struct ct *c)
{
    for (int i = 0; i < KR_WINDOWS; i++)
        for (long P = 64; P <= 4096; P *= 2) {
            char what[100];
            snprintf(what, sizeof what, "size%ld/%s", P, kr_fbp_window_name((enum kr_fbp_window)i));
            struct set want = get(c, what);
            double *H = malloc((size_t)P * sizeof *H), most = 0, top = 0;
            if (want.v && want.count == P) {
                kr_fbp_filter(H, P, (enum kr_fbp_window)i, 0);
                for (long k = 0; k <= P / 2; k++) {                   /* theirs is twice ours, and not quite even: its real image is that of the mean */
                    double mean = (want.v[k] + want.v[(P - k) % P]) / 2;
                    most = fmax(most, fabs(2 * H[k] - mean));
                    top = fmax(top, fabs(mean));
                }
                tell(c, most / top, 1e-12, what);
            }
            free(H);
            free(want.v);
        }
}

/* ---- Filtered back-projection and Feldkamp in double precision ---- */
static void fbp(struct ct *c)
{
    struct set y = get(c, "inputs/sinogram"), angle = get(c, "inputs/angles_rad"), want = get(c, "outputs/image"), parker = get(c, "intermediate/parker_weights");
    struct set y3 = get(c, "inputs/projections"), vec = get(c, "inputs/vectors"), want3 = get(c, "outputs/volume");
    if (y3.v && vec.v && want3.v) {
        double s = said(c, "voxel_mm");
        long views = (long)y3.n[0];
        kr_rays *r = kr_rays_vectors(KR_DIVERGENT, (long)y3.n[2], (long)y3.n[1], views, 12, vec.v);
        kr_grid g = kr_grid_centred((long[3]){ (long)want3.n[2], (long)want3.n[1], (long)want3.n[0] }, (double[3]){ s, s, s });
        float *p = floats(&y3), *x = malloc((size_t)want3.count * sizeof *x);
        int e = r ? kr_fbp(x, p, r, &g, &(kr_fbp_opts){ .even = true }, NULL) : kr_error_code();
        tell(c, e ? INFINITY : off(x, &want3, NULL), 2e-6, "volume");
        kr_rays_unref(&r);
        free(p); free(x);
    } else if (y.v && want.v) {
        long views = (long)y.n[0], columns = (long)y.n[1];
        double *a = calloc((size_t)views, sizeof *a), sod = said(c, "SOD"), sdd = said(c, "SDD"), pitch = said(c, "detector_mm"), arc = said(c, "pitch_rad"), s = said(c, "pixel_mm");
        hid_t at = H5Aopen_by_name(c->file, c->group, "angles_rad", H5P_DEFAULT, H5P_DEFAULT);
        if (angle.v)
            memcpy(a, angle.v, (size_t)views * sizeof *a);
        else if (at < 0 || H5Aread(at, H5T_NATIVE_DOUBLE, a) < 0)
            kr_fail(KR_EFORMAT, "angles_rad is missing");
        if (at >= 0)
            H5Aclose(at);
        bool curved = arc > 0;
        kr_detector d = { columns, 1, { curved ? arc * 2 * sod : pitch, 0 }, { 0, 0 } };
        kr_rays *r = sod > 0 ? kr_rays_cone(&d, sod, curved ? 2 * sod : sdd, curved, views, a, NULL) : kr_rays_parallel(&d, views, a);
        kr_grid g = kr_grid_centred((long[3]){ (long)want.n[1], (long)want.n[0], 1 }, (double[3]){ s, s, s });
        float *p = floats(&y), *x = malloc((size_t)want.count * sizeof *x), *w = malloc((size_t)y.count * sizeof *w);
        int e = r ? kr_fbp(x, p, r, &g, &(kr_fbp_opts){ .even = true, .weights = w }, NULL) : kr_error_code();
        if (parker.v)
            tell(c, e ? INFINITY : off(w, &parker, NULL), 1e-6, "weights of Parker");
        tell(c, e ? INFINITY : off(x, &want, NULL), 2e-6, "image");
        kr_rays_unref(&r);
        free(a); free(p); free(x); free(w);
    } else {
        kr_fail(KR_EFORMAT, "projections, geometry or image are missing");
        tell(c, INFINITY, 0, "inputs");
    }
    free(y.v); free(angle.v); free(want.v); free(parker.v); free(y3.v); free(vec.v); free(want3.v);
}

/* ---- Geometry of nine parameters a view; Joseph in 3D; Feldkamp about the y axis ---- */
/* As a scan about z: (x, y, z) becomes (z, x, y). */
static void about_z(kr_rays *r)
{
    double (*all[4])[3] = { r->source, r->centre, r->u, r->v };
    for (int k = 0; k < 4; k++)
        for (long i = 0; i < r->views; i++) {
            double p[3] = { all[k][i][2], all[k][i][0], all[k][i][1] };
            memcpy(all[k][i], p, sizeof p);
        }
}

static void pair_said(const struct ct *c, const char *what, double v[3])
{
    hid_t a = H5Aexists_by_name(c->file, c->group, what, H5P_DEFAULT) > 0 ? H5Aopen_by_name(c->file, c->group, what, H5P_DEFAULT, H5P_DEFAULT) : -1;
    hid_t s = a < 0 ? -1 : H5Aget_space(a);
    if (s >= 0 && H5Sget_simple_extent_npoints(s) <= 3)
        H5Aread(a, H5T_NATIVE_DOUBLE, v);
    if (s >= 0)
        H5Sclose(s);
    if (a >= 0)
        H5Aclose(a);
}

static void rtk(struct ct *c)
{
    struct set nine = get(c, "inputs/add_projection_arguments"), volume = get(c, "inputs/volume"), back = get(c, "inputs/projections_for_back"), y = get(c, "inputs/projections");
    struct set forward = get(c, "outputs/joseph_forward"), adjoint = get(c, "outputs/joseph_back"), source = get(c, "outputs/source_position");
    struct set world = get(c, "outputs/projection_coordinates_to_fixed_system"), central = get(c, "outputs/analytic_central_ray"), bodies_of = get(c, "inputs/ellipsoids");
    struct set fdk = get(c, "outputs/volume"), own = get(c, "outputs/volume_own_f64");
    const struct set *p = back.v ? &back : &y, *vol = volume.v ? &volume : &fdk;
    double origin[3] = { 0 }, spacing[3] = { 0 }, first[3] = { 0 }, step[3] = { 0 };
    pair_said(c, "detector_origin", origin);
    pair_said(c, "detector_spacing", spacing);
    pair_said(c, "volume_origin_xyz", first);
    pair_said(c, "volume_spacing_xyz", step);
    if (!(step[0] > 0))
        step[0] = step[1] = step[2] = said(c, "volume_spacing");
    kr_rays *r = NULL;
    if (nine.v && nine.n[1] == 9 && p->dims == 3 && vol->dims == 3) {
        kr_detector d = { (long)p->n[2], (long)p->n[1], { spacing[0], spacing[1] }, { 0, 0 } };
        r = kr_rays_rtk(&d, origin, (long)p->n[0], (const double (*)[9])nine.v);
    } else
        kr_fail(KR_EFORMAT, "parameters, projections or a volume are missing");
    if (!r)
        tell(c, INFINITY, 0, "geometry");
    kr_grid g = { .n = { 1, 1, 1 } };
    for (int d = 0; r && d < 3; d++)
        g.n[d] = (long)vol->n[2 - d], g.first[d] = first[d], g.step[d] = step[d];
    if (r && source.v && r->beam == KR_DIVERGENT) {
        double most = 0;
        for (long i = 0; i < r->views * 3; i++)
            most = fmax(most, fabs(r->source[i / 3][i % 3] - source.v[i]));
        tell(c, most / 80, 1e-9, "positions of the source");
    }
    if (r && world.v && r->beam == KR_DIVERGENT) {
        double most = 0;
        for (long i = 0; i < r->views; i++)
            for (int k = 0; k < 3; k++) {
                const double *m = world.v + 16 * i + 4 * k;
                double u = origin[0] + spacing[0] * (double)(r->columns - 1) / 2, v = origin[1] + spacing[1] * (double)(r->rows - 1) / 2;
                most = fmax(most, fabs(m[0] * u + m[1] * v + m[3] - r->centre[i][k]));
            }
        tell(c, most / 80, 1e-9, "positions of the detector");
    }
    if (r && central.v && bodies_of.v && bodies_of.n[1] == 8 && bodies_of.n[0] <= 64) {
        kr_ellipsoid e[64];
        for (long i = 0; i < (long)bodies_of.n[0]; i++) {
            const double *q = bodies_of.v + 8 * i;
            e[i] = (kr_ellipsoid){ q[0], { q[1], q[2], q[3] }, { q[4], q[5], q[6] }, q[7] };
        }
        tell(c, exact(r, e, (long)bodies_of.n[0], &central, 1), 1e-10, "exact line integrals");
    }
    kr_projector *A = r && forward.v && adjoint.v ? kr_projector_new(r, &g, KR_RAY_JOSEPH, false) : NULL;
    if (A) {
        float *x = floats(&volume), *b = floats(&back), *Ax = malloc((size_t)forward.count * sizeof *Ax), *Bb = malloc((size_t)adjoint.count * sizeof *Bb);
        kr_project(A, Ax, x, 0, 1);
        kr_backproject(A, Bb, b, 0, 1, false);
        /* Its rays begin and end at the centres of the outermost voxels, ours at the planes outside: what the inner voxels get is the same. */
        bool *edge = calloc((size_t)adjoint.count, sizeof *edge);
        for (long i = 0; i < adjoint.count; i++) {
            long at[3] = { i % g.n[0], i / g.n[0] % g.n[1], i / (g.n[0] * g.n[1]) };
            for (int d = 0; d < 3; d++)
                edge[i] |= at[d] < 2 || at[d] >= g.n[d] - 2;
        }
        tell(c, off(Bb, &adjoint, edge), 1e-5, "joseph back, but the two outer layers");
        free(edge);
        double a = 0, q = 0;
        for (long i = 0; i < forward.count; i++)
            a += (double)Ax[i] * back.v[i];
        for (long i = 0; i < adjoint.count; i++)
            q += (double)Bb[i] * volume.v[i];
        tell(c, fabs(a - q) / fabs(q), 1e-6, "joseph forward and back are transposes");
        free(x); free(b); free(Ax); free(Bb);
    }
    kr_projector_unref(&A);
    if (r && fdk.v && y.v) {
        long n[3] = { g.n[2], g.n[0], g.n[1] };                       /* (z, x, y) */
        kr_grid q = { { n[0], n[1], n[2] }, { g.first[2], g.first[0], g.first[1] }, { g.step[2], g.step[0], g.step[1] } };
        float *b = floats(&y), *x = malloc((size_t)fdk.count * sizeof *x), *to = malloc((size_t)fdk.count * sizeof *to);
        about_z(r);
        int e = kr_fbp(x, b, r, &q, &(kr_fbp_opts){ .even = !strstr(c->group, "short") }, NULL);
        for (long k = 0; !e && k < g.n[2]; k++)
            for (long j = 0; j < g.n[1]; j++)
                for (long i = 0; i < g.n[0]; i++)
                    to[(k * g.n[1] + j) * g.n[0] + i] = x[(j * n[1] + i) * n[0] + k];
        tell(c, e ? INFINITY : off(to, &fdk, NULL), strstr(c->group, "short") ? 5e-2 : 5e-6, "Feldkamp");
        if (own.v)
            tell(c, e ? INFINITY : off(to, &own, NULL), 5e-6, "Feldkamp, in double precision");
        free(b); free(x); free(to);
    }
    kr_rays_unref(&r);
    free(nine.v); free(volume.v); free(back.v); free(y.v); free(forward.v); free(adjoint.v); free(source.v); free(world.v); free(central.v); free(bodies_of.v);
    free(fdk.v); free(own.v);
}

bool golden_is_ct(hid_t file)
{
    struct names groups = list(file, "/");
    for (int i = 0; i < groups.count; i++) {
        struct ct c = { .file = file, .group = groups.name[i] };
        if (there(&c, "inputs/vectors") || there(&c, "inputs/sinogram") || there(&c, "inputs/theta_deg") || there(&c, "outputs/central_ray") || there(&c, "inputs/add_projection_arguments"))
            return true;
    }
    return false;
}

int golden_ct(hid_t file, const char *name, int *number)
{
    struct names *groups = malloc(sizeof *groups);
    struct ct c = { .file = file, .name = name, .number = number };
    *groups = list(file, "/");
    for (int i = 0; i < groups->count; i++) {
        c.group = groups->name[i];
        if (there(&c, "outputs/central_ray"))
            analytic(&c);
        else if (there(&c, "inputs/sinogram_for_back"))
            plane(&c);
        else if (there(&c, "inputs/add_projection_arguments"))
            rtk(&c);
        else if (there(&c, "outputs/radon"))
            radon(&c);
        else if (there(&c, "inputs/sinogram") || (there(&c, "inputs/projections") && there(&c, "inputs/vectors")))
            fbp(&c);
        else if (!strcmp(c.group, "filters"))
            filters(&c);
    }
    free(groups);
    return c.bad;
}
