#!/bin/sh
# kspace_quality.sh: methods in k-space beside SENSE and BART's pics on a fully sampled real scan, undersampled by the masks that came with
# it and by every R-th line with 24 at the centre. NRMSE of the magnitude to the root of the sum of squares, after the best common
# factor, by `bart nrmse -s` for all. GRAPPA and linear SPIRiT as they come; SPIRiT with l1, SENSE and pics at the best value of one grid.
# A mask for which a method has no kernels shows `-`. Not a test: its figures are those of the scan.
#
#   tests/peers/kspace_quality.sh [SCAN.mat]       brain_mprage_4ch_256_loraks.mat of LORAKS V2.1 (USC)
#   KRAY=build/tools/kray MASKS="R2 kMaskRandACS7" L1="0.0005 0.001" LAMBDAS="0.001 0.01"
set -eu
. "$(dirname "$0")/peer.sh"
SCAN=$(absolute "${1:-${KR_SHARED:-../shared}/data/mri/brain_mprage_4ch_256_loraks.mat}")
[ -e "$SCAN" ] || skipped "$SCAN is absent"
LAMBDAS=${LAMBDAS:-0.0003 0.001 0.003 0.01 0.02}
L1=${L1:-0.0003 0.001 0.002 0.004}
need bart
scratch
"$KRAY" convert -q "$SCAN:kData@x,y,coil" full.cfl
"$KRAY" convert -q "$SCAN:coil_sens@x,y,coil" given.cfl
bart fft -iu 3 full coils >log
bart rss 8 coils truth >log

# best VALUES COMMAND...: the smallest NRMSE; VALUE in the command is replaced
best() {
    values=$1
    shift
    : >scores
    for v in $values; do
        rm -f x.cfl
        $(echo "$*" | sed "s/VALUE/$v/g") >log 2>&1 || continue
        bart cabs x xa >log
        bart nrmse -s truth xa | tail -n 1 >>scores
    done
    [ -s scores ] && sort -g scores | head -n 1 | awk '{ printf "%-10.4f", $1 }' || printf '%-10s' -
}

kray() { "$KRAY" recon -q k.cfl -o x.cfl "$@"; }
printf '%-14s%-10s%-10s%-10s%-10s%-10s\n' mask GRAPPA SPIRiT 'with l1' SENSE 'BART pics'
for m in ${MASKS:-R2 R3 R4 R5 R6 kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7}; do
    case $m in
    R*) bart upat -Y256 -Z1 "-y${m#R}" -z1 -c24 mask >log ;;
    *) "$KRAY" convert -q "$SCAN:$m@x,y" mask.cfl ;;
    esac
    bart fmac full mask k >log
    maps=
    if ! bart ecalib -m1 k sb >log 2>&1; then              # no calibration area: the maps that came with the scan
        cp given.cfl sb.cfl
        cp given.hdr sb.hdr
        maps="--coils given.cfl"
    fi
    printf '%-14s' "$m"
    best 0 kray --method grappa
    best 0 kray --method spirit --l1 0
    best "$L1" kray --method spirit --l1 VALUE
    best "$LAMBDAS" kray --method sense $maps --lambda VALUE
    best "$LAMBDAS" bart pics -S -l2 -rVALUE -i100 k sb x
    echo
done
