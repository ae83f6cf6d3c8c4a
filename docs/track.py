#!/usr/bin/env python3
"""Follows the brightest tenth of every image: kray serve --each 'python3 track.py'.

Standard input: MRD image messages (number, header, attributes, pixels); standard output: a line of JSON for each, before the next is read."""
import array, json, struct, sys

TYPES = {1: "H", 2: "h", 3: "I", 4: "i", 5: "f", 6: "d"}

def take(n):
    b = sys.stdin.buffer.read(n)
    if len(b) < n:
        sys.exit(0)
    return b

while True:
    number, = struct.unpack("<H", take(2))
    header = take(198)
    attributes = take(struct.unpack("<Q", take(8))[0])
    kind, = struct.unpack_from("<H", header, 2)
    nx, ny, nz = struct.unpack_from("<3H", header, 16)
    fov = struct.unpack_from("<3f", header, 22)
    channels, = struct.unpack_from("<H", header, 34)
    repetition, = struct.unpack_from("<H", header, 104)
    pixels = array.array(TYPES[kind])
    pixels.frombytes(take(nx * ny * nz * channels * pixels.itemsize))
    bright = sorted(range(nx * ny), key=lambda i: pixels[i])[-nx * ny // 10:]
    x = sum(i % nx for i in bright) / len(bright)
    y = sum(i // nx for i in bright) / len(bright)
    print(json.dumps({"repetition": repetition, "x_mm": round((x - nx / 2) * fov[0] / nx, 2), "y_mm": round((y - ny / 2) * fov[1] / ny, 2)}), flush=True)
