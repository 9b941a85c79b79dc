"""`reproduce.json`: what it takes to evaluate a checkpoint again, and the numbers that must then come out.

It goes wherever the card goes, so it names no folder of the machine: files by their last name and sha256,
datasets and bases of a hub by their own names.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from extend import store
from extend.config import load_settings
from extend.config.tables import RunSettings
from extend.errors import CheckpointError, escaped
from extend.languages import card_language
from extend.recipe.corpora import STREAMED, corpus_patterns
from extend.recipe.ner_files import ner_sources
from extend.recipe.record_shape import problems
from extend.recipe.run import Run, versions

RECORD, SCHEMA = "reproduce.json", 1
_CELL = (
    "f1_mean f1_std f1 ci95 strict_f1_mean unk_rate fertility per_type seeds trained_on selection collapsed"
)
_DIFFERENCE = "against f1 ci95 p_holm noise identical"
_PROTOCOL = "protocol source targets labels settings few_shot"
_HELD_OUT: Mapping[str, str] = {
    "reading": "strict on_bad_file",
    "vocab": "held_out_share held_out_lines",
    "pretrain": "length mask_rate whole_word max_predictions precision",
}
"""The settings that the numbers on held-out text depend on."""
_WEIGHTS = ("*.safetensors", "config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json")


def record_of(run: Run) -> dict[str, Any]:
    """The record of a run, from its files and settings. Reads the weights once, for their sha256.

    `base`, `model`, `corpus`, `settings`, `encoders` (numbers on held-out text by encoder), `ner` (by name
    of the protocol: how it was asked, the sets, the scores) and `licenses`, where the settings state any.
    """
    stages = run.stages()
    return {
        "schema": SCHEMA,
        "language": run.language.code,
        "card_language": card_language(run.language),
        "base": _base(run, stages.get("grow", {}).get("base_revision") or run.settings.revision),
        "model": weight_sums(run.model),
        "corpus": _corpus(run),
        "seed": run.settings.seed,
        "settings": {
            table: {name: getattr(getattr(run.settings, table), name) for name in names.split()}
            for table, names in _HELD_OUT.items()
        },
        "encoders": _read(run.directory / "encoders.json"),
        "ner": {path.parent.name: _stage(run, _read(path)) for path in _results(run)},
        "licenses": dict(getattr(run.settings, "licenses", {})),
        "versions": versions(),
    }


def read_record(folder: Path) -> dict[str, Any]:
    """The record beside a pulled or copied checkpoint. Raises CheckpointError E-RECORD without one."""
    path = folder / RECORD
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {RECORD}",
            name="E-RECORD",
            why="what its numbers were measured with is not recorded",
            next="give a run folder, or a checkpoint that extend report wrote a card for",
        )
    record = store.read_json(path)
    if isinstance(record, dict) and record.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} is not a record of this version", name="E-RECORD", next="use the version that wrote it"
        )
    if wrong := list(problems(record)):
        raise CheckpointError(f"{path} is not a record", name="E-RECORD", why="; ".join(wrong[:3]))
    return dict(record)


def settings_of(record: Mapping[str, Any], corpus: list[str]) -> RunSettings:
    """Settings that measure held-out text as the record's run did, for the text in `corpus`.

    Raises CheckpointError E-RECORD when the record's settings are none.
    """
    try:
        flat = {
            f"{table}.{name}": record["settings"][table][name]
            for table, names in _HELD_OUT.items()
            for name in names.split()
        }
        known = {name: value for name, value in flat.items() if value is not None}
        return load_settings(
            None, {"lang": record["language"], "seed": record["seed"], "corpus": corpus, **known}
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"the settings in {RECORD} are incomplete", name="E-RECORD", why=escaped(repr(error))
        ) from error


def _base(run: Run, revision: str | None) -> dict[str, Any]:
    """A base of a hub by its commit, a folder by its last name and the sums of its files."""
    name = run.settings.base
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return {"name": name, "revision": revision}
    return {"name": folder.resolve().name, "revision": None, "sha256": weight_sums(folder)}


def weight_sums(folder: Path) -> dict[str, str]:
    """sha256 by name of what makes an encoder: weights, configuration, tokenizer."""
    paths = sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)})
    return dict(zip([path.name for path in paths], store.sha256_files(paths), strict=True))


def _corpus(run: Run) -> dict[str, Any]:
    report = _read(run.vocabulary / "report.json").get("corpus", {})
    return {
        "sources": [_shown(pattern) for pattern in corpus_patterns(run)],
        **{name: report.get(name) for name in ("sha256", "bytes", "lines")},
    }


def _shown(source: str) -> str:
    """A dataset of a hub as it is called there; of a path the last name, since its folders are private."""
    return source if _on_hub(source) else Path(source.removeprefix(STREAMED)).name or source


def _on_hub(source: str) -> bool:
    """`hf:` may also stand before a folder of data files."""
    name = source.removeprefix(STREAMED).split(":")[0]
    on_disk = name.startswith((".", "/", "~", "$")) or Path(name).exists()
    return source.startswith(STREAMED) and not on_disk


def _results(run: Run) -> list[Path]:
    return sorted(run.ner.glob("*/results.json"))


def _read(path: Path) -> dict[str, Any]:
    return dict(store.read_json(path)) if path.is_file() else {}


def _stage(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    sources = ner_sources(run)
    targets = results.get("targets") or list(next(iter(results["encoders"].values()), {}))
    read = {results.get("source"), *targets}  # few-shot mixtures are made of these
    return {
        **{"protocol": "", "source": None, "labels": [], "settings": {}, "targets": targets},
        **_taken(results, _PROTOCOL),
        "data": {
            language: {
                split: {
                    **_taken(entry, "sha256 format label_map held_out_of"),
                    **_named(sources.get(language, {}).get(split, "")),
                }
                for split, entry in splits.items()
                if "sha256" in entry
            }
            for language, splits in results.get("data", {}).items()
            if language in read
        },
        "encoders": {
            encoder: {language: _taken(cell, _CELL) for language, cell in languages.items()}
            for encoder, languages in results["encoders"].items()
        },
        "differences": {
            language: {encoder: _taken(one, _DIFFERENCE) for encoder, one in encoders.items()}
            for language, encoders in results.get("differences", {}).items()
        },
    }


def _taken(values: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: values[name] for name in names.split() if name in values}


def _named(source: str) -> dict[str, str]:
    if not source:
        return {}
    return {"source": source} if _on_hub(source) else {"file": _shown(source)}


def needed_files(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Protocol, language, split and entry of every NER file that the record's scores were made with."""
    for protocol, stage in record["ner"].items():
        for language, splits in stage["data"].items():
            for split, entry in splits.items():
                if "held_out_of" not in entry:
                    yield protocol, language, split, entry
