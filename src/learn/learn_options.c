/* learn_options.c: the options of training, and the configuration that sets them. */
#include "learning.h"
#include <string.h>
#include <yaml.h>

#define AT(field) offsetof(kr_learn, field)
const kr_opt kr_learn_opts[] = {
    { "output", 'o', KR_OPT_OUT, AT(output), NULL, "FOLDER", "checkpoint, weights and tables; made where it is missing" },
    { "network", 0, KR_OPT_TEXT, AT(network), "refine", "NAME", "the network that is trained" },
    { "size", 0, KR_OPT_TEXT, AT(size), NULL, "KEY=N,...", "of a network that is trained from nothing, by the keys of its configuration; default: as published" },
    { "init", 0, KR_OPT_FILE, AT(init), NULL, "FILE", "start from these weights: fine-tuning" },
    { "folder", 0, KR_OPT_FILE, AT(folder), NULL, "FOLDER", "that images and labels are in, where their names begin with no /" },
    { "images", 0, KR_OPT_TEXT, AT(images), NULL, "FILES", "volumes: NIfTI, or NumPy archives (.npz, planes along the last two axes)" },
    { "labels", 0, KR_OPT_TEXT, AT(labels), NULL, "FILES", "volumes of tissue numbers, painted in another contrast each time" },
    { "scans", 0, KR_OPT_TEXT, AT(scans), NULL, "FILES", "raw scans, in any format that kray recon reads: 2D slices on a grid; those that are not fully sampled want self-supervised" },
    { "same", 0, KR_OPT_TEXT, AT(same), NULL, "GROUPS", "volumes of one person: beginnings of names, FILE:ITEM or FILE:3-5, blanks between them; a comma between groups" },
    { "hold-back", 0, KR_OPT_REAL, AT(hold_back), "0.12", "X", "part of the persons that is kept for validation; of the slices, where there is one person" },
    { "seed", 0, KR_OPT_INT, AT(seed), "1", "N", "of the random numbers" },
    { "slices", 0, KR_OPT_INT, AT(slices), "3000", "N", "how many undersampled slices are simulated from the volumes" },
    { "first", 0, KR_OPT_INT, AT(first), "200", "N", "slices to choose from in the first step" },
    { "every", 0, KR_OPT_INT, AT(every), "8", "N", "after so many steps one more slice is added" },
    { "cache", 0, KR_OPT_OUT, AT(cache), NULL, "FOLDER", "folder in which simulated slices are kept, for this run and others; default: slices/ of the output" },
    { "coils", 0, KR_OPT_TEXT, AT(coils), "4,4,5,6,6,8,8,10,12", "N,...", "channels to choose from by chance" },
    { "accel", 0, KR_OPT_TEXT, AT(accel), "2,3,4,4,4,5,6,8,8,8,10", "R,...", "accelerations to choose from" },
    { "masks", 0, KR_OPT_TEXT, AT(masks), "equispaced,equispaced_fraction,random,random,gaussian1d,uniform,poisson", "KINDS", "of masks over lines (kray mask --help)" },
    { "planes", 0, KR_OPT_TEXT, AT(planes), "poisson,poisson,gaussian2d", "KINDS", "of masks over planes: 45 of 100 slices" },
    { "noise", 0, KR_OPT_TEXT, AT(noise), "0.0003,0.05", "LOW,HIGH", "standard deviation of the samples' noise, the image's largest values being 1" },
    { "lesions", 0, KR_OPT_REAL, AT(lesions), "0", "X", "part of the planes that are given lesions: ellipses brighter or darker than what they lie in" },
    { "motion", 0, KR_OPT_TEXT, AT(motion), "0.3,10", "LOW,HIGH", "ssim: largest turn in degrees and shift in mm of a head in a field of view of 240 mm, drawn between" },
    { "start", 0, KR_OPT_TEXT, AT(start), NULL, "METHOD", "the image that a network of ATOMMIC begins with, such as wcrr, in place of the zero-filled one; its last layer begins at 0" },
    { "clean", 0, KR_OPT_FLAG, AT(clean), NULL, NULL, "the target is without noise; otherwise the image of the full scan, as real scans have it" },
    { "self-supervised", 0, KR_OPT_REAL, AT(self_supervised), "0", "X", "part of the measured samples outside of the centre that is held back from the network and that the loss is of (SSDU); 0: full scans are the targets" },
    { "denoise", 0, KR_OPT_REAL, AT(denoise), "0", "X", "wcrr: part of the lessons that are images with noise; the others are undersampled scans" },
    { "levels", 0, KR_OPT_TEXT, AT(levels), "0.01,0.1", "LOW,HIGH", "wcrr: noise of such images, drawn between; of scans the level of the regulariser, 1.4 times their noise, lies there too" },
    { "strength", 0, KR_OPT_REAL, AT(strength), "0.3", "X", "wcrr: lambda is X times the level, where lessons are scans" },
    { "loss", 0, KR_OPT_TEXT, AT(loss), "complex_log_nmse:0.1+ssim:0.5", "SUM", "losses with their weights: of magnitudes, or (complex_) of real and imaginary parts" },
    { "other-outputs", 0, KR_OPT_REAL, AT(other_outputs), "0.2", "X", "weight of the outputs before the last" },
    { "growing", 0, KR_OPT_FLAG, AT(growing), NULL, NULL, "outputs before the last weigh more and more: output t of T 10^(-(T - t) / (T - 1))" },
    { "air", 0, KR_OPT_REAL, AT(air), "0.3", "X", "weight in the loss of what is outside of the object" },
    { "optimiser", 0, KR_OPT_TEXT, AT(optimiser), "adamw", "NAME", "adam, adamw, sgd, rmsprop" },
    { "rate", 0, KR_OPT_REAL, AT(rate), "5e-4", "X", "learning rate" },
    { "warmup", 0, KR_OPT_INT, AT(warmup), "200", "N", "steps over which the rate rises" },
    { "decay", 0, KR_OPT_INT, AT(decay), "0", "N", "last steps, over which the rate falls to 0: half a cosine" },
    { "weight-decay", 0, KR_OPT_REAL, AT(weight_decay), "1e-4", "X", "of adamw" },
    { "clip", 0, KR_OPT_REAL, AT(clip), "1", "X", "largest norm of the gradient" },
    { "average", 0, KR_OPT_REAL, AT(average), "0.999", "X", "of the weights over the steps (EMA); 0: none" },
    { "batch", 0, KR_OPT_INT, AT(batch), "2", "N", "slices, or strips of them, in a step" },
    { "strip", 0, KR_OPT_INT, AT(strip), "48", "N", "readout positions of a strip, where the mask is the same in all readouts" },
    { "steps", 0, KR_OPT_INT, AT(steps), "10000", "N", "steps in all" },
    { "validate", 0, KR_OPT_INT, AT(validate), "500", "N", "validate after so many steps" },
    { "validation", 0, KR_OPT_INT, AT(validation), "16", "N", "slices of persons held back" },
    { "save", 0, KR_OPT_INT, AT(save), "200", "N", "write the checkpoint after so many steps" },
    { "max-time", 0, KR_OPT_REAL, AT(max_time), "0", "SECONDS", "leave a checkpoint then, and stop; 0: no limit" },
    { "memory", 0, KR_OPT_SIZE, AT(memory), NULL, "SIZE", "limit of a step, such as 4G: beyond it the network's values are made again on the way back, and strips become narrower" },
    { "double", 0, KR_OPT_FLAG, AT(in_double), NULL, NULL, "every step in double, far slower: to tell rounding from error" },
    { "resume", 0, KR_OPT_FLAG, AT(resume), NULL, NULL, "go on from the checkpoint of the output" },
    KR_OPT_END };

/* A folder is meant from where the configuration lies. */
static int set(kr_learn *o, kr_meta *text, const char *path, const char *key, const char *value)
{
    const char *slash = strrchr(path, '/');
    bool from_here = !strcmp(key, "folder") && *value != '/' && slash;
    kr_auto char *name = kr_strdup(key);
    if (!name || kr_meta_set(text, key, "%.*s%s", from_here ? (int)(slash + 1 - path) : 0, path, value))
        return kr_error_code();
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    const char *known[64];
    int count = 0;
    bool there = false;
    for (const kr_opt *k = kr_learn_opts; k->name && count < 64; k++) {
        there |= !strcmp(k->name, name);
        known[count++] = k->name;
    }
    const char *near = there ? NULL : kr_nearest(name, known, count);
    if (!there)
        return kr_fail(KR_EUSAGE, "there is no key '%s'%s%s%s", key, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : " (kray train --help lists them)");
    return kr_opt_set(kr_learn_opts, o, name, kr_meta_get(text, key));
}

int kr_learn_config(kr_learn *o, kr_meta *text, const char *path)
{
    size_t n;
    kr_auto char *bytes = kr_file_whole(path, 1 << 20, &n);
    yaml_parser_t p;
    if (!bytes)
        return kr_error_code();
    if (!yaml_parser_initialize(&p))
        return kr_fail(KR_EMEM, "no memory for reading a configuration");
    yaml_parser_set_input_string(&p, (const unsigned char *)bytes, n);
    kr_text key = { 0 }, list = { 0 };
    int e = 0, depth = 0;
    bool in_list = false, more = true;
    while (!e && more) {
        yaml_event_t v;
        if (!yaml_parser_parse(&p, &v)) {
            e = kr_fail(KR_EFORMAT, "line %zu: %s", p.problem_mark.line + 1, p.problem ? p.problem : "no YAML");
            break;
        }
        switch (v.type) {
        case YAML_MAPPING_START_EVENT:
            if (depth++ || in_list)
                e = kr_fail(KR_EFORMAT, "line %zu: lines 'key: value' are wanted, none inside of another", v.start_mark.line + 1);
            break;
        case YAML_SEQUENCE_START_EVENT:
            if (in_list || !key.len)
                e = kr_fail(KR_EFORMAT, "line %zu: a list inside of another, or without a key", v.start_mark.line + 1);
            in_list = true;
            break;
        case YAML_SEQUENCE_END_EVENT:
            e = set(o, text, path, key.s, list.s ? list.s : "");
            in_list = false;
            kr_text_clear(&key);
            kr_text_clear(&list);
            break;
        case YAML_SCALAR_EVENT:
            if (!depth)
                e = kr_fail(KR_EFORMAT, "lines 'key: value' are wanted");
            else if (!key.len)
                kr_text_add(&key, "%s", (const char *)v.data.scalar.value);
            else if (in_list)
                kr_text_add(&list, "%s%s", list.len ? "\n" : "", (const char *)v.data.scalar.value);
            else {
                e = set(o, text, path, key.s, (const char *)v.data.scalar.value);
                kr_text_clear(&key);
            }
            break;
        case YAML_ALIAS_EVENT: e = kr_fail(KR_EFORMAT, "line %zu: aliases are not read", v.start_mark.line + 1); break;
        case YAML_STREAM_END_EVENT: more = false; break;
        default: break;
        }
        yaml_event_delete(&v);
    }
    yaml_parser_delete(&p);
    kr_text_clear(&key);
    kr_text_clear(&list);
    return e ? kr_fail_in("%s", path) : 0;
}
