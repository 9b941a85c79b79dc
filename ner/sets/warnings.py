"""What may make the numbers of an evaluation mislead: leaks, unknown types, repairs, nothing to find."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extend.errors import escaped
from ner.sets.leaks import leaks
from ner.sets.nouns import Experiment, LanguageSets, closest_label

Told = dict[str, str]


def data_warnings(sets: Mapping[str, LanguageSets], plan: Sequence[Experiment]) -> list[Told]:
    """The warnings of an evaluation about its data, as results.json has them: `name` and `text`."""
    found = leaks(sets, plan)
    warnings: list[Told] = []
    for experiment in plan:
        warnings += _of_training(experiment.train, sets[experiment.train])
        for language in experiment.tests:
            warnings += _of_test(language, sets[experiment.train], sets[language], found.get(language, {}))
    for language, read in sets.items():
        for split, data in (("train", read.train), ("dev", read.dev), ("test", read.test)):
            if data is not None and data.repaired and not (split == "dev" and read.dev_held_out):
                text = f"{language} {split} ({data.path.name}): {data.repaired} illegal tags repaired"
                warnings.append(_warning("W-REPAIRED", text))
    warnings += _of_label_maps(sets)
    return warnings


def _of_training(language: str, own: LanguageSets) -> Iterator[Told]:
    train = own.train
    if train is None:
        return
    if not train.entities:
        yield _warning("W-NO-ENTITY", f"{train.path.name}: no entity to learn")
    if own.dev is not None and not own.dev.entities:
        held_out = " (held out of training)" if own.dev_held_out else ""
        yield _warning("W-NO-ENTITY", f"{own.dev.path.name}{held_out}: no entity to select by")
    mentions = dict.fromkeys(train.labels, 0)
    for sentence in train.sentences:
        for tag in sentence.tags:
            if tag[0] == "B":
                mentions[tag[2:]] += 1
    for label, count in mentions.items():
        if count == 1:
            yield _warning(
                "W-RARE", f"{language} train ({train.path.name}): one entity alone of type {label}"
            )


def _of_test(
    language: str, own: LanguageSets, tested: LanguageSets, leaked: Mapping[str, Any]
) -> Iterator[Told]:
    train, test = own.train, tested.test
    if train is None or test is None:
        return
    where = f"{language} test ({test.path.name})"
    if count := leaked["sentences_in_train"]:
        yield _warning("W-LEAK", f"{where}: {count} sentences are in the training set too")
    if count := leaked["sentences_in_dev"]:
        yield _warning("W-LEAK", f"{where}: {count} sentences are in the set of selection too")
    if leaked["pretraining"] and (count := leaked["pretraining"]["sentences"]):
        yield _warning("W-LEAK", f"{where}: {count} sentences are in the pretraining text")
    if strangers := sorted(set(test.labels) - set(train.labels)):
        names = ", ".join(_with_closest(label, train.labels) for label in strangers)
        yield _warning("W-LABEL", f"{where}: types never trained on: {names}")
    if not test.entities:
        yield _warning("W-NO-ENTITY", f"{where}: no entity to find, F1 is 0 by rule")


def _of_label_maps(sets: Mapping[str, LanguageSets]) -> Iterator[Told]:
    """Names in a label map that stand in none of the files read with it."""
    read = [data for one in sets.values() for data in (one.train, one.dev, one.test) if data is not None]
    known = sorted({label for data in read for label in data.found})
    for label in dict.fromkeys(label for data in read for label in data.label_map):
        if label not in known:
            yield _warning("W-MAP", f"no entity of type {_with_closest(label, known)} to map")


def _with_closest(label: str, known: Sequence[str]) -> str:
    closest = closest_label(label, known)
    return f"{label} (closest: {closest})" if closest else label


def _warning(name: str, text: str) -> Told:
    return {"name": name, "text": escaped(text, limit=200)}
