"""A command: a function of a `Call` and its own options that returns what `--format json` prints.

`command` joins the shared option groups to the function's own, calls it with stdout kept clean, prints the
result in the form asked for, and turns every failure into its message and exit code.
"""

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import typer

from extend.cli.failures import tell
from extend.cli.options import Choice, Format, Talk
from extend.cli.output import Render, close_quietly, print_json, print_text
from extend.cli.progress import Display

Result = Mapping[str, Any]


@dataclass
class Call:
    """One invocation: its shared options, and the run folder once it is known."""

    command: str
    talk: Talk
    choice: Choice
    display: Display
    directory: Path | None = field(default=None)


def command(
    app: typer.Typer, name: str, *, panel: str, render: Render, example: str = "", on_run: bool = True
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Register a function as `extend NAME`. With `on_run` it takes the options that choose a run."""

    def register(function: Callable[..., Result]) -> Callable[..., None]:
        groups: tuple[type[Any], ...] = (Choice, Talk) if on_run else (Talk,)

        def invoke(**values: Any) -> None:
            talk, choice = (_taken(group, values) for group in (Talk, Choice))
            code = _carry_out(Call(name, talk, choice, Display(sys.stderr)), function, values, render)
            if code:
                raise typer.Exit(code)

        own = list(inspect.signature(function).parameters.values())[1:]
        shared = [parameter for group in groups for parameter in _parameters(group)]
        _give_signature(invoke, [*own, *shared], get_type_hints(function, include_extras=True))
        invoke.__doc__ = function.__doc__
        epilog = f"**Example**\n\n`{example}`" if example else None
        app.command(name, rich_help_panel=panel, epilog=epilog)(invoke)
        return invoke

    return register


def _taken(group: type[Any], values: dict[str, Any]) -> Any:
    return group(
        **{option.name: values.pop(option.name) for option in fields(group) if option.name in values}
    )


def _parameters(group: type[Any]) -> Iterable[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for option in fields(group):
        yield inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=hints[option.name]
        )


def _give_signature(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any]
) -> None:
    made = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(parameter.name, parameter.annotation)
        )
        for parameter in parameters
    ]
    function.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in made}


def _carry_out(call: Call, function: Callable[..., Result], own: Mapping[str, Any], render: Render) -> int:
    as_json = call.talk.format is Format.json
    if call.talk.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when Hugging Face libraries are imported
    try:
        with contextlib.redirect_stdout(sys.stderr), call.display:
            result = function(call, **own)
        return _show(result, None if as_json else render)
    except BaseException as error:
        return tell(
            error,
            command=call.command,
            json_too=as_json,
            debug=call.talk.debug,
            directory=call.directory,
        )


def _show(result: Result, render: Render | None) -> int:
    try:
        print_text(render(result)) if render else print_json(result)
    except (BrokenPipeError, SystemExit):  # rich turns the first into the second
        return close_quietly()
    return 0
