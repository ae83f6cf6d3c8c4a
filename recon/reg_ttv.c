/* reg_ttv.c: lambda times the total variation along the series. */
#include "reg.h"
#include "regular.h"

/* Along a trajectory a step costs a transform of every frame and coil, and accelerated gradients take a fifth to a tenth of the steps of primal-dual ones. They want the proximal map itself: along
 * lines of frames (both of them where heart and chest move), inner steps that go on from where the last ones ended, and reach from end to end. Of 12 and 50 frames 20 and 80 were enough; with half as many the image does not come to rest. */
static int add(reg_problem *q, const reg_at *at)
{
    const kr_solver *asked = kr_solver_named(at->o->solver);
    int reach = 0;
    for (int d = 0; d < KR_AXES; d++)
        reach += at->along & KR_ON(d) && at->n.n[d] > 1 ? (int)at->n.n[d] : 0;
    if (at->m->part->traj && at->only && (!asked || asked->proximal) && !at->o->positive)
        return reg_term(q, kr_prox_tv(at->type, at->n, at->along, at->lambda, 20 + 2 * reach), NULL);
    return reg_differences(q, at, at->along);
}

const reg_kind reg_ttv = { .name = "ttv", .summary = "series: total variation along time", .cite = "Feng et al., Magn Reson Med 72:707 (2014)", .series = true, .many = true, .images = 4.5, .add = add };
