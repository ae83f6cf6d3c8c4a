/* words.h: the names that Kray knows, by list: for help, completion and "list". Private to tools/. */
#ifndef KRAY_WORDS_H
#define KRAY_WORDS_H
#include "tool.h"

/* The name of list i: "commands", "methods", "coils" ...; NULL beyond the last. */
const char *words_list(int i);
bool words_is_list(const char *name);
/* The names of a list with a space after each. */
void words_names(kr_text *t, const char *list);
/* The names as a Markdown table. */
void words_table(kr_text *t, const char *list);
/* The names with a line about each. */
int words_print(const char *list);
/* The list that an option of a command takes its values from, or NULL. */
const char *words_of_option(const kr_tool *t, const kr_opt *o);
/* An option of the command line asks for a list ("--method list"): its name, or NULL. */
const char *words_asked(const kr_tool *t, int argc, char **argv);
/* The nearest known word in these lists (all where lists is NULL), or NULL. */
const char *words_nearest(const char *word);

/* ---- What the help is made into (completion.c, manpage.c) ---- */
/* Calls `each` for the options of a command, of recon, snr and ct also for those of all their methods, of train for the keys of a configuration, each name once. */
void words_options(const kr_tool *t, void (*each)(void *self, const kr_opt *o), void *self);
int completion_print(const char *shell);
int manpage_print(const kr_tool *t);
#endif
