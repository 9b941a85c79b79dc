"""Vectors of a vocabulary's pieces from a corpus that its tokenizer has segmented: CBOW with n-grams.

FOCUS (Dobler and de Melo 2023) takes fastText over the pieces of the target text: CBOW (Mikolov et al. 2013)
with character n-grams (Bojanowski et al. 2017), dimension 100, 3 epochs, 10 negatives, pieces that occur 10
times. We follow its settings with gensim's implementation and differ in four points.

- A new piece that occurs less often than `min_count` gets the mean of its n-grams' vectors, those that
  training has touched. The release leaves it without a vector, and its row random: of 30,000 Kinyarwanda
  pieces that is 61 %. A lower count alone gives them vectors too, but with a quarter to a third of the
  neighbours that a long training finds.
- N-grams have 3 and 4 characters, not 3 to 6: the same neighbours in less time.
- The learning rate is 0.1, not 0.05: nearer to the neighbours of a training of 15 epochs, for rare and
  frequent pieces alike.
- One thread, so that the same corpus and seed give the same bytes. That costs the speed of the others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from gensim.models import FastText
from gensim.models.callbacks import CallbackAny2Vec

from extend.types import Progress
from extend.vectors.ngrams import NgramRule, ngram_buckets, summed_rows
from extend.vectors.nouns import Matrix, PieceVectors

_LONGEST = 10_000
"""gensim drops what a sequence has beyond this many pieces; longer ones are cut into several."""


@final
@dataclass(frozen=True, slots=True)
class Cbow:
    """Settings of the training; the defaults are the FOCUS release's but for what is said above.

    `sample` thins out frequent pieces (Mikolov et al. 2013, section 2.3), `ngrams` are the shortest and
    longest n-grams in characters, `buckets` how many vectors they share.
    """

    dimension: int = 100
    window: int = 5
    negative: int = 10
    min_count: int = 10
    epochs: int = 3
    learning_rate: float = 0.1
    sample: float = 1e-3
    ngrams: tuple[int, int] = (3, 4)
    buckets: int = 1 << 17

    def __post_init__(self) -> None:
        whole = (self.dimension, self.window, self.negative, self.min_count, self.epochs, self.buckets)
        if min(whole) < 1 or not 1 <= self.ngrams[0] <= self.ngrams[1]:
            raise ValueError(f"whole numbers from 1, n-grams from short to long, got {self}")
        if not 0 < self.learning_rate <= 1 or not 0 <= self.sample <= 1:
            raise ValueError(f"learning_rate is in (0, 1], sample in [0, 1], got {self}")


DEFAULT = Cbow()


def train_piece_vectors(
    sequences: Iterable[Sequence[int]],
    *,
    pieces: Sequence[str],
    first_new: int,
    seed: int,
    cbow: Cbow = DEFAULT,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> PieceVectors:
    """Vectors for a vocabulary of `pieces` from sequences of their ids: (len(pieces), cbow.dimension).

    `sequences` is gone through 1 + `cbow.epochs` times and is never whole in memory; it gives the same every
    time. `on_progress` hears of every epoch.
    A piece has a vector when it occurs `cbow.min_count` times; from id `first_new` on also a rarer one that
    shares an n-gram with such pieces. Old pieces below the count have none, so that what serves as an anchor
    stands on evidence. Without any piece that frequent, no piece has a vector.

    Raises ValueError for an id outside the vocabulary or pieces that are not distinct.
    """
    if len(set(pieces)) != len(pieces):
        raise ValueError("a vocabulary has each piece once")
    texts = _Texts(sequences, pieces)
    counts = texts.count()
    vectors = np.zeros((len(pieces), cbow.dimension), dtype=np.float32)
    frequent = np.flatnonzero(counts >= cbow.min_count).tolist()
    if not frequent:
        return PieceVectors(vectors)
    model = _trained(texts, counts, seed=seed, cbow=cbow, on_progress=on_progress)
    vectors[frequent] = model.wv.vectors[[model.wv.key_to_index[pieces[place]] for place in frequent]]
    rare = (first_new + np.flatnonzero(counts[first_new:] < cbow.min_count)).tolist()
    vectors[rare] = _composed(
        [pieces[place] for place in rare],
        model.wv.vectors_ngrams,
        trained=[pieces[place] for place in frequent],
        rule=NgramRule(*cbow.ngrams, cbow.buckets),
    )
    return PieceVectors(vectors)


class _Texts:
    """The sequences as gensim wants them: lists of texts, none too long, as often as it asks."""

    def __init__(self, sequences: Iterable[Sequence[int]], pieces: Sequence[str]) -> None:
        self._sequences, self.pieces, self.number = sequences, pieces, 0

    def count(self) -> npt.NDArray[np.int64]:
        """How often each id occurs; `number` says afterwards how many lists there are."""
        counted: Counter[int] = Counter()
        for sequence in self._sequences:
            counted.update(sequence)
            self.number += -(-len(sequence) // _LONGEST)
        outside = next((piece for piece in counted if not 0 <= piece < len(self.pieces)), None)
        if outside is not None:
            raise ValueError(f"ids are below {len(self.pieces)}, got {outside}")
        counts = np.zeros(len(self.pieces), dtype=np.int64)
        counts[list(counted.keys())] = list(counted.values())
        return counts

    def __iter__(self) -> Iterator[list[str]]:
        for sequence in self._sequences:
            for start in range(0, len(sequence), _LONGEST):
                yield [self.pieces[piece] for piece in sequence[start : start + _LONGEST]]


def _trained(
    texts: _Texts,
    counts: npt.NDArray[np.int64],
    *,
    seed: int,
    cbow: Cbow,
    on_progress: Callable[[Progress], None],
) -> FastText:
    model = FastText(
        sg=0,
        vector_size=cbow.dimension,
        window=cbow.window,
        negative=cbow.negative,
        min_count=cbow.min_count,
        epochs=cbow.epochs,
        alpha=cbow.learning_rate,
        sample=cbow.sample,
        min_n=cbow.ngrams[0],
        max_n=cbow.ngrams[1],
        bucket=cbow.buckets,
        seed=seed,
        workers=1,
        sorted_vocab=0,
    )
    order = np.lexsort((np.arange(len(counts)), -counts))
    occurring = order[counts[order] > 0]
    frequencies = {texts.pieces[place]: int(counts[place]) for place in occurring}
    model.build_vocab_from_freq(frequencies, corpus_count=texts.number)
    told = _Told(cbow.epochs, on_progress)
    model.train(texts, total_examples=texts.number, epochs=cbow.epochs, callbacks=[told])
    return model


class _Told(CallbackAny2Vec):  # type: ignore[misc]
    def __init__(self, epochs: int, on_progress: Callable[[Progress], None]) -> None:
        self._epochs, self._on_progress, self._done = epochs, on_progress, 0

    def on_epoch_end(self, model: FastText) -> None:
        self._done += 1
        self._on_progress(Progress("vectors", self._done, self._epochs, "training vectors of the pieces"))


def _composed(
    texts: Sequence[str], table: Matrix, *, trained: Sequence[str], rule: NgramRule
) -> npt.NDArray[np.float32]:
    """The mean of each text's n-gram vectors, those of n-grams that `trained` texts have; else zeros."""
    known = np.zeros(rule.buckets, dtype=np.bool_)
    known[ngram_buckets(trained, rule)[1]] = True
    owners, buckets = ngram_buckets(texts, rule)
    owners, buckets = owners[known[buckets]], buckets[known[buckets]]
    rows = np.zeros((len(texts), table.shape[1]), dtype=np.float32)
    summed_rows(owners, table[buckets], rows)
    shared = np.bincount(owners, minlength=len(texts))[:, None]
    return (rows / np.maximum(shared, 1)).astype(np.float32)
