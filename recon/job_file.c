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

/* The program with its libraries, the FFT's plans and a buffer of the file's reader, measured: 20 to 28 MiB. */
static const double PROGRAM = 24 << 20;

double job_rays_bytes(kr_job *j, const kr_scan *s)
{
    kr_cost c = { 0 };
    void *values = job_values_of(j, j->method);
    if (!values || (j->method->plan && j->method->plan(&c, s, values)))
        return -1;
    return PROGRAM + 4 * (double)kr_count(s->shape) + c.bytes;
}

double job_bytes_beside(const kr_scan *s) { return PROGRAM + 8 * (double)kr_count(kr_shape_without(s->shape, KR_ON(KR_SLICE))); }

/* What methods hold beside samples along a trajectory, in bytes: images; coil images by gridding, from which maps are made, and those maps with their
 * work; of one part at a time seven fine grids of the transform and six images of a solver. Measured on radial scans and a kooshball. 0: lines of a grid. */
static double along_trajectory(const kr_scan *s, double maps)
{
    double one = 8, coils = s->shape.n[KR_COIL] > 1 ? (double)s->shape.n[KR_COIL] : 1, slices = s->shape.n[KR_SLICE] > 1 ? (double)s->shape.n[KR_SLICE] : 1, finer = 1;
    if (s->rays || s->shape.n[KR_SAMPLE] < 2 || s->shape.n[KR_VIEW] < 2 || s->enc.encoded[0] < 2)
        return 0;
    for (int d = 0; d < 3; d++) {
        one *= s->enc.encoded[d] > 1 ? (double)s->enc.encoded[d] : 1;
        finer *= s->enc.encoded[d] > 1 ? 2 : 1;
    }
    return one * ((double)kr_parts(s) + 7 * finer + coils * slices * (1 + 2.6 * maps) + (maps > 0 ? 6 : 0));
}

/* At the peak of reading and reconstructing so many slices. Either while the readout is cropped, when the data as read and as cropped
 * are there together, or while the method works on what is left. */
static int estimate(kr_job *j, kr_cost *cost, const kr_scan *head, const kr_recon *m, long slices)
{
    kr_scan part = *head;                       /* shape alone is looked at */
    part.shape.n[KR_SLICE] = slices;
    double raw = 8 * (double)kr_count(part.shape), coils = part.shape.n[KR_COIL] > 1 ? (double)part.shape.n[KR_COIL] : 1;
    double ratio = head->enc.recon_mm[0] > 0 ? head->enc.encoded_mm[0] / head->enc.recon_mm[0] : 1;
    bool crops = j->how.prepare.oversampling && !(m->needs & KR_WHOLE_READOUT) && ratio > 1.01;
    if (crops)
        part.shape.n[KR_X] = lround((double)part.shape.n[KR_X] / ratio);
    if (j->how.prepare.coils > 0 && j->how.prepare.coils < part.shape.n[KR_COIL])
        coils = (double)(part.shape.n[KR_COIL] = j->how.prepare.coils);
    double data = 8 * (double)kr_count(part.shape), image = data / coils;
    *cost = (kr_cost){ 0 };
    void *values = job_values_of(j, m);
    if (!values || (m->plan && m->plan(cost, &part, values)))
        return kr_error_code();
    const unsigned mapped = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL) | KR_ON(KR_SLICE);        /* one set for all frames */
    double maps = m->needs & KR_NEEDS_COILS ? 8 * (double)kr_count(kr_shape_only(part.shape, mapped)) * (double)j->how.coils.maps : 0;
    double along = along_trajectory(&part, m->needs & KR_NEEDS_COILS ? (double)j->how.coils.maps : 0);
    double works = along > 0 ? data + along : data + maps + cost->bytes + image, opens = raw + (crops ? data : 0);
    cost->bytes = PROGRAM + (works > opens ? works : opens);
    cost->seconds += raw / 1e9;                 /* reading                   */
    return 0;
}

int kr_job_plan(kr_job *j, kr_cost *cost, const kr_scan *header, long slices)
{
    const kr_recon *m = j->method ? j->method : job_choose(j, header, NULL);
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
static long piece_of(kr_job *j, const kr_scan *head, const kr_recon *m, bool pieces)
{
    long n = slices_of(head);
    kr_cost c;
    if (kr_is_multiband(head))
        return n;
    if (!j->how.memory) {
        if (estimate(j, &c, head, m, n))
            return -1;
        long at_once = kr_dealt_processes() > 1 ? 4 * kr_dealt_processes() : kr_threads();       /* the same on all of them */
        return pieces && c.bytes > LARGE && m->needs & KR_EACH_SLICE && at_once < n ? at_once : n;
    }
    for (long k = n; k > 0; k = k > 8 ? k - k / 8 : k - 1) {
        if (estimate(j, &c, head, m, k))
            return -1;
        if (c.bytes <= (double)j->how.memory)
            return k;
    }
    char needed[32], allowed[32];
    if (!estimate(j, &c, head, m, 1))
        kr_fail(KR_EREFUSED, "%s needs %s for %s, %s are allowed", m->name, kr_size_text(needed, c.bytes),
                head->shape.n[KR_Z] > 1 ? "a volume, which is not worked on in pieces" : "a single slice", kr_size_text(allowed, (double)j->how.memory));
    return -1;
}

/* ---- Reading ---- */

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
        kr_say(trace, KR_DETAIL, "%s: %.*s", source, (int)(end - p), p);
    }
    if (notes)
        kr_say(trace, KR_INFO, "%s: %d note%s on what was read (-v, or kray info)", source, notes, notes == 1 ? "" : "s");
    *(cut ? &own : &whole) = NULL;
    *out = s;
    return 0;
}

static int begin(kr_job *j, const char *source)
{
    kr_job_reset(j);
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
    *cost = (kr_cost){ 0 };
    if (j->method->plan && j->method->plan(cost, *head, job_values_of(j, j->method)))
        return kr_error_code();
    return (cost->bytes = job_rays_bytes(j, *head)) < 0 ? kr_error_code() : 0;
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
    *piece = m ? piece_of(j, *head, m, pieces) : -1;
    if (!j->method && *piece > 0) {              /* what auto takes is told by the data */
        kr_scoped(scan) s = NULL;
        j->from = 0;
        j->count = *piece;
        j->all = slices_of(*head);
        *piece = read_window(j, &s, source, NULL) || kr_job_prepare(j, s, NULL) ? -1 : piece_of(j, *head, j->method, pieces);
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
    long piece = !head ? 1 : guess ? piece_of(j, head, guess, pieces) : -1;
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
