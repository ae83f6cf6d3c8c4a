#!/bin/sh
# bart_rim.sh: a Recurrent Inference Machine (IndRNN, 64 features, 8 steps) by Kray beside BART's l1-wavelet reconstruction (100
# iterations) of the same 320 x 320 slice of 8 coils: whole processes, taken in turns: medians, ratio, peak memory. Speed only: the
# weights were trained on other images. Not a test: its figures are those of the machine.
#
#   WEIGHTS=cirim_1c_64f_l1_nodc_epoch19.ckpt tests/peers/bart_rim.sh
#   KRAY=build/tools/kray RUNS=5 OMP_NUM_THREADS=2 WORK=/dev/shm
set -eu
KRAY=${KRAY:-build/tools/kray}
RUNS=${RUNS:-5}
WEIGHTS=${WEIGHTS:-$(dirname "$0")/../../../shared/data/weights/cirim_1c_64f_l1_nodc_epoch19.ckpt}
OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
export OMP_NUM_THREADS
command -v bart >/dev/null 2>&1 || { echo "skipped: there is no bart here"; exit 77; }
[ -x /usr/bin/time ] || { echo "skipped: there is no /usr/bin/time (GNU time) here"; exit 77; }
[ -e "$WEIGHTS" ] || { echo "skipped: there are no weights at $WEIGHTS"; exit 77; }
KRAY=$(command -v "$KRAY") || { echo "skipped: there is no kray at $KRAY"; exit 77; }
KRAY=$(realpath "$KRAY")
WEIGHTS=$(realpath "$WEIGHTS")
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/kray-bart.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work"

quiet() { "$@" >log 2>&1 || { echo "failed: $*"; cat log; exit 1; }; }
quiet "$KRAY" simulate -m 320,320 -s 1 -c 8 --snr 30 -o full.cfl
quiet bart resize -c 0 320 1 320 full small
quiet bart ecalib -m1 small maps
quiet bart upat -Y320 -Z1 -y4 -z1 -c13 mask1
quiet bart transpose 0 1 mask1 mask0
quiet bart transpose 0 1 mask0 mask
quiet bart fmac small mask under

once() {
    name=$1
    shift
    start=$(date +%s%N)
    /usr/bin/time -f %M -o rss "$@" >log 2>&1 || { echo "failed: $*"; cat log; exit 1; }
    end=$(date +%s%N)
    echo "$(((end - start) / 1000)) $(tail -n 1 rss)" >>"$name.runs"
}
median() { sort -n "$1.runs" | awk '{ t[NR] = $1; if ($2 > m) m = $2 } END { printf "%.1f %.0f", t[int((NR + 1) / 2)] / 1000, m / 1024 }'; }

i=0
while [ $i -lt "$RUNS" ]; do
    once bart bart pics -S -l1 -r 0.001 -i 100 under maps b
    once kray "$KRAY" recon under.cfl -o k.cfl --method cirim --weights "$WEIGHTS" --coils maps.cfl
    i=$((i + 1))
done
printf '%s\n' "$("$KRAY" --version), BART $(bart version), $OMP_NUM_THREADS threads, median of $RUNS, $(date +%F)"
echo "$(median bart) $(median kray)" | awk '{ printf "l1-wavelet %.1f ms, %d MiB; RIM %.1f ms, %d MiB; RIM takes %.0f %% of the time\n", $1, $2, $3, $4, 100 * $3 / $1 }'
