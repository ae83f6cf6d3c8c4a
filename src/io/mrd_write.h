/* mrd_write.h: a scan as ISMRMRD lines. Private to src/io. */
#ifndef KRAY_MRD_WRITE_H
#define KRAY_MRD_WRITE_H
#include "kray/scan.h"
/* Header, lines with flags and counters, noise, calibration, all other kinds of line and waveforms, in group "dataset". Axes in
 * image space are transformed back. Noise that was whitened with the data is white in the file: whitening by it again changes
 * nothing. */
int kr_mrd_scan_write(const kr_scan *s, const char *path) KR_MUST_USE;
#endif
