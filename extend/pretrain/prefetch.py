"""The next batches, made in a thread while the present one is trained on.

A batch is a pure function of its step, so what was made ahead can be thrown away at any moment and nothing
of it has to be saved: after a jump (a rewound run) the thread starts again from where it is asked.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar, final

from extend.errors import WorkerError

Made = TypeVar("Made")


@final
class Prefetcher(Generic[Made]):
    """`make(step)` for step after step, `ahead` of them before they are asked for.

    The thread is a daemon: one that hangs does not keep the process from ending. With `ahead` 0 there is
    none.
    """

    def __init__(
        self,
        make: Callable[[int], Made],
        *,
        stop: int,
        ahead: int = 2,
        patience: float | None = None,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self._make, self._stop, self._ahead = make, stop, ahead
        self._patience, self._on_silence = patience, on_silence
        self._wanted: SimpleQueue[tuple[int, Future[Made]] | None] = SimpleQueue()
        self._made: dict[int, Future[Made]] = {}
        if ahead:
            threading.Thread(target=self._work, name="extend-prefetch", daemon=True).start()

    def __call__(self, step: int) -> Made:
        """What `make(step)` gives. What it raised is raised here, at the step that it belongs to.

        Raises WorkerError when nothing comes for `patience` seconds, after calling `on_silence`.
        """
        if not self._ahead:
            return self._make(step)
        if step not in self._made:
            self._forget()
        for coming in range(step, min(step + self._ahead + 1, self._stop)):
            if coming not in self._made:
                self._made[coming] = Future()
                self._wanted.put((coming, self._made[coming]))
        try:
            return self._made.pop(step).result(self._patience)
        except TimeoutError as error:
            if self._patience is None:  # raised by `make`
                raise
            self._on_silence()
            raise WorkerError(
                f"no batch for step {step + 1} came within {self._patience:g} seconds",
                name="E-WATCHDOG",
                why="the thread that reads the tokenised text is stuck",
                done="the last checkpoint is intact",
                next="look at the disk the run folder lies on, then run the same command",
            ) from error

    def close(self) -> None:
        """End the thread once it has made what it is at."""
        self._forget()
        self._wanted.put(None)

    def _forget(self) -> None:
        for future in self._made.values():
            future.cancel()
        self._made.clear()

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            step, future = wanted
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._make(step))
            except BaseException as error:
                future.set_exception(error)
