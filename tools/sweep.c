/* sweep.c: the strength of a regularisation by trying: scored by a reference, by cross-validation, or by the
 * discrepancy principle. */
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

/* ---- Generalised cross-validation ---- */
enum { STREAM = 21, SEED = 2008 };

/* What moves the samples: real and imaginary part +-1 times `step`, where measured. Returns how many are. */
static long nudge(kr_array *to, const kr_array *y, float step)
{
    long n = kr_count(kr_array_shape(y)), measured = 0;
    for (long i = 0; i < n; i++) {
        uint64_t bits = kr_rand_bits(SEED, STREAM, (uint64_t)i);
        bool on = kr_cabs2(KR_C(y)[i]) > 0;
        KR_C(to)[i] = on ? kr_c(bits & 1 ? step : -step, bits & 2 ? step : -step) : kr_c(0, 0);
        measured += on;
    }
    return measured;
}

/* The score of an image x of these data y; NAN where A x is not to be had. */
static double cross_validation(kr_scan *scan, const kr_recon *m, const void *opts, const kr_array *maps, const kr_image *x)
{
    kr_array *y = scan->data, *Ax = NULL, *Az = NULL;
    kr_scoped(array) step = kr_array_like(y);
    kr_scoped(array) moved = kr_array_copy(y);
    kr_scoped(image) again = NULL;                       /* of the whole grid, where x was cropped to what is wanted */
    bool whole = maps && kr_shape_equal(kr_array_shape(x->data), kr_shape_without(kr_array_shape(y), KR_ON(KR_COIL)));
    if (!maps || !step || !moved || (!whole && m->run(&again, scan, maps, opts, NULL)) || kr_samples_of(&Ax, scan, maps, whole ? x->data : again->data))
        return NAN;
    double yy = kr_dot_re(y, y), score = NAN;
    long n = nudge(step, y, 1);
    float size = 0.01f * (float)sqrt(yy / fmax(1, (double)n));       /* of the samples' mean */
    kr_axpy(moved, size, step);
    kr_scan near = *scan;
    near.data = moved;
    kr_scoped(image) z = NULL;
    if (!m->run(&z, &near, maps, opts, NULL) && !kr_samples_of(&Az, &near, maps, z->data)) {
        kr_axpy(Az, -1, Ax);
        double df = kr_dot_re(step, Az) / (2 * (double)size), left = (double)n - df;         /* of complex numbers */
        kr_axpy(Ax, -1, y);
        score = left > 0 ? kr_dot_re(Ax, Ax) / yy / (left / (double)n) / (left / (double)n) : NAN;
    }
    kr_array_unref(&Ax);
    kr_array_unref(&Az);
    return score;
}

int sweep_run(kr_image **out, const struct sweep *s, kr_job *job, kr_scan *scan, const struct judge_target *target, const kr_trace *trace)
{
    const kr_recon *m = kr_job_method(job);
    void *opts = kr_job_values(job);
    double *lambda = lambda_of(m, opts), best = INFINITY, chosen = 0, noise = 0;
    if (!lambda)
        return kr_fail(KR_EUSAGE, "%s has no lambda to sweep", m->name);
    if ((!target && kr_noise_level(&noise, scan)) || kr_job_keep(job, 0))
        return kr_error_code();
    bool cross = !target;                                /* as long as it can */
    printf("%12s %14s%s\n", "lambda", target ? "NRMSE" : "|Ax-y|/noise", target ? "" : "            GCV");
    for (int i = 0; i < s->count; i++) {
        *lambda = s->count > 1 ? s->from * pow(s->to / s->from, (double)i / (s->count - 1)) : s->from;
        kr_scoped(image) image = NULL;
        if (kr_job_image(job, &image, scan, trace))
            return kr_error_code();
        double score = target ? nrmse(image, target->image) : kr_meta_number(image->meta, "kray_residual", NAN) / noise;
        if (!isfinite(score))
            return target ? kr_fail(KR_ESHAPE, "the reference %s does not have the shape of the image, %s", target->path, kr_shape_text(kr_array_shape(image->data)))
                          : kr_fail(KR_EREFUSED, "%s does not report its residual: a sweep wants --reference", m->name);
        printf("%12.4g %14.6g", *lambda, score);
        if (cross) {
            const kr_array *maps = kr_job_maps(job);
            double within = cross_validation(scan, m, opts, maps ? maps : scan->coils, image);
            if (kr_stopped(trace))
                return kr_error_code();
            cross = isfinite(within) || i > 0;
            score = isfinite(within) ? within : cross ? INFINITY : score;
            kr_error_clear();
            if (cross)
                printf(" %14.6g", score);
        }
        printf("\n");
        fflush(stdout);
        bool better = target || cross ? score < best || i == 0 : i == 0 || score <= 1;
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
    if (kr_job_keep(job, -1))
        return kr_error_code();
    if (!target && !cross && best > 1)
        kr_say(trace, KR_WARNING, "even the smallest lambda leaves more than noise; the model, or the range, does not fit");
    kr_say(trace, KR_INFO, "lambda %.4g: the best of %d by %s", chosen, s->count, target ? "NRMSE" : cross ? "cross-validation" : "the discrepancy principle");
    return 0;
}
