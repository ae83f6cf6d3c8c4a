/* provenance.c: what an output says of where it came from. */
#include "kray/io.h"
#include "file.h"
#include <stdio.h>
#include <unistd.h>

/* Two ends and the length tell measurements apart; hashing gigabytes would take longer than many reconstructions. */
enum { END = 1 << 20 };

static int input_set(kr_meta *m, const char *key, const char *source)
{
    kr_source src;
    if (kr_source_parse(&src, source))
        return kr_error_code();
    int64_t bytes = 0;
    int fd = kr_file_open(src.path, &bytes), e = 0;
    kr_source_clear(&src);
    if (fd < 0) {                        /* a folder, or BART's name without suffix: the name must do */
        kr_error_clear();
        return kr_meta_set(m, key, "%s", source);
    }
    size_t whole = bytes < 2 * END ? (size_t)bytes : 2 * END;
    kr_auto char *block = kr_alloc(whole, 1);
    size_t half = whole / 2;
    char hex[65];
    e = !block || kr_file_read(fd, block, half, 0) || kr_file_read(fd, block + half, whole - half, bytes - (int64_t)(whole - half))
      ? kr_error_code() : 0;
    close(fd);
    if (e)
        return e;
    kr_digest(block, whole, hex);
    return kr_meta_set(m, key, "%s, %lld bytes, SHA-256%s %s", source, (long long)bytes,
                       bytes > 2 * END ? " of the first and the last MiB" : "", hex);
}

int kr_meta_provenance(kr_meta *m, const char *command, const char *method, const char *parameters, const char *const *input, int inputs)
{
    int e = kr_meta_set(m, "software", "Kray %s", kr_version());
    if (!e && command)
        e = kr_meta_set(m, "command", "%s", command);
    if (!e && method)
        e = kr_meta_set(m, "method", "%s", method);
    if (!e && parameters)
        e = kr_meta_set(m, "parameters", "%s", parameters);
    for (int i = 0; !e && i < inputs; i++) {
        char key[24];
        snprintf(key, sizeof key, i ? "input_%d" : "input", i + 1);
        e = input_set(m, key, input[i]);
    }
    return e;
}
