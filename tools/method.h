/* method.h: --method NAME and the options that belong to it, as the words of a command give them. Private to tools/. */
#ifndef KRAY_METHOD_H
#define KRAY_METHOD_H
#include "kray/recon.h"

struct method {
    const kr_recon *asked;           /* NULL: auto                                                      */
    void *values;                    /* of its options, those of KR_AUTO_USUAL by auto                  */
    const char *given;               /* by auto: an option of KR_AUTO_USUAL that was given, so that it has to count; NULL */
    char title[320];
};
/* kr_tool.more of a command with --method; `usual`: the method where no word says. "list": no further options. */
int method_parse(struct method *m, const char *usual, kr_opt_group *room, int argc, char **argv) KR_MUST_USE;
void method_close(struct method *m);
/* Whether the words of a command set this option of a table. */
bool method_given(const kr_opt *table, const char *name, int argc, char **argv);
const char *method_name(const struct method *m);          /* "auto", or that of the one asked for */
/* --coils NAME: one of kr_coil_methods; others are files of maps. */
bool method_makes_maps(const char *coils);
/* Those of a file, complex. */
int method_read_maps(kr_array **maps, const char *file) KR_MUST_USE;
#endif
