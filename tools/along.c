/* along.c: trajectories that the user names. */
#include "along.h"
#include "kray/pulseq.h"
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

/* Positions by the gradients of a Pulseq sequence, in the field of view that it states. */
static int read_seq(kr_stated *to, kr_along *more, const along *a, const kr_trace *trace)
{
    kr_seq_facts f;
    if (more->unit && strcmp(more->unit, "1/m"))
        return kr_fail(KR_EUSAGE, "--traj-units %s: positions by a Pulseq sequence are per metre", more->unit);
    if (kr_seq_read(&to->traj, &f, a->traj))
        return kr_error_code();
    for (int i = 0; kr_traj_units[i]; i++)
        more->unit = strcmp(kr_traj_units[i], "1/m") ? more->unit : kr_traj_units[i];
    memcpy(more->file_mm, f.fov_mm, sizeof more->file_mm);
    kr_say(trace, KR_INFO, "%s: Pulseq %d.%d.%d, %ld readouts of %ld samples", a->traj, f.version[0], f.version[1], f.version[2], f.readouts, to->traj->n[KR_SAMPLE]);
    if (f.left_out)
        kr_say(trace, KR_INFO, "%s: %ld readouts are left out: marked as noise or navigators, or of another length than the others", a->traj, f.left_out);
    return 0;
}

/* What the raw file's lines are, by the sequence that was played. */
static int read_played(kr_along *more, const along *a, const kr_trace *trace)
{
    kr_seq_facts f;
    if (a->traj)
        return kr_fail(KR_EUSAGE, "--seq says where the samples of a raw file lie, and so does --traj: only one of these is possible");
    if (more->unit)
        return kr_fail(KR_EUSAGE, "--traj-units: positions by a Pulseq sequence are per metre");
    if (kr_seq_played(&more->played, &f, a->seq))
        return kr_fail_in("sequence %s", a->seq);
    kr_say(trace, KR_INFO, "%s: Pulseq %d.%d.%d, %ld readouts", a->seq, f.version[0], f.version[1], f.version[2], f.readouts);
    return 0;
}

int along_read(kr_stated *to, const along *a, const kr_trace *trace)
{
    kr_along *more = kr_alloc_zero(1, sizeof *more);
    to->along = more;
    if (!more)
        return kr_error_code();
    for (int i = 0; a->units && kr_traj_units[i]; i++)
        more->unit = strcmp(a->units, kr_traj_units[i]) ? more->unit : kr_traj_units[i];
    if (a->matrix && read_matrix(to->matrix, a->matrix))
        return kr_error_code();
    if (a->traj && kr_traj_is_spec(a->traj))
        to->traj_spec = a->traj;
    else if (a->traj && kr_is_seq(a->traj)) {
        if (read_seq(to, more, a, trace))
            return kr_fail_in("trajectory %s", a->traj);
    } else if (a->traj && kr_array_read(&to->traj, a->traj))
        return kr_fail_in("trajectory");
    if (a->seq && read_played(more, a, trace))
        return kr_error_code();
    if ((a->fov && read_fov(more->fov_mm, a->fov)) || (a->shift && read_numbers(more->shift_mm, "--fov-shift", a->shift, 1e4, "two or three distances in mm are wanted, such as 10,-4.5")))
        return kr_error_code();
    if (a->spokes < 0)
        return kr_fail(KR_EUSAGE, "--spokes %ld: a number of readouts is wanted", a->spokes);
    to->spokes = a->spokes;
    if (a->phases < 0 || a->phases > 1000 || a->breathing < 0 || a->breathing > 1000)
        return kr_fail(KR_EUSAGE, "--phases %ld, --breathing %ld: numbers of states up to 1000 are wanted", a->phases, a->breathing);
    more->gates = (kr_gates){ a->phases, a->breathing };
    if (!(a->dwell >= 0) || !isfinite(a->dwell) || !isfinite(a->first))
        return kr_fail(KR_EUSAGE, "--dwell and --field-zero are times in us");
    if (!a->field && (a->first < 0 || a->first > 0))
        return kr_fail(KR_EUSAGE, "--field-zero is for --field-map, which is not given");
    if (!a->field && !a->girf && a->dwell > 0)
        return kr_fail(KR_EUSAGE, "--dwell is for --field-map and --girf, which are not given");
    if (a->girf && kr_array_read(&more->girf, a->girf))
        return kr_fail_in("transfer functions");
    if (a->field && kr_image_read(&more->field, a->field))
        return kr_fail_in("field map");
    more->first_us = a->first;
    more->dwell_us = a->dwell;
    to->delay_auto = a->delay && !strcmp(a->delay, "auto");
    if (a->delay && !to->delay_auto && read_numbers(to->delay, "--delay", a->delay, 100, "'auto', or two or three numbers of samples by which the gradients lag, such as 0.3,-0.1"))
        return kr_error_code();
    if (a->density && kr_density_is_kind(a->density))
        to->density_kind = a->density;
    else if (a->density && kr_array_read(&to->density, a->density))
        return kr_fail_in("density");
    return 0;
}
