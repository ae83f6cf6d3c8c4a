/* blocks.c: a volume in the blocks on which a mask acts: lines, or planes, as panels of sixteen lanes. */
#include "kray/lanes.h"
#include <string.h>

enum { SLAB = 8 };                    /* planes across X taken at a time: one cache line of complex numbers     */

kr_blocks kr_blocks_of(const long n[3], unsigned varying)
{
    kr_blocks b = { .volume = 1 };
    bool on[3] = { varying & KR_ON(KR_X), varying & KR_ON(KR_Y), varying & KR_ON(KR_Z) };
    for (int d = 0; d < 3; d++) {
        b.n[d] = n[d];
        b.step[d] = b.volume;
        b.volume *= n[d];
    }
    b.plane = on[0] + on[1] + on[2] == 2;
    if (b.plane) {
        b.out = !on[0] ? KR_X : !on[1] ? KR_Y : KR_Z;
        b.col = on[0] ? KR_X : KR_Y;
    } else {
        b.col = on[0] ? KR_Y : KR_X;
        b.out = on[2] ? KR_Y : KR_Z;
    }
    b.row = KR_X + KR_Y + KR_Z - b.col - b.out;
    b.slab = b.plane && b.out == KR_X ? (n[KR_X] < SLAB ? n[KR_X] : SLAB) : 1;
    b.panels = b.plane ? (n[b.col] + KR_LANES - 1) / KR_LANES : 1;
    b.floats = b.panels * n[b.row] * KR_ROW;
    b.count = b.plane ? (n[b.out] + b.slab - 1) / b.slab : (n[b.col] + KR_LANES - 1) / KR_LANES * n[b.out];
    return b;
}

long kr_blocks_planes(const kr_blocks *b, long i)
{
    long left = b->n[b->out] - i * b->slab;
    return b->slab == 1 ? 1 : left < b->slab ? left : b->slab;
}

struct place { long lines, at; };

/* Where panel a of a block begins, and how many lines it has. */
static struct place panel(const kr_blocks *b, long i, long a)
{
    long per = b->plane ? 1 : (b->n[b->col] + KR_LANES - 1) / KR_LANES;
    long first = (b->plane ? a : i % per) * KR_LANES, left = b->n[b->col] - first;
    return (struct place){ left < KR_LANES ? left : KR_LANES, first * b->step[b->col] + i / per * b->slab * b->step[b->out] };
}

long kr_blocks_lines(const kr_blocks *b, long i) { return panel(b, i, 0).lines; }

void kr_blocks_gather(const kr_blocks *b, float *to, long apart, const kr_cfloat *volume, long i)
{
    long rows = b->n[b->row], planes = kr_blocks_planes(b, i);
    for (long a = 0; a < b->panels; a++) {
        struct place at = panel(b, i, a);
        if (b->slab == 1) {
            kr_lanes_load(to + a * rows * KR_ROW, volume + at.at, b->step[b->col], b->step[b->row], rows, at.lines);
            continue;
        }
        for (long k = 0; k < rows; k++) {                             /* planes across X: a row of each at a time */
            _Alignas(64) float turn[SLAB * KR_ROW];
            kr_lanes_load(turn, volume + at.at + k * b->step[b->row], b->step[b->col], 1, planes, at.lines);
            for (long p = 0; p < planes; p++)
                memcpy(to + p * apart + (a * rows + k) * KR_ROW, turn + p * KR_ROW, KR_ROW * sizeof *to);
        }
    }
}

void kr_blocks_scatter(const kr_blocks *b, kr_cfloat *volume, const float *from, long apart, long i)
{
    long rows = b->n[b->row], planes = kr_blocks_planes(b, i);
    for (long a = 0; a < b->panels; a++) {
        struct place at = panel(b, i, a);
        if (b->slab == 1) {
            kr_lanes_store(volume + at.at, b->step[b->col], b->step[b->row], from + a * rows * KR_ROW, rows, at.lines);
            continue;
        }
        for (long k = 0; k < rows; k++) {
            _Alignas(64) float turn[SLAB * KR_ROW];
            for (long p = 0; p < planes; p++)
                memcpy(turn + p * KR_ROW, from + p * apart + (a * rows + k) * KR_ROW, KR_ROW * sizeof *from);
            kr_lanes_store(volume + at.at + k * b->step[b->row], b->step[b->col], 1, turn, planes, at.lines);
        }
    }
}
