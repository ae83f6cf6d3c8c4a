#!/usr/bin/env python3
"""Kray's k-space positions of Pulseq sequences beside pypulseq's own (pip install pypulseq).

usage: pulseq.py KRAY    writes sequences in a temporary folder: radial and Cartesian gradient echoes, a spin echo, a spiral of raster samples, an echo-planar
readout; each as pypulseq writes it. Prints the largest difference relative to the largest k; ends with 1 where one is above 1e-6 (single precision is 6e-8,
times are rounded to 1e-10 s by pypulseq).
Then raw files (pip install ismrmrd) of blobs, measured where pypulseq says, whose lines say nothing of themselves: `kray recon --seq` beside the sum over pypulseq's
samples and labels; two slices, noise, navigators, a sequence played twice. Ends with 1 where images differ by more than 2e-3 (by SENSE off the grid: 1e-2 from the blobs).
"""
import os, subprocess, sys, tempfile, warnings
import numpy as np
import pypulseq as pp

warnings.filterwarnings("ignore")
system = pp.Opts(max_grad=32, grad_unit="mT/m", max_slew=130, slew_unit="T/m/s", rf_ringdown_time=20e-6, rf_dead_time=100e-6, adc_dead_time=10e-6)
fov, n = 0.22, 32


def pulse(angle=np.pi / 12, use="excitation"):
    return pp.make_sinc_pulse(flip_angle=angle, duration=2e-3, slice_thickness=5e-3, apodization=0.5, time_bw_product=4, system=system, return_gz=True, use=use)


def gre(radial):
    seq = pp.Sequence(system)
    rf, gz, gzr = pulse()
    gx = pp.make_trapezoid("x", flat_area=n / fov, flat_time=3.2e-3, system=system)
    adc = pp.make_adc(n, duration=gx.flat_time, delay=gx.rise_time, system=system)
    pre = pp.make_trapezoid("x", area=-gx.area / 2, duration=2e-3, system=system)
    for i in range(n):
        seq.add_block(rf, gz)
        if radial:
            seq.add_block(*pp.rotate(pre, gzr, angle=np.pi * i / n, axis="z"))
            seq.add_block(*pp.rotate(gx, adc, angle=np.pi * i / n, axis="z"))
        else:
            gy = pp.make_trapezoid("y", area=(i - n / 2) / fov, duration=2e-3, system=system)
            seq.add_block(pre, gy, gzr)
            seq.add_block(gx, adc, pp.make_label(type="SET", label="LIN", value=i))
        seq.add_block(pp.make_delay(5e-3))
    return seq


def spin_echo():
    seq = pp.Sequence(system)
    rf, gz, gzr = pulse(np.pi / 2)
    rf2, gz2, _ = pulse(np.pi, "refocusing")
    gx = pp.make_trapezoid("x", flat_area=n / fov, flat_time=3.2e-3, system=system)
    adc = pp.make_adc(n, duration=gx.flat_time, delay=gx.rise_time, system=system)
    pre = pp.make_trapezoid("x", area=gx.area / 2, duration=2e-3, system=system)
    for i in range(4):
        seq.add_block(rf, gz)
        seq.add_block(pre, pp.make_trapezoid("y", area=-(i - 2) / fov, duration=2e-3, system=system), gzr)
        seq.add_block(rf2, gz2)
        seq.add_block(pp.make_delay(1e-3))
        seq.add_block(gx, adc)
    return seq


def spiral():
    seq = pp.Sequence(system)
    rf, gz, gzr = pulse()
    t = np.arange(0, 4e-3, system.grad_raster_time)
    k = 40 * (t / t[-1]) ** 1.5 * np.exp(2j * np.pi * 6 * (t / t[-1]) ** 1.2)
    g = np.diff(k) / system.grad_raster_time
    g = g * np.minimum(1, np.arange(len(g), 0, -1) / 40)
    adc = pp.make_adc(600, dwell=5e-6, delay=20e-6, system=system)
    for a in range(3):
        w = g * np.exp(2j * np.pi * a / 3)
        seq.add_block(rf, gz)
        seq.add_block(gzr)
        seq.add_block(pp.make_arbitrary_grad("x", w.real, first=0, last=0, system=system), pp.make_arbitrary_grad("y", w.imag, first=0, last=0, system=system), adc)
    return seq


def epi():
    seq = pp.Sequence(system)
    rf, gz, gzr = pulse(np.pi / 2)
    gx = pp.make_trapezoid("x", flat_area=n / fov, flat_time=0.64e-3, system=system)
    adc = pp.make_adc(n, duration=gx.flat_time, delay=gx.rise_time, system=system)
    blip = pp.make_trapezoid("y", area=1 / fov, duration=0.2e-3, system=system)
    seq.add_block(rf, gz)
    seq.add_block(pp.make_trapezoid("x", area=-gx.area / 2, duration=2e-3, system=system), pp.make_trapezoid("y", area=-n / 2 / fov, duration=2e-3, system=system), gzr)
    for i in range(n):
        seq.add_block(gx, adc)
        seq.add_block(blip)
        gx = pp.scale_grad(gx, -1)
    return seq


kray, worst = sys.argv[1], 0.0
with tempfile.TemporaryDirectory() as folder:
    for name, seq in (("cartesian", gre(False)), ("radial", gre(True)), ("spin echo", spin_echo()), ("spiral", spiral()), ("echo-planar", epi())):
        path = os.path.join(folder, "one.seq")
        seq.set_definition("FOV", [fov, fov, 5e-3])
        seq.write(path)
        read = pp.Sequence(system)
        read.read(path)
        want = np.nan_to_num(read.calculate_kspace()[0])
        want[np.abs(want).max(axis=1) < 1e-3 * np.abs(want).max()] = 0      # an axis that is not encoded, as Kray takes it
        subprocess.run([kray, "convert", path, os.path.join(folder, "k.npy"), "--what", "array", "-q"], check=True)
        have = np.load(os.path.join(folder, "k.npy")).reshape(3, -1)
        error = np.abs(have - want).max() / np.abs(want).max()
        worst = max(worst, error)
        print(f"{name:12} {want.shape[1]:6d} samples, largest k {np.abs(want).max():7.1f} per metre, difference {error:.1e}")


# ---- Raw files ----
def multislice(slices=2):
    seq = pp.Sequence(system)
    rf, gz, gzr = pulse()
    gx = pp.make_trapezoid("x", flat_area=n / fov, flat_time=3.2e-3, system=system)
    adc = pp.make_adc(2 * n, duration=gx.flat_time, delay=gx.rise_time, system=system)
    pre = pp.make_trapezoid("x", area=-gx.area / 2, duration=2e-3, system=system)
    seq.add_block(pp.make_adc(256, dwell=10e-6, delay=100e-6, system=system), pp.make_label(type="SET", label="NOISE", value=1))
    for i in range(-4, n):                                   # four navigators
        for s in range(slices):
            seq.add_block(rf, gz, pp.make_label(type="SET", label="NOISE", value=0), pp.make_label(type="SET", label="SLC", value=s), pp.make_label(type="SET", label="NAV", value=int(i < 0)))
            seq.add_block(pre, pp.make_trapezoid("y", area=(max(i, 0) - n / 2) / fov, duration=2e-3, system=system), gzr)
            seq.add_block(gx, adc, pp.make_label(type="SET", label="LIN", value=max(i, 0)))
    return seq


def raw(path, lines, y, kinds):
    """Lines with flags for noise of the scanner's own (kinds), and nothing else; y: samples of each."""
    import ismrmrd
    import ismrmrd.xsd as xsd
    box = lambda m, mm: xsd.encodingSpaceType(matrixSize=xsd.matrixSizeType(**dict(zip("xyz", m))), fieldOfView_mm=xsd.fieldOfViewMm(**dict(zip("xyz", mm))))
    head = xsd.ismrmrdHeader(experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=128000000), encoding=[xsd.encodingType(
        encodedSpace=box((256, 256, 1), (300, 300, 5)), reconSpace=box((256, 256, 1), (300, 300, 5)), encodingLimits=xsd.encodingLimitsType(), trajectory=xsd.trajectoryType.CARTESIAN)])
    with ismrmrd.Dataset(path, "dataset") as out:
        out.write_xml_header(head.toXML("utf-8"))
        for i in lines:
            a = ismrmrd.Acquisition.from_array(y[i][None].astype(np.complex64))
            if kinds[i]:
                a.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            out.append_acquisition(a)


def blobs(k, s):
    """k [3][samples] per metre: three Gaussians of 12 mm, brighter ones in further slices"""
    where = fov * np.array([[.1, .05, 0], [-.2, .13, 0], [.03, -.22, 0]])
    return sum((1 + .5 * b) * (1 + s) * np.exp(-2 * (np.pi * .012) ** 2 * (k ** 2).sum(0)) * np.exp(-2j * np.pi * (r @ k)) for b, r in enumerate(where))


def beside(folder, name, seq, times=1, own_noise=False):
    rng = np.random.default_rng(3)
    path = os.path.join(folder, "two.seq")
    seq.set_definition("FOV", [fov, fov, 5e-3])
    seq.write(path)
    adcs = [seq.get_block(b).adc.num_samples for b in seq.block_events if seq.get_block(b).adc is not None]
    k = np.nan_to_num(seq.calculate_kspace()[0])
    k[2] = 0                                                 # slices are excited, not encoded
    at = np.split(k, np.cumsum(adcs)[:-1], axis=1)
    labels = seq.evaluate_labels(evolution="adc")
    label = lambda w, i: int(labels[w][i]) if w in labels else 0
    y, image = [], [i for i in range(len(adcs)) if not (label("NOISE", i) or label("NAV", i))]
    for t in range(times):
        y += [(1 + t) * blobs(at[i], label("SLC", i)) if i in image else .01 * rng.standard_normal(adcs[i]) for i in range(len(adcs))]
    kinds = [False] * len(y)
    if own_noise:
        y, kinds = [.01 * rng.standard_normal(512)] + y, [True] + kinds
    data = os.path.join(folder, name.replace(" ", "_") + ".h5")
    raw(data, range(len(y)), y, kinds)
    out = os.path.join(folder, "x.npy")
    said = subprocess.run([kray, "recon", data, "--seq", path, "--no-whiten", "-m", "sense" if name == "radial" else "rss", "-o", out, "-v"], capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"{name}: {said.stderr}")
    grid = "on a grid" in said.stderr
    have = np.squeeze(np.load(out))                          # [time][slice][y][x], axes of 1 left out
    slices = 1 + max(label("SLC", i) for i in image)
    r = (np.arange(n) - n / 2) * fov / n
    X, Y = np.meshgrid(r, r, indexing="ij")
    want = np.zeros((times, slices, n, n))
    for t in range(times):
        for s in range(slices):
            sum_ = 0
            for i in (j for j in image if grid and label("SLC", j) == s):
                q, v = at[i], (1 + t) * blobs(at[i], s)
                phase = np.exp(2j * np.pi * (np.outer(q[0], r)[:, :, None] + np.outer(q[1], r)[:, None, :]))
                sum_ = sum_ + np.tensordot(v, phase, 1)
            if not grid:                                     # the blobs themselves
                q = (np.stack(np.meshgrid(np.arange(n), np.arange(n), [0], indexing="ij")).reshape(3, -1) - [[n / 2], [n / 2], [0]]) / fov
                sum_ = np.tensordot(blobs(q, s), np.exp(2j * np.pi * (q[0][:, None, None] * r[:, None] + q[1][:, None, None] * r)), 1)
            want[t, s] = np.abs(sum_).T
    want = np.squeeze(want)
    if have.shape != want.shape:
        have = have.swapaxes(-1, -2)
    f = (have * want).sum() / (have * have).sum()
    error = np.linalg.norm(f * have - want) / np.linalg.norm(want)
    print(f"{name:12} {len(y):4d} lines, {have.shape}, {'on a grid' if grid else 'along their path'}: image differs by {error:.1e}", flush=True)
    return error


far = 0.0
with tempfile.TemporaryDirectory() as folder:
    far = max(far, beside(folder, "cartesian", gre(False)), beside(folder, "own noise", gre(False), 1, True), beside(folder, "slices", multislice()),
              beside(folder, "twice", gre(False), 2), beside(folder, "echo-planar", epi()))
    radial = beside(folder, "radial", gre(True), 1, True)
sys.exit(int(worst > 1e-6 or far > 2e-3 or radial > 1e-2))
