/* job.c: one job, opened once: method, options, and all that is asked for; scans in, images out. */
#include "kray/io.h"
#include "job.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

kr_job_opts kr_job_preset(void)
{
    return (kr_job_opts){ .prepare = kr_prepare_preset, .coils = kr_coils_preset };
}

/* ---- Opening ---- */

/* Where the option that begins at p ends: at a comma that NAME= follows, or at the end. */
static char *end_of(char *p)
{
    for (char *c = strchr(p, ','); c; c = strchr(c + 1, ',')) {
        const char *n = c + 1;
        n += strspn(n, " ");
        const char *name = n;
        while (isalnum((unsigned char)*n) || *n == '-')
            n++;
        if (n > name && *n == '=')
            return c;
    }
    return p + strlen(p);
}

static int set_all(kr_job *j, const kr_recon *m, const char *options)
{
    if (!(j->words = kr_strdup(options)))
        return kr_error_code();
    for (char *p = j->words, *end; *p; p = end) {
        end = end_of(p);
        if (*end)
            *end++ = 0;
        p += strspn(p, " ");
        char *value = strchr(p, '=');
        if (!*p)
            continue;
        if (!value)
            return kr_fail(KR_EUSAGE, "options are written NAME=VALUE,NAME=VALUE: '%s' has no =", p);
        *value++ = 0;
        if (kr_opt_set(m->opts, j->values, p, value))
            return kr_fail_in("options of %s", m->name);
        j->given = j->given ? j->given : p;
    }
    return 0;
}

static const kr_recon *own(const kr_job *j) { return j->asked ? j->asked : kr_recon_named(KR_AUTO_USUAL); }

static int fill(kr_job *j, const char *method, const char *options)
{
    const kr_recon *m = kr_recon_named(strcmp(method, "auto") ? method : KR_AUTO_USUAL);
    if (!m)
        return kr_error_code();
    j->asked = j->method = strcmp(method, "auto") ? m : NULL;
    j->given = j->how.given;
    j->values = kr_alloc_zero(1, m->opts_size ? m->opts_size : 1);
    if (!j->values)
        return kr_error_code();
    if (j->how.values && m->opts_size)
        memcpy(j->values, j->how.values, m->opts_size);
    else if (kr_opt_defaults(m->opts, j->values))
        return kr_error_code();
    if (options && set_all(j, m, options))
        return kr_error_code();
    const char *partial = j->how.partial;
    if (partial && strcmp(partial, "zero") && strcmp(partial, "pocs") && strcmp(partial, "homodyne"))
        return kr_fail(KR_EUSAGE, "there is no partial Fourier '%s'; known are zero, pocs and homodyne", partial);
    return m->open ? m->open(j->values) : 0;
}

kr_job *kr_job_open(const char *method, const char *options, const kr_job_opts *how)
{
    kr_job *j = kr_alloc_zero(1, sizeof *j);
    if (!j)
        return NULL;
    j->how = how ? *how : kr_job_preset();
    j->keep = -1;
    if (fill(j, method, options))
        kr_job_unref(&j);
    return j;
}

static void drop_presets(kr_job *j)
{
    if (j->presets && j->preset_of->close)
        j->preset_of->close(j->presets);
    kr_free_at(&j->presets);
    j->preset_of = NULL;
}

static void forget(kr_job *j)
{
    for (int i = 0; j->kept && i < KEPT; i++)
        kept_drop(&j->kept[i]);
    kr_free_at(&j->kept);
    kr_array_unref(&j->noise);
    kr_free_at(&j->source);
}

void kr_job_unref(kr_job **job)
{
    kr_job *j = *job;
    if (!j)
        return;
    forget(j);
    const kr_recon *m = own(j);
    if (m && m->close && j->values)
        m->close(j->values);
    kr_free(j->values);
    drop_presets(j);
    kr_free(j->words);
    kr_free_at(job);
}

void kr_job_reset(kr_job *j)
{
    forget(j);
    j->method = j->asked;
    j->told = false;
    j->all = 0;
}

int kr_job_keep(kr_job *j, int number)
{
    if (number < -1 || number >= KEPT)
        return kr_fail(KR_EUSAGE, "%d: coil maps are kept under a number from 0 to %d", number, KEPT - 1);
    if (number >= 0 && !j->kept && !(j->kept = kr_alloc_zero(KEPT, sizeof *j->kept)))
        return kr_error_code();
    j->keep = number;
    return 0;
}

void kr_job_follow(kr_job *j, bool on) { j->follow = on; }

const kr_recon *kr_job_method(const kr_job *j) { return j->method; }

void *kr_job_values(kr_job *j) { return job_values_of(j, j->method ? j->method : own(j)); }

const kr_array *kr_job_maps(const kr_job *j)
{
    return j->how.maps ? j->how.maps : j->keep >= 0 && j->kept ? j->kept[j->keep].maps : NULL;
}

void *job_values_of(kr_job *j, const kr_recon *m)
{
    if (m == own(j) || !m->opts)
        return j->values;
    if (j->preset_of == m)
        return j->presets;
    drop_presets(j);
    j->presets = kr_alloc_zero(1, m->opts_size ? m->opts_size : 1);
    bool fine = j->presets && !kr_opt_defaults(m->opts, j->presets) && !(m->open && m->open(j->presets));
    if (!fine)
        kr_free_at(&j->presets);
    j->preset_of = fine ? m : NULL;
    return j->presets;
}

const kr_recon *job_choose(kr_job *j, const kr_scan *s, const kr_trace *trace)
{
    if (j->asked)
        return j->asked;
    const kr_job_opts *o = &j->how;
    bool maps = s->coils || o->maps;
    kr_auto_choice a = { .maps = maps, .maps_asked = maps || o->coils_asked, .undersampled = o->undersample != NULL, .given = j->given,
                         .phase = o->phase || (o->partial && strcmp(o->partial, "zero")), .bytes = o->memory ? fmax(1, (double)o->memory - job_bytes_beside(s)) : 0,
                         .calib = { o->coils.calib[0], o->coils.calib[1], o->coils.calib[2] } };
    const kr_recon *m = kr_recon_auto(&a, s, trace);
    if (m)
        kr_say(trace, KR_INFO, "method: %s (%s)", m->name, a.why);
    return m && job_values_of(j, m) ? m : NULL;
}

/* ---- Running ---- */

/* A noise scan serves scans that come without one. */
static int share_noise(kr_job *j, kr_scan *s)
{
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->noise) {
        kr_array_unref(&j->noise);
        j->noise = kr_array_ref(s->noise);
        j->noise_dwell_us = s->noise_dwell_us;
        j->noise_bandwidth = s->noise_bandwidth;
    } else if (j->noise && j->noise->n[KR_COIL] == coils && !s->whitened) {
        s->noise = kr_array_ref(j->noise);
        s->noise_dwell_us = j->noise_dwell_us;
        s->noise_bandwidth = j->noise_bandwidth;
    }
    return (s->noise || !j->noise) ? 0 : kr_error_code();
}

int kr_job_prepare(kr_job *j, kr_scan *s, const kr_trace *trace)
{
    if (s->rays)
        return job_rays_only(j) || (!j->method && !(j->method = job_choose(j, s, trace))) || job_takes(j->method, s) ? kr_error_code() : job_rays_fit(j, s);
    kr_prepare prepare = j->how.prepare;
    prepare.mixtures = j->keep >= 0 ? &j->kept[j->keep].mixtures : prepare.mixtures;
    prepare.oversampling &= !(j->asked && j->asked->needs & KR_WHOLE_READOUT);
    if (kr_scan_state(s, &j->how.stated, j->told ? NULL : trace) || (j->keep >= 0 && share_noise(j, s)) || kr_scan_prepare(s, &prepare, trace))
        return kr_error_code();
    if (j->how.undersample && kr_scan_undersample_by(s, j->how.undersample, j->source ? j->source : s->file))
        return kr_error_code();
    return j->method || (j->method = job_choose(j, s, trace)) ? job_takes(j->method, s) : kr_error_code();
}

/* How much was measured and by which mask, and how the image was made. */
int job_describe(kr_image *im, const kr_scan *s, kr_job *j)
{
    kr_mask_facts f;
    kr_text used = { 0 };
    kr_meta_set_whole(im->meta, j->how.whole);
    kr_opt_describe(&used, j->method->opts, job_values_of(j, j->method));
    int e = used.failed ? kr_error_code() : kr_meta_provenance(im->meta, NULL, j->method->name, used.s ? used.s : "", NULL, 0);
    kr_text_clear(&used);
    const char *u = j->how.undersample;
    if (e || (u && (kr_meta_set(im->meta, "kray_mask", "%s", u) || kr_meta_set(im->meta, "kray_undersample", "%s", u))))
        return kr_error_code();
    if (s->traj || s->rays)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);
    if (!mask || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    return kr_meta_set(im->meta, "kray_acceleration", "%.3g", f.accel);
}

int kr_job_image(kr_job *j, kr_image **out, kr_scan *s, const kr_trace *trace)
{
    const kr_recon *m = j->method;
    *out = NULL;
    if (!m)
        return kr_fail(KR_EUSAGE, "a job makes images of scans that it made ready: kr_job_prepare comes first");
    if (!j->told && m->needs & KR_UNFOLDS && warn_of_factor(s, trace))
        return kr_error_code();
    long slices = j->all > s->shape.n[KR_SLICE] ? j->all : s->shape.n[KR_SLICE];
    if (!j->told && j->how.maps && j->how.maps->n[KR_SLICE] == 1 && slices > 1 && !s->multiband.depth)
        kr_say(trace, KR_WARNING, "the coil maps are of one slice, the scan has %ld: all are made by the same maps", slices);
    kr_coils_opts c = j->how.coils;
    c.facts = c.facts ? c.facts : j->facts;
    const kr_array *maps = j->how.maps;
    bool window = maps && maps->n[KR_SLICE] > 1 && j->count < j->all;
    kr_scoped(array) part = window ? kr_array_range(maps, KR_SLICE, j->from, j->count) : NULL;
    if (window && !part)
        return kr_error_code();
    maps = window ? part : maps;
    kept *k = j->keep >= 0 ? &j->kept[j->keep] : NULL;
    void *values = job_values_of(j, m);
    kr_recon by = *m;                                              /* phase, and maps that are asked for, by methods that can do without */
    if (m->needs & KR_MAY_USE_COILS && (j->how.coils_asked || j->how.phase))
        by.needs = (m->needs & ~(unsigned)KR_MAY_USE_COILS) | KR_NEEDS_COILS | KR_SOFT_MAPS;
    by.needs |= m->also_needs ? m->also_needs(values) : 0;
    if (k)
        k->follow = j->follow;
    const char *partial = j->how.partial && strcmp(j->how.partial, "zero") ? j->how.partial : NULL;
    int e = partial ? partial_kept(out, s, &by, values, partial, maps, &c, k, trace) : reconstruct_kept(out, s, &by, values, maps, &c, k, trace);
    if (!e && (e = job_describe(*out, s, j)))
        kr_image_unref(out);
    j->told = true;
    return e;
}

int kr_job_run(kr_job *j, kr_image **out, kr_scan *scan, const kr_trace *trace)
{
    *out = NULL;
    return kr_scan_check(scan) || kr_job_prepare(j, scan, trace) ? kr_error_code() : kr_job_image(j, out, scan, trace);
}
