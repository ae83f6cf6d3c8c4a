/* Projections as people have them: TIFF files and folders, angles in text, geometry of RTK, ASTRA, Nikon and SkyScan, raw files with a header, LoDoPaB,
 * DICOM-CT-PD as DCMTK writes it. */
#include "files.h"
#include "h5text.h"
#include "kray/projections.h"
#include <sys/stat.h>
#include <tiffio.h>

static const char *text_file(const char *name, const char *format, ...)
{
    const char *path = scratch(name);
    FILE *f = fopen(path, "w");
    va_list more;
    va_start(more, format);
    vfprintf(f, format, more);
    va_end(more);
    fclose(f);
    return path;
}

/* Pages of w x h numbers: page p, row y, column x is first + 100 p + 10 y + x. */
static void tiff(const char *path, const char *mode, int w, int h, int pages, int bits, int format, int first, int packed, int tiled)
{
    TIFF *t = TIFFOpen(path, mode);
    assert_non_null(t);
    for (int p = 0; p < pages; p++) {
        TIFFSetField(t, TIFFTAG_IMAGEWIDTH, w);
        TIFFSetField(t, TIFFTAG_IMAGELENGTH, h);
        TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, bits);
        TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 1);
        TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, format);
        TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
        TIFFSetField(t, TIFFTAG_COMPRESSION, packed);
        unsigned char all[64 * 64 * 8] = { 0 };
        int W = tiled ? 16 : w, H = tiled ? 16 : h;
        if (tiled) {
            TIFFSetField(t, TIFFTAG_TILEWIDTH, 16);
            TIFFSetField(t, TIFFTAG_TILELENGTH, 16);
        } else
            TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 2);
        for (int y0 = 0; y0 < h; y0 += H)
            for (int x0 = 0; x0 < w; x0 += W) {
                for (int y = 0; y < H; y++)
                    for (int x = 0; x < W; x++) {
                        int v = first + 100 * p + 10 * (y0 + y) + x0 + x;
                        unsigned char *to = all + (y * W + x) * bits / 8;
                        if (format == SAMPLEFORMAT_IEEEFP)
                            memcpy(to, bits == 32 ? (void *)&(float){ (float)v } : (void *)&(double){ v }, (size_t)bits / 8);
                        else
                            memcpy(to, bits == 8 ? (void *)&(uint8_t){ (uint8_t)v } : bits == 16 ? (void *)&(uint16_t){ (uint16_t)v } : (void *)&(uint32_t){ (uint32_t)v }, (size_t)bits / 8);
                    }
                if (tiled)
                    TIFFWriteTile(t, all, (uint32_t)x0, (uint32_t)y0, 0, 0);
                else
                    for (int y = 0; y < h; y++)
                        TIFFWriteScanline(t, all + y * w * bits / 8, (uint32_t)y, 0);
            }
        TIFFWriteDirectory(t);
    }
    TIFFClose(t);
}

static void tiffs(void **state)
{
    (void)state;
    static const struct { const char *mode; int bits, format, packed, tiled; } kinds[] = {
        { "w", 16, SAMPLEFORMAT_UINT, COMPRESSION_NONE, 0 }, { "wb", 16, SAMPLEFORMAT_UINT, COMPRESSION_LZW, 0 }, { "wl", 32, SAMPLEFORMAT_IEEEFP, COMPRESSION_ADOBE_DEFLATE, 0 },
        { "w8", 32, SAMPLEFORMAT_UINT, COMPRESSION_NONE, 1 }, { "wb", 64, SAMPLEFORMAT_IEEEFP, COMPRESSION_NONE, 0 }, { "w", 8, SAMPLEFORMAT_UINT, COMPRESSION_PACKBITS, 0 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *path = scratch("one.tif");
        tiff(path, kinds[i].mode, 20, 6, 2, kinds[i].bits, kinds[i].format, 3, kinds[i].packed, kinds[i].tiled);
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_projections_array(&a, path), 0);
        assert_true(a->n[KR_U] == 20 && a->n[KR_V] == 6 && a->n[KR_VIEW] == 2);
        for (int k = 0; k < 240; k++)
            assert_true(KR_R(a)[k] == (float)(3 + 100 * (k / 120) + 10 * (k / 20 % 6) + k % 20));
        long n;
        unsigned char *b = slurp(path, &n);                          /* cut short anywhere: refused, or fewer pages */
        for (long k = 0; k < n; k += 7) {
            FILE *f = fopen(scratch("cut.tif"), "wb");
            fwrite(b, 1, (size_t)k, f);
            fclose(f);
            kr_scoped(array) c = NULL;
            if (kr_projections_array(&c, scratch("cut.tif")))
                kr_error_clear();
        }
        free(b);
    }
    kr_scoped(array) sino = NULL;
    tiff(scratch("sino.tif"), "w", 8, 5, 1, 16, SAMPLEFORMAT_UINT, 0, COMPRESSION_NONE, 0);
    assert_int_equal(kr_projections_array(&sino, scratch("sino.tif")), 0);
    assert_true(sino->n[KR_U] == 8 && sino->n[KR_V] == 1 && sino->n[KR_VIEW] == 5 && KR_R(sino)[9] == 11);
    /* a folder, by number */
    mkdir(scratch("stack"), 0755);
    static const int numbers[] = { 10, 9, 1, 100 };
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "stack/scan_%d.tif", numbers[i]);
        tiff(scratch(name), "w", 8, 5, 1, 16, SAMPLEFORMAT_UINT, 10 * numbers[i], COMPRESSION_NONE, 0);
    }
    kr_scoped(array) stack = NULL;
    kr_scoped(array) rows = NULL;
    assert_int_equal(kr_projections_array(&stack, scratch("stack")), 0);
    assert_true(stack->n[KR_VIEW] == 4);
    static const float begins[] = { 10, 90, 100, 1000 };
    for (int i = 0; i < 4; i++)
        assert_true(KR_R(stack)[40 * i] == begins[i]);
    kr_auto char *aside = kr_strf("%s@v,view,u", scratch("stack"));  /* of sinograms, one a row */
    assert_int_equal(kr_projections_array(&rows, aside), 0);
    assert_true(rows->n[KR_V] == 4 && rows->n[KR_VIEW] == 5 && KR_R(rows)[8] == 90);
    tiff(scratch("stack/scan_11.tif"), "w", 8, 6, 1, 16, SAMPLEFORMAT_UINT, 0, COMPRESSION_NONE, 0);
    kr_scoped(array) no = NULL;
    assert_true(kr_projections_array(&no, scratch("stack")) < 0);
    assert_refused(KR_ESHAPE, "8 x 6 pixels, the first one of 8 x 5");
}

static void angles(void **state)
{
    (void)state;
    kr_projections p = { 0 };
    const char *path = text_file("angles.txt", "# degrees\n0 0.5, 1.5;\n-3e1\n");
    assert_int_equal(kr_projections_angles(&p, path), 0);
    assert_int_equal(p.views, 4);
    assert_near(p.angle[3], -30, 1e-12);
    text_file("angles.txt", "\xef\xbb\xbf%% degrees\r\n0\r\n7.5\r\n");      /* of Windows, with the mark of UTF-8 */
    assert_int_equal(kr_projections_angles(&p, path), 0);
    assert_true(p.views == 2);
    assert_near(p.angle[1], 7.5, 1e-12);
    text_file("angles.txt", "0\n1\nlast\n");
    assert_true(kr_projections_angles(&p, path) < 0);
    assert_refused(KR_EFORMAT, "'last' is no number");
    kr_free(p.angle);
}

static kr_projections *bare(long columns, long rows, long views)
{
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = columns, [KR_V] = rows, [KR_VIEW] = views));
    return p;
}

static void same_rays(const kr_rays *a, const kr_rays *b, double most)
{
    assert_true(a && b && a->views == b->views && a->columns == b->columns && a->rows == b->rows && a->beam == b->beam && a->curved == b->curved);
    for (long i = 0; i < a->views; i++)
        for (int c = 0; c < 4; c++) {
            double p[3], d[3], q[3], e[3];
            kr_ray(a, i, c % 2 ? 0 : (double)(a->columns - 1), c / 2 ? 0 : (double)(a->rows - 1), p, d);
            kr_ray(b, i, c % 2 ? 0 : (double)(a->columns - 1), c / 2 ? 0 : (double)(a->rows - 1), q, e);
            for (int k = 0; k < 3; k++) {
                assert_near(p[k], q[k], most);
                assert_near(d[k], e[k], most);
            }
        }
}

static void rtk(void **state)
{
    (void)state;
    const char *sample = shared("samples/ct/rtk_geometry_4proj.xml");
    NEED_SHARED("samples/ct/rtk_geometry_4proj.xml");
    kr_projections *p = bare(40, 30, 4);
    assert_true(kr_projections_geometry(p, sample) < 0);
    assert_refused(KR_EUSAGE, "size of detector elements");
    kr_auto char *with = kr_strf("%s:pixel=0.8", sample);
    assert_int_equal(kr_projections_geometry(p, with), 0);
    double nine[4][9] = { { 1000, 1536, 0 }, { 1000, 1536, 90, 5 }, { 1000, 1536, 180 }, { 1000, 1536, 270 } }, origin[2] = { -0.8 * 19.5, -0.8 * 14.5 };
    kr_detector d = { 40, 30, { 0.8, 0.8 }, { 0, 0 } };
    kr_rays *r = kr_rays_rtk(&d, origin, 4, (const double (*)[9])nine), *own = kr_projections_rays(p, 30, 19.5);
    same_rays(own, r, 1e-9);
    kr_rays_unref(&own);
    kr_rays_unref(&r);
    kr_auto char *both = kr_strf("%s:pixel=0.8,sod=500", sample);
    assert_true(kr_projections_geometry(p, both) < 0);
    assert_refused(KR_EUSAGE, "would contradict it");
    long n;
    char *text = (char *)slurp(sample, &n), *at;
    text[n] = 0;
    at = strstr(text, "<GantryAngle>90");
    memcpy(at + strlen("<GantryAngle>"), "91", 2);
    kr_auto char *turned = kr_strf("%s:pixel=0.8", text_file("turned.xml", "%s", text));
    assert_true(kr_projections_geometry(p, turned) < 0);
    assert_refused(KR_EFORMAT, "contradicts its parameters");
    free(text);
    text_file("other.xml", "<RTKThreeDCircularGeometry><SourceToIsocenterDistance>10</SourceToIsocenterDistance><Projection><gantryAngle>9</gantryAngle></Projection></RTKThreeDCircularGeometry>");
    assert_true(kr_projections_geometry(p, scratch("other.xml")) < 0);
    assert_refused(KR_EFORMAT, "gantryAngle is no parameter");
    text_file("other.xml", "<a/>");
    assert_true(kr_projections_geometry(p, scratch("other.xml")) < 0);
    assert_refused(KR_EFORMAT, "not RTKThreeDCircularGeometry");
    kr_projections_unref(&p);
}

/* What RTK itself wrote for its nine parameters. */
static void rtk_golden(void **state)
{
    (void)state;
    NEED_SHARED("golden/ct_rtk.h5");
    hid_t f = H5Fopen(shared("golden/ct_rtk.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t d = H5Dopen2(f, "all_nine_parameters/inputs/geometry_xml", H5P_DEFAULT);
    assert_true(d >= 0);
    hid_t s = H5Dget_space(d);
    long n = H5Sget_simple_extent_npoints(s);
    char *text = calloc((size_t)n + 1, 1);
    H5Dread(d, H5T_NATIVE_CHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, text);
    H5Sclose(s);
    H5Dclose(d);
    H5Fclose(f);
    kr_projections *p = bare(10, 10, 1);
    kr_auto char *with = kr_strf("%s:pixel=1", text_file("nine.xml", "%s", text));
    int e = kr_projections_geometry(p, with);
    if (e)
        fail_msg("%s", kr_error());
    assert_true(p->rays->views > 1 && p->rays->beam == KR_DIVERGENT);
    free(text);
    kr_projections_unref(&p);
}

static void astra(void **state)
{
    (void)state;
    double angle[5] = { 0, 1, 2, 3, 4 };
    kr_detector d = { 20, 12, { 1.5, 0 }, { 0.7, -0.3 } };
    kr_rays *r = kr_rays_cone(&d, 100, 160, false, 5, angle, NULL);
    kr_scoped(array) v = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 12, [KR_Y] = 5));
    for (long i = 0; i < 5; i++)
        for (int k = 0; k < 12; k++)
            KR_R(v)[12 * i + k] = (float)(k < 3 ? r->source[i][k] : k < 6 ? r->centre[i][k - 3] : k < 9 ? r->u[i][k - 6] : r->v[i][k - 9]);
    assert_int_equal(kr_array_write(v, NULL, scratch("vectors.npy")), 0);
    kr_projections *p = bare(20, 12, 5);
    kr_auto char *said = kr_strf("cone:vectors=%s", scratch("vectors.npy")), *flat = kr_strf("fan:vectors=%s", scratch("vectors.npy")), *both = kr_strf("%s,sod=3", said),
                 *named = kr_strf("%s:v", said);
    assert_int_equal(kr_projections_geometry(p, said), 0);
    kr_rays *own = kr_projections_rays(p, 12, 9.5);
    same_rays(own, r, 1e-4);                                         /* vectors came as floats of up to 160 */
    kr_rays_unref(&own);
    kr_scoped(array) turned = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 5, [KR_Y] = 12));      /* as MATLAB's lie */
    FILE *f = fopen(scratch("vectors.txt"), "w");                    /* and as text */
    fputs("# source, centre, u, v\n", f);
    for (long i = 0; i < 60; i++) {
        KR_R(turned)[i % 12 * 5 + i / 12] = KR_R(v)[i];
        fprintf(f, "%.9g%s", (double)KR_R(v)[i], i % 12 == 11 ? "\r\n" : ", ");
    }
    fclose(f);
    assert_int_equal(kr_array_write(turned, NULL, scratch("turned.npy")), 0);
    for (int k = 0; k < 2; k++) {
        kr_auto char *other = kr_strf("cone:vectors=%s", k ? scratch("vectors.txt") : scratch("turned.npy"));
        assert_int_equal(kr_projections_geometry(p, other), 0);
        own = kr_projections_rays(p, 12, 9.5);
        same_rays(own, r, 1e-4);
        kr_rays_unref(&own);
    }
    text_file("vectors.txt", "1 2 3 4 5 6\n7 8 9\n");
    kr_auto char *uneven = kr_strf("cone:vectors=%s", scratch("vectors.txt"));
    assert_true(kr_projections_geometry(p, uneven) < 0);
    assert_refused(KR_ESHAPE, "not 9 numbers");
    own = kr_projections_rays(p, 12, 8.5);                           /* the axis a column lower: the detector a column further */
    assert_near(own->centre[2][0] - p->rays->centre[2][0], p->rays->u[2][0], 1e-9);
    kr_rays_unref(&own);
    kr_rays_unref(&r);
    assert_true(kr_projections_geometry(p, flat) < 0);
    assert_refused(KR_EUSAGE, "of a cone or parallel3d beam");
    assert_true(kr_projections_geometry(p, both) < 0);
    assert_refused(KR_EUSAGE, "would contradict them");
    assert_true(kr_projections_geometry(p, named) < 0);
    assert_refused(KR_EUSAGE, "one array without a name");
    kr_projections_unref(&p);
    kr_projections *less = bare(20, 12, 4);
    assert_int_equal(kr_projections_geometry(less, said), 0);
    assert_null(kr_projections_rays(less, 12, 9.5));
    assert_refused(KR_ESHAPE, "5 angles for 4 views");
    kr_projections_unref(&less);
}

static void words(void **state)
{
    (void)state;
    kr_projections *p = bare(4, 2, 3);
    for (long i = 0; i < 24; i++)
        KR_R(p->y)[i] = (float)i;
    assert_int_equal(kr_projections_geometry(p, "cone:sod=10,sdd=20,pixel=1,row=2,angles=0:90:3,turn=right,flip=u"), 0);
    assert_true(KR_R(p->y)[0] == 3 && KR_R(p->y)[4] == 7);
    assert_near(p->angle[1], -30, 1e-12);
    assert_near(p->pixel[1], 2, 1e-12);
    assert_int_equal(kr_projections_geometry(p, "cone:sod=10,sdd=20,pixel=1,flip=uv"), 0);
    assert_true(KR_R(p->y)[0] == 4 && KR_R(p->y)[4] == 0);
    static const char *const wrong[][2] = { { "spiral", "neither a geometry nor a file" }, { "cone:sod=10,sdd=20,pixel=1,turn=up", "left or right" },
                                            { "cone:sod=10,sdd=20,pixel=1,flip=x", "u, v or uv" }, { "parallel3d:sod=3", "say nothing" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_true(kr_projections_geometry(p, wrong[i][0]) < 0);
        assert_refused(KR_EUSAGE, wrong[i][1]);
        p->sod = p->sdd = 0;
    }
    kr_projections_unref(&p);
}

static void scanners(void **state)
{
    (void)state;
    mkdir(scratch("nikon"), 0755);
    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "nikon/ball_%04d.tif", i);
        tiff(scratch(name), "w", 16, 10, 1, 16, SAMPLEFORMAT_UINT, 1000 * i, COMPRESSION_NONE, 0);
    }
    const char *path = text_file("nikon/ball.xtekct", "[XTekCT]\nName=ball\nSrcToObject=100\nSrcToDetector=400\nDetectorPixelsX=16\nDetectorPixelsY=10\nDetectorPixelSizeX=0.4\n"
                                 "DetectorPixelSizeY=0.5\nProjections=3\nInitialAngle=20\nAngularStep=120\nObjectOffsetX=0.25\nWhiteLevel=59000\nInputFolderName=\n");
    kr_projections *p = NULL;
    int e = kr_projections_read(&p, path, NULL);
    if (e)
        fail_msg("%s", kr_error());
    assert_true(p->y->n[KR_VIEW] == 3 && KR_R(p->y)[160] == 2000 && KR_R(p->white)[7] == 59000 && p->volume);
    /* An object that turns clockwise sees its source turn counter-clockwise; columns run to the left of who looks from the source, rows downwards. */
    double t = (20 + 120 - 180) * M_PI / 180, c = cos(t), s = sin(t);
    assert_near(p->rays->source[1][0], 0.25 * c + 100 * s, 1e-9);
    assert_near(p->rays->source[1][1], 0.25 * s - 100 * c, 1e-9);
    assert_near(p->rays->centre[1][0], 0.25 * c - 300 * s, 1e-9);
    assert_near(p->rays->u[1][0], -0.4 * c, 1e-9);
    assert_near(p->rays->v[1][2], -0.5, 1e-9);
    float first = KR_R(p->y)[160], last = KR_R(p->y)[175];           /* columns the other way about, and all else as the file has it */
    assert_int_equal(kr_projections_geometry(p, "cone:flip=u"), 0);
    assert_true(p->rays && first != last && KR_R(p->y)[175] == first && KR_R(p->y)[160] == last);
    assert_near(p->rays->centre[1][0], 0.25 * c - 300 * s, 1e-9);
    assert_int_equal(kr_projections_geometry(p, "cone:turn=right"), KR_EUSAGE);
    assert_refused(KR_EUSAGE, "flip=u turns the detector's columns");
    kr_projections_unref(&p);
    text_file("nikon/ball.xtekct", "WhiteLevel = 59000\r\nAngularStep = 120\r\nInitialAngle = 20\r\nProjections = 3\r\nDetectorPixelSizeY = 0,5\r\nDetectorPixelSizeX = 0,4\r\nDetectorPixelsY = 10\r\n"
              "DetectorPixelsX = 16\r\nSrcToDetector = 400\r\nSrcToObject = 100,5\r\nName = ball\r\n");      /* another order, decimal commas */
    assert_int_equal(kr_projections_read(&p, path, NULL), 0);
    assert_near(p->rays->source[1][0], 100.5 * s, 1e-9);
    assert_near(p->rays->v[1][2], -0.5, 1e-9);
    kr_projections_unref(&p);
    text_file("nikon/ball.xtekct", "Name=ball\nSrcToObject=100\nSrcToDetector=400\nDetectorPixelsX=16\nDetectorPixelsY=10\nDetectorPixelSizeX=0.4\nDetectorPixelSizeY=0.5\n"
              "Projections=4\nAngularStep=90\nWhiteLevel=59000\n");
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EFORMAT, "4 projections are announced, 3 TIFF files");
    text_file("nikon/ball.xtekct", "Name=ball\nSrcToObject=100\n");
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EFORMAT, "Projections is missing");
    text_file("nikon/ball.xtekct", "Name=ball\nSrcToObject=100\nSrcToDetector=400\nDetectorPixelsX=16\nDetectorPixelsY=10\nDetectorPixelSizeX=0.4\nDetectorPixelSizeY=0.5\n"
              "Projections=900000000\nAngularStep=90\nWhiteLevel=59000\n");                    /* a claim is no reason to ask for room */
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EFORMAT, "900000000 projections are announced, 3 TIFF files");
    assert_true(kr_mem_peak() < (size_t)1 << 30);
    path = text_file("nikon/ball.log", "[System]\nScanner=SkyScan1172\n[Acquisition]\nFilename Prefix= ball_\nNumber of Files= 3\nNumber of Rows= 10\nNumber of Columns= 16\n"
                     "Image Pixel Size (um)=20.0\nObject to Source (mm)=50.0\nCamera to Source (mm)=200.0\nOptical Axis (line)=4\nRotation Step (deg)=0.5\nDepth (bits)=16\n");
    e = kr_projections_read(&p, path, NULL);
    if (e)
        fail_msg("%s", kr_error());
    assert_near(p->rays->u[0][0], 0.08, 1e-12);
    assert_near(p->rays->centre[0][2], 0.5 * 0.08, 1e-12);
    assert_near(p->rays->source[1][0], -50 * sin(0.5 * M_PI / 180), 1e-9);
    assert_true(KR_R(p->white)[0] == 65535);
    kr_projections_unref(&p);
}

static void raw(void **state)
{
    (void)state;
    FILE *f = fopen(scratch("scan.raw"), "wb");
    fwrite("skip", 1, 4, f);
    for (int i = 0; i < 6 * 5 * 4; i++)
        fwrite((unsigned char[2]){ (unsigned char)(i >> 8), (unsigned char)i }, 1, 2, f);
    fclose(f);
    const char *path = text_file("scan.mhd", "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_USHORT\nElementByteOrderMSB = True\nHeaderSize = 4\n"
                                 "ElementSpacing = 0.5 0.7 1\nOffset = -2 -1.4 0\nElementDataFile = scan.raw\n");
    kr_projections *p = NULL;
    int e = kr_projections_read(&p, path, NULL);
    if (e)
        fail_msg("%s", kr_error());
    assert_true(p->y->n[KR_U] == 6 && p->y->n[KR_V] == 5 && p->y->n[KR_VIEW] == 4 && KR_R(p->y)[119] == 119 && KR_R(p->y)[7] == 7);
    assert_near(p->pixel[1], 0.7, 1e-12);
    assert_near(p->middle[0], -2 + 0.5 * 2.5, 1e-12);
    assert_near(p->middle[1], 0, 1e-12);
    kr_projections_unref(&p);
    text_file("scan.mhd", "NDims=3\r\nDimSize=6 5 4\r\nElementSize=0.5 0.7 1\r\nElementByteOrderMSB=True\r\nHeaderSize=-1\r\nElementType=MET_USHORT\r\nElementDataFile=scan.raw\r\n");
    assert_int_equal(kr_projections_read(&p, path, NULL), 0);
    assert_true(KR_R(p->y)[119] == 119 && p->lengths);
    assert_near(p->pixel[1], 0.7, 1e-12);
    kr_projections_unref(&p);
    text_file("scan.mhd", "NDims = 3\nDimSize = 6 5 4\nBinaryData = False\nElementType = MET_USHORT\nElementDataFile = scan.raw\n");
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EFORMAT, "numbers as text are not read");
    text_file("scan.mhd", "ObjectType = Image\nNDims = 3\nDimSize = 6 5 40\nElementType = MET_USHORT\nElementDataFile = scan.raw\n");
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EFORMAT, "holds 244 bytes");
}

/* Sinograms, as the attribute `axes` says, and angles in radians. */
static void dataexchange(void **state)
{
    (void)state;
    float y[40], theta[5];
    for (int i = 0; i < 40; i++)
        y[i] = (float)i;
    for (int i = 0; i < 5; i++)
        theta[i] = (float)(i * M_PI / 5);
    hid_t f = H5Fcreate(scratch("exchange.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), g = H5Gcreate2(f, "exchange", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t s = H5Screate_simple(3, (hsize_t[]){ 2, 5, 4 }, NULL), d = H5Dcreate2(g, "data", H5T_NATIVE_FLOAT, s, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, y);
    h5_text(d, "axes", "y:theta:x");
    H5Dclose(d);
    H5Sclose(s);
    s = H5Screate_simple(1, (hsize_t[]){ 5 }, NULL);
    d = H5Dcreate2(g, "theta", H5T_NATIVE_FLOAT, s, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, theta);
    h5_text(d, "units", "radians");
    H5Dclose(d);
    H5Sclose(s);
    H5Gclose(g);
    H5Fclose(f);
    kr_projections *p = NULL;
    int e = kr_projections_read(&p, scratch("exchange.h5"), NULL);
    if (e)
        fail_msg("%s", kr_error());
    assert_true(p->y->n[KR_VIEW] == 5 && p->y->n[KR_V] == 2 && p->y->n[KR_U] == 4);
    assert_true(KR_R(p->y)[4] == 20 && KR_R(p->y)[8] == 4);          /* row 1 of view 0, row 0 of view 1 */
    assert_near(p->angle[2], 72, 1e-4);
    kr_projections_unref(&p);
}

static void lodopab(void **state)
{
    (void)state;
    NEED_SHARED("samples/ct/lodopab_like_observation_train_000.hdf5");
    const char *path = shared("samples/ct/lodopab_like_observation_train_000.hdf5");
    kr_auto char *second = kr_strf("%s:1", path), *beyond = kr_strf("%s:9999", path), *all = kr_strf("%s:data@batch,view,u", path);
    kr_projections *p = NULL;
    kr_scoped(array) a = NULL;
    assert_int_equal(kr_projections_read(&p, second, NULL), 0);
    assert_int_equal(kr_array_read(&a, all), 0);
    long n = p->y->n[KR_U] * p->y->n[KR_VIEW];
    kr_scoped(array) one = kr_array_at(a, KR_BATCH, 1);
    kr_scoped(array) packed = one ? kr_array_packed(one) : NULL;
    for (long i = 0; i < n; i += 13)
        assert_near(KR_R(p->y)[i], 1000 * KR_R(packed)[i], 1e-3f);
    assert_near(p->angle[0], 90.0 / (double)p->views, 1e-9);
    assert_near(p->pixel[0] * (double)p->y->n[KR_U], 2 * 183.847763, 1e-5);
    assert_int_equal(p->grid.n[0], 362);
    kr_projections_unref(&p);
    assert_true(kr_projections_read(&p, beyond, NULL) < 0);
    assert_refused(KR_EUSAGE, "they count from 0");
}

/* Three views by DCMTK's dump2dcm: of 12 channels and 3 rows, numbers as FL and US or, unknown, as bytes. */
static void dicom(void **state)
{
    (void)state;
    if (system("dump2dcm --version >/dev/null 2>&1")) {
        print_message("skipped: dump2dcm (of the package dcmtk) is not installed\n");
        skip();
    }
    mkdir(scratch("pd"), 0755);
    for (int i = 0; i < 3; i++) {
        kr_text t = { 0 };
        float far = 1000;
        unsigned char b[4];
        memcpy(b, &far, 4);
        kr_text_add(&t, "(0008,0016) UI 1.2.840.10008.5.1.4.1.1.66\n(0008,0018) UI 1.2.3.%d\n(0028,0002) US 1\n(0028,0010) US 12\n(0028,0011) US 3\n(0028,0100) US 16\n(0028,0101) US 16\n"
                    "(0028,0103) US 0\n(0028,1052) DS -0.5\n(0028,1053) DS 0.001\n(7029,1002) FL 1.25\n(7029,1006) FL 1.5\n(7029,1010) US 3\n(7029,1011) UN 0c\\00\n(7031,1001) FL %g\n"
                    "(7031,1002) FL %g\n(7031,1003) FL 600\n(7031,1031) UN %02x\\%02x\\%02x\\%02x\n(7031,1033) FL 3.25\\2\n(7041,1001) DS 0.192\n(7fe0,0010) OW ",
                    i, 0.5 * i, 10.0 + i, b[0], b[1], b[2], b[3]);
        for (int k = 0; k < 36; k++)
            kr_text_add(&t, "%s%04x", k ? "\\" : "", 1000 * i + k);
        kr_text_add(&t, "\n");
        text_file("pd.dump", "%s", t.s);
        kr_text_clear(&t);
        char command[2000];
        snprintf(command, sizeof command, "dump2dcm -q '%s' '%s/%d.dcm' 2>/dev/null", scratch("pd.dump"), scratch("pd"), i + 9);      /* 9, 10, 11: by number */
        if (system(command)) {
            print_message("skipped: dump2dcm does not take the dump\n");
            skip();
        }
    }
    kr_projections *p = NULL;
    int e = kr_projections_read(&p, scratch("pd"), NULL);
    if (e)
        fail_msg("%s", kr_error());
    if (!p->kind || strcmp(p->kind, "DICOM-CT-PD")) {
        print_message("skipped: built without DICOM\n");
        skip();
    }
    assert_true(p->y->n[KR_U] == 12 && p->y->n[KR_V] == 3 && p->y->n[KR_VIEW] == 3 && p->integrals && p->volume && p->curved);
    /* channel u, row v, of view 2: stored row by row of channels */
    assert_near(KR_R(p->y)[(2 * 3 + 1) * 12 + 4], 0.001 * (2000 + 4 * 3 + 1) - 0.5, 1e-6);
    assert_near(p->water, 0.0192, 1e-9);
    assert_near(p->rays->source[1][0], -600 * sin(0.5), 1e-4);
    assert_near(p->rays->source[1][1], 600 * cos(0.5), 1e-4);
    assert_near(p->rays->source[2][2], 12, 1e-6);
    double at[3], d[3];                                              /* through the axis: the central element, between its neighbours */
    kr_ray(p->rays, 1, 2.25, 1, at, d);
    assert_near(d[0], sin(0.5), 1e-6);
    assert_near(d[1], -cos(0.5), 1e-6);
    assert_near(d[2], 0, 1e-6);
    kr_projections_unref(&p);
}

/* Lengths of HTC 2022 files are millimetres where they say so. */
static void other_units(void **state)
{
    (void)state;
    NEED_SHARED("samples/ct/htc2022_like_full.mat");
    long n, found = 0;
    unsigned char *b = slurp(shared("samples/ct/htc2022_like_full.mat"), &n);
    for (long i = 0; i + 6 <= n; i++)
        if (!memcmp(b + i, (unsigned char[6]){ 16, 0, 2, 0, 'm', 'm' }, 6)) {
            b[i + 4] = 'c';
            found++;
        }
    assert_true(found > 0);
    const char *path = scratch("cm.mat");
    spill(path, b, n);
    kr_projections *p = NULL;
    assert_true(kr_projections_read(&p, path, NULL) < 0);
    assert_refused(KR_EREFUSED, "distances in 'cm' (CtDataFull.parameters.distanceUnit)");
    assert_null(p);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tiffs), cmocka_unit_test(angles), cmocka_unit_test(rtk), cmocka_unit_test(rtk_golden), cmocka_unit_test(astra),
                                        cmocka_unit_test(words), cmocka_unit_test(scanners), cmocka_unit_test(raw), cmocka_unit_test(dataexchange), cmocka_unit_test(lodopab), cmocka_unit_test(other_units), cmocka_unit_test(dicom) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
