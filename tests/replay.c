/* replay.c: kray-replay FOLDER...: recorded MRD sessions of other programs. Of each NAME.json (messages with their offsets, of NAME.bin, or under
 * client_to_server and server_to_client of NAME_client_to_server.bin and NAME_server_to_client.bin): every message lies where the index says, in
 * pieces of any size, and is written again byte for byte; what the client said is said to a session of ours, whose answer has to be sound and to end
 * with CLOSE. Streams (*.bin) without an index are awkward ones: they are answered with a text and CLOSE. */
#include "kray/io.h"
#include "kray/mrd.h"
#include "kray/recon.h"
#include <dirent.h>
#include <ismrmrd/ismrmrd.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int count, failed;

static bool verdict(bool good, const char *what, const char *name, const char *why)
{
    printf("%sok %d - %s: %s\n", good ? "" : "not ", ++count, name, what);
    if (!good)
        printf("# %s\n", why);
    failed += !good;
    return good;
}

static char why[512];
#define WRONG(...) (snprintf(why, sizeof why, __VA_ARGS__), false)

/* ---- One stream and its index ---- */
struct bytes { char *s; size_t n; };

static struct bytes load(const char *path)
{
    struct bytes b = { NULL, 0 };
    struct stat st;
    if (!stat(path, &st) && !st.st_size) {
        b.s = kr_strdup("");
        return b;
    }
    b.s = kr_file_whole(path, (size_t)1 << 30, &b.n);
    return b;
}

static long number(const json_t *o, const char *key, long otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (long)json_integer_value(v) : otherwise;
}

static bool same_number(const json_t *o, const char *key, long have, long at)
{
    long want = number(o, key, have);
    return want == have || WRONG("message at byte %ld: %s is %ld, the index says %ld", at, key, have, want);
}

static bool same_fields(const json_t *o, const kr_mrd_message *m)
{
    long at = (long)m->at;
    bool good = same_number(o, "offset", at, at) && same_number(o, "id", m->id, at) && same_number(o, "size", (long)m->bytes, at);
    if (m->id == KR_MRD_ACQUISITION) {
        kr_line l = kr_mrd_line_parse(m->head);
        good = good && same_number(o, "number_of_samples", l.samples, at) && same_number(o, "active_channels", l.channels, at) && same_number(o, "traj_dims", l.traj_dims, at)
            && same_number(o, "ky", l.ky, at) && same_number(o, "slice", l.slice, at) && same_number(o, "repetition", l.repetition, at)
            && same_number(o, "flags", (long)l.flags, at) && same_number(o, "scan_counter", l.counter, at) && same_number(o, "center_sample", l.center_sample, at)
            && same_number(o, "traj_offset", at + (m->traj - m->raw), at) && same_number(o, "data_offset", at + (m->data - m->raw), at);
    } else if (m->id == KR_MRD_WAVEFORM) {
        kr_waveform w = kr_mrd_wave_parse(m->head);
        good = good && same_number(o, "number_of_samples", w.samples, at) && same_number(o, "channels", w.channels, at) && same_number(o, "waveform_id", w.id, at);
    } else if (m->id == KR_MRD_IMAGE)
        good = good && same_number(o, "attribute_length", (long)m->text_bytes, at) && same_number(o, "pixel_offset", at + (m->data - m->raw), at)
            && same_number(o, "pixel_bytes", (long)m->data_bytes, at);
    else if (m->id == KR_MRD_CONFIG_FILE) {
        kr_auto char *name = kr_mrd_text_of(m);
        const char *want = json_string_value(json_object_get(o, "value"));
        good = good && (!want || !strcmp(name, want) || WRONG("the configuration is '%s', the index says '%s'", name, want));
    } else if (m->id != KR_MRD_CLOSE)
        good = good && same_number(o, "length", (long)m->text_bytes, at);
    return good;
}

/* In pieces of so many bytes (0: as many as there is room for), against the index; what comes out is written to `again`. */
static bool parses(struct bytes b, const json_t *index, size_t piece, kr_text *again)
{
    kr_mrd_wire *w = kr_mrd_wire_new((int64_t)1 << 30);
    size_t n = 0, messages = json_array_size(index);
    bool good = w;
    int more = 0;
    for (size_t at = 0; good && at < b.n && more >= 0; ) {
        size_t room;
        unsigned char *p = kr_mrd_wire_room(w, &room);
        room = piece && piece < room ? piece : room;
        room = room < b.n - at ? room : b.n - at;
        memcpy(p, b.s + at, room);
        kr_mrd_wire_filled(w, room);
        at += room;
        kr_mrd_message m;
        while (good && (more = kr_mrd_wire_next(w, &m)) > 0) {
            good = n < messages ? same_fields(json_array_get(index, n), &m) : WRONG("there are more than the %zu messages of the index", messages);
            n++;
            kr_mrd_put(again, &m);
        }
    }
    if (good && more < 0)
        good = WRONG("%s", kr_error());
    /* A client that was cut off by its server stops anywhere. */
    if (good && kr_mrd_wire_end(w) && n < messages && !json_object_get(json_array_get(index, n), "truncated_at") && n + 1 < messages)
        good = WRONG("%s", kr_error());
    kr_error_clear();
    if (good && n != messages && !(n + 1 == messages && kr_mrd_wire_at(w) < (int64_t)b.n))
        good = WRONG("%zu messages, the index has %zu", n, messages);
    kr_mrd_wire_unref(&w);
    return good;
}

static bool check_stream(const char *name, struct bytes b, const json_t *index)
{
    static const size_t piece[] = { 1, 7, 1000, 0 };
    bool good = true;
    for (int i = 0; good && i < 4; i++) {
        kr_text again = { 0 };
        good = parses(b, index, piece[i], &again);
        if (good && (again.len > b.n || (again.len && memcmp(again.s, b.s, again.len))))
            good = WRONG("written again, the messages are other bytes");
        kr_text_clear(&again);
    }
    return verdict(good, "messages lie where the index says, and are written again byte for byte", name, why);
}

/* ---- What our session answers ---- */
static struct bytes answer_of(struct bytes in, const char *config, size_t piece)
{
    struct bytes out = { NULL, 0 };
    kr_text all = { 0 };
    kr_mrd_methods anywhere = { NULL };
    kr_mrd_host host = kr_mrd_methods_host(&anywhere);
    host.config = config;
    kr_mrd_session *s = kr_mrd_session_new(&host, NULL);
    for (size_t at = 0; s && at < in.n; at += piece) {
        kr_mrd_session_feed(s, in.s + at, piece < in.n - at ? piece : in.n - at);
        kr_mrd_session_work(s, NULL);
    }
    kr_mrd_session_end(s);
    kr_mrd_session_work(s, NULL);
    size_t n;
    const char *p = kr_mrd_session_out(s, &n);
    kr_text_put(&all, p, n);
    if (!kr_mrd_session_closed(s))
        kr_text_clear(&all);
    kr_mrd_session_unref(&s);
    out.s = all.s;
    out.n = all.len;
    return out;
}

static bool unit(const void *packed, const char *name)
{
    float v[3];
    memcpy(v, packed, sizeof v);
    double n = sqrt((double)v[0] * v[0] + (double)v[1] * v[1] + (double)v[2] * v[2]);
    return fabs(n - 1) < 1e-4 || WRONG("%s has length %g", name, n);
}

/* What a client may expect of an answer. `own`: images are ours, not echoed. */
struct told { long texts, errors, images, others; char first[200]; };

static bool sound(struct bytes b, bool own, struct told *t)
{
    kr_mrd_wire *w = kr_mrd_wire_new((int64_t)1 << 30);
    bool good = true, closed = false;
    *t = (struct told){ 0 };
    for (size_t at = 0; good && at < b.n; ) {
        size_t room;
        unsigned char *p = kr_mrd_wire_room(w, &room);
        room = room < b.n - at ? room : b.n - at;
        memcpy(p, b.s + at, room);
        kr_mrd_wire_filled(w, room);
        at += room;
        kr_mrd_message m;
        int more = 0;
        while (good && (more = kr_mrd_wire_next(w, &m)) > 0) {
            if (closed)
                good = WRONG("something follows CLOSE");
            else if (m.id == KR_MRD_TEXT) {
                kr_auto char *text = kr_mrd_text_of(&m);
                t->texts++;
                t->errors += !strncmp(text, "ERR", 3);
                if (!*t->first)
                    snprintf(t->first, sizeof t->first, "%s", text);
                good = !strncmp(text, "ERR ", 4) || !strncmp(text, "WRN ", 4) || !strncmp(text, "DBG ", 4) || WRONG("the text '%s' has none of FIRE's prefixes", text);
            } else if (m.id == KR_MRD_IMAGE) {
                ISMRMRD_ImageHeader h;
                memcpy(&h, m.head, sizeof h);
                kr_auto char *text = kr_mrd_text_of(&m);
                t->images++;
                if (own)
                    good = unit(h.read_dir, "read_dir") && unit(h.phase_dir, "phase_dir") && unit(h.slice_dir, "slice_dir")
                        && (h.attribute_string_len == m.text_bytes || WRONG("the header says %u bytes of attributes, %zu are there", h.attribute_string_len, m.text_bytes))
                        && (h.image_series_index || WRONG("no series index"))
                        && ((strstr(text, "ImageRowDir") && strstr(text, "ImageColumnDir") && strstr(text, "WindowCenter")) || WRONG("attributes are missing"));
            } else if (m.id == KR_MRD_CLOSE)
                closed = true;
            else
                t->others++;
        }
        if (good && more < 0)
            good = WRONG("%s", kr_error());
    }
    if (good && !closed)
        good = WRONG("the answer does not end with CLOSE");
    kr_mrd_wire_unref(&w);
    return good;
}

/* The n-th message of a kind; false: there is none. */
static bool nth(struct bytes b, int id, long n, kr_mrd_message *m)
{
    for (size_t at = 0; at < b.n; ) {
        int64_t bytes;
        const unsigned char *p = (const unsigned char *)b.s + at;
        if (kr_mrd_length(&bytes, p, b.n - at, (int64_t)1 << 30) <= 0 || at + (size_t)bytes > b.n)
            break;
        kr_mrd_split(m, p, (size_t)bytes);
        if (m->id == id && !n--)
            return true;
        at += (size_t)bytes;
    }
    kr_error_clear();
    return false;
}

/* Images that there should be: slices and counters of imaging lines. */
static long images_of(struct bytes b)
{
    uint64_t seen[4096];
    long n = 0;
    kr_mrd_message m;
    for (long i = 0; nth(b, KR_MRD_ACQUISITION, i, &m); i++) {
        kr_line l = kr_mrd_line_parse(m.head);
        uint64_t key = l.slice | (uint64_t)l.repetition << 16 | (uint64_t)l.contrast << 32 | (uint64_t)(l.phase & 255) << 48 | (uint64_t)l.set << 56;
        long k = 0;
        while (k < n && seen[k] != key)
            k++;
        if (k == n && n < 4096 && kr_line_kind_of(l.flags) == KR_LINES_IMAGING)
            seen[n++] = key;
    }
    return n;
}

static double pixel(const kr_mrd_message *m, int type, long i)
{
    int16_t h;
    float f;
    if (type == ISMRMRD_FLOAT) {
        memcpy(&f, m->data + 4 * i, 4);
        return f;
    }
    memcpy(&h, m->data + 2 * i, 2);
    return type == ISMRMRD_USHORT ? (double)(uint16_t)h : (double)h;
}

/* |correlation| of two images of one size; -1: they are of another, or of another type than these. */
static double correlation(const kr_mrd_message *a, const kr_mrd_message *b)
{
    ISMRMRD_ImageHeader x, y;
    memcpy(&x, a->head, sizeof x);
    memcpy(&y, b->head, sizeof y);
    bool types = (x.data_type == ISMRMRD_FLOAT || x.data_type <= ISMRMRD_SHORT) && (y.data_type == ISMRMRD_FLOAT || y.data_type <= ISMRMRD_SHORT);
    long n = (long)x.matrix_size[0] * x.matrix_size[1] * x.matrix_size[2] * x.channels;
    if (!types || x.matrix_size[0] != y.matrix_size[0] || x.matrix_size[1] != y.matrix_size[1] || x.matrix_size[2] != y.matrix_size[2] || x.channels != y.channels)
        return -1;
    double s[5] = { 0 };
    for (long i = 0; i < n; i++) {
        double u = pixel(a, x.data_type, i), v = pixel(b, y.data_type, i);
        s[0] += u;
        s[1] += v;
        s[2] += u * u;
        s[3] += v * v;
        s[4] += u * v;
    }
    double nn = (double)n;
    return fabs(s[4] - s[0] * s[1] / nn) / sqrt((s[2] - s[0] * s[0] / nn) * (s[3] - s[1] * s[1] / nn));
}

static bool is_config(struct bytes in, const char *word)
{
    kr_mrd_message m;
    if (nth(in, KR_MRD_TEXT, 0, &m)) {
        kr_auto char *text = kr_mrd_text_of(&m);
        char quoted[100];
        snprintf(quoted, sizeof quoted, "\"%s\"", word);
        if (strstr(text, "\"config\""))
            return strstr(text, quoted);
    }
    return nth(in, KR_MRD_CONFIG_FILE, 0, &m) && !strcmp(m.text, word);
}

/* Its own configuration: a sound answer, which does not depend on how the bytes come. */
static void check_own(const char *name, struct bytes in, struct bytes recorded)
{
    struct told t;
    struct bytes a = answer_of(in, NULL, 1000000), b = answer_of(in, NULL, 11);
    bool echo = is_config(in, "echo"), good = sound(a, !echo, &t);
    verdict(good, "the answer is sound and ends with CLOSE", name, why);
    kr_mrd_message m, k;
    bool same = true;
    for (long i = 0; same && nth(a, KR_MRD_IMAGE, i, &m); i++)
        same = nth(b, KR_MRD_IMAGE, i, &k) && k.bytes == m.bytes && !memcmp(k.raw, m.raw, m.bytes);
    verdict(same, "and is the same however the bytes come", name, "other images");
    if (echo)
        verdict(a.n == recorded.n && !memcmp(a.s, recorded.s, a.n), "echo answers with the bytes that were recorded", name, "other bytes");
    kr_free(a.s);
    kr_free(b.s);
}

/* With a method of ours in place of the configuration. */
static void check_rss(const char *name, struct bytes in, struct bytes recorded)
{
    kr_mrd_message m, theirs;
    long expected = images_of(in);
    if (!nth(in, KR_MRD_HEADER, 0, &m) || !nth(in, KR_MRD_CLOSE, 0, &m) || !nth(in, KR_MRD_ACQUISITION, 0, &m))
        return;
    kr_line l = kr_mrd_line_parse(m.head);
    struct told t;
    struct bytes a = answer_of(in, "rss", 5000);
    bool good = sound(a, true, &t);
    if (good && t.images != expected && !t.errors && !l.traj_dims)
        good = WRONG("%ld images, %ld were expected, and no error was told (%s)", t.images, expected, t.first);
    verdict(good, "rss gives an image of every slice, repetition and contrast, or an error", name, why);
    bool plain = true;                                           /* simplefft takes calibration lines for the image's */
    for (long i = 0; nth(in, KR_MRD_ACQUISITION, i, &m); i++) {
        int kind = kr_line_kind_of(kr_mrd_line_parse(m.head).flags);
        plain &= kind == KR_LINES_IMAGING || kind == KR_LINES_NOISE;
    }
    if (plain && is_config(in, "simplefft") && t.images && nth(recorded, KR_MRD_IMAGE, t.images - 1, &theirs) && !nth(recorded, KR_MRD_IMAGE, t.images, &theirs))
        for (long i = 0; i < t.images; i++) {
            nth(a, KR_MRD_IMAGE, i, &m);
            nth(recorded, KR_MRD_IMAGE, i, &theirs);
            double r = correlation(&m, &theirs);
            if (r >= 0)
                verdict(r > 0.999 || WRONG("correlation %.6f", r), "and it is the image that was recorded (correlation above 0.999)", name, why);
        }
    kr_free(a.s);
}

static void check_pair(const char *name, const char *folder, const char *base, const json_t *j)
{
    static const char *const way[2] = { "client_to_server", "server_to_client" };
    struct bytes b[2] = { { NULL, 0 }, { NULL, 0 } };
    for (int k = 0; k < 2; k++) {
        kr_auto char *path = kr_strf("%s/%s_%s.bin", folder, base, way[k]);
        b[k] = load(path);
        if (!b[k].s)
            verdict(false, "is there", path, kr_error());
        else
            check_stream(way[k], b[k], json_object_get(j, way[k]));
    }
    if (b[0].s && b[1].s) {
        check_own(name, b[0], b[1]);
        check_rss(name, b[0], b[1]);
    }
    kr_free(b[0].s);
    kr_free(b[1].s);
}

static void check_awkward(const char *name, struct bytes in)
{
    struct told t;
    struct bytes a = answer_of(in, NULL, 100);
    bool good = sound(a, true, &t);
    if (good && !t.texts)
        good = WRONG("no text");
    verdict(good, "is answered with a text and CLOSE", name, why);
    kr_free(a.s);
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n > k && !strcmp(s + n - k, with);
}

static bool is_among(char **all, int n, const char *name, size_t length, const char *rest)
{
    for (int i = 0; i < n; i++)
        if (!strncmp(all[i], name, length) && !strcmp(all[i] + length, rest))
            return true;
    return false;
}

enum { FILES = 4096 };

static void check_folder(const char *folder)
{
    static char *all[FILES];
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *f; d && n < FILES && (f = readdir(d)); )
        if (ends(f->d_name, ".json") || ends(f->d_name, ".bin"))
            all[n++] = kr_strdup(f->d_name);
    if (d)
        closedir(d);
    qsort(all, (size_t)n, sizeof *all, by_name);
    for (int i = 0; i < n; i++) {
        kr_auto char *path = kr_strf("%s/%s", folder, all[i]);
        kr_auto char *base = kr_strf("%.*s", (int)(strrchr(all[i], '.') - all[i]), all[i]);
        if (ends(all[i], ".json")) {
            json_t *j = json_load_file(path, 0, NULL);
            if (json_is_object(j))
                check_pair(base, folder, base, j);
            else if (json_is_array(j)) {
                kr_auto char *bin = kr_strf("%s/%s.bin", folder, base);
                struct bytes b = load(bin);
                if (!b.s)
                    verdict(false, "is there", bin, kr_error());
                else {
                    size_t k = strlen(base) > 17 && ends(base, "_client_to_server") ? strlen(base) - 17 : 0;
                    kr_auto char *other = kr_strf("%s/%.*s_server_to_client.bin", folder, (int)k, base);
                    struct bytes recorded = k && !access(other, F_OK) ? load(other) : (struct bytes){ NULL, 0 };
                    check_stream(base, b, j);
                    check_own(base, b, recorded);
                    check_rss(base, b, recorded);
                    kr_free(recorded.s);
                }
                kr_free(b.s);
            }
            json_decref(j);
            continue;
        }
        const char *p = ends(base, "_client_to_server") ? base + strlen(base) - 17 : ends(base, "_server_to_client") ? base + strlen(base) - 17 : NULL;
        if (is_among(all, n, base, strlen(base), ".json") || (p && is_among(all, n, base, (size_t)(p - base), ".json")) || ends(base, "_server_to_client"))
            continue;
        struct bytes b = load(path);
        if (b.s)
            check_awkward(base, b);
        kr_free(b.s);
    }
    for (int i = 0; i < n; i++)
        kr_free(all[i]);
}

int main(int argc, char **argv)
{
    int there = 0;
    for (int i = 1; i < argc; i++)
        there += !access(argv[i], F_OK);
    if (!there) {
        printf("1..0 # SKIP no recorded sessions: %s is absent\n", argc > 1 ? argv[1] : "a folder");
        return 0;
    }
    for (int i = 1; i < argc; i++)
        if (access(argv[i], F_OK))
            printf("ok %d - %s # SKIP it is absent\n", ++count, argv[i]);
        else
            check_folder(argv[i]);
    printf("1..%d\n", count);
    return failed != 0;
}
