/* fmt_twix.c: Siemens raw data (twix, meas.dat) of VB and of VD, VE and later: read only.
 * VD and later: u32 id, u32 count, then 152 bytes per measurement (u32 measurement, u32 file, u64 from, u64 bytes, 64 bytes of
 * patient, 64 of protocol); VB is one measurement from byte 0. A measurement: u32 length of the header, the header
 * (twix_text.h), then readouts until one flagged as the end. VD: 192 bytes of head, then per channel 32 bytes and the samples; VB:
 * per channel the whole head of 128 bytes and the samples. Samples are pairs of floats.
 * Sources: pehses/twixtools (mdh_def.py, hdr_def.py); ismrmrd/siemens_to_ismrmrd (main.cpp, siemensraw.h), whose way of saying
 * the same in ISMRMRD's words is taken over: flags, counters, directions, dwell time of noise. */
#include "kray/io.h"
#include "file.h"
#include "twix_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRY = 152, MEASUREMENTS_MOST = 64, VB_HEAD = 128, VD_HEAD = 192, VD_CHANNEL = 32, HEADER_LEAST = 64, CHANNELS_MOST = 1024 };

/* ---- The file: measurements in it ---- */
typedef struct measurement { int64_t from, bytes, data; char protocol[65]; } measurement;      /* data: first readout */
typedef struct twix { int fd; int64_t bytes; bool vb; int count; measurement m[MEASUREMENTS_MOST]; } twix;

static uint16_t u16(const unsigned char *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static uint32_t u32(const unsigned char *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t u64(const unsigned char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static float f32(const unsigned char *p) { float v; memcpy(&v, p, 4); return v; }

/* A measurement's header starts with its length, the number of texts, and the first one's name. */
static bool header_here(const unsigned char *p)
{
    uint32_t length = u32(p), texts = u32(p + 4);
    size_t n = 0;
    while (n < 20 && ((p[8 + n] | 32) >= 'a' && (p[8 + n] | 32) <= 'z'))
        n++;
    return length >= HEADER_LEAST && length <= 1u << 28 && texts >= 1 && texts <= KR_TWIX_TEXTS && n && !p[8 + n];
}

static bool entries_here(const unsigned char *p)
{
    return u32(p) < 10000 && u32(p + 4) >= 1 && u32(p + 4) <= MEASUREMENTS_MOST;
}

static int open_measurement(twix *t, measurement *m, const char *what)
{
    unsigned char head[32];
    if (m->from < 0 || m->from > t->bytes - (int64_t)sizeof head || m->bytes < (int64_t)sizeof head || m->bytes > t->bytes - m->from)
        return kr_fail(KR_EFORMAT, "%s shall have %lld bytes from byte %lld on, but the file has %lld: it is truncated", what,
                       (long long)m->bytes, (long long)m->from, (long long)t->bytes);
    if (kr_file_read(t->fd, head, sizeof head, m->from))
        return kr_error_code();
    if (!header_here(head))
        return kr_fail(KR_EFORMAT, "there is no header of a measurement at byte %lld", (long long)m->from);
    if (u32(head) > m->bytes)
        return kr_fail(KR_EFORMAT, "the header of %s has %u bytes, all of it %lld: the file is truncated", what, u32(head), (long long)m->bytes);
    m->data = m->from + u32(head);
    return 0;
}

static int open_twix(twix *t, const char *path)
{
    unsigned char head[32] = { 0 }, entry[ENTRY];
    t->fd = kr_file_open(path, &t->bytes);
    if (t->fd < 0)
        return t->fd;
    if (t->bytes < (int64_t)sizeof head || kr_file_read(t->fd, head, sizeof head, 0))
        return kr_fail(KR_EFORMAT, "%lld bytes are too few for Siemens raw data", (long long)t->bytes);
    t->vb = header_here(head);
    if (!t->vb && !entries_here(head))
        return kr_fail(KR_EFORMAT, "neither a header nor a list of measurements is at the beginning");
    t->count = t->vb ? 1 : (int)u32(head + 4);
    if (t->vb) {
        t->m[0] = (measurement){ .bytes = t->bytes };
        return open_measurement(t, &t->m[0], "the measurement");
    }
    for (int k = 0; k < t->count; k++) {
        char what[40];
        snprintf(what, sizeof what, "measurement %d of %d", k + 1, t->count);
        if (8 + (k + 1) * ENTRY > t->bytes)
            return kr_fail(KR_EFORMAT, "the file ends within its list of %d measurements", t->count);
        if (kr_file_read(t->fd, entry, ENTRY, 8 + k * ENTRY))
            return kr_error_code();
        t->m[k].from = u64(entry + 8) > INT64_MAX ? -1 : (int64_t)u64(entry + 8);
        t->m[k].bytes = u64(entry + 16) > INT64_MAX ? -1 : (int64_t)u64(entry + 16);
        memcpy(t->m[k].protocol, entry + 88, 64);
        if (open_measurement(t, &t->m[k], what))
            return kr_error_code();
    }
    return 0;
}

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    unsigned char there[32];
    int64_t length = 0, at = bytes >= 160 && entries_here(head) && u64(head + 16) < INT64_MAX ? (int64_t)u64(head + 16) : 0;
    if (bytes < sizeof there || header_here(head) || !at)
        return bytes >= sizeof there && header_here(head) ? 80 : 0;
    int fd = kr_file_open(path, &length), sure = 0;
    if (fd >= 0 && at <= length - (int64_t)sizeof there && !kr_file_read(fd, there, sizeof there, at))
        sure = header_here(there) ? 90 : 0;
    if (fd >= 0)
        close(fd);
    kr_error_clear();
    return sure;
}

/* ---- Readouts ---- */
/* Bits of the evaluation mask; FLAG counts as ISMRMRD does. */
enum { ACQEND = 0, RTFEEDBACK = 1, HPFEEDBACK = 2, SYNCDATA = 5, RAWCORRECTION = 10, LASTINMEAS = 11, REFPHASESTAB = 14, PHASESTAB = 15,
       SIGNREV = 17, PHASCOR = 21, PATREF = 22, PATREFANDIMA = 23, REFLECT = 24, NOISEADJ = 25, FIRSTINSLICE = 28, LASTINSLICE = 29,
       SLICE_REF = 38, SLICE_PHASCOR = 39, RETRO_END = 46, RETRO_DUMMY = 51, SKIP_REGRIDDING = 55 };
#define FLAG(n) (1ull << ((n) - 1))
static const struct { int bit; uint64_t flags; } flag_table[] = {
    { NOISEADJ, FLAG(19) }, { FIRSTINSLICE, FLAG(7) }, { LASTINSLICE, FLAG(8) }, { LASTINMEAS, FLAG(14) | FLAG(25) }, { RETRO_END, FLAG(25) },
    { REFLECT, FLAG(22) }, { PHASCOR, FLAG(24) }, { SLICE_REF, FLAG(20) }, { SLICE_PHASCOR, FLAG(24) }, { RTFEEDBACK, FLAG(23) | FLAG(28) }, { HPFEEDBACK, FLAG(26) }, { RETRO_DUMMY, FLAG(27) },
    { REFPHASESTAB, FLAG(30) }, { PHASESTAB, FLAG(31) } };

/* Where a readout's samples are: channel c from at + c step. fix: the receiver's frequency is to be set right (below). */
typedef struct place { int64_t at, step; bool fix; } place;
typedef struct readouts {
    kr_line *line;
    place *place;
    float *offset_mm;                /* of the middle of the field of view, along the readout */
    long count, room, sync, signs, corrections, bands;
    long centre[2];                  /* line and partition of the centre, of the first imaging line; -1: none yet */
    bool ended;
} readouts;

static void readouts_clear(readouts *r)
{
    kr_free(r->line);
    kr_free(r->place);
    kr_free(r->offset_mm);
    *r = (readouts){ 0 };
}

static int make_place(readouts *r)
{
    if (r->count < r->room)
        return 0;
    long room = r->room ? 2 * r->room : 256;
    kr_line *line = kr_realloc(r->line, (size_t)r->room, (size_t)room, sizeof *line);
    r->line = line ? line : r->line;
    place *where = line ? kr_realloc(r->place, (size_t)r->room, (size_t)room, sizeof *where) : NULL;
    r->place = where ? where : r->place;
    float *offset = where ? kr_realloc(r->offset_mm, (size_t)r->room, (size_t)room, sizeof *offset) : NULL;
    r->offset_mm = offset ? offset : r->offset_mm;
    if (!offset)
        return kr_error_code();
    r->room = room;
    return 0;
}

/* Columns of the rotation matrix of the unit quaternion (w, x, y, z): phase, readout, slice. All zero where it is none. */
static void directions(kr_line *l, const unsigned char *q)
{
    double w = f32(q), x = f32(q + 4), y = f32(q + 8), z = f32(q + 12), n = w * w + x * x + y * y + z * z;
    if (!(fabs(n - 1) < 0.01))
        return;
    const double m[3][3] = { { 1 - 2 * (y * y + z * z) / n, 2 * (x * y - w * z) / n, 2 * (x * z + w * y) / n },
                             { 2 * (x * y + w * z) / n, 1 - 2 * (x * x + z * z) / n, 2 * (y * z - w * x) / n },
                             { 2 * (x * z - w * y) / n, 2 * (y * z + w * x) / n, 1 - 2 * (x * x + y * y) / n } };
    for (int k = 0; k < 3; k++) {
        l->phase_dir[k] = (float)m[k][0];
        l->read_dir[k] = (float)m[k][1];
        l->slice_dir[k] = (float)m[k][2];
    }
}

/* The head of VD from `h`; VB's is the same but for what lies in between (40 - 20 bytes) and how long two lists are. */
static kr_line line_of(const unsigned char *h, bool vb)
{
    const unsigned char *v = vb ? h + 20 : h + 40, *more = vb ? h + 80 : h + 128;         /* evaluation mask; user parameters */
    uint64_t eval = u64(v);
    kr_line l = { .uid = u32(h + 4), .counter = u32(h + 8), .time_stamp = u32(h + 12), .physio = { u32(h + 16) }, .samples = u16(v + 8),
                  .channels = u16(v + 10), .ky = u16(v + 12), .average = u16(v + 14), .slice = u16(v + 16), .kz = u16(v + 18),
                  .contrast = u16(v + 20), .phase = u16(v + 22), .repetition = u16(v + 24), .set = u16(v + 26), .segment = u16(v + 28),
                  .discard_pre = u16(v + 40), .discard_post = u16(v + 42), .center_sample = u16(v + 44) };
    for (int k = 0; k < 5; k++)
        l.user[k] = u16(v + 30 + 2 * k);
    l.user[5] = u16(v + 56);                                 /* centre line and partition */
    l.user[6] = u16(v + 58);
    for (int k = 0; k < 3; k++) {
        l.position[k] = f32((vb ? h + 96 : h + 100) + 4 * k);
        l.table[k] = vb ? 0 : (float)(int32_t)u32(h + 24 + 4 * k);
    }
    directions(&l, vb ? h + 108 : h + 112);
    for (int k = 0; k < (vb ? 4 : 7); k++)
        l.user_int[k] = u16(more + 2 * k);
    l.user_int[7] = (int32_t)u32(v + 52);                    /* time since the last pulse */
    for (size_t i = 0; i < sizeof flag_table / sizeof *flag_table; i++)
        if (eval >> flag_table[i].bit & 1)
            l.flags |= flag_table[i].flags;
    l.flags |= eval >> PATREFANDIMA & 1 ? FLAG(21) : eval >> PATREF & 1 ? FLAG(20) : 0;
    return l;
}

/* One readout at `at`: its length in bytes, or a refusal. VB: `n` channels follow each other, each with a head of its own. */
static int64_t take(readouts *r, const unsigned char *h, bool vb, int64_t at, int64_t left)
{
    const unsigned char *v = vb ? h + 20 : h + 40;
    uint64_t eval = u64(v);
    int64_t head = vb ? VB_HEAD : VD_HEAD, dma = u32(h) & 0x1ffffff;
    if (eval >> ACQEND & 1) {
        r->ended = true;
        return left;
    }
    if (eval >> SYNCDATA & 1) {
        r->sync++;
        return dma < head ? kr_fail(KR_EFORMAT, "synchronisation data of %lld bytes at byte %lld", (long long)dma, (long long)at) : dma;
    }
    kr_line l = line_of(h, vb);
    if (!l.channels || l.channels > CHANNELS_MOST)
        return kr_fail(KR_EFORMAT, "the readout at byte %lld has %d channels", (long long)at, l.channels);
    int64_t step = 8 * (int64_t)l.samples + (vb ? VB_HEAD : VD_CHANNEL), bytes = l.channels * step + (vb ? 0 : VD_HEAD);
    if (bytes > left)
        return kr_fail(KR_EFORMAT, "readout %ld, of %d channels with %d samples, needs %lld bytes, but the measurement ends after %lld: the file is truncated",
                       r->count + 1, l.channels, l.samples, (long long)bytes, (long long)left);
    if (make_place(r))
        return kr_error_code();
    r->signs += eval >> SIGNREV & 1;
    r->corrections += eval >> RAWCORRECTION & 1;
    r->bands += eval >> SLICE_REF & 1;
    if (kr_line_kind_of(l.flags) == KR_LINES_IMAGING && r->centre[0] < 0) {
        r->centre[0] = l.user[5];
        r->centre[1] = l.user[6];
    }
    r->line[r->count] = l;
    r->offset_mm[r->count] = f32(v + 48);
    r->place[r->count++] = (place){ at + (vb ? VB_HEAD : VD_HEAD + VD_CHANNEL), step, !(eval >> SKIP_REGRIDDING & 1) };
    return bytes;
}

/* Heads of all readouts of a measurement. They are spread over the file; pieces of it are read, and heads looked for in them. */
static int read_heads(readouts *r, const twix *t, const measurement *m, const kr_trace *trace)
{
    enum { PIECE_BYTES = 8 << 20 };
    int64_t end = m->from + m->bytes, at = m->data, from = 0, held = 0, head = t->vb ? VB_HEAD : VD_HEAD;
    int64_t most = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
    kr_auto unsigned char *piece = kr_alloc(most > 0 ? (size_t)most : 1, 1);
    if (!piece)
        return kr_error_code();
    r->centre[0] = r->centre[1] = -1;
    while (!r->ended && at < end) {
        if (head > end - at) {
            if (!r->count || t->vb)
                return kr_fail(KR_EFORMAT, "the measurement ends within the head of readout %ld: the file is truncated", r->count + 1);
            break;                                           /* padding */
        }
        if (at < from || at + head > from + held) {
            if (kr_stopped(trace))
                return kr_error_code();
            from = at;
            held = end - at < most ? end - at : most;
            if (kr_file_read(t->fd, piece, (size_t)held, from))
                return kr_error_code();
        }
        int64_t bytes = take(r, piece + (at - from), t->vb, at, end - at);
        if (bytes < 0)
            return (int)bytes;
        at += bytes;
    }
    if (!r->ended)
        return kr_fail(KR_EFORMAT, "the measurement ends after %ld readouts without saying so: the file is truncated", r->count);
    return 0;
}

/* ---- Samples ---- */
/* While the gradient ramps, the frequency for a shifted field of view stays what it is on the flat top: each sample then has the
 * phase 2 pi x0 (k_flat - k) too much, which is taken back. Both k run along the line as it lies on the grid, mirrored where it was
 * reversed. x0 in mm, fov_mm that of all samples. */
typedef struct receiver { long n; double *k, flat, grid, fov_mm; } receiver;

static void set_right(const receiver *c, kr_cfloat *x, bool reversed, double offset_mm)
{
    for (long i = 0; i < c->n; i++) {
        long j = reversed ? c->n - 1 - i : i;
        double phase = 2 * M_PI * offset_mm / c->fov_mm * c->grid * (c->flat * ((double)j - 0.5 * (double)(c->n - 1)) - c->k[j]);
        x[i] = kr_cmul(x[i], kr_c((float)cos(phase), (float)sin(phase)));
    }
}

static int receiver_of(receiver *c, const kr_scan *s, long samples)
{
    *c = (receiver){ .n = samples, .grid = (double)s->enc.encoded[0], .fov_mm = s->enc.encoded_mm[0] };
    if (!(s->enc.ramp.read_us > 0) || !(c->fov_mm > 0) || samples < 2)
        return 0;
    c->k = kr_alloc((size_t)samples, sizeof *c->k);
    if (!c->k || kr_ramp_positions(&s->enc.ramp, samples, c->k))
        return kr_error_code();
    for (long i = 1; i < samples; i++)
        c->flat = fmax(c->flat, c->k[i] - c->k[i - 1]);
    return 0;
}

typedef struct job { const twix *t; const readouts *r; const receiver *receiver; kr_placing *p; } job;

/* VB: the channels' own heads must be those of the same readout. raw: from the first channel's samples on. */
static int check_channels(const kr_line *l, const unsigned char *raw, int64_t step, long number)
{
    for (int c = 1; c < l->channels; c++) {
        const unsigned char *h = raw + c * step - VB_HEAD;
        if (u32(h + 8) != l->counter || u16(h + 28) != l->samples)
            return kr_fail(KR_EFORMAT, "readout %ld has %d channels, but channel %d belongs to scan %u with %d samples, not to scan %u with %d", number + 1,
                           l->channels, c, u32(h + 8), u16(h + 28), l->counter, l->samples);
    }
    return 0;
}

/* Readouts from..from+count-1, of which the placing wants some; all together they have `values` samples. */
static int read_piece(const job *j, long from, long count, size_t values)
{
    kr_auto kr_cfloat *all = kr_alloc(values ? values : 1, sizeof *all);
    kr_auto const kr_cfloat **samples = kr_alloc_zero((size_t)count, sizeof *samples);
    if (!all || !samples)
        return kr_error_code();
    kr_cfloat *to = all;
    for (long i = 0; i < count; i++) {
        const kr_line *l = &j->r->line[from + i];
        const place *where = &j->r->place[from + i];
        if (!kr_placing_wants(j->p, from + i))
            continue;
        samples[i] = to;
        size_t bytes = (size_t)l->samples * sizeof *to, span = (size_t)(where->step * (l->channels - 1)) + bytes;
        kr_auto unsigned char *raw = kr_alloc(span ? span : 1, 1);
        if (!raw || kr_file_read(j->t->fd, raw, span, where->at) || (j->t->vb && check_channels(l, raw, where->step, from + i)))
            return kr_error_code();
        for (int c = 0; c < l->channels; c++, to += l->samples) {
            memcpy((void *)to, raw + c * where->step, bytes);
            if (j->receiver->k && where->fix && l->samples == j->receiver->n && fabsf(j->r->offset_mm[from + i]) > 0)
                set_right(j->receiver, to, l->flags & FLAG(22), (double)j->r->offset_mm[from + i]);
        }
    }
    return kr_placing_put(j->p, from, count, samples, NULL);
}

static int read_samples(const job *j, const kr_trace *trace)
{
    enum { MOST = 1 << 21 };                                 /* samples, 16 MiB */
    size_t values = 0;
    long from = 0;
    for (long i = 0; i < j->r->count; i++) {
        const kr_line *l = &j->r->line[i];
        size_t more = kr_placing_wants(j->p, i) ? (size_t)l->samples * l->channels : 0;
        if (i > from && (values + more > MOST || i - from >= 4096)) {
            kr_progress(trace, "reading", (double)i, (double)j->r->count);
            if (kr_stopped(trace) || read_piece(j, from, i - from, values))
                return kr_error_code();
            from = i;
            values = 0;
        }
        values += more;
    }
    return from < j->r->count ? read_piece(j, from, j->r->count - from, values) : 0;
}

/* ---- The header ---- */
static int meta_text(kr_scan *s, const char *key, const char *text)
{
    return *text ? kr_meta_set(s->meta, key, "%s", text) : 0;
}

/* Times in us, as milliseconds separated by blanks. */
static int meta_times(kr_scan *s, const kr_twix_text *t, const char *key, const char *list, long count)
{
    kr_text all = { 0 };
    for (long k = 0; k < count; k++) {
        char name[32];
        snprintf(name, sizeof name, "%s[%ld]", list, k);
        double v = kr_twix_number(t, name, 0);
        if (v > 0)
            kr_text_add(&all, "%s%.6g", all.len ? " " : "", v / 1000);
    }
    int e = all.failed ? kr_error_code() : all.len ? kr_meta_set(s->meta, key, "%s", all.s) : 0;
    kr_text_clear(&all);
    return e;
}

static int read_meta(kr_scan *s, const kr_twix_text *t, const measurement *m)
{
    static const struct { const char *key, *part, *name; } table[] = { { "sequence", NULL, "SequenceString" }, { "patient_position", "Meas", "tPatientPosition" },
        { "vendor", "Dicom", "Manufacturer" }, { "model", "Dicom", "ManufacturersModelName" }, { "software", "Dicom", "SoftwareVersions" },
        { "institution", "Dicom", "InstitutionName" }, { "body_part", "Dicom", "tBodyPartExamined" } };
    static const char *const calibration[] = { [2] = "embedded", [4] = "separate", [8] = "separate", [16] = "interleaved", [32] = "interleaved",
                                               [64] = "interleaved" };
    char text[200];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kr_twix_param_string(t, table[i].part, table[i].name, text, sizeof text);
        if (meta_text(s, table[i].key, text))
            return kr_error_code();
    }
    if (!kr_meta_get(s->meta, "vendor") && kr_meta_set(s->meta, "vendor", "SIEMENS"))   /* nobody else writes this format */
        return kr_error_code();
    kr_twix_string(t, "tProtocolName", text, sizeof text);
    double flip = kr_twix_number(t, "adFlipAngleDegree[0]", 0), field = kr_twix_param(t, "Meas", "flMagneticFieldStrength", 0, 0);
    double contrasts = kr_twix_number(t, "lContrasts", 1), mode = kr_twix_number(t, "sPat.ucRefScanMode", 0);
    double inversion = kr_twix_number(t, "sPrepPulses.ucInversion", 4);      /* 4: off; the time is there all the same */
    bool inverted = inversion < 3.5;
    if (meta_text(s, "protocol", *text ? text : m->protocol) || meta_times(s, t, "tr_ms", "alTR", 1)
        || meta_times(s, t, "te_ms", "alTE", contrasts >= 1 && contrasts <= 128 ? (long)contrasts : 1) || (inverted && meta_times(s, t, "ti_ms", "alTI", 1))
        || (flip > 0 && kr_meta_set(s->meta, "flip_deg", "%.6g", flip))
        || (field > 0 && kr_meta_set(s->meta, "field_T", "%.6g", field)))
        return kr_error_code();
    if (mode >= 2 && mode <= 64 && calibration[(int)mode] && kr_meta_set(s->meta, "calibration_mode", "%s", calibration[(int)mode]))
        return kr_error_code();
    return 0;
}

/* A size between 1 and 65535, or 0 where the header has none that is believable. */
static long size_of(double v) { return v >= 1 && v <= 65535 ? lround(v) : 0; }

/* The lines around the centre that the grid must have so that all of these counters lie on it. */
static long lines_needed(const readouts *r, int a, long centre)
{
    long n = 1;
    for (long i = 0; i < r->count; i++) {
        long k = a ? r->line[i].kz : r->line[i].ky, need = k < centre ? 2 * (centre - k) : 2 * (k - centre) + 1;
        if (kr_line_kind_of(r->line[i].flags) == KR_LINES_IMAGING)
            n = need > n ? need : n;
    }
    return n;
}

/* Along Y and Z: the header's number of lines, around the centre that the readouts name; where those reach further, as many as
 * they need. */
static void read_limits(kr_encoding *e, const readouts *r, int a, long lines)
{
    long most = 0, centre = r->centre[a] < 0 ? lines / 2 : r->centre[a];
    for (long i = 0; i < r->count; i++)
        if (kr_line_kind_of(r->line[i].flags) == KR_LINES_IMAGING)
            most = (a ? r->line[i].kz : r->line[i].ky) > most ? (a ? r->line[i].kz : r->line[i].ky) : most;
    if (centre > most || (!centre && most))                  /* some sequences leave it 0, or name one that is never measured */
        centre = lines ? lines / 2 : most / 2;
    long need = lines_needed(r, a, centre);
    e->limit[a + 1].known = true;
    e->limit[a + 1].max = most;
    e->limit[a + 1].centre = centre;
    e->encoded[a + 1] = lines > need ? lines : need;
}

/* Times of the readout gradient where samples were taken while it ramps. Source: twixtools, recon_helpers.py. */
static void read_ramp(kr_scan *s, const kr_twix_text *t)
{
    double mode = kr_twix_param(t, "Meas", "alRegridMode", 0, 1);
    kr_ramp *r = &s->enc.ramp;
    if (!(mode >= 2))
        return;
    *r = (kr_ramp){ .up_us = kr_twix_param(t, "Meas", "alRegridRampupTime", 0, 0), .flat_us = kr_twix_param(t, "Meas", "alRegridFlattopTime", 0, 0),
                    .down_us = kr_twix_param(t, "Meas", "alRegridRampdownTime", 0, 0), .delay_us = kr_twix_param(t, "Meas", "alRegridDelaySamplesTime", 0, 0),
                    .read_us = kr_twix_param(t, "Meas", "aflRegridADCDuration", 0, 0), .sine = lround(mode) == 4 };
    if (lround(mode) != 2 && lround(mode) != 4) {
        kr_scan_note(s, "readouts of regridding mode %ld, which is not known: they are taken as they are", lround(mode));
        *r = (kr_ramp){ 0 };
    }
}

static int read_header(kr_scan *s, const kr_twix_text *t, const measurement *m, const readouts *r)
{
    kr_encoding *e = &s->enc;
    long samples = 0, base = size_of(kr_twix_number(t, "sKSpace.lBaseResolution", 0)), lines = size_of(kr_twix_number(t, "sKSpace.lPhaseEncodingLines", 0));
    bool deep = lround(kr_twix_number(t, "sKSpace.ucDimension", 2)) == 4;
    bool reflected = false;
    for (long i = 0; i < r->count; i++)
        if (kr_line_kind_of(r->line[i].flags) == KR_LINES_IMAGING) {
            samples = r->line[i].samples > samples ? r->line[i].samples : samples;
            reflected = reflected || r->line[i].flags & FLAG(22);
        }
    double over = kr_twix_param(t, "Dicom", "flReadoutOSFactor", 0, 0);
    if (!(over >= 1 && over <= 16))
        over = base && samples % base == 0 && samples ? (double)samples / (double)base : 2;
    double fov = kr_twix_number(t, "sSliceArray.asSlice[0].dReadoutFOV", 0), high = kr_twix_number(t, "sSliceArray.asSlice[0].dPhaseFOV", 0);
    double thick = kr_twix_number(t, "sSliceArray.asSlice[0].dThickness", 0);
    double more[2] = { kr_twix_number(t, "sKSpace.dPhaseOversamplingForDialog", 0), deep ? kr_twix_number(t, "sKSpace.dSliceOversamplingForDialog", 0) : 0 };
    e->encoded[0] = base ? size_of((double)base * over) : samples;
    e->encoded_mm[0] = fov > 0 ? fov * over : 0;
    e->recon[0] = base ? base : lround((double)samples / over);
    e->recon_mm[0] = fov > 0 ? fov : 0;
    read_limits(e, r, 0, lines);
    read_limits(e, r, 1, deep ? size_of(kr_twix_number(t, "sKSpace.lPartitions", 0)) : 0);
    const double mm[2] = { high > 0 ? high : 0, thick > 0 ? thick : 0 };
    for (int a = 0; a < 2; a++) {
        double factor = more[a] >= 0 && more[a] < 10 ? 1 + more[a] : 1;
        e->recon[a + 1] = lround((double)e->encoded[a + 1] / factor);
        e->encoded_mm[a + 1] = mm[a] * factor;
        e->recon_mm[a + 1] = factor > 1 ? mm[a] : e->encoded_mm[a + 1];
    }
    e->accel[0] = size_of(kr_twix_number(t, "sPat.lAccelFactPE", 0));
    e->accel[1] = size_of(kr_twix_number(t, "sPat.lAccelFact3D", 0));
    int way = (int)lround(kr_twix_number(t, "sKSpace.ucTrajectory", 1));
    double train = kr_twix_number(t, "sFastImaging.lEPIFactor", 1);
    if (way == 1)
        read_ramp(s, t);
    snprintf(e->trajectory, sizeof e->trajectory, "%s", way == 2 ? "radial" : way == 4 ? "spiral" : way == 8 ? "other" :
             e->ramp.read_us > 0 || (train > 1 && reflected) ? "epi" : "cartesian");
    memcpy(s->geom->fov_mm, e->recon_mm, sizeof s->geom->fov_mm);
    s->noise_bandwidth = 0.793;                              /* of Siemens' receivers; siemens_to_ismrmrd */
    return read_meta(s, t, m);
}

/* Dwell time of noise: siemens_to_ismrmrd, compute_noise_sample_in_us. */
static double noise_dwell(const kr_twix_text *t, const measurement *m, bool vb, long samples)
{
    char baseline[64];
    kr_twix_string(t, "sProtConsistencyInfo.tBaselineString", baseline, sizeof baseline);
    if (strstr(baseline, "NXVA") || !strcmp(m->protocol, "AdjCoilSens"))
        return 5;
    if (!strcmp(m->protocol, "AdjQuietCoilSens"))
        return 4;
    return samples < 1 ? 0 : vb ? 1e6 / 130 / (double)samples : floor(76800 / (double)samples) / 10;
}

static void set_dwell(readouts *r, const kr_twix_text *t, const measurement *m, bool vb)
{
    double dwell = kr_twix_number(t, "sRXSPEC.alDwellTime[0]", 0) / 1000;
    for (long i = 0; i < r->count; i++)
        r->line[i].dwell_us = (float)(r->line[i].flags & FLAG(19) ? noise_dwell(t, m, vb, r->line[i].samples) : dwell > 0 && dwell < 1e6 ? dwell : 0);
}

static int read_text(kr_twix_text *t, const twix *f, const measurement *m)
{
    size_t bytes = (size_t)(m->data - m->from);
    char *raw = kr_alloc(bytes + 1, 1);
    if (raw && kr_file_read(f->fd, raw, bytes, m->from))
        kr_free_at(&raw);
    if (raw)
        raw[bytes] = 0;
    return kr_twix_text_split(t, raw, bytes);
}

/* ---- One measurement ---- */
/* Noise of another measurement of the file, the nearest before: its lines are put in front where they have as many channels. */
static int add_noise(readouts *r, const twix *f, int which, kr_scan *s, const kr_trace *trace)
{
    long channels = 0;
    for (long i = 0; i < r->count; i++) {
        channels = kr_line_kind_of(r->line[i].flags) == KR_LINES_IMAGING ? r->line[i].channels : channels;
        if (r->line[i].flags & FLAG(19))
            return 0;
    }
    for (int k = which; k-- > 0; ) {
        readouts other = { 0 };
        kr_twix_text text = { 0 };
        int e = read_text(&text, f, &f->m[k]);
        if (!e && !(e = read_heads(&other, f, &f->m[k], trace)))
            set_dwell(&other, &text, &f->m[k], f->vb);
        kr_twix_text_clear(&text);
        long found = 0;
        for (long i = 0; !e && i < other.count; i++) {
            if (!(other.line[i].flags & FLAG(19)) || other.line[i].channels != channels)
                continue;
            if ((e = make_place(r)))
                break;
            r->line[r->count] = other.line[i];
            r->offset_mm[r->count] = 0;
            r->place[r->count++] = other.place[i];
            found++;
        }
        readouts_clear(&other);
        if (e)
            return e;
        if (found) {
            kr_scan_note(s, "the noise is that of measurement %d (%s)", k + 1, f->m[k].protocol);
            return 0;
        }
    }
    return 0;
}

static int choose(const twix *f, const char *var)
{
    char *end;
    if (!var)
        return f->count - 1;                                 /* adjustments come first */
    long n = strtol(var, &end, 10);
    if (*var && !*end && n >= 1 && n <= f->count)
        return (int)n - 1;
    for (int k = f->count; k-- > 0; )
        if (!strcmp(f->m[k].protocol, var))
            return k;
    kr_text t = { 0 };
    for (int k = 0; k < f->count; k++)
        kr_text_add(&t, "%s%d (%s)", k ? ", " : "", k + 1, *f->m[k].protocol ? f->m[k].protocol : "unnamed");
    kr_fail(KR_EFORMAT, "there is no measurement '%s'; the file holds %s", var, t.s ? t.s : "");
    kr_text_clear(&t);
    return kr_error_code();
}

static void tell(kr_scan *s, const twix *f, const readouts *r, int which, bool chosen)
{
    kr_text t = { 0 };
    for (int k = 0; k < f->count && t.len < 400; k++)
        if (k != which)
            kr_text_add(&t, "%s%d (%s)", t.len ? ", " : "", k + 1, f->m[k].protocol);
    if (t.len && !chosen)
        kr_scan_note(s, "measurement %d (%s) is read; the file also holds %s: ask for one by FILE:NUMBER", which + 1, f->m[which].protocol, t.s);
    kr_text_clear(&t);
    if (r->sync)
        kr_scan_note(s, "blocks of synchronisation data (heart, breathing), passed over: %ld", r->sync);
    if (r->signs)
        kr_scan_note(s, "readouts flagged as reversed in sign, taken as they are: %ld", r->signs);
    if (r->bands)
        kr_scan_note(s, "readouts of single slices, for taking apart slices measured at the same time: %ld; they are kept as calibration, and the slices "
                     "stay on top of each other", r->bands);
    if (r->corrections)
        kr_scan_note(s, "readouts that ask for a correction of raw data by factors per channel, taken as they are: %ld", r->corrections);
}

static int read_measurement(kr_scan *s, const twix *f, int which, const kr_read *how, bool chosen, const kr_trace *trace)
{
    readouts r = { 0 };
    receiver c = { 0 };
    kr_twix_text text = { 0 };
    kr_placing *p = NULL;
    const measurement *m = &f->m[which];
    int e = read_text(&text, f, m);
    if (!e && !(e = read_heads(&r, f, m, trace)) && !(e = read_header(s, &text, m, &r)))
        set_dwell(&r, &text, m, f->vb);
    kr_twix_text_clear(&text);
    if (!e)
        e = add_noise(&r, f, which, s, trace);
    if (!e) {
        tell(s, f, &r, which, chosen);
        p = kr_placing_new(s, &(kr_placing_plan){ r.line, r.count, &s->enc, 1, how->header_only, how->slice_from, how->slice_count, how->played });
        e = p ? 0 : kr_error_code();
    }
    long samples = 0;
    for (long i = 0; !e && i < s->lines[KR_LINES_IMAGING].count; i++)
        samples = s->lines[KR_LINES_IMAGING].line[i].samples > samples ? s->lines[KR_LINES_IMAGING].line[i].samples : samples;
    if (!e && !(e = receiver_of(&c, s, samples)))
        e = read_samples(&(job){ f, &r, &c, p }, trace);
    if (!e)
        e = kr_placing_end(&p);
    kr_placing_unref(&p);
    kr_free(c.k);
    readouts_clear(&r);
    return e;
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    if (src->axes)
        return kr_fail(KR_EUSAGE, "the axes of Siemens raw data are known: @%s means nothing", src->axes);
    twix f = { 0 };
    int e = open_twix(&f, src->path), which = e ? e : choose(&f, src->var);
    kr_scan *s = which < 0 ? NULL : kr_scan_new();
    e = which < 0 ? which : s ? read_measurement(s, &f, which, how, src->var, trace) : kr_error_code();
    if (f.fd >= 0)
        close(f.fd);
    if (e)
        kr_scan_unref(&s);
    *out = s;
    return e;
}

const kr_format kr_format_twix = { .name = "twix", .suffix = ".dat", .summary = "Siemens raw data of VB, VD, VE and later (meas.dat)", .probe = probe,
    .read = read_scan, .raw = true };
