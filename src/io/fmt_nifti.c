/* fmt_nifti.c: NIfTI-1 and -2 volumes (.nii, .nii.gz): read any of the usual kinds of numbers, written as NIfTI-1 in
 * floats. libnifti knows what headers mean; sizes are checked before it sees them, and the bytes are moved here. */
#include "kray/io.h"
#include "affine.h"
#include "file.h"
#include "metaimage.h"
#include <errno.h>
#include <math.h>
#include <nifti2_io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

enum { COMMENT = 6,              /* the code of a plain text extension */
       EXTENSIONS_MOST = 1 << 20 };

static bool suffixed(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && !strcasecmp(path + n - k, suffix);
}

/* ---- Recognising ---- */
/* The version of a header, 0 for none; pairs of .hdr and .img are told by their magic. */
static int version_of(const unsigned char *head, size_t bytes)
{
    if (bytes >= 348 && !memcmp(head + 344, "n+1", 4))
        return 1;
    return bytes >= 12 && !memcmp(head + 4, "n+2\0\r\n\032\n", 8) ? 2 : 0;
}

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    unsigned char inside[348];
    if (bytes > 2 && head[0] == 0x1f && head[1] == 0x8b) {
        gzFile z = gzopen(path, "rb");
        int got = z ? gzread(z, inside, sizeof inside) : -1;
        if (z)
            gzclose(z);
        return got > 0 && version_of(inside, (size_t)got) ? 95 : 0;
    }
    return version_of(head, bytes) ? 95 : 0;
}

/* ---- Reading ---- */
typedef struct volume {
    gzFile z;                    /* plain files pass through zlib unchanged */
    int fd;                      /* for the data of plain files             */
    int64_t bytes;               /* of the file                             */
    bool packed, swap;
    int header;                  /* its length, which tells the version     */
    nifti_image *nim;
    kr_meta *meta;
    char *axes;                  /* names that Kray noted when it wrote     */
    bool turned;                 /* qform: its quaternion is a rotation and its offsets are numbers, which libnifti makes up otherwise */
} volume;

static const char PLACE[] = "place_unknown";   /* note: why an image whose header states a place has none */

static void volume_close(volume *v)
{
    if (v->z)
        gzclose(v->z);
    if (v->fd >= 0)
        close(v->fd);
    if (v->nim)
        nifti_image_free(v->nim);
    kr_meta_unref(&v->meta);
    kr_free(v->axes);
}

static int take(volume *v, void *to, size_t bytes, const char *what)
{
    for (size_t got = 0; got < bytes; ) {
        unsigned part = bytes - got < 1u << 30 ? (unsigned)(bytes - got) : 1u << 30;
        int n = gzread(v->z, (char *)to + got, part), code = Z_OK;
        if (n <= 0) {
            const char *why = gzerror(v->z, &code);
            return kr_fail(KR_EFORMAT, "the %s cannot be read to the end: %s", what, code == Z_OK || code == Z_BUF_ERROR ? "the file ends too early" : why);
        }
        got += (size_t)n;
    }
    return 0;
}

/* What libnifti takes on trust: 1..7 axes, lengths that fit the file, a place for the data. */
static int check(const volume *v, const int64_t *dim, int type, double offset, int header)
{
    int width = 0, swap = 0;
    nifti_datatype_sizes(type, &width, &swap);
    if (dim[0] < 1 || dim[0] > 7)
        return kr_fail(KR_EFORMAT, "the NIfTI header announces %lld axes, 1 to 7 are possible", (long long)dim[0]);
    if (width < 1 || type == DT_FLOAT128 || type == DT_COMPLEX256)
        return kr_fail(KR_EFORMAT, "NIfTI numbers of type %d are not read", type);
    int64_t want = width;
    for (int k = 1; k <= dim[0]; k++)
        if (dim[k] < 1 || __builtin_mul_overflow(want, dim[k], &want) || want > 1LL << 50)
            return kr_fail(KR_EFORMAT, "the NIfTI header announces length %lld along axis %d of %lld", (long long)dim[k], k, (long long)dim[0]);
    if (!(offset >= header && offset < 1e12))
        return kr_fail(KR_EFORMAT, "the NIfTI header says that the data begin at byte %g", offset);
    /* deflate packs at most 1032 to 1 */
    double end = (double)want + offset;
    if ((v->packed ? end / 1100 : end) > (double)v->bytes)
        return kr_fail(KR_EFORMAT, "the NIfTI header announces %lld bytes of data from byte %.0f on, but the file has %lld bytes%s",
                       (long long)want, offset, (long long)v->bytes, v->packed ? " (packed)" : "");
    return 0;
}

static int read_header(volume *v)
{
    union { nifti_1_header one; nifti_2_header two; unsigned char byte[sizeof(nifti_2_header)]; } h = { .byte = { 0 } };
    if (take(v, h.byte, sizeof h.one, "NIfTI header"))
        return kr_error_code();
    int version = version_of(h.byte, sizeof h.one), e;
    if (!version)
        return kr_fail(KR_EFORMAT, "not a single-file NIfTI volume");
    if (version == 2 && take(v, h.byte + sizeof h.one, sizeof h.two - sizeof h.one, "NIfTI header"))
        return kr_error_code();
    int size = v->header = version == 1 ? sizeof h.one : sizeof h.two;
    int32_t said = h.one.sizeof_hdr;
    if (said != size) {
        swap_nifti_header(&h, version);
        v->swap = true;
        if (h.one.sizeof_hdr != size)
            return kr_fail(KR_EFORMAT, "the NIfTI header says it has %d bytes where %d are wanted", said, size);
    }
    int64_t dim[8];
    for (int k = 0; k < 8; k++)
        dim[k] = version == 1 ? h.one.dim[k] : h.two.dim[k];
    e = version == 1 ? check(v, dim, h.one.datatype, h.one.vox_offset, size) : check(v, dim, h.two.datatype, (double)h.two.vox_offset, size);
    if (e)
        return e;
    const double q[6] = { version == 1 ? h.one.quatern_b : h.two.quatern_b, version == 1 ? h.one.quatern_c : h.two.quatern_c,
                          version == 1 ? h.one.quatern_d : h.two.quatern_d, version == 1 ? h.one.qoffset_x : h.two.qoffset_x,
                          version == 1 ? h.one.qoffset_y : h.two.qoffset_y, version == 1 ? h.one.qoffset_z : h.two.qoffset_z };
    v->turned = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] < 1.01 && isfinite(q[3]) && isfinite(q[4]) && isfinite(q[5]);      /* false for no numbers */
    v->nim = version == 1 ? nifti_convert_n1hdr2nim(h.one, "volume.nii") : nifti_convert_n2hdr2nim(h.two, "volume.nii");
    return v->nim ? 0 : kr_fail(KR_EFORMAT, "the NIfTI header makes no sense");
}

/* A comment that Kray wrote is lines "key: value". */
static int read_comment(volume *v, char *text)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = 0;
        if (!strcmp(line, "axes")) {
            kr_free(v->axes);
            if (!(v->axes = kr_strdup(colon + 2)))
                return kr_error_code();
        } else if (*line && strcmp(line, PLACE) && kr_meta_set(v->meta, line, "%s", colon + 2))
            return kr_error_code();
    }
    return 0;
}

static int read_extensions(volume *v)
{
    int64_t room = v->nim->iname_offset - v->header;
    if (room < 4 + 16 || room > EXTENSIONS_MOST)
        return 0;
    kr_auto char *block = kr_alloc((size_t)room + 1, 1);
    if (!block || take(v, block, (size_t)room, "extensions of the NIfTI header"))
        return kr_error_code();
    block[room] = 0;
    for (int64_t at = 4; block[0] && at + 8 <= room; ) {
        int32_t size, code;
        memcpy(&size, block + at, 4);
        memcpy(&code, block + at + 4, 4);
        if (v->swap) {
            size = (int32_t)__builtin_bswap32((uint32_t)size);
            code = (int32_t)__builtin_bswap32((uint32_t)code);
        }
        if (size < 16 || size > room - at)
            break;                       /* padding, or another program's mistake: the data are not concerned */
        if (code == COMMENT) {
            kr_auto char *text = kr_strf("%.*s", (int)size - 8, block + at + 8);
            if (!text || (!strncmp(text, "Kray\n", 5) && read_comment(v, text)))
                return kr_error_code();
        }
        at += size;
    }
    return 0;
}

static int volume_open(volume *v, const char *path)
{
    *v = (volume){ .fd = -1 };
    nifti_set_debug_level(0);
    if ((v->fd = kr_file_open(path, &v->bytes)) < 0 || !(v->meta = kr_meta_new()))
        return kr_error_code();
    if (!(v->z = gzopen(path, "rb")))
        return kr_fail(KR_EFILE, "cannot be opened: %s", strerror(errno));
    gzbuffer(v->z, 1 << 18);
    v->packed = !gzdirect(v->z);
    if (read_header(v) || read_extensions(v))
        return kr_error_code();
    return v->nim->descrip[0] ? kr_meta_set(v->meta, "description", "%.80s", v->nim->descrip) : 0;
}

/* Numbers of any type to floats, times slope plus inter; colours to their mean. */
struct convert { const void *from; float *to; int type, width; long n; double slope, inter; };
enum { BLOCK = 1 << 18 };

#define EACH(type) do { const type *x = (const type *)(const void *)from; \
    for (long i = 0; i < n; i++) to[i] = (float)(c->slope * (double)x[i] + c->inter); } while (0)
#define EACH_COMPLEX(type) do { const type *x = (const type *)(const void *)from; \
    for (long i = 0; i < n; i++) { to[2 * i] = (float)(c->slope * (double)x[2 * i] + c->inter); to[2 * i + 1] = (float)(c->slope * (double)x[2 * i + 1]); } } while (0)

static int convert_block(void *self, long b)
{
    const struct convert *c = self;
    long first = b * BLOCK, n = c->n - first < BLOCK ? c->n - first : BLOCK;
    const char *from = (const char *)c->from + first * c->width;
    float *to = c->to + first;
    switch (c->type) {
    case DT_UINT8: EACH(uint8_t); break;
    case DT_INT8: EACH(int8_t); break;
    case DT_INT16: EACH(int16_t); break;
    case DT_UINT16: EACH(uint16_t); break;
    case DT_INT32: EACH(int32_t); break;
    case DT_UINT32: EACH(uint32_t); break;
    case DT_INT64: EACH(int64_t); break;
    case DT_UINT64: EACH(uint64_t); break;
    case DT_FLOAT32: EACH(float); break;
    case DT_FLOAT64: EACH(double); break;
    case DT_COMPLEX64: to += first; EACH_COMPLEX(float); break;
    case DT_COMPLEX128: to += first; EACH_COMPLEX(double); break;
    default:                               /* RGB24 and RGBA32 */
        for (long i = 0; i < n; i++) {
            const unsigned char *p = (const unsigned char *)from + i * c->width;
            to[i] = (float)(p[0] + p[1] + p[2]) / 3;
        }
    }
    return 0;
}

/* A short file can announce, and unpack to, a thousand times its length. Label maps do by a hundred. */
static int check_unpacked(const volume *v, size_t bytes)
{
    const size_t most = 200 * (size_t)v->bytes + ((size_t)1 << 30);
    return !v->packed || bytes <= most ? 0
         : kr_fail(KR_EFORMAT, "a compressed file of %lld bytes announces %.3g GB of data; at most 200 times its length and 1 GB are unpacked "
                   "(%.3g GB): if it is right, gunzip it first", (long long)v->bytes, (double)bytes / 1e9, (double)most / 1e9);
}

/* The data, swapped and scaled, floats or pairs of floats. */
static void *volume_data(volume *v, long n, bool complex)
{
    nifti_image *m = v->nim;
    int width = m->nbyper, swap = m->swapsize;
    size_t bytes = (size_t)n * (size_t)width;
    if (check_unpacked(v, bytes))
        return NULL;
    kr_auto void *raw = kr_alloc(bytes, 1);
    if (!raw)
        return NULL;
    if (!v->packed) {
        if (kr_file_read(v->fd, raw, bytes, m->iname_offset))
            return NULL;
    } else if (gzseek(v->z, (z_off_t)m->iname_offset, SEEK_SET) < 0 || take(v, raw, bytes, "data")) {
        if (!kr_error_code())
            kr_fail(KR_EFORMAT, "the file ends before its data begin");
        return NULL;
    }
    if (v->swap && swap > 1)
        nifti_swap_Nbytes((int64_t)bytes / swap, swap, raw);
    bool scaled = m->scl_slope != 0 && (m->scl_slope != 1 || m->scl_inter != 0);
    void *data = NULL;
    if (!scaled && (m->datatype == DT_FLOAT32 || m->datatype == DT_COMPLEX64)) {
        data = raw;
        raw = NULL;
        return data;
    }
    bool colour = m->datatype == DT_RGB24 || m->datatype == DT_RGBA32;
    struct convert c = { raw, NULL, m->datatype, width, n, scaled && !colour ? m->scl_slope : 1, scaled && !colour ? m->scl_inter : 0 };
    data = kr_alloc((size_t)n, complex ? 8 : 4);
    c.to = data;
    if (data && kr_for((n + BLOCK - 1) / BLOCK, convert_block, &c))
        kr_free_at(&data);
    return data;
}

/* RAS affine to directions, field of view and centre in the patient frame LPS. The volume's k runs along Z, or along
 * SLICE where Kray noted that. */
static kr_geom *geom_of(const volume *v, const kr_array *a, bool slices)
{
    const nifti_image *m = v->nim;
    const char *form = m->sform_code > 0 ? "sform" : m->qform_code > 0 ? "qform" : NULL, *wrong = NULL;
    const nifti_dmat44 *A = m->sform_code > 0 ? &m->sto_xyz : m->qform_code > 0 ? &m->qto_xyz : NULL;
    kr_geom *g = kr_geom_new(slices ? a->n[KR_SLICE] : 1);
    if (!g)
        return NULL;
    long n[3] = { a->n[KR_X], a->n[KR_Y], slices ? a->n[KR_SLICE] : a->n[KR_Z] };
    double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir }, spacing[3];
    for (int k = 0; k < 3; k++)
        spacing[k] = k < m->dim[0] && fabs(m->pixdim[k + 1]) > 0 && isfinite(m->pixdim[k + 1]) ? fabs(m->pixdim[k + 1]) : 1;
    double d[3];
    for (int k = 0; k < 3 && A && !wrong; k++) {
        d[k] = sqrt(A->m[0][k] * A->m[0][k] + A->m[1][k] * A->m[1][k] + A->m[2][k] * A->m[2][k]);
        wrong = !isfinite(d[k]) || !isfinite(A->m[k][3]) ? "has entries that are not finite" : d[k] <= 1e-9 ? "has a column of zeros" : d[k] >= 1e9 ? "has voxels longer than 1000 km" : NULL;
        for (int j = 0; j < 3 && !wrong; j++)
            dir[k][j] = (j < 2 ? -1 : 1) * A->m[j][k] / d[k];
    }
    if (A && !wrong && m->sform_code <= 0 && !v->turned)
        wrong = "has a quaternion or an offset that is none";
    if (A && !wrong && fabs(dir[0][0] * (dir[1][1] * dir[2][2] - dir[1][2] * dir[2][1]) - dir[0][1] * (dir[1][0] * dir[2][2] - dir[1][2] * dir[2][0])
                            + dir[0][2] * (dir[1][0] * dir[2][1] - dir[1][1] * dir[2][0])) < 1e-3)
        wrong = "has axes that lie in a plane";
    bool sane = A && !wrong;
    for (int k = 0; k < 3 && sane; k++)
        spacing[k] = d[k];
    g->known = sane;
    if (wrong && kr_meta_set(v->meta, PLACE, "the %s of its NIfTI header %s", form, wrong)) {
        kr_geom_unref(&g);
        return NULL;
    }
    for (int k = 0; k < 3; k++)
        g->fov_mm[k] = spacing[k] * (k == 2 && slices ? 1 : (double)n[k]);
    g->spacing_mm = spacing[2];
    for (int k = 0; k < 3 && !sane; k++)
        for (int j = 0; j < 3; j++)
            dir[k][j] = j == k;
    for (long s = 0; s < g->slices; s++)
        for (int j = 0; j < 3; j++) {
            double k = slices ? (double)s : (double)(n[2] / 2), sign = j < 2 ? -1 : 1;
            g->position_mm[s][j] = !sane ? (j == 2 && slices ? k * spacing[2] : 0)
                : sign * (A->m[j][0] * (double)(n[0] / 2) + A->m[j][1] * (double)(n[1] / 2) + A->m[j][2] * k + A->m[j][3]);
        }
    return g;
}

static int read_image(kr_image **out, const kr_source *src)
{
    if (src->var)
        return kr_fail(KR_EUSAGE, "a NIfTI file holds one volume and no variables, '%s' is none", src->var);
    volume v;
    static const int usual[7] = { KR_X, KR_Y, KR_Z, KR_TIME, KR_CHAN, KR_SET, KR_BATCH };
    int order[KR_AXES], e = volume_open(&v, src->path);
    const char *names = src->axes ? src->axes : v.axes;
    int count = !e && names ? kr_axes_parse(names, order) : 0;
    e = count < 0 ? count : e;
    kr_shape shape = { { 0 } };
    bool complex = !e && (v.nim->datatype == DT_COMPLEX64 || v.nim->datatype == DT_COMPLEX128), slices = false;
    int memory[KR_AXES], axes = 0;
    long n = 1;
    for (int k = 0; !e && k < v.nim->dim[0]; k++) {
        int axis = names ? k < count ? order[k] : KR_AXES : usual[k];
        long length = v.nim->dim[k + 1];
        n *= length;
        if (axis == KR_AXES && length > 1)
            e = kr_fail(KR_EUSAGE, "the axes '%s' give no name to axis %d, whose length is %ld", names, k + 1, length);
        if (axis == KR_AXES)
            continue;
        slices = slices || (k == 2 && axis == KR_SLICE);
        shape.n[axis] = length;
        memory[axes++] = axis;
    }
    kr_auto void *data = e ? NULL : volume_data(&v, n, complex);
    kr_scoped(array) given = data ? kr_array_take_order(complex ? KR_C32 : KR_R32, shape, data, memory, axes) : NULL;
    if (given)
        data = NULL;
    kr_scoped(array) a = kr_array_packed(given);
    kr_scoped(geom) g = a ? geom_of(&v, a, slices) : NULL;
    *out = g ? kr_image_new(a, g, v.meta) : NULL;
    int unit = v.nim ? v.nim->time_units : 0;
    double ms = unit == NIFTI_UNITS_SEC ? 1e3 : unit == NIFTI_UNITS_MSEC ? 1 : unit == NIFTI_UNITS_USEC ? 1e-3 : 0;
    if (*out && a->n[KR_TIME] > 1 && ms * fabs(v.nim->pixdim[4]) > 0 && kr_meta_set((*out)->meta, "frame_ms", "%.9g", ms * fabs(v.nim->pixdim[4])))
        kr_image_unref(out);
    if (*out && v.nim->intent_code == NIFTI_INTENT_LABEL && !complex && kr_meta_set((*out)->meta, "kray_kind", "labels"))
        kr_image_unref(out);
    volume_close(&v);
    return *out ? 0 : kr_error_code();
}

static int read_array(kr_array **out, const kr_source *src)
{
    kr_image *im = NULL;
    int e = read_image(&im, src);
    if (!e && !(*out = kr_array_ref(im->data)))
        e = kr_error_code();
    kr_image_unref(&im);
    return e;
}

/* ---- Writing ---- */
/* The axes in the order of the file; Z and SLICE share the third. */
static int place_axes(const kr_array *a, int order[KR_AXES], short dim[8])
{
    static const int later[] = { KR_TIME, KR_ECHO, KR_PHASE, KR_SET, KR_AVG, KR_MAP, KR_COIL, KR_CHAN, KR_BATCH, KR_SAMPLE, KR_VIEW, KR_U, KR_V };
    int dims = 3, axes = 4;
    order[0] = KR_X, order[1] = KR_Y, order[2] = KR_Z, order[3] = KR_SLICE;
    long n[8] = { 0, a->n[KR_X], a->n[KR_Y], a->n[KR_Z] * a->n[KR_SLICE], 1, 1, 1, 1 };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (a->n[later[i]] > 1) {
            if (++dims > 7)
                return kr_fail(KR_ESHAPE, "%s has more axes than the 7 of NIfTI", kr_shape_text(kr_array_shape(a)));
            order[axes++] = later[i];
            n[dims] = a->n[later[i]];
        }
    dim[0] = (short)dims;
    for (int k = 1; k < 8; k++) {
        if (n[k] > 32767)
            return kr_fail(KR_ESHAPE, "%s does not fit NIfTI-1, whose axes have at most 32767", kr_shape_text(kr_array_shape(a)));
        dim[k] = (short)n[k];
    }
    return axes;
}

static int put_orientation(nifti_1_header *h, const kr_image *im)
{
    double A[16];
    if (kr_image_affine(im, A))
        return kr_error_code();
    nifti_dmat44 R, back;
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++)
            R.m[r][c] = A[4 * r + c];
    double b, c, d, x, y, z, dx, dy, dz, fac, det = nifti_mat33_determ((mat33){ { { (float)A[0], (float)A[1], (float)A[2] },
        { (float)A[4], (float)A[5], (float)A[6] }, { (float)A[8], (float)A[9], (float)A[10] } } });
    nifti_dmat44_to_quatern(R, &b, &c, &d, &x, &y, &z, &dx, &dy, &dz, &fac);
    h->pixdim[0] = (float)fac;
    h->pixdim[1] = (float)dx;
    h->pixdim[2] = (float)dy;
    h->pixdim[3] = (float)dz;
    if (!im->geom->known || !(fabs(det) > 1e-12))     /* codes stay 0: viewers then go by the size of voxels alone */
        return 0;
    h->quatern_b = (float)b;
    h->quatern_c = (float)c;
    h->quatern_d = (float)d;
    h->qoffset_x = (float)x;
    h->qoffset_y = (float)y;
    h->qoffset_z = (float)z;
    for (int k = 0; k < 4; k++) {
        h->srow_x[k] = (float)A[k];
        h->srow_y[k] = (float)A[4 + k];
        h->srow_z[k] = (float)A[8 + k];
    }
    h->sform_code = NIFTI_XFORM_SCANNER_ANAT;
    /* A quaternion cannot shear: where it would be off, the sform stands alone. */
    back = nifti_quatern_to_dmat44(b, c, d, x, y, z, dx, dy, dz, fac);
    bool same = true;
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < 3; k++)
            same = same && fabs(back.m[r][k] - R.m[r][k]) < 1e-3 * (dx + dy + dz);
    h->qform_code = same ? NIFTI_XFORM_SCANNER_ANAT : NIFTI_XFORM_UNKNOWN;
    return 0;
}

/* "Kray", then "key: value" lines, padded to a multiple of 16 bytes. */
static void put_comment(kr_text *t, const kr_meta *meta, const int *order, int axes)
{
    kr_text_add(t, "Kray\naxes: ");
    for (int k = 0; k < axes; k++)
        kr_text_add(t, "%s%s", k ? "," : "", kr_axis_name(order[k]));
    for (long i = 0; i < kr_meta_count(meta); i++) {
        kr_text_add(t, "\n%s: ", kr_meta_key(meta, i));
        for (const char *p = kr_meta_value(meta, i); *p; p++)
            kr_text_put(t, *p == '\n' ? " " : p, 1);
    }
    kr_text_put(t, "\n", 1);
    while ((t->len + 8) % 16 && !t->failed)
        kr_text_put(t, "", 1);
}

/* Labels are stored as the smallest type of whole numbers that holds them; NULL where the image holds none. */
static void *whole_numbers(const kr_image *im, const kr_array *c, nifti_1_header *h)
{
    const char *kind = kr_meta_get(im->meta, "kray_kind"), *pixels = kr_meta_get(im->meta, "pixels");
    bool labels = kind && !strcmp(kind, "labels"), narrowed = pixels && !strcmp(pixels, "ushort");
    long n = kr_count(kr_array_shape(c));
    float most = 0;
    if ((!labels && !narrowed) || c->type != KR_R32)
        return NULL;
    for (long i = 0; i < n; i++) {
        float v = KR_R(c)[i];
        if (!(v >= 0 && v <= 16777216.f && v == floorf(v)))
            return NULL;
        most = v > most ? v : most;
    }
    int bytes = labels && most < 256 ? 1 : most < 32768 ? 2 : 4;
    unsigned char *to = kr_alloc((size_t)n, (size_t)bytes);
    if (!to)
        return NULL;
    for (long i = 0; i < n; i++) {
        int32_t v = (int32_t)KR_R(c)[i];
        int16_t narrow = (int16_t)v;
        if (bytes == 1)
            to[i] = (unsigned char)v;
        else
            memcpy(to + i * bytes, bytes == 2 ? (const void *)&narrow : (const void *)&v, (size_t)bytes);
    }
    h->datatype = bytes == 1 ? DT_UINT8 : bytes == 2 ? DT_INT16 : DT_INT32;
    h->bitpix = (short)(8 * bytes);
    h->intent_code = labels ? NIFTI_INTENT_LABEL : NIFTI_INTENT_NONE;
    return to;
}

/* Header and notes of an image; the order of its axes in the file. Returns how many axes, or a refusal. */
static int announce(nifti_1_header *h, kr_text *t, int order[KR_AXES], const kr_image *im)
{
    const kr_array *a = im->data;
    *h = (nifti_1_header){ .sizeof_hdr = sizeof *h, .magic = "n+1", .scl_slope = 1, .regular = 'r', .xyzt_units = NIFTI_UNITS_MM };
    int axes = place_axes(a, order, h->dim);
    if (axes < 0 || put_orientation(h, im))
        return kr_error_code();
    bool complex = a->type == KR_C32;
    h->datatype = complex ? DT_COMPLEX64 : DT_FLOAT32;
    h->bitpix = complex ? 64 : 32;
    for (int k = 4; k < 8; k++)
        h->pixdim[k] = 1;
    double frame_ms = kr_meta_number(im->meta, "frame_ms", 0);       /* TR is the time of a line, unless a shot makes an image */
    if (a->n[KR_TIME] > 1) {
        h->pixdim[4] = frame_ms > 0 ? (float)(frame_ms / 1000) : 0;  /* 0: unknown */
        h->xyzt_units = NIFTI_UNITS_MM | (frame_ms > 0 ? NIFTI_UNITS_SEC : 0);
    }
    const char *method = kr_meta_get(im->meta, "kray_method");
    snprintf(h->intent_name, sizeof h->intent_name, "%s", kr_image_unit(im));
    snprintf(h->descrip, sizeof h->descrip, "Kray %s%s%.40s", kr_version(), method ? " " : "", method ? method : "");

    /* In the file Z and SLICE are one axis, named after the one that is there. */
    int file_order[KR_AXES], n = 0;
    for (int k = 0; k < axes; k++)
        if (order[k] != (a->n[KR_SLICE] > 1 && a->n[KR_Z] == 1 ? KR_Z : KR_SLICE))
            file_order[n++] = order[k];
    put_comment(t, im->meta, file_order, n);
    if (t->failed)
        return kr_error_code();
    if (t->len > EXTENSIONS_MOST)
        return kr_fail(KR_EREFUSED, "notes of %zu bytes are too long for a NIfTI header", t->len);
    h->vox_offset = (float)(sizeof *h + 4 + 8 + t->len);
    return axes;
}

static int write_image(const kr_image *im, const char *path)
{
    const kr_array *a = im->data;
    nifti_1_header h;
    kr_text t = { 0 };
    int order[KR_AXES], axes = announce(&h, &t, order, im);
    int32_t extension[2] = { (int32_t)t.len + 8, COMMENT };
    long step = 1;
    bool ready = true;
    for (int k = 0; k < axes; k++)
        if (a->n[order[k]] > 1) {
            ready = ready && a->step[order[k]] == step;
            step *= a->n[order[k]];
        }
    kr_scoped(array) c = axes < 0 ? NULL : ready ? kr_array_ref(a) : kr_array_copy_order(a, order, axes);
    int e = c ? 0 : kr_error_code();
    kr_auto void *whole = e ? NULL : whole_numbers(im, c, &h);
    kr_block block[] = { { &h, sizeof h }, { "\1\0\0", 4 }, { extension, sizeof extension }, { t.s, t.len },
                         { whole ? whole : c ? c->data : NULL, (size_t)kr_count(kr_array_shape(a)) * (size_t)(h.bitpix / 8) } };
    if (!e)
        e = (suffixed(path, ".gz") ? kr_file_write_gz : kr_file_write)(path, block, 5);
    kr_text_clear(&t);
    return e;
}

/* Each part is a member of its own where the file is packed. */
static int write_parts(const kr_by_part *p, const char *path)
{
    kr_array shape = { .type = KR_R32 };                             /* numbers are not looked at */
    for (int d = 0; d < KR_AXES; d++)
        shape.n[d] = d < 3 ? p->n[d] : 1;
    kr_scoped(geom) g = kr_geom_copy(p->geom);
    kr_scoped(meta) m = kr_meta_copy(p->meta);
    kr_image im = { .data = &shape, .geom = g, .meta = m };
    nifti_1_header h;
    kr_text t = { 0 };
    int order[KR_AXES], fd = -1, e = !g || !m || announce(&h, &t, order, &im) < 0 ? kr_error_code() : 0;
    int32_t extension[2] = { (int32_t)t.len + 8, COMMENT };
    bool packed = suffixed(path, ".gz");
    kr_text head = { 0 };
    if (!e) {
        kr_text_put(&head, (const char *)&h, sizeof h);
        kr_text_put(&head, "\1\0\0", 4);
        kr_text_put(&head, (const char *)extension, sizeof extension);
        kr_text_put(&head, t.s, t.len);
        e = head.failed ? kr_error_code() : (fd = kr_file_create(path)) < 0 ? fd : (packed ? kr_file_put_gz : kr_file_put)(fd, head.s, head.len);
    }
    e = e ? e : kr_parts_put(p, fd, packed ? kr_file_put_gz : kr_file_put);
    kr_text_clear(&t);
    kr_text_clear(&head);
    return fd >= 0 ? kr_file_close(fd, e) : e;
}

static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    kr_image *im = kr_image_new(a, NULL, meta);
    int e = im ? write_image(im, path) : kr_error_code();
    kr_image_unref(&im);
    return e;
}

const kr_format kr_format_nifti = { "nifti", ".nii .nii.gz", "NIfTI volume", probe, NULL, NULL, read_image, write_image, read_array, write_array, false, NULL, true, .write_parts = write_parts,
    .columns_first = true, .volumes = true };
