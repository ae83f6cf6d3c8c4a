/* tiff.h: TIFF files of one number a pixel. Private to this folder. */
#ifndef KRAY_TIFF_H
#define KRAY_TIFF_H
#include "kray/io.h"

/* The files of a folder with these suffixes (".tif .tiff") whose names begin with `prefix` (NULL: all), by the numbers in their names. */
char **kr_files_named(const char *folder, const char *prefix, const char *suffixes, long *count) KR_MUST_USE;
void kr_files_named_free(char **name, long count);
/* Pages of all these files, one after the other, as src names their axes ("view,v,u"). Refuses pages of different sizes. */
int kr_tiff_read(kr_array **out, const kr_source *src, const char *const *path, long files) KR_MUST_USE;
#endif
