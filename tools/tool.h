/* tool.h: what a command is. Private to tools/. */
#ifndef KRAY_TOOL_H
#define KRAY_TOOL_H
#include "kray/io.h"
#include "kray/opt.h"
#include <stdio.h>

typedef struct kr_tool {
    const char *name, *group, *summary;  /* group: "Reconstruct", "Scanner", "Data", "Evaluate", "Other" (order of the overview) */
    const char *usage;                   /* "IN... -o OUT [options]"                                     */
    const char *examples;                /* lines "  kray recon scan.h5 -o image.nii.gz   # comment"     */
    const kr_opt *opts; size_t opts_size;
    /* Further option groups, where they depend on the words given (the method's own); returns how many or a refusal.
     * Their memory belongs to the tool. NULL: none. */
    int (*more)(kr_opt_group *room, int room_count, int argc, char **argv);
    /* files: what was not an option. Returns 0 or a refusal; kray prints the sentence. */
    int (*run)(void *opts, int files, char **file, const kr_trace *trace);
} kr_tool;
extern const kr_tool *const kr_tools[];  /* NULL-terminated */

const char *kr_command_line(void);       /* as typed, for provenance        */
bool kr_whole(void);                     /* --provenance full: notes are to be whole (kr_meta_set_whole) */
/* kr_meta_provenance of what this command makes, as whole as --provenance says. */
int kr_note(kr_meta *m, const char *method, const char *parameters, const char *const *input, int inputs) KR_MUST_USE;
/* --threads: 0 leaves their number as it is; more than KR_THREADS takes from its environment are refused. */
int kr_threads_want(long n) KR_MUST_USE;
/* From now on a library that breaks down over a damaged file costs a sentence and exit status 1, not a crash. */
void kr_guard(void);
/* For one of many files: 0, or a refusal where reading it (of large files the header) breaks such a library, found out in a child
 * process. what: KR_RAW or KR_PICTURE. */
int kr_guard_try(const char *source, const char *format, enum kr_what what);
/* Starts the command anew with fewer threads where the address space is limited. First of all. */
void kr_guard_limits(char **argv);
/* For commands that make image after image: blocks of up to 64 MiB, and 256 MiB that are free, stay with the program, in pages that exist. */
void kr_guard_memory(void);
/* Prints text in which control characters (but line ends and tabs) and bytes that are no UTF-8 become \xNN. kr_print: to stdout. */
void kr_show(FILE *to, const char *text);
void kr_print(const char *fmt, ...) KR_PRINTF(1, 2);
/* Standard input is kept in a file: where text names it, "stdin" is shown. The name stays the caller's; NULL: no longer. */
void kr_show_stdin(const char *path);
/* How many bytes at the start of the text are the name of that file; 0: none. */
size_t kr_names_stdin(const char *text);
/* The list of commands. */
void kr_overview(FILE *to);
/* Prints to stdout the whole help of one command. */
int kr_print_help(const kr_tool *tool, int argc, char **argv);
#endif
