/* wino.c: sizes of Winograd's convolution. */
#include "winokern.h"

const wino_kern *wino_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &wino_kern_v4 : cpu >= 3 ? &wino_kern_v3 : &wino_kern_base;
}

long wino_tiles(long h, long w, long d) { return d * (((h + d - 1) / d + 3) / 4) * d * (((w + d - 1) / d + 3) / 4); }
long wino_room(long wide, long blocks) { return 36 * (WINO_TILES * (wide + 16 * blocks) + 32); }

/* An even number of pieces of equal size: the small images at the bottom of a U-Net would leave one thread waiting. */
long wino_pieces(long tiles)
{
    long n = ((tiles + WINO_TILES - 1) / WINO_TILES + 1) / 2 * 2;
    return n < tiles ? n : tiles;
}

long wino_wide(int segments, const long *split)
{
    long first = 0, end = 0;
    for (int s = 0; s < segments; first += split[s++])
        end = first + (split[s] + 15) / 16 * 16 > end ? first + (split[s] + 15) / 16 * 16 : end;
    return (end + 15) / 16 * 16;
}

long wino_units(const wino_conv *c, int group) { return (c->blocks + group - 1) / group * ((c->ins + 15) / 16); }

