"""What is compared with what: the variants of each study, by name."""

from dataclasses import replace

from tests.study.variants import Variant
from utils.training.flags import DEFAULTS, OF_GENERATOR

# What training was before any search: the settings of the earlier ports with the blur, at one learning rate, and
# glyphs that are scaled and shifted further than by default now.
START = Variant(config={"g_blur": True}, scale=(0.92, 1.06), shift=0.03)


def changed(base: Variant, config: dict | None = None, **changes) -> Variant:
    """`base` with some fields changed, of its config or its own."""
    return replace(base, config=base.config | (config or {}), **changes)


# The discriminator takes two thirds of a step; without it and the second encoding three times as many steps are made.
NO_D = changed(START, {"Lconst_penalty": 0.0}, adversarial="none")


def with_discriminator() -> dict[str, Variant]:
    """When, how often, how large and in what form the discriminator runs."""
    return {
        "start": START,
        "no D": NO_D,
        "D every 4": changed(START, every=4),
        "ndf 8": changed(START, {"ndf": 8}),
        "adversarial x 0.1": changed(START, adversarial_weight=0.1),
        "one stage": changed(START, one_stage=True),
        "D from half": changed(START, {"Lconst_penalty": 0.0}, begin=0.5),
        "hinge": changed(START, adversarial="hinge"),
        "lsgan": changed(START, adversarial="lsgan"),
        "lr_D 2e-4": changed(START, {"lr_D": 2e-4}),
        "no const": changed(START, {"Lconst_penalty": 0.0}),
        "cosine": changed(START, schedule="cosine"),
        "batch 4": changed(START, batch_size=4),
        "plain": changed(START, {"g_blur": False}),
    }


def without_discriminator() -> dict[str, Variant]:
    """Each of the other factors by itself, where nothing else takes the time."""
    return {
        "no D": NO_D,
        "cosine": changed(NO_D, schedule="cosine"),
        "batch 8": changed(NO_D, batch_size=8),
        "lr 2e-3": changed(NO_D, {"lr": 2e-3}),
        "dropout 0": changed(NO_D, {"dropout": 0.0}),
        "more augmentation": changed(NO_D, scale=(0.8, 1.15), shift=0.08),
        "no augmentation": changed(NO_D, augment=False),
        "instance": changed(NO_D, {"norm_type": "instance"}),
        "upsample": changed(NO_D, {"up_mode": "upsample"}),
        "edge 50": changed(NO_D, edge_weight=50.0),
        "beta1 0.9": changed(NO_D, beta1=0.9),
        "batch 4": changed(NO_D, batch_size=4),
        "lr 4e-3": changed(NO_D, {"lr": 4e-3}),
        "const": changed(NO_D, {"Lconst_penalty": 15.0}),
        "pixelshuffle": changed(NO_D, {"up_mode": "pixelshuffle"}),
        "kaiming": changed(NO_D, init="kaiming"),
        "lr 5e-4": changed(NO_D, {"lr": 5e-4}),
        "plain": changed(NO_D, {"g_blur": False}),
    }


# What won by itself, to be combined: no discriminator, no dropout.
WON = changed(NO_D, {"dropout": 0.0})
MILD = {"scale": (0.96, 1.03), "shift": 0.015}


def combined() -> dict[str, Variant]:
    """What was good by itself, together."""
    return {
        "mild augmentation": changed(WON, **MILD),
        "mild, late": changed(WON, **MILD, schedule="late"),
        "mild, late, lr 2e-3": changed(WON, {"lr": 2e-3}, **MILD, schedule="late"),
        "mild, late, upsample": changed(WON, {"up_mode": "upsample"}, **MILD, schedule="late"),
        "mild, late, batch 8": changed(WON, **MILD, schedule="late", batch_size=8),
        "mild, late, edge 50": changed(WON, **MILD, schedule="late", edge_weight=50.0),
        "mild, late, beta1 0.9": changed(WON, **MILD, schedule="late", beta1=0.9),
        "mixed": changed(WON, mixed=0.5),
        "mixed 0.8": changed(WON, mixed=0.8),
        "mixed, batch 8": changed(WON, mixed=0.5, batch_size=8),
        "mixed, batch 4": changed(WON, mixed=0.5, batch_size=4),
        "mixed, dropout 0.5": changed(NO_D, mixed=0.5),
        "mixed, no augmentation": changed(WON, mixed=0.5, augment=False),
        "won": WON,
        "won, no augmentation": changed(WON, augment=False),
        "won, mild": changed(WON, **MILD),
        "won, beta1 0.9": changed(WON, beta1=0.9),
        "won, lr 2e-3, warm-up": changed(WON, {"lr": 2e-3}, warm_up=0.05),
        "won, batch 8": changed(WON, batch_size=8),
        "won, batch 32": changed(WON, batch_size=32),
        "won, batch 32, lr 2e-3": changed(WON, {"lr": 2e-3}, batch_size=32),
        "mild, dropout 0.5, ink 0.5": changed(NO_D, **MILD, ink_weight=0.5),
        "mild, dropout 0.5, ink 1": changed(NO_D, **MILD, ink_weight=1.0),
        "mild, dropout 0.5": changed(NO_D, **MILD),
        "edge 50": changed(WON, edge_weight=50.0),
        "D every 8": changed(WON, **RARE),
    }


# A discriminator that is asked one step in eight.
RARE = {"adversarial": "bce", "every": 8, "adversarial_weight": 0.1}

# The program's own step: the defaults of train.py, the same with zi2zi's levels, which were the default before, and the
# settings of the earlier ports (here with EMA beside, for comparison).
OF_DEFAULT = ("Ladv_penalty", "Lconst_penalty", "ink_weight", "optimizer", "generator", "up_mode", "dropout", "deform")
DEFAULT = Variant(config={"g_blur": True} | {name: DEFAULTS[name] for name in OF_DEFAULT}, program=True)
PLAIN_LEVELS = changed(DEFAULT, {"generator": "zi2zi", **OF_GENERATOR["zi2zi"]})
ZI2ZI = Variant(program=True, halved_after=20)


def longer() -> dict[str, Variant]:
    """For a longer run, in which a network begins to know its characters by heart: against that, dropout."""
    return {
        "no dropout": replace(WON, program=True, config=WON.config | {"Ladv_penalty": 0.0}),
        "dropout 0.5, mild": changed(replace(NO_D, program=True), {"Ladv_penalty": 0.0}, **MILD),
    }


def optimizer() -> dict[str, Variant]:
    """What trains the generator, how fast, and with it once more what had been chosen with Adam."""
    return {
        "adam": changed(PLAIN_LEVELS, {"optimizer": "adam"}),
        "muon": PLAIN_LEVELS,
        "muon, lr 5e-4": changed(PLAIN_LEVELS, {"lr": 5e-4}),
        "muon, lr 2e-3": changed(PLAIN_LEVELS, {"lr": 2e-3}),
        "muon, batch 8": changed(PLAIN_LEVELS, batch_size=8),
        "muon, late": changed(PLAIN_LEVELS, schedule="late"),
        "muon, ink weight 0": changed(PLAIN_LEVELS, {"ink_weight": 0.0}),
        "muon, ink weight 0.2": changed(PLAIN_LEVELS, {"ink_weight": 0.2}),
        "muon, no dropout": changed(PLAIN_LEVELS, {"dropout": 0.0}),
    }


def schedules() -> dict[str, Variant]:
    """Whether raw weights at the end of a falling learning rate are better than an average at a constant one."""
    return {
        "constant": PLAIN_LEVELS,
        "late": changed(PLAIN_LEVELS, schedule="late"),
        "linear": changed(PLAIN_LEVELS, schedule="linear"),
        "cosine": changed(PLAIN_LEVELS, schedule="cosine"),
        "halved": changed(PLAIN_LEVELS, halved_after=10),
    }


def adversarial() -> dict[str, Variant]:
    """Whether a discriminator helps where the target's strokes can't be foretold, as in a brush font."""
    return {
        "default": PLAIN_LEVELS,
        "adversarial": changed(PLAIN_LEVELS, {"Ladv_penalty": 1.0}),
        "adversarial, L1 x 0.3": changed(PLAIN_LEVELS, {"Ladv_penalty": 1.0, "L1_penalty": 30.0}),
        "adversarial, L1 x 0.1": changed(PLAIN_LEVELS, {"Ladv_penalty": 1.0, "L1_penalty": 10.0}),
    }


def generators() -> dict[str, Variant]:
    """The kinds of levels that a generator can have, and whether it moves strokes first."""
    residual, zi2zi = (changed(variant, {"amp": "bf16"}) for variant in (DEFAULT, PLAIN_LEVELS))
    return {
        "zi2zi": zi2zi,
        "zi2zi, deform": changed(zi2zi, {"deform": True}),
        "residual": changed(residual, {"deform": False}),
        "residual, warp 1": changed(residual, {"deform": False}, warp=1.0),
        "residual, deform": residual,
        "residual, deform, without blur": changed(residual, {"g_blur": False}),
        "residual, deform, foretold 0.25": changed(residual, foretold=0.25),
        "residual, deform, foretold 0.5": changed(residual, foretold=0.5),
        "residual, deform, warp 0.5": changed(residual, warp=0.5),
        "residual, deform, warp 1": changed(residual, warp=1.0),
    }


def few_shot() -> dict[str, Variant]:
    """How to learn a style of few characters from the base, and what it is worth beside nothing."""
    nothing = changed(DEFAULT, {"amp": "bf16", "ngf": 32, "image_size": 256})
    base = changed(DEFAULT, {"amp": "bf16"}, with_base=True)
    return {
        "nothing": nothing,
        "nothing, 64 filters": changed(nothing, {"ngf": 64}),  # the defaults before there was a base
        "base": base,
        "base, mean style": changed(base, style="mean"),
        "base, styling 20": changed(base, styling=20),
        "base, lr 3e-4": changed(base, {"lr": 3e-4}),
        "base, lr 5e-4": changed(base, {"lr": 5e-4}),
        "base, lr 2e-3": changed(base, {"lr": 2e-3}),
        "base, lr 2e-4": changed(base, {"lr": 2e-4}),
        "base, lr 1e-4": changed(base, {"lr": 1e-4}),
        "base, late": changed(base, schedule="late"),
        "base, lr 5e-4, warp 1": changed(base, {"lr": 5e-4}, warp=1.0),
        "base, lr 2e-4, warp 1": changed(base, {"lr": 2e-4}, warp=1.0),
        "base, lr 5e-4, kept deformer": changed(base, {"lr": 5e-4}, keep_deformer=True),
        "base, lr 2e-4, kept deformer": changed(base, {"lr": 2e-4}, keep_deformer=True),
        "base, lr 2e-4, frozen encoder": changed(base, {"lr": 2e-4, "freeze_encoder": True}),
        "base, lr 2e-4, dropout 0.3": changed(base, {"lr": 2e-4, "dropout": 0.3}),
        "base, frozen encoder": changed(base, {"freeze_encoder": True}),
        "base, warp 0.5": changed(base, warp=0.5),
        "base, warp 1": changed(base, warp=1.0),
        "base, dropout 0": changed(base, {"dropout": 0.0}),
        "base, batch 8": changed(base, batch_size=8),
    }


STUDIES: dict[str, dict[str, Variant]] = {
    "with_discriminator": with_discriminator(),
    "without_discriminator": without_discriminator(),
    "combined": combined(),
    "longer": longer(),
    "optimizer": optimizer(),
    "schedules": schedules(),
    "adversarial": adversarial(),
    "generators": generators(),
    "few_shot": few_shot(),
    # By the names of when these were made.
    "final": {
        "default": PLAIN_LEVELS,
        "default without blur": changed(PLAIN_LEVELS, {"g_blur": False}),
        "zi2zi": ZI2ZI,
    },
}
