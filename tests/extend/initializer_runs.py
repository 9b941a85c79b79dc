"""Small runs that only lack their growth, and files of every kind that an initialiser may need."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from extend import recipe
from extend.config import load_settings
from extend.languages import resolve
from tests.models import PIECES, tiny_checkpoint

SMALL = {"lang": "ka", "vocab.size": 60, "vocab.held_out_lines": 40}


def opened(inputs: Path, directory: Path, **grow: Any) -> recipe.Run:
    given = {
        **SMALL,
        "base": str(inputs / "base"),
        "corpus": [str(inputs / "ka.txt"), str(inputs / "en.txt")],
        **{f"grow.{name}": value for name, value in grow.items()},
    }
    return recipe.open_run(load_settings(None, given), directory, resolve("ka"))


def pieces_of(run: recipe.Run) -> tuple[list[str], list[str]]:
    added = (run.vocabulary / "added.txt").read_text(encoding="utf-8").splitlines()
    return list(PIECES), added


def rows_of(run: recipe.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.grown / "rows.jsonl").read_text("utf-8").splitlines()]


def weights_of(run: recipe.Run) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = load_file(run.grown / "model.safetensors")
    bias = next(tensors[name] for name in tensors if name.endswith("predictions.bias"))
    return tensors["bert.embeddings.word_embeddings.weight"], bias


def write_vectors(path: Path, words: list[str], seed: int = 0, dimension: int = 6) -> np.ndarray:
    """A word2vec text file; returns what stands in it."""
    drawn = np.random.default_rng(seed).normal(size=(len(words), dimension)).round(4)
    lines = [f"{len(words)} {dimension}"]
    lines += [" ".join([word, *map(str, row)]) for word, row in zip(words, drawn.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return drawn


def files_for(name: str, directory: Path, pieces: list[str], added: list[str]) -> dict[str, str]:
    """A file of each kind that the method needs."""
    directory.mkdir(exist_ok=True)
    initial = [piece for piece in added if not piece.startswith("##")]
    (directory / "pairs.txt").write_text("".join(f"{word}\triver\n" for word in initial[:9]), "utf-8")
    write_vectors(directory / "new.vec", [*pieces[5:], *added], seed=1)
    write_vectors(directory / "old.vec", ["the", "river", "house", "stone", "a", "b"], seed=2)
    if not (directory / "helper").exists():
        tiny_checkpoint(directory / "helper", pieces=(*PIECES[:40], *added[:30]), hidden=8, seed=3)
    files = {
        "vectors": str(directory / "new.vec"),
        "base_vectors": str(directory / "old.vec"),
        "dictionary": str(directory / "pairs.txt"),
        "helper": str(directory / "helper"),
    }
    taken = {
        "wechsel": ("vectors", "base_vectors", "dictionary"),
        "ofa": ("vectors",),
        "focus": ("vectors",),
        "dictionary": ("dictionary",),
        "clp": ("helper",),
    }
    return {setting: files[setting] for setting in taken.get(name, ())}


def fasttext_model(path: Path, words: list[str], dimension: int = 5) -> None:
    """A small CBOW model with n-grams, as fastText writes it."""
    buckets = 50
    arguments = (dimension, 5, 1, 1, 5, 1, 1, 1, buckets, 2, 3, 100)
    data = struct.pack("<ii", 793712314, 12) + struct.pack("<12id", *arguments, 1e-4)
    data += struct.pack("<3i2q", len(words), len(words), 0, 100, -1)
    for word in words:
        data += word.encode("utf-8") + b"\0" + struct.pack("<qb", 7, 0)
    matrix = np.random.default_rng(4).normal(size=(len(words) + buckets, dimension)).astype("<f4")
    data += struct.pack("<?2q", False, *matrix.shape) + matrix.tobytes()
    data += struct.pack("<?2q", False, len(words), dimension) + matrix[: len(words)].tobytes()
    path.write_bytes(data)
