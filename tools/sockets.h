/* sockets.h: TCP connections. Private to tools/. */
#ifndef KRAY_SOCKETS_H
#define KRAY_SOCKETS_H
#include "kray/base.h"

/* Descriptors, or refusals. host: a name or an address; "" every address of this machine. *bound: the port that it became, where 0 asks for a
 * free one. */
int sockets_listen(const char *host, long port, long *bound) KR_MUST_USE;
int sockets_accept(int listening, char from[64]);        /* does not wait; -1: nobody is there, or there are no descriptors left */
/* Tries again every half second until so many seconds are over. */
int sockets_connect(const char *host, long port, double patience, const kr_trace *trace) KR_MUST_USE;
/* Bytes sent or received, 0: not now; -1: the other side is gone (sockets_receive: or has ended its stream, then *ended). None waits. */
long sockets_send(int fd, const void *bytes, size_t n);
long sockets_receive(int fd, void *to, size_t n, bool *ended);
#endif
