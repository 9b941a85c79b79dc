"""A configuration to start from: one commented TOML a language, the same text wherever it is made.

The files of `configs/` for the languages of the paper are what `starting_configuration` gives for them
(`PAPER_LANGUAGES`); `extend init` writes one for any language.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extend import store
from extend.config import load_settings
from extend.errors import PathError, escaped
from extend.languages import Language, Passport, passport, resolve, seen
from extend.presets import preset as settings_of
from extend.recipe.starting_text import WHY, comment, corpus_comment, data_of, free_sets, paper_comment

PAPER_LANGUAGES = (
    *("ak", "am", "ha", "om", "rw", "si", "so", "ti", "ug", "wo", "zu"),
    *("ar", "bn", "es", "fa", "hi", "hu", "id", "ru", "sw", "ta", "th", "tl", "tr", "uz", "vi", "yo", "zh"),
)
"""Eleven languages that multilingual BERT did not read, then those that it did, of the 28 for which Wang, K,
Mayhew and Roth 2020 released extended models. Their paper evaluates 16 of these 17; which, we do not know."""
_SHOWN = (
    "vocab.size",
    "grow.init",
    "pretrain.steps",
    "pretrain.new_rows_steps",
    "pretrain.batch_size",
    "pretrain.length",
    "pretrain.learning_rate",
    "pretrain.warmup_steps",
    "pretrain.mask_rate",
    "pretrain.nsp",
    "pretrain.replay_share",
    "pretrain.save_every",
    "pretrain.eval_every",
    "ner.seeds",
    "ner.epochs",
    "ner.batch_size",
)
_PAPER = {"grow.init": "paper", "ner.paper": True}
"""What the paper did beside its pretraining: how new rows start, and how NER is trained."""


def write_starting(path: Path, text: str, *, dry_run: bool = False) -> None:
    """Write a configuration whole. Raises PathError E-FILE-EXISTS instead of replacing a file.

    With `dry_run`, everything but the writing.
    """
    if path.exists() or path.is_symlink():
        raise PathError(
            f"{path} is there already",
            name="E-FILE-EXISTS",
            done="it was left as it is",
            next="give another --out FILE, or remove it first",
        )
    if not dry_run:
        store.write_text(path, text)


def starting_configuration(
    language: Language,
    *,
    path: str,
    base: str = "",
    corpus: Sequence[str] = (),
    preset: str | None = None,
    own_run: str = "",
) -> str:
    """The text of a configuration for `language`: what it is called, corpus, NER sets, settings with reasons.

    Args:
        path: the file that it is for, as it stands in the command of the first line.
        base: the encoder to start from, by default the default of `RunSettings`.
        corpus: files or hf: datasets; by default the language's Wikipedia.
        preset: a name of `extend.presets.PRESETS`, whose settings are taken instead of the defaults.
        own_run: a run folder, where another configuration has the language's usual one. The language is then
            given in the command.

    Raises UsageError for a preset that there is not.
    """
    chosen = dict(settings_of(preset)) if preset else {}
    if preset == "paper":
        chosen = {**_PAPER, **chosen}
    known = passport(language)
    if free_sets(known):
        chosen["ner.labels"] = ["PER", "LOC", "ORG"]
    resolved = load_settings(None, {**chosen, **({"base": base} if base else {})}).model_dump()
    code, sources = language.code, list(corpus) or _wikipedia(known)
    command = f"extend run {shlex.quote(escaped(path, limit=200))}"
    if own_run:
        command += f" --lang {code} --run {own_run}"
    blocks = [
        [f"# {command}", "#", *comment(known, paper=preset == "paper")],
        *([paper_comment()] if preset == "paper" else []),
        [
            f"# lang = {_toml(code)}: given in the command, as another configuration has runs/{code}"
            if own_run
            else f"lang = {_toml(code)}",
            f"base = {_toml(resolved['base'])}  # {_read(resolved['base'], language)}",
            *corpus_comment(known, sources, given=bool(corpus)),
            f"corpus = [{', '.join(map(_toml, sources))}]",
            f"seed = {resolved['seed']}",
        ],
        *_tables({key: _at(resolved, key) for key in dict.fromkeys((*_SHOWN, *chosen))}),
        *data_of(known, source="en"),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def paper_configuration(code: str) -> tuple[str, str]:
    """File name and text of the configuration that `configs/` has for a language of PAPER_LANGUAGES.

    Sinhala's is `si-paper.toml`, because `si.toml` is the run of a small base.
    """
    own = f"{code}-paper" if code == "si" else ""
    name = f"{own or code}.toml"
    text = starting_configuration(
        resolve(code), path=f"configs/{name}", preset="paper", own_run=f"runs/{own}" if own else ""
    )
    return name, text


def _wikipedia(known: Passport) -> list[str]:
    codes = known.codes_of("wikipedia")
    if not codes:
        return [f"$EXTEND_DATA/text/{known.language.code}.txt"]
    return [f"hf:wikimedia/wikipedia:20231101.{code}" for code in codes]


def _read(base: str, language: Language) -> str:
    read = seen(base, language)
    told = {True: "read", False: "did not read", None: "it is not known here whether it read"}[read]
    return f"{told} {language.name} in pretraining"


def _tables(settings: dict[str, Any]) -> list[list[str]]:
    """One block a section: assignments, and why, in a column."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append((f"{name} = {_toml(value)}", WHY[key]))
    return [_table(section, rows) for section, rows in sections.items()]


def _table(section: str, rows: list[tuple[str, str]]) -> list[str]:
    wide = max(len(assignment) for assignment, _ in rows)
    return [f"[{section}]", *(f"{assignment:<{wide}}  # {why}" for assignment, why in rows)]


def _at(tree: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return tree[section][name]


def _toml(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{value:_}" if isinstance(value, int) else repr(value)
