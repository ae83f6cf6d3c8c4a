#!/bin/sh
# bart_nlinv.sh: image and coil maps at once by Kray and by BART on the same files: the same Newton steps, the same rule for the
# iterations within. Whole processes, taken in turns: medians, ratios, peak memory, how far the images are apart, and the misfit
# before the last step, in parts of |y|. Not a test: its figures are those of the machine.
#
#   tests/peers/bart_nlinv.sh [coils16] [coils4] [random] [volume]
#   KRAY=build/tools/kray RUNS=5 OMP_NUM_THREADS=2 WORK=/dev/shm
#   ALONE=CMD    a command that runs another one while nothing else disturbs, if there is one
set -eu
. "$(dirname "$0")/peer.sh"
RUNS=${RUNS:-5}
need bart
timed
scratch

# compare WHAT KSPACE STEPS
compare() {
    rm -f bart.runs kray.runs
    i=0
    while [ $i -lt "$RUNS" ]; do
        once kray "$KRAY" recon "$2.cfl" -o k.cfl --complex --method nlinv --steps "$3"
        once bart bart nlinv "-i$3" -S "$2" b
        i=$((i + 1))
    done
    mine=$("$KRAY" recon "$2.cfl" -o k.cfl --complex --method nlinv --steps "$3" -v 2>&1 | sed -n 's/.*| \([0-9.e-]*\) of .*/\1/p' | tail -n 1)
    theirs=$(bart nlinv "-i$3" -S -d4 "$2" b 2>&1 | sed -n 's/.*Res: //p' | tail -n 1)
    apart=$(bart nrmse b k 2>/dev/null | tail -n 1)
    echo "$(median bart) $(median kray)" | awk -v what="$1" -v apart="$apart" -v mine="$mine" -v theirs="$theirs" \
        '{ printf "%-40s %8.0f %8.0f %6.1f %9d %9d %11s  %.5f %.5f\n", what, $1, $3, $1 / $3, $2, $4, apart, theirs / 100, mine }'
}

heading
printf '%-40s %8s %8s %6s %9s %9s %11s  %s\n' case 'BART ms' 'Kray ms' ratio 'BART MiB' 'Kray MiB' difference 'misfits'
for c in ${*:-coils16 coils4 random volume}; do
    case $c in
    coils16 | coils4 | random)
        n=320 coils=16
        [ $c = coils16 ] || n=256 coils=4
        quiet "$KRAY" simulate brain --no-oversampling -m $n,$n -s 1 -c $coils --snr 30 -o full.cfl
        if [ $c = random ]; then quiet "$KRAY" mask poisson:accel=4,calib=24,axes=xy --shape $n,$n -o m.cfl
        else quiet bart upat -Y$n -Z1 -y4 -z1 -c24 m; fi
        quiet bart fmac full m k0
        compare "${n}x$n, $coils coils, $([ $c = random ] && echo Poisson R=4 || echo lines R=4+24), 8 steps" k0 8 ;;
    volume)
        quiet "$KRAY" simulate shepplogan --no-oversampling -m 64,64,48 -c 8 --snr 30 -o full.cfl
        quiet bart upat -Y64 -Z48 -y2 -z2 -c16 m
        quiet bart fmac full m k0
        compare '64x64x48, 8 coils, 2x2+16x16, 8 steps' k0 8 ;;
    *) echo "known are coils16, coils4, random and volume, not $c"; exit 2 ;;
    esac
done
