/* guess.c: kray eval --no-reference: the SSIM that each image would have against itself without motion, as a trained network guesses it. */
#include "guess.h"
#include "tool.h"
#include "kray/noref.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct guessed { const char *name, *path; double *ssim; unsigned *unlike; long slices, known, strange; double mean; unsigned most; };
struct guesses { const struct guess_opts *o; struct guessed *at; long count; };

/* The names of the bits, with commas. */
static int looks(kr_text *t, unsigned bits)
{
    bool more = false;
    for (int i = 0; i < KR_NOREF_LOOKS; i++)
        if (bits >> i & 1) {
            kr_text_add(t, "%s%s", more ? ", " : "", kr_noref_look[i]);
            more = true;
        }
    return t->failed ? kr_error_code() : 0;
}

static int one_image(struct guessed *g, const kr_noref *j, const struct guess_opts *o, const kr_trace *trace)
{
    kr_scoped(image) im = NULL;
    if (judge_image(&im, g->path, trace))
        return kr_error_code();
    kr_scoped(array) a = kr_array_packed(im->data);
    if (!a)
        return kr_error_code();
    long nx = a->n[KR_X], ny = a->n[KR_Y], all = kr_count(kr_array_shape(a)) / (nx * ny), skip = o->skip;
    if (skip < 0 || 2 * skip >= all)
        return kr_fail(KR_EUSAGE, "--skip %ld leaves nothing of %ld slices", skip, all);
    g->slices = all - 2 * skip;
    g->ssim = kr_alloc((size_t)g->slices, sizeof *g->ssim);
    g->unlike = kr_alloc((size_t)g->slices, sizeof *g->unlike);
    if (!g->ssim || !g->unlike)
        return kr_error_code();
    for (long i = 0; i < g->slices; i++) {
        if (kr_stopped(trace) || kr_noref_run(&g->ssim[i], &g->unlike[i], j, KR_R(a) + (i + skip) * nx * ny, nx, ny))
            return kr_error_code();
        if (isnan(g->ssim[i]))
            continue;
        g->known++;
        g->mean += g->ssim[i];
        g->strange += g->unlike[i] != 0;
        g->most |= g->unlike[i];
    }
    if (!g->known)
        return kr_fail(KR_ENUMBER, "it is 0 everywhere");
    g->mean /= (double)g->known;
    if (g->strange) {
        kr_text t = { 0 };
        int e = looks(&t, g->most);
        if (!e)
            kr_say(trace, KR_WARNING, "%s: %ld of %ld slices are unlike all that the network was trained on, in %s: the guess is not to be relied on there", g->name, g->strange, g->known, t.s);
        kr_text_clear(&t);
        return e;
    }
    return 0;
}

/* ---- Telling ---- */
static int as_text(const struct guesses *r)
{
    size_t width = 8;
    kr_text t = { 0 };
    for (long i = 0; i < r->count; i++)
        width = strlen(r->at[i].name) > width ? strlen(r->at[i].name) : width;
    kr_text_add(&t, "SSIM as guessed without a reference: that of the image against itself without motion\n\n%-*s %6s %10s\n", (int)width, "volume", "slices", "SSIM guess");
    for (long i = 0; i < r->count; i++) {
        const struct guessed *g = &r->at[i];
        kr_text_add(&t, "%-*s %6ld %10s%s\n", (int)width, g->name, g->known, judge_number(g->mean), g->strange ? "  unlike the training" : "");
        for (long s = 0; r->o->per_slice && s < g->slices; s++)
            kr_text_add(&t, "%-*s %6ld %10s%s\n", (int)width, "  slice", s, judge_number(g->ssim[s]), g->unlike[s] ? "  unlike the training" : "");
    }
    int e = t.failed ? kr_error_code() : kr_text_write("-", &t);
    kr_text_clear(&t);
    return e;
}

static int as_csv(const struct guesses *r)
{
    kr_text t = { 0 };
    kr_text_add(&t, "level,volume,slice,ssim_guess,unlike\n");
    for (long i = 0; i < r->count; i++) {
        const struct guessed *g = &r->at[i];
        for (long s = 0; s < g->slices; s++) {
            kr_text_add(&t, "slice,");
            judge_cell(&t, g->name);
            kr_text_add(&t, ",%ld,", s);
            if (!isnan(g->ssim[s]))
                kr_text_add(&t, "%.9g", g->ssim[s]);
            kr_text_add(&t, ",%d\n", g->unlike[s] != 0);
        }
        kr_text_add(&t, "volume,");
        judge_cell(&t, g->name);
        kr_text_add(&t, ",,%.9g,%d\n", g->mean, g->strange > 0);
    }
    int e = t.failed ? kr_error_code() : kr_text_write(r->o->csv, &t);
    kr_text_clear(&t);
    return e;
}

static json_t *words_of(unsigned bits)
{
    json_t *l = json_array();
    for (int i = 0; i < KR_NOREF_LOOKS; i++)
        if (bits >> i & 1)
            json_array_append_new(l, json_words(kr_noref_look[i]));
    return l;
}

static void as_json(json_t *o, const struct guessed *g)
{
    json_t *slices = json_array();
    for (long s = 0; s < g->slices; s++)
        json_array_append_new(slices, json_pack("{s:I,s:o,s:o}", "slice", (json_int_t)s, "ssim_guess", json_number(g->ssim[s]), "unlike", words_of(g->unlike[s])));
    json_object_update_new(o, json_pack("{s:o,s:o,s:o,s:o}", "volume", json_words(g->name), "ssim_guess", json_number(g->mean), "unlike", words_of(g->most), "slices", slices));
}

int guess_evaluate(const struct guess_opts *o, const struct judge_files *files, struct answer *a)
{
    struct guesses r = { .o = o };
    long lost = 0;
    kr_noref *j = judge_may_write(o->csv, files) ? NULL : kr_noref_open(o->weights);
    r.at = j ? kr_alloc_zero((size_t)files->count, sizeof *r.at) : NULL;
    int e = r.at ? 0 : kr_error_code();
    for (long i = 0; !e && i < files->count; i++) {
        struct guessed *g = &r.at[r.count];
        json_t *to = answer_add(a, files->at[i].path);
        *g = (struct guessed){ .name = files->at[i].name, .path = files->at[i].path };
        kr_progress(&a->trace, "judging", (double)i, (double)files->count);
        e = one_image(g, j, o, &a->trace);
        if (!e)
            as_json(to, g);
        r.count += !e;
        if (!e)
            continue;
        kr_free(g->ssim);
        kr_free(g->unlike);
        e = kr_fail_in("%s", g->path);
        if (files->count > 1 && e != KR_ESTOPPED && e != KR_EMEM) {
            kr_say(&a->trace, KR_WARNING, "%s", kr_error());
            answer_failed(a);
            kr_error_clear();
            lost++;
            e = 0;
        }
    }
    kr_progress(&a->trace, "judging", 1, 1);
    e = e || !r.count || !o->csv ? e : as_csv(&r);
    e = e || !r.count || a->list || (o->csv && !strcmp(o->csv, "-")) ? e : as_text(&r);
    e = e || !lost ? e : kr_fail(KR_EREFUSED, "%ld of %ld volumes could not be judged", lost, files->count);
    for (long i = 0; i < r.count; i++) {
        kr_free(r.at[i].ssim);
        kr_free(r.at[i].unlike);
    }
    kr_free(r.at);
    kr_noref_close(&j);
    return e;
}
