/* place_calib.c: the grid of the calibration lines. */
#include "place.h"
#include <limits.h>
#include <math.h>

static const kr_encoding *encoding_of(const kr_placing *p, int index)
{
    return index != p->encoding && index < p->plan.encodings ? &p->plan.encoding[index] : &p->s->enc;
}

/* The first calibration line that will be kept. */
static bool first_calib(const kr_placing *p, long *at)
{
    for (*at = 0; *at < p->plan.count; ++*at)
        if (p->kind[*at] == KR_LINES_CALIB && place_in_window(p, &p->line[*at]))
            return true;
    return false;
}

/* Lines for calib: those of the first calibration line's encoding, contrast and set; with them what is imaging too. */
static bool calib_line(const kr_placing *p, long i, const kr_line *first)
{
    const kr_line *l = &p->line[i];
    bool kind = p->kind[i] == KR_LINES_CALIB || (p->kind[i] == KR_LINES_IMAGING && l->flags & FLAG(CALIB_TOO));
    return kind && place_has_samples(l) && l->encoding == first->encoding && l->contrast == first->contrast && l->set == first->set
        && l->channels == p->imaging.coils && place_in_window(p, l);
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
            r.left_out += p->kind[i] == KR_LINES_CALIB && place_in_window(p, l);
            continue;
        }
        r.used++;
        r.both += p->kind[i] == KR_LINES_IMAGING;
        for (int a = 0; a < 2; a++) {
            r.min[a] = place_counter(l, a) < r.min[a] ? place_counter(l, a) : r.min[a];
            r.max[a] = place_counter(l, a) > r.max[a] ? place_counter(l, a) : r.max[a];
        }
        long skip, n, x = place_row_start(l, g->row, &skip, &n);
        if ((x < 0 || x + n > g->row) && place_row_needed(l) > g->row)
            g->row = place_row_needed(l);
        r.measured += (double)l->samples * l->channels;
    }
    return r;
}

/* The counter of the centre: the header's, or the middle of what was measured where that does not reach it. */
static long calib_centre(const kr_placing *p, const kr_encoding *e, const reach *r, int a)
{
    long c = place_centre_of(e, a + 1, e->encoded[a + 1] > 0 ? e->encoded[a + 1] : r->max[a] + 1);
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

int place_calibration(kr_placing *p)
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
    g->n[SLOT_SLICE] = kr_is_multiband(p->s) ? place_images(p) : p->window;
    reach r = calib_reach(p, first);
    if (r.used == r.both)
        return leave_calib(p, "calibration was measured with other channels or slices than the image");
    long centre[2];
    for (int a = 0; a < 2; a++) {
        centre[a] = calib_centre(p, e, &r, a);
        g->n[a] = around(r.min[a], r.max[a], centre[a]);
    }
    if (place_grid_check(g, r.measured, p->plan.header_only) || place_grid_slots(g))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        if (!calib_line(p, i, first))
            continue;
        long v[SLOTS] = { l->ky - centre[0] + g->n[0] / 2, l->kz - centre[1] + g->n[1] / 2, l->slice - p->from };
        p->calib[i] = place_claim(g, l, place_slot_of(g, v));
    }
    kr_scan_note(p->s, "ACS: %ld lines (%ld separate, %ld shared with the image), grid %ld x %ld", r.used, r.used - r.both, r.both, g->n[SLOT_Y],
                 g->n[SLOT_Z]);
    if (r.left_out)
        kr_scan_note(p->s, "calibration lines of other contrasts, sets or encodings, left out: %ld", r.left_out);
    return 0;
}
