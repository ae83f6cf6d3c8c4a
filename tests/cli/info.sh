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

scan=$KR_SHARED/data/mri/phantom_14ch_R3_acs_ismrmrd.h5
if [ -f "$scan" ]; then
    works '{x=384 y=144 coil=14}, 14 coils' kray info "$scan"
    for words in 'readout oversampled 2 times' '192 x 144 x 1 of 280 x 210 x 8 mm' 'R = 3 in 108 of 144 lines along y (zero-padded), 36 measured' 'every 3rd along y; R = 3 by the header' \
                 '36 imaging, 32 calibration, 1 noise' '384 samples per channel' '20.048 66.57 0 mm' 'TE 1.62 ms' 'Skyra' 'kept apart from the image: 32'; do
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
    works '{x=256 y=256 coil=4}, 4 coils' kray info "$several:kData@x,y,coil"
else
    skip 'a file of several variables' "$several is absent"
fi
