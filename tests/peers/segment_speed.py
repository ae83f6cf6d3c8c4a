#!/usr/bin/env python3
"""segment_speed.py KRAY [--meshnet] [MODEL.json...]: kray segment beside PyTorch on the same volumes in one run: an nnU-Net (plain, 32 to 320 channels, windows of 64^3, random weights, no mirroring)
over 96^3, and each MeshNet MODEL.json (brainchop's layout) on 256^3 (--meshnet: these alone). Prints processor seconds of all threads and the peak of memory; no test. Wants torch, dynamic_network_architectures,
nibabel and scipy; threads by OMP_NUM_THREADS. Of PyTorch only the network (and the sums of windows) count, not its import; of Kray all of the command."""
import json, os, resource, subprocess, sys, tempfile, time

kray, models = sys.argv[1], sys.argv[2:]
here = os.path.abspath(__file__)
PLAN = dict(n_stages=5, features_per_stage=[32, 64, 128, 256, 320], conv_op='torch.nn.modules.conv.Conv3d', kernel_sizes=[[3, 3, 3]] * 5, strides=[[1, 1, 1]] + [[2, 2, 2]] * 4,
            n_conv_per_stage=[2] * 5, n_conv_per_stage_decoder=[2] * 4, conv_bias=True, norm_op='torch.nn.modules.instancenorm.InstanceNorm3d', norm_op_kwargs=dict(eps=1e-5, affine=True),
            dropout_op=None, dropout_op_kwargs=None, nonlin='torch.nn.LeakyReLU', nonlin_kwargs=dict(inplace=True))


def used():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def unet():
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    torch.manual_seed(0)
    kw = dict(PLAN, conv_op=torch.nn.Conv3d, norm_op=torch.nn.InstanceNorm3d, nonlin=torch.nn.LeakyReLU)
    return PlainConvUNet(input_channels=1, num_classes=3, deep_supervision=False, **kw).eval()


def meshnet(path):
    import torch
    layers, ch = [], 1
    for l in json.load(open(path))['modelTopology']['model_config']['config']['layers']:
        if l['class_name'] == 'Conv3D':
            c = l['config']
            d, k = c['dilation_rate'][0], c['kernel_size'][0]
            layers.append(torch.nn.Conv3d(ch, c['filters'], k, padding=d * (k // 2), dilation=d))
            ch = c['filters']
        elif l['class_name'] == 'Activation':
            layers.append({'elu': torch.nn.ELU, 'relu': torch.nn.ReLU, 'linear': torch.nn.Identity}[l['config']['activation']]())
    return torch.nn.Sequential(*layers).eval()


def peer(what, image):
    """In a process of its own: the network by PyTorch."""
    import torch, numpy, nibabel
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    x = torch.from_numpy(numpy.ascontiguousarray(nibabel.load(image).get_fdata(dtype=numpy.float32)))[None, None]
    n = unet() if what == 'nnunet' else meshnet(what)
    before = used()
    with torch.no_grad():
        if what == 'nnunet':
            sums, weight = torch.zeros(3, *x.shape[2:]), torch.zeros(x.shape[2:])
            for a in (0, 32):
                for b in (0, 32):
                    for c in (0, 32):
                        y = n(x[:, :, a:a + 64, b:b + 64, c:c + 64])
                        sums[:, a:a + 64, b:b + 64, c:c + 64] += y[0]
                        weight[a:a + 64, b:b + 64, c:c + 64] += 1
            (sums / weight).argmax(0)
        else:
            n(x).argmax(1)
    print(used() - before)


if models[:1] == ['--peer']:
    peer(*models[1:])
    sys.exit()


def child(words):
    """Processor seconds, peak in MiB, output."""
    p = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = p.stdout.read()
    _, status, r = os.wait4(p.pid, 0)
    if status:
        sys.exit(f'{words}: status {status}')
    return r.ru_utime + r.ru_stime, r.ru_maxrss / 1024, out


def compare(name, image, model, word):
    mine, theirs = [], []
    for i in range(3 if word == 'nnunet' else 1):
        s, m, _ = child([kray, 'segment', image, '-o', f'{work}/labels.nii.gz', '--model', model])
        mine.append((s, m))
        _, m, out = child([sys.executable, here, kray, '--peer', word, image])
        theirs.append((float(out), m))
    (a, m), (b, p) = min(mine), min(theirs)
    print(f'{name}: PyTorch {b:.2f} s, {p:.0f} MiB; Kray {a:.2f} s, {m:.0f} MiB: {b / a:.2f} times faster', flush=True)


import numpy, nibabel
work = tempfile.mkdtemp()


def volume(n, path):
    g = numpy.random.default_rng(0)
    v = g.normal(100, 20, (n, n, n)).astype(numpy.float32)
    nibabel.save(nibabel.Nifti1Image(v, numpy.eye(4)), path)


if '--meshnet' not in models:
    import torch
    os.makedirs(f'{work}/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0')
    volume(96, f'{work}/case_0000.nii.gz')
    resample = dict(resampling_fn_data='resample_data_or_seg_to_shape', resampling_fn_seg='resample_data_or_seg_to_shape', resampling_fn_probabilities='resample_data_or_seg_to_shape',
                    resampling_fn_data_kwargs=dict(is_seg=False, order=3, order_z=0, force_separate_z=None), resampling_fn_seg_kwargs=dict(is_seg=True, order=1, order_z=0, force_separate_z=None),
                    resampling_fn_probabilities_kwargs=dict(is_seg=False, order=1, order_z=0, force_separate_z=None))
    json.dump(dict(dataset_name='Dataset998_speed', plans_name='nnUNetPlans', original_median_spacing_after_transp=[1, 1, 1], original_median_shape_after_transp=[96] * 3,
                   image_reader_writer='SimpleITKIO', transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2], configurations={'3d_fullres': dict(
                       data_identifier='nnUNetPlans_3d_fullres', preprocessor_name='DefaultPreprocessor', batch_size=2, patch_size=[64] * 3, median_image_size_in_voxels=[96] * 3, spacing=[1, 1, 1],
                       normalization_schemes=['ZScoreNormalization'], use_mask_for_norm=[False], batch_dice=False, **resample, architecture=dict(
                           network_class_name='dynamic_network_architectures.architectures.unet.PlainConvUNet', arch_kwargs=PLAN, _kw_requires_import=['conv_op', 'norm_op', 'dropout_op', 'nonlin']))},
                   experiment_planner_used='ExperimentPlanner', label_manager='LabelManager'), open(f'{work}/nnUNetTrainer__nnUNetPlans__3d_fullres/plans.json', 'w'))
    json.dump(dict(channel_names={'0': 'T1'}, labels=dict(background=0, one=1, two=2), numTraining=2, file_ending='.nii.gz'), open(f'{work}/nnUNetTrainer__nnUNetPlans__3d_fullres/dataset.json', 'w'))
    torch.save(dict(network_weights=unet().state_dict(), trainer_name='nnUNetTrainer', inference_allowed_mirroring_axes=None, init_args=dict(configuration='3d_fullres')),
               f'{work}/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth')
    compare('nnU-Net, 8 windows of 64^3', f'{work}/case_0000.nii.gz', f'{work}/nnUNetTrainer__nnUNetPlans__3d_fullres', 'nnunet')
volume(256, f'{work}/head.nii.gz')
for m in models:
    if m.endswith('.json'):
        compare('MeshNet ' + os.path.basename(m) + ', 256^3', f'{work}/head.nii.gz', m, m)
