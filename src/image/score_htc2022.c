/* score_htc2022.c: as the Helsinki Tomography Challenge 2022 counts: Matthews' correlation coefficient of binary images. Source: Matthews, Biochim Biophys
 * Acta 405:442 (1975); a grey reconstruction becomes binary at Otsu's threshold (IEEE Trans Syst Man Cybern 9:62 (1979)). */
#include "score.h"
#include <math.h>
#include <string.h>

/* The value between those below and those above it that parts a picture; of two values: their middle. */
static double threshold(const float *p, long n)
{
    enum { BINS = 256 };
    double low = INFINITY, high = -INFINITY, count[BINS] = { 0 }, all = 0, sum = 0, below = 0, part = 0, best = -1, at = 0;
    for (long i = 0; i < n; i++) {
        low = fmin(low, (double)p[i]);
        high = fmax(high, (double)p[i]);
    }
    if (!(high > low))
        return low > 0 ? low - 1 : low;                              /* one value: inside where it is above 0 */
    for (long i = 0; i < n; i++)
        count[(int)fmin(BINS - 1, ((double)p[i] - low) / (high - low) * BINS)]++;
    for (int b = 0; b < BINS; b++) {
        all += count[b];
        sum += b * count[b];
    }
    for (int b = 0; b < BINS - 1; b++) {
        below += count[b];
        part += b * count[b];
        double d = below > 0 && all > below ? part / below - (sum - part) / (all - below) : 0, between = below * (all - below) * d * d;
        if (between > best * (1 + 1e-12)) {
            best = between;
            at = b;
        }
    }
    /* of equal ones the first was taken: the middle of the empty bins behind it */
    int next = (int)at + 1;
    while (next < BINS && count[next] <= 0)
        next++;
    return low + (high - low) * (at + 1 + next) / 2 / BINS;
}

static bool binary(const float *p, long n)
{
    float a = p[0], b = p[0];
    for (long i = 1; i < n; i++) {
        if (b <= a && b >= a)
            b = p[i];
        if ((p[i] < a || p[i] > a) && (p[i] < b || p[i] > b))
            return false;
    }
    return true;
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    kr_shape s = kr_array_shape(target), other = kr_array_shape(recon);
    if (memcmp(&s, &other, sizeof s))
        return kr_fail(KR_ESHAPE, "the target is %s, the reconstruction %s", kr_shape_text(s), kr_shape_text(other));
    kr_scoped(array) t = kr_array_packed(target);
    kr_scoped(array) r = kr_array_packed(recon);
    kr_scoped(array) m = roi ? kr_array_packed(roi) : NULL;
    if (!t || !r || (roi && !m))
        return kr_error_code();
    long n = s.n[KR_X] * s.n[KR_Y], pictures = kr_count(s) / n;
    double all = 0;
    for (int k = 0; k < KR_MEASURES; k++)
        kr_score_set(volume, k, (double)NAN);
    for (long i = 0; i < pictures; i++) {
        const float *a = KR_R(t) + i * n, *b = KR_R(r) + i * n, *in = m ? KR_R(m) + i * n : NULL;
        for (long k = 0; k < n; k++)
            if (!isfinite(a[k]) || !isfinite(b[k]))
                return kr_fail(KR_ENUMBER, "picture %ld holds numbers that are not finite", i);
        if (!binary(a, n))
            return kr_fail(KR_ENUMBER, "the target has more than two values: a binary image is wanted");
        double ta = threshold(a, n), tb = threshold(b, n), c[2][2] = { { 0 } };
        for (long k = 0; k < n; k++)
            if (!in || in[k] > 0 || in[k] < 0)
                c[(double)a[k] > ta][(double)b[k] > tb]++;
        double norm = (c[1][1] + c[0][1]) * (c[1][1] + c[1][0]) * (c[0][0] + c[0][1]) * (c[0][0] + c[1][0]);
        for (int k = 0; k < KR_MEASURES; k++)
            kr_score_set(&slice[i], k, (double)NAN);
        slice[i].mcc = norm > 0 ? (c[1][1] * c[0][0] - c[0][1] * c[1][0]) / sqrt(norm) : 0;
        all += slice[i].mcc;
    }
    volume->mcc = all / (double)pictures;
    return 0;
}

const kr_protocol kr_protocol_htc2022 = { "htc2022", "Matthews' correlation of binary images; what is grey is parted by Otsu's threshold",
    "Helsinki Tomography Challenge 2022, rules", NULL, score, NULL };
