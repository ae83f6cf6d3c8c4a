/* nufftkern.h: the loops of nufft.c over points and grid cells; built once per CPU level. Private to this folder.
 *
 * The grid is made of cells: the real parts of `lanes` images at one grid point, then their imaginary parts; 1, 2, 4 or 8 lanes.
 * Cells that are neighbours along x lie side by side, so that the window's row of a point is one run of memory. */
#ifndef KRAY_NUFFTKERN_H
#define KRAY_NUFFTKERN_H
#include "kray/lanes.h"

enum { WIDEST = 16, VALUES = 16 };    /* window in cells; floats that a point's values take                    */
typedef struct nufft_cells {
    float *grid;
    long row, plane;                  /* floats from a row of cells to the next, from a plane to the next      */
    int lanes, width, dims, degree;
    const float *plain, *wide;        /* polynomials of the window, highest power first: WIDEST lanes each; with every weight 2 lanes times */
    long wide_step;                   /* floats from a power to the next in `wide`                             */
    const int32_t *cell;              /* of each point: first cell of its window                               */
    const float *at[3];               /* and where in it, -1 to 1                                              */
} nufft_cells;

typedef struct kr_nufftkern {
    /* Points from..from+count-1, VALUES floats each: real parts, imaginary parts. spread wants them repeated to fill VALUES floats. */
    void (*interpolate)(const nufft_cells *c, long from, long count, float *values);
    void (*spread)(const nufft_cells *c, long from, long count, const float *values);
    /* Point k of KR_LANES / lanes lines of cells, `step` floats apart from cell[g], to row row[k] of a panel, times factor[k] (NULL: 1);
     * and back, of the first `lines` lines alone. */
    void (*load)(float *panel, const float *const *cell, long step, long n, const long *row, const float *factor, int lanes);
    void (*store)(float *const *cell, long lines, long step, const float *panel, long n, const long *row, const float *factor, int lanes);
    /* Row k of a panel, lanes of line g: times p[g][k]. */
    void (*scale)(float *panel, const float *const *p, long n, int lanes);
} kr_nufftkern;
extern const kr_nufftkern kr_nufftkern_base, kr_nufftkern_v3, kr_nufftkern_v4;
const kr_nufftkern *kr_nufftkern_best(void);
#endif
