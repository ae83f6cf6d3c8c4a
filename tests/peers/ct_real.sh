#!/bin/sh
# ct_real.sh SHARED OUT: measured CT scans of ../shared by `kray ct`: axes, images from a quarter of the views and from limited arcs, and pictures of all (docs/figures/ct.md).
# Wants kray in PATH and python3 with numpy and h5py.
set -e
shared=$1 out=$2
mkdir -p "$out"
cd "$out"
say() { printf '%s: ' "$1"; shift; "$@" 2>&1 | grep -E 'axis of rotation|rays replaced|fbp|sirt|tv' | tr '\n' ' '; echo; }

tooth=$shared/data/ct/tooth_parallel_tomopy.h5
say tooth kray ct "$tooth" -o tooth.nii.gz --slices 0:1 --projections tooth.npy
python3 - <<'P'
import numpy as np
p = np.load('tooth.npy')
p = p[:, :1] if p.ndim == 3 else p
np.save('quarter.npy', np.ascontiguousarray(p[:180:4]))
P
quarter=parallel:angles=0:180:45
axis=295.6
say 'quarter, fbp' kray ct quarter.npy -o q_fbp.nii.gz --geometry $quarter --axis $axis
say 'quarter, sirt' kray ct quarter.npy -o q_sirt.nii.gz --geometry $quarter --axis $axis --method sirt -i 60 --nonneg
say 'quarter, tv' kray ct quarter.npy -o q_tv.nii.gz --geometry $quarter --axis $axis --method tv --lambda 0.003 -i 100 --tolerance 0 --nonneg

fan=fan:sod=410.66,sdd=553.74,pixel=0.2
htc=$shared/data/ct/htc2022_tb_merged.h5
say 'HTC, all' kray ct "$htc:sinogram" --angles "$htc:angles_deg" --geometry $fan -o htc.nii.gz --matrix 512 --bin 2
kray ct "$htc:sinogram" --angles "$htc:angles_deg" --geometry $fan -o htc_tv.npy --matrix 512 --bin 2 --method tv --lambda 0.001 -i 100 --tolerance 0 --nonneg -q
python3 - <<'P'
import numpy as np
x = np.load('htc_tv.npy').squeeze()                  # parted by Otsu's threshold
count, edge = np.histogram(x, 512)
middle = (edge[1:] + edge[:-1]) / 2
w, m = np.cumsum(count), np.cumsum(count * middle)
np.save('htc_truth.npy', (x > middle[np.argmax((m[-1] * w / w[-1] - m)**2 / np.maximum(w * (w[-1] - w), 1))]).astype(np.float32))
P
for arc in 90 30; do
    say "HTC, $arc degrees" kray ct "$shared/data/ct/htc2022_tb_limited_$arc.mat" -o htc$arc.nii.gz --matrix 512 --bin 2 --method tv --lambda 0.001 -i 400 --tolerance 0 --nonneg
    kray eval --target htc_truth.npy htc$arc.nii.gz --protocol htc2022
done
say wood kray ct "$shared/data/train/ct_sino_wood_parallel_626x448.tif" -o wood.nii.gz --geometry parallel:angles=0:360.577:626
neutron=$shared/data/train/ct_sino_neutron_360deg_459x503_sarepy.tif
say neutron kray ct "$neutron" -o neutron.nii.gz --geometry parallel:angles=0:360.786:459 --white 55000
say 'neutron, rings' kray ct "$neutron" -o neutron_rings.nii.gz --geometry parallel:angles=0:360.786:459 --white 55000 --rings 31
for i in tooth q_fbp q_sirt q_tv htc htc90 htc30 wood neutron neutron_rings; do kray convert $i.nii.gz $i.npy -q; kray convert $i.nii.gz $i.png -q; done
python3 - <<'P'
import numpy as np
def load(n):
    return np.load(n + '.npy').squeeze()
t = load('tooth')
for n in ('q_fbp', 'q_sirt', 'q_tv'):
    x = load(n)
    k = min(t.shape[0], x.shape[0]) * 3 // 4
    cut = lambda a: a[(a.shape[0] - k) // 2:(a.shape[0] - k) // 2 + k, (a.shape[1] - k) // 2:(a.shape[1] - k) // 2 + k]
    print('%s: %.3f off the image of all views' % (n, np.linalg.norm(cut(x) - cut(t)) / np.linalg.norm(cut(t))))
P
