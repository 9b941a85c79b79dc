"""Row deltas: a run's new rows apart from its base, any of them on that base again, and the base back."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import languages as known_languages
from extend import store
from extend.certificate import certify_folder, raise_failed
from extend.deltas import (
    Composition,
    Delta,
    Record,
    compose,
    in_precision,
    new_delta,
    read_delta,
    read_record,
    taken_apart,
    write_delta,
    write_record,
)
from extend.errors import CheckpointError, PathError, UsageError, escaped
from extend.growth import grow_
from extend.hub import load_pretraining_model, save_model
from extend.recipe.delta_bases import (
    NOTHING_DONE,
    Base,
    base_of,
    copy_base,
    extended_tokenizer,
    open_base,
    pieces_after,
    rows_of,
    unproven,
)
from extend.recipe.run import OnProgress, Run, silent, versions
from extend.tokenizer import kind_of, load_tokenizer, save_tokenizer
from extend.types import Progress

_AS_NEW_ROWS = (
    "take the checkpoint before training (--checkpoint grown), or train new rows alone "
    "(pretrain.new_rows_steps equal to pretrain.steps)"
)
_AS_IT_IS = "give the folder that extend apply or extend grow wrote; the base itself is where --base says"


def make_delta(
    run: Run,
    out: Path,
    *,
    dtype: str = "float32",
    checkpoint: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Write the new rows, biases and pieces of a run's checkpoint to the folder `out`.

    `checkpoint` is `model` or `grown`; by default `model` where the run has one. Every old row and every
    other tensor must be the base's, byte by byte. Returns `out`, `checkpoint`, `language`, `base`, `added`,
    `width`, `dtype`, `rounding` (the largest change of a value by `dtype`), `bytes` and `sha256`.

    Raises UsageError E-STAGE for a run without that checkpoint and E-PRECISION for a value that `dtype`
    cannot hold, CheckpointError E-DELTA-TRAINED when old weights changed and E-DELTA-TOKENIZER for a
    tokenizer that is not the base's with pieces after it, PathError E-OUTPUT when `out` is there.
    """
    run.check_folder()
    source = _source(run, checkpoint)
    with contextlib.nullcontext() if dry_run else run.held():
        on_progress(Progress("delta", 0, 3, "reading the base"))
        revision = run.stages().get("grow", {}).get("base_revision") or run.settings.revision
        base = open_base(run.settings.base, revision=revision)
        _check_output(out, [source, base.directory])
        on_progress(Progress("delta", 1, 3, "comparing every old row with the base's"))
        delta, rounding = _taken_from(source, base, language=run.language.code, dtype=dtype)
        on_progress(Progress("delta", 2, 3, "writing"))
        if not dry_run:
            with store.publish_directory(out) as folder:
                write_delta(folder, delta)
                if read_delta(folder).content_sha256() != delta.facts.sha256:
                    raise unproven(folder, "the delta reads otherwise than it was written")
        on_progress(Progress("delta", 3, 3, f"{delta.facts.added:,} rows"))
    return {
        "out": str(out),
        "checkpoint": source.name,
        "language": delta.facts.language,
        "base": {"name": base.facts.name, "revision": base.facts.revision},
        **{name: getattr(delta.facts, name) for name in ("added", "width", "dtype")},
        "rounding": rounding,
        "bytes": sum(tensor.nbytes for tensor in delta.block.named().values()),
        "sha256": delta.facts.sha256,
    }


def apply_deltas(
    folders: Sequence[Path],
    base: str,
    out: Path,
    *,
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Build the checkpoint and tokenizer of `base` with all the deltas in the folder `out`.

    `base` is a hub name, taken at the commit that the deltas name, or a folder. Returns `out`, `base`,
    `base_size`, `added`, `shared` (pieces that several deltas have, which get one id and the first one's
    row), `deltas` (a list of `language`, `sha256`, `pieces`, `shared`, in the order of their ids) and `size`.

    Before anything is built, every byte of the deltas and the base's files are compared with their sha256;
    before it is published, the result is read back: old rows bit by bit the base's, new rows the deltas',
    the tokenizer certified. Raises CheckpointError E-DELTA for a damaged delta, E-DELTA-BASE for another
    base, UsageError and PathError for an `out` that is an input or is there.
    """
    _check_output(out, [*folders, Path(base).expanduser()])
    on_progress(Progress("apply", 0, 3, "reading the deltas"))
    composition = compose([read_delta(folder) for folder in folders])
    on_progress(Progress("apply", 1, 3, "reading the base"))
    found = base_of(composition.parts[0].delta.facts.base, base)
    tokenizer = extended_tokenizer(found, composition.pieces, composition.scores)
    on_progress(Progress("apply", 2, 3, f"{len(composition.pieces):,} rows"))
    if not dry_run:
        _build(found, composition, tokenizer, out)
    on_progress(Progress("apply", 3, 3, "read back and compared"))
    return {"out": str(out), **_told(found, composition)}


def remove_deltas(
    folder: Path,
    base: str,
    out: Path,
    *,
    languages: Sequence[str] = (),
    dry_run: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Take the new rows off a grown checkpoint and write what is left to the folder `out`.

    Without `languages` that is the base: its own files, after every old row and every other tensor of
    `folder` was found to be the base's, byte by byte. With some, the deltas of those languages go and the
    others stay, as if they had been applied alone. Returns `out`, `base`, `removed` and `kept` (languages)
    and `size`, and of what was kept the fields of `apply_deltas`.

    Raises as `apply_deltas` does, CheckpointError E-DELTA-TRAINED when `folder` was trained since and
    E-DELTA-CHANGED when only its new rows were, UsageError E-LANGUAGE for a language that is not in it.
    """
    _check_output(out, [folder, Path(base).expanduser()])
    on_progress(Progress("remove", 0, 3, "reading the base"))
    record = read_record(folder)
    found = base_of(record.base, base) if record else open_base(base)
    gone = _languages_in(folder, record, languages)
    on_progress(Progress("remove", 1, 3, "comparing every old row with the base's"))
    deltas = _parted(folder, found, record if gone else None)
    stay = [delta for delta in deltas if delta.facts.language not in gone]
    kept: dict[str, Any] = {}
    if stay:
        composition = compose(stay)
        tokenizer = extended_tokenizer(found, composition.pieces, composition.scores)
        kept = _told(found, composition)
    on_progress(Progress("remove", 2, 3, "writing"))
    if not dry_run and stay:
        _build(found, composition, tokenizer, out)
    elif not dry_run:
        copy_base(found, out)
    on_progress(Progress("remove", 3, 3, "read back and compared"))
    there = record.languages if record else []
    staying = [delta.facts.language for delta in stay]
    return {
        "out": str(out),
        "base": {"name": found.facts.name, "revision": found.facts.revision},
        "removed": [language for language in there if language not in staying],
        "kept": staying,
        "size": found.size,
        **kept,
    }


def _source(run: Run, checkpoint: str | None) -> Path:
    places = {"model": run.model, "grown": run.grown}
    wanted = [places[checkpoint]] if checkpoint else list(places.values())
    for place in wanted:
        if (place / "config.json").is_file():
            return place
    stage = "pretrain" if checkpoint == "model" else "grow"
    raise UsageError(
        f"run {run.directory} has no {checkpoint or 'grown'} checkpoint yet",
        name="E-STAGE",
        next=f"run extend {stage} --lang {run.language.code}",
    )


def _taken_from(source: Path, base: Base, *, language: str, dtype: str) -> tuple[Delta, float]:
    """The delta of a grown checkpoint, and the largest change of a value by its type."""
    tokenizer, kind = load_tokenizer(source), kind_of(base.tokenizer)
    pieces = pieces_after(base, source, tokenizer)
    scored = kind.scores(tokenizer) if kind.needs_scores else {}
    scores = tuple(scored[piece] for piece in pieces) if scored else ()
    if extended_tokenizer(base, pieces, scores).to_str() != tokenizer.to_str():
        raise CheckpointError(
            f"the tokenizer of {source} is not the base's with new pieces behind it",
            name="E-DELTA-TOKENIZER",
            why="a delta holds pieces, so anything else that changed would be lost",
            done=NOTHING_DONE,
        )
    exact = rows_of(source, base, pieces, next=_AS_NEW_ROWS)
    block = in_precision(exact, dtype)
    try:
        delta = new_delta(
            pieces,
            scores,
            block,
            language=language,
            base=base.facts,
            checkpoint=source.name,
            versions=versions(),
        )
    except ValueError as error:
        raise CheckpointError(
            f"{source} cannot be told as a delta", name="E-DELTA", why=escaped(str(error)), done=NOTHING_DONE
        ) from error
    return delta, block.largest_change(exact)


def _parted(folder: Path, base: Base, record: Record | None) -> list[Delta]:
    """The deltas in a checkpoint, all else of which is the base's; none without a record."""
    tokenizer, kind = load_tokenizer(folder), kind_of(base.tokenizer)
    pieces = pieces_after(base, folder, tokenizer)
    block = rows_of(folder, base, pieces, next=_AS_IT_IS)
    if record is None:
        return []
    return taken_apart(record, pieces, kind.scores(tokenizer) if kind.needs_scores else {}, block)


def _build(base: Base, composition: Composition, tokenizer: Tokenizer, out: Path) -> None:
    with store.publish_directory(out) as folder:
        model = load_pretraining_model(base.directory)
        block = composition.block
        grow_(model, block.rows, block.bias, output_rows=block.output, first_id=composition.base_size)
        save_model(model, folder)
        del model
        save_tokenizer(tokenizer, folder, base=base.directory)
        write_record(folder, composition)
        _prove(folder, base, composition)


def _prove(folder: Path, base: Base, composition: Composition) -> None:
    """Read a written checkpoint back: pieces, new rows and all else are what they should be."""
    pieces = pieces_after(base, folder, load_tokenizer(folder))
    if pieces != composition.pieces:
        raise unproven(folder, "the new pieces are not those of the deltas")
    if not rows_of(folder, base, pieces, next="").same_as(composition.block):
        raise unproven(folder, "the new rows are not those of the deltas")
    raise_failed(certify_folder(folder, base=base.directory))


def _languages_in(folder: Path, record: Record | None, asked: Sequence[str]) -> set[str]:
    """The asked languages as the record has them."""
    there = record.languages if record else []
    gone = {name if name in there else known_languages.resolve(name).code for name in asked}
    lacking = sorted(gone - set(there))
    if lacking:
        told = (
            f"there are {', '.join(there)}" if there else "it has no deltas.json that would tell them apart"
        )
        raise UsageError(
            f"{folder} has no delta of {', '.join(lacking)}", name="E-LANGUAGE", why=told, done=NOTHING_DONE
        )
    return gone


def _told(base: Base, composition: Composition) -> dict[str, Any]:
    return {
        "base": {"name": base.facts.name, "revision": base.facts.revision},
        "base_size": base.size,
        "added": len(composition.pieces),
        "shared": composition.shared,
        "deltas": [
            {
                "language": part.delta.facts.language,
                "sha256": part.delta.facts.sha256,
                "pieces": len(part.ids),
                "shared": len(part.shared),
            }
            for part in composition.parts
        ],
        "size": base.size + len(composition.pieces),
    }


def _check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Raises UsageError for an `out` that is or lies in an input, PathError for one that cannot be made."""
    for given in inputs:
        if given.is_dir() and out.resolve().is_relative_to(given.resolve()):
            raise UsageError(
                f"the output {out} is or lies in the input {given}",
                name="E-OUTPUT",
                why="an input is never written to",
                done=NOTHING_DONE,
                next="give another --out",
            )
    reason = ""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        reason = "it is there already"
    elif not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = f"{there} cannot be written"
    if reason:
        raise PathError(
            f"cannot make {out}: {reason}", name="E-OUTPUT", done=NOTHING_DONE, next="give another --out"
        )
