/* job_file.c: a job on a file: how many slices at a time, and their images as one. */
#include "kray/dealt.h"
#include "kray/io.h"
#include "kray/trajectory.h"
#include "job.h"
#include "model.h"
#include <math.h>
#include <string.h>

static long slices_of(const kr_scan *s) { return s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1; }

/* ---- What it takes ---- */

/* The program with its libraries, the FFT's plans and a buffer of the file's reader, measured: 28 to 31 MiB. */
static const double PROGRAM = 29 << 20;
double job_program(void) { return PROGRAM; }

double job_rays_bytes(kr_job *j, const kr_scan *s)
{
    kr_cost c = { 0 };
    void *values = job_values_of(j, j->method);
    if (!values || (j->method->plan && j->method->plan(&c, s, values)))
        return -1;
    return PROGRAM + 4 * (double)kr_count(s->shape) + c.bytes;
}

double job_bytes_beside(const kr_scan *s) { return PROGRAM + 8 * (double)kr_count(kr_shape_without(s->shape, KR_ON(KR_SLICE))); }

static bool is_along(const kr_scan *s) { return !s->rays && s->shape.n[KR_SAMPLE] > 1 && s->shape.n[KR_VIEW] > 1 && s->enc.encoded[0] > 1; }

/* The image of a scan along a trajectory as if it had been measured on a grid, with its frames: what solvers work on. */
static kr_shape on_grid(const kr_scan *s)
{
    kr_shape grid = kr_shape_without(s->shape, KR_ON(KR_SAMPLE) | KR_ON(KR_VIEW));
    for (int d = 0; d < 3; d++)
        grid.n[d] = s->enc.encoded[d] > 1 ? s->enc.encoded[d] : 1;
    return grid;
}

/* What is held at the peak beside the program, in bytes: the data twice, positions, weights and order of the points; and coil images by gridding with the maps made of them and the work of
 * that, or what the solver holds (as on a grid), the kernel of the normal operator and a fine grid of the transform. In volumes the fine grids rule: that of gridding, as many images at a time
 * as there are lanes, four of them 1.9 times as long as the image and others 1.5 times, and that on which the kernel is made, of twice the image's length. Measured on radial scans of 75 to
 * 900 spokes, series of 3 to 36 frames, ten slices, and kooshballs of 2 to 8 coils. */
static double along_trajectory(const kr_scan *s, kr_shape grid, double maps, double solver)
{
    const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);
    bool volume = grid.n[KR_Z] > 1;
    double coils = s->shape.n[KR_COIL] > 1 ? (double)s->shape.n[KR_COIL] : 1, slices = (double)slices_of(s);
    double one = 8 * (double)kr_count(kr_shape_only(grid, space)), finer = volume ? 8 : 4;
    double samples = (double)kr_count(s->shape), points = samples / coils / slices, frames = (double)kr_count(kr_shape_without(grid, space | KR_ON(KR_COIL) | KR_ON(KR_SLICE)));
    double makes = one * (coils * slices * (frames + maps) + 3.9 * coils * maps + finer), solves = solver + one * (coils * slices * maps + 1.2 * (frames + 1) * finer);
    double grids = !volume ? 0 : one * (coils * frames + (coils > 4 ? 34 : coils > 2 ? 32 : 4.2 * coils)), kernel = !volume || !(solver > 0) ? 0 : one * (coils * maps + 8 * frames + 28);
    return 16 * samples + 25 * points + fmax(fmax(makes, solves), fmax(grids, kernel));
}

/* At the peak of reading and reconstructing so many slices. Either while the readout is cropped, when the data as read and as cropped
 * are there together, or while the method works on what is left. */
static int estimate(kr_job *j, kr_cost *cost, const kr_scan *head, const kr_recon *m, long slices)
{
    kr_scan part = *head;                       /* shape alone is looked at */
    if (kr_count(j->along) > 1)
        part.shape = j->along;
    part.shape.n[KR_SLICE] = slices;
    double raw = 8 * (double)kr_count(part.shape), coils = part.shape.n[KR_COIL] > 1 ? (double)part.shape.n[KR_COIL] : 1;
    double ratio = head->enc.recon_mm[0] > 0 ? head->enc.encoded_mm[0] / head->enc.recon_mm[0] : 1;
    bool crops = j->how.prepare.oversampling && !(m->needs & KR_WHOLE_READOUT) && ratio > 1.01;
    if (crops)
        part.shape.n[KR_X] = lround((double)part.shape.n[KR_X] / ratio);
    if (j->how.prepare.coils > 0 && j->how.prepare.coils < part.shape.n[KR_COIL])
        coils = (double)(part.shape.n[KR_COIL] = j->how.prepare.coils);
    double data = 8 * (double)kr_count(part.shape), image = data / coils;
    double maps = m->needs & KR_NEEDS_COILS ? (double)j->how.coils.maps : 0, works;
    *cost = (kr_cost){ 0 };
    void *values = job_values_of(j, m);
    kr_scan like = part;
    if (is_along(&part)) {
        for (int d = 0; d < 2 && j->wide; d++)
            part.enc.encoded[d] = lround(WIDER * (double)part.enc.encoded[d]);
        like.shape = on_grid(&part);
    }
    if (!values || (m->plan && m->plan(cost, &like, values)))
        return kr_error_code();
    if (is_along(&part))
        works = along_trajectory(&part, like.shape, maps, cost->bytes);
    else {
        const unsigned mapped = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL) | KR_ON(KR_SLICE);        /* one set for all frames */
        works = data + 8 * (double)kr_count(kr_shape_only(part.shape, mapped)) * maps + cost->bytes + image;
    }
    double opens = raw + (crops ? data : 0);
    cost->bytes = PROGRAM + (works > opens ? works : opens);
    cost->seconds += raw / 1e9;                 /* reading                   */
    return 0;
}

static int estimate_rays(kr_job *j, kr_cost *cost, const kr_scan *s, const kr_recon *m)
{
    *cost = (kr_cost){ 0 };
    if (m->plan && m->plan(cost, s, job_values_of(j, m)))
        return kr_error_code();
    return (cost->bytes = job_rays_bytes(j, s)) < 0 ? kr_error_code() : 0;
}

int kr_job_plan(kr_job *j, kr_cost *cost, const kr_scan *header, long slices)
{
    const kr_recon *m = j->method ? j->method : job_choose(j, header, NULL);
    if (m && header->rays)
        return estimate_rays(j, cost, header, m);
    return m ? estimate(j, cost, header, m, slices) : kr_error_code();
}

/* Scans larger than this are worked through in pieces, a slice for each thread, where neither file nor method minds: it
 * takes no longer, and as much memory as the pieces do. */
static const double LARGE = 128 << 20;

static int in_pieces(const kr_job *j, const char *source)
{
    if (j->how.prepare.coils || j->how.stated.multiband || (j->asked && !(j->asked->needs & KR_EACH_SLICE)))
        return false;
    kr_source src;
    const kr_format *f = kr_source_parse(&src, source) ? NULL : j->how.from ? kr_format_named(j->how.from) : kr_format_of(src.path);
    kr_source_clear(&src);
    if (!f && kr_error_code() == KR_EMEM)
        return kr_error_code();
    kr_error_clear();                            /* reading will tell */
    return f && f->by_slice;
}

/* How many slices at a time: what fits into the memory given; of a large scan, one for each thread. */
static long piece_of(kr_job *j, const kr_scan *head, const kr_recon *m, bool pieces, const kr_trace *trace)
{
    long n = slices_of(head);
    kr_cost c;
    const char *beside = j->asked ? kr_opt_writes(j->asked->opts, j->values) : NULL;       /* a file of all slices */
    if (kr_is_multiband(head))
        return n;
    if (!j->how.memory) {
        if (estimate(j, &c, head, m, n))
            return -1;
        long at_once = kr_dealt_processes(trace) > 1 ? 4 * kr_dealt_processes(trace) : kr_threads();       /* the same on all of them */
        return pieces && c.bytes > LARGE && m->needs & KR_EACH_SLICE && at_once < n ? at_once : n;
    }
    for (long k = n; k > 0; k = k > 8 ? k - k / 8 : k - 1) {
        if (estimate(j, &c, head, m, k))
            return -1;
        if (c.bytes <= (double)j->how.memory)
            return k;
        if (beside)
            break;
    }
    char needed[32], allowed[32];
    if (beside && !estimate(j, &c, head, m, n))
        return kr_fail(KR_EREFUSED, "--%s wants all slices at once, for which %s needs %s, and %s are allowed", beside, m->name, kr_size_text(needed, c.bytes),
                       kr_size_text(allowed, (double)j->how.memory));
    if (!estimate(j, &c, head, m, 1))
        kr_fail(KR_EREFUSED, "%s needs %s for %s, %s are allowed", m->name, kr_size_text(needed, c.bytes),
                head->shape.n[KR_Z] > 1 ? "a volume, which is not worked on in pieces" : "a single slice", kr_size_text(allowed, (double)j->how.memory));
    return -1;
}

/* ---- Reading ---- */
static const char LOUD[] = "warning: ";                      /* notes that begin so are told at once */

static const kr_played *played(const kr_job *j) { return j->how.stated.along ? j->how.stated.along->played : NULL; }

static int read_head(kr_job *j, kr_scan **head, const char *source, const kr_trace *trace)
{
    return kr_scan_read(head, source, j->how.from, &(kr_read){ .header_only = true, .played = played(j) }, trace);
}

/* The slices of the window. */
static int read_window(kr_job *j, kr_scan **out, const char *source, const kr_trace *trace)
{
    kr_scoped(scan) whole = NULL;
    bool window = j->count < j->all;
    kr_read how = { .slice_from = j->from, .slice_count = window ? j->count : 0, .played = played(j) };
    if (kr_scan_read(&whole, source, j->how.from, &how, trace))
        return kr_error_code();
    bool cut = window && slices_of(whole) == j->all;        /* a format that reads all slices at once */
    kr_scoped(scan) own = cut ? kr_scan_slices(whole, j->from, j->count) : NULL;
    kr_scan *s = cut ? own : whole;
    if (!s || kr_scan_check(s))
        return kr_error_code();
    int notes = 0;
    for (const char *p = s->notes.s, *end; !j->told && p && *p; p = *end ? end + 1 : end, notes++) {
        end = p + strcspn(p, "\n");
        bool loud = !strncmp(p, LOUD, sizeof LOUD - 1);
        kr_say(trace, loud ? KR_WARNING : KR_DETAIL, "%s: %.*s", source, (int)(end - p - (loud ? (long)sizeof LOUD - 1 : 0)), p + (loud ? sizeof LOUD - 1 : 0));
        notes -= loud;
    }
    if (notes)
        kr_say(trace, KR_INFO, "%s: %d note%s on what was read (-v, or kray info)", source, notes, notes == 1 ? "" : "s");
    *(cut ? &own : &whole) = NULL;
    *out = s;
    return 0;
}

/* What the data tell of a scan along a trajectory: its frames, and whether planes are solved for wider than the image, here of the slice in the middle. */
static int look_beside(kr_job *j, const kr_scan *head, const kr_recon *m, const char *source)
{
    double outside;
    const kr_recon *method = j->method;
    kr_scoped(scan) s = NULL;
    if ((head->shape.n[KR_SAMPLE] < 2 && head->shape.n[KR_VIEW] < 2) || head->shape.n[KR_Z] > 1)
        return 0;
    j->all = slices_of(head);
    j->from = j->all / 2;
    j->count = 1;
    if (read_window(j, &s, source, NULL) || kr_job_prepare(j, s, NULL) || (s->traj && street_widens(&j->wide, &outside, s, m, j->how.maps, NULL, NULL)))
        return kr_error_code();
    if (s->traj)
        j->along = s->shape;
    j->method = method;                          /* auto decides by what it is given */
    return 0;
}

static int begin(kr_job *j, const char *source)
{
    kr_job_reset(j);
    j->wide = false;
    j->along = KR_SHAPE(0);
    j->source = kr_strdup(source);
    return j->source ? 0 : kr_error_code();
}

int kr_job_read(kr_job *j, kr_scan **out, const char *source, const kr_trace *trace)
{
    kr_projections *p = NULL;
    int rays = begin(j, source) ? kr_error_code() : job_projections(j, &p, source, trace);
    return rays < 0 ? rays : rays ? job_rays_scan(j, out, &p, source, trace) : read_window(j, out, source, trace);
}

/* Of projections, which are read whole: geometry decides. */
static int plan_rays(kr_job *j, kr_cost *cost, long *piece, kr_scan **head, kr_projections **p, const char *source)
{
    if (job_rays_scan(j, head, p, source, NULL) || kr_job_prepare(j, *head, NULL))
        return kr_error_code();
    *piece = slices_of(*head);
    return estimate_rays(j, cost, *head, j->method);
}

int kr_job_plan_file(kr_job *j, kr_cost *cost, long *piece, kr_scan **head, const char *source)
{
    kr_projections *p = NULL;
    int rays = begin(j, source) ? kr_error_code() : job_projections(j, &p, source, NULL);
    if (rays)
        return rays < 0 ? rays : plan_rays(j, cost, piece, head, &p, source);
    int pieces = in_pieces(j, source);
    if (pieces < 0 || read_head(j, head, source, NULL))
        return kr_error_code();
    const kr_recon *m = job_choose(j, *head, NULL);
    if (m && look_beside(j, *head, m, source))
        return kr_error_code();
    *piece = m ? piece_of(j, *head, m, pieces, NULL) : -1;
    if (!j->method && *piece > 0) {              /* what auto takes is told by the data */
        kr_scoped(scan) s = NULL;
        j->from = 0;
        j->count = *piece;
        j->all = slices_of(*head);
        *piece = read_window(j, &s, source, NULL) || kr_job_prepare(j, s, NULL) ? -1 : piece_of(j, *head, j->method, pieces, NULL);
    } else if (*piece > 0)
        j->method = m;
    kr_cost one;
    if (*piece < 0 || estimate(j, cost, *head, j->method, slices_of(*head)) || estimate(j, &one, *head, j->method, *piece))
        return kr_error_code();
    cost->bytes = one.bytes;
    return 0;
}

/* ---- Images of slices side by side ---- */

/* The piece's geometry, with the positions of all slices: it knows its own only. */
static kr_geom *geom_of_all(const kr_geom *piece, const kr_geom *all, long total)
{
    bool short_of = all->slices == total && piece->slices != total;
    kr_geom *g = kr_geom_copy(short_of ? all : piece);
    if (g && short_of) {
        memcpy(g->fov_mm, piece->fov_mm, sizeof g->fov_mm);
        memcpy(g->read_dir, piece->read_dir, sizeof g->read_dir);
        memcpy(g->phase_dir, piece->phase_dir, sizeof g->phase_dir);
        memcpy(g->slice_dir, piece->slice_dir, sizeof g->slice_dir);
    }
    return g;
}

static int gather(kr_image **all, const kr_image *piece, const kr_geom *geom, long from, long total)
{
    if (!*all) {
        kr_shape shape = kr_array_shape(piece->data);
        shape.n[KR_SLICE] = total;
        kr_scoped(array) whole = kr_array_new(piece->data->type, shape);
        kr_scoped(geom) g = geom_of_all(piece->geom, geom, total);
        if (!whole || !g || !(*all = kr_image_new(whole, g, piece->meta)))
            return kr_error_code();
    }
    kr_scoped(array) place = kr_array_range((*all)->data, KR_SLICE, from, piece->data->n[KR_SLICE]);
    if (!place)
        return kr_error_code();
    kr_array_assign(place, piece->data);
    return 0;
}

static int run_pieces(kr_job *j, kr_image **out, const char *source, const kr_scan *head, long piece, const kr_trace *trace)
{
    kr_scoped(image) image = NULL;
    j->all = head ? slices_of(head) : 1;
    for (j->from = 0; j->from < j->all; j->from += piece) {
        kr_scoped(scan) s = NULL;
        kr_scoped(image) part = NULL;
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "piece", j->from / piece, (j->all + piece - 1) / piece);
        j->count = j->from + piece > j->all ? j->all - j->from : piece;
        if (kr_stopped(trace) || read_window(j, &s, source, t) || kr_job_prepare(j, s, t) || kr_job_image(j, &part, s, t))
            return kr_error_code();
        if (piece >= j->all) {
            image = part;
            part = NULL;
        } else if (gather(&image, part, head->geom, j->from, j->all))
            return kr_error_code();
    }
    if (kr_meta_provenance(image->meta, NULL, NULL, NULL, &source, 1))
        return kr_error_code();
    *out = image;
    image = NULL;
    return 0;
}

int kr_job_file(kr_job *j, kr_image **out, const char *source, const kr_trace *trace)
{
    *out = NULL;
    kr_projections *p = NULL;
    int rays = begin(j, source) ? kr_error_code() : job_projections(j, &p, source, trace);
    if (rays) {
        kr_scoped(scan) s = NULL;
        return rays < 0 || job_rays_scan(j, &s, &p, source, trace) || kr_job_run(j, out, s, trace) || kr_meta_provenance((*out)->meta, NULL, NULL, NULL, &source, 1)
               ? kr_error_code() : 0;
    }
    int pieces = in_pieces(j, source);
    kr_scoped(scan) head = NULL;
    if (pieces < 0 || ((j->how.memory || pieces) && read_head(j, &head, source, trace)))
        return kr_error_code();
    const kr_recon *guess = head ? job_choose(j, head, NULL) : NULL;
    if (guess && j->how.memory && look_beside(j, head, guess, source))
        return kr_error_code();
    long piece = !head ? 1 : guess ? piece_of(j, head, guess, pieces, trace) : -1;
    kr_coils_facts facts = { 0, 0 };
    if (piece < 0)
        return kr_error_code();
    j->facts = &facts;
    int e = run_pieces(j, out, source, head, piece, trace);
    j->facts = NULL;
    j->all = 0;
    if (!e)
        kr_say_coils(source, &facts, (*out)->data->n[KR_SLICE], trace);
    return e;
}

int kr_recon_run(const char *source, const char *method, const char *options, kr_image **out)
{
    *out = NULL;
    kr_scoped(job) j = kr_job_open(method, options, NULL);
    return j ? kr_job_file(j, out, source, NULL) : kr_error_code();
}
