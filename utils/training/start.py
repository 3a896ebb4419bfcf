"""Making a training ready: everything is checked, and nothing written."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from utils.cli import say
from utils.data.open import open_data
from utils.errors import UserError
from utils.training.options import (
    amp_line,
    idle_flags_line,
    resolve_options,
    settle_labels,
    small_default_line,
)
from utils.training.recorded import NOT_RECORDED, changes_on_resume, check_recorded
from utils.training.resume import choose_step, clear, find_pretrained, find_resume_steps, set_aside_later

if TYPE_CHECKING:
    from utils.distributed import Ranks
    from utils.experiment.config import Paths
    from utils.training.trainer import Trainer


def prepare(
    parser: argparse.ArgumentParser, args: argparse.Namespace, paths: "Paths", ranks: "Ranks", warning: str | None
) -> "tuple[Trainer, Callable[[], None]]":
    """Join the rooms; whatever can be checked is checked here, and nothing is written.

    Returns what trains, and what all processes call before that: it has them agree, and makes the folder ready.
    """
    import torch

    from model import Zi2ZiConfig, Zi2ZiModel
    from utils.device import check_ways, default_amp, tune
    from utils.experiment import checkpoint, pth
    from utils.experiment.config import FORMAT, read_config
    from utils.files import write_json
    from utils.images import grid_maker
    from utils.training.memory import cut_steps, fewest_cut
    from utils.training.state import check_parts
    from utils.training.trainer import Trainer

    device = ranks.device
    steps = find_resume_steps(args, paths)
    config = read_config(paths) if steps else None
    if steps and config is None:
        raise UserError(f"{paths.config} is gone: without it the checkpoints beside it can't be resumed")
    pretrained = find_pretrained(args, paths) if not steps else None
    if pretrained and not args.fine_tune:
        config = read_config(paths)  # of a run from these weights that ended before its first checkpoint
    if config:
        check_recorded(parser, config["training"], str(paths.config))
    architecture = pretrained.architecture if pretrained else {}
    options = resolve_options(args, paths, config, architecture, on_cuda=device.type == "cuda", amp=default_amp(device))
    if options.batch_size % ranks.count:
        raise UserError(f"--batch_size {options.batch_size} is shared by {ranks.count} processes: make it a multiple")
    check_ways(device, options.amp, options.compile)
    grid_maker()  # the first sheet is drawn when there is something to lose
    say(warning)
    say(*(changes_on_resume(args, options, config) if config else [small_default_line(args, options)]))

    say(idle_flags_line(args, options), amp_line(args, options, device.type))
    data = open_data(args, options, config, pretrained.earlier if pretrained else None)
    settle_labels(options, data.labels)
    if pretrained and options.fine_tune:
        pretrained, said = pretrained.for_labels(data, options.embedding_num)
        say(*said)
    torch.manual_seed(options.random_seed)
    try:
        model_config = Zi2ZiConfig(**{name: getattr(options, name) for name in Zi2ZiConfig.field_names()})
    except ValueError as error:
        raise UserError(f"--{error}") from error
    parts = None
    shapes = Zi2ZiModel(model_config, "meta") if steps or pretrained else None  # no memory: a misfit costs nothing
    if steps:
        parts = choose_step(paths, steps, lambda found, step: check_parts(shapes, found, paths.checkpoint, step))
    elif pretrained:
        pth.check_fit(shapes.netG, pretrained.generator, pretrained.path)
    tune(device, deterministic=options.deterministic)
    model = Zi2ZiModel(model_config, device)
    cut = fewest_cut(model, options.batch_size // ranks.count) if device.type != "cpu" else 1
    if options.compile:
        model.compile()

    def record() -> None:
        flags = {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}
        training = {name: value for name, value in flags.items() if name not in asdict(model_config)}
        content = {"format": FORMAT, "model": asdict(model_config), "data": data.describe(), "training": training}
        if pretrained and not options.fine_tune:
            content["went_on_from"] = pretrained.step
        write_json(paths.config, content)

    trainer = Trainer(model, data, options, paths, on_change=record, ranks=ranks)
    say(trainer.validation_line())
    trainer.check_disk()
    has_no_judge = checkpoint.DISCRIMINATOR not in parts if parts else pretrained and pretrained.discriminator is None
    if options.Ladv_penalty and has_no_judge:
        say("there is no trained discriminator: it starts from its seed")
    if pretrained:
        trainer.start_from(pretrained, step=0 if options.fine_tune else pretrained.step)
    if parts:
        trainer.load(parts, parts[checkpoint.STATE]["step"])
        say(f"going on from step {trainer.step}")
        parts.clear()
    elif pretrained:
        say(f"starting at step {trainer.step} from the weights alone of {pretrained.path}, with a fresh optimizer")
    elif args.resume:
        say(f"nothing to resume in {paths.root}: starting at step 0")

    def begin() -> None:
        say(cut_steps(model, options.batch_size, ranks.count, ranks.most(cut)))
        if not ranks.is_main:
            return
        if steps:
            say(set_aside_later(paths, trainer.step))
        if args.overwrite:
            clear(paths)
        for folder in (paths.checkpoint, paths.sample):
            folder.mkdir(exist_ok=True)
        record()

    return trainer, begin
