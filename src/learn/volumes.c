/* volumes.c: what is trained on: NIfTI and NumPy archives as volumes of persons, split into those that are learned from and those held back. */
#include "learning.h"
#include "kray/io.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Words and dice ---- */
bool learn_word(const char **at, char *word, size_t room)
{
    const char *p = *at ? *at + strspn(*at, ",\n ") : "";
    size_t n = strcspn(p, ",\n");
    while (n && p[n - 1] == ' ')
        n--;
    if (!n || n >= room)
        return false;
    memcpy(word, p, n);
    word[n] = 0;
    *at = p + n;
    return true;
}

long learn_words(const char *list)
{
    char word[512];
    long n = 0;
    while (learn_word(&list, word, sizeof word))
        n++;
    return n;
}

int learn_word_at(char *word, size_t room, const char *list, long i)
{
    for (long k = 0; k <= i; k++)
        if (!learn_word(&list, word, room))
            return kr_fail(KR_EUSAGE, "the list '%s' has no word %ld", list ? list : "", i + 1);
    return 0;
}

double dice_uniform(dice *d, double from, double to) { return from + (to - from) * kr_rand_uniform(d->seed, d->stream, d->at++); }

double dice_normal(dice *d)
{
    double z[2];
    kr_rand_normal2(d->seed, d->stream, d->at++, z);
    return z[0];
}

long dice_choice(dice *d, long n)
{
    long k = (long)(dice_uniform(d, 0, 1) * (double)n);
    return k < n ? k : n - 1;
}

/* ---- Which person ---- */
static const char *file_of(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

/* Is `name` (FILE or FILE:ITEM) meant by `pattern`: the beginning of a file's name, and after a colon an item or a range of them? */
static bool meant(const char *pattern, const char *name)
{
    size_t p = strcspn(pattern, ":"), n = strcspn(name, ":");
    if (!p || p > n || strncmp(pattern, name, p))
        return false;
    if (!pattern[p])
        return true;
    if (!name[n])
        return false;
    const char *item = name + n + 1, *range = pattern + p + 1;
    char *end;
    long from = strtol(range, &end, 10), to = *end == '-' && end != range ? strtol(end + 1, &end, 10) : from;
    if (end != range && !*end && isdigit((unsigned char)*item)) {
        long i = strtol(item, NULL, 10);
        return i >= from && i <= to;
    }
    return !strcmp(item, range);
}

/* The words of `same` are groups: patterns with blanks between them. */
static int persons(learn_volumes *v, const char *same)
{
    kr_auto long *group = kr_alloc((size_t)v->count, sizeof *group);
    if (!group)
        return kr_error_code();
    for (long i = 0; i < v->count; i++) {
        char word[512], pattern[256];
        const char *at = same;
        long g = 0;
        group[i] = -1;
        while (group[i] < 0 && learn_word(&at, word, sizeof word)) {
            for (const char *p = word; *p && group[i] < 0; p += strspn(p, " ")) {
                size_t n = strcspn(p, " ");
                if (n >= sizeof pattern)
                    return kr_fail(KR_EUSAGE, "a word of 'same' is too long");
                memcpy(pattern, p, n);
                pattern[n] = 0;
                p += n;
                if (meant(pattern, v->volume[i].name))
                    group[i] = g;
            }
            g++;
        }
        v->volume[i].person = -1;
        for (long k = 0; k < i && v->volume[i].person < 0; k++)
            if ((group[i] >= 0 && group[k] == group[i]) || !strcmp(v->volume[k].name, v->volume[i].name))
                v->volume[i].person = v->volume[k].person;
        if (v->volume[i].person < 0)
            v->volume[i].person = v->persons++;
    }
    return 0;
}

/* Seeded: the persons with the smallest random numbers, at least one where there are two. */
static int split(learn_volumes *v, const kr_learn *o)
{
    v->held = kr_alloc_zero((size_t)v->persons, sizeof *v->held);
    if (!v->held)
        return kr_error_code();
    long want = lround(o->hold_back * (double)v->persons);
    want = want < 1 && o->hold_back > 0 ? 1 : want;
    if (v->persons == 1) {
        v->of_slices = o->hold_back;
        return 0;
    }
    for (long k = 0; k < want; k++) {
        long best = -1;
        double least = 2;
        for (long p = 0; p < v->persons; p++) {
            double r = kr_rand_uniform((uint64_t)o->seed, 0x5011, (uint64_t)p);
            if (!v->held[p] && r < least) {
                least = r;
                best = p;
            }
        }
        if (best >= 0)
            v->held[best] = true;
    }
    return v->persons - want < 1 ? kr_fail(KR_EREFUSED, "%ld persons in all, of which %ld are held back: nobody is left to train on", v->persons, want) : 0;
}

/* ---- Reading ---- */
/* Takes over data and name. */
static int add(learn_volumes *v, learn_volume one)
{
    if (v->count == v->room) {
        long room = v->room ? 2 * v->room : 64;
        learn_volume *p = (one.v || one.path) && one.name ? kr_realloc(v->volume, (size_t)v->room, (size_t)room, sizeof *p) : NULL;
        if (p) {
            v->volume = p;
            v->room = room;
        }
    }
    if ((!one.v && !one.path) || !one.name || v->count == v->room) {
        kr_free(one.v);
        kr_free(one.path);
        kr_free(one.name);
        return kr_error_code();
    }
    v->volume[v->count++] = one;
    return 0;
}

/* Cut across every axis where voxels are nearly cubes, else across their longest side. */
static unsigned cuts(const learn_volume *v)
{
    double least = fmin(v->mm[0], fmin(v->mm[1], v->mm[2])), most = fmax(v->mm[0], fmax(v->mm[1], v->mm[2]));
    unsigned axes = 0;
    for (int a = 0; a < 3; a++) {
        bool wide = true;
        for (int b = 0; b < 3; b++)
            wide &= b == a || v->n[b] >= 64;
        axes |= wide && (most < 1.6 * least || v->mm[a] == most) ? 1u << a : 0;
    }
    return axes;
}

static int from_image(learn_volumes *v, const char *path, bool labels)
{
    kr_scoped(image) im = NULL;
    if (kr_image_read(&im, path))
        return kr_error_code();
    kr_scoped(array) real = im->data->type == KR_C32 ? kr_abs(im->data) : kr_array_ref(im->data);
    int third = real && real->n[KR_Z] > 1 ? KR_Z : KR_SLICE;
    kr_scoped(array) cut = real ? kr_array_ref(real) : NULL;
    for (int a = 0; a < KR_AXES && cut; a++)                 /* of a series, the first */
        if (a != KR_X && a != KR_Y && a != third && cut->n[a] > 1) {
            kr_array *first = kr_array_at(cut, a, 0);
            kr_array_unref(&cut);
            cut = first;
        }
    kr_scoped(array) packed = cut ? kr_array_copy(cut) : NULL;
    if (!packed)
        return kr_error_code();
    learn_volume one = { .labels = labels, .n = { packed->n[KR_X], packed->n[KR_Y], packed->n[third] }, .name = kr_strdup(file_of(path)) };
    long count = one.n[0] * one.n[1] * one.n[2];
    double affine[16], n3[3] = { 1, 1, 1 };
    if (kr_geom_affine(im->geom, one.n, affine)) {
        kr_error_clear();
        memset(affine, 0, sizeof affine);
    }
    for (int a = 0; a < 3; a++) {
        n3[a] = sqrt(affine[a] * affine[a] + affine[4 + a] * affine[4 + a] + affine[8 + a] * affine[8 + a]);
        one.mm[a] = n3[a] > 0 && isfinite(n3[a]) ? n3[a] : 1;
    }
    one.axes = cuts(&one);
    one.v = kr_alloc((size_t)count, sizeof *one.v);
    if (one.v)
        memcpy(one.v, packed->data, (size_t)count * sizeof *one.v);
    if (!one.axes) {
        kr_free(one.v);
        kr_free(one.name);
        return kr_fail(KR_ESHAPE, "a volume of %ld x %ld x %ld has no slices of at least 64 x 64", one.n[0], one.n[1], one.n[2]);
    }
    return add(v, one);
}

/* The name of item i of the first axis: what an array "subject" or "patient" of the archive says, else nothing. */
static char *item_name(const kr_weights *w, const char *file, long i, long items)
{
    static const char *const keys[] = { "subject", "patient", "person" };
    for (int k = 0; k < 3; k++) {
        const kr_tensor *t = kr_weights_find(w, keys[k]);
        if (t && kr_tensor_count(t) == items)
            return kr_strf("%s:%ld", file, lround((double)t->data[i]));
        kr_auto char *key = kr_strf("text.%s", keys[k]);
        const char *text = key ? kr_meta_get(w->meta, key) : NULL;
        for (long q = 0; text && q < i; q++)
            text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
        if (text)
            return kr_strf("%s:%.*s", file, (int)strcspn(text, "\n"), text);
    }
    return kr_strdup(file);
}

/* Planes are the last two axes; of three axes whose last is the shortest by far, the first two. */
static int from_array(learn_volumes *v, const kr_weights *w, const kr_tensor *t, const char *file, bool labels)
{
    long last = t->n[t->dims - 1], before = t->n[t->dims - 2], planes = kr_tensor_count(t) / (last * before);
    bool across = t->dims == 3 && 2 * last < before && 2 * last < t->n[0];
    if (across || t->dims == 2) {
        learn_volume one = { .labels = labels, .n = { last, before, t->dims == 3 ? t->n[0] : 1 }, .mm = { across ? 4 : 1, 1, across ? 1 : 4 }, .axes = across ? 1 : 4,
                             .name = kr_strf("%s:%s", file, t->name), .v = kr_alloc((size_t)kr_tensor_count(t), sizeof(float)) };
        if (one.v)
            memcpy(one.v, t->data, (size_t)kr_tensor_count(t) * sizeof(float));
        return add(v, one);
    }
    int e = 0;
    for (long i = 0; i < t->n[0] && !e; i++) {
        long each = planes / t->n[0];
        learn_volume one = { .labels = labels, .n = { last, before, each }, .mm = { 1, 1, 4 }, .axes = 4, .name = item_name(w, file, i, t->n[0]),
                             .v = kr_alloc((size_t)(each * last * before), sizeof(float)) };
        if (one.v)
            memcpy(one.v, t->data + i * each * last * before, (size_t)(each * last * before) * sizeof(float));
        e = add(v, one);
    }
    return e;
}

static int from_archive(learn_volumes *v, const char *path, bool labels)
{
    kr_scoped(weights) w = NULL;
    if (kr_weights_read(&w, path))
        return kr_error_code();
    const kr_tensor *only = kr_weights_find(w, "image");
    only = only ? only : kr_weights_find(w, "images");
    long found = 0;
    int e = 0;
    for (long i = 0; i < w->count && !e; i++) {
        const kr_tensor *t = &w->tensor[i];
        if ((only && t != only) || t->dims < 2 || (t->dims > 2 && kr_tensor_count(t) < 64 * 64))
            continue;
        found++;
        e = from_array(v, w, t, file_of(path), labels);
    }
    return e ? e : found ? 0 : kr_fail(KR_EFORMAT, "the archive holds no array of at least two axes");
}

enum { IMAGES, LABELS, SCANS };
static int from_scan(learn_volumes *v, const kr_learn *o, const char *path, const kr_trace *trace)
{
    bool full;
    learn_volume one = { .mm = { 1, 1, 1 }, .name = kr_strdup(file_of(path)) };
    int e = one.name ? learn_scan_open(&one, &full, path, trace) : kr_error_code();
    if (!e && !full && !(o->self_supervised > 0))
        e = kr_fail(KR_EUSAGE, "the scan is not fully sampled, so that there is no target: self-supervised trains by samples held back");
    if (!e)
        return add(v, one);
    kr_free(one.path);
    kr_free(one.name);
    return e;
}

static int one_list(learn_volumes *v, const kr_learn *o, const char *list, int kind, const kr_trace *trace)
{
    char word[1024];
    bool labels = kind == LABELS;
    while (learn_word(&list, word, sizeof word)) {
        kr_auto char *path = o->folder && *word != '/' ? kr_strf("%s/%s", o->folder, word) : kr_strdup(word);
        size_t n = path ? strlen(path) : 0;
        long before = v->count;
        if (!path || kr_stopped(trace))
            return kr_error_code();
        int e = kind == SCANS ? from_scan(v, o, path, trace) : (n > 4 && !strcmp(path + n - 4, ".npz") ? from_archive : from_image)(v, path, labels);
        if (!e)
            continue;
        if (kr_error_code() == KR_EMEM || kr_error_code() == KR_EUSAGE)
            return kr_fail_in("%s", path);
        kr_say(trace, KR_WARNING, "%s is skipped: %s", path, kr_error());
        kr_text_add(&v->unreadable, "%s\n", path);
        v->skipped++;
        kr_error_clear();
        while (v->count > before) {
            kr_free(v->volume[--v->count].v);
            kr_free(v->volume[v->count].path);
            kr_free(v->volume[v->count].name);
        }
    }
    return 0;
}

int learn_volumes_read(learn_volumes *v, const kr_learn *o, const kr_trace *trace)
{
    *v = (learn_volumes){ 0 };
    int e = one_list(v, o, o->images, IMAGES, trace);
    e = e ? e : one_list(v, o, o->labels, LABELS, trace);
    e = e ? e : one_list(v, o, o->scans, SCANS, trace);
    if (!e && !v->count)
        e = kr_fail(KR_EREFUSED, v->skipped ? "none of the %ld files could be read" : "nothing to train on: images, labels, scans", v->skipped);
    e = e ? e : persons(v, o->same);
    e = e ? e : split(v, o);
    if (e)
        learn_volumes_clear(v);
    return e;
}

void learn_volumes_clear(learn_volumes *v)
{
    for (long i = 0; i < v->count; i++) {
        kr_free(v->volume[i].v);
        kr_free(v->volume[i].path);
        kr_free(v->volume[i].name);
    }
    kr_free(v->volume);
    kr_free(v->held);
    kr_text_clear(&v->unreadable);
    *v = (learn_volumes){ 0 };
}
