/* feed.c: gives bytes to every reader of one format, as a file of that format. */
#include "feed.h"
#include "kray/io.h"
#include "kray/learn.h"
#include "kray/mrd.h"
#include "kray/projections.h"
#include "kray/volume.h"
#include "kray/weights.h"
#include "mrd_header.h"
#include "nnunet_plans.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    if (!*folder) {
        struct stat st;
        snprintf(folder, sizeof folder, "%s/kray-feed-XXXXXX", stat("/dev/shm", &st) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(folder))
            abort();
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void feed_end(void)
{
    char line[128];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    if (*folder && system(line))
        abort();
    *folder = 0;
}

/* Into a file that stays open from form to form: making one anew takes longer than many a reader. */
static void put(const char *path, const unsigned char *bytes, size_t n)
{
    static struct { char path[128]; int fd; } held[4];
    int i = 0;
    while (i < 3 && *held[i].path && strcmp(held[i].path, path))
        i++;
    if (strcmp(held[i].path, path)) {
        if (*held[i].path)
            close(held[i].fd);
        snprintf(held[i].path, sizeof held[i].path, "%s", path);
        held[i].fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (held[i].fd < 0 || pwrite(held[i].fd, bytes, n, 0) != (ssize_t)n || ftruncate(held[i].fd, (off_t)n))
        abort();
}

/* A refusal leaves a sentence (and perhaps half a thing, which io.c drops); success something that can be looked at. */
static bool names_wanted;

static int judge(int e, kr_scan **s, kr_image **im, kr_array **a, bool header_only)
{
    if (e ? !*kr_error() : !*s && !*im && !*a)
        abort();
    names_wanted = names_wanted || e == KR_EUSAGE;
    const kr_array *got = e ? NULL : *s ? (*s)->data : *im ? (*im)->data : *a;
    if (!e && !header_only && !got)
        abort();
    if (!e && *s && got && !kr_shape_equal(kr_array_shape(got), (*s)->shape))
        abort();
    if (got && !kr_all_finite(got))            /* looks at every number */
        kr_error_clear();
    if (!e && *s && got && !header_only && kr_epi_prepare(*s, NULL, NULL))       /* stands on what the header says of time and order */
        kr_error_clear();
    kr_scan_unref(s);
    kr_image_unref(im);
    kr_array_unref(a);
    return !e;
}

static int readers(const kr_format *f, const char *path, const char *axes)
{
    kr_scan *s = NULL;
    kr_image *im = NULL;
    kr_array *a = NULL;
    char source[200];
    snprintf(source, sizeof source, "%s%s%s", path, axes ? "@" : "", axes ? axes : "");
    kr_source src;
    if (kr_source_parse(&src, source))
        abort();
    int taken = 0;
    if (f->read) {
        taken += judge(f->read(&s, &src, &(kr_read){ .header_only = true }, NULL), &s, &im, &a, true);
        taken += judge(f->read(&s, &src, &(kr_read){ 0 }, NULL), &s, &im, &a, false);
        taken += judge(f->read(&s, &src, &(kr_read){ .slice_from = 1, .slice_count = 1 }, NULL), &s, &im, &a, false);
    }
    if (f->read_image)
        taken += judge(f->read_image(&im, &src), &s, &im, &a, false);
    if (f->read_array)
        taken += judge(f->read_array(&a, &src), &s, &im, &a, false);
    kr_source_clear(&src);
    return taken;
}

static int feed_weights(const unsigned char *bytes, size_t n)
{
    const char *path = in_folder("f.pt");
    put(path, bytes, n);
    kr_weights *w = NULL;
    int e = kr_weights_read(&w, path);
    if (!e != !!w)
        abort();
    kr_weights_unref(&w);
    return !e;
}

/* A configuration for weights that any network might have. */
static int feed_yaml(const unsigned char *bytes, size_t n)
{
    const char *path = in_folder("f.yaml");
    put(path, bytes, n);
    kr_weights *w = kr_weights_new();
    int e = kr_weights_config(w, path);
    if (!e && !kr_meta_get(w->meta, "network"))
        abort();
    kr_weights_unref(&w);
    return !e;
}

static int feed_xml(const unsigned char *bytes, size_t n)
{
    char *text = malloc(n + 1);
    memcpy(text, bytes, n);
    text[n] = 0;
    kr_scan *s = kr_scan_new();
    int e = kr_mrd_header_parse(s, text);
    char *back = e ? NULL : kr_mrd_header_write(s);
    kr_free(back);
    kr_scan_unref(&s);
    free(text);
    return !e;
}

/* As a client's stream, in pieces of some size. The answer is one of whole messages, and ends with CLOSE. */
static int feed_session(const unsigned char *bytes, size_t n)
{
    static const size_t piece[] = { 1, 13, 400, 100000 };
    kr_mrd_methods methods = { in_folder("files") };
    kr_mrd_host host = kr_mrd_methods_host(&methods);
    host.fallback = "rss";
    kr_mrd_session *s = kr_mrd_session_new(&host, &(kr_mrd_limits){ 1 << 20, 16 << 20 });
    if (!s)
        abort();
    for (size_t at = 0, k = piece[n % 4]; at < n; at += k) {
        kr_mrd_session_feed(s, bytes + at, k < n - at ? k : n - at);
        if (at / k % 3 == 0)
            kr_mrd_session_work(s, NULL);
    }
    kr_mrd_session_end(s);
    kr_mrd_session_work(s, NULL);
    if (!kr_mrd_session_closed(s))
        abort();
    size_t left;
    const unsigned char *p = kr_mrd_session_out(s, &left);
    for (int64_t k = 0; left; p += k, left -= (size_t)k)
        if (kr_mrd_length(&k, p, left, INT64_MAX) != 1 || (size_t)k > left || (left == (size_t)k) != (p[0] == KR_MRD_CLOSE && !p[1]))
            abort();
    kr_mrd_facts f;
    kr_mrd_session_facts(s, &f);
    int taken = f.images_out > 0 || (f.lines && !f.refused && !f.failed);
    kr_mrd_session_unref(&s);
    kr_error_clear();
    return taken;
}

/* A configuration of training. */
static int feed_training(const unsigned char *bytes, size_t n)
{
    const char *path = in_folder("f.yaml");
    put(path, bytes, n);
    kr_learn o = { 0 };
    kr_meta *text = kr_meta_new();
    int e = kr_learn_config(&o, text, path);
    kr_meta_unref(&text);
    return !e;
}

/* Two files in one: the first, a zero, the second. */
static const char *put_two(const char *first, const char *second, const unsigned char *bytes, size_t n)
{
    const unsigned char *end = memchr(bytes, 0, n);
    size_t head = end ? (size_t)(end - bytes) : n;
    put(in_folder(first), bytes, head);
    put(in_folder(second), end ? end + 1 : bytes + n, n - head - (end != NULL));
    return in_folder(first);
}

/* What nnU-Net's folder says of network and data. The checkpoint is not there: what takes the plans asks for it. */
static int feed_plans(const unsigned char *bytes, size_t n)
{
    const char *path = put_two("plans.json", "dataset.json", bytes, n);
    nnunet_plans *p = malloc(sizeof *p);
    kr_meta *names = kr_meta_new();
    int e = nnunet_plans_read(p, names, folder, NULL, NULL);
    e = e == KR_EUSAGE ? nnunet_plans_read(p, names, folder, "2d_big", NULL) : e;
    kr_volnet *v = kr_nnunet_read(path, e ? "2d" : p->configuration, "/dev/null/absent");
    if (v)
        abort();
    kr_volnet_unref(&v);
    kr_meta_unref(&names);
    free(p);
    return !e;
}

/* A network of TensorFlow.js and its weights. */
static int feed_meshnet(const unsigned char *bytes, size_t n)
{
    kr_volnet *v = kr_meshnet_read(put_two("model.json", "w.bin", bytes, n));
    int taken = v != NULL;
    kr_volnet_unref(&v);
    return taken;
}

/* Three views of 4 x 3 elements: uncompressed TIFF of bytes. */
static void put_views(void)
{
    static const unsigned char head[] = { 'I', 'I', 42, 0, 8, 0, 0, 0, 7, 0,
        0, 1, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0,  1, 1, 3, 0, 1, 0, 0, 0, 3, 0, 0, 0,  2, 1, 3, 0, 1, 0, 0, 0, 8, 0, 0, 0,  3, 1, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0,
        6, 1, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0,  17, 1, 4, 0, 1, 0, 0, 0, 98, 0, 0, 0,  23, 1, 4, 0, 1, 0, 0, 0, 12, 0, 0, 0,  0, 0, 0, 0 };
    unsigned char file[sizeof head + 12];
    memcpy(file, head, sizeof head);
    for (int view = 0; view < 3; view++) {
        char name[16];
        snprintf(name, sizeof name, "ball_%d.tif", view);
        for (int i = 0; i < 12; i++)
            file[sizeof head + (size_t)i] = (unsigned char)(20 * view + i);
        FILE *f = fopen(in_folder(name), "wb");
        if (!f || fwrite(file, 1, sizeof file, f) != sizeof file || fclose(f))
            abort();
    }
}

static int feed_views(const char *name, const unsigned char *bytes, size_t n)
{
    if (!*folder)
        put_views();
    const char *path = in_folder(name);
    put(path, bytes, n);
    kr_projections *p = NULL;
    int e = kr_projections_read(&p, path, NULL);
    if (!e != !!p || (p && !p->y))
        abort();
    kr_projections_unref(&p);
    return !e;
}

/* RTK's geometry of two views that are at hand. */
static int feed_rtk(const unsigned char *bytes, size_t n)
{
    char words[160];
    const char *path = in_folder("f.xml");
    put(path, bytes, n);
    snprintf(words, sizeof words, "%s:pixel=0.8", path);
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = 4, [KR_V] = 3, [KR_VIEW] = 2));
    int e = kr_projections_geometry(p, words);
    kr_rays *r = e ? NULL : kr_projections_rays(p, 3, 1.5);
    kr_rays_unref(&r);
    kr_projections_unref(&p);
    return !e;
}

static int feed_nikon(const unsigned char *bytes, size_t n) { return feed_views("f.xtekct", bytes, n); }
static int feed_skyscan(const unsigned char *bytes, size_t n) { return feed_views("f.log", bytes, n); }

/* What is no format of scans, images and arrays. */
static const struct { const char *name; int (*feed)(const unsigned char *bytes, size_t n); } others[] = {
    { "weights", feed_weights }, { "yaml", feed_yaml }, { "xml", feed_xml }, { "session", feed_session }, { "training", feed_training }, { "plans", feed_plans },
    { "meshnet", feed_meshnet }, { "nikon", feed_nikon }, { "skyscan", feed_skyscan }, { "rtk", feed_rtk } };

int feed(const char *format, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i].name, format)) {
            int taken = others[i].feed(bytes, n);
            kr_error_clear();
            return taken;
        }
    const kr_format *f = kr_format_named(format);
    if (!f)
        abort();
    char name[32];
    snprintf(name, sizeof name, "f%.*s", (int)strcspn(f->suffix, " "), f->suffix);
    const char *path = in_folder(name);
    if (!strcmp(format, "cfl")) {
        put_two("f.hdr", "f.cfl", bytes, n);
        path = in_folder("f.cfl");
    } else
        put(path, bytes, n);
    if (f->probe)                              /* others are only written */
        f->probe(bytes, n < 4096 ? n : 4096, path);
    static const char *const axes[] = { NULL, "x", "x,y", "y,x", "x,y,coil", "slice,coil,y,x", "x,y,z,coil,time" };
    names_wanted = false;
    int taken = readers(f, path, axes[0]);
    bool wanted = names_wanted, fitted = false;
    for (int i = 1; i < 7 && wanted && !(fitted && names_wanted); i++) {         /* once some fit, none of another number will */
        names_wanted = false;
        taken += readers(f, path, axes[i]);
        fitted = fitted || !names_wanted;
    }
    kr_error_clear();
    return taken;
}
