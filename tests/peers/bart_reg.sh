#!/bin/sh
# bart_reg.sh: regularised reconstruction by Kray and by BART on the same files.
#
#   tests/peers/bart_reg.sh [haar] [wavelet] [tv] [llr] [volume]    speed, memory and objective, whole processes
#   tests/peers/bart_reg.sh quality [SCAN.mat]                      NRMSE, each at its best lambda of one grid
#   KRAY=build/tools/kray OBJECTIVE=build/tests/kray-objective RUNS=3 OMP_NUM_THREADS=2 WORK=/dev/shm
#   LAMBDAS="0.001 0.003" MASKS="R2 R3"   of the quality
#
# Both are given the same maps and the same strength: Kray's lambda is a fraction of the scale that it prints, and BART's (-w 1: data as
# they are) is that product. BART runs its 100 iterations (volume: 20); Kray stops by its own rule, and the objective of both
# images, by kray-objective, shows who is lower. BART's wavelets extend the image at its borders, Kray's are periodic; for Haar
# ("haar", no cycle spinning) both solve the very same problem.
set -eu
. "$(dirname "$0")/peer.sh"
OBJECTIVE=$(program kray-objective "${OBJECTIVE:-build/tests/kray-objective}") || exit 77
SCAN=$(absolute "${2:-${KR_SHARED:-../shared}/data/mri/brain_mprage_4ch_256_loraks.mat}")
RUNS=${RUNS:-3}
need bart
timed
scratch

# compare WHAT KSPACE MAPS FORMULA BART-OPTIONS KRAY-OPTIONS: LAMBDA in BART's options is Kray's strength times its scale.
compare() {
    quiet "$KRAY" recon -v "$2.cfl" -o k.cfl --complex --coils "$3.cfl" $6
    lambda=$(sed -n 's/.*scale \([0-9.e+-]*\).*/\1/p' log | awk '{ print 0.005 * $1 }')
    rm -f bart.runs kray.runs
    i=0
    while [ $i -lt "$RUNS" ]; do
        once bart bart pics -w1 $(echo "$5" | sed "s/LAMBDA/$lambda/g") "$2" "$3" b
        once kray "$KRAY" recon -v "$2.cfl" -o k.cfl --complex --coils "$3.cfl" $6
        i=$((i + 1))
    done
    its=$(sed -n 's/.*: \([0-9]*\) iterations.*/\1/p' kray.log)
    echo "$(median bart) $(median kray) $("$OBJECTIVE" "$2.cfl" "$3.cfl" b.cfl "$4" "$lambda") $("$OBJECTIVE" "$2.cfl" "$3.cfl" k.cfl "$4" "$lambda") $its" |
        awk -v what="$1" '{ printf "%-34s %8.2f %8.3f %6.1f %8d %8d %12.5g %12.5g %5d\n", what, $1 / 1000, $3 / 1000, $1 / $3, $2, $4, $5, $7, $9 }'
}

slice() {
    [ -e k.made ] && return
    quiet "$KRAY" simulate -m 320,320 -s 1 -c 8 --snr 30 -o f.cfl
    quiet bart resize -c 0 320 1 320 f fc
    quiet "$KRAY" mask poisson:accel=4,calib=24,axes=xy --shape 320,320 -o m.cfl
    quiet bart fmac fc m k2
    quiet "$KRAY" coils k2.cfl -o s2.cfl
    : >k.made
}

speed() {
    heading
    printf '%-34s %8s %8s %6s %8s %8s %12s %12s %5s\n' case 'BART s' 'Kray s' ratio 'BART MiB' 'Kray MiB' 'BART value' 'Kray value' its
    for c in $*; do
        case $c in
        haar)
            slice
            compare 'Haar, 320x320x8' k2 s2 haar '-n --wavelet haar -l1 -rLAMBDA -i100' '-m wavelet --order 1 --no-shifts --lambda 0.005' ;;
        wavelet)
            slice
            compare 'wavelet, shifts, 320x320x8, 100' k2 s2 spun '-l1 -rLAMBDA -i100' '-m wavelet --order 2 --lambda 0.005 --iterations 100 --tolerance 0'
            compare 'the same, until it rests' k2 s2 spun '-l1 -rLAMBDA -i100' '-m wavelet --order 2 --lambda 0.005' ;;
        tv)
            slice
            compare 'TV, 320x320x8, 100' k2 s2 tv '-R T:3:0:LAMBDA -i100' '-m tv --lambda 0.005 --iterations 100 --tolerance 0'
            compare 'the same, 50' k2 s2 tv '-R T:3:0:LAMBDA -i100' '-m tv --lambda 0.005 --iterations 50 --tolerance 0' ;;
        llr)
            quiet "$KRAY" simulate -m 192,192 -s 1 -c 10 --snr 30 -o f.cfl
            quiet bart resize -c 0 192 f fc
            quiet "$KRAY" mask kt_gaussian:accel=6 --shape x=192,y=192,time=20 -o m.cfl
            quiet bart fmac fc m kt
            quiet bart avg 1024 kt avg
            quiet "$KRAY" coils fc.cfl -o st.cfl
            compare 'LLR, 192x192x10, 20 frames, 50' kt st llr '-R L:3:3:LAMBDA -b 8 -i50' '-m llr --lambda 0.005 --iterations 50 --tolerance 0' ;;
        volume)
            quiet "$KRAY" simulate shepplogan -m 160,160,128 -c 8 --snr 30 -o f3.cfl
            quiet bart resize -c 0 160 f3 f3c
            rm f3.cfl
            quiet bart upat -Y160 -Z128 -y2 -z2 -c24 m3
            quiet bart fmac f3c m3 k3
            rm f3c.cfl
            quiet bart caldir 24 k3 s3
            compare 'wavelet, 160x160x128x8, 20' k3 s3 spun '-l1 -rLAMBDA -i20' '-m wavelet --order 2 --lambda 0.005 --iterations 20 --tolerance 0'
            rm k3.cfl s3.cfl ;;
        *) echo "known are haar, wavelet, tv, llr, volume and quality, not $c"; exit 2 ;;
        esac
    done
}

# best COMMAND...: the smallest NRMSE over the grid, and its lambda
best() {
    : >scores
    for l in ${LAMBDAS:-0.0007 0.001 0.0014 0.002 0.0028 0.004 0.0056}; do
        quiet $(echo "$*" | sed "s/LAMBDA/$l/g")
        quiet bart cabs x xa
        quiet bart fmac xa head xh
        echo "$(bart nrmse -s truth xa | tail -n 1) $(bart nrmse -s truth_head xh | tail -n 1) $l" >>scores
    done
    sort -g scores | awk 'NR == 1 { all = $1; at = $3 } NR == 1 || $2 < least { least = $2 } END { printf "%.4f/%.4f(%g)", all, least, at }'
}

quality() {
    [ -e "$SCAN" ] || { echo "skipped: $SCAN is absent"; exit 77; }
    quiet "$KRAY" convert "$SCAN:kData@x,y,coil" full.cfl
    quiet "$KRAY" convert "$SCAN:coil_sens@x,y,coil" given.cfl
    quiet bart fft -iu 3 full coils
    quiet bart rss 8 coils truth
    echo 'NRMSE of the whole plane / where both have maps, each at its best (lambda of the first)'
    printf '%-14s' mask 'BART wavelet' 'Kray wavelet' 'Kray, order 4' 'BART tv' 'Kray tv' 'Kray tgv' | sed 's/\(BART\|Kray\)/ \1/g'
    echo
    worse=0
    for m in ${MASKS:-kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7 R2 R3 R4 R5 R6}; do
        case $m in
        R*) quiet bart upat -Y256 -Z1 "-y${m#R}" -z1 -c24 mask ;;
        *) quiet "$KRAY" convert "$SCAN:$m@x,y" mask.cfl ;;
        esac
        quiet bart fmac full mask k
        if bart ecalib -m1 k sb >/dev/null 2>&1; then
            own=
        else                                  # no calibration area: both take the maps that came with the scan
            cp given.cfl sb.cfl
            cp given.hdr sb.hdr
            own="--coils given.cfl"
        fi
        quiet bart rss 8 sb size
        quiet bart threshold -B 0.5 size head
        quiet bart fmac truth head truth_head
        kray="$KRAY recon -q k.cfl -o x.cfl --complex $own --lambda LAMBDA --method"
        bw=$(best bart pics -S -l1 -rLAMBDA -i100 k sb x)
        kw=$(best $kray wavelet)
        k4=$(best $kray wavelet --order 4)
        bt=$(best bart pics -S -R T:3:0:LAMBDA -i100 k sb x)
        kt=$(best $kray tv)
        printf '%-14s %s %s %s %s %s %s\n' "$m" "$bw" "$kw" "$k4" "$bt" "$kt" "$(best $kray tgv)"
        worse=$(echo "$worse $bw $kw $k4 $bt $kt" | tr '/' ' ' | awk '{ print ($4 + 0 > 1.002 * $2 || $6 + 0 > 1.002 * $2 || $10 + 0 > 1.002 * $8) ? 1 : $1 }')
    done
    return "$worse"
}

case ${1:-} in
quality) quality ;;
*) speed ${*:-haar wavelet tv llr volume} ;;
esac
