/* train_page.c: training.html, a page that follows a run of training: curves of its tables, and the slice where the network gained least. */
#include "kray/io.h"
#include "page.h"
#include "train_page.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 120, COLUMNS = 7, MOST = 64 << 20 };

/* The numbers of a table with a heading, COLUMNS to a line. Owner: the caller. */
static double *table(const char *folder, const char *name, long *lines)
{
    kr_auto char *path = kr_strf("%s/%s", folder, name);
    size_t n;
    kr_auto char *all = path ? kr_file_whole(path, MOST, &n) : NULL;
    *lines = 0;
    for (const char *p = all; p && *p; p++)
        *lines += *p == '\n';
    *lines -= *lines > 0;
    double *v = all ? kr_alloc((size_t)(*lines * COLUMNS + 1), sizeof *v) : NULL;
    const char *p = all ? strchr(all, '\n') : NULL;
    for (long i = 0; v && i < *lines; i++, p = strchr(p + 1, '\n')) {
        char *at = (char *)(uintptr_t)p + 1;
        for (int k = 0; k < COLUMNS; k++, at += *at == ',')
            v[i * COLUMNS + k] = strtod(at, &at);
    }
    return v;
}

/* A curve of two series, each the mean over as many lines as make at most POINTS points: a[column] - a[minus], minus < 0: without. */
static void curve(kr_text *t, const double *v, long lines, const char *title, const char *note, const char *const *names, const int *column, const int *minus, int series)
{
    double value[2 * POINTS];
    long each = (lines + POINTS - 1) / POINTS, count = each ? (lines + each - 1) / each : 0;
    for (int k = 0; k < series; k++)
        for (long i = 0; i < count; i++) {
            long to = (i + 1) * each < lines ? (i + 1) * each : lines;
            double sum = 0;
            for (long j = i * each; j < to; j++)
                sum += v[j * COLUMNS + column[k]] - (minus[k] < 0 ? 0 : v[j * COLUMNS + minus[k]]);
            value[k * count + i] = sum / (double)(to - i * each);
        }
    kr_auto char *label = kr_strf("step / %.0f", lines ? v[(lines - 1) * COLUMNS] / (double)count : 1);
    if (count > 1 && label)
        page_plot(t, &(struct page_plot){ title, note, label, series, count, names, value, true });
}

int train_page(const char *folder, const kr_learn_seen *seen, bool live)
{
    enum { LOSS = 2, NET = 3, FIRST = 4, MEAN = 5, WORST = 6 };
    long steps, validations;
    kr_auto double *s = table(folder, "steps.csv", &steps), *v = s ? table(folder, "validation.csv", &validations) : NULL;
    kr_auto char *path = v ? kr_strf("%s/training.html", folder) : NULL;
    if (!path)
        return kr_error_code();
    kr_text t = { 0 };
    page_begin(&t, "Training");
    kr_text_add(&t, "%s<p>Step %ld, %.0f minutes. ", live ? "<meta http-equiv=\"refresh\" content=\"30\">\n" : "", seen->step, seen->seconds / 60);
    page_escape(&t, seen->scores);
    kr_text_add(&t, "</p>\n");
    static const char *const loss[] = { "loss" }, *const gain[] = { "training" }, *const held[] = { "mean", "worst slice" };
    curve(&t, s, steps, "Loss", "mean over steps", loss, (int[]){ LOSS }, (int[]){ -1 }, 1);
    curve(&t, s, steps, seen->judges ? "Gain over SSIM 1 everywhere, dB" : "Gain over the first image, dB", "NMSE of the slices trained on", gain, (int[]){ FIRST }, (int[]){ NET }, 1);
    curve(&t, v, validations, seen->judges ? "Error on persons held back, as a number below 0" : "Gain on persons held back, dB", seen->judges ? "of SSIM" : "PSNR over the object", held, (int[]){ MEAN, WORST }, (int[]){ -1, -1 }, 2);
    page_legend(&t, held, 2);
    kr_picture *p = seen->worst ? kr_picture_draw(seen->worst, NULL, 0, 0, KR_GREY, 3, NULL) : NULL;
    int e = p || !seen->worst ? 0 : kr_error_code();
    if (p) {
        kr_text_add(&t, "<h2>Where it %s: slice ", seen->judges ? "was furthest off" : "gained least");
        page_escape(&t, seen->worst_name);
        kr_text_add(&t, "</h2>\n<p>%s, the target.</p>\n<img alt=\"three images\" src=\"", seen->judges ? "The image, the network's map of SSIM" : "The first image, the network's");
        e = page_picture(&t, p);
        kr_text_add(&t, "\">\n");
    }
    kr_picture_unref(&p);
    page_end(&t);
    e = e ? e : t.failed ? kr_error_code() : kr_text_write(path, &t);
    kr_text_clear(&t);
    return e;
}
