/* test_memory.c: every allocation of a job fails in turn: each time the job is refused for lack of memory, says so, leaves
 * no memory behind, and no file under the final name. The jobs are the formats, methods, phantoms and masks of the tables,
 * on small scans; a new table entry is tested as soon as it is there. */
#include "files.h"
#include "kray/metric.h"
#include "kray/opt.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "kray/weights.h"
#include <dirent.h>
#include <errno.h>

/* What the jobs work on; made before anything fails. */
static kr_scan *scan;                /* {X=32,Y=24,COIL=3,SLICE=2}, undersampled, with noise     */
static kr_image *image;
static kr_array *mask, *maps;

typedef struct job {
    char name[200], text[400];       /* text: a path, a source, a spec ...                       */
    const void *what;                /* the table's entry                                        */
    int (*run)(const struct job *j); /* 0, or the refusal                                        */
} job;

/* ---- Jobs ---- */
static kr_scan *copy_of_scan(void)                     /* its own data and mask, as jobs may change them */
{
    kr_scan *s = kr_scan_slices(scan, 0, 2);
    if (!s)
        return NULL;
    kr_array *d = kr_array_copy(s->data), *m = kr_array_copy(s->mask);
    kr_array_unref(&s->data);
    kr_array_unref(&s->mask);
    s->data = d;
    s->mask = m;
    if (!d || !m)
        kr_scan_unref(&s);
    return s;
}

static int read_scan(const job *j)
{
    kr_scoped(scan) s = NULL;
    return kr_scan_read(&s, j->text, NULL, NULL, NULL);
}

static int read_image(const job *j)
{
    kr_scoped(image) im = NULL;
    return kr_image_read(&im, j->text);
}

static int read_array(const job *j)
{
    kr_scoped(array) a = NULL;
    return kr_array_read(&a, j->text);
}

static int read_weights(const job *j)
{
    kr_weights *w = NULL;
    int e = kr_weights_read(&w, j->text);
    kr_weights_unref(&w);
    return e;
}

static int write_scan(const job *j) { return kr_scan_write(scan, j->text, ((const kr_format *)j->what)->name); }
static int write_image(const job *j) { return kr_image_write(image, j->text, ((const kr_format *)j->what)->name); }
static int write_array(const job *j) { return kr_array_write(mask, image->meta, j->text); }

static int make_mask(const job *j)
{
    kr_scoped(array) m = kr_mask_new(j->text, KR_SHAPE([KR_X] = 40, [KR_Y] = 36, [KR_TIME] = 3), "name.h5");
    kr_mask_facts f;
    kr_text t = { 0 };
    int e = m ? kr_mask_describe(&f, m, KR_SHAPE([KR_X] = 40, [KR_Y] = 36, [KR_TIME] = 3)) : kr_error_code();
    if (!e)
        kr_mask_facts_text(&t, &f);
    e = !e && t.failed ? kr_error_code() : e;
    kr_text_clear(&t);
    return e;
}

static int undersample(const job *j)
{
    (void)j;
    kr_scoped(scan) s = copy_of_scan();
    return s ? kr_scan_undersample(s, mask) : kr_error_code();
}

static int find_mask(const job *j)
{
    (void)j;
    kr_scoped(scan) s = copy_of_scan();
    if (!s)
        return kr_error_code();
    kr_array_unref(&s->mask);
    kr_scoped(array) m = kr_scan_mask(s);
    return m ? 0 : kr_error_code();
}

static int prepare(const job *j)
{
    kr_scoped(scan) s = copy_of_scan();
    const kr_prepare how = { .whiten = true, .oversampling = true, .coils = 2, .compression = j->text, .average = true };
    return s ? kr_scan_prepare(s, &how, NULL) : kr_error_code();
}

static int estimate(const job *j)
{
    kr_coils_opts o = kr_coils_preset;
    o.method = j->text;
    kr_scoped(array) m = kr_coils_estimate(scan, &o, NULL);
    return m ? 0 : kr_error_code();
}

static int reconstruct(const job *j)
{
    const kr_recon *r = j->what;
    kr_scoped(scan) s = copy_of_scan();
    kr_scoped(image) im = NULL;
    kr_auto void *opts = kr_alloc_zero(1, r->opts_size + 1);
    if (!s || !opts || kr_opt_defaults(r->opts, opts))
        return kr_error_code();
    return kr_reconstruct(&im, s, r, opts, NULL, r->needs & KR_NEEDS_COILS ? maps : NULL, NULL, NULL);
}

static int measure(const job *j)
{
    const kr_phantom *p = j->what;
    kr_scoped(scan) s = NULL;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 8;
    how.slices = 1;
    how.coils = 2;
    how.noise_scan = true;
    how.volume = j->text;
    return p->measure(&s, &how, NULL);
}

/* Two slices measured together: simulated, prepared and taken apart. */
static int take_apart(const job *j)
{
    const kr_recon *r = j->what;
    kr_scoped(scan) s = NULL;
    kr_scoped(image) im = NULL;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 16;
    how.slices = how.multiband = how.shift = 2;
    how.coils = 3;
    const kr_prepare prepare = { .whiten = true, .oversampling = true, .average = true };
    kr_auto void *opts = kr_alloc_zero(1, r->opts_size + 1);
    if (!opts || kr_opt_defaults(r->opts, opts) || kr_opt_set(r->opts, opts, j->text, "3")
        || kr_phantom_named("shepplogan")->measure(&s, &how, NULL))
        return kr_error_code();
    return kr_reconstruct(&im, s, r, opts, &prepare, NULL, NULL, NULL);
}

static int score(const job *j)
{
    const kr_protocol *p = j->what;
    kr_score slice[2], volume;
    return p->score(slice, &volume, image->data, image->data, NULL);
}

/* ---- The list of jobs ---- */
enum { MOST = 256 };
static job jobs[MOST];
static int count;

static void add(int (*run)(const job *), const void *what, const char *verb, const char *noun, const char *text)
{
    assert_true(count < MOST);
    job *j = &jobs[count++];
    snprintf(j->name, sizeof j->name, "%s %s", verb, noun);
    snprintf(j->text, sizeof j->text, "%s", text);
    j->run = run;
    j->what = what;
}

/* Reading is tried on what was just written and on the samples; what a format refuses for other reasons is no job. */
static void add_if_works(int (*run)(const job *), const void *what, const char *verb, const char *noun, const char *text)
{
    add(run, what, verb, noun, text);
    if (jobs[count - 1].run(&jobs[count - 1]))
        count--;
    kr_error_clear();
}

static void suffix_of(const kr_format *f, char out[16]) { snprintf(out, 16, "%.*s", (int)strcspn(f->suffix, " "), f->suffix); }

static void add_formats(void)
{
    for (int i = 0; kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        char name[64], suffix[16];
        suffix_of(f, suffix);
        snprintf(name, sizeof name, "%s_scan%s", f->name, suffix);
        if (f->write)
            add_if_works(write_scan, f, "write a scan as", f->name, scratch(name));
        if (f->read)
            add_if_works(read_scan, f, "read a scan from", name, scratch(name));
        snprintf(name, sizeof name, "%s_image%s", f->name, suffix);
        if (f->write_image)
            add_if_works(write_image, f, "write an image as", f->name, scratch(name));
        if (f->read_image)
            add_if_works(read_image, f, "read an image from", name, scratch(name));
        snprintf(name, sizeof name, "%s_array%s", f->name, suffix);
        if (f->write_array)
            add_if_works(write_array, f, "write an array as", f->name, scratch(name));
        if (f->read_array)
            add_if_works(read_array, f, "read an array from", name, scratch(name));
    }
}

static void add_samples(void)
{
    static const char *const samples[] = {
        "ismrmrd/cpp_phantom32_acc2_cal8_noise.h5", "ismrmrd/py_cart16_noise_wav.mrd", "fastmri/multicoil_test_file1000003_v2.h5",
        "fastmri/multicoil_train_file1000001.h5", "calgary/e00001s3_P00001.7.h5", "skmtea/MTR_001.h5",
        "cmrxrecon/2023/MultiCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat",
        "cmrxrecon/2024/MultiCoil/Cine/ValidationSet/UnderSample_Task2/P001/cine_sax_kus_ktGaussian4.mat",
        "arrays/bart_phantom8_k_2coil.cfl" };
    static const char *const pictures[] = { "arrays/nifti1_i16_scaled.nii", "arrays/nifti1_c64.nii.gz", "arrays/nifti2_f32_sformonly.nii" };
    static const char *const weights[] = { "arrays/tiny.safetensors", "arrays/torch_like_state_dict.pt", "arrays/two_deflated.npz" };
    char path[200];
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        snprintf(path, sizeof path, "samples/%s", samples[i]);
        add_if_works(read_scan, NULL, "read", samples[i], shared(path));
    }
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        snprintf(path, sizeof path, "samples/%s", pictures[i]);
        add_if_works(read_image, NULL, "read", pictures[i], shared(path));
    }
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        snprintf(path, sizeof path, "samples/%s", weights[i]);
        add_if_works(read_weights, NULL, "read", weights[i], shared(path));
    }
}

/* The names of the kinds as the help lists them. */
static void add_masks(void)
{
    kr_text help = { 0 };
    kr_mask_kinds(&help);
    for (char *line = strtok(help.s, "\n"); line; line = strtok(NULL, "\n")) {
        char kind[64];
        if (!strcmp(line, "Keys:"))
            break;
        if (sscanf(line, "  %63[a-z0-9_] ", kind) == 1 && strncmp(line, "   ", 3))
            add_if_works(make_mask, NULL, "make a mask", kind, kind);
    }
    kr_text_clear(&help);
}

static void add_all(void)
{
    add_formats();
    add_samples();
    add_masks();
    add(undersample, NULL, "undersample", "a scan", "");
    add(find_mask, NULL, "find", "what was measured", "");
    add_if_works(prepare, NULL, "prepare,", "svd", "svd");
    add_if_works(prepare, NULL, "prepare,", "geometric", "geometric");
    static const char *const coils[] = { "espirit", "walsh", "lowres" };
    for (int i = 0; i < 3; i++)
        add_if_works(estimate, NULL, "coil maps,", coils[i], coils[i]);
    for (int i = 0; kr_recons[i]; i++)
        add_if_works(reconstruct, kr_recons[i], "reconstruct by", kr_recons[i]->name, "");
    add(take_apart, kr_recon_named("sense"), "take slices apart by", "sense", "iterations");
    add(take_apart, kr_recon_named("slice-grappa"), "take slices apart by", "slice-grappa", "kernel");
    for (int i = 0; kr_phantoms[i]; i++)
        add_if_works(measure, kr_phantoms[i], "measure", kr_phantoms[i]->name, scratch("nifti_image.nii"));
    for (int i = 0; kr_protocols[i]; i++)
        add_if_works(score, kr_protocols[i], "score as", kr_protocols[i]->name, "");
}

/* ---- The test of one job ---- */
static int leftovers(char name[256])                   /* hidden files of an interrupted write */
{
    int n = 0;
    DIR *d = opendir(scratch("."));
    for (struct dirent *e; d && (e = readdir(d)); )
        if (e->d_name[0] == '.' && strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) {
            snprintf(name, 256, "%s", e->d_name);
            n++;
        }
    closedir(d);
    return n;
}

static bool writes(const job *j) { return j->run == write_scan || j->run == write_image || j->run == write_array; }

/* So many allocations are tried one by one, later ones at growing distances. Sanitizers see the same ways out. */
enum { EACH = SANITIZED ? 12 : 250 };

static void survives(void **state)
{
    const job *j = *state;
    char left[256];
    for (long n = 1, failed = 1; failed; n += n < EACH ? 1 : 1 + n / (SANITIZED ? 2 : 8)) {
        if (writes(j) && unlink(j->text) && errno == EISDIR) {             /* a folder of slices */
            DIR *d = opendir(j->text);
            for (struct dirent *f; d && (f = readdir(d)); )
                unlinkat(dirfd(d), f->d_name, 0);
            closedir(d);
            rmdir(j->text);
        }
        kr_error_clear();
        size_t before = kr_mem_now();
        kr_mem_fail(n);
        int e = j->run(j);
        failed = kr_mem_fail(0);
        if (kr_mem_now() != before)
            fail_msg("allocation %ld fails: %zd bytes are left behind (%s)", n, (ssize_t)(kr_mem_now() - before), kr_error());
        if (!failed && e)
            fail_msg("nothing fails, but: %s", kr_error());
        if (!failed)
            break;
        if (!e)
            fail_msg("allocation %ld fails, and nobody noticed", n);
        if (e != KR_EMEM || kr_error_code() != KR_EMEM || !strstr(kr_error(), "no memory"))
            fail_msg("allocation %ld fails, and the refusal is %d: %s", n, e, kr_error());
        if (writes(j) && !access(j->text, F_OK))
            fail_msg("allocation %ld fails, and %s is there", n, j->text);
        if (writes(j) && leftovers(left)) {
            unlink(scratch(left));
            fail_msg("allocation %ld fails, and %s is left behind", n, left);
        }
    }
}

static kr_meta *some_meta(void)
{
    kr_meta *m = kr_meta_new();
    assert_int_equal(kr_meta_set(m, "te_ms", "%g", 3.5), 0);
    assert_int_equal(kr_meta_set(m, "protocol", "a \"quoted\" name"), 0);
    return m;
}

static void make_ready(void)
{
    kr_simulate how = kr_simulate_preset;
    how.n[0] = 32;
    how.n[1] = 24;
    how.slices = 2;
    how.coils = 3;
    how.noise_scan = true;
    assert_int_equal(kr_phantom_named("shepplogan")->measure(&scan, &how, NULL), 0);
    kr_array_unref(&scan->noise);                      /* enough of it for three coils; fewer bytes to write */
    scan->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 64, [KR_COIL] = 3));
    fill_random(scan->noise, 2);
    mask = kr_mask_new("uniform:accel=2,lines=12", scan->shape, NULL);
    assert_non_null(mask);
    assert_int_equal(kr_scan_undersample(scan, mask), 0);
    kr_coils_opts o = kr_coils_preset;
    o.method = "lowres";
    assert_non_null(maps = kr_coils_estimate(scan, &o, NULL));
    kr_meta *meta = some_meta();
    image = kr_image_new(scan->reference->data, scan->geom, meta);
    kr_meta_unref(&meta);
    assert_non_null(image);
}

static int let_go(void **state)
{
    kr_scan_unref(&scan);
    kr_image_unref(&image);
    kr_array_unref(&mask);
    kr_array_unref(&maps);
    return scratch_remove(state);
}

int main(int argc, char **argv)      /* test_memory ["name of a job, * is anything"] */
{
    static struct CMUnitTest tests[MOST];
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    make_ready();
    add_all();
    for (int i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){ jobs[i].name, survives, NULL, NULL, &jobs[i] };
    return _cmocka_run_group_tests("memory", tests, (size_t)count, NULL, let_go);
}
