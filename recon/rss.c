/* rss.c: zero-filled coil images, combined by the root of the sum of squares. */
#include "kray/fourier.h"
#include "kray/recon.h"

static unsigned in_kspace(const kr_scan *s)
{
    return (KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)) & ~s->in_image;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    (void)coils;
    (void)opts;
    (void)trace;
    kr_scoped(array) x = kr_array_copy(scan->data);
    if (!x || kr_fourier_inverse(x, in_kspace(scan)))                /* x_c = F^H y_c                  */
        return kr_error_code();
    kr_scoped(array) rss = kr_rss(x, KR_COIL);                       /* sqrt(sum over coils of |x_c|^2) */
    *out = kr_image_new(rss, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *opts)
{
    (void)opts;
    double n = (double)kr_count(scan->shape);
    cost->bytes = 8 * n + 4 * n / (double)(scan->shape.n[KR_COIL] ? scan->shape.n[KR_COIL] : 1);
    cost->seconds = n * 5e-9;
    return 0;
}

const kr_recon kr_recon_rss = { "rss", "zero-filled root of sum of squares", "Roemer et al., Magn Reson Med 16:192 (1990)", KR_EACH_SLICE | KR_TAKES_SLABS, NULL, 0, run, plan };
