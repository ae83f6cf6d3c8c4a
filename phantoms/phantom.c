/* phantom.c: the table of phantoms. */
#include "kray/phantom.h"
#include "kray_phantoms.h"
#include <string.h>

#define DECLARE(name) extern const kr_phantom kr_phantom_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_phantom_##name,
const kr_phantom *const kr_phantoms[] = { KR_LIST(ENTRY) NULL };

const kr_phantom *kr_phantom_named(const char *name)
{
    for (int i = 0; kr_phantoms[i]; i++)
        if (!strcmp(kr_phantoms[i]->name, name))
            return kr_phantoms[i];
    kr_text all = { 0 };
    for (int i = 0; kr_phantoms[i]; i++)
        kr_text_add(&all, "%s%s", i ? ", " : "", kr_phantoms[i]->name);
    kr_fail(KR_EUSAGE, "there is no phantom '%s'; known are %s", name, all.s ? all.s : "none");
    kr_text_clear(&all);
    return NULL;
}
