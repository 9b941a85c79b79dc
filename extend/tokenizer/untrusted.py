"""Reading a folder that somebody else made: which files are opened, and what in them is refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from extend import store
from extend.errors import CheckpointError, RefusedError, escaped

MAX_FILE_BYTES = 256 << 20
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
KNOWN_PATTERNS = frozenset({LLAMA_3})
"""Patterns of published bases that were looked at: EuroBERT's splitter is Llama 3's."""

SETTINGS, SPECIAL_TOKENS = "tokenizer_config.json", "special_tokens_map.json"


def inside(directory: Path, name: str) -> Path | None:
    """The file `name` of `directory`, if there is one.

    Links may lead elsewhere only as the hub's cache makes them. Raises RefusedError for any other link and
    for a file over 256 MiB.
    """
    path = directory / name
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RefusedError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB", name="E-SIZE")
    if path.is_symlink():
        target = path.resolve()
        blobs = directory.resolve().parent.parent / "blobs"
        if not (target.is_relative_to(directory.resolve()) or target.parent == blobs):
            raise RefusedError(f"{path} is a link out of its folder", name="E-LINK")
    return path


def tokenizer_settings(directory: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json, with what special_tokens_map.json adds; empty without them.

    Raises CheckpointError when a file is no JSON object and RefusedError when one names code to run.
    """
    return _json_object(directory, SPECIAL_TOKENS) | read_settings(directory)


def read_settings(directory: Path) -> dict[str, Any]:
    """tokenizer_config.json alone, as `tokenizer_settings` reads it."""
    settings = _json_object(directory, SETTINGS)
    if "auto_map" in settings:
        raise RefusedError(
            f"{directory / SETTINGS} names code of its own (auto_map)",
            name="E-REMOTE-CODE",
            why="a checkpoint's code is never run",
        )
    return settings


def _json_object(directory: Path, name: str) -> dict[str, Any]:
    path = inside(directory, name)
    content = {} if path is None else store.read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object", name="E-JSON")
    return content


def refuse_slow_patterns(path: Path, state: Mapping[str, Any]) -> None:
    """Raises RefusedError when a regular expression of `state`, a tokenizer.json, could run for ever.

    A pattern without groups, back references and a second repetition is matched in time that grows at
    most with the square of the text; XLM-R's own (` {2,}`) is of that sort.
    """
    parts = (state.get(part) for part in ("normalizer", "pre_tokenizer", "decoder"))
    for pattern in (found for part in parts for found in _patterns(part)):
        if pattern in KNOWN_PATTERNS:
            continue
        repetitions = sum(pattern.count(sign) for sign in "*+{")
        if "(" in pattern or repetitions > 1 or any(f"\\{digit}" in pattern for digit in "123456789k"):
            raise RefusedError(
                f"{path} has a regular expression that may run for ever: {escaped(pattern, limit=60)}",
                name="E-REGEX",
                why="groups, back references and several repetitions are not taken from a checkpoint",
            )


def _patterns(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Regex" and isinstance(inner, str):
                yield inner
            else:
                yield from _patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _patterns(inner)
