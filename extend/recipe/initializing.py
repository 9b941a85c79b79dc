"""From the settings of `grow` to finished rows: what a method needs is checked first, and then made."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extend import store
from extend.config import GrowSettings, expand
from extend.errors import PathError, UsageError, escaped
from extend.initializers import BIASES, INITIALIZERS, BiasRule, Initializer, NewRows, SubwordMean
from extend.recipe.row_inputs import FILES, OPTIONAL, RowInputs

DISTIL, DISTIL_LINES = "distill", 2000
"""A start that is a training: `subword`, then so many lines in both spellings, unless told how many."""

_CONTENT = ("vectors", "base_vectors", "dictionary")


def initializer_named(name: str) -> type[Initializer]:
    """The first values alone. Raises UsageError, listing the choices, for a name that no initialiser has."""
    choices = {**INITIALIZERS, DISTIL: SubwordMean}
    found: type[Initializer] = _named("init", "initialiser", name, choices)
    return found


def distil_lines(wanted: GrowSettings) -> int:
    """On how many lines started rows are distilled; 0 for not at all."""
    return wanted.distil_lines or (DISTIL_LINES if wanted.init == DISTIL else 0)


def bias_named(name: str) -> type[BiasRule]:
    """Raises UsageError, listing the choices, for a name that no rule for biases has."""
    found: type[BiasRule] = _named("bias", "bias", name, BIASES)
    return found


def check_method(wanted: GrowSettings) -> None:
    """Refuse what could not be made, before anything is read.

    Raises UsageError for unknown names, for files that the method needs or does not take, and for options it
    does not have; PathError for files that are not there.
    """
    kind = initializer_named(wanted.init)
    if wanted.bias is not None:
        bias_named(wanted.bias)
    _options(kind, wanted)
    needed = {setting for need in kind.needs for setting in FILES.get(need, ())}
    missing = sorted(setting for setting in needed if getattr(wanted, setting) is None)
    if missing:
        raise UsageError(
            f"grow.init: {wanted.init} needs {', '.join(f'grow.{setting}' for setting in missing)}",
            name="E-CONFIG",
            why="; ".join(_told(setting) for setting in missing),
            next="add " + " ".join(f"--{setting.replace('_', '-')} {_shape(setting)}" for setting in missing),
        )
    surplus = sorted(_given(wanted).keys() - files_of(wanted).keys())
    if surplus:
        raise UsageError(
            f"grow.{surplus[0]} is given, but {wanted.init} takes none",
            name="E-CONFIG",
            next="leave it out, or choose another grow.init",
        )
    for setting, path in _given(wanted).items():
        if setting in _CONTENT and not Path(expand(path)).is_file():
            raise PathError(f"grow.{setting}: there is no file {escaped(path)}", name="E-PATH")


def files_of(wanted: GrowSettings) -> dict[str, str]:
    """The files that the method reads, by setting."""
    needs = initializer_named(wanted.init).needs
    taken = {setting for need in needs for setting in (*FILES.get(need, ()), *OPTIONAL.get(need, ()))}
    return {setting: path for setting, path in _given(wanted).items() if setting in taken}


def with_method(wanted: GrowSettings, name: str) -> GrowSettings:
    """The same settings for another method: with the files that it takes, and without options."""
    other = wanted.model_copy(update={"init": name, "options": {}})
    surplus = _given(other).keys() - files_of(other).keys()
    return other.model_copy(update=dict.fromkeys(surplus))


def method_settings(wanted: GrowSettings) -> dict[str, Any]:
    """What the rows and biases depend on: names, options, and of files the sha256 of their content."""
    found: dict[str, Any] = {"init": wanted.init}
    if wanted.bias is not None:
        found["bias"] = wanted.bias
    if wanted.options:
        found["options"] = dict(sorted(wanted.options.items()))
    if distil_lines(wanted):
        found["distil_lines"] = distil_lines(wanted)
    for setting, path in files_of(wanted).items():
        content = setting in _CONTENT
        found[setting] = store.sha256_file(Path(expand(path))) if content else path
    return found


def new_rows(wanted: GrowSettings, inputs: RowInputs, arguments: tuple[Any, ...], *, unknown: int) -> NewRows:
    """Rows, biases and origins of the added pieces; `arguments` are those of an initialiser's call."""
    kind: Any = initializer_named(wanted.init)
    initializer: Initializer = kind(**inputs.of(kind.needs), **_options(kind, wanted))
    new = initializer(*arguments, unknown=unknown)
    if wanted.bias is None:
        return new
    rule_kind: Any = bias_named(wanted.bias)
    rule: BiasRule = rule_kind(**inputs.of(rule_kind.needs))
    _, base_bias, segmentations, _ = arguments
    bias = rule(new, base_bias, segmentations, unknown=unknown)
    return dataclasses.replace(new, bias=bias)


def _named(setting: str, what: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise UsageError(
            f"grow.{setting}: unknown {what} {escaped(name)!r}",
            name="E-CONFIG",
            why=f"there are {', '.join(sorted(choices))}",
        )
    return choices[name]


def _given(wanted: GrowSettings) -> dict[str, str]:
    """The files and folders that are given, by setting."""
    paths = ("vectors", "base_vectors", "dictionary", "helper")
    return {name: getattr(wanted, name) for name in paths if getattr(wanted, name) is not None}


def _options(kind: Any, wanted: GrowSettings) -> dict[str, Any]:
    """`grow.options` as the method's fields have them. Raises UsageError for what does not fit."""
    known = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in kind.needs}
    for name, value in wanted.options.items():
        if name not in known:
            raise UsageError(
                f"grow.options: {wanted.init} has no {escaped(name)!r}",
                name="E-CONFIG",
                why=f"it has {', '.join(sorted(known)) or 'none'}",
            )
        expected = type(known[name])
        fits = type(value) in ((int, float) if expected is float else (expected,))
        if not fits or (expected is not bool and not 0 < value < float("inf")):
            raise UsageError(
                f"grow.options.{name}: expected {_EXPECTED[expected]}, got {value!r}", name="E-CONFIG"
            )
    return dict(wanted.options)


_EXPECTED = {bool: "true or false", int: "a whole number of at least 1", float: "a number above 0"}
_WHAT = {
    "vectors": ("word vectors of the new language", "FILE"),
    "base_vectors": ("word vectors of a language that the base knows", "FILE"),
    "dictionary": ("lines of a word of the new language and its translation", "FILE"),
    "helper": ("a model whose vocabulary has the new pieces", "FOLDER"),
}


def _told(setting: str) -> str:
    return f"grow.{setting}: {_WHAT[setting][0]}"


def _shape(setting: str) -> str:
    return _WHAT[setting][1]
