/* cmd_convert.c: kray convert IN OUT: the same data in another format. */
#include "kray/io.h"
#include "tool.h"

typedef struct opts { const char *from, *to; } opts;
static const kr_opt table[] = {
    { "from", 0, KR_OPT_TEXT, offsetof(opts, from), NULL, "FORMAT", "read as this format, whatever it looks like" },
    { "to", 0, KR_OPT_TEXT, offsetof(opts, to), NULL, "FORMAT", "write this format, whatever the suffix" },
    KR_OPT_END };

static int run(void *o, int files, char **file, const kr_trace *trace)
{
    const opts *p = o;
    if (files != 2)
        return kr_fail(KR_EUSAGE, "one input and one output are wanted, %d names are given", files);
    kr_scoped(scan) s = NULL;
    if (kr_scan_read(&s, file[0], p->from, NULL, trace) || kr_scan_write(s, file[1], p->to))
        return kr_error_code();
    return 0;
}

const kr_tool kr_tool_convert = { "convert", "Data", "the same data in another format", "IN OUT [options]",
    "  kray convert scan.h5 scan.cfl\n", table, sizeof(opts), NULL, run };
