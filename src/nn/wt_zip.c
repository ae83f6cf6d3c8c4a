/* wt_zip.c: zip archives in memory, by libzip. */
#include "wt.h"
#include <string.h>
#include <zip.h>

struct wt_zip { zip_t *zip; size_t room; };       /* room: bytes that may still be unpacked */

wt_zip *wt_zip_open(const unsigned char *bytes, size_t n)
{
    wt_zip *z = kr_alloc_zero(1, sizeof *z);
    if (!z)
        return NULL;
    z->room = wt_room(n);
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, n, 0, &error);
    z->zip = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    if (!z->zip) {
        kr_fail(KR_EFORMAT, "the zip archive is broken: %s", zip_error_strerror(&error));
        if (source)
            zip_source_free(source);
        kr_free_at(&z);
    }
    zip_error_fini(&error);
    return z;
}

void wt_zip_close(wt_zip **z)
{
    if (*z)
        zip_discard((*z)->zip);
    kr_free_at(z);
}

long wt_zip_count(const wt_zip *z) { return zip_get_num_entries(z->zip, 0); }

const char *wt_zip_name(const wt_zip *z, long i)
{
    const char *name = zip_get_name(z->zip, (zip_uint64_t)i, 0);
    return name ? name : "";
}

int wt_zip_read(wt_zip *z, const char *name, unsigned char **data, size_t *n)
{
    zip_stat_t st;
    *data = NULL;
    if (zip_stat(z->zip, name, 0, &st) || !(st.valid & ZIP_STAT_SIZE))
        return kr_fail(KR_EFORMAT, "the zip archive has no '%s'", name);
    if (st.size > z->room)
        return kr_fail(KR_EFORMAT, "'%s' in the zip archive announces %llu bytes; with those before it that is more than a file of this length "
                       "sensibly holds", name, (unsigned long long)st.size);
    z->room -= (size_t)st.size;
    *n = (size_t)st.size;
    unsigned char *p = kr_alloc(*n ? *n : 1, 1);
    if (!p)
        return kr_error_code();
    zip_file_t *f = zip_fopen(z->zip, name, 0);
    zip_int64_t got = f ? zip_fread(f, p, *n) : -1;
    if (f)
        zip_fclose(f);
    if (got != (zip_int64_t)*n) {
        kr_free(p);
        return kr_fail(KR_EFORMAT, "'%s' in the zip archive cannot be read", name);
    }
    *data = p;
    return 0;
}
