"""A run that stands still is ended: what every thread was doing is written down, then exit code 12."""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

from extend import store
from extend.errors import ExtendError, WorkerError

GRACE_SECONDS = 10.0


def write_stacks(folder: Path) -> Path:
    """Where every thread of this process is, in a new file in `folder`, whose path is returned."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(identity, identity)}:\n{''.join(traceback.format_stack(frame))}"
        for identity, frame in sys._current_frames().items()
    ]
    path = folder / f"extend-stacks-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    store.write_text(path, "\n".join(parts))
    return path


def end_process(error: ExtendError) -> None:
    """Say the last words and leave at once: the main thread cannot do it, it hangs."""
    os.write(2, (error.message("pretrain") + "\n").encode("utf-8", errors="backslashreplace"))
    os._exit(error.exit_code)


@final
class Watchdog:
    """Calls `end` when `beat` was not called for `seconds`; while paused, time does not count.

    Time is the monotonic clock's, so a machine whose clock is set is not mistaken for one that hangs. A
    process that was stopped (SIGSTOP, a laptop asleep) gets a few seconds to beat after it goes on.
    """

    def __init__(
        self, seconds: float, *, folder: Path, end: Callable[[ExtendError], None] = end_process
    ) -> None:
        self._seconds, self._folder, self._end = seconds, folder, end
        self._last = time.monotonic()
        self._paused = 0
        self._over = threading.Event()
        self._tick = min(1.0, seconds / 10)
        if seconds:
            threading.Thread(target=self._watch, name="extend-watchdog", daemon=True).start()

    def beat(self) -> None:
        """The run goes on."""
        self._last = time.monotonic()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A block that may take as long as it takes: an evaluation, a save."""
        self._paused += 1
        try:
            yield
        finally:
            self.beat()
            self._paused -= 1

    def close(self) -> None:
        self._over.set()

    def write_stacks(self) -> None:
        """Write down where every thread is, if the run folder lets us."""
        with contextlib.suppress(ExtendError):
            write_stacks(self._folder)

    def _watch(self) -> None:
        asleep = time.monotonic()
        while not self._over.wait(self._tick):
            now = time.monotonic()
            if now - asleep > self._tick + GRACE_SECONDS:  # the whole process was stopped
                self._last = now
            asleep = now
            if not self._paused and now - self._last > self._seconds:
                self.write_stacks()
                self._end(
                    WorkerError(
                        f"no training step for {self._seconds:g} seconds",
                        name="E-WATCHDOG",
                        why=f"where each thread stood is in {self._folder}/extend-stacks-*.log",
                        done="the last checkpoint is intact",
                        next="run the same command; set pretrain.watchdog to allow longer steps",
                    )
                )
                return
