"""The data side of pretraining: tokenising, opening, reading and masking, near the start and far into a run.

    python benchmarks/pretraining_data.py TEXT VOCABULARY [--processes 1] [--batch 32] [--length 128]

TEXT is a corpus file, VOCABULARY a vocab.txt. Prints MB/s of tokenising (CPU and wall), the time to open an
index of 1,000 ranges, the first batch of a fresh process's streams (shards are verified as they are touched)
at step 10 and at step 1,000,000 and their ratio, and a batch once its shards are verified.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from extend import recipe
from extend.blocks import TRAINING, DataIndex, Mixture, permuted, read_index, write_index
from extend.config import load_settings
from extend.languages import resolve
from extend.masking import MaskingRule, as_batch, mask_batch
from extend.recipe.tokenising import tokenise_text
from extend.tokenizer import new_wordpiece_tokenizer, read_vocabulary, special_ids
from extend.types import SpecialIds


def main() -> None:
    options = parsed()
    tokenizer = new_wordpiece_tokenizer(read_vocabulary(options.vocabulary).pieces)
    special = special_ids(tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        given = {"lang": "en", "pretrain.processes": options.processes}
        run = recipe.open_run(load_settings(None, given), Path(scratch) / "run", resolve("en"))
        data, started = Path(scratch) / "data", (time.perf_counter(), time.process_time())
        index = tokenise_text(
            run,
            "en",
            [str(options.text)],
            tokenizer,
            special=special,
            directory=data,
            on_progress=lambda _: None,
        )
        wall, processor = time.perf_counter() - started[0], time.process_time() - started[1]
        size = options.text.stat().st_size / 1e6
        print(
            f"tokenising {size:.1f} MB: {size / wall:.2f} MB/s, {size / processor:.2f} MB a CPU second here"
        )
        tokens = len(index.stream(data, "en", TRAINING).ids)
        print(f"{tokens:,} tokens in {len(index.ranges)} range(s)")
        opening(index, Path(scratch) / "large")
        reading(data, options.batch, options.length, special)
    keys = np.arange(options.batch, dtype=np.uint64)
    places = np.arange(options.batch) * 1_000_003
    taken = timed(lambda: permuted(places, 10**9, keys))
    print(f"places of {options.batch} samples among 1,000,000,000: {taken:.2f} ms")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    return parser.parse_args()


def opening(index: DataIndex, folder: Path) -> None:
    entries = [
        dataclasses.replace(index.ranges[0], folder=f"{index.ranges[0].folder}-{number}")
        for number in range(1000)
    ]
    write_index(folder, dataclasses.replace(index, ranges=entries))

    def opened() -> None:
        known = read_index(folder)
        assert known is not None
        known.missing(folder)
        known.stream(folder, "en", TRAINING)

    print(f"opening an index of 1,000 ranges: {timed(opened):.1f} ms")


def reading(data: Path, batch: int, length: int, special: SpecialIds) -> None:
    rule = MaskingRule()

    def read(mixture: Mixture, step: int) -> None:
        samples = np.arange(step * batch, (step + 1) * batch)
        ids, starts = mixture.read(samples, special)
        keys = mixture.order.mask_keys(samples)
        masked, positions = mask_batch(ids, starts, keys, rule=rule, special=special, seed=1)
        as_batch(ids, masked, positions, offered=rule.offered(batch, length))

    def first(step: int) -> None:
        known = read_index(data)
        assert known is not None
        read(Mixture((known.stream(data, "en", TRAINING),), (1.0,), length, 1), step)

    early, late = timed(lambda: first(10)), timed(lambda: first(10**6))
    print(
        f"opening and a first batch: {early:.1f} ms at step 10, {late:.1f} at 1,000,000: {late / early:.2f} x"
    )
    known = read_index(data)
    assert known is not None
    mixture = Mixture((known.stream(data, "en", TRAINING),), (1.0,), length, 1)
    mixture.read(np.arange(4096), special)
    steps = iter(range(1000))
    print(f"a batch of {batch} x {length}: {timed(lambda: read(mixture, next(steps)), 50):.2f} ms")


def timed(work: Callable[[], object], rounds: int = 15) -> float:
    """Milliseconds, the median of `rounds`."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
