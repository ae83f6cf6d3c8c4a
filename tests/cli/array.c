/* array.c: kray-array OUT.npy AXIS=N,... KIND [name=value]...: a small picture for the command line tests.
 * KIND: "flat" 1 everywhere; "blob" a smooth head-like bump with fine structure, different in every slice; "point" one
 * pixel in the middle; "spokes" along x, one for each y, turning from y to x: positions from -1 to 1 along x (z = 0) and y (z = 1). value = scale * KIND + offset + noise * N(0,1); phase > 0 makes it complex, turning along x;
 * nan=1 puts one NaN into the middle. heat > 0: complex frames along time, all of one picture, whose phase grows by `heat` radians in the middle, as
 * exp(-(u^2 + v^2) / 0.02); kspace=1: their transform. */
#include "kray/io.h"
#include "kray/linop.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double parameter(int argc, char **argv, const char *name, double otherwise)
{
    size_t n = strlen(name);
    for (int i = 4; i < argc; i++)
        if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
            return atof(argv[i] + n + 1);
    return otherwise;
}

static kr_shape shape_of(const char *text)
{
    kr_shape s = { { 0 } };
    while (*text) {
        char name[16] = "";
        long n = 0;
        int used = 0;
        if (sscanf(text, "%15[a-z]=%ld%n", name, &n, &used) != 2 || kr_axis_named(name) < 0) {
            fprintf(stderr, "kray-array: '%s' is no shape\n", text);
            exit(2);
        }
        s.n[kr_axis_named(name)] = n;
        text += used + (text[used] == ',');
    }
    return s;
}

static double picture(const char *kind, double u, double v, long slice)   /* u, v in -1..1 */
{
    double r = sqrt(u * u / 0.5 + v * v / 0.7);
    if (!strcmp(kind, "flat"))
        return 1;
    if (!strcmp(kind, "point"))
        return fabs(u) < 1e-9 && fabs(v) < 1e-9;
    if (!strcmp(kind, "spokes"))
        return u * (slice ? cos(.5 * 3.14159265358979 * (v + 1)) : sin(.5 * 3.14159265358979 * (v + 1)));
    return r > 1 ? 0 : (1 - r * r) * (1 + 0.3 * sin(9 * u + (double)slice) * cos(7 * v - 0.5 * (double)slice));
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: kray-array OUT.npy AXIS=N,... flat|blob|point|spokes [scale= offset= noise= seed= phase= nan=]\n");
        return 2;
    }
    double phase = parameter(argc, argv, "phase", 0), scale = parameter(argc, argv, "scale", 1);
    double offset = parameter(argc, argv, "offset", 0), noise = parameter(argc, argv, "noise", 0);
    uint64_t seed = (uint64_t)parameter(argc, argv, "seed", 1);
    double heat = parameter(argc, argv, "heat", 0);
    kr_array *a = kr_array_new(phase > 0 || heat > 0 ? KR_C32 : KR_R32, shape_of(argv[2]));
    if (!a) {
        fprintf(stderr, "kray-array: %s\n", kr_error());
        return 1;
    }
    long nx = a->n[KR_X], ny = a->n[KR_Y], count = kr_count(kr_array_shape(a)), frames = a->n[KR_TIME];
    for (long i = 0; i < count; i++) {
        long x = i % nx, y = i / nx % ny, s = i / (nx * ny) % (heat > 0 ? count / (nx * ny * frames) : count);
        double z[2], u = nx > 1 ? 2.0 * (double)(x - nx / 2) / (double)nx : 0, v = ny > 1 ? 2.0 * (double)(y - ny / 2) / (double)ny : 0;
        kr_rand_normal2(seed, 1, (uint64_t)i, z);
        double p = scale * picture(argv[3], u, v, s) + offset + noise * z[0];
        if (parameter(argc, argv, "nan", 0) > 0 && i == count / 2)
            p = (double)NAN;
        double turn = phase * u + (frames > 1 ? heat * (double)(i / (count / frames)) / (double)(frames - 1) * exp(-(u * u + v * v) / 0.02) : 0);
        if (a->type == KR_C32)
            KR_C(a)[i] = kr_c((float)(p * cos(turn)), (float)(p * sin(turn)));
        else
            KR_R(a)[i] = (float)p;
    }
    if (parameter(argc, argv, "kspace", 0) > 0) {
        kr_array *k = kr_array_like(a);
        kr_linop *F = kr_op_fourier(kr_array_shape(a), KR_ON(KR_X) | KR_ON(KR_Y));
        if (!k || !F)
            return 1;
        kr_apply(F, k, a);
        kr_linop_unref(&F);
        kr_array_unref(&a);
        a = k;
    }
    int e = kr_array_write(a, NULL, argv[1]);
    kr_array_unref(&a);
    if (e) {
        fprintf(stderr, "kray-array: %s\n", kr_error());
        return 1;
    }
    return 0;
}
