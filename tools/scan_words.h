/* scan_words.h: what options say of a scan beyond its file. Private to tools/. */
#ifndef KRAY_SCAN_WORDS_H
#define KRAY_SCAN_WORDS_H
#include "along.h"

struct stated {
    const char *sign, *voxel, *centre;                       /* --kspace-sign auto|+|-, --voxel X,Y,Z in mm, --centre X,Y[,Z], - for what stays */
    along along;
    const char *single_band, *covariance;                    /* files; NULL each: not given */
    long multiband, caipi;
};
/* Reads the words, and the files that they name. To be closed, also after a refusal. */
int stated_open(kr_stated *out, const struct stated *words, const kr_trace *trace) KR_MUST_USE;
void stated_close(kr_stated *s);
#endif
