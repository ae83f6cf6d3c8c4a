/* io.c: the table of formats: recognising, reading, and writing beside before renaming into place. */
#include "kray/io.h"
#include "file.h"
#include "kray_formats.h"
#include "kray/opt.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECLARE(name) extern const kr_format kr_format_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_format_##name,
const kr_format *const kr_formats[] = { KR_LIST(ENTRY) NULL };

const kr_format *kr_format_named(const char *name)
{
    const char *word[64], *near = NULL;
    int n = 0;
    for (; kr_formats[n] && n < 64; n++) {
        if (!strcasecmp(kr_formats[n]->name, name))
            return kr_formats[n];
        word[n] = kr_formats[n]->name;
    }
    kr_text known = { 0 };
    for (int i = 0; i < n; i++)
        kr_text_add(&known, "%s%s", i ? ", " : "", word[i]);
    near = kr_nearest(name, word, n);
    kr_fail(KR_EUSAGE, "there is no format '%s'; %s%s%sknown are %s", name, near ? "did you mean " : "", near ? near : "", near ? "? " : "", known.s ? known.s : "none");
    kr_text_clear(&known);
    return NULL;
}

/* ---- The files that one name may stand for: itself, those beside it, and, where a format leaves its suffix out (BART), the files of its own ---- */
enum { SAME_NAME = 24 };
struct same {
    char *name[SAME_NAME];
    int count;
};

static int add_same(struct same *s, char *name)
{
    if (!name)
        return kr_error_code();
    if (s->count == SAME_NAME) {
        kr_free(name);
        return kr_fail(KR_EUSAGE, "the table of formats knows more than %d files of one name", SAME_NAME);
    }
    s->name[s->count++] = name;
    return 0;
}

static void clear_same(struct same *s)
{
    while (s->count)
        kr_free(s->name[--s->count]);
}

/* The next of several words that stand apart by blanks, and its length; NULL: there is none. From `at` 0. */
static const char *next_word(const char *words, size_t *at, size_t *length)
{
    if (!words)
        return NULL;
    *at += strspn(words + *at, " ");
    const char *word = words + *at;
    *length = strcspn(word, " ");
    *at += *length;
    return *length ? word : NULL;
}

size_t kr_format_suffix(const kr_format *f, const char *path)
{
    const char *slash = strrchr(path, '/'), *word;
    size_t n = strlen(slash ? slash + 1 : path), length, best = 0;
    path = slash ? slash + 1 : path;
    for (size_t at = 0; (word = next_word(f->suffix, &at, &length)); )
        if (n > length && length > best && !strncasecmp(path + n - length, word, length))
            best = length;
    return best;
}

/* The same, also of the files beside those of this format. */
static size_t own_suffix(const char *path, const kr_format *f)
{
    size_t n = strlen(path), length, own = kr_format_suffix(f, path);
    const char *word;
    for (size_t at = 0; !own && (word = next_word(f->beside, &at, &length)); )
        if (*word == '*' && n > length - 1 && !strncasecmp(path + n - length + 1, word + 1, length - 1))
            own = length - 1;
    return own;
}

/* The files of the name `stem`, without suffix, in a format that lets it be left out. */
static int bare_files(struct same *s, const char *stem)
{
    int e = 0;
    for (int i = 0; kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        size_t length;
        const char *word;
        for (size_t at = 0; !e && f->bare && (word = next_word(f->suffix, &at, &length)); )
            e = add_same(s, kr_strf("%s%.*s", stem, (int)length, word));
        for (size_t at = 0; !e && f->bare && (word = next_word(f->beside, &at, &length)); )
            e = add_same(s, kr_strf("%s%.*s", stem, (int)length - 1, word + 1));
    }
    return e;
}

static int files_of(struct same *s, const char *path)
{
    int e = add_same(s, kr_strdup(path));
    e = e ? e : bare_files(s, path);
    for (int i = 0; !e && kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        size_t cut = own_suffix(path, f), length;
        kr_auto char *stem = kr_strf("%.*s", (int)(strlen(path) - cut), path);
        const char *word;
        if (!stem)
            return kr_error_code();
        for (size_t at = 0; !e && cut && (word = next_word(f->beside, &at, &length)); )
            e = add_same(s, kr_strf("%s%.*s", *word == '*' ? stem : path, (int)length - 1, word + 1));
        if (!e && cut && f->bare)
            e = add_same(s, kr_strdup(stem)) ? kr_error_code() : bare_files(s, stem);
    }
    return e;
}

/* ---- FILE[:VARIABLE][@AXES] ---- */
/* Whether the first n characters name a file: 1, 0, or a refusal for lack of memory. */
static int exists(const char *path, size_t n)
{
    kr_auto char *p = kr_strf("%.*s", (int)n, path);
    if (!p)
        return kr_error_code();
    if (!access(p, F_OK))
        return 1;
    struct same s = { 0 };
    int e = bare_files(&s, p), found = 0;
    for (int i = 0; !e && !found && i < s.count; i++)
        found = !access(s.name[i], F_OK);
    clear_same(&s);
    return e ? e : found;
}

/* Splits at the last '@' and then at the last ':' that leave the name of a file. Returns as exists. */
static int split(const char *text, size_t *path, const char **colon, const char **at)
{
    *path = strlen(text);
    int e = exists(text, *path);
    if (e)
        return e;
    *at = strrchr(text, '@');
    *path = *at ? (size_t)(*at - text) : *path;
    if (*at && (e = exists(text, *path)))
        return e;
    for (const char *p = text + *path; p-- > text; )
        if (*p == ':' && (e = exists(text, (size_t)(p - text)))) {
            *colon = p;
            *path = (size_t)(p - text);
            return e;
        }
    return 0;
}

int kr_source_parse(kr_source *src, const char *text)
{
    *src = (kr_source){ 0 };
    if (*text == '-' && (!text[1] || text[1] == ':' || text[1] == '@'))
        return kr_fail(KR_EUSAGE, "- stands for standard input, which cannot be read here; a file of that name is ./-");
    size_t path;
    const char *at = NULL, *colon = NULL;
    int e = split(text, &path, &colon, &at);
    if (e < 0)
        return e;
    if (!e)
        return kr_fail(KR_EFILE, *text ? "%s: there is no such file" : "%sno file is named", text);
    size_t end = at ? (size_t)(at - text) : strlen(text);
    src->path = kr_strf("%.*s", (int)path, text);
    src->var = colon ? kr_strf("%.*s", (int)(end - path - 1), colon + 1) : NULL;
    src->axes = at ? kr_strdup(at + 1) : NULL;
    if (!src->path || (colon && !src->var) || (at && !src->axes)) {
        kr_source_clear(src);
        return kr_error_code();
    }
    return 0;
}

void kr_source_clear(kr_source *src)
{
    kr_free(src->path);
    kr_free(src->var);
    kr_free(src->axes);
    *src = (kr_source){ 0 };
}

int kr_axes_reim(const char *text)
{
    int at = 0;
    for (const char *p = text; p && *p; at++) {
        size_t n = strcspn(p, ",");
        if (n == 4 && !strncasecmp(p, "reim", 4))
            return at;
        p += n + (p[n] == ',');
    }
    return -1;
}

int kr_axes_parse(const char *text, int order[KR_AXES])
{
    int count = 0;
    unsigned seen = 0;
    for (const char *p = text; *p; ) {
        size_t n = strcspn(p, ",");
        char word[16];
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        int d = !strcmp(word, "-") ? KR_AXES : strcasecmp(word, "reim") ? kr_axis_named(word) : KR_BATCH;
        if (d < 0) {
            kr_text known = { 0 };
            for (int i = 0; i < KR_AXES; i++)
                kr_text_add(&known, "%s%s", i ? " " : "", kr_axis_name(i));
            kr_fail(KR_EUSAGE, "'%s' names no axis; axes are %s, and reim for real and imaginary part", word, known.s ? known.s : "");
            kr_text_clear(&known);
            return kr_error_code();
        }
        if (count >= KR_AXES || (d < KR_AXES && seen & KR_ON(d)))
            return kr_fail(KR_EUSAGE, "axes '%s' name %s twice", text, word);
        if (d < KR_AXES)
            seen |= KR_ON(d);
        order[count++] = d;
        p += n + (p[n] == ',');
    }
    return count ? count : kr_fail(KR_EUSAGE, "no axes are named after '@'");
}

/* ---- Recognising ---- */
static _Thread_local const char *reading;

const char *kr_reading(void) { return reading; }

static bool has_suffix(const kr_format *f, const char *path)
{
    size_t n = strlen(path);
    for (const char *s = f->suffix; s && *s; ) {
        size_t k = strcspn(s, " ");
        if (k && n > k && !strncasecmp(path + n - k, s, k))
            return true;
        s += k + (s[k] == ' ');
    }
    return false;
}

const kr_format *kr_format_of(const char *path)
{
    unsigned char head[4096];
    size_t got = 0;
    struct stat st;
    bool there = !stat(path, &st);
    if (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        kr_fail(KR_EFILE, S_ISFIFO(st.st_mode) ? "%s: is not a plain file, but a pipe" : "%s: is not a plain file", path);
        return NULL;
    }
    if (there && S_ISREG(st.st_mode)) {
        FILE *f = fopen(path, "rb");
        if (!f) {
            kr_fail(KR_EFILE, "%s: cannot be opened: %s", path, strerror(errno));
            return NULL;
        }
        got = fread(head, 1, sizeof head, f);
        fclose(f);
        if (!got) {
            kr_fail(KR_EFORMAT, "%s: the file is empty", path);
            return NULL;
        }
    }
    const char *outer = reading;
    reading = outer ? outer : path;
    const kr_format *best = NULL;
    int sure = 0;
    long refused = kr_mem_refused();
    for (int i = 0; kr_formats[i]; i++) {
        int p = kr_formats[i]->probe ? kr_formats[i]->probe(head, got, path) : 0;
        if (p > 0 && has_suffix(kr_formats[i], path))
            p += 1;
        if (p > sure) {
            sure = p;
            best = kr_formats[i];
        }
    }
    reading = outer;
    if (kr_mem_lacked(0, refused))
        return NULL;
    if (!best) {
        char seen[40] = "nothing", text[13] = "";
        size_t shown = got < 12 ? got : 12, plain = 0;
        for (; plain < shown && (isprint(head[plain]) || isspace(head[plain])); plain++)
            text[plain] = isspace(head[plain]) ? ' ' : (char)head[plain];
        for (size_t i = 0; i < shown; i++)
            snprintf(seen + 3 * i - !!i, sizeof seen - 3 * i, i ? " %02x" : "%02x", head[i]);
        if (shown && plain == shown)
            snprintf(seen, sizeof seen, "\"%s\"", text);
        static const char *const weights[] = { ".pt", ".pth", ".ckpt", ".safetensors", ".npz", ".atommic" };
        const char *dot = strrchr(path, '.'), *hint = "";
        for (size_t i = 0; dot && i < sizeof weights / sizeof *weights; i++)
            if (!strcasecmp(dot, weights[i]))
                hint = strcasecmp(dot, ".npz") ? ", and kray weights info describes network weights"
                     : ", and kray weights info describes network weights; its arrays are .npy files once it is unzipped";
        kr_fail(KR_EFORMAT, "%s: unknown format (it begins with %s); kray help formats lists those that Kray reads%s", path, seen, hint);
    }
    return best;
}

const kr_format *kr_folder_format(const char *path)
{
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return NULL;
    for (int i = 0; kr_formats[i]; i++)
        if (kr_formats[i]->folder && kr_formats[i]->probe((const unsigned char *)"", 0, path) > 0)
            return kr_formats[i];
    return NULL;
}

/* ---- Reading ---- */
static const char *const noun[] = { "raw data", "images", "plain arrays" };

struct wanted { enum kr_what what; kr_scan **scan; kr_image **image; kr_array **array; const kr_read *how; const kr_trace *trace; };

static void drop(const struct wanted *w)
{
    if (w->what == KR_RAW)
        kr_scan_unref(w->scan);
    else if (w->what == KR_PICTURE)
        kr_image_unref(w->image);
    else
        kr_array_unref(w->array);
}

static int read_with(const kr_format *f, const kr_source *src, const struct wanted *w)
{
    if (w->what == KR_RAW ? !f->read : w->what == KR_PICTURE ? !f->read_image : !f->read_array)
        return kr_fail(KR_EFORMAT, "a %s file holds no %s that Kray reads", f->name, noun[w->what]);
    static const kr_read all = { 0 };
    return w->what == KR_RAW ? f->read(w->scan, src, w->how ? w->how : &all, w->trace)
         : w->what == KR_PICTURE ? f->read_image(w->image, src) : f->read_array(w->array, src);
}

static int read_source(const char *source, const char *format, const kr_format **f, const struct wanted *w)
{
    kr_source src;
    long refused = kr_mem_refused();
    if (kr_source_parse(&src, source))
        return kr_error_code();
    const char *outer = reading;
    reading = source;
    *f = format ? kr_format_named(format) : kr_format_of(src.path);
    int e = *f ? read_with(*f, &src, w) : kr_error_code();
    e = kr_mem_lacked(e, refused);
    if (*f && e)
        kr_fail_in("%s", source);
    if (e)
        drop(w);
    reading = outer;
    kr_source_clear(&src);
    return e;
}

int kr_scan_read(kr_scan **out, const char *source, const char *format, const kr_read *how, const kr_trace *trace)
{
    *out = NULL;
    const kr_format *f = NULL;
    int e = read_source(source, format, &f, &(struct wanted){ .what = KR_RAW, .scan = out, .how = how, .trace = trace });
    if (!e && how && how->played && !(*out)->by_sequence)
        e = kr_fail(KR_EREFUSED, "%s: a sequence is matched line by line, and files of the format %s do not keep their lines apart; --traj scan.seq gives such data their positions", source, f->name);
    if (!e) {
        (*out)->format = f->name;
        if (!(*out)->file && !((*out)->file = kr_strdup(source)))
            e = kr_error_code();
    }
    if (e)
        kr_scan_unref(out);
    return e;
}

int kr_image_read(kr_image **out, const char *source)
{
    *out = NULL;
    const kr_format *f = NULL;
    return read_source(source, NULL, &f, &(struct wanted){ .what = KR_PICTURE, .image = out });
}

int kr_array_read(kr_array **out, const char *source)
{
    *out = NULL;
    const kr_format *f = NULL;
    return read_source(source, NULL, &f, &(struct wanted){ .what = KR_PLAIN, .array = out });
}

/* ---- Writing: beside, then renamed ---- */
enum { PARTS = KR_PLAIN + 1 };            /* of write_to alone */
static bool writes(const kr_format *f, enum kr_what w)
{
    return w == KR_RAW ? f->write != NULL : w == KR_PICTURE ? f->write_image != NULL : f->write_array != NULL;
}

static bool is_stdout(const char *path) { return !strcmp(path, "-"); }

/* What can go to standard output: refuses the rest. */
static const kr_format *streamer(const kr_format *f, enum kr_what w)
{
    if (!f && w == KR_PLAIN)
        f = kr_format_named("npy");
    if (f && f->streams && writes(f, w) && !isatty(STDOUT_FILENO))
        return f;
    kr_text known = { 0 };
    for (int i = 0; kr_formats[i]; i++)
        if (writes(kr_formats[i], w) && kr_formats[i]->streams)
            kr_text_add(&known, "%s%s", known.len ? ", " : "", kr_formats[i]->name);
    const char *can = known.s ? known.s : "none";
    if (!f)
        kr_fail(KR_EUSAGE, "standard output (-) has no suffix that tells the format of %s: it has to be named (--to); possible are %s", noun[w], can);
    else if (!f->streams || !writes(f, w))
        kr_fail(KR_EUSAGE, "%s as %s cannot go to standard output (-); possible are %s", noun[w], f->name, can);
    else
        kr_fail(KR_EUSAGE, "standard output is a terminal, and %s are not written there; name a file, or a program that reads them (| program)", noun[w]);
    kr_text_clear(&known);
    return NULL;
}

static const kr_format *writer(const char *path, const char *format, enum kr_what w)
{
    const kr_format *f = format ? kr_format_named(format) : NULL;
    if (format && !f)
        return NULL;
    if (is_stdout(path))
        return streamer(f, w);
    for (int i = 0; !f && kr_formats[i]; i++)
        if (writes(kr_formats[i], w) && has_suffix(kr_formats[i], path))
            f = kr_formats[i];
    if (!f || !writes(f, w)) {
        kr_text known = { 0 };
        for (int i = 0; kr_formats[i]; i++)
            if (writes(kr_formats[i], w))
                kr_text_add(&known, "%s%s (%s)", known.len ? ", " : "", kr_formats[i]->suffix, kr_formats[i]->name);
        kr_fail(KR_EUSAGE, "%s: %s cannot be written under that name; known are %s", path, noun[w], known.s ? known.s : "none");
        kr_text_clear(&known);
        return NULL;
    }
    return f;
}

/* A folder that holds nothing but files with the suffix: an earlier output. */
static bool replaceable(const char *path, const char *suffix)
{
    DIR *d = opendir(path);
    bool good = d != NULL;
    size_t k = strlen(suffix);
    for (struct dirent *f; good && (f = readdir(d)); ) {
        size_t n = strlen(f->d_name);
        good = !strcmp(f->d_name, ".") || !strcmp(f->d_name, "..") || (n > k && !strcasecmp(f->d_name + n - k, suffix));
    }
    if (d)
        closedir(d);
    return good;
}

/* The folder of a file (or, of a format of folders, of a folder) that can be made or replaced there, with the folder if need be; NULL: it cannot. */
static char *place_for(const char *path, const kr_format *f)
{
    struct stat st;
    char *dir = kr_file_folder(path);
    if (!dir)
        return NULL;
    int e = kr_folder_possible(dir);
    bool there = !e && !stat(path, &st);
    if (there && f && f->folder)
        e = S_ISDIR(st.st_mode) && replaceable(path, f->suffix) ? 0 : kr_fail(KR_EFILE, "is there, and is no folder of %s files alone: it is not replaced", f->suffix);
    else if (there && !S_ISREG(st.st_mode))
        e = kr_fail(KR_EFILE, S_ISDIR(st.st_mode) ? "is a folder" : "is not a plain file");
    if (e)
        kr_free_at(&dir);
    return dir;
}

/* What belongs to a file (NAME.hdr to NAME.cfl, NAME.npy.json to NAME.npy) is written beside it and goes to its place first. */
static int write_to(const kr_format *f, int w, const void *thing, const kr_meta *meta, const char *path)
{
    kr_auto char *dir = place_for(path, f);
    kr_beside to = { 0 };
    long refused = kr_mem_refused();
    if (!dir || kr_folder_make(dir) || kr_beside_open(&to, path))
        return kr_error_code();
    int e = w == KR_RAW ? f->write(thing, to.file) : w == KR_PICTURE ? f->write_image(thing, to.file) : w == PARTS ? f->write_parts(thing, to.file) : f->write_array(thing, meta, to.file);
    e = kr_mem_lacked(e, refused);
    if (!e)
        e = kr_beside_commit(&to);
    kr_beside_drop(&to);
    return e;
}

/* A link stays, and what it names is replaced. NULL: it is none. From the C library. */
static char *behind(const char *path)
{
    struct stat st;
    return !lstat(path, &st) && S_ISLNK(st.st_mode) ? realpath(path, NULL) : NULL;
}

/* Made as a file first, since writers go back to what they wrote; then its bytes go out. */
static int write_out(const kr_format *f, enum kr_what w, const void *thing, const kr_meta *meta)
{
    kr_auto char *path = kr_strf(P_tmpdir "/stdout%.*s", (int)strcspn(f->suffix, " "), f->suffix);
    kr_beside to = { 0 };
    long refused = kr_mem_refused();
    if (!path || kr_beside_open(&to, path))
        return kr_error_code();
    int e = w == KR_RAW ? f->write(thing, to.file) : w == KR_PICTURE ? f->write_image(thing, to.file) : f->write_array(thing, meta, to.file);
    e = kr_mem_lacked(e, refused);
    FILE *from = e ? NULL : fopen(to.file, "rb");
    if (!e && !from)
        e = kr_fail(KR_EFILE, "%s: cannot be opened: %s", to.file, strerror(errno));
    char block[1 << 14];
    for (size_t n; !e && (n = fread(block, 1, sizeof block, from)) > 0; )
        if (fwrite(block, 1, n, stdout) != n)
            e = kr_fail(KR_EFILE, "the output cannot be written: %s", strerror(errno));
    if (from && !e && ferror(from))
        e = kr_fail(KR_EFILE, "%s: cannot be read", to.file);
    if (from)
        fclose(from);
    kr_beside_drop(&to);
    return e;
}

static int write_beside(const kr_format *f, int w, const void *thing, const kr_meta *meta, const char *path)
{
    if (is_stdout(path))
        return write_out(f, (enum kr_what)w, thing, meta);
    char *real = behind(path);
    int e = write_to(f, w, thing, meta, real ? real : path);
    free(real);
    if (e)
        kr_fail_in("%s", path);
    return e;
}

int kr_can_write(enum kr_what what, const char *path, const char *format)
{
    const kr_format *f = writer(path, format, what);
    if (!f)
        return kr_error_code();
    if (is_stdout(path))
        return 0;
    char *real = behind(path);
    kr_auto char *dir = place_for(real ? real : path, f);
    free(real);
    return dir ? 0 : kr_fail_in("%s", path);
}

int kr_scan_write(const kr_scan *s, const char *path, const char *format)
{
    const kr_format *f = writer(path, format, KR_RAW);
    return f ? write_beside(f, KR_RAW, s, NULL, path) : kr_error_code();
}

/* Images of a data set's own scans go into the form that its challenge takes, where the suffix allows it and nothing is left out. */
static const char *challenge_of(const kr_image *im, const char *path)
{
    const char *dataset = kr_meta_get(im->meta, "dataset");
    for (int i = 0; dataset && kr_formats[i]; i++)
        if (kr_formats[i]->dataset && !strcmp(dataset, kr_formats[i]->dataset) && has_suffix(kr_formats[i], path))
            return kr_formats[i]->name;
    return NULL;
}

int kr_image_write(const kr_image *im, const char *path, const char *format)
{
    const kr_format *f = writer(path, format || is_stdout(path) ? format : challenge_of(im, path), KR_PICTURE);
    kr_scoped(meta) m = f ? kr_provenance_meta(im->meta) : NULL;
    kr_image told = *im;
    told.meta = m;
    return m ? write_beside(f, KR_PICTURE, &told, NULL, path) : kr_error_code();
}

int kr_array_write(const kr_array *a, const kr_meta *meta, const char *path)
{
    const kr_format *f = writer(path, NULL, KR_PLAIN);
    kr_scoped(meta) m = f && meta ? kr_provenance_meta(meta) : NULL;
    return f && (m || !meta) ? write_beside(f, KR_PLAIN, a, m, path) : kr_error_code();
}

/* ---- Images part by part ---- */
static const kr_format *parts_writer(const char *path)
{
    const kr_format *f = is_stdout(path) ? NULL : writer(path, NULL, KR_PICTURE);
    if (f && f->write_parts)
        return f;
    kr_text known = { 0 };
    for (int i = 0; kr_formats[i]; i++)
        if (kr_formats[i]->write_parts)
            kr_text_add(&known, "%s%s", known.len ? " " : "", kr_formats[i]->suffix);
    if (f || is_stdout(path))
        kr_fail(KR_EUSAGE, "%s: images are written there as a whole; part by part, as a limit of memory wants it, they are written to %s", path, known.s ? known.s : "nothing");
    kr_text_clear(&known);
    return NULL;
}

int kr_can_write_parts(const char *path) { return parts_writer(path) ? kr_can_write(KR_PICTURE, path, NULL) : kr_error_code(); }

int kr_parts_write(const kr_by_part *p, const char *path)
{
    const kr_format *f = parts_writer(path);
    kr_scoped(meta) m = f ? kr_provenance_meta(p->meta) : NULL;
    kr_by_part told = *p;
    told.meta = m;
    return m ? write_beside(f, PARTS, &told, NULL, path) : kr_error_code();
}

/* ---- Text: tables, pages, JSON ---- */
int kr_text_can_write(const char *path)
{
    if (!strcmp(path, "-"))
        return 0;
    char *real = behind(path);
    kr_auto char *dir = place_for(real ? real : path, NULL);
    free(real);
    return dir ? 0 : kr_fail_in("%s", path);
}

static int write_text_to(const kr_text *text, const char *path)
{
    kr_auto char *dir = place_for(path, NULL);
    kr_beside to = { 0 };
    if (!dir || kr_folder_make(dir) || kr_beside_open(&to, path))
        return kr_error_code();
    int e = kr_file_write(to.file, &(kr_block){ text->s ? text->s : "", text->len }, 1);
    e = e ? e : kr_beside_commit(&to);
    kr_beside_drop(&to);
    return e;
}

int kr_text_write(const char *path, const kr_text *text)
{
    if (text->failed)
        return kr_fail(KR_EMEM, "no memory for the text of %s", path);
    if (!strcmp(path, "-"))
        return fwrite(text->s ? text->s : "", 1, text->len, stdout) == text->len ? 0 : kr_fail(KR_EFILE, "the output cannot be written: %s", strerror(errno));
    char *real = behind(path);
    int e = write_text_to(text, real ? real : path);
    free(real);
    return e ? kr_fail_in("%s", path) : 0;
}

int kr_output_apart(const char *output, const char *input)
{
    kr_source src;
    struct same in = { 0 }, out = { 0 };
    if (is_stdout(output))
        return 0;
    if (kr_source_parse(&src, input)) {
        if (kr_error_code() == KR_EMEM)
            return KR_EMEM;
        kr_error_clear();                        /* reading it will tell */
        return 0;
    }
    int e = files_of(&in, src.path) || files_of(&out, output) ? kr_error_code() : 0;
    for (int i = 0; !e && i < in.count; i++)
        for (int j = 0; !e && j < out.count; j++) {
            struct stat a, b;
            if (!stat(in.name[i], &a) && !stat(out.name[j], &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino && (!S_ISDIR(a.st_mode) || (!i && !j)))
                e = kr_fail(KR_EUSAGE, "%s: input and output are the same file", output);
        }
    clear_same(&in);
    clear_same(&out);
    kr_source_clear(&src);
    return e;
}
