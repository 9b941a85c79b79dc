"""The nouns that flow through the toolkit. Standard library only; every noun is frozen.

corpus -> WordCounts -> Subword -> VocabularyExtension -> Segmentation -> rows -> model -> Score
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

WordCounts = Mapping[str, int]
"""Exact counts of pre-tokenized words, as the base tokenizer's normalizer and splitter give them."""

Segmentation = tuple[int, ...]
"""Base ids that spell one added piece."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of text: one line of a plain-text corpus, or one record of a structured one.

    `language` is a BCP 47 tag, `source` the file (or dataset) it was read from.
    `starts_document` is true when a blank line or a new record stood before it.
    """

    text: str
    language: str
    source: str
    starts_document: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Subword:
    """A learned part of a word before any spelling: the learner knows no `##` and no `▁`."""

    text: str
    continues: bool

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("a subword has at least one character")


@dataclass(frozen=True)
class Vocabulary:
    """Pieces in id order: a piece's id is its position. Refuses duplicates."""

    pieces: tuple[str, ...]
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {piece: index for index, piece in enumerate(self.pieces)}
        if len(ids) != len(self.pieces):
            twice = next(piece for index, piece in enumerate(self.pieces) if ids[piece] != index)
            raise ValueError(f"a vocabulary has each piece once, got {twice!r} twice")
        object.__setattr__(self, "ids", ids)

    def __len__(self) -> int:
        return len(self.pieces)

    def __contains__(self, piece: object) -> bool:
        return piece in self.ids


@dataclass(frozen=True)
class VocabularyExtension:
    """A base vocabulary, untouched, and one block of added pieces after it. Refuses clashes."""

    base: Vocabulary
    added: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.added)) != len(self.added):
            raise ValueError("an extension adds each piece once")
        clash = next((piece for piece in self.added if piece in self.base), None)
        if clash is not None:
            raise ValueError(f"an extension adds only what the base lacks, got {clash!r}")

    @property
    def added_ids(self) -> range:
        return range(len(self.base), len(self.base) + len(self.added))

    def __len__(self) -> int:
        return len(self.base) + len(self.added)


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Ids that training must know. `unmaskable` are never predicted and never drawn as replacements."""

    mask: int
    pad: int
    unk: int
    start: int
    end: int
    unmaskable: frozenset[int]
    vocab_size: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """One logged training step. Losses are nats a prediction, `tokens` all tokens so far."""

    step: int
    steps: int
    stage: str
    loss: float
    mlm_loss: float
    nsp_loss: float | None
    learning_rate: float
    grad_norm: float
    tokens: int
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A base resolved once: what the user wrote, the commit it stood for, the folder it lies in."""

    name: str
    revision: str | None
    directory: Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """What made a checkpoint: enough to make it again and to say so in a card."""

    base_model: str
    base_revision: str | None
    added_pieces: int
    initializer: str
    corpus_sha256: str
    seed: int


@dataclass(frozen=True, slots=True)
class Score:
    """One evaluation of one model on one language with one seed, whatever task wrote it (fractions of 1)."""

    task: str
    language: str
    model: str
    seed: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is. Rooms hand it to a callback; only the command line shows it.

    `details` are numbers and words worth showing beside the bar (loss, tokens_per_second).
    """

    stage: str
    done: int
    total: int
    text: str = ""
    details: Mapping[str, float | str] = field(default_factory=dict)
