/* map.c: feature maps. */
#include "back.h"
#include "nnkern.h"
#include <stdlib.h>
#include <string.h>

const nn_kern *nn_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &nn_kern_v4 : cpu >= 3 ? &nn_kern_v3 : &nn_kern_base;
}

double kr_peak_loop(long n) { return nn_kern_best()->peak(n); }

kr_map *kr_map_new(long c, long h, long w, long halo)
{
    if (c < 1 || h < 1 || w < 1 || halo < 0 || c > 1 << 16 || h > 1 << 20 || w > 1 << 20 || halo > 1 << 10) {
        kr_fail(KR_EREFUSED, "a feature map of %ld channels, %ld x %ld", c, h, w);
        return NULL;
    }
    kr_map *m = kr_alloc(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (kr_map){ .c = c, .h = h, .w = w, .halo = halo, .blocks = (c + 15) / 16, .row = (w + 2 * halo) * 16 };
    m->block = m->row * (h + 2 * halo);
    m->store = kr_alloc_zero((size_t)(m->blocks * m->block), sizeof(float));
    if (!m->store)
        kr_free_at(&m);
    else
        m->data = m->store + halo * (m->row + 16);
    return m;
}

void kr_map_unref(kr_map **m)
{
    if (*m)
        kr_free((*m)->store);
    kr_free_at(m);
}

long map_source(long i, long n, enum kr_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    if (pad == KR_PAD_ZERO)
        return -1;
    if (pad == KR_PAD_REPLICATE || n == 1)
        return i < 0 ? 0 : n - 1;
    i = labs(i) % (2 * n - 2);              /* reflection without repeating the edge */
    return i < n ? i : 2 * n - 2 - i;
}

void kr_map_pad(kr_map *m, enum kr_pad pad)
{
    long e = m->halo;
    if (!e)
        return;
    for (long b = 0; b < m->blocks; b++)
        for (long y = -e; y < m->h + e; y++) {
            long sy = map_source(y, m->h, pad);
            float *row = kr_map_at(m, b, y, 0);
            bool inside = y >= 0 && y < m->h;
            if (sy < 0) {
                memset(row - 16 * e, 0, (size_t)m->row * sizeof *row);
                continue;
            }
            const float *from = kr_map_at(m, b, sy, 0);
            if (!inside)
                memcpy(row, from, (size_t)(16 * m->w) * sizeof *row);
            for (long x = 1; x <= e; x++) {
                long l = map_source(-x, m->w, pad), r = map_source(m->w - 1 + x, m->w, pad);
                if (l < 0) {
                    memset(row - 16 * x, 0, 16 * sizeof *row);
                    memset(row + 16 * (m->w - 1 + x), 0, 16 * sizeof *row);
                } else {
                    memcpy(row - 16 * x, from + 16 * l, 16 * sizeof *row);
                    memcpy(row + 16 * (m->w - 1 + x), from + 16 * r, 16 * sizeof *row);
                }
            }
        }
}

void kr_map_put(kr_map *m, const float *planar)
{
    for (long c = 0; c < m->c; c++)
        for (long y = 0; y < m->h; y++) {
            float *to = kr_map_at(m, c / 16, y, 0) + c % 16;
            const float *from = planar + (c * m->h + y) * m->w;
            for (long x = 0; x < m->w; x++)
                to[16 * x] = from[x];
        }
}

void kr_map_get(const kr_map *m, float *planar)
{
    for (long c = 0; c < m->c; c++)
        for (long y = 0; y < m->h; y++) {
            const float *from = kr_map_at(m, c / 16, y, 0) + c % 16;
            float *to = planar + (c * m->h + y) * m->w;
            for (long x = 0; x < m->w; x++)
                to[x] = from[16 * x];
        }
}
