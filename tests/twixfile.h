/* twixfile.h: writes small Siemens raw data files of both kinds, from their published layout alone (pehses/twixtools, mdh_def.py):
 * what tests and fuzzing start from. */
#ifndef KRAY_TWIXFILE_H
#define KRAY_TWIXFILE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct twix_line { uint64_t eval; int line, slice, partition, average, segment, repetition, channels, samples, centre; float z; } twix_line;
typedef struct twix_bytes { unsigned char b[1 << 18]; size_t n; } twix_bytes;

static inline void twix_put(twix_bytes *t, const void *p, size_t n)
{
    if (t->n + n > sizeof t->b)
        abort();
    memcpy(t->b + t->n, p, n);
    t->n += n;
}

static inline void twix_u16(unsigned char *at, int v) { uint16_t u = (uint16_t)v; memcpy(at, &u, 2); }
static inline void twix_u32(unsigned char *at, uint32_t v) { memcpy(at, &v, 4); }
static inline void twix_f32(unsigned char *at, float v) { memcpy(at, &v, 4); }

/* Length, number, then texts with their names; padded to 32 bytes. Returns where the measurement began. */
static inline void twix_header(twix_bytes *t, const char *yaps, const char *meas)
{
    size_t from = t->n;
    const char *const part[2][2] = { { "Meas", meas }, { "MeasYaps", yaps } };
    unsigned char head[8] = { 0 };
    twix_u32(head + 4, 2);
    twix_put(t, head, 8);
    for (int k = 0; k < 2; k++) {
        uint32_t n = (uint32_t)strlen(part[k][1]) + 1;
        twix_put(t, part[k][0], strlen(part[k][0]) + 1);
        twix_put(t, &n, 4);
        twix_put(t, part[k][1], n);
    }
    while ((t->n - from) % 32)
        twix_put(t, "", 1);
    twix_u32(t->b + from, (uint32_t)(t->n - from));
}

/* What both heads have in common: from the evaluation mask to the centre partition (60 bytes), slice and quaternion (28). */
static inline void twix_common(unsigned char *v, unsigned char *slice, const twix_line *l)
{
    const int counter[9] = { l->line, l->average, l->slice, l->partition, 0, 0, l->repetition, 0, l->segment };
    memcpy(v, &l->eval, 8);
    twix_u16(v + 8, l->samples);
    twix_u16(v + 10, l->channels);
    for (int k = 0; k < 9; k++)
        twix_u16(v + 12 + 2 * k, counter[k]);
    twix_u16(v + 44, l->samples / 2);
    twix_u16(v + 56, l->centre);
    twix_f32(slice, 1);
    twix_f32(slice + 4, 2);
    twix_f32(slice + 8, l->z);
    twix_f32(slice + 12, 1);                  /* the identity: phase, readout, slice along x, y, z */
}

/* A readout; sample i of channel c is (number + i, c). number also is the scan counter. */
static inline void twix_readout(twix_bytes *t, bool vb, const twix_line *l, int number)
{
    unsigned char h[192] = { 0 };
    size_t head = vb ? 128 : 192, each = vb ? 128 : 32;
    twix_u32(h, (uint32_t)((vb ? 0 : head) + (size_t)l->channels * (each + 8 * (size_t)l->samples)));
    twix_u32(h + 8, (uint32_t)number);
    twix_common(vb ? h + 20 : h + 40, vb ? h + 96 : h + 100, l);
    if (!vb)
        twix_put(t, h, head);
    for (int c = 0; c < l->channels; c++) {
        if (vb) {
            twix_u16(h + 124, c);
            twix_put(t, h, 128);
        } else {
            unsigned char channel[32] = { 0 };
            twix_u16(channel + 24, c);
            twix_put(t, channel, 32);
        }
        for (int i = 0; i < l->samples; i++) {
            const float v[2] = { (float)(number + i), (float)c };
            twix_put(t, v, 8);
        }
    }
}

/* Data that are no readout: of the heart, of breathing; and the end. */
static inline void twix_block(twix_bytes *t, bool vb, uint64_t eval, size_t bytes)
{
    unsigned char h[192] = { 0 };
    size_t head = vb ? 128 : 192;
    twix_u32(h, (uint32_t)(head + bytes));
    memcpy(vb ? h + 20 : h + 40, &eval, 8);
    twix_put(t, h, head);
    for (size_t i = 0; i < bytes; i++)
        twix_put(t, "\x55", 1);
}

#define TWIX_BIT(n) (1ull << (n))
enum { TWIX_END = 0, TWIX_SYNC = 5, TWIX_PHASCOR = 21, TWIX_REF = 22, TWIX_REF_AND_IMAGE = 23, TWIX_REFLECT = 24, TWIX_NOISE = 25 };

static const char twix_yaps[] =
    "tProtocolName = \"\"small\"\"\nsKSpace.lBaseResolution = 4\nsKSpace.lPhaseEncodingLines\t = \t6\nsKSpace.ucDimension = 0x2\n"
    "sKSpace.ucTrajectory = 1\nsSliceArray.asSlice[0].dThickness = 5\nsSliceArray.asSlice[0].dPhaseFOV = 150\nsSliceArray.asSlice[0].dReadoutFOV = 100\n"
    "alTR[0] = 500000\nalTE[0] = 4500\nadFlipAngleDegree[0] = 30\nsRXSPEC.alDwellTime[0] = 5000\nsPat.ucRefScanMode = 4\nsPat.lAccelFactPE = 2\n";
static const char twix_meas[] =
    "<XProtocol> { <ParamDouble.\"flReadoutOSFactor\"> { <Precision> 6  2.0 } <ParamString.\"tPatientPosition\"> { \"HFS\" }\n"
    "<ParamLong.\"empty\"> { } <ParamDouble.\"flMagneticFieldStrength\"> { <Visible> \"true\" 2.9 } }\n";

/* The readouts of a small scan, two slices of every other line, with everything that a scanner puts between. */
static inline void twix_readouts(twix_bytes *t, bool vb, bool noise)
{
    int number = 1;
    if (noise)
        twix_readout(t, vb, &(twix_line){ .eval = TWIX_BIT(TWIX_NOISE), .channels = 2, .samples = 16 }, number++);
    for (int s = 0; s < 2; s++) {
        twix_line l = { .slice = s, .channels = 2, .samples = 8, .centre = 3, .z = s ? -10 : 10 };
        for (l.line = 2; l.line < 5; l.line++) {
            l.eval = TWIX_BIT(l.line == 3 ? TWIX_REF_AND_IMAGE : TWIX_REF);
            if (l.line != 3)
                twix_readout(t, vb, &l, number++);
        }
        twix_block(t, vb, TWIX_BIT(TWIX_SYNC), 40);
        l.line = 3;
        l.eval = TWIX_BIT(TWIX_PHASCOR) | TWIX_BIT(1);
        twix_readout(t, vb, &l, number++);
        for (l.line = 1; l.line < 6; l.line += 2) {
            l.eval = l.line == 3 ? TWIX_BIT(TWIX_REF_AND_IMAGE) : l.line == 5 ? TWIX_BIT(TWIX_REFLECT) : 0;
            twix_readout(t, vb, &l, number++);
        }
    }
    twix_block(t, vb, TWIX_BIT(TWIX_END), 160);
}

/* VB, echo-planar: samples on ramps, three navigators, lines forwards and backwards. */
static inline void twix_epi_file(twix_bytes *t)
{
    int number = 1;
    t->n = 0;
    twix_header(t, twix_yaps, "<XProtocol> { <ParamDouble.\"flReadoutOSFactor\"> { <Precision> 6  2.0 } <ParamLong.\"alRegridMode\"> { 2 1 }\n"
                "<ParamLong.\"alRegridRampupTime\"> { 160 0 } <ParamLong.\"alRegridRampdownTime\"> { 160 0 }\n"
                "<ParamLong.\"alRegridFlattopTime\"> { 240 0 } <ParamLong.\"alRegridDelaySamplesTime\"> { 32 0 }\n"
                "<ParamDouble.\"aflRegridADCDuration\"> { <Precision> 6 496.0 0.0 } }\n");
    for (int e = -3; e < 6; e++) {
        twix_line l = { .eval = (e & 1 ? TWIX_BIT(TWIX_REFLECT) : 0) | (e < 0 ? TWIX_BIT(TWIX_PHASCOR) : 0), .line = e < 0 ? 3 : e, .channels = 2,
                        .samples = 8, .centre = 3 };
        twix_readout(t, true, &l, number++);
    }
    twix_block(t, true, TWIX_BIT(TWIX_END), 160);
}

/* A whole file; VD: an adjustment with noise, then the scan. */
static inline void twix_file(twix_bytes *t, bool vb)
{
    t->n = 0;
    if (vb) {
        twix_header(t, twix_yaps, twix_meas);
        twix_readouts(t, true, true);
        return;
    }
    unsigned char list[8 + 2 * 152 + 24] = { 0 };
    twix_u32(list + 4, 2);
    twix_put(t, list, sizeof list);
    for (int k = 0; k < 2; k++) {
        uint64_t from = t->n, bytes;
        twix_header(t, twix_yaps, twix_meas);
        if (k)
            twix_readouts(t, false, false);
        else {
            twix_readout(t, false, &(twix_line){ .eval = TWIX_BIT(TWIX_NOISE), .channels = 2, .samples = 16 }, 1);
            twix_block(t, false, TWIX_BIT(TWIX_END), 160);
        }
        bytes = t->n - from;
        memcpy(t->b + 8 + 152 * k + 8, &from, 8);
        memcpy(t->b + 8 + 152 * k + 16, &bytes, 8);
        strcpy((char *)t->b + 8 + 152 * k + 88, k ? "small" : "AdjCoilSens");
    }
}

static inline int twix_save(const twix_bytes *t, const char *path, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    int good = f && fwrite(t->b, 1, bytes, f) == bytes;
    return f && !fclose(f) && good ? 0 : -1;
}
#endif
