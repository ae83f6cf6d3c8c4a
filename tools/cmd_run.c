/* cmd_run.c: kray run: a recipe of steps, each kray's own command or another program; steps whose inputs, options and outputs are as they were are
 * left out. What was done is kept beside the recipe, RECIPE.done.json. */
#include "json.h"
#include "done.h"
#include "stage.h"
#include "tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

typedef struct opts { bool force, plan, json; double timeout; } opts;
static const kr_opt table[] = {
    { "force", 0, KR_OPT_FLAG, offsetof(opts, force), NULL, NULL, "run every step, unchanged or not" },
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "tell which steps would run, and run none" },
    { "timeout", 0, KR_OPT_REAL, offsetof(opts, timeout), "86400", "S", "seconds after which a step is stopped; 0: never (a step's own `timeout` counts first)" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: an object for each step" },
    KR_OPT_END };

/* ---- YAML to JSON values ---- */
enum { NODES = 20000, WORDS = 256 };
struct reading { yaml_document_t d; long nodes; };

static json_t *value_of(struct reading *r, int at, int deep)
{
    yaml_node_t *n = yaml_document_get_node(&r->d, at);
    if (!n || deep > 16 || ++r->nodes > NODES)
        return NULL;
    if (n->type == YAML_SCALAR_NODE) {
        const char *s = (const char *)n->data.scalar.value;
        bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return plain && (!strcmp(s, "true") || !strcmp(s, "false")) ? json_boolean(!strcmp(s, "true")) : json_words(s);
    }
    json_t *j = n->type == YAML_SEQUENCE_NODE ? json_array() : json_object();
    if (n->type == YAML_SEQUENCE_NODE)
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
            json_t *v = value_of(r, *i, deep + 1);
            if (!v || json_array_append_new(j, v)) {
                json_decref(j);
                return NULL;
            }
        }
    else
        for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
            yaml_node_t *k = yaml_document_get_node(&r->d, p->key);
            json_t *v = k && k->type == YAML_SCALAR_NODE && !json_object_get(j, (const char *)k->data.scalar.value) ? value_of(r, p->value, deep + 1) : NULL;
            if (!v || json_object_set_new(j, (const char *)k->data.scalar.value, v)) {
                json_decref(j);
                return NULL;
            }
        }
    return j;
}

static json_t *load_recipe(const char *path)
{
    size_t n = 0;
    kr_auto char *text = kr_file_whole(path, (size_t)1 << 20, &n);
    if (!text)
        return NULL;
    yaml_parser_t p;
    struct reading r = { .nodes = 0 };
    json_t *j = NULL;
    if (!yaml_parser_initialize(&p)) {
        kr_fail(KR_EMEM, "no memory for the recipe");
        return NULL;
    }
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    if (!yaml_parser_load(&p, &r.d))
        kr_fail(KR_EFORMAT, "%s: line %zu: %s", path, p.problem_mark.line + 1, p.problem ? p.problem : "no YAML");
    else {
        j = yaml_document_get_root_node(&r.d) ? value_of(&r, 1, 0) : NULL;
        yaml_document_delete(&r.d);
        if (!j)
            kr_fail(KR_EFORMAT, "%s: no recipe: words, lists and mappings without keys that stand twice are wanted", path);
    }
    yaml_parser_delete(&p);
    return j;
}

/* ---- Steps ---- */
struct step { const char *kind, *name; json_t *at; char *argv[WORDS + 1]; int words; double timeout; const char *output; };

static int word(struct step *s, const char *text)
{
    if (s->words == WORDS)
        return kr_fail(KR_EUSAGE, "step '%s' has more than %d words", s->name, WORDS);
    s->argv[s->words] = kr_strdup(text);
    return s->argv[s->words] ? (s->words++, 0) : kr_error_code();
}

/* A string, or each of a list. */
static int words_of(struct step *s, json_t *v, const char *key)
{
    size_t i;
    json_t *one;
    if (json_is_string(v))
        return word(s, json_string_value(v));
    json_array_foreach(v, i, one)
        if (!json_is_string(one) || word(s, json_string_value(one)))
            return json_is_string(one) ? kr_error_code() : kr_fail(KR_EUSAGE, "step '%s': %s is no list of words", s->name, key);
    return json_is_array(v) ? 0 : kr_fail(KR_EUSAGE, "step '%s': %s is neither a word nor a list", s->name, key);
}

static bool is_output(const char *key)
{
    static const char *const outputs[] = { "output", "csv", "table", "gfactor", "noise" };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        if (!strcmp(key, outputs[i]))
            return true;
    return false;
}

static int own_command(struct step *s)
{
    const char *key;
    json_t *v;
    json_t *in = json_object_get(s->at, "input");
    if (word(s, "/proc/self/exe") || word(s, s->kind) || (in && words_of(s, in, "input")))
        return kr_error_code();
    json_object_foreach(s->at, key, v) {
        if (!strcmp(key, "input") || !strcmp(key, "name") || !strcmp(key, "timeout"))
            continue;
        kr_auto char *option = json_is_boolean(v) ? kr_strf(json_is_true(v) ? "--%s" : "--no-%s", key) : !strcmp(key, "output") ? kr_strdup("-o") : kr_strf("--%s", key);
        if (!option || word(s, option))
            return kr_error_code();
        if (!json_is_boolean(v) && (json_is_string(v) ? word(s, json_string_value(v)) : kr_fail(KR_EUSAGE, "step '%s': %s is no word", s->name, key)))
            return kr_error_code();
    }
    return 0;
}

/* In a command {input} is the first input, {output} the output. */
static int other_command(struct step *s)
{
    const char *key;
    json_t *v;
    json_object_foreach(s->at, key, v)
        if (strcmp(key, "command") && strcmp(key, "input") && strcmp(key, "output") && strcmp(key, "labels") && strcmp(key, "name") && strcmp(key, "timeout"))
            return kr_fail(KR_EUSAGE, "step '%s': a command has command, input, output, labels, name and timeout, no %s", s->name, key);
    return json_is_string(json_object_get(s->at, "command")) ? 0 : kr_fail(KR_EUSAGE, "step '%s': the command is no text", s->name);
}

static int step_of(struct step *s, json_t *one, size_t i, char *name, size_t room)
{
    const char *key = NULL;
    json_t *v;
    *s = (struct step){ .at = one };
    snprintf(name, room, "step %zu", i + 1);
    s->name = name;
    if (!json_is_object(one))
        return kr_fail(KR_EUSAGE, "%s is no mapping such as `recon: {input: scan.h5, output: image.nii.gz}`", name);
    if (json_object_get(one, "command")) {
        s->kind = "command";
    } else {
        json_object_foreach(one, key, v)
            if (json_is_object(v) && !s->kind) {
                s->kind = key;
                s->at = v;
            } else if (strcmp(key, "name") && strcmp(key, "timeout"))
                return kr_fail(KR_EUSAGE, "%s: '%s' is no command with its options, and no name or timeout", name, key);
        bool known = false;
        for (int k = 0; s->kind && kr_tools[k]; k++)
            known = known || (!strcmp(kr_tools[k]->name, s->kind) && strcmp(s->kind, "run"));
        if (!known)
            return kr_fail(KR_EUSAGE, "%s: '%s' is no command of kray (recon, segment, eval, convert, ...; other programs: command)", name, s->kind ? s->kind : "");
    }
    json_t *told = json_object_get(one, "name") ? json_object_get(one, "name") : json_object_get(s->at, "name");
    json_t *late = json_object_get(one, "timeout") ? json_object_get(one, "timeout") : json_object_get(s->at, "timeout");
    snprintf(name, room, "%zu %s", i + 1, json_is_string(told) ? json_string_value(told) : s->kind);
    s->timeout = json_is_string(late) ? strtod(json_string_value(late), NULL) : -1;
    s->output = json_string_value(json_object_get(s->at, "output"));
    return strcmp(s->kind, "command") ? own_command(s) : other_command(s);
}

/* The digest of all that decides on a step's result. */
static char *key_of(const struct step *s)
{
    kr_text t = { 0 };
    const char *key;
    json_t *v, *one;
    size_t i;
    char *plain = json_dumps(s->at, JSON_SORT_KEYS | JSON_COMPACT);
    kr_text_add(&t, "kray %s\n%s %s\n", kr_version(), s->kind, plain ? plain : "");
    free(plain);
    json_object_foreach(s->at, key, v) {
        if (is_output(key))
            continue;
        if (json_is_string(v))
            done_describe(&t, json_string_value(v));
        json_array_foreach(v, i, one)
            if (json_is_string(one))
                done_describe(&t, json_string_value(one));
    }
    char *d = done_digest(&t);
    kr_text_clear(&t);
    return d;
}

/* The digest of what a step wrote; "" where something of it is missing. */
static char *result_of(const struct step *s)
{
    kr_text t = { 0 };
    const char *key;
    json_t *v;
    bool all = true;
    json_object_foreach(s->at, key, v)
        if (is_output(key) && json_is_string(v) && strcmp(json_string_value(v), "-")) {
            all = all && !access(json_string_value(v), F_OK);
            done_describe(&t, json_string_value(v));
        }
    char *d = all ? done_digest(&t) : kr_strdup("");
    kr_text_clear(&t);
    return d;
}

static const char *first_input(const struct step *s)
{
    json_t *in = json_object_get(s->at, "input");
    return json_string_value(json_is_array(in) ? json_array_get(in, 0) : in);
}

static struct stage stage_of(const struct step *s, double timeout)
{
    const char *first = first_input(s);
    struct stage g = { json_string_value(json_object_get(s->at, "command")), timeout, { { 0 } } };
    int n = 0;
    if (first)
        g.word[n++] = (struct stage_word){ "input", first };
    if (s->output)
        g.word[n++] = (struct stage_word){ "output", s->output };
    return g;
}

static int run_step(const struct step *s, struct stage_end *end, double timeout, const kr_trace *trace)
{
    timeout = s->timeout >= 0 ? s->timeout : timeout;
    if (strcmp(s->kind, "command"))
        return stage_exec(end, s->argv, timeout, trace);
    const char *first = first_input(s);
    struct stage g = stage_of(s, timeout);
    if (s->output && kr_folder_for(s->output))
        return kr_error_code();
    int e = stage_run(end, &g, trace);
    if (!e && s->output && access(s->output, F_OK))
        e = kr_fail(KR_EFILE, "ended well, but wrote no %s", s->output);
    if (!e && json_is_true(json_object_get(s->at, "labels")))
        e = s->output && first ? stage_check_labels(s->output, first) : kr_fail(KR_EUSAGE, "labels: true wants an input (the image) and an output (its labels)");
    return e;
}

/* "out/./a//b" as "out/a/b". */
static char *plain_path(const char *path)
{
    kr_text t = { 0 };
    for (const char *p = path; *p; ) {
        if (*p == '/' && p[1] == '/')
            p++;
        else if (p[0] == '.' && p[1] == '/' && (p == path || p[-1] == '/'))
            for (p += 2; *p == '/'; )
                p++;
        else
            kr_text_put(&t, p++, 1);
    }
    kr_text_put(&t, "", 1);
    return t.failed ? (kr_text_clear(&t), NULL) : t.s;
}

/* Refuses a second step that writes `path`; `by` notes who writes what. */
static int claim(json_t *by, const char *path, const char *name)
{
    if (!strcmp(path, "-"))
        return 0;
    kr_auto char *plain = plain_path(path);
    const char *other = plain ? json_string_value(json_object_get(by, plain)) : NULL;
    if (other)
        return kr_fail(KR_EUSAGE, "steps %s and %s both write %s: each output is one step's", other, name, path);
    return plain && !json_object_set_new(by, plain, json_words(name)) ? 0 : kr_error_code();
}

/* What can be refused of all steps before the first runs. */
static int check_steps(json_t *steps)
{
    size_t i;
    json_t *one, *by = json_object(), *v;
    int e = 0;
    json_array_foreach(steps, i, one) {
        char name[200];
        const char *key;
        struct step s;
        e = step_of(&s, one, i, name, sizeof name);
        if (!e && !strcmp(s.kind, "command")) {
            struct stage g = stage_of(&s, 0);
            e = stage_check(&g) ? kr_fail_in("step %s", name) : 0;
        }
        json_object_foreach(s.at, key, v)
            if (!e && is_output(key) && json_is_string(v))
                e = claim(by, json_string_value(v), name);
        for (int k = 0; k < s.words; k++)
            kr_free(s.argv[k]);
        if (e)
            break;
    }
    json_decref(by);
    return e;
}

static int all_steps(json_t *steps, const opts *o, json_t *done, const char *record, struct answer *a)
{
    size_t i;
    json_t *one;
    int e = 0;
    bool fresh = false;                                       /* --plan: what a step before would write is not known yet */
    json_array_foreach(steps, i, one) {
        char name[200];
        struct step s;
        e = step_of(&s, one, i, name, sizeof name);
        json_t *j = e ? NULL : answer_add(a, s.output);
        kr_auto char *key = e ? NULL : key_of(&s), *was = e ? NULL : result_of(&s);
        e = e ? e : key && was ? kr_stopped(&a->trace) : kr_error_code();
        bool same = !e && !o->force && !fresh && done_same(done, name, key, was);
        json_object_set_new(j, "step", json_words(name));
        json_object_set_new(j, "key", json_words(key));
        json_object_set_new(j, "unchanged", json_boolean(same));
        if (!e && (same || o->plan)) {
            fresh = fresh || !same;
            if (!a->list)
                kr_print("%s: %s\n", name, same ? "unchanged" : "would run");
        } else if (!e) {
            struct stage_end end = { 0 };
            kr_say(&a->trace, KR_INFO, "%s", name);
            done_note(done, name, NULL, NULL, 0);
            e = run_step(&s, &end, o->timeout, &a->trace);
            if (e)
                kr_fail_in("step %s", name);
            kr_auto char *now = e ? NULL : result_of(&s);
            if (!e)
                done_note(done, name, key, now ? now : "", end.seconds);
            json_object_set_new(j, "seconds", json_real(end.seconds));
            json_object_set_new(j, "said", json_words(end.said));
            json_object_set_new(j, "result", json_words(now));
            if (!e && !a->list)
                kr_print("%s: done in %.1f s\n", name, end.seconds);
            if (!e && !a->list && end.said && *end.said)
                kr_print("%s%s", end.said, end.said[strlen(end.said) - 1] == '\n' ? "" : "\n");
            kr_free(end.said);
            e = done_write(done, record, e);
        }
        for (int k = 0; k < s.words; k++)
            kr_free(s.argv[k]);
        if (e)
            return e;
    }
    return 0;
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (files != 1)
        return kr_fail(KR_EUSAGE, "one recipe is wanted: kray run recipe.yaml");
    json_t *recipe = load_recipe(file[0]), *steps = json_object_get(recipe, "steps");
    const char *key, *slash = strrchr(file[0], '/');
    json_t *v;
    int e = recipe ? 0 : kr_error_code();
    if (!e && !json_array_size(steps))
        e = kr_fail(KR_EFORMAT, "%s: no list of steps", file[0]);
    json_object_foreach(recipe, key, v)
        if (!e && strcmp(key, "steps"))
            e = kr_fail(KR_EFORMAT, "%s: '%s' is not known; a recipe has steps", file[0], key);
    /* Paths of a recipe are those of its folder. */
    kr_auto char *folder = slash ? kr_strf("%.*s", (int)(slash - file[0]), file[0]) : NULL, *record = kr_strf("%s.done.json", slash ? slash + 1 : file[0]);
    if (!e && folder && *folder && chdir(folder))
        e = kr_fail(KR_EFILE, "%s: %s", folder, strerror(errno));
    json_t *done = record && !e ? done_load(record) : NULL;
    struct answer a;
    answer_begin(&a, o->json, trace);
    e = e ? e : check_steps(steps);
    e = e ? e : all_steps(steps, o, done, record, &a);
    if (e)
        answer_failed(&a);
    json_decref(done);
    json_decref(recipe);
    return answer_end(&a, e);
}

const kr_tool kr_tool_run = { "run", "Reconstruct", "run a recipe of steps (recon, segment, eval, other programs); steps whose inputs are unchanged are skipped", "RECIPE.yaml [options]",
    "  kray run recipe.yaml             # paths are those of the recipe's folder; what was done: recipe.yaml.done.json\n"
    "  kray run recipe.yaml --plan      # which steps would run\n"
    "  steps:                                                                    # recipe.yaml\n"
    "    - recon: {input: scan.h5, output: t1.nii.gz, method: sense}\n"
    "    - segment: {input: t1.nii.gz, output: tissue.nii.gz, model: model5/model.json, largest: true}\n"
    "    - {command: 'TotalSegmentator -i {input} -o {output} --ml', input: t1.nii.gz, output: organs.nii.gz, labels: true}\n"
    "    - eval: {labels: true, target: manual.nii.gz, input: tissue.nii.gz, csv: dice.csv}\n",
    table, sizeof(opts), NULL, run };
