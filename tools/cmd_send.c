/* cmd_send.c: kray send SCAN -o IMAGES: an MRD client: raw data to a server, images back. */
#include "kray/io.h"
#include "kray/mrd.h"
#include "json.h"
#include "rows.h"
#include "sockets.h"
#include "tool.h"
#include <ismrmrd/ismrmrd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct opts { const char *host, *config, *output, *from, *to; long port; double wait, idle; bool json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "images; further series go to OUT_2, OUT_3, ...; NAME.bin: all that came, as a recorded stream" },
    { "host", 0, KR_OPT_TEXT, offsetof(opts, host), "127.0.0.1", "HOST", "of the server" },
    { "port", 'p', KR_OPT_INT, offsetof(opts, port), "9002", "N", "of the server" },
    { "config", 'c', KR_OPT_TEXT, offsetof(opts, config), "auto", "WORD|JSON|FILE", "configuration: a name that the server knows, or JSON (also a file NAME.json), which is sent as text" },
    ROW_FROM(opts),
    { "to", 0, KR_OPT_TEXT, offsetof(opts, to), NULL, "FORMAT", "output format, whatever the suffix" },
    { "wait", 0, KR_OPT_REAL, offsetof(opts, wait), "5", "SECONDS", "for the server to take the connection" },
    { "idle", 0, KR_OPT_REAL, offsetof(opts, idle), "600", "SECONDS", "the server may be silent for so long" },
    ROW_JSON(opts),
    KR_OPT_END };

enum { WAITING = 4 << 20 };

struct link {
    int fd;
    kr_text out; size_t sent;
    kr_mrd_wire *wire;
    FILE *kept;                      /* all that came, as a recorded stream                             */
    const kr_trace *trace;
    bool given, closed, gone;        /* --config was given; CLOSE came; nobody takes or sends any more  */
    double idle;
    long images, others, errors;
    bool seen[65536];                /* series                                                          */
    char first[400];                 /* error                                                           */
};

static int heard(struct link *l, const kr_mrd_message *m)
{
    if (l->closed)
        return kr_fail(KR_EFORMAT, "the server goes on after its CLOSE");
    l->closed = m->id == KR_MRD_CLOSE;
    if (m->id == KR_MRD_TEXT) {
        kr_auto char *text = kr_mrd_text_of(m);
        if (!text)
            return kr_error_code();
        bool error = !strncmp(text, "ERR", 3);
        l->errors += error;
        if (error && !*l->first)
            snprintf(l->first, sizeof l->first, "%s", text + strcspn(text, " ") + strspn(text + strcspn(text, " "), " "));
        kr_say(l->trace, error || !strncmp(text, "WRN", 3) || !strncmp(text, "WARN", 4) ? KR_WARNING : !strncmp(text, "DBG", 3) || !strncmp(text, "DEBUG", 5) ? KR_DETAIL : KR_INFO,
               "server: %s", text);
    } else if (m->id == KR_MRD_IMAGE) {
        ISMRMRD_ImageHeader h;
        memcpy(&h, m->head, sizeof h);
        l->images++;
        l->seen[h.image_series_index] = true;
    } else
        l->others += m->id != KR_MRD_CLOSE;
    return fwrite(m->raw, 1, m->bytes, l->kept) == m->bytes ? 0 : kr_fail(KR_EFILE, "what the server sent cannot be kept; is the disk full?");
}

static int receive(struct link *l)
{
    bool ended;
    size_t room;
    unsigned char *to = kr_mrd_wire_room(l->wire, &room);
    long k = to ? sockets_receive(l->fd, to, room, &ended) : 0;
    if (!to)
        return kr_error_code();
    l->gone |= k < 0;
    kr_mrd_wire_filled(l->wire, k > 0 ? (size_t)k : 0);
    kr_mrd_message m;
    int more = 0;
    while (k > 0 && (more = kr_mrd_wire_next(l->wire, &m)) > 0)
        if (heard(l, &m))
            return kr_error_code();
    return more < 0 ? more : 0;
}

/* Moves bytes both ways until at most `left` are to be sent, or, if `all`, until the server has closed. */
static int pump(struct link *l, size_t left, bool all)
{
    double last = kr_seconds();
    for (size_t n; (n = l->out.len - l->sent, n > left) || (all && !l->closed); ) {
        if (l->gone)
            return l->closed ? 0 : kr_fail(KR_EREFUSED, *l->first ? "the server ended the connection: %s" : "the server ended the connection without CLOSE%s", l->first);
        struct pollfd p = { .fd = l->fd, .events = (short)(POLLIN | (n ? POLLOUT : 0)) };
        poll(&p, 1, 250);
        if (kr_stopped(l->trace) || (p.revents & (POLLIN | POLLHUP | POLLERR) && receive(l)))
            return kr_error_code();
        if (l->closed && !all)                                   /* it wants no more of us */
            return 0;
        if (p.revents & POLLOUT) {
            long k = sockets_send(l->fd, l->out.s + l->sent, n);
            if (k < 0 && !(p.revents & POLLIN))
                l->gone = true;
            l->sent += k > 0 ? (size_t)k : 0;
        }
        last = p.revents ? kr_seconds() : last;
        if (kr_seconds() - last > l->idle)
            return kr_fail(KR_EREFUSED, "the server was silent for %g seconds", l->idle);
    }
    if (l->sent == l->out.len)
        l->sent = l->out.len = 0;
    return 0;
}

/* What the configuration of the command line says is not taken back by the file's own. */
static int put_text(struct link *l, const kr_mrd_message *m)
{
    kr_auto char *text = kr_mrd_text_of(m);
    json_t *j = text ? json_loads(text, 0, NULL) : NULL, *p = json_object_get(j, "parameters");
    static const char *const key[] = { "config", "customconfig" };
    bool dropped = false;
    for (int i = 0; l->given && i < 2; i++)
        dropped = (json_object_get(p, key[i]) && !json_object_del(p, key[i])) || dropped;
    char *changed = dropped ? json_dumps(j, JSON_INDENT(2)) : NULL;
    json_decref(j);
    if (dropped)
        kr_say(l->trace, KR_INFO, "the file names a configuration, too, which --config replaces");
    kr_mrd_put_text(&l->out, KR_MRD_TEXT, changed ? changed : text ? text : "");
    free(changed);
    return 0;
}

static int put(void *self, const kr_mrd_message *m)
{
    struct link *l = self;
    if (l->closed)                                               /* the server wants no more: the rest is left out */
        return 0;
    if (m->id == KR_MRD_TEXT)
        put_text(l, m);
    else
        kr_mrd_put(&l->out, m);
    if (l->out.failed)
        return kr_fail(KR_EMEM, "no memory for what is sent");
    return l->out.len - l->sent > WAITING ? pump(l, WAITING / 2, false) : 0;
}

/* ---- Images ---- */
/* "images.nii.gz", 2 -> "images_2.nii.gz" */
static char *numbered(const char *path, int number)
{
    if (number < 2)
        return kr_strdup(path);
    const char *name = strrchr(path, '/'), *dot = strchr(name ? name : path, '.');
    size_t n = dot ? (size_t)(dot - path) : strlen(path);
    return kr_strf("%.*s_%d%s", (int)n, path, number, path + n);
}

static int write_images(const struct link *l, const char *stream, const opts *o)
{
    for (int series = 0, number = 1; series < 65536; series++) {
        if (!l->seen[series])
            continue;
        kr_auto char *source = kr_strf("%s:%d", stream, series);
        kr_auto char *path = numbered(o->output, number++);
        kr_scoped(image) im = NULL;
        if (!source || !path || kr_image_read(&im, source))
            return kr_error_code();
        kr_meta_set_whole(im->meta, kr_whole());
        if (kr_image_write(im, path, o->to))
            return kr_error_code();
        kr_say(l->trace, KR_INFO, "%s: %s, series %d", path, kr_shape_text(kr_array_shape(im->data)), series);
    }
    return 0;
}

static int copy(const char *from, const char *to)
{
    kr_beside b = { 0 };
    char block[1 << 14];
    FILE *f = fopen(from, "rb"), *g = !kr_folder_for(to) && !kr_beside_open(&b, to) ? fopen(b.file, "wb") : NULL;
    int e = f && g ? 0 : kr_fail(KR_EFILE, "%s cannot be written", to);
    for (size_t n; !e && (n = fread(block, 1, sizeof block, f)) > 0; )
        if (fwrite(block, 1, n, g) != n)
            e = kr_fail(KR_EFILE, "%s cannot be written", to);
    if (f)
        fclose(f);
    if (g && fclose(g) && !e)
        e = kr_fail(KR_EFILE, "%s cannot be written", to);
    e = e ? e : kr_beside_commit(&b);
    kr_beside_drop(&b);
    return e;
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n > k && !strcmp(s + n - k, with);
}

/* ---- One file ---- */
static int put_config(struct link *l, const opts *o)
{
    const char *c = o->config + strspn(o->config, " \t\r\n");
    size_t bytes;
    if (*c == '{')
        kr_mrd_put_text(&l->out, KR_MRD_CONFIG_TEXT, c);
    else if (ends(c, ".json") && !access(c, F_OK)) {
        kr_auto char *text = kr_file_whole(c, KR_MRD_TEXT_MOST, &bytes);
        if (!text)
            return kr_error_code();
        kr_mrd_put_text(&l->out, KR_MRD_CONFIG_TEXT, text);
    } else if (strlen(c) >= KR_MRD_FILE_NAME)
        return kr_fail(KR_EUSAGE, "--config: the name of a configuration has at most %d characters", KR_MRD_FILE_NAME - 1);
    else
        kr_mrd_put_text(&l->out, KR_MRD_CONFIG_FILE, c);
    return 0;
}

/* Files of other formats become ISMRMRD first. */
static int messages_of(const char *file, const opts *o, const char *folder, struct link *l)
{
    kr_source src;
    if (kr_source_parse(&src, file))
        return kr_error_code();
    const kr_format *f = o->from ? kr_format_named(o->from) : kr_format_of(src.path);
    kr_source_clear(&src);
    if (!f)
        return kr_fail_in("%s", file);
    if (f->messages)
        return kr_mrd_messages(file, put, l, l->trace);
    kr_scoped(scan) s = NULL;
    kr_auto char *path = kr_strf("%s/scan.h5", folder);
    if (!path || kr_scan_read(&s, file, o->from, NULL, l->trace) || kr_scan_write(s, path, "ismrmrd"))
        return kr_error_code();
    return kr_mrd_messages(path, put, l, l->trace);
}

static int converse(struct link *l, const char *file, const opts *o, const char *folder)
{
    l->fd = sockets_connect(o->host, o->port, o->wait, l->trace);
    if (l->fd < 0 || put_config(l, o) || messages_of(file, o, folder, l))
        return kr_error_code();
    if (!l->closed)
        kr_mrd_put_close(&l->out);
    if (pump(l, 0, true))
        return kr_error_code();
    return fflush(l->kept) ? kr_fail(KR_EFILE, "what the server sent cannot be kept; is the disk full?") : 0;
}

static int send_file(const char *file, const opts *o, json_t *j, const kr_trace *trace)
{
    kr_beside room = { 0 };
    const char *place = getenv("TMPDIR");
    kr_auto char *path = kr_strf("%s/answer.bin", place && *place ? place : P_tmpdir);
    kr_auto struct link *l = kr_alloc_zero(1, sizeof *l);
    if (!path || !l || kr_beside_open(&room, path))
        return kr_error_code();
    l->fd = -1;
    l->trace = trace;
    l->given = strcmp(o->config, "auto");
    l->idle = o->idle;
    l->wire = kr_mrd_wire_new((int64_t)8 << 30);
    l->kept = fopen(room.file, "wb");
    int e = l->wire && l->kept ? 0 : kr_fail(KR_EFILE, "%s cannot be written", room.file);
    if (!e) {                                                    /* a recorded stream begins so */
        kr_text head = { 0 };
        kr_mrd_put_text(&head, KR_MRD_TEXT, "DBG received by kray send");
        e = !head.failed && fwrite(head.s, 1, head.len, l->kept) == head.len ? converse(l, file, o, room.folder) : kr_fail(KR_EFILE, "%s cannot be written", room.file);
        kr_text_clear(&head);
    }
    if (l->kept)
        fclose(l->kept);
    bool stream = ends(o->output, ".bin") && !o->to;
    if (!e && l->others && !stream)
        kr_say(trace, KR_WARNING, "the server sent %ld messages that are no images: -o NAME.bin keeps them", l->others);
    if (!e && stream)
        e = copy(room.file, o->output);
    else if (!e && l->images)
        e = write_images(l, room.file, o);
    if (!e && l->errors)
        e = kr_fail(KR_EREFUSED, "%s: the server tells of %ld error%s, first: %s", file, l->errors, l->errors == 1 ? "" : "s", l->first);
    if (!e && !l->images && !l->others)
        e = kr_fail(KR_EREFUSED, "%s: the server sent no images", file);
    json_object_set_new(j, "images", json_integer(l->images));
    json_object_set_new(j, "others", json_integer(l->others));
    json_object_set_new(j, "errors", json_integer(l->errors));
    if (l->fd >= 0)
        close(l->fd);
    kr_mrd_wire_unref(&l->wire);
    kr_text_clear(&l->out);
    kr_beside_drop(&room);
    return e;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files != 1)
        return kr_fail(KR_EUSAGE, files ? "one scan at a time, please" : "no scan is given");
    if (!o->output)
        return kr_fail(KR_EUSAGE, "where should the images go? Give -o OUT, for example -o images.h5");
    if (o->port < 1 || o->port > 65535 || !(o->wait >= 0) || !(o->idle > 0))
        return kr_fail(KR_EUSAGE, "--port is 1 to 65535; --wait and --idle are seconds");
    if (!(ends(o->output, ".bin") && !o->to) && kr_can_write(KR_PICTURE, o->output, o->to))
        return kr_error_code();
    struct answer a;
    answer_begin(&a, o->json, trace);
    json_t *j = answer_add(&a, o->output);
    json_object_set_new(j, "input", json_words(*file));
    json_object_set_new(j, "config", json_words(o->config));
    double started = kr_seconds();
    int e = send_file(*file, o, j, &a.trace);
    if (e)
        answer_failed(&a);
    json_object_set_new(j, "seconds", json_number(kr_seconds() - started));
    return answer_end(&a, e);
}

const kr_tool kr_tool_send = { "send", "Scanner", "MRD client: send raw data to a server, save the images it returns", "SCAN -o OUT [options]",
    "  kray send scan.h5 -o images.h5 --config grappa\n"
    "  kray send meas.dat -o images.nii.gz --host recon.lan --port 9002 --config rim\n"
    "  kray send scan.h5 -o images.nii.gz -c '{\"method\":\"sense\",\"options\":{\"lambda\":0.01}}'\n"
    "  kray send recorded.bin -o answer.bin --config echo        # a recorded stream, and all that comes back\n",
    table, sizeof(opts), NULL, run };
