/* beside.c: new files come to their place only when they are whole and on the disk. */
#include "kray/base.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOST = 65 };

/* What the names of this machine's folders begin with: another machine may share the disk. */
static void prefix(char to[HOST + 8])
{
    char host[HOST] = "";
    if (gethostname(host, sizeof host - 1))
        *host = 0;
    for (char *p = host; *p; p++)
        *p = *p == '/' || *p == '-' ? '_' : *p;
    snprintf(to, HOST + 8, ".kray-%s-", host);
}

/* A folder of ours with all that is in it, by name inside `at`. */
static void remove_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *f; d && (f = readdir(d)); )
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, "..") && unlinkat(dirfd(d), f->d_name, 0) && errno == EISDIR)
            remove_folder(dirfd(d), f->d_name);
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* Clears away the folders of processes of this machine and user that are no more. */
static void sweep(const char *dir)
{
    char ours[HOST + 8];
    prefix(ours);
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d)); ) {
        char *end;
        size_t n = strlen(ours);
        if (strncmp(f->d_name, ours, n))
            continue;
        long pid = strtol(f->d_name + n, &end, 10);
        struct stat st;
        if (pid > 0 && *end == '-' && strlen(end) == 7 && kill((pid_t)pid, 0) && errno == ESRCH
            && !fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
            remove_folder(dirfd(d), f->d_name);
    }
    if (d)
        closedir(d);
}

int kr_beside_open(kr_beside *b, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char ours[HOST + 8];
    prefix(ours);
    *b = (kr_beside){ 0 };
    kr_auto char *dir = slash ? kr_strf("%.*s", slash == path ? 1 : (int)(slash - path), path) : kr_strdup(".");
    kr_auto char *folder = dir ? kr_strf("%s/%s%ld-XXXXXX", dir, ours, (long)getpid()) : NULL;
    b->place = folder ? kr_strdup(path) : NULL;
    if (!b->place)
        return kr_error_code();
    sweep(dir);
    if (!mkdtemp(folder)) {
        kr_free_at(&b->place);
        return kr_fail(KR_EFILE, "the folder %s cannot be written: %s", dir, strerror(errno));
    }
    b->folder = folder;
    folder = NULL;
    if (!(b->file = kr_strf("%s/%s", b->folder, name))) {
        int e = kr_error_code();
        kr_beside_drop(b);
        return e;
    }
    return 0;
}

/* All files of a folder to the disk. */
static int sync_files(const char *folder)
{
    DIR *d = opendir(folder);
    int e = d ? 0 : kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    for (struct dirent *f; !e && (f = readdir(d)); ) {
        int fd = f->d_name[0] == '.' ? -1 : openat(dirfd(d), f->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && (fsync(fd) | close(fd)))
            e = kr_fail(KR_EFILE, "%s cannot be written: %s", f->d_name, strerror(errno));
    }
    if (d)
        closedir(d);
    return e;
}

/* A folder that is the output: the one that it replaces goes where all that is temporary goes, and comes back where this one cannot be put there. */
static int put_folder_in_place(const char *from, const char *to)
{
    kr_auto char *old = kr_strf("%s.old", from);
    if (!old || sync_files(from))
        return kr_error_code();
    bool was = !rename(to, old);
    if (!rename(from, to))
        return 0;
    int why = errno;
    if (was)
        (void)!rename(old, to);
    return kr_fail(KR_EFILE, "cannot be put in place: %s", strerror(why));
}

/* One file of the folder, on the disk before the one that it replaces goes. */
static int put_in_place(const char *from, const char *to)
{
    struct stat st;
    if (!lstat(from, &st) && S_ISDIR(st.st_mode))
        return put_folder_in_place(from, to);
    int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    int bad = fsync(fd), why = errno;
    if (close(fd) || bad)
        return kr_fail(KR_EFILE, "cannot be written: %s", strerror(bad ? why : errno));
    return rename(from, to) ? kr_fail(KR_EFILE, "cannot be put in place: %s", strerror(errno)) : 0;
}

static int commit(const kr_beside *b)
{
    const char *own = b->file + strlen(b->folder) + 1, *slash = strrchr(b->place, '/');
    int place = slash ? (int)(slash - b->place) + 1 : 0, e = 0;
    DIR *d = opendir(b->folder);
    if (!d)
        return kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    for (struct dirent *f; !e && (f = readdir(d)); ) {
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..") || !strcmp(f->d_name, own))
            continue;
        kr_auto char *from = kr_strf("%s/%s", b->folder, f->d_name), *to = kr_strf("%.*s%s", place, b->place, f->d_name);
        e = from && to ? put_in_place(from, to) : kr_error_code();
    }
    closedir(d);
    return e ? e : put_in_place(b->file, b->place);
}

int kr_beside_commit(kr_beside *b)
{
    int e = commit(b);
    kr_beside_drop(b);
    return e;
}

void kr_beside_drop(kr_beside *b)
{
    if (b->folder)
        remove_folder(AT_FDCWD, b->folder);
    kr_free_at(&b->folder);
    kr_free_at(&b->file);
    kr_free_at(&b->place);
}
