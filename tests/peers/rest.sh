#!/bin/sh
# rest.sh: does each default end where it would end? Each method as it comes, and with --tolerance 0 and ten times the iterations that it
# used (at least 2000): decibels between their errors against the fully sampled image, and the NRMSE of one image to the other.
# Data: a real brain (LORAKS MPRAGE, 256 x 256), 4 coils and one (combined by its maps), or the middle SIZE x SIZE samples of its k-space and masks;
# `alias`, a brain larger than its field of view (ESPIRiT's example, 8 coils, the measured 168 columns, two sets of maps); `series`, a heart at 6 times
# (Sunnybrook, its real images through the brain's 4 maps). Lines are added to TABLE; those that it has are not done again.
#
#   tests/peers/rest.sh [TABLE]
#   KRAY=build/tools/kray METHODS="wavelet tv" MASKS="R2 kMaskRandACS7" COILS="4 1 alias series" LEAST=2000 SIZE=256 OMP_NUM_THREADS=1 WORK=/dev/shm
set -eu
. "$(dirname "$0")/peer.sh"
SHARED=$(absolute "${KR_SHARED:-../shared}")
SCAN=$SHARED/data/mri/brain_mprage_4ch_256_loraks.mat
TABLE=$(absolute "${1:-rest.txt}")
LEAST=${LEAST:-2000}
SIZE=${SIZE:-256}
need bart
[ -e "$SCAN" ] || skipped "$SCAN is absent"
scratch
touch "$TABLE"

# middle FROM TO: the middle of k-space, and its size in $x and $y
middle() { quiet bart resize -c 0 "$x" 1 "$y" "$1" "$2"; }
images_of_mprage()
{
    quiet "$KRAY" convert "$SCAN:kData@x,y,coil" whole4.cfl
    quiet "$KRAY" convert "$SCAN:coil_sens@x,y,coil" given.cfl
    quiet bart fft -iu 3 whole4 images
}

# prepare DATA: full.cfl, its size $x and $y, and $more, options for it
prepare()
{
    x=$SIZE y=$SIZE more=
    rm -f whole*.cfl given.cfl hearts.*
    case $1 in
    4) images_of_mprage; middle whole4 full ;;
    1) images_of_mprage; quiet bart fmac -C -s 8 images given one; quiet bart fft -u 3 one whole1; middle whole1 full ;;
    alias)
        x=320 y=168 more='--maps 2'
        quiet "$KRAY" convert "$SHARED/data/mri/brain_alias_8ch_320x256_espirit.mat:DATA@x,y,coil" whole8.cfl
        middle whole8 full ;;
    series)
        need unzip
        images_of_mprage
        unzip -p "$SHARED/data/train/heart_cine_35patients_256x256_sunnybrook.npz" image.npy >hearts.npy
        quiet "$KRAY" convert hearts.npy@z,y,x hearts.cfl
        quiet bart extract 2 0 6 hearts beats
        quiet bart transpose 2 10 beats frames
        quiet bart fmac frames given images
        quiet bart fft -u 3 images whole
        middle whole full
        quiet bart noise -s 1 -n 25 full noisy                 # of images up to 255
        quiet bart copy noisy full ;;
    esac
    quiet bart fft -iu 3 full images
    quiet bart rss 8 images truth
}

# image NAME OPTIONS...: NAME.cfl; iterations and whether it has converged; seconds of all cores
image() {
    to=$1
    shift
    rm -f "$to.cfl"
    /usr/bin/time -f '%U' -o seconds "$KRAY" recon -v k.cfl -o "$to.cfl" --complex $more "$@" 2>log || { cat log; exit 1; }
    its=$(sed -n 's/.*: \([0-9]*\) iterations.*/\1/p' log | tail -n 1)
    grep -q 'not converged' log && rests=no || rests=yes
    quiet bart cabs "$to" "$to.a"
}

for c in ${COILS:-4 1 alias series}; do
    prepare "$c"
    masks='R2 R4 R8 P2 P4 P8'
    methods='wavelet wavelet_--no-shifts tv cs cs_--no-shifts spirit tgv'
    case $c in
    4) masks="kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7 $masks" ;;
    1) masks="kMaskPFACS7 kMaskRand7 kMaskRandACS7 kMaskUnACS7 $masks" methods='wavelet wavelet_--no-shifts tv cs cs_--no-shifts tgv' ;;
    series) masks='K4 K8' methods='ttv llr llr_--no-shifts lowrank-sparse cs_--reg_ttv:0.005+tv:0.002' ;;
    esac
    for m in ${MASKS:-$masks}; do
        rm -f mask.cfl
        case $m in
        K*) quiet "$KRAY" mask "kt_uniform:accel=${m#K},lines=16" --shape "x=$x,y=$y,time=6" -o mask.cfl ;;
        R*) quiet bart upat "-Y$y" -Z1 "-y${m#R}" -z1 -c24 mask ;;
        P*) quiet "$KRAY" mask "poisson:accel=${m#P},calib=20,axes=xy" --shape "$x,$y" -o mask.cfl ;;
        *) rm -f pattern.cfl
            quiet "$KRAY" convert "$SCAN:$m@x,y" pattern.cfl && middle pattern mask ;;
        esac
        quiet bart fmac full mask k
        for how in ${METHODS:-$methods}; do
            name="$c $m $how"
            ! grep -qF "$name " "$TABLE" || continue
            options="--method $(echo "$how" | tr _ ' ')"
            image short $options
            used=$its done=$rests took=$(tail -n 1 seconds)
            long=$((10 * used > LEAST ? 10 * used : LEAST))
            image long $options --tolerance 0 --iterations "$long"
            echo "$name $used $done $took $(bart nrmse -s truth short.a | tail -n 1) $(bart nrmse -s truth long.a | tail -n 1) $(bart nrmse long short | tail -n 1)" |
                awk '{ printf "%s %s %s %d %s %.2f s %+.3f dB %.5f\n", $1, $2, $3, $4, $5, $6, 20 * log($8 / $7) / log(10), $9 }' >>"$TABLE"
            tail -n 1 "$TABLE"
        done
    done
done
