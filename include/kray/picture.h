/* picture.h: arrays as pixels, and pixels as PNG. */
#ifndef KRAY_PICTURE_H
#define KRAY_PICTURE_H
#include "kray/image.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Row by row from the top. */
typedef struct kr_picture { long w, h; int channels; unsigned char *pixel; } kr_picture;   /* channels 1: grey, 3: red, green, blue */
kr_picture *kr_picture_new(long w, long h, int channels) KR_MUST_USE;      /* black; refuses more than 2^30 bytes */
void kr_picture_unref(kr_picture **p);

/* t in 0..1 (clipped; what is not finite is magenta) to colour: grey; black-red-yellow-white for errors; blue-white-red for
 * what has a sign. */
enum kr_palette { KR_GREY, KR_HOT, KR_SIGNED };
void kr_palette_rgb(enum kr_palette palette, double t, unsigned char rgb[3]);

/* Which way an array lies on the page. Where the geometry is known, as radiologists look at it: axial with the patient's
 * left at the right and the face up, coronal with the left at the right and the head up, sagittal with the face at the left
 * and the head up. Where it is not (geom NULL or not known), as a matrix is printed: the first axis (X, the readout) runs
 * down, the second (Y) to the right; so fastMRI's, BART's and MATLAB's own pictures show the same data. */
typedef struct kr_view { int down, right; bool flip_down, flip_right; } kr_view;
void kr_view_of(kr_view *v, const kr_array *a, const kr_geom *geom);

enum { KR_PICTURE_GAP = 2 };
/* |a| (a itself if low < 0) from low..high to colours; high <= low: 0 to the level below which 99.5 % of |a| lie. All other
 * axes (Z, SLICE, ECHO, ...) make tiles, row after row, `across` to a row (0: near a square), with KR_PICTURE_GAP black pixels between;
 * more tiles than fit 2^13 pixels each way are thinned out evenly. grid, if not NULL, gets tiles across, tiles drawn. */
kr_picture *kr_picture_draw(const kr_array *a, const kr_geom *geom, double low, double high, enum kr_palette palette, long across,
                            long grid[2]) KR_MUST_USE;
/* The smallest |a| that is not below `part` (0..1) of the finite values. */
double kr_picture_level(const kr_array *a, double part);

/* The picture with a colour bar from low to high below it, and numbers at its ends and middle; at least 96 pixels wide. Owner: the caller. */
kr_picture *kr_picture_bar(const kr_picture *p, double low, double high, enum kr_palette palette) KR_MUST_USE;

/* Appends the PNG to `png`; meta (or NULL) goes into its text chunks. mm: size of a pixel to the right and down, or NULL. */
int kr_picture_png(kr_text *png, const kr_picture *p, const kr_meta *meta, const double mm[2]) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
