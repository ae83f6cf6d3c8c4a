/* around.c: what the pipelines around networks share. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

extern const around around_direct, around_atommic, around_fastmri, around_ncc1701, around_kray, around_phernst;
const around *const arounds[] = { &around_direct, &around_atommic, &around_fastmri, &around_ncc1701, &around_kray, &around_phernst, NULL };

const around *around_of(const kr_net_kind *kind)
{
    const around *const *a = arounds;
    while (*a && strcmp((*a)->name, kind->around))
        a++;
    kr_assert(*a);
    return *a;
}

void slice_clear(slice *s)
{
    kr_array_unref(&s->k);
    kr_array_unref(&s->mask);
    kr_array_unref(&s->sens);
    kr_array_unref(&s->start);
    kr_free_at(&s->acs);
    kr_free_at(&s->padding);
}

int slice_calibration(slice *s, const kr_scan *scan, bool symmetric)
{
    const kr_mask_facts *f = &s->facts;
    s->acs = kr_alloc_zero((size_t)(s->nx * s->ny), sizeof *s->acs);
    if (!s->acs)
        return kr_error_code();
    if (scan->calib_area) {
        kr_scoped(array) wide = kr_array_spread(scan->calib_area, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
        kr_scoped(array) area = wide ? kr_array_copy(wide) : NULL;
        if (!area || kr_count(kr_array_shape(area)) != s->nx * s->ny)
            return area ? kr_fail(KR_ESHAPE, "a calibration area %s for slices of %ld x %ld", kr_shape_text(kr_array_shape(area)), s->nx, s->ny) : kr_error_code();
        memcpy(s->acs, area->data, (size_t)(s->nx * s->ny) * sizeof *s->acs);
        return 0;
    }
    /* A fully sampled scan is all centre; the published masks keep 8 % there. */
    bool all = f->centre[1] == s->ny;
    long lines = all ? lround(0.08 * (double)s->ny) : f->centre[1], from = all ? (s->ny - lines + 1) / 2 : f->centre_from[1];
    if (symmetric && !all) {
        long left = s->ny / 2 - from, right = from + lines - s->ny / 2;
        lines = left < right ? 2 * left : 2 * right;
        lines = lines > 1 ? lines : 1;
        from = (s->ny - lines + 1) / 2;
    }
    for (long y = from; y < from + lines; y++)
        for (long x = 0; x < s->nx; x++)
            s->acs[y * s->nx + x] = f->centre[0] == s->nx || (x >= f->centre_from[0] && x < f->centre_from[0] + f->centre[0]);
    return 0;
}

int slice_open(slice *s, const kr_scan *scan, long i)
{
    kr_scoped(array) view = kr_part(scan->data, scan, i);
    s->k = kr_array_copy(view);
    if (!s->k || (scan->in_image && kr_fourier(s->k, scan->in_image)))
        return kr_error_code();
    s->nx = s->k->n[KR_X];
    s->ny = s->k->n[KR_Y];
    s->coils = s->k->n[KR_COIL];
    kr_scoped(array) whole = kr_scan_mask(scan);
    kr_scoped(array) part = whole ? kr_part(whole, scan, i) : NULL;
    kr_shape plane = KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny);
    kr_scoped(array) wide = part ? kr_array_spread(part, plane) : NULL;
    s->mask = kr_array_copy(wide);
    if (!s->mask || kr_mask_describe(&s->facts, part, plane))
        return kr_error_code();
    if (!s->facts.centre[0] || !s->facts.centre[1])
        return kr_fail(KR_EREFUSED, "the centre of k-space is not measured: a network of this kind needs calibration lines there");
    return 0;
}

/* exp(2 pi i h (k - from) / n), h = n/2; exactly 1 and -1 where n is even. */
static void ramp(kr_cfloat *w, long n, long from, int sign)
{
    const double pi = 3.14159265358979323846;
    for (long k = 0, h = n / 2; k < n; k++) {
        long turn = ((sign * h * (k - from)) % n + n) % n;
        double t = 2 * pi * (double)turn / (double)n;
        w[k] = turn == 0 ? kr_c(1, 0) : 2 * turn == n ? kr_c(-1, 0) : kr_c((float)cos(t), (float)sin(t));
    }
}

int uncentred(kr_array *a, int which, bool back)
{
    long nx = a->n[KR_X], ny = a->n[KR_Y], planes = kr_count(kr_array_shape(a)) / (nx * ny);
    kr_auto kr_cfloat *w = kr_alloc((size_t)(nx + ny), sizeof *w);
    if (!w)
        return kr_error_code();
    int sign = (which == AROUND_IMAGE) != back ? 1 : -1;
    ramp(w, nx, which == AROUND_IMAGE ? 0 : nx / 2, sign);
    ramp(w + nx, ny, which == AROUND_IMAGE ? 0 : ny / 2, sign);
    for (long p = 0; p < planes * ny; p++)
        for (long x = 0; x < nx; x++)
            KR_C(a)[p * nx + x] = kr_cmul(KR_C(a)[p * nx + x], kr_cmul(w[x], w[nx + p % ny]));
    return 0;
}

int slice_run(kr_array *z, slice *s, kr_net *net, bool centred, double scaling)
{
    kr_net_input in = { .coils = s->coils, .h = s->ny, .w = s->nx, .kspace = KR_C(s->k), .mask = KR_R(s->mask), .acs = s->acs,
                        .padding = s->padding, .sens = s->sens ? KR_C(s->sens) : NULL, .centred = centred,
                        .start = s->start ? KR_C(s->start) : NULL, .scaling = scaling, .squared_scale = s->scale * s->scale, .kspace_unit = s->unit };
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->nx, [KR_Y] = s->ny));
    if (!x || kr_net_run(net, KR_C(x), &in, NULL))
        return kr_error_code();
    kr_scale(x, (float)s->scale);
    kr_array_assign(z, x);
    return 0;
}

void around_unit_maps(kr_array *maps, const kr_trace *trace)
{
    long n = maps->n[KR_X] * maps->n[KR_Y], coils = maps->n[KR_COIL], there = 0;
    double off = 0;
    kr_cfloat *s = KR_C(maps);
    for (int pass = 0; pass < 2; pass++) {
        for (long i = 0; i < n; i++) {
            double sum = 0;
            for (long c = 0; c < coils; c++)
                sum += (double)kr_cabs2(s[c * n + i]);
            there += !pass && sum > 0;
            off += !pass && sum > 0 ? fabs(sum - 1) : 0;
            for (long c = 0; c < coils && pass && sum > 0; c++)
                s[c * n + i] *= (float)(1 / sqrt(sum));
        }
        if (!pass && off <= 0.01 * (double)there)           /* as they are */
            return;
    }
    kr_say(trace, KR_INFO, "the coil maps have no unit norm; they are divided by their root sum of squares, as networks expect");
}

kr_array *around_middle(const kr_array *a, int axis, long m) { return kr_array_range(a, axis, (a->n[axis] - m) / 2, m); }

bool around_no(const char *v) { return v && (!strcasecmp(v, "false") || !strcmp(v, "0")); }
bool around_none(const char *v) { return !v || !strcmp(v, "none"); }

int around_number(double *to, const kr_weights *w, const char *name, double otherwise, double least, double most)
{
    const char *v = kr_weights_told(w, name);
    char *end = NULL;
    *to = !v ? otherwise : !strcmp(v, "none") ? 0 : strtod(v, &end);
    if (end && (end == v || *end || !(*to >= least && *to <= most)))
        return kr_fail(KR_EFORMAT, "%s of the configuration is '%s'; a number from %g to %g is wanted", name, v, least, most);
    return 0;
}
