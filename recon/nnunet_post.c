/* nnunet_post.c: the rules that nnU-Net's cross-validation leaves beside a model: postprocessing.json. Each takes the voxels of some labels together
 * and keeps their largest component (26 neighbours, all of equal ones); the rest becomes background. Source: nnunetv2.postprocessing. */
#include "nnunet_plans.h"
#include "kray/segment.h"
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct nnunet_rule { int32_t *label, background; long labels; };

void nnunet_rules_clear(nnunet_rules *r)
{
    for (long i = 0; i < r->count; i++)
        kr_free(r->rule[i].label);
    kr_free_at(&r->rule);
    r->count = 0;
}

/* A label, labels, or lists of them (regions): all that stand in it. */
static int gather(struct nnunet_rule *r, json_t *v)
{
    size_t i;
    json_t *one;
    int e = 0;
    json_array_foreach(v, i, one)
        if (!e)
            e = gather(r, one);
    if (json_is_array(v))
        return e;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > KR_LABEL_MOST)
        return kr_fail(KR_EFORMAT, "labels_or_regions holds what is no label");
    void *p = kr_realloc(r->label, (size_t)r->labels, (size_t)r->labels + 1, sizeof *r->label);
    if (!p)
        return kr_error_code();
    r->label = p;
    r->label[r->labels++] = (int32_t)json_integer_value(v);
    return 0;
}

static int rules_of(nnunet_rules *r, json_t *j)
{
    json_t *fns = json_object_get(j, "postprocessing_fns"), *kwargs = json_object_get(j, "postprocessing_kwargs"), *v;
    size_t i, n = json_array_size(fns);
    const char *key;
    if (!json_is_array(fns) || !json_is_array(kwargs) || json_array_size(kwargs) != n)
        return kr_fail(KR_EFORMAT, "postprocessing_fns and postprocessing_kwargs are no lists of one length");
    r->rule = kr_alloc_zero(n + 1, sizeof *r->rule);
    for (i = 0; r->rule && i < n; i++) {
        struct nnunet_rule *one = &r->rule[r->count++];
        const char *fn = json_string_value(json_array_get(fns, i));
        if (!fn || strcmp(fn, "remove_all_but_largest_component_from_segmentation"))
            return kr_fail(KR_EFORMAT, "the rule '%s' is not built; 'remove_all_but_largest_component_from_segmentation' is", fn ? fn : "");
        json_object_foreach(json_array_get(kwargs, i), key, v) {
            if (!strcmp(key, "background_label") && json_is_integer(v))
                one->background = (int32_t)json_integer_value(v);
            else if (strcmp(key, "labels_or_regions"))
                return kr_fail(KR_EFORMAT, "%s of a rule is not known to Kray", key);
            else if (gather(one, v))
                return kr_error_code();
        }
        if (!one->labels)
            return kr_fail(KR_EFORMAT, "a rule names no labels");
    }
    return r->rule ? 0 : kr_error_code();
}

static bool holds(const char *folder, const char *name)
{
    kr_auto char *path = kr_strf("%s/%s", folder, name);
    return path && !access(path, R_OK);
}

/* The model's own folder, where copied models have the rules; that of the cross-validation of these folds; or the only one. NULL: none, or (*several) which? */
static char *where(const char *folder, char *const *fold, int folds, bool *several)
{
    kr_text name = { 0 };
    char *found = NULL;
    bool ours = false;
    *several = false;
    if (holds(folder, "postprocessing.json") || holds(folder, "postprocessing.pkl"))
        return kr_strdup(folder);
    kr_text_add(&name, "crossval_results_folds");
    for (int i = 0; i < folds; i++)
        kr_text_add(&name, "_%s", fold[i]);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && !ours && (e = readdir(d)); ) {
        kr_auto char *in = strncmp(e->d_name, "crossval_results", 16) ? NULL : kr_strf("%s/%s", folder, e->d_name);
        if (!in || !(holds(in, "postprocessing.json") || holds(in, "postprocessing.pkl")))
            continue;
        ours = name.s && !strcmp(e->d_name, name.s);
        *several = !ours && found;
        kr_free(found);
        found = kr_strdup(in);
    }
    if (d)
        closedir(d);
    kr_text_clear(&name);
    return found;
}

int nnunet_rules_read(nnunet_rules *r, const char *folder, char *const *fold, int folds)
{
    static const char *const way = "--no-postprocessing leaves the rules out";
    bool several;
    size_t n = 0;
    json_error_t why;
    kr_auto char *in = where(folder, fold, folds, &several);
    *r = (nnunet_rules){ 0 };
    if (!in)
        return 0;
    if (several)
        return kr_fail(KR_EREFUSED, "%s holds rules of postprocessing of several cross-validations, none of these folds (%s)", folder, way);
    if (!holds(in, "postprocessing.json"))
        return kr_fail(KR_EREFUSED, "%s has its rules of postprocessing as postprocessing.pkl alone; postprocessing.json beside it is wanted (%s)", in, way);
    kr_auto char *path = kr_strf("%s/postprocessing.json", in), *text = path ? kr_file_whole(path, (size_t)64 << 20, &n) : NULL;
    json_t *j = text ? json_loadb(text, n, 0, &why) : NULL;
    int e = j ? rules_of(r, j) : text ? kr_fail(KR_EFORMAT, "line %d: %s", why.line, why.text) : kr_error_code();
    json_decref(j);
    if (e)
        nnunet_rules_clear(r);
    return e ? text ? kr_fail_in("%s (%s)", path, way) : e : 0;
}

static int keep_largest(int32_t *labels, const struct nnunet_rule *r, const long n[3])
{
    long voxels = n[0] * n[1] * n[2], most = 0;
    kr_auto unsigned char *mask = kr_alloc((size_t)voxels, 1);
    kr_auto int32_t *part = kr_alloc((size_t)voxels, sizeof *part);
    if (!mask || !part)
        return kr_error_code();
    for (long i = 0; i < voxels; i++) {
        mask[i] = 0;
        for (long l = 0; l < r->labels && labels[i]; l++)
            mask[i] = mask[i] || labels[i] == r->label[l];
    }
    long parts = kr_components(part, mask, n, 26);
    kr_auto long *size = parts < 0 ? NULL : kr_alloc_zero((size_t)parts + 1, sizeof *size);
    if (!size)
        return kr_error_code();
    for (long i = 0; i < voxels; i++)
        size[part[i]]++;
    for (long k = 1; k <= parts; k++)
        most = size[k] > most ? size[k] : most;
    for (long i = 0; i < voxels; i++)
        if (part[i] && size[part[i]] < most)
            labels[i] = r->background;
    return 0;
}

int nnunet_rules_apply(const nnunet_rules *r, int32_t *labels, const long n[3])
{
    int e = 0;
    for (long i = 0; !e && i < r->count; i++)
        e = keep_largest(labels, &r->rule[i], n);
    return e;
}
