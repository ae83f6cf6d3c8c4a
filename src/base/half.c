/* half.c: 16-bit floats of IEEE 754: 1 bit of sign, 5 of exponent, 10 of mantissa. */
#include "kray/base.h"

float kr_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
    union { uint32_t u; float f; } v;
    if (e == 0) {
        v.f = (float)m * 0x1p-24f;
        v.u |= sign;
    } else
        v.u = sign | (e == 31 ? 0x7f800000u : (e + 112) << 23) | m << 13;
    return v.f;
}
