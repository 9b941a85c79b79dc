"""`extend grow`: start the new rows, or tell how one was made."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, table
from extend.cli.runs import open_run
from extend.errors import escaped

_FILES = "What a method needs"


def register(app: typer.Typer, *, panel: str) -> None:
    """Put the command into the application."""
    command(app, "grow", panel=panel, render=_shown, example="extend grow --lang ug --init subword")(grow)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How new rows and their biases start, and from what."""

    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            help="subword, paper, normal, mean, mvn, script, dictionary, focus, wechsel, ofa, clp, distill.",
        ),
    ] = None
    bias: Annotated[
        str | None,
        typer.Option("--bias", help="zero, mean, pieces or frequency.  [default: the method's own]"),
    ] = None
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            metavar="FILE",
            help="Word vectors of the language (focus, ofa, wechsel).  [default: trained on the corpus]",
            rich_help_panel=_FILES,
        ),
    ] = None
    base_vectors: Annotated[
        Path | None,
        typer.Option(
            "--base-vectors",
            metavar="FILE",
            help="Word vectors of a language the base knows (wechsel).",
            rich_help_panel=_FILES,
        ),
    ] = None
    dictionary: Annotated[
        Path | None,
        typer.Option(
            "--dictionary",
            metavar="FILE",
            help="Lines of a word and its translation (dictionary, wechsel).",
            rich_help_panel=_FILES,
        ),
    ] = None
    helper: Annotated[
        str | None,
        typer.Option(
            "--helper",
            metavar="FOLDER",
            help="A model whose vocabulary has the new pieces (clp).",
            rich_help_panel=_FILES,
        ),
    ] = None

    distil_lines: Annotated[
        int | None,
        typer.Option(
            "--distil", metavar="LINES", min=0, help="Then bring the rows nearer to their old spelling."
        ),
    ] = None

    def overrides(self) -> dict[str, Any]:
        """The settings that these options set; None is not given."""
        given = {f"grow.{name}": None if value is None else str(value) for name, value in vars(self).items()}
        return {**given, "grow.distil_lines": self.distil_lines}


def grow(
    call: Call,
    *,
    wanted: Wanted,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Grow nothing: held-out loss of these ways, as paper,mean,subword."
        ),
    ] = None,
    probe_steps: Annotated[
        int, typer.Option(min=0, help="With --compare: steps of new rows alone before measuring again.")
    ] = 0,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="PIECE", help="Grow nothing: tell how this piece's row was made."),
    ] = None,
) -> Result:
    """Grow embeddings, decoder and bias by the new pieces; old rows stay bit for bit."""
    run = open_run(call, {**wanted.overrides(), "seed": call.talk.seed})
    from extend import recipe
    from extend.recipe.growing import explain_row

    if explain is not None:
        return explain_row(run, explain)
    if compare is not None:
        names = [name.strip() for name in compare.split(",") if name.strip()]
        return recipe.compare_methods(run, names, probe_steps=probe_steps, on_progress=call.display)
    return recipe.check(run, "grow") if call.talk.dry_run else recipe.grow(run, call.display)


def _shown(result: Result) -> Iterable[RenderableType]:
    if "piece" in result:
        yield from _explained(result)
    elif "compare" in result:
        yield from _compared(result)
    else:
        yield from every_value({name: value for name, value in result.items() if name != "warnings"})


def _compared(result: Result) -> Iterable[RenderableType]:
    columns = ["method", "held-out MLM loss", "seconds"]
    probed = [f"loss after {result['probe_steps']} steps"] if result["probe_steps"] else []
    rows = [
        [name, one["mlm_loss"], one["seconds"], *([one["probe_loss"]] if probed else [])]
        for name, one in result["compare"].items()
    ]
    yield table([*columns, *probed], rows)


def _explained(result: Result) -> Iterable[RenderableType]:
    yield f"piece: {escaped(result['piece'])}"
    yield f"id: {result['id']}"
    if result["method"] == "base":
        yield "a piece of the base: its row is the base's own"
        return
    used = result["fallback"] or result["method"]
    yield f"method: {used}" + (f", instead of {result['method']}" if result["fallback"] else "")
    if result["why"]:
        yield f"why: {result['why']}"
    if result["sources"]:
        mixed = result.get("mixed", len(result["sources"]))
        yield f"a weighted sum of {mixed:,} rows of the base" + (
            f", the heaviest {len(result['sources'])}:" if mixed > len(result["sources"]) else ":"
        )
        yield table(
            ["piece", "id", "weight"],
            [[escaped(one["piece"]), str(one["id"]), one["weight"]] for one in result["sources"]],
        )
