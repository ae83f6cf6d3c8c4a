/* record.h: what a run of many that share a study has done: a file of its own beside the images; and the table and the log of them all. Private to tools/. */
#ifndef KRAY_RECORD_H
#define KRAY_RECORD_H
#include "json.h"
#include "kray/io.h"

/* One file of the study. Texts are owned; NULL: none. */
struct record_row {
    char *input, *output;                 /* output: below the folder                                        */
    long owner;                           /* whose it is, from 1                                             */
    enum { ROW_OPEN, ROW_DONE, ROW_THERE, ROW_FAILED } state;      /* not done (yet); done; found by --resume; failed: why */
    char *method, *why;
    double seconds;
};
struct record {
    const char *folder;
    long i, n;                            /* run i of n                                                      */
    char *settings;
    long count;
    struct record_row *row;               /* of the whole study                                              */
    bool ended, unsaved;                  /* unsaved: it has no file of its own                              */
    kr_text log;                          /* lines "2026-11-29T10:00:00 sentence"                            */
    kr_trace trace;                       /* passes on what is said, and notes it                            */
    const kr_trace *outer;
};
int record_open(struct record *r, const char *folder, long i, long n, const char *settings, long count, char *const *input, char *const *output, const kr_trace *outer) KR_MUST_USE;
void record_close(struct record *r);
/* What happened to file k: kr_error() is why it failed. */
int record_note(struct record *r, long k, int state, const char *method, double seconds) KR_MUST_USE;
/* FOLDER/kray-shard-I-of-N.json, whole at any time. */
int record_write(const struct record *r) KR_MUST_USE;
int record_read(struct record *r, const char *path) KR_MUST_USE;
/* FOLDER/kray-table.csv and FOLDER/kray-log.txt. log: lines that begin with the time, in order. */
int record_table(const char *folder, const struct record_row *row, long count, const kr_text *log) KR_MUST_USE;
#endif
