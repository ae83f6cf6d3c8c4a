/* sweep.c: the strength of a regularisation by trying: scored by a reference, or by the discrepancy principle. */
#include "sweep.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 100 };

/* The word that holds the value of --lambda, or NULL; *value is where the value begins. */
static char **word_of(int argc, char **argv, char **value)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if ((!strcmp(argv[i], "--lambda") || !strcmp(argv[i], "-l")) && i + 1 < argc) {
            *value = argv[i + 1];
            return &argv[i + 1];
        }
        if (!strncmp(argv[i], "--lambda=", 9)) {
            *value = argv[i] + 9;
            return &argv[i];
        }
    }
    return NULL;
}

int sweep_parse(struct sweep *s, int argc, char **argv)
{
    char *value = NULL, *end, *start;
    if (!word_of(argc, argv, &value) || !(end = strchr(value, ':')))
        return 0;
    start = value;
    double from = strtod(start, &end), to = 0;
    bool good = end > start && *end == ':';
    char *colon = end;
    if (good) {
        start = end + 1;
        to = strtod(start, &end);
        good = end > start && *end == ':';
    }
    long count = good ? strtol(start = end + 1, &end, 10) : 0;
    if (!good || end == start || *end || !(from > 0) || !(to >= from) || !isfinite(to) || count < 1 || count > MOST)
        return kr_fail(KR_EUSAGE, "--lambda %s; a sweep looks like 1e-4:1e-1:7: from, to, and how many, at most %d", value, MOST);
    *s = (struct sweep){ from, to, (int)count };
    *colon = 0;                                          /* the words of the command belong to it */
    return 0;
}

static double *lambda_of(const kr_recon *m, void *opts)
{
    for (const kr_opt *o = m->opts; o && o->name; o++)
        if (!strcmp(o->name, "lambda") && o->type == KR_OPT_REAL)
            return (double *)(void *)((char *)opts + o->at);
    return NULL;
}

/* |a x - r| / |r| of magnitudes, a the best. NAN: sizes differ. */
static double nrmse(const kr_image *x, const kr_image *r)
{
    kr_scoped(image) m = kr_image_magnitude(x);
    kr_scoped(array) a = m ? kr_array_packed(m->data) : NULL;
    kr_scoped(array) b = kr_array_packed(r->data);
    if (!a || !b || a->n[KR_X] != b->n[KR_X] || a->n[KR_Y] != b->n[KR_Y] || kr_count(kr_array_shape(a)) != kr_count(kr_array_shape(b)))
        return NAN;
    double aa = 0, ab = 0, bb = 0;
    for (long i = 0, n = kr_count(kr_array_shape(a)); i < n; i++) {
        aa += (double)KR_R(a)[i] * (double)KR_R(a)[i];
        ab += (double)KR_R(a)[i] * (double)KR_R(b)[i];
        bb += (double)KR_R(b)[i] * (double)KR_R(b)[i];
    }
    return aa > 0 && bb > 0 ? sqrt(fmax(0, 1 - ab * ab / (aa * bb))) : NAN;
}

int sweep_run(kr_image **out, const struct sweep *s, kr_scan *scan, const kr_recon *m, void *opts, const kr_array *maps,
              const kr_coils_opts *coils, const struct judge_target *target, const kr_trace *trace)
{
    double *lambda = lambda_of(m, opts), best = INFINITY, chosen = 0, noise = 0;
    if (!lambda)
        return kr_fail(KR_EUSAGE, "%s has no lambda to sweep", m->name);
    if (!target && kr_noise_level(&noise, scan))
        return kr_error_code();
    kr_scoped(array) own = NULL;
    kr_coils_opts how = *coils;
    how.soft |= (m->needs & KR_SOFT_MAPS) != 0 && how.crop < 0;
    bool once = (m->needs & (KR_NEEDS_COILS | KR_TAKES_PRIOR)) == KR_NEEDS_COILS;
    if (!maps && once && !scan->coils && !(own = kr_coils_estimate(scan, &how, trace)))
        return kr_error_code();
    printf("%12s %14s\n", "lambda", target ? "NRMSE" : "|Ax-y|/noise");
    for (int i = 0; i < s->count; i++) {
        *lambda = s->count > 1 ? s->from * pow(s->to / s->from, (double)i / (s->count - 1)) : s->from;
        kr_scoped(image) image = NULL;
        if (kr_reconstruct(&image, scan, m, opts, NULL, maps ? maps : own, coils, trace))
            return kr_error_code();
        double score = target ? nrmse(image, target->image) : kr_meta_number(image->meta, "kray_residual", NAN) / noise;
        if (!isfinite(score))
            return target ? kr_fail(KR_ESHAPE, "the reference %s does not have the shape of the image, %s", target->path, kr_shape_text(kr_array_shape(image->data)))
                          : kr_fail(KR_EREFUSED, "%s does not report its residual: a sweep wants --reference", m->name);
        printf("%12.4g %14.6g\n", *lambda, score);
        fflush(stdout);
        bool better = target ? score < best : i == 0 || score <= 1;
        if (better) {
            best = score;
            chosen = *lambda;
            kr_image_unref(out);
            *out = image;
            image = NULL;
        }
        kr_progress(trace, "sweep", i + 1, s->count);
    }
    *lambda = chosen;
    if (!target && best > 1)
        kr_say(trace, KR_WARNING, "even the smallest lambda leaves more than noise; the model, or the range, does not fit");
    kr_say(trace, KR_INFO, "lambda %.4g: the best of %d by %s", chosen, s->count, target ? "NRMSE" : "the discrepancy principle");
    return 0;
}
