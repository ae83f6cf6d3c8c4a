/* test_tomography.c: X-ray data by chance through filtered back-projection, in every geometry and way that it takes, and through the iterative methods: the images are those that they gave. What they
 * are worth, tests/unit/test_ct.c and the golden runs say; here a weight, an edge or a limit that moves by a little is noticed. */
#include "held.h"
#include "kray/ct.h"
#include "kray/recon.h"

static const figure figures[] = {
#include "tomography.h"
};
static void as_was(const char *name, const char *way, double size, double pattern, double most) { held(figures, sizeof figures / sizeof *figures, name, way, size, pattern, most); }

enum { MOST = 120 };
static double angle[MOST];
static void turn(double from, double to, long n)                     /* not quite even */
{
    for (long i = 0; i < n; i++)
        angle[i] = (from + (to - from) * ((double)i + 0.3 * kr_rand_uniform(5, 1, (uint64_t)i)) / (double)n) * M_PI / 180;
}

/* Leaves out views from..to - 1: how many are left. */
static long hole(long n, long from, long to)
{
    memmove(angle + from, angle + to, (size_t)(n - to) * sizeof *angle);
    return n - (to - from);
}

static kr_rays *parallel(double to, double shift, bool holed)
{
    turn(7, 7 + to, 40);
    return kr_rays_parallel(&(kr_detector){ 41, 1, { 1.1, 0 }, { shift, 0 } }, holed ? hole(40, 11, 19) : 40, angle);
}

static kr_rays *fan(double to, double shift, bool curved, int holes)
{
    turn(13, 13 + to, 60);
    long n = holes ? hole(60, 8, 13) : 60;
    n = holes > 1 ? hole(n, 30, 36) : n;
    return kr_rays_cone(&(kr_detector){ 43, 1, { 2, 0 }, { shift, 0 } }, 70, 130, curved, n, angle, NULL);
}

static kr_rays *cone(double to, double shift, int axis)
{
    turn(3, 3 + to, 36);
    kr_rays *r = kr_rays_cone(&(kr_detector){ 33, 15, { 2.2, 2 }, { shift, 1.3 } }, 70, 130, false, 36, angle, NULL), *about = r && axis < 2 ? kr_rays_about_z(r, axis) : kr_rays_copy(r);
    kr_rays_unref(&r);
    return about;
}

static kr_rays *helix(double to, double rise, bool curved, long rows)
{
    double z[MOST];
    turn(-20, -20 + to, MOST);
    for (long i = 0; i < MOST; i++)
        z[i] = rise * ((double)i / MOST - 0.5);
    return kr_rays_cone(&(kr_detector){ 31, rows, { 2.4, 3 }, { 0.4, 0.5 } }, 60, 110, curved, MOST, angle, z);
}



static kr_rays *make_parallel(int i)
{
    static const double to[] = { 180, 360, 360, 360, 180, 140 }, shift[] = { 0.3, 0.2, 9.7, -2.1, 0, 0 };
    return parallel(to[i], shift[i], i == 4);
}

static kr_rays *make_fan(int i)
{
    static const double to[] = { 360, 360, 360, 225, 360, 150, 350 }, shift[] = { 0.6, 21, -4.1, 0, 0, 0, 0.3 };
    return fan(to[i / 2], shift[i / 2] * (i & 1 ? -1 : 1), i & 1, i / 2 == 4 ? 2 : i / 2 == 6);
}

static kr_rays *make_cone(int i)
{
    static const double to[] = { 360, 360, 220, 360 }, shift[] = { 0.2, 19, 0, -0.7 };
    return cone(to[i], shift[i], i == 3 ? 0 : 2);
}

static kr_rays *make_helix(int i)
{
    static const double to[] = { 1080, 1080, -900, 360, 240, 700 }, rise[] = { 40, 40, 30, 0, 0, 25 };
    return helix(to[i], rise[i], i != 1, i == 5 ? 21 : 14);
}

static const struct job { const char *name; kr_rays *(*make)(int i); int i; long deep; } jobs[] = {
    { "parallel, half a turn", make_parallel, 0, 1 }, { "parallel, a turn", make_parallel, 1, 1 }, { "parallel, aside", make_parallel, 2, 1 }, { "parallel, a little aside", make_parallel, 3, 1 },
    { "parallel, a gap", make_parallel, 4, 1 }, { "parallel, 140 degrees", make_parallel, 5, 1 },
    { "fan", make_fan, 0, 1 }, { "curved fan", make_fan, 1, 1 }, { "fan aside", make_fan, 2, 1 }, { "curved fan aside", make_fan, 3, 1 }, { "fan a little aside", make_fan, 4, 1 },
    { "curved fan a little aside", make_fan, 5, 1 }, { "fan, short scan", make_fan, 6, 1 }, { "curved fan, short scan", make_fan, 7, 1 }, { "fan, two gaps", make_fan, 8, 1 },
    { "curved fan, two gaps", make_fan, 9, 1 }, { "fan, 150 degrees", make_fan, 10, 1 }, { "curved fan, 150 degrees", make_fan, 11, 1 }, { "fan, a gap", make_fan, 12, 1 }, { "curved fan, a gap", make_fan, 13, 1 },
    { "cone", make_cone, 0, 9 }, { "cone aside", make_cone, 1, 9 }, { "cone, short scan", make_cone, 2, 9 }, { "cone about x", make_cone, 3, 9 },
    { "helix, curved", make_helix, 0, 9 }, { "helix, flat", make_helix, 1, 9 }, { "helix, clockwise", make_helix, 2, 9 }, { "circle, curved", make_helix, 3, 5 }, { "short scan, curved", make_helix, 4, 5 },
    { "helix, many rows", make_helix, 5, 12 },
};
static const struct { const char *word; kr_fbp_opts opts; } ways[] = {
    { "ramp", { 0 } }, { "shepp-logan", { .window = KR_WINDOW_SHEPP_LOGAN } }, { "cosine", { .window = KR_WINDOW_COSINE } }, { "hamming", { .window = KR_WINDOW_HAMMING } },
    { "hann, even", { .window = KR_WINDOW_HANN, .even = true } }, { "none", { .window = KR_WINDOW_NONE } }, { "spline", { .spline = true } }, { "gridded", { .gridded = 1e-5 } },
};

static void filtered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        const struct job *j = &jobs[i];
        kr_rays *r = j->make(j->i);
        assert_non_null(r);
        kr_grid g = kr_grid_centred((long[3]){ 37, 35, j->deep }, (double[3]){ 1.1, -1.2, j->deep > 1 ? -1.7 : 1 });
        g.first[0] += 1.5;                                           /* some pixels lie beyond what the detector sees */
        if (j->i == 3 && j->make == make_cone)
            g = kr_grid_centred((long[3]){ j->deep, 21, 23 }, (double[3]){ 1.7, 1.2, -1.1 });
        long n = g.n[0] * g.n[1] * g.n[2], m = r->views * r->rows * r->columns;
        float *y = malloc((size_t)m * sizeof *y), *w = malloc((size_t)m * sizeof *w), *x = malloc((size_t)n * sizeof *x);
        double size, pattern, of_y;
        for (long k = 0; k < m; k++)
            y[k] = (float)kr_rand_uniform(11, 3, (uint64_t)k);
        tell(&of_y, &pattern, y, m, 1);
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            kr_fbp_opts o = ways[way].opts;
            if ((o.gridded > 0 && j->make != make_parallel) || (o.spline && j->deep > 1) || (j->i && o.window && (!o.even || j->deep > 1)))
                continue;
            o.weights = way || j->make == make_helix ? NULL : w;
            if (kr_fbp(x, y, r, &g, &o, NULL))
                fail_msg("%s, %s: %s", j->name, ways[way].word, kr_error());
            tell(&size, &pattern, x, n, 1);
            as_was(j->name, ways[way].word, size / of_y, pattern, 1e-5);
            if (o.weights) {
                tell(&size, &pattern, w, m, 2);
                as_was(j->name, "weights", size, pattern, 1e-5);
            }
        }
        long from, count;
        kr_rays_rows(r, &g, &from, &count);
        as_was(j->name, "rows", (double)count, (double)from, 1e-9);
        kr_grid all = kr_grid_of(r);
        as_was(j->name, "voxels", fabs(all.step[0]) + 10 * fabs(all.step[1]) + 100 * fabs(all.step[2]), (double)(all.n[0] + 100 * all.n[1] + 10000 * all.n[2]), 1e-6);
        free(x); free(y); free(w);
        kr_rays_unref(&r);
    }
}

/* A few bodies, some noise; few passes of each method, with its options. */
static void iterative(void **state)
{
    (void)state;
    static const struct { const char *method, *options; } by[] = {
        { "fbp", "window=hann" }, { "fbp", "between=linear" }, { "fbp", "between=spline" }, { "gridding", "" },
        { "sirt", "iterations=6,nonneg=on" }, { "sirt", "iterations=6,relax=0.7" }, { "sirt", "iterations=3,subsets=4" }, { "os-sart", "iterations=3,nonneg=on" }, { "os-sart", "iterations=3,subsets=5" },
        { "sart", "iterations=2,nonneg=on" }, { "cgls", "iterations=6" }, { "lsqr", "iterations=6" }, { "mlem", "iterations=5,subsets=4" }, { "mlem", "iterations=5,subsets=1" }, { "pwls", "nonneg=on,iterations=5" },
        { "pwls", "iterations=8,subsets=3" }, { "asd-pocs", "nonneg=on,iterations=5" }, { "tv", "lambda=0.001,nonneg=on,tolerance=0,iterations=8" }, { "wavelet", "lambda=0.003,iterations=8" },
        { "tgv", "lambda=0.001,iterations=8,tolerance=0" }, { "cs", "reg=tv:0.001+wavelet:0.0001,nonneg=on,tolerance=0,iterations=8" },
    };
    static const struct { const char *name; kr_rays *(*make)(int i); int i; long deep; } scans[] = { { "parallel", make_parallel, 0, 1 }, { "fan", make_fan, 5, 1 }, { "cone", make_cone, 0, 7 } };
    static const kr_ellipsoid bodies[3] = { { 0.02, { 1, 0, 0 }, { 15, 13, 30 }, 0.3 }, { 0.01, { -6, 2, 0 }, { 4, 3, 20 }, -0.4 }, { -0.008, { 5, 4, 0 }, { 3, 4, 20 }, 0.2 } };
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++)
        for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
            if (scans[i].deep > 1 && strstr(by[k].options, "tolerance"))
                continue;                                            /* the same code, for long */
            kr_scoped(scan) s = kr_scan_new();
            kr_rays *r = s->rays = scans[i].make(scans[i].i);
            s->grid = kr_grid_centred((long[3]){ 37, 35, scans[i].deep }, (double[3]){ 1.1, -1.2, scans[i].deep > 1 ? -1.7 : 1 });
            s->shape = KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = r->views, [KR_SLICE] = 1);
            s->data = kr_array_new(KR_R32, s->shape);
            kr_ellipsoids_scan(KR_R(s->data), bodies, 3, r, 2);
            kr_photons(KR_R(s->data), kr_count(s->shape), 1e4, 0, 5);
            kr_scoped(job) j = kr_job_open(by[k].method, *by[k].options ? by[k].options : NULL, NULL);
            kr_image *im = NULL;
            double size = -1, pattern = -1;
            if (j && !kr_job_run(j, &im, s, NULL)) {
                tell(&size, &pattern, KR_R(im->data), kr_count(kr_array_shape(im->data)), 1);
                kr_image_unref(&im);
            } else if (getenv("FIGURES"))
                printf("# %s %s: %s\n", by[k].method, by[k].options, kr_error());
            kr_error_clear();
            kr_auto char *name = kr_strf("%s %s", scans[i].name, by[k].method);
            as_was(name, by[k].options, size, pattern, strcmp(by[k].method, "asd-pocs") ? 1e-4 : 2e-3);      /* whose steps turn on signs */
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(filtered), cmocka_unit_test(iterative) };
    return cmocka_run_group_tests_name("tomography", tests, NULL, NULL);
}
