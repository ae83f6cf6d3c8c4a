#!/usr/bin/env python3
"""ct_speed.py LIBKRAY KRAY [ROUNDS [PART ...]]: speed of CT beside ASTRA (pip install astra-toolbox; 2D alone on a CPU) and RTK (pip install itk-rtk): line integrals and their
transpose, filtered back-projection, SIRT and CGLS of 512^2 pixels, 720 views of 729 elements, parallel and fan; cones of 256^3 voxels, 180 views of 384 x 256 elements,
Feldkamp's method. Parts: 2d, iterations, cone (all), and gridrec: 16 slices of ellipses beside TomoPy's gridrec, GRIDREC=libtomo-gridrec.so (compiled of its source). One process, ours and theirs by turns, medians of ROUNDS (3): seconds of processor time and by the clock; how far the
results agree. OMP_NUM_THREADS says how many threads Kray and RTK take; ASTRA's projectors on a CPU take one. SIRT and CGLS of ASTRA: 10 iterations times 5, of Kray the
whole process of 50, reading and writing included."""
import ctypes as C, os, resource, statistics, subprocess, sys, tempfile, time
import numpy as np

kr = C.CDLL(sys.argv[1])
tool, rounds = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
parts = sys.argv[4:] or ["2d", "iterations", "cone"]
threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
kr.kr_threads_set(threads)


class Detector(C.Structure):
    _fields_ = [("columns", C.c_long), ("rows", C.c_long), ("pitch", C.c_double * 2), ("shift", C.c_double * 2)]


class Grid(C.Structure):
    _fields_ = [("n", C.c_long * 3), ("first", C.c_double * 3), ("step", C.c_double * 3)]


class Fbp(C.Structure):
    _fields_ = [("window", C.c_int), ("even", C.c_bool), ("weights", C.c_void_p), ("gridded", C.c_double), ("spline", C.c_bool)]


for f in ("kr_rays_rtk", "kr_rays_cone", "kr_rays_parallel", "kr_projector_new"):
    getattr(kr, f).restype = C.c_void_p
kr.kr_grid_centred.restype = Grid


def fp(a):
    return a.ctypes.data_as(C.c_void_p)


def timed(f):
    c, w = time.process_time(), time.perf_counter()
    r = f()
    return (time.process_time() - c, time.perf_counter() - w), r


def of_child(command):
    before, w = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - w), None


def median(times):
    return [statistics.median(t[k] for t in times) for k in (0, 1)]


def duel(what, ours, theirs, apart=None, times=1, scale=1):
    """Both by turns; scale: their seconds times this."""
    o, t = [], []
    for _ in range(times):
        a, x = ours() if getattr(ours, "child", False) else timed(ours)
        b, y = timed(theirs)
        o.append(a)
        t.append([s * scale for s in b])
    o, t = median(o), median(t)
    print(f"{what:44} Kray {o[0]:8.3f} s ({o[1]:8.3f})  peer {t[0]:8.3f} s ({t[1]:8.3f})  {t[0] / o[0]:6.1f}x ({t[1] / o[1]:6.1f}x)  {apart(x, y) if apart else ''}", flush=True)
    return x, y


def apart(a, b):
    return f"apart {np.linalg.norm(a.astype(float) - b) / np.linalg.norm(b.astype(float)):.1e}"


def inner(a):
    """RTK's rays begin and end at the centres of the outermost voxels, ours at the planes outside."""
    return a[2:-2, 2:-2, 2:-2]


class Kray:
    def __init__(self, rays, grid, shape, image, model=0):
        self.rays, self.grid, self.shape, self.image = rays, grid, shape, image
        self.p = C.c_void_p(kr.kr_projector_new(C.c_void_p(rays), C.byref(grid), model, False))

    def forward(self, x):
        y = np.zeros(self.shape, np.float32)
        kr.kr_project(self.p, fp(y), fp(x), C.c_long(0), C.c_long(1))
        return y

    def back(self, y):
        x = np.zeros(self.image, np.float32)
        kr.kr_backproject(self.p, fp(x), fp(y), C.c_long(0), C.c_long(1), False)
        return x

    def fbp(self, y, gridded=0.0, spline=False):
        x = np.zeros(self.image, np.float32)
        e = kr.kr_fbp(fp(x), fp(y), C.c_void_p(self.rays), C.byref(self.grid), C.byref(Fbp(0, False, None, gridded, spline)), None)
        assert not e
        return x


def beside_gridrec():
    """Line integrals of ellipses, means over elements; gridrec's image lies a pixel aside (its own middle), which is made up for. As they are, and but for a factor and an offset."""
    class Body(C.Structure):
        _fields_ = [("value", C.c_double), ("centre", C.c_double * 3), ("half", C.c_double * 3), ("phi", C.c_double)]

    theirs, N, V, D, S = C.CDLL(os.environ["GRIDREC"]), 512, 720, 729, 16
    bodies = (Body * 4)(*[Body(v, (C.c_double * 3)(x, y, 0), (C.c_double * 3)(a, b, 0), phi) for v, x, y, a, b, phi in
                          ((.02, 0, 0, 230, 190, 0), (.01, 60, 0, 50, 50, 0), (-.008, -80, 40, 60, 25, .5), (.015, -20, -100, 12, 12, 0))])
    angle, detector = np.arange(V) * np.pi / V, Detector(D, 1, (1., 0), (0, 0))
    rays = kr.kr_rays_parallel(C.byref(detector), C.c_long(V), fp(angle))
    y = np.zeros((V, D), np.float32)
    kr.kr_ellipsoids_scan(fp(y), bodies, C.c_long(4), C.c_void_p(rays), 8)
    stack, theta, centre, par = np.ascontiguousarray(np.stack([y] * S)), angle.astype(np.float32), np.full(S, (D - 1) / 2, np.float32), np.array([.5, 8], np.float32)
    grid = kr.kr_grid_centred((C.c_long * 3)(N, N, 1), (C.c_double * 3)(1, 1, 1))

    def drawn(aside):
        g, x = kr.kr_grid_centred((C.c_long * 3)(N, N, 1), (C.c_double * 3)(1, 1, 1)), np.zeros((N, N), np.float32)
        for d in (0, 1):
            g.first[d] += aside
        kr.kr_ellipsoids_draw(fp(x), bodies, C.c_long(4), C.byref(g), 8)
        return x

    def gridrec():
        x = np.zeros((S, N, N), np.float32)
        theirs.gridrec(fp(stack), S, V, D, fp(centre), fp(theta), fp(x), N, N, b"shepp", fp(par))
        return x

    def ours(gridded, spline):
        x = np.zeros((S, N, N), np.float32)
        for k in range(0, S, 16):
            to, of = (C.c_void_p * 16)(*[a.ctypes.data for a in x[k:k + 16]]), (C.c_void_p * 16)(*[a.ctypes.data for a in stack[k:k + 16]])
            assert not kr.kr_fbp_slices(to, of, C.c_long(16), C.c_void_p(rays), C.byref(grid), C.byref(Fbp(0, False, None, gridded, spline)), None)
        return x

    def errors(x, y):
        t, q = drawn(0).ravel(), drawn(-.5).ravel()
        z = np.rot90(y[0], 3).T.ravel()
        fit = np.linalg.lstsq(np.stack([z, np.ones_like(z)], 1), q, rcond=None)[0]
        return "errors: Kray %.4f, gridrec %.4f (%.4f but for a factor and an offset)" % tuple(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in
                                                                                          ((x[S - 1].ravel(), t), (z, q), (z * fit[0] + fit[1], q)))

    for what, gridded, spline in (("gridding", 1e-3, False), ("fbp", 0, True)):
        duel(f"{S} slices, {what} beside gridrec", lambda: ours(gridded, spline), gridrec, errors, rounds)


print(f"{threads} thread{'s' * (threads > 1)}; seconds of processor time (by the clock); ratios peer / Kray likewise")
if "gridrec" in parts:
    beside_gridrec()
rng = np.random.default_rng(1)
if "2d" in parts or "iterations" in parts:
    import astra
    N, V, D = 512, 720, 729
    ax = np.arange(N) - (N - 1) / 2
    picture = np.ascontiguousarray((0.02 * (ax[None, :]**2 / 230**2 + ax[:, None]**2 / 190**2 < 1) + 0.01 * ((ax[None, :] - 60)**2 + ax[:, None]**2 < 50**2)).astype(np.float32))
    grid = kr.kr_grid_centred((C.c_long * 3)(N, N, 1), (C.c_double * 3)(1, -1, 1))
    for kind, kernel in (("parallel", "linear"), ("parallel", "line"), ("fanflat", "line_fanflat")):
        fan = kind == "fanflat"
        theta = np.arange(V) * (2 if fan else 1) * np.pi / V
        pg = astra.create_proj_geom("fanflat", 2., D, theta, 2. * N, 2. * N) if fan else astra.create_proj_geom("parallel", 1., D, theta)
        det = Detector(D, 1, (2. if fan else 1., 0), (0, 0))
        angles = theta.ctypes.data_as(C.c_void_p)
        rays = kr.kr_rays_cone(C.byref(det), C.c_double(2. * N), C.c_double(4. * N), False, C.c_long(V), angles, None) if fan else kr.kr_rays_parallel(C.byref(det), C.c_long(V), angles)
        ours, vg = Kray(rays, grid, (V, D), (N, N)), astra.create_vol_geom(N, N)
        pid = astra.create_projector(kernel, pg, vg)

        def forward():
            i, s = astra.create_sino(picture, pid)
            astra.data2d.delete(i)
            return s

        def back():
            i, b = astra.create_backprojection(sino, pid)
            astra.data2d.delete(i)
            return b

        def iterate(name, count):
            s, r = astra.data2d.create("-sino", pg, sino), astra.data2d.create("-vol", vg)
            c = astra.astra_dict(name)
            c["ProjectorId"], c["ProjectionDataId"], c["ReconstructionDataId"] = pid, s, r
            a = astra.algorithm.create(c)
            astra.algorithm.run(a, count)
            x = astra.data2d.get(r)
            astra.algorithm.delete(a)
            astra.data2d.delete([s, r])
            return x

        sino = np.ascontiguousarray(forward())
        if "2d" in parts:
            duel(f"{kind} ({kernel}) forward", lambda: ours.forward(picture), forward, apart, rounds)
            duel("    transpose", lambda: ours.back(sino), back, apart, rounds)
            if not fan and kernel == "linear":
                def error(a, b):
                    off = [np.linalg.norm(i - picture) / np.linalg.norm(picture) for i in (a, b)]
                    return f"error Kray {off[0]:.4f}, peer {off[1]:.4f}"
                duel("    filtered back-projection", lambda: ours.fbp(sino, 0, True), lambda: iterate("FBP", 1), error, rounds)
                duel("    by straight lines", lambda: ours.fbp(sino), lambda: iterate("FBP", 1), error, rounds)
                duel("    by gridding", lambda: ours.fbp(sino, 1e-4), lambda: iterate("FBP", 1), error, rounds)
        if "iterations" in parts and kernel != "line":
            with tempfile.TemporaryDirectory() as room:
                np.save(room + "/sino.npy", sino)
                step = 360 if fan else 180
                geometry = f"fan:sod={2 * N},sdd={4 * N},pixel=2,angles=0:{step}:{V}" if fan else f"parallel:pixel=1,angles=0:{step}:{V}"
                for name in ("SIRT", "CGLS"):
                    def run(name=name):
                        return of_child([tool, "ct", room + "/sino.npy", "-o", room + "/x.npy", "--geometry", geometry, "--axis", str((D - 1) / 2), "--matrix", str(N), "--method", name.lower(),
                                         "-i", "50", "--threads", str(threads)])
                    run.child = True
                    duel(f"{kind}, {name}, 50 iterations", run, lambda: iterate(name, 10), None, 1, 5)
        astra.clear()
if "cone" in parts:
    import itk
    from itk import RTK as rtk
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(threads)
    n, views, columns, rows = 256, 180, 384, 256
    sod, sdd, pitch, step = 1000., 1500., 512. / columns * 1.5, 256. / n
    grid = kr.kr_grid_centred((C.c_long * 3)(n, n, n), (C.c_double * 3)(step, step, step))
    ax = (np.arange(n) - (n - 1) / 2) * step
    z, y_, x_ = np.meshgrid(ax, ax, ax, indexing="ij")
    volume = (0.02 * (x_**2 / 110**2 + y_**2 / 90**2 + z**2 / 100**2 < 1) + 0.01 * ((x_ - 30)**2 + y_**2 + (z + 20)**2 < 25**2)).astype(np.float32)
    detector = Detector(columns, rows, (pitch, pitch), (0, 0))
    geometry, nine = rtk.ThreeDCircularProjectionGeometry.New(), np.zeros((views, 9))
    for i in range(views):
        geometry.AddProjection(sod, sdd, 360. * i / views)
        nine[i, :3] = sod, sdd, 360. * i / views
    origin = (C.c_double * 2)(-pitch * (columns - 1) / 2, -pitch * (rows - 1) / 2)
    rays = kr.kr_rays_rtk(C.byref(detector), origin, C.c_long(views), fp(nine))
    ours = Kray(rays, grid, (views, rows, columns), (n, n, n))

    def image(a, spacing, at):
        im = itk.image_from_array(np.ascontiguousarray(a))
        im.SetSpacing(spacing)
        im.SetOrigin(at)
        return im

    at = [-pitch * (columns - 1) / 2, -pitch * (rows - 1) / 2, 0]

    def theirs(kind, data):
        """RTK's filters run once: anew each time."""
        T = type(image(volume[:1, :1, :1], [1] * 3, [0] * 3))
        if kind == "forward":
            f = rtk.JosephForwardProjectionImageFilter[T, T].New()
            f.SetInput(0, image(np.zeros((views, rows, columns), np.float32), [pitch, pitch, 1], at))
            f.SetInput(1, image(data, [step] * 3, [ax[0]] * 3))
        else:
            f = (rtk.JosephBackProjectionImageFilter[T, T] if kind == "back" else rtk.FDKConeBeamReconstructionFilter[T]).New()
            f.SetInput(0, image(np.zeros_like(volume), [step] * 3, [ax[0]] * 3))
            f.SetInput(1, image(data, [pitch, pitch, 1], at))
        f.SetGeometry(geometry)
        f.SetNumberOfWorkUnits(threads)
        f.Update()
        return itk.array_from_image(f.GetOutput())

    _, projections = duel(f"cone {n}^3, {views} x {columns} x {rows} forward", lambda: ours.forward(volume), lambda: theirs("forward", volume), apart, rounds)
    projections = np.ascontiguousarray(projections)
    duel("    transpose", lambda: ours.back(projections), lambda: theirs("back", projections), lambda a, b: apart(inner(a), inner(b)) + " within", rounds)
    duel("    Feldkamp", lambda: ours.fbp(projections), lambda: theirs("fdk", projections), apart, rounds)
    other = Kray(rays, grid, (views, rows, columns), (n, n, n), 1)
    for what, run in (("forward", lambda: other.forward(volume)), ("transpose", lambda: other.back(projections))):
        t = timed(run)[0]
        print(f"    distance-driven {what} (no peer){'':12} Kray {t[0]:8.3f} s ({t[1]:8.3f})")
