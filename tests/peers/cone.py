#!/usr/bin/env python3
"""cone.py LIBKRAY [N VIEWS COLUMNS ROWS]: line integrals of cone beams and their transpose, and Feldkamp's method, beside RTK (pip install itk-rtk) and
ASTRA (pip install astra-toolbox; 2D alone on a CPU), one thread, seconds of processor time in one process, and how far the results agree."""
import ctypes as C, sys, time
import numpy as np

kr = C.CDLL(sys.argv[1])
n, views, columns, rows = (int(a) for a in (sys.argv[2:6] or (128, 90, 192, 128)))
kr.kr_threads_set(1)


class Detector(C.Structure):
    _fields_ = [("columns", C.c_long), ("rows", C.c_long), ("pitch", C.c_double * 2), ("shift", C.c_double * 2)]


class Grid(C.Structure):
    _fields_ = [("n", C.c_long * 3), ("first", C.c_double * 3), ("step", C.c_double * 3)]


class Fbp(C.Structure):
    _fields_ = [("window", C.c_int), ("even", C.c_bool), ("weights", C.c_void_p)]


for f in ("kr_rays_rtk", "kr_rays_cone", "kr_rays_parallel", "kr_projector_new"):
    getattr(kr, f).restype = C.c_void_p
kr.kr_grid_centred.restype = Grid


def once(f):
    t = time.process_time()
    r = f()
    return time.process_time() - t, r


def fp(a):
    return a.ctypes.data_as(C.c_void_p)


def kray(rays, grid, x, y, model=0):
    """Both directions: seconds and results."""
    p = C.c_void_p(kr.kr_projector_new(C.c_void_p(rays), C.byref(grid), model, False))
    a, b = np.zeros_like(y), np.zeros_like(x)
    t = [once(lambda: kr.kr_project(p, fp(a), fp(x), C.c_long(0), C.c_long(1)))[0], once(lambda: kr.kr_backproject(p, fp(b), fp(y), C.c_long(0), C.c_long(1)))[0]]
    return t, a, b


def apart(a, b):
    return np.linalg.norm(a.astype(float) - b) / np.linalg.norm(b.astype(float))


def inner(a):
    """RTK's rays begin and end at the centres of the outermost voxels, ours at the planes outside."""
    return a[2:-2, 2:-2, 2:-2]


def line(what, ours, theirs, more=""):
    print(f"{what:34} Kray {ours:8.3f} s  peer {theirs:8.3f} s  {theirs / ours:6.1f}x  {more}", flush=True)


rng = np.random.default_rng(1)
sod, sdd, pitch, step = 1000., 1500., 512. / columns * 1.5, 256. / n
grid = kr.kr_grid_centred((C.c_long * 3)(n, n, n), (C.c_double * 3)(step, step, step))
ax = (np.arange(n) - (n - 1) / 2) * step
z, y_, x_ = np.meshgrid(ax, ax, ax, indexing="ij")
volume = (0.02 * (x_**2 / 110**2 + y_**2 / 90**2 + z**2 / 100**2 < 1) + 0.01 * ((x_ - 30)**2 + y_**2 + (z + 20)**2 < 25**2)).astype(np.float32)
detector = Detector(columns, rows, (pitch, pitch), (0, 0))
try:
    import itk
    from itk import RTK as rtk
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    geometry, nine = rtk.ThreeDCircularProjectionGeometry.New(), np.zeros((views, 9))
    for i in range(views):
        geometry.AddProjection(sod, sdd, 360. * i / views)
        nine[i, :3] = sod, sdd, 360. * i / views
    origin = (C.c_double * 2)(-pitch * (columns - 1) / 2, -pitch * (rows - 1) / 2)
    rays = kr.kr_rays_rtk(C.byref(detector), origin, C.c_long(views), fp(nine))

    def image(a, spacing, at):
        im = itk.image_from_array(np.ascontiguousarray(a))
        im.SetSpacing(spacing)
        im.SetOrigin(at)
        return im

    at = [-pitch * (columns - 1) / 2, -pitch * (rows - 1) / 2, 0]
    vol, stack = image(volume, [step] * 3, [ax[0]] * 3), image(np.zeros((views, rows, columns), np.float32), [pitch, pitch, 1], at)
    T = type(vol)
    f = rtk.JosephForwardProjectionImageFilter[T, T].New()
    f.SetInput(0, stack)
    f.SetInput(1, vol)
    f.SetGeometry(geometry)
    f.SetNumberOfWorkUnits(1)
    tf = once(f.Update)[0]
    theirs = itk.array_from_image(f.GetOutput())
    t, a, b = kray(rays, grid, volume, theirs)
    line(f"{n}^3, {views} x {columns} x {rows} forward", t[0], tf, f"apart {apart(a, theirs):.1e}")
    g = rtk.JosephBackProjectionImageFilter[T, T].New()
    g.SetInput(0, image(np.zeros_like(volume), [step] * 3, [ax[0]] * 3))
    g.SetInput(1, image(theirs, [pitch, pitch, 1], at))
    g.SetGeometry(geometry)
    g.SetNumberOfWorkUnits(1)
    tb = once(g.Update)[0]
    line("    transpose", t[1], tb, f"apart {apart(inner(b), inner(itk.array_from_image(g.GetOutput()))):.1e} within")
    h = rtk.FDKConeBeamReconstructionFilter[T].New()
    h.SetInput(0, image(np.zeros_like(volume), [step] * 3, [ax[0]] * 3))
    h.SetInput(1, image(theirs, [pitch, pitch, 1], at))
    h.SetGeometry(geometry)
    h.SetNumberOfWorkUnits(1)
    th = once(h.Update)[0]
    ours = np.zeros_like(volume)
    t, e = once(lambda: kr.kr_fbp(fp(ours), fp(theirs), C.c_void_p(rays), C.byref(grid), C.byref(Fbp(0, False, None)), None))
    line("    Feldkamp", t, th, f"apart {apart(ours, itk.array_from_image(h.GetOutput())):.1e}" if not e else "refused")
    d = kray(rays, grid, volume, theirs, 1)[0]
    print(f"{'    distance (no peer)':34} Kray {d[0]:8.3f} s, transpose {d[1]:.3f} s")
except ImportError:
    print("RTK is not installed")
try:
    import astra
    N, V, D = (512, 720, 729) if n > 128 else (256, 360, 365)
    theta = np.arange(V) * 2 * np.pi / V
    picture = np.ascontiguousarray(rng.random((N, N), dtype=np.float32))
    one = kr.kr_grid_centred((C.c_long * 3)(N, N, 1), (C.c_double * 3)(1, -1, 1))
    for kind, kernel in (("parallel", "linear"), ("parallel", "line"), ("fanflat", "line_fanflat")):
        fan = kind == "fanflat"
        pg = astra.create_proj_geom("fanflat", 2., D, theta, 2. * N, 2. * N) if fan else astra.create_proj_geom("parallel", 1., D, theta)
        det = Detector(D, 1, (2. if fan else 1., 0), (0, 0))
        angles = theta.ctypes.data_as(C.c_void_p)
        rays = kr.kr_rays_cone(C.byref(det), C.c_double(2. * N), C.c_double(4. * N), False, C.c_long(V), angles, None) if fan else kr.kr_rays_parallel(C.byref(det), C.c_long(V), angles)
        pid = astra.create_projector(kernel, pg, astra.create_vol_geom(N, N))
        tf, (sid, sino) = once(lambda: astra.create_sino(picture, pid))
        tb, (bid, back) = once(lambda: astra.create_backprojection(sino, pid))
        t, a, b = min((kray(rays, one, picture, np.ascontiguousarray(sino)) for _ in range(3)), key=lambda r: sum(r[0]))
        line(f"{N}^2, {V} x {D}, {kind} ({kernel})", t[0], tf, f"apart {apart(a, sino):.1e}")
        line("    transpose", t[1], tb, f"apart {apart(b, back):.1e}")
        astra.clear()
except ImportError:
    print("ASTRA is not installed")
