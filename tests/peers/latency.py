#!/usr/bin/env python3
"""latency.py KRAY [NAME...]: from the last line or spoke of a frame to its image, by `kray serve`: median, 99th percentile and processor time a frame.
Prints figures; no test. Each chain: a session of one client on loopback, frames of 192 x 192 and 10 coils of the phantom that `kray simulate` measures, each sent
when the image of the one before is there; the first 20 of 120 are left out. NAME: rss, grappa, net, radial (all of them without one). OMP_NUM_THREADS as set.

A client sends all but the last readout, waits until the server has taken it, and starts the clock with the last readout; the clock stops with the last byte of the image."""
import os, statistics, struct, subprocess, sys, tempfile, time
from mrd_client import cpu, serve, until

kray, chains = sys.argv[1], sys.argv[2:]
FRAMES, SKIPPED = int(os.environ.get('FRAMES', 120)), 20
work = tempfile.mkdtemp()


def run(*words):
    subprocess.run([kray, *words, '-q'], check=True, stdout=subprocess.DEVNULL)


def stream_of(*how):
    """Header and noise, and the lines of a scan that kray simulates, as MRD messages."""
    h5, binary = os.path.join(work, 'scan.h5'), os.path.join(work, 'scan.bin')
    run('simulate', 'shepplogan', '-o', h5, '--matrix', '192,192', '--slices', '1', '--coils', '10', *how)
    run('convert', h5, '-o', binary)
    b, at, header, lines = open(binary, 'rb').read(), 0, b'', []
    while at < len(b):
        id = struct.unpack_from('<H', b, at)[0]
        if id == 1:
            n = 1026
        elif id in (2, 3, 5):
            n = 6 + struct.unpack_from('<I', b, at + 2)[0]
        elif id == 1008:
            samples, channels = struct.unpack_from('<HH', b, at + 2 + 34)[0], struct.unpack_from('<H', b, at + 2 + 38)[0]
            n = 342 + 8 * samples * channels + 4 * samples * struct.unpack_from('<H', b, at + 2 + 176)[0]
        else:
            break
        noise = id == 1008 and struct.unpack_from('<Q', b, at + 4)[0] >> 18 & 1
        if id == 3 or noise:
            header += b[at:at + n]
        elif id == 1008:
            lines.append(bytearray(b[at:at + n]))
        at += n
    return header, lines


def measure(name, config, header, frame_of):
    """frame_of(r): the readouts of frame r, which begin at the one after the last of frame r - 1."""
    p, s = serve(kray, config, header, *more.get(name, []))
    took, used = [], 0
    for r in range(FRAMES):
        lines = frame_of(r)
        if r == SKIPPED:
            used = cpu(p.pid)
        s.sendall(b''.join(lines[:-1]))
        time.sleep(0.02)
        t = time.perf_counter()
        s.sendall(lines[-1])
        until(s, 1022)
        took.append(1000 * (time.perf_counter() - t))
    used = 1000 * (cpu(p.pid) - used) / (FRAMES - SKIPPED)
    p.terminate()
    p.wait()
    took = sorted(took[SKIPPED:])
    print(f'{name}: median {statistics.median(took):.1f} ms, 99th percentile {took[98]:.1f} ms, least {took[0]:.1f} ms; {used:.1f} ms of processor time a frame', flush=True)


more = {}


def cartesian(wanted):
    header, lines = stream_of('--snr', '30', '--no-oversampling')
    lines = [l for l in lines if struct.unpack_from('<H', l, 2 + 242)[0] in wanted]

    def frame(r):
        for i, l in enumerate(lines):
            struct.pack_into('<Q', l, 2 + 2, (1 << 7) if i == len(lines) - 1 else 0)
            struct.pack_into('<H', l, 2 + 254, r)
        return [bytes(l) for l in lines]
    return header, frame


if not chains or 'rss' in chains:
    measure('rss', 'rss', *cartesian(set(range(192))))
if not chains or 'grappa' in chains:
    measure('grappa', 'grappa', *cartesian(set(range(0, 192, 2)) | set(range(84, 108))))
if not chains or 'net' in chains:
    # A U-Net of 18 channels and 4 poolings, on the image of ESPIRiT maps: 2.15 G multiplications and additions each for 192 x 192 (4.3 GFLOP). Untrained: the time is the same.
    for i in range(3):
        run('simulate', 'brain', '-o', f'{work}/v{i}.h5', '-r', f'{work}/v{i}.nii.gz', '--matrix', '64,64', '--slices', '4', '--coils', '4')
    run('train', '--network', 'unet_atommic', '--size', 'channels=18,pooling_layers=4', '--images', ','.join(f'{work}/v{i}.nii.gz' for i in range(3)), '--hold-back', '0.4', '--steps', '1', '--slices', '4',
        '--first', '2', '--validation', '1', '--validate', '1', '--save', '1', '--coils', '4', '--accel', '2', '-o', f'{work}/net')
    os.rename(f'{work}/net/best.safetensors', f'{work}/unet.safetensors')
    more['net'] = ['--files', work]
    measure('net', '{"method":"unet_atommic","weights":"unet.safetensors"}', *cartesian(set(range(0, 192, 2)) | set(range(84, 108))))
if not chains or 'radial' in chains:
    header, lines = stream_of('--snr', '30', '--traj', f'radial:spokes={13 * (FRAMES + 4)},angle=golden')
    lines = [bytes(l) for l in lines]
    measure('radial', '{"method":"wavelet","spokes":13,"window":65,"compress":6}', header, lambda r: lines[:65] if r == 0 else lines[13 * (r + 4):13 * (r + 5)])
