/* h5.c: HDF5 files and the names in them. What is taken on trust by HDF5 is looked at first. h5data.c has datasets and their kinds, h5read.c the
 * numbers, h5attr.c the attributes. */
#include "h5.h"
#include "file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MOST = 100000 };

/* ---- Files ---- */
static const unsigned char signature[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };

/* At the beginning, or behind a user block of 512, 1024, 2048, ... bytes, as far as the head of the file goes. */
bool kr_h5_is(const unsigned char *head, size_t bytes)
{
    for (size_t at = 0; at + 8 <= bytes; at = at ? 2 * at : 512)
        if (!memcmp(head + at, signature, 8))
            return true;
    return false;
}

/* HDF5 asks before it opens the file that a link names. */
static herr_t no_other_file(const char *from, const char *group, const char *file, const char *object, unsigned *flags, hid_t how, void *self)
{
    kr_h5 *f = self;
    (void)from, (void)group, (void)object, (void)flags, (void)how;
    snprintf(f->elsewhere, sizeof f->elsewhere, "%s", file);
    return -1;
}

static kr_h5 *file_new(void)
{
    kr_h5 *f = kr_alloc_zero(1, sizeof *f);
    if (!f)
        return NULL;
    f->fd = -1;
    H5dont_atexit();              /* after a damaged file the library's own end spins and complains; Kray closes its files */
    H5Eget_auto2(H5E_DEFAULT, &f->say, &f->say_self);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    f->links = H5Pcreate(H5P_LINK_ACCESS);
    if (f->links < 0 || H5Pset_elink_cb(f->links, no_other_file, f) < 0) {
        kr_h5_unref(&f);
        kr_fail(KR_EMEM, "no memory for reading HDF5");
    }
    return f;
}

static bool find_base(kr_h5 *f)
{
    hid_t p = H5Fget_create_plist(f->id);
    hsize_t block = 0;
    size_t address = 0, length = 0;
    bool good = p >= 0 && H5Pget_userblock(p, &block) >= 0 && H5Pget_sizes(p, &address, &length) >= 0;
    f->base = address == 8 && length == 8 ? (long)block : -1;
    if (p >= 0)
        H5Pclose(p);
    return good;
}

kr_h5 *kr_h5_open(const char *path)
{
    kr_h5 *f = file_new();
    if (!f)
        return NULL;
    int64_t bytes = 0;
    f->fd = kr_file_open(path, &bytes);
    f->bytes = (long)bytes;
    hid_t how = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(how, H5F_CLOSE_STRONG);             /* nothing of a damaged file stays open */
    if (f->fd >= 0)
        f->id = H5Fopen(path, H5F_ACC_RDONLY, how);
    H5Pclose(how);
    if (f->id > 0 && find_base(f))
        return f;
    if (f->fd >= 0)
        kr_fail(KR_EFORMAT, "HDF5 cannot open it: damaged, or cut off (%ld bytes)", f->bytes);
    kr_h5_unref(&f);
    return NULL;
}

kr_h5 *kr_h5_create(const char *path, long user_block)
{
    kr_h5 *f = file_new();
    hid_t p = f ? H5Pcreate(H5P_FILE_CREATE) : -1;
    if (p < 0)
        return f ? kr_h5_unref(&f), NULL : NULL;
    if (user_block)
        H5Pset_userblock(p, (hsize_t)user_block);
    f->id = H5Fcreate(path, H5F_ACC_TRUNC, p, H5P_DEFAULT);
    H5Pclose(p);
    if (f->id < 0) {
        f->id = 0;
        kr_h5_unref(&f);
        kr_fail(KR_EFILE, "cannot be written");
    }
    return f;
}

int kr_h5_close(kr_h5 **file)
{
    kr_h5 *f = *file;
    if (!f)
        return 0;
    bool bad = f->id > 0 && f->fd < 0 && H5Fflush(f->id, H5F_SCOPE_GLOBAL) < 0;
    bad |= f->id > 0 && H5Fclose(f->id) < 0;
    f->id = 0;
    kr_h5_unref(file);
    return bad ? kr_fail(KR_EFILE, "cannot be written to its end") : 0;
}

void kr_h5_unref(kr_h5 **f)
{
    if (!*f)
        return;
    if ((*f)->id > 0)
        H5Fclose((*f)->id);
    if ((*f)->links >= 0)
        H5Pclose((*f)->links);
    if ((*f)->fd >= 0)
        close((*f)->fd);
    H5Eset_auto2(H5E_DEFAULT, (*f)->say, (*f)->say_self);
    kr_free(*f);
    *f = NULL;
}

/* ---- What is inside ---- */
/* Every group on the way must exist, or HDF5 reports an error. */
char kr_h5_object(kr_h5 *f, const char *name)
{
    char part[512];
    size_t n = strlen(name);
    *f->elsewhere = 0;
    if (!n || n >= sizeof part)
        return 0;
    if (!strcmp(name, "/"))
        return 'g';
    for (size_t i = 1; i <= n; i++)
        if (i == n || name[i] == '/') {
            memcpy(part, name, i);
            part[i] = 0;
            if (H5Lexists(f->id, part, f->links) <= 0)
                return *f->elsewhere ? 'x' : 0;
        }
    H5O_info_t info;
    if (H5Oexists_by_name(f->id, name, f->links) <= 0 || H5Oget_info_by_name2(f->id, name, &info, H5O_INFO_BASIC, f->links) < 0)
        return *f->elsewhere ? 'x' : 0;
    return info.type == H5O_TYPE_DATASET ? 'd' : info.type == H5O_TYPE_GROUP ? 'g' : 0;
}

bool kr_h5_has(kr_h5 *f, const char *name) { return kr_h5_object(f, name) == 'd'; }

int kr_h5_list(kr_h5 *f, const char *group, kr_h5_each *each, void *self)
{
    hid_t g = kr_h5_object(f, group) == 'g' ? H5Oopen(f->id, group, f->links) : -1;
    H5G_info_t info;
    int e = 0;
    if (g < 0)
        return kr_fail(KR_EFORMAT, "the group %s cannot be read", group);
    if (H5Gget_info(g, &info) < 0 || info.nlinks > NAMES_MOST)
        e = kr_fail(KR_EFORMAT, "the group %s cannot be listed", group);
    for (hsize_t i = 0; !e && i < info.nlinks; i++) {
        char name[256], full[512];
        ssize_t length = H5Lget_name_by_idx(g, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, f->links);
        if (length < 0) {
            e = kr_fail(KR_EFORMAT, "the group %s cannot be listed", group);
            break;
        }
        if (length >= (ssize_t)sizeof name)            /* cut off: no name of anything */
            continue;
        snprintf(full, sizeof full, "%s/%s", strcmp(group, "/") ? group : "", name);
        char kind = kr_h5_object(f, full);
        if (kind)
            e = each(self, name, kind == 'g');
    }
    H5Oclose(g);
    return e;
}
