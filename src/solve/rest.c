/* rest.c: has the image come to rest? Checkpoints apart by a quarter of the iterations done. */
#include "kray/solve.h"
#include <float.h>
#include <math.h>

enum { FIRST = 4 };

int kr_rest_open(kr_rest *r, const kr_array *x)
{
    *r = (kr_rest){ .next = FIRST, .was = kr_array_copy(x) };
    return r->was ? 0 : kr_error_code();
}

bool kr_rest_at(kr_rest *r, const kr_array *x, int k, double tolerance)
{
    if (!(tolerance > 0) || k < r->next)
        return false;
    int apart = k / 4 > FIRST ? k / 4 : FIRST;
    r->next = k + apart;
    kr_xpay(r->was, -1, x);                                          /* x - x at the checkpoint before */
    double moved = kr_norm(r->was), size = kr_norm(x), before = r->moved[0], far = fmax(moved, before / 2);
    kr_array_assign(r->was, x);
    double rate = before > 0 ? fmax(moved / before, r->moved[1] > 0 ? sqrt(moved / r->moved[1]) : 1) : moved > 0 ? 1 : 0;
    r->moved[1] = before;
    r->moved[0] = moved;
    r->checks++;
    /* Steps of rounding alone have no rate: two in a row are rest, where so much is asked for. */
    double rounding = 2 * FLT_EPSILON * size;
    bool still = moved <= rounding && before <= rounding && rounding <= tolerance * size;
    return r->checks > 2 && (still || (rate < 1 && far * fmax(rate / (1 - rate), 1) <= tolerance * size));
}

void kr_rest_close(kr_rest *r) { kr_array_unref(&r->was); }
