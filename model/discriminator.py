"""The discriminator of zi2zi: is this pair real, and which label does it carry?"""

from torch import Tensor, nn

from model.layers import conv2d, init_weights, norm_layer


class Discriminator(nn.Module):
    """Five 5x5 convolutions over a (source, glyph) pair, flattened into two linear heads.

    Three of the convolutions stride; with `d_blur` each of these blurs its input first. Keys and
    shapes are those of the earlier PyTorch ports, their spelling `catagory` included.

    Raises:
        ValueError: for a norm that is not known.
    """

    def __init__(
        self,
        *,
        input_nc: int = 2,  # channels of the pair: twice those of one image
        ndf: int = 64,
        embedding_num: int = 40,
        image_size: int = 256,
        norm_type: str = "batch",
        d_blur: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = [
            conv2d(input_nc, ndf, 5, stride=2, bias=True, blur=d_blur),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        is_plain = norm_type == "plain_instance"
        for width, stride in ((ndf, 2), (ndf * 2, 2), (ndf * 4, 1)):
            layers += [
                conv2d(width, width * 2, 5, stride=stride, bias=is_plain, blur=d_blur),
                norm_layer(norm_type, width * 2),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [conv2d(ndf * 8, 1, 5, stride=1, bias=True)]
        self.model = nn.Sequential(*layers)
        features = (image_size // 8) ** 2
        self.binary = nn.Linear(features, 1)
        self.catagory = nn.Linear(features, embedding_num)
        init_weights(self)

    def forward(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Judge `pair` [N, 2C, S, S]: verdict logits [N, 1] and category logits [N, embedding_num]."""
        features = self.model(pair).flatten(1)
        return self.binary(features), self.catagory(features)
