"""The encoder of a tagger: which of its files count, their hashes, and what differs between two."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from extend import store
from extend.errors import CheckpointError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_NOT_THE_ENCODER = frozenset(
    {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
)
"""What saving a model again may change in its configuration."""

Parts = Mapping[str, str]
"""sha256 by part: `config`, `weights`, `tokenizer`."""


def encoder_files(directory: Path) -> list[str]:
    """The names of the files of a checkpoint folder that make the encoder: no others are read or copied."""
    weights = [WEIGHTS]
    if not (directory / WEIGHTS).is_file():
        weights = [INDEX, *sorted(path.name for path in directory.glob("model-*.safetensors"))]
    return [name for name in (CONFIG, *weights, *TOKENIZER) if (directory / name).is_file()]


def encoder_sha256(directory: Path, known: Parts | None = None) -> dict[str, str]:
    """The hash of each part of the encoder in `directory`.

    Args:
        known: sha256 of files by name that were taken already.

    Raises PathError when a file cannot be read, CheckpointError when one of the three parts is missing.
    """
    names = encoder_files(directory)
    taken = dict(known or {})
    wanted = [name for name in names if name not in taken]
    taken |= dict(zip(wanted, store.sha256_files([directory / name for name in wanted]), strict=True))
    parts = {
        "config": [name for name in names if name == CONFIG],
        "weights": [name for name in names if name.endswith(".safetensors")],
        "tokenizer": [name for name in names if name in TOKENIZER],
    }
    if missing := [part for part, own in parts.items() if not own]:
        raise CheckpointError(
            f"{directory} has no {' and no '.join(missing)}, so it is no encoder",
            name="E-NO-CHECKPOINT",
            next="give a folder with config.json, model.safetensors and a tokenizer",
        )
    hashes = {
        part: _hash("".join(f"{name} {taken[name]}\n" for name in own))
        for part, own in parts.items()
        if part != "config"
    }
    return {"config": _config_sha256(directory / CONFIG), **hashes}


def _config_sha256(path: Path) -> str:
    content = store.read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object", name="E-JSON")
    kept = {key: value for key, value in content.items() if key not in _NOT_THE_ENCODER}
    return _hash(json.dumps(kept, sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
