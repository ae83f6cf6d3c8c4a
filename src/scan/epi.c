/* epi.c: echo-planar readouts made ready: samples taken on ramps come to the regular grid, and what lies between lines measured
 * forwards and backwards is taken away. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "epi.h"
#include <math.h>
#include <string.h>

#define FLAG(n) (1ull << ((n) - 1))
enum { CALIB_TOO = 21, REVERSE = 22 };

/* ---- Where samples are that were taken on ramps ---- */
/* Area under a gradient of height 1, from its start to t. */
static double area(const kr_ramp *r, double t)
{
    double up = fmin(fmax(t, 0), r->up_us), flat = fmin(fmax(t - r->up_us, 0), r->flat_us), down = fmin(fmax(t - r->up_us - r->flat_us, 0), r->down_us);
    double a = r->up_us > 0 ? up * up / (2 * r->up_us) : 0, c = r->down_us > 0 ? down - down * down / (2 * r->down_us) : 0;
    if (r->sine) {
        a = 2 * r->up_us / M_PI * (1 - cos(M_PI / 2 * (r->up_us > 0 ? up / r->up_us : 0)));
        c = 2 * r->down_us / M_PI * sin(M_PI / 2 * (r->down_us > 0 ? down / r->down_us : 0));
    }
    return a + flat + c;
}

int kr_ramp_positions(const kr_ramp *r, long n, double *k)
{
    double total = r->up_us + r->flat_us + r->down_us, end = r->delay_us + r->read_us, slack = 1e-3 * total;
    bool sense = r->up_us >= 0 && r->flat_us >= 0 && r->down_us >= 0 && total > 0 && r->read_us > 0 && isfinite(total) && isfinite(end);
    if (!sense || n < 2)
        return kr_fail(KR_EFORMAT, "a readout gradient that rises for %.4g us, stays for %.4g us and falls for %.4g us, sampled for %.4g us, makes no sense: "
                       "correct these times in the header", r->up_us, r->flat_us, r->down_us, r->read_us);
    if (r->delay_us < -slack || end > total + slack)
        return kr_fail(KR_EFORMAT, "the readout is sampled from %.4g to %.4g us, but its gradient ends at %.4g us, so that k-space is not passed in one "
                       "direction: correct the ramp times or the delay in the header", r->delay_us, end, total);
    double from = area(r, r->delay_us), to = area(r, end), middle = area(r, r->delay_us + r->read_us / 2);
    if (!(to > from))
        return kr_fail(KR_EFORMAT, "the readout is sampled for %.4g us at the very end of its gradient: correct the delay in the header", r->read_us);
    for (long i = 0; i < n; i++)
        k[i] = (area(r, r->delay_us + r->read_us * ((double)i + 0.5) / (double)n) - middle) / (to - from);
    return 0;
}

/* ---- Regridding ---- */
/* M = F_N G^-1 E^H, N x n, column-major: E_jx = exp(-2 pi i k_j x) / sqrt(N) takes an image of w pixels to the samples, G = E^H E is
 * inverted with a ridge of 1e-5 (its eigenvalues lie between 0.7 and some units where w leaves a tenth of the widest gap's Nyquist
 * limit free), F_N takes the image, with zeros around it, to the regular grid. k of lines that were mirrored runs the other way. */
static int regridding(kr_cfloat **matrix, const double *k, bool mirrored, long n, long N, long w)
{
    kr_auto kr_cfloat *E = kr_alloc((size_t)(n * w), sizeof *E), *G = kr_alloc((size_t)(w * w), sizeof *G), *X = kr_alloc((size_t)(w * n), sizeof *X);
    kr_auto kr_cfloat *F = kr_alloc((size_t)(N * w), sizeof *F);
    *matrix = kr_alloc((size_t)(N * n), sizeof **matrix);
    if (!E || !G || !X || !F || !*matrix)
        return kr_error_code();
    double unit = 1 / sqrt((double)N);
    for (long x = 0; x < w; x++) {
        for (long j = 0; j < n; j++) {
            double p = 2 * M_PI * (mirrored ? -k[n - 1 - j] : k[j]) * (double)(x - w / 2);
            E[j + n * x] = kr_c((float)(unit * cos(p)), (float)(-unit * sin(p)));
            X[x + w * j] = kr_cconj(E[j + n * x]);
        }
        for (long i = 0; i < N; i++) {
            double p = 2 * M_PI * (double)((i - N / 2) * (x - w / 2) % N) / (double)N;
            F[i + N * x] = kr_c((float)(unit * cos(p)), (float)(-unit * sin(p)));
        }
    }
    kr_la_gram(w, n, 1, E, n, 0, G, w);
    for (long a = 0; a < w; a++)
        for (long b = a + 1; b < w; b++)
            G[a + w * b] = kr_cconj(G[b + w * a]);
    if (kr_la_solve_posdef(w, G, 1e-5f, n, X))
        return kr_error_code();
    kr_la_gemm('N', 'N', N, n, w, 1, F, N, X, w, 0, *matrix, N);
    return 0;
}

typedef struct grid { long n, N; kr_cfloat *M[2]; } grid;      /* samples -> points; forwards, and mirrored */

static void grid_clear(grid *g)
{
    kr_free(g->M[0]);
    kr_free(g->M[1]);
}

static int grid_new(grid *g, kr_scan *s)
{
    *g = (grid){ .n = s->shape.n[KR_X], .N = s->enc.encoded[0] > 0 ? s->enc.encoded[0] : s->shape.n[KR_X] };
    if (g->n > 8192 || g->N > 4 * g->n)                     /* the matrices below grow with their square */
        return kr_fail(KR_EFORMAT, "readouts of %ld samples on ramps shall become %ld points: correct the encoded matrix in the header", g->n, g->N);
    kr_auto double *k = kr_alloc((size_t)g->n, sizeof *k);
    if (!k || kr_ramp_positions(&s->enc.ramp, g->n, k))
        return kr_error_code();
    double gap = 0;
    for (long i = 1; i < g->n; i++)
        gap = fmax(gap, (k[i] - k[i - 1]) * (double)g->N);
    long w = gap > 0 ? (long)(0.45 * (double)g->N / gap) * 2 : g->N, wanted = s->enc.recon[0] > 0 ? s->enc.recon[0] : g->N;
    w = w < 2 ? 2 : w > g->N ? g->N : w;
    if (w < wanted)
        kr_scan_note(s, "the samples on the plateau of the readout gradient determine %ld of the %ld pixels along x; the others stay empty", w, wanted);
    return regridding(&g->M[0], k, false, g->n, g->N, w) || regridding(&g->M[1], k, true, g->n, g->N, w) ? kr_error_code() : 0;
}

/* Planes of `rows` rows of n samples, to N points; way says which rows were mirrored. */
struct regrid { const grid *g; const kr_cfloat *from; kr_cfloat *to, *buffer; const unsigned char *way; long rows, coils; };

static int regrid_plane(void *self, long plane)
{
    const struct regrid *j = self;
    const grid *g = j->g;
    const kr_cfloat *x = j->from + plane * j->rows * g->n;
    kr_cfloat *y = j->to + plane * j->rows * g->N, *t = j->buffer + kr_worker() * j->rows * g->N;
    const unsigned char *way = j->way + plane / j->coils * j->rows;
    kr_la_gemm('N', 'N', g->N, j->rows, g->n, 1, g->M[0], g->N, x, g->n, 0, y, g->N);
    kr_la_gemm('N', 'N', g->N, j->rows, g->n, 1, g->M[1], g->N, x, g->n, 0, t, g->N);
    for (long r = 0; r < j->rows; r++)
        if (way[r] == KR_WAY_BACKWARD)
            memcpy((void *)(y + r * g->N), t + r * g->N, (size_t)g->N * sizeof *y);
    return 0;
}

static int regrid(kr_array **a, const grid *g, const unsigned char *way)
{
    kr_scoped(array) x = kr_array_packed(*a);
    if (!x)
        return kr_error_code();
    kr_shape shape = kr_array_shape(x);
    long rows = shape.n[KR_Y] * shape.n[KR_Z], coils = shape.n[KR_COIL], planes = kr_count(shape) / (g->n * rows);
    kr_auto kr_cfloat *to = kr_alloc((size_t)(planes * rows), (size_t)g->N * sizeof *to);
    kr_auto kr_cfloat *buffer = kr_alloc((size_t)(kr_threads() * rows), (size_t)g->N * sizeof *buffer);
    if (!to || !buffer || kr_for(planes, regrid_plane, &(struct regrid){ g, x->data, to, buffer, way, rows, coils }))
        return kr_error_code();
    shape.n[KR_X] = g->N;
    kr_array *r = kr_array_take(KR_C32, shape, to);
    if (!r)
        return kr_error_code();
    to = NULL;
    kr_array_unref(a);
    *a = r;
    return 0;
}

/* ---- Rows: which way they were measured, and by which navigators they go ---- */
static const int counters[] = { KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };
typedef struct rows { long count, each, volumes; unsigned char *way; long *group; } rows;     /* each: Y Z, of a volume */
typedef struct group { long first, count, slice; kr_turn t; } group;                          /* navigators of one shot */
typedef struct groups { group *g; long count; } groups;

static void rows_clear(rows *r)
{
    kr_free(r->way);
    kr_free(r->group);
}

static int rows_new(rows *r, const kr_array *a)
{
    *r = (rows){ .each = a->n[KR_Y] * a->n[KR_Z], .volumes = 1 };
    for (int k = 0; k < 6; k++)
        r->volumes *= a->n[counters[k]];
    r->count = r->each * r->volumes;
    r->way = kr_alloc_zero((size_t)r->count, 1);
    r->group = kr_alloc((size_t)r->count, sizeof *r->group);
    for (long i = 0; r->group && i < r->count; i++)
        r->group[i] = -1;
    return r->way && r->group ? 0 : kr_error_code();
}

/* The row of a line; -1: none. shift: from counters to y and z. all: counters count (not so for calibration, but for slices). */
static long row_of(const rows *r, const kr_array *a, const kr_line *l, const long shift[2], bool all)
{
    const long v[6] = { l->slice, l->contrast, l->phase, l->set, l->repetition, l->average };
    long y = l->ky + shift[0], z = l->kz + shift[1], at = 0;
    if (y < 0 || y >= a->n[KR_Y] || z < 0 || z >= a->n[KR_Z])
        return -1;
    for (int k = 6; k-- > 0; ) {
        long i = k && !all ? 0 : v[k];
        if (i >= a->n[counters[k]])
            return -1;
        at = at * a->n[counters[k]] + i;
    }
    return at * r->each + z * a->n[KR_Y] + y;
}

/* Lines of one list, in the order measured: each belongs to the navigators of its slice measured last before it. */
static int mark(rows *r, const kr_array *a, const kr_scan *s, int kind, uint64_t flag, const long shift[2], bool all, const groups *g)
{
    const kr_lines *lines = &s->lines[kind], *nav = &s->lines[KR_LINES_PHASECORR];
    kr_auto long *now = kr_alloc(1 << 16, sizeof *now);      /* of each slice */
    if (!now)
        return kr_error_code();
    for (long i = 0; i < 1 << 16; i++)
        now[i] = -1;
    for (long i = g->count; i-- > 0; )
        now[g->g[i].slice] = i;                              /* before the first come those of the first */
    long next = 0;
    for (long i = 0; i < lines->count; i++) {
        const kr_line *l = &lines->line[i];
        for (; next < g->count && nav->line[g->g[next].first].counter < l->counter; next++)
            now[g->g[next].slice] = next;
        long at = flag && !(l->flags & flag) ? -1 : row_of(r, a, l, shift, all);
        if (at < 0)
            continue;
        int way = l->flags & FLAG(REVERSE) ? KR_WAY_BACKWARD : KR_WAY_FORWARD;
        r->way[at] = (unsigned char)(r->way[at] == KR_WAY_NONE || r->way[at] == way ? way : KR_WAY_BOTH);
        r->group[at] = now[l->slice];
    }
    return 0;
}

/* Are there at least four lines each way, and one of sixteen in all? Fewer say nothing about a ghost. */
static bool enough(const rows *r, long volume)
{
    long n[4] = { 0, 0, 0, 0 };
    for (long i = 0; i < r->each; i++)
        n[r->way[volume * r->each + i]]++;
    return n[KR_WAY_FORWARD] >= 4 && n[KR_WAY_BACKWARD] >= 4 && 16 * (n[KR_WAY_FORWARD] + n[KR_WAY_BACKWARD]) >= r->each;
}

static bool both_ways(const rows *r, long volume)
{
    bool seen[4] = { false, false, false, false };
    for (long i = 0; i < r->each; i++)
        seen[r->way[volume * r->each + i]] = true;
    return seen[KR_WAY_FORWARD] && seen[KR_WAY_BACKWARD];
}

static long count_of(const rows *r, int way)
{
    long n = 0;
    for (long i = 0; i < r->count; i++)
        n += r->way[i] == way;
    return n;
}

/* ---- Navigators ---- */
/* Consecutive lines of one slice and one set of counters; a group needs both ways. */
static int find_groups(groups *to, const kr_scan *s)
{
    const kr_lines *nav = &s->lines[KR_LINES_PHASECORR];
    to->g = kr_alloc((size_t)(nav->count > 0 ? nav->count : 1), sizeof *to->g);
    if (!to->g)
        return kr_error_code();
    for (long i = 0; nav->data && i < nav->count; ) {
        const kr_line *a = &nav->line[i];
        bool seen[2] = { false, false };
        long n = 0;
        for (; i + n < nav->count; n++) {
            const kr_line *b = &nav->line[i + n];
            bool follows = !n || b->counter == a[n - 1].counter + 1 || b->counter == a[n - 1].counter;
            if (!follows || b->slice != a->slice || b->contrast != a->contrast || b->repetition != a->repetition || b->set != a->set || b->phase != a->phase)
                break;
            seen[b->flags & FLAG(REVERSE) ? 1 : 0] = true;
        }
        if (seen[0] && seen[1])
            to->g[to->count++] = (group){ .first = i, .count = n, .slice = a->slice };
        i += n;
    }
    return 0;
}

/* One navigator line in image space along x, mirrored if it was reversed: h {x,coil}. scratch: n samples of all coils. */
static void navigator(kr_cfloat *h, const kr_lines *nav, long i, const grid *g, long N, const kr_fft *f, kr_cfloat *scratch)
{
    long n = g ? g->n : N, coils = nav->data->n[KR_COIL], have = nav->data->n[KR_SAMPLE], skip = have < n ? 0 : (have - n) / 2;
    bool back = nav->line[i].flags & FLAG(REVERSE);
    kr_cfloat *to = g ? scratch : h;
    for (long c = 0; c < coils; c++) {
        const kr_cfloat *x = KR_C(nav->data) + i * nav->data->step[KR_VIEW] + c * nav->data->step[KR_COIL];
        for (long j = 0; j < n; j++) {
            long from = (back ? n - 1 - j : j) + skip;
            to[c * n + j] = from < have ? x[from] : kr_c(0, 0);
        }
    }
    if (g)
        kr_la_gemm('N', 'N', N, coils, n, 1, g->M[back], N, scratch, n, 0, h, N);
    kr_fft_inverse(f, h);
}

/* Sum over x and channels of conj(a) b. */
static kr_cfloat inner(const kr_cfloat *a, const kr_cfloat *b, long n)
{
    double re = 0, im = 0;
    for (long i = 0; i < n; i++) {
        kr_cfloat v = kr_cmulc(a[i], b[i]);
        re += kr_re(v);
        im += kr_im(v);
    }
    return kr_c((float)re, (float)im);
}

/* The turn of one group. Echoes also turn evenly with time, by `drift` each (B0): seen between those of the same way, two apart. */
struct turns { group *g; const kr_lines *nav; const grid *grid; long N; };

static int group_turn(void *self, long index)
{
    const struct turns *all = self;
    group *p = &all->g[index];
    const kr_lines *nav = all->nav;
    const grid *g = all->grid;
    long N = all->N, coils = nav->data->n[KR_COIL], size = N * coils, n = g ? g->n : N;
    kr_auto kr_cfloat *h = kr_alloc((size_t)(size * p->count), sizeof *h), *scratch = kr_alloc((size_t)(n * coils), sizeof *scratch);
    kr_auto double (*o)[2] = kr_alloc_zero((size_t)N, sizeof *o);
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = N, [KR_COIL] = coils), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
    if (!h || !scratch || !o || !f) {
        kr_fft_unref(&f);
        return kr_error_code();
    }
    for (long e = 0; e < p->count; e++)
        navigator(h + e * size, nav, p->first + e, g, N, f, scratch);
    kr_fft_unref(&f);
    double re = 0, im = 0;
    for (long e = 0; e + 2 < p->count; e++)
        if (!((nav->line[p->first + e].flags ^ nav->line[p->first + e + 2].flags) & FLAG(REVERSE))) {
            kr_cfloat v = inner(h + e * size, h + (e + 2) * size, size);
            re += (double)kr_re(v);
            im += (double)kr_im(v);
        }
    double drift = re * re + im * im > 0 ? atan2(im, re) / 2 : 0;
    for (long e = 0; e + 1 < p->count; e++) {
        bool back = nav->line[p->first + e].flags & FLAG(REVERSE);
        if (back == !!(nav->line[p->first + e + 1].flags & FLAG(REVERSE)))
            continue;
        const kr_cfloat *fw = h + (back ? e + 1 : e) * size, *bw = h + (back ? e : e + 1) * size;
        double c = cos(drift), d = back ? sin(drift) : -sin(drift);       /* as if both were measured at the same time */
        for (long x = 0; x < size; x++) {
            kr_cfloat v = kr_cmulc(fw[x], bw[x]);
            o[x % N][0] += (double)kr_re(v) * c - (double)kr_im(v) * d;
            o[x % N][1] += (double)kr_re(v) * d + (double)kr_im(v) * c;
        }
    }
    p->t = kr_turn_fit((const double (*)[2])o, N);
    return isfinite(p->t.turn[0]) && isfinite(p->t.turn[1]) ? 0 : kr_fail(KR_ENUMBER, "the navigators hold numbers that are not finite");
}

/* ---- Without navigators ---- */
/* One volume {X,Y,Z,COIL}, of the first repetition and average. */
static kr_array *volume_of(const kr_array *a, long volume)
{
    kr_array *v = kr_array_ref(a);
    for (int k = 0; v && k < 6; k++) {
        kr_array *one = kr_array_at(v, counters[k], volume % a->n[counters[k]]);
        volume /= a->n[counters[k]];
        kr_array_unref(&v);
        v = one;
    }
    return v;
}

enum by { BY_DATA, BY_SVD, BY_REST };     /* entropy; singular values; entropy of what navigators left */

/* A group for each slice, echo, phase and set; repetitions and averages share it. */
static int from_data(groups *g, rows *r, const kr_scan *s, enum by by, const kr_trace *trace)
{
    long still = r->volumes / (s->data->n[KR_TIME] * s->data->n[KR_AVG]), few = 0, borders = 0, dropped = 0;
    kr_free(g->g);
    *g = (groups){ kr_alloc_zero((size_t)still, sizeof *g->g), still };
    if (!g->g)
        return kr_error_code();
    for (long v = 0; v < still; v++) {
        g->g[v].slice = v % s->data->n[KR_SLICE];
        if (!enough(r, v)) {
            few += both_ways(r, v);
            continue;
        }
        kr_scoped(array) one = volume_of(s->data, v);
        if (!one || kr_stopped(trace))
            return kr_error_code();
        const unsigned char *way = r->way + v * r->each;
        bool border = false, worse = false;
        if (by == BY_SVD ? kr_turn_svd(&g->g[v].t, &border, one, way) || kr_turn_entropy(&g->g[v].t, &worse, one, way, KR_TURN_CHECK)
                         : kr_turn_entropy(&g->g[v].t, &border, one, way, by == BY_REST ? KR_TURN_NEAR : KR_TURN_FIND))
            return kr_error_code();
        borders += border && !worse;
        dropped += worse;
        kr_progress(trace, "ghost", (double)(v + 1), (double)still);
    }
    if (borders)
        kr_say(trace, KR_WARNING, "ghost: in %ld of %ld images the best shift is an eighth of the readout or more: it is hardly right; "
               "--ghost none leaves it", borders, still);
    if (dropped)
        kr_say(trace, KR_WARNING, "ghost: in %ld of %ld images the correction by svd made the image less sharp (entropy): they stay as they are", dropped, still);
    if (few)
        kr_say(trace, KR_WARNING, "images with too few lines forwards or backwards to find their ghost's phase: %ld of %ld; it stays", few, still);
    for (long i = 0; i < r->count; i++)
        r->group[i] = i / r->each % still;
    return 0;
}

/* ---- Turning ---- */
struct turning { kr_cfloat *x; const kr_fft *f; long n, rows, coils; const rows *r; const groups *g; };

static int turn_plane(void *self, long plane)
{
    const struct turning *j = self;
    for (long row = 0; row < j->rows; row++) {
        long at = plane / j->coils * j->rows + row, which = j->r->group[at];
        int way = j->r->way[at];
        if (which < 0 || (way != KR_WAY_FORWARD && way != KR_WAY_BACKWARD))
            continue;
        const double *t = j->g->g[which].t.turn;
        kr_cfloat *x = j->x + (plane * j->rows + row) * j->n;
        kr_fft_inverse(j->f, x);
        for (long i = 0; i < j->n; i++) {
            double p = (t[0] + t[1] * (double)(i - j->n / 2)) / (way == KR_WAY_FORWARD ? 2 : -2);
            x[i] = kr_cmul(x[i], kr_c((float)cos(p), (float)sin(p)));
        }
        kr_fft_forward(j->f, x);
    }
    return 0;
}

static int turn_rows(kr_array **a, const rows *r, const groups *g)
{
    kr_array *x = kr_array_copy(*a);
    if (!x)
        return kr_error_code();
    long n = x->n[KR_X], planes = kr_count(kr_array_shape(x)) / (n * r->each);
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = n), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
    int e = f ? kr_for(planes, turn_plane, &(struct turning){ x->data, f, n, r->each, x->n[KR_COIL], r, g }) : kr_error_code();
    kr_fft_unref(&f);
    if (e) {
        kr_array_unref(&x);
        return e;
    }
    kr_array_unref(a);
    *a = x;
    return 0;
}

/* ---- The whole ---- */
static long centre_of(const kr_scan *s, int axis, long n) { return s->enc.limit[axis].known ? s->enc.limit[axis].centre : n / 2; }

/* From counters to rows of calibration data, as place.c laid them: around the header's centre, or their own middle. */
static void calib_shift(const kr_scan *s, long shift[2])
{
    for (int a = 0; a < 2; a++) {
        long min = 65536, max = 0, n = s->calib->n[KR_Y + a];
        for (int kind = 0; kind < KR_LINES_KINDS; kind++)
            for (long i = 0; i < s->lines[kind].count; i++) {
                const kr_line *l = &s->lines[kind].line[i];
                long v = a ? l->kz : l->ky;
                if (kind != KR_LINES_CALIB && (kind != KR_LINES_IMAGING || !(l->flags & FLAG(CALIB_TOO))))
                    continue;
                min = v < min ? v : min;
                max = v > max ? v : max;
            }
        long centre = centre_of(s, a + 1, s->enc.encoded[a + 1] > 0 ? s->enc.encoded[a + 1] : max + 1);
        shift[a] = n / 2 - (centre >= min && centre <= max ? centre : (min + max + 1) / 2);
    }
}

static int tell_turns(const groups *g, kr_scan *s, const char *by, const kr_trace *trace)
{
    double sum[2] = { 0, 0 };
    for (long i = 0; i < g->count; i++)
        for (int k = 0; k < 2; k++)
            sum[k] += g->g[i].t.turn[k] / (double)g->count;
    sum[1] *= (double)s->data->n[KR_X] / (2 * M_PI);
    kr_say(trace, KR_INFO, "ghost: by %s; backward lines are ahead by %.3f rad and %.3f samples%s", by, sum[0], sum[1], g->count > 1 ? " (mean)" : "");
    const char *before = kr_meta_get(s->meta, "ghost");
    kr_auto char *old = before ? kr_strf("%s; ", before) : NULL;
    return kr_meta_set(s->meta, "ghost", "%s%s: %.4f rad, %.4f samples", old ? old : "", by, sum[0], sum[1]);
}

static int by_navigators(groups *g, const rows *r, kr_scan *s, const grid *ramp, const kr_trace *trace)
{
    if (kr_for(g->count, group_turn, &(struct turns){ g->g, &s->lines[KR_LINES_PHASECORR], ramp, s->data->n[KR_X] }))
        return kr_error_code();
    return tell_turns(g, s, "navigator", trace) ? kr_error_code() : turn_rows(&s->data, r, g);
}

/* Calibration rows that go by the data's own groups, of the first echo. */
static void by_slice(rows *r, const groups *g)
{
    for (long i = 0; i < r->count; i++)
        r->group[i] = i / r->each < g->count ? i / r->each : -1;
}

/* Calibration lines go the same way, where they are echo-planar themselves. */
static int prepare_calib(kr_scan *s, const grid *ramp, const groups *nav, const groups *data)
{
    rows r = { 0 };
    long shift[2];
    calib_shift(s, shift);
    int e = rows_new(&r, s->calib);
    if (!e && !(e = mark(&r, s->calib, s, KR_LINES_CALIB, 0, shift, false, nav)))
        e = mark(&r, s->calib, s, KR_LINES_IMAGING, FLAG(CALIB_TOO), shift, false, nav);
    bool both = false;
    for (long v = 0; v < r.volumes && !e; v++)
        both = both || both_ways(&r, v);
    if (!e && ramp && s->calib->n[KR_X] == ramp->n && both)
        e = regrid(&s->calib, ramp, r.way);
    if (!e && both && nav->count)
        e = turn_rows(&s->calib, &r, nav);
    if (!e && both && data->count) {
        by_slice(&r, data);
        e = turn_rows(&s->calib, &r, data);
    }
    rows_clear(&r);
    if (!e && ramp && s->calib->n[KR_X] != ramp->N) {
        kr_scan_note(s, "the calibration lines have %ld samples where the image has %ld; they are left out", s->calib->n[KR_X], ramp->N);
        kr_array_unref(&s->calib);
        kr_array_unref(&s->calib_mask);
    }
    return e;
}

static int regrid_all(kr_scan *s, grid *g, const rows *r)
{
    if (s->mask && s->mask->n[KR_X] > 1)
        return kr_fail(KR_EFORMAT, "lines with discarded samples cannot be brought from a ramp to the grid");
    if (grid_new(g, s) || regrid(&s->data, g, r->way))
        return kr_error_code();
    s->dwell_us *= (double)g->n / (double)g->N;              /* so much noise as if each point had been sampled that long */
    s->shape.n[KR_X] = s->enc.encoded[0] = g->N;
    s->enc.ramp.read_us = 0;
    return 0;
}

/* Are at least two of three rows measured? A folded image says less about its ghost. */
static bool dense(const rows *r) { return 3 * count_of(r, KR_WAY_NONE) <= r->count; }

/* The turns of navigators stay in nav where they were used, those of the data come into `data`. */
static int take_ghost(kr_scan *s, rows *r, groups *nav, groups *data, const grid *ramp, const char *ghost, const kr_trace *trace)
{
    bool automatic = !strcmp(ghost, "auto"), wanted = !strcmp(ghost, "navigator");
    if (wanted && !nav->count)
        return kr_fail(KR_EREFUSED, "the scan has no navigators measured both ways (lines flagged as phase correction: %ld); take entropy or svd instead",
                       s->lines[KR_LINES_PHASECORR].count);
    if (!wanted && !automatic)
        nav->count = 0;
    if (nav->count && by_navigators(nav, r, s, ramp, trace))
        return kr_error_code();
    if (wanted || (nav->count && !dense(r)))
        return 0;
    enum by by = nav->count ? BY_REST : !strcmp(ghost, "svd") ? BY_SVD : BY_DATA;
    if (from_data(data, r, s, by, trace) || tell_turns(data, s, by == BY_REST ? "entropy of the rest" : by == BY_SVD ? "svd" : "entropy", trace))
        return kr_error_code();
    return turn_rows(&s->data, r, data);
}

/* Entropy of the image of a volume {X,Y,Z,COIL}, with every second row mirrored, its sample x to `last` - x; last < 0: as it is. NAN: no
 * memory. */
static double entropy_mirrored(const kr_array *volume, long last)
{
    kr_scoped(array) v = kr_array_copy(volume);
    if (!v)
        return NAN;
    kr_scoped(array) from = kr_array_copy(volume);
    long n = v->n[KR_X], lines = v->n[KR_Y];
    if (!from)
        return NAN;
    for (long r = 0; last >= 0 && r < kr_count(kr_array_shape(v)) / n; r++)
        for (long x = 0; x < n && r % lines % 2; x++)
            KR_C(v)[r * n + x] = last - x >= 0 && last - x < n ? KR_C(from)[r * n + last - x] : 0;
    if (kr_fourier_inverse(v, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)))
        return NAN;
    kr_scoped(array) m = kr_rss(v, KR_COIL);
    if (!m)
        return NAN;
    double size = kr_norm(m), sum = 0;
    for (long i = 0, all = kr_count(kr_array_shape(m)); i < all; i++) {
        double x = size > 0 ? (double)KR_R(m)[i] / size : 0;
        sum -= x > 0 ? x * log(x) : 0;
    }
    return sum;
}

/* An echo-planar scan whose lines all go one way by their flags: true of fly-back readouts. If the image is clearer with every second line
 * mirrored, the echo's place known to a sample, flags are missing, and no image comes of it. */
static int check_flags(const kr_scan *s)
{
    kr_scoped(array) first = volume_of(s->data, 0);
    double as_is = first ? entropy_mirrored(first, -1) : NAN, least = as_is;
    for (long last = s->data->n[KR_X] - 2; last <= s->data->n[KR_X] && !isnan(least); last++) {
        double mirrored = entropy_mirrored(first, last);
        least = isnan(mirrored) || mirrored < least ? mirrored : least;
    }
    if (isnan(least))
        return kr_error_code();
    return least < 0.98 * as_is ? kr_fail(KR_EREFUSED, "by their flags all lines of this echo-planar scan were measured in the same direction, but every "
                                          "second one fits the others only when mirrored: set IS_REVERSE on the lines that were measured backwards "
                                          "(--ghost none takes all as they are)") : 0;
}

int kr_epi_prepare(kr_scan *s, const char *ghost, const kr_trace *trace)
{
    ghost = ghost ? ghost : "auto";
    bool ramp = s->enc.ramp.read_us > 0, turn = strcmp(ghost, "none");
    if (turn && strcmp(ghost, "auto") && strcmp(ghost, "navigator") && strcmp(ghost, "entropy") && strcmp(ghost, "svd"))
        return kr_fail(KR_EUSAGE, "a ghost is corrected by navigator, entropy, svd, none or auto, not by '%s'", ghost);
    if (!s->lines[KR_LINES_IMAGING].count || s->shape.n[KR_SAMPLE] > 1 || s->shape.n[KR_VIEW] > 1 || kr_meta_get(s->meta, "ghost") || s->in_image)
        return 0;
    rows r = { 0 };
    groups nav = { 0 }, data = { 0 };
    grid regular = { 0 };
    long shift[2];
    for (int a = 0; a < 2; a++) {
        long n = s->data->n[KR_Y + a];
        shift[a] = a && n == 1 ? 0 : n / 2 - centre_of(s, a + 1, n);
    }
    int e = find_groups(&nav, s);
    if (!e && !(e = rows_new(&r, s->data)))
        e = mark(&r, s->data, s, KR_LINES_IMAGING, 0, shift, true, &nav);
    bool both = false;
    for (long v = 0; v < r.volumes && !e; v++)
        both = both || both_ways(&r, v);
    long mixed = e ? 0 : count_of(&r, KR_WAY_BOTH);
    if (!e && mixed) {
        kr_scan_note(s, "rows in which lines measured forwards and backwards were averaged: %ld; their ghost stays", mixed);
        kr_say(trace, KR_WARNING, "rows in which lines measured forwards and backwards were averaged: %ld; their ghost stays", mixed);
    }
    if (!e && ramp)
        e = regrid_all(s, &regular, &r);
    if (!e && turn && !both && s->data->n[KR_Y] > 1 && (ramp || !strcmp(s->enc.trajectory, "epi")))
        e = check_flags(s);
    if (!turn || !both)
        nav.count = 0;
    if (!e && both)
        e = turn ? take_ghost(s, &r, &nav, &data, ramp ? &regular : NULL, ghost, trace) : kr_meta_set(s->meta, "ghost", "left");
    if (!e && s->calib && (ramp || both))
        e = prepare_calib(s, ramp ? &regular : NULL, &nav, &data);
    grid_clear(&regular);
    rows_clear(&r);
    kr_free(nav.g);
    kr_free(data.g);
    return e;
}
