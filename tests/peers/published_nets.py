"""published_nets.py WORK KRAY PROGRAM: one published program and kray recon on the same files, with the same weights.

The program's own entry point, transforms, masks, model classes and output file; its weights are random with a fixed seed and
saved as its own checkpoint. Prints, for each network, the largest difference relative to the largest value of the image."""
import copy
import os
import pathlib
import re
import subprocess
import sys

import h5py
import numpy as np

WORK, KRAY, PROGRAM = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
LEFT, RIGHT = 6, 4                    # columns of zeros that the files have at their sides
failed = []


def kray(*args):
    p = subprocess.run([KRAY, *map(str, args)], capture_output=True, text=True)
    if p.returncode:
        sys.exit("kray %s: %s" % (" ".join(map(str, args)), p.stderr))
    return p.stderr


def scans(recon=(72, 80)):
    """full.h5: a brain of 5 coils, 160 x 92 k-space whose outer columns are zeros, as fastMRI stores them; test.h5: with mask."""
    folder = WORK / "data"
    if (folder / "test" / "brain.h5").exists():
        return folder
    for f in ("full", "test"):
        (folder / f).mkdir(parents=True, exist_ok=True)
    kray("simulate", "-o", WORK / "s.h5", "-m", "80,92", "-s", 2, "-c", 5, "--snr", 30, "--no-noise-scan", "-q")
    kray("convert", WORK / "s.h5", "-o", folder / "full" / "brain.h5", "--to", "fastmri", "-q")
    with h5py.File(folder / "full" / "brain.h5", "r") as f:
        k, xml = f["kspace"][()] * 1e-3, f["ismrmrd_header"][()].decode()
    k[..., :LEFT] = 0
    k[..., k.shape[-1] - RIGHT:] = 0
    step1 = r"(<kspace_encoding_step_1>\s*<minimum>0</minimum>\s*<maximum>)\d+(</maximum>\s*<center>)\d+"
    xml = re.sub(step1, r"\g<1>%d\g<2>%d" % (k.shape[-1] - LEFT - RIGHT - 1, k.shape[-1] // 2 - LEFT), xml)
    xml = re.sub(r"(<reconSpace>\s*<matrixSize>\s*<x>)\d+(</x>\s*<y>)\d+", r"\g<1>%d\g<2>%d" % recon, xml)
    rss = np.sqrt((abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(k, (2, 3)), axes=(2, 3), norm="ortho"), (2, 3))) ** 2).sum(1))
    h, w = rss.shape[1:]
    target = rss[:, (h - recon[0]) // 2:, (w - recon[1]) // 2:][:, :recon[0], :recon[1]]
    mask = np.zeros(k.shape[-1], bool)
    mask[1::4] = mask[41:53] = True   # its calibration lines lie unevenly about the middle
    for name in ("full", "test"):
        with h5py.File(folder / name / "brain.h5", "w") as f:
            f["kspace"] = (k if name == "full" else k * mask).astype(np.complex64)
            f["ismrmrd_header"] = np.bytes_(xml)
            f.attrs.update(acquisition="AXT1", max=float(target.max()), norm=float(np.linalg.norm(target)), patient_id="0")
            if name == "full":
                f["reconstruction_rss"] = target.astype(np.float32)
            else:
                f["mask"] = mask
                f.attrs.update(acceleration=4, num_low_frequency=10)
    return folder


def image(path, key="reconstruction"):
    with h5py.File(path, "r") as f:
        return f[key][()]


def compare(name, ours, theirs, limit=1e-4):
    if ours.shape != theirs.shape:
        print("%-46s shapes differ: Kray %s, published %s" % (name, ours.shape, theirs.shape), flush=True)
        failed.append(name)
        return
    if os.environ.get("KR_KEEP"):
        np.savez(WORK / (re.sub(r"\W+", "_", name) + ".npz"), ours=ours, theirs=theirs)
    worst = float(abs(ours.astype(float) - theirs).max() / abs(theirs).max())
    good = worst <= limit
    print("%-46s %.1e%s" % (name, worst, "" if good else "   above %.0e" % limit), flush=True)
    if not good:
        failed.append(name)


# ---- DIRECT ----
def direct():
    import torch
    import yaml
    from direct.cli.cli import main
    from direct.checkpointer import Checkpointer
    from direct.environment import setup_inference_environment
    torch.utils.data.Sampler.__init__ = lambda self, *source: None      # newer PyTorch takes no source any more
    data = scans()

    def predict(name, model, ser, full=True, transforms=None, method=None, crop="header", words=(), exact=1e-4):
        folder = WORK / "direct" / re.sub(r"\W+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        masking = dict(name="FastMRIRandom", accelerations=[4], center_fractions=[0.08])
        trans = dict(cropping=dict(crop=None), sensitivity_map_estimation=dict(estimate_sensitivity_maps=full),
                     normalization=dict(scaling_key="masked_kspace"), masking=masking if full else None)
        trans.update(transforms or {})
        dataset = dict(name="FastMRI", transforms=trans)
        if not full:
            dataset["pass_mask"] = True
        cfg = dict(physics=dict(forward_operator="fft2", backward_operator="ifft2"), model=model, inference=dict(dataset=dataset, batch_size=1, crop=crop))
        if ser:
            cfg["additional_models"] = dict(sensitivity_model=dict(model_name="unet.unet_2d.UnetModel2d", in_channels=2, out_channels=2,
                                            num_filters=4, num_pool_layers=3, dropout_probability=0.0))
        (folder / "model.yaml").write_text(yaml.safe_dump(cfg))
        torch.manual_seed(7)
        env = setup_inference_environment("", folder, "cpu", 0, False, str(folder / "model.yaml"))
        engine = env.engine
        for m in (engine.model, *engine.models.values()):       # as if trained: steps of another size than the first
            for key, p in m.named_parameters():
                if key.endswith("learning_rate"):
                    torch.nn.init.uniform_(p.data, 0.3, 1.2)
        Checkpointer(folder, save_to_disk=True, model=engine.model, **engine.models).save(1)
        sys.argv = ["direct", "predict", str(folder / "out"), "--data-root", str(data / ("full" if full else "test")), "--cfg",
                    str(folder / "model.yaml"), "--checkpoint", str(folder / "model_1.pt"), "--device", "cpu", "--num-workers", "0", "--num-gpus", "0"]
        main()
        ours = folder / "kray.h5"
        said = kray("recon", data / ("full" if full else "test") / "brain.h5", "-o", ours, "--to", "fastmri", "--method", method, "--weights",
                    folder / "model_1.pt", *(("-u", "random:accel=4,center=0.08,seed=%s" % (data / "full" / "brain.h5")) if full else ()), *words)
        if os.environ.get("KR_KEEP"):
            print(said)
        compare("DIRECT " + name, image(ours), image(folder / "out" / "brain.h5"), exact)

    rvn = dict(model_name="recurrentvarnet.recurrentvarnet.RecurrentVarNet", num_steps=3, recurrent_hidden_channels=12, recurrent_num_layers=3,
               initializer_initialization="sense", learned_initializer=True, initializer_channels=[8, 8, 16, 16],
               initializer_dilations=[1, 1, 2, 4], initializer_multiscale=3)
    rim = dict(model_name="rim.rim.RIM", hidden_channels=12, length=4, depth=2, steps=1, no_parameter_sharing=False, image_initialization="sense")
    varnet = dict(model_name="varnet.varnet.EndToEndVarNet", num_layers=3, regularizer_num_filters=6, regularizer_num_pull_layers=3)
    cirim = dict(model_name="cirim.cirim.CIRIM", num_cascades=2, time_steps=8, recurrent_hidden_channels=12, depth=2)
    predict("RecurrentVarNet", rvn, True, method="recurrentvarnet")
    predict("RecurrentVarNet, mask in the file", rvn, True, False, dict(padding_eps=0.0, sensitivity_map_estimation=dict(estimate_sensitivity_maps=True)), method="recurrentvarnet")
    predict("RecurrentVarNet normalised, no refinement", dict(rvn, normalized=True), False, method="recurrentvarnet")
    predict("RIM", rim, True, method="rim")
    predict("RIM, own window and percentile", dict(rim, image_initialization="zero_filled"), True, transforms=dict(
        sensitivity_map_estimation=dict(estimate_sensitivity_maps=True, sensitivity_maps_gaussian=None),
        normalization=dict(scaling_key="masked_kspace", scale_percentile=0.995), padding_eps=1e-5), method="rim")
    predict("E2E-VarNet", varnet, True, method="varnet")
    predict("CIRIM", cirim, True, method="cirim")
    unet = dict(model_name="unet.unet_2d.Unet2d", num_filters=6, num_pool_layers=3, dropout_probability=0.0)
    predict("U-Net", unet, False, method="unet")
    predict("U-Net, standardised, residual", dict(unet, normalized=True, skip_connection=True, image_initialization="SENSE"), True, method="unet")


# ---- fastMRI ----
def fastmri():
    """Its pretrained models' scripts, fastmri_examples/*/run_pretrained_*_inference.py, with smaller networks."""
    from collections import defaultdict
    import fastmri as program
    import torch
    from fastmri.data import SliceDataset, transforms as T
    from fastmri.models import Unet, VarNet
    data = scans()

    def trained(model, path):
        torch.manual_seed(7)
        for key, p in model.named_parameters():
            if key.endswith("dc_weight"):
                torch.nn.init.uniform_(p.data, 0.3, 1.2)
        torch.save(model.state_dict(), path)
        return model.eval()

    def predict(name, model, root, challenge, transform, run, method, words=(), mask=None):
        folder = WORK / "fastmri" / re.sub(r"\W+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        trained(model, folder / "state_dict.pt")
        outputs = defaultdict(list)
        for batch in torch.utils.data.DataLoader(SliceDataset(root=root, transform=transform, challenge=challenge)):
            with torch.no_grad():
                output, number, fname = run(batch, model)
            outputs[fname].append((number, output))
        outputs = {f: np.stack([out for _, out in sorted(o, key=lambda x: x[0])]) for f, o in outputs.items()}
        program.save_reconstructions(outputs, folder / "reconstructions")
        for fname in outputs:
            kray("recon", root / fname, "-o", folder / ("kray_" + fname), "--to", "fastmri", "--method", method, "--weights", folder / "state_dict.pt", *words)
            compare("fastMRI " + name + ", " + fname, image(folder / ("kray_" + fname)), image(folder / "reconstructions" / fname))

    def varnet(batch, model):
        crop = batch.crop_size
        output = model(batch.masked_kspace, batch.mask, batch.num_low_frequencies if batch.num_low_frequencies.sum() else None)
        if output.shape[-1] < crop[1]:                           # FLAIR 203
            crop = (output.shape[-1], output.shape[-1])
        return T.center_crop(output, crop)[0], int(batch.slice_num[0]), batch.fname[0]

    def unet(batch, model):
        output = model(batch.image.unsqueeze(1)).squeeze(1)
        mean, std = batch.mean.unsqueeze(1).unsqueeze(2), batch.std.unsqueeze(1).unsqueeze(2)
        return (output * std + mean)[0], int(batch.slice_num[0]), batch.fname[0]

    from fastmri.data.subsample import RandomMaskFunc
    random = RandomMaskFunc(center_fractions=[0.08], accelerations=[4])
    spec = ("-u", "random:accel=4,center=0.08,seed=file")
    small = dict(num_cascades=3, pools=3, chans=6, sens_pools=3, sens_chans=4)
    predict("VarNet", VarNet(**small), data / "test", "multicoil", T.VarNetDataTransform(), varnet, "varnet")
    predict("VarNet, its own mask", VarNet(**small), data / "full", "multicoil", T.VarNetDataTransform(random), varnet, "varnet", spec)
    predict("U-Net", Unet(1, 1, 8, 4), data / "test", "multicoil", T.UnetDataTransform("multicoil"), unet, "unet")
    predict("U-Net, its own mask", Unet(1, 1, 8, 4), data / "full", "multicoil", T.UnetDataTransform("multicoil", random), unet, "unet", spec)
    predict("U-Net, one coil", Unet(1, 1, 8, 4), single(data), "singlecoil", T.UnetDataTransform("singlecoil"), unet, "unet")
    predict("VarNet, narrow", VarNet(**small), narrow(data), "multicoil", T.VarNetDataTransform(), varnet, "varnet")


def copied(data, folder, change):
    (data / folder).mkdir(exist_ok=True)
    with h5py.File(data / "test" / "brain.h5", "r") as f, h5py.File(data / folder / "brain.h5", "w") as g:
        sets = {key: f[key][()] for key in f}
        change(sets)
        for key, value in sets.items():
            g[key] = value
        g.attrs.update(f.attrs)
    return data / folder


def single(data):
    """As the single-coil challenge has it: k-space of one emulated coil."""
    def change(sets):
        sets["kspace"] = sets["kspace"].sum(1)
    return copied(data, "single", change)


def narrow(data):
    """The FLAIR files whose k-space has fewer columns (an odd number) than the image is to have."""
    def change(sets):
        k, w = sets["kspace"], 75
        sets["kspace"] = np.ascontiguousarray(k[..., 9:9 + w])
        sets["mask"] = sets["mask"][9:9 + w]
        xml = re.sub(rb"(<kspace_encoding_step_1>\s*<minimum>0</minimum>\s*<maximum>)\d+(</maximum>\s*<center>)\d+", rb"\g<1>%d\g<2>%d" % (w - 1, w // 2),
                     sets["ismrmrd_header"])
        sets["ismrmrd_header"] = np.bytes_(re.sub(rb"(<encodedSpace>\s*<matrixSize>\s*<x>\d+</x>\s*<y>)\d+", rb"\g<1>%d" % w, xml))
    return copied(data, "narrow", change)


# ---- ATOMMIC and mridc ----
ABSENT = ("huggingface_hub", "wget", "wandb", "onnx", "sigpy", "webdataset", "ruamel", "braceexpand")        # where not installed
NOT_NEEDED = ("utils.exp_manager", "collections.common.callbacks", "collections.common.parts.ptl_overrides")    # logging; older Lightning


def without_the_rest(program):
    """Modules for training and logging that do not import here become empty ones; Python 3.11 refuses some of its data classes."""
    import dataclasses
    import importlib.abc
    import importlib.machinery
    import importlib.util
    import inspect
    from unittest.mock import MagicMock
    absent = [name for name in ABSENT if not importlib.util.find_spec(name)]

    class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path, target=None):
            if name.split(".")[0] in absent or any(name.startswith(program + "." + x) for x in NOT_NEEDED):
                return importlib.machinery.ModuleSpec(name, self, is_package=True)

        def create_module(self, spec):
            m = MagicMock(name=spec.name)
            m.__path__, m.__spec__, m.__name__ = [], spec, spec.name
            return m

        def exec_module(self, m):
            pass
    sys.meta_path.insert(0, Empty())
    exec(inspect.getsource(dataclasses._get_field).replace("__hash__ is None", "__hash__ is Ellipsis"), dataclasses.__dict__)


def with_maps(data, padded=True):
    """full.h5 without crop, with coil maps of unit norm as the programs read them; and the same for kray recon -c. mridc's release means to
    leave the padded columns out of its mask and does not: for it the header does not tell of them."""
    folder = data / ("maps" if padded else "unpadded")
    if (folder / "brain.h5").exists():
        return folder
    folder.mkdir(exist_ok=True)
    kray("coils", data / "full" / "brain.h5", "-o", WORK / "maps.cfl", "--no-oversampling")
    dims = [int(x) for x in (WORK / "maps.hdr").read_text().split("\n")[1].split()]
    maps = np.fromfile(WORK / "maps.cfl", np.complex64).reshape(dims, order="F").squeeze()      # x, y, coil, slice
    maps = np.transpose(maps, (3, 2, 0, 1))
    with h5py.File(data / "full" / "brain.h5", "r") as f, h5py.File(folder / "brain.h5", "w") as g:
        g["kspace"] = f["kspace"][()]
        g["sensitivity_map"] = maps
        h, w = maps.shape[2:]
        g["ismrmrd_header"] = np.bytes_(re.sub(rb"(<reconSpace>\s*<matrixSize>\s*<x>)\d+(</x>\s*<y>)\d+", rb"\g<1>%d\g<2>%d" % (h, w), f["ismrmrd_header"][()]))
        if not padded:
            k = g["kspace"][()]
            noise = np.random.default_rng(3).standard_normal(k.shape + (2,)) @ [1, 1j]
            k[k == 0] = (3e-4 * abs(k).max() * noise)[k == 0]    # or kray recon would take them for not measured
            g["kspace"][()] = k
            g["ismrmrd_header"][()] = re.sub(rb"(<kspace_encoding_step_1>\s*<minimum>0</minimum>\s*<maximum>)\d+(</maximum>\s*<center>)\d+",
                                             rb"\g<1>%d\g<2>%d" % (w - 1, w // 2), g["ismrmrd_header"][()])
        g.attrs.update(f.attrs)
    return folder


def per_slice(ours, theirs):
    """The programs give images in units of their own, another one for each slice: by one factor for each."""
    theirs = abs(theirs)
    return ours * ((ours * theirs).sum((1, 2)) / (ours ** 2).sum((1, 2)))[:, None, None], theirs


def rim_config(cell, cascades, **words):
    cfg = dict(model_name="CIRIM", recurrent_layer=cell, conv_filters=[16, 16, 2], conv_kernels=[5, 3, 3], conv_dilations=[1, 2, 1],
               conv_bias=[True, True, False], recurrent_filters=[16, 16, 0], recurrent_kernels=[1, 1, 0], recurrent_dilations=[1, 1, 0],
               recurrent_bias=[True, True, False], depth=2, time_steps=8, conv_dim=2, num_cascades=cascades, no_dc=True,
               dimensionality=2, coil_combination_method="SENSE", fft_centered=True, fft_normalization="ortho", spatial_dims=[-2, -1],
               coil_dim=1, consecutive_slices=1)
    cfg.update(words)
    return cfg


def with_mask(data, centred=True):
    """Undersampled data with their mask, without maps: the program makes its coil maps of what was measured, as Kray does. Its own masks are
    drawn on full data, of which its coil-map network then sees more than was kept. Not centred: k-space as the Calgary-Campinas files have
    it, its centre in the middle, of images that begin at index 0."""
    folder = data / ("masked" if centred else "masked0")
    if (folder / "brain.h5").exists():
        return folder
    folder.mkdir(exist_ok=True)
    with h5py.File(with_maps(data, False) / "brain.h5", "r") as f, h5py.File(folder / "brain.h5", "w") as g:
        k = f["kspace"][()]
        mask = np.zeros(k.shape[-1], np.float32)
        mask[1::4] = mask[41:53] = 1
        if not centred:
            x = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=(-2, -1))), axes=(-2, -1))
            k = np.fft.fftshift(np.fft.fft2(x), axes=(-2, -1)).astype(k.dtype)
        g["kspace"], g["mask"], g["ismrmrd_header"] = k * mask.astype(k.dtype), mask, f["ismrmrd_header"][()]
        g.attrs.update({key: f.attrs[key] for key in f.attrs})
    return folder


def rim_models(program, make, batches, cases, title, mask, padded=True):
    """Each case: a model of its own, its weights as a Lightning checkpoint with the YAML beside."""
    import torch
    import yaml
    data = with_maps(scans(), padded)
    for name, cfg in cases:
        folder = WORK / program / re.sub(r"\W+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(7)
        model = make(cfg).eval()
        with torch.no_grad():
            for key, p in model.named_parameters():              # the published start of the last layer hardly changes anything
                if "final_layer" in key and "sensitivity" not in key:
                    p.mul_(3)
        torch.save(dict(state_dict=model.state_dict()), folder / "model.ckpt")
        (folder / "model.yaml").write_text(yaml.safe_dump(dict(mode="test", model=cfg)))
        with torch.no_grad():
            theirs = np.stack([p.detach().numpy().squeeze() for p in batches(model, cfg, data)])
        with h5py.File(folder / "published.h5", "w") as f:
            f["reconstruction"] = theirs
        own = cfg.get("test_ds", {}).get("data_path", "").rstrip("0").endswith("masked")     # maps of the program's own making
        said = kray("recon", (with_mask(scans()) if own else data) / "brain.h5", "-o", folder / "kray.h5", "--to", "fastmri", "--method",
                    "cirim" if cfg["num_cascades"] > 1 else "rim", "--weights", folder / "model.ckpt", *(() if own else ("-c", WORK / "maps.cfl", "-u", mask)))
        if os.environ.get("KR_KEEP"):
            print(said)
        compare(title + " " + name, *per_slice(image(folder / "kray.h5"), theirs))


def atommic():
    without_the_rest("atommic")
    from omegaconf import OmegaConf
    from atommic.collections.reconstruction.nn.cirim import CIRIM
    from atommic.collections.common.parts.utils import parse_list_and_keep_last

    def case(cell, cascades, normalization, title="", maps=None, own=False, **words):
        cfg = rim_config(cell, cascades, keep_prediction=True, accumulate_predictions=True, reconstruction_loss=dict(l1=1.0),
                         normalization_type=normalization, estimate_coil_sensitivity_maps_with_nn=False)
        cfg["test_ds"] = dict(normalize_inputs=True, normalization_type=normalization, kspace_normalization=False, fft_centered=True,
                              fft_normalization="ortho", spatial_dims=[-2, -1], coil_dim=1, coil_combination_method="SENSE", dimensionality=2,
                              complex_target=True, dataset_format="fastmri", use_seed=True, data_path=str(with_maps(scans())), batch_size=1,
                              num_workers=0, shuffle=False, pin_memory=False, drop_last=False,
                              mask_args=dict(type="random1d", accelerations=[4], center_fractions=[0.08]))
        if own:
            cfg["test_ds"].update(data_path=str(with_mask(scans(), words.get("fft_centered", True))), mask_args=dict(type="none"))
        if maps == "network":
            cfg.update(estimate_coil_sensitivity_maps_with_nn=True, coil_sensitivity_maps_nn_chans=4, coil_sensitivity_maps_nn_pools=3)
        if maps == "rss":
            cfg["test_ds"].update(estimate_coil_sensitivity_maps=True, coil_sensitivity_maps_type="rss")
        for key, value in words.items():
            if key.startswith("fft_") or key == "coil_combination_method" or key.startswith("coil_sensitivity_maps_nn"):
                cfg[key] = value
            if not key.startswith("coil_sensitivity_maps_nn"):
                cfg["test_ds"][key] = value
        return "%s, %d cascade%s, %s%s" % (cell, cascades, "s" * (cascades > 1), normalization, title and ", " + title), cfg

    def batches(model, cfg, data):
        for batch in model._test_dl:
            if cfg["test_ds"]["mask_args"]["type"] == "none":                # its loader gives no mask then, which its coil-map network wants
                y = abs(batch[1][0]).amax((1, 2, 4), keepdim=True)               # normalising in image space leaves rounding in empty lines
                batch[3] = [y > 1e-4 * y.max()]
            yield parse_list_and_keep_last(model.inference_step(*batch)["predictions"])

    rim_models("atommic", lambda cfg: CIRIM(OmegaConf.create(cfg)), batches,
               [case("GRU", 1, "max"), case("MGU", 1, "max"), case("IndRNN", 1, "max"), case("IndRNN", 3, "max"), case("GRU", 2, "max"),
                case("IndRNN", 3, "minmax"),
                case("GRU", 1, "max", "RSS combination", coil_combination_method="RSS"),
                case("GRU", 1, "max", "not normalised, backward", normalize_inputs=False, fft_normalization="backward"),
                case("GRU", 1, "minmax", "maps by its network", "network", True),
                case("IndRNN", 2, "max", "maps by its network, lines, RSS", "network", True, coil_combination_method="RSS", coil_sensitivity_maps_nn_mask_type="1D"),
                case("IndRNN", 2, "minmax", "maps by its network, uncentred, backward", "network", True, fft_centered=False, fft_normalization="backward"),
                case("GRU", 1, "minmax", "RSS maps", "rss", True),
                case("GRU", 1, "max", "RSS maps, uncentred", "rss", True, fft_centered=False)], "ATOMMIC",
               "random:accel=4/4,center=0.08/0.08,seed=file")                # it draws one of two equal ones


def mridc():
    without_the_rest("mridc")
    import pytorch_lightning
    import torch
    from omegaconf import OmegaConf
    pytorch_lightning.LightningModule.trainer = property(lambda self: None, lambda self, value: None)   # newer Lightning wants one
    from mridc.collections.reconstruction.models.cirim import CIRIM

    def case(cell, cascades):
        cfg = rim_config(cell, cascades, keep_eta=True, keep_prediction=True, accumulate_predictions=True, train_loss_fn="l1", eval_loss_fn="l1", val_loss_fn="l1")
        cfg["test_ds"] = dict(normalize_inputs=True, max_norm=True, fft_centered=True, fft_normalization="ortho", spatial_dims=[-2, -1], coil_dim=1,
                              coil_combination_method="SENSE", dimensionality=2, dataset_format="fastmri", challenge="multicoil", use_seed=True,
                              sense_path=None, mask_path=None, crop_size=None, crop_before_masking=True, sample_rate=1.0, consecutive_slices=1,
                              data_path=str(with_maps(scans(), False)), batch_size=1, num_workers=0, shuffle=False, pin_memory=False, drop_last=False,
                              mask_args=dict(type="random1d", accelerations=[4], center_fractions=[0.08], scale=0.02, shift_mask=False))
        return "%s, %d cascade%s" % (cell, cascades, "s" * (cascades > 1)), cfg

    def batches(model, cfg, data):
        for kspace, y, maps, mask, start, target, *_ in model._test_dl:
            y, mask, start, _ = model.process_inputs(y, mask, start)
            last = next(model.forward(y, maps, mask, start, target))[-1][-1]
            yield torch.view_as_complex(last) if last.shape[-1] == 2 else last

    rim_models("mridc", lambda cfg: CIRIM(OmegaConf.create(cfg)), batches,
               [case("GRU", 1), case("MGU", 1), case("IndRNN", 1), case("IndRNN", 3)], "mridc", "random:accel=4,center=0.08,seed=file", False)


def Bridge():
    """NCC1701: the class of Fourier-PD and Fourier-PDUNet on k-space of one coil, scaled as its data are (the zero-filled magnitude of all slices has a largest value of 1)."""
    import torch
    from Bridge.WarpDrives.PDUNet.pd_crelu import PrimalDualNetwork
    folder = WORK / "Bridge"
    folder.mkdir(exist_ok=True)
    with h5py.File(scans() / "test" / "brain.h5", "r") as f, h5py.File(folder / "brain.h5", "w") as to:
        k = f["kspace"][:, 0]
        to["kspace"], to["mask"], to["ismrmrd_header"] = k, f["mask"][()], f["ismrmrd_header"][()]
        to.attrs.update(f.attrs)
    start = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(k, (1, 2)), axes=(1, 2), norm="ortho"), (1, 2))
    unit = abs(start).max()
    for name, words in (("Fourier-PD", dict(n_primary=5, n_dual=5, n_iterations=3, use_original_block=True, use_original_init=True)),
                        ("Fourier-PD, from the zero-filled image", dict(n_primary=3, n_dual=2, n_iterations=2, use_original_block=True, use_original_init=False)),
                        ("Fourier-PDUNet", dict(n_primary=4, n_dual=5, n_iterations=2, use_original_block=False, use_original_init=False))):
        torch.manual_seed(7)
        net = PrimalDualNetwork(use_complex_primal=True, g_normtype="magmax", transform="Fourier", **words).eval()
        with torch.no_grad():
            for key, p in net.named_parameters():
                if key.endswith("diff_weight"):                  # published as 1 and as next to 0
                    p.copy_(0.3 * torch.randn_like(p))
                elif key.endswith("bias"):
                    p.add_(0.02 * torch.randn_like(p))
            for key, b in net.named_buffers():
                if key.endswith("running_var"):
                    root = torch.eye(2)[..., None] + 0.1 * torch.randn_like(b)
                    b.copy_(torch.einsum("ijc,kjc->ikc", root, root))
                elif key.endswith("running_mean"):
                    b.copy_(0.1 * torch.randn_like(b))
            theirs = np.stack([net(torch.tensor(f0[None, None] / unit), torch.tensor(g[None, None] / unit))[0, 0].numpy() * unit for f0, g in zip(start.astype(np.complex64), k)])
        torch.save(dict(state_dict=net.state_dict()), folder / "net.pth")
        (folder / "net.yaml").write_text("model:\n  model_name: fourierpd\n  use_original_init: %s\n  use_datacon: false\n" % str(words["use_original_init"]).lower())
        kray("recon", folder / "brain.h5", "-o", folder / "out.npy", "--complex", "--method", "fourierpd", "--weights", folder / "net.pth", "--config", folder / "net.yaml")
        ours = np.ascontiguousarray(np.squeeze(np.load(folder / "out.npy")).swapaxes(1, 2))     # {slice,y,x}
        h, w = ours.shape[-2:]
        y0, x0 = (theirs.shape[1] - h) // 2, (theirs.shape[2] - w) // 2
        compare("NCC1701 " + name, ours.view(np.float32), np.ascontiguousarray(theirs[:, y0:y0 + h, x0:x0 + w].astype(np.complex64)).view(np.float32))


PROGRAMS = dict(direct=direct, fastmri=fastmri, atommic=atommic, mridc=mridc, Bridge=Bridge)
PROGRAMS[PROGRAM]()
sys.exit(len(failed) > 0)
