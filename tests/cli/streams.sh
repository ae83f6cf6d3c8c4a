#!/bin/bash
# streams.sh: "-" is standard input or standard output, never a file of that name; one mask of a stack.
. "$(dirname "$0")/lib.sh"
export KRAY="$KR_BUILD/tools/kray"
kray simulate shepplogan -q -o scan.h5 -m 32,32 --slices 2 --coils 3
kray recon scan.h5 -q -o image.nii
kray convert image.nii image.npy -q

# ---- In and out: the same numbers as through files ----
check 'raw data in, an image out' bash -c '$KRAY recon - -o - --to nifti <scan.h5 >out.nii'
check 'through a pipe, with the name of a dataset' bash -c 'cat scan.h5 | $KRAY info -:dataset | grep -q "{x=64 y=32 coil=3 slice=2}"'
check 'images in and out as NumPy' bash -c 'cat out.nii | $KRAY convert - - --to npy >out.npy 2>/dev/null'
check 'the numbers are the same' cmp out.npy image.npy
check 'raw data as NumPy' bash -c '$KRAY simulate shepplogan -q -o - --to npy -m 32,32 --coils 2 >k.npy && $KRAY info k.npy@slice,coil,y,x | grep -q "coil=2"'
check 'a mask' bash -c '$KRAY mask random:accel=4,seed=1 --shape 32,32 -o - | cmp - <($KRAY mask random:accel=4,seed=1 --shape 32,32 -o m.npy -q >/dev/null; cat m.npy)'
check 'nothing is called -' [ ! -e ./- ]

# ---- What cannot be is refused ----
refuses 2 'possible are npy, nifti' kray recon scan.h5 -o - --to fastmri
refuses 2 'has to be named (--to)' kray recon scan.h5 -o -
refuses 2 'raw data as nifti cannot go' kray simulate shepplogan -o - --to nifti -m 32,32
refuses 2 'one standard input' kray info - -
refuses 2 'one of both' kray recon scan.h5 -o - --to npy --json
refuses 2 'nothing stays of standard output' kray recon scan.h5 -o - --to npy --resume
refuses 2 'cannot be read here' kray recon scan.h5 -o x.npy --coils -
refuses 2 'one input alone' kray recon scan.h5 scan.h5 -o - --to npy
refuses 1 'kray: stdin: the file is empty' kray info -
check 'it is called stdin' bash -c '$KRAY info - <scan.h5 | head -1 | grep -q "^stdin: ISMRMRD"'
check 'in JSON, too' bash -c '$KRAY info --json - <scan.h5 | grep -q "\"file\": \"stdin\""'
check 'and where it is damaged' bash -c 'head -c 100 scan.h5 | $KRAY info - 2>&1 | grep -q "^kray: stdin: HDF5 cannot"'
check 'nowhere by the name of the file that keeps it' bash -c '! $KRAY recon - -v -o kept.npy <scan.h5 2>&1 | grep -q "/stdin"'

# ---- Outputs of one command are files of their own ----
refuses 2 'a.npy: --output and --gfactor would both be written there' kray snr scan.h5 -o a.npy -g ./a.npy
refuses 2 'scan.h5: --output and --reference would both be written there' kray simulate shepplogan -o scan.h5 -r scan.h5
check 'neither is touched' [ ! -e a.npy ]
stream=$KR_SHARED/samples/mrd_stream/pyclient_cart16_client_to_server.bin
if [ -f "$stream" ]; then
    check 'an MRD stream' bash -c "cat '$stream' | \$KRAY info - | grep -q 'MRD stream'"
else
    skip 'an MRD stream' 'the samples are absent'
fi

# ---- A stack of masks: by number, or drawn as DIRECT draws: NumPy's RandomState(7).randint(0, 5) is 4 ----
calgary=$KR_SHARED/samples/calgary
if [ -d "$calgary" ]; then
    scan=$calgary/e00001s3_P00001.7.h5 stack=$calgary/R5_20x18.npy
    refuses 1 'one of a stack of 5' kray recon "$scan" -o x.npy --method rss -u "$stack"
    refuses 2 'holds 5 masks, 0 to 4' kray recon "$scan" -o x.npy --method rss -u "$stack:5"
    for i in 0 1 2 3 4; do works '' kray recon "$scan" -o "rss$i.npy" --method rss -u "$stack:$i"; done
    check 'they differ' eval '! cmp -s rss0.npy rss1.npy && ! cmp -s rss3.npy rss4.npy'
    works '' kray recon "$scan" -o drawn.npy --method rss -u "$stack:seed=7"
    check 'a seed draws as NumPy does' cmp drawn.npy "rss4.npy"
else
    skip 'a stack of masks' 'the samples are absent'
fi
