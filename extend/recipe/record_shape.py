"""Whether a record that came from elsewhere has the form of one: names that can be shown, kinds that fit."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from extend.errors import escaped

NAME = re.compile(r"[\w.][\w.-]{0,63}")
_PARTS: Mapping[str, type] = {
    "language": str,
    "base": dict,
    "model": dict,
    "corpus": dict,
    "seed": int,
    "settings": dict,
    "encoders": dict,
    "ner": dict,
    "versions": dict,
}
_STAGE: Mapping[str, type] = {
    "protocol": str,
    "targets": list,
    "labels": list,
    "settings": dict,
    "data": dict,
    "encoders": dict,
    "differences": dict,
}


def problems(record: Any) -> Iterator[str]:
    """What is wrong with a record, part by part; nothing for a sound one."""
    if not isinstance(record, dict):
        yield "it is no table"
        return
    found = list(_kinds("", record, _PARTS))
    yield from found
    if found:
        return
    if not isinstance(record["base"].get("name"), str):
        yield "base.name is no text"
    yield from _named("model", record["model"])
    for encoder, values in _tables(record["encoders"]):
        yield from _numbers(f"encoders.{encoder}", values, ("unk_rate", "fertility", "mlm_loss"))
    for name, stage in _tables(record["ner"]):
        wrong = list(_kinds(f"ner.{name}.", stage, _STAGE))
        yield from wrong or _stage(f"ner.{name}", stage)
    for part in ("ner", "encoders"):
        yield from _named(part, record[part])
        yield from _only_tables(part, record[part])


def _stage(place: str, stage: Mapping[str, Any]) -> Iterator[str]:
    for part in ("data", "encoders", "differences"):
        yield from _only_tables(f"{place}.{part}", stage[part])
        for name, entries in _tables(stage[part]):
            yield from _only_tables(f"{place}.{part}.{name}", entries)
    for language, splits in _tables(stage["data"]):
        yield from _named(f"{place}.data", {language: None, **splits})
        for split, entry in splits.items():
            if isinstance(entry, dict) and not isinstance(entry.get("sha256"), str):
                yield f"{place}.data.{language}.{split} has no sha256"
    for encoder, languages in _tables(stage["encoders"]):
        yield from _named(f"{place}.encoders", {encoder: None, **languages})
        for language, cell in _tables(languages):
            yield from _cell(f"{place}.encoders.{encoder}.{language}", cell, "f1_mean")
    for language, encoders in _tables(stage["differences"]):
        yield from _named(f"{place}.differences", {language: None, **encoders})
        for encoder, one in _tables(encoders):
            yield from _cell(f"{place}.differences.{language}.{encoder}", one, "f1")
            yield from _named(f"{place}.differences", {str(one.get("against")): None})


def _cell(place: str, cell: Mapping[str, Any], mean: str) -> Iterator[str]:
    if not _is_number(cell.get(mean)):
        yield f"{place}.{mean} is no number"
    yield from _numbers(place, cell, ("unk_rate", "fertility", "strict_f1_mean", "f1_std"))
    lists = [cell.get("ci95", [0, 0])] + ([cell["f1"]] if mean != "f1" and "f1" in cell else [])
    if not all(isinstance(one, list) and all(map(_is_number, one)) for one in lists) or len(lists[0]) != 2:
        yield f"{place} has a list that is not of numbers"
    seeds = cell.get("seeds")
    if seeds is not None and (not isinstance(seeds, list) or len(seeds) != len(cell.get("f1", ()))):
        yield f"{place}.seeds are not one a score"
    yield from _named(f"{place}.per_type", cell.get("per_type", {}))
    for label, kind in _tables(cell.get("per_type", {})):
        if not all(_is_number(kind.get(name)) for name in ("precision", "recall", "f1")):
            yield f"{place}.per_type.{label} lacks a number"


def _kinds(place: str, values: Mapping[str, Any], wanted: Mapping[str, type]) -> Iterator[str]:
    for name, kind in wanted.items():
        value = values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"{place}{name} is missing or of another kind"


def _tables(values: Any) -> list[tuple[str, dict[str, Any]]]:
    """The entries that are tables."""
    if not isinstance(values, dict):
        return []
    return [(name, one) for name, one in values.items() if isinstance(one, dict)]


def _only_tables(place: str, values: Mapping[str, Any]) -> Iterator[str]:
    for name, one in values.items():
        if not isinstance(one, dict):
            yield f"{place}.{escaped(name, limit=40)} is no table"


def _named(place: str, values: Any) -> Iterator[str]:
    """Names are shown and become parts of file names."""
    if not isinstance(values, dict):
        yield f"{place} is no table"
        return
    for name in values:
        if not NAME.fullmatch(name):
            yield f"{place} has the name {escaped(name, limit=40)}"


def _numbers(place: str, values: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if values.get(name) is not None and not _is_number(values[name]):
            yield f"{place}.{name} is no number"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
