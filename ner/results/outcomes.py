"""What scoring starts from: the tags of each head, the gold side, and what heads had seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ner.tags import OUTSIDE, TaggedSentence, spans_of

Words = Mapping[str, frozenset[str]]
Tags = tuple[tuple[str, ...], ...]

SOURCE_DEV = "source-dev"


@dataclass(frozen=True)
class Outcome:
    """One head on one test set.

    `selection` says which weights were kept: `source-dev`, `target-dev oracle`, `last`, `averaged`, ... Of
    several, the first is the score; the others are told beside it. `confidence` has for each word the
    probability of its tag, or of the entity it is in; an entity's is the least of its words.
    """

    encoder: str
    train: str
    test: str
    seed: int
    predicted: Tags
    dev_f1: float
    epochs: int
    selection: str = SOURCE_DEV
    confidence: tuple[tuple[float, ...], ...] | None = None

    @property
    def nothing(self) -> bool:
        """Whether no entity was predicted at all."""
        return all(tag == OUTSIDE for tags in self.predicted for tag in tags)


@dataclass(frozen=True)
class Seen:
    """The words of a training set, and its entities as they are written (words joined by a space)."""

    words: frozenset[str]
    entities: frozenset[str]

    @classmethod
    def of(cls, sentences: Iterable[TaggedSentence]) -> "Seen":
        words: set[str] = set()
        entities: set[str] = set()
        for sentence in sentences:
            words.update(sentence.words)
            entities.update(
                " ".join(sentence.words[span.start : span.end]) for span in spans_of(sentence.tags)
            )
        return cls(frozenset(words), frozenset(entities))


@dataclass(frozen=True)
class TestSet:
    """The gold side of outcomes, and what each encoder's tokenizer makes of its words.

    Args:
        unk_rate, fertility: by encoder, over the words of the set. unknown_words: those that give an [UNK].
        pieces: by encoder and word, the word's pieces. new_pieces: by encoder, the pieces it has and the
            first encoder has not. seen: by training language. Without these three, scores of entities seen
            and unseen, and with a new piece, are left out.
    """

    __test__ = False

    sentences: tuple[TaggedSentence, ...]
    unk_rate: Mapping[str, float]
    fertility: Mapping[str, float]
    unknown_words: Words
    pieces: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    new_pieces: Words = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def tags(self) -> Tags:
        return tuple(sentence.tags for sentence in self.sentences)

    def new_piece_words(self, encoder: str) -> frozenset[str] | None:
        """The words that take a piece the first encoder has not; None when the pieces were not given."""
        if encoder not in self.pieces or encoder not in self.new_pieces:
            return None
        new = self.new_pieces[encoder]
        return frozenset(word for word, pieces in self.pieces[encoder].items() if not new.isdisjoint(pieces))
