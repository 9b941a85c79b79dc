"""Row deltas: new rows apart from their base, on it again, and the base back."""

import enum
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import facts, table
from extend.cli.runs import open_run
from extend.errors import UsageError

_PANEL = "Row deltas"
_Base = Annotated[
    str, typer.Option("--base", metavar="NAME|FOLDER", help="The base that the rows belong to.")
]
_Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to make.")]


class Precision(enum.StrEnum):
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Stage(enum.StrEnum):
    model = "model"
    grown = "grown"


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(
        app, "delta", panel=_PANEL, render=_delta_text, example="extend delta --lang ug --out ug.delta --half"
    )(delta)
    command(
        app,
        "apply",
        panel=_PANEL,
        render=_composed_text,
        example="extend apply ug.delta si.delta --base google-bert/bert-base-multilingual-cased --out both",
        on_run=False,
    )(apply)
    command(
        app,
        "remove",
        panel=_PANEL,
        render=_composed_text,
        example="extend remove both --language ug --base google-bert/bert-base-multilingual-cased --out si",
        on_run=False,
    )(remove)


def delta(
    call: Call,
    *,
    out: _Out,
    half: Annotated[bool, typer.Option("--half", help="The same as --dtype float16.")] = False,
    dtype: Annotated[
        Precision | None, typer.Option("--dtype", help="Type of the stored values.  [default: float32]")
    ] = None,
    checkpoint: Annotated[
        Stage | None, typer.Option("--checkpoint", help="Which one.  [default: model, else grown]")
    ] = None,
) -> Result:
    """Write the new rows of a run alone: pieces, rows and biases, without the base they belong to."""
    if half and dtype not in (None, Precision.float16):
        raise UsageError(
            f"--half and --dtype {dtype} do not go together", name="E-USAGE", next="give one of them"
        )
    run = open_run(call, {})
    from extend.recipe import deltas

    return deltas.make_delta(
        run,
        out,
        dtype=Precision.float16 if half else dtype or Precision.float32,
        checkpoint=checkpoint,
        dry_run=call.talk.dry_run,
        on_progress=call.display,
    )


def apply(
    call: Call,
    *,
    folders: Annotated[list[Path], typer.Argument(metavar="DELTA...", help="Folders of extend delta.")],
    base_name: _Base,
    out: _Out,
) -> Result:
    """Build the checkpoint of a base with one or several deltas; their order does not matter."""
    from extend.recipe import deltas

    return deltas.apply_deltas(folders, base_name, out, dry_run=call.talk.dry_run, on_progress=call.display)


def remove(
    call: Call,
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A grown checkpoint.")],
    base_name: _Base,
    out: _Out,
    languages: Annotated[
        list[str] | None,
        typer.Option("--language", metavar="LANG", help="Remove this one's rows alone; repeatable."),
    ] = None,
) -> Result:
    """Give the base back bit for bit, or take the rows of some languages away and keep the others."""
    from extend.recipe import deltas

    return deltas.remove_deltas(
        folder, base_name, out, languages=languages or (), dry_run=call.talk.dry_run, on_progress=call.display
    )


def _delta_text(result: Result) -> Iterable[RenderableType]:
    base = result["base"]
    yield from facts(result, "out", "language", "checkpoint")
    yield f"base: {base['name']}" + (f" at {base['revision']}" if base["revision"] else "")
    yield from facts(result, "added", "width", "dtype", "rounding", "bytes", "sha256")


def _composed_text(result: Result) -> Iterable[RenderableType]:
    yield from facts(result, "out")
    for name in ("removed", "kept"):
        if result.get(name):
            yield f"{name}: {', '.join(result[name])}"
    yield from facts(result, "base_size", "added", "shared", "size")
    if deltas := result.get("deltas"):
        rows = [[one["language"], one["pieces"], one["shared"], one["sha256"][:12]] for one in deltas]
        yield table(["delta", "pieces", "of an earlier one", "sha256"], rows)
