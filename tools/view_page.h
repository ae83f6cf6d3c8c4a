/* view_page.h: style and script of kray view's page. Private to tools/. */
#ifndef KRAY_VIEW_PAGE_H
#define KRAY_VIEW_PAGE_H
extern const char view_style[], view_script[];
#endif
