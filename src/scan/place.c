/* place.c: from the lines a scanner labelled to a grid. The heads decide everything; samples are only copied. */
#include "kray/scan.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FLAG(n) (1ull << ((n) - 1))       /* ISMRMRD counts flags from 1 */
enum { NOISE = 19, CALIB = 20, CALIB_TOO = 21, REVERSE = 22, NAVIGATION = 23, PHASECORR = 24, HP_FEEDBACK = 26, DUMMY = 27,
       RT_FEEDBACK = 28, SURFACE = 29, STABILISE_REFERENCE = 30, STABILISE = 31 };

enum kr_line_kind kr_line_kind_of(uint64_t flags)
{
    static const struct { int flag; enum kr_line_kind kind; } table[] = { { NOISE, KR_LINES_NOISE }, { PHASECORR, KR_LINES_PHASECORR },
        { NAVIGATION, KR_LINES_NAVIGATION }, { HP_FEEDBACK, KR_LINES_FEEDBACK }, { RT_FEEDBACK, KR_LINES_FEEDBACK },
        { DUMMY, KR_LINES_DUMMY }, { SURFACE, KR_LINES_SURFACE }, { STABILISE_REFERENCE, KR_LINES_STABILISE },
        { STABILISE, KR_LINES_STABILISE }, { CALIB_TOO, KR_LINES_IMAGING }, { CALIB, KR_LINES_CALIB } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (flags & FLAG(table[i].flag))
            return table[i].kind;
    return KR_LINES_IMAGING;
}

/* The slots of a grid: one per line that can be measured. Cartesian: Y, Z, then the counters; otherwise VIEW takes Y's place. */
enum { SLOT_Y, SLOT_Z, SLOT_COUNTERS, SLOT_SLICE = SLOT_COUNTERS, SLOT_TIME = 6, SLOTS = 8 };
static const int slot_axis[SLOTS] = { KR_Y, KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };
typedef struct slot { uint32_t count, from, to; } slot;       /* how often measured, and which part of the row */
typedef struct grid {
    long row, coils, n[SLOTS], slots;
    slot *slot;
    kr_array *data;
    long outside, unequal, repeated;                          /* lines left out, lines that came again */
} grid;
typedef struct where { long slot; int32_t x; uint16_t skip, n; } where;  /* n = 0: goes nowhere */

struct kr_placing {
    kr_scan *s;
    kr_placing_plan plan;
    kr_line *line;                   /* own copy, slices renumbered */
    unsigned char *kind;
    long *at;                        /* number within its kind; noise: first sample */
    where *image, *calib;
    grid imaging, calibration;
    bool spokes;                     /* not Cartesian */
    bool calib_apart;                /* calibration lines that fit no grid: kept as they are */
    long noise_samples, noise_lines;
    int encoding;
    long from, slices, window;       /* slices in the file; those wanted */
    long shift[2];                   /* from counters to Y and Z */
    long *rank;                      /* slice counter -> place along SLICE of the whole file */
    int dims;                        /* of the trajectory */
    float *traj;                     /* [dims] blocks over the slots of imaging, row fastest */
    uint64_t straight, centreless;
};

static long counter(const kr_line *l, int k)
{
    const uint16_t v[SLOTS] = { l->ky, l->kz, l->slice, l->contrast, l->phase, l->set, l->repetition, l->average };
    return v[k];
}

static bool has_samples(const kr_line *l) { return l->channels && (long)l->discard_pre + l->discard_post < l->samples; }

/* ---- Along the readout ---- */
/* Where the measured part begins on a row of length N (it may reach outside), seen from the mirrored line if reversed. A
 * line as long as the row lies on it sample by sample; one without a believable centre is centred. */
static long row_start(const kr_line *l, long N, long *skip, long *n)
{
    bool reverse = l->flags & FLAG(REVERSE);
    long pre = reverse ? l->discard_post : l->discard_pre, c = l->center_sample;
    *skip = pre;
    *n = (long)l->samples - l->discard_pre - l->discard_post;
    if (c == 0 || c >= l->samples)
        c = l->samples / 2;
    if (l->samples == N)
        return pre;
    return pre - (reverse ? l->samples - c : c) + N / 2;
}

static long row_needed(const kr_line *l)
{
    long skip, n, left = -row_start(l, 0, &skip, &n), right = n - left;
    return 2 * left > 2 * right - 1 ? 2 * left : 2 * right - 1;
}

/* ---- Slots ---- */
/* The memory a grid takes must be in proportion to what was measured, and fit this machine. */
static int grid_check(const grid *g, double measured, bool header_only)
{
    double bytes = (double)g->row * (double)g->coils * 8, machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    for (int k = 0; k < SLOTS; k++)
        bytes *= (double)g->n[k];
    if (bytes / (double)g->coils / (double)g->row * (double)sizeof(slot) / 8 > 0.5 * machine || (bytes > 1 << 30 && bytes > 4096 * 8 * measured))
        return kr_fail(KR_EFORMAT, "the counters of the lines ask for a grid of %.4g GB, but only %.4g GB of samples were measured", bytes / 1e9, measured * 8 / 1e9);
    if (bytes > machine && !header_only)
        return kr_fail(KR_EMEM, "the k-space needs %.4g GB; this machine has %.4g GB", bytes / 1e9, machine / 1e9);
    return 0;
}

static int grid_slots(grid *g)
{
    g->slots = 1;
    for (int k = 0; k < SLOTS; k++)
        g->slots *= g->n[k];
    g->slot = kr_alloc_zero((size_t)g->slots, sizeof *g->slot);
    return g->slot ? 0 : kr_error_code();
}

static long slot_of(const grid *g, const long v[SLOTS])
{
    long at = 0;
    for (int k = SLOTS; k-- > 0; ) {
        if (v[k] < 0 || v[k] >= g->n[k])
            return -1;
        at = at * g->n[k] + v[k];
    }
    return at;
}

/* Takes a slot for a line, or counts why not. */
static where claim(grid *g, const kr_line *l, long at)
{
    long skip, n, x = row_start(l, g->row, &skip, &n);
    if (at < 0 || x < 0 || x + n > g->row) {
        g->outside++;
        return (where){ 0 };
    }
    slot *s = &g->slot[at];
    if (s->count && (s->from != x || s->to != x + n)) {
        g->unequal++;
        return (where){ 0 };
    }
    g->repeated += s->count > 0;
    *s = (slot){ s->count + 1, (uint32_t)x, (uint32_t)(x + n) };
    return (where){ at, (int32_t)x, (uint16_t)skip, (uint16_t)n };
}

static kr_shape grid_shape(const grid *g, bool spokes)
{
    kr_shape s = { { 0 } };
    s.n[spokes ? KR_SAMPLE : KR_X] = g->row;
    s.n[KR_COIL] = g->coils;
    for (int k = 0; k < SLOTS; k++)
        s.n[k == SLOT_Y && spokes ? KR_VIEW : slot_axis[k]] = g->n[k];
    return s;
}

/* Element of the first coil where the row of a slot begins; coils are plane apart. */
static long row_at(const grid *g, long at, long *plane)
{
    *plane = g->row * g->n[SLOT_Y] * g->n[SLOT_Z];
    long slots = g->n[SLOT_Y] * g->n[SLOT_Z];
    return at / slots * g->coils * *plane + at % slots * g->row;
}

/* Do slots along axis k all say the same? */
static bool alike(const grid *g, int k)
{
    long inner = 1;
    for (int i = 0; i < k; i++)
        inner *= g->n[i];
    for (long at = 0; at < g->slots; at++) {
        const slot *a = &g->slot[at], *b = &g->slot[at - at / inner % g->n[k] * inner];
        if (!a->count != !b->count || a->from != b->from || a->to != b->to)
            return false;
    }
    return true;
}

/* 1 where measured; counters along which nothing changes are left out; NULL: everything was measured. */
static int grid_mask(kr_array **out, const grid *g, bool spokes)
{
    bool full = true, rows = true;
    *out = NULL;
    for (long i = 0; i < g->slots; i++) {
        full = full && g->slot[i].count;
        rows = rows && (!g->slot[i].count || (!g->slot[i].from && g->slot[i].to == g->row));
    }
    if (full && rows)
        return 0;
    grid m = *g;
    m.row = rows ? 1 : g->row;
    m.coils = 1;
    for (int k = SLOT_COUNTERS; k < SLOTS; k++)
        if (alike(g, k))
            m.n[k] = 1;
    kr_array *mask = kr_array_new(KR_R32, grid_shape(&m, spokes));
    if (!mask)
        return kr_error_code();
    long i = 0, v[SLOTS] = { 0 };
    for (bool more = true; more; i += m.row) {                /* v runs over the slots of m */
        const slot *s = &g->slot[slot_of(g, v)];
        for (long x = rows ? 0 : s->from; s->count && x < (rows ? 1 : (long)s->to); x++)
            KR_R(mask)[i + x] = 1;
        int k = 0;
        while (k < SLOTS && ++v[k] == m.n[k])
            v[k++] = 0;
        more = k < SLOTS;
    }
    *out = mask;
    return 0;
}

/* ---- Slices in space ---- */
static double along(const float p[3], const double d[3]) { return p[0] * d[0] + p[1] * d[1] + p[2] * d[2]; }

static bool unit(double to[3], const float from[3])
{
    double n = sqrt((double)from[0] * from[0] + (double)from[1] * from[1] + (double)from[2] * from[2]);
    for (int k = 0; k < 3; k++)
        to[k] = from[k] / n;
    return n > 1e-6 && isfinite(n);
}

static double dot3(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static int by_place(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Directions of the first imaging line, where they are some. */
static void set_directions(kr_scan *s, kr_geom *geom, const kr_line *l)
{
    double dir[3][3];
    memcpy(geom->fov_mm, s->geom->fov_mm, sizeof geom->fov_mm);
    bool read = unit(dir[0], l->read_dir), phase = unit(dir[1], l->phase_dir), slice = unit(dir[2], l->slice_dir);
    geom->known = read && phase && slice;        /* all three are set, whichever is missing */
    if (!geom->known) {
        kr_scan_note(s, "the lines give no directions; the image is assumed to lie along the axes of the patient");
        return;
    }
    memcpy(geom->read_dir, dir[0], sizeof dir[0]);
    memcpy(geom->phase_dir, dir[1], sizeof dir[1]);
    memcpy(geom->slice_dir, dir[2], sizeof dir[2]);
    if (fabs(dot3(dir[0], dir[1])) + fabs(dot3(dir[0], dir[2])) + fabs(dot3(dir[1], dir[2])) > 0.01)
        kr_scan_note(s, "the readout, phase and slice directions are not at right angles");
}

/* Slices whose counters do not follow their positions are put in the order of their positions, so that they lie along one
 * axis. first: a line of each slice, NULL where there is none. */
static int order_slices(kr_placing *p, const kr_geom *geom, const kr_line *const *first)
{
    kr_auto double (*sorted)[2] = kr_alloc_zero((size_t)p->slices, sizeof *sorted);
    p->rank = kr_alloc_zero((size_t)p->slices, sizeof *p->rank);
    if (!sorted || !p->rank)
        return kr_error_code();
    bool rising = true, falling = true, apart = geom->known;
    for (long k = 0; k < p->slices; k++) {
        p->rank[k] = k;
        apart = apart && first[k] && isfinite(along(first[k]->position, geom->slice_dir));
        sorted[k][0] = apart ? along(first[k]->position, geom->slice_dir) : 0;
        sorted[k][1] = (double)k;
        rising = rising && (!k || sorted[k][0] > sorted[k - 1][0]);
        falling = falling && (!k || sorted[k][0] < sorted[k - 1][0]);
    }
    qsort(sorted, (size_t)p->slices, sizeof *sorted, by_place);
    for (long k = 1; k < p->slices; k++)
        apart = apart && sorted[k][0] - sorted[k - 1][0] > 1e-3;
    if (!apart || rising || falling)
        return 0;
    for (long k = 0; k < p->slices; k++)
        p->rank[(long)sorted[k][1]] = k;
    kr_scan_note(p->s, "the slice counters do not follow the slices' positions; slices are put in the order of their positions");
    return 0;
}

/* Slices that will be told apart. */
static long images(const kr_placing *p) { return kr_is_multiband(p->s) ? p->slices * p->s->multiband.factor : p->slices; }

/* Of slices measured together: those of the single-band reference, or as far from the first of a band as the header says. They are
 * counted as the reference counts them. */
static int place_together(kr_placing *p, kr_geom *geom)
{
    p->rank = kr_alloc((size_t)p->slices, sizeof *p->rank);
    if (!p->rank)
        return kr_error_code();
    for (long k = 0; k < p->slices; k++)
        p->rank[k] = k;
    for (int pass = 0; pass < 2; pass++)                     /* what the reference says replaces what was reckoned */
        for (long i = 0; i < p->plan.count; i++) {
            const kr_line *l = &p->line[i];
            long at = pass ? l->slice : l->slice % p->slices;
            if (p->kind[i] != (pass ? KR_LINES_CALIB : KR_LINES_IMAGING))
                continue;
            for (long j = 0; at < images(p) && (!j || !pass); j++, at += p->slices)
                for (int d = 0; d < 3; d++) {
                    double v = l->position[d] + (double)j * p->s->multiband.distance_mm * geom->slice_dir[d];
                    geom->position_mm[at][d] = isfinite(v) ? v : 0;
                }
        }
    kr_geom *old = p->s->geom;
    p->s->geom = kr_geom_copy(geom);
    kr_geom_unref(&old);
    return p->s->geom ? 0 : kr_error_code();
}

/* Directions, the order of slices, and a position for each of the window. */
static int place_slices(kr_placing *p)
{
    kr_auto const kr_line **first = kr_alloc_zero((size_t)p->slices, sizeof *first);
    kr_scoped(geom) geom = kr_geom_new(images(p));
    const kr_line *any = NULL;
    if (!first || !geom)
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++)
        if (p->kind[i] == KR_LINES_IMAGING && p->line[i].slice < p->slices && !first[p->line[i].slice]) {
            first[p->line[i].slice] = &p->line[i];
            any = any ? any : &p->line[i];
        }
    set_directions(p->s, geom, any);
    if (kr_is_multiband(p->s))
        return place_together(p, geom);
    if (order_slices(p, geom, first))
        return kr_error_code();
    for (long k = 0; k < p->slices; k++)
        for (int d = 0; d < 3; d++) {
            double v = first[k] ? first[k]->position[d] : any->position[d];
            geom->position_mm[p->rank[k]][d] = isfinite(v) ? v : 0;
        }
    memmove(geom->position_mm, geom->position_mm + p->from, (size_t)p->window * sizeof *geom->position_mm);
    geom->slices = p->window;
    kr_geom *old = p->s->geom;
    p->s->geom = geom;
    geom = old;
    return 0;
}

/* ---- Planning: imaging ---- */
static const kr_encoding *encoding_of(const kr_placing *p, int index)
{
    return index != p->encoding && index < p->plan.encodings ? &p->plan.encoding[index] : &p->s->enc;
}

static bool in_window(const kr_placing *p, const kr_line *l)
{
    if (kr_is_multiband(p->s) && kr_line_kind_of(l->flags) == KR_LINES_CALIB)
        return l->slice < images(p);
    return l->slice >= p->from && l->slice < p->from + p->window;
}

/* The first calibration line that will be kept. */
static bool first_calib(const kr_placing *p, long *at)
{
    for (*at = 0; *at < p->plan.count; ++*at)
        if (p->kind[*at] == KR_LINES_CALIB && in_window(p, &p->line[*at]))
            return true;
    return false;
}

static bool imaging_line(const kr_placing *p, long i)
{
    return p->kind[i] == KR_LINES_IMAGING && p->line[i].encoding == p->encoding && has_samples(&p->line[i]);
}

static int choose_encoding(kr_placing *p)
{
    long count[KR_LINES_KINDS] = { 0 }, other = 0;
    p->encoding = INT_MAX;
    for (long i = 0; i < p->plan.count; i++)
        if (p->kind[i] == KR_LINES_IMAGING && p->line[i].encoding < p->encoding && has_samples(&p->line[i]))
            p->encoding = p->line[i].encoding;
    for (long i = 0; i < p->plan.count; i++) {
        count[p->kind[i]]++;
        other += p->kind[i] == KR_LINES_IMAGING && p->line[i].encoding != p->encoding;
    }
    if (p->encoding == INT_MAX) {
        kr_text t = { 0 };
        for (int k = 0; k < KR_LINES_KINDS; k++)
            if (count[k])
                kr_text_add(&t, "%s%ld %s", t.len ? ", " : "", count[k], k == KR_LINES_IMAGING ? "empty" : kr_line_kind_name(k));
        kr_fail(KR_EFORMAT, "there are no imaging lines (%s)", t.s ? t.s : "no lines at all");
        kr_text_clear(&t);
        return kr_error_code();
    }
    if (p->encoding >= p->plan.encodings)
        kr_scan_note(p->s, "lines refer to encoding %d, which the header does not describe", p->encoding);
    else
        p->s->enc = p->plan.encoding[p->encoding];
    if (other)
        kr_scan_note(p->s, "imaging lines of other encodings than %d, left out: %ld", p->encoding, other);
    return 0;
}

static bool not_cartesian(kr_placing *p, const kr_line *first)
{
    const char *t = p->s->enc.trajectory;
    bool named = !strcmp(t, "radial") || !strcmp(t, "goldenangle") || !strcmp(t, "spiral");
    p->dims = first->traj_dims;
    if (named && !p->dims)
        kr_scan_note(p->s, "the trajectory is %s, but the lines carry no k-space positions", t);
    if (!named && p->dims && *t && strcmp(t, "other")) {
        kr_scan_note(p->s, "the lines carry k-space positions, which a %s grid does not need", t);
        p->dims = 0;
    }
    return named || p->dims;
}

/* Centre of the counters along Y or Z: the header's, else the middle. */
static long centre_of(const kr_encoding *e, int axis, long n)
{
    return e->limit[axis].known ? e->limit[axis].centre : n / 2;
}

/* siemens_to_ismrmrd writes the centre that the sequence counted from into every line (user[5], user[6]); the header's can be that of
 * the protocol, before partial Fourier cut its lines off. */
static void centre_by_lines(kr_placing *p)
{
    const char *vendor = kr_meta_get(p->s->meta, "vendor");
    if (p->spokes || !vendor || strncasecmp(vendor, "siemens", 7))
        return;
    for (int a = 0; a < 2; a++) {
        long said = -1, least = LONG_MAX, most = 0, lines = 0;
        for (long i = 0; i < p->plan.count && said; i++) {
            if (!imaging_line(p, i))
                continue;
            long c = p->line[i].user[5 + a], k = counter(&p->line[i], a);
            said = said < 0 || said == c ? c : 0;            /* all lines agree, and 0 is no answer */
            least = k < least ? k : least;
            most = k > most ? k : most;
            lines++;
        }
        long *centre = &p->s->enc.limit[a + 1].centre;
        if (said < 1 || said < least || said > most || (p->s->enc.limit[a + 1].known && *centre == said))
            continue;
        if (p->s->enc.limit[a + 1].known)
            kr_scan_note(p->s, "the header puts the centre of k-space at %ld along %s, the %ld lines themselves (user[%d]) at %ld; the lines are believed",
                         *centre, a ? "z" : "y", lines, 5 + a, said);
        *centre = said;
        p->s->enc.limit[a + 1].known = true;
    }
}

/* Y and Z of a line on the grid. */
static bool lies_inside(const kr_placing *p, const kr_line *l, long at[2])
{
    for (int a = 0; a < 2; a++)
        at[a] = counter(l, a) + p->shift[a];
    const long *n = p->imaging.n;
    return p->spokes || (at[0] >= 0 && at[0] < n[SLOT_Y] && at[1] >= 0 && at[1] < n[SLOT_Z]);
}

/* The lines of the grid: channels, and its height and depth by the header (or as far as the counters reach). */
static int grid_height(kr_placing *p, const kr_line *first)
{
    const kr_encoding *enc = &p->s->enc;
    grid *g = &p->imaging;
    long most[2] = { 0, 0 }, step = first->kz, lines = 0;
    bool deep = false;                                       /* does any line leave the step along z of the first? */
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        deep = deep || ((p->kind[i] == KR_LINES_IMAGING || p->kind[i] == KR_LINES_CALIB) && l->kz != first->kz);
        if (!imaging_line(p, i))
            continue;
        lines++;
        if (l->channels != first->channels)
            return kr_fail(KR_EFORMAT, "line %ld has %d channels where the first imaging line has %d", i, l->channels, first->channels);
        for (int a = 0; a < 2; a++)
            most[a] = counter(l, a) > most[a] ? counter(l, a) : most[a];
    }
    g->coils = first->channels;
    g->n[SLOT_Y] = p->spokes ? 1 : enc->encoded[1] > 0 ? enc->encoded[1] : most[0] + 1;
    g->n[SLOT_Z] = p->spokes ? 1 : enc->encoded[1] > 0 && enc->encoded[2] > 0 ? enc->encoded[2] : most[1] + 1;
    bool same = !p->spokes && !deep && (step || g->n[SLOT_Z] > 1) && lines > 1;
    if (same) {
        if (g->n[SLOT_Z] > 1) {
            kr_scan_note(p->s, "the header announces %ld steps along z, but all %ld lines have step %ld: nothing is encoded along z, the image is 2D", g->n[SLOT_Z], lines, step);
            p->s->enc.encoded_mm[2] = p->s->enc.recon_mm[2];
        }
        g->n[SLOT_Z] = p->s->enc.encoded[2] = p->s->enc.recon[2] = 1;
        p->s->enc.limit[2].min = p->s->enc.limit[2].max = p->s->enc.limit[2].centre = step;
        p->s->enc.limit[2].known = true;
    }
    for (int a = 0; a < 2; a++)
        p->shift[a] = same && a ? -step : g->n[a] == 1 && a ? 0 : g->n[a] / 2 - centre_of(enc, a + 1, g->n[a]);
    return 0;
}

/* How far the other counters reach, of lines that lie on the grid; how many samples there are. */
static double grid_counters(kr_placing *p)
{
    grid *g = &p->imaging;
    double measured = 0;
    for (long i = 0; i < p->plan.count; i++) {
        long at[2];
        if (!imaging_line(p, i) || !lies_inside(p, &p->line[i], at))
            continue;
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            g->n[k] = counter(&p->line[i], k) >= g->n[k] ? counter(&p->line[i], k) + 1 : g->n[k];
        measured += (double)p->line[i].samples * p->line[i].channels;
    }
    return measured;
}

/* The header's length of the readout, or as much more as the lines need. */
static void row_length(kr_placing *p)
{
    grid *g = &p->imaging;
    bool ramp = p->s->enc.ramp.read_us > 0;                  /* rows are samples still, however many */
    long announced = p->s->enc.encoded[0], beyond = 0;
    g->row = p->spokes || ramp ? 0 : announced;
    for (long i = 0; i < p->plan.count; i++) {
        if (!imaging_line(p, i))
            continue;
        const kr_line *l = &p->line[i];
        long skip, n, x = row_start(l, g->row, &skip, &n), need = p->spokes ? n : ramp ? l->samples : row_needed(l);
        if ((p->spokes || x < 0 || x + n > g->row) && need > g->row) {
            g->row = need;
            beyond++;
        }
        p->centreless += l->center_sample == 0 || l->center_sample >= l->samples;
        p->straight += l->samples == g->row && l->center_sample && l->center_sample < l->samples && l->center_sample != l->samples / 2;
    }
    if (p->spokes || (ramp && announced))
        return;
    if (beyond && announced)
        kr_scan_note(p->s, "lines that reach beyond the %ld points of the header's readout: %ld; it is taken as %ld points", announced, beyond, g->row);
    p->s->enc.encoded[0] = g->row;
}

/* Views are numbered as they come, those of each combination of counters for themselves; where[].x keeps the number. */
static int number_views(kr_placing *p)
{
    grid *g = &p->imaging;
    long views = 1;
    g->n[SLOT_Y] = g->n[SLOT_Z] = 1;
    if (grid_slots(g))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++) {
        if (!imaging_line(p, i) || !in_window(p, &p->line[i]))
            continue;
        long v[SLOTS] = { 0 };
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            v[k] = counter(&p->line[i], k) - (k == SLOT_SLICE ? p->from : 0);
        long view = g->slot[slot_of(g, v)].count++;
        p->image[i].x = (int32_t)view;
        views = view >= views ? view + 1 : views;
    }
    kr_free(g->slot);
    g->slot = NULL;
    g->n[SLOT_Y] = views;
    return 0;
}

static int plan_imaging(kr_placing *p)
{
    grid *g = &p->imaging;
    long at = 0;
    while (!imaging_line(p, at))                             /* there is one: choose_encoding saw it */
        at++;
    p->spokes = not_cartesian(p, &p->line[at]);
    centre_by_lines(p);
    if (grid_height(p, &p->line[at]))
        return kr_error_code();
    double measured = grid_counters(p);
    if (!(measured > 0))
        return kr_fail(KR_EFORMAT, "not one of the imaging lines lies on the grid of %ld x %ld lines that the header announces", g->n[SLOT_Y], g->n[SLOT_Z]);
    p->slices = g->n[SLOT_SLICE];
    bool part = p->plan.slice_count > 0 && !kr_is_multiband(p->s);      /* slices measured together are read together */
    p->from = part ? p->plan.slice_from : 0;
    p->window = part ? p->plan.slice_count : p->slices;
    if (p->from < 0 || p->from > p->slices - p->window)
        return kr_fail(KR_ESHAPE, "slices %ld to %ld are wanted of %ld", p->from, p->from + p->window - 1, p->slices);
    g->n[SLOT_SLICE] = p->window;
    row_length(p);
    if (grid_check(g, measured, p->plan.header_only) || place_slices(p))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++)                 /* from here on slices count as in data */
        p->line[i].slice = p->line[i].slice < p->slices ? (uint16_t)p->rank[p->line[i].slice] : p->line[i].slice;
    if (p->spokes && (number_views(p) || grid_check(g, measured, p->plan.header_only)))
        return kr_error_code();
    return grid_slots(g);
}

static void claim_imaging(kr_placing *p)
{
    grid *g = &p->imaging;
    for (long i = 0; i < p->plan.count; i++) {
        if (!imaging_line(p, i) || !in_window(p, &p->line[i]))
            continue;
        const kr_line *l = &p->line[i];
        long v[SLOTS];
        bool inside = lies_inside(p, l, v);
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            v[k] = counter(l, k) - (k == SLOT_SLICE ? p->from : 0);
        if (p->spokes) {
            v[SLOT_Y] = p->image[i].x;
            v[SLOT_Z] = 0;
            long at = slot_of(g, v), n = (long)l->samples - l->discard_pre - l->discard_post;
            g->slot[at] = (slot){ 1, 0, (uint32_t)n };
            p->image[i] = (where){ at, 0, l->discard_pre, (uint16_t)n };
        } else
            p->image[i] = claim(g, l, inside ? slot_of(g, v) : -1);
    }
}

/* ---- Planning: calibration ---- */
/* Lines for calib: those of the first calibration line's encoding, contrast and set; with them what is imaging too. */
static bool calib_line(const kr_placing *p, long i, const kr_line *first)
{
    const kr_line *l = &p->line[i];
    bool kind = p->kind[i] == KR_LINES_CALIB || (p->kind[i] == KR_LINES_IMAGING && l->flags & FLAG(CALIB_TOO));
    return kind && has_samples(l) && l->encoding == first->encoding && l->contrast == first->contrast && l->set == first->set
        && l->channels == p->imaging.coils && in_window(p, l);
}

/* Shortest row around its centre: index N/2 is `centre`, and min..max fit. */
static long around(long min, long max, long centre)
{
    long left = centre - min, right = max - centre;
    return left > right ? 2 * left : 2 * right + 1;
}

/* How far the calibration lines reach, and how many there are; `both`: those that are imaging too. */
typedef struct reach { long min[2], max[2], used, both, left_out; double measured; } reach;

static reach calib_reach(kr_placing *p, const kr_line *first)
{
    grid *g = &p->calibration;
    reach r = { .min = { LONG_MAX, LONG_MAX } };
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        if (!calib_line(p, i, first)) {
            r.left_out += p->kind[i] == KR_LINES_CALIB && in_window(p, l);
            continue;
        }
        r.used++;
        r.both += p->kind[i] == KR_LINES_IMAGING;
        for (int a = 0; a < 2; a++) {
            r.min[a] = counter(l, a) < r.min[a] ? counter(l, a) : r.min[a];
            r.max[a] = counter(l, a) > r.max[a] ? counter(l, a) : r.max[a];
        }
        long skip, n, x = row_start(l, g->row, &skip, &n);
        if ((x < 0 || x + n > g->row) && row_needed(l) > g->row)
            g->row = row_needed(l);
        r.measured += (double)l->samples * l->channels;
    }
    return r;
}

/* The counter of the centre: the header's, or the middle of what was measured where that does not reach it. */
static long calib_centre(const kr_placing *p, const kr_encoding *e, const reach *r, int a)
{
    long c = centre_of(e, a + 1, e->encoded[a + 1] > 0 ? e->encoded[a + 1] : r->max[a] + 1);
    if (c >= r->min[a] && c <= r->max[a])
        return c;
    if (r->max[a] > r->min[a])
        kr_scan_note(p->s, "calibration counters along %s run from %ld to %ld, past the centre %ld; they are counted from their own middle",
                     a ? "z" : "y", r->min[a], r->max[a], c);
    return (r->min[a] + r->max[a] + 1) / 2;
}

static int leave_calib(kr_placing *p, const char *why)
{
    p->calib_apart = true;
    kr_scan_note(p->s, "%s; the calibration lines are kept as they are", why);
    return 0;
}

static int plan_calib(kr_placing *p)
{
    grid *g = &p->calibration;
    long at;
    if (!first_calib(p, &at))
        return 0;
    const kr_line *first = &p->line[at];
    const kr_encoding *e = encoding_of(p, first->encoding), *own = &p->s->enc;
    if (p->spokes)
        return leave_calib(p, "the trajectory is not Cartesian");
    if (e->encoded_mm[0] > 0 && own->encoded_mm[0] > 0 && fabs(e->encoded_mm[0] / own->encoded_mm[0] - 1) > 0.01)
        return leave_calib(p, "calibration was measured with another field of view along the readout");
    for (int k = SLOT_COUNTERS; k < SLOTS; k++)
        g->n[k] = 1;
    g->coils = p->imaging.coils;
    g->row = p->imaging.row;                                 /* the same field of view, the same steps along x */
    g->n[SLOT_SLICE] = kr_is_multiband(p->s) ? images(p) : p->window;
    reach r = calib_reach(p, first);
    if (r.used == r.both)
        return leave_calib(p, "calibration was measured with other channels or slices than the image");
    long centre[2];
    for (int a = 0; a < 2; a++) {
        centre[a] = calib_centre(p, e, &r, a);
        g->n[a] = around(r.min[a], r.max[a], centre[a]);
    }
    if (grid_check(g, r.measured, p->plan.header_only) || grid_slots(g))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        if (!calib_line(p, i, first))
            continue;
        long v[SLOTS] = { l->ky - centre[0] + g->n[0] / 2, l->kz - centre[1] + g->n[1] / 2, l->slice - p->from };
        p->calib[i] = claim(g, l, slot_of(g, v));
    }
    kr_scan_note(p->s, "ACS: %ld lines (%ld separate, %ld shared with the image), grid %ld x %ld", r.used, r.used - r.both, r.both, g->n[SLOT_Y],
                 g->n[SLOT_Z]);
    if (r.left_out)
        kr_scan_note(p->s, "calibration lines of other contrasts, sets or encodings, left out: %ld", r.left_out);
    return 0;
}

/* ---- Planning: everything else ---- */
/* Kinds whose samples go to lines[].data. */
static bool kept_as_is(const kr_placing *p, int kind)
{
    return kind == KR_LINES_NOISE ? !p->noise_samples : kind == KR_LINES_CALIB ? p->calib_apart : kind != KR_LINES_IMAGING;
}

static int plan_kinds(kr_placing *p)
{
    kr_scan *s = p->s;
    long longest[KR_LINES_KINDS] = { 0 }, channels[KR_LINES_KINDS] = { 0 };
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        int k = p->kind[i];
        if (k != KR_LINES_NOISE && !in_window(p, l))
            continue;
        s->lines[k].count++;
        longest[k] = l->samples > longest[k] ? l->samples : longest[k];
        channels[k] = l->channels > channels[k] ? l->channels : channels[k];
        if (k == KR_LINES_NOISE && has_samples(l)) {
            p->noise_lines++;
            if (l->channels == p->imaging.coils)
                p->noise_samples += l->samples;
            else
                p->noise_samples = LONG_MIN / 2;
        }
    }
    if (p->noise_samples < 0) {
        p->noise_samples = 0;
        kr_scan_note(s, "the noise lines have other channels than the image's %ld; they cannot whiten it", p->imaging.coils);
    }
    for (int k = 0; k < KR_LINES_KINDS; k++) {
        kr_lines *to = &s->lines[k];
        if (!to->count)
            continue;
        to->line = kr_alloc((size_t)to->count, sizeof *to->line);
        if (!to->line)
            return kr_error_code();
        long n = 0, samples = 0;
        for (long i = 0; i < p->plan.count; i++)
            if (p->kind[i] == k && (k == KR_LINES_NOISE || in_window(p, &p->line[i]))) {
                p->at[i] = k == KR_LINES_NOISE && p->noise_samples ? samples : n;
                samples += has_samples(&p->line[i]) ? p->line[i].samples : 0;
                to->line[n] = p->line[i];
                to->line[n++].slice = (uint16_t)(p->line[i].slice - (k == KR_LINES_NOISE ? 0 : p->from));
            }
        if (kept_as_is(p, k) && longest[k] && channels[k] && !p->plan.header_only
            && !(to->data = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = longest[k], [KR_COIL] = channels[k], [KR_VIEW] = to->count))))
            return kr_error_code();
        if (k == KR_LINES_NOISE && p->noise_samples)
            kr_scan_note(s, "noise lines, for whitening: %ld, with %ld samples per channel", p->noise_lines, p->noise_samples);
        else if (k != KR_LINES_IMAGING && k != KR_LINES_CALIB && k != KR_LINES_NOISE)
            kr_scan_note(s, "%s lines, kept but no part of the image: %ld", kr_line_kind_name(k), to->count);
    }
    return 0;
}

static void tell(kr_placing *p)
{
    const grid *g = &p->imaging;
    long segments = 0, reversed = 0, empty = 0;
    for (long i = 0; i < p->plan.count; i++)
        if (p->kind[i] == KR_LINES_IMAGING) {
            segments = p->line[i].segment > segments ? p->line[i].segment : segments;
            reversed += (p->line[i].flags & FLAG(REVERSE)) != 0;
            empty += !has_samples(&p->line[i]);
        }
    if (segments)
        kr_scan_note(p->s, "the lines of %ld segments share one grid", segments + 1);
    if (reversed)
        kr_scan_note(p->s, "imaging lines measured backwards, and mirrored: %ld", reversed);
    if (empty)
        kr_scan_note(p->s, "imaging lines without samples: %ld", empty);
    if (g->outside)
        kr_scan_note(p->s, "imaging lines outside the grid of %ld x %ld, left out: %ld", g->n[SLOT_Y], g->n[SLOT_Z], g->outside);
    if (p->calibration.outside)
        kr_scan_note(p->s, "calibration lines outside their grid, left out: %ld", p->calibration.outside);
    if (g->repeated)
        kr_scan_note(p->s, "imaging lines that repeat one measured before, averaged with it: %ld", g->repeated);
    if (g->unequal)
        kr_scan_note(p->s, "imaging lines that repeat another part of one measured before, left out: %ld", g->unequal);
    if (p->centreless && !p->spokes)
        kr_scan_note(p->s, "imaging lines that do not say where their centre is, centred: %ld", (long)p->centreless);
    if (p->straight && !p->spokes)
        kr_scan_note(p->s, "imaging lines that fill the readout though their centre is said to be elsewhere, placed as they are: %ld", (long)p->straight);
}

static void dwell_times(kr_placing *p)
{
    for (long i = p->plan.count; i-- > 0; ) {
        double *to = p->kind[i] == KR_LINES_NOISE ? &p->s->noise_dwell_us : p->kind[i] == KR_LINES_IMAGING ? &p->s->dwell_us : NULL;
        if (to && p->line[i].dwell_us > 0 && isfinite(p->line[i].dwell_us))
            *to = p->line[i].dwell_us;
    }
}

/* Time stamps count 2.5 ms on Siemens; elsewhere they are believed where lines are then a TR apart. */
static const double TICK_MS = 2.5;

static bool ticks_known(const kr_placing *p)
{
    const char *vendor = kr_meta_get(p->s->meta, "vendor");
    double tr = kr_meta_number(p->s->meta, "tr_ms", 0), sum = 0;
    const kr_line *last = NULL;
    long steps = 0;
    if (vendor && !strncasecmp(vendor, "siemens", 7))
        return true;
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        if (!imaging_line(p, i))
            continue;
        if (last && last->repetition == l->repetition && l->time_stamp > last->time_stamp) {
            sum += l->time_stamp - last->time_stamp;
            steps++;
        }
        last = l;
    }
    return tr > 0 && steps && fabs(TICK_MS * sum / (double)steps / tr - 1) < 0.05;
}

/* Meta "frame_ms": from the first line of a repetition to that of the next, where all are equally far apart. */
static int frame_time(kr_placing *p)
{
    long frames = p->imaging.n[SLOT_TIME];
    if (frames < 2 || !ticks_known(p))
        return 0;
    kr_auto double *first = kr_alloc((size_t)frames, sizeof *first);
    if (!first)
        return kr_error_code();
    for (long k = 0; k < frames; k++)
        first[k] = INFINITY;
    for (long i = 0; i < p->plan.count; i++)
        if (imaging_line(p, i) && p->line[i].repetition < frames)
            first[p->line[i].repetition] = fmin(first[p->line[i].repetition], p->line[i].time_stamp);
    double step = (first[frames - 1] - first[0]) / (double)(frames - 1);
    bool even = isfinite(step) && step > 0;
    for (long k = 0; even && k < frames; k++)                /* a stamp is rounded to a tick, a trigger waits a little */
        even = fabs(first[k] - first[0] - (double)k * step) <= fmax(2, 0.02 * step);
    if (even)
        return kr_meta_set(p->s->meta, "frame_ms", "%.6g", TICK_MS * step);
    kr_scan_note(p->s, "the time stamps of the %ld frames are not evenly spaced: the time between frames is not stated", frames);
    return 0;
}

static int make_room(kr_placing *p)
{
    kr_scan *s = p->s;
    grid *g = &p->imaging;
    if (grid_mask(&s->mask, g, p->spokes) || (p->calibration.slot && grid_mask(&s->calib_mask, &p->calibration, false)))
        return kr_error_code();
    s->shape = grid_shape(g, p->spokes);
    if (p->noise_samples && !(s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = p->noise_samples, [KR_COIL] = g->coils))))
        return kr_error_code();
    if (p->plan.header_only)
        return 0;
    s->data = g->data = kr_array_new(KR_C32, s->shape);
    if (!s->data)
        return kr_error_code();
    if (p->calibration.slot && !(s->calib = p->calibration.data = kr_array_new(KR_C32, grid_shape(&p->calibration, false))))
        return kr_error_code();
    if (p->dims && !(p->traj = kr_alloc_zero((size_t)g->slots * (size_t)g->row, (size_t)p->dims * sizeof *p->traj)))
        return kr_error_code();
    return 0;
}

kr_placing *kr_placing_new(kr_scan *s, const kr_placing_plan *plan)
{
    kr_placing *p = kr_alloc_zero(1, sizeof *p);
    size_t n = (size_t)(plan->count > 0 ? plan->count : 1);
    if (!p)
        return NULL;
    p->s = s;
    p->plan = *plan;
    for (int k = 0; k < SLOTS; k++)
        p->imaging.n[k] = 1;
    p->line = kr_alloc(n, sizeof *p->line);
    p->kind = kr_alloc(n, 1);
    p->at = kr_alloc_zero(n, sizeof *p->at);
    p->image = kr_alloc_zero(n, sizeof *p->image);
    p->calib = kr_alloc_zero(n, sizeof *p->calib);
    bool good = p->line && p->kind && p->at && p->image && p->calib;
    for (long i = 0; good && i < plan->count; i++) {
        p->line[i] = plan->line[i];
        p->kind[i] = (unsigned char)kr_line_kind_of(plan->line[i].flags);
    }
    if (good && !choose_encoding(p) && !plan_imaging(p)) {
        claim_imaging(p);
        if (!plan_calib(p) && !plan_kinds(p) && !frame_time(p) && !make_room(p)) {
            dwell_times(p);
            tell(p);
            return p;
        }
    }
    kr_placing_unref(&p);
    return NULL;
}

bool kr_placing_wants(const kr_placing *p, long i)
{
    if (p->plan.header_only)                                 /* the noise is small and says much */
        return p->s->noise && p->kind[i] == KR_LINES_NOISE && has_samples(&p->line[i]);
    return p->image[i].n || p->calib[i].n || (kept_as_is(p, p->kind[i]) && in_window(p, &p->line[i]) && p->line[i].samples)
        || (p->kind[i] == KR_LINES_NOISE && has_samples(&p->line[i]));
}

/* ---- Samples ---- */
/* One row to copy, for every channel. */
typedef struct move { kr_cfloat *to; const kr_cfloat *from; long to_step, from_step, n, channels; bool mirror, add; } move;
typedef struct moves { move *m; long count; } moves;

static int move_coil(void *self, long c)
{
    const moves *j = self;
    for (long i = 0; i < j->count; i++) {
        const move *m = &j->m[i];
        if (c >= m->channels)
            continue;
        kr_cfloat *to = m->to + c * m->to_step;
        const kr_cfloat *from = m->from + c * m->from_step;
        if (!m->mirror && !m->add)
            memcpy(to, from, (size_t)m->n * sizeof *to);
        else
            for (long x = 0; x < m->n; x++) {
                kr_cfloat v = from[m->mirror ? m->n - 1 - x : x];
                to[x] = m->add ? to[x] + v : v;
            }
    }
    return 0;
}

static move to_grid(const grid *g, const where *w, const kr_line *l, const kr_cfloat *samples)
{
    long plane, at = row_at(g, w->slot, &plane);
    bool mirror = l->flags & FLAG(REVERSE);
    return (move){ KR_C(g->data) + at + w->x, samples + l->discard_pre, plane, l->samples, w->n, l->channels, mirror, g->slot[w->slot].count > 1 };
}

static void put_traj(kr_placing *p, const where *w, const float *traj)
{
    const grid *g = &p->imaging;
    for (long s = 0; s < w->n; s++)
        for (int d = 0; d < p->dims; d++)
            p->traj[(d * g->slots + w->slot) * g->row + w->x + s] = traj[(w->skip + s) * p->dims + d];
}

int kr_placing_put(kr_placing *p, long from, long count, const kr_cfloat *const *samples, const float *const *traj)
{
    long channels = 0;
    kr_auto move *m = kr_alloc(2 * (size_t)(count > 0 ? count : 1), sizeof *m);
    moves j = { m, 0 };
    if (!m)
        return kr_error_code();
    for (long i = from; i < from + count; i++) {
        const kr_line *l = &p->line[i];
        const kr_cfloat *v = samples[i - from];
        if (!v || !kr_placing_wants(p, i))
            continue;
        channels = l->channels > channels ? l->channels : channels;
        if (p->image[i].n && p->s->data) {
            j.m[j.count] = to_grid(&p->imaging, &p->image[i], l, v);
            if (p->spokes)
                j.m[j.count].mirror = false;              /* a spoke's direction is in its trajectory */
            j.count++;
            if (p->dims && traj && traj[i - from]) {
                if (l->traj_dims != p->dims)
                    return kr_fail(KR_EFORMAT, "line %ld has a trajectory of %d dimensions where the first has %d", i, l->traj_dims, p->dims);
                put_traj(p, &p->image[i], traj[i - from]);
            }
        }
        if (p->calib[i].n && p->s->calib)
            j.m[j.count++] = to_grid(&p->calibration, &p->calib[i], l, v);
        kr_array *own = p->s->lines[p->kind[i]].data;
        if (p->kind[i] == KR_LINES_NOISE && p->s->noise)
            j.m[j.count++] = (move){ KR_C(p->s->noise) + p->at[i], v, p->s->noise->step[KR_COIL], l->samples, l->samples, l->channels, false, false };
        else if (own)
            j.m[j.count++] = (move){ KR_C(own) + p->at[i] * own->step[KR_VIEW], v, own->step[KR_COIL], l->samples, l->samples, l->channels, false, false };
    }
    return kr_for(channels, move_coil, &j);
}

static void average_repeated(const grid *g)
{
    for (long at = 0; g->repeated && at < g->slots; at++)
        if (g->slot[at].count > 1) {
            long plane, first = row_at(g, at, &plane);
            float w = 1.f / (float)g->slot[at].count;
            for (long c = 0; c < g->coils; c++)
                for (long x = g->slot[at].from; x < g->slot[at].to; x++)
                    KR_C(g->data)[first + c * plane + x] *= w;
        }
}

static bool same_along(const kr_array *a, int axis)
{
    kr_scoped(array) zero = kr_array_at(a, axis, 0);
    kr_scoped(array) all = zero ? kr_array_spread(zero, kr_array_shape(a)) : NULL;
    kr_scoped(array) d = all ? kr_array_copy(a) : NULL;
    if (!d)
        return false;
    kr_axpy(d, -1, all);
    return kr_max_abs(d) <= 0;
}

/* Axes along which the trajectory does not change are dropped. */
static int finish_traj(kr_placing *p)
{
    kr_shape shape = grid_shape(&p->imaging, true);
    shape.n[KR_COIL] = 1;
    shape.n[KR_CHAN] = p->dims;
    kr_array *t = kr_array_take(KR_R32, shape, p->traj);
    if (!t)
        return kr_error_code();
    p->traj = NULL;
    for (int k = SLOT_COUNTERS; t && k < SLOTS; k++)
        if (t->n[slot_axis[k]] > 1 && same_along(t, slot_axis[k])) {
            kr_array *one = kr_array_at(t, slot_axis[k], 0), *packed = one ? kr_array_packed(one) : NULL;
            kr_array_unref(&one);
            kr_array_unref(&t);
            t = packed;
        }
    p->s->traj = t;
    return t ? 0 : kr_error_code();
}

int kr_placing_end(kr_placing **placing)
{
    kr_placing *p = *placing;
    int e = 0;
    if (p->s->data) {
        average_repeated(&p->imaging);
        if (p->calibration.data)
            average_repeated(&p->calibration);
        e = p->traj ? finish_traj(p) : 0;
    }
    kr_placing_unref(placing);
    return e;
}

void kr_placing_unref(kr_placing **placing)
{
    kr_placing *p = *placing;
    if (!p)
        return;
    kr_free(p->line);
    kr_free(p->kind);
    kr_free(p->at);
    kr_free(p->image);
    kr_free(p->calib);
    kr_free(p->imaging.slot);
    kr_free(p->calibration.slot);
    kr_free(p->rank);
    kr_free(p->traj);
    kr_free(p);
    *placing = NULL;
}
