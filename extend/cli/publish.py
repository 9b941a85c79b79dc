"""What leaves the run folder: the report and the push."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, facts, table
from extend.cli.runs import open_run

_PANEL = "Publication"


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(app, "report", panel=_PANEL, render=_report_text, example="extend report --lang ug")(report)
    command(
        app, "push", panel=_PANEL, render=_push_text, example="extend push USER/NAME --lang ug --dry-run"
    )(push)


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

    return recipe.push(run, repository, public=public, dry_run=call.talk.dry_run)


def _report_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
    if summary := result.get("summary"):
        yield table(list(summary[0]), [list(row.values()) for row in summary])
    yield from (f"wrote {path}" for path in result.get("files", ()))


def _push_text(result: Result) -> Iterable[RenderableType]:
    yield from facts(result, "repo", "commit")
    yield from (f"  {file}" for file in result.get("files", ()))
