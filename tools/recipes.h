/* recipes.h: a folder of configurations for MRD sessions: NAME.json is what clients ask for by NAME. Private to tools/. */
#ifndef KRAY_RECIPES_H
#define KRAY_RECIPES_H
#include "kray/mrd.h"
#include <pthread.h>

struct recipes {
    kr_mrd_methods methods;          /* first: what sessions call self, the methods do, too             */
    const char *folder;              /* NULL: none                                                      */
    pthread_rwlock_t *lock;          /* NULL: one thread alone                                          */
    kr_meta *text;                   /* name -> JSON                                                    */
};
/* Reads all of the folder; again: what is there now counts, unless that fails. */
int recipes_read(struct recipes *r, const kr_trace *trace) KR_MUST_USE;
void recipes_clear(struct recipes *r);
/* For kr_mrd_host: self is a struct recipes. */
char *recipes_find(void *self, const char *name) KR_MUST_USE;
void recipes_words(void *self, kr_text *to);
#endif
