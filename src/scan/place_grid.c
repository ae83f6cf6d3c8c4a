/* place_grid.c: grids of lines: how long rows are, which slot is whose, what was measured. */
#include "place.h"
#include <unistd.h>

/* ---- Along the readout ---- */
/* A line as long as the row lies on it sample by sample; one without a believable centre is centred. */
long place_row_start(const kr_line *l, long N, long *skip, long *n)
{
    bool reverse = l->flags & FLAG(REVERSE);
    long pre = reverse ? l->discard_post : l->discard_pre, c = l->center_sample;
    *skip = pre;
    *n = (long)l->samples - l->discard_pre - l->discard_post;
    if (c == 0 || c >= l->samples)
        c = l->samples / 2;
    if (l->samples == N)
        return pre;
    return pre - (reverse ? l->samples - c : c) + N / 2;
}

long place_row_needed(const kr_line *l)
{
    long skip, n, left = -place_row_start(l, 0, &skip, &n), right = n - left;
    return 2 * left > 2 * right - 1 ? 2 * left : 2 * right - 1;
}

/* ---- Slots ---- */
int place_grid_check(const grid *g, double measured, bool header_only)
{
    double bytes = (double)g->row * (double)g->coils * 8, machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    for (int k = 0; k < SLOTS; k++)
        bytes *= (double)g->n[k];
    if (bytes / (double)g->coils / (double)g->row * (double)sizeof(slot) / 8 > 0.5 * machine || (bytes > 1 << 30 && bytes > 4096 * 8 * measured))
        return kr_fail(KR_EFORMAT, "the counters of the lines ask for a grid of %.4g GB, but only %.4g GB of samples were measured", bytes / 1e9, measured * 8 / 1e9);
    if (bytes > machine && !header_only)
        return kr_fail(KR_EMEM, "the k-space needs %.4g GB; this machine has %.4g GB", bytes / 1e9, machine / 1e9);
    return 0;
}

int place_grid_slots(grid *g)
{
    g->slots = 1;
    for (int k = 0; k < SLOTS; k++)
        g->slots *= g->n[k];
    g->slot = kr_alloc_zero((size_t)g->slots, sizeof *g->slot);
    return g->slot ? 0 : kr_error_code();
}

long place_slot_of(const grid *g, const long v[SLOTS])
{
    long at = 0;
    for (int k = SLOTS; k-- > 0; ) {
        if (v[k] < 0 || v[k] >= g->n[k])
            return -1;
        at = at * g->n[k] + v[k];
    }
    return at;
}

where place_claim(grid *g, const kr_line *l, long at)
{
    long skip, n, x = place_row_start(l, g->row, &skip, &n);
    if (at < 0 || x < 0 || x + n > g->row) {
        g->outside++;
        return (where){ 0 };
    }
    slot *s = &g->slot[at];
    if (s->count && (s->from != x || s->to != x + n)) {
        g->unequal++;
        return (where){ 0 };
    }
    g->repeated += s->count > 0;
    *s = (slot){ s->count + 1, (uint32_t)x, (uint32_t)(x + n), s->energy };
    return (where){ at, (int32_t)x, (uint16_t)skip, (uint16_t)n };
}

kr_shape place_grid_shape(const grid *g, bool spokes)
{
    kr_shape s = { { 0 } };
    s.n[spokes ? KR_SAMPLE : KR_X] = g->row;
    s.n[KR_COIL] = g->coils;
    for (int k = 0; k < SLOTS; k++)
        s.n[k == SLOT_Y && spokes ? KR_VIEW : slot_axis[k]] = g->n[k];
    return s;
}

long place_row_at(const grid *g, long at, long *plane)
{
    *plane = g->row * g->n[SLOT_Y] * g->n[SLOT_Z];
    long slots = g->n[SLOT_Y] * g->n[SLOT_Z];
    return at / slots * g->coils * *plane + at % slots * g->row;
}

/* Do slots along axis k all say the same? */
static bool alike(const grid *g, int k)
{
    long inner = 1;
    for (int i = 0; i < k; i++)
        inner *= g->n[i];
    for (long at = 0; at < g->slots; at++) {
        const slot *a = &g->slot[at], *b = &g->slot[at - at / inner % g->n[k] * inner];
        if (!a->count != !b->count || a->from != b->from || a->to != b->to)
            return false;
    }
    return true;
}

int place_grid_mask(kr_array **out, const grid *g, bool spokes)
{
    bool full = true, rows = true;
    *out = NULL;
    for (long i = 0; i < g->slots; i++) {
        full = full && g->slot[i].count;
        rows = rows && (!g->slot[i].count || (!g->slot[i].from && g->slot[i].to == g->row));
    }
    if (full && rows)
        return 0;
    grid m = *g;
    m.row = rows ? 1 : g->row;
    m.coils = 1;
    for (int k = SLOT_COUNTERS; k < SLOTS; k++)
        if (alike(g, k))
            m.n[k] = 1;
    kr_array *mask = kr_array_new(KR_R32, place_grid_shape(&m, spokes));
    if (!mask)
        return kr_error_code();
    long i = 0, v[SLOTS] = { 0 };
    for (bool more = true; more; i += m.row) {                /* v runs over the slots of m */
        const slot *s = &g->slot[place_slot_of(g, v)];
        for (long x = rows ? 0 : s->from; s->count && x < (rows ? 1 : (long)s->to); x++)
            KR_R(mask)[i + x] = 1;
        int k = 0;
        while (k < SLOTS && ++v[k] == m.n[k])
            v[k++] = 0;
        more = k < SLOTS;
    }
    *out = mask;
    return 0;
}
