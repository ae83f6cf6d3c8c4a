/* journal.c: what clients sent, message after message, as a recorded stream; at its end an ISMRMRD file. */
#include "server.h"
#include "kray/io.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* libhdf5 knows one thread at a time. */
static pthread_mutex_t hdf5 = PTHREAD_MUTEX_INITIALIZER;

int journal_open(struct journal *j, const char *folder, long number)
{
    char day[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(day, sizeof day, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    *j = (struct journal){ .fd = -1, .name = kr_strf("%s/mrd-%s-%ld-%ld", folder, day, (long)getpid(), number) };
    j->part = j->name ? kr_strf("%s.part", j->name) : NULL;
    if (!j->part)
        return kr_error_code();
    j->fd = open(j->part, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    return j->fd >= 0 ? 0 : kr_fail(KR_EFILE, "%s cannot be made: %s", j->part, strerror(errno));
}

void journal_put(struct journal *j, const void *bytes, size_t n)
{
    for (const char *p = bytes; n && j->fd >= 0 && !j->bad; ) {
        ssize_t k = write(j->fd, p, n);
        j->bad = k < 0 && errno != EINTR;
        p += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
}

/* NAME.part becomes NAME.h5 or NAME.bin. */
static int finish(const char *name, char **result, kr_text *note)
{
    kr_auto char *part = kr_strf("%s.part", name);
    kr_auto char *bin = kr_strf("%s.bin", name);
    kr_auto char *h5 = kr_strf("%s.h5", name);
    kr_mrd_kept k;
    struct stat st;
    *result = NULL;
    if (!part || !bin || !h5)
        return kr_error_code();
    if (!stat(part, &st) && !st.st_size)
        return unlink(part) ? kr_fail(KR_EFILE, "%s: %s", part, strerror(errno)) : 0;
    pthread_mutex_lock(&hdf5);
    int e = kr_mrd_keep(&k, part, h5);
    pthread_mutex_unlock(&hdf5);
    if (!e && !k.left) {
        *result = kr_strdup(h5);
        if (k.cut)
            kr_text_add(note, "the end is missing: it is whole up to acquisition %ld", k.lines);
        return unlink(part) ? kr_fail(KR_EFILE, "%s: %s", part, strerror(errno)) : *result ? 0 : kr_error_code();
    }
    if (!e) {
        kr_text_add(note, "%ld messages that an ISMRMRD file has no place for: kept as a recorded stream", k.left);
        unlink(h5);
    } else
        kr_text_add(note, "kept as a recorded stream: %s", kr_error());
    kr_error_clear();
    *result = kr_strdup(bin);
    if (k.cut && k.whole > 0 && truncate(part, k.whole))
        return kr_fail(KR_EFILE, "%s: %s", part, strerror(errno));
    return rename(part, bin) ? kr_fail(KR_EFILE, "%s: %s", bin, strerror(errno)) : *result ? 0 : kr_error_code();
}

int journal_close(struct journal *j, bool keep, char **result, kr_text *note)
{
    *result = NULL;
    int e = j->fd >= 0 && (fsync(j->fd) | close(j->fd)) ? kr_fail(KR_EFILE, "%s: %s", j->part, strerror(errno)) : 0;
    if (j->fd >= 0 && j->bad)
        e = kr_fail(KR_EFILE, "%s could not be written as a whole; is the disk full? What there is stays", j->part);
    if (!e && j->fd >= 0 && !keep)
        unlink(j->part);
    else if (!e && j->fd >= 0)
        e = finish(j->name, result, note);
    kr_free(j->part);
    kr_free(j->name);
    *j = (struct journal){ .fd = -1 };
    return e;
}

/* Another server may be at work in the same folder: mrd-DAY-TIME-PID-NUMBER.part is its own while PID lives. */
static bool is_left(const char *file)
{
    long pid, number;
    char day[9], time_of_day[7], end[8];
    if (sscanf(file, "mrd-%8[0-9]-%6[0-9]-%ld-%ld.%7s", day, time_of_day, &pid, &number, end) != 5 || strcmp(end, "part"))
        return false;
    return pid == (long)getpid() || (kill((pid_t)pid, 0) && errno == ESRCH);
}

int journal_recover(const char *folder, const kr_trace *trace)
{
    DIR *d = opendir(folder);
    if (!d)
        return kr_fail(KR_EFILE, "%s: %s", folder, strerror(errno));
    for (struct dirent *f; (f = readdir(d)); ) {
        if (!is_left(f->d_name))
            continue;
        kr_auto char *name = kr_strf("%s/%.*s", folder, (int)(strlen(f->d_name) - 5), f->d_name);
        kr_auto char *result = NULL;
        kr_text note = { 0 };
        if (!name || finish(name, &result, &note))
            kr_say(trace, KR_WARNING, "%s: %s", f->d_name, kr_error());
        else
            kr_say(trace, KR_INFO, "%s, of a server that did not end: %s%s%s", f->d_name, result ? result : "empty", note.len ? ", " : "", note.len ? note.s : "");
        kr_error_clear();
        kr_text_clear(&note);
    }
    closedir(d);
    return 0;
}
