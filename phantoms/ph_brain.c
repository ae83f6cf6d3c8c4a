/* ph_brain.c: a head that looks like one: a folded cortex, white matter, deep nuclei, ventricles, vessels and lesions in
 * a skull with scalp, all from smooth functions of position, so that it can be cut anywhere and as finely as wanted.
 *
 * Positions are millimetres as in brain atlases, X to the left, Y to the front, Z up, the origin at the anterior
 * commissure; structures have the usual places and sizes of an adult's, simplified. A structure is a signed distance,
 * positive inside; its border is as wide as partial volume makes it. Folds are the zero set of a random field of one
 * wavelength (a sum of plane waves), laid out along the surface and carried inwards: sheets of fluid at the distance of
 * real sulci, with a ribbon of grey matter of constant thickness on both sides. */
#include "measure.h"
#include <math.h>
#include <string.h>

/* ---- Tissues and what a sequence makes of them ----
 * Proton density, T1 and T2 in ms at 3 T: Wansapura et al. 1999 (grey, white), Stanisz et al. 2005 (blood, muscle), Gold
 * et al. 2004 (fat), Lin et al. 2001 (T1 of fluid); deep nuclei between grey and white, with less T2 for their iron; the
 * scalp's fat is half fibres. The rest is set so that it looks as usual. */
enum tissue { AIR, SKIN, FAT, MUSCLE, BONE, MARROW, DURA, FLUID, GREY, WHITE, CAUDATE, PUTAMEN, PALLIDUM, THALAMUS, NIGRA, BLOOD, LESION,
              VITREOUS, LENS, TISSUES };
static const struct { float pd, t1, t2; } relax[TISSUES] = {
    [SKIN] = { 0.50f, 900, 40 }, [FAT] = { 0.36f, 371, 133 }, [MUSCLE] = { 0.80f, 1412, 50 }, [BONE] = { 0.04f, 400, 5 },
    [MARROW] = { 0.42f, 500, 100 }, [DURA] = { 0.35f, 900, 35 }, [FLUID] = { 1.00f, 4163, 1500 }, [GREY] = { 0.84f, 1331, 110 },
    [WHITE] = { 0.70f, 832, 79.6f }, [CAUDATE] = { 0.83f, 1250, 92 }, [PUTAMEN] = { 0.82f, 1180, 85 }, [PALLIDUM] = { 0.75f, 930, 62 },
    [THALAMUS] = { 0.78f, 1060, 86 }, [NIGRA] = { 0.75f, 1000, 58 }, [BLOOD] = { 0.80f, 1932, 275 }, [LESION] = { 0.86f, 1450, 170 },
    [VITREOUS] = { 1.00f, 3800, 800 }, [LENS] = { 0.60f, 1000, 30 } };

/* "t1" is inversion prepared, "flair" too, to null fluid; the others are spin echoes:
 * S = PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2), without inversion 1 - exp(-TR/T1). flow: what moving blood gives
 * compared with resting blood: more by inflow in a gradient echo, little in a spin echo. */
static const struct sequence { const char *contrast; double tr, te, ti; float flow; } sequences[] = {
    { "t1", 2300, 3, 1100, 1.4f }, { "t2", 5000, 100, 0, 0.12f }, { "pd", 3500, 15, 0, 0.25f }, { "flair", 9000, 110, 2380, 0.12f } };

static float signal(const struct sequence *q, int t)
{
    if (relax[t].pd <= 0)
        return 0;
    double E = exp(-q->tr / relax[t].t1), m = q->ti > 0 ? fabs(1 - 2 * exp(-q->ti / relax[t].t1) + E) : 1 - E;
    return (float)(relax[t].pd * m * exp(-q->te / relax[t].t2) * (t == BLOOD ? q->flow : 1));
}

/* ---- Small mathematics ---- */
typedef struct vec { float x, y, z; } vec;
static inline vec sub(vec a, vec b) { return (vec){ a.x - b.x, a.y - b.y, a.z - b.z }; }
static inline float dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }
static inline float between(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }
static inline float rise(float v, float lo, float hi)            /* 0 below lo, 1 above hi, smooth */
{
    float t = between((v - lo) / (hi - lo), 0, 1);
    return t * t * (3 - 2 * t);
}
static inline float blend(float a, float b, float r)             /* minimum with the corner rounded over r */
{
    float h = most(r - fabsf(a - b), 0) / r;
    return least(a, b) - 0.25f * r * h * h;
}

/* cos and sin of 2 pi turns by their series, good to 1e-5, written so that the compiler makes vector code of it. */
static inline void cos_sin(float turns, float *c, float *s)
{
    float r = turns - (float)(int)(turns + (turns < 0 ? -0.5f : 0.5f)), t = r * r;            /* -1/2 .. 1/2 turns */
    *c = 1 + t * (-19.7392088f + t * (64.9393940f + t * (-85.4567938f + t * (60.2446413f + t * (-26.4262568f + t * 7.9035364f - t * t * 1.7143907f)))));
    *s = r * (6.28318531f + t * (-41.3417023f + t * (81.6052493f + t * (-76.7058598f + t * (42.0586939f + t * (-15.0946426f + t * 3.8199526f - t * t * 0.7181223f))))));
}

/* A random field: plane waves with vectors k (cycles per mm) and phases p (turns), their cosines scaled to unit variance. */
enum { WAVES = 12 };
typedef struct field { float x[WAVES], y[WAVES], z[WAVES], p[WAVES]; } field;
static const float amplitude = 0.40824829f;                      /* sqrt(2 / WAVES) */

static void make_field(field *f, uint64_t stream, float longest, float shortest)
{
    for (uint64_t i = 0; i < WAVES; i++) {
        double h = 2 * ((double)i + 0.5) / WAVES - 1, t = 2.399963 * (double)i + 6.2832 * kr_rand_uniform(1, stream, 2 * i);  /* over the sphere */
        double length = longest * pow(shortest / longest, ((double)i * 0.618034) - floor((double)i * 0.618034));
        f->x[i] = (float)(sqrt(1 - h * h) * cos(t) / length);
        f->y[i] = (float)(sqrt(1 - h * h) * sin(t) / length);
        f->z[i] = (float)(h / length);
        f->p[i] = (float)kr_rand_uniform(1, stream, 2 * i + 1);
    }
}

static float field_at(const field *f, vec p, vec *slope)
{
    float v = 0, gx = 0, gy = 0, gz = 0;
    for (int i = 0; i < WAVES; i++) {
        float c, s;
        cos_sin(f->x[i] * p.x + f->y[i] * p.y + f->z[i] * p.z + f->p[i], &c, &s);
        v += c;
        gx += s * f->x[i];
        gy += s * f->y[i];
        gz += s * f->z[i];
    }
    float turn = -6.2831853f * amplitude;
    *slope = (vec){ turn * gx, turn * gy, turn * gz };
    return amplitude * v;
}

/* Distance to a bar from a to b whose radius goes from ra to rb; positive inside. */
static float bar(vec p, vec a, vec b, float ra, float rb)
{
    vec d = sub(b, a), e = sub(p, a);
    float t = between(dot(e, d) / dot(d, d), 0, 1);
    vec r = { e.x - t * d.x, e.y - t * d.y, e.z - t * d.z };
    return ra + t * (rb - ra) - sqrtf(dot(r, r));
}

/* Distance to an ellipsoid turned about Z, first order; positive inside. */
typedef struct ball { vec centre, half; float c, s; } ball;
static float in_ball(vec p, const ball *b)
{
    vec d = sub(p, b->centre);
    float u = (b->c * d.x + b->s * d.y) / b->half.x, v = (-b->s * d.x + b->c * d.y) / b->half.y, w = d.z / b->half.z;
    float f = sqrtf(u * u + v * v + w * w) + 1e-6f, gx = u / b->half.x, gy = v / b->half.y, gz = w / b->half.z;
    return (1 - f) * f / (sqrtf(gx * gx + gy * gy + gz * gz) + 1e-6f);
}
#define BALL(x, y, z, a, b, c, cos_t, sin_t) { { x, y, z }, { a, b, c }, cos_t, sin_t }

typedef struct brain {
    float S[TISSUES];                /* signal of each tissue                                        */
    float edge;                      /* width of borders, mm                                         */
    int planes;                      /* averaged through a 2D slice                                  */
    field bend, folds, ripples, depth, layers, texture;
} brain;

/* What varies slowly: no head is symmetric, no layer even. */
typedef struct setting { float bend[3], layers, texture, depth; } setting;

static setting setting_at(const brain *b, vec p)
{
    vec g, unused;
    field_at(&b->bend, p, &g);
    return (setting){ { 30 * g.x, 30 * g.y, 30 * g.z }, between(field_at(&b->layers, p, &unused), -1.5f, 1.5f),
                      field_at(&b->texture, p, &unused), between(field_at(&b->depth, p, &unused), -1.5f, 1.5f) };
}

static setting setting_between(const setting *a, const setting *b, float t)
{
    setting s;
    for (int k = 0; k < 3; k++)
        s.bend[k] = a->bend[k] + t * (b->bend[k] - a->bend[k]);
    s.layers = a->layers + t * (b->layers - a->layers);
    s.texture = a->texture + t * (b->texture - a->texture);
    s.depth = a->depth + t * (b->depth - a->depth);
    return s;
}

static inline float cover(const brain *b, float distance) { return between(distance / b->edge + 0.5f, 0, 1); }
static inline void paint(const brain *b, float *value, int tissue, float alpha) { *value += alpha * (b->S[tissue] - *value); }

/* ---- The skull's inside: an egg, flat below, wider behind; distance to its wall and the way out ---- */
static float cavity(vec p, vec *out)
{
    float t = (p.y + 17) / 88, wide = 69 * (1 - 0.07f * t - 0.04f * t * t);
    float u = p.x / wide, v = t, w = (p.z - 10) / (p.z > 10 ? 66 : 68);
    float q = u * u + v * v + w * w - 0.22f * (u * u * v * v + 0.6f * u * u * w * w + 0.6f * v * v * w * w);
    float f = sqrtf(most(q, 1e-4f)), h = p.z > 10 ? 66 : 68;
    vec g = { u * (1 - 0.22f * (v * v + 0.6f * w * w)) / wide, v * (1 - 0.22f * (u * u + 0.6f * w * w)) / 88,
              w * (1 - 0.132f * (u * u + v * v)) / h };
    float size = sqrtf(dot(g, g)) + 1e-6f;
    *out = (vec){ g.x / size, g.y / size, g.z / size };
    return (1 - f) * f / size;
}

/* Height of the skull base under a point: front, middle (deep beside the sella) and back floor. */
static float base_height(vec p)
{
    float x = fabsf(p.x), front = -20 + 0.12f * x, middle = -14 - 30 * rise(x, 8, 26), back = -64 + 0.012f * x * x;
    float h = front + (middle - front) * rise(-p.y, -38, -24);
    return h + (back - h) * rise(-p.y, 18, 40);
}

/* ---- Deep structures, given for the left side ---- */
static const ball caudate_head = BALL(13, 15, 7, 6, 11, 10, 0.97f, 0.24f), putamen = BALL(26.5f, 2, 3, 6, 17, 11, 0.978f, -0.208f),
    pallidum = BALL(20.5f, -3, 1, 5, 10, 7, 0.94f, -0.34f), thalamus = BALL(11.5f, -18, 8, 9.5f, 15, 9.5f, 0.94f, 0.34f),
    nigra = BALL(9, -18, -11, 3, 6, 3, 0.8f, 0.6f), third = BALL(0, -13, -1, 2.3f, 16, 11, 1, 0), fourth = BALL(0, -43, -32, 8, 6, 11, 1, 0),
    connection = BALL(0, -4, 3, 1e3f, 36, 24, 1, 0), eye = BALL(32, 60, -27, 12, 12, 12, 1, 0), lens = BALL(32, 70, -27, 4.5f, 2.2f, 4.5f, 1, 0),
    orbit = BALL(28, 46, -27, 17, 26, 17, 0.93f, -0.37f), sinus = BALL(9, 76, -6, 9, 6, 11, 1, 0),
    maxilla = BALL(25, 44, -52, 10, 13, 12, 0.98f, 0.2f), face = BALL(0, 30, -55, 60, 58, 60, 1, 0),
    hippocampus = BALL(27, -22, -13, 5, 16, 4, 0.96f, 0.28f);

static float ventricles(vec p)
{
    static const struct { vec at; float r; } path[] = { { { 13, 31, 3 }, 2.5f }, { { 9, 20, 9 }, 4.5f }, { { 7.5f, 0, 18 }, 5.5f }, { { 12, -22, 20 }, 6 },
                                                      { { 23, -40, 14 }, 7.5f }, { { 26, -66, 5 }, 2.5f } };
    float d = bar(p, (vec){ 24, -40, 10 }, (vec){ 34, -22, -10 }, 5.5f, 2.5f);
    for (int i = 0; i < 5; i++)
        d = -blend(-d, -bar(p, path[i].at, path[i + 1].at, path[i].r, path[i + 1].r), 3);
    return least(d, p.x - 0.9f);                                 /* the septum keeps the two apart */
}

/* Midbrain with its peduncles and colliculi, pons, medulla and cord; given for the left side. */
static float stem(vec p)
{
    static const struct { vec a, b; float ra, rb; } part[] = { { { 0, -25, 0 }, { 0, -26, -18 }, 9, 11 }, { { 10, -14, -6 }, { 6, -18, -22 }, 6, 7 },
        { { 4.5f, -33, -4 }, { 4.5f, -34, -11 }, 4, 4 }, { { 4, -25, -24 }, { 4, -28, -35 }, 13, 11 }, { { 0, -33, -42 }, { 0, -42, -70 }, 9, 7 },
        { { 0, -42, -70 }, { 0, -52, -140 }, 7, 6 } };
    float d = -99;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        d = -blend(-d, -bar(p, part[i].a, part[i].b, part[i].ra, part[i].rb), 4);
    return d;
}

/* Under the tentorium: leaves that stand across the surface, around a white core. */
typedef struct leaves { float depth, fluid; } leaves;
static leaves cerebellum(const brain *b, vec p, float inside, float tentorium, float stalk)
{
    leaves l;
    vec slope;
    float turn = atan2f(p.z + 34, -(p.y + 40)), away = sqrtf((p.z + 34) * (p.z + 34) + (p.y + 40) * (p.y + 40));
    float n = turn / 0.19f + 0.25f * field_at(&b->ripples, p, &slope) + 0.012f * fabsf(p.x);
    float sheet = fabsf(n - floorf(n) - 0.5f) * 0.19f * most(away, 6);
    l.depth = blend(blend(inside - 2.5f, -tentorium - 1.5f, 4), blend(-stalk - 3, -34 - p.y, 4), 4);
    l.fluid = blend(l.depth, sqrtf(sheet * sheet + most(l.depth - 9, 0) * most(l.depth - 9, 0)) - 0.35f, 1);
    return l;
}

static float vessels(vec p)
{
    static const struct { vec a, b; float r; } tube[] = {
        { { 0, -12, -40 }, { 0, -8, -14 }, 1.8f }, { { 8, 0, -18 }, { 11, 2, -10 }, 2.2f }, { { 11, 2, -10 }, { 34, 5, -8 }, 1.6f },
        { { 38, 8, -8 }, { 41, 4, 14 }, 1.2f }, { { 38, -6, -6 }, { 42, -14, 15 }, 1.2f }, { { 39, 0, -7 }, { 43, -24, 20 }, 1.1f },
        { { 11, 2, -10 }, { 2, 16, -8 }, 1.3f }, { { 2, 16, -8 }, { 2, 38, 4 }, 1.2f }, { { 2, 38, 4 }, { 2, 32, 24 }, 1.2f },
        { { 2, 32, 24 }, { 2, 0, 34 }, 1.1f }, { { 1, -9, -14 }, { 17, -18, -10 }, 1.2f }, { { 17, -18, -10 }, { 12, -44, -2 }, 1.1f },
        { { 2, -10, 12 }, { 2, -36, 10 }, 1.0f }, { { 0, -42, 8 }, { 0, -72, 2 }, 2.0f } };
    float d = -99;
    for (size_t i = 0; i < sizeof tube / sizeof *tube; i++)
        d = most(d, bar(p, tube[i].a, tube[i].b, tube[i].r, tube[i].r));
    return d;
}

/* Spots of old inflammation beside the ventricles, and one larger. */
static float lesions(vec p)
{
    static const ball spot[] = { BALL(21, -32, 26, 3, 6, 4, 0.9f, 0.43f), BALL(-20, 22, 17, 3, 5, 3.5f, 0.87f, -0.5f), BALL(-25, -12, 29, 2.5f, 4, 3, 1, 0),
        BALL(29, 6, 27, 2.5f, 3, 2.5f, 1, 0), BALL(-33, -38, 22, 5.5f, 7, 6, 0.8f, 0.6f), BALL(24, 28, 30, 2, 2.5f, 2.5f, 1, 0),
        BALL(-36, -52, 12, 2.5f, 5, 3, 0.94f, 0.34f), BALL(18, -8, 36, 2, 4, 2.5f, 1, 0) };
    float d = -99;
    for (size_t i = 0; i < sizeof spot / sizeof *spot; i++)
        d = most(d, in_ball(p, &spot[i]));
    return d;
}

/* ---- The cerebrum: depth below its outer surface, and distance to the nearest fluid ---- */
typedef struct cortex { float depth, fluid, grey, tentorium; } cortex;

static cortex fold(const brain *b, vec p, const setting *here, float wall, vec out, float stalk)
{
    float x = fabsf(p.x), gap = 2.2f + 0.7f * here->layers + 1.2f * rise(p.z, 40, 70);
    /* Surfaces: the hull; the sheet between the hemispheres, open around the corpus callosum; the cleft over the
     * insula and the way to it; the tentorium. Each with how deep folds go from it. */
    float join = -in_ball(p, &connection), side = most(fabsf(p.x - 1.2f * here->texture) - 0.7f, 0);
    float sheet = sqrtf(side * side + most(-join, 0) * most(-join, 0));
    float hull = wall - gap;
    /* Folds: the field is taken near the surface, so that its sheets run inwards. */
    float in = 0.65f * between(hull, 0, 32);
    vec q = { p.x + in * out.x, p.y + in * out.y, p.z + in * out.z }, g, h;
    float n = field_at(&b->folds, q, &g) + 0.45f * field_at(&b->ripples, q, &h);
    g = (vec){ g.x + 0.45f * h.x, g.y + 0.45f * h.y, g.z + 0.45f * h.z };
    float along = 0.65f * dot(g, out);
    g = (vec){ g.x - along * out.x, g.y - along * out.y, g.z - along * out.z };
    float s = fabsf(n) / sqrtf(dot(g, g) + 0.012f);
    float ix = x - 41.5f + 0.004f * (p.y + 3) * (p.y + 3) + 0.9f * between(n, -1.5f, 1.5f), iy = most(fabsf(p.y + 4) - 24, 0), iz = most(fabsf(p.z - 4) - 12, 0);
    float insula = sqrtf(ix * ix + iy * iy + iz * iz) - 0.8f;
    float sy = 0.75f * (p.z - 3 + 0.85f * (p.y + 3)), sx = most(41 - x, 0), se = most(fabsf(p.y + 8) - 26, 0);
    float cleft = sqrtf(sy * sy + sx * sx + se * se) - 0.7f - 0.02f * most(x - 41, 0);
    float tentorium = 0.9f * (p.z - 2 + 0.35f * x - 0.4f * least(p.y + 45, 0)) + 30 * rise(p.y, -44, -26);
    float cistern = -stalk - 4.5f + 12 * rise(p.z, -8, 4);
    float max_depth = 19 + 6 * here->depth;
    float over = least(least(hull - max_depth, sheet - 0.7f * max_depth), least(insula - 2, cleft - 4));
    cortex c;
    c.tentorium = tentorium;
    c.depth = least(blend(hull, sheet, 3), least(least(insula, cleft), least(tentorium, cistern)));
    over = most(over, 0) + 10 * (1 - rise(join, 2, 8)) * (1 - rise(x, 8, 20));
    float sulcus = sqrtf(s * s + over * over) - 0.25f - 0.9f * expf(-most(hull, 0) / 6);
    c.fluid = blend(c.depth, sulcus, 2.5f);
    /* No cortex on the corpus callosum, nor deep inside. */
    c.grey = 2.7f * (1 - (1 - rise(join, 1, 7)) * (1 - rise(x, 7, 14)));
    return c;
}

/* ---- The head from outside in; left: p on the left side ---- */
static float outer_layers(const brain *b, vec p, vec left, const setting *here, float wall, float inside)
{
    float value = 0, x = left.x;
    float temple = rise(x, 35, 62) * rise(p.z, -45, -25) * (1 - rise(p.z, 10, 42)) * rise(p.y, -60, -5) * (1 - rise(p.y, 10, 60));
    float neck = (1 - rise(p.z, -50, -15)) * (1 - rise(p.y, -75, -55));
    float bone = 6 + 1.2f * here->layers + 1.5f * rise(-p.y, 50, 90), muscle = 4 * temple + 10 * neck;
    float fat = 3.2f - 0.7f * here->layers + 2 * rise(-p.y, 60, 100), skin = 1.8f;
    float throat = 56 - sqrtf(p.x * p.x + 0.8f * (p.y + 24) * (p.y + 24)) - 2 * most(p.z + 40, 0);
    float outer = wall + bone + muscle + fat + skin;
    float head = p.z > 0 ? outer : -blend(-outer, blend(-in_ball(p, &face), -throat, 20), 16);
    if (head < -b->edge)
        return 0;
    paint(b, &value, SKIN, cover(b, head));
    paint(b, &value, FAT, cover(b, head - skin));
    paint(b, &value, MUSCLE, cover(b, head - skin - fat));
    float skull = inside + bone;
    if (p.z < 0) {
        paint(b, &value, FAT, cover(b, head - skin - fat) * 0.6f * rise(here->texture, 0.5f, 1.5f));
        paint(b, &value, BONE, cover(b, bar(left, (vec){ 42, -4, -62 }, (vec){ 12, 62, -98 }, 5, 6)));
        paint(b, &value, BONE, cover(b, bar(p, (vec){ 0, -34, -64 }, (vec){ 0, -42, -140 }, 21, 21)));
        paint(b, &value, MARROW, cover(b, bar(p, (vec){ 0, -26, -70 }, (vec){ 0, -33, -140 }, 9, 9)));
        paint(b, &value, AIR, cover(b, most(bar(p, (vec){ 0, 8, -58 }, (vec){ 0, 0, -140 }, 6, 8), bar(left, (vec){ 5, 66, -52 }, (vec){ 4, 12, -50 }, 4, 6))));
        paint(b, &value, AIR, cover(b, in_ball(left, &maxilla)));
    }
    paint(b, &value, BONE, cover(b, skull));
    paint(b, &value, MARROW, cover(b, least(skull - 1.6f, -inside - 1.5f)) * rise(p.z, -35, -10));
    if (p.y > 10 && p.z < 20) {
        paint(b, &value, FAT, 0.7f * cover(b, in_ball(left, &orbit)) * cover(b, -inside - 1.5f));
        paint(b, &value, MUSCLE, cover(b, bar(left, (vec){ 31, 52, -27 }, (vec){ 16, 22, -24 }, 2.5f, 2)));
        paint(b, &value, VITREOUS, cover(b, in_ball(left, &eye)));
        paint(b, &value, LENS, cover(b, in_ball(left, &lens)));
        paint(b, &value, AIR, cover(b, least(in_ball(left, &sinus), least(skull - 1.5f, -inside - 1.5f))));
    }
    return value;
}

static void deep_structures(const brain *b, float *value, vec p, vec left, float inside_white)
{
    paint(b, value, GREY, cover(b, in_ball(left, &hippocampus)));
    paint(b, value, PUTAMEN, cover(b, in_ball(left, &putamen)));
    paint(b, value, PALLIDUM, cover(b, in_ball(left, &pallidum)));
    paint(b, value, THALAMUS, cover(b, in_ball(left, &thalamus)));
    paint(b, value, FLUID, cover(b, ventricles(left)));
    paint(b, value, CAUDATE, cover(b, in_ball(left, &caudate_head)));
    paint(b, value, CAUDATE, cover(b, bar(left, (vec){ 15, 8, 15 }, (vec){ 18, -20, 21 }, 4, 2)));
    paint(b, value, LESION, cover(b, lesions(p)) * cover(b, inside_white));
}

static void below_the_tentorium(const brain *b, float *value, vec p, vec left, float inside, float tentorium, float stalk)
{
    if (tentorium < 2 && p.y < -30) {
        leaves l = cerebellum(b, p, inside, tentorium, stalk);
        paint(b, value, GREY, cover(b, l.fluid));
        paint(b, value, WHITE, cover(b, l.fluid - 1.5f));
    }
    paint(b, value, WHITE, cover(b, bar(left, (vec){ 12, -33, -32 }, (vec){ 24, -50, -36 }, 7, 5)));
    paint(b, value, THALAMUS, cover(b, stalk) * (1 - rise(p.z, -6, 4)));
    paint(b, value, NIGRA, cover(b, in_ball(left, &nigra)));
    paint(b, value, FLUID, cover(b, in_ball(p, &fourth)));
}

static float at_point(const brain *b, vec at, const setting *here)
{
    vec p = { at.x + here->bend[0], at.y + here->bend[1], at.z + here->bend[2] }, left = { fabsf(p.x), p.y, p.z }, out;
    float wall = cavity(p, &out);
    if (wall < -70 || (p.z > 0 && wall < -25))
        return 0;
    float inside = p.z > 20 ? wall : blend(wall, 0.85f * (p.z - base_height(p)), 10);
    float value = inside > b->edge ? 0 : outer_layers(b, p, left, here, wall, inside);
    float stalk = p.z < 15 ? stem(left) : -99, canal = p.z < -45 ? bar(p, (vec){ 0, -36, -50 }, (vec){ 0, -52, -140 }, 12, 10) : -99;
    paint(b, &value, FLUID, cover(b, canal));
    if (inside < -b->edge) {
        paint(b, &value, WHITE, cover(b, stalk) * cover(b, canal));
        return value;
    }
    paint(b, &value, DURA, cover(b, inside));
    paint(b, &value, FLUID, cover(b, inside - 0.7f));
    cortex c = fold(b, p, here, inside, out, stalk);
    float pia = least(c.fluid, c.depth);
    paint(b, &value, GREY, cover(b, pia));
    paint(b, &value, WHITE, cover(b, pia - c.grey));
    if (c.depth > 0 && left.x < 45 && p.z < 45)
        deep_structures(b, &value, p, left, pia - c.grey);
    if (p.z < 12)
        below_the_tentorium(b, &value, p, left, inside, c.tentorium, stalk);
    if (left.x < 5)
        paint(b, &value, FLUID, cover(b, in_ball(p, &third)) * (1 - cover(b, stalk) * (1 - rise(p.z, -6, 4))));
    /* Blood: arteries and veins, and the sinus that follows the vault in the middle. */
    if (left.x < 46 && p.y > -76 && p.y < 42 && p.z < 38)
        paint(b, &value, BLOOD, cover(b, vessels(left)));
    if (left.x < 5 && p.z > -20)
        paint(b, &value, BLOOD, cover(b, 3.5f - sqrtf(p.x * p.x + (inside - 1) * (inside - 1))));
    return value * (1 + 0.015f * here->texture);
}

/* ---- As an object ---- */
/* A thick slice is averaged over planes, every other of them at every other point, like the fields of a chessboard: what
 * that leaves is at the highest frequency of a grid of which the lower half is kept. */
static int row(const void *self, void *out, const kr_row *at)
{
    const brain *b = self;
    float *value = out, y = (float)(-at->y - 17);
    memset(value, 0, (size_t)at->n * sizeof *value);
    long apart = at->dx < 1 ? lround(2 / at->dx) : 2;            /* settings are found every 2 mm, and between them */
    long skip = b->planes > 1 ? 2 : 1, line = lround(at->y / at->dy);
    for (long s = 0; s < b->planes; s++) {
        float z = (float)(at->z + (((double)s + 0.5) / b->planes - 0.5) * at->dz) + 18;
        setting next = setting_at(b, (vec){ (float)at->x, y, z });
        for (long from = 0; from < at->n; from += apart) {
            setting first = next;
            next = setting_at(b, (vec){ (float)(at->x + (double)(from + apart) * at->dx), y, z });
            for (long i = from; i < at->n && i < from + apart; i++) {
                if ((i + line + s) % skip)
                    continue;
                setting here = setting_between(&first, &next, (float)(i - from) / (float)apart);
                value[i] += at_point(b, (vec){ (float)(at->x + (double)i * at->dx), y, z }, &here) * (float)skip / (float)b->planes;
            }
        }
    }
    return 0;
}

static int measure(kr_scan **out, const kr_simulate *how, const kr_trace *trace)
{
    const struct sequence *q = NULL;
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++)
        if (how->contrast && !strcmp(how->contrast, sequences[i].contrast))
            q = &sequences[i];
    if (!q)
        return kr_fail(KR_EUSAGE, "there is no contrast '%s'; known are t1, t2, pd, flair", how->contrast ? how->contrast : "");
    kr_auto brain *b = kr_alloc_zero(1, sizeof *b);
    kr_auto char *protocol = kr_strf("brain %s", q->contrast);
    if (!b || !protocol)
        return kr_error_code();
    for (int t = 0; t < TISSUES; t++)
        b->S[t] = signal(q, t) / signal(q, WHITE);
    b->edge = how->n[2] > 1 ? 1 : 1.2f;
    b->planes = how->n[2] > 1 ? 1 : 4;
    make_field(&b->bend, 1, 160, 90);
    make_field(&b->folds, 2, 25, 18);
    make_field(&b->ripples, 3, 17, 11);
    make_field(&b->depth, 4, 70, 40);
    make_field(&b->layers, 5, 80, 40);
    make_field(&b->texture, 6, 40, 15);
    kr_object o = { .row = row, .type = KR_R32, .self = b, .fov_mm = { 240, 240, 200 }, .protocol = protocol,
                    .tr_ms = q->tr, .te_ms = q->te, .ti_ms = q->ti };
    return kr_measure(out, &o, how, trace);
}

const kr_phantom kr_phantom_brain = { "brain", "head with folded cortex, deep nuclei, ventricles, vessels, lesions, skull and scalp; four contrasts",
    "tissue values at 3 T: Wansapura et al., J Magn Reson Imaging 9:531 (1999); Stanisz et al., Magn Reson Med 54:507 (2005); "
    "Gold et al., Am J Roentgenol 183:343 (2004); Lin et al., J Magn Reson Imaging 14:497 (2001)", measure };
