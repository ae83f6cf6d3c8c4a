/* cmd_weights.c: kray weights info|list|convert: what a file of weights holds, and Kray's own copy of it. */
#include "kray/weights.h"
#include "tool.h"
#include <dirent.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

typedef struct opts { bool json; const char *network, *licence, *prefix; } opts;
static const kr_opt table[] = {
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "info and list as JSON" },
    { "network", 0, KR_OPT_TEXT, offsetof(opts, network), NULL, "NAME", "convert: the network that these weights belong to" },
    { "licence", 0, KR_OPT_TEXT, offsetof(opts, licence), NULL, "TEXT", "convert: the licence of the weights" },
    { "prefix", 0, KR_OPT_TEXT, offsetof(opts, prefix), NULL, "TEXT", "only tensors whose names begin so; the prefix goes" },
    KR_OPT_END };

static int load(kr_weights **w, const char *path, const char *prefix)
{
    if (kr_weights_read(w, path))
        return kr_error_code();
    if (!prefix)
        return 0;
    kr_weights *part = kr_weights_under(*w, prefix);
    kr_weights_unref(w);
    *w = part;
    return part ? 0 : kr_fail_in("%s", path);
}

static long numbers(const kr_weights *w)
{
    long n = 0;
    for (long i = 0; i < w->count; i++)
        n += kr_tensor_count(&w->tensor[i]);
    return n;
}

static json_t *as_json(const char *path, const kr_weights *w)
{
    json_t *tensors = json_array(), *meta = json_object();
    for (long i = 0; i < w->count; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < w->tensor[i].dims; d++)
            json_array_append_new(shape, json_integer(w->tensor[i].n[d]));
        json_array_append_new(tensors, json_pack("{s:s,s:o}", "name", w->tensor[i].name, "shape", shape));
    }
    for (long i = 0; i < kr_meta_count(w->meta); i++)
        json_object_set_new(meta, kr_meta_key(w->meta, i), json_string(kr_meta_value(w->meta, i)));
    return json_pack("{s:s,s:I,s:I,s:s,s:o,s:o}", "file", path, "tensors_count", (json_int_t)w->count, "parameters",
                     (json_int_t)numbers(w), "digest", w->digest, "meta", meta, "tensors", tensors);
}

static void print(const char *path, const kr_weights *w)
{
    printf("%s\n  format      %s\n  tensors     %ld\n  parameters  %ld\n  digest      %s\n", path, kr_meta_get(w->meta, "file_format"), w->count,
           numbers(w), w->digest);
    for (long i = 0; i < kr_meta_count(w->meta); i++)
        if (strcmp(kr_meta_key(w->meta, i), "file_format") && strcmp(kr_meta_key(w->meta, i), "digest"))
            printf("  %s: %.120s\n", kr_meta_key(w->meta, i), kr_meta_value(w->meta, i));
    for (long i = 0; i < w->count; i++) {
        printf("  %-64s", w->tensor[i].name);
        for (int d = 0; d < w->tensor[i].dims; d++)
            printf("%s%ld", d ? " x " : " ", w->tensor[i].n[d]);
        putchar('\n');
    }
}

static int info(int files, char **file, const opts *o)
{
    json_t *all = json_array();
    int e = files ? 0 : kr_fail(KR_EUSAGE, "which file of weights?");
    for (int i = 0; !e && i < files; i++) {
        kr_scoped(weights) w = NULL;
        if ((e = load(&w, file[i], o->prefix)))
            break;
        if (o->json)
            json_array_append_new(all, as_json(file[i], w));
        else
            print(file[i], w);
    }
    if (!e && o->json) {
        json_dumpf(files == 1 ? json_array_get(all, 0) : all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(all);
    return e;
}

/* One line each; files that hold no weights are passed over in folders. */
static int line(const char *path, bool quiet)
{
    kr_scoped(weights) w = NULL;
    if (kr_weights_read(&w, path)) {
        if (!quiet)
            return kr_error_code();
        kr_error_clear();
        return 0;
    }
    const char *network = kr_meta_get(w->meta, "network");
    printf("%-48s %6ld tensors %10ld parameters  %-16s %.12s\n", path, w->count, numbers(w), network ? network : "-", w->digest);
    return 0;
}

static int list(int files, char **file)
{
    if (!files)
        return kr_fail(KR_EUSAGE, "which folder or files?");
    for (int i = 0; i < files; i++) {
        DIR *d = opendir(file[i]);
        int e = d ? 0 : line(file[i], false);
        for (struct dirent *f; d && !e && (f = readdir(d)); ) {
            kr_auto char *path = kr_strf("%s/%s", file[i], f->d_name);
            struct stat st;
            if (path && f->d_name[0] != '.' && !stat(path, &st) && S_ISREG(st.st_mode))
                e = line(path, true);
        }
        if (d)
            closedir(d);
        if (e)
            return e;
    }
    return 0;
}

static int convert(int files, char **file, const opts *o)
{
    if (files != 2)
        return kr_fail(KR_EUSAGE, "one input and one output are wanted, %d names are given", files);
    kr_scoped(weights) w = NULL;
    if (load(&w, file[0], o->prefix))
        return kr_error_code();
    int e = kr_meta_set(w->meta, "source", "%s", file[0]);
    if (!e && o->network)
        e = kr_meta_set(w->meta, "network", "%s", o->network);
    if (!e && o->licence)
        e = kr_meta_set(w->meta, "licence", "%s", o->licence);
    if (!e)
        e = kr_meta_set(w->meta, "kray_version", "%s", kr_version());
    kr_weights_digest(w);
    return e ? e : kr_weights_write(w, file[1]);
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    (void)trace;
    if (files && !strcmp(file[0], "info"))
        return info(files - 1, file + 1, o);
    if (files && !strcmp(file[0], "list"))
        return list(files - 1, file + 1);
    if (files && !strcmp(file[0], "convert"))
        return convert(files - 1, file + 1, o);
    return kr_fail(KR_EUSAGE, "one of info, list or convert is wanted%s%s", files ? ", not " : "", files ? file[0] : "");
}

const kr_tool kr_tool_weights = { "weights", "Data", "what a file of network weights holds; Kray's own copy of it",
    "info|list|convert FILE... [options]",
    "  kray weights info model.ckpt\n"
    "  kray weights list zoo/\n"
    "  kray weights convert model.ckpt model.safetensors --network cirim --licence Apache-2.0\n",
    table, sizeof(opts), NULL, run };
