"""Generator, discriminator, EMA and the training step, by contrast with what they must not be."""

import pytest
import torch

from model import EMA, Discriminator, UNetGenerator, Zi2ZiConfig, Zi2ZiModel, losses
from model.config import OPTIMIZERS
from tests.helpers.models import TINY, tiny_batch, tiny_model
from tests.helpers.scripts import assert_same


def weights(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def moved(before, net):
    """Names of the trainable tensors that changed."""
    return {name for name, _ in net.named_parameters() if not torch.equal(before[name], net.state_dict()[name])}


def train_step(model, batch=None):
    model.set_input(*(batch or tiny_batch()))
    return model.optimize_parameters()


# ------------------------------------------------------------------------ generator and discriminator


@pytest.mark.parametrize("size", [64, 128, 256, 384])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_and_channels(size, channels):
    net = UNetGenerator(input_nc=channels, ngf=2, embedding_num=2, embedding_dim=4, image_size=size, g_blur=True)
    judge = Discriminator(input_nc=2 * channels, ndf=2, embedding_num=2, image_size=size, d_blur=True)
    x, label = torch.randn(2, channels, size, size), torch.tensor([0, 1])
    image, encoded = net(x, label)
    assert image.shape == x.shape
    assert image.abs().max() <= 1
    bottleneck = 3 if size == 384 else 1
    assert encoded.shape == (2, 16 * bottleneck**2)
    binary, category = judge(torch.cat([x, image], 1))
    assert binary.shape == (2, 1)
    assert category.shape == (2, 2)


@pytest.mark.parametrize("size", [0, 100, 200, 257, 2048])
def test_other_sizes_are_refused_with_the_nearest(size):
    with pytest.raises(ValueError, match=r"use \d+ or \d+"):
        UNetGenerator(image_size=size)


def test_the_label_changes_the_drawing():
    net = UNetGenerator(**{k: v for k, v in TINY.items() if k != "ndf"}).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        drawn = [net(x, torch.tensor([label]))[0] for label in range(3)]
        encoded = [net(x, torch.tensor([label]))[1] for label in range(3)]
    assert not torch.allclose(drawn[0], drawn[1])
    assert torch.equal(encoded[0], encoded[1])


def test_encode_is_the_bottleneck_of_forward_without_the_decoder():
    net = UNetGenerator(image_size=64, ngf=2).eval()
    x = torch.randn(2, 1, 64, 64)
    ran = []
    net.model.up.register_forward_hook(lambda *_: ran.append(True))
    with torch.no_grad():
        encoded = net.encode(x)
        assert not ran
        torch.testing.assert_close(encoded, net(x, torch.tensor([0, 0]))[1])


def test_dropout_is_where_it_was_and_can_be_turned_off():
    def count(dropout):
        modules = UNetGenerator(image_size=256, ngf=2, dropout=dropout).modules()
        return [m.p for m in modules if isinstance(m, torch.nn.Dropout)]

    assert count(0.5) == [0.5] * 3
    assert count(0.2) == [0.2] * 3
    assert count(0.0) == []


# ----------------------------------------------------------------------------------------------- losses


def test_losses_fall_when_they_should():
    logits = torch.tensor([[4.0]])
    assert losses.adversarial_loss(logits, True) < 0.1 < losses.adversarial_loss(logits, False)
    named = torch.tensor([[5.0, -5.0, -5.0]])
    assert losses.category_loss(named, torch.tensor([0])) < 0.1 < losses.category_loss(named, torch.tensor([1]))


def test_const_loss_depends_on_the_generated_image():
    model = tiny_model()
    model.set_input(*tiny_batch())
    batch = model.micro_batches[0]
    fake, encoded = model.forward(batch)
    fake = fake.detach().requires_grad_()
    terms = model.generator_losses(batch, fake, encoded.detach())
    (gradient,) = torch.autograd.grad(terms["const_loss"], fake)
    assert gradient.abs().sum() > 0
    other = model.generator_losses(batch, fake.detach().flip(0), encoded.detach())
    assert not torch.allclose(terms["const_loss"], other["const_loss"])


def test_every_loss_weight_scales_its_term():
    def terms(**changes):
        model = tiny_model(dropout=0.0, **changes)
        model.set_input(*tiny_batch())
        batch = model.micro_batches[0]
        return model.generator_losses(batch, *model.forward(batch))

    base, default = terms(), Zi2ZiConfig()
    named = {"L1_penalty": "l1_loss", "Lconst_penalty": "const_loss", "Lcategory_penalty": "category_loss"}
    for flag, name in named.items():
        changed = terms(**{flag: 3 * getattr(default, flag)})
        torch.testing.assert_close(changed[name], 3 * base[name])
        torch.testing.assert_close(changed["adv_loss"], base["adv_loss"])
    assert "const_loss" not in terms(Lconst_penalty=0.0)


def test_no_table_of_labels_trains():
    model = tiny_model()
    trained = {id(p) for o in (model.optimizer_G, model.optimizer_D) for g in o.param_groups for p in g["params"]}
    assert trained == {id(p) for net in (model.netG, model.netD) for p in net.parameters()}
    assert not any("emb" in name for name, _ in model.netD.named_parameters())


# -------------------------------------------------------------------------------------- the training step


def test_a_step_moves_both_networks_everywhere():
    model = tiny_model()
    before_g, before_d = weights(model.netG), weights(model.netD)
    report = train_step(model)
    assert moved(before_g, model.netG) == {name for name, _ in model.netG.named_parameters()}
    assert moved(before_d, model.netD) == {name for name, _ in model.netD.named_parameters()}
    assert set(report) == {"d_loss", "g_loss", "adv_loss", "category_loss", "l1_loss", "const_loss"}
    assert not any(value.requires_grad for value in report.values())
    parts = sum(value for name, value in report.items() if name not in ("d_loss", "g_loss"))
    torch.testing.assert_close(report["g_loss"], parts)


def test_the_generator_is_not_trained_by_the_discriminators_loss():
    model = tiny_model()
    model.set_input(*tiny_batch())
    batch = model.micro_batches[0]
    fake, _ = model.forward(batch)
    model.discriminator_loss(batch, fake.detach()).backward()
    assert all(p.grad is None for p in model.netG.parameters())
    assert all(p.grad is not None for p in model.netD.parameters())


def test_each_learning_rate_moves_its_own_network():
    def distance(**changes):
        model = tiny_model(**changes)
        before = weights(model.netG), weights(model.netD)
        train_step(model)
        return [
            sum(float((p.detach() - old[name]).abs().sum()) for name, p in net.named_parameters())
            for net, old in zip((model.netG, model.netD), before, strict=True)
        ]

    base, slow_g, slow_d = distance(), distance(lr=1e-4), distance(lr_D=1e-4)
    assert slow_g[0] < base[0] / 5
    assert slow_g[1] == pytest.approx(base[1])
    assert slow_d[1] < base[1] / 5


def test_training_learns():
    model = tiny_model(dropout=0.0)
    label, source, target = tiny_batch()
    target = torch.where(target.cummax(3).values > 0.99, -1.0, 1.0)
    batch = label, source, target
    first = float(train_step(model, batch)["l1_loss"])
    for _ in range(30):
        last = float(train_step(model, batch)["l1_loss"])
    assert last < 0.9 * first


@pytest.mark.parametrize("blur", [False, True])
def test_two_micro_batches_equal_one_batch(blur):
    """Instance norm, no dropout, float64: one step moves G and D alike."""
    batch = tiny_batch(4, dtype=torch.float64)
    nets = []
    for accum_steps in (1, 2):
        changes = {"norm_type": "instance", "dropout": 0.0, "g_blur": blur, "d_blur": blur}
        model = tiny_model(torch.float64, accum_steps=accum_steps, **changes)
        model.ema = EMA(model.netG)
        before = weights(model.netD)
        report = train_step(model, batch)
        assert moved(before, model.netD) == {name for name, _ in model.netD.named_parameters()}
        nets.append((model.netG, model.netD, model.ema.shadow, report))
    for one, two in zip(nets[0][:3], nets[1][:3], strict=True):
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(two.state_dict()[name], tensor, rtol=0, atol=1e-8)
    torch.testing.assert_close(nets[0][3], nets[1][3])


def test_uneven_micro_batches_weigh_by_their_size():
    batch = tiny_batch(3, dtype=torch.float64)
    states = []
    for accum_steps in (1, 2):
        model = tiny_model(torch.float64, norm_type="instance", dropout=0.0, accum_steps=accum_steps, ema_decay=0.0)
        train_step(model, batch)
        states.append(weights(model.netG))
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-8)


def test_discriminator_trains_in_every_accumulated_step():
    model = tiny_model(accum_steps=2)
    for _ in range(3):
        before = weights(model.netD)
        train_step(model)
        assert moved(before, model.netD)


def test_accumulation_counts_each_image_once_in_the_statistics():
    model = tiny_model(accum_steps=2)
    train_step(model)
    counts = [b for name, b in model.netG.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {2}


def test_an_error_in_ink_counts_more():
    fake = torch.zeros(1, 1, 2, 2)
    target = torch.tensor([[[[-1.0, 1.0], [1.0, 1.0]]]])
    assert losses.l1_loss(fake, target) == 1
    assert losses.l1_loss(fake, target, 0.4) == pytest.approx(1.1)
    assert losses.l1_loss(target, target, 0.4) == 0


def test_a_calibration_is_for_drawing_alone():
    plain, other = (tiny_model(dropout=0.0) for _ in range(2))
    label, source, target = tiny_batch()
    other.calibrate(torch.tensor([[0.5, 3.0]] * other.config.embedding_num))
    reports = []
    for model in (plain, other):
        model.set_input(label, source, target)
        reports.append(model.optimize_parameters())
    assert reports[0] == reports[1]
    assert_same(plain.state_dict(), other.state_dict())


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_each_label_and_kind_of_weights_is_drawn_with_its_own_calibration(weights):
    model = tiny_model(embedding_num=3)
    label, source, _ = tiny_batch()
    label = torch.tensor([0, 1, 2, 1])
    field = model.field(source, label, weights)
    torch.testing.assert_close(model.sample(source, label, weights), torch.tanh(field))
    table = torch.tensor([[0.0, 1.0], [0.4, 1.0], [-0.2, 2.0]])
    model.calibrate(table, weights)
    bias, sharpness = table[label][:, :, None, None, None].unbind(1)
    torch.testing.assert_close(model.field(source, label, weights), sharpness * field + bias)
    torch.testing.assert_close(model.sample(source, label, weights), torch.tanh(sharpness * field + bias))
    unlike = {"raw": "ema", "ema": "raw"}[weights]
    assert torch.equal(model.sample(source, label, unlike), tiny_model(embedding_num=3).sample(source, label, unlike))
    blend = torch.tensor([[0.0, 0.5, 0.5]] * 4)
    mixed = model.field(source, blend, weights)
    model.calibrate(None, weights)
    torch.testing.assert_close(mixed, 1.5 * model.field(source, blend, weights) + 0.1)
    torch.testing.assert_close(model.field(source, label, weights), field)


def test_redrawing_under_accumulation_repeats_the_dropout():
    model = tiny_model(accum_steps=2, dropout=0.5)
    model.set_input(*tiny_batch())
    batch = model.micro_batches[0]
    with torch.no_grad():
        first, again, other = (
            draw(batch, seed)[0] for draw, seed in ((model._seeded, 1), (model._redraw, 1), (model._seeded, 2))
        )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("accum_steps", [1, 2])
@pytest.mark.parametrize("Ladv_penalty", [0.0, 1.0])
def test_the_seed_of_a_step_decides_what_is_dropped_out(accum_steps, Ladv_penalty):
    """Whatever torch's generator has done before: a run that goes on needs to know nothing of it."""
    found = []
    for seed, drawn_before in ((7, 0), (7, 3), (8, 0)):
        model = tiny_model(accum_steps=accum_steps, Ladv_penalty=Ladv_penalty, dropout=0.5)
        torch.rand(drawn_before)
        model.set_input(*tiny_batch())
        found.append(model.optimize_parameters(seed))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_label_beyond_the_table_is_refused():
    label, source, target = tiny_batch()
    with pytest.raises(ValueError, match="label 3 is not in 0 to 2"):
        tiny_model().set_input(label + 1, source, target)
    with pytest.raises(ValueError, match="label -1 is not in 0 to 2"):
        tiny_model().set_input(label - 1, source, target)


# --------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("which", ["raw", "ema", "auto"])
def test_drawing_changes_nothing_and_repeats(which):
    model = tiny_model(dropout=0.5)
    train_step(model)
    label, source, _ = tiny_batch()
    before = weights(model.netG), weights(model.ema.shadow)
    first, second = model.sample(source, label, which), model.sample(source, label, which)
    alone = torch.cat([model.sample(source[i : i + 1], label[i : i + 1], which) for i in range(4)])
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone)
    assert model.netG.training
    assert not model.ema.shadow.training
    for net, state in zip((model.netG, model.ema.shadow), before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_drawing_prefers_the_shadow():
    model = tiny_model()
    for _ in range(3):
        train_step(model)
    label, source, _ = tiny_batch()
    ema, raw, auto = (model.sample(source, label, which) for which in ("ema", "raw", "auto"))
    assert torch.equal(auto, ema)
    assert not torch.allclose(ema, raw)
    without = tiny_model(ema_decay=0.0)
    assert torch.equal(without.sample(source, label), without.sample(source, label, "raw"))
    with pytest.raises(ValueError, match="no EMA"):
        without.sample(source, label, "ema")


def test_a_model_for_drawing_has_no_discriminator():
    model = Zi2ZiModel(Zi2ZiConfig(**TINY), is_training=False)
    assert not hasattr(model, "netD")
    assert model.ema is None
    assert not model.netG.training


# -------------------------------------------------------------------------------------------------- EMA


def test_ema_equals_its_closed_form_over_50_updates():
    net = torch.nn.Linear(3, 2).double()
    ema = EMA(net, 0.8)
    history, decays = [net.weight.detach().clone()], []
    for n in range(50):
        with torch.no_grad():
            net.weight.add_(torch.randn_like(net.weight))
        history.append(net.weight.detach().clone())
        decays.append(min(0.8, (1 + n) / (10 + n)))
        ema.update()
    expected = torch.zeros_like(net.weight)
    for index, value in enumerate(history):
        share = 1.0 if index == 0 else 1 - decays[index - 1]
        for decay in decays[index:]:
            share *= decay
        expected += share * value
    torch.testing.assert_close(ema.shadow.weight, expected, rtol=1e-12, atol=1e-12)
    assert ema.num_updates == 50
    assert ema.current_decay() == 0.8


def test_ema_follows_every_tensor_by_name():
    model = tiny_model(g_blur=True)
    shadow = model.ema.shadow
    assert list(shadow.state_dict()) == list(model.netG.state_dict())
    for _ in range(4):
        train_step(model)
    state = model.netG.state_dict()
    for name, tensor in shadow.state_dict().items():
        if name.endswith((".blur", "num_batches_tracked")):
            assert torch.equal(tensor, state[name]), name
        else:
            assert not torch.equal(tensor, state[name]), name
    assert not any(p.requires_grad for p in shadow.parameters())


def test_ema_with_decay_0_is_the_network():
    net = torch.nn.Linear(2, 2)
    ema = EMA(net, 0.0)
    with torch.no_grad():
        net.weight.add_(1)
    assert not torch.equal(ema.shadow.weight, net.weight)
    ema.update()
    assert torch.equal(ema.shadow.weight, net.weight)


def test_ema_is_updated_once_a_step_and_restored():
    model = tiny_model(accum_steps=2)
    for _ in range(3):
        train_step(model)
    assert model.ema.num_updates == 3
    other = EMA(tiny_model(seed=5).netG)
    other.load_state_dict(model.ema.state_dict())
    assert other.num_updates == 3
    for name, tensor in other.shadow.state_dict().items():
        assert torch.equal(tensor, model.ema.shadow.state_dict()[name])


def test_ema_of_half_precision_is_kept_in_float32():
    net = torch.nn.Linear(4, 4).to(torch.bfloat16)
    ema = EMA(net, 0.999)
    assert ema.shadow.weight.dtype == torch.float32
    with torch.no_grad():
        net.weight.fill_(1.0)
    ema.update()
    assert ema.shadow.weight.mean() > 0.5


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0, float("nan")])
def test_ema_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="ema_decay"):
        EMA(torch.nn.Linear(1, 1), decay)


# ----------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("image_size", 100), ("input_nc", 2), ("ngf", 0), ("ndf", 0), ("embedding_num", 0), ("embedding_dim", 0)],
        *[("norm_type", "x"), ("up_mode", "x"), ("dropout", 1.0), ("L1_penalty", -1.0), ("lr", 0.0), ("lr_D", -1.0)],
        *[("Lconst_penalty", float("nan")), ("Lcategory_penalty", -1.0), ("ema_decay", 1.0), ("accum_steps", 0)],
    ],
)
def test_config_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError, match=field):
        Zi2ZiConfig(**{field: value})


# ------------------------------------------------------------------------------------------------- precision


def gradients(model):
    return {
        name: torch.cat(
            [parameter.grad.flatten().float() for parameter in net.parameters() if parameter.grad is not None]
        )
        for name, net in (("G", model.netG), ("D", model.netD))
    }


@pytest.mark.parametrize("accum_steps", [1, 2])
def test_bf16_trains_as_float32_does_and_keeps_its_weights(accum_steps):
    found = []
    for amp in ("off", "bf16"):
        model = tiny_model(amp=amp, accum_steps=accum_steps, norm_type="instance")
        model.set_input(*tiny_batch())
        losses = model.optimize_parameters()
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        assert {parameter.dtype for net in (model.netG, model.netD) for parameter in net.parameters()} == {
            torch.float32
        }
        assert {tensor.dtype for tensor in model.ema.shadow.parameters()} == {torch.float32}
        found.append((losses, gradients(model)))
    (plain, exact), (half, rounded) = found
    assert any(plain[name] != half[name] for name in plain)
    for name in plain:
        assert half[name].item() == pytest.approx(plain[name].item(), rel=0.05, abs=0.01), name
    for net in exact:
        assert torch.nn.functional.cosine_similarity(exact[net], rounded[net], dim=0) > 0.95, net


def test_in_bf16_a_pixel_that_is_surely_wrong_is_still_mended():
    net, (label, source, _) = tiny_model().netG, tiny_batch()
    with torch.no_grad():
        net.ends()[1].bias.fill_(-6.0)  # in bf16 its tanh is -1, and flat
    with torch.autocast("cpu", torch.bfloat16):
        image, _ = net(source, label)
    assert image.dtype == torch.float32
    image.sum().backward()
    assert net.ends()[1].bias.grad.abs().min() > 0


def test_drawing_does_not_wait_for_a_compiler():
    def compiler(*_):
        raise AssertionError("compiled")

    model = tiny_model()
    model.compile(backend=compiler)
    label, source, _ = tiny_batch()
    assert torch.equal(model.sample(source, label, "raw"), tiny_model().sample(source, label, "raw"))
    with pytest.raises(Exception, match="compiled"):
        train_step(model)


def test_drawing_is_in_float32_whatever_training_is():
    model = tiny_model(amp="bf16")
    source, label = tiny_batch()[1], tiny_batch()[0]
    assert torch.equal(model.sample(source, label), tiny_model().sample(source, label))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_that_overflows_is_left_out_by_the_average_too(optimizer):
    """With fp16, at a scale that no gradient survives, until the scaler has come down."""
    model = tiny_model(amp="fp16", optimizer=optimizer)
    model.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    model.ema.shadow.embedder.weight.add_(1.0)  # so that an update that took place is seen
    before = {name: tensor.clone() for name, tensor in model.netG.named_parameters()}
    shadow = model.ema.shadow.embedder.weight.clone()
    model.set_input(*tiny_batch())
    model.optimize_parameters()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.netG.named_parameters())
    assert torch.equal(model.ema.shadow.embedder.weight, shadow)
    assert model.scaler.get_scale() < 2.0**127
    model.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    model.optimize_parameters()
    assert not torch.equal(model.ema.shadow.embedder.weight, shadow)
    assert all(tensor.isfinite().all() for tensor in model.ema.shadow.state_dict().values())


def test_the_average_follows_what_is_trained_beside_frozen_weights():
    """These have a state, of the time before they were frozen, whose count of steps stays as it is."""
    before, model = tiny_model(), tiny_model(freeze_encoder=True, amp="fp16")
    before.set_input(*tiny_batch())
    before.optimize_parameters()
    model.optimizer_G.load_state_dict(before.optimizer_G.state_dict())
    model.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    model.ema.shadow.embedder.weight.add_(1.0)
    shadow = model.ema.shadow.embedder.weight.clone()
    model.set_input(*tiny_batch())
    model.optimize_parameters()
    assert not torch.equal(model.ema.shadow.embedder.weight, shadow)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scaled_and_plain_steps_agree(optimizer):
    """The scale is taken out again before the optimizer sees the gradients, in both networks; the average follows."""
    plain, scaled = tiny_model(optimizer=optimizer), tiny_model(optimizer=optimizer)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for seed in range(3):
        for model in (plain, scaled):
            torch.manual_seed(seed)
            model.set_input(*tiny_batch(seed=seed))
            model.optimize_parameters()
    for one, other in ((plain.netG, scaled.netG), (plain.netD, scaled.netD), (plain.ema.shadow, scaled.ema.shadow)):
        for (name, tensor), expected in zip(other.named_parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6, msg=name)
