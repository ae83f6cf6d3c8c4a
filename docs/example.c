/* example.c: from a scan in any file that Kray reads to an image, by the library alone, in C or C++:
 *
 *     cc example.c -o example $(pkg-config --cflags --libs kray)
 *     ./example scan.h5 image.nii.gz
 */
#include <kray/io.h>
#include <kray/recon.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    kr_scoped(image) image = NULL;           /* dropped by itself at the end of the function */
    if (argc != 3) {
        fprintf(stderr, "usage: %s SCAN IMAGE\n", argv[0]);
        return 2;
    }
    /* x = argmin |P F S x - y|^2 + lambda |x|^2 from a whitened, cropped scan with ESPIRiT maps, as kray recon does it; "auto" for a sensible method. */
    if (kr_recon_run(argv[1], "sense", "lambda=0.005,iterations=20", &image) || kr_image_write(image, argv[2], NULL)) {
        fprintf(stderr, "%s\n", kr_error());     /* one sentence: what was wanted, what was found */
        return 1;
    }
    printf("%s: image %s\n", argv[2], kr_shape_text(kr_array_shape(image->data)));
    return 0;
}
