"""The sets of one evaluation: read, checked and fingerprinted before any encoder is loaded."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from extend.errors import UsageError, escaped
from ner.data import NerData, read_data

NAME = re.compile(r"[\w.][\w.-]{0,63}")
HELD_OUT = 0.1
"""Share of a training set held out for model selection where there is no dev set."""


@dataclass(frozen=True)
class Experiment:
    """Heads trained on one language and tested on some."""

    train: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class LanguageSets:
    """What was read of one language. `dev_held_out`: dev is a seeded part of the training file."""

    train: NerData | None = None
    dev: NerData | None = None
    test: NerData | None = None
    dev_held_out: bool = False

    def described(self) -> dict[str, dict[str, Any]]:
        """The `data` entry of results.json."""
        sets = {"train": self.train, "dev": self.dev, "test": self.test}
        result: dict[str, dict[str, Any]] = {}
        for split, data in sets.items():
            if data is not None:
                result[split] = {
                    "sha256": data.sha256,
                    "sentences": len(data.sentences),
                    "words": data.words,
                    "entities": data.entities,
                    "labels": list(data.labels),
                    "scheme": data.scheme.value,
                    "repaired": data.repaired,
                }
        if self.dev_held_out:
            result["dev"]["held_out_of"] = "train"
        return result


def check_names(encoders: Mapping[str, Any], languages: Sequence[str]) -> None:
    """Names become file names. Raises UsageError for one that cannot."""
    if not encoders:
        raise UsageError("no encoder to evaluate", name="E-NER-ENCODER")
    for name in (*encoders, *languages):
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{escaped(name)} is not a name for an encoder or a language",
                name="E-NAME",
                why="letters, digits, _ . - only, at most 64",
            )


def experiments(protocol: str, source: str, targets: Sequence[str]) -> list[Experiment]:
    """Zero-shot: one training language, tested on itself (the forgetting check) and every target.
    Supervised: each target for itself."""
    if protocol == "zero-shot":
        return [Experiment(source, tuple(dict.fromkeys((source, *targets))))]
    return [Experiment(target, (target,)) for target in dict.fromkeys(targets)]


def read_sets(
    data: Mapping[str, Mapping[str, Path]],
    plan: Sequence[Experiment],
    *,
    labels: Sequence[str],
    seed: int,
) -> dict[str, LanguageSets]:
    """Read what `plan` needs of `data`, which maps language and split (train, dev, test) to a file.

    Raises:
        UsageError: a needed file is not named, or one of `labels` is in no training set.
        DataError, PathError: a file cannot be read (see `ner.data.read_data`).
    """
    trained = {experiment.train for experiment in plan}
    tested = {language for experiment in plan for language in experiment.tests}
    sets: dict[str, LanguageSets] = {}
    for language in dict.fromkeys((*trained, *(test for one in plan for test in one.tests))):
        splits = (("train", "dev") if language in trained else ()) + (("test",) if language in tested else ())
        sets[language] = _read_language(data, language, splits, labels, seed)
    _check_labels(labels, [sets[language].train for language in sorted(trained)])
    return sets


def _read_language(
    data: Mapping[str, Mapping[str, Path]],
    language: str,
    splits: Sequence[str],
    labels: Sequence[str],
    seed: int,
) -> LanguageSets:
    paths = data.get(language, {})
    for split in splits:
        if split != "dev" and split not in paths:
            raise UsageError(
                f"no {split} file for {escaped(language)}",
                name="E-NER-DATA",
                why=f"known: {', '.join(f'{name} {part}' for name in data for part in data[name]) or 'none'}",
                next=f"give one, for example: --set ner.data.{language}.{split}=FILE",
            )
    found = {split: read_data(paths[split], keep=labels) for split in splits if split in paths}
    sets = LanguageSets(found.get("train"), found.get("dev"), found.get("test"))
    return _with_dev(sets, seed) if sets.train is not None and sets.dev is None else sets


def _with_dev(sets: LanguageSets, seed: int) -> LanguageSets:
    """Hold a seeded tenth of the training sentences out as dev; by text, so equal sentences stay together."""
    if sets.train is None:
        return sets
    key = seed.to_bytes(8, "big", signed=True)
    scores = {
        sentence.words: blake2b("\x1f".join(sentence.words).encode(), key=key, digest_size=8).digest()
        for sentence in sets.train.sentences
    }
    ranked = sorted(scores, key=lambda words: (scores[words], words))
    if len(ranked) < 2:
        raise UsageError(
            f"{sets.train.path} has one distinct sentence, too few to hold some out for selection",
            name="E-NER-DATA",
            next="give a dev file",
        )
    held = set(ranked[: max(1, round(HELD_OUT * len(ranked)))])
    kept = tuple(sentence for sentence in sets.train.sentences if sentence.words not in held)
    dev = tuple(sentence for sentence in sets.train.sentences if sentence.words in held)
    return replace(
        sets,
        train=replace(sets.train, sentences=kept),
        dev=replace(sets.train, sentences=dev),
        dev_held_out=True,
    )


def _check_labels(labels: Sequence[str], trains: Sequence[NerData | None]) -> None:
    known = sorted({label for train in trains if train is not None for label in train.labels})
    for label in labels:
        if label not in known:
            close = difflib.get_close_matches(label, known, n=1)
            raise UsageError(
                f"no entity of type {escaped(label)} in the training data",
                name="E-NER-LABEL",
                why=f"known of the types asked for: {', '.join(known) or 'none'}",
                next=f"did you mean {close[0]}?" if close else "mend ner.labels",
            )


def data_warnings(sets: Mapping[str, LanguageSets], plan: Sequence[Experiment]) -> list[dict[str, str]]:
    """What may make the numbers mislead: leaks, types never trained on, repaired tags, nothing to find."""
    warnings: list[dict[str, str]] = []
    for experiment in plan:
        train = sets[experiment.train].train
        if train is None:
            continue
        if not train.entities:
            warnings.append(_warning("W-NO-ENTITY", f"{train.path.name}: no entity to learn"))
        seen = {sentence.words for sentence in train.sentences}
        for language in experiment.tests:
            test = sets[language].test
            if test is None:
                continue
            where = f"{language} test ({test.path.name})"
            if leaks := sum(sentence.words in seen for sentence in test.sentences):
                warnings.append(_warning("W-LEAK", f"{where}: {leaks} sentences are in the training set too"))
            if strangers := set(test.labels) - set(train.labels):
                names = ", ".join(sorted(strangers))
                warnings.append(_warning("W-LABEL", f"{where}: types never trained on: {names}"))
            if not test.entities:
                warnings.append(_warning("W-NO-ENTITY", f"{where}: no entity to find, F1 is 0 by rule"))
    for language, read in sets.items():
        for split, data in (("train", read.train), ("dev", read.dev), ("test", read.test)):
            if data is not None and data.repaired and not (split == "dev" and read.dev_held_out):
                text = f"{language} {split} ({data.path.name}): {data.repaired} illegal tags repaired"
                warnings.append(_warning("W-REPAIRED", text))
    return warnings


def _warning(name: str, text: str) -> dict[str, str]:
    return {"name": name, "text": escaped(text, limit=200)}
