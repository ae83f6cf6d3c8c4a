/* h5read.c: the numbers of HDF5 datasets, fetched and converted by all threads: contiguous datasets straight from the file in
 * tiles that stay in the cache, chunks as HDF5 finds them, unpacked here. */
#include "file.h"
#include "h5pack.h"
#include <string.h>

/* A dataset on its way into an array. Lengths and steps are in numbers of the file, where a complex one counts once; the
 * steps in the array are in floats. */
struct job {
    const kr_h5_set *s;
    int dims, parts;                   /* dims at least 2: lengths of 1 are put in front; floats of a number */
    long n[KR_H5_DIMS + 2];            /* of the dataset                                                   */
    long from[KR_H5_DIMS + 2], count[KR_H5_DIMS + 2], step[KR_H5_DIMS + 2];  /* the block, and its place   */
    long element, part[2];             /* as in kr_h5_set, once parts are joined                           */
    long size;                         /* bytes of one number, once it is `plain`                          */
    int fast;                          /* the dimension that is fastest in the array                       */
    bool woven;                        /* of the last dimension, even numbers are real, odd ones imaginary parts */
    float *to;
    long bytes;                        /* of the whole array                                               */
    /* how HDF5 counts: `rank` dimensions, of which the job's begin at `lead`; the last one `twice` as long */
    int lead, rank;
    bool twice;
    hid_t plist;
    /* contiguous */
    long at, tile, rows, tiles, blocks; /* units: outer x tiles along `fast` x blocks of rows               */
    unsigned char **scratch;           /* one per thread                                                   */
    /* chunked */
    long chunk[KR_H5_DIMS + 2], chunk_bytes, room;
    kr_h5_pack pack;
    long batch;
    struct { unsigned char *raw; size_t bytes; uint32_t skip; long at[KR_H5_DIMS + 2]; } *piece;
};

/* Makes n numbers as they are in the file what they are in this machine: re, im, re, im, ..., in place. */
static void plain(const struct job *j, unsigned char *numbers, long n)
{
    const kr_h5_set *s = j->s;
    long bytes = kr_number_bytes(s->number);
    if (j->element != j->size || j->part[0] || j->part[1] != (j->parts == 2 ? bytes : 0))
        for (long k = 0; k < n; k++) {
            unsigned char both[16];
            for (int p = 0; p < j->parts; p++)
                memcpy(both + p * bytes, numbers + k * j->element + j->part[p], (size_t)bytes);
            memcpy(numbers + k * j->size, both, (size_t)j->size);
        }
    if (s->swap)
        kr_number_swap(numbers, s->number, n * j->parts);
}

/* n numbers that lie `stride` bytes apart in the file come to lie `step` floats apart. */
static void gather_line(const struct job *j, float *to, long step, const unsigned char *from, long stride, long n)
{
    if (j->s->number == KR_F32 && j->parts == 2)
        for (long k = 0; k < n; k++)
            memcpy(to + k * step, from + k * stride, 8);
    else if (j->s->number == KR_F32)
        for (long k = 0; k < n; k++)
            memcpy(to + k * step, from + k * stride, 4);
    else if (j->s->number == KR_F64 && j->parts == 2)
        for (long k = 0; k < n; k++) {
            double v[2];
            memcpy(v, from + k * stride, 16);
            to[k * step] = (float)v[0];
            to[k * step + 1] = (float)v[1];
        }
    else
        for (long k = 0; k < n; k++)
            kr_number_floats(to + k * step, 1, from + k * stride, j->s->number, j->parts);
}

/* A block of lengths n at src (src_step in numbers) goes to `to` (to_step in floats). The last dimension is fast in src,
 * `fast` in the array: the two are walked in tiles, the others around them. */
static void place(const struct job *j, float *to, const long to_step[], const unsigned char *src, const long n[], const long src_step[])
{
    int last = j->dims - 1;
    enum { TILE = 16 };
    long index[KR_H5_DIMS + 2] = { 0 };
    for (;;) {
        float *t = to;
        const unsigned char *f = src;
        for (int i = 0; i < j->dims; i++) {
            t += index[i] * to_step[i];
            f += index[i] * src_step[i] * j->size;
        }
        if (j->fast == last && to_step[last] == j->parts && src_step[last] == 1)
            kr_number_floats(t, 1, f, j->s->number, n[last] * j->parts);
        else if (j->fast == last)
            gather_line(j, t, to_step[last], f, src_step[last] * j->size, n[last]);
        else
            for (long b = 0; b < n[last]; b += TILE)
                for (long a = 0; a < n[j->fast]; a += TILE)
                    for (long k = b; k < n[last] && k < b + TILE; k++)
                        gather_line(j, t + k * to_step[last] + a * to_step[j->fast], to_step[j->fast],
                                    f + (k * src_step[last] + a * src_step[j->fast]) * j->size, src_step[j->fast] * j->size,
                                    n[j->fast] - a < TILE ? n[j->fast] - a : TILE);
        int i = last;
        while (i >= 0 && (i == last || i == j->fast || ++index[i] == n[i]))
            index[i--] = 0;
        if (i < 0)
            return;
    }
}

/* One unit: `tile` indices along `fast`, `rows` along the last but one, all of the last, one index of the others. */
static int read_unit(void *self, long unit)
{
    struct job *j = self;
    int last = j->dims - 1, row = last - 1;
    long index[KR_H5_DIMS + 2] = { 0 }, n[KR_H5_DIMS + 2], src_step[KR_H5_DIMS + 2] = { 0 }, whole[KR_H5_DIMS + 2];
    unsigned char *buffer = j->scratch[kr_worker()];
    whole[last] = 1;
    for (int i = last; i > 0; i--)
        whole[i - 1] = whole[i] * j->n[i];
    index[row] = unit % j->blocks * j->rows;
    unit /= j->blocks;
    bool across = j->fast < row;
    if (across) {
        index[j->fast] = unit % j->tiles * j->tile;
        unit /= j->tiles;
    }
    for (int i = row - 1; i >= 0; i--)
        if (i != j->fast) {
            index[i] = unit % j->count[i];
            unit /= j->count[i];
        }
    float *to = j->to;
    long from = 0;
    for (int i = 0; i < j->dims; i++) {
        n[i] = 1;
        to += index[i] * j->step[i];
        from += (j->from[i] + index[i]) * whole[i];
    }
    n[last] = j->count[last];
    n[row] = j->count[row] - index[row] < j->rows ? j->count[row] - index[row] : j->rows;
    if (across)
        n[j->fast] = j->count[j->fast] - index[j->fast] < j->tile ? j->count[j->fast] - index[j->fast] : j->tile;
    src_step[last] = 1;
    src_step[row] = n[last];
    if (across)
        src_step[j->fast] = n[last] * n[row];
    bool gap = n[last] != j->n[last];
    long line = n[last] * j->element;
    for (long a = 0; a < (across ? n[j->fast] : 1); a++) {
        unsigned char *b = buffer + a * n[row] * n[last] * j->element;
        long at = j->at + (from + (across ? a * whole[j->fast] : 0)) * j->element;
        for (long r = 0; r < (gap ? n[row] : 1); r++)
            if (kr_file_read(j->s->file->fd, b + r * line, (size_t)((gap ? 1 : n[row]) * line), at + r * whole[row] * j->element))
                return kr_error_code();
    }
    plain(j, buffer, n[row] * n[last] * (across ? n[j->fast] : 1));
    place(j, to, j->step, buffer, n, src_step);
    return 0;
}

static int scratch_new(struct job *j, long room)
{
    int threads = kr_threads();
    if (!(j->scratch = kr_alloc_zero((size_t)threads, sizeof *j->scratch)))
        return kr_error_code();
    for (int i = 0; i < threads; i++)
        if (!(j->scratch[i] = kr_alloc((size_t)room, 1)))
            return kr_error_code();
    return 0;
}

static void scratch_free(struct job *j)
{
    for (int i = 0; j->scratch && i < kr_threads(); i++)
        kr_free(j->scratch[i]);
    kr_free(j->scratch);
    j->scratch = NULL;
}

/* Starting threads costs more than a small dataset is worth. */
static int for_each(long n, kr_body *body, struct job *j)
{
    enum { SMALL = 1 << 20 };
    if (j->bytes >= SMALL)
        return kr_for(n, body, j);
    for (long i = 0; i < n; i++)
        if (body(j, i))
            return kr_error_code();
    return 0;
}

static int read_contiguous(struct job *j)
{
    enum { CACHE = 1 << 18 };                               /* of one core; fewer reads than 64 KiB, as fast as 1 MiB */
    int last = j->dims - 1, row = last - 1;
    long line = j->count[last] * j->element, units = 1;
    bool across = j->fast < row;
    j->tile = across ? (j->count[j->fast] < 16 ? j->count[j->fast] : 16) : 1;
    j->tiles = across ? (j->count[j->fast] + j->tile - 1) / j->tile : 1;
    long most = CACHE / line / j->tile;                        /* whole tiles of rows, as many as the cache holds */
    j->rows = across ? (most < 1 ? 1 : most) : most < 16 ? 16 : most / 16 * 16;
    if (j->rows > j->count[row])
        j->rows = j->count[row];
    j->blocks = (j->count[row] + j->rows - 1) / j->rows;
    for (int i = 0; i < row; i++)
        units *= i == j->fast ? j->tiles : j->count[i];
    int e = scratch_new(j, j->tile * j->rows * line);
    if (!e)
        e = for_each(units * j->blocks, read_unit, j);
    scratch_free(j);
    return e;
}

/* ---- Blocks: a chunk, or a dataset inside its header ---- */
/* The part that is wanted of a block of lengths `whole` that begins at `first`. */
static void place_block(const struct job *j, unsigned char *src, const long first[], const long whole[])
{
    long n[KR_H5_DIMS + 2], step[KR_H5_DIMS + 2], all = 1;
    int last = j->dims - 1;
    float *to = j->to;
    for (int d = last; d >= 0; d--) {
        long a = first[d] < j->from[d] ? j->from[d] : first[d];
        long end = first[d] + whole[d], stop = j->from[d] + j->count[d];
        n[d] = (end < stop ? end : stop) - a;
        step[d] = all;
        src += (a - first[d]) * all * j->size;
        if (d < last || !j->woven)
            to += (a - j->from[d]) * j->step[d];
        all *= whole[d];
    }
    if (!j->woven) {
        place(j, to, j->step, src, n, step);
        return;
    }
    /* The real parts, then the imaginary ones: every second number along the last dimension. */
    long a = first[last] < j->from[last] ? j->from[last] : first[last], width = n[last];
    step[last] = 2;
    for (long p = 0; p < 2; p++) {
        long skip = (a + p) % 2;                           /* to the first number of this part */
        n[last] = (width - skip + 1) / 2;
        if (n[last] > 0)
            place(j, to + p + (a + skip - j->from[last]) / 2 * j->step[last], j->step, src + skip * j->size, n, step);
    }
}

static int place_chunk(void *self, long i)
{
    struct job *j = self;
    unsigned char *a = j->scratch[kr_worker()], *src = NULL;
    size_t n = 0;
    if (kr_h5_unpack(&j->pack, j->piece[i].skip, j->piece[i].raw, j->piece[i].bytes, a, a + j->room, (size_t)j->room, &src, &n))
        return kr_error_code();
    if (n != (size_t)j->chunk_bytes)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of %ld bytes unpacks to %zu", j->s->name, j->chunk_bytes, n);
    plain(j, src, j->chunk_bytes / j->element);
    place_block(j, src, j->piece[i].at, j->chunk);
    return 0;
}

static void batch_free(struct job *j)
{
    for (long i = 0; j->piece && i < j->batch; i++)
        kr_free_at(&j->piece[i].raw);
}

/* The chunk at `offset`, as it lies in the file: raw NULL where it was never written. H5Dget_chunk_info_by_coord looks through the whole index, minutes where chunks are many. */
static int fetch(struct job *j, const hsize_t offset[], long k)
{
    hsize_t bytes = 0;
    if (H5Dget_chunk_storage_size(j->s->id, offset, &bytes) < 0)
        bytes = 0;                                         /* never written: zeros */
    if ((long)bytes > j->s->file->bytes)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of it has %lld bytes", j->s->name, (long long)bytes);
    if (!bytes)
        return 0;
    j->piece[k].bytes = (size_t)bytes;
    if (!(j->piece[k].raw = kr_alloc_zero((size_t)bytes, 1)))
        return kr_error_code();
    if (j->pack.count)                                     /* this size is what H5Dread_chunk will write, damaged or not */
        return H5Dread_chunk(j->s->id, H5P_DEFAULT, offset, &j->piece[k].skip, j->piece[k].raw) < 0 ? kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", j->s->name) : 0;
    /* Without filters an index may state another size, which H5Dread_chunk would believe: the part inside the dataset is read as numbers. */
    hsize_t zero[KR_H5_DIMS + 2] = { 0 }, chunk[KR_H5_DIMS + 2], inside[KR_H5_DIMS + 2];
    for (int d = 0; d < j->rank; d++) {
        int two = j->twice && d == j->rank - 1 ? 2 : 1;
        chunk[d] = (hsize_t)(j->chunk[d + j->lead] * two);
        hsize_t left = (hsize_t)(j->n[d + j->lead] * two) - offset[d];
        inside[d] = left < chunk[d] ? left : chunk[d];
    }
    hid_t from = H5Dget_space(j->s->id), to = H5Screate_simple(j->rank, chunk, NULL);
    bool good = (long)bytes == j->chunk_bytes && from >= 0 && to >= 0 && H5Sselect_hyperslab(from, H5S_SELECT_SET, offset, NULL, inside, NULL) >= 0
             && H5Sselect_hyperslab(to, H5S_SELECT_SET, zero, NULL, inside, NULL) >= 0 && H5Dread(j->s->id, j->s->type, to, from, H5P_DEFAULT, j->piece[k].raw) >= 0;
    if (from >= 0)
        H5Sclose(from);
    if (to >= 0)
        H5Sclose(to);
    return good ? 0 : kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", j->s->name);
}

static int read_chunks(struct job *j)
{
    enum { BATCH = 16 };
    int e = 0;
    long at[KR_H5_DIMS + 2], held = 0;
    if (!(j->piece = kr_alloc_zero(BATCH, sizeof *j->piece)) || (e = scratch_new(j, 2 * j->room)))
        e = kr_error_code();
    for (int d = 0; d < j->dims; d++)
        at[d] = j->from[d] / j->chunk[d] * j->chunk[d];
    for (bool more = true; !e && more; ) {
        hsize_t offset[KR_H5_DIMS + 2] = { 0 };
        for (int d = 0; d < j->rank && d + j->lead < j->dims; d++)
            offset[d] = (hsize_t)(at[d + j->lead] * (j->twice && d == j->rank - 1 ? 2 : 1));
        memcpy(j->piece[j->batch].at, at, sizeof at);
        e = fetch(j, offset, j->batch);
        if (j->piece[j->batch].raw)
            held += (long)j->piece[j->batch++].bytes;
        int d = j->dims - 1;
        while (d >= 0 && (at[d] += j->chunk[d]) >= j->from[d] + j->count[d]) {
            at[d] = j->from[d] / j->chunk[d] * j->chunk[d];
            d--;
        }
        more = d >= 0;
        if (!e && j->batch && (!more || j->batch == BATCH || held > 64 << 20)) {
            e = for_each(j->batch, place_chunk, j);
            batch_free(j);
            j->batch = 0;
            held = 0;
        }
    }
    batch_free(j);
    kr_free_at(&j->piece);
    scratch_free(j);
    return e;
}

/* What numbers that were never written hold. */
static int fill_unwritten(struct job *j)
{
    unsigned char value[16] = { 0 };
    H5D_fill_value_t kind;
    bool complex = j->s->kind == KR_H5_COMPLEX, real = j->s->woven || j->s->reim >= 0;
    memset(j->to, 0, (size_t)j->bytes);
    if (H5Pfill_value_defined(j->plist, &kind) < 0 || kind != H5D_FILL_VALUE_USER_DEFINED || j->pack.number > 16)
        return 0;
    if (H5Pget_fill_value(j->plist, j->s->type, value) < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", j->s->name);
    if (complex && real)                                   /* one for both parts */
        memcpy(value + j->s->element, value, (size_t)j->s->element);
    struct job one = { .s = j->s, .parts = complex ? 2 : 1, .element = real ? 2 * j->s->element : j->s->element, .part = { j->s->part[0], j->s->part[1] } };
    one.size = kr_number_bytes(j->s->number) * one.parts;
    if (real)
        one.part[1] = j->s->element;
    plain(&one, value, 1);
    float v[2];
    kr_number_floats(v, 1, value, j->s->number, one.parts);
    if (v[0] != 0 || (complex && v[1] != 0))
        for (long i = 0; i < j->bytes / (long)sizeof *v; i++)
            j->to[i] = v[i % one.parts];
    return 0;
}

/* Datasets inside their header (compact, at most 64 KiB): one block. */
static int read_compact(struct job *j)
{
    long first[KR_H5_DIMS + 2] = { 0 }, bytes = j->element;
    for (int d = 0; d < j->dims; d++)
        bytes *= j->n[d];
    kr_auto unsigned char *buffer = bytes > 1 << 16 ? NULL : kr_alloc((size_t)bytes, 1);
    if (!buffer)
        return bytes > 1 << 16 ? kr_fail(KR_EFORMAT, "dataset %s is damaged", j->s->name) : kr_error_code();
    if (H5Dread(j->s->id, j->s->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", j->s->name);
    plain(j, buffer, bytes / j->element);
    place_block(j, buffer, first, j->n);
    return 0;
}

/* ---- Which way ---- */
static int run(struct job *j, H5D_layout_t layout)
{
    haddr_t at = layout == H5D_CONTIGUOUS ? H5Dget_offset(j->s->id) : HADDR_UNDEF;
    long bytes = j->element;
    for (int d = 0; d < j->dims; d++)
        bytes *= j->n[d];
    bool contiguous = at != HADDR_UNDEF && (long)at >= 0 && (long)at <= j->s->file->bytes - bytes;
    j->at = (long)at;
    return at != HADDR_UNDEF && !contiguous
          ? kr_fail(KR_EFORMAT, "dataset %s of %ld bytes lies beyond the end of the file", j->s->name, bytes)
          : contiguous ? read_contiguous(j)
          : layout == H5D_COMPACT ? read_compact(j)
          : layout != H5D_CHUNKED ? kr_fail(KR_EFORMAT, "dataset %s was never written", j->s->name)
          : kr_h5_pack_of(&j->pack, j->s, j->plist) || fill_unwritten(j) ? kr_error_code()
          : read_chunks(j);
}

/* The file's dimensions, chunks and numbers. Where real and imaginary part are neighbours in every chunk, they are one number. */
static int lay_out(struct job *j, H5D_layout_t layout)
{
    const kr_h5_set *s = j->s;
    hsize_t chunk[KR_H5_DIMS + 1] = { 0 };
    bool chunked = layout == H5D_CHUNKED, real = s->woven || s->reim >= 0;
    j->rank = s->dims + (s->reim >= 0);
    if (chunked && H5Pget_chunk(j->plist, KR_H5_DIMS, chunk) != j->rank)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: its parts make no sense", s->name);
    bool even = !chunked || (j->rank && chunk[j->rank - 1] % 2 == 0), join = real && even && (s->woven || s->reim == j->rank - 1);
    int dims = join && !s->woven ? j->rank - 1 : j->rank;
    j->parts = s->kind == KR_H5_COMPLEX && (!real || join) ? 2 : 1;
    j->size = kr_number_bytes(s->number) * j->parts;
    j->element = join ? 2 * s->element : s->element;
    j->part[0] = s->part[0];
    j->part[1] = join ? s->element : s->part[1];
    j->woven = s->woven && !join;
    j->twice = s->woven && join;
    j->dims = dims < 2 ? 2 : dims;
    j->lead = j->dims - dims;
    j->chunk_bytes = j->element;
    bool good = true;
    for (int d = 0; good && d < j->dims; d++) {
        int i = d - j->lead;
        j->chunk[d] = i < 0 || !chunked ? 1 : chunk[i] > 1ull << 48 ? 0 : (long)chunk[i];
        if (j->twice && d == j->dims - 1)
            j->chunk[d] /= 2;
        good = !chunked || (j->chunk[d] > 0 && !__builtin_mul_overflow(j->chunk_bytes, j->chunk[d], &j->chunk_bytes));
    }
    if (!good || (chunked && j->chunk_bytes > s->file->bytes * KR_H5_INFLATE_MOST + KR_H5_SLACK))
        return kr_fail(KR_EFORMAT, "dataset %s is damaged: its parts make no sense", s->name);
    j->room = j->chunk_bytes + 4;                          /* a checksum may come out of the unpacker */
    return 0;
}

static int read_one(kr_array *a, const kr_h5_set *s, const int order[], const long from[], const long count[])
{
    struct job j = { .s = s, .to = a->data, .plist = H5Dget_create_plist(s->id) };
    if (j.plist < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", s->name);
    H5D_layout_t layout = H5Pget_layout(j.plist);
    int e = lay_out(&j, layout), floats = a->type == KR_C32 ? 2 : 1;
    j.bytes = kr_count(kr_array_shape(a)) * floats * (long)sizeof(float);
    j.pack.number = (long)H5Tget_size(s->type);
    j.fast = j.dims - 1;
    for (int d = 0; d < j.dims; d++) {
        int i = d - j.lead;
        j.n[d] = j.count[d] = 1;
        if (i < 0)
            continue;
        if (i == s->reim) {                                /* its own axis in the file, neighbours in the array */
            j.n[d] = j.count[d] = 2;
            j.step[d] = 1;
            continue;
        }
        int k = s->reim >= 0 && i > s->reim ? i - 1 : i;
        long two = j.woven && d == j.dims - 1 ? 2 : 1;
        j.n[d] = two * s->n[k];
        j.from[d] = two * from[k];
        j.count[d] = two * count[k];
        j.step[d] = order[k] == KR_AXES ? 0 : a->step[order[k]] * floats;
        if (j.step[d] == floats)
            j.fast = d;
    }
    if (!e)
        e = run(&j, layout);
    H5Pclose(j.plist);
    return e;
}

/* ---- Datasets put together of others ("virtual") ---- */
/* The block that a selection is: false where it is none. */
static bool block_of(hid_t space, int *dims, long first[], long n[])
{
    hsize_t from[H5S_MAX_RANK], to[H5S_MAX_RANK];
    *dims = H5Sget_simple_extent_ndims(space);
    hssize_t points = H5Sget_select_npoints(space);
    long all = 1;
    if (*dims < 1 || *dims > KR_H5_DIMS || points < 1 || H5Sget_select_bounds(space, from, to) < 0)
        return false;
    for (int d = 0; d < *dims; d++) {
        if (to[d] < from[d] || to[d] > 1ull << 48)
            return false;
        first[d] = (long)from[d];
        n[d] = (long)(to[d] - from[d] + 1);
        if (__builtin_mul_overflow(all, n[d], &all))
            return false;
    }
    return all == points;
}

/* Part i, where it meets the block asked for. Its dataset may have other axes of length 1. */
static int read_part(kr_array *a, const kr_h5_set *s, hid_t plist, size_t i, const int order[], const long from[], const long count[])
{
    hid_t to = H5Pget_virtual_vspace(plist, i), of = H5Pget_virtual_srcspace(plist, i);
    long first[KR_H5_DIMS], n[KR_H5_DIMS], part_from[KR_H5_DIMS] = { 0 }, part_count[KR_H5_DIMS];
    int dims = 0, others = 0, part_order[KR_H5_DIMS], k = 0;
    char name[128] = "";
    bool good = to >= 0 && of >= 0 && block_of(to, &dims, first, n) && dims == s->dims
             && H5Pget_virtual_dsetname(plist, i, name, sizeof name) > 0 && !strchr(name, '%');
    bool all = good && H5Sget_select_type(of) == H5S_SEL_ALL;      /* then the space knows no lengths */
    good = good && (all || block_of(of, &others, part_from, part_count));
    if (to >= 0)
        H5Sclose(to);
    if (of >= 0)
        H5Sclose(of);
    kr_scoped(h5_set) part = good ? kr_h5_set_open(s->file, name) : NULL;
    if (good && !part)
        return kr_fail_in("a part of dataset %s", s->name);
    if (all) {
        others = part->dims;
        memcpy(part_count, part->n, sizeof part_count);
    }
    for (int d = 0; good && d < others; d++) {
        part_order[d] = KR_AXES;
        if (part_count[d] == 1)
            continue;
        while (k < dims && n[k] == 1)
            k++;
        good = k < dims && n[k] == part_count[d];
        if (good)
            part_order[d] = k++;
    }
    while (good && k < dims)
        good = n[k++] == 1;
    if (!good)
        return kr_fail(KR_EFORMAT, "dataset %s is put together in a way that is not read; h5repack -l CONTI IN OUT makes a plain one of it", s->name);
    if (part->joined || part->kind != s->kind || part->dims != others)
        return kr_fail(KR_EFORMAT, "the part %s of dataset %s is of another kind", name, s->name);
    kr_scoped(array) view = kr_array_ref(a);
    for (int d = 0; view && d < dims; d++) {
        long begin = first[d] > from[d] ? first[d] : from[d], end = first[d] + n[d] < from[d] + count[d] ? first[d] + n[d] : from[d] + count[d];
        if (begin >= end)
            return 0;
        for (int p = 0; p < others; p++)
            if (part_order[p] == d) {
                part_from[p] += begin - first[d];
                part_count[p] = end - begin;
            }
        kr_array *cut = order[d] == KR_AXES ? kr_array_ref(view) : kr_array_range(view, order[d], begin - from[d], end - begin);
        kr_array_unref(&view);
        view = cut;
    }
    for (int p = 0; p < others; p++)
        part_order[p] = part_order[p] == KR_AXES ? KR_AXES : order[part_order[p]];
    kr_scoped(array) got = NULL;
    if (!view)
        return kr_error_code();
    if (kr_h5_read(&got, part, part_order, part_from, part_count))
        return kr_error_code();
    kr_array_assign(view, got);
    return 0;
}

static int read_joined(kr_array *a, const kr_h5_set *s, const int order[], const long from[], const long count[])
{
    if (s->woven || s->reim >= 0)
        return kr_fail(KR_EFORMAT, "dataset %s is put together of others and holds real and imaginary parts apart; that is not read", s->name);
    struct job j = { .s = s, .to = a->data, .plist = H5Dget_create_plist(s->id) };
    size_t parts = 0;
    if (j.plist < 0 || H5Pget_virtual_count(j.plist, &parts) < 0)
        return kr_fail(KR_EFORMAT, "dataset %s is damaged", s->name);
    j.bytes = kr_count(kr_array_shape(a)) * (a->type == KR_C32 ? 2 : 1) * (long)sizeof(float);
    j.pack.number = (long)H5Tget_size(s->type);
    int e = fill_unwritten(&j);
    for (size_t i = 0; !e && i < parts; i++)
        e = read_part(a, s, j.plist, i, order, from, count);
    H5Pclose(j.plist);
    return e;
}

int kr_h5_read(kr_array **out, const kr_h5_set *s, const int order[], const long from[], const long count[])
{
    *out = NULL;
    if (s->kind != KR_H5_REAL && s->kind != KR_H5_COMPLEX)
        return kr_fail(KR_EFORMAT, "dataset %s holds no numbers", s->name);
    long first[KR_H5_DIMS] = { 0 }, n[KR_H5_DIMS];
    kr_shape shape = { { 0 } };
    for (int i = 0; i < s->dims; i++) {
        first[i] = from ? from[i] : 0;
        n[i] = count ? count[i] : s->n[i];
        if (first[i] < 0 || n[i] < 1 || first[i] > s->n[i] - n[i])
            return kr_fail(KR_ESHAPE, "%ld to %ld asked of %ld along axis %d of dataset %s", first[i], first[i] + n[i] - 1, s->n[i], i, s->name);
        if (order[i] < KR_AXES)
            shape.n[order[i]] = n[i];
        kr_assert(order[i] < KR_AXES || n[i] == 1);
    }
    long total = kr_count(shape), parts = s->kind == KR_H5_COMPLEX ? 2 : 1;
    kr_auto float *data = total < 0 ? NULL : kr_alloc((size_t)total, (size_t)parts * sizeof *data);
    if (!data)
        return total < 0 ? kr_fail(KR_EFORMAT, "dataset %s is too large", s->name) : kr_error_code();
    kr_array *a = kr_array_take(parts == 2 ? KR_C32 : KR_R32, shape, data);
    if (!a)
        return kr_error_code();
    data = NULL;
    int e = s->joined ? read_joined(a, s, order, first, n) : read_one(a, s, order, first, n);
    if (e)
        kr_array_unref(&a);
    *out = a;
    return e;
}
