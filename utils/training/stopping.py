"""When a run ends, and when it pauses to save and to look at what it draws."""

import signal
import time
from collections.abc import Callable
from enum import Enum, IntFlag, auto

from utils.training.flags import TrainOptions

WARM_STEPS, TIMED_STEPS = 10, 20  # of --max_minutes: the first are slow on a GPU, the next are measured
LOOK_MINUTES = 1.0  # between scores and sheets where --sample_steps is 0
MOST_SHARE = 0.01  # of the time, that checkpoints may take where they are due by time, and scores and sheets again


class End(Enum):
    """Why a run ends."""

    LENGTH = auto()  # --epoch, --max_steps or --max_minutes
    ENOUGH = auto()  # --early_stop
    SIGNAL = auto()  # SIGINT or SIGTERM


class Due(IntFlag):
    """What is to be done after a step; a number, so that several processes can agree on it."""

    SAVE = auto()  # a checkpoint
    LOOK = auto()  # a sheet of held-out characters
    ENOUGH = auto()  # nothing more
    SIGNAL = auto()  # times the number of the signal that was received


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a number to look at; a second one ends the process."""

    def __init__(self):
        self.received = 0

    def __enter__(self) -> "StopSignals":
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in self._previous:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: object) -> None:
        self.received = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)


class Clock:
    """Tells how many more steps fit into a run of `minutes`, at the pace it has had with all its pauses."""

    def __init__(self, minutes: float, began: float):
        self._end, self._steps, self._timed_from = began + minutes * 60, 0, 0.0

    def remaining_steps(self, wait: Callable[[], object], pause: float | None) -> int | None:
        """To be called after each step, with the seconds of the pause that followed it, if one did.

        Returns the number when it becomes known, and anew after each pause; the pause that ends the run is reckoned as
        long as the one before. `wait` waits for the device.
        """
        self._steps += 1
        if self._steps == WARM_STEPS:
            wait()
            self._timed_from = time.monotonic()
        timed = self._steps - WARM_STEPS
        if timed < TIMED_STEPS or (timed > TIMED_STEPS and pause is None):
            return None
        wait()
        now = time.monotonic()
        return max(0, round((self._end - now - (pause or 0)) / (now - self._timed_from) * timed))


class Interval:
    """Tells when something is due: every so many steps, or minutes.

    By minutes it is due more rarely where what is done then takes long.
    """

    def __init__(self, steps: int, minutes: float = 0.0):
        self.by_time = minutes > 0
        self._steps, self._seconds = steps, minutes * 60
        self._next = time.monotonic() + self._seconds

    def is_due(self, step: int) -> bool:
        """Whether it is due after `step`."""
        return time.monotonic() >= self._next if self.by_time else step % self._steps == 0

    def done(self, seconds: float) -> None:
        """Take note that it has been done, and took `seconds`."""
        self._next = time.monotonic() + max(self._seconds, seconds * (1 / MOST_SHARE - 1))


class Schedule:
    """When a run pauses to save and to look at what it draws, and how many steps --max_minutes still has room for.

    It counts from now on, but --max_minutes from when the run `began`, by `time.monotonic`.
    """

    def __init__(self, options: TrainOptions, began: float):
        self.saving = Interval(options.checkpoint_steps, options.checkpoint_minutes)
        self.looking = Interval(options.sample_steps, 0 if options.sample_steps else LOOK_MINUTES)
        self._clock = Clock(options.max_minutes, began) if options.max_minutes and not options.max_steps else None

    def due(self, step: int) -> Due:
        """What is due after a step."""
        save, look = self.saving.is_due(step), self.looking.is_due(step)
        return (Due.SAVE if save else Due(0)) | (Due.LOOK if look else Due(0))

    def remaining_steps(self, wait: Callable[[], object], pause: float | None) -> int | None:
        """As `Clock.remaining_steps`; None where no clock decides."""
        return self._clock.remaining_steps(wait, pause) if self._clock else None
