/* uneven.c: slices and frames of which less was measured than of the others, as where a scan was stopped or a file is cut off. */
#include "kray/scan.h"
#include <stdlib.h>

/* Random masks of frames differ by some percent, frames sorted by heart beats by tens of them; ends of lines by a step. */
static const double LEAST_COUNT = 0.6, LEAST_RANGE = 0.85;
enum { LEAST_GAP = 3 };

struct part { long count, range, gap; };       /* of what was measured: how much, from the first to the last line or partition, and how far from the middle */

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* p {X,Y,Z} of the mask. */
static struct part part_of(const float *p, const long n[3])
{
    struct part v = { 0, 0, n[1] > n[2] ? n[1] : n[2] };
    long first[3] = { n[0], n[1], n[2] }, last[3] = { -1, -1, -1 };
    for (long z = 0; z < n[2]; z++)
        for (long y = 0; y < n[1]; y++)
            for (long x = 0; x < n[0]; x++, p++)
                if (*p > 0) {
                    const long at[3] = { x, y, z };
                    long dy = labs(y - n[1] / 2), dz = labs(z - n[2] / 2), off = dy > dz ? dy : dz;
                    v.count++;
                    v.gap = off < v.gap ? off : v.gap;
                    for (int d = 1; d < 3; d++) {
                        first[d] = at[d] < first[d] ? at[d] : first[d];
                        last[d] = at[d] > last[d] ? at[d] : last[d];
                    }
                }
    v.range = v.count ? (last[1] - first[1] + 1) * (last[2] - first[2] + 1) : 0;
    return v;
}

int kr_scan_uneven(kr_text *t, const kr_scan *s)
{
    const unsigned repeats = KR_ON(KR_AVG);                    /* those are averaged: what one lacks another may have */
    if (!s->data || s->traj || s->shape.n[KR_VIEW] > 1 || s->shape.n[KR_SAMPLE] > 1 || kr_is_multiband(s))
        return 0;
    kr_scoped(array) found = kr_scan_mask(s);
    if (!found)
        return kr_error_code();
    kr_shape outer = kr_shape_without(kr_array_shape(found), KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | repeats);
    long parts = kr_count(outer), few = 0, none = 0, hollow = 0, n[3] = { found->n[KR_X], found->n[KR_Y], found->n[KR_Z] }, size = n[0] * n[1] * n[2];
    if (parts < 2)
        return 0;
    kr_scoped(array) mask = kr_array_new(KR_R32, kr_shape_without(kr_array_shape(found), repeats));
    kr_auto struct part *part = kr_alloc((size_t)parts, sizeof *part);
    kr_auto long *sorted = kr_alloc((size_t)parts, sizeof *sorted);
    if (!mask || !part || !sorted)
        return kr_error_code();
    for (long i = 0; i < found->n[KR_AVG]; i++) {
        kr_scoped(array) view = kr_array_at(found, KR_AVG, i);
        kr_scoped(array) one = view ? kr_array_packed(view) : NULL;
        if (!one)
            return kr_error_code();
        for (long k = 0; k < parts * size; k++)
            KR_R(mask)[k] = KR_R(mask)[k] > 0 || KR_R(one)[k] > 0;
    }
    for (long i = 0; i < parts; i++) {
        part[i] = part_of(KR_R(mask) + i * size, n);
        sorted[i] = part[i].count;
    }
    qsort(sorted, (size_t)parts, sizeof *sorted, ascending);
    long usual = sorted[parts / 2], least = usual;
    for (long i = 0; i < parts; i++)
        sorted[i] = part[i].range;
    qsort(sorted, (size_t)parts, sizeof *sorted, ascending);
    long range = sorted[parts / 2];
    for (long i = 0; i < parts; i++)
        sorted[i] = part[i].gap;
    qsort(sorted, (size_t)parts, sizeof *sorted, ascending);
    /* Frames whose lines lie between those of others are up to twice as far from the middle as usual. */
    long far = 2 * sorted[parts / 2] + LEAST_GAP;
    for (long i = 0; i < parts; i++) {
        bool lacks = (double)part[i].count <= LEAST_COUNT * (double)usual || (double)part[i].range < LEAST_RANGE * (double)range;
        none += !part[i].count;
        hollow += part[i].count && part[i].gap >= far;
        few += lacks && part[i].count;
        least = lacks && part[i].count && part[i].count < least ? part[i].count : least;
    }
    const char *of = found->n[KR_SLICE] < parts ? "slices and frames" : "slices", *what = n[0] > 1 ? "samples" : "lines";
    if (none)
        kr_text_add(t, "of %ld of %ld %s nothing was measured: they stay empty\n", none, parts, of);
    if (few)
        kr_text_add(t, "of %ld of %ld %s fewer %s were measured than of the others, or not as far out (%ld at least, %ld usually): they are less sharp, or folded\n", few, parts, of, what, least,
                    usual);
    if (hollow)
        kr_text_add(t, "of %ld of %ld %s the middle of k-space was not measured: they show little but edges\n", hollow, parts, of);
    return t->failed ? KR_EMEM : 0;
}
