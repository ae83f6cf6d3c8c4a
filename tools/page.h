/* page.h: pieces of a self-contained HTML page: style, escaped text, pictures as data, plots as SVG. Private to tools/. */
#ifndef KRAY_PAGE_H
#define KRAY_PAGE_H
#include "kray/picture.h"

enum { PAGE_COLOURS = 6, PAGE_STYLES = 24 };   /* --c0 ... of the style: series take them in turn; with marks and dashes so many look different */

/* Everything before and after the content; dark or light as the reader's device is set, and made for paper, too. */
void page_begin(kr_text *t, const char *title);
void page_end(kr_text *t);
void page_escape(kr_text *t, const char *s);
/* "data:image/png;base64,..." */
int page_picture(kr_text *t, const kr_picture *p) KR_MUST_USE;

/* value[series * count + i] over x = i. NAN and infinite values are left out. lines: points are neighbours, not items. */
struct page_plot {
    const char *title, *note, *x_label;   /* x_label: "slice" */
    long series, count;
    const char *const *name;
    const double *value;
    bool lines;
};
void page_plot(kr_text *t, const struct page_plot *p);
/* Names of the series with their colours and marks. */
void page_legend(kr_text *t, const char *const *name, long series);
void page_mark(kr_text *t, long series);
/* A bar of the palette's colours with its ends. */
void page_scale(kr_text *t, enum kr_palette palette, const char *caption, const char *low, const char *high, long id);
#endif
