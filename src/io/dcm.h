/* dcm.h: DICOM data sets through DCMTK, which is C++: what fmt_dicom.c needs of it. Private to this folder. */
#ifndef KRAY_DCM_H
#define KRAY_DCM_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

#define DCM_AT(group, element) ((uint32_t)(group) << 16 | (element))
typedef struct kr_dcm kr_dcm;
kr_dcm *kr_dcm_new(void) KR_MUST_USE;
/* pixels false: large elements stay in the file. Refuses what DCMTK does not read. */
kr_dcm *kr_dcm_read(const char *path, bool pixels) KR_MUST_USE;
void kr_dcm_unref(kr_dcm **d);

/* ---- Reading ---- */
long kr_dcm_frames(const kr_dcm *d);                         /* at least 1                                */
/* The element's values with '\' between them, of a frame (its own functional groups, the shared ones, the data set; of those in sequences the first),
 * "" where it is not there; cut to the room. Returns whether it is there. */
bool kr_dcm_text(char *room, size_t size, kr_dcm *d, long frame, uint32_t tag);
int kr_dcm_numbers(double *to, int most, kr_dcm *d, long frame, uint32_t tag);   /* how many were there     */
/* Stored numbers of a frame, unpacked, `count` of them, without slope and intercept. Refuses colours, floats, lengths that do not fit, coders that are
 * not there. */
int kr_dcm_pixels(float *to, kr_dcm *d, long frame, long count) KR_MUST_USE;

/* ---- Writing ---- */
int kr_dcm_put(kr_dcm *d, uint32_t tag, const char *vr, const char *value) KR_MUST_USE;
int kr_dcm_put_pixels(kr_dcm *d, const uint16_t *pixel, long count) KR_MUST_USE;
int kr_dcm_write(kr_dcm *d, const char *path) KR_MUST_USE;   /* explicit little endian, with a preamble   */

#ifdef __cplusplus
}
#endif
#endif
