#!/usr/bin/env python3
"""storm.py KRAY STREAM [SESSIONS]: a kray serve among clients that do not behave.

STREAM is a recorded client (kray convert scan.h5 -o STREAM.bin). Prints TAP: so many sessions one after the other (200), 64 at once, resets after
every so many bytes, lies about lengths, garbage, silence and clients that read nothing; in the end the server lives, answers as in the beginning,
and holds no more memory and no more descriptors than after the first sessions. tests/storm.py build/tools/kray scan.bin 10000 is the long run."""
import os, random, re, signal, socket, struct, subprocess, sys, threading, time

kray, path, sessions = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 200
stream = open(path, 'rb').read()
stream = struct.pack('<H', 1) + b'rss'.ljust(1024, b'\0') + stream[1026:]
random.seed(1)
count = failed = 0


def verdict(good, words):
    global count, failed
    count += 1
    failed += not good
    print(('ok' if good else 'not ok'), count, '-', words, flush=True)


lines = []


def listen(stderr):
    for line in stderr:
        lines.append(line.decode(errors='replace'))


def serve(idle):
    p = subprocess.Popen([kray, 'serve', '--port', '0', '--idle', idle, '--sessions', '200', '-q'], stderr=subprocess.PIPE, env=dict(os.environ, KR_THREADS='1'))
    threading.Thread(target=listen, args=(p.stderr,), daemon=True).start()
    return p


def port_of(pid):
    inodes = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            m = re.match(r'socket:\[(\d+)\]', os.readlink(f'/proc/{pid}/fd/{fd}'))
        except OSError:
            continue
        if m:
            inodes.add(m.group(1))
    for line in open(f'/proc/{pid}/net/tcp').readlines()[1:]:
        f = line.split()
        if f[3] == '0A' and f[9] in inodes:
            return int(f[1].split(':')[1], 16)
    return 0


# --quiet tells warnings alone, so the port is looked up among the sockets of the process
def listening(p):
    for i in range(600):
        port = port_of(p.pid)
        if port or p.poll() is not None:
            return port
        time.sleep(0.1)


server, impatient = serve('300'), serve('2')
port, hasty = listening(server), listening(impatient)


def connect(to=0):
    return socket.create_connection(('127.0.0.1', to or port), timeout=120)


def receive(s):
    parts = []
    try:
        while True:
            b = s.recv(1 << 16)
            if not b:
                break
            parts.append(b)
    except OSError:
        pass
    return b''.join(parts)


def exchange(data):
    with connect() as s:
        s.sendall(data)
        return receive(s)


def images(answer):
    return answer.count(b'<ismrmrdMeta>')


def closed(answer):
    return answer[-2:] == b'\4\0'


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def holds():
    status = open(f'/proc/{server.pid}/status').read()
    return int(re.search(r'VmRSS:\s+(\d+)', status).group(1)), len(os.listdir(f'/proc/{server.pid}/fd')), int(re.search(r'Threads:\s+(\d+)', status).group(1))


def settled():
    least = None
    for i in range(80):
        now = holds()
        least = now if least is None or now[1] < least[1] else least
        if now[1] <= at_rest[1]:
            break
        time.sleep(0.1)
    return holds()


at_rest = holds()
first = exchange(stream)
verdict(closed(first) and images(first) > 0, f'a scan gives {images(first)} images and CLOSE')

# ---- 64 at once; first, since memory that the C library keeps for threads side by side would look like growth later ----
answers = [b''] * 64
barrier = threading.Barrier(64)


def one(i):
    try:
        with connect() as s:
            barrier.wait()
            for at in range(0, len(stream), 30011):
                s.sendall(stream[at:at + 30011])
            answers[i] = receive(s)
    except OSError as e:
        answers[i] = str(e).encode()


crowd = [threading.Thread(target=one, args=(i,)) for i in range(64)]
for t in crowd:
    t.start()
for t in crowd:
    t.join()
verdict(all(a == first for a in answers), '64 clients at once, each with the answer of one alone')

# ---- One after the other ----
for i in range(min(50, sessions)):
    exchange(stream)
warm = settled()
start = time.time()
good = sum(exchange(stream) == first for i in range(sessions))
seconds = time.time() - start
after = settled()
verdict(good == sessions, f'{sessions} sessions one after the other, all with the same bytes: {sessions / seconds:.0f} a second')
print(f'# resident {warm[0]} KiB, then {after[0]} KiB; descriptors {warm[1]}, then {after[1]}; threads {warm[2]}, then {after[2]}')
sanitized = os.environ.get('KR_SANITIZE', 'none') not in ('', 'none')      # sanitizers keep what was given back for a while
verdict(sanitized or after[0] <= warm[0] * 1.1 + 2048, 'resident memory does not grow' + (' (not looked at under a sanitizer)' if sanitized else ''))
verdict(after[1] <= warm[1] and after[2] <= warm[2], 'descriptors and threads do not grow')

# ---- Clients that do not behave; one that does is beside them ----
stop = threading.Event()
beside = []


def behaves():
    while not stop.is_set():
        answer = exchange(stream)
        beside.append(answer == first)
        if answer != first:
            print('# beside:', len(answer), 'bytes', re.findall(rb'(?:ERR|WRN) [ -~]*', answer)[:3], flush=True)


well = threading.Thread(target=behaves)
well.start()
step = max(1, len(stream) // min(400, sessions))
resets = 0
for at in range(0, len(stream), step):
    s = connect()
    try:
        s.sendall(stream[:at])
    except OSError:
        pass
    reset(s)
    resets += 1
    while len(os.listdir(f'/proc/{server.pid}/fd')) > 200:       # a session ends when it finds its client gone: on a busy machine later than the next one comes
        time.sleep(0.01)
verdict(server.poll() is None, f'{resets} resets, one after every {step} bytes')
lies = [struct.pack('<HI', 3, 0xffffffff), stream[:1026] + struct.pack('<HI', 3, 0xfffffff0), struct.pack('<H', 4711), b'GET / HTTP/1.0\r\n\r\n', b'yardl\1\0\0\0',
        stream[:1026] + stream[:1026], stream[1026:], struct.pack('<H', 1022) + bytes(206)]
answers = [exchange(b) for b in lies]
verdict(all(closed(a) and b'ERR ' in a for a in answers), 'lies about lengths, unknown messages and wrong orders are told and closed')
broken = 0
for i in range(40):
    b = bytearray(stream)
    for k in range(random.randrange(1, 30)):
        b[random.randrange(len(b))] = random.randrange(256)
    with connect() as s:
        try:
            s.sendall(bytes(b))
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        a = receive(s)
    broken += a != b'' and not closed(a)
verdict(broken == 0, '40 streams with bytes changed end with CLOSE, or the connection was gone')
silent, slow = connect(hasty), connect(hasty)
deaf = [connect(hasty) for i in range(3)]
slow.sendall(stream[:1])
for d in deaf:
    d.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    d.sendall(struct.pack('<H', 1) + b'echo'.ljust(1024, b'\0') + stream[1026:1026 + 200000])
answers = [receive(silent), receive(slow)]
verdict(all(b'ERR nothing came for 2 seconds' in a and closed(a) for a in answers), 'who is silent is told so and let go')
for i in range(100):
    if len(os.listdir(f'/proc/{impatient.pid}/fd')) <= at_rest[1]:
        break
    time.sleep(0.1)
verdict(len(os.listdir(f'/proc/{impatient.pid}/fd')) <= at_rest[1], 'so is who takes nothing of what is sent')
for d in deaf:
    d.close()
impatient.terminate()
stop.set()
well.join()
verdict(all(beside) and len(beside) > 0, f'{len(beside)} sessions beside these were not disturbed')
last = exchange(stream)
end = settled()
verdict(last == first, 'the server answers as in the beginning')
print(f'# resident {end[0]} KiB, descriptors {end[1]}, threads {end[2]}')
verdict(end[1] <= warm[1] and end[2] <= warm[2], 'no descriptors and no threads are left behind')
server.send_signal(signal.SIGTERM)
try:
    code = server.wait(30)
except subprocess.TimeoutExpired:
    server.kill()
    code = 'none'
verdict(code == 143, 'a graceful stop')
noise = [l for l in lines if 'ERROR' in l or 'runtime error' in l or 'WARNING: ThreadSanitizer' in l]
verdict(not noise, 'nothing was said by a sanitizer')
for l in noise[:20]:
    print('#', l.rstrip())
print(f'1..{count}')
sys.exit(failed != 0)
