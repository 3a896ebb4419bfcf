"""The flags of train.py, the recipes, and what travels once every value is chosen."""

from dataclasses import dataclass, fields
from typing import Any

from utils.cli import Flag, FlagTable, Kept, at_least, defaults_in, flags_in, step_latest_or_best

AMP = ("off", "bf16", "fp16")
GENERATORS = ("zi2zi", "residual")
OPTIMIZERS = ("muon", "adam")
# In place of the defaults: how the earlier ports were trained, without blur and EMA.
RECIPES: dict[str, dict[str, Any]] = {
    "zi2zi": {
        "generator": "zi2zi",
        "deform": False,
        "g_blur": False,
        "d_blur": False,
        "dropout": 0.5,
        "L1_penalty": 100.0,
        "ink_weight": 0.0,
        "Ladv_penalty": 1.0,
        "Lconst_penalty": 15.0,
        "Lcategory_penalty": 1.0,
        "optimizer": "adam",
        "lr": 0.001,
        "schedule": 20,
        "ema_decay": 0.0,
        "sharpness": 1.0,
        "weight_bias": 0.0,
    }
}

# What suits a kind of generator, in place of the defaults.
OF_GENERATOR: dict[str, dict[str, Any]] = {
    "residual": {},
    "zi2zi": {"up_mode": "conv", "dropout": 0.5, "deform": False},
}

TRAIN: FlagTable = {
    "data": (
        Flag(
            "src_font",
            "font that has every character: FILE[#INDEX][:wght=400], further ones after + (default: a bundled sans)",
            kept=Kept.SOURCE,
        ),
        Flag(
            "all_sources",
            "train on the characters of all fonts of --src_font (default: of the first alone)",
            bool,
            False,
            kept=Kept.FIXED,
        ),
        Flag(
            "dst_font",
            "fonts to learn, each a label in this order (default: a bundled kai)",
            many=True,
            kept=Kept.SOURCE,
        ),
        Flag(
            "generated",
            "which glyphs of --dst_font were generated (default: NAME.generated.json beside it)",
            kept=Kept.SOURCE,
        ),
        Flag(
            "dst_imgs",
            "folders of drawn glyphs to learn, named 永.png or U+6C38.png, further labels",
            many=True,
            kept=Kept.SOURCE,
        ),
        Flag(
            "data_dir",
            "pairs side by side: a folder with train.obj or pictures (default: EXPERIMENT_DIR/data)",
            kept=Kept.SOURCE,
        ),
        Flag(
            "charset",
            "charsets joined by +: big5_1, hkscs, source, U+3400-4DBF, a text file (default: all shared Han)",
            kept=Kept.FIXED,
        ),
        Flag(
            "exclude_characters",
            "characters not to learn: charsets joined by +, a text file, or what a review.json marks",
            kept=Kept.FIXED,
        ),
        Flag("split_ratio", "share of the characters that is held out, 0 to 0.9", float, 0.1, kept=Kept.FIXED),
        Flag(
            "val_ratio",
            "share of the others that chooses the best checkpoint, 0 to 0.9; 0: none",
            float,
            0.05,
            kept=Kept.FIXED,
        ),
        Flag("augment", "scale and shift both glyphs of a pair alike", bool, True),
        Flag("warp", "stretch, shear, turn and shift them instead, so many times, 0 (off) to 3", float, 0.0),
        Flag(
            "num_workers",
            "processes that render glyphs (default 0 on the CPU, else up to 4)",
            at_least(0, 256),
            kept=Kept.MACHINE,
        ),
    ),
    "networks": (
        Flag("image_size", "pixels of a side: 2^k or 3*2^k from 64 to 1024", int, 256, kept=Kept.FIXED),
        Flag("input_nc", "channels of an image", int, 1, (1, 3), kept=Kept.FIXED),
        Flag(
            "generator",
            "kind of the generator's levels: residual, or zi2zi as in the earlier ports",
            str,
            "residual",
            choices=GENERATORS,
            kept=Kept.FIXED,
        ),
        Flag("ngf", "filters of the generator's first level (default 64, of the base 32)", int, 64, kept=Kept.FIXED),
        Flag("ndf", "filters of the discriminator's first level", int, 64, kept=Kept.FIXED),
        Flag(
            "embedding_num",
            "labels there is room for (default: the number of labels)",
            int,
            kept=Kept.FIXED,
        ),
        Flag("embedding_dim", "width of a label's embedding", int, 128, kept=Kept.FIXED),
        Flag(
            "norm_type",
            "normalisation: batch, instance, or plain_instance, without weights",
            str,
            "batch",
            choices=("batch", "instance", "plain_instance"),
            kept=Kept.FIXED,
        ),
        Flag(
            "up_mode",
            "upsampling: conv, upsample or pixelshuffle (default upsample, zi2zi conv)",
            str,
            "upsample",
            choices=("conv", "upsample", "pixelshuffle"),
            kept=Kept.FIXED,
        ),
        Flag("g_blur", "anti-aliased downsampling in the generator", bool, True, kept=Kept.FIXED),
        Flag("d_blur", "anti-aliased downsampling in the discriminator", bool, False, kept=Kept.FIXED),
        Flag(
            "deform",
            "move strokes to where the target has them before drawing (default true, zi2zi false)",
            bool,
            True,
            kept=Kept.FIXED,
        ),
        Flag(
            "skip", "of zi2zi's levels: join by channels or by a sum", str, "concat", ("concat", "add"), kept=Kept.FIXED
        ),
        Flag(
            "attention", "of zi2zi's levels, those with self-attention, from the outside: 3,4", str, "", kept=Kept.FIXED
        ),
        Flag("levels", "of zi2zi's U-Net; 0: down to 1 or 3 pixels", int, 0, kept=Kept.FIXED),
        Flag("dropout", "dropout in the generator's deep levels, 0 to 1 (default 0.1, zi2zi 0.5)", float, 0.1),
    ),
    "learning": (
        Flag(
            "epoch",
            "passes over the data "
            "(default 100, where no other length is given; from the base some hundred steps, else on CUDA "
            "--max_minutes 60 --early_stop 10)",
            at_least(1),
        ),
        Flag("max_steps", "steps to end at", at_least(1)),
        Flag("max_minutes", "time the steps and set --max_steps so that the run takes so long", float),
        Flag("batch_size", "pairs in a micro-batch, of all processes together", at_least(1, 8192), 16),
        Flag("accum_steps", "micro-batches in a step", at_least(1), 1),
        Flag("optimizer", "what trains the generator: muon or adam", str, "muon", choices=OPTIMIZERS, kept=Kept.FIXED),
        Flag("lr", "learning rate of the generator (default 0.001, from the base less)", float, 0.001),
        Flag("lr_D", "learning rate of the discriminator (default: as --lr)", float),
        Flag("schedule", "epochs after which the learning rates halve, each time; 0: never", at_least(0), 0),
        Flag(
            "recipe",
            "zi2zi: the settings of the earlier ports where no flag says otherwise",
            choices=tuple(RECIPES),
            kept=Kept.FIXED,
        ),
        Flag("L1_penalty", "weight of the L1 loss", float, 100.0),
        Flag("ink_weight", "how much more an error in ink counts than one in paper in the L1 loss", float, 0.4),
        Flag("Ladv_penalty", "weight of the adversarial loss; 0: no discriminator", float, 0.0),
        Flag("Lconst_penalty", "weight of the constant-encoding loss", float, 0.0),
        Flag("Lcategory_penalty", "weight of the discriminator's category loss", float, 1.0),
        Flag("ema_decay", "decay of the EMA weights, 0 to 1; 0 turns EMA off", float, 0.999),
        Flag("sharpness", "contrast of what is drawn (default: found, so that edges are as crisp as true ones)", float),
        Flag(
            "weight_bias",
            "lightens what is drawn, below 0 thickens it (default: found, so that strokes are as wide as true ones)",
            float,
        ),
        Flag(
            "fine_tune",
            "start from the weights of another experiment, of an earlier port, or from bundled:base",
            metavar="PATH",
        ),
        Flag(
            "from_scratch",
            "train from nothing, even where the bundled base would be a better start",
            bool,
            False,
            one_way=True,
            kept=Kept.NOT,
        ),
        Flag("freeze_encoder", "keep the generator's encoder as it is, when fine-tuning", bool, False),
        Flag(
            "amp",
            "precision of a step: off, bf16 or fp16 (default: what the GPU or the CPU has units for)",
            choices=AMP,
            kept=Kept.MACHINE,
        ),
        Flag(
            "compile", "compile both networks with torch.compile, which takes minutes at the first steps", bool, False
        ),
        Flag(
            "random_seed",
            "seed of the split, the weights, the order and the augmentation",
            at_least(0),
            777,
            kept=Kept.FIXED,
        ),
    ),
    "run": (
        Flag("experiment_dir", "folder of the experiment", str, "experiments/default", kept=Kept.NOT),
        Flag(
            "gpu_ids",
            "CUDA device, -1 for the CPU, or mps (default: 0)",
            many=True,
            metavar="ID",
            kept=Kept.NOT,
        ),
        Flag("resume", "go on from a checkpoint: latest, best, or a step", step_latest_or_best, kept=Kept.NOT),
        Flag(
            "overwrite",
            "start anew where an experiment is already, deleting it",
            bool,
            False,
            one_way=True,
            kept=Kept.NOT,
        ),
        Flag("checkpoint_steps", "steps between checkpoints", at_least(1), 500),
        Flag(
            "checkpoint_minutes",
            "minutes between checkpoints, in place of steps; 0: by --checkpoint_steps (default 0, on CUDA 10)",
            float,
            kept=Kept.MACHINE,
        ),
        Flag(
            "keep_checkpoints",
            "newest checkpoints to keep, beside the best: two whole, of older ones the weights to draw with",
            at_least(1),
            3,
        ),
        Flag("checkpoint_only_last", "the same as --keep_checkpoints 1", bool, False, one_way=True, kept=Kept.NOT),
        Flag(
            "sample_steps",
            "steps between sheets of held-out characters, and between scores; 0: every minute (default 100, on CUDA 0)",
            at_least(0),
            kept=Kept.MACHINE,
        ),
        Flag("tensorboard", "write event files for TensorBoard too, to EXPERIMENT_DIR/tensorboard", bool, False),
        Flag("deterministic", "compute the same bits each time, on CUDA too, where it is slower", bool, False),
        Flag("early_stop", "scores in a row without a gain that end the run; 0: never", at_least(0), 0),
        Flag(
            "dry_run",
            "say what every value would be and where it comes from, count the pairs, and end",
            bool,
            False,
            one_way=True,
            kept=Kept.NOT,
        ),
    ),
}
FLAGS = flags_in(TRAIN)
DEFAULTS = defaults_in(TRAIN)


@dataclass(frozen=True)
class TrainOptions:
    """The value of every flag of a training, chosen; what a flag means, its help says."""

    src_font: str | None
    all_sources: bool
    dst_font: list[str] | None
    generated: str | None
    dst_imgs: list[str] | None
    data_dir: str | None
    charset: str | None
    exclude_characters: str | None
    split_ratio: float
    val_ratio: float
    augment: bool
    warp: float
    num_workers: int
    image_size: int
    input_nc: int
    generator: str
    ngf: int
    ndf: int
    embedding_num: int | None  # None until the labels are counted
    embedding_dim: int
    norm_type: str
    up_mode: str
    g_blur: bool
    d_blur: bool
    deform: bool
    skip: str
    attention: str
    levels: int
    dropout: float
    epoch: int | None
    max_steps: int | None
    max_minutes: float | None
    batch_size: int
    accum_steps: int
    optimizer: str
    lr: float
    lr_D: float
    schedule: int
    recipe: str | None
    L1_penalty: float
    ink_weight: float
    Ladv_penalty: float
    Lconst_penalty: float
    Lcategory_penalty: float
    ema_decay: float
    sharpness: float | None  # None: found with every step, as the next
    weight_bias: float | None
    fine_tune: str | None
    freeze_encoder: bool
    amp: str
    compile: bool
    random_seed: int
    checkpoint_steps: int
    checkpoint_minutes: float
    keep_checkpoints: int
    sample_steps: int
    tensorboard: bool
    deterministic: bool
    early_stop: int
    of_machine: list[str]  # the flags whose values this machine chose

    @classmethod
    def names(cls) -> list[str]:
        """The flags that there is a value of."""
        return [field.name for field in fields(cls) if field.name != "of_machine"]
