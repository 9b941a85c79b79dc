"""Bases, runs with a grown checkpoint and their files, for the tests of row deltas."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from extend import store
from extend.architectures import architecture_of
from extend.config import load_settings
from extend.deltas import BaseFacts, Delta, RowBlock, new_delta
from extend.growth import grow_
from extend.hub import load_pretraining_model, save_model
from extend.languages import resolve
from extend.recipe import Run
from extend.tokenizer import kind_of, load_tokenizer, save_tokenizer
from extend.types import VocabularyExtension
from tests.extend.cli_processes import files
from tests.models import PIECES, tiny_checkpoint, tiny_model
from tests.unigram_models import handful_tokenizer

SINHALA = {"ර": -4.6, "කර": -4.7, "##ර": -5.0, "shared": -5.5}
UYGHUR = {"ئۇ": -4.2, "shared": -6.5, "##ەن": -4.9}
BASE_FACTS = BaseFacts(
    "base", None, {"model.safetensors": "0" * 64}, {"tokenizer.json": "1" * 64}, "WordPiece", 70
)


def make_base(folder: Path, *, architecture: str = "bert-pretraining", padding: int = 0) -> Path:
    """A tiny base: WordPiece, or XLM-R's Unigram when `architecture` is `unigram`."""
    if architecture == "unigram":
        tokenizer = handful_tokenizer()
        model = tiny_model("bert-mlm", vocab_size=tokenizer.get_vocab_size())
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder, base=None)
    else:
        tiny_checkpoint(folder, architecture=architecture)
        if padding:
            tiny_model(architecture, vocab_size=len(PIECES) + padding).save_pretrained(folder)
    return folder


def make_run(
    folder: Path, base: Path, pieces: Mapping[str, float], *, language: str = "si", seed: int = 1
) -> Run:
    """A run whose grown/ has `pieces` with drawn rows behind the base, as extend grow leaves it."""
    run = Run(folder, load_settings(None, {"lang": language, "base": str(base)}), resolve(language))
    run.save_settings()
    tokenizer = load_tokenizer(base)
    kind = kind_of(tokenizer)
    extension = VocabularyExtension(kind.vocabulary(tokenizer), tuple(pieces))
    scores = list(pieces.values()) if kind.needs_scores else []
    model = load_pretraining_model(base)
    block = drawn(len(pieces), architecture_of(model).embedding(model).shape[1], seed=seed)
    tied = "output" not in architecture_of(model).vocabulary_parameters(model)
    biased = architecture_of(model).has_bias(model)
    grow_(
        model,
        block.rows,
        block.bias if biased else torch.zeros(len(pieces)),
        output_rows=None if tied else block.rows.flip(0),
        first_id=len(extension.base),
    )
    with store.publish_directory(run.grown) as made:
        save_model(model, made)
        save_tokenizer(kind.extended(tokenizer, extension, scores=scores), made, base=base)
    run.record("grow", {}, {"grown": run.grown}, base_revision=None)
    return run


def drawn(count: int, width: int, *, seed: int, dtype: torch.dtype = torch.float32) -> RowBlock:
    """Rows and biases with what comparisons by value would miss, a negative zero."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=generator) / 7
    rows[0, 0] = -0.0
    return RowBlock(rows.to(dtype), torch.randn(count, generator=generator).to(dtype))


def made_delta(
    pieces: Sequence[str],
    *,
    language: str = "si",
    seed: int = 1,
    scores: Sequence[float] = (),
    base: BaseFacts = BASE_FACTS,
    block: RowBlock | None = None,
) -> Delta:
    """A delta of no run, five numbers a row."""
    return new_delta(
        pieces,
        scores,
        block or drawn(len(pieces), 5, seed=seed),
        language=language,
        base=base,
        checkpoint="grown",
        versions={"extend": "0.1.0"},
    )


def train(run: Run, *, rows: Sequence[int] = (), layer: bool = False) -> Path:
    """model/ beside grown/: the same with some rows, or a weight of a layer, a little moved."""
    model = load_pretraining_model(run.grown)
    with torch.no_grad():
        architecture_of(model).embedding(model)[list(rows), 0] += 0.25
        if layer:
            next(p for name, p in model.named_parameters() if "layers.0." in name or "layer.0." in name).add_(
                1.0
            )
    with store.publish_directory(run.model) as folder:
        save_model(model, folder)
        store.copy_files(run.grown, folder, sorted(path.name for path in run.grown.glob("*token*")))
        store.copy_files(run.grown, folder, ["vocab.txt"])
    return run.model


def checkpoint_files(folder: Path) -> dict[str, bytes]:
    """What a checkpoint is made of, without the record of its deltas."""
    return {name: data for name, data in files(folder).items() if not name.startswith("deltas.")}


def change_json(path: Path, change: Mapping[str, Any]) -> None:
    """Change keys of a checked JSON file, and its checksum with them: a forger's work."""
    from extend.deltas.files import write_checked

    value = {**json.loads(path.read_text(encoding="utf-8")), **change}
    value.pop("checksum")
    write_checked(path, value)
