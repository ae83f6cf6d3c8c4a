/* segment.h: label volumes: distances, components, and how near a segmentation is to its reference. Volumes lie in memory [z][y][x],
 * n[0] = nx is the fastest; mm[d] is the voxel size along axis d. */
#ifndef KRAY_SEGMENT_H
#define KRAY_SEGMENT_H
#include "kray/image.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Exact Euclidean distance in mm from the centre of each voxel to that of the nearest voxel where `to` is not 0 (0 there);
 * INFINITY everywhere where there is none. Source: Felzenszwalb and Huttenlocher, Theory of Computing 8:415 (2012). */
int kr_distance(double *out, const unsigned char *to, const long n[3], const double mm[3]) KR_MUST_USE;
/* Numbers the connected components of mask (not 0) from 1 in the order of their first voxels in memory, 0 outside; neighbours: 6
 * (faces), 18 (and edges) or 26 (and corners). Returns how many, or a refusal. */
long kr_components(int32_t *out, const unsigned char *mask, const long n[3], int neighbours) KR_MUST_USE;
/* Sets to 1 what is 0 and has no path over faces of voxels that are 0 to the border of the volume. */
int kr_fill_holes(unsigned char *mask, const long n[3]) KR_MUST_USE;
/* Every label but 0 keeps its largest 26-connected component (the first in memory of equal ones); the rest becomes 0. */
int kr_labels_largest(int32_t *labels, const long n[3]) KR_MUST_USE;
/* Holes of each label, from the smallest label up, become that label where they hold 0. */
int kr_labels_fill(int32_t *labels, const long n[3]) KR_MUST_USE;

/* A volume of n voxels on a grid of m over the same extent: voxel i lies at (i + 1/2) n / m - 1/2, edges go on outwards; order of the spline along
 * each axis: 0 (nearest), 1 or 3; cubic results are clipped to the range of the input. apart (0, 1, 2; -1: none): slices along that axis
 * are resized each by itself, clipped each by itself, then that axis. As scikit-image's resize without anti-aliasing. Refuses lack of memory. */
int kr_resize(float *out, const long m[3], const float *in, const long n[3], const int order[3], int apart) KR_MUST_USE;
/* out at voxel v = the linear interpolation of in at to_in v (3 x 4, row-major, in voxels); 0 outside. Of labels: the label whose own map is
 * largest there (the smaller of equals). */
int kr_sample(float *out, const long m[3], const float *in, const long n[3], const double to_in[12]) KR_MUST_USE;
int kr_sample_labels(int32_t *out, const long m[3], const int32_t *in, const long n[3], const double to_in[12]) KR_MUST_USE;

/* Where windows of `patch` voxels begin on n voxels, each at most step x patch further than the one before, evenly spread; one at 0 where n is no
 * larger. Returns how many, or a refusal; owner: the caller. */
long kr_patch_starts(long **starts, long n, long patch, double step) KR_MUST_USE;
/* What each voxel of a window counts where windows overlap: a Gaussian of sigma = patch / 8, 10 in the middle, in half precision, where 0 becomes
 * the smallest number that occurs: as nnU-Net v2. */
int kr_patch_weights(float *out, const long patch[3]) KR_MUST_USE;

/* An image's numbers as labels, its grid {X, Y, Z or SLICE}: whole numbers from 0 to KR_LABEL_MOST; others are refused, as are further
 * axes. Owner: the caller (kr_free). */
enum { KR_LABEL_MOST = 1000000 };
int kr_labels_of(int32_t **labels, long n[3], const kr_image *im) KR_MUST_USE;
/* The labels other than 0 that occur in either of two volumes (b may be NULL), ascending. Returns how many; owner: the caller. */
long kr_labels_list(int32_t **list, const int32_t *a, const int32_t *b, long voxels) KR_MUST_USE;

enum kr_label_measures { KR_DICE, KR_IOU, KR_VOLUME_REFERENCE, KR_VOLUME, KR_VOLUME_DIFFERENCE, KR_VOLUME_PERCENT, KR_HD, KR_HD95, KR_ASSD, KR_NSD, KR_LABEL_MEASURES };
typedef struct kr_label_measure { const char *name, *label, *unit; bool higher, distance; } kr_label_measure;
extern const kr_label_measure kr_label_measure_of[KR_LABEL_MEASURES];

/* What measures are where one of the two, or both, hold no voxel of a label: in the order of enum kr_label_measures; the entries of
 * volumes are not used. */
typedef struct kr_empty_rule { const char *name, *summary; double both[KR_LABEL_MEASURES], reference[KR_LABEL_MEASURES], prediction[KR_LABEL_MEASURES]; } kr_empty_rule;
extern const kr_empty_rule kr_empty_rules[];         /* ends with a name of NULL; the first is the default */
const kr_empty_rule *kr_empty_rule_named(const char *name);      /* NULL with a refusal that lists the known ones */

typedef struct kr_label_rules {
    const kr_empty_rule *empty;
    /* false: surfaces are the voxels of a mask with a face neighbour outside (outside the volume too), each counts once, HD95 is the
     * larger of the two directed 95th percentiles, linear between ranks; ASSD the mean over both lists together: as MONAI counts.
     * true: surfaces are elements between 2x2x2 voxels weighted by their areas, percentiles of area: as DeepMind's surface-distance. */
    bool elements;
    double tolerance_mm;             /* of the normalised surface Dice                                    */
} kr_label_rules;
typedef struct kr_label_score {
    int32_t label;
    long reference, prediction, both;        /* voxels                                                    */
    double value[KR_LABEL_MEASURES];         /* ml, percent of the reference, mm; NAN: not defined        */
} kr_label_score;
/* out[i].label is given; scores each of them. Refuses lack of memory. Sources: Taha and Hanbury, BMC Med Imaging 15:29 (2015);
 * Nikolov et al., J Med Internet Res 23:e26151 (2021) for surface elements and NSD. */
int kr_label_scores(kr_label_score *out, long labels, const int32_t *reference, const int32_t *prediction, const long n[3], const double mm[3],
                    const kr_label_rules *rules) KR_MUST_USE;

/* The mean of one measure over cases or labels. Undefined values (NAN) are left out, but for a structure that the prediction missed: that
 * counts as the worst value (0, or infinite), so that missing one never makes a mean better. */
typedef struct kr_label_mean { long n, infinite, undefined; double mean, sd, finite; } kr_label_mean;  /* finite: the mean of the finite ones */
kr_label_mean kr_label_mean_of(const kr_label_score *const *score, long n, int measure);

#ifdef __cplusplus
}
#endif
#endif
