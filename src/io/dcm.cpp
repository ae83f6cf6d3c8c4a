/* dcm.cpp: see dcm.h. */
#include "dcm.h"
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

struct kr_dcm { DcmFileFormat file; };

static DcmTagKey key_of(uint32_t tag) { return DcmTagKey((Uint16)(tag >> 16), (Uint16)(tag & 0xffff)); }

static void ready()
{
    static std::once_flag once;
    std::call_once(once, [] {
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);           /* what goes wrong is told by refusals */
        DcmRLEDecoderRegistration::registerCodecs();
        DJDecoderRegistration::registerCodecs();
        DJLSDecoderRegistration::registerCodecs();
    });
}

kr_dcm *kr_dcm_new(void)
{
    ready();
    kr_dcm *d = new (std::nothrow) kr_dcm;
    if (!d)
        kr_fail(KR_EMEM, "no memory for a DICOM data set");
    return d;
}

kr_dcm *kr_dcm_read(const char *path, bool pixels)
{
    kr_dcm *d = kr_dcm_new();
    if (!d)
        return nullptr;
    try {
        OFCondition c = d->file.loadFile(path, EXS_Unknown, EGL_noChange, pixels ? DCM_MaxReadLength : 4096);
        if (c.good())
            return d;
        kr_fail(KR_EFORMAT, "%s: no DICOM file that can be read: %s", path, c.text());
    } catch (const std::bad_alloc &) {
        kr_fail(KR_EMEM, "%s: no memory for the DICOM data set", path);
    }
    kr_dcm_unref(&d);
    return nullptr;
}

void kr_dcm_unref(kr_dcm **d)
{
    delete *d;
    *d = nullptr;
}

long kr_dcm_frames(const kr_dcm *d)
{
    OFString s;
    long n = const_cast<kr_dcm *>(d)->file.getDataset()->findAndGetOFString(DCM_NumberOfFrames, s).good() ? strtol(s.c_str(), nullptr, 10) : 1;
    return n < 1 ? 1 : n;
}

static bool found(OFString &s, DcmItem *in, const DcmTagKey &key, bool deep)
{
    return in && in->findAndGetOFStringArray(key, s, deep).good() && !s.empty();
}

bool kr_dcm_text(char *room, size_t size, kr_dcm *d, long frame, uint32_t tag)
{
    bool there = false;
    *room = 0;
    try {
        DcmDataset *set = d->file.getDataset();
        DcmSequenceOfItems *each = nullptr;
        DcmItem *own = nullptr, *shared = nullptr;
        OFString s;
        if (set->findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, each).good() && each && frame < (long)each->card())
            own = each->getItem((unsigned long)frame);
        (void)set->findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, shared);
        there = found(s, own, key_of(tag), true) || found(s, shared, key_of(tag), true) || found(s, set, key_of(tag), false);
        if (there) {
            strncpy(room, s.c_str(), size - 1);
            room[size - 1] = 0;
        }
    } catch (const std::bad_alloc &) {
        return false;
    }
    return there;
}

int kr_dcm_numbers(double *to, int most, kr_dcm *d, long frame, uint32_t tag)
{
    char text[512];
    int n = 0;
    if (!kr_dcm_text(text, sizeof text, d, frame, tag))
        return 0;
    for (const char *p = text; n < most; n++, p++) {
        char *end;
        to[n] = strtod(p, &end);
        if (end == p)
            return n;
        for (p = end; *p == ' '; )
            p++;
        if (*p != '\\')
            return n + 1;
    }
    return n;
}

int kr_dcm_pixels(float *to, kr_dcm *d, long frame, long count)
{
    try {
        DcmDataset *set = d->file.getDataset();
        Uint16 bits = 0, stored = 0, sign = 0, samples = 1;
        (void)set->findAndGetUint16(DCM_BitsAllocated, bits);
        (void)set->findAndGetUint16(DCM_BitsStored, stored);
        (void)set->findAndGetUint16(DCM_PixelRepresentation, sign);
        (void)set->findAndGetUint16(DCM_SamplesPerPixel, samples);
        if (samples != 1)
            return kr_fail(KR_EFORMAT, "a picture of %d colours is not read", (int)samples);
        if ((bits != 8 && bits != 16) || stored < 1 || stored > bits)
            return kr_fail(KR_EFORMAT, "pixels of %d bits, %d of them used, are not read", (int)bits, (int)stored);
        OFCondition c = set->chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
        if (c.bad() || !set->canWriteXfer(EXS_LittleEndianExplicit))
            return kr_fail(KR_EFORMAT, "packed as %s, which is not read", DcmXfer(set->getOriginalXfer()).getXferName());
        const Uint8 *narrow = nullptr;
        const Uint16 *wide = nullptr;
        unsigned long n = 0;
        c = bits == 8 ? set->findAndGetUint8Array(DCM_PixelData, narrow, &n) : set->findAndGetUint16Array(DCM_PixelData, wide, &n);
        if (c.bad() || (unsigned long)(frame + 1) * (unsigned long)count > n)
            return kr_fail(KR_EFORMAT, "frame %ld wants %ld pixels, and the file holds %lu in all", frame + 1, count, n);
        const unsigned mask = stored == 16 ? 0xffffu : (1u << stored) - 1, top = 1u << (stored - 1);
        for (long i = 0; i < count; i++) {
            unsigned v = (bits == 8 ? narrow[frame * count + i] : wide[frame * count + i]) & mask;
            to[i] = (float)(sign && (v & top) ? (long)v - (long)(mask + 1ul) : (long)v);
        }
        return 0;
    } catch (const std::bad_alloc &) {
        return kr_fail(KR_EMEM, "no memory for the pixels");
    }
}

int kr_dcm_put(kr_dcm *d, uint32_t tag, const char *vr, const char *value)
{
    try {
        OFCondition c = d->file.getDataset()->putAndInsertString(DcmTag(key_of(tag), DcmVR(vr)), value);
        return c.good() ? 0 : kr_fail(KR_EREFUSED, "(%04x,%04x) cannot be '%.40s': %s", tag >> 16, tag & 0xffff, value, c.text());
    } catch (const std::bad_alloc &) {
        return kr_fail(KR_EMEM, "no memory for a DICOM data set");
    }
}

int kr_dcm_put_pixels(kr_dcm *d, const uint16_t *pixel, long count)
{
    try {
        OFCondition c = d->file.getDataset()->putAndInsertUint16Array(DCM_PixelData, pixel, (unsigned long)count);
        return c.good() ? 0 : kr_fail(KR_EREFUSED, "the pixels cannot be stored: %s", c.text());
    } catch (const std::bad_alloc &) {
        return kr_fail(KR_EMEM, "no memory for the pixels");
    }
}

int kr_dcm_write(kr_dcm *d, const char *path)
{
    try {
        OFCondition c = d->file.saveFile(path, EXS_LittleEndianExplicit);
        return c.good() ? 0 : kr_fail(KR_EFILE, "%s: cannot be written: %s", path, c.text());
    } catch (const std::bad_alloc &) {
        return kr_fail(KR_EMEM, "no memory for a DICOM file");
    }
}
