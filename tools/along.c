/* along.c: trajectories that the user names. */
#include "along.h"
#include "kray/trajectory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static int read_matrix(long n[3], const char *text)
{
    char end;
    n[0] = n[1] = 0;
    n[2] = 1;
    int count = sscanf(text, "%ld,%ld,%ld%c", &n[0], &n[1], &n[2], &end);
    if ((count != 2 && count != 3) || n[0] < 1 || n[1] < 1 || n[2] < 1 || n[0] > 8192 || n[1] > 8192 || n[2] > 8192)
        return kr_fail(KR_EUSAGE, "--matrix %s: two or three numbers of pixels from 1 to 8192 are wanted, such as 256,256", text);
    return 0;
}

static int read_delay(double d[3], const char *text)
{
    char end;
    int count = sscanf(text, "%lf,%lf,%lf%c", &d[0], &d[1], &d[2], &end);
    for (int i = 0; i < 3; i++)
        if ((count != 2 && count != 3) || !(fabs(d[i]) < 100))
            return kr_fail(KR_EUSAGE, "--delay %s: 'auto', or two or three numbers of samples by which the gradients lag, such as 0.3,-0.1", text);
    return 0;
}

int along_read(kr_stated *to, const along *a)
{
    if (a->matrix && read_matrix(to->matrix, a->matrix))
        return kr_error_code();
    if (a->traj && kr_traj_is_spec(a->traj))
        to->traj_spec = a->traj;
    else if (a->traj && kr_array_read(&to->traj, a->traj))
        return kr_fail_in("trajectory");
    if (a->spokes < 0)
        return kr_fail(KR_EUSAGE, "--spokes %ld: a number of readouts is wanted", a->spokes);
    to->spokes = a->spokes;
    to->delay_auto = a->delay && !strcmp(a->delay, "auto");
    if (a->delay && !to->delay_auto && read_delay(to->delay, a->delay))
        return kr_error_code();
    if (a->density && kr_density_is_kind(a->density))
        to->density_kind = a->density;
    else if (a->density && kr_array_read(&to->density, a->density))
        return kr_fail_in("density");
    return 0;
}
