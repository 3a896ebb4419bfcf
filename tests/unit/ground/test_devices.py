"""The paths of other devices than the CPU, as far as the machine goes: on the device itself, or with fake tensors."""

import contextlib
import gc
import logging
import os
import subprocess
import sys
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
from model.deform import GRID
from model.model import layout_for
from tests.helpers.models import TINY, tiny_batch, tiny_model
from tests.helpers.ranks import ROOT
from utils.device import check_kernels, check_ways, default_amp, tune
from utils.distributed import joined
from utils.errors import UserError
from utils.training import memory
from utils.training.memory import cut_steps, fewest_cut, step_fits

DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's GPU")),
]
EVERYTHING = {"Ladv_penalty": 1.0, "Lconst_penalty": 15.0, "dropout": 0.0, "optimizer": "muon"}
VARIANTS = {
    "plain": {"g_blur": False},
    "blur": {"g_blur": True, "d_blur": True},
    "accumulation": {"g_blur": True, "accum_steps": 2},
    "alone": {"g_blur": True, "Ladv_penalty": 0.0, "Lconst_penalty": 0.0},
    "upsample": {"up_mode": "upsample"},
    "residual": {"generator": "residual", "up_mode": "upsample", "g_blur": True, "deform": True},
    "pixelshuffle": {"up_mode": "pixelshuffle", "norm_type": "instance"},
}


def batch_for(model: Zi2ZiModel) -> list[torch.Tensor]:
    """A batch, with deformations where the model learns them."""
    batch = list(tiny_batch())
    return [*batch, torch.full((len(batch[0]), 2, GRID, GRID), 0.02)] if model.config.deform else batch


def trained(device: str, **changes) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The losses of one step on a device, and what is drawn after it."""
    torch.manual_seed(0)
    model = Zi2ZiModel(Zi2ZiConfig(**TINY | EVERYTHING | changes), device)
    label, source, target, *deformation = batch_for(model)
    model.set_input(label, source, target, *deformation)
    losses = {name: loss.cpu() for name, loss in model.optimize_parameters().items()}
    return losses, model.sample(source, label).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_device_trains_and_draws_as_the_cpu_does(device, variant):
    (here, drawn), (there, drawn_there) = (trained(each, **VARIANTS[variant]) for each in ("cpu", device))
    for name, loss in here.items():
        torch.testing.assert_close(there[name], loss, rtol=1e-3, atol=1e-4)
    assert (drawn - drawn_there).abs().mean() < 0.01


def made_there(model: Zi2ZiModel, kind: type[torch.nn.Module], arguments: dict) -> torch.nn.Module:
    """A network made on its device: fake weights can't be moved from one to another."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(model.device)
        for name in ("normal_", "uniform_", "kaiming_uniform_"):  # there is nothing to draw random values into
            stack.enter_context(mock.patch.object(torch.nn.init, name, lambda tensor, *_, **__: tensor))
        net = kind(**arguments)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=model.layout)
    return net


def zero_gradients(model: Zi2ZiModel) -> None:
    """What stands for a backward pass, which torch's engine refuses to take on a device that is not there."""
    for net in (model.netG, model.netD):
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)


@contextlib.contextmanager
def fake_cuda(config: Zi2ZiConfig):
    """Within, a model on a CUDA device whose tensors have shapes, types and places, and nothing in them."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    mode.cache_enabled = False  # whose entries outlive the mode
    with (
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        mock.patch("torch.cuda.is_bf16_supported", lambda *_: True),
        mock.patch("torch.cuda.get_rng_state", lambda *_: torch.get_rng_state()),
        mock.patch("torch.cuda.set_rng_state", lambda *_: None),
        mock.patch.object(torch.amp.GradScaler, "_maybe_opt_step", lambda _self, optimizer, *_: optimizer.step()),
        mock.patch("model.products.SMALL", 0),  # so that the small matrices of this model are rounded too
        mock.patch.object(Zi2ZiModel, "_make", made_there),
        mock.patch.object(Zi2ZiModel, "_check", lambda *_: None),  # which reads the labels
        mode,
    ):
        model = Zi2ZiModel(config, "cuda:0")
        with mock.patch.object(torch.Tensor, "backward", lambda _: zero_gradients(model)):
            yield model


# What a step does in a type of numbers depends little on the variant: all types for one, one for some others.
COMBINED = [("accumulation", "bf16"), ("upsample", "bf16"), ("pixelshuffle", "off"), ("plain", "fp16")]
COMBINED += [("residual", amp) for amp in ("off", "bf16", "fp16")]


def step_and_draw(amp: str, changes: dict) -> None:
    """One step and one drawing on the device that is not there; what mixes two devices, or two types, fails."""
    seen = set()
    with fake_cuda(Zi2ZiConfig(**TINY | EVERYTHING | {"dropout": 0.5} | changes, amp=amp)) as model:
        for module in model.netG.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
        label, source, target, *deformation = (part.to("cuda:0") for part in batch_for(model))
        model.set_input(label, source, target, *deformation)
        losses = model.optimize_parameters(seed=1)
        assert seen == {{"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]}
        assert all(loss.device.type == "cuda" for loss in losses.values())
        assert all(tensor.device.type == "cuda" for tensor in model.ema.shadow.state_dict().values())
        drawn = model.sample(source, label)
        assert drawn.device.type == "cuda" and drawn.dtype == torch.float32
        fold_norms(model.netG)
        assert model.netG(source, label)[0].device.type == "cuda"


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="needs a torch that is built for CUDA")
@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="torch before 2.9 needs a driver for this")
def test_a_step_and_a_drawing_mix_no_devices():
    """In a process of its own, since torch can't clear such graphs away."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.unit.ground.test_devices"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [f"{variant}:{amp}" for variant, amp in COMBINED]


def test_images_and_weights_lie_channels_last_but_on_apples_gpu():
    assert layout_for(torch.device("mps")) == torch.contiguous_format
    assert layout_for(torch.device("cuda")) == layout_for(torch.device("cpu")) == torch.channels_last
    net = Zi2ZiModel(Zi2ZiConfig(**TINY)).netG
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in net.parameters() if p.ndim == 4)


GPUS = {  # capability and name, and what to train in
    ((6, 1), "NVIDIA GeForce GTX 1080"): "off",
    ((7, 0), "Tesla V100-SXM2-16GB"): "fp16",
    ((7, 5), "Tesla T4"): "fp16",
    ((7, 5), "NVIDIA GeForce RTX 2060 SUPER"): "fp16",
    ((7, 5), "Quadro RTX 4000"): "fp16",
    ((7, 5), "NVIDIA GeForce GTX 1660 Ti"): "off",
    ((7, 5), "NVIDIA GeForce GTX 1650"): "off",
    ((7, 5), "NVIDIA T400 4GB"): "off",
    ((7, 5), "Quadro T1000 with Max-Q Design"): "off",
    ((7, 5), "Quadro T2000"): "off",
    ((7, 5), "NVIDIA GeForce MX450"): "off",
    ((8, 6), "NVIDIA GeForce RTX 3060"): "bf16",
    ((12, 0), "NVIDIA GeForce RTX 5090"): "bf16",
}


@pytest.mark.parametrize(("gpu", "amp"), GPUS.items())
def test_a_gpu_trains_in_what_it_has_units_for(gpu, amp, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: gpu[0])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: gpu[1])
    assert default_amp(torch.device("cuda", 0)) == amp


def test_a_processor_trains_in_bf16_where_it_has_units_for_it(monkeypatch):
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    for there in ((True, False), (False, True), (False, False)):
        for name, value in zip(asked, there, strict=True):
            monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
        assert default_amp(torch.device("cpu")) == ("bf16" if any(there) else "off")
    for name in asked:  # a torch that does not ask
        monkeypatch.delattr(torch.cpu, name)
    assert default_amp(torch.device("cpu")) == "off"
    assert default_amp(torch.device("mps")) == "off"


BUILDS = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "which"),
    [((6, 1), "built for CUDA 12.6"), ((7, 0), "built for CUDA 12.6"), ((10, 0), "that is newer")]
    + [(capability, None) for capability in ((7, 5), (8, 0), (8, 7), (8, 9), (9, 0), (12, 1), (13, 0))],
)
def test_a_gpu_that_torch_has_no_kernels_for_is_refused(capability, which, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: BUILDS)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    if which is None:
        check_kernels(torch.device("cuda", 1))
        return
    with pytest.raises(UserError, match=f"--gpu_ids 1: torch .* has no kernels for Some GPU .*: install one {which}"):
        check_kernels(torch.device("cuda", 1))


def test_what_a_device_can_not_do_is_refused(monkeypatch):
    with pytest.raises(UserError, match="--amp fp16 does not work on Apple's GPU"):
        check_ways(torch.device("mps"), "fp16", False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="--compile needs Triton"):
        check_ways(torch.device("cuda"), "off", True)
    check_ways(torch.device("cpu"), "bf16", True)


def test_a_process_works_on_its_gpu_alone(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    with joined(torch.device("cuda", 1)) as ranks:
        assert ranks.count == 1
    assert chosen == [torch.device("cuda", 1)]


def test_drawing_is_not_rounded_to_tf32_and_a_deterministic_training_tries_nothing_out():
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark
    try:
        tune(torch.device("cuda"), training=False)
        assert (cudnn.allow_tf32, cudnn.benchmark) == (False, True)
        tune(torch.device("cuda"))
        assert (cudnn.allow_tf32, cudnn.benchmark) == (True, True)
        tune(torch.device("cuda"), deterministic=True)
        assert (cudnn.allow_tf32, cudnn.benchmark) == (True, False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        cudnn.allow_tf32, cudnn.benchmark = before


# ------------------------------------------------------------------------------------------- memory


def everything_of(model: Zi2ZiModel) -> list[torch.Tensor]:
    nets = (model.netG, model.netD, model.ema.shadow)
    return [tensor.clone() for net in nets for tensor in net.state_dict().values()]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_trying_a_step_out_leaves_nothing_behind(several, optimizer):
    tried, fresh = (tiny_model(optimizer=optimizer, dropout=0.5) for _ in range(2))
    before = everything_of(tried)
    assert step_fits(tried, 2, several)
    assert all(torch.equal(a, b) for a, b in zip(before, everything_of(tried), strict=True))
    assert all(parameter.requires_grad for net in (tried.netG, tried.netD) for parameter in net.parameters())
    assert tried.ema.num_updates == 0 and tried.config == fresh.config
    losses = []
    for model in (tried, fresh):
        model.set_input(*tiny_batch())
        losses.append(model.optimize_parameters(seed=5))
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(everything_of(tried), everything_of(fresh), strict=True))


@pytest.mark.parametrize("optimizer", ["optimizer_G", "optimizer_D"])
def test_memory_may_run_out_anywhere_in_a_step_with_scaled_gradients(optimizer, monkeypatch):
    model = tiny_model(amp="fp16", Ladv_penalty=1.0)
    real = getattr(model, optimizer).step

    def out_of_memory(*_: object, **__: object):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(getattr(model, optimizer), "step", out_of_memory)
    assert not step_fits(model, 2, False)
    monkeypatch.setattr(getattr(model, optimizer), "step", real)
    assert step_fits(model, 1, True)
    model.set_input(*tiny_batch())
    assert model.optimize_parameters()["g_loss"].isfinite()


@pytest.mark.parametrize(
    ("room", "cut", "accum_steps"), [(16, 1, 1), (15, 2, 1), (5, 4, 1), (1, 16, 1), (4, 4, 3), (16, 1, 3)]
)
def test_a_step_that_does_not_fit_is_cut_into_micro_batches(room, cut, accum_steps, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    model, real = tiny_model(accum_steps=accum_steps), Zi2ZiModel.optimize_parameters

    def out_of_memory(self):
        if max(len(batch.label) for batch in self.micro_batches) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self)

    monkeypatch.setattr(Zi2ZiModel, "optimize_parameters", out_of_memory)
    assert fewest_cut(model, 16) == cut
    cut_steps(model, 16, 1, cut)
    assert model.config.accum_steps == cut * accum_steps
    words = f"as --batch_size {16 // cut} --accum_steps {cut * accum_steps} would"
    assert [words in line for line in caplog.messages] == ([] if cut == 1 else [True])


def test_a_network_that_fits_in_no_way_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "step_fits", lambda *_: False)
    with pytest.raises(UserError, match="lower --image_size or --ngf"):
        cut_steps(tiny_model(), 64, 4, fewest_cut(tiny_model(), 16))


def test_an_error_that_is_none_of_memory_is_not_taken_for_one(monkeypatch):
    def broken(_self):
        raise RuntimeError("Expected all tensors to be on the same device")

    monkeypatch.setattr(Zi2ZiModel, "optimize_parameters", broken)
    with pytest.raises(RuntimeError, match="same device"):
        step_fits(tiny_model(), 2, False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_backward_pass_mixes_no_devices(variant):
    """With shapes alone, on `meta`, which is no CPU: a tensor left on the CPU does not go with them."""
    model = Zi2ZiModel(Zi2ZiConfig(**TINY | EVERYTHING | VARIANTS[variant]), "meta")
    with mock.patch.object(Zi2ZiModel, "_check", lambda *_: None):
        model.set_input(*batch_for(model))
    losses = model.optimize_parameters()
    assert all(loss.device.type == "meta" for loss in losses.values())
    assert {p.grad.device.type for p in model.netG.parameters()} == {"meta"}


if __name__ == "__main__":
    gc.disable()
    for variant, amp in COMBINED:
        step_and_draw(amp, VARIANTS[variant])
        print(f"{variant}:{amp}", flush=True)
    os._exit(0)
