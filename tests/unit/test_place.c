/* test_place.c: lines with arbitrary heads: whatever they say, they are placed or refused; what was placed can be written as
 * ISMRMRD and read back, number by number. */
#include "test.h"
#include "kray/io.h"

enum { LINES = 40, CHANNELS = 2, SAMPLES = 16 };

static uint64_t dice(uint64_t seed, uint64_t *i, uint64_t sides) { return kr_rand_bits(seed, 9, (*i)++) % sides; }

/* Mostly sensible heads, with some of every kind of nonsense among them. */
static kr_line random_line(uint64_t seed, uint64_t *i, bool wild)
{
    static const int flag[] = { 0, 0, 0, 0, 0, 0, 19, 20, 20, 21, 21, 22, 23, 24, 26, 27, 28, 29, 30 };
    int f = flag[dice(seed, i, sizeof flag / sizeof *flag)];
    kr_line l = { .flags = f ? 1ull << (f - 1) : 0, .samples = 8, .channels = CHANNELS, .center_sample = 4, .counter = (uint32_t)*i };
    l.ky = (uint16_t)dice(seed, i, 8);
    l.kz = (uint16_t)dice(seed, i, 2);
    l.slice = (uint16_t)dice(seed, i, 2);
    l.repetition = (uint16_t)dice(seed, i, 2);
    l.contrast = (uint16_t)dice(seed, i, 2);
    l.position[2] = 3.f * l.slice;
    l.read_dir[0] = l.phase_dir[1] = l.slice_dir[2] = 1;
    if (wild && !dice(seed, i, 3)) {
        l.samples = (uint16_t)dice(seed, i, SAMPLES + 1);
        l.center_sample = (uint16_t)dice(seed, i, 20);
        l.discard_pre = (uint16_t)dice(seed, i, 6);
        l.discard_post = (uint16_t)dice(seed, i, 12);
        l.encoding = (uint16_t)dice(seed, i, 3);
        l.average = (uint16_t)dice(seed, i, 3);
        l.segment = (uint16_t)dice(seed, i, 3);
        l.ky = (uint16_t)dice(seed, i, 12);
        l.flags |= dice(seed, i, 2) << 21;
        l.channels = (uint16_t)(CHANNELS + !dice(seed, i, 40));
        l.position[2] = dice(seed, i, 9) ? -5.f * l.slice : NAN;
        l.slice_dir[2] = (float)dice(seed, i, 2);
    }
    return l;
}

static kr_scan *placed(uint64_t seed, bool wild)
{
    static kr_cfloat number[LINES][(CHANNELS + 1) * SAMPLES];
    const kr_cfloat *samples[LINES];
    kr_line line[LINES];
    uint64_t i = 0;
    kr_encoding enc[2] = { { .encoded = { 8, 8, 2 }, .encoded_mm = { 80, 80, 20 } }, { .encoded = { 8, 6, 1 } } };
    long count = 1 + (long)dice(seed, &i, LINES);
    for (int a = 0; a < 3; a++)
        enc[0].limit[a].known = dice(seed, &i, 2), enc[0].limit[a].centre = (long)dice(seed, &i, 6);
    for (long k = 0; k < count; k++) {
        line[k] = random_line(seed, &i, wild);
        for (long n = 0; n < (CHANNELS + 1) * SAMPLES; n++)
            number[k][n] = kr_c((float)(k + 1), (float)n);
        samples[k] = number[k];
    }
    kr_scan *s = kr_scan_new();
    assert_non_null(s);
    s->enc = enc[0];
    kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, count, enc, 2, false, 0, 0, NULL });
    if (!p)
        kr_scan_unref(&s);
    else
        for (long k = 0; k < count; k += 7)                  /* in pieces */
            assert_int_equal(kr_placing_put(p, k, count - k < 7 ? count - k : 7, samples + k, NULL), 0);
    if (p)
        assert_int_equal(kr_placing_end(&p), 0);
    else {
        assert_true(strlen(kr_error()) > 10);
        kr_error_clear();
    }
    return s;
}

/* The same numbers. An axis that only lines made longer which were left out later comes back shorter: that is the same, too. */
static void assert_same(const kr_array *a, const kr_array *b)
{
    assert_int_equal(!a, !b);
    if (!a)
        return;
    kr_scoped(array) c = kr_array_crop(b, KR_X, a->n[KR_X]);
    if (a->n[KR_AVG] < b->n[KR_AVG]) {
        kr_array *first = kr_array_range(c, KR_AVG, 0, a->n[KR_AVG]);
        kr_array_unref(&c);
        c = first;
    }
    long planes = c->n[KR_Z];
    for (long z = 0; a->n[KR_Z] == 1 && planes > 1 && z < planes; z++) {         /* only one plane was left: no depth */
        kr_array *plane = kr_array_at(c, KR_Z, z);
        if (kr_norm(plane) > 0 || (z == planes - 1 && c->n[KR_Z] > 1)) {
            kr_array_unref(&c);
            c = plane;
            break;
        }
        kr_array_unref(&plane);
    }
    assert_string_equal(kr_shape_text(kr_array_shape(a)), kr_shape_text(kr_array_shape(c)));
    kr_scoped(array) d = kr_array_copy(a);
    kr_axpy(d, -1, c);
    assert_near(kr_max_abs(d), 0, 0);
    assert_near(kr_norm(b), kr_norm(a), 1e-6 * kr_norm(a));  /* nothing was cropped away: a sum in another order */
}

/* Every imaging sample is where formula and mask say, and nowhere else. */
static void test_sums(void **state)
{
    (void)state;
    long done = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        kr_scan *s = placed(seed, false);
        if (!s)
            continue;
        done++;
        kr_scoped(array) mask = s->mask ? kr_array_ref(s->mask) : kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
        if (!s->mask)
            kr_fill(mask, 1);
        kr_scoped(array) full = kr_array_spread(mask, s->shape);
        kr_scoped(array) m = kr_array_copy(full);
        for (long i = 0; i < kr_count(s->shape); i++)        /* all samples have a real part of at least 1 */
            assert_int_equal(kr_re(KR_C(s->data)[i]) > 0, KR_R(m)[i] > 0);
        assert_int_equal(kr_scan_check(s), 0);
        kr_scan_unref(&s);
    }
    assert_true(done > 100);
}

static void test_wild(void **state)
{
    (void)state;
    long done = 0;
    char path[64];
    snprintf(path, sizeof path, "%s/kray-test-%ld-place.mrd", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (long)getpid());
    for (uint64_t seed = 1000; seed < 1100; seed++) {
        kr_scan *s = placed(seed, true), *back = NULL;
        if (!s)
            continue;
        done++;
        if (kr_scan_write(s, path, NULL) || kr_scan_read(&back, path, NULL, NULL, NULL))
            fail_msg("seed %llu: %s", (unsigned long long)seed, kr_error());
        assert_same(back->data, s->data);
        assert_same(back->mask, s->mask);
        assert_same(back->noise, s->noise);
        assert_same(back->calib, s->calib);
        for (int k = 0; k < KR_LINES_KINDS; k++)
            if (k != KR_LINES_IMAGING && k != KR_LINES_CALIB && k != KR_LINES_NOISE)
                assert_same(back->lines[k].data, s->lines[k].data);
        kr_scan_unref(&back);
        kr_scan_unref(&s);
    }
    unlink(path);
    assert_true(done > 40);
}

/* A sequence of noise, a dummy, and 6 lines of a grid of 8 x 6 at 100 mm, every second measured backwards; turned by `angle`: lines of no grid. */
enum { PLAYED = 8, TIMES = 2 };
static kr_line played_line[PLAYED];
static float played_at[PLAYED][3 * 8], *played_k[PLAYED];
static kr_played play(double angle)
{
    for (int i = 0; i < PLAYED; i++) {
        played_line[i] = (kr_line){ .samples = 8, .dwell_us = 5, .flags = i == 0 ? 1ull << 18 : i == 1 ? 1ull << 26 : 0 };
        played_k[i] = played_at[i];
        for (int n = 0; n < 8; n++) {
            double x = 10 * (i % 2 ? 3.5 - n : n - 3.5), y = 10 * (i - 2 - 3);
            played_at[i][3 * n] = (float)(cos(angle) * x - sin(angle) * y);
            played_at[i][3 * n + 1] = (float)(sin(angle) * x + cos(angle) * y);
            played_at[i][3 * n + 2] = 0;
        }
    }
    return (kr_played){ PLAYED, played_line, played_k, { 100, 100, 5 } };
}

/* Lines that say nothing of themselves, after one of noise that the scanner measured itself; line i holds i + 1, sample n has the imaginary part n. */
static kr_scan *by_sequence(const kr_played *s, long lines)
{
    static kr_cfloat number[1 + TIMES * PLAYED][8];
    const kr_cfloat *samples[1 + TIMES * PLAYED];
    kr_line line[1 + TIMES * PLAYED];
    kr_encoding enc = { .encoded = { 64, 64, 1 }, .recon_mm = { 300, 300, 5 }, .trajectory = "cartesian" };
    for (long i = 0; i < lines; i++) {
        line[i] = (kr_line){ .samples = 8, .channels = 1, .flags = i ? 1ull << 24 : 1ull << 18, .ky = 3, .counter = (uint32_t)i };
        for (int n = 0; n < 8; n++)
            number[i][n] = kr_c((float)(i + 1), (float)n);
        samples[i] = number[i];
    }
    kr_scan *t = kr_scan_new();
    t->enc = enc;
    kr_placing *p = kr_placing_new(t, &(kr_placing_plan){ line, lines, &enc, 1, false, 0, 0, s });
    if (!p)
        kr_scan_unref(&t);
    else if (kr_placing_put(p, 0, lines, samples, NULL) || kr_placing_end(&p))
        fail_msg("%s", kr_error());
    return t;
}

static void test_played(void **state)
{
    (void)state;
    kr_played s = play(0);
    kr_scoped(scan) t = by_sequence(&s, 1 + TIMES * PLAYED);
    if (!t)
        fail_msg("%s", kr_error());
    assert_true(t->by_sequence);
    assert_null(t->traj);
    assert_string_equal(kr_shape_text(t->shape), "{x=8 y=6 time=2}");
    assert_string_equal(t->enc.trajectory, "epi");
    assert_near(t->enc.encoded_mm[0], 100, 1e-3);
    assert_int_equal(t->lines[KR_LINES_NOISE].count, 1 + TIMES);
    assert_int_equal(t->lines[KR_LINES_DUMMY].count, TIMES);
    for (long time = 0; time < TIMES; time++)
        for (long y = 0; y < 6; y++)
            for (long x = 0; x < 8; x++) {
                kr_cfloat v = KR_C(t->data)[(time * 6 + y) * 8 + x];
                assert_near((double)kr_re(v), (double)(1 + time * PLAYED + 2 + y + 1), 0);
                assert_near((double)kr_im(v), (double)(y % 2 ? 7 - x : x), 0);
            }
    for (long i = 0; i < t->lines[KR_LINES_IMAGING].count; i++)
        assert_true(t->lines[KR_LINES_IMAGING].line[i].flags >> 24 & 1);     /* what is no kind stays */

    s = play(.3);
    kr_scoped(scan) turned = by_sequence(&s, 1 + PLAYED);
    if (!turned)
        fail_msg("%s", kr_error());
    assert_string_equal(kr_shape_text(turned->shape), "{sample=8 view=6}");
    assert_string_equal(turned->traj_unit, "1/m");
    assert_int_equal(turned->traj->n[KR_CHAN], 2);
    for (long v = 0; v < 6; v++)
        for (long n = 0; n < 8; n++) {
            assert_near((double)kr_im(KR_C(turned->data)[8 * v + n]), (double)n, 0);
            for (long d = 0; d < 2; d++)
                assert_near((double)KR_R(turned->traj)[(d * 6 + v) * 8 + n], (double)played_at[2 + v][3 * n + d], 0);
        }
    assert_int_equal(kr_scan_trajectory(turned, NULL), 0);
    assert_int_equal(turned->enc.encoded[0], 10);                             /* corners reach to 4.2 cycles */

    assert_null(by_sequence(&s, 3));
    assert_non_null(strstr(kr_error(), "no multiple"));
    kr_error_clear();
    played_line[4].samples = 6;
    assert_null(by_sequence(&s, 1 + PLAYED));
    assert_non_null(strstr(kr_error(), "line 5 of the file has 8 samples, readout 4 of the sequence 6"));
    kr_error_clear();
}

/* Three planes, interleaved: by slice counters, by places alone, by directions alone; a plane moved from repetition to repetition is one slice. */
static void by_place(void **state)
{
    (void)state;
    enum { NY = 8, PLANES = 3 };
    for (int how = 0; how < 4; how++) {
        kr_line line[NY * PLANES];
        static kr_cfloat number[NY * PLANES][8];
        const kr_cfloat *samples[NY * PLANES];
        kr_encoding enc = { .encoded = { 8, NY, 1 }, .encoded_mm = { 80, 80, 5 } };
        for (int i = 0; i < NY * PLANES; i++) {
            int plane = (i + 1) % PLANES;                    /* measured in the order 1 2 0 */
            line[i] = (kr_line){ .samples = 8, .channels = 1, .center_sample = 4, .ky = (uint16_t)(i / PLANES), .read_dir = { 1 }, .phase_dir = { 0, 1 }, .slice_dir = { 0, 0, 1 } };
            line[i].slice = (uint16_t)(how == 0 ? plane : 0);
            line[i].repetition = (uint16_t)(how == 3 ? plane : 0);
            if (how == 2)
                for (int d = 0; d < 3; d++)
                    line[i].slice_dir[d] = d == plane;
            else
                line[i].position[2] = 6.f * (float)plane - 4;
            for (int x = 0; x < 8; x++)
                number[i][x] = kr_c((float)(plane + 1), (float)x);
            samples[i] = number[i];
        }
        kr_scan *s = kr_scan_new();
        s->enc = enc;
        kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, NY * PLANES, &enc, 1, false, 0, 0, NULL });
        assert_non_null(p);
        assert_int_equal(kr_placing_put(p, 0, NY * PLANES, samples, NULL), 0);
        assert_int_equal(kr_placing_end(&p), 0);
        assert_int_equal(s->shape.n[KR_SLICE], how == 3 ? 1 : PLANES);
        assert_int_equal(s->shape.n[KR_TIME], how == 3 ? PLANES : 1);
        for (int k = 0; k < PLANES; k++) {
            int want = how == 2 ? (k + 1) % PLANES : k;      /* in space; of turned planes as they come */
            assert_true(kr_re(KR_C(s->data)[k * s->data->step[how == 3 ? KR_TIME : KR_SLICE]]) == (float)(want + 1));
            if (how < 2)
                assert_near(s->geom->position_mm[k][2], 6 * k - 4, 1e-5);
        }
        assert_int_equal(s->notes.s && strstr(s->notes.s, "told apart by place"), how == 1 || how == 2);
        assert_int_equal(s->notes.s && strstr(s->notes.s, "warning: 2 of 3 slices are turned"), how == 2);
        kr_scan_unref(&s);
    }
}

static kr_scan *plain(const kr_line *line, long count, const kr_encoding *enc)
{
    static kr_cfloat number[8];
    const kr_cfloat *samples[64];
    kr_scan *s = kr_scan_new();
    s->enc = *enc;
    for (long i = 0; i < 8; i++)
        number[i] = kr_c(1, (float)i);
    for (long i = 0; i < count; i++)
        samples[i] = number;
    kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, count, enc, 1, false, 0, 0, NULL });
    assert_non_null(p);
    assert_int_equal(kr_placing_put(p, 0, count, samples, NULL), 0);
    assert_int_equal(kr_placing_end(&p), 0);
    return s;
}

/* Headers that leave the centre at 0 put it there only where lines then fit; slices without a line count as no undersampling. */
static void unset_centres(void **state)
{
    (void)state;
    kr_line line[48];
    for (int full = 0; full < 2; full++) {
        kr_encoding enc = { .encoded = { 8, 16, 1 }, .encoded_mm = { 80, 80, 5 }, .limit = { [1] = { .known = true, .max = 15, .centre = 0 } } };
        for (int i = 0; i < 16; i++)
            line[i] = (kr_line){ .samples = 8, .channels = 1, .center_sample = 4, .ky = (uint16_t)i, .read_dir = { 1 }, .phase_dir = { 0, 1 }, .slice_dir = { 0, 0, 1 } };
        kr_scoped(scan) s = plain(line, full ? 16 : 8, &enc);    /* half of the lines from the centre on are half of k-space */
        assert_int_equal(s->mask == NULL, full);
        assert_int_equal(s->notes.s && strstr(s->notes.s, "warning: the header puts the centre of k-space at line 0 along y, the first, and lines up to 15"), full);
        assert_true(full || kr_re(KR_C(s->data)[8 * s->data->step[KR_Y]]) == 1);
    }
    kr_encoding enc = { .encoded = { 8, 16, 1 }, .encoded_mm = { 80, 80, 5 } };
    for (int i = 0; i < 32; i++)
        line[i] = (kr_line){ .samples = 8, .channels = 1, .center_sample = 4, .ky = (uint16_t)(i % 16), .slice = (uint16_t)(i / 16 * 2), .position = { 0, 0, (float)(i / 16) * 10 }, .read_dir = { 1 },
                             .phase_dir = { 0, 1 }, .slice_dir = { 0, 0, 1 } };
    kr_scoped(scan) s = plain(line, 32, &enc);
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_mask_facts f;
    assert_true(mask && s->shape.n[KR_SLICE] == 3);
    assert_int_equal(kr_mask_describe(&f, mask, s->shape), 0);
    assert_true(f.full);
    assert_non_null(strstr(s->notes.s, "warning: of 1 of 3 slices no line was measured"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sums), cmocka_unit_test(test_wild), cmocka_unit_test(test_played), cmocka_unit_test(by_place), cmocka_unit_test(unset_centres) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
