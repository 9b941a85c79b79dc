"""Entities as spans and as tags, in seven schemes. Standard library only.

Inside the toolkit tags are always IOB2; files in another scheme are converted when they are read.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import combinations

OUTSIDE = "O"
LABEL = re.compile(r"[\w.-]{1,64}")
"""What the name of an entity type is made of."""
TAG = re.compile(rf"O|([BIESLUMW])-({LABEL.pattern})")


class Scheme(StrEnum):
    """How tags spell spans.

    IO has no mark for a beginning, so it cannot tell touching entities of one type apart. IOB1 marks a
    beginning only there, IOB2 always. The others close their spans: BILOU is BIOES with L for E and U for S
    (AllenNLP calls it BIOUL), BMEWO with M for I and W for S, BMES with M for I.
    """

    IO = "IO"
    IOB1 = "IOB1"
    IOB2 = "IOB2"
    BIOES = "BIOES"
    BILOU = "BILOU"
    BMEWO = "BMEWO"
    BMES = "BMES"


CLOSED = {
    Scheme.BIOES: ("I", "E", "S"),
    Scheme.BILOU: ("I", "L", "U"),
    Scheme.BMEWO: ("M", "E", "W"),
    Scheme.BMES: ("M", "E", "S"),
}
"""Schemes that close their spans: the marks of a middle and a last word, and of a span of one word."""

_INSIDE = frozenset("IMEL")
_SINGLE = frozenset("SUW")
_LAST = frozenset("ELSUW")


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
    `strict`, discard the span they stand in, as seqeval's strict mode does. In IO and IOB1 an inside tag may
    begin a span, so nothing is discarded.
    """
    if scheme in CLOSED:
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
        continues = prefix in _INSIDE and kind == label
        if label and not continues and not strict:
            spans.add(Span(start, position, label))
        if not continues:
            begins = prefix == "B" or prefix in _SINGLE or (prefix in _INSIDE and not strict)
            start, label = (position, kind) if begins else (0, "")
        if label and prefix in _LAST:
            spans.add(Span(start, position + 1, label))
            label = ""
    if label and not strict:
        spans.add(Span(start, len(tags), label))
    return frozenset(spans)


def tags_of(spans: Iterable[Span], length: int, *, scheme: Scheme = Scheme.IOB2) -> tuple[str, ...]:
    """The tags that spell `spans` over `length` words; `spans_of` gives the same spans back.

    Raises ValueError when spans overlap or stick out, or when IO would lose a border between two of them.
    """
    tags = [OUTSIDE] * length
    previous: Span | None = None
    for span in sorted(spans):
        if span.end > length:
            raise ValueError(f"{span} ends after word {length}")
        if previous is not None and span.start < previous.end:
            raise ValueError(f"{span} overlaps {previous}")
        touches = previous is not None and previous.end == span.start and previous.label == span.label
        if touches and scheme is Scheme.IO:
            raise ValueError(f"IO cannot tell {span} from {previous}")
        tags[span.start : span.end] = _spell(span, scheme, after_same=touches)
        previous = span
    return tuple(tags)


def _spell(span: Span, scheme: Scheme, *, after_same: bool) -> list[str]:
    size = span.end - span.start
    middle, last, single = CLOSED.get(scheme, ("I", "I", "B"))
    if scheme is Scheme.IO or (scheme is Scheme.IOB1 and not after_same):
        prefixes = ["I"] * size
    else:
        prefixes = [single] if size == 1 else ["B", *[middle] * (size - 2), last]
    return [f"{prefix}-{span.label}" for prefix in prefixes]


class MixedSchemesError(ValueError):
    """Tags with the marks of two schemes; `marks` is one of each."""

    def __init__(self, first: tuple[str, Scheme], second: tuple[str, Scheme]) -> None:
        names = " and of ".join(f"{scheme.value} ({mark})" for mark, scheme in (first, second))
        super().__init__(f"tags of {names} are mixed")
        self.marks = (first[0], second[0])


@dataclass
class SchemeDetector:
    """Finds the scheme of a file that is seen sentence by sentence; see `detect_scheme`."""

    _prefixes: set[str] = field(default_factory=set)
    _inside_opens: bool = False
    _every_b_divides: bool = True

    def see(self, tags: Sequence[str]) -> None:
        """Take the tags of one more sentence into account."""
        before = ""
        for tag in tags:
            prefix, kind = split_tag(tag)
            self._prefixes.add(prefix)
            self._inside_opens |= prefix == "I" and before != kind
            self._every_b_divides &= prefix != "B" or before == kind
            before = kind

    def scheme(self) -> Scheme:
        """The scheme of all that was seen. Raises MixedSchemesError."""
        marks = self._prefixes - {OUTSIDE, "B"}
        if marks <= {"I"}:
            return Scheme.IOB1 if self._inside_opens and self._every_b_divides else Scheme.IOB2
        fitting = [scheme for scheme, own in CLOSED.items() if marks <= set(own)]
        if fitting:
            return fitting[0]
        owners = {mark: scheme for scheme, own in reversed(CLOSED.items()) for mark in own}
        first, second = next(
            pair for pair in combinations(sorted(marks, key="IESLUMW".index), 2) if not _together(*pair)
        )
        raise MixedSchemesError((first, owners[first]), (second, owners[second]))


def _together(first: str, second: str) -> bool:
    return any({first, second} <= set(own) for own in CLOSED.values())


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme a whole file is in.

    Marks that close a span (E, S, L, U, W) or stand for I (M) tell which of the closed schemes; where several
    fit, the first of `CLOSED`. Of the others: IOB1 when some span opens with I and every B stands right after
    a word of its own type (which is all that B is for in IOB1); else IOB2. IO is never found: a file in it is
    one in IOB1 whose entities do not touch.

    Raises MixedSchemesError, a ValueError, when no scheme has all the marks.
    """
    detector = SchemeDetector()
    for tags in sentences:
        detector.see(tags)
    return detector.scheme()


def illegal_transitions(tags: Sequence[str], *, scheme: Scheme = Scheme.IOB2) -> int:
    """How many tags may not stand where they stand, after the tag before them (or at the end)."""
    total, before = 0, OUTSIDE
    for tag in (*tags, OUTSIDE):
        total += not may_follow(before, tag, scheme=scheme)
        before = tag
    return total


@lru_cache(maxsize=1 << 14)
def may_follow(before: str, after: str, *, scheme: Scheme = Scheme.IOB2) -> bool:
    """Whether `after` is legal after `before`; a sentence starts after, and ends before, an `O`."""
    (first, label), (second, kind) = split_tag(before), split_tag(after)
    if scheme is Scheme.IO:
        return second != "B"
    if scheme is Scheme.IOB1:
        return second != "B" or label == kind
    if scheme is Scheme.IOB2:
        return second != "I" or label == kind
    inside = first in "BIM"
    return (second in _INSIDE) == inside and (not inside or label == kind)


def tag_names(labels: Iterable[str]) -> tuple[str, ...]:
    """All IOB2 tags of the entity types, `O` first, in order of the types."""
    return (OUTSIDE, *(f"{prefix}-{label}" for label in sorted(set(labels)) for prefix in "BI"))


def keep_labels(tags: Sequence[str], keep: Collection[str]) -> tuple[str, ...]:
    """IOB2 tags with every entity whose type is not in `keep` set to `O`; an empty `keep` keeps all."""
    if not keep:
        return tuple(tags)
    return tuple(tag if split_tag(tag)[1] in keep else OUTSIDE for tag in tags)
