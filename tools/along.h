/* along.h: what the options --traj, --traj-units, --matrix, --fov, --fov-shift, --delay and --density say of a scan along a trajectory. Private to tools/. */
#ifndef KRAY_ALONG_H
#define KRAY_ALONG_H
#include "kray/io.h"

/* traj: a specification, or a file of positions; matrix: X,Y[,Z]; delay: X,Y[,Z] or "auto"; density: a kind or a file; units: of kr_traj_units, or "auto";
 * fov, shift: X,Y[,Z] in mm; spokes: readouts of a frame. NULL and 0: as the scan has it. */
typedef struct along { const char *traj, *matrix, *delay, *density, *units, *fov, *shift; long spokes; } along;
/* What it makes is freed by stated_close. */
int along_read(kr_stated *to, const along *a) KR_MUST_USE;
#endif
