"""Configurations: one to start from for a language, and what one resolves to."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table

from extend.cli.command import Call, Result, command
from extend.errors import escaped

_PANEL = "Start here"


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(app, "init", panel=_PANEL, render=_init_text, example="extend init ug --dry-run", on_run=False)(
        init
    )
    command(
        app,
        "config",
        panel=_PANEL,
        render=_config_text,
        example="extend config --set pretrain.steps=2000",
        on_run=False,
    )(config)


def init(
    call: Call,
    *,
    named: Annotated[str, typer.Argument(metavar="LANG", help="Code, name or autonym: ug, uig, Uyghur.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write.  [default: CODE.toml]")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--base", help="Encoder to start from: hub name or folder.")
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            metavar="PATH",
            help="File, folder, glob or hf:DATASET; repeatable.  [default: the language's Wikipedia]",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings that belong together: paper.")
    ] = None,
) -> Result:
    """Write a commented configuration for a language: its names, corpus, NER sets, settings and reasons."""
    from extend.languages import passport, resolve
    from extend.recipe.starting import starting_configuration, write_starting

    language = resolve(named)
    call.display.say(f"language: {language.told()}")
    path = out or Path(f"{language.code}.toml")
    text = starting_configuration(
        language, path=str(path), base=encoder or "", corpus=texts or (), preset=preset
    )
    write_starting(path, text, dry_run=call.talk.dry_run)
    known = passport(language, given=named).as_json()
    return {
        "file": str(path),
        "written": not call.talk.dry_run,
        "text": text,
        "warnings": known.pop("warnings"),
        "language": known,
    }


def config(
    call: Call,
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="TOML file with settings, or a run's run.toml.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as pretrain.steps=2000; repeatable."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of configuration files instead.")
    ] = False,
) -> Result:
    """Show every setting: its value, whether that is a default or where it was set, and what it means."""
    from extend.recipe.explaining import explain_settings, settings_schema

    if schema:
        return settings_schema()
    explained = explain_settings(file, changes or ())
    return {
        "file": str(file) if file else None,
        "settings": {
            one.key: {"value": one.value, "source": one.source, "meaning": one.meaning} for one in explained
        },
    }


def _init_text(result: Result) -> Iterable[RenderableType]:
    if result["written"]:
        yield f"wrote {escaped(result['file'], limit=200)}"
        yield f"next: extend run {escaped(result['file'], limit=200)} --dry-run"
    else:
        yield result["text"].rstrip("\n")


def _config_text(result: Result) -> Iterable[RenderableType]:
    if "$schema" in result:
        yield json.dumps(result, indent=2, ensure_ascii=False)
        return
    shown = Table()
    for name in ("setting", "value", "from", "meaning"):
        shown.add_column(name, overflow="fold")
    for key, one in result["settings"].items():
        shown.add_row(
            *map(_cell, (key, json.dumps(one["value"], ensure_ascii=False), one["source"])), one["meaning"]
        )
    yield shown


def _cell(text: str) -> str:
    return escaped(text, limit=200)
