"""The cases of a campaign, and what is wrong with how one ended."""

import argparse
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from tests.campaign.mutation import make_seeds, mutate, place, read
from tests.helpers.faults import RSS_UNIT, Child, Result, SlowWrites, run_child
from tests.helpers.scripts import ROOT, TINY_FLAGS, assert_same, states, strays
from utils.experiment import checkpoint

Seeds = dict[str, list[Path]]
SECONDS, MEMORY = 20, 2 * 10**9  # more of either is a failure
KINDS = ("font", "image", "obj", "pth", "config", "text", "pth", "font", "image", "manifest", "log", "config")


# ------------------------------------------------------------------------------------------------- inputs


def judge(result: Result) -> str | None:
    """What is wrong with how a reader or script ended, or None: a normal result, or one clear line."""
    if result.code not in (0, 1, 2):
        return f"exit code {result.code}"
    if "Traceback" in result.err + result.out:
        return "traceback"
    if result.seconds > SECONDS:
        return f"{result.seconds:.0f} s"
    if result.memory > MEMORY:
        return f"{result.memory / 1e9:.1f} GB"
    lines = result.err.splitlines()
    if result.code == 0 and lines:
        return "success with a word on stderr"
    if result.code == 2 and (len(lines) != 1 or "error: " not in lines[0]):
        return "not one line"
    if result.code == 1 and not lines:
        return "failure without a word"
    return None


def reason(result: Result) -> str:
    """What a refusal says, without its numbers and paths; nothing for what was read."""
    line = result.err.splitlines()[0] if result.err else ""
    return re.sub(r"\S*/\S*|'[^']*'|[0-9]+", "*", line.partition("error: ")[2])[:110]


def snapshot(folder: Path) -> dict[str, int]:
    """Names and sizes of all files below a folder."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def run_case(number: int, seeds: Seeds, folder: Path, as_script: bool) -> tuple[str, Result, str | None]:
    """Mutate one input, read it, and judge; returns the kind, the result, and what is wrong."""
    dice = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    seed = dice.choice(seeds[kind])
    path = place(kind, seed, mutate(seed.read_bytes(), kind, dice), folder / "inside")
    (folder / "outside").mkdir()
    (folder / "outside" / "canary").write_text("alive")
    if as_script:
        result = run_script(kind, path, seeds, folder)
    else:
        result = run_child(read, kind, path, folder=folder / "said", cwd=folder / "inside")
    wrong = judge(result)
    if snapshot(folder / "outside") != {"canary": 5} or {p.name for p in folder.iterdir()} - {
        "inside",
        "outside",
        "said",
    }:
        wrong = "wrote outside"
    return kind, result, wrong


def script_command(kind: str, path: Path, seeds: Seeds, experiment: Path) -> list[object]:
    """A script that reads the file as a user would have it read."""
    tiny, fonts = [*TINY_FLAGS, "--max_steps", 1, "--experiment_dir", experiment], seeds["font"]
    draw = ["infer.py", "--gpu_ids", "-1", "--infer_dir", experiment / "drawn", "--src_txt", "一二"]
    source = ["--src_font", fonts[0], "--dst_font", fonts[1]]
    if kind == "font":
        return ["train.py", *tiny, "--src_font", fonts[0], "--dst_font", path]
    if kind == "image":
        return ["train.py", *tiny, "--data_dir", path.parent]
    if kind == "obj":
        run = seeds["log"][0].parent
        return ["infer.py", "--gpu_ids", "-1", "--experiment_dir", run, "--obj_path", path, "--infer_dir", experiment]
    if kind == "pth" and path.parent.name == "checkpoint":
        run = path.parents[1]
        if "EMA" in path.name:
            return [*draw, "--experiment_dir", run]
        return ["train.py", *TINY_FLAGS, "--max_steps", 3, "--resume", "latest", "--experiment_dir", run]
    if kind == "pth" and "net_D" in path.name:
        short = ["--gpu_ids", "-1", "--batch_size", 1, "--max_steps", 1, "--experiment_dir", experiment]
        return ["train.py", *short, *source, "--fine_tune", path.parent]
    if kind == "pth":
        return [*draw, "--experiment_dir", path.parent, "--src_font", fonts[0]]
    if kind == "text":
        return ["train.py", *tiny, *source, "--charset", path]
    run = experiment / "run"
    shutil.copytree(seeds["log"][0].parent, run)
    shutil.copy(path, run)
    if kind == "config":
        return ["train.py", *TINY_FLAGS, "--max_steps", 3, "--resume", "latest", "--experiment_dir", run]
    if kind == "log":
        return ["train.py", *TINY_FLAGS, "--max_steps", 3, "--resume", "latest", "--experiment_dir", run]
    (run / "drawn").mkdir()
    shutil.copy(path, run / "drawn")
    return ["infer.py", "--gpu_ids", "-1", "--experiment_dir", run, "--infer_dir", run / "drawn", "--src_txt", "一"]


def run_script(kind: str, path: Path, seeds: Seeds, folder: Path) -> Result:
    """A real script in a process of its own."""
    inside = folder / "inside"
    name, *flags = map(str, script_command(kind, path, seeds, inside / "experiment"))
    started, said = time.monotonic(), folder / "said"
    said.mkdir()
    with (said / "out").open("wb") as out, (said / "err").open("wb") as err:
        command = [sys.executable, str(ROOT / name), *flags]
        process = subprocess.Popen(command, cwd=inside, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() - started > 3 * SECONDS:
                process.kill()
            time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    words = [(said / kind).read_text("utf-8", "replace") for kind in ("out", "err")]
    return Result(process.returncode, *words, time.monotonic() - started, ended[2].ru_maxrss * RSS_UNIT)


def inputs(args: argparse.Namespace) -> int:
    """Mutated files through every reader."""
    folder = Path(args.out_dir).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    seeds = make_seeds(folder / "seeds")
    numbers = range(args.first, args.first + args.count) if args.only is None else [args.only]
    every = max(1, args.count // args.scripts) if args.scripts else 0
    ends: collections.Counter = collections.Counter()
    reasons: collections.Counter = collections.Counter()
    failures, slowest, largest = [], 0.0, 0.0

    def case(number: int):
        as_script = bool(every) and number % every == 0
        return number, as_script, *run_case(number, seeds, folder / str(number), as_script)

    with ThreadPoolExecutor(args.jobs) as pool:
        for number, as_script, kind, result, wrong in tqdm(pool.map(case, numbers), total=len(numbers), disable=None):
            ends["script" if as_script else kind, "read" if result.code == 0 else "refused"] += 1
            slowest, largest = max(slowest, result.seconds), max(largest, result.memory)
            reasons[kind, reason(result)] += 1
            if wrong is None and args.only is None:
                shutil.rmtree(folder / str(number))
                continue
            if wrong is not None:
                failures.append(number)
            print(
                f"case {number}, {kind}{' by script' if as_script else ''}: {wrong}\n{result.err[-1500:]}", flush=True
            )
    print(f"{len(numbers)} inputs, the slowest {slowest:.1f} s, the largest {largest / 1e6:.0f} MB")
    for (kind, end), count in sorted(ends.items()):
        print(f"{kind:10} {end:8} {count}")
    for (kind, words), count in reasons.most_common(args.reasons):
        print(f"{count:5} {kind:8} {words}")
    print(f"{len(failures)} failures: {failures}")
    return 1 if failures else 0


# -------------------------------------------------------------------------------------------------- kills


def kills(args: argparse.Namespace) -> int:
    """Runs killed at random moments and resumed until they end: the same bytes as a run that never stopped."""
    folder = Path(args.out_dir).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts: collections.Counter = collections.Counter()
    dice = random.Random(args.first)
    with tqdm(total=args.count, unit="kill", disable=None) as bar:
        for number in range(10**6):
            if counts["kills"] >= args.count:
                break
            workers, accum_steps = number % 2 * 2, number // 2 % 2 + 1
            flags = [*TINY_FLAGS, "--g_blur", "--num_workers", workers, "--accum_steps", accum_steps]
            flags += ["--checkpoint_steps", dice.choice((1, 2, 5)), "--keep_checkpoints", dice.choice((1, 3))]
            flags += ["--sample_steps", dice.choice((3, 100)), "--max_steps", 25]
            whole = folder / f"whole{workers}{accum_steps}"
            if not whole.is_dir():
                run_child("train.py", *flags, "--experiment_dir", whole, folder=folder / "said")
            killed_run(folder / f"run{number}", whole, flags, dice, counts, bar)
            shutil.rmtree(folder / f"run{number}")
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return 0


def killed_run(run: Path, whole: Path, flags: list, dice: random.Random, counts: collections.Counter, bar) -> None:
    """Kill a run until it ends by itself, and compare it with `whole`; raises AssertionError when they differ."""
    flags = [*flags, "--experiment_dir", run, "--resume", "latest"]
    longest = dice.choice((0.8, 1.5, 3.0))
    while True:
        slow = dice.choice((0, 0.0005, 0.002))
        child = Child("train.py", *flags, folder=run.parent / "said", fault=SlowWrites(slow) if slow else None)
        child.process.join(dice.uniform(0.1, longest))
        longest *= 1.05  # so that it ends some day
        child.kill(signal.SIGKILL)
        result = child.wait()
        if result.code == 0:
            break
        assert result.code == -signal.SIGKILL, result.err
        assert not result.err or flags[flags.index("--num_workers") + 1], result.err  # orphaned workers may complain
        counts["kills"] += 1
        counts["kills within a write"] += bool(strays(run))
        bar.update()
        steps = checkpoint.steps_with(run / "checkpoint", checkpoint.STATE)
        for step in steps[-1:]:
            checkpoint.read_step(run / "checkpoint", step)
        if steps and counts["kills"] % 5 == 0:
            drawn = ["--experiment_dir", run, "--gpu_ids", "-1", "--src_txt", "國"]
            done = run_child("infer.py", *drawn, folder=run.parent / "said")
            assert (done.code, done.err) == (0, ""), done.err
            counts["drawings after a kill"] += 1
    counts["runs compared"] += 1
    assert_same(states(whole, 25), states(run, 25))
    assert (whole / "losses.csv").read_text() == (run / "losses.csv").read_text()
    assert not strays(run)
    complete = checkpoint.steps_with(run / "checkpoint", checkpoint.STATE)
    older = set(checkpoint.all_steps(run / "checkpoint")) - set(complete)
    for part in (checkpoint.STATE, checkpoint.DISCRIMINATOR):
        assert not older & set(checkpoint.steps_with(run / "checkpoint", part)), f"a {part} is left over"
