/* test_gate.c: readouts of a heart and a chest that move by formula, sorted by what the scan says of them. */
#include "test.h"
#include "kray/trajectory.h"

enum { VIEWS = 2400, SAMPLES = 8, COILS = 3, TR_MS = 10 };

/* Beats 900 ms apart, give or take 5 %, but for one that comes early and one that is missed. */
static long beats(double at[64])
{
    long n = 0;
    for (double t = -300; t < VIEWS * TR_MS + 2000; n++) {
        at[n] = t;
        t += n == 7 ? 500 : n == 15 ? 1800 : 900 + 45 * sin(2.4 * (double)n);
    }
    return n;
}

/* Part of the beat at time t; -1: of a beat that is odd. */
static double part_at(const double *at, long n, double t)
{
    long b = 0;
    while (b + 1 < n && at[b + 1] <= t)
        b++;
    double length = at[b + 1] - at[b];
    return fabs(length / 900 - 1) > .25 ? -1 : (t - at[b]) / length;
}

static double chest_at(double t) { return sin(2 * M_PI * t / 4100); }

/* Sample 0 of every readout holds its number; the middle one, in the centre of k-space, what chest and heart do to it. */
static kr_scan *scan(bool stamps)
{
    double at[64];
    long n = beats(at);
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_SAMPLE] = SAMPLES, [KR_VIEW] = VIEWS, [KR_COIL] = COILS);
    s->data = kr_array_new(KR_C32, s->shape);
    s->traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = SAMPLES, [KR_VIEW] = VIEWS, [KR_CHAN] = 2));
    s->traj_unit = kr_traj_units[0];
    s->enc.encoded[0] = s->enc.encoded[1] = SAMPLES;
    s->lines[KR_LINES_IMAGING].line = kr_alloc_zero(VIEWS, sizeof(kr_line));
    s->lines[KR_LINES_IMAGING].count = VIEWS;
    for (long v = 0; v < VIEWS; v++) {
        double t = (double)v * TR_MS, a = 1.9 * (double)v;
        kr_line *l = &s->lines[KR_LINES_IMAGING].line[v];
        long b = 0;
        while (at[b + 1] <= t)
            b++;
        l->time_stamp = (uint32_t)lround(4000 + t / 2.5);
        l->physio[0] = stamps ? (uint32_t)lround((t - at[b]) / 2.5) : 0;
        for (long i = 0; i < SAMPLES; i++) {
            double r = (double)(i - SAMPLES / 2);
            KR_R(s->traj)[v * SAMPLES + i] = (float)(r * cos(a));
            KR_R(s->traj)[(VIEWS + v) * SAMPLES + i] = (float)(r * sin(a));
            for (long c = 0; c < COILS; c++) {
                double dc = 10 + (c == 1 ? -1 : .6) * chest_at(t) + 5 * sin(2 * M_PI * (t - at[b]) / 900) + .1 * sin(37. * (double)(v + 7 * c));
                KR_C(s->data)[(c * VIEWS + v) * SAMPLES + i] = kr_c(i == SAMPLES / 2 ? (float)dc : i ? 0 : (float)v, 0);
            }
        }
    }
    if (stamps)
        return s;
    /* An electrocardiogram of 400 Hz in pieces: R waves, T waves, a drifting base line. */
    enum { PIECE = 100, RATE_US = 2500 };
    s->waveforms = VIEWS * TR_MS / (PIECE * RATE_US / 1000) + 4;
    s->waveform = kr_alloc_zero((size_t)s->waveforms, sizeof *s->waveform);
    for (long w = 0; w < s->waveforms; w++) {
        s->waveform[w] = (kr_waveform){ .id = 0, .time_stamp = (uint32_t)(4000 - 400 + w * PIECE), .channels = 2, .samples = PIECE, .sample_time_us = RATE_US };
        s->waveform[w].data = kr_alloc_zero(2 * PIECE, sizeof(uint32_t));
        for (long i = 0; i < PIECE; i++) {
            double t = -1000 + (double)(w * PIECE + i) * 2.5, v = 2048 + 100 * sin(t / 700);
            for (long b = 0; b < n; b++)
                v += 900 * exp(-pow((t - at[b]) / 8, 2)) + 250 * exp(-pow((t - at[b] - 280) / 50, 2));
            s->waveform[w].data[i] = 2048;
            s->waveform[w].data[PIECE + i] = (uint32_t)lround(v);
        }
    }
    return s;
}

/* Every readout of a phase fell into it: to the rounding of time stamps (2.5 ms of 900), of R waves to two samples. */
static void phases(void **state)
{
    (void)state;
    double at[64];
    long n = beats(at);
    for (int stamps = 1; stamps >= 0; stamps--) {
        kr_scan *s = scan(stamps);
        if (kr_scan_gate(s, &(kr_gates){ 10, 0 }, NULL))
            fail_msg("%s", kr_error());
        assert_int_equal(s->shape.n[KR_PHASE], 10);
        assert_int_equal(s->shape.n[KR_TIME] > 1, 0);
        char seen[VIEWS] = { 0 };
        for (long p = 0; p < 10; p++)
            for (long v = 0; v < s->shape.n[KR_VIEW]; v++) {
                long number = lround((double)kr_re(KR_C(s->data)[p * s->data->step[KR_PHASE] + v * SAMPLES]));
                double part = part_at(at, n, (double)number * TR_MS), away = fmod(part - ((double)p + .5) / 10 + 1.5, 1) - .5;
                seen[number] = 1;
                if (part_at(at, n, (double)number * TR_MS - 4) < 0 || part_at(at, n, (double)number * TR_MS + 4) < 0)
                    continue;                                /* at the border of an odd beat, to the rounding of time stamps */
                if (part < 0 || fabs(away) > .05 + (stamps ? .004 : .008))
                    fail_msg("readout %ld, %.3f of its beat, is in phase %ld", number, part, p);
                assert_near((double)KR_R(s->traj)[p * s->traj->step[KR_PHASE] + v * SAMPLES], -4 * cos(1.9 * (double)number), 1e-4);
            }
        long missed = 0, odd = 0;
        for (long v = 0; v < VIEWS; v++) {
            odd += part_at(at, n, (double)v * TR_MS) < 0;
            missed += !seen[v];
        }
        assert_true(odd > 200 && missed >= odd - 4 && missed <= odd + 4);
        kr_scan_unref(&s);
    }
}

/* States of breathing are those of the chest, from one end to the other; with heart phases beside them. */
static void chest(void **state)
{
    (void)state;
    kr_scan *s = scan(true);
    assert_int_equal(kr_scan_gate(s, &(kr_gates){ 0, 4 }, NULL), 0);
    assert_int_equal(s->shape.n[KR_TIME], 4);
    assert_int_equal(s->shape.n[KR_VIEW], VIEWS / 4);
    double mean[4] = { 0 }, spread = 0;
    for (long b = 0; b < 4; b++)
        for (long v = 0; v < VIEWS / 4; v++)
            mean[b] += chest_at((double)kr_re(KR_C(s->data)[b * s->data->step[KR_TIME] + v * SAMPLES]) * TR_MS) / (VIEWS / 4);
    for (long b = 0; b < 4; b++)
        for (long v = 0; v < VIEWS / 4; v++)
            spread += pow(chest_at((double)kr_re(KR_C(s->data)[b * s->data->step[KR_TIME] + v * SAMPLES]) * TR_MS) - mean[b], 2) / VIEWS;
    double sign = mean[3] > mean[0] ? 1 : -1;
    for (long b = 0; b + 1 < 4; b++)
        assert_true(sign * (mean[b + 1] - mean[b]) > .3);
    assert_true(spread < .05);                               /* of .5 in all; sorted by the chest itself it is .024 */
    kr_scan_unref(&s);
    s = scan(true);
    assert_int_equal(kr_scan_gate(s, &(kr_gates){ 5, 3 }, NULL), 0);
    assert_int_equal(s->shape.n[KR_PHASE], 5);
    assert_int_equal(s->shape.n[KR_TIME], 3);
    kr_scan_unref(&s);
}

static void refusals(void **state)
{
    (void)state;
    kr_scan *s = scan(true);
    assert_true(kr_scan_gate(s, &(kr_gates){ 100, 20 }, NULL) < 0);
    assert_refused(KR_EREFUSED, "too few");
    for (long v = 0; v < VIEWS; v++)
        s->lines[KR_LINES_IMAGING].line[v].physio[0] = 0;
    assert_true(kr_scan_gate(s, &(kr_gates){ 10, 0 }, NULL) < 0);
    assert_refused(KR_EREFUSED, "this scan has neither");
    s->enc.encoded[0] = s->enc.encoded[1] = 4 * SAMPLES;
    for (long i = 0; i < 2 * VIEWS * SAMPLES; i++)
        KR_R(s->traj)[i] += i < VIEWS * SAMPLES ? 4 : 0;
    assert_true(kr_scan_gate(s, &(kr_gates){ 0, 4 }, NULL) < 0);
    assert_refused(KR_EREFUSED, "cross the centre");
    kr_array_unref(&s->traj);
    assert_true(kr_scan_gate(s, &(kr_gates){ 0, 4 }, NULL) < 0);
    assert_refused(KR_EUSAGE, "on a grid");
    kr_scan_unref(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(phases), cmocka_unit_test(chest), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
