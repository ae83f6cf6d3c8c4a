/* projections.c: projections of an X-ray scan: which kind of file it is, bare arrays, and geometry in words. */
#include "prj.h"
#include "kray_projections.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_projections_kind kr_projections_##name;
#define ENTRY(name) &kr_projections_##name,
KR_LIST(DECLARE)
const kr_projections_kind *const kr_projections_kinds[] = { KR_LIST(ENTRY) NULL };

static void clear(kr_projections *p)
{
    kr_array_unref(&p->y);
    kr_array_unref(&p->white);
    kr_array_unref(&p->dark);
    kr_rays_unref(&p->rays);
    kr_free(p->angle);
    *p = (kr_projections){ 0 };
}

void kr_projections_unref(kr_projections **p)
{
    if (*p)
        clear(*p);
    kr_free(*p);
    *p = NULL;
}

/* ---- What the kinds share ---- */
double *prj_numbers(const char *source, long *count)
{
    kr_scoped(array) a = NULL;
    if (kr_array_read(&a, source))
        return NULL;
    if (a->type != KR_R32) {
        kr_fail(KR_EFORMAT, "%s: real numbers are wanted, these are complex", source);
        return NULL;
    }
    kr_scoped(array) p = kr_array_packed(a);
    *count = p ? kr_count(kr_array_shape(p)) : 0;
    double *v = p ? kr_alloc((size_t)*count, sizeof *v) : NULL;
    for (long i = 0; v && i < *count; i++)
        v[i] = (double)KR_R(p)[i];
    return v;
}

int prj_number(double *to, const char *file, const char *var)
{
    kr_auto char *text = kr_strf("%s:%s", file, var);
    long n = 0;
    kr_auto double *v = text ? prj_numbers(text, &n) : NULL;
    if (!v || n != 1)
        return kr_fail(KR_EFORMAT, "%s: %s, a single number, is missing", file, var);
    *to = v[0];
    return 0;
}

bool prj_is_hdf5(const char *source)
{
    char head[8] = { 0 };
    FILE *f = fopen(source, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "\x89HDF\r\n\x1a\n", sizeof head);
    if (f)
        fclose(f);
    return is;
}

bool prj_ends(const char *source, const char *suffix)
{
    size_t n = strlen(source), k = strlen(suffix);
    return n > k && !strcasecmp(source + n - k, suffix);
}

/* ---- Reading ---- */
int kr_projections_array(kr_array **out, const char *source)
{
    kr_source src;
    *out = NULL;
    if (kr_source_parse(&src, source))
        return kr_error_code();
    bool named = src.axes;
    kr_source_clear(&src);
    kr_scoped(array) a = NULL;
    kr_auto char *three = kr_strf("%s@view,v,u", source), *two = kr_strf("%s@view,u", source);
    if (!three || !two)
        return kr_error_code();
    if (named ? kr_array_read(&a, source) : kr_array_read(&a, three) && kr_array_read(&a, two))
        return kr_error_code();
    if (a->type != KR_R32)
        return kr_fail(KR_EFORMAT, "%s: projections are real numbers, these are complex", source);
    kr_shape s = kr_array_shape(a);
    if (kr_count(s) != a->n[KR_U] * a->n[KR_V] * a->n[KR_VIEW])
        return kr_fail(KR_ESHAPE, "%s: projections have the axes view, v and u, not %s", source, kr_shape_text(s));
    *out = kr_array_copy(a);
    return *out ? 0 : kr_error_code();
}

int kr_projections_read(kr_projections **out, const char *source, const kr_trace *trace)
{
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    *out = NULL;
    if (!p)
        return kr_error_code();
    int is = 0;
    for (int i = 0; kr_projections_kinds[i] && !is; i++)
        is = kr_projections_kinds[i]->read(p, source, trace);
    if (is < 0 || (!is && kr_projections_array(&p->y, source))) {
        kr_projections_unref(&p);
        return kr_error_code();
    }
    *out = p;
    return 0;
}

/* ---- Geometry in words ---- */
static int angles_between(kr_projections *p, const char *text)
{
    double from, to;
    long n;
    char end;
    if (sscanf(text, "%lf:%lf:%ld%c", &from, &to, &n, &end) != 3 || n < 1 || n > 1000000)
        return kr_fail(KR_EUSAGE, "angles=%s: FROM:TO:N in degrees is wanted, such as 0:360:720", text);
    kr_free(p->angle);
    p->angle = kr_alloc((size_t)n, sizeof *p->angle);
    p->views = n;
    for (long i = 0; p->angle && i < n; i++)
        p->angle[i] = from + (to - from) * (double)i / (double)n;
    return p->angle ? 0 : kr_error_code();
}

int kr_projections_geometry(kr_projections *p, const char *text)
{
    kr_auto char *words = kr_strdup(text);
    if (!words)
        return kr_error_code();
    char *rest = strchr(words, ':');
    if (rest)
        *rest++ = 0;
    bool fan = !strcmp(words, "fan"), cone = !strcmp(words, "cone");
    if (!fan && !cone && strcmp(words, "parallel"))
        return kr_fail(KR_EUSAGE, "there is no geometry '%s'; known are parallel, fan, cone", words);
    p->beam = fan || cone ? KR_DIVERGENT : KR_PARALLEL;
    p->volume = cone;
    for (char *save = NULL, *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
        char *value = strchr(w, '='), *end = NULL;
        if (!value)
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' has no value; NAME=VALUE is wanted", text, w);
        *value++ = 0;
        double *to = !strcmp(w, "sod") ? &p->sod : !strcmp(w, "sdd") ? &p->sdd : !strcmp(w, "pixel") ? &p->pixel[0] : NULL;
        if (to) {
            *to = strtod(value, &end);
            if (!*value || *end || !(*to > 0) || !isfinite(*to))
                return kr_fail(KR_EUSAGE, "--geometry: %s=%s; a length in mm, above 0, is wanted", w, value);
            p->lengths |= to == &p->pixel[0];
        } else if (!strcmp(w, "angles")) {
            if (angles_between(p, value))
                return kr_error_code();
        } else if (!strcmp(w, "curved")) {
            p->curved = !strcmp(value, "yes");
            if (!fan || (!p->curved && strcmp(value, "no")))
                return kr_fail(KR_EUSAGE, fan ? "--geometry: curved=%s; yes or no is wanted" : "--geometry: curved=%s is for fan beams", value);
        } else
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' is not known; known are sod, sdd, pixel, angles, curved", text, w);
    }
    if (!fan && !cone && (p->sod > 0 || p->sdd > 0))
        return kr_fail(KR_EUSAGE, "--geometry %s: a parallel beam has no source, so that sod= and sdd= say nothing", text);
    if ((fan || cone) && (!(p->sod > 0) || !(p->sdd > 0) || !(p->pixel[0] > 0)))
        return kr_fail(KR_EUSAGE, "--geometry %s: a %s beam wants sod= (source to axis), sdd= (source to detector) and pixel=, in mm", text, words);
    return 0;
}

int kr_projections_angles(kr_projections *p, const char *source)
{
    kr_free(p->angle);
    p->angle = prj_numbers(source, &p->views);
    return p->angle ? 0 : kr_error_code();
}

kr_rays *kr_projections_rays(const kr_projections *p, long rows, double axis)
{
    long columns = p->y->n[KR_U], views = p->rays ? p->rays->views : p->views;
    double aside = (double)(columns - 1) / 2 - axis, pixel = p->pixel[0] > 0 ? p->pixel[0] : 1;
    if (!p->rays && !p->angle) {
        kr_fail(KR_EUSAGE, "the angles of the views are not known: --angles FILE, or angles=FROM:TO:N in --geometry");
        return NULL;
    }
    if (views != p->y->n[KR_VIEW]) {
        kr_fail(KR_ESHAPE, "%ld angles for %ld views", views, p->y->n[KR_VIEW]);
        return NULL;
    }
    if (p->rays) {
        kr_rays *r = kr_rays_copy(p->rays);
        for (long i = 0; r && i < views; i++)
            for (int d = 0; d < 3; d++)
                r->centre[i][d] += aside * r->u[i][d];
        return r;
    }
    kr_auto double *radians = kr_alloc((size_t)views, sizeof *radians);
    for (long i = 0; radians && i < views; i++) {
        if (!isfinite(p->angle[i])) {
            kr_fail(KR_ENUMBER, "the angle of view %ld is not finite", i);
            return NULL;
        }
        radians[i] = p->angle[i] * M_PI / 180;
    }
    if (!radians)
        return NULL;
    kr_detector d = { columns, rows, { pixel, p->pixel[1] }, { p->shift[0] + aside * pixel, p->shift[1] } };
    return p->beam == KR_DIVERGENT ? kr_rays_cone(&d, p->sod, p->sdd, p->curved, views, radians, NULL) : kr_rays_parallel(&d, views, radians);
}
