/* guard.c: a sentence instead of a crash, when a library breaks down over a damaged file. HDF5 1.10 and matio do, on some
 * files that no check of ours can tell beforehand short of writing them anew. What is being read is never written, and
 * outputs are put in place only when whole: to name the file and leave at once loses nothing that was finished. */
#include "kray/io.h"
#include "tool.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BROKE = 70 };
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

/* Only what POSIX allows in a handler; the refused file leaves with 1, a fault of ours as the shell expects it. */
static void on_fault(int sig)
{
    const char *file = kr_reading();
    if (trial)
        _exit(BROKE);
    if (file) {
        put("\nkray: ");
        put(file);
        put(": the file is damaged in a way that broke the library which reads it; kray stops here\n");
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
    signal(SIGXFSZ, SIG_IGN);                /* a file over the limit is then refused by write(), with a reason */
}

int kr_guard_try(const char *source, const char *format)
{
    pid_t child = fork();
    if (!child) {
        trial = true;
        kr_threads_set(1);                   /* the parent's threads are not here */
        kr_scan *s = NULL;
        (void)!kr_scan_read(&s, source, format, &(kr_read){ .header_only = true }, NULL);
        _exit(0);                            /* whatever it says, it will say once more to the parent */
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0 || !status)
        return 0;
    return kr_fail(KR_EFORMAT, "%s: the file is damaged in a way that breaks the library which reads it", source);
}
