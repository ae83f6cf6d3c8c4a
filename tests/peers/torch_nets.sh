#!/bin/sh
# torch_nets.sh: the same networks, weights and slice (320 x 320, 8 coils) through PyTorch and through Kray, both on 2 threads: do
# the images agree, seconds per slice (in the process, after a warm-up; Kray in float32, whose 3x3 convolutions are in Winograd's form,
# and in bfloat16 but for networks of U-Nets, which have no other form), whole process of Kray, peak memory. Not a test: it takes minutes, and its figures are those of the machine.
#
#   tests/peers/torch_nets.sh [rim] [recurrentvarnet] [cirim] [varnet]
#   GOLDEN=build/tests/kray-golden PYTHON=python3 RUNS=5 WORK=/dev/shm
set -eu
GOLDEN=${GOLDEN:-build/tests/kray-golden}
PYTHON=${PYTHON:-python3}
RUNS=${RUNS:-5}
here=$(dirname "$0")
"$PYTHON" -c 'import torch, h5py' 2>/dev/null || { echo "skipped: $PYTHON has no torch and h5py"; exit 77; }
[ -x "$GOLDEN" ] || { echo "skipped: there is no kray-golden at $GOLDEN"; exit 77; }
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/kray-torch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export OMP_NUM_THREADS=2 KR_THREADS=2

printf '%s\n' "PyTorch $("$PYTHON" -c 'import torch; print(torch.__version__)'), 2 threads, median of $RUNS, $(date +%F)"
printf '%-16s %10s %8s %6s %8s %6s %9s %9s %11s %9s %10s\n' network 'PyTorch s' 'Kray s' ratio 'bf16 s' ratio 'SSIM' 'whole s' 'PyTorch MiB' 'Kray MiB' difference
[ $# -gt 0 ] || set -- rim recurrentvarnet cirim varnet
for net; do
    "$PYTHON" "$here/torch_nets.py" "$net" "$work/net.h5" "$RUNS" >"$work/torch" 2>"$work/log" || { echo "failed: $net"; cat "$work/log"; exit 1; }
    "$GOLDEN" --time "$RUNS" "$work/net.h5" >"$work/kray" || { echo "failed: the images of $net differ"; cat "$work/kray"; exit 1; }
    "$GOLDEN" --bf16 --time "$RUNS" "$work/net.h5" >"$work/half" || echo 'time - -' >"$work/half"    # refused: U-Nets, old processors
    start=$(date +%s%N)
    "$GOLDEN" "$work/net.h5" >/dev/null
    end=$(date +%s%N)
    echo "$(cat "$work/torch") $(sed -n 's/^time //p' "$work/kray") $(sed -n 's/^time //p' "$work/half")" | awk -v net="$net" \
        -v whole=$(((end - start) / 1000)) -v ssim="$(sed -n 's/.*SSIM //p' "$work/half" | head -n 1)" \
        -v apart="$(sed -n 's/.*largest difference \([^ ]*\) of.*/\1/p' "$work/kray")" \
        '{ printf "%-16s %10.3f %8.3f %6.2f %8s %6s %9s %9.3f %11d %9d %10s\n", net, $1, $3, $1 / $3, $5, ($5 > 0 ? sprintf("%.2f", $1 / $5) : "-"), ssim,
           whole / 1e6, $2, $4, apart }'
    rm -f "$work/net.h5"
done
