/* mean.h: the mean of the last iterates, where regularisers move. Private to this folder.
 *
 * What moves from iteration to iteration (the grid of wavelets, the blocks of locally low rank) stands for its mean over all places.
 * The iterates never rest: they hover about the minimum of that mean, and their own mean is nearer to it than each of them. */
#ifndef KRAY_MEAN_H
#define KRAY_MEAN_H
#include "kray/solve.h"

typedef struct kr_mean { kr_array *now, *last; int block, count; bool two; double apart; } kr_mean;
/* Prepares for x and at most so many iterations; leaves m->block 0 where nothing of p moves. */
int kr_mean_open(kr_mean *m, const kr_problem *p, const kr_array *x, int iterations) KR_MUST_USE;
/* One more iterate. True once the means of two blocks of iterates, one after the other, differ by no more than `tolerance` of their size,
 * or come no nearer (a tenth) than those of the blocks before: then the minimum is reached, and chance is left. Tolerance 0: never. */
bool kr_mean_add(kr_mean *m, const kr_array *x, double tolerance);
/* x = the mean of the last one or two blocks; gives back what was taken. Nothing happens to x where nothing moves. */
void kr_mean_close(kr_mean *m, kr_array *x);
#endif
