#!/usr/bin/env python3
"""A step of training beside PyTorch: the same network, slice (SIZE x SIZE, COILS coils), batch and number of threads, in one run, by turns.

    torch_train.py KRAY [rim|recurrentvarnet|varnet ...]      THREADS=1 SIZE=128 COILS=4 ROUNDS=3 STEPS=8

Processor time (user and system, all threads) and seconds of a step: of Kray from two runs of `kray train` that differ by STEPS steps (data from a cache, losses, optimiser, averages of the weights included), of PyTorch
around forward, l1 loss, backward and Adam after a warm-up. Peak memory of the process beside that of one that does not train. Needs torch; not a test."""
import os
import resource
import subprocess
import sys
import tempfile
import time

SIZE, COILS, THREADS, ROUNDS, STEPS = (int(os.environ.get(k, d)) for k, d in (("SIZE", 128), ("COILS", 4), ("THREADS", 1), ("ROUNDS", 3), ("STEPS", 8)))
NETS = {
    "rim": ("rim_direct", "hidden_channels=64,depth=2,length=8"),
    "recurrentvarnet": ("recurrentvarnet", "num_steps=8,recurrent_hidden_channels=32,recurrent_num_layers=4,learned_initializer=true,initializer_channels=32 32 64 64,initializer_dilations=1 1 2 4"),
    "varnet": ("varnet", "num_cascades=8,chans=18,pools=4,sens_chans=8,sens_pools=4"),
}


def cost(args, env):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    p = subprocess.run(args, env=env, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode:
        sys.exit(p.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - start, p.stdout


def kray_run(kray, name, steps, folder):
    net, size = NETS[name]
    args = [kray, "train", "-o", f"{folder}/{name}{time.time()}", "--scans", f"{folder}/a.h5,{folder}/b.h5", "--hold-back", "0.5", "--cache", f"{folder}/cache", "--network", net, "--size", size,
            "--slices", "1", "--first", "1", "--batch", "1", "--loss", "l1", "--accel", "4", "--masks", "equispaced", "--planes", "poisson", "--strip", str(SIZE), "--steps", str(steps),
            "--validate", "1000", "--validation", "1", "--save", "1000", "--other-outputs", "0", "-q"]
    return cost(args, dict(os.environ, KR_THREADS=str(THREADS), OMP_NUM_THREADS=str(THREADS)))


def torch_run(name):
    """In a process of its own: seconds of the processor and of the clock for a step, MiB at the peak beyond what importing took."""
    import torch
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import torch_nets
    torch_nets.SIZE = SIZE
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    net = torch_nets.NETS[name]()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:, ::4] = True
    mask[:, SIZE // 2 - 8:SIZE // 2 + 8] = True
    y = torch.randn(COILS, SIZE, SIZE, dtype=torch.complex64) * mask
    sens = torch.randn(COILS, SIZE, SIZE, dtype=torch.complex64)
    sens = sens / sens.abs().square().sum(0).sqrt()
    target = torch.rand(SIZE, SIZE)
    opt = torch.optim.Adam(net.parameters(), 1e-4)

    def step():
        opt.zero_grad()
        (net(y, mask, sens) - target).abs().mean().backward()
        opt.step()
    step()
    cpu, wall = time.process_time(), time.time()
    for _ in range(STEPS):
        step()
    print((time.process_time() - cpu) / STEPS, (time.time() - wall) / STEPS, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024)


def median(v):
    return sorted(v)[len(v) // 2]


def main():
    if sys.argv[1] == "--torch":
        return torch_run(sys.argv[2])
    kray, names = sys.argv[1], sys.argv[2:] or list(NETS)
    print(f"{SIZE} x {SIZE}, {COILS} coils, batch 1, {THREADS} thread(s), medians of {ROUNDS} rounds by turns")
    print(f"{'network':16} {'PyTorch cpu s':>14} {'Kray cpu s':>11} {'ratio':>6} {'clock s':>8} {'clock s':>8} {'ratio':>6} {'PyTorch MiB':>12} {'Kray MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for i, contrast in enumerate(("t1", "t2")):
            subprocess.run([kray, "simulate", "brain", "--contrast", contrast, "-m", f"{SIZE},{SIZE}", "-s", "1", "-c", str(COILS), "-o", f"{folder}/{'ab'[i]}.h5", "--no-noise-scan", "--no-oversampling", "-q"],
                           check=True)
        for name in names:
            kray_run(kray, name, 1, folder)                   # the cache is made
            rows = []
            for _ in range(ROUNDS):
                few, more = kray_run(kray, name, 1, folder), kray_run(kray, name, 1 + STEPS, folder)
                theirs = [float(x) for x in cost([sys.executable, __file__, "--torch", name], dict(os.environ, OMP_NUM_THREADS=str(THREADS)))[2].split()]
                rows.append(((more[0] - few[0]) / STEPS, (more[1] - few[1]) / STEPS, *theirs))
            net, size = NETS[name]
            plan = subprocess.run([kray, "train", "-o", f"{folder}/plan", "--scans", f"{folder}/a.h5,{folder}/b.h5", "--hold-back", "0.5", "--cache", f"{folder}/cache", "--network", net, "--size", size,
                                   "--slices", "1", "--first", "1", "--batch", "1", "--loss", "l1", "--accel", "4", "--masks", "equispaced", "--planes", "poisson", "--strip", str(SIZE), "--other-outputs", "0",
                                   "--plan", "-q"], capture_output=True, text=True, check=True).stdout
            mib = float(plan.split()[-2]) * 1e6 / 2 ** 20
            k, kw, t, tw, tm = (median([r[i] for r in rows]) for i in range(5))
            print(f"{name:16} {t:14.2f} {k:11.2f} {t / k:6.2f} {tw:8.2f} {kw:8.2f} {tw / kw:6.2f} {tm:12.0f} {mib:9.0f}", flush=True)


if __name__ == "__main__":
    main()
