"""From the shared options to an open run: which folder, which settings, which language."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extend.cli.command import Call
from extend.cli.options import Choice
from extend.errors import CheckpointError, UsageError, escaped

if TYPE_CHECKING:
    from extend.config import RunSettings
    from extend.languages import Language
    from extend.recipe import Run

RUNS = Path("runs")
SETTINGS = "run.toml"
_BY_LANGUAGE = re.compile(r"(?P<lang>[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)=(?P<path>.+)", re.DOTALL)

Overrides = Mapping[str, Any]


def open_run(call: Call, overrides: Overrides, *, scratch: bool = False) -> "Run":
    """The run that the shared options name, with `overrides` (dotted keys; None is not given) set in it.

    The run folder's own run.toml comes first, then --config, the command's options, --set. Text of other
    languages (`--corpus LANG=PATH`) is replayed; with `scratch` all text is what a base is trained on.
    Raises UsageError when no run or language can be told, CheckpointError when the folder is another's.
    """
    from extend import languages
    from extend.config import load_settings

    choice = call.choice
    directory = chosen_directory(choice)
    drafted = load_settings(choice.config, _given(choice, overrides), saved=_saved(directory))
    language = languages.resolve(choice.lang or drafted.lang or _first_of(choice, drafted, scratch=scratch))
    call.display.say(f"language: {language.told()}")
    directory = directory or RUNS / language.code
    _refuse_another_language(directory, language)
    texts = sorted_corpora(choice.corpus or (), language, scratch=scratch)
    settings = load_settings(
        choice.config,
        {**texts, **_given(choice, overrides), "lang": language.code},
        saved=_saved(directory),
    )
    call.directory = directory
    from extend import recipe  # torch and all: not before every setting is known to be good

    return recipe.open_run(settings, directory, language)


def chosen_directory(choice: Choice, *, runs: Path = RUNS) -> Path | None:
    """The run folder that --run or --lang names, or the only one there is; None when a config will tell."""
    if choice.run is not None:
        return choice.run
    if choice.lang is not None:
        from extend import languages

        return runs / languages.resolve(choice.lang).code
    if choice.config is not None:
        return None
    there = sorted(path.parent for path in runs.glob(f"*/{SETTINGS}"))
    if len(there) == 1:
        return there[0]
    names = ", ".join(escaped(path.name) for path in there)
    raise UsageError(
        f"which run? there are {names}" if there else f"which run? there is none under {runs}/",
        name="E-RUN",
        next=f"add --lang {there[0].name} or --run {there[0]}"
        if there
        else "add --lang, for example --lang ug",
    )


def sorted_corpora(given: Sequence[str], language: "Language", *, scratch: bool) -> dict[str, list[str]]:
    """`--corpus` values by setting: `corpus` for the run's own language, `pretrain.replay` for others."""
    settings: dict[str, list[str]] = {}
    for value in given:
        code, path = by_language(value) or (language.code, value)
        others = "scratch.languages" if scratch else "pretrain.replay"
        key = "corpus" if code == language.code and not scratch else f"{others}.{code}"
        settings.setdefault(key, []).append(path)
    return settings


def by_language(value: str) -> tuple[str, str] | None:
    """`en=text/*.txt` as its code and path; None when the value is a path alone."""
    match = _BY_LANGUAGE.fullmatch(value)
    if match is None or Path(value).exists():
        return None
    from extend import languages

    return languages.resolve(match["lang"]).code, match["path"]


def per_language(values: Iterable[str] | None, *, option: str) -> dict[str, list[str]]:
    """`LANG=PATH` options as a mapping. Raises UsageError for a value without a language."""
    paths: dict[str, list[str]] = {}
    for value in values or ():
        code, path = by_language(value) or ("", "")
        if not code:
            raise UsageError(
                f"{option} {escaped(value)} names no language",
                name="E-USAGE",
                next=f"write {option} LANG=PATH",
            )
        paths.setdefault(code, []).append(path)
    return paths


def with_config(call: Call, path: Path) -> Call:
    """The same call with `path` as its configuration. Raises UsageError when --config says otherwise."""
    if call.choice.config is not None:
        raise UsageError("two configurations are given", name="E-USAGE", next="leave out --config")
    return dataclasses.replace(call, choice=dataclasses.replace(call.choice, config=path))


def _saved(directory: Path | None) -> Path | None:
    return directory / SETTINGS if directory and (directory / SETTINGS).is_file() else None


def _first_of(choice: Choice, drafted: "RunSettings", *, scratch: bool) -> str:
    """A base trained on several languages is filed under the first, when --lang names none."""
    named = [pair[0] for value in choice.corpus or () if (pair := by_language(value))]
    languages = [*named, *drafted.scratch.languages] if scratch else []
    if not languages:
        raise UsageError(
            "no language is given",
            name="E-LANGUAGE",
            next="add --lang, for example --lang ug, or lang = to the configuration",
        )
    return languages[0]


def _given(choice: Choice, overrides: Overrides) -> dict[str, Any]:
    from extend.config import parse_overrides

    given = {key: value for key, value in overrides.items() if value is not None}
    base = {"base": choice.base} if choice.base else {}
    return {**given, **base, **parse_overrides(choice.assignments or ())}


def _refuse_another_language(directory: Path, language: "Language") -> None:
    """A run folder serves one language for good."""
    if not _saved(directory):
        return
    from extend import languages
    from extend.config import load_settings

    settled = load_settings(None, saved=_saved(directory))
    code = languages.resolve(settled.lang).code if settled.lang else language.code
    if code != language.code:
        raise CheckpointError(
            f"run folder {directory} is for {code}, not {language.code}",
            name="E-RUN-MISMATCH",
            done="nothing was changed",
            next="give another --run DIR",
        )
