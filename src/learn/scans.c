/* scans.c: slices of raw scans, in any format that Kray reads, as data to train on. */
#include "learning.h"
#include "kray/io.h"
#include <string.h>

static int read(kr_scan **s, const char *path, const kr_trace *trace)
{
    if (kr_scan_read(s, path, NULL, NULL, trace) || kr_scan_check(*s) || kr_scan_prepare(*s, &kr_prepare_preset, trace))
        return kr_error_code();
    if ((*s)->rays || (*s)->traj || kr_is_multiband(*s) || (*s)->shape.n[KR_Z] > 1)
        return kr_fail(KR_EREFUSED, "training takes slices on a grid, measured one at a time, not %s", (*s)->rays ? "X-ray projections" : (*s)->traj ? "samples along a trajectory"
                       : kr_is_multiband(*s) ? "slices measured together" : "volumes (3D)");
    return kr_scan_to_kspace(*s, (*s)->in_image);
}

/* Of a series, the first frame. */
static int cut(kr_scan *out, const kr_scan *s, long slice)
{
    kr_scoped(array) whole = kr_scan_mask(s);
    kr_array *part[2] = { kr_array_ref(s->data), kr_array_ref(whole) };
    for (int i = 0; i < 2; i++)
        for (int a = 0; a < KR_AXES && part[i]; a++)
            if (a != KR_X && a != KR_Y && a != KR_COIL && part[i]->n[a] > 1) {
                kr_array *one = kr_array_at(part[i], a, a == KR_SLICE ? slice : 0);
                kr_array_unref(&part[i]);
                part[i] = one;
            }
    kr_scoped(array) wide = part[1] ? kr_array_spread(part[1], KR_SHAPE([KR_X] = s->data->n[KR_X], [KR_Y] = s->data->n[KR_Y])) : NULL;
    out->data = part[0] ? kr_array_copy(part[0]) : NULL;
    out->mask = wide ? kr_array_copy(wide) : NULL;
    for (int i = 0; i < 2; i++)
        kr_array_unref(&part[i]);
    if (!out->data || !out->mask)
        return kr_error_code();
    out->shape = kr_array_shape(out->data);
    out->whitened = s->whitened;
    out->dwell_us = s->dwell_us;
    out->noise_dwell_us = s->noise_dwell_us;
    return 0;
}

int learn_scan_slice(kr_scan **out, bool *full, const char *path, long slice)
{
    kr_scoped(scan) s = NULL;
    *out = kr_scan_new();
    int e = *out ? read(&s, path, NULL) : kr_error_code();
    e = e ? e : cut(*out, s, slice);
    *full = true;
    for (long i = 0; !e && i < (*out)->shape.n[KR_X] * (*out)->shape.n[KR_Y]; i++)
        *full &= KR_R((*out)->mask)[i] != 0;
    if (e)
        kr_scan_unref(out);
    return e;
}

int learn_scan_open(learn_volume *v, bool *full, const char *path, const kr_trace *trace)
{
    kr_scoped(scan) s = NULL;
    kr_scoped(scan) first = kr_scan_new();
    if (!first || read(&s, path, trace) || cut(first, s, 0))
        return kr_error_code();
    *full = true;
    for (long i = 0; i < s->shape.n[KR_X] * s->shape.n[KR_Y]; i++)
        *full &= KR_R(first->mask)[i] != 0;
    kr_digest(s->data->data, (size_t)kr_count(s->shape) * sizeof(kr_cfloat), v->digest);
    v->n[0] = s->shape.n[KR_X];
    v->n[1] = s->shape.n[KR_Y];
    v->n[2] = s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1;
    v->axes = 4;
    v->path = kr_strdup(path);
    return v->path ? 0 : kr_error_code();
}
