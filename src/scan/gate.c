/* gate.c: readouts that went on while the heart beat and the chest moved, sorted into states of both. */
#include "trj.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double TICK_MS = 2.5;               /* of time stamps, as converters and scanners write them      */
static const double ODD = .25;                   /* beats that differ by more from the median interval do not count */
static const double REST_MS = 250;               /* after a heart beat none follows for so long                */
static const double HEART_MS = 900;              /* of a heart beat, where nothing tells                           */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n numbers, which are put in order. */
static double median(double *v, long n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : .5 * (v[n / 2 - 1] + v[n / 2]);
}

/* ---- When the heart beat ---- */
struct beats { double *at; long count; };        /* ms, in order */

/* From the time since the last trigger that came with each readout. */
static int from_stamps(struct beats *b, const kr_lines *l)
{
    b->at = kr_alloc((size_t)l->count, sizeof *b->at);
    if (!b->at)
        return kr_error_code();
    for (long i = 0; i < l->count; i++) {
        double at = ((double)l->line[i].time_stamp - (double)l->line[i].physio[0]) * TICK_MS;
        if (!b->count || at > b->at[b->count - 1] + REST_MS / 2)
            b->at[b->count++] = at;
    }
    return 0;
}

/* R waves of an electrocardiogram: where the slope of its steepest channel is largest, above half of what the steepest fiftieth of the samples
 * have. Source: after Pan and Tompkins, IEEE Trans Biomed Eng 32:230 (1985). */
static int from_waves(struct beats *b, const kr_scan *s)
{
    long n = 0, channels = 0, at = 0, best = 0;
    for (long i = 0; i < s->waveforms; i++)
        if (s->waveform[i].id == 0) {
            n += s->waveform[i].samples;
            channels = s->waveform[i].channels;
        }
    if (n < 8 || !channels)
        return 0;
    channels = channels > 4 ? 4 : channels;                  /* a fifth one marks triggers */
    kr_auto double *time = kr_alloc((size_t)n, sizeof *time), *x = kr_alloc((size_t)n, sizeof *x), *steep = kr_alloc((size_t)n, sizeof *steep),
                   *ranked = kr_alloc((size_t)n, sizeof *ranked);
    b->at = kr_alloc((size_t)n, sizeof *b->at);
    if (!time || !x || !steep || !ranked || !b->at)
        return kr_error_code();
    double most = -1;
    for (long c = 0; c <= channels; c++) {                   /* the last turn: the best one again */
        long use = c < channels ? c : best;
        at = 0;
        for (long i = 0; i < s->waveforms; i++) {
            const kr_waveform *w = &s->waveform[i];
            for (long k = 0; w->id == 0 && use < w->channels && k < w->samples; k++, at++) {
                time[at] = (double)w->time_stamp * TICK_MS + (double)k * (double)w->sample_time_us / 1000;
                x[at] = (double)w->data[use * w->samples + k];
            }
        }
        double sum = 0;
        for (long i = 0; i < at; i++) {
            steep[i] = i >= 2 && i + 2 < at ? pow(x[i + 2] - x[i - 2], 2) : 0;
            ranked[i] = steep[i];
            sum += steep[i];
        }
        if (!at)
            continue;
        qsort(ranked, (size_t)at, sizeof *ranked, ascending);
        double peaked = sum > 0 ? ranked[at - 1 - at / 50] * (double)at / sum : 0;
        if (c < channels && peaked > most) {
            most = peaked;
            best = c;
        }
    }
    double threshold = at ? .5 * ranked[at - 1 - at / 50] : 0;
    for (long i = 0; i < at && threshold > 0; i++) {
        if (steep[i] < threshold)
            continue;
        long peak = i;
        for (long k = i; k < at && time[k] < time[i] + REST_MS / 2; k++)
            peak = steep[k] > steep[peak] ? k : peak;
        b->at[b->count++] = time[peak];
        while (i + 1 < at && time[i + 1] < time[peak] + REST_MS)
            i++;
    }
    return 0;
}

/* Part 0..1 of the beat in which a readout fell; -1: of a beat that does not count, or outside of what is known. */
static double part_of(const struct beats *b, const double *length, double usual, double at)
{
    long low = 0, high = b->count - 1;
    if (!b->count || at < b->at[0])
        return -1;
    while (low < high) {
        long mid = (low + high + 1) / 2;
        if (b->at[mid] <= at)
            low = mid;
        else
            high = mid - 1;
    }
    double part = (at - b->at[low]) / (low + 1 < b->count ? length[low] : usual);
    return fabs(length[low] / usual - 1) > ODD || part >= 1 ? -1 : part;
}

static int heart(double *part, double *interval, const kr_scan *s, const kr_trace *trace)
{
    const kr_lines *l = &s->lines[KR_LINES_IMAGING];
    struct beats b = { .count = 0 };
    bool stamped = false;
    for (long i = 1; i < l->count; i++)
        stamped |= l->line[i].physio[0] != l->line[0].physio[0];
    int e = stamped ? from_stamps(&b, l) : from_waves(&b, s);
    kr_auto double *length = e || b.count < 3 ? NULL : kr_alloc((size_t)b.count, sizeof *length);
    kr_auto double *ranked = length ? kr_alloc((size_t)b.count, sizeof *ranked) : NULL;
    if (!e && b.count < 3)
        e = kr_fail(KR_EREFUSED, "heart phases want the time since the last beat with each readout (physiology_time_stamp) or an electrocardiogram, and at least three beats; "
                    "this scan has %s", b.count ? "fewer" : "neither");
    else if (!e && !ranked)
        e = kr_error_code();
    if (!e) {
        long odd = 0;
        for (long i = 0; i + 1 < b.count; i++)
            ranked[i] = length[i] = b.at[i + 1] - b.at[i];
        double usual = median(ranked, b.count - 1);
        length[b.count - 1] = usual;
        *interval = usual;
        for (long i = 0; i + 1 < b.count; i++)
            odd += fabs(length[i] / usual - 1) > ODD;
        for (long i = 0; i < l->count; i++)
            part[i] = part_of(&b, length, usual, (double)l->line[i].time_stamp * TICK_MS);
        kr_say(trace, KR_INFO, "heart: %ld beats by %s, %.0f ms apart; %ld beats that are more than %.0f %% longer or shorter are left out", b.count,
               stamped ? "time stamps" : "the electrocardiogram", usual, odd, 100 * ODD);
    }
    kr_free(b.at);
    return e;
}

/* ---- How far the chest had moved ---- */
/* The mean of x over 2 half + 1 neighbours. */
static void moving_average(double *to, const double *x, long n, long half)
{
    for (long v = 0; v < n; v++) {
        double sum = 0, count = 0;
        for (long o = v - half; o <= v + half; o++)
            if (o >= 0 && o < n) {
                sum += x[o];
                count++;
            }
        to[v] = sum / count;
    }
}

/* The centre of k-space of every readout, all coils: their common change, over two moving averages of one heart beat, of which the heart itself leaves next to nothing. Source:
 * Feng et al., Magn Reson Med 75:775 (2016). */
static int breathing(double *chest, long slice, double beat_ms, const kr_array *y, const kr_array *k, const kr_line *const *line)
{
    long n = k->n[KR_SAMPLE], views = k->n[KR_VIEW], coils = y->n[KR_COIL];
    kr_auto double *dc = kr_alloc((size_t)(views * coils), sizeof *dc), *smooth = kr_alloc((size_t)(views * coils), sizeof *smooth), *w = kr_alloc((size_t)coils, sizeof *w);
    if (!dc || !smooth || !w)
        return kr_error_code();
    for (long v = 0; v < views; v++) {
        double least = HUGE_VAL;
        long at = 0;
        for (long i = 0; i < n; i++) {
            double r = 0;
            for (long d = 0; d < k->n[KR_CHAN]; d++)
                r += pow((double)KR_R(k)[d * k->step[KR_CHAN] + v * n + i], 2);
            if (r < least) {
                least = r;
                at = i;
            }
        }
        if (least > 1)
            return kr_fail(KR_EREFUSED, "breathing shows where readouts cross the centre of k-space: readout %ld of slice %ld stays %.3g cycles away", v, slice, sqrt(least));
        for (long c = 0; c < coils; c++)
            dc[c * views + v] = sqrt((double)kr_cabs2(KR_C(y)[(c * views + v) * n + at]));
    }
    double between = line && views > 1 ? ((double)line[views - 1]->time_stamp - (double)line[0]->time_stamp) * TICK_MS / (double)(views - 1) : 0;
    long half = between > 0 ? lround(beat_ms / between / 2) : 2;
    half = half > views / 8 ? views / 8 : half;
    for (long c = 0; c < coils; c++) {
        double mean = 0, *own = dc + c * views, *to = smooth + c * views;
        for (long v = 0; v < views; v++)
            mean += own[v] / (double)views;
        moving_average(to, own, views, half);
        moving_average(own, to, views, half);
        for (long v = 0; v < views; v++)
            to[v] = own[v] - mean;
        w[c] = 1;
    }
    for (int turn = 0; turn < 50; turn++) {                  /* the first principal component, by power iteration */
        double size = 0;
        for (long v = 0; v < views; v++) {
            chest[v] = 0;
            for (long c = 0; c < coils; c++)
                chest[v] += w[c] * smooth[c * views + v];
        }
        for (long c = 0; c < coils; c++) {
            w[c] = 0;
            for (long v = 0; v < views; v++)
                w[c] += chest[v] * smooth[c * views + v];
            size += w[c] * w[c];
        }
        for (long c = 0; c < coils && size > 0; c++)
            w[c] /= sqrt(size);
    }
    return 0;
}

/* ---- Sorting ---- */
struct ranked { double chest; long view; };
static int by_chest(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->chest < y->chest ? -1 : x->chest > y->chest ? 1 : (x->view > y->view) - (x->view < y->view);
}

/* Readouts of one slice, each in one of phases x states; -1: none. */
static int bins_of(long *bin, const kr_scan *s, const kr_gates *g, long slice, double beat_ms, const double *part, const kr_line *const *line)
{
    kr_scoped(array) y0 = kr_array_at(s->data, KR_SLICE, slice);
    kr_scoped(array) k0 = s->traj->n[KR_SLICE] > 1 ? kr_array_at(s->traj, KR_SLICE, slice) : kr_array_ref(s->traj);
    kr_scoped(array) y = y0 ? kr_array_packed(y0) : NULL;
    kr_scoped(array) k = k0 ? kr_array_packed(k0) : NULL;
    long views = s->shape.n[KR_VIEW];
    kr_auto double *chest = kr_alloc((size_t)views, sizeof *chest);
    kr_auto struct ranked *ranked = kr_alloc((size_t)views, sizeof *ranked);
    if (!y || !k || !chest || !ranked || (g->breathing > 1 && breathing(chest, slice, beat_ms, y, k, line)))
        return kr_error_code();
    for (long v = 0; v < views; v++)
        ranked[v] = (struct ranked){ g->breathing > 1 ? chest[v] : 0, v };
    qsort(ranked, (size_t)views, sizeof *ranked, by_chest);
    if (g->breathing > 1 && !(ranked[views - 1].chest > ranked[0].chest))
        return kr_fail(KR_EREFUSED, "the centre of k-space is the same in all readouts of slice %ld: nothing tells of breathing", slice);
    for (long i = 0; i < views; i++) {
        long v = ranked[i].view, phase = g->phases > 1 ? part[v] < 0 ? -1 : (long)(part[v] * (double)g->phases) : 0,
             state = g->breathing > 1 ? i * g->breathing / views : 0;
        bin[v] = phase < 0 ? -1 : phase + (g->phases > 1 ? g->phases : 1) * state;
    }
    return 0;
}

/* VIEW of `a` in the order of `from`, M to each bin; PHASE and TIME become axes. */
static kr_array *sorted(const kr_array *a, const long *from, long M, long phases, long states, long slices)
{
    kr_shape shape = kr_array_shape(a);
    shape.n[KR_VIEW] = M;
    shape.n[KR_PHASE] = phases;
    shape.n[KR_TIME] = states;
    shape.n[KR_SLICE] = slices;
    kr_array *out = kr_array_new(a->type, shape);
    long frames = phases * states;
    for (long i = 0; out && i < slices * frames * M; i++) {
        long slice = i / (frames * M), f = i / M % frames;
        const kr_array *const whole[2] = { a, out };
        kr_array *one[2];
        for (int w = 0; w < 2; w++) {
            const long at[4] = { w ? slice : a->n[KR_SLICE] > 1 ? slice : 0, w ? f % phases : 0, w ? f / phases : 0, w ? i % M : from[i] };
            static const int axis[4] = { KR_SLICE, KR_PHASE, KR_TIME, KR_VIEW };
            one[w] = kr_array_ref((kr_array *)whole[w]);
            for (int d = 0; one[w] && d < 4; d++) {
                kr_array *next = kr_array_at(one[w], axis[d], at[d]);
                kr_array_unref(&one[w]);
                one[w] = next;
            }
        }
        if (one[0] && one[1])
            kr_array_assign(one[1], one[0]);
        else
            kr_array_unref(&out);
        kr_array_unref(&one[0]);
        kr_array_unref(&one[1]);
    }
    return out;
}

int kr_scan_gate(kr_scan *s, const kr_gates *g, const kr_trace *trace)
{
    long views = s->shape.n[KR_VIEW], slices = s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1, phases = g->phases > 1 ? g->phases : 1,
         states = g->breathing > 1 ? g->breathing : 1, frames = phases * states;
    const kr_lines *l = &s->lines[KR_LINES_IMAGING];
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--phases and --breathing are for scans along a trajectory; this one is on a grid");
    for (int d = 0; d < KR_AXES; d++)
        if (s->shape.n[d] > 1 && d != KR_SAMPLE && d != KR_VIEW && d != KR_COIL && d != KR_SLICE)
            return kr_fail(KR_EREFUSED, "readouts are sorted by heart and breathing where all of a slice went on without a break; this scan has %ld of %s", s->shape.n[d], kr_axis_name(d));
    if (frames > views / 2)
        return kr_fail(KR_EREFUSED, "%ld readouts are too few for %ld heart phases times %ld states of breathing", views, phases, states);
    if (kr_scan_trajectory(s, NULL))
        return kr_error_code();
    bool timed = l->count == views * slices;
    if (phases > 1 && !timed)
        return kr_fail(KR_EREFUSED, "heart phases want the time of each readout, as ISMRMRD files and streams have it");
    double beat_ms = HEART_MS;
    kr_auto double *all = kr_alloc((size_t)(l->count + 1), sizeof *all), *part = kr_alloc((size_t)views, sizeof *part);
    kr_auto const kr_line **line = kr_alloc((size_t)views, sizeof *line);
    kr_auto long *bin = kr_alloc((size_t)(views * slices), sizeof *bin), *count = kr_alloc_zero((size_t)(frames * slices), sizeof *count);
    if (!all || !part || !line || !bin || !count || (phases > 1 && heart(all, &beat_ms, s, trace)))
        return kr_error_code();
    long most = 0, left = 0;
    for (long z = 0; z < slices; z++) {
        long v = 0;
        for (long i = 0; timed && i < l->count && v < views; i++)
            if (slices == 1 || l->line[i].slice == z) {
                line[v] = &l->line[i];
                part[v++] = all[i];
            }
        if (timed && v < views)
            return kr_fail(KR_EREFUSED, "slice %ld has times of %ld of its %ld readouts", z, v, views);
        if (bins_of(bin + z * views, s, g, z, beat_ms, part, timed ? line : NULL))
            return kr_error_code();
        for (v = 0; v < views; v++) {
            left += bin[z * views + v] < 0;
            if (bin[z * views + v] >= 0) {
                long *c = &count[z * frames + bin[z * views + v]];
                most = ++*c > most ? *c : most;
            }
        }
    }
    for (long i = 0; i < frames * slices; i++)
        if (!count[i])
            return kr_fail(KR_EREFUSED, "no readout fell into heart phase %ld of %ld and state %ld of %ld of breathing: take fewer", i % phases, phases, i / phases % states, states);
    long fewest = most;
    for (long i = 0; i < frames * slices; i++)
        fewest = count[i] < fewest ? count[i] : fewest;
    /* Frames of fewer readouts than others have some of them twice, which the density weights take into account. */
    kr_auto long *from = kr_alloc((size_t)(slices * frames * most), sizeof *from);
    if (!from)
        return kr_error_code();
    for (long i = 0; i < slices * frames; i++) {
        long have = 0;
        for (long v = 0; v < views; v++)
            if (bin[i / frames * views + v] == i % frames)
                from[i * most + have++] = v;
        for (long k = have; k < most; k++)
            from[i * most + k] = from[i * most + k - have];
    }
    bool moving = s->traj->n[KR_SLICE] > 1 || slices > 1;
    kr_scoped(array) data = sorted(s->data, from, most, phases, states, slices);
    kr_scoped(array) traj = data ? sorted(s->traj, from, most, phases, states, moving ? slices : 1) : NULL;
    if (!traj)
        return kr_error_code();
    kr_say(trace, KR_INFO, "%ld heart phase%s x %ld state%s of breathing, %ld to %ld readouts each; %ld of %ld readouts left out", phases, phases == 1 ? "" : "s", states,
           states == 1 ? "" : "s", fewest, most, left, views * slices);
    kr_trj_replace(s, data, traj);
    return 0;
}
