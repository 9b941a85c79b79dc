"""Scores of some of the entities: seen or not, with an [UNK] or not, of one word or many; with their counts.

Every span counts by its own words: a gold one as found or missed, a predicted one as right or spurious.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ner.results.outcomes import Outcome, TestSet
from ner.score import Ints
from ner.tags import OUTSIDE, Span, spans_of

SEEN, UNK, NEW_PIECE, LENGTH = 1, 2, 4, 8
TRAITS = {"seen": SEEN, "unk": UNK, "new_piece": NEW_PIECE, "words": LENGTH}
"""How the traits of a span make one number: a sum of these, `words` times 0 to 3 (for 1, 2, 3, 4 or more)."""

LONGEST = 4


@dataclass(frozen=True)
class Stratum:
    """A name, which trait it asks about, and which spans (by the number of their traits) belong to it."""

    name: str
    trait: str
    holds: Callable[[Ints], Any]


STRATA = (
    Stratum("seen", "seen", lambda traits: traits & SEEN > 0),
    Stratum("unseen", "seen", lambda traits: traits & SEEN == 0),
    Stratum("without_unk", "unk", lambda traits: traits & UNK == 0),
    Stratum("with_unk", "unk", lambda traits: traits & UNK > 0),
    Stratum("without_new_piece", "new_piece", lambda traits: traits & NEW_PIECE == 0),
    Stratum("with_new_piece", "new_piece", lambda traits: traits & NEW_PIECE > 0),
    Stratum("words_1", "words", lambda traits: traits // LENGTH == 0),
    Stratum("words_2", "words", lambda traits: traits // LENGTH == 1),
    Stratum("words_3", "words", lambda traits: traits // LENGTH == 2),
    Stratum("words_4+", "words", lambda traits: traits // LENGTH == 3),
)


@dataclass(frozen=True)
class SpanRows:
    """The spans of one head, summed by sentence, type and traits; all arrays [rows], in that order.

    `tp` are spans predicted rightly, `fp` predicted wrongly, `fn` missed.
    """

    sentences: int
    types: tuple[str, ...]
    sentence: Ints
    type: Ints
    traits: Ints
    tp: Ints
    fp: Ints
    fn: Ints

    def by_sentence(self, chosen: Any = slice(None)) -> Ints:
        """[sentences, 3]: matched, predicted, gold, of the chosen rows."""
        counts = np.zeros((self.sentences, 3), dtype=np.int64)
        tp, fp, fn = self.tp[chosen], self.fp[chosen], self.fn[chosen]
        np.add.at(counts, self.sentence[chosen], np.stack([tp, tp + fp, tp + fn], axis=1))
        return counts

    def of(self, stratum: Stratum) -> Ints:
        return self.by_sentence(stratum.holds(self.traits))

    def as_json(self) -> dict[str, list[int]]:
        """The six columns as lists."""
        return {name: getattr(self, name).tolist() for name in _COLUMNS}

    @classmethod
    def from_json(cls, columns: Any, *, sentences: int, types: Sequence[str]) -> "SpanRows":
        """What `as_json` gave, back."""
        return cls(sentences, tuple(types), *(np.array(columns[name], dtype=np.int64) for name in _COLUMNS))


_COLUMNS = ("sentence", "type", "traits", "tp", "fp", "fn")


def span_rows(outcome: Outcome, test: TestSet, types: Sequence[str]) -> SpanRows:
    """Every gold and predicted span of one head, by sentence, type and traits. `types` are all there are."""
    traits_of = _traits(outcome, test)
    index = {label: place for place, label in enumerate(types)}
    cells: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for number, (sentence, tags) in enumerate(zip(test.sentences, outcome.predicted, strict=True)):
        wanted, found = _spans(sentence.tags), _spans(tags)
        for column, spans in enumerate((wanted & found, found - wanted, wanted - found)):
            for span in spans:
                key = number, index[span.label], traits_of(sentence.words[span.start : span.end])
                cells[key][column] += 1
    rows = [(*key, *cells[key]) for key in sorted(cells)]
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(_COLUMNS)).T
    return SpanRows(len(test.sentences), tuple(types), *columns)


def _spans(tags: Sequence[str]) -> frozenset[Span]:
    return spans_of(tags) if any(tag != OUTSIDE for tag in tags) else frozenset()


def strata_of(outcome: Outcome, test: TestSet) -> list[Stratum]:
    """Those that can be told apart with what is known of the test set."""
    known = {"unk", "words"}
    known |= {"seen"} if outcome.train in test.seen else set()
    known |= {"new_piece"} if test.new_piece_words(outcome.encoder) is not None else set()
    return [stratum for stratum in STRATA if stratum.trait in known]


def _traits(outcome: Outcome, test: TestSet) -> Callable[[Sequence[str]], int]:
    unknown = test.unknown_words.get(outcome.encoder, frozenset())
    new = test.new_piece_words(outcome.encoder) or frozenset()
    seen = test.seen[outcome.train].entities if outcome.train in test.seen else frozenset()

    def of(words: Sequence[str]) -> int:
        return (
            SEEN * (" ".join(words) in seen)
            + UNK * any(word in unknown for word in words)
            + NEW_PIECE * any(word in new for word in words)
            + LENGTH * (min(len(words), LONGEST) - 1)
        )

    return of
