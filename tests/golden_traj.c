/* golden_traj.c: trajectories of other programs, see golden.c: /bart/NAME with the attribute "command" and outputs/{trajectory,angle_deg},
 * /sigpy/NAME with outputs/{coord,coord_per_m}. Each is made again from a specification that says the same, and compared point by point. */
#include "golden.h"
#include "kray/trajectory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int verdict(const char *file, int *number, bool good, int e, const char *which, const char *text)
{
    good = good && !e;
    printf("%sok %d - %s: %s: %s\n", good ? "" : "not ", ++*number, file, which, text);
    if (e)
        printf("# %s\n", kr_error());
    return !good;
}

static bool attribute_text(hid_t file, const char *group, const char *name, char *to, size_t room)
{
    hid_t a = H5Aopen_by_name(file, group, name, H5P_DEFAULT, H5P_DEFAULT), t = a < 0 ? -1 : H5Aget_type(a);
    bool good = t >= 0 && H5Tget_class(t) == H5T_STRING;
    *to = 0;
    if (good && H5Tis_variable_str(t)) {
        char *s = NULL;
        hid_t m = H5Tcopy(H5T_C_S1);
        H5Tset_size(m, H5T_VARIABLE);
        H5Tset_cset(m, H5Tget_cset(t));
        good = H5Aread(a, m, &s) >= 0 && s;
        snprintf(to, room, "%s", good ? s : "");
        H5free_memory(s);
        H5Tclose(m);
    } else if (good) {
        size_t n = H5Tget_size(t);
        char *s = calloc(n + 1, 1);
        good = H5Aread(a, t, s) >= 0;
        snprintf(to, room, "%s", s);
        free(s);
    }
    if (t >= 0)
        H5Tclose(t);
    if (a >= 0)
        H5Aclose(a);
    return good;
}

static double attribute_number(hid_t file, const char *group, const char *name)
{
    double v = NAN;
    hid_t a = H5Aopen_by_name(file, group, name, H5P_DEFAULT, H5P_DEFAULT);
    if (a >= 0 && H5Aread(a, H5T_NATIVE_DOUBLE, &v) < 0)
        v = NAN;
    if (a >= 0)
        H5Aclose(a);
    return v;
}

/* ---- BART ---- */
/* bart traj, as far as it is known here; what else a command holds is refused. */
struct command { long x, y, frames, accel; double over, start, q[3]; int tiny; bool radial, dc, full, golden, half, aligned, partition, sphere, whole, delayed; };

static int command_of(struct command *c, const char *text)
{
    char *copy = strdup(text), *rest = NULL, *w = strtok_r(copy, " ", &rest);
    *c = (struct command){ .frames = 1, .accel = 1, .over = 1, .tiny = 1 };
    int e = w && !strcmp(w, "bart") && (w = strtok_r(NULL, " ", &rest)) && !strcmp(w, "traj") ? 0 : kr_fail(KR_EFORMAT, "'%s' is no bart traj", text);
    while (!e && (w = strtok_r(NULL, " ", &rest))) {
        char letter = w[0] == '-' ? w[1] : 0, *v = letter && strchr("xyatmosRq", letter) ? strtok_r(NULL, " ", &rest) : "";
        if (!letter || w[2] || !v)
            e = kr_fail(KR_EFORMAT, "'%s' in '%s' is not understood", w, text);
        else switch (letter) {
            case 'x': c->x = atol(v); break;
            case 'y': c->y = atol(v); break;
            case 'a': c->accel = atol(v); break;
            case 't': case 'm': c->frames = atol(v); break;
            case 'o': c->over = atof(v); break;
            case 's': c->tiny = atoi(v); c->golden = true; break;
            case 'R': c->start = atof(v); break;
            case 'q': c->delayed = sscanf(v, "%lf:%lf:%lf", &c->q[0], &c->q[1], &c->q[2]) == 3; break;
            case 'r': c->radial = true; break;
            case 'c': c->dc = true; break;
            case 'D': c->full = true; break;
            case 'G': c->golden = true; break;
            case 'H': c->golden = c->half = true; break;
            case 'l': c->aligned = true; break;
            case 'g': c->partition = true; break;
            case '3': c->sphere = true; break;
            case 'O': c->whole = true; break;
            default: e = kr_fail(KR_EFORMAT, "option -%c of '%s' is not known here", letter, text);
        }
    }
    free(copy);
    return e;
}

static kr_array *as_bart(const struct command *c)
{
    char spec[300];
    bool odd = lround((double)c->x * c->over) & 1, dc = c->dc != odd;        /* BART puts the centre at half of the samples, whole or not */
    kr_traj_want want = { .n = { c->x, c->radial ? c->x : c->y, c->sphere ? c->x : 1 } };
    if (!c->radial)
        snprintf(spec, sizeof spec, "cartesian:accel=%ld", c->accel);
    else if (c->sphere)
        snprintf(spec, sizeof spec, "koosh:order=spiral,spokes=%ld,over=%g,dc=%s", c->y, c->over, dc ? "yes" : "no");
    else
        snprintf(spec, sizeof spec, "radial:spokes=%ld,over=%g,dc=%s,start=%g,frames=%ld,turn=%s,angle=%s,tiny=%d%s", c->y, c->over, dc ? "yes" : "no", c->start, c->frames,
                 c->aligned ? "none" : c->partition ? "golden" : "on", c->golden ? "golden" : "uniform", c->tiny,
                 c->half ? ",circle=half" : c->full && !c->golden ? ",circle=full" : "");
    kr_array *k = kr_traj_new(spec, &want);
    const double q[3] = { c->q[0], c->q[1], c->q[2] };       /* a spoke of direction u is shifted by M u, M = [[q1, q2], [q2, q0]] */
    for (long v = 0, views = k ? k->n[KR_VIEW] : 0; c->delayed && v < views; v++) {
        kr_scoped(array) view = kr_array_at(k, KR_VIEW, v);
        kr_scoped(array) one = kr_array_packed(view);
        long n = one->n[KR_SAMPLE];
        double u[2] = { KR_R(one)[1] - KR_R(one)[0], KR_R(one)[n + 1] - KR_R(one)[n] };
        double along = u[0] * u[0] * q[1] + 2 * u[0] * u[1] * q[2] + u[1] * u[1] * q[0];                  /* without -O */
        const double M[3][3] = { { -(c->whole ? q[1] : along), c->whole ? -q[2] : 0, 0 }, { c->whole ? -q[2] : 0, -(c->whole ? q[0] : along), 0 } };
        if (kr_traj_delay(one, M))
            kr_array_unref(&k);
        else
            kr_array_assign(view, one);
    }
    return k;
}

static int one_bart(hid_t file, const char *name, const char *which, int *number)
{
    char group[200], path[300], text[300], full[200];
    struct command c;
    long n = 0;
    snprintf(group, sizeof group, "bart/%s", which);
    snprintf(full, sizeof full, "BART %s", which);
    int e = attribute_text(file, group, "command", text, sizeof text) ? command_of(&c, text) : kr_fail(KR_EFORMAT, "there is no command");
    kr_scoped(array) k = e ? NULL : as_bart(&c);
    snprintf(path, sizeof path, "%s/outputs/angle_deg", group);
    bool angles = H5Lexists(file, path, H5P_DEFAULT) > 0;
    snprintf(path, sizeof path, "%s/outputs/%s", group, angles ? "angle_deg" : "trajectory");
    double *want = doubles(file, path, &n), worst = 0;
    if (!e && (!k || !want))
        e = k ? kr_fail(KR_EFORMAT, "%s cannot be read", path) : kr_error_code();
    long samples = k ? k->n[KR_SAMPLE] : 1, views = k ? k->n[KR_VIEW] : 1, frames = k ? k->n[KR_TIME] : 1, points = samples * views * frames;
    if (!e && n != (angles ? views : 3 * points))
        e = kr_fail(KR_ESHAPE, "%ld numbers in the file, %s here", n, kr_shape_text(kr_array_shape(k)));
    for (long i = 0; !e && i < n; i++) {
        double ours;
        if (angles) {
            long at = i * samples + samples - 1;
            ours = atan2((double)KR_R(k)[points + at], (double)KR_R(k)[at]) * 180 / M_PI - want[i];
            worst = fmax(worst, fabs(remainder(ours, 360)) * (double)c.x * M_PI / 360);                  /* at the rim, cycles per field of view */
        } else {
            ours = i % 3 < k->n[KR_CHAN] ? (double)KR_R(k)[i % 3 * points + i / 3] : 0;
            worst = fmax(worst, fabs(ours - want[i]));
        }
    }
    snprintf(text, sizeof text, "%ld points, largest difference %.1e cycles per field of view", e ? 0 : points, worst);
    free(want);
    /* BART counts golden angles up in single precision. */
    double turned = c.golden ? 2 * (double)(views * frames) : 0;
    return verdict(name, number, worst <= (2e-6 + 6e-8 * turned) * (double)c.x, e, full, text);
}

/* ---- sigpy ---- */
/* Its spiral has limits of gradient and slew rate in other units: gamma in radians, 2.678e8, for k in cycles. */
static int one_sigpy(hid_t file, const char *name, const char *which, int *number)
{
    char group[200], path[300], spec[400], text[200], full[200];
    int dims = 0;
    hsize_t n[8] = { 0 };
    snprintf(group, sizeof group, "sigpy/%s", which);
    snprintf(full, sizeof full, "sigpy %s", which);
    snprintf(path, sizeof path, "%s/outputs/coord", group);
    bool radial = H5Lexists(file, path, H5P_DEFAULT) > 0;
    snprintf(path, sizeof path, "%s/outputs/%s", group, radial ? "coord" : "coord_per_m");
    long count = 0;
    double *want = doubles(file, path, &count), worst = 0, fov = attribute_number(file, group, "fov");
    float *shape = numbers(file, path, &dims, n);            /* its lengths alone are of interest */
    free(shape);
    kr_traj_want w = { 0 };
    int e = want && dims == (radial ? 3 : 2) ? 0 : kr_fail(KR_EFORMAT, "%s cannot be read", path);
    if (!e && radial) {
        long size[3] = { 0 };
        hid_t a = H5Aopen_by_name(file, group, "img_shape", H5P_DEFAULT, H5P_DEFAULT);
        if (a < 0 || H5Aget_storage_size(a) != n[2] * 8 || H5Aread(a, H5T_NATIVE_LONG, size) < 0)
            e = kr_fail(KR_EFORMAT, "there is no img_shape");
        if (a >= 0)
            H5Aclose(a);
        for (hsize_t d = 0; d < n[2]; d++)
            w.n[d] = size[n[2] - 1 - d];
        if (n[2] == 3)
            snprintf(spec, sizeof spec, "koosh:out=yes,samples=%d,spokes=%d", (int)n[1], (int)n[0]);
        else
            snprintf(spec, sizeof spec, "radial:out=yes,start=90,samples=%d,spokes=%d,angle=%.15g", (int)n[1], (int)n[0],
                     strstr(which, "golden") ? -180 * (3 - sqrt(5)) : -360 / (double)n[0]);
    } else if (!e) {
        double f = 2.678e8 / 42.577478518e6;
        w.n[0] = w.n[1] = lround(attribute_number(file, group, "N"));
        snprintf(spec, sizeof spec, "spiral:timing=kim,interleaves=%g,alpha=%g,accel=%g,over=%.15g,fov=%.15g,gradient=%.15g,slew=%.15g",
                 attribute_number(file, group, "ninterleaves"), attribute_number(file, group, "alpha"), attribute_number(file, group, "R"),
                 1 / attribute_number(file, group, "f_sampling"), 1e3 * fov, 1e3 * f * attribute_number(file, group, "gm"), f * attribute_number(file, group, "sm"));
    }
    kr_scoped(array) k = e ? NULL : kr_traj_new(spec, &w);
    e = e ? e : k ? 0 : kr_error_code();
    long points = e ? 1 : k->n[KR_SAMPLE] * k->n[KR_VIEW], last = e ? 1 : k->n[KR_CHAN];
    if (!e && points * last != count)
        e = kr_fail(KR_ESHAPE, "%ld numbers in the file, %s here", count, kr_shape_text(kr_array_shape(k)));
    for (long i = 0; !e && i < count; i++)
        worst = fmax(worst, radial ? fabs((double)KR_R(k)[(last - 1 - i % last) * points + i / last] - want[i])
                                   : fabs((double)KR_R(k)[i % last * points + i / last] - want[i] * fov));
    snprintf(text, sizeof text, "%ld points, largest difference %.1e cycles per field of view", e ? 0 : points, worst);
    free(want);
    return verdict(name, number, worst <= 2e-6 * (double)w.n[0], e, full, text);
}

/* ---- Delays: estimated from data and nominal trajectory, held to the truth ---- */
static int one_delay(hid_t file, const char *name, const char *which, int *number)
{
    char path[300], text[300], full[200];
    long nk = 0, nt = 0, nq = 0;
    int dims = 0;
    hsize_t n[8] = { 0 };
    snprintf(full, sizeof full, "delays %s", which);
    snprintf(path, sizeof path, "delay/%s/inputs/nominal_trajectory", which);
    double *t = doubles(file, path, &nt);
    snprintf(path, sizeof path, "delay/%s/outputs/true_q", which);
    double *q = doubles(file, path, &nq), found[3][3] = { { 0 } }, worst = 0;
    snprintf(path, sizeof path, "delay/%s/inputs/kdata", which);
    float *y = numbers(file, path, &dims, n);                /* coil, spoke, sample, re and im */
    long points = dims == 4 ? (long)(n[1] * n[2]) : 0;
    nk = dims == 4 ? (long)n[0] * points : 0;
    kr_scoped(scan) s = kr_scan_new();
    int e = t && q && y && nq == 3 && points && nt == 3 * points && s ? 0 : kr_fail(KR_EFORMAT, "data, trajectory or truth are missing or do not fit");
    if (!e) {
        s->shape = KR_SHAPE([KR_SAMPLE] = (long)n[2], [KR_VIEW] = (long)n[1], [KR_COIL] = (long)n[0]);
        s->data = kr_array_new(KR_C32, s->shape);
        s->traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = (long)n[2], [KR_VIEW] = (long)n[1], [KR_CHAN] = 2));
        e = s->data && s->traj ? 0 : kr_error_code();
    }
    for (long i = 0; !e && i < nk; i++)
        KR_C(s->data)[i] = kr_c(y[2 * i], y[2 * i + 1]);
    for (long i = 0; !e && i < 2 * points; i++)
        KR_R(s->traj)[i] = (float)t[i % points * 3 + i / points];
    e = e ? e : kr_scan_trajectory(s, NULL);
    e = e ? e : kr_scan_lag(found, s, NULL);
    if (!e) {                                                /* BART shifts by +M u, M = [[q1, q2], [q2, q0]] */
        const double off[3] = { -found[1][1] - q[0], -found[0][0] - q[1], -found[0][1] - q[2] };
        for (int i = 0; i < 3; i++)
            worst = fmax(worst, fabs(off[i]));
    }
    snprintf(text, sizeof text, "%.3f %.3f %.3f samples, %.3f off the truth at most", -found[1][1], -found[0][0], -found[0][1], worst);
    free(t); free(q); free(y);
    return verdict(name, number, worst <= .1, e, full, text);
}

/* ---- Density compensation: areas by definition; what is iterated, by its point spread ---- */
/* Readouts: straight ones begin anew where the step turns. */
static long readout_of(const double *k, long n)
{
    for (long i = 2; i < n; i++) {
        double a[2] = { k[2] - k[0], k[3] - k[1] }, b[2] = { k[2 * i] - k[2 * i - 2], k[2 * i + 1] - k[2 * i - 1] };
        if (fabs(a[0] - b[0]) + fabs(a[1] - b[1]) > 1e-3 * (fabs(a[0]) + fabs(a[1])))
            return n % i ? n : i;
    }
    return n;
}

/* The point spread of weights: what lies beside the centre, within half of the field of view about it, of all. */
static double spread_of(const kr_scan *s, const float *w)
{
    long N = s->enc.encoded[0], n = kr_count(kr_array_shape(s->traj)) / 2;
    double beside = 0, all = 0;
    for (long y = -N / 4; y <= N / 4; y++)
        for (long x = -N / 4; x <= N / 4; x++) {
            double re = 0, im = 0;
            for (long i = 0; i < n; i++) {
                double p = 2 * M_PI * ((double)KR_R(s->traj)[i] * (double)x + (double)KR_R(s->traj)[n + i] * (double)y) / (double)N;
                re += w[i] * cos(p);
                im += w[i] * sin(p);
            }
            all += re * re + im * im;
            beside += abs((int)x) > 2 || abs((int)y) > 2 ? re * re + im * im : 0;
        }
    return sqrt(beside / all);
}

static int one_density(hid_t file, const char *name, const char *which, int *number)
{
    static const struct { const char *kind, *dataset; double most; } kinds[] = { { "voronoi", "voronoi_area_clipped", 2e-5 }, { "ramp", "ramp_analytic", 2e-5 }, { "pipe-menon", "pipe_menon_sigpy", 1 } };
    char path[300], text[300], full[200], group[200];
    long nt = 0, bad = 0;
    snprintf(group, sizeof group, "dcf/%s", which);
    snprintf(path, sizeof path, "%s/inputs/trajectory", group);
    double *t = doubles(file, path, &nt), least = HUGE_VAL;
    long N = lround(attribute_number(file, group, "N")), n = nt / 2, each = t ? readout_of(t, n) : 0;
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/outputs/%s", group, kinds[i].dataset);
        if (H5Lexists(file, path, H5P_DEFAULT) <= 0 || (!strcmp(kinds[i].kind, "ramp") && each == n))
            continue;
        long nw = 0;
        double *want = doubles(file, path, &nw), worst = 0, top = 0;
        kr_scoped(scan) s = kr_scan_new();
        int e = t && want && nw == n && s ? 0 : kr_fail(KR_EFORMAT, "%s does not fit its trajectory", path);
        if (!e) {
            s->shape = KR_SHAPE([KR_SAMPLE] = each, [KR_VIEW] = n / each);
            s->traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = each, [KR_VIEW] = n / each, [KR_CHAN] = 2));
            s->enc.encoded[0] = s->enc.encoded[1] = N;
            s->enc.encoded[2] = 1;
        }
        for (long j = 0; !e && j < nt; j++)
            KR_R(s->traj)[j % 2 * n + j / 2] = (float)t[j];
        kr_scoped(array) w = e ? NULL : kr_scan_density(s, kinds[i].kind);
        e = e ? e : w ? 0 : kr_error_code();
        for (long j = 0; !e && j < n; j++) {
            worst = fmax(worst, fabs((double)KR_R(w)[j] - want[j]));
            top = fmax(top, want[j]);
        }
        double spread = e ? 0 : spread_of(s, KR_R(w));
        least = fmin(least, spread);
        snprintf(full, sizeof full, "density %s by %s", which, kinds[i].kind);
        if (i < 2)
            snprintf(text, sizeof text, "largest difference %.1e of the largest area; point spread %.3f", worst / top, spread);
        else                                                 /* the file's weights depend on that program's kernel */
            snprintf(text, sizeof text, "point spread %.3f", spread);
        bad += verdict(name, number, i < 2 ? worst <= kinds[i].most * top : spread <= 1.05 * least, e, full, text);
        free(want);
    }
    free(t);
    return (int)bad;
}

int golden_traj(hid_t file, const char *name, int *number)
{
    static int (*const kind[])(hid_t, const char *, const char *, int *) = { one_bart, one_sigpy, one_density, one_delay };
    static const char *const group[] = { "bart", "sigpy", "dcf", "delay" };
    int bad = 0;
    for (int g = 0; g < 4; g++) {
        if (H5Lexists(file, group[g], H5P_DEFAULT) <= 0)
            continue;
        struct names all = list(file, group[g]);
        for (int i = 0; i < all.count; i++)
            bad += kind[g](file, name, all.name[i], number);
    }
    return bad;
}
