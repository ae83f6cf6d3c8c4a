/* part_fresh.c: tensors of networks before they are trained. */
#include "parts.h"
#include <math.h>
#include <stdio.h>

int net_fresh(kr_weights *w, uint64_t seed, double gain, long outs, long ins, long k, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    kr_tensor *t = kr_weights_add(w, name, 4, (long[]){ outs, ins, k, k });
    for (long i = 0, n = t ? kr_tensor_count(t) : 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, (uint64_t)w->count, (uint64_t)i, z);
        t->data[i] = (float)(sqrt(gain / (double)(ins * k * k)) * z[0]);
    }
    return t ? 0 : kr_error_code();
}

int net_fresh_value(kr_weights *w, double value, long count, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    kr_tensor *t = kr_weights_add(w, name, 1, (long[]){ count });
    for (long i = 0; t && i < count; i++)
        t->data[i] = (float)value;
    return t ? 0 : kr_error_code();
}

int net_fresh_conv(kr_weights *w, uint64_t seed, double gain, long outs, long ins, long k, const char *fmt, ...)
{
    char prefix[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    int e = net_fresh(w, seed, gain, outs, ins, k, "%sweight", prefix);
    return e ? e : net_fresh_value(w, 0, outs, "%sbias", prefix);
}

int net_fresh_edges(kr_weights *w, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const kr_tensor *t = kr_weights_find(w, name);
    if (!t)
        return kr_fail(KR_EFORMAT, "there is no tensor '%s'", name);
    for (long i = 0, k = t->n[2] * t->n[3]; i < t->n[0] * t->n[1]; i++) {
        double mean = 0;
        for (long j = 0; j < k; j++)
            mean += (double)t->data[i * k + j] / (double)k;
        for (long j = 0; j < k; j++)
            t->data[i * k + j] -= (float)mean;
    }
    return 0;
}

bool net_first(const kr_weights *w) { return *net_word(w, "first_image", "") != 0; }

int net_sizes(const kr_weights *w, const net_size *s, int count, long *n)
{
    for (int i = 0; i < count; i++) {
        n[i] = net_number(w, s[i].key, s[i].otherwise);
        if (n[i] < s[i].least || n[i] > s[i].most)
            return kr_fail(KR_EUSAGE, "%s is %ld; %ld to %ld are possible", s[i].key, n[i], s[i].least, s[i].most);
    }
    return 0;
}
