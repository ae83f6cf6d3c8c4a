/* cmd_coils.c: kray coils IN -o MAPS: coil sensitivity maps from a scan's calibration area. */
#include "kray/io.h"
#include "tool.h"

typedef struct opts {
    const char *out, *method, *format;
    long maps, calib, kernel;
    double threshold, crop;
    bool soft;
} opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_FILE, offsetof(opts, out), NULL, "FILE", "where the maps go; the suffix chooses the format" },
    { "method", 'm', KR_OPT_CHOICE, offsetof(opts, method), "espirit", "espirit|walsh|lowres", "how they are estimated" },
    { "maps", 0, KR_OPT_INT, offsetof(opts, maps), "1", "N", "sets of maps; 2 where the field of view is smaller than the object" },
    { "calib", 'r', KR_OPT_INT, offsetof(opts, calib), "0", "N", "largest width of the calibration area; 0: up to 24 of what was measured" },
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "6", "N", "width of ESPIRiT's kernel, of Walsh's local mean" },
    { "threshold", 't', KR_OPT_REAL, offsetof(opts, threshold), "0", "X", "smallest squared singular value kept, relative to the largest; 0: automatic" },
    { "crop", 'c', KR_OPT_REAL, offsetof(opts, crop), "-1", "X", "maps are 0 where the eigenvalue is smaller; negative: automatic" },
    { "soft", 0, KR_OPT_FLAG, offsetof(opts, soft), NULL, NULL, "let maps fall smoothly to 0 towards the crop" },
    { "format", 0, KR_OPT_TEXT, offsetof(opts, format), NULL, "NAME", "read IN as this format, whatever it looks like" },
    KR_OPT_END };

static int run(void *o, int files, char **file, const kr_trace *trace)
{
    const opts *p = o;
    if (files != 1 || !p->out)
        return kr_fail(KR_EUSAGE, "one scan and an output (-o) are wanted");
    kr_scoped(scan) s = NULL;
    if (kr_scan_read(&s, file[0], p->format, NULL, trace))
        return kr_error_code();
    kr_coils_opts how = kr_coils_preset;
    how.method = p->method;
    how.calib[0] = how.calib[1] = how.calib[2] = p->calib;
    how.kernel = p->kernel;
    how.threshold = p->threshold;
    how.crop = p->crop;
    how.maps = p->maps;
    how.soft = p->soft;
    double t = kr_seconds();
    kr_scoped(array) maps = kr_coils_estimate(s, &how, trace);
    if (!maps)
        return kr_error_code();
    kr_say(trace, KR_DETAIL, "%.3f s", kr_seconds() - t);
    return kr_array_write(maps, s->meta, p->out);
}

const kr_tool kr_tool_coils = { "coils", "Reconstruct", "coil sensitivity maps", "IN -o MAPS [options]",
    "  kray coils scan.h5 -o maps.cfl\n", table, sizeof(opts), NULL, run };
