/* mrd_walk.h: the messages of a recorded stream. Private to this folder. */
#ifndef KRAY_MRD_WALK_H
#define KRAY_MRD_WALK_H
#include "kray/wire.h"

typedef struct kr_mrd_walk {
    int64_t at, bytes;               /* of the file: read so far, and all                                */
    int64_t whole;                   /* of whole messages                                                */
    bool cut;                        /* refused is the stream itself, which is damaged or ends within a message */
} kr_mrd_walk;
/* Gives every message to put, in their order, up to its first refusal. */
int kr_mrd_walk_file(kr_mrd_walk *k, const char *path, int (*put)(void *self, const kr_mrd_message *m), void *self) KR_MUST_USE;
#endif
