/* measured.c: do the data bear out what is said of the sampling? Lines that hold only the residue of arithmetic were not measured, nor were
 * lines of a file's mask that hold zeros. */
#include "kray/scan.h"
#include <math.h>
#include <stdlib.h>

/* Residue: lines below 1e-5 of the slice's largest sample, and 100 times below the weakest other line. Single-precision transforms leave 1e-7,
 * the weakest line of a scan, noise at least, 1e-4; between the lines of a measured scan there is no such gap. */
static const double residue_below = 1e-5, residue_gap = 100, least_kept = 0.05;

enum { POOLED = KR_ON(KR_X) | KR_ON(KR_COIL) | KR_ON(KR_MAP) };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

struct lines { const kr_cfloat *v; double *most; kr_shape s; long nx, coils, rest; };

/* The largest |v|^2 of each line of a packed slice {X,Y,Z,COIL,...}; in double, as no unit of the data may overflow. */
static int look(void *self, long i)
{
    const struct lines *j = self;
    long within = j->s.n[KR_Y] * j->s.n[KR_Z], frame = i / within, at = i % within;
    double most = 0;
    for (long c = 0; c < j->coils; c++) {
        const kr_cfloat *p = j->v + ((frame * j->coils + c) * within + at) * j->nx;
        for (long x = 0; x < j->nx; x++) {
            double re = (double)kr_re(p[x]), im = (double)kr_im(p[x]), a = re * re + im * im;
            most = a > most ? a : most;
        }
    }
    j->most[i] = most;
    return 0;
}

/* What |v|^2 of a line has to be above; 0: no line is residue. */
static double floor_of(double *sorted, long n)
{
    long kept = 0;
    double gap = residue_gap * residue_gap;
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    for (long i = 0; i + 1 < n && sorted[i + 1] > 0; i++)
        if (sorted[i] / sorted[i + 1] > gap && sorted[i + 1] < residue_below * residue_below * sorted[0]) {
            gap = sorted[i] / sorted[i + 1];
            kept = i + 1;
        }
    return (double)kept > least_kept * (double)n ? sorted[kept] : 0;
}

/* Lines of residue become 0; *lines counts them, *all the lines. */
static int clear_slice(kr_array *view, long *lines, long *all)
{
    kr_scoped(array) own = kr_array_packed(view);
    kr_shape s = own ? kr_array_shape(own) : (kr_shape){ { 0 } };
    long n = own ? kr_count(kr_shape_without(s, POOLED)) : 0;
    kr_auto double *most = kr_alloc((size_t)n + 1, sizeof *most), *sorted = kr_alloc((size_t)n + 1, sizeof *sorted);
    if (!own || !most || !sorted)
        return kr_error_code();
    struct lines j = { .v = KR_C(own), .most = most, .s = s, .nx = s.n[KR_X], .coils = s.n[KR_COIL] * s.n[KR_MAP] };
    if (kr_for(n, look, &j))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        sorted[i] = most[i];
    double least = floor_of(sorted, n);
    *all += n;
    if (!(least > 0))
        return 0;
    long within = s.n[KR_Y] * s.n[KR_Z];
    kr_scoped(array) fresh = kr_array_copy(own);
    if (!fresh)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        if (!(most[i] > 0) || most[i] > least)
            continue;
        ++*lines;
        for (long c = 0; c < j.coils; c++)
            for (long x = 0; x < j.nx; x++)
                KR_C(fresh)[((i / within * j.coils + c) * within + i % within) * j.nx + x] = 0;
    }
    kr_array_assign(view, fresh);
    return 0;
}

static int clear_residue(kr_text *t, kr_scan *s)
{
    long lines = 0, all = 0;
    for (long i = 0; i < s->data->n[KR_SLICE]; i++) {
        kr_scoped(array) view = kr_array_at(s->data, KR_SLICE, i);
        if (!view || clear_slice(view, &lines, &all))
            return kr_error_code();
    }
    if (lines)
        kr_text_add(t, "%ld of %ld lines hold less than %g of the largest sample, far less than the noise of the others: the residue of arithmetic; they count as "
                       "not measured\n", lines, all, residue_below);
    return 0;
}

static kr_array *widened(const kr_array *m, kr_shape s)
{
    kr_scoped(array) view = kr_array_spread(m, s);
    return view ? kr_array_copy(view) : NULL;
}

/* The mask of a file beside the samples that are not 0. Lines that a scanner counted are believed, zeros or not. */
static int compare(kr_text *t, kr_scan *s)
{
    kr_array *said = s->mask;
    s->mask = NULL;
    kr_scoped(array) held = kr_scan_mask(s);
    s->mask = said;
    kr_shape all = { { 0 } };
    for (int d = 0; held && d < KR_AXES; d++)
        all.n[d] = held->n[d] > said->n[d] ? held->n[d] : said->n[d];
    kr_scoped(array) a = held ? widened(said, all) : NULL;
    kr_scoped(array) b = held ? widened(held, all) : NULL;
    if (!a || !b)
        return kr_error_code();
    long n = kr_count(all), empty = 0, denied = 0, both = 0;
    for (long i = 0; i < n; i++) {
        both += KR_R(a)[i] > 0 && KR_R(b)[i] > 0;
        empty += KR_R(a)[i] > 0 && !(KR_R(b)[i] > 0);
        denied += !(KR_R(a)[i] > 0) && KR_R(b)[i] > 0;
    }
    if (!denied && !empty)
        return 0;
    if (!empty)                                          /* a full scan with the mask that is to be tried on it */
        return kr_scan_undersample(s, said);
    if ((double)empty <= 0.01 * (double)(both + empty))
        return 0;
    kr_text_add(t, "the file's mask says of %ld of %ld lines or samples that they were measured, yet they are 0", empty, both + empty);
    if (denied)
        kr_text_add(t, ", and of %ld others, which hold data, that they were not", denied);
    kr_text_add(t, ": what is not 0 counts as measured, not the mask\n");
    kr_array_unref(&s->mask);
    s->mask = kr_array_ref(held);
    return 0;
}

/* Lines that were counted have no gaps as they come from a scanner: zeros between their ends are a scan undersampled along the readout, too, that was
 * written line by line. Lines without any number stay as counted. */
static int gaps(kr_text *t, kr_scan *s)
{
    kr_array *said = s->mask;
    s->mask = NULL;
    kr_scoped(array) held = kr_scan_mask(s);
    s->mask = said;
    if (!held)
        return kr_error_code();
    if (held->n[KR_X] == 1)
        return 0;
    kr_shape all = kr_array_shape(held);
    for (int d = 0; said && d < KR_AXES; d++)
        all.n[d] = said->n[d] > all.n[d] ? said->n[d] : all.n[d];
    kr_scoped(array) a = said ? widened(said, all) : kr_array_new(KR_R32, all);
    kr_scoped(array) b = widened(held, all);
    if (!a || !b)
        return kr_error_code();
    if (!said)
        kr_fill(a, 1);
    long nx = all.n[KR_X], empty = 0, both = 0;
    for (long l = 0, n = kr_count(all) / nx; l < n; l++) {
        const float *have = KR_R(b) + l * nx;
        float *counted = KR_R(a) + l * nx;
        long some = 0, none = 0;
        for (long x = 0; x < nx; x++) {
            some += counted[x] > 0 && have[x] > 0;
            none += counted[x] > 0 && !(have[x] > 0);
        }
        both += some;
        empty += some ? none : 0;
        for (long x = 0; some && x < nx; x++)
            counted[x] = counted[x] > 0 && have[x] > 0;
    }
    if ((double)empty <= 0.01 * (double)(both + empty))
        return 0;
    kr_text_add(t, "%ld of %ld samples of its lines are 0 in all channels, as no scanner measures them: they count as not measured\n", empty, both + empty);
    kr_array_unref(&s->mask);
    s->mask = kr_array_ref(a);
    return 0;
}

int kr_scan_measured(kr_text *t, kr_scan *s)
{
    const unsigned grid = KR_ON(KR_Y) | KR_ON(KR_Z);
    if (!s->data || s->traj || s->in_image & grid || s->shape.n[KR_VIEW] > 1 || s->shape.n[KR_SAMPLE] > 1)
        return 0;
    if (s->lines[KR_LINES_IMAGING].count)
        return s->in_image & KR_ON(KR_X) ? 0 : gaps(t, s);
    if (!s->mask)
        return clear_residue(t, s);
    return clear_residue(t, s) ? kr_error_code() : compare(t, s);
}
