/* stage.c: see stage.h. */
#include "stage.h"
#include "tool.h"
#include "kray/segment.h"
#include "kray/segmenter.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEPT = 4096 };                         /* bytes of what a stage prints                              */

/* The last line that says something. */
static void last_line(char to[200], const char *said)
{
    size_t n = said ? strlen(said) : 0;
    while (n && (said[n - 1] == '\n' || said[n - 1] == '\r' || said[n - 1] == ' '))
        n--;
    /* Kray ends a refusal with where to read on: the line before tells why. */
    static const char pointer[] = "\nkray: see kray ";
    size_t from = n;
    while (from && said[from - 1] != '\n' && n - from < 190)
        from--;
    if (from && !strncmp(said + from - 1, pointer, sizeof pointer - 1))
        n = from - 1;
    from = n;
    while (from && said[from - 1] != '\n' && n - from < 190)
        from--;
    snprintf(to, 200, "%.*s", (int)(n - from), said ? said + from : "");
}

static void keep(struct stage_end *end, const char *bytes, size_t n, const kr_trace *trace)
{
    size_t have = strlen(end->said), drop = have + n > KEPT ? have + n - KEPT : 0;
    if (drop >= have) {
        size_t skip = n > KEPT ? n - KEPT : 0;
        have = 0;
        bytes += skip;
        n -= skip;
    } else
        memmove(end->said, end->said + drop, have -= drop);
    memcpy(end->said + have, bytes, n);
    end->said[have + n] = 0;
    for (size_t i = 0; i < n; i++)
        end->said[have + i] = end->said[have + i] ? end->said[have + i] : ' ';
    char line[200];
    last_line(line, end->said);
    kr_say(trace, KR_DETAIL, "%s", line);
}

int stage_exec(struct stage_end *end, char *const *argv, double seconds, const kr_trace *trace)
{
    int pipes[2];
    *end = (struct stage_end){ .status = -1, .said = kr_alloc_zero(KEPT + 1, 1) };
    if (!end->said)
        return kr_error_code();
    if (pipe2(pipes, O_CLOEXEC))
        return kr_fail(KR_EFILE, "%s cannot be started: %s", argv[0], strerror(errno));
    double start = kr_seconds();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        close(pipes[0]);
        close(pipes[1]);
        return kr_fail(KR_EMEM, "%s cannot be started: %s", argv[0], strerror(errno));
    }
    if (!child) {
        setpgid(0, 0);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        signal(SIGINT, SIG_DFL);
        execvp(argv[0], argv);
        fprintf(stderr, "%s cannot be started: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    setpgid(child, child);
    close(pipes[1]);
    int status = 0;
    bool late = false, stopped = false, gone = false, open_ = true;
    while (!gone) {
        char room[1024];
        struct pollfd p = { pipes[0], POLLIN, 0 };
        if (open_ && poll(&p, 1, 100) > 0) {
            ssize_t n = read(pipes[0], room, sizeof room);
            if (n > 0)
                keep(end, room, (size_t)n, trace);
            open_ = n > 0;
        } else if (!open_)
            poll(NULL, 0, 20);
        gone = waitpid(child, &status, WNOHANG) == child;
        stopped = trace && trace->stop && *trace->stop;
        late = !gone && seconds > 0 && kr_seconds() - start > seconds;
        if (!gone && (late || stopped)) {
            kill(-child, SIGTERM);
            for (int i = 0; i < 50 && !gone; i++) {           /* five seconds to leave in order */
                poll(NULL, 0, 100);
                gone = waitpid(child, &status, WNOHANG) == child;
            }
            kill(-child, SIGKILL);
            if (!gone)
                waitpid(child, &status, 0);
            gone = true;
        }
    }
    for (char room[1024]; open_; ) {                          /* what is left in the pipe; a child of its own may hold it open */
        struct pollfd p = { pipes[0], POLLIN, 0 };
        ssize_t n = poll(&p, 1, 0) > 0 ? read(pipes[0], room, sizeof room) : 0;
        if (n > 0)
            keep(end, room, (size_t)n, trace);
        open_ = n > 0;
    }
    close(pipes[0]);
    end->seconds = kr_seconds() - start;
    end->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    char line[200];
    last_line(line, end->said);
    const char *with = line[0] ? "; it said last: " : "; it said nothing";
    if (stopped)
        return kr_stopped(trace);
    if (late)
        return kr_fail(KR_EREFUSED, "was stopped after %g s%s%s", seconds, with, line);
    if (WIFSIGNALED(status))
        return kr_fail(KR_EREFUSED, "was ended by signal %d (%s)%s%s", WTERMSIG(status), strsignal(WTERMSIG(status)), with, line);
    return end->status ? kr_fail(KR_EREFUSED, "ended with status %d%s%s", end->status, with, line) : 0;
}

/* The word in single quotes, as a shell reads it. */
static void quoted(kr_text *t, const char *value)
{
    kr_text_put(t, "'", 1);
    for (; *value; value++)
        kr_text_put(t, *value == '\'' ? "'\\''" : value, *value == '\'' ? 4 : 1);
    kr_text_put(t, "'", 1);
}

/* The name in braces that p begins with: its number in `word`, and its length; -1 where p begins with none, -2 a refusal. */
static int word_at(const char *p, const struct stage_word *word, size_t *length)
{
    size_t n = *p == '{' ? strspn(p + 1, "abcdefghijklmnopqrstuvwxyz") : 0;
    int k = 0;
    if (!n || p[n + 1] != '}')
        return -1;
    *length = n + 2;
    while (word[k].name && (strlen(word[k].name) != n || strncmp(word[k].name, p + 1, n)))
        k++;
    if (word[k].name)
        return k;
    kr_text known = { 0 };
    for (k = 0; word[k].name; k++)
        kr_text_add(&known, "%s{%s}", k ? ", " : "", word[k].name);
    kr_fail(KR_EUSAGE, "{%.*s} stands for nothing; %s do", (int)n, p + 1, known.s ? known.s : "no words");
    kr_text_clear(&known);
    return -2;
}

int stage_check(const struct stage *s)
{
    size_t n;
    for (const char *p = s->command; *p; p++)
        if (word_at(p, s->word, &n) == -2)
            return kr_error_code();
    return 0;
}

int stage_run(struct stage_end *end, const struct stage *s, const kr_trace *trace)
{
    kr_text t = { 0 };
    *end = (struct stage_end){ .status = -1 };
    if (stage_check(s))
        return kr_error_code();
    for (const char *p = s->command; *p; ) {
        size_t n = 1;
        int k = word_at(p, s->word, &n);
        if (k < 0)
            kr_text_put(&t, p, 1);
        else
            quoted(&t, s->word[k].value);
        p += n;
    }
    kr_text_put(&t, "", 1);
    char *argv[] = { "/bin/sh", "-c", t.s, NULL };
    int e = t.failed ? kr_error_code() : stage_exec(end, argv, s->seconds, trace);
    kr_text_clear(&t);
    return e;
}

int stage_check_labels(const char *labels, const char *image)
{
    kr_scoped(image) l = NULL;
    kr_scoped(image) im = NULL;
    kr_auto int32_t *v = NULL;
    long n[3];
    if (kr_image_read(&l, labels) || kr_image_read(&im, image))
        return kr_error_code();
    return kr_image_same_grid(l, im, labels, image) ? kr_error_code() : kr_labels_of(&v, n, l) ? kr_fail_in("%s", labels) : 0;
}

int stage_then_check(const char *command)
{
    const struct stage s = { command, 0, { { "image", "" }, { "labels", "" } } };
    return stage_check(&s) ? kr_fail_in("--then") : 0;
}

int stage_then(const char *command, double seconds, const char *image, json_t *j, const kr_trace *trace)
{
    size_t n = strlen(image);
    static const char *const suffix[] = { ".nii.gz", ".nii", ".h5", ".npy", ".cfl", ".mat" };
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        if (n > strlen(suffix[i]) && !strcmp(image + n - strlen(suffix[i]), suffix[i])) {
            n -= strlen(suffix[i]);
            break;
        }
    kr_auto char *labels = kr_strf("%.*s_labels.nii.gz", (int)n, image);
    if (!labels)
        return kr_error_code();
    bool wanted = strstr(command, "{labels}") != NULL;
    if (wanted && unlink(labels) && errno != ENOENT)          /* one of an earlier run would pass for this one's */
        return kr_fail(KR_EFILE, "%s: %s", labels, strerror(errno));
    const struct stage s = { command, seconds, { { "image", image }, { "labels", labels } } };
    struct stage_end end;
    int e = stage_run(&end, &s, trace);
    if (e)
        e = kr_fail_in("--then on %s", image);
    else if (wanted && access(labels, F_OK))
        e = kr_fail(KR_EFILE, "--then on %s ended well, but wrote no %s", image, labels);
    else if (wanted && (e = stage_check_labels(labels, image)))
        e = kr_fail_in("--then on %s", image);
    json_object_set_new(j, "then", json_pack("{s:s,s:o,s:i,s:f,s:o}", "command", command, "labels", wanted && !e ? json_words(labels) : json_null(), "status", end.status, "seconds",
                        end.seconds, "said", json_words(end.said)));
    kr_free(end.said);
    return e;
}
