/* calib.c: the calibration block: the largest fully sampled box around the centre of k-space. */
#include "kray/fourier.h"
#include "kray/scan.h"
#include <stdlib.h>
#include <string.h>

enum { D = 3 };
static const unsigned repeats = KR_ON(KR_PHASE) | KR_ON(KR_TIME) | KR_ON(KR_AVG);

/* Which samples around the centre were measured. An axis that already is in image space has no samples to miss: it
 * counts as one. */
struct seen {
    const kr_array *data, *mask;
    const kr_array *area;             /* R32 {X,Y,Z as needed}, what was meant for calibration; NULL: not known */
    unsigned in_image;
    long n[D], from[D];               /* the window searched: its lengths, and where it begins in data   */
    unsigned char *at;                /* [z][y][x] 1 where measured                                      */
    const char *out;                  /* slices that are left out: they hold nothing, or too little; NULL: none */
    long only;                        /* the one slice that is looked at; -1: all                        */
};
enum { IN, EMPTY, POOR };             /* of `out` */

static long place(const kr_array *a, const long index[KR_AXES])
{
    long e = 0;
    for (int d = 0; d < KR_AXES; d++)
        e += a->n[d] > 1 ? index[d] * a->step[d] : 0;
    return e;
}

/* Steps index through the axes of `n`; false after the last. */
static bool next(long index[KR_AXES], const long n[KR_AXES])
{
    for (int d = 0; d < KR_AXES; d++) {
        if (++index[d] < n[d])
            return true;
        index[d] = 0;
    }
    return false;
}

/* Not by its square, which underflows in small units. */
static bool some(kr_cfloat v) { return kr_re(v) != 0 || kr_im(v) != 0; }

static bool any(const kr_array *a, const long at[KR_AXES], const long n[KR_AXES])
{
    long index[KR_AXES] = { 0 }, base = place(a, at);
    do {
        long e = base + place(a, index);
        if (a->type == KR_C32 ? some(((const kr_cfloat *)a->data)[e]) : ((const float *)a->data)[e] > 0)
            return true;
    } while (next(index, n));
    return false;
}

/* Slices without any number, but not all of them. */
static void find_empty(char *out, const kr_array *a)
{
    long at[KR_AXES] = { 0 }, n[KR_AXES], count = 0, slices = a->n[KR_SLICE];
    memcpy(n, a->n, sizeof n);
    n[KR_SLICE] = 1;
    for (; at[KR_SLICE] < slices; at[KR_SLICE]++)
        count += out[at[KR_SLICE]] = any(a, at, n) ? IN : EMPTY;
    if (count == slices * EMPTY)
        memset(out, IN, (size_t)slices);
}

/* Measured means: in every slice that counts, in any coil and repetition. */
static bool measured(const struct seen *s, const long x[D])
{
    const kr_array *a = s->mask ? s->mask : s->data;
    long at[KR_AXES] = { 0 }, n[KR_AXES];
    for (int d = 0; d < KR_AXES; d++)
        n[d] = d == KR_COIL || (repeats & KR_ON(d)) || (d < D && s->in_image & KR_ON(d)) ? a->n[d] : 1;
    for (int d = 0; d < D; d++)
        at[d] = s->in_image & KR_ON(d) ? 0 : s->from[d] + x[d];
    if (s->area && !(KR_R(s->area)[place(s->area, at)] > 0))
        return false;
    for (long i = 0; i < a->n[KR_SLICE]; i++) {
        at[KR_SLICE] = i;
        if ((s->only < 0 || i == s->only) && !(s->out && s->out[i]) && !any(a, at, n))
            return false;
    }
    return true;
}

static int look(void *self, long line)
{
    const struct seen *s = self;
    long x[D] = { 0, line % s->n[1], line / s->n[1] };
    for (; x[0] < s->n[0]; x[0]++)
        s->at[line * s->n[0] + x[0]] = measured(s, x);
    return 0;
}

/* A centred box of length n covers n/2 before the centre m/2 and the rest from there: boxes are nested. The sample
 * that makes length n of n - 1 is: */
static long added(long n, long m) { return n & 1 ? m / 2 + n / 2 : m / 2 - n / 2; }

/* The centred box of largest volume. reach(y,z): how long the line is measured around its centre. For growing y the
 * shortest of these per z, for growing z the shortest of those: each pair (ny, nz) is met once. */
static void largest(const struct seen *s, const long *reach, long *shortest, long box[D])
{
    long best = 0, ny = s->n[1], nz = s->n[2];
    for (long z = 0; z < nz; z++)
        shortest[z] = s->n[0];
    for (long j = 1; j <= ny; j++) {
        long y = added(j, ny), nx = s->n[0];
        for (long z = 0; z < nz; z++)
            if (reach[z * ny + y] < shortest[z])
                shortest[z] = reach[z * ny + y];
        for (long k = 1; k <= nz; k++) {
            long x = shortest[added(k, nz)];
            nx = x < nx ? x : nx;
            if (nx * j * k > best) {
                best = nx * j * k;
                box[0] = nx;
                box[1] = j;
                box[2] = k;
            }
        }
    }
}

/* The box of what counts; its volume, 0: there is none; negative: failed. */
static long box_of(struct seen *s, long *reach, long *shortest, long box[D])
{
    long lines = s->n[1] * s->n[2];
    if (kr_for(lines, look, s))
        return kr_error_code();
    for (long l = 0; l < lines; l++) {
        long n = 0;
        while (n < s->n[0] && s->at[l * s->n[0] + added(n + 1, s->n[0])])
            n++;
        reach[l] = n;
    }
    box[0] = box[1] = box[2] = 0;
    largest(s, reach, shortest, box);
    return box[0] * box[1] * box[2];
}

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* Leaves out slices of whose centre less than half as much was measured as usually, where they are few: is there one? Negative: failed. */
static int leave_poor_out(struct seen *s, char *out, long slices, long *reach, long *shortest)
{
    long box[D], count = 0, poor = 0;
    kr_auto long *own = kr_alloc((size_t)slices, 2 * sizeof *own);
    if (!own)
        return kr_error_code();
    for (long i = 0; i < slices; i++) {
        s->only = i;
        if (!out[i] && (own[i] = box_of(s, reach, shortest, box)) < 0)
            return kr_error_code();
        if (!out[i])
            own[slices + count++] = own[i];
    }
    s->only = -1;
    qsort(own + slices, (size_t)count, sizeof *own, ascending);
    for (int pass = 0; pass < 2; pass++)
        for (long i = 0; i < slices; i++)
            if (!out[i] && 2 * own[i] < own[slices + count / 2] && (pass ? 2 * poor < count : true)) {
                poor += !pass;
                out[i] = pass ? POOR : out[i];
            }
    return poor && 2 * poor < count;
}

/* out: of each slice, whether it was left out. */
static int find(struct seen *s, char *out, const long most[D], long box[D])
{
    for (int d = 0; d < D; d++) {
        long n = s->data->n[d];
        s->n[d] = s->in_image & KR_ON(d) ? 1 : most[d] > 0 && most[d] < n ? most[d] : n;
        s->from[d] = n / 2 - s->n[d] / 2;
    }
    const kr_array *told = s->mask ? s->mask : s->data;
    long lines = s->n[1] * s->n[2], slices = told->n[KR_SLICE];
    kr_auto unsigned char *at = s->at = kr_alloc((size_t)lines, (size_t)s->n[0]);
    kr_auto long *reach = kr_alloc((size_t)lines, sizeof *reach), *shortest = kr_alloc((size_t)s->n[2], sizeof *shortest);
    if (!at || !reach || !shortest)
        return kr_error_code();
    memset(out, IN, (size_t)slices);
    find_empty(out, told);
    s->out = out;
    s->only = -1;
    long volume = box_of(s, reach, shortest, box);
    if (volume >= 0 && slices > 1 && volume < lines * s->n[0]) {
        int poor = leave_poor_out(s, out, slices, reach, shortest);
        volume = poor < 0 ? poor : poor ? box_of(s, reach, shortest, box) : volume;
    }
    s->out = NULL;
    if (volume < 0)
        return kr_error_code();
    if (!volume)
        return kr_fail(KR_EREFUSED, "the centre of k-space was not measured: there is no calibration area; give coil maps, "
                                    "or a scan with calibration lines");
    for (int d = 0; d < D; d++)
        if (s->in_image & KR_ON(d))
            box[d] = most[d] > 0 && most[d] < s->data->n[d] ? most[d] : s->data->n[d];
    return 0;
}

/* Poor slices are calibrated by the nearest of the others. */
static int lend(kr_array *b, const char *out)
{
    long slices = b->n[KR_SLICE];
    for (long i = 0; i < slices; i++) {
        long from = -1;
        for (long k = 0; out[i] == POOR && k < slices; k++)
            from = !out[k] && (from < 0 || labs(k - i) < labs(from - i)) ? k : from;
        kr_scoped(array) to = from < 0 ? NULL : kr_array_at(b, KR_SLICE, i);
        kr_scoped(array) lent = from < 0 ? NULL : kr_array_at(b, KR_SLICE, from);
        if (from >= 0 && (!to || !lent))
            return kr_error_code();
        if (lent)
            kr_array_assign(to, lent);
    }
    return 0;
}

/* The mean of a sample over its repetitions, of those in which it was measured. */
static void average(kr_array *to, const kr_array *from)
{
    long n[KR_AXES], outer[KR_AXES], index[KR_AXES] = { 0 };
    for (int d = 0; d < KR_AXES; d++) {
        n[d] = repeats & KR_ON(d) ? from->n[d] : 1;
        outer[d] = to->n[d];
    }
    do {
        long inner[KR_AXES] = { 0 }, count = 0, base = place(from, index);
        double re = 0, im = 0;
        do {
            kr_cfloat v = ((const kr_cfloat *)from->data)[base + place(from, inner)];
            count += some(v);
            re += kr_re(v);
            im += kr_im(v);
        } while (next(inner, n));
        double f = count ? 1 / (double)count : 0;
        KR_C(to)[place(to, index)] = kr_c((float)(re * f), (float)(im * f));
    } while (next(index, outer));
}

/* box of a {X,Y,Z,COIL,SLICE}; of echoes and sets the first, of repetitions the mean. */
static kr_array *cut(const kr_array *a, const long box[D], unsigned in_image)
{
    kr_array *v = kr_array_ref(a);
    for (int d = 0; v && d < KR_AXES; d++) {
        long n = d < D ? (in_image & KR_ON(d) ? a->n[d] : box[d]) : d == KR_COIL || d == KR_SLICE || repeats & KR_ON(d) ? a->n[d] : 1;
        kr_array *w = kr_array_range(v, d, d < D ? a->n[d] / 2 - n / 2 : 0, n);
        kr_array_unref(&v);
        v = w;
    }
    if (!v)
        return NULL;
    kr_array *b = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(v), repeats));
    if (b && kr_count(kr_shape_only(kr_array_shape(v), repeats)) > 1)
        average(b, v);
    else if (b)
        kr_array_assign(b, v);
    kr_array_unref(&v);
    if (b && in_image && kr_fourier(b, in_image))
        kr_array_unref(&b);
    for (int d = 0; b && d < D; d++)
        if (b->n[d] > box[d]) {
            v = kr_array_crop(b, d, box[d]);
            kr_array_unref(&b);
            b = v;
        }
    v = kr_array_packed(b);
    kr_array_unref(&b);
    return v;
}

static kr_array *block(const kr_array *data, const kr_array *mask, const kr_array *area, unsigned in_image, const long most[D])
{
    struct seen s = { .data = data, .mask = mask, .area = area, .in_image = in_image };
    long box[D];
    kr_auto char *out = kr_alloc((size_t)data->n[KR_SLICE], 1);
    int e = out ? find(&s, out, most, box) : kr_error_code();
    if (e == KR_EREFUSED && area) {                                  /* not around the centre */
        kr_error_clear();
        s.area = NULL;
        e = find(&s, out, most, box);
    }
    if (e)
        return NULL;
    kr_array *b = cut(data, box, in_image);
    if (b && (mask ? mask : data)->n[KR_SLICE] == b->n[KR_SLICE] && lend(b, out))
        kr_array_unref(&b);
    if (b && !kr_all_finite(b)) {
        kr_fail(KR_ENUMBER, "the calibration area holds numbers that are not finite");
        kr_array_unref(&b);
    }
    if (b && kr_max_abs(b) <= 0) {
        kr_fail(KR_ENUMBER, "the calibration area is all zero");
        kr_array_unref(&b);
    }
    return b;
}

kr_array *kr_calibration(const kr_scan *s, const long most[D])
{
    static const unsigned grid = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);
    if (!s->data && !s->calib) {
        kr_fail(KR_EFORMAT, "there are no k-space data to calibrate from");
        return NULL;
    }
    if (s->traj) {
        kr_fail(KR_EREFUSED, "coil calibration needs samples on a Cartesian grid, this scan has a trajectory");
        return NULL;
    }
    if (kr_is_multiband(s) && !s->calib) {                   /* data of several slices tell nothing of one */
        kr_fail(KR_EREFUSED, "slices measured together are calibrated from a single-band reference, and there is none");
        return NULL;
    }
    kr_array *b = s->calib ? block(s->calib, s->calib_mask, NULL, s->in_image & grid, most) : NULL;
    if (b || !s->data || kr_is_multiband(s) || (s->calib && kr_error_code() == KR_EMEM))
        return b;
    return block(s->data, s->mask, s->calib_area, s->in_image & grid, most);
}
