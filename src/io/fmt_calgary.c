/* fmt_calgary.c: Calgary-Campinas (CC359, MC-MRI challenge) volumes: kspace [x][ky][kz][re, im of each coil], where x is in
 * image space already, and images are np.fft.ifft2 over ky, kz without any shift.
 * Source: rmsouza01/MC-MRI-Rec, README.md and JNotebooks/evaluation-system. */
#include "h5sets.h"
#include <math.h>
#include <string.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    if (!kr_h5_is(head, bytes) || !memcmp(head, "MATLAB", 6))
        return 0;
    kr_scoped(h5) f = kr_h5_open(path);
    kr_scoped(h5_set) s = f && kr_h5_has(f, "kspace") ? kr_h5_set_open(f, "kspace") : NULL;
    bool fits = s && s->kind == KR_H5_REAL && s->dims == 4 && s->n[3] > 2 && s->n[3] % 2 == 0;      /* a last axis of 2: real and imaginary part of other data */
    int sure = fits && s->n[3] / 2 <= s->n[1] && s->n[3] / 2 <= s->n[2] ? 85 : 0;                    /* more coils than lines: axes in another order */
    kr_error_clear();
    return sure;
}

/* Their image has its origin at index 0, Kray's at N/2: a shift by h = N/2 (rounded down), which is the factor
 * exp(2 pi i (k - h) h / N) in k-space: +1, -1, +1, ... where N is even. NumPy's ifft divides by N, the unitary one by
 * sqrt(N): the factor 1 / sqrt(N) makes images equal. */
static void phases(kr_cfloat *w, long n)
{
    const double pi = 3.14159265358979323846;
    for (long k = 0, h = n / 2; k < n; k++) {
        long turn = ((k - h) * h % n + n) % n;
        double c = 2 * turn == n ? -1 : turn == 0 ? 1 : cos(2 * pi * (double)turn / (double)n);
        double s = turn == 0 || 2 * turn == n ? 0 : sin(2 * pi * (double)turn / (double)n);
        w[k] = kr_c((float)(c / sqrt((double)n)), (float)(s / sqrt((double)n)));
    }
}

struct turn { kr_array *k; const kr_cfloat *y, *z; };

static int turn_plane(void *self, long i)
{
    const struct turn *t = self;
    long nx = t->k->n[KR_X], ny = t->k->n[KR_Y], nz = t->k->n[KR_Z];
    kr_cfloat *p = KR_C(t->k) + i * nx * ny;
    for (long y = 0; y < ny; y++) {
        kr_cfloat w = kr_cmul(t->y[y], t->z[i % nz]);
        for (long x = 0; x < nx; x++)
            p[y * nx + x] = kr_cmul(p[y * nx + x], w);
    }
    return 0;
}

static int centre(kr_array *k)
{
    long ny = k->n[KR_Y], nz = k->n[KR_Z];
    kr_auto kr_cfloat *w = kr_alloc((size_t)(ny + nz), sizeof *w);
    if (!w)
        return kr_error_code();
    phases(w, ny);
    phases(w + ny, nz);
    return kr_for(nz * k->n[KR_COIL], turn_plane, &(struct turn){ k, w, w + ny });
}

/* What was measured is not 0 exactly, in the middle of x, in some coil. All of it measured: no mask. */
static int find_mask(kr_scan *s)
{
    kr_scoped(array) middle = kr_array_at(s->data, KR_X, s->data->n[KR_X] / 2);
    kr_scoped(array) rss = middle ? kr_rss(middle, KR_COIL) : NULL;
    if (!rss || !(s->mask = kr_array_new(KR_R32, kr_array_shape(rss))))
        return kr_error_code();
    long n = kr_count(kr_array_shape(rss)), kept = 0;
    for (long i = 0; i < n; i++)
        kept += (KR_R(s->mask)[i] = KR_R(rss)[i] > 0) > 0;
    if (kept == n || !kept)                                     /* nothing at all: kr_scan_check says so */
        kr_array_unref(&s->mask);
    return 0;
}

static int fill(kr_scan *s, kr_h5 *f, const kr_read *how)
{
    static const int order[] = { KR_X, KR_Y, KR_Z, KR_COIL };
    kr_scoped(h5_set) set = kr_h5_set_open(f, "kspace");
    if (!set)
        return kr_error_code();
    if (set->dims != 4)
        return kr_fail(KR_EFORMAT, "kspace of %s is no Calgary-Campinas volume; [x][ky][kz][2 coils] is wanted", kr_lengths_text(set->n, set->dims));
    if (kr_h5_set_pairs(set))
        return kr_error_code();
    for (int i = 0; i < 4; i++)
        s->shape.n[order[i]] = set->n[i];
    s->in_image = KR_ON(KR_X);
    for (int a = 0; a < 3; a++)
        s->enc.encoded[a] = s->enc.recon[a] = s->shape.n[a];
    if (kr_meta_set(s->meta, "dataset", "Calgary-Campinas"))
        return kr_error_code();
    if (how->header_only)
        return 0;
    if (kr_h5_read(&s->data, set, order, NULL, NULL) || centre(s->data))
        return kr_error_code();
    return find_mask(s);
}

static int read(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)trace;
    if (src->axes)                                              /* who names them knows better than a guess by shape */
        return kr_hdf5_scan(out, src);
    if (src->var && strcmp(src->var, "kspace"))
        return kr_fail(KR_EUSAGE, "the k-space of a Calgary-Campinas volume is its dataset kspace; of another the axes must be named: FILE:%s@AXES", src->var);
    kr_scoped(h5) f = kr_h5_open(src->path);
    *out = f ? kr_scan_new() : NULL;
    return *out ? fill(*out, f, how) : kr_error_code();
}

static int read_array(kr_array **out, const kr_source *src)
{
    kr_scoped(scan) s = NULL;
    if (src->axes || (src->var && strcmp(src->var, "kspace")))
        return kr_hdf5_array(out, src);
    if (read(&s, src, &(kr_read){ 0 }, NULL))
        return kr_error_code();
    *out = kr_array_ref(s->data);
    return *out ? 0 : kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    static const int order[] = { KR_X, KR_Y, KR_Z };
    kr_scoped(h5) f = kr_h5_open(src->path);
    kr_scoped(array) a = NULL;
    if (!f || kr_hdf5_read(&a, f, src->var ? src->var : "reconstruction", src, order, 3, NULL))
        return kr_error_code();
    *out = kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

/* The challenge's submission: reconstruction [x][y][z]. */
static int write_image(const kr_image *im, const char *path)
{
    static const int order[] = { KR_X, KR_Y, KR_Z };
    kr_scoped(image) magnitude = kr_image_magnitude(im);
    kr_scoped(h5) f = magnitude ? kr_h5_create(path, 0) : NULL;
    if (!f || kr_h5_write(f, "reconstruction", magnitude->data, order, 3, "r", "i") || kr_h5_put_meta(f, "/", im->meta))
        return kr_error_code();
    return kr_h5_close(&f);
}

const kr_format kr_format_calgary = { "calgary", ".h5", "Calgary-Campinas volume or submission", probe, read, NULL, read_image,
                                      write_image, read_array, .raw = true, .dataset = "Calgary-Campinas" };
