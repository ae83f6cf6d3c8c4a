/* surface.h: distances between the surfaces of two masks. Private to src/image. */
#ifndef KRAY_SURFACE_H
#define KRAY_SURFACE_H
#include "kray/segment.h"

/* Of two masks that both hold a voxel: sets HD, HD95, ASSD and NSD. */
int surface_scores(double value[KR_LABEL_MEASURES], const unsigned char *reference, const unsigned char *prediction, const long size[3], const double mm[3],
                   const kr_label_rules *rules) KR_MUST_USE;
/* The area in mm^2 of each pattern of 2x2x2 voxels: corner (x,y,z) is bit x + 2 y + 4 z. */
void surface_areas(double area[256], const double mm[3]);
#endif
