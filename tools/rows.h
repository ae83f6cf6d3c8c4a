/* rows.h: rows of options that several commands share word for word; `opts` is the command's own struct, which has the field. Private to tools/. */
#ifndef KRAY_ROWS_H
#define KRAY_ROWS_H
#include <stddef.h>

#define ROW_UNDERSAMPLE(opts) { "undersample", 'u', KR_OPT_TEXT, offsetof(opts, undersample), NULL, "SPEC|FILE", "undersample by this mask (see kray mask)" }
#define ROW_COILS(opts) { "coils", 'c', KR_OPT_TEXT, offsetof(opts, coils), "espirit", "NAME|FILE", "coil maps: espirit, walsh, lowres, or a file of maps" }
#define ROW_MAPS(opts) { "maps", 0, KR_OPT_INT, offsetof(opts, maps), "1", "N", "ESPIRiT map sets; 2 (soft-SENSE) if the object is larger than the field of view" }
#define ROW_CALIB(opts) { "calib", 0, KR_OPT_INT, offsetof(opts, calib), "24", "N", "largest width of the fully sampled centre (ACS) used for coil maps" }
#define ROW_COMPRESS(opts) { "compress", 0, KR_OPT_INT, offsetof(opts, compress), "0", "N", "compress to N virtual coils; 0 keeps all" }
#define ROW_COMPRESSION(opts) { "compression", 0, KR_OPT_CHOICE, offsetof(opts, compression), "svd", "svd|geometric", "coil compression: by SVD, or geometric (GCC) along the readout" }
#define ROW_WHITEN(opts) { "whiten", 0, KR_OPT_FLAG, offsetof(opts, whiten), "on", NULL, "prewhiten (decorrelate) the coils with the noise scan" }
#define ROW_COVARIANCE(opts) { "covariance", 0, KR_OPT_FILE, offsetof(opts, covariance), NULL, "FILE", "prewhiten with this noise covariance instead: coil x coil, E[n_i conj n_j], rows i along y" }
#define ROW_OVERSAMPLING(opts) { "oversampling", 0, KR_OPT_FLAG, offsetof(opts, oversampling), "on", NULL, "remove readout oversampling" }
#define ROW_TRAJ(opts) { "traj", 0, KR_OPT_TEXT, offsetof(opts, traj), NULL, "SPEC|FILE[:VAR]", "k-space positions, where the data file has none: radial:angle=golden, ... (kray simulate --help), or a file" }
#define ROW_DENSITY(opts) { "density", 0, KR_OPT_TEXT, offsetof(opts, density), NULL, "KIND|FILE", "with a trajectory: density compensation: pipe-menon (default), voronoi, ramp, or a file" }
#define ROW_MULTIBAND(opts) { "multiband", 0, KR_OPT_INT, offsetof(opts, multiband), "0", "N", "multiband (SMS) factor; 0: from the file" }
#define ROW_CAIPI(opts) { "caipi", 0, KR_OPT_INT, offsetof(opts, caipi), "0", "N", "CAIPI shift of FOV/N along y between neighbouring slices of a band; 1: none, 0: from the file" }
#define ROW_SINGLE_BAND(opts) { "single-band", 0, KR_OPT_INT, offsetof(opts, single_band), "32", "N", "with --multiband: lines of the single-band reference; 0: all" }
#define ROW_KSPACE_SIGN(opts) { "kspace-sign", 0, KR_OPT_CHOICE, offsetof(opts, sign), "auto", "auto|+|-", "sign of the Fourier exponent of raw data along the stored directions; auto: by vendor" }
#define ROW_VOXEL(opts) { "voxel", 0, KR_OPT_TEXT, offsetof(opts, voxel), NULL, "X,Y,Z", "voxel size in mm, where the file gives none" }
#define ROW_CENTRE(opts) { "centre", 0, KR_OPT_TEXT, offsetof(opts, centre), NULL, "X,Y[,Z]", "sample and line of the centre of k-space, counted as in the file; - keeps an axis" }
#define ROW_TO(opts) { "to", 0, KR_OPT_TEXT, offsetof(opts, to), NULL, "FORMAT", "write this format, whatever the suffix" }
#define ROW_FROM(opts) { "from", 0, KR_OPT_TEXT, offsetof(opts, from), NULL, "FORMAT", "input format, whatever the content looks like" }
#define ROW_MEMORY(opts) { "memory", 0, KR_OPT_SIZE, offsetof(opts, memory), NULL, "SIZE", "memory limit of the whole program, such as 8G: it then works in pieces" }
#define ROW_RECURSIVE(opts) { "recursive", 0, KR_OPT_FLAG, offsetof(opts, recursive), NULL, NULL, "search the folders within folders, too; the output keeps their tree" }
#define ROW_JSON(opts) { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON" }
#define ROW_THREADS(opts) { "threads", 0, KR_OPT_INT, offsetof(opts, threads), "0", "N", "threads; 0: one per core" }
#endif
