/* objective.c: kray-objective KSPACE MAPS IMAGE wavelet|spun|haar|tv|llr LAMBDA [FACTOR]: 1/2 |P F S x - y|^2 + lambda R(x) of any program's
 * image, all by one formula: P from the zeros of y, F unitary, S the maps; R of prox.h, wavelets of order 2 and blocks of 8 points
 * where they are before any shift; "spun": wavelets, the mean over 64 cyclic shifts of their grid. The image is first multiplied by FACTOR. Prints the sum, and its first part. */
#include "kray/io.h"
#include "kray/recon.h"
#include "kray/solve.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(void)
{
    fprintf(stderr, "kray-objective: %s\n", kr_error());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: kray-objective KSPACE MAPS IMAGE wavelet|spun|haar|tv|llr LAMBDA [FACTOR]\n");
        return 2;
    }
    kr_scoped(array) y = NULL;
    kr_scoped(array) maps = NULL;
    kr_scoped(array) x = NULL;
    if (kr_array_read(&y, argv[1]) || kr_array_read(&maps, argv[2]) || kr_array_read(&x, argv[3]))
        return refuse();
    double lambda = strtod(argv[5], NULL);
    kr_scan scan = { .shape = kr_array_shape(y), .data = y };
    kr_scoped(array) mask = kr_scan_mask(&scan);
    if (!mask)
        return refuse();
    kr_scale(x, argc > 6 ? strtof(argv[6], NULL) : 1);
    long frames = y->n[KR_TIME];
    unsigned axes = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), here = 0;
    double misfit = 0;
    for (int d = 0; d < 3; d++)
        here |= y->n[d] > 1 ? KR_ON(d) : 0;
    for (long t = 0; t < frames; t++) {                              /* frame by frame, by the plain operator */
        kr_scoped(array) yt = kr_array_at(y, KR_TIME, t);
        kr_scoped(array) xt = kr_array_at(x, KR_TIME, t);
        kr_scoped(array) mt = mask->n[KR_TIME] > 1 ? kr_array_at(mask, KR_TIME, t) : kr_array_ref(mask);
        kr_scoped(array) one = kr_array_packed(xt);
        kr_scoped(array) m = kr_array_packed(mt);
        kr_scoped(linop) A = one && m ? kr_op_sense(maps, m, axes) : NULL;
        kr_scoped(array) r = A ? kr_array_new(KR_C32, kr_linop_codomain(A)) : NULL;
        kr_scoped(array) to = kr_array_packed(yt);
        if (!r || !to)
            return refuse();
        kr_apply(A, r, one);
        kr_axpy(r, -1, to);
        misfit += kr_dot_re(r, r) / 2;
    }
    kr_shape n = kr_array_shape(x);
    kr_prox *g = !strcmp(argv[4], "spun") ? kr_prox_wavelet(KR_C32, n, here, 2, 0, lambda, true)
               : !strcmp(argv[4], "wavelet") ? kr_prox_wavelet(KR_C32, n, here, 2, 0, lambda, false)
               : !strcmp(argv[4], "haar") ? kr_prox_wavelet(KR_C32, n, here, 1, 0, lambda, false)
               : !strcmp(argv[4], "llr") ? kr_prox_llr(KR_C32, n, 8, lambda, false) : kr_prox_tv(KR_C32, n, here, lambda, 1);
    if (!g)
        return refuse();
    double sum = 0, turns = !strcmp(argv[4], "spun") ? 64 : 1;
    for (long k = 0; k < (long)turns; k++) {
        kr_prox_next(g, 100000 + k);
        sum += kr_prox_value(g, x) / turns;
    }
    printf("%.7g %.7g\n", misfit + sum, misfit);
    kr_prox_unref(&g);
    return 0;
}
