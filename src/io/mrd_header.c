/* mrd_header.c: the ISMRMRD XML header, to and from a scan, and images' attributes. It alone knows libxml2's tree. Elements are found by their local
 * names, whatever prefix and namespace a writer chose; unknown ones are left alone. */
#include "mrd_header.h"
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEADER_MOST = 16 << 20 };
static const char namespace_uri[] = "http://www.ismrm.org/ISMRMRD";

/* ---- A walk through the tree ---- */
static void doc_free_at(void *p) { xmlFreeDoc(*(xmlDoc **)p); }
#define scoped_doc __attribute__((cleanup(doc_free_at))) xmlDoc *

static bool named(const xmlNode *n, const char *name) { return n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name); }

static xmlNode *next_named(xmlNode *n, const char *name)
{
    while (n && !named(n, name))
        n = n->next;
    return n;
}

static xmlNode *child(const xmlNode *n, const char *name) { return n ? next_named(n->children, name) : NULL; }

/* The element's own text without surrounding blanks. Only text nodes are read: entities are never expanded. */
static const char *text_of(const xmlNode *n, char *room, size_t size)
{
    size_t len = 0;
    for (const xmlNode *t = n ? n->children : NULL; t; t = t->next)
        if ((t->type == XML_TEXT_NODE || t->type == XML_CDATA_SECTION_NODE) && t->content)
            for (const char *p = (const char *)t->content; *p && len + 1 < size; p++)
                if (len || !strchr(" \t\r\n", *p))
                    room[len++] = *p;
    while (len && strchr(" \t\r\n", room[len - 1]))
        len--;
    room[len] = 0;
    return room;
}

static xmlDoc *parse(const char *xml)
{
    size_t n = strlen(xml);
    if (!n) {
        kr_fail(KR_EFORMAT, "the ISMRMRD header is empty");
        return NULL;
    }
    if (n > HEADER_MOST) {
        kr_fail(KR_EFORMAT, "the ISMRMRD header has %zu bytes; at most %d are read", n, HEADER_MOST);
        return NULL;
    }
    int options = XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
    xmlDoc *doc = xmlReadMemory(xml, (int)n, NULL, NULL, options);
    if (!doc)                                   /* names typed on scanners come in Latin-1 too */
        doc = xmlReadMemory(xml, (int)n, NULL, "ISO-8859-1", options);
    if (!doc) {
        const xmlError *e = xmlGetLastError();
        const char *why = e && e->message ? e->message : "";
        kr_fail(KR_EFORMAT, "the ISMRMRD header is not well-formed XML (line %d: %.*s)", e ? e->line : 0, (int)strcspn(why, "\n"), why);
        return NULL;
    }
    const xmlNode *root = xmlDocGetRootElement(doc);
    if (doc->intSubset)
        kr_fail(KR_EFORMAT, "the ISMRMRD header holds a document type declaration, which is not read");
    else if (!root || !named(root, "ismrmrdHeader"))
        kr_fail(KR_EFORMAT, "the XML header begins with <%.60s> where <ismrmrdHeader> is wanted", root ? (const char *)root->name : "");
    else
        return doc;
    xmlFreeDoc(doc);
    return NULL;
}

/* ---- Numbers ---- */
static int get_long(const xmlNode *n, long least, long most, long *v)
{
    char b[64], *end;
    if (!n)
        return 0;
    double x = strtod(text_of(n, b, sizeof b), &end);      /* some writers put 256.0 */
    if (end == b || *end || !(x >= (double)least && x <= (double)most) || x != floor(x))
        return kr_fail(KR_EFORMAT, "the ISMRMRD header gives <%s> as '%s'; a whole number from %ld to %ld is wanted", n->name, b, least, most);
    *v = (long)x;
    return 0;
}

/* Sizes come as 1.0004 or 255.99 where a converter divided fields of view: the nearest whole number, which is said once. Converters of 2D scans write 0 partitions
 * (flat), and mean one. */
static int get_size(const xmlNode *n, bool flat, long *v, bool *rounded)
{
    char b[64], *end;
    double x = n ? strtod(text_of(n, b, sizeof b), &end) : 0;
    if (n && flat && end != b && !*end && !(x < 0) && x < 0.5) {
        *v = 1;
        *rounded = true;
        return 0;
    }
    if (!n || end == b || *end || !(x >= 0.5 && x < USHRT_MAX + 0.5) || x == floor(x))
        return get_long(n, 1, USHRT_MAX, v);
    *v = lround(x);
    *rounded = true;
    return 0;
}

static int get_mm(const xmlNode *n, double *v)
{
    char b[64], *end;
    if (!n)
        return 0;
    double x = strtod(text_of(n, b, sizeof b), &end);
    if (end == b || *end || !(x >= 0 && x <= 1e6))
        return kr_fail(KR_EFORMAT, "the ISMRMRD header gives a field of view of '%s' mm along %s", b, n->name);
    *v = x;
    return 0;
}

static const char *const xyz[] = { "x", "y", "z", NULL };

static int read_space(const xmlNode *space, long n[3], double mm[3], bool *rounded)
{
    for (int a = 0; a < 3; a++)
        if (get_size(child(child(space, "matrixSize"), xyz[a]), a == 2, &n[a], rounded)
            || get_mm(child(child(space, "fieldOfView_mm"), xyz[a]), &mm[a]))
            return kr_error_code();
    return 0;
}

static const char *const step_name[3] = { "kspace_encoding_step_0", "kspace_encoding_step_1", "kspace_encoding_step_2" };

/* Times of an echo-planar readout, as siemens_to_ismrmrd names them. */
static const struct { const char *type, *name; size_t at; } ramp_table[] = { { "userParameterLong", "rampUpTime", offsetof(kr_ramp, up_us) },
    { "userParameterLong", "rampDownTime", offsetof(kr_ramp, down_us) }, { "userParameterLong", "flatTopTime", offsetof(kr_ramp, flat_us) },
    { "userParameterLong", "acqDelayTime", offsetof(kr_ramp, delay_us) } };
enum { RAMP = sizeof ramp_table / sizeof *ramp_table };

static bool user_number(const xmlNode *parent, const char *name, double *v)
{
    for (const xmlNode *n = parent ? parent->children : NULL; n; n = n->next) {
        char b[64], *end;
        if (n->type != XML_ELEMENT_NODE || strncmp((const char *)n->name, "userParameter", 13) || strcmp(text_of(child(n, "name"), b, sizeof b), name))
            continue;
        *v = strtod(text_of(child(n, "value"), b, sizeof b), &end);
        return end != b && *v >= 0 && *v < 1e9;
    }
    return false;
}

static void read_ramp(const xmlNode *description, kr_ramp *r)
{
    char b[64];
    double samples, dwell;
    bool good = !strcmp(text_of(child(description, "identifier"), b, sizeof b), "ConventionalEPI") && user_number(description, "numSamples", &samples)
             && user_number(description, "dwellTime", &dwell);
    kr_ramp found = { 0 };
    for (int i = 0; good && i < RAMP; i++)
        good = user_number(description, ramp_table[i].name, (double *)(void *)((char *)&found + ramp_table[i].at));
    if (!good)
        return;
    found.read_us = samples * dwell;
    *r = found;
}

/* Where slices of a band lie, as positions or as distances, and the k_z that a line adds (1/mm): their product is the phase between neighbouring
 * slices, in turns. */
static int read_multiband(kr_scan *s, const xmlNode *m)
{
    long factor = 1, count = 0;
    double z[2] = { 0 }, turns;
    char b[64];
    if (get_long(child(m, "multiband_factor"), 1, USHRT_MAX, &factor) || factor < 2)
        return kr_error_code();
    for (xmlNode *d = child(child(m, "spacing"), "dZ"); d; d = next_named(d->next, "dZ"), count++)
        if (count < 2)
            z[count] = strtod(text_of(d, b, sizeof b), NULL);
    double distance = count > 1 && z[0] == 0 ? z[1] : z[0];
    turns = strtod(text_of(child(m, "deltaKz"), b, sizeof b), NULL) * distance;
    s->multiband.distance_mm = isfinite(distance) && distance > 0 ? distance : 0;
    double shift = fabs(turns) > 1e-6 ? 1 / turns : 1;
    bool whole = fabs(shift) < 64.5 && fabs(shift - round(shift)) < 0.01 * fabs(shift);
    if (!whole)
        kr_scan_note(s, "the header turns neighbouring slices by %g of a turn from line to line, which is no whole part of one: --caipi says how slices are shifted", turns);
    return kr_multiband_set(s, factor, whole ? lround(shift) : 1);
}

static int read_encoding(const xmlNode *e, kr_mrd_encoding *to)
{
    kr_encoding *enc = &to->enc;
    *to = (kr_mrd_encoding){ 0 };
    if (read_space(child(e, "encodedSpace"), enc->encoded, enc->encoded_mm, &to->rounded)
        || read_space(child(e, "reconSpace"), enc->recon, enc->recon_mm, &to->rounded))
        return kr_error_code();
    for (int a = 0; a < 3; a++)                 /* the image's field of view is missing: its voxels are those that were encoded */
        if (!(enc->recon_mm[a] > 0) && enc->recon[a] > 0 && enc->encoded[a] > 0 && enc->encoded_mm[a] > 0)
            enc->recon_mm[a] = enc->encoded_mm[a] / (double)enc->encoded[a] * (double)enc->recon[a];
    for (int a = 0; a < 3; a++) {
        const xmlNode *limit = child(child(e, "encodingLimits"), step_name[a]);
        enc->limit[a].centre = -1;
        if (get_long(child(limit, "minimum"), 0, USHRT_MAX, &enc->limit[a].min) || get_long(child(limit, "maximum"), 0, USHRT_MAX, &enc->limit[a].max)
            || get_long(child(limit, "center"), 0, USHRT_MAX, &enc->limit[a].centre))
            return kr_error_code();
        enc->limit[a].known = limit && enc->limit[a].centre >= 0;
        if (enc->limit[a].centre < 0)           /* without a centre it is taken in the middle */
            enc->limit[a].centre = enc->encoded[a] / 2;
    }
    const xmlNode *parallel = child(e, "parallelImaging"), *factor = child(parallel, "accelerationFactor");
    for (int a = 0; a < 2; a++)
        if (get_long(child(factor, step_name[a + 1]), 0, USHRT_MAX, &enc->accel[a]))
            return kr_error_code();
    text_of(child(parallel, "calibrationMode"), to->calibration, sizeof to->calibration);
    text_of(child(e, "trajectory"), enc->trajectory, sizeof enc->trajectory);
    if (!strcmp(enc->trajectory, "epi") || !strcmp(enc->trajectory, "cartesian"))
        read_ramp(child(e, "trajectoryDescription"), &enc->ramp);
    return 0;
}

/* ---- Sentences about the measurement: header element -> meta key ---- */
static const struct { const char *group, *element, *key; } meta_table[] = {
    { "measurementInformation", "protocolName", "protocol" },
    { "measurementInformation", "sequenceName", "sequence" },
    { "measurementInformation", "seriesDescription", "series" },
    { "measurementInformation", "measurementID", "measurement_id" },
    { "measurementInformation", "patientPosition", "patient_position" },
    { "studyInformation", "studyDate", "study_date" },
    { "studyInformation", "studyTime", "study_time" },
    { "studyInformation", "studyDescription", "study" },
    { "studyInformation", "bodyPartExamined", "body_part" },
    { "acquisitionSystemInformation", "systemVendor", "vendor" },
    { "acquisitionSystemInformation", "systemModel", "model" },
    { "acquisitionSystemInformation", "systemFieldStrength_T", "field_T" },
    { "acquisitionSystemInformation", "institutionName", "institution" },
    { "acquisitionSystemInformation", "stationName", "station" },
    { "experimentalConditions", "H1resonanceFrequency_Hz", "larmor_Hz" },
    { "sequenceParameters", "TR", "tr_ms" },
    { "sequenceParameters", "TE", "te_ms" },
    { "sequenceParameters", "TI", "ti_ms" },
    { "sequenceParameters", "flipAngle_deg", "flip_deg" },
    { "sequenceParameters", "sequence_type", "sequence_type" },
    { "sequenceParameters", "echo_spacing", "echo_spacing_ms" },
};
enum { META = sizeof meta_table / sizeof *meta_table };

/* "219.639999" and "1.620000" are floats that %f printed: fewer digits say the same. */
static void short_number(char *text, size_t size)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !isfinite(x))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        char b[40];
        snprintf(b, sizeof b, "%.*g", digits, x);
        if ((float)strtod(b, NULL) == (float)x) {
            snprintf(text, size, "%s", b);
            return;
        }
    }
}

static int read_meta(kr_meta *meta, const xmlNode *root)
{
    for (int i = 0; i < META; i++) {
        bool sequence = !strcmp(meta_table[i].group, "sequenceParameters");
        kr_text all = { 0 };
        char b[512];
        for (xmlNode *n = child(child(root, meta_table[i].group), meta_table[i].element); n; n = next_named(n->next, meta_table[i].element)) {
            text_of(n, b, sizeof b);
            if (sequence || !strcmp(meta_table[i].key, "field_T"))
                short_number(b, sizeof b);
            if (*b)
                kr_text_add(&all, "%s%s", all.len ? " " : "", b);
        }
        int e = all.failed || (all.len && kr_meta_set(meta, meta_table[i].key, "%s", all.s)) ? kr_error_code() : 0;
        kr_text_clear(&all);
        if (e)
            return e;
    }
    const xmlNode *m = child(root, "measurementInformation");
    for (xmlNode *d = child(m, "measurementDependency"); d; d = next_named(d->next, "measurementDependency")) {
        char type[64], id[256];
        text_of(child(d, "dependencyType"), type, sizeof type);
        text_of(child(d, "measurementID"), id, sizeof id);
        if (!strcasecmp(type, "noise") && *id && kr_meta_set(meta, "noise_measurement", "%s", id))
            return kr_error_code();
    }
    return 0;
}

int kr_mrd_header_parse(kr_scan *s, const char *xml)
{
    scoped_doc doc = parse(xml);
    if (!doc)
        return kr_error_code();
    const xmlNode *root = xmlDocGetRootElement(doc), *e = child(root, "encoding");
    const xmlNode *bandwidth = child(child(root, "acquisitionSystemInformation"), "relativeReceiverNoiseBandwidth");
    kr_mrd_encoding first;
    if (!e)
        return kr_fail(KR_EFORMAT, "the ISMRMRD header has no <encoding>");
    if (read_encoding(e, &first) || read_meta(s->meta, root))
        return kr_error_code();
    if (first.rounded)
        kr_scan_note(s, "the header gives matrix sizes that are not whole, or 0 along z; they are taken as %ld x %ld x %ld, image %ld x %ld x %ld", first.enc.encoded[0],
                     first.enc.encoded[1], first.enc.encoded[2], first.enc.recon[0], first.enc.recon[1], first.enc.recon[2]);
    if (*first.calibration && kr_meta_set(s->meta, "calibration_mode", "%s", first.calibration))
        return kr_error_code();
    char b[64];
    double x = strtod(text_of(bandwidth, b, sizeof b), NULL);
    char *copy = kr_strdup(xml);
    if (!copy)
        return kr_error_code();
    kr_free(s->header_xml);
    s->header_xml = copy;
    s->noise_bandwidth = x > 0 && isfinite(x) ? x : 0;
    s->enc = first.enc;
    memcpy(s->geom->fov_mm, s->enc.recon_mm, sizeof s->geom->fov_mm);
    const xmlNode *multiband = child(child(e, "parallelImaging"), "multiband");
    return multiband ? read_multiband(s, multiband) : 0;
}

int kr_mrd_header_encodings(const char *xml, kr_mrd_encoding *encoding, int room)
{
    scoped_doc doc = parse(xml);
    if (!doc)
        return kr_error_code();
    int count = 0;
    for (xmlNode *e = child(xmlDocGetRootElement(doc), "encoding"); e; e = next_named(e->next, "encoding"), count++)
        if (count < room && read_encoding(e, &encoding[count]))
            return kr_error_code();
    return count ? count : kr_fail(KR_EFORMAT, "the ISMRMRD header has no <encoding>");
}

int kr_mrd_header_counters(const char *xml, long most[6])
{
    static const char *const name[6] = { "slice", "contrast", "phase", "set", "repetition", "average" };
    scoped_doc doc = parse(xml);
    const xmlNode *limits = doc ? child(child(xmlDocGetRootElement(doc), "encoding"), "encodingLimits") : NULL;
    for (int k = 0; doc && k < 6; k++) {
        most[k] = -1;
        if (get_long(child(child(limits, name[k]), "maximum"), 0, USHRT_MAX, &most[k]))
            return kr_error_code();
    }
    return doc ? 0 : kr_error_code();
}

/* ---- Writing ---- */
typedef struct writer { xmlNs *ns; bool failed; } writer;       /* failed: libxml2 had no memory */

/* The schema fixes the order of elements. */
static const char *const in_header[] = { "version", "subjectInformation", "studyInformation", "measurementInformation",
    "acquisitionSystemInformation", "experimentalConditions", "encoding", "sequenceParameters", "userParameters", "waveformInformation", NULL };
static const char *const in_system[] = { "systemVendor", "systemModel", "systemFieldStrength_T", "relativeReceiverNoiseBandwidth",
    "receiverChannels", "coilLabel", "institutionName", "stationName", "deviceID", "deviceSerialNumber", NULL };
static const char *const in_encoding[] = { "encodedSpace", "reconSpace", "encodingLimits", "trajectory", "trajectoryDescription",
    "parallelImaging", "echoTrainLength", NULL };
static const char *const in_space[] = { "matrixSize", "fieldOfView_mm", NULL };
static const char *const in_limits[] = { "kspace_encoding_step_0", "kspace_encoding_step_1", "kspace_encoding_step_2", "average", "slice",
    "contrast", "phase", "repetition", "set", "segment", NULL };

static int rank(const char *const *order, const char *name)
{
    int i = 0;
    while (order[i] && strcmp(order[i], name))
        i++;
    return i;
}

/* A new child in its place; `order` NULL: the last one. */
static xmlNode *add(writer *w, xmlNode *parent, const char *name, const char *const *order)
{
    xmlNode *n = parent ? xmlNewDocNode(parent->doc, w->ns, (const xmlChar *)name, NULL) : NULL;
    w->failed |= !n;
    for (xmlNode *c = n && order ? parent->children : NULL; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE && rank(order, (const char *)c->name) > rank(order, name))
            return xmlAddPrevSibling(c, n);
    return n ? xmlAddChild(parent, n) : NULL;
}

/* The child of that name, made where it is missing. */
static xmlNode *need(writer *w, xmlNode *parent, const char *name, const char *const *order)
{
    xmlNode *n = child(parent, name);
    return n ? n : add(w, parent, name, order);
}

static void set_text(writer *w, xmlNode *n, const char *text)
{
    xmlChar *safe = n ? xmlEncodeSpecialChars(NULL, (const xmlChar *)text) : NULL;
    w->failed |= !safe;
    if (safe)
        xmlNodeSetContent(n, safe);
    xmlFree(safe);
}

/* Left as it is where it already says so. */
static void set_number(writer *w, xmlNode *n, double x)
{
    char b[64];
    if (n && n->children && (float)strtod(text_of(n, b, sizeof b), NULL) == (float)x)
        return;
    snprintf(b, sizeof b, "%.9g", x);
    set_text(w, n, b);
}

static long length(const kr_scan *s, int axis) { return s->shape.n[axis] > 1 ? s->shape.n[axis] : 1; }

/* Those that counters count: of single-band references, too. */
static long slices(const kr_scan *s) { return length(s, KR_SLICE) * (kr_is_multiband(s) ? s->multiband.factor : 1); }

/* Is nothing measured in the first `rows` rows along the axis? */
static bool front_empty(const kr_array *mask, int axis, long rows)
{
    for (long i = 0; i < rows; i++) {
        kr_scoped(array) row = mask && mask->n[axis] > i ? kr_array_at(mask, axis, i) : NULL;
        if (!row || kr_max_abs(row) > 0)
            return false;
    }
    return true;
}

long kr_mrd_centre(const kr_scan *s, int axis)
{
    long n = length(s, axis), calib = s->calib ? s->calib->n[axis] : 1, centre = s->enc.limit[axis].centre;
    if (s->enc.limit[axis].known && centre <= USHRT_MAX / 2 && front_empty(s->mask, axis, n / 2 - centre)
        && (!s->calib || front_empty(s->calib_mask, axis, calib / 2 - centre)))
        return centre;
    return n > calib ? n / 2 : calib / 2;
}

static void write_space(writer *w, xmlNode *space, const long n[3], const double mm[3])
{
    for (int a = 0; a < 3; a++) {
        set_number(w, need(w, need(w, space, "matrixSize", in_space), xyz[a], xyz), (double)n[a]);
        set_number(w, need(w, need(w, space, "fieldOfView_mm", in_space), xyz[a], xyz), mm[a]);
    }
}

static void write_limit(writer *w, xmlNode *limits, const char *name, long min, long max, long centre)
{
    static const char *const order[] = { "minimum", "maximum", "center", NULL };
    xmlNode *l = need(w, limits, name, in_limits);
    set_number(w, need(w, l, "minimum", order), (double)min);
    set_number(w, need(w, l, "maximum", order), (double)max);
    set_number(w, need(w, l, "center", order), (double)centre);
}

static void write_user(writer *w, xmlNode *parent, const char *type, const char *name, double v)
{
    static const char *const order[] = { "name", "value", NULL }, *const all[] = { "identifier", "userParameterLong", "userParameterDouble", NULL };
    xmlNode *n = add(w, parent, type, all);
    set_text(w, need(w, n, "name", order), name);
    set_number(w, need(w, n, "value", order), v);
}

/* Only where there is none: then the header did not come from ISMRMRD. Samples are spread evenly over the time. */
static void write_ramp(writer *w, xmlNode *e, const kr_scan *s)
{
    const kr_ramp *r = &s->enc.ramp;
    if (!(r->read_us > 0) || r->sine || child(e, "trajectoryDescription"))
        return;
    xmlNode *d = need(w, e, "trajectoryDescription", in_encoding);
    set_text(w, need(w, d, "identifier", NULL), "ConventionalEPI");
    for (int i = 0; i < RAMP; i++)
        write_user(w, d, ramp_table[i].type, ramp_table[i].name, *(const double *)(const void *)((const char *)r + ramp_table[i].at));
    write_user(w, d, "userParameterLong", "numSamples", (double)length(s, KR_X));
    write_user(w, d, "userParameterDouble", "dwellTime", r->read_us / (double)length(s, KR_X));
}

/* Positions of the slices of a band relative to its first. */
static void write_multiband(writer *w, xmlNode *parallel, const kr_multiband *b)
{
    static const char *const order[] = { "spacing", "deltaKz", "multiband_factor", "calibration", "calibration_encoding", NULL };
    double distance = b->distance_mm > 0 ? b->distance_mm : 1;
    xmlNode *m = need(w, parallel, "multiband", NULL), *spacing = child(m, "spacing");
    if (!spacing) {
        spacing = need(w, m, "spacing", order);
        for (long j = 0; j < b->factor; j++)
            set_number(w, add(w, spacing, "dZ", NULL), (double)j * distance);
    }
    set_number(w, need(w, m, "deltaKz", order), labs(b->shift) > 1 ? 1 / ((double)b->shift * distance) : 0);
    set_number(w, need(w, m, "multiband_factor", order), (double)b->factor);
    set_text(w, need(w, m, "calibration", order), "separable2D");
    set_number(w, need(w, m, "calibration_encoding", order), 0);
}

static void write_encoding(writer *w, xmlNode *e, const kr_scan *s)
{
    static const struct { const char *name; int axis; } counter[] = { { "average", KR_AVG }, { "slice", KR_SLICE }, { "contrast", KR_ECHO },
        { "phase", KR_PHASE }, { "repetition", KR_TIME }, { "set", KR_SET } };
    bool grid = length(s, KR_SAMPLE) == 1 && length(s, KR_VIEW) == 1;
    long encoded[3], recon[3];
    double encoded_mm[3], recon_mm[3];
    for (int a = 0; a < 3; a++) {
        bool samples = a == 0 && s->enc.ramp.read_us > 0;    /* lines are longer or shorter than the grid they come to */
        encoded[a] = (grid && !samples) || s->enc.encoded[a] < 1 ? length(s, a) : s->enc.encoded[a];
        recon[a] = s->enc.recon[a] > 0 ? s->enc.recon[a] : encoded[a];
        recon_mm[a] = s->enc.recon_mm[a] > 0 ? s->enc.recon_mm[a] : s->geom->fov_mm[a];
        if (!(recon_mm[a] > 0))                            /* peers divide by it: unknown voxels are 1 mm wide */
            recon_mm[a] = (double)recon[a];
        encoded_mm[a] = s->enc.encoded_mm[a] > 0 ? s->enc.encoded_mm[a] : recon_mm[a] / (double)recon[a] * (double)encoded[a];
    }
    write_space(w, need(w, e, "encodedSpace", in_encoding), encoded, encoded_mm);
    write_space(w, need(w, e, "reconSpace", in_encoding), recon, recon_mm);
    xmlNode *limits = need(w, e, "encodingLimits", in_encoding);
    if (grid) {
        write_limit(w, limits, step_name[0], 0, encoded[0] - 1, encoded[0] / 2);
        for (int a = 1; a < 3; a++) {
            long centre = kr_mrd_centre(s, a), first = centre - encoded[a] / 2, last = encoded[a] - 1 + first;
            if (s->enc.limit[a].known && centre == s->enc.limit[a].centre) {
                first = s->enc.limit[a].min;
                last = s->enc.limit[a].max < last ? s->enc.limit[a].max : last;
            }
            write_limit(w, limits, step_name[a], first > 0 ? first : 0, last > first ? last : first, centre);
        }
    }
    for (size_t i = 0; i < sizeof counter / sizeof *counter; i++)
        write_limit(w, limits, counter[i].name, 0, (counter[i].axis == KR_SLICE ? slices(s) : length(s, counter[i].axis)) - 1, 0);
    if (!child(e, "trajectory"))
        set_text(w, need(w, e, "trajectory", in_encoding), *s->enc.trajectory ? s->enc.trajectory : grid ? "cartesian" : "other");
    write_ramp(w, e, s);
    if (!child(e, "parallelImaging") && (s->enc.accel[0] > 0 || s->enc.accel[1] > 0 || kr_is_multiband(s))) {
        xmlNode *parallel = need(w, e, "parallelImaging", in_encoding), *factor = need(w, parallel, "accelerationFactor", NULL);
        for (int a = 0; a < 2; a++)
            set_number(w, need(w, factor, step_name[a + 1], NULL), (double)(s->enc.accel[a] > 0 ? s->enc.accel[a] : 1));
        const char *mode = kr_meta_get(s->meta, "calibration_mode");
        set_text(w, need(w, parallel, "calibrationMode", NULL), mode ? mode : s->calib ? "separate" : "embedded");
    }
    if (kr_is_multiband(s))
        write_multiband(w, need(w, e, "parallelImaging", in_encoding), &s->multiband);
}

/* What meta tells, where there was no header. measurementInformation needs a patientPosition. */
static void write_meta(writer *w, xmlNode *root, const kr_meta *meta)
{
    static const char *const measurement[] = { "measurementID", "patientPosition", "protocolName", "sequenceName", "seriesDescription", NULL };
    static const char *const study[] = { "studyDate", "studyTime", "studyDescription", "bodyPartExamined", NULL };
    static const char *const positions = " HFS HFP HFDR HFDL FFS FFP FFDR FFDL ";
    for (int i = 0; i < META; i++) {
        const char *group = meta_table[i].group, *value = kr_meta_get(meta, meta_table[i].key);
        const char *const *order = *group == 'm' ? measurement : !strcmp(group, "studyInformation") ? study : *group == 'a' ? in_system : NULL;
        bool position = !strcmp(meta_table[i].key, "patient_position"), many = !strcmp(group, "sequenceParameters");
        kr_auto char *word = kr_strf(" %s ", value ? value : "");
        if (position && (child(root, group) || value) && !(word && strstr(positions, word)))
            value = "HFS";
        for (const char *p = value; p && *p; ) {
            char b[512];
            size_t n = many ? strcspn(p, " ") : strlen(p);
            snprintf(b, sizeof b, "%.*s", (int)n, p);
            set_text(w, add(w, need(w, root, group, in_header), meta_table[i].element, order), b);
            p += n + strspn(p + n, " ");
        }
    }
    xmlNode *m = child(root, "measurementInformation");
    if (m && !child(m, "patientPosition"))
        set_text(w, need(w, m, "patientPosition", measurement), "HFS");
}

static xmlDoc *blank(writer *w)
{
    xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = doc ? xmlNewNode(NULL, (const xmlChar *)"ismrmrdHeader") : NULL;
    if (root) {
        xmlDocSetRootElement(doc, root);
        w->ns = xmlNewNs(root, (const xmlChar *)namespace_uri, NULL);
        xmlSetNs(root, w->ns);
    }
    w->failed |= !root || !w->ns;
    return doc;
}

char *kr_mrd_header_write(const kr_scan *s)
{
    writer w = { 0 };
    scoped_doc doc = s->header_xml ? parse(s->header_xml) : blank(&w);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!root) {
        if (!s->header_xml)
            kr_fail(KR_EMEM, "no memory for an ISMRMRD header");
        return NULL;
    }
    w.ns = root->ns;
    if (!s->header_xml)
        write_meta(&w, root, s->meta);
    xmlNode *system = need(&w, root, "acquisitionSystemInformation", in_header);
    if (s->noise_bandwidth > 0)
        set_number(&w, need(&w, system, "relativeReceiverNoiseBandwidth", in_system), s->noise_bandwidth);
    set_number(&w, need(&w, system, "receiverChannels", in_system), (double)length(s, KR_COIL));
    long labels = 0;
    for (xmlNode *c = child(system, "coilLabel"); c; c = next_named(c->next, "coilLabel"))
        labels++;
    while (labels && labels != length(s, KR_COIL)) {       /* virtual coils have no names */
        xmlNode *c = child(system, "coilLabel");
        if (!c)
            break;
        xmlUnlinkNode(c);
        xmlFreeNode(c);
    }
    xmlNode *conditions = need(&w, root, "experimentalConditions", in_header), *larmor = need(&w, conditions, "H1resonanceFrequency_Hz", NULL);
    if (larmor && !larmor->children) {
        char b[32];
        snprintf(b, sizeof b, "%.0f", 42577478.5 * kr_meta_number(s->meta, "field_T", 0));   /* proton gamma / 2 pi, CODATA 2018 */
        set_text(&w, larmor, b);
    }
    write_encoding(&w, need(&w, root, "encoding", in_header), s);
    xmlChar *text = NULL;
    int bytes = 0;
    if (!w.failed)
        xmlDocDumpFormatMemoryEnc(doc, &text, &bytes, "UTF-8", 1);
    char *out = text ? kr_strdup((const char *)text) : NULL;
    if (!text)
        kr_fail(KR_EMEM, "no memory for an ISMRMRD header");
    xmlFree(text);
    return out;
}

/* ---- Attributes of images ---- */
int kr_mrd_meta_parse(kr_meta *meta, const char *xml)
{
    size_t n = strlen(xml);
    scoped_doc doc = n && n <= HEADER_MOST ? xmlReadMemory(xml, (int)n, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING) : NULL;
    const xmlNode *root = doc && !doc->intSubset ? xmlDocGetRootElement(doc) : NULL;
    for (xmlNode *m = child(root, "meta"); m; m = next_named(m->next, "meta")) {
        kr_text all = { 0 };
        kr_auto char *name = kr_alloc(256, 1), *value = kr_alloc(1 << 16, 1);
        if (!name || !value)
            return kr_error_code();
        text_of(child(m, "name"), name, 256);
        for (xmlNode *v = child(m, "value"); v; v = next_named(v->next, "value"))
            kr_text_add(&all, "%s%s", all.len ? " " : "", text_of(v, value, 1 << 16));
        int e = all.failed || (*name && kr_meta_set(meta, name, "%s", all.s ? all.s : "")) ? kr_error_code() : 0;
        kr_text_clear(&all);
        if (e)
            return e;
    }
    return 0;
}

static void escaped(kr_text *to, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p == '&' || *p == '<' || *p == '>')
            kr_text_add(to, *p == '&' ? "&amp;" : *p == '<' ? "&lt;" : "&gt;");
        else if (*p >= ' ' || *p == '\t' || *p == '\n')
            kr_text_put(to, (const char *)p, 1);
}

void kr_mrd_meta_add(kr_text *xml, const char *name, const char *const *value, int values)
{
    kr_text_add(xml, "<meta><name>");
    escaped(xml, name);
    kr_text_add(xml, "</name>");
    for (int i = 0; i < values; i++) {
        kr_text_add(xml, "<value>");
        escaped(xml, value[i]);
        kr_text_add(xml, "</value>");
    }
    kr_text_add(xml, "</meta>");
}
