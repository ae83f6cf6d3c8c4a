/* learn.c: the loop of training, validation, and what a run costs. */
#include "learn_loss.h"
#include "learn_piece.h"
#include "kray/io.h"
#include "kray/metric.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Runs of the graph for the sizes that come ---- */
enum { RUNS = 48 };
typedef struct fleet {
    const kr_graph *graph; const char *name;
    unsigned use;
    size_t limit;                    /* bytes of a run; 0: none                                        */
    struct { kr_run *run; kr_extent n[KR_NET_INPUTS]; unsigned use; } at[RUNS];
    int count;
    void *block; size_t bytes;
} fleet;

static void fleet_clear(fleet *f)
{
    for (int i = 0; i < f->count; i++)
        kr_run_unref(&f->at[i].run);
    kr_free(f->block);
    f->count = 0;
    f->block = NULL;
    f->bytes = 0;
}

static bool same(const kr_extent *a, const kr_extent *b, long count)
{
    bool good = true;
    for (long i = 0; i < count; i++)
        good &= a[i].kind == b[i].kind && a[i].chan == b[i].chan && a[i].y == b[i].y && a[i].x == b[i].x;
    return good;
}

/* A run of that slice, its inputs given. */
static kr_run *fleet_run(fleet *f, const kr_net_input *in)
{
    kr_extent n[KR_NET_INPUTS] = { 0 };
    const void *data[KR_NET_INPUTS];
    long inputs = kr_graph_inputs(f->graph);
    unsigned use = f->use | (in->centred ? 0 : KR_CORNER);
    kr_run *r = NULL;
    if (kr_net_inputs(f->graph, f->name, in, n, data))
        return NULL;
    for (int i = 0; i < f->count && !r; i++)
        r = f->at[i].use == use && same(f->at[i].n, n, inputs) ? f->at[i].run : NULL;
    if (!r) {
        if (f->count == RUNS)
            fleet_clear(f);
        if (!(r = kr_graph_plan(f->graph, n, use, f->limit)))
            return NULL;
        f->at[f->count].run = r;
        f->at[f->count].use = use;
        memcpy(f->at[f->count++].n, n, sizeof n);
        if (kr_run_bytes(r) > f->bytes) {
            kr_free(f->block);
            f->bytes = kr_run_bytes(r) + kr_run_bytes(r) / 8;
            if (!(f->block = kr_alloc(f->bytes, 1))) {
                fleet_clear(f);
                return NULL;
            }
        }
        for (int i = 0; i < f->count; i++)
            if (kr_run_lend(f->at[i].run, f->block))
                return NULL;
    }
    for (long i = 0; i < inputs; i++)
        kr_run_input(r, i, data[i]);
    return r;
}

/* A run in double, its inputs given: made anew for each item, which takes much longer itself. */
static kr_plain_run *plain_run(const fleet *f, const kr_net_input *in)
{
    kr_extent n[KR_NET_INPUTS] = { 0 };
    const void *data[KR_NET_INPUTS];
    kr_plain_run *r = kr_net_inputs(f->graph, f->name, in, n, data) ? NULL : kr_plain_plan(f->graph, n, f->use | (in->centred ? 0 : KR_CORNER), f->limit);
    for (long i = 0; r && i < kr_graph_inputs(f->graph); i++)
        if (n[i].kind != KR_ABSENT)
            kr_plain_give(r, i, data[i]);
    return r;
}

/* The last output as complex numbers, magnitudes where these alone are compared. */
static kr_cfloat *image_made(const learn_made *m, long outputs, bool magnitude)
{
    kr_extent e;
    kr_auto double *y = learn_output(&e, m, outputs - 1);
    long n = e.y * e.x;
    bool real = e.kind == KR_REAL;
    kr_cfloat *x = y ? kr_alloc((size_t)n, sizeof *x) : NULL;
    for (long i = 0; x && i < n; i++) {
        kr_cfloat c = kr_c((float)y[real ? i : 2 * i], real ? 0 : (float)y[2 * i + 1]);
        x[i] = magnitude && !real ? kr_c(sqrtf(kr_cabs2(c)), 0) : c;
    }
    return x;
}

/* ---- Steps ---- */
enum { NARROWEST = 16 };            /* strips, where memory is short */
typedef struct job {
    const kr_learn *o;
    learn_volumes v;
    learn_losses losses;
    learn_state s;
    fleet train, infer;
    kr_array *worst;                 /* of the last validation                                        */
    const kr_trace *trace;
} job;

/* Images that are judged come from volumes, whole and fully sampled: keys of scans and of networks that reconstruct have no meaning there. */
static int judging(const kr_learn *o, const kr_learn *usual)
{
    const struct {
        bool said;
        const char *key;
    } keys[] = {
        { o->scans, "scans" }, { o->start, "start" }, { o->clean, "clean" }, { o->self_supervised > 0, "self-supervised" }, { strcmp(o->coils, usual->coils), "coils" },
        { strcmp(o->accel, usual->accel), "accel" }, { strcmp(o->masks, usual->masks), "masks" }, { strcmp(o->planes, usual->planes), "planes" },
        { o->air != usual->air, "air" }, { o->growing || o->other_outputs != usual->other_outputs, o->growing ? "growing" : "other-outputs" }, { o->strip != usual->strip, "strip" },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].said)
            return kr_fail(KR_EUSAGE, "%s is for networks that reconstruct; %s judges images of volumes", keys[i].key, o->network);
    return 0;
}

static int job_open(job *j, const kr_learn *o, const kr_trace *trace)
{
    *j = (job){ .o = o, .trace = trace };
    const struct {
        bool good;
        const char *wanted;
    } ranges[] = {
        { o->batch >= 1 && o->batch <= 64, "batch is 1 to 64" }, { o->strip >= 16, "strip is 16 or more" }, { o->steps >= 1, "steps is 1 or more" },
        { o->first >= 1 && o->slices >= o->first, "first is 1 to slices" }, { o->every >= 1, "every is 1 or more" },
        { o->validate >= 1, "validate is 1 or more" }, { o->save >= 1, "save is 1 or more" }, { o->validation >= 1, "validation is 1 or more" },
        { o->decay >= 0 && o->decay <= o->steps, "decay is 0 to steps" }, { o->rate > 0, "rate is above 0" },
        { o->average >= 0 && o->average < 1, "average is 0 or more and below 1" }, { o->hold_back > 0 && o->hold_back < 1, "hold-back is above 0 and below 1" },
        { o->clip > 0, "clip is above 0" }, { o->denoise >= 0 && o->denoise <= 1, "denoise is 0 to 1" }, { o->strength > 0 && o->strength <= 10, "strength is above 0 and at most 10" },
        { o->self_supervised >= 0 && o->self_supervised < 1, "self-supervised is 0 or more and below 1" }, { o->air > 0 && o->air <= 1, "air is above 0 and at most 1" },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!ranges[i].good)
            return kr_fail(KR_EUSAGE, "an option is out of its range: %s", ranges[i].wanted);
    double level[2];
    bool ridge = learn_ridge(o);
    const kr_net_kind *net = kr_net_kind_named(o->network);
    if (learn_levels(level, o))
        return kr_error_code();
    if (!ridge && o->denoise > 0)
        return kr_fail(KR_EUSAGE, "denoise is for wcrr; %s is trained on scans alone", o->network);
    kr_learn usual;
    if (kr_opt_defaults(kr_learn_opts, &usual))
        return kr_error_code();
    if (o->growing && o->other_outputs != usual.other_outputs)
        return kr_fail(KR_EUSAGE, "growing and other-outputs both say what the outputs before the last weigh: leave one of them out");
    if (ridge && (strcmp(o->loss, usual.loss) || o->growing || o->other_outputs != usual.other_outputs))
        return kr_fail(KR_EUSAGE, "wcrr has a loss of its own, the logarithm of the error, and one output: loss and other-outputs are for networks");
    if (o->in_double && ridge)
        return kr_fail(KR_EUSAGE, "double is for networks; the solutions that wcrr learns from are found in single precision");
    if (o->in_double && o->self_supervised > 0)
        return kr_fail(KR_EUSAGE, "double is for training on full scans; the loss of self-supervised training is taken in single precision");
    if (o->self_supervised > 0 && (ridge || (net && net->denoises)))
        return kr_fail(KR_EUSAGE, "self-supervised is for networks that reconstruct, not for %s", o->network);
    if (o->self_supervised > 0 && (strcmp(o->loss, usual.loss) || o->clean))
        return kr_fail(KR_EUSAGE, "self-supervised training has a loss of its own, over samples held back, and no target: %s is for full scans", o->clean ? "clean" : "loss");
    if (learn_judges(o) && judging(o, &usual))
        return kr_error_code();
    if (!learn_judges(o) && strcmp(o->motion, usual.motion))
        return kr_fail(KR_EUSAGE, "motion is for ssim; %s is trained on scans without motion", o->network);
    if (!(o->lesions >= 0 && o->lesions <= 1))
        return kr_fail(KR_EUSAGE, "lesions is 0 to 1");
    int e = learn_losses_of(&j->losses, o->loss);
    e = e ? e : learn_volumes_read(&j->v, o, trace);
    e = e ? e : learn_state_new(&j->s, o);
    const char *name = j->s.net ? j->s.net->name : "";
    j->train = (fleet){ .graph = j->s.graph, .name = name, .use = KR_TRAIN, .limit = (size_t)o->memory };
    j->infer = (fleet){ .graph = j->s.graph, .name = name };
    return e;
}

static void job_close(job *j)
{
    fleet_clear(&j->train);
    fleet_clear(&j->infer);
    learn_state_clear(&j->s);
    learn_losses_clear(&j->losses);
    learn_volumes_clear(&j->v);
    kr_array_unref(&j->worst);
}

static double rate_at(const kr_learn *o, const learn_state *s)
{
    double r = o->rate / (double)(1L << s->halvings);
    if (s->step < o->warmup)
        r *= (double)(s->step + 1) / (double)o->warmup;
    long left = o->steps - s->step;
    return o->decay && left < o->decay ? r * (1 - cos(M_PI * (double)left / (double)o->decay)) / 2 : r;
}

static double nmse(const kr_cfloat *x, const kr_cfloat *t, const float *weight, long n)
{
    double e = 0, all = 0;
    for (long i = 0; i < n; i++) {
        double w = weight[i] == 1;
        e += w * (double)kr_cabs2(x[i] - t[i]);
        all += w * (double)kr_cabs2(t[i]);
    }
    return all > 0 ? e / all : 0;
}

/* The loss over samples that were held back, of all outputs. */
static int held_loss(job *j, told *t, kr_run *r, const piece *p)
{
    long outputs = kr_graph_outputs(j->s.graph);
    double by = 1 / (double)j->o->batch, one = 0, first = 0;
    for (long i = 0; i < outputs; i++) {
        double share = by * learn_share(j->o, i, outputs);
        const kr_value *y = kr_run_output(r, i);
        kr_value *dy = kr_run_dy(r, i);
        if (kr_lesson_misfit(&one, (void *)dy->data, &p->lesson, (const void *)y->data, share))
            return kr_error_code();
        t->loss += share * one;
    }
    if (kr_lesson_misfit(&first, NULL, &p->lesson, p->start, 1))
        return kr_error_code();
    t->net += 20 * log10(one) * by;
    t->start += 20 * log10(first) * by;
    return 0;
}

/* The loss of the outputs, and its derivatives in them. */
static int lesson_loss(job *j, told *t, const learn_made *m, const piece *p)
{
    long outputs = kr_graph_outputs(j->s.graph), n = p->nx * p->ny;
    double value = 0, by = 1 / (double)j->o->batch;
    kr_auto kr_cfloat *x = image_made(m, outputs, p->magnitude);
    if (!x || learn_loss(&value, m, outputs, p->target, p->weight, &j->losses, p->magnitude, j->o, by))
        return kr_error_code();
    t->loss += value;
    t->net += 10 * log10(nmse(x, p->target, p->weight, n) + 1e-12) * by;
    t->start += 10 * log10(nmse(p->start, p->target, p->weight, n) + 1e-12) * by;
    return 0;
}

/* Item b of the step: a slice by chance, of it a strip in which there is something to see. */
static int one_item(job *j, told *t, long b, long strip)
{
    const kr_learn *o = j->o;
    dice d = { (uint64_t)o->seed, (1ull << 61) + (uint64_t)j->s.step * 64 + (uint64_t)b, 0 };
    long there = o->first + j->s.step / o->every;
    learn_slice s;
    if (learn_slice_get(&s, &j->v, o, false, dice_choice(&d, there < o->slices ? there : o->slices)))
        return kr_error_code();
    if (learn_range_add(&j->s.range, &s, learn_judges(o))) {
        learn_slice_clear(&s);
        return kr_error_code();
    }
    long w = s.strips && strip < s.nx ? strip : s.nx, x0 = 0;
    for (int k = 0; k < 8; k++) {
        long seen = 0;
        x0 = dice_choice(&d, s.nx - w + 1);
        for (long y = 0; y < s.ny; y++)
            for (long x = 0; x < w; x++)
                seen += learn_object(s.target[y * s.nx + x0 + x]);
        if (8 * seen > w * s.ny)
            break;
    }
    if (j->s.ridge) {
        int e = learn_ridge_item(t, o, &j->s, &d, &s, x0, w);
        learn_slice_clear(&s);
        return e;
    }
    piece p = { 0 };
    double noise = (double)s.noise * exp(0.2 * dice_normal(&d)), phase = dice_uniform(&d, 0, 2 * M_PI);
    int e = learn_judges(o) ? learn_piece_of_judged(&p, &s) : s.kspace ? learn_piece_of_lesson(&p, &j->s, &s, x0, w, phase, o, o->self_supervised, d.stream ^ (1ull << 60)) : learn_piece_of(&p, &s, x0, w, noise, phase, o->air);
    kr_scoped(plain_run) plain = e || !o->in_double ? NULL : plain_run(&j->train, &p.in);
    kr_run *r = e || o->in_double ? NULL : fleet_run(&j->train, &p.in);
    bool narrower = !e && !r && !plain && kr_error_code() == KR_EREFUSED && s.strips && o->memory && w > NARROWEST;
    learn_slice_clear(&s);
    if (narrower) {
        kr_error_clear();
        learn_piece_clear(&p);
        return one_item(j, t, b, w / 2 > NARROWEST ? w / 2 : NARROWEST);
    }
    e = e || r || plain ? e : kr_error_code();
    if (!e && plain) {
        e = kr_plain_forward(plain, NULL);
        e = e ? e : lesson_loss(j, t, &(learn_made){ NULL, plain }, &p);
        e = e ? e : kr_plain_backward(plain, NULL);
    } else if (!e) {
        kr_run_forward(r, NULL, NULL);
        e = p.lesson.held ? held_loss(j, t, r, &p) : lesson_loss(j, t, &(learn_made){ r, NULL }, &p);
        if (!e)
            kr_run_backward(r);
    }
    learn_piece_clear(&p);
    return e;
}

/* KR_ENUMBER: the loss or a gradient is not finite. */
static int one_step(job *j, told *t)
{
    learn_state *s = &j->s;
    *t = (told){ 0 };
    learn_state_zero_gradients(s);
    for (long b = 0; b < j->o->batch; b++)
        if (one_item(j, t, b, j->o->strip))
            return kr_error_code();
    t->norm = kr_clip_norm(s->param, s->params, j->o->clip);
    if (!isfinite(t->norm) || !isfinite(t->loss))
        return kr_fail(KR_ENUMBER, "the %s of step %ld is not finite", isfinite(t->loss) ? "gradient" : "loss", s->step + 1);
    if (kr_optim_step(s->optim, rate_at(j->o, s)) || learn_state_changed(s))
        return kr_error_code();
    s->step++;
    learn_state_average(s, j->o->average);
    return 0;
}

/* ---- Validation ---- */
typedef struct scores { double psnr, psnr_start, ssim, ssim_start, mean_gain, worst_gain; char worst[160]; bool held;
    double error, worst_error, corr[5];  /* of networks that judge: mean and largest |guess - SSIM|; sums of x, y, xx, yy, xy of the two */
} scores;

/* PSNR of magnitudes over the object, the target's maximum as the peak; SSIM over the whole plane. */
static int score(double *psnr, double *ssim, const kr_cfloat *x, const kr_cfloat *t, long nx, long ny)
{
    kr_auto float *a = kr_alloc((size_t)(2 * nx * ny), sizeof *a);
    if (!a)
        return kr_error_code();
    float *b = a + nx * ny, top = 0;
    double e = 0, n = 0;
    for (long i = 0; i < nx * ny; i++) {
        a[i] = sqrtf(kr_cabs2(t[i]));
        b[i] = sqrtf(kr_cabs2(x[i]));
        top = fmaxf(top, a[i]);
    }
    for (long i = 0; i < nx * ny; i++)
        if (a[i] > 0.06f * top) {
            e += pow((double)(a[i] - b[i]), 2);
            n++;
        }
    *psnr = 10 * log10((double)top * (double)top * n / (e + 1e-20));
    *ssim = kr_ssim(a, b, nx, ny, (double)top);
    return isfinite(*ssim) ? 0 : kr_error_code();
}

/* The mean of a map over the interior, as SSIM of a slice is. */
static double inside(const kr_cfloat *map, long nx, long ny)
{
    enum { BORDER = 3 };
    double sum = 0;
    for (long y = BORDER; y < ny - BORDER; y++)
        for (long x = BORDER; x < nx - BORDER; x++)
            sum += (double)kr_re(map[y * nx + x]);
    return sum / (double)((nx - 2 * BORDER) * (ny - 2 * BORDER));
}

static void judged(scores *sc, double guess, double truth, double of)
{
    double off = fabs(guess - truth), v[5] = { guess, truth, guess * guess, truth * truth, guess * truth };
    for (int i = 0; i < 5; i++)
        sc->corr[i] += v[i] / of;
    sc->error += off / of;
    sc->worst_error = fmax(sc->worst_error, off);
}

static double correlation(const double c[5]) { return (c[4] - c[0] * c[1]) / sqrt(fmax(1e-30, (c[2] - c[0] * c[0]) * (c[3] - c[1] * c[1]))); }

/* Magnitudes of the first image, the network's and the target. */
static int show(job *j, const piece *p, const kr_cfloat *x)
{
    kr_array_unref(&j->worst);
    if (!(j->worst = kr_array_new(KR_R32, KR_SHAPE([KR_X] = p->nx, [KR_Y] = p->ny, [KR_SLICE] = 3))))
        return kr_error_code();
    const kr_cfloat *first = learn_judges(j->o) ? p->adjoint : p->start;
    for (long i = 0, n = p->nx * p->ny; i < n; i++) {
        KR_R(j->worst)[i] = sqrtf(kr_cabs2(first[i]));
        KR_R(j->worst)[n + i] = sqrtf(kr_cabs2(x[i]));
        KR_R(j->worst)[2 * n + i] = p->target ? sqrtf(kr_cabs2(p->target[i])) : 0;
    }
    return 0;
}

/* The image of a whole slice. */
static kr_cfloat *image_of(job *j, const learn_slice *s, const piece *p)
{
    size_t n = (size_t)(p->nx * p->ny);
    kr_cfloat *image = kr_alloc(n, sizeof *image);
    if (image && j->s.ridge) {
        if (!learn_ridge_image(image, j->o, &j->s, s))
            return image;
    } else if (image) {
        kr_run *r = fleet_run(&j->infer, &p->in);
        if (r) {
            kr_free(image);
            kr_run_forward(r, NULL, NULL);
            return image_made(&(learn_made){ r, NULL }, kr_graph_outputs(j->s.graph), p->magnitude);
        }
    }
    kr_free(image);
    return NULL;
}

static int validate(job *j, scores *sc)
{
    *sc = (scores){ .worst_gain = INFINITY };
    double n = (double)j->o->validation;
    int e = learn_state_exchange(&j->s);
    for (long i = 0; i < j->o->validation && !e; i++) {
        learn_slice s;
        piece p = { 0 };
        if ((e = kr_stopped(j->trace)) || (e = learn_slice_get(&s, &j->v, j->o, true, i)))
            break;
        bool known = s.full || !s.kspace;                    /* the truth */
        e = learn_judges(j->o) ? learn_piece_of_judged(&p, &s) : s.kspace ? learn_piece_of_lesson(&p, &j->s, &s, 0, s.nx, 0, j->o, known ? 0 : j->o->self_supervised, (1ull << 59) + (uint64_t)i) : learn_piece_of(&p, &s, 0, s.nx, (double)s.noise, 0, j->o->air);
        kr_auto kr_cfloat *image = e ? NULL : image_of(j, &s, &p);
        if (image) {
            double psnr = NAN, psnr0 = NAN, ssim = NAN, ssim0 = NAN;
            if (learn_judges(j->o)) {
                double guess = inside(image, p.nx, p.ny), truth = inside(p.target, p.nx, p.ny);
                judged(sc, guess, truth, n);
                kr_say(j->trace, KR_DETAIL, "slice %ld: %ldx%ld, noise %.4f, SSIM %.4f, guess %.4f, %s", i, s.nx, s.ny, (double)s.noise, truth, guess, s.name);
                if (sc->worst_error <= fabs(guess - truth)) {
                    snprintf(sc->worst, sizeof sc->worst, "%ld (%s)", i, s.name);
                    e = show(j, &p, image);
                }
                learn_piece_clear(&p);
                learn_slice_clear(&s);
                continue;
            }
            if (p.lesson.held) {                             /* in decibels, too */
                e = kr_lesson_misfit(&psnr, NULL, &p.lesson, image, 1);
                e = e ? e : kr_lesson_misfit(&psnr0, NULL, &p.lesson, p.start, 1);
                psnr = -20 * log10(psnr);
                psnr0 = -20 * log10(psnr0);
                sc->held = true;
            } else {
                e = score(&psnr, &ssim, image, p.target, p.nx, p.ny);
                e = e ? e : score(&psnr0, &ssim0, p.start, p.target, p.nx, p.ny);
            }
            if (!e) {
                sc->psnr += psnr / n;
                sc->psnr_start += psnr0 / n;
                sc->ssim += ssim / n;
                sc->ssim_start += ssim0 / n;
                double measured = 0;
                for (long k = 0; k < s.nx * s.ny; k++)
                    measured += s.mask[k] != 0;
                kr_say(j->trace, KR_DETAIL, "slice %ld: %ldx%ld, %ld coils, R = %.2f over %s, noise %.4f, %s %.2f dB, %+.2f over the first image, %s", i, s.nx, s.ny,
                       s.coils, (double)(s.nx * s.ny) / measured, s.strips ? "lines" : "the plane", (double)s.noise, p.lesson.held ? "samples held back" : "object PSNR", psnr, psnr - psnr0, s.name);
                if (psnr - psnr0 < sc->worst_gain) {
                    sc->worst_gain = psnr - psnr0;
                    snprintf(sc->worst, sizeof sc->worst, "%ld (%s)", i, s.name);
                    e = show(j, &p, image);
                }
            }
        } else
            e = e ? e : kr_error_code();
        learn_piece_clear(&p);
        learn_slice_clear(&s);
    }
    sc->mean_gain = sc->psnr - sc->psnr_start;
    if (learn_judges(j->o)) {
        sc->psnr = sc->psnr_start = NAN;
        sc->ssim = sc->corr[0];
        sc->ssim_start = sc->corr[1];
        sc->mean_gain = -sc->error;
        sc->worst_gain = -sc->worst_error;
    }
    int back = learn_state_exchange(&j->s);
    return e ? e : back;
}

/* ---- Tables ---- */
/* The first `lines` lines of data of a table stay; a new one gets its heading. */
static FILE *table(const char *folder, const char *name, const char *heading, long last_step)
{
    kr_auto char *path = kr_strf("%s/%s", folder, name);
    kr_text kept = { 0 };
    FILE *f = path ? fopen(path, "r") : NULL;
    char line[512];
    kr_text_add(&kept, "%s\n", heading);
    while (f && fgets(line, sizeof line, f)) {
        char *end;
        long step = strtol(line, &end, 10);
        if (end != line && step <= last_step && last_step)
            kr_text_add(&kept, "%s", line);
    }
    if (f)
        fclose(f);
    f = path && !kept.failed && !kr_text_write(path, &kept) ? fopen(path, "a") : NULL;
    if (!f && path && !kr_error_code())
        kr_fail(KR_EFILE, "%s cannot be written: %s", path, strerror(errno));
    kr_text_clear(&kept);
    return f;
}

static void quoted(kr_text *t, const char *s)
{
    kr_text_add(t, "\"");
    for (; s && *s; s++)
        if (*s == '"' || *s == '\\')
            kr_text_add(t, "\\%c", *s);
        else if ((unsigned char)*s < 32)
            kr_text_add(t, "\\u%04x", (unsigned char)*s);
        else
            kr_text_add(t, "%c", *s);
    kr_text_add(t, "\"");
}

/* run.json: what this run is made of. */
static int run_file(const job *j)
{
    kr_text t = { 0 }, options = { 0 };
    kr_opt_describe(&options, kr_learn_opts, j->o);
    kr_text_add(&t, "{\n  \"kray\": \"%s\",\n  \"seed\": %ld,\n  \"parameters\": %.0f,\n  \"options\": ", kr_version(), j->o->seed, learn_state_numbers(&j->s));
    quoted(&t, options.s);
    kr_text_add(&t, ",\n  \"persons\": %ld,\n  \"unreadable\": ", j->v.persons);
    quoted(&t, j->v.unreadable.s);
    kr_text_add(&t, ",\n  \"volumes\": [");
    for (long i = 0; i < j->v.count; i++) {
        const learn_volume *v = &j->v.volume[i];
        char hex[65];
        if (v->path)
            memcpy(hex, v->digest, sizeof hex);
        else
            kr_digest(v->v, (size_t)(v->n[0] * v->n[1] * v->n[2]) * sizeof *v->v, hex);
        kr_text_add(&t, "%s\n    { \"name\": ", i ? "," : "");
        quoted(&t, v->name);
        kr_text_add(&t, ", \"person\": %ld, \"held_back\": %s, \"shape\": [%ld, %ld, %ld], \"sha256\": \"%s\" }", v->person, j->v.held[v->person] ? "true" : "false", v->n[0], v->n[1],
                    v->n[2], hex);
    }
    kr_text_add(&t, "\n  ]\n}\n");
    kr_auto char *path = kr_strf("%s/run.json", j->o->output);
    int e = !path || t.failed || options.failed ? kr_error_code() : kr_text_write(path, &t);
    kr_text_clear(&t);
    kr_text_clear(&options);
    return e;
}

/* ---- The loop ---- */
static int validated(job *j, FILE *f)
{
    scores sc;
    char text[512];
    if (validate(j, &sc))
        return kr_error_code();
    if (learn_judges(j->o))
        snprintf(text, sizeof text, "SSIM guessed to %.4f in the mean (worst %.4f, slice %s), correlation %.4f", sc.error, sc.worst_error, sc.worst, correlation(sc.corr));
    else if (sc.held)
        snprintf(text, sizeof text, "samples held back %.3f dB, %+.3f over the first image (worst %+.3f, slice %s)", sc.psnr, sc.mean_gain, sc.worst_gain, sc.worst);
    else
        snprintf(text, sizeof text, "object PSNR %.3f dB, %+.3f over the first image (worst %+.3f, slice %s), SSIM %.4f (first image %.4f)", sc.psnr, sc.mean_gain, sc.worst_gain,
             sc.worst, sc.ssim, sc.ssim_start);
    kr_say(j->trace, KR_INFO, "step %ld: %s", j->s.step, text);
    fprintf(f, "%ld,%.4f,%.4f,%.5f,%.5f,%.4f,%.4f\n", j->s.step, sc.psnr, sc.psnr_start, sc.ssim, sc.ssim_start, sc.mean_gain, sc.worst_gain);
    fflush(f);
    kr_learn_seen seen = { j->s.step, j->s.elapsed, text, j->worst, sc.worst, learn_judges(j->o) };
    if (j->o->validated && j->o->validated(j->o->self, &seen))
        return kr_error_code();
    double by = learn_judges(j->o) ? sc.mean_gain : sc.worst_gain + 0.01 * sc.mean_gain;
    if (by > j->s.best) {
        j->s.best = by;
        j->s.best_step = j->s.step;
        return learn_state_export(&j->s, j->o, "best", text);
    }
    return learn_state_export(&j->s, j->o, "last", text);
}

static int loop(job *j, const char **why, FILE *steps, FILE *scores_)
{
    const kr_learn *o = j->o;
    learn_state *s = &j->s;
    double began = kr_seconds(), before = s->elapsed;
    long saved = -1;
    *why = "done";
    if (!s->step && o->init) {                               /* the scores before */
        int e = validated(j, scores_);
        if (e && e != KR_ESTOPPED)
            return e;
        kr_error_clear();
    }
    while (s->step < o->steps) {
        if (j->trace && kr_stopped(j->trace)) {
            kr_error_clear();
            *why = "stopped on request";
            break;
        }
        if (o->max_time > 0 && kr_seconds() - began > o->max_time) {
            *why = "out of time";
            break;
        }
        told t;
        double from = kr_seconds(), rate = rate_at(o, s);
        int e = one_step(j, &t);
        if (e == KR_ENUMBER && s->halvings < 2) {
            long halvings = s->halvings + 1;
            kr_say(j->trace, KR_WARNING, "%s: back to the last checkpoint, at half the rate", kr_error());
            kr_error_clear();
            if (learn_state_load(s, o))
                return kr_error_code();
            s->halvings = halvings;
            continue;
        }
        if (e)
            return e;
        s->elapsed = before + kr_seconds() - began;
        if (fprintf(steps, "%ld,%.3f,%.6f,%.3f,%.3f,%.4f,%.4g\n", s->step, kr_seconds() - from, t.loss, t.net, t.start, t.norm, rate) < 0 || fflush(steps))
            return kr_fail(KR_EFILE, "steps.csv cannot be written: %s", strerror(errno));
        kr_progress(j->trace, "steps", (double)s->step, (double)o->steps);
        if (s->step % o->validate == 0 || s->step == o->steps) {
            e = validated(j, scores_);
            if (e == KR_ESTOPPED)
                kr_error_clear();
            else if (e)
                return e;
        }
        if (s->step % o->save == 0 || s->step == o->steps) {
            if (learn_state_save(s, o))
                return kr_error_code();
            saved = s->step;
        }
    }
    return saved == s->step ? 0 : learn_state_save(s, o);
}

int kr_learn_run(const kr_learn *o, const char **why, const kr_trace *trace)
{
    job j;
    FILE *steps = NULL, *scores_ = NULL;
    if (!o->output)
        return kr_fail(KR_EUSAGE, "where to? output is a folder for checkpoint and weights");
    int e = job_open(&j, o, trace);
    kr_auto char *there = kr_strf("%s/checkpoint.safetensors", o->output);
    struct stat st;
    bool exists = there && !stat(there, &st);
    e = e ? e : kr_folder_make(o->output);
    if (!e && exists && !o->resume)
        e = kr_fail(KR_EREFUSED, "%s is there already: --resume goes on from it, another output begins anew", there);
    if (!e && o->resume && !exists)
        e = kr_fail(KR_EREFUSED, "there is no checkpoint %s to go on from", there ? there : "");
    e = e ? e : exists ? learn_state_load(&j.s, o) : learn_state_save(&j.s, o);
    e = e ? e : run_file(&j);
    if (!e && !(steps = table(o->output, "steps.csv", "step,seconds,loss,nmse_db,nmse_first_db,gradient,rate", j.s.step)))
        e = kr_error_code();
    if (!e && !(scores_ = table(o->output, "validation.csv", "step,psnr,psnr_first,ssim,ssim_first,mean_gain,worst_gain", j.s.step)))
        e = kr_error_code();
    if (!e) {
        kr_say(trace, KR_INFO, "%.0f parameters, %ld volumes of %ld persons%s%ld of them held back", learn_state_numbers(&j.s), j.v.count, j.v.persons, ", ",
               lround(o->hold_back * (double)j.v.persons) > 0 ? lround(o->hold_back * (double)j.v.persons) : 1);
        e = loop(&j, why, steps, scores_);
    }
    if (steps)
        fclose(steps);
    if (scores_)
        fclose(scores_);
    job_close(&j);
    return e;
}

/* ---- Costs, and slices ahead ---- */
int kr_learn_plan(kr_learn_cost *cost, const kr_learn *o, const kr_trace *trace)
{
    job j;
    told t;
    learn_slice s;
    *cost = (kr_learn_cost){ 0 };
    kr_learn no_files = *o;
    int e = job_open(&j, &no_files, trace);
    double from = kr_seconds();
    if (!e && !(e = learn_slice_make(&s, &j.v, o, false, 0)))
        learn_slice_clear(&s);
    cost->slice_seconds = kr_seconds() - from;
    no_files.first = no_files.slices = 1;
    e = e ? e : one_step(&j, &t);                            /* plans are made in the first */
    from = kr_seconds();
    e = e ? e : one_step(&j, &t);
    cost->step_seconds = kr_seconds() - from;
    if (!e) {
        cost->bytes = (double)kr_mem_peak();
        cost->parameters = learn_state_numbers(&j.s);
        cost->volumes = j.v.count;
        cost->persons = j.v.persons;
        cost->unreadable = j.v.skipped;
    }
    job_close(&j);
    return e;
}

struct ahead { const kr_learn *o; const learn_volumes *v; long from; const kr_trace *trace; long n; };

static int one_ahead(void *self, long i)
{
    const struct ahead *a = self;
    learn_slice s;
    if (kr_stopped(a->trace) || learn_slice_get(&s, a->v, a->o, false, a->from + i))
        return kr_error_code();
    learn_slice_clear(&s);
    return 0;
}

int kr_learn_prepare(const kr_learn *o, long from, long to, const kr_trace *trace)
{
    learn_volumes v;
    if (from < 0 || to <= from || to > o->slices)
        return kr_fail(KR_EUSAGE, "slices %ld to %ld of %ld cannot be made", from, to, o->slices);
    if (learn_volumes_read(&v, o, trace))
        return kr_error_code();
    int e = 0;
    for (long at = from, most = 16; at < to && !e; at += most) {
        struct ahead a = { o, &v, at, trace, 0 };
        e = kr_for(to - at < most ? to - at : most, one_ahead, &a);
        kr_progress(trace, "slices", (double)(at - from), (double)(to - from));
    }
    learn_volumes_clear(&v);
    return e;
}
