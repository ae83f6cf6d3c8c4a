/* rest.c: has the image come to rest? Checkpoints apart by a quarter of the iterations done. */
#include "kray/solve.h"
#include <float.h>
#include <math.h>

enum { FIRST = 4,
       LARGE = 1 << 22, EVERY = 7 };      /* of more numbers every seventh tells as much: it meets all lines of voxels, and is no copy of the image */

/* Those of an array that are looked at; a view that holds nothing, so that looking cannot fail. */
static kr_array looked_at(const kr_array *x)
{
    long n = kr_count(kr_array_shape(x)), every = n > LARGE ? EVERY : 1;
    kr_array v = *x;
    for (int d = 0; d < KR_AXES && every > 1; d++) {
        v.n[d] = d ? 1 : (n + every - 1) / every;
        v.step[d] = d ? 0 : every;
    }
    return v;
}

int kr_rest_open(kr_rest *r, const kr_array *x)
{
    kr_array v = looked_at(x);
    *r = (kr_rest){ .next = FIRST, .was = kr_array_copy(&v) };
    return r->was ? 0 : kr_error_code();
}

bool kr_rest_at(kr_rest *r, const kr_array *x, int k, double tolerance)
{
    if (!(tolerance > 0) || k < r->next)
        return false;
    int apart = k / 4 > FIRST ? k / 4 : FIRST;
    r->next = k + apart;
    kr_array v = looked_at(x);
    kr_xpay(r->was, -1, &v);                                          /* x - x at the checkpoint before */
    double moved = kr_norm(r->was), size = kr_norm(&v), before = r->moved[0], far = fmax(moved, before / 2);
    kr_array_assign(r->was, &v);
    double rate = before > 0 ? fmax(moved / before, r->moved[1] > 0 ? sqrt(moved / r->moved[1]) : 1) : moved > 0 ? 1 : 0;
    r->moved[1] = before;
    r->moved[0] = moved;
    r->checks++;
    /* Steps of rounding alone have no rate: two in a row are rest, where so much is asked for. */
    double rounding = 2 * FLT_EPSILON * size;
    bool still = moved <= rounding && before <= rounding && rounding <= tolerance * size;
    double left = rate < 1 ? far * fmax(rate / (1 - rate), 1) : INFINITY, wanted = tolerance * size;
    /* as many checkpoints more as bring that down, each a quarter of the iterations later */
    r->end = r->checks > 2 && rate > 0 && rate < 1 && left > wanted && wanted > 0 ? k * pow(1.25, log(wanted / left) / log(rate)) : 0;
    return r->checks > 2 && (still || left <= wanted);
}

double kr_rest_part(kr_rest *r, int k, int most)
{
    double end = r->end > k && r->end < most ? r->end : most;
    if (r->checks < 3 || r->end > 0)
        r->part = fmax(r->part, fmin(k / end, 0.99));
    return r->part;
}

void kr_rest_close(kr_rest *r) { kr_array_unref(&r->was); }
