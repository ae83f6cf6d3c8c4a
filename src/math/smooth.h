/* smooth.h: lengths of transforms. Private to this folder. */
#ifndef KRAY_SMOOTH_H
#define KRAY_SMOOTH_H

/* The next multiple of `step` (of 2, or of more) from `least` on without prime factors over 5. */
static inline long smooth_from(long least, long step)
{
    for (long n = (least + step - 1) / step * step; ; n += step) {
        long r = n;
        for (int p = 2; p <= 5; p++)
            while (r % p == 0)
                r /= p;
        if (r == 1)
            return n;
    }
}
#endif
