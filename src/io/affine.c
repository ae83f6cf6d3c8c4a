/* affine.c: see affine.h. */
#include "affine.h"
#include <math.h>

/* Slabs of several partitions can follow each other along k only if they touch. */
int kr_image_affine(const kr_image *im, double A[16])
{
    const kr_array *a = im->data;
    const kr_geom *g = im->geom;
    long nz = a->n[KR_Z], slices = a->n[KR_SLICE], n[3] = { a->n[KR_X], a->n[KR_Y], nz };
    if (slices == 1 || (nz == 1 && g->slices > 1))
        return kr_geom_affine(g, n, A);
    kr_scoped(geom) slab = kr_geom_copy(g);
    if (!slab)
        return kr_error_code();
    if (nz == 1) {                           /* positions unknown: one behind the other */
        n[2] = slices;
        slab->fov_mm[2] = (double)slices * (g->spacing_mm > 0 ? g->spacing_mm : g->fov_mm[2]);
        return kr_geom_affine(slab, n, A);
    }
    for (long s = 0; s < slices && s < g->slices; s++)
        for (int k = 0; k < 3; k++)
            if (fabs(g->position_mm[s][k] - g->position_mm[0][k] - (double)s * g->fov_mm[2] * g->slice_dir[k]) > 0.02 * g->fov_mm[2] / (double)nz)
                return kr_fail(KR_EREFUSED, "slab %ld does not touch the one before, so that one volume cannot hold them; write them apart", s);
    slab->slices = 1;
    return kr_geom_affine(slab, n, A);
}
