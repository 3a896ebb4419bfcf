"""Muon: momentum whose step is made orthogonal, for the weights of convolutions; Adam for everything else."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from model.products import TINY, Products

BETAS = (0.5, 0.999)  # of Adam, as in DCGAN (Radford et al., 2016)
MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalizer(gram: Tensor) -> Tensor:
    """What makes a matrix M about orthonormal, `orthogonalizer(M @ M.T) @ M`; for one Gram matrix [r, r] or [n, r, r].

    Five Newton-Schulz iterations with the coefficients of Jordan et al., "Muon: an optimizer for hidden layers in
    neural networks" (2024): singular values come to lie between about 0.7 and 1.2, those below a five-hundredth of
    the matrix's norm under that. What is iterated is the Gram matrix, since each iteration X <- p(X Xt) X is a
    polynomial of it; the long side is gone over twice and not ten times. It takes the whole precision of float32:
    rounded after it was formed, the Gram matrix would get negative eigenvalues, which grow with each iteration.
    Formed of a matrix that was rounded before, it has none.
    """
    norm = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None].clamp(min=TINY**2).sqrt()
    gram = gram / norm / norm
    total = factor = _polynomial(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        total = factor @ total
    return total / norm


def _polynomial(gram: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    add_product = torch.addmm if gram.ndim == 2 else torch.baddbmm
    value = add_product(gram, gram, gram, beta=b, alpha=c)
    value.diagonal(dim1=-2, dim2=-1).add_(a)
    return value


def row_dimensions(weight: Tensor, outputs: int) -> list[int]:
    """The dimensions of a convolution's weight: that of its output channels, then the others as they lie in memory."""
    return [outputs, *sorted({*range(weight.ndim)} - {outputs}, key=lambda d: (-weight.stride(d), d))]


def required_gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that has one."""
    if parameter.grad is None:
        raise ValueError("a parameter has no gradient")
    return parameter.grad


def wide(matrix: Tensor) -> Tensor:
    """A matrix, transposed where it has more rows than columns."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


class Muon(torch.optim.Optimizer):
    """Train the convolutions of `net` by Muon, and the rest by Adam: norms, biases, embeddings, and the `ends`.

    The weights of a convolution are a matrix of its output channels by all that feeds one of them. Its step is the
    momentum (Nesterov's) made orthogonal, so that every direction of the matrix moves equally far, also those in
    which gradients are small; it is scaled so that the weights of a matrix of full rank move by `lr` in the root mean
    square, about as far as an Adam moves them at the same rate (Liu et al., "Muon is scalable for LLM training", 2025).
    The `ends` are the modules that take in and give out images, or places in them, whose few channels have no
    directions to even out.

    There is one parameter group, in the order of `net.parameters()`, and no weight decay.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float,
        ends: Collection[nn.Module] = (),
        rounding: torch.dtype | None = None,  # what the factors of the long products may be rounded to
    ):
        parameters = list(net.parameters())
        device = parameters[0].device
        # Said in the group, it has torch load a state's step onto the device of its parameter, as fused Adam needs it.
        super().__init__(parameters, {"lr": lr, "fused": device.type in ("cpu", "cuda")})
        number = {id(parameter): n for n, parameter in enumerate(parameters)}
        # Numbers of the parameters that are matrices, and the dimension of their output channels.
        self.matrices = {
            number[id(module.weight)]: int(isinstance(module, nn.ConvTranspose2d))
            for module in net.modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module not in ends
        }
        self.products = Products(device, rounding)
        self._device, self._rounding = device, rounding
        self.rank, self.count = 0, 1
        self._add_up: Callable[[Tensor], None] = lambda _: None

    def distribute(self, rank: int, count: int, add_up: Callable[[Tensor], None]) -> None:
        """Share the work with other processes that have the same gradients; this one is number `rank` of `count`.

        `add_up` puts in place of a tensor its sum over all of them. What passes between them is small: not the steps,
        but the square matrices that each makes its own step of.
        """
        self.rank, self.count, self._add_up = rank, count, add_up
        willing = torch.tensor(float(self.products.in_onednn), device=self._device)
        add_up(willing)
        if willing < count:
            self.products = Products(self._device, self._rounding, in_onednn=False)

    @torch.no_grad()
    def step(self) -> None:
        """One step on the gradients that are there; a parameter without one stays as it is.

        The gradients of matrices are used up: what they hold afterwards is the momentum that was stepped along.
        """
        group = self.param_groups[0]
        matrices, rest = [], []
        for number, parameter in enumerate(group["params"]):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                names = ["momentum"] if number in self.matrices else ["exp_avg", "exp_avg_sq"]
                state["step"] = torch.zeros((), device=parameter.device if group["fused"] else "cpu")
                state.update({name: torch.zeros_like(parameter) for name in names})
            if number in self.matrices:
                matrices.append(number)
            else:
                rest.append(parameter)
        if matrices:
            self._step_matrices(matrices, group["params"], group["lr"])
        if rest:
            self._step_rest(rest, group["lr"], group["fused"])

    def _step_matrices(self, numbers: Sequence[int], parameters: Sequence[Tensor], lr: float) -> None:
        dimensions = {number: row_dimensions(parameters[number], self.matrices[number]) for number in numbers}
        factors = {}
        for number in numbers:
            gradient, state = required_gradient(parameters[number]), self.state[parameters[number]]
            state["step"] += 1
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            gradient.lerp_(state["momentum"], MOMENTUM)  # Nesterov's, in the memory of the gradient
            factors[number] = self.products.factor(wide(gradient.permute(*dimensions[number]).flatten(1)))
        orthogonalizers = self._orthogonalizers(factors)
        for number, factor in factors.items():
            rows = parameters[number].permute(*dimensions[number])
            matrix = rows.flatten(1)
            self.products.add_(wide(matrix), orthogonalizers[number], factor, -lr * max(factor.shape) ** 0.5)
            if matrix._base is None:  # a copy: no matrix is a view of this memory
                rows.copy_(matrix.view(rows.shape))

    def _orthogonalizers(self, factors: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The `orthogonalizer` of each matrix; of several processes each computes its share, and all get the same."""
        side = {number: len(factor) for number, factor in factors.items()}
        in_order = sorted(factors, key=lambda number: (-side[number], number))
        mine = in_order[self.rank :: self.count]
        grams = {number: self.products.gram(factors[number]) for number in mine}
        with self.products.exact():
            if self._device.type == "cpu":  # where many at once are slower than one after the other
                found = {number: orthogonalizer(gram) for number, gram in grams.items()}
            else:
                batches = [list(group) for _, group in groupby(mine, side.get)]
                stacks = [orthogonalizer(torch.stack([grams[number] for number in batch])) for batch in batches]
                found = {
                    number: root
                    for batch, roots in zip(batches, stacks, strict=True)
                    for number, root in zip(batch, roots, strict=True)
                }
        return found if self.count == 1 else self._exchanged(found, {number: side[number] for number in in_order})

    def _exchanged(self, found: Mapping[int, Tensor], sides: Mapping[int, int]) -> dict[int, Tensor]:
        """What all processes have found of square matrices of the given `sides`, each of them some."""
        like = self.param_groups[0]["params"][0]
        parts = [found[n] if n in found else like.new_zeros(side, side) for n, side in sides.items()]
        together = torch.cat([part.flatten() for part in parts])
        self._add_up(together)
        parts = together.split([side**2 for side in sides.values()])
        return {n: part.view(side, side) for (n, side), part in zip(sides.items(), parts, strict=True)}

    def _step_rest(self, parameters: list[Tensor], lr: float, fused: bool) -> None:
        states = [self.state[parameter] for parameter in parameters]
        names = ("exp_avg", "exp_avg_sq", "step")
        moments, squares, steps = ([state[name] for state in states] for name in names)
        gradients = [required_gradient(parameter) for parameter in parameters]
        (beta1, beta2), fixed = BETAS, {"weight_decay": 0.0, "eps": 1e-8, "amsgrad": False, "maximize": False}
        adam(parameters, gradients, moments, squares, [], steps, fused=fused, lr=lr, beta1=beta1, beta2=beta2, **fixed)
