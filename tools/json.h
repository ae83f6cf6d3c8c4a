/* json.h: what --json prints: always one list, with an object for each file or result (docs/json.md). Private to tools/. */
#ifndef KRAY_JSON_H
#define KRAY_JSON_H
#include "kray/array.h"
#include "kray/opt.h"
#include <jansson.h>

/* Values. Text that is not UTF-8 gets question marks; numbers that JSON cannot hold are null (not a number), "inf" or "-inf". */
json_t *json_words(const char *text);                              /* NULL: null */
json_t *json_number(double v);
json_t *json_numbers(const double *v, long n);
json_t *json_integers(const long *v, long n);
json_t *json_shape(kr_shape s);                                    /* {"x": 256, "coil": 8}, axes of length 1 left out */
json_t *json_meta(const kr_meta *m);
json_t *json_options(const kr_opt *opts, const void *values);      /* {"iterations": 30, ...}; NULL opts: {} */

/* The list of a command. Where --json was not given, `list` stays NULL, and so is every object: putting things into NULL is
 * harmless. Warnings that are said by way of `trace` between two objects' adding are put into the first one's "warnings". */
struct answer { json_t *list, *last; kr_trace trace; const kr_trace *outer; bool aside; };     /* aside: the list goes to standard error */
void answer_begin(struct answer *a, bool wanted, const kr_trace *outer);
/* A new object {"file": file}; file NULL: {}. It belongs to the list. */
json_t *answer_add(struct answer *a, const char *file);
/* Puts the refusal that is on record into the newest object, as "error". */
void answer_failed(struct answer *a);
/* Prints the list and drops it; returns e, or a refusal of the printing. Where the command failed before it added anything,
 * nothing is printed. */
int answer_end(struct answer *a, int e) KR_MUST_USE;
#endif
