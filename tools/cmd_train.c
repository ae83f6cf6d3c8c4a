/* cmd_train.c: kray train: trains a network from volumes. */
#include "kray/learn.h"
#include "json.h"
#include "rows.h"
#include "tool.h"
#include "train_page.h"
#include <stdio.h>
#include <string.h>

typedef struct opts { const char *prepare; bool plan, json; } opts;
static const kr_opt table[] = {
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "print seconds per step (measured), memory and the training data, and train nothing" },
    { "prepare", 0, KR_OPT_TEXT, offsetof(opts, prepare), NULL, "FROM,TO", "only simulate these slices of the cache, on all threads" },
    ROW_JSON(opts),
    KR_OPT_END };

static kr_learn learn;
static kr_meta *text;

/* The first word that ends in .yaml or .yml. */
static const char *config_of(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t n = strlen(argv[i]);
        if (*argv[i] != '-' && ((n > 5 && !strcmp(argv[i] + n - 5, ".yaml")) || (n > 4 && !strcmp(argv[i] + n - 4, ".yml"))))
            return argv[i];
    }
    return NULL;
}

/* What the configuration says stands before what the command line says. */
static int more(kr_opt_group *room, int count, int argc, char **argv)
{
    (void)count;
    const char *config = config_of(argc, argv);
    kr_meta_unref(&text);
    if (!(text = kr_meta_new()) || kr_opt_defaults(kr_learn_opts, &learn) || (config && kr_learn_config(&learn, text, config)))
        return kr_error_code();
    room[0] = (kr_opt_group){ "Keys of a configuration, and options", kr_learn_opts, &learn };
    return 1;
}

static int plan(json_t *j, const opts *o, const kr_trace *trace)
{
    kr_learn_cost c;
    if (kr_learn_plan(&c, &learn, trace))
        return kr_error_code();
    double per_epoch = (double)learn.slices / (double)learn.batch * c.step_seconds;
    if (!o->json)
        kr_print("%.0f parameters; %ld volumes of %ld persons (%ld files unreadable)\n%.2f s a step, %.0f s for as many as there are slices, %.1f h for %ld steps; %.2f s to make a slice; "
                 "%.0f MB\n", c.parameters, c.volumes, c.persons, c.unreadable, c.step_seconds, per_epoch, (double)learn.steps * c.step_seconds / 3600, learn.steps, c.slice_seconds, c.bytes / 1e6);
    json_object_set_new(j, "parameters", json_number(c.parameters));
    json_object_set_new(j, "volumes", json_integer(c.volumes));
    json_object_set_new(j, "persons", json_integer(c.persons));
    json_object_set_new(j, "unreadable", json_integer(c.unreadable));
    json_object_set_new(j, "step_seconds", json_number(c.step_seconds));
    json_object_set_new(j, "slice_seconds", json_number(c.slice_seconds));
    json_object_set_new(j, "bytes", json_number(c.bytes));
    return 0;
}

static int validated(void *self, const kr_learn_seen *seen)
{
    const kr_learn *o = self;
    return train_page(o->output, seen, seen->step < o->steps);
}

static int train(json_t *j, const opts *o, const kr_trace *trace)
{
    long from, to;
    char rest;
    const char *why = "done";
    if (o->plan)
        return plan(j, o, trace);
    if (o->prepare)
        return sscanf(o->prepare, "%ld,%ld%c", &from, &to, &rest) == 2 ? kr_learn_prepare(&learn, from, to, trace)
                                                                         : kr_fail(KR_EUSAGE, "--prepare wants two numbers, FROM,TO, not '%s'", o->prepare);
    learn.validated = validated;
    learn.self = &learn;
    if (kr_learn_run(&learn, &why, trace))
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s: %s", learn.output, why);
    json_object_set_new(j, "ended", json_words(why));
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files > 1 || (files && !config_of(2, (char *[]){ NULL, file[0] })))
        return kr_fail(KR_EUSAGE, "one configuration, NAME.yaml, is wanted, not '%s'", file[files - 1]);
    if (!learn.output)
        return kr_fail(KR_EUSAGE, "where to? -o FOLDER");
    struct answer a;
    answer_begin(&a, o->json, trace);
    json_t *j = answer_add(&a, learn.output);
    json_object_set_new(j, "options", json_options(kr_learn_opts, &learn));
    int e = train(j, o, &a.trace);
    if (e)
        answer_failed(&a);
    kr_meta_unref(&text);
    return answer_end(&a, e);
}

const kr_tool kr_tool_train = { "train", "Reconstruct", "train a network from volumes", "[CONFIG.yaml] -o FOLDER [options]",
    "  kray train refine.yaml -o trained --plan                 # seconds, memory, volumes\n"
    "  kray train refine.yaml -o trained --max-time 3600        # leaves a checkpoint after an hour\n"
    "  kray train refine.yaml -o trained --resume               # and goes on from it\n"
    "  kray train --images head.nii.gz,knee.nii.gz --hold-back 0.5 -o trained --steps 2000\n"
    "  kray recon scan.h5 -o image.nii.gz -m refine --weights trained/best.safetensors\n",
    table, sizeof(opts), more, run };
