/* geometry.c: from where the scanner measured to where the voxels of the image lie. Directions as scanners store them belong to the sign
 * with which their raw data encode positions: read with the other one, an image is mirrored along each Fourier-encoded axis. */
#include "kray/scan.h"
#include <math.h>
#include <string.h>
#include <strings.h>

/* Vendors by the beginning of their names. Siemens: compared with that vendor's own images (gradient echo and echo-planar scans, coil
 * positions). Others are not known, and taken as Kray's Fourier transform has it. */
static const struct { const char *begins; int sign; bool known; } vendors[] = { { "siemens", 1, true }, { "kray", -1, true } };
enum { VENDORS = sizeof vendors / sizeof *vendors };

static bool off_grid(const kr_scan *s) { return s->shape.n[KR_SAMPLE] > 1 || s->shape.n[KR_VIEW] > 1; }

/* siemens_to_ismrmrd stores the k-space positions of spirals with their sign changed already. */
static bool spiral_positions(const kr_scan *s) { return off_grid(s) && !strcmp(s->enc.trajectory, "spiral"); }

int kr_scan_kspace_sign(const kr_scan *s, bool *known)
{
    const char *vendor = kr_meta_get(s->meta, "vendor");
    *known = s->kspace_sign != 0;
    if (s->kspace_sign)
        return s->kspace_sign;
    for (int i = 0; vendor && i < VENDORS; i++)
        if (!strncasecmp(vendor, vendors[i].begins, strlen(vendors[i].begins))) {
            *known = vendors[i].known && !spiral_positions(s);
            return spiral_positions(s) ? -1 : vendors[i].sign;
        }
    return -1;
}

/* Is Z an encoded axis? Slices measured together are not, though a slab of them has planes. */
static bool deep(const kr_scan *s)
{
    return off_grid(s) ? s->traj && s->traj->n[KR_CHAN] > 2 : s->shape.n[KR_Z] > 1 && !kr_is_multiband(s);
}

kr_geom *kr_scan_image_geom(const kr_scan *s)
{
    kr_geom *g = kr_geom_copy(s->geom);
    bool known;
    if (!g || !g->known || kr_scan_kspace_sign(s, &known) < 0)
        return g;
    for (int d = 0; d < 3; d++) {
        g->read_dir[d] = -g->read_dir[d];
        g->phase_dir[d] = -g->phase_dir[d];
        if (deep(s))
            g->slice_dir[d] = -g->slice_dir[d];
    }
    return g;
}

void kr_scan_sign_text(kr_text *t, const kr_scan *s)
{
    const char *vendor = kr_meta_get(s->meta, "vendor");
    bool known;
    int sign = kr_scan_kspace_sign(s, &known);
    if (!s->geom->known)
        return;
    if (s->kspace_sign)
        kr_text_add(t, "k-space sign %c, as asked for", sign > 0 ? '+' : '-');
    else if (known)
        kr_text_add(t, "k-space sign %c, known for this vendor", sign > 0 ? '+' : '-');
    else if (spiral_positions(s) && vendor)
        kr_text_add(t, "k-space sign - (unverified for spirals of %s): if images are mirrored, give --kspace-sign +", vendor);
    else if (vendor && *vendor)
        kr_text_add(t, "k-space sign - (unverified for %s): if images are mirrored, give --kspace-sign +", vendor);
    else
        kr_text_add(t, "k-space sign - (the file names no vendor): if images are mirrored, as those of Siemens are, give --kspace-sign +");
}

int kr_scan_voxel(kr_scan *s, const double mm[3])
{
    kr_encoding *e = &s->enc;
    for (int a = 0; a < 3; a++) {
        long n = s->shape.n[a] > 1 ? s->shape.n[a] : 1, encoded = e->encoded[a] > 0 ? e->encoded[a] : n;
        double known = e->encoded_mm[a] > 0 ? e->encoded_mm[a] / (double)encoded
                     : s->geom->fov_mm[a] > 0 ? s->geom->fov_mm[a] / (double)(e->recon[a] > 0 ? e->recon[a] : n) : 0;
        if (!(mm[a] > 0 && mm[a] <= 1e4))
            return kr_fail(KR_EUSAGE, "a voxel of %g mm along %s: a size above 0 is wanted", mm[a], kr_axis_name(a));
        if (known > 0 && fabs(known / mm[a] - 1) > 1e-3)
            return kr_fail(KR_EREFUSED, "the file gives voxels of %.5g mm along %s, not %.5g: a voxel size is stated only where it is unknown", known, kr_axis_name(a), mm[a]);
    }
    for (int a = 0; a < 3; a++) {
        long n = s->shape.n[a] > 1 ? s->shape.n[a] : 1;
        e->encoded[a] = e->encoded[a] > 0 ? e->encoded[a] : n;
        e->encoded_mm[a] = mm[a] * (double)e->encoded[a];
        if (e->recon[a] > 0)
            e->recon_mm[a] = mm[a] * (double)e->recon[a];
        s->geom->fov_mm[a] = mm[a] * (double)(e->recon[a] > 0 ? e->recon[a] : n);
    }
    return 0;
}
