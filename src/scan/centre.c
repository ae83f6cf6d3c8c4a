/* centre.c: is the origin of k-space where the file says, and if not, put it there; and do channels and samples keep to proportion. */
#include "kray/fourier.h"
#include "kray/scan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool off_grid(const kr_scan *s) { return s->shape.n[KR_SAMPLE] > 1 || s->shape.n[KR_VIEW] > 1; }

/* Lines placed by counters are told by these. */
static long counter_of_middle(const kr_scan *s, int axis)
{
    bool counted = axis != KR_X && s->lines[KR_LINES_IMAGING].count && s->enc.limit[axis].known;
    return counted ? s->enc.limit[axis].centre : s->shape.n[axis] / 2;
}

/* In double: squares of some units overflow in single precision, or vanish. */
static double size2(kr_cfloat v)
{
    double re = (double)kr_re(v), im = (double)kr_im(v);
    return re * re + im * im;
}

/* The larger of both parts. */
static float part_of(kr_cfloat v)
{
    float re = fabsf(kr_re(v)), im = fabsf(kr_im(v));
    return re > im ? re : im;
}

/* ---- What the samples say ---- */
/* The first slice and frame, all coils, {X,Y,Z,COIL}, contiguous. */
static kr_array *first_frame(const kr_scan *s)
{
    kr_array *a = kr_array_ref(s->data);
    for (int d = 0; a && d < KR_AXES; d++)
        if (d > KR_Z && d != KR_COIL && a->n[d] > 1) {
            long middle = d == KR_SLICE ? a->n[d] / 2 : 0;
            kr_array *next = kr_array_at(a, d, middle);
            kr_array_unref(&a);
            a = next;
        }
    kr_array *packed = a ? kr_array_packed(a) : NULL;
    kr_array_unref(&a);
    return packed;
}

struct energy { double *of[3]; long n[3]; };

static void add_energy(struct energy *e, const kr_array *a)
{
    const kr_cfloat *p = KR_C(a);
    for (long c = 0; c < a->n[KR_COIL]; c++)
        for (long z = 0; z < e->n[2]; z++)
            for (long y = 0; y < e->n[1]; y++) {
                double sum = 0;
                for (long x = 0; x < e->n[0]; x++, p++) {
                    double v = size2(*p);
                    e->of[0][x] += v;
                    sum += v;
                }
                e->of[1][y] += sum;
                e->of[2][z] += sum;
            }
}

static long peak_of(const double *v, long n)
{
    long p = 0;
    for (long i = 1; i < n; i++)
        p = v[i] > v[p] ? i : p;
    return p;
}

/* At the origin, or at measured lines beside it, there is the most energy, or nearly so: 4 is far more than the phase of coils and tissue
 * takes from one line to its neighbours. A peak within a sixteenth of the width is such a phase, too (a shifted echo). */
enum { CLEARLY = 4, NEAR = 16 };
static bool elsewhere(const double *v, long n, long p)
{
    long c = n / 2, width = n / NEAR > 2 ? n / NEAR : 2, gap = 0;
    while (gap < n && !(c - gap >= 0 && v[c - gap] > 0) && !(c + gap < n && v[c + gap] > 0))
        gap++;
    width = gap + 1 > width ? gap + 1 : width;
    double most = 0;
    for (long i = c - width; i <= c + width; i++)
        most = i >= 0 && i < n && v[i] > most ? v[i] : most;
    return labs(p - c) > width && v[p] > CLEARLY * most;
}

/* n sum |x|^4 / (sum |x|^2)^2: 2 for noise, a few for images, hundreds for their k-space. */
static double concentration(const kr_array *a)
{
    double two = 0, four = 0;
    long n = kr_count(kr_array_shape(a));
    for (long i = 0; i < n; i++) {
        double v = size2(KR_C(a)[i]);
        two += v;
        four += v * v;
    }
    return two > 0 ? (double)n * four / (two * two) : 0;
}

enum { LIKE_AN_IMAGE = 10 };
static int image_check(kr_text *t, const kr_array *a, unsigned axes)
{
    long coil = 0;
    double most = -1;
    for (long c = 0; c < a->n[KR_COIL]; c++) {
        kr_scoped(array) one = kr_array_at(a, KR_COIL, c);
        double v = one ? kr_norm(one) : 0;
        if (v > most) {
            most = v;
            coil = c;
        }
    }
    kr_scoped(array) one = kr_array_at(a, KR_COIL, coil);
    kr_scoped(array) x = one ? kr_array_copy(one) : NULL;
    if (!x)
        return kr_error_code();
    double before = concentration(x);
    if (kr_fourier(x, axes))
        return kr_error_code();
    double after = concentration(x);
    if (before < 2 * LIKE_AN_IMAGE && after > LIKE_AN_IMAGE * before)
        kr_text_add(t, "the numbers look like an image, not like k-space: their Fourier transform has its energy in %.3g times fewer points\n", after / before);
    return t->failed ? KR_EMEM : 0;
}

/* ---- Is the image's origin in its corner? ----
 * k = fftshift(fft2(image)) has the origin of k-space in the middle, but not that of the image, which comes out moved by half of its field of view: the object in pieces at the
 * borders, air in the middle. Of the energy at both borders and in the middle, a sixteenth and an eighth of the width: 20 is a factor of 4.5 in brightness, at both ends. */
enum { BORDERS = 20, COARSE = 64 };
static int rolled_check(kr_text *t, const kr_array *a, unsigned axes)
{
    kr_array *low = kr_array_ref(a);
    for (int d = KR_X; low && d <= KR_Z; d++)
        if (axes & KR_ON(d) && low->n[d] > COARSE) {
            kr_array *part = kr_array_range(low, d, low->n[d] / 2 - COARSE / 2, COARSE);
            kr_array_unref(&low);
            low = part;
        }
    kr_scoped(array) x = low ? kr_array_copy(low) : NULL;
    kr_array_unref(&low);
    if (!x || kr_fourier_inverse(x, axes))
        return kr_error_code();
    struct energy e = { .n = { x->n[KR_X], x->n[KR_Y], x->n[KR_Z] } };
    kr_auto double *room = kr_alloc_zero((size_t)(e.n[0] + e.n[1] + e.n[2]), sizeof *room);
    if (!room)
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        e.of[d] = d ? e.of[d - 1] + e.n[d - 1] : room;
    add_energy(&e, x);
    kr_text which = { 0 }, sum = { 0 };
    for (int d = 0; d < 3; d++) {
        long n = e.n[d], w = n / 16;
        if (!(axes & KR_ON(d)) || n < 32)
            continue;
        double low_end = 0, high_end = 0, middle = 0;
        for (long i = 0; i < w; i++) {
            low_end += e.of[d][i];
            high_end += e.of[d][n - 1 - i];
            middle += 0.5 * (e.of[d][n / 2 + i] + e.of[d][n / 2 - 1 - i]);
        }
        if (low_end > BORDERS * middle && high_end > BORDERS * middle) {
            kr_text_add(&which, "%s%s", which.len ? " and " : "", kr_axis_name(d));
            kr_text_add(&sum, "%s%s", sum.len ? " + " : "", kr_axis_name(d));
        }
    }
    if (which.len)
        kr_text_add(t, "the object lies in pieces at both borders along %s, with nothing in the middle, as k-space is that was made by fft without ifftshift of the image: multiply it "
                       "by (-1)^(%s)\n", which.s, sum.s);
    kr_text_clear(&which);
    kr_text_clear(&sum);
    return t->failed ? KR_EMEM : 0;
}

/* Real numbers have an image that is its own mirror image through the origin: the object over its turned self. */
static bool real_check(kr_text *t, const kr_array *a)
{
    long n = kr_count(kr_array_shape(a));
    bool some = false;
    for (long i = 0; i < n; i++) {
        if (fabsf(kr_im(KR_C(a)[i])) > 0)
            return false;
        some |= fabsf(kr_re(KR_C(a)[i])) > 0;
    }
    if (some)
        kr_text_add(t, "the numbers are real: k-space without its imaginary parts gives the object and its mirror image, one over the other\n");
    return some;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Channels unlike the others: receivers of one array differ by a factor of ten at most. Whitening puts right what is louder; what is far more quiet is switched off or broken. */
enum { TOO_LOUD = 100, TOO_QUIET = 1000 };
static void quiet_check(kr_text *t, const double *level, long coils, double median)
{
    long quiet = 0;
    kr_text which = { 0 };
    for (long c = 0; c < coils; c++)
        if (!(level[c] * TOO_QUIET > median)) {
            if (quiet++ < 8)
                kr_text_add(&which, quiet > 1 ? ", %ld" : "%ld", c);
            else if (quiet == 9)
                kr_text_add(&which, ", ...");
        }
    if (quiet)
        kr_text_add(t, "%ld of %ld channels (%s, counted from 0) hold nothing, or less than a thousandth of the others: switched off, or broken\n", quiet, coils, which.s ? which.s : "");
    kr_text_clear(&which);
}

/* Noise alone, and far more of it than in the others: the samples at both ends of the readout are as strong as those in its middle. */
enum { TOO_NOISY = 5 };
static int noisy_check(kr_text *t, const kr_array *a, const double *level)
{
    long coils = a->n[KR_COIL], nx = a->n[KR_X], lines = a->n[KR_Y] * a->n[KR_Z], heard = 0, most = -1;
    kr_auto double *edge = kr_alloc((size_t)coils, 2 * sizeof *edge);
    if (!edge)
        return kr_error_code();
    for (long c = 0; c < coils; c++) {
        double sum = 0;
        const kr_cfloat *p = KR_C(a) + c * nx * lines;
        for (long l = 0; l < lines; l++)
            for (long x = 0; x < nx / 4; x++)                              /* an eighth at each end */
                sum += size2(p[l * nx + (x % 2 ? nx - 1 - x / 2 : x / 2)]);
        edge[c] = sqrt(sum);
        if (edge[c] > 0)
            edge[coils + heard++] = edge[c];
        if (edge[c] > 0.3 * level[c] && (most < 0 || edge[c] > edge[most]))      /* a quarter of the samples holds half of the root of all energy where that is flat */
            most = c;
    }
    qsort(edge + coils, (size_t)heard, sizeof *edge, ascending);
    if (most >= 0 && heard > 2 && edge[most] > TOO_NOISY * edge[coils + heard / 2])
        kr_text_add(t, "channel %ld (of 0 to %ld) holds noise alone, %.3g times as strong as the median of the channels: it spoils the image; set it to 0, or give the noise covariance "
                       "(--covariance)\n", most, coils - 1, edge[most] / edge[coils + heard / 2]);
    return t->failed ? KR_EMEM : 0;
}

static int loud_check(kr_text *t, const kr_scan *s, const kr_array *a)
{
    long coils = a->n[KR_COIL], most = 0, heard = 0;
    kr_auto double *level = kr_alloc((size_t)coils, sizeof *level), *sorted = kr_alloc((size_t)coils, sizeof *sorted);
    if (!level || !sorted)
        return kr_error_code();
    for (long c = 0; c < coils; c++) {
        kr_scoped(array) one = kr_array_at(a, KR_COIL, c);
        if (!one)
            return kr_error_code();
        level[c] = kr_norm(one);
        most = level[c] > level[most] ? c : most;
        if (level[c] > 0)
            sorted[heard++] = level[c];
    }
    qsort(sorted, (size_t)heard, sizeof *sorted, ascending);
    if (heard > 2 && !s->noise && level[most] > TOO_LOUD * sorted[heard / 2])
        kr_text_add(t, "channel %ld (of 0 to %ld) is %.3g times as strong as the median of the channels: the image will be that channel's; divide it by its gain, "
                       "or give the noise covariance (--covariance)\n", most, coils - 1, level[most] / sorted[heard / 2]);
    if (heard && coils > 1)
        quiet_check(t, level, coils, sorted[heard / 2]);
    if (!s->noise && !(s->in_image & KR_ON(KR_X)) && a->n[KR_X] >= 16 && noisy_check(t, a, level))
        return kr_error_code();
    return t->failed ? KR_EMEM : 0;
}

/* Where the largest x is, by the larger of its parts. A block's largest is found lane by lane, and where it lies only if it is the largest so far. */
static long strongest(const kr_cfloat *x, long count)
{
    enum { LANES = 16, BLOCK = 4096 };
    long top = 0;
    float most = -1;
    for (long from = 0; from < count; from += BLOCK) {
        long n = count - from < BLOCK ? count - from : BLOCK, whole = n / LANES * LANES;
        float lane[LANES] = { 0 }, best = 0;
        for (long i = 0; i < whole; i += LANES)
            for (long j = 0; j < LANES; j++) {
                float v = part_of(x[from + i + j]);
                lane[j] = v > lane[j] ? v : lane[j];
            }
        for (long j = 0; j < LANES; j++)
            best = lane[j] > best ? lane[j] : best;
        for (long i = whole; i < n; i++)
            best = part_of(x[from + i]) > best ? part_of(x[from + i]) : best;
        for (long i = 0; best > most && i < n; i++)
            if (part_of(x[from + i]) > most) {
                top = from + i;
                most = part_of(x[top]);
            }
    }
    return top;
}

/* The strongest sample, far from the centre and far above all beside it. What was not measured is no neighbour. */
enum { SPIKE = 30 };
static bool spike_check(kr_text *t, const kr_array *a)
{
    const kr_cfloat *x = a->data;
    long n[3] = { a->n[0], a->n[1], a->n[2] }, count = kr_count(kr_array_shape(a)), top = strongest(x, count), seen = 0, p[3];
    for (long d = 0, i = top; d < 3; i /= n[d++])
        p[d] = i % n[d];
    double beside = 0;
    bool far = false;
    for (int d = 0; d < 3; d++)
        far = far || labs(p[d] - n[d] / 2) > (n[d] / NEAR > 2 ? n[d] / NEAR : 2);
    for (long i = 0; i < 125; i++) {
        long at = top - p[0] - n[0] * (p[1] + n[1] * p[2]), q[3] = { p[0] + i % 5 - 2, p[1] + i / 5 % 5 - 2, p[2] + i / 25 - 2 };
        bool within = i != 62;
        for (int d = 0; d < 3; d++)
            within = within && q[d] >= 0 && q[d] < n[d];
        double v = within ? size2(x[at + q[0] + n[0] * (q[1] + n[1] * q[2])]) : 0;
        seen += v > 0;
        beside = fmax(beside, v);
    }
    if (!far || seen < 4 || !(size2(x[top]) > (double)SPIKE * SPIKE * beside))
        return false;
    kr_text_add(t, "the sample at x = %ld, y = %ld, z = %ld of channel %ld is %.3g times as strong as any beside it: a spike, which puts stripes all over the image; set it to "
                   "0, or leave its line out\n", p[0], p[1], p[2], top / (n[0] * n[1] * n[2]), sqrt(size2(x[top]) / beside));
    return true;
}

/* Numbers that pile up at the largest one: those that would have been larger are not as they were. Else one or two are that large, and more are a little less. */
static void clipped_check(kr_text *t, const kr_array *a)
{
    long n = kr_count(kr_array_shape(a)), at = 0, below = 0, all = 0;
    float most = part_of(KR_C(a)[strongest(a->data, n)]);
    for (long i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
            float v = fabsf(k ? kr_im(KR_C(a)[i]) : kr_re(KR_C(a)[i]));
            all += v > 0;
            at += v >= 0.999f * most;                        /* whole numbers end at -32768 and at 32767 */
            below += v >= 0.8f * most && v < 0.999f * most;
        }
    if (at >= 16 && at > below && 4 * at < all)
        kr_text_add(t, "%ld numbers are the largest that there is (%.4g), and few are a little less: the receiver was overdriven, or they were cut off; what the image shows is not what "
                       "was measured\n", at, (double)most);
}

/* The same number in all samples is a bright dot in the middle of the image. At both ends of the readout little else is left; of an object one point has that much of the energy there only
 * if it is nothing but that point. */
static const double CONSTANT = 0.1;
static int constant_check(kr_text *t, const kr_array *a)
{
    long coils = a->n[KR_COIL], nx = a->n[KR_X], lines = a->n[KR_Y] * a->n[KR_Z], most = -1;
    double largest = 0;
    for (long c = 0; c < coils; c++) {
        double sum[2] = { 0, 0 }, energy = 0;
        long count = 0;
        const kr_cfloat *p = KR_C(a) + c * nx * lines;
        for (long l = 0; l < lines; l++)
            for (long x = 0; x < nx / 4; x++) {
                kr_cfloat v = p[l * nx + (x % 2 ? nx - 1 - x / 2 : x / 2)];
                sum[0] += (double)kr_re(v);
                sum[1] += (double)kr_im(v);
                energy += size2(v);
                count += size2(v) > 0;
            }
        double part = energy > 0 ? (sum[0] * sum[0] + sum[1] * sum[1]) / ((double)count * energy) : 0;
        if (count >= 256 && part > CONSTANT && part > largest) {
            largest = part;
            most = c;
        }
    }
    if (most >= 0)
        kr_text_add(t, "the samples at the ends of the readout share a constant (%.2g of their energy in channel %ld): an offset of the receiver, which puts a bright dot into the middle of "
                       "the image; take it off\n", largest, most);
    return t->failed ? KR_EMEM : 0;
}

int kr_scan_centre_check(kr_text *t, const kr_scan *s)
{
    if (!s->data || off_grid(s))
        return 0;
    kr_scoped(array) a = first_frame(s);
    struct energy e = { .n = { s->data->n[KR_X], s->data->n[KR_Y], s->data->n[KR_Z] } };
    kr_auto double *room = kr_alloc_zero((size_t)(e.n[0] + e.n[1] + e.n[2]), sizeof *room);
    if (!a || !room)
        return kr_error_code();
    if (!(s->in_image & (KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z))) && spike_check(t, a))
        return t->failed ? KR_EMEM : 0;                              /* energies tell nothing then */
    if (loud_check(t, s, a))
        return kr_error_code();
    if (!(s->in_image & (KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)))) {
        clipped_check(t, a);
        if (constant_check(t, a))
            return kr_error_code();
    }
    for (int d = 0; d < 3; d++)
        e.of[d] = d ? e.of[d - 1] + e.n[d - 1] : room;
    add_energy(&e, a);
    long peak[3], corners = 0, axes = 0;
    bool off[3];
    unsigned encoded = 0;
    for (int d = 0; d < 3; d++) {
        off[d] = false;
        peak[d] = peak_of(e.of[d], e.n[d]);
        if (e.n[d] < 8 || s->in_image & KR_ON(d) || (d == KR_Z && s->multiband.depth))
            continue;
        off[d] = elsewhere(e.of[d], e.n[d], peak[d]);
        axes++;
        encoded |= KR_ON(d);
        corners += off[d] && (peak[d] == 0 || peak[d] == e.n[d] - 1);
    }
    bool counted = s->lines[KR_LINES_IMAGING].count > 0;
    if (axes > 1 && corners == axes && !counted)
        kr_text_add(t, "the energy of k-space lies in its corners, as an FFT leaves it: --centre %s puts the origin into the middle\n", axes == 3 ? "0,0,0" : "0,0");
    else
        for (int d = 0; d < 3; d++)
            if (off[d]) {
                long at = peak[d] - e.n[d] / 2 + counter_of_middle(s, d);
                kr_text_add(t, "k-space has most energy at %s %ld along %s, %ld from its centre (%ld)%s; if the centre is there, give --centre %s%ld%s\n",
                            d ? "line" : "sample", at, kr_axis_name(d), labs(peak[d] - e.n[d] / 2), counter_of_middle(s, d),
                            counted && d ? " by the header" : "", d == KR_X ? "" : d == KR_Y ? "-," : "-,-,", at, d == KR_X ? ",-" : "");
            }
    if (counted || axes < 2)
        return t->failed ? KR_EMEM : 0;
    size_t before = t->len;
    if (image_check(t, a, encoded))
        return kr_error_code();
    if (t->len > before || corners || real_check(t, a))              /* no k-space, or it is told already */
        return t->failed ? KR_EMEM : 0;
    return rolled_check(t, a, encoded);
}

/* ---- Moving it ---- */
/* a with index c along the axis at n/2 of n points; turned round if that is asked for, else 0 where nothing was. */
static kr_array *moved(const kr_array *a, int axis, long c, long n, bool round)
{
    kr_shape shape = kr_array_shape(a);
    long have = a->n[axis];
    shape.n[axis] = n;
    kr_array *to = kr_array_new(a->type, shape);
    for (int part = round ? -1 : 0; to && part <= (round ? 1 : 0); part++) {
        long shift = n / 2 - c + part * have, from = shift < 0 ? -shift : 0, end = have + shift > n ? n - shift : have;
        if (end <= from)
            continue;
        kr_scoped(array) source = kr_array_range(a, axis, from, end - from);
        kr_scoped(array) place = kr_array_range(to, axis, from + shift, end - from);
        if (!source || !place)
            kr_array_unref(&to);
        else
            kr_array_assign(place, source);
    }
    return to;
}

static int replace(kr_array **a, kr_array *by)
{
    if (!by)
        return kr_error_code();
    kr_array_unref(a);
    *a = by;
    return 0;
}

/* The mask with as many points along the axis as there are. */
static kr_array *whole_mask(const kr_array *mask, int axis, long n)
{
    kr_shape shape = kr_array_shape(mask);
    if (mask->n[axis] == n)
        return kr_array_packed(mask);
    shape.n[axis] = n;
    kr_scoped(array) wide = kr_array_spread(mask, shape);
    return wide ? kr_array_copy(wide) : NULL;
}

static int move_axis(kr_scan *s, int axis, long c)
{
    long have = s->shape.n[axis], first = have, last = -1;
    kr_scoped(array) found = kr_scan_mask(s);
    kr_scoped(array) mask = found ? whole_mask(found, axis, have) : NULL;
    if (!mask)
        return kr_error_code();
    for (long i = 0; i < have; i++) {
        kr_scoped(array) row = kr_array_at(mask, axis, i);
        if (!row)
            return kr_error_code();
        if (kr_max_abs(row) > 0) {
            first = first < i ? first : i;
            last = i;
        }
    }
    bool round = c == 0 && !s->lines[KR_LINES_IMAGING].count;
    long left = c - first, right = last - c, need = 2 * left > 2 * right + 1 ? 2 * left : 2 * right + 1, n = round || need < have ? have : need;
    if (n > 65535)
        return kr_fail(KR_EREFUSED, "a centre at %ld of %ld points along %s is not possible", c, have, kr_axis_name(axis));
    if (replace(&s->data, moved(s->data, axis, c, n, round)) || (s->mask && replace(&s->mask, kr_array_ref(mask))) || (!s->mask && !(s->mask = kr_array_ref(mask)))
        || replace(&s->mask, moved(s->mask, axis, c, n, round)))
        return kr_error_code();
    if (s->calib_area && s->calib_area->n[axis] == have && replace(&s->calib_area, moved(s->calib_area, axis, c, n, round)))
        return kr_error_code();
    if (s->enc.limit[axis].known)
        s->enc.limit[axis].centre += c - have / 2;
    s->shape.n[axis] = n;
    if (s->enc.encoded[axis] > 0)                            /* the steps in k-space, and with them the field of view, stay */
        s->enc.encoded[axis] = n;
    return 0;
}

int kr_scan_centre(kr_scan *s, const long at[3])
{
    if (!s->data)
        return kr_fail(KR_EREFUSED, "there are no k-space data");
    if (off_grid(s))
        return kr_fail(KR_EREFUSED, "the readouts do not lie on a Cartesian grid, whose centre could be set");
    for (int d = 0; d < 3; d++) {
        long n = s->shape.n[d] > 1 ? s->shape.n[d] : 1, c = at[d] - counter_of_middle(s, d) + n / 2;
        if (at[d] < 0 || c == n / 2)
            continue;
        if (s->in_image & KR_ON(d))
            return kr_fail(KR_EREFUSED, "the data are in image space along %s: there is no centre of k-space to set", kr_axis_name(d));
        if (c < 0 || c >= n)
            return kr_fail(KR_EUSAGE, "a centre at %ld along %s lies outside of what was measured, %ld to %ld", at[d], kr_axis_name(d), at[d] - c, at[d] - c + n - 1);
        if (move_axis(s, d, c))
            return kr_error_code();
    }
    return 0;
}
