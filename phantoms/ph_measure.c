/* ph_measure.c: from an object to a scan.
 *
 * k-space of an object seen by real coils has no closed form. It is measured on a grid twice as fine as the image, in
 * every direction that is encoded: lay the object out, multiply by the coil, transform, keep the central k-space. What
 * a grid of boxes does to the spectrum of the object (a product with a sinc) is divided out again. Uncoiled ellipses
 * measured so agree with their formula (tests/unit/test_phantom.c). Nothing of the operators that reconstruct is used. */
#include "measure.h"
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/nufft.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { FINER = 2,                    /* fine grid points per voxel and axis          */
       LEAST = 8, MOST = 4096,       /* voxels along an axis                         */
       THINNED = 4,                  /* every 4th pixel tells how noise adds up      */
       NOISE_SAMPLES = 16384,        /* of the noise scan                            */
       COIL_GROUP = 8,               /* coil images along a trajectory at a time     */
       BLOCK = 2048 };               /* noise samples coloured at a time             */

/* What a pose does to points of the object. */
typedef struct pose { double c, s, shift[2]; } pose;

const kr_simulate kr_simulate_preset = { .n = { 256, 256, 1 }, .slices = 8, .coils = 8, .gap_mm = 1.5, .contrast = "t1", .snr = 30,
                                         .noise_correlation = 0.2, .noise_scan = true, .oversampling = true, .phase = true };

/* A slab is what is encoded at a time: one slice, or the whole volume in 3D. */
typedef struct job {
    const kr_object *object;
    const kr_simulate *how;
    long n[3], fine[3], encoded[3], slabs, coils;
    long wide;                       /* fine points along X over the oversampled field of view */
    long together;                   /* coils measured at a time: all in 2D, one in 3D         */
    double fov[3], z;                /* z: middle of the present slab                          */
    kr_loop loop[256];
    double scale;                    /* of the loops' fields                                   */
    kr_cfloat *picture;              /* the present slab of the object {fine}                  */
    kr_cfloat *plane, *rows;         /* per worker: a fine plane; its ky rows, wide            */
    kr_cfloat *stack;                /* {encoded X, Y, fine Z} of one coil, 3D only            */
    kr_cfloat *images;               /* {encoded, together}                                    */
    float *weight[3];                /* what k-space is multiplied with along each axis        */
    kr_fft *along_x, *along_y, *along_z, *to_image;
    kr_cfloat *data;                 /* the present slab {encoded, COIL}                       */
    float *rss;                      /* the present slab {n}                                   */
    kr_cfloat *few;                  /* the present slab's thinned pixels {COIL, pixel}        */
    long few_per_slab;
    long first_coil;
    long points;                     /* of the trajectory, 0: none                             */
    kr_nufft *along;                 /* from the fine grid to them                             */
    float *point_weight;
    kr_cfloat *coil_images;          /* {fine, COIL_GROUP}                                     */
    kr_cfloat *samples;              /* the present slab {points, COIL}                        */
    pose pose;                       /* the present one                                        */
} job;

/* ---- The object on the fine grid ---- */
/* A smooth phase as a shimmed magnet leaves it: second order, and a bump above the nasal sinuses. */
static double smooth_phase(double x, double y, double z)
{
    x /= 100;
    y /= 100;
    z /= 100;
    double r2 = x * x + (y + 0.7) * (y + 0.7) + (z + 0.3) * (z + 0.3);
    return 0.5 + 0.7 * x - 0.6 * y + 0.9 * y * y - 0.6 * x * x + 0.8 * x * y * (1 + z) + 0.5 * z + 1.2 * exp(-r2 / 0.12);
}

static int object_row(void *self, long row)
{
    job *m = self;
    long j = row % m->fine[1], k = row / m->fine[1], n = m->fine[0];
    double dx = m->fov[0] / (double)n, dy = m->fov[1] / (double)m->fine[1], dz = m->fov[2] / (double)m->fine[2];
    kr_row at = { n, -(double)(n / 2) * dx, dx, (double)(j - m->fine[1] / 2) * dy, dy,
                  m->z + (double)(k - m->fine[2] / 2) * dz, dz };
    kr_cfloat *out = m->picture + row * n;
    float value[FINER * MOST];
    int e = m->object->row(m->object->self, m->object->type == KR_C32 ? (void *)out : value, &at);
    for (long i = 0; !e && m->object->type == KR_R32 && i < n; i++) {
        double p = m->how->phase && value[i] != 0 ? smooth_phase(at.x + (double)i * dx, at.y, at.z) : 0;
        out[i] = kr_c(value[i] * (float)cos(p), value[i] * (float)sin(p));
    }
    return e;
}

/* Plane k of the object as a coil sees it. */
static void coil_sees(const job *m, long coil, long k, kr_cfloat *plane)
{
    long nx = m->fine[0], ny = m->fine[1];
    double dx = m->fov[0] / (double)nx, dy = m->fov[1] / (double)ny;
    double z = m->z + (double)(k - m->fine[2] / 2) * m->fov[2] / (double)m->fine[2];
    const kr_cfloat *picture = m->picture + k * nx * ny;
    if (m->coils == 1) {
        memcpy(plane, picture, (size_t)(nx * ny) * sizeof *plane);
        return;
    }
    for (long j = 0; j < ny; j++) {
        const kr_cfloat *object = picture + j * nx;
        kr_cfloat *row = plane + j * nx;
        long from = 0, end = nx;                                 /* the field is wanted where there is something only */
        while (from < end && kr_cabs2(object[from]) == 0)
            from++;
        while (end > from && kr_cabs2(object[end - 1]) == 0)
            end--;
        memset(row, 0, (size_t)nx * sizeof *row);
        kr_loop_row(&m->loop[coil], m->scale, row + from, end - from, (double)(from - nx / 2) * dx, dx, (double)(j - ny / 2) * dy, z);
        for (long i = from; i < end; i++)
            row[i] = kr_cmul(row[i], object[i]);
    }
}

/* ---- One plane of one coil: multiply, transform along Y, keep the central rows, transform along X, keep the centre ---- */
static int coil_plane(void *self, long task)
{
    job *m = self;
    long k = task % m->fine[2], c = task / m->fine[2], nx = m->fine[0], ny = m->fine[1], ky = m->encoded[1], kx = m->encoded[0];
    kr_cfloat *plane = m->plane + kr_worker() * nx * ny, *rows = m->rows + kr_worker() * m->wide * ky;
    kr_cfloat *out = m->stack ? m->stack + k * kx * ky : m->data + c * kx * ky;
    coil_sees(m, m->first_coil + c, k, plane);
    kr_fft_forward(m->along_y, plane);
    memset(rows, 0, (size_t)(m->wide * ky) * sizeof *rows);
    for (long j = 0; j < ky; j++)
        memcpy(rows + j * m->wide + m->wide / 2 - nx / 2, plane + (ny / 2 - ky / 2 + j) * nx, (size_t)nx * sizeof *rows);
    kr_fft_forward(m->along_x, rows);
    for (long j = 0; j < ky; j++) {
        const kr_cfloat *centre = rows + j * m->wide + m->wide / 2 - kx / 2;
        float w = m->weight[1][j];
        for (long i = 0; i < kx; i++)
            out[j * kx + i] = kr_c(w * m->weight[0][i] * kr_re(centre[i]), w * m->weight[0][i] * kr_im(centre[i]));
    }
    return 0;
}

static void keep_central_planes(const job *m, kr_cfloat *out)
{
    long kz = m->encoded[2], plane = m->encoded[0] * m->encoded[1];
    for (long k = 0; k < kz; k++) {
        const kr_cfloat *from = m->stack + (m->fine[2] / 2 - kz / 2 + k) * plane;
        float w = m->weight[2][k];
        for (long i = 0; i < plane; i++)
            out[k * plane + i] = kr_c(w * kr_re(from[i]), w * kr_im(from[i]));
    }
}

/* ---- The noiseless images: sums of squares, and thinned pixels ---- */
static int image_row(void *self, long row)
{
    job *m = self;
    long j = row % m->n[1], k = row / m->n[1], n = m->n[0], kx = m->encoded[0], volume = kx * m->encoded[1] * m->encoded[2];
    float *rss = m->rss + row * n;
    bool thin = j % THINNED == 0 && k % THINNED == 0;
    long across = (n + THINNED - 1) / THINNED, down = (m->n[1] + THINNED - 1) / THINNED;
    kr_cfloat *few = m->few + (j / THINNED + k / THINNED * down) * across * m->coils;
    for (long c = 0; c < m->together; c++) {
        const kr_cfloat *x = m->images + c * volume + row * kx + kx / 2 - n / 2;
        for (long i = 0; i < n; i++)
            rss[i] += kr_cabs2(x[i]);
        for (long i = 0; thin && i < n; i += THINNED)
            few[i / THINNED * m->coils + m->first_coil + c] = x[i];
    }
    for (long i = 0; m->first_coil + m->together == m->coils && i < n; i++)
        rss[i] = sqrtf(rss[i]);
    return 0;
}

/* ---- Along a trajectory: the Fourier sum over the fine grid, at every sample ---- */
static int coil_image(void *self, long task)
{
    job *m = self;
    long k = task % m->fine[2], c = task / m->fine[2], plane = m->fine[0] * m->fine[1];
    coil_sees(m, m->first_coil + c, k, m->coil_images + task * plane);
    return 0;
}

static int measure_along(job *m)
{
    for (m->first_coil = 0; m->first_coil < m->coils; m->first_coil += COIL_GROUP) {
        long count = m->coils - m->first_coil < COIL_GROUP ? m->coils - m->first_coil : COIL_GROUP;
        kr_cfloat *y = m->samples + m->first_coil * m->points;
        if (kr_for(count * m->fine[2], coil_image, m))
            return kr_error_code();
        kr_nufft_forward(m->along, y, m->coil_images, count);
        for (long i = 0; i < count * m->points; i++)
            y[i] = kr_c(m->point_weight[i % m->points] * kr_re(y[i]), m->point_weight[i % m->points] * kr_im(y[i]));
    }
    return 0;
}

static int prepare_along(job *m)
{
    const kr_array *t = m->how->traj;
    long dims = t->n[KR_CHAN], most = m->coils < COIL_GROUP ? m->coils : COIL_GROUP;
    const float *k[3] = { NULL };
    m->points = kr_count(kr_array_shape(t)) / dims;
    if (t->type != KR_R32 || dims != (m->n[2] > 1 ? 3 : 2) || !kr_array_contiguous(t))
        return kr_fail(KR_ESHAPE, "a trajectory %s for a %s: %s coordinates a sample are wanted", kr_shape_text(kr_array_shape(t)), m->n[2] > 1 ? "volume" : "scan of slices",
                       m->n[2] > 1 ? "3" : "2");
    m->point_weight = kr_alloc((size_t)m->points, sizeof *m->point_weight);
    m->coil_images = kr_alloc((size_t)(m->fine[0] * m->fine[1] * m->fine[2] * most), sizeof *m->coil_images);
    if (!m->point_weight || !m->coil_images)
        return kr_error_code();
    for (long d = 0; d < dims; d++)
        k[d] = KR_R(t) + d * m->points;
    for (long i = 0; i < m->points; i++) {
        double w = 1;
        for (int d = 0; d < dims; d++) {
            double at = (double)k[d][i];
            if (!(fabs(at) <= .51 * (double)m->n[d] + .5))
                return kr_fail(KR_ENUMBER, "sample %ld lies at %.4g along k%s, beyond what a matrix of %ld has", i, at, kr_axis_name(d), m->n[d]);
            double filter = m->object->spectrum ? m->object->spectrum(m->object->self, d, 2 * M_PI * at / (double)m->fine[d]) : 1;
            w /= filter * sqrt((double)m->fine[d] / (double)m->n[d]);
        }
        m->point_weight[i] = (float)w;
    }
    m->along = kr_nufft_new(m->fine, m->points, k, most, 2e-6);
    return m->along ? 0 : kr_error_code();
}

/* ---- A head that moves ---- */
static double by_chance(const kr_motion *m, long slice, long number) { return kr_rand_uniform(m->seed, 4001 + (uint64_t)slice, (uint64_t)number); }

/* How often the object has moved before that line. */
static long moved(const kr_motion *m, long slice, long line, long lines)
{
    long n = 0;
    for (long k = 0; k < m->steps; k++)
        n += by_chance(m, slice, k) * (double)lines <= (double)line;
    return n;
}

static void drawn(double v[3], const kr_motion *m, long slice, long at)
{
    for (int i = 0; i < 3; i++)
        v[i] = (2 * by_chance(m, slice, m->steps + 3 * at + i) - 1) * (i ? m->mm : m->degrees * M_PI / 180);
}

void kr_motion_pose(double *angle, double shift_mm[2], const kr_motion *m, long slice, long line, long lines)
{
    double v[3], middle[3];
    drawn(v, m, slice, moved(m, slice, line, lines));
    drawn(middle, m, slice, moved(m, slice, lines / 2, lines));
    *angle = v[0] - middle[0];
    shift_mm[0] = v[1] - middle[1];
    shift_mm[1] = v[2] - middle[2];
}

/* The loops as the object sees them: turned and moved back. The field there is that in the laboratory but for a turn, B_x - i B_y but for exp(-i angle). */
static void loops_back(job *m, const kr_loop *still)
{
    const pose *p = &m->pose;
    for (long i = 0; i < m->coils && m->coils > 1; i++) {
        double x = still[i].centre_mm[0] - p->shift[0], y = still[i].centre_mm[1] - p->shift[1];
        m->loop[i].centre_mm[0] = p->c * x + p->s * y;
        m->loop[i].centre_mm[1] = p->c * y - p->s * x;
        m->loop[i].normal[0] = p->c * still[i].normal[0] + p->s * still[i].normal[1];
        m->loop[i].normal[1] = p->c * still[i].normal[1] - p->s * still[i].normal[0];
    }
}

/* Lines of a scan, one behind the other: a position on sample i of them, in cycles per field of view. */
typedef struct lines { long count, each, total; bool along; } lines;
static void position(double k[2], const job *m, const lines *l, long i)
{
    const kr_array *t = m->how->traj;
    long kx = m->encoded[0];
    k[0] = l->along ? (double)KR_R(t)[i] : (double)(i % kx - kx / 2) * (double)m->n[0] / (double)kx;
    k[1] = l->along ? (double)KR_R(t)[m->points + i] : (double)(i / kx - m->encoded[1] / 2);
}

/* Lines from..to in one pose: for every sample where it lies for the object, and what the sum is multiplied with there. */
static int one_pose(job *m, const lines *l, long from, long to, float *k, kr_cfloat *w, kr_cfloat *y)
{
    long n = (to - from) * l->each, first = from * l->each;
    const float *axis[3] = { k, k + n, NULL };
    kr_cfloat turn = m->coils > 1 ? kr_c((float)m->pose.c, (float)-m->pose.s) : kr_c(1, 0);
    for (long i = 0; i < n; i++) {
        double at[2], p[2], weight = l->along ? 1 : sqrt((double)m->n[0] / (double)m->encoded[0]), phase = 0;
        position(at, m, l, first + i);
        for (int d = 0; d < 2; d++) {
            at[d] /= m->fov[d];
            phase -= 2 * M_PI * at[d] * m->pose.shift[d];
        }
        p[0] = (m->pose.c * at[0] + m->pose.s * at[1]) * m->fov[0];
        p[1] = (-m->pose.s * at[0] + m->pose.c * at[1]) * m->fov[1];
        for (int d = 0; d < 2; d++) {
            double t = 2 * M_PI * p[d] / (double)m->fine[d];
            weight /= (m->object->spectrum ? m->object->spectrum(m->object->self, d, t) : 1) * sqrt((double)m->fine[d] / (double)m->n[d]);
            k[d * n + i] = (float)p[d];
        }
        w[i] = kr_cmul(kr_c((float)(weight * cos(phase)), (float)(weight * sin(phase))), turn);
    }
    kr_nufft *F = kr_nufft_new(m->fine, n, axis, m->coils < COIL_GROUP ? m->coils : COIL_GROUP, 2e-6);
    int e = F ? 0 : kr_error_code();
    for (m->first_coil = 0; !e && m->first_coil < m->coils; m->first_coil += COIL_GROUP) {
        long count = m->coils - m->first_coil < COIL_GROUP ? m->coils - m->first_coil : COIL_GROUP;
        if ((e = kr_for(count * m->fine[2], coil_image, m)))
            break;
        kr_nufft_forward(F, y, m->coil_images, count);
        for (long c = 0; c < count; c++)
            for (long i = 0; i < n; i++)
                (l->along ? m->samples : m->data)[(m->first_coil + c) * l->total + first + i] = kr_cmul(w[i], y[c * n + i]);
    }
    kr_nufft_unref(&F);
    return e;
}

static int measure_moving(job *m, long slab)
{
    const kr_motion *motion = &m->how->motion;
    kr_loop still[sizeof m->loop / sizeof *m->loop];
    memcpy(still, m->loop, sizeof still);
    lines l = { .along = m->points > 0 };
    l.each = l.along ? m->how->traj->n[KR_SAMPLE] : m->encoded[0];
    l.total = l.along ? m->points : m->encoded[0] * m->encoded[1];
    l.count = l.total / l.each;
    long group = m->coils < COIL_GROUP ? m->coils : COIL_GROUP;
    kr_auto float *k = kr_alloc(2 * (size_t)l.total, sizeof *k);
    kr_auto kr_cfloat *w = kr_alloc((size_t)l.total, sizeof *w), *y = kr_alloc((size_t)(l.total * group), sizeof *y);
    int e = k && w && y ? 0 : kr_error_code();
    for (long from = 0, to; !e && from < l.count; from = to) {
        for (to = from + 1; to < l.count && moved(motion, slab, to, l.count) == moved(motion, slab, from, l.count); )
            to++;
        double angle;
        kr_motion_pose(&angle, m->pose.shift, motion, slab, from, l.count);
        m->pose.c = cos(angle);
        m->pose.s = sin(angle);
        loops_back(m, still);
        e = one_pose(m, &l, from, to, k, w, y);
    }
    memcpy(m->loop, still, sizeof still);
    return e;
}

/* {X=points,COIL,SLICE} as {SAMPLE,VIEW,COIL,SLICE,TIME}. */
static kr_array *named_samples(const job *m, const kr_array *flat)
{
    const kr_array *t = m->how->traj;
    long each = t->n[KR_SAMPLE] * t->n[KR_VIEW], frames = t->n[KR_TIME], rows = m->coils * m->slabs;
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = t->n[KR_SAMPLE], [KR_VIEW] = t->n[KR_VIEW], [KR_COIL] = m->coils, [KR_SLICE] = m->slabs, [KR_TIME] = frames));
    for (long f = 0; a && f < frames; f++)
        for (long r = 0; r < rows; r++)
            memcpy(KR_C(a) + (f * rows + r) * each, KR_C(flat) + (r * frames + f) * each, (size_t)each * sizeof(kr_cfloat));
    return a;
}

static int measure_slab(job *m)
{
    long volume = m->encoded[0] * m->encoded[1] * m->encoded[2];
    int e = kr_for(m->fine[1] * m->fine[2], object_row, m);
    for (m->first_coil = 0; !e && m->first_coil < m->coils; m->first_coil += m->together) {
        kr_cfloat *out = m->data + m->first_coil * volume;
        e = kr_for(m->together * m->fine[2], coil_plane, m);
        if (!e && m->stack) {
            kr_fft_forward(m->along_z, m->stack);
            keep_central_planes(m, out);
        }
        if (e)
            break;
        kr_fft_inverse_to(m->to_image, m->images, out);
        e = kr_for(m->n[1] * m->n[2], image_row, m);
    }
    return e || !m->points || m->how->motion.steps ? e : measure_along(m);
}

/* The unitary transform of N voxels counts every fine point with N^-1/2 / finer, that of finer N points with
 * (finer N)^-1/2; and what laying out did to the object's spectrum is undone. */
static int axis_weights(job *m, int axis)
{
    long k = m->encoded[axis];
    float *w = m->weight[axis] = kr_alloc((size_t)k, sizeof *w);
    double finer = (double)m->fine[axis] / (double)m->n[axis], over = (double)k / (double)m->n[axis];
    for (long i = 0; w && i < k; i++) {
        double t = 2 * M_PI * (double)(i - k / 2) / (over * (double)m->fine[axis]);
        double filter = m->object->spectrum && m->fine[axis] > 1 ? m->object->spectrum(m->object->self, axis, t) : 1;
        w[i] = (float)(1 / (sqrt(finer) * filter));
    }
    return w ? 0 : kr_error_code();
}

static int prepare(job *m)
{
    const kr_simulate *how = m->how;
    bool volume = m->n[2] > 1;
    for (int a = 0; a < 3; a++) {
        m->fine[a] = a < 2 || volume ? FINER * m->n[a] : 1;
        m->encoded[a] = a == 0 && how->oversampling && !how->traj ? 2 * m->n[0] : m->n[a];
    }
    m->wide = m->encoded[0] > m->n[0] ? 2 * m->fine[0] : m->fine[0];
    m->together = volume ? 1 : m->coils;
    if (m->coils > 1) {
        kr_phantom_loops(m->loop, m->coils, m->fov);
        m->scale = kr_loops_scale(m->loop, m->coils);
    }
    for (int a = 0; a < 3; a++)
        if (axis_weights(m, a))
            return kr_error_code();
    size_t workers = (size_t)kr_threads(), plane = (size_t)(m->fine[0] * m->fine[1]);
    size_t encoded = (size_t)(m->encoded[0] * m->encoded[1]), z = (size_t)m->fine[2];
    m->picture = kr_alloc(plane * z, sizeof *m->picture);
    m->plane = kr_alloc(plane * workers, sizeof *m->plane);
    m->rows = kr_alloc((size_t)(m->wide * m->encoded[1]) * workers, sizeof *m->rows);
    m->stack = volume ? kr_alloc(encoded * z, sizeof *m->stack) : NULL;
    m->images = kr_alloc(encoded * (size_t)(m->encoded[2] * m->together), sizeof *m->images);
    m->along_y = kr_fft_new(KR_SHAPE([KR_X] = m->fine[0], [KR_Y] = m->fine[1]), KR_ON(KR_Y), KR_CENTRED | KR_SERIAL);
    m->along_x = kr_fft_new(KR_SHAPE([KR_X] = m->wide, [KR_Y] = m->encoded[1]), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
    m->along_z = volume ? kr_fft_new(KR_SHAPE([KR_X] = m->encoded[0], [KR_Y] = m->encoded[1], [KR_Z] = m->fine[2]), KR_ON(KR_Z), KR_CENTRED) : NULL;
    m->to_image = kr_fft_new(KR_SHAPE([KR_X] = m->encoded[0], [KR_Y] = m->encoded[1], [KR_Z] = m->encoded[2], [KR_COIL] = m->together),
                             KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), KR_CENTRED);
    m->few_per_slab = m->coils;
    for (int a = 0; a < 3; a++)
        m->few_per_slab *= (m->n[a] + THINNED - 1) / THINNED;
    m->few = kr_alloc((size_t)(m->few_per_slab * m->slabs), sizeof *m->few);
    bool good = m->picture && m->plane && m->rows && (m->stack || !volume) && m->images && m->along_y && m->along_x
             && (m->along_z || !volume) && m->to_image && m->few;
    int e = !good ? kr_error_code() : how->traj ? prepare_along(m) : 0;
    if (!e && how->motion.steps && !m->coil_images)
        m->coil_images = kr_alloc(plane * (size_t)(m->coils < COIL_GROUP ? m->coils : COIL_GROUP), sizeof *m->coil_images);
    return e || !how->motion.steps || m->coil_images ? e : kr_error_code();
}

static void clear(job *m)
{
    for (int a = 0; a < 3; a++)
        kr_free(m->weight[a]);
    kr_free(m->picture);
    kr_free(m->plane);
    kr_free(m->rows);
    kr_free(m->stack);
    kr_free(m->images);
    kr_free(m->few);
    kr_free(m->point_weight);
    kr_free(m->coil_images);
    kr_nufft_unref(&m->along);
    kr_fft_unref(&m->along_x);
    kr_fft_unref(&m->along_y);
    kr_fft_unref(&m->along_z);
    kr_fft_unref(&m->to_image);
}

/* ---- Noise ---- */
/* The standard deviation of the noise that a covariance C leaves in RSS at a pixel whose coil values are s:
 * sqrt(1/2 sum_ij conj(s_i) s_j C_ji / |s|^2), the half because only the part along s is seen. */
static double seen_noise(const kr_cfloat *C, const kr_cfloat *s, long coils)
{
    double sum = 0, norm = 0;
    for (long i = 0; i < coils; i++) {
        norm += kr_cabs2(s[i]);
        for (long j = 0; j < coils; j++)
            sum += kr_re(kr_cmul(kr_cmulc(s[i], s[j]), C[j + i * coils]));
    }
    return norm > 0 ? sqrt(0.5 * sum / norm) : 0;
}

/* By how much to multiply the covariance for the wanted SNR. */
static double noise_power(const job *m, const kr_array *C, const kr_array *rss)
{
    double limit = 0.1 * kr_max_abs(rss), signal = 0, noise = 0;
    long count = 0, seen = 0, n = kr_count(kr_array_shape(rss));
    for (long i = 0; i < n; i++)
        if (KR_R(rss)[i] > limit) {
            signal += KR_R(rss)[i];
            count++;
        }
    for (const kr_cfloat *s = m->few; s < m->few + m->few_per_slab * m->slabs; s += m->coils) {
        double power = 0;
        for (long c = 0; c < m->coils; c++)
            power += kr_cabs2(s[c]);
        if (power > limit * limit) {
            noise += seen_noise(KR_C(C), s, m->coils);
            seen++;
        }
    }
    if (!count || !seen)                                         /* nothing there: noise alone, of unit power */
        return 1;
    double ratio = signal / (double)count / (m->how->snr * noise / (double)seen);
    return ratio * ratio;
}

struct noise { kr_cfloat *to; long samples, stride, coils; uint64_t seed, stream, first; const kr_cfloat *R; kr_cfloat *scratch; };

/* Rows n of coloured noise from rows z of white noise: n = z R has E n^H n = R^H R = C. */
static int noise_block(void *self, long block)
{
    const struct noise *m = self;
    kr_cfloat *z = m->scratch + kr_worker() * BLOCK * m->coils;
    long from = block * BLOCK, count = m->samples - from < BLOCK ? m->samples - from : BLOCK;
    for (long c = 0; c < m->coils; c++)
        for (long i = 0; i < count; i++) {
            double g[2];
            kr_rand_normal2(m->seed, m->stream + (uint64_t)c, m->first + (uint64_t)(from + i), g);
            z[i + c * count] = kr_c((float)(M_SQRT1_2 * g[0]), (float)(M_SQRT1_2 * g[1]));
        }
    kr_la_gemm('N', 'N', count, m->coils, m->coils, 1, z, count, m->R, m->coils, 1, m->to + from, m->stride);
    return 0;
}

/* To every slab of k-space {X,Y,Z,COIL,SLICE}. */
static int add_noise_to(kr_array *a, struct noise *task)
{
    long volume = a->n[KR_X] * a->n[KR_Y] * a->n[KR_Z];
    int e = 0;
    task->samples = task->stride = volume;
    for (long slab = 0; !e && slab < a->n[KR_SLICE]; slab++) {
        task->to = KR_C(a) + slab * volume * task->coils;
        task->first = (uint64_t)(slab * volume);
        e = kr_for((volume + BLOCK - 1) / BLOCK, noise_block, task);
    }
    return e;
}

static int add_noise(const job *m, kr_scan *s, kr_array *data)
{
    kr_scoped(array) C = kr_phantom_covariance(m->coils, m->fov, m->how->noise_correlation);
    if (!C)
        return kr_error_code();
    kr_scale(C, (float)noise_power(m, C, s->reference->data));
    kr_auto kr_cfloat *scratch = kr_alloc((size_t)(kr_threads() * BLOCK * m->coils), sizeof *scratch);
    int e = scratch ? kr_la_cholesky(m->coils, KR_C(C)) : kr_error_code();
    struct noise task = { NULL, 0, 0, m->coils, m->how->seed, 1, 0, KR_C(C), scratch };
    if (!e)
        e = add_noise_to(data, &task);
    task.stream = 2001;
    if (!e && s->calib)
        e = add_noise_to(s->calib, &task);
    if (e || !m->how->noise_scan)
        return e;
    s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = NOISE_SAMPLES, [KR_COIL] = m->coils));
    if (!s->noise)
        return kr_error_code();
    task = (struct noise){ KR_C(s->noise), NOISE_SAMPLES, NOISE_SAMPLES, m->coils, m->how->seed, 1001, 0, KR_C(C), scratch };
    return kr_for(NOISE_SAMPLES / BLOCK, noise_block, &task);
}

/* ---- What a header says ---- */
static int describe(const job *m, kr_scan *s)
{
    const kr_object *o = m->object;
    const kr_simulate *how = m->how;
    s->dwell_us = s->noise_dwell_us = 5;
    s->noise_bandwidth = 1;
    for (int a = 0; a < 3; a++) {
        s->enc.encoded[a] = m->encoded[a];
        s->enc.recon[a] = m->n[a];
        s->enc.recon_mm[a] = m->fov[a];
        s->enc.encoded_mm[a] = m->fov[a] * (double)m->encoded[a] / (double)m->n[a];
        s->enc.limit[a].max = m->encoded[a] - 1;
        s->enc.limit[a].centre = m->encoded[a] / 2;
        s->enc.limit[a].known = !how->traj;
    }
    strcpy(s->enc.trajectory, how->traj ? "other" : "cartesian");
    s->enc.accel[0] = s->enc.accel[1] = 1;
    kr_geom_unref(&s->geom);
    kr_geom *g = s->geom = kr_geom_new(m->slabs);
    if (!g)
        return kr_error_code();
    g->known = true;
    memcpy(g->fov_mm, m->fov, sizeof g->fov_mm);
    g->spacing_mm = m->n[2] > 1 ? 0 : m->fov[2] + how->gap_mm;
    for (long i = 0; i < m->slabs; i++) {
        memcpy(g->position_mm[i], o->isocentre_mm, sizeof g->position_mm[i]);
        g->position_mm[i][2] += ((double)i - 0.5 * (double)(m->slabs - 1)) * g->spacing_mm;
    }
    int e = kr_meta_set(s->meta, "protocol", "%s", o->protocol);
    if (!e)
        e = kr_meta_set(s->meta, "vendor", "Kray");          /* tells the sign of k-space */
    struct { const char *key; double value; } facts[] = { { "tr_ms", o->tr_ms }, { "te_ms", o->te_ms }, { "ti_ms", o->ti_ms },
                                                          { "flip_deg", o->flip_deg }, { "field_T", 3 } };
    for (size_t i = 0; !e && i < sizeof facts / sizeof *facts; i++)
        if (facts[i].value > 0)
            e = kr_meta_set(s->meta, facts[i].key, "%g", facts[i].value);
    if (!e && how->motion.steps)
        e = kr_meta_set(s->meta, "motion", "steps=%ld,rotate=%g,shift=%g,seed=%" PRIu64, how->motion.steps, how->motion.degrees, how->motion.mm, how->motion.seed);
    return e ? e : kr_meta_set(s->meta, "snr", "%g", how->snr);
}

static int check(const kr_simulate *how, const double fov[3])
{
    bool volume = how->n[2] > 1;
    for (int a = 0; a < (volume ? 3 : 2); a++)
        if (how->n[a] < LEAST || how->n[a] > MOST)
            return kr_fail(KR_EREFUSED, "a matrix of %ld x %ld x %ld; %d to %d along each axis can be simulated", how->n[0], how->n[1], how->n[2], LEAST, MOST);
    if (how->n[2] < 1 || how->slices < 1 || how->slices > 4096)
        return kr_fail(KR_EREFUSED, "%ld slices of a matrix of %ld x %ld x %ld cannot be simulated", how->slices, how->n[0], how->n[1], how->n[2]);
    if (volume && how->slices > 1)
        return kr_fail(KR_EREFUSED, "a 3D scan (%ld x %ld x %ld) has one slab, not %ld slices", how->n[0], how->n[1], how->n[2], how->slices);
    if (how->multiband > 1 && how->traj)
        return kr_fail(KR_EREFUSED, "slices measured together along a trajectory cannot be simulated");
    if (how->multiband > 1 && (volume || how->slices % how->multiband))
        return kr_fail(KR_EREFUSED, "%ld slices at a time are possible of a 2D scan whose number of slices is a multiple of it, not of %ld %s", how->multiband,
                       volume ? how->n[2] : how->slices, volume ? "planes of a volume" : "slices");
    if (how->coils < 1 || how->coils > 256)
        return kr_fail(KR_EREFUSED, "%ld coils asked for; 1 to 256 can be simulated", how->coils);
    for (int a = 0; a < 3; a++)
        if (!(fov[a] >= 0.1 && fov[a] <= 2000))
            return kr_fail(KR_EREFUSED, "a field of view of %g x %g x %g mm; 0.1 to 2000 mm along each axis can be simulated", fov[0], fov[1], fov[2]);
    if (!(how->gap_mm >= 0 && how->gap_mm <= 1000))
        return kr_fail(KR_EREFUSED, "a gap of %g mm between slices; 0 to 1000 can be simulated", how->gap_mm);
    const kr_motion *mo = &how->motion;
    if (mo->steps && (volume || how->multiband > 1))
        return kr_fail(KR_EREFUSED, "motion is simulated of 2D slices measured one by one, not of %s", volume ? "volumes" : "slices measured together");
    if (mo->steps < 0 || mo->steps > KR_MOTION_STEPS || !(mo->degrees >= 0 && mo->degrees <= 180) || !(mo->mm >= 0 && mo->mm <= 1000))
        return kr_fail(KR_EREFUSED, "%ld steps of up to %g degrees and %g mm; 0 to %d steps, 0 to 180 degrees and 0 to 1000 mm can be simulated", mo->steps, mo->degrees, mo->mm, KR_MOTION_STEPS);
    if (!(how->snr >= 0 && how->snr <= 1e9))
        return kr_fail(KR_EREFUSED, "an SNR of %g; a number from 0 (no noise) to 1e9 is wanted", how->snr);
    if (!(how->noise_correlation >= 0 && how->noise_correlation <= 0.95))
        return kr_fail(KR_EREFUSED, "a noise correlation of %g between neighbours; 0 to 0.95 is possible", how->noise_correlation);
    return 0;
}

static int measure(job *m, kr_scan *s, const kr_trace *trace)
{
    s->shape = KR_SHAPE([KR_X] = m->encoded[0], [KR_Y] = m->encoded[1], [KR_Z] = m->encoded[2], [KR_COIL] = m->coils, [KR_SLICE] = m->slabs);
    s->data = kr_array_new(KR_C32, s->shape);
    kr_scoped(array) rss = kr_array_new(KR_R32, KR_SHAPE([KR_X] = m->n[0], [KR_Y] = m->n[1], [KR_Z] = m->n[2], [KR_SLICE] = m->slabs));
    if (!s->data || !rss || describe(m, s))
        return kr_error_code();
    kr_cfloat *few = m->few;
    long volume = m->encoded[0] * m->encoded[1] * m->encoded[2] * m->coils, image = m->n[0] * m->n[1] * m->n[2];
    kr_scoped(array) flat = m->points ? kr_array_new(KR_C32, KR_SHAPE([KR_X] = m->points, [KR_COIL] = m->coils, [KR_SLICE] = m->slabs)) : NULL;
    if (m->points && !flat)
        return kr_error_code();
    int e = 0;
    for (long i = 0; !e && i < m->slabs; i++) {
        kr_progress(trace, "simulate", (double)i, (double)m->slabs);
        m->data = KR_C(s->data) + i * volume;
        m->samples = flat ? KR_C(flat) + i * m->points * m->coils : NULL;
        m->rss = KR_R(rss) + i * image;
        m->few = few + i * m->few_per_slab;
        m->z = s->geom->position_mm[i][2] - m->object->isocentre_mm[2];
        e = kr_stopped(trace);
        e = e ? e : measure_slab(m);
        e = e || !m->how->motion.steps ? e : measure_moving(m, i);
    }
    m->few = few;
    if (e)
        return e;
    kr_progress(trace, "simulate", 1, 1);
    s->reference = kr_image_new(rss, s->geom, s->meta);
    if (!s->reference)
        return kr_error_code();
    if (flat) {
        if (m->how->snr > 0 && add_noise(m, s, flat))
            return kr_error_code();
        kr_array_unref(&s->data);
        s->data = named_samples(m, flat);
        s->traj = kr_array_ref(m->how->traj);
        s->shape = s->data ? kr_array_shape(s->data) : s->shape;
        return s->data ? 0 : kr_error_code();
    }
    if (m->how->multiband > 1 && kr_multiband_collapse(s, m->how->multiband, m->how->shift, m->how->single_band))
        return kr_error_code();
    return m->how->snr > 0 ? add_noise(m, s, s->data) : 0;
}

int kr_measure(kr_scan **out, const kr_object *object, const kr_simulate *how, const kr_trace *trace)
{
    *out = NULL;
    kr_auto job *m = kr_alloc_zero(1, sizeof *m);
    if (!m)
        return kr_error_code();
    m->object = object;
    m->how = how;
    m->coils = how->coils;
    m->slabs = how->n[2] > 1 ? 1 : how->slices;
    memcpy(m->n, how->n, sizeof m->n);
    for (int a = 0; a < 3; a++)
        m->fov[a] = how->fov_mm[a] != 0 ? how->fov_mm[a] : a == 2 && how->n[2] == 1 ? 5 : object->fov_mm[a];
    if (check(how, m->fov))
        return kr_error_code();
    kr_scoped(scan) s = kr_scan_new();
    int e = s ? prepare(m) : kr_error_code();
    e = e ? e : measure(m, s, trace);
    clear(m);
    if (!e) {
        *out = s;
        s = NULL;
    }
    return e;
}
