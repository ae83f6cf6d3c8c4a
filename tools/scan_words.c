/* scan_words.c: what options say of a scan beyond its file: words to numbers, names of files to what they hold. */
#include "scan_words.h"
#include "kray/trajectory.h"
#include <stdlib.h>

/* "a,b[,c]": how many numbers, or a refusal. "-" gives -1 where that is possible. */
static int three(double v[3], const char *text, bool gaps, const char *option)
{
    int n = 0;
    for (const char *p = text; n < 3; p++) {
        char *end;
        bool gap = gaps && *p == '-' && (p[1] == ',' || !p[1]);
        v[n] = gap ? -1 : strtod(p, &end);
        const char *next = gap ? p + 1 : end;
        if (next == p || (*next && *next != ','))
            break;
        n++;
        p = next;
        if (!*p)
            return n;
    }
    return kr_fail(KR_EUSAGE, "%s '%s': numbers X,Y,Z are wanted", option, text);
}

static int set_centre(kr_stated *s, const char *text)
{
    double v[3] = { -1, -1, -1 };
    int n = three(v, text, true, "--centre");
    for (int d = 0; n > 0 && d < 3; d++) {
        s->centre[d] = d < n ? (long)v[d] : -1;
        if (n < 2 || (d < n && ((double)s->centre[d] != v[d] || s->centre[d] < -1)))
            return kr_fail(KR_EUSAGE, "--centre '%s': X,Y or X,Y,Z are wanted, each the number of a sample or line from 0, or - where the centre stays", text);
    }
    s->centred = true;
    return n < 0 ? n : 0;
}

int stated_open(kr_stated *s, const struct stated *w, const kr_trace *trace)
{
    *s = (kr_stated){ .kspace_sign = !w->sign || *w->sign == 'a' ? 0 : *w->sign == '+' ? 1 : -1, .multiband = w->multiband, .caipi = w->caipi };
    if (w->voxel) {
        int n = three(s->voxel_mm, w->voxel, false, "--voxel");
        if (n != 3 || !(s->voxel_mm[0] > 0) || !(s->voxel_mm[1] > 0) || !(s->voxel_mm[2] > 0))
            return n < 0 ? n : kr_fail(KR_EUSAGE, "--voxel '%s': three sizes in mm are wanted, X,Y,Z", w->voxel);
    }
    if ((w->centre && set_centre(s, w->centre)) || along_read(s, &w->along, trace))
        return kr_error_code();
    if (w->single_band && (kr_scan_read(&s->single_band, w->single_band, NULL, NULL, trace) || kr_scan_check(s->single_band)))
        return kr_fail_in("single-band reference");
    return w->covariance ? kr_array_read(&s->covariance, w->covariance) : 0;
}

void stated_close(kr_stated *s)
{
    kr_along *more = (kr_along *)s->along;                     /* along_read made it */
    if (more) {
        kr_image_unref(&more->field);
        kr_array_unref(&more->girf);
        kr_played_unref(&more->played);
    }
    kr_free(more);
    kr_array_unref(&s->traj);
    kr_array_unref(&s->density);
    kr_array_unref(&s->covariance);
    kr_scan_unref(&s->single_band);
}
