#!/usr/bin/env python3
"""uncertainty.py [--scans 7coil,mprage] [--masks E4,E8,R4,P4,P8] [--svg FILE] [-- options of kray recon]: does --uncertainty cover the error? Of the object's voxels (above 6 % of the
largest value): the part (%) whose magnitude is within 1, 2 and 3 times what is told of the full scan's image, combined by coil maps of 20 calibration lines, and told over true. --svg: the
calibration plot: voxels in twelve groups by what is told of them, and the error that they have.
    KRAY=build/tools/kray KR_SHARED=../shared

Scans and masks are those of learned_quality.py. Needs numpy and scipy."""
import argparse, os, subprocess, tempfile
import numpy as np
from learned_quality import KRAY, MASKS, fft2, kspace, read, write

GROUPS, SIDE, EDGE = 12, 300, 50
COLOURS = {"E": "#1f5fbf", "R": "#c0392b", "P": "#2e8b57"}
NAMES = {"E": "equispaced", "R": "random", "P": "Poisson"}


def measure(folder, k, mask, options):
    maps = read(folder + "/maps")
    size = (np.abs(maps) ** 2).sum(axis=2)
    truth = np.where(size > 0, np.abs((maps.conj() * fft2(k, 1)).sum(axis=2)) / np.where(size > 0, size, 1), 0)
    subprocess.run([KRAY, "recon", "-q", folder + "/full.cfl", "-o", folder + "/x.cfl", "--coils", folder + "/maps.cfl", "-u", MASKS[mask[0]] % int(mask[1:]), "--uncertainty", folder + "/u.cfl"]
                   + options, check=True)
    x, told = np.abs(read(folder + "/x")), np.abs(read(folder + "/u"))
    inside = truth > 0.06 * truth.max()
    return np.abs(x - truth)[inside] / truth.max(), told[inside] / truth.max()


def plot(svg, panels):
    low, high = -2.4, -1.1                                   # logarithms of parts of the largest value
    at = lambda v: (min(max(np.log10(v), low), high) - low) / (high - low) * SIDE
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (len(panels) * (SIDE + 2 * EDGE), SIDE + 2 * EDGE), '<rect width="100%" height="100%" fill="#fff"/>']
    for i, (name, curves) in enumerate(panels):
        x0, y0 = i * (SIDE + 2 * EDGE) + EDGE + 10, EDGE + SIDE
        out.append('<text x="%d" y="%d" font-weight="bold">%s</text>' % (x0, EDGE - 14, name))
        for v in (0.005, 0.01, 0.02, 0.05):
            out.append('<path d="M%.1f %dv%dM%d %.1fh%d" stroke="#ddd" fill="none"/>' % (x0 + at(v), y0, -SIDE, x0, y0 - at(v), SIDE))
            out.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text><text x="%d" y="%.1f" text-anchor="end">%g</text>' % (x0 + at(v), y0 + 16, v, x0 - 5, y0 - at(v) + 4, v))
        out.append('<path d="M%d %dl%d %d" stroke="#000" stroke-dasharray="4 3" fill="none"/><rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#000"/>' % (x0, y0, SIDE, -SIDE, x0, y0 - SIDE, SIDE, SIDE))
        out.append('<text x="%d" y="%d" text-anchor="middle">told: root mean square deviation, of the largest value</text>' % (x0 + SIDE / 2, y0 + 34))
        out.append('<text transform="translate(%d %d) rotate(-90)" text-anchor="middle">root mean square error</text>' % (x0 - 44, y0 - SIDE / 2))
        for j, (mask, points) in enumerate(curves):
            line = " ".join("%.1f,%.1f" % (x0 + at(a), y0 - at(b)) for a, b in points)
            dash = ' stroke-dasharray="6 3"' if mask[1:] == "8" else ""
            out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>' % (line, COLOURS[mask[0]], dash))
            out.append('<path d="M%d %dh24" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d">%s, R = %s</text>' % (x0 + 10, y0 - SIDE + 16 + 16 * j, COLOURS[mask[0]], dash, x0 + 40, y0 - SIDE + 20 + 16 * j, NAMES[mask[0]], mask[1:]))
    open(svg, "w").write("\n".join(out) + "\n</svg>\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--scans", default="7coil,mprage")
    p.add_argument("--masks", default="E4,E8,R4,P4,P8")
    p.add_argument("--svg")
    p.add_argument("options", nargs="*", default=["--method", "wcrr"])
    o = p.parse_args()
    panels = []
    for name in o.scans.split(","):
        curves = []
        with tempfile.TemporaryDirectory() as folder:
            k, _ = kspace(name)
            write(folder + "/full", k)
            subprocess.run([KRAY, "coils", "-q", folder + "/full.cfl", "-o", folder + "/maps.cfl", "--calib", "20"], check=True)
            for mask in o.masks.split(","):
                error, told = measure(folder, k, mask, o.options)
                within = [100 * np.mean(error <= n * told) for n in (1, 2, 3)]
                print(name, mask, "%.0f %.0f %.1f" % tuple(within), "told / true %.2f" % np.sqrt(np.mean(told ** 2) / np.mean(error ** 2)), flush=True)
                groups = np.array_split(np.argsort(told), GROUPS)
                curves.append((mask, [(np.sqrt(np.mean(told[g] ** 2)), np.sqrt(np.mean(error[g] ** 2))) for g in groups]))
        panels.append(({"7coil": "T1 brain, 7 coils", "mprage": "brain_mprage, 4 coils"}.get(name, name), curves))
    if o.svg:
        plot(o.svg, panels)


if __name__ == "__main__":
    main()
