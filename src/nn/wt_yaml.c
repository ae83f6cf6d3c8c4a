/* wt_yaml.c: the configuration that DIRECT and ATOMMIC write beside their checkpoints: hyper-parameters that shapes do not tell.
 * The only file that knows libyaml. Its parser gives events; aliases are not followed, so a small file cannot become a large one. */
#include "wt.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <yaml.h>

enum { DEPTH = 24, ENTRIES = 4096, PATH = 400, MOST = 1 << 20 };

/* Where the parser stands: mappings wait for a key or its value, sequences count their entries. */
struct level { bool list; long next; size_t path; bool value; };
struct state { kr_meta *flat; struct level at[DEPTH]; int depth; char path[PATH]; long entries; };

static int put_name(struct state *s, const char *name)
{
    struct level *l = &s->at[s->depth - 1];
    int room = PATH - (int)l->path, k = snprintf(s->path + l->path, (size_t)room, "%s%s", l->path ? "." : "", name);
    return k < room ? 0 : kr_fail(KR_EFORMAT, "a key of the configuration is longer than %d letters", PATH);
}

/* A scalar: a key, the value of one, or an entry of a list (entries of one list of scalars are joined by blanks). */
static int scalar(struct state *s, const char *text)
{
    struct level *l = s->depth ? &s->at[s->depth - 1] : NULL;
    if (!l)
        return 0;
    if (!l->list && !l->value) {
        l->value = true;
        return put_name(s, text);
    }
    if (++s->entries > ENTRIES)
        return kr_fail(KR_EFORMAT, "the configuration has more than %d entries", ENTRIES);
    const char *before = l->list ? kr_meta_get(s->flat, s->path) : NULL;
    l->value = false;
    if (!before)
        return kr_meta_set(s->flat, s->path, "%s", text);
    kr_auto char *joined = strlen(before) < 4096 ? kr_strf("%s %s", before, text) : NULL;
    return joined ? kr_meta_set(s->flat, s->path, "%s", joined) : kr_fail(KR_EFORMAT, "the list '%s' of the configuration is too long", s->path);
}

static int open_level(struct state *s, bool list)
{
    if (s->depth == DEPTH)
        return kr_fail(KR_EFORMAT, "the configuration is nested more than %d deep", DEPTH);
    struct level *l = s->depth ? &s->at[s->depth - 1] : NULL;
    if (l && l->list) {                              /* a list of mappings or lists: numbered */
        char number[24];
        snprintf(number, sizeof number, "%ld", l->next++);
        s->path[l->path] = 0;
        if (put_name(s, number))
            return kr_error_code();
    } else if (l && !l->value)
        return kr_fail(KR_EFORMAT, "a key of the configuration is no word");
    s->at[s->depth++] = (struct level){ .list = list, .path = strlen(s->path) };
    return 0;
}

static void close_level(struct state *s)
{
    s->depth--;
    struct level *l = s->depth ? &s->at[s->depth - 1] : NULL;
    s->path[l ? l->path : 0] = 0;
    if (l)
        l->value = false;
}

/* "a.b.c" = value for all that the file says. */
static int flatten(kr_meta *flat, const unsigned char *bytes, size_t n)
{
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p))
        return kr_fail(KR_EMEM, "no memory for reading a configuration");
    yaml_parser_set_input_string(&p, bytes, n);
    struct state s = { .flat = flat };
    int e = 0;
    for (bool more = true; more && !e; ) {
        yaml_event_t v;
        if (!yaml_parser_parse(&p, &v)) {
            e = kr_fail(KR_EFORMAT, "the configuration is no YAML: %s in line %zu", p.problem ? p.problem : "it cannot be read", p.problem_mark.line + 1);
            break;
        }
        switch (v.type) {
        case YAML_SCALAR_EVENT:
            e = strlen((const char *)v.data.scalar.value) == v.data.scalar.length ? scalar(&s, (const char *)v.data.scalar.value)
              : kr_fail(KR_EFORMAT, "the configuration holds zero bytes");
            break;
        case YAML_ALIAS_EVENT: e = scalar(&s, "*"); break;
        case YAML_MAPPING_START_EVENT: e = open_level(&s, false); break;
        case YAML_SEQUENCE_START_EVENT: e = open_level(&s, true); break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT: close_level(&s); break;
        case YAML_DOCUMENT_END_EVENT:                /* the first document is the configuration */
        case YAML_STREAM_END_EVENT: more = false; break;
        default: break;
        }
        if (!e && s.depth && !s.at[s.depth - 1].list && !s.at[s.depth - 1].value)
            s.path[s.at[s.depth - 1].path] = 0;
        yaml_event_delete(&v);
    }
    yaml_parser_delete(&p);
    return e;
}

static bool none(const char *v) { return !*v || !strcmp(v, "~") || !strcasecmp(v, "null") || !strcasecmp(v, "none"); }

/* Where in the file the treatment of data may stand: the section nearest to running wins, whole. */
static const char *data_section(const kr_meta *flat)
{
    static const char *const section[] = { "inference.", "validation.datasets.0.", "validation.", "training.datasets.0.", "training.", "model.test_ds.",
                                           "model.validation_ds.", "model.train_ds.", "test_ds.", "validation_ds.", "train_ds." };
    for (size_t s = 0; s < sizeof section / sizeof *section; s++)
        for (long i = 0; i < kr_meta_count(flat); i++)
            if (!strncmp(kr_meta_key(flat, i), section[s], strlen(section[s])))
                return section[s];
    return NULL;
}

/* Classes to Kray's words; others keep their own name, which no weights will fit. */
static const char *network_of(const char *model_name)
{
    static const char *const known[][2] = { { "RecurrentVarNet", "recurrentvarnet" }, { "rim.RIM", "rim_direct" }, { "cirim.CIRIM", "cirim_direct" }, { "lpd.LPDNet", "lpdnet" }, { "PrimalDualNetwork", "pdunet" }, { "kikinet.KIKINet", "kikinet" }, { "KIKINet", "kiki_atommic" }, { "CascadeNet", "cascadenet" }, { "MoDL", "modl" }, { "RVN", "rvn" }, { "VN", "vn" },
        { "EndToEndVarNet", "varnet_direct" }, { "CIRIM", "cirim" }, { "RIM", "cirim" }, { "Unet2d", "unet_direct" }, { "UNet", "unet" }, { "Unet", "unet" },
        { "UnetModel2d", "unet" }, { "VarNet", "varnet" } };
    size_t n = strlen(model_name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t k = strlen(known[i][0]);
        if (n >= k && !strcmp(model_name + n - k, known[i][0]) && (n == k || model_name[n - k - 1] == '.'))
            return known[i][1];
    }
    return model_name;
}

static int hyper(kr_weights *w, const char *name, const char *value)
{
    kr_auto char *key = kr_strf("hyper.%s", name);
    return key ? kr_meta_set(w->meta, key, "%s", none(value) ? "none" : value) : kr_error_code();
}

int wt_yaml(kr_weights *w, const unsigned char *bytes, size_t n)
{
    kr_meta *flat = kr_meta_new();
    int e = flat ? n > MOST ? kr_fail(KR_EFORMAT, "a configuration of %zu bytes", n) : flatten(flat, bytes, n) : kr_error_code();
    const char *in[] = { "model.", "", "model.cfg.", "cfg." }, *model = NULL, *section = "";
    for (int i = 0; !e && i < 4 && !model; i++) {
        kr_auto char *key = kr_strf("%smodel_name", section = in[i]);
        model = key ? kr_meta_get(flat, key) : NULL;
    }
    if (!e && !model)
        e = kr_fail(KR_EFORMAT, "the configuration has no 'model:' with a 'model_name:', as those of DIRECT and ATOMMIC have");
    if (!e && !(e = kr_meta_set(w->meta, "network", "%s", network_of(model))))
        e = kr_meta_set(w->meta, "config_model", "%s", model);
    size_t k = strlen(section);
    for (long i = 0; !e && i < kr_meta_count(flat); i++) {
        const char *key = kr_meta_key(flat, i), *extra = "additional_models.";
        if (!strncmp(key, section, k) && !strchr(key + k, '.') && strcmp(key + k, "model_name"))
            e = hyper(w, key + k, kr_meta_value(flat, i));
        else if (!strncmp(key, extra, strlen(extra)))
            e = hyper(w, key + strlen(extra), kr_meta_value(flat, i));
    }
    const char *data = data_section(flat);
    for (long i = 0; !e && data && i < kr_meta_count(flat); i++) {
        const char *key = kr_meta_key(flat, i);
        if (strncmp(key, data, strlen(data)))
            continue;
        kr_auto char *name = kr_strf("data.%s", key + strlen(data));
        e = name ? hyper(w, name, kr_meta_value(flat, i)) : kr_error_code();
    }
    static const char *const physics = "physics.";
    for (long i = 0; !e && i < kr_meta_count(flat); i++)
        if (!strncmp(kr_meta_key(flat, i), physics, strlen(physics)))
            e = hyper(w, kr_meta_key(flat, i), kr_meta_value(flat, i));
    const char *operator = e ? NULL : kr_meta_get(flat, "physics.forward_operator");
    if (operator)                                    /* "fft2(centered=False)" */
        e = hyper(w, "fft_centered", strcasestr(operator, "centered=false") ? "0" : "1");
    if (operator && !e)
        e = hyper(w, "fft_normalized", strcasestr(operator, "normalized=false") ? "0" : "1");
    kr_meta_unref(&flat);
    return e;
}

int kr_weights_config(kr_weights *w, const char *path)
{
    size_t n = 0;
    kr_auto unsigned char *bytes = (unsigned char *)kr_file_whole(path, MOST, &n);
    if (!bytes)
        return kr_error_code();
    if (wt_yaml(w, bytes, n) || kr_meta_set(w->meta, "config", "%s", path))
        return kr_fail_in("%s", path);
    return 0;
}

static bool is_yaml(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '.' && ((n > 5 && !strcmp(name + n - 5, ".yaml")) || (n > 4 && !strcmp(name + n - 4, ".yml")));
}

char *kr_weights_config_beside(const char *weights)
{
    const char *slash = strrchr(weights, '/'), *base = slash ? slash + 1 : weights, *dot = strrchr(base, '.');
    int folder = (int)(base - weights), stem = dot ? (int)(dot - base) : (int)strlen(base);
    static const char *const name[] = { ".yaml", ".yml", "config.yaml", "model_config.yaml", "hparams.yaml" };
    for (int i = 0; i < 5; i++) {
        char *path = i < 2 ? kr_strf("%.*s%.*s%s", folder, weights, stem, base, name[i]) : kr_strf("%.*s%s", folder, weights, name[i]);
        struct stat st;
        if (path && !stat(path, &st) && S_ISREG(st.st_mode))
            return path;
        kr_free(path);
    }
    kr_auto char *place = folder ? kr_strf("%.*s", folder, weights) : kr_strdup(".");
    DIR *d = place ? opendir(place) : NULL;
    char *only = NULL;
    long count = 0;
    for (struct dirent *f; d && (f = readdir(d)); )
        if (is_yaml(f->d_name) && !count++)
            only = kr_strf("%.*s%s", folder, weights, f->d_name);
    if (d)
        closedir(d);
    if (count != 1)
        kr_free_at(&only);
    return only;
}
