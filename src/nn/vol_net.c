/* vol_net.c: what all networks on volumes share. */
#include "kray/volume.h"
#include <math.h>
#include <string.h>

void kr_volnet_unref(kr_volnet **v)
{
    if (!*v)
        return;
    if ((*v)->self)
        (*v)->kind->close((*v)->self);
    kr_meta_unref(&(*v)->meta);
    kr_free_at(v);
}

static int may_run(const kr_volnet *v, const long n[3])
{
    if (n[0] < 1 || n[1] < 1 || n[2] < 1 || (v->dims == 2 && n[2] > 1))
        return kr_fail(KR_ESHAPE, "a network of %d dimensions cannot take %ld x %ld x %ld voxels", v->dims, n[0], n[1], n[2]);
    return v->kind->fits ? v->kind->fits(v->self, n) : 0;
}

struct whole { float *classes; long count; const long *n; };
static int keep(void *to, const float *classes, long z, long planes)
{
    const struct whole *w = to;
    long plane = w->n[0] * w->n[1];
    for (long c = 0; c < w->count; c++)
        memcpy(w->classes + (c * w->n[2] + z) * plane, classes + c * planes * plane, (size_t)(planes * plane) * sizeof *classes);
    return 0;
}

int kr_volnet_run(const kr_volnet *v, float *classes, const float *x, const long n[3], kr_volnet_see *see, void *seer, const kr_trace *trace)
{
    struct whole w = { classes, v->classes, n };
    return may_run(v, n) ? kr_error_code() : v->kind->run(v->self, keep, &w, x, n, see, seer, trace);
}

int kr_volnet_stream(const kr_volnet *v, kr_volnet_sink *sink, void *to, const float *x, const long n[3], const kr_trace *trace)
{
    return may_run(v, n) ? kr_error_code() : v->kind->run(v->self, sink, to, x, n, NULL, NULL, trace);
}

static int drop(void *to, const float *classes, long z, long planes)
{
    (void)to, (void)classes, (void)z, (void)planes;
    return 0;
}

int kr_volnet_rate(double *rate, const kr_volnet *v, const long n[3])
{
    long count = v->ins * n[0] * n[1] * n[2];
    double best = INFINITY, all = 0;
    kr_auto float *x = kr_alloc((size_t)count, sizeof *x);
    if (!x)
        return kr_error_code();
    for (long i = 0; i < count; i++)
        x[i] = (float)(i % 17) / 17;
    for (int i = 0; i < 50 && all < 0.35; i++) {
        double start = kr_seconds();
        if (kr_volnet_stream(v, drop, NULL, x, n, NULL))
            return kr_error_code();
        double took = kr_seconds() - start;
        best = took < best ? took : best;
        all += took;
    }
    *rate = v->kind->flops(v->self, n) / fmax(best, 1e-9);
    return 0;
}
