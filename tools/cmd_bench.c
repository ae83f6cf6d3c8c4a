/* cmd_bench.c: kray bench: how fast Kray is on this machine, part by part, on data made on the spot. */
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "kray/solve.h"
#include "bench.h"
#include "rows.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef bench_opts opts;
static const kr_opt table[] = {
    { "repeat", 'n', KR_OPT_INT, offsetof(opts, repeat), "5", "N", "runs of each; the median is shown" },
    ROW_THREADS(opts),
    { "folder", 0, KR_OPT_OUT, offsetof(opts, folder), NULL, "DIR", "where files are written and read for 'io' (default: TMPDIR or /tmp)" },
    ROW_JSON(opts),
    KR_OPT_END };

typedef int body(void *self);

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int bench_row(struct bench *b, const char *part, const char *what, body *run, void *self, double work, const char *unit, double *rate)
{
    long n = b->o->repeat;
    kr_auto double *t = kr_alloc((size_t)n, sizeof *t);
    if (!t || run(self))                                             /* once to warm up */
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        if (kr_stopped(b->trace))
            return kr_error_code();
        double start = kr_seconds();
        if (run(self))
            return kr_error_code();
        t[i] = kr_seconds() - start;
    }
    qsort(t, (size_t)n, sizeof *t, by_value);
    double median = n & 1 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
    if (!b->o->json) {
        printf("%-8s %-46s %10.2f ms  (%.2f to %.2f)", part, what, 1e3 * median, 1e3 * t[0], 1e3 * t[n - 1]);
        if (work > 0)
            printf("  %7.2f %s/s", work / median, unit);
        if (work > 0 && b->peak > 0 && !strcmp(unit, "GFLOP"))
            printf("  %4.0f %% of peak", 100 * work / median / b->peak);
        puts("");
        fflush(stdout);
    }
    json_t *r = json_pack("{s:s,s:s,s:f,s:f,s:f}", "part", part, "what", what, "ms", 1e3 * median, "ms_min", 1e3 * t[0], "ms_max", 1e3 * t[n - 1]);
    if (work > 0) {
        json_object_set_new(r, "rate", json_real(work / median));
        json_object_set_new(r, "unit", json_pack("s+", unit, "/s"));
        if (b->peak > 0 && !strcmp(unit, "GFLOP"))
            json_object_set_new(r, "of_peak", json_real(work / median / b->peak));
    }
    if (rate)
        *rate = work / median;
    return json_array_append_new(b->rows, r) ? kr_fail(KR_EMEM, "no memory for the results") : 0;
}

static int row(struct bench *b, const char *part, const char *what, body *run, void *self, double work, const char *unit)
{
    return bench_row(b, part, what, run, self, work, unit, NULL);
}

kr_array *bench_noise(kr_shape shape, uint64_t seed)
{
    kr_array *a = kr_array_new(KR_C32, shape);
    for (long i = 0, n = a ? kr_count(shape) : 0; i < n; i++)       /* cheap numbers in (-1, 1): their values do not matter */
        KR_C(a)[i] = kr_c((float)((double)(kr_rand_bits(seed, 0, (uint64_t)i) >> 40) / 8388608 - 1), (float)(i % 17 - 8) / 8);
    return a;
}

/* ---- Memory and Fourier transforms ---- */
struct copy { char *to, *from; };
enum { PIECE = 1 << 20, PIECES = 256 };
static int copy_piece(void *self, long i)
{
    struct copy *c = self;
    memcpy(c->to + i * PIECE, c->from + i * PIECE, PIECE);
    return 0;
}
static int copy_all(void *self) { return kr_for(PIECES, copy_piece, self); }

struct transform { kr_fft *plan; kr_array *x; };
static int forward(void *self)
{
    struct transform *t = self;
    kr_fft_forward(t->plan, t->x->data);
    return 0;
}

static int bench_fft(struct bench *b)
{
    kr_auto char *to = kr_alloc(PIECES, PIECE), *from = kr_alloc(PIECES, PIECE);
    if (!to || !from)
        return kr_error_code();
    memset(from, 1, (size_t)PIECES * PIECE);
    if (row(b, "memory", "copy 256 MiB (read and write counted)", copy_all, &(struct copy){ to, from }, 2e-9 * PIECES * PIECE, "GB"))
        return kr_error_code();
    static const long size[][4] = { { 320, 320, 1, 64 }, { 256, 256, 1, 64 }, { 512, 512, 1, 16 }, { 640, 368, 1, 15 }, { 160, 160, 128, 4 } };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        kr_shape s = KR_SHAPE([KR_X] = size[i][0], [KR_Y] = size[i][1], [KR_Z] = size[i][2], [KR_COIL] = size[i][3]);
        kr_scoped(array) x = bench_noise(s, i);
        struct transform t = { x ? kr_fft_new(s, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), KR_CENTRED) : NULL, x };
        double n = (double)size[i][0] * (double)size[i][1] * (double)size[i][2];
        char what[64];
        snprintf(what, sizeof what, "centred, %ldx%ldx%ld, %ld coils", size[i][0], size[i][1], size[i][2], size[i][3]);
        int e = t.plan ? row(b, "fft", what, forward, &t, 5e-9 * n * log2(n) * (double)size[i][3], "GFLOP") : kr_error_code();
        kr_fft_unref(&t.plan);
        if (e)
            return e;
    }
    return 0;
}

/* ---- CG-SENSE ---- */
struct sense { kr_array *x, *y, *coils, *mask; int iterations; };
static int solve(void *self)
{
    struct sense *s = self;
    int k = kr_cg_sense(s->x, s->y, s->coils, s->mask, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), 0.01f, (kr_stop){ s->iterations, 0 }, NULL, NULL);
    return k < 0 ? k : 0;
}

static int bench_sense(struct bench *b)
{
    static const struct { const char *what, *mask; long n[3], coils; int iterations; } job[] = {
        { "320x320, 16 coils, lines R=4, 30 iterations", "uniform:accel=4,lines=24", { 320, 320, 1 }, 16, 30 },
        { "320x320, 16 coils, plane R=4, 30 iterations", "poisson:accel=4,calib=24,axes=xy", { 320, 320, 1 }, 16, 30 },
        { "160x160x128, 8 coils, R=4, 10 iterations", "poisson:accel=4,calib=24,axes=yz", { 160, 160, 128 }, 8, 10 } };
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        static const double fov[3] = { 240, 240, 200 };
        kr_shape image = KR_SHAPE([KR_X] = job[i].n[0], [KR_Y] = job[i].n[1], [KR_Z] = job[i].n[2]), data = image;
        data.n[KR_COIL] = job[i].coils;
        kr_scoped(array) y = bench_noise(data, i);
        kr_scoped(array) x = kr_array_new(KR_C32, image);
        kr_scoped(array) coils = kr_phantom_coils(job[i].n, fov, 0, job[i].coils);
        kr_scoped(array) mask = kr_mask_new(job[i].mask, image, NULL);
        if (!y || !x || !coils || !mask
            || row(b, "sense", job[i].what, solve, &(struct sense){ x, y, coils, mask, job[i].iterations }, 0, NULL))
            return kr_error_code();
    }
    return 0;
}

/* ---- GRAPPA ---- */
struct method { kr_scan *scan; const kr_recon *method; void *opts; };
static int reconstruct(void *self)
{
    struct method *m = self;
    kr_scoped(image) im = NULL;
    return m->method->run(&im, m->scan, NULL, m->opts, NULL);
}

static int bench_grappa(struct bench *b)
{
    kr_scoped(scan) s = kr_scan_new();
    struct method m = { s, kr_recon_named("grappa"), NULL };
    if (!s || !m.method)
        return kr_error_code();
    kr_auto void *values = m.opts = kr_alloc_zero(1, m.method->opts_size);
    s->shape = KR_SHAPE([KR_X] = 320, [KR_Y] = 320, [KR_COIL] = 16);
    s->data = bench_noise(s->shape, 1);
    kr_scoped(array) mask = kr_mask_new("uniform:accel=4,lines=24", s->shape, NULL);
    if (!values || kr_opt_defaults(m.method->opts, values) || !s->data || !mask || kr_scan_undersample(s, mask))
        return kr_error_code();
    return row(b, "grappa", "320x320, 16 coils, R=4, 24 calibration lines", reconstruct, &m, 0, NULL);
}

/* ---- Coil maps ---- */
struct maps { kr_scan *scan; kr_coils_opts opts; };
static int estimate(void *self)
{
    struct maps *m = self;
    kr_scoped(array) coils = kr_coils_estimate(m->scan, &m->opts, NULL);
    return coils ? 0 : kr_error_code();
}

static int bench_espirit(struct bench *b)
{
    kr_simulate how = { .n = { 320, 320, 1 }, .slices = 1, .coils = 16, .fov_mm = { 240, 240, 5 }, .contrast = "t1", .snr = 30 };
    kr_scoped(scan) s = NULL;
    const kr_phantom *p = kr_phantom_named("shepplogan");
    if (!p || p->measure(&s, &how, b->trace))
        return kr_error_code();
    struct maps m = { s, kr_coils_preset };
    return row(b, "espirit", "320x320, 16 coils, 24x24 calibration, 1 set", estimate, &m, 0, NULL);
}

/* ---- Files ---- */
struct file { kr_scan *scan; char *path; const char *format; };
static int write_file(void *self)
{
    struct file *f = self;
    return kr_scan_write(f->scan, f->path, f->format);
}
static int read_file(void *self)
{
    struct file *f = self;
    kr_scoped(scan) s = NULL;
    return kr_scan_read(&s, f->path, NULL, NULL, NULL);
}

static int bench_io(struct bench *b)
{
    static const struct { const char *format, *suffix; } kind[] = { { "cfl", ".cfl" }, { "npy", ".npy" }, { "fastmri", ".h5" }, { "ismrmrd", ".h5" } };
    const char *folder = b->o->folder ? b->o->folder : getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    kr_scoped(scan) s = kr_scan_new();
    if (!s)
        return kr_error_code();
    s->shape = KR_SHAPE([KR_X] = 640, [KR_Y] = 368, [KR_COIL] = 15, [KR_SLICE] = 4);
    s->data = bench_noise(s->shape, 1);
    double gb = s->data ? 8e-9 * (double)kr_count(s->shape) : 0;
    for (size_t i = 0; s->data && i < sizeof kind / sizeof *kind; i++) {
        kr_auto char *path = kr_strf("%s/kray-bench-%ld%s", folder, (long)getpid(), kind[i].suffix);
        kr_auto char *beside = kr_strf("%s/kray-bench-%ld.hdr", folder, (long)getpid());
        if (!path || !beside)
            return kr_error_code();
        struct file f = { s, path, kind[i].format };
        char what[64];
        snprintf(what, sizeof what, "write %s, %.0f MB", kind[i].format, 1e3 * gb);
        int e = row(b, "io", what, write_file, &f, gb, "GB");
        snprintf(what, sizeof what, "read %s, %.0f MB", kind[i].format, 1e3 * gb);
        e = e ? e : row(b, "io", what, read_file, &f, gb, "GB");
        unlink(path);
        unlink(beside);
        if (e)
            return e;
    }
    return s->data ? 0 : kr_error_code();
}

/* ---- The command ---- */
static const struct part { const char *name; int (*run)(struct bench *b); } part[] = {
    { "fft", bench_fft }, { "sense", bench_sense }, { "grappa", bench_grappa }, { "espirit", bench_espirit }, { "io", bench_io }, { "nn", bench_nn } };
enum { PARTS = sizeof part / sizeof *part };

static const struct part *part_named(const char *name)
{
    const char *known[PARTS];
    for (int i = 0; i < PARTS; i++) {
        if (!strcmp(part[i].name, name))
            return &part[i];
        known[i] = part[i].name;
    }
    const char *near = kr_nearest(name, known, PARTS);
    kr_fail(KR_EUSAGE, near ? "there is nothing to bench called '%s'; did you mean %s?" : "there is nothing to bench called '%s'; known are fft, sense, grappa, espirit, io and nn",
            name, near);
    return NULL;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (o->repeat < 1 || o->repeat > 1000)
        return kr_fail(KR_EUSAGE, "--repeat is 1 to 1000, not %ld", o->repeat);
    for (int i = 0; i < files; i++)
        if (!part_named(file[i]))
            return kr_error_code();
    if (kr_threads_want(o->threads))
        return kr_error_code();
    struct bench b = { o, json_array(), trace, 0 };
    static const char *const level[] = { "x86-64", "", "", "x86-64-v3", "x86-64-v4" };
    if (!o->json)
        printf("kray %s, %d thread%s, kernels for %s; median of %ld\n", kr_version(), kr_threads(), kr_threads() == 1 ? "" : "s", level[kr_cpu()], o->repeat);
    int e = b.rows ? 0 : kr_fail(KR_EMEM, "no memory for the results");
    for (int i = 0; i < PARTS && !e; i++) {
        bool wanted = !files;
        for (int j = 0; j < files; j++)
            wanted |= part_named(file[j]) == &part[i];
        e = wanted ? part[i].run(&b) : 0;
    }
    for (size_t i = 0; i < json_array_size(b.rows); i++)
        if (json_object_update_new(json_array_get(b.rows, i), json_pack("{s:s,s:i,s:s,s:I}", "kray", kr_version(), "threads", kr_threads(), "cpu", level[kr_cpu()],
                                                                        "repeat", (json_int_t)o->repeat)))
            e = kr_fail(KR_EMEM, "no memory for the results");
    if (!e && o->json) {
        char *text = json_dumps(b.rows, JSON_INDENT(2));
        if (text)
            puts(text);
        else
            e = kr_fail(KR_EMEM, "no memory for the results");
        free(text);
    }
    json_decref(b.rows);
    return e;
}

const kr_tool kr_tool_bench = { "bench", "Other", "how fast Kray is on this machine", "[fft] [sense] [grappa] [espirit] [io] [nn] [options]",
    "  kray bench                             # everything, about a minute\n"
    "  kray bench nn                          # layers and unrolled networks, and their share of the peak\n"
    "  kray bench sense --threads 1           # CG-SENSE alone, on one thread\n"
    "  kray bench io --folder /data --json    # how fast files are written and read there\n",
    table, sizeof(opts), NULL, run };
