/* ct_disk.h: iterations on volumes that memory does not hold. Private to this folder. */
#ifndef KRAY_CT_DISK_H
#define KRAY_CT_DISK_H
#include "job.h"
#include "kray/ct.h"
#include "kray/solve.h"

/* How many planes of a volume may be in memory at a time for the program to take `memory` bytes; 0: the method does not work on disk, or not even a few planes fit. */
long job_disk_planes(kr_job *j, const kr_scan *s, double memory) KR_MUST_USE;
long kr_ct_disk_views(const kr_ct_disk *d);
/* What methods do, x 0 at first: simultaneous iterations as kr_sirt, conjugate gradients as kr_cg; to rounding: sums over slabs are taken in another order. */
int kr_ct_disk_sirt(kr_ct_disk *d, long subsets, long iterations, double relax, bool positive, const kr_trace *trace) KR_MUST_USE;
int kr_ct_disk_cgls(kr_ct_disk *d, long iterations, const kr_trace *trace) KR_MUST_USE;
#endif
