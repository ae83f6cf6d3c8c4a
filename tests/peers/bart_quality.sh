#!/bin/sh
# bart_quality.sh: how near CG-SENSE comes to the root of the sum of squares of a fully sampled real scan, by Kray and by BART,
# each at its best lambda of one grid: BART with ecalib's maps; Kray as it comes, its maps weighted by their eigenvalues; Kray
# with maps that are cropped as BART's are (kray coils); Kray with BART's maps. NRMSE after the best common factor, by `bart
# nrmse -s` for all. Last, how well the cropped maps agree with BART's up to a phase: |<S, S'>| / |S| |S'|, mean over the pixels
# that both have. Exits with 1 where Kray as it comes is worse than BART by more than 0.5 %.
#
#   tests/peers/bart_quality.sh [SCAN.mat]       brain_mprage_4ch_256_loraks.mat of LORAKS V2.1 (USC)
#   KRAY=build/tools/kray OMP_NUM_THREADS=2 LAMBDAS="0.001 0.01" ITERATIONS=100
set -eu
. "$(dirname "$0")/peer.sh"
SCAN=$(absolute "${1:-${KR_SHARED:-../shared}/data/mri/brain_mprage_4ch_256_loraks.mat}")
[ -e "$SCAN" ] || skipped "$SCAN is absent"
LAMBDAS=${LAMBDAS:-0.0003 0.001 0.002 0.003 0.005 0.007 0.01 0.02}
ITERATIONS=${ITERATIONS:-100}
need bart
scratch

quiet "$KRAY" convert "$SCAN:kData@x,y,coil" full.cfl
quiet "$KRAY" convert "$SCAN:coil_sens@x,y,coil" given.cfl
quiet bart fft -iu 3 full coils
quiet bart rss 8 coils truth

# best NAME COMMAND...: the smallest NRMSE over the grid, and its lambda; LAMBDA in the command is replaced
best() {
    : >scores
    for l in $LAMBDAS; do
        $(echo "$*" | sed "s/LAMBDA/$l/g")
        quiet bart cabs x xa
        echo "$(bart nrmse -s truth xa | tail -n 1) $l" >>scores
    done
    sort -g scores | head -n 1
}

kray() { quiet "$KRAY" recon -q k.cfl -o x.cfl --complex --method sense --iterations "$ITERATIONS" --tolerance 0 "$@"; }
cell() { printf '%-18s' "$1 ($2)"; }

# agreement A B: two sets of maps
agreement() {
    quiet bart fmac -C -s8 "$1" "$2" both
    quiet bart cabs both size
    quiet bart rss 8 "$1" a
    quiet bart rss 8 "$2" b
    quiet bart fmac a b ab
    quiet bart avg 3 size top
    quiet bart avg 3 ab bottom
    echo "$(bart show top) $(bart show bottom)" | awk '{ printf "%.5f", $1 / $2 }'
}

printf '%-14s%-18s%-18s%-18s%-18s%s\n' 'mask' 'BART (lambda)' 'Kray' 'Kray, cropped' "Kray, BART's" 'maps agree'
worse=0
for m in ${MASKS:-kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7 R2 R3 R4}; do
    case $m in
    R*) quiet bart upat -Y256 -Z1 "-y${m#R}" -z1 -c24 mask ;;
    *) quiet "$KRAY" convert "$SCAN:$m@x,y" mask.cfl ;;
    esac
    quiet bart fmac full mask k
    own=
    if bart ecalib -m1 k sb >/dev/null 2>&1; then
        quiet "$KRAY" coils k.cfl -o sk.cfl
    else                                      # no calibration area: both take the maps that came with the scan
        for s in sb sk; do
            cp given.cfl $s.cfl
            cp given.hdr $s.hdr
        done
        own="--coils given.cfl"
    fi
    b=$(best quiet bart pics -S -l2 -rLAMBDA "-i$ITERATIONS" k sb x)
    k=$(best kray $own --lambda LAMBDA)
    kc=$(best kray --coils sk.cfl --lambda LAMBDA)
    kb=$(best kray --coils sb.cfl --lambda LAMBDA)
    printf '%-14s' "$m"
    for c in "$b" "$k" "$kc" "$kb"; do
        cell $c
    done
    agreement sk sb
    echo
    worse=$(echo "$worse ${b% *} ${k% *}" | awk '{ print ($3 > 1.005 * $2) ? 1 : $1 }')
done
exit "$worse"
