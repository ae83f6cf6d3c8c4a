/* label.c: label volumes: reading them from images, components, holes, and scores per label. */
#include "surface.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int kr_labels_of(int32_t **labels, long n[3], const kr_image *im)
{
    const kr_array *a = im->data;
    bool slices = a->n[KR_SLICE] > 1;
    n[0] = a->n[KR_X], n[1] = a->n[KR_Y], n[2] = slices ? a->n[KR_SLICE] : a->n[KR_Z];
    *labels = NULL;
    if (a->type != KR_R32)
        return kr_fail(KR_EFORMAT, "the image is complex; labels are whole numbers");
    if (kr_count(kr_array_shape(a)) != n[0] * n[1] * n[2])
        return kr_fail(KR_ESHAPE, "one label volume is wanted, of x, y and z or slice; this is %s", kr_shape_text(kr_array_shape(a)));
    kr_scoped(array) p = kr_array_packed(a);
    int32_t *to = p ? kr_alloc((size_t)(n[0] * n[1] * n[2]), sizeof *to) : NULL;
    if (!to)
        return kr_error_code();
    for (long i = 0; i < n[0] * n[1] * n[2]; i++) {
        float v = KR_R(p)[i];
        if (!(v >= 0 && v <= KR_LABEL_MOST && v == floorf(v))) {
            kr_free(to);
            return kr_fail(KR_ENUMBER, "voxel (%ld, %ld, %ld) is %g; a label is a whole number from 0 to %d", i % n[0], i / n[0] % n[1], i / n[0] / n[1], (double)v, KR_LABEL_MOST);
        }
        to[i] = (int32_t)v;
    }
    *labels = to;
    return 0;
}

long kr_labels_list(int32_t **list, const int32_t *a, const int32_t *b, long voxels)
{
    int32_t most = 0;
    for (long i = 0; i < voxels; i++) {
        most = a[i] > most ? a[i] : most;
        most = b && b[i] > most ? b[i] : most;
    }
    kr_auto unsigned char *there = kr_alloc_zero((size_t)most + 1, 1);
    *list = NULL;
    if (!there)
        return kr_error_code();
    for (long i = 0; i < voxels; i++) {
        there[a[i]] = 1;
        if (b)
            there[b[i]] = 1;
    }
    long n = 0;
    for (int32_t l = 1; l <= most; l++)
        n += there[l];
    *list = kr_alloc((size_t)n + 1, sizeof **list);
    if (!*list)
        return kr_error_code();
    n = 0;
    for (int32_t l = 1; l <= most; l++)
        if (there[l])
            (*list)[n++] = l;
    return n;
}

/* ---- Components: union of runs is not needed; a flood from each first voxel, with a stack of voxels ---- */
struct stack { long *at, n, room; };
static int push(struct stack *s, long i)
{
    if (s->n == s->room) {
        long room = s->room ? 2 * s->room : 4096;
        void *p = kr_realloc(s->at, (size_t)s->room, (size_t)room, sizeof *s->at);
        if (!p)
            return kr_error_code();
        s->at = p;
        s->room = room;
    }
    s->at[s->n++] = i;
    return 0;
}

/* Gives `number` to all voxels joined to `first` whose mask is that of `first` and that have no number yet; returns how many. */
static long flood(int32_t *out, const int32_t *mask, const long n[3], int neighbours, long first, int32_t number, struct stack *s)
{
    long count = 0, plane = n[0] * n[1];
    int most = neighbours == 6 ? 1 : neighbours == 18 ? 2 : 3, e = push(s, first);
    out[first] = number;
    while (!e && s->n) {
        long i = s->at[--s->n], x = i % n[0], y = i / n[0] % n[1], z = i / plane;
        count++;
        for (long c = z ? -1 : 0; !e && c <= (z < n[2] - 1); c++)
            for (long b = y ? -1 : 0; b <= (y < n[1] - 1); b++)
                for (long a = x ? -1 : 0; !e && a <= (x < n[0] - 1); a++) {
                    long k = i + c * plane + b * n[0] + a;
                    if (labs(a) + labs(b) + labs(c) <= most && !out[k] && mask[k] == mask[first]) {
                        out[k] = number;
                        e = push(s, k);
                    }
                }
    }
    s->n = 0;
    return e ? e : count;
}

/* Components of equal values other than `none`; size: that of each, from number 1 (may be NULL). */
static long number_all(int32_t *out, const int32_t *v, int32_t none, const long n[3], int neighbours, long **size)
{
    long voxels = n[0] * n[1] * n[2], count = 0, room = 0;
    struct stack s = { 0 };
    memset(out, 0, (size_t)voxels * sizeof *out);
    for (long i = 0; count >= 0 && i < voxels; i++) {
        if (v[i] == none || out[i])
            continue;
        long many = flood(out, v, n, neighbours, i, (int32_t)(count + 1), &s);
        if (size && many >= 0 && count + 1 >= room) {
            long more = room ? 2 * room : 256;
            void *p = kr_realloc(*size, (size_t)room, (size_t)more, sizeof **size);
            many = p ? many : kr_error_code();
            *size = p ? p : *size;
            room = p ? more : room;
        }
        if (size && many >= 0)
            (*size)[count + 1] = many;
        count = many < 0 ? many : count + 1;
    }
    kr_free(s.at);
    return count;
}

long kr_components(int32_t *out, const unsigned char *mask, const long n[3], int neighbours)
{
    if (neighbours != 6 && neighbours != 18 && neighbours != 26)
        return kr_fail(KR_EREFUSED, "components of %d neighbours: 6, 18 or 26 are wanted", neighbours);
    kr_auto int32_t *v = kr_alloc((size_t)(n[0] * n[1] * n[2]), sizeof *v);
    if (!v)
        return kr_error_code();
    for (long i = 0; i < n[0] * n[1] * n[2]; i++)
        v[i] = mask[i] != 0;
    return number_all(out, v, 0, n, neighbours, NULL);
}

static bool at_border(long i, const long n[3])
{
    long x = i % n[0], y = i / n[0] % n[1], z = i / n[0] / n[1];
    return !x || x == n[0] - 1 || !y || y == n[1] - 1 || !z || z == n[2] - 1;
}

int kr_fill_holes(unsigned char *mask, const long n[3])
{
    long voxels = n[0] * n[1] * n[2];
    kr_auto int32_t *v = kr_alloc((size_t)voxels, sizeof *v), *out = kr_alloc_zero((size_t)voxels, sizeof *out);
    struct stack s = { 0 };
    if (!v || !out)
        return kr_error_code();
    for (long i = 0; i < voxels; i++)
        v[i] = mask[i] != 0;
    long e = 0;
    for (long i = 0; e >= 0 && i < voxels; i++)
        if (!v[i] && !out[i] && at_border(i, n))
            e = flood(out, v, n, 6, i, 1, &s);
    kr_free(s.at);
    for (long i = 0; e >= 0 && i < voxels; i++)
        mask[i] = mask[i] || !out[i];
    return e < 0 ? (int)e : 0;
}

int kr_labels_largest(int32_t *labels, const long n[3])
{
    long voxels = n[0] * n[1] * n[2];
    kr_auto int32_t *out = kr_alloc((size_t)voxels, sizeof *out);
    kr_auto long *size = NULL, *best = kr_alloc_zero(KR_LABEL_MOST + 1, sizeof *best);
    if (!out || !best)
        return kr_error_code();
    long count = number_all(out, labels, 0, n, 26, &size);
    for (long i = 0; count > 0 && i < voxels; i++) {
        long *b = &best[labels[i]];
        if (labels[i] && (!*b || size[out[i]] > size[*b]))
            *b = out[i];
    }
    for (long i = 0; count > 0 && i < voxels; i++)
        labels[i] = labels[i] && best[labels[i]] == out[i] ? labels[i] : 0;
    return count < 0 ? (int)count : 0;
}

int kr_labels_fill(int32_t *labels, const long n[3])
{
    long voxels = n[0] * n[1] * n[2];
    kr_auto unsigned char *mask = kr_alloc((size_t)voxels, 1);
    kr_auto int32_t *list = NULL;
    long count = mask ? kr_labels_list(&list, labels, NULL, voxels) : kr_error_code();
    int e = count < 0 ? (int)count : 0;
    for (long l = 0; !e && l < count; l++) {
        for (long i = 0; i < voxels; i++)
            mask[i] = labels[i] == list[l];
        e = kr_fill_holes(mask, n);
        for (long i = 0; !e && i < voxels; i++)
            labels[i] = mask[i] && !labels[i] ? list[l] : labels[i];
    }
    return e;
}

/* ---- Scores ---- */
const kr_label_measure kr_label_measure_of[KR_LABEL_MEASURES] = {
    { "dice", "Dice", "", true, false }, { "iou", "IoU", "", true, false }, { "volume_reference_ml", "reference", "ml", false, false },
    { "volume_ml", "volume", "ml", false, false }, { "volume_difference_ml", "difference", "ml", false, false },
    { "volume_difference_percent", "difference", "%", false, false }, { "hd_mm", "HD", "mm", false, true }, { "hd95_mm", "HD95", "mm", false, true },
    { "assd_mm", "ASSD", "mm", false, true }, { "nsd", "NSD", "", true, true } };

#define WITH(dice, iou, hd, hd95, assd, nsd) { [KR_DICE] = dice, [KR_IOU] = iou, [KR_HD] = hd, [KR_HD95] = hd95, [KR_ASSD] = assd, [KR_NSD] = nsd }
/* BraTS: the diagonal of its 240 x 240 x 155 voxels of 1 mm. */
#define DIAGONAL 373.12866
const kr_empty_rule kr_empty_rules[] = {
    { "strict", "both empty: not counted; one empty: overlaps 0, distances infinite", WITH(NAN, NAN, NAN, NAN, NAN, NAN),
      WITH(0, 0, INFINITY, INFINITY, INFINITY, 0), WITH(0, 0, INFINITY, INFINITY, INFINITY, 0) },
    { "monai", "as MONAI with ignore_empty: no reference: Dice and IoU undefined; one empty: HD95 undefined, HD and ASSD infinite, NSD 0",
      WITH(NAN, NAN, NAN, NAN, NAN, NAN), WITH(NAN, NAN, INFINITY, NAN, INFINITY, 0), WITH(0, 0, INFINITY, NAN, INFINITY, 0) },
    { "monai-all", "as MONAI with ignore_empty=False: both empty: Dice and IoU 1; one empty: 0; distances as with monai",
      WITH(1, 1, NAN, NAN, NAN, NAN), WITH(0, 0, INFINITY, NAN, INFINITY, 0), WITH(0, 0, INFINITY, NAN, INFINITY, 0) },
    { "surface-distance", "as DeepMind's surface-distance: both empty: HD infinite, the rest undefined; one empty: overlaps 0, distances infinite",
      WITH(NAN, NAN, INFINITY, INFINITY, NAN, NAN), WITH(0, 0, INFINITY, INFINITY, INFINITY, 0), WITH(0, 0, INFINITY, INFINITY, INFINITY, 0) },
    { "brats", "as BraTS: both empty: perfect (1, 0 mm); one empty: overlaps 0, distances 373.13 mm", WITH(1, 1, 0, 0, 0, 1),
      WITH(0, 0, DIAGONAL, DIAGONAL, DIAGONAL, 0), WITH(0, 0, DIAGONAL, DIAGONAL, DIAGONAL, 0) },
    { NULL, NULL, { 0 }, { 0 }, { 0 } } };

const kr_empty_rule *kr_empty_rule_named(const char *name)
{
    kr_text t = { 0 };
    for (int i = 0; kr_empty_rules[i].name; i++) {
        if (!strcmp(name, kr_empty_rules[i].name)) {
            kr_text_clear(&t);
            return &kr_empty_rules[i];
        }
        kr_text_add(&t, "%s%s", i ? ", " : "", kr_empty_rules[i].name);
    }
    kr_fail(KR_EUSAGE, "there is no rule for empty masks called '%s'; there are %s", name, t.s ? t.s : "");
    kr_text_clear(&t);
    return NULL;
}

struct box { long low[3], high[3]; };                /* of a label in either volume */
struct job { kr_label_score *out; struct box *box; const int32_t *a, *b; const long *n; const double *mm; const kr_label_rules *rules; };

static int score(void *self, long l)
{
    const struct job *j = self;
    kr_label_score *s = &j->out[l];
    double ml = j->mm[0] * j->mm[1] * j->mm[2] / 1000, a = (double)s->reference, b = (double)s->prediction;
    const kr_empty_rule *empty = j->rules->empty;
    const double *rule = !s->reference && !s->prediction ? empty->both : !s->reference ? empty->reference : !s->prediction ? empty->prediction : NULL;
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        s->value[m] = rule ? rule[m] : NAN;
    s->value[KR_VOLUME_REFERENCE] = a * ml;
    s->value[KR_VOLUME] = b * ml;
    s->value[KR_VOLUME_DIFFERENCE] = (b - a) * ml;
    s->value[KR_VOLUME_PERCENT] = s->reference ? 100 * (b - a) / a : NAN;
    if (rule)
        return 0;
    s->value[KR_DICE] = 2 * (double)s->both / (a + b);
    s->value[KR_IOU] = (double)s->both / (a + b - (double)s->both);
    const struct box *box = &j->box[l];
    long size[3], voxels = 1;
    for (int d = 0; d < 3; d++) {
        size[d] = box->high[d] - box->low[d] + 1;
        voxels *= size[d];
    }
    kr_auto unsigned char *ma = kr_alloc((size_t)voxels, 1), *mb = kr_alloc((size_t)voxels, 1);
    if (!ma || !mb)
        return kr_error_code();
    for (long z = 0, i = 0; z < size[2]; z++)
        for (long y = 0; y < size[1]; y++)
            for (long x = 0; x < size[0]; x++, i++) {
                long k = ((z + box->low[2]) * j->n[1] + y + box->low[1]) * j->n[0] + x + box->low[0];
                ma[i] = j->a[k] == s->label;
                mb[i] = j->b[k] == s->label;
            }
    return surface_scores(s->value, ma, mb, size, j->mm, j->rules);
}

static void widen(struct box *b, const long at[3])
{
    for (int d = 0; d < 3; d++) {
        b->low[d] = at[d] < b->low[d] ? at[d] : b->low[d];
        b->high[d] = at[d] > b->high[d] ? at[d] : b->high[d];
    }
}

int kr_label_scores(kr_label_score *out, long labels, const int32_t *reference, const int32_t *prediction, const long n[3], const double mm[3],
                    const kr_label_rules *rules)
{
    for (int d = 0; d < 3; d++)
        if (n[d] < 1 || !(mm[d] > 0 && isfinite(mm[d])))
            return kr_fail(KR_EREFUSED, "labels in %ld x %ld x %ld voxels of %g x %g x %g mm: sizes above 0 are wanted", n[0], n[1], n[2], mm[0], mm[1], mm[2]);
    kr_auto struct box *box = kr_alloc((size_t)labels + 1, sizeof *box);
    kr_auto int32_t *where = kr_alloc_zero(KR_LABEL_MOST + 1, sizeof *where);      /* label to its place in out, from 1 */
    if (!box || !where)
        return kr_error_code();
    for (long l = 0; l < labels; l++) {
        if (out[l].label < 0 || out[l].label > KR_LABEL_MOST)
            return kr_fail(KR_EREFUSED, "there is no label %d", (int)out[l].label);
        where[out[l].label] = (int32_t)(l + 1);
        out[l].reference = out[l].prediction = out[l].both = 0;
        box[l] = (struct box){ { n[0], n[1], n[2] }, { -1, -1, -1 } };
    }
    long at[3], i = 0;
    for (at[2] = 0; at[2] < n[2]; at[2]++)
        for (at[1] = 0; at[1] < n[1]; at[1]++)
            for (at[0] = 0; at[0] < n[0]; at[0]++, i++) {
                int32_t a = reference[i], b = prediction[i];
                if (!(a | b))
                    continue;
                long ka = where[a] - 1, kb = where[b] - 1;
                if (ka >= 0) {
                    out[ka].reference++;
                    out[ka].both += a == b;
                    widen(&box[ka], at);
                }
                if (kb >= 0) {
                    out[kb].prediction++;
                    widen(&box[kb], at);
                }
            }
    struct job j = { out, box, reference, prediction, n, mm, rules };
    return labels > 1 ? kr_for(labels, score, &j) : labels ? score(&j, 0) : 0;
}

kr_label_mean kr_label_mean_of(const kr_label_score *const *s, long n, int measure)
{
    kr_label_mean m = { 0 };
    const kr_label_measure *what = &kr_label_measure_of[measure];
    double sum = 0, square = 0;
    long finite = 0;
    for (long i = 0; i < n; i++) {
        double v = s[i]->value[measure];
        m.undefined += isnan(v);
        if (isnan(v) && s[i]->reference && !s[i]->prediction)
            v = what->higher ? 0 : INFINITY;
        m.infinite += isinf(v) != 0;
        m.n += !isnan(v);
        finite += isfinite(v) != 0;
        sum += isfinite(v) ? v : 0;
    }
    m.finite = finite ? sum / (double)finite : NAN;
    m.mean = m.infinite ? INFINITY : m.finite;
    for (long i = 0; i < n; i++) {
        double v = s[i]->value[measure];
        v = isnan(v) && s[i]->reference && !s[i]->prediction && what->higher ? 0 : v;
        square += isfinite(v) ? (v - m.finite) * (v - m.finite) : 0;
    }
    m.sd = !m.infinite && finite > 1 ? sqrt(square / (double)(finite - 1)) : NAN;
    return m;
}
