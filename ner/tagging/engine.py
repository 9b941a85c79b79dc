"""Passages to entities by an encoder and a trained head, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

from torch import nn

from extend.errors import CheckpointError
from ner.features import FeatureSettings, WordPieces, layer_count, tokens_that_fit, word_features
from ner.tagger import Tagger
from ner.tagging.passages import Entity, Passage, Tagged
from ner.tags import spans_of, tags_of
from ner.train import predict_all

WORDS_A_CHUNK = 8192
"""Words whose vectors are in memory at once; fewer when a word has a vector a layer."""
WORDS_A_STRETCH = 2048
"""Longer passages are tagged in stretches of at most so many words."""
CHARACTERS_REMEMBERED = 1 << 26
"""Of words cut into pieces, before the memory of them is given up."""
_ENDS = frozenset(".!?…。！？؟۔।॥؛;෴။።")


@final
class EntityTagger:
    """Tags words with a frozen encoder and a head trained on its vectors.

    Tags are the ones `ner-eval` gives the same words; they do not depend on how passages are batched. A
    passage of more than 2,048 words is tagged in stretches, each cut off after the last mark that ends a
    sentence in its second half, or else where it is full; no entity spans such a cut.

    Args:
        encoder: in eval mode, on the device it shall run on.
        pieces: gives the tokenizer's words-to-pieces anew, since one remembers all that it has cut.
        head: the trained head. features: what it was trained to read of the encoder.
        words_a_batch: padded words a batch of the head. tokens_a_batch: padded pieces a batch of the encoder;
            default what is fast on its device.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pieces: Callable[[], WordPieces],
        head: Tagger,
        *,
        features: FeatureSettings,
        words_a_batch: int = 4096,
        tokens_a_batch: int | None = None,
    ) -> None:
        self.encoder = encoder.eval()
        self.head = head.eval()
        self.features = features
        self._new_pieces = pieces
        self._pieces = pieces()
        self._characters = 0
        self._words_a_batch = words_a_batch
        self._tokens_a_batch = tokens_a_batch or tokens_that_fit(encoder)
        self._chunk = max(WORDS_A_STRETCH, WORDS_A_CHUNK // max(1, head.settings.mixed_layers))

    def tag(self, passages: Iterable[Passage]) -> Iterator[Tagged]:
        """Every passage with its tags and entities, in the order given."""
        waiting: list[Passage] = []
        words = 0
        for passage in passages:
            waiting.append(passage)
            words += 1 + len(passage.words)  # passages without words are not heaped up without end
            if words >= self._chunk:
                yield from self._tagged(waiting)
                waiting, words = [], 0
        yield from self._tagged(waiting)

    def _tagged(self, passages: Sequence[Passage]) -> Iterator[Tagged]:
        stretches = [[passage.words[a:b] for a, b in cut_long(passage.words)] for passage in passages]
        tags: list[str] = []
        chances: list[float] = []
        for group in _groups((words for own in stretches for words in own), self._chunk):
            for found, chance in self._predicted(group):
                tags += found
                chances += chance
        begin = 0
        for passage in passages:
            end = begin + len(passage.words)
            yield as_tagged(passage, tags[begin:end], chances[begin:end])
            begin = end

    def _predicted(self, words: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], Sequence[float]]]:
        self._characters += sum(len(word) for sentence in words for word in sentence)
        if self._characters > CHARACTERS_REMEMBERED:
            self._pieces, self._characters = self._new_pieces(), 0
        vectors = word_features(
            self.encoder, self._pieces, words, settings=self.features, tokens_a_batch=self._tokens_a_batch
        )
        found = predict_all(self.head, vectors, words_a_batch=self._words_a_batch)
        # An entity must not reach over a cut: the first tag of a stretch begins what it is inside of.
        for tags, chances in zip(found.tags, found.confidence, strict=True):
            yield tags_of(spans_of(tags), len(tags)), chances


def entity_tagger(
    encoder: nn.Module, directory: Path, head: Tagger, features: FeatureSettings
) -> EntityTagger:
    """An `EntityTagger` with the tokenizer of the encoder's folder.

    Raises CheckpointError when the encoder's vectors do not fit the head, or there is no tokenizer.
    """
    config: Any = encoder.config
    size, layers = int(config.hidden_size), layer_count(encoder)
    settings = head.settings
    if (size, layers) != (settings.features, settings.mixed_layers or layers):
        raise CheckpointError(
            f"{directory} does not fit the tagger's head",
            name="E-TAGGER-ENCODER",
            why=f"it has {layers} layers of size {size}; the head reads "
            f"{settings.mixed_layers or 'any'} of size {settings.features}",
        )

    def pieces() -> WordPieces:
        return WordPieces(directory, wordpiece_only=features.wordpiece_only)

    return EntityTagger(encoder, pieces, head, features=features)


def cut_long(words: Sequence[str], most: int = WORDS_A_STRETCH) -> list[tuple[int, int]]:
    """Where to cut a passage so that no stretch has more than `most` words; see `EntityTagger`."""
    stretches: list[tuple[int, int]] = []
    begin = 0
    while len(words) - begin > most:
        full = begin + most
        ends = (
            place + 1 for place in range(full - 1, begin + most // 2 - 1, -1) if words[place][-1:] in _ENDS
        )
        stretches.append((begin, next(ends, full)))
        begin = stretches[-1][1]
    return [*stretches, (begin, len(words))] if begin < len(words) else stretches


def _groups(stretches: Iterable[Sequence[str]], words: int) -> Iterator[list[Sequence[str]]]:
    group: list[Sequence[str]] = []
    size = 0
    for stretch in stretches:
        if group and size + len(stretch) > words:
            yield group
            group, size = [], 0
        group.append(stretch)
        size += len(stretch)
    if group:
        yield group


def as_tagged(passage: Passage, tags: Sequence[str], chances: Sequence[float]) -> Tagged:
    """A passage with IOB2 `tags` and the probability of each; an entity is as sure as its least sure word."""
    entities = []
    for span in sorted(spans_of(tags)):
        if passage.text is None:
            start, end = span.start, span.end
            text = " ".join(passage.words[start:end])
        else:
            start, end = passage.bounds[span.start][0], passage.bounds[span.end - 1][1]
            text = passage.text[start:end]
        confidence = min(1.0, *chances[span.start : span.end])
        entities.append(Entity(start, end, span.label, text, confidence))
    return Tagged(passage, tuple(tags), tuple(entities))
