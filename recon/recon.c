/* recon.c: the table of methods. */
#include "kray/recon.h"
#include "kray_recons.h"
#include <string.h>

#define DECLARE(name) extern const kr_recon kr_recon_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_recon_##name,
const kr_recon *const kr_recons[] = { KR_LIST(ENTRY) NULL };

const kr_recon *kr_recon_named(const char *name)
{
    const char *known[64];
    int n = 0;
    for (int i = 0; kr_recons[i]; i++) {
        if (!strcmp(kr_recons[i]->name, name))
            return kr_recons[i];
        known[n++] = kr_recons[i]->name;
    }
    kr_text all = { 0 };
    for (int i = 0; i < n; i++)
        kr_text_add(&all, "%s%s", i ? ", " : "", known[i]);
    const char *near = kr_nearest(name, known, n);
    if (near)
        kr_fail(KR_EUSAGE, "there is no method '%s'; did you mean %s?", name, near);
    else
        kr_fail(KR_EUSAGE, "there is no method '%s'; known are %s", name, all.s ? all.s : "none");
    kr_text_clear(&all);
    return NULL;
}
