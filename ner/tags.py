"""Entities as spans and as tags, in four schemes. Standard library only.

Inside the toolkit tags are always IOB2; files in IOB1, BIOES or BILOU are converted when they are read.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

OUTSIDE = "O"
TAG = re.compile(r"O|([BIESLU])-([\w.-]{1,64})")


class Scheme(StrEnum):
    """How tags spell spans. BILOU is BIOES with L for E and U for S (AllenNLP calls it BIOUL)."""

    IOB1 = "IOB1"
    IOB2 = "IOB2"
    BIOES = "BIOES"
    BILOU = "BILOU"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """One entity: words `start` up to, not including, `end`."""

    start: int
    end: int
    label: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span has 0 <= start < end, got {self.start}, {self.end}")


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """The words of one sentence and a tag for each. Refuses unequal lengths and empty sentences."""

    words: tuple[str, ...]
    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.words) != len(self.tags):
            raise ValueError(f"a tag a word: got {len(self.words)} words, {len(self.tags)} tags")
        if not self.words:
            raise ValueError("a sentence has at least one word")


@lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """`B-PER` to `("B", "PER")`, `O` to `("O", "")`. Raises ValueError for anything else."""
    match = TAG.fullmatch(tag)
    if match is None:
        raise ValueError(f"not a tag: {tag!r}")
    return match[1] or OUTSIDE, match[2] or ""


def spans_of(tags: Sequence[str], *, scheme: Scheme = Scheme.IOB2, strict: bool = False) -> frozenset[Span]:
    """The spans that `tags` spell.

    Illegal tags are repaired as conlleval does (an inside tag that continues nothing begins a span) or, with
    `strict`, discard the span they stand in, as seqeval's strict mode does. In IOB1 an inside tag may begin
    a span, so nothing is discarded.
    """
    if scheme in (Scheme.BIOES, Scheme.BILOU):
        return _closed_spans(tags, strict=strict)
    return _open_spans(tags, strict=strict and scheme is Scheme.IOB2)


def _open_spans(tags: Sequence[str], *, strict: bool) -> frozenset[Span]:
    spans: set[Span] = set()
    start, label = 0, ""
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        if prefix == "I" and kind == label:
            continue
        if label:
            spans.add(Span(start, position, label))
        begins = prefix == "B" or (prefix == "I" and not strict)
        start, label = (position, kind) if begins else (0, "")
    return frozenset(spans)


def _closed_spans(tags: Sequence[str], *, strict: bool) -> frozenset[Span]:
    spans: set[Span] = set()
    start, label = 0, ""
    for position, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        continues = prefix in "IEL" and kind == label
        if label and not continues and not strict:
            spans.add(Span(start, position, label))
        if not continues:
            begins = prefix in "BSU" or (prefix in "IEL" and not strict)
            start, label = (position, kind) if begins else (0, "")
        if label and prefix in "ELSU":
            spans.add(Span(start, position + 1, label))
            label = ""
    if label and not strict:
        spans.add(Span(start, len(tags), label))
    return frozenset(spans)


def tags_of(spans: Iterable[Span], length: int, *, scheme: Scheme = Scheme.IOB2) -> tuple[str, ...]:
    """The tags that spell `spans` over `length` words. Raises ValueError when spans overlap or stick out."""
    tags = [OUTSIDE] * length
    previous: Span | None = None
    for span in sorted(spans):
        if span.end > length:
            raise ValueError(f"{span} ends after word {length}")
        if previous is not None and span.start < previous.end:
            raise ValueError(f"{span} overlaps {previous}")
        touches = previous is not None and previous.end == span.start and previous.label == span.label
        tags[span.start : span.end] = _spell(span, scheme, after_same=touches)
        previous = span
    return tuple(tags)


def _spell(span: Span, scheme: Scheme, *, after_same: bool) -> list[str]:
    size = span.end - span.start
    prefixes = ["I"] * size
    if scheme is not Scheme.IOB1 or after_same:
        prefixes[0] = "B"
    if scheme in (Scheme.BIOES, Scheme.BILOU):
        prefixes[-1] = "E" if scheme is Scheme.BIOES else "L"
        if size == 1:
            prefixes[0] = "S" if scheme is Scheme.BIOES else "U"
    return [f"{prefix}-{span.label}" for prefix in prefixes]


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme a whole file is in.

    E or S tell BIOES, L or U BILOU. Of the other two: IOB1 when some span opens with I and every B stands
    right after a word of its own type (which is all that B is for in IOB1); else IOB2. Raises ValueError
    when the marks of BIOES and BILOU are mixed.
    """
    prefixes: set[str] = set()
    inside_opens = False
    every_b_divides = True
    for tags in sentences:
        before = (OUTSIDE, "")
        for tag in tags:
            prefix, kind = split_tag(tag)
            prefixes.add(prefix)
            inside_opens |= prefix == "I" and before[1] != kind
            every_b_divides &= prefix != "B" or before[1] == kind
            before = (prefix, kind)
    bioes, bilou = prefixes & {"E", "S"}, prefixes & {"L", "U"}
    if bioes and bilou:
        raise ValueError(f"tags of BIOES ({min(bioes)}) and of BILOU ({min(bilou)}) are mixed")
    if bioes or bilou:
        return Scheme.BIOES if bioes else Scheme.BILOU
    return Scheme.IOB1 if inside_opens and every_b_divides else Scheme.IOB2


def illegal_transitions(tags: Sequence[str], *, scheme: Scheme = Scheme.IOB2) -> int:
    """How many tags may not stand where they stand, after the tag before them (or at the end)."""
    pairs = zip([OUTSIDE, *tags], [*tags, OUTSIDE], strict=True)
    return sum(not may_follow(before, after, scheme=scheme) for before, after in pairs)


def may_follow(before: str, after: str, *, scheme: Scheme = Scheme.IOB2) -> bool:
    """Whether `after` is legal after `before`; a sentence starts after, and ends before, an `O`."""
    (first, label), (second, kind) = split_tag(before), split_tag(after)
    if scheme is Scheme.IOB1:
        return second != "B" or label == kind
    if scheme is Scheme.IOB2:
        return second != "I" or label == kind
    inside = first in "BI"
    return (second in "IEL") == inside and (not inside or label == kind)


def tag_names(labels: Iterable[str]) -> tuple[str, ...]:
    """All IOB2 tags of the entity types, `O` first, in order of the types."""
    return (OUTSIDE, *(f"{prefix}-{label}" for label in sorted(set(labels)) for prefix in "BI"))


def keep_labels(tags: Sequence[str], keep: Collection[str]) -> tuple[str, ...]:
    """IOB2 tags with every entity whose type is not in `keep` set to `O`; an empty `keep` keeps all."""
    if not keep:
        return tuple(tags)
    return tuple(tag if split_tag(tag)[1] in keep else OUTSIDE for tag in tags)
