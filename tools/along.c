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

/* Two or three numbers of size at most `most`; those left out stay 0. `wanted` ends the refusal. */
static int read_numbers(double v[3], const char *option, const char *text, double most, const char *wanted)
{
    char end;
    int count = sscanf(text, "%lf,%lf,%lf%c", &v[0], &v[1], &v[2], &end);
    for (int i = 0; i < 3; i++)
        if ((count != 2 && count != 3) || !(fabs(v[i]) <= most))
            return kr_fail(KR_EUSAGE, "%s %s: %s", option, text, wanted);
    return 0;
}

static int read_fov(double mm[3], const char *text)
{
    static const char wanted[] = "two or three lengths in mm are wanted, such as 300,300";
    if (read_numbers(mm, "--fov", text, 1e4, wanted))
        return kr_error_code();
    return mm[0] > 0 && mm[1] > 0 && mm[2] >= 0 ? 0 : kr_fail(KR_EUSAGE, "--fov %s: %s", text, wanted);
}

int along_read(kr_stated *to, const along *a)
{
    if (a->matrix && read_matrix(to->matrix, a->matrix))
        return kr_error_code();
    if (a->traj && kr_traj_is_spec(a->traj))
        to->traj_spec = a->traj;
    else if (a->traj && kr_array_read(&to->traj, a->traj))
        return kr_fail_in("trajectory");
    kr_along *more = kr_alloc_zero(1, sizeof *more);
    to->along = more;
    if (!more)
        return kr_error_code();
    for (int i = 0; a->units && kr_traj_units[i]; i++)
        more->unit = strcmp(a->units, kr_traj_units[i]) ? more->unit : kr_traj_units[i];
    if ((a->fov && read_fov(more->fov_mm, a->fov)) || (a->shift && read_numbers(more->shift_mm, "--fov-shift", a->shift, 1e4, "two or three distances in mm are wanted, such as 10,-4.5")))
        return kr_error_code();
    if (a->spokes < 0)
        return kr_fail(KR_EUSAGE, "--spokes %ld: a number of readouts is wanted", a->spokes);
    to->spokes = a->spokes;
    to->delay_auto = a->delay && !strcmp(a->delay, "auto");
    if (a->delay && !to->delay_auto && read_numbers(to->delay, "--delay", a->delay, 100, "'auto', or two or three numbers of samples by which the gradients lag, such as 0.3,-0.1"))
        return kr_error_code();
    if (a->density && kr_density_is_kind(a->density))
        to->density_kind = a->density;
    else if (a->density && kr_array_read(&to->density, a->density))
        return kr_fail_in("density");
    return 0;
}
