/* mrd_send.c: what a client sends of a file. */
#include "mrd_h5.h"
#include "mrd_send.h"
#include "mrd_walk.h"
#include <string.h>

struct sender {
    int (*put)(void *self, const kr_mrd_message *m);
    void *self;
    const kr_scan *s;                /* its waveforms                                                   */
    const kr_line *line;
    long wave, lines;
    kr_mrd_walk walk;                /* of a recorded stream                                            */
    const kr_trace *trace;
};

/* ---- From HDF5 ---- */
static int put_text(const struct sender *to, int id, const char *text)
{
    return to->put(to->self, &(kr_mrd_message){ .id = id, .text = text, .text_bytes = strlen(text) + 1 });
}

static int put_wave(const struct sender *to, const kr_waveform *w)
{
    unsigned char h[KR_MRD_WAVE_HEAD] = { 1 };
    memcpy(h + 20, &w->counter, 4);
    memcpy(h + 24, &w->time_stamp, 4);
    memcpy(h + 28, &w->samples, 2);
    memcpy(h + 30, &w->channels, 2);
    memcpy(h + 32, &w->sample_time_us, 4);
    memcpy(h + 36, &w->id, 2);
    return to->put(to->self, &(kr_mrd_message){ .id = KR_MRD_WAVEFORM, .head = h, .head_bytes = sizeof h, .data = (const unsigned char *)w->data,
                                                .data_bytes = 4 * (size_t)w->samples * w->channels });
}

static bool wants(void *self, long line)
{
    (void)self;
    (void)line;
    return true;
}

static int put_lines(void *self, long from, long count, const kr_cfloat *const *samples, const float *const *traj)
{
    struct sender *to = self;
    for (long i = 0; i < count; i++) {
        const kr_line *l = &to->line[from + i];
        for (; to->wave < to->s->waveforms && to->s->waveform[to->wave].time_stamp <= l->time_stamp; to->wave++)
            if (put_wave(to, &to->s->waveform[to->wave]))
                return kr_error_code();
        ISMRMRD_AcquisitionHeader h = kr_mrd_head_of(l);
        size_t t = traj && traj[i] ? 4 * (size_t)l->samples * l->traj_dims : 0, n = 8 * (size_t)l->samples * l->channels;
        kr_mrd_message m = { .id = KR_MRD_ACQUISITION, .head = (const unsigned char *)&h, .head_bytes = sizeof h, .data = (const unsigned char *)samples[i], .data_bytes = n,
                             .traj = t ? (const unsigned char *)traj[i] : NULL, .traj_bytes = t };
        if (to->put(to->self, &m) || kr_stopped(to->trace))
            return kr_error_code();
    }
    kr_progress(to->trace, "sending", (double)(from + count), (double)to->lines);
    return 0;
}

static int put_group(struct sender *to, kr_h5 *f, const char *group)
{
    kr_auto char *xml_name = kr_strf("%s/xml", group);
    kr_auto char *more_name = kr_strf("%s/configAdditional", group);
    if (!xml_name || !more_name)
        return kr_error_code();
    if (!kr_h5_has(f, xml_name))
        return kr_fail(KR_EFORMAT, "the group '%s' has acquisitions, but no header ('xml')", group);
    kr_auto char *xml = kr_h5_text(f, xml_name);
    kr_auto char *more = kr_h5_has(f, more_name) ? kr_h5_text(f, more_name) : NULL;
    kr_scoped(scan) waves = kr_scan_new();
    kr_auto kr_line *line = NULL;
    kr_auto kr_mrd_refs *refs = NULL;
    if (!xml || !waves || kr_mrd_waveforms_read(waves, f, group) || kr_mrd_heads_read(&line, &refs, &to->lines, f, group) || put_text(to, KR_MRD_HEADER, xml)
        || (more && put_text(to, KR_MRD_TEXT, more)))
        return kr_error_code();
    to->s = waves;
    to->line = line;
    int e = kr_mrd_samples_read(f, line, refs, to->lines, &(kr_mrd_sink){ wants, put_lines, to }, to->trace);
    for (; !e && to->wave < waves->waveforms; to->wave++)
        e = put_wave(to, &waves->waveform[to->wave]);
    to->s = NULL;
    to->line = NULL;
    return e;
}

int kr_mrd_messages_h5(const kr_source *src, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace)
{
    struct sender to = { .put = put, .self = self, .trace = trace };
    kr_mrd_groups g = { 0 };
    kr_scoped(h5) f = kr_h5_open(src->path);
    int e = f ? kr_mrd_groups_find(&g, f) : kr_error_code();
    long i = e ? e : kr_mrd_groups_choose(&g, src->var, KR_MRD_LINES);
    e = i < 0 ? (int)i : put_group(&to, f, g.group[i].name);
    kr_mrd_groups_clear(&g);
    return e;
}

/* ---- From a recorded stream ---- */
/* The server's configuration is its client's matter. */
static int put_recorded(void *self, const kr_mrd_message *m)
{
    struct sender *to = self;
    kr_progress(to->trace, "sending", (double)to->walk.at, (double)to->walk.bytes);
    if (kr_stopped(to->trace))
        return kr_error_code();
    return m->id == KR_MRD_CONFIG_FILE || m->id == KR_MRD_CONFIG_TEXT || m->id == KR_MRD_CLOSE ? 0 : to->put(to->self, m);
}

int kr_mrd_messages_stream(const kr_source *src, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace)
{
    struct sender to = { .put = put, .self = self, .trace = trace };
    return kr_mrd_walk_file(&to.walk, src->path, put_recorded, &to);
}

int kr_mrd_messages(const char *source, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace)
{
    kr_source src;
    if (kr_source_parse(&src, source))
        return kr_error_code();
    const kr_format *f = kr_format_of(src.path);
    int e = !f ? kr_error_code() : f->messages ? f->messages(&src, put, self, trace) : kr_fail(KR_EFORMAT, "a file of the format %s is no list of messages", f->name);
    if (e)
        kr_fail_in("%s", source);
    kr_source_clear(&src);
    return e;
}
