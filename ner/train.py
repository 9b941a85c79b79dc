"""Train a BiLSTM-CRF head on word vectors that were computed once, and tag with it."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from extend.errors import DivergedError
from ner.features import WordFeatures
from ner.score import count_spans
from ner.tagger import BiLstmCrfTagger, constrained_crf

POOL = 20
"""Batches in a pool: sentences are shuffled, and sorted by length within a pool only."""

WORDS_A_BATCH = 4096


@dataclass(frozen=True)
class TrainSettings:
    """How heads are trained; the defaults are those of EXTEND's release (Adam)."""

    seeds: int = 5
    epochs: int = 75
    patience: int = 25
    batch_size: int = 32
    hidden_size: int = 200
    layers: int = 2
    dropout: float = 0.5
    learning_rate: float = 1e-3
    clip: float = 5.0


@dataclass(frozen=True)
class LabelledFeatures:
    """Word vectors of some sentences and the IOB2 tags of their words."""

    features: WordFeatures
    tags: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        lengths = [self.features.length(index) for index in range(len(self.features))]
        if lengths != [len(tags) for tags in self.tags]:
            raise ValueError("one tag for each word vector, sentence by sentence")


@dataclass(frozen=True)
class TrainedHead:
    """The tagger at its best epoch (in eval mode), its tags by index, and the F1 on dev after each epoch."""

    tagger: BiLstmCrfTagger
    tag_names: tuple[str, ...]
    dev_f1: tuple[float, ...]

    @property
    def best_epoch(self) -> int:
        """Counted from 1; the first of equals."""
        return 1 + max(range(len(self.dev_f1)), key=lambda epoch: (self.dev_f1[epoch], -epoch))


_GLOBAL_CHANCE = threading.Lock()
"""Held while start weights are drawn from torch's global generator: heads may be trained side by side."""

EpochDone = Callable[[int, float, float], None]


def train_tagger(
    train: LabelledFeatures,
    dev: LabelledFeatures,
    *,
    tag_names: Sequence[str],
    settings: TrainSettings,
    seed: int,
    on_epoch: EpochDone | None = None,
    device: torch.device | None = None,
) -> TrainedHead:
    """Train one head; stop when dev F1 has not risen for `settings.patience` epochs; keep the best weights.

    The loss is summed over a batch, as in EXTEND's release, which gives the clip its meaning. All chance
    (start weights, order, dropout) comes from `seed`; the caller's random state is left as it was, and
    several heads may be trained at once in threads.

    Args:
        tag_names: every tag of `train`; a tag's position is its index.
        on_epoch: is told epoch (from 1), mean loss a sentence, dev F1 in percent.
        device: where to train; default the CPU.

    Raises:
        DivergedError: a loss is not finite. ValueError: a tag of `train` is not in `tag_names`.
    """
    place = device or torch.device("cpu")
    index = {name: position for position, name in enumerate(tag_names)}
    missing = {tag for tags in train.tags for tag in tags} - index.keys()
    if missing:
        raise ValueError(f"tags without an index: {sorted(missing)}")
    gold = [torch.tensor([index[tag] for tag in tags]) for tags in train.tags]
    tagger = _new_tagger(train.features, tag_names, settings, seed).to(place)
    tagger.draw_from(torch.Generator(place).manual_seed(seed))
    optimizer = torch.optim.Adam(tagger.parameters(), lr=settings.learning_rate)
    order = torch.Generator().manual_seed(seed)
    dev_f1: list[float] = []
    best = -1.0
    best_weights = copy.deepcopy(tagger.state_dict())
    stale = 0
    for epoch in range(1, settings.epochs + 1):
        loss = _epoch(tagger, optimizer, train.features, gold, settings=settings, order=order)
        dev_f1.append(_f1(tagger, dev, tag_names))
        if on_epoch is not None:
            on_epoch(epoch, loss, dev_f1[-1])
        stale = 0 if dev_f1[-1] > best else stale + 1
        if not stale:
            best, best_weights = dev_f1[-1], copy.deepcopy(tagger.state_dict())
        if stale >= settings.patience:
            break
    tagger.load_state_dict(best_weights)
    return TrainedHead(tagger.eval(), tuple(tag_names), tuple(dev_f1))


def _new_tagger(
    features: WordFeatures, tag_names: Sequence[str], settings: TrainSettings, seed: int
) -> BiLstmCrfTagger:
    with _GLOBAL_CHANCE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BiLstmCrfTagger(
            features.vectors.shape[1],
            constrained_crf(tag_names),
            hidden_size=settings.hidden_size,
            layers=settings.layers,
            dropout=settings.dropout,
        )


def _epoch(
    tagger: BiLstmCrfTagger,
    optimizer: torch.optim.Optimizer,
    features: WordFeatures,
    gold: Sequence[Tensor],
    *,
    settings: TrainSettings,
    order: torch.Generator,
) -> float:
    tagger.train()
    place = next(tagger.parameters()).device
    total = 0.0
    for batch in training_batches(features, settings.batch_size, order):
        vectors, lengths = _batch(features, batch, place)
        tags = pad_sequence([gold[index] for index in batch], batch_first=True).to(place)
        loss = tagger.loss(vectors, tags, lengths)
        value = loss.item()
        if not abs(value) < float("inf"):
            raise DivergedError(
                f"the NER loss became {value}", name="E-NAN-LOSS", next="try a smaller ner.learning_rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(tagger.parameters(), settings.clip)
        optimizer.step()
        total += value
    return total / len(features)


def training_batches(features: WordFeatures, size: int, order: torch.Generator) -> Iterator[list[int]]:
    """Every sentence once, in batches of like length: shuffled, sorted within pools, batches shuffled."""
    shuffled: list[int] = torch.randperm(len(features), generator=order).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), size * POOL):
        pool = sorted(shuffled[start : start + size * POOL], key=features.length, reverse=True)
        batches += [pool[first : first + size] for first in range(0, len(pool), size)]
    turn: list[int] = torch.randperm(len(batches), generator=order).tolist()
    return (batches[position] for position in turn)


def _batch(features: WordFeatures, indices: Sequence[int], place: torch.device) -> tuple[Tensor, Tensor]:
    vectors = pad_sequence([features.sentence(index) for index in indices], batch_first=True)
    return vectors.to(place), torch.tensor([features.length(index) for index in indices])


@torch.no_grad()
def predict(
    tagger: BiLstmCrfTagger,
    features: WordFeatures,
    tag_names: Sequence[str],
    *,
    words_a_batch: int = WORDS_A_BATCH,
) -> list[tuple[str, ...]]:
    """The tags of every word of every sentence, in the order given, whatever the batches."""
    tagger.eval()
    place = next(tagger.parameters()).device
    result: list[tuple[str, ...]] = [()] * len(features)
    for batch in _prediction_batches(features, words_a_batch):
        vectors, lengths = _batch(features, batch, place)
        decoded = tagger.decode(vectors, lengths).tolist()
        for index, row in zip(batch, decoded, strict=True):
            result[index] = tuple(tag_names[tag] for tag in row[: features.length(index)])
    return result


def _prediction_batches(features: WordFeatures, words: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in sorted(range(len(features)), key=features.length, reverse=True):
        if batch and features.length(batch[0]) * (len(batch) + 1) > words:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _f1(tagger: BiLstmCrfTagger, dev: LabelledFeatures, tag_names: Sequence[str]) -> float:
    return count_spans(dev.tags, predict(tagger, dev.features, tag_names)).total().f1
