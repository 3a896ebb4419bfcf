"""Products of float32 matrices at the best speed of a device: exact ones, and ones of rounded factors."""

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

EXACT = 1e-5  # relative error up to which a product counts as one in float32
SLOWER = 1.5  # times as slow as torch's own choice a way has to be to be left; twice as fast or as fast are the rule
TRIALS = 7
SMALL = 2**18  # elements up to which nothing is rounded: there is no time to gain
TINY = 1e-15  # in place of the norm of a matrix of zeros; its square is no denormal number
MM_SUMS_IN_FLOAT32 = "dtype" in torch.ops.aten.mm.overloads()  # of factors in fp16, on CUDA, from torch 2.8 on


@contextlib.contextmanager
def _set(switch: object, name: str, value: object) -> Iterator[None]:
    before = getattr(switch, name)
    setattr(switch, name, value)
    try:
        yield
    finally:
        setattr(switch, name, before)


def _in_onednn() -> contextlib.AbstractContextManager:
    """Within, the CPU's products go to oneDNN, which may round their factors to bf16; it adds up in float32."""
    mkldnn: Any = torch.backends.mkldnn
    return _set(mkldnn.matmul, "fp32_precision", "bf16")


def _in_tf32() -> contextlib.AbstractContextManager:
    """Within, CUDA's products round their factors to TF32, where it has that."""
    return _set(torch.backends.cuda.matmul, "allow_tf32", True)


@functools.cache
def _trial_of_onednn() -> tuple[bool, bool]:
    """Whether oneDNN multiplies float32 exactly, and whether it is worth taking, found out by a small product.

    With units for bf16 matrices (AMX) it rounds, and is several times as fast. Without, it computes in float32: on an
    AMD processor twice as fast as torch's own choice, MKL, which takes AVX2 there.
    """
    if not hasattr(torch.backends.mkldnn, "matmul"):  # before torch 2.9
        return False, False
    generator = torch.Generator().manual_seed(0)
    factors = [torch.randn(256, 1024, generator=generator), torch.randn(1024, 256, generator=generator)]
    times: dict[str, float] = {}
    for _ in range(TRIALS):
        for name, way in (("own", contextlib.nullcontext), ("onednn", _in_onednn)):
            begin = time.perf_counter()
            with way():
                product = factors[0] @ factors[1]
            times[name] = min(times.get(name, float("inf")), time.perf_counter() - begin)
    true = factors[0].double() @ factors[1].double()
    error = (product.double() - true).norm() / true.norm()
    return bool(error < EXACT), times["onednn"] < SLOWER * times["own"]


class Products:
    """The products that Muon takes of the matrices on a device.

    `exact()` is for those that need the whole precision of float32. `gram` and `add_` are for a matrix with a long
    side; with a `rounding`, the half precision that the networks compute in, their factors are rounded where that is
    faster, to that type or to TF32, and what comes out is added up in float32 and not rounded again.
    """

    def __init__(self, device: torch.device, rounding: torch.dtype | None = None, in_onednn: bool = True):
        on_cpu = device.type == "cpu"
        is_exact, is_fast = _trial_of_onednn() if on_cpu and in_onednn else (False, False)
        self.in_onednn = is_fast  # found out by a clock; processes that share the work have to agree
        self.exact = self._rounded = _in_onednn if is_exact and is_fast else contextlib.nullcontext
        if rounding is torch.bfloat16 and on_cpu and is_fast:
            self._rounded = _in_onednn
        elif rounding is torch.bfloat16 and device.type == "cuda":
            self._rounded = _in_tf32
        self._halves = rounding is torch.float16 and device.type == "cuda" and MM_SUMS_IN_FLOAT32

    def factor(self, matrix: Tensor) -> Tensor:
        """A float32 matrix as it enters the others' products; in fp16 scaled so that its values are about 1."""
        if not self._halves or matrix.numel() <= SMALL:
            return matrix
        return (matrix * (matrix.numel() ** 0.5 / matrix.norm().clamp(min=TINY))).half()

    def gram(self, factor: Tensor) -> Tensor:
        """The products of the rows [r, c] with one another: [r, r] in float32."""
        if factor.dtype == torch.float16:
            return torch.mm(factor, factor.T, out_dtype=torch.float32)
        with self._for(factor):
            return factor @ factor.T

    def add_(self, target: Tensor, left: Tensor, factor: Tensor, alpha: float) -> None:
        """Add alpha * (left [r, r] @ factor [r, c]) to `target`."""
        if factor.dtype == torch.float16:
            target.add_(torch.mm(left.half(), factor, out_dtype=torch.float32), alpha=alpha)
            return
        with self._for(factor):
            target.addmm_(left, factor, alpha=alpha)

    def _for(self, factor: Tensor) -> contextlib.AbstractContextManager:
        return self.exact() if factor.numel() <= SMALL else self._rounded()
