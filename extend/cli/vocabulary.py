"""`extend vocab`: learn the pieces a base lacks, or check a folder that is there already."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from extend.cli.command import Call, Result, command
from extend.cli.options import Choice
from extend.cli.output import every_value, facts, figure, table
from extend.cli.runs import open_run
from extend.errors import ExtendError, UsageError

_PIECES, _OLD, _FILES = "Pieces", "Other languages", "Files and memory"


def register(app: typer.Typer, *, panel: str) -> None:
    """Put the command into the application."""
    command(
        app,
        "vocab",
        panel=panel,
        render=_shown,
        example="extend vocab --lang ug --corpus ug.txt.gz --size 8000 --protect kk.txt",
    )(vocab)


def _number_or_auto(value: str | None) -> str | None:
    if value in (None, "auto") or (value.isdecimal() and int(value) > 0):
        return value
    raise typer.BadParameter(f"{value!r} is neither a number of at least 1 nor auto.")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the vocabulary shall be, and how its text is read."""

    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="N|auto",
            help="New pieces at most; auto: the knee.",
            rich_help_panel=_PIECES,
            callback=_number_or_auto,
        ),
    ] = None
    min_count: Annotated[
        int | None,
        typer.Option("--min-count", min=1, help="Uses that keep a piece.", rich_help_panel=_PIECES),
    ] = None
    max_piece_length: Annotated[
        int | None,
        typer.Option(
            "--max-piece-length", min=1, help="Characters of the longest piece.", rich_help_panel=_PIECES
        ),
    ] = None
    veto: Annotated[
        Path | None,
        typer.Option(
            "--veto", metavar="FILE", help="Pieces never to take, one a line.", rich_help_panel=_PIECES
        ),
    ] = None
    score_mix: Annotated[
        float | None,
        typer.Option(
            "--score-mix",
            help="Share of new pieces in the scores (Unigram bases).",
            rich_help_panel=_PIECES,
        ),
    ] = None
    max_unk: Annotated[
        float | None,
        typer.Option(
            "--max-unk", help="Refuse when more held-out words stay unknown.", rich_help_panel=_PIECES
        ),
    ] = None
    protect: Annotated[
        list[str] | None,
        typer.Option(
            "--protect",
            metavar="FILE",
            help="Text whose words must keep their pieces; repeatable.",
            rich_help_panel=_OLD,
        ),
    ] = None
    max_drift: Annotated[
        float | None,
        typer.Option("--max-drift", help="Share of those words that may change.", rich_help_panel=_OLD),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="SIZE", help="What counting may use, as 4GB.", rich_help_panel=_FILES
        ),
    ] = None
    strict: Annotated[
        bool | None,
        typer.Option("--strict/--repair", help="Refuse bytes that are not UTF-8.", rich_help_panel=_FILES),
    ] = None
    on_bad_file: Annotated[
        str | None,
        typer.Option(
            "--on-bad-file",
            metavar="stop|skip",
            help="What a broken file does.",
            rich_help_panel=_FILES,
        ),
    ] = None

    def overrides(self) -> dict[str, Any]:
        """The settings that these options set; None is not given."""
        reading = {"strict", "on_bad_file"}
        given = {
            ("reading." if name in reading else "vocab.") + name: value for name, value in vars(self).items()
        }
        size = self.size if self.size in (None, "auto") else int(self.size)
        veto = None if self.veto is None else str(self.veto)
        return {**given, "vocab.size": size, "vocab.veto": veto, "vocab.protect": self.protect or None}


def vocab(
    call: Call,
    *,
    wanted: Wanted,
    again: Annotated[
        bool, typer.Option("--again", help="Replace a vocabulary that nothing was made with yet.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Learn nothing: check this run, tokenizer or model folder."),
    ] = None,
) -> Result:
    """Learn the pieces the base lacks; write the extended tokenizer and its report."""
    if check is not None:
        return _checked(call, check)
    run = open_run(call, {**wanted.overrides(), "seed": call.talk.seed})
    from extend import recipe

    if call.talk.dry_run:
        return recipe.check(run, "vocab")
    return recipe.learn_vocabulary(run, call.display, again=again)


def _checked(call: Call, directory: Path) -> Result:
    if call.choice != Choice(base=call.choice.base):
        raise UsageError(
            "--check takes a folder and --base, no run",
            name="E-USAGE",
            next=f"extend vocab --check {directory}",
        )
    from extend import recipe

    certificate = recipe.check_folder(directory, base=call.choice.base)
    try:
        recipe.raise_failed(certificate)
    except ExtendError as error:
        call.failure = error
    return certificate


def _shown(result: Result) -> Iterable[RenderableType]:
    if "assertions" in result:
        yield from _certificate(result)
    elif "stage" in result:
        yield from every_value(result)
    else:
        yield from _vocabulary(result)


def _vocabulary(result: Result) -> Iterable[RenderableType]:
    yield from facts(result, "added", "base_size", "unused", "seconds")
    if why := result.get("size", {}).get("why"):
        yield f"size: {result['added']:,}, {why}"
    if sizes := result.get("sizes"):
        rows = [
            [figure(point["size"]), point["fertility"], point["unk_rate"], point["added_parameters"]]
            for point in sizes
        ]
        yield table(["new pieces", "pieces a word", "share with [UNK]", "added weights"], rows)
    held_out = [[name, one["fertility"], one["unk_rate"]] for name, one in result["held_out"].items()]
    yield table(["held-out text", "pieces a word", "share of words with [UNK]"], held_out)
    yield table(["other languages", "words", "cut otherwise", "newly [UNK]"], _drift(result))
    if points := result.get("frontier"):
        rows = [[figure(point["share"]), point["fertility"], point["drift"]] for point in points]
        yield table([f"score mix (chosen {result['score_mix']})", "pieces a word", "cut otherwise"], rows)


def _drift(result: Result) -> Iterable[list[Any]]:
    measured = {"words of the base": {**result["drift"], "words": result["drift"]["sample"]}}
    measured |= {file["name"]: file for file in result.get("protected", {}).get("files", ())}
    for name, one in measured.items():
        yield [name, one["words"], one["words_changed"], one["words_newly_unk"]]


_VERDICTS = {True: Text("held", "green"), False: Text("FAILED", "bold red"), None: Text("-", "dim")}


def _certificate(result: Result) -> Iterable[RenderableType]:
    counted = {name: result[name] for name in ("pieces", "added") if result[name] is not None}
    told = [result["directory"], *(f"{count:,} {name}" for name, count in counted.items())]
    yield "  ".join(told) + (f"  base {result['base']}" if result["base"] else "")
    shown = table(["", "assertion", "", "detail"], [])
    for one in result["assertions"]:
        shown.add_row(str(one["number"]), one["name"], _VERDICTS[one["holds"]], one["detail"])
    for column in shown.columns:
        column.justify = "left"
    yield shown
    reader = result["versions"]["transformers"]
    yield f"{result['probes']} texts read by transformers {reader} in a new process"
