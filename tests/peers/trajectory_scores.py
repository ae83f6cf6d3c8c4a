#!/usr/bin/env python3
"""trajectory_scores.py KRAY DATA [brain|phantom|spiral]...: measured radial and spiral scans of ../shared/data with fewer readouts, against all of them, beside BART (where
there is one). The same weights of lambda mean other things in both, so that each takes the best of a few against the reference. NRMSE after the best factor.

brain: 1 coil, 384 samples x 256 spokes; phantom: 17 coils, 3 slices, 33 spokes, with and without delays; spiral: 8 coils, 60 interleaves."""
import os, subprocess, sys, tempfile
import numpy as np
import scipy.io

kray, data = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.chdir(tempfile.mkdtemp(prefix="kray-peer."))
LAMBDA = { "kray": (.002, .01, .05), "bart": (.002, .01, .05) }


def to_cfl(name, a):
    """a in C order, [coil][view][sample] or [view][sample][3], as BART has them."""
    dims = [3, a.shape[1], a.shape[0]] if a.ndim == 3 and a.shape[2] == 3 else [1, a.shape[2], a.shape[1], a.shape[0]]
    open(name + ".hdr", "w").write("# Dimensions\n" + " ".join(str(d) for d in dims + [1] * (16 - len(dims))) + "\n")
    np.ascontiguousarray(a, np.complex64).tofile(name + ".cfl")


def from_cfl(name):
    dims = [int(v) for v in open(name + ".hdr").read().split("\n")[1].split()]
    return np.abs(np.squeeze(np.fromfile(name + ".cfl", np.complex64).reshape(dims, order="F")).T)


def run(*words):
    p = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if p.returncode:
        sys.exit(" ".join(str(w) for w in words) + ": " + p.stderr)


def nrmse(x, ref):
    x, ref = x.astype(float), ref.astype(float)
    return np.linalg.norm(x * ((x * ref).sum() / (x * x).sum()) - ref) / np.linalg.norm(ref)


def ours(k, y, n, method, *more):
    """k [view][sample][2], y [coil][view][sample]"""
    np.save("k.npy", k.astype(np.float32))
    np.save("y.npy", y.astype(np.complex64))
    run(kray, "recon", "y.npy@coil,view,sample", "--traj", "k.npy@view,sample,chan", "--matrix", f"{n},{n}", "-m", method, "-o", "x.npy", "-q", *more)
    return np.abs(np.squeeze(np.load("x.npy")))


def theirs(k, y, n, method, weight):
    to_cfl("k", np.concatenate([k, np.zeros(k.shape[:2] + (1,))], 2))
    to_cfl("y", y)
    if y.shape[0] > 1:
        run("bart", "nufft", "-i", "-d", f"{n}:{n}:1", "k", "y", "coils")
        run("bart", "fft", "3", "coils", "grid")
        run("bart", "ecalib", "-m1", "-r24", "grid", "maps")
    else:
        run("bart", "ones", "3", n, n, "1", "maps")
    how = { "sense": ["-l2", "-r", weight, "-i30"], "wavelet": ["-e", "-RW:3:0:%g" % weight, "-i100"], "tv": ["-RT:3:0:%g" % weight, "-i100"] }[method]
    run("bart", "pics", *how, "-t", "k", "y", "maps", "x")
    return from_cfl("x")


def rows(name, k, y, n, ref, ref_bart, subsets, methods, bart=True):
    for step in subsets:
        line = []
        for m in methods:
            a = min(nrmse(ours(k[::step], y[:, ::step], n, m, "--lambda", w), ref) for w in LAMBDA["kray"])
            b = min(nrmse(theirs(k[::step], y[:, ::step], n, m, w), ref_bart) for w in LAMBDA["bart"]) if bart else np.nan
            line.append(f"{m} {a:.3f}, BART {b:.3f}")
        print(f"{name}: {-(-len(k) // step)} readouts: " + "; ".join(line), flush=True)


def spokes(angles, samples, n):
    r = (np.arange(samples) - samples // 2) * n / samples
    return np.stack([np.outer(np.cos(angles), r), np.outer(np.sin(angles), r)], -1)


def brain():
    y = scipy.io.loadmat(data + "/train/raw_radial_brain_1ch_384x256spokes_gpunufft.mat")["kspace"].T[None]
    n, k = 192, spokes(np.pi * np.arange(256) / 256, 384, 192)
    ref = ours(k, y, n, "sense", "--lambda", "0.0005")
    ref_bart = theirs(k, y, n, "sense", .0005)
    print(f"brain: all spokes, Kray to BART: {nrmse(ref, ref_bart):.3f}")
    rows("brain", k, y, n, ref, ref_bart, (2, 4, 8), ("sense", "wavelet", "tv"))


def phantom():
    a = np.load(data + "/train/raw_radial_phantom_17ch_3slc_33spokes_256.npy")
    n, k = 128, spokes(2 * np.pi * np.arange(33) / 33, 256, 128)
    for s in range(3):
        y = a[s].transpose(1, 0, 2)
        images = { "no delays": ours(k, y, n, "sense"), "delays": ours(k, y, n, "sense", "--delay", "auto"), "BART": theirs(k, y, n, "sense", .002) }
        # edges over the brightness within the object: streaks and speckle beside it are steep, too
        inside = np.s_[30:88, 35:90]
        print(f"phantom slice {s}: sharpness " + ", ".join(f"{w} {np.percentile(np.hypot(*np.gradient(x))[inside], 98) / np.percentile(x[inside], 98):.3f}" for w, x in images.items()), flush=True)


def spiral():
    m = scipy.io.loadmat(data + "/mri/phantom_spiral_8ch_60intl_espirit.mat")
    n, y = 374, m["data"].transpose(2, 1, 0)
    k = np.stack([m["k"].T.real, m["k"].T.imag], -1) * n
    ref = ours(k, y, n, "sense")
    ref_bart = theirs(k, y, n, "sense", .002)
    print(f"spiral: all interleaves, Kray to BART: {nrmse(ref, ref_bart):.3f}", flush=True)
    rows("spiral", k, y, n, ref, ref_bart, (2, 3, 4), ("sense", "tv", "wavelet"))


for what in sys.argv[3:] or ("brain", "phantom", "spiral"):
    { "brain": brain, "phantom": phantom, "spiral": spiral }[what]()
