#!/bin/sh
# bart_sms.sh: slices measured together, by Kray and by others on the same data: 160 x 160, 12 coils, 3 of 6 slices at a time, FOV/4 apart (BART's pics
# asks for a number of planes that 4 divides: others turn its image's phase).
#   SENSE: Kray from the sum of slices as it was measured (a .cfl, --multiband 3 --caipi 3, maps from a file) beside `bart pics` on what the
#   same lines are as a 3D scan of four planes, one of them empty, put together here by numpy; the same maps, lambda and iterations. And with every other line left out.
#   Slice-GRAPPA: Kray beside pygrappa's (split and not), 5 x 5, lambda 0.01; times: pygrappa's of the call alone, Kray's of the whole
#   process, which also reads, combines coils and writes; NRMSE of the RSS image against that of single slices
#   without noise.
# Not a test: its figures are those of the machine.
#
#   tests/peers/bart_sms.sh
#   KRAY=build/tools/kray PYTHON=python3
set -eu
. "$(dirname "$0")/peer.sh"
PYTHON=${PYTHON:-python3}
need bart
"$PYTHON" -c 'import pygrappa' 2>/dev/null || skipped "$PYTHON has no pygrappa"
scratch
simulate() { "$KRAY" simulate -q -m 160,160 -s 6 --thickness 4 --gap 12 -c 12 --no-noise-scan --no-oversampling "$@"; }
simulate --snr 60 -o full.cfl
simulate --snr 0 -o true.cfl
"$KRAY" coils -q full.cfl -o maps.cfl --crop 0.02
KRAY=$KRAY "$PYTHON" - <<'END'
import os, resource, subprocess, time
import numpy as np

def read(name):
    dims = [int(n) for n in open(name + '.hdr').read().split('\n')[1].split()]
    return np.fromfile(name + '.cfl', np.complex64).reshape(dims, order='F')

def write(name, a):
    a = np.asarray(a, np.complex64)
    open(name + '.hdr', 'w').write('# Dimensions\n' + ' '.join(map(str, list(a.shape) + [1] * (16 - a.ndim))) + '\n')
    np.asfortranarray(a).T.tofile(name + '.cfl')

def clock():
    if os.environ.get('CLOCK') != 'processor':
        return time.perf_counter()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)

def run(*words):
    start = clock()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return clock() - start

kray, MB, P, N = os.environ['KRAY'], 3, 4, 160
full, maps = read('full'), read('maps')                       # x y 1 coil ... slice (13)
B = full.shape[13] // MB
single = full.reshape(N, N, 12, MB * B)
S = maps.reshape(N, N, 12, MB * B)
ky = np.arange(N) - N // 2
phase = np.exp(-2j * np.pi * np.outer(ky, np.arange(MB)) / P)    # [ky][j]
def collapsed(every):
    out = sum(single[..., j * B:(j + 1) * B] * phase[None, :, j, None, None] for j in range(MB))
    out[:, np.arange(N) % every != 0] = 0
    return out
image = lambda k: np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=(0, 1)), axes=(0, 1), norm='ortho'), axes=(0, 1))
truth = np.sqrt((abs(image(read('true').reshape(N, N, 12, MB * B))) ** 2).sum(2))
nrmse = lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(b)
fit = lambda a, b: a * ((a * b).sum() / (a * a).sum())

for every in 1, 2:
    y = collapsed(every)
    write('sms', y.reshape(N, N, 1, 12, *[1] * 9, B))
    t = run(kray, 'recon', '-q', 'sms.cfl', '-o', 'kray.npy', '-m', 'sense', '--multiband', '3', '--caipi', '4', '-c', 'maps.cfl', '--lambda', '0.002', '--no-rescale',
            '-i', '100', '--tolerance', '1e-7', '--complex')
    ours = np.load('kray.npy').transpose(2, 1, 0)               # slice y x -> x y slice
    theirs, tb = np.zeros_like(ours), 0
    for b in range(B):
        slab, maps3 = np.zeros((N, N, P, 12), complex), np.zeros((N, N, P, 12), complex)
        for j in range(MB):
            maps3[:, :, j] = S[..., b + j * B]
        for l in range(N):
            k = ky[l] % P                                       # centred: plane P/2 is the origin
            slab[:, l, (k + P // 2) % P] = y[:, l, :, b] * np.exp(2j * np.pi * k * (P // 2) / P)
        write('slab', slab)
        write('maps3', maps3)
        tb += run('bart', 'pics', '-S', '-w1', '-l2', '-r0.002', '-i100', 'slab', 'maps3', 'bart')
        x = read('bart').reshape(N, N, P) / np.sqrt(P)
        for j in range(MB):
            theirs[..., b + j * B] = x[..., j]
    print('SENSE, R = %d: Kray and BART differ by %.2e; NRMSE Kray %.4f, BART %.4f; Kray %.2f s, BART %.2f s'
          % (every, nrmse(ours, theirs), nrmse(fit(abs(ours), truth), truth), nrmse(fit(abs(theirs), truth), truth), t, tb))

from pygrappa import slicegrappa
y = collapsed(1)
write('sms', y.reshape(N, N, 1, 12, *[1] * 9, B))
calib = single[:, N // 2 - 16:N // 2 + 16]
write('single', calib.reshape(N, 32, 1, 12, *[1] * 9, MB * B))
for split in True, False:
    t = run(kray, 'recon', '-q', 'sms.cfl', '-o', 'kray.npy', '-m', 'slice-grappa', '--multiband', '3', '--caipi', '4', '--single-band', 'single.cfl',
            '--split' if split else '--no-split')
    ours = np.load('kray.npy').transpose(2, 1, 0)
    theirs, start = np.zeros((N, N, MB * B)), clock()
    for b in range(B):
        c = np.stack([calib[..., b + j * B] * phase[None, N // 2 - 16:N // 2 + 16, j, None] for j in range(MB)], -1)
        r = slicegrappa(np.ascontiguousarray(y[..., b])[..., None], c, kernel_size=(5, 5), lamda=0.01, split=split, coil_axis=-2)
        for j in range(MB):
            theirs[..., b + j * B] = np.sqrt((abs(image(r[..., 0, j] * phase[None, :, j, None].conj())) ** 2).sum(2))
    tp = clock() - start
    print('slice-GRAPPA%s: NRMSE Kray %.4f, pygrappa %.4f; Kray %.2f s, pygrappa %.2f s'
          % (', split' if split else '', nrmse(ours, truth), nrmse(theirs, truth), t, tp))
END
