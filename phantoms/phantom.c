/* phantom.c: the table of phantoms. */
#include "kray/phantom.h"
#include "kray_phantoms.h"
#include "kray/opt.h"
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_phantom kr_phantom_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_phantom_##name,
const kr_phantom *const kr_phantoms[] = { KR_LIST(ENTRY) NULL };

const kr_phantom *kr_phantom_named(const char *name)
{
    for (int i = 0; kr_phantoms[i]; i++)
        if (!strcasecmp(kr_phantoms[i]->name, name))
            return kr_phantoms[i];
    kr_text all = { 0 };
    for (int i = 0; kr_phantoms[i]; i++)
        kr_text_add(&all, "%s%s", i ? ", " : "", kr_phantoms[i]->name);
    const char *word[32], *near = NULL;
    int n = 0;
    for (; kr_phantoms[n] && n < 32; n++)
        word[n] = kr_phantoms[n]->name;
    near = kr_nearest(name, word, n);
    kr_fail(KR_EUSAGE, "there is no phantom '%s'; %s%s%sknown are %s", name, near ? "did you mean " : "", near ? near : "", near ? "? " : "", all.s ? all.s : "none");
    kr_text_clear(&all);
    return NULL;
}
