"""The layers both networks are built from: anti-aliased downsampling, upsampling, norms, initialisation."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

NORM_TYPES = ("batch", "instance", "plain_instance")
UP_MODES = ("conv", "upsample", "pixelshuffle")


def blur_kernel() -> Tensor:
    """The binomial low-pass filter [1 2 1] x [1 2 1] / 16, shaped [1, 1, 3, 3]."""
    line = torch.tensor([1.0, 2.0, 1.0])
    return (line[:, None] * line[None, :] / 16)[None, None]


class Replicated(torch.autograd.Function):
    """A map [N, C, H, W] with its border replicated `pad` pixels outwards.

    On CUDA torch's own padding drops the channels-last layout, and its backward adds in any order, slowly.
    """

    @staticmethod
    def forward(ctx, x: Tensor, pad: int) -> Tensor:
        ctx.pad = pad
        height, width = x.shape[2:]
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        shape = (*x.shape[:2], height + 2 * pad, width + 2 * pad)
        padded = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        rows = padded[:, :, pad : pad + height]
        rows[..., pad : pad + width] = x
        rows[..., :pad], rows[..., pad + width :] = x[..., :1], x[..., -1:]
        padded[:, :, :pad], padded[:, :, pad + height :] = rows[:, :, :1], rows[:, :, -1:]
        return padded

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        pad = ctx.pad
        height, width = gradient.shape[2] - 2 * pad, gradient.shape[3] - 2 * pad
        found = gradient.narrow(2, pad, height).narrow(3, pad, width).clone(memory_format=torch.preserve_format)
        for start, end in ((0, 0), (pad + height, height - 1)):
            row = gradient.narrow(2, start, pad).sum(2)
            found[:, :, end] += row[..., pad : pad + width]
            found[:, :, end, 0] += row[..., :pad].sum(2)
            found[:, :, end, -1] += row[..., -pad:].sum(2)
        for start, end in ((0, 0), (pad + width, width - 1)):
            found[..., end] += gradient.narrow(3, start, pad)[:, :, pad : pad + height].sum(3)
        return found, None


def blurred(x: Tensor, kernel: Tensor, pad: int, stride: int = 1) -> Tensor:
    """Blur every channel of `x` [N, C, H, W] by itself, the border replicated `pad` pixels outwards.

    What comes out is [N, C, H + 2 * pad - 2, W + 2 * pad - 2], over the stride. Reflecting would fail on the smallest
    maps and zeros would darken the border.
    """
    if x.device.type != "cpu":
        return averaged_twice(Replicated.apply(x, pad), stride)
    with torch.autocast("cpu", enabled=False):  # which would pad in float32
        x = F.pad(x, (pad,) * 4, mode="replicate")
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), stride=stride, groups=x.shape[1])


def averaged_twice(x: Tensor, stride: int = 1) -> Tensor:
    """The blur of `x` [N, C, H, W] without its border: [1 1] * [1 1] is [1 2 1].

    A GPU averages faster than it convolves channels one by one; a CPU does not.
    """
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1), 2, stride=stride)


class BlurPool(nn.Module):
    """Low-pass, then subsample: [N, C, H, W] -> [N, C, H/stride, W/stride].

    Anti-aliased downsampling of Zhang, "Making Convolutional Networks Shift-Invariant Again"
    (ICML 2019), written from the paper.
    """

    blur: Tensor

    def __init__(self, channels: int, stride: int = 2):
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.register_buffer("blur", blur_kernel())

    def forward(self, x: Tensor) -> Tensor:
        return blurred(x, self.blur, pad=1, stride=self.stride)

    def extra_repr(self) -> str:
        return f"{self.channels}, stride={self.stride}"


class BlurConv2d(nn.Conv2d):
    """A strided convolution without aliasing, at little more than the cost of the plain one.

    BlurPool puts the blur between a stride-1 convolution and the subsampling, four times the
    work. With no non-linearity between them the two filters commute: blurring the input and then
    striding is the same function when the border is padded once, before both, by one pixel more
    than the plain convolution pads. The kernel is a buffer of the state dict (`blur`), so that a
    blurred and a plain checkpoint can't be taken for one another.
    """

    blur: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int, bias: bool):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=0, bias=bias)
        self.border = padding + 1
        self.register_buffer("blur", blur_kernel())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(blurred(x, self.blur, self.border))


def conv2d(in_channels: int, out_channels: int, kernel_size: int, *, stride: int, bias: bool, blur: bool = False):
    """A convolution that keeps the size at stride 1 (odd kernels) and halves it at stride 2.

    `blur` turns every strided convolution into a `BlurConv2d`; at stride 1 there is nothing to blur.
    """
    padding = (kernel_size - 1) // 2
    layer = BlurConv2d if blur and stride > 1 else nn.Conv2d
    return layer(in_channels, out_channels, kernel_size, stride, padding, bias=bias)


class UpsampleConv2d(nn.Conv2d):
    """Bilinear upsampling by 2, then a 3x3 convolution (Odena et al., Distill 2016)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class PixelShuffleConv2d(nn.Conv2d):
    """A 3x3 convolution to four times the channels, rearranged into twice the size (Shi et al., 2016)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool):
        super().__init__(in_channels, out_channels * 4, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(x), 2)

    @torch.no_grad()
    def init_icnr(self) -> None:
        """Start the four sub-pixels equal, so that no checkerboard is there at the beginning (Aitken et al., 2017)."""
        self.weight.copy_(self.weight[::4].repeat_interleave(4, dim=0))


class Styled(nn.Module):
    """A module whose forward takes the style, a label's embedding [N, embedding_dim], beside the map."""


class WayUp(nn.Sequential):
    """Modules in their order, of which the `Styled` ones are given the style too."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for module in self:
            x = module(x, style) if isinstance(module, Styled) else module(x)
        return x


class Form(NamedTuple):
    """What the levels of a generator are made by; as the arguments of `UNetGenerator`."""

    input_nc: int
    ngf: int
    embedding_dim: int
    image_size: int
    norm_type: str
    up_mode: str
    blur: bool
    dropout: float
    skip: str = "concat"
    attention: str = ""
    levels: int = 0


class Level(NamedTuple):
    """A level of a U-Net: its way down, its way up, and what looks at the map between them, if anything."""

    down: nn.Sequential
    up: WayUp
    attention: nn.Module | None = None


class JoinedStyle(Styled):
    """The style before the channels of a map, activated: [N, C, H, W] to [N, embedding_dim + C, H, W]."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        style = style[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return F.relu(torch.cat([style, x], 1), inplace=True)


class ContiguousGradient(nn.Module):
    """The identity, whose gradient is laid out as its input is.

    Before a `torch.cat` of channels: the gradient that comes back is a slice of the joined map's, and the backward of
    a norm takes ten times as long over that in channels-last on the CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _ContiguousGradient.apply(x)


class _ContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if last else torch.contiguous_format
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.memory_format)


def up_conv2d(up_mode: str, in_channels: int, out_channels: int, *, bias: bool) -> nn.Module:
    """The layer that doubles the size of a map, by `up_mode`."""
    if up_mode == "conv":
        return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)
    if up_mode == "upsample":
        return UpsampleConv2d(in_channels, out_channels, bias=bias)
    if up_mode == "pixelshuffle":
        return PixelShuffleConv2d(in_channels, out_channels, bias=bias)
    raise ValueError(f"up_mode {up_mode!r} is not one of {', '.join(UP_MODES)}")


def norm_layer(norm_type: str, channels: int) -> nn.BatchNorm2d | nn.InstanceNorm2d:
    """The normalisation of a map with `channels` channels, by `norm_type`; `plain_instance` has no weights."""
    if norm_type == "batch":
        return nn.BatchNorm2d(channels)
    if norm_type in ("instance", "plain_instance"):
        return nn.InstanceNorm2d(channels, affine=norm_type == "instance")
    raise ValueError(f"norm_type {norm_type!r} is not one of {', '.join(NORM_TYPES)}")


@torch.no_grad()
def fold_norms(net: nn.Module) -> None:
    """Take every batch norm that follows a convolution into its weights: in eval mode the same function, in less time.

    For drawing: the state dict has other keys afterwards, and the network can't be trained any more. Instance
    norms stay, since their statistics are those of each image.
    """
    for block in list(net.modules()):
        if not isinstance(block, nn.Sequential):
            continue
        for number in range(1, len(block)):
            conv, norm = block[number - 1], block[number]
            if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                _fold(conv, norm)
                block[number] = nn.Identity()


def _fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a norm without running statistics can't be folded")
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    if isinstance(conv, PixelShuffleConv2d):  # four neighbouring channels become one of the norm's
        statistics = tuple(values.repeat_interleave(4) for values in statistics)
    mean, variance, weight, bias = statistics
    transposed = isinstance(conv, nn.ConvTranspose2d)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, mean, variance, norm.eps, weight, bias, transpose=transposed
    )


@torch.no_grad()
def init_weights(net: nn.Module) -> None:
    """Initialise as DCGAN does (Radford et al., 2016): N(0, 0.02), norms N(1, 0.02), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, PixelShuffleConv2d):
            module.init_icnr()
