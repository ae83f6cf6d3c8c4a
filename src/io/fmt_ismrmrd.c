/* fmt_ismrmrd.c: ISMRMRD / MRD v1 files: raw data and images. */
#include "kray/io.h"
#include "mrd_h5.h"
#include "mrd_header.h"
#include "mrd_image.h"
#include "mrd_send.h"
#include "mrd_write.h"

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    kr_mrd_groups g;
    if (!kr_h5_is(head, bytes))
        return 0;
    kr_scoped(h5) f = kr_h5_open(path);
    int sure = 0;
    if (f && !kr_mrd_groups_find(&g, f)) {
        sure = g.count ? 95 : 0;
        kr_mrd_groups_clear(&g);
    }
    kr_error_clear();
    return sure;
}

/* ---- Reading ---- */
static void note_others(kr_scan *s, const kr_mrd_groups *g, long chosen)
{
    kr_text t = { 0 };
    for (long i = 0; i < g->count && t.len < 600; i++)
        if (i != chosen)
            kr_text_add(&t, "%s%s (%s)", t.len ? ", " : "", g->group[i].name, g->group[i].content == KR_MRD_LINES ? "acquisitions" : "images");
    if (t.len)
        kr_scan_note(s, "read from group '%s'; the file also holds %s: ask for one by FILE:GROUP", g->group[chosen].name, t.s);
    kr_text_clear(&t);
}

enum { ENCODINGS = 64 };

static int read_header(kr_scan *s, kr_h5 *f, const char *group, kr_encoding *encoding, int *encodings)
{
    kr_auto char *name = kr_strf("%s/xml", group);
    if (!name)
        return kr_error_code();
    if (!kr_h5_has(f, name))
        return kr_fail(KR_EFORMAT, "the group '%s' has acquisitions, but no header ('xml')", group);
    kr_auto char *xml = kr_h5_text(f, name);
    kr_auto kr_mrd_encoding *all = kr_alloc(ENCODINGS, sizeof *all);
    if (!xml || !all || kr_mrd_header_parse(s, xml))
        return kr_error_code();
    int n = kr_mrd_header_encodings(xml, all, ENCODINGS);
    *encodings = n < ENCODINGS ? n : ENCODINGS;
    for (int i = 0; i < *encodings; i++)
        encoding[i] = all[i].enc;
    if (n > 1)
        kr_scan_note(s, "the header describes %d encodings", n);
    return n < 0 ? n : 0;
}

static bool wants(void *placing, long line) { return kr_placing_wants(placing, line); }

static int put(void *placing, long from, long count, const kr_cfloat *const *samples, const float *const *traj)
{
    return kr_placing_put(placing, from, count, samples, traj);
}

static int read_group(kr_scan *s, kr_h5 *f, const char *group, const kr_read *how, const kr_trace *trace)
{
    kr_auto kr_encoding *encoding = kr_alloc_zero(ENCODINGS, sizeof *encoding);
    kr_line *line = NULL;
    kr_mrd_refs *refs = NULL;
    long count = 0;
    int encodings = 0, e = encoding ? read_header(s, f, group, encoding, &encodings) : kr_error_code();
    if (e || (e = kr_mrd_heads_read(&line, &refs, &count, f, group)))
        return e;
    kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, count, encoding, encodings, how->header_only, how->slice_from, how->slice_count, how->played });
    kr_mrd_sink sink = { wants, put, p };
    e = !p ? kr_error_code() : kr_mrd_samples_read(f, line, refs, count, &sink, trace);
    if (p && !e)
        e = kr_placing_end(&p);
    kr_placing_unref(&p);
    kr_free(line);
    kr_free(refs);
    if (!e)
        e = kr_mrd_waveforms_read(s, f, group);
    if (!e && s->waveforms)
        kr_scan_note(s, "waveforms (heart, breathing, triggers), kept but no part of the image: %ld", s->waveforms);
    const char *noise = kr_meta_get(s->meta, "noise_measurement");
    if (!e && noise && !s->lines[KR_LINES_NOISE].count)
        kr_scan_note(s, "the noise was measured in another scan, %s", noise);
    return e;
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    if (src->axes)
        return kr_fail(KR_EUSAGE, "the axes of ISMRMRD acquisitions are known: @%s means nothing", src->axes);
    kr_scoped(h5) f = kr_h5_open(src->path);
    kr_scan *s = f ? kr_scan_new() : NULL;
    kr_mrd_groups g = { 0 };
    int e = s ? kr_mrd_groups_find(&g, f) : kr_error_code();
    long i = e ? e : kr_mrd_groups_choose(&g, src->var, KR_MRD_LINES);
    if (!e && i < 0)
        e = (int)i;
    if (!e && !(e = read_group(s, f, g.group[i].name, how, trace)) && !src->var)
        note_others(s, &g, i);
    kr_mrd_groups_clear(&g);
    if (e)
        kr_scan_unref(&s);
    *out = s;
    return e;
}

const kr_format kr_format_ismrmrd = { .name = "ismrmrd", .suffix = ".mrd .h5", .summary = "ISMRMRD / MRD v1 (HDF5): raw data and images",
    .probe = probe, .read = read_scan, .write = kr_mrd_scan_write, .read_image = kr_mrd_image_read, .write_image = kr_mrd_image_write, .raw = true, .positions = true, .messages = kr_mrd_messages_h5 };
