/* wt_pickle.c: the unpickler. It builds tensors, dictionaries, lists, numbers and strings and nothing else. Classes are
 * never looked up: a name is only compared with the few that state dicts use; some others that checkpoints carry along
 * (configurations) become inert values whose parts can be read; any further name is refused. */
#include "wt.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NONE, BOOL, INT, REAL, TEXT, TUPLE, LIST, DICT, GLOBAL, STORAGE, TENSOR, INERT, MARK };
typedef struct value value;
struct value {
    enum kind kind;
    union { int64_t i; double d; };
    char *text;                     /* TEXT, GLOBAL ("module name"), STORAGE (key)    */
    long count, room;               /* TUPLE, LIST: values; DICT: key, value, ...     */
    value **item;
    enum wt_type type;              /* STORAGE                                        */
    value *storage;                 /* TENSOR                                         */
    long offset, dims, n[KR_TENSOR_DIMS], step[KR_TENSOR_DIMS];
};
/* Values, their texts and items come from blocks that are freed together: there may be millions. */
typedef struct block { struct block *next; size_t used, room; _Alignas(16) unsigned char bytes[]; } block;
typedef struct machine {
    const wt_storages *storages;
    const unsigned char *at, *end;
    value **stack; long top, room;
    value **memo; long memos, kept; /* kept: cells that hold something                */
    block *blocks; long made, put;     /* values made; items put into others             */
    size_t bytes;                   /* of the pickle                                  */
} machine;

/* More values than this, or more items than a pickle of so many bytes sensibly has (each costs it a byte; a list that
 * becomes a dictionary is counted twice), are refused: time and memory stay bounded by the file's size. */
enum { MOST = 1 << 24, PUT_EACH = 4 };

static int broken(const char *why) { return kr_fail(KR_EFORMAT, "the pickle inside is broken: %s", why); }

static void *take(machine *m, size_t bytes)
{
    enum { BLOCK = 1 << 16 };
    bytes = (bytes + 15) & ~(size_t)15;
    if (!m->blocks || bytes > m->blocks->room - m->blocks->used) {
        size_t room = bytes > BLOCK ? bytes : BLOCK;
        block *b = kr_alloc_zero(sizeof *b + room, 1);
        if (!b)
            return NULL;
        b->room = room;
        b->next = m->blocks;
        m->blocks = b;
    }
    m->blocks->used += bytes;
    return m->blocks->bytes + m->blocks->used - bytes;
}

static char *words(machine *m, const char *fmt, ...) KR_PRINTF(2, 3);
static char *words(machine *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *t = n < 0 ? NULL : take(m, (size_t)n + 1);
    if (t) {
        va_start(ap, fmt);
        vsnprintf(t, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return t;
}

static value *make(machine *m, enum kind kind)
{
    if (m->made++ > MOST) {
        broken("too many values");
        return NULL;
    }
    value *v = take(m, sizeof *v);
    if (v)
        v->kind = kind;
    return v;
}

static int push(machine *m, value *v)
{
    if (!v)
        return kr_error_code();
    if (m->top == m->room) {
        long room = m->room ? 2 * m->room : 64;
        value **s = kr_realloc(m->stack, (size_t)m->top, (size_t)room, sizeof *s);
        if (!s)
            return kr_error_code();
        m->stack = s;
        m->room = room;
    }
    m->stack[m->top++] = v;
    return 0;
}

static value *pop(machine *m)
{
    if (m->top < 1 || m->stack[m->top - 1]->kind == MARK) {
        broken("its stack runs empty");
        return NULL;
    }
    return m->stack[--m->top];
}

static int append(machine *m, value *to, value *v)
{
    if ((size_t)m->put++ > PUT_EACH * m->bytes)
        return broken("its values repeat each other too often");
    if (to->count == to->room) {
        long room = to->room ? 2 * to->room : 4;
        value **s = take(m, (size_t)room * sizeof *s);
        if (!s)
            return kr_error_code();
        if (to->count)
            memcpy(s, to->item, (size_t)to->count * sizeof *s);
        to->item = s;
        to->room = room;
    }
    to->item[to->count++] = v;
    return 0;
}

static long mark(machine *m)
{
    for (long i = m->top - 1; i >= 0; i--)
        if (m->stack[i]->kind == MARK)
            return i;
    broken("a mark is missing");
    return -1;
}

/* All values above the last mark become items of a new value; the mark goes. */
static int collect(machine *m, enum kind kind)
{
    long at = mark(m);
    value *v = at < 0 ? NULL : make(m, kind);
    if (!v)
        return kr_error_code();
    for (long i = at + 1; i < m->top; i++)
        if (append(m, v, m->stack[i]))
            return kr_error_code();
    m->top = at;
    return push(m, v);
}

/* The last k values become a tuple. */
static int gather(machine *m, int k)
{
    value *v = make(m, TUPLE);
    if (!v)
        return kr_error_code();
    if (m->top < k)
        return broken("its stack runs empty");
    for (long i = m->top - k; i < m->top; i++) {
        if (m->stack[i]->kind == MARK)
            return broken("a tuple reaches over a mark");
        if (append(m, v, m->stack[i]))
            return kr_error_code();
    }
    m->top -= k;
    return push(m, v);
}

static int text(machine *m, enum kind kind, const unsigned char *p, size_t n)
{
    value *v = make(m, kind);
    if (!v || !(v->text = words(m, "%.*s", (int)(n > 1 << 20 ? 1 << 20 : n), (const char *)p)))
        return kr_error_code();
    return push(m, v);
}

static int integer(machine *m, int64_t i)
{
    value *v = make(m, INT);
    if (v)
        v->i = i;
    return push(m, v);
}

static bool bytes(machine *m, size_t n, const unsigned char **p)
{
    *p = m->at;
    if ((size_t)(m->end - m->at) < n) {
        broken("it ends too early");
        return false;
    }
    m->at += n;
    return true;
}

static bool line(machine *m, const unsigned char **p, size_t *n)
{
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (!end) {
        broken("it ends too early");
        return false;
    }
    *p = m->at;
    *n = (size_t)(end - m->at);
    m->at = end + 1;
    return true;
}

/* ---- Names: known, inert, refused ---- */
static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static bool storage_type(const char *name, enum wt_type *t)
{
    static const struct { const char *name; enum wt_type t; } known[] = {
        { "torch FloatStorage", WT_F32 }, { "torch DoubleStorage", WT_F64 }, { "torch HalfStorage", WT_F16 },
        { "torch BFloat16Storage", WT_BF16 }, { "torch CharStorage", WT_I8 }, { "torch ByteStorage", WT_U8 },
        { "torch BoolStorage", WT_BOOL }, { "torch ShortStorage", WT_I16 }, { "torch IntStorage", WT_I32 },
        { "torch LongStorage", WT_I64 }, { "torch ComplexFloatStorage", WT_C64 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name) || (!strncmp(name, "torch.cuda ", 11) && !strcmp(name + 11, known[i].name + 6))) {
            *t = known[i].t;
            return true;
        }
    return false;
}

/* Names whose values are kept as lifeless parts: configurations, counters and number types that trainers store beside
 * the weights. Comparing names is all that ever happens to them. */
static bool harmless(const char *name)
{
    static const char *const word[] = {
        "collections OrderedDict", "collections defaultdict", "collections Counter", "__builtin__ dict", "__builtin__ list",
        "__builtin__ long", "__builtin__ int", "__builtin__ float", "__builtin__ set", "__builtin__ tuple", "__builtin__ str",
        "__builtin__ bool", "__builtin__ object", "builtins dict", "builtins list", "builtins int", "builtins float", "builtins set",
        "builtins tuple", "builtins str", "builtins bool", "builtins object", "typing Any", "torch Size", "torch device",
        "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor", "torch._utils _rebuild_parameter",
        "torch.nn.parameter Parameter", "torch._tensor _rebuild_from_type_v2", "torch Tensor",
        "copy_reg _reconstructor", "copyreg _reconstructor", "pathlib PosixPath", "pathlib WindowsPath",
        "numpy dtype", "numpy ndarray", "numpy.core.multiarray scalar", "numpy.core.multiarray _reconstruct",
        "numpy._core.multiarray scalar", "numpy._core.multiarray _reconstruct", "_codecs encode", "argparse Namespace",
        "datetime datetime", "datetime timedelta" };
    enum wt_type t;
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (!strcmp(name, word[i]))
            return true;
    return storage_type(name, &t) || begins(name, "omegaconf.") || begins(name, "pytorch_lightning.") || begins(name, "lightning.")
        || begins(name, "torch.optim.") || begins(name, "direct.") || begins(name, "torch float") || begins(name, "torch int")
        || begins(name, "torch bfloat") || begins(name, "torch complex") || !strcmp(name, "torch bool") || !strcmp(name, "torch uint8");
}

static int global(machine *m, const unsigned char *module, size_t nm, const unsigned char *name, size_t nn)
{
    value *v = make(m, GLOBAL);
    if (!v || !(v->text = words(m, "%.*s %.*s", (int)(nm > 200 ? 200 : nm), (const char *)module, (int)(nn > 200 ? 200 : nn), (const char *)name)))
        return kr_error_code();
    if (!harmless(v->text)) {
        for (char *p = v->text; *p; p++)
            *p = *p == ' ' ? '.' : (unsigned char)*p < 32 || (unsigned char)*p > 126 ? '?' : *p;
        return kr_fail(KR_EREFUSED, "the pickle inside asks for '%s'; only tensors, dictionaries, lists, numbers and strings are built, "
                       "and no code is run", v->text);
    }
    return push(m, v);
}

static long small(const value *v, bool *good)
{
    if (v->kind != INT || v->i < 0 || v->i > 1L << 40)
        *good = false;
    return v->kind == INT ? (long)v->i : 0;
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...) */
static value *tensor(machine *m, const value *args)
{
    if (args->count < 4 || args->item[0]->kind != STORAGE || args->item[2]->kind != TUPLE || args->item[3]->kind != TUPLE
        || args->item[2]->count != args->item[3]->count || args->item[2]->count > KR_TENSOR_DIMS) {
        broken("a tensor is described in an unknown way");
        return NULL;
    }
    value *v = make(m, TENSOR);
    if (!v)
        return NULL;
    bool good = true;
    v->storage = args->item[0];
    v->offset = small(args->item[1], &good);
    v->dims = args->item[2]->count;
    for (long d = 0; d < v->dims; d++) {
        v->n[d] = small(args->item[2]->item[d], &good);
        v->step[d] = small(args->item[3]->item[d], &good);
    }
    if (!good) {
        broken("a tensor's shape makes no sense");
        return NULL;
    }
    return v;
}

/* What "call f with args" gives: never a call. */
static int reduce(machine *m)
{
    value *args = pop(m), *f = args ? pop(m) : NULL;
    if (!f)
        return kr_error_code();
    if (f->kind != GLOBAL || args->kind != TUPLE) {
        value *v = make(m, INERT);          /* a call of something inert stays inert */
        if (v && append(m, v, args))
            return kr_error_code();
        return push(m, v);
    }
    if (!strcmp(f->text, "torch._utils _rebuild_tensor_v2") || !strcmp(f->text, "torch._utils _rebuild_tensor"))
        return push(m, tensor(m, args));
    if (!strcmp(f->text, "torch._utils _rebuild_parameter") && args->count)
        return push(m, args->item[0]);
    if (!strcmp(f->text, "torch._tensor _rebuild_from_type_v2") && args->count >= 3 && args->item[2]->kind == TUPLE) {
        value *inner = args->item[2];       /* (function, type, arguments, state): the tensor inside */
        return push(m, tensor(m, inner));
    }
    bool dict = strstr(f->text, "Dict") || strstr(f->text, "dict") || strstr(f->text, "Counter");
    bool list = !strcmp(f->text, "__builtin__ list") || !strcmp(f->text, "builtins list") || !strcmp(f->text, "torch Size");
    value *v = make(m, dict && !begins(f->text, "omegaconf") ? DICT : list ? LIST : INERT);
    if (!v)
        return kr_error_code();
    if (v->kind == DICT && args->count == 1 && args->item[0]->kind == LIST) {    /* OrderedDict([(k, v), ...]) */
        for (long i = 0; i < args->item[0]->count; i++) {
            value *pair = args->item[0]->item[i];
            if ((pair->kind != TUPLE && pair->kind != LIST) || pair->count != 2)
                return broken("a dictionary is described in an unknown way");
            if (append(m, v, pair->item[0]) || append(m, v, pair->item[1]))
                return kr_error_code();
        }
    } else if (v->kind == LIST && args->count == 1 && (args->item[0]->kind == LIST || args->item[0]->kind == TUPLE)) {
        for (long i = 0; i < args->item[0]->count; i++)
            if (append(m, v, args->item[0]->item[i]))
                return kr_error_code();
    } else if (v->kind == INERT && append(m, v, args))
        return kr_error_code();
    return push(m, v);
}

static int set_items(machine *m, long from)
{
    if (from < 1 || (m->top - from) % 2)
        return broken("a dictionary lacks a value");
    value *d = m->stack[from - 1];
    if (d->kind == MARK)
        return broken("its stack runs empty");
    for (long i = from; i < m->top; i++) {
        if (m->stack[i]->kind == MARK)
            return broken("its stack runs empty");
        if ((d->kind == DICT || d->kind == INERT) && append(m, d, m->stack[i]))
            return kr_error_code();
    }
    return d->kind == DICT || d->kind == INERT ? 0 : broken("values are put into something that is no dictionary");
}

static int persistent(machine *m)
{
    value *id = pop(m);
    if (!id)
        return kr_error_code();
    if (id->kind != TUPLE || id->count < 5 || id->item[0]->kind != TEXT || strcmp(id->item[0]->text, "storage")
        || id->item[1]->kind != GLOBAL || (id->item[2]->kind != TEXT && id->item[2]->kind != INT))
        return broken("a storage is described in an unknown way");
    value *v = make(m, STORAGE);
    if (!v)
        return kr_error_code();
    if (!storage_type(id->item[1]->text, &v->type))
        return broken("a storage has an unknown type");
    bool good = true;
    v->offset = small(id->item[4], &good);               /* numel */
    v->text = id->item[2]->kind == TEXT ? id->item[2]->text : words(m, "%lld", (long long)id->item[2]->i);
    if (!good)
        return broken("a storage has an impossible size");
    if (!v->text || (m->storages && m->storages->seen && m->storages->seen(m->storages->self, v->text, v->type, v->offset)))
        return kr_error_code();
    return push(m, v);
}

static int remember(machine *m, uint64_t at)
{
    if (!m->top || at > m->bytes)                  /* Python counts the cells up, and each costs a byte */
        return broken("a memory cell is out of range");
    if ((long)at >= m->memos) {
        long room = m->memos ? 2 * m->memos : 256;
        while (room <= (long)at)
            room *= 2;
        value **s = kr_realloc(m->memo, (size_t)m->memos, (size_t)room, sizeof *s);
        if (!s)
            return kr_error_code();
        memset(s + m->memos, 0, (size_t)(room - m->memos) * sizeof *s);
        m->memo = s;
        m->memos = room;
    }
    m->kept += !m->memo[at];
    m->memo[at] = m->stack[m->top - 1];
    return 0;
}

static int recall(machine *m, uint64_t at)
{
    if (at >= (uint64_t)m->memos || !m->memo[at])
        return broken("a memory cell is empty");
    return push(m, m->memo[at]);
}

/* One instruction; *done at STOP. Codes: Python's pickletools. */
static int step(machine *m, bool *done)
{
    const unsigned char *p, *q;
    size_t n, k;
    if (!bytes(m, 1, &p))
        return kr_error_code();
    switch (*p) {
    case 0x80: return bytes(m, 1, &p) ? (*p > 5 ? broken("its protocol is unknown") : 0) : kr_error_code();   /* PROTO */
    case 0x95: return bytes(m, 8, &p) ? 0 : kr_error_code();                                                  /* FRAME */
    case '.': *done = true; return 0;
    case '(': return push(m, make(m, MARK));
    case '0': return pop(m) ? 0 : kr_error_code();
    case '1': { long at = mark(m); if (at < 0) return kr_error_code(); m->top = at; return 0; }              /* POP_MARK */
    case '2': return m->top ? push(m, m->stack[m->top - 1]) : broken("its stack runs empty");                 /* DUP */
    case 'N': return push(m, make(m, NONE));
    case 0x88: case 0x89: {
        value *v = make(m, BOOL);
        if (v)
            v->i = *p == 0x88;
        return push(m, v);
    }
    case 'K': return bytes(m, 1, &p) ? integer(m, *p) : kr_error_code();
    case 'M': return bytes(m, 2, &p) ? integer(m, (int64_t)kr_little(p, 2)) : kr_error_code();
    case 'J': return bytes(m, 4, &p) ? integer(m, (int32_t)kr_little(p, 4)) : kr_error_code();
    case 'I': case 'L': {                                                                                     /* INT, LONG as text */
        if (!line(m, &p, &n))
            return kr_error_code();
        char word[32];
        snprintf(word, sizeof word, "%.*s", (int)n, (const char *)p);
        return integer(m, strtoll(word, NULL, 10));
    }
    case 0x8a: case 0x8b: {                                                                                   /* LONG1, LONG4 */
        int head = *p == 0x8a ? 1 : 4;
        if (!bytes(m, (size_t)head, &p) || !bytes(m, n = (size_t)kr_little(p, head), &q))
            return kr_error_code();
        int64_t v = 0;                  /* longer ones (magic numbers) keep their low 64 bits */
        for (size_t i = 0; i < n && i < 8; i++)
            v |= (int64_t)((uint64_t)q[i] << (8 * i));
        if (n && n < 8 && q[n - 1] & 0x80)
            v -= (int64_t)((uint64_t)1 << (8 * n));
        return integer(m, v);
    }
    case 'G': {
        if (!bytes(m, 8, &p))
            return kr_error_code();
        unsigned char b[8];
        for (int i = 0; i < 8; i++)
            b[i] = p[7 - i];
        value *v = make(m, REAL);
        if (v)
            memcpy(&v->d, b, 8);
        return push(m, v);
    }
    case 'F': {
        if (!line(m, &p, &n))
            return kr_error_code();
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)n, (const char *)p);
        value *v = make(m, REAL);
        if (v)
            v->d = strtod(word, NULL);
        return push(m, v);
    }
    case 'X': return bytes(m, 4, &p) && bytes(m, k = (size_t)kr_little(p, 4), &q) ? text(m, TEXT, q, k) : kr_error_code();
    case 0x8c: case 'U': case 'C': return bytes(m, 1, &p) && bytes(m, k = *p, &q) ? text(m, TEXT, q, k) : kr_error_code();
    case 'T': case 'B': return bytes(m, 4, &p) && bytes(m, k = (size_t)kr_little(p, 4), &q) ? text(m, TEXT, q, k) : kr_error_code();
    case 0x8d: case 0x8e: return bytes(m, 8, &p) && bytes(m, k = (size_t)kr_little(p, 8), &q) ? text(m, TEXT, q, k) : kr_error_code();
    case 'S': case 'V': return line(m, &p, &n) ? text(m, TEXT, p, n) : kr_error_code();
    case 'c': return line(m, &p, &n) && line(m, &q, &k) ? global(m, p, n, q, k) : kr_error_code();
    case 0x93: {                                                                                              /* STACK_GLOBAL */
        value *name = pop(m), *module = name ? pop(m) : NULL;
        if (!module)
            return kr_error_code();
        if (name->kind != TEXT || module->kind != TEXT)
            return broken("a name is not text");
        return global(m, (unsigned char *)module->text, strlen(module->text), (unsigned char *)name->text, strlen(name->text));
    }
    case ')': return push(m, make(m, TUPLE));
    case 0x85: return gather(m, 1);
    case 0x86: return gather(m, 2);
    case 0x87: return gather(m, 3);
    case 't': return collect(m, TUPLE);
    case ']': return push(m, make(m, LIST));
    case '}': return push(m, make(m, DICT));
    case 0x8f: return push(m, make(m, LIST));                                                                 /* EMPTY_SET */
    case 'l': return collect(m, LIST);
    case 'd': return collect(m, DICT);
    case 'a': {
        value *v = pop(m);
        if (!v)
            return kr_error_code();
        if (!m->top || m->stack[m->top - 1]->kind == MARK)
            return broken("its stack runs empty");
        return append(m, m->stack[m->top - 1], v);
    }
    case 'e': case 0x90: {                                                                                    /* APPENDS, ADDITEMS */
        long at = mark(m);
        if (at < 1 || m->stack[at - 1]->kind == MARK)
            return at < 0 ? kr_error_code() : broken("its stack runs empty");
        for (long i = at + 1; i < m->top; i++)
            if (append(m, m->stack[at - 1], m->stack[i]))
                return kr_error_code();
        m->top = at;
        return 0;
    }
    case 's': {
        if (m->top < 3)
            return broken("its stack runs empty");
        int e = set_items(m, m->top - 2);
        m->top -= 2;
        return e;
    }
    case 'u': {
        long at = mark(m);
        if (at < 1)
            return at < 0 ? kr_error_code() : broken("its stack runs empty");
        memmove(m->stack + at, m->stack + at + 1, (size_t)(m->top - at - 1) * sizeof *m->stack);
        m->top--;
        int e = set_items(m, at);
        m->top = at;
        return e;
    }
    case 'b': {                                                                                               /* BUILD: state of an object */
        value *state = pop(m);
        if (!state)
            return kr_error_code();
        if (!m->top || m->stack[m->top - 1]->kind == MARK)
            return broken("its stack runs empty");
        value *v = m->stack[m->top - 1];
        return v->kind == INERT ? append(m, v, state) : 0;
    }
    case 0x81: {                                                                                              /* NEWOBJ */
        value *args = pop(m), *class = args ? pop(m) : NULL;
        value *v = class ? make(m, INERT) : NULL;
        return push(m, v);
    }
    case 'R': return reduce(m);
    case 'Q': return persistent(m);
    case 'q': return bytes(m, 1, &p) ? remember(m, *p) : kr_error_code();
    case 'r': return bytes(m, 4, &p) ? remember(m, kr_little(p, 4)) : kr_error_code();
    case 0x94: return remember(m, (uint64_t)m->kept);                                                         /* MEMOIZE: as many as are kept */
    case 'p': case 'g': {
        unsigned char code = *p;
        if (!line(m, &p, &n))
            return kr_error_code();
        char word[16];
        snprintf(word, sizeof word, "%.*s", (int)n, (const char *)p);
        unsigned long at = strtoul(word, NULL, 10);
        return code == 'p' ? remember(m, at) : recall(m, at);
    }
    case 'h': return bytes(m, 1, &p) ? recall(m, *p) : kr_error_code();
    case 'j': return bytes(m, 4, &p) ? recall(m, kr_little(p, 4)) : kr_error_code();
    default: return kr_fail(KR_EREFUSED, "the pickle inside uses instruction 0x%02x, which builds no tensor, dictionary, list, number or string", *p);
    }
}

/* ---- From values to tensors ---- */
static int keep_tensor(kr_weights *w, const char *name, const value *v, const wt_storages *st)
{
    const unsigned char *data;
    size_t n;
    if (!st || st->find(st->self, v->storage->text, &data, &n))
        return st ? kr_fail_in("tensor '%s'", name) : broken("a tensor without storage");
    bool complex = v->storage->type == WT_C64;
    if (complex && v->dims == KR_TENSOR_DIMS)
        return broken("a complex tensor has too many axes");
    long shape[KR_TENSOR_DIMS], last = v->offset, count = 1;
    bool bad = false, packed = true;
    for (long d = 0; d < v->dims; d++) {
        shape[d] = v->n[d];
        long reach;
        bad = bad || __builtin_mul_overflow(v->n[d] > 0 ? v->n[d] - 1 : 0, v->step[d], &reach) || __builtin_add_overflow(last, reach, &last)
           || __builtin_mul_overflow(count, v->n[d], &count);
    }
    size_t size = wt_size(v->storage->type);
    if (bad || count < 0 || (count && (size_t)last >= n / size))
        return kr_fail(KR_EFORMAT, "the tensor '%s' reaches beyond its storage of %zu bytes", name, n);
    if (wt_take(w, (size_t)count, complex ? 2 * sizeof(float) : sizeof(float)))
        return kr_fail_in("the tensor '%s'", name);
    for (long d = v->dims - 1, step = 1; d >= 0; step *= v->n[d--])
        packed = packed && (v->n[d] == 1 || v->step[d] == step);
    int dims = (int)v->dims;
    if (complex)
        shape[dims++] = 2;
    kr_tensor *t = kr_weights_add(w, name, dims, shape);
    if (!t)
        return kr_error_code();
    if (packed && count)
        wt_floats(t->data, data + (size_t)v->offset * size, v->storage->type, count);
    long index[KR_TENSOR_DIMS] = { 0 }, at = v->offset;
    for (long i = 0; !packed && i < count; i++) {
        wt_floats(t->data + (complex ? 2 * i : i), data + (size_t)at * size, v->storage->type, 1);
        for (long d = v->dims - 1; d >= 0; d--) {
            at += v->step[d];
            if (++index[d] < v->n[d])
                break;
            at -= index[d] * v->step[d];
            index[d] = 0;
        }
    }
    return 0;
}

static const value *entry(const value *dict, const char *key)
{
    for (long i = 0; dict->kind == DICT && i + 1 < dict->count; i += 2)
        if (dict->item[i]->kind == TEXT && !strcmp(dict->item[i]->text, key))
            return dict->item[i + 1];
    return NULL;
}

/* What trainers keep beside the weights and no one wants back: optimisers (as large as the weights), timers, paths. */
static bool of_training(const char *key)
{
    static const char *const word[] = { "callbacks", "loops", "optimizer", "optimizers", "optimizer_states", "lr_scheduler", "lr_schedulers",
                                        "scaler", "native_amp_scaling_state", "optimizer_state", "grad_scaler_state", "logging" };
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (!strcmp(key, word[i]))
            return true;
    return false;
}

/* left: shared values could be met without end; a sensible file needs few steps. */
static int walk(kr_weights *w, const char *prefix, const value *v, const wt_storages *st, int depth, long *left)
{
    char word[64];
    if (--*left < 0)
        return broken("its values nest without end");
    const char *scalar = NULL;
    switch (v->kind) {
    case TENSOR: return keep_tensor(w, prefix, v, st);
    case DICT:
        for (long i = 0; depth < 12 && i + 1 < v->count; i += 2) {
            const value *k = v->item[i];
            if ((k->kind != TEXT && k->kind != INT) || (!depth && k->kind == TEXT && of_training(k->text)))
                continue;
            kr_auto char *name = k->kind == TEXT ? kr_strf("%s%s%s", prefix, *prefix ? "." : "", k->text)
                                                 : kr_strf("%s%s%lld", prefix, *prefix ? "." : "", (long long)k->i);
            if (!name || walk(w, name, v->item[i + 1], st, depth + 1, left))
                return kr_error_code();
        }
        return 0;
    case LIST: case TUPLE:
        for (long i = 0; i < v->count; i++) {
            if (v->item[i]->kind != TEXT && v->item[i]->kind != INT && v->item[i]->kind != REAL)
                continue;
            kr_auto char *name = kr_strf("%s%s%ld", prefix, *prefix ? "." : "", i);
            if (!name || walk(w, name, v->item[i], st, depth + 1, left))
                return kr_error_code();
        }
        return 0;
    case INERT:                     /* OmegaConf: {_content: {...}} of {_val: ...} */
        for (long i = 0; depth < 12 && i < v->count; i++) {
            const value *in = entry(v->item[i], "_content");
            in = in ? in : entry(v->item[i], "_val");
            if (in)
                return walk(w, prefix, in, st, depth + 1, left);
        }
        return 0;
    case INT: case BOOL: snprintf(word, sizeof word, "%lld", (long long)v->i); scalar = word; break;
    case REAL: snprintf(word, sizeof word, "%.9g", v->d); scalar = word; break;
    case TEXT: scalar = v->text; break;
    default: return 0;
    }
    return *prefix && kr_meta_count(w->meta) < 4096 ? kr_meta_set(w->meta, prefix, "%.200s", scalar) : 0;
}

int wt_pickle(kr_weights *w, const unsigned char *p, size_t n, const wt_storages *storages, size_t *used)
{
    machine m = { .storages = storages, .at = p, .end = p + n, .bytes = n };
    bool done = false;
    int e = 0;
    while (!e && !done)
        e = step(&m, &done);
    if (!e && (m.top != 1 || m.stack[0]->kind == MARK))
        e = broken("it does not end with one value");
    long left = 1 << 20;
    if (!e && w)
        e = walk(w, "", m.stack[0], storages, 0, &left);
    if (used)
        *used = (size_t)(m.at - p);
    while (m.blocks) {
        block *old = m.blocks;
        m.blocks = old->next;
        kr_free(old);
    }
    kr_free(m.stack);
    kr_free(m.memo);
    return e;
}
