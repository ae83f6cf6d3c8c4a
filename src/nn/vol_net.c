/* vol_net.c: what all networks on volumes share. */
#include "kray/volume.h"

void kr_volnet_unref(kr_volnet **v)
{
    if (!*v)
        return;
    if ((*v)->self)
        (*v)->kind->close((*v)->self);
    kr_meta_unref(&(*v)->meta);
    kr_free_at(v);
}

int kr_volnet_run(const kr_volnet *v, float *classes, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace)
{
    if (n[0] < 1 || n[1] < 1 || n[2] < 1 || (v->dims == 2 && n[2] > 1))
        return kr_fail(KR_ESHAPE, "a network of %d dimensions cannot take %ld x %ld x %ld voxels", v->dims, n[0], n[1], n[2]);
    if (v->kind->fits && v->kind->fits(v->self, n))
        return kr_error_code();
    return v->kind->run(v->self, classes, x, n, see, seer, trace);
}
