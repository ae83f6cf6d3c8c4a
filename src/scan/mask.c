/* mask.c: "KIND:key=value,..." to a sampling mask: the words, the seed, the axes. The kinds are in mask_*.c. */
#include "mask.h"
#include "kray/opt.h"
#include "kray/sampling.h"
#include "kray_masks.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECLARE(name) extern const mask_kind kr_masks_##name[];
KR_LIST(DECLARE)
#define ENTRY(name) kr_masks_##name,
static const mask_kind *const tables[] = { KR_LIST(ENTRY) };
enum { TABLES = sizeof tables / sizeof *tables, MOST_KINDS = 64 };

static const mask_kind *kind_at(int i)
{
    for (int t = 0; t < TABLES; t++)
        for (const mask_kind *k = tables[t]; k->name; k++)
            if (!i--)
                return k;
    return NULL;
}

const char *kr_mask_kind(int i, const char **summary, const char **given)
{
    const mask_kind *k = kind_at(i);
    if (summary)
        *summary = k ? k->summary : NULL;
    if (given)
        *given = k ? k->keys : NULL;
    return k ? k->name : NULL;
}

/* ---- The keys: how a value is read, and where it goes ---- */
struct request { mask_job job; const char *axes, *seed; size_t axes_n, seed_n; bool given_center, given_calib; };
typedef int read_value(struct request *q, const char *v, size_t n);

static int number(const char *key, const char *v, size_t n, double least, double most, double *out)
{
    char word[64], *end;
    snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), v);
    double x = strtod(word, &end);
    if (end == word || *end || !(x >= least && x <= most))
        return most < 1e8 ? kr_fail(KR_EUSAGE, "%s is a number from %g to %g, not '%.*s'", key, least, most, (int)n, v)
                          : kr_fail(KR_EUSAGE, "%s is a number of at least %g, not '%.*s'", key, least, (int)n, v);
    *out = x;
    return 0;
}

static int whole(const char *key, const char *v, size_t n, double least, long *out)
{
    double x = 0;
    if (number(key, v, n, least, 1e8, &x))
        return kr_error_code();
    if (x != floor(x))
        return kr_fail(KR_EUSAGE, "%s is a whole number, not '%.*s'", key, (int)n, v);
    *out = (long)x;
    return 0;
}

static int list(const char *key, const char *v, size_t n, double least, double most, double *out, long *count)
{
    *count = 0;
    for (size_t i = 0; i <= n; ) {
        size_t k = i;
        while (k < n && v[k] != '/')
            k++;
        if (*count == MASK_CHOICES)
            return kr_fail(KR_EUSAGE, "%s takes at most %d numbers, '%.*s' holds more", key, MASK_CHOICES, (int)n, v);
        if (number(key, v + i, k - i, least, most, &out[(*count)++]))
            return kr_error_code();
        i = k + 1;
    }
    return 0;
}

static int read_accel(struct request *q, const char *v, size_t n)
{
    return list("accel", v, n, 1, 1e9, q->job.accels, &q->job.choices);
}

static int read_center(struct request *q, const char *v, size_t n)
{
    q->given_center = true;
    return list("center", v, n, 0, 1, q->job.centers, &q->job.center_choices);
}

static int read_centre_size(struct request *q, const char *key, const char *v, size_t n)
{
    size_t x = 0;
    while (x < n && v[x] != 'x')
        x++;
    q->given_calib = true;
    if (whole(key, v, x, 0, &q->job.calib[0]))
        return kr_error_code();
    q->job.calib[1] = q->job.calib[0];
    return x < n ? whole(key, v + x + 1, n - x - 1, 0, &q->job.calib[1]) : 0;
}

static int read_calib(struct request *q, const char *v, size_t n) { return read_centre_size(q, "calib", v, n); }
static int read_lines(struct request *q, const char *v, size_t n) { return read_centre_size(q, "lines", v, n); }

static int read_offset(struct request *q, const char *v, size_t n) { return whole("offset", v, n, 0, &q->job.offset); }
static int read_fwhm(struct request *q, const char *v, size_t n) { return number("fwhm", v, n, 0.01, 100, &q->job.fwhm); }
static int read_scale(struct request *q, const char *v, size_t n) { return number("scale", v, n, 0, 1, &q->job.scale); }
static int read_alpha(struct request *q, const char *v, size_t n) { return number("alpha", v, n, 0, 1, &q->job.alpha); }
static int read_angle(struct request *q, const char *v, size_t n) { return number("angle", v, n, 0, 360, &q->job.angle); }
static int read_density(struct request *q, const char *v, size_t n) { return number("density", v, n, 0, 8, &q->job.density); }

static int yes_no(const char *key, const char *v, size_t n, bool *out)
{
    bool yes = (n == 3 && !strncmp(v, "yes", 3)) || (n == 1 && *v == '1'), no = (n == 2 && !strncmp(v, "no", 2)) || (n == 1 && *v == '0');
    *out = yes;
    return yes || no ? 0 : kr_fail(KR_EUSAGE, "%s is yes or no, not '%.*s'", key, (int)n, v);
}

static int read_elliptical(struct request *q, const char *v, size_t n) { return yes_no("elliptical", v, n, &q->job.elliptical); }
static int read_vary(struct request *q, const char *v, size_t n) { return yes_no("vary", v, n, &q->job.vary); }

static int read_axes(struct request *q, const char *v, size_t n)
{
    q->axes = v;
    q->axes_n = n;
    return 0;
}

static int read_seed(struct request *q, const char *v, size_t n)
{
    q->seed = v;
    q->seed_n = n;
    return 0;
}

static const struct key { const char *name; read_value *read; const char *help; } keys[] = {
    { "accel", read_accel, "acceleration; one of several drawn at random: 4/8" },
    { "center", read_center, "fraction of the lines that is fully sampled at the centre; one for each acceleration: 0.08/0.04" },
    { "lines", read_lines, "number of fully sampled lines at the centre, instead of center" },
    { "calib", read_calib, "fully sampled points at the centre: 24, or 24x16 for rows and columns" },
    { "seed", read_seed, "a number; 'file': the characters of the file's name (preset where a file is known); or any other text" },
    { "offset", read_offset, "first of the equispaced lines, instead of one drawn" },
    { "axes", read_axes, "what is undersampled: y, yz, xy, ... (preset: y, or yz in 3D; xy for planes in 2D)" },
    { "fwhm", read_fwhm, "full width at half maximum of the density, 2 is the whole k-space" },
    { "scale", read_scale, "semi-axes of the fully sampled ellipse as a fraction of the grid" },
    { "alpha", read_alpha, "0: uniform density in k-space ... 1: concentrated at the centre" },
    { "angle", read_angle, "degrees from one frame (kt_radial) or spoke (radial) to the next" },
    { "density", read_density, "how fast the density falls: 0 uniform, 1 with 1/(1 + k), 2 with its square, ..." },
    { "elliptical", read_elliptical, "yes: the corners of k-space are left out" },
    { "vary", read_vary, "yes: drawn again for each frame of a series" },
};
enum { KEYS = sizeof keys / sizeof *keys };

/* Runs over "key=value,key,..."; a value may stand in double quotes. False at the end. */
struct pair { const char *key, *value; size_t key_n, value_n; };
static bool next_pair(const char **at, struct pair *p)
{
    const char *s = *at;
    if (!*s)
        return false;
    *p = (struct pair){ .key = s, .key_n = strcspn(s, "=,") };
    s += p->key_n;
    if (*s == '=') {
        p->value = ++s;
        p->value_n = *s == '"' && strchr(s + 1, '"') ? (size_t)(strchr(s + 1, '"') - s) + 1 : strcspn(s, ",");
        s += p->value_n;
    }
    *at = s + (*s == ',');
    return true;
}

static const struct key *key_named(const char *name, size_t n)
{
    for (int i = 0; i < KEYS; i++)
        if (strlen(keys[i].name) == n && !strncmp(keys[i].name, name, n))
            return &keys[i];
    return NULL;
}

static bool kind_knows(const mask_kind *kind, const struct pair *p)
{
    struct pair k;
    for (const char *at = kind->keys; next_pair(&at, &k); )
        if (k.key_n == p->key_n && !strncmp(k.key, p->key, k.key_n))
            return true;
    return false;
}

static int unknown_key(const mask_kind *kind, const struct pair *p)
{
    kr_text known = { 0 };
    struct pair k;
    for (const char *at = kind->keys; next_pair(&at, &k); )
        kr_text_add(&known, "%s%.*s", known.len ? ", " : "", (int)k.key_n, k.key);
    kr_fail(KR_EUSAGE, "masks of the kind %s have no '%.*s'; known are %s", kind->name, (int)p->key_n, p->key, known.s ? known.s : "");
    kr_text_clear(&known);
    return KR_EUSAGE;
}

static int read_keys(struct request *q, const mask_kind *kind, const char *text)
{
    struct pair p;
    q->job.centers[0] = -1;
    q->job.choices = q->job.center_choices = 1;
    q->job.calib[0] = q->job.calib[1] = q->job.offset = -1;
    for (const char *at = kind->keys; next_pair(&at, &p); )
        if (p.value && key_named(p.key, p.key_n)->read(q, p.value, p.value_n))
            return kr_error_code();
    q->given_center = q->given_calib = false;
    bool given[KEYS] = { false };
    for (const char *at = text; next_pair(&at, &p); ) {
        if (!kind_knows(kind, &p))
            return unknown_key(kind, &p);
        const struct key *key = key_named(p.key, p.key_n);
        if (given[key - keys])
            return kr_fail(KR_EUSAGE, "%s is given twice", key->name);
        given[key - keys] = true;
        if (!p.value || !p.value_n)
            return kr_fail(KR_EUSAGE, "'%.*s' wants a value: %.*s=...", (int)p.key_n, p.key, (int)p.key_n, p.key);
        if (key_named(p.key, p.key_n)->read(q, p.value, p.value_n))
            return kr_error_code();
    }
    mask_job *j = &q->job;
    if (q->given_center && q->given_calib)
        return kr_fail(KR_EUSAGE, "the centre is given twice, as a fraction and as a number of lines");
    if (q->given_calib) {
        j->centers[0] = -1;
        j->center_choices = 1;
    }
    if (q->given_center)
        j->calib[0] = j->calib[1] = -1;
    j->calib_preset = !q->given_calib;
    if (j->center_choices > 1 && j->center_choices != j->choices)
        return kr_fail(KR_EUSAGE, "%ld centres are given for %ld accelerations", j->center_choices, j->choices);
    for (long i = j->center_choices; i < j->choices; i++)
        j->centers[i] = j->centers[0];
    return 0;
}

/* ---- The seed ---- */
/* Code points of UTF-8 text, as Python's ord() gives them; bytes that are not UTF-8 stand for themselves. */
static long code_points(const char *s, size_t n, uint32_t *out)
{
    long count = 0;
    const unsigned char *p = (const unsigned char *)s, *end = p + n;
    while (p < end) {
        int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
        uint32_t c = more ? *p & (0x3fu >> more) : *p;
        bool good = end - p > more;
        for (int i = 1; good && i <= more; i++) {
            good = (p[i] & 0xc0) == 0x80;
            c = c << 6 | (p[i] & 0x3fu);
        }
        out[count++] = good ? c : *p;
        p += good ? more + 1 : 1;
    }
    return count;
}

static int seed_text(mask_job *j, const char *s, size_t n, uint32_t **words)
{
    *words = kr_alloc(n + 1, sizeof **words);
    if (!*words)
        return KR_EMEM;
    j->seed = *words;
    j->seed_words = code_points(s, n, *words);
    kr_mt_seed_words(&j->rng, j->seed, j->seed_words);
    return 0;
}

static int seed(struct request *q, const char *name, uint32_t **words)
{
    const char *v = q->seed;
    size_t n = q->seed_n;
    const char *base = name && strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    if (base && !*base)
        base = NULL;
    if ((!v && base) || (v && n == 4 && !strncmp(v, "file", 4))) {
        if (!base)
            return kr_fail(KR_EUSAGE, "seed=file wants the name of a file, and none is known here");
        return seed_text(&q->job, base, strlen(base), words);
    }
    if (!v) {
        v = "0";
        n = 1;
    }
    char word[24], *end;
    snprintf(word, sizeof word, "%.*s", (int)(n < 23 ? n : 23), v);
    unsigned long long x = strtoull(word, &end, 10);
    if (*word >= '0' && *word <= '9' && !*end) {
        if (n > 10 || x > 0xffffffffull)
            return kr_fail(KR_EUSAGE, "a seed is a number up to 4294967295, not '%.*s'", (int)n, v);
        q->job.seed_number = (uint32_t)x;
        kr_mt_seed(&q->job.rng, q->job.seed_number);
        return 0;
    }
    if (n >= 2 && *v == '"') {
        v++;
        n -= 2;
    }
    return n ? seed_text(&q->job, v, n, words) : kr_fail(KR_EUSAGE, "the seed is empty");
}

/* ---- The axes ---- */
struct plane { int row, col, frame; };        /* axes; KR_AXES: none */

static int choose_axes(struct request *q, const mask_kind *kind, kr_shape s, struct plane *a)
{
    const char *word = q->axes;
    size_t n = q->axes_n;
    if (!word) {
        bool volume = s.n[KR_Z] > 1;
        word = kind->fills & MASK_PLANE && volume ? "yz" : kind->fills & MASK_LINES ? "y" : "xy";
        n = strlen(word);
    }
    int axis[2] = { KR_AXES, KR_AXES };
    bool good = n >= 1 && n <= 2;
    for (size_t i = 0; good && i < n; i++) {
        int letter = word[i] | 32;                  /* X is as good as x */
        good = letter >= 'x' && letter <= 'z';
        axis[i] = letter - 'x' + KR_X;
    }
    if (!good || axis[0] == axis[1])
        return kr_fail(KR_EUSAGE, "axes are one or two of x, y, z, not '%.*s'", (int)n, word);
    if (n == 1 && !(kind->fills & MASK_LINES))
        return kr_fail(KR_EUSAGE, "a %s mask wants two axes, not '%.*s'", kind->name, (int)n, word);
    if (n == 2 && !(kind->fills & MASK_PLANE))
        return kr_fail(KR_EUSAGE, "a %s mask wants one axis, not '%.*s'", kind->name, (int)n, word);
    for (size_t i = 0; i < n; i++)
        if (s.n[axis[i]] < 2)
            return kr_fail(KR_ESHAPE, "there is nothing to undersample along %s of a grid %s", kr_axis_name(axis[i]), kr_shape_text(s));
    *a = (struct plane){ n == 2 ? axis[0] : KR_AXES, n == 2 ? axis[1] : axis[0], KR_AXES };
    if (kind->fills & MASK_TIME || q->job.vary)
        a->frame = s.n[KR_TIME] > 1 ? KR_TIME : s.n[KR_PHASE] > 1 ? KR_PHASE : KR_AXES;
    q->job.rows = n == 2 ? s.n[a->row] : 1;
    q->job.cols = s.n[a->col];
    q->job.frames = a->frame < KR_AXES ? s.n[a->frame] : 1;
    return 0;
}

/* The centre must fit; a kind's own preset shrinks to the grid. */
static int check_size(mask_job *j)
{
    long n[2] = { j->rows, j->cols };
    for (int i = 0; i < 2; i++) {
        if (j->calib[i] > n[i] && j->calib_preset)
            j->calib[i] = n[i];
        if (j->calib[i] > n[i] && n[i] > 1)
            return kr_fail(KR_EUSAGE, "%ld fully sampled lines do not fit into the %ld of the grid", j->calib[i], n[i]);
    }
    for (long i = 0; i < j->choices; i++)
        if (j->accels[i] > (double)j->rows * (double)j->cols)
            return kr_fail(KR_EUSAGE, "an acceleration of %g leaves nothing of %ld points", j->accels[i], j->rows * j->cols);
    if (j->rows == 1 && j->calib[1] < 0)
        j->calib[1] = j->calib[0];
    return 0;
}

/* One acceleration of several, by one draw (fastMRI's choose_acceleration). */
static void choose_accel(mask_job *j)
{
    uint32_t c = kr_mt_below(&j->rng, (uint32_t)j->choices);
    j->accel = j->accels[c];
    j->center = j->centers[c];
}

long kr_mask_low_lines(const mask_job *j)
{
    return j->calib[1] >= 0 ? j->calib[1] : j->center > 0 ? (long)rint((double)j->cols * j->center) : 0;
}

void kr_mask_centre(uint8_t *m, long N, long n)
{
    for (long i = N / 2 - n / 2; i < N / 2 - n / 2 + n; i++)
        m[i] = 1;
}

/* ---- Putting it together ---- */
static const mask_kind *find_kind(const char *name, size_t n)
{
    const mask_kind *k = NULL;
    for (int i = 0; (k = kind_at(i)) && (strlen(k->name) != n || strncmp(k->name, name, n)); i++)
        ;
    return k;
}

bool kr_mask_is_spec(const char *text) { return find_kind(text, strcspn(text, ":")) != NULL; }

static void no_such_kind(const char *name, size_t n)
{
    const char *known[MOST_KINDS];
    int count = 0;
    while (count < MOST_KINDS && (known[count] = kr_mask_kind(count, NULL, NULL)))
        count++;
    char word[48];
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    const char *near = kr_nearest(word, known, count);
    kr_text all = { 0 };
    for (int i = 0; i < count; i++)
        kr_text_add(&all, "%s%s", i ? ", " : "", known[i]);
    if (near)
        kr_fail(KR_EUSAGE, "there is no kind of mask '%s'; did you mean %s?", word, near);
    else
        kr_fail(KR_EUSAGE, "there is no kind of mask '%s'; known are %s", word, all.s ? all.s : "");
    kr_text_clear(&all);
}

static kr_array *as_array(const mask_job *j, const uint8_t *m, struct plane a)
{
    kr_shape s = { 0 };
    s.n[a.col] = j->cols;
    if (a.row < KR_AXES)
        s.n[a.row] = j->rows;
    if (a.frame < KR_AXES)
        s.n[a.frame] = j->frames;
    kr_array *out = kr_array_new(KR_R32, s);
    if (!out)
        return NULL;
    long step_col = out->step[a.col], step_row = a.row < KR_AXES ? out->step[a.row] : 0;
    long step_frame = a.frame < KR_AXES ? out->step[a.frame] : 0;
    float *to = out->data;
    for (long f = 0; f < j->frames; f++)
        for (long r = 0; r < j->rows; r++)
            for (long c = 0; c < j->cols; c++)
                to[f * step_frame + r * step_row + c * step_col] = *m++;
    return out;
}

/* The mask, or (calib) where it is meant for calibration: NULL without a refusal where its kind does not say. */
static kr_array *make(const char *spec, kr_shape shape, const char *name, bool calib)
{
    size_t n = strcspn(spec, ":");
    const mask_kind *kind = find_kind(spec, n);
    if (!kind) {
        no_such_kind(spec, n);
        return NULL;
    }
    struct request q = { .job = { .kind = kind->name } };
    struct plane axes = { KR_AXES, KR_AXES, KR_AXES };
    kr_auto uint32_t *words = NULL;
    if (read_keys(&q, kind, spec[n] ? spec + n + 1 : "") || choose_axes(&q, kind, shape, &axes) || check_size(&q.job) || seed(&q, name, &words))
        return NULL;
    if (calib && !kind->calib)
        return NULL;
    mask_job *j = &q.job;
    if (calib) {
        j->frames = 1;
        axes.frame = KR_AXES;
    }
    kr_auto uint8_t *m = NULL;
    long points = kr_count(KR_SHAPE([KR_X] = j->cols, [KR_Y] = j->rows, [KR_TIME] = j->frames));
    if (points < 0 || points > 1L << 30) {
        kr_fail(KR_ESHAPE, "a mask of %ld x %ld points in %ld frames is too large", j->rows, j->cols, j->frames);
        return NULL;
    }
    if (!(m = kr_alloc_zero((size_t)points, 1)))
        return NULL;
    choose_accel(j);
    long frames = kind->fills & MASK_TIME ? 1 : j->frames;       /* how often the kind is asked */
    for (long f = j->frame = 0; f < frames; j->frame = ++f)
        if ((calib ? kind->calib : kind->make)(j, m + f * (points / frames)))
            return NULL;
    if (!memchr(m, 1, (size_t)points)) {
        if (calib)
            return NULL;
        kr_fail(KR_ENUMBER, "nothing would be sampled");
        return NULL;
    }
    return as_array(j, m, axes);
}

kr_array *kr_mask_new(const char *spec, kr_shape shape, const char *name)
{
    kr_array *m = make(spec, shape, name, false);
    if (!m)
        kr_fail_in("mask %s", spec);
    return m;
}

long kr_mask_draw(long count, const char *text, const char *name)
{
    struct request q = { .seed = text, .seed_n = text ? strlen(text) : 0 };
    kr_auto uint32_t *words = NULL;
    return seed(&q, name, &words) ? kr_error_code() : (long)kr_mt_below(&q.job.rng, (uint32_t)count);
}

int kr_mask_calib(kr_array **out, const char *spec, kr_shape shape, const char *name)
{
    kr_error_clear();
    *out = make(spec, shape, name, true);
    return *out || !kr_error_code() ? 0 : kr_fail_in("mask %s", spec);
}

void kr_mask_kinds(kr_text *help)
{
    kr_text_add(help, "Kinds of masks, written KIND:key=value,... (presets after =):\n");
    const mask_kind *k;
    for (int i = 0; (k = kind_at(i)); i++)
        kr_text_add(help, "  %-20s %s\n  %-20s   %s\n", k->name, k->summary, "", k->keys);
    kr_text_add(help, "Keys:\n");
    for (int i = 0; i < KEYS; i++)
        kr_text_add(help, "  %-20s %s\n", keys[i].name, keys[i].help);
}
