/* mean.c: the mean of the last iterates, in blocks. */
#include "mean.h"

enum { BLOCK = 16 };
static const double NEARER = 0.81;

int kr_mean_open(kr_mean *m, const kr_problem *p, const kr_array *x, int iterations)
{
    bool moves = false;
    for (int i = 0; i < p->terms; i++)
        moves |= kr_prox_next(p->term[i].g, 0);
    *m = (kr_mean){ 0 };
    if (!moves || iterations < 8)                                    /* too few to have a rest to take a mean of */
        return 0;
    m->block = iterations / 4 < BLOCK ? iterations / 4 : BLOCK;
    return (m->now = kr_array_like(x)) && (m->last = kr_array_like(x)) ? 0 : kr_error_code();
}

bool kr_mean_add(kr_mean *m, const kr_array *x, double tolerance)
{
    if (!m->block)
        return false;
    if (m->count == m->block) {
        kr_array *swap = m->last;
        m->last = m->now;
        m->now = swap;
        m->two = true;
        m->count = 0;
    }
    if (m->count++)
        kr_axpy(m->now, 1, x);
    else
        kr_array_assign(m->now, x);
    if (m->count < m->block || !m->two)
        return false;
    kr_axpy(m->last, -1, m->now);
    double apart = kr_dot_re(m->last, m->last), size = kr_dot_re(m->now, m->now);
    kr_axpy(m->last, 1, m->now);
    bool hovers = m->apart > 0 && apart > NEARER * m->apart;          /* what is left is chance */
    m->apart = apart;
    return tolerance > 0 && (hovers || apart <= tolerance * tolerance * size);
}

void kr_mean_close(kr_mean *m, kr_array *x)
{
    if (m->now && m->last && m->count) {
        kr_array_assign(x, m->now);
        if (m->two)
            kr_axpy(x, 1, m->last);
        kr_scale(x, 1 / (float)(m->count + (m->two ? m->block : 0)));
    }
    kr_array_unref(&m->now);
    kr_array_unref(&m->last);
}
