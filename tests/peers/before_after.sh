#!/bin/bash
# before_after.sh COMMIT_A COMMIT_B [PAIRS]: is B slower or larger than A? Both are built in a folder of their own (KR_PAIRS, /tmp/kray-pairs) and run a
# dozen command lines on simulated scans in alternating pairs (10), one thread. Printed: medians of processor seconds (user and system, which a busy
# machine changes less than the time of day) and of the peak of memory; B/A, the median of the ratios of the pairs, and half the distance of their quartiles.
# A row is worse where B needs 5 % more than A and more than that spread.
# An argument that is a folder is a build of kray already there.
set -e
here=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0"; exit 2; }
pairs=${3:-10} room=${KR_PAIRS:-/tmp/kray-pairs}
mkdir -p "$room"

build()   # commit: prints the path of its kray
{
    if [ -d "$1" ]; then echo "$(cd "$1" && pwd)/tools/kray"; return; fi
    local at
    at=$room/$(git -C "$here" rev-parse --short "$1")
    if [ ! -x "$at/build/tools/kray" ]; then
        mkdir -p "$at"
        git -C "$here" archive "$1" | tar -C "$at" -xf -
        (cd "$at" && { [ -d build ] || meson setup build; } && ninja -C build tools/kray) >"$at.log" 2>&1 || { tail -5 "$at.log" >&2; exit 1; }
    fi
    echo "$at/build/tools/kray"
}
a=$(build "$1") b=$(build "$2")
[ -x "$a" ] && [ -x "$b" ] || { echo "no kray in $1 or $2"; exit 1; }
export OMP_NUM_THREADS=1 KR_THREADS=1 OPENBLAS_NUM_THREADS=1
cd "$room"
# Scans by A, so that both read the same.
[ -f flat.h5 ] || "$a" simulate shepplogan -o flat.h5 --matrix 192,192 --slices 1 --coils 8 --snr 50 >simulate.log 2>&1
[ -f deep.h5 ] || "$a" simulate shepplogan -o deep.h5 --matrix 96,96 --slices 12 --coils 8 --snr 50 >>simulate.log 2>&1
rows=(
    "recon flat.h5 --method rss"
    "recon flat.h5 --method sense --undersample equispaced:accel=4,center=0.08"
    "recon flat.h5 --method grappa --undersample equispaced:accel=3,center=0.1"
    "recon flat.h5 --method spirit --undersample random:accel=4,center=0.1,seed=1"
    "recon flat.h5 --method wavelet --undersample random:accel=4,center=0.1,seed=1"
    "recon flat.h5 --method tv --undersample random:accel=4,center=0.1,seed=1 --iterations 200"
    "recon flat.h5 --method tgv --undersample random:accel=4,center=0.1,seed=1 --iterations 100"
    "recon flat.h5 --method nlinv --undersample equispaced:accel=3,center=0.1"
    "recon deep.h5 --method sense --undersample equispaced:accel=3,center=0.12"
    "coils flat.h5"
    "convert flat.h5"
    "info flat.h5 --json"
)
echo "| command line | A | B | B/A | spread | A | B | B/A | |"; echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for row in "${rows[@]}"; do
    for side in $(seq 1 "$pairs"); do
        order="a b"; [ $((side % 2)) = 0 ] && order="b a"
        for which in $order; do
            out=(); case $row in recon*) out=(-o "$which.nii") ;; coils*|convert*) out=(-o "$which.cfl") ;; esac
            case $row in convert*) out=("$which.cfl") ;; esac
            # shellcheck disable=SC2086
            /usr/bin/time -f "%U %S %M" -o time.txt "${!which}" $row "${out[@]}" >run.log 2>&1 || { echo "$which fails: $row"; tail -2 run.log; continue 3; }
            echo "$which $(awk '{ print $1 + $2, $3 }' time.txt)"
        done
    done >pairs.txt
    python3 - "$row" <<'EOF'
import statistics, sys
runs = {"a": [], "b": []}
for line in open("pairs.txt"):
    which, seconds, size = line.split()
    runs[which].append((float(seconds), float(size) / 1024))
if len(runs["a"]) < 2 or len(runs["a"]) != len(runs["b"]):
    sys.exit("| %s | failed |" % sys.argv[1])
median = lambda which, k: statistics.median(r[k] for r in runs[which])
ratios = [b[0] / max(a[0], 1e-3) for a, b in zip(runs["a"], runs["b"])]
q = statistics.quantiles(ratios, n=4)
spread = (q[2] - q[0]) / 2
time, size = statistics.median(ratios), median("b", 1) / median("a", 1)
worse = "worse" if time > 1.05 and time - 1 > spread or size > 1.05 else ""
print("| `%s` | %.2f s | %.2f s | %.2f | %.0f %% | %.0f MiB | %.0f MiB | %.2f | %s |" % (sys.argv[1], median("a", 0), median("b", 0), time, 100 * spread, median("a", 1), median("b", 1), size, worse))
EOF
done
