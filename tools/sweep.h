/* sweep.h: --lambda FROM:TO:COUNT: one reconstruction after the other, and the best of them. Private to tools/. */
#ifndef KRAY_SWEEP_H
#define KRAY_SWEEP_H
#include "kray/recon.h"
#include "judge.h"

struct sweep { double from, to; int count; };           /* count 0: none */
/* Takes FROM:TO:COUNT out of the words that follow --lambda (or -l, where the method's letter is that), and leaves FROM. What is
 * not a sweep is left as it is. */
int sweep_parse(struct sweep *s, int argc, char **argv);
/* Reconstructs with every lambda, from FROM to TO in equal ratios, prints a table, and keeps the best image; the job keeps its
 * lambda. Best: the smallest NRMSE (after the best common factor) where there is a target. Otherwise the least error of samples held out, of which A x of
 * an image of the others is compared with what was measured. Of masks without a pattern along two axes (Poisson discs) one sample of eight outside of the
 * calibration area; of others that area is thinned as k-space is outside of it (its middle third stays), and an error counts by 1 / (mean power at
 * its distance from the centre over that of all of these + 0.3). Coil maps come from the whole area. There
 * alone are samples missing exactly as they are missing elsewhere, and known. Where nothing can be held out (all is measured, no
 * calibration area, a trajectory) generalised cross-validation: the smallest |A x - y|^2 / (m - df)^2 of m measured samples, df the degrees of
 * freedom: the divergence of A x(y), found by moving y a
 * little at random, which takes a second reconstruction. Sources: Golub et al., Technometrics 21:215 (1979); Ramani et al., IEEE Trans Image
 * Process 21:3659 (2012). Where A x is not to be had (several sets of maps), the discrepancy principle: the largest lambda whose |A x - y|
 * is not above what the noise alone would be. */
int sweep_run(kr_image **out, const struct sweep *s, kr_job *job, kr_scan *prepared, const struct judge_target *target, const kr_trace *trace) KR_MUST_USE;
#endif
