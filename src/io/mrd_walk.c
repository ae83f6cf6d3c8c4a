/* mrd_walk.c: a recorded stream, message by message. */
#include "mrd_walk.h"
#include "file.h"
#include <unistd.h>

static int walk(kr_mrd_walk *k, int fd, kr_mrd_wire *w, int (*put)(void *self, const kr_mrd_message *m), void *self)
{
    while (k->at < k->bytes) {
        size_t room;
        unsigned char *p = kr_mrd_wire_room(w, &room);
        room = k->bytes - k->at < (int64_t)room ? (size_t)(k->bytes - k->at) : room;
        if (!p || kr_file_read(fd, p, room, k->at))
            return kr_error_code();
        kr_mrd_wire_filled(w, room);
        k->at += (int64_t)room;
        kr_mrd_message m;
        int more;
        while ((more = kr_mrd_wire_next(w, &m)) > 0)
            if (put(self, &m))
                return kr_error_code();
        if (more < 0) {
            k->cut = true;
            return more;
        }
    }
    int e = kr_mrd_wire_end(w);
    k->cut = e != 0;
    return e;
}

int kr_mrd_walk_file(kr_mrd_walk *k, const char *path, int (*put)(void *self, const kr_mrd_message *m), void *self)
{
    *k = (kr_mrd_walk){ 0 };
    int fd = kr_file_open(path, &k->bytes);
    if (fd < 0)
        return kr_error_code();
    kr_mrd_wire *w = kr_mrd_wire_new(k->bytes + 1);
    int e = w ? walk(k, fd, w, put, self) : kr_error_code();
    k->whole = w ? kr_mrd_wire_at(w) : 0;
    kr_mrd_wire_unref(&w);
    close(fd);
    return e;
}
