/* wire.h: the messages of MRD v1 streams, as bytes: a parser that takes them in pieces of any size, a writer of each kind, and what a
 * header or a line among them says. Source: ismrmrd/ismrmrd, doc/mrd_streaming_protocol.md. */
#ifndef KRAY_WIRE_H
#define KRAY_WIRE_H
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { KR_MRD_CONFIG_FILE = 1, KR_MRD_CONFIG_TEXT = 2, KR_MRD_HEADER = 3, KR_MRD_CLOSE = 4, KR_MRD_TEXT = 5, KR_MRD_QUERY = 6, KR_MRD_RESPONSE = 7,
       KR_MRD_ACQUISITION = 1008, KR_MRD_IMAGE = 1022, KR_MRD_WAVEFORM = 1026, KR_MRD_NDARRAY = 1030 };
enum { KR_MRD_LINE_HEAD = 340, KR_MRD_IMAGE_HEAD = 198, KR_MRD_WAVE_HEAD = 40, KR_MRD_FILE_NAME = 1024, KR_MRD_TEXT_MOST = 64 << 20 };
/* "acquisition"; NULL: such messages are not known here, and nobody can tell how long they are. */
const char *kr_mrd_message_name(int id);

/* One message. The pointers lead into bytes that belong to whoever gave it; they may lie at any address. A part that a kind of message does not
 * have is NULL and 0. */
typedef struct kr_mrd_message {
    int id;
    long number;                     /* counted from 1                                                  */
    int64_t at;                      /* where its id stands in the stream                               */
    const unsigned char *raw; size_t bytes;          /* the whole message, with its id                  */
    const unsigned char *head; size_t head_bytes;    /* of acquisition, image, waveform, array; the numbers of a query */
    const char *text; size_t text_bytes;     /* name (all of its field), text, or attributes of an image: as sent, with or without a zero at the end */
    const unsigned char *traj; size_t traj_bytes;    /* float [sample][dimension]                        */
    const unsigned char *data; size_t data_bytes;    /* complex float [channel][sample]; pixels [channel][z][y][x]; uint32 [channel][sample] */
} kr_mrd_message;

/* How long a message is of which the first n bytes are at p. 1: *bytes is the length of the whole; 0: at least *bytes have to be seen to tell; or
 * a refusal: unknown ids, texts over 64 MiB, messages of more than `most` bytes, MRD v2. */
int kr_mrd_length(int64_t *bytes, const unsigned char *p, size_t n, int64_t most) KR_MUST_USE;
/* Fills id, bytes and parts of a message that lies at p as a whole, `bytes` long as kr_mrd_length told. */
void kr_mrd_split(kr_mrd_message *m, const unsigned char *p, size_t bytes);
/* Its text (of a name, up to the first zero) as a string. Owner: the caller (kr_free). */
char *kr_mrd_text_of(const kr_mrd_message *m) KR_MUST_USE;

/* ---- Reading ---- */
typedef struct kr_mrd_wire kr_mrd_wire;
kr_mrd_wire *kr_mrd_wire_new(int64_t most) KR_MUST_USE;             /* bytes of the longest message                 */
void kr_mrd_wire_unref(kr_mrd_wire **w);
/* Where the next bytes go, and for how many there is room (at least 1). What was said of earlier messages is void. Room grows with what
 * came, never with what a message claims. */
unsigned char *kr_mrd_wire_room(kr_mrd_wire *w, size_t *n) KR_MUST_USE;
void kr_mrd_wire_filled(kr_mrd_wire *w, size_t n);
/* 1: a message; 0: more bytes are wanted; or a refusal, "message 4 (image, at byte 3031): ...", after which nothing more can be read. */
int kr_mrd_wire_next(kr_mrd_wire *w, kr_mrd_message *m) KR_MUST_USE;
/* The stream has ended: refuses if it did so within a message. */
int kr_mrd_wire_end(const kr_mrd_wire *w) KR_MUST_USE;
int64_t kr_mrd_wire_at(const kr_mrd_wire *w);                       /* of the next message                          */

/* ---- Writing: appended to `to` (to->failed: no memory) ---- */
void kr_mrd_put(kr_text *to, const kr_mrd_message *m);              /* from its parts, the bytes that it came from  */
/* A name is cut to 1023 bytes; of other texts the zero at the end is sent and counted, as the Python programs do. */
void kr_mrd_put_text(kr_text *to, int id, const char *text);
void kr_mrd_put_close(kr_text *to);

/* ---- What heads say ---- */
kr_line kr_mrd_line_parse(const unsigned char *head);               /* of KR_MRD_LINE_HEAD bytes                    */
int kr_mrd_line_check(const kr_line *l, long at) KR_MUST_USE;       /* refuses what is compressed; `at`: its number */
kr_waveform kr_mrd_wave_parse(const unsigned char *head);           /* without data                                 */

/* Fills enc (first encoding), noise_bandwidth, geom->fov_mm (recon field of view) and meta (protocol, te_ms, tr_ms, ti_ms,
 * flip_deg, field_T, patient_position, vendor, model, ...; several echo times are separated by blanks) and keeps the text in
 * header_xml. Names and birthdays of patients stay in header_xml alone, so that they do not travel to images. Elements that
 * are missing leave 0, "" or no meta. Refuses what is not such a header, document type declarations, headers over 16 MiB,
 * and sizes outside 1..65535 (the schema's xs:unsignedShort). Source: ismrmrd/ismrmrd, schema/ismrmrd.xsd. */
int kr_mrd_header_parse(kr_scan *s, const char *xml) KR_MUST_USE;
/* All encodings of a header, at most `room`, with the calibration mode of each ("" unknown); returns how many there are. */
typedef struct kr_mrd_encoding { kr_encoding enc; char calibration[16]; bool rounded; } kr_mrd_encoding;   /* rounded: sizes were not whole */
int kr_mrd_header_encodings(const char *xml, kr_mrd_encoding *encoding, int room) KR_MUST_USE;
/* ---- Files as messages ----
 * Gives to `put` what a client sends of an ISMRMRD file (its first group of acquisitions, or FILE:GROUP): the header, the additional configuration
 * where there is one, and acquisitions, each waveform before the acquisition that follows it in time. Of a recorded stream: its messages but
 * configuration and CLOSE. `put` returns 0 or a refusal. */
int kr_mrd_messages(const char *source, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace) KR_MUST_USE;

/* The other way: a recorded stream as an ISMRMRD file, group "dataset": header, acquisitions as they were sent, waveforms, and what configured the
 * session as config and configAdditional. A stream that was cut off is kept up to its last whole message. *left: messages that such a file has no
 * place for (images, arrays, further texts), and whether the end is missing. Refuses streams without header or acquisitions. */
typedef struct kr_mrd_kept { long lines, waveforms, left; bool cut; int64_t whole; } kr_mrd_kept;     /* whole: bytes up to its last whole message */
int kr_mrd_keep(kr_mrd_kept *what, const char *stream, const char *path) KR_MUST_USE;

/* The largest counters that the header's limits give, -1 where it gives none: slice, contrast, phase, set, repetition, average. */
int kr_mrd_header_counters(const char *xml, long most[6]) KR_MUST_USE;
/* MetaAttributes of an image: DataRole, ImageRowDir, ImageColumnDir, ImageSliceDir, EchoTime, and all of its meta. Owner: the caller. */
char *kr_mrd_image_attributes(const kr_image *im) KR_MUST_USE;
#ifdef __cplusplus
}
#endif
#endif
