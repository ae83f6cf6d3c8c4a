#!/bin/sh
# rest.sh: does each default end where it would end? Each method as it comes, and with --tolerance 0 and ten times the iterations that it
# used (at least 2000): decibels between their errors against the fully sampled image, and the NRMSE of one image to the other.
# A real brain (LORAKS MPRAGE, 256 x 256), 4 coils and one (combined by its maps), or the middle SIZE x SIZE samples of its k-space and masks. Lines are added to TABLE; those that it has are not done again.
#
#   tests/peers/rest.sh [TABLE]
#   KRAY=build/tools/kray METHODS="wavelet tv" MASKS="R2 kMaskRandACS7" COILS="4 1" LEAST=2000 SIZE=256 OMP_NUM_THREADS=1 WORK=/dev/shm
set -eu
. "$(dirname "$0")/peer.sh"
SCAN=$(absolute "${KR_SHARED:-../shared}/data/mri/brain_mprage_4ch_256_loraks.mat")
TABLE=$(absolute "${1:-rest.txt}")
LEAST=${LEAST:-2000}
SIZE=${SIZE:-256}
need bart
[ -e "$SCAN" ] || skipped "$SCAN is absent"
scratch
touch "$TABLE"
middle() { quiet bart resize -c 0 "$SIZE" 1 "$SIZE" "$1" "$2"; }
quiet "$KRAY" convert "$SCAN:kData@x,y,coil" whole4.cfl
quiet "$KRAY" convert "$SCAN:coil_sens@x,y,coil" given.cfl
quiet bart fft -iu 3 whole4 images
quiet bart fmac -C -s 8 images given one
quiet bart fft -u 3 one whole1
for c in 4 1; do
    middle whole$c full$c
    quiet bart fft -iu 3 full$c images
    quiet bart rss 8 images truth$c
done

# image NAME OPTIONS...: NAME.cfl; iterations and whether it has converged; seconds of all cores
image() {
    to=$1
    shift
    /usr/bin/time -f '%U' -o seconds "$KRAY" recon -v k.cfl -o "$to.cfl" --complex "$@" 2>log || { cat log; exit 1; }
    its=$(sed -n 's/.*: \([0-9]*\) iterations.*/\1/p' log | tail -n 1)
    grep -q 'not converged' log && rests=no || rests=yes
    quiet bart cabs "$to" "$to.a"
}

for c in ${COILS:-4 1}; do
    for m in ${MASKS:-kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7 R2 R4 R8 P2 P4 P8}; do
        case $m in
        R*) quiet bart upat "-Y$SIZE" -Z1 "-y${m#R}" -z1 -c24 mask ;;
        P*) quiet "$KRAY" mask "poisson:accel=${m#P},calib=20,axes=xy" --shape "$SIZE,$SIZE" -o mask.cfl ;;
        *) quiet "$KRAY" convert "$SCAN:$m@x,y" pattern.cfl && middle pattern mask ;;
        esac
        quiet bart fmac "full$c" mask k
        for how in ${METHODS:-wavelet wavelet_--no-shifts tv tgv cs cs_--no-shifts}; do
            name="$c $m $how"
            ! grep -q "^$name " "$TABLE" || continue
            options="--method $(echo "$how" | tr _ ' ')"
            image short $options
            used=$its done=$rests took=$(tail -n 1 seconds)
            long=$((10 * used > LEAST ? 10 * used : LEAST))
            image long $options --tolerance 0 --iterations "$long"
            echo "$name $used $done $took $(bart nrmse -s "truth$c" short.a | tail -n 1) $(bart nrmse -s "truth$c" long.a | tail -n 1) $(bart nrmse long short | tail -n 1)" |
                awk '{ printf "%s %s %s %d %s %.2f s %+.3f dB %.5f\n", $1, $2, $3, $4, $5, $6, 20 * log($8 / $7) / log(10), $9 }' >>"$TABLE"
            tail -n 1 "$TABLE"
        done
    done
done
