/* projections.c: projections of an X-ray scan: which kind of file it is, bare arrays, and geometry in words. */
#include "prj.h"
#include "file.h"
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

int prj_absent(void)
{
    if (kr_error_code() == KR_EMEM)
        return KR_EMEM;
    kr_error_clear();
    return 0;
}

bool prj_ends(const char *source, const char *suffix)
{
    size_t n = strlen(source), k = strlen(suffix);
    return n > k && !strcasecmp(source + n - k, suffix);
}

bool prj_says(const char *text, const char *name, double *value)
{
    size_t n = strlen(name);
    for (const char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        next = next ? next + 1 : NULL;
        const char *p = line + strspn(line, " \t");
        char *end;
        if (strncasecmp(p, name, n) || !(p += n, *(p += strspn(p, " \t")) == '='))
            continue;
        *value = strtod(p + 1, &end);
        if (end != p + 1 && *end == ',' && end[1] >= '0' && end[1] <= '9') {      /* 12,5 of other countries */
            char point[64];
            snprintf(point, sizeof point, "%.*s", (int)strcspn(p + 1, "\r\n"), p + 1);
            point[end - p - 1 < 63 ? end - p - 1 : 63] = '.';
            *value = strtod(point, NULL);
        }
        return end != p + 1 && isfinite(*value);
    }
    return false;
}

void prj_flip(kr_array *y, bool u, bool v)
{
    long columns = y->n[KR_U], rows = y->n[KR_V];
    for (long i = 0; i < y->n[KR_VIEW]; i++) {
        float *p = KR_R(y) + i * rows * columns;
        for (long r = 0; u && r < rows; r++)
            for (long k = 0; k < columns / 2; k++) {
                float keep = p[r * columns + k];
                p[r * columns + k] = p[r * columns + columns - 1 - k];
                p[r * columns + columns - 1 - k] = keep;
            }
        for (long r = 0; v && r < rows / 2; r++)
            for (long k = 0; k < columns; k++) {
                float keep = p[r * columns + k];
                p[r * columns + k] = p[(rows - 1 - r) * columns + k];
                p[(rows - 1 - r) * columns + k] = keep;
            }
    }
}

/* ---- Reading ---- */
int kr_projections_array(kr_array **out, const char *source)
{
    kr_source src;
    *out = NULL;
    if (kr_source_parse(&src, source))
        return kr_error_code();
    bool named = src.axes;
    const kr_format *f = kr_format_of(src.path);
    bool fastest_first = f && f->columns_first;
    kr_source_clear(&src);
    kr_scoped(array) a = NULL;
    if (!f)
        return kr_error_code();
    kr_auto char *three = kr_strf(fastest_first ? "%s@u,v,view" : "%s@view,v,u", source), *two = kr_strf(fastest_first ? "%s@u,view" : "%s@view,u", source);
    if (!three || !two)
        return kr_error_code();
    int e = kr_array_read(&a, named ? source : three);
    if (!named && (e == KR_EUSAGE || (!e && fastest_first && a->n[KR_VIEW] == 1))) {      /* another number of axes; or one of length 1, as BART has them */
        kr_array_unref(&a);
        e = kr_array_read(&a, two);
    }
    if (e)
        return e;
    if (a->type != KR_R32)
        return kr_fail(KR_EFORMAT, "%s: projections are real numbers, these are complex", source);
    kr_shape s = kr_array_shape(a);
    if (kr_count(s) != a->n[KR_U] * a->n[KR_V] * a->n[KR_VIEW])
        return kr_fail(KR_ESHAPE, "%s: projections have the axes view, v and u, not %s", source, kr_shape_text(s));
    *out = kr_array_contiguous(a) ? kr_array_ref(a) : kr_array_copy(a);
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
        is = kr_projections_kinds[i]->read ? kr_projections_kinds[i]->read(p, source, trace) : 0;
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

static double *text_numbers(const char *path, long *count, long *lines);

/* Numbers of a small table: rows of `each`; of MATLAB arrays and others whose rows are columns here they are put in that order. */
static double *table(const char *source, long *count, long *each)
{
    long lines = 0;
    kr_error_clear();
    double *v = text_numbers(source, count, &lines);
    if (v || kr_error_code()) {
        *each = v && lines > 0 && *count % lines == 0 ? *count / lines : 0;
        return v;
    }
    kr_scoped(array) a = NULL;
    if (kr_array_read(&a, source))
        return NULL;
    v = prj_numbers(source, count);
    *each = a->n[KR_X];
    long rows = a->n[KR_Y];
    if (v && *each != 6 && *each != 12 && (rows == 6 || rows == 12) && *count == *each * rows) {
        double *turned = kr_alloc((size_t)*count, sizeof *turned);
        for (long i = 0; turned && i < *count; i++)
            turned[i % *each * rows + i / *each] = v[i];
        kr_free(v);
        v = turned;
        *each = rows;
    }
    return v;
}

/* Rows of ASTRA's vectors. */
static int vectors(kr_projections *p, const char *source, bool deep)
{
    long count = 0, each = 0, columns = p->y ? p->y->n[KR_U] : 1, rows = p->y ? p->y->n[KR_V] : 1;
    kr_auto double *v = table(source, &count, &each);
    if (!v)
        return kr_error_code();
    if ((each != 6 && each != 12) || count % each)
        return kr_fail(KR_ESHAPE, "%s: rows of 6 (2D) or 12 numbers (3D) are wanted, one a view, not %ld numbers in rows of %ld", source, count, each);
    if (deep != (each == 12))
        return kr_fail(KR_EUSAGE, "%s: vectors of %ld numbers are of a %s beam", source, each, each == 12 ? "cone or parallel3d" : "parallel or fan");
    if (p->y && !deep && rows > 1)
        return kr_fail(KR_ESHAPE, "%s: vectors of 6 numbers are of one row, the detector has %ld", source, rows);
    kr_rays_unref(&p->rays);
    p->rays = kr_rays_vectors(p->beam, columns, rows, count / each, (int)each, v);
    p->lengths = true;
    return p->rays ? 0 : kr_error_code();
}

struct words { bool sod, sdd, pixel, row, angles, curved, vectors, turn, rise, flip; };      /* which were said */

static int length(double *to, bool *said, const char *name, const char *value)
{
    char *end;
    *to = strtod(value, &end);
    *said = true;
    return !*value || *end || !(*to > 0) || !isfinite(*to) ? kr_fail(KR_EUSAGE, "--geometry: %s=%s; a length in mm, above 0, is wanted", name, value) : 0;
}

int kr_projections_geometry(kr_projections *p, const char *text)
{
    kr_auto char *words = kr_strdup(text), *from = NULL;
    if (!words)
        return kr_error_code();
    char *rest = strchr(words, ':');
    if (rest)
        *rest++ = 0;
    bool fan = !strcmp(words, "fan"), cone = !strcmp(words, "cone"), deep = cone || !strcmp(words, "parallel3d"), file = false;
    bool alike = p->rays && p->volume == deep && p->beam == (fan || cone ? KR_DIVERGENT : KR_PARALLEL);      /* what the file says may hold */
    if (!fan && !deep && strcmp(words, "parallel")) {
        FILE *f = fopen(words, "rb");
        file = f;
        if (f)
            fclose(f);
        else
            return kr_fail(KR_EUSAGE, "there is neither a geometry nor a file '%s'; known are parallel, fan, cone, parallel3d", words);
    } else {
        p->beam = fan || cone ? KR_DIVERGENT : KR_PARALLEL;
        p->volume = deep;
    }
    struct words said = { 0 };
    for (char *save = NULL, *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
        char *value = strchr(w, '=');
        if (!value)
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' has no value; NAME=VALUE is wanted", text, w);
        *value++ = 0;
        int e = 0;
        if (!strcmp(w, "sod") || !strcmp(w, "DSO"))
            e = length(&p->sod, &said.sod, w, value);
        else if (!strcmp(w, "sdd") || !strcmp(w, "DSD"))
            e = length(&p->sdd, &said.sdd, w, value);
        else if (!strcmp(w, "pixel") || !strcmp(w, "dDetector"))
            e = length(&p->pixel[0], &said.pixel, w, value);
        else if (!strcmp(w, "row"))
            e = length(&p->pixel[1], &said.row, w, value);
        else if (!strcmp(w, "rise")) {
            char *end;
            p->rise = strtod(value, &end);
            said.rise = true;
            e = !*value || *end || !isfinite(p->rise) ? kr_fail(KR_EUSAGE, "--geometry: rise=%s; a length in mm a turn is wanted", value)
                : !cone ? kr_fail(KR_EUSAGE, "--geometry: rise=%s is for cone beams", value) : 0;
        } else if (!strcmp(w, "angles")) {
            e = angles_between(p, value);
            said.angles = true;
        } else if (!strcmp(w, "curved")) {
            p->curved = said.curved = !strcmp(value, "yes");
            if ((!fan && !cone) || (!p->curved && strcmp(value, "no")))
                return kr_fail(KR_EUSAGE, fan || cone ? "--geometry: curved=%s; yes or no is wanted" : "--geometry: curved=%s is for fan and cone beams", value);
        } else if (!strcmp(w, "vectors")) {
            kr_free(from);
            from = kr_strdup(value);
            said.vectors = true;
        } else if (!strcmp(w, "turn")) {
            said.turn = !strcmp(value, "right");
            if (!said.turn && strcmp(value, "left"))
                return kr_fail(KR_EUSAGE, "--geometry: turn=%s; left or right is wanted", value);
        } else if (!strcmp(w, "flip")) {
            bool u = !strcmp(value, "u") || !strcmp(value, "uv"), v = !strcmp(value, "v") || !strcmp(value, "uv");
            if (!u && !v)
                return kr_fail(KR_EUSAGE, "--geometry: flip=%s; u, v or uv is wanted", value);
            said.flip = true;
            kr_array *all[3] = { p->y, p->white, p->dark };
            for (int i = 0; i < 3; i++)
                if (all[i])
                    prj_flip(all[i], u, v);
        } else
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' is not known; known are sod, sdd, pixel, row, angles, rise, curved, vectors, turn, flip", text, w);
        if (e)
            return e;
    }
    p->lengths |= said.pixel;
    if (said.vectors && (said.sod || said.sdd || said.pixel || said.row || said.angles || said.curved || said.turn || said.rise || file))
        return kr_fail(KR_EUSAGE, "--geometry %s: vectors say all of the geometry; sod, sdd, pixel, row, angles, rise, curved and turn would contradict them", text);
    if (said.vectors)
        return vectors(p, from, deep);
    if (file) {
        if (said.sod || said.sdd || said.angles || said.turn || said.rise)
            return kr_fail(KR_EUSAGE, "--geometry %s: the file says distances and angles; sod, sdd, angles, rise and turn would contradict it", text);
        int is = 0;
        for (int i = 0; kr_projections_kinds[i] && !is; i++)
            is = kr_projections_kinds[i]->geometry ? kr_projections_kinds[i]->geometry(p, words) : 0;
        return is > 0 ? 0 : is ? is : kr_fail(KR_EFORMAT, "%s: no kind of geometry that Kray reads (RTK's XML is)", words);
    }
    bool anew = said.sod || said.sdd || said.pixel || said.row || said.angles || said.curved || said.rise;
    if (alike && !anew && said.turn)
        return kr_fail(KR_EUSAGE, "--geometry %s: the file says where each view lies; flip=u turns the detector's columns about instead, which leaves the image mirrored", text);
    if (alike && !anew && said.flip)                      /* as the file says, but for that */
        return 0;
    kr_rays_unref(&p->rays);
    for (long i = 0; said.turn && i < p->views; i++)
        p->angle[i] = -p->angle[i];
    if (!fan && !cone && (p->sod > 0 || p->sdd > 0))
        return kr_fail(KR_EUSAGE, "--geometry %s: a parallel beam has no source, so that sod= and sdd= say nothing", text);
    if ((fan || cone) && (!(p->sod > 0) || !(p->sdd > 0) || !(p->pixel[0] > 0)))
        return kr_fail(KR_EUSAGE, "--geometry %s: a %s beam wants sod= (source to axis), sdd= (source to detector) and pixel=, in mm", text, words);
    return 0;
}

/* Numbers of a text file, and how many of its lines hold some; what follows a # or % is a comment. NULL without a refusal: it is none. */
static double *text_numbers(const char *path, long *count, long *lines)
{
    FILE *f = fopen(path, "rb");
    char head[4096];
    size_t got = f ? fread(head, 1, sizeof head, f) : 0;
    if (f)
        fclose(f);
    size_t mark = got >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;      /* of UTF-8 */
    for (size_t i = mark; i < got; i++)
        if ((unsigned char)head[i] >= 127 || ((unsigned char)head[i] < 32 && !strchr("\n\r\t", head[i])))
            return NULL;
    kr_auto char *text = got ? kr_file_text(path, 1 << 26) : NULL;
    if (!text)
        return NULL;
    double *v = kr_alloc(strlen(text) / 2 + 1, sizeof *v);
    *count = *lines = 0;
    bool anew = true;
    for (char *p = text + mark, *end; v && *p; p = end) {
        size_t blank = strspn(p, " ,;\t\r\n");
        anew |= memchr(p, '\n', blank) || memchr(p, '\r', blank);
        p += blank;
        end = p + (*p == '#' || *p == '%' ? strcspn(p, "\n") : 0);
        if (!*p || *p == '#' || *p == '%')
            continue;
        *lines += anew;
        anew = false;
        v[(*count)++] = strtod(p, &end);
        if (end == p) {
            kr_fail(KR_EFORMAT, "%s: '%.*s' is no number", path, (int)strcspn(p, " ,;\t\r\n"), p);
            kr_free(v);
            return NULL;
        }
    }
    if (v && !*count) {
        kr_fail(KR_EFORMAT, "%s: there are no numbers in this file", path);
        kr_free(v);
        return NULL;
    }
    return v;
}

int kr_projections_angles(kr_projections *p, const char *source)
{
    kr_free(p->angle);
    kr_rays_unref(&p->rays);
    kr_error_clear();
    long lines;
    p->angle = text_numbers(source, &p->views, &lines);
    if (!p->angle && !kr_error_code())
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
        kr_fail(KR_ESHAPE, "%ld angles for %ld views: each view wants one (--angles FILE, or angles=FROM:TO:N in --geometry)", views, p->y->n[KR_VIEW]);
        return NULL;
    }
    if (p->rays) {
        kr_rays *r = kr_rays_copy(p->rays);
        for (long i = 0; r && i < views; i++)
            for (int d = 0; d < 3; d++)
                r->centre[i][d] += aside * r->u[i][d];
        return r;
    }
    kr_auto double *radians = kr_alloc((size_t)views, 2 * sizeof *radians);
    double *z = radians ? radians + views : NULL, low = INFINITY, high = -INFINITY;
    for (long i = 0; radians && i < views; i++) {
        if (!isfinite(p->angle[i])) {
            kr_fail(KR_ENUMBER, "the angle of view %ld is not finite", i);
            return NULL;
        }
        radians[i] = p->angle[i] * M_PI / 180;
        low = fmin(low, p->angle[i]);
        high = fmax(high, p->angle[i]);
    }
    for (long i = 0; radians && i < views; i++)
        z[i] = p->rise * (p->angle[i] - (low + high) / 2) / 360;
    if (!radians)
        return NULL;
    kr_detector d = { columns, rows, { pixel, p->pixel[1] }, { p->shift[0] + aside * pixel, p->shift[1] } };
    return p->beam == KR_DIVERGENT ? kr_rays_cone(&d, p->sod, p->sdd, p->curved, views, radians, fabs(p->rise) > 0 ? z : NULL) : kr_rays_parallel(&d, views, radians);
}
