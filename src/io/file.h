/* file.h: whole blocks between files and memory. Private to this folder. */
#ifndef KRAY_FILE_H
#define KRAY_FILE_H
#include "kray/base.h"

/* bytes from position `at`, on all threads: copying out of the page cache is bound by one core otherwise. */
int kr_file_read(int fd, void *to, size_t bytes, int64_t at) KR_MUST_USE;
/* The whole of a small text file, at most `most` bytes of it, ended by a zero. */
char *kr_file_text(const char *path, size_t most) KR_MUST_USE;
/* The folder of a path: what stands before its last '/', "." where there is none. */
char *kr_file_folder(const char *path) KR_MUST_USE;
/* 0 where a folder is there and can be written, or can be made. */
int kr_folder_possible(const char *folder) KR_MUST_USE;
/* A new file, piece by piece: a descriptor or a refusal; bytes to it; its end, where late errors show (`e`, if not 0, wins). */
int kr_file_create(const char *path) KR_MUST_USE;
int kr_file_put(int fd, const void *data, size_t bytes) KR_MUST_USE;
int kr_file_close(int fd, int e) KR_MUST_USE;
/* A new file of these blocks, one after the other. */
typedef struct kr_block { const void *data; size_t bytes; } kr_block;
int kr_file_write(const char *path, const kr_block *block, int count) KR_MUST_USE;
/* The same as one gzip member, compressed in pieces on all threads; equal input gives equal bytes. */
int kr_file_put_gz(int fd, const void *data, size_t bytes) KR_MUST_USE;      /* as a member of its own */
int kr_file_write_gz(const char *path, const kr_block *block, int count) KR_MUST_USE;

#endif
