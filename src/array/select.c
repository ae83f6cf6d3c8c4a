/* select.c: see select.h. Hoare's FIND, Commun ACM 4:321 (1961). */
#include "kray/select.h"

float kr_select(float *a, long n, long k)
{
    long low = 0, high = n - 1;
    while (low < high) {
        float pivot = a[k];
        long i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot)
                i++;
            while (pivot < a[j])
                j--;
            if (i <= j) {
                float w = a[i];
                a[i++] = a[j];
                a[j--] = w;
            }
        }
        if (j < k)
            low = i;
        if (k < i)
            high = j;
    }
    return a[k];
}
