"""The levels of zi2zi's U-Net."""

from torch import nn

from model.config import num_downs
from model.layers import ContiguousGradient, Form, JoinedStyle, Level, WayUp, conv2d, norm_layer, up_conv2d


def zi2zi_levels(form: Form) -> list[Level]:
    """The levels of zi2zi (Tian, 2017), the innermost first: one convolution down to half the size, one up.

    The label's embedding is joined at the bottleneck. The outermost level has no norm. Dropout is between the
    bottleneck and the 8x8 maps.
    """
    deep = num_downs(form.image_size) - 3  # levels of the full width, the innermost among them
    widths = [form.input_nc, *(form.ngf * times for times in (1, 2, 4, *[8] * deep))]
    levels = []
    for number in range(len(widths) - 1, 0, -1):
        outer_nc, inner_nc = widths[number - 1 : number + 1]
        innermost, outermost = number == len(widths) - 1, number == 1
        # In place, as in the earlier ports: what the skip connection carries is the activated map.
        down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        down.append(conv2d(outer_nc, inner_nc, 4, stride=2, bias=False, blur=form.blur))
        if not (outermost or innermost):
            down.append(norm_layer(form.norm_type, inner_nc))
        joined_nc = inner_nc + (form.embedding_dim if innermost else inner_nc)
        up: list[nn.Module] = [JoinedStyle() if innermost else nn.ReLU(inplace=True)]
        up.append(up_conv2d(form.up_mode, joined_nc, outer_nc, bias=outermost))
        if not outermost:
            up.append(norm_layer(form.norm_type, outer_nc))
            if number > 4 and not innermost and form.dropout > 0:
                up.append(nn.Dropout(form.dropout))
            up.append(ContiguousGradient())
        levels.append((nn.Sequential(*down), WayUp(*up)))
    return levels
