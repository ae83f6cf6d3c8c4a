/* simulate_ct.h: kray simulate of CT. */
#ifndef KRAY_SIMULATE_CT_H
#define KRAY_SIMULATE_CT_H
#include "json.h"

typedef struct simulate_ct {
    const char *object, *output, *geometry, *detector, *reference;
    double photons, electronic, dose, radius, blur, rings;
    long seed, metal;
    bool spectrum;
} simulate_ct;
int simulate_ct_run(const simulate_ct *o, struct answer *a) KR_MUST_USE;
#endif
