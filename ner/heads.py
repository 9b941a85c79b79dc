"""Several heads, one a seed, trained side by side on the same word vectors."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from ner.train import LabelledFeatures, TrainedHead, TrainSettings, train_tagger

SeedEpochDone = Callable[[int, int, float, float], None]


class _StoppedError(Exception):
    """Another head failed, or the caller was interrupted."""


def train_heads(
    train: LabelledFeatures,
    dev: LabelledFeatures,
    *,
    tag_names: Sequence[str],
    settings: TrainSettings,
    first_seed: int = 1,
    device: torch.device | None = None,
    on_epoch: SeedEpochDone | None = None,
) -> list[TrainedHead]:
    """Train `settings.seeds` heads, with seeds from `first_seed` on; see `ner.train.train_tagger`.

    On the CPU each head computes in one thread, as many at once as torch may use threads. That is faster
    than one head on all of them, and makes every head the same whatever their number.

    Args:
        on_epoch: is told seed, epoch (from 1), mean loss a sentence, dev F1; one call at a time, from the
            thread that trains.

    Raises:
        What `train_tagger` raises, for the first seed that raised; the other heads stop after their epoch.
    """
    place = device or torch.device("cpu")
    stop, telling = threading.Event(), threading.Lock()

    def train_one(seed: int) -> TrainedHead:
        def told(epoch: int, loss: float, f1: float) -> None:
            if stop.is_set():
                raise _StoppedError
            if on_epoch is not None:
                with telling:
                    on_epoch(seed, epoch, loss, f1)

        if stop.is_set():
            raise _StoppedError
        try:
            return train_tagger(
                train, dev, tag_names=tag_names, settings=settings, seed=seed, on_epoch=told, device=place
            )
        except BaseException:
            stop.set()
            raise

    seeds = range(first_seed, first_seed + settings.seeds)
    workers = 1 if place.type != "cpu" else min(settings.seeds, torch.get_num_threads())
    with _one_thread_each(place), ThreadPoolExecutor(workers, thread_name_prefix="ner-head") as pool:
        futures = [pool.submit(train_one, seed) for seed in seeds]
        try:
            return [future.result() for future in futures]
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, _StoppedError):
                raise
            failures = [future.exception() for future in futures if not future.cancelled()]
            raise next(one for one in failures if one and not isinstance(one, _StoppedError)) from None


@contextlib.contextmanager
def _one_thread_each(place: torch.device) -> Iterator[None]:
    if place.type != "cpu":
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
