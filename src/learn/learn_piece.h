/* learn_piece.h: a slice, or a strip of it, as what is trained is given it, and lessons of a regulariser. Private to src/learn. */
#ifndef KRAY_LEARN_PIECE_H
#define KRAY_LEARN_PIECE_H
#include "kray/lesson.h"
#include "learn_state.h"

/* in: what the network is given, of nx columns and ny rows. Published networks are given a lesson, whose columns and rows are their authors'. */
typedef struct piece {
    long nx, ny, coils;
    kr_cfloat *start, *adjoint, *target, *sens; float *mask, *noise, *weight; void *room;
    kr_net_input in; bool magnitude;
    kr_lesson lesson;
} piece;
/* x0, w: the strip. phase: by which all images are turned: the same scan to physics, another one to the network. To be cleared after a refusal too. */
int learn_piece_of(piece *p, const learn_slice *s, long x0, long w, double noise, double phase, double air);
/* What a network is given, by the code that reconstructs with it. hold: of the samples so many are held back and compared with (by chance, `stream`); 0: the full scan is. */
int learn_piece_of_lesson(piece *p, const learn_state *st, const learn_slice *s, long x0, long w, double phase, const kr_learn *o, double hold, uint64_t stream);
/* An image that is judged; what is known without a network: that it is as if nothing had moved, 1 everywhere. */
int learn_piece_of_judged(piece *p, const learn_slice *s);
void learn_piece_clear(piece *p);
/* Where the object is: above 6 % of the image's unit. */
static inline bool learn_object(kr_cfloat t) { return kr_cabs2(t) > 0.06f * 0.06f; }

/* What the items of a step add up to: loss, and the decibels of the error after and before. */
typedef struct told { double loss, net, start, norm; } told;
/* ---- Of a regulariser ---- */
/* The two numbers of `levels`. */
int learn_levels(double level[2], const kr_learn *o);
/* An item of a step: a strip of an undersampled scan, or a part of an image with noise. */
int learn_ridge_item(told *t, const kr_learn *o, learn_state *st, dice *d, const learn_slice *s, long x0, long w);
/* The image of a whole slice. */
int learn_ridge_image(kr_cfloat *image, const kr_learn *o, learn_state *st, const learn_slice *s);
#endif
