/* nnunet_plans.c: see nnunet_plans.h. */
#include "nnunet_plans.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static json_t *load(const char *folder, const char *name)
{
    size_t n = 0;
    json_error_t why;
    kr_auto char *path = kr_strf("%s/%s", folder, name), *text = path ? kr_file_whole(path, (size_t)64 << 20, &n) : NULL;
    json_t *j = text ? json_loadb(text, n, 0, &why) : NULL;
    if (text && !j)
        kr_fail(KR_EFORMAT, "%s: line %d: %s", path, why.line, why.text);
    return j;
}

static json_t *told_by(json_t *all, const char *name, const char *key)
{
    for (int deep = 0; deep < 8 && name; deep++) {
        json_t *c = json_object_get(all, name), *v = json_object_get(c, key);
        if (v)
            return v;
        name = json_string_value(json_object_get(c, "inherits_from"));
    }
    return NULL;
}

static int only(json_t *v, const char *what, const char *const *known, int *which)
{
    const char *s = json_string_value(v);
    for (int i = 0; s && known[i]; i++)
        if (!strcmp(s, known[i])) {
            *which = i;
            return 0;
        }
    return kr_fail(KR_EFORMAT, "%s '%s' is not built; '%s' is", what, s ? s : "none", known[0]);
}

static int resampling(json_t *all, const char *name, const char *what, int *order, int *order_z, int *separate, int preset)
{
    static const char *const fn[] = { "resample_data_or_seg_to_shape", NULL };
    int which = 0;
    kr_auto char *key = kr_strf("resampling_fn_%s", what), *kw = kr_strf("resampling_fn_%s_kwargs", what);
    json_t *f = key && kw ? told_by(all, name, key) : NULL, *k = kw ? told_by(all, name, kw) : NULL, *v;
    if (f && only(f, "the resampling", fn, &which))
        return kr_error_code();
    const char *word;
    json_object_foreach(k, word, v)
        if (strcmp(word, "is_seg") && strcmp(word, "order") && strcmp(word, "order_z") && strcmp(word, "force_separate_z"))
            return kr_fail(KR_EFORMAT, "%s.%s is not known to Kray", kw, word);
    *order = (v = json_object_get(k, "order")) ? (int)json_integer_value(v) : preset;
    *order_z = (v = json_object_get(k, "order_z")) ? (int)json_integer_value(v) : 0;
    v = json_object_get(k, "force_separate_z");
    *separate = json_is_true(v) ? 1 : json_is_false(v) ? 0 : -1;
    for (int i = 0; i < 2; i++) {
        int o = i ? *order_z : *order;
        if (o != 0 && o != 1 && o != 3)
            return kr_fail(KR_EFORMAT, "resampling of order %d is not built (0, 1, 3)", o);
    }
    return json_is_true(json_object_get(k, "is_seg")) ? kr_fail(KR_EFORMAT, "%s.is_seg is set for an image", kw) : 0;
}

static int normalisation(nnunet_plans *p, json_t *plans, json_t *all)
{
    static const char *const known[] = { "ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization", "RescaleTo0_1Normalization", "RGBTo01Normalization", NULL };
    static const enum nnunet_norm norm[] = { NORM_ZSCORE, NORM_CT, NORM_NONE, NORM_RESCALE, NORM_RESCALE, NORM_RGB };
    json_t *schemes = told_by(all, p->configuration, "normalization_schemes"), *mask = told_by(all, p->configuration, "use_mask_for_norm");
    json_t *seen = json_object_get(plans, "foreground_intensity_properties_per_channel");
    seen = seen ? seen : json_object_get(plans, "foreground_intensity_properties_by_modality");
    if ((long)json_array_size(schemes) != p->channels)
        return kr_fail(KR_EFORMAT, "normalization_schemes has %zu entries for %ld channels", json_array_size(schemes), p->channels);
    for (long c = 0; c < p->channels; c++) {
        char key[24];
        int which = 0;
        snprintf(key, sizeof key, "%ld", c);
        if (only(json_array_get(schemes, (size_t)c), "the normalisation", known, &which))
            return kr_error_code();
        p->norm[c] = norm[which];
        p->masked[c] = json_is_true(json_array_get(mask, (size_t)c));
        json_t *of = json_object_get(seen, key);
        static const char *const word[4] = { "mean", "std", "percentile_00_5", "percentile_99_5" };
        double *const to[4] = { &p->mean[c], &p->sd[c], &p->low[c], &p->high[c] };
        for (int k = 0; p->norm[c] == NORM_CT && k < 4; k++) {
            json_t *v = json_object_get(of, word[k]);
            if (!json_is_number(v))
                return kr_fail(KR_EFORMAT, "foreground_intensity_properties_per_channel.%s.%s is missing, which CTNormalization needs", key, word[k]);
            *to[k] = json_number_value(v);
        }
    }
    return 0;
}

static bool background(json_t *v)
{
    return (json_is_integer(v) && !json_integer_value(v)) || (json_is_array(v) && json_array_size(v) == 1 && !json_integer_value(json_array_get(v, 0)));
}

static int name_label(kr_meta *names, long label, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "label_%ld", label);
    return kr_meta_set(names, key, "%s", name);
}

static int labels_of(nnunet_plans *p, json_t *dataset, kr_meta *names)
{
    json_t *labels = json_object_get(dataset, "labels"), *order = json_object_get(dataset, "regions_class_order"), *v;
    const char *name;
    if (!json_is_object(labels))
        return kr_fail(KR_EFORMAT, "dataset.json has no labels");
    json_object_foreach(labels, name, v) {
        if (strcmp(name, "ignore") && json_is_array(v) && !background(v))
            p->regions = true;
        if (json_is_string(v))
            return kr_fail(KR_EFORMAT, "labels of dataset.json are of nnU-Net v1 (number: name); v2 is wanted");
    }
    json_object_foreach(labels, name, v) {
        if (!strcmp(name, "ignore") || (p->regions && background(v)))
            continue;
        if (p->classes == NNUNET_LABELS)
            return kr_fail(KR_EFORMAT, "more than %d labels", NNUNET_LABELS);
        json_t *becomes = p->regions ? json_array_get(order, (size_t)p->classes) : v;
        if (!json_is_integer(becomes) || json_integer_value(becomes) < 0 || json_integer_value(becomes) > 1000000)
            return kr_fail(KR_EFORMAT, p->regions ? "regions_class_order has no number for the region '%s'" : "the label '%s' is no number", name);
        long label = (long)json_integer_value(becomes);
        if (label && name_label(names, label, name))
            return kr_error_code();
        p->label[p->classes++] = label;
    }
    if (p->regions && json_array_size(order) != (size_t)p->classes)
        return kr_fail(KR_EFORMAT, "regions_class_order has %zu entries for %ld regions", json_array_size(order), p->classes);
    bool there[NNUNET_LABELS] = { false };
    for (long i = 0; !p->regions && i < p->classes; i++) {   /* class i is label i, whatever their order in the file */
        if (p->label[i] >= p->classes || there[p->label[i]])
            return kr_fail(KR_EFORMAT, "the labels of dataset.json are not 0, 1, 2, ... without gaps");
        there[p->label[i]] = true;
    }
    for (long i = 0; !p->regions && i < p->classes; i++)
        p->label[i] = i;
    return 0;
}

static int geometry(nnunet_plans *p, json_t *plans, json_t *all)
{
    static const char *const io[] = { "SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient", "NaturalImage2DIO", "Tiff3DIO", NULL };
    static const char *const pre[] = { "DefaultPreprocessor", NULL }, *const manager[] = { "LabelManager", NULL };
    json_t *patch = told_by(all, p->configuration, "patch_size"), *spacing = told_by(all, p->configuration, "spacing"), *forward = json_object_get(plans, "transpose_forward"), *v;
    int which = 0;
    if (told_by(all, p->configuration, "previous_stage"))
        return kr_fail(KR_EFORMAT, "'%s' is the second stage of a cascade (previous_stage), which Kray does not run", p->configuration);
    if ((v = told_by(all, p->configuration, "preprocessor_name")) && only(v, "the preprocessor", pre, &which))
        return kr_error_code();
    if ((v = json_object_get(plans, "label_manager")) && only(v, "the label manager", manager, &which))
        return kr_error_code();
    if ((v = json_object_get(plans, "image_reader_writer"))) {
        if (only(v, "the image reader", io, &which))
            return kr_error_code();
        if (which == 2 || which > 3)
            return kr_fail(KR_EFORMAT, "the image reader '%s' is not built; SimpleITKIO, NibabelIO and NibabelIOWithReorient are", io[which]);
        p->reorient = which == 3;
    }
    p->dims = (int)json_array_size(patch);
    if ((p->dims != 2 && p->dims != 3) || json_array_size(spacing) != (size_t)p->dims || json_array_size(forward) != 3)
        return kr_fail(KR_EFORMAT, "patch_size, spacing and transpose_forward of '%s' are not what two or three dimensions have", p->configuration);
    unsigned used = 0;
    p->patch[0] = 1;
    for (int d = 0; d < 3; d++) {
        p->forward[d] = (int)json_integer_value(json_array_get(forward, (size_t)d));
        used |= p->forward[d] >= 0 && p->forward[d] < 3 ? 1u << p->forward[d] : 0;
        int at = d - (3 - p->dims);
        if (at < 0)
            continue;
        p->patch[d] = (int)json_integer_value(json_array_get(patch, (size_t)at));
        p->spacing[d] = json_number_value(json_array_get(spacing, (size_t)at));
        if (p->patch[d] < 1 || p->patch[d] > 2048 || !(p->spacing[d] > 0))
            return kr_fail(KR_EFORMAT, "patch_size or spacing of '%s' is not above 0", p->configuration);
    }
    return used == 7 ? 0 : kr_fail(KR_EFORMAT, "transpose_forward is no order of three axes");
}

static int channels_of(nnunet_plans *p, json_t *dataset, kr_meta *names)
{
    json_t *c = json_object_get(dataset, "channel_names"), *v;
    const char *key;
    c = c ? c : json_object_get(dataset, "modality");
    p->channels = (long)json_object_size(c);
    if (p->channels < 1 || p->channels > NNUNET_CHANNELS)
        return kr_fail(KR_EFORMAT, "dataset.json names %ld channels; 1 to %d are built", p->channels, NNUNET_CHANNELS);
    json_object_foreach(c, key, v) {
        kr_auto char *name = kr_strf("channel_%s", key);
        if (!name || kr_meta_set(names, name, "%s", json_is_string(v) ? json_string_value(v) : "image"))
            return kr_error_code();
    }
    return 0;
}

static int choose(nnunet_plans *p, json_t *all, const char *configuration, const char *told)
{
    const char *name, *one = NULL;
    json_t *v;
    kr_text t = { 0 };
    json_object_foreach(all, name, v) {
        one = name;
        kr_text_add(&t, "%s%s", t.len ? ", " : "", name);
    }
    configuration = configuration ? configuration : told ? told : json_object_size(all) == 1 ? one : NULL;
    int e = configuration && json_object_get(all, configuration) ? 0
        : kr_fail(KR_EUSAGE, configuration ? "plans.json has no configuration '%s'; it has %s" : "%swhich configuration? plans.json has %s (--configuration)", configuration ? configuration : "",
                  t.s ? t.s : "none");
    kr_text_clear(&t);
    if (!e)
        snprintf(p->configuration, sizeof p->configuration, "%s", configuration);
    return e;
}

int nnunet_plans_read(nnunet_plans *p, kr_meta *names, const char *folder, const char *configuration, const char *told)
{
    *p = (nnunet_plans){ 0 };
    json_t *plans = load(folder, "plans.json"), *dataset = plans ? load(folder, "dataset.json") : NULL, *all = json_object_get(plans, "configurations");
    int e = dataset ? 0 : kr_error_code();
    e = e ? e : choose(p, all, configuration, told);
    e = e ? e : geometry(p, plans, all);
    e = e ? e : channels_of(p, dataset, names);
    e = e ? e : labels_of(p, dataset, names);
    e = e ? e : normalisation(p, plans, all);
    e = e ? e : resampling(all, p->configuration, "data", &p->order, &p->order_z, &p->separate, 3);
    e = e ? e : resampling(all, p->configuration, "probabilities", &p->order_back, &p->order_back_z, &p->separate_back, 1);
    if (!e && (p->order_back > 1 || p->order_back_z > 1))
        e = kr_fail(KR_EFORMAT, "logits resampled with order %d are not built (0, 1)", p->order_back > 1 ? p->order_back : p->order_back_z);
    json_decref(plans);
    json_decref(dataset);
    return e ? kr_fail_in("%s", folder) : 0;
}

int nnunet_trainer(const char *name)
{
    static const char *const known[] = { "NoMirroring", "onlyMirror01", "DASegOrd0", "DA5", "DAOrd0", "NoDA", "noDummy2DDA", "NoDeepSupervision", "DiceCELoss", "DiceLoss", "CELoss", "TopK10Loss",
                                         "DiceTopK10Loss", "noSmooth", "Adam", "AdamW", "CosAnneal", "probabilisticOversampling", "033", "010", "33foregroundOversampling", "Adam1en3", "Adam3en4",
                                         "vanillaRAdam", "vanillaAdam", "vanillaAdam1en3", "vanillaAdam3en4", "benchmark", "benchmark5epochs", "noDataLoading", "5epochs", "ResEnc" };
    if (strncmp(name, "nnUNetTrainer", 13))
        return kr_fail(KR_EFORMAT, "the trainer '%s' is not known to Kray: whether its network is that of the plans cannot be told", name);
    for (const char *p = name + 13; *p; ) {
        size_t n = strcspn(p, "_");
        size_t digits = strspn(p, "0123456789");
        bool good = !n || (digits && digits < n && !strncmp(p + digits, "epochs", n - digits)) || (digits && !strncmp(p + digits, "epoch", n - digits));
        for (size_t i = 0; !good && i < sizeof known / sizeof *known; i++)
            good = strlen(known[i]) == n && !strncmp(p, known[i], n);
        if (!good)
            return kr_fail(KR_EFORMAT, "the trainer '%s' is not known to Kray ('%.*s'): whether its network is that of the plans cannot be told", name, (int)n, p);
        p += n + (p[n] == '_');
    }
    return 0;
}
