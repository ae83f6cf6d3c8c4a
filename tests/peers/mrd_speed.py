#!/usr/bin/env python3
"""mrd_speed.py KRAY: how fast kray serve takes lines, and how long an image takes after the last of its lines. Prints figures; no test.

Lines: 192 lines x 256 samples x 32 channels (null configuration, 1 GB), beside a sink that receives the same bytes and does nothing with them.
Frames: 192 x 192, 10 coils, one after the other on one connection: rss of all lines, grappa of every second line and 24 in the middle."""
import os, socket, statistics, struct, subprocess, sys, threading, time

kray = sys.argv[1]
HEADER = '''<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>
</experimentalConditions><encoding><encodedSpace><matrixSize><x>192</x><y>192</y><z>1</z></matrixSize><fieldOfView_mm><x>300</x><y>300</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>192</x><y>192</y><z>1</z></matrixSize><fieldOfView_mm><x>300</x><y>300</y><z>5</z></fieldOfView_mm></reconSpace><encodingLimits><kspace_encoding_step_1>
<minimum>0</minimum><maximum>191</maximum><center>96</center></kspace_encoding_step_1><repetition><minimum>0</minimum><maximum>999</maximum><center>0</center></repetition></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>'''


def text(id, s):
    b = s.encode() + b'\0'
    return struct.pack('<HI', id, len(b)) + b


def line(ky, samples, channels, repetition, flags, data):
    h = bytearray(340)
    struct.pack_into('<HQIII', h, 0, 1, flags, 1, ky, 0)
    struct.pack_into('<HHH', h, 34, samples, channels, channels)
    struct.pack_into('<H', h, 172, samples // 2)
    struct.pack_into('<f12f', h, 178, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
    struct.pack_into('<H', h, 242, ky)
    struct.pack_into('<H', h, 254, repetition)
    return struct.pack('<H', 1008) + bytes(h) + data


def cpu(pid):
    f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf('SC_CLK_TCK')


def start(port, *more):
    s = subprocess.Popen([kray, 'serve', '--port', str(port), '-q', *more])
    for i in range(200):
        try:
            return s, socket.create_connection(('127.0.0.1', port))
        except OSError:
            time.sleep(0.05)
    sys.exit('the server does not listen')


def receive(s, n):
    b = bytearray()
    while len(b) < n:
        p = s.recv(n - len(b))
        if not p:
            sys.exit(f'the server ended: {bytes(b)}')
        b += p
    return bytes(b)


def until(s, wanted):
    """The messages up to the first of a kind, which is returned."""
    while True:
        id = struct.unpack('<H', receive(s, 2))[0]
        if id == 5:
            body = receive(s, struct.unpack('<I', receive(s, 4))[0])
            if body.startswith(b'ERR'):
                sys.exit(body.decode())
        elif id == 1022:
            h = receive(s, 198)
            body = receive(s, struct.unpack('<Q', receive(s, 8))[0])
            x, y, z = struct.unpack_from('<HHH', h, 16)
            body = receive(s, 4 * x * y * z)
        if id == wanted:
            return body if id != 4 else b''


# ---- Lines ----
port = 19002
piece = b''.join(line(ky, 256, 32, 0, 0, os.urandom(256 * 32 * 8)) for ky in range(192))
pieces = (1 << 30) // len(piece)
server, s = start(port)
s.sendall(struct.pack('<H', 1) + b'null'.ljust(1024, b'\0') + text(3, HEADER))
before, t = cpu(server.pid), time.time()
for i in range(pieces):
    s.sendall(piece)
s.sendall(struct.pack('<H', 4))
until(s, 4)
seconds, used = time.time() - t, cpu(server.pid) - before
server.terminate()
server.wait()
n = pieces * len(piece)
print(f'lines parsed: {n / seconds / 1e9:.2f} GB/s by the clock, {n / used / 1e9:.2f} GB per second of processor time of the server')

l = socket.create_server(('127.0.0.1', 0))
pid = os.fork()
if not pid:
    c, room = l.accept()[0], bytearray(512 << 10)
    while c.recv_into(room):
        pass
    os._exit(0)
s = socket.create_connection(l.getsockname())
before, t = cpu(pid), time.time()
for i in range(pieces):
    s.sendall(piece)
s.shutdown(socket.SHUT_WR)
while s.recv(10):
    pass
seconds, used = time.time() - t, cpu(pid) - before if os.path.exists(f'/proc/{pid}/stat') else 0
os.waitpid(pid, 0)
print(f'a sink:       {n / seconds / 1e9:.2f} GB/s by the clock, {n / used / 1e9:.2f} GB per second of processor time')

# ---- Frames ----
data = [os.urandom(0) or b''.join(struct.pack('<f', (i * 7919 + k * 104729) % 1000 / 500 - 1) for k in range(192 * 10 * 2)) for i in range(8)]
for config, lines in ('rss', list(range(192))), ('grappa', sorted(set(range(0, 192, 2)) | set(range(84, 108)))):
    port += 1
    server, s = start(port)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(struct.pack('<H', 1) + config.encode().ljust(1024, b'\0') + text(3, HEADER))
    took, used = [], cpu(server.pid)
    for r in range(120):
        frame = [line(ky, 192, 10, r, (1 << 7) if ky == lines[-1] else 0, data[ky % 8]) for ky in lines]
        s.sendall(b''.join(frame[:-1]))
        time.sleep(0.01)
        t = time.time()
        s.sendall(frame[-1])
        until(s, 1022)
        took.append(1000 * (time.time() - t))
    used = (cpu(server.pid) - used) / 120 * 1000
    server.terminate()
    server.wait()
    took = sorted(took[20:])
    print(f'{config}: median {statistics.median(took):.1f} ms, 99th percentile {took[98]:.1f} ms, least {took[0]:.1f} ms from the last line to the image; {used:.1f} ms of processor time a frame')
