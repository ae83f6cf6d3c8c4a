/* each.c: see each.h. */
#include "each.h"
#include "kray/wire.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MOST = 1 << 20 };

static void stop(struct each *e)
{
    if (e->in >= 0)
        close(e->in);
    if (e->out >= 0)
        close(e->out);
    bool gone = e->child <= 0;
    for (int i = 0; i < 250 && !gone; i++) {
        gone = waitpid(e->child, NULL, WNOHANG) != 0;
        if (!gone)
            poll(NULL, 0, 20);
    }
    if (!gone) {
        kill(-e->child, SIGKILL);
        waitpid(e->child, NULL, 0);
    }
    e->in = e->out = -1;
    e->child = 0;
    e->ended = true;
}

void each_close(struct each *e)
{
    stop(e);
    kr_text_clear(&e->images);
    kr_text_clear(&e->read);
}

int each_open(struct each *e, const char *command)
{
    int in[2], out[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in))      /* not a pipe: writing to one that nobody reads would end us */
        return kr_fail(KR_EFILE, "--each cannot be started: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return kr_fail(KR_EFILE, "--each cannot be started: %s", strerror(errno));
    }
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        setpgid(0, 0);
        dup2(in[1], 0);
        dup2(out[1], 1);
        signal(SIGINT, SIG_DFL);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[1]);
    close(out[1]);
    e->in = in[0];
    e->out = out[0];
    if (child > 0) {
        setpgid(child, child);
        fcntl(e->in, F_SETFL, O_NONBLOCK);
        fcntl(e->out, F_SETFL, O_NONBLOCK);
        e->child = child;
        return 0;
    }
    int why = kr_fail(KR_EMEM, "--each cannot be started: %s", strerror(errno));
    stop(e);
    return why;
}

/* Bytes read; 0: not now; -1: it has ended its output. */
static long read_some(struct each *e)
{
    char room[4096];
    ssize_t k = read(e->out, room, sizeof room);
    if (k > 0)
        kr_text_put(&e->read, room, (size_t)k);
    return k > 0 ? k : k < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int ask(struct each *e, size_t n_image, double seconds, char **line)
{
    size_t sent = 0;
    bool deaf = false;
    for (double until = kr_seconds() + seconds; ; ) {
        char *end = e->read.len ? memchr(e->read.s, '\n', e->read.len) : NULL;
        if (end) {                                               /* also where it has not read all */
            size_t n = (size_t)(end - e->read.s);
            *line = kr_strf("%.*s", (int)n, e->read.s);
            memmove(e->read.s, end + 1, e->read.len - n - 1);
            e->read.len -= n + 1;
            if (sent < n_image && !deaf)
                return kr_fail(KR_EREFUSED, "answered before it had read the image");
            return *line ? 0 : kr_error_code();
        }
        double left = until - kr_seconds();
        if (e->read.failed || e->read.len > LINE_MOST)
            return kr_fail(KR_EREFUSED, "answers by a line of more than %d bytes", LINE_MOST);
        if (left <= 0)
            return kr_fail(KR_EREFUSED, "does not answer an image within %g s", seconds);
        struct pollfd p[2] = { { .fd = sent < n_image && !deaf ? e->in : -1, .events = POLLOUT }, { .fd = e->out, .events = POLLIN } };
        poll(p, 2, (int)(1000 * left) + 1);
        if (p[0].revents) {
            ssize_t k = send(e->in, e->images.s + sent, n_image - sent, MSG_NOSIGNAL);
            sent += k > 0 ? (size_t)k : 0;
            deaf = k < 0 && errno != EAGAIN && errno != EINTR;
        }
        if (p[1].revents && read_some(e) < 0)
            return kr_fail(KR_EREFUSED, "has ended without a line for an image");
    }
}

bool each_show(struct each *e, const void *message, size_t n)
{
    if (!e->ended)
        kr_text_put(&e->images, message, n);
    return !e->ended && !e->images.failed;
}

int each_ask(struct each *e, double seconds, char **line)
{
    int64_t n = 0;
    *line = NULL;
    bool whole = kr_mrd_length(&n, (const unsigned char *)e->images.s, e->images.len, INT64_MAX) == 1 && (size_t)n <= e->images.len;
    int bad = !whole ? kr_fail(KR_EFORMAT, "is shown half an image") : e->ended ? kr_fail(KR_EREFUSED, "has ended, and does not see this image") : ask(e, (size_t)n, seconds, line);
    json_t *j = bad ? NULL : json_loads(*line, JSON_DECODE_ANY, NULL);
    if (!bad && !j)
        bad = kr_fail(KR_EREFUSED, "answers '%.80s', and a line of JSON is wanted", *line);
    json_decref(j);
    memmove(e->images.s, e->images.s + n, e->images.len - (size_t)n);
    e->images.len -= (size_t)n;
    if (bad) {
        kr_fail_in("--each");
        kr_free_at(line);
        stop(e);
    }
    return bad;
}
