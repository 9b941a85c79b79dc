"""Train a tagger on word vectors, computed once or anew for every batch."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from extend.errors import DivergedError
from ner.features import LiveFeatures, VectorSource
from ner.score import count_spans
from ner.tagger import Tagger, TaggerSettings, tags_inside
from ner.train.prediction import predict
from ner.train.settings import POOL, TrainSettings
from ner.train.weights import Average, Best, State, copied

SOURCE_DEV, LAST, AVERAGED = "source-dev", "last", "averaged"
ORACLE = "target-dev oracle"


@dataclass(frozen=True)
class LabelledFeatures:
    """Word vectors of some sentences and the IOB2 tags of their words."""

    features: VectorSource
    tags: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        lengths = [self.features.length(index) for index in range(len(self.features))]
        if lengths != [len(tags) for tags in self.tags]:
            raise ValueError("one tag for each word vector, sentence by sentence")


@dataclass(frozen=True)
class TrainedHead:
    """A tagger at its best epoch (in eval mode) and what else was kept of its training.

    Args:
        dev_f1: F1 on dev after each epoch, in percent. best_epoch: counted from 1; the first of equals.
        weights: by way of selection (`source-dev`, `last`, `averaged`, `target-dev oracle LANGUAGE`), of the
            tagger and, where it was trained, the encoder.
    """

    tagger: Tagger
    dev_f1: tuple[float, ...]
    best_epoch: int
    weights: Mapping[str, State] = field(repr=False)
    _trained: nn.Module = field(repr=False)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The tags by index, in the tagger's own scheme."""
        return self.tagger.tag_names

    def select(self, selection: str) -> Tagger:
        """The tagger (and the encoder it was trained with) set to the weights of a way of selection."""
        self._trained.load_state_dict(self.weights[selection])
        self._trained.eval()
        return self.tagger


_GLOBAL_CHANCE = threading.Lock()
"""Held while start weights are drawn from torch's global generator: heads may be trained side by side."""

EpochDone = Callable[[int, float, float], None]


def train_tagger(
    train: LabelledFeatures,
    dev: LabelledFeatures,
    *,
    tagger: TaggerSettings,
    settings: TrainSettings,
    seed: int,
    oracles: Mapping[str, LabelledFeatures] | None = None,
    on_epoch: EpochDone | None = None,
    device: torch.device | None = None,
) -> TrainedHead:
    """Train one head; stop when dev F1 has not risen for `settings.patience` epochs; keep the best weights.

    The loss is summed over a batch, as in EXTEND's release, which gives the clip its meaning. All chance
    (start weights, order, dropout) comes from `seed`; the caller's random state is left as it was, and
    several heads may be trained at once in threads, unless vectors are computed anew.

    Args:
        train: when its vectors let gradients through, their encoder is trained too, and `dev` should ask it.
        oracles: dev sets of other languages; the epoch that is best on each is kept as well. It is no fair
            selection (zero-shot has no labels of the target), but tells what selection costs.
        on_epoch: is told epoch (from 1), mean loss a sentence, dev F1 in percent.
        device: where to train; default the CPU.

    Raises:
        DivergedError: a loss or gradient is not finite. ValueError: a tag of `train` is not the tagger's.
    """
    place = device or torch.device("cpu")
    gold = _indices(train.tags, tagger)
    run = _Run(_new_tagger(tagger, seed).to(place), train, gold, settings, seed)
    watched = {SOURCE_DEV: dev, **{f"{ORACLE} {name}": one for name, one in (oracles or {}).items()}}
    kept = {name: Best() for name in watched}
    dev_f1: list[float] = []
    average = Average()
    for epoch in range(1, settings.epochs + 1):
        loss = run.epoch()
        for name, one in watched.items():
            f1 = _f1(run.tagger, one)
            kept[name].offer(f1, epoch, run.trained)
            if name == SOURCE_DEV:
                dev_f1.append(f1)
        average.add(run.trained)
        if on_epoch is not None:
            on_epoch(epoch, loss, dev_f1[-1])
        if epoch - kept[SOURCE_DEV].epoch >= settings.patience:
            break
    weights = {name: best.weights for name, best in kept.items()}
    weights |= {LAST: copied(run.trained), AVERAGED: average.mean(run.trained)}
    head = TrainedHead(run.tagger, tuple(dev_f1), kept[SOURCE_DEV].epoch, weights, run.trained)
    head.select(SOURCE_DEV)
    return head


def _indices(sentences: Sequence[Sequence[str]], settings: TaggerSettings) -> list[Tensor]:
    index = {name: position for position, name in enumerate(settings.tag_names)}
    inside = [tags_inside(tags, settings.scheme) for tags in sentences]
    missing = {tag for tags in inside for tag in tags} - index.keys()
    if missing:
        raise ValueError(f"tags without an index: {sorted(missing)}")
    return [torch.tensor([index[tag] for tag in tags]) for tags in inside]


def _new_tagger(settings: TaggerSettings, seed: int) -> Tagger:
    with _GLOBAL_CHANCE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Tagger(settings)


class _Run:
    """A training under way."""

    def __init__(
        self,
        tagger: Tagger,
        train: LabelledFeatures,
        gold: Sequence[Tensor],
        settings: TrainSettings,
        seed: int,
    ) -> None:
        self.tagger, self._features, self._gold, self._settings = tagger, train.features, gold, settings
        self._place = next(tagger.parameters()).device
        tagger.draw_from(torch.Generator(self._place).manual_seed(seed))
        self._order = torch.Generator().manual_seed(seed)
        groups: list[dict[str, Any]] = [{"params": list(tagger.parameters()), "lr": settings.learning_rate}]
        parts = nn.ModuleDict({"tagger": tagger})
        if isinstance(train.features, LiveFeatures) and train.features.gradients:
            parts["encoder"] = train.features.encoder
            weights = list(train.features.encoder.parameters())
            groups.append({"params": weights, "lr": settings.encoder_learning_rate})
        self.trained: nn.Module = parts
        self._optimizer = torch.optim.Adam(groups)
        steps = settings.epochs * sum(1 for _ in self._batches(torch.Generator()))
        self._schedule = _schedule(self._optimizer, steps, settings.warmup) if "encoder" in parts else None

    def _batches(self, order: torch.Generator) -> Iterator[list[int]]:
        settings = self._settings
        return training_batches(self._features, settings.batch_size, order, pool=settings.pool)

    def epoch(self) -> float:
        """One pass over the sentences; the mean loss a sentence."""
        self.tagger.train()
        total = 0.0
        for batch in self._batches(self._order):
            vectors, lengths = self._features.batch(batch, self._place)
            tags = pad_sequence([self._gold[index] for index in batch], batch_first=True)
            loss = self.tagger.loss(vectors, tags.to(self._place), lengths)
            total += self._step(loss)
        return total / len(self._features)

    def _step(self, loss: Tensor) -> float:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.trained.parameters(), self._settings.clip)
        for name, value in (("loss", loss), ("gradient", norm)):
            if not math.isfinite(value.item()):
                raise DivergedError(
                    f"the NER {name} became {value.item()}",
                    name="E-NAN-LOSS",
                    next="try a smaller ner.learning_rate",
                )
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        return loss.item()


def _schedule(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> Any:
    rising = max(1, round(steps * warmup))

    def share(step: int) -> float:
        return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def training_batches(
    features: VectorSource, size: int, order: torch.Generator, *, pool: int = POOL
) -> Iterator[list[int]]:
    """Every sentence once, in batches of like length: shuffled, sorted within pools of batches, shuffled."""
    shuffled: list[int] = torch.randperm(len(features), generator=order).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), size * pool):
        near = sorted(shuffled[start : start + size * pool], key=features.length, reverse=True)
        batches += [near[first : first + size] for first in range(0, len(near), size)]
    turn: list[int] = torch.randperm(len(batches), generator=order).tolist()
    return (batches[position] for position in turn)


def _f1(tagger: Tagger, dev: LabelledFeatures) -> float:
    return count_spans(dev.tags, predict(tagger, dev.features)).total().f1
