"""Extended tokenizer to grown encoder: rows started, old ones untouched, every row's origin written down."""

import json
import time
from typing import Any

import torch

from extend import store
from extend.architectures import architecture_of
from extend.certificate import certify_model
from extend.errors import UsageError
from extend.growth import grow_
from extend.hub import load_pretraining_model, resolve_base, save_model
from extend.initializers import INITIALIZERS, Initializer, NewRows
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.vocabulary import added_pieces, learn_vocabulary, vocabulary_settings
from extend.tokenizer import TOKENIZER_FILES, load_tokenizer, segment, special_ids
from extend.types import Progress

STAGE = "grow"


def growth_settings(run: Run) -> dict[str, Any]:
    """What the grown weights depend on."""
    return {**vocabulary_settings(run), **run.settings.grow.model_dump()}


def initializer_named(name: str) -> Initializer:
    """Raises UsageError, listing the choices, for a name that no initialiser has."""
    if name not in INITIALIZERS:
        raise UsageError(
            f"grow.init: unknown initialiser {name!r}",
            name="E-CONFIG",
            why=f"there are {', '.join(sorted(INITIALIZERS))}",
        )
    return INITIALIZERS[name]()


def grow(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """Grow the base by the run's new pieces and publish `grown/`. Learns the vocabulary first if needed.

    Returns the content of grown/report.json: initializer, added, by_method, seconds.
    """
    initializer = initializer_named(run.settings.grow.init)
    learn_vocabulary(run, on_progress)
    settings = growth_settings(run)
    with run.held():
        if run.finished(STAGE, settings):
            report: dict[str, Any] = store.read_json(run.grown / "report.json")
            return report
        run.save_settings()
        started = time.monotonic()
        on_progress(Progress(STAGE, 0, 3, "loading the base"))
        base = resolve_base(run.settings.base, revision=run.settings.revision)
        model = load_pretraining_model(base.directory)
        tokenizer, added = load_tokenizer(base.directory), added_pieces(run)
        architecture, known = architecture_of(model), tokenizer.get_vocab_size(with_added_tokens=True)
        on_progress(Progress(STAGE, 1, 3, f"starting {len(added)} rows"))
        new = initializer(
            architecture.embedding(model).detach()[:known],
            architecture.bias(model).detach()[:known],
            segment(tokenizer, added),
            torch.Generator().manual_seed(run.settings.seed),
            unknown=special_ids(tokenizer).unk,
        )
        grow_(model, new.rows, new.bias, first_id=known)
        on_progress(Progress(STAGE, 2, 3, "writing"))
        report = {
            "initializer": run.settings.grow.init,
            "added": len(added),
            "by_method": _by_method(new),
            "seconds": round(time.monotonic() - started, 3),
        }
        with store.publish_directory(run.grown) as folder:
            save_model(model, folder)
            store.copy_files(run.vocabulary / "tokenizer", folder, TOKENIZER_FILES)
            if (base.directory / "model.safetensors").is_file():
                certify_model(folder, base=base.directory, old=known, size=known + len(added))
            store.write_text(folder / "rows.jsonl", _rows(added, new, first_id=known))
            store.write_json(folder / "report.json", report)
        facts = {"by_method": report["by_method"], "base_revision": base.revision}
        run.record(STAGE, settings, {"grown": run.grown}, **facts)
        on_progress(Progress(STAGE, 3, 3, "grown"))
        return report


def _by_method(new: NewRows) -> dict[str, int]:
    counts: dict[str, int] = {}
    for origin in new.origins:
        method = origin.fallback or origin.method
        counts[method] = counts.get(method, 0) + 1
    return dict(sorted(counts.items()))


def _rows(added: tuple[str, ...], new: NewRows, *, first_id: int) -> str:
    lines = (
        json.dumps({"piece": piece, "id": first_id + place, **origin.as_json()}, ensure_ascii=False)
        for place, (piece, origin) in enumerate(zip(added, new.origins, strict=True))
    )
    return "".join(f"{line}\n" for line in lines)
