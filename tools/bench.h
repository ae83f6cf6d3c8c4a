/* bench.h: rows of kray bench. Private to tools. */
#ifndef KRAY_BENCH_H
#define KRAY_BENCH_H
#include "kray/array.h"
#include "tool.h"
#include <jansson.h>

typedef struct bench_opts { long repeat, threads; const char *folder; bool json; } bench_opts;
struct bench { const bench_opts *o; json_t *rows; const kr_trace *trace; double peak; };     /* peak: GFLOP/s of this machine, 0: not known */
/* One row: `run` is called once to warm up, then --repeat times; the median is shown, and the rate that `work` of `unit` (GFLOP,
 * GB) per run makes, with its share of the peak where that is known. rate (may be NULL): work / median. */
int bench_row(struct bench *b, const char *part, const char *what, int (*run)(void *self), void *self, double work, const char *unit, double *rate);
kr_array *bench_noise(kr_shape shape, uint64_t seed);            /* complex, cheap numbers in (-1, 1) */
int bench_nn(struct bench *b);
#endif
