/* test_job.c: the street from a file to an image: library and command alike, jobs side by side, slice by slice, kept maps. */
#include <pthread.h>
#include "files.h"
#include "kray/fourier.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "netweights.h"

enum { FULL, BANDS, SERIES, SCANS };
enum { LISTED = 64 };
static const char *scan_path[SCANS], *weights_path[LISTED];

/* A small scan: 4 slices, or 4 measured two at a time, or a series of 4 frames. */
static void make(int which, const char *path)
{
    kr_scoped(scan) s = NULL;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 32;
    how.slices = which == SERIES ? 1 : 4;
    how.coils = 4;
    how.noise_scan = true;
    how.oversampling = which == FULL;
    how.multiband = how.shift = which == BANDS ? 2 : 0;
    assert_int_equal(kr_phantom_named("shepplogan")->measure(&s, &how, NULL), 0);
    if (which == SERIES) {
        kr_shape shape = s->shape;
        shape.n[KR_TIME] = 4;
        kr_array *all = kr_array_new(KR_C32, shape);
        for (int t = 0; t < 4; t++) {
            kr_scoped(array) at = kr_array_at(all, KR_TIME, t);
            kr_array_assign(at, s->data);
            kr_scale(at, 1 + 0.1f * (float)t);
        }
        kr_array_unref(&s->data);
        s->data = kr_array_packed(all);
        s->shape = shape;
        kr_array_unref(&all);
    }
    assert_int_equal(kr_scan_write(s, path, NULL), 0);
}

static int setup(void **state)
{
    (void)state;
    static char name[SCANS + LISTED][512];
    for (int i = 0; i < SCANS; i++) {
        char file[32];
        snprintf(file, sizeof file, "scan%d.h5", i);
        scan_path[i] = strcpy(name[i], scratch(file));
        make(i, scan_path[i]);
    }
    assert_true(kinds() <= LISTED);
    for (int i = 0; i < kinds(); i++) {
        char file[32];
        snprintf(file, sizeof file, "net%d.safetensors", i);
        weights_path[i] = strcpy(name[SCANS + i], scratch(file));
        kr_weights *w = small(i);
        assert_int_equal(kr_weights_write(w, weights_path[i]), 0);
        kr_weights_unref(&w);
    }
    return 0;
}

/* Weights that a method takes; NULL: it needs none. */
static const char *weights_of(const kr_recon *m)
{
    for (int i = kinds() - 1; i >= 0; i--)                   /* those under published names first */
        if (!strcmp(word_of(i), !strcmp(m->name, "rim") ? "rim_direct" : m->name))
            return weights_path[i];
    return NULL;
}

static const char *const masks[SCANS] = { "equispaced:accel=2,center=0.4", NULL, "equispaced:accel=2,center=0.4" };

/* Few iterations: it is the same image that is wanted, not a good one. */
static kr_job *job_of(const kr_recon *m, int scan)
{
    kr_job_opts how = kr_job_preset();
    char text[600] = "", *p = text;
    how.undersample = masks[scan];
    how.phase = true;                                        /* as --complex, which `command` gives */
    for (const kr_opt *o = m->opts; o && o->name; o++) {
        bool few = !strcmp(o->name, "iterations"), weights = !strcmp(o->name, "weights") && weights_of(m);
        if (few || weights)
            p += sprintf(p, "%s%s=%s", p > text ? "," : "", o->name, few ? "3" : weights_of(m));
    }
    kr_job *j = kr_job_open(m->name, text, &how);
    return j;
}

/* What the command says and writes for the same. */
static int command(const kr_recon *m, int scan, const char *out)
{
    char line[2000], *p = line;
    p += sprintf(p, "'%s' recon '%s' -o '%s' --complex -m %s -q", KR_EXE, scan_path[scan], out, m->name);
    if (masks[scan])
        p += sprintf(p, " -u %s", masks[scan]);
    for (const kr_opt *o = m->opts; o && o->name; o++)
        if (!strcmp(o->name, "iterations"))
            p += sprintf(p, " --iterations 3");
        else if (!strcmp(o->name, "weights") && weights_of(m))
            p += sprintf(p, " --weights '%s'", weights_of(m));
    sprintf(p, " 2>'%s'", scratch("words"));
    return system(line);
}

/* The first difference of two images that matters: their numbers and geometry. */
static void same(const kr_image *a, const kr_image *b, const char *what)
{
    if (!kr_shape_equal(kr_array_shape(a->data), kr_array_shape(b->data)) || a->data->type != b->data->type)
        fail_msg("%s: %s and %s", what, kr_shape_text(kr_array_shape(a->data)), kr_shape_text(kr_array_shape(b->data)));
    size_t bytes = (size_t)kr_count(kr_array_shape(a->data)) * (a->data->type == KR_C32 ? 8 : 4);
    if (memcmp(a->data->data, b->data->data, bytes))
        fail_msg("%s: other numbers, %.3g apart", what, distance(a->data, b->data));
}

static void library_and_command(void **state)
{
    (void)state;
    int made = 0;
    for (int i = 0; kr_recons[i]; i++)
        for (int scan = 0; scan < SCANS; scan++) {
            const kr_recon *m = kr_recons[i];
            const char *out = scratch("out.npy");
            char what[100];
            snprintf(what, sizeof what, "%s, scan %d", m->name, scan);
            kr_scoped(job) j = job_of(m, scan);
            kr_scoped(image) mine = NULL;
            kr_scoped(image) theirs = NULL;
            remove(out);
            int e = j ? kr_job_file(j, &mine, scan_path[scan], NULL) : kr_error_code();
            if ((command(m, scan, out) == 0) != !e)
                fail_msg("%s: the library says %d %s, the command otherwise", what, e, e ? kr_error() : "");
            if (e) {
                long n;
                char *words = (char *)slurp(scratch("words"), &n);
                words[n] = 0;
                if (!strstr(words, kr_error()))
                    fail_msg("%s: the library says '%s', the command '%s'", what, kr_error(), words);
                free(words);
                continue;
            }
            assert_int_equal(kr_image_read(&theirs, out), 0);
            kr_scoped(array) packed = kr_array_packed(mine->data);
            kr_scoped(image) again = kr_image_new(packed, mine->geom, mine->meta);
            same(again, theirs, what);
            made++;
        }
    print_message("# %d images alike\n", made);
    assert_true(made >= 30);
}

static void in_one_call(void **state)
{
    (void)state;
    kr_scoped(image) a = NULL;
    kr_scoped(image) b = NULL;
    assert_int_equal(kr_recon_run(scan_path[FULL], "wavelet", "lambda=0.002,iterations=5", &a), 0);
    kr_scoped(job) j = kr_job_open("wavelet", " iterations=5, lambda=0.002", NULL);
    assert_non_null(j);
    assert_int_equal(kr_job_file(j, &b, scan_path[FULL], NULL), 0);
    same(a, b, "one call");
    assert_string_equal(kr_meta_get(a->meta, "kray_method"), "wavelet");
    assert_non_null(strstr(kr_meta_get(a->meta, "kray_parameters"), "lambda=0.002"));
    assert_non_null(strstr(kr_meta_get(a->meta, "kray_input"), "SHA-256"));
    kr_image_unref(&b);
    assert_int_not_equal(kr_recon_run(scan_path[FULL], "wavlet", NULL, &b), 0);
    assert_refused(KR_EUSAGE, "did you mean");
    assert_int_not_equal(kr_recon_run(scan_path[FULL], "wavelet", "lamda=1", &b), 0);
    assert_refused(KR_EUSAGE, "lamda");
    assert_int_not_equal(kr_recon_run(scan_path[FULL], "wavelet", "lambda", &b), 0);
    assert_refused(KR_EUSAGE, "NAME=VALUE");
    assert_int_not_equal(kr_recon_run("/nowhere.h5", "auto", NULL, &b), 0);
    assert_refused(KR_EFILE, "/nowhere.h5");
    assert_null(b);
}

/* A server's way: each slice as a scan of its own; the noise scan came with the first. */
static void slice_by_slice(void **state)
{
    (void)state;
    for (int i = 0; kr_recons[i]; i++) {
        const kr_recon *m = kr_recons[i];
        if (!(m->needs & KR_EACH_SLICE))
            continue;
        kr_scoped(job) whole = job_of(m, FULL);
        kr_scoped(job) pieces = job_of(m, FULL);
        kr_scoped(image) all = NULL;
        assert_non_null(whole);
        assert_int_equal(kr_job_file(whole, &all, scan_path[FULL], NULL), 0);
        assert_int_equal(kr_job_keep(pieces, 0), 0);
        for (int s = 0; s < 4; s++) {
            kr_scoped(scan) file = NULL;
            assert_int_equal(kr_scan_read(&file, scan_path[FULL], NULL, &(kr_read){ .slice_from = s, .slice_count = 1 }, NULL), 0);
            if (s)
                kr_array_unref(&file->noise);
            for (int again = 0; again < 2; again++) {        /* the second time with the maps of the first */
                kr_scoped(scan) one = kr_scan_slices(file, 0, 1);
                kr_scoped(image) im = NULL;
                assert_int_equal(kr_job_keep(pieces, s), 0);
                if (s)
                    kr_array_unref(&one->noise);
                if (kr_job_run(pieces, &im, one, NULL))
                    fail_msg("%s: %s", m->name, kr_error());
                kr_scoped(array) of_all = kr_array_at(all->data, KR_SLICE, s);
                kr_scoped(array) packed = kr_array_packed(of_all);
                kr_scoped(image) want = kr_image_new(packed, all->geom, NULL);
                same(im, want, m->name);
            }
        }
    }
    kr_scoped(job) j = kr_job_open("sense", NULL, NULL);
    assert_int_not_equal(kr_job_keep(j, 1 << 20), 0);
    kr_error_clear();
}

/* Frames that come one by one share the kernels of the first, as those of a series do: also a frame whose calibration lines are worth nothing. Another
 * mask, or other options, make new ones. */
static void kept_kernels(void **state)
{
    (void)state;
    kr_scoped(scan) series = NULL;
    assert_int_equal(kr_scan_read(&series, scan_path[SERIES], NULL, NULL, NULL), 0);
    kr_scoped(array) first = kr_array_at(series->data, KR_TIME, 0);
    kr_scoped(array) middle = kr_array_crop(first, KR_Y, 12);
    kr_scoped(array) calib = kr_array_packed(middle);
    kr_scoped(array) nothing = kr_array_like(calib);
    kr_job_opts how = kr_job_preset();
    how.undersample = masks[SERIES];
    kr_scoped(job) whole = kr_job_open("grappa", NULL, &how);
    kr_scoped(job) stream = kr_job_open("grappa", NULL, &how);
    kr_scoped(job) anew = kr_job_open("grappa", NULL, &how);
    kr_scoped(image) all = NULL;
    kr_scoped(scan) s = kr_scan_slices(series, 0, 1);
    s->calib = kr_array_ref(calib);
    assert_int_equal(kr_job_run(whole, &all, s, NULL), 0);
    for (long t = 0; t < 4; t++) {
        kr_scoped(scan) one = kr_scan_slices(series, 0, 1);
        kr_array_unref(&one->data);
        kr_scoped(array) at = kr_array_at(series->data, KR_TIME, t);
        one->data = kr_array_packed(at);
        one->shape.n[KR_TIME] = 1;
        one->calib = kr_array_ref(t ? nothing : calib);
        kr_scoped(image) im = NULL;
        assert_int_equal(kr_job_keep(stream, 7), 0);
        if (kr_job_run(stream, &im, one, NULL))
            fail_msg("frame %ld: %s", t, kr_error());
        kr_scoped(array) of_all = kr_array_at(all->data, KR_TIME, t);
        kr_scoped(array) packed = kr_array_packed(of_all);
        kr_scoped(image) want = kr_image_new(packed, all->geom, NULL);
        same(im, want, "grappa, frame of a stream");
    }
    kr_image *of[2] = { NULL };
    for (int i = 0; i < 2; i++) {
        kr_job *j = i ? stream : anew;
        assert_int_equal(kr_opt_set(kr_job_method(j)->opts, kr_job_values(j), "lambda", "0.1"), 0);
        kr_scoped(scan) one = kr_scan_slices(series, 0, 1);
        one->calib = kr_array_ref(calib);
        assert_int_equal(kr_job_run(j, &of[i], one, NULL), 0);
    }
    same(of[0], of[1], "grappa, another lambda");
    kr_image_unref(&of[0]);
    kr_image_unref(&of[1]);
}

/* Maps that are kept belong to the virtual coils of the scan that they were made of: later scans are compressed alike, whatever they hold. Half of the
 * object, which compressed by itself has virtual coils of its own, is half of the image. */
static void kept_mixtures(void **state)
{
    (void)state;
    static const char *const how_to[] = { "svd", "geometric" };
    for (int k = 0; k < 2; k++) {
        kr_job_opts how = kr_job_preset();
        how.prepare.coils = 2;
        how.prepare.compression = how_to[k];
        kr_scoped(job) j = kr_job_open("sense", NULL, &how);
        kr_image *im[2] = { NULL };
        for (int half = 0; half < 2; half++) {
            kr_scoped(scan) file = NULL;
            assert_int_equal(kr_scan_read(&file, scan_path[SERIES], NULL, NULL, NULL), 0);
            kr_scoped(array) at = kr_array_at(file->data, KR_TIME, 0);
            kr_array_unref(&file->data);
            file->data = kr_array_packed(at);
            file->shape.n[KR_TIME] = 1;
            assert_int_equal(kr_fourier_inverse(file->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
            for (long i = 0; half && i < kr_count(file->shape); i++)
                if (i / 32 % 32 < 16)
                    KR_C(file->data)[i] = kr_c(0, 0);
            assert_int_equal(kr_fourier(file->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
            assert_int_equal(kr_job_keep(j, 0), 0);
            if (kr_job_run(j, &im[half], file, NULL))
                fail_msg("%s: %s", how_to[k], kr_error());
        }
        double off = 0, all = 0;
        for (long i = 0; i < 32 * 32; i++) {
            kr_cfloat want = i / 32 < 16 ? kr_c(0, 0) : KR_C(im[0]->data)[i], got = KR_C(im[1]->data)[i];
            off += (double)kr_cabs2(kr_c(kr_re(got) - kr_re(want), kr_im(got) - kr_im(want)));
            all += (double)kr_cabs2(want);
        }
        print_message("# %s: %.2g\n", how_to[k], sqrt(off / all));
        assert_true(off < 0.01 * all);                       /* what the conjugate gradients leave; with other virtual coils 0.2 and more */
        kr_image_unref(&im[0]);
        kr_image_unref(&im[1]);
    }
}

/* Readouts stay whole for networks, whoever makes the scan ready. */
static void whole_readouts(void **state)
{
    (void)state;
    const kr_recon *m = kr_recon_named("recurrentvarnet");
    kr_scoped(job) j = job_of(m, FULL);
    kr_scoped(scan) s = NULL;
    kr_scoped(scan) t = NULL;
    kr_scoped(image) im = NULL;
    assert_int_equal(kr_job_read(j, &s, scan_path[FULL], NULL), 0);
    assert_int_equal(s->shape.n[KR_X], 64);
    assert_int_equal(kr_job_prepare(j, s, NULL), 0);
    assert_int_equal(s->shape.n[KR_X], 64);
    assert_int_equal(kr_scan_read(&t, scan_path[FULL], NULL, NULL, NULL), 0);
    assert_int_equal(kr_reconstruct(&im, t, m, kr_job_values(j), &kr_prepare_preset, NULL, NULL, NULL), 0);
    assert_int_equal(t->shape.n[KR_X], 64);
    assert_int_equal(im->data->n[KR_X], 32);
}

/* ---- Two jobs in two threads ---- */
struct side { kr_job *job; kr_image *image[2]; int e; };

static void *run_side(void *p)
{
    struct side *s = p;
    for (int i = 0; i < 2 && !s->e; i++)
        s->e = kr_job_file(s->job, &s->image[i], scan_path[FULL], NULL);
    return NULL;
}

static void side_by_side(void **state)
{
    (void)state;
    static const char *const methods[] = { "sense", "wavelet", "grappa", "recurrentvarnet" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const kr_recon *m = kr_recon_named(methods[i]);
        struct side side[3] = { { job_of(m, FULL) }, { job_of(m, FULL) }, { job_of(m, FULL) } };
        pthread_t thread[2];
        run_side(&side[2]);                                  /* alone */
        for (int t = 0; t < 2; t++)
            assert_int_equal(pthread_create(&thread[t], NULL, run_side, &side[t]), 0);
        for (int t = 0; t < 2; t++)
            pthread_join(thread[t], NULL);
        for (int t = 0; t < 3; t++) {
            assert_int_equal(side[t].e, 0);
            for (int k = 0; k < 2; k++) {
                same(side[t].image[k], side[2].image[0], methods[i]);
                if (t < 2 || k)
                    kr_image_unref(&side[t].image[k]);
            }
            kr_job_unref(&side[t].job);
        }
        kr_image_unref(&side[2].image[0]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);                     /* threads.sh asks for one */
    const struct CMUnitTest tests[] = { cmocka_unit_test(library_and_command), cmocka_unit_test(in_one_call), cmocka_unit_test(slice_by_slice), cmocka_unit_test(kept_kernels), cmocka_unit_test(kept_mixtures),
        cmocka_unit_test(whole_readouts), cmocka_unit_test(side_by_side) };
    return cmocka_run_group_tests_name("job", tests, setup, scratch_remove);
}
