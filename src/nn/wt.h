/* wt.h: readers of weight files. Private to src/nn. */
#ifndef KRAY_WT_H
#define KRAY_WT_H
#include "kray/weights.h"

/* A weight file format: bytes of the whole file in, tensors out. One file wt_NAME.c that defines wt_NAME, and one word in meson.build. */
typedef struct wt_format {
    const char *name;
    int (*probe)(const unsigned char *bytes, size_t n);                 /* 0 no ... 100 surely */
    int (*read)(kr_weights *w, const unsigned char *bytes, size_t n);
} wt_format;
extern const wt_format wt_torch_zip, wt_torch_legacy;                  /* for archives that hold such a file */

/* Element types, with what they are called in safetensors, NumPy and PyTorch. */
enum wt_type { WT_F32, WT_F64, WT_F16, WT_BF16, WT_I8, WT_U8, WT_BOOL, WT_I16, WT_U16, WT_I32, WT_I64, WT_C64, WT_TYPES };
size_t wt_size(enum wt_type t);
const char *wt_type_name(enum wt_type t);                               /* "F32" */
/* count numbers of type t, little-endian, to floats; a complex one gives two. */
void wt_floats(float *to, const unsigned char *from, enum wt_type t, long count);

/* Names and numbers for them, found in constant time. Start with {0}. */
typedef struct wt_names { struct wt_named { char *name; long number; } *slot; long slots, count; } wt_names;
long wt_names_find(const wt_names *n, const char *name);                /* -1: not there */
int wt_names_add(wt_names *n, const char *name, long number);           /* copies the name, which is new */
void wt_names_clear(wt_names *n);

/* Notes that count numbers of `size` bytes are to be held; refuses more than a file of its length sensibly unpacks to. */
int wt_take(kr_weights *w, size_t count, size_t size);
/* What all of a file of n bytes may unpack to, in bytes. */
size_t wt_room(size_t n);

/* The configuration in a YAML of DIRECT or ATOMMIC becomes "network" and "hyper.NAME" of w's meta. */
int wt_yaml(kr_weights *w, const unsigned char *bytes, size_t n);

/* A file inside a zip archive in memory (checked sizes; at most `most` bytes). Owner of *data: the caller (kr_free). */
typedef struct wt_zip wt_zip;
wt_zip *wt_zip_open(const unsigned char *bytes, size_t n);
void wt_zip_close(wt_zip **z);
long wt_zip_count(const wt_zip *z);
const char *wt_zip_name(const wt_zip *z, long i);
int wt_zip_read(wt_zip *z, const char *name, unsigned char **data, size_t *n);

/* A pickle (protocols 0 to 5, the part that state dicts use) becomes tensors of w and entries of its meta (a list of words
 * becomes entries "0", "1", ...); w NULL: only looks. storages give the bytes behind a key. Nothing is called or imported.
 * *used: length of the pickle. */
typedef struct wt_storages {
    void *self;
    int (*find)(void *self, const char *key, const unsigned char **bytes, size_t *n);
    int (*seen)(void *self, const char *key, enum wt_type type, long count);   /* each storage that is named; may be NULL */
} wt_storages;
int wt_pickle(kr_weights *w, const unsigned char *bytes, size_t n, const wt_storages *storages, size_t *used);
#endif
