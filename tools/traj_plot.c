/* traj_plot.c: where readouts run through k-space, as a picture. */
#include "traj_plot.h"
#include "kray/io.h"
#include "kray/picture.h"
#include "kray/trajectory.h"
#include <math.h>
#include <string.h>

enum { SIDE = 512, EDGE = 16, DOTS = 64 };

static void point(kr_picture *p, double x, double y, const unsigned char rgb[3])
{
    long i = lround(x), j = lround(y);
    if (i >= 0 && j >= 0 && i < p->w && j < p->h)
        memcpy(p->pixel + 3 * (j * p->w + i), rgb, 3);
}

static void straight(kr_picture *p, const double a[2], const double b[2], const unsigned char rgb[3])
{
    double steps = ceil(fmax(fabs(b[0] - a[0]), fabs(b[1] - a[1])));
    for (double i = 0; i <= steps; i++) {
        double f = steps > 0 ? i / steps : 0;
        point(p, a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1]), rgb);
    }
}

/* Axes `right` and `up` of k in the panel that begins at column `left`. */
static void panel(kr_picture *p, const kr_array *k, int right, int up, long left, double most)
{
    static const unsigned char grey[3] = { 208, 208, 208 };
    const int axis[2] = { right, up };
    long n = k->n[KR_SAMPLE], views = k->n[KR_VIEW];
    double middle[2] = { (double)left + SIDE / 2, SIDE / 2 }, scale = (SIDE / 2 - EDGE) / most;
    straight(p, (const double[]){ (double)left + EDGE, SIDE / 2 }, (const double[]){ (double)left + SIDE - EDGE, SIDE / 2 }, grey);
    straight(p, (const double[]){ middle[0], EDGE }, (const double[]){ middle[0], SIDE - EDGE }, grey);
    for (long v = 0; v < views; v++) {
        double t = views > 1 ? (double)v / (double)(views - 1) : 0, last[2] = { 0 };
        const unsigned char rgb[3] = { (unsigned char)(40 + 180 * t), 60, (unsigned char)(220 - 180 * t) };
        for (long s = 0; s < n; s++) {
            double at[2];
            for (int a = 0; a < 2; a++)
                at[a] = middle[a] + (a ? -scale : scale) * (double)KR_R(k)[s + v * k->step[KR_VIEW] + axis[a] * k->step[KR_CHAN]];
            if (s)
                straight(p, last, at, rgb);
            for (int d = 0; views <= DOTS && d < 4; d++)
                point(p, at[0] + d % 2, at[1] + d / 2, rgb);
            memcpy(last, at, sizeof last);
        }
    }
}

int traj_plot(const kr_scan *s, const char *path)
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--plot draws k-space positions, and there are none: the scan is on a grid");
    kr_array *k = kr_array_ref(s->traj);
    for (int d = 0; k && d < KR_AXES; d++) {
        if (d == KR_SAMPLE || d == KR_VIEW || d == KR_CHAN)
            continue;
        kr_array *first = kr_array_at(k, d, 0);
        kr_array_unref(&k);
        k = first;
    }
    kr_scoped(array) packed = k ? kr_array_packed(k) : NULL;
    kr_array_unref(&k);
    if (!packed)
        return kr_error_code();
    double most = kr_max_abs(packed);
    kr_scoped(array) z = packed->n[KR_CHAN] > 2 ? kr_array_at(packed, KR_CHAN, 2) : NULL;
    kr_scoped(array) third = z ? kr_array_packed(z) : NULL;
    long panels = third && kr_max_abs(third) > 0 ? 3 : 1;
    if (!isfinite(most) || !(most > 0))
        return kr_fail(KR_ENUMBER, "k-space positions are not finite, or all 0");
    kr_scoped(picture) p = kr_picture_new(panels * SIDE, SIDE, 3);
    if (!p)
        return kr_error_code();
    memset(p->pixel, 255, (size_t)(3 * p->w * p->h));
    static const int axes[3][2] = { { 0, 1 }, { 0, 2 }, { 1, 2 } };
    for (long i = 0; i < panels; i++)
        panel(p, packed, axes[i][0], axes[i][1], i * SIDE, most);
    kr_text png = { 0 };
    int e = kr_picture_png(&png, p, NULL, NULL);
    e = e ? e : kr_text_write(path, &png);
    kr_text_clear(&png);
    return e;
}
