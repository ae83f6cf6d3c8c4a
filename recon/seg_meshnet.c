/* seg_meshnet.c: MeshNet with brainchop's preparation: 256^3 voxels of 1 mm as FreeSurfer conforms (its robust range, its orientation), scaled,
 * cut to what is not background; labels back on the image's grid. Sources: brainchop (github.com/neuroneural/brainchop), FreeSurfer's mri_convert
 * --conform. */
#include "segmenter_kind.h"
#include "kray/volume.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 256 };
struct meshnet { kr_volnet *net; bool quantile; double threshold; long margin; };

/* What brainchop's list of models says of those it publishes, by the digest of their weights. */
static const struct published { const char *digest; bool quantile; double threshold; long margin; const char *names[4]; } published[] = {
    { "caa181f31a8fb2bb511b1b83a5b16661f15478fb56e246aa719fb581a874e4d6", false, 0, 18, { "background", "white matter", "grey matter", NULL } },
    { "1446eeff3b33034b1fad99b56d81c811b0df7e51e09c0768c0eba92aa02981e6", true, 0.2, 0, { "background", "white matter", "grey matter", NULL } } };

static bool is(const char *model)
{
    size_t n = strlen(model);
    return n > 5 && !strcmp(model + n - 5, ".json") && !strstr(model, "plans.json") && !strstr(model, "dataset.json");
}

static void close_(void *self)
{
    struct meshnet *m = self;
    kr_volnet_unref(&m->net);
    kr_free(m);
}

static int open_(kr_segmenter *s, const char *model, const kr_segmenter_opts *o)
{
    if (o->folds || o->configuration || o->checkpoint || o->no_mirroring || o->no_postprocessing || o->step > 0)
        return kr_fail(KR_EUSAGE, "folds, configurations, checkpoints, mirroring, rules of postprocessing and steps are nnU-Net's; %s is a MeshNet", model);
    struct meshnet *m = s->self = kr_alloc_zero(1, sizeof *m);
    if (!m || !(m->net = kr_meshnet_read(model)))
        return kr_error_code();
    s->channels = m->net->ins;
    memcpy(s->digest, m->net->digest, sizeof s->digest);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (!strcmp(published[i].digest, s->digest)) {
            m->quantile = published[i].quantile;
            m->threshold = published[i].threshold;
            m->margin = published[i].margin;
            if (kr_meta_set(s->names, "channel_0", "T1"))
                return kr_error_code();
            for (int l = 1; published[i].names[l]; l++) {
                char key[32];
                snprintf(key, sizeof key, "label_%d", l);
                if (kr_meta_set(s->names, key, "%s", published[i].names[l]))
                    return kr_error_code();
            }
        }
    if (o->normalise && strcmp(o->normalise, "minmax") && strcmp(o->normalise, "quantile"))
        return kr_fail(KR_EUSAGE, "there is no normalisation '%s'; there are minmax and quantile", o->normalise);
    m->quantile = o->normalise ? !strcmp(o->normalise, "quantile") : m->quantile;
    if (s->channels != 1)
        return kr_fail(KR_EFORMAT, "%s takes %ld channels; a MeshNet of one image is built", model, s->channels);
    return 0;
}

/* RAS affine of the conformed grid: 1 mm, i to the left, j to the feet, k to the front, the same middle. */
static void conformed(double to[16], const double affine[16], const long n[3])
{
    double middle[3];
    for (int r = 0; r < 3; r++)
        middle[r] = affine[4 * r] * (double)n[0] / 2 + affine[4 * r + 1] * (double)n[1] / 2 + affine[4 * r + 2] * (double)n[2] / 2 + affine[4 * r + 3];
    static const double lia[9] = { -1, 0, 0, 0, 0, 1, 0, -1, 0 };
    memset(to, 0, 16 * sizeof *to);
    for (int r = 0; r < 3; r++) {
        to[4 * r + 3] = middle[r];
        for (int k = 0; k < 3; k++) {
            to[4 * r + k] = lia[3 * r + k];
            to[4 * r + 3] -= lia[3 * r + k] * SIDE / 2;
        }
    }
    to[15] = 1;
}

/* inverse(a) b, the upper three rows. */
static void between(double to[12], const double a[16], const double b[16])
{
    double m[9] = { a[0], a[1], a[2], a[4], a[5], a[6], a[8], a[9], a[10] }, inv[9];
    double det = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]);
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++) {
            int i = (c + 1) % 3, j = (c + 2) % 3, k = (r + 1) % 3, l = (r + 2) % 3;
            inv[3 * r + c] = (m[3 * i + k] * m[3 * j + l] - m[3 * i + l] * m[3 * j + k]) / det;
        }
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double sum = 0;
            for (int k = 0; k < 3; k++)
                sum += inv[3 * r + k] * (b[4 * k + c] - (c == 3 ? a[4 * k + 3] : 0));
            to[4 * r + c] = sum;
        }
}

/* FreeSurfer's robust range: from the smallest number to the bin (of 1000) that all but 0.1 % of what is not 0 lie below. */
static void robust_range(double *low, double *scale, const float *v, long count)
{
    enum { BINS = 1000 };
    double most = -INFINITY, least = INFINITY, below = 0;
    long bin[BINS] = { 0 }, nonzero = 0;
    for (long i = 0; i < count; i++) {
        most = (double)v[i] > most ? (double)v[i] : most;
        least = (double)v[i] < least ? (double)v[i] : least;
        nonzero += fabs((double)v[i]) >= 1e-15;
    }
    double size = (most - least) / BINS, wanted = (double)count - floor(0.001 * (double)nonzero), high = most;
    for (long i = 0; i < count && size > 0; i++) {
        long b = (long)(((double)v[i] - least) / size);
        bin[b > BINS - 1 ? BINS - 1 : b]++;
    }
    for (long b = 0; b < BINS && size > 0; b++) {
        below += (double)bin[b];
        if (below >= wanted) {                                /* the bin before the one that completes the count */
            high = least + (double)(b - 1) * size;
            break;
        }
    }
    *low = least;
    *scale = high > least ? 255 / (high - least) : most > least ? 255 / (most - least) : 1;
}


static int normalise(float *v, long count, const struct meshnet *m)
{
    float low = INFINITY, high = -INFINITY;
    if (m->quantile) {
        long bin[256] = { 0 }, at[2] = { (long)(0.05 * (double)count), (long)ceil(0.95 * (double)count) - 1 }, below = 0;      /* of whole numbers 0 ... 255 */
        for (long i = 0; i < count; i++)
            bin[(int)v[i]]++;
        float *to[2] = { &low, &high };
        for (int b = 0, k = 0; b < 256 && k < 2; b++) {
            below += bin[b];
            for (; k < 2 && below > at[k]; k++)
                *to[k] = (float)b;
        }
    } else
        for (long i = 0; i < count; i++) {
            low = v[i] < low ? v[i] : low;
            high = v[i] > high ? v[i] : high;
        }
    if (!(high > low))
        return kr_fail(KR_ENUMBER, "the image is %s: nothing is to be seen in it", m->quantile ? "the same from its 5 % to its 95 % quantile (--normalise minmax is the other way)" : "constant");
    for (long i = 0; i < count; i++)
        v[i] = (v[i] - low) / (high - low);
    return 0;
}

struct winner { int32_t *label; const long *n; long classes; };
static int take_largest(void *to, const float *c, long z, long planes)
{
    const struct winner *w = to;
    long per = planes * w->n[0] * w->n[1];
    int32_t *label = w->label + z * w->n[0] * w->n[1];
    for (long i = 0; i < per; i++) {
        long best = 0;
        for (long k = 1; k < w->classes; k++)
            best = c[k * per + i] > c[best * per + i] ? k : best;
        label[i] = (int32_t)best;
    }
    return 0;
}

/* The image on the conformed grid, scaled, cut to the box of what is not background: size voxels of *v (SIDE^3 in all). */
struct cut { float *v; long box[3][2], size[3]; double to_grid[12]; };
static int prepare(struct cut *c, const struct meshnet *m, const float *image, const long n[3], const double affine[16], const kr_trace *trace)
{
    static const long side[3] = { SIDE, SIDE, SIDE };
    long voxels = (long)SIDE * SIDE * SIDE;
    double grid[16], to_in[12], low, scale;
    *c = (struct cut){ .box = { { SIDE, -1 }, { SIDE, -1 }, { SIDE, -1 } } };
    for (int k = 0; k < 3; k++) {
        double mm = (double)n[k] * sqrt(affine[k] * affine[k] + affine[4 + k] * affine[4 + k] + affine[8 + k] * affine[8 + k]);
        if (mm > SIDE * 1.01)
            kr_say(trace, KR_WARNING, "the image is %.0f mm long along axis %d: the model sees the middle 256 mm", mm, k + 1);
        if (n[k] < 8)
            return kr_fail(KR_ESHAPE, "%ld x %ld x %ld voxels: a volume is wanted, at least 8 voxels along each axis", n[0], n[1], n[2]);
    }
    conformed(grid, affine, n);
    between(to_in, affine, grid);
    between(c->to_grid, grid, affine);
    float *v = c->v = kr_alloc((size_t)voxels, sizeof *v);
    if (!v || kr_sample(v, side, image, n, to_in))
        return kr_error_code();
    robust_range(&low, &scale, image, n[0] * n[1] * n[2]);
    for (long i = 0; i < voxels; i++) {
        double x = scale * ((double)v[i] - low);
        v[i] = (float)rint(x < 0 ? 0 : x > 255 ? 255 : x);
    }
    if (normalise(v, voxels, m))
        return kr_error_code();
    for (long i = 0; i < voxels; i++)
        if ((double)v[i] > m->threshold) {
            long at[3] = { i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE };
            for (int d = 0; d < 3; d++) {
                c->box[d][0] = at[d] < c->box[d][0] ? at[d] : c->box[d][0];
                c->box[d][1] = at[d] > c->box[d][1] ? at[d] : c->box[d][1];
            }
        }
    for (int d = 0; d < 3; d++) {
        c->box[d][0] = c->box[d][0] > m->margin ? c->box[d][0] - m->margin : 0;
        c->box[d][1] = c->box[d][1] + m->margin < SIDE - 1 ? c->box[d][1] + m->margin : SIDE - 1;
        c->size[d] = c->box[d][1] - c->box[d][0] + 1;
        if (c->size[d] < 1)
            return kr_fail(KR_ENUMBER, "the image holds nothing above the model's threshold");
    }
    kr_say(trace, KR_DETAIL, "conformed to 256^3 voxels of 1 mm, %ld x %ld x %ld of them not background", c->size[0], c->size[1], c->size[2]);
    for (long z = 0, i = 0; z < c->size[2]; z++)              /* the cut lies before what it is taken from */
        for (long y = 0; y < c->size[1]; y++, i += c->size[0])
            memmove(v + i, v + ((z + c->box[2][0]) * SIDE + y + c->box[1][0]) * SIDE + c->box[0][0], (size_t)c->size[0] * sizeof *v);
    return 0;
}

/* Labels of the cut, on the image's grid. */
static int back(int32_t *labels, const struct cut *c, const int32_t *found, const long n[3])
{
    static const long side[3] = { SIDE, SIDE, SIDE };
    kr_auto int32_t *whole = kr_alloc_zero((size_t)SIDE * SIDE * SIDE, sizeof *whole);
    if (!whole)
        return kr_error_code();
    for (long z = 0; z < c->size[2]; z++)
        for (long y = 0; y < c->size[1]; y++)
            memcpy(whole + ((z + c->box[2][0]) * SIDE + y + c->box[1][0]) * SIDE + c->box[0][0], found + (z * c->size[1] + y) * c->size[0], (size_t)c->size[0] * sizeof *found);
    return kr_sample_labels(labels, n, whole, side, c->to_grid);
}

static int run(kr_segmenter *s, int32_t *labels, const float *const *channel, const long n[3], const double affine[16], const kr_trace *trace)
{
    struct meshnet *m = s->self;
    struct cut c;
    int e = prepare(&c, m, channel[0], n, affine, trace);
    kr_auto int32_t *found = e ? NULL : kr_alloc((size_t)(c.size[0] * c.size[1] * c.size[2]), sizeof *found);
    struct winner w = { found, c.size, m->net->classes };
    e = e ? e : found ? kr_volnet_stream(m->net, take_largest, &w, c.v, c.size, trace) : kr_error_code();
    kr_free_at(&c.v);
    return e ? e : back(labels, &c, found, n);
}

static int plan(kr_segmenter *s, kr_segmenter_cost *cost, const float *const *channel, const long n[3], const double affine[16])
{
    static const long piece[3] = { 96, 96, 96 };
    struct meshnet *m = s->self;
    struct cut c;
    double rate, start = kr_seconds(), grid = 4. * SIDE * SIDE * SIDE, image = 4. * (double)(n[0] * n[1] * n[2]);
    int e = prepare(&c, m, channel[0], n, affine, NULL);
    kr_free_at(&c.v);
    kr_auto int32_t *found = e ? NULL : kr_alloc_zero((size_t)(c.size[0] * c.size[1] * c.size[2]), sizeof *found), *labels = found ? kr_alloc((size_t)(n[0] * n[1] * n[2]), sizeof *labels) : NULL;
    e = e ? e : labels ? back(labels, &c, found, n) : kr_error_code();
    double around = kr_seconds() - start;
    if (e || kr_volnet_rate(&rate, m->net, piece))
        return kr_error_code();
    double flops = m->net->kind->flops(m->net->self, c.size);
    *cost = (kr_segmenter_cost){ image * 2 + 2 * grid + m->net->kind->bytes(m->net->self, c.size), flops, around + flops / rate, 1 };
    return 0;
}

const segmenter_kind segmenter_meshnet = { "meshnet", is, open_, run, plan, close_ };
