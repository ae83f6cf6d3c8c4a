#!/bin/sh
# pygrappa.sh: GRAPPA by Kray and by pygrappa's compiled form on the same data: 320 x 320, 16 coils, R = 4, 24 calibration lines. Times are
# medians: pygrappa's of the call alone (Python's start, its imports and the files are not counted), Kray's of the whole process, and of
# the method alone (kray bench). NRMSE of the RSS image against that of the full data. Not a test: its figures are those of the machine.
#
#   tests/peers/pygrappa.sh
#   KRAY=build/tools/kray PYTHON=python3 RUNS=5
set -eu
KRAY=${KRAY:-build/tools/kray}
PYTHON=${PYTHON:-python3}
RUNS=${RUNS:-5}
KRAY=$(command -v "$KRAY") || { echo "skipped: there is no kray at $KRAY"; exit 77; }
case $KRAY in /*) ;; *) KRAY=$PWD/$KRAY ;; esac
"$PYTHON" -c 'from pygrappa import cgrappa' 2>/dev/null || { echo "skipped: $PYTHON has no pygrappa with its compiled modules"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/kray-pygrappa.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work"
simulate() { "$KRAY" simulate -q -m 320,320 -s 1 -c 16 --snr 100 --no-noise-scan --no-oversampling "$@"; }
simulate -o full.cfl
simulate -u uniform:accel=4,lines=24 -o r4.cfl
i=0
while [ $i -lt "$RUNS" ]; do
    start=$(date +%s%N)
    "$KRAY" recon -q r4.cfl -o kray.npy --method grappa
    echo "$((($(date +%s%N) - start) / 1000))" >>runs
    i=$((i + 1))
done
echo "Kray, whole process: $(sort -n runs | awk '{ t[NR] = $1 } END { printf "%.1f", t[int((NR + 1) / 2)] / 1000 }') ms"
"$KRAY" bench grappa --repeat "$RUNS" | tail -n 1
RUNS=$RUNS "$PYTHON" - <<'END'
import os, time
import numpy as np
from pygrappa import cgrappa

def read(name):
    dims = [int(n) for n in open(name + '.hdr').read().split('\n')[1].split()]
    return np.fromfile(name + '.cfl', np.complex64).reshape([dims[3], dims[1], dims[0]]).transpose(2, 1, 0).astype(complex)

def rss(k):
    f = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=(0, 1)), axes=(0, 1), norm='ortho'), axes=(0, 1))
    return np.sqrt((abs(f) ** 2).sum(2))

k, full = np.ascontiguousarray(read('r4')), rss(read('full'))
calib, times = np.ascontiguousarray(k[:, 148:172]), []
for i in range(int(os.environ['RUNS'])):
    start = time.perf_counter()
    r = cgrappa(k, calib, kernel_size=(5, 5), lamda=0.01)
    times.append(time.perf_counter() - start)
print('pygrappa cgrappa, the call alone: %.1f ms' % (1e3 * sorted(times)[len(times) // 2]))
ours = np.squeeze(np.load('kray.npy'))
ours = ours if np.linalg.norm(ours - full) < np.linalg.norm(ours.T - full) else ours.T
nrmse = lambda a: np.linalg.norm(a - full) / np.linalg.norm(full)
print('NRMSE: Kray %.4f, pygrappa %.4f' % (nrmse(abs(ours)), nrmse(rss(r))))
END
