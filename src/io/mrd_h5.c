/* mrd_h5.c: the HDF5 side of ISMRMRD. Compounds are read by the names of their members, since their offsets differ from writer
 * to writer, and many lines at a time: one HDF5 call per line would be what takes longest (FORMATS 1.3). */
#include "mrd_h5.h"
#include <stdio.h>
#include <string.h>

/* ---- Types ---- */
/* kind: H u16, I u32, Q u64, i i32, f f32, C counters. */
typedef struct field { const char *name; size_t at; char kind; int count; } field;

static const field counters[] = {
#define F(name, kind, count) { #name, offsetof(ISMRMRD_EncodingCounters, name), kind, count }
    F(kspace_encode_step_1, 'H', 1), F(kspace_encode_step_2, 'H', 1), F(average, 'H', 1), F(slice, 'H', 1), F(contrast, 'H', 1),
    F(phase, 'H', 1), F(repetition, 'H', 1), F(set, 'H', 1), F(segment, 'H', 1), F(user, 'H', 8), { 0 } };
#undef F
static const field acquisition[] = {
#define F(name, kind, count) { #name, offsetof(ISMRMRD_AcquisitionHeader, name), kind, count }
    F(version, 'H', 1), F(flags, 'Q', 1), F(measurement_uid, 'I', 1), F(scan_counter, 'I', 1), F(acquisition_time_stamp, 'I', 1),
    F(physiology_time_stamp, 'I', 3), F(number_of_samples, 'H', 1), F(available_channels, 'H', 1), F(active_channels, 'H', 1),
    F(channel_mask, 'Q', 16), F(discard_pre, 'H', 1), F(discard_post, 'H', 1), F(center_sample, 'H', 1), F(encoding_space_ref, 'H', 1),
    F(trajectory_dimensions, 'H', 1), F(sample_time_us, 'f', 1), F(position, 'f', 3), F(read_dir, 'f', 3), F(phase_dir, 'f', 3),
    F(slice_dir, 'f', 3), F(patient_table_position, 'f', 3), F(idx, 'C', 1), F(user_int, 'i', 8), F(user_float, 'f', 8), { 0 } };
#undef F
static const field image[] = {
#define F(name, kind, count) { #name, offsetof(ISMRMRD_ImageHeader, name), kind, count }
    F(version, 'H', 1), F(data_type, 'H', 1), F(flags, 'Q', 1), F(measurement_uid, 'I', 1), F(matrix_size, 'H', 3),
    F(field_of_view, 'f', 3), F(channels, 'H', 1), F(position, 'f', 3), F(read_dir, 'f', 3), F(phase_dir, 'f', 3), F(slice_dir, 'f', 3),
    F(patient_table_position, 'f', 3), F(average, 'H', 1), F(slice, 'H', 1), F(contrast, 'H', 1), F(phase, 'H', 1), F(repetition, 'H', 1),
    F(set, 'H', 1), F(acquisition_time_stamp, 'I', 1), F(physiology_time_stamp, 'I', 3), F(image_type, 'H', 1), F(image_index, 'H', 1),
    F(image_series_index, 'H', 1), F(user_int, 'i', 8), F(user_float, 'f', 8), F(attribute_string_len, 'I', 1), { 0 } };
#undef F
typedef struct wave_head { uint16_t version; uint64_t flags; uint32_t measurement_uid, scan_counter, time_stamp;
                           uint16_t number_of_samples, channels; float sample_time_us; uint16_t waveform_id; } wave_head;
static const field waveform[] = {
#define F(name, kind, count) { #name, offsetof(wave_head, name), kind, count }
    F(version, 'H', 1), F(flags, 'Q', 1), F(measurement_uid, 'I', 1), F(scan_counter, 'I', 1), F(time_stamp, 'I', 1),
    F(number_of_samples, 'H', 1), F(channels, 'H', 1), F(sample_time_us, 'f', 1), F(waveform_id, 'H', 1), { 0 } };
#undef F

static hid_t compound(size_t size, const field *f)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, size);
    for (; f->name; f++) {
        hid_t base = f->kind == 'C' ? compound(sizeof(ISMRMRD_EncodingCounters), counters)
                   : H5Tcopy(f->kind == 'H' ? H5T_NATIVE_UINT16 : f->kind == 'I' ? H5T_NATIVE_UINT32 : f->kind == 'Q' ? H5T_NATIVE_UINT64
                             : f->kind == 'i' ? H5T_NATIVE_INT32 : H5T_NATIVE_FLOAT);
        hid_t many = f->count > 1 ? H5Tarray_create2(base, 1, (const hsize_t[]){ (hsize_t)f->count }) : H5Tcopy(base);
        H5Tinsert(t, f->name, f->at, many);
        H5Tclose(many);
        H5Tclose(base);
    }
    return t;
}

/* {head, traj, data} and {head, data} as they lie in a file of Kray: packed like those of ismrmrd-python. */
typedef struct __attribute__((packed)) line_record { ISMRMRD_AcquisitionHeader head; hvl_t traj, data; } line_record;
typedef struct wave_record { wave_head head; hvl_t data; } wave_record;
typedef struct parts { hvl_t traj, data; } parts;

static void insert(hid_t to, const char *name, size_t at, hid_t type)
{
    H5Tinsert(to, name, at, type);
    H5Tclose(type);
}

static hid_t line_type(void)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, sizeof(line_record));
    insert(t, "head", offsetof(line_record, head), compound(sizeof(ISMRMRD_AcquisitionHeader), acquisition));
    insert(t, "traj", offsetof(line_record, traj), H5Tvlen_create(H5T_NATIVE_FLOAT));
    insert(t, "data", offsetof(line_record, data), H5Tvlen_create(H5T_NATIVE_FLOAT));
    return t;
}

static hid_t wave_type(void)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, sizeof(wave_record));
    insert(t, "head", offsetof(wave_record, head), compound(sizeof(wave_head), waveform));
    insert(t, "data", offsetof(wave_record, data), H5Tvlen_create(H5T_NATIVE_UINT32));
    return t;
}

/* A compound of one member alone, `head`. */
static hid_t head_type(size_t size, const field *f)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, size);
    insert(t, "head", 0, compound(size, f));
    return t;
}

/* ---- What a dataset is ---- */
static hid_t member(hid_t type, const char *name)
{
    int i = type >= 0 && H5Tget_class(type) == H5T_COMPOUND ? H5Tget_member_index(type, name) : -1;
    return i < 0 ? -1 : H5Tget_member_type(type, (unsigned)i);
}

static bool has_members(hid_t type, const char *const *name)
{
    bool all = type >= 0 && H5Tget_class(type) == H5T_COMPOUND;
    for (; all && *name; name++)
        all = H5Tget_member_index(type, *name) >= 0;
    return all;
}

static bool is_vlen(hid_t type, H5T_class_t of)
{
    hid_t base = type >= 0 && H5Tget_class(type) == H5T_VLEN ? H5Tget_super(type) : -1;
    bool good = base >= 0 && H5Tget_class(base) == of;
    if (base >= 0)
        H5Tclose(base);
    return good;
}

static bool holds_lines(hid_t type)
{
    static const char *const needed[] = { "flags", "number_of_samples", "active_channels", "idx", NULL };
    hid_t head = member(type, "head"), data = member(type, "data"), traj = member(type, "traj");
    bool good = has_members(head, needed) && is_vlen(data, H5T_FLOAT) && (traj < 0 || is_vlen(traj, H5T_FLOAT));
    hid_t all[] = { head, data, traj };
    for (int i = 0; i < 3; i++)
        if (all[i] >= 0)
            H5Tclose(all[i]);
    return good;
}

static bool holds_image_heads(hid_t type)
{
    static const char *const needed[] = { "matrix_size", "channels", "data_type", NULL };
    return has_members(type, needed);
}

static bool dataset_is(kr_h5 *f, const char *name, bool (*what)(hid_t))
{
    if (!kr_h5_has(f, name))
        return false;
    hid_t d = H5Dopen2(f->id, name, H5P_DEFAULT), t = d < 0 ? -1 : H5Dget_type(d);
    bool yes = t >= 0 && what(t);
    if (t >= 0)
        H5Tclose(t);
    if (d >= 0)
        H5Dclose(d);
    return yes;
}

/* ---- Groups ---- */
enum { DEPTH = 3, GROUPS_MOST = 1000 };
struct search { kr_mrd_groups *to; kr_h5 *f; const char *group; int depth, seen; };
static int search_group(struct search *s);

static int search_entry(void *self, const char *name, bool group)
{
    struct search *up = self;
    if (!group || up->depth == DEPTH || up->seen > GROUPS_MOST)
        return 0;
    kr_auto char *full = kr_strf("%s%s%s", up->group, *up->group ? "/" : "", name);
    if (!full)
        return kr_error_code();
    struct search s = { up->to, up->f, full, up->depth + 1, up->seen + 1 };
    int e = search_group(&s);
    up->seen = s.seen;
    return e;
}

static int search_group(struct search *s)
{
    kr_auto char *data = kr_strf("%s/data", s->group), *header = kr_strf("%s/header", s->group);
    if (!data || !header)
        return kr_error_code();
    int content = dataset_is(s->f, data, holds_lines) ? KR_MRD_LINES
                : kr_h5_has(s->f, data) && dataset_is(s->f, header, holds_image_heads) ? KR_MRD_IMAGES : 0;
    kr_mrd_groups *to = s->to;
    if (content && to->count == to->room) {
        long room = to->room ? 2 * to->room : 8;
        struct kr_mrd_group *g = kr_realloc(to->group, (size_t)to->count, (size_t)room, sizeof *g);
        if (!g)
            return kr_error_code();
        to->group = g;
        to->room = room;
    }
    if (content) {
        char *name = kr_strdup(s->group);
        if (!name)
            return kr_error_code();
        to->group[to->count++] = (struct kr_mrd_group){ name, content };
    }
    return kr_h5_list(s->f, *s->group ? s->group : "/", search_entry, s);
}

int kr_mrd_groups_find(kr_mrd_groups *to, kr_h5 *f)
{
    *to = (kr_mrd_groups){ 0 };
    struct search s = { to, f, "", 0, 0 };
    int e = search_group(&s);
    if (e)
        kr_mrd_groups_clear(to);
    return e;
}

void kr_mrd_groups_clear(kr_mrd_groups *g)
{
    for (long i = 0; i < g->count; i++)
        kr_free(g->group[i].name);
    kr_free(g->group);
    *g = (kr_mrd_groups){ 0 };
}

long kr_mrd_groups_choose(const kr_mrd_groups *g, const char *var, int content)
{
    while (var && *var == '/')
        var++;
    for (long i = 0; i < g->count; i++)
        if (g->group[i].content == content && !strcmp(g->group[i].name, var ? var : "dataset"))
            return i;
    for (long i = 0; !var && i < g->count; i++)
        if (g->group[i].content == content)
            return i;
    kr_text t = { 0 };
    for (long i = 0; i < g->count && t.len < 500; i++)
        kr_text_add(&t, "%s%s in '%s'", t.len ? ", " : "", g->group[i].content == KR_MRD_LINES ? "acquisitions" : "images", g->group[i].name);
    kr_fail(KR_EFORMAT, "there are no ISMRMRD %s%s%s%s; the file holds %s", content == KR_MRD_LINES ? "acquisitions" : "images",
            var ? " in a group '" : "", var ? var : "", var ? "'" : "", t.s ? t.s : "neither acquisitions nor images");
    kr_text_clear(&t);
    return kr_error_code();
}

/* ---- Reading compounds in pieces ---- */
typedef struct rows { kr_h5_set *set; hid_t space; } rows;

static void rows_close(rows *r)
{
    if (r->space >= 0)
        H5Sclose(r->space);
    kr_h5_set_unref(&r->set);
}

/* Opens a dataset of one axis, and makes sure that it holds as many rows as it announces. */
static int rows_open(rows *r, kr_h5 *f, const char *group, const char *name)
{
    kr_auto char *full = kr_strf("%s/%s", group, name);
    *r = (rows){ .space = -1 };
    if (!full || !(r->set = kr_h5_set_open(f, full)))
        return kr_error_code();
    hid_t plist = H5Dget_create_plist(r->set->id);
    bool filtered = plist >= 0 && H5Pget_nfilters(plist) > 0;
    if (plist >= 0)
        H5Pclose(plist);
    hsize_t stored = H5Dget_storage_size(r->set->id), width = H5Tget_size(r->set->type);
    r->space = H5Dget_space(r->set->id);
    if (r->set->dims != 1)
        return kr_fail(KR_EFORMAT, "%s has %d axes where 1 is wanted", full, r->set->dims);
    if (!filtered && (hsize_t)r->set->count > stored / width)
        return kr_fail(KR_EFORMAT, "%s announces %ld entries, but holds %llu", full, r->set->count, (unsigned long long)(stored / width));
    return r->space >= 0 ? 0 : kr_fail(KR_EFORMAT, "%s cannot be read", full);
}

static int rows_read(const rows *r, long from, long count, hid_t type, hid_t transfer, void *to)
{
    hsize_t start = (hsize_t)from, n = (hsize_t)count;
    hid_t memory = H5Screate_simple(1, &n, NULL);
    bool good = memory >= 0 && H5Sselect_hyperslab(r->space, H5S_SELECT_SET, &start, NULL, &n, NULL) >= 0
             && H5Dread(r->set->id, type, memory, r->space, transfer, to) >= 0;
    if (memory >= 0)
        H5Sclose(memory);
    return good ? 0 : kr_fail(KR_EFORMAT, "entries %ld to %ld of %s cannot be read: the file is damaged or cut short", from, from + count - 1, r->set->name);
}

/* ---- Heads ---- */
static kr_line line_of(const ISMRMRD_AcquisitionHeader *h)
{
    kr_line l = { .flags = h->flags, .uid = h->measurement_uid, .counter = h->scan_counter, .time_stamp = h->acquisition_time_stamp,
        .samples = h->number_of_samples, .channels = h->active_channels, .traj_dims = h->trajectory_dimensions, .discard_pre = h->discard_pre,
        .discard_post = h->discard_post, .center_sample = h->center_sample, .encoding = h->encoding_space_ref, .ky = h->idx.kspace_encode_step_1,
        .kz = h->idx.kspace_encode_step_2, .average = h->idx.average, .slice = h->idx.slice, .contrast = h->idx.contrast, .phase = h->idx.phase,
        .repetition = h->idx.repetition, .set = h->idx.set, .segment = h->idx.segment, .dwell_us = h->sample_time_us };
    memcpy(l.physio, h->physiology_time_stamp, sizeof l.physio);
    memcpy(l.user, h->idx.user, sizeof l.user);
    memcpy(l.position, h->position, sizeof l.position);
    memcpy(l.read_dir, h->read_dir, sizeof l.read_dir);
    memcpy(l.phase_dir, h->phase_dir, sizeof l.phase_dir);
    memcpy(l.slice_dir, h->slice_dir, sizeof l.slice_dir);
    memcpy(l.table, h->patient_table_position, sizeof l.table);
    memcpy(l.user_int, h->user_int, sizeof l.user_int);
    memcpy(l.user_float, h->user_float, sizeof l.user_float);
    return l;
}

static ISMRMRD_AcquisitionHeader head_of(const kr_line *l)
{
    ISMRMRD_AcquisitionHeader h = { .version = 1, .flags = l->flags, .measurement_uid = l->uid, .scan_counter = l->counter,
        .acquisition_time_stamp = l->time_stamp, .number_of_samples = l->samples, .available_channels = l->channels,
        .active_channels = l->channels, .discard_pre = l->discard_pre, .discard_post = l->discard_post, .center_sample = l->center_sample,
        .encoding_space_ref = l->encoding, .trajectory_dimensions = l->traj_dims, .sample_time_us = l->dwell_us,
        .idx = { .kspace_encode_step_1 = l->ky, .kspace_encode_step_2 = l->kz, .average = l->average, .slice = l->slice,
                 .contrast = l->contrast, .phase = l->phase, .repetition = l->repetition, .set = l->set, .segment = l->segment } };
    for (int c = 0; c < l->channels && c < 64 * ISMRMRD_CHANNEL_MASKS; c++)
        h.channel_mask[c / 64] |= 1ull << c % 64;
    memcpy(h.physiology_time_stamp, l->physio, sizeof l->physio);
    memcpy(h.idx.user, l->user, sizeof l->user);
    memcpy(h.position, l->position, sizeof l->position);
    memcpy(h.read_dir, l->read_dir, sizeof l->read_dir);
    memcpy(h.phase_dir, l->phase_dir, sizeof l->phase_dir);
    memcpy(h.slice_dir, l->slice_dir, sizeof l->slice_dir);
    memcpy(h.patient_table_position, l->table, sizeof l->table);
    memcpy(h.user_int, l->user_int, sizeof l->user_int);
    memcpy(h.user_float, l->user_float, sizeof l->user_float);
    return h;
}

int kr_mrd_heads_read(kr_line **line, long *count, kr_h5 *f, const char *group)
{
    enum { PIECE = 2048 };
    rows r;
    *line = NULL;
    int e = rows_open(&r, f, group, "data");
    kr_auto ISMRMRD_AcquisitionHeader *h = e ? NULL : kr_alloc(PIECE, sizeof *h);
    kr_line *l = h ? kr_alloc((size_t)r.set->count, sizeof *l) : NULL;
    if (!l) {
        rows_close(&r);
        return kr_error_code();
    }
    hid_t type = head_type(sizeof *h, acquisition);
    for (long at = 0; !e && at < r.set->count; at += PIECE) {
        long n = r.set->count - at < PIECE ? r.set->count - at : PIECE;
        memset(h, 0, (size_t)n * sizeof *h);               /* members the file lacks stay 0 */
        e = rows_read(&r, at, n, type, H5P_DEFAULT, h);
        for (long i = 0; !e && i < n; i++) {
            l[at + i] = line_of(&h[i]);
            if (h[i].flags >> 52 & 15)
                e = kr_fail(KR_EFORMAT, "line %ld is compressed (flags 53 to 56), which is not read", at + i);
        }
    }
    H5Tclose(type);
    *count = r.set->count;
    rows_close(&r);
    if (e)
        kr_free(l);
    else
        *line = l;
    return e;
}

/* ---- Samples ---- */
/* Memory for the variable parts of one piece: given out in order, all taken back at once, so that HDF5 neither calls malloc
 * nor frees for every line. `most`: what the file can hold; a length beyond it is damage. */
enum { BLOCKS = 64 };
typedef struct arena { char *block[BLOCKS]; size_t size[BLOCKS], used, most; int count, at; } arena;

static void *arena_alloc(size_t n, void *self)
{
    arena *a = self;
    n = (n + 63) & ~(size_t)63;
    if (n > a->most)
        return NULL;
    while (a->at < a->count && a->used + n > a->size[a->at]) {
        a->at++;
        a->used = 0;
    }
    if (a->at == a->count) {
        if (a->count == BLOCKS)
            return NULL;
        size_t size = (size_t)(8 << 20) << (a->count / 8);
        a->size[a->count] = n > size ? n : size;
        if (!(a->block[a->count] = kr_alloc(a->size[a->count], 1)))
            return NULL;
        a->count++;
    }
    void *p = a->block[a->at] + a->used;
    a->used += n;
    return p;
}

static void arena_free(void *p, void *self) { (void)p; (void)self; }
static void arena_reset(arena *a) { a->at = 0; a->used = 0; }

static void arena_clear(arena *a)
{
    for (int i = 0; i < a->count; i++)
        kr_free(a->block[i]);
}

static int check_parts(const parts *p, const kr_line *l, long at, bool with_traj)
{
    size_t want = 2 * (size_t)l->samples * l->channels, traj = (size_t)l->samples * l->traj_dims;
    if (p->data.len != want)
        return kr_fail(KR_EFORMAT, "line %ld announces %d samples of %d channels, %zu numbers, but holds %zu", at, l->samples, l->channels, want, p->data.len);
    if (with_traj && p->traj.len != traj)
        return kr_fail(KR_EFORMAT, "line %ld announces %d k-space positions in %d dimensions, %zu numbers, but holds %zu", at, l->samples, l->traj_dims, traj, p->traj.len);
    return 0;
}

enum { PIECE_BYTES = 16 << 20, PIECE_LINES = 4096 };

static int read_piece(const rows *r, hid_t type, hid_t transfer, parts *p, const kr_line *line, long from, long n, bool with_traj, const kr_mrd_sink *sink)
{
    const kr_cfloat *samples[PIECE_LINES];
    const float *traj[PIECE_LINES];
    memset(p, 0, (size_t)n * sizeof *p);
    int e = rows_read(r, from, n, type, transfer, p);
    for (long i = 0; !e && i < n; i++) {
        e = check_parts(&p[i], &line[from + i], from + i, with_traj);
        samples[i] = p[i].data.len ? p[i].data.p : NULL;
        traj[i] = p[i].traj.len ? p[i].traj.p : NULL;
    }
    return e ? e : sink->put(sink->self, from, n, samples, traj);
}

int kr_mrd_samples_read(kr_h5 *f, const char *group, const kr_line *line, long count, const kr_mrd_sink *sink, const kr_trace *trace)
{
    rows r;
    int e = rows_open(&r, f, group, "data");
    kr_auto parts *p = e ? NULL : kr_alloc(PIECE_LINES, sizeof *p);
    if (!p) {
        rows_close(&r);
        return kr_error_code();
    }
    bool with_traj = H5Tget_member_index(r.set->type, "traj") >= 0;
    arena a = { .most = (size_t)f->bytes };
    hid_t transfer = H5Pcreate(H5P_DATASET_XFER), type = H5Tcreate(H5T_COMPOUND, sizeof *p);
    H5Pset_vlen_mem_manager(transfer, arena_alloc, &a, arena_free, &a);
    insert(type, "data", offsetof(parts, data), H5Tvlen_create(H5T_NATIVE_FLOAT));
    if (with_traj)
        insert(type, "traj", offsetof(parts, traj), H5Tvlen_create(H5T_NATIVE_FLOAT));
    for (long at = 0; !e && at < count; ) {
        if (!sink->wants(sink->self, at)) {
            at++;
            continue;
        }
        long n = 0, bytes = 0;
        while (at + n < count && n < PIECE_LINES && bytes < PIECE_BYTES && sink->wants(sink->self, at + n)) {
            bytes += 8L * line[at + n].samples * line[at + n].channels;
            n++;
        }
        arena_reset(&a);
        e = read_piece(&r, type, transfer, p, line, at, n, with_traj, sink);
        at += n;
        kr_progress(trace, "reading", (double)at, (double)count);
        e = e ? e : kr_stopped(trace);
    }
    arena_clear(&a);
    H5Tclose(type);
    H5Pclose(transfer);
    rows_close(&r);
    return e;
}

/* ---- Waveforms ---- */
int kr_mrd_waveforms_read(kr_scan *s, kr_h5 *f, const char *group)
{
    kr_auto char *name = kr_strf("%s/waveforms", group);
    if (!name || !kr_h5_has(f, name))
        return name ? 0 : kr_error_code();
    rows r;
    int e = rows_open(&r, f, group, "waveforms");
    kr_auto wave_record *w = e ? NULL : kr_alloc_zero((size_t)r.set->count, sizeof *w);
    s->waveform = w ? kr_alloc_zero((size_t)r.set->count, sizeof *s->waveform) : NULL;
    if (!s->waveform) {
        rows_close(&r);
        return kr_error_code();
    }
    arena a = { .most = (size_t)f->bytes };
    hid_t transfer = H5Pcreate(H5P_DATASET_XFER), type = wave_type();
    H5Pset_vlen_mem_manager(transfer, arena_alloc, &a, arena_free, &a);
    e = rows_read(&r, 0, r.set->count, type, transfer, w);
    for (long i = 0; !e && i < r.set->count; i++) {
        const wave_head *h = &w[i].head;
        size_t n = (size_t)h->number_of_samples * h->channels;
        if (w[i].data.len != n)
            e = kr_fail(KR_EFORMAT, "waveform %ld announces %d samples of %d channels, but holds %zu", i, h->number_of_samples, h->channels, w[i].data.len);
        else if (!(s->waveform[i].data = kr_alloc(n ? n : 1, sizeof *s->waveform[i].data)))
            e = kr_error_code();
        else {
            s->waveforms = i + 1;
            kr_waveform *to = &s->waveform[i];
            *to = (kr_waveform){ h->waveform_id, h->time_stamp, h->scan_counter, h->channels, h->number_of_samples, h->sample_time_us, to->data };
            memcpy(to->data, w[i].data.p ? w[i].data.p : to->data, n * sizeof *to->data);
        }
    }
    arena_clear(&a);
    H5Tclose(type);
    H5Pclose(transfer);
    rows_close(&r);
    return e;
}

/* ---- Writing ---- */
static int not_written(const char *name) { return kr_fail(KR_EFILE, "%s cannot be written; is the disk full?", name); }

/* A dataset of one axis that may grow, as every ISMRMRD reader and writer expects. */
static hid_t growing(kr_h5 *f, const char *name, hid_t type, hsize_t chunk)
{
    hid_t space = H5Screate_simple(1, (const hsize_t[]){ 0 }, (const hsize_t[]){ H5S_UNLIMITED });
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_chunk(plist, 1, &chunk);
    H5Pset_create_intermediate_group(links, 1);
    hid_t d = H5Dcreate2(f->id, name, type, space, links, plist, H5P_DEFAULT);
    H5Pclose(links);
    H5Pclose(plist);
    H5Sclose(space);
    return d;
}

static int append(kr_h5 *f, const char *name, long at, long count, hid_t type, const void *from)
{
    hsize_t start = (hsize_t)at, n = (hsize_t)count, end = start + n;
    hid_t d = at ? H5Dopen2(f->id, name, H5P_DEFAULT) : growing(f, name, type, n < 64 ? n : 64);
    hid_t memory = H5Screate_simple(1, &n, NULL), space = d >= 0 && H5Dset_extent(d, &end) >= 0 ? H5Dget_space(d) : -1;
    bool good = space >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &n, NULL) >= 0
             && H5Dwrite(d, type, memory, space, H5P_DEFAULT, from) >= 0;
    if (space >= 0)
        H5Sclose(space);
    H5Sclose(memory);
    if (d >= 0)
        good = H5Dclose(d) >= 0 && good;
    return good ? 0 : not_written(name);
}

int kr_mrd_lines_write(kr_h5 *f, const char *group, long at, long count, const kr_line *line, const kr_cfloat *const *samples, const float *const *traj)
{
    kr_auto line_record *r = kr_alloc_zero((size_t)count, sizeof *r);
    kr_auto char *name = kr_strf("%s/data", group);
    if (!r || !name)
        return kr_error_code();
    for (long i = 0; i < count; i++) {
        const kr_line *l = &line[i];
        r[i].head = head_of(l);
        r[i].data = (hvl_t){ 2 * (size_t)l->samples * l->channels, (void *)samples[i] };
        r[i].traj = (hvl_t){ traj && traj[i] ? (size_t)l->samples * l->traj_dims : 0, (void *)(traj ? traj[i] : NULL) };
    }
    hid_t type = line_type();
    int e = append(f, name, at, count, type, r);
    H5Tclose(type);
    return e;
}

int kr_mrd_waveforms_write(const kr_scan *s, kr_h5 *f, const char *group)
{
    kr_auto wave_record *r = kr_alloc_zero((size_t)s->waveforms + 1, sizeof *r);
    kr_auto char *name = kr_strf("%s/waveforms", group);
    if (!r || !name || !s->waveforms)
        return kr_error_code();
    for (long i = 0; i < s->waveforms; i++) {
        const kr_waveform *w = &s->waveform[i];
        r[i].head = (wave_head){ .version = 1, .scan_counter = w->counter, .time_stamp = w->time_stamp, .number_of_samples = w->samples,
                                 .channels = w->channels, .sample_time_us = w->sample_time_us, .waveform_id = w->id };
        r[i].data = (hvl_t){ (size_t)w->samples * w->channels, w->data };
    }
    hid_t type = wave_type();
    int e = append(f, name, 0, s->waveforms, type, r);
    H5Tclose(type);
    return e;
}

/* Said to be ASCII, whatever is inside: libismrmrd 1.8 reads no other text, ismrmrd-python reads both. */
int kr_mrd_texts_write(kr_h5 *f, const char *name, long count, char *const *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    int e = append(f, name, 0, count, type, text);
    H5Tclose(type);
    return e;
}

int kr_mrd_texts_read(char ***text, kr_h5 *f, const char *name, long count)
{
    enum { TEXT_MOST = 16 << 20 };
    kr_scoped(h5_set) set = kr_h5_set_open(f, name);
    *text = NULL;
    if (!set)
        return kr_error_code();
    if (set->kind != KR_H5_TEXT || set->dims != 1 || set->count < count || H5Tis_variable_str(set->type) <= 0)
        return kr_fail(KR_EFORMAT, "%s does not hold %ld texts of variable length", name, count);
    kr_auto char **theirs = kr_alloc_zero((size_t)set->count, sizeof *theirs);
    char **out = kr_alloc_zero((size_t)count, sizeof *out);
    arena a = { .most = (size_t)f->bytes < TEXT_MOST ? (size_t)f->bytes : TEXT_MOST };
    hid_t transfer = H5Pcreate(H5P_DATASET_XFER), type = H5Tcopy(set->type);
    H5Pset_vlen_mem_manager(transfer, arena_alloc, &a, arena_free, &a);
    int e = !out || !theirs ? kr_error_code()
          : H5Dread(set->id, type, H5S_ALL, H5S_ALL, transfer, theirs) < 0 ? kr_fail(KR_EFORMAT, "%s cannot be read", name) : 0;
    for (long i = 0; !e && i < count; i++)
        e = (out[i] = kr_strdup(theirs[i] ? theirs[i] : "")) ? 0 : kr_error_code();
    arena_clear(&a);
    H5Tclose(type);
    H5Pclose(transfer);
    for (long i = 0; e && out && i < count; i++)
        kr_free(out[i]);
    if (e)
        kr_free(out);
    else
        *text = out;
    return e;
}

/* ---- Image headers ---- */
int kr_mrd_image_heads_read(ISMRMRD_ImageHeader **head, long *count, kr_h5 *f, const char *group)
{
    rows r;
    *head = NULL;
    int e = rows_open(&r, f, group, "header");
    ISMRMRD_ImageHeader *h = e ? NULL : kr_alloc_zero((size_t)r.set->count, sizeof *h);
    if (h) {
        hid_t type = compound(sizeof *h, image);
        e = rows_read(&r, 0, r.set->count, type, H5P_DEFAULT, h);
        H5Tclose(type);
        *count = r.set->count;
    }
    rows_close(&r);
    if (e)
        kr_free_at(&h);
    *head = h;
    return h ? 0 : kr_error_code();
}

int kr_mrd_image_heads_write(kr_h5 *f, const char *group, const ISMRMRD_ImageHeader *head, long count)
{
    kr_auto char *name = kr_strf("%s/header", group);
    if (!name)
        return kr_error_code();
    hid_t type = compound(sizeof *head, image);
    int e = append(f, name, 0, count, type, head);
    H5Tclose(type);
    return e;
}
