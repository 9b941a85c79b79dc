"""Text in, entities out: `extend ner-tag`."""

import enum
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from extend.cli.command import Call, Result, command
from extend.cli.options import Format
from extend.cli.output import every_value, facts
from extend.errors import UsageError, escaped

_PANEL = "Evaluation"
_STREAM = "stream"
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
ENTITIES_SHOWN = 1000
ISOLATE, POP = "\u2068", "\u2069"
"""First strong isolate, pop: what stands between is laid out in its own direction and moves nothing else."""


class Input(enum.StrEnum):
    text = "text"
    conll = "conll"
    jsonl = "jsonl"


class Output(enum.StrEnum):
    jsonl = "jsonl"
    conll = "conll"


@dataclass(frozen=True, kw_only=True)
class Into:
    """Where the work goes when it is not only shown."""

    to: Annotated[
        Output | None,
        typer.Option("--to", help="Stream tagged lines in this form, to stdout or --output."),
    ] = None
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="File for the tagged lines.")
    ] = None
    pack: Annotated[
        Path | None,
        typer.Option("--pack", metavar="DIR", help="Write the tagger with its encoder inside; tag nothing."),
    ] = None
    as_transformers: Annotated[
        Path | None,
        typer.Option(
            "--as-transformers",
            metavar="DIR",
            help="Write a linear tagger as a token classifier of transformers; tag nothing.",
        ),
    ] = None


def register(app: typer.Typer) -> None:
    """Put this command into the application."""
    command(
        app,
        "ner-tag",
        panel=_PANEL,
        render=_shown,
        example="extend ner-tag runs/ug/ner/zero-shot/heads/extended-en news.txt --to jsonl > entities.jsonl",
        on_run=False,
    )(ner_tag)


def ner_tag(
    call: Call,
    *,
    tagger: Annotated[Path, typer.Argument(metavar="TAGGER", help="Folder of a saved tagger.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|-", help="What to tag; default stdin.")
    ] = None,
    input: Annotated[
        Input | None,
        typer.Option("--input", help="What the files are.  [default: as their names say, text for stdin]"),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Encoder of a tagger that only refers to it.  [default: the run's]"),
    ] = None,
    into: Into,
) -> Result:
    """Tag text, columns of words or JSON lines with a saved tagger."""
    _check_wishes(call, files, into)
    from extend.recipe import tagging

    sources = files or [tagging.STDIN]
    form = tagging.check_sources(sources, input)
    wanted = into.to or _form_of(into.output, form)
    found = tagging.find_tagger(tagger, encoder)
    for folder in (into.pack, into.as_transformers):
        tagging.check_target(folder)
    if call.talk.dry_run:
        return {"stage": "ner-tag", **found.facts(), "files": list(sources), "input": str(form)}
    if into.pack or into.as_transformers:
        packed = tagging.pack(found, into.pack) if into.pack else {}
        exported = tagging.as_transformers(found, into.as_transformers) if into.as_transformers else {}
        return {**found.facts(), **packed, **exported}
    work = tagging.Tagging(
        tagging.open_tagger(found), sources, form, stdin=sys.stdin.buffer, on_progress=call.display
    )
    if into.output:
        done = tagging.write(work, wanted, into.output)
        return {**found.facts(), **done, **work.facts()}
    if into.to:
        return {_STREAM: _streamed(call, work, tagging.written(work, wanted))}
    shown = _as_records(work) if call.talk.format is Format.json else _as_rows(work)
    return {**found.facts(), "input": str(form), **shown}


def _check_wishes(call: Call, files: list[str] | None, into: Into) -> None:
    if (into.pack or into.as_transformers) and (files or into.to or into.output):
        raise UsageError(
            "--pack and --as-transformers write a folder and tag nothing",
            name="E-USAGE",
            next="leave out the files, --to and --output",
        )
    if into.to and not into.output and call.talk.format is Format.json:
        raise UsageError(
            "--format json and --to both want stdout",
            name="E-USAGE",
            why="--format json prints one object, --to a line a passage",
            next="leave one out, or give --output FILE for the lines",
        )


def _form_of(output: Path | None, form: str) -> Output:
    """Columns for a file named so, or where columns came in and the file is not named otherwise."""
    ending = output.suffix.lower() if output else ""
    if ending in (".conll", ".bio", ".iob2", ".tsv"):
        return Output.conll
    return Output.conll if form == Input.conll and ending not in (".jsonl", ".ndjson") else Output.jsonl


def _as_records(work: Any) -> dict[str, Any]:
    from extend.recipe import tagging

    records = list(tagging.records(work))
    return {**work.facts(), "records": records}


def _as_rows(work: Any) -> dict[str, Any]:
    """The first entities, for the table; of the others the number alone."""
    from extend.recipe import tagging

    rows: list[tuple[int, Any]] = []
    for number, tagged in enumerate(tagging.passages(work), start=1):
        rows += [(number, one) for one in tagged.entities[: ENTITIES_SHOWN - len(rows)]]
    return {**work.facts(), "rows": rows}


def _streamed(call: Call, work: Any, chunks: Iterator[bytes]) -> Iterator[RenderableType]:
    """Writes the tagged lines while they are made; yields nothing that is to be laid out."""
    with call.display:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        told = work.facts()
    for warning in told["warnings"]:
        call.display.say(f"extend {call.command}: warning[{warning['name']}]: {warning['text']}")
    call.display.say(f"{told['lines']:,} lines, {told['words']:,} words, {told['entities']:,} entities")
    yield from ()


def _shown(result: Result) -> Iterable[RenderableType]:
    if _STREAM in result:
        yield from result[_STREAM]
        return
    if "rows" not in result:
        yield from every_value({name: value for name, value in result.items() if name != "warnings"})
        return
    rows = result["rows"]
    colours = {label: _COLOURS[place % len(_COLOURS)] for place, label in enumerate(result["labels"])}
    table = Table(
        "sentence" if result["input"] == Input.conll else "line", "from", "to", "type", "entity", "confidence"
    )
    for number, one in rows:
        table.add_row(
            f"{number:,}",
            str(one.start),
            str(one.end),
            Text(one.type, style=colours.get(one.type, "")),
            Text(f"{ISOLATE}{escaped(one.text)}{POP}", style=colours.get(one.type, "")),
            f"{one.confidence:.3f}",
        )
    if rows:
        yield table
    if result["entities"] > len(rows):
        yield f"the first {len(rows):,} of {result['entities']:,} entities; --to jsonl gives them all"
    yield from facts(result, "lines", "words", "entities", "seconds", "words_per_second")
