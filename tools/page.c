/* page.c: pieces of a self-contained HTML page. No scripts, nothing fetched: it opens anywhere, for ever. */
#include "page.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One column on a phone; pictures beside each other where there is room. Colours of series: Okabe and Ito (2008), which
 * colour-blind readers tell apart; marks and dashes serve where there is no colour. */
static const char style[] =
    ":root{color-scheme:light dark;--paper:#f7f6f2;--card:#fff;--ink:#1b1c1f;--soft:#5f626b;--line:#e2dfd8;--best:#e3f1e8;--good:#14532d;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#008f68;--c3:#b8568f;--c4:#8a6d00;--c5:#3a8fc7}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#101215;--card:#181b1f;--ink:#e9e8e4;--soft:#9da1aa;--line:#2c3036;--best:#17301f;--good:#a7e3bd;"
    "--c0:#4aa8e0;--c1:#f08c4a;--c2:#3cc79c;--c3:#e08fbb;--c4:#d6b53c;--c5:#8ccbf2}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\n"
    "main{max-width:76rem;margin:0 auto;padding:clamp(1.1rem,4vw,3rem) clamp(1rem,4vw,3rem) 4rem}\n"
    "h1,h2,h3{font-family:'Iowan Old Style','Palatino Linotype',Palatino,'Noto Serif',Georgia,serif;font-weight:600;line-height:1.2;text-wrap:balance}\n"
    "h1{font-size:clamp(1.7rem,5vw,2.7rem);margin:.2em 0 .35em;letter-spacing:-.01em}\n"
    "h2{font-size:1.45rem;margin:3rem 0 .4rem}\n"
    "h3{font-size:1.12rem;margin:2rem 0 .5rem}\n"
    "p{max-width:46rem;margin:.5rem 0 1rem}\n"
    ".over{font-size:.8rem;letter-spacing:.13em;text-transform:uppercase;color:var(--soft);margin:0}\n"
    ".lead{font-size:1.14rem;max-width:48rem}\n"
    ".soft,figcaption,small{color:var(--soft)}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.9rem 1.6rem;margin:1.6rem 0 0;padding:1rem 0 0;border-top:1px solid var(--line)}\n"
    ".facts dt{font-size:.8rem;color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}\n"
    ".wide{overflow-x:auto;margin:.8rem 0 1rem;background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.5rem .9rem;text-align:right;white-space:nowrap}\n"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}\n"
    "thead th{font-weight:600;font-size:.84rem;color:var(--soft);border-bottom:1px solid var(--line)}\n"
    "thead small{display:block;font-weight:400}\n"
    "tbody tr+tr td{border-top:1px solid var(--line)}\n"
    "tbody tr.group td{border-top:2px solid var(--line)}\n"
    "td small{display:block;font-size:.78rem}\n"
    "td.best b{background:var(--best);color:var(--good);border-radius:5px;padding:.12em .45em;margin-right:-.45em}\n"
    ".mark{width:1.6em;height:.8em;vertical-align:-.02em;margin-right:.45em}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1rem;margin:.8rem 0}\n"
    ".plots svg{width:100%;height:auto;background:var(--card);border:1px solid var(--line);border-radius:10px;display:block}\n"
    "svg text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--soft)}svg text.t{font-size:13px;font-weight:600;fill:var(--ink)}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;margin:.4rem 0;padding:0;list-style:none;font-size:.92rem}\n"
    "figure{margin:1.1rem 0 2.2rem}\n"
    "figcaption{font-size:.92rem;margin:0 0 .5rem}\n"
    ".cells{display:grid;grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:1.1rem .6rem;align-items:start}\n"
    ".cell{min-width:0}\n"
    ".cell h4{margin:0 0 .3rem;font-size:.95rem;font-weight:600;overflow-wrap:anywhere;line-height:1.3}\n"
    ".cell p{margin:.3rem 0 .5rem;font-size:.82rem;line-height:1.4;font-variant-numeric:tabular-nums;color:var(--soft)}\n"
    ".pic{position:relative;background:#000;border-radius:4px;overflow:hidden}\n"
    ".pic img{display:block;width:100%;height:auto}\n"
    ".pic+.pic{margin-top:.4rem}\n"
    ".flip{cursor:pointer;outline-offset:2px}\n"
    ".flip::after{content:'';position:absolute;inset:0;background:var(--t) center/100% 100% no-repeat;opacity:0}\n"
    ".flip:hover::after,.flip:focus::after{opacity:1}\n"
    ".scale{display:block;width:100%;max-width:13.5rem;height:auto;margin:.5rem 0 .6rem}\n"
    ".defs{display:grid;grid-template-columns:minmax(4rem,max-content) 1fr;gap:.35rem 1.1rem;margin:.8rem 0;max-width:56rem}\n"
    ".defs dt{font-weight:600}.defs dd{margin:0;overflow-wrap:anywhere}\n"
    ".origin{font-size:.86rem;margin:0 0 1.6rem}.origin .defs{gap:.15rem 1.1rem}.origin dt{font-weight:400;color:var(--soft)}\n"
    "code{font:.86em ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n"
    ".failed{color:var(--c1)}\n"
    "summary{cursor:pointer;font-weight:600;margin:1.2rem 0 .4rem}\n"
    ".pic .o{position:absolute;color:#fff;font:600 .74rem/1 system-ui,sans-serif;text-shadow:0 0 3px #000,0 0 2px #000}.o.l{left:.35em;top:50%}.o.r{right:.35em;top:50%}.o.t{top:.35em;left:50%}.o.b{bottom:.35em;left:50%}\n"
    ".pic .bar{position:absolute;left:.5em;bottom:.5em;border-bottom:2px solid #fff;color:#fff;font:.68rem/1.35 system-ui,sans-serif;text-shadow:0 0 3px #000;text-align:left;white-space:nowrap}\n"
    ".how{display:block;font-weight:400;font-size:.78rem;color:var(--soft);white-space:normal;max-width:20rem;overflow-wrap:anywhere}.hint{display:none}\n"
    "@media(max-width:46rem){.hint{display:block;font-size:.8rem;margin:.2rem 0}.how{max-width:9rem}th:first-child,td:first-child{max-width:9.5rem;white-space:normal;overflow-wrap:anywhere}.wide{box-shadow:inset -12px 0 10px -10px rgba(0,0,0,.25)}.cells{grid-template-columns:repeat(2,minmax(0,1fr))}table{font-size:.8rem}thead th{font-size:.76rem}th,td{padding:.45rem .36rem}.mark{margin-right:.3em}td.best b{padding:.12em .25em;margin-right:-.25em}h2{margin-top:2.4rem}.defs{grid-template-columns:1fr;gap:0}.defs dd{margin:0 0 .55rem}}\n"
    "@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--best:#e3f1e8;--good:#14532d;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#008f68;--c3:#b8568f;--c4:#8a6d00;--c5:#3a8fc7}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}body{font-size:10pt}main{max-width:none;padding:0}h2{margin-top:1.4rem;break-after:avoid}h3{break-after:avoid}"
    ".cells{grid-template-columns:repeat(var(--n),minmax(0,1fr))}figure{margin:.5rem 0 .8rem}figure,.plots svg,tr,.origin{break-inside:avoid}.cell p{margin:.15rem 0 0}.wide{overflow:visible}.screen,.hint{display:none}th:first-child,td:first-child{position:static}.origins{columns:2;font-size:8pt}.origin .defs{gap:0 .6rem}"
    "th,td{padding:.25rem .5rem}.plots{grid-template-columns:repeat(3,1fr)}@page{margin:16mm 14mm}}\n";

void page_begin(kr_text *t, const char *title)
{
    kr_text_add(t, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"generator\" content=\"Kray %s\">\n<title>", kr_version());
    page_escape(t, title);
    kr_text_add(t, "</title>\n<style>\n");
    kr_text_put(t, style, sizeof style - 1);
    kr_text_add(t, "</style>\n</head>\n<body>\n<main>\n");
}

void page_end(kr_text *t) { kr_text_add(t, "</main>\n</body>\n</html>\n"); }

void page_escape(kr_text *t, const char *s)
{
    for (; *s; s++) {
        const char *e = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&quot;" : NULL;
        if (e)
            kr_text_add(t, "%s", e);
        else if ((unsigned char)*s >= 32 || *s == '\n' || *s == '\t')
            kr_text_put(t, s, 1);
    }
}

int page_picture(kr_text *t, const kr_picture *p)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    kr_text png = { 0 };
    int e = kr_picture_png(&png, p, NULL, NULL);
    kr_text_add(t, "data:image/png;base64,");
    for (size_t i = 0; !e && i < png.len; i += 3) {
        unsigned b[3] = { 0, 0, 0 };
        size_t n = png.len - i < 3 ? png.len - i : 3;
        for (size_t k = 0; k < n; k++)
            b[k] = (unsigned char)png.s[i + k];
        unsigned v = b[0] << 16 | b[1] << 8 | b[2];
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], n > 1 ? digit[v >> 6 & 63] : '=', n > 2 ? digit[v & 63] : '=' };
        kr_text_put(t, four, 4);
    }
    kr_text_clear(&png);
    return e;
}

/* ---- Plots ------------------------------------------------------------------------------------------- */
enum { WIDTH = 340, HEIGHT = 220, LEFT = 50, RIGHT = 14, TOP = 34, BOTTOM = 36 };

static const char *dash(long series)
{
    static const char *const d[] = { "", "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 2", "12 3 3 3", "3 3", "6 2 1 2 1 2", "1 4", "14 4" };
    return d[series % (sizeof d / sizeof *d)];
}

/* The mark of a series: disc, square, triangle, diamond, ring, cross; of the next ones their open or turned forms; later ones larger. */
static void mark(kr_text *t, long series, double x, double y, const char *title)
{
    long c = series % PAGE_COLOURS;
    kr_text_add(t, "<g style=\"fill:var(--c%ld);stroke:var(--c%ld)\">", c, c);
    if (title) {
        kr_text_add(t, "<title>");
        page_escape(t, title);
        kr_text_add(t, "</title>");
    }
    static const char *const path[] = { "m-2.6 -2.6h5.2v5.2h-5.2z", "m0 -3.6l3.4 6h-6.8z", "m0 3.6l3.4 -6h-6.8z", "m0 -3.8l3.8 3.8l-3.8 3.8l-3.8 -3.8z",
                                        "m-3.6 0h7.2m-3.6 -3.6v7.2", "m-3.4 0h6.8m-5.1 -2.9l3.4 5.8m0 -5.8l-3.4 5.8" };
    long round = series / PAGE_COLOURS % 4;
    if (round % 2)
        kr_text_add(t, "<path d=\"M%.1f %.1f%s\" style=\"fill:none\" stroke-width=\"1.4\"/>", x, y, path[c]);
    else if (round)
        kr_text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.4\" style=\"fill:none\" stroke-width=\"1\"/>", x, y);
    if (!(round % 2))
    switch (c) {
    case 0: kr_text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.8\"/>", x, y); break;
    case 1: kr_text_add(t, "<rect x=\"%.1f\" y=\"%.1f\" width=\"5.2\" height=\"5.2\"/>", x - 2.6, y - 2.6); break;
    case 2: kr_text_add(t, "<path d=\"M%.1f %.1fl3.2 5.6h-6.4z\"/>", x, y - 3.4); break;
    case 3: kr_text_add(t, "<path d=\"M%.1f %.1fl3.6 3.6l-3.6 3.6l-3.6 -3.6z\"/>", x, y - 3.6); break;
    case 4: kr_text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"none\" stroke-width=\"1.5\" style=\"fill:none\"/>", x, y); break;
    default: kr_text_add(t, "<path d=\"M%.1f %.1fl5.6 5.6m0 -5.6l-5.6 5.6\" stroke-width=\"1.6\"/>", x - 2.8, y - 2.8); break;
    }
    kr_text_add(t, "</g>");
}

void page_mark(kr_text *t, long series)
{
    kr_text_add(t, "<svg class=\"mark\" viewBox=\"0 0 24 12\" aria-hidden=\"true\"><path d=\"M1 6H23\" fill=\"none\" style=\"stroke:var(--c%ld)\" stroke-width=\"1.7\""
                   " stroke-dasharray=\"%s\"/>", series % PAGE_COLOURS, dash(series));
    mark(t, series, 12, 6, NULL);
    kr_text_add(t, "</svg>");
}

void page_legend(kr_text *t, const char *const *name, long series)
{
    kr_text_add(t, "<ul class=\"legend\">");
    for (long s = 0; s < series; s++) {
        kr_text_add(t, "<li>");
        page_mark(t, s);
        page_escape(t, name[s]);
        kr_text_add(t, "</li>");
    }
    kr_text_add(t, "</ul>\n");
}

/* A step of 1, 2 or 5 times a power of ten that gives about `want` ticks. */
static double nice_step(double span, int want)
{
    double raw = span / want, ten = pow(10, floor(log10(raw))), m = raw / ten;
    return ten * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static void tick_text(char text[24], double v, double step)
{
    int places = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (places > 5)
        snprintf(text, 24, "%.1e", v);
    else
        snprintf(text, 24, "%.*f", places, fabs(v) < step * 1e-6 ? 0.0 : v);
}

void page_plot(kr_text *t, const struct page_plot *p)
{
    double low = (double)INFINITY, high = -(double)INFINITY;
    for (long i = 0; i < p->series * p->count; i++)
        if (isfinite(p->value[i])) {
            low = fmin(low, p->value[i]);
            high = fmax(high, p->value[i]);
        }
    if (low > high)
        return;                                                  /* nothing that can be drawn */
    double large = fmax(fmax(fabs(low), fabs(high)), 1e-6), span = high - low > 1e-9 * large ? high - low : 0.1 * large;   /* rounding is no span */
    low -= 0.06 * span;
    high += 0.06 * span;
    double step = nice_step(high - low, 4), px = WIDTH - LEFT - RIGHT, py = HEIGHT - TOP - BOTTOM;
#define X(i) (LEFT + px * (p->count > 1 ? ((double)(i) + 0.25) / ((double)p->count - 0.5) : 0.5))
#define Y(v) (TOP + py * (high - (v)) / (high - low))
    kr_text_add(t, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    page_escape(t, p->title);
    kr_text_add(t, "\">\n<text class=\"t\" x=\"12\" y=\"21\">");
    page_escape(t, p->title);
    kr_text_add(t, "</text><text x=\"%d\" y=\"21\" text-anchor=\"end\">", WIDTH - RIGHT);
    page_escape(t, p->note);
    kr_text_add(t, "</text>\n");
    for (double v = ceil(low / step) * step; v <= high + 1e-9 * step; v += step) {
        char text[24];
        tick_text(text, v, step);
        kr_text_add(t, "<path d=\"M%d %.1fH%d\" style=\"stroke:var(--line)\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT, Y(v),
                    WIDTH - RIGHT, LEFT - 6, Y(v) + 3.8, text);
    }
    long every = (long)fmax(1, nice_step((double)p->count, 6));
    for (long i = 0; i < p->count; i += every)
        kr_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%ld</text>", X(i), HEIGHT - BOTTOM + 15, i);
    kr_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", LEFT + px / 2, HEIGHT - 6);
    page_escape(t, p->x_label);
    kr_text_add(t, "</text>\n");
    for (long s = 0; s < p->series; s++) {
        const double *v = p->value + s * p->count;
        bool open = false;
        if (p->lines) {
            kr_text_add(t, "<path fill=\"none\" style=\"stroke:var(--c%ld)\" stroke-width=\"1.7\" stroke-linejoin=\"round\" stroke-dasharray=\"%s\" d=\"",
                        s % PAGE_COLOURS, dash(s));
            for (long i = 0; i < p->count; i++) {
                if (isfinite(v[i]))
                    kr_text_add(t, "%c%.1f %.1f", open ? 'L' : 'M', X(i), Y(v[i]));
                open = isfinite(v[i]);
            }
            kr_text_add(t, "\"/>\n");
        }
        for (long i = 0; i < p->count; i++)
            if (isfinite(v[i])) {
                char title[160];
                snprintf(title, sizeof title, "%.80s, %s %ld: %.4g", p->name[s], p->x_label, i, v[i]);
                mark(t, s, X(i), Y(v[i]), title);
            }
        kr_text_add(t, "\n");
    }
    kr_text_add(t, "</svg>\n");
#undef X
#undef Y
}

void page_scale(kr_text *t, enum kr_palette palette, const char *caption, const char *low, const char *high, long id)
{
    kr_text_add(t, "<svg class=\"scale\" viewBox=\"0 0 180 44\" role=\"img\" aria-label=\"");
    page_escape(t, caption);
    kr_text_add(t, "\"><defs><linearGradient id=\"g%ld\">", id);
    for (int i = 0; i <= 10; i++) {
        unsigned char c[3];
        kr_palette_rgb(palette, i / 10.0, c);
        kr_text_add(t, "<stop offset=\"%d%%\" stop-color=\"#%02x%02x%02x\"/>", 10 * i, c[0], c[1], c[2]);
    }
    kr_text_add(t, "</linearGradient></defs><text x=\"0\" y=\"11\">");
    page_escape(t, caption);
    kr_text_add(t, "</text><rect x=\".5\" y=\"17.5\" width=\"179\" height=\"9\" fill=\"url(#g%ld)\" style=\"stroke:var(--line)\"/><text x=\"0\" y=\"40\">%s</text>"
                   "<text x=\"180\" y=\"40\" text-anchor=\"end\">%s</text></svg>\n", id, low, high);
}
