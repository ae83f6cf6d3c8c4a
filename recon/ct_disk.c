/* ct_disk.c: iterations on volumes that memory does not hold: volumes and samples lie in a file on disk, and projectors go through the volume slab by slab. The
 * line integrals of a volume are the sum of those of its slabs, and each slab has a transpose of its own. */
#include "ct_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 18,                   /* numbers that go through memory at a time where all that is done is arithmetic                       */
       SOME = 1 << 20,                    /* numbers of line integrals of a slab at a time, or those of a view                                    */
       LEAST = 3 };                       /* planes of a slab: a single one would be a slice                                                       */
static const double WRITES = 5 << 20;     /* packing of what is written, as in ct_slabs.c                                                           */

struct kr_ct_disk {
    const kr_scan *s;
    kr_array *y;
    kr_grid grid;
    char *folder;
    int fd;
    int64_t bytes;
    long plane, deep, each, view, most;   /* numbers of a plane; planes, of a slab; numbers of a view, of `part`                                      */
    float *slab, *back, *part, *line;     /* of x; of its correction; line integrals of some views; PIECE numbers or rows of a view                    */
    const kr_trace *trace;
    double misfit;
};

/* ---- Numbers on disk ---- */
void kr_ct_disk_unref(kr_ct_disk **dd)
{
    kr_ct_disk *d = *dd;
    *dd = NULL;
    if (!d)
        return;
    if (d->fd >= 0)
        close(d->fd);
    kr_array_unref(&d->y);
    kr_free(d->folder);
    kr_free(d->slab);
    kr_free(d->back);
    kr_free(d->part);
    kr_free(d->line);
    kr_free(d);
}

/* A file without a name: it is gone with the process, however that ends. */
static int nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    kr_auto char *name = kr_strf("%s/.kray-volumes-XXXXXX", folder);
    fd = name ? mkstemp(name) : -1;
    if (fd >= 0)
        unlink(name);
    return fd;
}

/* Room for `count` numbers more; where they begin, or a refusal. */
static int64_t room(kr_ct_disk *d, int64_t count)
{
    int64_t at = d->bytes;
    char wanted[32];
    int e = posix_fallocate(d->fd, at, count * 4);
    if (e)
        return kr_fail(KR_EFILE, "%s: volumes that memory does not hold want %s on disk, and there is no such room (%s): choose another folder for the output, larger voxels (--voxel) or a larger --memory",
                       d->folder, kr_size_text(wanted, (double)(at + count * 4)), strerror(e));
    d->bytes += count * 4;
    return at;
}

static int moved(const kr_ct_disk *d, void *p, int64_t at, long count, bool to)
{
    for (size_t done = 0, all = (size_t)count * 4; done < all; ) {
        ssize_t n = to ? pwrite(d->fd, (char *)p + done, all - done, at + (int64_t)done) : pread(d->fd, (char *)p + done, all - done, at + (int64_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kr_fail(KR_EFILE, "%s: a volume on disk cannot be %s: %s", d->folder, to ? "written" : "read", n ? strerror(errno) : "it is shorter than it was");
        done += (size_t)n;
    }
    return 0;
}
static int take(const kr_ct_disk *d, float *to, int64_t at, long from, long count) { return moved(d, to, at + from * 4, count, false); }
static int give(const kr_ct_disk *d, const float *p, int64_t at, long from, long count) { return moved(d, (void *)(uintptr_t)p, at + from * 4, count, true); }

static int filled(kr_ct_disk *d, int64_t at, long count, float value)
{
    for (long i = 0; i < PIECE; i++)
        d->line[i] = value;
    for (long from = 0; from < count; from += PIECE)
        if (give(d, d->line, at, from, count - from < PIECE ? count - from : PIECE))
            return kr_error_code();
    return 0;
}

/* 1 / a, 0 where next to nothing is. */
static int inverted(kr_ct_disk *d, int64_t at, long count, float scale)
{
    float most = 0;
    for (int pass = 0; pass < 2; pass++)
        for (long from = 0, n; from < count; from += n) {
            n = count - from < PIECE ? count - from : PIECE;
            if (take(d, d->line, at, from, n))
                return kr_error_code();
            for (long i = 0; i < n; i++)
                if (!pass)
                    most = fmaxf(most, fabsf(scale * d->line[i]));
                else
                    d->line[i] = scale * d->line[i] > 1e-6f * most ? 1 / (scale * d->line[i]) : 0;
            if (pass && give(d, d->line, at, from, n))
                return kr_error_code();
        }
    return most > 0 ? 0 : kr_fail(KR_EREFUSED, "no ray meets the image");
}

static double squares(const float *p, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += (double)p[i] * (double)p[i];
    return sum;
}

/* ---- Slabs ---- */
/* Planes from, ..., of which at least two are in every slab. */
static long slab_at(const kr_ct_disk *d, long from)
{
    long n = d->deep - from < d->each ? d->deep - from : d->each;
    return d->deep - from - n == 1 ? n - 1 : n;
}

static kr_grid planes(const kr_grid *g, long from, long count)
{
    kr_grid some = *g;
    some.first[2] += (double)from * g->step[2];
    some.n[2] = count;
    return some;
}

/* The projector of a slab and the rows of the detector that see it, with the voxels beside it into which rays are interpolated. */
static kr_projector *projector(const kr_scan *s, const kr_grid *whole, long from, long count, long *row, long *rows)
{
    kr_grid g = planes(whole, from, count), wider = planes(whole, from - 2, count + 4);
    *row = 0;
    *rows = s->rays->rows;
    kr_rays_rows(s->rays, &wider, row, rows);
    kr_rays *r = kr_rays_of_rows(s->rays, *row, *rows);
    kr_projector *p = r ? kr_projector_new(r, &g, s->ray_model, false) : NULL;
    kr_rays_unref(&r);
    return p;
}

/* Every n-th view from view i. */
static long views_of(const kr_ct_disk *d, long i, long n) { return (d->s->rays->views - i + n - 1) / n; }

/* Some of them at a time: parts of which part c has views c, c + parts, ... of these. */
static long parts_of(const kr_ct_disk *d, long views, long rows)
{
    long each = d->most / (rows * d->s->rays->columns);
    return each >= views ? 1 : (views + each - 1) / (each > 0 ? each : 1);
}

/* Line integrals of the volume at x, of subset i of n, to r, {U,V,VIEW} of these views alone. */
static int project(kr_ct_disk *d, int64_t r, int64_t x, long i, long n)
{
    long views = views_of(d, i, n), columns = d->s->rays->columns, row, rows;
    int e = filled(d, r, views * d->view, 0);
    for (long from = 0, count; from < d->deep && !e; from += count) {
        count = slab_at(d, from);
        kr_projector *p = projector(d->s, &d->grid, from, count, &row, &rows);
        e = !p || take(d, d->slab, x, from * d->plane, count * d->plane) || kr_stopped(d->trace) ? kr_error_code() : 0;
        long parts = parts_of(d, views, rows);
        for (long c = 0; c < parts && !e; c++) {
            kr_project(p, d->part, d->slab, i + c * n, parts * n);
            for (long v = c, k = 0; v < views && !e; v += parts, k++) {
                e = take(d, d->line, r, v * d->view + row * columns, rows * columns);
                for (long j = 0; j < rows * columns && !e; j++)
                    d->line[j] += d->part[k * rows * columns + j];
                e = e ? e : give(d, d->line, r, v * d->view + row * columns, rows * columns);
            }
        }
        kr_projector_unref(&p);
    }
    return e;
}

/* Slab by slab the transpose of r, of subset i of n, in d->back, goes to `use`; r ONES: of ones; DATA: of what was measured. */
typedef int use_slab(void *self, kr_ct_disk *d, long from, long count);
enum { ONES = -1, DATA = -2 };
static int back(kr_ct_disk *d, int64_t r, long i, long n, use_slab *use, void *self)
{
    long views = views_of(d, i, n), columns = d->s->rays->columns, row, rows;
    int e = 0;
    for (long from = 0, count; from < d->deep && !e; from += count) {
        count = slab_at(d, from);
        kr_projector *p = projector(d->s, &d->grid, from, count, &row, &rows);
        e = p && !kr_stopped(d->trace) ? 0 : kr_error_code();
        long parts = parts_of(d, views, rows), size = rows * columns;
        for (long c = 0; c < parts && !e; c++) {
            for (long v = c, k = 0; v < views && !e; v += parts, k++) {
                float *to = d->part + k * size;
                if (r == DATA)
                    memcpy(to, KR_R(d->y) + (i + v * n) * d->view + row * columns, (size_t)size * sizeof *to);
                for (long j = 0; j < size && r == ONES; j++)
                    to[j] = 1;
                e = r < 0 ? 0 : take(d, to, r, v * d->view + row * columns, size);
            }
            if (!e)
                kr_backproject(p, d->back, d->part, i + c * n, parts * n, c > 0);
        }
        e = e ? e : use(self, d, from, count);
        kr_projector_unref(&p);
    }
    return e;
}

/* ---- Opening ---- */
static double bytes_of(const kr_scan *s, const kr_grid *g, long each)
{
    long row, rows, columns = s->rays->columns, most = 0, plane = g->n[0] * g->n[1];
    size_t projects = 0;
    for (long from = 0; from < g->n[2]; from += each) {              /* of the slabs that take most, at the ends and in the middle */
        if (from && from + 2 * each < g->n[2] && labs(from - g->n[2] / 2) > each)
            continue;
        kr_projector *p = projector(s, g, from, from + each > g->n[2] ? g->n[2] - from : each, &row, &rows);
        size_t own = p ? kr_projector_bytes(p) : 0;
        if (!p)
            return -1;
        kr_projector_unref(&p);
        projects = own > projects ? own : projects;
        most = rows > most ? rows : most;
    }
    long part = most * columns > SOME ? most * columns : SOME, line = columns * s->rays->rows > PIECE ? columns * s->rays->rows : PIECE;
    return job_program() + WRITES + 4 * (double)kr_count(s->shape) + 4 * (2 * (double)each * (double)plane + (double)part + (double)line) + (double)projects;
}

long job_disk_planes(kr_job *j, const kr_scan *s, double memory)
{
    if (!j->method->by_slabs || s->grid.n[2] <= LEAST || s->rays->rows < 2)
        return 0;
    for (long k = s->grid.n[2] - 1; k >= LEAST; k = k > 8 ? k - k / 8 : k - 1) {
        double bytes = bytes_of(s, &s->grid, k);
        if (bytes < 0)
            return kr_error_code();
        if (bytes <= memory)
            return k;
    }
    return 0;
}

long kr_ct_disk_views(const kr_ct_disk *d) { return d->s->rays->views; }
bool kr_ct_by_disk(const kr_job *j, const kr_scan *s) { return s->grid.n[2] > 1 && j->method && j->method->by_slabs; }

int kr_ct_disk_solve(kr_ct_disk **out, kr_job *j, const kr_scan *s, long each, const char *output, const kr_trace *trace)
{
    kr_ct_disk *d = *out = kr_alloc_zero(1, sizeof *d);
    if (!d)
        return kr_error_code();
    long columns = s->rays->columns, view = columns * s->rays->rows;
    *d = (kr_ct_disk){ .s = s, .grid = s->grid, .fd = -1, .plane = s->grid.n[0] * s->grid.n[1], .deep = s->grid.n[2], .each = each, .view = view, .most = view > SOME ? view : SOME, .trace = trace };
    const char *slash = strrchr(output, '/');
    d->folder = slash ? kr_strf("%.*s", (int)(slash > output ? slash - output : 1), output) : kr_strdup(".");
    d->y = kr_array_packed(s->data);
    d->slab = kr_alloc((size_t)(each * d->plane), sizeof(float));
    d->back = kr_alloc((size_t)(each * d->plane), sizeof(float));
    d->part = kr_alloc((size_t)d->most, sizeof(float));
    d->line = kr_alloc((size_t)(view > PIECE ? view : PIECE), sizeof(float));
    void *values = job_values_of(j, j->method);
    int e = !d->folder || !d->y || !d->slab || !d->back || !d->part || !d->line || !values ? kr_error_code() : 0;
    if (!e && (d->fd = nameless(d->folder)) < 0)
        e = kr_fail(KR_EFILE, "%s: no file can be made there for volumes that memory does not hold: %s", d->folder, strerror(errno));
    e = e || room(d, d->plane * d->deep) < 0 ? kr_error_code() : 0;      /* x, at 0 */
    e = e ? e : j->method->by_slabs(d, values, trace);
    if (e)
        kr_ct_disk_unref(out);
    return e;
}

int kr_ct_disk_image(kr_image **out, kr_ct_disk *d, kr_job *j, long from, long count)
{
    *out = NULL;
    kr_scoped(scan) p = kr_scan_slices(d->s, 0, 1);
    if (!p)
        return kr_error_code();
    p->grid = planes(&d->grid, from, count);
    kr_scoped(array) x = kr_array_new(KR_R32, kr_scan_image_shape(p));
    if (!x || take(d, KR_R(x), 0, from * d->plane, count * d->plane) || !(*out = kr_image_new(x, p->geom, p->meta)))
        return kr_error_code();
    int e = kr_ct_finish(*out, p) || job_describe(*out, p, j) ? kr_error_code() : kr_meta_set((*out)->meta, "kray_misfit", "%.6g", d->misfit);
    if (e)
        kr_image_unref(out);
    return e;
}

/* The misfit |A x - y| / |y|, with r as room for A x; refuses an x that is no longer finite. */
static int ended(kr_ct_disk *d, int64_t r, int iterations)
{
    double rr = 0, yy = 0;
    int e = project(d, r, 0, 0, 1);
    for (long v = 0; v < d->s->rays->views && !e; v++) {
        const float *y = KR_R(d->y) + v * d->view;
        e = take(d, d->line, r, v * d->view, d->view);
        for (long i = 0; i < d->view && !e; i++)
            d->line[i] -= y[i];
        rr += e ? 0 : squares(d->line, d->view);
        yy += squares(y, d->view);
    }
    d->misfit = yy > 0 ? sqrt(rr / yy) : 0;
    return e ? e : isfinite(rr) ? 0 : kr_fail(KR_ENUMBER, "the numbers are no longer finite after %d iterations", iterations);
}

/* ---- Simultaneous iterations: as kr_sirt ---- */
enum { OWN = 32 };                        /* as there */
struct sirt { int64_t columns, rows, r; float relax; bool positive; };

static int weights(void *self, kr_ct_disk *d, long from, long count) { return give(d, d->back, ((const struct sirt *)self)->columns, from * d->plane, count * d->plane); }

static int corrected(void *self, kr_ct_disk *d, long from, long count)
{
    const struct sirt *s = self;
    long n = count * d->plane, at = from * d->plane;
    if (take(d, d->slab, 0, at, n))
        return kr_error_code();
    for (long i = 0, some; i < n; i += some) {
        some = n - i < PIECE ? n - i : PIECE;
        if (take(d, d->line, s->columns, at + i, some))
            return kr_error_code();
        for (long k = 0; k < some; k++) {
            float v = d->slab[i + k] + s->relax * d->line[k] * d->back[i + k];
            d->slab[i + k] = s->positive && v < 0 ? 0 : v;
        }
    }
    return give(d, d->slab, 0, at, n);
}

int kr_ct_disk_sirt(kr_ct_disk *d, long subsets, long iterations, double relax, bool positive, const kr_trace *trace)
{
    long n = d->plane * d->deep, m = d->view * d->s->rays->views, own = subsets > OWN ? 1 : subsets;
    struct sirt s = { .relax = (float)relax, .positive = positive };
    int64_t columns = room(d, n * own);
    s.rows = columns < 0 ? -1 : room(d, m);
    s.r = s.rows < 0 ? -1 : room(d, m);
    int e = s.r < 0 || filled(d, 0, n, 1) || project(d, s.rows, 0, 0, 1) ? kr_error_code() : 0;
    for (long i = 0; i < own && !e; i++) {
        s.columns = columns + i * n * 4;
        e = back(d, ONES, i, own, weights, &s);
        e = e ? e : inverted(d, s.columns, n, own < subsets ? 1 / (float)subsets : 1);
    }
    e = e || inverted(d, s.rows, m, 1) || filled(d, 0, n, 0) ? kr_error_code() : 0;
    for (long k = 0; k < iterations && !e; k++) {
        for (int turn = 0, i; (i = kr_subset_turn(turn, (int)subsets)) >= 0 && !e; turn++) {
            long views = views_of(d, i, subsets);
            s.columns = columns + (own < subsets ? 0 : i * n * 4);
            e = project(d, s.r, 0, i, subsets);
            for (long v = 0; v < views && !e; v++) {                 /* R (y - A x) */
                const float *y = KR_R(d->y) + (i + v * subsets) * d->view;
                e = take(d, d->line, s.r, v * d->view, d->view);
                for (long from = 0, some; from < d->view && !e; from += some) {
                    some = d->view - from < d->most ? d->view - from : d->most;
                    e = take(d, d->part, s.rows, (i + v * subsets) * d->view + from, some);
                    for (long q = 0; q < some && !e; q++)
                        d->line[from + q] = d->part[q] * (y[from + q] - d->line[from + q]);
                }
                e = e ? e : give(d, d->line, s.r, v * d->view, d->view);
            }
            e = e ? e : back(d, s.r, i, subsets, corrected, &s);
        }
        kr_progress(trace, "sirt", (double)k + 1, (double)iterations);
    }
    return e ? e : ended(d, s.r, (int)iterations);
}

/* ---- Conjugate gradients of the normal equations: as kr_cg. Letters as there ---- */
struct cg { int64_t r, p, q; double alpha, rr; };

static int begun(void *self, kr_ct_disk *d, long from, long count)
{
    struct cg *c = self;
    c->rr += squares(d->back, count * d->plane);
    return give(d, d->back, c->r, from * d->plane, count * d->plane) || give(d, d->back, c->p, from * d->plane, count * d->plane) ? kr_error_code() : 0;
}

static int stepped(void *self, kr_ct_disk *d, long from, long count)
{
    struct cg *c = self;
    float alpha = (float)c->alpha;
    long n = count * d->plane, at = from * d->plane;
    if (take(d, d->slab, c->r, at, n))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        d->slab[i] -= alpha * d->back[i];
    c->rr += squares(d->slab, n);
    if (give(d, d->slab, c->r, at, n) || take(d, d->slab, 0, at, n) || take(d, d->back, c->p, at, n))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        d->slab[i] += alpha * d->back[i];
    return give(d, d->slab, 0, at, n);
}

static int turned(struct cg *c, kr_ct_disk *d, float beta)           /* p = r + beta p */
{
    for (long from = 0, n; from < d->deep; from += n) {
        n = slab_at(d, from);
        if (take(d, d->slab, c->r, from * d->plane, n * d->plane) || take(d, d->back, c->p, from * d->plane, n * d->plane))
            return kr_error_code();
        for (long i = 0; i < n * d->plane; i++)
            d->back[i] = d->slab[i] + beta * d->back[i];
        if (give(d, d->back, c->p, from * d->plane, n * d->plane))
            return kr_error_code();
    }
    return 0;
}

int kr_ct_disk_cgls(kr_ct_disk *d, long iterations, const kr_trace *trace)
{
    long n = d->plane * d->deep, views = d->s->rays->views;
    struct cg c = { .r = room(d, n) };
    c.p = c.r < 0 ? -1 : room(d, n);
    c.q = c.p < 0 ? -1 : room(d, d->view * views);
    int e = c.q < 0 || filled(d, 0, n, 0) || back(d, DATA, 0, 1, begun, &c) ? kr_error_code() : 0;
    double rr = c.rr;
    if (!e && !isfinite(rr))
        e = kr_fail(KR_ENUMBER, "conjugate gradients: the data hold numbers that are not finite");
    for (long k = 0; k < iterations && rr > 0 && !e; k++) {
        double qq = 0;
        e = project(d, c.q, c.p, 0, 1);
        for (long v = 0; v < views && !e; v++) {
            e = take(d, d->line, c.q, v * d->view, d->view);
            qq += e ? 0 : squares(d->line, d->view);
        }
        if (!e && !isfinite(qq))
            e = kr_fail(KR_ENUMBER, "conjugate gradients: numbers are no longer finite after %ld iterations", k);
        if (e || qq <= 0)
            break;
        c.alpha = rr / qq;
        c.rr = 0;
        e = back(d, c.q, 0, 1, stepped, &c);
        e = e ? e : turned(&c, d, (float)(c.rr / rr));
        rr = c.rr;
        kr_progress(trace, "cgls", (double)k + 1, (double)iterations);
    }
    return e ? e : ended(d, c.q, (int)iterations);
}
