/* along.h: what the options --traj, --seq, --traj-units, --matrix, --fov, --fov-shift, --delay and --density say of a scan along a trajectory. Private to tools/. */
#ifndef KRAY_ALONG_H
#define KRAY_ALONG_H
#include "kray/io.h"

/* traj: a specification, or a file of positions (also a Pulseq sequence); seq: the Pulseq sequence that was played; matrix: X,Y[,Z]; delay: X,Y[,Z] or "auto"; density: a kind or a file; units: of kr_traj_units, or "auto";
 * fov, shift: X,Y[,Z] in mm; spokes: readouts of a frame; phases, breathing: states of heart and chest;
 * field, girf: files, first and dwell: us. NULL and 0: as the scan has it. */
typedef struct along { const char *traj, *seq, *matrix, *delay, *density, *units, *fov, *shift, *field, *girf; double first, dwell; long spokes, phases, breathing; } along;
/* What it makes is freed by stated_close. */
int along_read(kr_stated *to, const along *a, const kr_trace *trace) KR_MUST_USE;
#endif
