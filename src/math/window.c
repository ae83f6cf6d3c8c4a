/* window.c: the prolate spheroidal window: of all functions of its width, the one whose transform has most of its energy
 * inside of a band. It is the lowest eigenfunction of ((1 - x^2) f')' - c^2 x^2 f, a tridiagonal matrix for normalised Legendre
 * polynomials. Source: Slepian and Pollak, Bell Syst Tech J 40:43 (1961); Xiao, Rokhlin and Yarvin, Inverse Probl 17:805 (2001). */
#include "window.h"
#include "kray/base.h"
#include <math.h>
#include <string.h>

/* The matrix over even degrees is positive definite and its next eigenvalue is about five times as large: inverse iteration. */
static void lowest(double a[TERMS], double c)
{
    double diag[TERMS], off[TERMS], pivot[TERMS];
    for (int i = 0; i < TERMS; i++) {
        double k = 2 * i;
        diag[i] = k * (k + 1) + c * c * (2 * k * (k + 1) - 1) / ((2 * k + 3) * (2 * k - 1));
        off[i] = c * c * (k + 1) * (k + 2) / ((2 * k + 3) * sqrt((2 * k + 1) * (2 * k + 5)));
    }
    pivot[0] = diag[0];
    for (int i = 1; i < TERMS; i++)
        pivot[i] = diag[i] - off[i - 1] * off[i - 1] / pivot[i - 1];
    memset(a, 0, TERMS * sizeof *a);
    a[0] = 1;
    for (int turn = 0; turn < 40; turn++) {
        for (int i = 1; i < TERMS; i++)
            a[i] -= off[i - 1] / pivot[i - 1] * a[i - 1];
        a[TERMS - 1] /= pivot[TERMS - 1];
        for (int i = TERMS - 2; i >= 0; i--)
            a[i] = (a[i] - off[i] * a[i + 1]) / pivot[i];
        double sum = 0;
        for (int i = 0; i < TERMS; i++)
            sum += a[i] * a[i];
        for (int i = 0; i < TERMS; i++)
            a[i] /= sqrt(sum);
    }
}

static double legendre_sum(const double a[TERMS], double x)
{
    double p = 1, before = 0, sum = 0;
    for (int k = 0; k < 2 * TERMS; k++) {
        if (k % 2 == 0)
            sum += a[k / 2] * sqrt(k + .5) * p;
        double next = ((2 * k + 1) * x * p - k * before) / (k + 1);
        before = p;
        p = next;
    }
    return sum;
}

/* By Newton's method. */
void window_rule_make(window_rule *q)
{
    for (int i = 0; i < NODES; i++) {
        double x = cos(M_PI * (i + .75) / (NODES + .5)), slope = 1;
        for (int turn = 0; turn < 12; turn++) {
            double p = 1, before = 0;
            for (int k = 0; k < NODES; k++) {
                double next = ((2 * k + 1) * x * p - k * before) / (k + 1);
                before = p;
                p = next;
            }
            slope = NODES * (x * p - before) / (x * x - 1);
            x -= p / slope;
        }
        q->node[i] = (x + 1) / 2;
        q->weight[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

void window_make(window *w, const window_rule *r, int width, double oversampling)
{
    w->width = width;
    w->energy = 0;
    lowest(w->a, M_PI * width * (1 - 1 / (2 * oversampling)));
    for (int i = 0; i < NODES; i++) {
        double psi = legendre_sum(w->a, r->node[i]);
        w->weight[i] = r->weight[i] * width * psi;                      /* twice: both halves */
        w->energy += w->weight[i] * psi;
        w->node[i] = r->node[i] * width / 2.;
    }
}

double window_at(const window *w, double t)
{
    double x = 2 * t / w->width;
    return fabs(x) <= 1 ? legendre_sum(w->a, x) : 0;
}

double window_hat(const window *w, double xi)
{
    double sum = 0;
    for (int i = 0; i < NODES; i++)
        sum += w->weight[i] * cos(2 * M_PI * xi * w->node[i]);
    return sum;
}

/* What the aliases of a pixel r / nf from the centre of the grid weigh beside itself, at points between the cells of the grid where all of them meet in phase: those on whole
 * numbers, all in one place. */
static double aliases(const window *w, double xi)
{
    enum { ALIASES = 3 };
    double own = window_hat(w, xi), sum = 0;
    for (int m = 1; m <= ALIASES; m++) {
        sum += fabs(window_hat(w, xi + m) / own) + fabs(window_hat(w, xi - m) / own);
    }
    return sum;
}

static void one_pixel(struct window_errors *e, const window *w, double xi, double share)
{
    double own = window_hat(w, xi), a = aliases(w, xi);
    e->leak += share * a * a;
    e->mean += share * a;
    e->gain += share * w->energy / (own * own);
}

struct window_errors window_errors(const window *w, long n, long nf)
{
    enum { FEW = 32, PLACES = FEW / 2 };
    struct window_errors e = { 0, 0, 0 };
    double half = (double)n / 2, one = 1 / (double)n;
    if (n <= FEW)
        for (long r = 0; r <= n / 2; r++)
            one_pixel(&e, w, (double)r / (double)nf, (r && 2 * r < n ? 2 : 1) * one);
    else {
        for (int i = 0; i < PLACES; i++)
            one_pixel(&e, w, (i + .5) / PLACES * (half - 1) / (double)nf, (1 - one) / PLACES);
        one_pixel(&e, w, half / (double)nf, one);          /* the outermost pixel leaks most, so it counts by itself */
    }
    return e;
}

/* Chebyshev interpolation, turned into powers of s. */
static void powers(double coef[DEGREE + 1], const double cheb[DEGREE + 1], int degree)
{
    double t0[DEGREE + 1] = { 1 }, t1[DEGREE + 1] = { 0, 1 }, sum[DEGREE + 1] = { 0 };
    for (int d = 0; d <= degree; d++) {
        const double *t = d ? t1 : t0;
        for (int i = 0; i <= degree; i++)
            sum[i] += cheb[d] * t[i];
        if (!d)
            continue;
        double next[DEGREE + 1];
        for (int i = 0; i <= degree; i++)
            next[i] = (i ? 2 * t1[i - 1] : 0) - t0[i];
        memcpy(t0, t1, sizeof t0);
        memcpy(t1, next, sizeof t1);
    }
    for (int d = 0; d <= degree; d++)
        coef[d] = sum[degree - d];
}

int window_fit(const window *w, double error, double coef[][DEGREE + 1])
{
    enum { FINE = 32, PARTS = 16 };
    double peak = window_at(w, 0), truth[PARTS][FINE + 1];
    kr_assert(w->width <= PARTS);
    for (int j = 0; j < w->width; j++)
        for (int i = 0; i <= FINE; i++)
            truth[j][i] = window_at(w, (2. * i / FINE - 1 + 1) / 2 - w->width / 2. + j);
    for (int degree = 2; ; degree++) {
        double worst = 0;
        double turn[DEGREE + 1][DEGREE + 1];                         /* cos(d at), which all parts of the window share */
        for (int d = 0; d <= degree; d++)
            for (int i = 0; i <= degree; i++)
                turn[d][i] = cos(d * (M_PI * (i + .5) / (degree + 1)));
        for (int j = 0; j < w->width; j++) {
            double cheb[DEGREE + 1] = { 0 }, psi[DEGREE + 1];
            for (int i = 0; i <= degree; i++)
                psi[i] = window_at(w, (turn[1][i] + 1) / 2 - w->width / 2. + j);
            for (int d = 0; d <= degree; d++)
                for (int i = 0; i <= degree; i++)
                    cheb[d] += (d ? 2 : 1) * psi[i] * turn[d][i] / (degree + 1);
            powers(coef[j], cheb, degree);
            for (int i = 0; i <= FINE; i++) {
                double s = 2. * i / FINE - 1, p = 0;
                for (int d = 0; d <= degree; d++)
                    p = p * s + coef[j][d];
                double e = fabs(p - truth[j][i]);
                worst = e > worst ? e : worst;
            }
        }
        if (worst <= error * peak || degree == DEGREE)
            return degree;
    }
}
