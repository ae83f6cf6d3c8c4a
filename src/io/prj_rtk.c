/* prj_rtk.c: geometry of RTK, ThreeDCircularProjectionGeometry in XML, versions 2 and 3: nine parameters a view, those of the whole scan before those of
 * views; the axis of rotation is y. Source: rtkThreeDCircularProjectionGeometryXMLFileReader.cxx; docs/Geometry.md. */
#include "prj.h"
#include "file.h"
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[9] = { "SourceToIsocenterDistance", "SourceToDetectorDistance", "GantryAngle", "ProjectionOffsetX", "ProjectionOffsetY", "OutOfPlaneAngle",
                                      "InPlaneAngle", "SourceOffsetX", "SourceOffsetY" };

static int number(double *to, const xmlNode *n)
{
    xmlChar *text = xmlNodeGetContent(n);
    char *end = NULL;
    *to = text ? strtod((const char *)text, &end) : NAN;
    bool good = text && end != (char *)text && !end[strspn(end, " \t\r\n")] && isfinite(*to);
    int e = good ? 0 : kr_fail(KR_EFORMAT, "%s is '%.40s', no number", (const char *)n->name, text ? (const char *)text : "");
    xmlFree(text);
    return e;
}

/* One of the nine; what else has a meaning that is not read is refused. */
static int parameter(double nine[9], const xmlNode *n)
{
    for (int i = 0; i < 9; i++)
        if (!strcmp((const char *)n->name, names[i]))
            return number(&nine[i], n);
    static const char *const others[] = { "Matrix", "CollimationUInf", "CollimationUSup", "CollimationVInf", "CollimationVSup" };      /* say nothing of where things are */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp((const char *)n->name, others[i]))
            return 0;
    double v;
    if (strcmp((const char *)n->name, "RadiusCylindricalDetector"))
        return kr_fail(KR_EFORMAT, "%s is no parameter of RTK's geometry (GantryAngle, SourceToIsocenterDistance, ...; capitals count)", (const char *)n->name);
    return number(&v, n) ? kr_error_code() : v > 0 ? kr_fail(KR_EREFUSED, "a cylindrical detector (of radius %g mm) in RTK's geometry is not read", v) : 0;
}

/* The matrix that the parameters make: where a point of the world falls on the detector. A file's own must agree to 0.001. */
static int matrix(const xmlNode *n, const double p[9], long view)
{
    double q = M_PI / 180, c[3] = { cos(p[2] * q), cos(p[5] * q), cos(p[6] * q) }, s[3] = { sin(p[2] * q), sin(p[5] * q), sin(p[6] * q) };
    /* rows of Rz(-in) Rx(-out) Ry(-gantry) */
    double a[3] = { c[0], 0, -s[0] }, b[3] = { s[1] * s[0], c[1], s[1] * c[0] }, w[3] = { c[1] * s[0], -s[1], c[1] * c[0] }, row[3][4] = { { 0 } };
    for (int k = 0; k < 3; k++) {
        double x = c[2] * a[k] + s[2] * b[k], y = -s[2] * a[k] + c[2] * b[k];
        row[2][k] = p[1] == 0 ? 0 : w[k];
        row[0][k] = (p[1] == 0 ? x : -p[1] * x) + (p[7] - p[3]) * row[2][k];
        row[1][k] = (p[1] == 0 ? y : -p[1] * y) + (p[8] - p[4]) * row[2][k];
    }
    row[2][3] = p[1] == 0 ? 1 : -p[0];
    row[0][3] = p[1] == 0 ? -p[3] : p[1] * p[7] + (p[7] - p[3]) * row[2][3];
    row[1][3] = p[1] == 0 ? -p[4] : p[1] * p[8] + (p[8] - p[4]) * row[2][3];
    xmlChar *text = xmlNodeGetContent(n);
    char *at = (char *)text, *end;
    int e = 0;
    for (int i = 0; i < 12 && !e; i++) {
        double v = at ? strtod(at, &end) : NAN;
        if (!at || end == at)
            e = kr_fail(KR_EFORMAT, "the matrix of view %ld has %d of 12 numbers", view, i);
        else if (!(fabs(v - row[i / 4][i % 4]) <= 1e-3 + 1e-9 * fabs(v)))
            e = kr_fail(KR_EFORMAT, "the matrix of view %ld contradicts its parameters: %.9g for %.9g in row %d, column %d", view, v, row[i / 4][i % 4], i / 4, i % 4);
        at = end;
    }
    xmlFree(text);
    return e;
}

static int views(kr_projections *p, const xmlNode *root)
{
    double all[9] = { 0 };
    long count = 0;
    for (const xmlNode *n = root->children; n; n = n->next) {
        if (n->type != XML_ELEMENT_NODE)
            continue;
        if (!strcmp((const char *)n->name, "Projection"))
            count++;
        else if (parameter(all, n))
            return kr_error_code();
    }
    kr_auto double (*nine)[9] = kr_alloc((size_t)count + 1, sizeof *nine);
    if (!nine)
        return kr_error_code();
    long i = 0;
    for (const xmlNode *n = root->children; n; n = n->next) {
        if (n->type != XML_ELEMENT_NODE || strcmp((const char *)n->name, "Projection"))
            continue;
        memcpy(nine[i], all, sizeof all);
        const xmlNode *stored = NULL;
        for (const xmlNode *c = n->children; c; c = c->next) {
            if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, "Matrix"))
                stored = c;
            else if (c->type == XML_ELEMENT_NODE && parameter(nine[i], c))
                return kr_error_code();
        }
        if (!(nine[i][0] > 0))
            return kr_fail(KR_EFORMAT, "the source of view %ld is %g mm from the axis; above 0 is wanted", i, nine[i][0]);
        if (stored && matrix(stored, nine[i], i))
            return kr_error_code();
        i++;
    }
    if (!count)
        return kr_fail(KR_EFORMAT, "RTK's geometry holds no projection");
    if (!(p->pixel[0] > 0))
        return kr_fail(KR_EUSAGE, "RTK's geometry does not say the size of detector elements: FILE.xml:pixel=MM");
    double pitch[2] = { p->pixel[0], p->pixel[1] > 0 ? p->pixel[1] : p->pixel[0] };
    kr_detector d = { p->y ? p->y->n[KR_U] : 1, p->y ? p->y->n[KR_V] : 1, { pitch[0], pitch[1] }, { 0, 0 } };
    double origin[2] = { p->middle[0] - pitch[0] * (double)(d.columns - 1) / 2, p->middle[1] - pitch[1] * (double)(d.rows - 1) / 2 };
    kr_rays_unref(&p->rays);
    p->rays = kr_rays_rtk(&d, origin, count, (const double (*)[9])nine);
    p->beam = p->rays ? p->rays->beam : p->beam;
    p->volume = p->lengths = true;
    return p->rays ? 0 : kr_error_code();
}

static int geometry(kr_projections *p, const char *file)
{
    if (!prj_ends(file, ".xml"))
        return 0;
    kr_auto char *text = kr_file_text(file, 1 << 28);
    if (!text)
        return kr_error_code();
    xmlDoc *doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    int e = 0;
    if (!root)
        e = kr_fail(KR_EFORMAT, "XML cannot be read");
    else if (strcmp((const char *)root->name, "RTKThreeDCircularGeometry"))
        e = kr_fail(KR_EFORMAT, "this XML is '%.40s', not RTKThreeDCircularGeometry", (const char *)root->name);
    e = e ? e : views(p, root);
    if (doc)
        xmlFreeDoc(doc);
    return e ? kr_fail_in("%s", file) : 1;
}

const kr_projections_kind kr_projections_rtk = { "rtk", "RTK's ThreeDCircularProjectionGeometry (.xml), with the size of detector elements", NULL, geometry };
