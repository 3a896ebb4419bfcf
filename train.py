"""Train zi2zi on pairs of glyphs: the same characters in a source font and in one or more target fonts."""

import argparse
import contextlib
import sys
from pathlib import Path

from utils.cli import Parser, add_flag, at_least, run_script, step_latest_or_best
from utils.training.options import (
    AMP,
    DEFAULTS,
    OPTIMIZERS,
    RECIPES,
)


def build_parser() -> Parser:
    """The command line of train.py; every default is None until `resolve` chooses the values."""
    parser = Parser(prog="train.py", description=__doc__)

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    data = parser.add_argument_group("data")
    flag(data, "src_font", "font that has every character: .ttf, .otf, or .ttc#INDEX (default: a bundled sans)")
    flag(data, "dst_font", "fonts to learn, each a label in this order (default: a bundled kai)", nargs="+")
    flag(data, "dst_imgs", "folders of drawn glyphs to learn, named 永.png or U+6C38.png, further labels", nargs="+")
    flag(data, "data_dir", "pairs side by side: a folder with train.obj or pictures (default: EXPERIMENT_DIR/data)")
    flag(data, "charset", "big5_1, big5, gb2312_1, gb2312, jis_1, ksx1001 or a text file (default: all shared Han)")
    flag(data, "split_ratio", "share of the characters that is held out, 0 to 0.9", type=float)
    flag(data, "val_ratio", "share of the others that chooses the best checkpoint, 0 to 0.9; 0: none", type=float)
    flag(data, "augment", "scale and shift both glyphs of a pair alike")
    flag(
        data, "num_workers", "processes that render glyphs (default 0 on the CPU, else up to 4)", type=at_least(0, 256)
    )

    net = parser.add_argument_group("networks")
    flag(net, "image_size", "pixels of a side: 2^k or 3*2^k from 64 to 1024", type=int)
    flag(net, "input_nc", "channels of an image", type=int, choices=(1, 3))
    flag(net, "ngf", "filters of the generator's first level", type=int)
    flag(net, "ndf", "filters of the discriminator's first level", type=int)
    flag(net, "embedding_num", "labels there is room for (default: the number of labels)", type=int)
    flag(net, "embedding_dim", "width of a label's embedding", type=int)
    flag(net, "norm_type", "normalisation: batch or instance", choices=("batch", "instance"))
    flag(net, "up_mode", "upsampling: conv, upsample or pixelshuffle", choices=("conv", "upsample", "pixelshuffle"))
    flag(net, "g_blur", "anti-aliased downsampling in the generator")
    flag(net, "d_blur", "anti-aliased downsampling in the discriminator")
    flag(net, "dropout", "dropout in the generator's deep levels, 0 to 1", type=float)

    learning = parser.add_argument_group("learning")
    flag(
        learning,
        "epoch",
        "passes over the data (default 100, where no other length is given; on CUDA --max_minutes 60 --early_stop 10)",
        type=at_least(1),
    )
    flag(learning, "max_steps", "steps to end at", type=at_least(1))
    flag(learning, "max_minutes", "time the steps and set --max_steps so that the run takes so long", type=float)
    flag(learning, "batch_size", "pairs in a micro-batch, of all processes together", type=at_least(1, 8192))
    flag(learning, "accum_steps", "micro-batches in a step", type=at_least(1))
    flag(learning, "optimizer", "what trains the generator: muon or adam", choices=OPTIMIZERS)
    flag(learning, "lr", "learning rate of the generator", type=float)
    flag(learning, "lr_D", "learning rate of the discriminator (default: as --lr)", type=float)
    flag(learning, "schedule", "epochs after which the learning rates halve, each time; 0: never", type=at_least(0))
    flag(learning, "recipe", "zi2zi: the settings of the earlier ports where no flag says otherwise", choices=RECIPES)
    flag(learning, "L1_penalty", "weight of the L1 loss", type=float)
    flag(learning, "ink_weight", "how much more an error in ink counts than one in paper in the L1 loss", type=float)
    flag(learning, "Ladv_penalty", "weight of the adversarial loss; 0: no discriminator", type=float)
    flag(learning, "Lconst_penalty", "weight of the constant-encoding loss", type=float)
    flag(learning, "Lcategory_penalty", "weight of the discriminator's category loss", type=float)
    flag(learning, "ema_decay", "decay of the EMA weights, 0 to 1; 0 turns EMA off", type=float)
    flag(learning, "sharpness", "contrast of what is drawn with the weights; the training is the same", type=float)
    flag(learning, "fine_tune", "start from the weights of another experiment, or of an earlier port", metavar="PATH")
    flag(learning, "freeze_encoder", "keep the generator's encoder as it is, when fine-tuning")
    flag(
        learning,
        "amp",
        "precision of a step: off, bf16 or fp16 (default: what the GPU or the CPU has units for)",
        choices=AMP,
    )
    flag(learning, "compile", "compile both networks with torch.compile, which takes minutes at the first steps")
    flag(learning, "random_seed", "seed of the split, the weights, the order and the augmentation", type=at_least(0))

    run = parser.add_argument_group("run")
    flag(run, "experiment_dir", "folder of the experiment")
    flag(run, "gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", nargs="+", metavar="ID")
    flag(run, "resume", "go on from a checkpoint: latest, best, or a step", type=step_latest_or_best)
    flag(run, "overwrite", "start anew where an experiment is already, deleting it", action="store_true")
    flag(run, "checkpoint_steps", "steps between checkpoints", type=at_least(1))
    flag(
        run,
        "checkpoint_minutes",
        "minutes between checkpoints, in place of steps; 0: by --checkpoint_steps (default 0, on CUDA 10)",
        type=float,
    )
    flag(
        run,
        "keep_checkpoints",
        "newest checkpoints to keep, beside the best: two whole, of older ones the weights to draw with",
        type=at_least(1),
    )
    flag(run, "checkpoint_only_last", "the same as --keep_checkpoints 1", action="store_true")
    flag(
        run,
        "sample_steps",
        "steps between sheets of held-out characters, and between scores; 0: every minute (default 100, on CUDA 0)",
        type=at_least(0),
    )
    flag(run, "deterministic", "compute the same bits each time, on CUDA too, where it is slower")
    flag(run, "early_stop", "scores in a row without a gain that end the run; 0: never", type=at_least(0))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run train.py with `argv`; returns the exit code, exits with 2 on a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Train, alone in the folder of the experiment, or as one of the processes that torchrun started."""
    from utils.device import choose_device
    from utils.distributed import joined
    from utils.experiment.config import Paths
    from utils.files import locked
    from utils.training.resume import clean
    from utils.training.start import prepare

    paths = Paths(Path(args.experiment_dir or DEFAULTS["experiment_dir"]))
    device, warning = choose_device(args.gpu_ids)
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            if ranks.is_main:
                stack.enter_context(locked(paths.root, ".training.lock", "training in"))
                clean(paths)
        with ranks.together():
            trainer, begin = prepare(build_parser(), args, paths, ranks, warning)
        with ranks.together():
            begin()
        return trainer.train()


if __name__ == "__main__":
    sys.exit(main())
