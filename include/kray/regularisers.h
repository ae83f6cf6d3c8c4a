/* regularisers.h: which regularisers the method cs sums up: for lists, help and tests. */
#ifndef KRAY_REGULARISERS_H
#define KRAY_REGULARISERS_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The name of regulariser i (from 0), what it is and its source; NULL beyond the last. summary and cite may be NULL. */
const char *kr_regulariser(int i, const char **summary, const char **cite);

#ifdef __cplusplus
}
#endif
#endif
