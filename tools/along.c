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

static int set_matrix(kr_scan *s, const long n[3], const char *text)
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--matrix is for scans with a trajectory; this one is on a grid of its own");
    for (int d = 0; d < 3; d++) {
        if (s->enc.encoded[d] > 1 && s->enc.encoded[d] != n[d])
            return kr_fail(KR_EUSAGE, "--matrix %s: the file says %ld along %s", text, s->enc.encoded[d], kr_axis_name(d));
        s->enc.encoded[d] = s->enc.recon[d] = n[d];
    }
    return 0;
}

int along_attach(kr_scan *s, const along *a)
{
    long n[3];
    if (a->matrix && read_matrix(n, a->matrix))
        return kr_error_code();
    if (a->traj && kr_traj_is_spec(a->traj)) {
        if (kr_scan_make_trajectory(s, a->traj, a->matrix ? n : NULL))
            return kr_error_code();
    } else if (a->traj) {
        kr_scoped(array) k = NULL;
        if (kr_array_read(&k, a->traj) || kr_scan_attach_trajectory(s, k))
            return kr_fail_in("trajectory");
    }
    return a->matrix ? set_matrix(s, n, a->matrix) : 0;
}
