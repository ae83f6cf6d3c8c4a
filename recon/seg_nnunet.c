/* seg_nnunet.c: placeholder */
#include "segmenter_kind.h"
static bool is(const char *model) { (void)model; return false; }
const segmenter_kind segmenter_nnunet = { "nnunet", is, NULL, NULL, NULL, NULL };
