/* mrd_h5.c: the HDF5 side of ISMRMRD. Compounds are read by the names of their members, since their offsets differ from writer
 * to writer, and many lines at a time: one HDF5 call per line would be what takes longest. The samples
 * themselves are fetched by h5vlen. */
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
    hid_t d = kr_h5_has(f, name) ? kr_h5_dataset(f, name) : -1, t = d < 0 ? -1 : H5Dget_type(d);
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
/* One member, from its place in a record of the file to its place in memory. HDF5's own conversion of compounds believes the
 * offsets that a file gives, so members are checked and converted here. */
typedef struct conversion { long from, to; int count, from_size, to_size; bool real, sign, big, same; char kind; } conversion;
enum { PIECE = 1024, MEMBERS = 48 };

/* A dataset of records {head, data, traj}; head "": the record itself is the head. */
typedef struct records {
    kr_h5_set *set;
    long row, data_at, traj_at;      /* bytes; -1: no such member */
    conversion c[MEMBERS];
    int conversions;
    size_t size;                     /* of a head in memory */
    unsigned char *raw;
} records;

static void records_close(records *r)
{
    kr_h5_set_unref(&r->set);
    kr_free(r->raw);
}

static int size_of(char kind) { return kind == 'H' ? 2 : kind == 'Q' ? 8 : 4; }

/* Where a member lies and how large it is; false: not there, or it reaches beyond its compound. */
static bool member_at(hid_t type, const char *name, size_t bytes, long *at)
{
    int i = H5Tget_member_index(type, name);
    size_t offset = i < 0 ? 0 : H5Tget_member_offset(type, (unsigned)i), size = H5Tget_size(type);
    *at = i < 0 ? -1 : (long)offset;
    return i >= 0 && offset <= size && bytes <= size - offset;
}

static bool plan_number(conversion *c, hid_t type, const field *f)
{
    H5T_class_t class = H5Tget_class(type);
    c->kind = f->kind;
    c->count = f->count;
    c->from_size = (int)H5Tget_size(type);
    c->to_size = size_of(f->kind);
    c->real = class == H5T_FLOAT;
    c->big = H5Tget_order(type) == H5T_ORDER_BE;
    c->sign = !c->real && H5Tget_sign(type) == H5T_SGN_2;
    c->same = !c->big && c->from_size == c->to_size && c->real == (f->kind == 'f');
    bool sizes = c->from_size == 4 || c->from_size == 8 || (!c->real && (c->from_size == 1 || c->from_size == 2));
    return (c->real || class == H5T_INTEGER) && sizes;
}

static int plan_members(records *r, hid_t type, long from, const field *f, long to);

static int plan_member(records *r, hid_t type, long from, const field *f, long to)
{
    hid_t t = member(type, f->name);
    if (t < 0)
        return 0;                                            /* stays 0 */
    long at, n = 1;
    bool inside = member_at(type, f->name, H5Tget_size(t), &at);
    int e = 0;
    if (inside && f->kind == 'C')
        e = plan_members(r, t, from + at, f, to + (long)f->at);
    else {
        hsize_t dims[8] = { 1 };
        bool many = H5Tget_class(t) == H5T_ARRAY, fits = !many || (H5Tget_array_ndims(t) == 1 && H5Tget_array_dims2(t, dims) == 1);
        hid_t base = many ? H5Tget_super(t) : H5Tcopy(t);
        n = many ? (long)dims[0] : 1;
        conversion *c = &r->c[r->conversions];
        if (!inside || !fits || n != f->count || base < 0 || r->conversions == MEMBERS || !plan_number(c, base, f)
            || (size_t)c->from_size * (size_t)n > H5Tget_size(t))
            e = kr_fail(KR_EFORMAT, "%s: the member '%s' is not the %s it should be", r->set->name, f->name, f->count > 1 ? "array of numbers" : "number");
        else {
            c->from = from + at;
            c->to = to + (long)f->at;
            r->conversions++;
        }
        if (base >= 0)
            H5Tclose(base);
    }
    H5Tclose(t);
    return inside || e ? e : kr_fail(KR_EFORMAT, "%s: the member '%s' lies outside its record", r->set->name, f->name);
}

static int plan_members(records *r, hid_t type, long from, const field *f, long to)
{
    if (H5Tget_class(type) != H5T_COMPOUND)
        return kr_fail(KR_EFORMAT, "%s: '%s' is no compound", r->set->name, f->name);
    int e = 0;
    for (f = f->kind == 'C' ? counters : f; !e && f->name; f++)
        e = plan_member(r, type, from, f, to);
    return e;
}

/* Opens a dataset of one axis and sees that it really holds as many rows as it announces. */
static int records_open(records *r, kr_h5 *f, const char *group, const char *name, const char *head, const field *fields, size_t size)
{
    kr_auto char *full = kr_strf("%s/%s", group, name);
    *r = (records){ .size = size };
    if (!full || !(r->set = kr_h5_set_open(f, full)))
        return kr_error_code();
    hid_t plist = H5Dget_create_plist(r->set->id);
    bool filtered = plist >= 0 && H5Pget_nfilters(plist) > 0;
    if (plist >= 0)
        H5Pclose(plist);
    long stored = (long)H5Dget_storage_size(r->set->id), head_at = 0;
    r->row = (long)H5Tget_size(r->set->type);
    if (r->set->dims != 1 || r->row < 1 || r->row > 1 << 16)
        return kr_fail(KR_EFORMAT, "%s has %d axes and entries of %ld bytes; one axis of records is wanted", full, r->set->dims, r->row);
    if (!filtered && r->set->count > stored / r->row)
        return kr_fail(KR_EFORMAT, "%s announces %ld entries, but holds %ld", full, r->set->count, stored / r->row);
    hid_t t = *head ? member(r->set->type, head) : H5Tcopy(r->set->type);
    bool inside = t >= 0 && (!*head || member_at(r->set->type, head, H5Tget_size(t), &head_at));
    int e = inside ? plan_members(r, t, head_at, fields, 0) : kr_fail(KR_EFORMAT, "%s holds no records with a head", full);
    if (t >= 0)
        H5Tclose(t);
    bool data = *head && member_at(r->set->type, "data", KR_H5_REF, &r->data_at), traj = *head && member_at(r->set->type, "traj", KR_H5_REF, &r->traj_at);
    r->data_at = data ? r->data_at : -1;
    r->traj_at = traj ? r->traj_at : -1;
    return e || (r->raw = kr_alloc(PIECE, (size_t)r->row)) ? e : kr_error_code();
}

/* Any integer or float of the file as the kind wanted. */
static void convert_number(const conversion *c, const unsigned char *from, unsigned char *to)
{
    unsigned char b[8] = { 0 };
    for (int k = 0; k < c->from_size; k++)
        b[k] = from[c->big ? c->from_size - 1 - k : k];
    if (c->sign && b[c->from_size - 1] & 0x80)
        memset(b + c->from_size, 0xff, (size_t)(8 - c->from_size));
    int64_t i = 0;
    float f = 0;
    double d = 0;
    memcpy(&i, b, sizeof i);
    if (c->real && c->from_size == 4) {
        memcpy(&f, b, sizeof f);
        d = f;
    } else if (c->real)
        memcpy(&d, b, sizeof d);
    if (c->kind == 'f') {
        f = c->real ? (float)d : (float)i;
        memcpy(to, &f, sizeof f);
    } else {
        if (c->real)
            i = d > -9e18 && d < 9e18 ? (int64_t)d : 0;
        memcpy(to, &i, (size_t)c->to_size);                  /* little-endian: the low bytes */
    }
}

/* At most PIECE heads; members the file lacks are 0. */
static int records_read(records *r, long from, long n, void *head)
{
    if (kr_h5_rows(r->set, r->row, from, n, r->raw))
        return kr_error_code();
    memset(head, 0, (size_t)n * r->size);
    for (long i = 0; i < n; i++)
        for (int m = 0; m < r->conversions; m++) {
            const conversion *c = &r->c[m];
            const unsigned char *a = r->raw + i * r->row + c->from;
            unsigned char *b = (unsigned char *)head + (size_t)i * r->size + c->to;
            if (c->same)
                memcpy(b, a, (size_t)(c->count * c->to_size));
            else
                for (int k = 0; k < c->count; k++)
                    convert_number(c, a + k * c->from_size, b + k * c->to_size);
        }
    return 0;
}

static kr_h5_ref ref_at(const records *r, long i, long at)
{
    return at < 0 ? (kr_h5_ref){ 0 } : kr_h5_ref_of(r->raw + i * r->row + at);
}

/* ---- Heads ---- */
kr_line kr_mrd_line_of(const ISMRMRD_AcquisitionHeader *h)
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

int kr_mrd_line_check(const kr_line *l, long at)
{
    return l->flags >> 52 & 15 ? kr_fail(KR_EFORMAT, "line %ld is compressed (flags 53 to 56), which is not read", at) : 0;
}

ISMRMRD_AcquisitionHeader kr_mrd_head_of(const kr_line *l)
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

int kr_mrd_heads_read(kr_line **line, kr_mrd_refs **refs, long *count, kr_h5 *f, const char *group)
{
    records r;
    *line = NULL;
    *refs = NULL;
    int e = records_open(&r, f, group, "data", "head", acquisition, sizeof(ISMRMRD_AcquisitionHeader));
    kr_auto ISMRMRD_AcquisitionHeader *h = e ? NULL : kr_alloc(PIECE, sizeof *h);
    kr_auto kr_line *l = h ? kr_alloc((size_t)r.set->count, sizeof *l) : NULL;
    kr_auto kr_mrd_refs *at = l ? kr_alloc((size_t)r.set->count, sizeof *at) : NULL;
    e = at ? 0 : kr_error_code();
    for (long from = 0, n; !e && from < r.set->count; from += n) {
        n = r.set->count - from < PIECE ? r.set->count - from : PIECE;
        e = records_read(&r, from, n, h);
        for (long i = 0; !e && i < n; i++) {
            l[from + i] = kr_mrd_line_of(&h[i]);
            at[from + i] = (kr_mrd_refs){ ref_at(&r, i, r.data_at), ref_at(&r, i, r.traj_at) };
            e = kr_mrd_line_check(&l[from + i], from + i);
        }
    }
    if (!e) {
        *count = r.set->count;
        *line = l;
        *refs = at;
        l = NULL;
        at = NULL;
    }
    records_close(&r);
    return e;
}

/* ---- Samples ---- */
enum { PIECE_BYTES = 16 << 20, PIECE_LINES = 4096, BLOCK_LINES = 32 };
typedef struct piece {
    const kr_h5 *f;
    const kr_line *line;
    const kr_mrd_refs *refs;
    long from, count;
    kr_cfloat *samples[PIECE_LINES];
    float *traj[PIECE_LINES];
    kr_h5_heap *heap;                /* one for each worker */
} piece;

static int check_lengths(const kr_line *l, const kr_mrd_refs *r, long at)
{
    size_t want = 2 * (size_t)l->samples * l->channels, traj = (size_t)l->samples * l->traj_dims;
    if (r->samples.count != want)
        return kr_fail(KR_EFORMAT, "line %ld announces %d samples of %d channels, %zu numbers, but holds %u", at, l->samples, l->channels, want, r->samples.count);
    if (r->traj.count != traj)
        return kr_fail(KR_EFORMAT, "line %ld announces %d k-space positions in %d dimensions, %zu numbers, but holds %u", at, l->samples, l->traj_dims, traj, r->traj.count);
    return 0;
}

/* Neighbouring lines often share a heap collection, so a worker takes a block of them. */
static int read_block(void *self, long b)
{
    const piece *p = self;
    kr_h5_heap *heap = &p->heap[kr_worker()];
    for (long i = b * BLOCK_LINES; i < p->count && i < (b + 1) * BLOCK_LINES; i++) {
        const kr_mrd_refs *r = &p->refs[p->from + i];
        if (kr_h5_heap_read(p->f, heap, r->samples, 4 * (size_t)r->samples.count, p->samples[i])
            || kr_h5_heap_read(p->f, heap, r->traj, 4 * (size_t)r->traj.count, p->traj[i]))
            return kr_fail_in("line %ld", p->from + i);
    }
    return 0;
}

static int read_piece(piece *p, float *room, const kr_mrd_sink *sink)
{
    for (long i = 0; i < p->count; i++) {
        const kr_mrd_refs *r = &p->refs[p->from + i];
        p->samples[i] = r->samples.count ? (kr_cfloat *)(void *)room : NULL;
        p->traj[i] = r->traj.count ? room + r->samples.count : NULL;
        room += r->samples.count + (r->traj.count + 1) / 2 * 2;
    }
    int e = kr_for((p->count + BLOCK_LINES - 1) / BLOCK_LINES, read_block, p);
    return e ? e : sink->put(sink->self, p->from, p->count, (const kr_cfloat *const *)p->samples, (const float *const *)p->traj);
}

/* Lines from `at` that fit into one piece; *floats: their room. Their lengths are those the heads announce, and no more than
 * the file holds. */
static int next_piece(piece *p, long at, long count, const kr_mrd_sink *sink, size_t *floats)
{
    *floats = 0;
    p->from = at;
    p->count = 0;
    while (at < count && p->count < PIECE_LINES && 4 * *floats < PIECE_BYTES && sink->wants(sink->self, at)) {
        const kr_mrd_refs *r = &p->refs[at];
        if (check_lengths(&p->line[at], r, at))
            return kr_error_code();
        *floats += r->samples.count + (r->traj.count + 1) / 2 * 2;
        p->count++;
        at++;
    }
    if (*floats > (size_t)p->f->bytes / 4 + 2 * PIECE_LINES)
        return kr_fail(KR_EFORMAT, "lines %ld to %ld announce %zu numbers, more than the file holds", p->from, at - 1, *floats);
    return 0;
}

int kr_mrd_samples_read(const kr_h5 *f, const kr_line *line, const kr_mrd_refs *refs, long count, const kr_mrd_sink *sink, const kr_trace *trace)
{
    kr_auto piece *p = kr_alloc_zero(1, sizeof *p);
    kr_auto kr_h5_heap *heap = kr_alloc_zero((size_t)kr_threads(), sizeof *heap);
    float *room = NULL;
    size_t have = 0, want;
    if (!p || !heap)
        return kr_error_code();
    *p = (piece){ .f = f, .line = line, .refs = refs, .heap = heap };
    int e = 0;
    for (long at = 0; !e && at < count; at = p->from + (p->count ? p->count : 1)) {
        if ((e = next_piece(p, at, count, sink, &want)) || !p->count)
            continue;
        if (want > have) {
            kr_free(room);
            have = (room = kr_alloc(want, sizeof *room)) ? want : 0;
        }
        e = room || !want ? read_piece(p, room, sink) : kr_error_code();
        kr_progress(trace, "reading", (double)(p->from + p->count), (double)count);
        e = e ? e : kr_stopped(trace);
    }
    for (int k = 0; k < kr_threads(); k++)
        kr_h5_heap_clear(&heap[k]);
    kr_free(room);
    return e;
}

/* ---- Waveforms ---- */
static int read_waveform(kr_waveform *to, const kr_h5 *f, kr_h5_heap *heap, const wave_head *h, kr_h5_ref r, long at)
{
    size_t n = (size_t)h->number_of_samples * h->channels;
    if (r.count != n || n > (size_t)f->bytes / 4)
        return kr_fail(KR_EFORMAT, "waveform %ld announces %d samples of %d channels, but holds %u", at, h->number_of_samples, h->channels, r.count);
    *to = (kr_waveform){ h->waveform_id, h->time_stamp, h->scan_counter, h->channels, h->number_of_samples, h->sample_time_us,
                         kr_alloc(n + 1, sizeof *to->data) };
    return to->data ? kr_h5_heap_read(f, heap, r, 4 * n, to->data) : kr_error_code();
}

int kr_mrd_waveforms_read(kr_scan *s, kr_h5 *f, const char *group)
{
    kr_auto char *name = kr_strf("%s/waveforms", group);
    if (!name || !kr_h5_has(f, name))
        return name ? 0 : kr_error_code();
    records r;
    kr_h5_heap heap = { 0 };
    int e = records_open(&r, f, group, "waveforms", "head", waveform, sizeof(wave_head));
    kr_auto wave_head *h = e ? NULL : kr_alloc(PIECE, sizeof *h);
    s->waveform = h ? kr_alloc_zero((size_t)r.set->count, sizeof *s->waveform) : NULL;
    e = s->waveform ? 0 : kr_error_code();
    for (long from = 0, n; !e && from < r.set->count; from += n) {
        n = r.set->count - from < PIECE ? r.set->count - from : PIECE;
        e = records_read(&r, from, n, h);
        for (long i = 0; !e && i < n; i++)
            e = read_waveform(&s->waveform[s->waveforms++], f, &heap, &h[i], ref_at(&r, i, r.data_at), from + i);
    }
    kr_h5_heap_clear(&heap);
    records_close(&r);
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

int kr_mrd_records_write(kr_h5 *f, const char *group, long at, long count, const ISMRMRD_AcquisitionHeader *head, const kr_cfloat *const *samples,
                         const float *const *traj)
{
    kr_auto line_record *r = kr_alloc_zero((size_t)count, sizeof *r);
    kr_auto char *name = kr_strf("%s/data", group);
    if (!r || !name)
        return kr_error_code();
    for (long i = 0; i < count; i++) {
        r[i].head = head[i];
        r[i].data = (hvl_t){ 2 * (size_t)head[i].number_of_samples * head[i].active_channels, (void *)samples[i] };
        r[i].traj = (hvl_t){ traj && traj[i] ? (size_t)head[i].number_of_samples * head[i].trajectory_dimensions : 0, (void *)(traj ? traj[i] : NULL) };
    }
    hid_t type = line_type();
    int e = append(f, name, at, count, type, r);
    H5Tclose(type);
    return e;
}

int kr_mrd_lines_write(kr_h5 *f, const char *group, long at, long count, const kr_line *line, const kr_cfloat *const *samples, const float *const *traj)
{
    kr_auto ISMRMRD_AcquisitionHeader *head = kr_alloc((size_t)count, sizeof *head);
    if (!head)
        return kr_error_code();
    for (long i = 0; i < count; i++)
        head[i] = kr_mrd_head_of(&line[i]);
    return kr_mrd_records_write(f, group, at, count, head, samples, traj);
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

/* ---- Image headers ---- */
int kr_mrd_image_heads_read(ISMRMRD_ImageHeader **head, long *count, kr_h5 *f, const char *group)
{
    records r;
    int e = records_open(&r, f, group, "header", "", image, sizeof(ISMRMRD_ImageHeader));
    kr_auto ISMRMRD_ImageHeader *h = e ? NULL : kr_alloc((size_t)r.set->count, sizeof *h);
    e = h ? 0 : kr_error_code();
    for (long from = 0, n; !e && from < r.set->count; from += n) {
        n = r.set->count - from < PIECE ? r.set->count - from : PIECE;
        e = records_read(&r, from, n, h + from);
    }
    *count = e ? 0 : r.set->count;
    *head = NULL;
    if (!e) {
        *head = h;
        h = NULL;
    }
    records_close(&r);
    return e;
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
