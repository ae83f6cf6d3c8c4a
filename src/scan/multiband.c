/* multiband.c: slices measured together. What reaches a receiver is the sum of the slices of a band, each with a phase that grows with
 * k_y (CAIPI), y(k_y) = sum_j exp(-2 pi i j k_y / shift) X_j(k_y). That is a discrete Fourier transform over j at one of `shift`
 * frequencies: line k_y of a 3D scan of few slices, of which each line is measured at one k_z. As such a slab it is
 * reconstructed by whatever reconstructs 3D scans. Sources: Setsompop et al., Magn Reson Med 67:1210 (2012); as k-space: Zahneisen et al.,
 * Magn Reson Med 71:2071 (2014). */
#include "kray/scan.h"
#include <math.h>
#include <stdlib.h>

enum { MOST = 64 };                  /* planes of a slab */

static long mod(long a, long n) { return (a % n + n) % n; }
static long gcd(long a, long b) { return b ? gcd(b, a % b) : a; }
static kr_cfloat cis(double turns) { return kr_c((float)cos(2 * M_PI * turns), (float)sin(2 * M_PI * turns)); }

/* How far, in steps of 1/|shift|, a line has turned the phase between neighbouring slices. */
static long turn(const kr_multiband *b, long ky) { return b->shift < 0 ? mod(-ky, -b->shift) : b->shift ? mod(ky, b->shift) : 0; }

static long steps(const kr_multiband *b) { return b->shift ? labs(b->shift) : 1; }

kr_cfloat kr_multiband_phase(const kr_multiband *b, long j, long ky)
{
    long n = steps(b);
    return cis(-(double)mod(j * turn(b, ky), n) / (double)n);
}

bool kr_is_multiband(const kr_scan *s) { return s->multiband.factor > 1; }

static long bands(const kr_scan *s) { return s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1; }

int kr_multiband_set(kr_scan *s, long factor, long shift)
{
    if (factor < 2 || factor > MOST)
        return kr_fail(KR_EREFUSED, "%ld slices measured together; 2 to %d are possible", factor, MOST);
    if (labs(shift) > MOST)
        return kr_fail(KR_EREFUSED, "neighbouring slices of a band are shifted by FOV / %ld; FOV / %d is the least that can be told", shift, MOST);
    s->multiband = (kr_multiband){ .factor = factor, .shift = shift, .distance_mm = s->multiband.distance_mm };
    return 0;
}

/* ---- Together ---- */
/* Every line of `to` is a sum over the lines of the slices of its band. */
struct sum { kr_array *to; const kr_array *from; const kr_multiband *b; long bands; };

static int sum_line(void *self, long i)
{
    const struct sum *j = self;
    long nx = j->to->n[KR_X], ny = j->to->n[KR_Y], y = i % ny, c = i / ny % j->to->n[KR_COIL], rest = i / ny / j->to->n[KR_COIL];
    long band = rest % j->bands, frame = rest / j->bands;
    kr_cfloat *to = KR_C(j->to) + i * nx;
    for (long s = 0; s < j->b->factor; s++) {
        kr_cfloat f = kr_multiband_phase(j->b, s, y - ny / 2);
        long slice = (frame * j->b->factor + s) * j->bands + band;
        const kr_cfloat *from = KR_C(j->from) + ((slice * j->to->n[KR_COIL] + c) * ny + y) * nx;
        for (long x = 0; x < nx; x++)
            to[x] += kr_cmul(f, from[x]);
    }
    return 0;
}

static bool varies(const kr_array *mask)
{
    return mask->n[KR_Y] > 1 || mask->n[KR_SLICE] > 1;
}

int kr_multiband_collapse(kr_scan *s, long factor, long shift, long lines)
{
    long slices = bands(s), ny = s->shape.n[KR_Y];
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data");
    if (kr_is_multiband(s))
        return kr_fail(KR_EREFUSED, "slices of this scan were measured together already, %ld at a time", s->multiband.factor);
    if (s->shape.n[KR_Z] > 1 || s->traj || s->in_image & KR_ON(KR_Y))
        return kr_fail(KR_EREFUSED, "slices of 2D Cartesian scans can be measured together, not k-space of shape %s", kr_shape_text(s->shape));
    if (factor > slices || slices % (factor > 0 ? factor : 1))
        return kr_fail(KR_EREFUSED, "%ld slices cannot be measured %ld at a time: their number has to be a multiple of it", slices, factor);
    if (lines < 0 || lines > ny)
        return kr_fail(KR_EREFUSED, "a single-band reference of %ld lines; the slices have %ld", lines, ny);
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_scoped(array) from = kr_array_packed(s->data);
    if (!mask || !from || kr_multiband_set(s, factor, shift))
        return kr_error_code();
    if (varies(mask)) {
        s->multiband = (kr_multiband){ 0 };
        return kr_fail(KR_EREFUSED, "only slices that were measured fully can be added up to a scan of several at a time");
    }
    kr_shape shape = s->shape;
    shape.n[KR_SLICE] = slices / factor;
    kr_scoped(array) calib = kr_array_crop(from, KR_Y, lines ? lines : ny);
    for (int d = KR_ECHO; calib && d < KR_AXES; d++) {       /* of the first frame */
        kr_array *first = kr_array_at(calib, d, 0);
        kr_array_unref(&calib);
        calib = first;
    }
    kr_scoped(array) own = calib ? kr_array_copy(calib) : NULL;
    kr_scoped(array) to = own ? kr_array_new(KR_C32, shape) : NULL;
    struct sum j = { to, from, &s->multiband, slices / factor };
    if (!to || kr_for(kr_count(shape) / to->n[KR_X], sum_line, &j)) {
        s->multiband = (kr_multiband){ 0 };
        return kr_error_code();
    }
    kr_array_unref(&s->data);
    kr_array_unref(&s->calib);
    kr_array_unref(&s->calib_mask);
    s->data = kr_array_ref(to);
    s->calib = kr_array_ref(own);
    s->shape = shape;
    s->multiband.distance_mm = kr_multiband_distance(s);
    for (int k = KR_LINES_IMAGING; k <= KR_LINES_CALIB; k++) {   /* the lines measured are not those of this scan */
        kr_free_at(&s->lines[k].line);
        kr_array_unref(&s->lines[k].data);
        s->lines[k].count = 0;
    }
    return s->data && s->calib ? 0 : kr_error_code();
}

double kr_multiband_distance(const kr_scan *s)
{
    const kr_geom *g = s->geom;
    double sum = 0;
    if (g->slices != bands(s) * s->multiband.factor)
        return s->multiband.distance_mm;
    for (int d = 0; d < 3; d++)
        sum += pow(g->position_mm[bands(s)][d] - g->position_mm[0][d], 2);
    return sqrt(sum);
}

/* ---- As a slab ---- */
static int check(const kr_scan *s)
{
    const kr_multiband *b = &s->multiband;
    const kr_array *c = s->calib;
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->shape.n[KR_Z] > 1 || s->traj || s->in_image & KR_ON(KR_Y))
        return kr_fail(KR_EREFUSED, "slices measured together are known of 2D Cartesian scans, not of k-space of shape %s", kr_shape_text(s->shape));
    if (b->factor > coils)
        return kr_fail(KR_EREFUSED, "%ld slices were measured together with %ld coils: no more slices than coils can be told apart", b->factor, coils);
    if (!c)
        return 0;
    if (c->n[KR_COIL] != coils)
        return kr_fail(KR_ESHAPE, "the single-band reference has %ld coils, the data have %ld", c->n[KR_COIL], coils);
    if (c->n[KR_SLICE] != bands(s) * b->factor)
        return kr_fail(KR_ESHAPE, "the single-band reference has %ld slices; %ld bands of %ld slices want %ld", c->n[KR_SLICE], bands(s), b->factor,
                       bands(s) * b->factor);
    if (c->n[KR_X] != s->shape.n[KR_X] || c->n[KR_Y] > s->shape.n[KR_Y] || c->n[KR_Z] > 1)
        return kr_fail(KR_ESHAPE, "the single-band reference has the shape %s, which does not fit data of %s: it wants the same readout and at most as many lines",
                       kr_shape_text(kr_array_shape(c)), kr_shape_text(s->shape));
    return 0;
}

/* first, step: all lines measured have turned by first + a multiple of step. */
static int find_steps(kr_multiband *b, const kr_array *mask, long ny)
{
    long n = steps(b);
    b->first = -1;
    b->step = n;
    for (long y = 0; y < ny; y++) {
        kr_scoped(array) row = mask->n[KR_Y] > 1 ? kr_array_at(mask, KR_Y, y) : kr_array_ref(mask);
        if (!row)
            return kr_error_code();
        if (!(kr_max_abs(row) > 0))
            continue;
        b->first = b->first < 0 ? turn(b, y - ny / 2) : b->first;
        b->step = gcd(b->step, labs(turn(b, y - ny / 2) - b->first));
    }
    n /= b->step;
    b->depth = (b->factor + n - 1) / n * n;
    return 0;
}

/* k_z of a line, and the phase that the centred transform's origin, plane depth/2, asks for. */
static long plane_of(const kr_multiband *b, long ky, kr_cfloat *phase)
{
    long n = steps(b) / b->step, t = mod(turn(b, ky) - b->first, steps(b)) / b->step, c = b->depth / 2;
    *phase = cis((double)mod(c * t, n) / (double)n);
    return (c + t * (b->depth / n)) % b->depth;
}

struct lift { const kr_multiband *b; kr_cfloat *slab, *flat; long nx, ny; bool back; };

static int lift_plane(void *self, long i)
{
    const struct lift *j = self;
    for (long y = 0; y < j->ny; y++) {
        kr_cfloat f, *flat = j->flat + (i * j->ny + y) * j->nx;
        kr_cfloat *slab = j->slab + ((i * j->b->depth + plane_of(j->b, y - j->ny / 2, &f)) * j->ny + y) * j->nx;
        for (long x = 0; x < j->nx; x++)
            if (j->back)
                flat[x] = kr_cmulc(f, slab[x]);
            else
                slab[x] = kr_cmul(f, flat[x]);
    }
    return 0;
}

static kr_array *lifted_mask(const kr_array *mask, const kr_multiband *b, long ny)
{
    kr_shape shape = kr_array_shape(mask);
    shape.n[KR_Y] = ny;
    shape.n[KR_Z] = b->depth;
    kr_array *all = kr_array_new(KR_R32, shape);
    for (long y = 0; all && y < ny; y++) {
        kr_cfloat f;
        kr_scoped(array) from = mask->n[KR_Y] > 1 ? kr_array_at(mask, KR_Y, y) : kr_array_ref(mask);
        kr_scoped(array) row = kr_array_at(all, KR_Y, y);
        kr_scoped(array) to = row ? kr_array_at(row, KR_Z, plane_of(b, y - ny / 2, &f)) : NULL;
        if (!from || !to)
            kr_array_unref(&all);
        else
            kr_array_assign(to, from);
    }
    return all;
}

int kr_multiband_open(kr_scan *s)
{
    kr_multiband *b = &s->multiband;
    if (!kr_is_multiband(s) || b->depth)
        return 0;
    if (check(s))
        return kr_error_code();
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_scoped(array) flat = kr_array_packed(s->data);
    if (!mask || !flat)
        return kr_error_code();
    kr_multiband as_read = *b;
    long ny = s->shape.n[KR_Y];
    int e = find_steps(b, mask, ny);
    kr_shape shape = s->shape;
    shape.n[KR_Z] = b->depth;
    kr_array *slab = e ? NULL : kr_array_new(KR_C32, shape), *sampled = slab ? lifted_mask(mask, b, ny) : NULL;
    struct lift j = { b, slab ? KR_C(slab) : NULL, KR_C(flat), flat->n[KR_X], ny, false };
    if (!sampled || kr_for(kr_count(s->shape) / (j.nx * j.ny), lift_plane, &j)) {
        kr_array_unref(&slab);
        kr_array_unref(&sampled);
        *b = as_read;
        return kr_error_code();
    }
    kr_array_unref(&s->data);
    kr_array_unref(&s->mask);
    s->data = slab;
    s->mask = sampled;
    s->shape = shape;
    return 0;
}

kr_array *kr_multiband_flat(const kr_scan *s)
{
    kr_array *flat = kr_array_new(KR_C32, kr_shape_without(s->shape, KR_ON(KR_Z)));
    kr_scoped(array) slab = flat ? kr_array_packed(s->data) : NULL;
    struct lift j = { &s->multiband, slab ? KR_C(slab) : NULL, flat ? KR_C(flat) : NULL, s->data->n[KR_X], s->data->n[KR_Y], true };
    if (!slab || kr_for(kr_count(kr_array_shape(flat)) / (j.nx * j.ny), lift_plane, &j))
        kr_array_unref(&flat);
    return flat;
}

/* Plane j of band b in `slab` and slice b + j bands in `singles`, both as views. */
static int plane_views(kr_array **plane, kr_array **single, const kr_array *slab, const kr_array *singles, long j)
{
    long count = slab->n[KR_SLICE];
    *plane = kr_array_at(slab, KR_Z, j);
    *single = kr_array_range(singles, KR_SLICE, j * count, count);
    return *plane && *single ? 0 : kr_error_code();
}

kr_array *kr_multiband_stack(const kr_array *singles, const kr_scan *s)
{
    const kr_multiband *b = &s->multiband;
    if (singles->n[KR_SLICE] != bands(s) * b->factor || singles->n[KR_Z] > 1) {
        kr_fail(KR_ESHAPE, "coil maps of shape %s for %ld bands of %ld slices", kr_shape_text(kr_array_shape(singles)), bands(s), b->factor);
        return NULL;
    }
    kr_shape shape = kr_array_shape(singles);
    shape.n[KR_Z] = b->depth;
    shape.n[KR_SLICE] = bands(s);
    kr_array *slab = kr_array_new(KR_C32, shape);
    for (long j = 0; slab && j < b->factor; j++) {
        kr_scoped(array) plane = NULL;
        kr_scoped(array) single = NULL;
        if (plane_views(&plane, &single, slab, singles, j))
            kr_array_unref(&slab);
        else
            kr_array_assign(plane, single);
    }
    return slab;
}

kr_array *kr_multiband_singles(const kr_array *slab, const kr_scan *s)
{
    kr_shape shape = kr_array_shape(slab);
    shape.n[KR_Z] = 1;
    shape.n[KR_SLICE] = bands(s) * s->multiband.factor;
    kr_array *singles = kr_array_new(slab->type, shape);
    for (long j = 0; singles && j < s->multiband.factor; j++) {
        kr_scoped(array) plane = NULL;
        kr_scoped(array) single = NULL;
        if (plane_views(&plane, &single, slab, singles, j))
            kr_array_unref(&singles);
        else
            kr_array_assign(single, plane);
    }
    return singles;
}

/* Without the phase that all lines measured have in common, and at the size of slices: the transform over planes is unitary, their sum
 * is not. */
int kr_multiband_close(kr_image *im, const kr_scan *s)
{
    const kr_multiband *b = &s->multiband;
    kr_array *singles = kr_multiband_singles(im->data, s);
    if (!singles)
        return kr_error_code();
    long slice = singles->step[KR_SLICE], n = kr_count(kr_array_shape(singles));
    for (long from = 0; from < n && singles->type == KR_C32 && b->first; from += slice) {
        kr_cfloat f = cis((double)mod(from / slice / bands(s) % b->factor * b->first, steps(b)) / (double)steps(b));
        for (long i = from; i < from + slice; i++)
            KR_C(singles)[i] = kr_cmul(f, KR_C(singles)[i]);
    }
    kr_scale(singles, (float)(1 / sqrt((double)b->depth)));
    kr_array_unref(&im->data);
    im->data = singles;
    return 0;
}
