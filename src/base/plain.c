/* plain.c: plain files for reading. */
#include "kray/base.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int kr_file_open(const char *path, int64_t *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a pipe without a writer must not hold us up */
    if (fd < 0)
        return kr_fail(KR_EFILE, "%s cannot be opened: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return kr_fail(KR_EFILE, S_ISFIFO(st.st_mode) ? "%s is not a plain file, but a pipe" : "%s is not a plain file", path);
    }
    *bytes = st.st_size;
    return fd;
}

char *kr_file_whole(const char *path, size_t most, size_t *n)
{
    int64_t bytes = 0;
    int fd = kr_file_open(path, &bytes);
    if (fd < 0)
        return NULL;
    char *text = (uint64_t)bytes <= most ? kr_alloc((size_t)bytes + 1, 1) : NULL;
    if ((uint64_t)bytes > most)
        kr_fail(KR_EFORMAT, "%s has %lld bytes; at most %zu are read", path, (long long)bytes, most);
    for (*n = 0; text && *n < (size_t)bytes; ) {
        ssize_t k = read(fd, text + *n, (size_t)bytes - *n);
        if (k > 0)
            *n += (size_t)k;
        else if (!k || errno != EINTR) {
            kr_fail(KR_EFILE, k ? "%s cannot be read: %s" : "%s cannot be read to its end", path, strerror(errno));
            kr_free_at(&text);
        }
    }
    close(fd);
    if (text)
        text[*n] = 0;
    return text;
}
