/* array.h: numbers whose axes have names. Arrays meet axis by axis, by name; nobody counts positions. */
#ifndef KRAY_ARRAY_H
#define KRAY_ARRAY_H
#include "kray/base.h"

#ifdef __cplusplus
extern "C" {
struct kr_cfloat { float re, im; };              /* C++ has no float _Complex; this lies in memory as it does */
#else
/* Complex numbers from parts (clang 14 lacks CMPLXF), and the product without the checks for
 * infinities that the language asks for. */
typedef float _Complex kr_cfloat;
typedef double _Complex kr_cdouble;
static inline kr_cfloat kr_c(float re, float im) { union { float p[2]; kr_cfloat c; } u = { { re, im } }; return u.c; }
static inline float kr_re(kr_cfloat a) { union { kr_cfloat c; float p[2]; } u = { a }; return u.p[0]; }
static inline float kr_im(kr_cfloat a) { union { kr_cfloat c; float p[2]; } u = { a }; return u.p[1]; }
static inline kr_cfloat kr_cconj(kr_cfloat a) { return kr_c(kr_re(a), -kr_im(a)); }
static inline kr_cfloat kr_cmul(kr_cfloat a, kr_cfloat b)
{ return kr_c(kr_re(a) * kr_re(b) - kr_im(a) * kr_im(b), kr_re(a) * kr_im(b) + kr_im(a) * kr_re(b)); }
static inline kr_cfloat kr_cmulc(kr_cfloat a, kr_cfloat b)   /* conj(a) b */
{ return kr_c(kr_re(a) * kr_re(b) + kr_im(a) * kr_im(b), kr_re(a) * kr_im(b) - kr_im(a) * kr_re(b)); }
static inline float kr_cabs2(kr_cfloat a) { return kr_re(a) * kr_re(a) + kr_im(a) * kr_im(a); }
/* The elements of a contiguous array. */
#define KR_C(a) ((kr_cfloat *)(a)->data)
#define KR_R(a) ((float *)(a)->data)
#endif

enum kr_axis {
    KR_X, KR_Y, KR_Z,                 /* image, and Cartesian k-space; X is the readout            */
    KR_SAMPLE,                        /* point on a readout                                        */
    KR_U, KR_V,                       /* CT detector column, row                                   */
    KR_VIEW,                          /* readout or projection angle                               */
    KR_COIL, KR_MAP,                  /* receive channel; set of coil maps                         */
    KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG,   /* ISMRMRD: contrast=ECHO, repetition=TIME */
    KR_CHAN, KR_BATCH, KR_AXES
};
typedef struct kr_shape { long n[KR_AXES]; } kr_shape;         /* 0 and 1 both mean: no such axis  */
#define KR_SHAPE(...) ((kr_shape){ .n = { __VA_ARGS__ } })     /* KR_SHAPE([KR_X] = 256, [KR_COIL] = 8) */
#define KR_ON(axis) (1u << (axis))

enum kr_type { KR_R32, KR_C32 };                               /* float, or a pair of floats       */
typedef struct kr_store kr_store;
typedef struct kr_array {             /* counted; read the fields, let functions write them        */
    long n[KR_AXES];                  /* length, at least 1                                        */
    long step[KR_AXES];               /* elements to the neighbour: 0 repeats, negative flips      */
    enum kr_type type;
    void *data;
    kr_store *store;                  /* counted memory that views share                           */
} kr_array;

/* ---- Names and shapes ---- */
const char *kr_axis_name(int axis);                            /* "x", "coil", ... */
int kr_axis_named(const char *name);                           /* -1: no such axis; case is ignored */
long kr_count(kr_shape s);                                     /* product; -1: overflow or a negative length */
bool kr_shape_equal(kr_shape a, kr_shape b);                   /* 0 equals 1 */
kr_shape kr_shape_without(kr_shape s, unsigned axes);          /* those axes set to 1 */
kr_shape kr_shape_only(kr_shape s, unsigned axes);             /* all other axes set to 1 */
/* "{x=12 y=10 coil=4}"; in a buffer of this thread, valid for the next 8 calls. */
const char *kr_shape_text(kr_shape s);
kr_shape kr_array_shape(const kr_array *a);

/* ---- Making. All zero; X is fastest, then Y, ... in the order of the enum. Refuses counts over 2^48. ---- */
kr_array *kr_array_new(enum kr_type type, kr_shape shape) KR_MUST_USE;
kr_array *kr_array_like(const kr_array *a) KR_MUST_USE;        /* same type and shape, contiguous, zero */
kr_array *kr_array_ref(const kr_array *a) KR_MUST_USE;         /* another handle to the same numbers */
void kr_array_unref(kr_array **a);                             /* NULL is fine, *a becomes NULL */
/* Takes over memory from kr_alloc, laid out contiguously in enum order. On refusal the caller keeps it. */
kr_array *kr_array_take(enum kr_type type, kr_shape shape, void *data) KR_MUST_USE;
/* Takes over memory from kr_alloc laid out with `order` (first fastest), an array of `axes` axis names. */
kr_array *kr_array_take_order(enum kr_type type, kr_shape shape, void *data, const int *order, int axes) KR_MUST_USE;

/* ---- Views: share the numbers, cost nothing. NULL in, NULL out. ---- */
kr_array *kr_array_at(const kr_array *a, int axis, long index) KR_MUST_USE;           /* that axis becomes 1 */
/* Where part i of the axes of `parts` begins in a->data, numbers from it; axes that `a` lacks, and CHAN, move nothing. */
long kr_array_offset(const kr_array *a, kr_shape parts, long i);
kr_array *kr_array_range(const kr_array *a, int axis, long from, long count) KR_MUST_USE;
kr_array *kr_array_flip(const kr_array *a, int axis) KR_MUST_USE;
kr_array *kr_array_rename(const kr_array *a, int from, int to) KR_MUST_USE;           /* swaps the two axes' names */
kr_array *kr_array_spread(const kr_array *a, kr_shape to) KR_MUST_USE;                /* repeats axes of length 1 */

/* ---- Copies ---- */
bool kr_array_contiguous(const kr_array *a);
kr_array *kr_array_packed(const kr_array *a) KR_MUST_USE;      /* a new handle if contiguous, else a contiguous copy */
kr_array *kr_array_copy(const kr_array *a) KR_MUST_USE;        /* always a contiguous copy */
kr_array *kr_array_copy_order(const kr_array *a, const int *order, int axes) KR_MUST_USE; /* copy, memory order given */
kr_array *kr_array_complex(const kr_array *a) KR_MUST_USE;     /* C32: handle or converted copy */
kr_array *kr_array_crop(const kr_array *a, int axis, long count) KR_MUST_USE;  /* view: centre, or copy padded with 0; keeps index N/2 at N'/2 */
/* to = from; axes of length 1 in `from` repeat; real to complex is fine, complex to real is a broken contract. */
void kr_array_assign(kr_array *to, const kr_array *from);

/* ---- Arithmetic. Shapes and types equal unless said; any steps; sums in double, in fixed blocks, the same
 *      on any number of threads. ---- */
void kr_fill(kr_array *a, float value);
void kr_scale(kr_array *a, float s);                           /* a = s a            */
void kr_axpy(kr_array *y, float a, const kr_array *x);         /* y = y + a x        */
void kr_xpay(kr_array *y, float a, const kr_array *x);         /* y = x + a y        */
double kr_dot_re(const kr_array *x, const kr_array *y);        /* Re sum conj(x) y   */
void kr_dot(const kr_array *x, const kr_array *y, double out[2]); /* sum conj(x) y   */
double kr_norm(const kr_array *x);                             /* sqrt(sum |x|^2)    */
double kr_max_abs(const kr_array *x);
bool kr_all_finite(const kr_array *x);
/* z = sum over the axes that z lacks of x * y (or x * conj(y)), axes meeting by name; an axis of length 1
 * repeats. One function for coil maps, masks, bases, inner products. z is C32, x and y C32 or R32; or all are R32.
 * Source: BART's md_ztenmul has the same algebra. */
void kr_contract(kr_array *z, const kr_array *x, const kr_array *y, bool conj_y);
kr_array *kr_abs(const kr_array *x) KR_MUST_USE;               /* R32 |x|            */
kr_array *kr_rss(const kr_array *x, int axis) KR_MUST_USE;     /* R32 sqrt(sum over axis of |x|^2) */

#ifdef __cplusplus
}
#endif
#endif
