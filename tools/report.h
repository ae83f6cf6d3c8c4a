/* report.h: what the parts of kray report share: the page being made, and its pieces in their order. Private to tools/. */
#ifndef KRAY_REPORT_H
#define KRAY_REPORT_H
#include "judge.h"
#include "page.h"

typedef struct report_opts { const char *output, *target, *protocol, *title, *slices, *mask, *scale, *crop; long show, skip; double error; bool view, json; } report_opts;

enum { SERIES_AXES = 6 };
extern const int series_axes[SERIES_AXES];
enum { MOST = PAGE_STYLES, FULLY_SHOWN = 4 };       /* methods on a page; volumes of which all are shown */
struct method { char *name; struct judge_files files; struct judge_origin origin; bool known; };
struct cell { kr_score volume, *slice; long slices; kr_shape pictures; char *why; bool known; };   /* pictures: axes after X and Y */
struct report {
    const report_opts *o;
    struct judge rules;
    struct judge_files targets;
    struct method method[MOST];
    long methods, failed;
    struct cell *cell;                     /* [volume * methods + method] */
    long *shown, shows;                    /* volumes with pictures        */
    kr_text pictures, origins;
    long pieces;                           /* numbers for ids in the page  */
};

static inline struct cell *cell_of(const struct report *r, long volume, long method) { return &r->cell[volume * r->methods + method]; }
static inline const char *volume_name(const struct report *r, long v) { return r->targets.at[v].name; }

const char *report_number(int measure, double v);
bool report_has(const struct report *r, int k);
int report_summary(kr_summary *s, const struct report *r, long method, int k);
const char *report_one(int axis);
void report_picture_name(char text[128], const kr_array *a, long i);
void report_how(kr_text *t, const struct judge_origin *o);
int report_head(kr_text *t, const struct report *r);
int report_means(kr_text *t, const struct report *r);
void report_volumes(kr_text *t, const struct report *r);
int report_plots(kr_text *t, const struct report *r);
int report_show(struct report *r, long volume, const struct judged *j, const long *ok);
#endif
