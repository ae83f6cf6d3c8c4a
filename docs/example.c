/* example.c: from a scan in any file that Kray reads to an image, by the library alone, in C or C++:
 *
 *     cc example.c -o example $(pkg-config --cflags --libs kray)
 *     ./example scan.h5 image.nii.gz
 */
#include <kray/io.h>
#include <kray/recon.h>
#include <stdio.h>

static int reconstruct(const char *from, const char *to)
{
    kr_scoped(scan) scan = NULL;         /* dropped by themselves at the end of the function */
    kr_scoped(array) maps = NULL;
    kr_scoped(image) image = NULL;

    /* Everything the file says: k-space with named axes, sampling mask, noise scan, geometry. */
    if (kr_scan_read(&scan, from, NULL, NULL, NULL))
        return -1;
    printf("%s: %s file, k-space %s\n", from, scan->format, kr_shape_text(scan->shape));

    /* Whiten the channels by the noise scan if there is one, and cut the readout to the wanted field of view. */
    const kr_prepare prepare = { true, true, 0, NULL, false, NULL };
    if (kr_scan_prepare(scan, &prepare, NULL))
        return -1;

    /* Coil maps from the fully sampled centre. */
    maps = kr_coils_estimate(scan, &kr_coils_preset, NULL);
    if (!maps)
        return -1;

    /* x = argmin |P F S x - y|^2 + lambda |x|^2. Every method has its options in a table; they are set by name. */
    const kr_recon *sense = kr_recon_named("sense");
    kr_auto void *options = kr_alloc_zero(1, sense->opts_size);
    if (!options || kr_opt_defaults(sense->opts, options) || kr_opt_set(sense->opts, options, "iterations", "20"))
        return -1;
    if (kr_reconstruct(&image, scan, sense, options, NULL, maps, NULL, NULL))
        return -1;
    printf("%s: image %s\n", to, kr_shape_text(kr_array_shape(image->data)));
    return kr_image_write(image, to, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SCAN IMAGE\n", argv[0]);
        return 2;
    }
    if (reconstruct(argv[1], argv[2])) {
        fprintf(stderr, "%s\n", kr_error());     /* one sentence: what was wanted, what was found */
        return 1;
    }
    return 0;
}
