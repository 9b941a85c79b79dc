"""One protocol under way: encoders go in one by one, what their heads predict gathers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ner.evaluate.encoder import Encoder
from ner.evaluate.meter import Meter
from ner.evaluate.method import Method
from ner.features import VectorSource, WordFeatures
from ner.heads import side_by_side, train_heads
from ner.results import Outcome, Seen, TestSet
from ner.sets import Experiment, LanguageSets
from ner.tags import TaggedSentence
from ner.train import (
    ORACLE,
    LabelledFeatures,
    Prediction,
    TrainedHead,
    TrainSettings,
    predict_all,
)


@dataclass(frozen=True)
class Trained:
    """The heads of one encoder and training set by seed; with a trained encoder the best head alone."""

    heads: Mapping[int, TrainedHead]
    model: nn.Module | None = None

    @property
    def dev_f1(self) -> float:
        return max(max(head.dev_f1) for head in self.heads.values())


@dataclass
class Bench:
    """One protocol under way.

    Encoders whose vectors of the training language are bit-equal share the heads too, when heads are trained
    on vectors that are kept.
    """

    plan: Sequence[Experiment]
    sets: Mapping[str, LanguageSets]
    settings: TrainSettings
    method: Method = field(kw_only=True)
    first_seed: int = field(kw_only=True)
    device: torch.device = field(kw_only=True)
    meter: Meter = field(kw_only=True)
    outcomes: list[Outcome] = field(default_factory=list)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    trained: dict[tuple[str, str], Trained] = field(default_factory=dict)
    _heads: dict[str, list[TrainedHead]] = field(default_factory=dict)

    def add(self, name: str, encoder: Encoder) -> None:
        """Train heads on every training set of the plan (or take an equal encoder's), tag the tests."""
        self.encoders[name] = encoder
        for experiment in self.plan:
            self.meter.tell(f"{name}: vectors of {experiment.train}", self.meter.done)
            if self.method.mode == "finetune":
                self._finetune(name, experiment)
            else:
                self._on_kept_weights(name, experiment)

    def _on_kept_weights(self, name: str, experiment: Experiment) -> None:
        """Heads side by side on an encoder that stays as it is."""
        encoder, own = self.encoders[name], self._own(experiment)
        with self.meter.timed("encoding"):
            dev = encoder.labelled(own[1])
            oracles = {
                language: encoder.labelled(sentences)
                for language, sentences in self._oracle_sentences(experiment).items()
            }
            if self.method.live:
                train = encoder.live(own[0], encoder.model, dropout=True, gradients=False)
            else:
                train = encoder.labelled(own[0])
        key = name if self.method.live else "-".join(map(_digest, [train, dev, *oracles.values()]))
        key = f"{experiment.train} {key}"
        if key not in self._heads:
            text = f"{name} on {experiment.train}"
            self._heads[key] = self._train(text, experiment, encoder, (train, dev), oracles)
        seeded = dict(enumerate(self._heads[key], self.first_seed))
        self.trained[name, experiment.train] = Trained(seeded)
        self.meter.done += self.settings.seeds * self.settings.epochs
        for language in experiment.tests:
            self.meter.tell(f"{name}: {experiment.train} to {language}", self.meter.done)
            with self.meter.timed("encoding"):
                features = encoder.features(self._test_sentences(language))
            self._tag(name, experiment.train, language, seeded, features)

    def _finetune(self, name: str, experiment: Experiment) -> None:
        """Seed after seed, each on an encoder of its own that is gone when its tests are tagged."""
        encoder, (train, dev) = self.encoders[name], self._own(experiment)
        for seed in range(self.first_seed, self.first_seed + self.settings.seeds):
            model = encoder.trainable()
            oracles = {
                language: encoder.live(sentences, model, dropout=False, gradients=False)
                for language, sentences in self._oracle_sentences(experiment).items()
            }
            sources = (
                encoder.live(train, model, dropout=True, gradients=True),
                encoder.live(dev, model, dropout=False, gradients=False),
            )
            text = f"{name} on {experiment.train}"
            (head,) = self._train(text, experiment, encoder, sources, oracles, seed=seed)
            self.meter.done += self.settings.epochs
            for language in experiment.tests:
                self.meter.tell(f"{name}: {experiment.train} to {language}, seed {seed}", self.meter.done)
                sentences = self._test_sentences(language)
                tested = encoder.live(sentences, model, dropout=False, gradients=False)
                self._tag(name, experiment.train, language, {seed: head}, tested.features)
            before = self.trained.get((name, experiment.train))
            if before is None or max(head.dev_f1) > before.dev_f1:
                self.trained[name, experiment.train] = Trained({seed: head}, model)

    def _own(self, experiment: Experiment) -> tuple[tuple[TaggedSentence, ...], tuple[TaggedSentence, ...]]:
        own = self.sets[experiment.train]
        if own.train is None or own.dev is None:
            raise ValueError("an experiment has a training and a dev set")
        return own.train.sentences, own.dev.sentences

    def _oracle_sentences(self, experiment: Experiment) -> dict[str, tuple[TaggedSentence, ...]]:
        if ORACLE not in self.method.select:
            return {}
        found = {language: self.sets[language].dev for language in experiment.tests}
        return {
            language: dev.sentences
            for language, dev in found.items()
            if dev is not None and language != experiment.train
        }

    def _train(
        self,
        text: str,
        experiment: Experiment,
        encoder: Encoder,
        sources: tuple[LabelledFeatures, LabelledFeatures],
        oracles: Mapping[str, LabelledFeatures],
        *,
        seed: int | None = None,
    ) -> list[TrainedHead]:
        before = self.meter.done
        reached: dict[int, int] = {}

        def told(seed: int, epoch: int, loss: float, f1: float) -> None:
            reached[seed] = epoch
            self.meter.tell(f"{text}, seed {seed}", before + sum(reached.values()), loss=loss, dev_f1=f1)

        train, dev = sources
        features = train.features
        size, mixed = _size(features) if isinstance(features, WordFeatures) else encoder.vector_size
        own = self.sets[experiment.train].train
        labels = own.labels if own is not None else ()
        with self.meter.timed("training"):
            return train_heads(
                train,
                dev,
                tagger=self.settings.tagger(size, labels, mixed_layers=mixed),
                settings=self.settings if seed is None else replace(self.settings, seeds=1),
                first_seed=self.first_seed if seed is None else seed,
                oracles=oracles,
                device=self.device,
                on_epoch=told,
            )

    def _tag(
        self, encoder: str, train: str, test: str, heads: Mapping[int, TrainedHead], features: VectorSource
    ) -> None:
        for turn, selection in enumerate(self.method.select):
            key = f"{ORACLE} {test}" if selection == ORACLE else selection
            if any(key not in head.weights for head in heads.values()):
                continue

            def predicted(head: TrainedHead, key: str = key, scored: bool = turn == 0) -> Prediction:
                return predict_all(head.select(key), features, confidence=scored)

            with self.meter.timed("tagging"):
                found = side_by_side(
                    predicted, list(heads.values()), self.device, one_by_one=self.method.mode == "finetune"
                )
            for (seed, head), one in zip(heads.items(), found, strict=True):
                self.outcomes.append(
                    Outcome(
                        encoder=encoder,
                        train=train,
                        test=test,
                        seed=seed,
                        predicted=tuple(one.tags),
                        dev_f1=max(head.dev_f1),
                        epochs=len(head.dev_f1),
                        selection=selection,
                        confidence=tuple(one.confidence) or None,
                    )
                )

    def tests(self) -> dict[str, TestSet]:
        """The gold side, with every encoder's tokenizer measured on the words of the file."""
        trained: dict[str, set[str]] = {}
        for experiment in self.plan:
            for language in experiment.tests:
                trained.setdefault(language, set()).add(experiment.train)
        vocabularies = {name: one.pieces.vocabulary.keys() for name, one in self.encoders.items()}
        first = next(iter(vocabularies.values()), {}.keys())
        seen = {one.train: Seen.of(self._own(one)[0]) for one in self.plan}
        result = {}
        for language, trains in trained.items():
            sentences = self._test_sentences(language)
            words = [sentence.words for sentence in sentences]
            pieces = {name: one.pieces for name, one in self.encoders.items()}
            measured = {name: one.statistics(words) for name, one in pieces.items()}
            result[language] = TestSet(
                sentences=tuple(sentences),
                unk_rate={name: one.unk_rate for name, one in measured.items()},
                fertility={name: one.fertility for name, one in measured.items()},
                unknown_words={name: one.unknown_words(words) for name, one in pieces.items()},
                pieces={name: one.spelled(words) for name, one in pieces.items()},
                new_pieces={name: frozenset(mine - first) for name, mine in vocabularies.items()},
                seen={train: seen[train] for train in sorted(trains)},
            )
        return result

    def _test_sentences(self, language: str) -> tuple[TaggedSentence, ...]:
        test = self.sets[language].test
        if test is None:
            raise ValueError(f"no test set was read for {language}")
        return test.sentences


def _size(features: WordFeatures) -> tuple[int, int]:
    shape = features.vectors.shape
    return shape[-1], shape[1] if len(shape) == 3 else 0


def _digest(labelled: LabelledFeatures) -> str:
    features = labelled.features
    if not isinstance(features, WordFeatures):
        raise TypeError("only kept vectors have a digest")
    digest = hashlib.sha256(repr(features.offsets).encode())
    digest.update(features.vectors.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
