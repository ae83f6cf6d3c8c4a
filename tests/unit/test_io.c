/* test_io.c: naming a source, recognising formats, and writing so that under a name there is the old file or the whole
 * new one: for every writer of the table, whatever the moment at which the disk is full. */
#include "test.h"
#include "kray/io.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64];

static const char *in(const char *name)
{
    static char text[8][400];
    static int turn;
    char *t = text[turn++ % 8];
    snprintf(t, sizeof text[0], "%s/%s", dir, name);
    return t;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void parsed(const char *text, const char *path, const char *var, const char *axes)
{
    kr_source s;
    assert_int_equal(kr_source_parse(&s, text), 0);
    assert_string_equal(s.path, path);
    assert_true(!s.var == !var && !s.axes == !axes);
    if (var)
        assert_string_equal(s.var, var);
    if (axes)
        assert_string_equal(s.axes, axes);
    kr_source_clear(&s);
}

/* FILE[:VARIABLE][@AXES]; what exists under a name wins over what could be read into it. */
static void test_sources(void **state)
{
    (void)state;
    assert_int_equal(chdir(dir), 0);
    put("a.mat", "x");
    put("b:c@d.mat", "x");
    put("b", "x");
    put("pair.hdr", "x");
    put("at@home.npy", "x");
    parsed("a.mat", "a.mat", NULL, NULL);
    parsed("a.mat:kData", "a.mat", "kData", NULL);
    parsed("a.mat@x,y", "a.mat", NULL, "x,y");
    parsed("a.mat:kData@x,y", "a.mat", "kData", "x,y");
    parsed("a.mat:/group/data:1@x", "a.mat", "/group/data:1", "x");
    parsed("b:c@d.mat", "b:c@d.mat", NULL, NULL);
    parsed("b:c@d.mat:v@x", "b:c@d.mat", "v", "x");
    parsed("b:c@x", "b", "c", "x");
    parsed("pair", "pair", NULL, NULL);
    parsed("pair@x,-", "pair", NULL, "x,-");
    parsed("at@home.npy", "at@home.npy", NULL, NULL);
    parsed("at@home.npy@y,x", "at@home.npy", NULL, "y,x");
    kr_source s;
    assert_true(kr_source_parse(&s, "absent.mat:v@x") < 0);
    assert_refused(KR_EFILE, "absent.mat:v@x: there is no such file");
    assert_true(kr_source_parse(&s, "") < 0);
    assert_refused(KR_EFILE, "no file is named");
    int order[KR_AXES];
    assert_int_equal(kr_axes_parse("coil,-,Y", order), 3);
    assert_true(order[0] == KR_COIL && order[1] == KR_AXES && order[2] == KR_Y);
    assert_true(kr_axes_parse("x,y,x", order) < 0);
    assert_refused(KR_EUSAGE, "twice");
    assert_true(kr_axes_parse("x,phi", order) < 0);
    assert_refused(KR_EUSAGE, "'phi' names no axis; axes are x y z");
    assert_true(kr_axes_parse("", order) < 0);
    assert_refused(KR_EUSAGE, "no axes are named");
    assert_true(kr_axes_parse("-,-,-,-,-,-,-,-,-,-,-,-,-,-,-,-,-,-,-", order) < 0);
    kr_error_clear();
}

/* By content, whatever the name says. */
static void test_recognised(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 4, [KR_Y] = 3));
    fill_random(a, 1);
    static const char *const name[] = { "npy", "cfl", "png", "nifti" };
    static const char *const suffix[] = { "npy", "cfl", "png", "nii.gz" };
    for (int i = 0; i < 4; i++) {
        char file[64];
        snprintf(file, sizeof file, "w.%s", suffix[i]);
        assert_int_equal(kr_array_write(a, NULL, in(file)), 0);
        const kr_format *f = kr_format_of(in(file));
        assert_non_null(f);
        assert_string_equal(f->name, name[i]);
        if (i != 1) {
            assert_int_equal(rename(in(file), in("w.other")), 0);
            f = kr_format_of(in("w.other"));
            assert_true(f && !strcmp(f->name, name[i]));
        }
    }
    put("junk.nii", "this is not a volume");
    assert_null(kr_format_of(in("junk.nii")));
    assert_refused(KR_EFORMAT, "unknown format (it begins with \"this is not \")");
    put("junk.bin", "\001this");
    assert_null(kr_format_of(in("junk.bin")));
    assert_refused(KR_EFORMAT, "unknown format (it begins with 01 74 68 69 73)");
    put("empty.npy", "");
    assert_null(kr_format_of(in("empty.npy")));
    assert_refused(KR_EFORMAT, "the file is empty");
    kr_scan *s = NULL;
    assert_true(kr_scan_read(&s, in("w.other"), NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "a nifti file holds no raw data");
    assert_true(kr_scan_read(&s, in("w.other"), "ismrmrdd", NULL, NULL) < 0);
    assert_refused(KR_EUSAGE, "no format 'ismrmrdd'; did you mean ismrmrd? known are");
    assert_true(kr_array_write(a, NULL, in("w.tiff")) < 0);
    assert_refused(KR_EUSAGE, "cannot be written under that name; known are");
    assert_null(kr_reading());
}

/* ---- Writing ---- */
/* A scan that any writer of raw data should be able to hold. */
static kr_scan *some_scan(uint64_t seed, long n)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = n, [KR_Y] = n, [KR_COIL] = 2, [KR_SLICE] = 2);
    s->data = kr_array_new(KR_C32, s->shape);
    fill_random(s->data, seed);
    for (int k = 0; k < 3; k++) {
        s->enc.encoded[k] = s->enc.recon[k] = k < 2 ? n : 1;
        s->enc.encoded_mm[k] = s->enc.recon_mm[k] = k < 2 ? 200 : 5;
    }
    kr_geom_unref(&s->geom);
    s->geom = kr_geom_new(2);
    s->geom->position_mm[1][2] = 5;
    return s;
}

enum { SCAN, IMAGE, ARRAY };

static int write_one(const kr_format *f, int what, const char *path, uint64_t seed, long n)
{
    kr_scoped(scan) s = some_scan(seed, n);
    kr_scoped(array) magnitude = kr_rss(s->data, KR_COIL);
    kr_image *im = kr_image_new(magnitude, s->geom, s->meta);
    int e = what == SCAN ? kr_scan_write(s, path, f->name) : what == IMAGE ? kr_image_write(im, path, f->name) : kr_array_write(magnitude, NULL, path);
    kr_image_unref(&im);
    return e;
}

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : (long)st.st_size;
}

static void digest_of(const char *path, char hex[65])
{
    static char bytes[1 << 21];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    kr_digest(bytes, n, hex);
}

/* Files in the folder whose names begin so. */
static int left_over(const char *begin)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)); )
        n += !strncmp(e->d_name, begin, strlen(begin));
    closedir(d);
    return n;
}

/* In a child, whose files may not grow beyond `limit`: exit 0 written, 10 refused with a sentence that names the file. */
static int write_limited(const kr_format *f, int what, const char *path, long limit)
{
    pid_t child = fork();
    if (!child) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ (rlim_t)limit, (rlim_t)limit });
        int e = write_one(f, what, path, 2, 24);
        _exit(!e ? 0 : strstr(kr_error(), path) ? 10 : 11);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_full_disk(void **state)
{
    (void)state;
    for (int i = 0; kr_formats[i]; i++)
        for (int what = SCAN; what <= ARRAY; what++) {
            const kr_format *f = kr_formats[i];
            if (what == SCAN ? !f->write : what == IMAGE ? !f->write_image : !f->write_array)
                continue;
            char suffix[16], path[300], numbers[300], old[65], now[65];
            snprintf(suffix, sizeof suffix, "%.*s", (int)strcspn(f->suffix, " "), f->suffix);
            snprintf(path, sizeof path, "%s/full%s", dir, suffix);
            /* A MetaImage header is the same for other numbers, which lie beside it. */
            snprintf(numbers, sizeof numbers, "%s/full%s", dir, strcmp(f->name, "metaimage") ? suffix : ".raw");
            if (write_one(f, what, path, 1, 24)) {
                print_message("# %s does not take this %s: %s\n", f->name, what == SCAN ? "scan" : what == IMAGE ? "image" : "array", kr_error());
                kr_error_clear();
                continue;
            }
            long bytes = size_of(numbers);
            digest_of(numbers, old);
            static const double part[] = { 0, 0.01, 0.3, 0.7, 0.999 };
            for (int k = 0; k < 5; k++) {
                int r = write_limited(f, what, path, (long)(part[k] * (double)bytes));
                if (r != 10)
                    fail_msg("%s, %d, with room for %.0f of %ld bytes: status %d", f->name, what, part[k] * (double)bytes, bytes, r);
                digest_of(numbers, now);
                assert_string_equal(now, old);
                assert_int_equal(left_over(".kray"), 0);
            }
            assert_int_equal(write_limited(f, what, path, 10 * bytes + 100000), 0);
            digest_of(numbers, now);
            if (strcmp(f->name, "png"))
                assert_string_not_equal(now, old);
            unlink(path);
        }
}

static void test_places(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4));
    kr_fill(a, 1);
    assert_int_equal(kr_can_write(KR_PLAIN, in("new/and/deeper/a.npy"), NULL), 0);        /* asking makes nothing */
    assert_int_not_equal(access(in("new"), F_OK), 0);
    assert_int_equal(kr_array_write(a, NULL, in("new/and/deeper/a.npy")), 0);
    assert_int_equal(access(in("new/and/deeper/a.npy"), F_OK), 0);
    put("file", "x");
    assert_true(kr_array_write(a, NULL, in("file/a.npy")) < 0);
    assert_refused(KR_EFILE, "is not a folder");
    assert_int_equal(symlink(in("gone"), in("astray")), 0);
    assert_true(kr_array_write(a, NULL, in("astray/a.npy")) < 0);
    assert_refused(KR_EFILE, "is a link to a folder that does not exist");
    assert_int_equal(mkdir(in("folder.npy"), 0777), 0);
    assert_true(kr_array_write(a, NULL, in("folder.npy")) < 0);
    assert_refused(KR_EFILE, "folder.npy: is a folder");
    assert_int_equal(mkfifo(in("pipe.npy"), 0666), 0);
    assert_true(kr_array_write(a, NULL, in("pipe.npy")) < 0);
    assert_refused(KR_EFILE, "pipe.npy: is not a plain file");
    /* A pipe is not read either, and does not hold us up. */
    kr_array *b = NULL;
    assert_true(kr_array_read(&b, in("pipe.npy")) < 0);
    kr_error_clear();
    if (geteuid()) {
        assert_int_equal(mkdir(in("locked"), 0555), 0);
        assert_true(kr_array_write(a, NULL, in("locked/a.npy")) < 0);
        assert_refused(KR_EFILE, "cannot be written");
    }
    /* A link stays a link, and what it names is replaced. */
    assert_int_equal(kr_array_write(a, NULL, in("target.npy")), 0);
    assert_int_equal(symlink("target.npy", in("link.npy")), 0);
    kr_fill(a, 2);
    assert_int_equal(kr_array_write(a, NULL, in("link.npy")), 0);
    struct stat st;
    assert_true(!lstat(in("link.npy"), &st) && S_ISLNK(st.st_mode));
    assert_int_equal(kr_array_read(&b, in("target.npy")), 0);
    assert_true(KR_R(b)[0] == 2);
    kr_array_unref(&b);
    /* The longest name a folder takes. */
    char name[256];
    memset(name, 'n', 240);
    strcpy(name + 240, ".npy");
    assert_int_equal(kr_array_write(a, NULL, in(name)), 0);
    memset(name, 'n', 250);
    strcpy(name + 250, ".npy");
    assert_true(kr_array_write(a, NULL, in(name)) < 0 || size_of(in(name)) > 0);
    kr_error_clear();
    assert_int_equal(left_over(".kray"), 0);
}

/* Full devices, as a shell user meets them: nothing is replaced, and the sentence says why. */
static void test_device(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK)) {
        print_message("skipped: there is no /dev/full\n");
        skip();
    }
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4));
    kr_fill(a, 1);
    assert_int_equal(symlink("/dev/full", in("dev.npy")), 0);
    assert_true(kr_array_write(a, NULL, in("dev.npy")) < 0);
    assert_refused(KR_EFILE, "is not a plain file");
    struct stat st;
    assert_true(!stat("/dev/full", &st) && S_ISCHR(st.st_mode));
}

static void test_provenance(void **state)
{
    (void)state;
    put("in.txt", "abc");
    kr_scoped(meta) m = kr_meta_new();
    const char *input[] = { in("in.txt"), in("pair") };
    assert_int_equal(kr_meta_provenance(m, "kray recon x", "cgsense", "lambda=0.01", input, 2), 0);
    assert_string_equal(kr_meta_get(m, "kray_command"), "kray recon x");
    assert_string_equal(kr_meta_get(m, "kray_method"), "cgsense");
    assert_string_equal(kr_meta_get(m, "kray_parameters"), "lambda=0.01");
    assert_string_equal(kr_meta_get(m, "kray_version"), kr_version());
    char want[500];
    snprintf(want, sizeof want, "%s, 3 bytes, SHA-256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "in.txt");   /* FIPS 180-4, example 1 */
    assert_string_equal(kr_meta_get(m, "kray_input"), want);
    assert_string_equal(kr_meta_get(m, "kray_input_2"), "pair");      /* names, not places */
    input[0] = in("gone");
    assert_true(kr_meta_provenance(m, NULL, NULL, NULL, input, 1) < 0);
    assert_refused(KR_EFILE, "no such file");
    /* 3 MiB: the digest is of the first and the last MiB. */
    static char block[3 << 20];
    char sum[65];
    memset(block, 'a', 1000000);
    kr_digest(block, 1000000, sum);
    assert_string_equal(sum, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");      /* FIPS 180-4, a million times a */
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 >> 3);
    FILE *f = fopen(in("big"), "wb");
    assert_int_equal(fwrite(block, 1, sizeof block, f), sizeof block);
    fclose(f);
    memmove(block + (1 << 20), block + (2 << 20), 1 << 20);
    char hex[65];
    kr_digest(block, 2 << 20, hex);
    input[0] = in("big");
    assert_int_equal(kr_meta_provenance(m, NULL, NULL, NULL, input, 1), 0);
    snprintf(want, sizeof want, "%s, 3145728 bytes, SHA-256 of the first and the last MiB %s", "big", hex);
    assert_string_equal(kr_meta_get(m, "kray_input"), want);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kray-io-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    kr_threads_set(1);                     /* a forked child has no use of its parent's threads */
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_sources), cmocka_unit_test(test_recognised), cmocka_unit_test(test_full_disk),
                                               cmocka_unit_test(test_places), cmocka_unit_test(test_device), cmocka_unit_test(test_provenance) };
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    char line[200];
    snprintf(line, sizeof line, "chmod -R u+w %s; rm -r %s", dir, dir);
    return system(line) ? 1 : bad;
}
