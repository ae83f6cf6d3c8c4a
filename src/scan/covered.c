/* covered.c: how much of the middle of k-space a trajectory samples, and what of it coil maps can be calibrated from. */
#include "kray/trajectory.h"
#include <math.h>

/* Golden spokes, 8 and 16 coils: ESPIRiT from 24 x 24 points costs 2 dB with 13 spokes and 1 dB with 20, against the box that this finds. */
static const double ENOUGH = .95;
enum { LARGEST = 32, LEAST = 12 };

/* The cells of one cycle about the centre, LARGEST a side at most, that hold a sample of the first slice in any frame. */
static void mark(unsigned char *cell, const long box[3], const kr_array *k)
{
    long each = k->n[KR_SAMPLE] * k->n[KR_VIEW], all = kr_count(kr_array_shape(k)) / k->n[KR_CHAN];
    for (long i = 0; i < all; i++) {
        if (i / each % k->n[KR_SLICE])
            continue;
        long at = 0;
        bool inside = true;
        for (int d = (int)k->n[KR_CHAN] - 1; d >= 0; d--) {
            long c = (long)floor((double)KR_R(k)[d * all + i] + .5) + box[d] / 2;
            inside = inside && c >= 0 && c < box[d];
            at = at * box[d] + c;
        }
        if (inside)
            cell[at] = 1;
    }
}

/* Whether point i of a grid of `have` lies in the box of `n` about its centre. */
static bool within(long i, const long have[3], const long n[3])
{
    bool in = true;
    for (int d = 0; d < 3; d++) {
        long at = i % have[d] - have[d] / 2 + n[d] / 2;
        in = in && at >= 0 && at < n[d];
        i /= have[d];
    }
    return in;
}

kr_array *kr_scan_covered(double *part, const kr_scan *s)
{
    kr_scoped(array) k = kr_array_packed(s->traj);
    long most[3], n[3], cells = 1;
    for (int d = 0; d < 3; d++) {
        most[d] = d >= s->traj->n[KR_CHAN] ? 1 : s->enc.encoded[d] < LARGEST ? s->enc.encoded[d] : LARGEST;
        cells *= most[d];
    }
    kr_auto unsigned char *cell = k ? kr_alloc_zero((size_t)cells, 1) : NULL;
    if (!cell)
        return NULL;
    mark(cell, most, k);
    for (long size = LARGEST;; size -= 2) {
        long all = 0, held = 0;
        for (int d = 0; d < 3; d++)
            n[d] = most[d] < size ? most[d] : size;
        for (long i = 0; i < cells; i++)
            if (within(i, most, n)) {
                all++;
                held += cell[i];
            }
        *part = (double)held / (double)all;
        if (*part >= ENOUGH || size <= LEAST)
            break;
    }
    const long have[3] = { s->enc.encoded[0], s->enc.encoded[1], s->traj->n[KR_CHAN] == 3 ? s->enc.encoded[2] : 1 };
    kr_array *area = kr_array_new(KR_R32, KR_SHAPE([KR_X] = have[0], [KR_Y] = have[1], [KR_Z] = have[2]));
    for (long i = 0; area && i < have[0] * have[1] * have[2]; i++)
        KR_R(area)[i] = within(i, have, n) ? 1 : 0;
    return area;
}
