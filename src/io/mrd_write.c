/* mrd_write.c: a scan as ISMRMRD lines. Every measured row of the grid becomes one line: under the head it was measured with
 * where there is one, under a new one otherwise, so that what was thinned out, averaged or compressed since can be written too. */
#include "mrd_write.h"
#include "kray/fourier.h"
#include "mrd_h5.h"
#include "mrd_header.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FLAG(n) (1ull << ((n) - 1))
#define CALIB_TOO FLAG(ISMRMRD_ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
enum { GROUP_BYTES = 16 << 20, GROUP_LINES = 4096 };
enum { SLOTS = 8, COUNTERS = 2, SLICE = 2 };

typedef struct row { kr_line head; const kr_array *from; long at, traj, number; } row;  /* at: element of the first coil; traj < 0: none */
typedef struct job {
    const kr_scan *s;
    const kr_array *data, *calib;    /* in k-space */
    bool spokes;
    int axis[SLOTS];                 /* Y or VIEW, Z, then counters */
    long n[SLOTS];
    row *row; long rows, room;
    unsigned char *done;             /* slots that have a line */
    const kr_line **calib_head;      /* of each calibration row that has lines of its own */
    unsigned char *calib_done;       /* calibration rows that imaging lines carry */
    long shift[3];                   /* counter of the first calibration row along Y, Z */
    bool changed;                    /* lines differ from those measured */
} job;

static int add(job *j, const row *r)
{
    if (j->rows == j->room) {
        long room = j->room ? 2 * j->room : 256;
        row *more = kr_realloc(j->row, (size_t)j->rows, (size_t)room, sizeof *more);
        if (!more)
            return kr_error_code();
        j->row = more;
        j->room = room;
    }
    j->row[j->rows] = *r;
    j->row[j->rows].number = j->rows;
    j->rows++;
    return 0;
}

static uint16_t *counter(kr_line *l, int k)
{
    uint16_t *const v[SLOTS] = { &l->ky, &l->kz, &l->slice, &l->contrast, &l->phase, &l->set, &l->repetition, &l->average };
    return v[k];
}

static long element(const kr_array *a, const int axis[SLOTS], const long v[SLOTS])
{
    long at = 0;
    for (int k = 0; k < SLOTS; k++)
        at += (a->n[axis[k]] > 1 ? v[k] : 0) * a->step[axis[k]];
    return at;
}

/* Which part of a row was measured; false: nothing. */
static bool measured(const kr_array *mask, const int axis[SLOTS], int along, const long v[SLOTS], long n, long *from, long *to)
{
    *from = 0;
    *to = n;
    if (!mask)
        return true;
    const float *m = KR_R(mask) + element(mask, axis, v);
    if (mask->n[along] == 1)
        return *m > 0;
    while (*from < n && !(m[*from * mask->step[along]] > 0))
        ++*from;
    while (*to > *from && !(m[(*to - 1) * mask->step[along]] > 0))
        --*to;
    return *from < *to;
}

/* A whole row; what was not measured of it is announced as discarded. Rows measured backwards are mirrored again, since an
 * echo-planar scan's ghost goes by their flag; not so where it was taken away. */
static void set_row(const kr_scan *s, kr_line *l, const kr_array *a, long n, long from, long to, bool spokes)
{
    const char *ghost = kr_meta_get(s->meta, "ghost");
    if (spokes || (ghost && strcmp(ghost, "left")))
        l->flags &= ~FLAG(ISMRMRD_ACQ_IS_REVERSE);
    bool back = l->flags & FLAG(ISMRMRD_ACQ_IS_REVERSE);
    l->samples = (uint16_t)n;
    l->channels = (uint16_t)a->n[KR_COIL];
    l->discard_pre = (uint16_t)(back ? n - to : from);
    l->discard_post = (uint16_t)(back ? from : n - to);
    l->encoding = 0;
    if (!spokes)
        l->center_sample = (uint16_t)(n / 2);
}

static kr_line new_head(const kr_scan *s, long slice)
{
    const kr_geom *g = s->geom;
    kr_line l = { .dwell_us = (float)s->dwell_us };
    for (int k = 0; k < 3; k++) {
        l.position[k] = (float)g->position_mm[slice < g->slices ? slice : 0][k];
        l.read_dir[k] = (float)g->read_dir[k];
        l.phase_dir[k] = (float)g->phase_dir[k];
        l.slice_dir[k] = (float)g->slice_dir[k];
    }
    return l;
}

static long slots(const job *j)
{
    long n = 1;
    for (int k = 0; k < SLOTS; k++)
        n *= j->n[k];
    return n;
}

static long slot_of(const job *j, const long v[SLOTS])
{
    long at = 0;
    for (int k = SLOTS; k-- > 0; ) {
        if (v[k] < 0 || v[k] >= j->n[k])
            return -1;
        at = at * j->n[k] + v[k];
    }
    return at;
}

static void slot_at(const job *j, long at, long v[SLOTS])
{
    for (int k = 0; k < SLOTS; k++) {
        v[k] = at % j->n[k];
        at /= j->n[k];
    }
}

/* The calibration row at the same place, or -1: both grids have DC at N/2. */
static long calib_row(const job *j, const long v[SLOTS])
{
    const kr_array *c = j->calib;
    if (!c)
        return -1;
    long y = v[0] - j->n[0] / 2 + c->n[KR_Y] / 2, z = v[1] - j->n[1] / 2 + c->n[KR_Z] / 2;
    bool inside = y >= 0 && y < c->n[KR_Y] && z >= 0 && z < c->n[KR_Z] && v[SLICE] < c->n[KR_SLICE];
    return inside ? (v[SLICE] * c->n[KR_Z] + z) * c->n[KR_Y] + y : -1;
}

/* Is the calibration row at the same place this line, and nothing else? Then the line says so by its flag; a row that more went
 * into is written itself. */
static bool carries(const job *j, const row *r, const long v[SLOTS])
{
    const kr_array *a = j->data, *c = j->calib;
    const kr_line *first = j->s->lines[KR_LINES_CALIB].line;
    long n = a->n[KR_X], w[SLOTS] = { v[0] - j->n[0] / 2 + c->n[KR_Y] / 2, v[1] - j->n[1] / 2 + c->n[KR_Z] / 2, v[SLICE] };
    bool same = first && r->head.contrast == first->contrast && r->head.set == first->set && c->n[KR_X] == n;
    const kr_cfloat *from = KR_C(c) + element(c, j->axis, w);
    for (long k = 0; same && k < a->n[KR_COIL]; k++)
        for (long x = 0; same && x < n; x++)
            same = KR_C(a)[r->at + k * a->step[KR_COIL] + x * a->step[KR_X]] == from[k * c->step[KR_COIL] + x * c->step[KR_X]];
    return same;
}

/* One imaging line at a slot, if that was measured and has none yet. */
static int imaging_row(job *j, const long v[SLOTS], const kr_line *head)
{
    const kr_scan *s = j->s;
    int along = j->spokes ? KR_SAMPLE : KR_X;
    long at = slot_of(j, v), from, to, n = j->data->n[along];
    if (at < 0 || j->done[at] || !measured(s->mask, j->axis, along, v, n, &from, &to)) {
        j->changed |= head != NULL;
        return 0;
    }
    j->changed |= head == NULL;
    j->done[at] = 1;
    row r = { head ? *head : new_head(s, v[SLICE]), j->data, element(j->data, j->axis, v), -1, 0 };
    for (int k = 0; k < SLOTS; k++)
        if (!j->spokes || k >= COUNTERS)
            *counter(&r.head, k) = (uint16_t)(v[k] + (k < COUNTERS ? kr_mrd_centre(s, KR_Y + k) - j->n[k] / 2 : 0));
    for (int k = 0; k < COUNTERS && !j->spokes; k++)         /* the centre that lines name: counters may have moved */
        if (r.head.user[5 + k] && s->enc.limit[k + 1].known && r.head.user[5 + k] == s->enc.limit[k + 1].centre)
            r.head.user[5 + k] = (uint16_t)kr_mrd_centre(s, KR_Y + k);
    if (j->spokes && !head)
        r.head.ky = (uint16_t)v[0];
    set_row(s, &r.head, j->data, n, from, to, j->spokes);
    r.head.traj_dims = j->spokes && s->traj ? (uint16_t)s->traj->n[KR_CHAN] : 0;
    if (r.head.traj_dims)
        r.traj = element(s->traj, j->axis, v);
    if (j->calib && r.head.flags & CALIB_TOO) {
        long c = calib_row(j, v);
        if (c >= 0 && !j->calib_head[c] && carries(j, &r, v))
            j->calib_done[c] = 1;
        else
            r.head.flags &= ~CALIB_TOO;
    }
    return add(j, &r);
}

static int imaging_rows(job *j)
{
    const kr_lines *lines = &j->s->lines[KR_LINES_IMAGING];
    long v[SLOTS], views = j->n[0], combinations = slots(j) / views;
    kr_auto long *next = kr_alloc_zero((size_t)combinations, sizeof *next);
    j->done = kr_alloc_zero((size_t)slots(j), 1);
    if (!next || !j->done)
        return kr_error_code();
    for (long i = 0; i < lines->count; i++) {
        kr_line head = lines->line[i];
        for (int k = 0; k < SLOTS; k++)
            v[k] = *counter(&head, k);
        if (j->spokes) {
            v[0] = v[1] = 0;
            long at = slot_of(j, v);
            v[0] = at < 0 ? 0 : next[at / views]++;
        } else
            for (int k = 0; k < COUNTERS; k++)
                v[k] += j->n[k] / 2 - (j->s->enc.limit[k + 1].known ? j->s->enc.limit[k + 1].centre : j->n[k] / 2);
        if (imaging_row(j, v, &head))
            return kr_error_code();
    }
    for (long at = 0; at < slots(j); at++) {
        slot_at(j, at, v);
        if (!j->done[at] && imaging_row(j, v, NULL))
            return kr_error_code();
    }
    return 0;
}

static long calib_count(const kr_array *c) { return c ? c->n[KR_Y] * c->n[KR_Z] * c->n[KR_SLICE] : 0; }

/* Which calibration rows have lines of their own. */
static int calib_heads(job *j)
{
    const kr_array *c = j->calib;
    const kr_lines *lines = &j->s->lines[KR_LINES_CALIB];
    j->calib_head = kr_alloc_zero((size_t)calib_count(c) + 1, sizeof *j->calib_head);
    j->calib_done = kr_alloc_zero((size_t)calib_count(c) + 1, 1);
    if (!j->calib_head || !j->calib_done)
        return kr_error_code();
    for (int k = 0; c && k < COUNTERS; k++)
        j->shift[k] = kr_mrd_centre(j->s, KR_Y + k) - c->n[KR_Y + k] / 2;
    for (long i = 0; c && i < lines->count; i++) {
        const kr_line *l = &lines->line[i];
        long y = l->ky - j->shift[0], z = l->kz - j->shift[1];
        if (l->contrast != lines->line[0].contrast || l->set != lines->line[0].set)
            continue;                                        /* was left out */
        if (y >= 0 && y < c->n[KR_Y] && z >= 0 && z < c->n[KR_Z] && l->slice < c->n[KR_SLICE])
            j->calib_head[(l->slice * c->n[KR_Z] + z) * c->n[KR_Y] + y] = l;
    }
    return 0;
}

static int calib_rows(job *j)
{
    const kr_scan *s = j->s;
    const kr_array *c = j->calib;
    for (long i = 0; i < calib_count(c); i++) {
        long v[SLOTS] = { i % c->n[KR_Y], i / c->n[KR_Y] % c->n[KR_Z], i / (c->n[KR_Y] * c->n[KR_Z]) }, from, to;
        if (j->calib_done[i] || !measured(s->calib_mask, j->axis, KR_X, v, c->n[KR_X], &from, &to))
            continue;
        row r = { j->calib_head[i] ? *j->calib_head[i] : new_head(s, v[SLICE]), c, element(c, j->axis, v), -1, 0 };
        r.head.ky = (uint16_t)(v[0] + j->shift[0]);
        r.head.kz = (uint16_t)(v[1] + j->shift[1]);
        r.head.slice = (uint16_t)v[SLICE];
        r.head.contrast = j->s->lines[KR_LINES_CALIB].count ? j->s->lines[KR_LINES_CALIB].line[0].contrast : 0;
        r.head.set = j->s->lines[KR_LINES_CALIB].count ? j->s->lines[KR_LINES_CALIB].line[0].set : 0;
        r.head.flags |= FLAG(ISMRMRD_ACQ_IS_PARALLEL_CALIBRATION);
        set_row(s, &r.head, c, c->n[KR_X], from, to, false);
        if (add(j, &r))
            return kr_error_code();
    }
    return 0;
}

static int noise_rows(job *j)
{
    enum { LONGEST = 32768 };
    const kr_scan *s = j->s;
    const kr_lines *lines = &s->lines[KR_LINES_NOISE];
    if (!s->noise)
        return 0;
    long total = s->noise->n[KR_SAMPLE], sum = 0, at = 0;
    for (long i = 0; i < lines->count; i++)
        sum += lines->line[i].samples;
    for (long i = 0; at < total; i++) {
        long n = sum == total ? lines->line[i].samples : total - at < LONGEST ? total - at : LONGEST;
        row r = { sum == total ? lines->line[i] : new_head(s, 0), s->noise, at * s->noise->step[KR_SAMPLE], -1, 0 };
        if (sum != total)
            r.head.dwell_us = (float)s->noise_dwell_us;
        r.head.flags |= FLAG(ISMRMRD_ACQ_IS_NOISE_MEASUREMENT);
        r.head.samples = (uint16_t)n;
        r.head.channels = (uint16_t)s->noise->n[KR_COIL];
        r.head.traj_dims = r.head.encoding = 0;
        if (n && add(j, &r))
            return kr_error_code();
        at += n;
    }
    return 0;
}

static int other_rows(job *j)
{
    for (int k = 0; k < KR_LINES_KINDS; k++) {
        const kr_lines *lines = &j->s->lines[k];
        for (long i = 0; lines->data && i < lines->count; i++) {
            row r = { lines->line[i], lines->data, i * lines->data->step[KR_VIEW], -1, 0 };
            r.head.traj_dims = 0;
            if (add(j, &r))
                return kr_error_code();
        }
    }
    return 0;
}

/* In the order measured; lines with new heads follow as they come. */
static int by_counter(const void *a, const void *b)
{
    const row *x = a, *y = b;
    if (x->head.counter != y->head.counter)
        return x->head.counter < y->head.counter ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static bool same_slice(const kr_line *a, const kr_line *b)
{
    return a->slice == b->slice && a->contrast == b->contrast && a->phase == b->phase && a->set == b->set && a->repetition == b->repetition
        && a->average == b->average;
}

/* Where lines were left out or made, first and last of each slice are marked anew: servers wait for the last. */
static void mark_slices(job *j)
{
    uint64_t first = FLAG(ISMRMRD_ACQ_FIRST_IN_SLICE), last = FLAG(ISMRMRD_ACQ_LAST_IN_SLICE), end = FLAG(ISMRMRD_ACQ_LAST_IN_MEASUREMENT);
    kr_line *before = NULL;
    for (long i = 0; i < j->rows; i++) {
        kr_line *l = &j->row[i].head;
        l->flags &= ~end;
        if (kr_line_kind_of(l->flags) != KR_LINES_IMAGING)
            continue;
        l->flags &= ~(first | last);
        if (!before || !same_slice(before, l)) {
            if (before)
                before->flags |= last;
            l->flags |= first;
        }
        before = l;
    }
    if (before)
        before->flags |= last;
    if (j->rows)
        j->row[j->rows - 1].head.flags |= end;
}

/* ---- To the file ---- */
typedef struct gather { const job *j; const row *row; kr_cfloat *const *to; } gather;

static int gather_row(void *self, long i)
{
    const gather *g = self;
    const row *r = &g->row[i];
    bool raw = r->from->n[KR_SAMPLE] > 1 || r->from->n[KR_X] == 1, back = !raw && r->head.flags & FLAG(ISMRMRD_ACQ_IS_REVERSE);
    long step = r->from->step[raw ? KR_SAMPLE : KR_X], last = r->head.samples - 1;
    kr_cfloat *to = g->to[i];
    for (long c = 0; c < r->head.channels; c++) {
        const kr_cfloat *from = KR_C(r->from) + r->at + c * r->from->step[KR_COIL];
        for (long x = 0; x < r->head.samples; x++)
            *to++ = from[(back ? last - x : x) * step];
    }
    return 0;
}

static void gather_traj(const kr_array *t, const row *r, float *to)
{
    for (long x = 0; x < r->head.samples; x++)
        for (long d = 0; d < r->head.traj_dims; d++)
            *to++ = KR_R(t)[r->traj + x * t->step[KR_SAMPLE] + d * t->step[KR_CHAN]];
}

static int write_piece(const job *j, kr_h5 *f, long at, long count)
{
    kr_auto kr_line *head = kr_alloc((size_t)count, sizeof *head);
    kr_auto kr_cfloat **to = kr_alloc((size_t)count, sizeof *to);
    kr_auto float **traj = kr_alloc_zero((size_t)count, sizeof *traj);
    size_t numbers = 0, positions = 0;
    for (long i = 0; i < count; i++) {
        const kr_line *l = &j->row[at + i].head;
        numbers += (size_t)l->samples * l->channels;
        positions += (size_t)l->samples * l->traj_dims;
    }
    kr_auto kr_cfloat *samples = kr_alloc(numbers + 1, sizeof *samples);
    kr_auto float *place = kr_alloc(positions + 1, sizeof *place);
    if (!head || !to || !traj || !samples || !place)
        return kr_error_code();
    kr_cfloat *s = samples;
    float *p = place;
    for (long i = 0; i < count; i++) {
        const row *r = &j->row[at + i];
        head[i] = r->head;
        to[i] = s;
        s += (size_t)r->head.samples * r->head.channels;
        if (r->head.traj_dims) {
            traj[i] = p;
            gather_traj(j->s->traj, r, p);
            p += (size_t)r->head.samples * r->head.traj_dims;
        }
    }
    gather g = { j, j->row + at, to };
    if (kr_for(count, gather_row, &g))
        return kr_error_code();
    return kr_mrd_lines_write(f, "dataset", at, count, head, (const kr_cfloat *const *)to, (const float *const *)traj);
}

static int write_file(const job *j, const char *path)
{
    kr_auto char *xml = kr_mrd_header_write(j->s);
    kr_h5 *f = xml ? kr_h5_create(path, 0) : NULL;
    int e = f ? 0 : kr_error_code();
    for (long at = 0, n; !e && at < j->rows; at += n) {
        long bytes = 0;
        for (n = 0; at + n < j->rows && n < GROUP_LINES && bytes < GROUP_BYTES; n++)
            bytes += 8L * j->row[at + n].head.samples * j->row[at + n].head.channels;
        e = write_piece(j, f, at, n);
    }
    if (!e)
        e = kr_mrd_texts_write(f, "dataset/xml", 1, &xml);
    if (!e && j->s->waveforms)
        e = kr_mrd_waveforms_write(j->s, f, "dataset");
    if (!e)
        return kr_h5_close(&f);
    kr_h5_unref(&f);
    return e;
}

/* What counts and lengths of ISMRMRD can express. */
static int check(const kr_scan *s)
{
    unsigned known = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_SAMPLE) | KR_ON(KR_VIEW) | KR_ON(KR_COIL) | KR_ON(KR_SLICE) | KR_ON(KR_ECHO)
                   | KR_ON(KR_PHASE) | KR_ON(KR_SET) | KR_ON(KR_TIME) | KR_ON(KR_AVG);
    if (!s->data)
        return kr_fail(KR_EREFUSED, "the scan has no data to write");
    if (s->multiband.depth)
        return kr_fail(KR_EREFUSED, "slices measured together are written as they were measured, not as slabs");
    for (int d = 0; d < KR_AXES; d++)
        if (s->data->n[d] > USHRT_MAX || (s->data->n[d] > 1 && !(known & KR_ON(d))))
            return kr_fail(KR_ESHAPE, "ISMRMRD cannot hold k-space of shape %s", kr_shape_text(kr_array_shape(s->data)));
    return 0;
}

int kr_mrd_scan_write(const kr_scan *s, const char *path)
{
    if (check(s))
        return kr_error_code();
    kr_scoped(array) data = kr_scan_kspace(s);               /* lines are k-space */
    kr_scoped(array) calib = s->calib && s->in_image ? kr_array_copy(s->calib) : s->calib ? kr_array_ref(s->calib) : NULL;
    if (!data || (s->calib && (!calib || (s->in_image && kr_fourier(calib, s->in_image)))))
        return kr_error_code();
    job j = { .s = s, .data = data, .calib = calib, .axis = { KR_Y, KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG } };
    j.spokes = s->data->n[KR_SAMPLE] > 1 || s->data->n[KR_VIEW] > 1;
    if (j.spokes)
        j.axis[0] = KR_VIEW;
    for (int i = 0; i < SLOTS; i++)
        j.n[i] = j.data->n[j.axis[i]];
    int e = calib_heads(&j);
    e = e ? e : noise_rows(&j);
    long first = j.rows;
    e = e ? e : other_rows(&j);
    e = e ? e : imaging_rows(&j);
    e = e ? e : calib_rows(&j);
    bool heads = s->lines[KR_LINES_IMAGING].count && !j.changed;
    if (!e && heads)
        qsort(j.row + first, (size_t)(j.rows - first), sizeof *j.row, by_counter);
    if (!e && !heads)
        mark_slices(&j);
    e = e ? e : write_file(&j, path);
    kr_free(j.row);
    kr_free(j.done);
    kr_free(j.calib_head);
    kr_free(j.calib_done);
    return e;
}
