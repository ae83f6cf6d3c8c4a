/* Line integrals of CT: geometry, projectors and their transposes. */
#include "test.h"
#include "kray/rays.h"

static double spread(uint64_t seed, long i, double low, double high) { return low + (high - low) * kr_rand_uniform(seed, 9, (uint64_t)i); }

static void fill(float *x, long n, uint64_t seed)
{
    for (long i = 0; i < n; i++)
        x[i] = (float)spread(seed, i, 0, 1);
}

/* Some scan of that kind, with shifts, uneven angles and elements of any width, some far wider or narrower than a pixel. */
static kr_rays *scan(int kind, uint64_t seed)
{
    double angle[9];
    long columns = 31 + (long)spread(seed, 1, 0, 40);
    for (long i = 0; i < 9; i++)
        angle[i] = spread(seed, 20 + i, 0, 2 * M_PI);
    double width = spread(seed, 2, 0.5, 2.2) * (kind || seed % 6 != 3 ? 1 : seed % 12 == 3 ? 25 : 0.04), sod = spread(seed, 3, 60, 200), sdd = sod * spread(seed, 4, 1.1, 2.5);
    kr_detector d = { columns, 1, { kind ? width * sdd / sod : width, 0 }, { spread(seed, 5, -4, 4), 0 } };
    return kind ? kr_rays_cone(&d, sod, sdd, kind == 2, 9, angle, NULL) : kr_rays_parallel(&d, 9, angle);
}

static kr_grid grid(uint64_t seed)
{
    return kr_grid_centred((long[3]){ 20 + (long)spread(seed, 6, 0, 30), 20 + (long)spread(seed, 7, 0, 30), 1 },
                           (double[3]){ spread(seed, 8, 0.8, 1.3), -spread(seed, 10, 0.8, 1.3), 1 });
}

static double product(const float *a, const float *b, long n)
{
    double s = 0;
    for (long i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

/* Every third view from the first, second and third: line integrals as of all, and transposes that add up to that of all. */
static void in_thirds(kr_projector *p, const kr_grid *g, const float *all, float *sum, const float *back, const float *x, const float *y, long view, double tolerance)
{
    const kr_rays *r = kr_projector_rays(p);
    long n = g->n[0] * g->n[1] * g->n[2], most = (r->views + 2) / 3 * view;
    float *some = malloc((size_t)most * 4);
    double top = 0, topx = 0;
    for (long i = 0; i < r->views * view; i++)
        top = fmax(top, (double)all[i]);
    for (long i = 0; i < n; i++)
        topx = fmax(topx, (double)back[i]);
    for (long s = 0; s < 3 && s < r->views; s++) {
        kr_project(p, some, x, s, 3);
        for (long i = 0; i < (r->views - s + 2) / 3 * view; i++)
            assert_near(some[i], all[(s + i / view * 3) * view + i % view], tolerance * 5 * top);
        for (long i = 0; i < (r->views - s + 2) / 3 * view; i++)
            some[i] = y[(s + i / view * 3) * view + i % view];
        kr_backproject(p, sum, some, s, 3, s > 0);
    }
    for (long i = 0; i < n; i++)
        assert_near(back[i], sum[i], tolerance * topx);
    free(some);
}

/* The length of a line within a box, by clipping. */
static double within(const double p[3], const double d[3], const double low[3], const double high[3])
{
    double from = -INFINITY, to = INFINITY;
    for (int k = 0; k < 3; k++) {
        double a = (low[k] - p[k]) / d[k], b = (high[k] - p[k]) / d[k];
        if (fabs(d[k]) < 1e-14 && (p[k] < low[k] || p[k] >= high[k]))
            return 0;
        if (fabs(d[k]) >= 1e-14) {
            from = fmax(from, fmin(a, b));
            to = fmin(to, fmax(a, b));
        }
    }
    return fmax(to - from, 0);
}

/* Lengths within voxels, voxel by voxel: directions whose rays run through corners and along rows, and others. */
static void lengths(void **state)
{
    (void)state;
    static const double way[][3] = { { 1, 1, 0 }, { -1, 1, 0 }, { 1, -1, 0 }, { -1, -1, 0 }, { 1, 2, 0 }, { -2, 1, 0 }, { 1, 0.37, 0 }, { -0.41, 1, 0 }, { 0.1, -1, 0 }, { 1, -1, 1 }, { -1, 1, -0.5 }, { 0.3, 0.2, -1 }, { -0.3, 1, 0.45 } };
    for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
        bool flat = !(fabs(way[w][2]) > 0);
        double vec[12] = { way[w][0], way[w][1], way[w][2], 0.5, 0.5, 0, -way[w][1], way[w][0], 0, 0, 0, 1 };
        for (int k = 0; k < 2; k++)
            vec[6 + k] /= fmax(fabs(way[w][0]), fabs(way[w][1]));
        kr_rays *r = kr_rays_vectors(KR_PARALLEL, 9, flat ? 1 : 5, 1, 12, vec);
        kr_grid g = kr_grid_centred((long[3]){ 7, 6, flat ? 1 : 4 }, (double[3]){ 1, w % 2 ? -1 : 1, 1 });
        kr_projector *p = r ? kr_projector_new(r, &g, KR_RAY_LINE, true) : NULL;
        if (!p)
            fail_msg("%s", kr_error());
        long n = g.n[0] * g.n[1] * g.n[2], m = r->columns * r->rows;
        float x[7 * 6 * 4] = { 0 }, y[9 * 5];
        for (long i = 0; i < n; i++) {
            x[i] = 1;
            kr_project(p, y, x, 0, 1);
            x[i] = 0;
            double low[3], high[3], at[3], d[3];
            for (int k = 0; k < 3; k++) {
                long of = k == 0 ? i % 7 : k == 1 ? i / 7 % 6 : i / 42;
                low[k] = g.first[k] + (double)of * g.step[k] - 0.5;
                high[k] = low[k] + 1;
            }
            for (long j = 0; j < m; j++) {
                kr_ray(r, 0, (double)(j % r->columns), (double)(j / r->columns), at, d);
                assert_near(y[j], within(at, d, low, high), 1e-5);
            }
        }
        kr_projector_unref(&p);
        kr_rays_unref(&r);
    }
}

/* <A x, y> = <x, A^T y>, fast as plain, whole and by subsets, with any number of threads. */
static void projectors(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        kr_rays *r = scan((int)(seed % 3), seed);
        kr_grid g = grid(seed);
        double by = seed % 6 == 3 ? 10 : 1;                          /* rounding of positions, where most rays of a wide detector pass far beside the volume */
        assert_non_null(r);
        long n = g.n[0] * g.n[1], m = r->views * r->columns;
        float *x = malloc((size_t)n * 4), *y = malloc((size_t)m * 4), *Ax = malloc((size_t)m * 4), *By = malloc((size_t)n * 4), *again = malloc((size_t)(m + n) * 4);
        fill(x, n, seed);
        fill(y, m, seed + 100);
        for (int model = 0; model < KR_RAY_MODELS; model++) {
            kr_projector *plain = kr_projector_new(r, &g, (enum kr_ray_model)model, true), *fast = kr_projector_new(r, &g, (enum kr_ray_model)model, false);
            assert_non_null(plain);
            assert_non_null(fast);
            kr_project(plain, Ax, x, 0, 1);
            kr_backproject(plain, By, y, 0, 1, false);
            double top = 0, topx = 0;
            for (long i = 0; i < m; i++)
                top = fmax(top, (double)Ax[i]);
            for (long i = 0; i < n; i++)
                topx = fmax(topx, (double)By[i]);
            assert_near(product(Ax, y, m), product(x, By, n), by * 1e-6 * product(Ax, y, m));
            kr_project(fast, again, x, 0, 1);
            kr_backproject(fast, again + m, y, 0, 1, false);
            assert_near(product(again, y, m), product(x, again + m, n), by * 1e-6 * product(Ax, y, m));
            for (long i = 0; i < m; i++)
                assert_near(again[i], Ax[i], by * 5e-6 * top);
            for (long i = 0; i < n; i++)
                assert_near(again[m + i], By[i], by * 5e-6 * topx);
            in_thirds(plain, &g, again, By, again + m, x, y, r->columns, by * 5e-6);
            in_thirds(fast, &g, again, By, again + m, x, y, r->columns, by * 1e-6);
            kr_projector_unref(&fast);
            kr_projector_unref(&plain);
        }
        int threads = kr_threads();
        kr_threads_set(threads == 1 ? 3 : 1);
        kr_projector *other = kr_projector_new(r, &g, KR_RAY_JOSEPH, false);
        kr_project(other, Ax, x, 0, 1);
        kr_backproject(other, By, y, 0, 1, false);
        kr_threads_set(threads);
        kr_projector *same = kr_projector_new(r, &g, KR_RAY_JOSEPH, false);
        kr_project(same, again, x, 0, 1);
        kr_backproject(same, again + m, y, 0, 1, false);
        assert_memory_equal(again, Ax, (size_t)m * 4);
        assert_memory_equal(again + m, By, (size_t)n * 4);
        kr_projector_unref(&other);
        kr_projector_unref(&same);
        free(x); free(y); free(Ax); free(By); free(again);
        kr_rays_unref(&r);
    }
}

/* Fans from all sides, whose elements are from a third of a pixel to dozens of pixels wide, so that rays of a detector change from one main axis to the other within an image and elements at its
 * corners reach over several rows: the kernels as the plain loop, and the same bits for one thread as for three. */
static void fans(void **state)
{
    (void)state;
    int threads = kr_threads();
    for (uint64_t seed = 200; seed < 320; seed++) {
        long views = 1 + (long)spread(seed, 1, 0, 4);
        double angle[5], sod = 1000, sdd = sod * spread(seed, 2, 1.2, 3), fan = spread(seed, 3, 0.05, 1.2);
        bool curved = seed % 2;
        kr_detector d = { 3 + (long)spread(seed, 4, 0, seed % 4 < 2 ? 80 : 500), 1, { 0 }, { 0 } };
        d.pitch[0] = (curved ? fan : 2 * tan(fan / 2)) * sdd / (double)d.columns;
        d.shift[0] = spread(seed, 5, -10, 10) * d.pitch[0];
        for (long i = 0; i < views; i++)
            angle[i] = spread(seed, 10 + i, 0, 2 * M_PI);
        kr_rays *r = kr_rays_cone(&d, sod, sdd, curved, views, angle, NULL);
        long nx = 1 + (long)spread(seed, 6, 0, 200), ny = 1 + (long)spread(seed, 7, 0, 200);
        double pixel = 2 * sod * sin(fan / 2) * spread(seed, 8, 0.2, 1.2) / (double)(nx > ny ? nx : ny);
        kr_grid g = kr_grid_centred((long[3]){ nx, ny, 1 }, (double[3]){ pixel, -pixel * spread(seed, 9, 0.7, 1.2), 1 });
        long n = nx * ny, m = r->views * r->columns;
        float *x = malloc((size_t)n * 4), *y = malloc((size_t)m * 4), *Ax = malloc((size_t)(2 * m) * 4), *By = malloc((size_t)(3 * n) * 4);
        fill(x, n, seed);
        fill(y, m, seed + 1000);
        for (int model = KR_RAY_JOSEPH; model <= KR_RAY_DISTANCE; model++) {
            double top = 1e-30, topx = 1e-30;
            for (int k = 0; k < 3; k++) {                            /* plain, and by one thread and three */
                kr_threads_set(k == 2 ? 3 : 1);
                kr_projector *p = kr_projector_new(r, &g, (enum kr_ray_model)model, k == 0);
                assert_true(p && (k || !kr_projector_fast(p)));      /* elements far finer than pixels take the loop, too */
                if (k < 2)
                    kr_project(p, Ax + k * m, x, 0, 1);
                kr_backproject(p, By + k * n, y, 0, 1, false);
                kr_projector_unref(&p);
            }
            assert_memory_equal(By + n, By + 2 * n, (size_t)n * 4);
            assert_near(product(Ax + m, y, m), product(x, By + n, n), 1e-6 * product(Ax, y, m));
            for (long i = 0; i < m; i++)
                top = fmax(top, (double)Ax[i]);
            for (long i = 0; i < n; i++)
                topx = fmax(topx, (double)By[i]);
            for (long i = 0; i < m; i++)
                assert_near(Ax[m + i], Ax[i], 1e-5 * top);
            for (long i = 0; i < n; i++)
                assert_near(By[n + i], By[i], 1e-5 * topx);
        }
        free(x); free(y); free(Ax); free(By);
        kr_rays_unref(&r);
    }
    kr_threads_set(threads);
}

/* Volumes whose detector columns stand along an axis: cones (flat, cylindrical, helical), parallel rays aslant, the axis y as RTK has it. */
static kr_rays *volume_scan(int kind, uint64_t seed)
{
    double angle[7], z[7], nine[7][9] = { { 0 } };
    for (long i = 0; i < 7; i++) {
        angle[i] = spread(seed, 20 + i, 0, 2 * M_PI);
        z[i] = spread(seed, 40 + i, -6, 6);
        memcpy(nine[i], (double[9]){ 90, 140, angle[i] * 180 / M_PI, spread(seed, 50 + i, -3, 3), 2 }, sizeof nine[i]);
    }
    double width = spread(seed, 2, 0.6, 2.2);
    kr_detector d = { 25 + (long)spread(seed, 1, 0, 20), 17 + (long)spread(seed, 3, 0, 20), { 1.5 * width, spread(seed, 4, 0.7, 2.6) }, { spread(seed, 5, -3, 3), 1.2 } };
    if (kind == 4) {
        double origin[2] = { -0.75 * width * (double)(d.columns - 1), -0.5 * d.pitch[1] * (double)(d.rows - 1) };
        return kr_rays_rtk(&d, origin, 7, (const double (*)[9])nine);
    }
    if (kind < 3)
        return kr_rays_cone(&d, 90, 140, kind == 1, 7, angle, kind == 2 ? z : NULL);
    kr_rays *r = kr_rays_parallel(&d, 7, angle);
    for (long i = 0; r && i < 7; i++) {
        r->source[i][2] = spread(seed, 60 + i, -0.5, 0.5);
        r->v[i][2] *= seed % 2 ? 1 : -1;
    }
    return r;
}

static void volumes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        kr_rays *r = volume_scan((int)(seed % 5), seed);
        assert_non_null(r);
        kr_grid g = kr_grid_centred((long[3]){ 18 + (long)(seed % 3), 21, 15 + 4 * (long)(seed % 4) }, (double[3]){ 1.2, seed % 2 ? 1.3 : -1.1, seed % 3 ? 1.25 : -1.4 });
        if (seed >= 15 && seed % 5 < 4) {                            /* lines of voxels along x: taken as they lie */
            kr_rays *turned = kr_rays_about_z(r, 1);
            kr_rays_unref(&r);
            r = turned;
            g = kr_grid_centred((long[3]){ g.n[2], g.n[0], g.n[1] }, (double[3]){ g.step[2], g.step[0], g.step[1] });
        }
        long n = g.n[0] * g.n[1] * g.n[2], m = r->views * r->rows * r->columns, view = r->rows * r->columns;
        float *x = malloc((size_t)n * 4), *y = malloc((size_t)m * 4), *Ax = malloc((size_t)m * 4), *By = malloc((size_t)n * 4), *again = malloc((size_t)(m + n) * 4);
        fill(x, n, seed);
        fill(y, m, seed + 100);
        for (int model = 0; model <= KR_RAY_DISTANCE; model++) {
            kr_projector *plain = kr_projector_new(r, &g, (enum kr_ray_model)model, true), *fast = kr_projector_new(r, &g, (enum kr_ray_model)model, false);
            assert_true(plain && fast && kr_projector_fast(fast) && !kr_projector_fast(plain));
            kr_project(plain, Ax, x, 0, 1);
            kr_backproject(plain, By, y, 0, 1, false);
            kr_project(fast, again, x, 0, 1);
            kr_backproject(fast, again + m, y, 0, 1, false);
            double top = 0, topx = 0, all = product(Ax, y, m);
            for (long i = 0; i < m; i++)
                top = fmax(top, (double)Ax[i]);
            for (long i = 0; i < n; i++)
                topx = fmax(topx, (double)By[i]);
            assert_true(top > 0 && topx > 0);
            assert_near(product(again, y, m), product(x, again + m, n), 1e-6 * all);
            for (long i = 0; i < m; i++)
                assert_near(again[i], Ax[i], 5e-6 * top);            /* of 7 rounding steps in float along the longest ray's 40 rows */
            for (long i = 0; i < n; i++)
                assert_near(again[m + i], By[i], 5e-6 * topx);
            in_thirds(fast, &g, again, By, again + m, x, y, view, 1e-6);
            int threads = kr_threads();
            kr_threads_set(threads == 1 ? 3 : 1);
            kr_projector *other = kr_projector_new(r, &g, (enum kr_ray_model)model, false);
            kr_project(other, Ax, x, 0, 1);
            kr_backproject(other, By, y, 0, 1, false);
            kr_threads_set(threads);
            assert_memory_equal(again, Ax, (size_t)m * 4);
            assert_memory_equal(again + m, By, (size_t)n * 4);
            kr_projector_unref(&other);
            kr_projector_unref(&fast);
            kr_projector_unref(&plain);
        }
        free(x); free(y); free(Ax); free(By); free(again);
        kr_rays_unref(&r);
    }
}

static void fast_where_it_can(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        kr_rays *r = scan(kind, (uint64_t)kind);
        kr_grid g = grid(0);
        kr_projector *p = kr_projector_new(r, &g, KR_RAY_JOSEPH, false);
        assert_true(kr_projector_fast(p));
        kr_projector_unref(&p);
        kr_rays_unref(&r);
    }
}

/* Detectors tilted in all ways, of cones (flat and cylindrical) and parallel rays that run mainly along x, y or z, from all sides: line integrals by joseph as the plain loop has them, all models
 * exact transposes, the same bits for any number of threads. */
static void tilted(void **state)
{
    (void)state;
    for (int trial = 0; trial < 12; trial++) {
        const int kind = trial % 6, fine = trial / 6;                        /* fine: rows longer than two registers, rays close to each other */
        double vec[5 * 12];
        for (int i = 0; i < 5; i++) {
            double t = 0.7 + 1.3 * i, c = cos(t), s = sin(t), up = kind > 2 ? 2.2 : 0.3;
            double cone[12] = { 70 * s, -70 * c, 3, -50 * s + 2, 50 * c, -1, 2 * c, 2 * s, 0.1, -0.1 * c, -0.1 * s, 2.2 }, slant[12] = { s, -c, up, 1, -2, 0.5, 2 * c, 2 * s, 0.1, -up * s, up * c, 2.2 };
            memcpy(vec + 12 * i, kind % 3 == 2 ? slant : cone, sizeof cone);
            for (int k = 0; k < 4 && kind > 2 && kind < 5; k++) {    /* about x: rays along z, too */
                double was = vec[12 * i + 3 * k];
                vec[12 * i + 3 * k] = vec[12 * i + 3 * k + 2];
                vec[12 * i + 3 * k + 2] = was;
            }
        }
        kr_rays *r = kr_rays_vectors(kind % 3 == 2 ? KR_PARALLEL : KR_DIVERGENT, 21, 15, 5, 12, vec);
        r->curved = kind % 3 == 1;
        kr_grid g = fine ? kr_grid_centred((long[3]){ 38, 41, 35 }, (double[3]){ 1.1, -1.3, 1.2 }) : kr_grid_centred((long[3]){ 12, 14, 10 }, (double[3]){ 1.5, -1.4, 1.6 });
        long n = g.n[0] * g.n[1] * g.n[2], m = 5 * 15 * 21;
        float *x = malloc((size_t)n * 4), *y = malloc((size_t)m * 4), *Ax = malloc((size_t)m * 4), *By = malloc((size_t)n * 4), *again = malloc((size_t)(m + n) * 4);
        fill(x, n, 1);
        fill(y, m, 2);
        for (int model = 0; model < KR_RAY_STRIP; model++) {
            kr_projector *p = kr_projector_new(r, &g, (enum kr_ray_model)model, false), *plain = kr_projector_new(r, &g, (enum kr_ray_model)model, true);
            assert_true(p && plain && kr_projector_fast(p) == (model == KR_RAY_JOSEPH));
            kr_project(p, Ax, x, 0, 1);
            kr_backproject(p, By, y, 0, 1, false);
            assert_near(product(Ax, y, m), product(x, By, n), 1e-6 * product(Ax, y, m));
            kr_project(plain, again, x, 0, 1);
            kr_backproject(plain, again + m, y, 0, 1, false);
            double top = 0, topx = 0;
            for (long i = 0; i < m; i++)
                top = fmax(top, (double)again[i]);
            for (long i = 0; i < n; i++)
                topx = fmax(topx, (double)again[m + i]);
            assert_true(top > 0 && topx > 0);
            for (long i = 0; i < m; i++)
                assert_near(again[i], Ax[i], 5e-6 * top);
            for (long i = 0; i < n; i++)
                assert_near(again[m + i], By[i], 5e-6 * topx);
            in_thirds(p, &g, Ax, again, By, x, y, 15 * 21, 1e-6);
            int threads = kr_threads();
            kr_threads_set(threads == 1 ? 3 : 1);
            kr_projector *other = kr_projector_new(r, &g, (enum kr_ray_model)model, false);
            kr_project(other, again, x, 0, 1);
            kr_backproject(other, again + m, y, 0, 1, false);
            kr_threads_set(threads);
            assert_memory_equal(again, Ax, (size_t)m * 4);
            assert_memory_equal(again + m, By, (size_t)n * 4);
            kr_projector_unref(&other);
            kr_projector_unref(&p);
            kr_projector_unref(&plain);
        }
        assert_null(kr_projector_new(r, &g, KR_RAY_STRIP, false));
        assert_refused(KR_EREFUSED, "one slice");
        free(x); free(y); free(Ax); free(By); free(again);
        kr_rays_unref(&r);
    }
}

/* A scan that is turned as a whole, x to y to z to x, has the same rays, turned; on curved detectors all points of a row are as far from the source. */
static void turned_rays(void **state)
{
    (void)state;
    for (int curved = 0; curved < 2; curved++) {
        double vec[12] = { 70, -60, 9, -45, 52, -4, 1.5, 1.7, 0.2, 0.1, -0.2, 2.2 }, point[3][3], direction[3][3], far[2] = { 0, 0 };
        for (int turn = 0; turn < 3; turn++) {
            kr_rays *r = kr_rays_vectors(KR_DIVERGENT, 21, 15, 1, 12, vec);
            r->curved = curved;
            kr_ray(r, 0, 3, 11, point[turn], direction[turn]);
            for (int d = 0; d < 3; d++) {
                assert_near(point[turn][(d + turn) % 3], point[0][d], 1e-9);
                assert_near(direction[turn][(d + turn) % 3], direction[0][d], 1e-12);
            }
            kr_rays_unref(&r);
            for (int k = 0; k < 4; k++) {
                double was = vec[3 * k + 2];
                vec[3 * k + 2] = vec[3 * k + 1];
                vec[3 * k + 1] = vec[3 * k];
                vec[3 * k] = was;
            }
        }
        double level[12] = { 70, -60, 9, -45, 52, 9, 1.5, 1.7, 0, 0, 0, 2.2 };
        kr_rays *r = kr_rays_vectors(KR_DIVERGENT, 21, 15, 1, 12, level);
        r->curved = curved;
        for (int i = 0; i < 2; i++) {
            kr_ray(r, 0, i ? 0 : 10, 7, point[0], direction[0]);
            for (int d = 0; d < 3; d++)
                far[i] += pow(point[0][d] - level[d], 2);
        }
        assert_true(curved ? fabs(far[1] / far[0] - 1) < 1e-9 : fabs(far[1] / far[0] - 1) > 1e-3);
        kr_rays_unref(&r);
    }
}

static void grids_of_scans(void **state)
{
    (void)state;
    double angle[60];
    for (int i = 0; i < 60; i++)
        angle[i] = 2 * M_PI * i / 60;
    kr_detector d = { 100, 1, { 0.4, 0 }, { 0, 0 } };
    kr_rays *r = kr_rays_parallel(&d, 60, angle);
    kr_grid g = kr_grid_of(r);
    assert_int_equal(g.n[0], 100);
    assert_int_equal(g.n[2], 1);
    assert_near(g.step[0], 0.4, 1e-12);
    kr_rays_unref(&r);
    d.rows = 50;
    r = kr_rays_cone(&d, 100, 200, false, 60, angle, NULL);
    g = kr_grid_of(r);
    assert_near(g.step[0], 0.2, 1e-9);
    assert_near(g.step[2], 0.2, 1e-9);
    assert_int_equal(g.n[2], 50);
    kr_rays_unref(&r);
    double nine[60][9] = { { 0 } }, origin[2] = { -0.4 * 49.5, -0.4 * 24.5 };      /* RTK turns about y */
    for (int i = 0; i < 60; i++)
        memcpy(nine[i], (double[3]){ 100, 200, 6.0 * i }, 3 * sizeof(double));
    r = kr_rays_rtk(&d, origin, 60, (const double (*)[9])nine);
    assert_int_equal(kr_rays_axis(r), 1);
    kr_grid y = kr_grid_of(r);
    assert_true(y.n[1] == g.n[2] && y.n[0] == g.n[0] && y.n[2] == g.n[1]);
    assert_near(y.first[1], g.first[2], 1e-9);
    kr_rays_unref(&r);
}

/* Rows that see a small volume above, beside or below the middle plane: all that a projector finds it in, and no more than the box's corners and interpolation need. */
static void rows_of_volumes(void **state)
{
    (void)state;
    enum { COLUMNS = 60, ROWS = 50, VIEWS = 12, N = 6 };
    double angle[VIEWS];
    for (int i = 0; i < VIEWS; i++)
        angle[i] = 2 * M_PI * i / VIEWS;
    kr_detector d = { COLUMNS, ROWS, { 1, 0.9 }, { 0, 1.3 } };
    kr_rays *r = kr_rays_cone(&d, 60, 100, false, VIEWS, angle, NULL);
    for (int way = 0; way < 5; way++) {
        kr_grid g = kr_grid_centred((long[3]){ N, N, N }, (double[3]){ 1, -1, way % 2 ? 1 : -1 });
        g.first[2] += 4.5 * (way - 2);
        kr_projector *p = kr_projector_new(r, &g, KR_RAY_JOSEPH, true);
        float *x = malloc(N * N * N * sizeof *x), *y = malloc(COLUMNS * ROWS * VIEWS * sizeof *y);
        long low = ROWS, high = -1, from, count;
        for (int i = 0; i < N * N * N; i++)
            x[i] = 1;
        kr_project(p, y, x, 0, 1);
        for (long i = 0; i < COLUMNS * ROWS * VIEWS; i++)
            if (y[i] > 0) {
                long row = i / COLUMNS % ROWS;
                low = row < low ? row : low;
                high = row > high ? row : high;
            }
        kr_rays_rows(r, &g, &from, &count);
        print_message("rows %ld to %ld of %ld to %ld\n", low, high, from, from + count - 1);
        assert_true(from <= low && from + count > high);
        assert_true(from >= low - 3 && from + count <= high + 4);
        free(x); free(y);
        kr_projector_unref(&p);
    }
    kr_rays_unref(&r);
}

/* A view tilted in all three ways: the rows of Rz(-10) Rx(-20) Ry(-30) in degrees, as RTK's documentation has them, multiplied out with NumPy. */
static void tilted_as_rtk(void **state)
{
    (void)state;
    static const double axes[3][3] = { { 0.88256412, 0.16317591, -0.44096961 }, { 0.01802831, 0.92541658, 0.37852231 }, { 0.46984631, -0.34202014, 0.81379768 } };
    const double nine[1][9] = { { 500, 800, 30, 4, -3, 20, 10, 1.5, -0.5 } }, origin[2] = { -3.5, -2 };
    kr_detector d = { 8, 3, { 1, 2 }, { 0, 0 } };
    kr_rays *r = kr_rays_rtk(&d, origin, 1, nine);
    assert_non_null(r);
    for (int k = 0; k < 3; k++) {
        assert_near(r->u[0][k], axes[0][k], 1e-7);
        assert_near(r->v[0][k], 2 * axes[1][k], 1e-7);
        assert_near(r->source[0][k], 1.5 * axes[0][k] - 0.5 * axes[1][k] + 500 * axes[2][k], 1e-4);
        assert_near(r->centre[0][k], 4 * axes[0][k] - 3 * axes[1][k] - 300 * axes[2][k], 1e-4);
    }
    kr_rays_unref(&r);
}

static void refusals(void **state)
{
    (void)state;
    double angle[2] = { 0, 1 };
    kr_detector d = { 10, 1, { 1, 0 }, { 0, 0 } };
    assert_null(kr_rays_cone(&d, 200, 100, false, 2, angle, NULL));
    assert_refused(KR_EREFUSED, "beyond the axis");
    assert_null(kr_rays_parallel(&(kr_detector){ 10, 1, { 0, 0 }, { 0, 0 } }, 2, angle));
    assert_refused(KR_EREFUSED, "above 0");
    assert_null(kr_rays_parallel(&(kr_detector){ 0, 1, { 1, 0 }, { 0, 0 } }, 2, angle));
    assert_refused(KR_EREFUSED, "at least 1");
    angle[1] = NAN;
    assert_null(kr_rays_parallel(&d, 2, angle));
    assert_refused(KR_ENUMBER, "not finite");
    angle[1] = 1;
    kr_rays *r = kr_rays_cone(&d, 10, 20, false, 2, angle, NULL);
    kr_grid g = kr_grid_centred((long[3]){ 40, 40, 1 }, (double[3]){ 1, 1, 1 });
    assert_null(kr_projector_new(r, &g, KR_RAY_JOSEPH, false));
    assert_refused(KR_EREFUSED, "lies in the volume");
    kr_rays_unref(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(lengths), cmocka_unit_test(projectors), cmocka_unit_test(fans), cmocka_unit_test(volumes), cmocka_unit_test(fast_where_it_can), cmocka_unit_test(tilted),
                                        cmocka_unit_test(turned_rays), cmocka_unit_test(grids_of_scans), cmocka_unit_test(tilted_as_rtk), cmocka_unit_test(rows_of_volumes), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
