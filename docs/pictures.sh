#!/bin/sh
# docs/pictures.sh KRAY: makes the pictures of masks.md and methods.md (docs/masks/, docs/methods/) with the built command, and prints
# the table of methods.md: scores, and the processor time of the whole command on one thread.
set -eu
kray=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")"
export OMP_WAIT_POLICY=passive

mkdir -p masks methods
for kind in $("$kray" help masks | sed -n 's/^\([a-z_0-9]*\) .*/\1/p'); do
    case $kind in
    *kt_radial) shape=x=48,y=48,time=6 ;;
    *kt_*) shape=y=96,time=96 ;;
    *radial|*spiral|*2d|*poisson) shape=96,96 ;;
    *) shape=y=192 ;;
    esac
    seed=":seed=1"
    "$kray" help masks | grep -A1 "^$kind " | grep -q seed || seed=
    [ "$kind" = poisson ] && seed=":seed=1,axes=xy"
    "$kray" mask "$kind$seed" --shape "$shape" -o "masks/$kind.png" -q >/dev/null
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mask=equispaced:accel=4,center=0.13,seed=1
"$kray" simulate brain -o "$work/scan.h5" --matrix 192,192 --slices 1 --coils 12 --snr 40 --seed 1 -r "$work/target.nii.gz" -q
"$kray" convert "$work/target.nii.gz" methods/target.png -q
for method in rss sense grappa spirit wavelet tv tgv cs nlinv; do
    command time -f %U -o "$work/time" "$kray" recon "$work/scan.h5" -o "$work/$method.nii.gz" --method $method -u $mask --no-whiten --threads 1 -q
    "$kray" convert "$work/$method.nii.gz" methods/$method.png -q
    "$kray" eval --target "$work/target.nii.gz" "$work/$method.nii.gz" --csv - -q 2>/dev/null |
        awk -F, -v m=$method -v t="$(cat "$work/time")" '$2 == "volume" { printf "| `%s` | %.3f | %.1f | %.3f | %.2f |\n", m, $5, $6, $8, t }'
done
