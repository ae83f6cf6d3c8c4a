#!/bin/sh
# bart_rim.sh: a Recurrent Inference Machine (IndRNN, 64 features, 8 steps) by Kray beside BART's l1-wavelet reconstruction (100
# iterations) of the same 320 x 320 slice of 8 coils: whole processes, taken in turns: medians, ratio, peak memory. Speed only: the
# weights were trained on other images. Not a test: its figures are those of the machine.
#
#   WEIGHTS=cirim_1c_64f_l1_nodc_epoch19.ckpt tests/peers/bart_rim.sh
#   KRAY=build/tools/kray RUNS=5 OMP_NUM_THREADS=2 WORK=/dev/shm
set -eu
. "$(dirname "$0")/peer.sh"
RUNS=${RUNS:-5}
WEIGHTS=$(absolute "${WEIGHTS:-$(dirname "$0")/../../../shared/data/weights/cirim_1c_64f_l1_nodc_epoch19.ckpt}")
[ -e "$WEIGHTS" ] || skipped "there are no weights at $WEIGHTS"
need bart
timed
scratch

quiet "$KRAY" simulate -m 320,320 -s 1 -c 8 --snr 30 -o full.cfl
quiet bart resize -c 0 320 1 320 full small
quiet bart ecalib -m1 small maps
quiet bart upat -Y320 -Z1 -y4 -z1 -c13 mask1
quiet bart transpose 0 1 mask1 mask0
quiet bart transpose 0 1 mask0 mask
quiet bart fmac small mask under

i=0
while [ $i -lt "$RUNS" ]; do
    once bart bart pics -S -l1 -r 0.001 -i 100 under maps b
    once kray "$KRAY" recon under.cfl -o k.cfl --method cirim --weights "$WEIGHTS" --coils maps.cfl
    i=$((i + 1))
done
heading
echo "$(median bart) $(median kray)" | awk '{ printf "l1-wavelet %.1f ms, %d MiB; RIM %.1f ms, %d MiB; RIM takes %.0f %% of the time\n", $1, $2, $3, $4, 100 * $3 / $1 }'
