/* mutate.c: kray-mutate [-a] FORMAT FOLDER: each file of the folder cut at every length and with its bytes changed one by
 * one, in the same way each time, given to every reader of the format. TAP. A reader may refuse, but not break, hang or
 * leak. Without -a, of long files only a part of the lengths and bytes, spread evenly.
 * The work is done in a child, which a new one follows from the next form on where it breaks down. What breaks down inside
 * of libhdf5 is noted, not failed: Kray cannot mend that library, and the command answers it with a sentence. */
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
#include <sys/wait.h>
#include <unistd.h>

enum { FEW = 100, SECONDS = 60, LIBRARY = 70, OURS = 71, FILE_MOST = 1 << 20 };

/* What the child tells: the next form, how many forms were taken, and how many left memory behind. */
static struct told { size_t next, taken, leaks; } *told;

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

/* The address sanitizer calls this before its report. */
void __asan_on_error(void);
void __asan_on_error(void) { blame(); }

static size_t after(size_t k, size_t step) { return k + (k < 64 ? 1 : step); }

/* Form 0 is the file itself; then come the cuts, then the changes. */
static void child(const char *format, unsigned char *bytes, size_t n, size_t step, size_t from)
{
    static const int fault[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++)
        signal(fault[i], on_fault);
    size_t form = 0;
    if (form++ >= from)
        told->taken += feed(format, bytes, n) > 0;
    size_t before = kr_mem_now();
    for (int change = 0; change < 2; change++)
        for (size_t k = 0; k < n; k = after(k, step)) {
            if (form++ < from)
                continue;
            told->next = form;
            alarm(SECONDS);
            unsigned char old = bytes[k];
            static const unsigned char flip[] = { 0x01, 0x80, 0xff };
            bytes[k] = (unsigned char)(change ? old ^ flip[k % 3] : old);
            feed(format, bytes, change ? n : k);
            bytes[k] = old;
            alarm(0);
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

int main(int argc, char **argv)
{
    bool all = argc > 1 && !strcmp(argv[1], "-a");
    argv += all;
    struct dirent **entry;
    int n = argc - all == 3 ? scandir(argv[2], &entry, NULL, alphasort) : -1, tests = 0, bad = 0;
    if (n < 0)
        return 2;
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    kr_threads_set(1);
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
