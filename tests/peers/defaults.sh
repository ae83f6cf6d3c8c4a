#!/bin/sh
# defaults.sh: is each default near the best of a grid of its strength? Two real brains, fully measured: 4 coils (LORAKS MPRAGE, 256 x 256) and 7 (MIDAS T1,
# 256 x 216), 24 calibration lines; PSNR over the object, where the root of the sum of squares is above 6 % of its largest value.
# Lines are added to TABLE, `coils mask method`, the default's dB, and each value of the grid with its dB above the default; those that it has are not done again.
#
#   tests/peers/defaults.sh [TABLE]
#   KRAY=build/tools/kray METHODS="spirit:l1" MASKS="E2 E4 E8 R2 R4 R8 P2 P4 P8" COILS="4 7" OMP_NUM_THREADS=1 WORK=/dev/shm
set -eu
. "$(dirname "$0")/peer.sh"
DATA=$(absolute "${KR_SHARED:-../shared}/data")
TABLE=$(absolute "${1:-defaults.txt}")
need bart
need unzip
scratch
touch "$TABLE"

# score: dB of x.cfl
score() {
    quiet bart cabs x xa
    quiet bart fmac xa object xo
    bart nrmse truth xo | tail -n 1 | awk -v peak="$(cat peak)" '{ printf "%.2f", peak - 20 * log($1) / log(10) }'
}

for c in ${COILS:-4 7}; do
    if [ "$c" = 4 ]; then
        quiet "$KRAY" convert "$DATA/mri/brain_mprage_4ch_256_loraks.mat:kData@x,y,coil" full.cfl
        quiet bart fft -iu 3 full images
    else
        unzip -p "$DATA/train/raw_t1_brain_7ch_256x216_coilimages_midas.npz" arr_0.npy >images.npy
        quiet "$KRAY" convert images.npy@x,y,coil images.cfl
        quiet bart fft -u 3 images full
    fi
    quiet bart rss 8 images all
    top=$("$KRAY" info all.cfl | sed -n 's/.* to \([0-9.e+-]*\), mean.*/\1/p')
    quiet bart threshold -B "$(awk -v t="$top" 'BEGIN { print 0.06 * t }')" all object
    quiet bart fmac all object truth
    bart fmac -C -s 3 truth truth energy >log && bart fmac -s 3 object object count >log
    echo "$top $(bart show count) $(bart show energy)" | sed 's/[+-]0*\.*0*e*[+-]*0*i//g' | awk '{ print 10 * log($1 * $1 * $2 / $3) / log(10) }' >peak
    for m in ${MASKS:-E2 E4 E8 R2 R4 R8 P2 P4 P8}; do
        case $m in
        E*) mask=equispaced:accel=${m#E},lines=24,seed=1 ;;
        R*) mask=random:accel=${m#R},lines=24,seed=1 ;;
        *) mask=poisson:accel=${m#P},calib=24,axes=xy,seed=1 ;;
        esac
        for how in ${METHODS:-spirit:l1 grappa:lambda spirit:lambda sense:lambda wavelet:lambda nlinv:steps}; do
            ! grep -q "^$c $m $how " "$TABLE" || continue
            method=${how%:*}
            case $how in
            spirit:l1) grid="0.0001 0.0002 0.0004 0.0006 0.001" ;;
            nlinv:steps) grid="6 7 8 9 10 11 12" ;;
            grappa:*) grid="1e-6 1e-5 1e-4 3e-4 1e-3 3e-3 0.01 0.03 0.1" ;;
            *) grid="3e-4 1e-3 2e-3 5e-3 0.01 0.02 0.05" ;;
            esac
            rm -f x.cfl
            "$KRAY" recon -q full.cfl -o x.cfl -u "$mask" --method "$method" 2>log || { sed 1q log; continue; }
            line=$(score)
            row="$c $m $how $line"
            for v in $grid; do
                rm -f x.cfl
                "$KRAY" recon -q full.cfl -o x.cfl -u "$mask" --method "$method" "--${how#*:}" "$v" 2>log || continue
                row="$row $v:$(score | awk -v d="$line" '{ printf "%+.2f", $1 - d }')"
            done
            echo "$row" | tee -a "$TABLE"
        done
    done
done
