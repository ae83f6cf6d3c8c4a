#!/usr/bin/env python3
"""SSIM without a reference on measured brains: their own k-space, moved in the plane between lines, coils at rest, and what `kray eval --no-reference` says of the images.

    motion_guess.py KRAY FOLDER [WEIGHTS]      FOLDER: .../shared/data

Needs numpy and scipy. Prints a row for each scan: how many motions, correlation of guess and SSIM, mean and largest error. The truth is `kray eval --target`, the unmoved scan."""
import csv
import io
import subprocess
import sys

import numpy as np
import scipy.io
from scipy.ndimage import affine_transform


def fft(x):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, (0, 1)), axes=(0, 1)), (0, 1))


def inverse(k):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, (0, 1)), axes=(0, 1)), (0, 1))


def rss(x):
    return np.sqrt((np.abs(x) ** 2).sum(-1)).astype(np.float32)


def turned(x, angle, shift):
    c, s = np.cos(angle), np.sin(angle)
    m = np.array([[c, -s], [s, c]])
    mid = (np.array(x.shape) - 1) / 2
    off = mid - m.T @ (mid + shift)
    return affine_transform(x.real, m.T, off, order=3) + 1j * affine_transform(x.imag, m.T, off, order=3)


def moved(coils, rng, size):
    """Object x = sum of conj(S) y in fixed maps S (each coil's own low frequencies over their root of sum of squares); lines along the second axis."""
    n = coils.shape
    k = fft(coils)
    w = np.exp(-0.5 * ((np.arange(n[0]) - n[0] // 2)[:, None] ** 2 + (np.arange(n[1]) - n[1] // 2)[None] ** 2) / 6.0 ** 2)
    low = inverse(k * w[..., None])
    maps = low / np.sqrt((np.abs(low) ** 2).sum(-1, keepdims=True))
    x = (maps.conj() * coils).sum(-1)
    steps = rng.integers(1, 9)
    at = np.sort(rng.uniform(0, n[1], steps))
    pose = rng.uniform(-1, 1, (steps + 1, 3)) * size
    middle = pose[np.searchsorted(at, n[1] // 2)]
    out = np.empty_like(k)
    for i in range(steps + 1):
        lines = np.searchsorted(at, np.arange(n[1])) == i
        if lines.any():
            p = pose[i] - middle
            out[:, lines] = fft(maps * turned(x, np.deg2rad(p[0]), p[1:])[..., None])[:, lines]
    return rss(maps * x[..., None]), rss(inverse(out))


def scores(kray, args, column):
    text = subprocess.run([kray, "eval", *args, "--csv", "-"], check=True, capture_output=True, text=True).stdout
    return {r["volume"]: float(r[column]) for r in csv.DictReader(io.StringIO(text)) if r["level"] == "volume"}


def main():
    kray, data = sys.argv[1:3]
    weights = ["--weights", sys.argv[3]] if len(sys.argv) > 3 else []
    scans = {
        "T1 brain, 7 coils": np.load(data + "/train/raw_t1_brain_7ch_256x216_coilimages_midas.npz")["arr_0"],
        "brain_mprage, 4 coils": inverse(scipy.io.loadmat(data + "/mri/brain_mprage_4ch_256_loraks.mat")["kData"]),
    }
    for name, coils in scans.items():
        rng = np.random.default_rng(2026)
        truth, guess = [], []
        for i in range(24):
            still, image = moved(coils.astype(np.complex64), rng, np.exp(rng.uniform(np.log(0.3), np.log(8))))
            np.save("still.npy", still.T)
            np.save("moved.npy", image.T)
            truth.append(scores(kray, ["--target", "still.npy", "moved.npy"], "ssim")["moved"])
            guess.append(scores(kray, ["--no-reference", *weights, "moved.npy"], "ssim_guess")["moved"])
        truth.append(1.0)
        guess.append(scores(kray, ["--no-reference", *weights, "still.npy"], "ssim_guess")["still"])
        truth, guess = np.array(truth), np.array(guess)
        print(f"{name}: {len(truth)} images, SSIM {truth.min():.3f} to {truth.max():.3f}, correlation {np.corrcoef(truth, guess)[0, 1]:.3f}, error {np.abs(guess - truth).mean():.3f} in the mean, "
              f"{np.abs(guess - truth).max():.3f} at most, bias {(guess - truth).mean():+.3f}; unmoved {guess[-1]:.3f}", flush=True)
        if "-v" in sys.argv:
            print(np.c_[truth, guess].round(3).tolist())


if __name__ == "__main__":
    main()
