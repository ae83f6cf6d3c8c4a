/* cmd_ct.c: kray ct IN -o OUT: projections of an X-ray scan to an image. */
#include "json.h"
#include "kray/ct.h"
#include "kray/io.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct opts {
    const char *output, *geometry, *angles, *white, *dark, *log, *axis, *method, *window, *slices, *model;
    long iterations, matrix, rings, threads;
    double lambda, water, photons;
    const char *keep;
    long detector, seed;
    bool positive, json;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "image file" },
    { "geometry", 'g', KR_OPT_TEXT, offsetof(opts, geometry), NULL, "SPEC", "parallel[:pixel=MM], fan:sod=MM,sdd=MM,pixel=MM[,curved=yes] or cone:..., and angles=FROM:TO:N (degrees, TO left out)" },
    { "angles", 0, KR_OPT_TEXT, offsetof(opts, angles), NULL, "FILE[:VAR]", "angles of the views in degrees" },
    { "white", 0, KR_OPT_TEXT, offsetof(opts, white), NULL, "FILE[:VAR]@AXES", "counts without the object (flat field)" },
    { "dark", 0, KR_OPT_TEXT, offsetof(opts, dark), NULL, "FILE[:VAR]@AXES", "counts without the beam" },
    { "log", 0, KR_OPT_CHOICE, offsetof(opts, log), "auto", "auto|on|off", "-log of the transmission; auto: where a white field is" },
    { "axis", 0, KR_OPT_TEXT, offsetof(opts, axis), "auto", "COLUMN|auto", "detector column of the axis of rotation, from 0; auto: found (parallel beams), else the middle" },
    { "rings", 0, KR_OPT_INT, offsetof(opts, rings), "0", "N", "remove rings: median over N columns of sorted values (31, say); 0: no" },
    { "method", 'm', KR_OPT_CHOICE, offsetof(opts, method), "fbp", "fbp|sirt|cgls|tv", "filtered back-projection (cone: Feldkamp), or iterations" },
    { "window", 0, KR_OPT_CHOICE, offsetof(opts, window), "ramp", "ramp|shepp-logan|cosine|hamming|hann", "fbp: window on the ramp filter" },
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "100", "N", "of sirt, cgls and tv" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.001", "X", "tv: strength, relative to the largest value of the plain back-projection" },
    { "nonneg", 0, KR_OPT_FLAG, offsetof(opts, positive), NULL, NULL, "sirt, tv: no value below 0" },
    { "model", 0, KR_OPT_CHOICE, offsetof(opts, model), "joseph", "joseph|distance|line|strip", "sirt, cgls, tv: what a pixel adds to a ray" },
    { "slices", 0, KR_OPT_TEXT, offsetof(opts, slices), NULL, "FROM:TO", "parallel: these rows of the detector alone, TO left out" },
    { "matrix", 0, KR_OPT_INT, offsetof(opts, matrix), "0", "N", "pixels of the image along x and y; 0: as many as the views see" },
    { "water", 0, KR_OPT_REAL, offsetof(opts, water), "0", "MU", "attenuation of water per mm: the image is then in Hounsfield units" },
    { "detector", 0, KR_OPT_INT, offsetof(opts, detector), "256", "N", "of the phantom: columns of the detector" },
    { "photons", 0, KR_OPT_REAL, offsetof(opts, photons), "0", "I0", "of the phantom: Poisson noise of so many photons a ray without the object; 0: none" },
    { "seed", 0, KR_OPT_INT, offsetof(opts, seed), "1", "N", "of the phantom: seed of the noise" },
    { "projections", 0, KR_OPT_OUT, offsetof(opts, keep), NULL, "FILE", "write the line integrals too, as they go into the reconstruction" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON" },
    { "threads", 0, KR_OPT_INT, offsetof(opts, threads), "0", "N", "threads; 0: one per core" },
    KR_OPT_END };

/* What was read and said. */
struct study { kr_array *y, *white, *dark; double *angle; long views; double sod, sdd, pixel; bool fan, cone, curved, lengths; const char *kind; };

static void close_study(struct study *s)
{
    kr_array_unref(&s->y);
    kr_array_unref(&s->white);
    kr_array_unref(&s->dark);
    kr_free(s->angle);
}

/* A real array with the axes of projections, packed. Without @AXES: (view, row, column) or (view, column). */
static int projections(kr_array **out, const char *text)
{
    kr_source src;
    if (kr_source_parse(&src, text))
        return kr_error_code();
    bool named = src.axes;
    kr_source_clear(&src);
    kr_scoped(array) a = NULL;
    kr_auto char *three = kr_strf("%s@view,v,u", text), *two = kr_strf("%s@view,u", text);
    if (!three || !two)
        return kr_error_code();
    if (named ? kr_array_read(&a, text) : kr_array_read(&a, three) && kr_array_read(&a, two))
        return kr_error_code();
    if (a->type != KR_R32)
        return kr_fail(KR_EFORMAT, "%s: projections are real numbers, these are complex", text);
    kr_shape s = kr_array_shape(a);
    if (kr_count(s) != a->n[KR_U] * a->n[KR_V] * a->n[KR_VIEW])
        return kr_fail(KR_ESHAPE, "%s: projections have the axes view, v and u, not %s", text, kr_shape_text(s));
    *out = kr_array_copy(a);
    return *out ? 0 : kr_error_code();
}

/* All numbers of an array, whatever its axes; NULL: it is not there. */
static double *numbers(const char *text, long *count)
{
    kr_scoped(array) a = NULL;
    if (kr_array_read(&a, text) || a->type != KR_R32)
        return NULL;
    kr_scoped(array) p = kr_array_packed(a);
    *count = p ? kr_count(kr_array_shape(p)) : 0;
    double *v = p ? kr_alloc((size_t)*count, sizeof *v) : NULL;
    for (long i = 0; v && i < *count; i++)
        v[i] = (double)KR_R(p)[i];
    return v;
}

static int one_number(double *to, const char *file, const char *var)
{
    kr_auto char *text = kr_strf("%s:%s", file, var);
    long n = 0;
    kr_auto double *v = text ? numbers(text, &n) : NULL;
    if (!v || n != 1)
        return kr_fail(KR_EFORMAT, "%s: %s, a single number, is missing", file, var);
    *to = v[0];
    return 0;
}

/* Whether a file is HDF5: of other formats the name of a variable within the file says nothing. */
static bool is_hdf5(const char *file)
{
    char head[8] = { 0 };
    FILE *f = fopen(file, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "\x89HDF\r\n\x1a\n", sizeof head);
    if (f)
        fclose(f);
    return is;
}

/* Data Exchange and the files of the Helsinki Tomography Challenge know all of themselves. 1: one of them, 0: neither, or a refusal. */
static int known_file(struct study *s, const char *file, const kr_trace *trace)
{
    size_t n = strlen(file);
    if (strchr(file, '@'))
        return 0;
    if (n > 4 && !strcasecmp(file + n - 4, ".mat")) {
        static const char *const kinds[] = { "CtDataFull", "CtDataLimited" };
        for (int i = 0; i < 2; i++) {
            kr_auto char *text = kr_strf("%s:%s.sinogram@view,u", file, kinds[i]), *angles = kr_strf("%s:%s.parameters.angles", file, kinds[i]);
            kr_auto char *sod = kr_strf("%s.parameters.distanceSourceOrigin", kinds[i]), *sdd = kr_strf("%s.parameters.distanceSourceDetector", kinds[i]);
            kr_auto char *pixel = kr_strf("%s.parameters.pixelSizePost", kinds[i]);
            if (!text || !angles || !sod || !sdd || !pixel)
                return kr_error_code();
            if (projections(&s->y, text))
                continue;
            s->fan = true;
            s->lengths = true;
            s->kind = "Helsinki Tomography Challenge";
            if (one_number(&s->sod, file, sod) || one_number(&s->sdd, file, sdd) || one_number(&s->pixel, file, pixel) || !(s->angle = numbers(angles, &s->views)))
                return kr_error_code();
            return 1;
        }
        kr_error_clear();
        return 0;
    }
    if (!is_hdf5(file))
        return 0;
    kr_auto char *data = kr_strf("%s:exchange/data@view,v,u", file), *white = kr_strf("%s:exchange/data_white@view,v,u", file);
    kr_auto char *dark = kr_strf("%s:exchange/data_dark@view,v,u", file), *theta = kr_strf("%s:exchange/theta", file);
    if (!data || !white || !dark || !theta)
        return kr_error_code();
    if (projections(&s->y, data)) {
        kr_error_clear();
        return 0;
    }
    s->kind = "Data Exchange";
    if (projections(&s->white, white))
        kr_say(trace, KR_WARNING, "%s: no white field (exchange/data_white)", file);
    if (projections(&s->dark, dark))
        kr_say(trace, KR_WARNING, "%s: no dark field (exchange/data_dark): 0 is taken", file);
    if (!(s->angle = numbers(theta, &s->views)))
        kr_say(trace, KR_WARNING, "%s: no angles (exchange/theta): half a turn in equal steps is taken, its end left out", file);
    kr_error_clear();
    return 1;
}

static int angles_between(struct study *s, const char *text)
{
    double from, to;
    long n;
    char end;
    if (sscanf(text, "%lf:%lf:%ld%c", &from, &to, &n, &end) != 3 || n < 1 || n > 1000000)
        return kr_fail(KR_EUSAGE, "angles=%s: FROM:TO:N in degrees is wanted, such as 0:360:720", text);
    kr_free(s->angle);
    s->angle = kr_alloc((size_t)n, sizeof *s->angle);
    s->views = n;
    for (long i = 0; s->angle && i < n; i++)
        s->angle[i] = from + (to - from) * (double)i / (double)n;
    return s->angle ? 0 : kr_error_code();
}

static int geometry(struct study *s, const char *text)
{
    kr_auto char *words = kr_strdup(text);
    if (!words)
        return kr_error_code();
    char *rest = strchr(words, ':');
    if (rest)
        *rest++ = 0;
    s->fan = !strcmp(words, "fan");
    s->cone = !strcmp(words, "cone");
    if (!s->fan && !s->cone && strcmp(words, "parallel"))
        return kr_fail(KR_EUSAGE, "there is no geometry '%s'; known are parallel, fan, cone", words);
    for (char *save = NULL, *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
        char *value = strchr(w, '='), *end = NULL;
        if (!value)
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' has no value; NAME=VALUE is wanted", text, w);
        *value++ = 0;
        double *to = !strcmp(w, "sod") ? &s->sod : !strcmp(w, "sdd") ? &s->sdd : !strcmp(w, "pixel") ? &s->pixel : NULL;
        if (to) {
            *to = strtod(value, &end);
            if (!*value || *end || !(*to > 0) || !isfinite(*to))
                return kr_fail(KR_EUSAGE, "--geometry: %s=%s; a length in mm, above 0, is wanted", w, value);
            s->lengths |= to == &s->pixel;
        } else if (!strcmp(w, "angles")) {
            if (angles_between(s, value))
                return kr_error_code();
        } else if (!strcmp(w, "curved")) {
            s->curved = !strcmp(value, "yes");
            if (!s->fan || (!s->curved && strcmp(value, "no")))
                return kr_fail(KR_EUSAGE, s->fan ? "--geometry: curved=%s; yes or no is wanted" : "--geometry: curved=%s is for fan beams", value);
        } else
            return kr_fail(KR_EUSAGE, "--geometry %s: '%s' is not known; known are sod, sdd, pixel, angles, curved", text, w);
    }
    if (!s->fan && !s->cone && (s->sod > 0 || s->sdd > 0))
        return kr_fail(KR_EUSAGE, "--geometry %s: a parallel beam has no source, so that sod= and sdd= say nothing", text);
    if ((s->fan || s->cone) && (!(s->sod > 0) || !(s->sdd > 0) || !(s->pixel > 0)))
        return kr_fail(KR_EUSAGE, "--geometry %s: a %s beam wants sod= (source to axis), sdd= (source to detector) and pixel=, in mm", text, words);
    return 0;
}

/* How many photons arrive where `mean` are expected; 0 counts as a tenth, so that its logarithm exists. */
static double arrived(double mean, uint64_t seed, uint64_t ray)
{
    double n = 0;
    if (mean < 60) {                                                 /* waiting times, Knuth 1969 */
        double left = exp(-mean), p = 1;
        for (uint64_t i = 0; (p *= kr_rand_uniform(seed, ray, i)) > left; i++)
            n++;
    } else {
        double z[2];
        kr_rand_normal2(seed, ray, 0, z);
        n = rint(mean + sqrt(mean) * z[0]);
    }
    return n > 0 ? n : 0.1;
}

/* The head of Shepp and Logan, 90 % of the field of view: its exact line integrals, mean of 4 rays an element. */
static int phantom(struct study *s, const opts *o)
{
    if (s->cone)
        return kr_fail(KR_EREFUSED, "the phantom is one slice: parallel beams and fans");
    if (o->detector < 2 || o->detector > 1L << 16 || !(o->photons >= 0) || !isfinite(o->photons))
        return kr_fail(KR_EUSAGE, "--detector counts columns (2 to 65536), --photons must not be negative");
    s->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = o->detector, [KR_VIEW] = s->views));
    kr_detector d = { o->detector, 1, { s->pixel, 0 }, { 0, 0 } };
    kr_rays *r = !s->y ? NULL : s->fan ? kr_rays_cone(&d, s->sod, s->sdd, s->curved, s->views, s->angle, NULL) : kr_rays_parallel(&d, s->views, s->angle);
    if (!r)
        return kr_error_code();
    kr_grid g = kr_grid_of(r);
    kr_ellipsoid e[10];
    double radius = 0.45 * fabs(g.step[0]) * (double)g.n[0];
    long count = kr_shepp_logan(e, radius, 2 / radius, false, true), n = s->views * o->detector;
    kr_ellipsoids_scan(KR_R(s->y), e, count, r, 4);
    kr_rays_unref(&r);
    for (long i = 0; o->photons > 0 && i < n; i++)
        KR_R(s->y)[i] = (float)-log(arrived(o->photons * exp(-(double)KR_R(s->y)[i]), (uint64_t)o->seed, (uint64_t)i) / o->photons);
    return 0;
}

static int open_study(struct study *s, const char *file, const opts *o, const kr_trace *trace)
{
    bool made = !strcmp(file, "phantom");
    int known = made ? 0 : known_file(s, file, trace);
    if (known < 0 || (o->geometry && geometry(s, o->geometry)))
        return kr_error_code();
    if (!known && !o->geometry)
        return kr_fail(KR_EUSAGE, "%s is neither a Data Exchange file nor one of the Helsinki Tomography Challenge: how it was measured is for --geometry to say, "
                       "such as --geometry parallel:angles=0:180:720", file);
    if (!known && !made && projections(&s->y, file))
        return kr_error_code();
    if ((o->white && projections(&s->white, o->white)) || (o->dark && projections(&s->dark, o->dark)))
        return kr_error_code();
    if (o->angles) {
        kr_free(s->angle);
        s->angle = numbers(o->angles, &s->views);
        if (!s->angle)
            return kr_error_code() ? kr_error_code() : kr_fail(KR_EFORMAT, "%s: the angles cannot be read", o->angles);
    }
    if (!s->angle) {
        if (known <= 0 || s->fan || s->cone)
            return kr_fail(KR_EUSAGE, "the angles of the views are not known: --angles FILE, or angles=FROM:TO:N in --geometry");
        char half[40];
        snprintf(half, sizeof half, "0:180:%ld", s->y->n[KR_VIEW]);
        if (angles_between(s, half))
            return kr_error_code();
    }
    if (!made && s->views != s->y->n[KR_VIEW])
        return kr_fail(KR_ESHAPE, "%ld angles for %ld views", s->views, s->y->n[KR_VIEW]);
    double low = INFINITY, high = -INFINITY;
    for (long i = 0; i < s->views; i++) {
        low = fmin(low, s->angle[i]);
        high = fmax(high, s->angle[i]);
        if (!isfinite(s->angle[i]))
            return kr_fail(KR_ENUMBER, "the angle of view %ld is not finite", i);
    }
    if (s->views > 8 && high - low < 6.4 && high - low > 0.3)
        kr_say(trace, KR_WARNING, "the angles cover %.3g degrees: are they radians? Degrees are wanted", high - low);
    for (long i = 0; i < s->views; i++)
        s->angle[i] *= M_PI / 180;
    if (!(s->pixel > 0))
        s->pixel = 1;
    return made ? phantom(s, o) : 0;
}

static kr_rays *rays(const struct study *s, long rows, double axis)
{
    kr_detector d = { s->y->n[KR_U], rows, { s->pixel, s->pixel }, { ((double)(s->y->n[KR_U] - 1) / 2 - axis) * s->pixel, 0 } };
    return s->fan || s->cone ? kr_rays_cone(&d, s->sod, s->sdd, s->curved, s->views, s->angle, NULL) : kr_rays_parallel(&d, s->views, s->angle);
}

static int slices_of(long *from, long *to, const char *text, long rows)
{
    char end;
    *from = 0;
    *to = rows;
    if (text && (sscanf(text, "%ld:%ld%c", from, to, &end) != 2 || *from < 0 || *to > rows || *from >= *to))
        return kr_fail(KR_EUSAGE, "--slices %s: FROM:TO within 0:%ld is wanted", text, rows);
    return 0;
}

/* Whether rows from..to - 1 look like counts or transmissions: the outermost columns, which the object seldom covers, are above the mean. */
static bool darker_within(const kr_array *y, long from, long to)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], lines = (to - from) * y->n[KR_VIEW];
    double edge = 0, all = 0;
    for (long i = 0; i < lines; i++) {
        const float *p = KR_R(y) + (i / (to - from) * rows + from + i % (to - from)) * columns;
        edge += ((double)p[0] + (double)p[columns - 1]) / 2;
        for (long u = 0; u < columns; u++)
            all += (double)p[u] / (double)columns;
    }
    return all > 0 && edge > 1.05 * all;
}

/* Refuses line integrals that are not finite, which would spread over the whole image. */
static int all_finite(const kr_array *y, long from, long to, const char *file)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], bad = 0, first = 0;
    for (long i = 0; i < columns * rows * y->n[KR_VIEW]; i++)
        if (i / columns % rows >= from && i / columns % rows < to && !isfinite(KR_R(y)[i]) && !bad++)
            first = i;
    return bad ? kr_fail(KR_ENUMBER, "%s: %ld of %ld line integrals are not finite, the first in view %ld, row %ld, column %ld", file, bad,
                         columns * (to - from) * y->n[KR_VIEW], first / columns / rows, first / columns % rows, first % columns) : 0;
}

static int reconstruct(kr_image **out, struct study *s, const char *file, const opts *o, json_t *j, const kr_trace *trace)
{
    long rows = s->y->n[KR_V], columns = s->y->n[KR_U], from, to;
    bool log = !strcmp(o->log, "on") || (!strcmp(o->log, "auto") && s->white);
    if (slices_of(&from, &to, s->cone ? NULL : o->slices, rows))
        return kr_error_code();
    if (s->cone && o->slices)
        return kr_fail(KR_EUSAGE, "--slices is for parallel beams and fans: a cone beam is one volume");
    if (!log && s->white)
        kr_say(trace, KR_WARNING, "--log off: the white field is not used");
    long replaced = log ? kr_ct_log(s->y, s->white, s->dark) : 0;
    if (replaced < 0)
        return (int)replaced;
    if (replaced)
        kr_say(trace, KR_WARNING, "%s: %ld of %ld transmissions were 0, negative or not finite and were replaced", file, replaced, kr_count(kr_array_shape(s->y)));
    if (all_finite(s->y, from, to, file))
        return kr_error_code();
    if (!strcmp(o->log, "auto") && !log && strcmp(file, "phantom") && darker_within(s->y, from, to))
        kr_say(trace, KR_WARNING, "%s: the numbers are larger beside the object than within it, as counts are and line integrals are not: --white FILE gives "
               "the counts without the object, --log on takes transmissions, --log off says that they are line integrals", file);
    if (o->rings && kr_ct_rings(s->y, o->rings))
        return kr_error_code();
    if (o->keep && kr_array_write(s->y, NULL, o->keep))
        return kr_error_code();
    double axis = (double)(columns - 1) / 2, mismatch = NAN;
    char *end;
    if (strcmp(o->axis, "auto")) {
        axis = strtod(o->axis, &end);
        if (!*o->axis || *end || !(axis >= 0) || !(axis <= (double)(columns - 1)))
            return kr_fail(KR_EUSAGE, "--axis %s: a column from 0 to %ld is wanted", o->axis, columns - 1);
    } else if (!s->fan && !s->cone && strcmp(file, "phantom")) {      /* whose axis is the middle */
        kr_rays *r = rays(s, rows, axis);
        int e = r ? kr_ct_axis(&axis, &mismatch, s->y, r) : kr_error_code();
        kr_rays_unref(&r);
        if (e == KR_EREFUSED) {
            kr_say(trace, KR_WARNING, "%s; the middle column %g is taken", kr_error(), axis);
            kr_error_clear();
        } else if (e)
            return e;
        else
            kr_say(trace, KR_INFO, "axis of rotation at column %.2f of %ld, where opposite views differ by %.3g of their size", axis, columns, mismatch);
    }
    kr_rays *r = rays(s, s->cone ? rows : 1, axis);
    if (!r)
        return kr_error_code();
    kr_grid g = kr_grid_of(r);
    if (!s->cone)
        g.n[2] = 1, g.first[2] = 0;
    if (o->matrix)
        g = kr_grid_centred((long[3]){ o->matrix, o->matrix, g.n[2] }, g.step);
    kr_ct_opts how = { KR_CT_FBP, (enum kr_fbp_window)kr_fbp_window_named(o->window), (int)o->iterations, o->lambda, o->positive,
                       (enum kr_ray_model)kr_ray_model_named(o->model) };
    how.method = !strcmp(o->method, "sirt") ? KR_CT_SIRT : !strcmp(o->method, "cgls") ? KR_CT_CGLS : !strcmp(o->method, "tv") ? KR_CT_TV : KR_CT_FBP;
    long count = s->cone ? 1 : to - from, each = g.n[0] * g.n[1] * g.n[2];
    kr_scoped(array) x = kr_array_new(KR_R32, KR_SHAPE([KR_X] = g.n[0], [KR_Y] = g.n[1], [KR_Z] = s->cone ? g.n[2] : count));
    kr_auto float *one = kr_alloc((size_t)(s->views * columns * (s->cone ? rows : 1)), sizeof *one);
    int e = x && one ? 0 : kr_error_code();
    double misfit = NAN;
    for (long i = 0; i < count && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, count);
        for (long v = 0; v < s->views; v++)
            memcpy(one + v * columns * (s->cone ? rows : 1), KR_R(s->y) + (v * rows + (s->cone ? 0 : from + i)) * columns, (size_t)(columns * (s->cone ? rows : 1)) * sizeof *one);
        e = kr_ct_solve(KR_R(x) + i * each, &misfit, one, r, &g, &how, t);
    }
    kr_rays_unref(&r);
    if (e)
        return e;
    for (long i = 0, n = kr_count(kr_array_shape(x)); o->water > 0 && i < n; i++)
        KR_R(x)[i] = (float)(1000 * ((double)KR_R(x)[i] / o->water - 1));
    kr_geom *geom = kr_geom_new(1);
    *out = geom ? kr_image_new(x, geom, NULL) : NULL;
    kr_geom_unref(&geom);
    if (!*out)
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        (*out)->geom->fov_mm[d] = fabs(g.step[d]) * (double)(d < 2 || s->cone ? g.n[d] : count);
    const char *unit = o->water > 0 ? "HU" : s->lengths ? "1/mm" : "1/pixel";
    kr_text words = { 0 };
    kr_text_add(&words, "window=%s iterations=%ld lambda=%g nonneg=%d model=%s axis=%.4f rings=%ld log=%d", o->window, o->iterations, o->lambda, o->positive, o->model, axis,
                o->rings, log);
    e = kr_meta_set((*out)->meta, "upright", "x to the right, y up") || kr_meta_set((*out)->meta, "unit", "%s", unit) || kr_meta_provenance((*out)->meta, kr_command_line(), o->method, words.s, &file, strcmp(file, "phantom") ? 1 : 0) ? kr_error_code() : 0;
    kr_text_clear(&words);
    json_object_set_new(j, "shape", json_shape(kr_array_shape(x)));
    json_object_set_new(j, "unit", json_words(unit));
    json_object_set_new(j, "views", json_integer(s->views));
    json_object_set_new(j, "axis_column", json_number(axis));
    json_object_set_new(j, "axis_mismatch", json_number(mismatch));
    json_object_set_new(j, "pixel_mm", json_number(s->lengths ? fabs(g.step[0]) : (double)NAN));
    json_object_set_new(j, "misfit", json_number(misfit));
    json_object_set_new(j, "replaced", json_integer(replaced));
    if (!s->lengths)
        kr_say(trace, KR_WARNING, "%s: the size of the detector's elements is not known, so that lengths are in elements (--geometry parallel:pixel=MM says it)", file);
    return e;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files != 1)
        return kr_fail(KR_EUSAGE, files ? "one scan at a time, not %d files" : "no input is given", files);
    if (!o->output)
        return kr_fail(KR_EUSAGE, "where should the image go? Give -o OUT, for example -o volume.nii.gz");
    bool iterates = strcmp(o->method, "fbp");
    if (o->iterations < 1 || o->iterations > 1000000 || o->matrix < 0 || o->matrix > 32768 || o->threads < 0 || !(o->lambda >= 0) || !(o->water >= 0))
        return kr_fail(KR_EUSAGE, "--iterations, --matrix, --threads, --lambda and --water must not be negative, and at least one iteration is wanted");
    if (!iterates && o->positive)
        return kr_fail(KR_EUSAGE, "--nonneg is for sirt and tv: filtered back-projection has values below 0");
    if (!iterates && (o->iterations != 100 || strcmp(o->model, "joseph")))
        return kr_fail(KR_EUSAGE, "--iterations and --model are for sirt, cgls and tv: filtered back-projection has neither");
    if (strcmp(o->method, "tv") && (o->lambda < 0.001 || o->lambda > 0.001))
        return kr_fail(KR_EUSAGE, "--lambda is for tv, not for %s", o->method);
    if (iterates && strcmp(o->window, "ramp"))
        return kr_fail(KR_EUSAGE, "--window is for fbp: %s has no filter", o->method);
    if (!strcmp(o->method, "cgls") && o->positive)
        return kr_fail(KR_EUSAGE, "--nonneg is for sirt and tv: conjugate gradients know no bounds");
    if (strcmp(file[0], "phantom") && (o->photons > 0 || o->detector != 256 || o->seed != 1))
        return kr_fail(KR_EUSAGE, "--detector, --photons and --seed are for the phantom: %s is measured", file[0]);
    if (kr_can_write(KR_PICTURE, o->output, NULL) || (o->keep && kr_can_write(KR_PLAIN, o->keep, NULL)))
        return kr_error_code();
    bool made = !strcmp(file[0], "phantom");
    if (!made && (kr_output_apart(o->output, file[0]) || (o->keep && kr_output_apart(o->keep, file[0]))))
        return kr_error_code();
    if (o->threads)
        kr_threads_set((int)o->threads);
    struct answer a;
    struct study s = { 0 };
    double start = kr_seconds();
    answer_begin(&a, o->json, trace);
    json_t *j = answer_add(&a, o->output);
    json_object_set_new(j, "input", json_words(file[0]));
    kr_scoped(image) image = NULL;
    int e = open_study(&s, file[0], o, &a.trace);
    if (!e) {
        kr_say(&a.trace, KR_INFO, "%s%s%s: %ld views of %ld x %ld elements, %s beam", file[0], s.kind ? ", " : "", s.kind ? s.kind : "", s.views, s.y->n[KR_U], s.y->n[KR_V],
               s.cone ? "cone" : s.fan ? "fan" : "parallel");
        e = reconstruct(&image, &s, file[0], o, j, &a.trace);
    }
    e = e ? e : kr_image_check(image);
    e = e ? e : kr_image_write(image, o->output, NULL);
    if (!e) {
        kr_say(&a.trace, KR_INFO, "%s: %s, %s, %.2f s", o->output, kr_shape_text(kr_array_shape(image->data)), o->method, kr_seconds() - start);
        json_object_set_new(j, "seconds", json_number(kr_seconds() - start));
    } else
        answer_failed(&a);
    close_study(&s);
    return answer_end(&a, e);
}

const kr_tool kr_tool_ct = { "ct", "Reconstruct", "projections of an X-ray scan in, an image out", "IN|phantom -o OUT [options]",
    "  kray ct phantom -o head.nii.gz --geometry parallel:angles=0:180:60 --photons 1e5 --method tv     # Shepp and Logan's head, sparse and noisy\n"
    "  kray ct tooth.h5 -o tooth.nii.gz                              # Data Exchange: flats, darks, angles; the axis of rotation is found\n"
    "  kray ct htc2022_ta_full.mat -o ta.nii.gz --method tv          # Helsinki Tomography Challenge\n"
    "  kray ct sino.npy -o slice.nii.gz --geometry parallel:pixel=0.4,angles=0:180:720 --window hann\n"
    "  kray ct fan.h5:sinogram -o slice.nii.gz --angles fan.h5:angles_deg --geometry fan:sod=410.66,sdd=553.74,pixel=0.2\n"
    "  kray ct cone.npy -o volume.nii.gz --geometry cone:sod=500,sdd=1000,pixel=0.8,angles=0:360:360\n"
    "  kray ct sparse.npy -o slice.nii.gz --geometry parallel:angles=0:180:45 --method tv --lambda 0.001 --nonneg\n",
    table, sizeof(opts), NULL, run };
