#!/usr/bin/env python3
"""Kray's k-space positions of Pulseq sequences beside pypulseq's own (pip install pypulseq).

usage: pulseq.py KRAY    writes sequences in a temporary folder: radial and Cartesian gradient echoes, a spin echo, a spiral of raster samples, an echo-planar
readout; each as pypulseq writes it. Prints the largest difference relative to the largest k; ends with 1 where one is above 1e-6 (single precision is 6e-8,
times are rounded to 1e-10 s by pypulseq).
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
sys.exit(worst > 1e-6)
