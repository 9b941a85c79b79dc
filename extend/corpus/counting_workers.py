"""Worker processes that never hang: a death is told, an end is quick, no orphan outlives the parent."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from extend.errors import ExtendError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A told failure on its way from a worker: exceptions with keyword-only arguments do not pickle."""

    kind: type[ExtendError]
    what: str
    details: dict[str, str]

    def error(self) -> ExtendError:
        return self.kind(self.what, **self.details)


def run_in_workers(
    work: Callable[[Item], Result], items: Sequence[Item], *, processes: int
) -> Generator[tuple[Item, Result], None, None]:
    """`work` of every item, in the order of completion; with one process, here and in order.

    `work` and what it takes and gives must pickle. Raises what the work raised first, or WorkerError
    E-WORKER when a process died; the others are ended then, what they had begun is lost.
    """
    if processes == 1 or len(items) <= 1:
        yield from ((item, work(item)) for item in items)
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_prepare_worker
    )
    before = {process.pid for process in multiprocessing.active_children()}
    done = False
    try:
        futures = {pool.submit(_told, work, item): item for item in items}
        for future in concurrent.futures.as_completed(futures):
            result = future.result()
            if isinstance(result, _Failure):
                raise result.error()
            yield futures.pop(future), result
        done = True
    except BrokenProcessPool as error:
        raise WorkerError(
            "a counting worker was killed (probably memory)",
            name="E-WORKER",
            done="shards that were finished are kept",
            next="the same command goes on; with fewer processes it needs less memory",
        ) from error
    finally:
        if not done:
            for process in multiprocessing.active_children():
                if process.pid not in before:
                    process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def _told(work: Callable[[Any], Result], item: Any) -> Result | _Failure:
    try:
        return work(item)
    except ExtendError as error:
        details = {"name": error.name, "why": error.why, "done": error.done, "next": error.next}
        return _Failure(type(error), error.what, details)


def _prepare_worker() -> None:
    """Ctrl-C is the parent's to answer, and a worker ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
