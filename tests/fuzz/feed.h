/* feed.h: gives bytes to every reader of one format, as a file of that format. Shared by the fuzzers and by mutate.c. */
#ifndef KRAY_FEED_H
#define KRAY_FEED_H
#include <stddef.h>

/* format: a name of kr_formats, or "weights", "yaml" (their configuration), "xml" (the ISMRMRD header) or "session" (what an MRD client
 * sends). Whatever the bytes, readers return; what they hand out is complete and given back. Returns how many of the readers took the file. */
int feed(const char *format, const unsigned char *bytes, size_t n);
/* Removes the folder where the files were put. */
void feed_end(void);
#endif
