"""A command: a function of a `Call` and its own options that returns what `--format json` prints.

`command` joins the shared option groups to the function's own, calls it with stdout kept clean, prints the
result in the form asked for, and turns every failure into its message and exit code.
"""

import contextlib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import typer

from extend.cli.failures import tell
from extend.cli.options import Choice, Format, Talk
from extend.cli.output import Render, close_quietly, print_json, print_text
from extend.cli.progress import Display
from extend.errors import ExtendError

Result = Mapping[str, Any]
MOST_WARNINGS = 5


@dataclass
class Call:
    """One invocation: its shared options, and the run folder once it is known.

    A command that has a result and failed all the same (a check that does not hold) sets `failure`.
    """

    command: str
    talk: Talk
    choice: Choice
    display: Display
    directory: Path | None = field(default=None)
    failure: ExtendError | None = field(default=None)


def command(
    app: typer.Typer, name: str, *, panel: str, render: Render, example: str = "", on_run: bool = True
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Register a function as `extend NAME`. With `on_run` it takes the options that choose a run.

    A parameter of the function that is annotated with a dataclass stands for an option each of its fields.
    """

    def register(function: Callable[..., Result]) -> Callable[..., None]:
        shared: tuple[type[Any], ...] = (Choice, Talk) if on_run else (Talk,)
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        groups = {one.name: hints[one.name] for one in parameters if is_dataclass(hints[one.name])}

        def invoke(**values: Any) -> None:
            talk, choice = (_taken(group, values) for group in (Talk, Choice))
            values |= {name: _taken(group, values) for name, group in groups.items()}
            display = Display(sys.stderr, quiet=follows_another())
            code = _carry_out(Call(name, talk, choice, display), function, values, render)
            if code:
                raise typer.Exit(code)

        own = [parameter for parameter in parameters if parameter.name not in groups]
        grouped = [parameter for group in (*groups.values(), *shared) for parameter in _parameters(group)]
        _give_signature(invoke, [*own, *grouped], hints)
        invoke.__doc__ = function.__doc__
        epilog = f"**Example**\n\n`{example}`" if example else None
        app.command(name, rich_help_panel=panel, epilog=epilog)(invoke)
        return invoke

    return register


def follows_another() -> bool:
    """Whether this is one of several processes of one training and another does the talking."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and (os.environ.get("RANK") or "0") != "0"


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
            _tell_warnings(call, result)
        if as_json and call.failure:
            result = {**result, "error": call.failure.as_json()}
        code = 0 if follows_another() else _show(result, None if as_json else render)
        return tell(call.failure, command=call.command) if call.failure else code
    except BaseException as error:
        return tell(
            error,
            command=call.command,
            json_too=as_json and not follows_another(),
            debug=call.talk.debug,
            directory=call.directory,
        )


def _tell_warnings(call: Call, result: Result) -> None:
    """What the result warns of, on stderr: five of a kind, then how many more there are."""
    kinds: Counter[str] = Counter()
    for warning in result.get("warnings", ()):
        kinds[warning["name"]] += 1
        if kinds[warning["name"]] <= MOST_WARNINGS:
            call.display.say(f"extend {call.command}: warning[{warning['name']}]: {warning['text']}")
    for name, count in kinds.items():
        if count > MOST_WARNINGS:
            call.display.say(f"extend {call.command}: warning[{name}]: {count - MOST_WARNINGS} more")


def _show(result: Result, render: Render | None) -> int:
    try:
        print_text(render(result)) if render else print_json(result)
    except (BrokenPipeError, SystemExit):  # rich turns the first into the second
        return close_quietly()
    return 0
