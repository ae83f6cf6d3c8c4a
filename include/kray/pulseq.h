/* pulseq.h: what a Pulseq sequence file says of where samples lie in k-space. */
#ifndef KRAY_PULSEQ_H
#define KRAY_PULSEQ_H
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_seq_facts {
    int version[3];
    double fov_mm[3];                /* of [DEFINITIONS]; 0: not stated                                 */
    double dwell_us;                 /* of the readouts                                                 */
    long readouts, left_out;         /* read; marked as noise or navigator, or of another length than most */
} kr_seq_facts;

bool kr_is_seq(const char *path);    /* its name ends in .seq */
/* *k: R32 {SAMPLE,VIEW,SLICE,ECHO,PHASE,SET,TIME as labelled,CHAN=3} in cycles per metre, at the middle of each sample's dwell time:
 *   k(t) = integral of the gradients (Hz/m) since the middle of the last excitation, turned round by each refocusing pulse.
 * Readouts whose labels SLC, ECO, PHS, SET, REP number axes of equal counts lie along these, all others along VIEW in the order played. An
 * axis along which k stays 0 (1e-3 of the largest) is 0. Versions 1.2 to 1.5. Before 1.5 a pulse of more than 90 degrees counts as refocusing. Refuses other
 * versions, rotations, and files that contradict themselves; no event beyond 2^24, and no more than 2^27 samples. Source: Layton et al., Magn Reson Med 77:1544 (2017);
 * the specification of the format 1.2 to 1.5. */
int kr_seq_read(kr_array **k, kr_seq_facts *f, const char *path) KR_MUST_USE;
/* All readouts in the order played, for kr_read.played: counters and flags by the labels SLC, ECO, PHS, SET, REP, AVG, SEG, NOISE, NAV, REF, IMA and OFF (a dummy: not for
 * the image); readouts before the first pulse are noise. Other labels (LIN, PAR, REV) repeat what the gradients tell. Refuses as kr_seq_read does, and labels
 * and lengths that a line cannot have. Owner: the caller. */
int kr_seq_played(kr_played **s, kr_seq_facts *f, const char *path) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
