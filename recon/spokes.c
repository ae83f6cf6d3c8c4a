/* spokes.c: radial k-space as X-ray projections: by the projection-slice theorem the Fourier transform along a spoke is the image's projection across it, and any method of
 * CT makes the image of these, of real and imaginary parts each by itself. */
#include "model.h"
#include "spokes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts { const char *by; } opts;
static const kr_opt table[] = {
    { "by", 0, KR_OPT_TEXT, offsetof(opts, by), "fbp", "NAME", "the method of CT, with its usual options: fbp, gridding, cgls, sirt, tv, ..." },
    KR_OPT_END };

enum { FINER = 4 };                       /* columns for each that samples tell apart: methods of CT go straight from one to the next */

/* A spoke: k = (s - zero) step along a direction, in cycles per field of view. */
struct spoke { double zero, step, way[2]; };

static int spoke_of(struct spoke *p, const kr_array *k, long view)
{
    long n = k->n[KR_SAMPLE], each = n * k->n[KR_VIEW];
    const float *x = KR_R(k) + view * n, *y = x + each;
    double d[2] = { ((double)x[n - 1] - (double)x[0]) / (double)(n - 1), ((double)y[n - 1] - (double)y[0]) / (double)(n - 1) }, step = hypot(d[0], d[1]), off = 0;
    *p = (struct spoke){ .step = step, .way = { d[0] / step, d[1] / step } };
    if (!(step > 1e-6))
        return kr_fail(KR_EREFUSED, "view %ld ends where it begins: it is no spoke", view);
    p->zero = -((double)x[0] * d[0] + (double)y[0] * d[1]) / (step * step);
    for (long i = 0; i < n; i++)
        off = fmax(off, hypot((double)x[i] - ((double)i - p->zero) * d[0], (double)y[i] - ((double)i - p->zero) * d[1]));
    return off > 0.02 * step * (double)n || off > 0.5 ? kr_fail(KR_EREFUSED, "view %ld is no straight spoke of equal steps through the centre of k-space (%.2g cycles per field of view off it): the projection-slice "
                                            "theorem is for radial scans", view, off) : 0;
}

/* p_j = step sum over s of y_s exp(2 pi i (s - zero) step t_j), t_j = (j - (m - 1) / 2) pitch fields of view: m columns. */
static void line_of(double (*to)[2], long m, double pitch, const kr_cfloat *y, long n, const struct spoke *p)
{
    double mid = (double)(m - 1) / 2;
    for (long j = 0; j < m; j++) {
        double at = ((double)j - mid) * pitch * p->step, a = -2 * M_PI * p->zero * at, sum[2] = { 0, 0 }, w[2] = { cos(a), sin(a) }, s[2] = { cos(2 * M_PI * at), sin(2 * M_PI * at) };
        for (long k = 0; k < n; k++) {
            double r = (double)kr_re(y[k]), q = (double)kr_im(y[k]), next = w[0] * s[0] - w[1] * s[1];
            sum[0] += r * w[0] - q * w[1];
            sum[1] += r * w[1] + q * w[0];
            w[1] = w[0] * s[1] + w[1] * s[0];
            w[0] = next;
        }
        to[j][0] = p->step * sum[0];
        to[j][1] = p->step * sum[1];
    }
}

struct columns { const kr_scan *part; const struct spoke *spoke; float *to; long coils; };

static int project_view(void *self, long i)
{
    const struct columns *c = self;
    long n = c->part->data->n[KR_SAMPLE], m = FINER * n, views = c->part->data->n[KR_VIEW], view = i % views, coil = i / views;
    float *re = c->to + (2 * coil * views + view) * m, *im = re + views * m;
    kr_auto double (*line)[2] = kr_alloc((size_t)m, sizeof *line);
    if (!line)
        return kr_error_code();
    line_of(line, m, 1 / ((double)m * c->spoke[view].step), KR_C(c->part->data) + (coil * views + view) * n, n, &c->spoke[view]);
    for (long j = 0; j < m; j++) {
        re[j] = (float)line[j][0];
        im[j] = (float)line[j][1];
    }
    return 0;
}

static int spokes_of(struct spoke *spoke, const kr_scan *part)
{
    const kr_array *k = part->traj;
    long views = part->data->n[KR_VIEW], samples = part->data->n[KR_SAMPLE];
    if (k->n[KR_CHAN] != 2 || samples < 4 || k->n[KR_VIEW] != views || k->n[KR_SAMPLE] != samples)
        return kr_fail(KR_EREFUSED, "the projection-slice theorem is for radial scans in a plane, of spokes with 4 samples or more");
    kr_scoped(array) packed = kr_array_packed(k);
    int e = packed ? 0 : kr_error_code();
    for (long v = 0; v < views && !e; v++)
        e = spoke_of(&spoke[v], packed, v);
    return e;
}

/* One part as a scan of CT: {U,VIEW,SLICE}, real and imaginary part of each coil's projections. Lengths are fields of view. */
static int scan_of(kr_scan *ct, const kr_scan *part, const long n[2])
{
    long views = part->data->n[KR_VIEW], samples = part->data->n[KR_SAMPLE], coils = part->data->n[KR_COIL];
    kr_auto struct spoke *spoke = kr_alloc((size_t)views, sizeof *spoke);
    if (!spoke || spokes_of(spoke, part))
        return kr_error_code();
    ct->shape = KR_SHAPE([KR_U] = FINER * samples, [KR_VIEW] = views, [KR_SLICE] = 2 * coils);
    if (!(ct->data = kr_array_new(KR_R32, ct->shape)) || !(ct->rays = kr_rays_new(KR_PARALLEL, views, FINER * samples, 1)) || !(ct->geom = kr_geom_new(1)) || !(ct->meta = kr_meta_new()))
        return kr_error_code();
    for (long v = 0; v < views; v++) {
        double pitch = 1 / ((double)(FINER * samples) * spoke[v].step), *u = ct->rays->u[v];
        ct->rays->source[v][0] = spoke[v].way[1];
        ct->rays->source[v][1] = -spoke[v].way[0];
        for (int d = 0; d < 2; d++)
            u[d] = pitch * spoke[v].way[d];
        ct->rays->v[v][2] = pitch;
    }
    struct columns c = { .part = part, .spoke = spoke, .to = KR_R(ct->data), .coils = coils };
    for (int d = 0; d < 3; d++) {                                    /* pixel n / 2 is the origin */
        ct->grid.n[d] = d < 2 ? n[d] : 1;
        ct->grid.step[d] = d < 2 ? 1 / (double)n[d] : 1;
        ct->grid.first[d] = d < 2 ? -(double)(n[d] / 2) / (double)n[d] : 0;
    }
    ct->ray_model = KR_RAY_JOSEPH;
    return kr_for(views * coils, project_view, &c);
}

void spokes_drop(kr_scan *ct)
{
    kr_array_unref(&ct->data);
    kr_rays_unref(&ct->rays);
    kr_geom_unref(&ct->geom);
    kr_meta_unref(&ct->meta);
}

/* ---- For networks ---- */
long spokes_columns(const long n[2]) { return (long)ceil(hypot((double)n[0], (double)n[1])); }

struct turn { double at; long view; bool back; };      /* back: the spoke runs the other way */
static int by_angle(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at ? 1 : (x->view > y->view) - (x->view < y->view);
}

struct magnitudes { const kr_scan *part; const struct spoke *spoke; const struct turn *turn; float *to; long columns, n; };

static int magnitudes_of(void *self, long i)
{
    const struct magnitudes *c = self;
    long n = c->part->data->n[KR_SAMPLE], m = c->columns, views = c->part->data->n[KR_VIEW], coil = i / views;
    const struct turn *t = &c->turn[i % views];
    double pitch = 1 / (double)c->n, seen = 0.5 / c->spoke[t->view].step;      /* beyond this it repeats */
    kr_auto double (*line)[2] = kr_alloc((size_t)m, sizeof *line);
    if (!line)
        return kr_error_code();
    line_of(line, m, pitch, KR_C(c->part->data) + (coil * views + t->view) * n, n, &c->spoke[t->view]);
    for (long j = 0; j < m; j++)
        c->to[i * m + (t->back ? m - 1 - j : j)] = fabs((double)j - (double)(m - 1) / 2) * pitch > seen ? 0 : (float)((double)c->n * hypot(line[j][0], line[j][1]));
    return 0;
}

int spokes_magnitudes(kr_scan *ct, const kr_scan *part, const long n[2])
{
    long views = part->data->n[KR_VIEW], coils = part->data->n[KR_COIL], m = spokes_columns(n);
    kr_auto struct spoke *spoke = kr_alloc((size_t)views, sizeof *spoke);
    kr_auto struct turn *turn = kr_alloc((size_t)views, sizeof *turn);
    *ct = (kr_scan){ .shape = KR_SHAPE([KR_U] = m, [KR_VIEW] = views, [KR_SLICE] = coils) };
    if (n[0] != n[1])
        return kr_fail(KR_EREFUSED, "the network takes square images, not %ld x %ld pixels", n[0], n[1]);
    if (!spoke || !turn || spokes_of(spoke, part) || !(ct->data = kr_array_new(KR_R32, ct->shape)) || !(ct->rays = kr_rays_new(KR_PARALLEL, views, m, 1)) || !(ct->geom = kr_geom_new(1))
        || !(ct->meta = kr_meta_new()))
        return kr_error_code();
    for (long v = 0; v < views; v++) {
        double at = atan2(spoke[v].way[1], spoke[v].way[0]);
        bool back = at < -1e-9 || at > M_PI - 1e-9;                  /* to rounding 0 is 0 */
        turn[v] = (struct turn){ back ? at < 0 ? at + M_PI : at - M_PI : at, v, back };
    }
    qsort(turn, (size_t)views, sizeof *turn, by_angle);
    for (long v = 0; v < views; v++) {                               /* y upwards, and row 0 the top */
        double c = cos(turn[v].at), s = sin(turn[v].at);
        memcpy(ct->rays->u[v], (double[3]){ c, -s, 0 }, sizeof ct->rays->u[v]);
        memcpy(ct->rays->source[v], (double[3]){ -s, -c, 0 }, sizeof ct->rays->source[v]);
        ct->rays->v[v][2] = 1;
    }
    for (int d = 0; d < 3; d++) {
        double step = d == 1 ? -1 : 1;
        ct->grid.n[d] = d < 2 ? n[d] : 1;
        ct->grid.step[d] = step;
        ct->grid.first[d] = d < 2 ? -step * (double)(n[d] / 2) : 0;
    }
    ct->ray_model = KR_RAY_JOSEPH;
    struct magnitudes c = { .part = part, .spoke = spoke, .turn = turn, .to = KR_R(ct->data), .columns = m, .n = n[0] };
    return kr_for(views * coils, magnitudes_of, &c);
}

/* Root of the sum of squares of real and imaginary parts of all coils, on the scale of a unitary transform. */
static int combine(kr_array *to, const kr_array *images)
{
    kr_scoped(array) rss = kr_rss(images, KR_SLICE);
    if (!rss)
        return kr_error_code();
    kr_scale(rss, (float)(1 / sqrt((double)(images->n[KR_X] * images->n[KR_Y]))));
    kr_array_assign(to, rss);
    return 0;
}

static int one(kr_array *to, const kr_scan *scan, long i, const kr_recon *by, const void *values, const kr_trace *trace)
{
    kr_scan part = { 0 }, ct = { 0 };
    kr_image *im = NULL;
    int e = kr_part_open(&part, scan, kr_problem_axes, i);
    e = e ? e : scan_of(&ct, &part, (const long[2]){ to->n[KR_X], to->n[KR_Y] });
    e = e ? e : by->run(&im, &ct, NULL, values, trace);
    e = e ? e : combine(to, im->data);
    kr_image_unref(&im);
    spokes_drop(&ct);
    kr_part_close(&part);
    return e;
}

static const kr_recon *method(const char *name)
{
    const kr_recon *by = kr_recon_named(name);
    if (!by || by->needs & KR_TAKES_RAYS)
        return by;
    kr_fail(KR_EUSAGE, "--by %s: a method of X-ray projections is wanted, such as fbp, gridding, cgls, sirt or tv", name);
    return NULL;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    const opts *o = options;
    const kr_recon *by = method(o->by);
    if (!by)
        return kr_error_code();
    if (!scan->traj)
        return kr_fail(KR_EREFUSED, "spokes are of radial scans; these samples lie on a grid");
    kr_auto void *values = kr_alloc_zero(1, by->opts_size ? by->opts_size : 1);
    kr_scoped(array) image = values && !kr_opt_defaults(by->opts, values) ? kr_array_new(KR_R32, kr_scan_image_shape(scan)) : NULL;
    int e = image ? by->open ? by->open(values) : 0 : kr_error_code();
    long parts = kr_parts(scan);
    for (long i = 0; i < parts && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, parts);
        kr_scoped(array) to = kr_part(image, scan, i);
        e = !to || kr_stopped(t) ? kr_error_code() : one(to, scan, i, by, values, t);
    }
    if (by->close && values)
        by->close(values);
    *out = e ? NULL : kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    double n = (double)kr_count(scan->shape), parts = (double)kr_parts(scan), image = (double)scan->enc.encoded[0] * (double)scan->enc.encoded[1];
    cost->bytes = 8 * n / parts * (2 + 2 * FINER) + 4 * image * (parts + 4 * (double)scan->shape.n[KR_COIL]);
    cost->seconds = FINER * n * (double)scan->shape.n[KR_SAMPLE] * 4e-9;
    return 0;
}

const kr_recon kr_recon_spokes = { "spokes", "radial k-space as projections (projection-slice theorem), by a method of CT",
    "Bracewell, Aust J Phys 9:198 (1956); Lauterbur, Nature 242:190 (1973)", KR_TAKES_TRAJECTORY, table, sizeof(opts), run, plan };
