"""The process of a job: runs a script as a terminal would, and notes how it ended.

python -m utils.web.worker FOLDER ID PROJECT SCRIPT FLAGS...
"""

import _thread
import contextlib
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path

from utils.errors import UserError
from utils.files import write_json
from utils.web.jobs import JOB, ROOT, STOP, Job, holding

LOOK = 0.2  # seconds between looks for the file that asks to stop


def main(argv: list[str]) -> int:
    """Run the script that `argv` names; returns its exit code."""
    folder, identity, project, script, *flags = argv
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which an app in the background hands down as ignored
    root = Path(folder)
    try:
        with holding(root):
            (root / STOP).unlink(missing_ok=True)
            job = Job(identity, project, script, flags, started=time.time())
            write_json(root / JOB, asdict(job))
            threading.Thread(target=watch, args=(root / STOP,), daemon=True).start()
            code = run(script, flags)
            write_json(root / JOB, asdict(replace(job, ended=time.time(), code=code)))
            return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(script: str, flags: list[str]) -> int:
    """Run a script of this program within this process; returns its exit code."""
    sys.argv = [script, *flags]
    try:
        if script.endswith(".py"):
            runpy.run_path(str(ROOT / script), run_name="__main__")
        else:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def watch(stop: Path) -> None:
    """Interrupt this process, and those that it has started, each time that the file is there."""
    while True:
        time.sleep(LOOK)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            stop.unlink()
            interrupt()


def interrupt() -> None:
    """What Ctrl-C does."""
    if sys.platform == "win32":  # which has no signals for a process without a console
        _thread.interrupt_main()
    elif os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
