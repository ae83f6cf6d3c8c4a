/* units.c: lines are kept until a slice, a repetition or the measurement is complete; then they become a scan. */
#include "session.h"
#include <stdlib.h>
#include <string.h>

#define FLAG(n) (1ull << ((n) - 1))       /* ISMRMRD counts flags from 1 */
enum { LAST_IN_SLICE = 8, LAST_IN_REPETITION = 14, LAST_IN_MEASUREMENT = 25 };
enum { SLICE, CONTRAST, PHASE, SET, REPETITION, AVERAGE };
enum { ENCODINGS = 64, STAMPS_MOST = 100000 };
static const int64_t BITS_MOST = 1 << 24;

static long counter(const kr_line *l, int k)
{
    const uint16_t v[COUNTERS] = { l->slice, l->contrast, l->phase, l->set, l->repetition, l->average };
    return v[k];
}

/* ---- Lines ---- */
static int64_t line_bytes(const kr_line *l)
{
    return (int64_t)sizeof(held) + 8 * (int64_t)l->samples * l->channels + 4 * (int64_t)l->samples * l->traj_dims;
}

static int lines_room(lines *l)
{
    if (l->count < l->room)
        return 0;
    long room = l->room ? 2 * l->room : 64;
    held *h = kr_realloc(l->h, (size_t)l->count, (size_t)room, sizeof *h);
    if (!h)
        return kr_error_code();
    l->h = h;
    l->room = room;
    return 0;
}

static int lines_add(lines *l, const kr_line *line, const kr_mrd_message *m)
{
    size_t block = (m->data_bytes + m->traj_bytes) / 4 + 2;
    if (lines_room(l))
        return kr_error_code();
    float *f = kr_alloc(block, sizeof *f);
    if (!f)
        return kr_error_code();
    held *h = &l->h[l->count++];
    *h = (held){ *line, (kr_cfloat *)(void *)f, m->traj_bytes ? f + m->data_bytes / 4 : NULL };
    memcpy(f, m->data, m->data_bytes);
    if (m->traj_bytes)
        memcpy(h->traj, m->traj, m->traj_bytes);
    return 0;
}

static void lines_clear(units *u, lines *l)
{
    for (long i = 0; i < l->count; i++) {
        u->bytes -= line_bytes(&l->h[i].line);
        kr_free(l->h[i].samples);
    }
    kr_free(l->h);
    *l = (lines){ 0 };
}

/* ---- Opening ---- */
int units_open(units *u, const char *xml)
{
    kr_auto kr_mrd_encoding *all = kr_alloc(ENCODINGS, sizeof *all);
    u->encoding = kr_alloc_zero(ENCODINGS, sizeof *u->encoding);
    u->xml = kr_strdup(xml);
    if (!all || !u->encoding || !u->xml || kr_mrd_header_counters(xml, u->most))
        return kr_error_code();
    int n = kr_mrd_header_encodings(xml, all, ENCODINGS);
    if (n < 0)
        return n;
    u->encodings = n < ENCODINGS ? n : ENCODINGS;
    for (int i = 0; i < u->encodings; i++)
        u->encoding[i] = all[i].enc;
    memcpy(u->calibration, all[0].calibration, sizeof u->calibration);
    return 0;
}

void unit_drop(units *u, unit **x)
{
    if (!*x)
        return;
    lines_clear(u, &(*x)->l);
    kr_free((*x)->seen);
    kr_free_at(x);
}

void units_clear(units *u)
{
    for (slide *s = u->slides, *next; s; s = next) {
        next = s->next;
        lines_clear(u, &s->l);
        kr_free(s);
    }
    for (unit *x = u->open, *next; x; x = next) {
        next = x->next;
        unit_drop(u, &x);
    }
    for (struct kept *k = u->calib, *next; k; k = next) {
        next = k->next;
        lines_clear(u, &k->l);
        kr_free(k);
    }
    lines_clear(u, &u->noise);
    kr_free(u->encoding);
    kr_free(u->xml);
    *u = (units){ .memory = u->memory };
}

/* ---- Counting ---- */
/* All lines of different counters that the header's limits speak of; 0: unknown. */
static int64_t expected(const units *u)
{
    const kr_encoding *e = &u->encoding[0];
    int64_t n = e->limit[1].known ? e->limit[1].max + 1 : 0;
    if (e->encoded[2] > 1)
        n = e->limit[2].known ? n * (e->limit[2].max + 1) : 0;
    if ((u->by != KR_MRD_BY_SLICE && u->most[SLICE] < 0) || (u->by == KR_MRD_WHOLE && u->most[REPETITION] < 0))
        return 0;                                                /* how many there are is not said */
    for (int k = 0; k < COUNTERS && n; k++)
        if ((k != SLICE || u->by != KR_MRD_BY_SLICE) && (k != REPETITION || u->by == KR_MRD_WHOLE) && u->most[k] > 0)
            n = n > BITS_MOST ? 0 : n * (u->most[k] + 1);
    return n > BITS_MOST ? 0 : n;
}

static void count(const units *u, unit *x, const kr_line *l)
{
    const kr_encoding *e = &u->encoding[0];
    int64_t at = l->ky;
    bool inside = x->seen && l->ky <= e->limit[1].max;
    if (e->encoded[2] > 1) {
        inside = inside && l->kz <= e->limit[2].max;
        at = at * (e->limit[2].max + 1) + l->kz;
    }
    for (int k = 0; k < COUNTERS && inside; k++)
        if ((k != SLICE || u->by != KR_MRD_BY_SLICE) && (k != REPETITION || u->by == KR_MRD_WHOLE) && u->most[k] > 0) {
            inside = counter(l, k) <= u->most[k];
            at = at * (u->most[k] + 1) + counter(l, k);
        }
    if (!inside || at >= x->seen_bits || x->seen[at / 64] >> (at % 64) & 1)
        return;
    x->seen[at / 64] |= 1ull << (at % 64);
    x->different++;
}

/* ---- Units ---- */
static unit *unit_of(units *u, const kr_line *l)
{
    long slice = u->by == KR_MRD_BY_SLICE ? l->slice : -1, repetition = u->by == KR_MRD_WHOLE ? -1 : l->repetition;
    if (u->last && u->last->slice == slice && u->last->repetition == repetition)
        return u->last;
    unit **end = &u->open;
    for (; *end; end = &(*end)->next)
        if ((*end)->slice == slice && (*end)->repetition == repetition)
            return u->last = *end;
    unit *x = kr_alloc_zero(1, sizeof *x);
    if (!x)
        return NULL;
    x->slice = slice;
    x->repetition = repetition;
    x->seen_bits = expected(u);
    if (x->seen_bits && !(x->seen = kr_alloc_zero((size_t)x->seen_bits / 64 + 1, sizeof *x->seen))) {
        kr_free(x);
        return NULL;
    }
    return u->last = *end = x;
}

/* Moves one from the open ones to the end of a list. */
static void complete(units *u, unit ***done, unit *x)
{
    for (unit **p = &u->open; *p; p = &(*p)->next)
        if (*p == x) {
            *p = x->next;
            break;
        }
    if (u->last == x)
        u->last = NULL;
    x->next = NULL;
    **done = x;
    *done = &x->next;
}

static bool has_kept(const units *u, long slice)
{
    for (const struct kept *k = u->calib; k; k = k->next)
        if (k->slice == slice)
            return true;
    return false;
}

/* A header that speaks of separate calibration lines, and none have come yet. */
static bool awaits_calibration(const units *u, const unit *x)
{
    bool separate = !strcmp(u->calibration, "separate") || !strcmp(u->calibration, "external");
    return separate && (u->encoding[0].accel[0] > 1 || u->encoding[0].accel[1] > 1) && !x->calib && !has_kept(u, x->slice);
}

/* A LAST flag counts where all that lies within the slice has reached its limit: some sequences set it for every contrast or average. */
static bool at_end(const units *u, const kr_line *l)
{
    static const int within[] = { CONTRAST, PHASE, SET, AVERAGE };
    for (int i = 0; i < 4; i++)
        if (u->most[within[i]] > 0 && counter(l, within[i]) != u->most[within[i]])
            return false;
    const kr_encoding *e = &u->encoding[0];
    return e->encoded[2] <= 1 || !e->limit[2].known || l->kz == e->limit[2].max;
}

static void finish(units *u, unit ***done, unit *x, const kr_line *l)
{
    bool single = u->most[SLICE] <= 0, end = at_end(u, l);
    bool slice = l->flags & FLAG(LAST_IN_SLICE), repetition = l->flags & FLAG(LAST_IN_REPETITION), all = l->flags & FLAG(LAST_IN_MEASUREMENT);
    u->flagged |= slice || repetition || all;
    bool ready = end && !awaits_calibration(u, x)
              && (u->by == KR_MRD_BY_SLICE ? slice : u->by == KR_MRD_BY_REPETITION ? repetition || (slice && single) : false);
    if (!ready && !u->flagged && x->seen_bits && x->different == x->seen_bits && !awaits_calibration(u, x))
        ready = true;
    for (unit *y = u->open, *next; y; y = next) {
        next = y->next;
        bool same = y->repetition == l->repetition;
        bool over = y == x ? ready : false;
        over |= all || (u->by == KR_MRD_BY_SLICE && repetition && end && same);
        /* The same slice goes on with a later repetition. */
        over |= y->repetition >= 0 && y->repetition < l->repetition && (y->slice == l->slice || (y->slice < 0 && single)) && y->imaging;
        if (over)
            complete(u, done, y);
    }
}

/* ---- Real time ---- */
static slide *slide_of(units *u, long slice)
{
    slide **s = &u->slides;
    while (*s && (*s)->slice != slice)
        s = &(*s)->next;
    if (!*s && (*s = kr_alloc_zero(1, sizeof **s)))
        (*s)->slice = slice;
    return *s;
}

static struct kept *kept_of(units *u, long slice)
{
    struct kept **k = &u->calib;
    while (*k && (*k)->slice != slice)
        k = &(*k)->next;
    if (!*k && (*k = kr_alloc_zero(1, sizeof **k)))
        (*k)->slice = slice;
    return *k;
}

/* The oldest frame goes. */
static void slide_on(units *u, slide *s)
{
    long n = 0, imaging = 0;
    for (; n < s->l.count && imaging < u->spokes; n++) {
        imaging += kr_line_kind_of(s->l.h[n].line.flags) == KR_LINES_IMAGING;
        u->bytes -= line_bytes(&s->l.h[n].line);
        kr_free(s->l.h[n].samples);
    }
    s->l.count -= n;
    memmove(s->l.h, s->l.h + n, (size_t)s->l.count * sizeof *s->l.h);
    s->imaging -= imaging;
    s->full = false;
}

static unit *frame_of(slide *s)
{
    unit *x = kr_alloc_zero(1, sizeof *x);
    if (x)
        *x = (unit){ .slice = s->slice, .repetition = s->frames++, .imaging = s->imaging, .slide = s };
    return x;
}

static int slide_put(units *u, unit **done, const kr_line *l, const kr_mrd_message *m)
{
    enum kr_line_kind kind = kr_line_kind_of(l->flags);
    struct kept *k = kind == KR_LINES_CALIB ? kept_of(u, l->slice) : NULL;
    slide *s = kind == KR_LINES_CALIB ? NULL : slide_of(u, l->slice);
    if (!k && !s)
        return kr_error_code();
    if (s && s->full)
        slide_on(u, s);
    if (lines_add(k ? &k->l : &s->l, l, m))
        return kr_error_code();
    u->bytes += line_bytes(l);
    if (!s || kind != KR_LINES_IMAGING || ++s->imaging < u->window)
        return 0;
    s->full = true;
    return (*done = frame_of(s)) ? 0 : kr_error_code();
}

/* Readouts of a window get numbers of their own, in order; Cartesian lines keep theirs, and the last of several counts. Returns how many are left. */
static long in_window(kr_line *line, const kr_cfloat **samples, const float **traj, long count)
{
    long n = 0, view = 0;
    for (long i = 0; i < count; i++) {
        bool imaging = kr_line_kind_of(line[i].flags) == KR_LINES_IMAGING, older = false;
        for (long j = i + 1; imaging && !traj[i] && !older && j < count; j++)
            older = kr_line_kind_of(line[j].flags) == KR_LINES_IMAGING && line[j].ky == line[i].ky && line[j].kz == line[i].kz && line[j].contrast == line[i].contrast
                 && line[j].phase == line[i].phase && line[j].set == line[i].set;
        if (older)
            continue;
        line[n] = line[i];
        samples[n] = samples[i];
        traj[n] = traj[i];
        if (imaging) {
            line[n].average = 0;
            line[n].ky = traj[n] ? (uint16_t)view++ : line[n].ky;
            line[n].kz = traj[n] ? 0 : line[n].kz;
        }
        n++;
    }
    return n;
}

int units_put(units *u, unit **done, const kr_mrd_message *m, long number)
{
    *done = NULL;
    kr_line l = kr_mrd_line_parse(m->head);
    if (kr_mrd_line_check(&l, number))
        return kr_error_code();
    enum kr_line_kind kind = kr_line_kind_of(l.flags);
    if (u->spokes && kind != KR_LINES_NOISE)
        return slide_put(u, done, &l, m);
    unit *x = kind == KR_LINES_NOISE ? NULL : unit_of(u, &l);
    if (kind != KR_LINES_NOISE && !x)
        return kr_error_code();
    if (lines_add(x ? &x->l : &u->noise, &l, m))
        return kr_error_code();
    u->bytes += line_bytes(&l);
    if (!x)
        return 0;
    x->calib += kind == KR_LINES_CALIB || (kind == KR_LINES_IMAGING && l.flags & FLAG(21));
    if (kind != KR_LINES_IMAGING)
        return 0;
    x->imaging++;
    count(u, x, &l);
    finish(u, &done, x, &l);
    return 0;
}

static int by_counters(const void *a, const void *b)
{
    const unit *const *x = a, *const *y = b;
    return (*x)->repetition != (*y)->repetition ? ((*x)->repetition > (*y)->repetition) - ((*x)->repetition < (*y)->repetition)
         : ((*x)->slice > (*y)->slice) - ((*x)->slice < (*y)->slice);
}

long units_left_over(const units *u)
{
    long n = 0;
    for (const slide *s = u->slides; s; s = s->next)
        n += s->frames && !s->full ? s->imaging - (u->window - u->spokes) : 0;
    return n;
}

unit *units_close(units *u)
{
    for (slide *s = u->slides; s; s = s->next) {                 /* fewer than a window in all */
        unit **end = &u->open;
        while (*end)
            end = &(*end)->next;
        if (!s->frames && s->imaging)
            *end = frame_of(s);
    }
    long n = 0;
    for (unit *x = u->open; x; x = x->next)
        n++;
    kr_auto unit **all = kr_alloc((size_t)n + 1, sizeof *all);
    unit *first = u->open;
    u->open = u->last = NULL;
    if (!all || !n)                                              /* no memory to sort them: as they came */
        return first;
    n = 0;
    for (unit *x = first; x; x = x->next)
        all[n++] = x;
    qsort(all, (size_t)n, sizeof *all, by_counters);
    for (long i = 0; i < n; i++)
        all[i]->next = i + 1 < n ? all[i + 1] : NULL;
    return all[0];
}

/* ---- Scans ---- */
void work_drop(kr_mrd_work **w)
{
    if (!*w)
        return;
    kr_scan_unref(&(*w)->scan);
    kr_image_unref(&(*w)->image);
    kr_free((*w)->stamps);
    kr_free((*w)->sentence);
    kr_free((*w)->notes);
    kr_free_at(w);
}

static long away_of(const units *u, const kr_line *l)
{
    const kr_encoding *e = &u->encoding[l->encoding < u->encodings ? l->encoding : 0];
    return labs(l->ky - e->limit[1].centre) + (e->encoded[2] > 1 ? labs(l->kz - e->limit[2].centre) : 0);
}

static int set_stamps(kr_mrd_work *w, const units *u, const kr_line *line, long count)
{
    long n = 1;
    for (int k = 0; k < COUNTERS; k++)
        w->n[k] = 1;
    for (long i = 0; i < count; i++)
        for (int k = 0; k < COUNTERS && kr_line_kind_of(line[i].flags) == KR_LINES_IMAGING; k++)
            w->n[k] = counter(&line[i], k) >= w->n[k] ? counter(&line[i], k) + 1 : w->n[k];
    for (int k = 0; k < COUNTERS; k++)
        n = n > STAMPS_MOST ? n : n * w->n[k];
    if (n > STAMPS_MOST) {                                       /* one for all */
        for (int k = 0; k < COUNTERS; k++)
            w->n[k] = 1;
        n = 1;
    }
    w->stamps = kr_alloc_zero((size_t)n, sizeof *w->stamps);
    for (long i = 0; w->stamps && i < count; i++) {
        const kr_line *l = &line[i];
        if (kr_line_kind_of(l->flags) != KR_LINES_IMAGING)
            continue;
        long at = 0, away = u->spokes ? count - i : away_of(u, l);      /* of a window the last line */
        for (int k = COUNTERS; k-- > 0; )
            at = at * w->n[k] + (counter(l, k) < w->n[k] ? counter(l, k) : 0);
        stamp *s = &w->stamps[at];
        if (s->known && s->away <= away)
            continue;
        *s = (stamp){ .known = true, .away = away, .uid = l->uid, .time_stamp = l->time_stamp };
        memcpy(s->physio, l->physio, sizeof s->physio);
        memcpy(s->table, l->table, sizeof s->table);
        memcpy(s->user_int, l->user_int, sizeof s->user_int);
        memcpy(s->user_float, l->user_float, sizeof s->user_float);
    }
    return w->stamps ? 0 : kr_error_code();
}

/* Counters and a header that lie make a scan far larger than the lines that came. */
static int fits(const units *u, const kr_line *line, long count)
{
    const kr_encoding *e = &u->encoding[0];
    double n[5] = { (double)e->encoded[0], e->encoded[1] > 1 ? (double)e->encoded[1] : 1, e->encoded[2] > 1 ? (double)e->encoded[2] : 1, 1, 1 };
    long most[COUNTERS] = { 0 };
    for (long i = 0; i < count; i++) {
        if (kr_line_kind_of(line[i].flags) != KR_LINES_IMAGING)
            continue;
        const double v[4] = { line[i].samples, line[i].ky + 1, e->encoded[2] > 1 ? line[i].kz + 1 : 1, line[i].channels };
        for (int k = 0; k < 4; k++)
            n[k] = v[k] > n[k] ? v[k] : n[k];
        for (int k = 0; k < COUNTERS; k++)
            most[k] = counter(&line[i], k) > most[k] ? counter(&line[i], k) : most[k];
    }
    for (int k = 0; k < COUNTERS; k++)
        n[4] *= (double)most[k] + 1;
    double bytes = 8 * n[0] * n[1] * n[2] * n[3] * n[4];
    return !u->memory || bytes <= (double)u->memory ? 0
         : kr_fail(KR_EMEM, "header and counters ask for %.4g MiB of k-space, and a session may take %.4g MiB", bytes / 1048576, (double)u->memory / 1048576);
}

static int place(kr_mrd_work *w, const units *u, const lines *const *part, int parts)
{
    long n = 0;
    for (int k = 0; k < parts; k++)
        n += part[k] ? part[k]->count : 0;
    kr_auto kr_line *line = kr_alloc((size_t)n + 1, sizeof *line);
    kr_auto const kr_cfloat **samples = kr_alloc((size_t)n + 1, sizeof *samples);
    kr_auto const float **traj = kr_alloc((size_t)n + 1, sizeof *traj);
    w->scan = kr_scan_new();
    if (!line || !samples || !traj || !w->scan || !(w->scan->file = kr_strdup("the stream")))
        return kr_error_code();
    w->scan->format = "mrdstream";
    n = 0;
    for (int k = 0; k < parts; k++)
        for (long i = 0; part[k] && i < part[k]->count; i++, n++) {
            const held *h = &part[k]->h[i];
            line[n] = h->line;
            samples[n] = h->samples;
            traj[n] = h->traj;
            line[n].slice = u->by == KR_MRD_BY_SLICE ? 0 : line[n].slice;
            line[n].repetition = u->by == KR_MRD_WHOLE ? line[n].repetition : 0;
        }
    if (u->spokes)
        n = in_window(line, samples, traj, n);
    if (fits(u, line, n) || kr_mrd_header_parse(w->scan, u->xml) || set_stamps(w, u, line, n))
        return kr_error_code();
    kr_placing *p = kr_placing_new(w->scan, &(kr_placing_plan){ line, n, u->encoding, u->encodings, false, 0, 0, NULL });
    int e = p ? kr_placing_put(p, 0, n, samples, traj) : kr_error_code();
    if (!e)
        e = kr_placing_end(&p);
    kr_placing_unref(&p);
    w->bytes = w->scan->data ? 8 * (int64_t)kr_count(w->scan->shape) : 0;
    return e;
}

/* Calibration lines of a unit serve later repetitions of the slice that have none of their own. */
static int keep_calibration(units *u, unit *x)
{
    long n = 0;
    for (long i = 0; i < x->l.count; i++)
        n += kr_line_kind_of(x->l.h[i].line.flags) == KR_LINES_CALIB;
    if (!n || u->by == KR_MRD_WHOLE)
        return 0;
    struct kept *k = kept_of(u, x->slice);
    if (!k)
        return kr_error_code();
    lines_clear(u, &k->l);
    long left = 0;
    for (long i = 0; i < x->l.count; i++) {
        if (kr_line_kind_of(x->l.h[i].line.flags) != KR_LINES_CALIB) {
            x->l.h[left++] = x->l.h[i];
            continue;
        }
        if (lines_room(&k->l)) {                              /* the rest goes with the unit */
            while (i < x->l.count)
                x->l.h[left++] = x->l.h[i++];
            x->l.count = left;
            return kr_error_code();
        }
        k->l.h[k->l.count++] = x->l.h[i];
    }
    x->l.count = left;
    return 0;
}

kr_mrd_work *units_work(units *u, unit **from)
{
    unit *x = *from;
    kr_mrd_work *w = kr_alloc_zero(1, sizeof *w);
    const lines *kept = NULL;
    for (const struct kept *k = u->calib; k; k = k->next)
        if (k->slice == x->slice && !x->calib)
            kept = &k->l;
    if (w) {
        w->slice = x->slice;
        w->repetition = x->repetition;
        const lines *const part[] = { &u->noise, kept, x->slide ? &x->slide->l : &x->l };
        int e = x->imaging ? place(w, u, part, 3) : 0;
        if (!e && !x->slide)
            e = keep_calibration(u, x);
        if (e) {
            w->code = e;
            w->sentence = kr_strdup(kr_error());
            kr_error_clear();
        } else if (!x->imaging)
            kr_scan_unref(&w->scan);
    }
    unit_drop(u, from);
    return w;
}
