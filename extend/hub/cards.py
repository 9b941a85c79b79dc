"""A card's metadata and evaluation results, checked here before a hub sees them. No request is made.

The hub's own check (`ModelCard.validate`) is a request; it refuses a push after everything was read. What
it looks at is looked at here first: YAML, language codes, licence, names of repositories, results.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData, parse_eval_result_entries
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from extend.errors import DataError, escaped
from extend.store import as_extend_error

MOST_BYTES = 4 << 20
"""Of a card; its metadata are a part of it."""

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_LOCAL_USE = re.compile(r"q[a-t][a-z]")
_WORDS = ("multilingual", "code")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def check_card(card: Path | str) -> None:
    """Raise DataError E-CARD, with every reason, for a card (a file, or its text) that a hub would not take.

    The licence's form alone is checked, since hubs add to their lists.
    """
    text = _read(card, "E-CARD") if isinstance(card, Path) else card
    reasons = [escaped(reason, limit=160) for reason in _card_problems(text)]
    if reasons:
        raise DataError(
            f"a hub would not take the card {_place(card)}",
            name="E-CARD",
            why="; ".join(reasons[:5]),
            done="nothing was sent",
            next="mend the metadata, or write the card anew: extend report",
        )


def card_values(card: Path) -> list[float]:
    """The values in the `model-index` of a card's metadata. Raises as `check_card` does."""
    check_card(card)
    block = _BLOCK.match(_read(card, "E-CARD").replace("\r\n", "\n"))
    data = yaml.safe_load(block[1]) if block else {}
    return [
        float(metric["value"])
        for model in _listed(data.get("model-index"))
        for result in model["results"]
        for metric in result["metrics"]
    ]


def check_results(results: Path | str) -> None:
    """Raise DataError E-RESULTS for a file of `.eval_results/` (or its text) that is not what hubs read."""
    text = _read(results, "E-RESULTS") if isinstance(results, Path) else results
    try:
        loaded = yaml.safe_load(text)
        if not isinstance(loaded, list) or not loaded:
            raise ValueError("a list of entries is expected")
        for entry in parse_eval_result_entries(loaded):
            validate_repo_id(entry.dataset_id)
            if not _is_number(entry.value):
                raise ValueError(f"the value {entry.value!r} is no number")
    except (yaml.YAMLError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"a hub would not take the evaluation results {_place(results)}",
            name="E-RESULTS",
            why=escaped(" ".join(repr(error).split()), limit=200),
            done="nothing was sent",
            next="write them anew: extend report",
        ) from error


def _place(source: Path | str) -> str:
    return f"{source}" if isinstance(source, Path) else "of this run"


def _read(path: Path, name: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise as_extend_error(error, path) from error
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except ValueError as error:
        raise DataError(f"cannot read {path}", name=name, why=str(error)[:200]) from error


def _card_problems(text: str) -> Iterator[str]:
    block = _BLOCK.match(text.replace("\r\n", "\n"))
    if block is None:
        yield "it does not begin with metadata between two lines of ---"
        return
    try:
        data = yaml.safe_load(block[1])
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        yield f"the metadata are not YAML: {' '.join(str(error).split())}"
        return
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        yield "the metadata are not a mapping of names"
        return
    if not text[block.end() :].strip():
        yield "there is no text after the metadata"
    try:
        ModelCardData(**data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield " ".join(str(error).split())
        return
    yield from _languages(data.get("language"))
    yield from _license(data)
    for key in ("base_model", "datasets"):
        yield from _repositories(key, data.get(key))
    yield from _texts("tags", data.get("tags"))
    yield from _values(data.get("model-index"))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _languages(value: Any) -> Iterator[str]:
    """Codes of ISO 639 with two or three letters; of three, qaa to qtz stand for no language."""
    for code in _listed(value):
        known = isinstance(code, str) and (_LANGUAGE.fullmatch(code) or code in _WORDS)
        if not known or _LOCAL_USE.fullmatch(str(code)):
            yield f"language {code!r} is no ISO 639 code (a YAML no without quotes is a truth value)"


def _license(data: Mapping[str, Any]) -> Iterator[str]:
    for one in _listed(data.get("license")):
        if not isinstance(one, str) or not _LICENSE.fullmatch(one):
            yield f"license {one!r} is not written as hubs write it, as apache-2.0"
        elif one == "other" and not data.get("license_name"):
            yield "license other needs license_name"


def _repositories(key: str, value: Any) -> Iterator[str]:
    for name in _listed(value):
        try:
            validate_repo_id(name)
        except HFValidationError:
            yield f"{key} {name!r} is no hub name"


def _texts(key: str, value: Any) -> Iterator[str]:
    for one in _listed(value):
        if not isinstance(one, str):
            yield f"{key}: {one!r} is no text"


def _values(index: Any) -> Iterator[str]:
    for model in _listed(index):
        for result in model.get("results", ()):
            for metric in result.get("metrics", ()):
                if not _is_number(metric.get("value")):
                    yield f"model-index: the value {metric.get('value')!r} is no number"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
