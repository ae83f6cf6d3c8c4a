/* sweep.c: the strength of a regularisation by trying: scored by a reference, by samples held out, by generalised cross-validation, or by the
 * discrepancy principle. */
#include "sweep.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 100, OUTER = 8, STREAM = 21, HELD_STREAM = 22, SEED = 2008 };
static const double FLOOR = 0.3;                         /* of errors near the centre, below; 0.1 and 0.5 are nearly alike, 1 loses 0.2 dB more */

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

/* ---- Cross-validation by samples held out ---- */
struct held {
    kr_array *data, *mask;                               /* what is left, and which samples of all axes that is    */
    float *weight;                                       /* {X,Y,Z} by what the error of a held-out sample counts  */
};

static void held_drop(struct held *h)
{
    kr_array_unref(&h->data);
    kr_array_unref(&h->mask);
    kr_free_at(&h->weight);
}

/* How far a sample of the calibration area lies from one that shows what is measured outside of it: along each undersampled axis half of the area
 * and as much more as keeps the step of regular masks. */
static void shifts(long shift[3], const kr_mask_facts *f)
{
    for (int d = 0; d < 3; d++) {
        long step = f->step[d] > 1 ? f->step[d] : 1, least = f->centre[d] / 2 + 1;
        shift[d] = f->centre[d] < f->n[d] ? (least + step - 1) / step * step : 0;
    }
}

static float at(const kr_array *mask, const long i[KR_AXES])
{
    long e = 0;
    for (int d = 0; d < KR_AXES; d++)
        e += mask->n[d] > 1 ? i[d] * mask->step[d] : 0;
    return KR_R(mask)[e];
}

/* Masks without a pattern along two axes, such as Poisson discs: without a few samples more, what is left is as it was. */
static bool by_chance(const kr_mask_facts *f, const long shift[3])
{
    int axes = 0;
    for (int d = 0; d < 3; d++)
        axes += shift[d] && !f->step[d];
    return axes > 1;
}

/* Whether sample i, which was measured, is held out: one of OUTER outside of the calibration area, by chance; or, of other masks, those in that area,
 * but not in its middle third, that were not measured as far outside. */
static bool is_held(const kr_array *mask, const kr_mask_facts *f, const long shift[3], const long i[KR_AXES])
{
    long there[KR_AXES];
    bool middle = true, inside = true;
    uint64_t place = 0;
    for (int d = 0; d < 3; d++) {
        inside &= i[d] >= f->centre_from[d] && i[d] < f->centre_from[d] + f->centre[d];
        place = shift[d] ? place * (uint64_t)f->n[d] + (uint64_t)i[d] : place;
    }
    if (by_chance(f, shift))
        return !inside && kr_rand_bits(SEED, HELD_STREAM, place) % OUTER == 0;
    if (!inside)
        return false;
    memcpy(there, i, sizeof there);
    for (int d = 0; d < 3; d++) {
        long from = i[d] - f->n[d] / 2;
        middle &= !shift[d] || 6 * labs(from) <= f->centre[d];
        there[d] += from < 0 ? -shift[d] : shift[d];
        if (there[d] < 0 || there[d] >= f->n[d])
            return false;
    }
    return !middle && !(at(mask, there) > 0);
}

static bool step_of(long i[KR_AXES], const long n[KR_AXES])
{
    for (int d = 0; d < KR_AXES; d++) {
        if (++i[d] < n[d])
            return true;
        i[d] = 0;
    }
    return false;
}

/* Errors of samples held out everywhere (alike) count alike; those near the centre by 1 / (power at this distance from it over the mean power + FLOOR): its
 * strong middle would decide alone. Of samples held out, else 0. */
static int weigh(struct held *h, const kr_scan *s, const kr_array *all, bool alike)
{
    enum { RINGS = 64 };
    const kr_array *y = s->data;
    long volume = y->n[KR_X] * y->n[KR_Y] * y->n[KR_Z], rest = kr_count(kr_array_shape(y)) / volume;
    kr_auto int *ring = kr_alloc((size_t)volume, sizeof *ring);
    double power[RINGS + 1] = { 0 }, count[RINGS + 1] = { 0 };
    if (!ring || !(h->weight = kr_alloc_zero((size_t)volume, sizeof *h->weight)))
        return kr_error_code();
    for (long e = 0; e < volume; e++) {
        const long i[3] = { e % y->n[KR_X], e / y->n[KR_X] % y->n[KR_Y], e / y->n[KR_X] / y->n[KR_Y] };
        double r = 0;
        for (int d = 0; d < 3; d++)
            if (y->n[d] > 1 && !(s->in_image & KR_ON(d)))
                r += pow((double)(2 * i[d] - y->n[d]) / (double)y->n[d], 2);
        ring[e] = (int)(RINGS * sqrt(r / 3));
        for (long k = 0; k < rest; k++)
            if (KR_C(all)[k * volume + e] != KR_C(h->data)[k * volume + e]) {
                power[ring[e]] += (double)kr_cabs2(KR_C(all)[k * volume + e]);
                count[ring[e]]++;
                h->weight[e] = 1;
            }
    }
    double sum = 0, n = 0;
    for (int k = 0; k <= RINGS; k++) {
        sum += power[k];
        n += count[k];
    }
    for (long e = 0; e < volume; e++)
        if (h->weight[e] > 0 && !alike)
            h->weight[e] = (float)(1 / (power[ring[e]] / count[ring[e]] / (sum / n) + FLOOR));
    return sum > 0;
}

/* 1: samples are held out; 0: there are none that could be (all measured, or no calibration area); or a refusal. */
static int hold_out(struct held *h, const kr_scan *s)
{
    kr_mask_facts f;
    long shift[3], i[KR_AXES] = { 0 };
    if (s->traj)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_scoped(array) all = kr_array_packed(s->data);
    if (!mask || !all || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    shifts(shift, &f);
    if (f.full || !f.centre[0] || !f.centre[1] || !f.centre[2] || (!shift[0] && !shift[1] && !shift[2]))
        return 0;
    kr_shape m = kr_array_shape(mask);
    for (int d = 0; d < 3; d++)
        m.n[d] = shift[d] ? s->shape.n[d] : m.n[d];
    h->mask = kr_array_new(KR_R32, m);
    h->data = kr_array_copy(all);
    if (!h->mask || !h->data)
        return kr_error_code();
    long e = 0;
    do
        KR_R(h->mask)[e++] = at(mask, i) > 0 && !is_held(mask, &f, shift, i);
    while (step_of(i, h->mask->n));
    kr_contract(h->data, all, h->mask, false);
    return weigh(h, s, all, by_chance(&f, shift));
}

/* |A x - y| / |y| of the samples held out, weighed, x the image of the others; NAN where A x is not to be had. */
static double predicted(const struct held *h, const kr_scan *scan, const kr_recon *m, const void *opts, const kr_array *maps, const kr_trace *trace)
{
    kr_scan near = *scan;
    kr_array *Az = NULL;
    kr_scoped(image) z = NULL;
    kr_scoped(array) y = kr_array_packed(scan->data);
    const kr_trace stop = { .stop = trace ? trace->stop : NULL };
    near.data = h->data;
    near.mask = h->mask;
    if (!maps || !y || m->run(&z, &near, maps, opts, &stop) || kr_samples_of(&Az, scan, maps, z->data))
        return NAN;
    double off = 0, all = 0;
    long volume = y->n[KR_X] * y->n[KR_Y] * y->n[KR_Z];
    for (long i = 0, n = kr_count(kr_array_shape(y)); i < n; i++)
        if (KR_C(y)[i] != KR_C(h->data)[i]) {
            off += (double)h->weight[i % volume] * (double)kr_cabs2(KR_C(Az)[i] - KR_C(y)[i]);
            all += (double)h->weight[i % volume] * (double)kr_cabs2(KR_C(y)[i]);
        }
    kr_array_unref(&Az);
    return sqrt(off / all);
}

/* ---- Generalised cross-validation, where nothing can be held out ---- */
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

enum rule { REFERENCE, HELD_OUT, GCV, DISCREPANCY };          /* each that cannot be had gives way to the next */
static const char *const rules[] = { "NRMSE", "cross-validation", "generalised cross-validation", "the discrepancy principle" };

static double within(enum rule by, const struct held *h, kr_scan *scan, kr_job *job, const kr_image *image, const kr_trace *trace)
{
    const kr_array *maps = kr_job_maps(job) ? kr_job_maps(job) : scan->coils;
    const kr_recon *m = kr_job_method(job);
    return by == HELD_OUT ? predicted(h, scan, m, kr_job_values(job), maps, trace) : cross_validation(scan, m, kr_job_values(job), maps, image);
}

static int try_all(kr_image **out, const struct sweep *s, kr_job *job, kr_scan *scan, const struct judge_target *target, const struct held *held, const kr_trace *trace)
{
    const kr_recon *m = kr_job_method(job);
    double *lambda = lambda_of(m, kr_job_values(job)), best = INFINITY, chosen = 0, noise = 0;
    enum rule by = target ? REFERENCE : held->data ? HELD_OUT : GCV;
    if (!lambda)
        return kr_fail(KR_EUSAGE, "%s has no lambda to sweep", m->name);
    if (!target && scan->rays)
        return kr_fail(KR_EUSAGE, "a sweep of lambda on X-ray projections wants a reference (--reference FILE)");
    if ((!target && kr_noise_level(&noise, scan)) || kr_job_keep(job, 0))
        return kr_error_code();
    for (int i = 0; i < s->count; i++) {
        *lambda = s->count > 1 ? s->from * pow(s->to / s->from, (double)i / (s->count - 1)) : s->from;
        kr_scoped(image) image = NULL;
        if (kr_job_image(job, &image, scan, trace))
            return kr_error_code();
        double first = target ? nrmse(image, target->image) : kr_meta_number(image->meta, "kray_residual", NAN) / noise, score = first;
        if (target && !isfinite(first))
            return kr_fail(KR_ESHAPE, "the reference %s does not have the shape of the image, %s", target->path, kr_shape_text(kr_array_shape(image->data)));
        while (by == HELD_OUT || by == GCV) {
            score = within(by, held, scan, job, image, trace);
            if (kr_stopped(trace))
                return kr_error_code();
            kr_error_clear();
            if (isfinite(score) || i > 0)
                break;
            by++;
            score = first;
        }
        if (by >= GCV && !isfinite(first))
            return kr_fail(KR_EREFUSED, "%s does not report its residual: a sweep wants --reference", m->name);
        if (!i)
            printf("%12s %14s%s\n", "lambda", target ? "NRMSE" : "|Ax-y|/noise", by == HELD_OUT ? "       held out" : by == GCV ? "            GCV" : "");
        printf("%12.4g %14.6g", *lambda, first);
        if (by == HELD_OUT || by == GCV)
            printf(" %14.6g", score);
        printf("\n");
        fflush(stdout);
        if (i == 0 || (by == DISCREPANCY ? score <= 1 : score < best)) {
            best = isfinite(score) ? score : INFINITY;
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
    if (by == DISCREPANCY && best > 1)
        kr_say(trace, KR_WARNING, "even the smallest lambda leaves more than noise; the model, or the range, does not fit");
    kr_say(trace, KR_INFO, "lambda %.4g: the best of %d by %s", chosen, s->count, rules[by]);
    return 0;
}

int sweep_run(kr_image **out, const struct sweep *s, kr_job *job, kr_scan *scan, const struct judge_target *target, const kr_trace *trace)
{
    struct held held = { 0 };
    int e = target ? 0 : hold_out(&held, scan);
    e = e < 0 ? e : try_all(out, s, job, scan, target, &held, trace);
    held_drop(&held);
    return e;
}
