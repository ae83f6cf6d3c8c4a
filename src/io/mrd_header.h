/* mrd_header.h: the ISMRMRD XML header, to and from a scan: what is not in kray/wire.h. Private to src/io. */
#ifndef KRAY_MRD_HEADER_H
#define KRAY_MRD_HEADER_H
#include "kray/wire.h"

/* A valid header; owned by the caller. Built on the scan's own header_xml where there is one: matrices, fields of view, limits
 * and channels are set to what the scan is now, all else stays; otherwise from enc, shape and meta. */
char *kr_mrd_header_write(const kr_scan *s) KR_MUST_USE;

/* The counter of the centre along Y or Z, as the header shall give it: a row y of data has the counter y - N/2 + centre, which is
 * never negative where something, imaging or calibration, was measured. */
long kr_mrd_centre(const kr_scan *s, int axis);

/* The attributes of an image: <ismrmrdMeta><meta><name>K</name><value>V</value>...</meta>...</ismrmrdMeta>; several values are
 * joined by blanks. Text that is empty or no such XML adds nothing. */
int kr_mrd_meta_parse(kr_meta *meta, const char *xml) KR_MUST_USE;
/* Adds one <meta>; the text between & and < is escaped, what XML 1.0 cannot hold is left out. */
void kr_mrd_meta_add(kr_text *xml, const char *name, const char *const *value, int values);
#endif
