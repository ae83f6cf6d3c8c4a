#!/usr/bin/env python3
"""learned_quality.py: the tables of docs/models.md for a method with trained weights: measured full scans are undersampled by the masks, and PSNR and SSIM (7 x 7 points) are taken over
the object, where the truth, the root of the sum of squares of the full scan, is above 6 % of its largest value.

    tests/peers/learned_quality.py [--scans 7coil,mprage,alias] [--masks E4,E8,R4,R8,P4,P8] [--jobs 1] [--keep FOLDER] [-- options of kray recon, such as --method wcrr --weights FILE]
    KRAY=build/tools/kray KR_SHARED=../shared

E equispaced, R random lines, P Poisson over the plane; the number is R; 20 calibration lines. Needs numpy and scipy."""
import argparse, concurrent.futures, os, subprocess, tempfile
import numpy as np
import scipy.io
from scipy.ndimage import uniform_filter

KRAY = os.path.abspath(os.environ.get("KRAY", "build/tools/kray"))
DATA = os.path.join(os.environ.get("KR_SHARED", "../shared"), "data")
MASKS = {"E": "equispaced:accel=%d,lines=20,seed=1", "R": "random:accel=%d,lines=20,seed=1", "P": "poisson:accel=%d,calib=20,axes=xy,seed=1"}


def fft2(x, sign):
    f = np.fft.fft2 if sign < 0 else np.fft.ifft2
    return np.fft.fftshift(f(np.fft.ifftshift(x, axes=(0, 1)), axes=(0, 1), norm="ortho"), axes=(0, 1))


def kspace(name):
    """k-space {x, y, coil} and the number of sets of maps."""
    if name == "7coil":
        return fft2(np.load(DATA + "/train/raw_t1_brain_7ch_256x216_coilimages_midas.npz")["arr_0"].astype(np.complex128), -1), 1
    if name == "mprage":
        return scipy.io.loadmat(DATA + "/mri/brain_mprage_4ch_256_loraks.mat")["kData"].astype(np.complex128), 1
    full = scipy.io.loadmat(DATA + "/mri/brain_alias_8ch_320x256_espirit.mat")["DATA"]
    measured = np.flatnonzero(np.abs(full).sum(axis=(0, 2)))
    return full[:, measured[0]:measured[-1] + 1].astype(np.complex128), 2


def write(path, x):
    with open(path + ".hdr", "w") as f:
        f.write("# Dimensions\n%d %d 1 %d\n" % x.shape)
    x.astype(np.complex64).T.tofile(path + ".cfl")


def read(path):
    n = [int(v) for v in open(path + ".hdr").read().split("\n")[1].split()]
    return np.fromfile(path + ".cfl", np.complex64).reshape(n[::-1]).T.squeeze()


def ssim_map(a, b, top):
    """Uniform windows of 7 x 7 points and unbiased variances."""
    mean = lambda v: uniform_filter(v, 7)
    ma, mb, by = mean(a), mean(b), 49 / 48
    va, vb, vab = by * (mean(a * a) - ma * ma), by * (mean(b * b) - mb * mb), by * (mean(a * b) - ma * mb)
    c1, c2 = (0.01 * top) ** 2, (0.03 * top) ** 2
    return (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


def score(truth, x):
    top = truth.max()
    inside = truth > 0.06 * top
    return 10 * np.log10(top ** 2 / np.mean((truth - x)[inside] ** 2)), ssim_map(truth, x, top)[inside].mean()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--scans", default="7coil")
    p.add_argument("--masks", default="E4,E8,R4,R8,P4,P8")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--keep")
    p.add_argument("options", nargs="*", default=["--method", "wcrr"])
    o = p.parse_args()
    for name in o.scans.split(","):
        with tempfile.TemporaryDirectory() as folder:
            k, sets = kspace(name)
            truth = np.sqrt((np.abs(fft2(k, 1)) ** 2).sum(axis=2))
            write(folder + "/full", k)

            def one(mask):
                out = "%s/%s" % (folder, mask)
                more = ["--maps", str(sets)] if sets > 1 else []
                subprocess.run([KRAY, "recon", "-q", folder + "/full.cfl", "-o", out + ".cfl", "-u", MASKS[mask[0]] % int(mask[1:])] + o.options + more, check=True)
                x = np.abs(read(out))
                if o.keep:
                    os.makedirs(o.keep, exist_ok=True)
                    np.save("%s/%s_%s.npy" % (o.keep, name, mask), read(out))
                return score(truth, x)

            with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
                got = list(pool.map(one, o.masks.split(",")))
            print(name, " ".join("%s %.2f %.3f " % (m, a, b) for m, (a, b) in zip(o.masks.split(","), got)), "mean %.3f %.4f" % tuple(np.mean(got, axis=0)), flush=True)


if __name__ == "__main__":
    main()
