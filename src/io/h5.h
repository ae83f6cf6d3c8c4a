/* h5.h: small safe steps over HDF5. Private to this folder. Every length is checked against the file before it is used;
 * HDF5's own messages are kept off the terminal; large datasets are read by all threads. */
#ifndef KRAY_IO_H5_H
#define KRAY_IO_H5_H
#include "number.h"
#include <hdf5.h>

/* ---- Files ---- */
typedef struct kr_h5 {
    hid_t id;
    int fd;                          /* the same file, for plain reads; -1 when writing */
    long bytes;
    long base;                       /* bytes in front of HDF5's own address 0; -1: addresses or lengths are not of 8 bytes */
    hid_t links;                     /* how names are followed: not into other files */
    char elsewhere[128];             /* the other file that the name last looked up would have led to; "" none */
    H5E_auto2_t say;                 /* HDF5's reporter, put back when the file is closed */
    void *say_self;
} kr_h5;
kr_h5 *kr_h5_open(const char *path) KR_MUST_USE;
kr_h5 *kr_h5_create(const char *path, long user_block) KR_MUST_USE;   /* user_block: 0, or 512 for MATLAB */
int kr_h5_close(kr_h5 **f) KR_MUST_USE;    /* of a file that was written: refuses what could not be put on the disk */
void kr_h5_unref(kr_h5 **f);
/* Does a file that begins with `head` look like HDF5 (at 0, or behind MATLAB's 512 bytes)? */
bool kr_h5_is(const unsigned char *head, size_t bytes);

/* ---- Datasets ---- */
enum { KR_H5_DIMS = 16 };
enum kr_h5_kind { KR_H5_OTHER, KR_H5_REAL, KR_H5_COMPLEX, KR_H5_TEXT };
typedef struct kr_h5_set {
    kr_h5 *file;
    hid_t id, type;
    char name[128];
    enum kr_h5_kind kind;
    enum kr_number number;           /* of a number, or of each part of a complex one                    */
    bool swap;                       /* stored in the other byte order                                   */
    long element, part[2];           /* bytes from one to the next; where re and im are in it            */
    int dims;
    long n[KR_H5_DIMS], count;
    bool joined;                     /* put together of other datasets of this file ("virtual")          */
    /* Real numbers in the file that are read as complex ones (`kind` says complex then): */
    bool woven;                      /* the last axis holds re, im, re, im, ...                          */
    int reim;                        /* the axis of the file, not among n, that holds re and im; -1 none */
} kr_h5_set;
/* What a name stands for: 'd' dataset, 'g' group, 'x' behind a link to another file, 0: none of these. */
char kr_h5_object(kr_h5 *f, const char *name);
/* A dataset of that name in this file. Links inside of the file are followed, those to other files never. */
bool kr_h5_has(kr_h5 *f, const char *name);
kr_h5_set *kr_h5_set_open(kr_h5 *f, const char *name) KR_MUST_USE;
/* The same as HDF5's own handle, whatever the dataset is; below 0: a refusal. */
hid_t kr_h5_dataset(kr_h5 *f, const char *name);
void kr_h5_set_unref(kr_h5_set **s);
/* Reads a real dataset whose last axis holds re, im, re, im, ... as a complex one of half that length. */
int kr_h5_set_pairs(kr_h5_set *s) KR_MUST_USE;
/* Reads a real dataset one of whose axes, of length 2, holds real and imaginary part as a complex one without that axis. */
int kr_h5_set_reim(kr_h5_set *s, int axis) KR_MUST_USE;
/* The block from[i]..from[i]+count[i]-1 (NULL: all) as a contiguous array, order[i] being the axis of dimension i, or
 * KR_AXES where that has length 1 in the block and no name. */
int kr_h5_read(kr_array **out, const kr_h5_set *s, const int order[], const long from[], const long count[]) KR_MUST_USE;
/* A text dataset (fixed or variable length, the first element), kr_free it; NULL with a refusal. */
char *kr_h5_text(kr_h5 *f, const char *name) KR_MUST_USE;
/* Calls each with the names of the entries of a group ("/"), datasets and groups, until it returns non-zero. Links to other
 * files come as datasets, which cannot be opened. */
typedef int kr_h5_each(void *self, const char *name, bool group);
int kr_h5_list(kr_h5 *f, const char *group, kr_h5_each *each, void *self);

/* What kind of number an HDF5 type is; *swap: in the other byte order. Only these are read: HDF5's own conversions fall over
 * types that a damaged file makes up. */
enum kr_number kr_h5_number_of(hid_t type, bool *swap);

/* ---- Attributes of `object` ("/" for the file's own): false when absent or of another kind ---- */
bool kr_h5_attr_number(kr_h5 *f, const char *object, const char *name, double *value);
char *kr_h5_attr_text(kr_h5 *f, const char *object, const char *name);
/* All numbers and texts of `object` into meta, under their own names. */
int kr_h5_attrs(kr_meta *meta, kr_h5 *f, const char *object) KR_MUST_USE;

/* ---- Writing ---- */
/* order[i] is the axis of dimension i, slowest first; every axis of a longer than 1 must be among them, else it is
 * refused. re, im: names of the parts of complex numbers ("r", "i"). */
int kr_h5_write(kr_h5 *f, const char *name, const kr_array *a, const int order[], int dims, const char *re, const char *im) KR_MUST_USE;
int kr_h5_write_text(kr_h5 *f, const char *name, const char *text) KR_MUST_USE;
int kr_h5_put_number(kr_h5 *f, const char *object, const char *name, double value) KR_MUST_USE;
int kr_h5_put_text(kr_h5 *f, const char *object, const char *name, const char *value) KR_MUST_USE;     /* fixed length, ASCII */
int kr_h5_put_meta(kr_h5 *f, const char *object, const kr_meta *meta) KR_MUST_USE;  /* every pair as an attribute of text */
#endif
