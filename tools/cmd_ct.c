/* cmd_ct.c: kray ct IN -o OUT: projections of an X-ray scan to an image. */
#include "json.h"
#include "kray/ct.h"
#include "kray/pages.h"
#include "kray/projections.h"
#include "method.h"
#include "rows.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts {
    const char *output, *geometry, *angles, *white, *dark, *log, *axis, *method, *slices, *model, *harden;
    long matrix, rings, stripes, threads;
    double water, air, photons, voxel, metal;
    long bin;
    const char *box, *slice;
    const char *keep;
    long detector, seed;
    int64_t memory;
    bool plan, json;
} opts;

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), NULL, "OUT", "image file" },
    { "geometry", 'g', KR_OPT_TEXT, offsetof(opts, geometry), NULL, "SPEC", "parallel, fan, cone[:sod=MM,sdd=MM,pixel=MM,angles=FROM:TO:N,vectors=FILE,turn=right,flip=uv,...], or FILE.xml of RTK" },
    { "angles", 0, KR_OPT_TEXT, offsetof(opts, angles), NULL, "FILE[:VAR]", "angles of the views in degrees; also a text file" },
    { "white", 0, KR_OPT_TEXT, offsetof(opts, white), NULL, "FILE[:VAR]@AXES|N", "counts without the object (flat field); a number: the same for all elements" },
    { "dark", 0, KR_OPT_TEXT, offsetof(opts, dark), NULL, "FILE[:VAR]@AXES|N", "counts without the beam; a number: the same for all elements" },
    { "log", 0, KR_OPT_CHOICE, offsetof(opts, log), "auto", "auto|on|off", "-log of the transmission; auto: where a white field is" },
    { "axis", 0, KR_OPT_TEXT, offsetof(opts, axis), "auto", "COLUMN|auto", "detector column of the axis of rotation, from 0; auto: found where lines were measured twice, else the middle" },
    { "rings", 0, KR_OPT_INT, offsetof(opts, rings), "0", "N", "remove rings: median over N columns of sorted values (31, say); 0: no" },
    { "rings-wavelet", 0, KR_OPT_INT, offsetof(opts, stripes), "0", "N", "remove rings of up to 2^N columns by wavelets (2, say); 0: no" },
    { "beam-hardening", 0, KR_OPT_TEXT, offsetof(opts, harden), NULL, "A,B,...", "line integrals p become A p + B p^2 + ..." },
    { "metal", 0, KR_OPT_REAL, offsetof(opts, metal), "0", "X", "metal artefact reduction: voxels above X (per mm, or with --water HU) are metal, and rays through them are interpolated; 0: no" },
    { "method", 'm', KR_OPT_TEXT, offsetof(opts, method), "fbp", "NAME", "reconstruction method; 'list' shows all" },
    { "model", 0, KR_OPT_CHOICE, offsetof(opts, model), "joseph", "joseph|distance|line|strip", "projector of the iterative methods: what a pixel adds to a ray" },
    { "slices", 0, KR_OPT_TEXT, offsetof(opts, slices), NULL, "FROM:TO", "parallel: these rows of the detector alone, TO left out" },
    { "matrix", 0, KR_OPT_INT, offsetof(opts, matrix), "0", "N", "pixels of the image along x and y; 0: as many as the views see" },
    { "voxel", 0, KR_OPT_REAL, offsetof(opts, voxel), "0", "MM", "size of the voxels; 0: of a detector element at the axis" },
    { "box", 0, KR_OPT_TEXT, offsetof(opts, box), NULL, "X0:X1,Y0:Y1[,Z0:Z1]", "reconstruct only the voxels between these positions in mm, a part of the same image (fbp)" },
    { "slice", 0, KR_OPT_TEXT, offsetof(opts, slice), NULL, "Z", "cones: the slice at this height in mm alone, as a quick look (fbp)" },
    { "bin", 0, KR_OPT_INT, offsetof(opts, bin), "1", "N", "take the mean of N detector elements (of volumes N x N)" },
    { "water", 0, KR_OPT_REAL, offsetof(opts, water), "0", "MU", "attenuation of water per mm: the image is then in Hounsfield units" },
    { "air", 0, KR_OPT_REAL, offsetof(opts, air), "0", "MU", "of Hounsfield units: what the image shows for air, where it is not 0" },
    { "detector", 0, KR_OPT_INT, offsetof(opts, detector), "256", "N", "of the phantom: columns of the detector" },
    { "photons", 0, KR_OPT_REAL, offsetof(opts, photons), "0", "I0", "of the phantom: Poisson noise of so many photons a ray without the object; 0: none" },
    { "seed", 0, KR_OPT_INT, offsetof(opts, seed), "1", "N", "of the phantom: seed of the noise" },
    { "projections", 0, KR_OPT_OUT, offsetof(opts, keep), NULL, "FILE", "write the line integrals too, as they go into the reconstruction" },
    ROW_MEMORY(opts),
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "print shapes, memory and time, and run nothing" },
    ROW_JSON(opts),
    ROW_THREADS(opts),
    KR_OPT_END };

static struct method method;
static bool given_model;

static int more(kr_opt_group *room, int count, int argc, char **argv)
{
    (void)count;
    given_model = method_given(table, "model", argc, argv);
    return method_parse(&method, "fbp", room, argc, argv);
}

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

/* A white or dark field; one frame of two axes has the detector's rows, where there are several. */
static int field(kr_array **out, const char *source, const kr_array *y)
{
    if (kr_projections_array(out, source))
        return kr_error_code();
    if (y->n[KR_V] == 1 || (*out)->n[KR_V] > 1 || (*out)->n[KR_VIEW] != y->n[KR_V])
        return 0;
    kr_array *frame = kr_array_rename(*out, KR_V, KR_VIEW);
    kr_array_unref(out);
    *out = frame;
    return frame ? 0 : kr_error_code();
}

/* A field from a file, or a number that all elements have. */
static int field_or_number(kr_array **out, const char *name, const char *text, double least, const kr_array *y)
{
    char *end;
    double level = strtod(text, &end);
    if (!*text || *end)
        return field(out, text, y);
    if (!(level >= least) || !isfinite(level))
        return kr_fail(KR_EUSAGE, "--%s %s: counts %s 0 are wanted", name, text, least > 0 ? "above" : "from");
    kr_array_unref(out);
    *out = kr_array_new(KR_R32, KR_SHAPE([KR_U] = y->n[KR_U], [KR_V] = y->n[KR_V]));
    if (!*out)
        return kr_error_code();
    kr_fill(*out, (float)level);
    return 0;
}

/* The geometry in words after the angles of a file, which turn=right counts the other way about. */
static int geometry_of(kr_projections *p, const opts *o, const char *file)
{
    if (o->angles && o->geometry && strstr(o->geometry, "angles="))
        return kr_fail(KR_EUSAGE, "--angles %s and angles= in --geometry both say the angles: one of them is wanted", o->angles);
    bool own = p->rays;
    if (o->angles && kr_projections_angles(p, o->angles))
        return kr_error_code();
    if (o->geometry && kr_projections_geometry(p, o->geometry))
        return kr_error_code();
    if (o->angles && p->rays)
        return kr_fail(KR_EUSAGE, "--geometry %s says where each view lies; --angles %s would contradict it", o->geometry, o->angles);
    if (o->angles && own && !o->geometry)
        return kr_fail(KR_EUSAGE, "%s says where each view lies; with other angles --geometry is to say the rest, such as --geometry cone:sod=120,sdd=800,pixel=0.127", file);
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
    if (geometry_of(p, o, file) || (o->white && field_or_number(&p->white, "white", o->white, 1e-30, p->y)) || (o->dark && field_or_number(&p->dark, "dark", o->dark, 0, p->y)))
        return kr_error_code();
    if (made) {                                                      /* elements of 1 mm, unless it is said otherwise */
        p->integrals = p->lengths = true;
        p->pixel[0] = p->pixel[0] > 0 ? p->pixel[0] : 1;
    }
    return made ? phantom(p, o) : 0;
}

static int harden(kr_ct_opts *c, const char *text)
{
    for (const char *p = text; ; p++) {
        char *end;
        double v = strtod(p, &end);
        if (end == p || (*end && *end != ',') || c->terms == 16 || !isfinite(v))
            return kr_fail(KR_EUSAGE, "--beam-hardening %s: up to 16 numbers with commas between them are wanted, such as 1,0.05", text);
        c->harden[c->terms++] = v;
        if (!*end)
            return 0;
        p = end;
    }
}

static int what_is_asked(kr_ct_opts *c, const opts *o, const kr_projections *p, bool made)
{
    char end, *rest;
    *c = kr_ct_preset();
    c->log = o->log;
    c->rings = o->rings;
    c->stripes = (int)o->stripes;
    c->matrix = o->matrix;
    c->model = (enum kr_ray_model)kr_ray_model_named(o->model);
    c->keep = o->keep;
    if (o->harden && harden(c, o->harden))
        return kr_error_code();
    c->voxel = o->voxel;
    c->bin = o->bin;
    c->boxed = o->box || o->slice;
    if (c->boxed && method.asked && !(method.asked->needs & KR_RAYS_DIRECT))
        return kr_fail(KR_EUSAGE, "--box and --slice are for fbp and gridding: iterations would put into the part what lies outside of it");
    for (int d = 0; d < 3; d++) {
        c->box[d][0] = -INFINITY;
        c->box[d][1] = INFINITY;
    }
    if (o->box) {
        double *b = c->box[0];
        int got = sscanf(o->box, "%lf:%lf,%lf:%lf,%lf:%lf%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &end);
        if ((got != 4 && got != 6) || !(b[0] < b[1]) || !(b[2] < b[3]) || (got == 6 && !(b[4] < b[5])) || (got == 6 && !p->volume))
            return kr_fail(KR_EUSAGE, "--box %s: X0:X1,Y0:Y1 in mm is wanted, and for cones maybe ,Z0:Z1, each from less to more", o->box);
    }
    if (o->slice) {
        double z = strtod(o->slice, &rest);
        if (!p->volume || !*o->slice || *rest || !isfinite(z))
            return kr_fail(KR_EUSAGE, p->volume ? "--slice %s: a height in mm is wanted" : "--slice %s is for cones; rows of parallel beams and fans are slices: --slices FROM:TO", o->slice);
        c->box[2][0] = c->box[2][1] = z;
    }
    if (made)                                                        /* its axis is the middle */
        c->axis = (double)(p->y->n[KR_U] - 1) / 2;
    if (strcmp(o->axis, "auto")) {
        c->axis = strtod(o->axis, &rest);
        if (!*o->axis || *rest || !isfinite(c->axis))
            return kr_fail(KR_EUSAGE, "--axis %s: a column from 0 to %ld is wanted", o->axis, p->y->n[KR_U] - 1);
    }
    if (o->slices && p->volume)
        return kr_fail(KR_EUSAGE, "--slices is for parallel beams and fans: a cone beam is one volume");
    if (o->slices && (sscanf(o->slices, "%ld:%ld%c", &c->from, &c->to, &end) != 2 || c->to < 1))
        return kr_fail(KR_EUSAGE, "--slices %s: FROM:TO within 0:%ld is wanted", o->slices, p->y->n[KR_V]);
    return 0;
}

static void tell(json_t *j, kr_job *job, const long n[3], const kr_scan *s, const kr_ct_facts *f, const kr_projections *p, const kr_meta *meta)
{
    const char *unit = kr_meta_get(meta, "unit");
    json_object_set_new(j, "shape", json_shape(KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2])));
    json_object_set_new(j, "unit", json_words(unit ? unit : ""));
    json_object_set_new(j, "method", json_words(kr_job_method(job)->name));
    json_object_set_new(j, "parameters", json_options(kr_job_method(job)->opts, kr_job_values(job)));
    json_object_set_new(j, "views", json_integer(s->rays->views));
    json_object_set_new(j, "axis_column", json_number(f->axis));
    json_object_set_new(j, "axis_mismatch", json_number(f->mismatch));
    json_object_set_new(j, "pixel_mm", json_number(p->lengths ? fabs(s->grid.step[0]) : (double)NAN));
    json_object_set_new(j, "misfit", json_number(kr_meta_number(meta, "kray_misfit", (double)NAN)));
    json_object_set_new(j, "replaced", json_integer(f->replaced));
}

/* ---- Planes at a time, each written before the next is made ---- */
struct planes { kr_job *job; const kr_scan *s; const opts *o; const char *file; long each, deep; kr_image *made; const kr_trace *trace; };

static int some_planes(kr_image **out, const struct planes *p, long from)
{
    kr_scoped(scan) part = NULL;
    kr_trace_unit room;
    const kr_trace *t = kr_trace_of(&room, p->trace, "part", from / p->each, (p->deep + p->each - 1) / p->each);
    bool made = !strcmp(p->file, "phantom");
    long count = from + p->each > p->deep ? p->deep - from : p->each;
    return kr_stopped(p->trace) || kr_ct_part(&part, p->s, from, count) || kr_job_prepare(p->job, part, t) || kr_job_image(p->job, out, part, t)
           || (p->o->water > 0 && kr_ct_hounsfield(*out, p->o->water, p->o->air)) || kr_note((*out)->meta, NULL, NULL, &p->file, !made) ? kr_error_code() : 0;
}

static int next_planes(void *self, kr_array **out, long from)
{
    struct planes *p = self;
    kr_image *im = from ? NULL : p->made;                            /* the first are made before the file is begun: they tell what it is of */
    p->made = NULL;
    int e = im ? 0 : some_planes(&im, p, from);
    *out = e ? NULL : kr_array_packed(im->data);
    kr_image_unref(&im);
    return *out ? 0 : kr_error_code();
}

static int by_planes(kr_job *job, const kr_scan *s, long each, const char *file, const opts *o, kr_by_part *whole, kr_meta **meta, const kr_trace *trace)
{
    struct planes p = { job, s, o, file, each, kr_ct_deep(s), NULL, trace };
    kr_say(trace, KR_INFO, "%ld of %ld planes at a time", each, p.deep);
    int e = some_planes(&p.made, &p, 0);
    kr_scoped(geom) g = e ? NULL : kr_geom_new(1);
    for (int d = 0; d < 3 && g; d++)
        whole->n[d] = d < 2 ? p.made->data->n[d] : p.deep;
    e = !g || kr_ct_place(g, s, whole->n) || !(*meta = kr_meta_copy(p.made->meta)) ? kr_error_code() : 0;
    whole->geom = g;
    whole->meta = *meta;
    whole->part = next_planes;
    whole->self = &p;
    e = e ? e : kr_parts_write(whole, o->output);
    whole->geom = NULL;
    kr_image_unref(&p.made);
    return e;
}

/* What the job would take: with --memory no more than that, out of files or planes at a time. */
static int tell_plan(kr_job *job, const kr_scan *s, const char *file, long each, const opts *o, json_t *j)
{
    kr_cost cost;
    if (kr_job_plan(job, &cost, s, kr_ct_deep(s)))
        return kr_error_code();
    double bytes = o->memory ? fmin(cost.bytes, (double)o->memory) : cost.bytes;
    char a[32], b[32];
    kr_shape n = KR_SHAPE([KR_X] = s->grid.n[0], [KR_Y] = s->grid.n[1], [KR_Z] = kr_ct_deep(s));
    json_object_set_new(j, "shape", json_shape(n));
    json_object_set_new(j, "projections", json_shape(s->shape));
    json_object_set_new(j, "method", json_words(kr_job_method(job)->name));
    json_object_set_new(j, "plan", json_pack("{s:I,s:f,s:f,s:i}", "planes_at_a_time", (json_int_t)each, "memory_bytes", bytes, "seconds", cost.seconds, "threads", kr_threads()));
    if (o->json)
        return 0;
    kr_print("%s\n  rays     %s, %s\n  image    %s\n  method   %s\n", file, kr_shape_text(s->shape), kr_size_text(a, 4 * (double)kr_count(s->shape)), kr_shape_text(n), kr_job_method(job)->name);
    if (each < kr_ct_deep(s))
        kr_print("  parts    %ld plane%s at a time\n", each, each == 1 ? "" : "s");
    kr_print("  memory   %s at the peak%s\n  time     about %.1f s on %d thread%s\n", kr_size_text(b, bytes), bytes < cost.bytes ? ", the rest in files" : "", cost.seconds, kr_threads(), kr_threads() == 1 ? "" : "s");
    return 0;
}

static int reconstruct(kr_shape *size, kr_projections *p, const char *file, const opts *o, json_t *j, const kr_trace *trace)
{
    bool made = !strcmp(file, "phantom");
    kr_job_opts how = kr_job_preset();
    how.values = method.values;
    kr_scoped(job) job = kr_job_open(method_name(&method), NULL, &how);
    kr_scoped(scan) s = NULL;
    kr_scoped(image) image = NULL;
    kr_scoped(meta) meta = NULL;
    kr_ct_opts c;
    kr_ct_facts f;
    kr_scoped(array) metal = NULL;
    double above = o->water > 0 ? o->water + o->metal / 1000 * (o->water - o->air) : o->metal;
    if (!job || what_is_asked(&c, o, p, made) || kr_ct_scan(&s, p, file, &c, &f, trace))
        return kr_error_code();
    long each = kr_ct_planes(job, s, trace);
    kr_by_part whole = { .n = { 0 } };
    if (each < 0)
        return (int)each;
    if (o->plan)
        return tell_plan(job, s, file, each, o, j);
    bool parts = each < kr_ct_deep(s) && !(o->metal > 0) && !kr_can_write_parts(o->output);      /* else as a whole, out of files */
    kr_error_clear();
    if (parts) {
        if (kr_scan_check(s) || by_planes(job, s, each, file, o, &whole, &meta, trace))
            return kr_error_code();
        tell(j, job, whole.n, s, &f, p, meta);
        *size = KR_SHAPE([KR_X] = whole.n[0], [KR_Y] = whole.n[1], [KR_Z] = whole.n[2]);
        return 0;
    }
    if ((o->metal > 0 && kr_ct_metal(&metal, s, above, trace) < 0) || kr_job_run(job, &image, s, trace) || (metal && kr_ct_metal_back(image, metal))
        || (o->water > 0 && kr_ct_hounsfield(image, o->water, o->air)) || kr_note(image->meta, NULL, NULL, &file, !made))
        return kr_error_code();
    tell(j, job, image->data->n, s, &f, p, image->meta);
    *size = kr_array_shape(image->data);
    kr_scan_unref(&s);                                               /* the data, before the file is packed */
    return kr_image_write(image, o->output, NULL);
}

static int list(void)
{
    for (int i = 0; kr_recons[i]; i++)
        if (kr_recons[i]->needs & KR_TAKES_RAYS)
            kr_print("%-16s %s\n%-16s %s\n", kr_recons[i]->name, kr_recons[i]->summary, "", kr_recons[i]->cite);
    return 0;
}

static int run(void *v, int files, char **file, const kr_trace *trace)
{
    const opts *o = v;
    if (!strcmp(o->method, "list"))
        return list();
    if (files != 1)
        return kr_fail(KR_EUSAGE, files ? "one scan at a time, not %d files" : "no input is given", files);
    if (!o->output && !o->plan)
        return kr_fail(KR_EUSAGE, "where should the image go? Give -o OUT, for example -o volume.nii.gz");
    if (!(o->metal >= 0))
        return kr_fail(KR_EUSAGE, "--metal %g: a value above 0 is wanted, or 0 for none", o->metal);
    if (o->metal > 0 && (o->box || o->slice))
        return kr_fail(KR_EUSAGE, "--metal wants the whole image: without --box and --slice");
    if (o->matrix < 0 || o->matrix > 32768)
        return kr_fail(KR_EUSAGE, "--matrix %ld: 1 to 32768 pixels are possible, 0 for as many as the views see", o->matrix);
    if (!(o->water >= 0))
        return kr_fail(KR_EUSAGE, "--water must not be negative");
    if (o->rings && o->stripes)
        return kr_fail(KR_EUSAGE, "--rings and --rings-wavelet are two ways to the same end: one of them");
    if (fabs(o->air) > 0 && !(o->water > 0))
        return kr_fail(KR_EUSAGE, "--air is for Hounsfield units, which want --water, too");
    bool made = !strcmp(file[0], "phantom");
    if (!made && (o->photons > 0 || o->detector != 256 || o->seed != 1))
        return kr_fail(KR_EUSAGE, "--detector, --photons and --seed are for the phantom: %s is measured", file[0]);
    if (given_model && method.asked && method.asked->needs & KR_RAYS_DIRECT)
        return kr_fail(KR_EUSAGE, "--model is for iterations: filtered back-projection has no model of rays");
    if ((o->output && kr_can_write(KR_PICTURE, o->output, NULL)) || (o->keep && kr_can_write(KR_PLAIN, o->keep, NULL)))
        return kr_error_code();
    if (!made && ((o->output && kr_output_apart(o->output, file[0])) || (o->keep && kr_output_apart(o->keep, file[0]))))
        return kr_error_code();
    if (kr_threads_want(o->threads))
        return kr_error_code();
    if (o->memory && kr_ct_within(o->memory, o->output ? o->output : "image"))
        return kr_error_code();
    struct answer a;
    kr_projections *p = NULL;
    double start = kr_seconds();
    answer_begin(&a, o->json, trace);
    json_t *j = answer_add(&a, o->output ? o->output : file[0]);
    json_object_set_new(j, "input", json_words(file[0]));
    kr_shape size = { { 0 } };
    int e = open_study(&p, file[0], o, &a.trace);
    if (!e) {
        kr_say(&a.trace, KR_INFO, "%s%s%s: %ld views of %ld x %ld elements, %s beam", file[0], p->kind ? ", " : "", p->kind ? p->kind : "", p->y->n[KR_VIEW], p->y->n[KR_U],
               p->y->n[KR_V], p->volume ? "cone" : p->beam == KR_DIVERGENT ? "fan" : "parallel");
        e = reconstruct(&size, p, file[0], o, j, &a.trace);
    }
    if (!e && !o->plan) {
        kr_say(&a.trace, KR_INFO, "%s: %s, %s, %.2f s", o->output, kr_shape_text(size), method_name(&method), kr_seconds() - start);
        json_object_set_new(j, "seconds", json_number(kr_seconds() - start));
    } else if (e)
        answer_failed(&a);
    kr_projections_unref(&p);
    method_close(&method);
    kr_mem_unpage();
    return answer_end(&a, e);
}

const kr_tool kr_tool_ct = { "ct", "Reconstruct", "reconstruct an image or volume from X-ray projections", "IN|phantom -o OUT [options]",
    "  kray ct phantom -o head.nii.gz --geometry parallel:angles=0:180:60 --photons 1e5 --method tv     # Shepp and Logan's head, sparse and noisy\n"
    "  kray ct tooth.h5 -o tooth.nii.gz                              # Data Exchange: flats, darks, angles; the axis of rotation is found\n"
    "  kray ct htc2022_ta_full.mat -o ta.nii.gz --method tv          # Helsinki Tomography Challenge\n"
    "  kray ct sino.npy -o slice.nii.gz --geometry parallel:pixel=0.4,angles=0:180:720 --window hann\n"
    "  kray ct fan.h5:sinogram -o slice.nii.gz --angles fan.h5:angles_deg --geometry fan:sod=410.66,sdd=553.74,pixel=0.2\n"
    "  kray ct cone.npy -o volume.nii.gz --geometry cone:sod=500,sdd=1000,pixel=0.8,angles=0:360:360\n"
    "  kray ct sparse.npy -o slice.nii.gz --geometry parallel:angles=0:180:45 --method tv --lambda 0.001 --nonneg\n"
    "  kray ct big.h5 --memory 4G --plan                             # memory and time, and nothing is run\n",
    table, sizeof(opts), more, run };
