/* guard.c: a sentence instead of a crash, when a library breaks down over a damaged file. HDF5 1.10 does, on some files that no
 * check of ours can tell beforehand short of writing it anew. What is being read is never written, and outputs are put in place
 * only when whole: to name the file and leave at once loses nothing that was finished. Of many files, each is tried in a child
 * process first, so that the others are done. And: leaving when asked to, and where a library would wait without end. */
#include "kray/io.h"
#include "tool.h"
#include <malloc.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BROKE = 70, FRAMES = 64, TRIAL_SECONDS = 120, SMALL = 64 << 20 };
static bool trial;                           /* in the child of kr_guard_try: no words, the parent has them */

static void put(const char *text)
{
    size_t n = strlen(text);
    while (n) {
        ssize_t k = write(2, text, n);
        if (k <= 0)
            return;
        text += k;
        n -= (size_t)k;
    }
}

/* Whose code was running: the innermost frame that is not the C library's tells. NULL: Kray's own. The handler itself and the
 * way into it are the first two frames. */
static const char *culprit(void)
{
    void *frame[FRAMES];
    int n = backtrace(frame, FRAMES);
    for (int i = 2; i < n; i++) {
        Dl_info at;
        if (!dladdr(frame[i], &at) || !at.dli_fname)
            continue;
        const char *slash = strrchr(at.dli_fname, '/'), *name = slash ? slash + 1 : at.dli_fname;
        if (!strncmp(name, "libc.", 5) || !strncmp(name, "libc-", 5) || !strncmp(name, "ld-", 3) || !strncmp(name, "libasan", 7))
            continue;
        return strncmp(name, "libkray", 7) && strncmp(name, "lib", 3) == 0 ? name : NULL;
    }
    return NULL;
}

/* Only what can be done in a handler; the refused file leaves with 1, a fault of ours as the shell expects it. */
static void on_fault(int sig)
{
    const char *file = kr_reading(), *library = file ? culprit() : NULL;
    if (trial && library)
        _exit(BROKE);
    if (library) {
        put("\nkray: ");
        put(file);
        put(": the file is damaged in a way that broke the library which reads it (");
        put(library);
        put("); kray stops here\n");
        _exit(1);
    }
    put("\nkray: this is a fault in kray itself, please report it with the command and the file\n");
    signal(sig, SIG_DFL);
    raise(sig);
}

void kr_guard(void)
{
    static char stack[1 << 16];              /* a fault may be a stack that ran out */
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    sigaltstack(&alternate, NULL);
    static const int fault[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        struct sigaction old, act = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_RESETHAND };
        if (!sigaction(fault[i], NULL, &old) && old.sa_handler == SIG_DFL)      /* a sanitizer's own stays */
            sigaction(fault[i], &act, NULL);
    }
    void *frame[1];
    (void)!backtrace(frame, 1);              /* loads what it needs now, not in a handler */
    signal(SIGXFSZ, SIG_IGN);                /* a file over the limit is then refused by write(), with a reason */
}

/* Files that HDF5 would open: its signature stands at 0, 512, 1024, 2048 and so on. */
static bool of_hdf5(const char *path, bool *small)
{
    static const char signature[] = "\x89HDF\r\n\x1a\n";
    int64_t bytes = 0;
    int fd = kr_file_open(path, &bytes);
    bool is = false;
    for (int64_t at = 0; fd >= 0 && !is && at < bytes && at < 1 << 20; at = at ? 2 * at : 512) {
        char head[8];
        is = pread(fd, head, sizeof head, at) == (ssize_t)sizeof head && !memcmp(head, signature, sizeof head);
    }
    if (fd >= 0)
        close(fd);
    *small = bytes <= SMALL;
    return is;
}

static void try_to_read(const char *source, const char *format, enum kr_what what, bool small)
{
    kr_scan *s = NULL;
    kr_image *im = NULL;
    if (what == KR_PICTURE)
        (void)!kr_image_read(&im, source);
    else
        (void)!kr_scan_read(&s, source, format, &(kr_read){ .header_only = !small }, NULL);
}

int kr_guard_try(const char *source, const char *format, enum kr_what what)
{
    kr_source src;
    bool small = false;
    int status = 0, e = kr_source_parse(&src, source);
    bool suspect = !e && of_hdf5(src.path, &small);
    if (!e)
        kr_source_clear(&src);
    kr_error_clear();                        /* reading it will tell */
    if (!suspect)
        return 0;
    pid_t child = fork();
    if (!child) {
        trial = true;
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        alarm(TRIAL_SECONDS);                /* it may also never come back */
        kr_threads_set(1);                   /* the parent's threads are not here */
        try_to_read(source, format, what, small);
        _exit(0);                            /* whatever it says, it will say once more to the parent */
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    if (child < 0 || !status)
        return 0;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return kr_fail(KR_ESTOPPED, "stopped on request");
    bool ours = WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM && WTERMSIG(status) != SIGKILL;
    return kr_fail(KR_EFORMAT, ours ? "%s: reading it breaks down; this is a fault in kray itself, please report it with the file"
                                    : "%s: the file is damaged in a way that breaks the library which reads it", source);
}

/* OpenBLAS starts threads when it is loaded, each of which waits without end for 128 MiB where the address space is limited
 * (ulimit -v). Kray needs none of them. */
void kr_guard_limits(char **argv)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY || getenv("OPENBLAS_NUM_THREADS"))
        return;
    if (!setenv("OPENBLAS_NUM_THREADS", "1", 1))
        execv("/proc/self/exe", argv);       /* where this fails, all goes on as it is */
}

void kr_guard_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
}
