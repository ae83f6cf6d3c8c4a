/* cmd_weights.c: kray weights info|list|convert: what a file of weights holds, which network it is, and a copy as safetensors or for PyTorch. */
#include "kray/net.h"
#include "kray/io.h"
#include "kray/weights.h"
#include "json.h"
#include "rows.h"
#include "tool.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct opts { bool json, bf16; const char *config, *network, *licence, *prefix; } opts;
static const kr_opt table[] = {
    ROW_JSON(opts),
    { "config", 0, KR_OPT_FILE, offsetof(opts, config), NULL, "FILE", "YAML of DIRECT or ATOMMIC; default: the one beside the weights; 'none': without" },
    { "network", 0, KR_OPT_TEXT, offsetof(opts, network), NULL, "NAME", "name of the network, if the weights do not show it" },
    { "licence", 0, KR_OPT_TEXT, offsetof(opts, licence), NULL, "TEXT", "convert: the licence of the weights" },
    { "bf16", 0, KR_OPT_FLAG, offsetof(opts, bf16), NULL, NULL, "convert to .safetensors: numbers rounded to bfloat16, half of the room" },
    { "prefix", 0, KR_OPT_TEXT, offsetof(opts, prefix), NULL, "TEXT", "only tensors with this prefix, which is dropped" },
    KR_OPT_END };

/* The weights with what their configuration says; *kind: the network they make, NULL: none that Kray has (why is on record). */
static int load(kr_weights **w, const kr_net_kind **kind, const char *path, const opts *o)
{
    if (kr_weights_read(w, path))
        return kr_error_code();
    if (o->prefix) {
        kr_weights *part = kr_weights_under(*w, o->prefix);
        kr_weights_unref(w);
        *w = part;
        if (!part)
            return kr_fail_in("%s", path);
        kr_weights_digest(part);
    }
    kr_auto char *beside = o->config || kr_meta_get((*w)->meta, "network") ? NULL : kr_weights_config_beside(path);
    const char *config = o->config ? o->config : beside;
    if (config && strcmp(config, "none") && kr_weights_config(*w, config)) {
        if (o->config)                               /* asked for; what merely lies there may be anything */
            return kr_error_code();
        kr_error_clear();
    }
    kr_net *net = kr_net_new(o->network, *w, false);
    *kind = net ? kr_net_kind_of(net) : NULL;
    kr_net_unref(&net);
    return 0;
}

static long numbers(const kr_weights *w)
{
    long n = 0;
    for (long i = 0; i < w->count; i++)
        n += kr_tensor_count(&w->tensor[i]);
    return n;
}

static void put_summary(json_t *o, const kr_weights *w, const kr_net_kind *kind)
{
    json_object_update_new(o, json_pack("{s:o,s:I,s:I,s:s}", "network", json_words(kind ? kind->name : NULL), "tensors_count", (json_int_t)w->count,
                           "parameters", (json_int_t)numbers(w), "digest", w->digest));
}

static void put_all(json_t *o, const kr_weights *w, const kr_net_kind *kind, const char *why)
{
    json_t *tensors = json_array();
    for (long i = 0; i < w->count; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < w->tensor[i].dims; d++)
            json_array_append_new(shape, json_integer(w->tensor[i].n[d]));
        json_array_append_new(tensors, json_pack("{s:o,s:o}", "name", json_words(w->tensor[i].name), "shape", shape));
    }
    put_summary(o, w, kind);
    json_object_set_new(o, "why_none", json_words(kind ? NULL : why));
    json_object_set_new(o, "meta", json_meta(w->meta));
    json_object_set_new(o, "tensors", tensors);
}

static void print(const char *path, const kr_weights *w, const kr_net_kind *kind, const char *why)
{
    kr_print("%s\n  format      %s\n  tensors     %ld\n  parameters  %ld\n  digest      %s\n", path, kr_meta_get(w->meta, "file_format"), w->count,
           numbers(w), w->digest);
    if (kind)
        kr_print("  network     %s: %s\n              %s\n", kind->name, kind->summary, kind->cite);
    else if (kr_meta_get(w->meta, "network") && !strcmp(kr_meta_get(w->meta, "network"), "wcrr"))
        kr_print("  regulariser wcrr (kray recon --method wcrr)\n");
    else
        kr_print("  network     none that Kray runs: %s\n", why);
    for (long i = 0; i < kr_meta_count(w->meta); i++)
        if (strcmp(kr_meta_key(w->meta, i), "file_format") && strcmp(kr_meta_key(w->meta, i), "digest"))
            kr_print("  %s: %.120s\n", kr_meta_key(w->meta, i), kr_meta_value(w->meta, i));
    for (long i = 0; i < w->count; i++) {
        kr_print("  %-64s", w->tensor[i].name);
        for (int d = 0; d < w->tensor[i].dims; d++)
            kr_print("%s%ld", d ? " x " : " ", w->tensor[i].n[d]);
        putchar('\n');
    }
}

static int info(int files, char **file, const opts *o, struct answer *a)
{
    int e = files ? 0 : kr_fail(KR_EUSAGE, "which file of weights?");
    for (int i = 0; !e && i < files; i++) {
        kr_scoped(weights) w = NULL;
        const kr_net_kind *kind = NULL;
        json_t *entry = answer_add(a, file[i]);
        if ((e = load(&w, &kind, file[i], o)))
            break;
        if (entry)
            put_all(entry, w, kind, kr_error());
        else
            print(file[i], w, kind, kr_error());
        kr_error_clear();
    }
    return e;
}

/* One line each; files that hold no weights are passed over in folders. */
static int line(const char *path, bool quiet, const opts *o, struct answer *a)
{
    kr_scoped(weights) w = NULL;
    const kr_net_kind *kind = NULL;
    if (load(&w, &kind, path, o)) {
        if (!quiet) {
            answer_add(a, path);
            return kr_error_code();
        }
        kr_error_clear();
        return 0;
    }
    kr_error_clear();
    if (a->list)
        put_summary(answer_add(a, path), w, kind);
    else
        kr_print("%-48s %-16s %6ld tensors %10ld parameters  %.12s\n", path, kind ? kind->name : "-", w->count, numbers(w), w->digest);
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The files of a folder, in order of their names. */
static int folder(const char *place, DIR *d, const opts *o, struct answer *a)
{
    char **name = NULL;
    long count = 0;
    int e = 0;
    for (struct dirent *f; !e && (f = readdir(d)); ) {
        char *path = kr_strf("%s/%s", place, f->d_name);
        struct stat st;
        bool file = path && f->d_name[0] != '.' && !stat(path, &st) && S_ISREG(st.st_mode);
        char **more = file ? kr_realloc(name, (size_t)count, (size_t)count + 1, sizeof *more) : NULL;
        if (more) {
            name = more;
            name[count++] = path;
        } else {
            e = file || !path ? kr_error_code() : 0;
            kr_free(path);
        }
    }
    if (count)
        qsort(name, (size_t)count, sizeof *name, by_name);
    for (long i = 0; i < count; i++) {
        e = e ? e : line(name[i], true, o, a);
        kr_free(name[i]);
    }
    kr_free(name);
    return e;
}

static int list(int files, char **file, const opts *o, struct answer *a)
{
    int e = files ? 0 : kr_fail(KR_EUSAGE, "which folder or files?");
    for (int i = 0; !e && i < files; i++) {
        DIR *d = opendir(file[i]);
        e = d ? folder(file[i], d, o, a) : line(file[i], false, o, a);
        if (d)
            closedir(d);
    }
    return e;
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n >= k && !strcmp(s + n - k, with);
}

static int convert(int files, char **file, const opts *o, struct answer *a)
{
    if (files != 2)
        return kr_fail(KR_EUSAGE, "one input and one output are wanted, %d names are given", files);
    bool torch = ends(file[1], ".pt");
    if (!torch && !ends(file[1], ".safetensors"))
        return kr_fail(KR_EUSAGE, "%s: weights are written as .safetensors or .pt", file[1]);
    if (torch && (o->bf16 || o->licence))
        return kr_fail(KR_EUSAGE, "--%s belongs to .safetensors: a .pt holds tensors of float32 and nothing else", o->bf16 ? "bf16" : "licence");
    kr_scoped(weights) w = NULL;
    const kr_net_kind *kind = NULL;
    if (load(&w, &kind, file[0], o))
        return kr_error_code();
    if (!kind && o->network)                         /* named, and they are not */
        return kr_fail_in("%s", file[0]);
    kr_error_clear();
    const char *slash = strrchr(file[0], '/');       /* a name, not a place on this machine */
    int e = kr_meta_set(w->meta, "source", "%s", slash ? slash + 1 : file[0]);
    if (!e && kind)
        e = kr_meta_set(w->meta, "network", "%s", kind->name);
    if (!e && o->licence)
        e = kr_meta_set(w->meta, "licence", "%s", o->licence);
    if (!e)
        e = kr_meta_set(w->meta, "kray_version", "%s", kr_version());
    if (o->bf16)
        kr_weights_round(w);
    kr_weights_digest(w);
    put_summary(answer_add(a, file[1]), w, kind);
    json_object_set_new(a->last, "source", json_words(file[0]));
    if (e || kr_folder_for(file[1]))
        return kr_error_code();
    if (torch ? kr_weights_write_torch(w, file[1]) : kr_weights_write(w, file[1]))
        return kr_error_code();
    kr_say(&a->trace, KR_INFO, "%s", file[1]);
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    static const struct { const char *name; int (*run)(int files, char **file, const opts *o, struct answer *a); } verb[] = {
        { "info", info }, { "list", list }, { "convert", convert } };
    for (size_t i = 0; files && i < sizeof verb / sizeof *verb; i++)
        if (!strcmp(file[0], verb[i].name)) {
            struct answer a;
            answer_begin(&a, o->json, trace);
            int e = verb[i].run(files - 1, file + 1, o, &a);
            if (e)
                answer_failed(&a);
            return answer_end(&a, e);
        }
    return kr_fail(KR_EUSAGE, "one of info, list or convert is wanted%s%s", files ? ", not " : "", files ? file[0] : "");
}

const kr_tool kr_tool_weights = { "weights", "Data", "inspect network weights, convert them to safetensors or for PyTorch",
    "info|list|convert FILE... [options]",
    "  kray weights info model.ckpt                              # which network, its hyper-parameters, every tensor\n"
    "  kray weights info model_1000.pt --config config.yaml     # with what a configuration of DIRECT or ATOMMIC adds\n"
    "  kray weights list zoo/ --json                             # one entry for each file of weights in a folder\n"
    "  kray weights convert model.ckpt model.safetensors --licence Apache-2.0   # one file that says what it is\n"
    "  kray weights convert trained/best.safetensors best.pt     # a state dict for torch.load\n"
    "  kray recon scan.h5 -o image.nii.gz --method cirim --weights model.safetensors\n",
    table, sizeof(opts), NULL, run };
