/* batch.c: many inputs, one output each; one bad file does not end the rest. */
#include "batch.h"
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int add(struct batch *b, const char *input, const char *below, int length)
{
    if (b->count == b->room) {
        long room = b->room ? 2 * b->room : 16;
        char **p = kr_realloc(b->input, (size_t)b->count, (size_t)room, sizeof *p);
        if (!p)
            return kr_error_code();
        b->input = p;
        char **q = kr_realloc(b->below, (size_t)b->count, (size_t)room, sizeof *q);
        if (!q)
            return kr_error_code();
        b->below = q;
        b->room = room;
    }
    char *name = kr_strdup(input), *place = kr_strf("%.*s", length, below);
    if (!name || !place) {
        kr_free(name);
        kr_free(place);
        return kr_error_code();
    }
    b->input[b->count] = name;
    b->below[b->count++] = place;
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool counts(const struct batch *b, const kr_format *f) { return f->raw || (b->images && (f->read || f->read_image)); }

/* Whether the suffix is that of a format which counts: what else lies in a folder (notes, pictures) is not an error. */
static bool suffix_counts(const struct batch *b, const char *path)
{
    for (int i = 0; kr_formats[i]; i++)
        if (counts(b, kr_formats[i]) && kr_format_suffix(kr_formats[i], path))
            return true;
    return false;
}

/* ".h5, .mrd, .mat, ...", each once. */
static void suffixes(kr_text *t, const struct batch *b)
{
    for (int i = 0; kr_formats[i]; i++)
        for (const char *s = counts(b, kr_formats[i]) ? kr_formats[i]->suffix : NULL; s && *s; s += strcspn(s, " "), s += *s == ' ') {
            kr_auto char *word = kr_strf("%.*s", (int)strcspn(s, " "), s);
            if (word && !(t->s && strstr(t->s, word)))
                kr_text_add(t, "%s%s", t->len ? ", " : "", word);
        }
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return b && !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A mask in a file of its own, as CMRxRecon lays it beside its k-space: no scan, and no failure. */
static bool set_aside(const char *path)
{
    const char *slash = strrchr(path, '/');
    for (int i = 0; kr_formats[i]; i++)
        if (kr_formats[i]->aside && kr_format_suffix(kr_formats[i], path) && strcasestr(slash ? slash : path, kr_formats[i]->aside))
            return true;
    return false;
}

/* root: how many characters of `path` are the folder that was named. output: a folder that is not searched. */
enum { DEEPEST = 32 };

static int add_below(struct batch *b, const char *path, size_t root, const char *output, int deep, bool *folders)
{
    DIR *d = opendir(path);
    if (!d)
        return kr_fail(KR_EFILE, "%s: cannot be opened: %s", path, strerror(errno));
    char **name = NULL;
    long count = 0, room = 0;
    int e = 0;
    for (struct dirent *f; !e && (f = readdir(d)); ) {
        if (f->d_name[0] == '.')
            continue;
        if (count == room) {
            char **p = kr_realloc(name, (size_t)count, (size_t)(room = 2 * room + 16), sizeof *p);
            e = p ? 0 : kr_error_code();
            name = p ? p : name;
        }
        if (!e && !(name[count++] = kr_strdup(f->d_name)))
            e = kr_error_code();
    }
    closedir(d);
    if (!e && count)
        qsort(name, (size_t)count, sizeof *name, by_name);
    size_t n = strlen(path);
    for (long i = 0; !e && i < count; i++) {
        kr_auto char *file = kr_strf("%s%s%s", path, n && path[n - 1] == '/' ? "" : "/", name[i]);
        if (!file)
            e = kr_error_code();
        else if (folder(file)) {
            *folders = true;
            if (b->images && kr_folder_format(file)) {
                const char *below = file + root + (file[root] == '/');
                e = same_folder(file, output) ? 0 : add(b, file, below, (int)(strlen(below) - strlen(name[i])));
            } else if (deep && !same_folder(file, output))
                e = deep < DEEPEST ? add_below(b, file, root, output, deep + 1, folders) : kr_fail(KR_EFILE, "%s: more than %d folders within each other", file, DEEPEST);
        } else if (suffix_counts(b, name[i]) && set_aside(name[i]))
            b->masks++;
        else if (suffix_counts(b, name[i])) {
            const char *below = file + root + (file[root] == '/');
            e = add(b, file, below, (int)(strlen(below) - strlen(name[i])));
        }
    }
    for (long i = 0; i < count; i++)
        kr_free(name[i]);
    kr_free(name);
    return e;
}

static int add_folder(struct batch *b, const char *path, const char *output, bool deep)
{
    long first = b->count;
    bool folders = false;
    int e = add_below(b, path, strlen(path), output, deep, &folders);
    if (e || b->count > first)
        return e;
    kr_text known = { 0 };
    suffixes(&known, b);
    e = kr_fail(KR_EFILE, "%s: the folder holds no %s (%s)%s", path, b->images ? "raw data and no images" : "raw data", known.s ? known.s : "",
                folders && !deep ? " itself; --recursive searches the folders in it, too" : "");
    kr_text_clear(&known);
    return e;
}

static int add_word(struct batch *b, const char *word, const char *output, bool deep)
{
    if (folder(word)) {
        if (kr_folder_format(word))                          /* such as a series of DICOM files */
            return add(b, word, "", 0);
        b->many = true;
        return add_folder(b, word, output, deep);
    }
    if (access(word, F_OK) && strpbrk(word, "*?[")) {
        b->many = true;
        glob_t g = { 0 };
        int e = glob(word, 0, NULL, &g) ? kr_fail(KR_EFILE, "%s: nothing fits this pattern", word) : 0;
        size_t fixed = strcspn(word, "*?[");             /* up to the last folder before the pattern */
        while (fixed && word[fixed - 1] != '/')
            fixed--;
        for (size_t i = 0; !e && i < g.gl_pathc; i++) {
            const char *path = g.gl_pathv[i], *slash = strrchr(path, '/');
            if (folder(path)) {
                bool folders;
                e = deep ? add_below(b, path, fixed, output, deep, &folders) : 0;
            } else if (set_aside(path))
                b->masks++;
            else
                e = add(b, path, path + fixed, deep && slash ? (int)(slash + 1 - path - (long)fixed) : 0);
        }
        globfree(&g);
        return e || b->count ? e : kr_fail(KR_EFILE, "%s: no raw data fits this pattern", word);
    }
    size_t n = strlen(word);
    return n && word[n - 1] == '/' ? kr_fail(KR_EFILE, "there is no folder %s", word) : add(b, word, "", 0);
}

/* "dir/knee.h5:kData@x,y" becomes "knee". */
static char *stem(const char *input)
{
    kr_source src;
    if (kr_source_parse(&src, input)) {
        kr_error_clear();
        src = (kr_source){ .path = kr_strdup(input) };
    }
    if (!src.path)
        return NULL;
    for (size_t k = strlen(src.path); k > 1 && src.path[k - 1] == '/'; k--)
        src.path[k - 1] = 0;
    const char *slash = strrchr(src.path, '/'), *name = slash ? slash + 1 : src.path;
    size_t n = strlen(name);
    static const char *const twice[] = { ".nii.gz" };
    if (n > 7 && !strcasecmp(name + n - 7, twice[0]))
        n -= 7;
    else if (strrchr(name, '.') && strrchr(name, '.') > name)
        n = (size_t)(strrchr(name, '.') - name);
    char *s = kr_strf("%.*s", (int)n, name);
    kr_source_clear(&src);
    return s;
}

/* Whether a name ends as that of a file which Kray writes. */
static bool named_as_file(const char *path)
{
    for (int i = 0; kr_formats[i]; i++)
        if (kr_format_suffix(kr_formats[i], path))
            return true;
    return false;
}

/* The suffix of an image's file, where images are written under it, too; ".h5" of anything else. */
static const char *kept(const char *input)
{
    kr_source src;
    const char *suffix = NULL;
    if (!kr_source_parse(&src, input)) {
        size_t all = strlen(src.path);
        const kr_format *folder_of = kr_folder_format(src.path);
        suffix = folder_of && folder_of->write_image ? folder_of->suffix : NULL;
        for (int i = 0; !suffix && kr_formats[i]; i++) {
            const kr_format *f = kr_formats[i];
            size_t n = !f->raw && f->read_image && f->write_image ? kr_format_suffix(f, src.path) : 0;
            for (const char *s = n ? f->suffix : NULL; s && *s; s += strcspn(s, " "), s += *s == ' ')
                suffix = strcspn(s, " ") == n && !strncasecmp(s, src.path + all - n, n) ? s : suffix;
        }
    }
    kr_source_clear(&src);
    kr_error_clear();
    return suffix ? suffix : ".h5";
}

static int name_outputs(struct batch *b, const char *output, const char *to, const char *suffix)
{
    if (to) {
        const kr_format *f = kr_format_named(to);
        if (!f)
            return kr_error_code();
        suffix = f->suffix;
        if (!strcmp(suffix, ".nii .nii.gz"))                 /* as without --to */
            suffix = ".nii.gz";
    }
    size_t n = strlen(output);
    bool out = !strcmp(output, "-"), many = !out && (b->many || (folder(output) && !kr_folder_format(output)) || (n && output[n - 1] == '/'));
    if (out && (b->many || b->count > 1))
        return kr_fail(KR_EUSAGE, "one input alone can go to standard output (-); %ld, from several words, a folder or a pattern, go into a folder", b->count);
    if (many && b->many && named_as_file(output))
        return kr_fail(KR_EUSAGE, "%ld input%s, from several words, a folder or a pattern, go into a folder, and %s is named like one file: give a folder, as in "
                       "-o images/", b->count, b->count == 1 ? "" : "s", output);
    if (many && kr_folder_make(output))
        return kr_error_code();
    for (long i = 0; i < b->count; i++) {
        kr_auto char *name = many ? stem(b->input[i]) : NULL;
        const char *ends = suffix ? suffix : kept(b->input[i]);
        b->output[i] = !many ? kr_strdup(output)
                     : name ? kr_strf("%s%s%s%s%.*s", output, output[n - 1] == '/' ? "" : "/", b->below[i], name, (int)strcspn(ends, " "), ends) : NULL;
        if (!b->output[i])
            return kr_error_code();
        if (kr_output_apart(b->output[i], b->input[i]))
            return kr_error_code();
        for (long j = 0; j < i; j++)
            if (!strcmp(b->output[i], b->output[j]))
                return kr_fail(KR_EUSAGE, "%s and %s would both be written to %s; --recursive keeps the folders that inputs lie in",
                               b->input[j], b->input[i], b->output[i]);
    }
    return 0;
}

int batch_open(struct batch *b, int words, char **word, const char *output, const char *to, const char *suffix, bool deep)
{
    *b = (struct batch){ .many = words > 1, .images = !suffix };
    for (int i = 0; i < words; i++)
        if (add_word(b, word[i], output, deep))
            return kr_error_code();
    b->output = kr_alloc_zero((size_t)b->count, sizeof *b->output);
    b->why = kr_alloc_zero((size_t)b->count, sizeof *b->why);
    if (!b->output || !b->why)
        return kr_error_code();
    return output ? name_outputs(b, output, to, suffix) : 0;
}

void batch_close(struct batch *b)
{
    for (long i = 0; i < b->count; i++) {
        kr_free(b->input[i]);
        kr_free(b->below[i]);
        kr_free(b->output ? b->output[i] : NULL);
        kr_free(b->why ? b->why[i] : NULL);
    }
    kr_free(b->input);
    kr_free(b->below);
    kr_free(b->output);
    kr_free(b->why);
    *b = (struct batch){ 0 };
}

int batch_failed(struct batch *b, long i, const kr_trace *trace)
{
    int code = kr_error_code();
    if (b->count == 1 || code == KR_ESTOPPED)
        return code;
    b->misused += code == KR_EUSAGE;           /* one file may lack names of its axes, where others do not */
    kr_say(trace, KR_WARNING, "%s", kr_error());
    b->why[i] = kr_strdup(kr_error());
    b->failed++;
    kr_error_clear();
    return 0;
}

int batch_verdict(const struct batch *b, const kr_trace *trace)
{
    long of = b->count - b->others;
    if (!b->failed)
        return 0;
    if (b->misused == of)
        return kr_fail(KR_EUSAGE, "%s", b->why[0] ? b->why[0] : "no memory");
    if (b->failed == of)               /* each was told of as it came */
        return kr_fail(KR_EREFUSED, "all %ld failed", of);
    kr_say(trace, KR_WARNING, "%ld of %ld failed:", b->failed, of);
    for (long i = 0; i < b->count; i++)
        if (b->why[i])
            kr_say(trace, KR_WARNING, "  %s", b->why[i]);
    return kr_fail(KR_EREFUSED, "%ld of %ld failed; the others are done", b->failed, of);
}

void batch_voxel_unknown(const kr_image *im, const char *output, const char *to, const kr_trace *trace)
{
    const kr_format *f = to ? kr_format_named(to) : NULL;
    for (int i = 0; !to && kr_formats[i] && !(f && f->volumes); i++)
        f = kr_format_suffix(kr_formats[i], output) ? kr_formats[i] : NULL;
    if (f && f->volumes && (!(im->geom->fov_mm[0] > 0) || !(im->geom->fov_mm[1] > 0)))
        kr_say(trace, KR_WARNING, "%s: the voxel size is unknown; 1 mm is written, which other programs take as true: kray recon --voxel X,Y,Z states it", output);
}
