/* traj_plot.h: where readouts run through k-space, as a picture. Private to tools/. */
#ifndef KRAY_TRAJ_PLOT_H
#define KRAY_TRAJ_PLOT_H
#include "kray/scan.h"

/* PNG of the readouts of the first frame and slice: kx to the right, ky up; of a volume also kx and kz, ky and kz beside it. Early readouts are blue,
 * late ones red, samples of up to 64 readouts dots. Refuses a scan on a grid. */
int traj_plot(const kr_scan *s, const char *path) KR_MUST_USE;
#endif
