/* place_played.c: lines by what a Pulseq sequence played: which readout a line is, what it is for, and where its samples lie. */
#include "kray/trajectory.h"
#include "place.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void kr_played_unref(kr_played **played)
{
    kr_played *s = *played;
    if (!s)
        return;
    for (long i = 0; s->k && i < s->count; i++)
        kr_free(s->k[i]);
    kr_free(s->k);
    kr_free(s->line);
    kr_free_at(played);
}

/* ---- Which readout is a line? ---- */
enum { ALL, NO_NOISE, OF_IMAGES, WAYS };                  /* the lines that may have been played, fewer and fewer */

static bool may_be_played(const kr_placing *p, long i, int way)
{
    int k = p->kind[i];
    if (!p->line[i].samples || !p->line[i].channels)
        return false;
    return way == ALL || (k != KR_LINES_NOISE && (way == NO_NOISE || k == KR_LINES_IMAGING || k == KR_LINES_CALIB || k == KR_LINES_PHASECORR || k == KR_LINES_NAVIGATION));
}

/* Lines are readouts in the order in which they were measured. */
static int find(kr_placing *p, long *times)
{
    const kr_played *s = p->plan.played;
    long found[WAYS] = { 0 }, other = -1, readout = -1;
    for (int way = 0; way < WAYS; way++) {
        long wrong = -1;
        for (long i = 0; i < p->plan.count; i++) {
            p->played[i] = may_be_played(p, i, way) ? found[way]++ % s->count : -1;
            if (p->played[i] >= 0 && p->line[i].samples != s->line[p->played[i]].samples && wrong < 0)
                wrong = i;
        }
        *times = found[way] / s->count;
        if (found[way] && found[way] % s->count == 0 && wrong < 0)
            return 0;
        if (found[way] && found[way] % s->count == 0 && other < 0) {
            other = wrong;
            readout = p->played[wrong];
        }
    }
    if (other >= 0)
        return kr_fail(KR_EREFUSED, "line %ld of the file has %d samples, readout %ld of the sequence %d: it was not played for this scan",
                       other, p->line[other].samples, readout, s->line[readout].samples);
    char less[80] = "";
    if (found[OF_IMAGES] != found[ALL])
        snprintf(less, sizeof less, " (%ld without noise, %ld of images and calibration)", found[NO_NOISE], found[OF_IMAGES]);
    return kr_fail(KR_EREFUSED, "the sequence plays %ld readouts, the file has %ld lines%s: no multiple of them", s->count, found[ALL], less);
}

int place_match(kr_placing *p)
{
    const kr_played *s = p->plan.played;
    long times, repetitions = 1, turn = 0, first = -1;
    uint64_t kinds = 0;
    for (int f = NOISE; f <= STABILISE; f++)
        kinds |= f == LAST_OF_ALL ? 0 : FLAG(f);
    p->played = kr_alloc((size_t)(p->plan.count > 0 ? p->plan.count : 1), sizeof *p->played);
    if (!p->played || find(p, &times))
        return kr_error_code();
    for (long j = 0; j < s->count; j++)
        repetitions = s->line[j].repetition >= repetitions ? s->line[j].repetition + 1 : repetitions;
    if (times * repetitions > UINT16_MAX)
        return kr_fail(KR_EREFUSED, "the sequence would have been played %ld times, with %ld repetitions each: too many", times, repetitions);
    for (long i = 0; i < p->plan.count; i++) {
        if (p->played[i] < 0)
            continue;
        kr_line *l = &p->line[i];
        const kr_line *e = &s->line[p->played[i]];
        first = first < 0 ? i : first;
        l->flags = (l->flags & ~kinds) | e->flags;
        l->ky = l->kz = l->center_sample = 0;
        l->slice = e->slice;
        l->contrast = e->contrast;
        l->phase = e->phase;
        l->set = e->set;
        l->average = e->average;
        l->segment = e->segment;
        l->repetition = (uint16_t)(e->repetition + turn++ / s->count * repetitions);
        l->encoding = p->line[first].encoding;
        l->traj_dims = 3;
        l->dwell_us = l->dwell_us > 0 ? l->dwell_us : e->dwell_us;
        p->kind[i] = (unsigned char)kr_line_kind_of(l->flags);
    }
    if (times > 1)
        kr_scan_note(p->s, "the sequence of %ld readouts was played %ld times", s->count, times);
    return 0;
}

/* ---- Where its samples lie ---- */
static bool of_image(int kind) { return kind == KR_LINES_IMAGING || kind == KR_LINES_CALIB; }

/* The sequence's field of view, and the header's matrix only where it is of the same; sizes in mm. */
static bool field_of_view(kr_placing *p)
{
    const double *mm = p->plan.played->fov_mm;
    kr_encoding *enc = &p->s->enc;
    bool stated = mm[0] > 0 && mm[1] > 0, same = true;
    for (int d = 0; d < 2; d++)
        same = same && fabs(enc->recon_mm[d] - mm[d]) <= .01 * mm[d];
    if (!stated || same)
        return true;
    if (enc->recon_mm[0] > 0)
        kr_scan_note(p->s, "the header says a field of view of %.5g x %.5g mm, the sequence %.5g x %.5g: the sequence is believed", enc->recon_mm[0], enc->recon_mm[1], mm[0], mm[1]);
    for (int d = 0; d < 3; d++) {
        enc->encoded[d] = enc->recon[d] = 0;
        enc->encoded_mm[d] = enc->recon_mm[d] = mm[d] > 0 ? mm[d] : enc->recon_mm[d];
    }
    return false;
}

/* Does anything go along Z? What a slice's rephasing leaves is the same for all. */
static int dimensions(const kr_placing *p)
{
    double least = HUGE_VAL, most = -HUGE_VAL, largest = 0;
    for (long i = 0; i < p->plan.count; i++)
        for (long n = 0; p->played[i] >= 0 && of_image(p->kind[i]) && n < p->line[i].samples; n++) {
            const float *k = p->plan.played->k[p->played[i]] + 3 * n;
            least = fmin(least, (double)k[2]);
            most = fmax(most, (double)k[2]);
            largest = fmax(largest, fmax(fabs((double)k[0]), fmax(fabs((double)k[1]), fabs((double)k[2]))));
        }
    return most - least > 1e-3 * largest ? 3 : 2;
}

/* A straight readout along X, evenly: its step (per metre, below 0: backwards), the sample at k_x = 0, its line along Y and Z. */
struct straight { double step, zero; long at[2]; };

static bool is_straight(struct straight *r, const float *k, long n, const double mm[3], int dims)
{
    *r = (struct straight){ .step = n > 1 ? ((double)k[3 * (n - 1)] - (double)k[0]) / (double)(n - 1) : 0 };
    if (!(fabs(r->step) * mm[0] / 1000 > 1e-3) || fabs(r->step) * mm[0] / 1000 > 1.01)
        return false;
    r->zero = -(double)k[0] / r->step;
    for (int d = 1; d < dims; d++) {
        double at = (double)k[d] * mm[d] / 1000;
        r->at[d - 1] = lround(at);
        if (!(mm[d] > 0) || fabs(at) > INT16_MAX || fabs(at - (double)r->at[d - 1]) > .05)
            return false;
        for (long i = 0; i < n; i++)
            if (fabs((double)k[3 * i + d] - (double)k[d]) * mm[d] / 1000 > .05)
                return false;
    }
    for (long i = 0; i < n; i++)
        if (fabs((double)k[3 * i] - (double)k[0] - (double)i * r->step) > .05 * fabs(r->step))
            return false;
    return r->zero > -.6 && r->zero < (double)n - .4;
}

/* Halves, which sampling at the middle of dwell times gives, go up, however they are rounded. */
static long nearest(double sample) { return (long)floor(sample + .51); }

/* Lines of a grid, all of which are as far apart along X. false: they are none. */
static bool on_grid(kr_placing *p, int dims, bool same)
{
    kr_encoding *enc = &p->s->enc;
    double step = 0;
    long low[2] = { 0 }, high[2] = { 0 }, row = 0;
    bool back = false;
    for (int pass = 0; pass < 2; pass++) {
        long half[2] = { 0 };
        for (int a = 0; pass && a < 2; a++) {
            long n = 2 * (-low[a] > high[a] + 1 ? -low[a] : high[a] + 1), have = same ? enc->encoded[a + 1] : 0;
            n = a + 1 >= dims ? 1 : have > n ? have : n;
            half[a] = n / 2;
            if (!same || n == 1 || enc->recon[a + 1] < 1)
                enc->recon[a + 1] = n;
            enc->encoded[a + 1] = n;
            enc->limit[a + 1].min = 0;
            enc->limit[a + 1].max = n - 1;
            enc->limit[a + 1].centre = half[a];
            enc->limit[a + 1].known = true;
        }
        for (long i = 0; i < p->plan.count; i++) {
            struct straight r;
            kr_line *l = &p->line[i];
            bool image = of_image(p->kind[i]);
            if (p->played[i] < 0 || (!image && !pass))
                continue;
            bool good = is_straight(&r, p->plan.played->k[p->played[i]], l->samples, enc->recon_mm, dims);
            if (!pass) {
                step = step > 0 ? step : fabs(r.step);
                if (!good || fabs(fabs(r.step) - step) > .01 * step)
                    return false;
                back = back || r.step < 0;
            }
            for (int a = 0; !pass && a < dims - 1; a++) {
                low[a] = r.at[a] < low[a] ? r.at[a] : low[a];
                high[a] = r.at[a] > high[a] ? r.at[a] : high[a];
            }
            if (!pass || !good)
                continue;
            l->flags |= r.step < 0 ? FLAG(REVERSE) : 0;
            l->center_sample = (uint16_t)(r.step < 0 ? l->samples - nearest((double)(l->samples - 1) - r.zero) : nearest(r.zero));
            l->ky = (uint16_t)(r.at[0] + half[0] > 0 ? r.at[0] + half[0] : 0);       /* what is no image may lie beyond */
            l->kz = (uint16_t)(r.at[1] + half[1] > 0 ? r.at[1] + half[1] : 0);
            if (image) {
                long need = l->center_sample > l->samples - l->center_sample ? 2L * l->center_sample : 2L * (l->samples - l->center_sample);
                row = need > row ? need : row;
            } else if (p->kind[i] == KR_LINES_NAVIGATION && back) {                  /* of an echo-planar scan they tell the ghost's phase */
                l->flags = (l->flags & ~FLAG(NAVIGATION)) | FLAG(PHASECORR);
                p->kind[i] = KR_LINES_PHASECORR;
            }
        }
    }
    enc->encoded[0] = row;
    enc->encoded_mm[0] = 1000 / step;
    if (!same || enc->recon[0] < 1)
        enc->recon[0] = lround((double)row * enc->recon_mm[0] / enc->encoded_mm[0]);
    enc->ramp = (kr_ramp){ .read_us = 0 };
    snprintf(enc->trajectory, sizeof enc->trajectory, "%s", back ? "epi" : "cartesian");
    return true;
}

/* Of lines along a path only those with as many samples as most are of the image. */
static long leave_out_others(kr_placing *p)
{
    long best = 0, most = 0, out = 0;
    for (long i = 0; i < p->plan.count && 2 * most < p->plan.count; i++) {
        long same = 0;
        for (long j = i; of_image(p->kind[i]) && p->line[i].samples != best && j < p->plan.count; j++)
            same += of_image(p->kind[j]) && p->line[j].samples == p->line[i].samples;
        if (same > most) {
            most = same;
            best = p->line[i].samples;
        }
    }
    for (long i = 0; i < p->plan.count; i++)
        if (p->played[i] >= 0 && of_image(p->kind[i]) && p->line[i].samples != best) {
            p->kind[i] = KR_LINES_DUMMY;
            p->line[i].flags = (p->line[i].flags & ~(FLAG(CALIB) | FLAG(CALIB_TOO))) | FLAG(DUMMY);
            out++;
        }
    return out;
}

int place_played(kr_placing *p)
{
    bool same = field_of_view(p);
    int dims = dimensions(p);
    long lines = 0, others = 0;
    p->s->by_sequence = true;
    if (on_grid(p, dims, same))
        p->dims = 0;
    else {
        others = leave_out_others(p);
        p->dims = dims;
        p->s->traj_unit = kr_traj_units[3];                  /* cycles per metre */
        snprintf(p->s->enc.trajectory, sizeof p->s->enc.trajectory, "other");
    }
    for (long i = 0; i < p->plan.count; i++)
        lines += of_image(p->kind[i]);
    kr_scan_note(p->s, "by the sequence, lines of images and calibration: %ld, %s", lines, p->dims ? "along their path" : "on a grid");
    if (others)
        kr_scan_note(p->s, "lines of another length than most, left out: %ld", others);
    return 0;
}
