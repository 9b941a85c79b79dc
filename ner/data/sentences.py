"""The noun that readers give, and the checks that all of them make of a word and a tag."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extend.errors import DataError, escaped
from ner.tags import OUTSIDE, split_tag

MAX_WORDS = 1_000_000
"""Words of the longest sentence: what a reader holds at a time."""
_COMMON_TYPES = ("PER", "LOC", "ORG", "MISC")
_PREFIXES = frozenset("BIESLUMW")


@dataclass(frozen=True, slots=True)
class LocatedSentence:
    """A sentence as its file has it: the tags in the file's own scheme, and the line of each word."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    lines: tuple[int, ...]


Row = tuple[str, str, int]
"""A word, its tag, its line."""


def sentence_of(rows: Sequence[Row]) -> Iterator[LocatedSentence]:
    """The sentence of these rows; none when there are none, so that no sentence is empty."""
    if rows:
        words, tags, numbers = zip(*rows, strict=True)
        yield LocatedSentence(words, tags, numbers)


def bad_line(path: Path, number: int, line: str, *, why: str, next: str = "") -> DataError:
    """E-CONLL for a line of columns that cannot be read."""
    return DataError(
        f"{path}:{number}: not a line of a CoNLL file: {escaped(line, limit=60)}",
        name="E-CONLL",
        why=why,
        next=next or "mend this line; expected: word, tab or space, tag",
    )


def check_length(path: Path, number: int, length: int) -> None:
    """Raises DataError E-SENTENCE for a sentence that has grown over MAX_WORDS."""
    if length > MAX_WORDS:
        raise DataError(
            f"{path}:{number}: a sentence of over {MAX_WORDS:,} words",
            name="E-SENTENCE",
            why="a blank line ends a sentence, and there was none",
            next="put blank lines between sentences",
        )


def word_fault(word: str) -> str:
    """Why this cannot be a word; empty when it can."""
    if not word or "\t" in word or "\n" in word or "\r" in word:
        return "the word is empty or holds a tab or a line break"
    return ""


def tag_fault(tag: str) -> tuple[str, str]:
    """Why this is no tag, and what may have been meant; two empty strings when it is one."""
    try:
        split_tag(tag)
    except ValueError:
        why = f"{escaped(tag)} is not a tag; a tag is O or PREFIX-TYPE, PREFIX one of B I E S L U M W"
        return why, f"did you mean {closest_tag(tag)}?"
    return "", ""


def closest_tag(tag: str) -> str:
    """The tag that the text of none most likely stands for."""
    kept = tag[:200]
    name = "".join(character for character in kept if character.isalnum() or character in "-_.").upper()
    name = name.replace("_", "-", 1) if "-" not in name else name
    prefix, _, label = name.partition("-")
    if label and prefix in _PREFIXES:
        return f"{prefix}-{label[:64]}"
    if name in _COMMON_TYPES:
        return f"B-{name}"
    common = ("O", *(f"{mark}-{label}" for mark in "BI" for label in _COMMON_TYPES))
    return next(iter(difflib.get_close_matches(name, common, n=1, cutoff=0.3)), OUTSIDE)
