#!/bin/sh
# bart_sense.sh: CG-SENSE and ESPIRiT by Kray and by BART on the same files, whole processes, taken in turns: medians, ratios,
# peak memory, and how far the two images (maps: their projections) are apart. Not a test: it takes minutes, and its figures
# are those of the machine.
#
#   tests/peers/bart_sense.sh [lines] [plane] [volume] [espirit] [espirit3] [fastmri]
#   KRAY=build/tools/kray RUNS=5 OMP_NUM_THREADS=2 WORK=/dev/shm
#   ALONE=CMD    a command that runs another one while nothing else disturbs, if there is one
set -eu
. "$(dirname "$0")/peer.sh"
RUNS=${RUNS:-5}
need bart
timed
scratch
heading
printf '%-44s %10s %10s %7s %9s %9s %10s\n' case 'BART ms' 'Kray ms' ratio 'BART MiB' 'Kray MiB' difference

# row WHAT BART_IMAGE KRAY_IMAGE: the line of what was measured as bart.runs and kray.runs
row() {
    apart=$(bart nrmse -s "$2" "$3" 2>/dev/null | tail -n 1)
    echo "$(median bart) $(median kray)" | awk -v what="$1" -v apart="$apart" \
        '{ printf "%-44s %10.1f %10.1f %7.1f %9d %9d %10s\n", what, $1, $3, $1 / $3, $2, $4, apart }'
    rm -f bart.runs kray.runs
}

# compare WHAT KSPACE MAPS ITERATIONS: the same problem, the same number of iterations (Kray is told not to stop early)
compare() {
    i=0
    while [ $i -lt "$RUNS" ]; do
        once bart bart pics -l2 -r0.01 "-i$4" "$2" "$3" b
        once kray "$KRAY" recon "$2.cfl" -o k.cfl --complex --method sense --coils "$3.cfl" --iterations "$4" --lambda 0.01 --no-rescale --tolerance 0
        i=$((i + 1))
    done
    row "$1" b k
}

# maps WHAT KSPACE: one set of maps by ESPIRiT from the calibration area. Vectors of maps are known up to a phase: what is
# compared is the length of the projection of one program's on the other's, which is 1 where they agree.
maps() {
    i=0
    while [ $i -lt "$RUNS" ]; do
        once bart bart ecalib -m1 -r24 "$2" b
        once kray "$KRAY" coils "$2.cfl" -o k.cfl --calib 24
        i=$((i + 1))
    done
    bart fmac -C -s8 b k p
    bart cabs p pa
    bart rss 8 b one
    row "$1" one pa
    rm -f b.cfl k.cfl p.cfl pa.cfl one.cfl
}

slice() {
    [ -e f2.cfl ] && return
    quiet "$KRAY" simulate brain --no-oversampling -m 320,320 -s 1 -c 16 --snr 30 -o f2.cfl
}

cases=${*:-lines plane volume espirit espirit3 fastmri}
for c in $cases; do
    case $c in
    lines)
        slice
        quiet bart upat -Y320 -Z1 -y4 -z1 -c24 m1
        quiet bart fmac f2 m1 k1
        quiet "$KRAY" coils k1.cfl -o s1.cfl
        compare '320x320, 16 coils, lines R=4+24, 30 it.' k1 s1 30 ;;
    plane)
        slice
        quiet "$KRAY" mask poisson:accel=4,calib=24,axes=xy --shape 320,320 -o m2.cfl
        quiet bart fmac f2 m2 k2
        quiet "$KRAY" coils k2.cfl -o s2.cfl
        compare '320x320, 16 coils, Poisson R=4, 30 it.' k2 s2 30 ;;
    volume)
        quiet "$KRAY" simulate shepplogan --no-oversampling -m 160,160,128 -c 8 --snr 30 -o f3.cfl
        quiet bart upat -Y160 -Z128 -y2 -z2 -c24 m3
        quiet bart fmac f3 m3 k3
        rm f3.cfl
        quiet bart caldir 24 k3 s3
        compare '160x160x128, 8 coils, 2x2+24x24, 10 it.' k3 s3 10
        rm k3.cfl s3.cfl ;;
    espirit)
        slice
        quiet bart upat -Y320 -Z1 -y4 -z1 -c24 m5
        quiet bart fmac f2 m5 k5
        maps 'ESPIRiT 320x320, 16 coils, 24x24' k5 ;;
    espirit3)
        quiet "$KRAY" simulate shepplogan --no-oversampling -m 128,128,128 -c 8 --snr 30 -o f6.cfl
        quiet bart upat -Y128 -Z128 -y2 -z2 -c24 m6
        quiet bart fmac f6 m6 k6
        rm f6.cfl
        maps 'ESPIRiT 128x128x128, 8 coils, 24x24x24' k6
        rm k6.cfl ;;
    fastmri)
        # A volume as fastMRI keeps it: 16 slices, 15 coils, readout oversampled to 640, 368 lines, undersampled afterwards.
        # BART's steps are one script per slice: the readout's oversampling off, ESPIRiT, CG-SENSE.
        quiet "$KRAY" simulate -m 320,368 -s 16 -c 15 --snr 30 --oversampling -o full.h5 --to fastmri
        quiet "$KRAY" mask equispaced:accel=4,lines=24,seed=1 --shape 320,368 -o m4.cfl
        quiet "$KRAY" convert full.h5 full.cfl
        cat >steps <<'STEPS'
set -e
i=0
while [ $i -lt 16 ]; do
    bart slice 13 $i full a
    bart fft -iu 1 a b
    bart resize -c 0 320 b a
    bart fft -u 1 a b
    bart fmac b m4 a
    bart ecalib -m1 -r24 a s
    bart pics -l2 -r0.01 -i30 a s o$i
    list="${list-} o$i"
    i=$((i + 1))
done
bart join 13 $list o
STEPS
        # Kray all at once, and as it comes, in pieces.
        once bart sh steps
        bart cabs o oa
        for memory in 64G none; do
            cp bart.runs steps.runs
            i=0
            while [ $i -lt "$RUNS" ]; do
                once kray "$KRAY" recon full.h5 -o k.cfl --complex --method sense -u m4.cfl --iterations 30 --lambda 0.01 --no-rescale --tolerance 0 $([ $memory = none ] || echo --memory $memory)
                i=$((i + 1))
            done
            bart cabs k ka
            row "16 x 640x368, 15 coils, file to image, $memory" oa ka
            mv steps.runs bart.runs
        done ;;
    *) echo "known are lines, plane, volume, espirit, espirit3 and fastmri, not $c"; exit 2 ;;
    esac
done
