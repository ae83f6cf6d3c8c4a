/* prj_xtek.c: TIFF projections with what the scanner wrote beside them: Nikon's .xtekct and SkyScan's .log. Cone beams on a full turn. Source: CIL's
 * NikonDataReader (angles, offsets, and that pixel (0, 0) lies at the top and right of whoever looks from the source); NRecon's manual. */
#include "prj.h"
#include "file.h"
#include "tiff.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int wanted(const char *text, const char *name, double *value, double least)
{
    if (!prj_says(text, name, value))
        return kr_fail(KR_EFORMAT, "%s is missing", name);
    return *value >= least && *value <= 1e9 ? 0 : kr_fail(KR_EFORMAT, "%s is %g; %g or more is wanted", name, *value, least);
}

/* The words behind NAME=, trimmed; NULL: none. */
static char *said(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strstr(text, name); p; p = strstr(p + 1, name))
        if ((p == text || p[-1] == '\n') && p[n + strspn(p + n, " \t")] == '=') {
            p += n + strspn(p + n, " \t") + 1;
            p += strspn(p, " \t");
            size_t k = strcspn(p, "\r\n");
            while (k && (p[k - 1] == ' ' || p[k - 1] == '\t'))
                k--;
            return k ? kr_strf("%.*s", (int)k, p) : NULL;
        }
    return NULL;
}

static int pictures(kr_projections *p, const char *file, const char *folder, const char *prefix, long count, long columns, long rows, const kr_trace *trace)
{
    kr_auto char *own = kr_file_folder(file), *inner = NULL;
    inner = own ? folder && *folder ? kr_strf("%s/%s", own, folder) : kr_strdup(own) : NULL;
    if (!inner)
        return kr_error_code();
    long found = 0;
    char **name = kr_files_named(inner, prefix, ".tif .tiff", &found);
    char axes[] = "view,v,u";
    kr_source src = { .path = inner, .axes = axes };
    int e = found < 1 ? kr_fail(KR_EFILE, "no %s*.tif in %s", prefix ? prefix : "", inner)
          : found < count ? kr_fail(KR_EFORMAT, "%ld projections are announced, %ld TIFF files %s*.tif are in %s", count, found, prefix ? prefix : "", inner) : 0;
    if (!e && found > count)
        kr_say(trace, KR_WARNING, "%s: %ld projections are announced, %ld TIFF files are there: the first %ld are taken", file, count, found, count);
    e = e ? e : kr_tiff_read(&p->y, &src, (const char *const *)name, count);
    if (!e && (p->y->n[KR_U] != columns || p->y->n[KR_V] != rows))
        e = kr_fail(KR_ESHAPE, "projections of %ld x %ld elements are announced, the TIFF files hold %ld x %ld", columns, rows, p->y->n[KR_U], p->y->n[KR_V]);
    kr_files_named_free(name, found);
    return e;
}

/* Source and detector at angles from `first` in steps (degrees, counter-clockwise), both `aside` beside the axis, columns along -+x (`along`) and rows downwards from `up` above the source. */
static int circle(kr_projections *p, double sod, double sdd, double aside, double up, double along, const double pitch[2], double first, double step)
{
    long columns = p->y->n[KR_U], rows = p->y->n[KR_V], views = p->y->n[KR_VIEW];
    kr_auto double *v = kr_alloc((size_t)views, 12 * sizeof *v);
    for (long i = 0; v && i < views; i++) {
        double t = (first + step * (double)i) * M_PI / 180, c = cos(t), s = sin(t), far = sdd - sod;
        memcpy(v + 12 * i, (double[12]){ aside * c + sod * s, aside * s - sod * c, 0, aside * c - far * s, aside * s + far * c, up, along * pitch[0] * c,
                                         along * pitch[0] * s, 0, 0, 0, -pitch[1] }, 12 * sizeof *v);
    }
    p->rays = v ? kr_rays_vectors(KR_DIVERGENT, columns, rows, views, 12, v) : NULL;
    p->beam = KR_DIVERGENT;
    p->volume = p->lengths = true;
    return p->rays ? 0 : kr_error_code();
}

/* The same counts without the object everywhere. */
static int white(kr_projections *p, double full)
{
    p->white = kr_array_new(KR_R32, KR_SHAPE([KR_U] = p->y->n[KR_U], [KR_V] = p->y->n[KR_V]));
    for (long i = 0; p->white && i < p->y->n[KR_U] * p->y->n[KR_V]; i++)
        KR_R(p->white)[i] = (float)full;
    return p->white ? 0 : kr_error_code();
}

static int nikon(kr_projections *p, const char *file, const char *text, const kr_trace *trace)
{
    double count, columns, rows, pitch[2], sod, sdd, first = 0, step, full = 0, aside = 0, top = 0, bottom = 0, tilt = 0, roll = 0;
    if (wanted(text, "Projections", &count, 1) || wanted(text, "DetectorPixelsX", &columns, 1) || wanted(text, "DetectorPixelsY", &rows, 1)
        || wanted(text, "DetectorPixelSizeX", &pitch[0], 1e-9) || wanted(text, "DetectorPixelSizeY", &pitch[1], 1e-9) || wanted(text, "SrcToObject", &sod, 1e-9)
        || wanted(text, "SrcToDetector", &sdd, sod) || wanted(text, "AngularStep", &step, -360))
        return kr_error_code();
    if (!prj_says(text, "ObjectOffsetX", &aside) && prj_says(text, "CentreOfRotationTop", &top) && prj_says(text, "CentreOfRotationBottom", &bottom))
        aside = (top + bottom) / 2 * sod / sdd;
    if ((prj_says(text, "ObjectTilt", &tilt) && fabs(tilt) > 0) || (prj_says(text, "ObjectRoll", &roll) && fabs(roll) > 0))
        kr_say(trace, KR_WARNING, "%s: the axis is tilted by %g and %g degrees (ObjectTilt, ObjectRoll): that is not used", file, tilt, roll);
    double offset[2] = { 0, 0 };
    prj_says(text, "DetectorOffsetX", &offset[0]);
    prj_says(text, "DetectorOffsetY", &offset[1]);
    if (fabs(offset[0]) > 0 || fabs(offset[1]) > 0)
        kr_say(trace, KR_WARNING, "%s: the detector stands aside by %g and %g mm (DetectorOffsetX, DetectorOffsetY): that is not used", file, offset[0], offset[1]);
    prj_says(text, "InitialAngle", &first);
    kr_auto char *folder = said(text, "InputFolderName"), *name = said(text, "Name");
    p->kind = "Nikon xtekct";
    if (!prj_says(text, "WhiteLevel", &full) || !(full > 0))
        return kr_fail(KR_EFORMAT, "WhiteLevel, the counts without the object, is missing");
    return pictures(p, file, folder, name, (long)count, (long)columns, (long)rows, trace) || white(p, full) || circle(p, sod, sdd, aside, 0, -1, pitch, first - 180, step) ? kr_error_code() : 1;
}

static int skyscan(kr_projections *p, const char *file, const char *text, const kr_trace *trace)
{
    double count, columns, rows, own, sod, sdd, step, optical, bits = 16, shift = 0;
    if (wanted(text, "Number of Files", &count, 1) || wanted(text, "Number of Columns", &columns, 1) || wanted(text, "Number of Rows", &rows, 1)
        || wanted(text, "Image Pixel Size (um)", &own, 1e-9) || wanted(text, "Object to Source (mm)", &sod, 1e-9) || wanted(text, "Camera to Source (mm)", &sdd, sod)
        || wanted(text, "Rotation Step (deg)", &step, 1e-9))
        return kr_error_code();
    double pitch = own / 1000 * sdd / sod;                           /* the size that is told is that at the object */
    if (prj_says(text, "Optical Axis (line)", &optical) && optical > 0 && optical < rows)
        shift = ((rows - 1) / 2 - optical) * pitch;                  /* lines count from below */
    kr_auto char *prefix = said(text, "Filename Prefix"), *direction = said(text, "Rotation Direction");
    bool right = direction && !strcmp(direction, "CW");
    p->kind = "SkyScan log";
    if (prj_says(text, "Depth (bits)", &bits) && !(bits >= 8 && bits <= 16))
        return kr_fail(KR_EFORMAT, "Depth (bits) is %g", bits);
    if (pictures(p, file, NULL, prefix, (long)count, (long)columns, (long)rows, trace) || white(p, exp2(bits) - 1))
        return kr_error_code();
    /* an object that turns counter-clockwise sees its source turn clockwise */
    return circle(p, sod, sdd, 0, shift, 1, (double[2]){ pitch, pitch }, 0, right ? step : -step) ? kr_error_code() : 1;
}

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    bool xtek = prj_ends(source, ".xtekct");
    if (!xtek && !prj_ends(source, ".log"))
        return 0;
    kr_auto char *text = kr_file_text(source, 1 << 24);
    if (!text)
        return kr_error_code();
    if (!xtek && (!strstr(text, "[Acquisition]") || !strstr(text, "Object to Source (mm)")))
        return kr_fail(KR_EFORMAT, "%s: this .log is not one of SkyScan's ([Acquisition] with Object to Source (mm))", source);
    int e = xtek ? nikon(p, source, text, trace) : skyscan(p, source, text, trace);
    return e < 0 ? kr_fail_in("%s", source) : e;
}

const kr_projections_kind kr_projections_xtek = { "xtek", "Nikon's .xtekct and SkyScan's .log beside TIFF files: counts of cone beams", read, NULL };
