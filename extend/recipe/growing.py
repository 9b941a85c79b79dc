"""Extended tokenizer to grown encoder: rows started, old ones untouched, every row's origin written down."""

import difflib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from extend import store
from extend.architectures import architecture_of
from extend.certificate import certify_model
from extend.errors import CheckpointError, UsageError, escaped
from extend.growth import check_base, extension_of, grow_
from extend.hub import load_pretraining_model, resolve_base, save_model
from extend.hub.mapped import release_mapped
from extend.initializers import NewRows
from extend.recipe.distilling import distil
from extend.recipe.initializing import check_method, distil_lines, method_settings, new_rows
from extend.recipe.row_inputs import RowInputs
from extend.recipe.run import OnProgress, Run, silent
from extend.recipe.vocabulary import added_pieces, learn_vocabulary, vocabulary_settings
from extend.tokenizer import (
    TOKENIZER_FILES,
    kind_of,
    load_tokenizer,
    segment,
    special_ids,
    tokenizer_settings,
)
from extend.types import Checkpoint, Progress

__all__ = [
    "check_growth",
    "explain_row",
    "grow",
    "growth_settings",
    "output_rows",
    "started_rows",
]

STAGE = "grow"
MANY_FALLBACKS = 0.5


def growth_settings(run: Run) -> dict[str, Any]:
    """What the grown weights depend on."""
    return {**vocabulary_settings(run), **method_settings(run.settings.grow)}


def check_growth(run: Run) -> None:
    """Refuse, before anything is read or written, what could not be grown.

    Raises UsageError for a method without what it needs and for a base inside the folder that growth
    replaces, PathError for files that are not there.
    """
    check_method(run.settings.grow)
    base, target = Path(run.settings.base).expanduser().resolve(), run.grown.resolve()
    if target == base or target in base.parents:
        raise UsageError(
            f"the base {escaped(run.settings.base)} lies where the grown model would be written",
            name="E-SAME-PATH",
            done="nothing was changed",
            next="give another --run DIR",
        )


def grow(run: Run, on_progress: OnProgress = silent) -> dict[str, Any]:
    """Grow the base by the run's new pieces and publish `grown/`. Learns the vocabulary first if needed.

    Returns the content of grown/report.json: initializer, bias, added, by_method, seconds, warnings.
    """
    check_growth(run)
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
        model, tokenizer = load_pretraining_model(base.directory), load_tokenizer(base.directory)
        added, known = added_pieces(run), tokenizer.get_vocab_size(with_added_tokens=True)
        _check_belongs(model, tokenizer, load_tokenizer(run.vocabulary / "tokenizer"), base.directory)
        on_progress(Progress(STAGE, 1, 3, f"starting {len(added)} rows"))
        new = started_rows(run, model, tokenizer, added, on_progress)
        outputs = output_rows(run, model, tokenizer, added)
        grow_(model, new.rows, new.bias, output_rows=outputs, first_id=known, release=release_mapped)
        report, origins = _report(run, new), _rows(added, new, first_id=known)
        del new, outputs  # they are in the model now
        if distil_lines(run.settings.grow):
            report["distilled"] = _distilled(run, model, tokenizer, known, on_progress)
        on_progress(Progress(STAGE, 2, 3, "writing"))
        report["seconds"] = round(time.monotonic() - started, 3)
        _publish(run, model, base, rows=origins, report=report)
        facts = {"by_method": report["by_method"], "base_revision": base.revision}
        run.record(STAGE, settings, {"grown": run.grown}, **facts)
        on_progress(Progress(STAGE, 3, 3, "grown"))
        return report


def _check_belongs(
    model: PreTrainedModel, tokenizer: Tokenizer, extended: Tokenizer, directory: Path
) -> None:
    """Raises CheckpointError for another model's tokenizer, or an extended one that moves a piece."""
    check_base(model, special_ids(tokenizer, tokenizer_settings(directory)))
    before, after = (kind_of(each).vocabulary(each) for each in (tokenizer, extended))
    extension_of(before, after)


def _distilled(
    run: Run, model: PreTrainedModel, tokenizer: Tokenizer, known: int, on_progress: OnProgress
) -> dict[str, Any]:
    extended = load_tokenizer(run.vocabulary / "tokenizer")
    losses = distil(run, model, tokenizer, extended, first_new=known, on_progress=on_progress)
    model.to("cpu")
    return {"batches": len(losses), "first_loss": _mean(losses[:5]), "last_loss": _mean(losses[-5:])}


def _mean(losses: Sequence[float]) -> float | None:
    return sum(losses) / len(losses) if losses else None


def started_rows(
    run: Run,
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    added: Sequence[str],
    on_progress: OnProgress = silent,
    *,
    table: Tensor | None = None,
) -> NewRows:
    """The rows that the run's method gives the added pieces, on the CPU; the model stays as it is.

    They are made from the rows of `tokenizer`'s ids alone, so the model may be padded or grown already.
    `table` is another table of such rows, by default the input embedding. A model whose decoder has no bias
    gets none. Call it while holding the run's folder, whose vocabulary is learned.
    """
    architecture, known = architecture_of(model), tokenizer.get_vocab_size(with_added_tokens=True)
    extended = load_tokenizer(run.vocabulary / "tokenizer")
    inputs = RowInputs(run, tokenizer, extended, known, on_progress)
    rows = architecture.embedding(model) if table is None else table
    try:
        new = new_rows(
            run.settings.grow,
            inputs,
            (
                rows.detach()[:known].cpu(),
                architecture.bias(model).detach()[:known].cpu(),
                segment(tokenizer, added),
                torch.Generator().manual_seed(run.settings.seed),
            ),
            unknown=special_ids(extended, tokenizer_settings(run.vocabulary / "tokenizer")).unk,
        )
    finally:
        inputs.clear()
        release_mapped()
    return new if architecture.has_bias(model) else replace(new, bias=torch.zeros_like(new.bias))


def output_rows(
    run: Run, model: PreTrainedModel, tokenizer: Tokenizer, added: Sequence[str]
) -> Tensor | None:
    """For a decoder that is not tied, rows made of its own rows in the same way; else None."""
    architecture = architecture_of(model)
    table = architecture.output(model)
    if table is architecture.embedding(model):
        return None
    return started_rows(run, model, tokenizer, added, table=table).rows


def _publish(
    run: Run, model: PreTrainedModel, base: Checkpoint, *, rows: str, report: Mapping[str, Any]
) -> None:
    size = architecture_of(model).embedding(model).shape[0]
    old = size - int(report["added"])
    with store.publish_directory(run.grown) as folder:
        save_model(model, folder)
        store.copy_files(run.vocabulary / "tokenizer", folder, TOKENIZER_FILES)
        if (base.directory / "model.safetensors").is_file():
            certify_model(folder, base=base.directory, old=old, size=size)
        store.write_text(folder / "rows.jsonl", rows)
        store.write_json(folder / "report.json", report)


def _report(run: Run, new: NewRows) -> dict[str, Any]:
    wanted, by_method = run.settings.grow, _by_method(new)
    fallen = sum(origin.fallback is not None for origin in new.origins)
    report: dict[str, Any] = {
        "initializer": wanted.init,
        "bias": wanted.bias,
        "added": len(new.origins),
        "by_method": by_method,
        "warnings": [],
    }
    if fallen > MANY_FALLBACKS * len(new.origins):
        why = next(origin.why for origin in new.origins if origin.fallback)
        text = f"{fallen:,} of {len(new.origins):,} rows could not be made by {wanted.init}: {why}"
        report["warnings"].append({"name": "W-FALLBACK", "text": text})
    return report


def _by_method(new: NewRows) -> dict[str, int]:
    counts: dict[str, int] = {}
    for origin in new.origins:
        method = origin.fallback or origin.method
        counts[method] = counts.get(method, 0) + 1
    return dict(sorted(counts.items()))


def _rows(added: Sequence[str], new: NewRows, *, first_id: int) -> str:
    lines = (
        json.dumps({"piece": piece, "id": first_id + place, **origin.as_json()}, ensure_ascii=False)
        for place, (piece, origin) in enumerate(zip(added, new.origins, strict=True))
    )
    return "".join(f"{line}\n" for line in lines)


def explain_row(run: Run, piece: str) -> dict[str, Any]:
    """How a new piece's row was made: its line of grown/rows.jsonl, each source with its piece.

    A piece of the base has only `piece`, `id` and `method` "base". Raises CheckpointError before growth,
    UsageError, with the nearest new pieces, for one that the grown tokenizer lacks.
    """
    path = run.grown / "rows.jsonl"
    if not path.is_file():
        raise CheckpointError(
            f"{run.directory} has no grown model yet", name="E-NOT-GROWN", next="extend grow, then ask again"
        )
    tokenizer = load_tokenizer(run.grown)
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    rows = {row["piece"]: row for row in map(json.loads, lines)}
    if piece in rows:
        row: dict[str, Any] = rows[piece]
        sources = [
            {"piece": tokenizer.id_to_token(index), "id": index, "weight": weight}
            for index, weight in row["sources"]
        ]
        return {**row, "sources": sources}
    index = tokenizer.token_to_id(piece)
    if index is not None:
        return {"piece": piece, "id": index, "method": "base"}
    near = difflib.get_close_matches(piece, rows, n=3, cutoff=0.5)
    raise UsageError(
        f"the grown tokenizer has no piece {escaped(piece)!r}",
        name="E-PIECE",
        why=f"near it are {', '.join(map(escaped, near))}" if near else "",
        next="write it as vocab/added.txt does, with its mark",
    )
