/* fuzz_read.c: libFuzzer's entry for the readers of the format FORMAT, which meson.build defines. */
#include "feed.h"
#include "kray/io.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    kr_threads_set(1);
    atexit(feed_end);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    size_t before = kr_mem_now();
    feed(FORMAT, bytes, n);
    if (kr_mem_now() != before)
        abort();                               /* something was not given back */
    return 0;
}
