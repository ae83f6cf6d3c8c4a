/* ct_slabs.c: images of X-ray projections part by part, planes along z, for memory that does not hold them whole. */
#include "kray/ct.h"
#include "ct_disk.h"

static bool volume(const kr_scan *s) { return s->grid.n[2] > 1 || s->rays->rows > 1; }
long kr_ct_deep(const kr_scan *s) { return volume(s) ? s->grid.n[2] : s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1; }

static kr_grid planes_of(const kr_grid *g, long from, long count)
{
    kr_grid some = *g;
    some.first[2] += (double)from * g->step[2];
    some.n[2] = count;
    return some;
}

int kr_ct_part(kr_scan **out, const kr_scan *s, long from, long count)
{
    *out = NULL;
    kr_scoped(scan) p = volume(s) ? kr_scan_slices(s, 0, 1) : kr_scan_slices(s, from, count);
    long row = 0, rows = s->rays->rows;
    if (!p)
        return kr_error_code();
    if (volume(s)) {
        p->grid = planes_of(&s->grid, from, count);
        kr_rays_rows(s->rays, &p->grid, &row, &rows);
        kr_rays_unref(&p->rays);
        kr_array_unref(&p->data);
        kr_scoped(array) seen = kr_array_range(s->data, KR_V, row, rows);
        if (!seen || !(p->data = kr_array_packed(seen)) || !(p->rays = kr_rays_of_rows(s->rays, row, rows)))
            return kr_error_code();
        p->shape = kr_array_shape(p->data);
    }
    *out = p;
    p = NULL;
    return 0;
}

static const double WRITES = 5 << 20;      /* packing, and a copy on its way */

/* At the peak: all data, and the dearest of the parts. */
static double bytes_of(kr_job *j, const kr_scan *s, long count)
{
    double most = 0, data = 4 * (double)kr_count(s->shape);
    long deep = kr_ct_deep(s);
    kr_rays *rays = NULL;
    for (long from = 0; from < deep && most >= 0; from += volume(s) ? count : deep) {
        kr_scan p = *s;                          /* shape, rays and grid alone are looked at */
        long row = 0, rows = s->rays->rows;
        if (volume(s)) {
            p.grid = planes_of(&s->grid, from, from + count > deep ? deep - from : count);
            kr_rays_rows(s->rays, &p.grid, &row, &rows);
            p.rays = rays = kr_rays_of_rows(s->rays, row, rows);
            p.shape.n[KR_V] = rows;
        } else
            p.shape.n[KR_SLICE] = count;
        double own = volume(s) && !rays ? -1 : job_rays_bytes(j, &p);
        if (rows == s->rays->rows)               /* not copied */
            own -= 4 * (double)kr_count(p.shape);
        most = own < 0 ? -1 : own + data > most ? own + data : most;
        kr_rays_unref(&rays);
    }
    return most < 0 ? most : most + WRITES;
}

long kr_ct_planes(kr_job *j, kr_scan *s, int64_t memory, const kr_trace *trace)
{
    if (job_rays_only(j) || (!j->method && !(j->method = job_choose(j, s, trace))) || job_takes(j->method, s))
        return kr_error_code();
    long deep = kr_ct_deep(s), least = volume(s) && !(j->method->needs & KR_RAYS_DIRECT) ? deep : 1;
    double bytes = 0;
    for (long k = deep; k >= least; k = k > 8 ? k - k / 8 : k - 1) {
        bytes = bytes_of(j, s, k);
        if (bytes < 0)
            return kr_error_code();
        if (bytes <= (double)memory)
            return k;
    }
    long some = least > 1 ? job_disk_planes(j, s, (double)memory) : 0;
    if (some)
        return some;
    char needed[32], allowed[32], voxel[64];
    const char *room = job_rays_room(voxel, sizeof voxel, j, s, (double)memory - WRITES);
    return kr_fail(KR_EREFUSED, "%s: %s needs %s for %s, %s are allowed: %s%s%s", s->file ? s->file : "the scan", j->method->name, kr_size_text(needed, bytes), least > 1 ? "the volume, which it makes as a whole" : "a single slice",
                   kr_size_text(allowed, (double)memory), least > 1 ? j->method->by_slabs ? "that is too little for a few planes of it; take larger voxels (--voxel" : "fbp works part by part, sirt, os-sart, sart and cgls with volumes on disk; others take larger voxels (--voxel" : "the projections themselves, with the program, are most of it; --bin makes them fewer",
                   least > 1 ? room : "", least > 1 ? *room ? ")" : ") and fewer elements (--bin), since the projections alone are too many" : "");
}
