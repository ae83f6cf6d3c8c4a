/* golden.h: what the readers of golden files share. */
#ifndef KRAY_GOLDEN_H
#define KRAY_GOLDEN_H
#include <hdf5.h>
#include <stdbool.h>

struct names { char name[1024][160]; int count; };
struct names list(hid_t file, const char *group);          /* the links of a group */
/* Each kind of file that is no network: how many of its checks failed; *number counts them on. */
int golden_nufft(hid_t file, const char *name, bool tap, int *number);
#endif
