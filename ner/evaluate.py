"""The story of ner-eval: frozen encoders, heads trained on their word vectors, one table.

Protocol: EXTEND (Wang et al. 2020), section 4: a BiLSTM-CRF on the frozen encoder, selected on the dev set
of the language it is trained on. Zero-shot tests it on another language, supervised on the same.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from extend.errors import UsageError
from extend.hub import load_encoder
from extend.store import publish_directory
from extend.types import Progress
from ner.features import Mix, WordFeatures, WordPieces, word_features
from ner.heads import train_heads
from ner.report import write_results
from ner.results import Outcome, TestSet, differences, summarise
from ner.sets import Experiment, LanguageSets, check_names, data_warnings, experiments, read_sets
from ner.tags import TaggedSentence, tag_names
from ner.train import LabelledFeatures, TrainedHead, TrainSettings, predict

__all__ = ["TrainSettings", "check", "evaluate"]

SCHEMA = 1
STAGE = "ner-eval"

OnProgress = Callable[[Progress], None]


def check(
    encoders: Mapping[str, Path],
    data: Mapping[str, Mapping[str, Path]],
    *,
    source: str,
    targets: Sequence[str],
    zero_shot: bool,
    supervised: bool,
    labels: Sequence[str] = (),
    first_seed: int = 1,
) -> dict[str, dict[str, LanguageSets]]:
    """Everything `evaluate` checks before it loads an encoder: by protocol, the sets it would use.

    Raises UsageError, DataError or PathError, as `evaluate` does. Writes nothing.
    """
    if not (zero_shot or supervised):
        raise UsageError(
            "neither zero-shot nor supervised evaluation was asked for",
            name="E-NER-PROTOCOL",
            next="give --zero-shot or --supervised",
        )
    if not targets:
        raise UsageError("no language to evaluate on", name="E-NER-DATA", next="set ner.targets")
    check_names(encoders, [source, *targets] if zero_shot else targets)
    asked = {"zero-shot": zero_shot, "supervised": supervised}
    return {
        protocol: read_sets(data, experiments(protocol, source, targets), labels=labels, seed=first_seed)
        for protocol, wanted in asked.items()
        if wanted
    }


def evaluate(  # noqa: PLR0913 - the whole protocol is said in one call
    encoders: Mapping[str, Path],
    data: Mapping[str, Mapping[str, Path]],
    *,
    source: str,
    targets: Sequence[str],
    zero_shot: bool,
    supervised: bool,
    out: Path,
    labels: Sequence[str] = (),
    settings: TrainSettings | None = None,
    first_seed: int = 1,
    mix: Mix = "last",
    device: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Compare encoders on NER; write `out/zero-shot` and `out/supervised`, each whole or not at all.

    Every encoder is read once a set; its heads (one a seed) share those vectors. Encoders whose vectors of
    the training language are bit-equal share the heads too. The first encoder is the one the others are
    compared with. All but `seconds` follows from the files, the settings and `first_seed`.

    Args:
        encoders: name to checkpoint folder; names are part of file names.
        data: language to split (`train`, `dev`, `test`) to file. A missing dev is a seeded tenth of train.
        source: the language zero-shot heads are trained on (its own test is the forgetting check).
        targets: the languages evaluated on.
        labels: entity types kept, in all sets; empty keeps all.
        settings: how heads are trained; default the paper's.
        first_seed: heads have seeds `first_seed`, `first_seed + 1`, ...
        mix: what is read of the encoder, its last layer or the mean of all.
        device: where encoder and heads run; default CUDA if there is one, else the CPU.

    Returns:
        By protocol the content of its results.json: F1, precision and recall in percent (0 to 100),
        `unk_rate` from 0 to 1, `fertility` in pieces a word of the file.

    Raises:
        UsageError, DataError, PathError: before any encoder is loaded. CheckpointError: an encoder cannot be
        loaded. DivergedError: a head's loss is not finite.
    """
    sets = check(
        encoders,
        data,
        source=source,
        targets=targets,
        zero_shot=zero_shot,
        supervised=supervised,
        labels=labels,
        first_seed=first_seed,
    )
    chosen = settings or TrainSettings()
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plans = {protocol: experiments(protocol, source, targets) for protocol in sets}
    epochs = sum(len(plan) for plan in plans.values()) * len(encoders) * chosen.seeds * chosen.epochs
    meter = _Meter(epochs, on_progress)
    results: dict[str, Any] = {}
    for protocol, plan in plans.items():
        started = time.monotonic()
        bench = _Bench(
            plan, sets[protocol], chosen, first_seed=first_seed, mix=mix, device=place, meter=meter
        )
        for name, directory in encoders.items():
            bench.add(name, directory)
        head = {
            "schema": SCHEMA,
            "protocol": protocol,
            "source": source if protocol == "zero-shot" else None,
            "targets": list(dict.fromkeys(targets)),
            "labels": list(labels),
            "settings": {**asdict(chosen), "first_seed": first_seed, "mix": mix},
        }
        results[protocol] = {**head, **bench.results(), "seconds": round(time.monotonic() - started, 1)}
        with publish_directory(out / protocol) as directory:
            write_results(directory, results[protocol], bench.outcomes, bench.tests())
    return results


@dataclass
class _Meter:
    """Counts epochs; an early stop counts as all the epochs it saved."""

    total: int
    on_progress: OnProgress | None
    done: int = 0

    def tell(self, text: str, done: int, **details: float | str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(STAGE, done, self.total, text, details))


@dataclass
class _Bench:
    """One protocol under way: encoders go in one by one, outcomes gather."""

    plan: Sequence[Experiment]
    sets: Mapping[str, LanguageSets]
    settings: TrainSettings
    first_seed: int = field(kw_only=True)
    mix: Mix = field(kw_only=True)
    device: torch.device = field(kw_only=True)
    meter: _Meter = field(kw_only=True)
    outcomes: list[Outcome] = field(default_factory=list)
    _pieces: dict[str, WordPieces] = field(default_factory=dict)
    _heads: dict[str, list[TrainedHead]] = field(default_factory=dict)

    def add(self, name: str, directory: Path) -> None:
        """Read every set with the encoder, train heads (or take those of an equal encoder), tag the tests."""
        words = self._pieces[name] = WordPieces(directory)
        encoder = load_encoder(directory).eval().to(self.device)

        def vectors(sentences: Sequence[TaggedSentence]) -> LabelledFeatures:
            features = word_features(encoder, words, [one.words for one in sentences], mix=self.mix)
            return LabelledFeatures(features, tuple(one.tags for one in sentences))

        for experiment in self.plan:
            self.meter.tell(f"{name}: vectors of {experiment.train}", self.meter.done)
            own = self.sets[experiment.train]
            if own.train is None or own.dev is None:
                raise ValueError("an experiment has a training and a dev set")
            train, dev = vectors(own.train.sentences), vectors(own.dev.sentences)
            key = "-".join([experiment.train, _digest(train.features), _digest(dev.features)])
            if key not in self._heads:
                names = tag_names(own.train.labels)
                self._heads[key] = self._train(f"{name} on {experiment.train}", train, dev, names)
            self.meter.done += self.settings.seeds * self.settings.epochs
            for language in experiment.tests:
                self.meter.tell(f"{name}: {experiment.train} to {language}", self.meter.done)
                tested = vectors(_test_sentences(self.sets, language))
                self._tag(name, experiment.train, language, self._heads[key], tested.features)

    def _train(
        self, text: str, train: LabelledFeatures, dev: LabelledFeatures, names: Sequence[str]
    ) -> list[TrainedHead]:
        before = self.meter.done
        reached: dict[int, int] = {}

        def told(seed: int, epoch: int, loss: float, f1: float) -> None:
            reached[seed] = epoch
            self.meter.tell(f"{text}, seed {seed}", before + sum(reached.values()), loss=loss, dev_f1=f1)

        return train_heads(
            train,
            dev,
            tag_names=names,
            settings=self.settings,
            first_seed=self.first_seed,
            device=self.device,
            on_epoch=told,
        )

    def _tag(
        self, encoder: str, train: str, test: str, heads: Sequence[TrainedHead], features: WordFeatures
    ) -> None:
        for turn, head in enumerate(heads):
            predicted = predict(head.tagger, features, head.tag_names)
            self.outcomes.append(
                Outcome(
                    encoder=encoder,
                    train=train,
                    test=test,
                    seed=self.first_seed + turn,
                    predicted=tuple(predicted),
                    dev_f1=max(head.dev_f1),
                    epochs=len(head.dev_f1),
                )
            )

    def tests(self) -> dict[str, TestSet]:
        """The gold side, with every encoder's tokenizer measured on the words of the file."""
        result = {}
        for language in dict.fromkeys(test for experiment in self.plan for test in experiment.tests):
            sentences = _test_sentences(self.sets, language)
            words = [sentence.words for sentence in sentences]
            measured = {name: pieces.statistics(words) for name, pieces in self._pieces.items()}
            result[language] = TestSet(
                sentences=tuple(sentences),
                unk_rate={name: one.unk_rate for name, one in measured.items()},
                fertility={name: one.fertility for name, one in measured.items()},
                unknown_words={name: pieces.unknown_words(words) for name, pieces in self._pieces.items()},
            )
        return result

    def results(self) -> dict[str, Any]:
        tests = self.tests()
        found: dict[str, dict[str, list[Outcome]]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.encoder, {}).setdefault(outcome.test, []).append(outcome)
        return {
            "data": {language: sets.described() for language, sets in self.sets.items()},
            "encoders": {
                encoder: {
                    language: summarise(mine, tests[language], seed=self.first_seed)
                    for language, mine in cells.items()
                }
                for encoder, cells in found.items()
            },
            "differences": differences(found, tests, seed=self.first_seed),
            "warnings": data_warnings(self.sets, self.plan),
        }


def _test_sentences(sets: Mapping[str, LanguageSets], language: str) -> tuple[TaggedSentence, ...]:
    test = sets[language].test
    if test is None:
        raise ValueError(f"no test set was read for {language}")
    return test.sentences


def _digest(features: WordFeatures) -> str:
    digest = hashlib.sha256(repr(features.offsets).encode())
    digest.update(features.vectors.contiguous().numpy().data)
    return digest.hexdigest()
