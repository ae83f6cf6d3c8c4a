#!/usr/bin/env python3
"""torch_nets.py NAME OUT.h5 [RUNS]: an unrolled network in PyTorch, written from the papers' formulas, with random weights, on one
slice of random numbers (320 x 320, 8 coils). Runs it RUNS times on 2 threads after a warm-up, prints the median time and the peak
memory, and writes weights, inputs and output in the layout that kray-golden reads. NAME: rim, rimind, recurrentvarnet, cirim, varnet."""
import resource
import sys
import time

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIZE, COILS = 320, 8


def fft(x):
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, dim=(-2, -1)), norm="ortho"), dim=(-2, -1))


def ifft(x):
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(x, dim=(-2, -1)), norm="ortho"), dim=(-2, -1))


def planes(x):
    """Complex image to two channels."""
    return torch.stack([x.real, x.imag]).unsqueeze(0)


def image(x):
    return torch.complex(x[0, 0].contiguous(), x[0, 1].contiguous())


def padded(i, o, k, dilation=1, bias=True):
    """Replication padding and a convolution, keys 0 (none) and 1."""
    return nn.Sequential(nn.ReplicationPad2d(dilation * (k // 2)), nn.Conv2d(i, o, k, dilation=dilation, bias=bias))


class ConvGRU(nn.Module):
    def __init__(self, i, hidden, layers, o=2):
        super().__init__()
        self.conv_blocks = nn.ModuleList(padded(i if not l else hidden, hidden if l < layers else o, 3 if l else 5, 2 if l == 1 else 1)
                                         for l in range(layers + 1))
        for gate in ("reset_gates", "update_gates", "out_gates"):
            setattr(self, gate, nn.ModuleList(nn.Sequential(nn.Conv2d(2 * hidden, hidden, 1)) for _ in range(layers)))

    def forward(self, x, h):
        new = []
        for conv, reset, update, out, s in zip(self.conv_blocks, self.reset_gates, self.update_gates, self.out_gates, h):
            x = F.relu(conv(x))
            both = torch.cat([x, s], 1)
            u, r = torch.sigmoid(update(both)), torch.sigmoid(reset(both))
            s = s * (1 - u) + torch.tanh(out(torch.cat([x, s * r], 1))) * u
            new.append(s)
            x = F.relu(s)
        return self.conv_blocks[-1](x), new


class Start(nn.Module):
    """RecurrentInit: three scales, one map per layer."""
    def __init__(self, hidden, layers):
        super().__init__()
        widths, dilations = (32, 32, 64, 64), (1, 1, 2, 4)
        self.conv_blocks = nn.ModuleList(padded(a, b, 3, d) for a, b, d in zip((2,) + widths, widths, dilations))
        self.out_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(sum(widths[1:]), hidden, 1)) for _ in range(layers))

    def forward(self, x):
        seen = []
        for conv in self.conv_blocks:
            x = F.relu(conv(x))
            seen.append(x)
        x = torch.cat(seen[1:], 1)
        return [F.relu(out(x)) for out in self.out_blocks]


def gradient(x, y, mask, sens):
    return (sens.conj() * ifft(torch.where(mask, fft(sens * x) - y, 0))).sum(0)


class RIM(nn.Module):
    facts = dict(model="RIM", length=8, image_initialization="sense")

    def __init__(self):
        super().__init__()
        self.cell_list = nn.ModuleList([ConvGRU(4, 64, 2)])

    def forward(self, y, mask, sens):
        x = (sens.conj() * ifft(y)).sum(0)
        h = [torch.zeros(1, 64, SIZE, SIZE)] * 2
        for _ in range(8):
            d, h = self.cell_list[0](torch.cat([planes(x), planes(gradient(x, y, mask, sens))], 1), h)
            x = x + image(d)
        return x.abs()


class RecurrentVarNet(nn.Module):
    facts = dict(model="RecurrentVarNet", num_steps=8, initializer_initialization="sense", initializer_dilations=[1, 1, 2, 4])

    def __init__(self):
        super().__init__()
        self.initializer = Start(32, 4)
        self.block_list = nn.ModuleList()
        for _ in range(8):
            block = nn.Module()
            block.learning_rate = nn.Parameter(torch.ones(1))
            block.regularizer = ConvGRU(2, 32, 4)
            self.block_list.append(block)

    def forward(self, y, mask, sens):
        h = self.initializer(planes(fft((sens.conj() * ifft(y)).sum(0))))
        k = y
        for block in self.block_list:
            w, h = block.regularizer(planes((sens.conj() * ifft(k)).sum(0)), h)
            k = k - block.learning_rate * torch.where(mask, k - y, 0) + fft(sens * image(w))
        return ifft(k).abs().square().sum(0).sqrt()


class IndRNN(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.ih = nn.Conv2d(f, f, 1)
        self.hh = nn.Parameter(torch.empty(1, f, 1, 1).uniform_(-0.5, 0.5))

    def forward(self, x, h):
        return F.relu(self.ih(x) + self.hh * h)


class Conv(nn.Module):
    def __init__(self, i, o, k, dilation, bias):
        super().__init__()
        self.pad = dilation * (k // 2)
        self.conv_layer = nn.Conv2d(i, o, k, dilation=dilation, bias=bias)

    def forward(self, x):
        return self.conv_layer(F.pad(x, [self.pad] * 4, mode="replicate"))


class RIMBlock(nn.Module):
    def __init__(self, f=64):
        super().__init__()
        self.layers = nn.ModuleList()
        for i, k, d in ((4, 5, 1), (f, 3, 2)):
            layer = nn.Module()
            layer.convs, layer.rnn = Conv(i, f, k, d, True), IndRNN(f)
            self.layers.append(layer)
        self.final_layer = nn.ModuleList([Conv(f, 2, 3, 1, False)])

    def forward(self, x, h):
        new = []
        for layer, s in zip(self.layers, h):
            x = layer.rnn(F.relu(layer.convs(x)), s)
            new.append(x)
        return self.final_layer[0](x), new


class CIRIM(nn.Module):
    def __init__(self, cascades):
        super().__init__()
        self.facts = dict(model="CIRIM", num_cascades=cascades, time_steps=8, no_dc=1)
        self.reconstruction_module = nn.ModuleList(RIMBlock() for _ in range(cascades))

    def forward(self, y, mask, sens):
        x = (sens.conj() * ifft(y)).sum(0)
        h = [torch.zeros(1, 64, SIZE, SIZE)] * 2
        for block in self.reconstruction_module:
            for _ in range(8):
                d, h = block(torch.cat([planes(x), planes(gradient(x, y, mask, sens))], 1), h)
                x = x + image(d)
        return x.abs()


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.InstanceNorm2d(o), nn.LeakyReLU(0.2), nn.Identity(),
                                    nn.Conv2d(o, o, 3, padding=1, bias=False), nn.InstanceNorm2d(o), nn.LeakyReLU(0.2), nn.Identity())

    def forward(self, x):
        return self.layers(x)


class Lift(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.layers = nn.Sequential(nn.ConvTranspose2d(i, o, 2, 2, bias=False), nn.InstanceNorm2d(o), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self.layers(x)


class UNet(nn.Module):
    def __init__(self, f, pools=4):
        super().__init__()
        self.down_sample_layers = nn.ModuleList(Block(f << i >> 1 if i else 2, f << i) for i in range(pools))
        self.conv = Block(f << (pools - 1), f << pools)
        self.up_conv = nn.ModuleList(Block(2 * f << i, f << i) for i in reversed(range(1, pools)))
        self.up_conv.append(nn.Sequential(Block(2 * f, f), nn.Conv2d(f, 2, 1)))
        self.up_transpose_conv = nn.ModuleList(Lift(2 * f << i, f << i) for i in reversed(range(pools)))

    def forward(self, x):
        skips = []
        for down in self.down_sample_layers:
            x = down(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.conv(x)
        for lift, conv in zip(self.up_transpose_conv, self.up_conv):
            x = conv(torch.cat([lift(x), skips.pop()], 1))
        return x


class NormUNet(nn.Module):
    """320 is a multiple of 16: no padding."""
    def __init__(self, f):
        super().__init__()
        self.unet = UNet(f)

    def forward(self, x):
        mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
        return self.unet((x - mean) / std) * std + mean


class VarNet(nn.Module):
    facts = dict(model="VarNet", num_cascades=8, chans=18, pools=4, sens_chans=8, sens_pools=4)

    def __init__(self):
        super().__init__()
        self.sens_net = nn.Module()
        self.sens_net.norm_unet = NormUNet(8)
        self.cascades = nn.ModuleList()
        for _ in range(8):
            c = nn.Module()
            c.dc_weight, c.model = nn.Parameter(torch.ones(1)), NormUNet(18)
            self.cascades.append(c)

    def forward(self, y, mask, _):
        row = mask[0].int().tolist()
        half = min(row[:SIZE // 2][::-1].index(0), row[SIZE // 2:].index(0))
        centre = torch.zeros(SIZE)
        centre[SIZE // 2 - half:SIZE // 2 + half] = 1
        s = ifft(y * centre)
        s = self.sens_net.norm_unet(torch.stack([s.real, s.imag], 1))
        s = torch.complex(s[:, 0].contiguous(), s[:, 1].contiguous())
        s = s / s.abs().square().sum(0).sqrt()
        k = y
        for c in self.cascades:
            x = c.model(planes((s.conj() * ifft(k)).sum(0)))
            k = k - c.dc_weight * torch.where(mask, k - y, 0) - fft(s * image(x))
        return ifft(k).abs().square().sum(0).sqrt()


NETS = {"rim": RIM, "rimind": lambda: CIRIM(1), "recurrentvarnet": RecurrentVarNet, "cirim": lambda: CIRIM(5), "varnet": VarNet}


def main():
    name, out, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
    torch.manual_seed(1)
    torch.set_num_threads(2)
    net = NETS[name]().eval()
    # A smooth object, smooth maps, lines kept at R = 4.
    grid = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(grid, grid, indexing="ij")
    obj = ((xx / 0.7) ** 2 + (yy / 0.9) ** 2 < 1) * (1 + 0.5 * torch.cos(9 * xx) * torch.sin(7 * yy)) * torch.exp(1j * 0.5 * xx)
    angle = torch.arange(COILS) * 2 * np.pi / COILS
    sens = torch.exp(-((xx - 1.2 * torch.cos(angle)[:, None, None]) ** 2 + (yy - 1.2 * torch.sin(angle)[:, None, None]) ** 2) / 1.5)
    sens = (sens * torch.exp(1j * (angle[:, None, None] + xx))).to(torch.complex64)
    sens = sens / sens.abs().square().sum(0).sqrt()
    row = torch.arange(SIZE) % 4 == 0
    row[SIZE // 2 - 13:SIZE // 2 + 13] = True
    mask = row.expand(SIZE, SIZE)
    y = torch.where(mask, fft(sens * obj.to(torch.complex64)), 0)
    seconds = []
    with torch.inference_mode():
        got = net(y, mask, sens)
        for _ in range(runs):
            start = time.perf_counter()
            got = net(y, mask, sens)
            seconds.append(time.perf_counter() - start)
    print(f"{sorted(seconds)[len(seconds) // 2]:.4f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
    real = lambda z: np.stack([z.real.numpy(), z.imag.numpy()], -1)[None].astype(np.float32)
    with h5py.File(out, "w") as f:
        for key, value in net.facts.items():
            f.attrs[key] = value
        for key, value in net.state_dict().items():
            f[f"weights/{key}"] = value.numpy()
        fast = name == "varnet"
        f["inputs/y" if "cirim" in name or name == "rimind" else "inputs/masked_kspace"] = real(y)
        f["inputs/mask" if fast or "cirim" in name or name == "rimind" else "inputs/sampling_mask"] = mask[None, None, :1 if fast else SIZE, :, None].float().numpy()
        if not fast:
            f["inputs/sensitivity_maps" if "cirim" in name or name == "rimind" else "inputs/sensitivity_map"] = real(sens)
        f["outputs/image_abs" if name in ("rim", "rimind", "cirim") else "outputs/image_rss"] = got.numpy()[None]


if __name__ == "__main__":
    main()
