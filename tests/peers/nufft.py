#!/usr/bin/env python3
"""nufft.py LIBKRAY [2d|3d|toeplitz]...: non-uniform Fourier transforms beside FINUFFT (pip install finufft, 2.5 or newer) and DUCC (pip install ducc0) in one process,
one thread each, in turn: median milliseconds of processor time of a call with its plan made, of the plan, and the error that is measured against a transform
to 1e-7 in double precision. FINUFFT and DUCC are asked for the largest tolerance of a list that measures no more error than Kray's, so that ratios are at equal error."""
import ctypes as C, sys, time
import numpy as np
import ducc0, finufft

kr = C.CDLL(sys.argv[1])
kr.kr_threads_set(1)
kr.kr_nufft_new.restype = kr.kr_toeplitz_new.restype = C.c_void_p
TURNS = 5


def fp(a):
    return a.ctypes.data_as(C.c_void_p)


def once(f):
    t = time.process_time()
    r = f()
    return (time.process_time() - t) * 1e3, r


def sizes(n):
    return (C.c_long * 3)(*(list(n) + [1] * (3 - len(n))))


def pointers(k):
    return (C.c_void_p * 3)(*([k[d].ctypes.data for d in range(len(k))] + [None] * (3 - len(k))))


class Kray:
    def __init__(self, n, k, coils, tolerance):
        self.k, self.coils = k, coils
        self.plan = C.c_void_p(kr.kr_nufft_new(sizes(n), C.c_long(k.shape[1]), pointers(k), C.c_long(coils), C.c_double(tolerance)))
        self.y, self.x = np.empty((coils, k.shape[1]), np.complex64), np.empty((coils,) + tuple(reversed(n)), np.complex64)

    def forward(self, x):
        kr.kr_nufft_forward(self.plan, fp(self.y), fp(x), C.c_long(self.coils))
        return self.y

    def adjoint(self, y):
        kr.kr_nufft_adjoint(self.plan, fp(self.x), fp(y), C.c_long(self.coils))
        return self.x

    def __del__(self):
        kr.kr_nufft_unref(C.byref(self.plan))


class Finufft:
    def __init__(self, n, k, coils, tolerance, dtype="complex64"):
        axes = [np.ascontiguousarray(2 * np.pi * k[d] / n[d], dtype=np.float32 if dtype == "complex64" else np.float64) for d in range(len(n))][::-1]
        shape = tuple(reversed(n))
        self.two = finufft.Plan(2, shape, coils, tolerance, -1, dtype, nthreads=1)
        self.one = finufft.Plan(1, shape, coils, tolerance, 1, dtype, nthreads=1)
        self.two.setpts(*axes)
        self.one.setpts(*axes)

    def forward(self, x):
        return self.two.execute(x if len(x) > 1 else x[0]).reshape(len(x), -1)

    def adjoint(self, y):
        x = self.one.execute(y if len(y) > 1 else y[0])
        return x if len(y) > 1 else x[None]


class Ducc:
    def __init__(self, n, k, coils, tolerance):
        self.n = tuple(reversed(n))
        coord = np.ascontiguousarray(np.stack([2 * np.pi * k[d] / n[d] for d in range(len(n))][::-1], -1), dtype=np.float32)
        self.plan = ducc0.nufft.plan(nu2u=False, coord=coord, grid_shape=self.n, epsilon=tolerance, nthreads=1, periodicity=2 * np.pi, fft_order=False)

        self.y, self.x = np.empty((coils, k.shape[1]), np.complex64), np.empty((coils,) + self.n, np.complex64)

    def forward(self, x):
        for a, b in zip(x, self.y):
            self.plan.u2nu(grid=a, out=b, forward=True, verbosity=0)
        return self.y

    def adjoint(self, y):
        for a, b in zip(y, self.x):
            self.plan.nu2u(points=a, out=b, forward=False, verbosity=0)
        return self.x


def points(case, rng):
    if case == "2d":
        r, a = (np.arange(512) - 256) / 2, np.pi * np.arange(402) / 402
        return (256, 256), np.stack([np.outer(np.sin(a), r).ravel(), np.outer(np.cos(a), r).ravel()]).astype(np.float32)
    count = 1000000 if case == "3d" else 5000000
    spokes, samples = count // 256, 256
    z = 1 - 2 * (np.arange(spokes) + .5) / spokes
    a = np.pi * (3 - np.sqrt(5)) * np.arange(spokes)
    u = np.stack([np.sqrt(1 - z * z) * np.cos(a), np.sqrt(1 - z * z) * np.sin(a), z])
    return (128, 128, 128), (u[:, :, None] * ((np.arange(samples) - samples / 2) / 2)).reshape(3, -1).astype(np.float32)


def apart(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def medians(plan, x, y):
    f, a = [], []
    plan.forward(x), plan.adjoint(y)
    for _ in range(TURNS):
        f.append(once(lambda: plan.forward(x))[0])
        a.append(once(lambda: plan.adjoint(y))[0])
    return np.array([np.median(f), np.median(a)])


def beside(case, coils, tolerance):
    rng = np.random.default_rng(1)
    n, k = points(case, rng)
    shape = tuple(reversed(n))
    x = (rng.standard_normal((coils,) + shape) + 1j * rng.standard_normal((coils,) + shape)).astype(np.complex64)
    y = (rng.standard_normal((coils, k.shape[1])) + 1j * rng.standard_normal((coils, k.shape[1]))).astype(np.complex64)
    exact = Finufft(n, k.astype(np.float64), 1, 1e-9, "complex128")
    truth = [exact.forward(x[:1].astype(complex)), exact.adjoint(y[:1].astype(complex))]
    made, ours = once(lambda: Kray(n, k, coils, tolerance))
    error = max(apart(ours.forward(x)[:1] * np.sqrt(np.prod(n)), truth[0]), apart(ours.adjoint(y)[:1] * np.sqrt(np.prod(n)), truth[1]))
    rows = []
    for name, kind in (("FINUFFT", Finufft), ("DUCC", Ducc)):
        for eps in tolerance * np.array([3, 2, 1.5, 1.25, 1, .75, .5, .3, .2, .1]):
            try:
                trial = kind(n, k, 1, eps)
            except Exception:
                continue
            e = max(apart(trial.forward(x[:1]), truth[0]), apart(trial.adjoint(y[:1]), truth[1]))
            if e <= 1.02 * error:
                break
        plan, peer = once(lambda: kind(n, k, coils, eps))
        rows.append((name, plan, medians(peer, x, y), e))
    t = medians(ours, x, y)
    print(f"{case} {coils:2} coils, asked {tolerance:g}, measured {error:.1e}: Kray forward {t[0]:.1f} ms, adjoint {t[1]:.1f}, plan {made:.1f}")
    for name, plan, p, e in rows:
        print(f"    {name:8} ({e:.1e}) {p[0]:.1f}, {p[1]:.1f}, plan {plan:.1f}: {p[0] / t[0]:.2f}, {p[1] / t[1]:.2f}; both {p.sum() / t.sum():.2f} times Kray", flush=True)


def toeplitz():
    n, k = points("2d", None)
    rng = np.random.default_rng(1)
    S = (rng.standard_normal((8, 256, 256)) + 1j * rng.standard_normal((8, 256, 256))).astype(np.complex64)
    x, z = S[0].copy(), np.empty_like(S[0])
    t = C.c_void_p(kr.kr_toeplitz_new(sizes(n), C.c_long(8)))
    print("toeplitz spectrum %.1f ms" % once(lambda: kr.kr_toeplitz_add(t, C.c_long(k.shape[1]), pointers(k), None, C.c_double(1e-4)))[0])
    times = [once(lambda: kr.kr_toeplitz_apply(t, C.c_long(0), fp(z), fp(x), fp(S), C.c_long(1)))[0] for _ in range(30)]
    print("toeplitz 256 x 256 x 8 coils: %.2f ms (least %.2f), sum %r" % (np.median(times), min(times), np.abs(z).sum()))


for what in sys.argv[2:] or ("2d", "3d", "toeplitz"):
    if what == "toeplitz":
        toeplitz()
        continue
    for tolerance in (1e-3, 1e-5):
        for coils in ((1, 8, 32) if what == "2d" else (1, 8)):
            beside(what, coils, tolerance)
