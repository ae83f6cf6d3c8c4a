/* fmt_pulseq.c: Pulseq sequence files (text): the k-space path of their gradients at the times of their samples. */
#include "kray/pulseq.h"
#include "kray/io.h"
#include "file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ID = 1 << 24, MOST_BYTES = 1 << 30, MOST_NUMBERS = 1 << 27, COLUMNS = 12, LABELS = 13, V1_4 = 1004000, V1_5 = 1005000 };

/* ---- The file: tables of numbered rows ---- */
typedef struct row { double v[COLUMNS]; char last; } row;     /* last: of a row that ends in a letter */
typedef struct table { row *row; long count, room, *at, ids; } table;       /* at[id]: 1 + its row, 0: none */
typedef struct curve { double *v; long n; } curve;
enum label { SLC, ECO, PHS, SET, REP, AVG, SEG, NOISE, NAV, REF, IMA, OFF, OTHER };
static const char *const label_name[] = { "SLC", "ECO", "PHS", "SET", "REP", "AVG", "SEG", "NOISE", "NAV", "REF", "IMA", "OFF" };
enum list { BLOCKS, RF, GRADIENTS, TRAP, ADC, DELAYS, EXTENSIONS, LABELSET, LABELINC, LISTS };
static const char *const list_name[] = { "[BLOCKS]", "[RF]", "[GRADIENTS]", "[TRAP]", "[ADC]", "[DELAYS]", "[EXTENSIONS]", "labels", "labels" };
typedef struct seq {
    long version;
    double grad_s, rf_s, block_s, fov_m[3];                   /* raster times                             */
    table list[LISTS];
    curve *shape; long shapes;
    double unpacked;                                          /* numbers of all shapes                    */
    long set_type, inc_type;                                  /* numbers of the extensions of labels      */
} seq;

static void close_seq(seq *s)
{
    for (int i = 0; i < LISTS; i++) {
        kr_free(s->list[i].row);
        kr_free(s->list[i].at);
    }
    for (long i = 0; i < s->shapes; i++)
        kr_free(s->shape[i].v);
    kr_free(s->shape);
}

static int add_row(table *t, long id, const row *r)
{
    if (id < 1 || id > MOST_ID)
        return kr_fail(KR_EFORMAT, "an event has the number %ld; 1 to %d are possible", id, MOST_ID);
    if (t->count == t->room) {
        long room = t->room ? 2 * t->room : 64;
        row *more = kr_realloc(t->row, (size_t)t->room, (size_t)room, sizeof *more);
        if (!more)
            return kr_error_code();
        t->row = more;
        t->room = room;
    }
    if (id >= t->ids) {
        long ids = id + 1 > 2 * t->ids ? id + 1 : 2 * t->ids;
        long *more = kr_realloc(t->at, (size_t)t->ids, (size_t)ids, sizeof *more);
        if (!more)
            return kr_error_code();
        memset(more + t->ids, 0, (size_t)(ids - t->ids) * sizeof *more);
        t->at = more;
        t->ids = ids;
    }
    t->row[t->count] = *r;
    t->at[id] = ++t->count;
    return 0;
}

static const row *row_of(const seq *s, enum list l, double id)
{
    const table *t = &s->list[l];
    if (id >= 1 && id < (double)t->ids && t->at[(long)id])
        return &t->row[t->at[(long)id] - 1];
    kr_fail(KR_EFORMAT, "event %g of %s is asked for, and there is none", id, list_name[l]);
    return NULL;
}

/* The next line that says something, without its end; *rest moves on. NULL: the end. */
static char *next_line(char **rest)
{
    while (**rest) {
        char *line = *rest, *end = line + strcspn(line, "\r\n");
        *rest = end + strspn(end, "\r\n");
        *end = 0;
        line += strspn(line, " \t");
        if (*line && *line != '#')
            return line;
    }
    return NULL;
}

static int read_row(const char *line, long *id, row *r)
{
    char *end;
    *r = (row){ .last = 0 };
    *id = strtol(line, &end, 10);
    if (end == line)
        return kr_fail(KR_EFORMAT, "'%.40s' begins with no number", line);
    for (int c = 0; c < COLUMNS; c++) {
        const char *from = end;
        r->v[c] = strtod(from, &end);
        if (end == from)
            break;
        if (!isfinite(r->v[c]))
            return kr_fail(KR_EFORMAT, "'%.40s' holds what is no number", line);
    }
    end += strspn(end, " \t");
    r->last = *end;
    return 0;
}

static int read_definition(seq *s, const char *line)
{
    static const char *const word[] = { "GradientRasterTime", "RadiofrequencyRasterTime", "BlockDurationRaster" };
    double *const to[] = { &s->grad_s, &s->rf_s, &s->block_s };
    size_t n = strcspn(line, " \t");
    for (int i = 0; i < 3; i++)
        if (strlen(word[i]) == n && !strncmp(line, word[i], n) && !((*to[i] = strtod(line + n, NULL)) > 0))
            return kr_fail(KR_EFORMAT, "%s is not above 0", word[i]);
    if (n == 3 && !strncmp(line, "FOV", 3) && sscanf(line + n, "%lf %lf %lf", &s->fov_m[0], &s->fov_m[1], &s->fov_m[2]) != 3)
        return kr_fail(KR_EFORMAT, "FOV wants three lengths in metres");
    return 0;
}

/* "set or inc: value LABEL" */
static int read_label(seq *s, enum list l, const char *line)
{
    char name[16] = "";
    long id, value;
    if (sscanf(line, "%ld %ld %15s", &id, &value, name) != 3 || value > MOST_ID || value < -MOST_ID)
        return kr_fail(KR_EFORMAT, "'%.40s' is no label", line);
    int label = 0;
    while (label < OTHER && strcmp(label_name[label], name))
        label++;
    const row r = { .v = { (double)value, label } };
    return add_row(&s->list[l], id, &r);
}

/* A shape: numbers, or the run lengths of its differences: of two equal ones the third tells how often they come again. */
static int unpack(curve *to, const double *v, long count, long n, bool always)
{
    to->v = kr_alloc((size_t)n, sizeof *to->v);
    to->n = n;
    if (!to->v)
        return kr_error_code();
    if (count == n && !always) {
        memcpy(to->v, v, (size_t)n * sizeof *v);
        return 0;
    }
    long k = 0;
    double sum = 0;
    for (long i = 0; i < count; ) {
        double again = 1;
        if (i + 2 < count && !(v[i] < v[i + 1]) && !(v[i] > v[i + 1])) {
            again = v[i + 2] + 2;
            if (!(again >= 2 && again <= (double)(n - k)))
                return kr_fail(KR_EFORMAT, "a shape of %ld samples unpacks to more", n);
        }
        for (long j = 0; j < (long)again && k < n; j++)
            to->v[k++] = sum += v[i];
        i += again > 1 ? 3 : 1;
    }
    return k == n ? 0 : kr_fail(KR_EFORMAT, "a shape of %ld samples unpacks to %ld", n, k);
}

/* Until a line that is no number; *line is that one. */
static int read_shapes(seq *s, char **rest, char **line)
{
    while ((*line = next_line(rest)) && (*line)[0] != '[' && strncmp(*line, "extension", 9)) {
        long id = 0, n = 0, count = 0, room = 0;
        if (sscanf(*line, "shape_id %ld", &id) != 1 || id < 1 || id > MOST_ID || !(*line = next_line(rest))
            || sscanf(*line, "num_samples %ld", &n) != 1 || n < 1 || n > MOST_ID)
            return kr_fail(KR_EFORMAT, "a shape wants shape_id and num_samples, each from 1 to %d", MOST_ID);
        kr_auto double *v = NULL;
        for (char *p = *rest + strspn(*rest, " \t\r\n"); (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == '.'; p = *rest + strspn(*rest, " \t\r\n")) {
            if (count == room) {
                double *more = kr_realloc(v, (size_t)room, (size_t)(room ? 2 * room : 64), sizeof *more);
                if (!more)
                    return kr_error_code();
                v = more;
                room = room ? 2 * room : 64;
            }
            v[count++] = strtod(next_line(rest), NULL);
        }
        if (id >= s->shapes) {
            curve *more = kr_realloc(s->shape, (size_t)s->shapes, (size_t)id + 1, sizeof *more);
            if (!more)
                return kr_error_code();
            memset(more + s->shapes, 0, (size_t)(id + 1 - s->shapes) * sizeof *more);
            s->shape = more;
            s->shapes = id + 1;
        }
        if (s->shape[id].v)
            return kr_fail(KR_EFORMAT, "shape %ld comes twice", id);
        if ((s->unpacked += (double)n) > MOST_NUMBERS)
            return kr_fail(KR_EFORMAT, "shapes of more than %d samples in all", MOST_NUMBERS);
        if (unpack(&s->shape[id], v, count, n, s->version < V1_4))
            return kr_error_code();
    }
    return 0;
}

static int read_section(seq *s, enum list l, char **rest, char **line)
{
    while ((*line = next_line(rest)) && (*line)[0] != '[' && strncmp(*line, "extension", 9)) {
        row r;
        long id;
        if (l == LABELSET || l == LABELINC ? read_label(s, l, *line) : read_row(*line, &id, &r) || add_row(&s->list[l], id, &r))
            return kr_error_code();
    }
    return 0;
}

static int read_all(seq *s, char *text)
{
    char *rest = text, *line = next_line(&rest);
    long v[3] = { 0 };
    while (line) {
        int l = 0, e = 0;
        long type;
        while (l < LABELSET && strcmp(list_name[l], line))
            l++;
        if (l < LABELSET) {
            if (!s->version)
                return kr_fail(KR_EFORMAT, "[VERSION] has to come before %s", line);
            e = read_section(s, (enum list)l, &rest, &line);
        } else if (sscanf(line, "extension LABELSET %ld", &type) == 1) {
            s->set_type = type;
            e = read_section(s, LABELSET, &rest, &line);
        } else if (sscanf(line, "extension LABELINC %ld", &type) == 1) {
            s->inc_type = type;
            e = read_section(s, LABELINC, &rest, &line);
        } else if (!strncmp(line, "extension ROT", 13))
            return kr_fail(KR_EREFUSED, "rotations of blocks (extension ROTATIONS) are not read");
        else if (!strcmp(line, "[SHAPES]")) {
            if (!s->version)
                return kr_fail(KR_EFORMAT, "[VERSION] has to come before %s", line);
            e = read_shapes(s, &rest, &line);
        } else {
            bool version = !strcmp(line, "[VERSION]"), definitions = !strcmp(line, "[DEFINITIONS]");
            while (!e && (line = next_line(&rest)) && line[0] != '[' && strncmp(line, "extension", 9)) {
                static const char *const part[] = { "major", "minor", "revision" };
                for (int i = 0; i < 3 && version; i++)
                    if (!strncmp(line, part[i], strlen(part[i])))
                        v[i] = strtol(line + strlen(part[i]), NULL, 10);
                e = definitions ? read_definition(s, line) : 0;
            }
            if (version && (v[0] != 1 || v[1] < 2 || v[1] > 5))
                return kr_fail(KR_EFORMAT, "Pulseq %ld.%ld.%ld: versions 1.2 to 1.5 are read", v[0], v[1], v[2]);
            s->version = version ? v[0] * 1000000 + v[1] * 1000 + (v[2] > 999 ? 999 : v[2]) : s->version;
        }
        if (e)
            return e;
    }
    if (!s->version)
        return kr_fail(KR_EFORMAT, "it is no Pulseq sequence: there is no [VERSION]");
    return s->list[BLOCKS].count ? 0 : kr_fail(KR_EFORMAT, "the sequence has no blocks");
}

static const curve *shape_of(const seq *s, double id)
{
    if (id >= 1 && id < (double)s->shapes && s->shape[(long)id].v)
        return &s->shape[(long)id];
    kr_fail(KR_EFORMAT, "shape %g is asked for, and there is none", id);
    return NULL;
}

/* ---- A block ---- */
typedef struct wave { double *t, *g, *sum; long n, room; double end; } wave;      /* straight between points; sum: integral up to a point */

static int put(wave *w, double t, double g)
{
    if (w->n == w->room) {
        long room = w->room ? 2 * w->room : 64;
        double **part[] = { &w->t, &w->g, &w->sum };
        for (int i = 0; i < 3; i++) {
            double *more = kr_realloc(*part[i], (size_t)w->room, (size_t)room, sizeof *more);
            if (!more)
                return kr_error_code();
            *part[i] = more;
        }
        w->room = room;
    }
    long i = w->n++;
    w->t[i] = t;
    w->g[i] = g;
    w->sum[i] = i ? w->sum[i - 1] + .5 * (w->g[i - 1] + g) * (t - w->t[i - 1]) : 0;
    w->end = t;
    return 0;
}

/* The integral from the block's beginning to t. */
static double moment(const wave *w, double t)
{
    long low = 0, high = w->n - 1;
    if (!w->n || t <= w->t[0])
        return 0;
    if (t >= w->t[high])
        return w->sum[high];
    while (high - low > 1) {
        long mid = (low + high) / 2;
        if (w->t[mid] <= t)
            low = mid;
        else
            high = mid;
    }
    double at = t - w->t[low], all = w->t[high] - w->t[low], g = w->g[low] + (all > 0 ? (w->g[high] - w->g[low]) * at / all : 0);
    return w->sum[low] + .5 * (w->g[low] + g) * at;
}

/* A shape given at the middle of raster times. Values at their borders follow from the first one, e_(i+1) = 2 g_i - e_i, where they end at the last one as
 * they should; else neighbours' means. first, last: of 1.5, else NULL: what the gradient before ended with, and what follows. */
static int on_raster(wave *w, const curve *g, double amplitude, double delay, double raster, double first, const double *last)
{
    double edge = first, most = 0;
    for (long i = 0; i < g->n; i++) {
        edge = 2 * amplitude * g->v[i] - edge;
        most = fmax(most, fabs(amplitude * g->v[i]));
    }
    bool follows = !last || fabs(edge - *last) <= 2e-5 * most;
    edge = first;
    int e = put(w, delay, first);
    for (long i = 0; !e && i < g->n; i++) {
        double v = amplitude * g->v[i];
        edge = follows ? 2 * v - edge : i + 1 < g->n ? .5 * (v + amplitude * g->v[i + 1]) : *last;
        e = put(w, delay + ((double)i + .5) * raster, v);
        e = e ? e : put(w, delay + ((double)i + 1) * raster, edge);
    }
    return e;
}

static int gradient(wave *w, const seq *s, double id, double before)
{
    w->n = 0;
    w->end = 0;
    if (!(id > 0))
        return 0;
    const table *traps = &s->list[TRAP];
    if (id >= 1 && id < (double)traps->ids && traps->at[(long)id]) {
        const double *v = traps->row[traps->at[(long)id] - 1].v;    /* amplitude, rise, flat, fall, delay in us */
        double t = v[4] * 1e-6;
        int e = put(w, t, 0);
        e = e ? e : put(w, t += v[1] * 1e-6, v[0]);
        e = e ? e : put(w, t += v[2] * 1e-6, v[0]);
        return e ? e : put(w, t + v[3] * 1e-6, 0);
    }
    const row *r = row_of(s, GRADIENTS, id);
    if (!r)
        return kr_error_code();
    bool newest = s->version >= V1_5, timed = s->version >= V1_4;
    double amplitude = r->v[0], first = newest ? r->v[1] : 0, last = newest ? r->v[2] : 0;
    double shape_id = r->v[newest ? 3 : 1], time_id = newest ? r->v[4] : timed ? r->v[2] : 0, delay = 1e-6 * r->v[newest ? 5 : timed ? 3 : 2];
    const curve *g = shape_of(s, shape_id), *times = g && time_id > 0 ? shape_of(s, time_id) : NULL;
    if (!g || (time_id > 0 && !times))
        return kr_error_code();
    int e = 0;
    if (times) {
        if (times->n != g->n)
            return kr_fail(KR_EFORMAT, "a gradient of %ld values at %ld times", g->n, times->n);
        for (long k = 0; !e && k < g->n; k++)
            e = put(w, delay + times->v[k] * s->grad_s, amplitude * g->v[k]);
        return e;
    }
    if (time_id < 0) {                                        /* at every half of the raster */
        e = put(w, delay, first);
        for (long k = 0; !e && k < g->n; k++)
            e = put(w, delay + .5 * (double)(k + 1) * s->grad_s, amplitude * g->v[k]);
        return e ? e : put(w, delay + .5 * (double)(g->n + 1) * s->grad_s, last);
    }
    return on_raster(w, g, amplitude, delay, s->grad_s, newest ? first : delay > 0 ? 0 : before, newest ? &last : NULL);
}

/* The middle of a pulse in the block, when its kind resets (1) or turns k (2); 0: neither. */
static int pulse(double *middle, int *kind, double *end, const seq *s, double id)
{
    *kind = 0;
    if (!(id > 0))
        return 0;
    const row *r = row_of(s, RF, id);
    const curve *m = r ? shape_of(s, r->v[1]) : NULL;
    if (!m)
        return kr_error_code();
    bool newest = s->version >= V1_5, timed = s->version >= V1_4;
    double time_id = timed ? r->v[3] : 0, delay = 1e-6 * r->v[newest ? 5 : timed ? 4 : 3];
    const curve *times = time_id > 0 ? shape_of(s, time_id) : NULL, *phase = r->v[2] > 0 ? shape_of(s, r->v[2]) : NULL;
    if ((time_id > 0 && (!times || times->n != m->n)) || (r->v[2] > 0 && (!phase || phase->n != m->n)))
        return kr_error_code() ? kr_error_code() : kr_fail(KR_EFORMAT, "a pulse has shapes of different lengths");
    double peak = 0, sum[2] = { 0 }, from = 0, to = 0, step = time_id < 0 ? .5 * s->rf_s : s->rf_s;
    for (long i = 0; i < m->n; i++)
        peak = fmax(peak, fabs(m->v[i]));
    bool any = false;
    for (long i = 0; i < m->n; i++) {
        double t = times ? times->v[i] * s->rf_s : ((double)i + (time_id < 0 ? 1 : .5)) * step;
        double next = i + 1 < m->n ? (times ? times->v[i + 1] * s->rf_s : t + step) : t, a = phase ? 2 * M_PI * phase->v[i] : 0;
        sum[0] += m->v[i] * cos(a) * (next - t);
        sum[1] += m->v[i] * sin(a) * (next - t);
        if (fabs(m->v[i]) >= .99999 * peak) {
            from = any ? from : t;
            to = t;
            any = true;
        }
        *end = fmax(*end, delay + t);
    }
    *middle = delay + (newest ? 1e-6 * r->v[4] : .5 * (from + to));
    double degrees = 360 * fabs(r->v[0]) * hypot(sum[0], sum[1]);
    *kind = newest ? (r->last == 'r' ? 2 : r->last == 'e' || r->last == 'u' || !r->last ? 1 : 0) : degrees > 90.01 ? 2 : 1;
    return 0;
}

/* ---- The whole sequence ---- */
typedef struct readout { long samples, label[LABELS], pulses; double dwell_s; const double *k; } readout;    /* pulses: before it */

typedef struct walk {
    const seq *s;
    wave wave[3];
    double k[3], before[3];           /* at the block's beginning: since the last excitation; what gradients ended with */
    long label[LABELS];
    readout *out; long count, room;
    double **kept;                    /* positions of every readout, 3 a sample */
    double samples;
    long pulses;
} walk;

static int labels(walk *w, double ext)
{
    const seq *s = w->s;
    for (int inc = 1; inc >= 0; inc--) {                      /* increments, then what is set */
        double at = ext;
        for (int guard = 0; at > 0; guard++) {
            const row *x = guard < 1000 ? row_of(s, EXTENSIONS, at) : NULL;
            if (!x)
                return guard < 1000 ? kr_error_code() : kr_fail(KR_EFORMAT, "extensions of a block follow one another in a circle");
            long type = fabs(x->v[0]) < MOST_ID ? (long)x->v[0] : 0;
            if (type == (inc ? s->inc_type : s->set_type) && type) {
                const row *l = row_of(s, inc ? LABELINC : LABELSET, x->v[1]);
                if (!l)
                    return kr_error_code();
                long *to = &w->label[(int)l->v[1]];
                *to = (long)l->v[0] + (inc ? *to : 0);
            }
            at = x->v[2];
        }
    }
    return 0;
}

static int sample(walk *w, double id, double middle, int kind, double *end)
{
    const row *a = row_of(w->s, ADC, id);
    if (!a)
        return kr_error_code();
    double n = a->v[0], dwell = 1e-9 * a->v[1], delay = 1e-6 * a->v[2];
    if (!(n >= 1 && n <= MOST_ID && dwell > 0 && delay >= 0))
        return kr_fail(KR_EFORMAT, "a readout of %g samples, %g s apart", n, dwell);
    if ((w->samples += n) > MOST_NUMBERS)
        return kr_fail(KR_EREFUSED, "the sequence takes more than %d samples", MOST_NUMBERS);
    if (w->count == w->room) {
        long room = w->room ? 2 * w->room : 64;
        readout *more = kr_realloc(w->out, (size_t)w->room, (size_t)room, sizeof *more);
        double **kept = more ? kr_realloc(w->kept, (size_t)w->room, (size_t)room, sizeof *kept) : NULL;
        if (more)
            w->out = more;
        if (!kept)
            return kr_error_code();
        w->kept = kept;
        w->room = room;
    }
    double *k = kr_alloc(3 * (size_t)n, sizeof *k);
    if (!k)
        return kr_error_code();
    for (long i = 0; i < (long)n; i++)
        for (int d = 0; d < 3; d++) {
            double t = delay + ((double)i + .5) * dwell, m = moment(&w->wave[d], t), was = kind && t >= middle ? moment(&w->wave[d], middle) : 0;
            double start = !kind || t < middle ? w->k[d] : kind == 2 ? -(w->k[d] + was) : 0;
            k[3 * i + d] = start + m - was;
        }
    readout r = { .samples = (long)n, .dwell_s = dwell, .k = k, .pulses = w->pulses };
    memcpy(r.label, w->label, sizeof r.label);
    w->kept[w->count] = k;
    w->out[w->count++] = r;
    *end = fmax(*end, delay + n * dwell);
    return 0;
}

static int block(walk *w, const double *v)
{
    const seq *s = w->s;
    double middle = 0, end = 0, rest = s->version >= V1_4 ? v[0] * s->block_s : 0;
    int kind;
    for (int d = 0; d < 3; d++) {
        if (gradient(&w->wave[d], s, v[2 + d], w->before[d]))
            return kr_error_code();
        end = fmax(end, w->wave[d].end);
    }
    if ((v[6] > 0 && labels(w, v[6])) || pulse(&middle, &kind, &end, s, v[1]) || (v[5] > 0 && sample(w, v[5], middle, kind, &end)))
        return kr_error_code();
    w->pulses += v[1] > 0;
    end = fmax(end, rest);
    for (int d = 0; d < 3; d++) {
        const wave *g = &w->wave[d];
        double all = moment(g, HUGE_VAL), was = kind ? moment(g, middle) : 0;
        w->k[d] = kind == 2 ? -(w->k[d] + was) + all - was : kind ? all - was : w->k[d] + all;
        w->before[d] = g->n && g->end > end - 1e-9 ? g->g[g->n - 1] : 0;
    }
    return 0;
}

/* ---- Readouts to an array ---- */
static long most_common(const walk *w)
{
    long best = 0, most = 0;
    for (long i = 0; i < w->count; i++) {
        long same = 0;
        if (w->out[i].samples == best)
            continue;
        for (long j = i; j < w->count; j++)
            same += w->out[j].samples == w->out[i].samples;
        if (same > most) {
            most = same;
            best = w->out[i].samples;
        }
        if (2 * most >= w->count)
            break;
    }
    return best;
}

static int arrange(kr_array **out, kr_seq_facts *f, walk *w)
{
    static const int axis[] = { KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME };
    long samples = most_common(w), n = 0, groups = 1, size[5] = { 1, 1, 1, 1, 1 };
    for (long i = 0; i < w->count; i++) {
        readout r = w->out[i];
        if (r.label[NOISE] || r.label[NAV] || r.samples != samples)
            f->left_out++;
        else
            w->out[n++] = r;
    }
    f->readouts = n;
    if (!n)
        return kr_fail(KR_EREFUSED, "the sequence has no readouts of imaging");
    f->dwell_us = w->out[0].dwell_s * 1e6;
    for (int a = 0; a < 5; a++) {
        for (long i = 0; i < n && size[a] > 0; i++)
            size[a] = w->out[i].label[a] < 0 || w->out[i].label[a] >= n ? 0 : w->out[i].label[a] >= size[a] ? w->out[i].label[a] + 1 : size[a];
        groups = size[a] && groups <= n ? groups * size[a] : n + 1;
    }
    kr_auto long *have = groups <= n ? kr_alloc_zero((size_t)groups, sizeof *have) : NULL;
    bool even = have && n % groups == 0;
    kr_shape shape = KR_SHAPE([KR_SAMPLE] = samples, [KR_VIEW] = n, [KR_CHAN] = 3);
    for (long turn = 0; turn < 2; turn++) {
        for (int a = 0; even && turn && a < 5; a++)
            shape.n[axis[a]] = size[a];
        if (turn) {
            shape.n[KR_VIEW] = even ? n / groups : n;
            *out = kr_array_new(KR_R32, shape);
            if (!*out)
                return kr_error_code();
            if (even)
                memset(have, 0, (size_t)groups * sizeof *have);
        }
        for (long i = 0; i < n; i++) {
            long g = 0;
            for (int a = 4; even && a >= 0; a--)
                g = g * size[a] + w->out[i].label[a];
            long view = even ? have[g]++ : i;
            for (long s = 0; turn && s < samples; s++)
                for (int d = 0; d < 3; d++)
                    KR_R(*out)[((d * (even ? groups : 1) + g) * shape.n[KR_VIEW] + view) * samples + s] = (float)w->out[i].k[3 * s + d];
        }
        for (long g = 0; !turn && even && g < groups; g++)
            even = have[g] == n / groups;
    }
    double most[3] = { 0 }, all = 0;
    long points = samples * n;
    for (int d = 0; d < 3; d++) {
        for (long i = 0; i < points; i++)
            most[d] = fmax(most[d], fabs((double)KR_R(*out)[d * points + i]));
        all = fmax(all, most[d]);
    }
    for (int d = 0; d < 3; d++)
        if (most[d] < 1e-3 * all)
            memset(KR_R(*out) + d * points, 0, (size_t)points * sizeof(float));
    return all > 0 ? 0 : kr_fail(KR_EREFUSED, "all samples of the sequence lie in the centre of k-space");
}

bool kr_is_seq(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".seq");
}

/* Readouts before the first of the sequence's pulses have nothing but noise to measure. */
static void mark_noise(walk *w)
{
    for (long i = 0; w->pulses && i < w->count && !w->out[i].pulses; i++)
        w->out[i].label[NOISE] = 1;
}

static const struct { enum label label; int flag; } flags[] = { { NOISE, 19 }, { NAV, 23 }, { OFF, 27 } };      /* flags as ISMRMRD counts them */

/* Heads of lines by the labels. */
static int heads(kr_played **out, kr_seq_facts *f, walk *w)
{
    kr_played *s = *out = kr_alloc_zero(1, sizeof *s);
    if (!w->count)
        return kr_fail(KR_EREFUSED, "the sequence has no readouts");
    if (!s || !(s->line = kr_alloc_zero((size_t)w->count, sizeof *s->line)) || !(s->k = kr_alloc_zero((size_t)w->count, sizeof *s->k)))
        return kr_error_code();
    f->readouts = s->count = w->count;
    f->dwell_us = w->out[0].dwell_s * 1e6;
    for (long i = 0; i < w->count; i++) {
        const readout *r = &w->out[i];
        kr_line *l = &s->line[i];
        uint16_t *const to[] = { &l->slice, &l->contrast, &l->phase, &l->set, &l->repetition, &l->average, &l->segment };
        for (int a = SLC; a <= SEG; a++) {
            if (r->label[a] < 0 || r->label[a] > UINT16_MAX)
                return kr_fail(KR_EFORMAT, "readout %ld has the label %s %ld; 0 to %d are possible", i, label_name[a], r->label[a], UINT16_MAX);
            *to[a] = (uint16_t)r->label[a];
        }
        for (size_t a = 0; a < sizeof flags / sizeof *flags; a++)
            l->flags |= r->label[flags[a].label] ? 1ull << (flags[a].flag - 1) : 0;
        l->flags |= !r->label[REF] ? 0 : r->label[IMA] ? 1ull << 20 : 1ull << 19;
        if (r->samples > UINT16_MAX)
            return kr_fail(KR_EREFUSED, "readout %ld has %ld samples; lines of raw files have %d at most", i, r->samples, UINT16_MAX);
        l->samples = (uint16_t)r->samples;
        l->dwell_us = (float)(r->dwell_s * 1e6);
        if (!(s->k[i] = kr_alloc(3 * (size_t)r->samples, sizeof **s->k)))
            return kr_error_code();
        for (long n = 0; n < 3 * r->samples; n++)
            s->k[i][n] = (float)r->k[n];
    }
    return 0;
}

/* One of both: positions as an array, or readout by readout. */
static int read_seq(kr_array **k, kr_played **played, kr_seq_facts *f, const char *path)
{
    seq s = { .grad_s = 1e-5, .rf_s = 1e-6, .block_s = 1e-5 };
    walk w = { .s = &s };
    *f = (kr_seq_facts){ .left_out = 0 };
    kr_auto char *text = kr_file_text(path, MOST_BYTES);
    int e = text ? read_all(&s, text) : kr_error_code();
    for (long i = 0; !e && i < s.list[BLOCKS].count; i++)
        if ((e = block(&w, s.list[BLOCKS].row[i].v)))
            kr_fail_in("block %ld", i + 1);
    mark_noise(&w);
    e = e ? e : k ? arrange(k, f, &w) : heads(played, f, &w);
    f->version[0] = (int)(s.version / 1000000);
    f->version[1] = (int)(s.version / 1000 % 1000);
    f->version[2] = (int)(s.version % 1000);
    for (int d = 0; d < 3; d++) {
        f->fov_mm[d] = 1000 * s.fov_m[d];
        kr_free(w.wave[d].t);
        kr_free(w.wave[d].g);
        kr_free(w.wave[d].sum);
    }
    for (long i = 0; i < w.count; i++)
        kr_free(w.kept[i]);
    kr_free(w.kept);
    kr_free(w.out);
    close_seq(&s);
    return e;
}

int kr_seq_read(kr_array **k, kr_seq_facts *f, const char *path)
{
    *k = NULL;
    int e = read_seq(k, NULL, f, path);
    if (e)
        kr_array_unref(k);
    return e;
}

int kr_seq_played(kr_played **s, kr_seq_facts *f, const char *path)
{
    *s = NULL;
    int e = read_seq(NULL, s, f, path);
    if (e)
        kr_played_unref(s);
    else
        memcpy((*s)->fov_mm, f->fov_mm, sizeof f->fov_mm);
    return e;
}

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return memmem(head, bytes, "[VERSION]", 9) && (memmem(head, bytes, "ulseq", 5) || memmem(head, bytes, "[BLOCKS]", 8) || memmem(head, bytes, "[DEFINITIONS]", 13)) ? 90 : 0;
}

static int read_array(kr_array **out, const kr_source *src)
{
    kr_seq_facts f;
    return src->var || src->axes ? kr_fail(KR_EUSAGE, "%s: a Pulseq sequence has no variables, and names its axes itself", src->path) : kr_seq_read(out, &f, src->path);
}

const kr_format kr_format_pulseq = { "pulseq", ".seq", "Pulseq sequence: k-space positions of its samples", probe, NULL, NULL, NULL, NULL, read_array, .sequence = true };
