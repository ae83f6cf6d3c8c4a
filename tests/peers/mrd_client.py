"""mrd_client.py: a client of kray serve, for latency.py and mrd_speed.py."""
import os, socket, struct, subprocess, sys


def cpu(pid):
    """Seconds of processor time, of all threads, also of those that have ended."""
    f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf('SC_CLK_TCK')


def serve(kray, config, header, *more):
    """The process, and a client of it that has sent its configuration and what `header` holds."""
    p = subprocess.Popen([kray, 'serve', '--port', '0', *more], stderr=subprocess.PIPE, text=True)
    for text in p.stderr:
        if 'listening at' in text:
            port = int(text.split('listening at ')[1].split(':')[1].split()[0])
            break
    s = socket.create_connection(('127.0.0.1', port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    named = struct.pack('<H', 1) + config.encode()[:1023].ljust(1024, b'\0')
    s.sendall((struct.pack('<HI', 2, len(config) + 1) + config.encode() + b'\0' if config.startswith('{') else named) + header)
    return p, s


def receive(s, n):
    b = bytearray()
    while len(b) < n:
        p = s.recv(n - len(b))
        if not p:
            sys.exit(f'the server ended: {bytes(b)}')
        b += p
    return bytes(b)


def until(s, wanted):
    """Reads messages up to the first of this kind; images of single floats. Prints warnings."""
    while True:
        id = struct.unpack('<H', receive(s, 2))[0]
        if id == 5:
            body = receive(s, struct.unpack('<I', receive(s, 4))[0]).decode().rstrip('\0')
            if body.startswith('ERR'):
                sys.exit(body)
            if not body.startswith('DBG'):
                print('#', body)
        elif id == 1022:
            x, y, z = struct.unpack_from('<HHH', receive(s, 198), 16)
            receive(s, struct.unpack('<Q', receive(s, 8))[0])
            receive(s, 4 * x * y * z)
        elif id != wanted:
            sys.exit(f'message {id}, and {wanted} was awaited')
        if id == wanted:
            return
