/* train_page.h: the page that follows a run of training. Private to tools/. */
#ifndef KRAY_TRAIN_PAGE_H
#define KRAY_TRAIN_PAGE_H
#include "kray/learn.h"

/* FOLDER/training.html out of the folder's steps.csv and validation.csv; live: a browser loads it again every 30 s. */
int train_page(const char *folder, const kr_learn_seen *seen, bool live) KR_MUST_USE;
#endif
