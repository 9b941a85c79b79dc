"""`extend blend`: between the grown model and the trained one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import facts, table
from extend.cli.runs import open_run
from extend.errors import UsageError, escaped


def register(app: typer.Typer, *, panel: str) -> None:
    """Put the command into the application."""
    command(app, "blend", panel=panel, render=_shown, example="extend blend --lang ug --t 0.7")(blend)


def blend(
    call: Call,
    *,
    t: Annotated[
        float | None,
        typer.Option(
            "--t", min=0.0, max=1.0, help="0: as before training, 1: as after it.", show_default=False
        ),
    ] = None,
    new_rows: Annotated[
        Literal["trained", "blended"],
        typer.Option("--new-rows", help="New pieces' rows as they were trained, or blended as all else."),
    ] = "trained",
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="T,T,...", help="Publish nothing: held-out loss at each of these."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="The trained one.  [default: the run's model]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="The folder to make.  [default: RUN/blended-T]"),
    ] = None,
) -> Result:
    """Interpolate the weights before and after training: nearly all of what both can do, at no cost."""
    if (t is None) == (sweep is None):
        raise UsageError("give --t or --sweep, one of them", name="E-USAGE", next="for example --t 0.7")
    shares = _shares(sweep) if sweep is not None else []
    run = open_run(call, {})
    from extend.recipe import blending

    dry_run = call.talk.dry_run
    if t is None:
        return blending.sweep(
            run, shares, new_rows=new_rows, model=model, dry_run=dry_run, on_progress=call.display
        )
    return blending.blend(
        run, t, new_rows=new_rows, model=model, out=out, dry_run=dry_run, on_progress=call.display
    )


def _shares(given: str) -> list[float]:
    try:
        return [float(one) for one in given.split(",")]
    except ValueError:
        raise UsageError(
            f"--sweep {escaped(given)} is not numbers with commas between",
            name="E-USAGE",
            next="for example --sweep 0,0.3,0.5,0.7,1",
        ) from None


def _shown(result: Result) -> Iterable[RenderableType]:
    measured = result.get("sweep", [result])
    languages = list(measured[0].get("held_out", {}))
    rows = [[f"{one['t']:g}", *(_loss(one, language) for language in languages)] for one in measured]
    yield table(["t", *languages], rows, title="held-out MLM loss, nats a masked piece")
    yield from facts(result, "new_rows", "out")


def _loss(one: Result, language: str) -> float | None:
    loss: float | None = one["held_out"][language]["mlm_loss"]
    return loss
