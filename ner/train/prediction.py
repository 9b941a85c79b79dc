"""Tag sentences that have vectors, in batches of like length."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ner.features import VectorSource
from ner.tagger import Tagger, tags_outside

WORDS_A_BATCH = 4096


@dataclass(frozen=True)
class Prediction:
    """The IOB2 tags of some sentences and, of each word, the probability of its tag (where asked for)."""

    tags: list[tuple[str, ...]]
    confidence: list[tuple[float, ...]]


def predict(
    tagger: Tagger, features: VectorSource, *, words_a_batch: int = WORDS_A_BATCH
) -> list[tuple[str, ...]]:
    """The IOB2 tags of every word of every sentence, in the order given, whatever the batches."""
    return predict_all(tagger, features, words_a_batch=words_a_batch, confidence=False).tags


@torch.no_grad()
def predict_all(
    tagger: Tagger, features: VectorSource, *, words_a_batch: int = WORDS_A_BATCH, confidence: bool = True
) -> Prediction:
    """As `predict`, with the marginal probability of each word's tag."""
    tagger.eval()
    place = next(tagger.parameters()).device
    found = Prediction([()] * len(features), [()] * len(features) if confidence else [])
    for batch in prediction_batches(features, words_a_batch):
        vectors, lengths = features.batch(batch, place)
        if confidence:
            tags, chances = tagger.decode_with_confidence(vectors, lengths)
            for index, row in zip(batch, chances.tolist(), strict=True):
                found.confidence[index] = tuple(row[: features.length(index)])
        else:
            tags = tagger.decode(vectors, lengths)
        for index, row in zip(batch, tags.tolist(), strict=True):
            inside = (tagger.tag_names[tag] for tag in row[: features.length(index)])
            found.tags[index] = tags_outside(inside, tagger.settings.scheme)
    return found


def prediction_batches(features: VectorSource, words: int) -> Iterator[list[int]]:
    """Every sentence once, longest first, at most `words` padded words a batch."""
    batch: list[int] = []
    for index in sorted(range(len(features)), key=features.length, reverse=True):
        if batch and features.length(batch[0]) * (len(batch) + 1) > words:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
