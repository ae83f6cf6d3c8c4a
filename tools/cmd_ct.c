/* cmd_ct.c: kray ct IN -o OUT: projections of an X-ray scan to an image. */
#include "json.h"
#include "kray/ct.h"
#include "kray/projections.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts {
    const char *output, *geometry, *angles, *white, *dark, *log, *axis, *method, *window, *slices, *model, *harden;
    long iterations, matrix, rings, stripes, threads;
    double lambda, water, photons;
    const char *keep;
    long detector, seed;
    bool positive, json;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "image file" },
    { "geometry", 'g', KR_OPT_TEXT, offsetof(opts, geometry), NULL, "SPEC", "parallel, fan, cone[:sod=MM,sdd=MM,pixel=MM,angles=FROM:TO:N,vectors=FILE,turn=right,flip=uv,...], or FILE.xml of RTK" },
    { "angles", 0, KR_OPT_TEXT, offsetof(opts, angles), NULL, "FILE[:VAR]", "angles of the views in degrees; also a text file" },
    { "white", 0, KR_OPT_TEXT, offsetof(opts, white), NULL, "FILE[:VAR]@AXES", "counts without the object (flat field)" },
    { "dark", 0, KR_OPT_TEXT, offsetof(opts, dark), NULL, "FILE[:VAR]@AXES", "counts without the beam" },
    { "log", 0, KR_OPT_CHOICE, offsetof(opts, log), "auto", "auto|on|off", "-log of the transmission; auto: where a white field is" },
    { "axis", 0, KR_OPT_TEXT, offsetof(opts, axis), "auto", "COLUMN|auto", "detector column of the axis of rotation, from 0; auto: found where lines were measured twice, else the middle" },
    { "rings", 0, KR_OPT_INT, offsetof(opts, rings), "0", "N", "remove rings: median over N columns of sorted values (31, say); 0: no" },
    { "rings-wavelet", 0, KR_OPT_INT, offsetof(opts, stripes), "0", "N", "remove rings of up to 2^N columns by wavelets (2, say); 0: no" },
    { "beam-hardening", 0, KR_OPT_TEXT, offsetof(opts, harden), NULL, "A,B,...", "line integrals p become A p + B p^2 + ..." },
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

/* The head of Shepp and Logan, 90 % of the field of view: its exact line integrals, mean of 4 rays an element. */
static int phantom(kr_projections *s, const opts *o)
{
    if (s->volume)
        return kr_fail(KR_EREFUSED, "the phantom is one slice: parallel beams and fans");
    if (o->detector < 2 || o->detector > 1L << 16 || !(o->photons >= 0) || !isfinite(o->photons))
        return kr_fail(KR_EUSAGE, "--detector counts columns (2 to 65536), --photons must not be negative");
    s->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = o->detector, [KR_VIEW] = s->views ? s->views : 1));
    kr_rays *r = s->y ? kr_projections_rays(s, 1, (double)(o->detector - 1) / 2) : NULL;
    if (!r)
        return kr_error_code();
    kr_grid g = kr_grid_of(r);
    kr_ellipsoid e[10];
    double radius = 0.45 * fabs(g.step[0]) * (double)g.n[0];
    long count = kr_shepp_logan(e, radius, 2 / radius, false, true), n = s->views * o->detector;
    kr_ellipsoids_scan(KR_R(s->y), e, count, r, 4);
    kr_rays_unref(&r);
    if (o->photons > 0)
        kr_photons(KR_R(s->y), n, o->photons, 0, (uint64_t)o->seed);
    return 0;
}

static int open_study(kr_projections **out, const char *file, const opts *o, const kr_trace *trace)
{
    bool made = !strcmp(file, "phantom");
    kr_projections *p = NULL;
    if (made ? !(p = kr_alloc_zero(1, sizeof *p)) : kr_projections_read(&p, file, trace))
        return kr_error_code();
    *out = p;
    if (!p->kind && !o->geometry)
        return kr_fail(KR_EUSAGE, "%s does not say how it was measured, as %s would: it is for --geometry to say, such as --geometry parallel:angles=0:180:720", file,
                       "Data Exchange and challenges' files");
    if ((o->geometry && kr_projections_geometry(p, o->geometry)) || (o->angles && kr_projections_angles(p, o->angles)))
        return kr_error_code();
    if ((o->white && kr_projections_array(&p->white, o->white)) || (o->dark && kr_projections_array(&p->dark, o->dark)))
        return kr_error_code();
    double low = INFINITY, high = -INFINITY;
    for (long i = 0; i < p->views; i++) {
        low = fmin(low, p->angle[i]);
        high = fmax(high, p->angle[i]);
    }
    if (!p->rays && p->views > 8 && high - low < 6.4 && high - low > 0.3)
        kr_say(trace, KR_WARNING, "the angles cover %.3g degrees: are they radians? Degrees are wanted", high - low);
    return made ? phantom(p, o) : 0;
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

static int harden(kr_array *y, const char *text)
{
    double factor[16];
    int n = 0;
    for (const char *p = text; ; p++) {
        char *end;
        double v = strtod(p, &end);
        if (end == p || (*end && *end != ',') || n == 16 || !isfinite(v))
            return kr_fail(KR_EUSAGE, "--beam-hardening %s: up to 16 numbers with commas between them are wanted, such as 1,0.05", text);
        factor[n++] = v;
        if (!*end)
            return kr_ct_polynomial(y, factor, n);
        p = end;
    }
}

/* The axis of fans and cones on a full turn; the middle where nothing speaks for another. Warns where the views seem to turn the other way. */
static int fan_axis(double *axis, double *mismatch, const kr_projections *s, const char *file, const kr_trace *trace)
{
    double column, before, otherwise;
    kr_rays *r = kr_projections_rays(s, s->y->n[KR_V], *axis);
    int e = r ? kr_ct_axis_fan(&column, mismatch, &before, &otherwise, s->y, r) : kr_error_code();
    kr_rays_unref(&r);
    if (e == KR_EREFUSED || e == KR_ENUMBER) {                       /* no full turn: what the file says */
        kr_error_clear();
        return 0;
    }
    if (e)
        return e;
    if (otherwise < 0.7 * *mismatch)
        kr_say(trace, KR_WARNING, "%s: rays and those that run the other way differ by %.3g of their size, but by %.3g where the views turn the other way about: is the direction of rotation "
               "right? --geometry ...,turn=right counts angles clockwise, flip=u turns the detector's columns about", file, *mismatch, otherwise);
    else if (fabs(column - *axis) > 0.25 && *mismatch < 0.8 * before && *mismatch < 0.3) {
        kr_say(trace, KR_INFO, "axis of rotation at column %.2f of %ld, where rays in both directions differ by %.3g of their size; %.3g in the middle", column, s->y->n[KR_U], *mismatch, before);
        *axis = column;
    }
    return 0;
}

static int reconstruct(kr_image **out, kr_projections *s, const char *file, const opts *o, json_t *j, const kr_trace *trace)
{
    long rows = s->y->n[KR_V], columns = s->y->n[KR_U], from, to;
    bool log = !strcmp(o->log, "on") || (!strcmp(o->log, "auto") && s->white);
    if (slices_of(&from, &to, s->volume ? NULL : o->slices, rows))
        return kr_error_code();
    if (s->volume && o->slices)
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
    if ((o->rings && kr_ct_rings(s->y, o->rings)) || (o->stripes && kr_ct_rings_wavelet(s->y, (int)o->stripes, 1)) || (o->harden && harden(s->y, o->harden)))
        return kr_error_code();
    if (o->keep && kr_array_write(s->y, NULL, o->keep))
        return kr_error_code();
    double axis = (double)(columns - 1) / 2, mismatch = NAN;
    char *end;
    if (strcmp(o->axis, "auto")) {
        axis = strtod(o->axis, &end);
        if (!*o->axis || *end || !(axis >= 0) || !(axis <= (double)(columns - 1)))
            return kr_fail(KR_EUSAGE, "--axis %s: a column from 0 to %ld is wanted", o->axis, columns - 1);
    } else if (s->beam == KR_PARALLEL && strcmp(file, "phantom")) {      /* whose axis is the middle */
        kr_rays *r = kr_projections_rays(s, rows, axis);
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
    else if (s->beam == KR_DIVERGENT && strcmp(file, "phantom") && fan_axis(&axis, &mismatch, s, file, trace))
        return kr_error_code();
    kr_rays *r = kr_projections_rays(s, s->volume ? rows : 1, axis);
    if (!r)
        return kr_error_code();
    kr_grid g = kr_grid_of(r);
    if (!s->volume)
        g.n[2] = 1, g.first[2] = 0;
    if (s->grid.n[0] && !o->matrix)
        g = s->grid;
    if (o->matrix)
        g = kr_grid_centred((long[3]){ o->matrix, o->matrix, g.n[2] }, g.step);
    kr_ct_opts how = { KR_CT_FBP, (enum kr_fbp_window)kr_fbp_window_named(o->window), (int)o->iterations, o->lambda, o->positive,
                       (enum kr_ray_model)kr_ray_model_named(o->model) };
    how.method = !strcmp(o->method, "sirt") ? KR_CT_SIRT : !strcmp(o->method, "cgls") ? KR_CT_CGLS : !strcmp(o->method, "tv") ? KR_CT_TV : KR_CT_FBP;
    long count = s->volume ? 1 : to - from, each = g.n[0] * g.n[1] * g.n[2];
    kr_scoped(array) x = kr_array_new(KR_R32, KR_SHAPE([KR_X] = g.n[0], [KR_Y] = g.n[1], [KR_Z] = s->volume ? g.n[2] : count));
    kr_auto float *one = kr_alloc((size_t)(s->y->n[KR_VIEW] * columns * (s->volume ? rows : 1)), sizeof *one);
    int e = x && one ? 0 : kr_error_code();
    double misfit = NAN;
    for (long i = 0; i < count && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, count);
        for (long v = 0; v < s->y->n[KR_VIEW]; v++)
            memcpy(one + v * columns * (s->volume ? rows : 1), KR_R(s->y) + (v * rows + (s->volume ? 0 : from + i)) * columns, (size_t)(columns * (s->volume ? rows : 1)) * sizeof *one);
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
        (*out)->geom->fov_mm[d] = fabs(g.step[d]) * (double)(d < 2 || s->volume ? g.n[d] : count);
    const char *unit = o->water > 0 ? "HU" : s->unit ? s->unit : s->lengths ? "1/mm" : "1/pixel";
    kr_text words = { 0 };
    kr_text_add(&words, "window=%s iterations=%ld lambda=%g nonneg=%d model=%s axis=%.4f rings=%ld log=%d", o->window, o->iterations, o->lambda, o->positive, o->model, axis,
                o->rings, log);
    e = kr_meta_set((*out)->meta, "upright", "x to the right, y up") || kr_meta_set((*out)->meta, "unit", "%s", unit) || kr_meta_provenance((*out)->meta, kr_command_line(), o->method, words.s, &file, strcmp(file, "phantom") ? 1 : 0) ? kr_error_code() : 0;
    kr_text_clear(&words);
    json_object_set_new(j, "shape", json_shape(kr_array_shape(x)));
    json_object_set_new(j, "unit", json_words(unit));
    json_object_set_new(j, "views", json_integer(s->y->n[KR_VIEW]));
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
    if (o->rings && o->stripes)
        return kr_fail(KR_EUSAGE, "--rings and --rings-wavelet are two ways to the same end: one of them");
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
    kr_projections *s = NULL;
    double start = kr_seconds();
    answer_begin(&a, o->json, trace);
    json_t *j = answer_add(&a, o->output);
    json_object_set_new(j, "input", json_words(file[0]));
    kr_scoped(image) image = NULL;
    int e = open_study(&s, file[0], o, &a.trace);
    if (!e) {
        kr_say(&a.trace, KR_INFO, "%s%s%s: %ld views of %ld x %ld elements, %s beam", file[0], s->kind ? ", " : "", s->kind ? s->kind : "", s->y->n[KR_VIEW], s->y->n[KR_U], s->y->n[KR_V],
               s->volume ? "cone" : s->beam == KR_DIVERGENT ? "fan" : "parallel");
        e = reconstruct(&image, s, file[0], o, j, &a.trace);
    }
    e = e ? e : kr_image_check(image);
    e = e ? e : kr_image_write(image, o->output, NULL);
    if (!e) {
        kr_say(&a.trace, KR_INFO, "%s: %s, %s, %.2f s", o->output, kr_shape_text(kr_array_shape(image->data)), o->method, kr_seconds() - start);
        json_object_set_new(j, "seconds", json_number(kr_seconds() - start));
    } else
        answer_failed(&a);
    kr_projections_unref(&s);
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
