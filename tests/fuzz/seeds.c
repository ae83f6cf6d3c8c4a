/* seeds.c: kray-seeds FOLDER: tiny files of every format that Kray writes, and of Siemens, FOLDER/FORMAT/NAME: what fuzzing starts from. */
#include "kray/io.h"
#include "kray/weights.h"
#include "../twixfile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kr_scan *tiny(void)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 6, [KR_Y] = 4, [KR_COIL] = 2, [KR_SLICE] = 2);
    s->data = kr_array_new(KR_C32, s->shape);
    for (long i = 0; i < kr_count(s->shape); i++)
        KR_C(s->data)[i] = kr_c((float)(i % 7), (float)(i % 5));
    for (int k = 0; k < 3; k++) {
        s->enc.encoded[k] = s->enc.recon[k] = k == 0 ? 6 : k == 1 ? 4 : 1;
        s->enc.encoded_mm[k] = s->enc.recon_mm[k] = k < 2 ? 200 : 5;
    }
    kr_geom_unref(&s->geom);
    s->geom = kr_geom_new(2);
    s->geom->known = true;
    s->geom->position_mm[1][2] = 5;
    if (kr_meta_set(s->meta, "te_ms", "3.5"))
        exit(1);
    return s;
}

/* BART's two files as one: the header, a zero, the numbers. */
static void join(const char *path)
{
    char name[600], bytes[8192];
    snprintf(name, sizeof name, "%.*s.hdr", (int)strlen(path) - 4, path);
    FILE *h = fopen(name, "rb");
    size_t n = h ? fread(bytes, 1, 4096, h) : 0;
    if (h)
        fclose(h);
    unlink(name);
    bytes[n++] = 0;
    FILE *c = fopen(path, "rb");
    n += c ? fread(bytes + n, 1, sizeof bytes - n, c) : 0;
    if (c)
        fclose(c);
    c = fopen(path, "wb");
    if (!c || fwrite(bytes, 1, n, c) != n || fclose(c))
        exit(1);
}

/* PNG reads masks back, and Calgary-Campinas has volumes. */
static kr_array *suited(const kr_format *f, int what, const kr_scan *s)
{
    kr_scoped(array) a = what < 2 ? kr_array_ref(s->data) : kr_rss(s->data, KR_COIL);
    if (!strcmp(f->name, "calgary"))
        return kr_array_rename(a, KR_SLICE, KR_Z);
    if (strcmp(f->name, "png") || what != 1)
        return kr_array_ref(a);
    kr_array *mask = kr_abs(a);
    for (long i = 0; i < kr_count(kr_array_shape(mask)); i++)
        KR_R(mask)[i] = KR_R(mask)[i] > 4;
    return mask;
}

static int write_as(const kr_format *f, int what, const kr_scan *s, const char *path)
{
    if (what == 0 ? !f->read : what == 1 ? !f->read_array : !f->read_image)
        return KR_EFORMAT;                     /* nothing reads it back */
    kr_array *a = suited(f, what, s);
    kr_image *im = kr_image_new(a, s->geom, s->meta);
    int e = what == 0 ? f->write ? kr_scan_write(s, path, f->name) : KR_EFORMAT
          : what == 1 ? f->write_array ? f->write_array(a, s->meta, path) : KR_EFORMAT
          : f->write_image ? kr_image_write(im, path, f->name) : KR_EFORMAT;
    kr_image_unref(&im);
    kr_array_unref(&a);
    return e;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    mkdir(argv[1], 0777);
    kr_scan *s = tiny();
    static const char *const name[] = { "scan", "array", "image" };
    for (int i = 0; kr_formats[i]; i++)
        for (int what = 0; what < 3; what++) {
            const kr_format *f = kr_formats[i];
            char folder[512], path[600], final[620];
            snprintf(folder, sizeof folder, "%s/%s", argv[1], f->name);
            if (mkdir(folder, 0777) && access(folder, W_OK))
                return 1;
            snprintf(path, sizeof path, "%s/%s%.*s", folder, name[what], (int)strcspn(f->suffix, " "), f->suffix);
            if (write_as(f, what, s, path)) {
                fprintf(stderr, "%s writes no %s: %s\n", f->name, name[what], kr_error());
                kr_error_clear();
                continue;
            }
            if (!strcmp(f->name, "cfl"))
                join(path);
            snprintf(final, sizeof final, "%s.json", path);
            unlink(final);
            snprintf(final, sizeof final, "%s/%s", folder, name[what]);
            if (rename(path, final))
                return 1;
        }
    char path[600];
    static twix_bytes twix;                        /* read only */
    for (int kind = 0; kind < 3; kind++) {
        static const char *const names[] = { "vd", "vb", "epi" };
        if (kind < 2)
            twix_file(&twix, kind);
        else
            twix_epi_file(&twix);
        snprintf(path, sizeof path, "%s/twix/%s", argv[1], names[kind]);
        if (twix_save(&twix, path, twix.n))
            return 1;
    }
    snprintf(path, sizeof path, "%s/weights", argv[1]);
    mkdir(path, 0777);
    kr_weights *w = kr_weights_new();
    kr_tensor *t = kr_weights_add(w, "conv.weight", 2, (long[]){ 2, 3 });
    t->data[4] = 0.5f;
    snprintf(path, sizeof path, "%s/weights/kray.safetensors", argv[1]);
    if (kr_weights_write(w, path))
        return 1;
    kr_weights_unref(&w);
    kr_scan_unref(&s);
    return 0;
}
