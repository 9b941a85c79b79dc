"""What a configuration resolves to: every setting, its value, where that is from, and what it means."""

import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.config import RunSettings, Settings, load_settings, parse_overrides

DEFAULT = "default"
OVERRIDE = "--set"
_LONGEST_STATEMENT = 200
"""Lines of one assignment; behind a longer one, keys have their file for a source and no line."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting: its dotted key, its value, its source (`default`, `FILE:LINE` or `--set`), its meaning."""

    key: str
    value: Any
    source: str
    meaning: str


def explain_settings(path: Path | None, assignments: Sequence[str] = ()) -> list[Explained]:
    """Every setting of a run with `path` as its configuration and `assignments` (KEY=VALUE) laid over it.

    A table of free keys (`ner.data`) gives one entry a key; an empty one, itself.

    Raises what `load_settings` raises for the same arguments.
    """
    overrides = parse_overrides(assignments)
    settings = load_settings(path, overrides)
    text = path.read_text(encoding="utf-8") if path else ""
    lines = {**{key: 0 for key, _ in _leaves(tomllib.loads(text))}, **key_lines(text)}
    return [
        Explained(key, value, _source(key, overrides, path, lines), _meaning(key))
        for key, value in _leaves(settings.model_dump())
    ]


def settings_schema() -> dict[str, Any]:
    """JSON schema of a configuration file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunSettings.model_json_schema()}


def key_lines(text: str) -> dict[str, int]:
    """The line on which each dotted key of a TOML document is assigned, counted from 1.

    A table's header counts for the table. Keys of inline tables count with the line of the whole.
    """
    found: dict[str, int] = {}
    table: tuple[str, ...] = ()
    for line, statement in _statements(text):
        tree = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _deepest(tree)
            found[".".join(table)] = line
            continue
        for key, _ in _leaves(tree):
            found[".".join((*table, key))] = line
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and whole statements: as many lines as it takes to be TOML."""
    start, gathered = 1, list[str]()
    for number, line in enumerate(text.split("\n"), start=1):
        gathered.append(line)
        try:
            tree = tomllib.loads("\n".join(gathered))
        except tomllib.TOMLDecodeError:
            if len(gathered) > _LONGEST_STATEMENT:
                return
            continue
        if tree:
            yield start, "\n".join(gathered)
        start, gathered = number + 1, []


def _deepest(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """`{"ner": {"data": {}}}` to `("ner", "data")`."""
    path: tuple[str, ...] = ()
    node: Any = tree
    while isinstance(node, Mapping) and node:
        key, node = next(iter(node.items()))
        path = (*path, key)
    return path


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _source(key: str, overrides: Mapping[str, Any], path: Path | None, lines: Mapping[str, int]) -> str:
    """--set wins, for the key itself or for a table that it lies in; then the file."""
    parts = key.split(".")
    if any(".".join(parts[:depth]) in overrides for depth in range(1, len(parts) + 1)):
        return OVERRIDE
    if key not in lines:
        return DEFAULT
    return f"{path}:{lines[key]}" if lines[key] else str(path)


def _meaning(key: str) -> str:
    """The description of the setting in the schema; of a free key, that of its table."""
    kind: Any = RunSettings
    told = ""
    for part in key.split("."):
        if isinstance(kind, type) and issubclass(kind, Settings):
            field = kind.model_fields[part]
            told, kind = field.description or "", field.annotation
        else:  # a table of free keys: dict[str, ...]
            kind = typing.get_args(kind)[1]
    return told
