/* place.c: from the lines a scanner labelled to a grid. The heads decide everything; samples are only copied. */
#include "place.h"
#include <limits.h>
#include <math.h>
#include <string.h>
#include <strings.h>

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
        if (k != KR_LINES_NOISE && !place_in_window(p, l))
            continue;
        s->lines[k].count++;
        longest[k] = l->samples > longest[k] ? l->samples : longest[k];
        channels[k] = l->channels > channels[k] ? l->channels : channels[k];
        if (k == KR_LINES_NOISE && place_has_samples(l)) {
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
            if (p->kind[i] == k && (k == KR_LINES_NOISE || place_in_window(p, &p->line[i]))) {
                p->at[i] = k == KR_LINES_NOISE && p->noise_samples ? samples : n;
                samples += place_has_samples(&p->line[i]) ? p->line[i].samples : 0;
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
            empty += !place_has_samples(&p->line[i]);
        }
    long slices = g->n[SLOT_SLICE], inner = g->n[SLOT_Y] * g->n[SLOT_Z], bare = 0, places = 0, planes = 0;
    for (long k = 0; k < slices; k++) {
        bool any = false;
        for (long at = k * inner; at < g->slots; at += slices * inner) {
            long filled = 0;
            for (long j = at; j < at + inner; j++)
                filled += g->slot[j].count > 0;
            places += filled;
            planes += filled > 0;
            any |= filled > 0;
        }
        bare += !any;
    }
    if (inner > 1 && planes && places == planes && g->repeated > places && !p->spokes)      /* one line each, again and again */
        kr_scan_note(p->s, "warning: imaging lines that all have the same counters, so that nobody knows where in k-space they are: %ld; they are averaged", g->repeated + places);
    if (bare && bare < slices)
        kr_scan_note(p->s, "warning: of %ld of %ld slices no line was measured: they stay empty", bare, slices);
    if (segments)
        kr_scan_note(p->s, "the lines of %ld segments share one grid", segments + 1);
    if (reversed)
        kr_scan_note(p->s, "imaging lines measured backwards, and mirrored: %ld", reversed);
    if (empty)
        kr_scan_note(p->s, "imaging lines without samples: %ld", empty);
    if (g->outside)
        kr_scan_note(p->s, "warning: imaging lines outside the grid of %ld x %ld, left out: %ld", g->n[SLOT_Y], g->n[SLOT_Z], g->outside);
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
        if (!place_imaging_line(p, i))
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
        if (place_imaging_line(p, i) && p->line[i].repetition < frames)
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
    if (place_grid_mask(&s->mask, g, p->spokes) || (p->calibration.slot && place_grid_mask(&s->calib_mask, &p->calibration, false)))
        return kr_error_code();
    s->shape = place_grid_shape(g, p->spokes);
    if (p->noise_samples && !(s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = p->noise_samples, [KR_COIL] = g->coils))))
        return kr_error_code();
    if (p->plan.header_only)
        return 0;
    s->data = g->data = kr_array_new(KR_C32, s->shape);
    if (!s->data)
        return kr_error_code();
    if (p->calibration.slot && !(s->calib = p->calibration.data = kr_array_new(KR_C32, place_grid_shape(&p->calibration, false))))
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
    good = good && (!plan->played || !place_match(p)) && !place_encoding(p) && !place_apart(p);
    if (good && (!plan->played || !place_played(p)) && !place_imaging(p)) {
        place_claim_imaging(p);
        if (!place_calibration(p) && !plan_kinds(p) && !frame_time(p) && !make_room(p)) {
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
        return p->s->noise && p->kind[i] == KR_LINES_NOISE && place_has_samples(&p->line[i]);
    return p->image[i].n || p->calib[i].n || (kept_as_is(p, p->kind[i]) && place_in_window(p, &p->line[i]) && p->line[i].samples)
        || (p->kind[i] == KR_LINES_NOISE && place_has_samples(&p->line[i]));
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
    slot *s = &g->slot[w->slot];
    double energy = 0;
    for (long i = 0; s->count > 1 && i < l->channels; i++)
        for (long x = 0; x < w->n; x++) {
            kr_cfloat v = samples[i * l->samples + l->discard_pre + x];
            energy += (double)kr_re(v) * (double)kr_re(v) + (double)kr_im(v) * (double)kr_im(v);
        }
    s->energy += (float)energy;
    long plane, at = place_row_at(g, w->slot, &plane);
    bool mirror = l->flags & FLAG(REVERSE);
    return (move){ KR_C(g->data) + at + w->x, samples + l->discard_pre, plane, l->samples, w->n, l->channels, mirror, g->slot[w->slot].count > 1 };
}

static void put_traj(kr_placing *p, const where *w, const float *traj, int dims)
{
    const grid *g = &p->imaging;
    for (long s = 0; s < w->n; s++)
        for (int d = 0; d < p->dims; d++)
            p->traj[(d * g->slots + w->slot) * g->row + w->x + s] = traj[(w->skip + s) * dims + d];
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
            if (p->dims && p->played)
                put_traj(p, &p->image[i], p->plan.played->k[p->played[i]], 3);
            else if (p->dims && traj && traj[i - from]) {
                if (l->traj_dims != p->dims)
                    return kr_fail(KR_EFORMAT, "line %ld has a trajectory of %d dimensions where the first has %d", i, l->traj_dims, p->dims);
                put_traj(p, &p->image[i], traj[i - from], p->dims);
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

/* Lines that repeat one: their mean. Where they are strongest, the mean has as much energy as each of them, unless their phases differ. Noise alone has no line so far above the mean of
 * all. */
enum { FAR_ABOVE = 4 };
static void average_repeated(kr_scan *s, const grid *g)
{
    double top = 0, all = 0, strong = 0, kept = 0;
    long lines = 0;
    for (long at = 0; g->repeated && at < g->slots; at++)
        if (g->slot[at].count > 1) {
            double each = (double)g->slot[at].energy / g->slot[at].count;
            top = fmax(top, each);
            all += each;
            lines++;
        }
    for (long at = 0; g->repeated && at < g->slots; at++)
        if (g->slot[at].count > 1) {
            long plane, first = place_row_at(g, at, &plane);
            float w = 1.f / (float)g->slot[at].count;
            double energy = 0;
            for (long c = 0; c < g->coils; c++)
                for (long x = g->slot[at].from; x < g->slot[at].to; x++) {
                    kr_cfloat *v = &KR_C(g->data)[first + c * plane + x];
                    *v *= w;
                    energy += (double)kr_re(*v) * (double)kr_re(*v) + (double)kr_im(*v) * (double)kr_im(*v);
                }
            if ((double)g->slot[at].energy * w > top / 4) {
                strong += (double)g->slot[at].energy * w;
                kept += energy;
            }
        }
    if (lines && top * (double)lines > FAR_ABOVE * all && kept < 0.5 * strong)
        kr_scan_note(s, "warning: lines that were measured more than once do not agree: of the energy of the strongest their mean keeps %.2g %%; were they measured with other phases, "
                     "or was the object moved?", 100 * kept / strong);
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
    kr_shape shape = place_grid_shape(&p->imaging, true);
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
        average_repeated(p->s, &p->imaging);
        if (p->calibration.data)
            average_repeated(p->s, &p->calibration);
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
    kr_free(p->played);
    kr_free(p->traj);
    kr_free(p);
    *placing = NULL;
}
