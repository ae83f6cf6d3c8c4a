/* fmt_bids.c: NIfTI volumes with what is known of the measurement as JSON beside them (NAME.nii.gz, NAME.json). Source: Brain Imaging Data Structure 1.9, MRI:
 * names of fields, times in seconds. */
#include "kray/io.h"
#include "file.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

extern const kr_format kr_format_nifti;

/* "2.1 4.3" in ms as seconds: a number, or a list of several. */
static json_t *seconds(const char *ms)
{
    json_t *all = json_array();
    for (char *end; ms && *ms; ms = end) {
        double v = strtod(ms, &end);
        if (end == ms)
            break;
        json_array_append_new(all, json_real(v / 1000));
        end += strspn(end, " ,");
    }
    if (json_array_size(all) == 1) {
        json_t *one = json_incref(json_array_get(all, 0));
        json_decref(all);
        return one;
    }
    return all;
}

static json_t *fields(const kr_image *im)
{
    static const struct { const char *key, *name; enum { TEXT, NUMBER, MS } kind; } table[] = { { "vendor", "Manufacturer", TEXT }, { "model", "ManufacturersModelName", TEXT },
        { "institution", "InstitutionName", TEXT }, { "station", "StationName", TEXT }, { "field_T", "MagneticFieldStrength", NUMBER }, { "protocol", "ProtocolName", TEXT },
        { "series", "SeriesDescription", TEXT }, { "sequence", "SequenceName", TEXT }, { "body_part", "BodyPartExamined", TEXT }, { "patient_position", "PatientPosition", TEXT },
        { "te_ms", "EchoTime", MS }, { "tr_ms", "RepetitionTime", MS }, { "ti_ms", "InversionTime", MS }, { "flip_deg", "FlipAngle", NUMBER } };
    json_t *o = json_object(), *kray = json_object();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *v = kr_meta_get(im->meta, table[i].key);
        if (v && *v)
            json_object_set_new(o, table[i].name, table[i].kind == MS ? seconds(v) : table[i].kind == NUMBER ? json_real(strtod(v, NULL)) : json_string(v));
    }
    double frame = kr_meta_number(im->meta, "frame_ms", 0);
    if (im->data->n[KR_TIME] > 1 && frame > 0)               /* of a series the time from volume to volume */
        json_object_set_new(o, "RepetitionTime", json_real(frame / 1000));
    json_object_set_new(o, "ConversionSoftware", json_string("Kray"));
    json_object_set_new(o, "ConversionSoftwareVersion", json_string(kr_version()));
    for (long i = 0; i < kr_meta_count(im->meta); i++)
        if (!strncmp(kr_meta_key(im->meta, i), "kray_", 5))
            json_object_set_new(kray, kr_meta_key(im->meta, i) + 5, json_string(kr_meta_value(im->meta, i)));
    json_object_set_new(o, "Kray", kray);
    return o;
}

static int write_image(const kr_image *im, const char *path)
{
    size_t n = strlen(path), cut = n > 7 && !strcmp(path + n - 7, ".nii.gz") ? 7 : n > 4 && !strcmp(path + n - 4, ".nii") ? 4 : 0;
    if (!cut)
        return kr_fail(KR_EUSAGE, "BIDS images are named NAME.nii.gz");
    kr_auto char *beside = kr_strf("%.*s.json", (int)(n - cut), path);
    json_t *o = beside ? fields(im) : NULL;
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    int e = text ? kr_file_write(beside, (kr_block[]){ { text, strlen(text) }, { "\n", 1 } }, 2) : kr_error_code() ? kr_error_code() : kr_fail(KR_EMEM, "no memory for the JSON beside %s", path);
    free(text);
    json_decref(o);
    return e ? e : kr_format_nifti.write_image(im, path);
}

const kr_format kr_format_bids = { .name = "bids", .suffix = ".nii.gz .nii", .summary = "NIfTI volume with a JSON of BIDS beside it", .write_image = write_image,
    .beside = "*.json" };
