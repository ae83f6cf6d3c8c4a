/* twix_text.h: values in the text in front of Siemens raw data. Private to src/io.
 * The header of a measurement is a row of named texts ("Config", "Dicom", "Meas", "MeasYaps", ...), in two languages: lines
 * `sKSpace.lBaseResolution = 80` (MeasYaps), and trees of `<ParamLong."iNoOfFourierLines"> { 80 }` (XProtocol, the others). */
#ifndef KRAY_TWIX_TEXT_H
#define KRAY_TWIX_TEXT_H
#include "kray/base.h"

enum { KR_TWIX_TEXTS = 16 };
typedef struct kr_twix_text { int count; struct { const char *name, *text; } part[KR_TWIX_TEXTS]; char *raw; } kr_twix_text;
/* The header's `bytes` bytes, which `t` takes over (kr_alloc; NULL: refused already). Refuses what is no such row of texts. */
int kr_twix_text_split(kr_twix_text *t, char *raw, size_t bytes) KR_MUST_USE;
void kr_twix_text_clear(kr_twix_text *t);

/* The value of a line `key = value`, of the first text that has one; `otherwise` where there is none that is a number. */
double kr_twix_number(const kr_twix_text *t, const char *key, double otherwise);
/* Number `index` of the first parameter of that name with any value, preferably in the text called `part` (NULL: any). */
double kr_twix_param(const kr_twix_text *t, const char *part, const char *name, int index, double otherwise);
/* The text of a line or of a parameter, without its quotation marks; "" where there is none. */
void kr_twix_string(const kr_twix_text *t, const char *key, char *to, size_t room);
void kr_twix_param_string(const kr_twix_text *t, const char *part, const char *name, char *to, size_t room);
#endif
