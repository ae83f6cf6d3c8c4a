/* along.c: trajectories that the user names. */
#include "along.h"
#include "kray/trajectory.h"
#include <stdio.h>

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

int along_read(kr_stated *to, const along *a)
{
    if (a->matrix && read_matrix(to->matrix, a->matrix))
        return kr_error_code();
    if (a->traj && kr_traj_is_spec(a->traj))
        to->traj_spec = a->traj;
    else if (a->traj && kr_array_read(&to->traj, a->traj))
        return kr_fail_in("trajectory");
    return 0;
}
