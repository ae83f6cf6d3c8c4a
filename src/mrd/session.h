/* session.h: the parts of a session. Private to src/mrd. */
#ifndef KRAY_SESSION_H
#define KRAY_SESSION_H
#include "kray/mrd.h"

/* ---- ask.c: configurations ---- */
void ask_clear(kr_mrd_ask *a);
/* JSON or the sentence that tells what it is instead (Gadgetron's XML, with the method nearest to it). Adds to what `a` says. */
int ask_read(kr_mrd_ask *a, const char *text) KR_MUST_USE;
int ask_name(kr_mrd_ask *a, const char *name) KR_MUST_USE;
bool ask_sends_nothing(const kr_mrd_ask *a);         /* null, savedataonly, none */
/* Whether the name is a word of its own, a method or a recipe, which is read. Refuses what nobody knows, naming what is known. */
int ask_resolve(kr_mrd_ask *a, const kr_mrd_host *host, kr_text *warning) KR_MUST_USE;

/* ---- units.c: lines until a slice, a repetition or the measurement is complete ---- */
typedef struct stamp {               /* of the line nearest to the centre of k-space                    */
    bool known; long away;
    uint32_t uid, time_stamp, physio[3];
    float table[3]; int32_t user_int[8]; float user_float[8];
} stamp;
enum { COUNTERS = 6 };               /* slice, contrast, phase, set, repetition, average                */
struct kr_mrd_work {
    kr_scan *scan;
    kr_image *image;
    long slice, repetition;          /* -1: all of them are in the scan                                 */
    long n[COUNTERS];                /* stamps by these counters                                        */
    stamp *stamps;
    int64_t bytes;
    const kr_mrd_host *host; void *job;
    int code; char *sentence;        /* why there is no image                                           */
    char *notes;                     /* warnings of the method, a line each                             */
    kr_mrd_work *next;
};
void work_drop(kr_mrd_work **w);

typedef struct held {                /* one line                                                        */
    kr_line line;
    kr_cfloat *samples; float *traj; /* traj lies behind samples, in the same block                     */
} held;
typedef struct lines { held *h; long count, room; } lines;
typedef struct unit {
    long slice, repetition;
    lines l;
    long imaging, calib, different;  /* lines; those of different counters                              */
    uint64_t *seen; int64_t seen_bits;       /* which counters came; NULL: not counted                          */
    struct slide *slide;             /* of a frame: whose lines these are, until the next one comes; l is empty */
    struct unit *next;
} unit;
typedef struct slide {               /* the last readouts of a slice, in real time                     */
    long slice, frames, imaging;
    lines l;
    bool full;                       /* a frame was made of them                                        */
    struct slide *next;
} slide;
typedef struct units {
    enum kr_mrd_unit by;
    long spokes, window;             /* of real time; 0: none                                           */
    slide *slides;
    char *xml;
    kr_encoding *encoding; int encodings;
    char calibration[16];
    long most[COUNTERS];             /* largest counters by the header; -1: it does not say              */
    bool flagged;                    /* LAST flags were seen                                            */
    lines noise;                     /* of the measurement                                              */
    struct kept { long slice; lines l; struct kept *next; } *calib;      /* calibration of earlier repetitions           */
    unit *open, *last;               /* `last`: that of the line before                                 */
    int64_t bytes, memory;           /* held; most of a scan, 0: no limit                               */
} units;
int units_open(units *u, const char *xml) KR_MUST_USE;
void units_clear(units *u);
/* Takes a line; *done: units that are complete with it, a list. */
int units_put(units *u, unit **done, const kr_mrd_message *m, long number) KR_MUST_USE;
unit *units_close(units *u);                         /* all that are open, in order */
long units_left_over(const units *u);                /* readouts at the end that make no whole frame, at units_close */
/* The scan of a unit, which is dropped. */
kr_mrd_work *units_work(units *u, unit **from) KR_MUST_USE;
void unit_drop(units *u, unit **x);

/* ---- answer.c: images as messages ---- */
typedef struct answer {
    double scale;                    /* of whole numbers, one for all images of a scan; 0: not known yet   */
    double window;                   /* the largest value of the first image                            */
    struct series { unsigned kind; long contrast; long images; } series[256]; int count;
    long sent, cut;                  /* pixels above 4095                                               */
} answer;
int answer_images(kr_text *out, answer *a, const kr_mrd_work *w, const kr_mrd_ask *ask) KR_MUST_USE;
#endif
