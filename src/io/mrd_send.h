/* mrd_send.h: kr_format.messages of the two kinds of MRD files. Private to this folder. */
#ifndef KRAY_MRD_SEND_H
#define KRAY_MRD_SEND_H
#include "kray/io.h"
#include "kray/wire.h"

int kr_mrd_messages_h5(const kr_source *src, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace) KR_MUST_USE;
int kr_mrd_messages_stream(const kr_source *src, int (*put)(void *self, const kr_mrd_message *m), void *self, const kr_trace *trace) KR_MUST_USE;
#endif
