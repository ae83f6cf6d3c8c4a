/* config.c: what a configuration states: hyper-parameters against the shapes of the weights, and keys that nobody knows. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Does the path end in that key? */
static bool ends(const char *path, const char *key)
{
    size_t n = strlen(path), k = strlen(key);
    return n >= k && !strcmp(path + n - k, key) && (n == k || path[n - k - 1] == '.');
}

static const char data_key[] = "hyper.data.";

const char *kr_weights_told(const kr_weights *w, const char *name)
{
    static const char *const prefix[] = { "hyper.", "hyper_parameters.cfg.", "hyper_parameters.", "cfg." };
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        for (long k = 0; k < kr_meta_count(w->meta); k++) {                 /* no key is put together: that could fail for want of memory */
            const char *key = kr_meta_key(w->meta, k);
            size_t n = strlen(prefix[i]);
            if (!strncmp(key, prefix[i], n) && !strcmp(key + n, name))
                return kr_meta_value(w->meta, k);
        }
    for (long i = 0; i < kr_meta_count(w->meta); i++) {
        const char *key = kr_meta_key(w->meta, i);
        if (!strncmp(key, data_key, sizeof data_key - 1) && ends(key + sizeof data_key - 1, name))
            return kr_meta_value(w->meta, i);
    }
    return NULL;
}

/* The tensor whose name ends in that (a whole word). */
static const kr_tensor *ending(const kr_weights *w, const char *end)
{
    size_t k = strlen(end);
    for (long i = 0; i < w->count; i++) {
        const char *name = w->tensor[i].name;
        size_t n = strlen(name);
        if (n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.'))
            return &w->tensor[i];
    }
    return NULL;
}

/* Tensors of four dimensions whose names hold what stands before the number of `pattern`, a number, and what stands behind it. */
static long convolutions(const kr_weights *w, const char *pattern)
{
    const char *d = strstr(pattern, "%ld");
    kr_auto char *before = kr_strf("%.*s", (int)(d - pattern), pattern);
    long n = 0;
    for (long i = 0; before && i < w->count; i++) {
        const char *at = w->tensor[i].dims == 4 ? strstr(w->tensor[i].name, before) : NULL;
        char *rest = NULL;
        if (!at || (at > w->tensor[i].name && at[-1] != '.'))
            continue;
        at += strlen(before);
        strtol(at, &rest, 10);
        n += rest > at && !strncmp(rest, d + 3, strlen(d + 3));
    }
    return n;
}

/* What the shapes say, as numbers in order; 0: nothing. */
static int measured(const kr_weights *w, const kr_fact *f, long *to, int room)
{
    char name[160];
    int n = 0;
    const char *d = strstr(f->tensor, "%ld"), *d2 = d ? strstr(d + 3, "%ld") : NULL;
    if (f->dim == KR_FACT_CONVS) {
        to[0] = convolutions(w, f->tensor);
        return to[0] > 0;
    }
    for (long i = 0; n < room; i++) {
        if (d2)                                              /* the same number twice */
            snprintf(name, sizeof name, "%.*s%ld%.*s%ld%s", (int)(d - f->tensor), f->tensor, i, (int)(d2 - d) - 3, d + 3, i, d2 + 3);
        else
            snprintf(name, sizeof name, "%.*s%ld%s", d ? (int)(d - f->tensor) : 0, f->tensor, i, d ? d + 3 : "");
        const kr_tensor *t = ending(w, d ? name : f->tensor);
        if (!t || f->dim >= t->dims)
            break;
        to[n++] = f->dim < 0 ? 0 : t->n[f->dim];
        if (!d)
            break;
    }
    if (f->dim < 0 && n) {
        to[0] = n;
        n = 1;
    }
    const kr_tensor *t = n && f->more ? ending(w, f->more) : NULL;
    if (n && n < room && f->more && (t || strspn(f->more, "0123456789") == strlen(f->more)))
        to[n++] = t ? t->n[0] : strtol(f->more, NULL, 10);
    return n;
}

static bool yes(const char *v) { return v && (!strcasecmp(v, "true") || !strcmp(v, "1")); }

/* One block for all steps: how many steps it runs is the configuration's word alone. */
static bool shared_block(const kr_weights *w, const kr_fact *f)
{
    long n[64];
    return f->dim == KR_FACT_STEPS && !yes(kr_weights_told(w, "no_parameter_sharing")) && measured(w, f, n, 64) && n[0] == 1;
}


/* The kind of cell that a CIRIM's layers have, and the word for it. */
static void cell(kr_text *wrong, const kr_weights *w)
{
    const char *layer = kr_weights_told(w, "recurrent_layer");
    const kr_tensor *ih = ending(w, "0.layers.0.rnn.ih.weight");
    if (!layer || !ih || ih->dims != 4)
        return;
    const char *is = ih->n[0] == 3 * ih->n[1] ? "GRU" : ih->n[0] == 2 * ih->n[1] ? "MGU" : "IndRNN";
    if (strcasecmp(is, layer))
        kr_text_add(wrong, "%srecurrent_layer is %s, the weights have %s", wrong->len ? "; " : "", layer, is);
}

/* A part that is promised and absent, or there and not promised. */
static void there(kr_text *wrong, const kr_weights *w, const kr_fact *f)
{
    const char *said = kr_weights_told(w, f->key);
    bool configured = kr_meta_get(w->meta, "config_model"), is = ending(w, f->tensor) != NULL;
    if (!said && (!configured || !f->words))
        return;
    if (f->more && !ending(w, f->more))                      /* the whole part that would have it is not there */
        return;
    bool wanted = said ? strcasecmp(said, "false") && strcmp(said, "0") && strcasecmp(said, "none") : yes(f->words);
    if (wanted != is)
        kr_text_add(wrong, "%s%s is %s; the weights have %s '%s'", wrong->len ? "; " : "", f->key, said ? said : wanted ? "not stated, which means true"
                    : "not stated, which means none", is ? "a" : "no", f->tensor);
}

/* True and False are numbers as well. */
static int numbers(const char *said, long *to, int room)
{
    int n = 0;
    for (const char *p = said; *p && n < room; ) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end != p)
            to[n++] = v;
        else if (!strncasecmp(p, "true", 4) || !strncasecmp(p, "false", 5))
            to[n++] = strncasecmp(p, "true", 4) == 0;
        p = end != p ? end : p + (!strncasecmp(p, "true", 4) ? 4 : !strncasecmp(p, "false", 5) ? 5 : 1);
    }
    return n;
}

/* One of the words of a list "a|b|c"? */
static bool one_of(const char *v, const char *words)
{
    size_t n = strlen(v);
    for (const char *p = words; ; p++) {
        size_t k = strcspn(p, "|");
        if (k == n && !strncasecmp(p, v, n))
            return true;
        p += k;
        if (!*p)
            return false;
    }
}

int net_config(const kr_weights *w, const kr_net_kind *kind)
{
    kr_text wrong = { 0 };
    kr_error_clear();                                        /* what the weights tell may be out of memory's reach: then it is on record */
    cell(&wrong, w);
    for (const kr_fact *f = kind->facts; f->key; f++) {
        const char *said = kr_weights_told(w, f->key);
        long is[64], want[64];
        if (f->dim == KR_FACT_THERE)
            there(&wrong, w, f);
        else if (!f->tensor && f->words && said && !one_of(said, f->words))
            kr_text_add(&wrong, "%s%s is %s; Kray has %s", wrong.len ? "; " : "", f->key, said, f->words);
        int n = f->dim != KR_FACT_THERE && f->tensor && said && strcmp(said, "none") ? measured(w, f, is, 64) : 0;
        if (!n || shared_block(w, f))
            continue;
        int k = numbers(said, want, 64);
        bool same = k == n;
        for (int j = 0; same && j < n; j++)
            same = want[j] == is[j];
        if (same)
            continue;
        kr_text_add(&wrong, "%s%s is %s, the weights have", wrong.len ? "; " : "", f->key, said);
        for (int j = 0; j < n; j++)
            kr_text_add(&wrong, " %ld", is[j]);
    }
    int e = wrong.failed ? kr_fail(KR_EMEM, "no memory for a sentence") : kr_error_code();
    const char *file = kr_meta_get(w->meta, "config");
    if (!e && wrong.len)
        e = kr_fail(KR_EFORMAT, "the hyper-parameters %s%s do not fit the weights: %s", file ? "of " : "beside them", file ? file : "", wrong.s);
    kr_text_clear(&wrong);
    return e;
}

/* The entry of a key: by its name, or that of a block that it stands in. */
static const kr_fact *entry(const kr_fact *f, const char *path)
{
    for (; f && f->key; f++) {
        size_t k = strlen(f->key);
        if (k > 2 && !strcmp(f->key + k - 2, ".*")) {
            for (const char *p = path; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL)
                if (!strncmp(p, f->key, k - 1))
                    return f;
        } else if (f->key[0] == '=' ? !strcmp(path, f->key + 1) : ends(path, f->key))
            return f;
    }
    return NULL;
}

int kr_net_known(const kr_net_kind *kind, const kr_fact *data, const kr_weights *w)
{
    static const char *const own[] = { "precision", "run_steps", "operator", "fft_centered", "fft_normalized" };
    kr_text wrong = { 0 };
    bool configured = kr_meta_get(w->meta, "config_model");
    for (long i = 0; configured && i < kr_meta_count(w->meta); i++) {
        const char *key = kr_meta_key(w->meta, i), *v = kr_meta_value(w->meta, i);
        if (strncmp(key, "hyper.", 6))
            continue;
        bool of_data = !strncmp(key, data_key, sizeof data_key - 1), mine = false;
        key += of_data ? sizeof data_key - 1 : 6;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            mine |= !of_data && !strcmp(key, own[k]);
        const kr_fact *f = mine ? NULL : of_data ? NULL : entry(kind->facts, key);
        f = f || mine ? f : entry(data, key);
        if (!mine && !f)
            kr_text_add(&wrong, "%s%s (%s) is no key that Kray knows for this network", wrong.len ? "; " : "", key, v);
        else if (f && !f->tensor && f->words && !one_of(v, f->words))
            kr_text_add(&wrong, "%s%s is %s; Kray has %s", wrong.len ? "; " : "", key, v, f->words);
    }
    const char *file = kr_meta_get(w->meta, "config");
    int e = wrong.failed ? kr_fail(KR_EMEM, "no memory for a sentence") : !wrong.len ? 0
          : kr_fail(KR_EREFUSED, "the configuration%s%s asks for what is not built: %s", file ? " " : "", file ? file : "", wrong.s);
    kr_text_clear(&wrong);
    return e;
}
