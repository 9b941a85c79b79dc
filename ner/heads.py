"""Several heads, one a seed, side by side on the same word vectors."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from ner.features import LiveFeatures
from ner.tagger import TaggerSettings
from ner.train import LabelledFeatures, TrainedHead, TrainSettings, train_tagger

SeedEpochDone = Callable[[int, int, float, float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class _StoppedError(Exception):
    """Another head failed, or the caller was interrupted."""


def train_heads(
    train: LabelledFeatures,
    dev: LabelledFeatures,
    *,
    tagger: TaggerSettings,
    settings: TrainSettings,
    first_seed: int = 1,
    oracles: Mapping[str, LabelledFeatures] | None = None,
    device: torch.device | None = None,
    on_epoch: SeedEpochDone | None = None,
) -> list[TrainedHead]:
    """Train `settings.seeds` heads, with seeds from `first_seed` on; see `ner.train.train_tagger`.

    On the CPU each head computes in one thread, as many at once as torch may use threads. That is faster
    than one head on all of them, and makes every head the same whatever their number. When vectors are
    computed anew, with dropout of the encoder, one head is trained after the other on all threads.

    Args:
        on_epoch: is told seed, epoch (from 1), mean loss a sentence, dev F1; one call at a time, from the
            thread that trains.

    Raises:
        What `train_tagger` raises, for the first seed that raised; the other heads stop after their epoch.
    """
    place = device or torch.device("cpu")
    stop, telling = threading.Event(), threading.Lock()
    live = isinstance(train.features, LiveFeatures)

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
            with _encoder_chance(seed, place) if live else contextlib.nullcontext():
                return train_tagger(
                    train,
                    dev,
                    tagger=tagger,
                    settings=settings,
                    seed=seed,
                    oracles=oracles,
                    on_epoch=told,
                    device=place,
                )
        except BaseException:
            stop.set()
            raise

    seeds = range(first_seed, first_seed + settings.seeds)
    return side_by_side(train_one, seeds, place, one_by_one=live, stop=stop)


def side_by_side(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    place: torch.device,
    *,
    one_by_one: bool = False,
    stop: threading.Event | None = None,
) -> list[Result]:
    """`work` on every item, in order: on the CPU in as many threads as torch has, one thread of torch each.

    Args:
        one_by_one: one after the other, each on all threads.
        stop: is set when one fails or the caller is interrupted.

    Raises what the first item that failed by itself raised, when all have ended.
    """
    halt = stop or threading.Event()
    if one_by_one or place.type != "cpu":
        return [work(item) for item in items]
    workers = max(1, min(len(items), torch.get_num_threads()))
    with _one_thread_each(), ThreadPoolExecutor(workers, thread_name_prefix="ner-head") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException as error:
            halt.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, _StoppedError):
                raise
            failures = [future.exception() for future in futures if not future.cancelled()]
            raise next(one for one in failures if one and not isinstance(one, _StoppedError)) from None


@contextlib.contextmanager
def _encoder_chance(seed: int, place: torch.device) -> Iterator[None]:
    """The encoder's dropout draws from torch's global generators: seed them, and leave them as they were."""
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
