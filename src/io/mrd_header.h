/* mrd_header.h: the ISMRMRD XML header, to and from a scan. Private to src/io. */
#ifndef KRAY_MRD_HEADER_H
#define KRAY_MRD_HEADER_H
#include "kray/scan.h"

/* Fills enc (first encoding), noise_bandwidth, geom->fov_mm (recon field of view) and meta (protocol, te_ms, tr_ms, ti_ms,
 * flip_deg, field_T, patient_position, vendor, model, ...; several echo times are separated by blanks) and keeps the text in
 * header_xml. Names and birthdays of patients stay in header_xml alone, so that they do not travel to images. Elements that
 * are missing leave 0, "" or no meta. Refuses what is not such a header, document type declarations, headers over 16 MiB,
 * and sizes outside 1..65535 (the schema's xs:unsignedShort). Source: ismrmrd/ismrmrd, schema/ismrmrd.xsd. */
int kr_mrd_header_parse(kr_scan *s, const char *xml) KR_MUST_USE;

/* A valid header; owned by the caller. Built on the scan's own header_xml where there is one: matrices, fields of view, limits
 * and channels are set to what the scan is now, all else stays; otherwise from enc, shape and meta. */
char *kr_mrd_header_write(const kr_scan *s) KR_MUST_USE;

/* The counter of the centre along Y or Z, as the header shall give it: a row y of data has the counter y - N/2 + centre, which is
 * never negative where something, imaging or calibration, was measured. */
long kr_mrd_centre(const kr_scan *s, int axis);

/* All encodings of a header, at most `room`, with the calibration mode of each ("" unknown); returns how many there are. */
typedef struct kr_mrd_encoding { kr_encoding enc; char calibration[16]; bool rounded; } kr_mrd_encoding;   /* rounded: sizes were not whole */
int kr_mrd_header_encodings(const char *xml, kr_mrd_encoding *encoding, int room) KR_MUST_USE;

/* The attributes of an image: <ismrmrdMeta><meta><name>K</name><value>V</value>...</meta>...</ismrmrdMeta>; several values are
 * joined by blanks. Text that is empty or no such XML adds nothing. */
int kr_mrd_meta_parse(kr_meta *meta, const char *xml) KR_MUST_USE;
/* Adds one <meta>; the text between & and < is escaped, what XML 1.0 cannot hold is left out. */
void kr_mrd_meta_add(kr_text *xml, const char *name, const char *const *value, int values);
#endif
