/* h5pack.h: how the chunks of an HDF5 dataset are packed, and unpacking them. Private to this folder. */
#ifndef KRAY_IO_H5PACK_H
#define KRAY_IO_H5PACK_H
#include "h5.h"

/* zlib cannot make more than 1032 bytes of one; a dataset that announces more than this times the file is absurd. */
enum { KR_H5_INFLATE_MOST = 1032, KR_H5_SLACK = 1 << 20, KR_H5_FILTERS = 4 };

typedef struct kr_h5_pack {
    const char *name;                /* of the dataset, for refusals                                  */
    long number;                     /* bytes of one number, which shuffling takes apart              */
    int count;
    enum kr_h5_filter { KR_H5_DEFLATE, KR_H5_LZF, KR_H5_SHUFFLE, KR_H5_CHECKSUM } filter[KR_H5_FILTERS];
} kr_h5_pack;
/* Refuses filters that are not read: gzip, lzf (h5py's own), shuffle and Fletcher's checksum are. */
int kr_h5_pack_of(kr_h5_pack *p, const kr_h5_set *s, hid_t plist) KR_MUST_USE;
/* Unpacks n bytes at raw (skip: HDF5's mask of the filters that were left out). *out points to *whole bytes: raw itself, or a or
 * b, which have `room` bytes each. */
int kr_h5_unpack(const kr_h5_pack *p, unsigned skip, unsigned char *raw, size_t n, unsigned char *a, unsigned char *b, size_t room,
                 unsigned char **out, size_t *whole) KR_MUST_USE;
#endif
