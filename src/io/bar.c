/* bar.c: the colour bar of a map, with numbers at its ends and in its middle. */
#include "kray/picture.h"
#include <stdio.h>
#include <string.h>

/* 3 x 5 dots a character, a row in an octal digit, the upper row first. */
static const struct { char c; unsigned dots; } font[] = {
    { '0', 075557 }, { '1', 026227 }, { '2', 071747 }, { '3', 071717 }, { '4', 055711 }, { '5', 074717 }, { '6', 074757 }, { '7', 071222 },
    { '8', 075757 }, { '9', 075717 }, { '.', 000002 }, { '-', 000700 }, { '+', 002720 }, { 'e', 007747 } };
enum { WIDE = 3, HIGH = 5, NARROWEST = 96 };

/* Text with its left upper corner at x, y; a dot is `size` pixels wide. */
static void write_text(kr_picture *p, long x, long y, const char *text, long size)
{
    for (; *text; text++, x += (WIDE + 1) * size)
        for (size_t i = 0; i < sizeof font / sizeof *font; i++)
            for (long d = 0; font[i].c == *text && d < WIDE * HIGH * size * size; d++) {
                long u = d % (WIDE * size), v = d / (WIDE * size);
                if (!(font[i].dots >> (3 * (HIGH - 1 - v / size) + WIDE - 1 - u / size) & 1) || x + u < 0 || x + u >= p->w)
                    continue;
                memset(p->pixel + ((y + v) * p->w + x + u) * p->channels, 255, (size_t)p->channels);
            }
}

kr_picture *kr_picture_bar(const kr_picture *p, double low, double high, enum kr_palette palette)
{
    long size = p->w >= 512 ? 3 : 2, w = p->w > NARROWEST ? p->w : NARROWEST, gap = 2 * size, bar = 4 * size, channels = palette == KR_GREY ? p->channels : 3;
    kr_picture *q = kr_picture_new(w, p->h + 3 * gap + bar + HIGH * size, (int)channels);
    for (long y = 0; q && y < p->h; y++)
        for (long x = 0; x < p->w; x++)
            for (long c = 0; c < channels; c++)
                q->pixel[(y * w + x) * channels + c] = p->pixel[(y * p->w + x) * p->channels + (p->channels > 1 ? c : 0)];
    for (long y = q ? p->h + gap : 0; q && y < p->h + gap + bar; y++)
        for (long x = 0; x < w; x++) {
            unsigned char rgb[3];
            kr_palette_rgb(palette, (double)x / (double)(w - 1), rgb);
            memcpy(q->pixel + (y * w + x) * channels, rgb, (size_t)channels);
        }
    for (int k = 0; q && k < 3; k++) {
        char text[32];
        snprintf(text, sizeof text, "%.3g", low + (high - low) * k / 2);
        long width = (long)strlen(text) * (WIDE + 1) * size - size;
        write_text(q, (w - width) * k / 2, p->h + 2 * gap + bar, text, size);
    }
    return q;
}
