/* file.c: whole blocks between files and memory. */
#include "file.h"
#include "kray/io.h"
#include "kray/pages.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct piece { int fd; char *to; size_t bytes; int64_t at; };
enum { PIECE = 1 << 20 };

static int read_piece(void *self, long i)
{
    const struct piece *p = self;
    size_t from = (size_t)i * PIECE, want = p->bytes - from < PIECE ? p->bytes - from : PIECE;
    for (size_t got = 0; got < want; ) {
        ssize_t n = pread(p->fd, p->to + from + got, want - got, p->at + (int64_t)(from + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kr_fail(KR_EFILE, "cannot be read: %s", strerror(errno));
        if (!n)
            return kr_fail(KR_EFORMAT, "the file ends at byte %lld, %zu bytes too early", (long long)p->at + (long long)(from + got),
                           p->bytes - from - got);
        got += (size_t)n;
    }
    return 0;
}

int kr_file_read(int fd, void *to, size_t bytes, int64_t at)
{
    return kr_for((long)((bytes + PIECE - 1) / PIECE), read_piece, &(struct piece){ fd, to, bytes, at });
}

char *kr_file_text(const char *path, size_t most)
{
    int64_t bytes = 0;
    int fd = kr_file_open(path, &bytes);
    if (fd < 0)
        return NULL;
    size_t n = (size_t)bytes < most ? (size_t)bytes : most;
    char *text = kr_alloc(n + 1, 1);
    if (text && kr_file_read(fd, text, n, 0))
        kr_free_at(&text);
    if (text)
        text[n] = 0;
    close(fd);
    return text;
}

char *kr_file_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    while (slash > path && slash[-1] == '/')
        slash--;
    return slash ? kr_strf("%.*s", slash == path ? 1 : (int)(slash - path), path) : kr_strdup(".");
}

int kr_folder_possible(const char *folder)
{
    struct stat st;
    if (!stat(folder, &st))
        return !S_ISDIR(st.st_mode) ? kr_fail(KR_EFILE, "%s is not a folder", folder)
             : access(folder, W_OK) ? kr_fail(KR_EFILE, "the folder %s cannot be written: %s", folder, strerror(errno)) : 0;
    if (errno != ENOENT)
        return kr_fail(KR_EFILE, "the folder %s cannot be reached: %s", folder, strerror(errno));
    if (!lstat(folder, &st))
        return kr_fail(KR_EFILE, "%s is a link to a folder that does not exist", folder);
    kr_auto char *above = kr_file_folder(folder);
    return above ? kr_folder_possible(above) : kr_error_code();
}

int kr_folder_make(const char *folder)
{
    struct stat st;
    if (!stat(folder, &st) && S_ISDIR(st.st_mode))
        return 0;
    kr_auto char *above = kr_file_folder(folder);
    if (!above || kr_folder_possible(folder) || kr_folder_make(above))
        return kr_error_code();
    return mkdir(folder, 0777) && errno != EEXIST ? kr_fail(KR_EFILE, "the folder %s cannot be made: %s", folder, strerror(errno)) : 0;
}

int kr_folder_for(const char *file)
{
    kr_auto char *folder = kr_file_folder(file);
    return folder ? kr_folder_make(folder) : kr_error_code();
}

int kr_file_create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return fd < 0 ? kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno)) : fd;
}

int kr_file_put(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes; ) {
        kr_mem_kept();
        ssize_t n = write(fd, (const char *)data + done, bytes - done < PIECE ? bytes - done : PIECE);
        if (n < 0 && errno != EINTR)
            return kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int kr_file_close(int fd, int e)
{
    if (fd >= 0 && close(fd) && !e)
        e = kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    return e;
}

int kr_file_write(const char *path, const kr_block *block, int count)
{
    int fd = kr_file_create(path), e = fd < 0 ? fd : 0;
    for (int i = 0; !e && i < count; i++)
        e = kr_file_put(fd, block[i].data, block[i].bytes);
    return kr_file_close(fd, e);
}
