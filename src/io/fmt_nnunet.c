/* fmt_nnunet.c: NIfTI volumes under the names that nnU-Net looks for: CASE_0000.nii.gz, the number that of the channel. */
#include "kray/io.h"
#include <string.h>

extern const kr_format kr_format_nifti;

static int write_image(const kr_image *im, const char *path)
{
    const kr_array *a = im->data;
    size_t n = strlen(path);
    if (n < 12 || strcmp(path + n - 7, ".nii.gz") || path[n - 12] != '_' || strspn(path + n - 11, "0123456789") != 4)
        return kr_fail(KR_EUSAGE, "nnU-Net finds images by the number of their channel: a name such as CASE_0000.nii.gz is wanted (or a folder, where names get that)");
    if (a->type != KR_R32 || kr_count(kr_array_shape(a)) != a->n[KR_X] * a->n[KR_Y] * a->n[KR_Z] * a->n[KR_SLICE])
        return kr_fail(KR_ESHAPE, "nnU-Net takes one real volume in each file, this is %s%s", a->type == KR_C32 ? "complex, " : "", kr_shape_text(kr_array_shape(a)));
    return kr_format_nifti.write_image(im, path);
}

const kr_format kr_format_nnunet = { .name = "nnunet", .suffix = "_0000.nii.gz", .summary = "NIfTI volume, named for nnU-Net (CASE_0000.nii.gz)", .write_image = write_image };
