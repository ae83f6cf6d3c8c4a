/* window.h: the interpolation window of nufft.c. Private to this folder. */
#ifndef KRAY_WINDOW_H
#define KRAY_WINDOW_H

enum { TERMS = 48, NODES = 48, DEGREE = 24 };
/* psi(t), |t| <= width / 2: the prolate spheroidal function of order 0 whose transform lies within |xi| <= 1 - 1 / (2 oversampling). */
typedef struct window {
    int width;
    double a[TERMS];                  /* coefficients of normalised Legendre polynomials of even degree           */
    double energy;                    /* integral of psi^2                                                        */
    double node[NODES], weight[NODES];/* of a quadrature over 0 <= t <= width / 2, times psi there                */
} window;
/* Nodes and weights of Gauss and Legendre on [0, 1], the same for all windows. */
typedef struct window_rule { double node[NODES], weight[NODES]; } window_rule;
void window_rule_make(window_rule *r);
void window_make(window *w, const window_rule *r, int width, double oversampling);
double window_at(const window *w, double t);
double window_hat(const window *w, double xi);             /* integral of psi(t) cos(2 pi xi t)           */
/* Means over n pixels, on a grid of nf, in one dimension: (sum of |aliases| / |pixel|)^2 and its root, and the factor by which the variance
 * of what rounding leaves on the grid grows. */
struct window_errors { double leak, mean, gain; };
struct window_errors window_errors(const window *w, long n, long nf);
/* psi((s + 1) / 2 - width / 2 + j), -1 <= s < 1, as a polynomial: coef[j][0] s^degree + ...; the smallest degree whose error
 * is at most `error` of psi(0), which is returned. */
int window_fit(const window *w, double error, double coef[][DEGREE + 1]);
#endif
