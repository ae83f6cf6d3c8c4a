/* place_imaging.c: the grid of the imaging lines, from the header and what the counters reach. */
#include "place.h"
#include <limits.h>
#include <string.h>
#include <strings.h>

bool place_in_window(const kr_placing *p, const kr_line *l)
{
    if (kr_is_multiband(p->s) && kr_line_kind_of(l->flags) == KR_LINES_CALIB)
        return l->slice < place_images(p);
    return l->slice >= p->from && l->slice < p->from + p->window;
}

bool place_imaging_line(const kr_placing *p, long i)
{
    return p->kind[i] == KR_LINES_IMAGING && p->line[i].encoding == p->encoding && place_has_samples(&p->line[i]);
}

int place_encoding(kr_placing *p)
{
    long count[KR_LINES_KINDS] = { 0 }, other = 0;
    p->encoding = INT_MAX;
    for (long i = 0; i < p->plan.count; i++)
        if (p->kind[i] == KR_LINES_IMAGING && p->line[i].encoding < p->encoding && place_has_samples(&p->line[i]))
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
    if (p->played)
        return p->dims > 0;
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
long place_centre_of(const kr_encoding *e, int axis, long n)
{
    return e->limit[axis].known ? e->limit[axis].centre : n / 2;
}

/* siemens_to_ismrmrd writes the centre that the sequence counted from into every line (user[5], user[6]); the header's can be that of
 * the protocol, before partial Fourier cut its lines off. */
static void centre_by_lines(kr_placing *p)
{
    const char *vendor = kr_meta_get(p->s->meta, "vendor");
    if (p->spokes || p->played || !vendor || strncasecmp(vendor, "siemens", 7))
        return;
    for (int a = 0; a < 2; a++) {
        long said = -1, least = LONG_MAX, most = 0, lines = 0;
        for (long i = 0; i < p->plan.count && said; i++) {
            if (!place_imaging_line(p, i))
                continue;
            long c = p->line[i].user[5 + a], k = place_counter(&p->line[i], a);
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
        at[a] = place_counter(l, a) + p->shift[a];
    const long *n = p->imaging.n;
    return p->spokes || (at[0] >= 0 && at[0] < n[SLOT_Y] && at[1] >= 0 && at[1] < n[SLOT_Z]);
}

/* A centre at the first line, by which much of the other lines lies outside of a grid that holds them all as they are counted, was never set. */
static void unset_centre(kr_placing *p, int a, long least, long most)
{
    kr_encoding *enc = &p->s->enc;
    long n = p->imaging.n[a], centre = place_centre_of(enc, a + 1, n);
    if (!enc->limit[a + 1].known || centre != least || most >= n || most + n / 2 - centre < n + n / 4)
        return;
    kr_scan_note(p->s, "warning: the header puts the centre of k-space at line %ld along %s, the first, and lines up to %ld would lie outside of the %ld: line %ld, the middle, is taken", centre,
                 a ? "z" : "y", most, n, n / 2);
    enc->limit[a + 1].centre = n / 2;
}

/* The lines of the grid: channels, and its height and depth by the header (or as far as the counters reach). */
static int grid_height(kr_placing *p, const kr_line *first)
{
    const kr_encoding *enc = &p->s->enc;
    grid *g = &p->imaging;
    long most[2] = { 0, 0 }, least[2] = { LONG_MAX, LONG_MAX }, step = first->kz, lines = 0;
    bool deep = false;                                       /* does any line leave the step along z of the first? */
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        deep = deep || ((p->kind[i] == KR_LINES_IMAGING || p->kind[i] == KR_LINES_CALIB) && l->kz != first->kz);
        if (!place_imaging_line(p, i))
            continue;
        lines++;
        if (l->channels != first->channels)
            return kr_fail(KR_EFORMAT, "line %ld has %d channels where the first imaging line has %d", i, l->channels, first->channels);
        for (int a = 0; a < 2; a++) {
            most[a] = place_counter(l, a) > most[a] ? place_counter(l, a) : most[a];
            least[a] = place_counter(l, a) < least[a] ? place_counter(l, a) : least[a];
        }
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
    for (int a = 0; a < 2 && !p->spokes; a++)
        if (!(same && a))
            unset_centre(p, a, least[a], most[a]);
    for (int a = 0; a < 2; a++)
        p->shift[a] = same && a ? -step : g->n[a] == 1 && a ? 0 : g->n[a] / 2 - place_centre_of(enc, a + 1, g->n[a]);
    return 0;
}

/* How far the other counters reach, of lines that lie on the grid; how many samples there are. */
static double grid_counters(kr_placing *p)
{
    grid *g = &p->imaging;
    double measured = 0;
    for (long i = 0; i < p->plan.count; i++) {
        long at[2];
        if (!place_imaging_line(p, i) || !lies_inside(p, &p->line[i], at))
            continue;
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            g->n[k] = place_counter(&p->line[i], k) >= g->n[k] ? place_counter(&p->line[i], k) + 1 : g->n[k];
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
        if (!place_imaging_line(p, i))
            continue;
        const kr_line *l = &p->line[i];
        long skip, n, x = place_row_start(l, g->row, &skip, &n), need = p->spokes ? n : ramp ? l->samples : place_row_needed(l);
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
    if (place_grid_slots(g))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++) {
        if (!place_imaging_line(p, i) || !place_in_window(p, &p->line[i]))
            continue;
        long v[SLOTS] = { 0 };
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            v[k] = place_counter(&p->line[i], k) - (k == SLOT_SLICE ? p->from : 0);
        long view = g->slot[place_slot_of(g, v)].count++;
        p->image[i].x = (int32_t)view;
        views = view >= views ? view + 1 : views;
    }
    kr_free(g->slot);
    g->slot = NULL;
    g->n[SLOT_Y] = views;
    return 0;
}

int place_imaging(kr_placing *p)
{
    grid *g = &p->imaging;
    long at = 0;
    while (!place_imaging_line(p, at))                             /* there is one: place_encoding saw it */
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
    if (place_grid_check(g, measured, p->plan.header_only) || place_slices(p))
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++)                 /* from here on slices count as in data */
        p->line[i].slice = p->line[i].slice < p->slices ? (uint16_t)p->rank[p->line[i].slice] : p->line[i].slice;
    if (p->spokes && (number_views(p) || place_grid_check(g, measured, p->plan.header_only)))
        return kr_error_code();
    return place_grid_slots(g);
}

void place_claim_imaging(kr_placing *p)
{
    grid *g = &p->imaging;
    for (long i = 0; i < p->plan.count; i++) {
        if (!place_imaging_line(p, i) || !place_in_window(p, &p->line[i]))
            continue;
        const kr_line *l = &p->line[i];
        long v[SLOTS];
        bool inside = lies_inside(p, l, v);
        for (int k = SLOT_COUNTERS; k < SLOTS; k++)
            v[k] = place_counter(l, k) - (k == SLOT_SLICE ? p->from : 0);
        if (p->spokes) {
            v[SLOT_Y] = p->image[i].x;
            v[SLOT_Z] = 0;
            long at = place_slot_of(g, v), n = (long)l->samples - l->discard_pre - l->discard_post;
            g->slot[at] = (slot){ 1, 0, (uint32_t)n };
            p->image[i] = (where){ at, 0, l->discard_pre, (uint16_t)n };
        } else
            p->image[i] = place_claim(g, l, inside ? place_slot_of(g, v) : -1);
    }
}
