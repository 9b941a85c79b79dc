"""A base tokenizer and its extension in folders, for the tests of the certificate."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from extend.certificate import certify_tokenizer, reload, reloader
from extend.growth import grow_
from extend.tokenizer import kind_of, load_tokenizer, save_tokenizer, special_tokens
from extend.types import VocabularyExtension
from tests.models import PIECES, tiny_checkpoint, write_tokenizer
from tests.unigram_models import handful_tokenizer

ADDED = ("riverbed", "##walk", "ර", "##ර")
SIZE = len(PIECES) + len(ADDED)
UNIGRAM_ADDED = {"▁ර": -4.6, "කර": -4.7, "▁deed": -4.4}
HELD_OUT = {
    "base": {"fertility": 2.0, "unk_rate": 0.1},
    "extended": {"fertility": 1.5, "unk_rate": 0.0},
}
DRIFT = {"sample": 10, "words_changed": 0.0, "words_newly_unk": 0.0}


class Written:
    """`base/` and `extended/` below a folder: WordPiece, or Unigram as XLM-R has it."""

    def __init__(self, directory: Path, *, unigram: bool = False) -> None:
        self.base_folder, self.folder = directory / "base", directory / "extended"
        self.unigram = unigram
        if unigram:
            save_tokenizer(handful_tokenizer(), self.base_folder, base=None)
        else:
            write_tokenizer(self.base_folder)
        self.base = load_tokenizer(self.base_folder)
        kind, scores = kind_of(self.base), list(UNIGRAM_ADDED.values()) if unigram else []
        added = tuple(UNIGRAM_ADDED) if unigram else ADDED
        self.extension = VocabularyExtension(kind.vocabulary(self.base), added)
        self.extended = kind.extended(self.base, self.extension, scores=scores)
        save_tokenizer(self.extended, self.folder, base=self.base_folder)

    def certify(self, **changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "base": self.base,
            "extended": self.extended,
            "held_out": HELD_OUT,
            "drift": DRIFT,
            "texts": ["the riverbed ර"],
            **({"special": special_tokens(self.base)} if self.unigram else {}),
            **changes,
        }
        return certify_tokenizer(self.folder, self.extension, **arguments)

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Change a JSON file of the extended folder in place."""
        value = json.loads((self.folder / name).read_text(encoding="utf-8"))
        change(value)
        (self.folder / name).write_text(json.dumps(value), encoding="utf-8")


def grow_model(written: Written) -> Path:
    """Make the base a checkpoint and `extended` the one grown from it."""
    tiny_checkpoint(written.base_folder)
    grown = AutoModelForMaskedLM.from_pretrained(written.base_folder)
    grow_(grown, torch.full((len(ADDED), 32), 0.5), torch.zeros(len(ADDED)))
    grown.save_pretrained(written.folder)
    return written.folder


def finish_run(folder: Path, written: Written) -> Path:
    """A run folder as the stages leave it, its final model trained."""
    model = grow_model(written)
    save_tokenizer(written.extended, folder / "vocab" / "tokenizer", base=written.base_folder)
    shutil.copytree(model, folder / "grown")
    shutil.copytree(model, folder / "model")
    weights = load_file(folder / "model" / "model.safetensors")
    save_file({name: value + 0.25 for name, value in weights.items()}, folder / "model" / "model.safetensors")
    change_json(folder / "manifest.json", base=str(written.base_folder))
    change_json(folder / "vocab" / "report.json", base_size=len(PIECES), held_out=HELD_OUT, drift=DRIFT)
    (folder / "vocab" / "added.txt").write_text("".join(f"{piece}\n" for piece in ADDED), encoding="utf-8")
    return folder


def change_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON object in a file, which is made when it is not there."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**found, **changes}), encoding="utf-8")


def failed(certificate: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Number and name of what failed, each once."""
    entries = [
        (entry["number"], entry["name"]) for entry in certificate["assertions"] if entry["holds"] is False
    ]
    return list(dict.fromkeys(entries))


def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the reading program in this process, where transformers is imported once for all tests."""

    def ask(request: Any, python: str) -> Any:
        return json.loads(json.dumps(reloader.answer(json.loads(json.dumps(request)))))

    monkeypatch.setattr(reload, "_ask", ask)
