"""Muon: momentum whose step is made orthogonal, for the weights of convolutions; Adam for everything else."""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.5, 0.999)  # of Adam, as in DCGAN (Radford et al., 2016)
MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor) -> Tensor:
    """About the nearest matrix of orthonormal rows to `matrix` [r, c], or of orthonormal columns where r > c.

    Five Newton-Schulz iterations with the coefficients of Jordan et al., "Muon: an optimizer for hidden layers in
    neural networks" (2024): singular values come to lie between about 0.7 and 1.2, those below a five-hundredth of
    the matrix's norm under that. What is iterated is the Gram matrix, since each iteration X <- p(X Xt) X is a
    polynomial of it; the long side is gone over twice and not ten times. It takes the whole precision of float32:
    in TF32 the Gram matrix would get negative eigenvalues, which grow with each iteration.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalize(matrix.T).T
    matrix = matrix / matrix.norm().clamp(min=1e-20)
    gram = matrix @ matrix.T
    total = factor = _polynomial(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        total = factor @ total
    return total @ matrix


def _polynomial(gram: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    value = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    value.diagonal().add_(a)
    return value


class Muon(torch.optim.Optimizer):
    """Train the convolutions of `net` by Muon, and the rest by Adam: norms, biases, embeddings, and the two `ends`.

    The weights of a convolution are a matrix of its output channels by all that feeds one of them. Its step is the
    momentum (Nesterov's) made orthogonal, so that every direction of the matrix moves equally far, also those in
    which gradients are small; it is scaled so that the weights of a matrix of full rank move by `lr` in the root mean
    square, about as far as an Adam moves them at the same rate (Liu et al., "Muon is scalable for LLM training", 2025).
    The `ends` are the modules that take in and give out images, whose few channels have no directions to even out.

    There is one parameter group, in the order of `net.parameters()`, and no weight decay.
    """

    def __init__(self, net: nn.Module, lr: float, ends: Collection[nn.Module] = ()):
        parameters = list(net.parameters())
        # Said in the group, it has torch load a state's step onto the device of its parameter, as fused Adam needs it.
        fused = parameters[0].device.type in ("cpu", "cuda")
        super().__init__(parameters, {"lr": lr, "fused": fused})
        number = {id(parameter): n for n, parameter in enumerate(parameters)}
        # Numbers of the parameters that are matrices, and the dimension of their output channels.
        self.matrices = {
            number[id(module.weight)]: int(isinstance(module, nn.ConvTranspose2d))
            for module in net.modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module not in ends
        }

    @torch.no_grad()
    def step(self) -> None:
        """One step on the gradients that are there; a parameter without one stays as it is."""
        group = self.param_groups[0]
        rest = []
        for number, parameter in enumerate(group["params"]):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                names = ["momentum"] if number in self.matrices else ["exp_avg", "exp_avg_sq"]
                state["step"] = torch.zeros((), device=parameter.device if group["fused"] else "cpu")
                state.update({name: torch.zeros_like(parameter) for name in names})
            if number in self.matrices:
                state["step"] += 1
                self._step_matrix(parameter, state["momentum"], self.matrices[number], group["lr"])
            else:
                rest.append(parameter)
        if rest:
            self._step_rest(rest, group["lr"], group["fused"])

    def _step_matrix(self, parameter: Tensor, momentum: Tensor, outputs: int, lr: float) -> None:
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = parameter.grad.lerp(momentum, MOMENTUM).transpose(0, outputs)
        flat = ahead.reshape(len(ahead), -1)
        change = orthogonalize(flat).reshape(ahead.shape).transpose(0, outputs)
        parameter.add_(change, alpha=-lr * max(flat.shape) ** 0.5)

    def _step_rest(self, parameters: list[Tensor], lr: float, fused: bool) -> None:
        states = [self.state[parameter] for parameter in parameters]
        names = ("exp_avg", "exp_avg_sq", "step")
        moments, squares, steps = ([state[name] for state in states] for name in names)
        gradients = [parameter.grad for parameter in parameters]
        (beta1, beta2), fixed = BETAS, {"weight_decay": 0.0, "eps": 1e-8, "amsgrad": False, "maximize": False}
        adam(parameters, gradients, moments, squares, [], steps, fused=fused, lr=lr, beta1=beta1, beta2=beta2, **fixed)
