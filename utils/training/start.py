"""Making a training ready: everything is checked, and nothing written, until it begins."""

import contextlib
import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model import Zi2ZiConfig, Zi2ZiModel
from utils.data.font_pairs import Earlier, FontData, Split
from utils.data.open import data_from_config
from utils.data.pairs import PairData
from utils.data.record_pairs import RecordData
from utils.device import check_ways, choose_device, default_amp, tune
from utils.distributed import Ranks, joined
from utils.errors import UserError, abbreviate
from utils.experiment import checkpoint, pth
from utils.experiment.config import FORMAT, Paths
from utils.experiment.marks import LEAVE_OUT, REDRAW, marked, read_marks
from utils.files import locked, write_json
from utils.glyphs.charset import read_charset
from utils.images import grid_maker
from utils.messages import _
from utils.training import base
from utils.training.board import check_installed
from utils.training.flags import DEFAULTS, TrainOptions
from utils.training.memory import cut_steps, fewest_cut
from utils.training.options import (
    Choice,
    amp_line,
    idle_flags_lines,
    is_bundled,
    resolve_options,
    small_default_line,
    with_implied,
    with_labels,
)
from utils.training.pretrained import Pretrained
from utils.training.recorded import changes_on_resume
from utils.training.resume import Origin, begun_before, clean, clear, find_origin, set_aside_later
from utils.training.state import check_parts
from utils.training.styles import take_likest
from utils.training.trainer import Trainer

logger = logging.getLogger(__name__)


def train(given: Mapping[str, Any]) -> int:
    """Train, alone in the folder of the experiment, or as one of the processes that torchrun started."""
    paths = Paths(Path(given.get("experiment_dir", DEFAULTS["experiment_dir"])))
    device = choose_device(given.get("gpu_ids"))
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            if ranks.is_main:
                stack.enter_context(locked(paths.root, ".training.lock", _("training in")))
                clean(paths)
        with ranks.together():
            ready = make_ready(given, paths, ranks)
        with ranks.together():
            ready.begin()
        return ready.trainer.train()


def dry_run(given: Mapping[str, Any]) -> int:
    """Say what every value would be and where it comes from, and count the pairs; nothing is written."""
    paths = Paths(Path(given.get("experiment_dir", DEFAULTS["experiment_dir"])))
    plan = make_plan(given, paths, choose_device(given.get("gpu_ids")), processes=1)
    for line in plan.choice.lines():
        logger.info(line)
    trained, validation = plan.data.split_validation(plan.options.val_ratio, plan.options.random_seed)
    held_out = len(plan.data.held_out_pairs)
    logger.info(
        _(
            "{count} pairs to train on, {total} for validation, {held_out} held out",
            count=len(trained),
            total=len(validation),
            held_out=held_out,
        )
    )
    return 0


@dataclass(frozen=True)
class Plan:
    """What a training would be: its flags, what it starts from, its data."""

    paths: Paths
    origin: Origin
    choice: Choice
    data: PairData
    pretrained: Pretrained | None  # of the origin, for the labels of the data

    @property
    def options(self) -> TrainOptions:
        """The value of every flag."""
        return self.choice.options


def make_plan(given: Mapping[str, Any], paths: Paths, device: torch.device, processes: int) -> Plan:
    """Choose every value, and open the data.

    Raises:
        UserError: when the flags, or what lies in the experiment, don't allow it.
    """
    asked = with_implied(given)
    begun = begun_before(asked, paths)
    given = {**begun, **asked}
    origin = find_origin(given, paths)
    on_cuda, amp = device.type == "cuda", default_amp(device)
    resolve = functools.partial(resolve_options, given, paths, on_cuda=on_cuda, amp=amp)
    choice = resolve(config=origin.config, architecture=origin.architecture)
    options = choice.options
    if options.batch_size % processes:
        raise UserError(
            _(
                "--batch_size {batch_size} is shared by {processes} processes: make it a multiple",
                batch_size=options.batch_size,
                processes=processes,
            )
        )
    check_ways(device, options.amp, options.compile)
    if options.tensorboard:
        check_installed()
    lines = changes_on_resume(given, options, origin.config) if origin.config else [small_default_line(choice)]
    log_lines([*lines, *idle_flags_lines(asked, options), amp_line(options, device.type)])
    if origin.config:
        moved_to = (given.get(name) for name in ("src_font", "dst_font", "dst_imgs", "data_dir"))
        data = data_from_config(origin.config["data"], *moved_to)
    else:
        data = open_data(options, origin.pretrained.earlier if origin.pretrained else None)
    decided = origin.config or (begun and not begun.get("fine_tune"))
    if not decided and starts_from_base(given, origin, choice, data, device.type != "cpu"):
        origin = replace(origin, pretrained=origin.pretrained or base.read_base())
        start = {"fine_tune": base.NAME, **base.learning(trained_characters(data))}
        choice = resolve(config=None, architecture=origin.architecture, start=start)
        options = choice.options
    choice, pretrained = with_labels(choice, len(data.labels)), origin.pretrained
    if pretrained and options.fine_tune:
        pretrained = pretrained.for_labels(data, choice.options.embedding_num or 0)
    return Plan(paths, origin, choice, data, pretrained)


def trained_characters(data: PairData) -> int:
    """How many characters are trained on."""
    return len({character for _label, character in data.train_pairs})


def starts_from_base(given: Mapping[str, Any], origin: Origin, choice: Choice, data: PairData, on_gpu: bool) -> bool:
    """Whether a new run starts from the base: because it is asked to, or because nothing is said and that is best."""
    if given.get("fine_tune") is not None:
        if given.get("from_scratch"):
            raise UserError(
                _("--from_scratch and --fine_tune {fine_tune} contradict each other", fine_tune=given["fine_tune"])
            )
        return given["fine_tune"] == base.NAME
    if origin.pretrained or choice.options.data_dir or is_bundled(choice.options):
        return False
    starts, line = base.suits(given, trained_characters(data), on_gpu, data.source)
    log_lines([line])
    return starts


def open_data(options: TrainOptions, earlier: Earlier | None) -> PairData:
    """The data of a new run; `earlier` is what it is fine-tuned from.

    Raises:
        UserError: when it can't be read.
    """
    if options.data_dir:
        if options.exclude_characters:
            raise UserError(_("--exclude_characters needs fonts, or drawings with names: pairs have none"))
        where, seed = Path(options.data_dir), options.random_seed
        records = RecordData.open(where, options.input_nc, options.split_ratio, seed)
        log_lines(records.summary())
        return records
    ratio, seed = options.split_ratio, options.random_seed
    excluded = characters_of(options.exclude_characters) if options.exclude_characters else ""
    if excluded:
        logger.info(
            _(
                "--exclude_characters: {count} characters are not learned: {excluded}",
                count=len(excluded),
                excluded=abbreviate(excluded),
            )
        )
    split = Split(ratio, seed, options.val_ratio, earlier, options.all_sources, options.generated, excluded)
    targets = options.dst_font or [], options.dst_imgs or []
    data = FontData.from_fonts(options.src_font or "", *targets, options.charset, split)
    log_lines(data.summary())
    if earlier is not None:
        log_lines(data.kept_lines(earlier, options.fine_tune or ""))
    return data


def characters_of(place: str) -> str:
    """The characters of charsets joined by +, and those that a review.json marks to be redrawn or left out."""
    parts = [place] if Path(place).is_file() else place.split("+")
    reviews = [part for part in parts if Path(part).suffix == ".json"]
    others = [part for part in parts if part not in reviews]
    found = [marked(read_marks(Path(review)), (REDRAW, LEAVE_OUT)) for review in reviews]
    return "".join([*found, read_charset("+".join(others)) if others else ""])


def log_lines(lines: Iterable[str | None]) -> None:
    """Say each line that there is."""
    for line in filter(None, lines):
        logger.info(line)


@dataclass(frozen=True)
class Ready:
    """A training that can begin."""

    plan: Plan
    trainer: Trainer
    ranks: Ranks
    cut: int  # how many micro-batches a process has to cut its share of a batch into
    overwrite: bool

    def begin(self) -> None:
        """Have all processes agree, and make the folder ready."""
        options, paths = self.plan.options, self.plan.paths
        cut_steps(self.trainer.model, options.batch_size, self.ranks.count, self.ranks.most(self.cut))
        if not self.ranks.is_main:
            return
        if self.plan.origin.steps:
            set_aside_later(paths, self.trainer.step)
        if self.overwrite:
            clear(paths)
        for folder in (paths.checkpoint, paths.sample):
            folder.mkdir(exist_ok=True)
        self.trainer.record(self.trainer.options)


def make_ready(given: Mapping[str, Any], paths: Paths, ranks: Ranks) -> Ready:
    """Check whatever can be checked, and make what trains; nothing is written.

    Raises:
        UserError: when it can't be trained.
    """
    grid_maker()  # the first sheet is drawn when there is something to lose
    plan = make_plan(given, paths, ranks.device, ranks.count)
    options = plan.options
    torch.manual_seed(options.random_seed)
    config = model_config(options)
    parts = read_checked(plan, config)
    tune(ranks.device, deterministic=options.deterministic)
    model = Zi2ZiModel(config, ranks.device)
    cut = fewest_cut(model, options.batch_size // ranks.count) if ranks.device.type != "cpu" else 1
    if options.compile:
        model.compile()
    trainer = Trainer(model, plan.data, options, paths, lambda options: record(plan, options), ranks)
    say_validation(plan)
    trainer.check_disk()
    go_on(trainer, plan, parts, bool(given.get("resume")))
    return Ready(plan, trainer, ranks, cut, bool(given.get("overwrite")))


def model_config(options: TrainOptions) -> Zi2ZiConfig:
    """What a model is and how it learns, as the flags say.

    Raises:
        UserError: for the first value that is out of range.
    """
    try:
        return Zi2ZiConfig(**{name: getattr(options, name) for name in Zi2ZiConfig.field_names()})
    except ValueError as error:
        raise UserError(f"--{error}") from error


def read_checked(plan: Plan, config: Zi2ZiConfig) -> dict[str, dict[str, Any]]:
    """The parts of the newest checkpoint that fits; none where there is none to go on from.

    Raises:
        UserError: when no checkpoint fits, or the weights to start from don't.
    """
    if not plan.origin.steps and not plan.pretrained:
        return {}
    shapes = Zi2ZiModel(config, "meta")  # no memory: a misfit costs nothing
    if plan.pretrained:
        pth.check_fit(shapes.netG, plan.pretrained.generator, plan.pretrained.path)
        return {}
    folder = plan.paths.checkpoint
    return checkpoint.newest_fitting(
        folder, plan.origin.steps, lambda parts, step: check_parts(shapes, parts, folder, step)
    )


def record(plan: Plan, options: TrainOptions) -> None:
    """Write config.json."""
    model = asdict(model_config(options))
    training = {name: value for name, value in asdict(options).items() if name not in model}
    content = {"format": FORMAT, "model": model, "data": plan.data.describe(), "training": training}
    if plan.pretrained and not options.fine_tune:
        content["went_on_from"] = plan.pretrained.step
    write_json(plan.paths.config, content)


def say_validation(plan: Plan) -> None:
    """Say how many characters choose the best checkpoint."""
    count = len(plan.data.validation_keys(plan.options.val_ratio, plan.options.random_seed))
    if count:
        logger.info(
            _(
                "{count} of these are for validation: they choose the best checkpoint, and are not trained on",
                count=count,
            )
        )


def begin_in_known_styles(trainer: Trainer, pretrained: Pretrained) -> None:
    """Let new labels begin in the known styles that are most like them, and say which these are."""
    known = pretrained.before
    if not (known and pretrained.new):
        return
    found = take_likest(trainer.model, known.styles, pretrained.new, trainer.pairs.data, trainer.pairs.pairs)
    for label, row in found.items():
        what = f"label {label} {pretrained.labels[label]}"
        logger.info(
            _(
                "{what} begins in the style of label {row} {label}, which is most like it",
                what=what,
                row=row,
                label=known.labels[row],
            )
        )


def go_on(trainer: Trainer, plan: Plan, parts: dict[str, dict[str, Any]], asked: bool) -> None:
    """Take over what there is to go on from, and say so; `asked` is whether --resume was given.

    Raises:
        UserError: when it does not fit.
    """
    pretrained, options = plan.pretrained, plan.options
    known = checkpoint.DISCRIMINATOR in parts or (pretrained is not None and pretrained.discriminator is not None)
    if options.Ladv_penalty and (parts or pretrained) and not known:
        logger.info(_("there is no trained discriminator: it starts untrained"))
    if pretrained:
        trainer.start_from(pretrained, step=0 if options.fine_tune else pretrained.step)
        begin_in_known_styles(trainer, pretrained)
        where = _("from the weights alone of {path}, with a fresh optimizer", path=pretrained.path)
        logger.info(_("starting at step {step} {where}", step=trainer.step, where=where))
    elif parts:
        trainer.load(parts, parts[checkpoint.STATE]["step"])
        logger.info(_("resuming from step {step}", step=trainer.step))
    elif asked:
        logger.info(_("nothing to resume in {root}: starting at step 0", root=plan.paths.root))
