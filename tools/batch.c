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

/* Raw data has few suffixes; what else lies in a folder (notes, pictures) is not an error. */
static bool raw_suffix(const char *name)
{
    static const char *const suffix[] = { ".h5", ".mrd", ".hdf5", ".mat", ".cfl", ".dat" };
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        if (n > strlen(suffix[i]) && name[0] != '.' && !strcasecmp(name + n - strlen(suffix[i]), suffix[i]))
            return true;
    return false;
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return b && !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A mask in a file of its own, as CMRxRecon lays it beside its k-space: no scan, and no failure. */
static bool mask_name(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcasecmp(name + n - 4, ".mat") && strcasestr(name, "_mask");
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
            if (deep && !same_folder(file, output))
                e = deep < DEEPEST ? add_below(b, file, root, output, deep + 1, folders) : kr_fail(KR_EFILE, "%s: more than %d folders within each other", file, DEEPEST);
        } else if (raw_suffix(name[i]) && mask_name(name[i]))
            b->masks++;
        else if (raw_suffix(name[i])) {
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
    return e || b->count > first ? e : kr_fail(KR_EFILE, "%s: the folder holds no raw data (.h5, .mrd, .mat, .cfl, .dat)%s", path,
                                                folders && !deep ? " itself; --recursive searches the folders in it, too" : "");
}

static int add_word(struct batch *b, const char *word, const char *output, bool deep)
{
    if (folder(word)) {
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
            } else if (mask_name(path))
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
    size_t n = strlen(path);
    for (int i = 0; kr_formats[i]; i++)
        for (const char *s = kr_formats[i]->suffix; s && *s; s += strcspn(s, " "), s += *s == ' ') {
            size_t k = strcspn(s, " ");
            if (k && n > k && !strncasecmp(path + n - k, s, k))
                return true;
        }
    return false;
}

static int name_outputs(struct batch *b, const char *output, const char *to, const char *suffix)
{
    if (to) {
        const kr_format *f = kr_format_named(to);
        if (!f)
            return kr_error_code();
        suffix = f->suffix;
        const char *packed = strstr(suffix, ".nii.gz");      /* as without --to */
        suffix = packed ? packed : suffix;
    }
    int width = (int)strcspn(suffix, " ");
    size_t n = strlen(output);
    bool out = !strcmp(output, "-"), many = !out && (b->many || folder(output) || (n && output[n - 1] == '/'));
    if (out && (b->many || b->count > 1))
        return kr_fail(KR_EUSAGE, "one input alone can go to standard output (-); %ld, from several words, a folder or a pattern, go into a folder", b->count);
    if (many && b->many && named_as_file(output))
        return kr_fail(KR_EUSAGE, "%ld input%s, from several words, a folder or a pattern, go into a folder, and %s is named like one file: give a folder, as in "
                       "-o images/", b->count, b->count == 1 ? "" : "s", output);
    if (many && kr_folder_make(output))
        return kr_error_code();
    for (long i = 0; i < b->count; i++) {
        kr_auto char *name = many ? stem(b->input[i]) : NULL;
        b->output[i] = !many ? kr_strdup(output)
                     : name ? kr_strf("%s%s%s%s%.*s", output, output[n - 1] == '/' ? "" : "/", b->below[i], name, width, suffix) : NULL;
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
    *b = (struct batch){ .many = words > 1 };
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
    if (!b->failed)
        return 0;
    if (b->misused == b->count)
        return kr_fail(KR_EUSAGE, "%s", b->why[0] ? b->why[0] : "no memory");
    if (b->failed == b->count)               /* each was told of as it came */
        return kr_fail(KR_EREFUSED, "all %ld failed", b->count);
    kr_say(trace, KR_WARNING, "%ld of %ld failed:", b->failed, b->count);
    for (long i = 0; i < b->count; i++)
        if (b->why[i])
            kr_say(trace, KR_WARNING, "  %s", b->why[i]);
    return kr_fail(KR_EREFUSED, "%ld of %ld failed; the others are done", b->failed, b->count);
}

int batch_covariance(kr_scan *s, const char *file)
{
    kr_scoped(array) c = NULL;
    if (!file)
        return 0;
    if (kr_array_read(&c, file))
        return kr_error_code();
    return kr_scan_covariance(s, c) ? kr_fail_in("%s", file) : 0;
}

int batch_undersample(kr_scan *s, const char *spec, const char *file)
{
    kr_scoped(array) mask = kr_mask_from(spec, s->shape, file);
    unsigned varies = 0;
    for (int d = KR_X; mask && d <= KR_Z; d++)
        varies |= mask->n[d] > 1 ? KR_ON(d) : 0;
    if (!mask || kr_scan_to_kspace(s, varies) || kr_scan_undersample(s, mask))
        return kr_error_code();
    kr_array_unref(&s->calib_area);
    return kr_mask_is_spec(spec) ? kr_mask_calib(&s->calib_area, spec, s->shape, file) : 0;
}

/* The single-band reference from a file of its own: full or low resolution, of the same coils and readout. */
static int reference_from(kr_scan *s, const char *file, const kr_trace *trace)
{
    kr_scoped(scan) r = NULL;
    if (kr_scan_read(&r, file, NULL, &(kr_read){ 0 }, trace) || kr_scan_check(r))
        return kr_fail_in("single-band reference");
    if (kr_is_multiband(r) || r->shape.n[KR_Z] > 1 || r->traj)
        return kr_fail(KR_EREFUSED, "%s: a single-band reference is a 2D scan of one slice at a time, not of shape %s", file, kr_shape_text(r->shape));
    kr_array *k = kr_scan_kspace(r);
    for (int d = KR_ECHO; k && d < KR_AXES; d++) {           /* of the first frame */
        kr_array *first = kr_array_at(k, d, 0);
        kr_array_unref(&k);
        k = first;
    }
    kr_array_unref(&s->calib);
    kr_array_unref(&s->calib_mask);
    s->calib = kr_array_packed(k);
    kr_array_unref(&k);
    if (!s->calib)
        return kr_error_code();
    if (r->geom->slices != s->calib->n[KR_SLICE])
        return 0;
    kr_geom *g = kr_geom_copy(r->geom);
    if (!g)
        return kr_error_code();
    kr_geom_unref(&s->geom);
    s->geom = g;
    return 0;
}

int batch_multiband(kr_scan *s, long factor, long shift, const char *single_band, const kr_trace *trace)
{
    if (!factor && !kr_is_multiband(s)) {
        if (shift || single_band)
            return kr_fail(KR_EUSAGE, "--%s is for slices measured together, and the file does not say that they are: --multiband N does",
                           shift ? "caipi" : "single-band");
        return 0;
    }
    long as_read = s->multiband.factor;
    if (factor > 1 && as_read > 1 && factor != as_read)
        return kr_fail(KR_EREFUSED, "--multiband %ld, and the file says that %ld slices were measured together", factor, as_read);
    if ((factor || shift) && kr_multiband_set(s, factor ? factor : as_read, shift ? shift : s->multiband.shift))
        return kr_error_code();
    return single_band ? reference_from(s, single_band, trace) : 0;
}

/* ---- Where the voxels are ---- */
/* "a,b[,c]": how many numbers, or a refusal. "-" gives -1 where that is possible. */
static int three(double v[3], const char *text, bool gaps, const char *option)
{
    int n = 0;
    for (const char *p = text; n < 3; p++) {
        char *end;
        bool gap = gaps && *p == '-' && (p[1] == ',' || !p[1]);
        v[n] = gap ? -1 : strtod(p, &end);
        const char *next = gap ? p + 1 : end;
        if (next == p || (*next && *next != ','))
            break;
        n++;
        p = next;
        if (!*p)
            return n;
    }
    return kr_fail(KR_EUSAGE, "%s '%s': numbers X,Y,Z are wanted", option, text);
}

static int set_centre(kr_scan *s, const char *text)
{
    double v[3] = { -1, -1, -1 };
    long at[3];
    int n = three(v, text, true, "--centre");
    for (int d = 0; n > 0 && d < 3; d++) {
        at[d] = d < n ? (long)v[d] : -1;
        if (n < 2 || (d < n && ((double)at[d] != v[d] || at[d] < -1)))
            return kr_fail(KR_EUSAGE, "--centre '%s': X,Y or X,Y,Z are wanted, each the number of a sample or line from 0, or - where the centre stays", text);
    }
    return n < 0 ? n : kr_scan_centre(s, at);
}

/* Each line of the text; the text is cleared. */
static void warn(const kr_scan *s, kr_text *t, const kr_trace *trace)
{
    for (const char *p = t->s, *end; trace && p && *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\n");
        kr_say(trace, KR_WARNING, "%s: %.*s", s->file ? s->file : "scan", (int)(end - p), p);
    }
    kr_text_clear(t);
}

int batch_where(kr_scan *s, const char *sign, const char *voxel, const char *centre, const kr_trace *trace)
{
    double mm[3];
    kr_text t = { 0 };
    s->kspace_sign = !sign || *sign == 'a' ? 0 : *sign == '+' ? 1 : -1;
    if (voxel) {
        int n = three(mm, voxel, false, "--voxel");
        if (n != 3 || kr_scan_voxel(s, mm))
            return n < 0 || n == 3 ? kr_error_code() : kr_fail(KR_EUSAGE, "--voxel '%s': three sizes in mm are wanted, X,Y,Z", voxel);
    }
    if (centre && set_centre(s, centre))
        return kr_error_code();
    if (kr_scan_measured(&t, s)) {
        kr_text_clear(&t);
        return kr_error_code();
    }
    warn(s, &t, trace);
    if (!trace)
        return 0;
    bool known;
    (void)kr_scan_kspace_sign(s, &known);
    if (!known)
        kr_scan_sign_text(&t, s);
    if (t.len)
        kr_say(trace, KR_INFO, "%s: %s", s->file ? s->file : "scan", t.s);
    kr_text_clear(&t);
    if (!centre && kr_scan_centre_check(&t, s)) {
        kr_text_clear(&t);
        return kr_error_code();
    }
    warn(s, &t, trace);
    return 0;
}

void batch_voxel_unknown(const kr_image *im, const char *output, const char *to, const kr_trace *trace)
{
    bool nifti = to ? !strcmp(to, "nifti") : strstr(output, ".nii") != NULL;
    if (nifti && (!(im->geom->fov_mm[0] > 0) || !(im->geom->fov_mm[1] > 0)))
        kr_say(trace, KR_WARNING, "%s: the voxel size is unknown; 1 mm is written, which other programs take as true: --voxel X,Y,Z states it", output);
}
