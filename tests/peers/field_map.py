#!/usr/bin/env python3
"""field_map.py KRAY: the sign and the time zero of --field-map beside other code (pip install mri-nufft finufft nibabel).

Samples of a known object off resonance along a spiral, once by the sum over pixels of the formula that MIRT's Gmri states (exp(-2 pi i k x) exp(-zmap t), zmap = 2 pi i f,
t from the first sample), once by mri-nufft's operator. `kray recon --field-map` with the map, with its negative, and with time zero 2 ms off. Prints the NRMSE to the object; ends with 1 where
MIRT's samples want anything else than the map as it is."""
import os, subprocess, sys, tempfile
import numpy as np
import nibabel as nib

kray = os.path.abspath(sys.argv[1])
os.chdir(tempfile.mkdtemp(prefix="kray-peer."))
N, T, L, dwell = 48, 512, 12, 16e-6
g = np.arange(N) - N // 2
x, y = np.meshgrid(g, g, indexing="ij")
rho = np.exp(-(x**2 + y**2) / 120) + .7 * np.exp(-((x - 7)**2 + (y + 5)**2) / 8)
hz = 150 * (2 * x / N)**2 + 80 * y / N + 40
r, t = np.arange(T) / T * N / 2, np.arange(T) * dwell
k = np.stack([np.stack([r * np.cos(a), r * np.sin(a)], -1) for a in (2 * np.pi * (r / L + i / L) for i in range(L))])
by_sum = np.array([[(rho * np.exp(-2j * np.pi * ((x * q[0] + y * q[1]) / N + hz * s))).sum() for q, s in zip(shot, t)] for shot in k])
samples = { "MIRT's formula": by_sum }
try:
    import mrinufft
    from mrinufft.operators.off_resonance import MRIFourierCorrected
    plain = mrinufft.get_operator("finufft")((k / N).reshape(-1, 2).astype(np.float32), (N, N))
    samples["mri-nufft"] = MRIFourierCorrected(plain, b0_map=hz.astype(np.float32), readout_time=np.tile(t, L).astype(np.float32)).op(rho.astype(np.complex64)).reshape(L, T)
except ImportError:
    print("mri-nufft is not installed")
np.save("k.npy", k.astype(np.float32))
for name, sign in ("map", 1), ("negative", -1):
    nib.save(nib.Nifti1Image((sign * hz).astype(np.float32)[:, :, None], np.diag([-2, -2, 2, 1])), name + ".nii")


def error(*words):
    subprocess.run([kray, "recon", "y.npy@view,sample", "--traj", "k.npy@view,sample,chan", "--matrix", f"{N},{N}", "-m", "sense", "-o", "image.npy", "--complex", "-q", *words], check=True)
    z = np.squeeze(np.load("image.npy")).T                                # rows are y in a picture; a wrong time zero turns phases
    return np.linalg.norm(z * abs((z.conj() * rho).sum()) / (abs(z)**2).sum() - rho) / np.linalg.norm(rho)


wrong = False
for who, values in samples.items():
    np.save("y.npy", values.astype(np.complex64))
    e = [error(), error("--field-map", "map.nii", "--dwell", str(1e6 * dwell)), error("--field-map", "negative.nii", "--dwell", str(1e6 * dwell)),
         error("--field-map", "map.nii", "--dwell", str(1e6 * dwell), "--field-zero", "2000")]
    print(f"{who}: without a map {e[0]:.4f}, with it {e[1]:.4f}, with its negative {e[2]:.4f}, time zero 2 ms off {e[3]:.4f}", flush=True)
    wrong |= who != "mri-nufft" and not e[1] < .1 * min(e[0], e[2], e[3])
sys.exit(wrong)
