/* mrd.h: a session with an MRD client (a scanner, or a program) as a state machine: bytes in, scans to reconstruct out, images in, bytes out. It
 * opens no socket, starts no thread and knows no clock. */
#ifndef KRAY_MRD_H
#define KRAY_MRD_H
#include "kray/wire.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- What a client asks for ----
 * A configuration is a word (a method, or one of those below), a recipe, or JSON: {"method": "grappa", "options": {"kernel": 5}}. FIRE's
 * {"version": "1.0", "parameters": {"config": "grappa", "kernel": "5"}} means the same, and comes on top of a word. Keys that are no
 * options of the method: */
enum kr_mrd_pixels { KR_MRD_FLOAT, KR_MRD_USHORT, KR_MRD_SHORT };        /* "pixels": float, ushort, short (0 to 4095)   */
enum kr_mrd_unit { KR_MRD_BY_METHOD, KR_MRD_BY_SLICE, KR_MRD_BY_REPETITION, KR_MRD_WHOLE };   /* "unit": method, slice, repetition, measurement */
enum { KR_MRD_MAGNITUDE = 1, KR_MRD_PHASE = 2, KR_MRD_COMPLEX = 4 };     /* "images": several joined by commas          */
typedef struct kr_mrd_ask {
    char *name;                      /* "rss"; "echo": everything is sent back as it came; "null", "savedataonly": nothing is */
    kr_meta *options;                /* of the method, in the order given                               */
    enum kr_mrd_pixels pixels;
    enum kr_mrd_unit unit;           /* what is reconstructed at once                                   */
    unsigned images;                 /* magnitude, if nothing is asked for                              */
    bool originals;                  /* "sendoriginal": images that came are sent back before those made of them */
    /* Real time: after every "spokes" readouts (lines, of Cartesian scans) of a slice an image of its last "window" readouts; 0: no frames; window 0: five
     * frames. Later frames begin at the image of the one before. "late": "drop" (a frame that still waits when a newer one of its slice is complete is not
     * made), or "keep". */
    long spokes, window;
    bool keep_late, late_said;
} kr_mrd_ask;

/* ---- Who does the work ----
 * Functions return 0 or a refusal, whose sentence goes to the client. Any may be NULL but open, run and close. */
typedef struct kr_mrd_host {
    void *self;
    bool (*knows)(void *self, const char *name);                         /* is this word a method?                       */
    void (*words)(void *self, kr_text *to);                              /* "auto, rss, sense": all of them              */
    char *(*recipe)(void *self, const char *name);                       /* JSON of a recipe (kr_free), NULL: there is none; name is no path */
    /* Once for a session, when the header is known; *unit: what the method wants at once, if ask->unit leaves it open. */
    int (*open)(void **job, enum kr_mrd_unit *unit, void *self, const kr_mrd_ask *ask);
    /* The image of a slice, a repetition or all. scan is not prepared; slice -1: of all. The job may keep coil maps by slice. */
    int (*run)(kr_image **out, void *job, kr_scan *scan, long slice, const kr_trace *trace);
    void (*close)(void *job);
    /* Messages that came, whole ones alone, as they came; also those after a refusal. */
    void (*keep)(void *self, const void *bytes, size_t n);
    /* Noise lines (acquisition messages, one behind the other) of the measurement with that id, kept for scans that name it as theirs
     * (measurementDependency); and those kept, NULL: none. Owner: the session (kr_text_clear). */
    void (*keep_noise)(void *self, const char *measurement, const void *bytes, size_t n);
    bool (*noise_of)(void *self, const char *measurement, kr_text *bytes);
    /* Answers a query other than gadgetron::info; NULL: not known. Owner: the session. */
    char *(*reply)(void *self, const char *query);
    /* An image that was made, a message as it goes out. True: somebody looks at it, and kr_mrd_session_told follows. */
    bool (*image)(void *self, const void *message, size_t n);
    const char *config;              /* a word or JSON that counts instead of what the client says; NULL: the client's */
    bool waits;                      /* what comes in waits while work is done, as a pipe does: no frame is late */
    const char *fallback;            /* taken, with a warning, for configurations that nobody knows; NULL: these are refused */
} kr_mrd_host;

typedef struct kr_mrd_limits {
    int64_t message;                 /* bytes of one message, 1 GiB                                     */
    int64_t memory;                  /* of lines and scans that a session holds, 4 GiB                  */
} kr_mrd_limits;
extern const kr_mrd_limits kr_mrd_limits_preset;

/* ---- The session ----
 * Whatever comes is answered; the answer ends with CLOSE, also after a refusal, which goes before it as text. Text lines begin with DBG, WRN or ERR,
 * as FIRE's do. A slice is complete with its LAST flag, when all lines of the header's limits were measured, when a later repetition of it begins, or at
 * CLOSE. Rules of sequence: gadgetron/gadgetron, core; kspaceKelvin/python-ismrmrd-server, server.py. */
typedef struct kr_mrd_session kr_mrd_session;
kr_mrd_session *kr_mrd_session_new(const kr_mrd_host *host, const kr_mrd_limits *limits) KR_MUST_USE;    /* host is borrowed; limits NULL: the preset */
void kr_mrd_session_unref(kr_mrd_session **s);       /* work that was taken has to be given back before */

/* In: bytes as they come. */
unsigned char *kr_mrd_session_room(kr_mrd_session *s, size_t *n);        /* where the next may be put, at least 1; NULL: it was refused (no memory) */
void kr_mrd_session_filled(kr_mrd_session *s, size_t n);
void kr_mrd_session_feed(kr_mrd_session *s, const void *bytes, size_t n);     /* both at once, copied              */
void kr_mrd_session_end(kr_mrd_session *s);          /* the client sends no more: as if it had sent CLOSE, with a warning where it did not */
void kr_mrd_session_refuse(kr_mrd_session *s, const char *sentence);     /* ends it: text, images of what was begun, then CLOSE; other work is dropped */
bool kr_mrd_session_waits(const kr_mrd_session *s);  /* nothing is being done until the client sends more           */
bool kr_mrd_session_wants(const kr_mrd_session *s);  /* false: enough is waiting to be worked on or sent            */

/* Out: bytes to be sent. */
const void *kr_mrd_session_out(const kr_mrd_session *s, size_t *n);
void kr_mrd_session_sent(kr_mrd_session *s, size_t n);
bool kr_mrd_session_closed(const kr_mrd_session *s); /* CLOSE is among what is to be sent or was sent; what still comes in is thrown away */

/* Work: a scan that is complete. Taken in order; the images of one are sent when it is given back. run touches the work alone, so that it may
 * run beside the session; an error of it is its own. */
typedef struct kr_mrd_work kr_mrd_work;
kr_mrd_work *kr_mrd_session_take(kr_mrd_session *s);                     /* NULL: none                               */
void kr_mrd_work_run(kr_mrd_work *w, const kr_trace *trace);
void kr_mrd_session_give(kr_mrd_session *s, kr_mrd_work **w);
/* What somebody says of an image (kr_mrd_host.image), one call for each: a line of text for the client; a failure is a warning. CLOSE waits for it. */
void kr_mrd_session_told(kr_mrd_session *s, const char *line, bool failed);
/* Takes, runs and gives back until there is none. */
void kr_mrd_session_work(kr_mrd_session *s, const kr_trace *trace);

typedef struct kr_mrd_facts {
    const char *name;                /* configuration; "" not known yet                                 */
    const char *measurement;         /* id of the header; ""                                            */
    long messages, queries, lines, waveforms, images_in, images_out, failed;      /* failed: slices without an image             */
    long frames, dropped;            /* of real time: complete; dropped, because they came too fast     */
    int64_t bytes_in, bytes_out;
    bool refused;                    /* the session as a whole was                                      */
    const char *sentence;            /* the first error that was sent; ""                               */
} kr_mrd_facts;
void kr_mrd_session_facts(const kr_mrd_session *s, kr_mrd_facts *f);
/* ---- The methods of the library (recon) as a host ----
 * They give knows, words, open, run and close of a kr_mrd_host. Options are the method's own, and coils (espirit, walsh, lowres),
 * maps, calib, compress, compression, whiten, oversampling and ghost, as `kray recon` has them. Everything that one configuration needs is read
 * once; a slice's coil maps serve its later repetitions. */
typedef struct kr_mrd_methods {
    const char *folder;              /* files that an option names are there, and nowhere else; NULL: anywhere */
} kr_mrd_methods;
kr_mrd_host kr_mrd_methods_host(const kr_mrd_methods *m);    /* borrows m                                    */
#ifdef __cplusplus
}
#endif
#endif
