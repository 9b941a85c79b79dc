"""TOML to settings and back, and the paths in them."""

import difflib
import json
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from extend.config.tables import RunSettings, Settings
from extend.errors import PathError, UsageError, escaped

MAX_CONFIG_BYTES = 1 << 20


def load_settings(
    path: Path | None, overrides: Mapping[str, Any] | None = None, *, saved: Path | None = None
) -> RunSettings:
    """Read and check settings: defaults, `saved` (a run folder's run.toml), `path`, then `overrides`.

    `overrides` maps dotted keys (`pretrain.steps`) to values. Later layers win key by key; lists and the
    files of a language are replaced whole.

    Raises PathError when a file cannot be read, UsageError naming every bad key and value.
    """
    tree: dict[str, Any] = {}
    for layer in (saved, path):
        if layer:
            _merge(tree, _read_toml(layer))
    for key, value in (overrides or {}).items():
        _put(tree, key.split("."), value)
    try:
        return RunSettings.model_validate(tree)
    except pydantic.ValidationError as error:
        problems = [_told(problem) for problem in error.errors()]
        where = str(path) if path else "the command line"
        raise UsageError(
            f"{where}: {problems[0]}" if len(problems) == 1 else f"{where}: {len(problems)} bad settings",
            name="E-CONFIG-KEY" if any("unknown key" in problem for problem in problems) else "E-CONFIG",
            why="" if len(problems) == 1 else "; ".join(problems),
            done="nothing was read or written",
            next="mend these keys and run the same command",
        ) from error


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """`["pretrain.steps=2000", "lang=ug"]` to a mapping; a value that is not TOML is taken as text."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {escaped(assignment)} is not KEY=VALUE", name="E-CONFIG")
        try:
            overrides[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[key] = value
    return overrides


def dump_toml(settings: RunSettings) -> str:
    """The resolved settings as TOML; reading it back gives the same settings."""
    return "\n".join(_dump_table("", settings.model_dump(exclude_none=True))).lstrip("\n") + "\n"


def expand(path: str) -> str:
    """Expand `~` and environment variables. Raises UsageError when a variable is not set."""
    full = os.path.expandvars(os.path.expanduser(path))
    if "$" in full:
        raise UsageError(
            f"path {escaped(path)} names an environment variable that is not set",
            name="E-CONFIG",
            next="set it, for example: export EXTEND_DATA=/path/to/data",
        )
    return full


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PathError(f"cannot read configuration {path}: {error.strerror}", name="E-PATH") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(f"configuration {path} is larger than 1 MiB", name="E-CONFIG")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {escaped(str(error), limit=120)}", name="E-CONFIG"
        ) from error


_WHOLE = {"replay", "languages", "watch"}
_WHOLE_ENTRIES = {"data"}


def _merge(tree: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Lay `layer` over `tree`: key by key, but what names the files of languages is replaced, not mixed."""
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict) and key not in _WHOLE:
            if key in _WHOLE_ENTRIES:
                tree[key].update(value)
            else:
                _merge(tree[key], value)
        else:
            tree[key] = value


def _put(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        branch = tree.setdefault(key, {})
        if not isinstance(branch, dict):
            raise UsageError(f"{'.'.join(keys)}: {key} is a value, not a section", name="E-CONFIG")
        tree = branch
    tree[keys[-1]] = value


def _told(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{path}: {problem['msg'].lower()}, got {escaped(repr(problem['input']))}"
    known = _keys_beside(problem["loc"])
    meant = _closest(str(problem["loc"][-1]), known)
    return f"{escaped(path)}: unknown key" + (
        f"; did you mean {meant}?" if meant else f"; known: {', '.join(sorted(known))}"
    )


def _closest(key: str, known: Sequence[str]) -> str:
    """The known key that `key` is most like; of several equally like, the one nearest in length."""

    def likeness(name: str) -> tuple[float, int]:
        return difflib.SequenceMatcher(None, name, key).ratio(), -abs(len(name) - len(key))

    return max(difflib.get_close_matches(key, known, n=3), key=likeness, default="")


def _keys_beside(location: Sequence[str | int]) -> list[str]:
    """The keys that could have stood where an unknown key stands."""
    kind: Any = RunSettings
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, Settings):
            kind = kind.model_fields[str(part)].annotation
        else:
            kind = typing.get_args(kind)[1]
    return list(kind.model_fields)


def _dump_table(prefix: str, table: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{key if _bare(key) else _quoted(key)} = {_dump(value)}"
        for key, value in table.items()
        if not isinstance(value, dict)
    ]
    if prefix and (lines or not table):
        lines = ["", f"[{prefix}]", *lines]
    for key, value in table.items():
        if isinstance(value, dict):
            name = key if _bare(key) else _quoted(key)
            lines += _dump_table(f"{prefix}.{name}" if prefix else name, value)
    return lines


def _bare(key: str) -> bool:
    return key.isascii() and key.replace("_", "").replace("-", "").isalnum()


def _dump(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value) if isinstance(value, float) else json.dumps(value)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, but that TOML wants DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
