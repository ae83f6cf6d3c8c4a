/* sockets.c: TCP connections; the one place that opens some. */
#include "sockets.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct addrinfo *resolve(const char *host, long port, int flags)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *all = NULL;
    char service[16];
    snprintf(service, sizeof service, "%ld", port);
    int e = getaddrinfo(*host ? host : NULL, service, &hints, &all);
    if (e)
        kr_fail(KR_EREFUSED, "there is no host '%s': %s", host, gai_strerror(e));
    return e ? NULL : all;
}

static void settle(int fd)
{
    int on = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

int sockets_listen(const char *host, long port, long *bound)
{
    struct addrinfo *all = resolve(host, port, AI_PASSIVE);
    if (!all)
        return kr_error_code();
    int fd = -1, on = 1, why = 0;
    for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 128)) {
            why = errno;
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(all);
    if (fd < 0)
        return kr_fail(KR_EREFUSED, "port %ld of '%s' cannot be opened: %s", port, *host ? host : "every address", strerror(why));
    settle(fd);
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    char service[16] = "";
    *bound = port;
    if (!getsockname(fd, (struct sockaddr *)&at, &n) && !getnameinfo((struct sockaddr *)&at, n, NULL, 0, service, sizeof service, NI_NUMERICSERV))
        sscanf(service, "%ld", bound);
    return fd;
}

int sockets_accept(int listening, char from[64])
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    int fd = accept(listening, (struct sockaddr *)&at, &n);
    if (fd < 0)
        return -1;
    settle(fd);
    char host[48] = "?", port[8] = "?";
    getnameinfo((struct sockaddr *)&at, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(from, 64, "%s:%s", host, port);
    return fd;
}

static int connect_once(const struct addrinfo *all, int *why)
{
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd >= 0 && !connect(fd, a->ai_addr, a->ai_addrlen)) {
            settle(fd);
            return fd;
        }
        *why = errno;
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

int sockets_connect(const char *host, long port, double patience, const kr_trace *trace)
{
    struct addrinfo *all = resolve(host, port, 0);
    if (!all)
        return kr_error_code();
    double until = kr_seconds() + patience;
    int why = 0, fd;
    while ((fd = connect_once(all, &why)) < 0 && kr_seconds() < until && !kr_stopped(trace))
        nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
    freeaddrinfo(all);
    return fd >= 0 ? fd : kr_stopped(trace) ? kr_error_code() : kr_fail(KR_EREFUSED, "nobody answers at %s:%ld: %s", host, port, strerror(why));
}

static bool not_now(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

long sockets_send(int fd, const void *bytes, size_t n)
{
    ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);
    return k >= 0 ? (long)k : not_now() ? 0 : -1;
}

long sockets_receive(int fd, void *to, size_t n, bool *ended)
{
    ssize_t k = recv(fd, to, n, 0);
    *ended = k == 0;
    return k > 0 ? (long)k : k < 0 && not_now() ? 0 : -1;
}
