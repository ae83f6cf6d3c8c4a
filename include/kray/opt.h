/* opt.h: one table describes options: parsing, help, man pages, completion and the log all read it. */
#ifndef KRAY_OPT_H
#define KRAY_OPT_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

enum kr_opt_type { KR_OPT_FLAG,   /* bool          --name                     */
                   KR_OPT_INT,    /* long          --name N                   */
                   KR_OPT_REAL,   /* double        --name X                   */
                   KR_OPT_TEXT,   /* const char *  --name TEXT (kept pointer) */
                   KR_OPT_CHOICE, /* const char *  one of unit, "a|b|c"       */
                   KR_OPT_FILE,   /* const char *  a path that is read        */
                   KR_OPT_OUT,    /* const char *  a path that is written     */
                   KR_OPT_SIZE    /* int64_t bytes --name 8G                  */ };
typedef struct kr_opt {
    const char *name;             /* long name without dashes; the table ends with name NULL       */
    char letter;                  /* short name, or 0                                              */
    enum kr_opt_type type;
    size_t at;                    /* offsetof(struct, field)                                       */
    const char *preset;           /* default as it would be typed; NULL: 0, false or NULL          */
    const char *unit;             /* placeholder in the help, or the choices                       */
    const char *help;             /* one line                                                      */
} kr_opt;
#define KR_OPT_END { 0 }

/* Sets all fields of `into` to their presets. `opts` may be NULL. */
int kr_opt_defaults(const kr_opt *opts, void *into) KR_MUST_USE;
/* Sets one option by its long name; refuses with KR_EUSAGE what cannot be read as its type. */
int kr_opt_set(const kr_opt *opts, void *into, const char *name, const char *value) KR_MUST_USE;
/* One table of a parse, and where its values go. */
typedef struct kr_opt_group { const char *title; const kr_opt *opts; void *into; } kr_opt_group;
/* Reads argv[1..]; options may stand anywhere, "--" ends them; what is not an option goes to files (room for argc).
 * --name=value and --name value both work, --no-name clears a flag. Unknown names are refused with the nearest known. Of a
 * choice the case is ignored (and put right in argv). */
int kr_opt_parse(const kr_opt_group *groups, int count, int argc, char **argv, char **files, int *nfiles) KR_MUST_USE;
/* Lines "  -i, --iterations N   text (default 30)" for each option of the group. */
void kr_opt_help(kr_text *t, const kr_opt_group *group);
/* The name of the first of these options that is given and names a file to be written (KR_OPT_OUT); NULL: none. */
const char *kr_opt_writes(const kr_opt *opts, const void *values);
/* "iterations=30 lambda=0.01": every value as it stands, for provenance. */
void kr_opt_describe(kr_text *t, const kr_opt *opts, const void *values);
/* The known word nearest to `word` (edit distance at most 3, case ignored; else the first that begins with it), or NULL. */
const char *kr_nearest(const char *word, const char *const *known, int count);

#ifdef __cplusplus
}
#endif
#endif
