"""The command reference, from the commands themselves: `python -m extend.cli.reference > docs/commands.md`.

What a command does, how it is typed, an example, and its options by group, with the default and the setting
that each stands for. Options that many commands share are told once.
"""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import typer

from extend.cli.main import app
from extend.cli.options import Choice, Talk
from extend.config import RunSettings

_HEAD = """\
# Commands

<!-- Written by `python -m extend.cli.reference > docs/commands.md`; a test says when it is stale. -->

Every command, with its options by group. `extend COMMAND --help` shows the same on a terminal, and
`extend --install-completion` completes commands and options in the shell. *Default* is what holds when
nothing is said, *setting* the key that does the same in a configuration file, and with `--set KEY=VALUE`.
What commands print with `--format json`, and what they write, is told with the [files](files.md); exit codes
and what is done about bad input with the [faults](faults.md).
"""
_SHARED = {
    "Output": (Talk, "Every command takes these."),
    "Which run": (
        Choice,
        "Commands that work on a run take these; what is given is kept in the run's `run.toml`.",
    ),
}
_TABLES: Mapping[str, tuple[str, ...]] = {
    "vocab": ("vocab", "reading"),
    "grow": ("grow",),
    "pretrain": ("pretrain",),
    "ner-eval": ("ner",),
}
"""The tables of settings that a command's options stand for."""
_ASIDE = re.compile(
    r"^(?P<text>.*?)\s*\[(?P<aside>(?:default: |required|x[<>=]|[0-9.-]+<=?x)[^\]]*)\]$", re.DOTALL
)

_KIND = re.compile(r"<([^>]+)>")
_VALUES = {
    "int": "N",
    "int range": "N",
    "float": "X",
    "float range": "X",
    "str": "TEXT",
    "path": "PATH",
    "list[str]": "TEXT",
    "list[int range]": "N",
    "list[int]": "N",
    "list[float]": "X",
    "list[path]": "PATH",
}


@dataclass(frozen=True)
class Option:
    """One option or argument, as the reference tells it."""

    name: str
    panel: str
    typed: str
    does: str
    default: str
    setting: str = ""


def reference() -> str:
    """The whole page, in Markdown."""
    group: Any = typer.main.get_command(app)
    panels: dict[str, list[str]] = {}
    for name, one in group.commands.items():
        panels.setdefault(str(one.rich_help_panel), []).append(name)
    parts = [_HEAD, *_shared_options(group)]
    for panel, names in panels.items():
        parts.append(f"## {panel}\n")
        parts += [_command(name, group.commands[name]) for name in names]
    return "\n".join(parts)


def options_of(name: str, one: Any) -> list[Option]:
    """Options and arguments of a command in the order of its help, without `--help`."""
    context = one.make_context(f"extend {name}", [], resilient_parsing=True)
    return [
        _option(name, parameter, *parameter.get_help_record(context))
        for parameter in one.params
        if parameter.name != "help" and not getattr(parameter, "hidden", False)
    ]


def setting_of(command: str, option: str) -> str:
    """The key that an option of this command stands for; empty when there is none of its name."""
    for table in _TABLES.get(command, ()):
        if option in RunSettings.model_fields[table].annotation.model_fields:  # type: ignore[union-attr]
            return f"{table}.{option}"
    return option if option in RunSettings.model_fields and command in ("", *_TABLES) else ""


def _option(command: str, parameter: Any, typed: str, told: str) -> Option:
    does, default = _apart(told)
    setting = setting_of(command, parameter.name)
    if not default and setting:
        default = _shown(_default(setting))
    if not default and getattr(parameter, "is_flag", False) and parameter.default is False:
        default = "off"
    panel = getattr(parameter, "rich_help_panel", None) or ""
    typed = _KIND.sub(lambda kind: _VALUES.get(kind[1], kind[1]), typed)
    if parameter.param_type_name == "argument":
        panel, typed = "Arguments", parameter.metavar or parameter.name.upper()
    return Option(parameter.name, panel, typed, does, default, setting)


def _apart(told: str) -> tuple[str, str]:
    """A help text as its words and its default; a range of numbers becomes words of the first."""
    match = _ASIDE.match(told)
    if match is None:
        return told, ""
    text, default, bounds = match["text"], "", []
    inner, further = _apart(text) if "[default: " in text else (text, "")
    for part in match["aside"].split("; "):
        if part.startswith("default: "):
            default = part.removeprefix("default: ")
        elif part != "required":
            bounds.append(_bounds(part))
    return " ".join([inner, *bounds]), default or further


def _bounds(text: str) -> str:
    low, high = re.search(r"x>=([\d.]+)|([\d.]+)<=x", text), re.search(r"x<=([\d.]+)", text)
    ends = [f"{float(next(filter(None, end.groups()))):g}" for end in (low, high) if end]
    if low and high:
        return f"From {ends[0]} to {ends[1]}."
    return f"At {'least' if low else 'most'} {ends[0]}." if ends else ""


def _default(setting: str) -> Any:
    kind: Any = RunSettings
    *tables, last = setting.split(".")
    for table in tables:
        kind = kind.model_fields[table].annotation
    return kind.model_fields[last].get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or value == {} else str(value)


def _shared_options(group: Any) -> Iterator[str]:
    """The groups of options that many commands have, told by those of `vocab`, which has them all."""
    yield "## Options of every command\n"
    listed = options_of("", group.commands["vocab"])
    for panel, (kind, told) in _SHARED.items():
        names = {option.name for option in fields(kind)}
        yield f"### {panel}\n\n{told}\n"
        yield _table(option for option in listed if option.name in names)


def _command(name: str, one: Any) -> str:
    listed = options_of(name, one)
    shared = _shared_panels(listed)
    own = [option for option in listed if option.panel not in shared]
    typed = " ".join(["extend", name, *_arguments(one), "[OPTIONS]"])
    parts = [f"### extend {name}\n", f"{_prose(one.help)}\n", f"```\n{typed}\n```\n"]
    if example := example_of(one):
        parts.append(f"Example:\n\n```sh\n{example}\n```\n")
    for panel in dict.fromkeys(option.panel for option in own):
        parts.append(f"**{panel or 'Options'}**\n")
        parts.append(_table(option for option in own if option.panel == panel))
    links = " and ".join(f"[{panel}](#{panel.lower().replace(' ', '-')})" for panel in shared)
    parts.append(f"And the options of {links}.\n")
    return "\n".join(parts)


def _arguments(one: Any) -> Iterator[str]:
    for parameter in one.params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            name = name if parameter.required else f"[{name}]"
            yield f"{name}..." if parameter.nargs == -1 and not name.endswith("...") else name


def example_of(one: Any) -> str:
    """The example at the end of a command's help, as it is typed; empty when there is none."""
    found = re.search(r"`(extend [^`]+)`", one.epilog or "")
    return found[1] if found else ""


def _shared_panels(listed: Iterable[Option]) -> list[str]:
    """The shared groups that this command has whole."""
    there = {(option.panel, option.name) for option in listed}
    return [
        panel
        for panel, (kind, _) in reversed(_SHARED.items())
        if {(panel, option.name) for option in fields(kind)} <= there
    ]


def _table(options: Iterable[Option]) -> str:
    listed = list(options)
    columns = ["option", "", "default", "setting"]
    rows = [
        [
            _code(one.typed),
            _prose(one.does),
            _prose(one.default),
            _code(one.setting),
        ]
        for one in listed
    ]
    if listed and listed[0].panel == "Arguments":
        columns[0] = "argument"
    used = [0, 1, *(place for place in (2, 3) if any(row[place] for row in rows))]
    lines = [
        [columns[place] for place in used],
        ["---"] * len(used),
        *([row[place] for place in used] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    """Code in a cell of a table; with a bar, which would end the cell, as HTML."""
    if "|" not in text:
        return f"`{text}`" if text else ""
    return "<code>" + html.escape(text).replace("|", "&#124;") + "</code>"


def _prose(text: str) -> str:
    """Words of a help text in Markdown: options in code, nothing else marked up."""
    joined = " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]+(?:\.[a-z]+)?)", r"`\1`", joined)


if __name__ == "__main__":
    sys.stdout.write(reference())
