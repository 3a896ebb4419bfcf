"""Nothing is faster by computing something else: the fast step and the literal one agree."""

import pytest
import torch

from tests.helpers.literal import LiteralBlurConv2d, LiteralModel
from tests.helpers.models import tiny_batch, tiny_model


@pytest.mark.parametrize("levels", [{}, {"generator": "residual", "up_mode": "upsample"}])
@pytest.mark.parametrize("norm_type", ["batch", "instance"])
@pytest.mark.parametrize(("g_blur", "d_blur"), [(False, False), (True, False), (True, True)])
def test_the_fast_step_equals_the_literal_one(norm_type, g_blur, d_blur, levels):
    """Losses, gradients and weights over three steps, in float64."""
    torch.manual_seed(0)
    model = tiny_model(torch.float64, norm_type=norm_type, g_blur=g_blur, d_blur=d_blur, dropout=0.0, **levels)
    literal = LiteralModel(model)
    assert any(isinstance(m, LiteralBlurConv2d) for m in literal.netG.modules()) == g_blur
    assert any(isinstance(m, LiteralBlurConv2d) for m in literal.netD.modules()) == d_blur
    for seed in range(3):
        batch = tiny_batch(dtype=torch.float64, seed=seed)
        model.set_input(*batch)
        found, expected = model.optimize_parameters(), literal.step(*batch)
        for name in expected:
            assert found[name].item() == pytest.approx(expected[name], rel=1e-9), name
        for one, other in ((model.netG, literal.netG), (model.netD, literal.netD)):
            pairs = list(zip(one.named_parameters(), other.parameters(), strict=True))
            assert len(pairs) > 10
            for (name, fast), plain in pairs:
                torch.testing.assert_close(fast.grad, plain.grad, rtol=1e-7, atol=1e-12, msg=name)
                torch.testing.assert_close(fast, plain, rtol=0, atol=1e-6, msg=name)


def test_the_fast_average_equals_the_literal_one():
    model = tiny_model(norm_type="instance")
    literal = LiteralModel(model)
    for seed in range(5):
        literal.step(*tiny_batch(seed=seed))
        model.netG.load_state_dict(literal.netG.state_dict())
        model.ema.update()
    for name, average in model.ema.shadow.state_dict().items():
        torch.testing.assert_close(average, literal.shadow[name], rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("accum_steps", [1, 2])
def test_a_compiled_step_equals_a_plain_one(accum_steps):
    """Traced and differentiated ahead of time, without the code generator, which needs a C++ compiler."""
    torch.compiler.reset()
    plain, compiled = (tiny_model(torch.float64, g_blur=True, dropout=0.0, accum_steps=accum_steps) for _ in range(2))
    compiled.compile("aot_eager")
    for seed in range(2):
        batch = tiny_batch(dtype=torch.float64, seed=seed)
        for model in (plain, compiled):
            model.set_input(*batch)
        expected, found = plain.optimize_parameters(), compiled.optimize_parameters()
        for name in expected:
            assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-9), name
    assert compiled.netG.state_dict().keys() == plain.netG.state_dict().keys()
    for (name, value), other in zip(plain.netG.state_dict().items(), compiled.netG.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=1e-9, msg=name)
