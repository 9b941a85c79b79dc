"""Signals that end a run after its present step, with the state saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, final

from extend.errors import ExtendError, InterruptedRun, TerminatedRun

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@final
class Signals:
    """The first stopping signal that came, as a number, or None.

    Later ones change nothing, but for a second SIGINT, which stops at once (KeyboardInterrupt) unless a
    save is under way.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._shielded = 0

    def __call__(self) -> int | None:
        return self.first

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """A block that even a second SIGINT does not break off: a save."""
        self._shielded += 1
        try:
            yield
        finally:
            self._shielded -= 1

    def receive(self, number: int, _: Any = None) -> None:
        """The handler."""
        impatient = self.first == number == signal.SIGINT and not self._shielded
        self.first = self.first or number
        if impatient:
            raise KeyboardInterrupt


@contextlib.contextmanager
def signals_noted() -> Iterator[Signals]:
    """Note SIGTERM, SIGINT, SIGHUP and SIGUSR1 within the block instead of dying of them.

    Outside the main thread, where no handler can be set, nothing is noted.
    """
    noted = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, noted.receive) for number in STOPPING}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped_by(number: int, *, what: str, done: str) -> ExtendError:
    """The failure that ends a run after signal `number`: InterruptedRun for SIGINT, else TerminatedRun."""
    interrupted = number == signal.SIGINT
    return (InterruptedRun if interrupted else TerminatedRun)(
        f"stopped by a signal {what}",
        name="E-INTERRUPTED" if interrupted else "E-TERMINATED",
        why=signal.Signals(number).name,
        done=done,
        next="run the same command to go on",
    )
