/* cmd_mask.c: kray mask: makes a sampling mask, says what it does, saves it; or says what a saved one does. */
#include "kray/io.h"
#include "json.h"
#include "rows.h"
#include "tool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts { const char *shape, *like, *output, *name; bool show, json; } opts;
static const kr_opt table[] = {
    { "shape", 's', KR_OPT_TEXT, offsetof(opts, shape), NULL, "X,Y[,Z]", "the grid: 320,320, or with names: y=320,z=128,time=12" },
    { "like", 'l', KR_OPT_FILE, offsetof(opts, like), NULL, "SCAN", "the grid of this scan, and the seed from its name" },
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "FILE", "save the mask: .npy, .cfl, or .png (a picture that can be read back)" },
    { "name", 0, KR_OPT_TEXT, offsetof(opts, name), NULL, "NAME", "file name whose characters are the seed (fastMRI)" },
    { "show", 0, KR_OPT_FLAG, offsetof(opts, show), NULL, NULL, "describe mask files" },
    ROW_JSON(opts),
    KR_OPT_END };

static int kinds(kr_opt_group *room, int room_count, int argc, char **argv)
{
    (void)room_count, (void)argc, (void)argv;
    static kr_text text;
    kr_text_clear(&text);
    kr_mask_kinds(&text);
    if (text.failed)
        return kr_error_code();
    room[0] = (kr_opt_group){ text.s, NULL, NULL };
    return 1;
}

/* "320,320" along x, y, z; "y=320,time=12" by name. */
static int shape_parse(kr_shape *s, const char *text)
{
    int axis = KR_X;
    for (const char *p = text; *p; axis++) {
        char name[16] = "", *end;
        size_t n = strcspn(p, "=,");
        if (p[n] == '=') {
            snprintf(name, sizeof name, "%.*s", (int)n, p);
            if ((axis = kr_axis_named(name)) < 0)
                return kr_fail(KR_EUSAGE, "--shape: '%s' is no axis", name);
            p += n + 1;
        }
        long v = strtol(p, &end, 10);
        if (end == p || v < 1 || (*end && *end != ',') || axis >= KR_AXES || (!*name && axis > KR_Z))
            return kr_fail(KR_EUSAGE, "--shape is 320,320 or y=320,z=128, not '%s'", text);
        s->n[axis] = v;
        p = end + (*end == ',');
    }
    return kr_count(*s) > 0 ? 0 : kr_fail(KR_EUSAGE, "--shape %s is too large", text);
}

static int grid_of(kr_shape *s, const opts *o, const kr_trace *trace)
{
    if (!o->like == !o->shape)
        return kr_fail(KR_EUSAGE, o->like ? "--shape and --like are both given" : "which grid? Give --shape X,Y or --like SCAN");
    if (o->shape)
        return shape_parse(s, o->shape);
    kr_scoped(scan) scan = NULL;
    if (kr_scan_read(&scan, o->like, NULL, &(kr_read){ .header_only = true }, trace))
        return kr_error_code();
    *s = scan->shape;
    return 0;
}

static void put_facts(json_t *o, const kr_mask_facts *f, kr_shape s)
{
    json_t *centre = json_object(), *step = json_object(), *partial = json_object();
    for (int d = KR_X; d <= KR_Z; d++)
        if (s.n[d] > 1) {
            json_object_set_new(centre, kr_axis_name(d), json_integer(f->centre[d]));
            json_object_set_new(step, kr_axis_name(d), json_integer(f->step[d]));
            json_object_set_new(partial, kr_axis_name(d), json_real(f->partial[d]));
        }
    json_object_update_new(o, json_pack("{s:o,s:I,s:I,s:f,s:f,s:o,s:o,s:o,s:b}", "shape", json_shape(s), "points", (json_int_t)f->points,
                           "measured", (json_int_t)f->measured, "acceleration", f->accel, "acceleration_outside_centre", f->outer_accel,
                           "centre", centre, "step_outside_centre", step, "partial_fourier", partial, "varies", f->varies));
}

static int tell(const char *word, const kr_array *m, struct answer *a)
{
    kr_mask_facts f;
    kr_shape s = kr_array_shape(m);
    if (kr_mask_describe(&f, m, s))
        return kr_fail_in("%s", word);
    put_facts(a->last, &f, s);
    if (a->list)
        return 0;
    kr_text t = { 0 };
    kr_mask_facts_text(&t, &f);
    int e = t.failed ? kr_error_code() : 0;
    if (!e)
        printf("%s %s: %s\n", word, kr_shape_text(s), t.s);
    kr_text_clear(&t);
    return e;
}

static int show(const char *file, struct answer *answer)
{
    kr_scoped(array) a = NULL;
    if (kr_array_read(&a, file))
        return kr_error_code();
    kr_scoped(array) m = kr_mask_from(file, kr_array_shape(a), NULL);
    return m ? tell(file, m, answer) : kr_error_code();
}

static int make(const char *spec, const opts *o, struct answer *a)
{
    kr_shape s = { { 0 } };
    if (grid_of(&s, o, &a->trace))
        return kr_error_code();
    kr_scoped(array) m = kr_mask_from(spec, s, o->name ? o->name : o->like);
    json_object_set_new(answer_add(a, o->output), "mask", json_words(spec));
    if (!m || (!(o->output && !strcmp(o->output, "-")) && tell(spec, m, a)))
        return kr_error_code();
    if (!o->output)
        return 0;
    kr_scoped(meta) meta = kr_meta_new();
    kr_meta_set_whole(meta, kr_whole());
    if (!meta || kr_meta_set(meta, "mask", "%s", spec) || kr_meta_set(meta, "kray_command", "%s", kr_command_line()))
        return kr_error_code();
    if (kr_array_write(m, meta, o->output))
        return kr_error_code();
    if (strcmp(o->output, "-"))
        kr_say(&a->trace, KR_INFO, "%s", o->output);
    return 0;
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (o->show && (!files || o->output || o->shape || o->like))
        return kr_fail(KR_EUSAGE, files ? "--show takes mask files only" : "which file?");
    if (!files)
        return kr_fail(KR_EUSAGE, "which mask? For example random:accel=4,center=0.08");
    if (files > 1 && !o->show)
        return kr_fail(KR_EUSAGE, "one mask is made at a time, %d words are given", files);
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = o->show ? 0 : make(file[0], o, &a);
    for (int i = 0; o->show && !e && i < files; i++) {
        answer_add(&a, file[i]);
        e = show(file[i], &a);
    }
    if (e)
        answer_failed(&a);
    return answer_end(&a, e);
}

const kr_tool kr_tool_mask = { "mask", "Data", "make, save and describe a sampling mask", "KIND:key=value,... --shape X,Y|--like SCAN [-o FILE]",
    "  kray mask random:accel=4,center=0.08,seed=1 --shape 640,368\n"
    "  kray mask equispaced_fraction:accel=8,center=0.04 --like file1000033.h5 -o mask.npy\n"
    "  kray mask poisson:accel=6,calib=24 --shape 256,256,160 -o mask.png\n"
    "  kray mask --show mask.npy --json\n", table, sizeof(opts), kinds, run };
