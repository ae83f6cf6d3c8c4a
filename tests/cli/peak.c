/* peak.c: kray-peak COMMAND...: runs it, prints the most memory that it held in bytes, and ends as it does. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    pid_t child = fork();
    if (!child) {
        dup2(2, 1);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    struct rusage use;
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0 || getrusage(RUSAGE_CHILDREN, &use))
        return 127;
    printf("%ld\n", use.ru_maxrss * 1024);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
