/* mutate.c: kray-mutate [-a | -r COUNT] FORMAT FOLDER: each file of the folder cut at every length and with its bytes changed one by
 * one, in the same way each time, given to every reader of the format. TAP. A reader may refuse, but not break, hang or
 * leak. Without -a, of long files only a part of the lengths and bytes, spread evenly. With -r, COUNT forms of all files
 * instead, each changed in several random ways (always the same ones: KR_FUZZ_SEED gives others).
 * The work is done in a child, which a new one follows from the next form on where it breaks down. What breaks down inside
 * of libhdf5 is noted, not failed: Kray cannot mend that library, and the command answers it with a sentence.
 * A reader hangs that takes twice SECONDS of processor time, which a busy machine does not lengthen, or twice WAITS of the clock (it waits for what
 * never comes); once them may be enough. */
#include "feed.h"
#include "kray/io.h"
#include <dirent.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FEW = 100, SECONDS = 30, WAITS = 600, LIBRARY = 70, OURS = 71, HUNG = 72, FILE_MOST = 1 << 20, FILES_MOST = 64 };

/* What the child tells: the next form, how many forms were taken, and how many left memory behind. */
static struct told { size_t next, taken, leaks, peak; } *told;

/* Whose code was running: the innermost frame that is of Kray or of HDF5 tells. */
static void blame(void)
{
    void *frame[64];
    int n = backtrace(frame, 64);
    for (int i = 0; i < n; i++) {
        Dl_info at;
        if (!dladdr(frame[i], &at) || !at.dli_fname)
            continue;
        if (strstr(at.dli_fname, "libhdf5"))
            _exit(LIBRARY);
        if (strstr(at.dli_fname, "libkray"))
            break;
    }
    backtrace_symbols_fd(frame, n, 1);
    _exit(OURS);
}

static void on_fault(int sig)
{
    (void)sig;
    blame();
}

/* Two clocks tick, of processor time and of the wall; a form hangs that one of them finds twice. So setting them costs no form anything. */
static void on_tick(int sig)
{
    static size_t seen[2];
    bool wall = sig == SIGALRM;
    if (seen[wall] == told->next && told->next)
        _exit(HUNG);
    seen[wall] = told->next;
}

/* The address sanitizer calls this before its report. */
void __asan_on_error(void);
void __asan_on_error(void) { blame(); }

static size_t after(size_t k, size_t step) { return k + (k < 64 ? 1 : step); }

static void watch(void)
{
    static const int fault[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++)
        signal(fault[i], on_fault);
    signal(SIGALRM, on_tick);
    signal(SIGPROF, on_tick);
    setitimer(ITIMER_REAL, &(struct itimerval){ { WAITS, 0 }, { WAITS, 0 } }, NULL);
    setitimer(ITIMER_PROF, &(struct itimerval){ { SECONDS, 0 }, { SECONDS, 0 } }, NULL);
}

/* Form 0 is the file itself; then come the cuts, then the changes. */
static void child(const char *format, unsigned char *bytes, size_t n, size_t step, size_t from)
{
    watch();
    size_t form = 0;
    if (form++ >= from)
        told->taken += feed(format, bytes, n) > 0;
    size_t before = kr_mem_now();
    for (int change = 0; change < 2; change++)
        for (size_t k = 0; k < n; k = after(k, step)) {
            if (form++ < from)
                continue;
            told->next = form;
            unsigned char old = bytes[k];
            static const unsigned char flip[] = { 0x01, 0x80, 0xff };
            bytes[k] = (unsigned char)(change ? old ^ flip[k % 3] : old);
            feed(format, bytes, change ? n : k);
            bytes[k] = old;
            told->leaks += kr_mem_now() != before;
            before = kr_mem_now();
        }
    feed_end();
    _exit(0);
}

/* Whether all forms of the file went well. */
static bool mutate(const char *format, const char *path, const char *name, int test, bool all)
{
    static unsigned char bytes[FILE_MOST];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0, step = all || n <= FEW ? 1 : n / FEW;
    if (f)
        fclose(f);
    *told = (struct told){ 0 };
    long ours = 0;
    for (int status = -1; status && ours < 5; ) {
        fflush(stdout);
        pid_t pid = fork();
        if (!pid)
            child(format, bytes, n, step, told->next);
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
            return false;
        bool blamed = WIFEXITED(status) && WEXITSTATUS(status) == LIBRARY;
        ours += status && !blamed;
        if (status)
            printf("# form %zu of %s breaks %s, status %x\n", told->next - 1, name, blamed ? "libhdf5" : "down", (unsigned)status);
    }
    bool good = n && told->taken && !told->leaks && !ours;
    printf("%sok %d - %s %s: %zu bytes%s\n", good ? "" : "not ", test, format, name, n, all ? ", every form" : "");
    if (!told->taken)
        printf("# as it is, no reader takes it\n");
    if (told->leaks)
        printf("# %zu forms left memory behind\n", told->leaks);
    return good;
}

/* ---- At random ---- */
struct file { unsigned char *bytes; size_t n; };
struct dice { uint64_t seed, form, turn; };

static uint64_t roll(struct dice *d, uint64_t sides) { return sides ? kr_rand_bits(d->seed, d->form, d->turn++) % sides : 0; }

/* One change: a bit, a byte, a number that readers get wrong, a piece of another file, a piece left out or repeated, an end. */
static size_t change(struct dice *d, unsigned char *b, size_t n, const struct file *other)
{
    static const uint64_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 62, ~0ull };
    size_t at = (size_t)roll(d, n), length = 1 + (size_t)roll(d, n < 64 ? n : 64), width = (size_t)1 << roll(d, 4), from = (size_t)roll(d, other->n);
    uint64_t v = odd[roll(d, sizeof odd / sizeof *odd)];
    if (!n)
        return n;
    switch (roll(d, 8)) {
    case 0: case 1: b[at] ^= (unsigned char)(1 << roll(d, 8)); break;
    case 2: b[at] = (unsigned char)roll(d, 256); break;
    case 3:
        for (size_t k = 0; k < width && at + k < n; k++)           /* in either byte order */
            b[at + k] = (unsigned char)(v >> 8 * (d->turn & 1 ? k : width - 1 - k));
        break;
    case 4:
        for (size_t k = 0; k < length && at + k < n && from + k < other->n; k++)
            b[at + k] = other->bytes[from + k];
        break;
    case 5:
        length = length < n - at ? length : n - at;
        memmove(b + at, b + at + length, n - at - length);
        return n - length;
    case 6:
        length = length < n - at ? length : n - at;
        if (n + length > FILE_MOST)
            break;
        memmove(b + at + length, b + at, n - at);
        return n + length;
    default: return roll(d, 4) ? n : at;
    }
    return n;
}

static void child_random(const char *format, const struct file *file, int files, size_t count, uint64_t seed)
{
    static unsigned char bytes[FILE_MOST];
    watch();
    for (size_t form = told->next; form < count; form++) {
        struct dice d = { seed, form, 0 };
        const struct file *f = &file[roll(&d, (uint64_t)files)];
        size_t n = f->n;
        memcpy(bytes, f->bytes, n);
        for (uint64_t k = 1 + roll(&d, 6); k > 0; k--)
            n = change(&d, bytes, n, &file[roll(&d, (uint64_t)files)]);
        told->next = form + 1;
        size_t before = kr_mem_now();
        told->taken += feed(format, bytes, n) > 0;
        told->leaks += kr_mem_now() > before && before;             /* what is made once stays */
        told->peak = kr_mem_peak() > told->peak ? kr_mem_peak() : told->peak;
    }
    feed_end();
    _exit(0);
}

static int at_random(const char *format, const struct file *file, int files, size_t count)
{
    const char *word = getenv("KR_FUZZ_SEED");
    uint64_t seed = word ? strtoull(word, NULL, 10) : 1;
    long ours = 0, library = 0, hung = 0;
    *told = (struct told){ 0 };
    for (int status = -1; status && ours + hung < 20; ) {
        fflush(stdout);
        pid_t pid = fork();
        if (!pid)
            child_random(format, file, files, count, seed);
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
            return 2;
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : OURS;
        library += code == LIBRARY;
        hung += code == HUNG;
        ours += code && code != LIBRARY && code != HUNG;
        if (code && code != LIBRARY)
            printf("# form %zu of %s %s, status %x\n", told->next - 1, format, code == HUNG ? "never ends" : "breaks down", (unsigned)status);
    }
    printf("%sok 1 - %s: %zu inputs, %zu taken, %ld broke Kray, %ld broke libhdf5, %ld hung, %zu left memory behind, peak %zu MiB\n1..1\n",
           ours || hung || told->leaks ? "not " : "", format, told->next, told->taken, ours, library, hung, told->leaks, told->peak >> 20);
    return ours || hung || told->leaks;
}

static int read_all(const char *folder, struct dirent **entry, int n, struct file *file)
{
    int files = 0;
    for (int i = 0; i < n && files < FILES_MOST; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        FILE *f = *entry[i]->d_name == '.' ? NULL : fopen(path, "rb");
        if (!f)
            continue;
        file[files].bytes = malloc(FILE_MOST);
        file[files].n = file[files].bytes ? fread(file[files].bytes, 1, FILE_MOST / 2, f) : 0;
        files += file[files].n > 0;
        fclose(f);
    }
    return files;
}

int main(int argc, char **argv)
{
    bool random = argc == 5 && !strcmp(argv[1], "-r");
    size_t count = random ? strtoull(argv[2], NULL, 10) : 0;
    argv += random ? 2 : 0;
    argc -= random ? 2 : 0;
    bool all = argc > 1 && !strcmp(argv[1], "-a");
    argv += all;
    struct dirent **entry;
    int n = argc - all == 3 ? scandir(argv[2], &entry, NULL, alphasort) : -1, tests = 0, bad = 0;
    if (n < 0)
        return 2;
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    kr_threads_set(1);
    if (random) {
        static struct file file[FILES_MOST];
        int files = read_all(argv[2], entry, n, file);
        return files ? at_random(argv[1], file, files, count) : 2;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[2], entry[i]->d_name);
        if (*entry[i]->d_name != '.')
            bad += !mutate(argv[1], path, entry[i]->d_name, ++tests, all);
        free(entry[i]);
    }
    free(entry);
    printf("1..%d\n", tests);
    return bad > 0;
}
