"""What is tagged: words, and what they were read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """Words to tag, and one of the things they came from; no words where there is nothing to tag.

    Attributes:
        words: the words.
        text: the line of text that they were cut from.
        bounds: where each word begins and ends in `text`, in characters.
        rows: the lines of a column file: one a word, or lines without words that stay as they are.
        record: the JSON object that gave the words or the text.
    """

    words: tuple[str, ...]
    text: str | None = None
    bounds: tuple[tuple[int, int], ...] = ()
    rows: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity: its place, its type, how it is written, and the confidence (0 to 1).

    `start` and `end` count characters of a text, or words where words were given; `end` is not included.
    """

    start: int
    end: int
    type: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Tagged:
    """A passage with an IOB2 tag a word and the entities that the tags spell."""

    passage: Passage
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]
