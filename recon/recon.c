/* recon.c: the table of methods. */
#include "kray/recon.h"
#include "kray_recons.h"
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_recon kr_recon_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_recon_##name,
const kr_recon *const kr_recons[] = { KR_LIST(ENTRY) NULL };

/* What methods are called elsewhere: BART, DIRECT, fastMRI, papers. */
static const char *const elsewhere[][2] = {
    { "cg-sense", "sense" }, { "cgsense", "sense" }, { "pics", "sense" }, { "l2-sense", "sense" }, { "zero-filled", "rss" }, { "zerofilled", "rss" },
    { "zero-fill", "rss" }, { "sos", "rss" }, { "l1-wavelet", "wavelet" }, { "l1wavelet", "wavelet" }, { "l1-espirit", "wavelet" },
    { "total-variation", "tv" }, { "e2e-varnet", "varnet" }, { "e2evarnet", "varnet" }, { "end-to-end-varnet", "varnet" }, { "recurrent-varnet", "recurrentvarnet" },
    { "l+s", "lowrank-sparse" }, { "l-plus-s", "lowrank-sparse" }, { "l1-spirit", "spirit" }, { "slicegrappa", "slice-grappa" }, { "kt-llr", "llr" } };

static const char *usual_name(const char *name)
{
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if (!strcasecmp(elsewhere[i][0], name))
            return elsewhere[i][1];
    return name;
}

const kr_recon *kr_recon_named(const char *word)
{
    const char *name = usual_name(word);
    const char *known[64];
    int n = 0;
    for (int i = 0; kr_recons[i]; i++) {
        if (!strcasecmp(kr_recons[i]->name, name))
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
