"""What leaves and enters: the report, the push, the pull, and whether published numbers hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, facts, figure, table, with_interval
from extend.cli.runs import open_run

if TYPE_CHECKING:
    from extend.recipe.publishing import Check

_PANEL = "Publication"


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(app, "report", panel=_PANEL, render=_report_text, example="extend report --lang ug")(report)
    command(
        app, "push", panel=_PANEL, render=_push_text, example="extend push USER/NAME --lang ug --dry-run"
    )(push)
    command(
        app,
        "pull",
        panel=_PANEL,
        render=_pull_text,
        example="extend pull USER/NAME --out checkpoint",
        on_run=False,
    )(pull)
    command(
        app,
        "reproduce",
        panel=_PANEL,
        render=_reproduction_text,
        example="extend reproduce runs/ug",
        on_run=False,
    )(reproduce)


def report(call: Call) -> Result:
    """Write report.html and README.md (the model card) from the files of the run alone."""
    run = open_run(call, {})
    from extend import recipe

    return recipe.check(run, "report") if call.talk.dry_run else recipe.report(run)


def push(
    call: Call,
    *,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="Where to on the Hugging Face Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
) -> Result:
    """Publish the checkpoint in one commit and verify it; --dry-run lists what would go."""
    run = open_run(call, {})
    from extend import recipe

    def told(check: "Check") -> None:
        call.display.say(f"  {'FAILED' if check.error else 'ok    '}  {check.name}: {check.detail}")

    result = recipe.push(run, repository, public=public, dry_run=call.talk.dry_run, on_check=told)
    return _with_hub_told(call, result)


def pull(
    call: Call,
    *,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="A checkpoint on the hub.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder to make.  [default: NAME]")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, branch or tag.  [default: main]")
    ] = None,
) -> Result:
    """Fetch a published checkpoint, its card and its record; every file is compared with the hub's hash."""
    from extend.recipe import pulling

    result = pulling.pull(
        repository, out, revision=revision, dry_run=call.talk.dry_run, on_progress=call.display
    )
    return _with_hub_told(call, result)


def reproduce(
    call: Call,
    *,
    subject: Annotated[
        str, typer.Argument(metavar="DIR|USER/NAME", help="A run, a pulled checkpoint, or one on the hub.")
    ],
    base_name: Annotated[
        str | None, typer.Option("--base", help="Where the base lies.  [default: as recorded]")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="PATH", help="Files or folders with the NER sets; repeatable."),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--corpus", metavar="PATH", help="The text, for numbers on held-out lines; repeatable."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, branch or tag on the hub.  [default: main]")
    ] = None,
) -> Result:
    """Evaluate again and say of each number of the card whether it holds within its interval."""
    from extend.recipe import reproducing

    result = reproducing.reproduce(
        subject,
        base=base_name,
        data=data or (),
        corpus=texts or (),
        revision=revision,
        dry_run=call.talk.dry_run,
        on_progress=call.display,
    )
    call.failure = reproducing.not_reproduced(result)
    return _with_hub_told(call, result)


def _with_hub_told(call: Call, result: Result) -> Result:
    if line := result.get("hub"):
        call.display.say(line)
    return result


def _report_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
    if summary := result.get("summary"):
        yield table(list(summary[0]), [list(row.values()) for row in summary])
    yield from (f"wrote {path}" for path in result.get("files", ()))


def _push_text(result: Result) -> Iterable[RenderableType]:
    yield from facts(result, "repo", "commit")
    yield from (f"  {file}" for file in result.get("files", ()))


def _pull_text(result: Result) -> Iterable[RenderableType]:
    yield from facts(result, "repo", "commit", "out", "size")
    yield from (f"  {file}" for file in result["files"])
    if not result["new"]:
        yield "all of it was there already"


def _reproduction_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
        return
    yield from facts(result, "subject", "commit")
    judged = [one for one in result["numbers"] if one["interval"] or one["verdict"] == "outside"]
    exact = [one for one in result["numbers"] if one["place"] == "held-out text" and one not in judged]
    yield table(
        ["where", "encoder", "language", "number", "card, 95 % interval", "now", "verdict"],
        [_number(one) for one in (*judged, *exact)],
    )
    yield ", ".join(f"{count} {verdict}" for verdict, count in result["counts"].items() if count)
    yield from (f"another than then: {name}" for name in result["changed"])
    left = result["counts"]["not measured"]
    told = "every number that was measured holds" if left else "the card's numbers hold"
    yield told if result["holds"] else "the card's numbers do not hold"


def _number(one: Mapping[str, Any]) -> list[object]:
    in_percent = one["interval"] is not None
    card = with_interval(one["card"], one["interval"]) if in_percent else one["card"]
    now = figure(one["now"]) if one["now"] is None or not in_percent else f"{one['now']:.1f}"
    return [one["place"], one["encoder"], one["language"] or "", one["name"], card, now, one["verdict"]]
