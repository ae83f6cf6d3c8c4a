/* simulated.c: one slice of a scan out of a volume: plane, deformation, contrast, phase, coils, noise and mask by chance; then what the network
 * is given of it, by the same code that reconstructs a scan. */
#include "learning.h"
#include "kray/fourier.h"
#include "kray/phantom.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER = 3, TERMS = 10, COILS = 64, TRIES = 30, FEWEST = 96 };

/* A polynomial of low order in x and y, each -1 to 1. */
typedef struct smooth { double a[TERMS]; int order; } smooth;

static smooth smooth_of(dice *d, int order)
{
    smooth s = { .order = order };
    for (int i = 0, k = 0; i <= order; i++)
        for (int j = 0; j <= order - i; j++, k++)
            s.a[k] = dice_normal(d) / (double)(1 + i + j);
    return s;
}

static double smooth_at(const smooth *s, double x, double y)
{
    double sum = 0, px = 1;
    for (int i = 0, k = 0; i <= s->order; i++, px *= x) {
        double py = px;
        for (int j = 0; j <= s->order - i; j++, k++, py *= y)
            sum += s->a[k] * py;
    }
    return sum;
}

/* ---- The plane ---- */
typedef struct plane { const learn_volume *of; const float *v; long at, w, h, step, row; double mm_w, mm_h; bool labels; double tissue[2]; uint64_t paint, stream; } plane;

static double value(const plane *p, long i, long j)
{
    if (i < 0 || j < 0 || i >= p->w || j >= p->h)
        return 0;
    float v = p->v[i * p->step + j * p->row];
    if (!p->labels)
        return isfinite(v) && v > 0 ? (double)v : 0;
    long label = lroundf(v);
    return label <= 0 ? 0 : 0.04 + 0.96 * kr_rand_uniform(p->paint, p->stream, (uint64_t)label);
}

static double between(const plane *p, double x, double y)
{
    long i = (long)floor(x), j = (long)floor(y);
    double f = x - (double)i, g = y - (double)j;
    if (p->labels)
        return value(p, lround(x), lround(y));
    return (1 - g) * ((1 - f) * value(p, i, j) + f * value(p, i + 1, j)) + g * ((1 - f) * value(p, i, j + 1) + f * value(p, i + 1, j + 1));
}

static int rising(const void *p, const void *q)
{
    double a = *(const double *)p, b = *(const double *)q;
    return (a > b) - (a < b);
}

/* The value that 99.5 in 100 of those above 0 do not pass. */
static double top_of(const double *m, long n)
{
    kr_auto double *v = kr_alloc((size_t)n, sizeof *v);
    long count = 0;
    for (long i = 0; v && i < n; i++)
        if (m[i] > 0)
            v[count++] = m[i];
    if (!v || !count)
        return 0;
    qsort(v, (size_t)count, sizeof *v, rising);
    return v[(long)(0.995 * (double)(count - 1))];
}

/* Volume, axis and position by chance: persons as often as the root of what there is of them. */
static int choose(plane *p, const learn_volumes *v, bool held, dice *d, const char **name)
{
    double sum = 0, at;
    const learn_volume *best = NULL;
    for (int pass = 0; pass < 2; pass++) {
        at = pass ? dice_uniform(d, 0, sum) : 0;
        for (long i = 0; i < v->count && !best; i++) {
            const learn_volume *q = &v->volume[i];
            double slices = 0;
            for (int a = 0; a < 3; a++)
                slices += q->axes >> a & 1 ? (double)q->n[a] : 0;
            double weight = v->of_slices > 0 || v->held[q->person] == held ? sqrt(slices) : 0;
            if (!pass)
                sum += weight;
            else if (weight > 0 && (at -= weight) < 0)
                best = q;
        }
    }
    if (!best)
        return kr_fail(KR_EREFUSED, held ? "no person is held back for validation" : "no person is left to train on");
    int axis = 0, wanted = (int)dice_choice(d, __builtin_popcount(best->axes));
    for (int a = 0; a < 3; a++)
        if (best->axes >> a & 1 && !wanted--)
            axis = a;
    long n = best->n[axis], from = n > 12 ? n / 5 : 0, range = n - 2 * from;
    if (v->of_slices > 0) {                                  /* the last ones, one left out between */
        long last = lround(v->of_slices * (double)range);
        last = last < 1 ? 1 : last;
        if (range - last < 2)
            return kr_fail(KR_EREFUSED, "there is one person, of whom %s has %ld slices to choose from: %ld held back leave too few to train on", best->name, range, last);
        from += held ? range - last : 0;
        range = held ? last : range - last - 1;
    }
    long k = from + dice_choice(d, range);
    long step[3] = { 1, best->n[0], best->n[0] * best->n[1] };
    int a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
    *p = (plane){ .of = best, .at = k, .v = best->v ? best->v + k * step[axis] : NULL, .w = best->n[a], .h = best->n[b], .step = step[a], .row = step[b], .mm_w = best->mm[a], .mm_h = best->mm[b],
                  .labels = best->labels, .paint = d->seed, .stream = d->stream ^ 0x9a17 };
    *name = best->name;
    return 0;
}

/* Onto nx x ny points, as many as there are or fewer where the volume shows no more detail than that (a scan shows detail up to its finest
 * samples, and who learns from smooth images smooths): turned, scaled, flipped, bent; four points averaged for one. */
static void render(double *m, long *px, long *py, const plane *p, dice *d)
{
    double turn = M_PI / 2 * (double)dice_choice(d, 4) + 0.12 * dice_normal(d), flip = dice_uniform(d, -1, 1) < 0 ? -1 : 1;
    double wide = fmax((double)p->w * p->mm_w, (double)p->h * p->mm_h), across = dice_uniform(d, 0.9, 1.35), stretch = dice_uniform(d, 0.93, 1.07);
    double fine = fmax(p->mm_w, p->mm_h) * dice_uniform(d, 1, 1.7), fits = fmin(1, fmax(FEWEST, wide * across / fine) / (double)*py);
    long nx = *px = 16 * (long)ceil(fmax(FEWEST, fits * (double)*px) / 16), ny = *py = 16 * (long)ceil(fits * (double)*py / 16);
    double mm = wide * across / (double)ny, ox = dice_normal(d) * 0.04 * wide, oy = dice_normal(d) * 0.03 * wide;
    double window = fmax(0, (double)ny - (double)nx) * 0.5 * mm;
    ox += dice_uniform(d, -1, 1) * window * 0.6;
    double bend = dice_uniform(d, 0, 1) < 0.5 ? 0.02 * wide * dice_uniform(d, 0, 1) : 0, f[4], q[4];
    for (int i = 0; i < 4; i++) {
        f[i] = dice_uniform(d, 1, 4) * M_PI / wide;
        q[i] = dice_uniform(d, 0, 2 * M_PI);
    }
    double c = cos(turn), s = sin(turn);
    for (long y = 0; y < ny; y++)
        for (long x = 0; x < nx; x++) {
            double sum = 0;
            for (int k = 0; k < 4; k++) {
                double u = ((double)(x - nx / 2) + 0.5 * (k & 1) - 0.25) * mm * stretch * flip + ox, w = ((double)(y - ny / 2) + 0.5 * (k >> 1) - 0.25) * mm + oy;
                double u2 = u + bend * (sin(f[0] * w + q[0]) + sin(f[1] * u + q[1])), w2 = w + bend * (sin(f[2] * u + q[2]) + sin(f[3] * w + q[3]));
                sum += between(p, (c * u2 - s * w2) / p->mm_w + 0.5 * (double)(p->w - 1), (s * u2 + c * w2) / p->mm_h + 0.5 * (double)(p->h - 1));
            }
            m[y * nx + x] = sum / 4;
        }
}

/* Volumes that were interpolated, averaged or cleaned of noise have less fine detail than a scan has: two real ones held 20 to 23 dB less power at the edge
 * of k-space than near its middle, planes of volumes 24 to 38 less (the middle 80 of 100). Amplitudes at r, 1 at the edge, times 1 + a r / (r + 0.3), a by chance. */
static int sharpen(double *m, long nx, long ny, double a)
{
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    if (!x)
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++)
        KR_C(x)[i] = kr_c((float)m[i], 0);
    if (kr_fourier(x, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++) {
        double r = hypot(2 * (double)(i % nx - nx / 2) / (double)nx, 2 * (double)(i / nx - ny / 2) / (double)ny);
        KR_C(x)[i] *= (float)(1 + a * r / (r + 0.3));
    }
    if (kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++)
        m[i] = fmax(0, (double)kr_re(KR_C(x)[i]));
    return 0;
}

/* Another contrast: a curve through five points by chance, monotone or not, at 0 for no signal; a bias field. */
static void contrast(double *m, long nx, long ny, bool labels, dice *d)
{
    bool curve = !labels && dice_uniform(d, 0, 1) < 0.6, mixed = dice_uniform(d, 0, 1) < 0.5;
    double at[5] = { 0, 0, 0, 0, 1.5 }, to[5] = { 0 }, bias = dice_uniform(d, 0, 0.25), texture = labels ? dice_uniform(d, 0, 0.12) : 0;
    for (int i = 1; i < 4; i++)
        at[i] = dice_uniform(d, 0, 1);
    qsort(at, 5, sizeof *at, rising);
    for (int i = 0; i < 5; i++)
        to[i] = i ? dice_uniform(d, 0.1, 1) : 0;
    smooth field = smooth_of(d, 2);
    for (long i = 0; i < nx * ny; i++) {
        double v = fmin(m[i], 1.5), u = v;
        if (curve) {
            int k = 0;
            while (k < 3 && v > at[k + 1])
                k++;
            double f = at[k + 1] > at[k] ? (v - at[k]) / (at[k + 1] - at[k]) : 0;
            u = (to[k] + (to[k + 1] - to[k]) * fmin(f, 1)) * fmin(v / 0.1, 1);
            u = mixed ? 0.3 * v + 0.7 * u : u;
        }
        double x = 2 * (double)(i % nx) / (double)nx - 1, y = 2 * (double)(i / nx) / (double)ny - 1;
        m[i] = u * exp(bias * smooth_at(&field, x, y)) * (1 + (texture > 0 ? texture * dice_normal(d) : 0));
    }
}

/* Lesions, in such a part of the planes: up to four, each an ellipse with soft edges, brighter or darker than what it lies in. Their chances are drawn apart from the others, so that
 * planes without lesions stay as they are. */
static void lesions(double *m, long nx, long ny, double share, const dice *of)
{
    dice d = { of->seed, of->stream ^ (1ull << 58), 0 };
    if (dice_uniform(&d, 0, 1) >= share)
        return;
    for (long k = 1 + dice_choice(&d, 4); k > 0; k--) {
        double cx = 0, cy = 0;
        for (int t = 0; t < 8; t++) {
            cx = dice_uniform(&d, 0.15, 0.85) * (double)nx;
            cy = dice_uniform(&d, 0.15, 0.85) * (double)ny;
            if (m[(long)cy * nx + (long)cx] > 0.1)
                break;
        }
        double a = exp(dice_uniform(&d, log(1.5), log(0.07 * (double)ny))), b = a * dice_uniform(&d, 0.5, 1), turn = dice_uniform(&d, 0, M_PI), by = exp(dice_uniform(&d, -0.9, 0.9));
        double c = cos(turn), s = sin(turn), soft = dice_uniform(&d, 0.1, 0.5);
        for (long i = 0; i < nx * ny; i++) {
            double x = (double)(i % nx) - cx, y = (double)(i / nx) - cy, r = hypot((c * x + s * y) / a, (c * y - s * x) / b);
            double f = r < 1 - soft ? 1 : r < 1 + soft ? 0.5 + 0.5 * cos(M_PI * (r - 1 + soft) / (2 * soft)) : 0;
            m[i] = fmin(1.5, m[i] * (1 + f * (by - 1)));
        }
    }
}

/* ---- Coils: loops around the object, on a grid four times as coarse and by lines between ---- */
static kr_cfloat *coil_maps(long nx, long ny, long coils, dice *d)
{
    enum { COARSE = 4 };
    long gx = nx / COARSE + 2, gy = ny / COARSE + 2;
    kr_cfloat *S = kr_alloc((size_t)(nx * ny * coils), sizeof *S);
    kr_auto kr_cdouble *grid = kr_alloc((size_t)(gx * gy), sizeof *grid);
    if (!S || !grid) {
        kr_free(S);
        return NULL;
    }
    double fov = 240, mm = fov / (double)ny, R = fov * dice_uniform(d, 0.48, 0.75), off = dice_uniform(d, 0, 2 * M_PI), height = dice_normal(d) * 40, loose = dice_uniform(d, 0.3, 1);
    double side = dice_uniform(d, 0, 1) < 0.25 ? 0.5 : 1;    /* a quarter of them: all coils on one side, as surface arrays are */
    for (long c = 0; c < coils; c++) {
        double a = off + 2 * M_PI * side * ((double)c + 0.2 * dice_normal(d)) / (double)coils, r = R * (1 + 0.08 * dice_normal(d)), tilt = 0.2 * dice_normal(d);
        kr_loop loop = { { r * cos(a), r * sin(a), height + 25 * dice_normal(d) }, { cos(a + tilt), sin(a + tilt), 0.2 * dice_normal(d) },
                         R * fmin(0.8, 1.6 / sqrt((double)coils + 1)) * dice_uniform(d, 0.4, 1.1) };
        double n = sqrt(1 + loop.normal[2] * loop.normal[2]), p = dice_uniform(d, 0, 2 * M_PI);
        for (int k = 0; k < 3; k++)
            loop.normal[k] /= n;
        smooth extra = smooth_of(d, 2);
        for (long i = 0; i < gx * gy; i++) {
            double at[3] = { ((double)(i % gx * COARSE) - (double)nx / 2) * mm, ((double)(i / gx * COARSE) - (double)ny / 2) * mm, 0 }, B[3];
            kr_loop_field(&loop, at, B);
            double q = p + loose * 0.5 * smooth_at(&extra, at[0] / fov * 2, at[1] / fov * 2), re = B[0] * cos(q) + B[1] * sin(q), im = B[0] * sin(q) - B[1] * cos(q);
            __real__ grid[i] = re;
            __imag__ grid[i] = im;
        }
        for (long y = 0; y < ny; y++)
            for (long x = 0; x < nx; x++) {
                long i = x / COARSE, j = y / COARSE;
                double f = (double)(x % COARSE) / COARSE, g = (double)(y % COARSE) / COARSE;
                const kr_cdouble *q = grid + j * gx + i;
                kr_cdouble v = (1 - g) * ((1 - f) * q[0] + f * q[1]) + g * ((1 - f) * q[gx] + f * q[gx + 1]);
                S[(c * ny + y) * nx + x] = kr_c((float)__real__ v, (float)__imag__ v);
            }
    }
    for (long i = 0; i < nx * ny; i++) {                     /* their noise is white: what counts is how they differ */
        double sum = 0;
        for (long c = 0; c < coils; c++)
            sum += (double)kr_cabs2(S[c * nx * ny + i]);
        float by = (float)(1 / sqrt(sum));
        for (long c = 0; c < coils; c++)
            S[c * nx * ny + i] *= by;
    }
    return S;
}

/* ---- The scan ---- */
static int number_of(double *x, const char *list, dice *d)
{
    char word[64];
    if (learn_word_at(word, sizeof word, list, dice_choice(d, learn_words(list))))
        return kr_error_code();
    char *end;
    *x = strtod(word, &end);
    return *end || end == word ? kr_fail(KR_EUSAGE, "'%s' in '%s' is no number", word, list) : 0;
}

/* "KIND:more" with the acceleration, calibration and seed by chance. */
static kr_array *mask_of(const kr_learn *o, bool planes, long nx, long ny, dice *d)
{
    char word[160], spec[320];
    double accel = 1;
    const char *list = planes ? o->planes : o->masks;
    if (number_of(&accel, o->accel, d) || learn_word_at(word, sizeof word, list, dice_choice(d, learn_words(list))))
        return NULL;
    long lines = LEARN_LEAST_LINES + dice_choice(d, LEARN_MOST_LINES - LEARN_LEAST_LINES + 1);
    accel = fmin(accel, 0.6 * (double)ny / (double)lines);
    if (planes)
        accel = fmin(accel, 0.4 * (double)(nx * ny) / (double)(lines * lines));
    bool counts = !strncmp(word, "poisson", 7);
    char *more = strchr(word, ':');
    if (more)
        *more++ = 0;
    if (!strncmp(word, "gaussian", 8))
        snprintf(spec, sizeof spec, "%s:accel=%.3g,scale=%.3g,seed=%ld%s%s", word, accel, 0.5 * (double)lines / (double)ny, dice_choice(d, 1 << 30), more ? "," : "", more ? more : "");
    else if (!strcmp(word, "uniform"))
        snprintf(spec, sizeof spec, "%s:accel=%ld,lines=%ld,offset=%ld%s%s", word, lround(accel), lines, dice_choice(d, lround(accel)), more ? "," : "", more ? more : "");
    else
        snprintf(spec, sizeof spec, "%s:accel=%.3g,%s=%ld,seed=%ld%s%s%s", word, accel, counts ? "calib" : "lines", lines, dice_choice(d, 1 << 30), planes ? ",axes=xy" : ",axes=y", more ? "," : "", more ? more : "");
    return kr_mask_new(spec, KR_SHAPE([KR_X] = nx, [KR_Y] = ny), NULL);
}

/* coil_images become those of the full scan, with its noise, unless `clean`. */
static int scan_of(kr_scan *s, const kr_array *mask, double sigma, kr_cfloat *coil_images, bool clean, long nx, long ny, long coils, dice *d)
{
    s->data = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = coils));
    kr_scoped(array) wide = s->data ? kr_array_spread(mask, KR_SHAPE([KR_X] = nx, [KR_Y] = ny)) : NULL;
    kr_scoped(array) m = wide ? kr_array_copy(wide) : NULL;
    if (!m)
        return kr_error_code();
    memcpy(s->data->data, coil_images, (size_t)(nx * ny * coils) * sizeof *coil_images);
    if (kr_fourier(s->data, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    /* Channels differ in noise, and neighbours share some of it, as where no noise scan has whitened them. */
    double shared = dice_uniform(d, 0, 0.35), gain[COILS];
    for (long c = 0; c < coils; c++)
        gain[c] = sigma * exp(0.12 * dice_normal(d)) / sqrt(1 + shared * shared);
    uint64_t from = d->at;
    d->at += (uint64_t)(nx * ny * coils);
    for (long i = 0, n = nx * ny; i < n * coils; i++) {
        double z[2], next[2];
        kr_rand_normal2(d->seed, d->stream, from + (uint64_t)i, z);
        kr_rand_normal2(d->seed, d->stream, from + (uint64_t)((i + n) % (n * coils)), next);
        double by = gain[i / n];
        KR_C(s->data)[i] += kr_c((float)(by * (z[0] + shared * next[0])), (float)(by * (z[1] + shared * next[1])));
    }
    if (!clean) {
        kr_scoped(array) full = kr_array_copy(s->data);
        if (!full || kr_fourier_inverse(full, KR_ON(KR_X) | KR_ON(KR_Y)))
            return kr_error_code();
        memcpy(coil_images, full->data, (size_t)(nx * ny * coils) * sizeof *coil_images);
    }
    for (long i = 0; i < nx * ny * coils; i++)
        if (KR_R(m)[i % (nx * ny)] == 0)
            KR_C(s->data)[i] = kr_c(0, 0);
    s->mask = kr_array_ref(mask);
    s->shape = kr_array_shape(s->data);
    return s->mask ? 0 : kr_error_code();
}

/* The image that agrees with the coil images where there are maps. */
static void target_of(kr_cfloat *t, const kr_cfloat *coil_images, const kr_cfloat *S, long n, long coils, double scale)
{
    for (long i = 0; i < n; i++) {
        double re = 0, im = 0, size = 0;
        for (long c = 0; c < coils; c++) {
            kr_cfloat v = kr_cmulc(S[c * n + i], coil_images[c * n + i]);
            re += (double)kr_re(v);
            im += (double)kr_im(v);
            size += (double)kr_cabs2(S[c * n + i]);
        }
        double by = 1 / (fmax(size, 0.25) * scale);
        t[i] = kr_c((float)(re * by), (float)(im * by));
    }
}

static kr_cfloat *numbers(const kr_array *a)
{
    long n = kr_count(kr_array_shape(a));
    kr_cfloat *v = kr_alloc((size_t)n, sizeof *v);
    if (v)
        memcpy(v, a->data, (size_t)n * sizeof *v);
    return v;
}

/* 1: this plane shows too little, and another may show more; weights that cannot be read, want of memory and the like are failures of all planes. */
static int of_this_plane(void)
{
    int e = kr_error_code();
    return e == KR_EREFUSED || e == KR_ENUMBER ? 1 : e;
}

/* What the network is given of a scan, by the code that reconstructs. images: coil images of the full scan, NULL: not known; sigma: noise of the samples, negative: told by the
 * outermost ones. 1: there is too little to see. */
static int seen(learn_slice *s, const kr_learn *o, kr_scan *scan, const kr_cfloat *images, double sigma, bool strips, const char *name)
{
    bool samples = learn_wants_samples(o);
    const kr_recon *method = kr_recon_named(o->start ? o->start : "wavelet");
    if (!method)
        return kr_error_code();
    long nx = scan->data->n[KR_X], ny = scan->data->n[KR_Y], coils = scan->data->n[KR_COIL], n = nx * ny;
    kr_coils_opts how = kr_coils_preset;
    kr_coils_facts facts = { 0, 0 };
    how.soft = true;
    how.facts = &facts;
    kr_scoped(array) maps = kr_coils_estimate(scan, &how, NULL);
    if (!maps)
        return of_this_plane();
    double c = sigma < 0 ? kr_noise_sigma(scan, NULL) : 0;
    kr_refine_input r;
    if (kr_refine_input_of(&r, scan, maps, c > 0 ? c : fabs(sigma), method, NULL))
        return of_this_plane();
    *s = (learn_slice){ .nx = nx, .ny = ny, .coils = coils, .strips = strips, .noise = KR_R(r.noise)[0], .scale = (float)r.scale, .name = kr_strdup(name), .start = numbers(r.start),
                        .adjoint = numbers(r.adjoint), .sens = numbers(r.sens), .mask = kr_alloc((size_t)n, sizeof(float)), .target = kr_alloc((size_t)n, sizeof(kr_cfloat)) };
    bool good = s->name && s->start && s->adjoint && s->sens && s->mask && s->target;
    long inside = 0;
    if (good && samples) {
        s->kspace = numbers(scan->data);
        good = s->kspace;
    }
    if (good && samples && images) {
        kr_scoped(array) full = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = coils));
        if (full)
            memcpy(full->data, images, (size_t)(n * coils) * sizeof *images);
        s->full = full && !kr_fourier(full, KR_ON(KR_X) | KR_ON(KR_Y)) ? numbers(full) : NULL;
        good = s->full;
    }
    if (good) {
        memcpy(s->mask, r.mask->data, (size_t)n * sizeof *s->mask);
        if (images)
            target_of(s->target, images, s->sens, n, coils, r.scale);
        else
            memcpy(s->target, s->start, (size_t)n * sizeof *s->target);
        for (long i = 0; i < n; i++)
            inside += kr_cabs2(s->target[i]) > 0.01f;
    }
    kr_refine_input_clear(&r);
    if (!good || 20 * inside < n) {
        learn_slice_clear(s);
        return good ? 1 : kr_error_code();
    }
    return 0;
}

/* A slice of a raw scan; a full one is undersampled. */
static int of_scan(learn_slice *s, const plane *p, const kr_learn *o, dice *d, const char *name)
{
    kr_scoped(scan) scan = NULL;
    bool full, planes = dice_uniform(d, 0, 1) < 0.45;
    if (learn_scan_slice(&scan, &full, p->of->path, p->at))
        return kr_error_code();
    if (!full && !(o->self_supervised > 0))
        return kr_fail(KR_EREFUSED, "slice %ld of %s is not fully sampled", p->at, p->of->path);
    long nx = scan->shape.n[KR_X], ny = scan->shape.n[KR_Y];
    if (kr_max_abs(scan->data) <= 0)
        return 1;
    if (!full) {
        bool strips = true;
        for (long i = 0; i < nx * ny; i++)
            strips &= KR_R(scan->mask)[i] == KR_R(scan->mask)[i / nx * nx];
        return seen(s, o, scan, NULL, -1e-30, strips, name);
    }
    kr_scoped(array) images = kr_array_copy(scan->data);
    kr_scoped(array) mask = mask_of(o, planes, nx, ny, d);
    if (!images || !mask || kr_fourier_inverse(images, KR_ON(KR_X) | KR_ON(KR_Y)) || kr_scan_undersample(scan, mask))
        return kr_error_code();
    return seen(s, o, scan, KR_C(images), -1e-30, !planes, name);
}

/* ---- The object ---- */
typedef struct phases { smooth slow, fine; double strength, ripple; } phases;

static phases phases_of(dice *d)
{
    phases p = { .slow = smooth_of(d, 3) };
    p.fine = smooth_of(d, 3);
    p.strength = dice_uniform(d, 0, 1.5);
    p.ripple = dice_uniform(d, 0, 1) < 0.3 ? dice_uniform(d, 0, 0.6) : 0;
    return p;
}

static kr_cfloat phased(const phases *p, double a, long i, long j, long nx, long ny)
{
    double x = 2 * (double)i / (double)nx - 1, y = 2 * (double)j / (double)ny - 1;
    double q = p->strength * smooth_at(&p->slow, x, y) + p->ripple * sin(6 * smooth_at(&p->fine, x, y));
    return kr_c((float)(a * cos(q)), (float)(a * sin(q)));
}

/* Magnitudes of a plane, its largest values being 1; the plane may become smaller. 1: there is too little to see. */
static int picture(double *m, long *nx, long *ny, const plane *p, const kr_learn *o, dice *d)
{
    render(m, nx, ny, p, d);
    long n = *nx * *ny, bright = 0;
    if (!p->labels && sharpen(m, *nx, *ny, dice_uniform(d, 0, 5)))
        return kr_error_code();
    double top = top_of(m, n);
    for (long i = 0; i < n && top > 0; i++) {
        m[i] = fmin(m[i] / top, 1.5);
        bright += m[i] > 0.1;
    }
    if (10 * bright < n)
        return 1;
    contrast(m, *nx, *ny, p->labels, d);
    lesions(m, *nx, *ny, o->lesions, d);
    top = top_of(m, n);
    for (long i = 0; i < n && top > 0; i++)
        m[i] /= top;
    return top > 0 ? 0 : 1;
}

int learn_picture(kr_cfloat **x, long *nx, long *ny, const char **name, const learn_volumes *v, const kr_learn *o, bool held, dice *d)
{
    plane p = { 0 };
    *nx = 112 + 16 * dice_choice(d, 9);
    *ny = 112 + 16 * dice_choice(d, 9);
    if (choose(&p, v, held, d, name))
        return kr_error_code();
    if (p.of->path)
        return kr_fail(KR_EREFUSED, "%s is trained on volumes, not on raw scans", o->network);
    kr_auto double *m = kr_alloc((size_t)(*nx * *ny), sizeof *m);
    int e = m ? picture(m, nx, ny, &p, o, d) : kr_error_code();
    if (e)
        return e;
    phases phase = phases_of(d);
    if (!(*x = kr_alloc((size_t)(*nx * *ny), sizeof **x)))
        return kr_error_code();
    for (long i = 0; i < *nx * *ny; i++)
        (*x)[i] = phased(&phase, m[i], i % *nx, i / *nx, *nx, *ny);
    return 0;
}

/* One try: 1 where there is too little to see. */
static int attempt(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, dice *d)
{
    plane p = { 0 };
    const char *name = "";
    double coils_wanted = 0, low, high;
    bool planes = dice_uniform(d, 0, 1) < 0.45;
    long nx = 112 + 16 * dice_choice(d, 5), ny = planes ? 112 + 16 * dice_choice(d, 5) : 144 + 16 * dice_choice(d, 8);
    char word[64];
    if (choose(&p, v, held, d, &name))
        return kr_error_code();
    if (p.of->path)
        return of_scan(s, &p, o, d, name);
    if (number_of(&coils_wanted, o->coils, d) || learn_word_at(word, sizeof word, o->noise, 0))
        return kr_error_code();
    low = strtod(word, NULL);
    if (learn_word_at(word, sizeof word, o->noise, 1))
        return kr_error_code();
    high = strtod(word, NULL);
    if (!(low > 0 && high >= low && coils_wanted >= 1 && coils_wanted <= COILS))
        return kr_fail(KR_EUSAGE, "noise is two numbers above 0, coils are 1 to %d", COILS);
    long coils = (long)coils_wanted;
    kr_auto double *m = kr_alloc((size_t)(nx * ny), sizeof *m);
    int e = m ? picture(m, &nx, &ny, &p, o, d) : kr_error_code();
    if (e)
        return e;
    long n = nx * ny;
    phases phase = phases_of(d);
    kr_auto kr_cfloat *images = coil_maps(nx, ny, coils, d);
    if (!images)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        kr_cfloat x = phased(&phase, m[i], i % nx, i / nx, nx, ny);
        for (long k = 0; k < coils; k++)
            images[k * n + i] = kr_cmul(images[k * n + i], x);
    }
    double sigma = exp(dice_uniform(d, log(low), log(high)));
    bool told = dice_uniform(d, 0, 1) < 0.4;                 /* a noise scan tells the noise; otherwise the outermost samples do */
    kr_scoped(array) mask = mask_of(o, planes, nx, ny, d);
    kr_scoped(scan) scan = kr_scan_new();
    if (!mask || !scan || scan_of(scan, mask, sigma, images, o->clean, nx, ny, coils, d))
        return kr_error_code();
    return seen(s, o, scan, images, told ? sigma : -sigma, !planes, name);
}

int learn_slice_make(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, long index)
{
    *s = (learn_slice){ 0 };
    for (long t = 0; t < TRIES; t++) {
        dice d = { (uint64_t)o->seed, ((uint64_t)held << 62) + (uint64_t)index * 64 + (uint64_t)t + 1000, 0 };
        int e = learn_judges(o) ? learn_moved(s, v, o, held, &d) : attempt(s, v, o, held, &d);
        if (e <= 0) {
            if (e)
                return e;
            return 0;
        }
        kr_error_clear();
    }
    return kr_fail(KR_EREFUSED, "%d planes in a row show too little, or no maps can be made of them: are these volumes images?", TRIES);
}

void learn_slice_clear(learn_slice *s)
{
    kr_free(s->start);
    kr_free(s->adjoint);
    kr_free(s->target);
    kr_free(s->sens);
    kr_free(s->kspace);
    kr_free(s->full);
    kr_free(s->mask);
    kr_free(s->name);
    *s = (learn_slice){ 0 };
}
