/* coils.c: the table of methods that estimate coil maps, and what they share. */
#include "coils.h"
#include "kray_coil_methods.h"
#include "kray/dealt.h"
#include "kray/la.h"
#include "kray/opt.h"
#include <math.h>
#include <string.h>
#include <strings.h>

const kr_coils_opts kr_coils_preset = { .method = "espirit", .kernel = 6, .crop = -1, .maps = 1 };

enum { MOST = 24 };
#define DECLARE(n) extern const kr_coil_method kr_coil_method_##n;
KR_LIST(DECLARE)
#define POINT(n) &kr_coil_method_##n,
const kr_coil_method *const kr_coil_methods[] = { KR_LIST(POINT) NULL };

const kr_coil_method *kr_coil_method_named(const char *name)
{
    const char *known[sizeof kr_coil_methods / sizeof *kr_coil_methods];
    int n = 0;
    kr_text all = { 0 };
    for (; kr_coil_methods[n]; n++) {
        known[n] = kr_coil_methods[n]->name;
        if (!strcasecmp(name, known[n]) || (!n && !strcasecmp(name, "ecalib")))
            return kr_coil_methods[n];
    }
    for (int i = 0; i < n; i++)
        kr_text_add(&all, "%s%s", i ? ", " : "", known[i]);
    const char *near = kr_nearest(name, known, n);
    kr_fail(KR_EUSAGE, "there is no way '%s' to estimate coil maps; %s %s", name, near ? "did you mean" : "known are", near ? near : all.s ? all.s : "");
    kr_text_clear(&all);
    return NULL;
}

int kr_coils_principal(kr_cfloat *u, const kr_array *x)
{
    long coils = x->n[KR_COIL];
    static const int order[] = { KR_COIL };
    kr_scoped(array) flat = kr_array_copy_order(x, order, 1);            /* {COIL, samples}       */
    kr_auto kr_cfloat *C = kr_alloc((size_t)coils, (size_t)coils * sizeof *C);
    kr_auto float *w = kr_alloc((size_t)coils, sizeof *w);
    if (!flat || !C || !w)
        return kr_error_code();
    long samples = kr_count(kr_array_shape(x)) / coils;
    kr_la_gemm('N', 'C', coils, coils, samples, 1, KR_C(flat), coils, KR_C(flat), coils, 0, C, coils);   /* x x^H */
    if (kr_la_eigh(coils, C, w))
        return kr_error_code();
    const kr_cfloat *v = C + (coils - 1) * coils;
    long top = 0;
    for (long c = 1; c < coils; c++)
        if (kr_cabs2(v[c]) > kr_cabs2(v[top]) * 1.0001f)                 /* of equals the first   */
            top = c;
    float size = __builtin_sqrtf(kr_cabs2(v[top]));
    kr_cfloat phase = size > 0 ? kr_c(kr_re(v[top]) / size, kr_im(v[top]) / size) : kr_c(1, 0);
    for (long c = 0; c < coils; c++)
        u[c] = kr_cmulc(phase, v[c]);
    return 0;
}

double kr_coils_least(const kr_coils_opts *o) { return o->crop >= 0 ? o->crop : o->prior ? 0 : 0.02; }

struct slices { kr_body *body; void *self; const kr_trace *trace; long slices, done; };

static int one(void *self, long slice)
{
    struct slices *s = self;
    int e = kr_stopped(s->trace);
    if (!e)
        e = s->body(s->self, slice);
    long done = __atomic_add_fetch(&s->done, 1, __ATOMIC_RELAXED);
    if (!kr_worker() && s->slices > 1)
        kr_progress(s->trace, "coil maps", (double)done, (double)s->slices);
    return e;
}

int kr_coils_slices(long slices, kr_body *body, void *self, const kr_array *maps, char *low, const kr_trace *trace)
{
    kr_made made[3] = { { NULL, 0 } };
    if (slices > 1) {
        made[0] = kr_made_of(maps);
        made[1] = (kr_made){ low, (size_t)slices };
    }
    struct slices s = { body, self, trace, slices, 0 };
    int e = kr_deal(trace, slices, slices >= 2 * kr_threads(), one, &s, made);
    if (!e && slices > 1)
        kr_progress(trace, "coil maps", (double)slices, (double)slices);
    return e;
}

/* ---- Where ESPIRiT fails ---- */
/* Of the energy |x|^2 of a slice's calibration block, x its coil images: |x - S S^H x|^2, which the first set of maps, normalised, does not explain, and what
 * lies where there is a second set. */
struct parts { double unexplained, second; };

static int look(struct parts *part, const kr_array *maps, const kr_array *block)
{
    long coils = maps->n[KR_COIL], pixels = maps->n[0] * maps->n[1] * maps->n[2], other = maps->n[KR_MAP] > 1 ? maps->step[KR_MAP] : 0;
    kr_auto kr_cfloat *x = kr_alloc((size_t)coils, (size_t)pixels * sizeof *x);
    if (!x || kr_coils_blur(x, maps->n, block))
        return kr_error_code();
    double all = 0, left = 0, second = 0;
    for (long i = 0; i < pixels; i++) {
        double size = 0, xx = 0, re = 0, im = 0, two = 0;
        for (long c = 0; c < coils; c++) {
            kr_cfloat v = x[c * pixels + i], s = KR_C(maps)[c * maps->step[KR_COIL] + i];
            two += other ? (double)kr_cabs2(KR_C(maps)[c * maps->step[KR_COIL] + other + i]) : 0;
            kr_cfloat p = kr_cmulc(s, v);
            re += (double)kr_re(p);
            im += (double)kr_im(p);
            size += (double)kr_cabs2(s);
            xx += (double)kr_cabs2(v);
        }
        all += xx;
        left += size > 0 ? xx - (re * re + im * im) / size : xx;
        second += two > 0 ? xx : 0;
    }
    *part = all > 0 ? (struct parts){ left / all, second / all } : (struct parts){ 0, 0 };
    return 0;
}

/* More than this, and the image lacks what the maps do not explain. Maps of 16 calibration lines and more leave 0.1 to 0.5 %, of
 * 6 lines 13 to 98 %; noise adds to either. */
static const double MOST_UNEXPLAINED = 0.1;

struct careful { kr_array *maps; const kr_array *block; const kr_coils_opts *o; const kr_trace *trace; char *low; };

static int careful_slice(void *self, long slice)
{
    const struct careful *j = self;
    kr_scoped(array) maps = kr_array_range(j->maps, KR_SLICE, slice, 1);
    kr_scoped(array) block = kr_array_range(j->block, KR_SLICE, slice, 1);
    struct parts part = { 0, 0 };
    if (!maps || !block)
        return kr_error_code();
    bool few = j->o->facts->lines;                          /* they explain the little that there is, and yet leave out most of the object */
    int e = few ? 0 : kr_coil_method_espirit.estimate(maps, block, j->o, j->trace);
    if (e && e != KR_EREFUSED && e != KR_ENUMBER)
        return e;
    if (!few && !e && (e = look(&part, maps, block)))
        return e;
    if (!few && !e && part.unexplained <= MOST_UNEXPLAINED)
        return 0;
    kr_say(j->trace, KR_DETAIL, "slice %ld: %s; maps of low resolution instead", slice, e ? kr_error() : few ? "too few calibration lines" : "ESPIRiT's maps do not explain the calibration data");
    if (e)
        kr_error_clear();
    kr_coils_opts low = *j->o;
    low.crop = -1;
    j->low[slice] = 1;
    return kr_coil_method_lowres.estimate(maps, block, &low, j->trace);
}

static int or_lowres(kr_array *maps, const kr_array *block, const kr_coils_opts *o, const kr_trace *trace)
{
    long n = block->n[KR_SLICE];
    kr_auto char *low = kr_alloc_zero((size_t)n, 1);
    struct careful j = { maps, block, o, trace, low };
    if (!low || kr_coils_slices(n, careful_slice, &j, maps, low, trace))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        o->facts->replaced += low[i];
    return 0;
}

static int check(const kr_coils_opts *o, long coils)
{
    if (o->maps < 1 || o->maps > coils)
        return kr_fail(KR_EREFUSED, "%ld sets of maps of %ld coils; from 1 to the number of coils are possible", o->maps, coils);
    if (o->kernel < 1 || o->kernel > 32)
        return kr_fail(KR_EREFUSED, "a kernel %ld wide; from 1 to 32 are possible, 6 is usual", o->kernel);
    if (!(o->threshold < 1) || !(o->crop < 1))
        return kr_fail(KR_EREFUSED, "threshold %g and crop %g must be below 1", o->threshold, o->crop);
    for (int d = 0; d < 3; d++)
        if (o->calib[d] < 0)
            return kr_fail(KR_EREFUSED, "a calibration area of %ld samples along %s", o->calib[d], kr_axis_name(d));
    return 0;
}

/* Of slices measured together: from their single-band reference, slice by slice. */
static kr_array *of_singles(const kr_scan *s, const kr_coils_opts *o, const kr_trace *trace)
{
    if (!s->calib) {
        kr_fail(KR_EREFUSED, "%ld slices were excited together (SMS), and there is no single-band reference scan for their coil maps: give one "
                             "(--single-band FILE), or coil maps of all slices (--coils FILE)", s->multiband.factor);
        return NULL;
    }
    kr_scan singles = { .shape = s->shape, .calib = s->calib, .calib_mask = s->calib_mask, .in_image = s->in_image };
    singles.shape.n[KR_Z] = 1;
    singles.shape.n[KR_SLICE] = s->calib->n[KR_SLICE];
    kr_scoped(array) maps = kr_coils_estimate(&singles, o, trace);
    return !maps ? NULL : s->multiband.depth ? kr_multiband_stack(maps, s) : kr_array_ref(maps);
}

/* Few lines because few are asked for are no news. */
static void count_lines(const kr_scan *s, const kr_coils_opts *o, const kr_array *block)
{
    for (int d = KR_X; o->facts && d <= KR_Z; d++) {
        long n = block->n[d], *least = &o->facts->lines;
        if (n < s->shape.n[d] && n < KR_FEW_LINES && n != o->calib[d] && !(s->in_image & KR_ON(d)) && (!*least || n < *least))
            *least = n;
    }
}

kr_array *kr_coils_estimate(const kr_scan *s, const kr_coils_opts *o, const kr_trace *trace)
{
    if (kr_is_multiband(s))
        return of_singles(s, o, trace);
    const kr_coil_method *method = kr_coil_method_named(o->method);
    if (!method)
        return NULL;
    kr_shape shape = kr_shape_only(s->shape, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL) | KR_ON(KR_SLICE));
    long coils = shape.n[KR_COIL] > 1 ? shape.n[KR_COIL] : 1;
    if (check(o, coils))
        return NULL;
    shape.n[KR_MAP] = o->maps;
    long count = kr_count(shape);
    kr_cfloat *room = count > 0 ? kr_alloc((size_t)count, sizeof *room) : NULL;
    kr_scoped(array) maps = room ? kr_array_take(KR_C32, shape, room) : NULL;
    if (!maps) {
        kr_free(room);
        return NULL;
    }
    if (coils == 1) {                     /* nothing to compare a single coil with */
        for (long i = 0; i < count; i++)
            room[i] = kr_c(1, 0);
        return kr_array_ref(maps);
    }
    long most[3];
    for (int d = 0; d < 3; d++)
        most[d] = o->calib[d] ? o->calib[d] : MOST;
    kr_scoped(array) block = kr_calibration(s, most);
    if (!block || (block->n[KR_COIL] != coils && kr_fail(KR_ESHAPE, "calibration lines of %ld coils for data of %ld",
                                                         block->n[KR_COIL], coils)))
        return NULL;
    long slices = shape.n[KR_SLICE] > 1 ? shape.n[KR_SLICE] : 1;
    if (block->n[KR_SLICE] != slices) {
        kr_fail(KR_ESHAPE, "calibration lines of %ld slices for data of %ld", block->n[KR_SLICE], slices);
        return NULL;
    }
    kr_say(trace, KR_DETAIL, "coil maps by %s from a calibration area of %s", o->method, kr_shape_text(kr_array_shape(block)));
    bool espirit = method == &kr_coil_method_espirit;
    if (espirit)
        count_lines(s, o, block);
    int e = o->facts && o->maps == 1 && espirit ? or_lowres(maps, block, o, trace) : method->estimate(maps, block, o, trace);
    return e ? NULL : kr_array_ref(maps);
}

/* Of a head larger than the field of view 18 to 33 % lay in the second set, of six other scans .02 % at most. */
static const double MOST_IN_SECOND = 0.03;

int kr_coils_hold(bool *hold, const kr_scan *s, const kr_coils_opts *how, const kr_trace *trace)
{
    kr_coils_opts two = *how;
    long most[3];
    two.maps = 2;
    two.facts = NULL;
    for (int d = 0; d < 3; d++)
        most[d] = how->calib[d] ? how->calib[d] : MOST;
    *hold = false;
    kr_scoped(array) maps = kr_coils_estimate(s, &two, NULL);
    kr_scoped(array) block = maps ? kr_calibration(s, most) : NULL;
    if (!block) {                                            /* too few lines, or noise alone */
        if (kr_error_code() == KR_EMEM)
            return kr_error_code();
        kr_error_clear();
        return 0;
    }
    struct parts most_of = { 0, 0 };
    for (long i = 0; i < block->n[KR_SLICE]; i++) {
        kr_scoped(array) m = kr_array_range(maps, KR_SLICE, i, 1);
        kr_scoped(array) b = kr_array_range(block, KR_SLICE, i, 1);
        struct parts p;
        if (!m || !b || look(&p, m, b))
            return kr_error_code();
        most_of.unexplained = fmax(most_of.unexplained, p.unexplained);
        most_of.second = fmax(most_of.second, p.second);
    }
    kr_say(trace, KR_DETAIL, "one set of coil maps leaves %.2f %% of the calibration data unexplained, a second one would hold %.2f %% of them", 100 * most_of.unexplained,
           100 * most_of.second);
    *hold = most_of.unexplained < MOST_UNEXPLAINED && most_of.second < MOST_IN_SECOND;
    return 0;
}

void kr_say_coils(const char *file, const kr_coils_facts *f, long slices, const kr_trace *trace)
{
    file = file ? file : "scan";
    if (f->replaced && f->lines)
        kr_say(trace, KR_WARNING, "%s: the coil maps come from %ld calibration lines, too few for ESPIRiT (%d), and are of low resolution: their errors become fold-over; measure "
               "more, or take --method nlinv, which needs no maps", file, f->lines, KR_FEW_LINES);
    else if (f->replaced)
        kr_say(trace, KR_WARNING, "%s: in %ld of %ld slices the calibration area holds noise only, or too little for ESPIRiT: their coil maps are of low "
               "resolution", file, f->replaced, slices > 1 ? slices : 1);
    else if (f->lines)
        kr_say(trace, KR_WARNING, "%s: the coil maps come from %ld calibration lines; fewer than %d rarely tell enough, and errors of the maps become fold-over: measure "
               "more, or take --method nlinv, which needs no maps", file, f->lines, KR_FEW_LINES);
}
