/* number.c: numbers as files hold them, made into floats; and axes as the user names them. */
#include "number.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

long kr_number_bytes(enum kr_number kind)
{
    static const long bytes[] = { 0, 4, 8, 1, 1, 2, 2, 4, 4, 8, 8, 2 };
    return bytes[kind];
}

/* memcpy rather than a cast: files do not align their numbers. Compilers make a plain load of it. */
#define LOOP(type)                                                 \
    for (long k = 0; k < n; k++) {                                 \
        type v;                                                    \
        memcpy(&v, p + k * (long)sizeof v, sizeof v);              \
        to[k * step] = (float)v;                                   \
    }                                                              \
    break

void kr_number_floats(float *to, long step, const void *from, enum kr_number kind, long n)
{
    const char *p = from;
    switch (kind) {
    case KR_NUMBER_NONE: break;
    case KR_F32:
        if (step == 1) {
            memcpy(to, from, (size_t)n * sizeof *to);
            break;
        }
        LOOP(float);
    case KR_F64: LOOP(double);
    case KR_I8: LOOP(int8_t);
    case KR_U8: LOOP(uint8_t);
    case KR_I16: LOOP(int16_t);
    case KR_U16: LOOP(uint16_t);
    case KR_I32: LOOP(int32_t);
    case KR_U32: LOOP(uint32_t);
    case KR_I64: LOOP(int64_t);
    case KR_U64: LOOP(uint64_t);
    case KR_F16:
        for (long k = 0; k < n; k++) {
            uint16_t v;
            memcpy(&v, p + 2 * k, 2);
            to[k * step] = kr_half(v);
        }
        break;
    }
}

double kr_number_double(const void *from, enum kr_number kind)
{
    union { float f; double d; int8_t i1; uint8_t u1; int16_t i2; uint16_t u2; int32_t i4; uint32_t u4; int64_t i8; uint64_t u8; } u = { 0 };
    memcpy(&u, from, (size_t)kr_number_bytes(kind));
    switch (kind) {
    case KR_NUMBER_NONE: return 0;
    case KR_F32: return (double)u.f;
    case KR_F64: return u.d;
    case KR_I8: return u.i1;
    case KR_U8: return u.u1;
    case KR_I16: return u.i2;
    case KR_U16: return u.u2;
    case KR_I32: return u.i4;
    case KR_U32: return u.u4;
    case KR_I64: return (double)u.i8;
    case KR_U64: return (double)u.u8;
    case KR_F16: return (double)kr_half(u.u2);
    }
    return 0;
}

void kr_number_swap(void *numbers, enum kr_number kind, long n)
{
    long bytes = kr_number_bytes(kind);
    unsigned char *p = numbers;
    for (long k = 0; k < n; k++, p += bytes)
        for (long i = 0; i < bytes / 2; i++) {
            unsigned char b = p[i];
            p[i] = p[bytes - 1 - i];
            p[bytes - 1 - i] = b;
        }
}

int kr_kspace_rank(const char *name)
{
    const char *slash = strrchr(name, '/'), *dot = strrchr(name, '.');
    name = slash ? slash + 1 : dot ? dot + 1 : name;
    static const char *const whole[] = { "k", "ks", "kdata", "kdat", "ksp" }, *const part[] = { "kspace", "k_space", "kdata", "ksp" };
    static const char *const other[] = { "mask", "traj", "coord", "weight" };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (strcasestr(name, other[i]))
            return 0;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcasecmp(name, whole[i]))
            return 4;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (strcasestr(name, part[i]))
            return 3;
    return strcasestr(name, "raw") ? 2 : strcasestr(name, "data") ? 1 : 0;
}

const char *kr_lengths_text(const long n[], int dims)
{
    static _Thread_local char ring[4][256];
    static _Thread_local unsigned turn;
    char *t = ring[turn++ % 4];
    int at = snprintf(t, sizeof ring[0], dims ? "" : "1");
    for (int i = 0; i < dims && at < 230; i++)
        at += snprintf(t + at, sizeof ring[0] - (size_t)at, "%s%ld", i ? " x " : "", n[i]);
    return t;
}

int kr_axes_of(int order[], const kr_source *src, const long n[], int dims, const int *usual, int most, const char *example)
{
    if (!src->axes) {
        if (dims > most)
            return kr_fail(KR_EUSAGE, "the array is %s: name its axes, as in %s", kr_lengths_text(n, dims), example);
        for (int i = 0; i < dims; i++)
            order[i] = n[i] > 1 ? usual[i] : KR_AXES;
        return 0;
    }
    int named[KR_AXES], count = kr_axes_parse(src->axes, named), long_ones = 0;
    if (count < 0)
        return count;
    for (int i = 0; i < dims; i++)
        long_ones += n[i] > 1;
    if (count != dims && count != long_ones)
        return kr_fail(KR_EUSAGE, "%d axes are named ('%s'), the array is %s", count, src->axes, kr_lengths_text(n, dims));
    for (int i = 0, k = 0; i < dims; i++) {
        order[i] = count == dims || n[i] > 1 ? named[k++] : KR_AXES;
        if (order[i] == KR_AXES && n[i] > 1)
            return kr_fail(KR_EUSAGE, "an axis is called '-', but has length %ld", n[i]);
    }
    return 0;
}

int kr_reim_join(kr_array **a, const kr_source *src)
{
    if (kr_axes_reim(src->axes) < 0)
        return 0;
    if ((*a)->type != KR_R32 || (*a)->n[KR_BATCH] != 2)
        return kr_fail(KR_EFORMAT, "the axis reim has length %ld in %s numbers; real and imaginary part as 2 real ones are wanted",
                       (*a)->n[KR_BATCH], (*a)->type == KR_R32 ? "real" : "complex");
    kr_scoped(array) re = kr_array_at(*a, KR_BATCH, 0), *im = kr_array_at(*a, KR_BATCH, 1);
    kr_scoped(array) x = re ? kr_array_packed(re) : NULL, *y = im ? kr_array_packed(im) : NULL;
    kr_array *z = x && y ? kr_array_new(KR_C32, kr_array_shape(re)) : NULL;
    if (!z)
        return kr_error_code();
    for (long i = 0, n = kr_count(kr_array_shape(z)); i < n; i++)
        KR_C(z)[i] = kr_c(KR_R(x)[i], KR_R(y)[i]);
    kr_array_unref(a);
    *a = z;
    return 0;
}

int kr_scan_of_array(kr_scan **out, const kr_array *a)
{
    kr_scan *s = *out = kr_scan_new();
    if (!s)
        return kr_error_code();
    s->data = kr_array_complex(a);
    s->shape = kr_array_shape(a);
    return s->data ? 0 : kr_error_code();
}
