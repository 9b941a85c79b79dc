"""The scorer beside seqeval on random tags, and the bootstrap beside a loop over replicates.

    python benchmarks/ner_score.py [--sentences 100000] [--rounds 3] [--trials 300]

Both sides take the same lists of strings and alternate round by round. Before anything is timed their
precision, recall and F1 must agree, in seqeval's default and strict mode, on the timed tags and on `--trials`
small random sets (IOB2, and strict BIOES and BILOU). Ours is timed whole: from strings to rates. Then 1,000
replicates on 2,000 sentences: weights times counts, beside one resampled sum a replicate.
"""

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as default_scores
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import BILOU, IOB2, IOBES

from ner.score import TagPair, count_spans, resampled_f1
from ner.tags import Scheme

TYPES = ("PER", "LOC", "ORG", "MISC")
MARKS = {Scheme.IOB2: "BI", Scheme.BIOES: "BIES", Scheme.BILOU: "BILU"}
THEIRS = {Scheme.IOB2: IOB2, Scheme.BIOES: IOBES, Scheme.BILOU: BILOU}


class Taken(NamedTuple):
    """Seconds on the clock, and seconds of processor time: what a machine shared with others would hide."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:7.3f} s ({self.processor:.3f} s of processor)"


Tags = list[list[str]]
Rates = tuple[float, float, float]


def main() -> None:
    options = parsed()
    warnings.simplefilter("ignore")
    draw = random.Random(options.seed)
    agree_on_small_sets(draw, options.trials)
    gold, predicted = random_tags(draw, options.sentences, shortest=10, longest=30)
    words = sum(map(len, gold))
    print(f"{len(gold):,} sentences, {words:,} tags a side, medians of {options.rounds} rounds")
    check(ours(gold, predicted, strict=False), default(gold, predicted), "default")
    check(ours(gold, predicted, strict=True), strict(gold, predicted), "strict")
    sides: dict[str, Callable[[], object]] = {
        "extend, repaired": lambda: ours(gold, predicted, strict=False),
        "seqeval, default": lambda: default(gold, predicted),
        "extend, strict": lambda: ours(gold, predicted, strict=True),
        "seqeval, strict": lambda: strict(gold, predicted),
        "extend, everything": lambda: everything(gold, predicted),
    }
    seconds = alternated(sides, options.rounds)
    for mine, theirs in (("extend, repaired", "seqeval, default"), ("extend, strict", "seqeval, strict")):
        ratio = seconds[theirs].processor / seconds[mine].processor
        print(f"{mine:<18} {seconds[mine]}   {theirs} {seconds[theirs]}   {ratio:.1f} x by processor time")
    print(
        f"{'extend, everything':<18} {seconds['extend, everything']}   (both, lenient, illegal transitions)"
    )
    time_bootstrap(options.rounds)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def random_tags(
    draw: random.Random, sentences: int, *, shortest: int, longest: int, scheme: Scheme = Scheme.IOB2
) -> tuple[Tags, Tags]:
    """Garbage on both sides: every tag equally likely wherever it stands."""
    tags = ["O", *(f"{mark}-{label}" for mark in MARKS[scheme] for label in TYPES)]
    lengths = [draw.randint(shortest, longest) for _ in range(sentences)]
    first, second = ([draw.choices(tags, k=length) for length in lengths] for _ in range(2))
    return first, second


def ours(gold: Tags, predicted: Tags, *, strict: bool, scheme: Scheme = Scheme.IOB2) -> Rates:
    total = count_spans(gold, predicted, strict=strict, scheme=scheme).total()
    return total.precision, total.recall, total.f1


def everything(gold: Tags, predicted: Tags) -> object:
    pair = TagPair.of(gold, predicted)
    return pair.counts(), pair.counts(strict=True), pair.lenient(), pair.illegal()


def default(gold: Tags, predicted: Tags) -> Rates:
    """One pass for all three, its fastest form."""
    scores = default_scores(gold, predicted, average="micro")
    return 100 * scores[0], 100 * scores[1], 100 * scores[2]


def strict(gold: Tags, predicted: Tags, *, scheme: Scheme = Scheme.IOB2) -> Rates:
    scores = strict_scores(gold, predicted, average="micro", scheme=THEIRS[scheme])
    return 100 * scores[0], 100 * scores[1], 100 * scores[2]


def agree_on_small_sets(draw: random.Random, trials: int) -> None:
    """Stops at the first difference; here through seqeval's public functions."""
    public = (precision_score, recall_score, f1_score)
    for trial in range(trials):
        for scheme, theirs in THEIRS.items():
            gold, predicted = random_tags(draw, draw.randint(1, 6), shortest=1, longest=12, scheme=scheme)
            expected = [100 * score(gold, predicted, mode="strict", scheme=theirs) for score in public]
            check(
                ours(gold, predicted, strict=True, scheme=scheme), expected, f"trial {trial}, strict {scheme}"
            )
            if scheme is Scheme.IOB2:
                expected = [100 * score(gold, predicted) for score in public]
                check(ours(gold, predicted, strict=False), expected, f"trial {trial}, default")
    print(f"{trials} random sets: 0 differences from seqeval (default; strict IOB2, BIOES, BILOU)")


def check(mine: Sequence[float], theirs: Sequence[float], where: str) -> None:
    if not np.allclose(mine, theirs, rtol=0, atol=1e-9):
        raise SystemExit(f"scores differ ({where}): {mine} against {theirs}")


def alternated(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, Taken]:
    taken: dict[str, list[Taken]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            wall, busy = time.perf_counter(), time.process_time()
            side()
            taken[name].append(Taken(time.perf_counter() - wall, time.process_time() - busy))
    return {name: Taken(*map(statistics.median, zip(*some, strict=True))) for name, some in taken.items()}


def time_bootstrap(rounds: int, *, sentences: int = 2000, replicates: int = 1000) -> None:
    counts = np.random.default_rng(1).integers(0, 3, size=(sentences, 3))

    def loop() -> list[float]:
        draws = np.random.default_rng(2)
        result = []
        for _ in range(replicates):
            matched, predicted, gold = counts[draws.integers(sentences, size=sentences)].sum(axis=0)
            result.append(200 * matched / (predicted + gold))
        return result

    def weights() -> list[float]:
        return [float(value) for value in resampled_f1([counts], seed=2, replicates=replicates)[0]]

    check(weights(), loop(), "bootstrap")
    seconds = alternated({"weights": weights, "loop": loop}, max(rounds, 5))
    print(
        f"bootstrap, {replicates:,} replicates of {sentences:,} sentences: {seconds['weights']}   "
        f"a loop {seconds['loop']}"
    )


if __name__ == "__main__":
    main()
