/* shipped.c: weights that come with Kray, found by the name of their network. */
#include "net_method.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder that the running program lies in; NULL where the system does not tell. */
static char *program_folder(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    return slash ? kr_strf("%.*s", (int)(slash - path), path) : NULL;
}

/* Installed beside the program, in the tree that it was built in, or where the library was installed. */
static char *folder(int i, const char *program)
{
    const char *told = getenv("KR_WEIGHTS");
    switch (i) {
    case 0: return told ? kr_strdup(told) : NULL;
    case 1: return program ? kr_strf("%s/../share/kray/weights", program) : NULL;
    case 2: return program ? kr_strf("%s/../../recon/weights", program) : NULL;
    case 3: return kr_strdup(KR_DATADIR "/kray/weights");
    default: return NULL;
    }
}

char *shipped_weights(const char *family)
{
    kr_error_clear();
    kr_auto char *program = program_folder();
    for (int i = 0; i < 4 && !kr_error_code(); i++) {
        kr_auto char *in = folder(i, program);
        for (const char *p = family; in && *p && !kr_error_code(); p += strcspn(p, " "), p += *p == ' ') {
            char name[64] = "";
            memcpy(name, p, strcspn(p, " ") < sizeof name - 1 ? strcspn(p, " ") : sizeof name - 1);
            char *path = kr_strf("%s/%s.safetensors", in, name);
            if (path && !access(path, R_OK))
                return path;
            kr_free(path);
        }
    }
    return NULL;
}
