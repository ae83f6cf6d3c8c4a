/* job_rays.c: a job on X-ray projections: which files they are in, and what of a job means nothing to them. */
#include "job.h"
#include "model.h"
#include "kray/ct.h"
#include "kray/pages.h"
#include "kray/trajectory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Formats that hold arrays of any meaning: others are raw data of MRI, or images. */
static bool may_hold(const kr_format *f) { return !f || !f->read || f->any; }

int job_projections(kr_job *j, kr_projections **p, const char *source, const kr_trace *trace)
{
    *p = NULL;
    if (j->how.geometry)
        return kr_projections_read(p, source, trace) || kr_projections_geometry(*p, j->how.geometry) ? kr_error_code() : 1;
    if (j->how.from)
        return 0;
    kr_source src;
    const kr_format *f = kr_source_parse(&src, source) ? NULL : kr_format_of(src.path);
    kr_source_clear(&src);
    if (kr_error_code() == KR_EMEM)
        return kr_error_code();
    kr_error_clear();                            /* reading will tell */
    return may_hold(f) ? kr_ct_known(p, source, trace) : 0;
}

int job_rays_only(const kr_job *j)
{
    const kr_job_opts *o = &j->how;
    const kr_stated *s = &o->stated;
    const kr_along *a = s->along;
    bool voxel = s->voxel_mm[0] > 0, traj = s->traj || s->traj_spec || s->spokes || s->density_kind || s->density || s->delay_auto;
    for (int d = 0; d < 3; d++)
        traj |= fabs(s->delay[d]) > 0 || (a && (a->fov_mm[d] > 0 || fabs(a->shift_mm[d]) > 0));
    traj |= a && (a->unit || a->field || a->gates.phases || a->gates.breathing);
    const char *idle = o->undersample ? "undersampling" : o->maps || o->coils_asked ? "coil maps" : o->prepare.coils ? "coil compression"
                       : o->partial && strcmp(o->partial, "zero") ? "partial Fourier" : s->kspace_sign ? "the sign of k-space" : voxel ? "a voxel size"
                       : s->centred ? "the centre of k-space" : traj ? "what goes with a trajectory" : s->multiband || s->caipi || s->single_band ? "multiband" : s->covariance ? "noise covariance" : NULL;
    return idle ? kr_fail(KR_EUSAGE, "%s: %s is asked for, which X-ray projections do not have", j->source ? j->source : "the scan", idle) : 0;
}

const char *job_rays_room(char *text, size_t size, kr_job *j, const kr_scan *s, double bytes)
{
    *text = 0;
    for (double by = 1.05; by < 32; by *= 1.05) {                    /* shape, rays and grid alone are looked at */
        kr_scan p = *s;
        for (int d = 0; d < 3; d++)
            p.grid.n[d] = s->grid.n[d] > 1 ? (long)ceil((double)s->grid.n[d] / by) : 1;
        double needed = job_rays_bytes(j, &p);
        if (needed >= 0 && needed <= bytes) {
            snprintf(text, size, ": %.3g mm would fit", by * fabs(s->grid.step[0]));
            break;
        }
    }
    kr_error_clear();
    return text;
}

int job_rays_fit(kr_job *j, const kr_scan *s)
{
    double bytes = job_rays_bytes(j, s), machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE), most = j->how.memory ? (double)j->how.memory : machine;
    char needed[32], there[32], voxel[64];
    const long *n = s->grid.n, deep = n[2] > 1 ? n[2] : kr_parts(s);
    if (kr_mem_pages())                          /* what memory does not hold lies in files */
        return 0;
    if (bytes < 0)
        return kr_error_code();
    return bytes <= most ? 0 : kr_fail(KR_EREFUSED, "%s of %ld x %ld x %ld voxels needs %s, and %s %s: take fewer or larger voxels (--matrix, --voxel%s)%s, fewer elements (--bin), or let kray ct --memory SIZE keep on disk what memory does not hold", j->method->name, n[0], n[1],
                                       deep, kr_size_text(needed, bytes), kr_size_text(there, most), j->how.memory ? "are allowed" : "are what this machine has", job_rays_room(voxel, sizeof voxel, j, s, most),
                                       j->method->needs & KR_RAYS_DIRECT ? ", a part of them (--box, --slice)" : "");
}

int job_takes(const kr_recon *m, const kr_scan *s)
{
    if (s->rays ? m->needs & KR_TAKES_RAYS : !(m->needs & KR_RAYS_ALONE))
        return 0;
    kr_text known = { 0 };
    for (int i = 0; s->rays && kr_recons[i]; i++)
        if (kr_recons[i]->needs & KR_TAKES_RAYS)
            kr_text_add(&known, "%s%s", known.len ? ", " : "", kr_recons[i]->name);
    int e = s->rays ? kr_fail(KR_EUSAGE, "%s is for data of MRI; of X-ray projections images are made by %s", m->name, known.s ? known.s : "no method")
                    : kr_fail(KR_EUSAGE, "%s is for X-ray projections, and these are data of MRI", m->name);
    kr_text_clear(&known);
    return e;
}

int job_rays_scan(kr_job *j, kr_scan **out, kr_projections **p, const char *source, const kr_trace *trace)
{
    const long *n = j->how.stated.matrix;
    kr_ct_opts o = kr_ct_preset();
    o.matrix = n[0];
    int e = n[0] != n[1] || n[2] > 1 ? kr_fail(KR_EUSAGE, "--matrix %ld,%ld: images of X-ray projections are square, and as high as the detector sees", n[0], n[1]) : 0;
    e = e || job_rays_only(j) ? kr_error_code() : kr_ct_scan(out, *p, source, &o, NULL, trace);
    kr_projections_unref(p);
    return e;
}
