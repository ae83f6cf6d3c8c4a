/* cpu.c: which instructions this processor has. */
#include "kray/base.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

int kr_cpu(void)
{
    static atomic_int known = -1;
    int level = atomic_load(&known);
    if (level >= 0)
        return level;
    level = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd");
    level = v4 ? 4 : v3 ? 3 : 0;
#endif
    const char *force = getenv("KR_CPU");
    int most = !force ? 4 : !strcmp(force, "base") ? 0 : !strcmp(force, "v3") ? 3 : 4;
    level = level > most ? most : level;
    atomic_store(&known, level);
    return level;
}

bool kr_cpu_bf16(void)
{
#if defined(__x86_64__)
    return kr_cpu() >= 4 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
