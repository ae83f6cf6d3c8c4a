/* mrd_keep.c: a recorded stream as an ISMRMRD file. */
#include "kray/io.h"
#include "mrd_h5.h"
#include "mrd_walk.h"
#include <string.h>

enum { PIECE_LINES = 256, PIECE_BYTES = 32 << 20 };

struct keeper {
    kr_h5 *f;
    kr_scan *waves;
    long room;
    char *text[3];                   /* xml, config, configAdditional                                   */
    ISMRMRD_AcquisitionHeader *head;
    kr_cfloat *samples[PIECE_LINES];
    float *traj[PIECE_LINES];
    long count, bytes;
    kr_mrd_kept *what;
};

static int flush(struct keeper *k)
{
    int e = k->count ? kr_mrd_records_write(k->f, "dataset", k->what->lines, k->count, k->head, (const kr_cfloat *const *)k->samples, (const float *const *)k->traj) : 0;
    k->what->lines += k->count;
    for (long i = 0; i < k->count; i++) {
        kr_free_at(&k->samples[i]);
        kr_free_at(&k->traj[i]);
    }
    k->count = k->bytes = 0;
    return e;
}

static int keep_line(struct keeper *k, const kr_mrd_message *m)
{
    long i = k->count;
    memcpy(&k->head[i], m->head, sizeof *k->head);
    k->samples[i] = kr_alloc(m->data_bytes + 1, 1);
    k->traj[i] = m->traj_bytes ? kr_alloc(m->traj_bytes, 1) : NULL;
    k->count++;
    if (!k->samples[i] || (m->traj_bytes && !k->traj[i]))
        return kr_error_code();
    memcpy(k->samples[i], m->data, m->data_bytes);
    if (m->traj_bytes)
        memcpy(k->traj[i], m->traj, m->traj_bytes);
    k->bytes += (long)m->bytes;
    return k->count == PIECE_LINES || k->bytes > PIECE_BYTES ? flush(k) : 0;
}

static int keep_wave(struct keeper *k, const kr_mrd_message *m)
{
    kr_scan *s = k->waves;
    if (s->waveforms == k->room) {
        long room = k->room ? 2 * k->room : 64;
        kr_waveform *w = kr_realloc(s->waveform, (size_t)s->waveforms, (size_t)room, sizeof *w);
        if (!w)
            return kr_error_code();
        s->waveform = w;
        k->room = room;
    }
    kr_waveform *w = &s->waveform[s->waveforms];
    *w = kr_mrd_wave_parse(m->head);
    w->data = kr_alloc(m->data_bytes + 4, 1);
    if (!w->data)
        return kr_error_code();
    memcpy(w->data, m->data, m->data_bytes);
    s->waveforms++;
    return 0;
}

static int keep(void *self, const kr_mrd_message *m)
{
    struct keeper *k = self;
    int t = m->id == KR_MRD_HEADER ? 0 : m->id == KR_MRD_CONFIG_FILE || m->id == KR_MRD_CONFIG_TEXT ? 1 : m->id == KR_MRD_TEXT ? 2 : -1;
    if (t >= 0 && !k->text[t])
        return (k->text[t] = kr_mrd_text_of(m)) ? 0 : kr_error_code();
    if (m->id == KR_MRD_ACQUISITION)
        return keep_line(k, m);
    if (m->id == KR_MRD_WAVEFORM)
        return keep_wave(k, m);
    k->what->left += m->id != KR_MRD_CLOSE && m->id != KR_MRD_QUERY;
    return 0;
}

/* What is whole of a stream that was cut off is kept. */
static int keep_file(struct keeper *k, const char *stream)
{
    kr_mrd_walk w;
    int e = kr_mrd_walk_file(&w, stream, keep, k);
    k->what->cut = w.cut;
    k->what->whole = w.whole;
    if (!w.cut)
        return e;
    kr_error_clear();
    return 0;
}

static int write_all(struct keeper *k, const char *stream)
{
    static const char *const name[3] = { "dataset/xml", "dataset/config", "dataset/configAdditional" };
    if (keep_file(k, stream) || flush(k))
        return kr_error_code();
    if (!k->text[0] || !k->what->lines)
        return kr_fail(KR_EFORMAT, "%s holds %s", stream, k->text[0] ? "no acquisitions" : "no header");
    for (int t = 0; t < 3; t++)
        if (k->text[t] && kr_mrd_texts_write(k->f, name[t], 1, &k->text[t]))
            return kr_error_code();
    k->what->waveforms = k->waves->waveforms;
    return k->waves->waveforms ? kr_mrd_waveforms_write(k->waves, k->f, "dataset") : 0;
}

int kr_mrd_keep(kr_mrd_kept *what, const char *stream, const char *path)
{
    kr_beside to = { 0 };
    *what = (kr_mrd_kept){ 0 };
    struct keeper k = { .waves = kr_scan_new(), .head = kr_alloc(PIECE_LINES, sizeof *k.head), .what = what };
    int e = k.waves && k.head && !kr_folder_for(path) && !kr_beside_open(&to, path) && (k.f = kr_h5_create(to.file, 0)) ? write_all(&k, stream) : kr_error_code();
    if (!e)
        e = kr_h5_close(&k.f);
    kr_h5_unref(&k.f);
    if (!e)
        e = kr_beside_commit(&to);
    kr_beside_drop(&to);
    for (long i = 0; i < k.count; i++) {
        kr_free(k.samples[i]);
        kr_free(k.traj[i]);
    }
    for (int t = 0; t < 3; t++)
        kr_free(k.text[t]);
    kr_free(k.head);
    kr_scan_unref(&k.waves);
    return e;
}
