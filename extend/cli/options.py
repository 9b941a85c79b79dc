"""The options that commands share, as two groups; `command` puts them into a command's signature."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_CHOICE = "Which run"
_TALK = "Output"


class Format(enum.StrEnum):
    text = "text"
    json = "json"


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How a command speaks; every command has these."""

    format: Annotated[Format, typer.Option("--format", help="What stdout gets.", rich_help_panel=_TALK)] = (
        Format.text
    )
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check all that the real run would; write nothing.", rich_help_panel=_TALK
        ),
    ] = False
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of everything drawn.", rich_help_panel=_TALK)
    ] = None
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Use no network, only files that are here.", rich_help_panel=_TALK),
    ] = False
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.", rich_help_panel=_TALK)
    ] = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which run a command works on, and what is set for it."""

    lang: Annotated[
        str | None,
        typer.Option(
            "--lang", help="Code, name or autonym: ug, uig, ug-Arab, Uyghur.", rich_help_panel=_CHOICE
        ),
    ] = None
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="DIR", help="Run folder.  [default: runs/LANG]", rich_help_panel=_CHOICE
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="TOML file with settings.", rich_help_panel=_CHOICE),
    ] = None
    base: Annotated[
        str | None,
        typer.Option("--base", help="Encoder to start from: hub name or folder.", rich_help_panel=_CHOICE),
    ] = None
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            metavar="[LANG=]PATH",
            help="File, folder, glob or hf:DATASET; repeatable. LANG= gives another language's text.",
            rich_help_panel=_CHOICE,
        ),
    ] = None
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting, as pretrain.steps=2000; repeatable.",
            rich_help_panel=_CHOICE,
        ),
    ] = None
