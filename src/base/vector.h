/* vector.h: the compilers' vector types, for the loops that are built once per CPU level. As many lanes as a register of the level has, never more: gcc 12 keeps wider vectors
 * in memory, not in two registers. KR_LOOSE, where a file says so before: at any address of a float. Private to such files. */
#ifndef KRAY_VECTOR_H
#define KRAY_VECTOR_H
#include <stdint.h>

#if defined(__AVX512F__)
enum { VL = 16 };
#elif defined(__AVX__)
enum { VL = 8 };
#else
enum { VL = 4 };
#endif
#if defined(KR_LOOSE)
typedef float vf __attribute__((vector_size(4 * VL), aligned(4)));
typedef int32_t vi __attribute__((vector_size(4 * VL), aligned(4)));
#else
typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE vf get(const float *p) { return *(const vf *)(const void *)p; }
INLINE void put(float *p, vf a) { *(vf *)(void *)p = a; }
#endif
