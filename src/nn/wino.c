/* wino.c: sizes and weights of Winograd's convolution. */
#include "winokern.h"

const wino_kern *wino_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &wino_kern_v4 : cpu >= 3 ? &wino_kern_v3 : &wino_kern_base;
}

long wino_tiles(long h, long w, long d) { return d * (((h + d - 1) / d + 3) / 4) * d * (((w + d - 1) / d + 3) / 4); }
long wino_room(long wide, long blocks) { return 36 * (WINO_TILES * (wide + 16 * blocks) + 32); }

long wino_wide(int segments, const long *split)
{
    long first = 0, end = 0;
    for (int s = 0; s < segments; first += split[s++])
        end = first + (split[s] + 15) / 16 * 16 > end ? first + (split[s] + 15) / 16 * 16 : end;
    return (end + 15) / 16 * 16;
}

/* G: row j is (1, p, p^2) / prod (p - q) over the other finite points q; the last row, of the point at infinity, (0, 0, 1). */
static void transform(double u[6][6], const float *g)
{
    static const double p[5] = { 0, 0.625, -0.625, 1.5, -1.5 };
    double G[6][3] = { { 0 } }, t[6][3] = { { 0 } };
    for (int j = 0; j < 5; j++) {
        double n = 1;
        for (int k = 0; k < 5; k++)
            n *= k == j ? 1 : p[j] - p[k];
        for (int i = 0; i < 3; i++)
            G[j][i] = (i == 0 ? 1 : i == 1 ? p[j] : p[j] * p[j]) / n;
    }
    G[5][2] = 1;
    for (int j = 0; j < 6; j++)
        for (int x = 0; x < 3; x++)
            for (int y = 0; y < 3; y++)
                t[j][x] += G[j][y] * (double)g[3 * y + x];
    for (int j = 0; j < 6; j++)
        for (int k = 0; k < 6; k++) {
            u[j][k] = 0;
            for (int x = 0; x < 3; x++)
                u[j][k] += t[j][x] * G[k][x];
        }
}

void wino_weights(float *u, const float *weight, long outs, long ins, int group)
{
    long blocks = (outs + 15) / 16;
    for (long o = 0; o < 16 * blocks; o++)
        for (long c = 0; c < ins; c++) {
            static const float none[9] = { 0 };
            double t[6][6];
            transform(t, o < outs ? weight + (o * ins + c) * 9 : none);
            long b = o / 16, from = b / group * group, ob = blocks - from < group ? blocks - from : group;
            for (int i = 0; i < 36; i++)
                u[i * ins * 16 * blocks + from * 16 * ins + (c * ob + b - from) * 16 + o % 16] = (float)t[i / 6][i % 6];
        }
}
