/* pages.h: a limit of memory for all that kr_alloc gives: large blocks lie in files, and their pages come and go. */
#ifndef KRAY_PAGES_H
#define KRAY_PAGES_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* From now on blocks of 128 KiB and more lie in files without names in `folder`, mapped, and whenever the process is about to take more than `limit` bytes their pages are given back to the
 * system. Numbers are the same. A disk that is too full is refused as lack of memory. One for the process, not begun twice; kr_mem_unpage ends it, blocks stay as they are.
 * Under the address sanitizer, whose own memory is beyond any limit, no pages are given back. */
int kr_mem_page(const char *folder, size_t limit) KR_MUST_USE;
void kr_mem_unpage(void);
size_t kr_mem_pages(void);                               /* about what blocks can have in memory at a time; 0: no limit */
void kr_mem_kept(void);                                  /* looks whether the limit is near; kr_for does it after each body */

#ifdef __cplusplus
}
#endif
#endif
