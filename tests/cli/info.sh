# info.sh: kray info on raw data, images and arrays, as text and as JSON.
. "$(dirname "$0")/lib.sh"

array image.npy x=40,y=44,slice=3 blob scale=2
works '{x=40 y=44 slice=3}' kray info image.npy
works 'values from' kray info image.npy
works '"kind": "image"' kray info --json image.npy
kray mask random:accel=4,center=0.1 --shape 40,44 -o mask.npy >/dev/null
works '{y=44}' kray info mask.npy
works '"zeros": 33' kray info --json mask.npy
works 'image.npy' kray info image.npy mask.npy
works '"file": "mask.npy"' kray info image.npy mask.npy --json
refuses 2 'which file' kray info
refuses 1 'no such file' kray info absent.h5
refuses 1 '1 of 2 files cannot be read' kray info image.npy absent.h5
works '' kray info --json image.npy
check 'one file is a list, too' [ "$(head -c1 "$out")" = '[' ]
kray info --json image.npy absent.h5 >both 2>/dev/null
check 'a file that cannot be read is listed with its error' grep -q '"error": ".*no such file' both
check 'several files are a list' [ "$(head -c1 both)" = '[' ]

# A folder is listed: a line for each file, those in folders below, too.
mkdir -p tree/below
kray simulate shepplogan -q -o tree/a.h5 -m 32,32 --slices 2 --coils 3
kray recon tree/a.h5 -q -o tree/below/a.nii.gz
works 'tree: 2 files' kray info tree
check 'the scan' grep -q '^  a.h5  *scan {x=64 y=32 coil=3 slice=2}, ismrmrd$' "$out"
check 'the image' grep -q '^  below/a.nii.gz  *image {x=32 y=32 slice=2}, nifti$' "$out"
works '"file": "tree/below/a.nii.gz"' kray info --json tree/
echo notes > tree/damaged.mat
refuses 1 'tree: 1 file cannot be read' kray info tree
check 'the others are told' grep -q 'a.nii.gz' "$out"

# Of several variables the hint names the one that sounds like k-space, not the first.
"${PYTHON:-python3}" -c 'import h5py' 2>/dev/null && "${PYTHON:-python3}" -c '
import h5py, numpy
f = h5py.File("names.h5", "w")
for n in ("coil_sens", "kMask", "meas/kspace_full", "zdata"): f[n] = numpy.ones((3, 8, 8), "c8")'
if [ -e names.h5 ]; then
    refuses 2 'as in names.h5:meas/kspace_full@' kray recon names.h5 -o x.npy
else
    skip 'the name of k-space in HDF5' 'h5py is absent'
fi

scan=$KR_SHARED/data/mri/phantom_14ch_R3_acs_ismrmrd.h5
if [ -f "$scan" ]; then
    works '{x=384 y=144 coil=14}, 14 coils' kray info "$scan"
    for words in 'readout oversampled 2 times' '192 x 144 x 1 of 280 x 210 x 8 mm' 'R = 3 in 108 of 144 lines along y (zero-padded), 36 measured' 'every 3rd along y; R = 3 by the header' \
                 '36 imaging, 32 calibration, 1 noise' '384 samples per channel' '20.048 66.57 0 mm' 'TE 1.62 ms' 'Skyra' '(32 separate, 16 shared with the image)' '2.89 T'; do
        check "it tells: $words" grep -qF "$words" "$out"
    done
    works '"acceleration": 3.0' kray info --json "$scan"
    check 'the noise of 14 channels' [ "$(tr -d ' \n' <"$out" | sed 's/.*"deviation":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | wc -l)" = 13 ]
    works 'magnitude from' kray info --data "$scan"
else
    skip 'a real scan' "$scan is absent"
fi

several=$KR_SHARED/data/mri/brain_mprage_4ch_256_loraks.mat
if [ -f "$several" ]; then
    works 'kData        complex double, 256 x 256 x 4' kray info "$several"
    check 'all its six variables' [ "$(grep -c '^  variable' "$out")" = 6 ]
    works '"name": "kMaskRand7"' kray info --json "$several"
    refuses 2 'kData@x,y,coil; the file' kray recon "$several" -o x.npy
    works '{x=256 y=256 coil=4}, 4 coils' kray info "$several:kData@x,y,coil"
else
    skip 'a file of several variables' "$several is absent"
fi

# ---- MetaImage may be a volume or projections ----
kray simulate shepplogan -q -o meta.h5 -m 16,16 --slices 2 --coils 1
kray recon meta.h5 -q -o meta.mha
works 'a volume, or X-ray projections' kray info meta.mha
kray info meta.mha --json >meta.json
check 'so does JSON' grep -q '"kind": "array"' meta.json
