"""The levels of zi2zi's U-Net."""

import torch
from torch import Tensor, nn

from model.config import num_downs
from model.layers import ContiguousGradient, Form, JoinedStyle, Level, WayUp, conv2d, norm_layer, up_conv2d


class SelfAttention(nn.Module):
    """Every place of a map looks at all others: [N, C, H, W] to the same.

    As in SAGAN (Zhang et al., ICML 2019), and scaled as in Vaswani et al. (NeurIPS 2017): gamma, which starts at zero,
    times what the values are by the attention of queries to keys, which have an eighth of the channels, plus the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(1, channels // 8)
        self.query_conv = nn.Conv2d(channels, narrow, 1)
        self.key_conv = nn.Conv2d(channels, narrow, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        convs = self.query_conv, self.key_conv, self.value_conv
        query, key, value = (conv(x).flatten(2).transpose(1, 2) for conv in convs)
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.gamma.to(x.dtype) * seen.transpose(1, 2).reshape(x.shape) + x


def zi2zi_levels(form: Form) -> list[Level]:
    """The levels of zi2zi (Tian, 2017), the innermost first: one convolution down to half the size, one up.

    The label's embedding is joined at the bottleneck. The outermost level has no norm. Dropout is between the
    bottleneck and the 8x8 maps. The additive skips, attention, other number of levels and norms without weights are
    those of max32002's zi2zi-pytorch (2026).
    """
    deep = (form.levels or num_downs(form.image_size)) - 3  # levels of the full width, the innermost among them
    looking = set(map(int, form.attention.split(","))) if form.attention else set()
    is_plain, adds = form.norm_type == "plain_instance", form.skip == "add"
    widths = [form.input_nc, *(form.ngf * times for times in (1, 2, 4, *[8] * deep))]
    levels = []
    for number in range(len(widths) - 1, 0, -1):
        outer_nc, inner_nc = widths[number - 1 : number + 1]
        innermost, outermost = number == len(widths) - 1, number == 1
        # In place, as in the earlier ports: what the skip connection carries is the activated map.
        down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        down.append(conv2d(outer_nc, inner_nc, 4, stride=2, bias=is_plain, blur=form.blur))
        if not (outermost or innermost):
            down.append(norm_layer(form.norm_type, inner_nc))
        joined_nc = inner_nc + (form.embedding_dim if innermost else 0 if adds else inner_nc)
        up: list[nn.Module] = [JoinedStyle() if innermost else nn.ReLU(inplace=True)]
        up.append(up_conv2d(form.up_mode, joined_nc, outer_nc, bias=outermost or is_plain))
        if not outermost:
            up.append(norm_layer(form.norm_type, outer_nc))
            if number > 4 and not innermost and form.dropout > 0:
                up.append(nn.Dropout(form.dropout))
            if not adds:
                up.append(ContiguousGradient())
        attention = SelfAttention(inner_nc) if number in looking else None
        levels.append(Level(nn.Sequential(*down), WayUp(*up), attention))
    return levels
