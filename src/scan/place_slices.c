/* place_slices.c: where slices lie in the patient, and in which order. */
#include "place.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* Lines of a plane that have one slice counter but lie at several places (or are turned to several sides), as many at each and with the same counters: the
 * slices are told apart by place. (Motion that is followed moves lines too, but leaves no two lines or more at each of its places; a plane that is moved by
 * hand has another place in each repetition.) */
enum { PLACES = 512 };
static const double SAME_MM = 0.05, SAME_TURN = 1e-4;
struct spot { double dir[3], at; long lines, least[SLOTS], most[SLOTS]; };        /* and the range of each counter there */

/* The number of the spot that a line lies at; -1: at none that can be told, or too many. */
static long spot_of(struct spot *spot, long *spots, const kr_line *l)
{
    struct spot s = { .lines = 0 };
    if (!unit(s.dir, l->slice_dir) || !isfinite(s.at = along(l->position, s.dir)))
        return -1;
    for (long k = 0; k < *spots; k++)
        if (dot3(spot[k].dir, s.dir) > 1 - SAME_TURN && fabs(spot[k].at - s.at) < SAME_MM)
            return k;
    if (*spots == PLACES)
        return -1;
    spot[*spots] = s;
    return (*spots)++;
}

int place_apart(kr_placing *p)
{
    kr_auto struct spot *spot = kr_alloc(PLACES, sizeof *spot);
    kr_auto long *at = kr_alloc((size_t)(p->plan.count > 0 ? p->plan.count : 1), sizeof *at);
    const kr_line *first = NULL;
    long spots = 0, imaging = 0;
    bool turned = false;
    if (!spot || !at)
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++) {
        const kr_line *l = &p->line[i];
        at[i] = -1;
        if (!place_imaging_line(p, i))
            continue;
        first = first ? first : l;
        if (l->slice != first->slice || l->kz != first->kz || (at[i] = spot_of(spot, &spots, l)) < 0)
            return 0;
        struct spot *o = &spot[at[i]];
        for (int k = SLOT_COUNTERS; k < SLOTS; k++) {
            o->least[k] = o->lines && o->least[k] < place_counter(l, k) ? o->least[k] : place_counter(l, k);
            o->most[k] = o->lines && o->most[k] > place_counter(l, k) ? o->most[k] : place_counter(l, k);
        }
        o->lines++;
        imaging++;
    }
    for (long k = 0; k < spots; k++) {
        if (spot[k].lines < 2 || spot[k].lines * spots != imaging || memcmp(spot[k].least, spot[0].least, sizeof spot->least) || memcmp(spot[k].most, spot[0].most, sizeof spot->most))
            return 0;
        turned |= dot3(spot[k].dir, spot[0].dir) <= 1 - SAME_TURN;
    }
    if (spots < 2 || kr_is_multiband(p->s))
        return 0;
    long slice = first->slice;
    for (long i = 0; i < p->plan.count; i++) {
        long all = spots;
        if (p->kind[i] != KR_LINES_NOISE && p->line[i].slice == slice && at[i] < 0)          /* calibration, where it lies at one of them */
            at[i] = spot_of(spot, &all, &p->line[i]);
        if (at[i] < 0 || at[i] >= spots)
            continue;
        long rank = turned ? at[i] : 0;
        for (long k = 0; k < spots && !turned; k++)
            rank += spot[k].at < spot[at[i]].at;
        p->line[i].slice = (uint16_t)rank;
    }
    kr_scan_note(p->s, "the lines have one slice counter, but lie at %ld places, %ld at each: slices are told apart by place", spots, spot[0].lines);
    return 0;
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
    if (!isfinite(l->position[0]) || !isfinite(l->position[1]) || !isfinite(l->position[2])) {
        geom->known = false;
        kr_scan_note(s, "the positions of the lines are not finite: where the image lies in the patient is unknown");
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

long place_images(const kr_placing *p) { return kr_is_multiband(p->s) ? p->slices * p->s->multiband.factor : p->slices; }

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
            for (long j = 0; at < place_images(p) && (!j || !pass); j++, at += p->slices)
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

/* Where a slice without lines would lie: in line with the two that are nearest to it by their counters; where there is but one, at its place.
 * known: the slices with lines, in order; `below` of them lie below k. */
static double position_between(const kr_line *const *first, const long *known, long count, long below, long k, int d)
{
    long two[2] = { -1, -1 }, low = below - 1, high = below;
    for (int i = 0; i < 2 && (low >= 0 || high < count); i++)
        two[i] = known[low >= 0 && (high >= count || k - known[low] <= known[high] - k) ? low-- : high++];
    if (two[0] < 0)
        return 0;
    double at = first[two[0]]->position[d];
    return two[1] < 0 ? at : at + (double)(k - two[0]) * (first[two[1]]->position[d] - at) / (double)(two[1] - two[0]);
}

static bool all_in_one_place(const kr_line *const *first, long n)
{
    const kr_line *any = NULL;
    long known = 0;
    for (long k = 0; k < n; k++)
        if (first[k]) {
            any = any ? any : first[k];
            known++;
            for (int d = 0; d < 3; d++)
                if (!(fabs((double)first[k]->position[d] - (double)any->position[d]) < 1e-3))
                    return false;
        }
    return known > 1;
}

/* Cosine of 2 degrees: planes of one stack are parallel. */
static const double TURNED = 0.9994;

int place_slices(kr_placing *p)
{
    kr_auto const kr_line **first = kr_alloc_zero((size_t)p->slices, sizeof *first);
    kr_scoped(geom) geom = kr_geom_new(place_images(p));
    const kr_line *any = NULL;
    if (!first || !geom)
        return kr_error_code();
    for (long i = 0; i < p->plan.count; i++)
        if (p->kind[i] == KR_LINES_IMAGING && p->line[i].slice < p->slices && !first[p->line[i].slice]) {
            first[p->line[i].slice] = &p->line[i];
            any = any ? any : &p->line[i];
        }
    set_directions(p->s, geom, any);
    long turned = 0;
    for (long k = 0; k < p->slices && geom->known; k++) {
        double dir[3];
        turned += first[k] && unit(dir, first[k]->slice_dir) && fabs(dot3(dir, geom->slice_dir)) < TURNED;
    }
    if (turned)
        kr_scan_note(p->s, "warning: %ld of %ld slices are turned against the first; the image's geometry is that of the first, and wrong for those", turned, p->slices);
    if (kr_is_multiband(p->s))
        return place_together(p, geom);
    if (order_slices(p, geom, first))
        return kr_error_code();
    kr_auto long *known = kr_alloc((size_t)p->slices, sizeof *known);
    long count = 0, below = 0;
    if (!known)
        return kr_error_code();
    for (long k = 0; k < p->slices; k++)
        if (first[k])
            known[count++] = k;
    for (long k = 0; k < p->slices; k++) {
        for (int d = 0; d < 3; d++) {
            double v = first[k] ? first[k]->position[d] : position_between(first, known, count, below, k, d);
            geom->position_mm[p->rank[k]][d] = isfinite(v) ? v : 0;
        }
        below += first[k] != NULL;
    }
    if (p->slices > 1 && geom->known && all_in_one_place(first, p->slices))
        kr_scan_note(p->s, "warning: the %ld slices lie at one place by their positions: in the image they are stacked by their thickness; if they are frames, their order is right", p->slices);
    memmove(geom->position_mm, geom->position_mm + p->from, (size_t)p->window * sizeof *geom->position_mm);
    geom->slices = p->window;
    kr_geom *old = p->s->geom;
    p->s->geom = geom;
    geom = old;
    return 0;
}
