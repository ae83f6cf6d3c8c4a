/* slice_cache.c: slices that were made once, one file each; a slice whose recipe is another one is made anew. */
#include "learning.h"
#include "kray/io.h"
#include "kray/net.h"
#include <string.h>
#include <unistd.h>

/* All that a slice depends on. */
static int recipe(char hex[65], const learn_volumes *v, const kr_learn *o)
{
    kr_text t = { 0 };
    kr_text_add(&t, "9|%d|%ld|%g|%s|%s|%s|%s|%s|%s|", o->clean, o->seed, o->hold_back, o->coils, o->accel, o->masks, o->planes, o->noise, o->start ? o->start : "");
    if (o->lesions > 0)
        kr_text_add(&t, "lesions %g|", o->lesions);
    if (learn_judges(o))
        kr_text_add(&t, "moved 1 %s|", o->motion);
    if (v->of_slices > 0)
        kr_text_add(&t, "slices|");
    for (long i = 0; i < v->count; i++)
        kr_text_add(&t, "%s%s %ldx%ldx%ld %ld\n", v->volume[i].digest, v->volume[i].name, v->volume[i].n[0], v->volume[i].n[1], v->volume[i].n[2], v->volume[i].person);
    int e = t.failed ? kr_error_code() : 0;
    if (!e)
        kr_digest(t.s, t.len, hex);
    kr_text_clear(&t);
    return e;
}

static int put(kr_weights *w, const char *name, int dims, const long *n, const void *numbers)
{
    kr_tensor *t = kr_weights_add(w, name, dims, n);
    if (t)
        memcpy(t->data, numbers, (size_t)kr_tensor_count(t) * sizeof(float));
    return t ? 0 : kr_error_code();
}

static int store(const learn_slice *s, const char *hex, const char *path)
{
    kr_scoped(weights) w = kr_weights_new();
    const long image[3] = { s->ny, s->nx, 2 }, maps[4] = { s->coils, s->ny, s->nx, 2 };
    if (!w || put(w, "start", 3, image, s->start) || put(w, "adjoint", 3, image, s->adjoint) || put(w, "target", 3, image, s->target)
        || put(w, "sens", 4, maps, s->sens) || put(w, "mask", 2, image, s->mask) || put(w, "noise", 1, (long[]){ 1 }, &s->noise) || put(w, "scale", 1, (long[]){ 1 }, &s->scale)
        || (s->kspace && put(w, "kspace", 4, maps, s->kspace)) || (s->full && put(w, "full", 4, maps, s->full))
        || kr_meta_set(w->meta, "recipe", "%s", hex) || kr_meta_set(w->meta, "from", "%s", s->name) || kr_meta_set(w->meta, "strips", "%d", s->strips))
        return kr_error_code();
    return kr_weights_write(w, path);
}

static void *taken(const kr_weights *w, const char *name, long count)
{
    const kr_tensor *t = kr_weights_find(w, name);
    void *p = t && kr_tensor_count(t) == count ? kr_alloc((size_t)count, sizeof(float)) : NULL;
    if (p)
        memcpy(p, t->data, (size_t)count * sizeof(float));
    return p;
}

bool learn_wants_samples(const kr_learn *o)
{
    const kr_net_kind *net = kr_net_kind_named(o->network);
    return o->self_supervised > 0 || (!learn_ridge(o) && !(net && (net->refines || net->judges)));
}

/* Whether the file holds this slice. */
static bool load(learn_slice *s, bool samples, const char *hex, const char *path)
{
    kr_scoped(weights) w = NULL;
    if (access(path, R_OK) || kr_weights_read(&w, path)) {
        kr_error_clear();
        return false;
    }
    const char *is = kr_meta_get(w->meta, "recipe"), *from = kr_meta_get(w->meta, "from");
    const kr_tensor *maps = kr_weights_find(w, "sens"), *noise = kr_weights_find(w, "noise"), *scale = kr_weights_find(w, "scale");
    if (!is || strcmp(is, hex) || !maps || maps->dims != 4 || !noise || !scale)
        return false;
    *s = (learn_slice){ .nx = maps->n[2], .ny = maps->n[1], .coils = maps->n[0], .strips = kr_meta_number(w->meta, "strips", 0) != 0, .noise = noise->data[0], .scale = scale->data[0],
                        .name = kr_strdup(from ? from : "") };
    long n = s->nx * s->ny;
    s->start = taken(w, "start", 2 * n);
    s->adjoint = taken(w, "adjoint", 2 * n);
    s->target = taken(w, "target", 2 * n);
    s->sens = taken(w, "sens", 2 * n * s->coils);
    s->mask = taken(w, "mask", n);
    s->kspace = samples ? taken(w, "kspace", 2 * n * s->coils) : NULL;
    s->full = samples ? taken(w, "full", 2 * n * s->coils) : NULL;
    if (s->name && s->start && s->adjoint && s->target && s->sens && s->mask && (!samples || (s->kspace && (s->full || !kr_weights_find(w, "full")))))
        return true;
    learn_slice_clear(s);
    kr_error_clear();
    return false;
}

int learn_slice_get(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, long index)
{
    char hex[65];
    kr_auto char *path = kr_strf("%s%s/%s%06ld.safetensors", o->cache ? o->cache : o->output, o->cache ? "" : "/slices", held ? "held" : "made", index);
    if (!path || recipe(hex, v, o))
        return kr_error_code();
    if (load(s, learn_wants_samples(o), hex, path))
        return 0;
    int e = learn_slice_make(s, v, o, held, index);
    e = e ? e : kr_folder_for(path);
    e = e ? e : store(s, hex, path);
    if (e)
        learn_slice_clear(s);
    return e;
}
