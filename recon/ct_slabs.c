/* ct_slabs.c: images of X-ray projections in little memory: arrays in files (kr_mem_page), and images part by part, planes along z. */
#include "kray/ct.h"
#include "kray/pages.h"
#include "kray/slabs.h"
#include "job.h"
#include <math.h>
#include <string.h>

static bool volume(const kr_scan *s) { return s->grid.n[2] > 1 || s->rays->rows > 1; }
long kr_ct_deep(const kr_scan *s) { return volume(s) ? s->grid.n[2] : s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1; }

int kr_ct_part(kr_scan **out, const kr_scan *s, long from, long count)
{
    *out = NULL;
    kr_scoped(scan) p = volume(s) ? kr_scan_slices(s, 0, 1) : kr_scan_slices(s, from, count);
    long row = 0, rows = s->rays->rows;
    if (!p)
        return kr_error_code();
    if (volume(s)) {
        p->grid = kr_grid_planes(&s->grid, from, count);
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

int kr_ct_within(int64_t memory, const char *output)
{
    const char *slash = strrchr(output, '/');
    double least = job_program() + (20 << 20);
    char wanted[32], allowed[32];
    if ((double)memory < least)
        return kr_fail(KR_EREFUSED, "--memory: %s are allowed, and the program with a few planes and views takes %s at least", kr_size_text(allowed, (double)memory), kr_size_text(wanted, least));
    kr_auto char *folder = slash ? kr_strf("%.*s", (int)(slash > output ? slash - output : 1), output) : kr_strdup(".");
    return folder ? kr_mem_page(folder, (size_t)memory) : kr_error_code();
}

/* The dearest of the parts, beside the program and all data. */
static double bytes_of(kr_job *j, const kr_scan *s, long count)
{
    double most = 0;
    long deep = kr_ct_deep(s);
    kr_rays *rays = NULL;
    for (long from = 0; from < deep && most >= 0; from += volume(s) ? count : deep) {
        kr_scan p = *s;                          /* shape, rays and grid alone are looked at */
        if (volume(s)) {
            long row, rows;
            p.grid = kr_grid_planes(&s->grid, from, from + count > deep ? deep - from : count);
            kr_rays_rows(s->rays, &p.grid, &row, &rows);
            p.rays = rays = kr_rays_of_rows(s->rays, row, rows);
            p.shape.n[KR_V] = rows;
        } else
            p.shape.n[KR_SLICE] = count;
        double own = volume(s) && !rays ? -1 : job_rays_bytes(j, &p);
        most = own < 0 ? -1 : fmax(own, most);
        kr_rays_unref(&rays);
    }
    return most < 0 ? most : most + WRITES - job_program();
}

long kr_ct_planes(kr_job *j, kr_scan *s, const kr_trace *trace)
{
    if (job_rays_only(j) || (!j->method && !(j->method = job_choose(j, s, trace))) || job_takes(j->method, s))
        return kr_error_code();
    double pages = (double)kr_mem_pages();
    long deep = kr_ct_deep(s), k = deep;
    if (!(pages > 0) || (volume(s) && !(j->method->needs & KR_RAYS_DIRECT)))
        return deep;
    for (; k > 1; k = k > 8 ? k - k / 8 : k - 1) {
        double bytes = bytes_of(j, s, k);
        if (bytes < 0)
            return kr_error_code();
        if (bytes <= pages)
            break;
    }
    return k;
}
