#!/usr/bin/env python3
"""mrd_speed.py KRAY: how fast kray serve takes lines. Prints figures; no test. latency.py tells how long an image takes.

Lines: 192 lines x 256 samples x 32 channels (null configuration, 1 GB), beside a sink that receives the same bytes and does nothing with them."""
import os, socket, struct, sys, time
from mrd_client import cpu, serve, until

kray = sys.argv[1]
HEADER = '''<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>
</experimentalConditions><encoding><encodedSpace><matrixSize><x>192</x><y>192</y><z>1</z></matrixSize><fieldOfView_mm><x>300</x><y>300</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>192</x><y>192</y><z>1</z></matrixSize><fieldOfView_mm><x>300</x><y>300</y><z>5</z></fieldOfView_mm></reconSpace><encodingLimits><kspace_encoding_step_1>
<minimum>0</minimum><maximum>191</maximum><center>96</center></kspace_encoding_step_1><repetition><minimum>0</minimum><maximum>999</maximum><center>0</center></repetition></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>'''


def line(ky, samples, channels, data):
    h = bytearray(340)
    struct.pack_into('<HQIII', h, 0, 1, 0, 1, ky, 0)
    struct.pack_into('<HHH', h, 34, samples, channels, channels)
    struct.pack_into('<H', h, 172, samples // 2)
    struct.pack_into('<f12f', h, 178, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
    struct.pack_into('<H', h, 242, ky)
    return struct.pack('<H', 1008) + bytes(h) + data


piece = b''.join(line(ky, 256, 32, os.urandom(256 * 32 * 8)) for ky in range(192))
pieces = (1 << 30) // len(piece)
header = HEADER.encode() + b'\0'
server, s = serve(kray, 'null', struct.pack('<HI', 3, len(header)) + header)
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
