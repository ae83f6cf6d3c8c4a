/* compress.c: fewer, virtual coils that hold nearly all of the signal.
 *
 * "svd":       one unitary mixture for the whole scan, the leading eigenvectors of the coils' covariance.
 *              Source: Buehrer et al., Magn Reson Med 57:1131 (2007); Huang et al., Magn Reson Imaging 26:133 (2008).
 * "geometric": one mixture for every place along the readout, each turned to be as near as can be to its neighbour's, so
 *              that virtual coils have smooth maps. Fewer coils are needed, since at one place the coils see less.
 *              Source: Zhang et al., Magn Reson Med 69:571 (2013). */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/opt.h"
#include "kray/scan.h"
#include <math.h>
#include <string.h>

/* ---- Covariance ---- */
enum { CENTRE = 48, BLOCK = 1 << 14 };

struct covariance { const kr_array *data; long pixels, coils, blocks, per; kr_cfloat *part; };

static int one_block(void *self, long index)
{
    const struct covariance *s = self;
    long outer = index / s->blocks, from = index % s->blocks * BLOCK, n = s->pixels - from < BLOCK ? s->pixels - from : BLOCK;
    kr_la_gram(s->coils, n, 1, KR_C(s->data) + outer * s->pixels * s->coils + from, s->pixels, 0, s->part + index * s->coils * s->coils, s->coils);
    return 0;
}

static long pixels_of(const kr_array *a)
{
    long n = 1;
    for (int d = 0; d < KR_COIL; d++)
        n *= a->n[d];
    return n;
}

/* C (lower part) = sum of conj(d_i) d_j over all samples. */
static int covariance(kr_cfloat *C, const kr_array *data)
{
    struct covariance s = { .data = data, .pixels = pixels_of(data), .coils = data->n[KR_COIL] };
    long square = s.coils * s.coils, outer = kr_count(kr_array_shape(data)) / (s.pixels * s.coils);
    s.blocks = (s.pixels + BLOCK - 1) / BLOCK;
    kr_auto kr_cfloat *part = s.part = kr_alloc_zero((size_t)(outer * s.blocks), (size_t)square * sizeof *part);
    if (!part || kr_for(outer * s.blocks, one_block, &s))
        return kr_error_code();
    memset((void *)C, 0, (size_t)square * sizeof *C);
    for (long b = 0; b < outer * s.blocks; b++)
        for (long i = 0; i < square; i++)
            C[i] += part[b * square + i];
    return 0;
}

/* The samples around the centre of k-space, all of the readout, to image space along it: {COIL, rest; X} so that what
 * belongs to one place is together. */
static kr_array *hybrid_centre(const kr_scan *s)
{
    kr_array *v = kr_array_ref(s->data);
    for (int d = KR_Y; v && d <= KR_Z; d++)
        if (v->n[d] > CENTRE) {
            kr_array *w = kr_array_crop(v, d, CENTRE);
            kr_array_unref(&v);
            v = w;
        }
    kr_array *c = kr_array_copy(v);
    kr_array_unref(&v);
    if (c && !(s->in_image & KR_ON(KR_X)) && kr_fourier_inverse(c, KR_ON(KR_X)))
        kr_array_unref(&c);
    int order[KR_AXES], n = 0;
    for (int d = KR_Y; d < KR_AXES; d++)
        if (d != KR_COIL)
            order[n++] = d;
    order[n++] = KR_COIL;
    order[n++] = KR_X;
    v = c ? kr_array_copy_order(c, order, n) : NULL;
    kr_array_unref(&c);
    return v;
}

/* ---- The mixtures: W [place][c][v], virtual coil v = sum over c of W d_c ---- */
struct kr_mixtures { long places, coils, virtual; kr_cfloat *W; double kept; };

void kr_mixtures_unref(kr_mixtures **m)
{
    if (*m)
        kr_free((*m)->W);
    kr_free_at(m);
}

static int leading(kr_mixtures *m, long place, kr_cfloat *C, double *kept)
{
    long n = m->coils;
    double all = 0, some = 0;
    kr_auto float *w = kr_alloc((size_t)n, sizeof *w);
    if (!w || kr_la_eigh(n, C, w))
        return kr_error_code();
    for (long v = 0; v < n; v++) {
        all += w[n - 1 - v];
        some += v < m->virtual ? w[n - 1 - v] : 0;
    }
    for (long v = 0; v < m->virtual; v++)
        for (long c = 0; c < n; c++)              /* conj of the covariance's conj: as they are */
            m->W[(place * n + c) * m->virtual + v] = C[(n - 1 - v) * n + c];
    kept[0] += some;
    kept[1] += all;
    return 0;
}

struct places { kr_mixtures *m; const kr_array *hybrid; double *kept; };

static int one_place(void *self, long x)
{
    const struct places *p = self;
    long n = p->m->coils, rest = kr_count(kr_array_shape(p->hybrid)) / (n * p->m->places);
    kr_auto kr_cfloat *C = kr_alloc((size_t)(n * n), sizeof *C);
    if (!C)
        return kr_error_code();
    kr_la_gram(n, rest, 1, KR_C(p->hybrid) + x * n * rest, rest, 0, C, n);
    return leading(p->m, x, C, p->kept + 2 * x);
}

/* W_x <- W_x R, R unitary such that |W_x R - W_to| is smallest: R = U V^H of W_x^H W_to = U s V^H. */
static int align(kr_mixtures *m, long x, long to)
{
    long n = m->coils, v = m->virtual;
    kr_cfloat *A = m->W + x * n * v, *B = m->W + to * n * v;       /* as matrices v x n: transposed */
    kr_auto kr_cfloat *P = kr_alloc((size_t)(v * v), 4 * sizeof *P), *T = kr_alloc((size_t)(v * n), sizeof *T);
    kr_auto float *s = kr_alloc((size_t)v, sizeof *s);
    if (!P || !T || !s)
        return kr_error_code();
    kr_cfloat *U = P + v * v, *Vh = U + v * v, *R = Vh + v * v;
    kr_la_gemm('N', 'C', v, v, n, 1, B, v, A, v, 0, P, v);         /* B A^H, and R A is to be near B */
    if (kr_la_svd(v, v, P, U, s, Vh))
        return kr_error_code();
    kr_la_gemm('N', 'N', v, v, v, 1, U, v, Vh, v, 0, R, v);
    kr_la_gemm('N', 'N', v, n, v, 1, R, v, A, v, 0, T, v);
    memcpy((void *)A, T, (size_t)(v * n) * sizeof *A);
    return 0;
}

static int find_one(kr_mixtures *m, const kr_scan *s)
{
    double kept[2] = { 0 };
    kr_auto kr_cfloat *C = kr_alloc((size_t)m->coils, (size_t)m->coils * sizeof *C);
    if (!C || covariance(C, s->data) || leading(m, 0, C, kept))
        return kr_error_code();
    m->kept = kept[0] / kept[1];
    return 0;
}

static int find_all(kr_mixtures *m, const kr_scan *s)
{
    kr_scoped(array) hybrid = hybrid_centre(s);
    kr_auto double *kept = kr_alloc_zero((size_t)m->places, 2 * sizeof *kept);
    struct places p = { m, hybrid, kept };
    if (!hybrid || !kept || kr_for(m->places, one_place, &p))
        return kr_error_code();
    for (long x = m->places / 2 + 1; x < m->places; x++)           /* from the middle, where there is signal, outwards */
        if (align(m, x, x - 1))
            return kr_error_code();
    for (long x = m->places / 2 - 1; x >= 0; x--)
        if (align(m, x, x + 1))
            return kr_error_code();
    for (long x = 1; x < m->places; x++) {
        kept[0] += kept[2 * x];
        kept[1] += kept[2 * x + 1];
    }
    m->kept = kept[0] / kept[1];
    return 0;
}

/* ---- Mixing an array ---- */
struct mix { const kr_mixtures *m; const kr_cfloat *from; kr_cfloat *to; long pixels, lines, n; const kr_fft *in, *out;
             const kr_cfloat *W; kr_cfloat *buffer; };

static int mix_block(void *self, long index)
{
    const struct mix *s = self;
    long blocks = (s->pixels + BLOCK - 1) / BLOCK, outer = index / blocks, from = index % blocks * BLOCK;
    long n = s->pixels - from < BLOCK ? s->pixels - from : BLOCK;
    kr_la_gemm('N', 'T', n, s->m->virtual, s->m->coils, 1, s->from + outer * s->pixels * s->m->coils + from, s->pixels, s->m->W,
               s->m->virtual, 0, s->to + outer * s->pixels * s->m->virtual + from, s->pixels);
    return 0;
}

/* One readout of all coils: to image space, each place with its own mixture, and back. */
static int mix_line(void *self, long index)
{
    const struct mix *s = self;
    long n = s->n, C = s->m->coils, V = s->m->virtual, outer = index / s->lines, line = index % s->lines;
    kr_cfloat *x = s->buffer + kr_worker() * (C + V) * n, *y = x + C * n;
    for (long c = 0; c < C; c++)
        memcpy(x + c * n, s->from + (outer * C + c) * s->pixels + line * n, (size_t)n * sizeof *x);
    if (s->in)
        kr_fft_inverse(s->in, x);
    memset((void *)y, 0, (size_t)(V * n) * sizeof *y);
    for (long v = 0; v < V; v++)
        for (long c = 0; c < C; c++) {
            const kr_cfloat *w = s->W + (v * C + c) * n, *a = x + c * n;
            kr_cfloat *b = y + v * n;
            for (long i = 0; i < n; i++)
                b[i] += kr_cmul(w[i], a[i]);
        }
    if (s->out)
        kr_fft_forward(s->out, y);
    for (long v = 0; v < V; v++)
        memcpy(s->to + (outer * V + v) * s->pixels + line * n, y + v * n, (size_t)n * sizeof *y);
    return 0;
}

/* W [v][c][x] on a readout of n places; on a coarser or finer one the nearest place counts. */
static kr_cfloat *spread(const kr_mixtures *m, long n)
{
    kr_cfloat *W = kr_alloc((size_t)(m->virtual * m->coils), (size_t)n * sizeof *W);
    for (long x = 0; W && x < n; x++) {
        long at = n == m->places ? x : lround((double)(x - n / 2) * (double)m->places / (double)n) + m->places / 2;
        at = at < 0 ? 0 : at >= m->places ? m->places - 1 : at;
        for (long c = 0; c < m->coils; c++)
            for (long v = 0; v < m->virtual; v++)
                W[(v * m->coils + c) * n + x] = m->W[(at * m->coils + c) * m->virtual + v];
    }
    return W;
}

static int by_place(struct mix *s, long outer, bool in_image)
{
    int e = 0;
    kr_fft *in = NULL, *out = NULL;
    if (!in_image) {
        in = kr_fft_new(KR_SHAPE([KR_X] = s->n, [KR_Y] = s->m->coils), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
        out = kr_fft_new(KR_SHAPE([KR_X] = s->n, [KR_Y] = s->m->virtual), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
        e = in && out ? 0 : kr_error_code();
    }
    kr_auto kr_cfloat *W = e ? NULL : spread(s->m, s->n);
    kr_auto kr_cfloat *buffer = kr_alloc((size_t)kr_threads(), (size_t)((s->m->coils + s->m->virtual) * s->n) * sizeof *buffer);
    s->in = in;
    s->out = out;
    s->W = W;
    s->buffer = buffer;
    if (!e)
        e = W && buffer ? kr_for(outer * s->lines, mix_line, s) : kr_error_code();
    kr_fft_unref(&in);
    kr_fft_unref(&out);
    return e;
}

/* The array with virtual coils in place of its own. */
static kr_array *mixed(const kr_array *a, const kr_mixtures *m, bool in_image)
{
    kr_scoped(array) from = kr_array_packed(a);
    kr_shape shape = kr_array_shape(a);
    shape.n[KR_COIL] = m->virtual;
    long count = kr_count(shape);
    kr_cfloat *to = from ? kr_alloc((size_t)count, sizeof *to) : NULL;
    if (!to)
        return NULL;
    struct mix s = { .m = m, .from = KR_C(from), .to = to, .pixels = pixels_of(a), .n = a->n[KR_X] };
    s.lines = s.pixels / s.n;
    long outer = count / (s.pixels * m->virtual), blocks = (s.pixels + BLOCK - 1) / BLOCK;
    int e = m->places > 1 ? by_place(&s, outer, in_image) : kr_for(outer * blocks, mix_block, &s);
    kr_array *b = e ? NULL : kr_array_take(KR_C32, shape, to);
    if (!b)
        kr_free(to);
    return b;
}

static int check(const kr_scan *s, long coils, bool geometric)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data");
    long have = s->data->n[KR_COIL];
    if (coils < 1 || coils > have)
        return kr_fail(KR_EREFUSED, "%ld virtual coils of %ld coils; from 1 to %ld are possible", coils, have, have);
    const kr_array *also[] = { s->calib, s->noise, s->coils };
    for (int i = 0; i < 3; i++)
        if (also[i] && also[i]->n[KR_COIL] != have)
            return kr_fail(KR_ESHAPE, "%s of %ld coils for data of %ld", i == 0 ? "calibration lines" : i == 1 ? "noise" : "coil maps",
                           also[i]->n[KR_COIL], have);
    if (geometric && (s->traj || s->data->n[KR_X] < 2))
        return kr_fail(KR_EREFUSED, "geometric coil compression works along a Cartesian readout, this scan has none; svd needs none");
    return 0;
}

/* Mixtures that change along the image's X spread each sample over the readout's neighbours: a readout with gaps would
 * be filled with what was not measured. A range that all readouts leave out is put to 0 again. */
static int readout_is_whole(const kr_scan *s, kr_array **mask)
{
    if (s->in_image & KR_ON(KR_X))
        return 0;
    *mask = kr_scan_mask(s);
    if (!*mask)
        return kr_error_code();
    if ((*mask)->n[KR_X] > 1 && kr_count(kr_array_shape(*mask)) > (*mask)->n[KR_X])
        return kr_fail(KR_EREFUSED, "geometric coil compression needs readouts measured in full, the mask of this scan has gaps along x; "
                       "svd does not mind");
    return 0;
}

static int replace(kr_scan *s, const kr_mixtures *m, const kr_array *mask)
{
    bool in_image = s->in_image & KR_ON(KR_X);
    const kr_mixtures middle = { 1, m->coils, m->virtual, m->W + m->places / 2 * m->coils * m->virtual, 0 };
    kr_scoped(array) data = mixed(s->data, m, in_image);
    kr_scoped(array) calib = data && s->calib ? mixed(s->calib, m, in_image) : NULL;
    kr_scoped(array) coils = data && s->coils ? mixed(s->coils, m, true) : NULL;
    kr_scoped(array) noise = data && s->noise ? mixed(s->noise, &middle, false) : NULL;
    if (!data || (s->calib && !calib) || (s->coils && !coils) || (s->noise && !noise))
        return kr_error_code();
    if (mask && mask->n[KR_X] > 1) {
        kr_scoped(array) cut = kr_array_like(data);
        if (!cut)
            return kr_error_code();
        kr_contract(cut, data, mask, false);
        kr_array_assign(data, cut);
    }
    kr_array **old[] = { &s->data, &s->calib, &s->coils, &s->noise }, **fresh[] = { &data, &calib, &coils, &noise };
    for (int i = 0; i < 4; i++)
        if (*old[i]) {                           /* the old ones go with this block */
            kr_array *t = *old[i];
            *old[i] = *fresh[i];
            *fresh[i] = t;
        }
    s->shape.n[KR_COIL] = m->virtual;
    return 0;
}

/* New ones, from the data. */
static kr_mixtures *find(const kr_scan *s, long coils, bool geometric)
{
    kr_mixtures *m = kr_alloc_zero(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (kr_mixtures){ geometric ? s->data->n[KR_X] : 1, s->data->n[KR_COIL], coils, NULL, 0 };
    m->W = kr_alloc((size_t)(m->places * m->coils), (size_t)coils * sizeof *m->W);
    int e = !m->W || (geometric ? find_all(m, s) : find_one(m, s)) ? kr_error_code() : 0;
    if (!e && !isfinite(m->kept))
        e = kr_fail(KR_ENUMBER, "coil compression of data that are all zero or not finite");
    if (e)
        kr_mixtures_unref(&m);
    return m;
}

int kr_coils_compress(kr_scan *s, long coils, const char *method, kr_mixtures **keep, const kr_trace *trace)
{
    bool geometric = !strcmp(method, "geometric");
    if (!geometric && strcmp(method, "svd"))
        return kr_fail(KR_EUSAGE, "there is no coil compression '%s'; known are svd and geometric", method);
    if (check(s, coils, geometric))
        return kr_error_code();
    long have = s->data->n[KR_COIL];
    if (coils == have)
        return 0;
    kr_scoped(array) mask = NULL;
    if (geometric && readout_is_whole(s, &mask))
        return kr_error_code();
    kr_mixtures *own = NULL, **m = keep ? keep : &own;
    if (*m && ((*m)->coils != have || (*m)->virtual != coils || (*m)->places != (geometric ? s->data->n[KR_X] : 1)))
        return kr_fail(KR_ESHAPE, "the coils were compressed from %ld to %ld before, and now %ld are to become %ld", (*m)->coils, (*m)->virtual, have, coils);
    bool fresh = !*m;
    if (fresh && !(*m = find(s, coils, geometric)))
        return kr_error_code();
    int e = replace(s, *m, mask);
    if (!e && fresh)
        kr_say(trace, KR_INFO, "%ld coils compressed to %ld (%s), which hold %.2f %% of the energy", have, coils, method, 100 * (*m)->kept);
    kr_mixtures_unref(&own);
    return e;
}
