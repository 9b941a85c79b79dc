"""Lines that say nothing new, and how long lines are."""

from collections import Counter
from dataclasses import dataclass

from extend.errors import escaped
from extend.survey.sample import LineSample, folded

EXAMPLES = 5
SHORT_WORDS = 3


@dataclass(frozen=True)
class Duplicates:
    """Of all lines the share that repeats an earlier one, to the letter and in its folded form.

    `near_share` counts the exact ones too. `most` are the most repeated lines, escaped, with their counts.
    """

    lines: int
    share: float
    near_lines: int
    near_share: float
    most: tuple[tuple[str, int], ...]


def duplicates(sample: LineSample) -> Duplicates:
    """Exact and near duplicates; near ones differ in case, digits, punctuation and blanks alone."""
    total = sample.drawn_lines
    forms: Counter[str] = Counter()
    for line, count in sample.counts.items():
        forms[folded(line)] += count
    exact, near = total - len(sample.counts), total - len(forms)
    repeated = sorted(
        ((line, count) for line, count in sample.counts.items() if count > 1),
        key=lambda entry: (-entry[1], entry[0]),
    )
    return Duplicates(
        lines=exact,
        share=exact / max(total, 1),
        near_lines=near,
        near_share=near / max(total, 1),
        most=tuple((escaped(line), count) for line, count in repeated[:EXAMPLES]),
    )


@dataclass(frozen=True)
class LineLengths:
    """Words a line (apart by blanks): quantiles over the sample's lines, and the share of short lines."""

    p5: int
    median: int
    p95: int
    longest: int
    mean: float
    short_share: float


def line_lengths(sample: LineSample) -> LineLengths:
    """Lengths of all lines, copies among them. Quantile q is the smallest length that q of all reach."""
    lengths: Counter[int] = Counter()
    for line, count in sample.counts.items():
        lengths[len(line.split())] += count
    total = lengths.total()
    if not total:
        return LineLengths(0, 0, 0, 0, 0.0, 0.0)
    return LineLengths(
        p5=_quantile(lengths, 0.05),
        median=_quantile(lengths, 0.5),
        p95=_quantile(lengths, 0.95),
        longest=max(lengths),
        mean=sum(length * count for length, count in lengths.items()) / total,
        short_share=sum(count for length, count in lengths.items() if length < SHORT_WORDS) / total,
    )


def _quantile(lengths: Counter[int], share: float) -> int:
    wanted, seen = share * lengths.total(), 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= wanted:
            return length
    return max(lengths)
